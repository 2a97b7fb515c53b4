"""The demo corpus: what it says, what is spoilt on purpose, and that it is always the same."""

import hashlib
import json
import random
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import babel
import pytest

from src.corpus.demo import DIRT_KINDS, DemoCorpus, write_demo_corpus
from src.corpus.demo_text import CATEGORIES, SHOWCASE, Category, distinct_pairs
from src.corpus.demo_values import Pair
from src.errors import ConfigError, DataError

HAN = re.compile(r"[\u4e00-\u9fff]")
PAIRS = 3000
# Of en.txt, zh.txt and dirt.tsv in this order, for PAIRS lines and the default share and seed.
GOLDEN_BABEL = "2.18.0"
GOLDEN_SHA256 = "56145876972f9479d9f572c46f378ea1e5e6b4ffe42f8d666873e237b82f7f71"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> DemoCorpus:
    return write_demo_corpus(tmp_path_factory.mktemp("demo"), pairs=PAIRS)


def read_lines(corpus: DemoCorpus, name: str) -> list[str]:
    return (corpus.folder / name).read_bytes().decode("utf-8").split("\n")[:-1]


def read_rows(corpus: DemoCorpus) -> list[tuple[str, str, str]]:
    """English, Chinese and kind of dirt ("" for clean) of every line."""
    kinds = {}
    for line in read_lines(corpus, "dirt.tsv")[1:]:
        number, kind = line.split("\t")
        kinds[int(number)] = kind
    sides = zip(read_lines(corpus, "en.txt"), read_lines(corpus, "zh.txt"), strict=True)
    return [
        (english, chinese, kinds.get(line_number, ""))
        for line_number, (english, chinese) in enumerate(sides, 1)
    ]


def draws(category: Category, count: int, seed: int = 7) -> list[Pair]:
    rng = random.Random(seed)  # noqa: S311
    return [category.generate(rng) for _ in range(count)]


def test_corpus_has_as_many_lines_and_as_much_dirt_as_asked(corpus: DemoCorpus) -> None:
    rows = read_rows(corpus)
    assert len(rows) == corpus.pairs == PAIRS
    assert sum(corpus.dirt.values()) == round(0.12 * PAIRS)
    assert max(corpus.dirt.values()) - min(corpus.dirt.values()) <= 1
    manifest = json.loads((corpus.folder / "dirt.json").read_text())
    for kind in DIRT_KINDS:
        assert sum(row[2] == kind for row in rows) == corpus.dirt[kind] == manifest[kind]
    assert sum(not row[2] for row in rows) == corpus.clean == manifest["clean"]


def test_corpus_is_the_same_bytes_as_ever(corpus: DemoCorpus) -> None:
    if babel.__version__ != GOLDEN_BABEL:
        pytest.skip(f"golden bytes belong to babel {GOLDEN_BABEL}, not {babel.__version__}")
    digest = hashlib.sha256()
    for name in ("en.txt", "zh.txt", "dirt.tsv"):
        digest.update((corpus.folder / name).read_bytes())
    assert digest.hexdigest() == GOLDEN_SHA256, "raise GENERATOR_VERSION when this changes"


def test_clean_lines_repeat_no_side(corpus: DemoCorpus) -> None:
    clean = [row for row in read_rows(corpus) if not row[2]]
    assert len({row[0] for row in clean}) == len({row[1] for row in clean}) == len(clean)


def test_dirty_lines_are_spoilt_as_their_kind_says(corpus: DemoCorpus) -> None:
    rows = read_rows(corpus)
    clean = {row[:2] for row in rows if not row[2]}
    translations = dict(clean)
    for number, (english, chinese, kind) in enumerate(rows):
        if kind == "duplicate":
            assert (english, chinese, "") in rows[:number]
        elif kind == "swapped":
            assert not HAN.search(chinese)
        elif kind == "untranslated":
            assert english == chinese
        elif kind == "mojibake":
            assert not chinese.isascii()
        elif kind:
            assert (english, chinese) not in clean
            assert translations.get(english) != chinese


def test_a_second_call_keeps_the_files_and_another_seed_replaces_them(tmp_path: Path) -> None:
    first = write_demo_corpus(tmp_path, pairs=50)
    inode = (tmp_path / "en.txt").stat().st_ino
    again = write_demo_corpus(tmp_path, pairs=50)
    assert (first.is_new, again.is_new) == (True, False)
    assert (again.clean, again.dirt) == (first.clean, first.dirt)
    assert (tmp_path / "en.txt").stat().st_ino == inode
    english = (tmp_path / "en.txt").read_bytes()
    assert write_demo_corpus(tmp_path, pairs=50, seed=2).is_new
    assert (tmp_path / "en.txt").read_bytes() != english


