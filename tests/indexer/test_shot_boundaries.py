"""Cuts are told from a camera that turns, and nothing is followed across one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from encoders.fake import LookingEncoder, picture, video
from PIL import Image
from store.making import source

from vidmem.config import PRESETS
from vidmem.indexer.camera_motion import grey, shift
from vidmem.indexer.pipeline import index_source
from vidmem.indexer.shot_boundaries import BINS, colours, is_cut
from vidmem.indexer.step import FrameStep
from vidmem.media import open_source
from vidmem.records import Frame
from vidmem.store import Checkpoint, ModelRecord, Store
from vidmem.timecode import NS

SIZE = (160, 96)
CONFIG = PRESETS["default"]


def noise(seed: int, low: int, high: int) -> np.ndarray:
    """A wide picture of blotches in a range of colours."""
    small = np.random.default_rng(seed).integers(low, high, (8, 40, 3), np.uint8)
    return np.asarray(Image.fromarray(small).resize((640, 96), Image.Resampling.BICUBIC))


def test_colours_are_shares() -> None:
    shares = colours(picture({"red": (0, 0)}))
    assert shares.shape == (BINS**3,)
    assert shares.sum() == pytest.approx(1)
    assert shares.dtype == np.float32


def test_a_camera_that_turns_is_no_cut() -> None:
    wide = noise(3, 20, 235)
    before, after = wide[:, :160], wide[:, 40:200]
    assert not is_cut(colours(before), colours(after), shift(grey(before), grey(after), *SIZE))


@pytest.mark.parametrize("seed", range(4))
def test_another_picture_is_one(seed: int) -> None:
    assert is_cut(colours(noise(seed, 0, 90)[:, :160]), colours(noise(seed, 150, 255)[:, :160]), (0.0, 0.0))


def test_where_colours_leave_it_open_a_place_in_common_decides() -> None:
    half = np.zeros(BINS**3, np.float32)
    half[0], half[1] = 0.63, 0.37
    other = np.roll(half, 2)
    other[0], other[2] = 0.63, 0.37
    other[3:] = 0
    assert is_cut(half, other, None)
    assert not is_cut(half, other, (12.0, 0.0))
    assert not is_cut(half, half, None)


def dark(places: dict[str, tuple[int, int]]) -> np.ndarray:
    image = picture(places)
    image[(image == (120, 120, 120)).all(-1)] = 10
    return image


def test_tracks_end_at_a_cut_and_it_is_told() -> None:
    encoder = LookingEncoder()
    step = FrameStep(encoder, CONFIG, source(SIZE))
    for i, image in enumerate([picture({"red": (40, 20)})] * 3 + [dark({"red": (40, 20)})] * 3):
        step.take(Frame(image, i * NS // 5, i), encoder.encode([image], *SIZE)[0])
    made = step.checkpoint(last=True)
    assert [(t.start_ns, t.end_ns) for t in made.tracks] == [(0, 2 * NS // 5), (3 * NS // 5, NS)]
    assert made.cuts == [3 * NS // 5]


def test_a_cut_right_after_an_interruption_is_seen() -> None:
    encoder = LookingEncoder()
    image, other = picture({"red": (40, 20)}), dark({"red": (40, 20)})
    step = FrameStep(encoder, CONFIG, source(SIZE))
    step.take(Frame(image, 0, 0), encoder.encode([image], *SIZE)[0])
    state = step.checkpoint().tracker_state
    resumed = FrameStep(encoder, CONFIG, source(SIZE, tracker_state=state))
    resumed.take(Frame(other, NS, 1), encoder.encode([other], *SIZE)[0])
    assert resumed.checkpoint().cuts == [NS]


def test_cuts_are_kept_and_go_with_their_source(tmp_path: Path) -> None:
    encoder = LookingEncoder()
    clip = video(tmp_path / "a.mp4", [{"red": (40, 20)}] * 5)
    info = encoder.info
    with Store.open(tmp_path / "memory", create=True) as store:
        store.set_model(ModelRecord(info.name, info.weights, 12, 6, CONFIG.as_dict(), info.regions))
        with open_source(clip) as source:
            index_source(source, encoder, store, CONFIG)
        assert store.cuts(1) == []
        store.checkpoint(1, Checkpoint(next_t_ns=1, frames_done=5, state="done", cuts=[7, 3]))
        assert store.cuts(1) == [3, 7]
        store.remove_source(1)
        assert store.cuts(1) == []


def test_a_colour_is_counted_in_the_bins_of_its_red_green_and_blue() -> None:
    image = np.zeros((1, 4, 3), np.uint8)
    image[0] = [(0, 42, 43), (0, 42, 43), (255, 0, 0), (85, 128, 170)]  # a bin has 42 2/3 levels
    want = np.zeros(BINS**3, np.float32)
    want[1], want[5 * 36], want[1 * 36 + 3 * 6 + 3] = 0.5, 0.25, 0.25
    np.testing.assert_array_equal(colours(image), want)


@pytest.mark.parametrize(("size", "share"), [((2, 319), 160 / 319), ((320, 2), 1.0), ((2, 479), 1.0)])
def test_some_160_pixels_of_the_longest_side_are_counted(size: tuple[int, int], share: float) -> None:
    """Every other pixel of the longest side is white; the first one is black."""
    image = np.zeros((*size, 3), np.uint8)
    if size[0] > size[1]:
        image[1::2] = 255
    else:
        image[:, 1::2] = 255
    assert colours(image)[0] == pytest.approx(share)


@pytest.mark.parametrize(("same", "moved"), [(0.6, (0.0, 0.0)), (0.66, None)])
def test_just_enough_colours_in_common_are_no_cut(same: float, moved: tuple[float, float] | None) -> None:
    before, after = np.array([1, 0], np.float32), np.array([same, 1 - same], np.float32)
    assert is_cut(before, after, moved) is False
    assert is_cut(before, np.nextafter(after, np.float32(0)), moved) is True
