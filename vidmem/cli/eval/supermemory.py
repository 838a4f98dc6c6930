"""`vidmem eval supermemory`: is the evidence found, and is it known when there is none? SuperMemory-VQA."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...errors import MediaError
from ..messages import progress_bar
from ..options import DeviceOption, MasksOption, WeightsOption
from ..output import Show, listing
from .common import EncoderOption, LimitOption, OutOption, conclude, encoder_settings, load_encoder, of_all, run

MEMORIES = "memories"


@listing
def supermemory(
    questions: Annotated[
        str, typer.Argument(metavar="FILE", help="Questions: all_qa.json, or qa_person_N.json of one person.")
    ],
    videos: Annotated[str, typer.Argument(metavar="FOLDER", help="Folder of the videos (data/video).")],
    person: Annotated[
        int | None, typer.Option("--person", metavar="N", help="Only the questions about this person.")
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
    """Find the evidence for SuperMemory-VQA's questions.

    The recordings of each person are indexed into a memory. Each question is asked of what was recorded before it. The
    table says how often the windows of the evidence are found, and whether nothing is found for questions that cannot
    be answered. It has none of the benchmark's own metrics, which are of written answers.

    \b
    Examples:
      vidmem eval supermemory all_qa.json video --encoder tren --out run
    """
    from ...evaluation.journal import Journal
    from ...evaluation.run import sha256
    from ...evaluation.supermemory_files import load_questions
    from ...evaluation.supermemory_run import People
    from ...evaluation.supermemory_table import memory_table

    asked = load_questions(questions)
    everything = [one for one in asked.questions if person in (None, one.subject)]
    if not everything:
        raise MediaError(f"the file has no question about person {person}; check the number: {questions}")
    if not Path(videos).is_dir():
        raise MediaError(f"there is no such folder of videos; check the path: {videos}")
    chosen = everything[:limit]
    found = load_encoder(encoder, device, weights, masks)
    settings = {"benchmark": "supermemory", "questions": sha256(questions), **encoder_settings(found)}
    with Journal(out, settings) as journal, People(asked, videos, Path(out, MEMORIES), found) as people:
        with progress_bar(0) as advance:
            people.index(chosen, lambda at: advance(Path(at.source).name, at.done_ns))
        outcome = run(journal, chosen, lambda one: str(one.number), people.ask, "question")
    if not outcome.results:
        raise MediaError(next(iter(outcome.skipped.values())))
    done = [one for one in chosen if str(one.number) in outcome.results]
    title = f"SuperMemory-VQA, evidence and abstention, {of_all(chosen, everything, 'question')}"
    figures, table = memory_table(title, found.info.name, done, outcome.results)
    notes = {key: result["note"] for key, result in outcome.results.items() if result["note"]}
    ms = sum(result["ms"] for result in outcome.results.values()) / len(outcome.results)
    return conclude(out, {"figures": figures, "notes": notes, "ms": ms}, [table], outcome, "question", show)
