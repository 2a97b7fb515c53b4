import io
import json
import os
import sys
from pathlib import Path

import pytest
from packaging.version import Version

from src.config import load_config
from src.diagnosis import machine, packages, project
from src.diagnosis.finding import Finding
from src.diagnosis.packages import Devices
from src.doctor import ASCII_MARKS, MARKS, diagnose, render, run_doctor, summarise
from src.host_memory import free_memory_bytes
from src.schema import Config

GIB = 1024**3


def statuses(findings):
    return {finding.topic: finding.status for finding in findings}


@pytest.fixture
def ready(tmp_path):
    """A configuration with which nothing is wrong: a corpus, new models, folders to write to."""
    (tmp_path / "corpus.tsv").write_text("Hello.\t你好。\n", encoding="utf-8")
    sizes = (
        "{hidden_size: 16, num_hidden_layers: 1, intermediate_size: 24, num_attention_heads: 2, "
        "num_key_value_heads: 1}"
    )
    return [
        f"data.sources=[{tmp_path}/corpus.tsv]",
        f"data.output_dir={tmp_path}/processed",
        "data.train_tokenizer_vocab_size=300",
        f"teacher.output_dir={tmp_path}/teacher",
        f"teacher.architecture={sizes}",
        f"student.output_dir={tmp_path}/student",
        f"student.architecture={sizes}",
    ]


@pytest.fixture
def output(monkeypatch):
    """A stand-in for stdout whose encoding a test can choose."""

    def replace(encoding):
        stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True)
        monkeypatch.setattr(sys, "stdout", stream)
        return lambda: stream.buffer.getvalue().decode(encoding)

    return replace


# The command as a whole


def test_a_sound_set_up_blocks_nothing(ready, capsys):
    code = run_doctor(load_config([], ready), as_json=True)
    report = json.loads(capsys.readouterr().out)
    blocking = [item for item in report["findings"] if item["status"] == "problem"]
    # Packages may lag behind the pins while they are being changed; nothing else may be wrong.
    assert [item for item in blocking if item["topic"] != "packages"] == []
    assert report["ok"] is (code == 0)
    topics = {item["topic"] for item in report["findings"]}
    assert topics >= {"Python", "packages", "Paddle", "PaddleNLP", "devices", "processor", "memory"}
    assert topics >= {"data.sources", "tokenizer", "teacher model", "student.output_dir"}
    assert topics >= {"disk", "serving.port"}


def test_a_missing_source_is_a_problem_with_its_name(ready, tmp_path):
    config = load_config([], [*ready, f"data.sources=[{tmp_path}/nowhere.tsv]"])
    findings = [item for item in diagnose(config) if item.topic == "data.sources"]
    assert [item.status for item in findings] == ["problem"]
    assert f"{tmp_path}/nowhere.tsv: no such file" in findings[0].seen


def test_stores_and_secrets_of_the_configuration_are_looked_at(ready, tmp_path, monkeypatch):
    monkeypatch.delenv("TEST_WECOM", raising=False)
    config = load_config(
        [],
        [
            *ready,
            f"student.checkpoint_store={tmp_path}/absent/run",
            "alerts.wecom={token_variable: TEST_WECOM}",
        ],
    )
    found = statuses(diagnose(config))
    assert (found["student store"], found["alerts.wecom"]) == ("problem", "problem")


def test_text_output_ends_with_a_summary(ready, tmp_path, output):
    text = output("utf-8")
    config = load_config([], [*ready, f"data.sources=[{tmp_path}/nowhere.tsv]"])
    assert run_doctor(config, as_json=False) == 1
    lines = text().splitlines()
    assert lines[0].startswith("✓ Python ")
    assert any(line.startswith("✗ data.sources ") for line in lines)
    assert "to solve first" in lines[-1]


def test_text_output_falls_back_to_ascii(ready, tmp_path, output):
    text = output("ascii")
    corpus = tmp_path / "语料.tsv"
    corpus.write_text("Hello.\t你好。\n", encoding="utf-8")
    run_doctor(load_config([], [*ready, f"data.sources=['{corpus}']"]), as_json=False)
    lines = text().splitlines()
    assert lines[0].startswith("+ Python ")
    assert "??.tsv: 1 file" in " ".join(" ".join(lines).split())  # a long path breaks the line


def test_findings_are_aligned_and_fit_the_width():
    finding = Finding("data.sources", "warning", "word " * 30, "do this " * 20)
    lines = render(finding, marks=MARKS, width=60).splitlines()
    assert max(map(len, lines)) <= 60
    assert lines[0].startswith("! data.sources        word")
    assert {line[:22].strip() for line in lines[1:]} == {""}
    assert sum(line.lstrip().startswith("> do this") for line in lines) == 1
    assert render(finding, marks=ASCII_MARKS, width=60).isascii()


@pytest.mark.parametrize(
    ("problems", "warnings", "line"),
    [
        (0, 0, "Nothing blocks, no warnings."),
        (0, 1, "Nothing blocks, 1 warning."),
        (1, 0, "1 problem to solve first, no warnings."),
        (2, 3, "2 problems to solve first, 3 warnings."),
    ],
)
def test_summary_counts(problems, warnings, line):
    assert summarise(problems, warnings) == line


