"""TMX and PO: what counts as a pair, what is left out, and what is refused."""

from pathlib import Path

import pytest

from src.corpus.readers import BadRow
from src.errors import DataError
from tests.fakes.reader_rows import COMPRESS, Pairs, rows_by_ranges, rows_of, tables_of

_HEAD = (
    '<?xml version="1.0" encoding="{}"?>\n<!DOCTYPE tmx SYSTEM "tmx14.dtd">\n'
    '<tmx version="1.4"><header srclang="en"/><body>\n'
)
_TAIL = "</body></tmx>\n"


def _unit(*variants: tuple[str, str]) -> str:
    inside = "".join(
        f'<tuv xml:lang="{language}"><prop type="x">p</prop><seg>{text}</seg></tuv>'
        for language, text in variants
    )
    return f'<tu tuid="1"><note>n</note>{inside}</tu>\n'


def _write_tmx(path: Path, *units: str, encoding: str = "UTF-8") -> Path:
    text = "".join([_HEAD.format(encoding), *units, _TAIL])
    path.write_bytes(COMPRESS[path.suffix if path.suffix != ".tmx" else ""](text.encode(encoding)))
    return path


def test_tmx_gives_its_pairs(tmp_path: Path):
    path = _write_tmx(
        tmp_path / "a.tmx",
        _unit(("en-US", "One &amp; only"), ("ZH-cn", "一")),
        _unit(("zh_TW", "二"), ("fr", "Deux"), ("EN", "Two"), ("en-GB", "Second")),
        _unit(
            (
                "en",
                'A <bpt i="1">&lt;b&gt;</bpt>bold<ept i="1">&lt;/b&gt;</ept> '
                '<hi>word</hi><ph x="1"/>',
            ),
            ("zh", "粗<it pos='begin'><sub>x</sub></it>体&nbsp;"),
        ),
        _unit(("en", "alone")),
        _unit(("de", "weder"), ("fr", "ni")),
        _unit(("en", ""), ("zh", "空")),
        _unit(("en", "line\u2028<!-- no <tu> -->end"), ("zh", "<![CDATA[<行>]]>")),
    )
    pairs, bad = rows_of(path)
    assert pairs == [
        ("One & only", "一"),
        ("Two", "二"),
        ("A bold word", "粗体&nbsp;"),
        ("", "空"),
        ("line\u2028end", "<行>"),
    ]
    assert bad == [BadRow(4, "one_language", "alone"), BadRow(5, "one_language", "")]


def test_old_tmx_says_lang(tmp_path: Path):
    unit = _unit(("en", "One"), ("zh", "一")).replace("xml:lang", "lang")
    assert rows_of(_write_tmx(tmp_path / "a.tmx", unit)) == ([("One", "一")], [])


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-8-SIG", "UTF-16", "GBK"])
def test_tmx_gives_the_same_rows_in_any_ranges(tmp_path: Path, suffix: str, encoding: str):
    pairs: Pairs = [(f"Number {number}", f"第{number}号") for number in range(50)]
    units = [_unit(("en", en), ("zh", zh)) for en, zh in pairs]
    if encoding == "GBK":
        with pytest.raises(DataError, match="its encoding GBK cannot be read; convert it to UTF-8"):
            tables_of(_write_tmx(tmp_path / f"a.tmx{suffix}", *units, encoding=encoding))
        return
    path = tmp_path / f"a.tmx{suffix}"
    text = "".join([_HEAD.format(encoding.removesuffix("-SIG")), *units, _TAIL])
    path.write_bytes(COMPRESS[suffix](text.encode(encoding)))
    for step, chunk_size, block_rows in ((1, 7, 3), (8, 8, 100), (9, 4, 1), (1000, 20, 20)):
        (table,) = tables_of(path, step)
        assert rows_by_ranges(table, chunk_size, block_rows) == (pairs, [])


def test_single_byte_encodings_are_read(tmp_path: Path):
    path = _write_tmx(
        tmp_path / "a.tmx", _unit(("en", "Café"), ("zh", "&#x4e00;")), encoding="windows-1252"
    )
    assert rows_of(path) == ([("Café", "一")], [])


@pytest.mark.parametrize(
    "definition",
    [
        '<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">',
        '<!ENTITY a SYSTEM "file:///etc/passwd">',
        '<!ENTITY % a SYSTEM "http://127.0.0.1/x.dtd"> %a;',
    ],
)
def test_entities_are_refused_before_anything_is_expanded(tmp_path: Path, definition: str):
    path = tmp_path / "a.tmx"
    path.write_text(f"<!DOCTYPE tmx [{definition}]>\n<tmx><body/></tmx>", encoding="utf-8")
    with pytest.raises(
        DataError, match=r"a\.tmx: line 1 defines the entity 'a', with which a small"
    ):
        rows_of(path)


