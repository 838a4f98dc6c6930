"""Train the second look of `tiny` on a frozen detector: `python -m lab.tiny.masks --detector nanodet-int8.onnx --walks
FOLDER --out FOLDER`.

For each detected box a row of numbers (vidmem.encoders.tiny.region_heads) goes through two layers. They give the
probability that it holds a thing, whether or not COCO has a name for it, and the coefficients of the mask's prototypes,
which are a 1x1 convolution of the detector's features. A third output is the token for tracking: the features of the
four quarters of the box, projected to their principal components and half whitened, without learning.

It writes tiny-detector.onnx (the detector with the output prototypes) and tiny-look.onnx. The training data are
described in teach.py; a tenth is held out, and the printed figures are of that. It takes 8 GB of memory, and 15 minutes
of one core for nine epochs.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.nn import functional as F

from lab.tiny.convert_detector import IR, OPSET
from lab.tiny.examples import Example, examples
from lab.tiny.quantise import DATA
from lab.tiny.teach import of_caltech, of_doors, of_outlined, of_pasted, of_walks
from lab.tiny.teacher import Teacher
from lab.train.tren.world import render_worlds
from vidmem.encoders.tiny.region_heads import SHAPE, bilinear_weights, coverage, widen
from vidmem.records import Float32

PROTOTYPES, HIDDEN, FOLLOW, PARTS = 32, 256, 128, 512
RATE, DECAY, BATCH, EPOCHS = 2e-3, 0.02, 8, 9
UNSURE = 0.05
"""Weight of unlabelled boxes of photos as negatives; they may well hold a thing."""
MASKS_OF_PICTURE = 16
WALKS, FRAMES, WALK_SIZE = range(100, 160), 10, (768, 432)
"""Seeds of the training walks, frames of each, and their size."""
FAR = 8.0
"""Numbers of a row are clipped to this many standard deviations."""


class Look(nn.Module):
    """The second look. mean, deviation: `(F,)`, of the rows."""

    def __init__(self, mean: Float32, deviation: Float32) -> None:
        super().__init__()
        self.mean, self.deviation = torch.from_numpy(mean), torch.from_numpy(deviation)
        self.body = nn.Sequential(
            nn.Linear(len(mean), HIDDEN),
            nn.LeakyReLU(0.1),
            nn.Dropout(0.1),
            nn.Linear(HIDDEN, HIDDEN),
            nn.LeakyReLU(0.1),
        )
        self.thing = nn.Linear(HIDDEN, 1)
        self.mix = nn.Linear(HIDDEN, PROTOTYPES)
        self.shape = nn.Linear(HIDDEN, SHAPE * SHAPE)
        self.prototypes = nn.Conv2d(256, PROTOTYPES, 1)
        for layer in (self.mix, self.shape):
            nn.init.normal_(layer.weight, std=0.01)

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the logit of a thing `(m,)`, coefficients `(m, K)` and shapes `(m, SHAPE * SHAPE)` for rows `(m,
        F)`."""
        hidden = self.body(((rows - self.mean) / self.deviation).clamp(-FAR, FAR))
        return self.thing(hidden)[:, 0], self.mix(hidden), self.shape(hidden)

    def masks(self, features: Tensor, mix: Tensor, shape: Tensor, boxes: Float32) -> tuple[Tensor, Tensor]:
        """Return the mask logits `(m, h, w)` of boxes, and the share of each cell that lies in the box."""
        h, w = features.shape[1:]
        area = widen(boxes, (h * 8, w * 8))
        across = torch.from_numpy(bilinear_weights(area[:, 0], area[:, 2], w))
        down = torch.from_numpy(bilinear_weights(area[:, 1], area[:, 3], h))
        mixed = (mix @ self.prototypes(features[None])[0].flatten(1)).view(-1, h, w)
        logits = mixed + down @ shape.view(-1, SHAPE, SHAPE) @ across.transpose(1, 2)
        rows, columns = coverage(area[:, 1], area[:, 3], h), coverage(area[:, 0], area[:, 2], w)
        return logits, torch.from_numpy(rows[:, :, None] * columns[:, None])


