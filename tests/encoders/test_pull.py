"""Fetching weights, with a stand-in for the network."""

from __future__ import annotations

import hashlib
import io
import json
import os
import urllib.request
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save

from needs import needs
from vidmem.encoders.hub import RECORD, Wanted, find, locate, read_record, record_sha256
from vidmem.encoders.pull import pull
from vidmem.errors import ModelError

hub = needs("huggingface_hub")
DATA = b"the weights"
SHA = hashlib.sha256(DATA).hexdigest()
OPEN = Wanted("region encoder", ("tren*.pth",), "MIT", repo="savyak2/T-REN", files=("tren_region_encoder.pth",))
GATED = Wanted(
    "backbone",
    ("meta*.pth", "dino-x"),
    "DINOv3 licence",
    access="accept it at https://huggingface.co/f/dino-x",
    repo="f/dino-x",
    files=("config.json", "model.safetensors"),
    nested=True,
)
PLAIN = Wanted("vocabulary", ("bpe.gz",), "MIT", url="https://example.org/a/bpe.gz", sha256=SHA)
BY_HAND = Wanted("text tower", ("text*.pth",), "DINOv3 licence", access="ask Meta at https://example.org")


def saved(path: Path) -> bytes:
    """A file as torch.save writes it."""
    torch.save({"a": torch.arange(500.0)}, path)
    return path.read_bytes()


