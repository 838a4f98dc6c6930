"""Evaluate a region encoder: does it name regions, segment them, and merge them into few tokens?

A region's token comes from one of two prompts. *By a point* drawn evenly from its patches: the method gets that point
only (T-REN's mean over the k text tokens of a point, as in its open-vocabulary segmentation; a patch baseline's patch
there). *After the merge*, from a grid of prompts over the whole picture: the merged region that overlaps it best, which
shows whether the region is in the memory at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vidmem.config import MergeConfig
from vidmem.encoders.tren.region_encoder import RegionEncoder
from vidmem.geometry import mask_boxes
from vidmem.indexer.merge import merge
from vidmem.records import Float32, RegionTokens

from .prepare import Batch

if TYPE_CHECKING:
    from .backbones import Backbone, Seen

Head = Callable[[Tensor, "Seen"], Tensor]
"""Visual tokens `(B, N, D)` of pictures -> text space `(B, N, Dt)`."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Means over regions; the last three are means over pictures. named: share of the regions whose name ranks first,
    by a point and after the merge. iou: IoU of the region with the best of a point's k masks, and with the best merged
    mask. patches, merged, kept: tokens per picture of the backbone, after the merge as in the paper's code, and
    including regions found by a single token. None if it does not apply to a method."""

    named_by_point: float
    named_merged: float | None
    iou_by_point: float | None
    iou_merged: float | None
    patches: float
    merged: float | None
    kept: float | None

    @property
    def compression(self) -> float | None:
        """Patches per merged token."""
        return self.patches / self.merged if self.merged else None


def asked(batch: Batch, names: int, skip: Sequence[int], seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Choose the regions to evaluate. Returns picture and region `(Q,)` int64 of the named regions whose label is not
    in `skip`, and a patch of each `(Q,)` (row-major), drawn by the share of the patch that the region covers."""
    wanted = (batch.labels >= 0) & (batch.labels < names)
    for label in skip:
        wanted &= batch.labels != label
    b, r = wanted.nonzero(as_tuple=True)
    generator = torch.Generator().manual_seed(seed)
    weight = batch.cover[b, r].flatten(1)
    patch = torch.multinomial(weight, 1, generator=generator).squeeze(1) if len(b) else b
    return b, r, patch


def overlap(masks: Tensor, regions: Tensor) -> Tensor:
    """Return the IoU of binarised masks `(..., N)` in {0, 1} with soft regions `(..., N)` in [0, 1]."""
    common = (masks * regions).sum(-1)
    return common / (masks.sum(-1) + regions.sum(-1) - common).clamp_min(1e-6)


