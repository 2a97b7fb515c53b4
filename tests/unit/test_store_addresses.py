"""Addresses of stores and who speaks to them: what is understood, and one sentence for the rest."""

from __future__ import annotations

import importlib
import itertools
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.checkpoint.stores.open import open_store
from src.checkpoint.stores.oss import find_endpoint
from src.checkpoint.stores.oss_credentials import RoleCredentials, credentials_provider
from src.checkpoint.stores.store import (
    BEST,
    CHECKPOINT,
    FINAL,
    Stored,
    newest_line,
    parse_stored,
    stored_as,
    surplus,
)
from src.checkpoint.stores.transfer import Transfer
from src.checkpoint.stores.url import is_store_address, parse_store_url
from src.errors import ConfigError, StoreError
from tests.fakes.local_server import QuietHandler, serving

KEYS = (
    "OSS_ACCESS_KEY_ID",
    "OSS_ACCESS_KEY_SECRET",
    "OSS_SESSION_TOKEN",
    "ALIBABA_CLOUD_ACCESS_KEY_ID",
    "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
    "ALIBABA_CLOUD_SECURITY_TOKEN",
    "ALIBABA_CLOUD_ECS_METADATA",
    "OSS_ENDPOINT",
    "OSS_REGION",
)


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch):
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("text", "parts", "said"),
    [
        ("oss://b/a/run", ("oss", "b", "a/run", ""), "oss://b/a/run"),
        ("oss:/b/run?network=internal", ("oss", "b", "run", ""), "oss://b/run"),
        ("s3://b", ("s3", "b", "", ""), "s3://b"),
        ("hf://user/model", ("hf", "user/model", "", ""), "hf://user/model"),
        ("hf://u/m@v1/sub?every=5", ("hf", "u/m", "sub", "v1"), "hf://u/m@v1/sub"),
        ("file:///mnt/nas/run/", ("file", "", "/mnt/nas/run", ""), "/mnt/nas/run"),
        ("/mnt/nas/run", ("file", "", "/mnt/nas/run", ""), "/mnt/nas/run"),
        ("models/run", ("file", "", "models/run", ""), "models/run"),
    ],
)
def test_address_is_taken_apart_and_said_without_its_options(text, parts, said):
    url = parse_store_url(text)
    assert (url.scheme, url.bucket, url.prefix, url.revision) == parts
    assert str(url) == said
    assert parse_store_url(url.address) == url
    assert parse_store_url(str(Path(text))) == url  # as an argument of a command comes in


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("gs://b/run", r"there is no checkpoint store gs://; use file://, oss://, s3://, hf://"),
        ("oss:///run", "names no bucket"),
        ("file://", "'file://' names no folder"),
        ("file:///", "names no folder"),
        ("/", "'/' names no folder"),
        ("oss://b/run?netwrok=internal", "no option 'netwrok'; there are: region, network"),
        ("oss://b/run?network=fast", "network='fast' in a oss:// address; it is internal|public"),
        ("hf://model", "is hf://USER/MODEL"),
        ("hf://u/m?every=0", "every='0'"),
    ],
)
def test_wrong_address_is_one_sentence(text, sentence):
    with pytest.raises(ConfigError, match=sentence.replace("|", r"\|").replace("?", r"\?")):
        parse_store_url(text)


@pytest.mark.parametrize("scheme", ["oss", "s3"])
def test_credentials_in_an_address_are_refused_and_not_repeated(scheme):
    with pytest.raises(ConfigError, match="never credentials") as caught:
        parse_store_url(f"{scheme}://canary-id:canary-secret@bucket/run")
    assert "canary" not in str(caught.value)


def test_paths_are_no_addresses():
    for text in ("auto", "/a/b", "./a", "C:\\models", "a/b:c"):
        assert not is_store_address(text)
    assert is_store_address("nonsense://x")


@pytest.mark.parametrize(
    ("address", "environment", "expected"),
    [
        ("oss://b/r?region=cn-hangzhou", {}, "https://oss-cn-hangzhou.aliyuncs.com"),
        (
            "oss://b/r?region=cn-hangzhou&network=internal",
            {},
            "https://oss-cn-hangzhou-internal.aliyuncs.com",
        ),
        ("oss://b/r", {"OSS_REGION": "cn-beijing"}, "https://oss-cn-beijing.aliyuncs.com"),
        (
            "oss://b/r?network=internal",
            {"OSS_ENDPOINT": "oss-cn-beijing.aliyuncs.com"},
            "https://oss-cn-beijing-internal.aliyuncs.com",
        ),
        (
            "oss://b/r",
            {"OSS_ENDPOINT": "https://oss-cn-beijing-internal.aliyuncs.com"},
            "https://oss-cn-beijing-internal.aliyuncs.com",
        ),
        (
            "oss://b/r?region=cn-shanghai",
            {"OSS_ENDPOINT": "oss-cn-beijing.aliyuncs.com"},
            "https://oss-cn-shanghai.aliyuncs.com",
        ),
        ("oss://b/r", {"OSS_ENDPOINT": "http://127.0.0.1:8000"}, "http://127.0.0.1:8000"),
    ],
)
def test_endpoint_comes_from_the_address_then_from_the_environment(
    monkeypatch, address, environment, expected
):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    endpoint, region = find_endpoint(parse_store_url(address))
    assert endpoint == expected
    assert (region is None) == ("127.0.0.1" in expected)
    if region:
        assert f"oss-{region}" in endpoint


