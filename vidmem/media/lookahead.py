"""Which packets need decoding, known before they are decoded.

Half of the frames of a typical H.264 file are not referred to by any other frame (nal_ref_idc 0). If such a frame is
not sampled, it can be skipped without changing another picture, which saves a fifth to a third of the decoding time at
5 of 30 fps. Whether a packet is sampled depends on the frame shown before it, which may come later in the file. So
packets wait until no such frame can follow.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

_WINDOW = 256


class _Packet(Protocol):
    @property
    def pts(self) -> int | None: ...
    @property
    def dts(self) -> int | None: ...
    @property
    def is_discard(self) -> bool: ...


P = TypeVar("P", bound=_Packet)


class DoubtError(Exception):
    """A fast way of reading may yield wrong frames; use a more careful one."""


def look_ahead(packets: Iterable[P], cell: Callable[[int], int]) -> Iterator[tuple[P, bool]]:
    """Yield each packet with whether its frame is the first of its sampling cell, in display order.

    A packet is decided once a dts beyond its pts was read: later packets have a pts >= their dts.

    packets: in decoding order. cell: a function from a pts to the number of its cell, not decreasing.

    Raises:
        DoubtError: a time is missing or breaks these rules, or more than 256 packets had to wait.
    """
    waiting: deque[P] = deque()
    shown: list[int] = []  # pts of what is displayed, sorted, with one before those still undecided
    last_dts: int | None = None

    def first_of_cell(packet: P) -> bool:
        if packet.is_discard or packet.pts is None:
            return False
        place = bisect_left(shown, packet.pts)
        return place == 0 or cell(shown[place - 1]) < cell(packet.pts)

    for packet in packets:
        pts, dts = packet.pts, packet.dts
        if pts is None or dts is None or pts < dts or (last_dts is not None and dts <= last_dts):
            raise DoubtError
        last_dts = dts
        waiting.append(packet)
        if not packet.is_discard:
            insort(shown, pts)
        while waiting and (waiting[0].pts or 0) < dts:
            head = waiting.popleft()
            yield head, first_of_cell(head)
        if len(waiting) > _WINDOW:
            raise DoubtError
        if waiting and len(shown) > 2 * _WINDOW:
            del shown[: max(0, bisect_left(shown, waiting[0].dts or 0) - 1)]
    for head in waiting:
        yield head, first_of_cell(head)
