"""The real teacher on local stand-ins of instances: through a reclaim, to the same weights."""

import json
import shutil
from pathlib import Path

import pytest

from src.train_teacher import train_teacher
from tests.integration.spot_arena import ROOT, Arena

STEPS = ("teacher.max_steps=60", "teacher.save_steps=10")


@pytest.mark.slow
def test_real_training_survives_kill_and_notice_with_the_same_weights(project, tmp_path):
    straight = train_teacher(project.config(*STEPS))
    processed = Path(project.config().data.output_dir)
    overrides = (
        *STEPS,
        "data.output_dir=data/processed",
        "cloud.inputs={data/processed: data/processed}",
    )
    with Arena(tmp_path, program=ROOT, config=project.file, overrides=overrides) as arena:
        shutil.copytree(processed, arena.bucket / "data/processed")
        arena.start_controller()
        arena.wait_until(lambda: arena.committed() >= 1)
        (first,) = arena.world.living()
        arena.world.release(first)
        arena.wait_until(lambda: any(each is not first for each in arena.world.living()))
        arena.kill_controller()
        arena.start_controller()
        assert arena.end() == 0, arena.logs()
        summary = json.loads(arena.read("output/summary.json"))
        assert summary["weights_sha256"] == straight["weights_sha256"]
        assert summary["resumed_from"]
        assert arena.world.living() == []
        assert arena.answer()["cost"] == pytest.approx(arena.world.bill(), abs=1e-6)
