"""The service as its own process with a small real model, over HTTP and in a real browser."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.fakes.browser import find_browser, open_page

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "tests" / "golden" / "exported"
HEADERS = {"Content-Type": "application/json"}


def start(*overrides: str) -> tuple[subprocess.Popen[str], str]:
    """A running service and its address; everything it logged before is dropped."""
    process = subprocess.Popen(
        [sys.executable, "run.py", "serve", "--model", str(MODEL), "--port", "0", *overrides],
        cwd=ROOT, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert process.stderr is not None
    for line in process.stderr:
        if match := re.search(r"serving .* on (http://\S+)", line):
            return process, match[1]
    raise AssertionError(f"the service did not start, exit code {process.wait()}")


def stop(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit code after SIGTERM, and the rest of the log."""
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=60)
    return process.returncode, log


@pytest.fixture(scope="module")
def address():
    process, address = start("serving.max_characters=2000", "serving.requests_per_minute=null")
    yield address
    code, log = stop(process)
    assert code == 0
    assert "Traceback" not in log, log
    assert log.rstrip().endswith("stopped")


def post(address: str, path: str, **arguments) -> httpx.Response:
    return httpx.post(address + path, timeout=60, **arguments)


def test_both_directions_are_found_and_lines_stay(address):
    answer = post(address, "/translate", json={"text": "Where is the nearest hospital?"})
    assert answer.json() == {
        "direction": "en-zh", "translation": "最近的医院在哪里？", "warnings": [],
    }  # fmt: skip
    answer = post(address, "/translate", json={"text": "最近的医院在哪里？\n\n2029年3月5日星期一"})
    assert answer.json() == {
        "direction": "zh-en",
        "translation": "Where is the nearest hospital?\n\nMonday, March 5, 2029",
        "warnings": [],
    }
    answer = post(address, "/translate/batch", json={"texts": ["", "点击 %s 打开 {name}。"]})
    assert [item["translation"] for item in answer.json()["translations"]] == [
        "", "Click %s to open {name}.",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "sentence"),
    [
        ("POST", "/translate", b'{"text":', 400, "the body is not JSON in UTF-8"),
        ("POST", "/translate", b'{"text": "\xff"}', 400, "the body is not JSON in UTF-8"),
        ("POST", "/translate", b'{"text": "a\x01"}', 400, "the body is not JSON in UTF-8"),
        ("POST", "/translate", b"[" * 20000, 400, "the body is not JSON in UTF-8"),
        ("POST", "/translate", b"", 400, "the body is not JSON in UTF-8"),
        ("POST", "/translate", b"[1]", 422, "the body: Input should be"),
        ("POST", "/translate", b"{}", 422, "text: Field required"),
        ("POST", "/translate", b'{"text": 5}', 422, "text: Input should be a valid string"),
        ("POST", "/translate", b'{"text": "a", "x": 1}', 422, "x: Extra inputs are not permitted"),
        ("POST", "/translate", b'{"text": "a", "direction": "en-fr"}', 422,
         "direction 'en-fr' is not known; use one of en-zh, zh-en"),
        ("POST", "/translate", b'{"text": "' + b"a" * 1_000_000 + b'"}', 413,
         "the body has more than 28,096 bytes"),
        ("POST", "/translate", b'{"text": "' + b"a" * 2001 + b'"}', 413,
         "2,001 characters are too many; send at most 2,000"),
        ("POST", "/translate/batch", b'{"texts": [' + b'"",' * 64 + b'""]}', 413,
         "65 texts are too many; send at most 64"),
        ("POST", "/translate/batch", b'{"texts": "a"}', 422, "texts: Input should be a valid list"),
        ("GET", "/translate", b"", 405, "GET is not possible here; use POST"),
        ("PUT", "/health", b"", 405, "PUT is not possible here; use"),
        ("GET", "/../etc/passwd", b"", 404, "there is no such path; there are /, /health"),
    ],
)  # fmt: skip
def test_wrong_requests_get_one_sentence(address, method, path, body, status, sentence):
    answer = httpx.request(method, address + path, content=body, timeout=60)
    assert answer.status_code == status
    assert answer.json()["error"].startswith(sentence)
    assert set(answer.json()) == {"error"}


@pytest.mark.parametrize(
    "text",
    ["", "   \n\t", "😀 👨‍👩‍👧 🇨🇳", "\x00\x1b[31m\u202e", "\ud800 alone", "混合 mixed текст عربى",
     "a" * 2000, "中" * 2000, ". " * 900, "<|im_end|><to_en>", "<script>alert(1)</script>"],
)  # fmt: skip
def test_any_text_is_translated_somehow(address, text):
    # As clients write it: ASCII with escapes, which can even name half a character.
    answer = post(address, "/translate", content=json.dumps({"text": text}).encode("ascii"))
    assert answer.status_code == 200, answer.text
    assert isinstance(answer.json()["translation"], str)


