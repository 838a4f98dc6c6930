"""The step that all sources share: what each frame and each picture adds to the next checkpoint."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from encoders.fake import ColourEncoder, LookingEncoder, picture
from numpy.typing import NDArray
from safetensors.numpy import load, save
from store.making import source

from vidmem.config import IndexConfig, TrackConfig
from vidmem.errors import StoreError
from vidmem.indexer.picture_step import PictureStep
from vidmem.indexer.step import FrameStep, closed_state
from vidmem.indexer.track import Tracker
from vidmem.media.photos import Listed, Read
from vidmem.media.recorded import Recorded
from vidmem.records import Frame, Mark, RegionTokens
from vidmem.store import PICTURE_NS, Checkpoint

SIZE = (160, 96)
CONFIG = IndexConfig(checkpoint_frames=4, batch=4)
RED = picture({"red": (40, 24)})


def take(step: FrameStep, t_ns: int, image: NDArray[np.uint8] = RED, mark: Mark | None = None) -> None:
    step.take(Frame(image, t_ns, 0, mark), ColourEncoder().encode([image], *SIZE)[0])


def begun(**options: bool) -> FrameStep:
    return FrameStep(ColourEncoder(), CONFIG, source(SIZE), **options)


def test_a_step_begins_with_what_the_memory_has() -> None:
    step = FrameStep(ColourEncoder(), CONFIG, source(SIZE, frames=7, next_t_ns=90, damaged=2))
    assert (step.frames_done, step.next_t_ns, step.damaged) == (7, 90, 2)
    assert (step.pending, step.born, step.encoded, step.gated, step.due) == (0, 0, 0, 0, False)
    take(step, 95)
    assert (step.frames_done, step.next_t_ns) == (8, 96)
    assert begun().next_t_ns == 0


def test_a_checkpoint_is_due_when_as_many_frames_are_pending() -> None:
    step = begun()
    for t_ns in range(4):
        assert (step.pending, step.due) == (t_ns, False)
        take(step, t_ns)
    assert (step.pending, step.due) == (4, True)
    step.checkpoint()
    assert (step.pending, step.due) == (0, False)


@pytest.mark.parametrize(
    ("last", "damaged", "state"), [(False, 0, "open"), (False, 3, "open"), (True, 0, "done"), (True, 3, "partial")]
)
def test_the_state_of_a_source_that_is_over_says_whether_it_was_damaged(last: bool, damaged: int, state: str) -> None:
    step = begun()
    take(step, 5)
    step.damaged = damaged
    made = step.checkpoint(last=last)
    assert (made.state, made.damaged, made.next_t_ns, made.frames_done) == (state, damaged, 6, 1)
    assert (made.tracker_state == b"") is last
    assert made.duration_ns is None


def test_a_source_that_may_go_on_ends_no_track_and_keeps_its_state() -> None:
    step = begun(resumable=True)
    take(step, 5)
    assert step.checkpoint(last=True).tracker_state
    take(step, 6)
    assert [track.frames for track in step.checkpoint(last=True).tracks] == [2]


def test_a_source_of_unknown_length_says_how_far_it_was_watched() -> None:
    step = begun(open_ended=True)
    assert step.checkpoint().duration_ns == 0
    take(step, 5)
    assert step.checkpoint().duration_ns == 5


def test_a_frame_that_shows_nothing_new_has_the_regions_of_the_one_before() -> None:
    step = begun()
    take(step, 0, mark=Mark(100, 90, 1))
    step.repeat(1)
    step.repeat(2, Mark(102, None, 3))
    assert (step.encoded, step.gated, step.frames_done, step.next_t_ns, step.born) == (1, 2, 3, 3, 1)
    made = step.checkpoint()
    assert [(frame.t_ns, frame.tracks.tolist()) for frame in made.frames] == [(0, [0]), (1, [0]), (2, [0])]
    np.testing.assert_array_equal(made.frames[0].boxes, [[40, 24, 72, 56]])
    np.testing.assert_array_equal(made.frames[2].boxes, made.frames[0].boxes)
    np.testing.assert_array_equal(made.frames[2].masks, made.frames[0].masks)
    assert made.frames[0].masks.shape == (1, 12, 20)
    assert made.marks == [(0, Mark(100, 90, 1)), (2, Mark(102, None, 3))]
    assert [(track.frames, track.end_ns) for track in made.tracks] == [(3, 2)]
    assert step.checkpoint().marks == []


def test_a_track_reaches_a_repeated_frame_wherever_the_camera_was_before() -> None:
    config = replace(CONFIG, track=TrackConfig(reach=0.1))
    step = FrameStep(ColourEncoder(), config, source(SIZE))
    take(step, 0)
    step.repeat(1)
    take(step, 2)
    assert step.born == 1


def test_a_region_that_starts_no_track_is_in_no_frame() -> None:
    class Unsure(ColourEncoder):
        def _regions(self, image: NDArray[np.uint8], width: int, height: int) -> RegionTokens:
            found = super()._regions(image, width, height)
            return replace(found, confidence=np.where(found.visual[:, 0] > 0, 0.1, 0.9).astype(np.float32))

    image = picture({"red": (0, 0), "blue": (80, 40)})
    step = FrameStep(Unsure(), replace(CONFIG, track=TrackConfig(start=0.5)), source(SIZE))
    step.take(Frame(image, 0, 0), Unsure().encode([image], *SIZE)[0])
    (frame,) = step.checkpoint().frames
    assert frame.tracks.tolist() == [0]
    np.testing.assert_array_equal(frame.boxes, [[80, 40, 112, 72]])
    assert frame.masks.shape == (1, 12, 20)
    assert frame.masks[0, 5:9, 10:14].all()
    assert frame.masks.sum() == 16


def test_a_cut_is_noted_once_and_a_checkpoint_hands_out_only_what_is_new() -> None:
    step = begun()
    for t_ns in (0, 1):
        take(step, t_ns)
    take(step, 2, np.full((96, 160, 3), 250, np.uint8))
    first = step.checkpoint()
    assert (first.cuts, len(first.frames), len(first.tracks)) == ([2], 3, 1)
    second = step.checkpoint()
    assert (second.cuts, second.frames, second.tracks) == ([], [], [])


def state_of(encoder: ColourEncoder, frames: int = 2) -> bytes:
    step = FrameStep(encoder, CONFIG, source(SIZE))
    for t_ns in range(frames):
        step.take(Frame(RED, t_ns, 0), encoder.encode([RED], *SIZE)[0])
    return step.checkpoint().tracker_state


def test_a_state_holds_the_tracker_and_what_the_last_frame_looked_like() -> None:
    parts = load(state_of(ColourEncoder()))
    assert sorted(parts) == ["colours", "grey", "tracker"]
    assert (parts["grey"].shape, parts["grey"].dtype) == ((72, 128), np.uint8)
    assert (parts["colours"].shape, parts["colours"].dtype) == ((216,), np.float32)
    assert sorted(load(state_of(LookingEncoder()))) == ["colours", "grey", "tracker", "views"]
    assert sorted(load(begun().checkpoint().tracker_state)) == ["tracker"]


@pytest.mark.parametrize(
    "changes",
    [
        {"grey": np.zeros((128, 72), np.uint8)},
        {"grey": np.zeros((72, 128), np.float32)},
        {"colours": np.zeros(215, np.float32)},
        {"colours": np.zeros(216, np.float64)},
        {"tracker": np.zeros(3, np.uint8)},
    ],
    ids=["tall", "grey floats", "few colours", "wide colours", "no tracker"],
)
def test_a_damaged_state_fails(changes: dict[str, NDArray[np.generic]]) -> None:
    state = save(load(state_of(ColourEncoder())) | changes)
    with pytest.raises(StoreError, match=r"saved tracker is damaged .* index again"):
        FrameStep(ColourEncoder(), CONFIG, source(SIZE, tracker_state=state))


@pytest.mark.parametrize("state", [b"noise", save({"grey": np.zeros((72, 128), np.uint8)})], ids=["noise", "part"])
def test_bytes_that_are_no_state_fail(state: bytes) -> None:
    with pytest.raises(StoreError, match=r"saved tracker is damaged .* index again"):
        FrameStep(ColourEncoder(), CONFIG, source(SIZE, tracker_state=state))


def test_a_state_of_an_encoder_with_views_is_not_for_one_without() -> None:
    with pytest.raises(StoreError, match=r"encoder of another kind; `vidmem rm` it"):
        FrameStep(ColourEncoder(), CONFIG, source(SIZE, tracker_state=state_of(LookingEncoder())))


def test_a_resumed_step_knows_how_far_the_picture_moved() -> None:
    """The thing leaps with the picture while a run was interrupted: with its picture in mind it is the same thing."""
    wide = np.random.default_rng(0).integers(60, 140, (12, 40, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    wide[20:52, 120:152] = (220, 30, 30)
    config = replace(CONFIG, track=TrackConfig(reach=0.1))
    first = FrameStep(ColourEncoder(), config, source(SIZE))
    take(first, 0, wide[:, :160].copy())
    state = first.checkpoint().tracker_state
    second = FrameStep(ColourEncoder(), config, source(SIZE, tracker_state=state))
    take(second, 1, wide[:, 64:224].copy())
    assert second.born == 1
    third = FrameStep(ColourEncoder(), config, source(SIZE, tracker_state=state))
    jumped = wide[:, :160].copy()
    jumped[20:52, 120:152] = wide[60:92, 120:152]
    jumped[20:52, 40:72] = (220, 30, 30)  # the picture stays, the thing is elsewhere
    take(third, 1, jumped)
    assert third.born == 2


def test_a_closed_state_goes_on_with_the_next_ordinal_and_without_tracks() -> None:
    state = state_of(LookingEncoder())
    looker = LookingEncoder("look-2", 16)
    closed = closed_state(state, looker.views, CONFIG.track)
    parts, before = load(closed), load(state)
    assert sorted(parts) == sorted(before)
    for name in ("colours", "grey"):
        np.testing.assert_array_equal(parts[name], before[name])
    tracker = Tracker.restore(parts["tracker"].tobytes(), CONFIG.track)
    assert (tracker.born, tracker.open_ordinals(), tracker.drain()) == (1, set(), [])
    step = FrameStep(looker, CONFIG, source(SIZE, tracker_state=closed))
    step.take(Frame(RED, 9, 0), looker.encode([RED], *SIZE)[0])
    assert [track.ordinal for track in step.checkpoint().tracks] == [1]


def test_views_are_kept_for_open_tracks_alone() -> None:
    encoder = LookingEncoder()
    step = FrameStep(encoder, CONFIG, source(SIZE))
    for t_ns, image in enumerate([picture({"red": (40, 20), "blue": (100, 50)})] + [RED] * 4):
        step.take(Frame(image, t_ns, 0), encoder.encode([image], *SIZE)[0])
    assert len(step.checkpoint().tracks) == 2
    assert len(load(load(step.checkpoint().tracker_state)["views"].tobytes())["ordinal"]) == 1


THEN = Recorded(7, "exif")


def photos(encoder: ColourEncoder, *, keep_views: bool = False, **changes: int) -> PictureStep:
    """A folder that has one picture and one damaged file already."""
    row = source((0, 0), next_t_ns=PICTURE_NS, frames=1, damaged=1, **changes)
    return PictureStep(
        encoder, CONFIG, row, ordinal=5, places={b"old": 0}, unreadable={"bad.png"}, keep_views=keep_views
    )


def read(name: str, digest: bytes, image: NDArray[np.uint8] | None = None, cause: str | None = None) -> Read:
    return Read(Listed(name, 11, 22), digest, image, *((0, 0) if image is None else (320, 192)), cause, THEN)


def found(encoder: ColourEncoder, image: NDArray[np.uint8]) -> RegionTokens:
    return encoder.encode([image], 320, 192)[0]


def test_each_region_of_a_photo_is_a_track_that_lasts_one_picture() -> None:
    encoder, both = ColourEncoder(), picture({"red": (40, 24), "blue": (96, 48)})
    step = photos(encoder)
    assert (step.pending, step.born) == (0, 0)
    step.take(read("a.png", b"a", both), found(encoder, both))
    step.take(read("b.png", b"b", RED), found(encoder, RED))
    assert (step.pending, step.born, step.frames_done, step.damaged) == (2, 3, 3, 1)
    made = step.checkpoint()
    assert (made.next_t_ns, made.frames_done, made.state, made.damaged) == (3 * PICTURE_NS, 3, "open", 1)
    assert [(t.ordinal, t.start_ns, t.end_ns, t.best_ns, t.frames) for t in made.tracks] == [
        (5, PICTURE_NS, PICTURE_NS, PICTURE_NS, 1),
        (6, PICTURE_NS, PICTURE_NS, PICTURE_NS, 1),
        (7, 2 * PICTURE_NS, 2 * PICTURE_NS, 2 * PICTURE_NS, 1),
    ]
    assert [t.best_box for t in made.tracks] == [(80, 48, 144, 112), (192, 96, 256, 160), (80, 48, 144, 112)]
    assert [(t.confidence, t.text_confidence, t.views) for t in made.tracks] == [(1.0, 1.0, ())] * 3
    assert [int(t.text.argmax()) for t in made.tracks] == [0, 2, 0]
    assert [int(t.visual.argmax()) for t in made.tracks] == [0, 2, 0]
    assert [(f.t_ns, f.tracks.tolist(), f.masks.shape) for f in made.frames] == [
        (PICTURE_NS, [5, 6], (2, 12, 20)),
        (2 * PICTURE_NS, [7], (1, 12, 20)),
    ]
    np.testing.assert_array_equal(made.frames[0].boxes, [t.best_box for t in made.tracks[:2]])
    assert [(p.t_ns, p.digest, p.width, p.height) for p in made.pictures] == [
        (PICTURE_NS, b"a", 320, 192),
        (2 * PICTURE_NS, b"b", 320, 192),
    ]
    assert {(p.recorded_ns, p.recorded_by) for p in made.pictures} == {(7, "exif")}
    again = step.checkpoint(last=True)
    assert (again.tracks, again.frames, again.files, again.pictures) == ([], [], [], [])
    assert again.state == "partial"


def test_files_are_noted_with_the_place_of_their_picture_or_the_cause() -> None:
    encoder = ColourEncoder()
    step = photos(encoder)
    step.take(read("new.png", b"new", RED), found(encoder, RED))
    step.take(read("copy.png", b"new"), None)
    step.take(read("old.png", b"old"), None)
    step.take(read("worse.png", b"", cause="not a picture"), None)
    assert step.damaged == 2
    step.take(read("bad.png", b"old"), None)  # it was mended
    assert (step.damaged, step.frames_done, step.pending, step.due) == (1, 2, 5, True)
    made: Checkpoint = step.checkpoint(last=True)
    assert [(f.path, f.t_ns, f.cause) for f in made.files] == [
        ("new.png", PICTURE_NS, None),
        ("copy.png", PICTURE_NS, None),
        ("old.png", 0, None),
        ("worse.png", None, "not a picture"),
        ("bad.png", 0, None),
    ]
    assert {(f.size, f.mtime_ns) for f in made.files} == {(11, 22)}
    assert (made.state, len(made.frames)) == ("partial", 1)


@pytest.mark.parametrize("keep", [False, True])
def test_a_photo_with_views_has_their_tokens_and_keeps_them_when_wanted(keep: bool) -> None:
    encoder, both = LookingEncoder(), picture({"red": (40, 24), "blue": (96, 48)})
    step = photos(encoder, keep_views=keep)
    step.take(read("a.png", b"a", both), found(encoder, both))
    red, blue = step.checkpoint().tracks
    assert (red.visual.shape, red.confidence, blue.confidence) == ((12,), pytest.approx(0.9), pytest.approx(0.9))
    assert np.linalg.norm(red.text) == pytest.approx(1)
    assert red.text_confidence == pytest.approx(39 / 48)
    assert [len(t.views) for t in (red, blue)] == [int(keep)] * 2
    assert {view.t_ns for view in encoder.views.told} == {PICTURE_NS}
    if keep:
        assert (red.views[0].box, blue.views[0].box) == (red.best_box, blue.best_box)
        assert red.views[0].image is not None


def test_a_step_counts_what_came_and_has_the_gate_of_the_settings() -> None:
    step = FrameStep(ColourEncoder(), replace(CONFIG, still=2), source(SIZE))
    assert [step.gate.needs_encoding(RED) for _ in range(4)] == [True, False, False, True]
    for t_ns in (0, 1):
        take(step, t_ns)
    step.repeat(2)
    step.repeat(3)
    assert (step.encoded, step.gated) == (2, 2)


@pytest.mark.parametrize("keep", [False, True])
def test_pictures_of_views_are_handed_out_only_when_wanted(keep: bool) -> None:
    encoder = LookingEncoder()
    step = FrameStep(encoder, CONFIG, source(SIZE), keep_views=keep)
    step.take(Frame(RED, 0, 0), encoder.encode([RED], *SIZE)[0])
    ((mark,),) = (track.views for track in step.checkpoint().tracks)
    assert (mark.image is not None) is keep
