"""One step of each stage of training `tiny`: its losses. And what is measured on the way."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..encoders.region_encoder import RegionEncoder
from ..encoders.tiny_net import TinyNet, choose_points
from ..geometry import part_at
from .losses import distillation, mask_logit_loss, mask_loss, match, text_contrast, visual_contrast
from .supply import Batch
from .towers import TAU_TEXT, Helpers, TextTower, told


def pixels(batch: Batch) -> Tensor:
    """The pictures of a batch, `(B, 3, H, W)` float in [0, 1]."""
    return batch["image"].permute(0, 3, 1, 2).float().div(255).contiguous(memory_format=torch.channels_last)


def pooled(features: Tensor, cover: Tensor) -> Tensor:
    """Mean feature under each mask: `(B, D, h, w)`, `(B, R, h, w)` -> `(B, R, D)`."""
    weights = cover.flatten(2)
    weights = weights / weights.sum(-1, keepdim=True).clamp_min(1e-3)
    return torch.bmm(weights.to(features.dtype), features.flatten(2).transpose(1, 2))


def heat_targets(batch: Batch) -> Tensor:
    """Gaussian bumps on object centres (CornerNet style), `(B, h, w)`."""
    b, _, h, w = batch["cover"].shape
    y, x = torch.arange(h).view(1, 1, h, 1), torch.arange(w).view(1, 1, 1, w)
    cx, cy = batch["centres"][..., 0, None, None], batch["centres"][..., 1, None, None]
    sigma = (batch["sizes"][..., None, None] / 5).clamp_min(0.6)
    bump = torch.exp(-((x - cx.round()) ** 2 + (y - cy.round()) ** 2) / (2 * sigma**2))
    return torch.where((batch["labels"] >= 0)[..., None, None], bump, torch.zeros(())).amax(1).view(b, h, w)


def heat_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Focal loss for centre heat maps (Law and Deng, CornerNet, eq. 1; alpha 2, beta 4)."""
    if not len(logits):
        return logits.sum()
    p = logits.float().sigmoid().clamp(1e-4, 1 - 1e-4)
    peak = target > 0.99
    loss = torch.where(peak, (1 - p) ** 2 * p.log(), (1 - target) ** 4 * p**2 * (1 - p).log())
    return -loss.sum() / peak.sum().clamp_min(1)


def text_labels(labels: Tensor, classes: int) -> Tensor:
    """Surfaces named "background" take the last class; nameless ones keep -2."""
    return torch.where(labels == -1, torch.full_like(labels, classes - 1), labels)


def nameless(tokens: Tensor, texts: Tensor) -> Tensor:
    """Cross-entropy of projected tokens `(N, Dt)` to the last name, "background"; 0 for none."""
    if not len(tokens):
        return tokens.sum()
    logits = F.normalize(tokens, dim=-1) @ texts.T / TAU_TEXT
    return F.cross_entropy(logits, torch.full((len(tokens),), len(texts) - 1))


def backbone_step(
    net: TinyNet, text: TextTower, helpers: Helpers, batch: Batch, rng: np.random.Generator, answers: Tensor,
    first: nn.Module | None = None,
) -> Batch:  # fmt: skip
    """Stage 1: name every mask from its mean feature; tell drawings and masks apart; say of photographs what the
    teacher says of them (`answers (rows, 1000)`); keep what the `first` tiny saw in drawings; find centres."""
    images = pixels(batch)
    with torch.autocast("cpu", torch.bfloat16):
        features, heat = net.backbone(images)
    features = features.float()
    means = pooled(features, batch["cover"])
    texts = text(rng)
    labels = text_labels(batch["labels"], len(texts))
    named = labels >= 0
    tokens = net.regions.project(means[named])
    # Points under one mask should have like features: three random patches of each object and its mean.
    outlined = batch["outlined"]
    objects = (batch["labels"] >= 0) & (batch["cover"].flatten(2).sum(-1) > 3) & outlined[:, None]
    weight = (batch["cover"][objects].flatten(1) ** 4).clamp_min(1e-6)
    losses = {}
    if len(weight):
        spots = torch.multinomial(weight, 3)
        where = objects.nonzero()[:, :1].expand(-1, 3)
        patches = features.flatten(2).transpose(1, 2)[where, spots]  # (n, 3, D)
        pick = torch.randperm(len(patches))[:200]
        groups = torch.arange(len(pick)).repeat_interleave(3)
        losses["visual"] = 0.3 * visual_contrast(patches[pick].flatten(0, 1), groups)
    seen = batch["drawings"] >= 0
    taught = batch["teachers"] >= 0
    said = answers[batch["teachers"][taught]]
    told_means = means[taught]
    told_texts = F.normalize(net.regions.project(told_means), dim=-1) @ text.imagenet(texts).T / TAU_TEXT
    losses |= {
        "text": text_contrast(tokens, texts, labels[named], TAU_TEXT, text.near),
        "drawing": 0.5 * helpers.drawing(means[seen], batch["drawings"][seen]),
        "told": 0.3 * told(helpers.classes(told_means), said) + 0.3 * told(told_texts, said),
        "heat": 0.3 * heat_loss(heat[outlined], heat_targets(batch)[outlined]),
        "scenery": 0.2 * nameless(net.regions.project(bare(features, batch["scenery"])), texts),
        "drift": 0.05 * text.drift(),
    }
    drawn = outlined & seen.any(1)
    if first is not None and drawn.any():
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            goal = first(images[drawn])[0]
        losses["first"] = alike(features[drawn], goal.float())
    return losses


