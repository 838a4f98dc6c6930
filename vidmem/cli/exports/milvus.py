"""`vidmem export milvus`: the vectors of a memory in Milvus."""

from __future__ import annotations

from typing import Annotated

import typer

from ...address import shown
from ...engines.milvus_collection import INDEXES
from ...export.to_milvus import INDEX_FROM, to_milvus
from ...memory import Memory
from ..messages import progress_bar, say
from ..options import AskedMemoryOption, EncoderOption, WeightsOption
from ..output import Listing, Row, Show, listing


@listing
def milvus(
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="URI",
            help="The server, such as http://127.0.0.1:19530, or a file of milvus-lite (.db). A password goes into "
            "MILVUS_TOKEN.",
            show_default=False,
        ),
    ],
    index: Annotated[
        str | None,
        typer.Option(
            "--index",
            metavar="|".join(INDEXES),
            help=f"Kind of index. Default: FLAT, which is exact, and HNSW from {INDEX_FROM:,} tracks on.",
        ),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Write it again though nothing has changed, as for another --index.")
    ] = False,
    memory: AskedMemoryOption = None,
    encoder: EncoderOption = None,
    weights: WeightsOption = None,
    *,
    show: Show,
) -> int:
    """Write all vectors to Milvus, to be searched there.

    Ask with --engine milvus:URI. Milvus then gives candidates, and the memory decides. An index may miss tracks and
    says nothing of it, so answers have `"exact": false` in --json; the guide says how many are missed. Run it again
    when the memory has changed: until the new collection is complete, the former one stays.

    \b
    Examples:
      vidmem export milvus --to http://127.0.0.1:19530
      vidmem export milvus --to vectors.db --index FLAT
    """
    with (
        Memory.open(memory, encoder=encoder, weights=weights, read_only=True) as m,
        progress_bar(m.stats().tracks, lambda n: f"{n:,} tracks") as advance,
    ):
        report = to_milvus(m.query, to, index=index, replace=replace, progress=advance)
    row: Row = {
        "server": shown(to),
        "collection": report.collection,
        "tracks": report.tracks,
        "written": report.written,
        "index": report.index,
        "vectors": report.vectors or None,
    }
    heads = ("server", "collection", "tracks", "written", "index")
    show(Listing([row], [heads, tuple(str(row[name]) for name in heads)], row))
    if not report.written:
        say("nothing has changed since the last export")
    return 0
