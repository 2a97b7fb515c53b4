"""The data stage as a whole: the same bytes whatever happens, and every row accounted for."""

import fcntl
import hashlib
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from src.corpus.assemble import assemble
from src.corpus.decontamination import SideKeys
from src.corpus.disk import explained_disk_errors
from src.corpus.phases import Phases
from src.corpus.stage_folder import StageFolder
from src.corpus.work_units import plan_units, process_unit
from src.data_processor import DataProcessor
from src.errors import DataError, WorkerLost
from src.schema import AdequacyConfig, DataConfig, SourceConfig, SplitsConfig
from src.tasks.engine import Engine
from src.tasks.processes import run_tasks
from tests.fakes.file_server import FILES, FileHandler
from tests.fakes.local_server import serving
from tests.fakes.worker_tasks import die_at_bad_task, refuse_bad_task
from tests.integration import process_runs

ROOT = Path(__file__).resolve().parents[2]
_RUN = [sys.executable, "-m", "tests.integration.process_runs"]


def digests(output: Path) -> dict[str, str]:
    """Contents of everything a later stage reads."""
    files = [
        path
        for name in ("text", "rejected", "tokens", "tokenizer")
        for path in (output / name).rglob("*")
    ]
    return {
        str(path.relative_to(output)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(files)
        if path.is_file()
    }


def run_script(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*_RUN, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        start_new_session=True,
    )


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return process_runs.write_corpus(tmp_path_factory.mktemp("corpus"), rows=600)


@pytest.fixture(scope="module")
def straight(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Output of one undisturbed run with one worker."""
    output = tmp_path_factory.mktemp("straight") / "processed"
    DataProcessor(process_runs.configure(corpus, output, 1)).process()
    return output


def test_every_row_is_accounted_for_and_can_be_read_back(corpus: Path, straight: Path):
    report = json.loads((straight / "report.json").read_text(encoding="utf-8"))
    rows = len(corpus.read_bytes().split(b"\n")) - 1
    assert report["rows_in"] == rows == report["kept"] + sum(report["dropped"].values())
    assert report["kept"] == report["sampled_out"] + sum(report["splits"].values())
    assert report["splits"] == {"train": 250, "dev": 20, "test": 20}
    assert report["sampled_out"] > 0
    rejected = pq.read_table(straight / "rejected")
    reasons = rejected["reason"].to_pylist()
    assert {reason: reasons.count(reason) for reason in set(reasons)} == report["dropped"]
    assert {"swapped", "untranslated", "empty", "malformed_line", "bad_encoding", "encoding"} < set(
        reasons
    )
    assert {"duplicate_pair", "duplicate_side"} <= set(reasons)


def test_text_shards_have_the_agreed_columns(straight: Path):
    for split, rows in (("train", 250), ("dev", 20), ("test", 20)):
        table = pq.read_table(straight / "text" / f"{split}-en-zh-00000.parquet")
        assert table.column_names == ["en", "zh", "source", "score"]
        assert table.num_rows == rows
        assert str(table.schema.field("score").type) == "float"


def test_two_workers_give_the_bytes_of_one(corpus: Path, straight: Path, tmp_path: Path):
    DataProcessor(process_runs.configure(corpus, tmp_path, 2)).process()
    assert digests(tmp_path) == digests(straight)


def test_other_files_in_other_order_keep_each_pair_in_its_split(corpus: Path, tmp_path: Path):
    """Order decides which duplicate stays, never which sentences are held out."""
    lines = corpus.read_bytes().split(b"\n")[:-1]
    parts = (tmp_path / "b.tsv", tmp_path / "a.tsv")
    parts[0].write_bytes(b"\n".join(lines[:300]) + b"\n")
    parts[1].write_bytes(b"\n".join(lines[300:]) + b"\n")
    outputs = []
    for number, sources in enumerate(([corpus], sorted(parts))):
        config = process_runs.configure(corpus, tmp_path / str(number), 1, sample_size=None)
        sources_config = tuple(SourceConfig(path=str(path), name="x") for path in sources)
        data = config.data.model_copy(update={"sources": sources_config})
        DataProcessor(config.model_copy(update={"data": data})).process()
        text = tmp_path / str(number) / "text"
        outputs.append(
            {
                s: {*pq.read_table(text / f"{s}-en-zh-00000.parquet")["zh"].to_pylist()}
                for s in ("dev", "test")
            }
        )
    assert outputs[0] == outputs[1]


def test_kill_anywhere_then_rerun_gives_the_same_bytes(
    corpus: Path, straight: Path, tmp_path: Path
):
    kills = 0
    for kill_at in (2, 12, 24, 33, 40):
        run = run_script(corpus, tmp_path, 1, kill_at)
        kills += run.returncode == -signal.SIGKILL
        finished = (tmp_path / "process.json").exists()
        assert finished == (run.returncode == 0), run.stderr
    assert kills >= 4
    DataProcessor(process_runs.configure(corpus, tmp_path, 1)).process()
    assert digests(tmp_path) == digests(straight)
    assert not list(tmp_path.rglob("*partial*"))


def test_kill_of_the_process_group_keeps_finished_units(
    corpus: Path, straight: Path, tmp_path: Path
):
    run = run_script(corpus, tmp_path, 2, "unit")
    assert run.returncode == -signal.SIGKILL, run.stderr
    finished = {path.name for path in (tmp_path / "work").iterdir() if "partial" not in path.name}
    assert finished
    # The file, not its folder: scores of adequacy are added beside it.
    made = {name: (tmp_path / "work" / name / "keys.npy").stat().st_mtime_ns for name in finished}
    DataProcessor(process_runs.configure(corpus, tmp_path, 2)).process()
    assert digests(tmp_path) == digests(straight)
    assert made == {
        name: (tmp_path / "work" / name / "keys.npy").stat().st_mtime_ns for name in finished
    }


def test_second_run_does_nothing(corpus: Path, straight: Path):
    before = {path: path.stat().st_mtime_ns for path in straight.rglob("*") if path.name != ".lock"}
    report = DataProcessor(process_runs.configure(corpus, straight, 2)).process()
    assert report.splits == {"train": 250, "dev": 20, "test": 20}
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_changed_setting_or_source_is_noticed(corpus: Path, tmp_path: Path):
    own = tmp_path / "own.tsv"
    own.write_bytes(corpus.read_bytes())
    output = tmp_path / "out"
    first = DataProcessor(process_runs.configure(own, output, 1)).process()
    strict = DataProcessor(process_runs.configure(own, output, 1, quality_threshold=0.9)).process()
    assert strict.dropped["low_quality"] > first.dropped.get("low_quality", 0)
    with own.open("ab") as file:
        file.write("One line more was added to it.\t又给它添加了一行。\n".encode())
    longer = DataProcessor(process_runs.configure(own, output, 1, quality_threshold=0.9)).process()
    assert longer.rows_in == strict.rows_in + 1


def test_a_source_that_changed_on_its_server_is_noticed(corpus: Path, tmp_path: Path):
    lines = corpus.read_bytes()
    FILES["corpus.tsv"] = lines
    with serving(FileHandler) as address:
        config = process_runs.configure(corpus, tmp_path, 1)
        source = SourceConfig(path=f"{address}/corpus.tsv")
        config = config.model_copy(
            update={"data": config.data.model_copy(update={"sources": (source,)})}
        )
        before = DataProcessor(config).process()
        assert DataProcessor(config).process() == before
        FILES["corpus.tsv"] = lines + b"The ferry leaves at noon today.\t\xe6\xb8\xa1\xe8\xbd\xae\n"
        assert DataProcessor(config).process().rows_in == before.rows_in + 1


def test_another_lexicon_in_the_same_folder_is_noticed(corpus: Path, tmp_path: Path):
    first = process_runs.configure(corpus, tmp_path / "first", 1)
    DataProcessor(first).process()
    lexicon = tmp_path / "lexicon"
    shutil.copytree(tmp_path / "first" / "lexicon", lexicon)
    config = process_runs.configure(
        corpus, tmp_path / "second", 1, adequacy=AdequacyConfig(lexicon=str(lexicon))
    )
    DataProcessor(config).process()
    made = (tmp_path / "second" / "process.json").stat().st_mtime_ns
    DataProcessor(config).process()
    assert (tmp_path / "second" / "process.json").stat().st_mtime_ns == made
    for file in lexicon.rglob("*.json"):
        file.touch()
    DataProcessor(config).process()
    assert (tmp_path / "second" / "process.json").stat().st_mtime_ns != made


def test_tokenize_and_save_works_alone_from_the_text(straight: Path, tmp_path: Path):
    before = digests(straight)
    output = tmp_path / "copy"
    (output / "text").mkdir(parents=True)
    for path in (straight / "text").iterdir():
        (output / "text" / path.name).write_bytes(path.read_bytes())
    cache = DataProcessor(process_runs.configure(Path("gone.tsv"), output, 1)).tokenize_and_save()
    assert cache == output / "tokens"
    after = digests(output)
    assert after == {name: digest for name, digest in before.items() if name in after}
    assert any(name.startswith("tokens/train/") for name in after)


def test_tokenize_and_save_without_text_says_what_to_do(tmp_path: Path):
    processor = DataProcessor(process_runs.configure(Path("gone.tsv"), tmp_path, 1))
    with pytest.raises(
        DataError, match=r"holds no train shards; run `python run\.py process` first"
    ):
        processor.tokenize_and_save()


def test_too_small_corpus_is_refused_and_nothing_is_left_that_looks_done(tmp_path: Path):
    source = process_runs.write_corpus(tmp_path, rows=30)
    config = process_runs.configure(source, tmp_path / "out", 1)
    with pytest.raises(DataError, match=r"pairs are left after filtering.*lower data\.splits\.dev"):
        DataProcessor(config).process()
    assert not (tmp_path / "out" / "text").exists()
    assert not (tmp_path / "out" / "report.json").exists()


def test_swapped_columns_are_told_where_nothing_is_left(tmp_path: Path):
    source = process_runs.write_corpus(tmp_path, rows=60)
    swapped = tmp_path / "swapped.tsv"
    lines = [line.split(b"\t") for line in source.read_bytes().splitlines()]
    swapped.write_bytes(b"\n".join(b"\t".join(reversed(cells)) for cells in lines))
    config = process_runs.configure(swapped, tmp_path / "out", 1)
    with pytest.raises(
        DataError, match=r"left after filtering of \d+ \(swapped \d+.*`languages: zh-"
    ):
        DataProcessor(config).process()


def test_evaluation_sets_are_looked_at_before_the_corpus_is_filtered(corpus: Path, tmp_path: Path):
    french = tmp_path / "french.tsv"
    french.write_text("A\tB\n", encoding="utf-8")
    (tmp_path / "empty.tsv").write_text("", encoding="utf-8")
    config = process_runs.configure(corpus, tmp_path / "out", 1)
    untrained = SourceConfig(path=str(french), languages="en-fr")
    for name, words in (("gone", "no such file"), ("empty", "empty")):
        wrong = SourceConfig(path=str(tmp_path / f"{name}.tsv"))
        sets = config.evaluation.model_copy(update={"sets": (untrained, wrong)})
        with pytest.raises(DataError, match=rf"evaluation\.sets: .*{name}\.tsv.*{words}"):
            DataProcessor(config.model_copy(update={"evaluation": sets})).process()
        assert not any((tmp_path / "out" / "work").glob("*/unit.json"))
    sets = config.evaluation.model_copy(update={"sets": (untrained,)})
    DataProcessor(config.model_copy(update={"evaluation": sets})).process()


def test_pair_of_languages_without_a_source_is_refused(corpus: Path, tmp_path: Path):
    config = process_runs.configure(corpus, tmp_path, 1, language_pairs=("en-zh", "en-fr"))
    with pytest.raises(DataError, match="has en-fr, which no source holds; add one"):
        DataProcessor(config).process()


def test_folder_in_use_is_refused(corpus: Path, tmp_path: Path):
    with (tmp_path / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(DataError, match="another process is working there"):
            DataProcessor(process_runs.configure(corpus, tmp_path, 1)).process()


def test_full_disk_is_one_sentence(tmp_path: Path):
    message = r"file: no space left on the device; this stage needs about 5\.0 KiB"
    with (
        pytest.raises(DataError, match=message),
        explained_disk_errors(tmp_path / "file", 5 * 1024),
        Path("/dev/full").open("w") as file,
    ):
        file.write("x" * 100_000)


def test_output_folder_that_is_a_file_is_refused(corpus: Path, tmp_path: Path):
    (tmp_path / "taken").write_text("", encoding="utf-8")
    for output in (tmp_path / "taken", tmp_path / "taken" / "inside"):
        with pytest.raises(
            DataError, match=r"taken.*: is .*a file, not a folder; set data\.output_dir"
        ):
            DataProcessor(process_runs.configure(corpus, output, 1)).process()


def test_stage_is_imported_without_paddle_and_offers_the_dataset():
    code = (
        "import sys; import src.data_processor as stage; assert 'paddle' not in sys.modules; "
        "from src.data_processor import DataProcessor, StreamingDataset; "
        "assert StreamingDataset.__module__ == 'src.tokens.stream'"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=ROOT, check=True)


@pytest.mark.parametrize("limit", [1_500, 4_000])
def test_refused_write_leaves_nothing_half_done(
    corpus: Path, straight: Path, tmp_path: Path, limit: int
):
    run = run_script(corpus, tmp_path, 1, f"limit-{limit}")
    assert run.returncode == 1
    assert "DataError" in run.stderr
    assert "the file grew beyond the allowed size; this stage needs about" in run.stderr
    assert not list(tmp_path.glob("work/*partial*"))
    assert not (tmp_path / "process.json").exists()
    DataProcessor(process_runs.configure(corpus, tmp_path, 1)).process()
    assert digests(tmp_path) == digests(straight)


def test_workers_give_every_result():
    tasks = [1, 2, 4, 5, 6]
    results = run_tasks(refuse_bad_task, tasks, workers=2, describe=str)
    assert sorted((task, result) for task, result, _ in results) == [(n, 10 * n) for n in tasks]


def test_killed_worker_is_an_error_that_names_its_task():
    message = r"ended by signal 9 while working on unit 3;.*data\.num_workers"
    with pytest.raises(WorkerLost, match=message):
        list(run_tasks(die_at_bad_task, [1, 2, 3, 4], workers=2, describe=lambda n: f"unit {n}"))


def test_error_in_a_worker_is_raised_as_it_was():
    with pytest.raises(DataError, match="three cannot be used"):
        list(run_tasks(refuse_bad_task, [1, 2, 3, 4], workers=2, describe=str))


_FIELD = st.one_of(
    st.text(alphabet="ab 1.你好，。\u2028\x85\x07&<%{}é", max_size=30).map(str.encode),
    st.binary(max_size=3),
    st.sampled_from(
        [b"The river is wide.", "那条河很宽。".encode(), b"", b"a\tb", b"1987", b"a\x00b"]
    ),
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.tuples(_FIELD, _FIELD), max_size=30),
    st.integers(4, 40),
    st.sampled_from([None, 1, 3]),
)
def test_accounts_hold_for_any_mess(
    tmp_path_factory, rows: list[tuple[bytes, bytes]], chunk_size: int, sample_size: int | None
):
    folder = tmp_path_factory.mktemp("mess")
    good = [
        f"The {w} river is very wide.\t那条{z}河很宽。".encode()
        for w, z in (("old", "旧"), ("new", "新"))
    ]
    lines = [b"\t".join(row).replace(b"\n", b" ") for row in rows]
    lines = [*good * (len(rows) + 1), *lines]  # enough good lines for the file to pass as text
    (folder / "a.tsv").write_bytes(b"\n".join(lines) + b"\n")
    data = DataConfig(
        sources=(SourceConfig(path=str(folder / "a.tsv")),),
        chunk_size=chunk_size,
        splits=SplitsConfig(dev=0, test=1),
        sample_size=sample_size,
        sample_strategy="random",
    )
    units = plan_units(data, folder / "work")
    for unit in units:
        process_unit(unit)
    report = assemble(
        units,
        data,
        folder=StageFolder(folder / "out"),
        evaluation_keys=lambda _: SideKeys.of(iter(())),
        engine=Engine("processes", 1),
        phases=Phases(),
    )
    report.check()
    assert report.rows_in == len(lines)
    rejected = pq.read_table(folder / "out" / "rejected")
    assert rejected.num_rows == sum(report.dropped.values())
