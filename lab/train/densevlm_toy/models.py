"""Small CLIP models of open_clip for made scenes: how they are built, and how student and teacher learn.

Student: a contrast of whole pictures with their captions, as CLIP; no label of a place. Teacher: names of labelled
regions, things by their boxes and stuff by its masks, on scenes of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from vidmem.encoders.clip.dense import dense_features, mask_pool, roi_align
from vidmem.encoders.clip.model import ClipTower
from vidmem.encoders.torchvision_compat import ready

from .regions import regions_of
from .scenes import NAMES, PATCH, SIDE, THINGS, Scenes

CELLS = SIDE // PATCH
"""Rows and columns of the grid of patches."""
CONTEXT = 6
"""Tokens of a caption: start, up to three names, "on", end."""
_ON, _START, _END = len(NAMES) + 1, len(NAMES) + 2, len(NAMES) + 3


@dataclass(frozen=True, slots=True)
class Size:
    """Size of a model.

    Attributes:
        width, layers, heads: Of the image tower.
        text_layers: Of the text tower, which has width 64.
        patch_dropout: Share of patches that training on captions leaves out, for speed (FLIP, arXiv 2212.00794).
    """

    width: int = 96
    layers: int = 4
    heads: int = 3
    text_layers: int = 1
    patch_dropout: float = 0.0


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a model learns: AdamW, a linear warm-up and a cosine down to 0; weight decay of matrices only."""

    steps: int
    batch: int
    lr: float
    warmup: int = 30
    weight_decay: float = 0.1

    def rate(self, step: int) -> float:
        """The learning rate of a step."""
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        return self.lr * 0.5 * (1 + math.cos(math.pi * (step - self.warmup) / max(1, self.steps - self.warmup)))


def build(size: Size, seed: int) -> Any:
    """A CLIP model of open_clip with random weights: patches of 8 pixels, words of the made scenes."""
    ready()
    from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg

    torch.manual_seed(seed)
    return CLIP(
        size.width,
        CLIPVisionCfg(
            layers=size.layers,
            width=size.width,
            head_width=size.width // size.heads,
            patch_size=PATCH,
            image_size=SIDE,
            patch_dropout=size.patch_dropout,
        ),
        CLIPTextCfg(context_length=CONTEXT, vocab_size=_END + 1, width=64, heads=2, layers=size.text_layers),
    )


def tokens(captions: Iterable[Sequence[int]]) -> Tensor:
    """Token ids `(N, CONTEXT)` int64 of captions, such as "ball and kite on grass" (without the "and")."""
    rows = []
    for caption in captions:
        row = [_START]
        for name in caption:
            if name >= len(THINGS) and len(row) > 1:
                row.append(_ON)
            row.append(name + 1)
        row.append(_END)
        rows.append(row + [0] * (CONTEXT - len(row)))
    return torch.tensor(rows)


def name_vectors(model: Any) -> Tensor:
    """The texts of all names, `(C, D)` float32 of length 1: things first, then stuff."""
    vectors: Tensor = model.encode_text(tokens([(i,) for i in range(len(NAMES))]), normalize=True)
    return vectors


