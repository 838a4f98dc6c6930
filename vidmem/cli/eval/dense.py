"""`vidmem eval dense`: are the boxes and masks of things and stuff named rightly?"""

from __future__ import annotations

from typing import Annotated

import typer

from ...errors import MediaError, UsageError
from .. import completion
from ..options import DeviceOption, WeightsOption
from ..output import Show, listing
from .common import EncoderOption, LimitOption, OutOption, conclude, encoder_settings, load_encoder, of_all, run


@listing
def dense(
    annotations: Annotated[
        str, typer.Argument(metavar="FILE", help="Panoptic annotations, such as panoptic_val2017.json.")
    ],
    images: Annotated[
        str | None,
        typer.Option("--images", metavar="FOLDER", help="Folder of the pictures. Default: that of FILE."),
    ] = None,
    segments: Annotated[
        str | None,
        typer.Option("--segments", metavar="FOLDER", help="Folder of the PNGs. Default: FILE without .json."),
    ] = None,
    features: Annotated[
        str | None,
        typer.Option(
            "--features",
            metavar="patches|crops",
            help="What is compared with the names: patches under the boxes and masks, or cut-outs of them. Default: "
            "patches, if the encoder has them.",
            autocompletion=completion.choices("patches", "crops"),
        ),
    ] = None,
    *,
    out: OutOption,
    limit: LimitOption = None,
    encoder: EncoderOption = None,
    weights: WeightsOption = None,
    device: DeviceOption = None,
    show: Show,
) -> int:
    """Name the true boxes and masks of a panoptic set.

    The panoptic files of COCO and ADE20K are read as they are shipped. The table is that of DenseVLM (arXiv
    2412.06244, Table 1): mean accuracies over classes, of the first guess and of the first five.

    \b
    Examples:
      vidmem eval dense val.json --images val2017 --encoder densevlm --out run
    """
    from ...evaluation.dense import gathered, namer
    from ...evaluation.dense_table import dense_table, document
    from ...evaluation.journal import Journal
    from ...evaluation.panoptic import read_panoptic
    from ...evaluation.readable import read_classes, unknown_note
    from ...evaluation.region_crops import crop_namer
    from ...evaluation.run import sha256

    if features not in (None, "patches", "crops"):
        raise UsageError(f"--features is patches or crops; got {features[:40]!r}")
    panoptic = read_panoptic(annotations, images, segments)
    chosen = panoptic.pictures[:limit]
    found = load_encoder(encoder, device, weights)
    used = features or ("patches" if found.has_patches else "crops")
    notes = [f"features: {used}"]
    if used == "patches":
        name = namer(found, panoptic)
    else:
        classes = read_classes(found, [category.name for category in panoptic.categories], panoptic.names)
        name = crop_namer(found, classes)
        notes += unknown_note(classes.unknown, len(classes), found.info.name)
    settings = {
        "benchmark": "dense",
        "annotations": sha256(annotations),
        "features": used,
        **encoder_settings(found),
    }
    with Journal(out, settings) as journal:
        outcome = run(
            journal,
            chosen,
            lambda picture: picture.labels.name,
            name,
            "picture",
            lambda picture: (picture.image, picture.labels),
        )
    if not outcome.results:
        raise MediaError(next(iter(outcome.skipped.values()), "the panoptic set has no picture"))
    report = gathered(outcome.results.values(), panoptic)
    title = f"Dense naming, {of_all(chosen, panoptic.pictures, 'picture')}"
    table = dense_table(title, f"{found.info.name}, {used}", report, notes)
    return conclude(out, {"features": used, **document(report)}, [table], outcome, "picture", show)
