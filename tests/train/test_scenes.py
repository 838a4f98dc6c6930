"""Training pictures: the same for a seed, with masks that fit them; and one step of each stage."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vidmem.encoders.tiny_net import DIM, TEXT_DIM, TinyNet
from vidmem.train.scenes import GRID, HEIGHT, MOST, WIDTH, Scene, SceneMaker, load_photos
from vidmem.train.tiny import (
    Prototypes,
    TextTower,
    backbone_step,
    collate,
    evaluate,
    heat_loss,
    heat_targets,
    nameless,
    pooled,
    reduce_table,
    region_step,
    text_labels,
)
from vidmem.world.drawings import Drawing, load_drawings, things

FIELDS = ("image", "cover", "labels", "centres", "sizes", "drawings", "scenery")
NAMES = [thing.name for thing in things()]


def maker(seed: int, photos: list[Image.Image] | None = None) -> SceneMaker:
    return SceneMaker(load_drawings(), NAMES, photos or [], seed)


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return list(itertools.islice(maker(3), 4))


def test_the_same_seed_gives_the_same_scenes(scenes: list[Scene]) -> None:
    for ours, theirs in zip(scenes[:2], maker(3), strict=False):
        for name in FIELDS:
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name), err_msg=name)


def test_another_seed_gives_another(scenes: list[Scene]) -> None:
    assert (maker(4).scene().image != scenes[0].image).any()
    assert (scenes[1].image != scenes[0].image).any()


def test_scenes_have_the_promised_form(scenes: list[Scene]) -> None:
    for scene in scenes:
        assert scene.image.shape == (HEIGHT, WIDTH, 3)
        assert scene.image.dtype == np.uint8
        assert scene.cover.shape == (MOST, *GRID)
        assert scene.cover.dtype == np.float32
        assert scene.cover.min() >= 0
        assert scene.cover.max() <= 1
        assert scene.labels.shape == (MOST,)
        assert ((scene.labels >= -3) & (scene.labels < len(NAMES))).all()
        used = scene.labels > -3
        assert (scene.cover[used].sum((1, 2)) >= 1.5).all()
        assert not scene.cover[~used].any()
        assert (scene.labels >= 0).sum() >= 5
        # visible parts of objects lie side by side, never one on the other
        assert scene.cover[scene.labels >= 0].sum(0).max() <= 1 + 1e-5
        h, w = GRID
        assert ((scene.centres >= 0) & (scene.centres <= (w - 1, h - 1))).all()
        drawn = scene.drawings[scene.labels >= 0]
        assert [NAMES[i] for i in scene.labels[scene.labels >= 0]] == [load_drawings()[d].name for d in drawn]
        assert (scene.drawings[scene.labels < 0] == -1).all()
        assert ((scene.scenery >= 0) & (scene.scenery + scene.cover[scene.labels >= 0].sum(0) <= 1 + 1e-5)).all()
        np.testing.assert_allclose(scene.sizes[used] ** 2, scene.cover[used].sum((1, 2)), rtol=1e-4)


def test_masks_lie_where_the_things_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """A drawing of one plain colour, no distortion of colours, on black: masks cover exactly that colour."""
    drawing = Drawing("dog", (), "d", Image.new("RGBA", (60, 60), (255, 0, 255, 255)))
    made = SceneMaker([drawing], ["dog"], [], 1)
    black = np.ones((HEIGHT, WIDTH), bool)
    monkeypatch.setattr(made, "_background", lambda: (Image.new("RGB", (WIDTH, HEIGHT)), [(black, -1)]))
    monkeypatch.setattr(made, "_distort", lambda picture, size: picture.resize((int(size), int(size))))
    monkeypatch.setattr(made, "_shadow", lambda *_: None)
    monkeypatch.setattr(made, "_camera", np.asarray)
    scene = made.scene()
    seen = scene.image[..., 0] > 127
    share = seen.reshape(GRID[0], 8, GRID[1], 8).mean((1, 3))
    objects = scene.cover[scene.labels >= 0].sum(0)
    assert (objects <= share + 1e-5).all()  # slivers of under 1.5 patches are left out
    assert objects.sum() > 0.9 * share.sum()
    assert (scene.cover[scene.labels == -1] == 1).all()


def test_a_drawing_without_a_name_in_the_list_fails() -> None:
    with pytest.raises(KeyError):
        SceneMaker(load_drawings()[:3], ["no such thing"], [], 0)


def test_photos_are_the_first_two_thirds_of_each_folder(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        for i in range(6):
            Image.new("RGB", (400, 100 + i), (i * 40, 0, 0)).save(tmp_path / folder / f"{i}.png")
    (tmp_path / "a" / "notes.txt").write_text("not a photo")
    photos = load_photos(tmp_path, 100)
    assert len(photos) == 8
    assert {photo.getpixel((0, 0)) for photo in photos} == {(i * 40, 0, 0) for i in range(4)}
    assert all(max(photo.size) <= 360 for photo in photos)
    assert len(load_photos(tmp_path, 3)) == 3


def test_no_photos_give_none(tmp_path: Path) -> None:
    assert load_photos(tmp_path, 5) == []


def test_pooled_is_the_mean_under_the_mask() -> None:
    features = torch.arange(8.0).view(1, 2, 2, 2)
    cover = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 0.0], [0.0, 0.0]]])[None]
    torch.testing.assert_close(pooled(features, cover), torch.tensor([[[1.5, 5.5], [0.0, 0.0]]]))


def test_heat_peaks_at_object_centres_alone() -> None:
    batch = {
        "cover": torch.zeros(1, 3, 6, 8),
        "labels": torch.tensor([[4, -1, -3]]),
        "centres": torch.tensor([[[5.2, 1.9], [2.0, 4.0], [0.0, 0.0]]]),
        "sizes": torch.full((1, 3), 3.0),
    }
    target = heat_targets(batch)
    assert target.shape == (1, 6, 8)
    assert target[0, 2, 5] == 1
    assert target[0, 4, 2] < 0.1
    good = torch.where(target > 0.99, 6.0, -6.0)
    assert heat_loss(good, target) < 0.05 < heat_loss(-good, target)


def test_background_takes_the_last_name() -> None:
    assert text_labels(torch.tensor([5, -1, -2, -3]), 10).tolist() == [5, 9, -2, -3]


def test_reduced_table_has_unit_rows() -> None:
    table = reduce_table(np.random.default_rng(0).standard_normal((50, 20)), 8)
    assert table.shape == (50, 8)
    assert table.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(table, axis=1), 1, rtol=1e-5)


@pytest.fixture(scope="module")
def text() -> TextTower:
    phrases = " ".join(" ".join((t.name, *t.synonyms)) for t in things()).lower()
    letters = sorted(set(phrases) - set(" "))
    vocabulary = [*letters, *("##" + c for c in letters), "background", "plain", "nothing"]
    table = np.random.default_rng(0).standard_normal((len(vocabulary), TEXT_DIM)).astype(np.float32)
    return TextTower(table, vocabulary)


def test_text_tower_gives_one_unit_vector_per_name(text: TextTower) -> None:
    vectors = text()
    assert vectors.shape == (len(NAMES) + 1, TEXT_DIM)
    torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(len(vectors)))
    torch.testing.assert_close(text(), vectors)
    assert (text(np.random.default_rng(0)) != vectors).any(dim=1).sum() > 100  # synonyms and plurals take turns
    assert text.drift() == 0


def test_prototypes_tell_drawings_apart() -> None:
    drawn = Prototypes(3)
    with torch.no_grad():
        drawn.vectors.zero_()[torch.arange(3), torch.arange(3)] = 2.0  # length must not matter
        drawn.centre.fill_(0.5)
    tokens = torch.eye(DIM)[:3] * 7 + 0.5
    assert drawn(tokens, torch.tensor([0, 1, 2])) < 1e-4
    assert drawn(tokens, torch.tensor([1, 2, 0])) > 10


def test_nameless_tokens_want_the_last_name() -> None:
    texts = torch.eye(3)
    assert nameless(torch.tensor([[0.0, 0.0, 5.0]]), texts) < 1e-4 < nameless(torch.tensor([[5.0, 0.0, 0.0]]), texts)
    assert nameless(torch.empty(0, 3), texts) == 0


@pytest.mark.slow
@pytest.mark.parametrize("stage", [backbone_step, region_step])
def test_a_step_lowers_the_loss(text: TextTower, scenes: list[Scene], stage: object) -> None:
    assert callable(stage)
    torch.manual_seed(0)
    net, batch = TinyNet().to(memory_format=torch.channels_last), collate(scenes[:2])  # type: ignore[call-overload]
    net.train()
    drawn = Prototypes(len(load_drawings()))
    parts = [net.regions, net.score] if stage is region_step else [net]
    parameters = [p for part in parts for p in part.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3)
    totals = []
    for _ in range(4):
        torch.manual_seed(1)
        losses = stage(net, text, drawn, batch, np.random.default_rng(0))
        assert all(loss.isfinite() and loss.ndim == 0 for loss in losses.values()), losses
        total = sum(losses.values())
        optimizer.zero_grad()
        total.backward()
        assert any(p.grad is not None and p.grad.any() for p in parameters)
        optimizer.step()
        totals.append(total.item())
    assert totals[-1] < totals[0]


@pytest.mark.slow
def test_evaluate_gives_shares(text: TextTower, scenes: list[Scene]) -> None:
    torch.manual_seed(0)
    net = TinyNet()
    found = evaluate(net, text, [collate(scenes[:1])])
    assert found.keys() == {"pooled", "token", "iou"}
    assert all(0 <= value <= 1 for value in found.values())
    assert net.training
