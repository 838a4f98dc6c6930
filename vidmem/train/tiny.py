"""Train `tiny`: first the backbone on masks of named drawings, then, on the frozen backbone, the T-REN region encoder.

    python -m vidmem.train.tiny --out runs/tiny --photos PHOTOS.tar --tokens TOKENS.npy --vocabulary vocab.txt

Both stages write a checkpoint and a log line every few hundred steps and go on from it when started again.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, IterableDataset

from ..encoders.region_encoder import RegionEncoder
from ..encoders.text_table import phrase_pieces
from ..encoders.tiny_net import DIM, TEXT_DIM, TinyNet, choose_points
from ..world.drawings import load_drawings, things
from .losses import distillation, mask_loss, match, text_contrast, visual_contrast
from .scenes import Scene, SceneMaker, load_photos, make_rooms
from .world_scenes import WorldScenes

BACKGROUND = "background"
TAU_TEXT, TAU_DRAWING = 0.06, 0.08
WORLD_SHARE = 0.4
"""Share of the scenes that are frames of worlds, where there are such."""
Batch = dict[str, Tensor]


class Scenes(IterableDataset):  # type: ignore[type-arg]
    """Scenes for a DataLoader; every worker has a seed of its own."""

    def __init__(self, photos: Path | None, seed: int, rooms: int = 0, worlds: Path | None = None) -> None:
        self.photos, self.seed, self.rooms, self.worlds = photos, seed, rooms, worlds

    def __iter__(self) -> Iterator[Scene]:
        info = torch.utils.data.get_worker_info()
        torch.set_num_threads(1)
        photos = load_photos(self.photos, 600) if self.photos else []
        names = [thing.name for thing in things()]
        seed = self.seed * 100 + (info.id if info else 0)
        maker = SceneMaker(load_drawings(), names, photos, seed, make_rooms(self.rooms))
        frames = WorldScenes(self.worlds, load_drawings(), names, seed) if self.worlds else None
        while True:
            yield frames.scene() if frames and maker.rng.random() < WORLD_SHARE else maker.scene()


def collate(scenes: list[Scene]) -> Batch:
    fields = ("image", "cover", "labels", "centres", "sizes", "drawings", "scenery")
    return {name: torch.from_numpy(np.stack([getattr(s, name) for s in scenes])) for name in fields}


class TextTower(nn.Module):
    """The trainable side of the text table: rows of word pieces that occur in the vocabulary move, anchored to where
    the sentence encoder put them; all others stay."""

    def __init__(self, table: np.ndarray, vocabulary: list[str]) -> None:
        super().__init__()
        index = {piece: i for i, piece in enumerate(vocabulary)}
        self.phrases = [_phrases(t.name, t.synonyms) for t in things()] + [[BACKGROUND, "plain background", "nothing"]]
        self.rows = [[phrase_pieces(p, index) for p in group] for group in self.phrases]
        used = sorted({r for group in self.rows for rows in group for r in rows})
        self.register_buffer("used", torch.tensor(used))
        self.place = {r: i for i, r in enumerate(used)}
        self.register_buffer("initial", torch.from_numpy(table[used]))
        self.vectors = nn.Parameter(torch.from_numpy(table[used]).clone())

    def forward(self, rng: np.random.Generator | None = None) -> Tensor:
        """One vector per name, `(C, Dt)`: of a random phrase of each with `rng`, of the name without."""
        flat: list[int] = []
        offsets: list[int] = []
        for group in self.rows:
            # The name itself half of the time: it is what people type first.
            pick = 0 if rng is None or rng.random() < 0.5 else int(rng.integers(len(group)))
            offsets.append(len(flat))
            flat += [self.place[r] for r in group[pick]]
        bags = F.embedding_bag(torch.tensor(flat), self.vectors, torch.tensor(offsets), mode="mean")
        return F.normalize(bags, dim=-1)

    def drift(self) -> Tensor:
        return (self.vectors - self.get_buffer("initial")).square().sum(-1).mean()


class Prototypes(nn.Module):
    """One vector per drawing in the space of visual tokens, for training only: a cosine softmax over them makes the
    cosine of two tokens tell drawings apart, which is what a question by picture asks of it."""

    def __init__(self, drawings: int) -> None:
        super().__init__()
        self.centre = nn.Parameter(torch.zeros(DIM))
        self.vectors = nn.Parameter(torch.randn(drawings, DIM) / DIM**0.5)

    def forward(self, tokens: Tensor, drawings: Tensor) -> Tensor:
        """Cross-entropy of tokens `(N, DIM)` against their drawings `(N,)`, a scalar."""
        cosines = F.normalize(tokens - self.centre, dim=-1) @ F.normalize(self.vectors, dim=-1).T
        return F.cross_entropy(cosines / TAU_DRAWING, drawings)


def _phrases(name: str, synonyms: tuple[str, ...]) -> list[str]:
    plurals = [p + ("es" if p.endswith(("s", "x", "ch", "sh")) else "s") for p in (name, *synonyms)]
    return [name, *synonyms, *plurals]


def reduce_table(tokens: np.ndarray, dim: int = TEXT_DIM) -> np.ndarray:
    """Sentence-encoder vectors of word pieces `(V, 384)` to `(V, dim)` unit rows: centred, principal components
    with their spread evened by half (between PCA and whitening), which parts names that the raw space crowds."""
    centred = tokens - tokens.mean(0)
    _, s, vt = np.linalg.svd(centred, full_matrices=False)
    reduced = centred @ vt[:dim].T / np.sqrt(s[:dim])
    unit: np.ndarray = (reduced / np.linalg.norm(reduced, axis=1, keepdims=True)).astype(np.float32)
    return unit


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
    net: TinyNet, text: TextTower, drawn: Prototypes, batch: Batch, rng: np.random.Generator
) -> Batch:
    """Stage 1: name every mask from its mean feature; tell drawings and masks apart; find centres."""
    images = batch["image"].permute(0, 3, 1, 2).float().div(255).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        features, heat = net.backbone(images)
    features = features.float()
    means = pooled(features, batch["cover"])
    texts = text(rng)
    labels = text_labels(batch["labels"], len(texts))
    named = labels >= 0
    tokens = net.regions.project(means[named])
    # Points under one mask should have like features: three random patches of each object and its mean.
    objects = (batch["labels"] >= 0) & (batch["cover"].flatten(2).sum(-1) > 3)
    weight = (batch["cover"][objects].flatten(1) ** 4).clamp_min(1e-6)
    spots = torch.multinomial(weight, 3)
    where = objects.nonzero()[:, :1].expand(-1, 3)
    patches = features.flatten(2).transpose(1, 2)[where, spots]  # (n, 3, D)
    pick = torch.randperm(len(patches))[:200]
    groups = torch.arange(len(pick)).repeat_interleave(3)
    seen = batch["drawings"] >= 0
    plain = (1 - F.max_pool2d(1 - batch["scenery"], 3, 1, 1)).flatten() > 0.99
    bare = features.permute(0, 2, 3, 1).flatten(0, 2)[plain]
    scenery = net.regions.project(bare[torch.randperm(len(bare))[:256]])
    return {
        "text": text_contrast(tokens, texts, labels[named], TAU_TEXT),
        "scenery": 0.2 * nameless(scenery, texts),
        "drawing": 0.5 * drawn(means[seen], batch["drawings"][seen]),
        "visual": 0.3 * visual_contrast(patches[pick].flatten(0, 1), groups),
        "heat": 0.3 * heat_loss(heat, heat_targets(batch)),
        "drift": 0.05 * text.drift(),
    }


def region_step(
    net: TinyNet, text: TextTower, drawn: Prototypes, batch: Batch, rng: np.random.Generator
) -> Batch:
    """Stage 2 on the frozen backbone: Eqs. 1-5 and the score. Targets of a point: the object there, and the surface
    under it, so that a point has more than one region, as in the paper."""
    images = batch["image"].permute(0, 3, 1, 2).float().div(255).contiguous(memory_format=torch.channels_last)
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

    cell = (points[..., 1] * h).long().clamp(0, h - 1) * w + (points[..., 0] * w).long().clamp(0, w - 1)
    at_point = cover.flatten(2).gather(2, cell[:, None].expand(-1, r, -1))  # (B, R, P)
    is_object, is_surface, is_photo = (batch["labels"] >= 0), batch["labels"] == -1, batch["labels"] == -2
    best_object = (at_point * is_object[..., None]).max(1)
    best_surface = (at_point * is_surface[..., None]).max(1)
    # Photos and rooms hold things that nobody outlined: what a point finds there is neither right nor wrong.
    unknown = ((at_point * is_photo[..., None]).amax(1) > 0.5) & (best_object.values <= 0.5)
    target = torch.stack([best_object.indices, best_surface.indices], -1)  # (B, P, 2)
    valid = torch.stack([best_object.values > 0.5, best_surface.values > 0.5], -1)

    means = pooled(features, cover)
    goal = means.gather(1, target.flatten(1)[..., None].expand(-1, -1, means.shape[-1])).view(*target.shape, -1)
    with torch.no_grad():
        cost = 1 - torch.einsum("bpkd,bptd->bpkt", F.normalize(tokens, dim=-1), F.normalize(goal, dim=-1))
        given = match(cost.flatten(0, 1), valid.flatten(0, 1)).view_as(target)
    bi, pi, ti = valid.nonzero(as_tuple=True)
    ki = given[bi, pi, ti]
    token, mask = tokens[bi, pi, ki], attention[bi, pi, ki]
    region = target[bi, pi, ti]
    truth = cover[bi, region].flatten(1)

    texts = text(rng)
    labels = text_labels(batch["labels"], len(texts))[bi, region]
    projected = net.regions.project(token)
    pooled_text = net.regions.project(goal[bi, pi, ti]).detach()

    with torch.no_grad():
        binary = mask / mask.amax(-1, keepdim=True).clamp_min(1e-12) > 0.5
        inter = (binary * truth).sum(-1)
        iou = inter / (binary.sum(-1) + truth.sum(-1) - inter).clamp_min(1e-3)
        score_goal = torch.zeros_like(scores)
        score_goal[bi, pi, ki] = iou
    subset = torch.randperm(len(token))[:600]
    drawing = batch["drawings"][bi, region]
    with torch.no_grad():  # tokens whose mask lies on scenery alone must not take the name of anything
        held = (attention / attention.amax(-1, keepdim=True).clamp_min(1e-12) > 0.5).float()
        on = torch.einsum("bpkn,bn->bpk", held, batch["scenery"].flatten(1)) / held.sum(-1).clamp_min(1)
    bare = tokens[on > 0.95]
    scenery = net.regions.project(bare[torch.randperm(len(bare))[:256]])
    return {
        "visual": visual_contrast(token[subset], (bi * r + region)[subset]),
        "text": text_contrast(projected, texts, labels, TAU_TEXT),
        "scenery": 0.3 * nameless(scenery, texts),
        "drawing": 0.5 * drawn(token[drawing >= 0], drawing[drawing >= 0]),
        "distil": distillation(token, goal[bi, pi, ti]) + distillation(projected, pooled_text),
        "mask": mask_loss(mask, truth),
        "score": F.binary_cross_entropy_with_logits(scores[~unknown], score_goal[~unknown]),
        "drift": 0.05 * text.drift(),
    }


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
            images = batch["image"].permute(0, 3, 1, 2).float().div(255).contiguous(memory_format=torch.channels_last)
            features, _ = net.backbone(images)
            objects = batch["labels"] >= 0
            names = F.normalize(net.regions.project(pooled(features, batch["cover"])), dim=-1) @ texts.T
            hits["pooled"] += (names.argmax(-1) == batch["labels"])[objects].float().tolist()
            h, w = features.shape[-2:]
            points = (batch["centres"] + 0.5) / torch.tensor([w, h])
            tokens, attention, queries = net.regions(features, points)
            best = net.score(queries).squeeze(-1).argmax(-1)[..., None, None]
            token = tokens.gather(2, best.expand(-1, -1, 1, tokens.shape[-1])).squeeze(2)
            mask = attention.gather(2, best.expand(-1, -1, 1, attention.shape[-1])).squeeze(2)
            names = F.normalize(net.regions.project(token), dim=-1) @ texts.T
            hits["token"] += (names.argmax(-1) == batch["labels"])[objects].float().tolist()
            binary, cover = mask / mask.amax(-1, keepdim=True) > 0.5, batch["cover"].flatten(2)
            inter = (binary * cover).sum(-1)
            hits["iou"] += (inter / (binary.sum(-1) + cover.sum(-1) - inter).clamp_min(1e-3))[objects].tolist()
    net.train()
    return {k: float(np.mean(v)) for k, v in hits.items()}


def train(args: argparse.Namespace) -> None:
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    vocabulary = Path(args.vocabulary).read_text("utf-8").splitlines()
    table = reduce_table(np.load(args.tokens, allow_pickle=False))
    net, text = TinyNet().to(memory_format=torch.channels_last), TextTower(table, vocabulary)  # type: ignore[call-overload]
    drawn = Prototypes(len(load_drawings()))
    if args.start:
        state = torch.load(args.start, weights_only=True)
        if "drawn" in state:
            drawn.load_state_dict(state["drawn"])
        net.load_state_dict(state["net"], strict=False)  # older checkpoints have no map of the visual tokens
        text.load_state_dict(state["text"])
    if args.stage == "backbone":
        step_of, parts = backbone_step, [net.backbone, net.regions.text1, net.regions.text2, text, drawn]
    else:
        step_of, parts = region_step, [net.regions, net.score, text]
        if args.start and "backbone" in Path(args.start).name:
            near_identity(net.regions)
        net.backbone.requires_grad_(False)
        drawn.requires_grad_(False)
    params = [p for part in parts for p in part.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(params, lr=args.lr, weight_decay=0.01)

    def rate(step: int) -> float:
        warm = min(1.0, (step + 1) / args.warmup)
        return float(warm * (0.02 + 0.98 * (1 + np.cos(np.pi * min(1, step / args.steps))) / 2))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    first, checkpoint = 0, out / f"{args.stage}.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        net.load_state_dict(state["net"])
        text.load_state_dict(state["text"])
        drawn.load_state_dict(state["drawn"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        first = state["step"]
    photos = Path(args.photos) if args.photos else None
    worlds = Path(args.worlds) if args.worlds else None
    held_out = DataLoader(Scenes(photos, 9999), args.batch, collate_fn=collate)
    loader = DataLoader(
        Scenes(photos, args.seed + 1000 * first, args.rooms, worlds), args.batch,
        collate_fn=collate, num_workers=args.workers, prefetch_factor=4,
    )  # fmt: skip
    supply = iter(held_out)
    tests = [next(supply) for _ in range(4)]
    frames = []
    if worlds:
        rest = WorldScenes(worlds, load_drawings(), [t.name for t in things()], 0, held_out=True)
        frames = [collate([rest.scene() for _ in range(args.batch)]) for _ in range(4)]
    torch.set_num_threads(args.threads)
    rng = np.random.default_rng(args.seed + first)
    net.train()
    if args.stage == "regions":
        net.backbone.eval()
    began, sums = time.time(), dict[str, float]()
    with (out / f"{args.stage}.log").open("a") as log:
        for step, batch in enumerate(loader, first):
            losses = step_of(net, text, drawn, batch, rng)
            loss = sum(losses.values())
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[union-attr]
            nn.utils.clip_grad_norm_(params, 5.0)
            optimizer.step()
            schedule.step()
            for k, v in losses.items():
                sums[k] = sums.get(k, 0.0) + v.item()
            done = step + 1
            if done % args.every == 0 or done >= args.steps:
                measured = evaluate(net, text, tests)
                measured |= {f"world_{k}": v for k, v in (evaluate(net, text, frames) if frames else {}).items()}
                if args.stage == "regions":
                    net.backbone.eval()
                row: dict[str, Any] = {k: round(v / args.every, 4) for k, v in sums.items()} | {
                    "step": done, "s": round(time.time() - began), "lr": schedule.get_last_lr()[0],
                } | {k: round(v, 4) for k, v in measured.items()}  # fmt: skip
                print(json.dumps(row), file=log, flush=True)
                sums = {}
                partial = checkpoint.with_suffix(".part")
                saved = {"net": net, "text": text, "drawn": drawn, "optimizer": optimizer, "schedule": schedule}
                torch.save({k: v.state_dict() for k, v in saved.items()} | {"step": done}, partial)
                partial.replace(checkpoint)
            if done >= args.steps or (args.minutes and time.time() - began > args.minutes * 60):
                break


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--stage", choices=["backbone", "regions"], required=True)
    p.add_argument("--out", required=True, help="folder for checkpoints and logs")
    p.add_argument("--start", help="a checkpoint to take weights from")
    p.add_argument("--photos", help="tar or folder of photos for backgrounds")
    p.add_argument("--rooms", type=int, default=0, help="empty rooms to make for backgrounds (1.5 s each)")
    p.add_argument("--worlds", help="folder of frames and masks of worlds (vidmem.train.tren.world.render_worlds)")
    p.add_argument("--tokens", required=True, help="(V, 384) float32 .npy: sentence-encoder vector of each word piece")
    p.add_argument("--vocabulary", required=True, help="the V word pieces, a line each")
    p.add_argument("--steps", type=int, default=4000)
    p.add_argument("--minutes", type=float, default=0, help="stop after so many minutes")
    p.add_argument("--warmup", type=int, default=300, help="steps of linear warm-up")
    p.add_argument("--batch", type=int, default=16)
    p.add_argument("--lr", type=float, default=2e-3)
    p.add_argument("--every", type=int, default=200, help="steps between checkpoints")
    p.add_argument("--workers", type=int, default=1)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--seed", type=int, default=0)
    return p


if __name__ == "__main__":
    train(parser().parse_args())
