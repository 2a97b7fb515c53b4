"""A folder of the teacher's work: one run at a time, nothing of another, nothing believed."""

import json
import subprocess
import sys

import pytest

from src.distillation.shards import MadeShard, ShardFolder, ShardRange
from src.distillation.team import ShardsInterrupted
from src.errors import DataError
from src.training.parallel import ALONE
from tests.fakes.training_lives import ROOT

RANGES = [ShardRange("en-zh", 0, number, range(number * 10, number * 10 + 10)) for number in (0, 1)]
HOLDER = (
    "import sys; from pathlib import Path; from src.folder_lock import FolderLock;"
    "FolderLock(Path(sys.argv[1]), holds='', other='', error=ValueError).claim();"
    "print('claimed', flush=True); sys.stdin.read()"
)


@pytest.fixture
def folder(tmp_path):
    return ShardFolder(
        tmp_path / "labels",
        form="test/1",
        what="soft labels",
        command="python run.py soft-labels",
    )


def make(folder, *, temperature=1, maker=None):
    """Completes the folder; gives the files that were made."""
    made = []

    def shard(part):
        made.append(part.file)
        return MadeShard(f"{part.file} at {temperature}".encode(), {"pairs": 10})

    with folder.team(ALONE) as team:
        folder.complete(
            identity={"temperature": temperature},
            about={},
            ranges=RANGES,
            open_maker=lambda: maker or shard,
            team=team,
        )
    return made


def test_a_second_run_in_one_folder_is_refused_and_changes_nothing(folder):
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder.path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        assert holder.stdout.readline() == "claimed\n"
        with pytest.raises(
            DataError,
            match=rf"labels is being written by another run \(process {holder.pid} on .*\); wait "
            r"for it, stop it, or name another student\.soft_labels",
        ):
            make(folder)
        assert [path.name for path in folder.path.iterdir()] == [".lock"]
        holder.stdin.close()
    assert make(folder) == [part.file for part in RANGES]
    assert make(folder) == []


def test_finished_shards_of_another_identity_count_for_nothing(folder):
    def stopped(part):
        if part.number == 1:
            raise ShardsInterrupted("stopped")
        return MadeShard(b"of another temperature", {"pairs": 10})

    with pytest.raises(ShardsInterrupted):
        make(folder, temperature=2, maker=stopped)
    # Someone has put another plan beside them.
    folder.begin({"temperature": 1}, {})
    assert make(folder) == [part.file for part in RANGES]
    assert (folder.path / RANGES[0].file).read_bytes() == b"en-zh/shard-00000.bin at 1"


def test_a_note_that_is_gone_is_not_written_as_nothing(folder):
    def careless(part):
        (folder.path / "work" / "en-zh" / "shard-00000.json").unlink(missing_ok=True)
        return MadeShard(part.file.encode(), {"pairs": 10})

    with pytest.raises(DataError, match=r"says nothing of en-zh/shard-00000\.bin any more"):
        make(folder, maker=careless)
    assert folder.manifest() is None
    assert make(folder) == [RANGES[0].file]


def edited(change):
    def apply(path):
        content = json.loads(path.read_text(encoding="utf-8"))
        change(content)
        path.write_text(json.dumps(content), encoding="utf-8")

    return apply


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (edited(lambda all_: all_["identity"].update(temperature=2)), "its own fingerprint"),
        (edited(lambda all_: all_["shards"].popitem()), "does not match its own fingerprint"),
        (edited(lambda all_: all_["shards"].update({"en-zh/a": None})), "says nothing of a shard"),
        (edited(lambda all_: all_.pop("shards")), "lacks 'shards'"),
        (edited(lambda all_: all_.pop("identity")), "lacks 'identity'"),
        (edited(lambda all_: all_.pop("fingerprint")), "lacks 'fingerprint'"),
        (edited(lambda all_: all_.update(shards=[])), "no list of names under 'shards'"),
        (lambda path: path.write_text("{", encoding="utf-8"), "cannot be read"),
    ],
)
def test_a_manifest_that_was_changed_is_refused(folder, change, reason):
    make(folder)
    change(folder.path / "MANIFEST.json")
    with pytest.raises(
        DataError,
        match=rf"MANIFEST\.json .*{reason}.*restore it, or delete .*labels and run `python",
    ):
        folder.manifest()


def test_a_damaged_shard_is_made_again_as_the_message_says(folder):
    make(folder)
    (folder.path / RANGES[1].file).unlink()
    with pytest.raises(
        DataError,
        match=r"shard-00001\.bin is missing: .* run `python run\.py soft-labels` with this "
        r"configuration again, it makes damaged shards anew and keeps the others",
    ):
        folder.check_sizes(folder.manifest())
    assert make(folder) == [RANGES[1].file]
    folder.check_sizes(folder.manifest())


def test_a_damaged_note_is_one_shard_to_make_again(folder):
    def stopped(part):
        if part.number == 1:
            raise ShardsInterrupted("stopped")
        return MadeShard(b"whole", {"pairs": 10})

    with pytest.raises(ShardsInterrupted):
        make(folder, maker=stopped)
    note = folder.path / "work/en-zh/shard-00000.json"
    assert set(json.loads(note.read_text())["facts"]) == {"rows", "bytes", "sha256", "pairs"}
    note.write_text("{", encoding="utf-8")
    assert make(folder) == [part.file for part in RANGES]


def test_a_folder_below_a_file_is_named(tmp_path):
    (tmp_path / "labels").write_text("", encoding="utf-8")
    below = ShardFolder(tmp_path / "labels" / "more", form="test/1", what="labels", command="make")
    with pytest.raises(DataError, match=r"more lies below a file.*another student\.soft_labels"):
        below.manifest()
