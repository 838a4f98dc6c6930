"""Resources: sources and sightings as JSON, frames and close-ups as JPEG, clips as MP4. All are named by ids."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, TypeVar

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ResourceNotFoundError
from mcp_types import Resource

from ...address import shown
from ...errors import UsageError, VidmemError
from ...query.documents import public, sighting_document
from ...query.source_documents import source_details, source_document
from ...records import Box
from ...store import SourceRow
from ...timecode import LONGEST_NS
from .clips import clip
from .desk import Desk, Runner
from .faults import told
from .links import SCHEME
from .looking import Moment, View, draw
from .places import box_in, find_source
from .stored import sighting_of

MAX_LISTED = 200
"""Sources in the list of resources, the newest; `vidmem://sources` has all."""
_WHOLE = re.compile(r"-?[0-9]{1,19}")
_SPAN = re.compile(r"(-?[0-9]{1,19})-(-?[0-9]{1,19})")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Shelf:
    """The functions behind the templates. Their arguments are texts, as they stand in a URI."""

    desk: Desk

    async def sources(self) -> str:
        """All sources in the memory, as JSON."""
        rows = await self._run(self.desk.ask, self.desk.store.sources)
        return _json([public(source_document(row)) for row in rows])

    async def source(self, source: str) -> str:
        """One source, as JSON: its file, kind, length, size, date, and how many tracks it has."""
        store = self.desk.store
        return await self._run(self.desk.ask, lambda: _json(public(source_details(store, find_source(store, source)))))

    async def sighting(self, id: str) -> str:
        """A sighting, as JSON: its source, time, box and date. Scores belong to an answer, and are 0 here."""
        return await self._run(
            self.desk.ask, lambda: _json(public(sighting_document(sighting_of(self.desk.store, id))))
        )

    async def frame(self, source: str, t_ns: str, box: str = "") -> bytes:
        """The frame on display at a time, as JPEG. box: x0,y0,x1,y1 in pixels, to be drawn."""
        return await self._run(self.desk.draw, lambda: self._picture(source, t_ns, box, "frame"))

    async def crop(self, source: str, t_ns: str, box: str = "") -> bytes:
        """A box of a frame with some of its surroundings, enlarged, as JPEG. box: x0,y0,x1,y1 in pixels."""
        return await self._run(self.desk.draw, lambda: self._picture(source, t_ns, box, "close"))

    async def clip(self, source: str, span: str) -> bytes:
        """A clip, as MP4 without sound, at most 60 seconds. span: START-END in nanoseconds."""

        def work() -> bytes:
            match = _SPAN.fullmatch(span)
            if match is None:
                raise UsageError("a clip is START-END in nanoseconds, such as 12000000000-15000000000")
            return clip(find_source(self.desk.store, source), int(match[1]), int(match[2]))

        return await self._run(self.desk.cut, work)

    def _picture(self, source: str, t_ns: str, box: str, view: View) -> bytes:
        row = find_source(self.desk.store, source)
        if view == "close" and not box:
            raise UsageError("a close-up needs a box, such as ?box=100,80,160,140")
        moment = Moment(_time(row, t_ns), _box(row, box) if box else None)
        return draw(self.desk.store, row, [moment], view).jpeg

    async def _run(self, runner: Runner, work: Callable[[], T]) -> T:
        try:
            return await runner(work)
        except VidmemError as error:
            raise ResourceNotFoundError(told(error, self.desk.store.folder)) from None


def _time(row: SourceRow, text: str) -> int:
    if _WHOLE.fullmatch(text) is None or not 0 <= int(text) <= LONGEST_NS:
        raise UsageError("a time is whole nanoseconds on the clock of the source, such as 12000000000")
    return int(text)


def _box(row: SourceRow, text: str) -> Box:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        raise UsageError("a box is x0,y0,x1,y1 in pixels, such as 100,80,160,140") from None
    return box_in(row, numbers)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def add_resources(server: MCPServer[Any], desk: Desk) -> None:
    """Add the list of sources and the templates."""
    shelf = Shelf(desk)
    templates: list[tuple[str, str, str, str, Callable[..., Any]]] = [
        ("sources", "sources", "All sources", "application/json", shelf.sources),
        ("sources/{source}", "source", "One source", "application/json", shelf.source),
        ("sightings/{id}", "sighting", "One sighting", "application/json", shelf.sighting),
        ("frames/{source}/{t_ns}{?box}", "frame", "A frame", "image/jpeg", shelf.frame),
        ("crops/{source}/{t_ns}{?box}", "crop", "A close-up", "image/jpeg", shelf.crop),
        ("clips/{source}/{span}", "clip", "A clip", "video/mp4", shelf.clip),
    ]
    for path, name, title, mime_type, function in templates:
        described = (function.__doc__ or "").strip()
        server.resource(SCHEME + path, name=name, title=title, description=described, mime_type=mime_type)(function)


def listed(desk: Desk) -> list[Resource]:
    """The newest sources, as resources."""
    rows = desk.store.sources()[-MAX_LISTED:]
    return [
        Resource(
            uri=f"{SCHEME}sources/{row.id}",
            name=f"source-{row.id}",
            title=shown(PurePath(row.uri).name or row.uri),
            description=f"Source {row.id} of the memory, as JSON.",
            mime_type="application/json",
        )
        for row in reversed(rows)
    ]
