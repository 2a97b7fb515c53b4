"""Each channel against a local service that answers as the real one does."""

import base64
import json
import logging
import shutil
import subprocess
import sys
import traceback
from pathlib import Path

import pytest

from src.config import load_config
from src.errors import ConfigError
from src.monitoring.alerts.channels import DeliveryFailed, open_channels
from src.monitoring.alerts.trial import try_channels
from tests.fakes.chat_services import DROP, SILENCE, ChatServices, chat_services
from tests.fakes.local_server import NOWHERE, QuietHandler, serving
from tests.fakes.mail_server import MailServer, mail_server

ROOT = Path(__file__).resolve().parents[2]
CHATS = ("dingtalk", "wecom", "feishu", "telegram")
CANARY = "planted+/=&钥:SEC"
VARIABLES = {
    "DINGTALK_TOKEN": "dingtalk-token",
    "DINGTALK_SECRET": "SECdingtalk",
    "WECOM_KEY": "wecom-key",
    "FEISHU_TOKEN": "feishu-token",
    "FEISHU_SECRET": "feishu-secret",
    "TELEGRAM_TOKEN": "12345:telegram-token",
    "MAIL_PASSWORD": "mail-password",
}


@pytest.fixture(autouse=True)
def environment(monkeypatch, no_proxies):
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def services():
    known = ChatServices(dingtalk_secret="SECdingtalk", feishu_secret="feishu-secret")
    with chat_services(known) as running:
        yield running


def chat_override(name, url, **more):
    keys = {"base_url": url, **more}
    if name == "telegram":
        keys["chat_id"] = "-100"
    if name in ("dingtalk", "feishu"):
        keys["secret_variable"] = f"{name.upper()}_SECRET"
    return f"alerts.{name}={json.dumps(keys)}"


def mail_override(server, **more):
    keys = {
        "host": "127.0.0.1",
        "port": server.port,
        "security": "none",
        "sender": "run@example.com",
        "recipients": ["a@example.com", "b@example.com"],
        **more,
    }
    return f"alerts.mail={json.dumps(keys)}"


def alerts_config(*overrides):
    return load_config([], overrides).alerts


def open_one(*overrides):
    (channel,) = open_channels(alerts_config("alerts.timeout_seconds=5", *overrides))
    return channel


# Chat services


@pytest.mark.parametrize("name", CHATS)
def test_message_arrives_with_a_signature_the_service_accepts(services, name):
    open_one(chat_override(name, services.url)).send("title 标题", "line\nsecond → 行")
    assert services.delivered == [(name, "title 标题\nline\nsecond → 行")]


@pytest.mark.parametrize("name", ["dingtalk", "feishu"])
def test_without_a_secret_nothing_is_signed(services, name):
    services.dingtalk_secret = services.feishu_secret = None
    open_one(f"alerts.{name}={{base_url: {services.url}}}").send("title", "body")
    assert "sign" not in services.requests[0]
    assert services.texts(name) == ["title\nbody"]


@pytest.mark.parametrize(
    ("name", "variable", "path"),
    [
        ("dingtalk", "DINGTALK_TOKEN", "/robot/send?access_token=dingtalk-token"),
        ("wecom", "WECOM_KEY", "/cgi-bin/webhook/send?key=wecom-key"),
        ("feishu", "FEISHU_TOKEN", "/open-apis/bot/v2/hook/feishu-token"),
    ],
)
def test_whole_webhook_address_may_stand_for_the_token(services, monkeypatch, name, variable, path):
    monkeypatch.setenv(variable, f"{services.url}{path}\n")
    open_one(chat_override(name, NOWHERE)).send("title", "body")
    assert services.texts(name) == ["title\nbody"]


@pytest.mark.parametrize("name", ["dingtalk", "wecom", "feishu"])
@pytest.mark.parametrize("address", ["https://example.com/", "ftp://host/?x=1", "https://[bad/"])
def test_another_address_is_no_webhook(services, monkeypatch, name, address):
    variable = {"dingtalk": "DINGTALK_TOKEN", "wecom": "WECOM_KEY", "feishu": "FEISHU_TOKEN"}[name]
    monkeypatch.setenv(variable, address)
    with pytest.raises(DeliveryFailed, match=rf"\${variable} is no webhook address") as caught:
        open_one(chat_override(name, services.url)).send("title", "body")
    assert caught.value.is_refusal
    assert services.requests == []