def losses(net: Look, example: Example, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Return the losses of thing or not, and of the masks."""
    logit, mix, shape = net(torch.from_numpy(example.rows))
    best = example.iou.max(1, initial=0)
    target = torch.from_numpy(((best - 0.3) / 0.5).clip(0, 1).astype(np.float32))
    weight = torch.from_numpy(np.where((best >= 0.4) | example.complete, 1, UNSURE).astype(np.float32))
    thing = (F.binary_cross_entropy_with_logits(logit, target, reduction="none") * weight).sum() / weight.sum()
    picked = taught(example)
    if not len(picked):
        return thing, torch.zeros(())
    if len(picked) > MASKS_OF_PICTURE:
        picked = rng.choice(picked, MASKS_OF_PICTURE, replace=False)
    logits, crop, truth = _masks(net, example, picked, mix, shape)
    inside = (crop > 0).float()
    each = F.binary_cross_entropy_with_logits(logits, truth, reduction="none") * inside
    held = torch.sigmoid(logits) * crop
    dice = 1 - (2 * (held * truth).sum((1, 2)) + 1) / (held.sum((1, 2)) + truth.sum((1, 2)) + 1)
    return thing, (each.sum((1, 2)) / inside.sum((1, 2)).clamp(min=1) + dice).mean()


def taught(example: Example) -> NDArray[np.intp]:
    """Return the boxes that lie on a thing with an outline."""
    if not example.iou.shape[1]:
        return np.zeros(0, np.intp)
    return np.flatnonzero((example.iou.max(1) >= 0.5) & example.outlined[example.iou.argmax(1)])


def _masks(
    net: Look, example: Example, picked: NDArray[np.intp], mix: Tensor, shape: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    features = torch.from_numpy(example.features).float()
    logits, crop = net.masks(features, mix[picked], shape[picked], example.boxes[picked])
    return logits, crop, torch.from_numpy(example.masks[example.iou[picked].argmax(1)]).float()


def judge(net: Look, kept: list[Example]) -> str:
    """Return the mean IoU of masks and of plain boxes with the outlines, for each source, on the grid."""
    found: dict[str, list[tuple[float, float]]] = {}
    net.eval()
    with torch.no_grad():
        for example in kept:
            picked = taught(example)
            if len(picked):
                _, mix, shape = net(torch.from_numpy(example.rows))
                logits, crop, truth = _masks(net, example, picked, mix, shape)
                h, w = truth.shape[1:]
                b = example.boxes[picked]
                plain = coverage(b[:, 1], b[:, 3], h)[:, :, None] * coverage(b[:, 0], b[:, 2], w)[:, None]
                true = truth.numpy() > 0.5
                mine = _iou((torch.sigmoid(logits) * crop).numpy() > 0.5, true), _iou(plain > 0.5, true)
                some = true.sum((1, 2)) >= 6
                found.setdefault(example.source, []).extend(zip(mine[0][some], mine[1][some], strict=True))
    net.train()
    means = {source: np.mean(rows, 0) for source, rows in found.items() if rows}
    return ", ".join(f"{s} {m[0]:.3f} (box {m[1]:.3f})" for s, m in means.items())


def _iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> NDArray[np.float64]:
    return np.asarray((a & b).sum((1, 2)) / np.maximum((a | b).sum((1, 2)), 1))


def train(data: list[Example], kept: list[Example], epochs: int, seed: int = 0) -> Look:
    """Train a second look; print its figures on `kept` after every epoch."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    rows = np.concatenate([e.rows for e in data])
    net = Look(rows.mean(0), rows.std(0) + np.float32(1e-3))
    optimiser = torch.optim.AdamW(net.parameters(), RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, epochs * (len(data) // BATCH) + 1)
    began = time.perf_counter()
    for epoch in range(epochs):
        order, total = rng.permutation(len(data)), 0.0
        for start in range(0, len(order) - BATCH + 1, BATCH):
            pairs = [losses(net, data[i], rng) for i in order[start : start + BATCH]]
            loss = torch.stack([thing + mask for thing, mask in pairs]).mean()
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(net.parameters(), 5.0)
            optimiser.step()
            schedule.step()
            total += loss.item()
        spent = time.perf_counter() - began
        mean = total / (len(order) // BATCH)
        print(f"epoch {epoch + 1}, {spent:.0f} s: loss {mean:.3f}; {judge(net, kept)}", flush=True)
    return net.eval()


def follower(rows: Float32) -> tuple[Float32, Float32]:
    """Return mean `(PARTS,)` and map `(PARTS, FOLLOW)` of the features of the four parts: principal components, each
    divided by the root of its deviation."""
    parts = rows[:, :PARTS].astype(np.float64)
    mean = parts.mean(0)
    values, vectors = np.linalg.eigh(np.cov(parts - mean, rowvar=False))
    best = np.argsort(-values)[:FOLLOW]
    return mean.astype(np.float32), (vectors[:, best] / values[best] ** 0.25).astype(np.float32)


def look_model(net: Look, mean: Float32, turn: Float32) -> onnx.ModelProto:
    """Build the graph rows (M, F) -> thing (M,), coefficients (M, K), shapes (M, SHAPE * SHAPE), follow (M, FOLLOW)."""
    linear = [layer for layer in net.body if isinstance(layer, nn.Linear)]
    first, second = ((layer.weight.detach().numpy().T, layer.bias.detach().numpy()) for layer in linear)
    heads = [net.thing, net.mix, net.shape]
    ends = np.concatenate([h.weight.detach() for h in heads]).T, np.concatenate([h.bias.detach() for h in heads])
    constants = {
        "mean": net.mean.numpy(),
        "scale": 1 / net.deviation.numpy(),
        "low": np.float32(-FAR),
        "high": np.float32(FAR),
        "w1": first[0],
        "b1": first[1],
        "w2": second[0],
        "b2": second[1],
        "w3": ends[0],
        "b3": ends[1],
        "mean_of_parts": mean,
        "turn": turn,
        "cut0": np.array([0]),
        "cut1": np.array([PARTS]),
        "axis": np.array([1]),
        "sizes": np.array([1, PROTOTYPES, SHAPE * SHAPE]),
    }
    n = helper.make_node
    nodes = [
        n("Sub", ["rows", "mean"], ["off"]),
        n("Mul", ["off", "scale"], ["scaled"]),
        n("Clip", ["scaled", "low", "high"], ["held"]),
        n("Gemm", ["held", "w1", "b1"], ["g1"]),
        n("LeakyRelu", ["g1"], ["h1"], alpha=0.1),
        n("Gemm", ["h1", "w2", "b2"], ["g2"]),
        n("LeakyRelu", ["g2"], ["h2"], alpha=0.1),
        n("Gemm", ["h2", "w3", "b3"], ["answers"]),
        n("Split", ["answers", "sizes"], ["logit", "coefficients", "shapes"], axis=1),
        n("Sigmoid", ["logit"], ["likely"]),
        n("Squeeze", ["likely", "axis"], ["thing"]),
        n("Slice", ["rows", "cut0", "cut1", "axis"], ["parts"]),
        n("Sub", ["parts", "mean_of_parts"], ["own"]),
        n("MatMul", ["own", "turn"], ["follow"]),
    ]
    value = helper.make_tensor_value_info
    sizes = {"coefficients": PROTOTYPES, "shapes": SHAPE * SHAPE, "follow": FOLLOW}
    outputs = [value("thing", TensorProto.FLOAT, ["M"])]
    outputs += [value(name, TensorProto.FLOAT, ["M", size]) for name, size in sizes.items()]
    stored = [numpy_helper.from_array(np.array(v), k) for k, v in constants.items()]
    rows = value("rows", TensorProto.FLOAT, ["M", len(net.mean)])
    graph = helper.make_graph(nodes, "tiny-look", [rows], outputs, stored)
    return _checked(helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="vidmem"))


def with_prototypes(detector: onnx.ModelProto, net: Look) -> onnx.ModelProto:
    """Return the detector with the output `prototypes (N, K, H/8, W/8)` in place of `wide8`."""
    graph = detector.graph
    weight, bias = net.prototypes.weight.detach().numpy(), net.prototypes.bias
    assert bias is not None
    graph.initializer.extend(
        [
            numpy_helper.from_array(weight, "prototypes.weight"),
            numpy_helper.from_array(bias.detach().numpy(), "prototypes.bias"),
        ]
    )
    graph.node.append(helper.make_node("Concat", ["neck8", "wide8"], ["features8"], name="features8", axis=1))
    graph.node.append(
        helper.make_node(
            "Conv",
            ["features8", "prototypes.weight", "prototypes.bias"],
            ["prototypes"],
            name="prototypes",
            kernel_shape=[1, 1],
        )
    )
    (old,) = (output for output in graph.output if output.name == "wide8")
    graph.output.remove(old)
    graph.output.append(helper.make_tensor_value_info("prototypes", TensorProto.FLOAT, ["N", PROTOTYPES, "H8", "W8"]))
    return _checked(detector)


def _checked(model: onnx.ModelProto) -> onnx.ModelProto:
    model.ir_version = IR
    onnx.checker.check_model(model, full_check=True)
    return model


def gather(detector: Path, data: Path, walks: Path) -> list[Example]:
    """Return all training data as examples."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(detector, options, providers=["CPUExecutionProvider"])
    teacher = Teacher(data / "yolox_nano_coco.onnx")
    render_worlds(walks, WALKS, count=FRAMES, size=WALK_SIZE, report=True)
    parts = (
        of_walks(walks),
        of_doors(data / "doors.tar", teacher),
        of_caltech(data / "caltech101.tar", teacher),
        of_pasted(data / "caltech101.tar", data / "doors.tar"),
        of_outlined(data / "photos.tar"),
    )
    return [example for lessons in parts for example in examples(session, lessons)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detector", type=Path, required=True, help="the file that quantise or convert_detector wrote")
    parser.add_argument("--walks", type=Path, required=True, help="folder for frames of walks; made when missing")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of photos and teacher (../shared/data)")
    parser.add_argument("--out", type=Path, required=True, help="folder for the two ONNX files")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    args = parser.parse_args()
    data = gather(args.detector, args.data, args.walks)
    export(args.detector, data, args.epochs, args.out)
    return 0


def export(detector: Path, data: list[Example], epochs: int, out: Path) -> None:
    """Train on nine tenths of the data and write both files."""
    kept = data[7::10]
    rest = [e for i, e in enumerate(data) if i % 10 != 7]
    net = train(rest, kept, epochs)
    out.mkdir(parents=True, exist_ok=True)
    onnx.save(look_model(net, *follower(np.concatenate([e.rows for e in rest]))), out / "tiny-look.onnx")
    onnx.save(with_prototypes(onnx.load(detector), net), out / "tiny-detector.onnx")


if __name__ == "__main__":
    sys.exit(main())
