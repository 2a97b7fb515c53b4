"""Sources that are URLs: fetched once, whole, and again when they change."""

import gzip
import json
import logging
import os
import sys
from pathlib import Path

import fsspec
import pytest

from src.corpus.readers import fetch_sources, find_files, named_by_url, remote
from src.errors import DataError
from src.schema import SourceConfig
from tests.fakes.file_server import FILES, PASSWORD, REQUESTS, USER, FileHandler
from tests.fakes.local_server import serving
from tests.fakes.reader_rows import rows_of


@pytest.fixture
def server():
    FILES.clear()
    REQUESTS.clear()
    fsspec.filesystem("http").clear_instance_cache()
    with serving(FileHandler) as address:
        yield address


def fetch(url: str, folder: Path) -> SourceConfig:
    (source,) = fetch_sources([SourceConfig(path=url, weight=2.0)], folder)
    assert source.weight == 2.0
    return source


def test_paths_stay_as_they_are(tmp_path: Path):
    sources = (SourceConfig(path="a/b.tsv"), SourceConfig(path="c.{en,zh}", name="c"))
    assert fetch_sources(sources, tmp_path / "absent") == sources
    assert not (tmp_path / "absent").exists()


def test_file_urls_are_read_where_they_are(tmp_path: Path):
    (tmp_path / "a b.tsv").write_bytes("One\t一\n".encode())
    source = fetch(f"file://{tmp_path}/a%20b.tsv", tmp_path / "downloads")
    assert source.path == str(tmp_path / "a b.tsv")
    assert rows_of(source.path) == ([("One", "一")], [])


def test_file_urls_may_hold_what_means_something_in_others(tmp_path: Path):
    for name in ("a#1.tsv", "a#2.tsv", "b?.tsv"):
        (tmp_path / name).write_bytes(f"{name}\t一\n".encode())
    pairs, _ = rows_of(fetch(f"file://localhost{tmp_path}/a#?.tsv", tmp_path / "x").path)
    assert pairs == [("a#1.tsv", "一"), ("a#2.tsv", "一")]
    assert fetch(f"file://{tmp_path}/b?.tsv", tmp_path / "x").path == f"{tmp_path}/b?.tsv"


def test_file_url_of_another_machine_is_refused(tmp_path: Path):
    with pytest.raises(
        DataError, match=r"^file://rel/x\.tsv: names the machine rel; write an absolute path"
    ):
        fetch("file://rel/x.tsv", tmp_path)


@pytest.mark.parametrize("query", ["", "?token=secret"])
def test_copy_that_cannot_be_read_is_named_by_its_url(tmp_path: Path, server: str, query: str):
    FILES["a.tsv"] = b"no columns\n"
    given = SourceConfig(path=f"{server}/corpus/a.tsv{query}")
    (source,) = fetch_sources([given], tmp_path)
    with (
        pytest.raises(DataError, match=rf"^{server}/corpus/a\.tsv: line 1 holds no tab") as caught,
        named_by_url([SourceConfig(path="b.tsv"), given], tmp_path),
    ):
        rows_of(source.path)
    assert str(caught.value).endswith(f"; the copy of it is in {Path(source.path).parent}")
    with pytest.raises(DataError, match=r"^b\.tsv$"), named_by_url([given], tmp_path):
        raise DataError("b.tsv")


@pytest.mark.parametrize("name", ["a.tsv", "a.tsv.gz", "untold.tsv", "untold.tsv.gz"])
def test_web_files_are_fetched_once_and_again_when_they_change(
    tmp_path: Path, server: str, name: str
):
    def pack(text: str) -> bytes:
        return gzip.compress(text.encode()) if name.endswith(".gz") else text.encode()

    FILES[name] = pack("One\t一\n")
    url = f"{server}/corpus/{name}?token=secret"
    source = fetch(url, tmp_path)
    assert source.name == name.partition(".")[0]
    assert rows_of(source.path) == ([("One", "一")], [])
    (path,) = find_files(source)[0]
    before = path.stat().st_mtime_ns
    assert fetch(url, tmp_path) == source
    assert path.stat().st_mtime_ns == before
    if not name.startswith("untold"):
        assert len(REQUESTS) == 1
        FILES[name] = pack("Two\t二\nThree\t三\n")
        assert rows_of(fetch(url, tmp_path).path)[0] == [("Two", "二"), ("Three", "三")]


