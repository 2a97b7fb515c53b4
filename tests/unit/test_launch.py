import subprocess
import sys

import pytest

from src.cli import build_parser
from src.commands.training import _arguments_of
from src.launch import ROOT, mask_launcher_logs, recipe_command, was_ended

SECRET = "planted\\'/+= 钥"


def environment(folder, **more):
    return {
        "PADDLE_LOG_DIR": str(folder),
        "HF_TOKEN": SECRET,
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "other-planted",
        "WECOM_KEY_FILE": "/root/wecom",
        "TOKENIZERS_PARALLELISM": "false",
        **more,
    }


def test_secrets_are_taken_out_of_what_the_launcher_wrote(tmp_path):
    known = environment(tmp_path)
    lines = "".join(f"{name}={value}\n" for name, value in known.items())
    (tmp_path / "envlog.0").write_text(lines, encoding="utf-8")
    (tmp_path / "default.abc.log").write_text(str(known), encoding="utf-8")
    (tmp_path / "workerlog.0").write_text("step 1", encoding="utf-8")
    mask_launcher_logs(known)
    shown = "".join(path.read_text(encoding="utf-8") for path in tmp_path.iterdir())
    assert "planted" not in shown
    assert "HF_TOKEN=***\n" in shown
    assert "/root/wecom" in shown
    assert "TOKENIZERS_PARALLELISM=false" in shown
    assert "step 1" in shown


def test_other_ranks_and_missing_folders_are_left_alone(tmp_path):
    path = tmp_path / "envlog.1"
    path.write_text("HF_TOKEN=planted-token", encoding="utf-8")
    mask_launcher_logs(environment(tmp_path, HF_TOKEN="planted-token", PADDLE_LOCAL_RANK="1"))
    mask_launcher_logs(environment(tmp_path / "absent"))
    mask_launcher_logs({"HF_TOKEN": "planted-token"})
    assert "planted-token" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("stage", ["teacher", "student"])
def test_supervised_run_gets_the_whole_command_line_again(stage):
    words = ["--config", "a.yaml", "--config", "b c.yaml", "--preset", "x", "--verbose", "--json"]
    parse = build_parser().parse_args
    asked = parse([stage, *words, "--supervise", f"{stage}.max_steps=3"])
    again = parse([stage, *_arguments_of(asked)])
    # A new argument of the command line has to be handed on, too.
    assert {**vars(again), "supervise": True} == vars(asked)
    ranked = parse([stage, "--json", "--supervise", "--ranks", "2"])
    assert "--json" not in _arguments_of(ranked)


def test_ranks_are_started_by_the_launcher_and_one_per_gpu_where_gpus_are_named(tmp_path):
    script = str(ROOT / "src/train_teacher.py")
    alone = recipe_command("teacher", ["a=b"], log_folder=tmp_path)
    assert alone == [sys.executable, script, "a=b"]
    shared = recipe_command("teacher", ["a=b"], ranks=3, log_folder=tmp_path)
    gpus = recipe_command("teacher", ["a=b"], gpus=range(2), log_folder=tmp_path)
    assert shared[3:5] == ["--nproc_per_node", "3"]
    assert gpus[3:5] == ["--gpus", "0,1"]
    assert shared[5:] == gpus[5:]
    assert gpus[-2:] == [script, "a=b"]


@pytest.mark.parametrize(
    ("code", "alone", "launcher"),
    [
        (-15, True, True),
        (-1, True, True),
        (-9, False, False),
        (15, False, True),
        (241, False, True),  # 256 - 15: a rank was ended
        (1, False, False),
        (75, False, False),
    ],
)
def test_end_before_a_request_could_be_taken_is_told_from_a_failure(code, alone, launcher):
    assert was_ended(code, is_launcher=False) is alone
    assert was_ended(code, is_launcher=True) is launcher


RANK = """
import os, sys, time
from pathlib import Path

sys.path[0] = sys.argv[1]
from src.launch import leave

if os.environ["PADDLE_TRAINER_ID"] == "0":
    time.sleep(8)  # an upload that takes longer than the launcher waits
    Path(sys.argv[2]).write_text("whole")
leave(75)
"""


@pytest.mark.slow
@pytest.mark.distributed
def test_ranks_wait_for_the_first_one_and_the_launcher_ends_with_75(tmp_path):
    script, result = tmp_path / "rank.py", tmp_path / "result"
    script.write_text(RANK, encoding="utf-8")
    launcher = [sys.executable, "-W", "ignore", "-m", "paddle.distributed.launch"]
    ended = subprocess.run(
        [*launcher, "--nproc_per_node", "2", "--log_dir", tmp_path / "log", script, ROOT, result],
        capture_output=True,
        check=False,
    )
    assert ended.returncode == 75, ended.stderr
    assert result.read_text(encoding="utf-8") == "whole"
