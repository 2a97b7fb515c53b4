"""One contract for the four stores: real SDKs against local servers, and a network that fails."""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import huggingface_hub.constants
import pytest

from src.checkpoint.format import verify_folder, write_folder
from src.checkpoint.store import step_name
from src.checkpoint.stores.store import BEST, CHECKPOINT, FINAL, Fenced, Store
from src.errors import CheckpointCorrupt, CheckpointError, StoreError
from src.retry import Retry
from tests.fakes.checkpoint_content import MODEL, documents_of, tensors_of
from tests.fakes.faulty_proxy import Fault, flipped
from tests.fakes.object_storage_buckets import FakeBucket, md5
from tests.fakes.store_services import SMALL, Service, services

SCHEMES = ["file", "oss", "s3", "hf"]
REMOTE = ["oss", "s3", "hf"]
IN_BUCKETS = ["file", "oss", "s3"]


@pytest.fixture(scope="module")
def all_services(tmp_path_factory) -> Iterator[dict[str, Service]]:
    with services(tmp_path_factory.mktemp("stores")) as found:
        yield found


@pytest.fixture
def service(request, all_services, monkeypatch) -> Iterator[Service]:
    found = all_services[request.param]
    for name, value in found.environment.items():
        monkeypatch.setenv(name, value)
    # The library has read the environment when it was imported.
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    if found.hub:
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", found.environment["HF_ENDPOINT"])
    yield found
    if found.proxy:
        found.proxy.faults.clear()
        found.proxy.is_dead = False


def on(schemes: list[str]):
    return pytest.mark.parametrize("service", schemes, indirect=True)


@pytest.fixture
def write(tmp_path) -> Callable[..., Path]:
    """Writes the checkpoint of a step; its two large files are sent in parts."""

    def write_step(step: int, elements: int = 80_000, run: str = "run") -> Path:
        folder: Path = tmp_path / run / step_name(step)
        folder.parent.mkdir(exist_ok=True)
        write_folder(
            folder,
            step=step,
            tensors=tensors_of(step, elements=elements),
            documents=documents_of(step),
            facts={},
        )
        return folder

    return write_step


def put(store: Store, folder: Path, kind: str = CHECKPOINT) -> None:
    store.put(folder, kind, lambda count: None)


def restored_step(store: Store, folder: Path) -> int:
    """Restores the newest checkpoint and tells which step all its bytes are of."""
    newest = [each for each in store.list() if each.kind == CHECKPOINT][-1]
    store.fetch(newest, folder)
    verify_folder(folder)
    assert not folder.with_name(folder.name + ".partial").exists()
    assert all(len(array) for array in verify_folder(folder).files)
    return int(json.loads((folder / "state.json").read_text())["step"])


@on(SCHEMES)
def test_what_was_put_is_listed_verified_and_restored_byte_for_byte(service, write, tmp_path):
    store = service.store()
    store.claim(None)
    sent: list[int] = []
    for step in (5, 10):
        store.put(write(step), CHECKPOINT, sent.append)
    put(store, tmp_path / "run" / step_name(5), BEST)
    put(store, tmp_path / "run" / step_name(10), FINAL)
    written = [verify_folder(tmp_path / "run" / step_name(step)) for step in (5, 10)]
    assert sum(sent) == sum(manifest.total_bytes for manifest in written)
    again = service.store(service.address)
    listed = sorted((each.kind, each.step) for each in again.list())
    assert listed == [(BEST, 5), (CHECKPOINT, 5), (CHECKPOINT, 10), (FINAL, 10)]
    for stored in again.list():
        assert again.verify(stored).step == stored.step
        again.fetch(stored, tmp_path / "back" / stored.local_name)
        original = tmp_path / "run" / step_name(stored.step)
        for path in original.iterdir():
            assert (tmp_path / "back" / stored.local_name / path.name).read_bytes() == (
                path.read_bytes()
            )


@on(SCHEMES)
def test_store_that_was_never_used_holds_nothing(service):
    assert list(service.store().list()) == []


@on(SCHEMES)
def test_damaged_local_file_is_refused_and_nothing_appears(service, write):
    store = service.store()
    store.claim(None)
    folder = write(5)
    data = bytearray((folder / MODEL).read_bytes())
    data[-1] ^= 1
    (folder / MODEL).write_bytes(data)
    with pytest.raises(CheckpointCorrupt, match=f"{MODEL} has .* its manifest says"):
        put(store, folder)
    assert list(store.list()) == []


