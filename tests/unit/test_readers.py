"""Readers: every format gives its pairs, every bad input its sentence, no row is ever shifted."""

import bz2
import gzip
import json
import lzma
import os
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from src.corpus.readers import BadRow, Pair, Row, open_tables, read_rows, source_names
from src.errors import DataError
from src.schema import SourceConfig

PAIRS = [Pair("Hello\u2028there", "你好\x85吧"), Pair("Two", "二"), Pair("Three", "三")]
_COMPRESS = {
    "": lambda data: data,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.ZstdCompressor().compress,
}


def rows_of(path: str, step: int = 1000) -> list[Row]:
    tables = open_tables(SourceConfig(path=path), "name", step)
    return [row for table in tables for row in read_rows(table, 0, table.row_count)]


@pytest.mark.parametrize("suffix", _COMPRESS)
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_tsv_gives_its_pairs(tmp_path: Path, suffix: str, line_end: str):
    text = line_end.join(f"{en}\t{zh}" for en, zh in PAIRS)
    path = tmp_path / f"a.tsv{suffix}"
    path.write_bytes(_COMPRESS[suffix](b"\xef\xbb\xbf" + text.encode()))
    assert rows_of(str(path)) == PAIRS


def test_tsv_header_names_the_columns(tmp_path: Path):
    (tmp_path / "a.tsv").write_text("id\tzh\ten\n1\t二\tTwo\n", encoding="utf-8")
    assert rows_of(str(tmp_path / "a.tsv")) == [Pair("Two", "二")]


def test_moses_files_give_their_pairs(tmp_path: Path):
    (tmp_path / "a.en").write_text("One\nTwo\n", encoding="utf-8")
    (tmp_path / "a.zh").write_text("一\n二", encoding="utf-8")
    expected = [Pair("One", "一"), Pair("Two", "二")]
    assert rows_of(str(tmp_path / "a.{en,zh}")) == expected
    assert rows_of(str(tmp_path / "*.{zh,en}")) == expected


def test_csv_gives_its_pairs_across_lines_and_quotes(tmp_path: Path):
    text = 'zh,en\n"二,\n两","Two ""2"""\n三,Three\n'
    (tmp_path / "a.csv").write_text(text, encoding="utf-8")
    assert rows_of(str(tmp_path / "a.csv")) == [Pair('Two "2"', "二,\n两"), Pair("Three", "三")]


def test_jsonl_gives_both_of_its_shapes(tmp_path: Path):
    lines = [
        json.dumps({"en": "One", "zh": "一"}),
        json.dumps({"translation": {"en": "Two", "zh": "二"}}),
        '{"en": "half", "zh": "\\ud83d"}',
        '{"en": 3, "zh": "三"}',
        "[",
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(lines), encoding="utf-8")
    rows = rows_of(str(tmp_path / "a.jsonl"))
    assert rows[:2] == [Pair("One", "一"), Pair("Two", "二")]
    assert [row.reason for row in rows[2:] if isinstance(row, BadRow)] == [
        "bad_encoding",
        "malformed_line",
        "malformed_line",
    ]


def test_bad_lines_are_rows_of_their_own_and_shift_nothing(tmp_path: Path):
    lines = [
        b"One\t\xe4\xb8\x80",
        b"no tab",
        b"a\tb\tc",
        b"\xff\t\xe4\xba\x8c",
        b"",
        b"Two\t\xe4\xba\x8c",
    ]
    (tmp_path / "a.tsv").write_bytes(b"\n".join(lines * 2) + b"\n")
    rows = rows_of(str(tmp_path / "a.tsv"))[:6]
    assert rows[0] == Pair("One", "一")
    assert [row.reason for row in rows[1:5] if isinstance(row, BadRow)] == [
        "malformed_line",
        "malformed_line",
        "bad_encoding",
        "malformed_line",
    ]
    assert rows[5] == Pair("Two", "二")


def test_undecodable_moses_line_takes_its_partner_along(tmp_path: Path):
    (tmp_path / "a.en").write_bytes(b"One\nTwo\nThree\n")
    (tmp_path / "a.zh").write_bytes("一\n".encode() + b"\xff\xfe\n" + "三\n".encode())
    rows = rows_of(str(tmp_path / "a.{en,zh}"))
    assert rows == [Pair("One", "一"), BadRow("bad_encoding", "Two\t��"), Pair("Three", "三")]


