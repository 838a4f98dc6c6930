"""The best views of tracks: how they are cut, which are kept, when they are looked at, and that resuming is exact."""

from __future__ import annotations

import io
import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from encoders.fake import COLOURS, LookingEncoder, picture
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from safetensors.numpy import load, save
from store.making import source

from vidmem.config import PRESETS
from vidmem.encoders import ViewEncoder, ViewTokens
from vidmem.errors import StoreError
from vidmem.indexer.picture_step import PictureStep
from vidmem.indexer.step import FrameStep
from vidmem.indexer.views import (
    APART_NS,
    Sharpness,
    Views,
    _place,
    _Slot,
    combined,
    cut,
    encode_views,
    sharpness,
    shrink,
    view_marks,
    whole_view,
)
from vidmem.media.photos import Listed, Read
from vidmem.records import Frame, RegionTokens, Track, View
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

    view_pixels, max_views, wants_hint = 40, 3, True

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
    assert len(times) == Recorder.max_views


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(3, 60)), min_size=1, max_size=40))
def test_views_of_a_track_lie_apart(steps: list[tuple[int, int]]) -> None:
    t_ns, offered = 0, []
    for wait, side in steps:
        t_ns += wait * NS // 10
        offered.append((t_ns, (30.0, 20.0, 30.0 + side, 20.0 + side)))
    times = sorted(track(Views(Recorder()), offered))
    assert 1 <= len(times) <= Recorder.max_views
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
    assert sum(encoder.views.seen) <= encoder.views.max_views


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


def coordinates(rows: int, columns: int) -> NDArray[np.uint8]:
    """An image whose pixels say where they are: their column in red, their row in green."""
    y, x = np.mgrid[:rows, :columns]
    return np.stack([x, y, 0 * x], axis=-1).astype(np.uint8)


@pytest.mark.parametrize(
    ("box", "columns", "rows"),
    [
        ((40, 40, 80, 80), (18, 41), (12, 27)),  # 36 to 84 of 160, 36 to 84 of 96
        ((41, 41, 79, 79), (18, 40), (12, 27)),  # part of a pixel before counts, of one behind when it is half of it
        ((0, 0, 160, 96), (0, 79), (0, 31)),
        ((-50, -50, -40, -40), (0, 0), (0, 0)),  # never nothing
        ((300, 300, 310, 310), (79, 79), (31, 31)),
        ((80, 48, 80, 48), (40, 40), (16, 16)),
    ],
)
def test_a_cut_is_of_these_pixels_of_a_smaller_image(
    box: tuple[float, float, float, float], columns: tuple[int, int], rows: tuple[int, int]
) -> None:
    out = cut(coordinates(32, 80), box, SIZE, 200)
    assert (tuple(out[0, 0, :2]), tuple(out[-1, -1, :2])) == ((columns[0], rows[0]), (columns[1], rows[1]))


@pytest.mark.parametrize(
    ("shape", "pixels", "want"),
    [
        ((20, 40), 40, (20, 40)),
        ((20, 41), 40, (20, 40)),
        ((61, 30), 40, (40, 20)),
        ((1, 300), 40, (1, 40)),
        ((300, 1), 40, (40, 1)),
    ],
)
def test_an_image_is_shrunk_to_its_longest_side(shape: tuple[int, int], pixels: int, want: tuple[int, int]) -> None:
    out = shrink(np.full((*shape, 3), 7, np.uint8), pixels)
    assert (out.shape, out.dtype) == ((*want, 3), np.uint8)
    assert (out == 7).all()


def test_an_image_that_is_small_enough_is_returned_as_it_is_in_one_piece() -> None:
    image = coordinates(40, 80)[10:20, 5:25]
    out = shrink(image, 20)
    np.testing.assert_array_equal(out, image)
    assert out.flags.c_contiguous


def stripes(rows: int, columns: int) -> NDArray[np.uint8]:
    """Every other column is bright in green; red and blue are noise."""
    image = np.random.default_rng(0).integers(0, 255, (rows, columns, 3), np.uint8)
    image[..., 1] = np.arange(columns) % 2 * 255
    return image


def sharp_boxes(image: NDArray[np.uint8], *boxes: tuple[float, ...]) -> list[float]:
    out = Sharpness(image).of(np.array(boxes, np.float32))
    assert (out.dtype, out.shape) == (np.float32, (len(boxes),))
    return [float(value) for value in out]


