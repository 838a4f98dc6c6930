"""Finding weights and noticing that they have changed."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from vidmem.encoders import hub
from vidmem.encoders.hub import RECORD, Wanted, find, fingerprint, locate, read_record, record_sha256, weights_folder
from vidmem.errors import ModelError

REGION = Wanted("region encoder", ("best.safetensors", "region*.pth"), "MIT")
FOLDER = Wanted("backbone", ("dinov3-*",), "DINOv3 licence", access="ask Meta")


def put(path: Path, data: bytes = b"weights") -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that are read whole."""
    seen: list[Path] = []
    plain = hub._sha256
    monkeypatch.setattr(hub, "_sha256", lambda path: (seen.append(path), plain(path))[1])
    return seen


def test_the_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VIDMEM_WEIGHTS", str(tmp_path / "env"))
    assert weights_folder(tmp_path / "given") == tmp_path / "given"
    assert weights_folder() == tmp_path / "env"
    monkeypatch.delenv("VIDMEM_WEIGHTS")
    assert weights_folder().name == "weights"


def test_the_first_pattern_that_finds_something_counts(tmp_path: Path) -> None:
    assert find(REGION, tmp_path) is None
    put(tmp_path / "region-a.pth")
    assert locate(REGION, tmp_path).name == "region-a.pth"
    put(tmp_path / "best.safetensors")
    assert locate(REGION, tmp_path).name == "best.safetensors"


def test_two_that_fit_fail(tmp_path: Path) -> None:
    put(tmp_path / "region-a.pth")
    put(tmp_path / "region-b.pth")
    with pytest.raises(ModelError, match=r"could be region-a.pth and region-b.pth; leave one of them in"):
        find(REGION, tmp_path)


def test_missing_fails_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="region encoder is missing: `vidmem models pull tren` fetches it"):
        locate(REGION, tmp_path)
    with pytest.raises(ModelError, match="backbone is missing: ask Meta; `weights` or VIDMEM_WEIGHTS"):
        locate(FOLDER, tmp_path / "none")


def test_a_file_is_read_once(tmp_path: Path, reads: list[Path]) -> None:
    sha = put(tmp_path / "region.pth")
    assert record_sha256(tmp_path / "region.pth", tmp_path) == sha
    assert record_sha256(tmp_path / "region.pth", tmp_path) == sha
    assert len(reads) == 1
    os.utime(tmp_path / "region.pth", ns=(1, 1))  # copied elsewhere: the same bytes at another time
    assert record_sha256(tmp_path / "region.pth", tmp_path) == sha
    assert record_sha256(tmp_path / "region.pth", tmp_path) == sha
    assert len(reads) == 2


def test_a_changed_file_fails(tmp_path: Path) -> None:
    checked_path = tmp_path / "region.pth"
    put(checked_path)
    record_sha256(checked_path, tmp_path)
    put(checked_path, b"other")
    for _ in range(2):  # and is not recorded on the way
        with pytest.raises(ModelError, match=rf"changed since they were recorded .*remove region.pth from {RECORD}"):
            record_sha256(checked_path, tmp_path)
    record = read_record(tmp_path)
    del record["region.pth"]
    (tmp_path / RECORD).write_text(json.dumps(record))
    record_sha256(checked_path, tmp_path)


def test_the_beginning_of_the_sha256_in_the_name_counts(tmp_path: Path) -> None:
    sha = hashlib.sha256(b"weights").hexdigest()
    put(tmp_path / f"model-{sha[:8]}.pth")
    assert record_sha256(tmp_path / f"model-{sha[:8]}.pth", tmp_path) == sha
    put(tmp_path / "model-00000000.pth")
    with pytest.raises(ModelError, match="not the published ones or were cut short"):
        record_sha256(tmp_path / "model-00000000.pth", tmp_path)
    with pytest.raises(ModelError, match="not the published ones"):
        record_sha256(tmp_path / f"model-{sha[:8]}.pth", tmp_path, sha256="f" * 64)
    assert "model-00000000.pth" not in read_record(tmp_path)


def test_a_read_only_folder_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: list[Path]) -> None:
    def refuse(path: Path, data: bytes) -> None:
        raise PermissionError(13, "Permission denied")

    sha = put(tmp_path / "region.pth")
    monkeypatch.setattr(hub, "write_atomically", refuse)
    assert record_sha256(tmp_path / "region.pth", tmp_path) == record_sha256(tmp_path / "region.pth", tmp_path) == sha
    assert len(reads) == 2


def test_the_fingerprint_is_of_all_files(tmp_path: Path) -> None:
    put(tmp_path / "region.pth")
    put(tmp_path / "dinov3-x" / "config.json")
    put(tmp_path / "dinov3-x" / "model.safetensors", b"model")
    put(tmp_path / "dinov3-x" / "README.md")
    both = fingerprint([REGION, FOLDER], tmp_path)
    assert len(both) == 64
    assert fingerprint([REGION], tmp_path) != both
    assert "dinov3-x/README.md" not in read_record(tmp_path)
    copy = tmp_path / "copy"
    put(copy / "region.pth")
    put(copy / "dinov3-x" / "config.json")
    put(copy / "dinov3-x" / "model.safetensors", b"model")
    assert fingerprint([REGION, FOLDER], copy) == both  # whatever folder and time
    put(copy / "dinov3-x" / "model.safetensors", b"tuned")
    (copy / RECORD).unlink()
    assert fingerprint([REGION, FOLDER], copy) != both


def test_what_is_recorded_may_be_elsewhere(tmp_path: Path) -> None:
    put(tmp_path / "region.pth")
    put(tmp_path / "dinov3-x" / "model.safetensors", b"model")
    both = fingerprint([REGION, FOLDER], tmp_path)
    (tmp_path / "dinov3-x" / "model.safetensors").unlink()
    (tmp_path / "dinov3-x").rmdir()
    assert fingerprint([REGION, FOLDER], tmp_path) == both
    (tmp_path / RECORD).unlink()
    with pytest.raises(ModelError, match="backbone is missing"):
        fingerprint([REGION, FOLDER], tmp_path)


@pytest.mark.parametrize("text", ["{", "[1]", '{"a": {}}', '{"a": {"sha256": "x"}}', '{"a": 3}'])
def test_a_damaged_record_fails(tmp_path: Path, text: str) -> None:
    put(tmp_path / "region.pth")
    (tmp_path / RECORD).write_text(text)
    with pytest.raises(ModelError, match=r"record of weights is damaged .*remove it"):
        record_sha256(tmp_path / "region.pth", tmp_path)
