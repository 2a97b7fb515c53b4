"""The demo corpus on disk: real translations with a known share of known dirt.

    en.txt, zh.txt   one sentence a line, line n of both belongs together (Moses format)
    dirt.tsv         `line<TAB>kind` for every line that was spoilt, counted from 1, with a header
    dirt.json        how it was made, how many lines of each kind, and the hashes of the other
                     three; written last, so a folder without it does not hold a demo corpus

The dirt is what web corpora contain. Because each dirty line is known, filters can be measured.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import babel

from src.corpus.demo_text import distinct_pairs
from src.corpus.demo_values import Pair, draw, draw_index
from src.errors import ConfigError, DataError
from src.files import write_text

GENERATOR_VERSION = 1
"""Raised whenever the same arguments would give other bytes."""

_FILES = ("en.txt", "zh.txt", "dirt.tsv")
_MANIFEST = "dirt.json"
_MAX_PAIRS = 1_000_000
_MAX_DIRT_SHARE = 0.9
# Shorter sentences still look whole when two thirds are cut off.
_CUTTABLE_WORDS, _CUTTABLE_CHARACTERS = 6, 8


@dataclass(frozen=True)
class DemoCorpus:
    """A demo corpus that is whole.

    Attributes:
        folder: Where its files are.
        clean: Lines that are true translations and stand here for the first time.
        dirt: Spoilt lines by kind.
        is_new: False if an earlier call had already made it.
    """

    folder: Path
    clean: int
    dirt: dict[str, int]
    is_new: bool

    @property
    def pairs(self) -> int:
        """Lines of either file."""
        return self.clean + sum(self.dirt.values())


def write_demo_corpus(
    folder: Path, *, pairs: int = 30_000, dirt_share: float = 0.12, seed: int = 1
) -> DemoCorpus:
    """Makes the corpus, or keeps the one that these arguments made before.

    Args:
        folder: Receives the files of the module docstring.
        pairs: Lines to write, dirty ones included; up to a million.
        dirt_share: Share of the lines that are spoilt, 0 to 0.9, all kinds equally often.
        seed: The same arguments give the same bytes on every machine.

    Raises:
        ConfigError: If an argument is out of range.
        DataError: If the folder is a file.
    """
    _check_arguments(pairs, dirt_share)
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder} is a file; name a folder for the demo corpus, or remove it")
    made_by = {
        "pairs": pairs,
        "dirt_share": dirt_share,
        "seed": seed,
        "generator": GENERATOR_VERSION,
        "babel": babel.__version__,
    }
    existing = _find_existing(folder, made_by)
    if existing is not None:
        return existing
    # Without the manifest whatever is in the folder counts as absent until all is replaced.
    (folder / _MANIFEST).unlink(missing_ok=True)
    lines = list(_draw_lines(random.Random(seed), pairs, round(pairs * dirt_share)))  # noqa: S311
    texts = {
        "en.txt": "".join(f"{pair.english}\n" for pair, _ in lines),
        "zh.txt": "".join(f"{pair.chinese}\n" for pair, _ in lines),
        "dirt.tsv": "line\tkind\n"
        + "".join(f"{number}\t{kind}\n" for number, (_, kind) in enumerate(lines, 1) if kind),
    }
    for name, text in texts.items():
        write_text(folder / name, text)
    kinds = Counter(kind for _, kind in lines if kind)
    dirt = {kind: kinds[kind] for kind in DIRT_KINDS}
    clean = pairs - sum(dirt.values())
    manifest = {
        "clean": clean,
        **dirt,
        "made_by": made_by,
        "sha256": {name: _hash(text.encode("utf-8")) for name, text in texts.items()},
    }
    write_text(folder / _MANIFEST, json.dumps(manifest, indent=2) + "\n")
    return DemoCorpus(folder, clean, dirt, is_new=True)


def _check_arguments(pairs: int, dirt_share: float) -> None:
    if not 1 <= pairs <= _MAX_PAIRS:
        raise ConfigError(f"pairs={pairs} must be 1 to {_MAX_PAIRS:,} for the demo corpus")
    if not 0.0 <= dirt_share <= _MAX_DIRT_SHARE:
        raise ConfigError(
            f"dirt_share={dirt_share} must be a share of the lines, 0 to {_MAX_DIRT_SHARE}"
        )


def _find_existing(folder: Path, made_by: dict[str, object]) -> DemoCorpus | None:
    try:
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        if manifest["made_by"] != made_by:
            return None
        if any(manifest["sha256"][name] != _hash((folder / name).read_bytes()) for name in _FILES):
            return None
        dirt = {kind: int(manifest[kind]) for kind in DIRT_KINDS}
        return DemoCorpus(folder, int(manifest["clean"]), dirt, is_new=False)
    except (OSError, ValueError, KeyError, TypeError):
        # Absent, or not ours: it is made again.
        return None


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


# Dirt. A spoiler gets two pairs that stand nowhere else and returns one spoilt line; None if these
# two cannot show its kind of damage.
Spoiler = Callable[[random.Random, Pair, Pair], "Pair | None"]


def _swap_sides(_rng: random.Random, pair: Pair, _other: Pair) -> Pair:
    return Pair(pair.chinese, pair.english)


def _leave_untranslated(_rng: random.Random, pair: Pair, _other: Pair) -> Pair:
    return Pair(pair.english, pair.english)


def _damage_encoding(rng: random.Random, pair: Pair, _other: Pair) -> Pair | None:
    """The Chinese side's UTF-8 bytes, read as Windows-1252, Latin-1 or GBK."""
    content = pair.chinese.encode("utf-8")
    damaged = draw(rng, (_read_as_windows_1252, _read_as_latin_1, _read_as_gbk))(content)
    return Pair(pair.english, damaged) if damaged != pair.chinese else None


