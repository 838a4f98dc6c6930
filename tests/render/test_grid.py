"""Many sightings, or things, on one page; timelines as pictures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vidmem.errors import MediaError
from vidmem.media import Source
from vidmem.query.answers import Thing
from vidmem.records import Sighting
from vidmem.render.drawing import PAPER
from vidmem.render.evidence import evidence_of_each
from vidmem.render.grid import COLUMNS, MAX_PICTURES, sightings_sheet
from vidmem.render.originals import Originals
from vidmem.render.timeline import timeline_sheet
from vidmem.timecode import NS

GONE = Sighting("/nowhere/gone.mp4", 10 * NS, 20 * NS, 0.5, 0.5, None, 15 * NS, (0, 0, 9, 9), (1,), probability=0.8)


class Files(Originals):
    """Photos of no memory, a camera `cam0`, and no videos."""

    def __init__(self) -> None:
        pass

    def is_live(self, sighting: Sighting) -> bool:
        return sighting.source == "cam0"

    def exists(self, sighting: Sighting) -> bool:
        return False

    def open(self, sighting: Sighting) -> Source:
        raise MediaError("there are no videos")

    def photo(self, sighting: Sighting) -> str:
        return str(sighting.picture)


FILES = Files()


@pytest.fixture
def photo(tmp_path: Path) -> Sighting:
    pixels = np.full((300, 400, 3), 90, np.uint8)
    pixels[100:140, 200:240] = (0, 200, 0)
    path = tmp_path / ("猫 <b>" + "n" * 120 + ".png")
    Image.fromarray(pixels).save(path)
    return replace(GONE, picture=str(path), source=str(tmp_path), box=(200, 100, 240, 140))


def test_all_on_one_page_and_how_many_more(photo: Sighting) -> None:
    few = sightings_sheet([photo] * 3, "cup", 3, originals=FILES)
    many = sightings_sheet([photo] * 100, "cup", 130, originals=FILES)
    assert few.width == many.width == 960
    rows = -(-MAX_PICTURES // COLUMNS)
    assert rows * 200 < many.height < rows * 330
    assert np.asarray(sightings_sheet([photo] * 5, "cup", 5, originals=FILES)).shape[0] > few.height - 100
    pixels = np.asarray(few)
    green = (pixels[..., 1].astype(int) - pixels[..., 0] > 120).sum(0)
    thirds = [green[x : x + 220].sum() for x in (16, 252, 488, 724)]
    assert min(thirds[:3]) > 100
    assert thirds[3] == 0
    assert (pixels[:, -14:] == PAPER).all()


def test_what_is_gone_is_said_in_its_place(photo: Sighting) -> None:
    found = evidence_of_each([GONE, photo, replace(GONE, source="cam0")], FILES)
    assert found[0] == "the video is no longer there"
    assert not isinstance(found[1], str)
    assert found[2] == "a camera keeps no pictures"
    sightings_sheet([GONE, photo], "", 2, originals=FILES)
    damaged = Path(photo.picture or "")
    damaged.write_bytes(b"no picture")
    assert evidence_of_each([photo], FILES) == ["can no longer be read"]


def thing(*sightings: Sighting) -> Thing:
    return Thing(sightings, (1,))


def test_a_lane_for_each_thing_and_nothing_painted_over(photo: Sighting) -> None:
    """Two things at the same time in one video have bars of their own, in different colours."""
    one, two = thing(GONE), thing(replace(GONE, start_ns=5 * NS, end_ns=40 * NS))
    lengths = {GONE.source: 60 * NS}
    sheet = np.asarray(timeline_sheet([one, two], lengths, "cup", originals=FILES)).astype(int)
    assert sheet.shape[1] == 960
    bars = {}
    for colour in {tuple(c) for c in sheet[:, 400:940].reshape(-1, 3).tolist()}:
        if max(colour) - min(colour) > 60:
            at = np.argwhere((sheet[:, 174:944] == colour).all(-1))
            if len(at) > 200:
                bars[colour] = at.min(0), at.max(0)
    assert len(bars) == 2
    spans = sorted((low[0], high[0], low[1] / 770 * 60, high[1] / 770 * 60) for low, high in bars.values())
    assert spans[0][1] < spans[1][0]  # one below the other
    assert spans[0][2:] == pytest.approx((10, 20), abs=0.3)
    assert spans[1][2:] == pytest.approx((5, 40), abs=0.3)


def test_a_timeline_of_anything_is_a_page(photo: Sighting) -> None:
    things = [thing(photo, *[replace(GONE, source=f"/v/{i}.mp4") for i in range(9)])] * 40
    assert timeline_sheet(things, {}, "猫\n" * 80, originals=FILES).width == 960
    assert timeline_sheet([thing(*[photo] * 30)], {}, "", originals=FILES).height < 300
