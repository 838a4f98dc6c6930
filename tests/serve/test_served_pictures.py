"""Frames, crops and clips over HTTP, and the originals that they are taken from."""

from __future__ import annotations

import asyncio
import errno
import importlib
import io
import os
import shutil
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import fakes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from needs import needs
from vidmem.encoders import registry
from vidmem.errors import UsageError
from vidmem.memory import Memory
from vidmem.query.arguments import box as parse_box
from vidmem.serve.faults import BusyError

if TYPE_CHECKING:
    from starlette.testclient import TestClient

    from .conftest import Serve

BASE = "/api/v1"


def picture(client: TestClient, path: str, **parameters: Any) -> Any:
    answer = client.get(BASE + path, params=parameters)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg"), answer.text
    return np.asarray(Image.open(io.BytesIO(answer.content)))


def refused(client: TestClient, path: str, **parameters: Any) -> tuple[int, str, str]:
    answer = client.get(BASE + path, params=parameters)
    error = answer.json()["error"]
    return answer.status_code, error["kind"], error["message"]


def is_red(pixel: Any) -> bool:
    return bool(pixel[0] > 150 and pixel[1] < 100 and pixel[2] < 100)


def test_a_frame_shows_its_moment(client: TestClient) -> None:
    at_1s, at_7s = (picture(client, f"/frames/1/{t}000000000.jpg") for t in (1, 7))
    assert at_1s.shape == (96, 160, 3)
    assert is_red(at_1s[48, 24])
    assert not is_red(at_7s[48, 24])
    beyond = picture(client, "/frames/1/99000000000.jpg")
    assert beyond.shape == (96, 160, 3)


def test_a_box_is_drawn_in_pixels_of_the_source(client: TestClient) -> None:
    plain = picture(client, "/frames/1/7000000000.jpg")
    boxed = picture(client, "/frames/1/7000000000.jpg", box="100,10,140,50")
    changed = np.abs(plain.astype(int) - boxed).max(axis=2) > 60
    rows, columns = np.nonzero(changed)
    assert abs(columns.min() - 100) < 6
    assert abs(columns.max() - 140) < 6
    assert abs(rows.min() - 10) < 6


def test_a_crop_has_the_box_with_a_margin(client: TestClient) -> None:
    crop = picture(client, "/crops/1/1000000000.jpg", box="8,32,40,64")
    assert crop.shape == (42, 42, 3)
    assert is_red(crop[21, 21])
    assert not is_red(crop[0, 0])
    at_the_rim = picture(client, "/crops/1/1000000000.jpg", box="-20,-20,30,30")
    assert at_the_rim.shape == (38, 38, 3)


def test_widths_are_a_few_sizes_and_never_more_than_the_picture(client: TestClient) -> None:
    path = "/frames/2/20000000000.jpg"  # the photo of 320 x 192
    assert picture(client, path).shape == (192, 320, 3)
    assert picture(client, path, width=1).shape == (96, 160, 3)
    assert picture(client, path, width=161).shape == (192, 320, 3)
    assert picture(client, path, width=10**9).shape == (192, 320, 3)
    tags = {client.get(BASE + path, params={"width": w}).headers["etag"] for w in (1, 2, 100, 160)}
    assert len(tags) == 1


def test_a_photo_is_named_by_its_place(client: TestClient) -> None:
    assert is_red(picture(client, "/frames/2/0.jpg")[48, 24])
    status, kind, message = refused(client, "/frames/2/5.jpg")
    assert (status, kind, "there is no photo at 5 ns" in message) == (400, "usage", True)


def test_a_picture_that_the_client_has_is_not_sent_again(client: TestClient) -> None:
    path = f"{BASE}/frames/1/1000000000.jpg"
    first = client.get(path)
    again = client.get(path, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
    assert first.headers["cache-control"] == "private, no-cache"
    head = client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(first.content))
    assert client.get(path, params={"box": "1,1,9,9"}).headers["etag"] != first.headers["etag"]


