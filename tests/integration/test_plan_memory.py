"""The planned memory of a run against the measured peak of its process."""

import pytest

from benchmarks.plan_memory import AIM, Run, overrides, peak_bytes, predicted_bytes


def test_a_real_run_takes_the_planned_memory(project, tmp_path):
    run = Run("real", (512, 6, 1408, 8, 4), 16, 96, is_judged=True)
    config = project.config(*overrides(run, tmp_path / "real"))
    predicted = predicted_bytes(run, config)
    assert peak_bytes(run, project.file, tmp_path) == pytest.approx(predicted, rel=AIM)


def test_the_plan_knows_what_training_does():
    from src.distillation.soft_labels.layout import METHODS, RecordLayout
    from src.planning.disk import soft_label_bytes
    from src.planning.memory import CHUNK_ELEMENTS
    from src.training import losses

    assert losses._CHUNK_ELEMENTS == CHUNK_ELEMENTS
    for method in METHODS:
        record = RecordLayout(method, top_k=32, vocab_size=151_665).record_bytes
        assert record <= soft_label_bytes(32, 151_665) <= 1.2 * record
