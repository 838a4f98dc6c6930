"""`vidmem reembed`: compute the tokens of another encoder for an existing memory."""

from __future__ import annotations

import typer

from ..address import Address
from ..memory import Memory
from .messages import progress_bar, say, warn
from .options import DeviceOption, EncoderOption, MemoryOption, WeightsOption
from .output import Listing, Row, Show, listing


@listing
def reembed(
    encoder: EncoderOption = None,
    device: DeviceOption = None,
    weights: WeightsOption = None,
    memory: MemoryOption = None,
    *,
    show: Show,
) -> int:
    """Switch a memory to another encoder without indexing again.

    Cuts the best views of each track from their frames again and encodes them. The sources must be in their place, or
    have been indexed with --keep-views. Questions use the old tokens until all are done. An interrupted run resumes
    when the command is run again.

    Sources that are missing are named, and the exit code is 3; run the command again when they are back. Without
    --encoder, the memory's encoder is used with the weights of this version of vidmem.

    \b
    Examples:
      vidmem reembed --encoder clip
    """

    with Memory.open(memory, device=device, weights=weights, any_weights=True, create=False) as m:
        total = m.stats().tracks
        with progress_bar(total, lambda n: f"{n:,} tracks") as advance:
            try:
                report = m.reembed(encoder, lambda uri, done, of: advance(Address.parse(uri).label, done))
            except KeyboardInterrupt:
                warn("interrupted; finished tracks are kept, run the same command again to resume")
                raise typer.Exit(130) from None
        m.cache()  # so that the first question need not build it
        made = m.store.model()
    rows: list[Row] = [{"source": uri, "cause": cause, "tracks": tracks} for uri, cause, tracks in report.left]
    earlier = f", {report.before:,} of them from before" if report.before else ""
    say(
        f"{report.tracks:,} of {total:,} tracks have tokens of `{made.encoder if made else encoder}`{earlier}; "
        f"encoded {report.views:,} views in {report.seconds:.1f} s"
    )
    for row in rows:
        warn(f"not encoded: {row['tracks']:,} tracks ({row['cause']})")
    if rows:
        warn("these tracks cannot be found; put the sources back and run `vidmem reembed` again")
    show(Listing(rows, ()))
    return 3 if rows else 0