def test_a_clip_plays_with_the_box_in_it(client: TestClient, tmp_path: Path) -> None:
    answer = client.get(f"{BASE}/clips/1/1000000000-3000000000.mp4", params={"tracks": "1"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "video/mp4")
    plain = client.get(f"{BASE}/clips/1/1000000000-3000000000.mp4")
    assert plain.content != answer.content
    with av.open(io.BytesIO(answer.content)) as container:
        frames = list(container.decode(video=0))
        assert container.streams.video[0].codec_context.name == "h264"
    assert 20 <= len(frames) <= 22
    assert frames[0].pts == 0


@pytest.mark.parametrize(
    ("path", "parameters", "status", "kind", "told"),
    [
        ("/frames/9/0.jpg", {}, 404, "not_found", "no source has the id 9"),
        ("/frames/x/0.jpg", {}, 400, "usage", "`source` is the id of a source"),
        ("/frames/1/now.jpg", {}, 400, "usage", "`t_ns` is a whole number"),
        ("/frames/1/99999999999999999999.jpg", {}, 400, "usage", "`t_ns` is a whole number"),
        ("/frames/1/0.jpg", {"box": "1,2,3"}, 400, "usage", "`box` is x0,y0,x1,y1"),
        ("/frames/1/0.jpg", {"box": "5,5,5,9"}, 400, "usage", "and not empty"),
        ("/frames/1/0.jpg", {"box": "0,0,inf,1"}, 400, "usage", "and not empty"),
        ("/frames/1/0.jpg", {"width": 0}, 400, "usage", "`width` is a whole number from 1 up"),
        ("/frames/1/0.jpg", {"height": 5}, 400, "usage", "there is no parameter 'height'; there are: box, width"),
        ("/crops/1/0.jpg", {}, 400, "usage", "`box` is missing"),
        ("/crops/1/0.jpg", {"box": "500,500,600,600"}, 400, "usage", "not in the picture, which has 160x96"),
        ("/clips/1/5.mp4", {}, 400, "usage", "a clip is START-END.mp4"),
        ("/clips/1/5-4.mp4", {}, 400, "usage", "a clip has up to 60 seconds"),
        ("/clips/1/0-61000000000.mp4", {}, 400, "usage", "a clip has up to 60 seconds"),
        ("/clips/1/0-1.mp4", {"tracks": "a"}, 400, "usage", "`tracks` is ids of tracks"),
        ("/clips/2/0-1.mp4", {}, 415, "media", "a single picture gives no video"),
        ("/videos/2", {}, 415, "media", "not a video file of its own; take frames or clips"),
        ("/videos/9", {}, 404, "not_found", "no source has the id 9"),
    ],
)
def test_what_gives_no_picture(
    client: TestClient, path: str, parameters: dict[str, Any], status: int, kind: str, told: str
) -> None:
    found = refused(client, path, **parameters)
    assert found[:2] == (status, kind)
    assert told in found[2]


@pytest.fixture
def own(tmp_path: Path, walk: Path) -> tuple[Path, Path]:
    """A memory of a copy of walk.mp4, and the copy."""
    video = Path(shutil.copy(walk, tmp_path / "own.mp4"))
    with Memory.open(tmp_path / "memory", encoder="colours") as m:
        m.index(video)
    return tmp_path / "memory", video


def test_a_file_that_was_put_in_its_place_is_not_served(serving: Serve, own: tuple[Path, Path]) -> None:
    memory, video = own
    client = serving(memory)
    assert client.get(f"{BASE}/videos/1").status_code == 200
    secret = video.parent / "secret"
    secret.write_bytes(b"secret " * 1000)
    os.replace(secret, video)
    for path in ("/videos/1", "/frames/1/1000000000.jpg", "/clips/1/0-1000000000.mp4"):
        status, kind, message = refused(client, path)
        assert (status in (409, 415), kind) == (True, "media"), (path, message)
        assert "secret" not in message
    known = client.get(f"{BASE}/sources/1").json()
    assert (known["playable"], known["at_hand"], known["unplayable"] is not None) == (False, True, True)


def test_a_file_that_is_gone(serving: Serve, own: tuple[Path, Path]) -> None:
    memory, video = own
    client = serving(memory)
    video.unlink()
    for path in ("/videos/1", "/frames/1/1000000000.jpg", "/clips/1/0-1000000000.mp4"):
        status, kind, message = refused(client, path)
        assert (status, kind, "no longer there" in message) == (415, "media", True)
    known = client.get(f"{BASE}/sources/1").json()
    assert (known["playable"], known["at_hand"]) == (False, False)
    assert client.get(f"{BASE}/where", params={"text": "red"}).json()["found"]


def test_what_was_drawn_from_a_file_that_is_gone_or_another_now(serving: Serve, own: tuple[Path, Path]) -> None:
    memory, video = own
    client = serving(memory)
    paths = ("/frames/1/1000000000.jpg", "/crops/1/1000000000.jpg?box=0,0,50,50", "/clips/1/0-1000000000.mp4")
    tags = {path: client.get(BASE + path).headers["etag"] for path in paths}
    other = video.with_name("other.mp4")
    other.write_bytes(b"other" * 1000)
    os.replace(other, video)
    for path in paths:
        assert client.get(BASE + path, headers={"if-none-match": tags[path]}).status_code == 415
    video.unlink()
    assert {client.get(BASE + path).status_code for path in paths} == {415}


def test_a_photo_that_was_forgotten_is_not_shown(serving: Serve, tmp_path: Path) -> None:
    album = tmp_path / "album"
    for colour in ("red", "green"):
        fakes.photo(album / f"{colour}.png", colour)
    with Memory.open(tmp_path / "memory", encoder="colours") as m:
        m.index(album)
    client = serving(tmp_path / "memory")
    seen = client.get(f"{BASE}/where", params={"text": "green"}).json()["sightings"][0]
    paths = [f"/{kind}/1/{seen['frame_ns']}.jpg?box=0,0,50,50" for kind in ("frames", "crops")]
    tags = [client.get(BASE + path).headers["etag"] for path in paths]
    (album / "green.png").unlink()
    with Memory.open(tmp_path / "memory") as m:
        m.index(album)
    for path, tag in zip(paths, tags, strict=True):
        for headers in ({}, {"if-none-match": tag}):
            answer = client.get(BASE + path, headers=headers)
            assert (answer.status_code, "there is no photo" in answer.text) == (400, True)


def test_what_is_forgotten_over_http_does_not_stay_in_ram(serving: Serve, own: tuple[Path, Path]) -> None:
    memory, _ = own
    client = serving(memory, allow_write=True)
    service: Any = client.app.state.service  # type: ignore[attr-defined]
    assert client.get(f"{BASE}/frames/1/1000000000.jpg").status_code == 200
    (tag,) = service.drawn._held
    job = client.post(f"{BASE}/jobs", json={"action": "forget", "sources": [1]}).json()
    deadline = time.monotonic() + 60
    while service.drawn.get(tag) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert client.get(f"{BASE}/jobs/{job['id']}").json()["state"] == "done"


def test_clips_leave_room_for_pictures(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clip may take a minute."""
    go, begun = threading.Event(), threading.Event()

    def slow(*_: Any) -> bytes:
        begun.set()
        assert go.wait(60)
        return b"clip"

    monkeypatch.setattr("vidmem.serve.api.pictures.clip_bytes", slow)
    clips = [threading.Thread(target=client.get, args=(f"{BASE}/clips/1/{n}-1000000000.mp4",)) for n in range(3)]
    for clip in clips:
        clip.start()
    try:
        assert begun.wait(60)
        assert picture(client, "/frames/1/1000000000.jpg").shape == (96, 160, 3)
    finally:
        go.set()
        for clip in clips:
            clip.join(60)


@pytest.mark.parametrize("path", ["vidmem.serve.api.pictures", "vidmem.serve.agents.clips"])
def test_a_server_that_ends_does_not_wait_for_a_clip(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """The process would wait for its threads, and so for a minute."""
    service: Any = client.app.state.service  # type: ignore[attr-defined]
    module = importlib.import_module(path)
    row, asked, check = service.source(1), {"source": 1, "span": "0-2000000000", "tracks": []}, module.check_open
    frames: list[int] = []

    def ends() -> None:
        frames.append(1)
        service.pools.clips.close()
        check()

    def work() -> bytes:
        if path.endswith("clips"):
            return bytes(module.clip(row, 0, 2_000_000_000))
        return bytes(module.clip(service, asked).make())

    monkeypatch.setattr(module, "check_open", ends)
    with pytest.raises(BusyError, match="the server ends"):
        asyncio.run(service.run("clips", "me", work))
    assert len(frames) == 1


def test_a_clip_without_room_for_it(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryDirectory", full)
    status, kind, told = refused(client, "/clips/1/0-1000000000.mp4")
    assert (status, kind) == (415, "media")
    assert "No space left on device" in told


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes here")
def test_a_pipe_in_its_place_makes_nobody_wait(serving: Serve, own: tuple[Path, Path]) -> None:
    memory, video = own
    video.unlink()
    os.mkfifo(video)
    client = serving(memory)
    for path in ("/videos/1", "/frames/1/1000000000.jpg"):
        assert refused(client, path)[:2] == (415, "media")


def test_films_of_pictures_and_cameras(serving: Serve, tmp_path: Path) -> None:
    film = tmp_path / "film"
    for i, colour in enumerate(("red", "blue", "green")):
        fakes.photo(film / f"{i}.png", colour)
    with Memory.open(tmp_path / "memory", encoder="colours") as m:
        m.index(film, film=True)
        with m.session("cam") as session:
            session.append(np.full((96, 160, 3), 90, np.uint8), 10**18)
    client = serving(tmp_path / "memory")
    assert is_red(picture(client, "/frames/1/0.jpg")[48, 24])
    assert not is_red(picture(client, "/frames/1/1000000000.jpg")[48, 24])
    assert client.get(f"{BASE}/clips/1/0-2000000000.mp4").status_code == 200
    for path in ("/frames/2/0.jpg", "/clips/2/0-1.mp4"):
        status, kind, message = refused(client, path)
        assert (status, kind, "a live source keeps no pictures" in message) == (415, "media", True)
    kinds = {one["kind"]: one for one in client.get(f"{BASE}/sources").json()["sources"]}
    assert [(k, one["playable"], one["at_hand"]) for k, one in kinds.items()] == [
        ("images", False, True),
        ("live", False, False),
    ]


def test_topics_of_a_log_have_frames_and_clips(serving: Serve, tmp_path: Path) -> None:
    needs("mcap_ros2")
    from media import make, make_logs

    log = make_logs.ros2_compressed(tmp_path / "run.mcap", 10)
    with Memory.open(tmp_path / "memory", encoder="colours") as m:
        m.index(log)
        (row,) = m.sources()
    client = serving(tmp_path / "memory")
    step = make_logs.times(2)[1] - make_logs.times(1)[0]
    assert make.number_in(picture(client, f"/frames/1/{3 * step}.jpg")) == 3
    assert client.get(f"{BASE}/clips/1/0-{5 * step}.mp4").status_code == 200
    assert refused(client, "/videos/1")[:2] == (415, "media")
    known = client.get(f"{BASE}/sources/1").json()
    assert (known["kind"], known["source"], known["playable"]) == ("log", row.uri, False)


def test_episodes_of_a_dataset_have_frames_and_clips(
    serving: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs("pyarrow")
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "media")
    make, datasets = (importlib.import_module(name) for name in ("make", "test_lerobot"))
    dataset = datasets.v3(tmp_path / "pusht")
    with Memory.open(tmp_path / "memory", encoder="colours") as m:
        m.index(dataset, topics="*")
        rows = m.sources()
    client = serving(tmp_path / "memory")
    numbers = [make.number_in(picture(client, f"/frames/{row.id}/0.jpg")) for row in rows]
    assert sorted(set(numbers)) == [0, 40, 65]
    assert client.get(f"{BASE}/clips/{rows[-1].id}/0-300000000.mp4").status_code == 200
    assert refused(client, f"/videos/{rows[0].id}")[:2] == (415, "media")


def test_kinds_of_files_that_browsers_do_not_play(
    serving: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from media import make

    monkeypatch.setattr("vidmem.serve.api.sources._LOOK_S", 60.0)  # a busy machine needs more than half a second

    made = {
        "a.mp4": make.video(tmp_path / "a.mp4", range(10)),
        "b.mkv": make.video(tmp_path / "b.mkv", range(10)),
        "c.avi": make.video(tmp_path / "c.avi", range(10), codec="mpeg4"),
        "d.mp4": make.video(tmp_path / "d.mp4", range(10), codec="mpeg4"),
        "e.mp4": make.video(tmp_path / "e.mp4", range(10), pix_fmt="yuv444p"),
    }
    with registry.registered(fakes.SPEC), Memory.open(tmp_path / "memory", encoder="colours") as m:
        m.index(list(made.values()))
    client = serving(tmp_path / "memory")
    found = client.get(f"{BASE}/sources").json()["sources"]
    assert [(Path(one["source"]).name, one["playable"]) for one in found] == [
        ("a.mp4", True),
        ("b.mkv", False),
        ("c.avi", False),
        ("d.mp4", False),
        ("e.mp4", False),
    ]
    assert all(one["unplayable"].startswith("browsers do not play") for one in found[1:])
    answer = client.get(f"{BASE}/videos/2")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/octet-stream")
    assert client.get(f"{BASE}/clips/2/0-100000000.mp4").status_code == 200


_NUMBER = st.floats(-1e7, 1e7) | st.sampled_from([float("nan"), float("inf")])


@given(st.lists(_NUMBER, max_size=6) | st.text(max_size=20))
def test_a_box_is_four_numbers_or_refused(value: list[float] | str) -> None:
    text = value if isinstance(value, str) else ",".join(map(str, value))
    try:
        x0, y0, x1, y1 = parse_box(text)
    except UsageError as error:
        assert str(error).startswith("`box` is x0,y0,x1,y1")  # noqa: PT017
    else:
        assert x0 < x1
        assert y0 < y1


@settings(max_examples=60)
@given(data=st.data())
def test_no_parameter_is_a_bug(shared_client: TestClient, data: st.DataObject) -> None:
    """Whatever is asked for, the answer is a picture, a document, or an error with a kind that is no bug."""
    word = st.text(max_size=12) | st.integers(-(10**20), 10**20).map(str) | st.sampled_from(["", "nan", "1e400", "٣"])
    path = data.draw(
        st.sampled_from(
            [
                "/frames/1/{}.jpg",
                "/crops/1/{}.jpg",
                "/clips/1/{}.mp4",
                "/sources/{}",
                "/where",
                "/things",
                "/sources/1/boxes",
            ]
        )
    )
    names = ["box", "width", "tracks", "text", "crop", "top", "after", "near", "within", "apart", "source", "start_ns"]
    parameters = data.draw(st.dictionaries(st.sampled_from(names), word, max_size=4))
    part = data.draw(word.map(lambda text: "".join(c for c in text if c.isalnum() or c in "-.") or "0"))
    answer = shared_client.get(BASE + path.format(part), params=parameters)
    assert answer.status_code in (200, 400, 404, 415), answer.text
