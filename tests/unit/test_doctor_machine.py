"""What `run.py doctor` says of GPUs and of the room a run needs."""

import pytest

from src.config import load_config
from src.diagnosis import gpus, room
from src.diagnosis.gpus import Driver
from src.diagnosis.room import Need

GIB = 1024**3
A10 = "NVIDIA A10"


def driver(*, cuda=(12, 6), names=(A10,), memory=None):
    memory = tuple(22 * GIB for _ in names) if memory is None else memory
    return Driver("560.35.05", cuda, tuple(names), memory)


# GPUs; a machine with one is needed for `read_driver` and `nccl_version` themselves


@pytest.mark.parametrize(
    ("cuda", "paddle", "status"),
    [
        ((12, 6), (12, 6), "ok"),
        ((13, 0), (12, 6), "ok"),
        ((12, 6), None, "ok"),
        ((12, 2), (12, 6), "warning"),
        ((11, 8), (12, 6), "problem"),
    ],
)
def test_the_driver_must_serve_paddles_cuda(cuda, paddle, status):
    finding = gpus.judge_driver(driver(cuda=cuda), paddle)
    assert finding.status == status
    assert "560.35.05" in finding.seen
    assert bool(finding.advice) is (status != "ok")


@pytest.mark.parametrize(
    ("text", "version"),
    [("12.6", (12, 6)), ("13", (13, 0)), ("False", None), ("", None)],
)
def test_cuda_versions_as_paddle_writes_them(text, version):
    assert gpus.parse_cuda_version(text) == version


def test_unequal_gpus_are_a_warning():
    (finding,) = gpus.judge_evenness(driver(names=(A10, "Tesla T4"), memory=(22 * GIB, 15 * GIB)))
    assert finding.status == "warning"
    assert "NVIDIA A10 22.0 GiB, Tesla T4 15.0 GiB" in finding.seen
    assert "CUDA_VISIBLE_DEVICES" in finding.advice


def test_equal_names_with_different_memory_are_unequal():
    assert list(gpus.judge_evenness(driver(names=(A10, A10), memory=(22 * GIB, 11 * GIB))))


@pytest.mark.parametrize(
    "same", [driver(), driver(names=(A10, A10), memory=(22 * GIB, 22 * GIB - 2**20))]
)
def test_equal_gpus_need_no_word(same):
    assert list(gpus.judge_evenness(same)) == []


def test_without_nccl_several_gpus_cannot_train():
    assert gpus.judge_nccl("2.25.1").status == "ok"
    finding = gpus.judge_nccl(None)
    assert finding.status == "problem"
    assert "nvidia-nccl-cu12" in finding.advice


@pytest.mark.parametrize(("number", "text"), [(22501, "2.25.1"), (21805, "2.18.5")])
def test_nccl_versions_are_read_as_nccl_counts(number, text):
    assert gpus.format_nccl(number) == text


def test_the_shared_memory_of_a_container_is_small():
    (finding,) = gpus.judge_shared_memory(64 * 2**20)
    assert finding.seen.endswith("shm has 64.0 MiB; NCCL may fail to start")
    assert "--shm-size" in finding.advice
    assert list(gpus.judge_shared_memory(8 * GIB)) == []


# Room


SIZES = (
    "{hidden_size: 16, num_hidden_layers: 1, intermediate_size: 24, num_attention_heads: 2, "
    "num_key_value_heads: 1}"
)


def small(tmp_path, *more):
    return load_config(
        [],
        [
            f"data.output_dir={tmp_path}/data",
            "data.train_tokenizer_vocab_size=300",
            f"teacher.output_dir={tmp_path}/teacher",
            f"teacher.architecture={SIZES}",
            f"student.output_dir={tmp_path}/student",
            f"student.architecture={SIZES}",
            *more,
        ],
    )


def by_content(config):
    return {(need.content, need.folder.name): need.bytes for need in room.needs(config)}


def test_a_small_run_fits_and_nothing_is_made(tmp_path):
    (finding,) = room.check_room(small(tmp_path))
    assert (finding.topic, finding.status) == ("disk", "ok")
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_not_needed_again(tmp_path):
    config = small(tmp_path)
    before = by_content(config)["checkpoints", "teacher"]
    (tmp_path / "teacher").mkdir()
    (tmp_path / "teacher" / "model.safetensors").write_bytes(b"\0" * 1000)
    assert by_content(config)["checkpoints", "teacher"] == pytest.approx(before - 1000)


def test_more_checkpoints_need_more_room(tmp_path):
    few = by_content(small(tmp_path, "teacher.save_total_limit=1"))["checkpoints", "teacher"]
    many = by_content(small(tmp_path, "teacher.save_total_limit=9"))["checkpoints", "teacher"]
    assert many > 3 * few


def test_a_model_to_be_downloaded_is_counted(tmp_path, monkeypatch):
    monkeypatch.setenv("PPNLP_HOME", str(tmp_path / "cache"))
    found = {need.key: need for need in room.needs(load_config([], []))}
    assert found["teacher.model_name"].folder == tmp_path / "cache"
    assert found["teacher.model_name"].bytes == pytest.approx(2 * 7.6e9, rel=0.01)


def test_an_unknown_model_says_nothing_here(tmp_path):
    (tmp_path / "model").mkdir()
    named = [f"{name}.model_name={tmp_path}/model" for name in ("teacher", "student")]
    assert list(room.needs(load_config([], named))) == []


def test_a_full_disk_is_a_warning_that_names_the_largest_folder(tmp_path):
    found = [
        Need("teacher.output_dir", tmp_path / "teacher", "checkpoints", 40.0 * GIB),
        Need("data.output_dir", tmp_path / "data", "corpus", 2.0 * GIB),
    ]
    assert room.judge_room(found, 43 * GIB).status == "ok"
    finding = room.judge_room(found, 41 * GIB)
    assert finding.status == "warning"
    assert "41.0 GiB free, about 42.0 GiB more needed" in finding.seen
    assert finding.advice.startswith("set teacher.output_dir")
