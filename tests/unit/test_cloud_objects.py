"""What controller and instances tell each other through, on a folder and on OSS."""

from dataclasses import replace

import pytest

from src.cloud.objects import Objects, below, machine_address
from src.cloud.run_state import End, Launch, RunRecord, RunState, Status, client_token
from src.errors import CloudError, ConfigError, StoreError
from tests.fakes.object_storage import ObjectStorage

RECORD = RunRecord("r", "abcd1234", 1.0, ("teacher",), "program-1.tar.gz", "00")


@pytest.fixture
def storage(monkeypatch):
    monkeypatch.setenv("OSS_ACCESS_KEY_ID", "key-id")
    monkeypatch.setenv("OSS_ACCESS_KEY_SECRET", "key-secret")
    storage = ObjectStorage()
    storage.make_bucket("training")
    with storage.serve() as address:
        yield storage, address


@pytest.fixture(params=["file", "oss"])
def address(request, tmp_path):
    if request.param == "file":
        (tmp_path / "shared").mkdir()
        return f"file://{tmp_path}/shared"
    _, endpoint = request.getfixturevalue("storage")
    return f"oss://training/some/place?endpoint={endpoint}"


@pytest.fixture
def objects(address):
    return Objects(address)


def test_objects_come_back_and_go_away(objects):
    assert objects.get("runs/a/x") is None
    objects.put("runs/a/x", b"1")
    objects.put("runs/a/x", b"2")
    objects.put("runs/b/y", b"3")
    assert objects.get("runs/a/x") == b"2"
    assert objects.list("runs/a/") == ["runs/a/x"]
    assert objects.list("runs/") == ["runs/a/x", "runs/b/y"]
    objects.delete("runs/a/x")
    objects.delete("runs/a/x")
    assert objects.list("runs/a/") == []


def test_only_the_first_makes_an_object_and_may_repeat_itself(objects):
    assert objects.put_new("k", b"mine")
    assert objects.put_new("k", b"mine")
    assert not objects.put_new("k", b"other")
    assert objects.get("k") == b"mine"


def test_what_the_bucket_has_already_is_copied_and_else_sent(objects, tmp_path):
    source = tmp_path / "model"
    source.write_bytes(bytes(range(256)) * 1200)
    objects.put_file("checkpoints/final-00000007.w0001/model", source)
    objects.put_file("output/final/model", source, originals="checkpoints/final-")
    assert objects.get("output/final/model") == source.read_bytes()
    source.write_bytes(b"another")
    objects.put_file("output/final/model", source, originals="checkpoints/final-")
    assert objects.get("output/final/model") == b"another"
    assert objects.get("checkpoints/final-00000007.w0001/model") == bytes(range(256)) * 1200


def test_files_of_any_size_arrive_whole(objects, tmp_path):
    source = tmp_path / "large"
    source.write_bytes(bytes(range(256)) * 1200)
    objects.put_file("large", source)
    objects.get_file("large", tmp_path / "back" / "large")
    assert (tmp_path / "back" / "large").read_bytes() == source.read_bytes()


def test_state_of_a_run_is_read_back(objects):
    state, other = RunState(objects, "r"), RunState(objects, "r")
    assert state.record() is None
    assert state.begin(RECORD) == RECORD
    assert other.begin(replace(RECORD, nonce="later")) == RECORD
    launch = Launch(1, "r", "z", "t", "spot", 1.0, 0.1, {"Amount": 1})
    assert state.announce(launch)
    assert not other.announce(replace(launch, zone="y"))
    assert (other.launches(), other.next_number()) == ([launch], 2)
    state.note_instance(launch, "i-1")
    assert other.instance_ids() == {"0001": "i-1"}
    end = End(1, "i-1", "done", 1.0, 2.0, 3.0, 4.0)
    state.settle(end)
    assert other.ends() == {1: end}
    status = Status("0001", 3, "training", loss=1.5)
    state.report(status)
    assert other.status("0001") == status
    state.stop("budget")
    assert other.stop_reason() == "budget"
    state.finish(75, "budget")
    assert other.finished() == (75, "budget")
    state.reopen()
    assert (other.finished(), other.stop_reason()) == (None, None)
    state.forget()
    assert objects.list("") == []


def test_object_that_another_program_wrote_is_named(objects):
    objects.put("runs/r/run.json", b"hello")
    with pytest.raises(
        CloudError, match=r"runs/r/run\.json in the bucket is not what this program"
    ):
        RunState(objects, "r").record()


def test_half_made_launch_is_none_and_keeps_its_number(tmp_path):
    state = RunState(Objects(f"file://{tmp_path}"), "r")
    (tmp_path / "runs/r/launches").mkdir(parents=True)
    (tmp_path / "runs/r/launches/0001.json").touch()
    assert (state.launches(), state.next_number()) == ([], 2)


def test_bucket_that_keeps_versions_is_refused(storage):
    service, endpoint = storage
    service.buckets["training"].keeps_versions = True
    state = RunState(Objects(f"oss://training/p?endpoint={endpoint}"), "r")
    with pytest.raises(CloudError, match=r"keeps versions .* use a bucket that never had"):
        state.begin(RECORD)


def test_missing_bucket_is_one_sentence_without_the_key(storage):
    objects = Objects(f"oss://elsewhere/p?endpoint={storage[1]}")
    with pytest.raises(StoreError, match="no bucket elsewhere") as caught:
        objects.get("x")
    assert "key-secret" not in str(caught.value)


def test_other_kinds_of_stores_are_refused():
    with pytest.raises(ConfigError, match=r"cloud.bucket is hf://.*; machines of Alibaba Cloud"):
        Objects("hf://user/model")


def test_addresses_for_instances():
    assert machine_address("oss://b/p/q?region=cn-beijing") == (
        "oss://b/p/q",
        "https://oss-cn-beijing.aliyuncs.com",
    )
    assert machine_address("file:///mnt/nas") == ("file:///mnt/nas", "")
    assert below("oss://b/p?region=cn-beijing", "x/y") == "oss://b/p/x/y?region=cn-beijing"
    assert below("file:///mnt/nas", "x") == "file:///mnt/nas/x"


def test_token_is_short_and_the_same_for_the_same_launch():
    longest = replace(RECORD, run="r" * 31)
    assert len(client_token(longest, 9999)) <= 64
    assert client_token(RECORD, 3) == client_token(RECORD, 3) != client_token(RECORD, 4)
