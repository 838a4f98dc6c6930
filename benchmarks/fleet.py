"""Questions to a fleet: with and without pruning, over many simulated shards; and equal answers of a real fleet.

`python -m benchmarks.fleet --out benchmarks/out/fleet.json`

Two parts:

- `simulated`: 1,000 shards of 100,000 tracks each, 1e8 in all. A few shards are made and sealed (`--places`); their
  tokens are those of real clips with noise, each shard those of one clip. The others are folders whose files are hard
  links to the files of these, with manifests, sources and clocks of their own. So the catalogue, the bounds, the
  pruning, opening, searching and merging are those of 1,000 shards and 1e8 tracks, and each shard is searched in full.
  What is not real: shards of one place have the same tracks, and all files stay in the system's page cache.
- `real`: 50 shards of 20,000 tracks of their own, and one memory with the same million tracks. The answers must be
  equal; the times are compared.

It needs the clips, or `--clips FOLDER`, and writes some GB below `--place`, which it deletes.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import CLIPS, OUT, machine, model, parser_for, quantile, replaced, say, skip, table, write_json
from benchmarks.engines import real_memory
from benchmarks.query_memories import Draw, tracks_alone
from vidmem import Memory
from vidmem.fleet import manifest
from vidmem.fleet.bounds_table import BoundsTable
from vidmem.fleet.catalogue import Catalogue
from vidmem.fleet.manifest import Manifest
from vidmem.fleet.sealing import seal
from vidmem.query.answers import Answer
from vidmem.records import Float32, SourceInfo, SourceKind
from vidmem.store import Proof
from vidmem.store.files import SEAL_NAME
from vidmem.timecode import NS

NOISE = 0.1
"""Length of the noise that is added to a real token of unit length; the cosine to it is .995 then, and .96 for .3."""
DAY = 24 * 3600 * NS
BEGAN = 1_767_225_600 * NS
"""2026-01-01 in UTC: the day of the first shard. Each later shard is of the next day."""
HOURS = 4 * 3600 * NS
VIDEOS = 4
"""Videos of a shard; each has four hours of its day."""


def tokens_of_places(memory: Memory) -> list[tuple[Float32, Float32]]:
    """Visual and text tokens of each source of a memory that has enough, `(n, Dv)` and `(n, Dt)`."""
    cache = memory.cache()
    out = []
    for row in memory.sources():
        rows = cache.rows_of_source(row.id)
        if len(rows) >= 20:
            out.append((cache.reconstruct("visual", rows), cache.reconstruct("text", rows)))
    return out


def noisy(tokens: tuple[Float32, Float32], seed: int, length_of_noise: float) -> Draw:
    """Draws tokens of one place, with noise."""
    rng = np.random.default_rng(seed)

    def draw(n: int) -> tuple[Float32, Float32]:
        picked = rng.integers(0, len(tokens[0]), n)
        out = []
        for known in tokens:
            noise = rng.standard_normal((n, known.shape[1]), dtype=np.float32)
            noise *= length_of_noise / np.linalg.norm(noise, axis=1, keepdims=True)
            some = known[picked]
            length = np.linalg.norm(some, axis=1, keepdims=True)
            moved = some / np.where(length > 0, length, 1) + noise
            out.append((moved / np.linalg.norm(moved, axis=1, keepdims=True)).astype(np.float32))
        return out[0], out[1]

    return draw


def videos(name: str, number_of_day: int) -> list[SourceInfo]:
    """The videos of a shard, recorded one after the other on a day."""
    return [
        SourceInfo(
            f"/fleet/{name}/{number}.mp4",
            SourceKind.VIDEO,
            1280,
            720,
            HOURS,
            f"{name}-{number}",
            start_ns=BEGAN + number_of_day * DAY + number * HOURS,
            recorded_by="given",
        )
        for number in range(VIDEOS)
    ]


def day(number: int) -> str:
    """A day as people write it; that of the shard with this number."""
    return time.strftime("%Y-%m-%d", time.gmtime((BEGAN + number * DAY) // NS))


def linked(made: Path, sealed: Manifest, folder: Path, name: str) -> Manifest:
    """A shard whose files are hard links to those of `made`, with sources of its own; its manifest."""
    shutil.copytree(made, folder, copy_function=os.link, ignore=shutil.ignore_patterns(SEAL_NAME, "*.lock", "lock"))
    sources = tuple(
        replace(source, row=replace(source.row, uri=f"/fleet/{name}/{source.row.id}.mp4")) for source in sealed.sources
    )
    own = replace(sealed, sources=sources).named()
    (folder / SEAL_NAME).write_bytes(own.text())
    assert manifest.load(folder).id == own.id
    return own


class Watch:
    """The peak of this process's memory: `anonymous` is its own, `mapped` are files, which the system may drop."""

    def __init__(self) -> None:
        self.anonymous = self.mapped = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._end.wait(0.05):
            with open("/proc/self/status") as status:
                sizes = dict(line.split(":", 1) for line in status if line.startswith("Rss"))
            self.anonymous = max(self.anonymous, int(sizes["RssAnon"].split()[0]) * 1024)
            self.mapped = max(self.mapped, int(sizes["RssFile"].split()[0]) * 1024)


