"""`run.py monitor` tells the state of a run from its files alone."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from src.cli import main
from src.monitoring.metrics import METRICS_FILE
from src.monitoring.watch import snapshot, sparkline

STEP = {
    "epoch": 0,
    "tokens_seen": 100,
    "cross_entropy": 2.0,
    "divergence": None,
    "lr": 1e-4,
    "grad_norm": 1.5,
    "tokens_per_second": 18_200.0,
    "samples_per_second": 410.0,
    "data_seconds": 1.0,
    "compute_seconds": 9.0,
    "padding_fraction": 0.02,
    "memory_bytes": 3 << 30,
    "total_steps": 200,
    "seconds_left": 90.0,
}


def write_run(folder: Path, *, written_at: float = 1000.0) -> Path:
    folder.mkdir()
    records = [{**STEP, "step": step, "loss": 4.0 / step} for step in range(10, 60, 10)]
    records += [{"step": 40, "eval_loss": 0.5}, {"step": 50, "eval_loss": 0.7}]
    path = folder / METRICS_FILE
    path.write_text("".join(json.dumps(record) + "\n" for record in records) + '{"step": 6')
    os.utime(path, (written_at, written_at))
    return folder


def test_running_silent_and_finished_are_told_apart(tmp_path: Path):
    folder = write_run(tmp_path / "run")
    state = snapshot(folder, now=1010.0)
    assert state["state"] == "running"
    assert state["latest"]["step"] == 50  # the torn line does not count
    assert state["latest_eval"]["eval_loss"] == 0.7
    assert state["best_eval_loss"] == 0.5
    # Ten seconds between records: two hundred are twenty of them.
    assert snapshot(folder, now=1201.0)["state"] == "silent"
    (folder / "summary.json").write_text('{"steps": 200}')
    state = snapshot(folder, now=1e9)
    assert state["state"] == "finished"
    assert state["summary"] == {"steps": 200}


def test_run_that_has_logged_nothing_is_waiting(tmp_path: Path, capsys):
    assert snapshot(tmp_path)["state"] == "waiting"
    assert main(["monitor", str(tmp_path), "--once"]) == 0
    assert "nothing logged yet" in capsys.readouterr().out


def test_picture_shows_progress_losses_and_advice(tmp_path: Path, capsys):
    folder = write_run(tmp_path / "run")
    assert main(["monitor", str(folder)]) == 0  # no terminal: one picture
    page = capsys.readouterr().out
    assert "step 50 of 200  25.0 %" in page
    assert "3.0 GiB" in page
    assert "90 %" in page  # of the time is computing
    assert "run it again to resume" in page
    assert "▁" in page
    assert "█" in page


def test_json_is_one_document(tmp_path: Path, capsys):
    folder = write_run(tmp_path / "run")
    assert main(["monitor", str(folder), "--json"]) == 0
    (state,) = json.loads(capsys.readouterr().out)
    assert state["latest"]["loss"] == pytest.approx(0.08)


def test_folder_that_is_not_there_is_one_sentence(tmp_path: Path, capsys):
    assert main(["monitor", str(tmp_path / "absent")]) == 1
    assert "no such folder; name the output_dir of a run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("values", "bars"),
    [([], ""), ([1.0], "▁"), ([3.0, 3.0], "▁▁"), ([0.0, 7.0], "▁█"), (range(1000), None)],
)
def test_sparkline_spans_the_range(values, bars):
    line = sparkline(list(values))
    assert line == bars if bars is not None else (len(line) == 48 and line[0] + line[-1] == "▁█")


def test_faults_and_devices_are_shown_where_there_are_any(tmp_path: Path, capsys):
    folder = write_run(tmp_path / "run")
    assert snapshot(folder)["latest_fault"] is None
    fault = {
        "step": 51,
        "fault": "loss_spike",
        "message": "loss 9 is 12.0 times the usual: skipped",
    }
    devices = {"imbalance": 1.25, "gpu_utilization": 0.87, "gpu_temperature_celsius": 71.0}
    lines = [fault, {**STEP, **devices, "step": 60, "loss": 0.1}]
    with (folder / METRICS_FILE).open("a", encoding="utf-8") as file:
        file.write("\n" + "".join(json.dumps(line) + "\n" for line in lines))
    assert snapshot(folder)["latest_fault"] == fault
    assert main(["monitor", str(folder), "--once"]) == 0
    shown = capsys.readouterr().out
    for words in ("step 51: loss 9 is 12.0 times the usual", "1.25 times", "87 % busy", "71 °C"):
        assert words in shown
