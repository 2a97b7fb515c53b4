"""CSV: what Python's module reads, and what to do where it gives up."""

import csv
import io
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from src.corpus.readers import BadRow, csv_kernels, line_reader
from src.errors import DataError
from tests.fakes.reader_rows import rows_by_ranges, rows_in, rows_of, tables_of

_CELL = st.text(alphabet='ab好"\n\r,; \u2028', max_size=6)
_HEADER = b"en,zh\n"


def _write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_csv_gives_its_pairs_across_lines_and_quotes(tmp_path: Path):
    text = 'zh,en\r\n"二,\n两","Two ""2"""\r\n三,Three "3"\r\n"四"!,Four'
    pairs, bad = rows_of(_write(tmp_path / "a.csv", text.encode()))
    assert pairs == [('Two "2"', "二,\n两"), ('Three "3"', "三"), ("Four", "四!")]
    assert bad == []


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(_CELL, _CELL), min_size=1, max_size=20),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.sampled_from(["\n", "\r\n"]),
    st.integers(1, 5),
    st.integers(1, 9),
)
def test_what_python_writes_is_read_in_any_ranges(
    tmp_path_factory, pairs, quoting: Literal[0, 1], line_end: str, step: int, chunk_size: int
):
    # Python leaves a carriage return without quotes where it is no line end of its own.
    assume(line_end == "\r\n" or not any("\r" in zh for _, zh in pairs))
    stream = io.StringIO()
    writer = csv.writer(stream, quoting=quoting, lineterminator=line_end)
    writer.writerows([("en", "zh"), *pairs])
    path = _write(tmp_path_factory.mktemp("csv") / "a.csv", stream.getvalue().encode())
    (table,) = tables_of(path, step)
    assert rows_by_ranges(table, chunk_size, 4) == (pairs, [])


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.sampled_from(['"', '""', ",", "a", "好", "\n", "\r\n"]), max_size=30).map("".join)
)
@example('"a"b,"c""d"e\n')
@example('a"b,c"\n')
@example('"a\n"b,"c"\n')
def test_other_records_are_what_python_reads_them_as(tmp_path_factory, text: str):
    content = _HEADER + text.encode() + b'\n"end","end"\n'
    path = _write(tmp_path_factory.mktemp("csv") / "a.csv", content)
    (table,) = tables_of(path, 3)
    pairs, bad = rows_in(table, 0, table.row_count)
    stream = io.StringIO(content.decode(), newline="")
    records = list(csv.reader(stream))[1:]
    # A stray quote swallows lines for Python, and costs its own line here.
    is_sound = _is_strict(content) or not any("\n" in cell for row in records for cell in row)
    if is_sound and records and records[-1] == ["end", "end"]:
        assert pairs == [tuple(record) for record in records if len(record) == 2]
        assert len(bad) == sum(len(record) != 2 for record in records)
    assert pairs + bad
    assert (pairs, bad) == rows_by_ranges(table, 1, 2)


def _is_strict(content: bytes) -> bool:
    try:
        list(csv.reader(io.StringIO(content.decode(), newline=""), strict=True))
    except csv.Error:
        return False
    return True


def test_open_quote_costs_one_line(tmp_path: Path):
    content = _HEADER + '"One,一\nTwo,二\nThree,三\n'.encode()
    pairs, bad = rows_of(_write(tmp_path / "a.csv", content))
    assert pairs == [("Two", "二"), ("Three", "三")]
    assert bad == [BadRow(2, "malformed_line", '"One,一')]


@pytest.mark.parametrize(
    "later",
    ['The sign said so,"出口"在那边', '"Hello, there",你好', 'He said "hi",他说嗨', '"a"b,"c"'],
)
@pytest.mark.parametrize("piece", [5, 1 << 20])
def test_stray_quote_costs_one_line_though_others_follow(
    tmp_path: Path, monkeypatch, later: str, piece: int
):
    monkeypatch.setattr(line_reader, "_PIECE_BYTES", piece)
    lines = [f"{number},号" for number in range(300)]
    lines[20], lines[250] = '"Come here, she said,她说过来', later
    path = _write(tmp_path / "a.csv", _HEADER + "\n".join(lines).encode())
    (table,) = tables_of(path, 7)
    pairs, bad = rows_by_ranges(table, 50, 9)
    assert len(pairs) == 299
    assert bad == [BadRow(22, "malformed_line", lines[20])]


def test_text_after_a_closed_quote_belongs_to_the_cell(tmp_path: Path):
    text = '"Hello" she said,她说\n"One\nTwo","一\r\n二"\r\n'
    pairs, bad = rows_of(_write(tmp_path / "a.csv", _HEADER + text.encode()))
    assert pairs == [("Hello she said", "她说"), ("One\nTwo", "一\r\n二")]
    assert bad == []


