"""VQ2D: the published files, and answers from a memory of a clip with a known course."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fakes
import pytest

from vidmem.config import IndexConfig
from vidmem.encoders.registry import registered
from vidmem.errors import MediaError, UnknownWordError, UsageError
from vidmem.evaluation.vq2d import Answered, answer
from vidmem.evaluation.vq2d_files import (
    FrameBox,
    Response,
    VisualQuery,
    clips,
    load_annotations,
    queries,
)
from vidmem.evaluation.vq2d_predictions import load_predictions, predictions, whole_pixels
from vidmem.memory import Memory

SIZE = (fakes.WIDTH, fakes.HEIGHT)
RED = (2, 9, 33, 30, 30)
"""A crop of the red square in frame 2: frame, x, y, width, height."""


def entry(title: str, asked: int, crop: tuple[int, int, int, int, int]) -> dict[str, Any]:
    frame, x, y, w, h = crop
    box = {"x": x, "y": y, "width": w, "height": h, "original_width": SIZE[0], "original_height": SIZE[1]}
    return {
        "is_valid": True,
        "query_frame": asked,
        "object_title": title,
        "visual_crop": {"frame_number": frame, **box},
        "response_track": [{"frame_number": 7, **box}, {"frame_number": 6, **box}],
    }


def document(*sets: dict[str, Any]) -> dict[str, Any]:
    annotation = {"annotation_uid": "a0", "query_sets": {str(i): one for i, one in enumerate(sets, 1)}}
    clip = {"clip_uid": None, "clip_fps": 5.0, "annotations": [annotation]}
    return {"version": "1.0.5", "videos": [{"video_uid": "v0", "clips": [clip]}]}


def test_a_file_is_read_as_it_is_published(tmp_path: Path) -> None:
    path = tmp_path / "vq_val.json"
    path.write_text(json.dumps(document(entry("red", 40, (3, 10, 20, 30, 40)))))
    (query,) = queries(load_annotations(path))
    assert query == VisualQuery(
        clip=None,
        key=("a0", "1"),
        title="red",
        frame=40,
        crop=FrameBox(3, (10, 20, 40, 60), SIZE),
        response=(FrameBox(6, (10, 20, 40, 60), SIZE), FrameBox(7, (10, 20, 40, 60), SIZE)),  # sorted by frame
        fps=5.0,
    )
    assert query.crop.scaled(2 * SIZE[0], SIZE[1]) == (20, 20, 80, 60)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "have a list `videos`"),
        ('{"videos": {}}', "have a list `videos`"),
    ],
)
def test_another_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "vq.json"
    path.write_text(text)
    with pytest.raises(MediaError, match=message):
        load_annotations(path)
    with pytest.raises(MediaError, match="cannot be read"):
        load_annotations(tmp_path / "none.json")


@pytest.mark.parametrize("name", ["visual_crop", "query_frame", "object_title"])
def test_an_entry_that_lacks_a_part_is_named(name: str) -> None:
    broken = entry("red", 40, (3, 10, 20, 30, 40))
    del broken[name]
    with pytest.raises(MediaError, match="query 1 of annotation a0"):
        list(queries(document(broken)))


@pytest.mark.parametrize(
    "damage",
    [
        {"clip_fps": "fast"},
        {"clip_fps": -1},
        {"clip_fps": float("nan")},
        {"annotations": ["a0"]},
        {"annotations": [{"annotation_uid": "a0", "query_sets": None}]},
        {"annotations": [{"annotation_uid": "a0", "query_sets": []}]},
    ],
)
def test_a_damaged_clip_is_refused(damage: dict[str, Any]) -> None:
    whole = document(entry("red", 40, (3, 10, 20, 30, 40)))
    whole["videos"][0]["clips"][0].update(damage)
    with pytest.raises(MediaError):
        list(queries(whole))
    with pytest.raises(MediaError):
        list(queries({"videos": [{"clips": ["c"]}]}))


@pytest.mark.parametrize(("name", "value"), [("query_frame", 1e400), ("query_frame", -5), ("visual_crop", "a")])
def test_a_damaged_query_is_refused(name: str, value: object) -> None:
    broken = entry("red", 40, (3, 10, 20, 30, 40)) | {name: value}
    with pytest.raises(MediaError, match="query 1 of annotation a0"):
        list(queries(document(broken)))
    nowhere = entry("red", 40, (3, 10, 20, 30, 40))
    nowhere["visual_crop"]["x"] = float("nan")
    with pytest.raises(MediaError, match="`x` is nan, not a number of pixels"):
        list(queries(document(nowhere)))


def test_a_document_without_clips_or_pixels_is_refused() -> None:
    with pytest.raises(MediaError, match="no list `clips`"):
        list(queries({"videos": [{}]}))
    empty = entry("red", 40, (3, 10, 20, 30, 40))
    empty["visual_crop"]["original_width"] = 0
    with pytest.raises(MediaError, match="`original_width` is 0, not a whole number from 1"):
        list(queries(document(empty)))


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        (None, "query_frame", 2 * 10**11),
        (None, "query_frame", 10**30),
        (None, "query_frame", 20.7),
        (None, "query_frame", True),
        (None, "query_frame", None),
        (None, "object_title", 7),
        (None, "response_track", None),
        (None, "response_track", [3]),
        ("visual_crop", "frame_number", 10**30),
        ("visual_crop", "frame_number", -5),
        ("visual_crop", "original_width", 10**400),
        ("visual_crop", "x", 1e308),
        ("visual_crop", "width", "wide"),
        ("response_track", "frame_number", 10**25),
        ("response_track", "frame_number", -(10**25)),
        ("response_track", "height", float("nan")),
    ],
)
def test_numbers_out_of_range_are_refused_where_they_are_read(part: str | None, name: str, value: object) -> None:
    broken = entry("red", 40, RED)
    place = broken if part is None else broken[part]
    (place[0] if isinstance(place, list) else place)[name] = value
    with pytest.raises(MediaError, match=f"query 2 of annotation a0 .*{name if value != [3] else 'no box'}") as caught:
        list(queries(document(entry("red", 40, RED), broken)))
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize("fps", [1e-300, 0, True, 10**400])
def test_a_rate_out_of_range_is_refused(fps: object) -> None:
    whole = document(entry("red", 40, RED))
    whole["videos"][0]["clips"][0]["clip_fps"] = fps
    with pytest.raises(MediaError, match=r"`clip_fps` is frames per second, from 0\.1 to 1000") as caught:
        list(queries(whole))
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    "other",
    [
        {"is_valid": False, "errors": ["no crop"], "warnings": []},
        {**entry("red", 40, RED), "is_valid": False, "visual_crop": None, "response_track": None, "query_frame": "?"},
    ],
)
def test_queries_that_are_not_valid_may_lack_parts(other: dict[str, Any]) -> None:
    whole = document(other, entry("red", 40, RED))
    (query,) = queries(whole)
    assert query.key == ("a0", "2")
    assert _sets(predictions(whole, {}))["1"] == {"bboxes": [], "score": 0.0}


@pytest.mark.parametrize(("score", "nowhere"), [(0.2, 0.0), (0.0, -1.0), (-0.5, -1.5)])
def test_a_query_without_an_answer_ranks_below_all_answers(score: float, nowhere: float) -> None:
    whole = document(entry("red", 40, RED), entry("red", 40, RED), entry("red", 40, RED))
    answers = {("a0", "1"): Response(5, ((1, 2, 3, 4),), score), ("a0", "2"): Response(5, ((1, 2, 3, 4),), 0.9)}
    found = {number: one["score"] for number, one in _sets(predictions(whole, answers)).items()}
    assert found == {"1": score, "2": 0.9, "3": nowhere}


def test_whole_pixels_are_those_of_the_file(tmp_path: Path) -> None:
    answer = Response(5, ((1.4, 2.6, 3.5, 4.5), (0.49, -0.6, 7.0, 1e4 + 0.51)), 0.5)
    path = tmp_path / "predictions.json"
    path.write_text(json.dumps(predictions(document(entry("red", 40, RED)), {("a0", "1"): answer})))
    assert load_predictions(path) == {("a0", "1"): whole_pixels(answer)}


def test_predictions_keep_order_and_length() -> None:
    left_out = entry("blue", 9, (3, 1, 2, 3, 4)) | {"is_valid": False}
    annotations = document(entry("red", 40, (3, 1, 2, 3, 4)), entry("blue", 9, (3, 1, 2, 3, 4)), left_out)
    found = predictions(annotations, {("a0", "2"): Response(5, ((1.4, 2.6, 3, 4), (2, 3, 4, 5)), 0.5)})
    (clip,) = found["results"]["videos"][0]["clips"]
    (one,) = clip["predictions"]
    assert (found["challenge"], found["version"], clip["clip_uid"]) == ("ego4d_vq2d_challenge", "1.0.5", None)
    assert list(one["query_sets"]) == ["1", "2", "3"]
    nowhere = {"fno": 40, "x1": 0, "y1": 0, "x2": 0, "y2": 0}  # the official evaluation reads no query without boxes
    assert one["query_sets"]["1"] == {"bboxes": [nowhere], "score": 0.0}
    assert one["query_sets"]["3"] == {"bboxes": [], "score": 0.0}
    boxes = [{"fno": 5, "x1": 1, "y1": 3, "x2": 3, "y2": 4}, {"fno": 6, "x1": 2, "y1": 3, "x2": 4, "y2": 5}]
    assert one["query_sets"]["2"] == {"bboxes": boxes, "score": 0.5}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: d.pop("results"), "no predictions of VQ2D"),
        (lambda d: d["results"]["videos"][0]["clips"][0]["predictions"].append(3), "no predictions of VQ2D"),
        (lambda d: _sets(d)["1"]["bboxes"].append({"fno": 9, "x1": 1, "y1": 1, "x2": 2, "y2": 2}), "have a gap"),
        (lambda d: _sets(d)["1"]["bboxes"][0].update(x1=float("nan")), "not finite"),
        (lambda d: _sets(d)["1"]["bboxes"][0].pop("y2"), "no predictions of VQ2D"),
        (lambda d: _sets(d)["1"].update(score="high"), "no predictions of VQ2D"),
    ],
)
def test_damaged_predictions_are_refused(tmp_path: Path, damage: Callable[[Any], Any], message: str) -> None:
    written = predictions(document(entry("red", 40, RED)), {("a0", "1"): Response(5, ((1, 2, 3, 4),), 0.5)})
    path = tmp_path / "predictions.json"
    path.write_text(json.dumps(written))
    assert load_predictions(path) == {("a0", "1"): Response(5, ((1, 2, 3, 4),), 0.5)}
    damage(written)
    path.write_text(json.dumps(written))
    with pytest.raises(MediaError, match=message):
        load_predictions(path)


def _sets(written: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = written["results"]["videos"][0]["clips"][0]["predictions"][0]["query_sets"]
    return found


def test_clips_say_where_they_lie() -> None:
    whole = document(entry("red", 40, RED))
    whole["videos"][0]["split"] = "val"
    (clip,) = clips(whole)
    assert (clip.uid, clip.video, clip.split, clip.start_s, clip.end_s) == (None, "v0", "val", None, None)
    assert (clip.name, len(clip.queries)) == ("v0@0", 1)
    whole["videos"][0]["clips"][0].update(clip_uid="c7", video_start_sec=12.5, video_end_sec=20)
    (clip,) = clips(whole)
    assert (clip.name, clip.start_s, clip.end_s) == ("c7", 12.5, 20.0)


@pytest.mark.parametrize("damage", [{"clip_uid": 3}, {"video_start_sec": "early"}, {"video_end_sec": -1}])
def test_a_clip_with_a_wrong_part_is_refused(damage: dict[str, Any]) -> None:
    whole = document(entry("red", 40, RED))
    whole["videos"][0]["clips"][0].update(damage)
    with pytest.raises(MediaError, match=f"`{next(iter(damage))}` is a"):
        list(clips(whole))


@pytest.fixture(scope="module")
def memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Memory]:
    """Red is in view from 0 to 2 s at the left and from 4 to 6 s at the right; blue always, in the middle."""
    folder = tmp_path_factory.mktemp("vq2d")
    video = fakes.squares(folder / "clip.mp4", [("red", 0, 2, 8), ("red", 4, 6, 120), ("blue", 0, 9, 64)], 8)
    with registered(fakes.SPEC), Memory.open(folder / "m", encoder="colours") as made:
        made.index(video)
        yield made


def ask(memory: Memory, title: str, asked: int, crop: tuple[int, int, int, int, int]) -> Answered:
    (query,) = queries(document(entry(title, asked, crop)))
    (source,) = memory.store.sources()
    return answer(memory, source, query)


def span(found: Answered) -> tuple[int, int]:
    assert found.response is not None
    return found.response.first, found.response.last


def test_the_last_appearance_before_the_query_is_the_answer(memory: Memory) -> None:
    late = ask(memory, "red", 38, RED)
    assert (span(late), late.note) == ((20, 29), "")
    assert late.response is not None
    assert late.response.boxes[0] == pytest.approx((120, 32, 152, 64), abs=8)  # cells are 8 pixels
    assert span(ask(memory, "red", 18, RED)) == (0, 9)
    assert span(ask(memory, "red", 25, RED)) == (20, 24)  # frame 25 is not searched
    assert span(ask(memory, "blue", 38, (2, 64, 32, 32, 32)))[1] == 37


def test_a_video_with_fewer_frames_than_the_setting_has_the_same_answer(tmp_path: Path) -> None:
    video = fakes.squares(tmp_path / "clip.mp4", [("red", 0, 2, 8), ("red", 4, 6, 120)], 8, fps=5)
    with registered(fakes.SPEC), Memory.open(tmp_path / "m", encoder="colours") as memory:
        memory.index(video, config=IndexConfig(fps=30))
        assert span(ask(memory, "red", 38, RED)) == (20, 29)


def test_a_word_that_is_not_known_leaves_the_crop(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(phrases: list[str]) -> None:
        raise UnknownWordError(phrases[0])

    monkeypatch.setattr(memory.query.text_encoder, "encode_text", unknown)
    found = ask(memory, "widget", 38, RED)
    assert span(found) == (20, 29)
    assert found.note == "by the crop alone, since the encoder does not know 'widget'"


def test_no_answer_says_why(memory: Memory) -> None:
    for crop in ((2, 9000, 33, 30, 30), (2, 40, 33, -30, 30), (2, 40, -60, 30, 30)):
        assert ask(memory, "red", 38, crop).note.startswith(
            "no token for the crop: the crop lies outside of its frame;"
        )
        assert ask(memory, "red", 38, crop).response is None
    far = ask(memory, "red", 38, (400, 9, 33, 30, 30))
    assert far.response is None
    assert "nothing was indexed within a second" in far.note
    assert ask(memory, "red", 0, RED).note == "nothing was seen before the query"
    with pytest.raises(UsageError, match="no colour"):
        ask(memory, "0", 38, RED)


@pytest.mark.parametrize("title", ["", " ", None])
def test_without_a_title_the_crop_decides(memory: Memory, title: Any) -> None:
    found = ask(memory, title, 38, RED)
    assert (span(found), found.note) == ((20, 29), "by the crop alone, since the query has no title")
