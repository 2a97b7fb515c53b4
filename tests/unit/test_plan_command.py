"""`run.py plan`: what it prints, its exit codes, its one-sentence errors."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from src.cli import main
from src.config import load_config
from src.planning.catalogue import catalogue
from src.planning.corpus_facts import corpus_facts, length_advice
from src.planning.disk import soft_label_bytes
from src.planning.machine import find_machine
from src.planning.plan import plan_stage

FULL_7B = (
    "teacher.bf16=true",
    "teacher.fp16_opt_level=O2",
    "teacher.model_name=Qwen/Qwen2.5-7B",
)


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    """No config.yaml and no report.json."""
    monkeypatch.chdir(tmp_path)


def plan(*overrides, stage="teacher", gpu="a10:1", pairs=100_000):
    machine = find_machine(gpu, None, catalogue())
    config = load_config([], overrides)
    return plan_stage(config, stage, machine, prices=catalogue(), pairs=pairs)


def test_all_weights_of_7b_on_one_24_gb_card_do_not_fit_and_what_does(capsys):
    assert main(["plan", "--gpu", "a10:1", "--stage", "teacher", *FULL_7B]) == 1
    text = capsys.readouterr().out
    assert "DOES NOT FIT" in text
    assert "smallest change that fits" in text
    assert "assumptions:" in text
    found = plan(*FULL_7B)
    assert found.change is not None
    assert "lora" in found.change.keys
    # The proposal is taken as it is printed.
    keys = {**found.change.keys}
    changed = plan(
        *FULL_7B,
        *(f"teacher.{key}={json.dumps(value)}" for key, value in keys.items()),
    )
    assert changed.outlook.verdict == "fits"
    assert changed.outlook.global_batch == found.outlook.global_batch
    assert changed.outlook.peak_gib == pytest.approx(found.change.gib)


def test_a_card_without_bfloat16_is_told_to_use_float16():
    found = plan("student.bf16=true", "student.kd_mode=none", stage="student", gpu="t4")
    assert found.outlook.verdict == "cannot run"
    assert "no bfloat16" in (found.outlook.problem or "")
    assert found.change is not None
    assert found.change.keys["fp16"] is True


def test_more_devices_with_the_same_batch_per_device_take_fewer_steps():
    found = plan("student.bf16=true", "student.kd_mode=none", stage="student", gpu="a100-80g:2")
    steps = [each.steps.total for each in found.table]
    assert [each.devices for each in found.table] == [1, 2, 4, 8]
    assert steps[0] == pytest.approx(8 * steps[3], rel=0.01)
    assert found.outlook.steps.total == found.table[1].steps.total


def test_a_fixed_global_batch_keeps_the_steps():
    found = plan(
        "student.global_batch_size=256",
        "student.bf16=true",
        "student.kd_mode=none",
        stage="student",
        gpu="a100-80g",
    )
    assert len({each.steps.total for each in found.table}) == 1
    hours = [each.hours or 0 for each in found.table]
    assert hours == sorted(hours, reverse=True)


def test_json_holds_everything(capsys):
    code = main(["plan", "--instance", "ecs.gn7e-c16g1.4xlarge", "--json", "--pairs", "50000"])
    content = json.loads(capsys.readouterr().out)
    assert code in (0, 1)
    teacher = content["stages"]["teacher"]
    assert teacher["parameters"] == 7_615_616_512
    assert teacher["outlook"]["instance"] == "ecs.gn7e-c16g1.4xlarge"
    assert {cost["region"] for cost in teacher["outlook"]["costs_cny"]} >= {"cn-hangzhou"}
    assert content["assumptions"]


def test_a_measured_rate_replaces_the_predicted_one(tmp_path):
    from src.planning.plan import read_measured

    folder = tmp_path / "run"
    folder.mkdir()
    summary = {"full_run": {"seconds_per_step": 2.0}}
    (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    machine = find_machine("a10", None, catalogue())
    config = load_config([], ["teacher.global_batch_size=100"])
    found = plan_stage(
        config, "teacher", machine, prices=catalogue(), pairs=5000,
        measured=read_measured(folder),
    )  # fmt: skip
    assert found.outlook.is_measured
    assert found.outlook.hours == pytest.approx(100 * 2.0 / 3600)  # two directions


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--gpu", "a11"], "did you mean a10?"),
        (["--instance", "ecs.gn7i-c16g1.4xlargee"], "did you mean ecs.gn7i-c16g1.4xlarge?"),
        (["--prices", "none.yaml"], "price file none.yaml does not exist"),
        (["--preset", "sampld_5m"], "did you mean sampled_5m?"),
        (["--gpu", "a10", "teacher.model_name=nowhere"], "cannot be planned for"),
        (["--stage", "teacher", "--measured", "nowhere"], "gives no full_run.seconds_per_step"),
        (["--parameters", "3"], "cannot be planned for"),
        (["--simulate", "none.csv"], "trace none.csv does not exist"),
    ],
)
def test_what_cannot_be_planned_is_one_sentence(capsys, arguments, message):
    assert main(["plan", *arguments]) in (1, 2)
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1


def test_presets_side_by_side(capsys):
    assert main(["plan", "--preset", "all"]) == 0
    text = capsys.readouterr().out
    assert "soft-labels" in text
    assert text.count("fits") >= 20


def test_gpus_for_a_number_of_parameters(capsys):
    assert main(["plan", "--parameters", "7e9"]) == 0
    assert "LoRA r16, nf4 weights" in capsys.readouterr().out


def test_simulation_prints_every_policy(capsys):
    assert main(["plan", "--simulate", "--starts", "3", "--work-hours", "12", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert len(content["policies"]) == 7
    assert all(policy["finished"] == 1.0 for policy in content["policies"])


def test_lengths_come_from_the_report(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    candidates = [
        {"max_seq_length": 64, "cut_pairs": 10, "cut_tokens": 900},
        {"max_seq_length": 128, "cut_pairs": 0, "cut_tokens": 0},
    ]
    entry = {
        "pairs": 1000, "tokens": 30_000, "p50": 20, "p90": 50, "p95": 60, "p99": 64, "max": 90,
        "candidates": candidates, "recommendation": 128,
    }  # fmt: skip
    report = {"token_lengths": {"en-zh": entry, "zh-en": entry}}
    (folder / "report.json").write_text(json.dumps(report), encoding="utf-8")
    config = load_config([], [f"data.output_dir={folder}"])
    facts = corpus_facts(config, pairs=None, prompt="compact")
    assert (facts.items, facts.mean_length) == (2000, 30.0)
    advice, recommended = length_advice(facts.lengths)
    assert recommended == 128
    assert asdict(advice[0]) == {
        "length": 64,
        "label": "p50, p90, p95, p99",
        "pairs_cut": 0.01,
        "tokens_cut": 0.03,
    }
    assert advice[1].label == "max"
    (folder / "report.json").write_text("{", encoding="utf-8")
    from src.errors import ConfigError

    with pytest.raises(ConfigError, match="cannot be read"):
        corpus_facts(config, pairs=None, prompt="compact")


def test_soft_labels_have_the_stated_size():
    assert soft_label_bytes(32, 151_936) == 110
    assert soft_label_bytes(64, 151_936) == 214
    cached = plan("student.kd_mode=cached", "student.temperature=1.0", stage="student")
    assert cached.disk.soft_labels == pytest.approx(200_000 * 43.7 * 0.49 * 110)
    assert (cached.soft_label_hours or 0) > 0


def test_the_machine_is_this_one_where_none_is_named(capsys):
    if Path("/dev/nvidia0").exists():
        pytest.skip("this machine has a GPU")
    main(["plan", "--stage", "student", "student.kd_mode=none"])
    assert "the CPU of this machine" in capsys.readouterr().out
