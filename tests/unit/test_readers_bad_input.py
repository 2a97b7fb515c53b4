"""Readers: every bad input has its sentence, naming the file and what to do."""

import logging
import os
import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from src.corpus.readers import BadRow, find_files, read_blocks
from src.corpus.readers.encoding import check_is_utf8_text
from src.corpus.readers.streams import explained_read_errors
from src.errors import DataError
from src.schema import SourceConfig
from tests.fakes.reader_rows import COMPRESS, rows_of, tables_of

_PACKED = [suffix for suffix in COMPRESS if suffix]


def _write(folder: Path, name: str, content: bytes) -> Path:
    (folder / name).write_bytes(content)
    return folder / name


def test_bad_lines_are_rows_of_their_own_and_shift_nothing(tmp_path: Path):
    lines = [
        b"One\t\xe4\xb8\x80",
        b"no tab",
        b"a\tb\tc",
        b"\xff\t\xe4\xba\x8c",
        b"",
        b"Two\x00\t\xe4\xba\x8c",
    ]
    pairs, bad = rows_of(_write(tmp_path, "a.tsv", b"en\tzh\n" + b"\n".join(lines) + b"\n"))
    assert pairs == [("One", "一"), ("Two\0", "二")]
    assert bad == [
        BadRow(3, "malformed_line", "no tab"),
        BadRow(4, "malformed_line", "a\tb\tc"),
        BadRow(5, "bad_encoding", "\ufffd\t二"),
        BadRow(6, "malformed_line", ""),
    ]


def test_undecodable_moses_line_takes_its_partner_along(tmp_path: Path):
    _write(tmp_path, "a.en", b"One\nTwo\nThree\n")
    _write(tmp_path, "a.zh", "一\n".encode() + b"\xff\xfe\n" + "三\n".encode())
    pairs, bad = rows_of(tmp_path / "a.{en,zh}")
    assert pairs == [("One", "一"), ("Three", "三")]
    assert bad == [BadRow(2, "bad_encoding", "Two\t\ufffd\ufffd")]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("absent.tsv", r"absent\.tsv: no such file; check the path"),
        ("", r": is a folder, not a file; name its files, e\.g\."),
        ("*.tsv", r"\*\.tsv: matches no file; check the path"),
        ("a.src", r"a\.src: cannot tell its format from its name; set format to moses, tsv,"),
        ("{a,b}.src", r"b\.src: no such file"),
        ("pipe", r"pipe: is a pipe or device; write what it gives to a file first"),
        ("s3://bucket/a.tsv", "is a URL; fetch it before looking for files"),
    ],
)
def test_what_cannot_be_found_is_named(tmp_path: Path, path: str, message: str):
    _write(tmp_path, "a.src", b"x")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match=message):
        rows_of(path if "://" in path else tmp_path / path)


def test_wildcards_pass_over_folders_and_may_be_part_of_a_name(tmp_path: Path):
    (tmp_path / "x.tsv").mkdir()
    path = _write(tmp_path, "a[1].tsv", b"One\tyi\n")
    assert find_files(SourceConfig(path=f"{tmp_path}/*.tsv")) == [(path,)]
    assert find_files(SourceConfig(path=str(path))) == [(path,)]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("m [v2]/t.{en,zh}", "m [v2]/t"),
        ("m [[]v2]/t*.{en,zh}", "m [v2]/t"),
        ("mm/t[!0].{en,zh}", "mm/t1"),
    ],
)
def test_names_of_partners_may_hold_brackets(tmp_path: Path, pattern: str, found: str):
    for stem in ("m [v2]/t", "mm/t0", "mm/t1"):
        (tmp_path / stem).parent.mkdir(exist_ok=True)
        _write(tmp_path, f"{stem}.en", b"One\n")
        _write(tmp_path, f"{stem}.zh", b"yi\n")
    expected = [(tmp_path / f"{found}.en", tmp_path / f"{found}.zh")]
    assert find_files(SourceConfig(path=f"{tmp_path}/{pattern}")) == expected