def test_broken_tmx_names_the_line(tmp_path: Path):
    good = _unit(("en", "One"), ("zh", "一"))
    path = _write_tmx(tmp_path / "a.tmx", good, good, "<tu><tuv></tu>")
    message = (
        r"a\.tmx: line 6 is not well-formed XML \(mismatched tag\), after 3 translation units;"
    )
    with pytest.raises(DataError, match=message):
        rows_of(path)
    path = _write_tmx(tmp_path / "b.tmx", good, _unit(("en", "bell &#x7;"), ("zh", "铃")))
    with pytest.raises(
        DataError, match=r"b\.tmx: line 5 is not well-formed XML \(reference to inv"
    ):
        rows_of(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("<html><tu/></html>", "its root element is html, so it is no tmx"),
        ("<tmx><body></body></tmx>", "holds no translation units"),
        ("<tmx><body><tu/>", r"line 1 is not well-formed XML \(no element found\), after 1 trans"),
        ("en\tzh", "line 1 is not well-formed XML"),
    ],
)
def test_what_is_no_tmx_is_refused(tmp_path: Path, content: str, message: str):
    (tmp_path / "a.tmx").write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=rf"a\.tmx: {message}"):
        rows_of(tmp_path / "a.tmx")


_PO = """# Comment
msgid ""
msgstr ""
"Content-Type: text/plain; charset=UTF-8\\n"
"Language: zh_CN\\n"

#: main.c:1
msgctxt "menu"
msgid "Open \\"%s\\""
msgstr "打开“%s”\u2028\x85"

#, fuzzy
msgid "Close"
msgstr "打开"

msgid "Not yet"
msgstr ""

msgid "%d file"
msgid_plural "%d files"
msgstr[0] "%d 个文件"

msgid ""
"two\\n"
"lines"
msgstr "两\\n行"

#~ msgid "Gone"
#~ msgstr "没了"
"""
_PO_PAIRS = [
    ('Open "%s"', "打开“%s”\u2028\x85"),
    ("Not yet", ""),
    ("%d files", "%d 个文件"),
    ("two\nlines", "两\n行"),
]


@pytest.mark.parametrize("name", ["a.po", "a.po.gz"])
def test_po_gives_its_pairs(tmp_path: Path, name: str):
    path = tmp_path / name
    path.write_bytes(COMPRESS[path.suffix.removesuffix(".po")](_PO.encode()))
    assert rows_of(path) == (_PO_PAIRS, [BadRow(12, "fuzzy", "Close")])
    (table,) = tables_of(path)
    assert rows_by_ranges(table, 2, 1)[0] == _PO_PAIRS


def test_po_header_says_which_side_is_which(tmp_path: Path):
    path = tmp_path / "a.po"
    path.write_text(_PO.replace("zh_CN", "en_GB"), encoding="utf-8")
    assert rows_of(path)[0] == [(right, left) for left, right in _PO_PAIRS]
    path.write_text(_PO.replace("zh_CN", ""), encoding="utf-8")
    assert rows_of(path)[0] == _PO_PAIRS
    assert rows_of(path, languages="zh-en")[0] == [(right, left) for left, right in _PO_PAIRS]
    path.write_text(_PO.replace("zh_CN", "fr"), encoding="utf-8")
    with pytest.raises(DataError, match=r"a\.po: is a translation into fr, not between en and zh;"):
        rows_of(path)


def test_po_plural_with_several_forms_gives_its_first_and_last(tmp_path: Path):
    text = 'msgid "a file"\nmsgid_plural "files"\nmsgstr[0] "x"\nmsgstr[1] "y"\nmsgstr[2] "z"\n'
    (tmp_path / "a.po").write_text(text, encoding="utf-8")
    assert rows_of(tmp_path / "a.po") == ([("a file", "x"), ("files", "z")], [])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b'msgid "a"\nmsgstr "unfinished\nmsgid\n',
            "line 3 is no valid PO; see what msgfmt --check",
        ),
        (
            _PO.replace("UTF-8", "UTF-9").encode(),
            "its header names the charset UTF-9, which nobody",
        ),
        (
            _PO.replace("UTF-8", "undefined").encode(),
            "its header names the charset undefined, which nobody",
        ),
        (
            _PO.encode().replace(b"zh_CN", b"zh_CN\xff"),
            "line 5 is not UTF-8, as its header promises",
        ),
        (b"# nothing here\n", "holds no messages"),
        (b"", "is empty"),
    ],
)
def test_broken_po_is_refused(tmp_path: Path, content: bytes, message: str):
    (tmp_path / "a.po").write_bytes(content)
    with pytest.raises(DataError, match=rf"a\.po: {message}"):
        rows_of(tmp_path / "a.po")


def test_po_in_the_charset_of_its_header_is_read(tmp_path: Path):
    more = "".join(f'msgid "{number}"\nmsgstr "第{number}号"\n' for number in range(50))
    (tmp_path / "a.po").write_bytes((more + _PO.replace("UTF-8", "GB18030")).encode("gb18030"))
    assert rows_of(tmp_path / "a.po")[0][50:] == _PO_PAIRS
