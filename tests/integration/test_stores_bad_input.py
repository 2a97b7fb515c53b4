"""What people get wrong about their bucket: one sentence each, with what to do, and no secret."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants
import pytest

from src.checkpoint.format import write_folder
from src.checkpoint.store import step_name
from src.checkpoint.stores.open import open_store
from src.checkpoint.stores.store import CHECKPOINT
from src.errors import ConfigError, StoreError
from tests.fakes.checkpoint_content import documents_of, tensors_of
from tests.fakes.faulty_proxy import Fault
from tests.fakes.store_services import (
    OSS_KEY_ID,
    SECRETS,
    SMALL,
    Service,
    hub_service,
    oss_service,
    s3_service,
)


@pytest.fixture(scope="module")
def oss_running() -> Iterator[Service]:
    with oss_service() as found:
        yield found


@pytest.fixture
def oss(oss_running, monkeypatch) -> Iterator[Service]:
    for name, value in oss_running.environment.items():
        monkeypatch.setenv(name, value)
    yield oss_running
    oss_running.storage.clock_seconds, oss_running.storage.token = 0.0, ""


def refusal(address: str) -> str:
    """The sentence with which a store refuses to be claimed."""
    with pytest.raises(StoreError) as caught:
        open_store(address, SMALL).claim(None)
    text = str(caught.value)
    assert not caught.value.is_temporary
    assert "\n" not in text
    for secret in (*SECRETS.values(), OSS_KEY_ID, "canary"):
        assert secret not in text
    return text


def test_wrong_secret_and_wrong_key(oss, monkeypatch):
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "canary-wrong")
    assert "the secret does not belong to this access key; set the secret" in refusal(
        "oss://bucket/bad"
    )
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", "canary-unknown")
    assert "OSS does not know this access key; check" in refusal("oss://bucket/bad")


def test_newer_signature_is_used_where_the_region_is_known(oss, monkeypatch, tmp_path):
    monkeypatch.setenv("OSS_REGION", "cn-hangzhou")
    store = open_store("oss://bucket/中文 folder+", SMALL)
    store.claim(None)
    folder = tmp_path / step_name(1)
    write_folder(
        folder,
        step=1,
        tensors=tensors_of(1, elements=80_000),
        documents=documents_of(1),
        facts={},
    )
    store.put(folder, CHECKPOINT, lambda count: None)
    store.verify(store.list()[0])
    assert any("中文 folder+" in key for key in oss.storage.buckets["bucket"].objects)
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "canary-wrong")
    assert "the secret does not belong" in refusal("oss://bucket/bad")


def test_unknown_bucket(oss):
    assert "there is no bucket nowhere at http" in refusal("oss://nowhere/run")


def test_bucket_in_another_region_says_where_it_is(oss):
    oss.storage.make_bucket("abroad", endpoint="oss-cn-beijing.aliyuncs.com")
    text = refusal("oss://abroad/run")
    assert "but at oss-cn-beijing.aliyuncs.com: it is in another region" in text
    assert "set OSS_ENDPOINT to oss-cn-beijing.aliyuncs.com" in text


def test_bucket_that_keeps_versions_cannot_fence(oss):
    oss.storage.make_bucket("versions", keeps_versions=True)
    text = refusal("oss://versions/run")
    assert "two writers could not be told apart; use a bucket that never had versioning" in text


def test_clock_that_is_off(oss):
    oss.storage.clock_seconds = 3600.0
    assert "this machine's clock is 15 minutes off or more; set the clock" in refusal(
        "oss://bucket/run"
    )


def test_security_token_that_has_expired_is_named_and_a_new_one_works(oss, monkeypatch):
    oss.storage.token = "canary-token"
    monkeypatch.setenv("ALIBABA_CLOUD_SECURITY_TOKEN", "canary-old")
    assert "it has expired, or belongs to another key; set a new key" in refusal("oss://bucket/sts")
    monkeypatch.setenv("ALIBABA_CLOUD_SECURITY_TOKEN", "canary-token")
    assert open_store("oss://bucket/sts", SMALL).claim(None) == 1


def test_s3_without_credentials_and_with_an_unknown_bucket(monkeypatch):
    with s3_service() as service:
        for name, value in service.environment.items():
            monkeypatch.setenv(name, value)
        assert "there is no bucket nowhere; make it" in refusal("s3://nowhere/run")
        answers = {
            "InvalidAccessKeyId": "S3 does not know this access key; check AWS_ACCESS_KEY_ID",
            "SignatureDoesNotMatch": "the secret does not belong to this access key",
            "AccessDenied": "may not do that in bucket bucket; grant it",
            "RequestTimeTooSkewed": "clock is 15 minutes off or more; set the clock",
            "AuthorizationHeaderMalformed": "is in another region than the one asked; set AWS_",
        }
        assert service.proxy
        for code, sentence in answers.items():
            body = f"<Error><Code>{code}</Code><Message>canary</Message></Error>"
            service.proxy.faults = [Fault("answer", times=9, status=403, body=body)]
            assert sentence in refusal("s3://bucket/run")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
        assert "s3:// needs an access key; set AWS_ACCESS_KEY_ID" in refusal("s3://bucket/run")


def test_hub_without_a_token_or_while_offline(monkeypatch):
    with hub_service() as service:
        monkeypatch.setenv("HF_TOKEN", "hf_canarywrong")
        monkeypatch.setattr(
            huggingface_hub.constants, "ENDPOINT", service.environment["HF_ENDPOINT"]
        )
        assert "while HF_HUB_OFFLINE is set; unset it" in refusal("hf://user/model")
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        assert "does not accept the token for hf://user/model, or there is none; set HF_TOKEN" in (
            refusal("hf://user/model")
        )


@pytest.mark.parametrize("name", ["My_Bucket", "ab", "-bucket", "b" * 64])
def test_name_that_no_bucket_can_have(oss, monkeypatch, name):
    with pytest.raises(ConfigError, match=r"cannot be the name of a bucket, which has 3 to 63"):
        open_store(f"oss://{name}/run", SMALL)


@pytest.mark.parametrize("endpoint", ["https://oss cn", "https://host/path", "http://:80"])
def test_endpoint_that_is_no_address(oss, monkeypatch, endpoint):
    monkeypatch.setenv("OSS_ENDPOINT", endpoint)
    with pytest.raises(ConfigError, match=r"cannot be the address of OSS; write OSS_ENDPOINT as"):
        open_store("oss://bucket/run", SMALL)


def test_names_that_s3_and_the_hub_cannot_have(monkeypatch):
    with s3_service() as service:
        for name, value in service.environment.items():
            monkeypatch.setenv(name, value)
        assert "'a b' cannot be the name of a bucket" in refusal("s3://a b/run")
        monkeypatch.setenv("AWS_PROFILE", "nobody")
        assert "AWS_PROFILE names a profile" in refusal("s3://bucket/run")
    assert "cannot be a model repository" in refusal("hf://user/a--b")


@pytest.mark.parametrize("below", ["", "/sub", "/sub/run"])
def test_file_in_the_place_of_a_store_is_refused_for_good(tmp_path: Path, below: str):
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    store = open_store(f"{tmp_path}/file{below}", SMALL)
    with pytest.raises(StoreError, match=r"/file is a file, not a folder; set .* to a") as caught:
        store.list()
    assert not caught.value.is_temporary
    with pytest.raises(StoreError, match="is a file, not a folder") as caught:
        store.claim(None)
    assert (tmp_path / "file").read_text(encoding="utf-8") == "mine"


def test_drive_that_is_not_mounted_is_not_taken_for_an_empty_store(tmp_path: Path):
    store = open_store(f"file://{tmp_path}/mnt/nas/run", SMALL)
    with pytest.raises(
        StoreError, match=r"there is no folder .*/mnt/nas; check that its drive is mounted"
    ):
        store.list()
    assert not (tmp_path / "mnt").exists()