@pytest.mark.parametrize("name", ["en.txt", "zh.txt", "dirt.tsv", "dirt.json"])
@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_a_damaged_corpus_is_made_again(tmp_path: Path, name: str, damage: str) -> None:
    write_demo_corpus(tmp_path, pairs=20)
    whole = (tmp_path / name).read_bytes()
    if damage == "missing":
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes(whole[:-9])
    assert write_demo_corpus(tmp_path, pairs=20).is_new
    assert (tmp_path / name).read_bytes() == whole


@pytest.mark.parametrize(
    ("pairs", "dirt_share", "dirty"), [(1, 0.9, 0), (2, 0.9, 1), (10, 0.0, 0), (10, 0.9, 9)]
)
def test_tiny_and_filthy_corpora_are_whole(
    tmp_path: Path, pairs: int, dirt_share: float, dirty: int
) -> None:
    corpus = write_demo_corpus(tmp_path, pairs=pairs, dirt_share=dirt_share)
    assert (corpus.pairs, sum(corpus.dirt.values())) == (pairs, dirty)
    assert len(read_rows(corpus)) == pairs


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pairs": 0}, "pairs=0 must be 1 to 1,000,000"),
        ({"pairs": 1_000_001}, "pairs=1000001 must be 1 to 1,000,000"),
        ({"dirt_share": -0.1}, "dirt_share=-0.1 must be a share"),
        ({"dirt_share": 12}, "dirt_share=12 must be a share"),
    ],
)
def test_arguments_out_of_range_are_refused(
    tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        write_demo_corpus(tmp_path / "demo", **arguments)
    assert not (tmp_path / "demo").exists()


def test_a_folder_that_is_a_file_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "demo").write_text("not a folder")
    with pytest.raises(DataError, match=r"demo is a file; name a folder"):
        write_demo_corpus(tmp_path / "demo", pairs=5)


@pytest.mark.parametrize("category", CATEGORIES, ids=lambda category: category.name)
def test_every_category_is_said_in_plain_characters(category: Category) -> None:
    for english, chinese in draws(category, 40):
        for side in (english, chinese):
            assert side == " ".join(side.split())
            assert not re.search(r"[\u00a0\u2000-\u200f\u202f{}]", side)
        assert not HAN.search(english)
        assert HAN.search(chinese) or category.name == "short_date"


def test_each_form_answers_to_one_form_in_the_other_language() -> None:
    by_english: dict[str, set[str]] = defaultdict(set)
    by_chinese: dict[str, set[str]] = defaultdict(set)
    for category in CATEGORIES:
        for pair in draws(category, 400):
            by_english[pair.english].add(pair.chinese)
            by_chinese[pair.chinese].add(pair.english)
    ambiguous = [
        (form, others)
        for table in (by_english, by_chinese)
        for form, others in table.items()
        if len(others) > 1
    ]
    assert ambiguous == []


def test_the_showcase_is_common_in_form_but_never_in_the_corpus() -> None:
    source = distinct_pairs(random.Random(0))  # noqa: S311
    pairs = [next(source) for _ in range(4000)]
    same_form = re.compile(r"[A-Z][a-z]+day, [A-Z][a-z]+ \d{1,2}, \d{4}")
    assert sum(bool(same_form.fullmatch(pair.english)) for pair in pairs) > 200
    assert not {SHOWCASE.english, SHOWCASE.chinese} & {side for pair in pairs for side in pair}
    assert same_form.fullmatch(SHOWCASE.english)


@pytest.mark.parametrize(
    ("name", "english", "chinese"),
    [
        ("met", r"We met .+ ago\.", r"我们.+前见过面。"),
        ("population", r"The population of [^\d]+ is [\d,]+\.", r".+的人口为[\d,]+。"),
        ("full_date", r"[A-Z][a-z]+day, .+", r"\d{4}年\d+月\d+日星期."),
        (
            "opening_hours",
            r"The store is open from .+ AM to .+ PM\.",
            r"商店营业时间为上午.+至下午.+。",
        ),
    ],
)
def test_frames_are_filled_with_what_makes_sense(name: str, english: str, chinese: str) -> None:
    category = next(category for category in CATEGORIES if category.name == name)
    for pair in draws(category, 60):
        assert re.fullmatch(english, pair.english)
        assert re.fullmatch(chinese, pair.chinese)


def test_a_sentence_never_names_the_same_place_twice() -> None:
    category = next(category for category in CATEGORIES if category.name == "far")
    for pair in draws(category, 300):
        here, there = pair.english.removesuffix(".").split(" is far from ")
        assert here != there
