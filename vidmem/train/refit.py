"""Fit the text side of `tiny` once more, the table and the projector, to the tokens of the finished network.

While the network learns, few of its pictures are photographs as a whole, a name and its synonyms share few word pieces
and drift apart, and plurals and attributes are not said at all. Here the visual tokens stay, so that a step costs
nothing: they are projected to their names (Eq. 2), and every way to say a name is drawn to them and to where it is.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
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
TOLD = 0.3
"""Weight of the teacher's answers, which place names that no picture shows."""
TABLE_RATE, PROJECTOR_RATE = 0.005, 0.001
ANSWERED = 128
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


def refit(tower: TextTower, regions: RegionEncoder, sources: list[Named], answers: Tensor, folder: Path, out: Path,
          steps: int, batch: int = 512, seed: int = 0) -> dict[str, Any]:  # fmt: skip
    """Move the rows of `tower`'s table and the text projector of `regions`, in place, and write the text folder anew
    into `out`. sources: tokens, of which each step sees as many from each source; answers: the teacher's
    log-probabilities `(rows, 1000)`. Returns how often each way to say a name finds it, before and after."""
    with torch.no_grad():
        goals = tower()
    table, index = tower.whole_table(), {piece: i for i, piece in enumerate(tower.vocabulary)}
    claimed, pairs = shared(tower)
    near = tower.near | pairs
    phrases, _, owners, held = training_phrases(tower.names, goals.numpy(), table, index, held_out=0, claimed=claimed)
    bags = Bags(phrases, index)
    ways: list[list[int]] = [[] for _ in range(len(tower.names))]
    for i, owner in enumerate(owners.tolist()):
        ways[owner].append(i)
    # A class without a word of its own is said as the one that has it, which it does not speak against.
    stays = torch.tensor([bool(own) for own in ways])
    said = {phrase: i for i, phrase in enumerate(phrases)}
    for known, own in zip(tower.names.classes, ways, strict=True):
        if not own:
            own.append(said[known.name])
    measured = {"before": recall(table, index, goals.numpy(), tower.names, held)}
    start = torch.from_numpy(table[bags.used])
    vectors = start.clone().requires_grad_()
    projector = [*regions.text1.parameters(), *regions.text2.parameters()]
    optimizer = torch.optim.AdamW([
        {"params": [vectors], "lr": TABLE_RATE, "weight_decay": 0.0}, {"params": projector, "lr": PROJECTOR_RATE},
    ])  # fmt: skip
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    rng, random = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    named = [some for source in sources if len((some := source.take(source.labels >= 0)).labels)]
    weights = [balanced(source, len(ways)) for source in named]
    seen = torch.cat([source.tokens[source.answers >= 0] for source in sources])
    answered = torch.cat([source.answers[source.answers >= 0] for source in sources])
    for _ in range(steps):
        plain = rng.random(len(ways)) < NAME_SHARE
        picked = [w[0] if first else w[int(rng.integers(len(w)))] for w, first in zip(ways, plain, strict=True)]
        texts = bags.means(vectors, picked)
        rows = [torch.multinomial(w, batch // len(named), replacement=True, generator=random) for w in weights]
        tokens = torch.cat([source.tokens[r] for source, r in zip(named, rows, strict=True)])
        labels = torch.cat([source.labels[r] for source, r in zip(named, rows, strict=True)])
        loss = text_contrast(regions.project(tokens), texts, labels, TAU_TEXT, near)
        loss = loss + STAY * (1 - (texts * goals).sum(-1))[stays].mean()
        loss = loss + DRIFT * (vectors - start).square().sum(-1).mean()
        if len(seen):
            drawn = torch.randint(len(seen), (ANSWERED,), generator=random)
            logits = F.normalize(regions.project(seen[drawn]), dim=-1) @ tower.imagenet(texts).T / TAU_TEXT
            loss = loss + TOLD * told(logits, answers[answered[drawn]])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    table[bags.used] = vectors.detach().numpy()
    with torch.no_grad():
        tower.vectors.copy_(torch.from_numpy(table[tower.used.numpy()]))
        measured["after"] = recall(table, index, tower().numpy(), tower.names, held)
    out.mkdir(parents=True, exist_ok=True)
    for name in ("names.json", "vocabulary.txt"):
        shutil.copyfile(folder / name, out / name)
    with np.load(folder / "text.npz", allow_pickle=False) as kept:
        np.savez(out / "text.npz", table=table, goals=kept["goals"])
    (out / "refit.json").write_text(json.dumps(measured, indent=1), "utf-8")
    return measured


def balanced(named: Named, classes: int) -> Tensor:
    """How often each token is learned from, `(N,)`: of a name with many pictures not much more than of one with few."""
    return named.weights / torch.bincount(named.labels, minlength=classes).clamp_min(1).sqrt()[named.labels]
