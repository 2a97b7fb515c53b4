"""What `run.py doctor` says of stores, alert secrets and the port: real folders, real sockets."""

import socket
import threading

import pytest

from src.checkpoint.stores.open import open_store
from src.config import load_config
from src.diagnosis import connections
from src.schema import AlertsConfig, ServingConfig


@pytest.fixture
def closed_port():
    """A port of this machine on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.fixture
def listening():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


# Checkpoint stores


def test_without_stores_nothing_is_said():
    assert list(connections.check_stores(load_config([], []))) == []


def test_a_folder_store_answers(tmp_path):
    config = load_config([], [f"student.checkpoint_store={tmp_path}/run"])
    (finding,) = connections.check_stores(config)
    assert (finding.topic, finding.status) == ("student store", "ok")
    assert "no checkpoint yet" in finding.seen
    assert list(tmp_path.iterdir()) == []  # looked at, not made


def test_what_a_store_holds_is_told(tmp_path):
    store = open_store(str(tmp_path / "run"))
    store.claim(None)
    name = tmp_path / "run" / "checkpoint-00001200.w0001"
    name.mkdir()
    (name / "MANIFEST.json").write_text("{}", encoding="utf-8")
    finding = connections.check_store("teacher", str(tmp_path / "run"))
    assert finding.status == "ok"
    assert "up to step 1,200" in finding.seen


def test_a_drive_that_is_not_mounted_is_a_problem(tmp_path):
    finding = connections.check_store("teacher", f"{tmp_path}/absent/run")
    assert (finding.topic, finding.status) == ("teacher store", "problem")
    assert "cannot be used as a checkpoint store" in finding.seen
    assert "mounted" in finding.advice


def test_missing_credentials_are_a_problem(monkeypatch):
    for name in ("OSS_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ECS_METADATA"):
        monkeypatch.delenv(name, raising=False)
    finding = connections.check_store("teacher", "oss://bucket/run?region=cn-hangzhou")
    assert finding.status == "problem"
    assert "ALIBABA_CLOUD_ACCESS_KEY_ID" in finding.seen
    assert "teacher.checkpoint_store" in finding.advice


def test_a_service_that_refuses_connections_is_a_problem(monkeypatch, closed_port):
    monkeypatch.setenv("OSS_ACCESS_KEY_ID", "LTAI-test")
    monkeypatch.setenv("OSS_ACCESS_KEY_SECRET", "not a secret")
    address = f"oss://bucket/run?endpoint=http://127.0.0.1:{closed_port}"
    finding = connections.check_store("teacher", address)
    assert finding.status == "problem"
    assert finding.seen.startswith(address)
    assert finding.advice
    assert "not a secret" not in finding.seen + finding.advice


def test_a_service_that_never_answers_is_not_waited_for(monkeypatch, listening):
    monkeypatch.setenv("OSS_ACCESS_KEY_ID", "LTAI-test")
    monkeypatch.setenv("OSS_ACCESS_KEY_SECRET", "not a secret")
    address = f"oss://bucket/run?endpoint=http://127.0.0.1:{listening}"
    finding = connections.check_store("teacher", address, longest_seconds=0.2)
    assert finding.status == "problem"
    assert "no answer within" in finding.seen


def test_one_store_for_two_runs_is_a_problem(tmp_path):
    both = [f"{name}.checkpoint_store={tmp_path}/run" for name in ("teacher", "student")]
    findings = list(connections.check_stores(load_config([], both)))
    assert [item.status for item in findings] == ["ok", "ok", "problem"]
    assert "teacher's store, too" in findings[-1].seen


def test_waiting_gives_the_result_the_error_or_nothing():
    assert connections.within(lambda: 7, longest_seconds=10) == 7

    def fail():
        raise LookupError("said by the action")

    with pytest.raises(LookupError, match="said by the action"):
        connections.within(fail, longest_seconds=10)
    never = threading.Event()
    try:
        assert connections.within(never.wait, longest_seconds=0.01) is None
    finally:
        never.set()


# Alerts


ALERTS = AlertsConfig.model_validate(
    {
        "dingtalk": {"token_variable": "TEST_DING", "secret_variable": "TEST_DING_SECRET"},
        "telegram": {"token_variable": "TEST_TELEGRAM", "chat_id": 12345},
    }
)


def test_missing_alert_secrets_are_problems_one_per_channel(monkeypatch):
    for name in ("TEST_DING", "TEST_DING_SECRET", "TEST_TELEGRAM"):
        monkeypatch.delenv(name, raising=False)
    findings = list(connections.check_alerts(ALERTS))
    assert [(item.topic, item.status) for item in findings] == [
        ("alerts.dingtalk", "problem"),
        ("alerts.telegram", "problem"),
    ]
    assert "TEST_DING is not set" in findings[0].seen
    assert "TEST_TELEGRAM is not set" in findings[1].seen


def test_alert_secrets_that_are_set_are_not_shown(monkeypatch):
    monkeypatch.setenv("TEST_DING", "token-of-ours")
    monkeypatch.setenv("TEST_DING_SECRET", "SECof-ours")
    monkeypatch.delenv("TEST_TELEGRAM", raising=False)
    ding, telegram = connections.check_alerts(ALERTS)
    assert (ding.status, telegram.status) == ("ok", "problem")
    assert "ours" not in ding.seen + ding.advice
    assert "alerts test" in ding.advice


def test_without_channels_nothing_is_said():
    assert list(connections.check_alerts(AlertsConfig())) == []


# The service's port


def test_a_taken_port_is_a_warning(listening):
    finding = connections.check_port(ServingConfig(port=listening))
    assert finding.status == "warning"
    assert f"serving.port={listening} is in use" in finding.seen


def test_a_free_port_is_left_free():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = ServingConfig(port=port)
    assert connections.check_port(settings).status == "ok"
    assert connections.check_port(settings).status == "ok"


def test_port_zero_is_any_free_one():
    finding = connections.check_port(ServingConfig(port=0))
    assert (finding.status, finding.seen) == ("ok", "a free one")
