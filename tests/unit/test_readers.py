"""Readers: every format gives its pairs, whatever it is called and however it is packed."""

import json
import pickle
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from src.corpus.readers import BadRow, source_languages, source_names
from src.errors import DataError
from src.schema import SourceConfig
from tests.fakes.reader_rows import (
    COMPRESS,
    Pairs,
    rows_by_ranges,
    rows_in,
    rows_of,
    tables_of,
)

# Characters at which Python would split lines, and a long entry.
PAIRS = [
    ("Hello\u2028there\x0b\x0c", "你好\x85吧"),
    ("Two\rand", "二"),
    ("", "三"),
    ("x " * 20_000, "四" * 20_000),
]


def _write(path: Path, text: str) -> Path:
    path.write_bytes(text.encode("utf-8"))
    return path


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_tsv_gives_its_pairs(tmp_path: Path, suffix: str, line_end: str):
    text = line_end.join(f"{en}\t{zh}" for en, zh in PAIRS)
    path = tmp_path / f"a.tsv{suffix}"
    path.write_bytes(COMPRESS[suffix](b"\xef\xbb\xbf" + text.encode()))
    assert rows_of(path) == (PAIRS, [])


@pytest.mark.parametrize("suffix", COMPRESS)
def test_moses_files_give_their_pairs(tmp_path: Path, suffix: str):
    for side, label in enumerate(("en", "zh")):
        content = "\n".join(pair[side] for pair in PAIRS).encode()
        (tmp_path / f"a.{label}{suffix}").write_bytes(COMPRESS[suffix](content))
    for braces in ("{en,zh}", "{zh,en}"):
        assert rows_of(f"{tmp_path}/a.{braces}{suffix}") == (PAIRS, [])
        assert rows_of(f"{tmp_path}/*.{braces}*") == (PAIRS, [])


@pytest.mark.parametrize(
    ("labels", "languages"),
    [(("eng", "zh_CN"), None), (("ref", "src"), "en-zh"), (("b", "a"), None)],
)
def test_moses_files_may_be_called_otherwise(tmp_path: Path, labels, languages):
    for label, text in zip(labels, ("One\n", "一"), strict=True):
        _write(tmp_path / f"train.en-zh.{label}", text)
    path = f"{tmp_path}/train.en-zh.{{{','.join(labels)}}}"
    assert rows_of(path, languages=languages) == ([("One", "一")], [])


