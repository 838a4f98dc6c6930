"""What a run over a fleet reports: how far it is, and what became of each source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SourceState = Literal["done", "known", "copy", "failed"]


@dataclass(frozen=True, slots=True)
class FleetSourceReport:
    """What became of one source.

    Attributes:
        source: Its address, or the folder of photos.
        state: "done" in this run, "known" if a shard held it before or another driver made it, "copy" of another source
            of the list, or "failed".
        line: Its line in the list; 0 if it was named itself.
        shard: Number of its shard; None if it is in none.
        frames: Sampled frames, or different photos.
        tracks: Its tracks.
        media_s: Seconds of media.
        seconds: Time that its worker took.
        worker: Host and process that made the shard.
        tries: How often its task was begun.
        damaged: Packets, frames or files left out.
        notes: The first causes of damage.
        error: Why it failed.
    """

    source: str
    state: SourceState
    line: int = 0
    shard: int | None = None
    frames: int = 0
    tracks: int = 0
    media_s: float = 0.0
    seconds: float = 0.0
    worker: str = ""
    tries: int = 0
    damaged: int = 0
    notes: tuple[str, ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True)
class FleetProgress:
    """How far a run is.

    Attributes:
        done_s: Seconds of media that are done; photos count a fifth of a second.
        total_s: All that this run has to do.
        sources: Sources that are done or failed.
        total_sources: All that this run has to do.
        failed: Those that failed.
        workers: Workers that are ready.
        lost: Workers that died so far.
        elapsed_s: Time since indexing began.
        eta_s: Time that is left; None as long as nothing can be said.
        current: What a worker is at.
    """

    done_s: float
    total_s: float
    sources: int
    total_sources: int
    failed: int
    workers: int
    lost: int
    elapsed_s: float
    eta_s: float | None
    current: str = ""


@dataclass(frozen=True, slots=True)
class FleetReport:
    """Result of a run.

    Attributes:
        sources: What became of each source, in the order in which that was known.
        shards: Numbers of the shards that this run added.
        seconds: Time of the whole run.
        indexing_s: How much of it went by between the first task and the last shard in the catalogue.
        lost_workers: Workers that died.
        retries: Tasks that were begun again.
        working_s: Time of all workers in the tasks that made shards.
        cpu_s: CPU seconds of it.
        sealing_s: How much of it went into sealing and sending.
        looked_up: Answers of the encoder that were taken from stretches.
        encoded_again: Answers for sources in stretches that were not there.
    """

    sources: tuple[FleetSourceReport, ...]
    shards: tuple[int, ...]
    seconds: float
    indexing_s: float = 0.0
    lost_workers: int = 0
    retries: int = 0
    working_s: float = 0.0
    cpu_s: float = 0.0
    sealing_s: float = 0.0
    looked_up: int = 0
    encoded_again: int = 0

    @property
    def failed(self) -> list[FleetSourceReport]:
        """The sources that could not be indexed."""
        return [source for source in self.sources if source.state == "failed"]

    @property
    def damaged(self) -> list[FleetSourceReport]:
        """The sources of which something was left out."""
        return [source for source in self.sources if source.damaged]
