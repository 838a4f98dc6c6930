"""`vidmem parse`: a label for every region of every frame of an indexed video."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from ..errors import MediaError, UsageError
from ..memory import Memory
from ..query.labels import BUILT_IN
from ..query.parse import areas
from ..timecode import NS, clock
from .messages import progress_bar, say, warn
from .options import AskedMemoryOption, EncoderOption, WeightsOption, labels_option, source_argument
from .output import Listing, Row, Show, listing
from .question import say_readings
from .saving import check_suffix, opens, write_picture

if TYPE_CHECKING:
    from ..export.label_files import Writer
    from ..query.parse import Areas, Parse, Way


@listing
@opens("plot", "overlay")
def parse(
    source: Annotated[
        str,
        source_argument("A video in the memory, by path or name."),
    ],
    labels: Annotated[
        str,
        labels_option("A file with one name a line, or the classes of a data set."),
    ],
    way: Annotated[
        str,
        typer.Option(
            "--way",
            metavar="track|vote",
            help="Label each region by its track, as in the T-REN paper, or each pixel by the votes of its regions, as "
            "in the paper's code.",
        ),
    ] = "track",
    apart: Annotated[
        bool,
        typer.Option("--things-apart", help="Compare regions that look like objects only with labels of objects."),
    ] = False,
    templates: Annotated[
        bool,
        typer.Option("--templates", help="Put each label into 80 sentences, as T-REN does: slower and more accurate."),
    ] = False,
    png: Annotated[
        str | None, typer.Option("--png", metavar="FOLDER", help="Save label pictures in the layout of VSPW.")
    ] = None,
    coco: Annotated[
        str | None, typer.Option("--coco", metavar="FILE", help="Save COCO annotations with run lengths (.json).")
    ] = None,
    text: Annotated[
        str | None, typer.Option("--text", metavar="FILE", help="Save masks as text, one frame a line.")
    ] = None,
    grid: Annotated[
        int, typer.Option("--grid", metavar="N", min=1, max=256, help="For --text: cells on each side.")
    ] = 16,
    overlay: Annotated[
        str | None,
        typer.Option("--overlay", metavar="VIDEO", help="Save the frames with their labels in colour (.mp4)."),
    ] = None,
    plot: Annotated[
        str | None,
        typer.Option(
            "--plot", metavar="PICTURE", help="Save a plot of the area of each label over time (.png, .jpg, .webp)."
        ),
    ] = None,
    memory: AskedMemoryOption = None,
    encoder: EncoderOption = None,
    weights: WeightsOption = None,
    *,
    show: Show,
) -> int:
    """Label every region of every frame of a video.

    Uses the tracks in the memory, so the video is not decoded again, except for --overlay. Prints the share of the
    picture that each label covers.

    \b
    Examples:
      vidmem parse walk.mp4 --labels coco
      vidmem parse walk.mp4 --labels rooms.txt --png labels/ --plot areas.png
    """
    from ..export.label_files import write_all  # imports Pillow
    from ..render.area_plot import area_plot

    check_suffix("--coco", coco, (".json",))
    check_suffix("--overlay", overlay, (".mp4",))
    check_suffix("--plot", plot)
    with Memory.open(memory, encoder=encoder, weights=weights, read_only=True) as m:
        parsed = m.parse(
            source,
            labels,
            way=cast("Way", way),  # `parse` checks it
            apart=apart,
            templates=templates,
        )
        names = parsed.labels.names
        say_readings(m.text_encoder, names, guess=labels in BUILT_IN)
        title = Path(parsed.source.uri).name
        shares = []
        with progress_bar(parsed.source.duration_ns) as advance:
            for scene in write_all(parsed.frames(m.store), _writers(parsed, png, coco, text, grid)):
                shares.append((scene.t_ns, scene.shares(len(names))))
                advance(title, scene.t_ns)
        found = areas(shares, len(names))
        for path in (png, coco, text):
            if path is not None:
                say(f"saved {path}")
        if overlay is not None:
            _write_overlay(m, parsed, overlay)
        if plot is not None:
            write_picture(area_plot(found, names, title), plot)
    show(_listing(found, names, parsed.labels.things.tolist()))
    if not shares:
        warn("no frame of it is indexed yet; run `vidmem index` on it")
    return 0 if found.shares.any() else 1


def _writers(parsed: Parse, png: str | None, coco: str | None, text: str | None, grid: int) -> list[Writer]:
    from ..export.label_files import CocoFile, LabelPictures, TextLines  # imports Pillow

    row, labels = parsed.source, parsed.labels
    out: list[Writer] = []
    if png is not None:
        out.append(LabelPictures(png, row, labels))
    if coco is not None:
        out.append(CocoFile(coco, row, labels))
    if text is not None:
        out.append(TextLines(text, labels, grid))
    return out


def _write_overlay(memory: Memory, parsed: Parse, path: str) -> None:
    from ..media import open_known, save_frames  # imports PyAV
    from ..render.overlay import overlay

    if not Path(parsed.source.uri).exists():
        raise MediaError(f"--overlay needs the video, which is no longer there; put it back: {parsed.source.uri}")
    if Path(path).exists() and Path(path).samefile(parsed.source.uri):
        raise UsageError(f"--overlay would overwrite the video itself; give another name: {path}")
    with open_known(parsed.source) as source:
        frames = source.frames(memory.settings().fps)
        save_frames(overlay(frames, parsed.frames(memory.store), parsed.labels), path)
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
