"""Read a TensorFlow.js graph model: its nodes, and its weights as numpy arrays.

A graph model is `NAME.json` (a TensorFlow GraphDef as JSON, and a list of the weights) and binary files beside it that
hold the weights one after another, some of them as float16 (tensorflow/tfjs, tfjs-converter/docs and
tfjs-core/src/io/io_utils.ts).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidmem.errors import ModelError


@dataclass(frozen=True, slots=True)
class Node:
    """One operation. inputs: names of nodes, without the number of the output; attr: as in the JSON."""

    name: str
    op: str
    inputs: tuple[str, ...]
    attr: dict[str, Any]

    def strides(self) -> tuple[int, int]:
        """Strides of a convolution or pooling: rows, columns."""
        _, y, x, _ = (int(s) for s in self.attr["strides"]["list"]["i"])
        return y, x

    def kernel(self) -> tuple[int, int]:
        """Kernel of a pooling: rows, columns."""
        _, y, x, _ = (int(s) for s in self.attr["ksize"]["list"]["i"])
        return y, x


@dataclass(frozen=True, slots=True)
class Graph:
    """A graph. nodes: by name. weights: contents of Const nodes by name, float32 or int32."""

    nodes: dict[str, Node]
    weights: dict[str, NDArray[Any]]

    def input(self, node: Node, at: int = 0) -> Node:
        """Return an input of the node, skipping layout changes."""
        found = self.nodes[node.inputs[at]]
        while found.op in ("Transpose", "Identity"):
            found = self.nodes[found.inputs[0]]
        return found

    def weight(self, node: Node, at: int = 1) -> NDArray[Any]:
        """Return a constant input of the node."""
        return self.weights[node.inputs[at]]


def read(path: Path) -> Graph:
    """Read the graph of `path`, a .json file. Raises ModelError if it is not a graph model or its weights are
    truncated."""
    try:
        data = json.loads(path.read_text("utf-8"))
        groups = data["weightsManifest"]
        raw = b"".join((path.parent / name).read_bytes() for group in groups for name in group["paths"])
        entries = [entry for group in groups for entry in group["weights"]]
        nodes = [
            Node(n["name"], n["op"], tuple(i.split(":")[0].lstrip("^") for i in n.get("input", ())), n.get("attr", {}))
            for n in data["modelTopology"]["node"]
        ]
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"not a TensorFlow.js graph model ({error}); choose another file: {path}") from None
    weights, at = {}, 0
    for entry in entries:
        stored = np.dtype(entry.get("quantization", {}).get("dtype", entry["dtype"]))
        count = int(np.prod(entry["shape"], dtype=np.int64))
        if at + count * stored.itemsize > len(raw):
            raise ModelError(f"the weights are truncated; download them again: {path}")
        values = np.frombuffer(raw, stored, count, at).reshape(entry["shape"])
        weights[entry["name"]] = values.astype(entry["dtype"])
        at += count * stored.itemsize
    return Graph({n.name: n for n in nodes}, weights)
