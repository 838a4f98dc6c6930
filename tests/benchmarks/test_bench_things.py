"""Purity and completeness by hand."""

import numpy as np
import pytest

from benchmarks import things


def test_scores():
    seen = [(0, 7), (0, 7), (0, 8), (1, 7), (2, 8)]
    alone = {0: 0, 1: 1, 2: 2}
    assert things.scores(seen, alone) == (4, 3)  # one of five is in the wrong track; 2 of 3 and 1 of 2 are together
    joined = {0: 0, 1: 0, 2: 2}
    assert things.scores(seen, joined) == (4, 4)
    assert things.scores([], {}) == (0, 0)


def test_summary_sums_over_worlds():
    counts = {"observations": 4, "pure": 3, "complete": 2, "groups": 2, "drawings": 2}
    row = {"seed": 1, "like": 0.8, "look": True, **counts}
    (total,) = things.summary([row, {**row, "seed": 2, "pure": 4}])
    assert (total["purity"], total["completeness"]) == (pytest.approx(7 / 8), 0.5)


def test_tracks_alone_are_their_own_groups():
    assert things.groups_of(None, [3, 1, 3], None, True) == {3: 3, 1: 1}
    assert np.array_equal(sorted(things.groups_of(None, [3, 1], None, False)), [1, 3])