def test_bucket_without_a_region_or_a_key_is_one_sentence(monkeypatch):
    with pytest.raises(ConfigError, match="in which region is the bucket\\? Set OSS_REGION"):
        open_store("oss://bucket/run")
    monkeypatch.setenv("OSS_REGION", "cn-hangzhou")
    with pytest.raises(ConfigError, match="oss:// needs an access key: set ALIBABA_CLOUD_ACCESS"):
        open_store("oss://bucket/run")
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "canary")
    with pytest.raises(ConfigError, match="KEY_SECRET is set but ALIBABA_CLOUD_ACCESS_KEY_ID is"):
        open_store("oss://bucket/run")


def test_s3_without_its_package_says_what_to_install(monkeypatch):
    real = importlib.import_module

    def without_s3fs(name, package=None):
        if name == "s3fs":
            raise ModuleNotFoundError(name)
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", without_s3fs)
    with pytest.raises(ConfigError, match=r"s3:// needs the package s3fs.*pip install s3fs"):
        open_store("s3://bucket/run")


class _Metadata(QuietHandler):
    """Hands out the credentials of one role, to those with a token only."""

    asked = 0

    def do_PUT(self) -> None:
        assert self.headers["X-aliyun-ecs-metadata-token-ttl-seconds"]
        self.reply(200, "metadata-token")

    def do_GET(self) -> None:
        type(self).asked += 1
        if self.headers["X-aliyun-ecs-metadata-token"] != "metadata-token":
            self.reply(401, "no token")
        elif not self.path.endswith("/ram/security-credentials/trainer"):
            self.reply(404, "no such role")
        else:
            self.reply(
                200,
                '{"AccessKeyId": "STS.id", "AccessKeySecret": "canary", "SecurityToken": "token",'
                ' "Expiration": "2029-03-05T06:00:00Z", "Code": "Success"}',
            )


def test_role_gives_keys_and_renews_them_before_they_end():
    now = datetime(2029, 3, 5, tzinfo=timezone.utc)
    _Metadata.asked = 0
    with serving(_Metadata) as address:
        provider = RoleCredentials("trainer", address, clock=lambda: now)
        for _ in range(3):
            assert provider.get_credentials().get_access_key_id() == "STS.id"
        assert _Metadata.asked == 1
        now += timedelta(hours=5, minutes=51)
        provider.get_credentials()
        assert _Metadata.asked == 2
        with pytest.raises(StoreError, match="no credentials of the RAM role 'other'"):
            RoleCredentials("other", address).get_credentials()
    assert "canary" not in repr(provider)


def test_key_in_the_environment_counts_before_the_role(monkeypatch):
    monkeypatch.setenv("ALIBABA_CLOUD_ECS_METADATA", "trainer")
    assert isinstance(credentials_provider(), RoleCredentials)
    monkeypatch.setenv("OSS_ACCESS_KEY_ID", " id\n")
    monkeypatch.setenv("OSS_ACCESS_KEY_SECRET", "secret")
    assert credentials_provider().get_credentials().get_access_key_id() == "id"


def test_progress_says_how_much_how_fast_and_how_long_still():
    times = iter((0.0, 2.0, 2.0))
    transfer = Transfer("restoring x", 4 * 2**20, is_logged=False, clock=lambda: next(times))
    transfer.add(2**20)
    assert str(transfer) == "restoring x: 1.0 MiB of 4.0 MiB  512.0 KiB/s  6.0 s left"


stored_folders = st.lists(
    st.builds(
        stored_as,
        st.sampled_from([CHECKPOINT, BEST, FINAL]),
        st.integers(0, 20),
        st.integers(1, 4),
    ),
    unique=True,
)


@given(stored_folders)
def test_names_go_both_ways(folders: list[Stored]) -> None:
    for stored in folders:
        assert parse_stored(stored.name) == stored
    assert parse_stored("checkpoint-00000001") is None


@given(stored_folders)
def test_line_goes_back_in_steps_and_never_to_a_later_writer(folders: list[Stored]) -> None:
    line = newest_line(folders)
    for newer, older in itertools.pairwise(line):
        assert older.step < newer.step
        assert older.generation <= newer.generation
    checkpoints = [each for each in folders if each.kind == CHECKPOINT]
    assert (line[0] == max(checkpoints)) if checkpoints else line == []


@given(stored_folders, st.integers(1, 4))
def test_rotation_keeps_the_last_in_the_order_of_the_run(
    folders: list[Stored], keep_last: int
) -> None:
    gone = surplus(folders, keep_last=keep_last)
    left = [each for each in folders if each not in gone]
    for kind in (CHECKPOINT, BEST, FINAL):
        ordered = sorted(each for each in folders if each.kind == kind)
        kept = keep_last if kind == CHECKPOINT else 1
        assert sorted(each for each in left if each.kind == kind) == ordered[-kept:]
