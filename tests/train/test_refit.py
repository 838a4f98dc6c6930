"""The text table, fitted once more to the tokens of a finished network."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from vidmem.train.refit import refit, shared
from vidmem.train.towers import TextTower

WORDS = ("cup", "mug", "dog", "hound", "background", "plain", "cups", "mugs", "red")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three names; "mug" and "hound" are synonyms that were placed anywhere."""
    rng = np.random.default_rng(0)
    table = rng.standard_normal((len(WORDS), 8)).astype(np.float32)
    out = tmp_path / "text"
    out.mkdir()
    goals = table[[0, 2]] / np.linalg.norm(table[[0, 2]], axis=1, keepdims=True)
    np.savez(out / "text.npz", table=table, goals=goals)
    (out / "vocabulary.txt").write_text("\n".join(WORDS) + "\n", "utf-8")
    classes = [{"phrases": ["cup", "mug"], "taught": True}, {"phrases": ["dog", "hound"], "taught": True}]
    (out / "names.json").write_text(json.dumps({"classes": classes, "imagenet": [[0], [1]]}), "utf-8")
    return out


def test_synonyms_and_plurals_come_to_the_tokens_of_their_name(folder: Path, tmp_path: Path) -> None:
    tower = TextTower(folder)
    centres = torch.nn.functional.normalize(torch.randn(2, 8, generator=torch.Generator().manual_seed(1)), dim=-1)
    labels = torch.arange(2).repeat_interleave(40)
    tokens = centres[labels] + 0.1 * torch.randn(80, 8, generator=torch.Generator().manual_seed(2))

    def nearest(table: np.ndarray) -> list[int]:
        asked = torch.nn.functional.normalize(torch.from_numpy(table), dim=-1)
        return [int(i) for i in (asked @ centres.T).argmax(1)]

    refit(tower, tokens, labels, folder, tmp_path / "out", steps=600, batch=32)
    with np.load(tmp_path / "out" / "text.npz") as kept:
        after = nearest(kept["table"])
    assert [after[WORDS.index(w)] for w in ("cup", "mug", "cups", "mugs")] == [0] * 4
    assert [after[WORDS.index(w)] for w in ("dog", "hound")] == [1] * 2


def test_what_it_writes_is_a_text_folder_that_the_tower_agrees_with(folder: Path, tmp_path: Path) -> None:
    tower = TextTower(folder)
    refit(tower, torch.randn(20, 8), torch.arange(20) % 2, folder, tmp_path / "out", steps=5, batch=8)
    again = TextTower(tmp_path / "out")
    torch.testing.assert_close(again(), tower(), atol=1e-5, rtol=0)


def test_a_phrase_is_said_of_what_pictures_show(folder: Path, tmp_path: Path) -> None:
    """A list of names has a class "mug" of its own, which no picture shows: "mug" is still the cup of the pictures."""
    facts = json.loads((folder / "names.json").read_text("utf-8"))
    facts["classes"].append({"phrases": ["mug"], "taught": False})
    (folder / "names.json").write_text(json.dumps(facts), "utf-8")
    with np.load(folder / "text.npz") as kept:
        table, goals = kept["table"], kept["goals"]
    goals = np.concatenate([goals, -goals[:1]])
    np.savez(folder / "text.npz", table=table, goals=goals)
    tower = TextTower(folder)
    claimed, pairs = shared(tower)
    assert claimed == {"mug": 0}
    assert pairs[0, 2]
    assert pairs[2, 0]
    assert pairs.sum() == 2
    with torch.no_grad():
        centres = torch.nn.functional.normalize(torch.stack([tower()[0], tower()[1]]), dim=-1)
    labels = torch.arange(2).repeat_interleave(20)
    refit(tower, centres[labels], labels, folder, tmp_path / "out", steps=3000, batch=32)
    with np.load(tmp_path / "out" / "text.npz") as kept:
        after = torch.nn.functional.normalize(torch.from_numpy(kept["table"]), dim=-1)
    assert float(after[WORDS.index("mug")] @ centres[0]) > 0.5  # it began at -0.25


def test_what_the_teacher_tells_of_keeps_its_word(folder: Path) -> None:
    facts = json.loads((folder / "names.json").read_text("utf-8"))
    facts["classes"].append({"phrases": ["mug"], "taught": False})
    facts["imagenet"].append([2])
    (folder / "names.json").write_text(json.dumps(facts), "utf-8")
    assert shared(TextTower(folder))[0] == {}