def test_a_file_that_the_server_says_nothing_of_is_compared(tmp_path: Path, server: str):
    FILES["untold.tsv"] = "One\t一\n".encode()
    source = SourceConfig(path=f"{server}/untold.tsv")
    path = Path(fetch_sources([source], tmp_path)[0].path)
    before = path.stat().st_mtime_ns
    fetch_sources([source], tmp_path)
    assert path.stat().st_mtime_ns == before, "what was made of it would be made again"
    FILES["untold.tsv"] = "Two\t二\n".encode()
    fetch_sources([source], tmp_path)
    assert path.read_text(encoding="utf-8") == "Two\t二\n"


def test_pairs_of_web_files_are_fetched_side_by_side(tmp_path: Path, server: str):
    FILES.update({"train.en": b"One\n", "train.zh": "一\n".encode()})
    source = fetch(f"{server}/x/train.{{en,zh}}", tmp_path)
    assert rows_of(source.path) == ([("One", "一")], [])


def test_without_connection_the_copy_is_used(tmp_path: Path, caplog):
    FILES["a.tsv"] = "One\t一\n".encode()
    with serving(FileHandler) as address:
        url = f"{address}/a.tsv"
        source = fetch(url, tmp_path)
    with caplog.at_level(logging.WARNING):
        assert fetch(url, tmp_path) == source
    assert "a.tsv: cannot be fetched (" in caplog.text
    assert "; using the copy in " in caplog.text
    find_files(source)[0][0].unlink()
    with pytest.raises(DataError, match=r"a\.tsv: cannot be fetched \(.*check the address and the"):
        fetch(url, tmp_path)


def test_missing_web_file_is_one_sentence_without_secrets(tmp_path: Path, server: str):
    url = server.replace("http://", "http://person@") + "/absent.tsv?token=secret"
    with pytest.raises(DataError, match=r"absent\.tsv: cannot be fetched \(HTTP 404\)") as caught:
        fetch(url, tmp_path)
    assert "secret" not in str(caught.value)
    assert "person" not in str(caught.value)


def test_password_of_a_web_server_comes_from_netrc(tmp_path: Path, server: str, monkeypatch):
    FILES["private.tsv"] = b"One\tyi\n"
    netrc = tmp_path / "netrc"
    netrc.write_text("", encoding="utf-8")
    monkeypatch.setenv("NETRC", str(netrc))
    url = f"{server}/private.tsv"
    with pytest.raises(
        DataError, match=r"private\.tsv: cannot be fetched \(HTTP 401\); .* ~/\.netrc,"
    ):
        fetch(url, tmp_path)
    host = server.removeprefix("http://").partition(":")[0]
    netrc.write_text(f'machine {host} login {USER} password "{PASSWORD}"\n', encoding="utf-8")
    fsspec.filesystem("http").clear_instance_cache()
    assert rows_of(fetch(url, tmp_path).path)[0] == [("One", "yi")]


def test_file_that_breaks_off_is_not_kept(tmp_path: Path, server: str):
    FILES["short.tsv"] = b"One\tyi\n" * 1000
    with pytest.raises(DataError, match=r"short\.tsv: cannot be fetched \(\w+Error: .*\); check"):
        fetch(f"{server}/short.tsv", tmp_path)
    assert not list(tmp_path.rglob("*short*"))


@pytest.fixture
def memory():
    file_system = fsspec.filesystem("memory")
    yield file_system
    file_system.rm("/", recursive=True)


