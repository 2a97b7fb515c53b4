"""Supervising real processes that end as their plans say."""

import os
import signal
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.config import load_config
from src.supervise import End, RestartPolicy

ROOT = Path(__file__).resolve().parents[2]

SUPERVISE = """
import sys
from pathlib import Path
from src.cloud.off_peak import OffPeak
from src.config import load_config
from src.logs import set_up_logging
from src.supervise import Supervisor

folder, hours, *overrides = sys.argv[1:]
set_up_logging()
supervisor = Supervisor(
    [sys.executable, "-m", "tests.fakes.supervised_run", folder],
    Path(folder),
    load_config([], overrides).interruption.supervise,
    is_launcher=False,
    off_peak=OffPeak.parse(hours, "UTC") if hours else None,
    alert=lambda kind, text: print(f"ALERT {kind} {text}", file=sys.stderr, flush=True),
)
sys.exit(supervisor.run())
"""
QUICK = "interruption.supervise.first_wait_seconds=0.01"


# Whoever runs the tests in the background may have hang-ups ignored, and so had the children.
HEARING = "import signal; signal.signal(signal.SIGHUP, signal.SIG_DFL)" + SUPERVISE


def start(folder, plan, *overrides, hours=""):
    (folder / "plan").write_text("\n".join(plan), encoding="utf-8")
    return subprocess.Popen(
        [sys.executable, "-c", HEARING, str(folder), hours, *(overrides or (QUICK,))],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


def run(folder, plan, *overrides):
    process = start(folder, plan, *overrides)
    _, words = process.communicate()
    return process.returncode, words


def starts(words):
    return sum(line.startswith("start: ") for line in words.splitlines())


def rest_of(stream):
    return stream.read()


def read_until(process, text):
    words = ""
    while text not in words:
        line = process.stderr.readline()
        assert line, words
        words += line
    return words


def test_interruptions_and_crashes_are_followed_by_a_start_until_it_is_done(tmp_path):
    code, words = run(
        tmp_path,
        [
            "step=4 save=4 exit=75",
            "step=6 say=boom say=12:31:02_step exit=1",
            "step=7 save=8 kill",
            "exit=0",
        ],
    )
    assert code == 0
    assert starts(words) == 4
    assert "the run was interrupted and saved at step 4: start: step=4" in words
    assert "the run failed with exit code 1 at step 6: boom; it starts again in" in words
    assert "was ended by SIGKILL (often: memory ran out) at step 7" in words
    assert "(restart 3 of 100)" in words
    assert words.count("ALERT restarted") == 1  # the kill: the run could not tell it
    assert "ALERT failed" not in words


def test_crash_loop_on_the_same_step_stops_with_the_reason(tmp_path):
    plan = ["step=4 save=4 exit=75", *(["step=6 say=Error:bad_batch exit=1"] * 9)]
    code, words = run(tmp_path, plan)
    assert code == 1
    assert starts(words) == 4
    assert (
        "given up: 3 crashes in a row without a checkpoint beyond step 4; the last failed with "
        "exit code 1 at step 6: Error:bad batch" in words
    )
    assert words.count("ALERT failed") == 1


def test_crash_before_the_first_step_says_so(tmp_path):
    code, words = run(tmp_path, ["kill"] * 9)
    assert code == 1
    assert "without a checkpoint beyond the start; the last was ended by SIGKILL" in words
    assert "before its first step" in words


def test_progress_forgives_crashes(tmp_path):
    plan = [f"step={step} save={step} exit=1" for step in range(1, 5)]
    code, words = run(tmp_path, [*plan, "exit=0"])
    assert code == 0
    assert starts(words) == 5


def test_restarts_have_a_limit(tmp_path):
    plan = [f"save={step} exit=75" for step in range(1, 9)]
    code, words = run(tmp_path, plan, QUICK, "interruption.supervise.most_restarts=1")
    assert code == 75
    assert starts(words) == 2
    assert "given up after 1 restarts (interruption.supervise.most_restarts)" in words


@pytest.mark.parametrize("code", [2, 130])
def test_what_a_restart_cannot_change_is_over_at_once(tmp_path, code):
    ended, words = run(tmp_path, [f"say=unknown_key exit={code}"] * 3)
    assert (ended, starts(words)) == (code, 1)
    assert ("refused: unknown key" in words) is (code == 2)


@pytest.mark.parametrize(
    ("sent", "passed"),
    [
        (signal.SIGTERM, "SIGTERM"),
        (signal.SIGINT, "SIGINT"),
        (signal.SIGHUP, "SIGTERM"),
    ],
)
def test_signals_let_the_run_save_and_end_supervising(tmp_path, sent, passed):
    with start(tmp_path, ["wait", "exit=0"]) as process:
        read_until(process, "waiting\n")
        process.send_signal(sent)
        words = rest_of(process.stderr)
    assert process.returncode == 75
    assert f"got {passed}" in words
    assert "start: " not in words
    assert (tmp_path / "checkpoint-00000099/MANIFEST.json").is_file()


def test_ctrl_c_of_a_terminal_reaches_the_run_once(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", SUPERVISE, str(tmp_path), "", QUICK],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        start_new_session=True,
    ) as process:
        (tmp_path / "plan").write_text("wait", encoding="utf-8")
        read_until(process, "waiting\n")
        os.killpg(process.pid, signal.SIGINT)
        words = rest_of(process.stderr)
    assert process.returncode == 75
    assert words.count("got SIGINT") == 1


def test_a_signal_ends_the_wait_between_two_starts(tmp_path):
    slow = "interruption.supervise.first_wait_seconds=3000"
    longest = "interruption.supervise.longest_wait_seconds=3000"
    with start(tmp_path, ["exit=75", "exit=0"], slow, longest) as process:
        read_until(process, "it starts again in 50 min 00 s")
        process.send_signal(signal.SIGTERM)
        words = rest_of(process.stderr)
    assert process.returncode == 75
    assert "start: " not in words


def test_ignored_hang_up_stays_ignored(tmp_path):
    (tmp_path / "plan").write_text("wait", encoding="utf-8")
    command = [sys.executable, "-c", SUPERVISE, str(tmp_path), "", QUICK]
    with subprocess.Popen(
        ["/usr/bin/env", "nohup", *command],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        read_until(process, "waiting\n")
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        words = rest_of(process.stderr)
    assert process.returncode == 75
    assert "stopped by SIGTERM" in words


def test_outside_its_hours_a_run_waits(tmp_path):
    now = datetime.now(timezone.utc)
    hours = f"{now + timedelta(hours=2):%H:%M}-{now + timedelta(hours=3):%H:%M}"
    with start(tmp_path, ["exit=0"], hours=hours) as process:
        read_until(process, "waiting for interruption.off_peak until ")
        process.send_signal(signal.SIGTERM)
        words = rest_of(process.stderr)
    assert process.returncode == 75
    assert "start: " not in words


SETTINGS = load_config([]).interruption.supervise
ends = st.tuples(st.sampled_from([75, 1, -9, 15]), st.booleans())


@given(st.lists(ends, max_size=200))
def test_waits_grow_only_without_progress_and_crashes_end(sequence):
    policy = RestartPolicy(SETTINGS, -1)
    saved, crashes, idle = -1, 0, 0
    for restarts, (code, is_progress) in enumerate(sequence):
        saved += is_progress
        verdict = policy.after(End(code, saved, saved))
        if is_progress:
            crashes = idle = 0
        crashes += code != 75
        if crashes == SETTINGS.most_without_progress or restarts == SETTINGS.most_restarts:
            assert verdict.exit_code == (code if code > 0 else 1)
            return
        assert verdict.exit_code is None
        assert verdict.wait_seconds == min(5.0 * 2**idle, 300.0)
        idle += 1


def test_last_words_are_whole_in_however_many_pieces_they_come(tmp_path):
    plan = ["stammer=" + "_".join(["boom"] * 40) + " exit=1"] * 3
    _, words = run(tmp_path, plan, QUICK, "interruption.supervise.most_without_progress=1")
    assert f"exit code 1 before its first step: {' '.join(['boom'] * 40)}" in words
