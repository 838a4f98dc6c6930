"""Shared parts of the benchmarks: overlaps, facts about the machine, JSON, tables, plots."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from vidmem import Memory
    from vidmem.store.rows import ModelRecord

ROOT = Path(__file__).resolve().parents[1]
"""The clone."""
CLIPS = ROOT.parent / "shared" / "data" / "clips"
"""Real videos, where there are some beside the clone."""
OUT = ROOT / "benchmarks" / "out"
"""Where generated worlds, memories and pictures are kept; ignored by git."""

Span = tuple[float, float]
Box = tuple[float, float, float, float]


def parser_for(doc: str | None, beside: str = "") -> argparse.ArgumentParser:
    """A parser with the option --out.

    Args:
        doc: Docstring of the module.
        beside: What the help of --out says of further files.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    out = "the JSON file to write" + ("; " + beside if beside else "")
    parser.add_argument("--out", type=Path, required=True, help=out)
    return parser


def tiou(a: Span, b: Span) -> float:
    """Temporal intersection over union of two spans (start, end) in one unit; 1 for two equal instants."""
    overlap = min(a[1], b[1]) - max(a[0], b[0])
    if overlap < 0:
        return 0.0
    union = max(a[1], b[1]) - min(a[0], b[0])
    return float(overlap / union) if union > 0 else 1.0


