"""Rows stay rows: for any bytes, any ranges and any size of blocks."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from src.corpus.readers import blocks, line_reader
from src.corpus.readers.kernels import find_byte, is_utf8, valid_lines
from src.errors import DataError
from tests.fakes.reader_rows import COMPRESS, rows_by_ranges, rows_in, tables_of

# Enough good rows for any mess beside them to pass as text.
_GOOD = ["The river is wide – very wide.\t河很宽。".encode()] * 40

_PIECES = st.sampled_from(
    [
        b"\t",
        b"\r",
        b"\x0b",
        b"\x00",
        b'"',
        b",",
        b"a",
        "\u2028".encode(),
        "\x85".encode(),
        "好".encode(),
        "🦔".encode(),
        b"\xed\xa0\x80",
        b"\xff",
        b"\xe4",
        b'{"en": "a", "zh": "b"}',
    ]
)
_LINES = st.lists(st.lists(_PIECES, max_size=5).map(b"".join), max_size=25)


def _decodes(content: bytes) -> bool:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


@settings(max_examples=300)
@given(st.one_of(st.binary(max_size=40), st.lists(_PIECES, max_size=12).map(b"".join)))
@example(b"\xf4\x8f\xbf\xbf")
@example(b"\xf4\x90\x80\x80")
@example(b"\xe0\x9f\xbf")
@example(b"\xf0\x8f\xbf\xbf")
@example(b"\xed\x9f\xbf")
@example(b"\xc0\x80")
def test_utf8_is_what_python_says(content: bytes):
    assert is_utf8(np.frombuffer(content, np.uint8)) == _decodes(content)


@given(st.lists(st.lists(_PIECES, max_size=4).map(b"".join), max_size=8))
def test_broken_lines_are_told_from_whole_ones(lines: list[bytes]):
    bounds = np.cumsum([0, *(len(line) + 1 for line in lines)])
    data = np.frombuffer(b"\n".join([*lines, b""]), np.uint8)
    valid = valid_lines(data, bounds[:-1], bounds[1:] - 1)
    assert valid.tolist() == [_decodes(line) for line in lines]


@given(st.lists(st.sampled_from([0, 9, 10, 11, 0x8A, 0xFF]), max_size=60), st.data())
def test_bytes_are_found_where_they_are(values: list[int], data):
    content = np.array(values, np.uint8)
    begin = data.draw(st.integers(0, len(values)))
    end = data.draw(st.integers(begin, len(values)))
    places = np.empty(len(values), np.int64)
    count = find_byte(content, begin, end, 10, places)
    assert places[:count].tolist() == [i for i in range(begin, end) if values[i] == 10]


def _expected_tsv(lines: list[bytes]) -> tuple[list[tuple[str, ...]], list[tuple[int, str]]]:
    pairs, bad = [], []
    for number, raw in enumerate(lines, start=1):
        line = raw.removesuffix(b"\r")
        if not _decodes(line):
            bad.append((number, "bad_encoding"))
        elif line.count(b"\t") != 1:
            bad.append((number, "malformed_line"))
        else:
            pairs.append(tuple(line.decode().split("\t")))
    return pairs, bad


@settings(max_examples=60, deadline=None)
@given(_LINES, st.integers(1, 9), st.integers(1, 30), st.integers(1, 12), st.data())
def test_any_mess_of_tsv_gives_the_same_rows_in_any_ranges(
    tmp_path_factory, lines: list[bytes], step: int, chunk_size: int, block_rows: int, data
):
    suffix = data.draw(st.sampled_from(["", "", ".gz"]))
    path = tmp_path_factory.mktemp("mess") / f"a.tsv{suffix}"
    ending = data.draw(st.sampled_from([b"", b"\n"])) if lines and lines[-1] else b"\n"
    lines = [*_GOOD, *lines]
    path.write_bytes(COMPRESS[suffix](b"\n".join(lines) + ending))
    (table,) = tables_of(path, step)
    assert table.row_count == len(lines)
    pairs, bad = rows_by_ranges(table, chunk_size, block_rows)
    assert (pairs, [(row.row, row.reason) for row in bad]) == _expected_tsv(lines)
    first = data.draw(st.integers(0, len(lines) - 1))
    some, some_bad = rows_in(table, first, len(lines) - first, block_rows)
    assert some == pairs[len(pairs) - len(some) :]
    assert some_bad == bad[len(bad) - len(some_bad) :]


@settings(max_examples=40, deadline=None)
@given(_LINES, _LINES, st.integers(1, 9), st.integers(1, 30), st.integers(1, 12))
def test_any_mess_of_moses_files_stays_aligned(
    tmp_path_factory, left: list[bytes], right: list[bytes], step: int, chunk_size: int, block: int
):
    folder = tmp_path_factory.mktemp("moses")
    both = [*(tuple(line.split(b"\t")) for line in _GOOD), *zip(left, right, strict=False)]
    for side, name in enumerate(("a.en", "a.zh")):
        (folder / name).write_bytes(b"".join(pair[side] + b"\n" for pair in both))
    (table,) = tables_of(folder / "a.{en,zh}", step)
    pairs, bad = rows_by_ranges(table, chunk_size, block)
    whole = [tuple(line.removesuffix(b"\r") for line in pair) for pair in both]
    assert pairs == [(en.decode(), zh.decode()) for en, zh in whole if _decodes(en + b" " + zh)]
    assert [row.row for row in bad] == [
        number for number, (en, zh) in enumerate(whole, start=1) if not _decodes(en + b" " + zh)
    ]


@settings(max_examples=40, deadline=None)
@given(_LINES, st.integers(1, 9), st.integers(1, 30), st.integers(1, 12))
def test_any_mess_of_json_gives_the_same_rows_in_any_ranges(
    tmp_path_factory, lines: list[bytes], step: int, chunk_size: int, block_rows: int
):
    path = tmp_path_factory.mktemp("json") / "a.jsonl"
    good = json.dumps({"en": "One", "zh": "一"}, ensure_ascii=False).encode()
    path.write_bytes(b"".join(line + b"\n" for line in [*[good] * 30, *lines]))
    (table,) = tables_of(path, step)
    pairs, bad = rows_by_ranges(table, chunk_size, block_rows)
    assert len(pairs) + len(bad) == 30 + len(lines)
    assert (pairs, bad) == rows_in(table, 0, table.row_count)


def test_long_lines_cut_blocks_short_and_lose_nothing(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(line_reader, "_PIECE_BYTES", 16)
    monkeypatch.setattr(line_reader, "MOST_BLOCK_BYTES", 100)
    pairs = [("x" * (number % 190), "好" * (number % 7)) for number in range(300)]
    (tmp_path / "a.tsv").write_text("\n".join("\t".join(pair) for pair in pairs), encoding="utf-8")
    (table,) = tables_of(tmp_path / "a.tsv", 50)
    assert rows_by_ranges(table, 50, 20) == (pairs, [])
    assert max(block.rows for block in table.rows.read(0, 300, 1000)) < 200
    for side, name in enumerate(("a.en", "a.zh")):
        (tmp_path / name).write_text("\n".join(pair[side] for pair in pairs), encoding="utf-8")
    (table,) = tables_of(tmp_path / "a.{en,zh}", 50)
    assert rows_by_ranges(table, 50, 20) == (pairs, [])


def test_row_by_row_blocks_are_cut_short_as_well(monkeypatch):
    monkeypatch.setattr(blocks, "_MOST_BLOCK_CHARACTERS", 10)
    rows = [blocks.Pair(number, "x" * 6, "y") for number in range(5)]
    assert [block.rows for block in blocks.blocks_of_rows(rows, 100)] == [2, 2, 1]


def test_lines_longer_than_any_sentence_are_refused(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(line_reader, "_PIECE_BYTES", 16)
    monkeypatch.setattr(line_reader, "_MOST_LINE_BYTES", 1024)
    (tmp_path / "a.tsv").write_bytes(b"a\tb\n" * 5 + b"x" * 2000 + b"\ty\n")
    with pytest.raises(DataError, match=r"a\.tsv: a line is longer than 1\.0 KiB; .*; line 5 is"):
        tables_of(tmp_path / "a.tsv")
