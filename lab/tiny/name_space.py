"""The names that views learn, their vectors in the text space, and the ImageNet classes among them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lab.names import KINDS, Names, all_names
from vidmem.encoders.tiny.text import load_text
from vidmem.errors import UsageError
from vidmem.records import Float32

OWN = 0.5
"""Weight of an ImageNet class's own name in its target; its everyday names share the rest."""


@dataclass(frozen=True, slots=True, eq=False)
class NameSpace:
    """All names. vectors: `(C, Dt)` float32 unit rows, the text tokens of the names in the shipped table. imagenet
    `(1000, C)`: target of each ImageNet class, rows of sum 1. coco: the row of each of COCO's 80 classes."""

    names: Names
    vectors: Float32
    imagenet: Float32
    coco: list[int]

    def kinds(self) -> NDArray[np.int64]:
        """For each name the row of the COCO class that it is a kind of, -1 if lab.names.KINDS has none."""
        out = np.full(len(self.names), -1)
        for name, kind in KINDS.items():
            row, above = self.names.find(name), self.names.find(kind)
            if row is not None and above is not None:
                out[row] = above
        return out

    def labels(self, names: np.ndarray) -> np.ndarray:
        """Return the rows of names, -1 for "". Raises KeyError for an unknown name."""
        return np.array([self.names.label(str(n)) if n else -1 for n in names])


def name_space(data: Path, more: list[str]) -> NameSpace:
    """data: the folder with clip_text/ and imagenet_labels.txt. more: further names."""
    names, of_imagenet = all_names(data / "clip_text", data / "imagenet_labels.txt", more)
    text = load_text()
    vectors = np.zeros((len(names), text.info.text_dim), np.float32)
    for i, known in enumerate(names.classes):
        try:
            vectors[i] = text.encode_text([known.name])[0]
        except UsageError:  # unknown letters: nobody can ask for it
            continue
    said = np.zeros((len(of_imagenet), len(names)), np.float32)
    for i, (own, *others) in enumerate(of_imagenet):
        said[i, own] = OWN if others else 1.0
        for other in others:
            said[i, other] += (1 - OWN) / len(others)
    coco = json.loads((data / "clip_text" / "coco_names.json").read_text("utf-8"))
    return NameSpace(names, vectors, said, [names.label(c) for c in coco])