@settings(max_examples=30)
@given(
    st.lists(st.binary(max_size=6).map(lambda b: b.replace(b"\n", b"")), min_size=1, max_size=25),
    st.integers(1, 7),
    st.integers(1, 9),
)
def test_any_ranges_together_give_all_rows(
    tmp_path_factory, lines: list[bytes], step: int, cut: int
):
    path = tmp_path_factory.mktemp("ranges") / "a.tsv"
    path.write_bytes(b"".join(b"x\ty" + b"z" * len(line) + b"\n" for line in lines))
    (table,) = open_tables(SourceConfig(path=str(path)), "name", step)
    parts = [
        row
        for first in range(0, table.row_count, cut)
        for row in read_rows(table, first, min(cut, table.row_count - first))
    ]
    assert parts == list(read_rows(table, 0, len(lines)))
    assert len(parts) == len(lines)


def _write(folder: Path, name: str, content: bytes) -> str:
    (folder / name).write_bytes(content)
    return str(folder / name)


def test_missing_file_is_named(tmp_path: Path):
    with pytest.raises(DataError, match=r"absent\.tsv: no such file"):
        rows_of(str(tmp_path / "absent.tsv"))


def test_folder_instead_of_file_is_named(tmp_path: Path):
    with pytest.raises(DataError, match="is a folder, not a file"):
        rows_of(str(tmp_path))


def test_glob_without_match_is_named(tmp_path: Path):
    with pytest.raises(DataError, match=r"\*\.tsv: matches no file"):
        rows_of(str(tmp_path / "*.tsv"))


@pytest.mark.parametrize("suffix", _COMPRESS)
def test_empty_file_is_refused(tmp_path: Path, suffix: str):
    path = _write(tmp_path, f"a.tsv{suffix}", _COMPRESS[suffix](b""))
    with pytest.raises(DataError, match="is empty"):
        rows_of(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file_is_named(tmp_path: Path):
    path = _write(tmp_path, "a.tsv", b"a\tb\n")
    Path(path).chmod(0)
    with pytest.raises(DataError, match=r"a\.tsv: no permission to read it"):
        rows_of(path)


def test_moses_files_of_different_length_name_both_counts(tmp_path: Path):
    _write(tmp_path, "a.en", b"1\n2\n3\n")
    _write(tmp_path, "a.zh", b"1\n2\n")
    with pytest.raises(DataError, match=r"a\.en has 3 lines but .*a\.zh has 2 lines"):
        rows_of(str(tmp_path / "a.{en,zh}"))


def test_moses_file_without_partner_is_named(tmp_path: Path):
    for name in ("a.en", "b.en", "a.zh", "c.zh"):
        _write(tmp_path, name, b"1\n")
    with pytest.raises(DataError, match=r"b\.\{en,zh\} exists in one language only"):
        rows_of(str(tmp_path / "*.{en,zh}"))


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz", ".zst"])
def test_cut_off_file_is_refused(tmp_path: Path, suffix: str):
    whole = _COMPRESS[suffix](os.urandom(200_000).hex().encode() + b"\n")
    path = _write(tmp_path, f"a.tsv{suffix}", whole[: len(whole) // 2])
    with pytest.raises(DataError, match=rf"a\.tsv{suffix}: cut off or damaged"):
        rows_of(path)


def test_cut_off_file_names_the_last_good_line(tmp_path: Path):
    lines = b"".join(b"%d\t%s\n" % (n, os.urandom(40).hex().encode()) for n in range(60_000))
    whole = gzip.compress(lines)
    path = _write(tmp_path, "a.tsv.gz", whole[:-100_000])
    with pytest.raises(DataError, match=r"line [0-9,]+ is the last good one"):
        rows_of(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x7fELF\0\0\0\0" * 100, "is not text, line 1 holds NUL bytes"),
        ("Hello\t你好\n".encode("utf-16"), "is UTF-16; convert it first: iconv -f UTF-16"),
        ("Hello\t你好\n".encode("gbk") * 50, "is not UTF-8, 50 of its first 50 lines"),
    ],
)
def test_file_that_is_no_utf8_text_is_refused(tmp_path: Path, content: bytes, message: str):
    with pytest.raises(DataError, match=message):
        rows_of(_write(tmp_path, "a.tsv", content))


def test_file_of_another_format_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match="line 1 holds no tab, so it is no tsv"):
        rows_of(_write(tmp_path, "a.tsv", b"only one column\n" * 5))
    with pytest.raises(DataError, match="cannot tell its format from its name"):
        rows_of(_write(tmp_path, "a.src", b"a\tb\n"))
    with pytest.raises(DataError, match="holds a header but no pairs"):
        rows_of(_write(tmp_path, "b.tsv", b"en\tzh\n"))


def test_source_names_are_short_and_differ():
    sources = [
        SourceConfig(path=path) for path in ("x/train.tsv.gz", "y/train.{en,zh}", "x/train.csv")
    ]
    assert source_names(sources) == ["train", "y/train", "x/train"]
    assert source_names([SourceConfig(path="corpus/{en,zh}.txt")]) == ["corpus"]
