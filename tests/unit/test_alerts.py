"""What reaches people: limits, outages, kills, and that a run never notices."""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.config import load_config
from src.monitoring.alert import KINDS
from src.monitoring.alerts import open_alerts
from src.monitoring.alerts.channels import DeliveryFailed
from src.monitoring.alerts.limits import Limits
from src.monitoring.alerts.messages import Message, compose, pack, shorten
from src.monitoring.alerts.sender import Line
from src.monitoring.alerts.spool import Entry, Spool
from src.schema.alerts import AlertsConfig
from src.secret import Secret, mask
from tests.fakes.chat_services import DROP, SILENCE, chat_services

ROOT = Path(__file__).resolve().parents[2]
NOWHERE = "http://127.0.0.1:9"  # the discard port: nothing listens there


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WECOM_KEY", "wecom-key")
    monkeypatch.setenv("DINGTALK_TOKEN", "dingtalk-token")


@pytest.fixture
def services():
    with chat_services() as running:
        yield running


def alerts_to(folder, *overrides, wecom=None, dingtalk=None):
    texts = [f"alerts.wecom={{base_url: {wecom}}}"] if wecom else []
    texts += [f"alerts.dingtalk={{base_url: {dingtalk}}}"] if dingtalk else []
    config = load_config([], [*texts, *overrides])
    return open_alerts(config.alerts, folder, run_name="teacher")


def waiting(folder):
    return sorted(path.name for path in (folder / "alerts/spool").glob("[!.]*.jsonl"))


# Delivery


def test_message_says_run_event_numbers_and_what_to_do(services, tmp_path):
    with alerts_to(tmp_path, wecom=services.url) as alerts:
        alerts.send("validation_rising", "dev loss 2.31 → 2.45 at step 1,200")
    title, numbers, advice, moment = services.texts("wecom")[0].split("\n")
    assert title == "LinguaBridge teacher: validation loss is rising"
    assert numbers == "dev loss 2.31 → 2.45 at step 1,200"
    assert advice.startswith("→ The best weights so far are kept")
    assert moment[:2] == "20"
    assert waiting(tmp_path) == []


def test_every_kind_of_the_schema_has_words():
    assert set(AlertsConfig().kinds) == set(KINDS) - {"test"}


