"""Merging and tracking compared with a plain implementation: `python -m benchmarks.merge_track --out FILE.json`.

Both run in one process, in turns, on the same tokens, and must give the same answer. The plain implementation
(plain.py, torch) has `--threads` threads. vidmem's numpy has `--blas-threads`, 1 by default: it needs no more, and BLAS
threads that wait for each other take ten times as long on a machine that is busy with something else.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.common import parser_for

TOKENS, WIDTH, GRID, GROUPS = 3072, 1024, 32, 380
DRAWN = 563
"""Regions drawn for the merge: some discs fall on each other, and about 380 groups remain."""
AUTHORS = {
    "merge_ms": 599.0,
    "track_ms": 171.0,
    "source": "facts/tren.md: the authors' code on 2 CPU threads, another machine",
}
TARGETS = {"merge": 4.0, "track": 10.0, "flat": 1.2}


def main() -> int:
    parser = parser_for(__doc__)
    parser.add_argument("--threads", type=int, default=2, help="torch threads of the plain version (2)")
    parser.add_argument("--blas-threads", type=int, default=1, help="BLAS threads of vidmem (1)")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each version; the median counts (7)")
    parser.add_argument("--tracks", type=int, default=200_000, help="tracks ever made in the long run (200000)")
    args = parser.parse_args()
    # numpy reads it once, when it is first imported.
    os.environ["OPENBLAS_NUM_THREADS"] = str(args.blas_threads)
    import torch

    torch.set_num_threads(args.threads)
    started = time.perf_counter()
    result: dict[str, Any] = {
        "machine": machine(args.threads, args.blas_threads),
        "authors": AUTHORS,
        "targets": TARGETS,
        "merge": bench_merge(args.rounds),
        "track": bench_track(2 * args.rounds, 5000),
        "track_at_start": bench_track(2 * args.rounds, 0),
        "flat": bench_flat(args.tracks),
        "seconds": round(time.perf_counter() - started, 1),
        "load_after": os.getloadavg(),
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=2) + "\n")
    report(result)
    print(f"load {result['machine']['load_before'][0]:.1f} before; {result['seconds']} s; {args.out}", file=sys.stderr)
    return 0


def machine(threads: int, blas_threads: int) -> dict[str, Any]:
    import numpy as np
    import torch

    cpu = platform.processor() or platform.machine()
    if (info := Path("/proc/cpuinfo")).exists():
        cpu = next((line.split(":")[1].strip() for line in info.open() if line.startswith("model name")), cpu)
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "torch_threads": threads,
        "blas_threads": blas_threads,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
        "load_before": os.getloadavg(),
    }


def frame_tokens(seed: int, n: int, groups: int) -> Any:
    """RegionTokens of one frame as an encoder makes them, n tokens on `groups` regions, in random order.

    Tokens of one region differ by noise (cosine about .985). Regions share a direction and a low-rank part, as
    features of one picture do: cosine .5 on average, widely spread. Masks are soft discs.
    """
    import numpy as np

    from vidmem.records import RegionTokens

    rng = np.random.default_rng(seed)
    basis = rng.standard_normal((48, WIDTH)) / 48**0.5
    centre = rng.standard_normal((groups, 48)) @ basis * 0.85 + rng.standard_normal((groups, WIDTH)) * 0.3
    centre += rng.standard_normal(WIDTH)
    centre /= np.linalg.norm(centre, axis=1, keepdims=True)
    group = rng.permutation(np.concatenate([np.arange(groups), rng.integers(0, groups, n - groups)]))
    noise = rng.standard_normal((n, WIDTH)) / WIDTH**0.5
    visual = (20 * (centre[group] + 0.12 * noise)).astype(np.float32)
    text = (visual @ rng.standard_normal((WIDTH, WIDTH)).astype(np.float32) / np.float32(WIDTH**0.5)).astype(np.float32)

    y, x = np.mgrid[:GRID, :GRID] + 0.5
    at = rng.uniform(0, GRID, (groups, 2))[group] + rng.normal(0, 0.3, (n, 2))
    radius = rng.uniform(1.2, 4, groups)[group] + rng.normal(0, 0.1, n)
    far = np.hypot(x - at[:, 0, None, None], y - at[:, 1, None, None])
    masks = (1 / (1 + np.exp(2 * (far - radius[:, None, None])))).astype(np.float32)
    masks /= masks.max(axis=(1, 2), keepdims=True)
    boxes = np.concatenate([at - radius[:, None], at + radius[:, None]], axis=1).astype(np.float32) * 16
    return RegionTokens(visual, text, masks, at.astype(np.float32) * 16, boxes, masks.mean(axis=(1, 2)))


def alternate(versions: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each version. They are called in turns, after one call of each to warm up."""
    for call in versions.values():
        call()
    times: dict[str, list[float]] = {name: [] for name in versions}
    for _ in range(rounds):
        for name, call in versions.items():
            begin = time.perf_counter()
            call()
            times[name].append((time.perf_counter() - begin) * 1e3)
    return times