@torch.no_grad()
def measure(
    model: RegionEncoder,
    backbone: Backbone,
    batches: Sequence[Batch],
    seen: Sequence[Seen],
    texts: Tensor,
    *,
    grid: tuple[int, int],
    head: Head | None = None,
    skip: Sequence[int] = (),
    mergers: int | None = None,
    config: MergeConfig | None = None,
    singletons: bool = False,
    seed: int = 0,
) -> Measured:
    """Evaluate `model` on `batches`, with the backbone's features of each, among the names `texts` `(C, Dt)`.

    grid: rows and columns of prompts for the merge. head: maps tokens into the text space; by default the model's own
    projector. skip: labels that are not evaluated. mergers: number of pictures that are merged, by default all; merging
    takes most of the time. config: thresholds of the merge, by default the paper's; singletons are kept for `kept` and
    dropped for `merged`. singletons: name and outline regions by the tokens with singletons.
    """
    into = head or (lambda tokens, _: model.project(tokens))
    names = F.normalize(texts, dim=-1)
    rows: dict[str, list[float]] = {k: [] for k in ("named", "named_merged", "iou", "iou_merged", "merged", "kept")}
    left = mergers if mergers is not None else sum(len(batch.images) for batch in batches)
    for number, (batch, view) in enumerate(zip(batches, seen, strict=True)):
        h, w = view.patches.shape[-2:]
        b, r, patch = asked(batch, len(texts), skip, seed + number)
        for i in range(len(batch.index)):
            one = view.one(i)
            here, mine = (b == i).nonzero().squeeze(1), batch.cover[i].flatten(1)
            truth, label = mine[r[here]], batch.labels[i, r[here]]
            if len(here):
                points = torch.stack([(patch[here] % w + 0.5) / w, (patch[here] // w + 0.5) / h], -1)
                tokens, attention, _ = model(one.patches, points[None].to(one.patches))
                written = into(tokens.flatten(1, 2), one)[0].view(len(here), model.k, -1).mean(1)
                rows["named"] += (F.normalize(written, dim=-1) @ names.T).argmax(-1).eq(label).float().tolist()
                rows["iou"] += overlap(_binary(attention[0]), truth[:, None]).amax(-1).tolist()
            if left <= 0:
                continue
            left -= 1
            found = regions(model, one, grid, into)
            for field, keep in (("merged", False), ("kept", True)):
                merged = merge(
                    found, replace(config or MergeConfig(), keep_singletons=keep), frame_width=w * 8, frame_height=h * 8
                )
                rows[field].append(float(len(merged)))
                if keep == singletons and len(here):
                    masks = torch.from_numpy(merged.masks > 0.5).flatten(1).float()
                    fits = overlap(masks[None], truth[:, None])
                    best = fits.argmax(1)
                    vectors = F.normalize(torch.from_numpy(merged.text), dim=-1)[best]
                    rows["named_merged"] += (vectors @ names.T).argmax(-1).eq(label).float().tolist()
                    rows["iou_merged"] += fits.amax(1).tolist()
    h, w = seen[0].patches.shape[-2:]
    mean = {name: float(np.mean(values)) if values else None for name, values in rows.items()}
    return Measured(
        mean["named"] or 0.0,
        mean["named_merged"],
        mean["iou"],
        mean["iou_merged"],
        float(h * w),
        mean["merged"],
        mean["kept"],
    )


@torch.no_grad()
def measure_patches(
    batches: Sequence[Batch],
    seen: Sequence[Seen],
    texts: Tensor,
    heads: Callable[[Seen], Tensor],
    *,
    skip: Sequence[int] = (),
    seed: int = 0,
) -> Measured:
    """Evaluate the baseline: each region is named by the patch at the same point. heads: maps all patches of pictures
    into the text space, `(B, h * w, Dt)`."""
    names = F.normalize(texts, dim=-1)
    hits: list[float] = []
    for number, (batch, view) in enumerate(zip(batches, seen, strict=True)):
        b, r, patch = asked(batch, len(texts), skip, seed + number)
        written = F.normalize(heads(view)[b, patch], dim=-1)
        hits += (written @ names.T).argmax(-1).eq(batch.labels[b, r]).float().tolist()
    h, w = seen[0].patches.shape[-2:]
    return Measured(float(np.mean(hits)) if hits else 0.0, None, None, None, float(h * w), float(h * w), float(h * w))


def regions(model: RegionEncoder, seen: Seen, grid: tuple[int, int], head: Head) -> RegionTokens:
    """Return all tokens of one picture from a grid of prompts, before merging. Boxes are in patches times 8."""
    rows, columns = grid
    y, x = torch.meshgrid((torch.arange(rows) + 0.5) / rows, (torch.arange(columns) + 0.5) / columns, indexing="ij")
    points = torch.stack([x, y], -1).reshape(1, -1, 2).to(seen.patches)
    tokens, attention, _ = model(seen.patches, points)
    visual = tokens.flatten(1, 2)
    h, w = seen.patches.shape[-2:]
    masks = (attention[0] / attention[0].amax(-1, keepdim=True)).reshape(-1, h, w)
    flat: Float32 = masks.float().cpu().numpy()
    prompts = np.repeat(points[0].float().cpu().numpy(), model.k, 0) * np.array([w * 8, h * 8], np.float32)
    return RegionTokens(
        visual[0].float().cpu().numpy(),
        head(visual, seen)[0].float().cpu().numpy(),
        flat,
        prompts.astype(np.float32),
        mask_boxes(flat, w * 8, h * 8),
        (flat > 0.5).mean((1, 2), dtype=np.float32),
    )


def _binary(attention: Tensor) -> Tensor:
    return (attention / attention.amax(-1, keepdim=True).clamp_min(1e-12) > 0.5).float()