@on(SCHEMES)
def test_file_that_vanishes_below_an_upload_is_an_error_and_nothing_appears(service, write):
    store = service.store()
    store.claim(None)
    folder = write(5)
    (folder / MODEL).unlink()
    with pytest.raises(FileNotFoundError):
        put(store, folder)
    assert list(store.list()) == []


@on(IN_BUCKETS)
def test_rotation_keeps_the_last_ones_the_best_and_the_final(service, write):
    store = service.store()
    store.claim(None)
    for step in (1, 2, 3, 4):
        put(store, write(step, 160))
    for step in (1, 3):
        put(store, write(step, 160), BEST)
    put(store, write(2, 160), FINAL)
    gone = store.rotate(keep_last=2)
    assert [(each.kind, each.step) for each in gone] == [
        (BEST, 1),
        (CHECKPOINT, 1),
        (CHECKPOINT, 2),
    ]
    left = sorted((each.kind, each.step) for each in store.list())
    assert left == [(BEST, 3), (CHECKPOINT, 3), (CHECKPOINT, 4), (FINAL, 2)]
    for stored in store.list():
        store.delete(stored)
    assert list(store.list()) == []


@on(["oss", "s3"])
def test_best_and_final_are_copied_within_the_store(service, write, tmp_path):
    """Large files in parts, others whole; none of their bytes are sent again."""
    store = service.store()
    store.claim(None)
    folders = [write(5, 80_000), write(6, 48_000)]
    for folder in folders:
        put(store, folder)
    sent = service.proxy.bytes_received
    reported: list[int] = []
    for folder, kind in zip(folders, (BEST, FINAL), strict=True):
        store.put(folder, kind, reported.append)
    assert service.proxy.bytes_received - sent < 20_000
    assert sum(reported) == sum(verify_folder(folder).total_bytes for folder in folders)
    for stored in store.list():
        store.verify(stored)
        store.fetch(stored, tmp_path / "back" / stored.name)
    store.rotate(keep_last=1)
    assert store._bucket.pending(service.address.split("bucket/")[1] + "/") == []


@on(["oss", "s3"])
@pytest.mark.parametrize(
    ("status", "code"),
    [
        (501, "NotImplemented"),
        (412, "PreconditionFailed"),
        (403, "AccessDenied"),
        (404, "NoSuchKey"),
    ],
)
def test_what_cannot_be_copied_is_sent(service, write, status, code):
    store = service.store()
    store.claim(None)
    folder = write(5)
    put(store, folder)
    body = f"<Error><Code>{code}</Code><Message>m</Message></Error>"
    sent = service.proxy.bytes_received
    service.proxy.faults = [
        Fault("answer", lambda method, path: method == "PUT" and MODEL in path, 1, status, body)
    ]
    put(store, folder, FINAL)
    assert service.proxy.faults[0].times == 0
    assert service.proxy.bytes_received - sent > 300_000  # one of the two large files
    for stored in store.list():
        store.verify(stored)


@on(["oss"])
def test_copy_that_came_out_damaged_is_taken_away_and_sent(service, write, monkeypatch):
    """The copy carries the right SHA-256, as its original does; only the service's CRC64 tells."""
    store = service.store()
    store.claim(None)
    folder = write(5)
    put(store, folder)
    bucket, keep = service.storage.buckets["bucket"], FakeBucket.put

    def keep_damaged(self, key, item, *, may_replace):
        if MODEL in key and "final-" in key and not damaged:
            damaged.append(key)
            item = replace(item, content=flipped(item.content))
        return keep(self, key, item, may_replace=may_replace)

    damaged: list[str] = []
    monkeypatch.setattr(FakeBucket, "put", keep_damaged)
    put(store, folder, FINAL)
    assert damaged[0] in bucket.objects
    for stored in store.list():
        store.verify(stored)


@on(["file"])
def test_best_and_final_are_hard_links_in_a_folder_store(service, write):
    store = service.store()
    store.claim(None)
    put(store, write(5))
    root = Path(service.address.removeprefix("file://"))
    put(store, write(5).parent / step_name(5), BEST)
    stored = root / "checkpoint-00000005.w0001" / MODEL
    assert stored.samefile(root / "best-00000005.w0001" / MODEL)
    stored.write_bytes(b"damaged" + stored.read_bytes()[7:])
    put(store, write(5).parent / step_name(5), FINAL)
    assert not stored.samefile(root / "final-00000005.w0001" / MODEL)
    assert [each.kind for each in store.list() if is_whole(store, each)] == [FINAL]


