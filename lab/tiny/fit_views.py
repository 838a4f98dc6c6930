"""Fit the outputs of `tiny` for a view: likeness, names, and the confidence of a name.

    for s in caltech boxes drawn photos; do
      python -m lab.tiny.view_samples $s --data ../shared/data --out runs/views
    done
    python -m lab.tiny.fit_views --data ../shared/data --samples runs/views

Likeness: principal components of the square roots of the network's features, half whitened. Names: ridge regressions
from the roots of features and logits to the vectors of names, one for photographs and one for drawings. The map of
photographs learns, by weight, first from ImageNet's 1,000 classes, synthesised from the network's last layer; then from
crops of real pictures under the name that the network gives to a clear view of them; and a little from labelled
photographs. With a higher weight these improve their own names and harm all others (measured on boxes and on Caltech,
each left out in turn). The logistic regressions of confidence are fitted on labelled photographs, with a map that saw
none of them, so that they hold for names that were not taught.

It takes a minute and gives the same numbers on the same machine. photos.tar is used only with --with-photos, the clips
never. It writes tiny-names.safetensors, and its sha256 into tiny.json.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from lab.tiny.name_space import NameSpace, name_space
from lab.tiny.view_parts import Part, distilled, imagined, names_in, read
from vidmem.encoders.tiny.naming import HINT_INPUTS, MAP_INPUTS, Naming, photo_input, roots, softmax
from vidmem.encoders.tiny.views import NAMES
from vidmem.geometry import unit
from vidmem.records import Float32

WEIGHTS = Path(__file__).parents[2] / "vidmem" / "encoders" / "weights"
HOUSEHOLD = Path(__file__).parents[2] / "benchmarks" / "household_names.txt"
UNTAUGHT = {"imagined": 1.0, "crops": 0.7, "scenes": 0.5}
"""Weights of the sources of the map of photographs: ImageNet's classes, crops of the detector's boxes and Caltech's
photos under the network's own names."""
TAUGHT = {**UNTAUGHT, "caltech": 0.3, "boxes": 0.1}
RIDGE, RIDGE_DRAWN = 1.0, 0.1
"""Strengths of the ridge, as shares of the mean variance of the inputs; for photographs and for drawings."""
DRAWN_FROM, STEEP = 0.2, 12.0
"""Midpoint of the gate between photographs (-1) and drawings (1), and its slope."""
LOGISTICS = ("hint_right", "map_near", "map_right")
ASKED = 40
"""A name of the map counts as near if it is likely to come first among this many names, drawn from all."""
SAME = 0.6
"""Names whose vectors have a higher cosine count as the same."""
PRIOR = 1.4
"""Added to the log-odds of the detector's class: two thirds of the things that people ask for in a home are COCO
classes, but only a third of the data of the fit."""


def likeness(features: Float32, dims: int) -> tuple[Float32, Float32]:
    """Return mean `(1280,)` and map `(1280, dims)` of the square roots: principal components, half whitened."""
    seen = roots(features)
    mean = seen.mean(0)
    values, vectors = np.linalg.eigh(np.cov((seen - mean).T))
    values, vectors = values[::-1][:dims], vectors[:, ::-1][:, :dims]
    return mean, (vectors / values**0.25).astype(np.float32)


def goals(part: Part, space: NameSpace) -> Float32:
    """Return the targets of the views in the space of names, `(n, D)`."""
    table = np.concatenate([space.vectors, space.imagenet @ space.vectors])
    out: Float32 = (table[part.targets.clip(0)] * part.shares[..., None]).sum(1)
    return out


def weights_of(part: Part) -> Float32:
    """Return the weights of the views, of sum 1. A name counts by the square root of its number of views; a view
    without a target counts 0."""
    first = part.targets[:, 0]
    count = np.bincount(first.clip(0))
    weight = np.where(first >= 0, 1 / np.sqrt(count[first.clip(0)]), 0)
    out: Float32 = (weight / weight.sum()).astype(np.float32)
    return out


