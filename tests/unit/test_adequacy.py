"""Adequacy: a language pair made from a dictionary is learned; nothing else moves the scores."""

import gzip
import json
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from src.compiled import read_only
from src.corpus.adequacy import Lexicon, learn
from src.corpus.adequacy.calibration import misaligned_rows
from src.corpus.adequacy.pieces import MAX_REPEATS, read_piece
from src.corpus.adequacy.tally import COUNT_MASK, KEY_SHIFT, count_key, make_table
from src.corpus.adequacy.units import fold_table, most_units, read_units
from src.corpus.texts import Texts, concatenated
from src.errors import DataError

CORPUS = (
    Path(os.environ.get("LINGUABRIDGE_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
    / "corpus"
)
Pair = tuple[str, str]
LATIN, HAN = "abcdefghijklmnopqrstuvwxyz", [chr(0x4E00 + code) for code in range(900)]


class Language(NamedTuple):
    """A made-up language pair."""

    dictionary: list[Pair]
    joined: str  # what stands between two right words

    def pair(self, rng: random.Random) -> Pair:
        # Frequencies fall as in a real text; the right side has another order, and words to itself.
        size = rng.randint(4, 14)
        words = [
            self.dictionary[int(len(self.dictionary) * rng.random() ** 2.5)] for _ in range(size)
        ]
        right = [word for _, word in words] + [self.dictionary[0][1]] * rng.randint(0, 3)
        rng.shuffle(right)
        return " ".join(word for word, _ in words), self.joined.join(right)


def _words(rng: random.Random, letters: Sequence[str], low: int, high: int) -> list[str]:
    found = {"".join(rng.choices(letters, k=rng.randint(low, high))) for _ in range(1500)}
    return sorted(found)[:600]


def _language(right: str) -> Language:
    rng = random.Random(5)  # noqa: S311
    left_words = _words(rng, LATIN, 3, 8)
    right_words = _words(rng, HAN, 2, 2) if right == "han" else _words(rng, LATIN, 3, 9)
    for words in (left_words, right_words):
        rng.shuffle(words)
    pairs = list(zip(left_words, right_words, strict=True))
    return Language(pairs, "" if right == "han" else " ")


def _texts(pairs: Sequence[Pair]) -> tuple[Texts, Texts]:
    return Texts.of([left for left, _ in pairs]), Texts.of([right for _, right in pairs])


def _columns(
    pairs: Sequence[Pair], rows: int = 100_000
) -> Callable[[], Iterator[tuple[Texts, Texts]]]:
    return lambda: (_texts(pairs[begin : begin + rows]) for begin in range(0, len(pairs), rows))


def _misaligned(pairs: Sequence[Pair]) -> list[Pair]:
    return [(left, pairs[place - 1][1]) for place, (left, _) in enumerate(pairs)]


def _auc(good: NDArray[np.float32], bad: NDArray[np.float32]) -> float:
    """Probability that a good pair has the higher score; ties, and NaN as 1, count half."""
    good, bad = np.nan_to_num(good, nan=1.0), np.sort(np.nan_to_num(bad, nan=1.0))
    below, not_above = (np.searchsorted(bad, good, side) for side in ("left", "right"))
    return float((below + not_above).mean() / (2 * len(bad)))


def _sample(language: Language, size: int = 5_000) -> list[Pair]:
    """Pairs of which 5 % are misaligned."""
    rng = random.Random(11)  # noqa: S311
    pairs = [language.pair(rng) for _ in range(size)]
    return _misaligned(pairs[: size // 20]) + pairs[size // 20 :]


@pytest.fixture(scope="module")
def sample() -> list[Pair]:
    return _sample(_language("han"))


@pytest.fixture(scope="module")
def lexicon(sample: list[Pair]) -> Lexicon:
    return learn(_columns(sample), table_mib=8, workers=2)


@pytest.fixture(scope="module")
def unseen() -> list[Pair]:
    rng, language = random.Random(12), _language("han")  # noqa: S311
    return [language.pair(rng) for _ in range(500)]


@pytest.mark.parametrize("right", ["han", "latin"])
def test_a_made_up_language_is_learned(right: str) -> None:
    language = _language(right)
    lexicon = learn(_columns(_sample(language)), table_mib=8, workers=2)
    rng = random.Random(12)  # noqa: S311
    pairs = [language.pair(rng) for _ in range(1_000)]
    good, bad = lexicon.score(*_texts(pairs)), lexicon.score(*_texts(_misaligned(pairs)))
    assert _auc(good, bad) > 0.95
    assert np.mean(good < 0.5) < 0.005
    assert np.mean(bad < 0.5) > 0.5
    assert 0.02 < lexicon.calibration.misaligned_share < 0.1
    assert min(lexicon.units) > 500
    assert lexicon.pairs == 5_000


def test_swapping_right_texts_lowers_the_mean(lexicon: Lexicon, unseen: list[Pair]) -> None:
    good, bad = lexicon.score(*_texts(unseen)), lexicon.score(*_texts(_misaligned(unseen)))
    assert np.nanmean(bad) < np.nanmean(good) - 0.5


def test_half_a_translation_scores_less(lexicon: Lexicon, unseen: list[Pair]) -> None:
    halves = [(left, right[: len(right) // 2]) for left, right in unseen]
    whole, half = lexicon.score(*_texts(unseen)), lexicon.score(*_texts(halves))
    assert np.nanmean(half) < np.nanmean(whole)


@pytest.mark.parametrize(("workers", "rows"), [(1, 100_000), (3, 777), (5, 97)])
def test_workers_and_columns_change_nothing(
    sample: list[Pair], lexicon: Lexicon, workers: int, rows: int
) -> None:
    again = learn(_columns(sample, rows), table_mib=8, workers=workers)
    assert again.fingerprint == lexicon.fingerprint


def test_blocks_and_threads_change_no_score(lexicon: Lexicon, unseen: list[Pair]) -> None:
    left, right = _texts(unseen)
    whole = lexicon.score(left, right)
    bounds = [(begin, min(begin + 37, len(left))) for begin in range(0, len(left), 37)]
    with ThreadPoolExecutor(4) as executor:
        parts = executor.map(
            lambda bound: lexicon.score(left.slice(*bound), right.slice(*bound)), bounds
        )
        np.testing.assert_array_equal(np.concatenate(list(parts)), whole)
    order = np.random.default_rng(0).permutation(len(left))
    np.testing.assert_array_equal(lexicon.score(left.take(order), right.take(order)), whole[order])


def test_another_sample_has_another_fingerprint(sample: list[Pair], lexicon: Lexicon) -> None:
    assert learn(_columns(sample[1:]), table_mib=8, workers=1).fingerprint != lexicon.fingerprint


def test_a_saved_lexicon_scores_the_same(
    lexicon: Lexicon, unseen: list[Pair], tmp_path: Path
) -> None:
    lexicon.save(tmp_path / "lexicon")
    loaded = Lexicon.load(tmp_path / "lexicon")
    assert loaded.fingerprint == lexicon.fingerprint
    assert (loaded.pairs, loaded.units) == (lexicon.pairs, lexicon.units)
    np.testing.assert_array_equal(
        loaded.score(*_texts(unseen)), lexicon.score(*_texts(unseen)), strict=True
    )
    lexicon.save(tmp_path / "lexicon")  # over itself
    assert Lexicon.load(tmp_path / "lexicon").fingerprint == lexicon.fingerprint
    assert not list((tmp_path / "lexicon").glob(".*"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "lexicon.json").unlink(), "holds no whole lexicon"),
        (lambda folder: (folder / "right_links.npy").unlink(), "holds no whole lexicon"),
        (lambda folder: (folder / "lexicon.json").write_text("{"), "damaged"),
        (lambda folder: (folder / "left_alone.npy").write_bytes(b"no array"), "damaged"),
        (lambda folder: np.save(folder / "left_links.npy", np.zeros(9, np.uint32)), "damaged"),
        (lambda folder: np.save(folder / "left_links.npy", np.zeros(9)), "damaged"),
    ],
)
def test_a_damaged_folder_is_refused(
    lexicon: Lexicon, tmp_path: Path, damage: Callable[[Path], object], message: str
) -> None:
    lexicon.save(tmp_path)
    damage(tmp_path)
    with pytest.raises(DataError, match=message):
        Lexicon.load(tmp_path)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [("format", 99, "has format 99"), ("pairs", 1, "damaged"), ("calibration", {}, "damaged")],
)
def test_another_manifest_is_refused(
    lexicon: Lexicon, tmp_path: Path, name: str, value: object, message: str
) -> None:
    lexicon.save(tmp_path)
    manifest = tmp_path / "lexicon.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {name: value}))
    with pytest.raises(DataError, match=message):
        Lexicon.load(tmp_path)


@given(st.lists(st.tuples(st.text(max_size=80), st.text(max_size=80)), max_size=6))
def test_any_text_has_a_score_or_none(lexicon: Lexicon, pairs: list[Pair]) -> None:
    scores = lexicon.score(*_texts(pairs))
    assert scores.dtype == np.float32
    assert len(scores) == len(pairs)
    assert np.all(np.isnan(scores) | ((scores >= 0) & (scores <= 1)))


@pytest.mark.parametrize(
    "pair",
    [
        ("", ""),
        ("", "一些"),
        ("qqqqzz wwwwqq ssssxx ddddkk", "鿰鿱鿲鿳"),
        ("8 15 23 42", "8 15 23 42"),
        ("... !?", "。。。"),
        ("\U0001f600", "\U0001f600"),
    ],
)
def test_what_is_unknown_is_not_judged(lexicon: Lexicon, pair: Pair) -> None:
    assert np.isnan(lexicon.score(*_texts([pair]))).all()


@pytest.mark.parametrize(
    "pairs",
    [
        [],
        [("one", "一")],
        [("good morning", "早上好")] * 20_000,
        [(f"number {row} of words", "同样的文字") for row in range(3_000)],
        [("", "")] * 3_000,
    ],
    ids=["none", "single", "boilerplate", "constant", "empty"],
)
def test_too_little_to_learn_judges_nothing(pairs: list[Pair]) -> None:
    lexicon = learn(_columns(pairs), table_mib=1, workers=2)
    assert not lexicon.judges
    assert np.isnan(lexicon.score(*_texts([("good morning to you all", "早上好各位")]))).all()


def test_boilerplate_counts_a_few_times(sample: list[Pair]) -> None:
    notice = ("all rights are reserved by the owner", "版权所有不得转载")
    few, many = (
        learn(_columns(sample + [notice] * times), table_mib=8, workers=2)
        for times in (MAX_REPEATS, 100_000)
    )
    assert few.fingerprint == many.fingerprint


def test_rows_of_ten_megabytes_are_judged_by_their_beginning(
    sample: list[Pair], lexicon: Lexicon, unseen: list[Pair]
) -> None:
    left, right = unseen[0]
    other = unseen[1][1]
    long = [((left + " ") * 150_000, right * 150_000), ((left + " ") * 150_000, other * 150_000)]
    assert len(long[0][1]) > 2_000_000
    good, bad = lexicon.score(*_texts(long))
    assert bad < 0.5 < good
    again = learn(_columns([*sample, *long]), table_mib=8, workers=2)
    assert again.pairs == len(sample) + 2
    assert again.judges


def test_columns_of_different_lengths_are_refused(lexicon: Lexicon) -> None:
    left, right = Texts.of(["a"]), Texts.of(["一", "二"])
    with pytest.raises(ValueError, match="1 texts on the left and 2 on the right"):
        lexicon.score(left, right)
    with pytest.raises(ValueError, match="1 texts on the left and 2 on the right"):
        learn(lambda: iter([(left, right)]), table_mib=1, workers=1)


def _units(text: str) -> list[int]:
    content = text.encode()
    units = np.zeros(max(int(most_units(np.array(len(content)))), 1), np.uint64)
    data = read_only(np.frombuffer(content, np.uint8))
    count = read_units(data, 0, len(content), fold_table(), units)
    return [int(unit) for unit in units[:count]]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Hello, WORLD", "hello world"),
        ("ＷＩＦＩ６", "wifi6"),
        ("ÉTÉ Москва", "été москва"),
        ("a_b", "A-b"),
        ("看 Python", "python 看"),
    ],
)
def test_case_width_and_signs_do_not_matter(one: str, other: str) -> None:
    assert sorted(_units(one)) == sorted(_units(other))


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("don't", 2),
        ("中文字", 5),
        ("中 文", 2),
        ("看看", 3),
        ("\U00020001\U00020002", 3),
        ("한국", 3),
        ("ไทย", 5),
        ("カー", 3),
        ("中a文", 3),
        ("\U0001f600", 0),
    ],
)
def test_unspaced_scripts_give_characters_and_bigrams(text: str, count: int) -> None:
    assert len(_units(text)) == count


