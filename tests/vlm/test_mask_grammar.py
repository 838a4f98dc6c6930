"""The state machine that allows nothing but valid masks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidmem.errors import UsageError
from vidmem.export.textmask import MAX_CELLS, Label, build, decode, encode, wrap
from vidmem.vlm.grammar import MaskGrammar

NAMES = st.lists(st.text("ab |*#\\<é鼠\n", max_size=6) | st.just("others"), min_size=1, max_size=4, unique=True)


@st.composite
def masks(draw: st.DrawFn) -> tuple[MaskGrammar, str]:
    """A grammar, and the text of a mask of its grid with its labels."""
    names = [Label(name, draw(st.integers(0, 2))) for name in draw(NAMES)]
    h, w = draw(st.integers(1, 5)), draw(st.integers(1, 13))
    cells = draw(st.lists(st.integers(-1, len(names) - 1), min_size=h * w, max_size=h * w))
    return MaskGrammar((h, w), names), encode(build(np.array(cells).reshape(h, w), names))


@given(masks())
def test_every_mask_is_accepted_at_every_byte(drawn: tuple[MaskGrammar, str]) -> None:
    grammar, text = drawn
    state = grammar.start()
    for byte in wrap(text).encode():
        assert not grammar.finished(state)
        following = grammar.advance(state, bytes((byte,)))
        assert following is not None
        state = following
    assert grammar.finished(state)
    assert grammar.advance(state, "x") is None


@given(masks(), st.data())
def test_what_is_accepted_is_what_encode_writes(drawn: tuple[MaskGrammar, str], data: st.DataObject) -> None:
    """A walk over allowed bytes ends, and its text is the canonical one of its mask."""
    grammar, _ = drawn
    state, text = grammar.start(), b""
    while not grammar.finished(state):
        byte, state = data.draw(st.sampled_from(sorted(grammar.moves(state).items())))
        text += bytes((byte,))
        assert len(text) < 4000
    inner = text.decode().strip(" ").removeprefix("<seg>").removesuffix("</seg>")
    assert encode(decode(inner, grammar.grid)) == inner
    assert {*map(str, (label.name for label in decode(inner).labels))} <= {label.name for label in labels(grammar)}


def labels(grammar: MaskGrammar) -> list[Label]:
    return [*decode("".join(f"{word} *1| " for word in grammar.words)[:-2] + "\n").labels]


@given(masks(), st.data())
def test_a_changed_text_is_refused_unless_it_is_another_mask(
    drawn: tuple[MaskGrammar, str], data: st.DataObject
) -> None:
    grammar, text = drawn
    at = data.draw(st.integers(0, len(text) - 1))
    changed = text[:at] + data.draw(st.sampled_from(["", "1", "0", " ", "|", "a", "*", "\n"])) + text[at + 1 :]
    if grammar.accepts(wrap(changed)):
        assert encode(decode(changed, grammar.grid)) == changed
    assert not grammar.accepts(wrap(text[:-1]))  # cut short


@pytest.mark.parametrize(
    "text",
    [
        "cup *3\n others *4\n",  # a row too short
        "cup *5\n others *4\n",
        "cup *3| others *2\n others *4\n",
        "cup *4\n",  # a row is missing
        "cup *4\n others *4\n others *4\n",
        "cup *2| cup *2\n others *4\n",  # one run in two pieces
        "cup *04\n others *4\n",
        "cup *0| others *4\n others *4\n",
        "cat *4\n others *4\n",
        "cup*4\n others *4\n",
        "cup *4\nothers *4\n",
        "cup *4|others *4\n others *4\n",
        " cup *4\n others *4\n",
    ],
)
def test_texts_that_are_no_masks(text: str) -> None:
    grammar = MaskGrammar((2, 4), ["cup"], tags=False)
    assert grammar.accepts("cup *3| others *1\n others *4\n")
    assert not grammar.accepts(text)


def test_openings_may_stand_before_the_mask() -> None:
    grammar = MaskGrammar((1, 2), ["cup"], openings=("", "Here it is:\n", "There is no cup:\n"))
    for opening in ("", " ", "Here it is:\n", " There is no cup:\n"):
        assert grammar.accepts(f"{opening}<seg>cup *2\n</seg>")
    for opening in ("  ", "Here", "There is it:\n"):
        assert not grammar.accepts(f"{opening}<seg>cup *2\n</seg>")


def test_labels_of_which_one_begins_with_another() -> None:
    grammar = MaskGrammar((1, 4), ["cup", "cup holder", "oth", "others"], tags=False)
    assert grammar.words == ("others", "cup", "cup holder", "oth", "\\eothers")
    assert grammar.accepts("cup *1| cup holder *1| oth *1| others *1\n")
    assert grammar.accepts("\\eothers *4\n")
    assert not grammar.accepts("cup  *4\n")


def test_whole_words_as_tokens() -> None:
    grammar = MaskGrammar((1, 4), ["cup"], tags=False)
    words = ["cup", "others", " *", " ", "*", "1", "2", "3", "4", "5", "| ", "|", "\n", "", " *4\n"]
    allowed = {words[i] for i in grammar.allowed(grammar.start(), words)}
    assert allowed == {"cup", "others"}
    state = grammar.advance(grammar.start(), "cup *")
    assert state is not None
    assert {words[i] for i in grammar.allowed(state, words)} == {"1", "2", "3", "4"}
    state = grammar.advance(grammar.start(), "cup *2| ")
    assert state is not None
    assert {words[i] for i in grammar.allowed(state, words)} == {"others"}
    state = grammar.advance(state, "others")
    assert state is not None
    assert grammar.advance(state, " *4\n") is None
    assert grammar.advance(state, " *2\n") == grammar.advance(grammar.start(), "cup *4\n")


def test_wrong_grids_and_no_labels() -> None:
    for grid in ((0, 4), (4, -1), (MAX_CELLS, 2)):
        with pytest.raises(UsageError, match="a grid is 1 to"):
            MaskGrammar(grid, ["cup"])
    with pytest.raises(UsageError, match="at least one label"):
        MaskGrammar((2, 2), [])
    with pytest.raises(UsageError, match="must not hold <seg>"):
        MaskGrammar((2, 2), ["cup"], openings=("a <seg>",))