def test_quote_that_stays_open_for_long_costs_one_line(tmp_path: Path):
    rows = [(f"{number} {'x' * 80}", "好") for number in range(15_000)]
    lines = "".join(f"{en},{zh}\n" for en, zh in rows)
    path = _write(tmp_path / "a.csv", _HEADER + f'"open\n{lines}"end",end\n'.encode())
    assert len(lines) > csv_kernels._MOST_QUOTED_BYTES
    pairs, bad = rows_of(path)
    assert pairs == [*rows, ("end", "end")]
    assert bad == [BadRow(2, "malformed_line", '"open')]


def test_records_may_be_longer_than_what_is_read_at_a_time(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(line_reader, "_PIECE_BYTES", 7)
    pairs = [('a "quoted"\nand long cell', "好,好"), ("b", "\n\n\n")] * 20
    stream = io.StringIO()
    csv.writer(stream).writerows([("en", "zh"), *pairs])
    path = _write(tmp_path / "a.csv", stream.getvalue().encode())
    (table,) = tables_of(path, 3)
    assert rows_by_ranges(table, 3, 2) == (pairs, [])


def test_bad_records_are_rows_of_their_own(tmp_path: Path):
    lines = ["One,一", "only one", "a,b,c", "", "Two,二"]
    content = _HEADER + "\n".join(lines).encode() + b"\n\xff,x\n" + "Three,三\n".encode() * 4
    pairs, bad = rows_of(_write(tmp_path / "a.csv", content))
    assert pairs == [("One", "一"), ("Two", "二"), *[("Three", "三")] * 4]
    assert [(row.row, row.reason) for row in bad] == [
        (3, "malformed_line"),
        (4, "malformed_line"),
        (5, "malformed_line"),
        (7, "bad_encoding"),
    ]


_SEMICOLONS = [(f"Number {n} is blue, says Anne", f"第{n}号是蓝色的, 安妮说") for n in range(30)]


@pytest.mark.parametrize("header", ["en;zh\n", "sep=;\nen;zh\n", "\r\nen;zh\n", '"sep=;"\r\n'])
def test_semicolons_separate_though_every_sentence_holds_a_comma(tmp_path: Path, header: str):
    text = header + "".join(f"{en};{zh}\n" for en, zh in _SEMICOLONS)
    assert rows_of(_write(tmp_path / "a.csv", text.encode())) == (_SEMICOLONS, [])


def test_commas_separate_though_every_sentence_holds_a_semicolon(tmp_path: Path):
    text = _HEADER + "".join(f"{n}; one,{n}; 一\n" for n in range(9)).encode()
    pairs, bad = rows_of(_write(tmp_path / "a.csv", text))
    assert (pairs[3], len(pairs), bad) == (("3; one", "3; 一"), 9, [])


def test_separator_that_fits_more_rows_is_taken_without_a_header(tmp_path: Path):
    pairs = [*_SEMICOLONS, ("One", "一")]
    text = "".join(f"{en};{zh}\n" for en, zh in pairs)
    assert rows_of(_write(tmp_path / "a.csv", text.encode())) == (pairs, [])


def test_quotes_tell_the_separator_where_rows_fit_both_ways(tmp_path: Path):
    path = _write(tmp_path / "a.csv", '"One; two","一; 二"\n"Three, four","三; 四"\n'.encode())
    assert rows_of(path) == ([("One; two", "一; 二"), ("Three, four", "三; 四")], [])


def test_two_separators_that_fit_equally_are_refused(tmp_path: Path):
    text = "".join(f"{en};{zh}\n" for en, zh in _SEMICOLONS)
    with pytest.raises(
        DataError, match=r"a\.csv: commas and semicolons cut its .*; write a header"
    ):
        rows_of(_write(tmp_path / "a.csv", text.encode()))


def test_header_of_other_languages_is_refused_whatever_separates(tmp_path: Path):
    path = _write(tmp_path / "a.csv", b"en;fr\n" + b"One, two;Un\n" * 9)
    with pytest.raises(DataError, match="its columns are en, fr, and none is zh"):
        rows_of(path)


def test_separator_line_of_a_spreadsheet_is_no_pair(tmp_path: Path):
    for text in ("sep=,\r\nen,zh\r\nOne,一\r\n", "\ufeffSEP=,\nOne,一\n", "sep=\t\nOne\t一\n"):
        path = _write(tmp_path / "a.csv", text.encode())
        assert rows_of(path) == ([("One", "一")], [])
    with pytest.raises(DataError, match="line 2 holds no comma or semicolon"):
        rows_of(_write(tmp_path / "a.csv", b"sep=;\nOne,yi\n"))
