"""The second step of `tiny`: views looked at by an ImageNet network, what they are like and what they are called."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidmem.encoders import shipped as shipped_files
from vidmem.encoders.base import ViewEncoder
from vidmem.encoders.tiny.naming import CLASSES, FACTS, FEATURES, HINT_INPUTS, HINTS, MAP_INPUTS, Naming
from vidmem.encoders.tiny.text import load_text
from vidmem.encoders.tiny.views import NAMES, SIDE, TinyViews, facts_of, load, network, square
from vidmem.errors import ModelError
from vidmem.records import View

DOG, CUP = 16, 41
"""Of COCO's 80 classes."""


class Net:
    """Stands in for the network: what it says follows from the mean colour of what it is shown."""

    def run(self, outputs: list[str], inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        assert outputs == ["features", "logits"]
        colour = inputs["pixels"].mean((1, 2)).astype(np.float32) / 255
        rng = np.random.default_rng(0)
        return [np.abs(colour @ rng.normal(size=(3, n)).astype(np.float32)) * 3 for n in (FEATURES, CLASSES)]


def tensors(**other: Any) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    shapes = {
        "mean": (FEATURES,),
        "visual": (FEATURES, 6),
        "photo": (FEATURES + CLASSES + 1, 5),
        "drawn": (FEATURES + 1, 5),
        "gate": (FEATURES + 1,),
        "hints": (HINTS, 5),
        "names": (9, 5),
        "hint_right": (HINT_INPUTS,),
        "map_near": (MAP_INPUTS,),
        "map_right": (MAP_INPUTS,),
    }
    made = {name: rng.normal(0, 0.1, shape).astype(np.float32) for name, shape in shapes.items()}
    return made | other


def view(image: np.ndarray, hint: np.ndarray | None = None) -> View:
    h, w = image.shape[:2]
    said = np.zeros(HINTS, np.float32) if hint is None else hint
    return View(image, (0.0, 0.0, float(w), float(h)), (w, h), 0, said, 0.5, 1.0)


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def hint(row: int, chance: float) -> np.ndarray:
    out = np.zeros(HINTS, np.float32)
    out[row] = chance
    return out


@pytest.fixture(scope="module")
def shipped() -> TinyViews:
    return load()


@given(st.integers(1, 400), st.integers(1, 400), st.integers(0, 99))
@settings(deadline=None, max_examples=40)
def test_square_keeps_ratio_and_fills_with_mean_colour(height: int, width: int, seed: int) -> None:
    image = picture(height, width, seed) // 2 + 60
    out = square(image)
    assert out.shape == (SIDE, SIDE, 3)
    long, short = max(height, width), min(height, width)
    inner = max(1, round(short * SIDE / long))
    rim = (SIDE - inner) // 2
    strips = out[:rim] if width >= height else out[:, :rim]
    if strips.size:
        assert (strips == strips[0, 0]).all()
        middle = out[rim : rim + inner] if width >= height else out[:, rim : rim + inner]
        assert np.abs(strips[0, 0] - middle.mean((0, 1))).max() <= 1


def test_square_leaves_a_view_of_its_size_alone() -> None:
    image = picture(SIDE, SIDE)
    assert (square(image) == image).all()


def test_facts() -> None:
    assert facts_of(picture(SIDE, SIDE))[:2].tolist() == [0, 0]
    assert facts_of(picture(SIDE // 4, SIDE // 2))[:2].tolist() == [-1, 1]
    noise, flat = picture(60, 60), np.full((60, 60, 3), 90, np.uint8)
    soft = np.asarray(np.repeat(np.repeat(noise[::10, ::10], 10, 0), 10, 1))
    assert facts_of(noise)[2] > 2 * facts_of(soft)[2] > 0
    assert facts_of(flat)[2] == 0


def test_tokens_are_bounded() -> None:
    views = TinyViews(Net(), tensors())
    sizes = [(30, 90), (192, 3), (64, 64)] * 7
    shown = [view(picture(h, w, i), hint(i, i / 20)) for i, (h, w) in enumerate(sizes)]
    seen = views.look(shown)
    assert seen.visual.shape == (21, 6)
    assert seen.text.shape == (21, 5)
    assert seen.visual.dtype == seen.text.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(seen.visual, axis=1), 1, atol=1e-5)
    assert (np.linalg.norm(seen.text, axis=1) <= 1).all()


def test_no_views() -> None:
    seen = TinyViews(Net(), tensors()).look([])
    assert seen.visual.shape == (0, 6)
    assert seen.text.shape == (0, 5)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (2, 2)])
def test_tiniest_views(shipped: TinyViews, size: tuple[int, int]) -> None:
    seen = shipped.look([view(np.full((*size, 3), 128, np.uint8))])
    assert np.isfinite(seen.visual).all()
    assert np.isfinite(seen.text).all()
    assert np.linalg.norm(seen.visual) == pytest.approx(1, abs=1e-5)
    assert np.linalg.norm(seen.text) < 0.5  # there is nothing to name


def test_company_changes_nothing(shipped: TinyViews) -> None:
    many = [view(picture(40 + i, 90, i), hint(i, 0.6)) for i in range(19)]
    together = shipped.look(many)
    for i in (0, 15, 16, 18):
        alone = shipped.look([many[i]])
        assert (alone.visual[0] == together.visual[i]).all()
        assert (alone.text[0] == together.text[i]).all()


def test_no_hint_is_a_hint_of_zeros(shipped: TinyViews) -> None:
    image = picture(80, 60)
    one, other = shipped.look([view(image, np.zeros(0, np.float32)), view(image)]).text
    assert (one == other).all()