class Hub:
    """What Hugging Face has. error: what each request meets; data: what a download brings; of: by name, where a file
    has data of its own; gone: names that it does not have. asked: revisions; fetched: names, with "!" if by force."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.error: Exception | None = None
        self.etag, self.data, self.asked = SHA, DATA, []  # type: ignore[var-annotated]
        self.of: dict[str, bytes] = {}
        self.gone: set[str] = set()
        self.fetched: list[str] = []
        monkeypatch.setattr(hub, "get_hf_file_metadata", self.metadata)
        monkeypatch.setattr(hub, "hf_hub_download", self.download)
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)

    def metadata(self, url: str, **more: Any) -> Any:
        if self.error:
            raise self.error
        revision, name = url.split("/resolve/")[1].split("/", 1)
        if name in self.gone:
            raise RemoteEntryNotFoundError("404 Entry Not Found")
        self.asked.append(revision)
        own = self.of.get(name)
        etag, size = (self.etag, None) if own is None else (hashlib.sha256(own).hexdigest(), len(own))
        return SimpleNamespace(etag=etag, size=size, commit_hash="c0ffee" if revision == "main" else revision)

    def download(self, repo: str, name: str, *, revision: str, local_dir: Path, force_download: bool = False) -> str:
        path = Path(local_dir) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        assert force_download or not path.exists(), "the library takes what is there for finished"
        self.fetched.append(name + "!" * force_download)
        path.write_bytes(self.of.get(name, self.data))
        return str(path)


class RemoteEntryNotFoundError(Exception):
    response = SimpleNamespace(status_code=404)


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


MODEL = save({"a": torch.arange(6.0)})
CONFIG = b'{"model_type": "x"}'
FOLDER = Wanted("weights", ("dino-x",), "MIT", repo="f/dino-x", files=("config.json", "model.safetensors"), nested=True)


@pytest.fixture
def full(net: Hub) -> Hub:
    net.of = {"config.json": CONFIG, "model.safetensors": MODEL}
    return net


def test_a_folder_is_there_when_it_is_whole(full: Hub, tmp_path: Path) -> None:
    """Empty, or one file of two: what is missing is fetched, and nothing else."""
    home = tmp_path / "dino-x"
    home.mkdir()
    assert find(FOLDER, tmp_path) is None
    with pytest.raises(ModelError, match="the weights is missing: `vidmem models pull tren`"):
        locate(FOLDER, tmp_path)
    assert pull(FOLDER, tmp_path, print) == home
    assert full.fetched == ["config.json", "model.safetensors"]
    for name in ("config.json", "model.safetensors"):
        (home / name).unlink()
        assert find(FOLDER, tmp_path) is None
        with pytest.raises(ModelError, match=rf"the weights is incomplete \({name} is not there\)"):
            locate(FOLDER, tmp_path)
        full.fetched.clear()
        assert pull(FOLDER, tmp_path, print) == home
        assert full.fetched == [name]
    assert (home / "config.json").read_bytes() == CONFIG
    assert (home / "model.safetensors").read_bytes() == MODEL


def test_files_of_a_folder_are_of_one_revision(full: Hub, tmp_path: Path) -> None:
    pull(FOLDER, tmp_path, print)
    (tmp_path / "dino-x" / "model.safetensors").unlink()
    record = read_record(tmp_path)
    del record["dino-x/model.safetensors"]
    (tmp_path / RECORD).write_text(json.dumps(record))
    pull(FOLDER, tmp_path, print)
    assert full.asked == ["main", "c0ffee", "c0ffee"]


@pytest.mark.parametrize("used", [False, True])
@pytest.mark.parametrize("size", [0, 4, 60, len(MODEL) - 1])
def test_a_file_that_was_cut_short_is_fetched_anew(full: Hub, tmp_path: Path, size: int, used: bool) -> None:
    """Also when its first use has put the sha256 of the cut file into the record."""
    home = tmp_path / "dino-x"
    home.mkdir()
    (home / "config.json").write_bytes(CONFIG)
    (home / "model.safetensors").write_bytes(MODEL[:size])
    if used:
        for name in ("config.json", "model.safetensors"):
            record_sha256(home / name, tmp_path)
    said: list[str] = []
    pull(FOLDER, tmp_path, said.append)
    assert full.fetched == ["model.safetensors!"]
    assert (home / "model.safetensors").read_bytes() == MODEL
    assert read_record(tmp_path)["dino-x/model.safetensors"]["sha256"] == hashlib.sha256(MODEL).hexdigest()
    assert any("fetching it again" in line for line in said)


def test_a_folder_that_lacks_one_file_and_has_another_cut(full: Hub, tmp_path: Path) -> None:
    (tmp_path / "dino-x").mkdir()
    (tmp_path / "dino-x" / "model.safetensors").write_bytes(MODEL[:-3])
    pull(FOLDER, tmp_path, print)
    assert full.fetched == ["config.json", "model.safetensors!"]
    assert (tmp_path / "dino-x" / "model.safetensors").read_bytes() == MODEL


def test_what_was_put_there_by_hand_is_compared_once(full: Hub, tmp_path: Path) -> None:
    home = tmp_path / "dino-x"
    home.mkdir()
    (home / "config.json").write_bytes(CONFIG)
    other = save({"a": torch.zeros(6)})  # whole, of the same size, of other values
    (home / "model.safetensors").write_bytes(other)
    said: list[str] = []
    pull(FOLDER, tmp_path, said.append)
    assert full.fetched == ["model.safetensors!"]
    assert "dino-x/model.safetensors: it is not what Hugging Face has; fetching it again" in said
    assert {entry["from"] for entry in read_record(tmp_path).values()} == {"huggingface.co/f/dino-x@c0ffee"}
    asked = len(full.asked)
    pull(FOLDER, tmp_path, said.append)
    assert len(full.asked) == asked  # all is known now


def test_without_a_network_it_is_said_that_nobody_compared(
    full: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, said = tmp_path / "dino-x", []  # type: ignore[var-annotated]
    home.mkdir()
    for name, data in full.of.items():
        (home / name).write_bytes(data)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert pull(FOLDER, tmp_path, said.append) == home
    assert "dino-x/model.safetensors: not compared with Hugging Face (HF_HUB_OFFLINE is set)" in said
    (home / "model.safetensors").write_bytes(MODEL[:-1])
    with pytest.raises(ModelError, match="cannot be fetched"):
        pull(FOLDER, tmp_path, said.append)
    assert (home / "model.safetensors").exists()  # kept until there is a better one


def test_a_damaged_file_that_cannot_be_fetched_fails(tmp_path: Path) -> None:
    path = tmp_path / "text.pth"
    path.write_bytes(saved(path)[:-20])
    with pytest.raises(ModelError, match=r"is damaged \(it is cut short\): ask Meta at https://example.org: "):
        pull(BY_HAND, tmp_path, print)
    path.write_bytes(b"<html>")
    with pytest.raises(ModelError, match="it is no file of weights"):
        pull(BY_HAND, tmp_path, print)


def test_a_plain_file_that_is_damaged_is_fetched_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(urllib.request, "urlopen", lambda *a, **k: io.BytesIO(DATA))
    (tmp_path / "bpe.gz").write_bytes(DATA[:3])
    assert pull(PLAIN, tmp_path, print).read_bytes() == DATA


def test_the_first_of_several_names_that_there_is_counts(full: Hub, tmp_path: Path) -> None:
    wanted = Wanted(
        "CLIP weights", ("b",), "MIT", repo="a/b", nested=True, files=("open.safetensors|open.bin", "tokens.json|")
    )
    full.gone = {"open.safetensors", "tokens.json"}
    full.of = {"open.bin": saved(tmp_path / "x")}
    assert pull(wanted, tmp_path, print) == tmp_path / "b"
    assert full.fetched == ["open.bin"]
    assert list(read_record(tmp_path)) == ["b/open.bin"]
    assert pull(wanted, tmp_path, print) == tmp_path / "b"
    assert full.fetched == ["open.bin"]
    full.gone = {"open.safetensors", "open.bin"}
    with pytest.raises(ModelError, match=r"no longer where it was \(c/b\)"):
        pull(replace(wanted, repo="c/b"), tmp_path / "other", print)


def test_a_model_in_parts_is_fetched_with_all_of_them(full: Hub, tmp_path: Path) -> None:
    index, names = "model.safetensors.index.json", ["model-1.safetensors", "model-2.safetensors"]
    wanted = replace(FOLDER, files=("config.json", f"model.safetensors|{index}"))
    full.gone = {"model.safetensors"}
    full.of = {
        "config.json": CONFIG,
        names[0]: MODEL,
        names[1]: MODEL,
        index: json.dumps({"weight_map": {"a": names[0], "b": names[1], "c": names[0]}}).encode(),
    }
    home = pull(wanted, tmp_path, print)
    assert full.fetched == ["config.json", index, *names]
    (home / names[1]).unlink()
    with pytest.raises(ModelError, match=r"incomplete \(model-2.safetensors is not there\)"):
        locate(wanted, tmp_path)
    pull(wanted, tmp_path, print)
    (home / names[0]).write_bytes(MODEL[:50])
    pull(wanted, tmp_path, print)
    assert full.fetched[4:] == [names[1], names[0] + "!"]


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
}


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
    path = tmp_path / "text.pth"
    saved(path)
    assert pull(BY_HAND, tmp_path, print) == path
    assert read_record(tmp_path)["text.pth"]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_folder_that_cannot_be_made_fails(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ModelError, match=r"folder for weights cannot be created .*choose another folder as `weights`"):
        pull(OPEN, tmp_path / "file" / "below", print)


def test_a_missing_library_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(ModelError, match=r"pip install 'vidmem\[tren\]'"):
        pull(OPEN, tmp_path, print)
