"""The second look: what is exported is what was trained, and what it learns from is right."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper
from PIL import Image, ImageDraw

from lab.tiny.examples import Example
from lab.tiny.masks import PARTS, Look, follower, look_model, losses, taught, train, with_prototypes
from lab.tiny.teach import bounds, grab_box, lesson, paste, shares
from vidmem.encoders.tiny.region_heads import assemble_masks

ROWS = PARTS + 20


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def example(seed: int, side: int = 8) -> Example:
    """Two boxes on one outlined thing, one on nothing."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((1, side, side), np.float16)
    masks[0, 2:6, 2:6] = 1
    boxes = np.array([[16, 16, 48, 48], [14, 16, 48, 50], [0, 0, 20, 20]], np.float32)
    iou = np.array([[1.0], [0.85], [0.02]], np.float32)
    rows = rng.normal(size=(3, ROWS)).astype(np.float32)
    features = rng.normal(size=(256, side, side)).astype(np.float16)
    return Example(boxes, rows, np.full(3, 0.5, np.float32), iou, masks, np.ones(1, bool), True, "made", features)


def net() -> Look:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    made = Look(rng.normal(size=ROWS).astype(np.float32), rng.uniform(0.5, 2, ROWS).astype(np.float32))
    for layer in (made.mix, made.shape):
        torch.nn.init.normal_(layer.weight, std=0.3)
    return made.eval()


def test_exported_answers_are_those_of_the_trained_one() -> None:
    made = net()
    rows = np.random.default_rng(1).normal(size=(5, ROWS)).astype(np.float32) * 4
    mean, turn = follower(np.random.default_rng(2).normal(size=(700, ROWS)).astype(np.float32))
    thing, mix, shape, follow = session(look_model(made, mean, turn)).run(None, {"rows": rows})
    with torch.no_grad():
        wanted = made(torch.from_numpy(rows))
    assert np.allclose(thing, torch.sigmoid(wanted[0]).numpy(), atol=1e-5)
    assert np.allclose(mix, wanted[1].numpy(), atol=1e-4)
    assert np.allclose(shape, wanted[2].numpy(), atol=1e-4)
    assert np.allclose(follow, (rows[:, :PARTS] - mean) @ turn, atol=1e-3)


def test_masks_at_run_time_are_those_of_training() -> None:
    made, one = net(), example(3)
    features = torch.from_numpy(one.features).float()
    with torch.no_grad():
        _, mix, shape = made(torch.from_numpy(one.rows))
        logits, crop = made.masks(features, mix, shape, one.boxes)
        prototypes = made.prototypes(features[None])[0].numpy()
    wanted = (torch.sigmoid(logits) * crop).numpy()
    masks = assemble_masks(prototypes, mix.numpy(), shape.numpy(), one.boxes, (64, 64))
    sure = wanted.max((1, 2)) > 0.5
    assert sure.any()
    assert np.allclose(masks[sure], wanted[sure], atol=1e-5)


def test_prototypes_become_an_output_of_the_detector() -> None:
    value = helper.make_tensor_value_info
    shape = ["N", 128, "H8", "W8"]
    nodes = [helper.make_node("Identity", ["x"], ["neck8"]), helper.make_node("Neg", ["x"], ["wide8"])]
    x, *outputs = (value(name, TensorProto.FLOAT, shape) for name in ("x", "neck8", "wide8"))
    graph = helper.make_graph(nodes, "made", [x], outputs)
    made = net()
    run = session(with_prototypes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), made))
    features = np.random.default_rng(0).normal(size=(1, 128, 4, 6)).astype(np.float32)
    assert [o.name for o in run.get_outputs()] == ["neck8", "prototypes"]
    with torch.no_grad():
        wanted = made.prototypes(torch.from_numpy(np.concatenate([features, -features], 1))).numpy()
    assert np.allclose(run.run(["prototypes"], {"x": features})[0], wanted, atol=1e-5)


def test_it_learns() -> None:
    data = [example(seed) for seed in range(16)]
    rng = np.random.default_rng(0)

    def mean_loss(made: Look) -> float:
        with torch.no_grad():
            return float(np.mean([sum(part.item() for part in losses(made.eval(), e, rng)) for e in data]))

    torch.manual_seed(0)
    rows = np.concatenate([e.rows for e in data])
    before = mean_loss(Look(rows.mean(0), rows.std(0) + np.float32(1e-3)))
    assert mean_loss(train(data, data[:2], 12)) < 0.7 * before
    assert taught(data[0]).tolist() == [0, 1]


def test_lessons_scale_boxes_and_masks() -> None:
    mask = np.zeros((720, 1280), np.bool_)
    mask[180:540, 320:960] = True
    tiny = np.zeros_like(mask)
    tiny[:5, :5] = True
    boxes: list[tuple[float, ...]] = [bounds(mask), (0, 0, 5, 5), (0, 0, 640, 720)]
    made = lesson(Image.new("RGB", (1280, 720)), boxes, [mask, tiny, None], True, "made")
    h, w = made.image.shape[:2]
    assert np.allclose(made.boxes, [[w / 4, h / 4, 3 * w / 4, 3 * h / 4], [0, 0, w / 2, h]])  # what is tiny is left out
    assert made.outlined.tolist() == [True, False]
    assert made.masks.shape == (2, h // 8, w // 8)
    assert abs(made.masks[0].mean() - 0.25) < 1e-3
    assert made.masks[1].sum() == 0
    half = np.zeros((1, 64, 64), np.bool_)
    half[0, :, :4] = True
    assert np.allclose(shares(half, 64, 64)[0, :, 0], 0.5)


def test_grabcut_finds_the_thing_in_its_box() -> None:
    rng = np.random.default_rng(0)
    canvas = Image.fromarray(rng.integers(90, 120, (200, 300, 3), np.uint8))
    ImageDraw.Draw(canvas).ellipse((100, 50, 200, 150), fill=(220, 40, 30))
    mask = grab_box(canvas, (100, 50, 200, 150))
    assert mask is not None
    y, x = np.mgrid[:200, :300]
    true = (x - 150) ** 2 + (y - 100) ** 2 < 50**2
    assert (mask & true).sum() / (mask | true).sum() > 0.85
    assert grab_box(canvas, (0, 0, 300, 200)) is None  # nothing lies around it
    assert grab_box(canvas, (100, 50, 110, 60)) is None  # too small


def test_pasted_things_hide_each_other() -> None:
    rng = np.random.default_rng(4)
    things = [Image.new("RGBA", (60, 40), (255, 0, 0, 255)), Image.new("RGBA", (40, 60), (0, 0, 255, 255))]
    canvas, masks = paste(Image.new("RGB", (300, 200), (0, 255, 0)), things * 4, rng)
    pixels = np.asarray(canvas)
    assert masks
    assert not (np.sum(masks, 0) > 1).any()
    for mask in masks:
        assert (pixels[mask][:, 1] == 0).all()