def is_whole(store: Store, stored) -> bool:
    try:
        store.verify(stored)
    except CheckpointCorrupt:
        return False
    return True


@on(["file"])
def test_drive_that_goes_away_is_neither_filled_nor_made_anew(service, write, tmp_path):
    store = service.store()
    assert store.claim(None) == 1
    put(store, write(5))
    root = Path(service.address.removeprefix("file://"))
    root.rename(tmp_path / "unplugged")
    with pytest.raises(StoreError, match="is not there any more; check that its drive is mounted"):
        put(store, write(6))
    again = service.store(service.address)
    with pytest.raises(
        StoreError, match="this run has saved in it before; check that its drive is mounted"
    ):
        again.claim(1)
    assert not root.exists()
    (tmp_path / "unplugged").rename(root)
    put(store, write(6))
    assert [each.step for each in store.list()] == [5, 6]


@on(["hf"])
def test_hub_keeps_milestones_in_one_commit_each(service, write):
    store = service.store("hf://user/milestones?every=10")
    assert [store.wants(CHECKPOINT, step) for step in (5, 10, 20)] == [False, True, True]
    assert store.wants(BEST, 3)
    assert store.wants(FINAL, 7)
    store.claim(None)
    put(store, write(10))
    put(store, write(3), BEST)
    put(store, write(10), BEST)
    branch = service.hub.repositories["user/milestones"].branches["main"]
    assert len(branch) == 1 + 1 + 3  # the empty one, the writer, one per folder
    assert list(store.rotate(keep_last=1)) == []
    sent = len(service.hub.bytes_received)
    put(store, write(10), FINAL)
    assert len(service.hub.bytes_received) == sent  # the same bytes are not sent again
    other = service.store("hf://user/milestones@side/sub")
    other.claim(None)
    put(other, write(4, 160), BEST)
    assert "sub/best/MANIFEST.json" in service.hub.files("user/milestones", "side")
    assert [each.step for each in service.store("hf://user/milestones@side/sub").list()] == [4]


@on(["hf"])
def test_hub_drops_the_line_that_a_run_has_left(service, write):
    store = service.store()
    store.claim(None)
    for step in (5, 9, 7):
        put(store, write(step, 160))
    assert [each.step for each in store.list()] == [5, 7]
    assert {each.generation for each in store.list()} == {1}


@on(SCHEMES)
def test_writer_that_was_superseded_commits_nothing_more(service, write):
    old = service.store()
    assert old.claim(None) == 1
    put(old, write(5, 160))
    new = service.store(service.address)
    assert new.claim(None) == 2
    with pytest.raises(Fenced, match="writer 2 has taken over from this one, number 1"):
        put(old, write(6, 160))
    assert [each.step for each in new.list()] == [5]
    put(new, write(6, 160))
    assert max(each.step for each in new.list()) == 6


@on(IN_BUCKETS)
def test_half_dead_writer_cannot_overwrite_its_successor(service, write, tmp_path):
    """The old writer passes every check, sleeps, and wakes after its successor has committed."""
    old = service.store()
    old.claim(None)
    new = service.store(service.address)
    slept: list[int] = []

    def sleep_through_everything(count: int) -> None:
        if not slept:
            slept.append(count)
            new.claim(None)
            put(new, write(7, 160, "successor"))

    with pytest.raises(Fenced):
        old.put(write(7, 90_000), CHECKPOINT, sleep_through_everything)
    with pytest.raises(Fenced):
        old.rotate(keep_last=1)
    newest = new.list()[-1]
    assert newest.generation == 2
    assert new.verify(newest).total_bytes < 10_000
    gone = new.rotate(keep_last=1)  # what the old one had sent goes, too
    assert list(gone) == []
    assert [each.name for each in new.list()] == ["checkpoint-00000007.w0002"]


@on(SCHEMES)
def test_writer_that_restarts_on_its_own_disk_keeps_its_number(service):
    store = service.store()
    first = store.claim(None)
    again = service.store(service.address)
    assert again.claim(first) == first
    assert again.claim(None) == first + 1
    assert service.store(service.address).claim(first) == first + 2