# The machine


@pytest.mark.parametrize(
    ("version", "status"),
    [((3, 9, 18), "problem"), ((3, 10, 0), "ok"), ((3, 12, 4), "ok"), ((3, 13, 0), "problem")],
)
def test_python_must_be_one_that_the_pins_are_for(version, status):
    assert machine.check_python(version).status == status


@pytest.mark.parametrize(
    ("is_slow_by_default", "switch", "status"),
    [(False, None, "ok"), (True, "5", "ok"), (True, None, "warning"), (True, "4", "warning")],
)
def test_slow_math_library_on_amd_is_noticed(is_slow_by_default, switch, status):
    finding = machine.judge_processor(cores=2, is_slow_by_default=is_slow_by_default, switch=switch)
    assert finding.status == status
    assert finding.seen.startswith("2 cores")


def test_little_memory_is_a_warning():
    assert machine.judge_memory(8 * GIB).status == "ok"
    finding = machine.judge_memory(GIB)
    assert (finding.status, finding.seen) == (
        "warning",
        "1.0 GiB free; even the demo wants 2.0 GiB",
    )


@pytest.mark.parametrize(
    ("limit", "current", "free"),
    [("4096", "1024", 3072), ("1024", "4096", 0)],
)
def test_a_container_limits_free_memory(tmp_path, limit, current, free):
    (tmp_path / "memory.max").write_text(f"{limit}\n", encoding="ascii")
    (tmp_path / "memory.current").write_text(f"{current}\n", encoding="ascii")
    assert free_memory_bytes(tmp_path) == free


@pytest.mark.parametrize("content", [None, "max\n", "nonsense\n"])
def test_without_a_container_limit_the_machine_decides(tmp_path, content):
    if content is not None:
        (tmp_path / "memory.max").write_text(content, encoding="ascii")
        (tmp_path / "memory.current").write_text("1\n", encoding="ascii")
    assert free_memory_bytes(tmp_path) > 2**20


def test_clock_behind_the_files_is_a_warning():
    written = 1_800_000_000.0
    assert machine.judge_clock(written + 60, written).status == "ok"
    finding = machine.judge_clock(0.0, written)
    assert finding.status == "warning"
    assert "1970-01-01 00:00 UTC" in finding.seen


# The packages


PINS = {name: Version("1.0") for name in ("a", "b", "c", "d", "e", "f")}


def test_installed_packages_as_pinned_are_fine():
    assert packages.judge_pins(PINS, dict(PINS)).seen == "all 6 as pinned in requirements.txt"


def test_another_version_is_a_warning_that_names_both():
    finding = packages.judge_pins(PINS, {**PINS, "b": Version("2.0")})
    assert finding.status == "warning"
    assert finding.seen == "1 of 6 differ from requirements.txt: b 2.0 instead of 1.0"


def test_missing_packages_are_a_problem_and_counted():
    finding = packages.judge_pins(PINS, dict.fromkeys(PINS))
    assert finding.status == "problem"
    assert finding.seen == "6 of 6 not installed: a, b, c, d and 2 more"


def test_pins_are_read_for_this_machine_only(tmp_path):
    path = tmp_path / "requirements.txt"
    path.write_text(
        "# comment\n"
        "numpy==1.26.4 \\\n    --hash=sha256:00\n    # via x\n"
        "never==2.0 ; python_full_version < '3'\n"
        "always==3.0 ; python_full_version >= '3' \\\n    --hash=sha256:11\n",
        encoding="utf-8",
    )
    assert packages.read_pins(path) == {"numpy": Version("1.26.4"), "always": Version("3.0")}


def test_absent_requirement_file_is_a_warning(tmp_path):
    assert packages.check_pins(tmp_path / "requirements.txt").status == "warning"


def test_a_package_that_is_not_installed_has_no_version():
    assert packages.installed_version("no-such-package-here") is None
    assert packages.installed_version("numpy") is not None