@dataclass(frozen=True, slots=True)
class Searched:
    """What a search of the vectors alone found, without the grouping of sightings."""

    found: bool
    proof: Proof | None


Ask = Callable[[str], Answer | Searched]


def asked(ask: Ask, names: Sequence[str]) -> dict[str, Any]:
    """Ask each name once: times in ms, and the shards that were searched and left out."""
    times, searched, pruned, found, first = [], [], [], 0, 0.0
    for name in names:
        began = time.perf_counter()
        answer = ask(name)
        times.append(1000 * (time.perf_counter() - began))
        first = first or times[0]
        found += answer.found
        if answer.proof is not None:
            searched.append(answer.proof.asked)
            pruned.append(answer.proof.pruned)
    return {
        "questions": len(names),
        "found": found,
        "p50_ms": quantile(times, 0.5),
        "p95_ms": quantile(times, 0.95),
        "first_ms": first,
        "asked": sum(searched) / len(searched) if searched else None,
        "asked_most": max(searched, default=None),
        "pruned": sum(pruned) / len(pruned) if pruned else None,
    }


def searching(memory: Memory) -> Ask:
    """The search that a question by a name makes: all tracks above the calibrated threshold, and the twelve best.

    What is left of a question is the grouping of what was found. Here each place repeats few tracks thousands of times,
    and grouping them says nothing of real ones.
    """

    def ask(name: str) -> Searched:
        (vector,) = memory.text_encoder.encode_text([name])
        with memory.store.snapshot():
            cache = memory.cache()
            rows, _ = cache.range_search("text", vector, memory.calibration.text_threshold)
            cache.top("text", vector, 12)
            return Searched(bool(len(rows)), memory.store.proof())

    return ask


@contextmanager
def without_bounds() -> Iterator[None]:
    """Search all shards: bounds prove nothing."""

    def uppers(self: BoundsTable, kind: str, unit: Float32, places: Sequence[int]) -> Any:
        return np.full(len(self.known), np.inf)

    with replaced((BoundsTable, "uppers", uppers)):
        yield


