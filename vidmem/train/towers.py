"""What is trained beside the network of `tiny`: its text table, and helpers that are thrown away after training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..encoders.mobile_net import DIM
from ..encoders.text_table import phrase_pieces
from .photo.names import Names

BACKGROUND = "background"
SAME = 0.7
"""Names of a cosine above this mean nearly the same: unless both are taught, neither is a counter-example for the
other."""
TAU_TEXT, TAU_DRAWING = 0.06, 0.08
HYPERNYM = 0.7
"""Weight of an everyday name beside ImageNet's own, of weight 1."""


class TextTower(nn.Module):
    """The trainable side of the text table: rows of word pieces that occur in names move, anchored to where
    photo/text_space.py put them; all others stay. folder: what that wrote."""

    used: Tensor
    initial: Tensor
    near: Tensor

    def __init__(self, folder: Path) -> None:
        super().__init__()
        with np.load(folder / "text.npz", allow_pickle=False) as kept:
            self.table, goals = kept["table"], kept["goals"]
        facts = json.loads((folder / "names.json").read_text("utf-8"))
        self.vocabulary = (folder / "vocabulary.txt").read_text("utf-8").splitlines()
        self.names = Names()
        for entry in facts["classes"]:
            known = self.names.classes[self.names.add(entry["phrases"][0])]
            known.taught = entry["taught"]
            for phrase in entry["phrases"][1:]:
                known.also(phrase)
        self.names.classes[self.names.add(BACKGROUND)].also("plain background")
        index = {piece: i for i, piece in enumerate(self.vocabulary)}
        self.rows = [[r for p in c.phrases if (r := phrase_pieces(p, index))] for c in self.names.classes]
        used = sorted({r for group in self.rows for rows in group for r in rows})
        self.register_buffer("used", torch.tensor(used))
        self.place = {r: i for i, r in enumerate(used)}
        self.register_buffer("initial", torch.from_numpy(self.table[used]))
        self.vectors = nn.Parameter(torch.from_numpy(self.table[used]).clone())
        taught = torch.tensor([c.taught for c in self.names.classes])
        near = torch.zeros(len(self.names), len(self.names), dtype=torch.bool)
        near[: len(goals), : len(goals)] = torch.from_numpy(goals @ goals.T > SAME)
        self.register_buffer("near", near & ~(taught[:, None] & taught) & ~torch.eye(len(near), dtype=torch.bool))
        # An ImageNet class as a mean of names: one row of weights over all classes.
        mix = torch.zeros(len(facts["imagenet"]), len(self.names))
        for i, (own, *more) in enumerate(facts["imagenet"]):
            mix[i, own] = 1
            for other in more:
                mix[i, other] = HYPERNYM
        self.register_buffer("mix", mix, persistent=False)

    @property
    def background(self) -> int:
        """The class of what has no name."""
        return len(self.names) - 1

    def forward(self, rng: np.random.Generator | None = None) -> Tensor:
        """One vector per class, `(C, Dt)`: of a random phrase of each with `rng`, of the name without."""
        flat: list[int] = []
        offsets: list[int] = []
        for group in self.rows:
            # The name itself half of the time: it is what people type first.
            pick = 0 if rng is None or rng.random() < 0.5 else int(rng.integers(len(group)))
            offsets.append(len(flat))
            flat += [self.place[r] for r in group[pick]]
        bags = F.embedding_bag(torch.tensor(flat), self.vectors, torch.tensor(offsets), mode="mean")
        return F.normalize(bags, dim=-1)

    def imagenet(self, texts: Tensor) -> Tensor:
        """The teacher's classes `(1000, Dt)` in the space of the names `texts (C, Dt)`."""
        return F.normalize(self.get_buffer("mix") @ texts, dim=-1)

    def drift(self) -> Tensor:
        return (self.vectors - self.initial).square().sum(-1).mean()

    def whole_table(self) -> np.ndarray:
        """`(V, Dt)` with the trained rows in their places."""
        out: np.ndarray = self.table.copy()
        out[self.used.numpy()] = self.vectors.detach().numpy()
        return out


class Helpers(nn.Module):
    """Heads for training only. Prototypes: one vector per drawing in the space of visual tokens; a cosine softmax over
    them makes the cosine of two tokens tell drawings apart, which is what a question by picture asks of it. classes:
    the teacher's classes straight from visual tokens, so that these keep what tells photographs apart."""

    def __init__(self, drawings: int) -> None:
        super().__init__()
        self.centre = nn.Parameter(torch.zeros(DIM))
        self.vectors = nn.Parameter(torch.randn(drawings, DIM) / DIM**0.5)
        self.classes = nn.Linear(DIM, 1000)

    def drawing(self, tokens: Tensor, drawings: Tensor) -> Tensor:
        """Cross-entropy of tokens `(N, DIM)` against their drawings `(N,)`, a scalar."""
        if not len(tokens):
            return tokens.sum()
        cosines = F.normalize(tokens - self.centre, dim=-1) @ F.normalize(self.vectors, dim=-1).T
        return F.cross_entropy(cosines / TAU_DRAWING, drawings)


def told(logits: Tensor, answers: Tensor) -> Tensor:
    """Kullback-Leibler divergence of `logits (N, C)` from a teacher's log-probabilities, a scalar."""
    if not len(logits):
        return logits.sum()
    return F.kl_div(logits.log_softmax(-1), answers.float(), log_target=True, reduction="batchmean")


def state_of(**modules: Any) -> dict[str, Any]:
    return {name: module.state_dict() for name, module in modules.items()}