def test_only_the_kinds_asked_for_go_out_and_all_are_logged(services, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    with alerts_to(tmp_path, "alerts.kinds=[failed]", wecom=services.url) as alerts:
        alerts.send("epoch", "epoch 1, loss 2.0")
        alerts.send("failed", "out of memory")
    assert len(services.delivered) == 1
    assert "epoch done: epoch 1, loss 2.0" in caplog.text


def test_without_channels_nothing_is_written(tmp_path, caplog):
    with alerts_to(tmp_path) as alerts:
        alerts.send("spike", "loss 9")
    assert list(tmp_path.iterdir()) == []
    assert "loss spike: loss 9" in caplog.text


def test_ranks_that_do_not_send_only_log(tmp_path, monkeypatch, caplog):
    monkeypatch.delenv("WECOM_KEY")
    config = load_config([], ["alerts.wecom={}"]).alerts
    with open_alerts(config, tmp_path, is_sender=False) as alerts:
        alerts.send("notice", "in 300 s")
    assert "the machine is being taken away: in 300 s" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_each_channel_gets_each_message_once_in_order(services, tmp_path):
    with alerts_to(tmp_path, wecom=services.url, dingtalk=services.url) as alerts:
        for number in range(3):
            alerts.send("epoch", f"epoch {number}")
    for name in ("wecom", "dingtalk"):
        assert [text.split("\n")[1] for text in services.texts(name)] == [
            "epoch 0",
            "epoch 1",
            "epoch 2",
        ]


@pytest.mark.parametrize("fault", [(500, "oops"), (200, "<html>"), DROP])
def test_a_passing_fault_costs_no_message_even_at_the_end(services, tmp_path, fault):
    services.faults.append(fault)
    with alerts_to(tmp_path, wecom=services.url) as alerts:
        alerts.send("finished", "12 steps")
    assert len(services.texts("wecom")) == 1
    assert len(services.requests) == 2


def test_sending_waits_for_no_service(services, tmp_path):
    services.faults.append(SILENCE)
    alerts = alerts_to(tmp_path, wecom=services.url)
    alerts.send("epoch", "epoch 1")
    assert services.arrived.wait(60)
    # The thread is held by the silent service now; sending returns all the same.
    alerts.send("epoch", "epoch 2")
    assert len(waiting(tmp_path)) == 2
    services.release.set()
    alerts.close(60)
    assert len(services.texts("wecom")) == 2
    assert waiting(tmp_path) == []


def test_dead_network_is_said_once_and_caught_up_later_in_one_message(services, tmp_path, caplog):
    with alerts_to(tmp_path, wecom=NOWHERE) as alerts:
        for number in range(5):
            alerts.send("epoch", f"epoch {number}")
        alerts.close(0.1)
    assert caplog.text.count("wecom fails: the connection was refused") == 1
    assert "5 not delivered; the next start sends what is in" in caplog.text
    assert len(waiting(tmp_path)) == 5
    with alerts_to(tmp_path, wecom=services.url):
        pass
    (text,) = services.texts("wecom")
    assert text.startswith("LinguaBridge teacher: 5 messages\n")
    assert [f"epoch {number}" in text for number in range(5)] == [True] * 5
    assert waiting(tmp_path) == []


def test_one_dead_channel_does_not_hold_up_another(services, tmp_path):
    with alerts_to(tmp_path, wecom=services.url, dingtalk=NOWHERE) as alerts:
        alerts.send("epoch", "epoch 1")
        alerts.close(0.1)
    assert len(services.texts("wecom")) == 1
    with alerts_to(tmp_path, wecom=services.url, dingtalk=services.url):
        pass
    assert (len(services.texts("wecom")), len(services.texts("dingtalk"))) == (1, 1)


def test_old_messages_are_given_up(services, tmp_path, caplog):
    Spool(tmp_path / "alerts/spool", ["wecom"]).add(Message("teacher", "epoch", "old", 1.0))
    with alerts_to(tmp_path, wecom=services.url):
        pass
    assert services.delivered == []
    assert waiting(tmp_path) == []
    assert "given up after waiting too long: LinguaBridge teacher: epoch done" in caplog.text


def test_a_folder_that_cannot_be_written_costs_no_message(services, tmp_path):
    (tmp_path / "alerts").write_text("a file", encoding="utf-8")
    with alerts_to(tmp_path, wecom=services.url) as alerts:
        alerts.send("save_failed", "disk full")
    assert len(services.texts("wecom")) == 1


def test_a_file_that_is_no_message_is_set_aside(services, tmp_path, caplog):
    folder = tmp_path / "alerts/spool"
    folder.mkdir(parents=True)
    (folder / "0-0.jsonl").write_text('{"torn', encoding="utf-8")
    with alerts_to(tmp_path, wecom=services.url) as alerts:
        alerts.send("epoch", "epoch 1")
    assert len(services.texts("wecom")) == 1
    assert "0-0.jsonl is no message" in caplog.text


@pytest.mark.parametrize("text", ["", "\0", "\ud800", "x" * 100_000, "line\nline", "%s {} \\"])
def test_any_text_can_be_sent(services, tmp_path, text):
    with alerts_to(tmp_path, wecom=services.url) as alerts:
        alerts.send("failed", text)
        alerts.send("no such kind", text)
    (sent,) = services.texts("wecom")
    assert len(sent.encode()) <= 2048


def test_secrets_in_texts_and_answers_are_masked(services, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("WECOM_KEY", "planted/key")
    services.faults.append((200, '{"errcode": 1, "errmsg": "planted/key planted%2Fkey"}'))
    with alerts_to(tmp_path, wecom=services.url) as alerts:
        alerts.send("failed", "no access with planted/key")
        alerts.close(0.1)
    spooled = "".join(path.read_text() for path in tmp_path.rglob("*.jsonl"))
    assert "no access with ***" in spooled
    assert "1 *** ***" in caplog.text
    assert "planted" not in spooled + caplog.text


# A kill


LIFE = """
import sys
from pathlib import Path
from src.config import load_config
from src.monitoring.alerts import open_alerts

folder, *overrides = sys.argv[1:]
alerts = open_alerts(load_config([], overrides).alerts, Path(folder), run_name="teacher")
alerts.send("epoch", "epoch 1")
print("sent", flush=True)
sys.stdin.read()
"""


def start_life(folder, *overrides):
    return subprocess.Popen(
        [sys.executable, "-c", LIFE, str(folder), *overrides],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def kill(process):
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def test_kill_before_sending_loses_nothing(services, tmp_path):
    with start_life(tmp_path, f"alerts.wecom={{base_url: '{NOWHERE}'}}") as process:
        assert process.stdout.readline() == b"sent\n"
        kill(process)
    assert len(waiting(tmp_path)) == 1
    with alerts_to(tmp_path, wecom=services.url):
        pass
    assert len(services.texts("wecom")) == 1


def test_kill_between_two_channels_sends_nothing_twice(services, tmp_path):
    # Channels are served in the order of the schema: dingtalk is done when wecom is asked.
    with chat_services() as silent:
        silent.faults.append(SILENCE)
        overrides = (
            f"alerts.dingtalk={{base_url: '{services.url}'}}",
            f"alerts.wecom={{base_url: '{silent.url}'}}",
        )
        with start_life(tmp_path, *overrides) as process:
            assert silent.arrived.wait(60)
            kill(process)
    with alerts_to(tmp_path, wecom=services.url, dingtalk=services.url):
        pass
    assert (len(services.texts("dingtalk")), len(services.texts("wecom"))) == (1, 1)


def test_while_one_process_sends_another_only_adds(services, tmp_path):
    services.faults.append(SILENCE)
    with start_life(tmp_path, f"alerts.wecom={{base_url: '{services.url}'}}") as process:
        assert services.arrived.wait(60)
        with alerts_to(tmp_path, wecom=services.url) as alerts:
            alerts.send("resumed", "at step 4")
            alerts.close(0.1)
        assert services.delivered == []
        assert len(waiting(tmp_path)) == 2
        kill(process)
    services.release.set()
    with alerts_to(tmp_path, wecom=services.url):
        pass
    assert len(services.texts("wecom")) == 2


def test_a_worker_that_was_forked_while_sending_does_not_keep_the_lock(services, tmp_path):
    services.faults.append(SILENCE)
    alerts = alerts_to(tmp_path, wecom=services.url)
    alerts.send("epoch", "epoch 1")
    assert services.arrived.wait(60)
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writable)
        os.read(readable, 1)
        os._exit(0)
    services.release.set()
    alerts.close(60)
    with start_life(tmp_path, f"alerts.wecom={{base_url: '{services.url}'}}") as process:
        assert process.stdout.readline() == b"sent\n"
        process.stdin.close()
        process.wait()
    with alerts_to(tmp_path, wecom=services.url):
        pass
    os.write(writable, b".")
    os.waitpid(child, 0)
    assert waiting(tmp_path) == []


# Limits


class Clock:
    def __init__(self):
        self.now = 1_000_000.0

    def __call__(self):
        return self.now


def limits(folder, clock, *, most=3, repeat=600.0):
    return Limits(folder / "history.jsonl", most_per_hour=most, repeat_seconds=repeat, clock=clock)


def test_few_of_a_kind_in_an_hour_and_the_rest_is_counted(tmp_path):
    clock = Clock()
    tried = limits(tmp_path, clock)
    assert [tried.admit("spike", f"at step {step}") for step in range(5)] == [0, 0, 0, None, None]
    assert tried.admit("notice", "in 300 s") == 0
    clock.now += 3601
    assert tried.admit("spike", "at step 9") == 2
    assert tried.admit("spike", "at step 10") == 0


def test_the_same_text_goes_out_once(tmp_path):
    clock = Clock()
    tried = limits(tmp_path, clock)
    assert [tried.admit("spike", "loss 9") for _ in range(3)] == [0, None, None]
    clock.now += 601
    assert tried.admit("spike", "loss 9") == 2


def test_a_crash_loop_does_not_count_anew(tmp_path):
    clock = Clock()
    seen = []
    for _ in range(7):
        tried = limits(tmp_path, clock)
        clock.now += 700
        if tried.admit("started", "400 steps") is not None:
            tried.write("started", "400 steps")
            seen.append(clock.now)
    assert len(seen) == 3 + 1
    (tmp_path / "history.jsonl").write_text("{}\n[]\nnothing\n", encoding="utf-8")
    assert limits(tmp_path, clock).admit("started", "400 steps") == 0


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 3), st.floats(0, 900)), max_size=60)
)
def test_no_hour_has_more_than_the_limit_and_no_text_comes_twice(tmp_path_factory, events):
    clock = Clock()
    tried = limits(tmp_path_factory.getbasetemp() / "absent", clock)
    out, held = [], {"a": 0, "b": 0}
    for kind, text, seconds in events:
        clock.now += seconds
        admitted = tried.admit(kind, str(text))
        if admitted is None:
            held[kind] += 1
        else:
            assert admitted == held[kind]
            held[kind] = 0
            out.append((clock.now, kind, text))
    for index, (then, kind, text) in enumerate(out):
        later = [each for each in out[index + 1 :] if each[1] == kind]
        assert sum(when - then < 3600 for when, _, _ in later) < 3
        assert all(when - then >= 600 for when, _, other in later if other == text)


