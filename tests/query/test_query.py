"""Query: what it loads when, what it passes on, and what it says of a question; with the fake encoder `colours`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import fakes
import numpy as np
import pytest
from PIL import Image
from store.making import add, info, track

from vidmem.config import IndexConfig, TrackConfig, preset
from vidmem.encoders import Encoder, EncoderSpec, LoadOptions, Reading, registry
from vidmem.encoders.probability import Curve, Probabilities
from vidmem.errors import StoreError, UnknownWordError, UsageError
from vidmem.geometry import mask_boxes
from vidmem.query.answers import Album
from vidmem.query.labels import parse_labels
from vidmem.query.query import Query
from vidmem.records import FrameRegions, SourceInfo, SourceKind, Track
from vidmem.store import ModelRecord, Picture, PictureFile, Store
from vidmem.timecode import NS

TOKENS = dict(zip(fakes.NAMES, fakes._tokens(), strict=True))
ALBUM = cast(Album, object())
CONFIG = IndexConfig(track=TrackConfig(threshold=0.7))


class Shy(fakes.Colours):
    """Reads "redish" as red, with a note, and does not know "mauve"."""

    def reading(self, phrase: str) -> Reading:
        if "mauve" in phrase:
            return Reading("", unknown="mauve", near=("magenta",))
        return Reading("red", "redish is red") if phrase == "redish" else Reading(phrase)


LOADED: list[tuple[str, LoadOptions]] = []


def spec(name: str = "colours") -> EncoderSpec:
    def load(options: LoadOptions) -> Encoder:
        LOADED.append(("both", options))
        made = Shy()
        made.info = replace(made.info, name=name)
        return made

    def load_text(options: LoadOptions) -> Encoder:
        LOADED.append(("text", options))
        return Shy()

    return EncoderSpec(name=name, load=load, load_text=load_text)


@pytest.fixture(autouse=True)
def known() -> Iterator[None]:
    LOADED.clear()
    with registry.registered(spec()), registry.registered(spec("others")):
        yield


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "memory", create=True) as made:
        made.set_model(ModelRecord("colours", "c0" * 32, 8, 8, CONFIG.as_dict()))
        yield made


def seen(ordinal: int, name: str, start_s: float, end_s: float) -> Track:
    start, end = int(start_s * NS), int(end_s * NS)
    return track(
        ordinal,
        visual=TOKENS[name],
        text=TOKENS[name],
        start_ns=start,
        end_ns=end,
        best_ns=start,
        best_box=(0, 0, 64, 64),
    )


def video(store: Store, name: str, *tracks: Track) -> int:
    """Frames every half second; tracks lie side by side, 320 pixels each."""
    row = store.begin_source(info(name, name))
    masks = np.zeros((len(tracks), 9, 16), bool)
    for i, mask in enumerate(masks):
        mask[:, 4 * i : 4 * i + 4] = True
    boxes = mask_boxes(masks.astype(np.float32), 1280, 720)
    frames = []
    for t_ns in range(0, 40 * NS, NS // 2):
        here = [i for i, t in enumerate(tracks) if t.start_ns <= t_ns <= t.end_ns]
        if here:
            ordinals = np.array([tracks[i].ordinal for i in here])
            frames.append(FrameRegions(t_ns, ordinals, boxes[here], masks[here]))
    add(store, row.id, list(tracks), frames, state="done")
    return row.id


def query(store: Store) -> Query:
    return Query(store, "colours", "cpu", album=ALBUM)


def test_each_side_is_loaded_once_when_it_is_needed(store: Store) -> None:
    asked = query(store)
    assert (asked.spec, LOADED) == ("colours", [])
    text = asked.text_encoder
    assert asked.text_encoder is text
    both = asked.encoder
    assert asked.encoder is asked.text_encoder is both
    assert [(side, options.device) for side, options in LOADED] == [("text", None), ("both", "cpu")]


def test_another_encoder_takes_its_place(store: Store) -> None:
    asked = query(store)
    before = asked.cache()
    other = asked.load_another("others")
    assert (other.info.name, LOADED[-1][1].device) == ("others", "cpu")
    assert asked.spec == "colours"
    asked.use(other)
    assert asked.encoder is asked.text_encoder is other
    assert asked.spec == "others"
    assert asked.cache() is not before
    assert len(LOADED) == 1


def test_vectors_are_kept_until_they_are_dropped_and_follow_the_store(store: Store) -> None:
    asked = query(store)
    assert len(asked.cache()) == 0
    video(store, "a.mp4", seen(0, "red", 0, 1))
    first = asked.cache()
    assert len(first) == 1
    assert asked.cache() is first
    asked.drop_cache()
    assert asked.cache() is not first


def test_settings_are_those_of_the_memory_and_else_of_the_encoder(store: Store) -> None:
    asked = query(store)
    assert asked.settings() == IndexConfig()  # nothing is in it yet
    video(store, "a.mp4")
    assert asked.settings() == CONFIG
    store.remove_source(1)
    assert Query(store, "unheard", None).settings() == IndexConfig()
    with registry.registered(replace(spec(), preset="patches")):
        assert Query(store, "colours:big", None).settings() == preset("patches") != IndexConfig()


def test_probabilities_are_those_fitted_to_this_memory(store: Store) -> None:
    asked = query(store)
    weights = asked.text_encoder.info.weights
    plain = asked.text_encoder.info.calibration
    assert asked.calibration == plain
    fitted = Probabilities(Curve(-6, 10, 0, 9, 9, 9))
    store.set_fitted(weights, fitted.as_dict())
    assert asked.calibration == replace(plain, probability=fitted)
    asked.uncalibrate()
    assert asked.calibration == plain
    store.set_fitted(weights, {"text": {"bias": 1}})
    with pytest.raises(StoreError, match="what was fitted is damaged"):
        _ = asked.calibration


def test_a_fit_is_kept_beside_the_curves_that_there_are(store: Store, tmp_path: Path) -> None:
    lines = []
    for i, name in enumerate(fakes.NAMES):
        near = replace(seen(1, name, 20, 21), text=TOKENS[name] + 1.1 * TOKENS[fakes.NAMES[i - 1]])
        video(store, f"{name}.mp4", seen(0, name, 3, 5), near)
        lines.append(f"{name},{name}.mp4,3-5")
    path = tmp_path / "known.csv"
    path.write_text("\n".join(lines))
    asked = query(store)
    visual = Curve(-1, 2, 0, 3, 3, 3)
    store.set_fitted(asked.text_encoder.info.weights, Probabilities(visual=visual).as_dict())
    curve, samples, count = asked.calibrate(path)
    assert (count, curve.right, curve.wrong, len(samples)) == (8, 8, 8, 16)
    assert asked.calibration.probability == Probabilities(text=curve, visual=visual)
    asked.uncalibrate()
    asked.calibrate(str(path))
    assert asked.calibration.probability == Probabilities(text=curve)
    with Store.open(store.folder) as reader:
        for change in (lambda: query(reader).calibrate(path), query(reader).uncalibrate):
            with pytest.raises(StoreError):
                change()


def test_an_answer_knows_its_question_and_its_notes(store: Store) -> None:
    video(store, "a.mp4", seen(0, "red", 0, 1), seen(1, "red", 9, 10), seen(2, "blue", 9, 10))
    asked = query(store)
    answer = asked.where("redish", sources="a.mp4", after="5s")
    assert answer.query == {
        "text": "redish",
        "image": None,
        "crop": None,
        "read_as": "red",
        "sources": ["a.mp4"],
        "after": "5s",
    }
    assert (answer.notes, answer.album) == (("redish is red",), ALBUM)
    assert [s.start_s for s in answer] == [9]
    assert [s.start_s for s in asked.where("red", top=None)] == [9, 0]
    assert [s.start_s for s in asked.where("red", before="5s")] == [0]
    for more, starts in (({}, [9]), ({"within": "9s"}, [9, 0]), ({"within": "9s", "apart": 0.0}, [9])):
        assert [s.start_s for s in asked.where("red", top=None, near="blue", **more)] == starts  # type: ignore[arg-type]
    assert not asked.where("green")
    assert asked.where("green", threshold=0.05)
    with pytest.raises(UnknownWordError):
        asked.where("mauve")


def test_a_picture_is_looked_at_by_the_whole_encoder(store: Store) -> None:
    video(store, "a.mp4", seen(0, "red", 0, 1), seen(1, "blue", 9, 10))
    asked = query(store)
    picture = Image.new("RGB", (64, 64), fakes.COLOURS["blue"])
    answer = asked.where(image=picture)
    assert ([s.start_s for s in answer], answer.query["image"]) == ([9], "picture")
    assert LOADED[-1][0] == "both"
    both = asked.where("mauve", image=picture)
    assert ([s.start_s for s in both], both.query["unknown"]) == ([9], "mauve")
    assert "asked by the picture alone" in both.notes[0]
    crop = asked.where(crop=("a.mp4", 0, (0.0, 0.0, 320.0, 720.0)))
    assert [s.start_s for s in crop] == [0]
    with pytest.raises(UnknownWordError):
        asked.timeline("mauve", image=picture)


def test_a_timeline_has_all_sightings_of_each_thing(store: Store) -> None:
    video(store, "a.mp4", seen(0, "red", 0, 1), seen(1, "red", 9, 10), seen(2, "blue", 20, 21))
    odd = replace(seen(3, "red", 30, 31), text=TOKENS["green"])
    video(store, "b.mp4", odd)
    asked = query(store)
    (red,) = asked.timeline("red")
    assert [s.start_s for s in red.sightings] == [9, 0]
    (red,) = asked.timeline("red", alike=True)
    assert [s.start_s for s in red.sightings] == [30, 9, 0]
    (red,) = asked.timeline("red", before="5s")
    assert [s.start_s for s in red.sightings] == [0]
    assert asked.timeline("red", after="11s", sources="a.mp4") == []
    assert asked.timeline("red", near="blue") == []
    for apart, starts in ((1.0, [9, 0]), (0.0, [9])):
        (red,) = asked.timeline("red", near="blue", within="60s", apart=apart)
        assert [s.start_s for s in red.sightings] == starts
    with pytest.raises(UsageError, match="`alike` is"):
        asked.timeline("red", alike=1)  # type: ignore[arg-type]


def test_a_timeline_may_be_of_a_picture_or_by_a_threshold(store: Store) -> None:
    video(store, "a.mp4", seen(0, "red", 0, 1), seen(1, "blue", 9, 10))
    asked = query(store)
    (blue,) = asked.timeline(image=Image.new("RGB", (64, 64), fakes.COLOURS["blue"]))
    assert [s.start_s for s in blue.sightings] == [9]
    (red,) = asked.timeline(crop=("a.mp4", 0, (0.0, 0.0, 320.0, 720.0)))
    assert [s.start_s for s in red.sightings] == [0]
    assert len(asked.timeline("green", threshold=0.05)) == 2
    assert asked.timeline("green") == []


def test_by_default_the_newest_sighting_is_given(store: Store) -> None:
    video(store, "a.mp4", *(seen(i, "red", 9 * i, 9 * i + 1) for i in range(3)))
    asked = query(store)
    assert [[s.start_s for s in asked.where("red", **more)] for more in ({}, {"top": 2}, {"top": None})] == [
        [18],
        [18, 9],
        [18, 9, 0],
    ]


def test_a_probability_may_be_asked_for(store: Store) -> None:
    video(store, "a.mp4", seen(0, "red", 0, 1))
    asked = query(store)
    curve = Curve(-6, 8, 0, 9, 9, 9)  # .88 at a score of 1
    store.set_fitted(asked.text_encoder.info.weights, Probabilities(curve).as_dict())
    for least, count in ((0.8, 1), (0.95, 0)):
        assert len(asked.where("red", min_probability=least)) == count
        assert len(asked.timeline("red", min_probability=least)) == count
        assert [len(answer) for answer in asked.watch("red", min_probability=least)] == [count]


def test_many_names_are_asked_together_and_answered_one_by_one(store: Store) -> None:
    video(store, "a.mp4", seen(0, "red", 0, 1), seen(1, "blue", 9, 10))
    red, mauve, redish, green, blue = query(store).watch(["red", "mauve", "redish", "green", "blue"], sources="a.mp4")
    assert [[s.start_s for s in answer] for answer in (red, mauve, redish, green, blue)] == [[0], [], [0], [], [9]]
    assert red.query == {"text": "red", "image": None, "crop": None}
    assert mauve.query == {"text": "mauve", "image": None, "crop": None, "unknown": "mauve", "near": ["magenta"]}
    assert redish.query == {"text": "redish", "image": None, "crop": None, "read_as": "red"}
    assert (red.notes, redish.notes, red.album, mauve.album) == ((), ("'redish': redish is red",), ALBUM, None)
    assert mauve.notes == (str(UnknownWordError("mauve", ("magenta",), "")),)
    assert [len(a) for a in query(store).watch(["red", "blue"], after="5s")] == [0, 1]
    assert [len(a) for a in query(store).watch("red", before="5s")] == [1]
    assert [len(a) for a in query(store).watch(["red", "blue"], before="5s")] == [1, 0]
    mixed = replace(seen(0, "red", 0, 1), text=0.7 * TOKENS["green"] + 0.85 * TOKENS["blue"])
    video(store, "b.mp4", mixed)
    assert [len(a) for a in query(store).watch(["red", "blue"], sources="b.mp4")] == [0, 1]
    assert not query(store).where("green")  # it is blue rather
    assert query(store).where("green", threshold=0.6)
    assert [len(a) for a in query(store).watch(["green", "blue"], sources="b.mp4")] == [0, 1]
    (only,) = query(store).watch(["mauve"])
    assert not only
    with pytest.raises(UsageError, match="not calibrated"):
        query(store).watch("red", min_probability=0.5)


@pytest.mark.parametrize(
    ("method", "args", "more", "name"),
    [
        ("where", ("red",), {"top": "x"}, "top"),
        ("where", ("red",), {"after": 7.5j}, "after"),
        ("watch", (7,), {}, "names"),
        ("watch", ("red",), {"min_probability": "x"}, "min_probability"),
        ("watch", ("red",), {"after": 7.5j}, "after"),
        ("watch", ("red",), {"before": 7.5j}, "before"),
        ("watch", ("red",), {"sources": 7}, "sources"),
        ("timeline", (7,), {}, "text"),
        ("things", (), {"min_probability": "x"}, "min_probability"),
        ("things", (), {"top": "x"}, "top"),
        ("things", (), {"labels": 7}, "labels"),
        ("calibrate", (7,), {}, "path"),
        ("haystack", (7, "red"), {}, "anchor"),
        ("haystack", ("red", 7), {}, "target"),
        ("haystack", ("red", "red"), {"rule": 7}, "rule"),
        ("name_tracks", (7, "red"), {}, "source"),
        ("name_tracks", ("a.mp4", 7), {}, "names"),
        ("parse", (7, "coco"), {}, "source"),
        ("parse", ("a.mp4", 7), {}, "labels"),
        ("parse", ("a.mp4", "a\0b"), {}, "labels"),
        ("parse", ("a.mp4", "coco"), {"way": 7}, "way"),
        ("parse", ("a.mp4", "coco"), {"templates": 1}, "templates"),
        ("parse", ("a.mp4", "coco"), {"meant": 1}, "meant"),
        ("parse", ("a.mp4", "coco"), {"pictures": 1}, "pictures"),
    ],
)
def test_an_argument_that_makes_no_sense_is_named(
    store: Store, method: str, args: tuple[object, ...], more: dict[str, object], name: str
) -> None:
    photos(store)
    video(store, "a.mp4", seen(0, "red", 0, 1))
    with pytest.raises(UsageError, match=f"^[^`]*`{name}`"):
        getattr(query(store), method)(*args, **more)


def photos(store: Store) -> None:
    row = store.begin_source(SourceInfo("/photos", SourceKind.PICTURES, 0, 0, 0, "photos"))
    tracks, frames = [], []
    for i, names in enumerate((("red", "blue"), ("green",))):
        t_ns = i * NS
        own = [
            replace(seen(2 * i + k, name, 0, 0), start_ns=t_ns, end_ns=t_ns, best_ns=t_ns)
            for k, name in enumerate(names)
        ]
        tracks += own
        boxes, masks = np.zeros((len(own), 4), np.float32), np.ones((len(own), 2, 2), bool)
        frames.append(FrameRegions(t_ns, np.array([t.ordinal for t in own]), boxes, masks))
    add(
        store,
        row.id,
        tracks,
        frames,
        state="done",
        files=[PictureFile(f"{i}.jpg", 1, 2, i * NS) for i in (0, 1)],
        pictures=[Picture(i * NS, bytes([i]) * 32, 64, 48) for i in (0, 1)],
    )


def test_one_picture_of_many(store: Store, tmp_path: Path) -> None:
    photos(store)
    asked = query(store)
    for target, verdict in (("blue", "yes"), ("green", "no"), ("redish", "yes")):
        answer = asked.haystack("red", target)
        assert answer.verdict == verdict
        assert answer.anchor is not None
        assert answer.anchor.paths == ("/photos/0.jpg",)
    assert asked.haystack("white", "red").verdict == "not found"
    assert asked.haystack("white", "red", rule="paper").verdict != "not found"
    for pair in (("red", " "), ("", "red")):
        with pytest.raises(UsageError, match="the anchor or the target is empty"):
            asked.haystack(*pair)
    with pytest.raises(UsageError, match="no rule 'strict'"):
        asked.haystack("red", "blue", rule="strict")


def test_things_are_named_and_filtered(store: Store, tmp_path: Path) -> None:
    video(store, "a.mp4", seen(0, "red", 0, 4), seen(1, "blue", 9, 10))
    video(store, "b.mp4", seen(0, "green", 2, 4))
    asked = query(store)
    assert [one.name for one in asked.things()] == ["red", "green", "blue"]
    assert [one.name for one in asked.things("a.mp4", top=1)] == ["red"]
    assert [one.name for one in asked.things(["a.mp4", "b.mp4"], after="3s", before="5s", newest=True)] == [
        "green",
        "red",
    ]
    (tmp_path / "names.txt").write_text("yellow\nredish\n")
    assert asked.things("a.mp4", labels=tmp_path / "names.txt")[0].name == "redish"
    (tmp_path / "names.txt").write_text("mauve\n")
    with pytest.raises(UnknownWordError):
        asked.things(labels=tmp_path / "names.txt")
    with pytest.raises(UsageError, match="`newest` is"):
        asked.things(newest=1)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="no probability is known"):
        asked.things(min_probability=0.5)
    store.set_fitted(asked.text_encoder.info.weights, Probabilities(Curve(-6, 10, 0, 9, 9, 9)).as_dict())
    assert len(asked.things(min_probability=0.5)) == 3
    assert len(asked.things(min_probability=0.999)) == 0
    store.set_fitted(asked.text_encoder.info.weights, Probabilities(visual=Curve(-6, 10, 0, 9, 9, 9)).as_dict())
    with pytest.raises(UsageError, match="no probability is known"):
        asked.things(min_probability=0.5)


def labels_of(asked: Query, *args: object, **more: object) -> list[int]:
    """The labels in the first frame of where the tracks 0, 1, 2 and 3 lie."""
    parsed = asked.parse(*args, **more)  # type: ignore[arg-type]
    scene = next(iter(parsed.frames(asked.store)))
    return [int(scene.at(9, 16)[4, column]) for column in (1, 5, 9, 13)]


def test_a_source_is_parsed_by_names(store: Store, tmp_path: Path) -> None:
    id_ = video(store, "a.mp4", seen(0, "red", 0, 1), seen(1, "blue", 0, 1), seen(2, "white", 0, 1))
    asked = query(store)
    labels = parse_labels("blue\nredish\n", "x")
    parsed = asked.parse("a.mp4", labels)
    assert (parsed.source.id, parsed.labels, parsed.way) == (id_, labels, "track")
    assert labels_of(asked, "a.mp4", labels)[:2] == [1, 0]
    (tmp_path / "names.txt").write_text("blue\nred\n")
    assert labels_of(asked, "a.mp4", tmp_path / "names.txt")[:2] == [1, 0]
    assert labels_of(asked, "a.mp4", labels)[2:] in ([0, -1], [1, -1])
    assert labels_of(asked, "a.mp4", labels, meant=True) == [1, 0, -1, -1]  # white is probably neither
    assert -1 not in labels_of(asked, "a.mp4", labels, way="vote")
    named = asked.name_tracks("a.mp4", ["blue", "red"])
    ordinals = {t.id: t.ordinal for t in store.source_tracks(id_)}
    assert {ordinals[track_id]: one.label for track_id, one in named.items()} == {0: 1, 1: 0}
    assert asked.name_tracks(store.source("a.mp4"), "redish").keys() == {1}
    for changes, message in (
        ({"meant": True, "way": "vote"}, "`meant` works with `way` track alone"),
        ({"way": "both"}, "there are track and vote"),
        ({"templates": True}, "reads no sentences"),
        ({"apart": 1}, "`apart` is"),
    ):
        with pytest.raises(UsageError, match=message):
            asked.parse("a.mp4", labels, **changes)  # type: ignore[arg-type]
    with pytest.raises(UnknownWordError):
        asked.parse("a.mp4", parse_labels("mauve", "x"))
    with pytest.raises(UsageError, match="a LabelSet, a file"):
        asked.parse("a.mp4", 7)  # type: ignore[arg-type]


def test_photos_are_parsed_where_that_is_wanted(store: Store) -> None:
    photos(store)
    labels = parse_labels("blue\nred\n", "x")
    with pytest.raises(UsageError, match=r"photos are not parsed; .*: /photos"):
        query(store).parse("photos", labels)
    assert len(list(query(store).parse("photos", labels, pictures=True).frames(store))) == 2


def test_things_are_told_apart_from_stuff_at_the_temperature_of_the_encoder(store: Store) -> None:
    odd = replace(seen(0, "red", 0, 1), text=0.6 * TOKENS["red"] + 0.58 * TOKENS["blue"] + 0.605 * TOKENS["green"])
    video(store, "a.mp4", odd)
    labels = parse_labels("red\nblue\ngreen\tstuff\n", "x")
    assert labels_of(query(store), "a.mp4", labels)[0] == 2
    assert labels_of(query(store), "a.mp4", labels, apart=True)[0] == 0


def test_a_phrase_is_read_as_the_encoder_reads_it(store: Store) -> None:
    asked = query(store)
    assert asked.reading("redish") == Reading("red", "redish is red")
    assert asked.reading("blue") == Reading("blue")
    with pytest.raises(UnknownWordError):
        asked.reading("mauve")
    with pytest.raises(UsageError, match="`phrase`"):
        asked.reading("")


def test_classes_that_are_not_known_are_taken_as_they_are(store: Store) -> None:
    class Any_(fakes.Colours):
        def reading(self, phrase: str) -> Reading:
            return Reading("", unknown=phrase)

        def encode_text(self, phrases: Sequence[str]) -> np.ndarray:
            return np.eye(8, dtype=np.float32)[[len(phrase) % 8 for phrase in phrases]]

    video(store, "a.mp4", seen(0, "red", 0, 1))
    asked = query(store)
    asked.use(Any_())
    assert len(asked.parse("a.mp4", "coco").labels) == 80
    with pytest.raises(UnknownWordError):
        asked.parse("a.mp4", parse_labels("cup", "x"))
