"""The text side, fitted once more to the tokens of a finished network."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from vidmem.encoders.region_encoder import RegionEncoder
from vidmem.train.refit import balanced, refit, shared
from vidmem.train.tokens import Named
from vidmem.train.towers import TextTower

WORDS = ("cup", "mug", "dog", "hound", "background", "plain", "cups", "mugs", "red")


@pytest.fixture(autouse=True)
def rates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Vectors of 8 numbers have larger ones than those of 128, and a test has fewer steps."""
    monkeypatch.setattr("vidmem.train.refit.TABLE_RATE", 0.005)


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


def named(tokens: torch.Tensor, labels: torch.Tensor) -> Named:
    none = torch.full((len(labels),), -1)
    return Named(tokens, labels, none, torch.ones(len(labels)))


def projector() -> RegionEncoder:
    """Only its text projector is used."""
    torch.manual_seed(0)
    return RegionEncoder(8, 8, heads=1)


NO_ANSWERS = torch.zeros(0, 2)


def two_clouds() -> Named:
    centres = torch.nn.functional.normalize(torch.randn(2, 8, generator=torch.Generator().manual_seed(1)), dim=-1)
    labels = torch.arange(2).repeat_interleave(40)
    return named(centres[labels] + 0.1 * torch.randn(80, 8, generator=torch.Generator().manual_seed(2)), labels)


def test_every_way_to_say_a_name_finds_its_tokens(folder: Path, tmp_path: Path) -> None:
    tower, regions, cloud = TextTower(folder), projector(), two_clouds()

    def rightly(words: tuple[str, ...], table: np.ndarray) -> list[int]:
        with torch.no_grad():
            said = torch.from_numpy(table[[WORDS.index(w) for w in words]])
            likeness = torch.nn.functional.normalize(said, dim=-1) @ regions.project(cloud.tokens).T
        return [int(cloud.labels[i]) for i in likeness.argmax(1)]

    refit(tower, regions, [], [cloud], NO_ANSWERS, folder, tmp_path / "out", steps=1000, batch=32)
    with np.load(tmp_path / "out" / "text.npz") as kept:
        assert rightly(("cup", "mug", "cups", "mugs", "dog", "hound"), kept["table"]) == [0, 0, 0, 0, 1, 1]


def test_the_projector_learns_what_tells_names_apart(folder: Path, tmp_path: Path) -> None:
    tower, regions, cloud = TextTower(folder), projector(), two_clouds()
    before = regions.q_proj.weight.clone()
    refit(tower, regions, [], [cloud, cloud], NO_ANSWERS, folder, tmp_path / "out", steps=1000, batch=32)
    with torch.no_grad():
        likeness = torch.nn.functional.normalize(regions.project(cloud.tokens), dim=-1) @ tower()[:2].T
    assert (likeness.argmax(1) == cloud.labels).all()
    assert torch.equal(regions.q_proj.weight, before)  # the rest of the encoder stays


def test_what_the_teacher_says_moves_tokens_without_a_name(folder: Path, tmp_path: Path) -> None:
    cloud = two_clouds()
    told = Named(cloud.tokens, torch.full_like(cloud.labels, -1), cloud.labels, cloud.weights)  # one answer a cloud
    answers = torch.tensor([[0.95, 0.05], [0.05, 0.95]]).log()
    tower, regions = TextTower(folder), projector()
    two = named(torch.zeros(2, 8), torch.arange(2))  # names are seen on nothing that tells them apart
    refit(tower, regions, [], [two, told], answers, folder, tmp_path / "out", steps=1000, batch=32)
    with torch.no_grad():
        likeness = torch.nn.functional.normalize(regions.project(cloud.tokens), dim=-1) @ tower()[:2].T
    assert (likeness.argmax(1) == cloud.labels).float().mean() > 0.9


def test_what_is_known_is_kept_beside_what_is_new(folder: Path, tmp_path: Path) -> None:
    """The new tokens say the opposite of what the network has learned: it gives way less where it is known."""
    cloud = two_clouds()
    learned, towers = projector(), [TextTower(folder) for _ in range(3)]
    refit(towers[0], learned, [], [cloud], NO_ANSWERS, folder, tmp_path / "learned", steps=1000, batch=32)
    against = named(cloud.tokens, 1 - cloud.labels)

    def still_right(known: list[Named], tower: TextTower) -> float:
        regions = projector()
        regions.load_state_dict(learned.state_dict())
        tower.load_state_dict(towers[0].state_dict())
        source = tmp_path / "learned"
        refit(tower, regions, known, [against], NO_ANSWERS, source, tmp_path / "out", steps=300, batch=32)
        with torch.no_grad():
            likeness = torch.nn.functional.normalize(regions.project(cloud.tokens), dim=-1) @ tower()[:2].T
        return float((likeness.softmax(-1)[torch.arange(80), cloud.labels]).mean())

    kept, lost = still_right([cloud], towers[1]), still_right([], towers[2])
    assert kept > lost + 0.1


def test_a_name_with_many_pictures_is_not_all_that_is_learned() -> None:
    weights = balanced(named(torch.zeros(10, 8), torch.tensor([0] * 9 + [1])), 3)
    assert weights[:9].sum() == pytest.approx(3 * float(weights[9]))


def test_what_it_writes_is_a_text_folder_that_the_tower_agrees_with(folder: Path, tmp_path: Path) -> None:
    tower = TextTower(folder)
    found = named(torch.randn(20, 8), torch.arange(20) % 2)
    refit(tower, projector(), [], [found], NO_ANSWERS, folder, tmp_path / "out", steps=5, batch=8)
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
    found = named(centres[labels], labels)
    refit(tower, projector(), [], [found], NO_ANSWERS, folder, tmp_path / "out", steps=3000, batch=32)
    with np.load(tmp_path / "out" / "text.npz") as kept:
        after = torch.nn.functional.normalize(torch.from_numpy(kept["table"]), dim=-1)
    assert float(after[WORDS.index("mug")] @ centres[0]) > 0.5  # it began at -0.25


def test_what_the_teacher_tells_of_keeps_its_word(folder: Path) -> None:
    facts = json.loads((folder / "names.json").read_text("utf-8"))
    facts["classes"].append({"phrases": ["mug"], "taught": False})
    facts["imagenet"].append([2])
    (folder / "names.json").write_text(json.dumps(facts), "utf-8")
    assert shared(TextTower(folder))[0] == {}
