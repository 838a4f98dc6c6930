"""What trains the names of `tiny`'s views: samples, the names they have, the conversion of the network."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_lab_names import lay

from lab.names import Names
from lab.tiny.boxes import Found, best, iou
from lab.tiny.convert_classifier import build, folded, published, same_padding
from lab.tiny.crops import degraded, shaken
from lab.tiny.fit_views import first_of, gate_of, goals, likeness, logistic, ridge, weights_of
from lab.tiny.name_space import NameSpace, name_space
from lab.tiny.view_parts import Part, distilled
from lab.tiny.view_samples import hint_for, named_by, view_of
from vidmem.encoders.tiny.naming import HINTS


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


@pytest.mark.parametrize(
    ("kernel", "stride", "pads"),
    [(3, 2, [0, 0, 1, 1]), (5, 2, [1, 1, 2, 2]), (3, 1, [1] * 4), (5, 1, [2] * 4), (1, 1, [0] * 4)],
)
def test_padding_is_tensorflows(kernel: int, stride: int, pads: list[int]) -> None:
    assert same_padding(kernel, stride) == pads


def test_batch_norm_is_folded() -> None:
    rng = np.random.default_rng(0)
    state = {
        "c.weight": rng.normal(size=(6, 4, 3, 3)),
        "n.weight": rng.normal(size=6),
        "n.bias": rng.normal(size=6),
        "n.running_mean": rng.normal(size=6),
        "n.running_var": rng.uniform(0.5, 2, 6),
    }
    weight, bias = folded({k: v.astype(np.float32) for k, v in state.items()}, "c", "n")
    t = {k: torch.from_numpy(v) for k, v in state.items()}
    x = torch.from_numpy(rng.normal(size=(2, 4, 9, 9)))
    wanted = torch.nn.functional.batch_norm(
        torch.nn.functional.conv2d(x, t["c.weight"]),
        t["n.running_mean"],
        t["n.running_var"],
        t["n.weight"],
        t["n.bias"],
        eps=1e-3,
    )
    got = torch.nn.functional.conv2d(x, torch.from_numpy(weight).double(), torch.from_numpy(bias).double())
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5)


def test_network_with_half_weights_says_the_same() -> None:
    import onnxruntime

    state = published()
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3), dtype=np.uint8).repeat(16, 1).repeat(16, 2)
    said = []
    for half in (False, True):
        made = build(state, half).SerializeToString()
        session = onnxruntime.InferenceSession(made, providers=["CPUExecutionProvider"])
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


def test_the_second_detector_names() -> None:
    boxes = np.array([[0, 0, 50, 50], [60, 0, 90, 50], [0, 60, 50, 90]], np.float32)
    first, second = np.zeros((3, 80), np.float32), np.zeros((3, 80), np.float32)
    first[:, 7] = 0.4
    second[0, 7], second[1, 8], second[2, 7] = 0.8, 0.8, 0.5  # the last is not sure enough
    moved = boxes + np.array([0, 0, 4, 4], np.float32)
    assert named_by(Found(moved, second), Found(boxes, first)).tolist() == [7, 8, -1]
    assert named_by(Found(moved + 30, second), Found(boxes, first)).tolist() == [-1, -1, -1]
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


def space_of(rng: np.random.Generator) -> NameSpace:
    vectors = rng.normal(size=(1100, 12)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return NameSpace(Names(), vectors, np.eye(1000, 1100, dtype=np.float32), list(range(1000, 1080)))


def part_of(labels: list[int], rng: np.random.Generator, kind: list[str] | None = None) -> Part:
    n = len(labels)
    return Part(
        np.abs(rng.normal(size=(n, 1280))).astype(np.float32),
        rng.normal(size=(n, 1000)).astype(np.float32),
        rng.uniform(0, 1, (n, HINTS)).astype(np.float32),
        rng.normal(size=(n, 3)).astype(np.float32) * 0.2,
        np.stack([labels] * 3, 1),
        np.tile(np.array([1, 0, 0], np.float32), (n, 1)),
        np.full(n, "x"),
        np.array(kind or ["box"] * n),
        np.arange(n),
        np.zeros(n, np.bool_),
    )


def test_rare_names_count_more_each() -> None:
    weight = weights_of(part_of([-1, 3, 3, 3, 3, 9], np.random.default_rng(0)))
    assert weight[0] == 0  # it has no name
    assert weight.sum() == pytest.approx(1)
    np.testing.assert_allclose(weight[1:5], weight[5] / 2, rtol=1e-5)


def test_goals_are_vectors_of_names_and_of_classes() -> None:
    rng = np.random.default_rng(0)
    space = space_of(rng)
    part = part_of([4, 1100 + 7], rng)  # the second: ImageNet's class 7, which is name 7 here
    np.testing.assert_allclose(goals(part, space), space.vectors[[4, 7]], atol=1e-6)


def test_poor_views_learn_from_the_clear_ones_before_them() -> None:
    part = part_of([-1] * 6, np.random.default_rng(0), ["whole", "box", "poor", "poor", "box", "poor"])
    logits = np.zeros((6, 1000), np.float32)
    logits[0, 5], logits[1, 5], logits[2, 8], logits[3, 8] = 20, 20, 20, 20
    logits[4, 2], logits[5, 8] = 3, 20  # not sure of it
    out = distilled(replace(part, logits=logits), 1100)
    assert len(out) == 4
    assert out.targets[:, 0].tolist() == [1105] * 4
    np.testing.assert_allclose(out.shares.sum(1), 1, atol=1e-6)


def test_ridge_finds_a_linear_map() -> None:
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(400, 6)).astype(np.float32), rng.normal(size=(6, 3)).astype(np.float32)
    y = x @ w
    solved = ridge(x, y, np.ones(400, np.float32), 1e-6)
    np.testing.assert_allclose(x @ solved[:-1] + solved[-1], y - y.mean(0), atol=1e-3)
    assert np.abs(ridge(x, y, np.ones(400, np.float32), 10.0)).max() < 0.3 * np.abs(solved).max()


def test_gate_parts_drawings_from_photographs() -> None:
    rng = np.random.default_rng(0)
    way = rng.normal(size=1280)
    drawn, photos = (rng.normal(size=(200, 1280)) * 0.3 + sign * way * 0.1 for sign in (1, -1))
    gate = gate_of(drawn[:150].astype(np.float32), photos[:150].astype(np.float32))
    assert (drawn[150:] @ gate[:-1] + gate[-1] > 0).mean() > 0.9
    assert (photos[150:] @ gate[:-1] + gate[-1] < 0).mean() > 0.9


def test_logistic_is_calibrated() -> None:
    rng = np.random.default_rng(0)
    x = np.stack([np.ones(4000), rng.normal(size=4000)], 1).astype(np.float32)
    truth = 1 / (1 + np.exp(-(0.5 - 2 * x[:, 1])))
    beta = logistic(x, rng.random(4000) < truth, np.ones(4000, np.float32))
    np.testing.assert_allclose(beta, [0.5, -2], atol=0.2)


def test_first_among_a_few() -> None:
    mapped = np.array([[1.0, 0], [1, 0]], np.float32)
    true = np.array([[1.0, 0], [0.5, 0]], np.float32)
    scores = np.array([[0.9] + [0.1] * 99, [0.9] + [0.1] * 99], np.float32)
    np.testing.assert_allclose(first_of(40, scores, mapped, true), [1, 0.99**39], atol=1e-5)


def test_likeness_takes_off_what_all_share() -> None:
    rng = np.random.default_rng(0)
    features = np.abs(rng.normal(5, 1, (1, 1280)) + rng.normal(size=(300, 5)) @ rng.normal(size=(5, 1280)) * 0.3)
    mean, reduced = likeness(features.astype(np.float32), 5)
    assert reduced.shape == (1280, 5)
    seen = (np.sqrt(features) - mean) @ reduced
    assert np.abs(seen.mean(0)).max() < 0.05
    assert np.abs(np.corrcoef(seen.T) - np.eye(5)).max() < 0.05


def test_kinds_are_of_coco(tmp_path: Path) -> None:
    lay(tmp_path / "clip_text")
    (tmp_path / "imagenet_labels.txt").write_text("background\n" + "\n".join(f"sort {i}" for i in range(1000)))
    space = name_space(tmp_path, ["bonsai", "potted plant", "dalmatian"])
    assert space.kinds()[space.names.label("bonsai")] == space.names.label("potted plant")
    assert space.kinds()[space.names.label("dalmatian")] == space.names.label("dog")
    assert space.kinds()[space.names.label("cell phone")] == -1
