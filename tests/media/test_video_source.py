"""What only video files have: clocks, codecs, edit lists, rotation, damage."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import make
import numpy as np
import pytest

from vidmem.errors import MediaError
from vidmem.media import open_source, video
from vidmem.media.reading import Way
from vidmem.records import Frame
from vidmem.timecode import NS

FRONT = {"movflags": "faststart"}


def _frames(path: Path, fps: float = 0, **options: int) -> list[Frame]:
    with open_source(path) as source:
        frames = list(source.frames(fps, **options))  # type: ignore[arg-type]
        assert not source.damage
        return frames


def _same(a: list[Frame], b: list[Frame]) -> bool:
    return [f.t_ns for f in a] == [f.t_ns for f in b] and all(
        np.array_equal(x.image, y.image) for x, y in zip(a, b, strict=True)
    )


def test_variable_frame_rate_keeps_its_times(tmp_path: Path) -> None:
    ticks = [0, 1, 5, 30, 31, 90, 91, 150, 500]
    frames = _frames(make.video(tmp_path / "v.mp4", ticks, Fraction(1, 1000), options={"bf": "3"}))
    assert [f.t_ns for f in frames] == [t * 1_000_000 for t in ticks]
    assert [make.number_in(f.image) for f in frames] == list(range(len(ticks)))


def test_times_are_exact_not_frame_numbers(tmp_path: Path) -> None:
    frames = _frames(make.video(tmp_path / "v.mp4", range(90), Fraction(1001, 30000)))
    assert [f.t_ns for f in frames] == [i * 1001 * NS // 30000 for i in range(90)]


@pytest.mark.parametrize("fps", [1, 5, 7.3, 15, 29, 30])
def test_sampled_frames_are_the_first_ones_due(tmp_path: Path, fps: float) -> None:
    path = make.video(tmp_path / "v.mp4", range(100), options={"bf": "4", "b-pyramid": "normal", "g": "25"})
    due = [-(-k * 30 // fps) for k in range(int(100 * fps))]
    expected = sorted({int(i) for i in due if i < 100})
    assert [make.number_in(f.image) for f in _frames(path, fps)] == expected


@pytest.mark.parametrize("start", [2.0, 90_000.5])
def test_clock_without_zero_counts_from_the_start(tmp_path: Path, start: float) -> None:
    first = int(start * 90_000)
    path = make.video(tmp_path / "v.ts", [first + i * 3000 for i in range(70)], Fraction(1, 90_000))
    frames = _frames(path)
    assert [f.t_ns for f in frames] == [i * NS // 30 for i in range(70)]
    assert _same(_frames(path, 5, start_ns=frames[40].t_ns), [f for f in _frames(path, 5) if f.t_ns >= frames[40].t_ns])


@pytest.mark.parametrize("skipped", [10, 11, 47])
def test_edit_list_starts_where_the_clip_was_trimmed(tmp_path: Path, skipped: int) -> None:
    path = make.video(tmp_path / "v.mp4", range(60), options={"g": "20", "bf": "2"})
    make.set_edit_start(path, 1024 + 512 * skipped)  # frames are 512 ticks; the first is shown at 1024
    frames = _frames(path)
    assert [make.number_in(f.image) for f in frames] == list(range(skipped, 60))
    assert [f.t_ns for f in frames] == [i * 512 * NS // 15360 for i in range(60 - skipped)]
    assert [make.number_in(f.image) for f in _frames(path, 5)] == list(range(skipped, 60, 6))


@pytest.mark.parametrize("degrees", [0, 90, 180, -90])
@pytest.mark.parametrize("hflip", [False, True])
def test_display_matrix_is_applied(tmp_path: Path, degrees: int, hflip: bool) -> None:
    turn = -degrees // 90
    path = make.video(tmp_path / "v.mp4", range(3), degrees=degrees, turn=turn, hflip=hflip)
    with open_source(path) as source:
        assert (source.info.width, source.info.height) == (make.WIDTH, make.HEIGHT)
        assert [make.number_in(f.image) for f in source.frames(0)] == [0, 1, 2]
        assert source.frame_at(0).image.shape == (make.HEIGHT, make.WIDTH, 3)


def test_portrait_matrix_of_a_phone_is_a_quarter_clockwise(tmp_path: Path) -> None:
    path = make.set_matrix(make.video(tmp_path / "v.mp4", range(3), turn=1), 0, 1, -1, 0)
    assert [make.number_in(f.image) for f in _frames(path)] == [0, 1, 2]


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt", "options"),
    [
        ("v.mp4", "libx265", "yuv420p", {"x265-params": "log-level=error:bframes=4:keyint=25"}),
        ("v.mp4", "libx265", "yuv420p10le", {"x265-params": "log-level=error"}),
        ("v.mp4", "libx264", "yuv420p10le", {}),
        ("v.mp4", "libx264", "yuv444p", {}),
        ("v.webm", "libvpx-vp9", "yuv420p", {"deadline": "realtime", "cpu-used": "8", "g": "20"}),
        ("v.webm", "libvpx", "yuv420p", {"deadline": "realtime", "auto-alt-ref": "1", "lag-in-frames": "10"}),
        ("v.mp4", "libsvtav1", "yuv420p", {"preset": "8", "crf": "10", "g": "20", "svtav1-params": "lp=1"}),
        ("v.mkv", "libx264", "yuv420p", {"g": "20"}),
        ("v.avi", "mpeg4", "yuv420p", {"bf": "2", "b": "2M"}),
        ("v.mov", "mjpeg", "yuvj420p", {}),
        ("v.mpg", "mpeg2video", "yuv420p", {"bf": "2", "b": "4M"}),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_codecs(tmp_path: Path, name: str, codec: str, pix_fmt: str, options: dict[str, str]) -> None:
    base = Fraction(1, 25)
    path = make.video(tmp_path / name, range(50), base, codec=codec, pix_fmt=pix_fmt, options=options)
    frames = _frames(path)
    assert [make.number_in(f.image) for f in frames] == list(range(50))
    assert all(abs(f.t_ns - frames[0].t_ns - i * NS // 25) <= NS // 1000 for i, f in enumerate(frames))
    sampled = _frames(path, 5)
    assert [make.number_in(f.image) for f in sampled] == list(range(0, 50, 5))
    assert _same(_frames(path, 5, start_ns=sampled[7].t_ns), sampled[7:])


def test_odd_size(tmp_path: Path) -> None:
    path = make.video(tmp_path / "v.mp4", range(5), size=(131, 97), pix_fmt="yuv444p")
    assert [(f.image.shape, make.number_in(f.image)) for f in _frames(path)] == [((97, 131, 3), i) for i in range(5)]


def test_one_frame(tmp_path: Path) -> None:
    path = make.video(tmp_path / "v.mp4", [0])
    assert [f.t_ns for f in _frames(path, 5)] == [0]
    with open_source(path) as source:
        assert make.number_in(source.frame_at(NS).image) == 0


def test_cover_art_is_not_the_video_and_names_may_be_odd(tmp_path: Path) -> None:
    path = make.video(tmp_path / "-x:1%d é.mp4", range(3))
    assert len(_frames(path)) == 3


def _with(ways: list[Way], path: Path, fps: float, monkeypatch: pytest.MonkeyPatch) -> list[Frame]:
    with monkeypatch.context() as patch:
        patch.setattr(video, "Way", ways)
        return _frames(path, fps)


H264 = [
    {"bf": "0"},
    {"bf": "3", "b-pyramid": "normal"},
    {"bf": "16", "b-adapt": "0", "b-pyramid": "strict", "refs": "4", "g": "50"},
    {"bf": "2", "g": "10", "x264-params": "open-gop=1"},
    {"x264-params": "intra-refresh=1:keyint=30:bframes=3"},
    {"tune": "zerolatency", "slices": "4"},
]


@pytest.mark.parametrize("options", H264, ids=str)
@pytest.mark.parametrize("name", ["v.mp4", "v.mkv", "v.ts"])
def test_fast_ways_give_what_the_careful_way_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, str], name: str
) -> None:
    ticks = np.cumsum(np.random.default_rng(2).choice([3000, 3000, 3000, 6000, 1500], 120)).tolist()
    path = make.video(tmp_path / name, ticks, Fraction(1, 90_000), options=options)
    for fps in (2, 5, 0):
        careful = _with([Way.WHOLE], path, fps, monkeypatch)
        assert _same(_with(list(Way), path, fps, monkeypatch), careful)
        middle = careful[len(careful) // 2].t_ns
        assert _same(_frames(path, fps, start_ns=middle), [f for f in careful if f.t_ns >= middle])


def test_skipping_is_used_and_skips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make.video(tmp_path / "v.mp4", range(90), options={"bf": "3", "b-adapt": "0"})
    decoded = []
    count = video.read

    def read(*args: object) -> object:
        for item in count(*args):  # type: ignore[arg-type]
            decoded.append(item)
            yield item

    monkeypatch.setattr(video, "read", read)
    assert len(_with([Way.SKIP], path, 5, monkeypatch)) == 15
    assert len(decoded) < 70


@pytest.mark.parametrize("at", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_damaged_middle_costs_little_and_the_same_every_time(tmp_path: Path, at: float, codec: str) -> None:
    options = {"g": "12"} if codec == "libx264" else {"x265-params": "log-level=error:keyint=12"}
    path = make.damage(make.video(tmp_path / "v.mp4", range(120), codec=codec, options=options), at)
    with open_source(path) as source:
        frames = list(source.frames(0))
        if codec == "libx264":  # noise inside one HEVC slice can pass for pixels
            assert source.damage
            assert source.damage.notes
        assert len(frames) >= 100
        sampled = list(source.frames(5))
    assert frames[-1].t_ns == 119 * NS // 30
    with open_source(path) as again:
        assert _same(list(again.frames(5)), sampled)
        for k in (3, 9, 15):
            assert _same(list(again.frames(5, sampled[k].t_ns)), sampled[k:])


def test_truncated_file_keeps_what_decodes(tmp_path: Path) -> None:
    path = make.cut(make.video(tmp_path / "v.mp4", range(120), options={"g": "12"}, container_options=FRONT), 0.5)
    with open_source(path) as source:
        numbers = [make.number_in(f.image) for f in source.frames(0)]
        assert len(numbers) > 40
        assert numbers == list(range(len(numbers)))
        assert source.damage


def test_damaged_first_frame_starts_at_the_next_good_one(tmp_path: Path) -> None:
    path = make.damage(make.video(tmp_path / "v.mp4", range(60), options={"g": "12", "bf": "0"}), 0.0, 0.03)
    with open_source(path) as source:
        frames = list(source.frames(0))
        assert source.damage
        assert frames[0].t_ns == source.frame_at(0).t_ns
        assert frames[-1].t_ns == 59 * NS // 30


def test_undamaged_file_reports_none(tmp_path: Path) -> None:
    with open_source(make.video(tmp_path / "v.mp4", range(30))) as source:
        list(source.frames(5))
        assert not source.damage
        assert source.damage.notes == []


def test_fingerprint_is_of_the_content(tmp_path: Path) -> None:
    a, b = make.video(tmp_path / "a.mp4", range(5)), make.video(tmp_path / "b.mp4", range(6))
    c = tmp_path / "c.mp4"
    c.write_bytes(a.read_bytes())
    prints = [open_source(p).info.fingerprint for p in (a, b, c)]
    assert prints[0] == prints[2] != prints[1]


def _no_moov(path: Path) -> Path:
    data = make.video(path, range(30)).read_bytes()
    path.write_bytes(data[: data.find(b"moov") - 4])
    return path


def _text(path: Path) -> Path:
    path.write_text("this is not a video\n" * 100)
    return path


def _empty(path: Path) -> Path:
    path.touch()
    return path


def _playlist(path: Path) -> Path:
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n/etc/passwd\n")
    return path


def _spoilt(path: Path) -> Path:
    return make.damage(make.video(path, range(3), codec="mjpeg", pix_fmt="yuvj420p"), 0.0, 1.0)


@pytest.mark.parametrize(
    ("bad", "cause"),
    [
        (make.audio, "no video, only audio"),
        (_empty, "empty"),
        (_text, "not a video"),
        (_no_moov, "cut off before its index"),
        (_playlist, "not a video"),
        (_spoilt, "no picture of the video can be decoded"),
    ],
    ids=lambda v: getattr(v, "__name__", None),
)
def test_no_video_fails_in_one_line_with_the_path_last(tmp_path: Path, bad: object, cause: str) -> None:
    path = bad(tmp_path / "bad.mp4")  # type: ignore[operator]
    with pytest.raises(MediaError, match=cause) as caught:
        open_source(path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(str(path))


def test_too_large_picture_fails(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="17000x16 exceeds the limit"):
        open_source(make.video(tmp_path / "v.mkv", [0], codec="ffv1", size=(17_000, 16)))


def test_file_that_vanished_fails(tmp_path: Path) -> None:
    path = make.video(tmp_path / "v.mp4", range(5))
    with open_source(path) as source:
        path.unlink()
        with pytest.raises(MediaError):
            list(source.frames(5))


CLIPS = Path(__file__).parents[3] / "shared" / "data" / "clips"


@pytest.mark.real
@pytest.mark.skipif(not CLIPS.is_dir(), reason="the development data is not here")
@pytest.mark.parametrize("clip", sorted(CLIPS.glob("*.mp4")) if CLIPS.is_dir() else [], ids=lambda p: p.stem)
def test_real_clips(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with av.open(str(clip)) as container:
        stream = container.streams.best("video")
        assert stream is not None
        times = sorted(int(p.pts * stream.time_base * NS) for p in container.demux(stream) if p.pts is not None)
    with open_source(clip) as source:
        small = [f.t_ns for f in source.frames(0, shape=lambda w, h: (16, 16))]
        assert small == times
        assert not source.damage
    careful = _with([Way.WHOLE], clip, 5, monkeypatch)
    assert _same(_frames(clip, 5), careful)
    assert _same(_frames(clip, 5, start_ns=careful[-9].t_ns), careful[-9:])
