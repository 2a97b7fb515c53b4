"""The service's parts: the batching queue, the rate limit, the metrics, the answers under load."""

from __future__ import annotations

import asyncio
import re
from concurrent.futures import CancelledError
from threading import Event

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.errors import ConfigError
from src.evaluation.translation import Translation
from src.schema import ServingConfig
from src.serving.app import build_app
from src.serving.batcher import Batcher, TooBusy
from src.serving.limits import RateLimit
from src.serving.metrics import Metrics
from src.serving.page import load_page
from src.serving.service import choose_directions

DIRECTIONS = ("en-zh", "zh-en")


class Recorder:
    """Translates by turning text round, loses something of 你好, refuses the word "poison".

    Waits where it is told to.
    """

    name = "recorder"
    directions = DIRECTIONS

    def __init__(self) -> None:
        self.batches: list[tuple[str, list[str]]] = []
        self.started, self.may_go_on = Event(), Event()
        self.may_go_on.set()

    def directions_for(self, texts, direction):
        return choose_directions(texts, direction, DIRECTIONS)

    def translate(self, texts, direction):
        self.started.set()
        assert self.may_go_on.wait(30)
        self.batches.append((direction, list(texts)))
        if "poison" in texts:
            raise ValueError("poisoned")
        return [Translation(text[::-1], ("lost",) * (text == "你好")) for text in texts]


def said(answer):
    """The texts of an answer."""
    return [translation.text for translation in answer.result(30)]


def make(recorder: Recorder, **changes) -> Batcher:
    settings = {"max_waiting": 8, "max_texts": 4, "wait_seconds": 0.0, **changes}
    return Batcher(recorder.translate, **settings)


def blocked(recorder: Recorder, **changes) -> Batcher:
    """A batcher whose thread is held in the translation of "first"."""
    recorder.may_go_on.clear()
    batcher = make(recorder, **changes)
    batcher.submit(["first"], "en-zh")
    assert recorder.started.wait(30)
    return batcher


def test_what_waits_together_is_translated_together():
    recorder = Recorder()
    batcher = blocked(recorder)
    jobs = [batcher.submit([f"{n}a", f"{n}b"], "en-zh") for n in range(3)]
    recorder.may_go_on.set()
    assert [said(job) for job in jobs] == [["a0", "b0"], ["a1", "b1"], ["a2", "b2"]]
    assert [texts for _, texts in recorder.batches] == [
        ["first"], ["0a", "0b", "1a", "1b"], ["2a", "2b"],
    ]  # fmt: skip
    assert batcher.close(30)


def test_directions_are_not_mixed():
    recorder = Recorder()
    batcher = blocked(recorder)
    one, two = batcher.submit(["ab"], "en-zh"), batcher.submit(["cd"], "zh-en")
    recorder.may_go_on.set()
    assert (said(one), said(two)) == (["ba"], ["dc"])
    assert recorder.batches[1:] == [("en-zh", ["ab"]), ("zh-en", ["cd"])]
    batcher.close(30)


def test_a_full_queue_refuses_and_says_when_to_come_back():
    recorder = Recorder()
    batcher = blocked(recorder, max_waiting=2)
    waiting = [batcher.submit(["x"], "en-zh") for _ in range(2)]
    with pytest.raises(TooBusy) as caught:
        batcher.submit(["y"], "en-zh")
    assert caught.value.retry_seconds >= 1
    recorder.may_go_on.set()
    assert [said(job) for job in waiting] == [["x"], ["x"]]
    batcher.close(30)


def test_one_bad_text_does_not_harm_its_neighbours_nor_the_thread():
    recorder = Recorder()
    batcher = blocked(recorder)
    jobs = [batcher.submit([text], "en-zh") for text in ("ab", "poison", "cd")]
    recorder.may_go_on.set()
    assert said(jobs[0]) == ["ba"]
    assert said(jobs[2]) == ["dc"]
    with pytest.raises(ValueError, match="poisoned"):
        jobs[1].result(30)
    assert said(batcher.submit(["ef"], "en-zh")) == ["fe"]
    batcher.close(30)


