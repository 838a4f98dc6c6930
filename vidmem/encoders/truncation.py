"""Cut phrases that are longer than a text tower reads, at a word, with a warning."""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections.abc import Callable

from ..errors import UsageError

_log = logging.getLogger(__name__)


class Cutting:
    """Cuts phrases to the length that a text tower reads.

    count: Tokens of a phrase with start, end and the longest prompt; it must not fall when words are added.
    most: Tokens that the tower reads.
    """

    def __init__(self, count: Callable[[str], int], most: int) -> None:
        self._count, self._most = count, most
        self._told: set[str] = set()

    def fits(self, phrase: str) -> bool:
        return self._count(phrase) <= self._most

    def __call__(self, phrase: str) -> str:
        """The phrase, or as many of its first words as fit. Logs a warning once for each phrase that is cut.

        Raises:
            UsageError: Not even the first word fits.
        """
        if self.fits(phrase):
            return phrase
        words = phrase.split()
        kept = bisect_right(range(1, len(words) + 1), self._most, key=lambda n: self._count(" ".join(words[:n])))
        if not kept:
            cause = f"the phrase's first word alone has {self._count(words[0])} tokens, at most {self._most} fit"
            raise UsageError(f"{cause}; shorten it: {phrase[:60]!r}")
        if phrase not in self._told:
            self._told.add(phrase)
            cause = f"the phrase has {self._count(phrase)} tokens with its prompt, at most {self._most} fit"
            last = " ".join(words[max(kept - 3, 0) : kept])
            _log.warning(f"{cause}; its first {kept} words count, up to {last!r}")
        return " ".join(words[:kept])