def box_iou(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union of two boxes x0, y0, x1, y1; 0 if either is empty."""
    inter = max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter
    return float(inter / union) if union > 0 else 0.0


def parse_range(text: str) -> range:
    """Parse "9000:9020" as a range, and "9000" as a range of one. Raises argparse.ArgumentTypeError."""
    first, colon, last = text.partition(":")
    if not first.isdigit() or (colon and not last.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is not A:B, such as 9000:9020")
    return range(int(first), int(last) if colon else int(first) + 1)


def mean(values: Iterable[float]) -> float | None:
    """Return the mean, or None for no values."""
    held = list(values)
    return sum(held) / len(held) if held else None


def quantile(values: Sequence[float], q: float) -> float:
    """Return the quantile q of the values, with linear interpolation."""
    held = sorted(values)
    at = (len(held) - 1) * q
    low = int(at)
    high = min(low + 1, len(held) - 1)
    return held[low] + (held[high] - held[low]) * (at - low)


def wilson(right: int, total: int, z: float = 1.96) -> tuple[float, float] | None:
    """Return the 95 % Wilson interval of a rate, or None if total is 0."""
    if not total:
        return None
    p = right / total
    scale = 1 + z * z / total
    middle = (p + z * z / (2 * total)) / scale
    half = z * (p * (1 - p) / total + z * z / (4 * total * total)) ** 0.5 / scale
    return max(0.0, middle - half), min(1.0, middle + half)


def machine() -> dict[str, Any]:
    """Describe the machine. Imports no large library: versions come from the installed packages."""
    from importlib.metadata import PackageNotFoundError, version

    cpu = platform.processor() or platform.machine()
    memory = None
    with suppress(OSError, IndexError):
        cpu = re.findall(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())[0]
        memory = int(re.findall(r"MemTotal:\s+(\d+) kB", Path("/proc/meminfo").read_text())[0]) * 1024
    versions = {}
    for name in ("vidmem", "numpy", "torch", "av", "faiss-cpu", "pillow"):
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "memory_bytes": memory,
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": versions,
        "load_before": os.getloadavg(),
        "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def model() -> dict[str, Any]:
    """Describe the weights that the figures were measured with."""
    from vidmem.encoders import load_text

    info = load_text().info
    from dataclasses import asdict

    return {"encoder": info.name, "weights": info.weights, "calibration": asdict(info.calibration)}


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Write the result in one step, so that an interrupted run leaves no partial file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(data, indent=2) + "\n", "utf-8")
    part.replace(path)


def skip(path: Path, result: dict[str, Any], why: str) -> int:
    """Report missing data, also in the JSON; return the exit code."""
    write_json(path, result | {"skipped": why})
    print(f"skipped: {why}")
    return 0


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Format a table: first column left-aligned, others right-aligned; None is a dash."""
    cells = [list(head), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    return "\n".join(
        "  ".join(
            c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    )


def markdown(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Format a table in Markdown, with the cells of `table`."""
    cells = [list(head), *([_cell(value) for value in row] for row in rows)]
    lines = ["| " + " | ".join(row) + " |" for row in cells]
    return "\n".join([lines[0], "|" + "---|" * len(head), *lines[1:]])


def put_into(page: Path, name: str, text: str) -> None:
    """Replace what stands between `<!-- NAME -->` and `<!-- end of NAME -->` in a page.

    Raises:
        ValueError: The page has no such marks.
    """
    first, last = f"<!-- {name} -->", f"<!-- end of {name} -->"
    whole = page.read_text("utf-8")
    if first not in whole or last not in whole:
        raise ValueError(f"no {first} and {last} in {page}")
    head, rest = whole.split(first, 1)
    page.write_text(f"{head}{first}\n\n{text.strip()}\n\n{last}{rest.split(last, 1)[1]}", "utf-8")


def measured_on(machine: dict[str, Any]) -> str:
    """One line of the documentation: when and on what."""
    versions = ", ".join(f"{name} {machine['versions'][name]}" for name in ("faiss-cpu", "numpy"))
    where = f"{machine['date'][:10]} on {machine['cores']} cores of {machine['cpu']}"
    return f"Measured on {where} with {versions}; load before the run {machine['load_before'][0]:.1f}."


def slope(points: Sequence[tuple[float, float]]) -> float:
    """The slope of a line through log y over log x, by least squares: 1 is linear growth, 0 none."""
    from math import log

    xs, ys = [log(x) for x, _ in points], [log(y) for _, y in points]
    x0, y0 = sum(xs) / len(xs), sum(ys) / len(ys)
    return sum((x - x0) * (y - y0) for x, y in zip(xs, ys, strict=True)) / sum((x - x0) ** 2 for x in xs)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "NO"
    return (
        f"{value:.3g}"
        if isinstance(value, float) and abs(value) < 1000
        else (f"{value:,.0f}" if isinstance(value, float) else str(value))
    )


def say(text: str) -> None:
    """Print progress to stderr at once."""
    print(text, file=sys.stderr, flush=True)


def plot_bars(
    path: Path, title: str, bars: Sequence[tuple[str, float, tuple[float, float] | None, float | None, bool]]
) -> None:
    """Save rates as bars in a PNG. A bar is (label, rate, interval, wanted rate, True if that is a maximum)."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(1.2 * len(bars) + 2, 4.2), layout="constrained")
    for i, (_, rate, interval, wanted, ceiling) in enumerate(bars):
        good = wanted is None or (rate <= wanted if ceiling else rate >= wanted)
        axes.bar(i, rate, color="#3d6a9e" if good else "#c8553d", width=0.62)
        if interval:
            low, high = interval
            axes.errorbar(i, rate, [[max(0, rate - low)], [max(0, high - rate)]], color="#222", capsize=4, linewidth=1)
        if wanted is not None:
            axes.plot([i - 0.4, i + 0.4], [wanted, wanted], color="#222", linestyle="--", linewidth=1.4)
        axes.text(i - 0.29, rate + 0.01, f"{rate:.2f}", ha="left", va="bottom", fontsize=9)
    axes.set_xticks(range(len(bars)), [label for label, *_ in bars])
    axes.set_ylim(0, 1.05)
    axes.set_title(title, fontsize=10)
    axes.set_xlabel("dashed: wanted (at least; for false finds, at most); bars: 95 % interval", fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def blank_memory(folder: Path) -> tuple[Memory, ModelRecord] | None:
    """Open a new memory of the current model in `folder`, for synthetic rows; return it with the record of the model.

    None if a file `complete` in the folder says that it is finished. The rest of an interrupted run is deleted.
    """
    from vidmem import Memory
    from vidmem.config import IndexConfig

    if (folder / "complete").exists():
        return None
    shutil.rmtree(folder, ignore_errors=True)
    memory = Memory.open(folder)
    record = memory.model_record(IndexConfig().as_dict())
    memory.store.set_model(record)
    return memory, record


def timing_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `timed`, and the number of rounds."""
    parser.add_argument("--threads", type=int, default=2, help="torch threads of both (2)")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each version; the median counts (7)")
    parser.add_argument(
        "--cpu-time", action="store_true", help="count the process's CPU time: for a busy machine, with --threads 1"
    )


def timed(args: argparse.Namespace, **more: Any) -> tuple[Callable[[], float], dict[str, Any]]:
    """Return the clock for `--cpu-time` or wall time, and the head of the result. Sets the threads of torch to
    `--threads`.
    """
    import torch

    torch.set_num_threads(args.threads)
    clock = time.process_time if args.cpu_time else time.perf_counter
    return clock, {"machine": machine(), "threads": args.threads, "clock": clock.__name__, **more}


def memory_place(cache: Path, *parts: str) -> Path:
    """Return the folder for a memory of the current weights and default settings; other weights get another folder."""
    import hashlib

    from vidmem.config import preset
    from vidmem.encoders import DEFAULT, find, load_text

    made = f"{load_text().info.weights} {load_text().info.regions} {preset(find(DEFAULT).preset).as_dict()}"
    return cache.joinpath("memories", hashlib.sha256(made.encode()).hexdigest()[:10], *parts)


@contextmanager
def replaced(*changes: tuple[Any, str, Any]) -> Iterator[None]:
    """Replace attributes within a context."""
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in changes]
    try:
        for owner, name, value in changes:
            setattr(owner, name, value)
        yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)


@dataclass(frozen=True, slots=True, eq=False)
class Described:
    """The regions of one picture, as the package finds them.

    Attributes:
        boxes: `(n, 4)` float64, pixels of the picture.
        visual: `(n, Dv)` float32 tokens, as a memory stores them.
        text: `(n, Dt)` float32 tokens.
    """

    boxes: NDArray[np.float64]
    visual: NDArray[np.float32]
    text: NDArray[np.float32]


def described(
    pictures: Iterable[Image.Image], encoder: str = "tiny", device: str | None = None, *, at_once: int = 400
) -> Iterator[Described]:
    """Describe pictures as a memory of single pictures stores them, in their order, with all steps of the encoder.

    They are indexed in a temporary memory, `at_once` at a time.
    """
    left = iter(pictures)
    while some := list(islice(left, at_once)):
        with tempfile.TemporaryDirectory(prefix="vidmem-bench-") as folder:
            yield from _described(some, Path(folder), encoder, device)


def _described(pictures: Sequence[Image.Image], folder: Path, encoder: str, device: str | None) -> list[Described]:
    import numpy as np

    from vidmem import Memory

    files = folder / "pictures"
    files.mkdir()
    for i, picture in enumerate(pictures):
        picture.convert("RGB").save(files / f"{i:06}.png", compress_level=1)
    with Memory.open(folder / "memory", encoder=encoder, device=device) as memory:
        memory.index(files)
        (row,) = memory.store.sources()
        made = memory.store.model()
        assert made is not None
        tracks: dict[int, list[Any]] = {}
        for track in memory.store.source_tracks(row.id):
            tracks.setdefault(track.start_ns, []).append(track)
        at = {file.path: file.t_ns for file in memory.store.picture_files(row.id)}
    out = []
    for i in range(len(pictures)):  # two files of one content share a place
        t_ns = at[f"{i:06}.png"]
        mine = [] if t_ns is None else tracks.get(t_ns, [])
        out.append(
            Described(
                np.array([t.best_box for t in mine], np.float64).reshape(-1, 4),
                np.array([t.visual for t in mine], np.float32).reshape(-1, made.visual_dim),
                np.array([t.text for t in mine], np.float32).reshape(-1, made.text_dim),
            )
        )
    return out
