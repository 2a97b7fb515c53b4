"""Whether the beginning of a file is UTF-8 text, and what it may be if it is not."""

from __future__ import annotations

import codecs
from pathlib import Path

from src.corpus.readers.streams import PACKERS, is_compressed, kind_of
from src.errors import DataError

BYTE_ORDER_MARK = b"\xef\xbb\xbf"

_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
# Stray NUL bytes occur in crawled text; in UTF-16 text and in most binary files they abound.
_MAX_NUL_SHARE = 0.1
# Bytes of UTF-16 text that are line feeds are half of one, and in Chinese now and then half of
# another character. A text without lines is known if it is mostly Latin.
_MIN_SHARE_OF_LINE_FEEDS = 0.2
_MIN_SHARE_OF_ASCII = 0.5
# A few broken lines are counted one by one. A file of another encoding breaks nearly every line
# that is not plain ASCII; it is refused when these are more than a handful, or most of the file.
_MAX_BAD_SHARE = 0.5
_HANDFUL = 10
_HANDFUL_SHARE = 0.05
# Names as iconv writes them, each with the letters that its texts use most.
_MULTI_BYTE = {
    "GB18030": "的一是在不了有和人这中大为上个国我以要他",
    "BIG5": "的一是在不了有和人這中大為上個國我以要他",
    "SHIFT_JIS": "のにはをたがでてとしれさいなるも",
    "EUC-KR": "이다는의에을가한를은고지하도로",
}
_SINGLE_BYTE = {
    "WINDOWS-1252": "éèêëàâäáãçñóòôöõíìîïúùûüßøåæœÉ’“”–",
    "WINDOWS-1251": "оеаинтсрвлкмдпуяыьгзбчйхжшюцщэфъ",
}
_MIN_SHARE_OF_WHOLE_LINES = 0.9
_MIN_SHARE_OF_FREQUENT_LETTERS = 0.04


def check_is_not_packed(path: Path, head: bytes) -> None:
    """Refuses a file whose name hides that it is compressed, Parquet or an archive.

    Args:
        path: For the message.
        head: Its first bytes, unpacked as its name promises.

    Raises:
        DataError: Says what it is and how to name it.
    """
    kind = kind_of(head)
    if kind is None:
        return
    if kind == "zip":
        remedy = "an archive or a spreadsheet; unpack it or save it as text, and name that"
    elif is_compressed(path):
        remedy = "even after unpacking it once; unpack it twice and name what comes out"
    else:
        packed = (suffix for suffix, packer in PACKERS.items() if packer == kind)
        remedy = f"but its name does not end in {next(packed, '.parquet')}; rename it"
    raise DataError(f"{path}: is {kind}, {remedy}")


def check_is_text(path: Path, head: bytes) -> None:
    """Refuses a file that is empty or binary.

    Args:
        path: For the message.
        head: Its first bytes, unpacked.

    Raises:
        DataError: Says what it is and how to convert it.
    """
    if not head.removeprefix(BYTE_ORDER_MARK):
        raise DataError(f"{path}: is empty; remove it from data.sources or fill it")
    check_is_not_packed(path, head)
    if head[:2] in _UTF16_MARKS:
        raise DataError(f"{path}: is UTF-16; {_conversion(path, 'UTF-16')}")
    utf16 = _utf16_without_mark(head)
    if utf16 is not None:
        raise DataError(f"{path}: is {utf16} without a mark; {_conversion(path, utf16)}")
    if head.count(b"\0") > _MAX_NUL_SHARE * len(head):
        line = head.count(b"\n", 0, head.index(b"\0")) + 1
        raise DataError(f"{path}: is not text, line {line} holds NUL bytes; name a UTF-8 text file")
    if b"\n" not in head and head.count(b"\r") > 1:
        raise DataError(
            f"{path}: its lines end in CR alone; convert it first: "
            rf"{_reader(path)} | tr '\r' '\n' > new-file"
        )


