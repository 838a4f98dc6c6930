"""The best views of tracks: how they are cut, which are kept, when they are looked at, and that resuming is exact."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from encoders.fake import COLOURS, LookingEncoder, picture
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from store.making import source

from vidmem.config import PRESETS
from vidmem.encoders import ViewEncoder, ViewTokens
from vidmem.errors import StoreError
from vidmem.indexer.picture_step import PictureStep
from vidmem.indexer.step import FrameStep
from vidmem.indexer.views import APART_NS, Views, combined, cut, sharpness, shrink, whole_view
from vidmem.media.photos import Listed, Read
from vidmem.records import Frame, RegionTokens, View
from vidmem.timecode import NS

SIZE = (160, 96)


def one(box: tuple[float, float, float, float], confidence: float = 1.0) -> RegionTokens:
    token = np.ones((1, 4), np.float32)
    return RegionTokens(
        token,
        token,
        np.ones((1, 2, 2), np.float32),
        np.zeros((1, 2), np.float32),
        np.array([box], np.float32),
        np.ones(1, np.float32),
        np.array([confidence], np.float32),
    )


def noisy(t_ns: int, seed: int = 0) -> Frame:
    return Frame(np.random.default_rng(seed).integers(0, 255, (96, 160, 3), np.uint8), t_ns, 0)


class Recorder(ViewEncoder):
    """A ViewEncoder that keeps what it was shown."""

    view_pixels, most_views, wants_hint = 40, 3, True

    def __init__(self) -> None:
        self.shown: list[tuple[int, tuple[float, float, float, float]]] = []

    def look(self, views: Sequence[View]) -> ViewTokens:
        self.shown += [(v.t_ns, v.box) for v in views]
        rows = np.eye(3, dtype=np.float32)[[i % 3 for i in range(len(views))]]
        return ViewTokens(rows, rows * 0.5)


def track(views: Views, step_boxes: list[tuple[int, tuple[float, float, float, float]]]) -> list[int]:
    """Offers the boxes of one track; the times of the views that are kept, best first."""
    for t_ns, box in step_boxes:
        views.offer(noisy(t_ns), np.array([0]), one(box), SIZE)
    return [slot.t_ns for slot in sorted(views._slots[0], key=lambda s: -s.quality)]


def test_a_cut_has_a_margin_and_no_more_pixels_than_wanted() -> None:
    image = np.zeros((96, 160, 3), np.uint8)
    image[40:60, 50:90] = 255
    out = cut(image, (50, 40, 90, 60), SIZE, 200)
    assert out.shape == (24, 48, 3)
    assert out[:2].max() == 0
    assert out[2:22, 4:44].min() == 255
    assert max(cut(image, (0, 0, 160, 96), SIZE, 40).shape) == 40


@given(st.floats(-20, 200), st.floats(-20, 120), st.floats(0, 200), st.floats(0, 120))
def test_any_box_gives_some_pixels(x: float, y: float, w: float, h: float) -> None:
    out = cut(np.zeros((96, 160, 3), np.uint8), (x, y, x + w, y + h), (320, 192), 64)
    assert min(out.shape[:2]) >= 1
    assert max(out.shape) <= 64


def test_a_picture_asked_with_is_looked_at_as_a_whole() -> None:
    view = whole_view(np.zeros((30, 60, 3), np.uint8), 40)
    assert view.image.shape == (20, 40, 3)
    assert view.box == (0, 0, 60, 30)
    assert view.hint.shape == (0,)


def test_blur_lowers_sharpness() -> None:
    sharp = np.random.default_rng(1).integers(0, 255, (64, 64, 3), np.uint8)
    blurred = np.repeat(np.repeat(shrink(sharp, 16), 4, 0), 4, 1)
    assert 0 <= sharpness(blurred) < sharpness(sharp) <= 1
    assert sharpness(np.zeros((2, 2, 3), np.uint8)) == 0


def test_larger_whole_views_far_apart_are_kept() -> None:
    times = track(
        Views(Recorder()),
        [
            (0, (20, 20, 30, 30)),
            (NS // 2, (20, 20, 50, 50)),  # within a second: the larger one
            (2 * NS, (20, 20, 45, 45)),
            (4 * NS, (0, 20, 60, 60)),  # cut off at the border
            (6 * NS, (60, 20, 100, 60)),
            (8 * NS, (20, 20, 22, 22)),
        ],
    )
    assert times[0] == 6 * NS
    assert NS // 2 in times
    assert 0 not in times
    assert 8 * NS not in times
    assert len(times) == Recorder.most_views


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(3, 60)), min_size=1, max_size=40))
def test_views_of_a_track_lie_apart(steps: list[tuple[int, int]]) -> None:
    t_ns, offered = 0, []
    for wait, side in steps:
        t_ns += wait * NS // 10
        offered.append((t_ns, (30.0, 20.0, 30.0 + side, 20.0 + side)))
    times = sorted(track(Views(Recorder()), offered))
    assert 1 <= len(times) <= Recorder.most_views
    assert all(b - a >= APART_NS for a, b in itertools.pairwise(times))


def test_a_region_that_is_of_no_track_is_not_cut() -> None:
    views = Views(Recorder())
    views.offer(noisy(0), np.array([-1]), one((20, 20, 50, 50)), SIZE)
    assert not views._slots


def test_views_that_disagree_are_less_sure() -> None:
    eye = np.eye(3, dtype=np.float32)
    alike = combined(eye[[0, 0]], eye[[0, 0]] * 0.8, np.ones(2, np.float32))
    apart = combined(eye[[0, 1]], eye[[0, 1]] * 0.8, np.ones(2, np.float32))
    assert alike[2] == pytest.approx(0.8)
    assert apart[2] == pytest.approx(0.8 / 2**0.5)
    assert np.linalg.norm(apart[0]) == pytest.approx(1)
    assert np.linalg.norm(apart[1]) == pytest.approx(1)
    nothing = combined(eye[:1], np.zeros((1, 3), np.float32), np.ones(1, np.float32))
    assert nothing[2] == 0
    assert np.isfinite(nothing[1]).all()


def frames(count: int = 40) -> list[NDArray[np.uint8]]:
    return [picture({"red": (2 * i % 100, 20), **({"blue": (100, 50)} if i % 20 < 10 else {})}) for i in range(count)]


def run(encoder: LookingEncoder, pictures: list[NDArray[np.uint8]], every: int, cut_at: int | None) -> list[object]:
    """All tracks as a store would have them in the end; with an interruption after the checkpoint at cut_at."""
    config = PRESETS["default"]
    step, kept = FrameStep(encoder, config, source(SIZE)), {}
    for i, image in enumerate(pictures):
        (found,) = encoder.encode([image], *SIZE)
        step.take(Frame(image, i * NS // 5, i), found)
        if (i + 1) % every == 0:
            made = step.checkpoint()
            kept |= {t.ordinal: t for t in made.tracks}
            if i + 1 == cut_at:
                step = FrameStep(encoder, config, source(SIZE, tracker_state=made.tracker_state))
    kept |= {t.ordinal: t for t in step.checkpoint(last=True).tracks}
    return [
        (
            t.ordinal,
            t.visual.tobytes(),
            t.text.tobytes(),
            t.text_confidence,
            t.confidence,
            t.best_ns,
            t.best_box,
            t.views,
        )
        for _, t in sorted(kept.items())
    ]


@pytest.mark.parametrize("cut_at", [8, 16, 32])
def test_interrupted_and_resumed_equals_uninterrupted(cut_at: int) -> None:
    assert run(LookingEncoder(), frames(), 8, cut_at) == run(LookingEncoder(), frames(), 8, None)


def test_a_view_is_looked_at_once() -> None:
    encoder = LookingEncoder()
    pictures = [picture({"red": (40, 20)}) for _ in range(40)]
    run(encoder, pictures, 8, None)
    assert sum(encoder.views.seen) <= encoder.views.most_views


def test_tokens_of_a_track_are_those_of_its_views() -> None:
    encoder = LookingEncoder()
    ((_, visual, text, sure, confidence, *_, marks),) = run(encoder, [picture({"red": (40, 20)})] * 8, 8, None)
    assert len(np.frombuffer(visual, np.float32)) == 12
    assert np.frombuffer(text, np.float32).argmax() == 0
    assert sure == pytest.approx(38 / 48, abs=0.03)
    assert confidence == pytest.approx(0.9)
    assert marks[0].t_ns == 0
    assert marks[0].image is None


def test_pictures_of_views_are_kept_when_wanted() -> None:
    encoder = LookingEncoder()
    step = FrameStep(encoder, PRESETS["default"], source(SIZE), keep_views=True)
    image = picture({"green": (40, 20)})
    step.take(Frame(image, 0, 0), encoder.encode([image], *SIZE)[0])
    (only,) = step.checkpoint(last=True).tracks
    assert only.views[0].image is not None
    assert only.views[0].image[8:12] == b"WEBP"


def test_a_single_picture_is_looked_at_region_by_region() -> None:
    encoder = LookingEncoder()
    image = picture({"green": (40, 20), "red": (100, 50)})
    step = PictureStep(encoder, PRESETS["default"], source(SIZE), ordinal=7, places={}, unreadable=set())
    step.take(Read(Listed("a.png", 1, 1), b"digest", image, *SIZE), encoder.encode([image], *SIZE)[0])
    made = step.checkpoint(last=True)
    assert made.frames[0].tracks.tolist() == [7, 8]
    assert [t.ordinal for t in made.tracks] == [7, 8]
    names = {list(COLOURS)[int(t.text.argmax())] for t in made.tracks}
    assert names == {"green", "red"}
    assert all(0 < t.text_confidence < 1 for t in made.tracks)


@pytest.mark.parametrize("state", [b"", b"x" * 40], ids=["empty", "noise"])
def test_a_damaged_state_fails(state: bytes) -> None:
    with pytest.raises(StoreError, match=r"saved views are damaged .* index again"):
        Views(Recorder()).restore(state)


def test_a_state_of_another_kind_of_encoder_fails(tmp_path: Path) -> None:
    from encoders.fake import ColourEncoder

    plain = ColourEncoder()
    step = FrameStep(plain, PRESETS["default"], source(SIZE))
    image = picture({"red": (40, 20)})
    step.take(Frame(image, 0, 0), plain.encode([image], *SIZE)[0])
    state = step.checkpoint().tracker_state
    with pytest.raises(StoreError, match="encoder of another kind"):
        FrameStep(LookingEncoder(), PRESETS["default"], source(SIZE, tracker_state=state))
