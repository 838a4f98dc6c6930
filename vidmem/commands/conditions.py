"""Options that narrow a question: which videos, when, and near what."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from ..clock import parse_time
from ..errors import UsageError

SourceOption = Annotated[
    list[str] | None,
    typer.Option("--source", metavar="SOURCE", help="Only in this video, a path or file name; may be given again."),
]
AfterOption = Annotated[
    str | None,
    typer.Option("--after", metavar="TIME", help="Only from then on: 12.5s or 1:02 (in the video), a date, a date with "
                 "a time, 90min, 12h, 30d (ago)."),
]  # fmt: skip
BeforeOption = Annotated[str | None, typer.Option("--before", metavar="TIME", help="Only before that time.")]
BetweenOption = Annotated[
    str | None, typer.Option("--between", metavar="A..B", help="Only from A until B, such as 1:00..2:30.")
]
NearOption = Annotated[
    list[str] | None,
    typer.Option("--near", metavar="TEXT", help="Only near another thing; may be given again."),
]
WithinOption = Annotated[
    str, typer.Option("--within", metavar="TIME", help="Near: both in view so far apart at the most.")
]
ApartOption = Annotated[
    float | None,  # a default would be checked by pydantic, whose import costs a quarter of a question
    typer.Option("--apart", metavar="N", help="Near: gap between the boxes, in longest sides of the two; 1."),
]


def conditions(
    source: Sequence[str] | None, after: str | None, before: str | None, between: str | None,
    near: Sequence[str] | None, within: str, apart: float | None,
) -> dict[str, Any]:  # fmt: skip
    """The options as arguments of `Memory.where`. Raises UsageError for times and distances that are none."""
    from ..when import parse_moment, parse_span

    if between is not None and (after is not None or before is not None):
        raise UsageError("--between is --after and --before in one; give either")
    apart = 1.0 if apart is None else apart
    if not math.isfinite(apart) or apart < 0:
        raise UsageError(f"--apart is a number of 0 or more; got {apart}")
    moments = (None, None) if between is None else parse_span(between)
    return {
        "sources": source or (), "near": near or (), "within_ns": parse_time(within), "apart": apart,
        "after": moments[0] if after is None else parse_moment(after),
        "before": moments[1] if before is None else parse_moment(before),
    }  # fmt: skip