@on(REMOTE)
@pytest.mark.parametrize("kind", ["drop", "lose", "answer"])
def test_faults_of_the_network_are_waited_out(service, write, tmp_path, kind):
    """Every single request of a life fails once: before the server sees it, after, or with 503."""
    store = service.store()
    chance = random.Random(5)  # noqa: S311  not a secret
    service.proxy.faults = [
        Fault(kind, lambda method, path: chance.random() < 0.2, times=10**6, status=503)
    ]
    patient = replace(SMALL, retry=Retry(attempts=12, first_wait_seconds=0.0))
    store = service.store(service.address, patient)
    store.claim(None)
    for step in (5, 6):
        put(store, write(step))
    assert restored_step(store, tmp_path / "back") == 6
    assert len(store.list()) == 2


@on(["oss", "s3"])
@pytest.mark.parametrize("status", [500, 503, 429])
def test_busy_service_is_asked_a_bounded_number_of_times(service, status):
    store = service.store()
    seen = len(service.proxy.requests)
    service.proxy.faults = [Fault("answer", times=100, status=status)]
    with pytest.raises(StoreError, match="busy or failing") as caught:
        store.list()
    assert caught.value.is_temporary
    assert len(service.proxy.requests) - seen == SMALL.retry.attempts


@on(REMOTE)
def test_dead_network_ends_in_one_sentence(service):
    store = service.store()
    service.proxy.is_dead = True
    with pytest.raises(StoreError, match=r"cannot be reached.*; check the network") as caught:
        store.list()
    assert caught.value.is_temporary


@on(REMOTE)
def test_server_that_does_not_answer_is_given_up(service):
    service.proxy.faults = [Fault("hold", times=100)]
    hasty = replace(SMALL, read_seconds=0.2, retry=Retry(attempts=2, first_wait_seconds=0.0))
    store = service.store("", hasty)
    with pytest.raises(StoreError, match="cannot be reached"):
        store.list()
    service.proxy.released.set()


@on(REMOTE)
def test_bit_that_flips_on_the_way_there_is_noticed_and_sent_again(service, write, tmp_path):
    store = service.store()
    store.claim(None)
    large = {"oss": "partNumber=2", "s3": "partNumber=2", "hf": "lfs-blobs"}[service.scheme]
    service.proxy.faults = [
        Fault("damage", lambda method, path: method == "PUT" and large in path, times=1)
    ]
    put(store, write(77))  # bytes that the hub has not seen
    assert service.proxy.faults[0].times == 0
    assert restored_step(store, tmp_path / "back") == 77


@on(["oss"])
def test_damaged_part_whose_answer_was_lost_is_not_completed(service, write, tmp_path):
    """The part lies at the service, damaged; only its MD5 tells."""
    store = service.store()
    store.claim(None)
    bucket = service.storage.buckets["bucket"]

    def damage_first_part(count: int) -> None:
        if uploads := [upload for upload in bucket.uploads.values() if upload.parts]:
            for number, (content, _) in uploads[-1].parts.items():
                uploads[-1].parts[number] = (flipped(content), md5(flipped(content)))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.put(write(5), CHECKPOINT, damage_first_part)
    put(store, tmp_path / "run" / step_name(5))
    assert restored_step(store, tmp_path / "back") == 5


@on(REMOTE)
def test_bit_that_flips_on_the_way_back_is_noticed_and_asked_for_again(service, write, tmp_path):
    store = service.store()
    store.claim(None)
    put(store, write(5))
    service.proxy.faults = [
        Fault("spoil", lambda method, path: method == "GET" and MODEL in path, times=1)
    ]
    assert restored_step(store, tmp_path / "back") == 5
    assert service.proxy.faults[0].times == 0


@on(REMOTE)
def test_damage_at_rest_is_found_and_leaves_no_folder(service, write, tmp_path):
    store = service.store()
    store.claim(None)
    put(store, write(5))
    service.proxy.faults = [
        Fault("spoil", lambda method, path: method == "GET" and MODEL in path, times=100)
    ]
    stored = store.list()[-1]
    with pytest.raises(CheckpointError):
        store.verify(stored)
    with pytest.raises(CheckpointError):
        store.fetch(stored, tmp_path / "back" / "x")
    assert list((tmp_path / "back").iterdir()) == []


