"""`vidmem eval haystack`: which of many pictures is it, and what else is in it? Visual Haystacks."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ...errors import MediaError
from ..messages import progress_bar, say
from ..options import DeviceOption, MasksOption, WeightsOption
from ..output import Show, count, listing
from .common import EncoderOption, LimitOption, OutOption, conclude, encoder_settings, load_encoder, of_all, run

MEMORY = "memory"
PLOT = "accuracy.png"


@listing
def haystack(
    questions: Annotated[
        str,
        typer.Argument(metavar="QUESTIONS", help="visual_haystack_N.json of the single needle, or a folder of them."),
    ],
    images: Annotated[str, typer.Argument(metavar="FOLDER", help="Folder of the pictures, such as COCO's.")],
    memory: Annotated[
        str | None,
        typer.Option("--memory", metavar="FOLDER", help="Memory of the pictures, to use again. Default: in --out."),
    ] = None,
    *,
    out: OutOption,
    limit: LimitOption = None,
    encoder: EncoderOption = None,
    weights: WeightsOption = None,
    masks: MasksOption = None,
    device: DeviceOption = None,
    show: Show,
) -> int:
    """Answer Visual Haystacks over the number of pictures.

    Each question is about one of its pictures: "For the image with a truck, is there a dog?" The pictures are indexed
    once. The table has the share of right answers by the number of pictures, by both rules of `vidmem haystack`, and
    how often the right picture was chosen. With matplotlib there is a plot too.

    \b
    Examples:
      vidmem eval haystack single_needle coco --encoder tren --out run
    """
    from ...evaluation.haystack_plot import can_plot, plot_accuracy
    from ...evaluation.haystack_run import Asker, accuracies, index_pictures, read_questions
    from ...evaluation.haystack_table import accuracy_table, cost_table
    from ...evaluation.journal import Journal
    from ...evaluation.memories import opened

    everything, hashes = read_questions(questions)
    if not Path(images).is_dir():
        raise MediaError(f"there is no such folder of pictures; check the path: {images}")
    chosen = everything[:limit]
    found = load_encoder(encoder, device, weights, masks)
    settings = {"benchmark": "haystack", "questions": hashes, **encoder_settings(found)}
    with (
        Journal(out, settings) as journal,
        opened(Path(out, MEMORY) if memory is None else Path(memory), found) as held,
    ):
        total = len({name for one in chosen for name in one.needle.images})
        with progress_bar(total, lambda n: count(n, "picture")) as advance:
            new, seconds = index_pictures(held, chosen, images, lambda at: advance("indexing", at.frames))
        asker = Asker(held, chosen)
        if asker.unreadable:
            say(f"the encoder does not know {', '.join(asker.unreadable[:5])}; these questions count as not found")
        outcome = run(journal, chosen, lambda one: one.key, asker.ask, "question")
        stats = held.store.stats()
    if not outcome.results:
        raise MediaError(next(iter(outcome.skipped.values())))
    report = accuracies(outcome.results.values())
    ms = sum(result["ms"] for result in outcome.results.values()) / len(outcome.results)
    cost = {
        "regions": stats.tracks / stats.pictures,
        "kilobytes": stats.database_bytes / stats.pictures / 1000,
        "ms": ms,
        "index_ms": 1000 * seconds / new if new else None,
    }
    title = f"Visual Haystacks, {of_all(chosen, everything, 'question')}"
    name = found.info.name
    plot = PLOT if can_plot() else None
    if plot is not None:
        plot_accuracy(Path(out, plot), title, name, report)
    document = {
        "accuracy": [asdict(one) for one in report],
        "cost": cost,
        "unreadable": asker.unreadable,
        "plot": plot,
    }
    tables = [accuracy_table(title, name, report), cost_table(f"{title}: cost", name, **cost)]
    return conclude(out, document, tables, outcome, "question", show)
