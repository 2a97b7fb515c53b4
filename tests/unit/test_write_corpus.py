"""Shards hold exactly the rows that the verdicts name, in order, whoever writes them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest

from src.corpus import write_corpus as writing
from src.corpus.keys import KEYS
from src.corpus.readers import BadRow
from src.corpus.texts import Texts
from src.corpus.unit_files import ScoredBlock, UnitCounts, UnitWriter
from src.corpus.unit_rows import Corpus
from src.corpus.verdicts import Verdict, reasons
from src.tasks.engine import Engine

LANGUAGES = ("en", "zh")


def write_unit(folder: Path, name: str, blocks: list[int], unreadable: int) -> SimpleNamespace:
    """A finished unit whose texts say where they stand."""
    (folder / name).mkdir()
    number = 0
    counts = UnitCounts(rows_in=sum(blocks) + unreadable, blocks=blocks)
    with UnitWriter(folder / name) as writer:
        for rows in blocks:
            texts = [f"{name}{number + row}" for row in range(rows)]
            number += rows
            score = np.linspace(0.5, 1.0, rows, dtype=np.float32)
            columns = {"quality": score, "length_ratio": score}
            keys = np.zeros((KEYS, rows), np.uint64)
            writer.write(
                ScoredBlock(Texts.of(texts), Texts.of([f"中{t}" for t in texts]), columns, keys)
            )
        bad = [BadRow(row + 1, "malformed_line", f"{name}?{row}") for row in range(unreadable)]
        writer.write_unreadable(bad)
        counts.unreadable = {"malformed_line": unreadable} if unreadable else {}
        writer.finish(counts)
    table = SimpleNamespace(source=f"source-{name}", languages=LANGUAGES)
    return SimpleNamespace(folder=folder / name, table=table, weight=1.0)


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    (tmp_path / "work").mkdir()
    shapes = {"a": ([3, 4], 2), "b": ([], 1), "c": ([5], 0), "d": ([2, 1, 6], 3)}
    units = [write_unit(tmp_path / "work", n, *shape) for n, shape in shapes.items()]
    return Corpus(units)  # type: ignore[arg-type]


def read(folder: Path, split: str) -> list[dict[str, str]]:
    paths = sorted(folder.glob(f"*/{split}-en-zh-*.parquet"))
    return [row for path in paths for row in pq.read_table(path).to_pylist()]


@pytest.mark.parametrize("rows_per_shard", [1, 2, 4, 500_000])
@pytest.mark.parametrize("workers", [1, 2])
def test_every_row_lands_where_its_verdict_says(
    corpus: Corpus, tmp_path: Path, monkeypatch, rows_per_shard: int, workers: int
):
    monkeypatch.setattr(writing, "ROWS_PER_SHARD", rows_per_shard)
    choices = [Verdict.TRAIN, Verdict.DEV, Verdict.SAMPLED_OUT, Verdict.DUPLICATE_PAIR, 32]
    verdicts = np.array([choices[i % 5] for i in range(len(corpus))], np.uint8)
    names = {**reasons(()), 32: "empty"}
    out = tmp_path / "out"
    after = writing.write_corpus(corpus, verdicts, names, out, Engine("processes", workers))
    texts = [
        t
        for block in corpus.blocks
        for t in corpus.texts(block, np.arange(block.rows.stop - block.rows.start))[0]
    ]
    for split, verdict in (("train", Verdict.TRAIN), ("dev", Verdict.DEV), ("test", Verdict.TEST)):
        rows = read(out, split)
        assert [row["en"] for row in rows] == [
            text for text, code in zip(texts, verdicts, strict=True) if code == verdict
        ]
        assert [row["zh"] for row in rows] == [f"中{row['en']}" for row in rows]
        assert [row["source"] for row in rows] == [f"source-{row['en'][0]}" for row in rows]
        assert all(path.stat().st_size for path in out.glob(f"text/{split}-en-zh-00000.parquet"))
    rejected = read(out, "rejected")
    expected = [
        (text, names[code])
        for text, code in zip(texts, verdicts.tolist(), strict=True)
        if code >= Verdict.DUPLICATE_PAIR
    ]
    unreadable = [
        (f"{n}?{r}", "malformed_line") for n, k in (("a", 2), ("b", 1), ("d", 3)) for r in range(k)
    ]
    assert sorted((r["en"], r["reason"]) for r in rejected) == sorted(expected + unreadable)
    written = sum(int(code <= Verdict.TEST) for code in verdicts)
    assert int(after["quality"].sum()) == written
    sizes = {pq.read_metadata(path).num_rows for path in sorted(out.glob("*/*.parquet"))}
    assert max(sizes) <= rows_per_shard


def test_shards_are_the_same_bytes_for_any_number_of_workers(corpus: Corpus, tmp_path: Path):
    verdicts = np.zeros(len(corpus), np.uint8)
    for workers in (1, 2):
        engine = Engine("processes", workers)
        writing.write_corpus(corpus, verdicts, reasons(()), tmp_path / str(workers), engine)
    files = [
        {path.name: path.read_bytes() for path in (tmp_path / str(n) / "text").iterdir()}
        for n in (1, 2)
    ]
    assert files[0] == files[1]
    assert not list(tmp_path.rglob("verdicts.npy"))
