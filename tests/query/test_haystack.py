"""One picture of many, against brute force, and the question file of Visual Haystacks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from store.making import DT, MODEL, add, frame, info, track

from vidmem.encoders import Calibration
from vidmem.errors import MediaError, UsageError
from vidmem.query.haystack import PAPER_THRESHOLD, RULES, Haystack, HaystackAnswer, Verdict
from vidmem.query.question import Phrase
from vidmem.query.visual_haystacks import Needle, NeedleAnswer, PictureNames, ask_needle, load_needles
from vidmem.records import Float32, SourceInfo, SourceKind
from vidmem.store import PICTURE_NS, Checkpoint, Picture, PictureFile, Store, VectorCache

CALIBRATION = Calibration(0.6, 0.4, 0.7, 0.6, temperature=0.1)


def axis(number: int, lean: float = 0.0, other: int = -1) -> Float32:
    vector = np.zeros(DT, np.float32)
    vector[number], vector[other] = 1, lean
    return np.asarray(vector / np.linalg.norm(vector), np.float32)


def fill(store: Store, pictures: dict[str, list[Float32]], folder: str = "/photos") -> int:
    """Pictures by name, each with regions of these text vectors, at 10, 20, ... in x."""
    row = store.begin_source(SourceInfo(folder, SourceKind.PICTURES, 0, 0, 0, f"pictures {folder}"))
    files, kept, tracks, frames = [], [], [], []
    ordinal = 0
    for i, (name, regions) in enumerate(pictures.items()):
        t = i * PICTURE_NS
        files.append(PictureFile(name, 10, 20, t))
        kept.append(Picture(t, bytes([i % 256, i // 256]) * 16, 640, 480))
        for j, text in enumerate(regions):
            box = (10.0 * (j + 1), 5.0, 10.0 * (j + 1) + 9, 15.0)
            tracks.append(track(ordinal + j, text=text, start_ns=t, end_ns=t, best_ns=t, best_box=box, frames=1))
        frames.append(frame(t, list(range(ordinal, ordinal + len(regions)))))
        ordinal += len(regions)
    store.checkpoint(
        row.id,
        Checkpoint(
            next_t_ns=len(pictures) * PICTURE_NS,
            frames_done=len(pictures),
            state="done",
            tracks=tracks,
            frames=frames,
            files=files,
            pictures=kept,
        ),
    )
    return row.id


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "memory", create=True) as store:
        store.set_model(MODEL)
        yield store


def haystack(store: Store) -> Haystack:
    return Haystack(store, VectorCache(store), CALIBRATION)


PICTURE_TEXTS = {
    "park/dog.jpg": [axis(5), axis(0), axis(1)],
    "cat.jpg": [axis(2), axis(1)],
    "dog.png": [axis(0, 0.5), axis(3)],
}


def test_yes_no_and_not_found(store: Store) -> None:
    fill(store, PICTURE_TEXTS)
    held = haystack(store)
    answer = held.ask(Phrase(axis(0)), Phrase(axis(1)))
    assert answer.verdict == "yes"
    assert answer.anchor is not None
    assert answer.target is not None
    assert answer.anchor.paths == ("/photos/park/dog.jpg",)
    assert (answer.anchor.box, answer.target.box) == ((20, 5, 29, 15), (30, 5, 39, 15))
    assert (answer.anchor.width, answer.anchor.height) == (640, 480)
    assert answer.anchor.score == pytest.approx(1, abs=1e-3)
    assert answer.pictures == 2
    no = held.ask(Phrase(axis(0)), Phrase(axis(3)))  # it is in the other picture with a dog
    assert no.verdict == "no"
    assert no.anchor == answer.anchor
    none = held.ask(Phrase(axis(9, 0.1, 2)), Phrase(axis(1)))
    assert (none.verdict, none.anchor, none.target) == ("not found", None, None)
    assert none.near_misses[0].paths[0] == "/photos/cat.jpg"
    assert len(none.near_misses) == 3  # of three different pictures


def test_a_rival_speaks_against_it(store: Store) -> None:
    fill(store, {"a.jpg": [axis(0, 1, 4)]})  # cosine .71 to both
    phrase = Phrase(axis(0))
    assert haystack(store).ask(phrase, phrase).verdict == "yes"
    rival = Phrase(axis(0), np.stack([axis(4, 0.3, 0)]))
    assert haystack(store).ask(rival, phrase).verdict == "not found"
    assert haystack(store).ask(phrase, rival).verdict == "no"


def test_a_picture_does_not_hang_on_another(store: Store) -> None:
    """One with a clearer dog leaves the other its dog, asked of all pictures or of some."""
    fill(store, PICTURE_TEXTS)
    held = haystack(store)
    every = np.arange(7)
    for rows in (None, every):
        assert held.ask(Phrase(axis(0)), Phrase(axis(1)), rows=rows).pictures == 2


def test_the_papers_rule(store: Store) -> None:
    fill(store, PICTURE_TEXTS)
    held = haystack(store)
    weak = held.ask(Phrase(axis(9, 0.1, 2)), Phrase(axis(2, 3.5, 9)), "paper")  # the best picture, whatever its score
    assert weak.anchor is not None
    assert weak.anchor.paths == ("/photos/cat.jpg",)
    assert weak.anchor.score < CALIBRATION.text_threshold
    assert weak.target is not None
    assert PAPER_THRESHOLD < weak.target.score < CALIBRATION.text_threshold
    assert (weak.verdict, weak.pictures) == ("yes", 1)
    assert held.ask(Phrase(axis(2)), Phrase(axis(2, 5, 9)), "paper").verdict == "no"  # .196


def test_as_brute_force(store: Store) -> None:
    rng = np.random.default_rng(3)
    texts = {f"{i}.jpg": list(rng.standard_normal((rng.integers(1, 6), DT)).astype(np.float32)) for i in range(60)}
    first = store.begin_source(info("walk.mp4"))  # a video in between is no picture
    store.checkpoint(
        first.id,
        Checkpoint(
            next_t_ns=1,
            frames_done=1,
            state="done",
            tracks=[track(i, text=rng.standard_normal(DT).astype(np.float32)) for i in range(50)],
        ),
    )
    fill(store, texts)
    held = haystack(store)
    for rule in ("default", "paper"):
        for _ in range(40):
            anchor, target = rng.standard_normal((2, DT)).astype(np.float32)
            best, where = -2.0, ""
            for name, regions in texts.items():
                top = max(cosine(r, anchor) for r in regions)
                if top > best:
                    best, where = top, name
            least = CALIBRATION.text_threshold if rule == "default" else PAPER_THRESHOLD
            if rule == "default" and best < least:
                expected: Any = ("not found", None)
            else:
                there = max(cosine(r, target) for r in texts[where]) > least
                expected = ("yes" if there else "no", f"/photos/{where}")
            answer = held.ask(Phrase(anchor), Phrase(target), rule)  # type: ignore[arg-type]
            assert (answer.verdict, answer.anchor.paths[0] if answer.anchor else None) == expected


def cosine(a: Float32, b: Float32) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_near_misses_are_the_nearest_pictures_best_first(store: Store) -> None:
    """Of each picture its best region; a video is no picture, however near it is."""
    video = store.begin_source(info("walk.mp4"))
    add(store, video.id, [track(i, text=axis(9, 0.1, 2)) for i in range(60)])
    leans = {"d": 0.9, "b": 0.5, "a": 0.3, "c": 0.7}
    fill(store, {f"{name}.jpg": [axis(9, 3 + lean, 2), axis(9, 3 * lean, 2)] for name, lean in leans.items()})
    strict = Haystack(store, VectorCache(store), replace(CALIBRATION, text_threshold=0.9))
    answer = strict.ask(Phrase(axis(9)), Phrase(axis(1)))
    assert (answer.verdict, answer.pictures) == ("not found", 0)
    assert [near.paths for near in answer.near_misses] == [(f"/photos/{name}.jpg",) for name in "abc"]
    assert [near.score for near in answer.near_misses] == pytest.approx(
        [1 / (1 + (3 * leans[name]) ** 2) ** 0.5 for name in "abc"], abs=2e-3
    )
    assert [near.box[0] for near in answer.near_misses] == [20] * 3
    rows = np.array([60, 61, 64, 65])  # pictures d and a
    answer = strict.ask(Phrase(axis(9)), Phrase(axis(1)), rows=rows)
    assert [near.paths[0] for near in answer.near_misses] == ["/photos/a.jpg", "/photos/d.jpg"]


def test_a_region_that_is_found_comes_before_a_nearer_one_that_is_not(store: Store) -> None:
    """The nearer one is outdone by a rival."""
    fill(store, {"a.jpg": [axis(0), axis(1, 0.5, 4), axis(1, 0.6, 5)]})
    target = Phrase(axis(1), np.stack([axis(4, 1.2, 1)]))
    answer = haystack(store).ask(Phrase(axis(0)), target)
    assert answer.target is not None
    assert (answer.verdict, answer.target.box[0]) == ("yes", 30)
    nearest = haystack(store).ask(Phrase(axis(0)), Phrase(axis(1, 0.8, 3)))
    assert nearest.target is not None
    assert (nearest.verdict, nearest.target.box[0]) == ("yes", 20)


def test_of_equal_regions_the_first_counts(store: Store) -> None:
    fill(store, {"a.jpg": [axis(0), axis(0), axis(1), axis(1)], "b.jpg": [axis(0), axis(1)]})
    for rule in RULES:
        for rows in (None, np.arange(6)):
            answer = haystack(store).ask(Phrase(axis(0)), Phrase(axis(1)), rule, rows)
            assert answer.anchor is not None
            assert answer.target is not None
            assert answer.anchor.paths == answer.target.paths == ("/photos/a.jpg",)
            assert (answer.anchor.box[0], answer.target.box[0]) == (10, 30)


def test_the_papers_target_must_be_above_its_threshold(store: Store) -> None:
    fill(store, {"a.jpg": [axis(0)]})
    held = haystack(store)
    (scored,) = VectorCache(store).scores("text", axis(0, 4, 3), np.array([0]))
    for threshold, verdict in ((scored, "no"), (np.nextafter(scored, np.float32(0)), "yes")):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("vidmem.query.haystack.PAPER_THRESHOLD", float(threshold))
            assert held.ask(Phrase(axis(0)), Phrase(axis(0, 4, 3)), "paper").verdict == verdict


def test_rows_are_those_of_the_pictures_of_one_source(store: Store) -> None:
    source = fill(store, PICTURE_TEXTS)
    other = fill(store, PICTURE_TEXTS, "/more")
    held = haystack(store)
    assert held.rows(source, [0]).tolist() == [0, 1, 2]
    assert held.rows(source, [2 * PICTURE_NS, 0]).tolist() == [0, 1, 2, 5, 6]
    assert held.rows(other, [PICTURE_NS]).tolist() == [10, 11]
    assert held.rows(source, [5]).tolist() == held.rows(source, [5, 6]).tolist() == []
    assert held.ask(Phrase(axis(0)), Phrase(axis(1))).pictures == 4


def test_a_region_knows_when_its_picture_was_taken(store: Store) -> None:
    row = fill(store, PICTURE_TEXTS)
    pictures = [Picture(0, b"ab" * 16, 640, 480, 77, "exif")]
    store.checkpoint(row, Checkpoint(next_t_ns=0, frames_done=3, state="done", pictures=pictures))
    answer = haystack(store).ask(Phrase(axis(0)), Phrase(axis(1)))
    assert answer.anchor is not None
    assert (answer.anchor.recorded_ns, answer.anchor.recorded_by) == (77, "exif")


def test_pictures_that_are_removed_meanwhile_are_not_found(store: Store) -> None:
    row = fill(store, PICTURE_TEXTS)
    held = haystack(store)
    store.remove_source(row)
    assert held.ask(Phrase(axis(0)), Phrase(axis(1))) == HaystackAnswer("not found", None, None, 0)
    assert held.ask(Phrase(axis(9)), Phrase(axis(1))) == HaystackAnswer("not found", None, None, 0)


def test_copies_are_told(store: Store) -> None:
    row = fill(store, PICTURE_TEXTS)
    store.checkpoint(
        row, Checkpoint(next_t_ns=0, frames_done=3, state="done", files=[PictureFile("again.jpg", 10, 20, 0)])
    )
    answer = haystack(store).ask(Phrase(axis(0)), Phrase(axis(1)))
    assert answer.anchor is not None
    assert answer.anchor.paths == ("/photos/again.jpg", "/photos/park/dog.jpg")


def test_a_memory_of_videos_fails(store: Store) -> None:
    store.begin_source(info())
    with pytest.raises(UsageError, match="holds no photos; `vidmem index FOLDER`"):
        haystack(store)
    fill(store, PICTURE_TEXTS)
    with pytest.raises(UsageError, match="no rule 'strict'; there are default and paper"):
        haystack(store).ask(Phrase(axis(0)), Phrase(axis(1)), "strict")  # type: ignore[arg-type]


def needle(pos: list[str], neg: list[str], anchor: str, target: str, answer: str) -> dict[str, Any]:
    asked = {"from": "human", "value": f"For the image with a {anchor}, is there a {target}?"}
    return {
        "pos_image": pos,
        "neg_image": neg,
        "needle": anchor,
        "target": target,
        "conversations": [asked, {"from": "gpt", "value": answer}],
    }


VERDICTS: tuple[Verdict, Verdict, Verdict] = ("yes", "no", "not found")
PHRASES = {str(i): Phrase(axis(i)) for i in range(10)}


def test_a_file_of_questions(store: Store, tmp_path: Path) -> None:
    fill(store, PICTURE_TEXTS)
    path = tmp_path / "vh.json"
    path.write_text(
        json.dumps(
            [
                needle(["coco/park/dog.jpg"], ["cat.jpg"], "0", "1", "yes"),
                needle(["dog.png"], ["cat.jpg"], "0", "3", "Yes."),  # without the better dog, this is the picture
                needle(
                    ["cat.jpg"], ["park/dog.jpg"], "1", "2", "no"
                ),  # both have a 1, the older one is taken: no 2 there
                needle(["lost.jpg"], ["cat.jpg"], "0", "1", "yes"),
            ]
        )
    )
    needles = load_needles(str(path))
    asked = [ask(store, needle) for needle in needles[:3]]
    with pytest.raises(MediaError, match=r"not in the memory: lost\.jpg$"):
        ask(store, needles[3])
    for rule in ("default", "paper"):
        assert [a.answers[rule].verdict for a in asked[:2]] == ["yes", "yes"]
        assert [a.retrieved[rule] for a in asked[:2]] == [True, True]
        assert [a.right(rule) for a in asked[:2]] == [True, True]


def ask(store: Store, needle: Needle, seed: int = 0) -> NeedleAnswer:
    anchor, target = PHRASES[needle.anchor], PHRASES[needle.target]
    return ask_needle(haystack(store), PictureNames(store), needle, anchor, target, seed)


def test_of_equal_pictures_none_is_favoured(store: Store) -> None:
    fill(store, {f"{i}.jpg": [axis(0)] for i in range(4)})
    names = tuple(f"{i}.jpg" for i in range(4))
    for rule in ("default", "paper"):
        found = [ask(store, Needle(number, "0", "1", False, names, names[:1])) for number in range(200)]
        assert 30 < sum(one.retrieved[rule] for one in found) < 70  # a quarter, though it stands first
        again = [ask(store, Needle(number, "0", "1", False, names, names[:1])) for number in range(200)]
        assert [one.retrieved for one in found] == [one.retrieved for one in again]
    other = [ask(store, Needle(number, "0", "1", False, names, names[:1]), seed=1) for number in range(200)]
    assert [one.retrieved for one in found] != [one.retrieved for one in other]


def test_a_better_picture_is_found_wherever_it_stands(store: Store) -> None:
    fill(store, {f"{i}.jpg": [axis(0, 0.3)] if i != 2 else [axis(0), axis(1)] for i in range(5)})
    names = tuple(f"{i}.jpg" for i in (2, 0, 1, 3, 4))
    for number in range(20):
        found = ask(store, Needle(number, "0", "1", True, names, names[:1]))
        assert found.retrieved == {"default": True, "paper": True}
        assert [answer.verdict for answer in found.answers.values()] == ["yes", "yes"]


def test_a_question_is_read_as_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "vh.json"
    first = needle(["a.jpg", "b.jpg"], [], " dog ", " red ball\n", " No. ")
    second = {**needle([], ["c.jpg"], "x", "y", "YES"), "pos_image": "d.jpg"}
    path.write_text(json.dumps([first, second]))
    assert load_needles(str(path)) == [
        Needle(0, "dog", "red ball", False, ("a.jpg", "b.jpg"), ("a.jpg", "b.jpg")),
        Needle(1, "x", "y", True, ("d.jpg", "c.jpg"), ("d.jpg",)),
    ]


def test_an_answer_is_right_by_the_rule_that_gave_it() -> None:
    asked = Needle(0, "x", "y", False, (), ())
    answers = {rule: HaystackAnswer(verdict, None, None, 0) for rule, verdict in zip("abc", VERDICTS, strict=True)}
    assert [NeedleAnswer(asked, answers, {}).right(rule) for rule in "abc"] == [False, True, False]
    yes = replace(asked, answer=True)
    assert [NeedleAnswer(yes, answers, {}).right(rule) for rule in "abc"] == [True, False, False]


def test_each_question_has_its_own_haystack_over_several_folders(store: Store) -> None:
    fill(store, {"a.jpg": [axis(0), axis(1)], "b.jpg": [axis(2)]})
    fill(store, {"c.jpg": [axis(0, 0.5), axis(3)], "empty.jpg": []}, "/more")
    needles = [
        Needle(0, "0", "1", True, ("c.jpg", "a.jpg"), ("a.jpg",)),
        Needle(1, "0", "1", True, ("c.jpg", "b.jpg"), ("c.jpg",)),
        Needle(2, "0", "1", True, ("empty.jpg", "c.jpg"), ("empty.jpg",)),
        Needle(3, "0", "1", True, ("empty.jpg",), ("empty.jpg",)),  # a picture in which nothing stands out
    ]
    found = [ask(store, needle) for needle in needles]
    assert [one.answers["default"].verdict for one in found] == ["yes", "no", "no", "not found"]
    assert [one.answers["paper"].pictures for one in found] == [1, 1, 1, 0]
    assert [one.retrieved["paper"] for one in found] == [True, True, False, False]
    with pytest.raises(MediaError, match=r"not in the memory: lost\.jpg and 1 more"):
        ask(store, Needle(4, "0", "1", True, ("lost.jpg", "a.jpg", "gone.jpg"), ("a.jpg",)))


def test_the_longest_end_of_a_path_decides(store: Store) -> None:
    fill(store, {"x/a/1.jpg": [axis(0)], "y/a/1.jpg": [axis(1)], "a/1.jpg": [axis(2)]})
    names = PictureNames(store)
    assert names.find("x/a/1.jpg") == names.find("coco\\x\\a\\1.jpg") == (1, 0)
    assert names.find("/photos/y/a/1.jpg") == (1, PICTURE_NS)
    assert names.find("photos/a/1.jpg") == (1, 2 * PICTURE_NS)
    assert names.find("a/1.jpg") is None
    assert names.find("b/1.jpg") is None
    row = store.sources()[0].id
    copy = [PictureFile("x/again.jpg", 1, 2, 0), PictureFile("again.jpg", 1, 2, 0), PictureFile("bad.jpg", 1, 2, None)]
    store.checkpoint(row, Checkpoint(next_t_ns=0, frames_done=3, state="done", files=copy))
    names = PictureNames(store)
    assert names.find("again.jpg") == (1, 0)  # two files, one picture
    assert names.find("bad.jpg") is None


def test_names_that_fit_two_pictures_are_none(store: Store) -> None:
    fill(store, {"a/1.jpg": [axis(0)], "b/1.jpg": [axis(1)], "2.jpg": [axis(2)]})
    names = PictureNames(store)
    assert names.find("1.jpg") is None
    assert names.find("b/1.jpg") == names.find("coco/b/1.jpg") == (1, PICTURE_NS)
    assert names.find("train2017/2.jpg") == (1, 2 * PICTURE_NS)
    assert names.find("3.jpg") is None
    assert names.find("") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "is a list of questions"),
        ('{"a": 1}', "is a list of questions"),
        ('[{"needle": "dog"}]', "question 0 lacks one of pos_image"),
        (json.dumps([needle(["a"], [], "x", "y", "maybe")]), "neither yes nor no"),
        (json.dumps([needle([], ["b"], "x", "y", "yes")]), "neither yes nor no, or names nothing"),
        (json.dumps([needle(["a"], [3], "x", "y", "yes")]), "question 0 lacks"),
        (json.dumps([needle(["a", ""], [], "x", "y", "yes")]), "question 0 lacks"),
        (json.dumps([needle(["a"], [], " ", "y", "yes")]), "names nothing"),
        (json.dumps([needle(["a"], [], "x", "", "yes")]), "names nothing"),
        (json.dumps([needle(["a"], [], "x", "y", "yes"), needle(["a"], [], "x", "y", "")]), "question 1 says neither"),
        (json.dumps([{**needle(["a"], [], "x", "y", "yes"), "conversations": [{"value": "yes"}]}]), "question 0 lacks"),
    ],  # type: ignore[list-item]
)
def test_bad_files_fail(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "q.json").write_text(text)
    with pytest.raises(MediaError, match=message):
        load_needles(str(tmp_path / "q.json"))
    with pytest.raises(MediaError, match="cannot be read"):
        load_needles(str(tmp_path / "none.json"))
