"""Which text may follow in a mask: a state machine over bytes, for decoding that allows nothing but valid masks.

It accepts what `wrap(encode(mask))` of export/textmask.py can write for a grid and a list of labels: every row has the
grid's width, the number of rows is the grid's, and no run has the label of the run before it. So a text that it accepts
has one reading, and `decode` returns it. It knows no tokenizer: tokens may hold parts of words, split a count or a
character, and join several signs.

llguidance is light and much faster, but takes grammars, and a grammar cannot count: the sums have to be written
out as a rule for each width that is left and each label before it. This machine needs no library, serves decoders
without a tokenizer of transformers, finds dead ends of tokens that are words, and takes .1 ms a token at 150,000
tokens, where a step of a model takes several (benchmarks/vlm_grammar.py). xgrammar needs triton on Linux.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ..errors import UsageError
from ..export.textmask import CLOSE, MAX_CELLS, OPEN, OTHERS, Grid, Label, escape

_BAR, _BREAK, _SPACE, _ZERO = b"|\n 0"


class State(NamedTuple):
    """A place in the text of a mask. Equal states allow the same continuations.

    Attributes:
        phase: OPENING, LABEL, COUNT, BAR, BREAK, CLOSING or DONE.
        node: Node in the tree of openings or labels, or the number of bytes of the end tag that are written.
        rows: Rows that are not finished.
        width: Cells that are left in this row.
        label: Index of the label of this run, or of the run before it.
        value: What is written of the count of this run.
    """

    phase: int
    node: int = 0
    rows: int = 0
    width: int = 0
    label: int = -1
    value: int = 0


OPENING, LABEL, COUNT, BAR, BREAK, CLOSING, DONE = range(7)


class MaskGrammar:
    """The masks of a grid with some labels.

    Args:
        grid: Rows and columns.
        labels: The labels that cells may have beside background. Several things of one name are `Label`s with numbers.
        openings: Texts that may stand before the opening tag. A space may always stand before them, since some
            tokenizers begin with one.
        tags: The mask stands between the tags. Without tags there are no openings.

    Raises:
        UsageError: The grid is empty or too large, there are no labels, or an opening holds the tag.
    """

    def __init__(
        self, grid: Grid, labels: Sequence[Label | str], *, openings: Sequence[str] = ("",), tags: bool = True
    ) -> None:
        if min(grid) < 1 or grid[0] * grid[1] > MAX_CELLS:
            raise UsageError(f"a grid is 1 to {MAX_CELLS} cells, such as 16x16; got {grid[0]}x{grid[1]}")
        if not labels:
            raise UsageError("a mask needs at least one label")
        self.grid = grid
        given = [Label(label) if isinstance(label, str) else label for label in labels]
        written = [escape(name) + (f" #{number}" if number else "") for name, number in given]
        self.words = tuple(dict.fromkeys((OTHERS, *written)))
        """How background and the labels are written."""
        if any(OPEN in text for text in openings):
            raise UsageError(f"what stands before a mask must not hold {OPEN}")
        self._close = CLOSE.encode() if tags else b""
        self._edges: list[dict[int, int]] = []
        self._leaves: dict[int, int] = {}
        starts = dict.fromkeys(f"{space}{text}{OPEN}" for text in openings for space in ("", " ") if tags)
        self._opening = self._tree([text.encode() for text in starts], range(len(starts)))
        self._labels: dict[int, int] = {}
        self._moves: dict[State, dict[int, State]] = {}

    def start(self) -> State:
        """The state before the first byte."""
        first = State(OPENING, self._opening, *self.grid)
        return first if self._edges[self._opening] else self._row(self.grid[0])

    def finished(self, state: State) -> bool:
        """Return True if the text is complete."""
        return state.phase == DONE

    def advance(self, state: State, text: str | bytes) -> State | None:
        """The state after a text; None if it may not follow."""
        for byte in text.encode() if isinstance(text, str) else text:
            following = self.moves(state).get(byte)
            if following is None:
                return None
            state = following
        return state

    def allowed(self, state: State, texts: Sequence[str | bytes]) -> list[int]:
        """The indices of the texts that may follow; an empty text never may. `Vocabulary` is faster for many."""
        return [index for index, text in enumerate(texts) if text and self.advance(state, text) is not None]

    def accepts(self, text: str) -> bool:
        """Return True if a whole text is such a mask."""
        state = self.advance(self.start(), text)
        return state is not None and self.finished(state)

    def moves(self, state: State) -> Mapping[int, State]:
        """The bytes that may follow, and the state after each."""
        known = self._moves.get(state)
        if known is None:
            known = self._moves[state] = self._follow(state)
        return known

    def _follow(self, state: State) -> dict[int, State]:
        phase, node, rows, width, label, count = state
        if phase == OPENING:
            return {
                byte: self._row(rows) if to in self._leaves else State(OPENING, to, rows, width)
                for byte, to in self._edges[node].items()
            }
        if phase == LABEL:
            return {
                byte: State(COUNT, 0, rows, width, self._leaves[to])
                if to in self._leaves
                else State(LABEL, to, rows, width, label)
                for byte, to in self._edges[node].items()
            }
        if phase == COUNT:
            out = {
                _ZERO + digit: State(COUNT, 0, rows, width, label, more)
                for digit in range(10)
                if 0 < (more := 10 * count + digit) <= width
            }
            if count == width:
                out[_BREAK] = State(BREAK, 0, rows - 1) if rows > 1 else self._end(0)
            elif count:
                out[_BAR] = State(BAR, 0, rows, width - count, label)
            return out
        if phase == BAR:
            return {_SPACE: State(LABEL, self._label_tree(label), rows, width, label)}
        if phase == BREAK:
            return {_SPACE: self._row(rows)}
        if phase == CLOSING:
            return {self._close[node]: self._end(node + 1)}
        return {}

    def _row(self, rows: int) -> State:
        return State(LABEL, self._label_tree(-1), rows, self.grid[1])

    def _end(self, written: int) -> State:
        return State(CLOSING, written) if written < len(self._close) else State(DONE)

    def _label_tree(self, before: int) -> int:
        """The root of the tree of the labels that may follow the label `before`; -1 for a new row."""
        if before not in self._labels:
            indices = [index for index in range(len(self.words)) if index != before]
            self._labels[before] = self._tree([f"{self.words[index]} *".encode() for index in indices], indices)
        return self._labels[before]

    def _tree(self, texts: Sequence[bytes], values: Sequence[int]) -> int:
        """The root of a tree of texts, none of which begins with another; its leaves get the values."""
        root = len(self._edges)
        self._edges.append({})
        for text, value in zip(texts, values, strict=True):
            node = root
            for byte in text:
                if byte not in self._edges[node]:
                    self._edges[node][byte] = len(self._edges)
                    self._edges.append({})
                node = self._edges[node][byte]
            self._leaves[node] = value
        return root