def compared(times: dict[str, list[float]]) -> dict[str, Any]:
    """Medians, extremes and the ratio of plain to vidmem."""
    median = {name: statistics.median(values) for name, values in times.items()}
    return {
        "vidmem_ms": median["vidmem"],
        "plain_ms": median["plain"],
        "ratio": median["plain"] / median["vidmem"],
        "vidmem_range_ms": [min(times["vidmem"]), max(times["vidmem"])],
        "plain_range_ms": [min(times["plain"]), max(times["plain"])],
    }


def bench_merge(rounds: int) -> dict[str, Any]:
    """Merge one frame of 3,072 tokens into some 380 groups."""
    import numpy as np
    import torch

    from benchmarks import plain
    from vidmem.config import MergeConfig
    from vidmem.indexer.merge import merge

    tokens, config = frame_tokens(1, TOKENS, DRAWN), MergeConfig()
    lists = [list(torch.from_numpy(each)) for each in (tokens.visual, tokens.text, tokens.masks)]

    def run_plain() -> tuple[list[torch.Tensor], ...]:
        return plain.merge(
            *lists,
            token_threshold=config.token_threshold,
            mask_threshold=config.mask_threshold,
            keep_singletons=config.keep_singletons,
        )

    ours, theirs = merge(tokens, config, frame_width=512, frame_height=512), run_plain()
    for mine, other in zip((ours.visual, ours.text, ours.masks), theirs, strict=True):
        np.testing.assert_allclose(mine, torch.stack(other).numpy(), atol=1e-4)
    times = alternate(
        {"vidmem": lambda: merge(tokens, config, frame_width=512, frame_height=512), "plain": run_plain}, rounds
    )
    return {"tokens": TOKENS, "groups": len(ours), "equal": True, **compared(times)}


def bench_track(frames: int, before: int) -> dict[str, Any]:
    """Track 380 regions over frames in which 2 % are new, with `before` tracks made before.

    5,000 are two minutes of such video at 5 frames a second.
    """
    import numpy as np
    import torch

    from benchmarks import plain
    from vidmem.config import TrackConfig
    from vidmem.indexer.track import Tracker

    rng = np.random.default_rng(2)
    base = frame_tokens(2, GROUPS, GROUPS)
    tracker, other = Tracker(TrackConfig(max_gap=0)), plain.PlainTracker(0.65)
    times: dict[str, list[float]] = {"vidmem": [], "plain": []}
    pairs = []
    first = before // GROUPS
    for frame in range(first + frames + 1):
        if frame < first:
            base.visual[:] = 20 * rng.standard_normal(base.visual.shape, dtype=np.float32) / WIDTH**0.5
        elif frame == first:
            base = frame_tokens(2, GROUPS, GROUPS)
        fresh = rng.random(GROUPS) < 0.02
        base.visual[fresh] = 20 * rng.standard_normal((int(fresh.sum()), WIDTH)) / WIDTH**0.5
        tokens = base.take(rng.permutation(GROUPS))
        tokens.visual[:] += 20 * 0.3 * rng.standard_normal(tokens.visual.shape, dtype=np.float32) / WIDTH**0.5
        visual, text = list(torch.from_numpy(tokens.visual)), list(torch.from_numpy(tokens.text))
        begin = time.perf_counter()
        mine = tracker.update(frame, tokens)
        middle = time.perf_counter()
        theirs = other.update(frame, visual, text)
        end = time.perf_counter()
        if mine.tolist() != theirs:
            raise AssertionError(f"frame {frame}: the two trackers disagree")
        if frame > first:  # the frames up to it only start tracks
            times["vidmem"].append((middle - begin) * 1e3)
            times["plain"].append((end - middle) * 1e3)
            unit = tokens.visual / np.linalg.norm(tokens.visual, axis=1, keepdims=True)
            pairs.append(float((unit @ unit.T >= 0.65).mean()))
    for track, plain_track in zip(tracker.drain(), other.tracks, strict=True):
        np.testing.assert_allclose(track.visual, plain_track.visual.numpy(), atol=1e-3)
    share = statistics.mean(pairs)
    return {
        "regions_per_frame": GROUPS,
        "frames": frames,
        "tracks": tracker.born,
        "share_of_pairs_over_tau": share,
        "equal": True,
        **compared(times),
    }


