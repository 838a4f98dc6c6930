"""From a source to the store: what is written, going on after an interruption, damage, pictures of any size."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from encoders.fake import NAMES, ColourEncoder, picture, save, video, walk

from vidmem.config import IndexConfig, TrackConfig
from vidmem.errors import MediaError, StoreError
from vidmem.geometry import mask_boxes
from vidmem.indexer.pipeline import SourceReport, index_source
from vidmem.media import Source, open_source
from vidmem.records import Frame, RegionTokens, SourceInfo, SourceKind
from vidmem.store import ModelRecord, Store
from vidmem.timecode import NS

CONFIG = IndexConfig(fps=5, checkpoint_frames=8, batch=4, still=0)
FRAMES = 60


class Stop(Exception):
    """Stands for Ctrl-C."""


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return video(tmp_path_factory.mktemp("clip") / "walk.mp4", walk(FRAMES))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "memory"


def open_store(folder: Path) -> Store:
    store = Store.open(folder, create=True)
    info = ColourEncoder().info
    store.set_model(ModelRecord(info.name, info.weights, info.visual_dim, info.text_dim, CONFIG.as_dict()))
    return store


def run(folder: Path, source: Any, config: IndexConfig = CONFIG, **more: Any) -> SourceReport:
    """Index in a freshly opened store, as a new process would."""
    encoder = more.pop("encoder", None) or ColourEncoder()
    with open_store(folder) as store, source:
        return index_source(source, encoder, store, config, **more)


def rows(folder: Path) -> list[object]:
    """Every row but wall-clock times."""
    found: list[object] = []
    with Store.open(folder) as store:
        assert store._conn is not None
        sources = "id, uri, kind, width, height, state, frames, damaged, next_t_ns, tracker_state"
        for table, columns in (("sources", sources), ("tracks", "*"), ("regions", "*")):
            found += store._conn.execute(f"SELECT {columns} FROM {table} ORDER BY 1, 2").fetchall()
    return found


def stop_after(batches: int) -> Any:
    """A progress callback that raises after so many batches."""
    left = iter(range(batches - 1))

    def progress(t_ns: int, frames: int) -> None:
        if next(left, None) is None:
            raise Stop

    return progress


@pytest.fixture(scope="module")
def whole(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    """All rows of an uninterrupted run."""
    folder = tmp_path_factory.mktemp("whole")
    run(folder, open_source(clip))
    return rows(folder)


def test_what_is_written(clip: Path, folder: Path) -> None:
    encoder, seen = ColourEncoder(), []
    report = run(folder, open_source(clip), encoder=encoder, progress=lambda t, n: seen.append((t, n)))
    assert (report.frames, report.new_frames, report.damaged, report.skipped) == (FRAMES, FRAMES, 0, False)
    assert report.media_s == pytest.approx((FRAMES - 1) / 5, abs=1e-6)
    assert encoder.calls == [4] * 15
    assert seen == [((n - 1) * NS // 5, n) for n in range(4, FRAMES + 1, 4)]
    with Store.open(folder) as store:
        (row,) = store.sources()
        assert (row.state, row.frames, row.tracker_state) == ("done", FRAMES, b"")
        tracks = store.source_tracks(row.id)
        assert len(tracks) == report.tracks
        spans = [(NAMES[t.visual.argmax()], t.start_ns * 5 // NS, t.end_ns * 5 // NS, t.frames) for t in tracks]
        # red and blue at first; four frames of nothing part red; green for three frames; blue comes back
        assert spans == [
            ("red", 0, 19, 20),
            ("blue", 0, 11, 12),
            ("red", 24, 59, 36),
            ("green", 30, 32, 3),
            ("blue", 48, 59, 12),
        ]
        assert [t.ordinal for t in tracks] == [0, 1, 2, 3, 4]
        frames = list(store.regions(row.id, 0, 20 * NS))
    assert [f.t_ns for f in frames] == [n * NS // 5 for n in range(FRAMES)]
    for number, (frame, places) in enumerate(zip(frames, walk(FRAMES), strict=True)):
        names = [NAMES[tracks[i].visual.argmax()] for i in frame.tracks]
        assert sorted(names) == sorted(places), number
        for name, box in zip(names, frame.boxes, strict=True):
            x, y = places[name]
            assert np.abs(box - (x, y, x + 32, y + 32)).max() <= 8, (number, name)


def test_a_second_run_skips(clip: Path, folder: Path) -> None:
    run(folder, open_source(clip))
    before, encoder = rows(folder), ColourEncoder()
    report = run(folder, open_source(clip), encoder=encoder)
    assert (report.skipped, report.new_frames, report.frames) == (True, 0, FRAMES)
    assert encoder.calls == []
    assert rows(folder) == before


@pytest.mark.parametrize("batches", [1, 2, 3, 6, 14, 15])
def test_interrupted_and_resumed_equals_uninterrupted(
    clip: Path, folder: Path, whole: list[object], batches: int
) -> None:
    with pytest.raises(Stop):
        run(folder, open_source(clip), progress=stop_after(batches))
    with Store.open(folder) as store:
        (row,) = store.sources()
        assert (row.state, row.frames) == ("open", batches * 4 // 8 * 8)
    report = run(folder, open_source(clip))
    assert report.frames == FRAMES
    assert report.new_frames == FRAMES - row.frames
    assert rows(folder) == whole


def test_interrupted_again_and_again(clip: Path, folder: Path, whole: list[object]) -> None:
    for _ in range(7):
        with pytest.raises(Stop):
            run(folder, open_source(clip), progress=stop_after(3))
    run(folder, open_source(clip))
    assert rows(folder) == whole


def test_an_encoder_that_fails_loses_one_checkpoint(clip: Path, folder: Path, whole: list[object]) -> None:
    class Failing(ColourEncoder):
        def encode(self, images: Any, width: int, height: int) -> list[RegionTokens]:
            if len(self.calls) == 5:
                raise RuntimeError("out of memory")
            return super().encode(images, width, height)

    with pytest.raises(RuntimeError, match="out of memory"):
        run(folder, open_source(clip), encoder=Failing())
    with Store.open(folder) as store:
        assert store.sources()[0].frames == 16
    run(folder, open_source(clip))
    assert rows(folder) == whole


def test_batch_and_checkpoint_change_nothing_in_the_tracks(clip: Path, folder: Path, tmp_path: Path) -> None:
    run(folder, open_source(clip))
    other = dataclasses.replace(CONFIG, batch=1, checkpoint_frames=5)
    run(tmp_path / "other", open_source(clip), other)
    with Store.open(folder) as a, Store.open(tmp_path / "other") as b:
        for ours, theirs in zip(a.source_tracks(1), b.source_tracks(1), strict=True):
            assert (ours.id, ours.start_ns, ours.end_ns, ours.best_box) == (
                theirs.id,
                theirs.start_ns,
                theirs.end_ns,
                theirs.best_box,
            )
            np.testing.assert_array_equal(ours.visual, theirs.visual)


def test_a_gap_is_bridged_or_not_as_configured(clip: Path, folder: Path) -> None:
    wide = dataclasses.replace(CONFIG, track=TrackConfig(max_gap=4))
    with open_store(folder) as store, open_source(clip) as source:
        index_source(source, ColourEncoder(), store, wide)
        (red,) = [t for t in store.source_tracks(1) if t.visual.argmax() == 0]
        assert (red.start_ns, red.frames) == (0, 56)


class Fake(Source):
    """A source of given frames that loses `damaged` packets before frame number `at`."""

    def __init__(self, frames: list[Frame], damaged: int = 0, fail: bool = False, at: int = 0) -> None:
        super().__init__("/v/fake.mp4")
        self.info = SourceInfo(self.path, SourceKind.VIDEO, 160, 96, 10 * NS, "fake")
        self._frames, self._damaged, self._fail, self._at = frames, damaged, fail, at

    def frames(self, fps: float, start_ns: int = 0, **_: object) -> Iterator[Frame]:
        for number, frame in enumerate(self._frames or [None]):
            if number == self._at and self._damaged and (frame is None or frame.t_ns >= start_ns):
                self.damage.packets += self._damaged
                self.damage.note("lost")
            if frame is not None and frame.t_ns >= start_ns:
                yield frame
        if self._fail:
            raise MediaError("the disk was pulled")

    def frame_at(self, t_ns: int) -> Frame:
        raise NotImplementedError


def frames(number: int) -> list[Frame]:
    return [Frame(picture({"red": (8 * i, 0)}), i * NS, i) for i in range(number)]


def test_damage_makes_the_source_partial(folder: Path) -> None:
    report = run(folder, Fake(frames(6), damaged=3))
    assert (report.damaged, report.notes, report.frames) == (3, ("lost",), 6)
    with Store.open(folder) as store:
        assert store.sources()[0].state == "partial"
    assert run(folder, Fake(frames(6))).skipped


@pytest.mark.parametrize("at", range(0, 24, 3))
def test_damage_is_counted_once_however_far_ahead_it_was_met(folder: Path, at: int) -> None:
    with pytest.raises(Stop):
        run(folder, Fake(frames(24), damaged=5, at=at), progress=stop_after(3))
    with Store.open(folder) as store:
        assert store.sources()[0].damaged == (5 if at < 8 else 0)
    assert run(folder, Fake(frames(24), damaged=5, at=at)).damaged == 5
    with Store.open(folder) as store:
        assert store.sources()[0].state == "partial"


def test_no_frame_at_all_fails_and_leaves_nothing(folder: Path) -> None:
    with pytest.raises(MediaError, match=r"no frame can be read; .*: /v/fake\.mp4"):
        run(folder, Fake([], damaged=2))
    with Store.open(folder) as store:
        assert store.sources() == []
    assert run(folder, Fake(frames(3))).frames == 3


def test_a_source_that_breaks_off_can_be_resumed(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="the disk was pulled"):
        run(folder, Fake(frames(11), fail=True))
    with Store.open(folder) as store:
        assert (store.sources()[0].state, store.sources()[0].frames) == ("open", 8)
    run(folder, Fake(frames(20)))
    run(tmp_path / "whole", Fake(frames(20)))
    assert rows(folder) == rows(tmp_path / "whole")


def test_frames_of_nothing_are_kept(folder: Path) -> None:
    report = run(folder, Fake([Frame(picture({}), i * NS, i) for i in range(5)]))
    assert (report.tracks, report.frames) == (0, 5)
    with Store.open(folder) as store:
        kept = list(store.regions(1, 0, 10 * NS))
    assert [(f.t_ns, len(f)) for f in kept] == [(i * NS, 0) for i in range(5)]


def test_a_store_that_is_closed_fails(folder: Path) -> None:
    store = open_store(folder)
    store.close()
    with pytest.raises(StoreError):
        index_source(Fake(frames(3)), ColourEncoder(), store, CONFIG)


def test_stored_masks_are_those_of_their_boxes(folder: Path) -> None:
    """Merging averages masks: where three of like tokens lie apart, no patch of the mean reaches a half."""

    class Apart(ColourEncoder):
        def _regions(self, image: Any, width: int, height: int) -> RegionTokens:
            masks = np.zeros((3, 4, 5), np.float32)
            masks[0, 0, 0] = masks[1, 1, 1] = masks[2, 2, 3] = 1
            token = np.tile(np.eye(self.info.visual_dim, dtype=np.float32)[0], (3, 1))
            boxes = mask_boxes(masks, width, height)
            return RegionTokens(token, token[:, : len(NAMES)], masks, boxes[:, :2], boxes, np.full(3, 0.05, np.float32))

    run(folder, Fake(frames(2)), encoder=Apart())
    with Store.open(folder) as store:
        for frame in store.regions(1, 0, 10 * NS):
            assert frame.masks.sum() == 3
            np.testing.assert_allclose(frame.boxes, mask_boxes(frame.masks.astype(np.float32), 160, 96))


def test_pictures_of_different_sizes(folder: Path, tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    sizes = [(160, 96), (160, 96), (96, 160), (320, 192), (160, 96)]
    for i, size in enumerate(sizes):
        save(pictures / f"{i}.png", {"red": (32, 32)}, size)
    encoder = ColourEncoder()
    report = run(folder, open_source(pictures), encoder=encoder)
    assert (report.frames, report.damaged, report.tracks) == (5, 0, 1)
    assert encoder.calls == [2, 1, 1, 1]  # a batch is cut where the size changes
    with Store.open(folder) as store:
        kept = list(store.regions(1, 0, 10 * NS))
    assert [f.masks.shape[1:] for f in kept] == [(12, 20), (12, 20), (20, 12), (24, 40), (12, 20)]
    # boxes are in pixels of the first picture
    assert kept[1].boxes[0].tolist() == [32, 32, 64, 64]
    assert kept[3].boxes[0].tolist() == [16, 16, 32, 32]


class Parallel(ColourEncoder):
    """Encodes three batches at a time, the earlier ones slower, and counts how many there were at once."""

    def __init__(self) -> None:
        super().__init__()
        self.now, self.most, self.entered, self.fail_at = 0, 0, 0, -1
        self.lock = threading.Lock()

    @contextmanager
    def parallel(self) -> Iterator[int]:
        self.entered += 1
        yield 3
        self.entered -= 1

    def encode(self, images: Sequence[np.ndarray], width: int, height: int) -> list[RegionTokens]:
        with self.lock:
            number = len(self.calls)
            self.now += 1
            self.most = max(self.most, self.now)
            found = super().encode(images, width, height)
        if number == self.fail_at:
            raise RuntimeError("the encoder broke")
        time.sleep(0.03 * (3 - number % 3))
        with self.lock:
            self.now -= 1
        return found


def test_batches_side_by_side_give_the_same(folder: Path, tmp_path: Path) -> None:
    encoder = Parallel()
    run(folder, Fake(frames(30)), encoder=encoder)
    assert (encoder.most, encoder.entered) == (3, 0)
    run(tmp_path / "one", Fake(frames(30)))
    assert rows(folder) == rows(tmp_path / "one")


def test_an_encoder_that_breaks_leaves_what_came_before(folder: Path, tmp_path: Path) -> None:
    encoder = Parallel()
    encoder.fail_at = 4
    with pytest.raises(RuntimeError, match="the encoder broke"):
        run(folder, Fake(frames(30)), encoder=encoder)
    with Store.open(folder) as store:
        assert (store.sources()[0].state, store.sources()[0].frames) == ("open", 16)
    run(folder, Fake(frames(30)), encoder=Parallel())
    run(tmp_path / "one", Fake(frames(30)))
    assert rows(folder) == rows(tmp_path / "one")


@pytest.mark.parametrize(("duration_ns", "kept"), [(10 * NS, 10 * NS), (0, 4 * NS)])
def test_a_length_that_is_not_known_is_that_of_what_was_watched(folder: Path, duration_ns: int, kept: int) -> None:
    source = Fake(frames(5))
    source.info = dataclasses.replace(source.info, duration_ns=duration_ns)
    run(folder, source)
    with Store.open(folder) as store:
        assert store.sources()[0].duration_ns == kept