def test_wildcards_of_partners_stand_for_what_they_match(tmp_path: Path):
    for stem in ("a^", "a1", "a[", "a\\"):
        _write(tmp_path, f"{stem}.en", b"One\n")
        _write(tmp_path, f"{stem}.zh", b"yi\n")
    for wildcard, count in (("[^1]", 2), ("[!1]", 3), ("[[1]", 2), ("[!^]", 3), ("[\\]", 1)):
        found = find_files(SourceConfig(path=f"{tmp_path}/a{wildcard}.{{en,zh}}"))
        assert len(found) == count
        assert all(first.stem == second.stem for first, second in found)


def test_tilde_that_names_nobody_is_part_of_a_name(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = _write(tmp_path, "~backup.tsv", b"One\tyi\n")
    assert find_files(SourceConfig(path="~backup.tsv")) == [(Path(path.name),)]
    for absent in ("~nosuchuser/x.tsv", "~nosuchuser/x.{en,zh}"):
        with pytest.raises(DataError, match="no such file; check the path"):
            find_files(SourceConfig(path=absent))


def test_format_that_does_not_fit_is_refused(tmp_path: Path):
    path = _write(tmp_path, "a.tsv", b"One\tyi\n")
    with pytest.raises(
        DataError, match="format moses does not fit; Moses files are named as a pair"
    ):
        rows_of(path, format="moses")


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf"])
def test_empty_file_is_refused(tmp_path: Path, suffix: str, content: bytes):
    path = _write(tmp_path, f"a.tsv{suffix}", COMPRESS[suffix](content))
    with pytest.raises(DataError, match=r"is empty; remove it from data\.sources or fill it"):
        rows_of(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file_is_named(tmp_path: Path):
    path = _write(tmp_path, "a.tsv", b"a\tb\n")
    path.chmod(0)
    with pytest.raises(DataError, match=r"a\.tsv: no permission to read it"):
        rows_of(path)


def test_refused_permission_is_one_sentence():
    with (
        pytest.raises(
            DataError, match=r"a\.tsv: no permission to read it; check its owner and mode"
        ),
        explained_read_errors(Path("a.tsv")),
    ):
        raise PermissionError


def test_moses_files_of_different_length_name_both_counts(tmp_path: Path):
    _write(tmp_path, "a.en", b"1\n2\n3\n")
    _write(tmp_path, "a.zh", b"1\n2\n")
    with pytest.raises(
        DataError, match=r"a\.en has 3 lines but .*a\.zh has 2 lines; line n of one"
    ):
        rows_of(tmp_path / "a.{en,zh}")


def test_moses_file_without_partner_is_named(tmp_path: Path):
    for name in ("a.en", "b.en", "a.zh", "c.zh"):
        _write(tmp_path, name, b"1\n")
    with pytest.raises(DataError, match=r"b\.en: has no partner in the other language"):
        rows_of(tmp_path / "*.{en,zh}")


@pytest.mark.parametrize("suffix", _PACKED)
@pytest.mark.parametrize("name", ["a.tsv", "a.csv", "a.jsonl", "a.tmx", "a.po"])
def test_cut_off_file_is_refused(tmp_path: Path, suffix: str, name: str):
    start = {"a.tsv": b"a\tb\n", "a.csv": b"a,b\n", "a.jsonl": b'{"en": "a", "zh": "b"}\n'}
    start |= {"a.tmx": b"<tmx><body>", "a.po": b""}
    whole = COMPRESS[suffix](start[name] + os.urandom(200_000).hex().encode() + b"\n")
    path = _write(tmp_path, f"{name}{suffix}", whole[: len(whole) // 2])
    with pytest.raises(
        DataError, match=rf"{name}{suffix}: cut off or damaged \(.*\); fetch it again"
    ):
        rows_of(path)


@pytest.mark.parametrize("suffix", _PACKED)
def test_damaged_file_is_refused(tmp_path: Path, suffix: str):
    whole = bytearray(COMPRESS[suffix](b"a\tb\n" + os.urandom(200_000).hex().encode() + b"\n"))
    whole[len(whole) // 2] ^= 0xFF
    whole[len(whole) // 2 + 1] ^= 0xFF
    path = _write(tmp_path, f"a.tsv{suffix}", bytes(whole))
    with pytest.raises(DataError, match=rf"a\.tsv{suffix}: cut off or damaged"):
        rows_of(path)


_PACKERS = {".gz": "gzip", ".bz2": "bzip2", ".xz": "xz", ".zst": "zstd"}


@pytest.mark.parametrize("suffix", _PACKED)
def test_suffix_that_promises_too_much_is_named(tmp_path: Path, suffix: str):
    packer = _PACKERS[suffix]
    path = _write(tmp_path, f"a.tsv{suffix}", b"this is no compressed file at all\tis it?\n")
    with pytest.raises(DataError, match=rf"{suffix}: is not {packer}; rename it without {suffix}"):
        rows_of(path)
    path = _write(tmp_path, f"a.tsv{suffix}", b"PK\x03\x04" + bytes(50))
    with pytest.raises(DataError, match=rf"{suffix}: is zip and not {packer}; rename it"):
        rows_of(path)


@pytest.mark.parametrize("suffix", _PACKED)
@pytest.mark.parametrize("name", ["a.tsv", "a.csv", "a.jsonl", "a.tmx", "a.po", "a.parquet"])
def test_compressed_file_without_the_suffix_is_named(tmp_path: Path, name: str, suffix: str):
    packed = COMPRESS[suffix](b"One\tyi\n" * 5)
    message = rf"is {_PACKERS[suffix]}, but its name does not end in {suffix}; rename it"
    with pytest.raises(DataError, match=message):
        rows_of(_write(tmp_path, name, packed))


def test_other_binary_files_are_named(tmp_path: Path):
    pq.write_table(pa.table({"en": ["One"], "zh": ["yi"]}), tmp_path / "a.tsv")
    with pytest.raises(DataError, match=r"is Parquet, but its name does not end in \.parquet"):
        rows_of(tmp_path / "a.tsv")
    with pytest.raises(DataError, match=r"a\.csv: is zip, an archive or a spreadsheet; unpack"):
        rows_of(_write(tmp_path, "a.csv", b"PK\x03\x04" + bytes(50)))
    twice = COMPRESS[".gz"](COMPRESS[".gz"](b"One\tyi\n"))
    with pytest.raises(DataError, match=r"gz: is gzip, even after unpacking it once; unpack"):
        rows_of(_write(tmp_path, "a.tsv.gz", twice))


@pytest.mark.parametrize("text", ["BZh means nothing\tyi", "PAR1\tyi", "PK\tyi"])
def test_text_that_begins_like_a_binary_file_is_read(tmp_path: Path, text: str):
    pairs, _ = rows_of(_write(tmp_path, "a.tsv", text.encode()))
    assert pairs == [tuple(text.split("\t"))]


@pytest.mark.parametrize("suffix", _PACKED)
def test_suffixes_may_be_upper_case(tmp_path: Path, suffix: str):
    path = _write(tmp_path, f"a.TSV{suffix.upper()}", COMPRESS[suffix](b"One\tyi\n"))
    assert rows_of(path) == ([("One", "yi")], [])


@pytest.mark.parametrize("encoding", ["UTF-16LE", "UTF-16BE"])
@pytest.mark.parametrize(
    "text",
    ["Hello\t你好\n", "Hello", "这是上海的中文句子\n" * 9, "это\tрусский\n" * 50],
    ids=["both", "latin", "chinese", "russian"],
)
def test_utf16_without_a_mark_is_named(tmp_path: Path, encoding: str, text: str):
    path = _write(tmp_path, "a.tsv", text.encode(encoding))
    message = rf"is {encoding} without a mark; convert it first: iconv -f {encoding} -t"
    with pytest.raises(DataError, match=message):
        rows_of(path)


@pytest.mark.parametrize("suffix", _PACKED)
def test_cut_off_file_says_how_far_it_is_good(tmp_path: Path, suffix: str):
    lines = b"".join(b"%d\t%s\n" % (n, os.urandom(40).hex().encode()) for n in range(6_000))
    path = _write(tmp_path, f"a.tsv{suffix}", COMPRESS[suffix](lines)[:-100_000])
    extent = r"(line [0-9,]+ is the last good one|no line of it is whole)$"
    with pytest.raises(DataError, match=extent):
        rows_of(path)


_CHINESE = "的中文句子是这样的，我们在这里有很多人。"
_MESSAGE = r"is not UTF-8, 50 of its first 50 lines cannot be decoded, line 1 first; it looks like "


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x7fELF\0\0\0\0" * 100, "is not text, line 1 holds NUL bytes; name a UTF-8 text file"),
        (
            "Hello\t你好\n".encode("utf-16"),
            "is UTF-16; convert it first: iconv -f UTF-16 -t UTF-8 a",
        ),
        (b"One\tyi\rTwo\ter\r", "its lines end in CR alone; convert it first: cat a.tsv | tr"),
        (f"Hello\t{_CHINESE}\n".encode("gbk") * 50, _MESSAGE + "GB18030: convert it first: iconv"),
        ("Hello\t這是一個中文句子，我們在這裡\n".encode("big5") * 50, _MESSAGE + "BIG5: "),
        ("Hello\tこれは日本語の文です\n".encode("shift_jis") * 50, _MESSAGE + "SHIFT_JIS: "),
        ("Hello\t이것은 한국어 문장입니다\n".encode("euc-kr") * 50, _MESSAGE + "EUC-KR: "),
        ("Hello\tcafé à la crème\n".encode("latin-1") * 50, _MESSAGE + "WINDOWS-1252: "),
        ("Hello\tэто русский текст\n".encode("cp1251") * 50, _MESSAGE + "WINDOWS-1251: "),
        (b"\x80\x81\x90\t\x9d\n" * 50, "line 1 first; convert it with iconv, or name another file"),
    ],
)
def test_file_that_is_no_utf8_text_is_refused(tmp_path: Path, content: bytes, message: str):
    with pytest.raises(DataError, match=rf"a\.tsv: .*{message}"):
        rows_of(_write(tmp_path, "a.tsv", content))


def test_latin_1_is_noticed_though_most_lines_are_plain_ascii():
    lines = [b"a plain line"] * 80 + ["un café".encode("latin-1")] * 20
    with pytest.raises(
        DataError, match="20 of its first 100 lines cannot be decoded, line 81 first"
    ):
        check_is_utf8_text(Path("a.en"), b"\n".join([*lines, b""]))
    check_is_utf8_text(Path("a.en"), b"\n".join([*lines[:85], b""]))
    check_is_utf8_text(Path("a.en"), b"\n".join([*lines, *["café".encode()] * 30, b""]))


def test_remedy_for_packed_files_unpacks_them(tmp_path: Path):
    path = _write(tmp_path, "a.tsv.gz", COMPRESS[".gz"]("Hello\t你好\n".encode("utf-16")))
    with pytest.raises(DataError, match=r"zcat a\.tsv\.gz \| iconv -f UTF-16 -t UTF-8 > new-file"):
        rows_of(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.tsv", b"only one column\n" * 5, "line 1 holds no tab, so it is no tsv"),
        ("a.tsv", b"\r\n\r\nonly one\n", "line 3 holds no tab, so it is no tsv"),
        ("a.tsv", b"\n\n\n", "its beginning holds no tab, so it is no tsv"),
        ("a.csv", b"only one column\n" * 5, "line 1 holds no comma or semicolon, so it is no csv"),
        (
            "a.jsonl",
            b'{"en": "a"}\n[]\n"x"\n',
            'none of its first lines is an object with "en" and',
        ),
        ("a.tsv", b"en\tzh\n", "holds a header but no pairs"),
        ("a.csv", b"en,zh", "holds a header but no pairs"),
        ("a.parquet.gz", COMPRESS[".gz"](b"x"), "Parquet files are compressed inside; unpack it"),
    ],
)
def test_file_of_another_format_is_refused(tmp_path: Path, name: str, content: bytes, message: str):
    with pytest.raises(DataError, match=message):
        rows_of(_write(tmp_path, name, content))


def _write_table(folder: Path, name: str) -> Path:
    if name.endswith(".parquet"):
        pq.write_table(pa.table({"en": ["One"] * 100, "zh": ["yi"] * 100}), folder / name)
        return folder / name
    row = {"tsv": b"One\tyi\n", "csv": b"One,yi\n", "jsonl": b'{"en": "One", "zh": "yi"}\n'}
    row |= {"tmx": b"<tu><tuv lang='en'><seg>a</seg></tuv><tuv lang='zh'><seg>b</seg></tuv></tu>"}
    row |= {"po": b'msgid "a"\nmsgstr "b"\n\n', "en": b"One\n"}
    kind = name.rpartition(".")[2]
    content = row[kind] * 100
    if kind == "tmx":
        content = b"<tmx><body>" + content + b"</body></tmx>"
    if kind == "en":
        _write(folder, "a.zh", b"yi\n" * 100)
    return _write(folder, name, content)


_KINDS = ["a.tsv", "a.csv", "a.jsonl", "a.parquet", "a.tmx", "a.po", "a.en"]


@pytest.mark.parametrize("name", _KINDS)
def test_file_that_vanishes_is_named(tmp_path: Path, name: str):
    path = _write_table(tmp_path, name)
    (table,) = tables_of(tmp_path / ("a.{en,zh}" if name == "a.en" else name))
    path.unlink()
    with pytest.raises(DataError, match=rf"{name}: no such file"):
        list(read_blocks(table, 0, 100, 10))


@pytest.mark.parametrize("name", _KINDS)
def test_file_that_changes_between_two_ranges_is_named(tmp_path: Path, name: str):
    path = _write_table(tmp_path, name)
    (table,) = tables_of(tmp_path / ("a.{en,zh}" if name == "a.en" else name))
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(DataError, match=rf"{name}: changed while it was processed; run again"):
        list(read_blocks(table, 0, 100, 10))


@pytest.mark.parametrize("name", [name for name in _KINDS if name != "a.parquet"])
def test_file_that_shrinks_while_it_is_read_is_named(tmp_path: Path, name: str):
    """Reads without the check before it, as when the file shrinks right after that."""
    path = _write_table(tmp_path, name)
    (table,) = tables_of(tmp_path / ("a.{en,zh}" if name == "a.en" else name), step=30)
    os.truncate(path, path.stat().st_size // 2)
    message = "changed while it was read" if name == "a.tmx" else "became shorter while it was read"
    for first in (0, 40, 80):
        with pytest.raises(DataError, match=rf"{name}: {message}; run again when it is complete"):
            list(table.rows.read(first, 100 - first, 1000))


def test_first_bad_file_is_named_and_no_thread_stays(tmp_path: Path):
    for number in range(20):
        _write(tmp_path, f"{number:02}.tsv", b"One\tyi\n" if number != 7 else b"")
    with pytest.raises(DataError, match=r"07\.tsv: is empty"):
        tables_of(tmp_path / "*.tsv")
    assert not [thread for thread in threading.enumerate() if "ThreadPool" in thread.name]


def test_large_sources_are_announced(tmp_path: Path, caplog, monkeypatch):
    monkeypatch.setattr("src.corpus.readers.tables._WORTH_A_LINE_BYTES", 5)
    with caplog.at_level(logging.INFO):
        tables_of(_write(tmp_path, "a.tsv", b"One\tyi\n"))
    assert "looking through name, 7 B" in caplog.text
