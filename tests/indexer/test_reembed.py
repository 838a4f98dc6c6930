"""Tokens of another encoder for a memory that stands: from the sources, from kept views, interrupted, and gone."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from encoders.fake import DT, LookingEncoder, save, video, walk

from vidmem.config import PRESETS
from vidmem.errors import UsageError
from vidmem.indexer.live import Session
from vidmem.indexer.pictures import index_pictures
from vidmem.indexer.pipeline import index_source
from vidmem.indexer.plan import Album, planned
from vidmem.indexer.reembed import ReembedReport, _hint, reembed
from vidmem.indexer.views import sharpness
from vidmem.media import Photos, open_source
from vidmem.memory import Memory
from vidmem.records import Float32, RegionTokens
from vidmem.store import Checkpoint, ModelRecord, Store

CONFIG = PRESETS["default"]


def record(encoder: LookingEncoder) -> ModelRecord:
    info = encoder.info
    return ModelRecord(info.name, info.weights, info.visual_dim, info.text_dim, CONFIG.as_dict(), info.regions)


def index(folder: Path, clips: list[Path], encoder: LookingEncoder, *, keep_views: bool = False) -> None:
    with Store.open(folder, create=True) as store:
        store.set_model(record(encoder))
        for clip in clips:
            with open_source(clip) as source:
                index_source(source, encoder, store, CONFIG, keep_views=keep_views)


def index_photos(folder: Path, encoder: LookingEncoder, store: Store, *, keep_views: bool = False) -> None:
    (album,) = planned([Photos(str(folder))], store)
    assert isinstance(album, Album)
    index_pictures(album, lambda: encoder, store, CONFIG, keep_views=keep_views)


def again(folder: Path, encoder: LookingEncoder) -> ReembedReport:
    with Store.open(folder, write=True) as store:
        return reembed(store, encoder, record(encoder))


def tokens(folder: Path, source: int = 1) -> list[tuple[Float32, Float32, float]]:
    with Store.open(folder) as store:
        return [(t.visual, t.text, t.text_confidence) for t in store.source_tracks(source)]


def same(one: list[tuple[Float32, Float32, float]], other: list[tuple[Float32, Float32, float]]) -> bool:
    return len(one) == len(other) and all(
        np.array_equal(a, d) and np.array_equal(b, e) and abs(c - f) < 1e-6
        for (a, b, c), (d, e, f) in zip(one, other, strict=True)
    )


@pytest.fixture
def clips(tmp_path: Path) -> list[Path]:
    return [video(tmp_path / "a.mp4", walk()), video(tmp_path / "b.mp4", [{"green": (60, 30)}] * 12)]


def test_it_gives_what_indexing_would_have(clips: list[Path], tmp_path: Path) -> None:
    index(tmp_path / "small", clips, LookingEncoder())
    index(tmp_path / "large", clips, LookingEncoder("look-2", 16))
    report = again(tmp_path / "small", LookingEncoder("look-2", 16))
    assert report.left == ()
    assert report.before == 0
    for source in (1, 2):
        assert same(tokens(tmp_path / "small", source), tokens(tmp_path / "large", source))
    with Store.open(tmp_path / "small") as store:
        assert store.model() == record(LookingEncoder("look-2", 16))


def test_a_source_that_is_gone_is_named_and_done_when_it_is_back(clips: list[Path], tmp_path: Path) -> None:
    index(tmp_path / "memory", clips, LookingEncoder())
    clips[0].rename(tmp_path / "away.mp4")
    report = again(tmp_path / "memory", LookingEncoder("look-2", 16))
    ((uri, cause, count),) = report.left
    assert uri == str(clips[0])
    assert "no such" in cause
    assert count == len(tokens(tmp_path / "memory"))
    assert not any(visual.any() for visual, _, _ in tokens(tmp_path / "memory"))
    assert all(visual.any() for visual, _, _ in tokens(tmp_path / "memory", 2))
    (tmp_path / "away.mp4").rename(clips[0])
    assert again(tmp_path / "memory", LookingEncoder("look-2", 16)).left == ()
    assert all(visual.any() for visual, _, _ in tokens(tmp_path / "memory"))


def test_kept_views_do_without_the_source(clips: list[Path], tmp_path: Path) -> None:
    index(tmp_path / "memory", clips, LookingEncoder(), keep_views=True)
    before = tokens(tmp_path / "memory")
    os.unlink(clips[0])
    report = again(tmp_path / "memory", LookingEncoder("look-2", 12))
    assert report.left == ()
    for (_, was, _), (_, text, sure) in zip(before, tokens(tmp_path / "memory"), strict=True):
        assert was.argmax() == text.argmax()
        assert sure > 0.3


def test_what_was_told_of_kept_views_comes_back(clips: list[Path], tmp_path: Path) -> None:
    """The hint cannot be had from the cutting alone: a detector sees something else there."""
    index(tmp_path / "memory", clips[:1], LookingEncoder(), keep_views=True)
    with Store.open(tmp_path / "memory") as store:
        marks = [mark for marks in store.views(1).values() for mark in marks]
    assert {len(mark.hint) for mark in marks} == {DT}
    assert {round(mark.confidence, 2) for mark in marks} <= {0.8, 0.9}
    os.unlink(clips[0])
    renewed = LookingEncoder("look-2", 12)
    assert again(tmp_path / "memory", renewed).left == ()
    told = {(view.t_ns, view.box): (tuple(view.hint.tolist()), view.confidence) for view in renewed.views.told}
    assert told == {(mark.t_ns, mark.box): (mark.hint, mark.confidence) for mark in marks}


def test_tokens_of_this_encoder_stay_when_their_source_is_away(clips: list[Path], tmp_path: Path) -> None:
    """Two drives that are never there together: the memory is whole all the same."""
    new = LookingEncoder("look-2", 16)
    index(tmp_path / "memory", clips, LookingEncoder())
    clips[0].rename(tmp_path / "a")
    assert len(again(tmp_path / "memory", new).left) == 1
    (tmp_path / "a").rename(clips[0])
    clips[1].rename(tmp_path / "b")
    report = again(tmp_path / "memory", new)
    assert report.left == ()
    assert report.before == len(tokens(tmp_path / "memory", 2))
    index(tmp_path / "other", [], new)
    (tmp_path / "b").rename(clips[1])
    index(tmp_path / "other", clips, new)
    for source in (1, 2):
        assert same(tokens(tmp_path / "memory", source), tokens(tmp_path / "other", source))
    assert again(tmp_path / "memory", new).views == 0


def test_a_live_source_goes_on_after_it(clips: list[Path], tmp_path: Path) -> None:
    """Its tracks of before have ended, so that no token of one encoder is averaged with those of another."""
    new = LookingEncoder("look-2", 16)
    with Store.open(tmp_path / "memory", create=True) as store:
        for encoder in (LookingEncoder(), new):
            if encoder is new:
                before = {t.ordinal: t.end_ns for t in store.source_tracks(1)}
                reembed(store, new, record(new))
            store.set_model(record(encoder))
            with Session(store, encoder, CONFIG, "cam", depth=99) as session, open_source(clips[0]) as source:
                shift = 0 if encoder is not new else 3600 * 10**9
                for frame in source.frames(5):
                    session.append(frame.image, frame.t_ns + shift + 10**9)
        tracks = store.source_tracks(1)
    assert len(tracks) == 2 * len(before)
    assert {t.ordinal: t.end_ns for t in tracks if t.ordinal in before} == before
    assert {len(t.visual) for t in tracks} == {16}


def test_another_file_in_its_place_is_not_looked_at(clips: list[Path], tmp_path: Path) -> None:
    index(tmp_path / "memory", clips[:1], LookingEncoder())
    video(clips[0], [{"magenta": (60, 30)}] * 60)
    ((_, cause, _),) = again(tmp_path / "memory", LookingEncoder("look-2", 16)).left
    assert "not the one that was indexed" in cause


def test_interrupted_it_goes_on(clips: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidmem.indexer.reembed.BATCH", 2)
    index(tmp_path / "memory", clips, LookingEncoder())
    old = tokens(tmp_path / "memory")
    with pytest.raises(KeyboardInterrupt):
        again(tmp_path / "memory", LookingEncoder("look-2", 16, stop_at=3))
    assert same(tokens(tmp_path / "memory"), old)
    report = again(tmp_path / "memory", LookingEncoder("look-2", 16))
    assert report.before > 0
    assert report.left == ()
    index(tmp_path / "other", clips, LookingEncoder("look-2", 16))
    assert same(tokens(tmp_path / "memory"), tokens(tmp_path / "other"))


def test_single_pictures_too(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    save(folder / "a.png", {"red": (20, 20)})
    save(folder / "b.png", {"blue": (20, 20), "green": (90, 40)})
    for name, encoder in (("small", LookingEncoder()), ("large", LookingEncoder("look-2", 16))):
        with Store.open(tmp_path / name, create=True) as store:
            store.set_model(record(encoder))
            index_photos(folder, encoder, store)
    (folder / "a.png").rename(tmp_path / "a.png")
    ((_, cause, count),) = again(tmp_path / "small", LookingEncoder("look-2", 16)).left
    assert cause == "a picture is no longer there, or is another one"
    assert count == 1
    (tmp_path / "a.png").rename(folder / "a.png")
    assert again(tmp_path / "small", LookingEncoder("look-2", 16)).left == ()
    assert same(tokens(tmp_path / "small"), tokens(tmp_path / "large"))


def test_kept_views_of_pictures_do_for_them(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    save(folder / "a.png", {"red": (20, 20)})
    save(folder / "b.png", {"blue": (20, 20), "green": (90, 40)})
    for name, encoder, keep in (("kept", LookingEncoder(), True), ("large", LookingEncoder("look-2", 16), False)):
        with Store.open(tmp_path / name, create=True) as store:
            store.set_model(record(encoder))
            index_photos(folder, encoder, store, keep_views=keep)
            assert all(view.image for views in store.views(1).values() for view in views)
            assert len(store.views(1)) == (3 if keep else 0)
    for path in folder.iterdir():
        path.unlink()
    report = again(tmp_path / "kept", LookingEncoder("look-2", 16))
    assert (report.left, report.views) == ((), 3)
    for one, other in zip(tokens(tmp_path / "kept"), tokens(tmp_path / "large"), strict=True):
        assert one[0] @ other[0] > 0.95  # WebP is not the picture itself


def test_a_view_that_cannot_be_decoded_again_leaves_the_others(clips: list[Path], tmp_path: Path) -> None:
    index(tmp_path / "memory", clips[:1], LookingEncoder())
    with Store.open(tmp_path / "memory", write=True) as store:
        first = store.source_tracks(1)[0]
        views = store.views(1)[first.id]
        store.checkpoint(
            1,
            Checkpoint(
                next_t_ns=1,
                frames_done=60,
                state="done",
                tracks=[replace(first, views=(replace(views[0], t_ns=views[0].t_ns + 1), *views[1:]))],
            ),
        )
    assert len(views) > 1
    assert again(tmp_path / "memory", LookingEncoder("look-2", 16)).left == ()


@pytest.mark.usefixtures("default_fake")
def test_an_encoder_without_views_fails(clips: list[Path], tmp_path: Path) -> None:
    with Memory.open(tmp_path / "memory", encoder="fake:look") as memory:
        memory.index(clips[1])
        with pytest.raises(UsageError, match="`fake` looks at whole frames, not at views; index again"):
            memory.reembed("fake")
        assert memory.reembed("fake:look2").left == ()
        assert memory.settings().fps == 5
        assert memory.where("green", threshold=0.1)


def test_a_source_not_indexed_to_its_end_fails(clips: list[Path], tmp_path: Path) -> None:
    index(tmp_path / "memory", clips, LookingEncoder())
    with Store.open(tmp_path / "memory", write=True) as store:
        store.checkpoint(1, Checkpoint(next_t_ns=1, frames_done=60, state="open", tracker_state=b"x"))
        with pytest.raises(UsageError, match="not indexed to its end; run `vidmem index` on it first"):
            reembed(store, LookingEncoder(), record(LookingEncoder()))


def seen(*boxes: tuple[float, float, float, float]) -> RegionTokens:
    n = len(boxes)
    text = np.arange(2 * n, dtype=np.float32).reshape(n, 2)
    corners = np.array(boxes, np.float32).reshape(n, 4)
    sure = np.linspace(0.25, 0.75, n).astype(np.float32)
    return RegionTokens(
        text, text, np.ones((n, 1, 1), np.float32), corners[:, :2], corners, np.ones(n, np.float32), sure
    )


def test_a_view_has_the_hint_of_the_region_that_lies_on_its_box() -> None:
    box = (0.0, 0.0, 10.0, 10.0)
    hint, sure = _hint(seen((20, 0, 30, 10), (0, 0, 10, 9), (0, 0, 10, 6)), box)
    assert (hint.tolist(), sure) == ([2, 3], 0.5)
    assert _hint(seen((0, 0, 10, 5), (20, 0, 30, 10)), box)[0].tolist() == [0, 1]  # half of it is enough
    for other in (None, seen(), seen((0, 0, 10, 4.9))):
        hint, sure = _hint(other, box)
        assert (hint.shape, hint.dtype, sure) == ((0,), np.float32, 1.0)
    assert _hint(seen((0, 0, 10, 10)), box)[1] == 0.25


def test_a_report_counts_tracks_and_views_and_progress_is_told(clips: list[Path], tmp_path: Path) -> None:
    index(tmp_path / "memory", clips, LookingEncoder())
    with Store.open(tmp_path / "memory") as store:
        marks = [sum(map(len, store.views(source).values())) for source in (1, 2)]
    total = len(tokens(tmp_path / "memory")) + len(tokens(tmp_path / "memory", 2))
    said: list[tuple[str, int, int]] = []
    renewed = LookingEncoder("look-2", 16)
    with Store.open(tmp_path / "memory", write=True) as store:
        report = reembed(store, renewed, record(renewed), lambda *now: said.append(now))
    assert (report.tracks, report.before, report.views, report.left) == (total, 0, sum(marks), ())
    assert 0 < report.seconds < 60
    assert said[-1] == (str(clips[1]), total, total)
    assert [done for _, done, _ in said] == sorted(done for _, done, _ in said)
    assert {uri for uri, _, _ in said} == {str(clip) for clip in clips}
    assert sum(renewed.views.seen) == sum(marks)
    assert max(renewed.views.seen) <= 32
    nothing = again(tmp_path / "memory", LookingEncoder("look-3", 16))
    assert (nothing.tracks, nothing.before) == (total, 0)


def test_a_memory_with_a_source_that_is_not_indexed_to_its_end_is_left_as_it_is(
    clips: list[Path], tmp_path: Path
) -> None:
    index(tmp_path / "memory", clips[:1], LookingEncoder())
    with Store.open(tmp_path / "memory", write=True) as store:
        store.checkpoint(1, Checkpoint(next_t_ns=1, frames_done=5, state="open"))
    with pytest.raises(UsageError, match=rf"^a source is not indexed to its end; run .* on it first: {clips[0]}$"):
        again(tmp_path / "memory", LookingEncoder("look-2", 16))
    with Store.open(tmp_path / "memory") as store:
        assert store.model() == record(LookingEncoder())


def test_views_are_cut_anew_from_the_frames_they_came_from(clips: list[Path], tmp_path: Path) -> None:
    first, renewed = LookingEncoder(), LookingEncoder("look-2", 16)
    index(tmp_path / "memory", clips[:1], first)
    with Store.open(tmp_path / "memory") as store:
        kept = {(mark.t_ns, mark.box) for marks in store.views(1).values() for mark in marks}
    assert again(tmp_path / "memory", renewed).left == ()
    before = {(view.t_ns, view.box): view for view in first.views.told}
    assert {(view.t_ns, view.box) for view in renewed.views.told} == kept
    for view in renewed.views.told:
        was = before[view.t_ns, view.box]
        np.testing.assert_array_equal(view.image, was.image)
        np.testing.assert_array_equal(view.hint, was.hint)
        assert (view.frame_size, view.confidence) == (was.frame_size, pytest.approx(0.8))
        assert view.sharpness == sharpness(view.image)


def test_views_that_are_encoded_in_many_batches_give_the_same(
    clips: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "many"):
        index(tmp_path / name, clips[:1], LookingEncoder())
    whole = again(tmp_path / "one", LookingEncoder("look-2", 16))
    monkeypatch.setattr("vidmem.indexer.reembed.BATCH", 2)
    renewed = LookingEncoder("look-2", 16)
    parts = again(tmp_path / "many", renewed)
    assert (parts.tracks, parts.views) == (whole.tracks, whole.views)
    assert set(renewed.views.seen[:-1]) == {2}
    assert same(tokens(tmp_path / "one"), tokens(tmp_path / "many"))