def test_partners_are_found_by_what_wildcards_stand_for(tmp_path: Path):
    for name in ("en/a.x.en", "en/b.x.en", "zh/a.y.zh", "zh/b.y.zh"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        _write(tmp_path / name, f"{name}\n")
    with pytest.raises(DataError, match=r"a\.x\.en: has no partner in the other language"):
        rows_of(f"{tmp_path}/{{en,zh}}/*.{{en,zh}}")
    for name in ("a.x.zh", "b.x.zh"):
        _write(tmp_path / "zh" / name, f"{name}\n")
    expected = [("en/a.x.en", "a.x.zh"), ("en/b.x.en", "b.x.zh")]
    assert rows_of(f"{tmp_path}/{{en,zh}}/*.x.{{en,zh}}") == (expected, [])


def test_header_names_the_columns(tmp_path: Path):
    expected: tuple[Pairs, list[BadRow]] = ([("Two", "二")], [])
    assert rows_of(_write(tmp_path / "a.tsv", "id\tzh_Hant\tEN\n1\t二\tTwo\n")) == expected
    assert rows_of(_write(tmp_path / "a.csv", 'Chinese,"English",id\n二,Two,\n')) == expected
    assert rows_of(_write(tmp_path / "b.csv", "zh;en\n二;Two\n")) == expected


def test_lines_before_the_header_may_be_blank(tmp_path: Path):
    for name, text in (
        ("a.tsv", "\r\n\r\nzh\ten\r\n二\tTwo\r\n"),
        ("a.csv", "\n\nzh,en\n二,Two\n"),
    ):
        assert rows_of(_write(tmp_path / name, text)) == ([("Two", "二")], [])


def test_first_line_may_be_longer_than_what_is_looked_at(tmp_path: Path):
    long = "x" * (1 << 20)
    path = _write(tmp_path / "a.tsv", f"{long}\t一\nTwo\t二\n")
    assert rows_of(path) == ([(long, "一"), ("Two", "二")], [])


def test_without_header_the_source_says_which_language_is_first(tmp_path: Path):
    path = _write(tmp_path / "a.tsv", "二\tTwo\n")
    assert rows_of(path, languages="zh-en") == ([("Two", "二")], [])
    assert rows_of(path) == ([("二", "Two")], [])


def test_header_of_other_languages_is_refused(tmp_path: Path):
    path = _write(tmp_path / "a.tsv", "en\tfr\nOne\tUn\n")
    with pytest.raises(DataError, match=r"a\.tsv: its columns are en, fr, and none is zh; name"):
        rows_of(path)


def test_json_lines_give_both_of_their_shapes(tmp_path: Path):
    lines = [
        json.dumps({"en": "One", "zh": "一\n"}),
        json.dumps({"translation": {"en": "Two", "zh": "二"}}, ensure_ascii=False),
        '{"en": "half", "zh": "\\ud83d"}',
        '{"en": 3, "zh": "三"}',
        "[",
        "[" * 100_000,
        "",
    ]
    pairs, bad = rows_of(_write(tmp_path / "a.jsonl", "\n".join(lines) + "\n"))
    assert pairs == [("One", "一\n"), ("Two", "二")]
    assert sorted((row.row, row.reason) for row in bad) == [
        (3, "bad_encoding"),
        *((number, "malformed_line") for number in (4, 5, 6, 7)),
    ]


def test_json_keys_may_be_called_otherwise(tmp_path: Path):
    line = json.dumps({"English": "One", "zh-CN": "一"})
    assert rows_of(_write(tmp_path / "a.jsonl", line)) == ([("One", "一")], [])


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (("en", "zh"), pa.string()),
        (("English", "zh_CN"), pa.dictionary(pa.int32(), pa.string())),
        (("translation", None), pa.large_string()),
        (("en", "zh"), pa.large_binary()),
        (("en", "zh"), pa.string_view()),
        (("en", "zh"), pa.binary_view()),
    ],
)
def test_parquet_gives_its_pairs(tmp_path: Path, names, kind: pa.DataType):
    rows = [*PAIRS, (None, "五"), ("Six", None), ("Seven", "七")]
    columns = [pa.array([row[side] for row in rows], pa.string()).cast(kind) for side in (0, 1)]
    if names[1] is None:
        table = pa.table(
            {"id": range(7), "translation": pa.StructArray.from_arrays(columns, ["en", "zh"])}
        )
    else:
        table = pa.table({names[1]: columns[1], names[0]: columns[0]})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=2)
    pairs, bad = rows_of(tmp_path / "a.parquet")
    assert pairs == [*PAIRS, ("Seven", "七")]
    assert bad == [BadRow(5, "malformed_line", "\t五"), BadRow(6, "malformed_line", "Six\t")]


def test_parquet_columns_of_one_name_are_refused(tmp_path: Path):
    texts = pa.array(["One"])
    names = ["en", "zh", "zh", "id", "id"]
    pq.write_table(pa.Table.from_arrays([texts] * 5, names), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="2 of its columns are called zh; rename all but one"):
        rows_of(tmp_path / "a.parquet")
    names = ["en", "zh", "x", "id", "id"]
    pq.write_table(pa.Table.from_arrays([texts] * 5, names), tmp_path / "a.parquet")
    assert rows_of(tmp_path / "a.parquet") == ([("One", "One")], [])


def test_parquet_bytes_that_are_not_utf8_are_bad_rows(tmp_path: Path):
    table = pa.table({"en": [b"One", b"\xff", b"Three"], "zh": ["一", "二", "三"]})
    pq.write_table(table, tmp_path / "a.parquet")
    pairs, bad = rows_of(tmp_path / "a.parquet")
    assert pairs == [("One", "一"), ("Three", "三")]
    assert bad == [BadRow(2, "bad_encoding", "\ufffd\t二")]