def test_sharpness_is_second_differences_against_the_spread() -> None:
    # Second differences of 510 but at the border, a spread of 127.5 and 2 for noise; .3 counts as half sharp.
    strength = 510 / 129.5
    assert sharp_boxes(stripes(64, 64), (8, 8, 56, 56)) == pytest.approx([strength / (strength + 0.3)])
    dot = np.zeros((3, 3, 3), np.uint8)
    dot[1, 1, 1] = 255
    strength = 340 / ((255**2 / 9 - (255 / 9) ** 2) ** 0.5 + 2)
    assert sharp_boxes(dot, (0, 0, 3, 3)) == pytest.approx([strength / (strength + 0.3)])
    assert sharpness(dot) == pytest.approx(strength / (strength + 0.3))


@pytest.mark.parametrize("shape", [(2, 64), (64, 2), (64, 1)])
def test_an_image_too_narrow_for_second_differences_is_not_sharp(shape: tuple[int, int]) -> None:
    assert sharpness(stripes(*shape)) == 0


def test_sharpness_of_a_large_image_is_measured_on_some_of_its_pixels() -> None:
    assert sharpness(stripes(16, 480)) > 0.5
    assert sharpness(stripes(16, 481)) == 0  # every other column
    wide = np.zeros((64, 960, 3), np.uint8)
    wide[32:, 480:, 1] = np.arange(480) // 2 % 2 * 255  # stripes of two pixels
    assert sharp_boxes(wide, (500, 40, 540, 60), (0, 0, 400, 10))[0] > 0.5
    assert sharp_boxes(wide, (0, 0, 400, 10), (0, 40, 400, 60), (600, 0, 700, 10)) == [0, 0, 0]


def test_the_sharpness_of_a_box_is_that_of_the_cells_it_touches() -> None:
    image = np.zeros((24, 40, 3), np.uint8)
    image[9:15, 17:23, 1] = np.arange(6) % 2 * 255  # in the third cell of the second row
    for box, some in (
        ((18, 10, 19, 11), True),
        ((16, 8, 24, 16), True),
        ((0, 8, 16, 16), False),
        ((0, 8, 16.5, 16), True),
        ((24, 8, 40, 16), False),
        ((23.5, 8, 40, 16), True),
        ((16, 0, 24, 8), False),
        ((16, 0, 24, 8.5), True),
        ((16, 16, 24, 24), False),
        ((16, 15.5, 24, 24), True),
        ((-90, -90, -80, -80), False),
        ((90, 90, 99, 99), False),
        ((-90, -90, 99, 99), True),
    ):
        assert (sharp_boxes(image, box)[0] > 0) is some, box


def test_a_box_beyond_the_image_is_as_sharp_as_the_cell_at_its_corner() -> None:
    image = np.zeros((20, 36, 3), np.uint8)
    image[17:19, 33:35, 1] = [[0, 255], [255, 0]]  # the last cell is cut off by the border
    assert sharp_boxes(image, (90, 90, 99, 99)) == sharp_boxes(image, (32, 16, 36, 20))
    assert sharp_boxes(image, (90, 90, 99, 99))[0] > 0
    image = image[::-1, ::-1].copy()
    assert sharp_boxes(image, (-9, -9, -8, -8)) == sharp_boxes(image, (0, 0, 8, 8))


def plain(t_ns: int) -> Frame:
    return Frame(np.full((96, 160, 3), 100, np.uint8), t_ns, 0)


@pytest.mark.parametrize(
    ("box", "confidence", "quality"),
    [
        ((60, 30, 80, 50), 1.0, 0.25),  # half as large as what is looked at, and half for what is not sharp
        ((60, 30, 70, 70), 1.0, 0.25),
        ((60, 30, 80, 50), 0.5, 0.125),
        ((20, 20, 80, 80), 1.0, 0.5),  # larger than what is looked at: no better
        ((60, 30, 60.5, 30.5), 1.0, 0.0125),  # as one pixel
        ((0.6, 30, 20.6, 50), 1.0, 0.125),  # cut off at a border
        ((0.7, 30, 20.7, 50), 1.0, 0.25),
        ((60, 0.3, 80, 20.3), 1.0, 0.125),
        ((60, 0.4, 80, 20.4), 1.0, 0.25),
        ((139.5, 30, 159.5, 50), 1.0, 0.125),
        ((139.2, 30, 159.2, 50), 1.0, 0.25),
        ((60, 75.7, 80, 95.7), 1.0, 0.125),
        ((60, 75.5, 80, 95.5), 1.0, 0.25),
    ],
)
def test_a_view_is_as_good_as_it_is_large_whole_and_sure(
    box: tuple[float, float, float, float], confidence: float, quality: float
) -> None:
    views = Views(Recorder())
    views.offer(plain(0), np.array([0]), one(box, confidence), SIZE)
    assert views._slots[0][0].quality == pytest.approx(quality, rel=1e-5)


