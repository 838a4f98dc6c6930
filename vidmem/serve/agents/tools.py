"""The tools that read: `where`, `timeline`, `things`, `haystack`, `sources`; `look` is in look.py.

They give what `Memory` and the command line give. A result has a structured part with a schema, a text that says the
same in few words, a picture, and links. What was not seen is an answer, not an error.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from mcp_types import CallToolResult
from PIL import Image

from ...errors import MediaError, UnknownWordError, UsageError
from ...query import arguments as parsing
from ...query.documents import (
    ThingsDocument,
    haystack_document,
    things_document,
    timeline_document,
    where_document,
)
from ...query.haystack import split_question
from ...query.source_documents import source_document
from ...records import Box
from ...store import Store
from . import arguments as args
from . import results, texts
from .desk import Desk
from .faults import told
from .links import image, links
from .looking import haystack_picture
from .offers import Offer, answered, offer
from .pictures import jpeg
from .places import find_source, find_sources, listed_names
from .results import HaystackResult, SourcesResult, TimelineResult, WhereResult, unknown
from .stored import sighting_of

MAX_PICTURES = 12
"""Sightings or things on one picture; of more, each would be too small."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The tools, bound to a desk. Their docstrings are what models read."""

    desk: Desk

    async def where(
        self,
        text: args.Text = None,
        like: args.Like = None,
        source: args.SourceList = None,
        after: args.After = None,
        before: args.Before = None,
        near: args.Near = None,
        min_probability: args.MinProbability = None,
        top: args.Top = 1,
        picture: args.Picture = True,
    ) -> CallToolResult:
        """Find when and where a thing was last seen in the indexed videos and photos.

        Give `text`, or `like`, or both. The answer has the newest sighting: the video or photo, the seconds from and to
        which the thing was in view, its box in pixels, the date if it is known, the probability that it is what you
        asked for, and a picture. If nothing counts as found, `found` is false and `near_misses` has the best
        candidates: look at their picture before you say that the thing was not seen. `likelier` is an older sighting
        that fits better than the newest one. `unknown` means that the encoder does not know the word; ask again with
        one of the names it lists.

        Use `timeline` for all sightings and `things` if you do not know what to ask for. Pass the `id` of a sighting to
        `look` to see it in other ways.
        """
        asked = text or "what looks like this"

        def work() -> tuple[WhereResult, Callable[[], Image.Image] | None]:
            filters = self._filters(text, like, source, after, before, near, min_probability)
            try:
                answer = self.desk.memory.where(text, top=top, **filters)
            except UnknownWordError as error:
                query = {"text": text, "image": None, "crop": None}
                return WhereResult(False, query, [], [], None, 0, [str(error)], unknown=unknown(error)), None
            result = results.where_result(where_document(answer))
            if len(answer) == 1:
                return result, lambda: self.desk.memory.picture(answer[0], asked)
            if answer:
                return result, lambda: self.desk.memory.sheet(answer[:MAX_PICTURES], asked, total=answer.total)
            near_misses, heading = answer.near_misses, "the nearest misses, the best first; none counts as found"
            if not near_misses:
                return result, None
            return result, lambda: self.desk.memory.sheet(near_misses, f"not found: {asked}", heading=heading)

        result, drawing = await self.desk.ask(work)
        shown, reason = await self._drawn(drawing if picture else None)
        if reason:
            result = replace(result, notes=[*result.notes, reason])
        found = result.sightings or result.near_misses
        return answered(texts.where_text(result, asked), result, image(shown), *links(found))

    async def timeline(
        self,
        text: args.Text = None,
        like: args.Like = None,
        source: args.SourceList = None,
        after: args.After = None,
        before: args.Before = None,
        near: args.Near = None,
        min_probability: args.MinProbability = None,
        alike: args.Alike = False,
        top: args.ThingCount = 10,
        sightings: args.SightingCount = 10,
        picture: args.Picture = True,
    ) -> CallToolResult:
        """List all sightings of a thing, grouped into instances that look alike.

        Use it for "how often", "since when", "which of them", and to compare one thing over time. Instances are told
        apart by their looks: something that leaves the view and comes back is one instance. It takes the same questions
        as `where`. `total` counts the instances and `seen` the sightings of each, however many are given. The picture
        has a lane for each instance, with a bar for each video.
        """
        asked = text or "what looks like this"

        def work() -> tuple[TimelineResult, Callable[[], Image.Image] | None]:
            filters = self._filters(text, like, source, after, before, near, min_probability)
            try:
                things = self.desk.memory.timeline(text, alike=alike, **filters)
            except UnknownWordError as error:
                return TimelineResult(False, [], notes=[str(error)], unknown=unknown(error)), None
            missed = () if things.proof is None else things.proof.notes
            notes = [*([] if text is None else self._notes(text)), *missed]
            result = results.timeline_result(timeline_document(things), top, sightings, notes)
            if not things:
                return result, None
            return result, lambda: self.desk.memory.timeline_sheet(things[: min(top, MAX_PICTURES)], asked)

        result, drawing = await self.desk.ask(work)
        shown, reason = await self._drawn(drawing if picture else None)
        if reason:
            result = replace(result, notes=[*result.notes, reason])
        newest = [thing.sightings[0] for thing in result.things]
        return answered(texts.timeline_text(result, asked), result, image(shown), *links(newest))

    async def things(
        self,
        source: args.SourceList = None,
        after: args.After = None,
        before: args.Before = None,
        newest: args.Newest = False,
        min_probability: args.MinProbability = None,
        top: args.ThingCount = MAX_PICTURES,
        offset: args.Offset = 0,
        picture: args.Picture = True,
    ) -> CallToolResult:
        """List the things in the memory, with a guess at their names.

        Use it to find out what is there to ask about, or what was in view at some time. For each thing: its probable
        name, how long it was in view, how often, and its newest and its best sighting. Where `named` is false, the name
        is only a guess: look at the picture. `total` counts all things; read on with `offset`. The picture has the best
        view of each of the first 12.
        """

        def work() -> tuple[ThingsDocument, Callable[[], Image.Image] | None]:
            rows = find_sources(self.desk.store, listed_names(source))
            found = self.desk.memory.things(
                *(row.uri for row in rows),
                after=after,
                before=before,
                newest=newest,
                min_probability=min_probability,
                top=top,
                offset=offset,
            )
            shown = replace(found, things=found.things[:MAX_PICTURES])
            result = results.things_result(things_document(found))
            return result, (lambda: self.desk.memory.things_sheet(shown, "things in the memory")) if shown else None

        result, drawing = await self.desk.survey(work)
        shown, reason = await self._drawn(drawing if picture else None)
        if reason:
            result = replace(result, notes=[*result.notes, reason])
        return answered(texts.things_text(result, offset), result, image(shown))

    async def haystack(
        self,
        question: args.HaystackQuestion = None,
        anchor: args.Anchor = None,
        target: args.Target = None,
        rule: args.Rule = "default",
        picture: args.Picture = True,
    ) -> CallToolResult:
        """Find the one photo of many that shows the anchor, and say whether the target is in it, too.

        Only for folders of photos, not for videos. The answer is "yes", "no" or "not found", which means that no photo
        has the anchor; then `near_misses` are the nearest photos. The picture is the photo with both boxes.
        """
        if (question is None) == (anchor is None and target is None):
            raise UsageError("give `question`, or `anchor` and `target`, such as dog and frisbee")
        first, second = (anchor, target) if question is None else split_question(question)
        if first is None or second is None:
            raise UsageError("`anchor` and `target` go together: what identifies the photo, and what to look for in it")
        asked_for, wanted = first, second

        def work() -> tuple[HaystackResult, Callable[[], Image.Image] | None]:
            try:
                answer = self.desk.memory.haystack(asked_for, wanted, rule=rule)
            except UnknownWordError as error:
                empty = results.nothing_found(asked_for, wanted)
                return replace(empty, notes=[str(error)], unknown=unknown(error)), None
            missed = () if answer.proof is None else answer.proof.notes
            notes = [*self._notes(asked_for), *self._notes(wanted), *missed]
            result = results.haystack_result(haystack_document(answer, asked_for, wanted), notes)
            if answer.anchor is None:
                return result, None
            return result, lambda: haystack_picture(answer, asked_for, wanted)

        result, drawing = await self.desk.ask(work)
        shown, reason = await self._drawn(drawing if picture else None)
        if reason:
            result = replace(result, notes=[*result.notes, reason])
        return answered(texts.haystack_text(result), result, image(shown))

    async def sources(self, top: args.SourceCount = 50, offset: args.Offset = 0) -> CallToolResult:
        """List the videos and photos in the memory, and say what its encoder knows.

        Call it first if you do not know the memory. For each source: its id, file, kind, length, size in pixels, when
        it was recorded and how that is known, and whether it is indexed to its end. Questions about a source that is
        not listed here cannot be answered.
        """

        def work() -> SourcesResult:
            memory, rows = self.desk.memory, self.desk.store.sources()
            info = memory.text_encoder.info
            return SourcesResult(
                memory=self.desk.store.folder.name,
                encoder=info.name,
                knows=info.knows,
                any_phrase=info.open_vocabulary,
                calibrated=memory.calibration.probability is not None,
                total=len(rows),
                sources=[source_document(row) for row in rows[offset : offset + top]],
            )

        result = await self.desk.ask(work)
        return answered(texts.sources_text(result, offset), result)

    def _filters(
        self,
        text: str | None,
        like: str | None,
        source: int | str | list[int | str] | None,
        after: str | None,
        before: str | None,
        near: str | list[str] | None,
        min_probability: float | None,
    ) -> dict[str, Any]:
        """The arguments of `Memory.where` besides the text, with sources as paths."""
        if text is None and like is None:
            raise UsageError("nothing is asked for; give `text`, such as 'cup', or `like`")
        store = self.desk.store
        out: dict[str, Any] = {"after": after, "before": before, "min_probability": min_probability}
        out["sources"] = [row.uri for row in find_sources(store, listed_names(source))]
        out["near"] = near or ()
        if like is not None:
            if "@" in like:
                out["crop"] = _crop(store, like)
            else:
                seen = sighting_of(store, like.strip())
                out["crop"] = (seen.source, seen.frame_ns, seen.box)
        return out

    def _notes(self, phrase: str) -> list[str]:
        """How the encoder read a phrase that it does not take literally."""
        note = self.desk.memory.reading(phrase).note
        return [f"{phrase!r}: {note}"] if note else []

    async def _drawn(self, drawing: Callable[[], Image.Image] | None) -> tuple[bytes | None, str]:
        """The JPEG of a drawing, and a note that says why there is none."""
        if drawing is None:
            return None, ""
        try:
            return await self.desk.draw(lambda: jpeg(drawing())), ""
        except MediaError as error:
            return None, f"there is no picture: {told(error)}"


def _crop(store: Store, like: str) -> tuple[str, int, Box]:
    """The path of a source, a time and a box, from SOURCE@TIME:X,Y,W,H."""
    try:
        name, t_ns, box = parsing.crop(like)
    except UsageError as error:
        form = "the id of a sighting, or SOURCE@TIME:X,Y,W,H such as 3@12.5s:100,80,60,60"
        raise UsageError(f"`like` is {form}; got {parsing.got(like)}") from error
    return find_source(store, name).uri, t_ns, box


def reading_tools(desk: Desk) -> list[Offer]:
    """The tools of this module."""
    tools = Reading(desk)
    return [
        offer(tools.where, WhereResult, "Find where a thing was last seen", 'where(text="cup")'),
        offer(tools.timeline, TimelineResult, "List all sightings of a thing", 'timeline(text="cup")'),
        offer(tools.things, ThingsDocument, "List what is in the memory", "things(newest=true)"),
        offer(tools.haystack, HaystackResult, "Ask about one of many photos", 'haystack(anchor="dog", target="ball")'),
        offer(tools.sources, SourcesResult, "List the videos and photos", "sources()"),
    ]
