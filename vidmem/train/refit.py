"""Fit the text side of `tiny` once more, the table and the projector, to the tokens of the finished network.

While the network learns, few of its pictures are photographs as a whole, a name and its synonyms share few word pieces
and drift apart, and plurals and attributes are not said at all. Here the visual tokens stay, so that a step costs
nothing: they are projected to their names (Eq. 2), and every way to say a name is drawn to them and to where it is.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ..encoders.region_encoder import RegionEncoder
from .losses import text_contrast
from .photo.text_space import Bags, recall, training_phrases
from .tokens import Named
from .towers import TAU_TEXT, TextTower, told

NAME_SHARE = 0.4
"""How often a class is said by its name; else by any of the ways to say it."""
STAY = 2.0
"""Weight of staying where the class is, against 1 for the tokens: names that no picture shows have only this."""
DRIFT = 0.05
TOLD = 2.0
"""Weight of the teacher's answers, which place names that no picture shows."""
KEPT = 1.0
"""Weight of what the network said of scenes before: it saw more of them than are looked at here."""
TABLE_RATE, PROJECTOR_RATE = 0.001, 0.001
ANSWERED = 256
"""Tokens of a step that the teacher answered for."""


def shared(tower: TextTower) -> tuple[dict[str, int], Tensor]:
    """Phrases that classes share. Returns, by phrase, the class that a picture shows, where others that share it were
    neither shown nor told of by the teacher, and pairs of classes `(C, C)` bool that share any phrase with one shown:
    "axe" is what the drawings call so, not the "ax" of a list of names, and neither speaks against the other."""
    classes, told = tower.names.classes, (tower.get_buffer("mix") > 0).any(0)
    owners: dict[str, list[int]] = {}
    for i, known in enumerate(classes):
        for phrase in known.phrases:
            owners.setdefault(phrase, []).append(i)
    claimed: dict[str, int] = {}
    pairs = torch.zeros(len(classes), len(classes), dtype=torch.bool)
    for phrase, group in owners.items():
        shown = [i for i in group if classes[i].taught]
        if shown and len(group) > 1:
            pairs[torch.tensor(group)[:, None], torch.tensor(group)] = True
            if len(shown) == 1 and not any(told[i] for i in group if i != shown[0]):
                claimed[phrase] = shown[0]
    return claimed, pairs.fill_diagonal_(False)


class Sayings(NamedTuple):
    """bags: all phrases; ways: of each class the phrases that say it, its name first; own: which classes have a phrase
    of their own `(C,)` bool; near: pairs `(C, C)` bool that do not speak against each other."""

    bags: Bags
    ways: list[list[int]]
    own: Tensor
    near: Tensor


def sayings(tower: TextTower, goals: Tensor, table: NDArray[np.float32], index: dict[str, int]) -> Sayings:
    """All that is said of the classes, which lie at `goals (C, Dt)`, with word pieces of the table."""
    claimed, pairs = shared(tower)
    phrases, _, owners, _ = training_phrases(tower.names, goals.numpy(), table, index, held_out=0, claimed=claimed)
    ways: list[list[int]] = [[] for _ in range(len(tower.names))]
    for i, owner in enumerate(owners.tolist()):
        ways[owner].append(i)
    own = torch.tensor([bool(phrases_of) for phrases_of in ways])
    # A class without a phrase of its own is said as the one that has it, which it does not speak against.
    place = {phrase: i for i, phrase in enumerate(phrases)}
    for one, phrases_of in zip(tower.names.classes, ways, strict=True):
        if not phrases_of:
            phrases_of.append(place[one.name])
    return Sayings(Bags(phrases, index), ways, own, tower.near | pairs)


