"""The tool `look`: see a sighting, or any moment of a source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mcp_types import CallToolResult

from ...errors import MediaError, UsageError
from ...query.documents import box_row
from ...records import Sighting
from ...store import SourceRow
from ...timecode import NS, iso
from . import arguments as args
from . import texts
from .desk import Desk
from .faults import told
from .links import frame_uri, image
from .looking import Drawn, Moment, draw, moments_of
from .offers import Offer, answered, offer
from .pictures import MAX_MOMENTS
from .places import box_in, find_source, time_in
from .results import LookMoment, LookResult
from .stored import photo_file, sighting_of


@dataclass(frozen=True, slots=True)
class Looking:
    """The tool, bound to a desk."""

    desk: Desk

    async def look(
        self,
        id: args.SightingId = None,
        source: args.OneSource = None,
        time: args.Time = None,
        box: args.BoxArgument = None,
        view: args.ViewArgument = "frame",
        moments: args.MomentCount = 6,
    ) -> CallToolResult:
        """See a sighting, or any moment of an indexed video or photo.

        Give the `id` of a sighting, or `source` and `time`. Use it to check an answer with your own eyes before you
        rely on it, to see where in a room a thing lies (view "frame"), what it is (view "close"), or what happens to it
        (view "moments"). Pictures are JPEGs of at most 1024 pixels and 300 kB. If the video is gone, `shown` is false
        and `reason` says why; what the memory knows of the sighting is still given.
        """
        row, wanted, seen, file = await self.desk.ask(lambda: self._wanted(id, source, time, box, view, moments))
        drawn: Drawn | None = None
        reason = None
        try:
            drawn = await self.desk.draw(lambda: draw(self.desk.store, row, wanted, view))
        except MediaError as error:
            reason = told(error)
        result = _result(row, seen, view, wanted if drawn is None else drawn.moments, drawn, reason, file)
        return answered(texts.look_text(result), result, image(None if drawn is None else drawn.jpeg))

    def _wanted(
        self,
        id: str | None,
        source: int | str | None,
        time: float | str | list[float | str] | None,
        box: list[float] | None,
        view: str,
        moments: int,
    ) -> tuple[SourceRow, list[Moment], Sighting | None, str | None]:
        """The source and the moments to show, the sighting that was named, and the file if it is a photo."""
        store = self.desk.store
        if id is not None:
            if source is not None or time is not None or box is not None:
                raise UsageError("`id` names a sighting with its time and box; leave `source`, `time` and `box` out")
            seen = sighting_of(store, id.strip())
            row = store.source_by_id(seen.source_id)
            if view == "moments" and not row.kind.single_pictures:
                return row, moments_of(store, seen, moments), seen, None
            return row, [Moment(seen.frame_ns, seen.box)], seen, seen.picture
        if source is None or time is None:
            raise UsageError("give the `id` of a sighting, or `source` and `time`, such as source=3, time='12.5s'")
        row = find_source(store, source)
        times = time if isinstance(time, list) else [time]
        if not times or len(times) > MAX_MOMENTS:
            raise UsageError(f"`time` is one time, or a list of 1 to {MAX_MOMENTS}; got {len(times)}")
        if len(times) > 1 and view != "moments":
            raise UsageError("several times are shown with `view` 'moments' alone; give it, or one time")
        if view == "close" and box is None:
            raise UsageError("`view` 'close' enlarges a box; give `box`, or the `id` of a sighting")
        wanted = _at(row, times, None if box is None else box_in(row, box))
        return row, wanted, None, photo_file(store, row, wanted[0].t_ns)


def _at(row: SourceRow, times: Sequence[float | str], box: tuple[float, float, float, float] | None) -> list[Moment]:
    return [Moment(time_in(row, time), box) for time in times]


def _result(
    row: SourceRow,
    seen: Sighting | None,
    view: str,
    moments: Sequence[Moment],
    drawn: Drawn | None,
    reason: str | None,
    file: str | None,
) -> LookResult:
    photo = row.kind.single_pictures
    width, height = (row.width, row.height) if drawn is None else drawn.size
    recorded = seen.recorded_ns if seen is not None else None
    if seen is None and row.start_ns is not None and moments and not photo:
        recorded = row.start_ns + moments[0].t_ns
    return LookResult(
        shown=drawn is not None,
        reason=reason,
        view=view,
        source_id=row.id,
        source=row.uri,
        picture=file,
        recorded=iso(recorded),
        width=width,
        height=height,
        moments=[
            LookMoment(
                t_s=None if photo else moment.t_ns / NS,
                t_ns=str(moment.t_ns),
                box=None if moment.box is None else box_row(moment.box),
                frame=frame_uri(row.id, moment.t_ns),
            )
            for moment in moments
        ],
    )


def look_tool(desk: Desk) -> Offer:
    """The tool."""
    example = 'look(source=1, time="12.5s"), or look(id=...) with the id of a sighting'
    return offer(Looking(desk).look, LookResult, "See a sighting or a moment", example)