def bench_flat(tracks: int) -> dict[str, Any]:
    """Time per frame of 380 new regions each, at 1,000 and at `tracks` tracks; the plain version to a tenth of them."""
    import numpy as np
    import torch

    from benchmarks import plain
    from vidmem.config import TrackConfig
    from vidmem.indexer.track import Tracker

    rng = np.random.default_rng(3)
    base = frame_tokens(3, GROUPS, GROUPS)
    # A few frames of random tokens in turn: cosines of random 1024-d tokens are about 0, so all start tracks.
    frames = []
    for _ in range(8):
        tokens = base.take(np.arange(GROUPS))
        tokens.visual[:] = rng.standard_normal(tokens.visual.shape, dtype=np.float32)
        frames.append(tokens)
    config, late = TrackConfig(max_gap=0), tracks // GROUPS
    tracker, young = Tracker(config), b""
    for frame in range(late):
        if frame == 1000 // GROUPS:
            young = tracker.state()
        tracker.update(frame, frames[frame % 8])
        if frame % 50 == 49:
            tracker.drain()
    # By turns, so that whatever else the machine does falls on both alike; the young one is set back each time.
    times: dict[str, list[float]] = {"early": [], "late": []}
    for turn in range(40):
        pair = {"early": Tracker.restore(young, config), "late": tracker}
        for name in sorted(pair, reverse=bool(turn % 2)):
            tokens = frames[(late + turn) % 8]
            pair[name].update(late + 2 * turn, frames[(late + turn + 4) % 8])  # a warm-up, so that caches are alike
            begin = time.perf_counter()
            pair[name].update(late + 2 * turn + 1, tokens)
            times[name].append((time.perf_counter() - begin) * 1e3)
        tracker.drain()
    other, plain_times = plain.PlainTracker(0.65), []
    lists = [(list(torch.from_numpy(each.visual)), list(torch.from_numpy(each.text))) for each in frames]
    for frame in range(late // 10 + 1):
        begin = time.perf_counter()
        other.update(frame, *lists[frame % 8])
        plain_times.append((time.perf_counter() - begin) * 1e3)

    def around(values: list[float], at: int, frames: int) -> float:
        low = max(1, min(at, len(values) - frames))
        return statistics.median(values[low : low + frames])

    first, last = statistics.median(times["early"]), statistics.median(times["late"])
    # Few frames: the plain way slows down while it is watched.
    plain_first, plain_last = around(plain_times, 1000 // GROUPS, 3), around(plain_times, late // 10, 3)
    return {
        "regions_per_frame": GROUPS,
        "tracks": [1000, tracker.born],
        "vidmem_ms": [first, last],
        "ratio": last / first,
        "plain_tracks": [1000, len(other.tracks)],
        "plain_ms": [plain_first, plain_last],
        "plain_ratio": plain_last / plain_first,
        "state_bytes": len(tracker.state()),
        "note": "medians of 40 frames by turns; the plain version of 3, and at a tenth of the tracks, for time",
    }


def report(result: dict[str, Any]) -> None:
    merge, track, start, flat = (result[name] for name in ("merge", "track", "track_at_start", "flat"))
    print(f"{'':34}{'vidmem':>10}{'plain':>10}{'authors':>10}{'ratio':>8}{'wanted':>9}")
    for name, row, key in (
        (f"merge {merge['tokens']} -> {merge['groups']}, ms", merge, "merge"),
        (f"track {track['regions_per_frame']} per frame, ms", track, "track"),
    ):
        print(
            f"{name:34}{row['vidmem_ms']:10.1f}{row['plain_ms']:10.1f}{AUTHORS[key + '_ms']:10.0f}"
            f"{row['ratio']:8.1f}{'>= ' + format(TARGETS[key], 'g'):>9}"
        )
    name = "  the same at the start, ms"
    print(f"{name:34}{start['vidmem_ms']:10.1f}{start['plain_ms']:10.1f}{'':10}{start['ratio']:8.1f}")
    name = f"track at {flat['tracks'][0]} tracks, ms"
    print(f"{name:34}{flat['vidmem_ms'][0]:10.1f}{flat['plain_ms'][0]:10.1f}")
    name = f"track at {flat['tracks'][1]} tracks, ms"
    print(f"{name:34}{flat['vidmem_ms'][1]:10.1f}{'':20}{flat['ratio']:8.2f}{'<= 1.2':>9}")
    name = f"track at {flat['plain_tracks'][1]} tracks, ms"
    print(f"{name:34}{'':10}{flat['plain_ms'][1]:10.1f}{'':10}{flat['plain_ratio']:8.2f}")


if __name__ == "__main__":
    sys.exit(main())
