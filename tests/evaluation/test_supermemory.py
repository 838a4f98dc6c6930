"""SuperMemory-VQA: the file of questions, whole and damaged, and metrics worked by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluation import supermemory_set as made
from hypothesis import given, settings
from hypothesis import strategies as st

from vidmem.errors import MediaError
from vidmem.evaluation.supermemory_files import MemoryQuestion, Window, load_questions
from vidmem.evaluation.supermemory_metrics import abstention, auroc, overlap, retrieval
from vidmem.evaluation.supermemory_table import groups


def written(folder: Path, document: object) -> Path:
    path = folder / "all_qa.json"
    path.write_text(json.dumps(document))
    return path


def test_a_file_is_read_as_it_is_published(tmp_path: Path) -> None:
    found = load_questions(written(tmp_path, made.document()))
    assert [one.number for one in found.questions] == [1, 2, 3, 4, 5]
    first, second, third, _, clock = found.questions
    assert first == MemoryQuestion(
        number=1,
        subject=1,
        text="Where was the red thing?",
        answerable=True,
        skill="object_location_memory",
        videos=(made.FIRST, made.SECOND),
        asked=(made.SECOND, 5.0),
        evidence=(Window(made.FIRST, 1.0, 3.0),),
        modalities=frozenset({"Video"}),
    )
    assert (second.answerable, second.evidence, second.seen) == (False, (), False)
    assert third.seen
    assert not clock.seen  # part of it is heard
    assert clock.asked == (made.OTHER, 8.0)  # from 00:08
    assert dict(found.starts) == {video: made.started(video) for video in made.SCENES}


def test_a_recording_with_two_starts_has_none(tmp_path: Path) -> None:
    document = made.document()
    document[0]["metadata"]["primary_video_start_time"] += 1
    assert made.SECOND not in load_questions(written(tmp_path, document)).starts


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: d.clear(), "is a list of questions"),
        (lambda d: d[0].pop("is_answerable"), "question 0 of the file lacks a part"),
        (lambda d: d[1].update(is_answerable="yes"), "question 1 of the file .*is_answerable is true or false"),
        (lambda d: d[0].update(question=" "), "a question without words"),
        (lambda d: d[0].update(video_ids=["../x"]), "'../x' is no name of a recording"),
        (lambda d: d[0].update(question_evidence={}), "question 0 of the file lacks a part"),
        (lambda d: _evidence(d)["time_span"].update(end_time=0), "ends at 0 s, before it begins"),
        (lambda d: _evidence(d)["time_span"].update(end_time="soon"), "'soon' is no time"),
        (lambda d: _evidence(d)["time_span"].update(end_time=1e99), "1e\\+99 is no time"),
        (lambda d: _evidence(d)["time_span"].update(end_time=True), "True is no time"),
        (lambda d: d[0].update(question_id=2), "two questions have one question_id"),
        (lambda d: d.append(7), "question 5 of the file lacks a part"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, damage: Callable[[Any], Any], message: str) -> None:
    document = made.document()
    damage(document)
    with pytest.raises(MediaError, match=message):
        load_questions(written(tmp_path, document))


def _evidence(document: Any) -> Any:
    return document[0]["answer_evidence"]["evidence_list"][0]


@pytest.mark.parametrize(("text", "message"), [("{", "not JSON"), ("[" * 100_000, "not JSON"), ("{}", "is a list")])
def test_another_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "q.json"
    path.write_text(text)
    with pytest.raises(MediaError, match=message):
        load_questions(path)
    with pytest.raises(MediaError, match="cannot be read"):
        load_questions(tmp_path / "none.json")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=50)
@given(st.sampled_from(sorted(made.document()[0])), JSON)
def test_any_value_in_any_place_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, name: str, value: object
) -> None:
    document = made.document()[:1]
    document[0][name] = value
    path = written(tmp_path_factory.mktemp("any"), document)
    with suppress(MediaError):
        load_questions(path)


def test_windows_overlap_by_hand() -> None:
    assert overlap(Window("a", 0, 10), Window("a", 5, 20)) == (1.0, 5 / 20)
    assert overlap(Window("a", 0, 10), Window("a", 10, 20)) == (1.0, 0.0)  # they share a moment
    assert overlap(Window("a", 0, 10), Window("a", 11, 20)) == (0.0, 0.0)
    assert overlap(Window("a", 0, 10), Window("b", 0, 10)) == (0.0, 0.0)
    assert overlap(Window("a", 5, 5), Window("a", 5, 5)) == (1.0, 1.0)


def asked(number: int, *evidence: Window) -> MemoryQuestion:
    return MemoryQuestion(
        number, 1, "?", bool(evidence), "s", ("a",), ("a", 99.0), evidence, frozenset({"Video"} if evidence else ())
    )


def result(*windows: tuple[float, float], found: bool = True, score: float = 0.5) -> dict[str, Any]:
    return {"windows": [["a", *window] for window in windows], "found": found, "score": score}


def test_retrieval_by_hand() -> None:
    questions = [asked(1, Window("a", 10, 20)), asked(2, Window("a", 0, 4), Window("a", 30, 34)), asked(3), asked(4)]
    results = {
        "1": result((50, 60), (15, 20)),  # second window, IoU .5
        "2": result((0, 4)),  # one of two, IoU 1
        "3": result((0, 1)),  # cannot be answered
    }
    found = retrieval(questions, results)
    assert found.questions == 2
    assert found.hit == {1: 0.5, 5: 1.0, 10: 1.0}
    assert found.recall == {1: 0.25, 5: 0.75, 10: 0.75}
    assert found.iou == {1: 0.5, 5: 0.75, 10: 0.75}
    assert retrieval(questions, {"1": result()}).hit == {1: 0.0, 5: 0.0, 10: 0.0}
    assert retrieval([asked(3)], results).questions == 0


def test_abstention_by_hand() -> None:
    there = Window("a", 0, 1)
    questions = [asked(1, there), asked(2, there), asked(3), asked(4)]
    results = {
        "1": result(score=0.9),
        "2": result(found=False, score=0.3),
        "3": result(found=False, score=0.2),
        "4": result(score=0.5),
    }
    found = abstention(questions, results)
    assert (found.answerable, found.unanswerable) == (2, 2)
    assert found.accuracy == found.balanced == 0.5
    assert found.auroc == 3 / 4  # of four pairs .3 is below .5
    alone = abstention(questions[:2], results)
    assert (alone.accuracy, alone.balanced, alone.auroc) == (0.5, None, None)
    assert abstention(questions, {}).accuracy == 0


@given(st.lists(st.integers(0, 5), min_size=1), st.lists(st.integers(0, 5), min_size=1))
def test_auroc_is_the_share_of_pairs(positive: list[int], negative: list[int]) -> None:
    pairs = [(p > n) + 0.5 * (p == n) for p in positive for n in negative]
    found = auroc(np.array(positive, np.float64), np.array(negative, np.float64))
    assert found == pytest.approx(sum(pairs) / len(pairs))


def test_groups_have_what_can_be_seen_and_what_cannot_be_answered() -> None:
    seen, heard, none = asked(1, Window("a", 0, 1)), asked(2, Window("a", 0, 1)), asked(3)
    heard = replace(heard, modalities=frozenset({"Audio", "Video"}), skill="t")
    found = groups([seen, heard, none])
    assert {name: [one.number for one in members] for name, members in found.items()} == {
        "all": [1, 2, 3],
        "evidence seen": [1, 3],
        "s": [1, 3],
        "t": [2],
    }
