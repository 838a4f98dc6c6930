"""The clock of a video element is that of the memory: a box is drawn on the frame that it was seen in."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import fakes
import numpy as np
import pytest
from media import make
from PIL import Image

from needs import needs
from vidmem.encoders import registry
from vidmem.memory import Memory
from vidmem.timecode import NS

MS = Fraction(1, 1000)
TIMES = (0.05, 0.55, 1.65, 2.55, 3.55, 5.25)
"""Seconds of `currentTime`."""
SEEK = """async ([source, times]) => {
  const video = document.createElement('video');
  video.muted = true;
  video.src = `/api/v1/videos/${source}`;
  await new Promise((done, failed) => {
    video.onloadeddata = done;
    video.onerror = () => failed(new Error(video.error.message));
  });
  const canvas = document.createElement('canvas');
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  const pen = canvas.getContext('2d', { willReadFrequently: true });
  const shown = [];
  for (const time of times) {
    await new Promise((done) => { video.onseeked = done; video.currentTime = time; });
    await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
    pen.drawImage(video, 0, 0);
    const row = pen.getImageData(0, Math.floor(canvas.height * 3 / 4), canvas.width, 1).data;
    let number = 0;
    for (let bit = 0; bit < 8; bit += 1) {
      const x = Math.floor((2 * bit + 1) * canvas.width / 16);
      if (row[4 * x] > 127) number |= 1 << bit;
    }
    shown.push([video.currentTime, number]);
  }
  return shown;
}"""


def _ticks(first_ms: int, count: int = 60) -> list[int]:
    return [first_ms + 100 * i for i in range(count)]


def _plain(folder: Path) -> Path:
    return make.video(folder / "plain.mp4", _ticks(0), MS, options={"bf": "3"})


def _webm(folder: Path) -> Path:
    return make.video(folder / "plain.webm", _ticks(0), MS, codec="libvpx-vp9", options={"deadline": "realtime"})


def _quicktime(folder: Path) -> Path:
    return make.video(folder / "plain.mov", _ticks(0), MS)


def _late(folder: Path) -> Path:
    return make.video(folder / "late.mp4", _ticks(1500), MS)


def _late_webm(folder: Path) -> Path:
    return make.video(folder / "late.webm", _ticks(1500), MS, codec="libvpx", options={"deadline": "realtime"})


def _trimmed(folder: Path) -> Path:
    path = make.video(folder / "trimmed.mp4", _ticks(0, 70), MS, options={"g": "20"})
    with av.open(str(path)) as container:
        base = container.streams.video[0].time_base
    assert base is not None
    return make.set_edit_start(path, int(Fraction(7, 10) / base))


def _fragments(folder: Path) -> Path:
    flags = {"movflags": "frag_keyframe+empty_moov"}
    return make.video(folder / "fragments.mp4", _ticks(0), MS, options={"g": "10"}, container_options=flags)


MADE = (_plain, _webm, _quicktime, _late, _late_webm, _trimmed, _fragments)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, browser: Any) -> Iterator[str]:
    """A server over the videos of MADE, as sources 1, 2 and so on."""
    uvicorn = needs("uvicorn")
    from vidmem.serve.app import build
    from vidmem.serve.running import listening
    from vidmem.serve.settings import Settings

    folder = tmp_path_factory.mktemp("clock")
    with registry.registered(fakes.SPEC):
        with Memory.open(folder / "memory", encoder="colours") as m:
            m.index([made(folder) for made in MADE])
        with Memory.open(folder / "memory", read_only=True) as memory, listening("127.0.0.1", 0) as sock:
            port = int(sock.getsockname()[1])
            server = uvicorn.Server(uvicorn.Config(build(memory, Settings(port=port)), log_config=None))
            thread = threading.Thread(target=server.run, args=([sock],))
            thread.start()
            yield f"http://127.0.0.1:{port}"
            server.should_exit = True
            thread.join()


@pytest.fixture
def window(address: str, browser: Any) -> Iterator[Any]:
    """The page of the server, which is not looked at here."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{address}/")
    yield page
    context.close()


@pytest.mark.parametrize("number", range(len(MADE)), ids=[made.__name__[1:] for made in MADE])
def test_a_video_shows_the_frame_of_its_time(address: str, window: Any, number: int) -> None:
    source, page = number + 1, window
    known = page.request.get(f"{address}/api/v1/sources/{source}").json()
    assert (known["playable"], known["unplayable"]) == (True, None)
    shown = page.evaluate(SEEK, [source, list(TIMES)])
    for at_s, seen in shown:
        t_ns = round(at_s * NS) + int(known["offset_ns"])
        frame = page.request.get(f"{address}/api/v1/frames/{source}/{t_ns}.jpg").body()
        assert make.number_in(np.asarray(Image.open(io.BytesIO(frame)))) == seen, f"at {at_s} s"
    assert len({seen for _, seen in shown}) > 3


@pytest.mark.parametrize("late", [MADE.index(_late) + 1, MADE.index(_late_webm) + 1])
def test_a_video_that_begins_late_is_watched_to_its_end(address: str, window: Any, late: int) -> None:
    page = window
    known = page.request.get(f"{address}/api/v1/sources/{late}").json()
    last_s = max(int(known["indexed_to_ns"]) / NS, known["duration_s"])
    page.goto(f"{address}/#/sources?source={late}")
    page.locator(".player").hover()
    page.wait_for_selector("video")
    page.locator(".lanes-scroll").press("End")
    page.wait_for_function(f"Math.abs(document.querySelector('video').currentTime - {last_s}) < 0.5")
    assert float(page.locator(".scrub").get_attribute("max")) == pytest.approx(last_s)


def test_the_clock_is_that_of_the_picture_on_show(address: str, window: Any) -> None:
    page = window
    page.goto(f"{address}/#/sources?source=1")
    page.locator(".player").hover()
    page.wait_for_selector("video")
    page.locator(".scrub").evaluate("one => { one.value = 2.58; one.dispatchEvent(new Event('input')); }")
    clock = "document.querySelector('.player-clock').textContent"
    page.wait_for_function(f"{clock}.startsWith('0:02.5')")  # pictures are 0.1 s apart
    for _ in range(4):  # the length of a picture is not known before it plays
        page.keyboard.press("ArrowRight")
        page.wait_for_timeout(150)
    page.wait_for_function(f"!{clock}.startsWith('0:02.5')")
