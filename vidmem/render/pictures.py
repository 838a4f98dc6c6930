"""Pictures and clips of what a query found: contact sheets, grids, timelines, explanations."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..encoders import DEFAULT
from ..errors import MediaError
from ..fleet.opening import open_store
from ..query import arguments
from ..query.query import Query
from ..records import Sighting, SourceKind
from ..timecode import NS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from ..query.answers import Thing
    from ..query.inventory import Inventory
    from .evidence import Evidence
    from .explain import Explained

# The modules that draw are imported where they are used: they import PIL, which a question does not need.


class Pictures:
    """Pictures of what a query found. `Memory` has the same methods."""

    def __init__(self, query: Query) -> None:
        self._query, self.store = query, query.store

    def picture(
        self,
        sighting: Sighting,
        title: str = "",
        *,
        others: Sequence[Sighting] = (),
        mask: NDArray[np.bool_] | None = None,
    ) -> Image.Image:
        """Draw a contact sheet of a sighting: its frame with the box, close-ups, and a timeline of the video.

        Args:
            sighting: One sighting of an answer. For a photo, the sheet shows the photo with its box.
            title: First line of the sheet.
            others: More sightings for the timeline; those in other sources are left out.
            mask: `(H, W)`, what of the picture that `evidence` gives is coloured.

        Returns:
            An RGB picture, 960 pixels wide.

        Raises:
            MediaError: The video or photo is gone or damaged, or is not the one that was indexed.
        """
        from .captions import confidence_text
        from .contact_sheet import contact_sheet, details
        from .originals import Originals, source_of
        from .photo_sheet import photo_sheet
        from .trajectory import trajectory

        arguments.sighting(sighting)
        arguments.text("title", title)
        arguments.sightings("others", others)
        if sighting.picture is not None:
            boxes = [(confidence_text(sighting), sighting.box)]
            return photo_sheet(Originals(self.store).photo(sighting), title, details(sighting), boxes, mask)
        self._check_readable(sighting)
        with self.store.snapshot():
            duration_ns = source_of(self.store, sighting).duration_ns
            moments = trajectory(self.store, sighting)
        same = [other for other in others if other.source == sighting.source and other != sighting]
        with Originals(self.store).open(sighting) as source:
            return contact_sheet(
                source, sighting, title, moments=moments, others=same, duration_ns=duration_ns, mask=mask
            )

    def evidence(self, sighting: Sighting) -> Evidence:
        """The frame or photo of a sighting, `(H, W, 3)` uint8 RGB, and its box in the picture's pixels.

        Raises MediaError if the video or photo is gone or damaged, is not the one that was indexed, or is a camera's.
        """
        from .evidence import evidence_of
        from .originals import Originals

        arguments.sighting(sighting)
        self._check_readable(sighting)
        return evidence_of(sighting, Originals(self.store))

    def sheet(
        self, sightings: Sequence[Sighting], title: str = "", *, total: int | None = None, heading: str = ""
    ) -> Image.Image:
        """Draw sightings on one page, each with its picture, probability and time.

        Args:
            sightings: The first 60 are drawn. Where a video is gone, its place says so.
            title: First line of the page.
            total: Number of sightings there are in all; by default the number given.
            heading: Second line; by default the number of sightings.

        Returns:
            An RGB picture, 960 pixels wide.
        """
        from .grid import sightings_sheet
        from .originals import Originals

        arguments.text("title", title)
        arguments.text("heading", heading)
        shown = arguments.sightings("sightings", sightings)
        count = len(shown) if total is None else arguments.whole("total", total, 0)
        return sightings_sheet(shown, title, count, heading=heading, originals=Originals(self.store))

    def things_sheet(self, things: Inventory, title: str = "") -> Image.Image:
        """Draw the result of `things` on one page: each thing's best view, its name, and when it was last seen.

        Args:
            things: The result of `things`; the first 60 are drawn.
            title: First line of the page.

        Returns:
            An RGB picture, 960 pixels wide.
        """
        from ..query.inventory import Inventory
        from .grid import things_sheet
        from .originals import Originals

        arguments.made("things", things, Inventory, "what `things` gives")
        arguments.text("title", title)
        return things_sheet(things, title, things.total, originals=Originals(self.store))

    def timeline_sheet(self, things: Sequence[Thing], title: str = "timeline") -> Image.Image:
        """Draw the result of `timeline` on one page: a lane for each thing, with its picture and a bar for each video.

        Args:
            things: The result of `timeline`; the 24 seen last are drawn.
            title: First line of the page.

        Returns:
            An RGB picture, 960 pixels wide.
        """
        from ..query.answers import Thing
        from .originals import Originals
        from .timeline import timeline_sheet

        arguments.text("title", title)
        for thing in arguments.made("things", things, (list, tuple), "what `timeline` gives"):
            arguments.made("things", thing, Thing, "what `timeline` gives")
        lengths = {row.uri: row.duration_ns for row in self.store.sources()}
        return timeline_sheet(things, lengths, title, originals=Originals(self.store))

    def explain(self, sighting: Sighting, text: str) -> Explained:
        """Show why a sighting matches a text: a heat map over its picture, and numbers inside and outside its box.

        The heat is the raw cosine of each patch or region. Encoders that look at a thing as a whole (`tiny`, `clip`)
        have no patches; for them it is the drop in score when that place is covered, which takes a few hundred runs of
        the encoder.

        Args:
            sighting: One sighting of an answer.
            text: The phrase to compare it with.

        Raises:
            MediaError: The video or photo is gone or damaged, or is not the one that was indexed.
            UsageError: The encoder cannot read the text, or finds no region in the picture.
        """
        from ..query.occlusion import cover
        from ..query.single_image import cosine_map
        from .evidence import evidence_of
        from .explain import explain_cosines, explain_covered
        from .originals import Originals

        arguments.sighting(sighting)
        arguments.phrase("text", text)
        self._check_readable(sighting)
        encoder, merge = self._query.encoder, self._query.settings().merge
        vector = self._query.text_encoder.encode_text([self._query.reading(text).read_as])[0]
        image, box = evidence_of(sighting, Originals(self.store))
        if not encoder.has_patches and encoder.views is not None:
            return explain_covered(image, box, cover(encoder, image, box, vector, merge), text)
        cosines = cosine_map(encoder, image, vector, merge)
        return explain_cosines(image, box, cosines, text, "patches" if encoder.has_patches else "regions")

    def clip(self, sighting: Sighting, path: str | os.PathLike[str], *, margin_ns: int = NS, box: bool = True) -> None:
        """Cut a sighting out of its video into an MP4 file.

        Args:
            sighting: One sighting of an answer.
            path: The file to write.
            margin_ns: Time added at both ends, in ns.
            box: Draw a box around the thing in each frame in which it is in view.

        Raises:
            MediaError: The sighting is of a photo, the video is gone or damaged, or the file cannot be written.
        """
        from ..media import cut_clip
        from .originals import Originals, source_of
        from .trajectory import box_drawer, trajectory

        arguments.sighting(sighting)
        arguments.flags(box=box)
        file, margin_ns = arguments.path("path", path), arguments.whole("margin_ns", margin_ns, 0)
        row = source_of(self.store, sighting)
        if row.kind.single_pictures:
            raise MediaError(f"a single picture gives no video; take the picture itself: {sighting.source}")
        self._check_readable(sighting)
        draw_box = box_drawer(trajectory(self.store, sighting), (row.width, row.height)) if box else None
        start_ns, end_ns = max(0, sighting.start_ns - margin_ns), sighting.end_ns + margin_ns
        with Originals(self.store).open(sighting) as source:
            cut_clip(source, file, start_ns, end_ns, draw_box)

    def _check_readable(self, sighting: Sighting) -> None:
        from .originals import source_of

        row = source_of(self.store, sighting)
        if row.kind is SourceKind.LIVE:
            raise MediaError(
                f"a live source keeps no pictures; record the camera to a file and index that: {sighting.source}"
            )
        if not row.address.exists():
            raise MediaError(f"the video is no longer there, put it back to take pictures from it: {sighting.source}")


@dataclass(frozen=True, slots=True)
class SheetDrawer:
    """Draws contact sheets for an answer whose Memory may be closed. folder: of the memory, or the
    address of a fleet.

    It opens the memory for each sheet and holds no open file, so an answer that carries it can be pickled.
    """

    folder: str

    def __call__(self, sighting: Sighting, title: str = "", *, others: Sequence[Sighting] = ()) -> Image.Image:
        """As `Pictures.picture`. Raises MediaError or StoreError when the video or the memory is gone."""
        with open_store(self.folder) as store:
            made = store.model()
            query = Query(store, made.encoder if made else DEFAULT, None, said=False)
            return Pictures(query).picture(sighting, title, others=others)
