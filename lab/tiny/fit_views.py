"""Fit what `tiny` makes of its looks at views: likeness, names, and how sure a name is.

    for s in caltech boxes drawn; do python -m lab.tiny.view_samples $s --data ../shared/data --out runs/views; done
    python -m lab.tiny.fit_views --data ../shared/data --samples runs/views

Likeness: the roots of the network's features, their principal components evened by half. Names: three linear maps into
the space of names, from the features, the network's answers and the detector's hint, weighed by what is known of the
view (vidmem/encoders/tiny/views.py); fitted together by cross-entropy over all names that any sample has. Samples:
labelled views (view_samples.py); the 1,000 classes of the network, whose means follow from its last layer (`imagined`);
unnamed views, of which the small and blurred copy learns what the network says of the clear one. Certainty: a logistic
fitted on views that the maps did not see.

It takes a few minutes and gives the same numbers on the same machine. Nothing is fitted on photos.tar unless --photos
is given, nor on the clips. It writes tiny-names.safetensors and its sha256 into the card.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file
from torch import Tensor
from torch.nn import functional as F

from lab.tiny.convert_classifier import published
from lab.tiny.name_space import NameSpace, name_space
from vidmem.encoders.tiny_views import NAMES, evidence, known, signs, softmax
from vidmem.records import Float32

WEIGHTS = Path(__file__).parents[2] / "vidmem" / "encoders" / "weights"
SHARES = {"caltech": 1.0, "boxes": 1.6, "drawn": 1.0, "imagined": 1.0, "photos": 1.0}
"""How often a sample is of each source."""
SAME = 0.7
"""Names whose vectors are nearer than this mean the same: neither speaks against the other."""
BLIND = 0.4
"""How often a view is shown without its hint."""
STEPS, BATCH, RATE = 2500, 512, 2e-3
DECAY = 0.05
COSINE = 0.3
"""Weight of the direction beside the cross-entropy."""
EACH, FAR, NOISE = 6, (4.0, 7.0), 0.6
"""Imagined views of an ImageNet class; how far they lie from the mean, and how much they scatter (see `imagined`)."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Views of one source. roots `(n, 1280)`, logits `(n, 1000)`, hints `(n, 80)`, facts `(n, 3)`, float32; targets
    `(n, 3)` int, rows of the table of targets, and their shares `(n, 3)`; kind, name `(n,)` str; held `(n,)` bool."""

    roots: Float32
    logits: Float32
    hints: Float32
    facts: Float32
    targets: NDArray[np.int64]
    shares: Float32
    kind: NDArray[Any]
    name: NDArray[Any]
    held: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.roots)

    def take(self, rows: NDArray[Any]) -> Part:
        return Part(*(getattr(self, name)[rows] for name in self.__slots__))


def roots_of(features: Float32) -> Float32:
    """Square roots: a few loud features would drown the rest."""
    out: Float32 = np.sqrt(np.maximum(features, 0))
    return out


def read(path: Path, space: NameSpace) -> tuple[Part, Float32]:
    """A part of view_samples.py, and its features; targets are the names' rows. Views without a name learn from their
    clear copy, the row before: its three likeliest ImageNet classes, or -1 where it was not sure either."""
    with np.load(path, allow_pickle=False) as kept:
        d = {name: kept[name] for name in kept.files}
    features, logits = d["features"].astype(np.float32), d["logits"].astype(np.float32)
    labels = space.labels(d["name"])
    targets = np.stack([labels, labels, labels], 1)
    shares = np.tile(np.array([1, 0, 0], np.float32), (len(labels), 1))
    clear = softmax(logits)
    clear[d["kind"] == "poor"] = np.roll(clear, 1, 0)[d["kind"] == "poor"]
    nameless = labels < 0
    top = np.argsort(-clear, 1)[:, :3]
    likely = np.take_along_axis(clear, top, 1)
    sure = likely[:, 0] > 0.5
    targets[nameless & sure] = top[nameless & sure] + len(space.vectors)
    shares[nameless] = (likely / likely.sum(1, keepdims=True))[nameless]
    return Part(roots_of(features), logits, d["hint"].astype(np.float32), d["facts"].astype(np.float32), targets, shares,
                d["kind"], d["name"], d["held"]), features  # fmt: skip


def imagined(features: Float32, space: NameSpace, each: int = EACH, seed: int = 0) -> Part:
    """Views of ImageNet's classes from the last layer alone: were features normal about the mean of their class with
    one covariance S, its weights W would be S^-1 (means - mean), so the means lie towards S W (linear discriminant
    analysis); how far is set so that the network is as sure of them as of real photographs."""
    state = published()
    weight, bias = state["_fc.weight"], state["_fc.bias"]
    mean, spread = features.mean(0), np.cov(features.T).astype(np.float32)
    spread = 0.9 * spread + 0.1 * np.diag(np.diag(spread))
    rng = np.random.default_rng(seed)
    way = np.repeat((weight - weight.mean(0)) @ spread, each, 0) * rng.uniform(*FAR, (1000 * each, 1))
    noise = NOISE * rng.standard_normal((1000 * each, len(mean)), np.float32) @ np.linalg.cholesky(spread).T
    made = np.maximum(mean + way + noise, 0).astype(np.float32)
    logits = made @ weight.T + bias
    n, classes = len(made), np.repeat(np.arange(1000), each)
    facts = np.stack([rng.uniform(-0.5, 0, n), rng.uniform(0, 0.6, n), rng.uniform(0.1, 0.25, n)], 1)
    targets = np.stack([classes + len(space.vectors)] * 3, 1)
    shares = np.tile(np.array([1, 0, 0], np.float32), (n, 1))
    right = softmax(logits)[np.arange(n), classes]
    print(json.dumps({"imagined": n, "top1": float((logits.argmax(1) == classes).mean()), "p": float(right.mean())}))
    return Part(roots_of(made), logits, np.zeros((n, 80), np.float32), facts.astype(np.float32), targets, shares,
                np.full(n, "imagined"), np.full(n, ""), np.zeros(n, np.bool_))  # fmt: skip


class Maps(torch.nn.Module):
    """What TinyViews does with its tensors, for many views, with gradients."""

    def __init__(self, space: NameSpace) -> None:
        super().__init__()
        vectors = torch.from_numpy(space.vectors)
        dim = vectors.shape[1]
        self.features = torch.nn.Parameter(torch.zeros(1281, dim))
        self.answers = torch.nn.Parameter(torch.from_numpy(space.imagenet) @ vectors)
        self.hints = torch.nn.Parameter(vectors[space.coco].clone())
        gates = torch.zeros(3, 5)
        gates[1, 0], gates[2, 0] = 1.5, 0.7
        self.gates = torch.nn.Parameter(gates)
        self.register_buffer("first_answers", self.answers.detach().clone())
        self.register_buffer("first_hints", self.hints.detach().clone())

    def forward(self, roots: Tensor, answers: Tensor, said: Tensor, facts: Tensor) -> Tensor:
        gates = torch.exp(facts @ self.gates.T)
        parts = (roots @ self.features[:-1] + self.features[-1], answers @ self.answers, said @ self.hints)
        return sum(gates[:, k, None] * part for k, part in enumerate(parts))  # type: ignore[return-value]

    def strayed(self) -> Tensor:
        """How far what was known before has moved."""
        return (self.answers - self.first_answers).square().sum() + (self.hints - self.first_hints).square().sum()


def weights_of(part: Part) -> NDArray[np.float64]:
    """How often each view is drawn: names that have many less often for each; none without a target."""
    first = part.targets[:, 0]
    count = np.bincount(first.clip(0), minlength=1)
    weight = np.where(first >= 0, 1 / np.sqrt(count[first.clip(0)]), 0)
    return weight / weight.sum()


def fit(parts: Mapping[str, Part], space: NameSpace, mean: Float32, steps: int, seed: int = 0) -> tuple[Maps, list[int]]:
    """The maps, and the rows of the names that they were shown."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    count = len(space.vectors)
    table = np.concatenate([np.eye(count, dtype=np.float32), space.imagenet])
    used = np.unique(np.concatenate([p.targets[p.targets >= 0] for p in parts.values()]))
    shown = np.flatnonzero(table[used].sum(0) > 0)
    near = (space.vectors[shown] @ space.vectors[shown].T) > SAME
    table = table[:, shown]
    silent = torch.from_numpy(((table @ near) > 0) & (table == 0))
    goals, wanted = torch.from_numpy(space.vectors[shown]), torch.from_numpy(table)
    maps = Maps(space)
    slow = [maps.features]
    optimizer = torch.optim.AdamW([{"params": slow, "weight_decay": DECAY},
                                   {"params": [maps.answers, maps.hints, maps.gates], "weight_decay": 0.0}], lr=RATE)  # fmt: skip
    chances = {name: weights_of(p) for name, p in parts.items()}
    share = np.array([SHARES[name] for name in parts])
    numbers = np.round(BATCH * share / share.sum()).astype(int)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1, step / 100) * (0.5 + 0.5 * np.cos(np.pi * step / steps))
        picked = [p.take(rng.choice(len(p), n, p=chances[name])) for (name, p), n in zip(parts.items(), numbers, strict=True)]
        x = [np.concatenate([getattr(p, name) for p in picked]) for name in ("roots", "logits", "hints", "facts")]
        targets = torch.from_numpy(np.concatenate([p.targets for p in picked]))
        shares = torch.from_numpy(np.concatenate([p.shares for p in picked]))
        x[2] = x[2] * (rng.random((len(x[2]), 1)) > BLIND)
        said = maps(*inputs(*x, mean))
        target = wanted[targets[:, 0].clamp(min=0)] * shares[:, :1]
        several = torch.nonzero(shares[:, 1] > 0)[:, 0]
        for k in (1, 2):
            target[several] += wanted[targets[several, k]] * shares[several, k, None]
        logits = (said @ goals.T).masked_fill(silent[targets[:, 0].clamp(min=0)] & (target == 0), -torch.inf)
        chance = logits.log_softmax(-1).masked_fill(target == 0, 0)
        cosine = F.cosine_similarity(said, target @ goals)
        loss = -(target * chance).sum(-1).mean() + COSINE * (1 - cosine).mean() + 1e-4 * maps.strayed()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if step % 500 == 499:
            print(json.dumps({"step": step + 1, "loss": round(float(loss.detach()), 3), "gates": maps.gates.detach().numpy().round(2).tolist()}))
    return maps, shown.tolist()