def test_hint_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="80 values or none"):
        TinyViews(Net(), tensors()).look([view(picture(9, 9), np.zeros(3, np.float32))])


@pytest.mark.parametrize(("row", "name"), [(DOG, "dog"), (CUP, "cup")])
def test_a_sure_hint_names_and_a_weak_one_does_not(shipped: TinyViews, row: int, name: str) -> None:
    blurred = np.repeat(np.repeat(picture(6, 6) // 4 + 90, 15, 0), 15, 1)
    names = ["dog", "cup", "bottle", "person", "chair", "laptop", "banana"]
    vectors = load_text().encode_text(names)
    sure, weak, none = (vectors @ shipped.look([view(blurred, hint(row, p))]).text[0] for p in (0.85, 0.05, 0.0))
    assert names[int(sure.argmax())] == name
    at = names.index(name)
    assert sure[at] > 0.3
    assert sure[at] > 2 * max(weak[at], none[at])


def test_is_a_view_encoder(shipped: TinyViews) -> None:
    assert isinstance(shipped, ViewEncoder)
    assert shipped.view_pixels == SIDE
    assert shipped.wants_hint


def test_likeness_survives_size_and_light(shipped: TinyViews) -> None:
    from skimage import data  # real photographs in the public domain

    shown = []
    for photo in (data.coffee(), data.chelsea(), data.astronaut(), data.rocket()):
        small = np.asarray(photo)[::4, ::4]
        shown += [view(np.asarray(photo)[::2, ::2]), view((small * 0.8 + 10).astype(np.uint8))]
    visual = shipped.look(shown).visual
    likeness = visual @ visual.T
    for i in range(0, 8, 2):
        others = np.delete(likeness[i], [i, i + 1])
        assert likeness[i, i + 1] > others.max() + 0.2


def many(n: int, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Features, logits, hints and facts of n views."""
    rng = np.random.default_rng(seed)
    made = (
        np.abs(rng.normal(size=(n, FEATURES))),
        rng.normal(size=(n, CLASSES)) * 3,
        rng.uniform(0, 1, (n, HINTS)) ** 4,
        rng.normal(size=(n, FACTS)),
    )
    return tuple(v.astype(np.float32) for v in made)


def test_many_views_at_a_time_are_each_by_itself() -> None:
    naming, views = Naming(tensors()), many(7)
    together = naming.tokens(*views)
    assert together.shape == (7, 5)
    for i in range(7):
        np.testing.assert_allclose(naming.tokens(*(v[i] for v in views)), together[i], atol=1e-5)


def test_without_a_hint_coco_says_nothing() -> None:
    features, logits, hints, facts = many(6)
    other = tensors(hints=np.roll(tensors()["hints"], 7, 0))
    with_one, with_other = (Naming(t).tokens(features, logits, hints * 0, facts) for t in (tensors(), other))
    np.testing.assert_array_equal(with_one, with_other)
    told = Naming(tensors()).tokens(features, logits, hints, facts)
    assert np.abs(told - Naming(other).tokens(features, logits, hints, facts)).max() > 1e-3


def test_drawings_have_a_map_of_their_own() -> None:
    features, logits, hints, facts = many(4)
    gate = np.zeros(FEATURES + 1, np.float32)
    tokens = []
    for open_ in (-50, 50):
        gate[-1] = open_
        for other in (0, 1):
            t = tensors(gate=gate.copy())
            t["drawn"] = t["drawn"] + other
            tokens.append(Naming(t).tokens(features, logits, hints, facts))
    np.testing.assert_allclose(tokens[0], tokens[1], atol=1e-6)  # photographs
    assert np.abs(tokens[2] - tokens[3]).max() > 1e-3
    flat = Naming(tensors(gate=gate)).tokens(features, logits, np.roll(hints, 9, 1), facts)
    np.testing.assert_allclose(flat, tokens[2], atol=1e-6)  # and no detector is asked about them


def test_length_is_the_logistics() -> None:
    features, logits, hints, facts = many(5)
    sure = np.zeros(MAP_INPUTS, np.float32)
    sure[0] = 2
    t = tensors(map_right=sure, gate=np.zeros(FEATURES + 1, np.float32) - 9)
    length = np.linalg.norm(Naming(t).tokens(features, logits, hints * 0, facts), axis=1)
    np.testing.assert_allclose(length, 1 / (1 + np.exp(-2)), atol=1e-5)


@pytest.mark.parametrize("name", sorted(tensors()))
def test_missing_or_broken_tensors_are_refused(name: str) -> None:
    made = tensors()
    with pytest.raises(ModelError, match="reinstall"):
        TinyViews(Net(), {k: v for k, v in made.items() if k != name})
    with pytest.raises(ModelError, match="reinstall"):
        TinyViews(Net(), made | {name: np.full_like(made[name], np.nan)})
    with pytest.raises(ModelError, match="reinstall"):
        TinyViews(Net(), made | {name: made[name][:-1] if name == "visual" else made[name][..., :-1]})


def test_foreign_network_is_refused() -> None:
    with pytest.raises(ModelError, match="reinstall"):
        network(b"not a network")
    regions = (files("vidmem.encoders") / "weights" / "tiny-detector.onnx").read_bytes()
    with pytest.raises(ModelError, match="another network"):
        network(regions)


def test_damaged_weights_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = shipped_files.card()
    broken = {**facts, "sha256": {**facts["sha256"], NAMES: hashlib.sha256(b"").hexdigest()}}
    monkeypatch.setattr(shipped_files, "card", lambda: broken)
    with pytest.raises(ModelError, match=NAMES):
        load()
