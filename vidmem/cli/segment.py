"""`vidmem segment`: the label of each pixel of one photo."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from ..errors import UsageError
from ..export.rle import box, segmentation
from ..query import arguments
from ..query.labels import BUILT_IN, load_labels, parse_labels
from .mask_model import MaskModel, asks_a_model
from .messages import say
from .options import CosineOption, DeviceOption, MasksOption, PhotoArgument, PhotoEncoderOption, WeightsOption
from .output import Listing, Row, Show, listing
from .photo import open_photo
from .question import say_readings
from .saving import check_suffix, opens, write_picture
from .segment_ask import segment_ask

if TYPE_CHECKING:
    from ..query.labels import LabelSet


@listing
@opens("save", "png")
@asks_a_model()
def segment(
    picture: PhotoArgument,
    labels: Annotated[
        str | None,
        typer.Option(
            "--labels",
            metavar="A,B,C|FILE|vspw|ade20k|coco",
            help="Names separated by commas, a file with one name a line, or the classes of a data set.",
        ),
    ] = None,
    ask: Annotated[
        str | None,
        typer.Option("--ask", metavar="TEXT", help="Ask --model for the mask of one thing, described in words."),
    ] = None,
    closed: Annotated[
        bool,
        typer.Option("--closed", help="Give every region one of the labels, even if none fits, as TextRegion does."),
    ] = False,
    threshold: CosineOption = None,
    save: Annotated[
        str | None,
        typer.Option(
            "--save",
            metavar="PICTURE",
            help="Save the photo in the colours of its labels, with a legend (.png, .jpg, .webp).",
        ),
    ] = None,
    png: Annotated[
        str | None,
        typer.Option(
            "--png",
            metavar="PNG",
            help="Save the label of each pixel (.png): 0 is no label, 1 the first of the list.",
        ),
    ] = None,
    encoder: PhotoEncoderOption = None,
    device: DeviceOption = None,
    weights: WeightsOption = None,
    masks: MasksOption = None,
    *,
    mask_model: MaskModel,
    show: Show,
) -> int:
    """Label the pixels of a photo.

    With --labels, an encoder looks for each label. With --ask, a multimodal language model writes the mask of one
    thing. Needs no memory. --json includes the masks as COCO run lengths. The exit code is 1 if nothing is found.

    \b
    Examples:
      vidmem segment photo.jpg --labels cup,table,plant --save labels.png
      vidmem segment photo.jpg --labels coco --encoder gem --json
      vidmem segment photo.jpg --ask "cup left of the kettle" --model FOLDER
    """

    from ..query.single_image import segment as label_pixels  # imports Pillow
    from ..render.grounding import label_image, labels_sheet

    arguments.share("threshold", threshold)
    if (labels is None) == (ask is None):
        raise UsageError("--labels looks for many things and --ask asks a model for one; give one of them")
    if (ask is None) == mask_model.chosen:
        raise UsageError("--ask asks the model of --model; give both")
    if closed and threshold is not None:
        raise UsageError("--closed uses no threshold; leave one of them out")
    check_suffix("--save", save)
    check_suffix("--png", png, (".png",))
    if labels is None or ask is not None:
        for_labels = {"--closed": closed or None, "--threshold": threshold, "--encoder": encoder, "--masks": masks}
        if given := [name for name, value in for_labels.items() if value is not None]:
            raise UsageError(f"{given[0]} is for --labels; leave it out with --ask")
        return segment_ask(
            picture, ask or "", mask_model, save=save, png=png, device=device, weights=weights, show=show
        )
    names = label_names(labels).names
    if png is not None and len(names) > 255:
        raise UsageError(f"a label picture holds 255 labels and there are {len(names)}; use --json, or fewer labels")
    image, loaded, config = open_photo(picture, encoder=encoder, device=device, weights=weights, masks=masks)
    guess = labels in BUILT_IN  # the user did not choose the names of a data set
    say_readings(loaded, names, guess=guess)
    found = label_pixels(loaded, image, names, config, closed=closed, threshold=threshold, path=picture, guess=guess)
    rows: list[Row] = []
    counts = np.bincount(found[found >= 0], minlength=len(names))
    for i in np.argsort(-counts, kind="stable").tolist():
        if not counts[i]:
            break
        mask = found == i
        rows.append(
            {
                "label": names[i],
                "share": round(float(mask.mean()), 6),
                "bbox": box(mask),
                "segmentation": segmentation(mask),
            }
        )
    table = [("label", "share"), *((row["label"], f"{row['share']:.1%}") for row in rows)]
    document = {
        "picture": picture,
        "width": int(found.shape[1]),
        "height": int(found.shape[0]),
        "encoder": loaded.info.name,
        "asked": list(names),
        "labels": rows,
        "unlabelled": round(float((found < 0).mean()), 6),
    }
    show(Listing(rows, table, document))
    if save is not None:
        write_picture(labels_sheet(image, found, names, Path(picture).name), save)
    if png is not None:
        write_picture(label_image(found), png)
    if not rows:
        say("none of the labels is found; --closed gives each region the best of them")
        return 1
    return 0


def label_names(text: str) -> LabelSet:
    """The labels of a file or a built-in list, or the names between commas. Raises UsageError and MediaError."""

    # os.path accepts a list that is too long for a file name, where Path raises. A single name with a suffix is a
    # missing file.
    if text in BUILT_IN or os.path.isfile(text) or ("," not in text and Path(text).suffix):
        return load_labels(text)
    return parse_labels("\n".join(part.strip() for part in text.split(",")), "--labels")