def inputs(roots: Float32, logits: Float32, hints: Float32, facts: Float32, mean: Float32) -> list[Tensor]:
    """What the maps take, from what a part holds."""
    hints = hints.astype(np.float32)
    return [torch.from_numpy(v) for v in (roots - mean, softmax(logits), evidence(hints), known(facts, hints))]


def say(maps: Maps, part: Part, mean: Float32, blind: bool = False) -> Float32:
    """`(n, Dt)`, not of unit length."""
    hints = np.zeros_like(part.hints) if blind else part.hints
    with torch.inference_mode():
        out: Float32 = maps(*inputs(part.roots, part.logits, hints, part.facts, mean)).numpy()
    return out


def rates(said: Float32, part: Part, names: Sequence[str], space: NameSpace) -> tuple[float, float, int]:
    """Top 1 and top 5 among `names`, of those views that show one of them."""
    rows = [space.names.label(n) for n in names]
    place = {row: i for i, row in enumerate(rows)}
    seen = np.array([place.get(int(t), -1) for t in part.targets[:, 0]])
    scores = said[seen >= 0] @ space.vectors[rows].T
    seen = seen[seen >= 0]
    rank = (scores >= scores[np.arange(len(seen)), seen][:, None]).sum(1) - 1
    return round(float((rank < 1).mean()), 4), round(float((rank < 5).mean()), 4), len(seen)