def test_a_sharp_view_is_up_to_twice_as_good() -> None:
    views = Views(Recorder())
    box = (56.0, 24.0, 96.0, 64.0)
    image = stripes(96, 160)
    views.offer(Frame(image, 0, 0), np.array([0]), one(box), SIZE)
    small = np.ascontiguousarray(image[::2])  # the same frame in another size
    views.offer(Frame(small, 0, 0), np.array([1]), one(box), SIZE)
    for slots, rows in ((views._slots[0], (24, 64)), (views._slots[1], (12, 32))):
        (sharp,) = sharp_boxes(image if rows[0] == 24 else small, (56, rows[0], 96, rows[1]))
        assert sharp > 0.9
        assert slots[0].quality == pytest.approx(0.5 + 0.5 * sharp)
        assert slots[0].view is not None
        assert slots[0].view.sharpness == pytest.approx(sharp)


def slot(quality: float, t_ns: int) -> _Slot:
    return _Slot(quality, t_ns, (0.0, 0.0, 1.0, 1.0), None)


@pytest.mark.parametrize(
    ("slots", "quality", "t_s", "place"),
    [
        ([], 0.001, 0, 0),
        ([(1.0, 0)], 1.31, 1, 0),  # within two seconds: it has to be better by far
        ([(1.0, 0)], 1.3, 1, None),
        ([(1.0, 4)], 1.31, 3, 0),
        ([(1.0, 0)], 0.61, 2, 1),  # a further one
        ([(1.0, 0)], 0.6, 2, None),
        ([(1.0, 4)], 0.61, 2, 1),
        ([(0.5, 0), (1.0, 8)], 0.61, 4, 2),
        ([(0.5, 0), (1.0, 8)], 0.6, 4, None),
        ([(1.0, 0), (0.5, 2)], 9.0, 1, None),  # close to two of them
        ([(1.0, 0), (0.5, 8), (0.7, 12)], 0.66, 4, 1),  # all are taken: the worst one goes
        ([(1.0, 0), (0.5, 8), (0.7, 12)], 0.65, 4, None),
        ([(0.5, 0), (0.5, 8), (0.7, 12)], 0.66, 4, 0),
        ([(1.0, 0), (0.5, 8), (0.7, 12)], 0.95, 13, 2),
        ([(1.0, 0), (0.5, 8), (0.7, 12)], 0.9, 13, None),
    ],
)
def test_which_view_gives_way_to_a_new_one(
    slots: list[tuple[float, int]], quality: float, t_s: int, place: int | None
) -> None:
    assert _place([slot(q, t * NS) for q, t in slots], quality, t_s * NS, 3) == place


def offered(views: Views, t_ns: int, *ordinals: int, side: int = 40) -> None:
    """Each track of another thing in the frame."""
    boxes = [(10.0 + 30 * n, 20.0, 10.0 + 30 * n + side, 20.0 + side) for n in range(len(ordinals))]
    found = [one(box, 0.5 + n / 8) for n, box in enumerate(boxes)]
    token = np.arange(4 * len(found), dtype=np.float32).reshape(-1, 4)
    merged = RegionTokens(
        token,
        token,
        np.ones((len(found), 2, 2), np.float32),
        np.zeros((len(found), 2), np.float32),
        np.array(boxes, np.float32),
        np.ones(len(found), np.float32),
        np.concatenate([f.confidence for f in found]),
    )
    views.offer(noisy(t_ns), np.array(ordinals), merged, SIZE)


def followed(ordinal: int) -> Track:
    token = np.zeros(4, np.float32)
    return Track(ordinal, 0, 9 * NS, 5, token, token, 0, (0.0, 0.0, 1.0, 1.0), 0.5)