def test_who_has_left_is_not_translated_for():
    recorder = Recorder()
    batcher = blocked(recorder)
    gone, there = batcher.submit(["gone"], "en-zh"), batcher.submit(["there"], "en-zh")
    assert gone.cancel()
    recorder.may_go_on.set()
    assert said(there) == ["ereht"]
    assert recorder.batches[1:] == [("en-zh", ["there"])]
    with pytest.raises(CancelledError):
        gone.result(0)
    batcher.close(30)


def test_closing_answers_what_waits_and_takes_nothing_new():
    recorder = Recorder()
    batcher = blocked(recorder)
    waiting = batcher.submit(["last"], "en-zh")
    assert not batcher.close(0.0)
    with pytest.raises(TooBusy):
        batcher.submit(["late"], "en-zh")
    recorder.may_go_on.set()
    assert batcher.close(30)
    assert waiting.done()
    assert said(waiting) == ["tsal"]
    assert not batcher.is_alive


def test_rate_limit_gives_a_burst_then_the_rate():
    now = 0.0
    limit = RateLimit(60, lambda: now)
    assert [limit.seconds_to_wait("a") for _ in range(16)] == [0] * 15 + [1]
    assert limit.seconds_to_wait("b") == 0
    now = 2.0
    assert [limit.seconds_to_wait("a") for _ in range(3)] == [0, 0, 1]


@given(
    st.integers(1, 600),
    st.lists(st.floats(0.0, 5.0, allow_nan=False), min_size=1, max_size=80),
)
def test_nobody_gets_more_than_burst_and_rate_allow_and_waiting_helps(per_minute, pauses):
    now = 0.0
    limit = RateLimit(per_minute, lambda: now)
    allowed = 0
    for pause in pauses:
        now += pause
        wait = limit.seconds_to_wait("a")
        allowed += wait == 0
        if wait:
            now += wait
            assert limit.seconds_to_wait("a") == 0
            allowed += 1
    assert allowed <= max(1.0, per_minute / 4) + per_minute / 60 * now + 1e-6


def test_metrics_are_prometheus_text():
    metrics = Metrics(lambda: 3)
    metrics.request("/translate", 200, 0.03)
    metrics.request("/translate", 200, 400.0)
    metrics.request("/translate", 413, 0.001)
    metrics.translated("en-zh", 2, 50)
    metrics.batch(2, 0.02)
    lines = metrics.render().splitlines()
    sample = re.compile(r'[a-z_]+(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? [0-9.]+')
    assert all(line.startswith("# ") or sample.fullmatch(line) for line in lines)
    assert 'linguabridge_requests_total{path="/translate",status="200"} 2' in lines
    assert 'linguabridge_characters_total{direction="en-zh"} 50' in lines
    assert "linguabridge_waiting_requests 3" in lines
    assert 'linguabridge_request_seconds_bucket{le="0.05"} 2' in lines
    assert 'linguabridge_request_seconds_bucket{le="60"} 2' in lines
    assert 'linguabridge_request_seconds_bucket{le="+Inf"} 3' in lines
    assert "linguabridge_request_seconds_count 3" in lines


def test_direction_is_the_wish_the_only_one_or_by_script():
    assert choose_directions(["你好", "hello"], None, DIRECTIONS) == ["zh-en", "en-zh"]
    assert choose_directions(["hello"], "zh-en", DIRECTIONS) == ["zh-en"]
    assert choose_directions(["hello"], None, ("zh-en",)) == ["zh-en"]
    with pytest.raises(ConfigError, match="'en-fr' is not known; use one of en-zh, zh-en"):
        choose_directions(["hello"], "en-fr", DIRECTIONS)
    with pytest.raises(ConfigError, match="does not tell its direction"):
        choose_directions(["hello"], None, ("en-zh", "fr-zh"))


