"""What trains the names of `tiny`'s views: samples, the names they have, the conversion of the network."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lab.names import Names
from lab.tiny.boxes import Found, best, iou
from lab.tiny.convert_classifier import build, folded, published, same_padding
from lab.tiny.crops import degraded, shaken
from lab.tiny.fit_views import Maps, inputs, likeness, say, weights_of
from lab.tiny.fit_views import Part as Views
from lab.tiny.name_space import NameSpace, name_space
from lab.tiny.view_samples import agreed, hint_for, view_of
from test_lab_names import lay
from vidmem.encoders.tiny_views import HINTS, TinyViews


def test_a_class_is_called_by_its_own_and_its_everyday_names(tmp_path: Path) -> None:
    folder = lay(tmp_path / "clip_text")
    coco = [f"kind {i}" for i in range(80)]
    (folder / "coco_names.json").write_text(json.dumps(coco))
    np.save(folder / "coco_clip_a+cname.npy", np.ones((80, 512), np.float16))
    (tmp_path / "imagenet_labels.txt").write_text("background\n" + "\n".join(f"sort {i}" for i in range(1000)))
    space = name_space(tmp_path, ["stapler"])
    np.testing.assert_allclose(space.imagenet.sum(1), 1, atol=1e-6)
    dog, own = space.names.label("dog"), space.names.label("sort 200")
    assert space.imagenet[200, dog] == space.imagenet[200, own] == 0.5
    assert (space.imagenet[151:269, dog] > 0).all()  # all breeds
    assert space.imagenet[300, dog] == 0
    assert [space.names.classes[i].name for i in space.coco] == coco
    length = np.linalg.norm(space.vectors, axis=1)
    np.testing.assert_allclose(length[length > 0], 1, atol=1e-5)
    assert space.labels(np.array(["stapler", ""])).tolist() == [space.names.label("stapler"), -1]
    with pytest.raises(KeyError):
        space.labels(np.array(["no such thing"]))


@pytest.mark.parametrize(("kernel", "stride", "pads"), [(3, 2, [0, 0, 1, 1]), (5, 2, [1, 1, 2, 2]), (3, 1, [1] * 4),
                                                       (5, 1, [2] * 4), (1, 1, [0] * 4)])  # fmt: skip
def test_padding_is_tensorflows(kernel: int, stride: int, pads: list[int]) -> None:
    assert same_padding(kernel, stride) == pads


def test_batch_norm_is_folded() -> None:
    rng = np.random.default_rng(0)
    state = {"c.weight": rng.normal(size=(6, 4, 3, 3)), "n.weight": rng.normal(size=6), "n.bias": rng.normal(size=6),
             "n.running_mean": rng.normal(size=6), "n.running_var": rng.uniform(0.5, 2, 6)}  # fmt: skip
    weight, bias = folded({k: v.astype(np.float32) for k, v in state.items()}, "c", "n")
    t = {k: torch.from_numpy(v) for k, v in state.items()}
    x = torch.from_numpy(rng.normal(size=(2, 4, 9, 9)))
    wanted = torch.nn.functional.batch_norm(
        torch.nn.functional.conv2d(x, t["c.weight"]), t["n.running_mean"], t["n.running_var"], t["n.weight"], t["n.bias"],
        eps=1e-3,
    )  # fmt: skip
    got = torch.nn.functional.conv2d(x, torch.from_numpy(weight).double(), torch.from_numpy(bias).double())
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5)


def test_network_with_half_weights_says_the_same() -> None:
    import onnxruntime

    state = published()
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3), dtype=np.uint8).repeat(16, 1).repeat(16, 2)
    said = []
    for half in (False, True):
        session = onnxruntime.InferenceSession(build(state, half).SerializeToString(), providers=["CPUExecutionProvider"])
        said.append(session.run(["features", "logits"], {"pixels": pixels}))
    (features, logits), (near_features, near_logits) = said
    assert features.shape == (2, 1280)
    assert logits.shape == (2, 1000)
    assert (features >= 0).all()
    assert (logits.argmax(1) == near_logits.argmax(1)).all()
    assert 0 < np.abs(features - near_features).max() < 0.05
    wanted = features @ state["_fc.weight"].T + state["_fc.bias"]
    np.testing.assert_allclose(logits, wanted, atol=1e-4)


def test_boxes_that_overlap_are_one() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [30, 30, 40, 40]], np.float32)
    classes = np.eye(3, 80, dtype=np.float32) * np.array([[0.5], [0.9], [0.2]], np.float32)
    found = best(boxes, classes, classes.max(1))
    assert found.boxes.tolist() == [boxes[1].tolist(), boxes[2].tolist()]
    np.testing.assert_allclose(iou(boxes[:1], boxes)[0], [1, 9 / 11, 0], atol=1e-6)


def test_a_name_needs_two_detectors() -> None:
    boxes = np.array([[0, 0, 50, 50], [60, 0, 90, 50], [0, 60, 50, 90]], np.float32)
    first = np.zeros((3, 80), np.float32)
    second = np.zeros((3, 80), np.float32)
    first[0, 7], second[0, 7] = 0.4, 0.8  # both
    first[1, 7], second[1, 8] = 0.4, 0.8  # of two minds
    first[2, 7], second[2, 7] = 0.4, 0.5  # not sure enough
    assert agreed(Found(boxes, first), Found(boxes, second)).tolist() == [7, -1, -1]
    assert hint_for([0, 0, 50, 52], Found(boxes, first)) is not None
    assert hint_for([200, 200, 250, 252], Found(boxes, first)) is None


def test_views_lie_in_the_picture() -> None:
    image = Image.new("RGB", (100, 80), (9, 9, 9))
    assert view_of(image, (90, 70, 140, 120)) is not None
    assert view_of(image, (120, 10, 140, 30)) is None
    rng = np.random.default_rng(0)
    box = (20.0, 20.0, 60.0, 70.0)
    moved = np.array([shaken(box, rng) for _ in range(200)]) - box
    assert (np.abs(moved) <= np.array([0.12 * 40, 0.12 * 50] * 2) + 1e-9).all()
    assert moved.std() > 1


def test_degraded_views_are_views() -> None:
    rng = np.random.default_rng(0)
    view = rng.integers(0, 256, (150, 60, 3), dtype=np.uint8)
    made = [degraded(view, np.random.default_rng(i)) for i in range(60)]
    assert all(m.dtype == np.uint8 and m.ndim == 3 and max(m.shape) <= 150 for m in made)
    assert min(max(m.shape) for m in made) < 40
    assert (degraded(view, np.random.default_rng(5)) == made[5]).all()


def parts(n: int = 40, seed: int = 0) -> tuple[Views, NameSpace]:
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(1100, 12)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    imagenet = np.eye(1000, 1100, dtype=np.float32)
    labels = np.array([-1, 3, 3, 3, *rng.integers(0, 1100, n - 4)])
    return Views(
        np.abs(rng.normal(size=(n, 1280))).astype(np.float32), rng.normal(size=(n, 1000)).astype(np.float32),
        rng.uniform(0, 1, (n, HINTS)).astype(np.float32), rng.normal(size=(n, 3)).astype(np.float32) * 0.2,
        np.stack([labels] * 3, 1), np.tile(np.array([1, 0, 0], np.float32), (n, 1)), np.full(n, "box"),
        np.full(n, "x"), np.zeros(n, np.bool_),
    ), NameSpace(Names(), vectors, imagenet, list(range(1000, 1080)))  # fmt: skip


def test_rare_names_are_shown_more_often() -> None:
    part, _ = parts()
    weight = weights_of(part)
    assert weight[0] == 0  # it has no name
    assert weight.sum() == pytest.approx(1)
    assert weight[1] == weight[2] < weight.max()


def test_what_is_fitted_is_what_is_shipped() -> None:
    """The maps in torch and TinyViews in numpy say the same."""
    part, space = parts()
    maps = Maps(space)
    with torch.no_grad():
        for value in maps.parameters():
            value.add_(torch.randn(value.shape, generator=torch.Generator().manual_seed(1)) * 0.02)
    mean = part.roots.mean(0)
    said = say(maps, part, mean)
    learned = {k: v.detach().numpy() for k, v in maps.named_parameters()}
    views = TinyViews(None, learned | {"mean": mean, "visual": np.eye(1280, 4), "names": space.vectors[:50],
                                       "sure": np.zeros(8)})  # fmt: skip
    for i in range(5):
        token = views._named(part.roots[i] - mean, part.logits[i], part.hints[i], part.facts[i])
        assert np.linalg.norm(token) == pytest.approx(0.5, abs=1e-5)  # a logistic of nothing
        np.testing.assert_allclose(token * 2, said[i] / np.linalg.norm(said[i]), atol=1e-4)
    assert inputs(part.roots, part.logits, part.hints, part.facts, mean)[3].shape == (40, 5)


def test_likeness_takes_off_what_all_share() -> None:
    rng = np.random.default_rng(0)
    features = np.abs(rng.normal(5, 1, (1, 1280)) + rng.normal(size=(300, 5)) @ rng.normal(size=(5, 1280)) * 0.3)
    mean, reduced = likeness(features.astype(np.float32), 5)
    assert reduced.shape == (1280, 5)
    seen = (np.sqrt(features) - mean) @ reduced
    assert np.abs(seen.mean(0)).max() < 0.05
    assert np.abs(np.corrcoef(seen.T) - np.eye(5)).max() < 0.05