@pytest.mark.parametrize("group", [1, 3, 40, 1000])
@pytest.mark.parametrize("chunk_size", [1, 7, 300])
def test_parquet_ranges_cover_all_rows(tmp_path: Path, group: int, chunk_size: int):
    pairs = [(f"{number}", f"第{number}") for number in range(100)]
    columns = {"en": [en for en, _ in pairs], "zh": [zh for _, zh in pairs]}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet", row_group_size=group)
    (table,) = tables_of(tmp_path / "a.parquet")
    assert rows_by_ranges(table, chunk_size, 9) == (pairs, [])


def test_parquet_without_the_columns_names_those_it_has(tmp_path: Path):
    pq.write_table(pa.table({"en": ["a"], "text": ["b"]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="its columns are en, text; name the two texts en and zh"):
        rows_of(tmp_path / "a.parquet")
    pq.write_table(pa.table({"en": ["a"], "zh": [1]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="column zh holds int64, not text"):
        rows_of(tmp_path / "a.parquet")
    pq.write_table(
        pa.table({"en": pa.array([], pa.string()), "zh": pa.array([], pa.string())}),
        tmp_path / "a.parquet",
    )
    with pytest.raises(DataError, match="is empty"):
        rows_of(tmp_path / "a.parquet")
    _write(tmp_path / "b.parquet", "en\tzh\n")
    with pytest.raises(DataError, match=r"b\.parquet: is no whole Parquet file"):
        rows_of(tmp_path / "b.parquet")


def test_tables_can_be_sent_to_other_processes(tmp_path: Path):
    for name, text in (
        ("a.tsv", "One\t一\n"),
        ("a.csv", "One,一\n"),
        ("a.en", "One"),
        ("a.zh", "一"),
    ):
        _write(tmp_path / name, text)
    for name in ("a.tsv", "a.csv", "a.{en,zh}"):
        (table,) = tables_of(tmp_path / name)
        copy = pickle.loads(pickle.dumps(table))  # noqa: S301  our own bytes
        assert copy == table
        assert rows_in(copy, 0, 1) == ([("One", "一")], [])
        assert json.loads(json.dumps(copy.layout)) == table.layout


def test_compressed_files_are_cut_into_few_ranges(tmp_path: Path):
    pairs: Pairs = [(str(number), "数") for number in range(1000)]
    content = "\n".join("\t".join(pair) for pair in pairs).encode()
    for suffix, ranges in (("", 100), (".gz", 8)):
        path = tmp_path / f"a.tsv{suffix}"
        path.write_bytes(COMPRESS[suffix](content))
        (table,) = tables_of(path, step=10)
        assert len(list(table.ranges(10))) == ranges
        assert rows_by_ranges(table, 10, 33) == (pairs, [])


def test_several_members_and_padding_are_one_file(tmp_path: Path):
    for suffix in (".gz", ".bz2", ".xz", ".zst"):
        path = tmp_path / f"a.tsv{suffix}"
        parts = [COMPRESS[suffix](part.encode()) for part in ("One\t", "一\nTwo\t二\n")]
        path.write_bytes(b"".join(parts) + b"\0" * 512)
        assert rows_of(path) == ([("One", "一"), ("Two", "二")], [])


def test_source_names_are_short_and_differ():
    paths = ("x/train.tsv.gz", "y/train.{en,zh}", "x/train.csv", "https://h/x/train.tsv?key=1.2")
    sources = [SourceConfig(path=path) for path in paths]
    assert source_names(sources) == ["train", "y/train", "x/train", "train-2"]
    assert source_names([SourceConfig(path="corpus/{en,zh}.txt")]) == ["corpus"]


def test_source_languages_are_said_by_the_source_or_its_files():
    pairs = [("en", "zh"), ("en", "fr")]

    def languages(path: str, said: str | None = None) -> tuple[str, str]:
        return source_languages(SourceConfig(path=path, languages=said), pairs)

    assert languages("a.tsv") == ("en", "zh")
    assert languages("a.tsv", "fr-en") == ("en", "fr")
    assert languages("a.{fr,en}") == ("en", "fr")
    assert languages("a.{src,ref}", "zh-en") == ("en", "zh")
    with pytest.raises(
        DataError, match=r"a\.\{de,en\}: is de-en, and data\.language_pairs has en-zh, en-fr"
    ):
        languages("a.{de,en}")
