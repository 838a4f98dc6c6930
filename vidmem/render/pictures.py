"""What a memory shows: sheets, timelines, explanations and clips of what was found."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import MediaError
from ..query import arguments
from ..query.query import Query
from ..records import Sighting, SourceKind
from ..timecode import NS

if TYPE_CHECKING:
    from PIL import Image

    from ..query.inventory import Inventory
    from ..query.where import Thing
    from .explain import Explained


class Pictures:
    """Pictures of what a query found; `Memory` offers them as its own."""

    def __init__(self, query: Query) -> None:
        self._query, self.store = query, query.store

    def picture(self, sighting: Sighting, title: str = "", *, others: Sequence[Sighting] = ()) -> Image.Image:
        """A contact sheet of `sighting` from its video: the frame with its box, close-ups, the timeline.

        others: more sightings for the timeline; those in other sources are left out. Raises MediaError when the video
        is gone or damaged.
        """
        from ..media import open_source
        from .contact_sheet import contact_sheet, details, moments

        arguments.sighting(sighting)
        arguments.text("title", title)
        arguments.sightings("others", others)
        if sighting.picture is not None:
            from .boxes import boxes_picture
            from .frames import likely

            return boxes_picture(sighting.picture, title, details(sighting), [(likely(sighting), sighting.box)])
        self._check_at_hand(sighting)
        length = self.store.source(sighting.source).duration_ns
        seen = moments(self.store, sighting)
        same = [other for other in others if other.source == sighting.source and other != sighting]
        with open_source(sighting.source) as source:
            return contact_sheet(source, sighting, title, moments=seen, others=same, duration_ns=length)

    def sheet(
        self, sightings: Sequence[Sighting], title: str = "", *, total: int | None = None, heading: str = ""
    ) -> Image.Image:
        """All of these sightings on one page, the first 60, each with its picture, its probability and its time; where
        a video is gone, that stands in its place. total: how many there are in all, by default so many. heading: what
        to say of them, by default their number."""
        from .grid import sightings_sheet

        arguments.text("title", title)
        arguments.text("heading", heading)
        shown = arguments.sightings("sightings", sightings)
        count = len(shown) if total is None else arguments.whole("total", total, 0)
        return sightings_sheet(shown, title, count, heading=heading, live=self._live())

    def things_sheet(self, things: Inventory, title: str = "") -> Image.Image:
        """What `things` found on one page, the first 60: the best view of each, its name, and when it was seen last."""
        from ..query.inventory import Inventory
        from .grid import things_sheet

        arguments.made("things", things, Inventory, "what `things` gives")
        arguments.text("title", title)
        return things_sheet(things, title, things.total, live=self._live())

    def timeline_sheet(self, things: Sequence[Thing], title: str = "timeline") -> Image.Image:
        """What `timeline` found on one page: a lane for each thing, the 24 seen last, with its picture and a bar for
        each video."""
        from ..query.where import Thing
        from .timeline import timeline_picture

        arguments.text("title", title)
        for thing in arguments.made("things", things, (list, tuple), "what `timeline` gives"):
            arguments.made("things", thing, Thing, "what `timeline` gives")
        lengths = {row.uri: row.duration_ns for row in self.store.sources()}
        return timeline_picture(things, lengths, title, live=self._live())

    def _live(self) -> set[str]:
        return {row.uri for row in self.store.sources() if row.kind is SourceKind.LIVE}

    def explain(self, sighting: Sighting, text: str) -> Explained:
        """Why the sighting is taken for `text`: a heat map over its frame or its single picture, and numbers inside and
        outside of its box.

        Raw cosines of patches or regions; of an encoder that looks at things as a whole (`tiny`, `clip`) how much the
        score falls where the thing is covered, which takes some hundred looks. Raises MediaError as `picture`,
        UsageError for a text that cannot be read and as `query.explain.explain`.
        """
        from ..indexer.step import view_encoder
        from ..query.single_image import cosine_map, cover
        from .explain import explain, explain_covered
        from .frames import shot_of

        arguments.sighting(sighting)
        arguments.phrase("text", text)
        self._check_at_hand(sighting)
        vector = self._query.text_encoder.encode_text([self._query.reading(text).read_as])[0]
        image, box = shot_of(sighting)
        if not hasattr(self._query.encoder, "patches") and view_encoder(self._query.encoder) is not None:
            return explain_covered(
                image, box, cover(self._query.encoder, image, box, vector, self._query.settings().merge), text
            )
        cosines = cosine_map(self._query.encoder, image, vector, self._query.settings().merge)
        return explain(image, box, cosines, text, "patches" if hasattr(self._query.encoder, "patches") else "regions")

    def clip(self, sighting: Sighting, path: str | os.PathLike[str], *, margin_ns: int = NS, box: bool = True) -> None:
        """Cut `sighting` out of its video into the MP4 `path`, with a margin at both ends. box: draw one around the
        thing in each frame in which it is in view. Raises MediaError."""
        from ..media import save_clip
        from .contact_sheet import moments
        from .trajectory import follower

        arguments.sighting(sighting)
        arguments.flags(box=box)
        file, margin_ns = arguments.path("path", path), arguments.whole("margin_ns", margin_ns, 0)
        if self.store.source(sighting.source).kind.single_pictures:
            raise MediaError(f"a single picture gives no video; take the picture itself: {sighting.source}")
        self._check_at_hand(sighting)
        row = self.store.source(sighting.source)
        drawn = follower(moments(self.store, sighting), (row.width, row.height)) if box else None
        start_ns, end_ns = max(0, sighting.start_ns - margin_ns), sighting.end_ns + margin_ns
        save_clip(sighting.source, file, start_ns, end_ns, drawn)

    def _check_at_hand(self, sighting: Sighting) -> None:
        row = self.store.source(sighting.source)
        if row.kind is SourceKind.LIVE:
            raise MediaError(f"a live source keeps no pictures; record it beside and index that: {sighting.source}")
        if not row.address.exists():
            raise MediaError(f"the video is no longer there, put it back to take pictures from it: {sighting.source}")
