"""Intervals and paired tests: equal to sacrebleu's command line, and sensible at the edges."""

from __future__ import annotations

import json
import random
import subprocess
import sys

import pytest

from src.errors import DataError
from src.evaluation.significance import compare_systems

WORDS = ("the", "cat", "sat", "on", "a", "mat", "while", "dogs", "ran", "over", "hills", "skies")


def sentences(seed: int, count: int = 60) -> list[str]:
    chance = random.Random(seed)  # noqa: S311
    return [" ".join(chance.choices(WORDS, k=chance.randint(5, 12))) for _ in range(count)]


def damaged(lines: list[str], share: float, seed: int) -> list[str]:
    chance = random.Random(seed)  # noqa: S311
    return [
        " ".join("xyz" if chance.random() < share else word for word in line.split())
        for line in lines
    ]


REFERENCE = sentences(1)
GOOD, BAD = damaged(REFERENCE, 0.2, 2), damaged(REFERENCE, 0.5, 3)


def test_estimates_equal_those_of_sacrebleus_command_line(tmp_path):
    for name, lines in (("ref", REFERENCE), ("good", GOOD), ("bad", BAD)):
        (tmp_path / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    result = subprocess.run(
        [sys.executable, "-m", "sacrebleu", "ref", "-i", "good", "bad", "-m", "bleu", "chrf",
         "--paired-bs", "--format", "json"],
        cwd=tmp_path, capture_output=True, check=True, text=True,
    )  # fmt: skip
    rows = json.loads(result.stdout)
    found = compare_systems({"good": GOOD, "bad": BAD}, [REFERENCE], target_language="en")
    for row, name in zip(rows, ("good", "bad"), strict=True):
        for column, metric in (("BLEU", "bleu"), ("chrF2", "chrf")):
            expected, ours = row[column], found[name][metric]
            assert ours.score == pytest.approx(expected["score"], abs=1e-3)
            assert (ours.low + ours.high) / 2 == pytest.approx(expected["mean"], abs=1e-3)
            assert (ours.high - ours.low) / 2 == pytest.approx(expected["ci"], abs=1e-3)
            assert ours.p_value == pytest.approx(expected["p_value"], abs=1e-4)


def test_equal_systems_do_not_differ_and_unequal_ones_do():
    found = compare_systems({"a": GOOD, "b": GOOD, "c": BAD}, [REFERENCE], target_language="en")
    assert found["a"]["bleu"].p_value is None
    same, other = found["b"]["bleu"].p_value, found["c"]["bleu"].p_value
    assert same is not None
    assert other is not None
    assert same == 1.0
    assert other < 0.01
    assert found["a"]["chrf++"].low <= found["a"]["chrf++"].score <= found["a"]["chrf++"].high


def test_one_sentence_has_no_interval():
    assert compare_systems({"a": ["x"]}, [["x"]], target_language="en") == {}


def test_counts_must_agree():
    with pytest.raises(DataError, match="3 hypotheses but 60 references"):
        compare_systems({"a": GOOD, "b": GOOD[:3]}, [REFERENCE], target_language="en")
