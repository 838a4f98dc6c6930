"""Fetching weights, with a stand-in for the network."""

from __future__ import annotations

import hashlib
import io
import os
import urllib.request
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vidmem.encoders.hub import Wanted, read_record
from vidmem.encoders.pull import pull
from vidmem.errors import ModelError

hub = pytest.importorskip("huggingface_hub")
DATA = b"the weights"
SHA = hashlib.sha256(DATA).hexdigest()
OPEN = Wanted("region encoder", ("tren*.pth",), "MIT", repo="savyak2/T-REN", files=("tren_region_encoder.pth",))
GATED = Wanted("backbone", ("meta*.pth", "dino-x"), "DINOv3 licence", access="accept it at https://huggingface.co/f/dino-x",
               repo="f/dino-x", files=("config.json", "model.safetensors"), nested=True)  # fmt: skip
PLAIN = Wanted("vocabulary", ("bpe.gz",), "MIT", url="https://example.org/a/bpe.gz", sha256=SHA)
BY_HAND = Wanted("text tower", ("text*.pth",), "DINOv3 licence", access="ask Meta at https://example.org")


class Hub:
    """What Hugging Face has. error: what each request meets; data: what a download brings."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.error: Exception | None = None
        self.etag, self.data, self.asked = SHA, DATA, []  # type: ignore[var-annotated]
        monkeypatch.setattr(hub, "get_hf_file_metadata", self.metadata)
        monkeypatch.setattr(hub, "hf_hub_download", self.download)
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)

    def metadata(self, url: str, **more: Any) -> Any:
        if self.error:
            raise self.error
        revision = url.split("/resolve/")[1].split("/")[0]
        self.asked.append(revision)
        return SimpleNamespace(etag=self.etag, commit_hash="c0ffee" if revision == "main" else revision)

    def download(self, repo: str, name: str, *, revision: str, local_dir: Path, **more: Any) -> str:
        path = Path(local_dir) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.data)
        return str(path)


@pytest.fixture
def net(monkeypatch: pytest.MonkeyPatch) -> Hub:
    return Hub(monkeypatch)


def test_fetched_once_and_recorded(net: Hub, tmp_path: Path) -> None:
    said: list[str] = []
    path = pull(OPEN, tmp_path / "new", said.append)
    assert path.read_bytes() == DATA
    entry = read_record(tmp_path / "new")["tren_region_encoder.pth"]
    assert (entry["sha256"], entry["from"]) == (SHA, "huggingface.co/savyak2/T-REN@c0ffee")
    assert any(SHA in line for line in said)
    assert pull(OPEN, tmp_path / "new", said.append) == path
    assert len(net.asked) == 1


def test_the_recorded_revision_is_fetched_again(net: Hub, tmp_path: Path) -> None:
    pull(OPEN, tmp_path, print).unlink()
    pull(OPEN, tmp_path, print)
    assert net.asked == ["main", "c0ffee"]


def test_another_file_at_the_recorded_revision_fails(net: Hub, tmp_path: Path) -> None:
    path = pull(OPEN, tmp_path, print)
    path.unlink()
    net.data, net.etag = b"something else", hashlib.sha256(b"something else").hexdigest()
    with pytest.raises(ModelError, match="have changed since they were recorded"):
        pull(OPEN, tmp_path, print)
    assert not path.exists()


def test_a_download_that_is_not_what_the_hub_says_fails(net: Hub, tmp_path: Path) -> None:
    net.etag = "f" * 64
    with pytest.raises(ModelError, match="not the published ones or were cut short"):
        pull(OPEN, tmp_path, print)
    assert not list(tmp_path.glob("tren*"))
    assert read_record(tmp_path) == {}


def test_a_small_file_is_named_by_git(net: Hub, tmp_path: Path) -> None:
    net.etag = "a" * 40
    assert pull(OPEN, tmp_path, print).exists()


def test_a_folder(net: Hub, tmp_path: Path) -> None:
    path = pull(GATED, tmp_path, print)
    assert path == tmp_path / "dino-x"
    assert sorted(read_record(tmp_path)) == ["dino-x/config.json", "dino-x/model.safetensors"]


class GatedRepoError(OSError):
    """Named as the library's."""


class Refused(Exception):
    response = SimpleNamespace(status_code=401)


class RepositoryNotFoundError(Exception):
    response = SimpleNamespace(status_code=404)


@pytest.mark.parametrize("error", [GatedRepoError("403"), Refused()])
def test_behind_a_licence_fails_with_what_to_do(net: Hub, tmp_path: Path, error: Exception) -> None:
    net.error = error
    with pytest.raises(ModelError, match=r"behind the DINOv3 licence: accept it at https://hugging.*; then put"):
        pull(GATED, tmp_path, print)


def test_gone_fails(net: Hub, tmp_path: Path) -> None:
    net.error = RepositoryNotFoundError("404 Not Found")
    with pytest.raises(ModelError, match=r"no longer where it was \(savyak2/T-REN\)"):
        pull(OPEN, tmp_path, print)


OFFLINE = {
    OPEN: "`hf download savyak2/T-REN tren_region_encoder.pth --local-dir weights` and copy "
          "weights/tren_region_encoder.pth into ",
    GATED: "accept the licence at https://huggingface.co/f/dino-x, then on a machine with a network run `hf download "
           "f/dino-x config.json model.safetensors --local-dir dino-x` and copy dino-x into ",
    PLAIN: "`curl -LO https://example.org/a/bpe.gz` and copy bpe.gz into ",
}  # fmt: skip


@pytest.mark.parametrize("wanted", OFFLINE, ids=lambda wanted: wanted.role)
@pytest.mark.parametrize("switch", [True, False])
def test_offline_fails_with_the_command(
    net: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: Wanted, switch: bool
) -> None:
    if switch:
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    net.error = ConnectionError("Name or service not known")
    monkeypatch.setattr(urllib.request, "urlopen", lambda *a, **k: (_ for _ in ()).throw(net.error))
    with pytest.raises(ModelError) as raised:
        pull(wanted, tmp_path, print)
    text = str(raised.value)
    assert ("HF_HUB_OFFLINE is set" if switch else "Name or service not known") in text
    assert OFFLINE[wanted] + str(tmp_path) in text
    assert "\n" not in text
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("data", "fails"), [(DATA, False), (b"<html>", True)])
def test_a_plain_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes, fails: bool) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(urllib.request, "urlopen", lambda *a, **k: io.BytesIO(data))
    if fails:
        with pytest.raises(ModelError, match="not the published ones"):
            pull(PLAIN, tmp_path, print)
        assert os.listdir(tmp_path) == []
    else:
        assert pull(PLAIN, tmp_path, print).read_bytes() == DATA
        assert read_record(tmp_path)["bpe.gz"]["from"] == PLAIN.url


def test_what_must_be_put_there_by_hand(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"text tower is missing: ask Meta at https://example.org; then put it into"):
        pull(BY_HAND, tmp_path, print)
    (tmp_path / "text.pth").write_bytes(DATA)
    assert pull(BY_HAND, tmp_path, print) == tmp_path / "text.pth"
    assert read_record(tmp_path)["text.pth"]["sha256"] == SHA


def test_a_folder_that_cannot_be_made_fails(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ModelError, match=r"folder for weights cannot be made .*choose --weights"):
        pull(OPEN, tmp_path / "file" / "below", print)


def test_a_missing_library_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(ModelError, match=r"pip install 'vidmem\[tren\]'"):
        pull(OPEN, tmp_path, print)


