"""`vidmem ground`: where a thing is in one picture. `vidmem segment`: which of some labels each pixel has."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import UsageError
from ..query import arguments
from . import completing
from .asking import say_readings
from .opening import opens
from .options import DeviceOption, MasksOption, WeightsOption
from .output import Listing, Row, Show, listing, say
from .where import PICTURES, check_suffix, unsaved, write_picture

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..config import MergeConfig
    from ..encoders import Encoder
    from ..query.labels import LabelSet

PictureArgument = Annotated[str, typer.Argument(metavar="PICTURE", help="A photo.", show_default=False)]
OneEncoderOption = Annotated[
    str | None,
    typer.Option(
        "--encoder",
        metavar="NAME",
        help="Encoder, as `vidmem models` lists them; tiny if not given.",
        autocompletion=completing.encoder,
    ),
]
ThresholdOption = Annotated[
    float | None,
    typer.Option("--threshold", metavar="SCORE", help="Least cosine that counts as found, not the calibrated test."),
]


@listing
@opens("save", "mask")
def ground(
    picture: PictureArgument,
    text: Annotated[
        list[str],
        typer.Argument(
            metavar="TEXT", help="What to look for, in words.", show_default=False, autocompletion=completing.words
        ),
    ],
    everything: Annotated[bool, typer.Option("--all", help="All such things, not the one that fits best.")] = False,
    threshold: ThresholdOption = None,
    save: Annotated[
        str | None,
        typer.Option("--save", metavar="PICTURE", help="Save the photo with masks and boxes (.png, .jpg, .webp)."),
    ] = None,
    mask: Annotated[
        str | None,
        typer.Option("--mask", metavar="PNG", help="Save the mask, white on black, in the photo's size (.png)."),
    ] = None,
    encoder: OneEncoderOption = None,
    device: DeviceOption = None,
    weights: WeightsOption = None,
    masks: MasksOption = None,
    *,
    show: Show,
) -> int:
    """Say where a thing is in a photo: box and mask.

    Needs no memory. Exit code 1 when it is not found; --json has the masks as COCO's run lengths.
    """
    from ..export.rle import segmentation
    from ..query.single_image import ground as look
    from ..render.grounding import mask_picture, pointed_picture

    phrase = " ".join(text).strip()
    if not phrase:
        raise UsageError("the text is empty; name a thing, such as umbrella")
    arguments.share("threshold", threshold)
    check_suffix("--save", save, PICTURES)
    check_suffix("--mask", mask, (".png",))
    image, loaded, config = _ready(picture, encoder, device, weights, masks)
    say_readings(loaded, [phrase], alone=True)
    seen = look(loaded, image, phrase, config, everything=everything, threshold=threshold, path=picture)
    height, width = seen.size
    rows: list[Row] = [
        {
            "score": round(t.score, 6),
            "box": [round(v, 2) for v in t.box],
            "area": int(t.mask.sum()),
            "segmentation": segmentation(t.mask),
        }
        for t in seen.things
    ]
    table = [("score", "box", "share of the picture")]
    table += [(f"{t.score:.3f}", ",".join(f"{v:.0f}" for v in t.box), f"{t.mask.mean():.1%}") for t in seen.things]
    show(
        Listing(
            rows,
            table,
            {
                "found": bool(rows),
                "picture": picture,
                "width": width,
                "height": height,
                "text": phrase,
                "encoder": loaded.info.name,
                "things": rows,
                "nearest": None if seen.nearest is None else round(seen.nearest, 6),
            },
        )
    )
    if not seen.things:
        say(
            "not found; no region stands out in the picture"
            if seen.nearest is None
            else f"not found; the nearest region scores {seen.nearest:.3f}"
        )
        unsaved(save, mask)
        return 1
    if save is not None:
        write_picture(pointed_picture(image, seen.things, phrase, Path(picture).name), save)
    if mask is not None:
        write_picture(mask_picture(seen.things, seen.size), mask)
    return 0


@listing
@opens("save", "png")
def segment(
    picture: PictureArgument,
    labels: Annotated[
        str,
        typer.Option(
            "--labels",
            metavar="A,B,C|FILE|vspw|ade20k|coco",
            help="Names with commas between them, a file with a name a line, or the classes of a data set.",
        ),
    ],
    closed: Annotated[
        bool,
        typer.Option("--closed", help="Give every region one of the labels, though none may fit, as the paper does."),
    ] = False,
    threshold: ThresholdOption = None,
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
            help="Save the label of each pixel: 0 for none, else its place in the list from 1 (.png).",
        ),
    ] = None,
    encoder: OneEncoderOption = None,
    device: DeviceOption = None,
    weights: WeightsOption = None,
    masks: MasksOption = None,
    *,
    show: Show,
) -> int:
    """Name the pixels of a photo.

    Needs no memory. Exit code 1 when none of the labels is found; --json has the masks as COCO's run lengths.
    """
    import numpy as np

    from ..export.rle import box, segmentation
    from ..query.labels import BUILT_IN
    from ..query.single_image import segment as look
    from ..render.grounding import label_picture, segmented_picture

    arguments.share("threshold", threshold)
    if closed and threshold is not None:
        raise UsageError("--closed needs no threshold; leave one of them out")
    check_suffix("--save", save, PICTURES)
    check_suffix("--png", png, (".png",))
    names = label_names(labels).names
    if png is not None and len(names) > 255:
        raise UsageError(f"a label picture holds 255 labels and there are {len(names)}; use --json, or fewer")
    image, loaded, config = _ready(picture, encoder, device, weights, masks)
    guess = labels in BUILT_IN  # the classes of a data set stand as they are
    say_readings(loaded, names, guess=guess)
    found = look(loaded, image, names, config, closed=closed, threshold=threshold, path=picture, guess=guess)
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
    table = [("label", "share")]
    table += [(row["label"], f"{row['share']:.1%}") for row in rows]
    show(
        Listing(
            rows,
            table,
            {
                "picture": picture,
                "width": int(found.shape[1]),
                "height": int(found.shape[0]),
                "encoder": loaded.info.name,
                "asked": list(names),
                "labels": rows,
                "unlabelled": round(float((found < 0).mean()), 6),
            },
        )
    )
    if save is not None:
        write_picture(segmented_picture(image, found, names, Path(picture).name), save)
    if png is not None:
        write_picture(label_picture(found), png)
    if not rows:
        say("none of the labels is found; --closed gives each region the best of them")
        return 1
    return 0


def label_names(text: str) -> LabelSet:
    """The labels of a file or a built-in list, else the names between commas. Raises UsageError and MediaError."""
    from ..query.labels import BUILT_IN, load_labels, parse_labels

    # A long list is no file name, and os.path says so where Path raises. One name with a suffix is a file not there.
    if text in BUILT_IN or os.path.isfile(text) or ("," not in text and Path(text).suffix):
        return load_labels(text)
    return parse_labels("\n".join(part.strip() for part in text.split(",")), "--labels")


def _ready(
    picture: str, encoder: str | None, device: str | None, weights: str | None, masks: str | None
) -> tuple[NDArray[np.uint8], Encoder, MergeConfig]:
    """The photo, read before anything long is done; the encoder; when two of its regions are one."""
    import numpy as np

    from ..config import preset
    from ..encoders import DEFAULT, check, check_masks, find, load
    from ..query.picture import load_picture

    spec = encoder or DEFAULT
    check(spec, weights)
    if masks is not None:
        check_masks(spec)
    image: Any = np.asarray(load_picture(picture))
    return image, load(spec, device, weights, masks=masks), preset(find(spec).preset).merge
