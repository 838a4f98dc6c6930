"""The arguments of the tools, with the descriptions that models read."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .looking import View
from .pictures import MAX_MOMENTS

MAX_NEAR = 8
"""The most things that one question may be near to; each costs as much as a question of its own."""
MAX_SOURCES = 200
"""The most sources in one list."""
MAX_TOP = 50
"""The most sightings or things in one result."""

Text = Annotated[
    str | None,
    Field(
        description="What to look for, as a short noun phrase: 'cup', 'umbrella', 'red backpack'. No sentences and no "
        "questions. An encoder with a fixed list of names knows no colours or sizes; `sources` says which one it is.",
        max_length=500,
    ),
]
Like = Annotated[
    str | None,
    Field(
        description="Look for what resembles this, alone or together with `text`: the id of a sighting, or a box in an "
        "indexed video as SOURCE@TIME:X,Y,W,H with the id or name of the source and pixels, such as "
        "3@12.5s:100,80,60,60.",
        max_length=2000,
    ),
]
OneSource = Annotated[
    int | str | None,
    Field(description="A source in the memory: its id, or its file name, such as 3 or walk.mp4. `sources` lists them."),
]
SourceList = Annotated[
    int | str | Annotated[list[int | str], Field(max_length=MAX_SOURCES)] | None,
    Field(
        description="Only in these sources: ids or file names, one or a list, such as 3 or ['walk.mp4', 5]. By default "
        "all."
    ),
]
After = Annotated[
    str | None,
    Field(
        description="Only from this time on: a time in the video such as '12.5s' or '1:02', a date such as "
        "'2026-01-31' or '2026-01-31T08:30', 'yesterday 18:02', or an age such as '2h' or '30d'.",
        max_length=100,
    ),
]
Before = Annotated[str | None, Field(description="Only until just before this time; as `after`.", max_length=100)]
Near = Annotated[
    str | Annotated[list[str], Field(max_length=MAX_NEAR)] | None,
    Field(
        description=f"Only near these other things, one or a list of up to {MAX_NEAR}, such as 'laptop': both in view, "
        "side by side."
    ),
]
MinProbability = Annotated[
    float | None,
    Field(
        description="The least probability that counts as found, from 0 to 1. By default 0.5. Lower finds more, and "
        "more that is wrong.",
        ge=0,
        le=1,
        allow_inf_nan=False,
    ),
]
Top = Annotated[
    int, Field(description=f"How many sightings to give, newest first, from 1 to {MAX_TOP}.", ge=1, le=MAX_TOP)
]
ThingCount = Annotated[int, Field(description=f"How many things to give, from 1 to {MAX_TOP}.", ge=1, le=MAX_TOP)]
SightingCount = Annotated[
    int,
    Field(
        description=f"How many sightings of each thing to give, newest first, from 1 to {MAX_TOP}.", ge=1, le=MAX_TOP
    ),
]
SourceCount = Annotated[int, Field(description="How many sources to give, from 1 to 200.", ge=1, le=200)]
Offset = Annotated[
    int,
    Field(description="How many to leave out at the beginning, to read on after an earlier answer.", ge=0, le=10**9),
]
Picture = Annotated[
    bool, Field(description="Add a picture of what was found. Leave it out with false if you need only the facts.")
]
Alike = Annotated[
    bool, Field(description="Also give sightings that merely look like a thing that was found; more, and less certain.")
]
Newest = Annotated[bool, Field(description="Sort by when things were last seen, not by how long they were in view.")]
SightingId = Annotated[
    str | None,
    Field(description="The id of a sighting, as `where`, `timeline` and `things` give it.", max_length=200_000),
]
Time = Annotated[
    float | str | list[float | str] | None,
    Field(
        description="With `source`: a time in it, in seconds or as '1:02.5', or a list of times for "
        f"view 'moments' (at most {MAX_MOMENTS}).",
    ),
]
BoxArgument = Annotated[
    list[float] | None,
    Field(description="With `source` and `time`: a box to draw, [x0, y0, x1, y1] in pixels of the video."),
]
ViewArgument = Annotated[
    View,
    Field(
        description="'frame': the whole frame with the box drawn. 'close': the box enlarged, with some of its "
        "surroundings. 'moments': several moments on one sheet, over the whole sighting or at the times given."
    ),
]
MomentCount = Annotated[
    int,
    Field(description=f"For view 'moments' of a sighting: how many, from 2 to {MAX_MOMENTS}.", ge=2, le=MAX_MOMENTS),
]
HaystackQuestion = Annotated[
    str | None,
    Field(
        description="A question about one photo, such as 'the image with the dog: is there a frisbee?'. Or give "
        "`anchor` and `target`.",
        max_length=500,
    ),
]
Anchor = Annotated[
    str | None, Field(description="What identifies the photo, such as 'dog'; with `target`.", max_length=500)
]
Target = Annotated[str | None, Field(description="What to look for in that photo, such as 'frisbee'.", max_length=500)]
Rule = Annotated[
    Literal["default", "paper"],
    Field(description="When something counts as found: the calibrated test, or the one of the T-REN paper."),
]