def ridge(x: Float32, y: Float32, weight: Float32, strength: float) -> Float32:
    """`(Dx + 1, Dy)`: Return W that minimises sum weight |[x 1] W - (y - mean)|^2 + s |W|^2; s: `strength` times the
    mean variance of x. Subtracting the mean keeps names that are close to all others from winning everywhere."""
    weight = weight / weight.sum()
    x = np.concatenate([x, np.ones((len(x), 1), np.float32)], 1)
    product = (x * weight[:, None]).T @ x
    product[np.diag_indices(len(product))] += strength * np.trace(product) / len(product)
    middle = (weight[:, None] * y).sum(0)
    out: Float32 = np.linalg.solve(product, (x * weight[:, None]).T @ (y - middle)).astype(np.float32)
    return out


def map_of_photos(parts: Mapping[str, Part], shares: Mapping[str, float], mean: Float32, space: NameSpace) -> Float32:
    """`(1280 + 1000 + 1, D)`, from the parts named in `shares`."""
    used = [(parts[name], share) for name, share in shares.items()]
    x = np.concatenate([photo_input(roots(p.features) - mean, softmax(p.logits)) for p, _ in used])
    y = np.concatenate([goals(p, space) for p, _ in used])
    return ridge(x[:, :-1], y, np.concatenate([weights_of(p) * share for p, share in used]), RIDGE)


def gate_of(drawn: Float32, photographs: Float32) -> Float32:
    """Fit the logistic `(1281,)` that separates drawings from photographs, both `(n, 1280)`: least squares to -1 and 1,
    then scaled by STEEP."""
    x = np.concatenate([drawn, photographs])
    y = np.concatenate([np.ones(len(drawn)), -np.ones(len(photographs))])[:, None].astype(np.float32)
    x1 = np.concatenate([x, np.ones((len(x), 1), np.float32)], 1)
    solved = np.linalg.solve(x1.T @ x1 + 30 * np.eye(x1.shape[1], dtype=np.float32), x1.T @ y)[:, 0]
    solved[-1] -= DRAWN_FROM
    return (STEEP * solved).astype(np.float32)


def logistic(x: Float32, y: NDArray[Any], weight: Float32, strength: float = 1.0) -> Float32:
    """Logistic regression by Newton's method on chances or answers `y`, weights of mean 1."""
    x, w = x.astype(np.float64), weight / weight.mean()
    beta = np.zeros(x.shape[1])
    for _ in range(40):
        p = 1 / (1 + np.exp(-np.clip(x @ beta, -60, 60)))
        curve = (x * (w * p * (1 - p))[:, None]).T @ x + strength * np.eye(len(beta))
        beta += np.linalg.solve(curve, x.T @ (w * (y - p)) - strength * beta)
    return beta.astype(np.float32)


def confidence(naming: Naming, parts: Mapping[str, tuple[Part, float]], space: NameSpace) -> dict[str, Float32]:
    """Fit hint_right, map_near and map_right on parts with their weights. naming: has a map that saw none of them."""
    hint_inputs, hint_right, map_inputs, map_near, map_right, weights = [], [], [], [], [], []
    for part, weight in parts.values():
        answers = softmax(part.logits)
        mapped, drawn = naming.project(roots(part.features) - naming.mean, answers)
        hint_inputs.append(naming.hint_inputs(part.hints, part.facts))
        said, kinds = np.array(space.coco)[part.hints.argmax(1)], space.kinds()[part.targets[:, 0]]
        hint_right.append((said == part.targets[:, 0]) | (said == kinds))
        map_inputs.append(naming.map_inputs(mapped, answers, drawn, part.facts))
        scores, true = mapped @ naming.names.T, space.vectors[part.targets[:, 0]]
        map_near.append(first_of(ASKED, scores, mapped, true))
        map_right.append((naming.names[scores.argmax(1)] * true).sum(1) > SAME)
        weights.append(np.full(len(part), weight / len(part), np.float32))
        print(
            json.dumps(
                {
                    "hint right": float(hint_right[-1].mean()),
                    "near": float(map_near[-1].mean()),
                    "right": float(map_right[-1].mean()),
                }
            )
        )
    w = np.concatenate(weights)
    hinted = np.concatenate([part.hints.max(1) > 0 for part, _ in parts.values()])
    of_hint = logistic(np.concatenate(hint_inputs)[hinted], np.concatenate(hint_right)[hinted], w[hinted])
    of_hint[0] += PRIOR
    signs = np.concatenate(map_inputs)
    return {
        "hint_right": of_hint,
        "map_near": logistic(signs, np.concatenate(map_near), w),
        "map_right": logistic(signs, np.concatenate(map_right), w),
    }