# One channel's state


class Refusing:
    name = "refusing"
    longest_bytes = 1000
    secrets = ()

    def __init__(self, failure):
        self.failure = failure
        self.attempts = 0

    def send(self, title, body):
        self.attempts += 1
        raise self.failure


def test_waits_grow_to_five_minutes_and_heed_the_service():
    clock = Clock()
    line = Line(Refusing(DeliveryFailed("down")), clock)
    waits = []
    for _ in range(12):
        line.deliver([Entry(Message("run", "epoch", "1", 0.0))])
        waits.append(line.next_attempt - clock.now)
        clock.now = line.next_attempt
    assert 1.5 <= waits[0] <= 2.0
    assert 225 <= min(waits[8:]) <= max(waits) <= 300
    line = Line(Refusing(DeliveryFailed("busy", wait_seconds=900.0)), clock)
    line.deliver([Entry(Message("run", "epoch", "1", 0.0))])
    assert line.next_attempt - clock.now == 900


def test_what_is_refused_again_and_again_is_given_up_and_said(caplog):
    clock = Clock()
    channel = Refusing(DeliveryFailed("no such robot", is_refusal=True))
    line = Line(channel, clock)
    entry = Entry(Message("run", "epoch", "1", 0.0))
    for _ in range(5):
        assert entry.done == set()
        line.deliver([entry])
        line.deliver([entry])  # too early: not tried
        clock.now = line.next_attempt
    assert entry.done == {"refusing"}
    assert channel.attempts == 5
    assert "refusing refuses 5 times: no such robot; given up: LinguaBridge run" in caplog.text


