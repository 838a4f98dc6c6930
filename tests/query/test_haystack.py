"""One picture of many, against brute force, and the question file of Visual Haystacks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from store.making import DT, MODEL, frame, info, track

from vidmem.encoders import Calibration
from vidmem.errors import MediaError, UsageError
from vidmem.query.haystack import PAPER_THRESHOLD, Haystack
from vidmem.query.question import Phrase
from vidmem.query.visual_haystacks import PictureNames, ask_all, load_needles
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
    missing: set[str] = set()
    asked = list(ask_all(haystack(store), PictureNames(store), needles, PHRASES, missing))
    assert missing == {"lost.jpg"}
    assert [a.needle.number for a in asked] == [0, 1, 2]
    for rule in ("default", "paper"):
        assert [a.answers[rule].verdict for a in asked] == ["yes", "yes", "no"]
    assert [a.retrieved for a in asked] == [True, True, False]
    assert [a.right("paper") for a in asked] == [True, True, True]


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
        ("{", "are not JSON"),
        ("[]", "is a list of questions"),
        ('{"a": 1}', "is a list of questions"),
        ('[{"needle": "dog"}]', "question 0 lacks one of pos_image"),
        (json.dumps([needle(["a"], [], "x", "y", "maybe")]), "neither yes nor no"),
        (json.dumps([needle([], ["b"], "x", "y", "yes")]), "neither yes nor no, or names nothing"),
        (json.dumps([needle(["a"], [3], "x", "y", "yes")]), "question 0 lacks"),
    ],  # type: ignore[list-item]
)
def test_bad_files_fail(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "q.json").write_text(text)
    with pytest.raises(MediaError, match=message):
        load_needles(str(tmp_path / "q.json"))
    with pytest.raises(MediaError, match="cannot be read"):
        load_needles(str(tmp_path / "none.json"))
