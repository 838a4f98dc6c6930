"""Questions about one of many pictures."""

from __future__ import annotations

import pytest

from vidmem.errors import UsageError
from vidmem.query.haystack import split_question


@pytest.mark.parametrize(
    ("question", "anchor", "target"),
    [
        ("the image with the dog: is there a frisbee?", "dog", "frisbee"),
        ("For the image with a truck, is there a dog?", "truck", "dog"),  # as in Visual Haystacks
        ("In the picture with my red mug, are there any books in it?", "red mug", "books"),
        ("look at the photo that shows a cat; does it contain a sofa", "cat", "sofa"),
        ("Is there a dining table in the image with the traffic light?", "traffic light", "dining table"),
        ("the photograph of an old car, can you see a driver as well?", "old car", "driver"),
        ("the one with a cake - is there also a candle?", "cake", "candle"),
        ("the  image with\nthe dog:  is there a ball?", "dog", "ball"),
        ("the image with the собака: is there a мяч?", "собака", "мяч"),
        ("the image with 犬: is there 皿?", "犬", "皿"),
        ("the image with a dog, a cat: is there a ball?", "dog, a cat", "ball"),
    ],
)
def test_split(question: str, anchor: str, target: str) -> None:
    assert split_question(question) == (anchor, target)


@pytest.mark.parametrize(
    "question",
    [
        "",
        "dog",
        "is there a frisbee?",
        "the image with the dog",
        "the image with: is there a frisbee?",
        "the image with the dog: what is it doing?",
        "где собака?",
        "the image with the dog: is there",
    ],
)
def test_what_cannot_be_split_fails(question: str) -> None:
    with pytest.raises(UsageError, match=r"cannot be split; write \"the image.*`anchor` dog and `target` frisbee"):
        split_question(question)


@pytest.mark.parametrize(
    "question",
    ["For all images with a truck, do all of them contain a dog?", "For any image with a cat, is there a dog?"],
)
def test_questions_about_several_pictures_fail(question: str) -> None:
    with pytest.raises(UsageError, match="about several pictures is not answered"):
        split_question(question)


def test_a_long_question_fails_fast() -> None:
    with pytest.raises(UsageError, match="cannot be split"):
        split_question("the image with " + "the dog, " * 3000)
