"""The text side of `tiny`. No network: it is quick to load."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...errors import ModelError
from ...probability import Probabilities
from ...records import Float32
from ..base import Calibration, EncoderInfo
from ..shipped import REGIONS, card, regions_hash, shipped
from ..text_table import TextTable


class TinyText:
    """The text side of `tiny`."""

    def __init__(self) -> None:
        from safetensors.numpy import load

        facts = card()
        tensors = load(shipped("tiny-text.safetensors"))
        vocabulary = shipped("tiny-vocabulary.txt").decode("utf-8").splitlines()
        self.table = TextTable(vocabulary, tensors["table"], tensors["scale"].astype(np.float32))
        self.names = tensors["names"].astype(np.float32)  # (C, Dt): every taught name and "background", unit rows
        hashes = facts["sha256"]
        self.info = EncoderInfo(
            name="tiny", weights="-".join(hashes[name][:16] for name in sorted(hashes) if name not in REGIONS),
            visual_dim=facts["visual_dim"], text_dim=facts["text_dim"], knows=facts["knows"], open_vocabulary=False,
            calibration=_calibration(facts), regions=regions_hash(),
        )  # fmt: skip

    def encode_text(self, phrases: Sequence[str]) -> Float32:
        return self.table.encode(phrases)

    def contrast(self, vector: Float32) -> Float32:
        # Names that mean nearly the same as the question do not speak against it.
        against: Float32 = self.names[self.names @ vector < card()["same_meaning"]]
        return against


def _calibration(facts: Mapping[str, Any]) -> Calibration:
    curves = facts.get("probability")
    try:
        fitted = None if curves is None else Probabilities.from_dict(curves)
    except ValueError as error:
        raise ModelError(f"the card of `tiny` is damaged ({error}); reinstall vidmem") from None
    return Calibration(**facts["calibration"], probability=fitted)