@pytest.mark.parametrize(
    ("name", "variable", "words"),
    [
        ("dingtalk", "DINGTALK_TOKEN", "300001 token is not exist"),
        ("dingtalk", "DINGTALK_SECRET", "310000 sign not match"),
        ("wecom", "WECOM_KEY", "93000 invalid webhook url"),
        ("feishu", "FEISHU_TOKEN", "19001 param invalid"),
        ("feishu", "FEISHU_SECRET", "19021 sign match fail"),
        ("telegram", "TELEGRAM_TOKEN", "401 Unauthorized"),
    ],
)
def test_refusal_in_a_body_is_no_success(services, monkeypatch, name, variable, words):
    monkeypatch.setenv(variable, "other")
    with pytest.raises(DeliveryFailed, match=f"it answers: {words}") as caught:
        open_one(chat_override(name, services.url)).send("title", "body")
    assert caught.value.is_refusal
    assert services.delivered == []


@pytest.mark.parametrize(
    ("name", "fault", "seconds"),
    [
        ("dingtalk", (200, '{"errcode": 130101, "errmsg": "send too fast"}'), 60),
        ("wecom", (200, '{"errcode": 45009, "errmsg": "api freq out of limit"}'), 60),
        ("feishu", (429, '{"code": 99991400, "msg": "request trigger frequency limit"}'), 60),
        ("telegram", (429, '{"ok": false, "parameters": {"retry_after": 17}}'), 17),
    ],
)
def test_too_many_messages_means_waiting(services, name, fault, seconds):
    services.faults.append(fault)
    with pytest.raises(DeliveryFailed, match="too many messages") as caught:
        open_one(chat_override(name, services.url)).send("title", "body")
    assert (caught.value.is_refusal, caught.value.wait_seconds) == (False, seconds)


@pytest.mark.parametrize("name", CHATS)
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ((500, "<html>oops</html>"), "it answers HTTP 500 without a result"),
        ((503, '{"errcode": 7, "code": 7, "error_code": 7}'), "it answers: 7 None"),
        ((200, "<html>Please log in</html>"), "HTTP 200 without a result"),
        ((200, "[]"), "HTTP 200 without a result"),
        (DROP, "the connection broke"),
    ],
)
def test_passing_faults_are_no_refusals(services, name, fault, words):
    services.faults.append(fault)
    channel = open_one(chat_override(name, services.url))
    with pytest.raises(DeliveryFailed, match=words) as caught:
        channel.send("title", "body")
    assert not caught.value.is_refusal
    channel.send("title", "body")
    assert len(services.delivered) == 1


@pytest.mark.parametrize("name", CHATS)
def test_an_answer_without_a_code_is_no_success(services, name):
    services.faults.append((200, "{}"))
    with pytest.raises(DeliveryFailed):
        open_one(chat_override(name, services.url)).send("title", "body")


def test_a_redirect_is_not_followed(services):
    class Elsewhere(QuietHandler):
        def do_POST(self):
            self.send_response(307)
            self.send_header("Location", f"{services.url}{self.path}")
            self.send_header("Content-Length", "0")
            self.end_headers()

    with serving(Elsewhere) as url, pytest.raises(DeliveryFailed, match="HTTP 307"):
        open_one(chat_override("wecom", url)).send("title", "body")
    assert services.requests == []


def test_silence_ends_after_the_timeout(services):
    services.faults.append(SILENCE)
    channel = open_channels(
        alerts_config("alerts.timeout_seconds=1", chat_override("wecom", services.url))
    )[0]
    with pytest.raises(DeliveryFailed, match="no answer in time"):
        channel.send("title", "body")


def test_nobody_there_is_said_without_the_address():
    with pytest.raises(DeliveryFailed, match=r"^the connection was refused$"):
        open_one(chat_override("wecom", NOWHERE)).send("title", "body")


def test_name_that_does_not_exist_is_said():
    with pytest.raises(DeliveryFailed, match=r"(?i)name|resol"):
        open_one(chat_override("wecom", "http://no-such-host.invalid")).send("title", "body")


