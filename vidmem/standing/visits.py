"""Which tracks of one thing are one visit: what is told once."""

from __future__ import annotations

from collections.abc import Sequence


def visits(spans: Sequence[tuple[int, int]], away_ns: int) -> list[list[int]]:
    """The visits of one thing, in order of time, as positions in `spans`.

    Two tracks belong to one visit if no more than `away_ns` lies between them, or between them and tracks between them.

    Args:
        spans: First and last time in view of each track, in ns.
        away_ns: The longest gap within a visit.
    """
    out: list[list[int]] = []
    until = 0
    for i in sorted(range(len(spans)), key=lambda i: (spans[i], i)):
        start, end = spans[i]
        if out and start - until <= away_ns:
            out[-1].append(i)
            until = max(until, end)
        else:
            out.append([i])
            until = end
    return out
