"""The output folder of the data stage: nobody's files are lost, and damage is noticed."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from src.config import config_to_yaml, load_config
from src.corpus.report import Report
from src.data_processor import DataProcessor
from src.errors import DataError
from src.schema import AdequacyConfig, Config, EvaluationConfig, SourceConfig, SplitsConfig
from tests.integration import process_runs


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return process_runs.write_corpus(tmp_path_factory.mktemp("corpus"), rows=120)


def configure(source: Path, output: Path, **changes: object) -> Config:
    values = {"adequacy": AdequacyConfig(min_score=0), "splits": SplitsConfig(dev=5, test=5)}
    return process_runs.configure(source, output, 1, sample_size=None, **{**values, **changes})


@pytest.fixture(scope="module")
def finished(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of one run."""
    output = tmp_path_factory.mktemp("finished")
    DataProcessor(configure(corpus, output)).process()
    return output


@pytest.fixture
def output(finished: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(finished, tmp_path / "out"))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "name",
    [
        "work/thesis/ch1.txt",
        "text/mine.tsv",
        "rejected/notes.md",
        "tokenizer/tokenizer.json",
        "lexicon/words.txt",
        "config.yaml",
        "report.json",
        "process.json",
        "tokens/mine.bin",
    ],
)
def test_a_file_of_somebody_else_is_refused_and_stays(corpus: Path, tmp_path: Path, name: str):
    own = tmp_path / name
    own.parent.mkdir(exist_ok=True, parents=True)
    own.write_text("{}", encoding="utf-8")
    before = contents(tmp_path)
    for _ in range(2):  # the refusal itself does not make the folder ours
        with pytest.raises(DataError, match=r"holds .*; move it away or set another data\.output"):
            DataProcessor(configure(corpus, tmp_path)).process()
    assert {path: data for path, data in contents(tmp_path).items() if path in before} == before
    assert not list(tmp_path.glob("text/train-*"))


def test_other_files_beside_the_output_stay(corpus: Path, output: Path):
    (output / "thesis.txt").write_text("mine", encoding="utf-8")
    notes = output / "work" / "notes"
    notes.mkdir()
    DataProcessor(configure(corpus, output, quality_threshold=0.4)).process()
    assert notes.is_dir()
    assert (output / "thesis.txt").read_text(encoding="utf-8") == "mine"
    (output / "text" / "mine.tsv").write_text("mine", encoding="utf-8")
    with pytest.raises(DataError, match=r"text would be replaced and holds mine\.tsv"):
        DataProcessor(configure(corpus, output, quality_threshold=0.3)).process()
    assert (output / "text" / "mine.tsv").exists()


def test_folders_of_earlier_versions_and_of_killed_runs_go_on(corpus: Path, output: Path):
    (output / ".lock").unlink()  # as copied by tools that leave hidden files out
    DataProcessor(configure(corpus, output, quality_threshold=0.4)).process()
    (output / "process.json").unlink()  # as a killed run leaves it
    DataProcessor(configure(corpus, output, quality_threshold=0.4)).process()
    assert (output / "process.json").exists()


def test_a_source_that_this_run_would_destroy_is_refused(
    corpus: Path, output: Path, tmp_path: Path
):
    config = configure(corpus, output)
    shard = output / "text" / "train-en-zh-00000.parquet"
    before = shard.read_bytes()
    link = tmp_path / "link.parquet"
    link.symlink_to(shard)
    own = SourceConfig(path=str(output / "text" / "train-*.parquet"))
    for sources in ((own,), (SourceConfig(path=str(link)),)):
        data = config.data.model_copy(update={"sources": sources})
        with pytest.raises(DataError, match=r"lies where this run writes \(data\.output_dir="):
            DataProcessor(config.model_copy(update={"data": data})).process()
    evaluated = config.model_copy(update={"evaluation": EvaluationConfig(sets=(own,))})
    with pytest.raises(DataError, match="is a source or an evaluation set"):
        DataProcessor(evaluated).process()
    assert shard.read_bytes() == before


def test_a_configuration_file_of_the_run_is_not_replaced(corpus: Path, output: Path):
    config = configure(corpus, output)
    file = output / "config.yaml"
    file.write_text(config_to_yaml(config), encoding="utf-8")
    DataProcessor(config, [file]).process()  # it would hold the same
    file.write_text("# mine\n" + config_to_yaml(config), encoding="utf-8")
    with pytest.raises(DataError, match=r"config\.yaml is a configuration file of this run"):
        DataProcessor(config, [file]).process()
    assert file.read_text(encoding="utf-8").startswith("# mine")


def test_tokenising_alone_does_not_claim_a_folder(corpus: Path, tmp_path: Path):
    (tmp_path / "config.yaml").write_text("# mine", encoding="utf-8")
    config = configure(corpus, tmp_path)
    with pytest.raises(DataError, match="holds no train shards"):
        DataProcessor(config).tokenize_and_save()
    with pytest.raises(DataError, match=r"holds config\.yaml"):
        DataProcessor(config).process()


