"""The conversion from TensorFlow.js: a small graph of the same kind, made by hand, against PyTorch's operations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper

from lab.tiny.convert_detector import MEAN, STD, Writer, convert
from lab.tiny.tfjs_graph import Graph, read
from vidmem.errors import ModelError


class Made:
    """Writes a graph model as the converter of TensorFlow.js does, with weights as float16."""

    def __init__(self) -> None:
        self.nodes: list[dict[str, Any]] = []
        self.entries: list[dict[str, Any]] = []
        self.raw = b""

    def const(self, name: str, values: np.ndarray) -> str:
        whole = values.dtype == np.int32
        entry = {"name": name, "shape": list(values.shape), "dtype": "int32" if whole else "float32"}
        if not whole:
            entry["quantization"] = {"dtype": "float16", "original_dtype": "float32"}
        self.entries.append(entry)
        self.raw += (values if whole else values.astype(np.float16)).tobytes()
        self.nodes.append({"name": name, "op": "Const"})
        return name

    def add(self, name: str, op: str, inputs: list[str], **attr: Any) -> str:
        self.nodes.append({"name": name, "op": op, "input": inputs, "attr": attr})
        return name

    def save(self, folder: Path) -> Path:
        data = {
            "modelTopology": {"node": self.nodes},
            "weightsManifest": [{"paths": ["made.bin"], "weights": self.entries}],
        }
        (folder / "made.json").write_text(json.dumps(data))
        (folder / "made.bin").write_bytes(self.raw)
        return folder / "made.json"


def step(y: int) -> dict[str, Any]:
    return {"list": {"i": ["1", str(y), str(y), "1"]}}


def small(folder: Path) -> tuple[Path, dict[str, np.ndarray]]:
    """picture -> convolution by 2, leaky, pooling by 2 -> half of it, doubled again, and itself, one upon the other."""
    rng = np.random.default_rng(0)
    made, kept = Made(), {}
    made.nodes.append({"name": "input_1", "op": "Placeholder"})
    pads = made.const("pads", np.array([[0, 0], [0, 0], [1, 1], [1, 1]], np.int32))
    perm = made.const("perm", np.array([0, 2, 3, 1], np.int32))
    kept["kernel"] = rng.normal(size=(3, 3, 3, 4)).astype(np.float16).astype(np.float32)
    kept["bias"] = rng.normal(size=4).astype(np.float16).astype(np.float32)
    made.add("pad", "Pad", ["input_1", pads])
    made.add("t1", "Transpose", ["pad", perm])
    made.add("conv", "Conv2D", ["t1", made.const("k", kept["kernel"])], strides=step(2))
    made.add("sum", "Add", ["conv", made.const("b", kept["bias"])])
    made.add("leaky", "LeakyRelu", ["sum"], alpha={"f": 0.1})
    low = made.const("low", np.array(-np.inf, np.float32))
    made.add("pad2", "PadV2", ["leaky", pads, low])
    made.add("pool", "MaxPool", ["pad2"], strides=step(2), ksize=step(3))
    made.add("halved", "ResizeBilinear", ["pool", made.const("size8", np.array([52, 52], np.int32))])
    made.add("doubled", "ResizeBilinear", ["halved", made.const("size4", np.array([104, 104], np.int32))])
    made.add("both", "ConcatV2", ["doubled", "pool", made.const("axis", np.array(1, np.int32))])
    return made.save(folder), kept


def run(graph: Graph, end: str, image: np.ndarray) -> np.ndarray:
    writer = Writer(graph)
    name = writer.of(graph.nodes[end])
    made = helper.make_graph(
        writer.nodes,
        "made",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [None, None, None, 3])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * 4)],
        writer.constants,
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"image": image})[0])


def test_operations_against_pytorch(tmp_path: Path) -> None:
    path, kept = small(tmp_path)
    image = np.random.default_rng(1).integers(0, 256, (2, 64, 96, 3), np.uint8)
    out = run(read(path), "both", image)
    bgr = (torch.from_numpy(image).flip(-1).float() - torch.tensor(MEAN)) / torch.tensor(STD)
    kernel = torch.from_numpy(kept["kernel"]).permute(3, 2, 0, 1)
    x = torch.conv2d(bgr.permute(0, 3, 1, 2), kernel, torch.from_numpy(kept["bias"]), stride=2, padding=1)
    pool = torch.max_pool2d(torch.nn.functional.leaky_relu(x, 0.1), 3, 2, 1)
    sizes = {"mode": "bilinear", "align_corners": False}
    half = torch.nn.functional.interpolate(pool, scale_factor=0.5, **sizes)
    twice = torch.nn.functional.interpolate(half, scale_factor=2, **sizes)
    wanted = torch.cat([twice, pool], 1).numpy()
    assert out.shape == wanted.shape == (2, 8, 16, 24)
    assert np.abs(out - wanted).max() < 1e-4


def test_weights_that_are_cut_short(tmp_path: Path) -> None:
    path, _ = small(tmp_path)
    raw = (tmp_path / "made.bin").read_bytes()
    (tmp_path / "made.bin").write_bytes(raw[:-1])
    with pytest.raises(ModelError, match="truncated"):
        read(path)
    path.write_text("{}")
    with pytest.raises(ModelError, match="not a TensorFlow"):
        read(path)


def test_another_graph_is_refused(tmp_path: Path) -> None:
    path, _ = small(tmp_path)
    with pytest.raises(ModelError, match="three heads"):
        convert(read(path))


def test_an_operation_that_was_not_there(tmp_path: Path) -> None:
    made = Made()
    made.add("odd", "Cos", ["x"])
    with pytest.raises(ModelError, match="holds an unexpected Cos"):
        run(read(made.save(tmp_path)), "odd", np.zeros((1, 32, 32, 3), np.uint8))