# Mail


def test_mail_arrives_at_all_recipients():
    with mail_server() as server:
        open_one(mail_override(server)).send("LinguaBridge: ended 完", "loss 1.5\n→ look")
    (mail,) = server.mails
    assert (mail["Subject"], mail["From"]) == ("LinguaBridge: ended 完", "run@example.com")
    assert mail.get_content().replace("\r\n", "\n") == "loss 1.5\n→ look\n"
    assert server.recipients == ["a@example.com", "b@example.com"]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("certificate")
    both, key, public = folder / "both.pem", folder / "key.pem", folder / "public.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"),
            *("-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", public),
        ],
        check=True,
        capture_output=True,
    )
    both.write_bytes(key.read_bytes() + public.read_bytes())
    return both, public


@pytest.mark.parametrize("security", ["tls", "starttls"])
def test_login_goes_over_an_encrypted_connection(monkeypatch, certificate, security):
    both, public = certificate
    monkeypatch.setenv("SSL_CERT_FILE", str(public))
    account = {"username": "run", "password_variable": "MAIL_PASSWORD"}
    known = MailServer(
        account=("run", "mail-password"), certificate=str(both), is_tls=security == "tls"
    )
    with mail_server(known) as server:
        open_one(mail_override(server, security=security, **account)).send("title", "body")
        monkeypatch.setenv("MAIL_PASSWORD", "other")
        with pytest.raises(DeliveryFailed, match="it refuses the login") as caught:
            open_one(mail_override(server, security=security, **account)).send("title", "body")
    assert caught.value.is_refusal
    assert len(server.mails) == 1


def test_unknown_certificate_is_refused(monkeypatch, certificate):
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    with mail_server(MailServer(certificate=str(certificate[0]), is_tls=True)) as server:
        channel = open_one(mail_override(server, security="tls"))
        with pytest.raises(DeliveryFailed, match="no encrypted connection"):
            channel.send("title", "body")
    assert server.mails == []


@pytest.mark.parametrize(
    ("refusals", "words", "is_refusal"),
    [
        ({"MAIL": "451 try later"}, "451 try later", False),
        ({"RCPT": "550 no such user"}, "550 no such user", True),
        ({"DATA": "554 looks like spam"}, "554 looks like spam", True),
        ({"DATA": ""}, "the connection broke", False),
    ],
)
def test_refused_mail_is_told_as_it_was(refusals, words, is_refusal):
    with (
        mail_server(MailServer(refusals=refusals)) as server,
        pytest.raises(DeliveryFailed, match=words) as caught,
    ):
        open_one(mail_override(server)).send("title", "body")
    assert caught.value.is_refusal is is_refusal
    assert server.mails == []


def test_a_goodbye_that_fails_does_not_make_a_mail_undelivered():
    with mail_server(MailServer(refusals={"QUIT": ""})) as server:
        open_one(mail_override(server)).send("title", "body")
    assert len(server.mails) == 1


def test_login_without_encryption_is_refused_by_the_schema():
    with pytest.raises(ConfigError, match="would show the password to the network"):
        alerts_config(mail_override(MailServer(port=1), username="a", password_variable="B"))


def test_server_without_tls_is_told():
    with mail_server() as server, pytest.raises(DeliveryFailed, match="check security and port"):
        open_one(mail_override(server, security="tls")).send("title", "body")


# Secrets


def test_missing_secrets_are_all_named(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name)
    with pytest.raises(ConfigError) as caught:
        open_channels(alerts_config(*(chat_override(name, NOWHERE) for name in CHATS)))
    text = str(caught.value)
    assert text.startswith("alerts: 4 problems")
    for name in ("DINGTALK_TOKEN", "WECOM_KEY", "FEISHU_TOKEN", "TELEGRAM_TOKEN"):
        assert f"the environment variable {name} is not set" in text


@pytest.mark.parametrize(
    "override",
    [
        f"alerts.wecom={CANARY}",
        f"alerts.wecom={{token_variable: '{CANARY}'}}",
        f"alerts.wecom={{token: '{CANARY}'}}",
        f"alerts.dingtalk={{base_url: 'https://host/robot?access_token={CANARY}'}}",
    ],
)
def test_a_secret_in_the_configuration_is_refused_and_not_repeated(override):
    with pytest.raises(ConfigError) as caught:
        alerts_config(override)
    assert "planted" not in str(caught.value)