def pixels(pictures: NDArray[np.uint8]) -> Tensor:
    """Pictures `(N, H, W, 3)` as the input of a tower, `(N, 3, H, W)` float32, about -2..2."""
    return (torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.25


def dense(model: Any, batch: Tensor) -> Tensor:
    """Dense features `(B, D, h, w)` of pixels, of length 1."""
    return dense_features(ClipTower(model.visual), batch)


def train(
    parameters: Iterable[tuple[str, nn.Parameter]],
    recipe: Recipe,
    loss_of: Callable[[int, NDArray[np.intp]], Tensor],
    count: int,
    seed: tuple[int, ...],
    note: Callable[[int, float], None] | None = None,
) -> None:
    """Minimise `loss_of(step, rows)`, where rows are indices of a batch out of `count` scenes in a random order."""
    named = [(name, p) for name, p in parameters if p.requires_grad]
    groups = [
        {"params": [p for _, p in named if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for _, p in named if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=recipe.lr, betas=(0.9, 0.98), eps=1e-6)
    rng = np.random.default_rng(seed)
    order: list[int] = []
    for step in range(recipe.steps):
        if len(order) < recipe.batch:
            order += rng.permutation(count).tolist()
        rows, order = np.array(order[: recipe.batch]), order[recipe.batch :]
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate(step)
        loss = loss_of(step, rows)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_([p for _, p in named], 1.0)
        optimizer.step()
        if note is not None and (step + 1) % 50 == 0:
            note(step + 1, loss.item())


def caption_contrast(image: Tensor, text: Tensor, scale: Tensor, captions: Tensor) -> Tensor:
    """CLIP's loss of both directions, where equal captions of a batch are positives of each other.

    image, text: `(B, D)` of length 1. captions: `(B, L)`, the tokens. With 18 names a batch holds many equal captions.
    """
    logits = scale * image @ text.T
    same = (captions[:, None] == captions[None]).all(-1).float()
    goal = same / same.sum(1, keepdim=True)
    return -(goal * (logits.log_softmax(1) + logits.T.log_softmax(1))).sum(1).mean() / 2


def learn_captions(
    model: Any, scenes: Scenes, recipe: Recipe, seed: int, note: Callable[[int, float], None] | None = None
) -> None:
    """Train a student on whole pictures and captions; pictures are mirrored at random."""
    said = tokens(scenes.captions)
    flips = np.random.default_rng((seed, 1))

    def loss_of(step: int, rows: NDArray[np.intp]) -> Tensor:
        pictures = scenes.pictures[rows]
        mirrored = flips.random(len(rows)) < 0.5
        pictures[mirrored] = pictures[mirrored, :, ::-1]
        image = F.normalize(model.visual(pixels(pictures)), dim=-1)
        captions = said[torch.from_numpy(rows)]
        text = model.encode_text(captions, normalize=True)
        return caption_contrast(image, text, model.logit_scale.exp().clamp(max=100), captions)

    train(model.named_parameters(), recipe, loss_of, len(scenes), (seed, 2), note)
    model.eval()


def loosened(boxes: Tensor, most: float, rng: np.random.Generator) -> Tensor:
    """Boxes `(R, 4)` in patches, with each side moved outwards by 0 to `most` of its length, within the scene."""
    sides = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    outwards = torch.tensor([-1.0, -1.0, 1.0, 1.0])
    shift = torch.from_numpy(rng.uniform(0, most, tuple(boxes.shape)).astype(np.float32))
    return (boxes + outwards * shift * sides).clamp(0, CELLS)


def learn_regions(
    model: Any,
    scenes: Scenes,
    recipe: Recipe,
    seed: int,
    margin: float,
    note: Callable[[int, float], None] | None = None,
) -> None:
    """Train a teacher to name labelled regions by their pooled dense features, against its own texts of all names.

    Every thing and every ground is named once by its mask, and every thing once more by a box around it with some
    ground, as datasets of boxes do. Names are compared by cosine with a learned temperature, as in CLIP.

    Args:
        model: The teacher, changed in place.
        scenes: Labelled scenes.
        recipe: How long and how fast.
        seed: Of the order and the boxes.
        margin: How far a side of a box is moved outwards at most, in sides of the box.
        note: Called every 50 steps with the step and the loss.
    """
    known = [regions_of(scenes, row) for row in range(len(scenes))]
    rng = np.random.default_rng((seed, 5))

    def loss_of(step: int, rows: NDArray[np.intp]) -> Tensor:
        some = [known[row] for row in rows]
        features = dense(model, pixels(scenes.pictures[rows]))
        boxes = roi_align(features, [loosened(r.boxes[r.things], margin, rng) for r in some])
        pooled = F.normalize(torch.cat([boxes, mask_pool(features, [r.masks for r in some])]), dim=-1)
        names = torch.cat([r.names[r.things] for r in some] + [r.names for r in some])
        return F.cross_entropy(model.logit_scale.exp().clamp(max=100) * pooled @ name_vectors(model).T, names)

    train(model.named_parameters(), recipe, loss_of, len(scenes), (seed, 3), note)
    model.eval()
