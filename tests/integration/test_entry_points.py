"""Every way a user starts the program, without installing it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = (
    "plan",
    "process",
    "teacher",
    "soft-labels",
    "student",
    "evaluate",
    "translate",
    "serve",
    "export",
    "checkpoints",
    "monitor",
    "alerts",
    "config",
    "doctor",
    "demo",
)


def run(*arguments, cwd=ROOT, text=None):
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        input=text,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def test_help_lists_exactly_the_commands_that_work():
    result = run("run.py", "--help")
    assert result.returncode == 0
    assert re.findall(r"^    ([\w-]+)", result.stdout, flags=re.MULTILINE) == list(COMMANDS)


def test_help_works_from_another_folder_and_as_module(tmp_path):
    script = str(ROOT / "src" / "train_teacher.py")
    assert run(str(ROOT / "run.py"), "--help", cwd=tmp_path).returncode == 0
    assert "teacher.max_steps=10" in run(script, "--help", cwd=tmp_path).stdout
    assert "student.kd_mode=none" in run("-m", "src.train_student", "--help").stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help_with_examples(command):
    result = run("run.py", command, "--help")
    assert result.returncode == 0
    assert f"examples:\n  python run.py {command}" in result.stdout
    assert "Reads " in result.stdout


def test_light_commands_do_not_load_paddle():
    code = (
        "import sys; from src.cli import main\n"
        "import src.data_processor, src.doctor, src.config_reference, src.demo\n"
        "main(['config'])\n"
        "sys.exit('paddle' in sys.modules)"
    )
    assert run("-c", code).returncode == 0


def test_public_names_are_importable():
    code = (
        "import sys; from src.data_processor import DataProcessor\n"
        "assert 'paddle' not in sys.modules\n"
        "from src.data_processor import StreamingDataset\n"
        "import paddle; assert issubclass(StreamingDataset, paddle.io.IterableDataset)"
    )
    result = run("-W", "ignore", "-c", code)
    assert result.returncode == 0, result.stderr


def test_unknown_command_names_the_nearest():
    result = run("run.py", "techer")
    assert result.returncode == 2
    assert result.stderr == "run.py: unknown command 'techer'; did you mean teacher?\n"


def test_unknown_keys_end_with_code_2_and_no_traceback():
    result = run("run.py", "process", "data.sorces=[a.tsv]", "student.batchsize=2")
    assert result.returncode == 2
    assert "did you mean data.sources?" in result.stderr
    assert "did you mean student.batch_size?" in result.stderr
    assert "Traceback" not in result.stderr


def test_config_prints_what_was_resolved():
    result = run("run.py", "config", "--json", "teacher.batch_size=3")
    assert json.loads(result.stdout)["teacher"]["batch_size"] == 3
    explained = run("run.py", "config", "--explain", "student.temperature")
    assert "Softens" in explained.stdout


def test_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    (tmp_path / "a.tsv").write_text("hello\t你好\n", encoding="utf-8")
    for folder in ("/proc/nowhere", f"{tmp_path}/file/below"):
        result = run(
            *("run.py", "process", f"data.sources=[{tmp_path}/a.tsv]"),
            *(f"data.output_dir={folder}", "data.train_tokenizer_vocab_size=400"),
        )
        assert result.returncode == 1
        assert result.stderr.splitlines()[-1].startswith("process: ")
        assert folder.split("/below")[0] in result.stderr
        assert "Traceback" not in result.stderr