def test_a_region_goes_to_its_own_track_whatever_comes_before_it() -> None:
    views = Views(Recorder())
    offered(views, 0, -1, 7, 0)
    assert {ordinal: [s.box[0] for s in slots] for ordinal, slots in views._slots.items()} == {7: [40.0], 0: [70.0]}
    view = views._slots[7][0].view
    assert view is not None
    assert (view.hint.tolist(), view.confidence, view.frame_size, view.t_ns) == ([4, 5, 6, 7], 0.625, SIZE, 0)


def test_a_poorer_view_is_passed_over_and_the_next_region_is_still_offered() -> None:
    views = Views(Recorder())
    offered(views, 0, 0)
    offered(views, NS, 0, 1)
    assert {ordinal: [s.t_ns for s in slots] for ordinal, slots in views._slots.items()} == {0: [0], 1: [NS]}


def test_tracks_get_the_tokens_of_their_views_the_best_first() -> None:
    encoder = Recorder()
    views = Views(encoder)
    offered(views, 0, 3, 4)
    offered(views, 5 * NS, 4, 3)  # now 3 is the surer one
    first, second = views.settle([followed(3), followed(4)])
    assert [t for t, _ in encoder.shown] == [0, 5 * NS, 0, 5 * NS]
    assert [mark.t_ns for mark in first.views] == [5 * NS, 0]
    assert [mark.t_ns for mark in second.views] == [0, 5 * NS]
    assert (first.best_ns, first.best_box) == (5 * NS, (40.0, 20.0, 80.0, 60.0))
    assert first.best_box == first.views[0].box
    assert first.views[0].quality > first.views[1].quality
    # The views of a track are axes: each weighs as much as its quality.
    a, b = first.views[1].quality, first.views[0].quality
    assert first.visual == pytest.approx(np.array([a, b, 0]) / np.hypot(a, b))
    assert first.text_confidence == pytest.approx(0.5 * np.hypot(a, b) / (a + b))
    assert (first.ordinal, first.end_ns, first.frames, first.confidence) == (3, 9 * NS, 5, 0.5)
    assert all(mark.image is None for track in (first, second) for mark in track.views)
    assert views.settle([followed(3)])[0].visual == pytest.approx(first.visual)
    assert len(encoder.shown) == 4  # nothing was new


def test_settle_without_tracks_asks_nothing_of_the_encoder() -> None:
    encoder = Recorder()
    assert Views(encoder).settle([]) == []
    assert encoder.shown == []


def test_kept_pictures_come_once_with_the_hint_and_the_confidence_of_their_view() -> None:
    views = Views(Recorder(), keep=True)
    offered(views, 0, 3)
    ((mark,),) = (track.views for track in views.settle([followed(3)]))
    assert mark.image is not None
    with Image.open(io.BytesIO(mark.image)) as image:
        assert (image.format, image.size) == ("WEBP", (40, 40))
        near = cut(noisy(0).image, mark.box, SIZE, 40)
        assert np.abs(np.asarray(image.convert("RGB"), int) - near).mean() < 40
    assert (mark.hint, mark.confidence) == ((0.0, 1.0, 2.0, 3.0), 0.5)
    ((again,),) = (track.views for track in views.settle([followed(3)]))
    assert (again.image, again.hint, again.t_ns, again.box) == (None, (), 0, mark.box)


def test_a_state_holds_the_views_of_open_tracks_and_continues() -> None:
    views = Views(Recorder())
    offered(views, 0, 3, 4)
    with pytest.raises(ValueError, match="settle first"):
        views.state()
    before = views.settle([followed(3), followed(4)])
    views.forget({4, 9})
    again = Views(Recorder())
    again.restore(views.state())
    assert list(again._slots) == [4]
    assert again.state() == views.state()
    (after,) = again.settle([followed(4)])
    assert after.visual.tobytes() == before[1].visual.tobytes()
    assert after.text.tobytes() == before[1].text.tobytes()
    assert after.views == before[1].views
    assert type(after.views[0].t_ns) is int
    assert type(after.views[0].box) is tuple
    empty = Views(Recorder())
    empty.restore(Views(Recorder()).state())
    assert empty._slots == {}


