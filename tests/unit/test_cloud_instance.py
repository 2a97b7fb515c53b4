import socket

import pytest

from src.cloud.instance import Instance, describe_instance
from src.diagnosis.cloud import judge_instance
from src.metadata_service import is_alibaba_machine
from tests.fakes.local_server import NOWHERE, QuietHandler, serving
from tests.fakes.metadata_service import metadata_service

EXPECTED = Instance("i-bp1fake", "ecs.gn7i-c16g1.4xlarge", "cn-hangzhou")


@pytest.fixture(params=[False, True], ids=["normal", "hardened"])
def service(request):
    with metadata_service(is_hardened=request.param) as running:
        yield running


def test_instance_is_described_in_both_modes(service):
    assert describe_instance(service.url) == EXPECTED
    assert service.requests[0] == "PUT /latest/api/token"
    assert len(service.requests) == 4


def test_proxies_are_not_asked(service, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", NOWHERE)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert describe_instance(service.url) == EXPECTED


def test_missing_item_gives_no_instance(service):
    del service.items["region-id"]
    assert describe_instance(service.url) is None


def test_nobody_there_gives_no_instance():
    assert describe_instance(NOWHERE) is None


def test_a_login_page_is_no_instance():
    class LoginPage(QuietHandler):
        def do_GET(self):
            self.reply(200, "<html>Please log in</html>")

        do_PUT = do_GET

    with serving(LoginPage) as url:
        assert describe_instance(url) is None


def test_silence_ends_after_the_timeout(silent_address):
    assert describe_instance(silent_address, timeout_seconds=0.05) is None


@pytest.fixture
def silent_address():
    """Accepts connections, as every listening socket does, and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize(
    ("content", "expected"),
    [(b"Alibaba Cloud\n", True), (b"QEMU\n", False), (b"\xff\xfe", False), (None, False)],
)
def test_machine_is_recognised_by_its_vendor(tmp_path, content, expected):
    path = tmp_path / "sys_vendor"
    if content is not None:
        path.write_bytes(content)
    assert is_alibaba_machine(path) is expected


def test_finding_names_the_instance(service):
    finding = judge_instance(service.url)
    assert finding.status == "ok"
    assert finding.seen == "i-bp1fake, ecs.gn7i-c16g1.4xlarge, cn-hangzhou"


def test_finding_says_when_the_service_is_silent():
    finding = judge_instance(NOWHERE)
    assert (finding.status, NOWHERE in finding.seen) == ("warning", True)
    assert finding.advice
