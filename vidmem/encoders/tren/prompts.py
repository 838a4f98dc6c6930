"""What a region encoder needs of its point prompts and not of the picture, and when it may be kept.

For a grid of points that is the same for every frame, the Fourier features, the queries of the first layer with their
norm, projection and per-head norm are constants: computed once, 30 MB at width 1024 with 1024 points x 3 in float32.
Keeping the keys' position part projected as well would save no product (the patches must be projected anyway), only
one addition, and cost as much again; the positions alone are kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from .region_encoder import RegionEncoder


class Prompts(NamedTuple):
    """grid `(N, D)`: positions of the patches; coarse: those of the averaged patches, or None. positions
    `(B or 1, P, 1, D)`; queries `(B or 1, P, k, D)` as layer 0 gets them; asked `(B or 1, P * k, heads, D / heads)`:
    what its cross-attention asks with, or None where the picture has a say in it."""

    grid: Tensor
    coarse: Tensor | None
    positions: Tensor
    queries: Tensor
    asked: Tensor | None

    def of(self, picture: int) -> Prompts:
        """One picture's, as a batch of 1."""

        def one(x: Tensor) -> Tensor:
            return x if len(x) == 1 else x[picture : picture + 1]

        asked = None if self.asked is None else one(self.asked)
        return Prompts(self.grid, self.coarse, one(self.positions), one(self.queries), asked)

    def part(self, points: slice, k: int) -> Prompts:
        """Those of some of the points."""
        asked = self.asked if self.asked is None else self.asked[:, points.start * k : points.stop * k]
        return Prompts(self.grid, self.coarse, self.positions[:, points], self.queries[:, points], asked)


class PromptCache:
    """The prompts of the last call. Kept while points, size of the grid, dtype, device and weights are the same.

    Nothing is kept while gradients are recorded, in training, under autocast, in a compiled graph, where queries start
    from the picture, and where points differ from picture to picture. A weight counts as changed when it is another
    tensor or was written to; only a write through `.data`, which PyTorch does not count, must be followed by `clear`.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self._key: tuple[Any, ...] | None = None
        self._points: Tensor | None = None
        self._prompts: Prompts | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> PromptCache:
        return PromptCache()

    def __getstate__(self) -> dict[str, Any]:
        return {"_key": None, "_points": None, "_prompts": None}

    def get(self, model: RegionEncoder, points: Tensor, features: Tensor) -> Prompts | None:
        """The prompts of these points, kept or made; None where they must not be kept."""
        if torch.compiler.is_compiling():
            return None
        keep = not (torch.is_grad_enabled() or model.training or model.seed_queries or len(points) > 1)
        weights = _weights(model) if keep and not torch.is_autocast_enabled(features.device.type) else None
        if weights is None:
            self.clear()
            return None
        found = (model.positions.kind, model.positions.side, model.positions.pixels)
        key = (weights, found, tuple(features.shape[-2:]), features.dtype, features.device)
        if self._prompts is None or self._key != key or not self._same(points):
            self._prompts = model.prompts(points, features)
            self._points, self._key = points.clone(), key
        return self._prompts

    def _same(self, points: Tensor) -> bool:
        """By value: some kB to compare, on the device where the points are. Keep them on the CPU, and a GPU is not
        waited for."""
        old = self._points
        if old is None or old.shape != points.shape or (old.device, old.dtype) != (points.device, points.dtype):
            return False
        return torch.equal(old, points)


class _Written:
    """A weight as it was at one time; equal to another when it is the same tensor, not written to since."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor
        self.at = (tensor._version, tensor.data_ptr(), tensor.dtype, tensor.device)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Written) and self.tensor is other.tensor and self.at == other.at

    def __hash__(self) -> int:
        return hash(self.at)


def _weights(model: RegionEncoder) -> list[_Written] | None:
    """Those that the prompts depend on. None when PyTorch does not count the writes to them (inference tensors)."""
    layer = model.decoders[0]
    parts = [layer.query_norm, layer.cross_attn.q_proj, layer.cross_attn.q_norm]
    tensors = [model.scale_embeddings.weight, *(p for part in parts for p in part.parameters())]
    if any(tensor.is_inference() for tensor in tensors):
        return None
    return [_Written(tensor) for tensor in tensors]