def test_page_loads_nothing_and_lets_only_its_own_script_run():
    page = load_page(DIRECTIONS)
    assert "http://" not in page.content
    assert "https://" not in page.content
    assert '"en-zh"' in page.content
    policy = page.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert policy.count("'sha256-") == 2


def ask(recorder: Recorder, settings: ServingConfig, batcher: Batcher, calls):
    """Runs coroutines of an HTTP client against the application."""

    async def run():
        app = build_app(recorder, batcher, Metrics(lambda: batcher.waiting), settings)
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            return await calls(client)

    return asyncio.run(run())


def test_a_full_queue_is_status_503_with_retry_after_and_the_rest_is_answered():
    recorder = Recorder()
    batcher = blocked(recorder, max_waiting=1)

    async def calls(client):
        waiting = asyncio.create_task(client.post("/translate", json={"text": "ab"}))
        while batcher.waiting == 0:
            await asyncio.sleep(0)
        refused = await client.post("/translate", json={"text": "cd"})
        health = await client.get("/health")
        recorder.may_go_on.set()
        return refused, health, await waiting

    refused, health, answered = ask(recorder, ServingConfig(), batcher, calls)
    assert refused.status_code == 503
    assert int(refused.headers["Retry-After"]) >= 1
    assert "too many requests are waiting" in refused.json()["error"]
    assert health.json() == {
        "status": "ok", "model": "recorder", "directions": list(DIRECTIONS), "waiting": 1,
    }  # fmt: skip
    assert answered.json() == {"direction": "en-zh", "translation": "ba", "warnings": []}
    batcher.close(30)


def test_no_answer_in_time_is_status_503():
    recorder = Recorder()
    batcher = blocked(recorder)

    async def calls(client):
        return await client.post("/translate", json={"text": "ab"})

    late = ask(recorder, ServingConfig(timeout_seconds=0.05), batcher, calls)
    assert late.status_code == 503
    assert late.json()["error"] == ("no answer within 0.05 s; send less text or try again later")
    recorder.may_go_on.set()
    batcher.close(30)


def test_rate_limit_is_status_429_and_spares_health():
    recorder = Recorder()
    batcher = make(recorder)

    async def calls(client):
        first = await client.post("/translate", json={"text": "ab"})
        second = await client.post("/translate", json={"text": "ab"})
        return first, second, await client.get("/health")

    settings = ServingConfig(requests_per_minute=1)
    first, second, health = ask(recorder, settings, batcher, calls)
    assert [first.status_code, second.status_code, health.status_code] == [200, 429, 200]
    assert 55 <= int(second.headers["Retry-After"]) <= 60
    batcher.close(30)


def test_an_error_of_the_model_is_status_500_without_its_text():
    recorder = Recorder()
    batcher = make(recorder)

    async def calls(client):
        failed = await client.post("/translate", json={"text": "poison"})
        return failed, await client.post("/translate", json={"text": "ab"})

    failed, after = ask(recorder, ServingConfig(), batcher, calls)
    assert failed.status_code == 500
    assert failed.json() == {"error": "the service failed at this request; its log says why"}
    assert after.status_code == 200
    batcher.close(30)


def test_a_batch_of_both_directions_keeps_its_order():
    recorder = Recorder()
    batcher = make(recorder)

    async def calls(client):
        return await client.post("/translate/batch", json={"texts": ["ab", "你好", "cd"]})

    answer = ask(recorder, ServingConfig(), batcher, calls).json()["translations"]
    assert answer == [
        {"direction": "en-zh", "translation": "ba", "warnings": []},
        {"direction": "zh-en", "translation": "好你", "warnings": ["lost"]},
        {"direction": "en-zh", "translation": "dc", "warnings": []},
    ]
    batcher.close(30)
