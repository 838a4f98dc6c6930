"""One forward pass and its losses: Eq. 5 (T-REN, section 3.2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from vidmem.encoders.tren.region_encoder import RegionEncoder
from vidmem.errors import UsageError

from .config import LossConfig, ModelConfig, TrainConfig
from .losses import attention_loss, distillation, similarity_loss, text_contrast, visual_contrast
from .matching import assign
from .prepare import Batch

if TYPE_CHECKING:
    from .backbones import Backbone, Seen


@dataclass(frozen=True, slots=True, eq=False)
class Texts:
    """The names of the data. vectors: `(C, Dt)`; groups: `(C,)` int64, names that count as one."""

    vectors: Tensor
    groups: Tensor


def build(backbone: Backbone, config: ModelConfig, seed: int) -> RegionEncoder:
    """Build a region encoder for the features of `backbone`, with weights drawn from `seed`, in training mode, on the
    CPU. Raises UsageError if the heads do not divide the width."""
    if backbone.dim % config.heads:
        raise UsageError(f"`heads` divides the width of the backbone, {backbone.dim}; got {config.heads}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = RegionEncoder(
            backbone.dim,
            backbone.text_dim,
            heads=config.heads,
            layers=config.layers,
            k=config.k,
            mlp_dim=config.mlp_dim,
            seed_queries=config.seed_queries,
            coarse=config.coarse,
        )
    if config.start == "near_identity":
        near_identity(model)
    if config.text_start == "head":
        backbone.copy_head(model)
    return model.train()


def near_identity(regions: RegionEncoder) -> None:
    """Initialise the region encoder so that a query passes unchanged to the last layer and matches patches similar to
    the one under its point. Masks then start as feature similarity instead of noise."""
    with torch.no_grad():
        eye = torch.eye(regions.q_proj.weight.shape[0])
        linears = [regions.q_proj, regions.k_proj]
        for layer in regions.layers:
            linears += [layer.prompt_attn.v_proj, layer.prompt_attn.out_proj]  # type: ignore[union-attr, list-item]
        for linear in linears:
            linear.weight.mul_(0.3).add_(eye)


def pooled(features: Tensor, cover: Tensor) -> Tensor:
    """Return mask-pooled features, the visual targets of Eq. 3: `(B, D, h, w)`, `(B, R, h, w)` -> `(B, R, D)`. Patches
    are weighted by the share that the mask covers."""
    weights = cover.flatten(2)
    weights = weights / weights.sum(-1, keepdim=True).clamp_min(1e-6)
    return torch.bmm(weights.to(features.dtype), features.flatten(2).transpose(1, 2))


def project(model: RegionEncoder, tokens: Tensor, dropout: float, generator: torch.Generator | None) -> Tensor:
    """Apply the text projector with dropout after its GELU: tokens `(..., D)` -> `(..., Dt)`."""
    hidden = F.gelu(model.text1(tokens))
    if dropout and generator is not None:
        kept = torch.rand(hidden.shape, generator=generator, device=hidden.device) >= dropout
        hidden = hidden * kept / (1 - dropout)
    out: Tensor = model.text2(hidden)
    return out


def text_targets(backbone: Backbone, seen: Seen, cover: Tensor, means: Tensor, config: LossConfig) -> Tensor:
    """Return the text targets of Eq. 3 `(B, R, Dt)`, in the form of `config.text_target`. means: mask-pooled features
    `(B, R, D)`. Regions with an empty mask have targets without a meaning."""
    if config.text_target == "head_of_mean":
        return backbone.head(means, seen).float()
    if config.text_target == "summed":
        area = cover.sum((2, 3))[..., None]
        return backbone.head_together(means * area, seen, area[..., 0] > 0).float() / area.clamp_min(1e-6)
    patches = backbone.patch_head(seen).float()
    return pooled(patches.transpose(1, 2).reshape(*patches.shape[::2], *seen.patches.shape[-2:]), cover)


def over_views(loss: Callable[[Tensor], Tensor], view: Tensor, views: int) -> Tensor:
    """Return the mean of a loss over the views. loss: is called with which tokens `(N,)` bool to take. view: of each
    token."""
    if views == 1:
        return loss(torch.ones_like(view, dtype=torch.bool))
    return torch.stack([loss(view == v) for v in range(views)]).mean()


def losses_of(
    model: RegionEncoder,
    backbone: Backbone,
    batch: Batch,
    seen: Seen,
    texts: Texts,
    config: TrainConfig,
    generator: torch.Generator | None = None,
) -> dict[str, Tensor]:
    """Return the weighted terms of Eq. 5 by name, scalars float32; their sum is the loss. Terms of weight 0 are left
    out.

    A batch of kind "regions" has no term "text", one of kind "texts" no term "visual".

    seen: features of the batch's pictures. generator: for the dropout, on their device; None turns dropout off.
    """
    weight, features = config.losses, seen.patches
    device = features.device.type
    means = pooled(features.float(), batch.cover)
    with torch.autocast(device, torch.bfloat16, enabled=config.precision == "bf16"):
        tokens, attention, _ = model(features, batch.points)
    tokens, attention = tokens.float(), attention.float()

    there = batch.targets >= 0  # (B, P, k): targets, as many columns as predictions
    regions = batch.targets.clamp_min(0)
    at = regions.flatten(1)[..., None].expand(-1, -1, means.shape[-1])
    goals = means.gather(1, at).view(*regions.shape, -1)  # (B, P, k, D)
    with torch.no_grad():
        cost = 1 - F.normalize(tokens, dim=-1) @ F.normalize(goals, dim=-1).transpose(-1, -2)  # (B, P, k, t)
        chosen = assign(cost.flatten(0, 1), there.flatten(0, 1), weight.spare).view_as(regions)
    b, p, j = (chosen >= 0).nonzero(as_tuple=True)
    column = chosen[b, p, j]
    region, goal = regions[b, p, column], goals[b, p, column]
    token, mask = tokens[b, p, j], attention[b, p, j]
    label = batch.labels[b, region]
    views = batch.views
    picture, view = b // views, b % views

    out: dict[str, Tensor] = {}
    if weight.visual and batch.kind != "texts":
        group = picture * batch.cover.shape[1] + region
        alone = picture if weight.contrast_scope == "image" else None
        out["visual"] = weight.visual * visual_contrast(token, group, weight.tau, alone)
    named = weight.text and batch.kind != "regions"
    if named or weight.distil_text:
        with torch.autocast(device, torch.bfloat16, enabled=config.precision == "bf16"):
            written = project(model, token, config.model.dropout, generator)
        written = written.float()
    if named:

        def of_names(own: Tensor) -> Tensor:
            here = own & (label >= 0)
            return text_contrast(
                written[here],
                texts.vectors,
                label[here],
                texts.groups,
                tau=weight.tau,
                form=weight.text_form,
                negatives=weight.negatives,
            )

        out["text"] = weight.text * over_views(of_names, view, views)
    halves = [("visual", weight.distil_visual, token, goal)] if weight.distil_visual else []
    if weight.distil_text:
        target = text_targets(backbone, seen, batch.cover, means, weight)[b, region]
        halves.append(("text", weight.distil_text, written, target))
    for name, share, given, wanted in halves:
        # Bound as defaults: the loop goes on.
        def distil(own: Tensor, given: Tensor = given, wanted: Tensor = wanted) -> Tensor:
            return distillation(given[own], wanted[own])

        out[f"distil_{name}"] = share * over_views(distil, view, views)
        if weight.similarity and views > 1:
            apart = similarity_loss(given, wanted, view, picture)
            out[f"similar_{name}"] = share * weight.similarity * apart
    if weight.mask:
        covered = batch.cover[b, region].flatten(1)
        out["mask"] = weight.mask * over_views(
            lambda own: attention_loss(mask[own], covered[own], weight.bce, weight.mask_loss), view, views
        )
    return out