def test_restore_fails_on_columns_that_do_not_fit_together() -> None:
    views = Views(Recorder())
    offered(views, 0, 3, 4)
    views.settle([followed(3), followed(4)])
    parts = load(views.state())
    short = {name: parts | {name: values[:1].copy()} for name, values in parts.items()}
    missing = {name: {n: v for n, v in parts.items() if n != name} for name in parts}
    narrow = {"narrow": parts | {"box": parts["box"][:, :3].copy()}, "flat": parts | {"box": parts["box"][:, 0].copy()}}
    for damaged in (*short.values(), *missing.values(), *narrow.values()):
        with pytest.raises(StoreError, match=r"saved views are damaged .* index again"):
            Views(Recorder()).restore(save(damaged))


def test_views_of_a_single_image_say_all_about_their_regions() -> None:
    encoder, image = Recorder(), noisy(0).image
    regions = one((20, 20, 60, 60), 0.75)
    out, (view,) = encode_views(encoder, image, regions, (320, 192))
    assert (view.t_ns, view.box, view.frame_size, view.confidence) == (0, (20, 20, 60, 60), (320, 192), 0.75)
    np.testing.assert_array_equal(view.image, cut(image, (20, 20, 60, 60), (320, 192), 40))
    assert view.hint.tolist() == [1, 1, 1, 1]
    assert view.hint is not regions.text[0]
    assert view.sharpness == pytest.approx(sharp_boxes(image, (10, 10, 30, 30))[0])
    assert (out.visual.tolist(), out.text.tolist()) == ([[1, 0, 0]], [[0.5, 0, 0]])
    assert out.boxes is regions.boxes
    (mark,) = view_marks([view])
    assert (mark.t_ns, mark.box, mark.quality, mark.confidence) == (0, (20, 20, 60, 60), 1.0, 0.75)
    assert mark.hint == (1.0, 1.0, 1.0, 1.0)
    assert encode_views(encoder, image, regions, (320, 192), 7)[1][0].t_ns == 7


def test_a_query_image_is_a_view_of_a_frame_of_its_own() -> None:
    image = noisy(0).image
    view = whole_view(image, 40)
    assert (view.frame_size, view.t_ns, view.confidence, view.hint.dtype) == (SIZE, 0, 1.0, np.float32)
    assert view.sharpness == sharpness(view.image)


def test_the_tokens_of_a_track_are_means_weighted_by_quality() -> None:
    visual, text = np.array([[2, 0], [0, 2]], np.float32), np.array([[1, 0], [0, 1]], np.float32)
    unit, named, sure = combined(visual, text, np.array([3, 1], np.float32))
    assert unit == pytest.approx(np.array([3, 1]) / 10**0.5)
    assert named == pytest.approx(np.array([3, 1]) / 10**0.5)
    assert (unit.dtype, named.dtype) == (np.float32, np.float32)
    assert sure == pytest.approx(10**0.5 / 4)
    assert combined(visual, 5 * text, np.array([1, 0], np.float32))[2] == 1.0
    assert combined(visual, text, np.zeros(2, np.float32))[2] == 0  # no view is any good


def test_a_shrunk_edge_has_no_halo() -> None:
    image = np.full((96, 96, 3), 60, np.uint8)
    image[:, 41:] = 200
    out = shrink(image, 30)
    assert (out.min(), out.max()) == (60, 200)


def test_a_region_at_the_border_does_not_lower_the_others() -> None:
    views = Views(Recorder())
    offered(views, 0, 1, 2, 3, 4, side=70)  # the last one ends outside of the frame
    *others, last = (views._slots[n][0].quality / (0.5 + (n - 1) / 8) for n in (1, 2, 3, 4))
    assert min(others) > 1.5 * last


def test_tokens_stay_float32_with_views_and_without() -> None:
    for ordinals in ((3, 4), ()):
        views = Views(Recorder())
        if ordinals:
            offered(views, 0, *ordinals)
        for track in views.settle([followed(n) for n in ordinals]):
            assert (track.visual.dtype, track.text.dtype) == (np.float32, np.float32)
        parts = load(views.state())
        assert {name: values.dtype for name, values in parts.items()} == {
            "ordinal": np.int64,
            "quality": np.float64,
            "t_ns": np.int64,
            "box": np.float64,
            "visual": np.float32,
            "text": np.float32,
        }
        assert parts["box"].shape == (len(ordinals), 4)
