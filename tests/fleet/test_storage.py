"""Shards in folders and in an object store."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from needs import needs
from vidmem.errors import StoreError, UsageError
from vidmem.fleet import storage
from vidmem.fleet.checking import verify

from .making import contents, copied, forged, names, shard

needs("fsspec")


@pytest.fixture(params=["folder", "s3"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where many shards lie."""
    if request.param == "folder":
        return str(tmp_path / "shards")
    return request.getfixturevalue("bucket") + "/deep/shards"


def put(uri: str, name: str, data: bytes | None) -> None:
    """Replace or remove a file of a shard, wherever it lies."""
    at = storage.place(uri) / name
    if at.is_local:
        Path(at.path).unlink() if data is None else Path(at.path).write_bytes(data)
        return
    files = storage._filesystem(at)
    files.rm_file(at.path) if data is None else files.pipe_file(at.path, data)
    files.invalidate_cache()


def problems(uri: str, **options: Any) -> list[str]:
    at = storage.place(uri)
    found = verify(at.folder, **options) if at.is_local else storage.verify_remote(uri, **options)
    return [problem.name for problem in found]


def test_a_shard_goes_there_and_back(target: str, tmp_path: Path) -> None:
    made = shard(tmp_path / "m")
    uri = storage.upload(tmp_path / "m", target)
    assert uri == f"{target}/{made.id}"
    assert storage.read_manifest(uri) == made
    assert storage.exists(uri)
    assert not problems(uri)
    assert storage.download(uri, tmp_path / "back", made.id) == made
    assert not verify(tmp_path / "back")
    ours = {name: data for name, (data, _) in contents(tmp_path / "m").items()}
    assert {name: data for name, (data, _) in contents(tmp_path / "back").items()} == ours


