"""Jobs as the API tells them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class JobProgress:
    """How far a job is.

    Attributes:
        source: The name of the source that it works on.
        done_s: Seconds of media that are done; a photo counts a fifth of a second.
        total_s: Seconds of media of the whole job, without what earlier runs have done.
        frames: Frames and photos that are done.
        fps: Frames and photos in a second, on average.
        eta_s: Seconds that are left; None before the first of them are known.
    """

    source: str
    done_s: float
    total_s: float
    frames: int
    fps: float
    eta_s: float | None


@dataclass(frozen=True, slots=True)
class JobReport:
    """What a job did with one source.

    Attributes:
        source_id: Its id in the memory; None if it did not get there.
        source: Its path or address.
        state: "done", "skipped" (nothing was new), "damaged" (with parts left out), "failed", "forgotten", or
            "to_forget".
        frames: Frames or photos that the memory has of it, or that were forgotten.
        tracks: Tracks that the memory has of it, or that were forgotten.
        damaged: Packets, frames or photos that were left out.
        notes: The first causes of damage, or why it failed.
    """

    source_id: int | None
    source: str
    state: str
    frames: int = 0
    tracks: int = 0
    damaged: int = 0
    notes: list[str] | tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class JobError:
    """Why a job failed. kind: as in the API's errors; "locked" if another process writes to the memory."""

    kind: str
    message: str


@dataclass(frozen=True, slots=True)
class JobDocument:
    """A job.

    Attributes:
        id: Its name.
        action: "index" or "forget".
        state: "waiting", "running", "done", "partial" (some sources failed or are damaged), "failed" or "cancelled".
        created_at: Seconds since 1970.
        progress: How far it is; None before it has begun, and for "forget".
        reports: The sources that it is done with, at most 1,000.
        error: Why it failed.
    """

    id: str
    action: str
    state: str
    created_at: float
    progress: JobProgress | None
    reports: list[JobReport]
    error: JobError | None


@dataclass(frozen=True, slots=True)
class JobsDocument:
    """All jobs that the server remembers, newest first."""

    jobs: list[JobDocument]
