"""How answers and compression depend on tau_track: `python -m benchmarks.sweeps --out FILE.json [--only walks,clips]`.

A table like Table 8 of T-REN (arXiv 2604.18573), with `tiny` in place of T-REN, on made walks and on the real clips.
Each row indexes the same videos with another tau_track; everything else is the encoder's preset (`boxes`), or the
tracker of the paper (`--tracker paper`: the cosine alone, no gap). NTTM links nothing over time: each region of each
frame is a track of its own.

walks   localization recall: the newest sighting overlaps the last span of the truth by a temporal IoU of .25 or .05,
        over all questions by name and picture together
clips   the same over the things of real_queries.json, all clips in one memory

Compression is relative to the patches of all frames, as in the paper. Regions are found once and kept for all rows.
tau_mask and the grid of prompts (Tables 6 and 7) are for encoders with point prompts: see benchmarks.tren_sweeps.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.common import (
    CLIPS,
    OUT,
    machine,
    model,
    parse_range,
    parser_for,
    replaced,
    say,
    skip,
    table,
    tiou,
    wilson,
    write_json,
)
from benchmarks.real import QUERIES
from benchmarks.real_sheet import frame
from benchmarks.worlds import ensure_all
from lab.synthetic.lostfound import World
from vidmem import Memory
from vidmem.config import NEVER, IndexConfig, TrackConfig, preset
from vidmem.encoders import DEFAULT, Encoder, find
from vidmem.records import Frame, RegionTokens, SourceInfo
from vidmem.timecode import NS

SEEDS = range(8800, 8806)
"""Not those of lostfound: this table may be looked at while a threshold is chosen."""
TAUS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, None)
"""None is NTTM."""
LEAST = (0.25, 0.05)
"""Temporal IoU of a right answer, as in the two columns of the paper."""
PAPER = {
    0.1: (49.2, 64.4, 297.0),
    0.2: (52.1, 67.6, 290.6),
    0.3: (51.9, 66.5, 272.0),
    0.4: (56.7, 68.2, 241.1),
    0.5: (57.7, 66.2, 202.2),
    0.6: (54.8, 67.0, 161.9),
    0.7: (55.9, 66.5, 124.0),
    0.8: (50.5, 62.3, 88.2),
    0.9: (45.2, 59.6, 52.9),
    None: (39.4, 55.6, 22.7),
}
"""T-REN on 330 queries of Ego4D: recall at .25 and .05 in percent, compression (Table 8)."""


def settings(tracker: str, tau: float | None) -> IndexConfig:
    """The settings of a row."""
    config = preset(find(DEFAULT).preset)
    track = TrackConfig(max_gap=0) if tracker == "paper" else config.track
    if tau is None:
        # The overlap of boxes must not link what the cosine does not; a still frame continues tracks, so look at each.
        return replace(config, still=0, track=replace(track, threshold=NEVER, max_gap=0, overlap=0.0))
    return replace(config, track=replace(track, threshold=tau))


def remembering(encode: Callable[..., list[RegionTokens]]) -> Callable[..., list[RegionTokens]]:
    """`Encoder.encode_frames`, which looks at each picture once."""
    known: dict[bytes, RegionTokens] = {}

    def encode_frames(self: Encoder, frames: Sequence[Frame], info: SourceInfo) -> list[RegionTokens]:
        size = (info.width, info.height)
        keys = [hashlib.sha256(each.image.tobytes() + repr(size).encode()).digest() for each in frames]
        if missing := [each for key, each in zip(keys, frames, strict=True) if key not in known]:
            new = [key for key in keys if key not in known]
            known.update(zip(new, encode(self, missing, info), strict=True))
        return [known[key] for key in keys]

    return encode_frames


def index(videos: Sequence[Path], folder: Path, config: IndexConfig) -> dict[str, float]:
    """Index the videos into a memory; what it cost."""
    patches = 0
    with Memory.open(folder) as memory:
        for video in videos:
            memory.index(video, config=config)
    with Memory.open(folder, read_only=True) as memory:
        for source in memory.store.sources():
            for each in memory.store.regions(source.id, 0, 2**62):
                patches += each.masks.shape[1] * each.masks.shape[2]
        stats = memory.stats()
    return {"patches": patches, "tracks": stats.tracks, "frames": stats.frames, "regions": stats.regions}


def walks(worlds: Sequence[World], config: IndexConfig) -> dict[str, Any]:
    """One row: each walk in a memory of its own."""
    hits: list[float] = []
    cost: dict[str, float] = dict.fromkeys(("patches", "tracks", "frames", "regions"), 0)
    for world in worlds:
        with tempfile.TemporaryDirectory(prefix="vidmem-sweep-") as folder:
            for name, value in index([world.video], Path(folder) / "m", config).items():
                cost[name] += value
            with Memory.open(Path(folder) / "m", read_only=True) as memory:
                for query in world.queries:
                    if query.picture is None or query.text is None or query.start_ns is None or query.end_ns is None:
                        continue
                    answer = memory.where(query.text, image=world.folder / query.picture, top=1)
                    span = (query.start_ns, query.end_ns)
                    hits.append(tiou((answer[0].start_ns, answer[0].end_ns), span) if answer.found else 0.0)
    return row(hits, cost)


def clips(folder: Path, queries: Sequence[dict[str, Any]], config: IndexConfig) -> dict[str, Any]:
    """One row: all clips in one memory, asked by the pictures cut from them."""
    hits: list[float] = []
    with tempfile.TemporaryDirectory(prefix="vidmem-sweep-") as place:
        cost = index(sorted(folder.glob("*.mp4")), Path(place) / "m", config)
        with Memory.open(Path(place) / "m", read_only=True) as memory:
            for query in queries:
                picture = frame(folder / query["clip"], query["t_s"]).crop(tuple(query["box"]))
                answer = memory.where(image=picture, top=1)
                last = query["spans"][-1]
                right = answer.found and Path(answer[0].source).name == query["clip"]
                span = (round(last[0] * NS), round(last[1] * NS))
                hits.append(tiou((answer[0].start_ns, answer[0].end_ns), span) if right else 0.0)
    return row(hits, cost)


def row(hits: Sequence[float], cost: dict[str, float]) -> dict[str, Any]:
    """Recall with intervals, and compression."""
    out: dict[str, Any] = {"questions": len(hits)}
    for least in LEAST:
        right = sum(hit >= least for hit in hits)
        out[f"recall_{least:g}"] = right / len(hits) if hits else None
        out[f"interval_{least:g}"] = wilson(right, len(hits))
    return out | cost | {"compression": cost["patches"] / max(1, cost["tracks"])}


def name_of(tau: float | None) -> str:
    return "NTTM" if tau is None else f"{tau:g}"


def as_table(rows: Sequence[dict[str, Any]]) -> str:
    """All rows, with the paper's beside them."""
    head = (
        "set, tracker, tau_track",
        "recall at .25",
        "at .05",
        "compression",
        "tracks",
        "T-REN .25",
        ".05",
        "compression",
    )
    lines = []
    for each in rows:
        paper = PAPER[each["tau"]]
        ours = (each["recall_0.25"], each["recall_0.05"], each["compression"], each["tracks"])
        name = f"{each['set']}, {each['tracker']}, {name_of(each['tau'])}"
        lines.append((name, *ours, paper[0] / 100, paper[1] / 100, paper[2]))
    return table(head, lines)