def test_different_words_are_different_units() -> None:
    words = [f"{one}{other}" for one in LATIN for other in LATIN] + HAN
    words += [f"{number}" for number in range(2_000)]
    units = [_units(word) for word in words]
    assert all(len(found) == 1 for found in units)
    assert len({found[0] for found in units}) == len(words)
    assert _units("ab") != _units("ba")
    assert _units("中文")[-1] != _units("文中")[-1]


@given(st.text())
def test_the_room_for_units_suffices(text: str) -> None:
    content = text.encode()
    units = np.zeros(len(content) + 8, np.uint64)
    data = read_only(np.frombuffer(content, np.uint8))
    count = read_units(data, 0, len(content), fold_table(), units)
    assert count <= most_units(np.array(len(content)))


@given(st.binary(max_size=40), st.integers(0, 20))
def test_broken_text_is_read_within_its_bounds(content: bytes, room: int) -> None:
    units = np.zeros(room, np.uint64)
    data = read_only(np.frombuffer(content, np.uint8))
    assert 0 <= read_units(data, 0, len(content), fold_table(), units) <= room


def test_a_table_with_room_counts_exactly_and_a_full_one_keeps_the_frequent() -> None:
    rng = np.random.default_rng(3)
    keys = np.concatenate([np.minimum(rng.zipf(1.2, 200_000), 1 << 39), np.arange(100_000)])
    rng.shuffle(keys)
    true = Counter(keys.tolist())
    for cells, is_exact in ((1 << 20, True), (1 << 10, False)):
        region = make_table(64, cells).ravel()[:cells].copy()
        for key in keys.astype(np.uint64):
            count_key(region, key)
        found = dict(
            zip((region >> KEY_SHIFT).tolist(), (region & COUNT_MASK).tolist(), strict=True)
        )
        assert all(count <= true[key] for key, count in found.items() if count)
        for key, count in true.most_common(20):
            assert found[key] == count if is_exact else found[key] > 0.7 * count


