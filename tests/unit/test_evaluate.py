"""What `evaluate` does around the model: choosing pairs, saying how far it is, staying light."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from src.errors import DataError
from src.evaluation.measure import ProgressLog
from src.evaluation.pairs import read_pairs

ROOT = Path(__file__).resolve().parents[2]


def write_shard(folder: Path, number: int, rows: list[int]) -> None:
    (folder / "text").mkdir(exist_ok=True)
    texts = [str(row) for row in rows]
    table = pa.table({"en": pa.array(texts, pa.string()), "zh": pa.array(texts, pa.string())})
    pq.write_table(table, folder / "text" / f"test-en-zh-{number:05d}.parquet")


def chosen(folder: Path, max_samples: int | None) -> list[int]:
    return [int(pair["en"]) for pair in read_pairs(folder, "test", ("en", "zh"), max_samples)]


def test_pairs_are_spread_evenly_over_all_shards(tmp_path):
    write_shard(tmp_path, 1, list(range(6, 10)))
    write_shard(tmp_path, 0, list(range(6)))
    assert chosen(tmp_path, None) == list(range(10))
    assert chosen(tmp_path, 100) == list(range(10))
    assert chosen(tmp_path, 5) == [0, 2, 4, 6, 8]
    assert chosen(tmp_path, 3) == [0, 3, 6]


def test_empty_split_is_refused(tmp_path):
    write_shard(tmp_path, 0, [])
    with pytest.raises(DataError) as caught:
        read_pairs(tmp_path, "test", ("zh", "en"), None)
    assert str(caught.value) == (
        f"the test split of zh-en in {tmp_path / 'text'} is empty; process more data or set "
        "data.splits.test"
    )


def test_shard_without_a_language_is_named(tmp_path):
    (tmp_path / "text").mkdir()
    path = tmp_path / "text" / "test-en-zh-00000.parquet"
    pq.write_table(pa.table({"en": ["a"]}), path)
    with pytest.raises(DataError, match=r"test-en-zh-00000\.parquet cannot be read"):
        read_pairs(tmp_path, "test", ("zh", "en"), None)


def test_progress_is_said_every_ten_seconds_with_the_time_left(caplog):
    caplog.set_level(logging.INFO, logger="src.evaluation.measure")
    times = iter([100.0, 105.0, 110.0, 115.0, 130.0])
    progress = ProgressLog("en-zh", lambda: next(times))
    for done in (100, 200, 300, 600):
        progress(done, 1000)
    assert [record.getMessage() for record in caplog.records] == [
        "en-zh  200/1000  20.0 sentences/s  40 s left",
        "en-zh  600/1000  20.0 sentences/s  20 s left",
    ]


def test_scoring_files_and_refusing_a_folder_need_no_paddle():
    modules = "src.evaluation.evaluate, src.evaluation.translate"
    code = f"import sys, {modules}; print('paddle' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True, text=True
    )
    assert result.stdout == "False\n"
