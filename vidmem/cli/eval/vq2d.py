"""`vidmem eval vq2d`: when and where was this thing last seen? Ego4D's visual queries, also online."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...config import preset
from ...encoders.registry import find
from ...errors import MediaError, UsageError
from ...query.paper import THRESHOLD
from ..options import DeviceOption, MasksOption, WeightsOption
from ..output import Show, listing
from .common import EncoderOption, LimitOption, OutOption, conclude, encoder_settings, load_encoder, of_all, run

if TYPE_CHECKING:
    from ...evaluation.vq2d_files import Clip

PREDICTIONS = "predictions.json"
MEMORIES = "memories"


@listing
def vq2d(
    annotations: Annotated[str, typer.Argument(metavar="FILE", help="Annotations, such as vq_val.json.")],
    videos: Annotated[
        str, typer.Argument(metavar="FOLDER", help="Folder of the clips (CLIP_UID.mp4) or videos (VIDEO_UID.mp4).")
    ],
    online: Annotated[
        bool, typer.Option("--online", help="See each frame once and answer at the query's frame, as in OVQ2D.")
    ] = False,
    split: Annotated[
        str | None, typer.Option("--split", metavar="NAME", help="Only the videos of this split, such as val.")
    ] = None,
    memories: Annotated[
        str | None,
        typer.Option("--memories", metavar="FOLDER", help="Memories of the clips, to use again. Default: in --out."),
    ] = None,
    fps: Annotated[float, typer.Option("--fps", metavar="N", help="Frames per second that are indexed.")] = 5.0,
    threshold: Annotated[
        float, typer.Option("--threshold", metavar="SCORE", help="Minimum similarity of a track (tau_sim).")
    ] = THRESHOLD,
    *,
    out: OutOption,
    limit: LimitOption = None,
    encoder: EncoderOption = None,
    weights: WeightsOption = None,
    masks: MasksOption = None,
    device: DeviceOption = None,
    show: Show,
) -> int:
    """Find when and where things were last seen in Ego4D's clips.

    The annotations of Ego4D's visual queries (VQ2D) are read as they are shipped. Each clip is indexed into a memory
    of its own, and its queries are answered by T-REN's search. predictions.json is in the layout of the challenge. The
    table has the official metrics, and those of T-REN's looser protocol.

    \b
    Examples:
      vidmem eval vq2d vq_val.json clips --encoder tren --out run
      vidmem eval vq2d vq_val.json clips --encoder tren --online --out run-online
    """
    from ...evaluation.journal import Journal
    from ...evaluation.run import sha256
    from ...evaluation.vq2d_files import clips, load_annotations
    from ...evaluation.vq2d_run import Settings, evaluate_clip

    if online and memories is not None:
        raise UsageError("--online and --memories exclude each other, since online each frame is seen once")
    if not 0 < fps <= 1000:
        raise UsageError(f"--fps is a number of frames per second above 0 and at most 1000; got {fps:g}")
    if not math.isfinite(threshold):
        raise UsageError(f"--threshold is a similarity, such as {THRESHOLD:g}; got {threshold:g}")
    document = load_annotations(annotations)
    everything = [clip for clip in clips(document) if split in (None, clip.split)]
    asked = [clip for clip in everything if clip.queries]
    if not asked:
        of_split = "" if split is None else f" of the split {split!r}"
        raise MediaError(f"the annotations have no clip{of_split} with a valid query; check the file: {annotations}")
    if not Path(videos).is_dir():
        raise MediaError(f"there is no such folder of clips; check the path: {videos}")
    chosen = asked[:limit]
    found = load_encoder(encoder, device, weights, masks)
    settings = Settings(replace(preset(find(found.info.name).preset), fps=fps), threshold, online)
    held = Path(out, MEMORIES) if memories is None else Path(memories)
    kept = {
        "benchmark": "vq2d",
        "annotations": sha256(annotations),
        "online": online,
        "threshold": threshold,
        "config": settings.config.as_dict(),
        **encoder_settings(found),
    }
    with Journal(out, kept) as journal:
        outcome = run(
            journal,
            chosen,
            lambda clip: clip.name,
            lambda clip: evaluate_clip(clip, videos, held, found, settings),
            "clip",
        )
    if not outcome.results:
        raise MediaError(next(iter(outcome.skipped.values())))
    done = [clip for clip in chosen if clip.name in outcome.results]
    title = f"VQ2D{' online' if online else ''}, {of_all(chosen, asked, 'clip')}"
    report, tables = _report(title, found.info.name, done, outcome.results, document, out, online)
    return conclude(out, report, tables, outcome, "clip", show)


def _report(
    title: str, method: str, done: list[Clip], results: dict[str, Any], document: Any, out: str, online: bool
) -> tuple[dict[str, Any], list[Any]]:
    """Write the predictions; the figures in full, and the tables."""
    import json

    from ...evaluation import vq2d_run
    from ...evaluation.report import without_nan
    from ...evaluation.vq2d_metrics import loose_metrics, official_metrics
    from ...evaluation.vq2d_predictions import predictions, whole_pixels
    from ...evaluation.vq2d_table import accuracy_table, cost_table, online_table
    from ...export.files import replacing

    found = vq2d_run.answered(results.values())
    # The metrics are of what the file of predictions says.
    answers = {key: None if answer is None else whole_pixels(answer) for key, answer in found.items()}
    written = without_nan(predictions(document, answers))
    with replacing(str(Path(out, PREDICTIONS)), "the predictions") as part:
        Path(part).write_text(json.dumps(written, allow_nan=False) + "\n", "utf-8")
    known = [query for clip in done for query in clip.queries if query.response]
    official = official_metrics(known, answers) if known else None
    loose = loose_metrics(known, answers) if known else None
    spent = vq2d_run.cost(results.values())
    figures = {
        "official": None if official is None else asdict(official),
        "tren_protocol": None if loose is None else asdict(loose),
        "cost": asdict(spent),
        "notes": vq2d_run.notes(results.values()),
        "predictions": PREDICTIONS,
    }
    first = online_table(title, method, official, spent) if online else accuracy_table(title, method, official, loose)
    second = [accuracy_table(title, method, official, loose)] if online else []
    return figures, [first, *second, cost_table(f"{title}: cost", method, spent)]