@on(["file"])
def test_damage_in_a_folder_store_is_named(service, write, tmp_path):
    store = service.store()
    store.claim(None)
    put(store, write(5))
    path = Path(service.address.removeprefix("file://")) / "checkpoint-00000005.w0001" / MODEL
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointCorrupt, match=f"w0001: {MODEL} has .* its manifest says"):
        store.verify(store.list()[0])
    path.unlink()
    with pytest.raises(CheckpointCorrupt, match=f"{MODEL} is missing"):
        store.fetch(store.list()[0], tmp_path / "back")


@on(["oss", "s3"])
def test_cut_off_upload_is_gone_on_with_by_a_new_process(service, write, tmp_path):
    """All parts but the last few are there already: they are not sent again."""
    store = service.store()
    first = store.claim(None)
    folder = write(5, 400_000)  # 13 parts in each of two files
    service.proxy.faults = [Fault("drop", lambda method, path: "partNumber=12" in path, times=100)]
    with pytest.raises(StoreError):
        put(store, folder)
    service.proxy.faults.clear()
    service.proxy.requests.clear()
    successor = service.store(service.address)
    successor.claim(first)
    put(successor, folder)
    sent = [path for method, path in service.proxy.requests if "partNumber" in path]
    assert len(sent) <= 2 + 13
    assert restored_step(successor, tmp_path / "back") == 5
    assert list(successor.rotate(keep_last=1)) == []


@on(["oss", "s3"])
def test_rotation_clears_what_dead_writers_left(service, write):
    store = service.store()
    store.claim(None)
    service.proxy.faults = [Fault("drop", lambda method, path: "partNumber=3" in path, times=100)]
    with pytest.raises(StoreError):
        put(store, write(5))
    service.proxy.faults.clear()
    successor = service.store(service.address)
    successor.claim(None)
    put(successor, write(6, 160))
    bucket = successor._bucket
    prefix = service.address.split("bucket/")[1] + "/"
    assert len(bucket.pending(prefix)) > 0
    successor.rotate(keep_last=1)
    assert bucket.pending(prefix) == []
    names = {key.split("/")[1] for key in bucket.list(prefix)}
    assert names == {"writers", "checkpoint-00000006.w0002"}


@on(REMOTE)
def test_expired_credentials_are_named_and_not_tried_again(service):
    answers = {
        "oss": (403, "<Error><Code>SecurityTokenExpired</Code><Message>m</Message></Error>"),
        "s3": (400, "<Error><Code>ExpiredToken</Code><Message>m</Message></Error>"),
        "hf": (401, "{}"),
    }
    status, body = answers[service.scheme]
    store = service.store()
    service.proxy.faults = [Fault("answer", times=100, status=status, body=body)]
    seen = len(service.proxy.requests)
    with pytest.raises(StoreError, match="token") as caught:
        store.list()
    assert not caught.value.is_temporary
    assert len(service.proxy.requests) - seen == 1


@on(["hf"])
def test_hub_that_allows_no_more_commits_is_tried_later(service, write, monkeypatch):
    store = service.store()
    store.claim(None)
    monkeypatch.setattr(service.hub, "commit_limit", 1)
    with pytest.raises(StoreError, match="allows no more commits") as caught:
        put(store, write(5, 160))
    assert caught.value.is_temporary


@on(SCHEMES)
def test_no_secret_is_written_anywhere(service, write, tmp_path, caplog, capfd):
    """Everything at DEBUG, with errors of every kind, is searched for the secrets."""
    caplog.set_level(logging.DEBUG)
    store = service.store()
    said = [repr(store), str(store)]
    store.claim(None)
    put(store, write(5))
    if service.proxy:
        for status in (400, 401, 403, 404, 500):
            service.proxy.faults = [Fault("answer", times=10**6, status=status, body="<Error/>")]
            for action in (store.list, lambda: store.claim(None), lambda: put(store, write(6))):
                with pytest.raises(Exception) as caught:  # noqa: PT011  whatever it is
                    action()
                said += [str(caught.value), repr(caught.value), str(caught.getrepr(chain=True))]
        service.proxy.faults.clear()
    store.fetch(store.list()[0], tmp_path / "back")
    said += [caplog.text, *capfd.readouterr()]
    said += [path.read_bytes().decode(errors="replace") for path in tmp_path.rglob("*.*")]
    secrets = [value for name, value in service.environment.items() if "SECRET" in name]
    secrets += [value for name, value in service.environment.items() if "TOKEN" in name]
    assert len(secrets) == (service.scheme != "file")
    for text in said:
        assert not [secret for secret in secrets if secret in text]