def test_sending_again_sends_nothing(target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shard(tmp_path / "m")
    uri = storage.upload(tmp_path / "m", target)
    monkeypatch.setattr(storage, "_write", None)
    monkeypatch.setattr(storage, "_read_back", None)
    assert storage.upload(tmp_path / "m", target) == uri


@pytest.mark.parametrize("name", ["memory.sqlite", "bounds.safetensors", "cache/vectors.bin", "seal.json"])
def test_a_changed_file_is_named(target: str, tmp_path: Path, name: str) -> None:
    made = shard(tmp_path / "m")
    uri = storage.upload(tmp_path / "m", target)
    data = bytearray((tmp_path / "m" / name).read_bytes())
    data[len(data) // 2] ^= 1
    put(uri, name, bytes(data))
    assert problems(uri) == [name]
    with pytest.raises(StoreError, match=r"as it was sealed|is damaged or was changed"):
        storage.download(uri, tmp_path / "back", made.id)
    assert not (tmp_path / "back").exists()
    assert not list(tmp_path.glob("*.part-*"))
    put(uri, name, bytes(data[:-1]))
    assert problems(uri, quick=True) == [name]
    put(uri, name, None)
    assert problems(uri, quick=True) == [name]
    with pytest.raises(StoreError):
        storage.download(uri, tmp_path / "back", made.id)


def test_a_file_that_grows_is_not_read_to_its_end(target: str, tmp_path: Path) -> None:
    made = shard(tmp_path / "m")
    uri = storage.upload(tmp_path / "m", target)
    put(uri, "memory.sqlite", b"\0" * (20 << 20))
    with pytest.raises(StoreError, match="not as it was sealed"):
        storage.download(uri, tmp_path / "back", made.id)


def test_another_shard_under_the_name_is_refused(target: str, tmp_path: Path) -> None:
    first, second = shard(tmp_path / "a", 1), shard(tmp_path / "b", 2)
    uri = storage.upload(tmp_path / "a", target)
    with pytest.raises(StoreError, match="another shard"):
        storage.download(uri, tmp_path / "back", second.id)
    for name in ("memory.sqlite", "bounds.safetensors", "cache/vectors.bin", "seal.json"):
        put(uri, name, (tmp_path / "b" / name).read_bytes())
    assert "seal.json" in problems(uri, expected=first.id)
    with pytest.raises(StoreError, match="another shard"):
        storage.upload(tmp_path / "a", target)


def test_a_half_sent_shard_is_none(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = shard(tmp_path / "m")
    files: Any = storage._filesystem(storage.place(bucket))
    sent: list[str] = []

    def stops(lpath: str, rpath: str, **more: Any) -> None:
        if len(sent) == 2:
            raise ConnectionError("gone at https://tester:very-secret@host/x")
        sent.append(rpath)
        files.pipe_file(rpath, Path(lpath).read_bytes())

    monkeypatch.setattr(files, "put_file", stops)
    with pytest.raises(StoreError, match="cannot be reached") as caught:
        storage.upload(tmp_path / "m", bucket)
    assert "secret" not in str(caught.value)
    uri = f"{bucket}/{made.id}"
    assert not storage.exists(uri)
    assert problems(uri) == ["seal.json"]
    with pytest.raises(StoreError, match="no such shard"):
        storage.read_manifest(uri)
    monkeypatch.undo()


def test_what_arrives_damaged_gets_no_seal(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = shard(tmp_path / "m")
    files: Any = storage._filesystem(storage.place(bucket))

    def damages(lpath: str, rpath: str, **more: Any) -> None:
        data = bytearray(Path(lpath).read_bytes())
        data[7] ^= 255
        files.pipe_file(rpath, bytes(data))

    with monkeypatch.context() as patch:
        patch.setattr(files, "put_file", damages)
        with pytest.raises(StoreError, match="did not arrive"):
            storage.upload(tmp_path / "m", bucket)
    assert not storage.exists(f"{bucket}/{made.id}")
    storage.upload(tmp_path / "m", bucket)  # replaces what is there
    assert not problems(f"{bucket}/{made.id}")


def test_a_changed_shard_is_not_sent(target: str, tmp_path: Path) -> None:
    shard(tmp_path / "m")
    with open(tmp_path / "m" / "cache" / "vectors.bin", "r+b") as file:
        file.seek(5000)
        file.write(b"x")
    with pytest.raises(StoreError, match="changed after sealing"):
        storage.upload(tmp_path / "m", target)
    assert not os.path.exists(target)


def test_something_in_the_way(tmp_path: Path) -> None:
    made = shard(tmp_path / "m")
    (tmp_path / "shards" / made.id).mkdir(parents=True)
    with pytest.raises(StoreError, match="in the way"):
        storage.upload(tmp_path / "m", tmp_path / "shards")


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "http://host/shard",
        "simplecache::s3://b/k",
        "zip://x.zip",
        "memory://x",
        "s3://",
        "s3:///key",
        "s3://b//k",
        "s3://b/../k",
        "s3://b/./k",
        "s3://key:secret@b/k",
        "s3://b/k?X=secret",
        "s3://b/k#secret",
        "s3://b/k::x",
        "s3://b/k\n",
        "file://host/x",
        "a\0b",
    ],
)
def test_addresses_that_are_none(uri: str) -> None:
    with pytest.raises(UsageError) as caught:
        storage.place(uri)
    assert "secret" not in str(caught.value)


def test_addresses(tmp_path: Path) -> None:
    assert str(storage.place("s3://b/k/")) == "s3://b/k"
    assert storage.place(f"file://{tmp_path}").folder == tmp_path
    assert storage.place("a").folder == Path.cwd() / "a"
    assert not storage.place("gs://b/k").is_local


def test_no_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    s3fs = needs("s3fs")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "tester")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    s3fs.S3FileSystem.clear_instance_cache()
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    with pytest.raises(StoreError, match="cannot be reached") as caught:
        storage.read_manifest("s3://b/k")
    assert "secret" not in str(caught.value)
    s3fs.S3FileSystem.clear_instance_cache()


def test_no_bucket(bucket: str) -> None:
    with pytest.raises(StoreError):
        storage.read_manifest("s3://there-is-none/k")


def test_links_in_a_shard_lead_nowhere(tmp_path: Path) -> None:
    made = shard(tmp_path / "m")
    secret = tmp_path / "secret"
    secret.write_bytes((tmp_path / "m" / "memory.sqlite").read_bytes())
    copy = copied(tmp_path / "m", tmp_path / "c")
    (copy / "memory.sqlite").unlink()
    (copy / "memory.sqlite").symlink_to(secret)
    with pytest.raises(StoreError, match="link"):
        storage.upload(copy, tmp_path / "shards")
    with pytest.raises(StoreError):
        storage.download(copy, tmp_path / "back", made.id)
    assert not (tmp_path / "back").exists()
    pipe = copied(tmp_path / "m", tmp_path / "p")
    (pipe / "cache" / "vectors.bin").unlink()
    os.mkfifo(pipe / "cache" / "vectors.bin")
    with pytest.raises(StoreError):
        storage.download(pipe, tmp_path / "back", made.id)


def test_a_forged_manifest_is_found_by_its_id(target: str, tmp_path: Path) -> None:
    made = shard(tmp_path / "m")
    copy = copied(tmp_path / "m", tmp_path / "c")
    other = forged(copy, generation=7)
    assert other != made.id
    with pytest.raises(StoreError, match="another shard"):
        storage.download(copy, tmp_path / "back", made.id)
    with pytest.raises(StoreError, match=r"changed after sealing .*generation is not that of the memory"):
        storage.upload(copy, target)
    assert names(tmp_path / "m") == names(copy)
