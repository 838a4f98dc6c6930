"""Writing tracks to a new file beside the recording: MCAP with annotations, Rerun, or a Parquet table."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from ..errors import UsageError
from ..query.query import Query
from . import to_mcap, to_parquet, to_rerun
from .annotations import AnnotateReport, Annotations
from .files import replacing

_WRITERS: dict[str, Callable[[Annotations, str, str], AnnotateReport]] = {
    ".mcap": to_mcap.write,
    ".rrd": to_rerun.write,
    ".parquet": to_parquet.write,
}


def annotate(
    query: Query, source: str, out: str, *, labels: Sequence[str] = (), everything: bool = False
) -> AnnotateReport:
    """Write the tracks of a source to a file. Nothing is left at `out` on failure.

    Args:
        query: The open memory.
        source: Path or name of a log or a dataset, or for .rrd of any indexed video. All parts of it that are in the
            memory are annotated, or only the one that is named.
        out: The file; its suffix is the format: .mcap, .rrd or .parquet.
        labels: Phrases. Each track gets the most probable one that `where` finds it for in that source; tracks without
            one are left out.
        everything: Keep the tracks without a label. Without `labels` all tracks are written.

    Raises:
        UsageError: The suffix is not a format, the source is not indexed or its name is ambiguous, a label cannot be
            read, or `out` is the source itself.
        MediaError: A library is not installed, the source cannot be read, or `out` cannot be written.
    """
    suffix = os.path.splitext(out)[1].lower()
    if suffix not in _WRITERS:
        known = ", ".join(name[1:] for name in _WRITERS)
        raise UsageError(f"annotations are written as {known}; give a file name with such a suffix: {out}")
    annotations = Annotations(query, source, labels, everything=everything)
    if os.path.realpath(annotations.path) == os.path.realpath(out):
        raise UsageError(f"the result would overwrite its source; give another name: {out}")
    with replacing(out, "the result") as part:
        return _WRITERS[suffix](annotations, part, out)
