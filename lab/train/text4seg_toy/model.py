"""The language model: a small decoder over picture tokens, a question and an answer.

The picture and the question are a prefix in which every token sees every other; the answer is causal (a prefix
language model, as many vision-language models are). A token of the answer has the row and the column of the cell that
comes next, counted from the text before it and nothing else, and shares their embeddings with the picture's tokens.

In training, the picture's tokens are also asked which of their cells are meant (`mark`). It is a lesson only: answers
are text, and no answer is read from the marks.
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
MARKED = 3
"""Layers before the marks; the others are left to read the picture row by row."""
MARKS = POOL * POOL + 1
"""Marks of a picture token: one for each of its cells on the 16 x 16 grid, and one for its cell on the 8 x 8 grid."""
LISTEN = 4.0
"""What half of the heads add to the attention to words of the question, which are few beside the picture's tokens."""

Cache = list[tuple[Tensor, Tensor]]


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """The size of the model."""

    width: int = 128
    layers: int = 5
    heads: int = 4


class Block(nn.Module):
    """One layer: attention and a two-layer network, each on normalised input and added to it."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.mix = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(
        self, x: Tensor, mask: Tensor, past: tuple[Tensor, Tensor] | None = None, first: int = 0
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The new states of the tokens from `first` on, and the keys and values `(n, heads, t, d)` of all.

        past: keys and values of tokens before these. mask: `(heads, queries, keys)`, added to the attention.
        """
        n, t, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(n, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        if past is not None:
            k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
        seen = F.scaled_dot_product_attention(q[:, :, first:], k, v, mask.expand(-1, t - first, -1)[None])
        x = x[:, first:] + self.mix(seen.transpose(1, 2).reshape(n, t - first, width))
        return x + self.down(F.gelu(self.up(self.norm2(x)))), (k, v)


class Writer(nn.Module):
    """Writes an answer on a grid of 8 or 16 cells a side for frozen patch features and a question."""

    def __init__(self, config: ModelConfig, grid: int) -> None:
        super().__init__()
        self.config, self.grid = config, grid
        width = config.width
        self.connector = nn.Sequential(nn.Linear(WIDTH * POOL * POOL, width), nn.GELU(), nn.Linear(width, width))
        # The last row and column are for text beyond the grid. Cells of a 16 x 16 grid share the place of a picture
        # token and differ in the half of it.
        self.column, self.row = nn.Embedding(SEEN + 1, width), nn.Embedding(SEEN + 1, width)
        self.inner = nn.Embedding(4, width)
        self.words, self.order = nn.Embedding(len(tokens.TOKENS), width), nn.Embedding(LONGEST, width)
        self.blocks = nn.ModuleList(Block(width, config.heads) for _ in range(config.layers))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, len(tokens.TOKENS))
        self.marks = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, MARKS))
        for module in self.modules():
            if isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=0.5)

    def prefix(self, features: Tensor, question: Tensor) -> Tensor:
        """The picture and question tokens `(n, PREFIX, width)` of features `(n, WIDTH, 16, 16)`, `(n, LONGEST)` ids."""
        n = len(features)
        cut = features.view(n, WIDTH, SEEN, POOL, SEEN, POOL).permute(0, 2, 4, 3, 5, 1).reshape(n, SEEN, SEEN, -1)
        picture = self.connector(cut) + self.column.weight[:SEEN] + self.row.weight[:SEEN, None]
        return torch.cat([picture.flatten(1, 2), self.words(question) + self.order.weight], 1)

    def mark(self, features: Tensor, question: Tensor) -> Tensor:
        """The logits `(n, 64, MARKS)` of which cells are meant, from the prefix alone."""
        x = self.prefix(features, question)
        for block in self.blocks[:MARKED]:
            x, _ = block(x, self._listen(PREFIX))
        logits: Tensor = self.marks(x[:, : SEEN * SEEN])
        return logits

    def forward(self, features: Tensor, question: Tensor, answer: Tensor) -> tuple[Tensor, Tensor]:
        """The logits `(n, t, tokens)` of what follows each token of the answers `(n, t)`, and those of `mark`."""
        t = answer.shape[1]
        x = torch.cat([self.prefix(features, question), self._written(answer, *places(answer, self.grid))], 1)
        later = torch.ones(PREFIX + t, PREFIX + t, dtype=torch.bool).triu(1)
        later[:PREFIX, :PREFIX] = False
        mask = self._listen(PREFIX + t).masked_fill(later, -torch.inf)
        marks = x
        for number, block in enumerate(self.blocks[:-1], 1):
            x, _ = block(x, mask)
            if number == MARKED:
                marks = self.marks(x[:, : SEEN * SEEN])
        x, _ = self.blocks[-1](x, mask[:, PREFIX:], first=PREFIX)
        return self.head(self.norm(x)), marks

    def start(self, features: Tensor, question: Tensor) -> Cache:
        """The keys and values of the prefix, for `step`."""
        x, cache = self.prefix(features, question), []
        for block in self.blocks:
            x, kept = block(x, self._listen(PREFIX))
            cache.append(kept)
        return cache

    def step(self, token: Tensor, row: Tensor, column: Tensor, cache: Cache) -> Tensor:
        """The logits `(n, tokens)` after one more token `(n,)`; extends the cache.

        row and column `(n,)` are those of `places` for that token.
        """
        x = self._written(token[:, None], row[:, None], column[:, None])
        for number, block in enumerate(self.blocks):
            x, cache[number] = block(x, self._listen(cache[number][0].shape[2] + 1), cache[number])
        logits: Tensor = self.head(self.norm(x[:, 0]))
        return logits

    def _listen(self, keys: int) -> Tensor:
        """What heads add for each key, `(heads, 1, keys)`."""
        out = torch.zeros(self.config.heads, 1, keys)
        out[: self.config.heads // 2, :, SEEN * SEEN : PREFIX] = LISTEN
        return out

    def _written(self, answer: Tensor, row: Tensor, column: Tensor) -> Tensor:
        each = max(1, self.grid // SEEN)  # cells on one picture token
        half = 2 * (row % each) + column % each
        at_row, at_column = (row // each).clamp(max=SEEN), (column // each).clamp(max=SEEN)
        x: Tensor = self.words(answer) + self.row(at_row) + self.column(at_column) + self.inner(half)
        return x


def places(answer: Tensor, grid: int) -> tuple[Tensor, Tensor]:
    """The row and the column of the cell that comes after each token of answers `(n, t)`, both `(n, t)`.

    They are counted from the text up to that token: a count moves on by so many cells, a label without a star after it
    (before a bar or the end) by one, and a line break to the next row. Text without rows wraps at `grid` cells.
    """
    worth = tokens.WORTH[answer]
    before = F.pad(answer[:, :-1], (1, 0), value=tokens.STAR_ID)
    # A bar or an end right after a label closes a cell without a count.
    bare = (tokens.CLOSING[answer] & tokens.LABEL[before]).long()
    cells = (worth + bare).cumsum(1)
    breaks = answer == tokens.BREAK_ID
    lines = breaks.cumsum(1)
    # Cells before the present line; in text without lines, none.
    begun = torch.where(breaks, cells, torch.zeros_like(cells)).cummax(1).values
    in_line = cells - begun
    return lines + in_line // grid, in_line % grid