def first_of(count: int, scores: Float32, mapped: Float32, true: Float32) -> Float32:
    """`(n,)`: the probability that the true name, with vector `true (n, D)`, scores highest among itself and `count` -
    1 names drawn from those of `scores (n, K)`."""
    above = (scores > ((mapped * true).sum(1) + 1e-6)[:, None]).mean(1)
    out: Float32 = ((1 - above) ** (count - 1)).astype(np.float32)
    return out


def fit(parts: Mapping[str, Part], space: NameSpace, dims: int, with_photos: bool) -> dict[str, Float32]:
    """Fit all tensors. parts: caltech, boxes, drawn, and photos with `with_photos`."""
    taught = {name: p.take(~p.held) for name, p in parts.items()}
    first = len(space.vectors)
    real = np.concatenate([taught[name].features for name in ("caltech", "boxes")])
    mean, visual = likeness(np.concatenate([real, taught["drawn"].features]), dims)
    photographs = {
        "imagined": imagined(real, first),
        "crops": distilled(taught["boxes"], first),
        "scenes": distilled(taught["caltech"], first),
        "caltech": taught["caltech"],
        "boxes": taught["boxes"].take(taught["boxes"].name != ""),
    }
    shares = dict(TAUGHT)
    if with_photos:
        photographs["photos"], shares["photos"] = taught["photos"], 0.3
    drawn = taught["drawn"]
    shown = [p.targets[(p.targets < first) & (p.targets >= 0)] for p in (*photographs.values(), drawn)]
    rows = np.unique(np.concatenate([np.concatenate(shown), np.flatnonzero(space.imagenet.sum(0)), space.coco]))
    tensors = {
        "mean": mean,
        "visual": visual,
        "hints": space.vectors[space.coco],
        "names": space.vectors[rows],
        "drawn": ridge(roots(drawn.features) - mean, goals(drawn, space), weights_of(drawn), RIDGE_DRAWN),
        "gate": gate_of(roots(drawn.features) - mean, roots(real[::3]) - mean),
        "hint_right": np.zeros(HINT_INPUTS, np.float32),
        "map_near": np.zeros(MAP_INPUTS, np.float32),
        "map_right": np.zeros(MAP_INPUTS, np.float32),
    }
    untaught = Naming(tensors | {"photo": map_of_photos(photographs, UNTAUGHT, mean, space)})
    held = parts["drawn"].take(parts["drawn"].held)
    shown_well = np.isin(photographs["caltech"].kind, ("box", "poor"))
    asked = {
        "caltech": (photographs["caltech"].take(shown_well), 1.0),
        "boxes": (photographs["boxes"], 0.7),
        "drawn": (held, 0.5),
    }
    tensors |= confidence(untaught, asked, space)
    return tensors | {"photo": map_of_photos(photographs, shares, mean, space)}


def rates(tokens: Float32, part: Part, names: Sequence[str], space: NameSpace) -> tuple[float, float, int]:
    """Return top-1 and top-5 accuracy among `names`, over the views that show one of them."""
    rows = [space.names.label(n) for n in names]
    place = {row: i for i, row in enumerate(rows)}
    seen = np.array([place.get(int(t), -1) for t in part.targets[:, 0]])
    scores = tokens[seen >= 0] @ space.vectors[rows].T
    seen = seen[seen >= 0]
    rank = (scores >= scores[np.arange(len(seen)), seen][:, None]).sum(1) - 1
    return round(float((rank < 1).mean()), 3), round(float((rank < 5).mean()), 3), len(seen)


def tokens_of(naming: Naming, part: Part, blind: bool = False) -> Float32:
    hints = np.zeros_like(part.hints) if blind else part.hints
    return naming.tokens(part.features, part.logits, hints, part.facts)


