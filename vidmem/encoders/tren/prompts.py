"""What a region encoder computes from its point prompts alone, and a cache of it.

If the grid of points is the same for every frame, the Fourier features and the queries of the first layer, with norm,
projection and per-head norm, are constants. They are computed once and take 30 MB at width 1024 with 1024 x 3 points in
float32. The projected positions of the keys are not kept: they would take as much memory again and save only one
addition, since the patches must be projected anyway.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from .region_encoder import RegionEncoder


class Prompts(NamedTuple):
    """What a region encoder computes from points and the size of the patch grid.

    Attributes:
        grid: Positions of the patches, `(N, D)`.
        coarse: Positions of the averaged patches; None if patches are not averaged.
        positions: Positions of the points, `(B or 1, P, 1, D)`.
        queries: Input of layer 0, `(B or 1, P, k, D)`.
        projected: Queries of the cross-attention of layer 0, `(B or 1, P * k, heads, D / heads)`; None if they depend
            on the picture.
    """

    grid: Tensor
    coarse: Tensor | None
    positions: Tensor
    queries: Tensor
    projected: Tensor | None

    def of(self, picture: int) -> Prompts:
        """The prompts of one picture, as a batch of 1."""

        def select(x: Tensor) -> Tensor:
            return x if len(x) == 1 else x[picture : picture + 1]

        projected = None if self.projected is None else select(self.projected)
        return Prompts(self.grid, self.coarse, select(self.positions), select(self.queries), projected)

    def part(self, points: slice, k: int) -> Prompts:
        """The prompts of some of the points."""
        projected = None if self.projected is None else self.projected[:, points.start * k : points.stop * k]
        return Prompts(self.grid, self.coarse, self.positions[:, points], self.queries[:, points], projected)


class PromptCache:
    """Keeps the prompts of the last call, for the same points, size of the grid, dtype, device and weights.

    Nothing is kept with gradients, in training, under autocast, in a compiled graph, if queries start from the picture,
    or if pictures have different points. A weight has changed if it is another tensor or was written to. PyTorch does
    not count writes through `.data`; call `clear` after them.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Drop the prompts."""
        self._key: tuple[Any, ...] | None = None
        self._points: Tensor | None = None
        self._prompts: Prompts | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> PromptCache:
        return PromptCache()

    def __getstate__(self) -> dict[str, Any]:
        return {"_key": None, "_points": None, "_prompts": None}

    def get(self, model: RegionEncoder, points: Tensor, features: Tensor) -> Prompts | None:
        """The prompts of `points`, from the cache if possible; None if they must not be kept."""
        if torch.compiler.is_compiling():
            return None
        keep = not (torch.is_grad_enabled() or model.training or model.seed_queries or len(points) > 1)
        weights = _weights(model) if keep and not torch.is_autocast_enabled(features.device.type) else None
        if weights is None:
            self.clear()
            return None
        positions = (model.positions.kind, model.positions.side, model.positions.pixels)
        key = (weights, positions, tuple(features.shape[-2:]), features.dtype, features.device)
        if self._prompts is None or self._key != key or not self._same(points):
            self._prompts = model.prompts(points, features)
            self._points, self._key = points.clone(), key
        return self._prompts

    def _same(self, points: Tensor) -> bool:
        """Compare by value, a few kB on the device of the points. Points on the CPU avoid a wait for the GPU."""
        old = self._points
        if old is None or old.shape != points.shape or (old.device, old.dtype) != (points.device, points.dtype):
            return False
        return torch.equal(old, points)


class _WeightVersion:
    """The state of a weight. Two are equal if they are of the same tensor and it was not written to in between."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor
        self.version = (tensor._version, tensor.data_ptr(), tensor.dtype, tensor.device)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _WeightVersion) and self.tensor is other.tensor and self.version == other.version

    def __hash__(self) -> int:
        return hash(self.version)


def _weights(model: RegionEncoder) -> list[_WeightVersion] | None:
    """The weights that prompts depend on; None if PyTorch does not count writes to them (inference tensors)."""
    layer = model.decoders[0]
    parts = [layer.query_norm, layer.cross_attn.q_proj, layer.cross_attn.q_norm]
    tensors = [model.scale_embeddings.weight, *(p for part in parts for p in part.parameters())]
    if any(tensor.is_inference() for tensor in tensors):
        return None
    return [_WeightVersion(tensor) for tensor in tensors]
