"""Questions for masks, and what answers mean, with a model that answers as it is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from vidmem.errors import UsageError
from vidmem.export.textmask import build, encode, wrap
from vidmem.vlm.answer import Answer
from vidmem.vlm.ask import MAX_PHRASE, ask_mask, question, token_limit
from vidmem.vlm.grammar import MaskGrammar

IMAGE = np.zeros((40, 80, 3), np.uint8)


@dataclass
class Told:
    """An `Asker` that answers with a text."""

    text: str
    cut: bool = False
    name: str = "told"
    asked: list[Any] = field(default_factory=list)

    def ask(
        self, image: NDArray[np.uint8], question: str, *, max_tokens: int, grammar: MaskGrammar | None = None
    ) -> Answer:
        self.asked.append((question, max_tokens, grammar))
        return Answer(self.text, 5, 0.1, self.cut)


def told(text: str, phrase: str = "cup", cut: bool = False, **options: Any) -> Any:
    return ask_mask(Told(text, cut), IMAGE, phrase, grid=(4, 4), **{"constrained": False, **options})


CUP = wrap(encode(build(np.array([[-1, -1, -1, -1], [-1, 0, 0, -1], [-1, 0, 0, -1], [-1, -1, -1, -1]]), ["cup"])))


def test_the_mask_has_the_size_of_the_picture() -> None:
    asked = told(f"The mask:\n{CUP}")
    want = np.zeros((40, 80), bool)
    want[10:30, 20:60] = True
    np.testing.assert_array_equal(asked.mask, want)
    assert asked.reading.problems == ()
    assert (asked.phrase, asked.refined, asked.readable) == ("cup", False, True)


def test_an_empty_mask_is_an_answer_and_prose_is_none() -> None:
    empty = told("I see no cup; the mask is empty:\n" + wrap("\n ".join(["others *4"] * 4) + "\n"))
    assert empty.readable
    assert not empty.mask.any()
    assert empty.reading.problems == ()
    for text in ("There is no cup.", "", "**No** cup | here", "1 * 2 * 3"):
        prose = told(text)
        assert not prose.mask.any()
        assert prose.reading.problems


def test_what_was_repaired_is_reported() -> None:
    asked = told("<seg>others *4\n others *1| cup *9\n others *1| cup *2", cut=True)
    assert asked.mask.any()
    assert asked.reading.problems == (
        "the end tag is missing; the answer was cut short",
        "3 rows, want 4",
        "a row is too long and was cut",
        "a row is too short and was filled up with its last label",
        "the answer reached the limit of tokens and was cut",
    )


@pytest.mark.parametrize(
    ("label", "phrase", "taken"),
    [
        ("cup", "the cup left of the kettle", True),
        ("Cup", "cup", True),
        ("kettel", "kettle", True),
        ("dog", "the cup left of the kettle", False),
        ("teacup", "the red cup", False),
        ("a|b", "a|b", True),
        ("2*3", "2*3", True),
    ],
)
def test_other_labels(label: str, phrase: str, taken: bool) -> None:
    text = wrap(encode(build(np.zeros((4, 4), np.int32), [label])))
    asked = told(text, phrase)
    assert asked.mask.all() if taken else not asked.mask.any()
    assert bool(asked.reading.problems) == (label.lower() != phrase)


def test_of_two_other_labels_none_is_taken() -> None:
    asked = told("<seg>" + "\n ".join(["cup *2| kettle *2"] * 4) + "\n</seg>", "the cup left of the kettle")
    assert not asked.mask.any()
    asked = told("<seg>" + "\n ".join(["cup *2| cup left of the kettle *2"] * 4) + "\n</seg>", "cup left of the kettle")
    assert asked.mask[:, 40:].all()
    assert not asked.mask[:, :40].any()


def test_a_mask_in_the_thoughts_before_the_answer_is_not_the_answer() -> None:
    other = CUP.replace("cup", "dog")
    for text in (f"<think>maybe {other}</think>{CUP}", f"<think>maybe <seg>dog *16</seg></think>{CUP}"):
        asked = told(text)
        assert asked.mask[:, 20:60].any()
        assert asked.instead == ()
        assert asked.reading.problems[0].startswith("the answer has 2 masks")


def test_masks_of_other_things_alone_are_named() -> None:
    asked = told(CUP.replace("cup", "dog"))
    assert (asked.instead, asked.readable, asked.mask.any()) == (("dog",), True, False)
    assert told(wrap("\n ".join(["others *4"] * 4) + "\n")).instead == ()
    assert told(CUP).instead == ()


def test_questions() -> None:
    assert question("the red cup", (16, 16)) == "Show me with a mask: the red cup."
    told = question("the red cup", (16, 24), say_grid=True)
    assert told == "Show me with a mask: the red cup. The grid has 16 rows of 24 cells."
    described = question("a|b", (24, 32), describe=True)
    assert "24 rows and 32 columns" in described
    assert "`a\\pb`" in described
    assert "others *24| a\\pb *8" in described


def test_what_the_model_is_given() -> None:
    asker = Told("Here is the mask:\n" + CUP)
    ask_mask(asker, IMAGE, " cup\n", grid=(4, 4), describe=True, max_tokens=77)
    ((asked, limit, grammar),) = asker.asked
    assert asked == question("cup", (4, 4), describe=True)
    assert limit == 77
    assert grammar.grid == (4, 4)
    for text in (asker.text, CUP, "There is no cup here:\n" + CUP):
        assert grammar.accepts(text)
    ask_mask(asker, IMAGE, " cup\n", constrained=False)
    assert asker.asked[1][1:] == (token_limit((16, 16)), None)


def test_phrases_that_are_none() -> None:
    for phrase in ("", " \n", "x" * (MAX_PHRASE + 1)):
        with pytest.raises(UsageError, match="`ask` takes a phrase"):
            told(CUP, phrase)


def test_a_refiner_gets_the_mask_unless_it_is_empty() -> None:
    class Shrinks:
        """Finds the left half of any mask."""

        pictures = 0

        def set_image(self, image: NDArray[np.uint8]) -> None:
            self.pictures += 1

        def predict(self, **given: Any) -> Any:
            mask = np.zeros((1, 40, 80), bool)
            mask[0, 10:30, 20:40] = True
            return mask, np.ones(1), np.zeros((1, 256, 256), np.float32)

    refiner = Shrinks()
    asked = told(CUP, refiner=refiner)
    assert asked.refined
    assert asked.mask.sum() == 20 * 20
    empty = told(wrap("\n ".join(["others *4"] * 4) + "\n"), refiner=refiner)
    assert not empty.refined
    assert refiner.pictures == 1