def plot(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Recall and compression over tau_track."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    marks = range(len(TAUS))
    for (kind, tracker), colour in zip(
        (("walks", "preset"), ("walks", "paper"), ("clips", "preset"), ("clips", "paper")),
        ("#3d6a9e", "#9db4cf", "#c8553d", "#e3a79b"),
        strict=True,
    ):
        mine = [each for each in rows if (each["set"], each["tracker"]) == (kind, tracker)]
        if not mine:
            continue
        at = [TAUS.index(each["tau"]) for each in mine]
        label = f"{kind}, {'tracker of the preset' if tracker == 'preset' else 'tracker of the paper'}"
        left.plot(at, [each["recall_0.25"] for each in mine], "o-", color=colour, label=label)
        right.plot(at, [each["compression"] for each in mine], "o-", color=colour, label=label)
    for axis, number, title in ((left, 0, "localization recall, tIoU .25"), (right, 2, "patches per track")):
        scale = 100 if number == 0 else 1
        values = [PAPER[tau][number] / scale for tau in TAUS]
        axis.plot(marks, values, "s--", color="#222", label="T-REN on Ego4D (Table 8)", markersize=4, linewidth=1)
        axis.set_xticks(marks, [name_of(tau) for tau in TAUS])
        axis.set_xlabel("tau_track")
        axis.set_title(title, fontsize=10)
        axis.set_ylim(bottom=0)
    left.legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def main() -> int:
    import json
    import os

    parser = parser_for(__doc__, "a table (.txt) and a plot (.png) lie beside it")
    parser.add_argument("--only", default="walks,clips", help="walks, clips or both (walks,clips)")
    parser.add_argument("--tracker", default="preset,paper", help="preset, paper or both (preset,paper)")
    parser.add_argument("--seeds", type=parse_range, default=SEEDS, help="walks, A:B (8800:8806)")
    parser.add_argument("--seconds", type=float, default=40, help="length of a walk (40)")
    parser.add_argument("--taus", help="some of .1 to .9 and NTTM, separated by commas (all)")
    parser.add_argument("--clips", type=Path, default=CLIPS, help="folder of the clips (../shared/data/clips)")
    parser.add_argument("--cache", type=Path, default=OUT, help="folder for walks (benchmarks/out)")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="for making walks")
    args = parser.parse_args()
    sets = args.only.split(",")
    taus = TAUS if args.taus is None else [t for t in TAUS if name_of(t).lstrip("0") in args.taus.split(",")]
    result: dict[str, Any] = {"machine": machine(), "model": model(), "seeds": list(args.seeds), "rows": []}
    worlds = ensure_all(args.cache, None, list(args.seeds), args.seconds, args.processes) if "walks" in sets else []
    if "clips" in sets and not sorted(args.clips.glob("*.mp4")):
        if not worlds:
            return skip(args.out, result, f"no clips in {args.clips}; give their folder as --clips")
        say(f"no clips in {args.clips}: walks alone")
        sets.remove("clips")
    queries = json.loads(QUERIES.read_text("utf-8"))["queries"]
    with replaced((Encoder, "encode_frames", remembering(Encoder.encode_frames))):
        for kind in sets:
            for tracker in args.tracker.split(","):
                for tau in taus:
                    config = settings(tracker, tau)
                    made = walks(worlds, config) if kind == "walks" else clips(args.clips, queries, config)
                    result["rows"].append({"set": kind, "tracker": tracker, "tau": tau, **made})
                    say(f"{kind}, {tracker}, {name_of(tau)}: {made['recall_0.25']:.2f}, {made['compression']:.0f} x")
                    write_json(args.out, result)
    text = as_table(result["rows"])
    args.out.with_suffix(".txt").write_text(text + "\n", "utf-8")
    plot(args.out.with_suffix(".png"), result["rows"])
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
