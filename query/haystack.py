"""One picture of many: which is it, and is something in it? After T-REN, section 4.1 ("Visual Haystacks").

The picture is that of the region most like the anchor, of all regions of all pictures. Rule "paper": its score does not
matter, and the target is there when a region of the picture has a cosine above PAPER_THRESHOLD to it. Rule "default":
both must pass the tests that `where` has for a single track, so that "no picture with the anchor" is an answer, too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..encoders.base import Calibration
from ..errors import UsageError
from ..records import Box
from ..store import Proof, Store, Vectors, Within
from ..store.vectors import Rows
from ..store.within import ALWAYS
from .question import Phrase
from .scores import Hits
from .search import among, find

Rule = Literal["default", "paper"]
RULES: tuple[Rule, Rule] = ("default", "paper")
Verdict = Literal["yes", "no", "not found"]

PAPER_THRESHOLD = 0.23
"""tau_sim of T-REN, section 4.1."""
NEAR_MISSES = 3
"""How many near misses an answer of "not found" has."""


@dataclass(frozen=True, slots=True)
class Region:
    """A region of a picture.

    paths: the files that hold the picture. width, height: of the upright picture, in pixels. box: x0, y0, x1, y1 in
    pixels. score: cosine to the phrase. recorded_ns, recorded_by: of the picture, see `Sighting`. digest: sha256 of
    each of the files. source_id, t_ns: its source and its place on the clock of that source.
    """

    paths: tuple[str, ...]
    width: int
    height: int
    box: Box
    score: float
    recorded_ns: int | None = None
    recorded_by: str = ""
    digest: bytes = b""
    source_id: int = 0
    t_ns: int = 0


@dataclass(frozen=True, slots=True)
class HaystackAnswer:
    """The answer to a question about one picture of many.

    anchor: the region that the picture was found by, None if there is none. target: the region of that picture most
    like the target, whether or not it is enough for a yes; None without regions. pictures: how many pictures have the
    anchor; with rule "paper" 1. near_misses: the pictures nearest to the anchor when none has it. proof: as in
    `Answer`.
    """

    verdict: Verdict
    anchor: Region | None
    target: Region | None
    pictures: int
    near_misses: tuple[Region, ...] = ()
    proof: Proof | None = None


class Haystack:
    """All single pictures of a memory, ready for questions."""

    def __init__(self, store: Store, cache: Vectors, calibration: Calibration) -> None:
        """Raises UsageError when the memory has no single pictures."""
        self._store, self._cache = store, cache
        self._calibration = calibration
        self._sources = [row.id for row in store.sources() if row.kind.single_pictures]
        if not self._sources:
            raise UsageError("the memory holds no photos; `vidmem index FOLDER` adds some")

    def rows(self, source_id: int, times: Sequence[int]) -> Rows:
        """The rows of the cache that are regions of these pictures, ascending."""
        own = self._cache.rows_of_source(source_id)
        return np.asarray(own[np.isin(self._cache.columns_of(own).start_ns, np.array(times, np.int64))], np.int64)

    def rows_of(self, pictures: Sequence[tuple[int, int]]) -> Rows:
        """The rows of the cache that are regions of these pictures, by the order of the pictures.

        pictures: Source id and time of each.
        """
        rank = {picture: number for number, picture in enumerate(pictures)}
        by_source: dict[int, list[int]] = {}
        for source, t_ns in rank:
            by_source.setdefault(source, []).append(t_ns)
        found = [self.rows(source, times) for source, times in by_source.items()]
        rows = np.sort(np.concatenate(found)) if found else np.zeros(0, np.int64)
        place = np.array([rank[picture] for picture in self._pictures(rows)], np.int64)
        return np.asarray(rows[np.argsort(place, kind="stable")], np.int64)

    def ask(self, anchor: Phrase, target: Phrase, rule: Rule = "default", rows: Rows | None = None) -> HaystackAnswer:
        """The picture with `anchor`, and whether `target` is in it.

        Of equal regions the one indexed first counts, or the one that comes first in `rows`.

        Args:
            anchor: What the picture is known by.
            target: What is looked for in it.
            rule: See the module.
            rows: Choose among these regions; None for those of all pictures.

        Raises:
            UsageError: an unknown rule.
        """
        if rule not in RULES:
            raise UsageError(f"there is no rule {rule!r}; there are {' and '.join(RULES)}")
        hits = self._anchored(anchor, rule, rows)
        if not len(hits):
            near = self._nearest(anchor, NEAR_MISSES, rows)
            return HaystackAnswer("not found", None, None, 0, tuple(self._regions(near)))
        best = int(np.argmax(hits.score))
        ((source, t_ns),) = self._pictures(hits.rows[best : best + 1])
        inside = self.rows(source, [t_ns])
        scored, found = among(self._cache, self._calibration, inside, target)
        if rule == "paper":
            found = scored.score > np.float32(PAPER_THRESHOLD)
        # A region that counts as found comes before one with a higher score that does not; scores are within 1 of 0.
        top = int(np.argmax(np.where(found, scored.score + 4, scored.score)))
        first = self._regions(hits.take(np.array([best])))
        second = self._regions(scored.take(np.array([top])))
        if not first or not second:  # removed by another process since the cache was read
            return HaystackAnswer("not found", None, None, 0)
        pictures = 1 if rule == "paper" else len(set(self._pictures(hits.rows)))
        return HaystackAnswer("yes" if found.any() else "no", first[0], second[0], pictures)

    def _anchored(self, anchor: Phrase, rule: Rule, rows: Rows | None) -> Hits:
        """The regions that the picture may be chosen by."""
        if rule == "paper":
            return self._nearest(anchor, 1, rows)
        if rows is not None:
            hits, found = among(self._cache, self._calibration, rows, anchor)
            return hits.take(found)
        hits = find(self._cache, self._calibration, anchor.text, None, anchor.contrast)
        return hits.take(np.isin(self._cache.columns_of(hits.rows).source_ids, self._sources))

    def _nearest(self, anchor: Phrase, pictures: int, rows: Rows | None) -> Hits:
        """The best region of each of the pictures most like the anchor, best first."""
        if rows is None:
            count, held = 16 * pictures, Within(dict.fromkeys(self._sources, ALWAYS))
            while True:
                found, scores = self._cache.top("text", anchor.text, count, held)
                if len(found) < count or len(self._first_of_each(found)) >= pictures:
                    break
                count *= 4  # the top rows are of too few pictures
        else:
            scores = self._cache.scores("text", anchor.text, rows)
            order = np.argsort(-scores, kind="stable")
            found, scores = rows[order], scores[order]
        first = self._first_of_each(found)[:pictures]
        return Hits(found[first], scores[first])

    def _first_of_each(self, rows: Rows) -> NDArray[np.intp]:
        """Positions in `rows` of the first region of each picture."""
        columns = self._cache.columns_of(rows)
        keys = np.stack([columns.source_ids, columns.start_ns])
        return np.sort(np.unique(keys, axis=1, return_index=True)[1])

    def _pictures(self, rows: Rows) -> list[tuple[int, int]]:
        """The source and the time of the picture of each row."""
        columns = self._cache.columns_of(rows)
        return list(zip(columns.source_ids.tolist(), columns.start_ns.tolist(), strict=True))

    def _regions(self, hits: Hits) -> list[Region]:
        """The regions with their files; those that another process removed meanwhile are left out."""
        ids = self._cache.columns_of(hits.rows).ids.tolist()
        tracks = {t.id: t for t in self._store.tracks(ids)}
        out = []
        for number, score in zip(ids, hits.score.tolist(), strict=True):
            track = tracks.get(number)
            if track is None:
                continue
            held = self._store.picture(track.source_id, track.start_ns)
            paths = self._store.picture_paths(track.source_id, [track.start_ns]).get(track.start_ns, [])
            if held is not None:
                out.append(
                    Region(
                        tuple(paths),
                        held.width,
                        held.height,
                        track.best_box,
                        score,
                        held.recorded_ns,
                        held.recorded_by,
                        held.digest,
                        track.source_id,
                        track.start_ns,
                    )
                )
        return out


QUESTION_FORM = '"the image with the dog: is there a frisbee?", or `anchor` dog and `target` frisbee'

_PICTURE = r"(?:image|picture|photo(?:graph)?|shot|one)"
_WITH = r"(?:with|containing|of|showing|(?:that|which)\s+(?:has|have|shows|contains)|where\s+there\s+is)"
_ASKED = (
    r"(?:is|are|was|were)\s+there(?:\s+also)?|do(?:es)?\s+(?:it|the\s+" + _PICTURE + r")\s+(?:also\s+)?"
    r"(?:show|have|contain|include)|(?:do|can)\s+you\s+(?:also\s+)?see|(?:is|are)\s+it\s+(?:with|showing)"
)
_TAIL = r"(?:\s+(?:in\s+(?:it|there|(?:that|this|the)\s+" + _PICTURE + r")|as\s+well|too|there|visible|present))*"
_FIRST = re.compile(
    rf"(?:(?:for|in|on|of|take|look\s+at|given|find)\s+)?(?:the|an?|that|this)\s+{_PICTURE}\s+{_WITH}\s+(?P<anchor>.+?)"
    rf"\s*[:;,.\-–—]\s*(?:then\s+|and\s+)?(?:{_ASKED})\s+(?P<target>.+?){_TAIL}\s*[?.!]*",
    re.IGNORECASE | re.DOTALL,
)
_LAST = re.compile(
    rf"(?:{_ASKED})\s+(?P<target>.+?)\s+(?:in|on)\s+(?:the|an?|that|this)\s+{_PICTURE}\s+{_WITH}\s+(?P<anchor>.+?)"
    r"\s*[?.!]*",
    re.IGNORECASE | re.DOTALL,
)
_MANY = re.compile(rf"\b(?:all|any|every|each)\s+(?:the\s+|of\s+the\s+)?{_PICTURE}s?\b", re.IGNORECASE)
_ARTICLE = re.compile(r"^(?:(?:the|an?|any|some|my|your)\s+)+(?=\S)", re.IGNORECASE)


def split_question(question: str) -> tuple[str, str]:
    """Anchor and target of a question, without articles.

    "the image with the dog: is there a frisbee?" gives dog and frisbee. The form is that of Visual Haystacks' questions
    with one needle ("For the image with a truck, is there a dog?", arXiv 2407.13766), and what people write in its
    place.

    Raises:
        UsageError: the question cannot be split, or is about several pictures; the message has the form to use.
    """
    text = " ".join(question.split())
    if _MANY.search(text):
        raise UsageError(
            f"a question about several pictures is not answered; ask about one: {QUESTION_FORM}; got {text[:80]!r}"
        )
    match = _FIRST.fullmatch(text) or _LAST.fullmatch(text)
    if match is None:
        raise UsageError(f"the question cannot be split; write {QUESTION_FORM}; got {text[:80]!r}")
    return _ARTICLE.sub("", match["anchor"]).strip(), _ARTICLE.sub("", match["target"]).strip()
