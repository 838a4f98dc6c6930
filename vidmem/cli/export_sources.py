"""Where `vidmem export` takes its pictures from: a memory, COCO, or VSPW."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..memory import Memory
from ..query.labels import load_labels
from ..timecode import parse_time
from .messages import warn

if TYPE_CHECKING:
    from ..export.labelled_images import LabelledImage
    from ..export.refine import ImagePredictor
    from ..query.parse import Parse


EVERY = "1s"
"""Time between pictures of a video, if none is given."""


@dataclass(frozen=True, slots=True)
class Input:
    """Where pictures come from: options of the command by the same names. missing: what was left out, in words."""

    coco: str | None
    vspw: str | None
    split: str | None
    source: list[str] | None
    labels: str | None
    everything: bool
    every: str
    refine: str | None
    instances: bool
    grid: tuple[int, int]
    images: Path
    memory: str | None
    encoder: str | None
    weights: str | None
    missing: list[str] = field(default_factory=list)

    def leave_out(self, what: str) -> None:
        """Warn of something that is left out; the exit code is 3 then."""
        warn(f"left out, {what}")
        self.missing.append(what)


def place(text: str) -> tuple[Path, Path | None]:
    """The two parts of FILE@IMAGES; the second is None when it is not given."""
    first, _, second = text.partition("@")
    return Path(first), Path(second) if second else None


def check_used(given: Input, *, memory: bool, named: bool, refcoco: bool) -> None:
    """Raise UsageError for an option that no source uses.

    Args:
        given: The sources and their options.
        memory: Pictures of a memory are a source.
        named: A source has label pictures, whose labels need names.
        refcoco: Expressions are a source.
    """
    checks = (
        ("--refine", given.refine is not None, memory, "the regions of a memory"),
        ("--all", given.everything, memory, "the regions of a memory"),
        ("--every", given.every != EVERY, memory, "videos of a memory"),
        ("--instances", given.instances, given.coco is not None, "things of --coco"),
        ("--labels", given.labels is not None, memory or named, "a memory, --vspw and --label-images"),
        ("--split", given.split is not None, given.vspw is not None or refcoco, "--vspw and --refcoco"),
    )
    for name, wanted, used, what in checks:
        if wanted and not used:
            raise UsageError(f"{name} is for {what}, which no source here has; leave it out")


def memory_labels(labels: str | None) -> str:
    """The labels for a memory. Raises UsageError without any."""
    if labels is None:
        raise UsageError("regions of a memory need labels; give --labels FILE, vspw, ade20k or coco")
    return labels


def open_pictures(given: Input) -> tuple[Iterator[LabelledImage], tuple[str, ...]]:
    """The pictures, read lazily, and all label names."""
    from ..export.labelled_images import from_coco, from_vspw  # imports PyAV

    if given.coco is not None:
        from ..export.coco import Coco, require_pycocotools  # needs the extra `coco`

        require_pycocotools()
        file, folder = place(given.coco)
        return from_coco(file, folder, given.grid, given.instances), Coco(file, folder).names
    if given.vspw is not None:
        known = load_labels(given.labels or "vspw")
        return from_vspw(Path(given.vspw), given.split, known, given.grid), known.names
    labels = memory_labels(given.labels)
    parse_time(given.every)  # fails before anything is read
    return _from_memory(given, labels), load_labels(labels).names


def parsed_sources(given: Input, labels: str) -> Iterator[tuple[Memory, Parse, ImagePredictor | None]]:
    """The sources of the memory whose files are there, ready to be labelled, and what refines their masks."""
    predictor = None
    if given.refine is not None:
        from ..encoders.masks.sam_predictor import load_predictor  # imports torch

        predictor = load_predictor(given.refine, weights=given.weights)
    with Memory.open(given.memory, encoder=given.encoder, weights=given.weights, read_only=True) as m:
        for row in [row for name in given.source or () for row in m.store.parts(name)] or m.sources():
            if not row.address.exists():
                given.leave_out(f"the video is no longer there: {row.uri}")
                continue
            yield m, m.parse(row.uri, labels, meant=not given.everything, pictures=True), predictor


def _from_memory(given: Input, labels: str) -> Iterator[LabelledImage]:
    from ..export.labelled_images import from_photos, from_video  # imports PyAV

    for memory, parsed, predictor in parsed_sources(given, labels):
        if not parsed.source.kind.single_pictures:
            every_ns = parse_time(given.every)
            yield from from_video(memory.store, parsed, given.images, every_ns, given.grid, predictor)
            continue
        missing: list[str] = []
        yield from from_photos(memory.store, parsed, given.grid, missing, predictor)
        if missing:
            others = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            warn(f"left out, no longer there: {missing[0]}{others}")
            given.missing.extend(missing)
