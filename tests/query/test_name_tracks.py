"""Which of several labels a track has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from store.making import DT, MODEL, add, info, track

from vidmem.encoders import Calibration
from vidmem.encoders.probability import Curve, Probabilities
from vidmem.query.question import Phrase
from vidmem.query.search import Named, name_tracks
from vidmem.records import Float32
from vidmem.store import Store, VectorCache

PLAIN = Calibration(0.5, 0.0, 0.5, 0.5)
LIKELY = replace(PLAIN, probability=Probabilities(Curve(-6, 10, 0, 9, 9, 9)))
"""More likely than not from a score of .6 on."""
NONE = np.zeros((0, DT), np.float32)


def text(*parts: float) -> Float32:
    """A unit vector that begins so."""
    vector = np.zeros(DT, np.float32)
    vector[: len(parts)] = parts
    vector[-1] = np.sqrt(max(0.0, 1 - float((vector**2).sum())))
    return vector


CUP, BOTTLE = np.eye(DT, dtype=np.float32)[:2]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "m", create=True) as made:
        made.set_model(MODEL)
        for name, tokens in (("a", [text(0.9, 0.1), text(0.55, 0.7), text(0.3, 0.2)]), ("b", [text(0.2, 0.95)])):
            row = made.begin_source(info(name, name))
            add(made, row.id, [track(i, text=token) for i, token in enumerate(tokens)])
        yield made


def named(store: Store, calibration: Calibration, source: int, *labels: Float32) -> dict[int, Named]:
    """By ordinal."""
    found = name_tracks(VectorCache(store), calibration, source, [Phrase(label, NONE) for label in labels])
    ordinals = {t.id: t.ordinal for t in store.source_tracks(source)}
    return {ordinals[track]: one for track, one in found.items()}


@pytest.mark.parametrize("calibration", [PLAIN, LIKELY])
def test_the_likeliest_counts(store: Store, calibration: Calibration) -> None:
    found = named(store, calibration, 1, CUP, BOTTLE)
    assert {track: one.label for track, one in found.items()} == {0: 0, 1: 1}  # the third is none of them
    assert found[1].score == pytest.approx(0.7, abs=2e-3)
    found = named(store, calibration, 1, BOTTLE, CUP)
    assert {track: one.label for track, one in found.items()} == {0: 1, 1: 0}  # in whatever order
    assert {track: one.label for track, one in named(store, calibration, 2, CUP, BOTTLE).items()} == {0: 1}


def test_what_is_not_probably_meant_has_none(store: Store) -> None:
    assert set(named(store, PLAIN, 1, CUP)) == {0, 1}
    found = named(store, LIKELY, 1, CUP)
    assert set(found) == {0}  # .55 is less likely than not
    assert found[0].probability == pytest.approx(1 / (1 + np.exp(-3)), abs=5e-3)
    assert named(store, PLAIN, 1, CUP)[0].probability is None
    assert named(store, LIKELY, 2, CUP) == {}


def test_of_equal_labels_the_first_counts(store: Store) -> None:
    assert named(store, PLAIN, 1, CUP, CUP)[0].label == 0
    assert named(store, LIKELY, 1, CUP, CUP)[0].label == 0
