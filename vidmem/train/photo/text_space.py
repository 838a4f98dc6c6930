"""The text table of `tiny`: word pieces placed so that their means lie where CLIP's text tower put the names.

    python -m vidmem.train.photo.text_space --encoder MINILM --data ../shared/data --out runs/text

1. CLIP ViT-B/32 vectors of 2,151 names, centred and reduced to 128 dimensions, are the space.
2. A ridge map takes a sentence encoder's vectors (all-MiniLM-L6-v2) there; it is fitted on the names and places every
   word piece, and names that CLIP's list has not.
3. The pieces of known phrases (names, synonyms, plurals, with attributes before them) are fitted so that the mean of a
   phrase's pieces is its name. What says little ("red", "old") becomes short this way, and so counts little.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ...encoders.text_table import phrase_pieces
from ...encoders.tiny_net import TEXT_DIM
from .names import Names, all_names

_ATTRIBUTES = """
red blue green yellow black white brown grey gray pink purple silver golden beige turquoise colourful colorful
dark bright light big large small little tiny huge tall short long thin thick wide round square old new used
broken empty full open closed clean dirty shiny wooden plastic metal ceramic leather striped favorite
favourite lovely nice cheap expensive fresh other second spare same lost missing only real cute soft hard
heavy mine yours first
"""
ATTRIBUTES = _ATTRIBUTES.split()
"""Words before a name that leave it the same thing; "orange" and "glass" are things too."""
OWN = 0.25
"""How much an attribute moves a name, against 1 for the name."""
RIDGE = 3.0
HELD_OUT = 10
"""One in so many synonyms is kept back to measure with."""


class SentenceEncoder:
    """A BERT sentence encoder from a folder, mean pooled, unit vectors."""

    def __init__(self, folder: Path) -> None:
        from ...encoders.torchvision_compat import ready

        ready()
        from tokenizers import Tokenizer
        from transformers import BertModel

        self.reader = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.reader.enable_truncation(32)
        self.reader.enable_padding()
        self.model: Any = BertModel.from_pretrained(folder, add_pooling_layer=False)
        self.model.eval()  # type: ignore[no-untyped-call]

    @torch.inference_mode()
    def encode(self, phrases: Sequence[str], batch: int = 512) -> np.ndarray:
        """`(n, 384)` float32 unit rows."""
        out = []
        for start in range(0, len(phrases), batch):
            read = self.reader.encode_batch(list(phrases[start : start + batch]))
            ids = torch.tensor([r.ids for r in read])
            kept = torch.tensor([r.attention_mask for r in read])
            hidden = self.model(input_ids=ids, attention_mask=kept).last_hidden_state
            mean = (hidden * kept[..., None]).sum(1) / kept.sum(1, keepdim=True)
            out.append(F.normalize(mean, dim=-1).numpy())
        return np.concatenate(out)

    def vocabulary(self) -> list[str]:
        """Word pieces in the order of their ids."""
        pieces = self.reader.get_vocab()
        return sorted(pieces, key=pieces.__getitem__)


def plural(phrase: str) -> str:
    """English plural, good enough to teach."""
    if phrase.endswith("y") and phrase[-2:-1] not in "aeiou":
        return phrase[:-1] + "ies"
    return phrase + ("es" if phrase.endswith(("s", "x", "ch", "sh")) else "s")


def ridge(x: np.ndarray, y: np.ndarray, weight: float = RIDGE) -> np.ndarray:
    """W `(Dx + 1, Dy)` that minimises |[x 1] W - y|^2 + weight |W|^2."""
    x = np.concatenate([x, np.ones((len(x), 1), x.dtype)], 1)
    solved: np.ndarray = np.linalg.solve(x.T @ x + weight * np.eye(x.shape[1]), x.T @ y)
    return solved


def apply(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    out: np.ndarray = x @ w[:-1] + w[-1]
    return out


def unit(x: np.ndarray) -> np.ndarray:
    out: np.ndarray = (x / np.linalg.norm(x, axis=-1, keepdims=True).clip(1e-9)).astype(np.float32)
    return out


def clip_space(vectors: np.ndarray, dim: int = TEXT_DIM) -> np.ndarray:
    """`(n, 512)` to `(n, dim)` unit rows: centred, principal components with their spread evened by half."""
    centred = unit(vectors) - unit(vectors).mean(0)
    _, s, vt = np.linalg.svd(centred, full_matrices=False)
    return unit(centred @ vt[:dim].T / np.sqrt(s[:dim]))


class Bags:
    """Phrases as bags of word pieces, numbered within the pieces that occur."""

    def __init__(self, phrases: Sequence[str], index: dict[str, int]) -> None:
        rows = [phrase_pieces(p, index) for p in phrases]
        self.used = np.array(sorted({r for bag in rows for r in bag}))
        place = {int(r): i for i, r in enumerate(self.used)}
        self.rows = [[place[r] for r in bag] for bag in rows]

    def means(self, vectors: Tensor, picked: Sequence[int]) -> Tensor:
        """Unit mean vectors of the phrases `picked`."""
        flat = [r for i in picked for r in self.rows[i]]
        starts = np.cumsum([0, *(len(self.rows[i]) for i in picked)])[:-1]
        bags = F.embedding_bag(torch.tensor(flat), vectors, torch.from_numpy(starts), mode="mean")
        return F.normalize(bags, dim=-1)


def fit(table: np.ndarray, index: dict[str, int], phrases: list[str], targets: np.ndarray, owners: np.ndarray,
        goals: np.ndarray, steps: int = 3000, seed: int = 0) -> np.ndarray:  # fmt: skip
    """Move the rows of `table (V, D)` that occur in `phrases` so that the mean of each is near `targets (n, D)` and
    nearest to its class `owners (n,)` among `goals (C, D)`."""
    bags = Bags(phrases, index)
    start = torch.from_numpy(table[bags.used])
    vectors = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([vectors], lr=0.01)
    rng = np.random.default_rng(seed)
    goal, aim, owner = torch.from_numpy(goals), torch.from_numpy(targets), torch.from_numpy(owners)
    near = goal @ goal.T > 0.7  # names that mean the same are no negatives
    near.fill_diagonal_(False)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 0.01 * (1 - step / steps) + 1e-5
        picked = rng.integers(0, len(phrases), 1024)
        means = bags.means(vectors, picked.tolist())
        own = owner[picked]
        logits = (means @ goal.T / 0.05).masked_fill(near[own], -torch.inf)
        loss = (1 - (means * aim[picked]).sum(-1)).mean() + 0.1 * F.cross_entropy(logits, own)
        loss = loss + 0.02 * (vectors - start).square().sum(-1).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    out = table.copy()
    out[bags.used] = vectors.detach().numpy()
    return out


def build(encoder: Path, clip: Path, labels: Path, photos: list[str], out: Path) -> dict[str, Any]:
    """Write `text.npz` (table `(V, D)`, goals `(C, D)`), `vocabulary.txt`, `names.json`; returns what was measured."""
    names, of_imagenet = all_names(clip, labels, photos)
    bert = SentenceEncoder(encoder)
    vocabulary = bert.vocabulary()
    vocabulary = [p for p in vocabulary if p.isascii() and not p.startswith("[")]
    index = {piece: i for i, piece in enumerate(vocabulary)}
    said = bert.encode([c.name for c in names.classes])
    pieces = bert.encode([p.removeprefix("##") for p in vocabulary])
    with_clip = np.array([i for i, c in enumerate(names.classes) if c.clip is not None])
    goals = np.zeros((len(names), TEXT_DIM), np.float32)
    goals[with_clip] = clip_space(np.stack([c.clip for c in names.classes if c.clip is not None]))
    to_clip = ridge(said[with_clip], goals[with_clip])
    without = np.array([i for i, c in enumerate(names.classes) if c.clip is None])
    goals[without] = unit(apply(said[without], to_clip))
    table = unit(apply(pieces, to_clip))
    table *= 0.6 + 0.4 * np.clip(np.arange(len(table)) / 12000, 0, 1)[:, None].astype(np.float32)  # rare words say more
    phrases, targets, owners, held = training_phrases(names, goals, table, index)
    measured = {"before": recall(table, index, goals, names, held)}
    table = fit(table, index, phrases, targets, owners, goals)
    measured["after"] = recall(table, index, goals, names, held)
    out.mkdir(parents=True, exist_ok=True)
    np.savez(out / "text.npz", table=table, goals=goals)
    (out / "vocabulary.txt").write_text("\n".join(vocabulary) + "\n", "utf-8")
    listed = [{"phrases": c.phrases, "clip": c.clip is not None, "taught": c.taught} for c in names.classes]
    facts = {"classes": listed, "imagenet": of_imagenet, "measured": measured}
    (out / "names.json").write_text(json.dumps(facts, indent=0), "utf-8")
    return measured


def training_phrases(
    names: Names, goals: np.ndarray, table: np.ndarray, index: dict[str, int], held_out: int = HELD_OUT,
    claimed: Mapping[str, int] | None = None,
) -> tuple[list[str], np.ndarray, np.ndarray, list[tuple[str, int]]]:  # fmt: skip
    """Phrases, where they should be, their classes; and one in `held_out` synonyms (0: none), kept back, with their
    classes. claimed: phrases that are said of one class alone, though others have them too."""
    rng = np.random.default_rng(1)
    phrases: list[str] = []
    targets, owners, held = [], [], []
    for c, known in enumerate(names.classes):
        kept = [known.name]
        for n, synonym in enumerate(known.phrases[1:]):
            if held_out and (c + n) % held_out == 0 and known.clip is not None:
                held.append((synonym, c))
            else:
                kept.append(synonym)
        kept = [p for p in kept if not claimed or claimed.get(p, c) == c]
        if not kept:
            continue
        kept += [plural(p) for p in kept]
        several = [str(a) for a in rng.choice(ATTRIBUTES, 4, replace=False)]
        for phrase in kept:
            if phrase_pieces(phrase, index):
                phrases.append(phrase)
                targets.append(goals[c])
                owners.append(c)
        for attribute in several:
            own = table[phrase_pieces(attribute, index)].mean(0)
            phrases.append(f"{attribute} {kept[int(rng.integers(min(2, len(kept))))]}")
            targets.append(unit(goals[c] + OWN * unit(own)))
            owners.append(c)
    return phrases, np.stack(targets).astype(np.float32), np.array(owners), held


def recall(table: np.ndarray, index: dict[str, int], goals: np.ndarray, names: Names,
           held: list[tuple[str, int]]) -> dict[str, float]:  # fmt: skip
    """How often a phrase's nearest of all classes is its own (top 1, top 5): names, "my red <name>s", held synonyms."""
    def score(phrases: list[str], owners: list[int]) -> dict[str, float]:
        means = []
        for p in phrases:
            rows = phrase_pieces(p, index)
            means.append(table[rows].mean(0) if rows else np.zeros(table.shape[1], np.float32))
        ranks = (unit(np.stack(means)) @ goals.T).argsort(1)[:, ::-1][:, :5]
        hits = ranks == np.array(owners)[:, None]
        return {"top1": float(hits[:, 0].mean()), "top5": float(hits.any(1).mean())}

    every = list(range(len(names)))
    groups = {
        "name": ([c.name for c in names.classes], every),
        "attribute": ([f"my red {plural(c.name)}" for c in names.classes], every),
    }
    if held:
        groups["unseen_synonym"] = ([p for p, _ in held], [c for _, c in held])
    return {f"{g}_{k}": round(v, 3) for g, (p, o) in groups.items() for k, v in score(p, o).items()} | {
        "unseen_synonyms": len(held)
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", type=Path, required=True, help="folder of all-MiniLM-L6-v2 and its tokenizer")
    parser.add_argument("--data", type=Path, required=True, help="folder with clip_text/ and imagenet_labels.txt")
    parser.add_argument("--names", type=Path, help="further names, a line each (those in the photos)")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    photos = args.names.read_text("utf-8").splitlines() if args.names else []
    measured = build(args.encoder, args.data / "clip_text", args.data / "imagenet_labels.txt", photos, args.out)
    print(json.dumps(measured, indent=1))


if __name__ == "__main__":
    main()