def _read_as_windows_1252(content: bytes) -> str:
    # Browsers and editors read the five bytes that the code page leaves open as Latin-1.
    return "".join(
        bytes([byte]).decode("latin-1" if byte in b"\x81\x8d\x8f\x90\x9d" else "cp1252")
        for byte in content
    )


def _read_as_latin_1(content: bytes) -> str:
    return content.decode("latin-1")


def _read_as_gbk(content: bytes) -> str:
    return content.decode("gbk", errors="replace")


def _mismatch_length(rng: random.Random, pair: Pair, other: Pair) -> Pair | None:
    """One side cut off, or a second English sentence that the Chinese side does not have."""
    kind = draw_index(rng, 3)
    if kind == 0:
        return Pair(f"{pair.english.rstrip('.')}. {other.english}", pair.chinese)
    words = pair.english.split(" ")
    if len(words) < _CUTTABLE_WORDS or len(pair.chinese) < _CUTTABLE_CHARACTERS:
        return None
    if kind == 1:
        return Pair(" ".join(words[: len(words) // 3]), pair.chinese)
    return Pair(pair.english, pair.chinese[: len(pair.chinese) // 3])


def _pair_wrongly(_rng: random.Random, pair: Pair, other: Pair) -> Pair:
    return Pair(pair.english, other.chinese)


_SPOILERS: dict[str, Spoiler] = {
    "swapped": _swap_sides,
    "untranslated": _leave_untranslated,
    "mojibake": _damage_encoding,
    "length_mismatch": _mismatch_length,
    "wrong_pair": _pair_wrongly,
}
DIRT_KINDS = ("duplicate", *_SPOILERS)
"""Every kind of dirt, in the order of dirt.json."""


def _draw_lines(rng: random.Random, pairs: int, dirty: int) -> Iterator[tuple[Pair, str]]:
    """Yields each line with its kind of dirt, or "" for a clean one."""
    # The first line is clean, so that a duplicate always has something to repeat.
    kinds = [DIRT_KINDS[index % len(DIRT_KINDS)] for index in range(dirty)]
    kinds += [""] * (pairs - 1 - len(kinds))
    _shuffle(rng, kinds)
    source = distinct_pairs(rng)
    clean: list[Pair] = []
    for kind in ["", *kinds][:pairs]:
        if kind == "duplicate":
            yield draw(rng, clean), kind
        elif kind:
            yield _spoil(rng, source, _SPOILERS[kind]), kind
        else:
            clean.append(next(source))
            yield clean[-1], kind


def _spoil(rng: random.Random, source: Iterator[Pair], spoiler: Spoiler) -> Pair:
    while True:
        spoilt = spoiler(rng, next(source), next(source))
        if spoilt is not None:
            return spoilt


def _shuffle(rng: random.Random, items: list[str]) -> None:
    # random.shuffle's use of the generator is not promised to stay the same across versions.
    for last in range(len(items) - 1, 0, -1):
        other = draw_index(rng, last + 1)
        items[last], items[other] = items[other], items[last]
