"""Growth with the length of video: films of any length, the other ways of keeping them, slopes."""

from __future__ import annotations

import itertools
from pathlib import Path

import av
import numpy as np
import pytest

from benchmarks import growth, ways
from needs import needs
from vidmem.encoders.tiny.views import load

needs("matplotlib")
needs("onnx")


def video(path: Path, frames: int = 20) -> Path:
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=10, options={"bf": "0", "g": "10"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for i in range(frames):
            picture = np.full((48, 64, 3), 12 * i, np.uint8)
            picture[:, : 3 * i] = 200
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def times(path: Path) -> list[float]:
    with av.open(str(path)) as container:
        return [float(frame.pts * frame.time_base) for frame in container.decode(video=0)]


def test_a_film_is_repeated_and_cut_to_length(tmp_path: Path) -> None:
    long = growth.looped(video(tmp_path / "a.mp4"), tmp_path / "b.mp4", 5)
    shown = times(long)
    assert shown == pytest.approx([i / 10 for i in range(50)])
    assert times(growth.looped(tmp_path / "a.mp4", tmp_path / "c.mp4", 1)) == pytest.approx(shown[:10])


def test_a_frames_vector_is_that_of_the_frame_as_a_view(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (90, 160, 3), dtype=np.uint8) for _ in range(2)]
    backbone = ways.Backbone(workers=1)
    frames, patches = backbone.tokens(pictures, False), backbone.tokens(pictures, True)
    assert frames.shape == (2, 1, 128)
    assert patches.shape == (2, 36, 128)
    views = load().look([ways._view(picture) for picture in pictures])
    np.testing.assert_allclose(frames[:, 0], views.visual, atol=2e-5)
    np.testing.assert_allclose(np.linalg.norm(patches, axis=2), 1, atol=1e-5)
    assert not np.allclose(patches[0, 0], patches[0, 35], atol=1e-2)


def test_both_ways_keep_every_sampled_frame(tmp_path: Path) -> None:
    path, backbone = video(tmp_path / "a.mp4"), ways.Backbone(workers=2)
    frames = backbone.index(path, tmp_path / "f.npz", False)
    patches = backbone.index(path, tmp_path / "p.npz", True)
    assert frames.frames == patches.frames == 10  # 2 s at 5 a second
    assert frames.vectors.shape == (10, 128)
    assert patches.vectors.shape == (360, 128)
    assert frames.times.tolist() == patches.times[::36].tolist() == sorted(frames.times.tolist())
    assert patches.disk_bytes >= 360 * (256 + 8)
    kept = np.load(tmp_path / "p.npz")
    np.testing.assert_array_equal(kept["vectors"], patches.vectors)


def row(kind: str, hours: float) -> dict[str, object]:
    costs = dict.fromkeys(growth.COLUMNS, 100 * hours)
    return {"kind": kind, "hours": hours, "tracks": int(1000 * hours), **costs}


def test_slopes_and_counts_of_the_other_ways() -> None:
    rows = [row("real", 0.5), row("real", 1), row("synthetic", 4), row("synthetic", 8)]
    for one, factor in zip(rows[:2], (1, 2), strict=True):
        one["frames"] = {
            "vectors": 900 * factor,
            "index_s": 4.0,
            "index_cpu_s": 3.0 * factor,
            "disk_bytes": 9000 * factor,
        }
        one["patches"] = {
            "vectors": 32400 * factor,
            "index_s": 4.0,
            "index_cpu_s": 3.0 * factor,
            "disk_bytes": 324000 * factor,
        }
    growth.by_count(rows, most=20_000)
    assert rows[3]["frames"]["vectors"] == 14_400  # type: ignore[index]
    assert rows[3]["patches"]["disk_bytes"] == 8 * 648_000  # type: ignore[index]
    assert rows[3]["frames"]["p50_ms"] > 0  # type: ignore[index]
    assert "p50_ms" not in rows[3]["patches"]  # type: ignore[operator]
    slopes = growth.slopes(rows)
    assert all(s[kind] == pytest.approx(1) for s, kind in itertools.product(slopes[:-2], ("real", "synthetic")))
    assert [s["synthetic"] for s in slopes[-2:]] == [None, None]
    text = growth.tables({"rows": rows, "slopes": slopes})
    assert "| 8 h | one vector a patch | 518400 |" in text
