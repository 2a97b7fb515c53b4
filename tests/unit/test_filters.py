"""Filters: the reason each kind of bad pair is dropped for, and what must survive."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.corpus.filters import KEPT, build_rules, first_broken
from src.corpus.scores import Columns, quality, score_pairs
from src.corpus.texts import Texts
from src.schema import FiltersConfig

FILTERS = FiltersConfig()
RULES = build_rules(FILTERS, 0.5)
LONG_EN = "The committee will meet again in the spring to discuss the remaining questions."
LONG_DE = "Der Ausschuss wird im Frühjahr erneut tagen, um die offenen Fragen zu besprechen."
LONG_ZH = "委员会将在春天再次开会，讨论剩下的问题。"


def columns_of(left: str, right: str, languages: tuple[str, str] = ("en", "zh")) -> Columns:
    return score_pairs(Texts.of([left]), Texts.of([right]), languages, FILTERS)


def reason_for(left: str, right: str, languages: tuple[str, str] = ("en", "zh")) -> str:
    verdict = first_broken(columns_of(left, right, languages), RULES)[0]
    return "kept" if verdict == KEPT else RULES[verdict].reason


@pytest.mark.parametrize(
    ("reason", "english", "chinese"),
    [
        ("empty", "", LONG_ZH),
        ("empty", LONG_EN, ""),
        ("too_long", LONG_EN * 30, LONG_ZH * 30),
        ("encoding", LONG_EN, "委员会将在�春天再次开会，讨论剩下的问题。"),
        ("encoding", LONG_EN, "锟斤拷煞锟街癸拷锟斤拷"),
        ("encoding", "my chest hurts", "鎴戠殑鍓嶈兏鎰熷埌鐤肩棝"),
        ("swapped", LONG_ZH, LONG_EN),
        ("untranslated", LONG_EN, LONG_EN),
        ("untranslated", "Getting Started", "Getting Started"),
        ("untranslated", "WARNING", "WARNING"),
        ("untranslated", "kubectl get pods", "kubectl get pods"),
        ("untranslated", LONG_EN, "委员会将在春天 to discuss the remaining questions."),
        ("wrong_script", LONG_EN, "wo men ming tian hui lai le"),
        ("wrong_script", LONG_EN, "委員会は春に再び会合を開き、残りの問題について話し合います。"),
        ("wrong_script", "La comisión se reunirá de nuevo en la primavera", LONG_ZH),
        ("punctuation", "======", LONG_ZH),
        ("punctuation", LONG_EN, "！！！！！！"),
        ("only_markup", '<a href="#display"></a>', LONG_ZH),
        ("length_ratio", LONG_EN, "委员会"),
        ("length_ratio", "Yes, of course.", LONG_ZH * 2),
        (
            "repetition",
            "They have been " + "waiting for " * 7 + "the bus this morning.",
            LONG_ZH * 2,
        ),
        ("repetition", "a strong strong strong strong strong host", "强大的宿主强大的人"),
        ("numbers", "1987 was the year of the river in Brisbane.", "4572年是布里斯班的河流年。"),
        ("placeholders", "Duplicated case label: %d.", "重复的 case 标签：。"),
    ],
)
def test_bad_pair_is_dropped_for_its_reason(reason: str, english: str, chinese: str):
    assert reason_for(english, chinese) == reason


@pytest.mark.parametrize(
    ("english", "chinese"),
    [
        (LONG_EN, LONG_ZH),
        ("March 5, 2029", "2029年3月5日"),
        ("Saturday, September 28, 2029", "2029年9月28日星期六"),
        ("35% of the work is done.", "工作已完成35%。"),
        ("2:07 PM", "下午2:07"),
        ("3/5/29", "2029/3/5"),
        ("1,234.50 US dollars", "1,234.50美元"),
        ("Bulgarian and Indonesian", "保加利亚语和印度尼西亚语"),
        ("OK", "确定"),
        ("No!", "不！"),
        ("very, very good", "非常非常好"),
        ("Haha, that's so funny!!!", "哈哈，太好笑了！！！"),
        ("👍 Great job!", "👍 干得好！"),
        ("Set the option to `true` in config.yaml.", "在 config.yaml 中把该选项设为 `true`。"),
        ("{count} items selected", "已选择 {count} 项"),
        ('<a href="/en/docs">Documents</a>', "文件"),
        ("R&D", "研发"),
        ("TCP/IP", "TCP/IP"),
        ("iPhone 15 Pro Max", "iPhone 15 Pro Max"),
        ("The receptor binds IFN-γ.", "该受体与 IFN-γ 结合。"),
        ("Afonso de Albuquerque conquered Goa.", "Afonso de Albuquerque 征服了 Goa。"),
        (
            "Negan's (Jeffrey Dean Morgan) top guys",
            "尼根（Negan）（杰弗里·迪恩·摩根（Jeffrey Dean Morgan）饰）的帮手",
        ),
        ("The :mod:`signal` module has new functions:", ":mod:`signal` 模块新增的函数："),
        ("Upgrading worker nodes", "升级工作节点 {#upgrading-worker-nodes}"),
        ("The element $a_{ij}$ of the matrix", "矩阵的元素$a_{ij}$，参见$b_{kl}$"),
        ("Find the book of glass blowing", "收集 1 本《玻璃吹制工艺》"),
    ],
)
def test_good_pair_is_kept(english: str, chinese: str):
    assert reason_for(english, chinese) == "kept"


@pytest.mark.parametrize(
    ("reason", "languages", "left", "right"),
    [
        ("kept", ("zh", "en"), LONG_ZH, LONG_EN),
        ("swapped", ("zh", "en"), LONG_EN, LONG_ZH),
        ("untranslated", ("zh", "en"), LONG_EN, LONG_EN),
        ("kept", ("en", "de"), "Where are you going?", "Wohin gehst du?"),
        ("untranslated", ("en", "de"), LONG_EN, LONG_EN),
        ("wrong_script", ("en", "de"), LONG_DE, LONG_EN),
        ("wrong_script", ("en", "de"), LONG_EN, LONG_ZH),
        (
            "wrong_script",
            ("en", "ja"),
            LONG_EN,
            "위원회는 남은 문제를 논의하기 위해 봄에 다시 만날 것입니다.",
        ),
        (
            "kept",
            ("zh", "ja"),
            LONG_ZH,
            "委員会は春に再び会合を開き、残りの問題について話し合います。",
        ),
    ],
)
def test_other_pairs_of_languages_are_told_apart(
    reason: str, languages: tuple[str, str], left: str, right: str
):
    assert reason_for(left, right, languages) == reason


def test_pair_at_a_limit_is_kept_and_beyond_it_dropped():
    columns = columns_of(LONG_EN, LONG_ZH)
    ratio = float(columns["length_ratio"][0])
    at_limit = build_rules(FILTERS.model_copy(update={"length_ratio_max": ratio}), 0.0)
    beyond = build_rules(FILTERS.model_copy(update={"length_ratio_max": ratio - 1e-4}), 0.0)
    assert first_broken(columns, at_limit)[0] == KEPT
    assert beyond[first_broken(columns, beyond)[0]].reason == "length_ratio"


def test_quality_threshold_drops_what_no_single_limit_drops():
    rules = build_rules(FILTERS, 1.0)
    verdict = first_broken(columns_of(LONG_EN, LONG_ZH), rules)[0]
    assert rules[verdict].reason == "low_quality"


_TEXT = st.text(alphabet="ab cX1.，。国家的é�カ%{}<>\u2028\n", max_size=60)


@given(st.lists(st.tuples(_TEXT, _TEXT), max_size=8))
def test_scores_are_finite_and_shares_stay_within_bounds(pairs: list[tuple[str, str]]):
    left, right = Texts.of([en for en, _ in pairs]), Texts.of([zh for _, zh in pairs])
    columns = score_pairs(left, right, ("en", "zh"), FILTERS)
    for name, column in columns.items():
        assert column.dtype == np.float32
        assert np.isfinite(column).all(), name
        assert (column >= 0).all(), name
        if name not in {"characters", "shortest", "visible", "length_ratio"}:
            assert (column <= 1).all(), name


_COMPONENTS = (
    "repetition",
    "punctuation",
    "foreign",
    "copied",
    "numbers",
    "placeholders",
    "encoding",
)


@given(
    st.dictionaries(st.sampled_from(_COMPONENTS), st.floats(0, 1), max_size=7),
    st.sampled_from(_COMPONENTS),
)
def test_quality_never_rises_with_a_badness(values: dict[str, float], worse: str):
    def combined(changes: dict[str, float]) -> float:
        columns = {name: np.array([changes.get(name, 0.0)]) for name in _COMPONENTS}
        one = np.ones(1)
        return float(quality({**columns, "length_ratio": one, "script": one, "vocabulary": one})[0])

    assert combined({**values, worse: 1.0}) <= combined(values) <= 1.0


@pytest.mark.parametrize("ratio", [0.7, 1.4, 3.0])
def test_quality_falls_with_the_distance_of_the_ratio_from_one(ratio: float):
    zero, one = np.zeros(2), np.ones(2)
    columns = dict.fromkeys(_COMPONENTS, zero) | {"script": one, "vocabulary": one}
    near, far = quality({**columns, "length_ratio": np.array([1.0, ratio])})
    assert far < near
