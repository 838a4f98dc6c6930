"""Run lengths against pycocotools."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from needs import needs
from vidmem.export.rle import box, run_lengths, segmentation

coco = needs("pycocotools.mask")


@given(hnp.arrays(bool, st.tuples(st.integers(1, 40), st.integers(1, 40))))
def test_equal_to_pycocotools(mask: NDArray[np.bool_]) -> None:
    theirs = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    ours = segmentation(mask)
    assert ours["counts"] == theirs["counts"].decode()
    assert ours["size"] == theirs["size"]
    assert run_lengths(mask).sum() == mask.size
    if mask.any():
        assert box(mask) == coco.toBbox(theirs).tolist()


def test_large_runs_and_nothing() -> None:
    mask = np.zeros((2160, 3840), bool)
    assert run_lengths(mask).tolist() == [mask.size]
    assert box(mask) == [0, 0, 0, 0]
    mask[700:900, 17:3000] = True
    theirs = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert segmentation(mask)["counts"] == theirs["counts"].decode()
    assert run_lengths(~np.zeros((2, 3), bool)).tolist() == [0, 6]
