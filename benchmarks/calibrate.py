"""When an answer of `tiny` counts as found: `python -m benchmarks.calibrate --out FILE.json [--write]`.

Indexes calibration worlds (seeds 5000..; never the held-out 9000..), then tries thresholds on the stored memories:
every question is scored against all tracks once, and each setting only cuts those scores. Chosen is the setting with
the highest rate of right answers (mean over name, synonym, picture, name x picture) among those that "find" at most
--false-found of what is absent: absent words, absent pictures, an absent picture with its name, and phrases of things
that `tiny` was never taught (household.txt). The choice is the middle of a plateau: rates are averaged with those of
the neighbouring settings first. At the end the chosen one is run through vidmem.query.where, and must agree.

--write puts it into vidmem/encoders/weights/tiny.json.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import OUT, machine, mean, memory_place, model, parse_range, say, table, tiou, write_json
from benchmarks.lostfound import LEAST_TIOU, index_world, true_box_iou
from benchmarks.worlds import ensure_all, vendor
from vidmem import Memory
from vidmem.encoders.base import Calibration
from vidmem.encoders.text_table import words
from vidmem.errors import UsageError
from vidmem.query.search import Hits, find, share
from vidmem.query.sightings import GAP_NS
from vidmem.query.where import where
from vidmem.records import Float32
from vidmem.store import VectorCache
from vidmem.world.drawings import things
from vidmem.world.furniture import WORDS as FURNITURE_WORDS
from vidmem.world.lostfound import World

TEMPERATURES = (0.06,)
"""That of the text loss in training."""
TEXT = np.round(np.arange(0.20, 0.86, 0.025), 4)
SHARE = np.round(np.concatenate([[0.0, 0.01, 0.02, 0.035], np.arange(0.05, 0.96, 0.05)]), 4)
VISUAL = np.round(np.arange(0.20, 0.98, 0.01), 4)
PRODUCT = np.round(np.arange(0.04, 0.80, 0.02), 4)
PRESENT = ("name", "synonym", "picture", "name_picture")
GROUPS = {"text": ("name", "synonym"), "visual": ("picture",), "product": ("name_picture",)}
CONSTRAINTS = {"text": ("absent_word", "unknown_word"), "visual": ("absent_picture",),
               "product": ("absent_name_picture",)}  # fmt: skip
VISUAL_RELATIVE = 0.9
"""Share of the best score that a hit of a picture must reach; fixed: on drawings it makes no difference."""
LOOSER = {"visual": 1.2, "product": 2}
"""Who brings a picture of a thing has mostly seen it: false finds weigh less there. Words, the most of what is asked,
stay well below, so that all that is absent together keeps the limit."""
FLOOR = {"text": float(TEXT[0]), "visual": float(VISUAL[0]), "product": float(PRODUCT[0])}
RIGHT_BOX = 0.3


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """One question to one world, with its vectors, and every track above the floor of the search, by start time.

    span: the true last span, None for what is absent. score: cosine or product. shares: (temperature, track), None
    without text.
    """

    world: int
    kind: str
    asked: str
    mode: str
    span: tuple[int, int] | None
    text: Float32 | None
    visual: Float32 | None
    contrast: Float32 | None
    score: Float32
    shares: Float32 | None
    start: NDArray[np.int64]
    end: NDArray[np.int64]


def newest_span(start: NDArray[np.int64], end: NDArray[np.int64]) -> tuple[int, int]:
    """The newest sighting of tracks of one source, sorted by start: what `sightings.group` puts first."""
    furthest = np.maximum.accumulate(end)
    cuts = np.flatnonzero(start[1:] > furthest[:-1] + GAP_NS)
    first = int(cuts[-1]) + 1 if len(cuts) else 0
    return int(start[first]), int(end[first:].max())


def household() -> list[str]:
    """The phrases of household.txt that are neither a name nor a synonym of anything."""
    known = {phrase.lower() for thing in things() for phrase in (thing.name, *thing.synonyms)}
    lines = Path(__file__).with_name("household.txt").read_text("utf-8").splitlines()
    phrases = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    return [phrase for phrase in phrases if phrase.lower() not in known]


def absent_phrases(world: World, phrases: Sequence[str]) -> list[str]:
    """Those that share no word with anything in the world, its furniture included: "violin bow" is no fair question
    where a violin lies."""
    there = set(world.truth.names()) | {shown.name for shown in world.truth.shown}
    said = {w for thing in things() if thing.name in there for p in (thing.name, *thing.synonyms) for w in words(p)}
    said |= set(FURNITURE_WORDS)
    return [phrase for phrase in phrases if not set(words(phrase)) & said]


def prepare(
    memory: Memory, number: int, kind: str, asked: str, span: tuple[int, int] | None, text: Float32 | None,
    visual: Float32 | None,
) -> Question:  # fmt: skip
    """Score one question against all tracks: `search.find` with the lowest thresholds of the search."""
    mode = "product" if text is not None and visual is not None else "text" if text is not None else "visual"
    contrast = None if text is None else memory.text_encoder.contrast(text)
    cache = memory.cache()
    low = Calibration(FLOOR["text"], 0, FLOOR["visual"], FLOOR["product"])
    hits = find(cache, low, text, visual)
    start = cache.columns.start_ns[hits.rows]
    hits = hits.take(np.argsort(start, kind="stable"))
    shares = None
    if contrast is not None:
        shares = np.stack([share(cache, hits, contrast, t) for t in TEMPERATURES])
    rows = hits.rows
    return Question(number, kind, asked, mode, span, text, visual, contrast, hits.score, shares,
                    cache.columns.start_ns[rows], cache.columns.end_ns[rows])  # fmt: skip


def questions(memory: Memory, world: World, number: int, unknown: Sequence[str]) -> list[Question]:
    """All questions of a world; every absent picture once more with its name; all phrases that nobody was taught."""
    from vidmem.query.picture import load_picture, picture_token

    out = []
    for query in world.queries:
        text = None if query.text is None else memory.text_encoder.encode_text([query.text])[0]
        visual = None
        if query.picture is not None:
            visual = picture_token(memory.encoder, load_picture(world.folder / query.picture))
        span = None if query.start_ns is None or query.end_ns is None else (query.start_ns, query.end_ns)
        kind = query.kind if span else "absent_word" if visual is None else "absent_picture"
        out.append(prepare(memory, number, kind, query.name, span, text, visual))
        if span is None and visual is not None:
            name = memory.text_encoder.encode_text([query.name])[0]
            out.append(prepare(memory, number, "absent_name_picture", query.name, None, name, visual))
    for phrase in absent_phrases(world, unknown):
        try:
            text = memory.text_encoder.encode_text([phrase])[0]
        except UsageError:
            continue  # refused at once: nothing can be falsely found
        out.append(prepare(memory, number, "unknown_word", phrase, None, text, None))
    return out


def examples(cache: VectorCache, boxes: NDArray[np.float64], best_ns: NDArray[np.int64], world: World,
             question: Question) -> dict[str, float | None]:  # fmt: skip
    """The scores of the best right track and of the best wrong one. Right: it was in the thing's box."""
    if question.mode == "text":
        assert question.text is not None
        score = cache.reconstruct("text", np.arange(len(cache))) @ question.text
    else:
        assert question.visual is not None
        score = cache.reconstruct("visual", np.arange(len(cache))) @ question.visual
        if question.text is not None:
            score = score * (cache.reconstruct("text", np.arange(len(cache))) @ question.text)
    order = np.argsort(-score)
    right: int | None = None
    wrong: int | None = None
    for row in map(int, order[:400]):
        fits = (
            question.span is not None
            and (true_box_iou(world.truth, question.asked, int(best_ns[row]), tuple(boxes[row])) or 0.0) >= RIGHT_BOX
        )
        if fits and right is None:
            right = row
        if not fits and wrong is None:
            wrong = row
        if wrong is not None and (right is not None or question.span is None):
            break
    out: dict[str, float | None] = {}
    for name, best in (("right", right), ("wrong", wrong)):
        out[name] = None if best is None else float(score[best])
        if question.text is not None:
            out[name + "_share"] = None
            if best is not None and question.contrast is not None:
                at = np.array([best], np.int64)
                read = cache.scores("text", question.text, at)
                hits = Hits(at, read, read)
                out[name + "_share"] = float(share(cache, hits, question.contrast, 0.06)[0])
    return out


