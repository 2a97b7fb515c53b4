"""metrics.jsonl is the truth: nothing twice, nothing torn, and the views follow it."""

import json

from src.monitoring.curves import write_curves
from src.monitoring.metrics import METRICS_FILE, MetricsWriter, console_line, read_metrics
from tests.fakes.full_disk import files_limited_to


def record(step, **more):
    return {
        "step": step,
        "loss": 2.0 / step,
        "lr": 1e-4,
        "grad_norm": 1.0,
        "tokens_per_second": 18_200.0,
        "padding_fraction": 0.02,
        **more,
    }


def write(folder, steps, **keys):
    writer = MetricsWriter(folder, visualdl=False, **keys)
    for step in steps:
        writer.write(record(step))
    writer.close()


def test_resuming_cuts_off_what_came_after_the_checkpoint(tmp_path):
    write(tmp_path, range(1, 8))
    write(tmp_path, range(5, 10), resume_step=4)
    assert [item["step"] for item in read_metrics(tmp_path / METRICS_FILE)] == list(range(1, 10))


def test_starting_anew_drops_what_an_older_run_wrote(tmp_path):
    write(tmp_path, range(1, 4))
    write(tmp_path, range(1, 3))
    assert [item["step"] for item in read_metrics(tmp_path / METRICS_FILE)] == [1, 2]


def test_torn_last_line_is_left_out_and_repaired_on_resume(tmp_path):
    write(tmp_path, range(1, 4))
    path = tmp_path / METRICS_FILE
    with path.open("a", encoding="utf-8") as file:
        file.write('{"step": 4, "lo')
    assert [item["step"] for item in read_metrics(path)] == [1, 2, 3]
    write(tmp_path, [4], resume_step=3)
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3, 4]


def test_numbers_that_are_not_finite_become_null(tmp_path):
    writer = MetricsWriter(tmp_path, visualdl=False)
    writer.write(record(1, grad_norm=float("nan"), loss=float("inf")))
    writer.close()
    (found,) = read_metrics(tmp_path / METRICS_FILE)
    assert found["grad_norm"] is None
    assert found["loss"] is None


def test_visualdl_gets_the_same_numbers(tmp_path):
    writer = MetricsWriter(tmp_path, visualdl=True)
    for step in range(1, 4):
        writer.write(record(step))
    writer.close()
    (log,) = (tmp_path / "visualdl").glob("vdlrecords*")
    from visualdl import LogReader

    values = LogReader(file_path=str(log)).get_data("scalar", "train/loss")
    assert [round(item.value, 4) for item in values] == [2.0, 1.0, 0.6667]


def test_console_line_has_a_fixed_form():
    line = console_line(record(120, loss=2.3139, total_steps=2000, seconds_left=41))
    assert line == "step 120/2000  6.0%  loss 2.314  lr 1.0e-04  18.2k tok/s  41 s left"


def test_curves_are_one_file_with_a_picture_per_known_series(tmp_path):
    write(tmp_path, range(1, 20))
    page = write_curves(tmp_path).read_text(encoding="utf-8")
    assert page.count("<svg") == 5
    assert "Parts of the loss" not in page
    assert "http" not in page
    assert "<script" not in page
    write(tmp_path, [])
    assert write_curves(tmp_path).read_text(encoding="utf-8").count("<svg") == 0


def test_a_full_disk_costs_records_but_no_line_is_torn(tmp_path, caplog):
    writer = MetricsWriter(tmp_path, visualdl=False)
    writer.write(record(1))
    path = tmp_path / METRICS_FILE
    with files_limited_to(path.stat().st_size + 20):
        writer.write(record(2))
        writer.write(record(3))
    writer.write(record(4))
    writer.close()
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 4]
    assert caplog.text.count("metrics are lost from step 2 on") == 1


def test_going_back_takes_out_what_came_behind(tmp_path):
    writer = MetricsWriter(tmp_path, visualdl=False)
    for step in (1, 2, 3, 4):
        writer.write(record(step))
    writer.cut_behind(2)
    writer.write(record(3, loss=9.0))
    writer.close()
    found = read_metrics(tmp_path / METRICS_FILE)
    assert [(item["step"], item["loss"]) for item in found] == [(1, 2.0), (2, 1.0), (3, 9.0)]