def test_a_text_is_never_misaligned_with_its_like() -> None:
    pairs = [(f"left {row // 2}", f"right {row // 3}") for row in range(300)]
    with ThreadPoolExecutor(1) as executor:
        piece = read_piece(*_texts(pairs), executor, 1)
    others = misaligned_rows(piece)
    assert np.mean(others >= 0) > 0.3
    for row, other in enumerate(others.tolist()):
        if other >= 0:
            assert pairs[row][0] != pairs[other][0]
            assert pairs[row][1] != pairs[other][1]


@pytest.mark.skipif(
    not CORPUS.is_dir(), reason=f"{CORPUS} is absent; LINGUABRIDGE_SHARED_DATA names its parent"
)
def test_real_text_is_told_from_misaligned_text() -> None:
    with gzip.open(CORPUS / "train_raw.tsv.gz", "rt", encoding="utf-8") as file:
        rows = [line.rstrip("\n").split("\t") for line, _ in zip(file, range(60_000), strict=False)]
    raw = sorted({(row[0], row[1]) for row in rows})
    lexicon = learn(_columns(raw, 9_000), table_mib=64, workers=2)
    lines = (CORPUS / "dev.tsv").read_text(encoding="utf-8").splitlines()
    left, right = (
        Texts.of(side) for side in zip(*(line.split("\t") for line in lines), strict=True)
    )
    good = lexicon.score(left, right)
    shifted = concatenated([right.slice(1, len(right)), right.slice(0, 1)])
    bad = lexicon.score(left, shifted)
    assert _auc(good, bad) > 0.99
    # The pairs to judge are news and chat, those learned from mostly documentation.
    assert np.mean(good < 0.5) < 0.01
    assert np.mean(bad < 0.5) > 0.8
