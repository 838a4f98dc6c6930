"""What is told, when, and how often."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path

import fakes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from vidmem.config import preset
from vidmem.encoders import registry
from vidmem.encoders.probability import Curve, Probabilities
from vidmem.errors import UnknownWordError, UsageError
from vidmem.memory import Memory
from vidmem.records import RegionTokens
from vidmem.standing import StandingEvent, StandingQuestion, standing
from vidmem.timecode import NS

from .stage import EVERY, START, STEP, Scripted, colour_of, event, picture, wait_until, watched

pytestmark = pytest.mark.usefixtures("colours")


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    with Memory.open(tmp_path / "memory", encoder="colours") as m:
        yield m


def calibrated(memory: Memory, bias: float = 3.0, slope: float = 0.0) -> None:
    """Give the memory a curve for words, by which a colour that is there has a probability of .95."""
    curve = Curve(bias, slope, 1.0, 10, 5, 5)
    memory.store.set_model(memory.model_record(EVERY.as_dict()))
    memory.store.set_fitted(memory.text_encoder.info.weights, Probabilities(text=curve).as_dict())


def test_each_sighting_is_told_once(memory: Memory) -> None:
    got: list[StandingEvent] = []
    scene = [["red"]] * 20 + [[]] * 10 + [["red"]] * 10 + [["blue"]] * 4
    stats = watched(memory, scene, got.append, when=["red", "blue", "green"])
    assert [(e.question, int(e.time_ns) - START) for e in got] == [("red", 0), ("red", 30 * STEP), ("blue", 40 * STEP)]
    assert (stats.events, stats.delivered, stats.waiting, stats.lost, stats.unanswered) == (3, 3, 0, 0, 0)
    assert len({e.id for e in got}) == 3
    assert got[0].source == "cam"
    assert got[0].time is not None
    assert got[0].time.startswith("2023-11-1")
    for e in got:
        assert max(abs(a - b) for a, b in zip(colour_of(e), fakes.COLOURS[e.question], strict=True)) < 40


def test_a_short_absence_is_one_sighting(memory: Memory) -> None:
    got: list[StandingEvent] = []
    scene = ([["red"]] * 4 + [[]] * 3) * 5
    watched(memory, scene, got.append, when="red")
    assert len(got) == 1


class Twins(fakes.Colours):
    """Finds a colour on the left and on the right of a picture by itself."""

    def _regions(self, image: NDArray[np.uint8], width: int, height: int) -> RegionTokens:
        parts = []
        for half in (slice(80), slice(80, None)):
            one = np.full_like(image, fakes.GROUND)
            one[:, half] = image[:, half]
            parts.append(super()._regions(one, width, height))
        names = [field.name for field in fields(RegionTokens)]
        return RegionTokens(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def test_two_of_a_kind_in_view_together_are_told_both(memory: Memory) -> None:
    got: list[StandingEvent] = []
    with memory.session(
        "cam",
        encoder=Twins(),
        config=replace(preset("boxes"), fps=0, still=0),
        depth=100,
        interval_s=0.02,
        when=["red"],
        on_event=got.append,
    ) as session:
        for i in range(24):
            image = picture("red", x=8)
            if 8 <= i < 16:
                image[32:64, 110:142] = fakes.COLOURS["red"]
            session.append(image, START + i * STEP)

    assert [(e.sighting.start_s, e.sighting.box[0] < 80) for e in got] == [(0, True), (4, False)]


def test_a_thing_found_in_two_boxes_is_told_once(memory: Memory) -> None:
    """The second box lies in the first one and looks different, and comes later."""

    class Parts(fakes.Colours):
        def _regions(self, image: NDArray[np.uint8], width: int, height: int) -> RegionTokens:
            whole = super()._regions(image, width, height)
            if not len(whole) or image[0, 0, 0] != 91:
                return whole
            half = np.where(np.arange(160)[:, None] < 20, image, fakes.GROUND).astype(np.uint8)
            part = super()._regions(half, width, height)
            other = (part.visual + np.float32(1.5) * np.roll(part.visual, 1, 1)).astype(np.float32)
            other /= np.linalg.norm(other, axis=1, keepdims=True)
            part = replace(part, visual=other)
            names = [field.name for field in fields(RegionTokens)]
            return RegionTokens(*(np.concatenate([getattr(one, name) for one in (whole, part)]) for name in names))

    got: list[StandingEvent] = []
    config = replace(preset("boxes"), fps=0, still=0)
    with memory.session(
        "cam", encoder=Parts(), config=config, depth=100, interval_s=0.02, when="red", on_event=got.append
    ) as session:
        for i in range(16):
            image = picture("red", x=0)
            image[0, 0] = 91 if i >= 6 else 90
            session.append(image, START + i * STEP)
    assert len(memory.where("red", top=None)) == 2  # which is what the tracks are
    assert [e.sighting.start_s for e in got] == [0]


def test_an_event_has_the_sighting_that_where_gives(memory: Memory) -> None:
    got: list[StandingEvent] = []
    watched(memory, [["red"]] * 6 + [[]] * 8 + [["red", "blue"]] * 6, got.append, when=["red", "blue"])
    for name in ("red", "blue"):
        answer = memory.where(name, top=None)
        told = {
            (e.sighting.start_ns, tuple(e.sighting.tracks), e.sighting.source_id) for e in got if e.question == name
        }
        assert told == {(str(s.start_ns), s.tracks, s.source_id) for s in answer}
        assert all(e.sighting.source == answer[0].source for e in got)


def test_an_event_survives_json() -> None:
    one = event(3)
    assert StandingEvent.from_json(one.to_json(crop=False)) == one
    for text in ("[]", "{}", "nonsense", one.to_json().replace('"keys"', "5"), one.to_json().replace('"box"', '"bax"')):
        with pytest.raises(ValueError, match=r".*"):
            StandingEvent.from_json(text)


def test_a_restart_tells_nothing_again(memory: Memory) -> None:
    got: list[StandingEvent] = []
    watched(memory, [["red"]] * 8, got.append, when="red")
    watched(memory, [["red"]] * 8, got.append, when="red", begin=8)
    assert len(got) == 1
    watched(memory, [[]] * 8 + [["red"]] * 4, got.append, when="red", begin=16)
    assert len(got) == 2


def test_what_could_not_be_delivered_is_delivered_by_the_next_session(memory: Memory) -> None:
    stuck, got = Scripted(), list[StandingEvent]()
    stuck.free.clear()
    with pytest.MonkeyPatch.context() as patch:
        defaults: dict[str, float] = {**(standing.Standing.__init__.__kwdefaults__ or {}), "flush_s": 0.2}
        patch.setattr(standing.Standing.__init__, "__kwdefaults__", defaults)
        stats = watched(memory, [["red"]] * 4 + [["blue"]] * 4, stuck, when=["red", "blue"])
    assert (stats.events, stats.delivered, stats.waiting) == (2, 0, 2)
    stats = watched(memory, [[]] * 2, got.append, when=["red", "blue"], begin=8)
    assert (stats.resumed, stats.delivered, stats.events) == (2, 2, 0)
    assert [(e.question, e.crop) for e in got] == [("red", None), ("blue", None)]
    stats = watched(memory, [[]] * 2, got.append, when=["red", "blue"], begin=10)
    assert (stats.resumed, len(got)) == (0, 2)
    stuck.free.set()


def test_what_is_forgotten_is_not_delivered(memory: Memory) -> None:
    watched(memory, [["red"]] * 4, Scripted(["never"]), when="red")
    (track,) = memory.where("red")[0].tracks
    memory.store.tell("another", [track], [(track, got_text := '{"time": "secret"}')])
    assert memory.store.undelivered(1) == [("another", track, got_text)]
    memory.remove("cam")
    assert memory.store.undelivered(1) == []
    assert memory.store.told("another", [track]) == set()
    memory.store.close()
    assert all(b"secret" not in path.read_bytes() for path in memory.store.folder.rglob("*") if path.is_file())


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.booleans(), st.integers(1, 9)), min_size=1, max_size=7),
    st.lists(st.integers(0, 40), max_size=2),
)
def test_any_sequence_of_sightings_is_told_once_each(
    tmp_path_factory: pytest.TempPathFactory, parts: list[tuple[bool, int]], restarts: list[int]
) -> None:
    """In view or not for so many half seconds; sessions end and begin anywhere. Away for more than 2 s: told again."""
    shown = [seen for seen, n in parts for _ in range(n)]
    got: list[StandingEvent] = []
    with registry.registered(fakes.SPEC):
        folder = tmp_path_factory.mktemp("memory") / "m"
        with Memory.open(folder, encoder="colours") as memory:
            cuts = sorted({0, len(shown), *(min(at, len(shown)) for at in restarts)})
            for start, end in pairwise(cuts):
                scene = [["red"] if seen else [] for seen in shown[start:end]]
                watched(memory, scene, got.append, when="red", begin=start)
    times = [i * STEP for i, seen in enumerate(shown) if seen]
    visits = sum(1 for i, t in enumerate(times) if i == 0 or t - times[i - 1] > 2 * NS)
    assert len(got) == visits
    assert len({e.id for e in got}) == visits


def test_kept_names_are_asked_of_every_session(memory: Memory) -> None:
    memory.add_standing_questions(["red", "blue"])
    memory.add_standing_questions("blue")
    assert [row.text for row in memory.standing_questions()] == ["red", "blue"]
    got: list[StandingEvent] = []
    watched(memory, [["red", "blue", "green"]] * 4, got.append, when="green")
    assert sorted(e.question for e in got) == ["blue", "green", "red"]
    memory.remove_standing_questions("red")
    assert [row.text for row in memory.standing_questions()] == ["blue"]
    with pytest.raises(UsageError, match="no standing question 'red'; there are: blue"):
        memory.remove_standing_questions("red")
    with pytest.raises(UsageError, match="cannot read 'kettle'"):
        memory.add_standing_questions("kettle")
    assert watched(memory, [["blue"]] * 4, None, begin=90).events == 0  # nobody to tell


def test_a_picture_is_a_question(memory: Memory, tmp_path: Path) -> None:
    Image.new("RGB", (80, 80), fakes.COLOURS["blue"]).save(tmp_path / "blue.png")
    got: list[StandingEvent] = []
    question = StandingQuestion(image=tmp_path / "blue.png")
    watched(memory, [["red"]] * 4 + [["blue"]] * 4, got.append, when=question)
    assert [e.question for e in got] == ["blue.png"]


def test_the_probability_decides(memory: Memory) -> None:
    calibrated(memory)
    got: list[StandingEvent] = []
    watched(memory, [["red"]] * 4, got.append, when="red")
    (told,) = got
    assert told.probability is not None
    assert 0.8 <= told.probability <= 1
    assert told.sighting.probability == told.probability
    questions = [StandingQuestion("red", min_probability=1.0), StandingQuestion("blue", min_probability=0.5)]
    watched(memory, [["red", "blue"]] * 4, got.append, when=questions, begin=60)
    assert [e.question for e in got[1:]] == ["blue"]


def test_without_calibration_a_probability_is_refused(memory: Memory) -> None:
    with pytest.raises(UsageError, match=r"not calibrated .*`vidmem calibrate FILE`"):
        watched(memory, [], print, when="red", min_probability=0.8)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"when": "red"}, "needs `on_event`"),
        ({"when": (), "on_event": print}, "nothing to tell"),
        ({"when": " ", "on_event": print}, "is empty"),
        ({"when": 5, "on_event": print}, "a text, a StandingQuestion"),
        ({"when": StandingQuestion(), "on_event": print}, "has a text, an `image`"),
        ({"when": "red", "on_event": 5}, "is a function"),
        ({"when": "red", "on_event": [5]}, "is a function"),
        ({"when": "red", "on_event": print, "min_probability": 2}, "between 0 and 1"),
        ({"when": "red", "on_event": print, "again_after_s": -1}, "0 or more"),
        ({"when": ["red"] * 1001, "on_event": print}, "too many"),
    ],
)
def test_what_is_refused(memory: Memory, options: dict[str, object], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        memory.session("cam", **options)  # type: ignore[arg-type]


def test_an_unknown_word_has_near_names(tmp_path: Path) -> None:
    with Memory.open(tmp_path / "memory", encoder="tiny") as m, pytest.raises(UnknownWordError, match="near:"):
        m.session("cam", when="cupp", on_event=print)


def test_a_question_that_fails_stops_nothing(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> list[object]:
        raise RuntimeError("broken")

    got: list[StandingEvent] = []
    monkeypatch.setattr(standing, "ask", broken)
    stats = watched(memory, [["red"]] * 8, got.append, when="red")
    assert stats.unanswered
    assert (stats.events, got) == (0, [])
    assert memory.where("red")


def test_the_camera_never_waits(memory: Memory) -> None:
    """A receiver that hangs: every frame is taken and indexed, and as much is told as can wait."""
    stuck = Scripted()
    stuck.free.clear()
    with memory.session(
        "cam", config=EVERY, depth=8, interval_s=0.02, when=["red"], on_event=stuck, again_after_s=0.5
    ) as session:
        for i in range(40):
            colours = ["red"] if i // 4 % 2 else []
            while session.stats.waiting >= 8:
                pass
            assert session.append(picture(*colours), START + i * STEP)
        wait_until(lambda: session.standing_stats.events == 5)
        stats = session.stats
        assert (stats.dropped, session.standing_stats.delivered) == (0, 0)
        stuck.free.set()
    assert session.standing_stats.delivered == 5


def test_events_are_json_of_one_line(memory: Memory) -> None:
    got: list[StandingEvent] = []
    watched(memory, [["red"]] * 4, got.append, when="red")
    text = got[0].to_json()
    assert "\n" not in text
    row = json.loads(text)
    assert list(row) == ["id", "question", "time", "time_ns", "source", "probability", "sighting", "crop"]
    assert row["sighting"]["box"]
