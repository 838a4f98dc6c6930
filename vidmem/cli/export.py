"""`vidmem export`: what a memory or annotations hold, as data for training others."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from ..errors import MediaError, UsageError
from ..timecode import parse_time
from . import completing
from .options import EncoderOption, MemoryOption, WeightsOption
from .output import Listing, Row, Show, listing, warn

if TYPE_CHECKING:
    from ..export.instruct import Ask, Style
    from ..export.labelled_images import LabelledImage
    from ..export.textmask import Form

FORMATS = ("text4seg",)
FORMS = ("strict", "legacy")


@listing
def export(
    out: Annotated[str, typer.Option("--out", metavar="FOLDER", help="For data.jsonl and, from a memory, pictures.")],
    format_: Annotated[str, typer.Option("--format", metavar="text4seg", help="Masks as text.")] = "text4seg",
    style: Annotated[
        str, typer.Option("--style", metavar="internvl|llava|qwen", help="How records name their picture.")
    ] = "internvl",
    source: Annotated[
        list[str] | None,
        typer.Option(
            "--source",
            metavar="SOURCE",
            help="A video in the memory; may be given again. By default all.",
            autocompletion=completing.source,
        ),
    ] = None,
    coco: Annotated[
        str | None, typer.Option("--coco", metavar="FILE[@IMAGES]", help="From COCO annotations instead of a memory.")
    ] = None,
    vspw: Annotated[
        str | None, typer.Option("--vspw", metavar="FOLDER", help="From VSPW's folders instead of a memory.")
    ] = None,
    split: Annotated[str | None, typer.Option("--split", metavar="NAME", help="Of VSPW: only this split.")] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            "--labels",
            metavar="FILE|vspw|ade20k|coco",
            help="Names for the regions of a memory; VSPW's classes if they are others.",
            autocompletion=completing.one_of("vspw", "ade20k", "coco"),
        ),
    ] = None,
    everything: Annotated[
        bool,
        typer.Option(
            "--all",
            help="From a memory: give every region the label that it is most like, though none is probably meant.",
        ),
    ] = False,
    ask: Annotated[
        str, typer.Option("--ask", metavar="all|each", help="One question about all labels, or one about each.")
    ] = "all",
    absent: Annotated[
        int,
        typer.Option(
            "--absent", metavar="N", min=0, max=100, help="Ask for so many things that are not there, per picture."
        ),
    ] = 0,
    every: Annotated[str, typer.Option("--every", metavar="TIME", help="From a memory: a picture so often.")] = "1s",
    refine: Annotated[
        str | None,
        typer.Option(
            "--refine",
            metavar="sam2[:SIZE]",
            help="From a memory: draw borders anew with SAM2, spelled as for --masks of index.",
        ),
    ] = None,
    instances: Annotated[bool, typer.Option("--instances", help="Of COCO: number things of one name.")] = False,
    grid: Annotated[int, typer.Option("--grid", metavar="N", min=1, max=256, help="Cells a side: 16, 24, 32.")] = 16,
    form: Annotated[
        str,
        typer.Option("--form", metavar="strict|legacy", help="strict holds every label; legacy is the paper's text."),
    ] = "strict",
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Another seed words questions otherwise.")] = 0,
    memory: MemoryOption = None,
    encoder: EncoderOption = None,
    weights: WeightsOption = None,
    *,
    show: Show,
) -> int:
    """Write instruction data: pictures, questions, and answers with masks as text.

    From the videos of a memory, with regions named by --labels, or from annotations.
    """
    from ..export.instruct import records

    for name, value, known in (("--format", format_, FORMATS), ("--form", form, FORMS)):
        if value not in known:
            raise UsageError(f"{name} is {' or '.join(known)}; got {value}")
    if (coco is not None) + (vspw is not None) + bool(source) > 1:
        raise UsageError("--coco, --vspw and --source are three places to take pictures from; give one of them")
    if everything and (coco is not None or vspw is not None):
        raise UsageError("--all is for the regions of a memory; annotations have their labels")
    if refine is not None and (coco is not None or vspw is not None):
        raise UsageError("--refine is for the regions of a memory; annotations have their borders")
    gone: list[str] = []
    pictures, names = _pictures(
        coco,
        vspw,
        split,
        source,
        labels,
        every,
        instances,
        (grid, grid),
        Path(out),
        memory,
        encoder,
        weights,
        gone,
        refine,
        everything,
    )
    # The first one before anything is written: most mistakes show there.
    first = next(pictures, None)
    if first is None:
        more = "" if everything or coco or vspw else "; --all labels what is not probably meant, too"
        raise MediaError(f"there is no picture with a mask to write about; index a video or give annotations{more}")
    import random

    path, part = Path(out) / "data.jsonl", Path(out) / "data.jsonl.part"
    count = lines = 0
    try:
        Path(out).mkdir(parents=True, exist_ok=True)
        with open(part, "w", encoding="utf-8") as file:
            for item in chain([first], pictures):
                there = {label.name for label in item.mask.labels}
                missing = [name for name in names if name not in there]
                chosen = random.Random(f"{seed} {item.path} absent").sample(missing, min(absent, len(missing)))
                made: list[dict[str, Any]] = records(
                    item.mask,
                    item.path,
                    style=cast("Style", style),
                    ask=cast("Ask", ask),
                    absent=chosen,
                    form=cast("Form", form),
                    seed=seed,
                )
                for record in made:
                    file.write(json.dumps(record, ensure_ascii=False) + "\n")
                lines += len(made)
                count += 1
        os.replace(part, path)
    except OSError as error:
        raise MediaError(f"the data cannot be written ({error.strerror or error}); check the folder: {out}") from None
    finally:
        part.unlink(missing_ok=True)
    row: Row = {"data": str(path), "pictures": count, "records": lines}
    show(Listing([row], [("data", "pictures", "records"), (str(path), str(count), str(lines))], row))
    return 3 if gone else 0


def _pictures(
    coco: str | None,
    vspw: str | None,
    split: str | None,
    source: list[str] | None,
    labels: str | None,
    every: str,
    instances: bool,
    grid: tuple[int, int],
    out: Path,
    memory: str | None,
    encoder: str | None,
    weights: str | None,
    gone: list[str],
    refine: str | None,
    everything: bool,
) -> tuple[Iterator[LabelledImage], tuple[str, ...]]:
    """The pictures, and all names there are. gone: takes the files that are no longer there."""
    from ..export.labelled_images import from_coco, from_vspw
    from ..query.labels import load_labels

    if coco is not None:
        from ..export.coco import Coco, require_pycocotools

        require_pycocotools()
        file, _, images = coco.partition("@")
        folder = Path(images) if images else None
        return from_coco(Path(file), folder, grid, instances), Coco(Path(file), folder).names
    if vspw is not None:
        known = load_labels(labels or "vspw")
        return from_vspw(Path(vspw), split, known, grid), known.names
    if labels is None:
        raise UsageError("what are regions to be called? give --labels FILE, vspw, ade20k or coco")
    every_ns = parse_time(every)
    found = _from_memory(memory, encoder, weights, source, labels, every_ns, grid, out, gone, refine, everything)
    return found, load_labels(labels).names


def _from_memory(
    memory: str | None,
    encoder: str | None,
    weights: str | None,
    source: list[str] | None,
    labels: str,
    every_ns: int,
    grid: tuple[int, int],
    out: Path,
    gone: list[str],
    refine: str | None,
    everything: bool,
) -> Iterator[LabelledImage]:
    from ..export.labelled_images import from_photos, from_video
    from ..memory import Memory

    predictor = None
    if refine is not None:
        from ..encoders.masks.sam_predictor import load_predictor

        predictor = load_predictor(refine, weights=weights)
    with Memory.open(memory, encoder=encoder, weights=weights, read_only=True) as m:
        rows = [row for name in source or () for row in m.store.parts(name)] or m.sources()
        for row in rows:
            if not row.address.exists():
                warn(f"left out, the video is no longer there: {row.uri}")
                gone.append(row.uri)
                continue
            parsed = m.parse(row.uri, labels, meant=not everything, pictures=True)
            if not row.kind.single_pictures:
                yield from from_video(m.store, parsed, out / "images", every_ns, grid, predictor)
                continue
            missing: list[str] = []
            yield from from_photos(m.store, parsed, grid, missing, predictor)
            if missing:
                more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
                warn(f"left out, no longer there: {missing[0]}{more}")
                gone += missing
