"""`vidmem ground`: where a thing is in one photo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import UsageError
from ..export.rle import segmentation
from ..query import arguments
from ..query.documents import box_row
from . import completion
from .messages import say
from .options import CosineOption, DeviceOption, MasksOption, PhotoArgument, PhotoEncoderOption, WeightsOption
from .output import Listing, Row, Show, box_cell, listing
from .photo import open_photo
from .question import say_readings
from .saving import check_suffix, opens, say_not_saved, write_picture


@listing
@opens("save", "mask")
def ground(
    picture: PhotoArgument,
    text: Annotated[
        list[str],
        typer.Argument(
            metavar="TEXT", help="What to look for, in words.", show_default=False, autocompletion=completion.words
        ),
    ],
    everything: Annotated[bool, typer.Option("--all", help="Find every match, not only the best match.")] = False,
    threshold: CosineOption = None,
    save: Annotated[
        str | None,
        typer.Option("--save", metavar="PICTURE", help="Save the photo with masks and boxes (.png, .jpg, .webp)."),
    ] = None,
    mask: Annotated[
        str | None,
        typer.Option("--mask", metavar="PNG", help="Save the mask, white on black, in the photo's size (.png)."),
    ] = None,
    encoder: PhotoEncoderOption = None,
    device: DeviceOption = None,
    weights: WeightsOption = None,
    masks: MasksOption = None,
    *,
    show: Show,
) -> int:
    """Find a thing in a photo: its box and its mask.

    Needs no memory. --json includes the masks as COCO run lengths. The exit code is 1 if the thing is not found.

    \b
    Examples:
      vidmem ground photo.jpg red cup --encoder gem --save found.png
      vidmem ground photo.jpg cup --all --json
    """
    from ..query.single_image import ground as find  # imports Pillow
    from ..render.grounding import grounding_sheet, mask_image

    phrase = " ".join(text).strip()
    if not phrase:
        raise UsageError("the text is empty; name a thing, such as umbrella")
    arguments.share("threshold", threshold)
    check_suffix("--save", save)
    check_suffix("--mask", mask, (".png",))
    image, loaded, config = open_photo(picture, encoder=encoder, device=device, weights=weights, masks=masks)
    say_readings(loaded, [phrase], single=True)
    seen = find(loaded, image, phrase, config, everything=everything, threshold=threshold, path=picture)
    height, width = seen.size
    rows: list[Row] = [
        {
            "score": round(thing.score, 6),
            "box": box_row(thing.box),
            "area": int(thing.mask.sum()),
            "segmentation": segmentation(thing.mask),
        }
        for thing in seen.things
    ]
    table = [("score", "box", "share of the picture")]
    table += [(f"{thing.score:.3f}", box_cell(thing.box), f"{thing.mask.mean():.1%}") for thing in seen.things]
    document = {
        "found": bool(rows),
        "picture": picture,
        "width": width,
        "height": height,
        "text": phrase,
        "encoder": loaded.info.name,
        "things": rows,
        "nearest": None if seen.nearest is None else round(seen.nearest, 6),
    }
    show(Listing(rows, table, document))
    if not seen.things:
        say(
            "not found; no region stands out in the picture"
            if seen.nearest is None
            else f"not found; the nearest region scores {seen.nearest:.3f}"
        )
        say_not_saved(save, mask)
        return 1
    if save is not None:
        write_picture(grounding_sheet(image, seen.things, phrase, Path(picture).name), save)
    if mask is not None:
        write_picture(mask_image(seen.things, seen.size), mask)
    return 0
