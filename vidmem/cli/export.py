"""`vidmem export`: write instruction data from a memory or from annotations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import UsageError
from ..export.instruct import STYLES
from .export_file import write_single_file
from .export_set import DISTRACTORS, SetOptions, parse_grids, write_training_set
from .export_sources import EVERY, Input, check_used
from .options import AskedMemoryOption, EncoderOption, WeightsOption, labels_option, source_option
from .output import Show, listing

FORMATS = ("text4seg",)
FORMS = ("strict", "legacy")


@listing
def export(
    out: Annotated[
        str, typer.Option("--out", metavar="FOLDER", help="Folder for the records and, from a memory, pictures.")
    ],
    format_: Annotated[
        str, typer.Option("--format", metavar="text4seg", help="Format of the answers: masks as text.")
    ] = "text4seg",
    style: Annotated[
        str, typer.Option("--style", metavar="internvl|llava|qwen|messages", help="How a record refers to its picture.")
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
        str | None,
        typer.Option("--split", metavar="NAME", help="Only this split, of --vspw or --refcoco (default there: train)."),
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
    ] = EVERY,
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
        str,
        typer.Option(
            "--grid",
            metavar="N[,N...]",
            help="Cells on each side of a mask, from 1 to 256. With several, such as 16,24,32, each record has one.",
        ),
    ] = "16",
    form: Annotated[
        str,
        typer.Option(
            "--form", metavar="strict|legacy", help="strict can write every label; legacy is the text of the paper."
        ),
    ] = "strict",
    seed: Annotated[
        int, typer.Option("--seed", metavar="N", help="Seed for the wording of questions, and for all other choices.")
    ] = 0,
    refcoco: Annotated[
        list[str] | None,
        typer.Option(
            "--refcoco",
            metavar="PLACE[@IMAGES]",
            help="Expressions about things: a folder with refs(...).p and instances.json, or a COCO file with phrases. "
            "Repeatable.",
        ),
    ] = None,
    refs: Annotated[
        str | None,
        typer.Option(
            "--refs",
            metavar="NAME[,NAME...]",
            help="Which list of --refcoco, if a folder has several: unc, google, umd. The first that is there is read.",
        ),
    ] = None,
    label_images: Annotated[
        list[str] | None,
        typer.Option(
            "--label-images",
            metavar="FOLDER@IMAGES",
            help="Label pictures (.png), as of COCO-Stuff or ADE20K, and their pictures; --labels names the labels. "
            "Repeatable.",
        ),
    ] = None,
    first_label: Annotated[
        int,
        typer.Option(
            "--first-label",
            metavar="N",
            min=0,
            max=1,
            help="Value of the first label in --label-images: 1 for ADE20K, 0 for COCO-Stuff. 255 is no label.",
        ),
    ] = 1,
    chat: Annotated[
        list[str] | None,
        typer.Option(
            "--chat",
            metavar="FILE[@IMAGES]",
            help="Conversations in LLaVA's JSON that are mixed in as they are. Repeatable.",
        ),
    ] = None,
    chat_share: Annotated[
        float | None,
        typer.Option(
            "--chat-share",
            metavar="SHARE",
            help="Share of the records that are conversations, from 0 to 1. Default: each conversation once.",
        ),
    ] = None,
    mix: Annotated[
        str | None,
        typer.Option(
            "--mix",
            metavar="TASK=WEIGHT,...",
            help="Weights of the tasks refer, open, part, given and absent. Default: refer=1,open=1,part=3,given=6.",
        ),
    ] = None,
    distractors: Annotated[
        int,
        typer.Option(
            "--distractors", metavar="N", min=0, help="Absent labels in the list of a question (task given), at most."
        ),
    ] = DISTRACTORS,
    turns: Annotated[
        int,
        typer.Option("--turns", metavar="N", min=1, max=100, help="Questions about a picture in a record, at most."),
    ] = 1,
    repeat: Annotated[
        int,
        typer.Option(
            "--repeat", metavar="N", min=1, max=1000, help="Use each picture or expression N times, in other words."
        ),
    ] = 1,
    random_crop: Annotated[
        float,
        typer.Option(
            "--crop",
            metavar="SHARE",
            min=0,
            max=1,
            help="Share of the pictures with labels that are cropped at random; the parts are saved to FOLDER/images.",
        ),
    ] = 0.0,
    shards: Annotated[
        int | None,
        typer.Option(
            "--shards",
            metavar="N",
            min=1,
            max=99_999,
            help="Number of files; no more than there are pictures or expressions.",
        ),
    ] = None,
    shard_size: Annotated[
        int | None,
        typer.Option("--shard-size", metavar="N", min=1, help="Records in a file, at most. Default: 10,000."),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", metavar="N", min=1, max=256, help="Processes that write. Default: one for each processor core."
        ),
    ] = None,
    memory: AskedMemoryOption = None,
    encoder: EncoderOption = None,
    weights: WeightsOption = None,
    *,
    show: Show,
) -> int:
    """Write instruction data for models that segment.

    Each record is a picture, a question, and an answer with masks as text. Pictures come from a memory, whose regions
    are named by --labels, or from annotations. Any option under "Training sets" writes a set of several files with a
    manifest instead of data.jsonl; there, sources can be combined, and a set that was interrupted goes on when the same
    command is given again. The exit code is 3 if something is missing or damaged and was left out.

    \b
    Examples:
      vidmem export --out data/ --labels coco --style llava
      vidmem export --out data/ --coco instances.json@images/ --ask each
      vidmem export --out data/ --vspw VSPW/ --split train --grid 24
      vidmem export --out set/ --refcoco refcoco@train2014 --refs unc --shards 8
      vidmem export --out set/ --label-images masks@images --labels ade20k
    """
    if not out:
        raise UsageError("--out is empty; give the name of a folder")
    for name, value, known in (("--format", format_, FORMATS), ("--form", form, FORMS)):
        if value not in known:
            raise UsageError(f"{name} is {' or '.join(known)}; got {value}")
    if style not in STYLES:
        raise UsageError(f"--style is one of {', '.join(STYLES)}; got {style}")
    grids = parse_grids(grid)
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
        grid=(grids[0], grids[0]),
        images=Path(out) / "images",
        memory=memory,
        encoder=encoder,
        weights=weights,
    )
    more = SetOptions(
        refcoco=refcoco or [],
        refs=refs,
        label_images=label_images or [],
        first_label=first_label,
        chat=chat or [],
        chat_share=chat_share,
        mix=mix,
        distractors=distractors,
        turns=turns,
        repeat=repeat,
        crop=random_crop,
        shards=shards,
        shard_size=shard_size,
        workers=workers,
        grids=grids,
    )
    if more.wanted:
        if ask != "all" or absent:
            raise UsageError("--ask and --absent are for a single file; a training set has --mix, such as absent=1")
        return write_training_set(given, more, Path(out), style=style, form=form, seed=seed, show=show)
    if (coco is not None) + (vspw is not None) + bool(source) > 1:
        raise UsageError("--coco, --vspw and --source are three places to take pictures from; give one of them")
    if everything and (coco is not None or vspw is not None):
        raise UsageError("--all is for the regions of a memory; annotations have their own labels")
    if refine is not None and (coco is not None or vspw is not None):
        raise UsageError("--refine is for the regions of a memory; annotations have their own masks")
    check_used(given, memory=coco is None and vspw is None, named=vspw is not None, refcoco=False)
    return write_single_file(given, Path(out), style=style, ask=ask, absent=absent, form=form, seed=seed, show=show)
