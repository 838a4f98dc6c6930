"""`vidmem eval reasonseg`: masks of what questions ask for."""

from __future__ import annotations

from typing import Annotated

import typer

from ...errors import MediaError
from ..mask_model import MaskModel, asks_a_model
from ..options import DeviceOption, WeightsOption
from ..output import Show, listing
from .answerer import chosen_answerer, note_lines
from .common import EncoderOption, LimitOption, OutOption, conclude, of_all, run
from .segmenting import MasksOption, fingerprint


@listing
@asks_a_model()
def reasonseg(
    root: Annotated[str, typer.Argument(metavar="FOLDER", help="The data set, with val and test.", show_default=False)],
    split: Annotated[str, typer.Option("--split", metavar="NAME", help="val, test or train.")] = "val",
    *,
    out: OutOption,
    limit: LimitOption = None,
    encoder: EncoderOption = None,
    weights: WeightsOption = None,
    masks: MasksOption = None,
    device: DeviceOption = None,
    mask_model: MaskModel,
    show: Show,
) -> int:
    """Find the masks of what questions ask for.

    Reads ReasonSeg as LISA's authors ship it. An encoder takes the regions that pass its test for the question; with
    --model, a language model writes the mask. The table is that of TextRegion (arXiv 2505.23769, Table 3).

    \b
    Examples:
      vidmem eval reasonseg ReasonSeg --split test --encoder textregion --out run
      vidmem eval reasonseg ReasonSeg --model runs/mine/adapter --out run
    """
    from ...evaluation.journal import Journal
    from ...evaluation.reason_table import reason_table
    from ...evaluation.reasonseg import Question, question_counts, read_reasonseg, reason_figures

    questions = read_reasonseg(root, split)
    chosen = questions[:limit]
    answer, method, settings = chosen_answerer(
        mask_model, encoder=encoder, device=device, weights=weights, masks=masks, many=True
    )
    full = {
        "benchmark": "reasonseg",
        "split": split,
        "pictures": fingerprint([question.key for question in questions]),
        **settings,
    }

    def work(question: Question) -> object:
        return question_counts(question, answer)

    with Journal(out, full) as journal:
        outcome = run(journal, chosen, lambda question: question.key, work, "picture", lambda question: question.files)
    if not outcome.results:
        raise MediaError(next(iter(outcome.skipped.values())))
    results = list(outcome.results.values())
    unanswered: dict[str, int] = {}
    for each in results:
        if note := each["row"][4]:
            unanswered[note] = unanswered.get(note, 0) + 1
    figures = reason_figures(results)
    notes = [*([] if mask_model.chosen else ["features: regions"]), *note_lines(unanswered, len(results))]
    title = f"ReasonSeg {split}, {of_all(chosen, questions, 'picture')}"
    document = {"split": split, "unanswered": unanswered, **figures}
    return conclude(out, document, [reason_table(title, method, figures, notes)], outcome, "picture", show)
