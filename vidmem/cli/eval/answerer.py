"""Who answers the questions of `refer` and `reasonseg`: an encoder, or a model that writes masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import UsageError
from ..mask_model import Ask, MaskModel
from .common import encoder_settings, load_encoder
from .segmenting import merge_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...evaluation.referring import Answerer, Found

UNREADABLE = "unreadable"
"""The note of an answer that has no mask of what was asked for."""
TOO_LONG = "too long"


def chosen_answerer(
    model: MaskModel, *, encoder: str | None, device: str | None, weights: str | None, masks: str | None, many: bool
) -> tuple[Answerer, str, dict[str, Any]]:
    """Load who answers.

    Args:
        model: Used if it is chosen.
        encoder: Else this encoder.
        device: For either.
        weights: Folder of the encoder's weights, or of SAM2's.
        masks: Where the encoder's regions come from.
        many: A question may mean any number of things.

    Returns:
        A function that answers, its name for the table, and what the results depend on.
    """
    if model.chosen:
        if encoder is not None or masks is not None:
            raise UsageError("--model answers instead of an encoder; leave out --encoder and --masks")
        given = {name: value for name, value in model.given.items() if name not in ("allow_network", "timeout")}
        return _by_model(model.open(device=device, weights=weights)), str(model.given["model"]), {"model": given}
    from ...evaluation.answering import by_encoder

    found = load_encoder(encoder, device, weights, masks)
    answer = by_encoder(found, merge_of(encoder), many=many)
    return answer, f"{found.info.name}, regions", {"masks": masks, **encoder_settings(found)}


def _by_model(ask: Ask) -> Answerer:
    from ...evaluation.referring import Found
    from ...vlm.ask import MAX_PHRASE

    def answer(image: NDArray[np.uint8], path: str, texts: Sequence[str]) -> list[Found]:
        nothing = np.zeros(image.shape[:2], bool)
        out = []
        for text in texts:
            if len(" ".join(text.split())) > MAX_PHRASE:
                out.append(Found(nothing, TOO_LONG))
                continue
            asked, _ = ask(image, text)
            readable = asked.readable and not asked.instead
            out.append(Found(asked.mask if readable else nothing, "" if readable else UNREADABLE))
        return out

    return answer


def note_lines(notes: dict[str, int], count: int) -> list[str]:
    """Sentences for a report about questions that had no answer. They count as missed."""
    said = {
        "unknown": "have a word that the encoder does not know",
        UNREADABLE: "have no mask of what was asked for in the answer",
        TOO_LONG: "are longer than what a model is asked",
    }
    return [
        f"{n:,} of {count:,} expressions {said.get(note, note)}; they count as missed." for note, n in notes.items()
    ]
