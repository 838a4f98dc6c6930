from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vidmem.media.lookahead import DoubtError, look_ahead
from vidmem.media.sampling import SLACK_NS, Sampler, cell, exact_rate, sampled
from vidmem.timecode import NS

# A busy machine is no counterexample.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=60)
times = st.lists(st.integers(0, 20 * NS), min_size=1, max_size=80, unique=True).map(sorted)
rates = st.one_of(st.sampled_from([1.0, 5.0, 0.3, 29.97, 30000 / 1001]), st.floats(0.01, 200))


@patient
@given(times, rates)
def test_sample_k_is_the_first_frame_from_k_over_fps_on(ts: list[int], fps: float) -> None:
    rate = exact_rate(fps)
    expected: list[int] = []
    for k in range(int((ts[-1] - ts[0] + SLACK_NS) * rate // NS) + 1):
        due = next((t for t in ts if (t - ts[0] + SLACK_NS) * rate >= k * NS), None)
        if due is not None and due not in expected[-1:]:
            expected.append(due)
    assert sampled(ts, fps) == expected


@patient
@given(times, rates)
def test_first_frame_is_sampled_and_none_twice(ts: list[int], fps: float) -> None:
    chosen = sampled(ts, fps)
    assert chosen[0] == ts[0]
    assert len(set(chosen)) == len(chosen)


@patient
@given(times, rates, st.integers(0, 79))
def test_resuming_needs_only_the_frame_before(ts: list[int], fps: float, at: int) -> None:
    at = min(at, len(ts) - 1)
    sampler = Sampler(fps, ts[0])
    rest = [t for t in ts[max(0, at - 1) :] if sampler.take(t)]
    assert [t for t in rest if t >= ts[at]] == [t for t in sampled(ts, fps) if t >= ts[at]]


def test_fps_0_takes_all() -> None:
    assert sampled([3, 4, 9], 0) == [3, 4, 9]


def test_no_times_gives_none() -> None:
    assert sampled([], 5) == []


@pytest.mark.parametrize("rate", [Fraction(30), Fraction(24), Fraction(30000, 1001)])
def test_times_rounded_to_milliseconds_lose_no_frame_at_their_own_rate(rate: Fraction) -> None:
    ts = [round(i / rate * 1000) * 1_000_000 for i in range(300)]
    assert sampled(ts, float(rate)) == ts


def test_rate_is_the_one_that_was_meant() -> None:
    assert exact_rate(0.3) == Fraction(3, 10)
    assert exact_rate(30000 / 1001) == Fraction(30000, 1001)
    assert exact_rate(1e-9) > 0
    assert cell(10 * NS, exact_rate(0.3)) == 3


class Pack:
    def __init__(self, pts: int | None, dts: int | None, is_discard: bool = False) -> None:
        self.pts, self.dts, self.is_discard = pts, dts, is_discard


@patient
@given(st.lists(st.integers(1, 9), min_size=1, max_size=60), st.integers(1, 6), st.integers(1, 20), st.randoms())
def test_look_ahead_knows_what_will_be_sampled(gaps: list[int], group: int, width: int, random: object) -> None:
    shown, t = [], 0
    for gap in gaps:
        t += gap
        shown.append(t)
    decode_order = [p for i in range(0, len(shown), group) for p in reversed(shown[i : i + group])]
    # the rule of the format: dts increases and no pts lies below it
    packets = [Pack(pts, shown[i] - shown[-1] - 1) for i, pts in enumerate(decode_order)]
    first = {p for i, p in enumerate(shown) if i == 0 or shown[i - 1] // width < p // width}
    found = list(look_ahead(packets, lambda pts: pts // width))
    assert [p.pts for p, _ in found] == decode_order
    assert {p.pts for p, wanted in found if wanted} == first


def test_look_ahead_leaves_out_what_an_edit_list_hides() -> None:
    packets = [Pack(0, 0, True), Pack(1, 1), Pack(2, 2)]
    assert [w for _, w in look_ahead(packets, lambda pts: pts // 10)] == [False, True, False]


def test_look_ahead_waits_no_longer_than_it_must() -> None:
    read = []

    def packets() -> object:
        for i in range(100):
            read.append(i)
            yield Pack(i + 2, i)

    next(iter(look_ahead(packets(), lambda pts: pts)))  # type: ignore[type-var, arg-type]
    assert len(read) == 4


@pytest.mark.parametrize("packet", [Pack(None, 5), Pack(5, None), Pack(4, 5), Pack(9, 0)])
def test_look_ahead_fails_on_unclear_times(packet: Pack) -> None:
    with pytest.raises(DoubtError):
        list(look_ahead([Pack(1, 1), packet], lambda pts: pts))


def test_look_ahead_fails_when_too_many_wait() -> None:
    with pytest.raises(DoubtError):
        list(look_ahead([Pack(10_000, i) for i in range(300)], lambda pts: pts))