def alike(ours: Tensor, goal: Tensor) -> Tensor:
    """1 - cosine of features `(B, D, h, w)`, and a tenth of their squared difference over the spread of `goal`."""
    apart = (ours - goal).square().mean() / goal.var()
    return (1 - F.cosine_similarity(ours, goal, dim=1)).mean() + 0.1 * apart


def bare(features: Tensor, scenery: Tensor, most: int = 256) -> Tensor:
    """Features of patches that show nothing with a name, neighbours included: `(n, D)`, n <= most."""
    plain = (1 - F.max_pool2d(1 - scenery, 3, 1, 1)).flatten() > 0.99
    rows = features.permute(0, 2, 3, 1).flatten(0, 2)[plain]
    return rows[torch.randperm(len(rows))[:most]]


def region_step(
    net: TinyNet, text: TextTower, helpers: Helpers, batch: Batch, rng: np.random.Generator, answers: Tensor,
    first: nn.Module | None = None,
) -> Batch:  # fmt: skip
    """Stage 2 on the frozen backbone: Eqs. 1-5 and the score. Targets of a point: the object there, and the surface
    under it, so that a point has more than one region, as in the paper."""
    images = pixels(batch)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        features, heat = net.backbone(images)
    features, cover = features.float(), batch["cover"]
    _, r, h, w = cover.shape
    points = choose_points(heat.float(), (6, 10), 68)
    kept = torch.rand(len(points), 128).argsort(1)[:, :64]
    points = points.gather(1, kept[..., None].expand(-1, -1, 2))
    with torch.autocast("cpu", torch.bfloat16):
        tokens, attention, queries = net.regions(features, points)
        scores = net.score(queries).squeeze(-1)
    tokens, attention, scores = tokens.float(), attention.float(), scores.float()
    masks = net.masks(queries.float(), attention, net.mask_patches(features)[:, None])

    cell = (points[..., 1] * h).long().clamp(0, h - 1) * w + (points[..., 0] * w).long().clamp(0, w - 1)
    at_point = cover.flatten(2).gather(2, cell[:, None].expand(-1, r, -1))  # (B, R, P)
    is_object, is_surface, is_photo = (batch["labels"] >= 0), batch["labels"] == -1, batch["labels"] == -2
    best_object = (at_point * is_object[..., None]).max(1)
    best_surface = (at_point * is_surface[..., None]).max(1)
    # Photos and rooms hold things that nobody outlined: what a point finds there is neither right nor wrong.
    photo = (batch["teachers"] >= 0).any(1) | ~batch["outlined"]
    unknown = (((at_point * is_photo[..., None]).amax(1) > 0.5) | photo[:, None]) & (best_object.values <= 0.5)
    target = torch.stack([best_object.indices, best_surface.indices], -1)  # (B, P, 2)
    valid = torch.stack([best_object.values > 0.5, best_surface.values > 0.5], -1)

    means = pooled(features, cover)
    goal = means.gather(1, target.flatten(1)[..., None].expand(-1, -1, means.shape[-1])).view(*target.shape, -1)
    with torch.no_grad():
        cost = 1 - torch.einsum("bpkd,bptd->bpkt", F.normalize(tokens, dim=-1), F.normalize(goal, dim=-1))
        given = match(cost.flatten(0, 1), valid.flatten(0, 1)).view_as(target)
    bi, pi, ti = valid.nonzero(as_tuple=True)
    ki = given[bi, pi, ti]
    token, mask, pooling = tokens[bi, pi, ki], masks[bi, pi, ki], attention[bi, pi, ki]
    region = target[bi, pi, ti]
    truth = cover[bi, region].flatten(1)

    texts = text(rng)
    labels = text_labels(batch["labels"], len(texts))[bi, region]
    projected = net.regions.project(token)
    pooled_text = net.regions.project(goal[bi, pi, ti]).detach()

    with torch.no_grad():
        binary = held(mask.view(-1, h, w), points[bi, pi]).flatten(1)
        inter = (binary * truth).sum(-1)
        iou = inter / (binary.sum(-1) + truth.sum(-1) - inter).clamp_min(1e-3)
        score_goal = torch.zeros_like(scores)
        score_goal[bi, pi, ki] = iou
    subset = torch.randperm(len(token))[:600]
    drawing = batch["drawings"][bi, region]
    with torch.no_grad():  # tokens whose mask lies on scenery alone must not take the name of anything
        whole = (masks > 0).float()
        on = torch.einsum("bpkn,bn->bpk", whole, batch["scenery"].flatten(1)) / whole.sum(-1).clamp_min(1)
    empty = tokens[on > 0.95]
    scenery = net.regions.project(empty[torch.randperm(len(empty))[:256]])
    taught = batch["teachers"] >= 0
    told_texts = F.normalize(net.regions.project(means[taught]), dim=-1) @ text.imagenet(texts).T / TAU_TEXT
    return {
        "visual": visual_contrast(token[subset], (bi * r + region)[subset]),
        "text": text_contrast(projected, texts, labels, TAU_TEXT, text.near),
        "scenery": 0.3 * nameless(scenery, texts),
        "drawing": 0.5 * helpers.drawing(token[drawing >= 0], drawing[drawing >= 0]),
        "told": 0.3 * told(told_texts, answers[batch["teachers"][taught]]),
        "distil": distillation(token, goal[bi, pi, ti]) + distillation(projected, pooled_text),
        "pool": 0.5 * mask_loss(pooling, truth),
        "mask": 1.5 * mask_logit_loss(mask, truth),
        "score": F.binary_cross_entropy_with_logits(scores[~unknown], score_goal[~unknown]),
        "drift": 0.05 * text.drift(),
    }