def _cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("damage", [Path.unlink, _cut_off])
@pytest.mark.parametrize(
    "name",
    [
        "text/test-en-zh-00000.parquet",
        "rejected/rejected-en-zh-00000.parquet",
        "tokens/MANIFEST.json",
        "tokens/train/en-zh/shard-00000.en.ids",
        "tokenizer/tokenizer.json",
    ],
)
def test_what_was_lost_since_is_made_again(
    corpus: Path, output: Path, name: str, damage: Callable[[Path], None]
):
    before = (output / name).read_bytes()
    damage(output / name)
    DataProcessor(configure(corpus, output)).process()
    assert (output / name).read_bytes() == before


def test_state_of_an_earlier_version_is_up_to_date(corpus: Path, output: Path):
    state = json.loads((output / "process.json").read_text(encoding="utf-8"))
    del state["files"]
    (output / "process.json").write_text(json.dumps(state), encoding="utf-8")
    made = (output / "tokens" / "MANIFEST.json").stat().st_mtime_ns
    _rerun(corpus, output)
    assert (output / "tokens" / "MANIFEST.json").stat().st_mtime_ns == made
    (output / "tokens" / "MANIFEST.json").write_text("{", encoding="utf-8")
    _rerun(corpus, output)
    assert (output / "tokens" / "MANIFEST.json").stat().st_size > 1


def _rerun(corpus: Path, output: Path, **sections: object) -> Report:
    """As in the same folder: its configuration names that."""
    config = configure(corpus, output)
    (output / "config.yaml").write_text(config_to_yaml(config), encoding="utf-8")
    return DataProcessor(config.model_copy(update=sections)).process()


def test_settings_that_change_no_text_reach_report_and_configuration(
    corpus: Path, output: Path, caplog: pytest.LogCaptureFixture
):
    made = (output / "tokens" / "MANIFEST.json").stat().st_mtime_ns
    student = Config().student.model_copy(update={"max_seq_length": 20})
    data = configure(corpus, output).data.model_copy(update={"language_pairs": ("en-zh",)})
    report = _rerun(corpus, output, student=student, data=data)
    assert (output / "tokens" / "MANIFEST.json").stat().st_mtime_ns == made
    assert list(report.token_lengths) == ["en-zh"]
    warnings = [text for text in report.warnings if "student.max_seq_length=20 leaves out" in text]
    assert "% of the pairs; " in warnings[0]
    assert warnings[0] in caplog.messages
    assert json.loads((output / "report.json").read_text(encoding="utf-8")) == report.to_json()
    kept = load_config([output / "config.yaml"])
    assert (kept.student.max_seq_length, kept.data.language_pairs) == (20, ("en-zh",))
    files = (output / "report.json", output / "config.yaml")
    times = [file.stat().st_mtime_ns for file in files]
    DataProcessor(kept).process()
    assert times == [file.stat().st_mtime_ns for file in files]


@pytest.mark.parametrize(
    "table",
    [
        None,
        pa.table({"en": [1, 2], "zh": ["a", "b"]}),
        pa.table({"en": ["a", None], "zh": ["a", "b"]}),
    ],
)
def test_tokenising_text_that_is_none_is_one_sentence(
    corpus: Path, output: Path, table: pa.Table | None
):
    shard = output / "text" / "train-en-zh-00000.parquet"
    if table is None:
        _cut_off(shard)
    else:
        pq.write_table(table, shard)
    with pytest.raises(DataError, match=r"cannot be read \(.*\); make it again with `python"):
        DataProcessor(configure(corpus, output)).tokenize_and_save()


@pytest.mark.parametrize("damage", [Path.unlink, _cut_off])
@pytest.mark.parametrize("name", ["rows.arrow", "keys.npy", "unreadable.parquet", "unit.json"])
def test_a_damaged_work_unit_is_made_again(
    corpus: Path, output: Path, name: str, damage: Callable[[Path], None]
):
    unit = next(path for path in (output / "work").iterdir() if (path / name).is_file())
    before = (unit / name).read_bytes()
    damage(unit / name)
    DataProcessor(configure(corpus, output, quality_threshold=0.4)).process()
    assert (unit / name).read_bytes() == before


def test_damaged_scores_of_adequacy_are_made_again(corpus: Path, tmp_path: Path):
    adequacy = AdequacyConfig()
    DataProcessor(configure(corpus, tmp_path, adequacy=adequacy)).process()
    scores = next(tmp_path.glob("work/*/adequacy-*.npy"))
    before = scores.read_bytes()
    _cut_off(scores)
    changed = configure(corpus, tmp_path, adequacy=adequacy, quality_threshold=0.4)
    DataProcessor(changed).process()
    assert len(scores.read_bytes()) == len(before)


def test_a_damaged_block_of_a_work_unit_is_one_sentence(corpus: Path, output: Path):
    rows = next(output.glob("work/*/rows.arrow"))
    content = bytearray(rows.read_bytes())
    begin = content.index(b"\x04\x22\x4d\x18")  # where LZ4 frames begin
    content[begin + 4 : begin + 200] = b"\xff" * 196
    rows.write_bytes(content)
    with pytest.raises(DataError, match="is a damaged work unit"):
        DataProcessor(configure(corpus, output, quality_threshold=0.4)).process()