def report(tensors: Mapping[str, Float32], parts: Mapping[str, Part], space: NameSpace) -> None:
    """Print for held-out views: top-1 and top-5 accuracy among all names of their source, the number of views, and the
    mean length of the token where the first name is right and where it is wrong; and the likeness of a poor view to the
    clear one of the same thing."""
    naming = Naming(tensors)
    for source, part in parts.items():
        tested = part.take(part.held & (part.name != ""))
        names = household() if source == "photos" else sorted(set(part.name) - {""})
        if source == "photos":
            tested = tested.take(few_of_each(tested, names))
        for kind in sorted({k.split()[-1] for k in tested.kind}):
            rows = tested.take(np.array([k.split()[-1] == kind for k in tested.kind]))
            for blind in (False, True):
                tokens = tokens_of(naming, rows, blind)
                best = space.vectors[[space.names.label(n) for n in names]]
                said = best[(tokens @ best.T).argmax(1)]
                right = (said * space.vectors[rows.targets[:, 0]]).sum(1) > 0.99
                length = np.linalg.norm(tokens, axis=1)
                print(
                    source,
                    kind,
                    "blind" if blind else "",
                    *rates(tokens, rows, names, space),
                    "length",
                    *(round(float(length[r].mean()), 2) if r.any() else None for r in (right, ~right)),
                )
        if source != "photos":
            seen = np.asarray((roots(tested.features) - naming.mean) @ tensors["visual"], np.float32)
            print(source, "likeness", *alike(unit(seen), tested))


def alike(visual: Float32, part: Part) -> tuple[float, float, float]:
    """For poor views, return how often the nearest clear view has the same picture and name, the mean cosine to that
    view, and the mean of the largest cosine to any other."""
    poor = np.flatnonzero(part.kind == "poor")
    clear = np.flatnonzero(part.kind == "box")
    cosine = visual[poor] @ visual[clear].T
    same = (part.group[poor][:, None] == part.group[clear]) & (part.name[poor][:, None] == part.name[clear])
    kept = same.any(1) & (~same).any(1)
    own, other = (np.where(m, cosine, -1).max(1)[kept] for m in (same, ~same))
    return round(float((own > other).mean()), 3), round(float(own.mean()), 3), round(float(other.mean()), 3)


def household() -> list[str]:
    return [line for line in HOUSEHOLD.read_text("utf-8").splitlines() if line and not line.startswith("#")]


ALSO = {"mug": "cup", "sofa": "couch", "sports ball": "ball"}


def few_of_each(part: Part, names: Sequence[str], most: int = 12) -> NDArray[np.bool_]:
    """Keep at most `most` views of a household name for each kind of box, as benchmarks/naming.py does."""
    count: dict[tuple[str, str], int] = {}
    out = []
    for name, kind in zip(part.name, part.kind, strict=True):
        key = (str(name), str(kind).split()[-1])
        count[key] = count.get(key, 0) + 1
        out.append(name in names and count[key] <= most)
    return np.array(out)


def everyday(part: Part, space: NameSpace) -> Part:
    """Return the photos whose names are in the household list."""
    name = np.array([ALSO.get(str(n), str(n)) for n in part.name])
    return replace(part, name=name, targets=np.stack([space.labels(name)] * 3, 1))


def write(tensors: Mapping[str, Float32], out: Path) -> None:
    """Write tiny-names.safetensors, in 16 bits but for the logistic regressions, and its hash in tiny.json."""
    exact = ("gate", *LOGISTICS)
    kept = {k: np.ascontiguousarray(v if k in exact else v.astype(np.float16)) for k, v in tensors.items()}
    path = out / NAMES
    save_file(kept, path)
    path.chmod(0o644)
    card = out / "tiny.json"
    if card.exists():
        facts: dict[str, Any] = json.loads(card.read_text("utf-8"))
        facts["visual_dim"] = int(tensors["visual"].shape[1])
        facts["sha256"][NAMES] = hashlib.sha256(path.read_bytes()).hexdigest()
        card.write_text(json.dumps(facts, indent=1) + "\n", "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--samples", type=Path, required=True, help="folder that view_samples.py wrote to")
    parser.add_argument("--with-photos", action="store_true", help="learn from two thirds of photos.tar too")
    parser.add_argument("--no-report", action="store_true", help="do not measure the held-out views")
    parser.add_argument("--dims", type=int, default=128, help="of visual tokens")
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    args = parser.parse_args()
    sources = ["caltech", "boxes", "drawn", *(["photos"] if (args.samples / "photos.npz").exists() else [])]
    more = household() + [name for s in sources for name in names_in(args.samples / f"{s}.npz")]
    space = name_space(args.data, more)
    parts = {source: read(args.samples / f"{source}.npz", space) for source in sources}
    if "photos" in parts:
        parts["photos"] = everyday(parts["photos"], space)
    tensors = fit(parts, space, args.dims, args.with_photos)
    write(tensors, args.out)
    if not args.no_report:
        report(tensors, parts, space)


if __name__ == "__main__":
    main()
