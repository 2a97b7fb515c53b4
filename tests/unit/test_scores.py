"""Scores against the published numbers of WMT22, hand-made cases and bad input."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.errors import DataError
from src.evaluation.scores import exact_matches, score, sentence_chrf

DATA = Path(
    os.environ.get(
        "LINGUABRIDGE_SHARED_DATA", Path(__file__).resolve().parents[2] / "../shared/data"
    )
)
WMT = DATA / "wmt"
SYSTEMS = ("HuaweiTSC", "Lan-Bridge", "Online-A", "Online-Y")
REFERENCES = ("A", "B", "all")


def read_lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").removesuffix("\n").split("\n")


def compare_with_published(pair: str, checks: list[tuple[str, str]]) -> None:
    """Asserts BLEU and chrF of (system, references "A", "B" or "all") to all four decimals."""
    with (WMT / "published_scores.tsv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if row["pair"] == pair]
    published = {(row["system"], row["metric"]): row["published"] for row in rows}
    target = pair.split("-")[1]
    first = read_lines(WMT / f"generaltest2022.{pair}.{target}")
    second = read_lines(WMT / f"generaltest2022.{pair}.refB.{target}")
    # The organisers gave set B first: see the note on order in `score`.
    references = {"A": [first], "B": [second], "all": [second, first]}
    found = {}
    for system, name in checks:
        hypotheses = read_lines(WMT / f"generaltest2022.{pair}.hyp.{system}.{target}")
        scores = score(hypotheses, references[name], target_language=target)
        found[system, f"bleu-{name}"] = f"{scores.bleu:.4f}"
        found[system, f"chrf-{name}"] = f"{scores.chrf:.4f}"
    assert found == {key: published[key] for key in found}


needs_wmt = pytest.mark.skipif(not WMT.is_dir(), reason=f"WMT22 outputs are not in {WMT}")


@needs_wmt
@pytest.mark.parametrize(
    ("pair", "checks"),
    [("en-zh", [("HuaweiTSC", "all"), ("Online-Y", "A")]), ("zh-en", [("Lan-Bridge", "B")])],
)
def test_score_of_wmt22_systems_equals_published_numbers(pair, checks):
    compare_with_published(pair, checks)


@needs_wmt
@pytest.mark.slow
@pytest.mark.parametrize("pair", ["en-zh", "zh-en"])
def test_score_of_all_wmt22_systems_equals_published_numbers(pair):
    compare_with_published(pair, [(system, name) for system in SYSTEMS for name in REFERENCES])


def test_score_of_the_reference_itself_is_perfect():
    text = ["今天是星期一。", "价格是三十五元。"]
    scores = score(text, [text], target_language="zh")
    assert scores.bleu == pytest.approx(100.0)
    assert scores.chrf == pytest.approx(100.0)
    assert scores.chrf_plus_plus == pytest.approx(100.0)
    assert (scores.exact_match, scores.length_ratio, scores.n) == (1.0, 1.0, 2)


def test_score_splits_chinese_by_character_and_english_by_word():
    one_character_off = score(["今天是星期二"], [["今天是星期一"]], target_language="zh")
    assert 0 < one_character_off.bleu < 100
    assert one_character_off.length_ratio == 1.0
    assert "tok:zh" in one_character_off.signatures["bleu"]
    english = score(["a b c d e"], [["a b c d e f g h"]], target_language="en")
    assert "tok:13a" in english.signatures["bleu"]
    assert english.length_ratio == pytest.approx(5 / 8)


def test_score_names_chrf_plus_plus_and_its_word_order():
    scores = score(["the cat sat"], [["the cat sat down"]], target_language="en")
    result = scores.to_json()
    assert set(result) == {
        "bleu", "chrf", "chrf++", "exact_match", "length_ratio", "n", "signatures",
    }  # fmt: skip
    assert "nw:0" in scores.signatures["chrf"]
    assert "nw:2" in scores.signatures["chrf++"]


def test_score_with_two_reference_sets_takes_either():
    references = [["a b c d", "x"], ["q", "e f g h"]]
    scores = score(["a b c d", "e f g h"], references, target_language="en")
    assert scores.exact_match == 1.0
    assert scores.bleu == pytest.approx(100.0)
    assert "nrefs:2" in scores.signatures["bleu"]


def test_exact_match_ignores_white_space_at_the_ends_only():
    assert exact_matches([" a b ", "a  b"], [["a b", "a b"]]) == [True, False]


def test_score_of_empty_hypotheses_is_zero():
    scores = score(["", ""], [["one two", "three"]], target_language="en")
    assert (scores.bleu, scores.chrf, scores.length_ratio, scores.exact_match) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("hypotheses", "references", "message"),
    [
        (
            ["a", "b"],
            [["a", "b"], ["a"]],
            "2 hypotheses but 1 references in reference set 2 of 2; both need one line per "
            "sentence, in the same order",
        ),
        ([], [[]], "there are no translations to score: the hypotheses are empty"),
        (["a"], [], "there are no references to score against; give at least one set"),
    ],
)
def test_score_of_unusable_input_says_why(hypotheses, references, message):
    with pytest.raises(DataError) as caught:
        score(hypotheses, references, target_language="en")
    assert str(caught.value) == message


sentences = st.lists(st.text(max_size=12), min_size=1, max_size=4)


@given(hypotheses=sentences, data=st.data())
def test_scores_stay_in_range_for_any_text(hypotheses, data):
    count = len(hypotheses)
    reference = data.draw(st.lists(st.text(max_size=12), min_size=count, max_size=count))
    scores = score(hypotheses, [reference], target_language="zh")
    for value in (scores.bleu, scores.chrf, scores.chrf_plus_plus):
        assert -1e-9 <= value <= 100 + 1e-9
    assert 0 <= scores.exact_match <= 1
    chrf = sentence_chrf(hypotheses, [reference])
    assert len(chrf) == count
    assert all(-1e-9 <= value <= 100 + 1e-9 for value in chrf)