# Text


@given(st.text(), st.integers(0, 60))
def test_shortened_text_fits_and_is_a_beginning(text, room):
    short = shorten(text, room)
    assert len(short.encode()) <= max(room, len("…".encode()))
    assert short == text or text.startswith(short.removesuffix("…"))


@given(st.lists(st.text(max_size=400), min_size=1, max_size=30), st.integers(200, 3000))
def test_messages_are_packed_so_that_each_is_there_and_fits(texts, room):
    messages = [Message("run", "epoch", text, 0.0) for text in texts]
    packs = pack(messages, longest_bytes=room)
    assert [message for batch in packs for message in batch] == messages
    for batch in packs:
        title, body = compose(batch, longest_bytes=room)
        assert len(f"{title}\n{body}".encode()) <= room
        assert len(batch) == 1 or all(message.body in body for message in batch)


@given(st.text(alphabet="xyz/+=&", min_size=4), st.text(alphabet="abc"), st.text(alphabet="abc"))
def test_masked_text_holds_no_secret(value, before, after):
    secret = Secret("NAME", value)
    assert mask(before + value + after, [secret]) == f"{before}***{after}"
    assert mask(f"?key={quote(value, safe='')}", [secret]) == "?key=***"
    assert value not in repr(secret)
    assert str(secret) == "$NAME"


def test_threads_may_send_at_the_same_time(services, tmp_path):
    with alerts_to(tmp_path, "alerts.most_per_hour=100", wecom=services.url) as alerts:
        threads = [
            threading.Thread(
                target=lambda n=n: [alerts.send("epoch", f"<{n}.{i}>") for i in range(5)]
            )
            for n in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    text = "".join(services.texts("wecom"))
    assert all(text.count(f"<{n}.{i}>") == 1 for n in range(4) for i in range(5))
    lines = (tmp_path / "alerts/history.jsonl").read_text(encoding="utf-8").splitlines()
    assert len([json.loads(line) for line in lines]) == 20
