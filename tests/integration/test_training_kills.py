"""kill -9 at any moment of training, on one rank and on two: the run ends as if it never was."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.training_lives import Lives

STEPS = 60
KEYS = (
    f"teacher.max_steps={STEPS}",
    "teacher.batch_size=4",
    "teacher.global_batch_size=8",
    "teacher.save_steps=4",
    "teacher.eval_steps=18",
    "teacher.ema_decay=0.9",
)
# Several forward passes a step, each of a row that holds several pairs.
PACKED = (*KEYS, "teacher.packing=true", "teacher.batch_size=1", "teacher.global_batch_size=12")
SEED = 20290306


def straight_run(
    project: Any, lives: Lives, ranks: int, keys: Sequence[str] = KEYS
) -> tuple[dict[str, Any], dict[int, float]]:
    assert lives.run(project.folder / "straight", *keys, ranks=ranks)["code"] == 0
    losses = project.losses("straight")
    assert sorted(losses) == list(range(1, STEPS + 1))
    return project.summary("straight"), losses


def kill_until_done(
    project: Any, lives: Lives, name: str, chance: random.Random, ranks: int
) -> Counter[str]:
    """Lives of one run, each killed at a random moment, until one reaches the end."""
    kills: Counter[str] = Counter()
    while True:
        kind, most = chance.choice((("inside", 120), ("outside", 12 if ranks == 2 else 24)))
        count = chance.randint(1, most)
        life = lives.run(project.folder / name, *KEYS, ranks=ranks, kind=kind, count=count)
        if life["code"] == 0:
            return kills
        kills[kind] += 1


@pytest.mark.parametrize(
    ("ranks", "least_kills"),
    [
        pytest.param(1, 5),
        pytest.param(2, 5, marks=[pytest.mark.distributed, pytest.mark.slow]),
        pytest.param(1, 50, marks=pytest.mark.slow),
        pytest.param(2, 50, marks=[pytest.mark.distributed, pytest.mark.slow]),
    ],
)
@pytest.mark.timeout(3600)
def test_killed_runs_end_like_one_that_never_was(project, lives, ranks, least_kills):
    expected, losses = straight_run(project, lives, ranks)
    chance = random.Random(SEED + ranks)  # noqa: S311  kills need no secrets
    kills: Counter[str] = Counter()
    runs = 0
    while kills.total() < least_kills or len(kills) < 2:
        name = f"killed-{runs}"
        kills += kill_until_done(project, lives, name, chance, ranks)
        found = project.summary(name)
        assert found["weights_sha256"] == expected["weights_sha256"], f"{name} after {kills}"
        assert found["best_eval_loss"] == expected["best_eval_loss"]
        assert found["tokens_seen"] == expected["tokens_seen"]
        assert project.losses(name) == losses
        runs += 1


@pytest.mark.parametrize(
    "ranks", [1, pytest.param(2, marks=[pytest.mark.distributed, pytest.mark.slow])]
)
@pytest.mark.timeout(1800)
def test_killed_runs_of_packed_rows_end_like_one_that_never_was(project, lives, ranks):
    expected, losses = straight_run(project, lives, ranks, PACKED)
    folder = project.folder / "killed"
    for kind, count in (("outside", 40), ("inside", 50)):
        assert lives.run(folder, *PACKED, ranks=ranks, kind=kind, count=count)["code"] == -9
    assert lives.run(folder, *PACKED, ranks=ranks)["code"] == 0
    found = project.summary("killed")
    assert found["resumed_from"] is not None
    for key in ("weights_sha256", "best_eval_loss", "tokens_seen"):
        assert found[key] == expected[key]
    assert project.losses("killed") == losses


@pytest.mark.distributed
@pytest.mark.parametrize(
    "more",
    [
        (),
        pytest.param(("teacher.packing=true", "teacher.batch_size=2"), marks=pytest.mark.slow),
    ],
)
def test_two_ranks_then_one_then_two_learn_from_every_pair_once(project, lives, more):
    keys = ("teacher.max_steps=null", "teacher.global_batch_size=48", "teacher.save_steps=5", *more)
    folder = project.folder / "changing"
    straight = project.folder / "seen-straight"
    assert lives.run(project.folder / "one", *keys, seen=straight)["code"] == 0
    changes = ((2, "outside", 40), (1, "outside", 90), (2, "never", 0))
    seen = [project.folder / f"seen-{number}" for number in range(len(changes))]
    for (ranks, kind, count), notes in zip(changes, seen, strict=True):
        lives.run(folder, *keys, ranks=ranks, kind=kind, count=count, seen=notes)
    assert project.summary("changing")["resumed_from"] not in {None, "checkpoint-00000005"}
    said = lives.log.read_text(encoding="utf-8")
    for words in ("saved by 2 ranks and goes on with 1", "saved by 1 ranks and goes on with 2"):
        assert f"{words}: the global batch of 48 pairs and the order of the data stay" in said
    changing = {step: rows for notes in seen for step, rows in learned(notes).items()}
    assert changing == learned(straight)
    assert project.losses("changing") == pytest.approx(project.losses("one"), rel=5e-5)
    for key in ("steps", "tokens_seen"):
        assert project.summary("changing")[key] == project.summary("one")[key]


def learned(folder: Path) -> dict[int, Counter[str]]:
    """Step → the sequences that one life has learned from, over its ranks' micro-batches."""
    steps: dict[int, Counter[str]] = {}
    for path in folder.iterdir():
        for line in path.read_text(encoding="utf-8").splitlines():
            step, rows = json.loads(line)
            steps.setdefault(step, Counter()).update(rows)
    return steps