def refit(tower: TextTower, regions: RegionEncoder, known: list[Named], new: list[Named], answers: Tensor,
          folder: Path, out: Path, steps: int, batch: int = 512, seed: int = 0) -> dict[str, Any]:  # fmt: skip
    """Move the rows of `tower`'s table and the text projector of `regions`, in place, and write the text folder anew
    into `out`. Each step sees as many tokens of each source: known ones are what the network learned its names from,
    and what it says of them changes as little as may be (Li and Hoiem 2016, learning without forgetting); new ones it
    was rarely shown. answers: the teacher's log-probabilities `(rows, 1000)`. Returns how often each way to say a name
    finds it, before and after."""
    with torch.no_grad():
        goals = tower()
    table, index = tower.whole_table(), {piece: i for i, piece in enumerate(tower.vocabulary)}
    said = sayings(tower, goals, table, index)
    bags, ways = said.bags, said.ways
    measured = {"before": recall(table, index, goals.numpy(), tower.names, [])}
    start = torch.from_numpy(table[bags.used])
    vectors = start.clone().requires_grad_()
    projector = [*regions.text1.parameters(), *regions.text2.parameters()]
    optimizer = torch.optim.AdamW([
        {"params": [vectors], "lr": TABLE_RATE, "weight_decay": 0.0}, {"params": projector, "lr": PROJECTOR_RATE},
    ])  # fmt: skip
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    rng, random = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    learned, shown = (list(with_names(sources)) for sources in (known, new))
    named = [*learned, *shown]
    weights = [balanced(source, len(ways)) for source in named]
    with torch.no_grad():
        before = [F.normalize(regions.project(source.tokens), dim=-1) for source in learned]
    some = [source.take(source.answers >= 0) for source in (*known, *new)]
    seen = Named(*(torch.cat(values) for values in zip(*some, strict=True)))
    for _ in range(steps):
        plain = rng.random(len(ways)) < NAME_SHARE
        picked = [w[0] if first else w[int(rng.integers(len(w)))] for w, first in zip(ways, plain, strict=True)]
        texts = bags.means(vectors, picked)
        rows = [torch.multinomial(w, batch // len(named), replacement=True, generator=random) for w in weights]
        tokens = regions.project(torch.cat([source.tokens[r] for source, r in zip(named, rows, strict=True)]))
        labels = torch.cat([source.labels[r] for source, r in zip(named, rows, strict=True)])
        loss = text_contrast(tokens, texts, labels, TAU_TEXT, said.near)
        loss = loss + STAY * (1 - (texts * goals).sum(-1))[said.own].mean()
        loss = loss + DRIFT * (vectors - start).square().sum(-1).mean()
        if learned:
            was = torch.cat([values[r] for values, r in zip(before, rows, strict=False)])
            now = F.normalize(tokens[: len(was)], dim=-1)
            loss = loss + KEPT * told(now @ texts.T / TAU_TEXT, (was @ goals.T / TAU_TEXT).log_softmax(-1))
        if len(seen.tokens):
            drawn = torch.multinomial(seen.weights, ANSWERED, replacement=True, generator=random)
            logits = F.normalize(regions.project(seen.tokens[drawn]), dim=-1) @ tower.imagenet(texts).T / TAU_TEXT
            loss = loss + TOLD * told(logits, answers[seen.answers[drawn]])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    table[bags.used] = vectors.detach().numpy()
    with torch.no_grad():
        tower.vectors.copy_(torch.from_numpy(table[tower.used.numpy()]))
        measured["after"] = recall(table, index, tower().numpy(), tower.names, [])
    out.mkdir(parents=True, exist_ok=True)
    for name in ("names.json", "vocabulary.txt"):
        shutil.copyfile(folder / name, out / name)
    with np.load(folder / "text.npz", allow_pickle=False) as kept:
        np.savez(out / "text.npz", table=table, goals=kept["goals"])
    (out / "refit.json").write_text(json.dumps(measured, indent=1), "utf-8")
    return measured


def with_names(sources: Iterable[Named]) -> Iterator[Named]:
    """Their tokens that have a name; nothing of a source without one."""
    for source in sources:
        named = source.take(source.labels >= 0)
        if len(named.labels):
            yield named


def balanced(named: Named, classes: int) -> Tensor:
    """How often each token is learned from, `(N,)`: of a name with many pictures not much more than of one with few."""
    return named.weights / torch.bincount(named.labels, minlength=classes).clamp_min(1).sqrt()[named.labels]