def names_of(memory: Memory, count: int, seed: int, found: bool) -> list[str]:
    """Names that the encoder knows: half of those that a track of the clips is near enough to, half of all.

    found: in place of the first half, names that are found in the clips. Each place repeats few tracks many times, so
    that such a name has thousands of sightings in a large fleet, and their grouping takes all of the time.
    """
    rng = np.random.default_rng(seed)
    known = sorted(name for name, other in (memory.text_encoder.names() or {}).items() if not other)
    if found:
        near = [name for name, answer in zip(known, memory.watch(known), strict=True) if answer.found]
    else:
        cache, threshold = memory.cache(), memory.calibration.text_threshold
        vectors = memory.text_encoder.encode_text(known)
        near = [
            name
            for name, (rows, _) in zip(known, cache.range_search_many("text", vectors, threshold), strict=True)
            if len(rows)
        ]
    half = min(count // 2, len(near))
    picked = [*rng.choice(near, half, replace=False), *rng.choice(known, count - half, replace=False)]
    rng.shuffle(picked)
    return [str(name) for name in picked]


def simulated(
    args: argparse.Namespace, place: Path, tokens: Sequence[tuple[Float32, Float32]], names: Sequence[str]
) -> dict[str, Any]:
    """Many shards, most of them links to a few."""
    made: list[tuple[Path, Manifest]] = []
    for number in range(args.places):
        folder = place / f"place-{number}"
        draw = noisy(tokens[number % len(tokens)], number, args.noise)
        tracks_alone(folder, args.tracks, seed=number, films=videos(f"place-{number}", 0), draw=draw)
        (folder / "complete").unlink()
        began = time.perf_counter()
        made.append((folder, seal(folder)))
        say(f"place {number + 1} of {args.places}, sealed in {time.perf_counter() - began:.1f} s")
    url = str(place / "simulated.catalogue")
    began = time.perf_counter()
    with Catalogue.open(url, create=True) as catalogue:
        for number in range(args.shards):
            folder, sealed = made[number % len(made)]
            name = f"robot-{number:04d}"
            own = linked(folder, sealed, place / "shards" / name, name)
            row = catalogue.add(own, str(place / "shards" / name))
            catalogue.set_clock(row.number, number * DAY, 0)
    entered = time.perf_counter() - began
    out: dict[str, Any] = {
        "shards": args.shards,
        "tracks_a_shard": args.tracks,
        "tracks": args.shards * args.tracks,
        "made": args.places,
        "shard_bytes": made[0][1].total_bytes,
        "bounds_bytes": (made[0][0] / "bounds.safetensors").stat().st_size,
        "catalogue_bytes": Path(url).stat().st_size,
        "enter_s_a_shard": entered / args.shards,
    }
    with Watch() as watch:
        began = time.perf_counter()
        with Memory.open(f"fleet:{url}") as memory:
            some = args.shards // 2
            memory.where(names[0], after=day(some + 1), before=day(some + 2))
            out["open_s"] = time.perf_counter() - began
            ways: dict[str, tuple[Ask, Sequence[str]]] = {
                "one source": (lambda name: memory.where(name, sources=[f"/fleet/robot-{some:04d}/1.mp4"]), names),
                "one day": (lambda name: memory.where(name, after=day(some), before=day(some + 1)), names),
                "a week": (lambda name: memory.where(name, after=day(some), before=day(some + 7)), names),
                "all (search), by bounds": (searching(memory), names[: args.all_names]),
            }
            for way, (ask, asked_for) in ways.items():
                out[way] = asked(ask, asked_for) | _memory_of(watch)
                say(f"{way}: {out[way]}")
            few = names[: args.unpruned]
            with without_bounds():
                began = time.perf_counter()
                searching(memory)(few[0])  # opens and checks all shards
                out["first_of_all_s"] = time.perf_counter() - began
                out["all (search), without bounds"] = asked(searching(memory), few) | _memory_of(watch)
            say(f"without bounds: {out['all (search), without bounds']}")
    out["peak_rss_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return out


def _memory_of(watch: Watch) -> dict[str, int]:
    return {"anonymous_bytes": watch.anonymous, "mapped_bytes": watch.mapped}


def real(
    args: argparse.Namespace, place: Path, tokens: Sequence[tuple[Float32, Float32]], names: Sequence[str]
) -> dict[str, Any]:
    """Shards of their own, against one memory with the same tracks."""
    infos = [videos(f"shard-{number}", number) for number in range(args.real_shards)]
    url = str(place / "real.catalogue")
    with Catalogue.open(url, create=True) as catalogue:
        for number, films in enumerate(infos):
            folder = place / f"shard-{number}"
            tracks_alone(
                folder,
                args.real_tracks,
                seed=number,
                films=films,
                draw=noisy(tokens[number % len(tokens)], number, args.noise),
            )
            (folder / "complete").unlink()
            catalogue.add(seal(folder), str(folder))
    say(f"{args.real_shards} shards of {args.real_tracks:,} tracks")
    whole = place / "whole"
    copied(whole, [place / f"shard-{number}" for number in range(args.real_shards)])
    out: dict[str, Any] = {"shards": args.real_shards, "tracks": args.real_shards * args.real_tracks}
    with Memory.open(whole, read_only=True) as one, Memory.open(f"fleet:{url}") as fleet:
        assert len(one.cache()) == len(fleet.cache()) == out["tracks"]
        for memory in (one, fleet):
            memory.where(names[0])
        some = args.real_shards // 2
        questions: dict[str, Callable[[Memory], Callable[[str], Answer]]] = {
            "all": lambda memory: lambda name: memory.where(name, top=None),
            "one day": lambda memory: lambda name: memory.where(name, top=None, after=day(some), before=day(some + 1)),
            "one video": lambda memory: (
                lambda name: memory.where(name, top=None, sources=[f"/fleet/shard-{some}/1.mp4"])
            ),
        }
        for way, question in questions.items():
            equal = sum(_plain(question(one)(name)) == _plain(question(fleet)(name)) for name in names)
            times = {"memory": asked(question(one), names), "fleet": asked(question(fleet), names)}
            with without_bounds():
                times["fleet, without bounds"] = asked(question(fleet), names)
            out[way] = {"equal": equal, "questions": len(names), **times}
            out[way]["ratio_p50"] = times["fleet"]["p50_ms"] / times["memory"]["p50_ms"]
            say(f"{way}: {out[way]}")
    return out


def _plain(answer: Answer) -> list[tuple[Any, ...]]:
    """An answer without ids, which differ."""
    return [
        (s.source, s.start_ns, s.end_ns, round(s.score, 5), s.frame_ns, s.box, len(s.tracks), s.recorded_ns)
        for s in (*answer.sightings, *answer.near_misses)
    ]


def copied(folder: Path, shards: Sequence[Path]) -> None:
    """One memory with all tracks of some shards, in their order."""
    import sqlite3

    from benchmarks.common import blank_memory

    blank = blank_memory(folder)
    assert blank is not None
    blank[0].close()
    conn = sqlite3.connect(folder / "memory.sqlite", isolation_level=None)
    conn.execute("PRAGMA synchronous = OFF")
    sources = tracks = 0
    for shard in shards:
        conn.execute("ATTACH ? AS shard", (f"file:{shard / 'memory.sqlite'}?immutable=1",))
        for name, first in (("sources", {"id": sources}), ("tracks", {"id": tracks, "source_id": sources})):
            columns = [row[1] for row in conn.execute(f"PRAGMA shard.table_info({name})")]
            values = ", ".join(f"{column} + {first[column]}" if column in first else column for column in columns)
            conn.execute(f"INSERT INTO main.{name} ({', '.join(columns)}) SELECT {values} FROM shard.{name}")
        sources = conn.execute("SELECT max(id) FROM main.sources").fetchone()[0]
        tracks = conn.execute("SELECT max(id) FROM main.tracks").fetchone()[0]
        conn.execute("DETACH shard")
    conn.execute("UPDATE meta SET value = '1' WHERE key = 'generation'")
    conn.close()
    with Memory.open(folder) as memory:
        memory.cache()


def main() -> int:
    parser = parser_for(__doc__)
    parser.add_argument("--shards", type=int, default=1000, help="simulated shards (1000)")
    parser.add_argument("--tracks", type=int, default=100_000, help="tracks of each of them (100000)")
    parser.add_argument("--places", type=int, default=14, help="shards that are made; the others are links (14)")
    parser.add_argument("--real-shards", type=int, default=50, help="shards of their own (50)")
    parser.add_argument("--real-tracks", type=int, default=20_000, help="tracks of each of them (20000)")
    parser.add_argument("--questions", type=int, default=40, help="names to ask (40)")
    parser.add_argument("--unpruned", type=int, default=5, help="names to ask without bounds (5)")
    parser.add_argument("--noise", type=float, default=NOISE, help=f"noise that is added to real tokens ({NOISE})")
    parser.add_argument("--found", action="store_true", help="ask names that are found; for a small fleet")
    parser.add_argument("--all-names", type=int, default=16, help="names to ask of all shards, by bounds (16)")
    parser.add_argument("--only", choices=("simulated", "real"), help="only this part")
    parser.add_argument("--clips", type=Path, default=CLIPS, help="folder of the clips (../shared/data/clips)")
    parser.add_argument("--cache", type=Path, default=OUT, help="folder for the memory of the clips (benchmarks/out)")
    parser.add_argument("--place", type=Path, help="folder for the shards, which are deleted (a temporary one)")
    args = parser.parse_args()
    result: dict[str, Any] = {"machine": machine(), "model": model(), "noise": args.noise}
    clips = real_memory(args.cache, args.clips)
    if clips is None:
        return skip(args.out, result, f"no clips in {args.clips}; give their folder as --clips")
    with Memory.open(clips, read_only=True) as memory:
        tokens, names = tokens_of_places(memory), names_of(memory, args.questions, 1, args.found)
    result["names"] = names
    if args.place is not None:
        args.place.mkdir(parents=True, exist_ok=True)
    for part, run in (("real", real), ("simulated", simulated)):
        if args.only not in (None, part):
            continue
        with tempfile.TemporaryDirectory(dir=args.place, prefix="fleet-") as folder:
            result[part] = run(args, Path(folder), tokens, names)
        write_json(args.out, result)
    show(result)
    return 0


def show(result: dict[str, Any]) -> None:
    """Print the tables."""
    if (found := result.get("simulated")) is not None:
        rows = [
            [way, f["p50_ms"], f["p95_ms"], f["asked"], f["pruned"], f["found"], f["anonymous_bytes"] / 1e6]
            for way, f in found.items()
            if isinstance(f, dict)
        ]
        print(table(("simulated", "p50 ms", "p95 ms", "asked", "pruned", "found", "own MB"), rows))
    if (found := result.get("real")) is not None:
        rows = [
            [
                way,
                f["equal"],
                f["questions"],
                f["memory"]["p50_ms"],
                f["fleet"]["p50_ms"],
                f["ratio_p50"],
                f["fleet, without bounds"]["p50_ms"],
                f["fleet"]["asked"],
            ]
            for way, f in found.items()
            if isinstance(f, dict)
        ]
        head = ("real", "equal", "of", "memory ms", "fleet ms", "ratio", "without bounds", "asked")
        print(table(head, rows))


if __name__ == "__main__":
    sys.exit(main())