def test_a_body_without_length_is_cut_off_too(address):
    def chunks():
        yield b'{"text": "'
        for _ in range(100):
            yield b"a" * 10_000

    answer = post(address, "/translate", content=chunks())
    assert answer.status_code == 413


def test_metrics_count_what_was_answered(address):
    before = httpx.get(f"{address}/metrics").text
    post(address, "/translate", json={"text": "2029年3月5日星期一"})
    after = httpx.get(f"{address}/metrics").text

    def count(text: str) -> int:
        found = re.search(r'requests_total\{path="/translate",status="200"\} (\d+)', text)
        return int(found[1]) if found else 0

    assert count(after) == count(before) + 1
    assert 'linguabridge_texts_total{direction="zh-en"}' in after


@pytest.mark.skipif(find_browser() is None, reason="no Chromium or Chrome on this machine")
def test_a_person_types_on_the_left_and_reads_on_the_right(address):
    async def visit():
        async with open_page(f"{address}/") as page:
            # The text field has the focus at once: type, and press Ctrl+Enter.
            await page.type("Where is the nearest hospital?")
            await page.press("Enter", control=True)
            await page.until("document.getElementById('target').value !== ''")
            assert await page.value("target.value") == "最近的医院在哪里？"
            assert await page.value("target.lang") == "zh"
            assert await page.value("element('found').textContent") == "English → Chinese"
            # The other way round, only with the keyboard: Escape, type, wait.
            await page.press("Escape")
            await page.until("target.value === ''")
            await page.type("2029年3月5日星期一")
            await page.until("target.value === 'Monday, March 5, 2029'")
            # Every control can be reached with Tab, and the page speaks Chinese, too.
            await page.press("Tab")
            assert await page.value("document.activeElement.id") == "go"
            await page.value("element('language').click()")
            assert await page.value("document.documentElement.lang") in ("zh", "en")
            labels = await page.value("element('go').textContent")
            assert labels in ("翻译", "Translate")
            # What the service refuses is shown as a sentence; text is never markup.
            await page.value("source.value = '<img src=x onerror=alert(1)>'.repeat(100)")
            await page.value("translate()")
            await page.until("element('status').classList.contains('bad')")
            assert "characters are too many" in await page.value("element('status').textContent")
            faults = [fault for fault in page.faults if "413" not in fault]
            assert faults == []

    asyncio.run(visit())


def test_sigterm_answers_what_is_under_way_and_ends_with_code_0():
    process, address = start()
    # Long enough that the signal comes while the model works.
    texts = [f"Where is the nearest hospital {n}?" for n in range(60)]

    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=60)
    connection.request("POST", "/translate/batch", json.dumps({"texts": texts}), HEADERS)
    httpx.get(f"{address}/health")  # came later, so the request before it has been taken
    process.send_signal(signal.SIGTERM)
    answer = connection.getresponse()
    assert answer.status == 200
    assert len(json.loads(answer.read())["translations"]) == 60
    connection.close()
    _, log = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "Traceback" not in log


# Ends itself in the moment between the line "serving …" and the server's start.
ENDED_AT_ITS_FIRST_LINE = """
import logging, os, signal, sys
from src.cli import main

class End(logging.Handler):
    def emit(self, record):
        if record.getMessage().startswith("serving "):
            os.kill(os.getpid(), signal.{name})

logging.getLogger("src.serving.server").addHandler(End())
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_before_the_first_request_ends_it_too(name):
    result = subprocess.run(
        [sys.executable, "-c", ENDED_AT_ITS_FIRST_LINE.replace("{name}", name),
         "serve", "--model", str(MODEL), "--port", "0"],
        cwd=ROOT, capture_output=True, check=False, text=True, timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert result.stderr.rstrip().endswith("stopped")


def test_a_taken_port_is_one_sentence(address):
    port = address.rpartition(":")[2]
    result = subprocess.run(
        [sys.executable, "run.py", "serve", "--model", str(MODEL), "--port", port],
        cwd=ROOT, capture_output=True, check=False, text=True,
    )  # fmt: skip
    assert result.returncode == 2
    assert result.stderr == (
        f"serve: serving.host=127.0.0.1 serving.port={port} is in use; choose another with --port\n"
    )
