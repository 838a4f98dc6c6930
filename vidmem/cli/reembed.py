"""`vidmem reembed`: the tokens of another encoder for a memory that stands."""

from __future__ import annotations

import typer

from ..address import Address
from .options import DeviceOption, EncoderOption, MemoryOption, WeightsOption
from .output import Listing, Row, Show, listing, say, warn
from .progress import progress_bar


@listing
def reembed(
    encoder: EncoderOption = None,
    device: DeviceOption = None,
    weights: WeightsOption = None,
    memory: MemoryOption = None,
    *,
    show: Show,
) -> int:
    """Give a memory the tokens of another encoder, without indexing again.

    The best views of each track are cut from their frames once more and looked at; sources must lie where they were,
    or have been indexed with --keep-views. Questions are answered with the old tokens until all is done. What was
    interrupted goes on when the command is run again. Sources that are gone are named, and the exit code is 3: run it
    again when they are back.

    Without --encoder, with the weights of the memory's encoder that this version has.
    """
    from ..memory import Memory

    with Memory.open(memory, device=device, weights=weights, any_weights=True, create=False) as m:
        total = m.stats().tracks
        with progress_bar(total, lambda n: f"{n:,} tracks") as advance:
            try:
                report = m.reembed(encoder, lambda uri, done, of: advance(Address.parse(uri).label, done))
            except KeyboardInterrupt:
                warn("interrupted; what was looked at is kept, run the same command again to go on")
                raise typer.Exit(130) from None
        m.cache()  # so that the first question finds it ready
        made = m.store.model()
    rows: list[Row] = [{"source": uri, "cause": cause, "tracks": tracks} for uri, cause, tracks in report.left]
    known = f", {report.before:,} of them from before" if report.before else ""
    say(
        f"{report.tracks:,} of {total:,} tracks have tokens of `{made.encoder if made else encoder}`{known}; "
        f"{report.views:,} views looked at in {report.seconds:.1f} s"
    )
    for row in rows:
        warn(f"not looked at again: {row['tracks']:,} tracks ({row['cause']})")
    if rows:
        warn("no question finds these; put the sources back and run `vidmem reembed` again")
    show(Listing(rows, ()))
    return 3 if rows else 0
