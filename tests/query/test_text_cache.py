"""Questions asked again: neither the model nor PyTorch is needed."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from encoders import clip_folder
from encoders.fake import video

from vidmem.encoders import load_text
from vidmem.encoders.clip.files import WEIGHTS
from vidmem.encoders.clip.text import ClipText
from vidmem.encoders.hub import RECORD
from vidmem.errors import ModelError, ModelMismatchError, UsageError
from vidmem.memory import Memory
from vidmem.store import Store
from vidmem.store.phrase_cache import PhraseCache

clip_folder.required()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A memory by `gem` and its model."""
    home = tmp_path_factory.mktemp("remembered")
    model = clip_folder.write(home / "model")
    clip = video(home / "walk.mp4", [{"red": (4 * i, 8)} for i in range(3)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vidmem.encoders.clip.gem.SIDE", 64)
        with Memory.open(home / "memory", encoder=f"gem:local-dir:{model}", device="cpu") as memory:
            memory.index(clip)
            memory.cache()
    return home / "memory", model


@pytest.fixture
def folder(made: tuple[Path, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(made[0], tmp_path / "memory"))


def reopened(folder: Path) -> Memory:
    """The memory for reading, with the encoder that it names, which its user must say: it lies in a folder."""
    return Memory.open(folder, read_only=True, encoder=encoder_of(folder))


def encoder_of(folder: Path) -> str:
    with Store.open(folder) as store:
        made = store.model()
    assert made is not None
    return made.encoder


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the model is asked."""
    asked: list[str] = []
    before = ClipText._vectors

    def vectors(self: ClipText, texts: list[str]) -> np.ndarray:
        asked.extend(texts)
        return before(self, texts)

    monkeypatch.setattr(ClipText, "_vectors", vectors)
    return asked


def test_the_second_question_asks_no_model(folder: Path, encoded: list[str]) -> None:
    answers = []
    for _ in range(2):
        with reopened(folder) as memory:
            answers.append(memory.where("red cup", top=None))
    assert encoded == ["a photo of a red cup.", "background, any other thing"]
    assert answers[0] == answers[1]
    with reopened(folder) as memory:
        memory.where("blue cup")
        memory.watch(["blue cup", "red cup", "green cup"])
    assert encoded[2:] == ["a photo of a blue cup.", "background, any other thing", "a photo of a green cup."]


@pytest.mark.parametrize(
    "told",
    [
        5,
        [],
        {},
        {"files": []},
        {"files": [], "info": ["clip", "w", 1, 1]},
        {"files": [5], "info": ["clip", "w", 1, 1]},
        {"files": [["a\0b", 1, 1]], "info": ["clip", "w", 1, 1]},
        {"files": [["/none", 1, 1]], "info": 5},
        {"files": [None], "info": ["clip", "w", 1, 1]},
    ],
)
def test_what_was_not_remembered_here_is_not_believed(folder: Path, told: object, encoded: list[str]) -> None:
    with reopened(folder) as memory:
        want = memory.where("red cup", top=None)
        made = memory.store.model()
        assert made is not None
        texts = PhraseCache(memory.store)
        assert texts.facts(made.encoder) is not None
        texts.set_facts(made.encoder, told)
        conn = sqlite3.connect(memory.store.cache_folder / "texts.sqlite")
        with conn:
            conn.execute("UPDATE texts SET width = 1")
        conn.close()
    encoded.clear()
    with reopened(folder) as memory:
        assert memory.where("red cup", top=None) == want
    assert encoded == ["a photo of a red cup.", "background, any other thing"]


def test_the_second_question_imports_no_torch(folder: Path) -> None:
    code = "import sys\nfrom vidmem.cli import main\ntry: main()\nfinally: print(*sys.modules, file=sys.stderr)"
    told = []
    for _ in range(2):
        command = [sys.executable, "-c", code, "where", "red", "cup", "--json", "--memory", str(folder)]
        command += ["--encoder", encoder_of(folder)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode in (0, 1), done.stderr
        told.append((json.loads(done.stdout), set(done.stderr.splitlines()[-1].split())))
    assert "torch" in told[0][1]
    assert {"torch", "open_clip", "av", "PIL"}.isdisjoint(told[1][1])
    assert told[0][0] == told[1][0]


def test_it_remembers_what_the_model_says(folder: Path, made: tuple[Path, Path]) -> None:
    own = load_text(f"gem:local-dir:{made[1]}")
    want = own.encode_text(["a cup", "my keys"])
    for _ in range(2):
        with reopened(folder) as memory:
            text = memory.text_encoder
            assert text.info == own.info
            np.testing.assert_allclose(text.encode_text(["a cup", "my keys"]), want, atol=1e-6)
            np.testing.assert_allclose(text.contrast(want[0]), own.contrast(want[0]), atol=1e-6)
            assert text.encode_text([]).shape == (0, own.info.text_dim)


def test_a_phrase_that_cannot_be_read_is_refused_each_time(folder: Path) -> None:
    for _ in range(2):
        with reopened(folder) as memory, pytest.raises(UsageError, match="at most 77 fit"):
            memory.where("c1" * 500)


def test_that_a_phrase_is_cut_is_said_each_time(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        caplog.clear()
        with reopened(folder) as memory:
            memory.where("cup " * 500)
        (line,) = caplog.messages
        caplog.clear()
        assert "tokens with its prompt, at most 77 fit; its first 70 words count, up to 'cup cup cup'" in line


def test_other_weights_are_noticed(folder: Path, made: tuple[Path, Path], tmp_path: Path) -> None:
    model = Path(shutil.copytree(made[1], tmp_path / "copy"))
    (model / RECORD).unlink()
    spec = f"gem:local-dir:{model}"
    clip = video(tmp_path / "walk.mp4", [{"red": (4 * i, 8)} for i in range(3)])
    with Memory.open(tmp_path / "other", encoder=spec, device="cpu") as memory:
        memory.index(clip)
        memory.where("red cup")
    data = bytearray((model / WEIGHTS).read_bytes())
    data[-1] ^= 1
    (model / WEIGHTS).write_bytes(data)
    with pytest.raises(ModelError, match="the weights have changed"):
        reopened(tmp_path / "other")
    (model / RECORD).unlink()
    with pytest.raises(ModelMismatchError, match="weights"):
        reopened(tmp_path / "other")
    (model / WEIGHTS).unlink()
    with pytest.raises(ModelError, match="holds no weights"):
        reopened(tmp_path / "other")
