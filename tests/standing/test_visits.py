"""Which tracks of a thing are one visit."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from vidmem.standing.visits import visits


def test_tracks_with_a_short_gap_are_one_visit() -> None:
    assert visits([(0, 5), (7, 9), (30, 40)], 2) == [[0, 1], [2]]
    assert visits([(30, 40), (0, 35)], 2) == [[1, 0]]
    assert visits([(0, 50), (1, 2), (52, 60)], 2) == [[0, 1, 2]]
    assert visits([], 2) == []


SPANS = st.lists(st.tuples(st.integers(0, 200), st.integers(0, 30)).map(lambda pair: (pair[0], sum(pair))), max_size=12)


@given(SPANS, st.integers(0, 20))
def test_visits_are_the_stretches_without_a_longer_gap(spans: list[tuple[int, int]], away: int) -> None:
    found = visits(spans, away)
    assert sorted(i for visit in found for i in visit) == list(range(len(spans)))
    seen = {t for start, end in spans for t in range(start, end + away + 1)}
    stretches = sum(1 for t in seen if t - 1 not in seen)
    # A start exactly `away` after an end belongs to the visit; in whole numbers that stretch is not broken either.
    for one, then in pairwise(found):
        assert min(spans[i][0] for i in then) - max(spans[i][1] for i in one) > away
    assert len(found) >= stretches
