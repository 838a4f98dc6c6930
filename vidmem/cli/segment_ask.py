"""`vidmem segment --ask`: the mask that a multimodal language model writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UsageError
from .mask_model import MaskModel, check_readable, say_problems
from .messages import say
from .output import Listing, Show, box_cell
from .saving import say_not_saved, write_picture


def segment_ask(
    picture: str,
    phrase: str,
    model: MaskModel,
    *,
    save: str | None,
    png: str | None,
    device: str | None,
    weights: str | None,
    show: Show,
) -> int:
    """Ask for the mask of a thing in a photo, print it and save its pictures.

    Args:
        picture: Path of the photo.
        phrase: The thing.
        model: The options of the model.
        save: File for the photo with the mask.
        png: File for the mask.
        device: As for `MaskModel.ask`.
        weights: As for `MaskModel.ask`.
        show: Prints the result.

    Returns:
        The exit code: 0 if the mask has a pixel, else 1.

    Raises:
        ModelError: The model cannot be used, or there is no mask of the thing in its answer and no empty one.
    """
    from ..query.picture import load_picture  # imports PyAV
    from ..render.grounding import label_image, labels_sheet
    from ..vlm.opening import is_url

    if device is not None and is_url(model.given["model"]) and model.given["asked_refine"] is None:
        raise UsageError("--device is for a model in a folder and for --refine; an endpoint computes elsewhere")
    image: Any = np.asarray(load_picture(picture))
    asked, row = model.ask(image, phrase, device=device, weights=weights)
    rows = [row] if row["found"] else []
    table = [("thing", "share", "box", "tokens", "seconds")]
    table += [
        (r["phrase"], f"{r['share']:.1%}", box_cell(r["bbox"]), _or_dash(r["tokens"]), f"{r['seconds']:.1f}")
        for r in rows
    ]
    size = {"picture": picture, "width": int(image.shape[1]), "height": int(image.shape[0])}
    show(Listing([size | r for r in rows], table, size | row))
    check_readable(asked)
    say_problems(asked)
    if not row["found"]:
        say(f"the model answers that this is not there: {asked.phrase}")
        say_not_saved(save, png)
        return 1
    labels = np.where(asked.mask, 0, -1).astype(np.int32)
    if save is not None:
        detail = "refined" if asked.refined else f"{row['grid'][0]} x {row['grid'][1]} cells"
        write_picture(labels_sheet(image, labels, [asked.phrase], Path(picture).name, detail), save)
    if png is not None:
        write_picture(label_image(labels), png)
    return 0


def _or_dash(value: int | None) -> str:
    return "-" if value is None else str(value)