def _utf16_without_mark(head: bytes) -> str | None:
    """Which byte order makes text of it, if one does: whole lines, and no NUL character."""
    if b"\0" not in head:
        return None  # not even a line feed would be two bytes
    for name in ("UTF-16LE", "UTF-16BE"):
        try:
            text = codecs.getincrementaldecoder(name)().decode(head)
        except UnicodeDecodeError:
            continue
        line_feeds = text.count("\n")
        is_latin = len(text.encode("ascii", "ignore")) > _MIN_SHARE_OF_ASCII * len(text)
        has_lines = line_feeds > _MIN_SHARE_OF_LINE_FEEDS * head.count(b"\n")
        if "\0" not in text and (has_lines or is_latin):
            return name
    return None


def check_is_utf8_text(path: Path, head: bytes) -> None:
    """Refuses a file that is empty, binary, or not in UTF-8.

    Args:
        path: For the message.
        head: Its first bytes, unpacked.

    Raises:
        DataError: Names the suspected encoding and how to convert it.
    """
    check_is_text(path, head)
    if _is_utf8(head[: head.rfind(b"\n") + 1]):
        return
    lines = head.split(b"\n")
    if len(lines) > 1:
        lines.pop()  # the head may end in the middle of it
    broken = {number: line for number, line in enumerate(lines, start=1) if not _is_utf8(line)}
    beyond_ascii = sum(not line.isascii() for line in lines)
    is_handful = len(broken) <= max(_HANDFUL, _HANDFUL_SHARE * len(lines))
    if len(broken) <= _MAX_BAD_SHARE * (len(lines) if is_handful else beyond_ascii):
        return
    seen = (
        f"{path}: is not UTF-8, {len(broken)} of its first {len(lines)} lines cannot be decoded, "
        f"line {next(iter(broken))} first"
    )
    suspect = _guess_encoding(list(broken.values()))
    if suspect is None:
        raise DataError(f"{seen}; convert it with iconv, or name another file")
    raise DataError(f"{seen}; it looks like {suspect}: {_conversion(path, suspect)}")


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _reader(path: Path) -> str:
    commands = {".gz": "zcat", ".bz2": "bzcat", ".xz": "xzcat", ".zst": "zstdcat"}
    return f"{commands.get(path.suffix.lower(), 'cat')} {path.name}"


def _conversion(path: Path, encoding: str) -> str:
    command = f"iconv -f {encoding} -t UTF-8"
    if is_compressed(path):
        return f"convert it first: {_reader(path)} | {command} > new-file"
    return f"convert it first: {command} {path.name} > new-file"


def _guess_encoding(lines: list[bytes]) -> str | None:
    """Which encoding makes frequent letters of lines that are not UTF-8."""
    shares = {
        encoding: _share_of_frequent_letters(lines, encoding, letters)
        for encoding, letters in _MULTI_BYTE.items()
        if _share_of_whole_lines(lines, encoding) >= _MIN_SHARE_OF_WHOLE_LINES
    }
    if max(shares.values(), default=0.0) < _MIN_SHARE_OF_FREQUENT_LETTERS:
        shares = {
            encoding: _share_of_frequent_letters(lines, encoding, letters)
            for encoding, letters in _SINGLE_BYTE.items()
        }
    best = max(shares, key=lambda encoding: shares[encoding])
    return best if shares[best] >= _MIN_SHARE_OF_FREQUENT_LETTERS else None


def _share_of_whole_lines(lines: list[bytes], encoding: str) -> float:
    whole = sum("\ufffd" not in line.decode(encoding, "replace") for line in lines)
    return whole / len(lines)


def _share_of_frequent_letters(lines: list[bytes], encoding: str, letters: str) -> float:
    text = "".join(line.decode(encoding, "replace") for line in lines)
    beyond_ascii = [letter for letter in text if not letter.isascii()]
    return sum(letter in letters for letter in beyond_ascii) / max(1, len(beyond_ascii))