def outcomes(
    question: Question, settings: Sequence[tuple[float, ...]], temperature: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """For every setting (threshold, share): is anything found, and is the newest sighting right."""
    found, right = np.zeros(len(settings), bool), np.zeros(len(settings), bool)
    seen: dict[bytes, tuple[bool, bool]] = {}
    for i, (threshold, *least) in enumerate(settings):
        keep = question.score >= np.float32(threshold)
        if least and least[0] > 0 and question.shares is not None:
            keep &= question.shares[temperature] >= least[0]
        if question.mode == "visual" and keep.any():
            keep &= question.score >= np.float32(VISUAL_RELATIVE) * question.score[keep].max()
        key = keep.tobytes()
        if key not in seen:
            ok = False
            if (hit := bool(keep.any())) and question.span is not None:
                ok = tiou(newest_span(question.start[keep], question.end[keep]), question.span) >= LEAST_TIOU
            seen[key] = (hit, ok)
        found[i], right[i] = seen[key]
    return found, right


def smooth(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each value averaged with its neighbours along every axis; the edges count twice."""
    for axis in range(values.ndim):
        padded = np.pad(values, [(1, 1) if a == axis else (0, 0) for a in range(values.ndim)], mode="edge")
        n = values.shape[axis]
        values = sum(padded.take(range(k, k + n), axis) for k in range(3)) / 3  # type: ignore[assignment]
    return values


def pick(rates: NDArray[np.float64], false: Sequence[NDArray[np.float64]], most: float) -> tuple[int, ...]:
    """The index of the best smoothed rate where every (smoothed and plain) rate of false finds is within bounds; where
    none is, the one that comes nearest to them. Among equals, the one nearest to their middle."""
    excess = np.zeros_like(rates)
    for one in false:
        excess += np.maximum(0, np.maximum(one, smooth(one)) - most)
    value = np.where(excess <= 1e-12, smooth(smooth(rates)), -1 - excess)
    ties = np.argwhere(value >= value.max() - 1e-9)
    middle = ties[np.argmin(((ties - ties.mean(0)) ** 2).sum(1))]
    return tuple(int(i) for i in middle)


def grids(mode: str) -> tuple[list[tuple[float, ...]], tuple[int, ...]]:
    """All settings of one kind of question but the temperature, and the shape of their grid."""
    if mode == "visual":
        return [(float(v),) for v in VISUAL], (len(VISUAL),)
    axis = TEXT if mode == "text" else PRODUCT
    return [(float(a), float(s)) for a, s in itertools.product(axis, SHARE)], (len(axis), len(SHARE))


def settings_of(calibration: Calibration) -> dict[str, tuple[float, ...]]:
    """The setting of each kind of question, as `grids` writes it."""
    return {
        "text": (calibration.text_threshold, calibration.contrast_probability),
        "visual": (calibration.visual_threshold,),
        "product": (calibration.product_threshold, calibration.contrast_probability_product),
    }


Tables = dict[tuple[str, int], list[tuple[Question, NDArray[np.bool_], NDArray[np.bool_]]]]


def tabulate(asked: Sequence[Question]) -> Tables:
    """(mode, temperature) -> for each question its outcomes under all settings."""
    out: Tables = {}
    for mode in GROUPS:
        settings, _ = grids(mode)
        mine = [q for q in asked if q.mode == mode]
        for v in range(len(TEMPERATURES)):
            out[mode, v] = [(q, *outcomes(q, settings, v)) for q in mine]
        say(f"tried {len(settings)} settings of {mode} on {len(mine)} questions")
    return out


def choose(tables: Tables, most: float, leave: int | None = None) -> Calibration:
    """The best calibration, without the questions of world `leave`."""

    def best(mode: str, t: int) -> tuple[float, tuple[float, ...]]:
        settings, shape = grids(mode)
        limit = most * LOOSER.get(mode, 1)
        held = [row for row in tables[mode, t] if row[0].world != leave]

        def rate(kind: str, column: int) -> NDArray[np.float64]:
            rows = [row[1] if column == 1 else row[2] for row in held if row[0].kind == kind]
            return np.mean(rows, axis=0).reshape(shape) if rows else np.zeros(shape)

        rates = np.mean([rate(kind, 2) for kind in GROUPS[mode]], axis=0)
        false = [rate(kind, 1) for kind in CONSTRAINTS[mode]]
        index = pick(rates, false, limit)
        excess = sum(max(0.0, float(one[index]) - limit) for one in false)
        flat = int(np.ravel_multi_index(index, shape))
        return (float(smooth(smooth(rates))[index]) if excess <= 1e-12 else -excess), settings[flat]

    chosen: tuple[float, Calibration] | None = None
    for v, temperature in enumerate(TEMPERATURES):
        visual_value, (visual,) = best("visual", v)
        text_value, (text, contrast) = best("text", v)
        product_value, (product, contrast_product) = best("product", v)
        value = 2 * text_value + visual_value + product_value
        if chosen is None or value > chosen[0]:
            chosen = value, Calibration(text, contrast, visual, product, contrast_product, temperature, VISUAL_RELATIVE)
    assert chosen is not None
    return chosen[1]


def rates(tables: Tables, calibration: Calibration, only: int | None = None) -> dict[str, dict[str, Any]]:
    """By kind: questions, found, right, under one calibration of the grid."""
    out: dict[str, dict[str, Any]] = {}
    v = TEMPERATURES.index(calibration.temperature)
    setting = settings_of(calibration)
    for mode, kinds in GROUPS.items():
        at = grids(mode)[0].index(setting[mode])
        held = [r for r in tables[mode, v] if only is None or r[0].world == only]
        for kind in (*kinds, *CONSTRAINTS[mode]):
            rows = [row for row in held if row[0].kind == kind]
            if rows:
                out[kind] = {"questions": len(rows), "found": mean(float(r[1][at]) for r in rows),
                             "right": mean(float(r[2][at]) for r in rows) if kind in PRESENT else None}  # fmt: skip
    return out


def leave_one_out(tables: Tables, most: float, worlds: int) -> dict[str, dict[str, float]]:
    """Rates on each world under the calibration of the others: what to expect elsewhere."""
    total: dict[str, list[float]] = {}
    for world in range(worlds):
        for kind, row in rates(tables, choose(tables, most, leave=world), only=world).items():
            kept = total.setdefault(kind, [0.0, 0.0, 0.0])
            kept[0] += row["questions"]
            kept[1] += row["questions"] * row["found"]
            kept[2] += row["questions"] * (row["right"] or 0.0)
    return {kind: {"questions": n, "found": found / n, **({"right": right / n} if kind in PRESENT else {})}
            for kind, (n, found, right) in total.items()}  # fmt: skip


def check(memories: Sequence[Memory], asked: Sequence[Question], calibration: Calibration, tables: Tables) -> int:
    """How many answers of vidmem.query.where differ from the simulated ones; 0 unless the simulation is wrong."""
    v = TEMPERATURES.index(calibration.temperature)
    differ = 0
    for question in asked:
        setting = settings_of(calibration)[question.mode]
        found, right = outcomes(question, [setting], v)
        memory = memories[question.world]
        answer = where(memory.store, memory.cache(), calibration, text=question.text, visual=question.visual,
                       contrast=question.contrast)  # fmt: skip
        ok = (
            question.span is not None
            and answer.found
            and (tiou((answer[0].start_ns, answer[0].end_ns), question.span) >= LEAST_TIOU)
        )
        differ += answer.found != bool(found[0]) or ok != bool(right[0])
    return differ


def write(calibration: Calibration) -> Path:
    """Put it into the card of `tiny`, everything else untouched."""
    card = Path(str(files("vidmem.encoders") / "weights" / "tiny.json"))
    facts = json.loads(card.read_text("utf-8"))
    facts["calibration"] = asdict(calibration)
    part = card.with_name(card.name + ".part")
    part.write_text(json.dumps(facts, indent=1) + "\n", "utf-8")
    part.replace(card)
    return card


def plot(path: Path, rows: Sequence[dict[str, Any]], calibration: Calibration) -> None:
    """Scores of the best right and the best wrong track, by kind of question."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    panels = (
        ("words: text cosine", "text", "", calibration.text_threshold),
        ("words: share (T = 0.06)", "text", "_share", calibration.contrast_probability),
        ("picture: visual cosine", "visual", "", calibration.visual_threshold),
        ("both: product", "product", "", calibration.product_threshold),
    )
    figure, axes = plt.subplots(1, len(panels), figsize=(16, 3.6), layout="constrained")
    for axis, (title, mode, part, cut) in zip(axes, panels, strict=True):
        mine = [row for row in rows if row["mode"] == mode]
        for label, colour, values in (
            ("best right track", "#3d6a9e", [r["right" + part] for r in mine if r["span"]]),
            ("best wrong track", "#d9a441", [r["wrong" + part] for r in mine if r["span"]]),
            ("best track, absent", "#c8553d", [r["wrong" + part] for r in mine if not r["span"]]),
        ):
            held = [v for v in values if v is not None]
            if held:
                axis.hist(held, bins=30, range=(0, 1), histtype="step", linewidth=1.6, density=True, color=colour,
                          label=label)  # fmt: skip
        axis.axvline(cut, color="#222", linestyle="--", linewidth=1)
        axis.set_title(title, fontsize=10)
        axis.set_yticks([])
    axes[0].legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> int:
    import os

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write; the plot lies beside it")
    parser.add_argument("--seeds", type=parse_range, default=range(5000, 5006), help="A:B below 9000 (5000:5006)")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--drawings", type=Path, help="another vendor's drawings")
    parser.add_argument("--false-found", type=float, default=0.06, help="most false finds of any kind (.06)")
    parser.add_argument("--cache", type=Path, default=OUT)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="for making worlds")
    parser.add_argument("--fresh", action="store_true", help="index again")
    parser.add_argument("--write", action="store_true", help="put the result into vidmem/encoders/weights/tiny.json")
    args = parser.parse_args()
    if any(seed >= 9000 for seed in args.seeds):
        parser.error("seeds of 9000 and above are held out")
    before = machine()
    memories: list[Memory] = []
    asked: list[Question] = []
    rows: list[dict[str, Any]] = []
    unknown = household()
    worlds = ensure_all(args.cache, args.drawings, args.seeds, args.seconds, args.processes)
    for number, world in enumerate(worlds):
        folder = memory_place(args.cache, "calibrate", vendor(args.drawings), world.folder.name)
        if args.fresh:
            shutil.rmtree(folder, ignore_errors=True)
        index_world(world, folder)
        memory = Memory.open(folder, read_only=True)
        memories.append(memory)
        mine = questions(memory, world, number, unknown)
        asked += mine
        cache = memory.cache()
        tracks = memory.store.tracks([int(i) for i in cache.columns.ids])
        boxes = np.array([t.best_box for t in tracks], np.float64)
        times = np.array([t.best_ns for t in tracks], np.int64)
        for q in mine:
            rows.append({"seed": world.truth.seed, "kind": q.kind, "asked": q.asked, "mode": q.mode, "span": q.span,
                         **examples(cache, boxes, times, world, q)})  # fmt: skip
        say(f"seed {world.truth.seed}: {len(mine)} questions to {len(cache)} tracks")
    tables = tabulate(asked)
    calibration = choose(tables, args.false_found)
    fitted = rates(tables, calibration)
    crossed = leave_one_out(tables, args.false_found, len(worlds)) if len(worlds) > 1 else {}
    found_words: dict[str, int] = {}
    v = TEMPERATURES.index(calibration.temperature)
    at = grids("text")[0].index((calibration.text_threshold, calibration.contrast_probability))
    for q, hit, _ in tables["text", v]:
        if q.kind == "unknown_word" and hit[at]:
            found_words[q.asked] = found_words.get(q.asked, 0) + 1
    differ = check(memories, asked, calibration, tables)
    for memory in memories:
        memory.close()
    result = {
        "machine": before, "model": model(), "seeds": list(args.seeds), "seconds": args.seconds,
        "drawings": vendor(args.drawings), "false_found_limit": args.false_found,
        "calibration": asdict(calibration), "rates": fitted, "leave_one_world_out": crossed,
        "unknown_phrases": len(unknown), "unknown_found": found_words, "differs_from_where": differ, "scores": rows,
    }  # fmt: skip
    write_json(args.out, result)
    plot(args.out.with_suffix(".png"), rows, calibration)
    print(table(
        ["kind", "questions", "right", "found", "elsewhere: right", "found"],
        [[kind, row["questions"], row["right"], row["found"], crossed.get(kind, {}).get("right"),
          crossed.get(kind, {}).get("found")] for kind, row in fitted.items()],
    ))  # fmt: skip
    print(json.dumps(asdict(calibration)))
    if differ:
        print(f"{differ} answers of `where` differ from the simulated ones", file=sys.stderr)
        return 1
    if args.write:
        say(f"written to {write(calibration)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
