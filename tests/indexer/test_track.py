"""The tracker: greedy matching, gaps, what it hands out, and going on from its saved state bit for bit."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import load, save

from vidmem.config import TrackConfig
from vidmem.errors import StoreError
from vidmem.indexer.track import Tracker, match
from vidmem.records import Float32, RegionTokens, Track

GOLDEN = Path(__file__).parents[1] / "golden" / "tren" / "tracks.npz"
PAPER = TrackConfig(max_gap=0)


def regions(visual: Float32, text: Float32 | None = None, boxes: Float32 | None = None) -> RegionTokens:
    n = len(visual)
    boxes = np.tile(np.array([0, 0, 2, 3], np.float32), (n, 1)) if boxes is None else boxes
    text = visual[:, :1].copy() if text is None else text
    return RegionTokens(visual, text, np.ones((n, 1, 1), np.float32), boxes[:, :2], boxes, np.ones(n, np.float32))


def axes(*which: int) -> RegionTokens:
    """Regions that are unit vectors: the same number is the same thing, and no two others are alike."""
    return regions(np.eye(8, dtype=np.float32)[list(which)])


def video(seed: int, frames: int) -> list[RegionTokens]:
    """Noisy things that come and go; some frames are empty."""
    rng = np.random.default_rng(seed)
    things = rng.standard_normal((9, 6))
    out = []
    for _ in range(frames):
        seen = rng.permutation(9)[: rng.integers(0, 8)]
        visual = things[seen] + 0.3 * rng.standard_normal((len(seen), 6))
        boxes = rng.integers(0, 9, (len(seen), 4)) + np.array([0, 0, 9, 9])
        out.append(regions(visual.astype(np.float32), visual[:, :2].astype(np.float32), boxes.astype(np.float32)))
    return out


def plain_match(similarity: Float32, threshold: float) -> list[tuple[int, int]]:
    """All pairs in order, each taken when both sides are free."""
    a, m = similarity.shape
    pairs = [(-similarity[i, j], i, j) for i in range(a) for j in range(m) if similarity[i, j] >= np.float32(threshold)]
    rows: set[int] = set()
    columns: set[int] = set()
    taken = []
    for _, i, j in sorted(pairs):
        if i not in rows and j not in columns:
            rows.add(i)
            columns.add(j)
            taken.append((i, j))
    return sorted(taken)


def same(a: list[Track], b: list[Track]) -> bool:
    def key(track: Track) -> tuple[object, ...]:
        return (
            track.ordinal,
            track.start_ns,
            track.end_ns,
            track.frames,
            track.visual.tobytes(),
            track.text.tobytes(),
            track.best_ns,
            track.best_box,
        )

    return [key(track) for track in a] == [key(track) for track in b]


@pytest.mark.golden
def test_tracks_are_the_golden_ones() -> None:
    golden = np.load(GOLDEN, allow_pickle=False)
    tracker = Tracker(TrackConfig(threshold=float(golden["threshold"]), max_gap=0))
    members = []
    for frame in range(int(golden["n_frames"])):
        tokens = regions(golden[f"frame{frame}_tokens"], golden[f"frame{frame}_text"])
        ordinals = tracker.update(frame, tokens)
        members += [(int(ordinal), frame, region) for region, ordinal in enumerate(ordinals)]
    tracker.close()
    tracks = tracker.drain()
    assert sorted(members) == sorted(tuple(row) for row in golden["members_track_frame_region"].tolist())
    np.testing.assert_allclose([track.visual for track in tracks], golden["track_tokens"], atol=1e-5)
    np.testing.assert_allclose([track.text for track in tracks], golden["track_text"], atol=1e-5)
    assert [track.frames for track in tracks] == golden["counts"].tolist()
    assert [track.end_ns for track in tracks] == golden["last_frame"].tolist()


@settings(max_examples=300, deadline=None)
@given(
    # Quarters: most values are tied with others.
    quarters=hnp.arrays(
        np.int8, hnp.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=9), elements=st.integers(-4, 4)
    ),
    threshold=st.sampled_from([-1.0, 0.0, 0.25, 0.65, 1.0]),
)
def test_match_is_greedy_with_ties(quarters: np.ndarray, threshold: float) -> None:
    similarity = np.asarray(quarters / 4, dtype=np.float32)
    rows, columns = match(similarity, threshold)
    assert list(zip(rows.tolist(), columns.tolist(), strict=True)) == plain_match(similarity, threshold)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), a=st.integers(0, 40), m=st.integers(0, 40))
def test_match_is_greedy_and_one_to_one(seed: int, a: int, m: int) -> None:
    similarity = np.random.default_rng(seed).uniform(-1, 1, (a, m)).astype(np.float32)
    rows, columns = match(similarity, 0.3)
    assert list(zip(rows.tolist(), columns.tolist(), strict=True)) == plain_match(similarity, 0.3)
    assert len(set(rows.tolist())) == len(rows) == len(set(columns.tolist()))


def test_match_takes_a_pair_at_the_threshold_and_fails_below() -> None:
    at = np.array([[0.65]], dtype=np.float32)
    assert match(at, 0.65)[0].tolist() == [0]
    assert match(np.nextafter(at, np.float32(0)), 0.65)[0].tolist() == []


def test_a_thing_keeps_its_ordinal_and_a_new_one_gets_the_next() -> None:
    tracker = Tracker(PAPER)
    assert tracker.update(10, axes(0, 1)).tolist() == [0, 1]
    assert tracker.update(20, axes(1, 2, 0)).tolist() == [1, 2, 0]
    assert tracker.born == 3


def test_of_things_alike_the_one_that_is_where_it_was_goes_on() -> None:
    """Two things change what they look like; only their places tell which is which."""
    boxes = np.array([[0, 0, 4, 4], [10, 0, 14, 4]], dtype=np.float32)
    looks = np.array([[1, 0.8], [0.8, 1]], dtype=np.float32)
    for overlap, ordinals in ((0.0, [1, 0]), (0.5, [0, 1])):
        tracker = Tracker(TrackConfig(max_gap=0, overlap=overlap))
        tracker.update(0, regions(looks, boxes=boxes))
        assert tracker.update(1, regions(looks[::-1].copy(), boxes=boxes + 1)).tolist() == ordinals
    # It is where the track was last that counts, also for one that goes on after it was saved.
    again = Tracker.restore(tracker.state(), TrackConfig(max_gap=0, overlap=0.5))
    assert again.update(2, regions(looks, boxes=boxes + 2)).tolist() == [0, 1]


def test_what_is_where_a_thing_was_fails_to_join_it_when_it_looks_otherwise() -> None:
    tracker = Tracker(TrackConfig(max_gap=0, overlap=1.0))
    assert tracker.update(0, axes(0)).tolist() == [0]
    assert tracker.update(1, axes(1)).tolist() == [1]


@pytest.mark.parametrize("max_gap", [0, 1, 2, 5])
def test_a_track_outlives_max_gap_frames_and_fails_to_outlive_more(max_gap: int) -> None:
    for missed, ordinal in ((max_gap, 0), (max_gap + 1, 2)):
        tracker = Tracker(TrackConfig(max_gap=max_gap))
        tracker.update(0, axes(0))
        for frame in range(missed):  # empty frames count, and so do frames with other things
            tracker.update(frame + 1, axes(1) if frame == 0 else axes())
        born = 1 if missed else 0
        want = 0 if ordinal == 0 else 1 + born
        assert tracker.update(100, axes(0)).tolist() == [want]


def test_a_track_knows_its_span_its_mean_and_its_best_frame() -> None:
    tracker = Tracker(PAPER)
    for t_ns, length, side in ((5, 1, 4), (7, 2, 9), (9, 6, 9), (11, 3, 2)):
        box = np.array([[1, 1, 1 + side, 1 + side]], dtype=np.float32)
        visual = np.array([[length, 0]], dtype=np.float32)
        tracker.update(t_ns, regions(visual, -visual, box))
    (track,) = tracker.drain()
    assert (track.ordinal, track.start_ns, track.end_ns, track.frames) == (0, 5, 11, 4)
    np.testing.assert_array_equal(track.visual, [3, 0])  # the mean is of the tokens as they are, not of unit ones
    np.testing.assert_array_equal(track.text, [-3, 0])
    assert (track.best_ns, track.best_box) == (9, (1.0, 1.0, 10.0, 10.0))  # large, and where it just was


def test_the_best_frame_is_not_the_one_whose_mask_ran_over() -> None:
    """A large region that looks less like the track than the others; nor is it the first, while there are others."""
    tracker = Tracker(TrackConfig(threshold=0.3, max_gap=1))
    for t_ns, angle, side in ((0, 0.0, 20), (1, 0.0, 8), (2, 1.1, 12), (3, 0.2, 9), (4, 0.9, 10)):
        box = np.array([[1, 1, 1 + side, 1 + side]], dtype=np.float32)
        visual = np.array([[np.cos(angle), np.sin(angle)]], dtype=np.float32)
        tracker.update(t_ns, regions(visual, visual, box))
    (track,) = tracker.drain()
    assert (track.best_ns, track.best_box) == (3, (1.0, 1.0, 10.0, 10.0))


def test_the_best_frame_is_not_one_in_which_the_box_leaps() -> None:
    """However like the track it looks; what leaps always is shown where it is largest."""
    for sides, best in (((9, 9, 30, 10, 10), 4), ((9, 90, 8, 80, 7), 1)):
        tracker = Tracker(PAPER)
        for t_ns, side in enumerate(sides):
            box = np.array([[1, 1, 1 + side, 1 + side]], dtype=np.float32)
            tracker.update(t_ns, regions(axes(0).visual, axes(0).visual, box))
        (track,) = tracker.drain()
        assert track.best_ns == best


def test_a_thing_seen_once_has_that_frame() -> None:
    tracker = Tracker(PAPER)
    box = np.array([[1, 2, 3, 4]], dtype=np.float32)
    tracker.update(7, regions(np.zeros((1, 2), np.float32), np.zeros((1, 2), np.float32), box))
    (track,) = tracker.drain()
    assert (track.best_ns, track.best_box) == (7, (1.0, 2.0, 3.0, 4.0))


def test_drain_hands_out_what_changed_and_nothing_twice() -> None:
    tracker = Tracker(TrackConfig(max_gap=1))
    tracker.update(0, axes(0, 1))
    assert [(t.ordinal, t.frames) for t in tracker.drain()] == [(0, 1), (1, 1)]
    assert tracker.drain() == []
    tracker.update(1, axes(0))
    tracker.update(2, axes(2))
    tracker.update(3, axes(2))
    tracker.update(4, axes(3))  # 0 and 1 have ended by now; only 0 changed since the drain
    assert [(t.ordinal, t.end_ns, t.frames) for t in tracker.drain()] == [(0, 1, 2), (2, 3, 2), (3, 4, 1)]
    tracker.close()
    assert tracker.drain() == []
    assert tracker.update(5, axes(3)).tolist() == [4]  # what was closed is not continued


def test_close_leaves_the_undrained_to_drain() -> None:
    tracker = Tracker(PAPER)
    tracker.close()
    tracker.update(0, axes(4))
    tracker.close()
    assert [track.ordinal for track in tracker.drain()] == [0]


def test_a_drained_track_does_not_change_later() -> None:
    tracker = Tracker(PAPER)
    tracker.update(0, axes(0))
    (track,) = tracker.drain()
    tracker.update(1, regions(5 * np.eye(1, 8, dtype=np.float32)))
    assert (track.frames, track.visual[0]) == (1, 1)


def test_the_caller_may_reuse_its_arrays() -> None:
    tracker = Tracker(PAPER)
    tokens = axes(0)
    tracker.update(0, tokens)
    tokens.visual[:] = 9
    assert tracker.drain()[0].visual[0] == 1


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    cut=st.integers(0, 12),
    max_gap=st.integers(0, 3),
    threshold=st.sampled_from([0.1, 0.65, 0.9]),
    drained=st.booleans(),
)
def test_interrupted_plus_resumed_is_uninterrupted(
    seed: int, cut: int, max_gap: int, threshold: float, drained: bool
) -> None:
    config = TrackConfig(threshold=threshold, max_gap=max_gap)
    whole, first = Tracker(config), Tracker(config)
    frames = video(seed, 12)
    for t_ns, tokens in enumerate(frames[:cut]):
        np.testing.assert_array_equal(whole.update(t_ns, tokens), first.update(t_ns, tokens))
    if drained:
        assert same(whole.drain(), first.drain())
    second = Tracker.restore(first.state(), config)
    assert second.state() == first.state()
    for t_ns, tokens in enumerate(frames[cut:], start=cut):
        np.testing.assert_array_equal(whole.update(t_ns, tokens), second.update(t_ns, tokens))
    whole.close()
    second.close()
    assert second.state() == whole.state()
    assert same(whole.drain(), second.drain())


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), max_gap=st.integers(0, 3))
def test_tracks_partition_the_regions(seed: int, max_gap: int) -> None:
    tracker = Tracker(TrackConfig(max_gap=max_gap))
    frames = video(seed, 10)
    given_out = [tracker.update(t_ns, tokens) for t_ns, tokens in enumerate(frames)]
    tracker.close()
    tracks = tracker.drain()
    assert [track.ordinal for track in tracks] == list(range(tracker.born))
    assert sum(track.frames for track in tracks) == sum(len(tokens) for tokens in frames)
    for ordinals in given_out:
        assert len(set(ordinals.tolist())) == len(ordinals)
    for track in tracks:
        held = [t for t, ordinals in enumerate(given_out) if track.ordinal in ordinals]
        assert (held[0], held[-1], len(held)) == (track.start_ns, track.end_ns, track.frames)
        assert all(b - a <= max_gap + 1 for a, b in pairwise(held))
        tokens = [frames[t].visual[given_out[t] == track.ordinal][0] for t in held]
        np.testing.assert_allclose(track.visual, np.mean(tokens, axis=0), atol=1e-5)


def test_the_state_holds_only_active_tracks() -> None:
    rng = np.random.default_rng(0)
    tracker = Tracker(TrackConfig(max_gap=0, threshold=0.99))
    sizes = []
    for t_ns in range(30):
        tracker.update(t_ns, regions(rng.standard_normal((20, 16)).astype(np.float32)))
        tracker.drain()
        sizes.append(len(tracker.state()))
    assert tracker.born == 600
    assert max(sizes[1:]) == min(sizes[1:])


def test_update_fails_when_time_does_not_go_on() -> None:
    tracker = Tracker(PAPER)
    tracker.update(5, axes(0))
    for t_ns in (5, 4):
        with pytest.raises(ValueError, match="order of time"):
            tracker.update(t_ns, axes(0))
    assert tracker.update(6, axes(0)).tolist() == [0]


def test_update_fails_on_damaged_or_unfitting_tokens_and_stays_as_it_was() -> None:
    tracker = Tracker(PAPER)
    tracker.update(0, axes(0))
    before = tracker.state()
    with pytest.raises(ValueError, match="not finite"):
        tracker.update(1, regions(np.full((1, 8), np.nan, np.float32)))
    with pytest.raises(ValueError, match="does not fit"):
        tracker.update(1, regions(np.ones((1, 3), np.float32)))
    assert tracker.state() == before


def test_restore_fails_on_bytes_that_are_no_state() -> None:
    tracker = Tracker(PAPER)
    tracker.update(0, axes(0, 1))
    state = tracker.state()
    parts = load(state)
    newer = save(parts | {"head": parts["head"] + 1})
    short = save(parts | {"visual": parts["visual"][:1].copy()})
    flat = save(parts | {"head": np.array([3])})
    for damaged in (b"", b"no state", state[:-7], newer, short, flat, save({"visual": parts["visual"]})):
        with pytest.raises(StoreError, match="index again"):
            Tracker.restore(damaged, PAPER)


SIZE = (1280, 720)
WITHIN = TrackConfig(0.5, 5, reach=1.5)
AROUND = {n: (300.0 * n, 600.0) for n in range(1, 5)}
"""Things of no account and where they stand."""


def standing(places: dict[int, tuple[float, float]]) -> RegionTokens:
    """Things of 100 x 100 by their looks; 0 and 9 look nearly the same."""
    looks = np.eye(8, dtype=np.float32)[[0 if n == 9 else n for n in places]]
    looks[:, 7] = [0.1 if n == 9 else 0 for n in places]
    corners = np.array(list(places.values()), np.float32)
    return regions(looks, boxes=np.hstack([corners, corners + 100]))


def moved(places: dict[int, tuple[float, float]], dx: float) -> dict[int, tuple[float, float]]:
    return {n: (x + dx, y) for n, (x, y) in places.items()}


STILL = (0.0, 0.0)


def test_a_thing_that_leaves_does_not_become_the_like_one_that_stays() -> None:
    tracker = Tracker(WITHIN, SIZE)
    first = tracker.update(0, standing({0: (20, 100), 9: (700, 100)}))
    assert tracker.update(1, standing({9: (690, 100)}), (-10, 0)) == [first[1]]
    tracker = Tracker(WITHIN, SIZE)
    (alone,) = tracker.update(0, standing({0: (20, 100)}))
    assert tracker.update(1, standing({9: (700, 100)}), STILL) != [alone]
    free = Tracker(TrackConfig(0.5, 5), SIZE)
    (alone,) = free.update(0, standing({0: (20, 100)}))
    assert free.update(1, standing({9: (700, 100)}), STILL) == [alone]


def test_a_quick_turn_of_the_camera_breaks_no_track() -> None:
    tracker = Tracker(WITHIN, SIZE)
    first = tracker.update(0, standing({0: (700, 100)} | AROUND))
    np.testing.assert_array_equal(tracker.update(1, standing(moved({0: (700, 100)} | AROUND, -600)), (-600, 0)), first)


def test_what_moves_while_the_camera_turns_may_stay_where_it_is_in_the_picture() -> None:
    tracker = Tracker(WITHIN, SIZE)
    first = tracker.update(0, standing({0: (500, 100)}))
    np.testing.assert_array_equal(tracker.update(1, standing({0: (500, 100)}), (-600, 0)), first)


def test_anything_is_in_reach_where_nobody_knows_how_the_picture_moved() -> None:
    tracker = Tracker(WITHIN, SIZE)
    (first,) = tracker.update(0, standing({0: (20, 100)}))
    assert tracker.update(1, standing({0: (1000, 100)})) == [first]


def test_what_is_hidden_goes_with_the_picture() -> None:
    """Behind a post while the camera turns: it comes back where the turn has brought it, and not where it was."""
    for back, same in ((200, True), (900, False)):
        tracker = Tracker(WITHIN, SIZE)
        (first, *_) = tracker.update(0, standing({0: (900, 100)} | AROUND))
        tracker.update(1, standing(moved(AROUND, -350)), (-350, 0))
        (again, *_) = tracker.update(2, standing({0: (back, 100)} | moved(AROUND, -700)), (-350, 0))
        assert bool(again == first) is same


def test_a_box_around_two_things_is_not_the_one() -> None:
    tracker = Tracker(WITHIN, SIZE)
    (first,) = tracker.update(0, standing({0: (300, 100)}))
    wide = regions(np.eye(8, dtype=np.float32)[:1], boxes=np.array([[300, 100, 800, 200]], np.float32))
    assert tracker.update(1, wide, STILL) != [first]


@given(st.integers(0, 1000), st.integers(1, 11))
@settings(deadline=None)
def test_with_a_reach_interrupted_plus_resumed_is_uninterrupted(seed: int, at: int) -> None:
    config, frames = TrackConfig(0.3, 2, overlap=0.1, reach=0.2), video(seed, 12)
    whole, begun = Tracker(config, (20, 20)), Tracker(config, (20, 20))
    for t, tokens in enumerate(frames):
        if t == at:
            begun = Tracker.restore(begun.state(), config, (20, 20))
        went = (float(t % 3), -1.0)
        np.testing.assert_array_equal(whole.update(t, tokens, went), begun.update(t, tokens, went))
    assert whole.state() == begun.state()


def sure(*confidences: float, things: tuple[int, ...] = ()) -> RegionTokens:
    """Things that the encoder is as sure of as that."""
    return replace(axes(*(things or range(len(confidences)))), confidence=np.array(confidences, np.float32))


def test_a_region_too_uncertain_to_start_a_track_may_only_continue_one() -> None:
    tracker = Tracker(TrackConfig(max_gap=0, start=0.5))
    assert tracker.update(0, sure(0.5, 0.49, 0.9)).tolist() == [0, -1, 1]
    assert tracker.update(1, sure(0.1, 0.1, 0.1)).tolist() == [0, -1, 1]
    assert tracker.born == 2
    assert tracker.open_ordinals() == {0, 1}


def test_the_confidence_of_a_track_is_the_mean_of_its_regions() -> None:
    tracker = Tracker(PAPER)
    tracker.update(0, sure(0.25, 1.0))
    tracker.update(1, sure(0.75, 1.0))
    assert [track.confidence for track in tracker.drain()] == [0.5, 1.0]
    tracker.update(2, sure(0.5, 4.0))  # no encoder should say that
    assert [track.confidence for track in tracker.drain()] == [0.5, 1.0]


def test_a_track_is_handed_out_as_plain_numbers_and_float32_means() -> None:
    tracker = Tracker(PAPER)
    tracker.update(3, axes(0))
    tracker.update(5, axes(0))
    (track,) = tracker.drain()
    assert (track.visual.dtype, track.text.dtype) == (np.float32, np.float32)
    assert (track.visual.shape, track.text.shape) == ((8,), (1,))
    assert all(type(value) is int for value in (track.ordinal, track.start_ns, track.end_ns, track.frames))
    assert all(type(value) is float for value in (*track.best_box, track.confidence))
    assert (track.best_box, track.text_confidence, track.views) == ((0.0, 0.0, 2.0, 3.0), 1.0, ())


def test_ordinals_are_int64_and_empty_for_a_frame_without_regions() -> None:
    tracker = Tracker(PAPER)
    for t_ns, tokens in ((0, axes()), (1, axes(0)), (2, axes())):
        ordinals = tracker.update(t_ns, tokens)
        assert (ordinals.dtype, ordinals.shape) == (np.int64, (len(tokens),))


def test_open_tracks_are_those_that_may_continue() -> None:
    tracker = Tracker(TrackConfig(max_gap=1))
    assert tracker.open_ordinals() == set()
    tracker.update(0, axes(0, 1))
    tracker.update(1, axes(0))
    tracker.update(2, axes(0))
    assert tracker.open_ordinals() == {0, 1}  # 1 is dropped by the next frame, which it cannot be in
    tracker.update(3, axes(0))
    assert tracker.open_ordinals() == {0}
    tracker.close()
    assert tracker.open_ordinals() == set()


def test_tracks_are_handed_out_by_ordinal_also_when_a_later_one_ended_first() -> None:
    tracker = Tracker(PAPER)
    tracker.update(0, axes(0, 1, 2))
    for t_ns in (1, 2):
        tracker.update(t_ns, axes(0, 2))
    assert [(track.ordinal, track.end_ns) for track in tracker.drain()] == [(0, 2), (1, 0), (2, 2)]


def test_close_hands_out_nothing_that_was_drained() -> None:
    tracker = Tracker(PAPER)
    tracker.update(0, axes(0, 1))
    tracker.drain()
    tracker.update(1, axes(1))
    tracker.close()
    assert [track.ordinal for track in tracker.drain()] == [1]


def test_the_best_frame_is_the_earliest_of_equals_but_the_first() -> None:
    tracker = Tracker(PAPER)
    for t_ns in range(4):
        tracker.update(t_ns, axes(0))
    assert tracker.drain()[0].best_ns == 1


@pytest.mark.parametrize("then", [[-1.0, 0.0], [0.0, 0.0]], ids=["opposite", "zero"])
def test_a_later_frame_that_does_not_look_like_the_track_is_not_its_best(then: list[float]) -> None:
    tracker = Tracker(TrackConfig(threshold=-1.0, max_gap=0))
    for t_ns, (token, side) in enumerate((([1.0, 0.0], 2), (then, 50))):
        box = np.array([[0, 0, side, side]], np.float32)
        tracker.update(t_ns, regions(np.array([token], np.float32), boxes=box))
    (track,) = tracker.drain()
    assert (track.frames, track.best_ns, track.best_box) == (2, 0, (0.0, 0.0, 2.0, 2.0))


def test_a_large_view_that_looks_a_little_otherwise_makes_up_for_it_by_its_area() -> None:
    """Area times the fourth power of the cosine, here .9: 1.5 times the area is not enough, 1.6 times is."""
    for width, best in ((15, 1), (16, 2)):
        tracker = Tracker(TrackConfig(max_gap=0))
        wide = np.array([[0, 0, width, 10]], np.float32)
        tracker.update(0, regions(np.array([[1, 0]], np.float32), boxes=np.array([[0, 0, 10, 10]], np.float32)))
        tracker.update(1, regions(np.array([[1, 0]], np.float32), boxes=np.array([[90, 0, 100, 10]], np.float32)))
        # Both later boxes leap, so that only area and looks count.
        other = np.array([[0.9, np.sqrt(1 - 0.81)]], np.float32)
        tracker.update(2, regions(other, boxes=wide + np.array([[200, 0, 200, 0]], np.float32)))
        assert tracker.drain()[0].best_ns == best


def test_update_fails_on_a_damaged_or_unfitting_text_token_alone() -> None:
    tracker = Tracker(PAPER)
    tracker.update(0, axes(0))
    with pytest.raises(ValueError, match="not finite"):
        tracker.update(1, regions(axes(0).visual, np.full((1, 1), np.inf, np.float32)))
    with pytest.raises(ValueError, match="does not fit"):
        tracker.update(1, regions(axes(0).visual, np.ones((1, 2), np.float32)))


def altered(state: bytes, **changes: np.ndarray) -> bytes:
    return save(load(state) | changes)


def test_restore_fails_on_parts_that_do_not_fit_together() -> None:
    tracker = Tracker(PAPER)
    tracker.update(0, axes(0, 1))
    state = tracker.state()
    parts = load(state)
    head = parts["head"]
    for name, values in (("visual", parts["visual"]), ("text", parts["text"])):
        for wrong in (values.astype(np.float64), values[:1].copy(), values[:, :, None].copy(), values[:, 0].copy()):
            with pytest.raises(StoreError, match="index again"):
                Tracker.restore(altered(state, **{name: wrong}), PAPER)
    for number, value in ((0, head[0] - 1), (4, 3), (4, -1)):  # version; open tracks, of two
        wrong = head.copy()
        wrong[number] = value
        with pytest.raises(StoreError, match="index again"):
            Tracker.restore(altered(state, head=wrong), PAPER)
    with pytest.raises(StoreError, match="index again"):
        Tracker.restore(altered(state, facts=parts["facts"][:-1].copy()), PAPER)


def test_a_restored_tracker_knows_the_time_and_what_has_ended_but_was_not_drained() -> None:
    tracker = Tracker(PAPER)
    assert Tracker.restore(tracker.state(), PAPER).update(0, axes(0)).tolist() == [0]  # nothing was begun
    tracker.update(0, axes(0, 1))
    tracker.update(7, axes(1))
    tracker.update(8, axes(1))
    again = Tracker.restore(tracker.state(), PAPER)
    assert again.born == 2
    assert again.open_ordinals() == {1}
    with pytest.raises(ValueError, match="8 ns does not follow 8 ns"):
        again.update(8, axes(1))
    assert [(track.ordinal, track.end_ns) for track in again.drain()] == [(0, 0), (1, 8)]
    assert again.drain() == []


def test_time_zero_is_remembered_too() -> None:
    tracker = Tracker(PAPER)
    tracker.update(0, axes())
    with pytest.raises(ValueError, match="0 ns does not follow 0 ns"):
        Tracker.restore(tracker.state(), PAPER).update(0, axes())


@pytest.mark.parametrize("size", [(1280, 720), (720, 1280)])
@pytest.mark.parametrize(
    ("step", "within"),
    [
        ((278, 0), True),
        ((279, 0), False),
        ((0, -278), True),
        ((0, -279), False),
        ((222, 166), True),
        ((223, 167), False),
    ],
)
def test_reach_is_so_many_longest_sides_and_a_tenth_of_the_frame(
    size: tuple[int, int], step: tuple[int, int], within: bool
) -> None:
    """1.5 * 100 + 128 = 278 pixels, in any direction."""
    tracker = Tracker(WITHIN, size)
    (first,) = tracker.update(0, standing({0: (300, 300)}))
    assert (tracker.update(1, standing({0: (300 + step[0], 300 + step[1])}), STILL).tolist() == [first]) is within


@pytest.mark.parametrize(("side", "within"), [(378, True), (380, False)])
@pytest.mark.parametrize("grows", [True, False])
def test_a_box_may_grow_and_shrink_as_much_as_a_thing_may_move(side: int, within: bool, grows: bool) -> None:
    tracker = Tracker(WITHIN, SIZE)
    half = side / 2
    boxes = [np.array([[350 - h, 350 - 9, 350 + h, 350 + 9]], np.float32) for h in (50, half)]
    if not grows:
        boxes.reverse()
    (first,) = tracker.update(0, regions(axes(0).visual, boxes=boxes[0]))
    assert (tracker.update(1, regions(axes(0).visual, boxes=boxes[1]), STILL).tolist() == [first]) is within


def test_of_two_alike_the_overlap_counts_as_much_as_its_weight() -> None:
    """Cosines of 1 and .8; the box of the second one lies on that of the track."""
    looks = np.array([[1, 0], [0.8, 0.6]], np.float32)
    boxes = np.array([[50, 50, 60, 60], [0, 0, 10, 10]], np.float32)
    for weight, ordinals in ((0.1, [0, 1]), (0.3, [1, 0])):
        tracker = Tracker(TrackConfig(max_gap=0, overlap=weight))
        tracker.update(0, regions(looks[:1], boxes=boxes[1:]))
        assert tracker.update(1, regions(looks, boxes=boxes)).tolist() == ordinals


def test_overlap_does_not_lift_a_thing_over_the_threshold_and_one_at_it_counts() -> None:
    box = np.array([[0, 0, 10, 10]], np.float32)
    for cosine, ordinal in ((0.625, 0), (0.62, 1)):
        tracker = Tracker(TrackConfig(threshold=0.625, max_gap=0, overlap=0.9))
        tracker.update(0, regions(np.array([[1, 0]], np.float32), boxes=box))
        look = np.array([[cosine, np.sqrt(1 - cosine**2)]], np.float32)
        assert tracker.update(1, regions(look, boxes=box)).tolist() == [ordinal]
