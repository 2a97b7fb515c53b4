"""The compiled scores against plain Python, on made-up and on real text, and at their limits."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from src.corpus.scores import score_pairs
from src.corpus.scoring.block import LONGEST, MOST_ROWS
from src.corpus.scoring.hashing import HashSet, contains, insert, new_set
from src.corpus.scoring.marks import mark_table
from src.corpus.scoring.markup import strip_markup
from src.corpus.texts import Texts
from src.languages import LANGUAGES
from src.schema import FiltersConfig
from tests.fakes.plain_scores import MARKUP, plain_scores

ROOT = Path(__file__).resolve().parents[2]
CORPUS = Path(os.environ.get("LINGUABRIDGE_SHARED_DATA", ROOT / "../shared/data")) / "corpus"
FILTERS = FiltersConfig()
CHINESE = ("en", "zh")

# What scanners look for, whole and broken, between letters of all kinds.
_PIECES = st.sampled_from(
    [
        *(
            "<b>",
            "</b>",
            '<a href="x">',
            "<",
            ">",
            "http://",
            "ftp://x.y/z",
            "://",
            "https://例/?b=(c)",
        ),
        *(
            "](",
            "](x)",
            '](x "y")',
            "[t](u)",
            "{{",
            "}}",
            "{{x}}",
            "{{a",
            "{#a-b}",
            "{#",
            "{#}",
            "{}",
        ),
        *(
            "{name}",
            "${x}",
            "{0}}",
            "{a",
            "}",
            "`",
            "``",
            "`code`",
            "``code``",
            "```x```",
            ":a:b:`c`",
        ),
        *(":class:`list`", "::", ":", "/", "//", "%s", "%d", "%1", "%12", "%1$s", "%(n)s", "%ld"),
        *(
            "%-5.2f",
            "%%",
            "%Y",
            "(x)",
            "（Name）",
            "Name",
            "name",
            "NAME",
            "iPhone",
            "H264",
            "TCP/IP",
        ),
        *(
            "the",
            "de",
            "la",
            "und",
            "per",
            "don't",
            "3.5",
            "12,000",
            "2:07",
            "state-of-the-art",
            "the",
        ),
        *(
            "锟斤拷",
            "你好",
            "中文",
            "字",
            "齉",
            "龘",
            "α",
            "αβ",
            "の",
            "カタ",
            "Привет",
            "한국",
            "שלום",
            "ไทย",
        ),
        *(
            "हिन्दी",
            "مرحبا",
            "é",
            "naïve",
            "Ünter",
            "\ufffd",
            "\ue000",
            "!",
            "？",
            "。",
            "🙂",
            "´",
            "²",
        ),
        *("Ⅷ", "٣", "𝟙", "𐐀", "the the the the"),
    ]
)
_GAPS = st.sampled_from(["", "", " ", " ", "\n", "\u3000", "\x0b", "\x85", ".", "_"])
TEXTS = st.lists(st.tuples(_PIECES, _GAPS), max_size=14).map(
    lambda parts: "".join(piece + gap for piece, gap in parts)
)


def texts(*strings: str) -> Texts:
    return Texts.of(list(strings))


def scored(left: str, right: str, languages: tuple[str, str] = CHINESE) -> dict[str, float]:
    columns = score_pairs(texts(left), texts(right), languages, FILTERS)
    return {name: float(column[0]) for name, column in columns.items()}


def stripped(text: str) -> str:
    codes = np.array([ord(character) for character in text], np.uint32)
    length = strip_markup(codes, mark_table(japanese=False)[codes])
    return "".join(map(chr, codes[:length]))


@given(TEXTS)
@example("a:b:`c` :a:`` `b`")
@example('[x](y "z" [u](v "w")')
@example("`" + "x" * 80 + "` `" + "x" * 81 + "`")
def test_markup_goes_as_the_expressions_say(text: str):
    assert stripped(text) == MARKUP.sub(" ", text)


@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=4))
@example([("TCP/IP", "TCP/IP"), ("GitHub (H264) 3", "GitHub (H264) 3"), ("NOTE", "NOTE")])
@example(
    [("Negan (Jeffrey Dean Morgan) left", "尼根（Negan）（由（Jeffrey Dean Morgan）饰演）离开")]
)
@example([("la casa de la und über não", "中文")])
@settings(max_examples=80)
def test_every_column_equals_plain_python(pairs: list[tuple[str, str]]):
    left, right = zip(*pairs, strict=True)
    columns = score_pairs(texts(*left), texts(*right), CHINESE, FILTERS)
    for row, (english, chinese) in enumerate(pairs):
        for name, expected in plain_scores(english, chinese).items():
            assert columns[name][row] == pytest.approx(expected, abs=1e-6), (name, english, chinese)


@pytest.mark.skipif(
    not CORPUS.is_dir(), reason=f"{CORPUS} is absent; LINGUABRIDGE_SHARED_DATA names its parent"
)
def test_every_column_equals_plain_python_on_real_text():
    lines = (CORPUS / "mess_labelled.tsv").read_text(encoding="utf-8").split("\n")[1:-1:5]
    pairs = [tuple(line.split("\t")[3:5]) for line in lines]
    left, right = zip(*pairs, strict=True)
    columns = score_pairs(texts(*left), texts(*right), CHINESE, FILTERS)
    for row, (english, chinese) in enumerate(pairs):
        for name, expected in plain_scores(english, chinese).items():
            assert columns[name][row] == pytest.approx(expected, abs=1e-6), (name, english, chinese)


def test_columns_of_no_pairs_are_empty():
    columns = score_pairs(texts(), texts(), CHINESE, FILTERS)
    assert {len(column) for column in columns.values()} == {0}
    assert columns.keys() == scored("a", "b").keys()


def test_scores_do_not_depend_on_the_neighbours():
    rows = MOST_ROWS + 7
    words = ["one", "two", "a a a a", "", "http://x", "<b>no", "5 of 7", "naïve of the"]
    left = [f"{words[row % 8]} {row % 13} {words[row % 5]}" for row in range(rows)]
    right = [f"第{row % 11}行 {words[row % 7]} 中文" for row in range(rows)]
    together = score_pairs(texts(*left), texts(*right), CHINESE, FILTERS)
    for row in (0, 1, MOST_ROWS - 1, MOST_ROWS, rows - 1):
        alone = score_pairs(texts(left[row]), texts(right[row]), CHINESE, FILTERS)
        for name, column in together.items():
            assert column[row] == alone[name][0], name


def test_a_slice_of_a_column_scores_as_it_does_by_itself():
    left, right = texts("x" * 9, "The cat.", "b"), texts("好", "那只猫。", "坏")
    middle = score_pairs(left.slice(1, 2), right.slice(1, 2), CHINESE, FILTERS)
    assert {name: float(column[0]) for name, column in middle.items()} == scored(
        "The cat.", "那只猫。"
    )


@pytest.mark.parametrize(
    "unit",
    ["word ", "{{", "<a", "`x", ":a:", '](y "', "1,2 ", "a", "好", "%(", "(1)", "half ", "一"],
)
def test_text_beyond_all_bounds_is_read_by_its_head(unit: str):
    text = unit * (3 * LONGEST // len(unit))
    columns = score_pairs(texts(text, "ok"), texts("好", text), CHINESE, FILTERS)
    assert columns["characters"].tolist() == [len(text)] * 2
    assert all(np.isfinite(column).all() for column in columns.values())


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_bytes_that_are_no_text_are_read_as_some(left: bytes, right: bytes):
    sides = [
        Texts(np.frombuffer(side, np.uint8), np.array([0, len(side)])) for side in (left, right)
    ]
    columns = score_pairs(sides[0], sides[1], CHINESE, FILTERS)
    assert all(np.isfinite(column).all() for column in columns.values())


@given(st.lists(st.lists(st.integers(0, 40), max_size=30), min_size=1, max_size=6))
def test_a_set_holds_what_was_put_in_since_it_began(rounds: list[list[int]]):
    room = HashSet.for_members(30)
    room.stamps[0] = 2**16 - 3  # stamps run out on the way
    for members in rounds:
        begun = new_set(room.entries, room.stamps, len(members))
        stamp, shift = np.uint64(begun[0]), np.uint64(begun[1])
        known: set[int] = set()
        for member in members:
            digest = np.uint64(member * 0x9E3779B97F4A7C15 % 2**64)
            assert contains(room.entries, stamp, shift, digest) == (member in known)
            assert insert(room.entries, stamp, shift, digest) == (member not in known)
            known.add(member)


GOOD = {
    "en": "The committee will meet again in the spring to discuss the remaining questions.",
    "zh": "委员会将在春天再次开会，讨论剩下的问题。",
    "ar": "ستجتمع اللجنة مرة أخرى في الربيع لمناقشة المسائل المتبقية.",
    "cs": "Výbor se na jaře znovu sejde, aby projednal zbývající otázky.",
    "de": "Der Ausschuss wird im Frühjahr erneut tagen, um die offenen Fragen zu besprechen.",
    "el": "Η επιτροπή θα συνεδριάσει ξανά την άνοιξη για να συζητήσει τα υπόλοιπα ζητήματα.",
    "es": "El comité se reunirá de nuevo en primavera para debatir las cuestiones pendientes.",
    "fr": "Le comité se réunira à nouveau au printemps pour discuter des questions restantes.",
    "he": "הוועדה תתכנס שוב באביב כדי לדון בשאלות שנותרו.",
    "hi": "समिति शेष प्रश्नों पर चर्चा करने के लिए वसंत ऋतु में फिर से बैठक करेगी।",
    "id": "Komite akan bertemu lagi pada musim semi untuk membahas pertanyaan yang tersisa.",
    "it": "Il comitato si riunirà di nuovo in primavera per discutere le questioni rimanenti.",
    "ja": "委員会は春に再び会合を開き、残りの問題について話し合います。",
    "ko": "위원회는 남은 문제를 논의하기 위해 봄에 다시 만날 것입니다.",
    "nl": "De commissie komt in het voorjaar opnieuw bijeen om de resterende vragen te bespreken.",
    "pl": "Komitet zbierze się ponownie wiosną, aby omówić pozostałe kwestie.",
    "pt": "O comitê se reunirá novamente na primavera para discutir as questões restantes.",
    "ru": "Комитет снова соберётся весной, чтобы обсудить оставшиеся вопросы.",
    "th": "คณะกรรมการจะประชุมกันอีกครั้งในฤดูใบไม้ผลิเพื่อหารือเกี่ยวกับคำถามที่เหลืออยู่",
    "tr": "Komite, kalan soruları görüşmek üzere ilkbaharda tekrar toplanacak.",
    "uk": "Комітет знову збереться навесні, щоб обговорити решту питань.",
    "vi": "Ủy ban sẽ họp lại vào mùa xuân để thảo luận về các câu hỏi còn lại.",
}


def test_every_language_is_tried():
    assert GOOD.keys() == LANGUAGES.keys()


@pytest.mark.parametrize("code", sorted(set(LANGUAGES) - {"en"}))
@pytest.mark.parametrize("reverse", [False, True])
def test_a_translation_is_typical_in_every_language(code: str, *, reverse: bool):
    languages = (code, "en") if reverse else ("en", code)
    scores = scored(GOOD[languages[0]], GOOD[languages[1]], languages)
    assert scores["script"] > 0.9
    assert scores["foreign"] == 0
    assert scores["copied_prose"] < 0.1
    assert scores["swapped"] == scores["encoding"] == 0
    assert 0.7 < scores["length_ratio"] < 1.4
    assert scores["quality"] > 0.8


@pytest.mark.parametrize("code", sorted(set(LANGUAGES) - {"en"}))
def test_the_wrong_language_shows_in_every_language(code: str):
    languages = ("en", code)
    other = "ru" if LANGUAGES[code].script == "latin" else "de"
    stray = scored(GOOD["en"], GOOD[other], languages)
    assert stray["foreign"] > 0.15 or stray["script"] < 0.3
    untranslated = scored(GOOD["en"], GOOD["en"], languages)
    assert untranslated["copied_prose"] > 0.3
    exchanged = scored(GOOD[code], GOOD["en"], languages)
    assert exchanged["swapped"] > 0.5 or exchanged["foreign"] > 0.15


@pytest.mark.parametrize(
    ("languages", "left", "right"),
    [
        (("zh", "ja"), "委员会将在春天再次开会。", "委員会は春に再び会合を開きます。"),
        (("zh", "ko"), GOOD["zh"], GOOD["ko"]),
        (("ru", "uk"), GOOD["ru"], GOOD["uk"]),
        (("de", "fr"), GOOD["de"], GOOD["fr"]),
        (("ja", "th"), GOOD["ja"], GOOD["th"]),
    ],
)
def test_pairs_without_english_are_typical_too(languages: tuple[str, str], left: str, right: str):
    scores = scored(left, right, languages)
    assert scores["script"] > 0.9
    assert scores["foreign"] == scores["copied_prose"] == scores["swapped"] == 0
    assert 0.6 < scores["length_ratio"] < 1.6


def test_untranslated_words_tell_on_the_chinese_side_whichever_it_is():
    english = "Run the npm install command in the folder."
    chinese = "在 folder 中运行 npm install 命令。"
    forward, backward = scored(english, chinese), scored(chinese, english, ("zh", "en"))
    for name in ("copied", "copied_prose"):
        assert forward[name] == backward[name] > 0