def test_wildcards_are_those_of_the_server(tmp_path: Path, memory):
    for name in ("b/x.tsv", "a/y.tsv", "a/z.csv"):
        memory.pipe(f"/corpus/{name}", f"{name}\t{name}\n".encode())
    source = fetch("memory://corpus/*/*.tsv", tmp_path)
    names = [en for en, _ in rows_of(source.path)[0]]
    assert names == ["a/y.tsv", "b/x.tsv"]
    memory.rm("/corpus/b/x.tsv")
    source = fetch("memory://corpus/*/*.tsv", tmp_path)
    assert [en for en, _ in rows_of(source.path)[0]] == ["a/y.tsv"]
    with pytest.raises(DataError, match=r"memory://corpus/\*\.po: matches no file"):
        fetch("memory://corpus/*.po", tmp_path)


def test_killed_download_goes_on_with_the_next_file(tmp_path: Path, memory, monkeypatch):
    for number in range(3):
        memory.pipe(f"/corpus/{number}.tsv", b"One\tyi\n")
    fetched: list[str] = []
    get_file = memory.get_file

    def get_two_files(location: str, target: str, **options: object) -> None:
        if len(fetched) == 2:
            raise KeyboardInterrupt
        fetched.append(location)
        get_file(location, target, **options)

    monkeypatch.setattr(memory, "get_file", get_two_files)
    with pytest.raises(KeyboardInterrupt):
        fetch("memory://corpus/*.tsv", tmp_path)
    monkeypatch.undo()
    (record,) = tmp_path.glob("*.json")
    assert list(json.loads(record.read_text(encoding="utf-8"))) == ["0.tsv", "1.tsv"]
    done = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.tsv")}
    assert len(done) == 2
    source = fetch("memory://corpus/*.tsv", tmp_path)
    assert len(rows_of(source.path)[0]) == 3
    assert done == {path: path.stat().st_mtime_ns for path in done}


def test_unreadable_record_fetches_again(tmp_path: Path, memory):
    memory.pipe("/a.tsv", b"One\tyi\n")
    fetch("memory://a.tsv", tmp_path)
    (record,) = tmp_path.glob("*.json")
    record.write_text("[", encoding="utf-8")
    fetch("memory://a.tsv", tmp_path)
    assert list(json.loads(record.read_text(encoding="utf-8"))) == ["a.tsv"]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (
            "s3://bucket/a.tsv",
            r"s3://bucket/a\.tsv: a package for s3:// is missing; pip install s3fs",
        ),
        ("oss://bucket/a.tsv", r"a package for oss:// is missing; pip install ossfs"),
        ("webdav://host/a.tsv", r"a package for webdav:// is missing; Install webdav4"),
        ("nonsense://a.tsv", r"nonsense://a\.tsv: nothing is known of nonsense://; use https, s3"),
    ],
)
def test_missing_packages_are_named(tmp_path: Path, monkeypatch, url: str, message: str):
    for package in ("s3fs", "ossfs", "webdav4"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(DataError, match=message):
        fetch(url, tmp_path)


def test_full_disk_is_one_sentence(tmp_path: Path, memory, monkeypatch):
    memory.pipe("/a.tsv", b"One\tyi\n" * 10_000)

    def write_to_full_disk(location: str, target: str, **options: object) -> None:
        with Path("/dev/full").open("wb") as file:
            file.write(memory.cat(location))

    monkeypatch.setattr(memory, "get_file", write_to_full_disk)
    with pytest.raises(DataError, match=r"a\.tsv: no space left on the device; .* 68\.4 KiB"):
        fetch("memory://a.tsv", tmp_path)
    assert not list(tmp_path.rglob("*a.tsv*"))


def test_progress_of_a_download_is_logged(tmp_path: Path, memory, monkeypatch, caplog):
    monkeypatch.setattr(remote, "_SECONDS_BETWEEN_LINES", 0.0)
    memory.pipe("/a.tsv", os.urandom(3000))
    with caplog.at_level(logging.INFO):
        fetch("memory://a.tsv", tmp_path)
    assert "fetching a.tsv: 2.9 KiB of 2.9 KiB" in caplog.text
    assert "fetched a.tsv, 2.9 KiB" in caplog.text
