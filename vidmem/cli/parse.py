"""`vidmem parse`: a name for every region of every frame of an indexed video."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from ..errors import MediaError, UsageError
from ..timecode import NS, clock
from . import completing
from .asking import say_readings
from .opening import opens
from .options import EncoderOption, MemoryOption, WeightsOption
from .output import Listing, Row, Show, listing, say, warn
from .progress import progress_bar
from .where import PICTURES, check_suffix

if TYPE_CHECKING:
    from ..export.label_files import Writer
    from ..memory import Memory
    from ..query.scenes import Areas, Parse, Way
    from ..store import SourceRow


@listing
@opens("plot", "overlay")
def parse(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="Path or name of a video in the memory.",
            show_default=False,
            autocompletion=completing.source,
        ),
    ],
    labels: Annotated[
        str,
        typer.Option(
            "--labels",
            metavar="FILE|vspw|ade20k|coco",
            help="A name a line, or the classes of a data set.",
            autocompletion=completing.one_of("vspw", "ade20k", "coco"),
        ),
    ],
    way: Annotated[
        str,
        typer.Option(
            "--way",
            metavar="track|vote",
            help="Each region by its track, as T-REN's paper, or all regions of a place by votes, as its code.",
        ),
    ] = "track",
    apart: Annotated[
        bool, typer.Option("--things-apart", help="Compare things with things only, stuff with all.")
    ] = False,
    templates: Annotated[
        bool, typer.Option("--templates", help="Put each label into 80 sentences, as T-REN does: slower, and better.")
    ] = False,
    png: Annotated[str | None, typer.Option("--png", metavar="FOLDER", help="Label pictures, VSPW's layout.")] = None,
    coco: Annotated[str | None, typer.Option("--coco", metavar="FILE", help="COCO's run lengths (.json).")] = None,
    text: Annotated[str | None, typer.Option("--text", metavar="FILE", help="Masks as text, a frame a line.")] = None,
    grid: Annotated[int, typer.Option("--grid", metavar="N", min=1, max=256, help="Cells a side of --text.")] = 16,
    overlay: Annotated[str | None, typer.Option("--overlay", metavar="VIDEO", help="Labels in colour (.mp4).")] = None,
    plot: Annotated[
        str | None,
        typer.Option("--plot", metavar="PICTURE", help="The area of each label over time (.png, .jpg, .webp)."),
    ] = None,
    memory: MemoryOption = None,
    encoder: EncoderOption = None,
    weights: WeightsOption = None,
    *,
    show: Show,
) -> int:
    """Name every region of every frame of a video.

    From its tracks, without looking at the video again. Tells how much of the picture each label has.
    """
    from ..memory import Memory
    from ..query.labels import BUILT_IN
    from ..query.scenes import areas

    check_suffix("--coco", coco, (".json",))
    check_suffix("--overlay", overlay, (".mp4",))
    check_suffix("--plot", plot, PICTURES)
    with Memory.open(memory, encoder=encoder, weights=weights, read_only=True) as m:
        parsed = m.parse(source, labels, way=cast("Way", way), apart=apart, templates=templates)
        say_readings(m.text_encoder, parsed.labels.names, guess=labels in BUILT_IN)
        row, names = parsed.source, parsed.labels.names
        from ..export.label_files import write_all

        writers = _writers(parsed, png, coco, text, grid)
        seen = []
        with progress_bar(row.duration_ns) as advance:
            for scene in write_all(parsed.frames(m.store), writers):
                seen.append((scene.t_ns, scene.shares(len(names))))
                advance(Path(row.uri).name, scene.t_ns)
        found = areas(seen, len(names))
        for path in (png, coco, text):
            if path is not None:
                say(f"saved {path}")
        if overlay is not None:
            _overlay(m, parsed, overlay)
        if plot is not None:
            _plot(found, row, names, plot)
    show(_listing(found, names, parsed.labels.things.tolist()))
    if not seen:
        warn("no frame of it is indexed yet; run `vidmem index` on it")
    return 0 if found.shares.any() else 1


def _writers(parsed: Parse, png: str | None, coco: str | None, text: str | None, grid: int) -> list[Writer]:
    from ..export.label_files import CocoFile, LabelPictures, TextLines

    row, labels = parsed.source, parsed.labels
    out: list[Writer] = []
    if png is not None:
        out.append(LabelPictures(png, row, labels))
    if coco is not None:
        out.append(CocoFile(coco, row, labels))
    if text is not None:
        out.append(TextLines(text, labels, grid))
    return out


def _overlay(memory: Memory, parsed: Parse, path: str) -> None:
    from ..media import open_source, save_frames
    from ..render.overlay import overlay

    if not Path(parsed.source.uri).exists():
        raise MediaError(f"the video is no longer there, put it back to paint on it: {parsed.source.uri}")
    if Path(path).exists() and Path(path).samefile(parsed.source.uri):
        raise UsageError(f"--overlay would overwrite the video itself; give another name: {path}")
    with open_source(parsed.source.uri) as source:
        frames = source.frames(memory.settings().fps)
        save_frames(overlay(frames, parsed.frames(memory.store), parsed.labels), path)
    say(f"saved {path}")


def _plot(areas: Areas, row: SourceRow, names: Sequence[str], path: str) -> None:
    from ..render.area_plot import area_plot

    try:
        area_plot(areas, names, Path(row.uri).name).save(path)
    except OSError as error:
        cause = error.strerror or str(error)
        raise MediaError(f"the picture cannot be written ({cause}); check the folder: {path}") from None
    say(f"saved {path}")


def _listing(areas: Areas, names: Sequence[str], things: Sequence[bool]) -> Listing:
    share = areas.shares.mean(axis=0) if len(areas.t_ns) else [0.0] * len(names)
    rows: list[Row] = []
    for i in sorted(range(len(names)), key=lambda i: -float(share[i])):
        times = areas.t_ns[areas.shares[:, i] > 0].tolist() if len(areas.t_ns) else []
        if not times:
            continue
        rows.append(
            {
                "label": names[i],
                "thing": things[i],
                "share": round(float(share[i]), 6),
                "frames": len(times),
                "first_s": times[0] / NS,
                "last_s": times[-1] / NS,
                "first_ns": str(times[0]),
                "last_ns": str(times[-1]),
            }
        )
    table: list[Sequence[str]] = [("label", "share", "frames", "first", "last")]
    table += [
        (r["label"], f"{r['share']:.1%}", str(r["frames"]), clock(int(r["first_ns"])), clock(int(r["last_ns"])))
        for r in rows
    ]
    document: dict[str, Any] = {"frames": len(areas.t_ns), "labels": rows}
    return Listing(rows, table, document)