def likeness(features: Float32, dims: int) -> tuple[Float32, Float32]:
    """mean `(1280,)` and map `(1280, dims)` of roots: principal components, their spread evened by half."""
    roots = roots_of(features)
    mean = roots.mean(0)
    values, vectors = np.linalg.eigh(np.cov((roots - mean).T))
    values, vectors = values[::-1][:dims], vectors[:, ::-1][:, :dims]
    return mean, (vectors / values**0.25).astype(np.float32)


def right(scores: Float32, part: Part, space: NameSpace, shown: Sequence[int]) -> NDArray[np.bool_]:
    """Whether the first of the names shown is a view's name, or means the same."""
    first = space.vectors[list(shown)][scores.argmax(1)]
    out: NDArray[np.bool_] = (first * space.vectors[part.targets[:, 0]]).sum(1) > SAME
    return out


def certainty(maps: Maps, parts: Mapping[str, Part], space: NameSpace, shown: Sequence[int], mean: Float32) -> Float32:
    """The logistic `(SURE,)` on `signs`, by Newton's method; each part counts the same, with and without hints."""
    columns, answers, weights = [], [], []
    for part in parts.values():
        for blind in (False, True):
            scores = say(maps, part, mean, blind) @ space.vectors[list(shown)].T
            hints = part.hints * (not blind)
            columns.append(signs(scores, softmax(part.logits), hints, part.facts))
            answers.append(right(scores, part, space, shown))
            weights.append(np.full(len(part), 1 / len(part)))
    x, y, w = np.concatenate(columns).astype(np.float64), np.concatenate(answers), np.concatenate(weights)
    w = w / w.mean()
    beta = np.zeros(x.shape[1])
    for _ in range(30):
        p = 1 / (1 + np.exp(-(x @ beta)))
        slope = x.T @ (w * (y - p)) - beta
        curve = (x * (w * p * (1 - p))[:, None]).T @ x + np.eye(len(beta))
        beta += np.linalg.solve(curve, slope)
    return beta.astype(np.float32)


