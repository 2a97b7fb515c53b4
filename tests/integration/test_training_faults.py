"""Faults put into real runs of the real loop: what is skipped, reported, undone and survived."""

import contextlib
import json
import math
import re
import resource
from pathlib import Path

import numpy as np
import paddle
import pytest
from safetensors.numpy import load_file

from src.checkpoint.format import verify_folder
from src.errors import Interrupted, LinguaBridgeError, TrainingDiverged
from src.training import recipe
from src.training.losses import TokenLoss
from src.training.optim import learning_rate_at
from tests.fakes.faulty_training import Alerts, step_of, train
from tests.fakes.full_disk import files_limited_to

QUICK = ("teacher.health.window=6", "teacher.health.min_steps=3")


def scaled(steps, factor):
    """The loss of these steps times a factor, gradients with it: what a poisoned batch does."""

    def fault(loss, _model):
        def faulty(micro_batch):
            found = loss(micro_batch)
            if step_of(micro_batch) not in steps:
                return found
            return TokenLoss(found.total * factor, found.cross_entropy * factor, None)

        return faulty

    return fault


def records(project, name="teacher"):
    lines = (project.folder / name / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def faults(project, name="teacher"):
    return [(item["step"], item["fault"]) for item in records(project, name) if "fault" in item]


def final_weights(project, name="teacher"):
    return load_file(project.folder / name / "final" / "model.safetensors")


@pytest.mark.parametrize("factor", [float("nan"), float("inf")])
def test_a_step_that_is_not_finite_changes_no_weight_and_is_alerted_once(project, factor):
    alerts = Alerts()
    summary = train(project.config(), fault=scaled({4, 5}, factor), alert=alerts)
    assert summary["steps"] == 12
    assert summary["skipped_steps"] == 2
    assert faults(project) == [(5, "not_finite"), (6, "not_finite")]
    assert len(alerts.of("non_finite")) == 1
    assert np.isfinite(list(project.losses("teacher").values())).all()
    for name, weights in final_weights(project).items():
        assert np.isfinite(weights).all(), name


def test_poisoned_labels_are_found_by_their_loss(project):
    """Random labels in one batch, among labels that the model has learned to predict."""

    def fault(loss, _model):
        random = np.random.default_rng(3)

        def faulty(micro_batch):
            labels = micro_batch["labels"]
            if step_of(micro_batch) >= 0:
                labels = paddle.full_like(labels, 7)
            if step_of(micro_batch) == 9:
                labels = paddle.to_tensor(random.integers(8, 300, labels.shape))
            return loss({**micro_batch, "labels": labels})

        return faulty

    alerts = Alerts()
    limits = ("teacher.health.spike_report=1.5", "teacher.health.spike_skip=1.5")
    config = project.config(*QUICK, *limits, "teacher.learning_rate=0.1")
    summary = train(config, fault=fault, alert=alerts)
    assert faults(project)[0] == (10, "loss_spike")
    assert summary["skipped_steps"] == 1
    (text,) = alerts.of("spike")
    assert "times the usual: skipped" in text


def test_a_mild_spike_is_reported_and_learned_from(project):
    alerts = Alerts()
    summary = train(project.config(*QUICK), fault=scaled({7}, 5.0), alert=alerts)
    assert summary["skipped_steps"] == 0
    assert faults(project)[0] == (8, "loss_spike")
    assert "times the usual: kept" in alerts.of("spike")[0]


def test_exploding_gradients_are_reported(project):
    """Gradients alone: the loss value is that of the batch."""

    def fault(loss, _model):
        def faulty(micro_batch):
            found = loss(micro_batch)
            if step_of(micro_batch) != 7:
                return found
            extra = found.total * 40
            return TokenLoss(
                found.total + extra - extra.detach(), found.cross_entropy, found.divergence
            )

        return faulty

    alerts = Alerts()
    train(project.config(*QUICK), fault=fault, alert=alerts)
    assert faults(project) == [(8, "gradient_explosion")]
    assert "gradient norm" in alerts.of("spike")[0]


@pytest.mark.parametrize(
    ("rate", "words", "skipped"),
    [
        (0.5, "learning rate 0.5 is above its peak of 0.01", 0),
        (float("nan"), "learning rate nan: skipped", 1),
    ],
)
def test_a_faulty_schedule_is_noticed(project, monkeypatch, rate, words, skipped):
    schedule = learning_rate_at

    def faulty(section, *, total_steps):
        at = schedule(section, total_steps=total_steps)
        return lambda step: rate if step == 6 else at(step)

    monkeypatch.setattr(recipe, "learning_rate_at", faulty)
    alerts = Alerts()
    summary = train(project.config(), fault=lambda loss, _: loss, alert=alerts)
    assert (7, "learning_rate") in faults(project)
    assert words in alerts.of("spike")[0]
    assert summary["skipped_steps"] == skipped


def blown_up_at(step):
    """At one step, once, the weights are multiplied: as after an update that went wrong."""

    def fault(loss, model):
        waiting = [step]

        def faulty(micro_batch):
            if step_of(micro_batch) in waiting:
                waiting.clear()
                with paddle.no_grad():
                    for value in model.parameters():
                        value.scale_(float("inf"))
            return loss(micro_batch)

        return faulty

    return fault


def test_blown_up_weights_send_the_run_back_to_the_last_good_checkpoint(project):
    alerts = Alerts()
    keys = ("teacher.health.rollback_after=2", "teacher.max_steps=14")
    summary = train(project.config(*keys), fault=blown_up_at(9), alert=alerts)
    assert summary["rollbacks"] == 1
    assert summary["skipped_steps"] == 2
    (text,) = alerts.of("rollback")
    assert text == (
        "2 steps in a row were skipped, the last at step 11: went back to step 8; "
        "the learning rate is now 0.5 times the schedule"
    )
    found = project.losses("teacher")
    assert sorted(found) == [1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 14]  # 10 and 11 are passed over
    assert np.isfinite(list(found.values())).all()
    rates = {item["step"]: item["lr"] for item in records(project) if "loss" in item}
    schedule = learning_rate_at(project.config(*keys).teacher, total_steps=14)
    assert rates[9] == pytest.approx(0.5 * schedule(8))
    assert rates[8] == pytest.approx(schedule(7))


@pytest.mark.parametrize("stop", [7, 10, 12])
def test_a_run_resumed_around_a_rollback_equals_a_straight_one(project, stop):
    """Poison in the data brings every life of the run to the same decisions."""
    keys = (
        *("teacher.health.rollback_after=2", "teacher.lr_scheduler=constant"),
        *("teacher.max_steps=14", "teacher.save_total_limit=9"),
    )
    poison = scaled({9, 10}, float("nan"))
    straight = train(
        project.config(*keys, f"teacher.output_dir={project.folder}/straight"), fault=poison
    )
    assert straight["rollbacks"] == 1

    class Killed(BaseException):
        pass

    def kill(loss, model):
        poisoned = poison(loss, model)

        def faulty(micro_batch):
            if step_of(micro_batch) == stop:
                raise Killed
            return poisoned(micro_batch)

        return faulty

    with contextlib.suppress(Killed):
        train(project.config(*keys), fault=kill)
    resumed = train(project.config(*keys), fault=poison)
    assert resumed["resumed_from"] is not None
    assert resumed["weights_sha256"] == straight["weights_sha256"]
    assert project.losses("teacher") == project.losses("straight")


def test_a_sick_checkpoint_is_avoided_the_second_time_and_then_the_run_gives_up(project):
    keys = (
        *("teacher.health.rollback_after=2", "teacher.health.max_rollbacks=2"),
        *("teacher.max_steps=40", "teacher.save_total_limit=9"),
    )
    alerts = Alerts()
    with pytest.raises(
        TrainingDiverged, match=r"going back 2 times did not help; lower learning_rate \(0\.01\)"
    ):
        train(project.config(*keys), fault=scaled(range(8, 40), float("nan")), alert=alerts)
    first, second = alerts.of("rollback")
    assert "went back to step 8;" in first
    assert "went back to step 6;" in second  # saved for its evaluation
    assert "0.25 times the schedule" in second
    assert alerts.of("failed")


def test_without_a_good_checkpoint_there_is_nothing_to_go_back_to(project):
    with pytest.raises(TrainingDiverged, match="there is no good checkpoint to go back to"):
        train(project.config(), fault=scaled(range(1, 12), float("nan")))


def test_a_stop_source_saves_and_ends_the_run(project):
    closed = []

    @contextlib.contextmanager
    def source(ask):
        ask("reclaim notice")
        try:
            yield
        finally:
            closed.append(True)

    with pytest.raises(Interrupted, match="stopped by reclaim notice at step 1;"):
        train(project.config(), stop_sources=[source])
    assert closed
    alerts = Alerts()
    summary = train(project.config(), alert=alerts)
    assert summary["resumed_from"] == "checkpoint-00000001"
    assert summary["starts"] == 2
    assert [kind for kind, _ in alerts.sent] == ["resumed", "finished"]


def test_training_goes_on_when_the_disk_is_full_and_alerts_that_nothing_is_saved(project):
    """From step 5 on files cannot grow; after the first alert there is room again."""
    disk = contextlib.ExitStack()
    alerts = Alerts()

    def alert(kind, text):
        alerts(kind, text)
        if kind == "save_failed":
            disk.close()

    def fault(loss, _model):
        def faulty(micro_batch):
            if step_of(micro_batch) == 4 and not alerts.of("save_failed"):
                disk.enter_context(files_limited_to(100))
            return loss(micro_batch)

        return faulty

    keys = ("teacher.eval_steps=100", "teacher.save_steps=2", "teacher.save_total_limit=9")
    with disk:
        summary = train(project.config(*keys), fault=fault, alert=alert)
    assert summary["steps"] == 12
    text = alerts.of("save_failed")[0]
    assert "File too large" in text
    (good,) = re.findall(r"(checkpoint-\d+) is whole", text)
    assert verify_folder(project.folder / "teacher" / good).step < 7
    straight = train(project.config(*keys, f"teacher.output_dir={project.folder}/straight"))
    assert summary["weights_sha256"] == straight["weights_sha256"]
    found, expected = project.losses("teacher"), project.losses("straight")
    assert {step: found[step] for step in (1, 2, 3, 4, 12)}.items() <= expected.items()


def test_memory_that_runs_out_at_the_start_halves_the_micro_batch(project, caplog):
    """A forward pass that asks for more memory than there is, at more than two pairs at a time."""

    def fault(loss, _model):
        def faulty(micro_batch):
            if micro_batch["input_ids"].shape[0] > 2:
                take_too_much_memory()
            return loss(micro_batch)

        return faulty

    summary = train(project.config(), fault=fault)
    assert summary["micro_batch_size"] == 2
    assert "going on with micro-batches of 2; the global batch of 8 pairs" in caplog.text
    expected = train(project.config(f"teacher.output_dir={project.folder}/roomy"))
    assert project.losses("teacher") == pytest.approx(project.losses("roomy"), rel=2e-4)
    assert summary["tokens_seen"] == expected["tokens_seen"]


def test_memory_that_runs_out_in_a_step_costs_no_pair(project, caplog):
    def fault(loss, _model):
        def faulty(micro_batch):
            if step_of(micro_batch) >= 6 and micro_batch["input_ids"].shape[0] > 4:
                take_too_much_memory()
            return loss(micro_batch)

        return faulty

    summary = train(project.config(), fault=fault)
    assert summary["micro_batch_size"] == 4
    roomy = train(project.config(f"teacher.output_dir={project.folder}/roomy"))
    assert summary["tokens_seen"] == roomy["tokens_seen"]
    assert project.losses("teacher") == pytest.approx(project.losses("roomy"), rel=2e-4)


def test_a_single_pair_that_does_not_fit_is_refused_in_one_sentence(project):
    def fault(_loss, _model):
        return lambda _: take_too_much_memory()

    with pytest.raises(LinguaBridgeError, match="memory is not enough for a single pair at max_"):
        train(project.config(), fault=fault)


def take_too_much_memory():
    """Paddle's own failure: the kernel refuses the pages."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**28, hard))
    try:
        paddle.zeros([2**28], dtype="float32") + 1
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def test_noise_scale_is_logged_where_it_is_asked_for(project):
    sizes = ("teacher.batch_size=2", "teacher.global_batch_size=8", "teacher.max_steps=20")
    train(project.config(*sizes, "teacher.health.noise_scale=true"), fault=scaled({4}, math.nan))
    values = [item["noise_scale"] for item in records(project) if "loss" in item]
    assert len(values) == 19  # what is not finite leaves no trace in it
    assert values[-1] is not None
    assert values[-1] > 0
