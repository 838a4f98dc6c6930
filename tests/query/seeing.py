"""Tracks of things along the axes of both spaces, to fill memories with."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from store.making import DT, DV, add, info, track

from vidmem.records import Float32
from vidmem.store import Store
from vidmem.timecode import NS


def axis(dim: int, number: int, other: float = 0.0) -> Float32:
    """A unit vector along one axis, leaning by `other` towards the last one."""
    vector = np.zeros(dim, np.float32)
    vector[number], vector[-1] = 1, other
    return np.asarray(vector / np.linalg.norm(vector), np.float32)


def seen(ordinal: int, what: int, start_s: float, end_s: float, lean: float = 0.0, **more: Any) -> Any:
    """A track of thing number `what`."""
    return track(
        ordinal,
        visual=axis(DV, what, lean),
        text=axis(DT, what, lean),
        start_ns=int(start_s * NS),
        end_ns=int(end_s * NS),
        best_ns=int((start_s + end_s) / 2 * NS),
        **more,
    )


def source(store: Store, name: str, tracks: list[Any], start_ns: int | None = None) -> int:
    row = store.begin_source(dataclasses.replace(info(name, name), start_ns=start_ns))
    add(store, row.id, tracks, state="done")
    return row.id
