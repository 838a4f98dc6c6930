"""Small worlds made of coloured shapes: the same every time, and true to their pixels."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from lab.synthetic import lostfound, render, scene
from lab.synthetic import truth as truths
from lab.synthetic.camera import BLURRED, Lens, itinerary, rest
from lab.synthetic.drawings import Drawing
from lab.synthetic.script import Script, cast, words, write_script
from vidmem.errors import MediaError, UsageError
from vidmem.timecode import NS

SMALL = Lens(320, 180, 15)


def shapes(count: int) -> tuple[Drawing, ...]:
    """Stars of random colours with names of their own."""
    out = []
    for i in range(count):
        rng = np.random.default_rng(i)
        image = Image.new("RGBA", (100, 100))
        turn = rng.uniform(0, 6)
        spokes = 2 * int(rng.integers(3, 9))
        angles = np.arange(spokes) * 2 * np.pi / spokes + turn
        radius = np.where(np.arange(spokes) % 2, 48, rng.uniform(25, 45))
        points = np.stack([50 + radius * np.cos(angles), 50 + radius * np.sin(angles)], 1)
        fill = (*(int(v) for v in rng.integers(0, 256, 3)), 255)
        ImageDraw.Draw(image).polygon([tuple(p) for p in points.tolist()], fill=fill)
        out.append(Drawing(f"gadget{i:03d}x", (f"widget{i:03d}x",), "", image))
    return tuple(out)


@pytest.fixture(scope="module")
def script() -> Script:
    return write_script(5, shapes(80), 12, SMALL)


@pytest.fixture(scope="module")
def truth(script: Script) -> truths.Truth:
    return truths.tell(script)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> lostfound.World:
    return lostfound.make_small(tmp_path_factory.mktemp("world"), 2, 6, shapes(80))


def pixels(script: Script, index: int, hide: tuple[int, ...] = ()) -> NDArray[np.int16]:
    """Frame `index` before film, `(H, W, 3)` YCbCr."""
    picture = next(itertools.islice(render.frames(script, hide), index, None))
    return np.stack([np.asarray(p.resize(picture[0].size), np.int16) for p in picture], 2)


def test_same_seed_same_world(world: lostfound.World, tmp_path: Path) -> None:
    again = lostfound.make_small(tmp_path, 2, 6, shapes(80))
    assert (world.folder / "truth.json").read_bytes() == (again.folder / "truth.json").read_bytes()
    assert world.video.read_bytes() == again.video.read_bytes()
    for picture in sorted((world.folder / "pictures").iterdir()):
        assert picture.read_bytes() == (again.folder / "pictures" / picture.name).read_bytes()


def test_other_seed_other_world(script: Script) -> None:
    assert write_script(6, shapes(80), 12, SMALL).placements != script.placements


def test_video_is_what_the_truth_says(world: lostfound.World) -> None:
    with av.open(str(world.video)) as box:
        stream = box.streams.video[0]
        times = [(f.pts or 0) * (f.time_base or 0) for f in box.decode(stream)]
        assert (stream.width, stream.height, stream.codec_context.name) == (320, 180, "h264")
        assert stream.codec_context.has_b_frames
    assert len(times) == world.truth.frames == 90
    assert [int(t * NS) for t in times] == [truths.frame_ns(i, 15) for i in range(90)]


def test_load_round_trips(world: lostfound.World) -> None:
    assert lostfound.load(world.folder) == world


def test_load_fails_without_a_world(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"truth\.json"):
        lostfound.load(tmp_path)
    (tmp_path / "truth.json").write_text(json.dumps({"queries": []}))
    with pytest.raises(MediaError):
        lostfound.load(tmp_path)


def test_spans_are_ordered_and_apart(truth: truths.Truth) -> None:
    assert any(s.spans for s in truth.shown)
    for shown in truth.shown:
        for start, end in shown.spans:
            assert 0 <= start < end < truth.duration_ns
            assert end - start >= truths.LEAST_NS - NS // truth.fps
        for (_, end), (start, _) in itertools.pairwise(shown.spans):
            assert start - end >= truths.JOIN_NS
        assert [b[0] for b in shown.boxes] == sorted({b[0] for b in shown.boxes})
        for t, x0, y0, x1, y1 in shown.boxes:
            assert any(a <= t <= b for a, b in shown.spans)
            assert 0 <= x0 < x1 <= truth.width
            assert 0 <= y0 < y1 <= truth.height


def test_boxes_hold_the_things(script: Script, truth: truths.Truth) -> None:
    """Leaving a thing out changes the picture inside its box (and its shadow, close by) and nowhere else."""
    checked = 0
    for index, shown in enumerate(truth.shown):
        if not shown.boxes or checked == 6:
            continue
        t, *box = shown.boxes[len(shown.boxes) // 2]
        frame = round(t * truth.fps / NS)
        gone = np.abs(pixels(script, frame) - pixels(script, frame, (index,))).max(2)
        x0, y0, x1, y1 = (round(v) for v in box)
        inside = gone[y0:y1, x0:x1] > 6
        assert inside.mean() > 0.2, shown.name
        # The change reaches the edges of the box: it is tight.
        assert inside.any(0).mean() > 0.6
        assert inside.any(1).mean() > 0.6
        outside = gone.copy()
        outside[max(0, y0 - 12) : y1 + 12, max(0, x0 - 12) : x1 + 12] = 0
        assert outside.max() <= 4
        checked += 1
    assert checked == 6


def test_unseen_things_change_no_pixel(script: Script, truth: truths.Truth) -> None:
    """At a time far from its glimpses a thing makes no difference to the picture."""
    index, place = next((i, p) for i, p in enumerate(script.placements) if p.room == script.visits[-1].room)
    frame = next(v for v in script.visits if v.room != place.room).first + 8
    assert not np.any(pixels(script, frame) - pixels(script, frame, (index,)))


def test_a_thing_lies_in_one_place_at_a_time(script: Script) -> None:
    for a, b in itertools.combinations(script.placements, 2):
        if a.drawing == b.drawing:
            assert a.last <= b.first or b.last <= a.first


def test_covered_things_are_not_visible() -> None:
    image = shapes(1)[0].image
    far = scene.Placement(0, 0, 500, 500, 100, 200, 0, 0, 1, False)
    near = scene.Placement(0, 0, 500, 505, 140, 200, 0, 0, 1, False)
    lens = Lens(1280, 720, 30)
    pose = np.asarray([[640.0, 500.0, 1.0]])
    pair = [(far, image), (near, image.resize((150, 150)))]
    hidden, shown = scene.stamps(pair)
    assert scene.fraction(hidden, pose, (), lens)[0] < 0.3
    assert scene.fraction(shown, pose, (), lens)[0] == pytest.approx(1)
    assert scene.fraction(shown, pose + np.asarray([[2000, 0, 0]]), (), lens)[0] == 0


def test_occluders_count() -> None:
    script = next(
        s for s in (write_script(k, shapes(80), 12, SMALL) for k in range(9)) if any(r.occluders for r in s.rooms)
    )
    room = next(r for r in script.rooms if r.occluders)
    fore = room.occluders[0]
    pose = np.asarray([[fore.x, 500.0, 1.0]])
    left, top, scale = scene.stand(fore, pose[0], SMALL)
    u, v = np.argwhere(np.asarray(fore.sprite.getchannel("A")) > 250)[::97, ::-1].T * scale + [[left], [top]]
    onscreen = (v > 0) & (v < 180)
    points = (np.stack([u, v], 1)[onscreen] - [160, 90]) / SMALL.scale + pose[0, :2]
    stamp = scene.Stamp(points, np.ones(len(points)), np.ones(len(points)), (0, 0, 1, 1))
    assert scene.fraction(stamp, pose, room.occluders, SMALL)[0] < 0.1
    assert scene.fraction(stamp, pose, (), SMALL)[0] == pytest.approx(1)


def test_queries_have_clear_answers(world: lostfound.World) -> None:
    assert {"name", "synonym", "picture", "name_picture", "absent"} == {q.kind for q in world.queries}
    for q in world.queries:
        assert (q.text is None) == (q.kind == "picture" or (q.kind == "absent" and q.picture is not None))
        if q.picture:
            assert Image.open(world.folder / q.picture).size == (224, 224)
        if q.kind == "absent":
            assert (q.start_ns, q.end_ns) == (None, None)
        else:
            assert (q.start_ns, q.end_ns) == world.truth.spans(q.name)[-1]
            assert q.start_ns is not None
            assert q.end_ns is not None
            assert q.end_ns - q.start_ns >= NS


def test_absent_is_absent(world: lostfound.World) -> None:
    script = write_script(2, shapes(80), 6, SMALL)
    said = set().union(*(words(script.drawings[p.drawing]) for p in script.placements))
    absent = [q for q in world.queries if q.kind == "absent"]
    assert absent
    for q in absent:
        assert q.drawing is not None
        assert q.name not in {s.name for s in world.truth.shown}
        assert not words(script.drawings[q.drawing]) & said


def test_targets_are_seen_long_enough() -> None:
    for seed in range(3):
        script = write_script(seed, shapes(200), 60, Lens(1280, 720, 30))
        truth = truths.tell(script)
        for name in {s.name for s in truth.shown if s.target}:
            assert sum(s.visible_ns for s in truth.shown if s.name == name) >= 2 * NS


def test_camera_is_humane() -> None:
    script = write_script(1, shapes(80), 60, Lens(1280, 720, 30))
    assert {v.room for v in script.visits} == set(range(len(script.rooms)))
    smear = np.concatenate([v.smear for v in script.visits])
    speed = smear / 0.5 * 30  # pixels a second
    assert (speed < 40).mean() > 0.2
    assert (speed < 330).mean() > 0.8
    assert 0.005 < (smear >= BLURRED).mean() < 0.15


def test_itinerary_visits_all_rooms() -> None:
    plan = itinerary(np.random.default_rng(0), 4, 120)
    assert [r for r, _, _ in plan][:4] == [0, 1, 2, 3]
    assert all(a[0] != b[0] and a[2] == b[1] for a, b in itertools.pairwise(plan))
    assert plan[-1][2] == pytest.approx(120)


def test_cast_shares_no_word() -> None:
    image = shapes(1)[0].image
    names = [("dog", "puppy"), ("guide dog", "helper"), ("chair", "seat"), ("cup", "mug"), ("mugs", "steins")]
    drawings = [Drawing(name, (other,), "", image) for name, other in names]
    chosen = {drawings[i].name for i in cast(np.random.default_rng(0), drawings)}
    assert "chair" not in chosen
    assert len(chosen & {"dog", "guide dog"}) == 1
    assert len(chosen & {"cup", "mugs"}) == 1


@pytest.mark.parametrize(
    ("count", "seconds", "size", "fps", "message"),
    [
        (0, 6, (320, 180), 15, "drawings"),
        (5, 6, (320, 180), 15, "drawings"),
        (80, 0, (320, 180), 15, "seconds"),
        (80, float("nan"), (320, 180), 15, "seconds"),
        (80, 6, (321, 180), 15, "even"),
        (80, 6, (640, 180), 15, "2:1"),
        (80, 6, (320, 180), 0, "frames"),
    ],
)
def test_make_fails(tmp_path: Path, count: int, seconds: float, size: tuple[int, int], fps: int, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        lostfound.make(tmp_path / "w", 0, seconds, shapes(count), width=size[0], height=size[1], fps=fps)
    assert not (tmp_path / "w").exists()


@pytest.mark.slow
def test_full_size_video(tmp_path: Path) -> None:
    world = lostfound.make(tmp_path, 1, 20)
    with av.open(str(world.video)) as box:
        assert sum(1 for _ in box.decode(video=0)) == 600
    heights = np.asarray([b[4] - b[2] for s in world.truth.shown for b in s.boxes])
    assert 60 <= np.median(heights) <= 160


def test_a_camera_that_stands_still_sees_the_same_things(script: Script) -> None:
    resting = write_script(5, shapes(80), 12, SMALL, rest_s=2)
    stay = 2 * SMALL.fps
    assert [p.drawing for p in resting.placements] == [p.drawing for p in script.placements]
    for number, (plain, longer) in enumerate(zip(script.visits, resting.visits, strict=True)):
        assert (longer.first, longer.last) == (plain.first + number * stay, plain.last + (number + 1) * stay)
        moves = np.abs(np.diff(longer.poses, axis=0)).sum(axis=1)
        assert (moves == 0).sum() >= stay
        assert len(longer.smear) == len(longer.poses) == longer.last - longer.first
    assert truths.tell(resting).duration_ns == truths.tell(script).duration_ns + len(script.visits) * 2 * NS
    pictures = list(itertools.islice(render.frames(resting), resting.visits[0].last))
    same = sum(a is b for a, b in itertools.pairwise(pictures))
    assert same == stay  # drawn once; noise comes with the film
    plain = list(itertools.islice(render.frames(script), script.visits[0].last))
    assert np.array_equal(np.asarray(pictures[-1][0]), np.asarray(plain[-1][0]))


def test_a_rest_below_nothing_fails(script: Script) -> None:
    assert rest(script.visits, 0, SMALL)[-1].last == script.visits[-1].last
    with pytest.raises(UsageError, match="stands still for 0 to 3600 seconds, not -1"):
        write_script(5, shapes(80), 12, SMALL, rest_s=-1)