@pytest.fixture
def broken_module(tmp_path, monkeypatch):
    (tmp_path / "broken_library.py").write_text(
        "raise OSError('libsomething.so: cannot open\\nsecond line')", encoding="utf-8"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return "broken_library"


def test_a_library_that_cannot_be_imported_is_a_problem(broken_module, tmp_path):
    finding = packages.check_import("Paddle", "numpy", broken_module, tmp_path / "absent.txt")
    assert finding.status == "problem"
    assert finding.seen == "cannot be imported: OSError: libsomething.so: cannot open"


def test_a_library_in_another_version_is_a_warning(tmp_path):
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("numpy==0.9\n", encoding="utf-8")
    finding = packages.check_import("NumPy", "numpy", "numpy", requirements)
    assert finding.status == "warning"
    assert finding.seen.endswith("; tested with 0.9")


@pytest.mark.parametrize(
    ("devices", "status", "words"),
    [
        (Devices(False, (), False), "ok", "ValueError: substring not found"),
        (Devices(False, (), False), "ok", "--nproc_per_node 2"),
        (Devices(False, (), True), "warning", "requirements-gpu.txt"),
        (Devices(True, (), True), "warning", "CUDA_VISIBLE_DEVICES"),
        (Devices(True, ("NVIDIA A10", "NVIDIA A10"), True), "ok", "--gpus 0,1 src/train_teacher"),
    ],
)
def test_devices_come_with_the_way_to_start(devices, status, words):
    (finding,) = packages.judge_devices(devices)
    assert finding.status == status
    assert words in finding.advice


def test_one_gpu_needs_no_launcher():
    (finding,) = packages.judge_devices(Devices(True, ("NVIDIA A10",), True))
    assert (finding.status, finding.seen, finding.advice) == ("ok", "1 x NVIDIA A10", "")


# The configuration


def test_no_source_is_a_warning_until_the_corpus_is_processed(tmp_path):
    config = load_config([], [f"data.output_dir={tmp_path}"])
    assert statuses(project.check_sources(config)) == {"data.sources": "warning"}
    (tmp_path / "tokens").mkdir()
    (tmp_path / "tokens" / "MANIFEST.json").write_text("{}", encoding="utf-8")
    assert statuses(project.check_sources(config)) == {"data.sources": "ok"}


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.tsv", b"", "is empty"),
        ("cut.tsv.gz", b"\x1f\x8b\x08\x00", "cut off or damaged"),
        ("folder.tsv", None, "is a folder"),
    ],
)
def test_unreadable_sources_are_problems(tmp_path, name, content, words):
    path = tmp_path / name
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    config = load_config([], [f"data.sources=[{path}]", f"data.output_dir={tmp_path}"])
    (finding,) = project.check_sources(config)
    assert finding.status == "problem"
    assert words in finding.seen


def test_every_source_is_reported_with_its_size(tmp_path):
    for language in ("en", "zh"):
        (tmp_path / f"train.{language}").write_text("text\n" * 10, encoding="utf-8")
    source = f"{tmp_path}/train.{{en,zh}}"
    config = load_config([], [f"data.sources=['{source}']", f"data.output_dir={tmp_path}"])
    (finding,) = project.check_sources(config)
    assert (finding.status, finding.seen) == ("ok", f"{source}: 2 files, 100 B")


def test_models_by_folder_by_name_and_by_nothing(tmp_path):
    teacher = Config().teacher
    named = project.check_model("teacher", teacher)
    assert named.status == "warning"
    assert "Qwen/Qwen2.5-7B" in named.seen

    absent = teacher.model_copy(update={"model_name": f"{tmp_path}/absent"})
    assert project.check_model("teacher", absent).status == "problem"

    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}", encoding="utf-8")
    local = teacher.model_copy(update={"model_name": str(folder)})
    assert "has no weights" in project.check_model("teacher", local).seen
    (folder / "model.safetensors").write_bytes(b"\0" * 2048)
    finding = project.check_model("teacher", local)
    assert (finding.status, finding.seen) == ("ok", f"{folder}, 2.0 KiB of weights")


def test_tokenizer_of_a_given_folder_must_exist(tmp_path):
    config = load_config([], [f"data.tokenizer={tmp_path}/absent"])
    assert project.check_tokenizer(config).status == "problem"
    config = load_config([], [f"data.tokenizer={tmp_path}"])
    assert project.check_tokenizer(config).status == "ok"


def test_mixed_precision_without_gpu_is_a_warning():
    config = load_config([], ["teacher.fp16=true", "student.bf16=true"])
    findings = [
        *project.check_precision("teacher", config.teacher, gpus=0),
        *project.check_precision("student", config.student, gpus=0),
    ]
    assert statuses(findings) == {"teacher.fp16": "warning", "student.bf16": "warning"}
    assert list(project.check_precision("teacher", config.teacher, gpus=1)) == []


def test_output_folder_below_a_file_is_a_problem(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    finding = project.check_folder("data.output_dir", tmp_path / "file" / "processed")
    assert finding.status == "problem"
    assert "is a file, not a folder" in finding.seen


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_output_folder_without_permission_is_a_problem(tmp_path):
    tmp_path.chmod(0o500)
    finding = project.check_folder("data.output_dir", tmp_path / "processed")
    tmp_path.chmod(0o700)
    assert finding.status == "problem"
    assert "no permission" in finding.seen


def test_output_folder_to_come_is_judged_by_its_parent(tmp_path):
    finding = project.check_folder("data.output_dir", tmp_path / "a" / "b" / "c")
    assert finding.status in {"ok", "warning"}
    assert not (tmp_path / "a").exists()


def test_little_disk_space_is_a_warning():
    folder = Path("models/teacher")
    assert project.judge_disk("teacher.output_dir", folder, 6 * 10**9).status == "ok"
    finding = project.judge_disk("teacher.output_dir", folder, 2 * GIB)
    assert finding.status == "warning"
    assert finding.seen == "models/teacher: 2.0 GiB free, less than 5.0 GiB"
    assert "teacher.output_dir" in finding.advice
