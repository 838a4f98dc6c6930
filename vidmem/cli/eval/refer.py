"""`vidmem eval refer`: masks of what expressions refer to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from ...errors import MediaError, UsageError
from .. import completion
from ..mask_model import MaskModel, asks_a_model
from ..options import DeviceOption, WeightsOption
from ..output import Show, listing
from .answerer import chosen_answerer, note_lines
from .common import EncoderOption, LimitOption, OutOption, conclude, of_all, run
from .segmenting import MasksOption, comma_list

DATA_SETS = ("refcoco", "refcoco+", "refcocog", "grefcoco")


@listing
@asks_a_model()
def refer(
    data: Annotated[
        str,
        typer.Argument(
            metavar="FOLDER",
            help="Folder of RefCOCO, RefCOCO+, RefCOCOg or gRefCOCO: instances.json and a list such as refs(unc).p.",
            show_default=False,
        ),
    ],
    images: Annotated[
        str | None, typer.Argument(metavar="IMAGES", help="Folder of the pictures. Default: FOLDER/images.")
    ] = None,
    split: Annotated[
        list[str] | None,
        typer.Option("--split", metavar="A,B,C", help="Splits, such as val,testA,testB. Default: val."),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option("--refs", metavar="NAME", help="Which list of several: unc, google or umd."),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            "--data-set",
            metavar="NAME",
            help="refcoco, refcoco+, refcocog or grefcoco. Default: the name of FOLDER.",
            autocompletion=completion.choices(*DATA_SETS),
        ),
    ] = None,
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
    """Find the masks of what expressions refer to.

    An encoder chooses the region that is most like the expression; with --model, a language model writes the mask. The
    tables are those of Text4Seg (arXiv 2410.09855): cIoU, and the accuracy of boxes. For gRefCOCO, whose expressions
    may refer to several things or to none, gIoU and cIoU.

    \b
    Examples:
      vidmem eval refer refcoco train2014 --split val,testA --refs unc --out run
      vidmem eval refer grefcoco train2014 --model runs/mine/adapter --out run
    """
    from ...evaluation.journal import Journal
    from ...evaluation.refer_table import refer_score, refer_tables
    from ...evaluation.referring import Questions, picture_counts, read_questions
    from ...evaluation.run import sha256
    from ...export.coco import require_pycocotools

    known = name or Path(data).resolve().name.lower()
    if known not in DATA_SETS:
        raise UsageError(f"--data-set is one of {', '.join(DATA_SETS)}; got {known[:40]!r}")
    require_pycocotools()
    splits = comma_list(split or ["val"])
    everything, files, left_out = read_questions(data, images, splits, by)
    chosen = everything[:limit]
    answer, method, settings = chosen_answerer(
        mask_model, encoder=encoder, device=device, weights=weights, masks=masks, many=known == "grefcoco"
    )
    full = {
        "benchmark": "refer",
        "data set": known,
        "splits": splits,
        "annotations": {path.name: sha256(path) for path in files},
        **settings,
    }

    def work(questions: Questions) -> object:
        return picture_counts(questions, answer)

    with Journal(out, full) as journal:
        outcome = run(
            journal,
            chosen,
            lambda questions: questions.key,
            work,
            "picture",
            lambda questions: [Path(questions.picture.path)],
        )
    damaged = {f"entry {number}": reason for number, reason in enumerate(left_out, 1)}
    outcome = replace(outcome, skipped=outcome.skipped | damaged)
    if not outcome.results:
        raise MediaError(
            next(iter(outcome.skipped.values()), f"no expression is there; fetch the data set again: {data}")
        )
    rows: dict[str, list[list[object]]] = {}
    for questions in chosen:
        rows.setdefault(questions.split, []).extend(outcome.results.get(questions.key, []))
    scores = {each: refer_score(found) for each, found in rows.items() if found}
    total = refer_score([row for found in rows.values() for row in found])
    notes = ["features: regions"] if not mask_model.chosen else []
    notes += note_lines(dict(total.notes), len(total.counted))
    title = f"{known}, {', '.join(scores)}, {of_all(chosen, everything, 'picture')}"
    document = {
        "data set": known,
        "splits": {
            each: {"expressions": len(score.counted), "unanswered": dict(score.notes), **score.figures()}
            for each, score in scores.items()
        },
    }
    tables = refer_tables(title, method, known, scores, notes)
    return conclude(out, document, tables, outcome, "picture", show)
