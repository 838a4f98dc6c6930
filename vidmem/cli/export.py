"""`vidmem export`: write instruction data from a memory or from annotations."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from ..errors import MediaError, UsageError
from ..export.instruct import records
from ..memory import Memory
from ..query.labels import load_labels
from ..timecode import parse_time
from .messages import warn
from .options import EncoderOption, MemoryOption, WeightsOption, labels_option, source_option
from .output import Listing, Row, Show, listing
from .saving import cannot_write

if TYPE_CHECKING:
    from ..export.instruct import Ask, Style
    from ..export.labelled_images import LabelledImage
    from ..export.textmask import Form

FORMATS = ("text4seg",)
FORMS = ("strict", "legacy")


@dataclass(frozen=True, slots=True)
class Input:
    """Where pictures come from: options of the command by the same names. missing: files that were not there."""

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


@listing
def export(
    out: Annotated[
        str, typer.Option("--out", metavar="FOLDER", help="Folder for data.jsonl and, from a memory, pictures.")
    ],
    format_: Annotated[
        str, typer.Option("--format", metavar="text4seg", help="Format of the answers: masks as text.")
    ] = "text4seg",
    style: Annotated[
        str, typer.Option("--style", metavar="internvl|llava|qwen", help="How a record refers to its picture.")
    ] = "internvl",
    source: Annotated[
        list[str] | None,
        source_option("A source in the memory. Default: all. Repeatable."),
    ] = None,
    coco: Annotated[
        str | None,
        typer.Option("--coco", metavar="FILE[@IMAGES]", help="Read COCO annotations instead of a memory."),
    ] = None,
    vspw: Annotated[
        str | None, typer.Option("--vspw", metavar="FOLDER", help="Read VSPW's folders instead of a memory.")
    ] = None,
    split: Annotated[
        str | None, typer.Option("--split", metavar="NAME", help="With --vspw: only videos of this split.")
    ] = None,
    labels: Annotated[
        str | None,
        labels_option(
            "Labels for the regions of a memory; with --vspw the names of its classes, if not the standard ones."
        ),
    ] = None,
    everything: Annotated[
        bool,
        typer.Option("--all", help="From a memory: give every region its most similar label, even an improbable one."),
    ] = False,
    ask: Annotated[
        str, typer.Option("--ask", metavar="all|each", help="One question about all labels, or one about each.")
    ] = "all",
    absent: Annotated[
        int,
        typer.Option(
            "--absent", metavar="N", min=0, max=100, help="Also ask for N labels per picture that are not in it."
        ),
    ] = 0,
    every: Annotated[
        str, typer.Option("--every", metavar="TIME", help="From a memory: time between pictures of a video.")
    ] = "1s",
    refine: Annotated[
        str | None,
        typer.Option(
            "--refine",
            metavar="sam2[:SIZE]",
            help="From a memory: refine the masks with SAM2. SIZE is as for --masks of `vidmem index`.",
        ),
    ] = None,
    instances: Annotated[
        bool, typer.Option("--instances", help="With --coco: number the instances of a label.")
    ] = False,
    grid: Annotated[
        int, typer.Option("--grid", metavar="N", min=1, max=256, help="Cells on each side of a mask.")
    ] = 16,
    form: Annotated[
        str,
        typer.Option(
            "--form", metavar="strict|legacy", help="strict can write every label; legacy is the text of the paper."
        ),
    ] = "strict",
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Seed for the wording of questions.")] = 0,
    memory: MemoryOption = None,
    encoder: EncoderOption = None,
    weights: WeightsOption = None,
    *,
    show: Show,
) -> int:
    """Write instruction data for models that segment.

    Each record is a picture, a question, and an answer with masks as text. Pictures come from a memory, whose regions
    are named by --labels, or from annotations. The exit code is 3 if some pictures are missing.

    \b
    Examples:
      vidmem export --out data/ --labels coco --style llava
      vidmem export --out data/ --coco instances.json@images/ --ask each
      vidmem export --out data/ --vspw VSPW/ --split train --grid 24
    """
    for name, value, known in (("--format", format_, FORMATS), ("--form", form, FORMS)):
        if value not in known:
            raise UsageError(f"{name} is {' or '.join(known)}; got {value}")
    if (coco is not None) + (vspw is not None) + bool(source) > 1:
        raise UsageError("--coco, --vspw and --source are three places to take pictures from; give one of them")
    if everything and (coco is not None or vspw is not None):
        raise UsageError("--all is for the regions of a memory; annotations have their own labels")
    if refine is not None and (coco is not None or vspw is not None):
        raise UsageError("--refine is for the regions of a memory; annotations have their own masks")
    given = Input(
        coco=coco,
        vspw=vspw,
        split=split,
        source=source,
        labels=labels,
        everything=everything,
        every=every,
        refine=refine,
        instances=instances,
        grid=(grid, grid),
        images=Path(out) / "images",
        memory=memory,
        encoder=encoder,
        weights=weights,
    )
    pictures, names = _open(given)
    first = next(pictures, None)  # most mistakes show here, before anything is written
    if first is None:
        hint = "" if everything or coco or vspw else "; --all also uses improbable labels"
        raise MediaError(f"there is no picture with a mask; index a video or give annotations{hint}")
    path, part = Path(out) / "data.jsonl", Path(out) / "data.jsonl.part"
    picture_count = record_count = 0
    try:
        Path(out).mkdir(parents=True, exist_ok=True)
        with open(part, "w", encoding="utf-8") as file:
            for item in chain([first], pictures):
                present = {label.name for label in item.mask.labels}
                others = [name for name in names if name not in present]
                made: list[dict[str, Any]] = records(
                    item.mask,
                    item.path,
                    style=cast("Style", style),  # `records` checks both
                    ask=cast("Ask", ask),
                    absent=random.Random(f"{seed} {item.path} absent").sample(others, min(absent, len(others))),
                    form=cast("Form", form),  # checked above
                    seed=seed,
                )
                file.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in made)
                record_count += len(made)
                picture_count += 1
        os.replace(part, path)
    except OSError as error:
        raise cannot_write("the data", error, out) from None
    finally:
        part.unlink(missing_ok=True)
    row: Row = {"data": str(path), "pictures": picture_count, "records": record_count}
    table = [("data", "pictures", "records"), (str(path), str(picture_count), str(record_count))]
    show(Listing([row], table, row))
    return 3 if given.missing else 0


def _open(given: Input) -> tuple[Iterator[LabelledImage], tuple[str, ...]]:
    """The pictures, read lazily, and all label names."""
    from ..export.labelled_images import from_coco, from_vspw  # imports PyAV

    if given.coco is not None:
        from ..export.coco import Coco, require_pycocotools  # needs the extra `coco`

        require_pycocotools()
        file, _, images = given.coco.partition("@")
        folder = Path(images) if images else None
        return from_coco(Path(file), folder, given.grid, given.instances), Coco(Path(file), folder).names
    if given.vspw is not None:
        known = load_labels(given.labels or "vspw")
        return from_vspw(Path(given.vspw), given.split, known, given.grid), known.names
    if given.labels is None:
        raise UsageError("regions of a memory need labels; give --labels FILE, vspw, ade20k or coco")
    parse_time(given.every)  # fails before anything is read
    return _from_memory(given, given.labels), load_labels(given.labels).names


def _from_memory(given: Input, labels: str) -> Iterator[LabelledImage]:
    from ..export.labelled_images import from_photos, from_video  # imports PyAV

    predictor = None
    if given.refine is not None:
        from ..encoders.masks.sam_predictor import load_predictor  # imports torch

        predictor = load_predictor(given.refine, weights=given.weights)
    with Memory.open(given.memory, encoder=given.encoder, weights=given.weights, read_only=True) as m:
        rows = [row for name in given.source or () for row in m.store.parts(name)] or m.sources()
        for row in rows:
            if not row.address.exists():
                warn(f"left out, the video is no longer there: {row.uri}")
                given.missing.append(row.uri)
                continue
            parsed = m.parse(row.uri, labels, meant=not given.everything, pictures=True)
            if not row.kind.single_pictures:
                every_ns = parse_time(given.every)
                yield from from_video(m.store, parsed, given.images, every_ns, given.grid, predictor)
                continue
            missing: list[str] = []
            yield from from_photos(m.store, parsed, given.grid, missing, predictor)
            if missing:
                others = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
                warn(f"left out, no longer there: {missing[0]}{others}")
                given.missing.extend(missing)
