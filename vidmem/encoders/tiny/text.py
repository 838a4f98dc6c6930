"""The text side of `tiny`. It is a table, not a network, so it loads quickly."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import numpy as np

from ...errors import ModelError
from ...geometry import unit
from ...records import Float32
from ..base import Calibration, EncoderInfo, Reading, TextEncoder
from ..probability import Probabilities
from ..shipped import REGIONS, card, regions_hash, shipped
from ..spec import LoadOptions
from . import names
from .text_table import TextTable, said


class TinyText(TextEncoder):
    """The text side of `tiny`. A phrase beyond its limits is not a name, and reading it would be slow."""

    max_letters, max_words = 200, 30

    def __init__(self) -> None:
        from safetensors.numpy import load

        facts = card()
        tensors = load(shipped("tiny-text.safetensors"))
        vocabulary = shipped("tiny-vocabulary.txt").decode("utf-8").splitlines()
        self.table = TextTable(vocabulary, tensors["table"], tensors["scale"].astype(np.float32))
        self.contrast_vectors = tensors["names"].astype(np.float32)
        """`(C, Dt)` unit rows: every name of the training, and "background"."""
        hashes = facts["sha256"]
        self.info = EncoderInfo(
            name="tiny",
            weights="-".join(hashes[name][:16] for name in sorted(hashes) if name not in REGIONS),
            visual_dim=facts["visual_dim"],
            text_dim=facts["text_dim"],
            knows=facts["knows"],
            open_vocabulary=False,
            calibration=_calibration(facts),
            regions=regions_hash(),
        )

    def encode_text(self, phrases: Sequence[str]) -> Float32:
        """See TextEncoder. The vector of a synonym ("mug") lies between its own and that of the class ("cup")."""
        own = self.table.encode(phrases)
        heads = [synonyms().get(" ".join(said(phrase))) for phrase in phrases]
        rows = [i for i, head in enumerate(heads) if head is not None]
        if rows:
            own[rows] = unit(own[rows] + self.table.encode([head for head in heads if head is not None]))
        return own

    def reading(self, phrase: str) -> Reading:
        """See TextEncoder."""
        return names.reading(phrase, self.table.vocabulary)

    def names(self) -> dict[str, str]:
        """See TextEncoder."""
        return names.names()

    def contrast(self, vector: Float32) -> Float32:
        """See TextEncoder. Names that mean nearly the same as the phrase are left out."""
        vectors: Float32 = self.contrast_vectors[self.contrast_vectors @ vector < card()["same_meaning"]]
        return vectors


@functools.cache
def synonyms() -> dict[str, str]:
    """Synonyms of the detector's classes -> the class, both normalized by `text_table.said`."""
    out = {}
    for line in (files("vidmem.encoders.tiny") / "synonyms.txt").read_text("utf-8").splitlines():
        head, _, others = line.partition(":")
        if others and not line.startswith("#"):
            for other in others.split(","):
                out[" ".join(said(other))] = head
                out[" ".join(said(other.strip() + "s"))] = head
    return out


def _calibration(facts: Mapping[str, Any]) -> Calibration:
    curves = facts.get("probability")
    try:
        fitted = None if curves is None else Probabilities.from_dict(curves)
    except ValueError as error:
        raise ModelError(f"the card of `tiny` is damaged ({error}); reinstall vidmem") from None
    return Calibration(**facts["calibration"], probability=fitted)


def load_text(options: LoadOptions | None = None) -> TinyText:
    """Load the text side only. Raises ModelError as `encoder.load`."""
    check_backbone(options or LoadOptions())
    return TinyText()


def check_backbone(options: LoadOptions) -> None:
    """Raise ModelError if a backbone was named: there is only one."""
    if options.backbone:
        raise ModelError(f"`tiny` has no backbone {options.backbone!r} to choose; the encoder is called tiny")