def held(logits: Tensor, points: Tensor) -> Tensor:
    """What masks `(n, h, w)`, as logits, hold when they are indexed: see part_at. points `(n, 2)` in [0, 1]."""
    return torch.from_numpy(part_at(logits.detach().sigmoid().numpy(), points.numpy()) > 0.5)


def near_identity(regions: RegionEncoder) -> None:
    """Start the region encoder where a query passes through to the last layer and matches patches like the one under
    its point: masks then begin as feature similarity instead of noise."""
    with torch.no_grad():
        eye = torch.eye(regions.q_proj.weight.shape[0])
        linears = [regions.q_proj, regions.k_proj]
        for layer in regions.layers:
            linears += [layer.prompt_attn.v_proj, layer.prompt_attn.out_proj]  # type: ignore[union-attr, list-item]
        for linear in linears:
            linear.weight.mul_(0.3).add_(eye)


def evaluate(net: TinyNet, text: TextTower, batches: list[Batch]) -> dict[str, float]:
    """Name accuracy of mask-pooled features and of tokens at object centres, and the IoU of their masks."""
    net.eval()
    hits: dict[str, list[float]] = {"pooled": [], "token": [], "iou": []}
    with torch.inference_mode():
        texts = text()
        for batch in batches:
            with torch.autocast("cpu", torch.bfloat16):
                features, _ = net.backbone(pixels(batch))
            features = features.float()
            objects = batch["labels"] >= 0
            names = F.normalize(net.regions.project(pooled(features, batch["cover"])), dim=-1) @ texts.T
            hits["pooled"] += (names.argmax(-1) == batch["labels"])[objects].float().tolist()
            h, w = features.shape[-2:]
            points = (batch["centres"] + 0.5) / torch.tensor([w, h])
            tokens, attention, queries = net.regions(features, points)
            masks = net.masks(queries, attention, net.mask_patches(features)[:, None])
            best = net.score(queries).squeeze(-1).argmax(-1)[..., None, None]
            token = tokens.gather(2, best.expand(-1, -1, 1, tokens.shape[-1])).squeeze(2)
            mask = masks.gather(2, best.expand(-1, -1, 1, masks.shape[-1])).squeeze(2)
            names = F.normalize(net.regions.project(token), dim=-1) @ texts.T
            hits["token"] += (names.argmax(-1) == batch["labels"])[objects].float().tolist()
            binary = held(mask.view(-1, h, w), points.flatten(0, 1)).view(mask.shape)
            cover = batch["cover"].flatten(2)
            inter = (binary * cover).sum(-1)
            hits["iou"] += (inter / (binary.sum(-1) + cover.sum(-1) - inter).clamp_min(1e-3))[objects].tolist()
    net.train()
    return {k: float(np.mean(v)) for k, v in hits.items()}
