"""One suite over every source: what `Source` promises."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import make
import numpy as np
import pytest
from media import make_logs
from PIL import Image

from needs import needs
from vidmem.errors import MediaError, UsageError
from vidmem.media import Source, decode_ahead, open_source

N = 100


def _pyav(folder: Path) -> Source:
    return open_source(make.video(folder / "v.mp4", range(N), options={"g": "12", "bf": "3"}))


def _pyav_vfr(folder: Path) -> Source:
    ticks = np.cumsum(np.random.default_rng(1).integers(1, 9, N)).tolist()
    return open_source(make.video(folder / "v.mkv", ticks, make.Fraction(1, 100), options={"g": "7"}))


def _decord(folder: Path) -> Source:
    needs("decord")
    return open_source(make.video(folder / "v.mp4", range(N), options={"g": "12", "bf": "0"}), decoder="decord")


def _images(folder: Path) -> Source:
    for i in range(N):
        Image.fromarray(make.picture(i)).save(folder / f"p{i}.png")
    return open_source(folder)


def _mcap(folder: Path) -> Source:
    return open_source(make_logs.ros2_compressed(folder / "run.mcap", N))


def _mcap_header(folder: Path) -> Source:
    path = make_logs.ros2_compressed(folder / "run.mcap", N)
    return open_source(f"{path}#header:/cam/front")


def _mcap_h264(folder: Path) -> Source:
    return open_source(make_logs.video(folder / "run.mcap", N, "libx264"))


def _mcap_no_summary(folder: Path) -> Source:
    path = make_logs.ros2_compressed(
        folder / "run.mcap",
        N,
        use_summary_offsets=False,
        use_chunking=False,
        repeat_channels=False,
        repeat_schemas=False,
        use_statistics=False,
    )
    return open_source(path)


def _rosbag2(folder: Path) -> Source:
    return open_source(make_logs.bag(folder / "run", N, "sqlite3"))


def _ros1(folder: Path) -> Source:
    return open_source(make_logs.bag(folder / "run.bag", N, "ros1"))


SOURCES = [
    pytest.param(_pyav, id="pyav"),
    pytest.param(_pyav_vfr, id="pyav-vfr"),
    pytest.param(_decord, id="decord"),
    pytest.param(_images, id="images"),
    pytest.param(_mcap, id="mcap"),
    pytest.param(_mcap_header, id="mcap-header"),
    pytest.param(_mcap_h264, id="mcap-h264"),
    pytest.param(_mcap_no_summary, id="mcap-no-summary"),
    pytest.param(_rosbag2, id="rosbag2"),
    pytest.param(_ros1, id="ros1"),
]


@pytest.fixture(params=SOURCES)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Source:
    opened: Callable[[Path], Source] = request.param
    return opened(tmp_path)


def test_is_a_source(source: Source) -> None:
    assert isinstance(source, Source)
    assert (source.info.width, source.info.height) == (make.WIDTH, make.HEIGHT)
    assert Path(source.info.uri).is_absolute()
    assert len(source.info.fingerprint) == 64


def test_all_frames_come_once_in_order(source: Source) -> None:
    frames = list(source.frames(0))
    assert [make.number_in(f.image) for f in frames] == list(range(N))
    assert [f.index for f in frames] == list(range(N))
    assert all(a.t_ns < b.t_ns for a, b in pairwise(frames))
    assert all(f.image.flags.c_contiguous for f in frames)
    assert not source.damage


@pytest.mark.parametrize("fps", [0, 5, 0.3, 29.97])
def test_resuming_anywhere_gives_what_an_uninterrupted_pass_gives(source: Source, fps: float) -> None:
    whole = list(source.frames(fps))
    for done in sorted({1, len(whole) // 2, len(whole) - 1, len(whole)} - {0}):
        start = whole[done - 1].t_ns + 1
        rest = list(source.frames(fps, start, start_index=done))
        assert [(f.t_ns, f.index) for f in rest] == [(f.t_ns, f.index) for f in whole[done:]]
        assert all(np.array_equal(a.image, b.image) for a, b in zip(rest, whole[done:], strict=True))


def test_frame_at_shows_what_frames_gave(source: Source) -> None:
    frames = list(source.frames(0))
    for k in (0, 1, 17, N - 1):
        shown = source.frame_at(frames[k].t_ns)
        assert shown.t_ns == frames[k].t_ns
        assert np.array_equal(shown.image, frames[k].image)
    assert source.frame_at(frames[18].t_ns - 1).t_ns == frames[17].t_ns
    assert source.frame_at(-5).t_ns == frames[0].t_ns
    assert source.frame_at(10**15).t_ns == frames[-1].t_ns


def test_frame_at_works_while_a_pass_runs(source: Source) -> None:
    seen = [(make.number_in(f.image), source.frame_at(f.t_ns).t_ns == f.t_ns) for f in source.frames(5)]
    assert seen
    assert all(same for _, same in seen)


def test_shape_is_the_size_of_the_pictures(source: Source) -> None:
    asked = []

    def half(width: int, height: int) -> tuple[int, int]:
        asked.append((width, height))
        return width // 2, height // 2

    small = list(source.frames(5, shape=half))
    assert {f.image.shape for f in small} == {(make.HEIGHT // 2, make.WIDTH // 2, 3)}
    assert set(asked) == {(make.WIDTH, make.HEIGHT)}
    assert [make.number_in(f.image) for f in small] == [make.number_in(f.image) for f in source.frames(5)]


def test_decoding_ahead_changes_nothing(source: Source) -> None:
    assert [f.t_ns for f in decode_ahead(source.frames(5), 3)] == [f.t_ns for f in source.frames(5)]


def test_dropping_a_pass_leaves_no_thread(source: Source) -> None:
    before = threading.active_count()
    for _ in range(3):
        frames = decode_ahead(source.frames(0), 2)
        next(frames)
        frames.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_closed_source_fails(source: Source) -> None:
    with source:
        frames = source.frames(0)
        next(frames)
    with pytest.raises(MediaError, match="closed"):
        next(frames)
    with pytest.raises(MediaError, match="closed"):
        next(source.frames(0))
    with pytest.raises(MediaError, match="closed"):
        source.frame_at(0)
    source.close()


@pytest.mark.parametrize("decoder", ["pyav", "decord"])
def test_missing_file_fails_with_near_names(tmp_path: Path, decoder: str) -> None:
    if decoder == "decord":
        needs("decord")
    (tmp_path / "walk.mp4").touch()
    with pytest.raises(MediaError, match=r"did you mean walk\.mp4\?*: .*wlak\.mp4$"):
        open_source(tmp_path / "wlak.mp4", decoder)


def test_unknown_decoder_fails(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="pyav, decord"):
        open_source(tmp_path, "magic")


def test_decord_missing_fails_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "decord", None)
    with pytest.raises(MediaError, match=r"pip install 'vidmem\[decord\]'"):
        open_source(make.video(tmp_path / "v.mp4", range(2)), decoder="decord")


@pytest.mark.parametrize("name", ["empty.mp4", "text.mp4"])
def test_decord_refusal_fails_in_one_line(tmp_path: Path, name: str) -> None:
    needs("decord")
    (tmp_path / name).write_text("" if name == "empty.mp4" else "not a video\n" * 50)
    with pytest.raises(MediaError, match="use `decoder` pyav") as caught:
        open_source(tmp_path / name, decoder="decord")
    assert "\n" not in str(caught.value)


def test_decord_turns_upright(tmp_path: Path) -> None:
    needs("decord")
    path = make.video(tmp_path / "v.mp4", range(5), degrees=-90, turn=1, options={"bf": "0"})
    with open_source(path, decoder="decord") as source:
        assert (source.info.width, source.info.height) == (make.WIDTH, make.HEIGHT)
        assert [make.number_in(f.image) for f in source.frames(0)] == [0, 1, 2, 3, 4]
