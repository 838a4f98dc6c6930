"""Frames that show nothing new: what counts as new, what is carried over, and that an interruption changes nothing."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from encoders.fake import ColourEncoder, picture
from numpy.typing import NDArray
from PIL import Image
from test_pipeline import CONFIG, Fake, Stop, rows, run, stop_after

from vidmem.config import IndexConfig
from vidmem.indexer import gating as module
from vidmem.indexer.gating import FrameGate
from vidmem.records import Frame
from vidmem.store import Store
from vidmem.timecode import NS

RNG = np.random.default_rng(7)
WORKING = (448, 256)
"""The size in which `tiny` wants a picture of 1280x720."""
SKIP = dataclasses.replace(CONFIG, still=5, checkpoint_frames=16)


def room(width: int = 1280, height: int = 720) -> NDArray[np.uint8]:
    """A picture with flat and patterned parts, bright and dark ones."""
    y, x = np.mgrid[:height, :width]
    base = 60 + 120 * x / width + 20 * np.sin(x / 9.0) * (y > height // 2) + 40 * ((x // 60 + y // 60) % 2)
    return np.stack([base, base * 0.9, base * 0.7 + 30], axis=-1).clip(0, 255).astype(np.uint8)


def noisy(image: NDArray[np.uint8], sigma: float) -> NDArray[np.uint8]:
    return (image + RNG.normal(0, sigma, image.shape)).clip(0, 255).astype(np.uint8)


def small(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(image).resize(WORKING, Image.Resampling.BOX))


def passes(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> bool:
    """Whether the second picture is passed over after the first."""
    gate = FrameGate(9)
    assert gate.needs_encoding(first)
    return not gate.needs_encoding(second)


@pytest.mark.parametrize("sigma", [0, 2, 5, 10])
def test_noise_is_nothing_new(sigma: float) -> None:
    gate = FrameGate(99)
    seen = [gate.needs_encoding(small(noisy(room(), sigma))) for _ in range(40)]
    assert seen == [True] + [False] * 39


@pytest.mark.parametrize("sigma", [3, 6])
def test_noise_of_a_small_camera_is_nothing_new(sigma: float) -> None:
    """320x180 is scaled up, so that noise comes in blobs as large as cells."""

    def seen() -> NDArray[np.uint8]:
        return np.asarray(Image.fromarray(noisy(room(320, 180), sigma)).resize(WORKING))

    assert sum(passes(seen(), seen()) for _ in range(20)) >= 18  # where a blob lies on a cell, by chance


@pytest.mark.parametrize("sigma", [0, 4])
def test_a_thing_of_16_pixels_is_noticed_wherever_it_is_put(sigma: float) -> None:
    before = room()
    for _ in range(60):
        x, y = int(RNG.integers(0, 1280 - 16)), int(RNG.integers(0, 720 - 16))
        after = before.astype(int)
        after[y : y + 16, x : x + 16] += 40 if RNG.random() < 0.5 else -40
        thing = after.clip(0, 255).astype(np.uint8)
        assert not passes(small(noisy(before, sigma)), small(noisy(thing, sigma))), (x, y)


def test_a_thing_of_the_same_brightness_is_noticed_by_its_colour() -> None:
    after = room()
    after[300:316, 500:516] = after[300:316, 500:516] + np.array([50, 0, -60]).astype(np.uint8)
    assert not passes(small(room()), small(after))


def test_a_pattern_in_place_of_a_plain_thing_is_noticed() -> None:
    plain, striped = np.full((256, 448, 3), 120, np.uint8), np.full((256, 448, 3), 120, np.uint8)
    striped[100:132, 200:232:2] -= 40
    striped[100:132, 201:232:2] += 40
    assert not passes(plain, striped)


def test_the_light_may_change_a_little_but_not_hide_a_thing() -> None:
    before, brighter = small(room()), small(room())
    brighter = np.minimum(brighter.astype(int) + 5, 255).astype(np.uint8)
    assert passes(before, brighter)
    brighter[100:106, 200:206] -= 45
    assert not passes(before, brighter)


def test_a_camera_that_moves_is_noticed() -> None:
    gate = FrameGate(99)
    seen = [gate.needs_encoding(small(np.roll(room(), 6 * step, axis=1))) for step in range(8)]
    assert seen == [True] * 8


def test_slow_changes_are_not_lost() -> None:
    """Each step is too small to see; the last encoded frame is what they are compared with."""
    gate, seen = FrameGate(99), []
    for step in range(30):
        image = room()
        image[300:400, 400:500] = np.minimum(image[300:400, 400:500].astype(int) + 2 * step, 255)
        seen.append(gate.needs_encoding(small(image)))
    assert 4 <= sum(seen) <= 8
    assert not any(seen[1:4])


def test_one_is_encoded_after_so_many() -> None:
    gate, image = FrameGate(3), small(room())
    assert [gate.needs_encoding(image) for _ in range(9)] == [True, False, False, False] * 2 + [True]


def test_it_may_be_told_to_forget() -> None:
    gate, image = FrameGate(9), small(room())
    assert gate.needs_encoding(image)
    gate.reset()
    assert gate.needs_encoding(image)


def test_another_size_is_new() -> None:
    assert not passes(room(640, 360), room(320, 180))


def test_none_passes_when_it_is_off() -> None:
    gate = FrameGate(0)
    assert all(gate.needs_encoding(small(room())) for _ in range(5))


def frames(number: int) -> list[Frame]:
    """Red at rest; blue comes at 20 and goes at 33."""
    return [
        Frame(picture({"red": (8, 0)} | ({"blue": (64, 56)} if 20 <= i < 33 else {})), i * NS, i) for i in range(number)
    ]


def tracks(folder: Path) -> list[tuple[int, int, int, int]]:
    with Store.open(folder) as store:
        return [(t.ordinal, t.start_ns // NS, t.end_ns // NS, t.frames) for t in store.source_tracks(1)]


def test_tracks_go_on_as_if_every_frame_was_seen(tmp_path: Path) -> None:
    plain, skipping = ColourEncoder(), ColourEncoder()
    whole = run(tmp_path / "all", Fake(frames(50)), dataclasses.replace(SKIP, still=0), encoder=plain)
    report = run(tmp_path / "skip", Fake(frames(50)), SKIP, encoder=skipping)
    assert tracks(tmp_path / "skip") == tracks(tmp_path / "all") == [(0, 0, 49, 50), (1, 20, 32, 13)]
    assert (sum(plain.calls), whole.still, whole.encoded) == (50, 0, 50)
    # 0 6 12, 16 20 26, 32 33 39 45, 48: after five, after a change, after a checkpoint of 16 frames
    assert sum(skipping.calls) == report.encoded == 11
    assert (report.still, report.calls, report.frames) == (39, len(skipping.calls), 50)
    with Store.open(tmp_path / "skip") as store:
        regions = list(store.regions(1, 0, 50 * NS))
    assert [f.t_ns for f in regions] == [i * NS for i in range(50)]
    assert [len(f) for f in regions] == [2 if 20 <= i < 33 else 1 for i in range(50)]


@pytest.mark.parametrize("batches", range(1, 6))
def test_interrupted_and_resumed_equals_uninterrupted(tmp_path: Path, batches: int) -> None:
    run(tmp_path / "whole", Fake(frames(60)), SKIP)
    with pytest.raises(Stop):
        run(tmp_path / "parts", Fake(frames(60)), SKIP, progress=stop_after(batches))
    encoder = ColourEncoder()
    report = run(tmp_path / "parts", Fake(frames(60)), SKIP, encoder=encoder)
    assert report.still > 0
    assert rows(tmp_path / "parts") == rows(tmp_path / "whole")


def test_each_checkpoint_holds_as_many_frames_as_it_should(tmp_path: Path) -> None:
    seen: list[int] = []

    def progress(t_ns: int, done: int) -> None:
        with Store.open(tmp_path / "memory") as store:
            seen.append(store.sources()[0].frames)

    run(tmp_path / "memory", Fake(frames(60)), SKIP, progress=progress)
    assert sorted(set(seen)) == [16, 32, 48]


def test_a_memory_goes_on_with_it_or_without(tmp_path: Path) -> None:
    """It is a matter of cost: no other memory is needed for it."""
    from vidmem.store.rows import ModelRecord

    def record(config: IndexConfig) -> Any:
        return ModelRecord("fake", "fake-1", 9, 6, config.as_dict())

    assert record(SKIP).differences(record(CONFIG)) == {}
    assert record(SKIP).differences(record(dataclasses.replace(SKIP, fps=2))) != {}


def test_when_the_camera_moves_the_middle_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[tuple[int, int]] = []
    moved = module._moved

    def watched(one: Image.Image, other: Image.Image, cell: int, least: float) -> bool:
        looked.append(one.size)
        return moved(one, other, cell, least)

    monkeypatch.setattr(module, "_moved", watched)
    before = small(room())
    assert not passes(before, np.roll(before, 30, axis=1))
    assert looked == [(448, 64)]
    corner = before.copy()
    corner[:12, :12] ^= 255  # what the middle does not show is found all the same
    assert not passes(before, corner)
    assert passes(before, before)
    assert looked[1:] == [(448, 64), (448, 256)] * 2


@pytest.mark.parametrize("size", [(64, 8), (448, 3), (3, 448), (1, 1)])
def test_pictures_too_flat_to_have_a_middle(size: tuple[int, int]) -> None:
    flat = np.zeros((size[1], size[0], 3), np.uint8)
    assert passes(flat, flat)
    other = flat.copy()
    other[:4, :4] = 255
    if flat.size > 3:  # a cell stands out from others, not from itself
        assert not passes(flat, other)


def plain(width: int = 448, height: int = 448) -> NDArray[np.uint8]:
    return np.full((height, width, 3), 100, np.uint8)


def with_cell(image: NDArray[np.uint8], change: float, channel: int = 1, row: int = 0) -> NDArray[np.uint8]:
    """One cell of 4 x 4 pixels in another brightness, to sixteenths of a level."""
    out, pixels = image.astype(int), np.full(16, int(np.floor(change)))
    pixels[: round((change - np.floor(change)) * 16)] += 1
    out[row : row + 4, 40:44, channel] += pixels.reshape(4, 4)
    return out.astype(np.uint8)


@pytest.mark.parametrize("channel", [0, 1, 2])
@pytest.mark.parametrize("row", [0, 220])
@pytest.mark.parametrize(("change", "new"), [(10, False), (10.5, True), (-10, False), (-10.5, True), (25, True)])
def test_a_cell_is_new_when_it_differs_by_more_than_ten_levels(
    change: float, new: bool, row: int, channel: int
) -> None:
    assert passes(plain(), with_cell(plain(), change, channel, row)) is not new


def test_a_cell_is_new_when_its_pixels_changed_though_its_mean_did_not() -> None:
    for up, new in ((10, False), (11, True)):
        other = plain()
        other[:4, :2, 0] += np.uint8(up)
        other[:4, 2:4, 0] -= np.uint8(up)
        assert passes(plain(), other) is not new


def test_light_that_changes_everywhere_by_one_amount_is_not_new() -> None:
    for colour in ((40, 40, 40), (0, 40, 0), (20, 0, 40)):
        brighter = plain() + np.array(colour, np.uint8)
        assert passes(plain(), brighter)
        assert passes(brighter, plain())
        assert passes(plain(), with_cell(brighter, 10, 1))
        assert not passes(plain(), with_cell(brighter, 11, 1))


def restless(level: int) -> NDArray[np.uint8]:
    """Cells that differ from `plain` by -2, -1, 0, 1 and 2 times the level: half of them by the level and more."""
    steps = np.arange(112 * 112).reshape(112, 112) % 5 - 2
    return (plain().astype(int) + level * np.kron(steps, np.ones((4, 4), int))[..., None]).astype(np.uint8)


@pytest.mark.parametrize(
    ("level", "change", "new"), [(1, 10.25, False), (1, 10.5, True), (2, 20, False), (2, 20.25, True), (3, 20, False)]
)
def test_a_cell_stands_out_from_noise_by_seven_spreads_and_at_most_by_twenty_levels(
    level: int, change: float, new: bool
) -> None:
    """The level is the median distance, so its spread is 1.4826 times the level."""
    other = restless(level)
    other[:4, 40:44] = 100
    assert passes(plain(), with_cell(other, change)) is not new


def test_where_most_cells_move_they_pass_for_noise_up_to_twenty_levels() -> None:
    other = restless(10)
    assert passes(plain(), other)
    other[:4, 40:44] = 120
    assert passes(plain(), other)
    assert not passes(plain(), with_cell(other, 0.25))


def test_frames_are_compared_in_no_more_pixels_than_they_need() -> None:
    """From twice 448 pixels on, fine patterns are averaged."""
    for width, new in ((895, True), (896, False)):
        other = plain(width, 32)
        other[:, :400:2] -= 40
        other[:, 1:400:2] += 40
        assert passes(plain(width, 32), other) is not new


def test_a_large_frame_is_averaged_by_whole_numbers_of_pixels() -> None:
    looked = FrameGate(1)
    assert looked.needs_encoding(plain(1400, 700))
    assert looked._last is not None
    assert looked._last.size == (467, 234)  # by 3


@pytest.mark.parametrize(("width", "cell"), [(40, 1), (448, 4), (504, 4), (505, 5), (895, 8)])
def test_a_cell_is_about_a_hundredth_of_the_longer_side(monkeypatch: pytest.MonkeyPatch, width: int, cell: int) -> None:
    cells: list[tuple[int, float]] = []
    monkeypatch.setattr(module, "_moved", lambda one, other, cell, least: bool(cells.append((cell, least))))
    assert passes(plain(width, 100), plain(width, 100))
    assert passes(plain(100, width), plain(100, width))
    assert cells[-1] == (cell, 10.0)
    assert {seen for seen, _ in cells} == {cell if width > 100 else 1}
    assert [least for _, least in cells] == [20.0, 10.0] * 2


def test_the_middle_is_a_quarter_of_both_frames_around_their_centre(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[tuple[int, ...], tuple[int, ...]]] = []

    def rows(image: Image.Image) -> tuple[int, ...]:
        pixels = np.asarray(image)
        return int(pixels[0, 0, 0]), int(pixels[-1, -1, 0]), pixels.shape[1]

    def watched(one: Image.Image, other: Image.Image, cell: int, least: float) -> bool:
        seen.append((rows(one), rows(other)))
        return len(seen) == 1

    monkeypatch.setattr(module, "_moved", watched)
    image = np.repeat(np.arange(224, dtype=np.uint8)[:, None, None], 448, axis=1).repeat(3, axis=2)
    assert not passes(image, image[::-1])
    assert seen == [((139, 84, 448), (84, 139, 448))]  # 56 rows of 224, in whole cells of 4


def test_a_gate_forgets_only_what_it_was_told_to() -> None:
    """A frame that is encoded since it is new begins the count of those that are not."""
    gate = FrameGate(3)
    other = with_cell(plain(), 90)
    seen = [gate.needs_encoding(image) for image in (plain(), plain(), plain(), other, other, other, other, other)]
    assert seen == [True, False, False, True, False, False, False, True]
    gate.reset()
    assert [gate.needs_encoding(other) for _ in range(5)] == [True, False, False, False, True]


def test_noise_in_one_colour_hides_nothing_in_another() -> None:
    other = plain()
    other[..., 0] = restless(7)[..., 0]
    assert passes(plain(), other)
    assert not passes(plain(), with_cell(other, 11, 1))