def test_secret_may_come_from_a_private_file(services, monkeypatch, tmp_path):
    path = tmp_path / "key"
    path.write_text("wecom-key\n", encoding="utf-8")
    monkeypatch.delenv("WECOM_KEY")
    monkeypatch.setenv("WECOM_KEY_FILE", str(path))
    path.chmod(0o640)
    with pytest.raises(ConfigError, match=r"may be read by other users; run: chmod 600 /\S+key"):
        open_one(chat_override("wecom", services.url))
    path.chmod(0o600)
    open_one(chat_override("wecom", services.url)).send("title", "body")
    assert services.texts("wecom") == ["title\nbody"]
    path.write_text("", encoding="utf-8")
    with pytest.raises(ConfigError, match="is empty"):
        open_one(chat_override("wecom", services.url))
    path.unlink()
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        open_one(chat_override("wecom", services.url))


@pytest.mark.parametrize("name", CHATS)
@pytest.mark.parametrize("fault", [(500, f"{CANARY}"), (200, f'{{"x": "{CANARY}"}}'), DROP, None])
def test_planted_secret_is_shown_nowhere(services, monkeypatch, caplog, capfd, name, fault):
    for variable in VARIABLES:
        monkeypatch.setenv(variable, CANARY)
    if fault is not None:
        services.faults.append(fault)
    caplog.set_level(logging.DEBUG)
    config = alerts_config(chat_override(name, services.url))
    (channel,) = open_channels(config)
    shown = [repr(channel), str(channel.secrets), repr(config)]
    with pytest.raises(DeliveryFailed) as caught:
        channel.send("title", "body")
    shown += traceback.format_exception(caught.value)
    # The command masks what a service repeats; see the background thread's test for the log.
    services.faults.append((200, f'{{"errcode": 1, "code": 1, "errmsg": "{CANARY}"}}'))
    shown += [result.in_words() for result in try_channels(config)]
    shown += [caplog.text, *capfd.readouterr()]
    assert not [text for text in shown if "planted" in text.replace("test_planted", "")]


def test_planted_password_is_shown_nowhere(monkeypatch, certificate, caplog):
    both, public = certificate
    monkeypatch.setenv("SSL_CERT_FILE", str(public))
    monkeypatch.setenv("MAIL_PASSWORD", "planted-password")
    caplog.set_level(logging.DEBUG)
    account = {"username": "run", "password_variable": "MAIL_PASSWORD"}
    with mail_server(MailServer(account=("run", "x"), certificate=str(both))) as server:
        channel = open_one(mail_override(server, security="starttls", **account))
        with pytest.raises(DeliveryFailed) as caught:
            channel.send("title", "body")
    shown = "".join(traceback.format_exception(caught.value)) + repr(channel) + caplog.text
    encoded = base64.b64encode(b"\0run\0planted-password").decode()
    assert "planted-password" not in shown
    assert encoded not in shown


# The command


def run_command(*overrides):
    arguments = [part for override in overrides for part in ("--set", override)]
    return subprocess.run(
        [sys.executable, "run.py", "alerts", "test", *arguments],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def test_command_tells_the_state_of_each_channel(services, monkeypatch):
    overrides = [chat_override(name, services.url) for name in ("dingtalk", "wecom")]
    good = run_command(*overrides)
    assert good.returncode == 0, good.stderr
    assert [line.split()[:2] for line in good.stdout.splitlines()] == [
        ["dingtalk", "delivered"],
        ["wecom", "delivered"],
    ]
    assert "test message" in services.texts("wecom")[0]
    monkeypatch.setenv("WECOM_KEY", "other")
    bad = run_command(*overrides)
    assert bad.returncode == 1
    assert "wecom     not delivered: it answers: 93000 invalid webhook url" in bad.stdout


def test_command_without_a_channel_says_how_to_set_one():
    result = run_command()
    assert result.returncode == 2
    assert "no channel is configured; set one" in result.stderr
