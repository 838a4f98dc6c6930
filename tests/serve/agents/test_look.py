from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import fakes
import numpy as np
import pytest
from PIL import Image

from vidmem.encoders import registry
from vidmem.memory import Memory
from vidmem.serve.agents.desk import Desk
from vidmem.serve.agents.pictures import MAX_BYTES, MAX_MOMENTS, MAX_SIDE, Shot, jpeg, near, sheet, whole
from vidmem.serve.agents.server import build

from .talking import call, document, picture, problem, text

RED = np.array([230, 57, 70])
"""The colour of the box."""


def near_red(shown: Image.Image, x: float, y: float, reach: int = 8) -> bool:
    """True if the box is drawn within `reach` pixels of a point."""
    pixels = np.asarray(shown.convert("RGB"), np.int64)
    part = pixels[max(0, int(y) - reach) : int(y) + reach, max(0, int(x) - reach) : int(x) + reach]
    return bool((np.abs(part - RED).sum(-1) < 90).any())


def sighting(server: Any) -> dict[str, Any]:
    found: dict[str, Any] = document(call(server, "where", text="blue", source=1))["sightings"][0]
    return found


def test_the_frame_of_a_sighting_has_its_box(server: Any) -> None:
    blue = sighting(server)
    answer = call(server, "look", id=blue["id"])
    found, shown = document(answer), picture(answer)
    assert shown is not None
    assert shown.width == MAX_SIDE
    assert (found["shown"], found["reason"], found["width"], found["height"]) == (True, None, 160, 96)
    assert (found["source_id"], found["source"], found["view"]) == (1, blue["source"], "frame")
    (moment,) = found["moments"]
    assert (moment["t_ns"], moment["box"]) == (blue["frame_ns"], blue["box"])
    scale = shown.width / 160
    x0, y0, x1, y1 = (v * scale for v in blue["box"])
    middle = shown.getpixel(((x0 + x1) / 2, (y0 + y1) / 2))
    assert isinstance(middle, tuple)
    assert middle[2] > 200 > middle[0]
    assert near_red(shown, x0, (y0 + y1) / 2)
    assert near_red(shown, x1, (y0 + y1) / 2)
    assert "the thing in a red box" in text(answer)


def test_a_close_up_enlarges_the_box(server: Any) -> None:
    blue = sighting(server)
    shown = picture(call(server, "look", id=blue["id"], view="close"))
    assert shown is not None
    pixels = np.asarray(shown, np.int64)
    share = ((pixels[..., 2] > 180) & (pixels[..., 0] < 80)).mean()
    assert share > 0.1  # of 4 per cent in the frame


def test_moments_span_the_sighting(server: Any) -> None:
    blue = sighting(server)
    answer = call(server, "look", id=blue["id"], view="moments", moments=4)
    moments = document(answer)["moments"]
    assert len(moments) == 4
    assert [moments[0]["t_ns"], moments[-1]["t_ns"]] == [blue["start_ns"], blue["end_ns"]]
    assert all(moment["box"] for moment in moments)
    assert picture(answer) is not None
    many = document(call(server, "look", id=blue["id"], view="moments", moments=MAX_MOMENTS))["moments"]
    assert len(many) == MAX_MOMENTS
    assert len({moment["t_ns"] for moment in many}) == MAX_MOMENTS


@pytest.mark.parametrize(("time", "t_s"), [(1.5, 1.5), ("1.5s", 1.5), ("0:01.5", 1.5), ("1500000000ns", 1.5), (0, 0.0)])
def test_any_time_of_a_source(server: Any, time: float | str, t_s: float) -> None:
    answer = call(server, "look", source="walk.mp4", time=time)
    (moment,) = document(answer)["moments"]
    assert moment["t_s"] == pytest.approx(t_s, abs=0.1)
    assert moment["box"] is None
    shown = picture(answer)
    assert shown is not None
    assert not near_red(shown, 512, 300, 200)


def test_a_box_at_a_time(server: Any) -> None:
    answer = call(server, "look", source=1, time=1.5, box=[100, 50, 400, 90])
    (moment,) = document(answer)["moments"]
    assert moment["box"] == [100, 50, 160, 90]  # cut to the picture
    shown = picture(answer)
    assert shown is not None
    assert near_red(shown, 100 * 6.4, 70 * 6.4)
    close = call(server, "look", source=1, time=1.5, box=[56, 32, 92, 64], view="close")
    assert picture(close) is not None


def test_several_times_on_one_sheet(server: Any) -> None:
    answer = call(server, "look", source=1, time=["1s", 2, "0:03"], view="moments")
    assert [round(moment["t_s"]) for moment in document(answer)["moments"]] == [1, 2, 3]
    assert picture(answer) is not None


