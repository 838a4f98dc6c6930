"""The contact sheet."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest

from vidmem.errors import MediaError
from vidmem.media import Source
from vidmem.records import Box, Frame, Sighting, SourceInfo, SourceKind
from vidmem.render.contact_sheet import contact_sheet, details
from vidmem.render.drawing import WIDTH, heading_height
from vidmem.timecode import NS, clock

RED = (230, 57, 70)
LEFT, TOP = 16, heading_height([""])
"""Where the frame lies on the sheet."""


class FakeSource(Source):
    """A grey picture whose brightness is its second."""

    def __init__(self, width: int, height: int, shown: tuple[int, int] | None = None) -> None:
        super().__init__("/videos/fake.mp4")
        self.info = SourceInfo(self.path, SourceKind.VIDEO, width, height, 60 * NS, "f")
        self.shown = shown or (width, height)
        self.asked: list[int] = []

    def frames(self, *_: object, **__: object) -> Iterator[Frame]:
        raise NotImplementedError

    def frame_at(self, t_ns: int) -> Frame:
        self.asked.append(t_ns)
        if t_ns < 0:
            raise MediaError("gone")
        width, height = self.shown
        return Frame(np.full((height, width, 3), t_ns // NS, np.uint8), t_ns, -1)


def sighting(box: Box = (100, 100, 300, 200), **changes: object) -> Sighting:
    plain = Sighting("/videos/fake.mp4", 10 * NS, 20 * NS, 0.5, 0.5, None, 15 * NS, box)
    return dataclasses.replace(plain, **changes)


def sheet(source: FakeSource, seen: Sighting, title: str = "umbrella", **more: object) -> np.ndarray:
    picture = contact_sheet(source, seen, title, **more)  # type: ignore[arg-type]
    assert picture.mode == "RGB"
    return np.asarray(picture)


def red_edges(pixels: np.ndarray, box: Box, scale: float = 1.0, left: int = LEFT) -> bool:
    x0, y0, x1, y1 = (round(v * scale) for v in box)
    corners = [(x0, y0), (x1, y0), (x0, y1), (x1, y1), ((x0 + x1) // 2, y0), (x0, (y0 + y1) // 2)]
    return all(tuple(pixels[TOP + y, left + x]) == RED for x, y in corners)


@pytest.mark.parametrize(("size", "scale"), [((928, 522), 1.0), ((464, 261), 2.0), ((1856, 1044), 0.5)])
def test_the_frame_stands_there_with_its_box(size: tuple[int, int], scale: float) -> None:
    source = FakeSource(*size)
    pixels = sheet(source, sighting())
    assert pixels.shape[1] == WIDTH == 960
    assert source.asked == [15 * NS]
    assert red_edges(pixels, (100, 100, 300, 200), scale)
    inside = pixels[TOP + int(150 * scale), LEFT + int(200 * scale)]
    assert tuple(inside) == (15, 15, 15)
    assert tuple(pixels[TOP + 2, LEFT + 2]) == (15, 15, 15)


def test_a_tall_frame_is_kept_on_the_page() -> None:
    pixels = sheet(FakeSource(720, 1280), sighting())
    assert pixels.shape[1] == WIDTH
    assert pixels.shape[0] < 1000
    assert red_edges(pixels, (100, 100, 300, 200), 720 / 1280, (960 - 405) // 2)


def test_a_box_is_scaled_to_a_picture_of_another_size() -> None:
    """The pictures of a folder differ in size; boxes are in pixels of the first."""
    pixels = sheet(FakeSource(464, 261, shown=(928, 522)), sighting((50, 50, 150, 100)))
    assert red_edges(pixels, (100, 100, 300, 200))


@pytest.mark.parametrize("box", [(0, 0, 928, 522), (5, 5, 5, 5), (900, 500, 1200, 900), (0, 0, 0, 0)])
def test_any_box_can_be_drawn(box: Box) -> None:
    sheet(FakeSource(928, 522), sighting(box), moments=[(15 * NS, box)])


@pytest.mark.parametrize("size", [(2, 2), (16, 2000), (2000, 16)])
def test_any_frame_can_be_drawn(size: tuple[int, int]) -> None:
    pixels = sheet(FakeSource(*size), sighting((0, 0, 1, 1)), moments=[(15 * NS, (0, 0, 1, 1))])
    assert pixels.shape[1] == WIDTH


def test_three_of_many_moments_are_shown_close_up() -> None:
    source = FakeSource(928, 522)
    moments = [(t * NS, (100.0, 100.0, 300.0, 200.0)) for t in range(10, 21)]
    tall = sheet(source, sighting(), moments=moments)
    assert sorted(source.asked) == [10 * NS, 15 * NS, 15 * NS, 20 * NS]
    assert tall.shape[0] > sheet(source, sighting()).shape[0] + 100
    row = tall[TOP + 522 + 12 + 3]
    assert {tuple(pixel) for pixel in row} >= {(10, 10, 10), (15, 15, 15), (20, 20, 20)}


def test_the_timeline_hides_no_sighting() -> None:
    """Other sightings have their own line, even at the same time."""
    seen = sighting(start_ns=30 * NS, end_ns=45 * NS)
    other = sighting(start_ns=0, end_ns=45 * NS)
    pixels = sheet(FakeSource(928, 522), seen, others=[other, seen], duration_ns=60 * NS)
    y = TOP + 522 + 12
    mine, theirs = pixels[y + 7], pixels[y + 20]
    at = {share: LEFT + int(928 * share) for share in (0.25, 0.6, 0.9)}
    assert tuple(mine[at[0.6]]) == RED
    assert tuple(mine[at[0.25]]) == tuple(mine[at[0.9]]) == tuple(theirs[at[0.9]]) == (214, 214, 210)
    assert tuple(theirs[at[0.25]]) == tuple(theirs[at[0.6]]) == (120, 132, 148)


def test_it_says_how_probable_and_when() -> None:
    told = " ".join(details(sighting(probability=0.834, recorded_ns=1_700_000_000 * NS, recorded_by="container")))
    assert "probability 0.83" in told
    assert "Nov 2023" in told
    assert "0:10.0 to 0:20.0 in fake.mp4" in told
    assert "not calibrated" in " ".join(details(sighting()))
    photo = " ".join(details(sighting(picture="/photos/a.jpg", probability=0.5)))
    assert "a.jpg" in photo
    assert "0:1" not in photo  # a photo has no seconds


def test_a_long_title_is_cut() -> None:
    sheet(FakeSource(928, 522), sighting(source="/v/" + "n" * 200 + ".mp4"), "umbrella " * 40)


def test_a_video_that_is_gone_fails() -> None:
    with pytest.raises(MediaError, match="gone"):
        sheet(FakeSource(928, 522), sighting(frame_ns=-1))


@pytest.mark.parametrize(
    ("t_ns", "text"),
    [
        (0, "0:00.0"),
        (5_200_000_000, "0:05.2"),
        (59_940_000_000, "0:59.9"),
        (59_960_000_000, "1:00.0"),
        (725_200_000_000, "12:05.2"),
        (3_725_200_000_000, "1:02:05.2"),
        (36_000_000_000_000, "10:00:00.0"),
    ],
)
def test_clock(t_ns: int, text: str) -> None:
    assert clock(t_ns) == text
