"""Files in an object store, a real S3 server: what arrives, what is told when it refuses, what an outage costs."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mtl_ray import storage
from mtl_ray.data.snapshot import open_snapshot
from mtl_ray.data.spine import spine_files
from mtl_ray.data.staging import writable_place
from mtl_ray.errors import StorageError
from mtl_ray.run_folder import RunFolder
from mtl_ray.tuning.folder import SearchFolder
from tests.forwarder import Forwarder
from tests.s3_server import SECRET, S3Server, client, s3_server


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


@pytest.fixture
def place(server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A prefix of this test's own, in an environment that knows the server."""
    for name, value in {**server.environment, storage.CACHE: str(tmp_path / "cache")}.items():
        monkeypatch.setenv(name, value)
    return f"s3://{server.bucket}/{tmp_path.name}"


def test_what_is_remote() -> None:
    assert storage.is_remote("s3://bucket/runs")
    assert not any(storage.is_remote(path) for path in ("runs", "/shared/runs", "file:///shared/runs", "C:/runs"))


def test_a_folder_goes_and_comes_back(place: str, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.txt").write_text("first")
    (folder / "deep" / "b.bin").write_bytes(bytes(range(256)) * 100_000)
    (folder / "left").mkdir()
    (folder / "left" / "c.txt").write_text("stays")
    storage.upload(folder, place, leave_out=("left",))
    assert storage.sizes(place) == {"a.txt": 5, "deep/b.bin": 25_600_000}
    back = storage.mirror(place, tmp_path / "back")
    assert (back / "deep" / "b.bin").read_bytes() == (folder / "deep" / "b.bin").read_bytes()
    assert storage.sha256(storage.below(place, "a.txt")) == storage.sha256(folder / "a.txt")


def test_only_what_is_new_travels(place: str, server: S3Server, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("old", "new"):
        (folder / name).write_text(name)
        os.utime(folder / name, (0, 0))
    storage.upload(folder, place)
    prefix = place.removeprefix(f"s3://{server.bucket}/")
    before = objects(server, prefix)
    time.sleep(1.1)  # objects have their time in seconds
    (folder / "new").write_text("was")
    storage.upload(folder, place)
    after = objects(server, prefix)
    assert after[f"{prefix}/old"] == before[f"{prefix}/old"]
    assert after[f"{prefix}/new"] != before[f"{prefix}/new"]
    mirrored = storage.mirror(place, tmp_path / "back")
    state = (mirrored / "old").stat().st_ino
    time.sleep(1.1)
    storage.write_bytes(storage.below(place, "new"), b"now")
    storage.mirror(place, mirrored)
    assert (mirrored / "new").read_text() == "now"
    assert (mirrored / "old").stat().st_ino == state


def test_what_lists_the_others_goes_last(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("a-manifest", "b", "c"):
        (folder / name).write_text(name)
    sent: list[str] = []
    send = storage._send
    monkeypatch.setattr(storage, "_send", lambda file, target: (sent.append(file.name), send(file, target)))
    storage.upload(folder, place, last=("a-manifest",))
    assert sent == ["b", "c", "a-manifest"]
    assert set(storage.sizes(place)) == set(sent)


def test_an_outage_is_waited_for(place: str, server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.txt").write_text("first")
    with Forwarder(int(server.endpoint.rsplit(":", 1)[1])) as forwarder:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{forwarder.port}")
        forwarder.cut(seconds=8)
        storage.upload(folder, place)
        threading.Timer(0.1, forwarder.cut, (8,)).start()
        time.sleep(0.5)
        assert storage.read_bytes(storage.below(place, "a.txt")) == b"first"


def test_a_store_that_never_answers(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(StorageError, match="does not answer") as caught:
        writable_place(place)
    assert "AWS_ENDPOINT_URL" in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.usefixtures("place")
def test_a_bucket_that_is_missing() -> None:
    with pytest.raises(StorageError, match="no such bucket") as caught:
        writable_place("s3://absent/runs")
    assert "s3://absent/runs" in str(caught.value)
    assert "Request ID" not in str(caught.value)
    readers = (
        lambda: RunFolder.open("s3://absent/runs/run"),
        lambda: SearchFolder.open("s3://absent/runs/searches/search"),
        lambda: open_snapshot("s3://absent/runs/training_sets/set"),
        lambda: spine_files("s3://absent/spine"),
    )
    for read in readers:
        with pytest.raises(StorageError, match="no such bucket"):
            read()


def test_a_bucket_that_refuses(place: str, server: S3Server) -> None:
    """For a user that the server knows and that may do nothing."""
    import requests

    requests.post(f"{server.endpoint}/moto-api/reset-auth", data="0", timeout=30).raise_for_status()
    try:
        with pytest.raises(StorageError, match="refuses") as caught:
            writable_place(place)
    finally:
        requests.post(f"{server.endpoint}/moto-api/reset-auth", data="inf", timeout=30).raise_for_status()
    assert "AWS_ACCESS_KEY_ID" in str(caught.value)
    assert SECRET not in str(caught.value)


def test_an_unknown_kind_of_place() -> None:
    with pytest.raises(StorageError, match="cannot be used"):
        writable_place("nonsense://bucket/runs")


def test_a_cache_that_cannot_be_written(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(storage.CACHE, str(tmp_path / "file" / "cache"))
    with pytest.raises(StorageError, match=storage.CACHE):
        writable_place(place)


def objects(server: S3Server, prefix: str) -> dict[str, object]:
    """Time of the last change by key."""
    answer = client(server).list_objects_v2(Bucket=server.bucket, Prefix=prefix)
    return {item["Key"]: item["LastModified"] for item in answer["Contents"]}