def test_a_photo(server: Any, photos: Path) -> None:
    (cyan,) = document(call(server, "where", text="cyan"))["sightings"]
    assert cyan["picture"] == str(photos / "b.png")
    for view in ("frame", "close", "moments"):
        answer = call(server, "look", id=cyan["id"], view=view)
        found = document(answer)
        assert found["moments"][0]["t_s"] is None
        assert found["picture"] == str(photos / "b.png")
        assert "The photo b.png in source 2 (photos)" in text(answer)
        assert picture(answer) is not None
    assert picture(call(server, "look", source=2, time=f"{cyan['frame_ns']}ns")) is not None
    assert "has none at" in problem(call(server, "look", source=2, time="5ns"))


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ({}, "give the `id` of a sighting, or `source` and `time`"),
        ({"source": 1}, "give the `id` of a sighting, or `source` and `time`"),
        ({"id": "1-2-3-0-9", "source": 1}, "leave `source`, `time` and `box` out"),
        ({"id": "nonsense"}, "not the id of a sighting"),
        ({"id": "77-0-1-0-1"}, "no longer in the memory"),
        ({"id": "1-0-999999-0-1"}, "no longer in the memory"),
        ({"id": "2-1000000000-1-0-9000000000"}, "no longer in the memory"),
        ({"id": "1-0-1-0-4611686018427387903"}, "no longer in the memory"),
        ({"id": "1-0--0-1"}, "no longer in the memory"),
        ({"source": 1, "time": -1}, "its times are 0 to 0:12.0"),
        ({"source": 1, "time": 3600}, "its times are 0 to 0:12.0"),
        ({"source": 1, "time": "1e9"}, "is not a time"),
        ({"source": 1, "time": "later"}, "is not a time"),
        ({"source": 1, "time": []}, "a list of 1 to 12"),
        ({"source": 1, "time": list(range(20)), "view": "moments"}, "a list of 1 to 12"),
        ({"source": 1, "time": [1, 2]}, "with `view` 'moments' alone"),
        ({"source": 1, "time": 1, "view": "close"}, "enlarges a box; give `box`"),
        ({"source": 1, "time": 1, "view": "left"}, "'frame', 'close' or 'moments'"),
        ({"source": 1, "time": 1, "box": [1, 2, 3]}, "`box` is four numbers"),
        ({"source": 1, "time": 1, "box": [50, 50, 50, 60]}, "x0 < x1 and y0 < y1"),
        ({"source": 1, "time": 1, "box": [200, 200, 300, 300]}, "within [0, 0, 160, 96]"),
        ({"source": 1, "time": 1, "box": ["a", 2, 3, 4]}, "`box` is wrong"),
        ({"source": 9, "time": 1}, "no source has the id or name '9'"),
        ({"source": 1, "time": 1, "moments": 99}, "from 2 to 12"),
    ],
)
def test_what_cannot_be_looked_at(server: Any, arguments: dict[str, Any], part: str) -> None:
    assert part in problem(call(server, "look", **arguments))


def test_a_video_that_is_gone_leaves_the_answer(tmp_path: Path) -> None:
    video = fakes.squares(tmp_path / "gone.mp4", [("red", 0, 3, 8)], 3)
    with registry.registered(fakes.SPEC), Memory.open(tmp_path / "gone", encoder="colours") as m:
        m.index(video)
    video.unlink()
    with Memory.open(tmp_path / "gone", read_only=True) as m:
        server = build(Desk(m))
        answer = call(server, "where", text="red")
        found = document(answer)
        assert found["found"]
        assert picture(answer) is None
        (note,) = found["notes"]
        assert (
            note == "there is no picture: the video is no longer there, put it back to take pictures from it: gone.mp4"
        )
        assert note in text(answer)
        looked = call(server, "look", id=found["sightings"][0]["id"])
        assert (document(looked)["shown"], picture(looked)) == (False, None)
        assert "no longer there" in document(looked)["reason"]
        assert document(looked)["moments"][0]["box"]
        assert "No picture of source 1 (gone.mp4)" in text(looked)
        assert picture(call(server, "timeline", text="red")) is not None  # a sheet that says so


def test_another_file_in_its_place_is_not_shown(copy: Path, walk: Path, tmp_path: Path) -> None:
    video = tmp_path / "walk.mp4"
    shutil.copy(walk, video)
    with Memory.open(tmp_path / "other", encoder="colours") as m:
        m.index(video)
    fakes.squares(video, [("green", 0, 3, 8)], 3)
    with Memory.open(tmp_path / "other", read_only=True) as m:
        answer = call(build(Desk(m)), "look", source=1, time=1)
        assert document(answer)["shown"] is False
        assert "not the one that was indexed" in document(answer)["reason"]
        assert str(tmp_path) not in document(answer)["reason"]


def test_a_camera_keeps_no_pictures(tmp_path: Path) -> None:
    with Memory.open(tmp_path / "live", encoder="colours") as m, m.session("door") as session:
        image = np.full((96, 160, 3), fakes.GROUND, np.uint8)
        image[32:64, 8:40] = fakes.COLOURS["red"]
        for number in range(5):
            session.append(image, 10**18 + number * 10**8)
    with Memory.open(tmp_path / "live", read_only=True) as m:
        server = build(Desk(m))
        (red,) = document(call(server, "where", text="red"))["sightings"]
        looked = document(call(server, "look", id=red["id"]))
        assert (looked["shown"], looked["reason"]) == (
            False,
            "a camera keeps no pictures; record it to a file and index that",
        )


def noise(height: int, width: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(7).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("size", [(1500, 2000), (10, 4000), (4000, 10), (1, 1)])
def test_pictures_are_bounded_whatever_they_show(size: tuple[int, int]) -> None:
    image = noise(*size)
    shots = [Shot(image, (0, 0, size[1], size[0]), "0:01.0 in a.mp4" * 20)] * 20
    for drawn in (whole(shots[0]), near(shots[0]), sheet(shots, "a" * 300), sheet(shots[:3], "a"), whole(shots[0])):
        data = jpeg(drawn)
        assert len(data) <= MAX_BYTES
        assert data[:3] == b"\xff\xd8\xff"
        assert max(drawn.size) <= MAX_SIDE + 400
    assert max(whole(shots[0]).size) <= MAX_SIDE


def test_a_picture_with_a_smaller_bound() -> None:
    assert len(jpeg(Image.fromarray(noise(900, 900)), max_bytes=20_000)) <= 20_000
