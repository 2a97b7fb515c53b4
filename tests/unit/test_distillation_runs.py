"""How runs of the quality benchmark are summed up, and that none is done twice."""

import json

import pytest

from benchmarks.distillation_runs import Record, RunFailed, Runs, summarise_records


def records():
    losses = {"alone": (0.5, 0.6, 0.7), "online_t1": (0.4, 0.5, 0.6), "cached_8_t1": (0.45,)}
    return [
        Record(arm, seed, {"loss": loss, "bleu": 100 * (1 - loss)})
        for arm, values in losses.items()
        for seed, loss in enumerate(values)
    ]


def test_means_intervals_and_differences_seed_by_seed():
    found = summarise_records(records())
    alone = found["arms"]["alone"]["loss"]
    assert alone["mean"] == pytest.approx(0.6)
    assert alone["interval"] == pytest.approx(4.303 * 0.1 / 3**0.5, abs=1e-4)
    # Seeds differ more than arms do; of the differences nothing of that is left.
    gain = found["differences"]["online_t1 - alone"]["loss"]
    assert gain == {"mean": -0.1, "interval": 0.0, "seeds": 3}
    single = found["differences"]["cached_8_t1 - online_t1"]["loss"]
    assert single == {"mean": 0.05, "interval": None, "seeds": 1}
    assert len(found["differences"]) == 3  # beside these, cached_8_t1 - alone


def test_a_finished_run_is_not_repeated_and_keeps_its_settings(tmp_path):
    keys = ["student.kd_mode=none"]
    output = tmp_path / "models" / "alone-seed1"
    common = ["--config", str(tmp_path / "config.yaml"), "student.max_steps=3"]
    scores = {"bleu": 50.0, "chrf": 60.0, "cross_entropy": 1.5}
    content = {
        "arguments": [*common, *keys, "student.seed=1", f"student.output_dir={output}"],
        "arm": "alone",
        "seed": 1,
        "train_cpu_seconds": 7.0,
        "directions": {"en-zh": scores, "zh-en": scores | {"bleu": 40.0}},
    }
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "alone-seed1.json").write_text(json.dumps(content), encoding="utf-8")
    runs = Runs(tmp_path, tmp_path / "config.yaml", ["student.max_steps=3"])
    runs.score("alone", keys, seed=1, stored=None)  # there is no configuration to run it with
    (record,) = runs.records()
    assert record.measures["bleu"] == 45.0
    assert record.measures["loss"] == record.measures["loss_en-zh"] == 1.5
    assert runs.stored() == {}
    other = Runs(tmp_path, tmp_path / "config.yaml", ["student.max_steps=4"])
    with pytest.raises(RunFailed, match=r"other settings \(student\.max_steps=3, .*=4\)"):
        other.score("alone", keys, seed=1, stored=None)
