"""The language model: a small decoder over picture tokens, a question and an answer.

The picture and the question are a prefix in which every token sees every other; the answer is causal (a prefix
language model, as many vision-language models are). A token of the answer knows two places, both read off the text
before it: how many line breaks there are, and how many tokens since the last one.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from . import tokens
from .questions import LONGEST
from .vision import GRID, WIDTH

POOL = 2
"""Patches that one picture token joins, both ways; their features lie side by side (InternVL's pixel shuffle)."""
SEEN = GRID // POOL
"""Picture tokens, both ways."""
PREFIX = SEEN * SEEN + LONGEST

ALIKE = 2.0
"""The first weights of queries and keys, as multiples of the usual ones."""

Cache = list[tuple[Tensor, Tensor]]


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """The size of the model.

    Attributes:
        rows: Line breaks that it can count.
        places: Tokens of one line that it can count.
        lines: The lines of an answer on a row of picture tokens, if both share their position embedding; else 0.
    """

    width: int = 128
    layers: int = 5
    heads: int = 4
    rows: int = 18
    places: int = 600
    lines: int = 0


class Block(nn.Module):
    """One layer: attention and a two-layer network, each on normalised input and added to it."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.mix = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        with torch.no_grad():  # queries and keys begin alike, so that tokens of one row attend to each other at first
            self.qkv.weight[width : 2 * width] = self.qkv.weight[:width].mul_(ALIKE)

    def forward(
        self, x: Tensor, mask: Tensor | None, past: tuple[Tensor, Tensor] | None = None, first: int = 0
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The new states of the tokens from `first` on, and the keys and values `(n, heads, t, d)` of all.

        past: keys and values of tokens before these. mask: `(queries, keys)` bool, None where all may be seen.
        """
        n, t, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(n, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        if past is not None:
            k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
        seen = F.scaled_dot_product_attention(q[:, :, first:], k, v, mask)
        x = x[:, first:] + self.mix(seen.transpose(1, 2).reshape(n, t - first, width))
        return x + self.down(F.gelu(self.up(self.norm2(x)))), (k, v)


class Writer(nn.Module):
    """Writes an answer for frozen patch features and a question."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.connector = nn.Sequential(nn.Linear(WIDTH * POOL * POOL, width), nn.GELU(), nn.Linear(width, width))
        self.across, self.down = nn.Embedding(SEEN, width), nn.Embedding(SEEN, width)
        self.words, self.order = nn.Embedding(len(tokens.TOKENS), width), nn.Embedding(LONGEST, width)
        self.row, self.place = nn.Embedding(config.rows, width), nn.Embedding(config.places, width)
        self.blocks = nn.ModuleList(Block(width, config.heads) for _ in range(config.layers))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, len(tokens.TOKENS))
        for module in self.modules():
            if isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=0.3)

    def prefix(self, features: Tensor, question: Tensor) -> Tensor:
        """The picture and question tokens `(n, PREFIX, width)` of features `(n, WIDTH, 16, 16)`, `(n, LONGEST)` ids."""
        n = len(features)
        cut = features.view(n, WIDTH, SEEN, POOL, SEEN, POOL).permute(0, 2, 4, 3, 5, 1).reshape(n, SEEN, SEEN, -1)
        lines = self.config.lines
        down = self.row.weight[: SEEN * lines].view(SEEN, lines, -1).mean(1) if lines else self.down.weight
        picture = self.connector(cut) + self.across.weight + down[:, None]
        return torch.cat([picture.flatten(1, 2), self.words(question) + self.order.weight], 1)

    def forward(self, features: Tensor, question: Tensor, answer: Tensor) -> Tensor:
        """The logits `(n, t, tokens)` of what follows each token of the answers `(n, t)`."""
        t = answer.shape[1]
        x = torch.cat([self.prefix(features, question), self._written(answer, *places(answer))], 1)
        mask = torch.ones(PREFIX + t, PREFIX + t, dtype=torch.bool).tril()
        mask[:PREFIX, :PREFIX] = True
        for block in self.blocks[:-1]:
            x, _ = block(x, mask)
        x, _ = self.blocks[-1](x, mask[PREFIX:], first=PREFIX)
        logits: Tensor = self.head(self.norm(x))
        return logits

    def start(self, features: Tensor, question: Tensor) -> Cache:
        """The keys and values of the prefix, for `step`."""
        x, cache = self.prefix(features, question), []
        for block in self.blocks:
            x, kept = block(x, None)
            cache.append(kept)
        return cache

    def step(self, token: Tensor, row: Tensor, place: Tensor, cache: Cache) -> Tensor:
        """The logits `(n, tokens)` after one more token `(n,)`; extends the cache."""
        x = self._written(token[:, None], row[:, None], place[:, None])
        for number, block in enumerate(self.blocks):
            x, cache[number] = block(x, None, cache[number])
        logits: Tensor = self.head(self.norm(x[:, 0]))
        return logits

    def _written(self, answer: Tensor, row: Tensor, place: Tensor) -> Tensor:
        limit = self.config
        x: Tensor = (
            self.words(answer) + self.row(row.clamp(max=limit.rows - 1)) + self.place(place.clamp(max=limit.places - 1))
        )
        return x


def places(answer: Tensor) -> tuple[Tensor, Tensor]:
    """How many line breaks there are before each token of answers `(n, t)`, and how many tokens since the last one."""
    breaks = torch.zeros_like(answer, dtype=torch.bool)
    for number in tokens.BREAK_IDS:
        breaks |= answer == number
    # A line break is the last token of its line; the next token begins a line.
    after = F.pad(breaks[:, :-1], (1, 0))
    at = torch.arange(answer.shape[1]).expand_as(answer)
    begun = torch.where(after, at, torch.zeros_like(at)).cummax(1).values
    return after.cumsum(1), at - begun