def report(maps: Maps, tests: Mapping[str, Part], space: NameSpace, mean: Float32, household: Sequence[str]) -> dict[str, Any]:
    """Top 1 and top 5 of each part and kind of view, with and without hints."""
    out: dict[str, Any] = {}
    for source, part in tests.items():
        names = household if source == "photos" else sorted(set(part.name) - {""})
        for blind in (False, True):
            said = say(maps, part, mean, blind)
            kinds = np.array([k.split()[-1] for k in part.kind])
            for kind in sorted(set(kinds)):
                key = f"{source} {kind}" + (" blind" if blind else "")
                out[key] = rates(said[kinds == kind], part.take(kinds == kind), names, space)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--samples", type=Path, required=True, help="folder of what view_samples.py wrote")
    parser.add_argument("--photos", action="store_true", help="fit on photos.tar too")
    parser.add_argument("--measure", action="store_true", help="report on photos.tar's held-out third")
    parser.add_argument("--dims", type=int, default=128, help="of visual tokens")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    household = [line for line in (Path("benchmarks/household_names.txt")).read_text("utf-8").splitlines()
                 if line and not line.startswith("#")]  # fmt: skip
    sources = ["caltech", "boxes", "drawn"]
    sources += ["photos"] * (args.photos or args.measure)
    more = household + [name for source in sources for name in named(args.samples / f"{source}.npz")]
    space = name_space(args.data, more)
    parts, features = {}, {}
    for source in sources:
        parts[source], features[source] = read(args.samples / f"{source}.npz", space)
    taught = {name: p.take(~p.held) for name, p in parts.items() if name != "photos" or args.photos}
    tests = {name: p.take(p.held & (p.name != "")) for name, p in parts.items()}
    some = np.concatenate([features[s][~parts[s].held] for s in ("caltech", "boxes")])
    taught["imagined"] = imagined(some, space)
    every = np.concatenate([some, features["drawn"]])
    mean, visual = likeness(every, args.dims)
    maps, shown = fit(taught, space, mean, args.steps)
    sure = certainty(maps, {s: p for s, p in tests.items() if s != "photos"}, space, shown, mean)
    for key, value in report(maps, tests, space, mean, household).items():
        print(key, *value)
    print(json.dumps({"sure": sure.round(2).tolist(), "names": len(shown)}))
    write(maps, mean, visual, space.vectors[shown], sure, args.out)


def named(path: Path) -> list[str]:
    with np.load(path, allow_pickle=False) as kept:
        return sorted({str(n) for n in kept["name"]} - {""})


def write(maps: Maps, mean: Float32, visual: Float32, names: Float32, sure: Float32, out: Path) -> None:
    """The tensors, and their hash in the card."""
    learned = {name: value.detach().numpy() for name, value in maps.named_parameters()}
    tensors = {"mean": mean, "visual": visual, "names": names, **{k: learned[k] for k in ("features", "answers", "hints")}}
    half = {name: np.ascontiguousarray(value.astype(np.float16)) for name, value in tensors.items()}
    path = out / NAMES
    save_file(half | {"gates": np.ascontiguousarray(learned["gates"]), "sure": sure}, path)
    path.chmod(0o644)
    card = out / "tiny.json"
    if card.exists():
        facts = json.loads(card.read_text("utf-8"))
        facts["sha256"][NAMES] = hashlib.sha256(path.read_bytes()).hexdigest()
        card.write_text(json.dumps(facts, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
