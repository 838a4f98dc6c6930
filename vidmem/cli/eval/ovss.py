"""`vidmem eval ovss`: a class for each pixel of the pictures of a data set."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from ...errors import MediaError, UsageError
from .. import completion
from ..options import DeviceOption, WeightsOption
from ..output import Show, listing
from .common import EncoderOption, LimitOption, OutOption, conclude, encoder_settings, load_encoder, of_all, run
from .segmenting import FeaturesOption, MasksOption, NamesOption, TemplatesOption, fingerprint, merge_of

NAMES = ("ade20k", "cityscapes", "voc20", "voc21", "context59", "context60", "coco-stuff", "coco-object")


@listing
def ovss(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATASET",
            help=f"One of {', '.join(NAMES)}.",
            show_default=False,
            autocompletion=completion.choices(*NAMES),
        ),
    ],
    root: Annotated[str, typer.Argument(metavar="FOLDER", help="Its folder, as it is shipped.", show_default=False)],
    split: Annotated[
        str | None,
        typer.Option("--split", metavar="NAME", help="Part of the data set. Default: the one for validation."),
    ] = None,
    features: FeaturesOption = None,
    names: NamesOption = None,
    templates: TemplatesOption = True,
    side: Annotated[
        int, typer.Option("--side", metavar="PIXELS", min=16, help="For points and patches: side of a window.")
    ] = 384,
    short: Annotated[
        int | None,
        typer.Option(
            "--short",
            metavar="PIXELS",
            help="For points and patches: scale the shorter side to this and slide windows over the picture. Default: "
            "squash the whole picture into one window.",
        ),
    ] = None,
    stride: Annotated[
        int | None,
        typer.Option("--stride", metavar="PIXELS", help="With --short: from window to window. Default: half a window."),
    ] = None,
    square: Annotated[
        bool,
        typer.Option("--square", help="Compare squares of --side pixels, as T-REN's code does, not whole pictures."),
    ] = False,
    *,
    out: OutOption,
    limit: LimitOption = None,
    encoder: EncoderOption = None,
    weights: WeightsOption = None,
    masks: MasksOption = None,
    device: DeviceOption = None,
    show: Show,
) -> int:
    """Name every pixel of the pictures of a data set.

    Reads ADE20K, Cityscapes, Pascal VOC, PASCAL-Context and COCO-Stuff as they are shipped. The table has the columns
    of TextRegion (arXiv 2505.23769, Table 1), with the mIoU of four papers.

    \b
    Examples:
      vidmem eval ovss ade20k ADEChallengeData2016 --encoder tren --out run
      vidmem eval ovss voc20 VOCdevkit --encoder gem --short 448 --out run
    """
    from ...evaluation.journal import Journal
    from ...evaluation.ovss import Windows
    from ...evaluation.ovss_names import read_names
    from ...evaluation.ovss_run import figures, picture_cells, score
    from ...evaluation.ovss_sets import open_set
    from ...evaluation.ovss_table import ovss_tables
    from ...evaluation.parsed_pictures import FEATURES, best_features, picture_parser
    from ...evaluation.readable import read_classes, unknown_note

    if features is not None and features not in FEATURES:
        raise UsageError(f"--features is one of {', '.join(FEATURES)}; got {features[:40]!r}")
    if stride is not None and short is None:
        raise UsageError("--stride is for windows that slide; give --short, too")
    windows = Windows(side, short, stride)
    opened = open_set(data, root, split)
    words = opened.words if names is None else read_names(names, len(opened.names))[1]
    chosen = opened.pairs[:limit]
    found = load_encoder(encoder, device, weights, masks)
    # The background is what remains, and no name.
    first = 0 if opened.background is None else 1
    used = features if features is not None else best_features(found)
    classes = read_classes(
        found,
        opened.names[first:],
        words[first:],
        templates=templates,
        first=first,
        contrasts=first > 0 and used == "regions",
    )
    settings = {
        "benchmark": "ovss",
        "data set": data,
        "split": split,
        "pictures": fingerprint([pair.key for pair in opened.pairs]),
        "words": fingerprint(words),
        "features": used,
        "templates": templates and found.has_templates,
        "windows": asdict(windows) if used != "regions" else None,
        "square": side if square else None,
        "masks": masks,
        **encoder_settings(found),
    }
    parser = picture_parser(
        found, classes, used, windows=windows, merge=merge_of(encoder), background=opened.background
    )
    with Journal(out, settings) as journal:
        outcome = run(
            journal,
            chosen,
            lambda pair: pair.key,
            lambda pair: picture_cells(opened, pair, parser, side if square else None),
            "picture",
            lambda pair: (pair.image, pair.labels),
        )
    if not outcome.results:
        raise MediaError(next(iter(outcome.skipped.values())))
    total = score(outcome.results.values(), opened.names)
    title = f"{opened.title}, {of_all(chosen, opened.pairs, 'picture')}"
    notes = [f"features: {used}", *unknown_note(classes.unknown, len(classes), found.info.name)]
    document = {"data set": data, "features": used, "unknown": list(classes.unknown), **figures(total)}
    tables = ovss_tables(title, f"{found.info.name}, {used}", data, total, notes)
    return conclude(out, document, tables, outcome, "picture", show)
