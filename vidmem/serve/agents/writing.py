"""The tools that write: `index`, `annotate`, `forget`. They are listed only if the user allowed it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import anyio
import anyio.to_thread
from mcp.server.mcpserver import Context
from mcp_types import CallToolResult, ToolAnnotations
from pydantic import Field

from ...address import Address, shown
from ...errors import UsageError
from ...query.retention import Forgetting
from ...timecode import NS, clock, counted
from ..folders import allowed
from ..job_documents import JobDocument
from ..jobs import ENDED, Jobs
from . import arguments as args
from .desk import Desk
from .faults import without_paths
from .offers import Offer, answered, offer
from .places import find_source, find_sources, listed_names
from .results import AnnotateResult, ForgetResult, ForgetStep

CHANGES = ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=False)
ADDS = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=False)
POLL_S = 0.25
MAX_WAIT_S = 600

Paths = Annotated[
    str | list[str] | None,
    Field(
        description="Videos, photos, logs or folders to index, one or a list, below the folders that the user opened "
        "for this: absolute, or relative to one of them, such as 'holiday/walk.mp4'. No URLs and no patterns."
    ),
]
JobId = Annotated[str | None, Field(description="Go on waiting for the job with this id, which an earlier call gave.")]
Cancel = Annotated[bool, Field(description="With `job`: cancel it. What is finished is kept, and can be continued.")]
Wait = Annotated[
    int,
    Field(
        description=f"Seconds to wait for the end, up to {MAX_WAIT_S}. A job that is not done then goes on; call again "
        "with its id.",
        ge=0,
        le=MAX_WAIT_S,
    ),
]
Out = Annotated[
    str,
    Field(
        description="The file to write, below the folders that the user opened, in a folder that exists: .mcap (a copy "
        "of an MCAP log with annotations), .rrd (Rerun) or .parquet (a table). It must not exist yet."
    ),
]
Labels = Annotated[
    str | list[str] | None,
    Field(description="Names, one or a list. Each track gets the most probable one; tracks without one are left out."),
]
Everything = Annotated[bool, Field(description="With `labels`: keep the tracks without a name, too.")]
Thing = Annotated[
    str | None, Field(description="Forget this thing and all that looks like it: a noun phrase.", max_length=500)
]
Confirm = Annotated[
    bool,
    Field(
        description="Erase it. Without it nothing is changed, and the answer says what would go. Ask the user first."
    ),
]


@dataclass(frozen=True, slots=True)
class Writing:
    """The tools, bound to a desk, the jobs of the server, and the folders below which files may be named."""

    desk: Desk
    jobs: Jobs
    folders: tuple[str, ...]
    turn: anyio.CapacityLimiter

    async def index(
        self,
        ctx: Context[None, None],
        paths: Paths = None,
        source: args.SourceList = None,
        job: JobId = None,
        cancel: Cancel = False,
        wait_s: Wait = 50,
    ) -> CallToolResult:
        """Index videos, photos or logs, so that they can be asked about.

        It takes about a fifth of the length of a video. What is indexed already is skipped, and what was interrupted is
        continued. Photos that were deleted from an indexed folder are forgotten. Give `paths` for new files, or
        `source` to continue or renew sources of the memory. One job runs at a time, with progress; if it is not done
        after `wait_s` seconds, `state` is "running": call again with `job`. If the call is cancelled, the job is, too.
        """
        if job is not None:
            found = self.jobs.cancel(job) if cancel else self.jobs.get(job)
        else:
            found = await self.desk.ask(lambda: self._post_index(paths, source))
        found = await self._ended(found.id, wait_s, ctx)
        return answered(_job_text(found), found)

    async def annotate(
        self, source: args.OneSource, out: Out, labels: Labels = None, everything: Everything = False
    ) -> CallToolResult:
        """Write the boxes, track numbers and names of a source into a new file, for Foxglove, Rerun or tables.

        The memory and the source stay as they are, and no file is replaced.
        """

        def work() -> AnnotateResult:
            store = self.desk.store
            if source is None:
                raise UsageError("give `source`, such as 3 or walk.mp4, from the list of sources")
            row = find_source(store, source)
            target = _new_file(out, self.folders)
            report = self.desk.memory.annotate(row.uri, target, labels=labels or (), everything=everything)
            return AnnotateResult(
                file=_below(target, self.folders),
                source_id=row.id,
                frames=report.frames,
                boxes=report.boxes,
                bytes=target.stat().st_size,
                notes=list(report.notes),
            )

        result = await anyio.to_thread.run_sync(work, limiter=self.turn)
        wrote = f"Wrote {result.file}: {counted(result.frames, 'frame')} with {result.boxes} boxes."
        return answered("\n".join([wrote, *(f"Note: {note}" for note in result.notes)]), result)

    async def forget(
        self,
        ctx: Context[None, None],
        source: args.SourceList = None,
        before: args.Before = None,
        thing: Thing = None,
        confirm: Confirm = False,
    ) -> CallToolResult:
        """Say what would be forgotten, and with `confirm` erase it for good.

        Give `source` for whole sources, `before` for all that was seen earlier, both for a part of a source, or `thing`
        for one thing. Always call it without `confirm` first, show the user the answer, and confirm only what the user
        agreed to. Nothing that is forgotten stays in the memory; the videos themselves are not touched.
        """

        def plan() -> list[Forgetting]:
            rows = find_sources(self.desk.store, listed_names(source))
            if not rows and before is None and thing is None:
                raise UsageError("say what to forget: `source`, `before` or `thing`")
            return self.desk.memory.forget(before=before, sources=[row.uri for row in rows], thing=thing)

        steps = await self.desk.ask(plan)
        job: JobDocument | None = None
        if confirm and steps:
            task = {"action": "forget", "sources": [step.source.id for step in steps], "before": before, "thing": thing}
            posted = await self.desk.ask(lambda: self.jobs.post({k: v for k, v in task.items() if v is not None}))
            job = await self._ended(posted.id, MAX_WAIT_S, ctx)
        result = ForgetResult(
            forgotten=job is not None and job.state == "done", steps=[_step(step) for step in steps], job=job
        )
        return answered(_forget_text(result), result)

    def _post_index(self, paths: str | list[str] | None, source: int | str | list[int | str] | None) -> JobDocument:
        rows = find_sources(self.desk.store, listed_names(source))
        named = [paths] if isinstance(paths, str) else paths or []
        if not rows and not named:
            raise UsageError("say what to index: `paths`, such as ['holiday/walk.mp4'], or `source`")
        return self.jobs.post({"action": "index", "paths": named, "sources": [row.id for row in rows]})

    async def _ended(self, job_id: str, wait_s: float, ctx: Context[None, None]) -> JobDocument:
        """Wait for a job and report its progress. If the caller is cancelled, the job is, too."""
        deadline = anyio.current_time() + wait_s
        told = -1.0
        try:
            while True:
                job = self.jobs.get(job_id)
                now = job.progress
                if now is not None and now.done_s > told:
                    told = now.done_s
                    await ctx.report_progress(now.done_s, now.total_s or None, f"{now.source}: {now.frames} frames")
                if job.state in ENDED or anyio.current_time() >= deadline:
                    return self._public(job)
                await anyio.sleep(POLL_S)
        except anyio.get_cancelled_exc_class():
            self.jobs.cancel(job_id)
            raise

    def _public(self, job: JobDocument) -> JobDocument:
        """The job, with an error that names no path of the machine."""
        if job.error is None:
            return job
        return replace(job, error=replace(job.error, message=without_paths(job.error.message, self.desk.store.folder)))


def _new_file(given: str, folders: Sequence[str]) -> Path:
    """The path of a file that does not exist, in a folder that does, below the folders. Raises UsageError."""
    folder, name = os.path.split(given)
    if not name or name in (".", "..") or not name.isprintable():
        raise UsageError(f"`out` is the name of a file, such as walk.parquet; got {shown(given)[:80]}")
    place = allowed(folder or ".", folders)
    target = Path(place.path) / name
    if os.path.lexists(target):
        raise UsageError(f"there is such a file, and it is not replaced; choose another name: {shown(given)[:80]}")
    return target


def _below(path: Path, folders: Sequence[str]) -> str:
    """A path from one of the folders down, that folder's name first."""
    for folder in map(Path, folders):
        if folder in path.parents:
            return str(Path(folder.name) / path.relative_to(folder))
    return path.name


def _step(step: Forgetting) -> ForgetStep:
    before = None if step.whole else step.part.before_ns
    return ForgetStep(
        source_id=step.source.id,
        source=step.source.uri,
        whole=step.whole,
        before_s=None if before is None else before / NS,
        tracks=step.loss.tracks,
        shortened=step.loss.shortened,
        frames=step.loss.frames,
    )


def _job_text(job: JobDocument) -> str:
    lines = [f"Job {job.id}: {job.state}."]
    if (now := job.progress) is not None and job.state not in ENDED:
        left = "" if now.eta_s is None else f", about {now.eta_s:.0f} s left"
        lines.append(f"{now.done_s:.0f} of {now.total_s:.0f} s of media{left}. Call `index` again with job='{job.id}'.")
    if job.error is not None:
        lines.append(f"{job.error.message}")
    for report in job.reports[:20]:
        name = shown(Address(report.source).label)
        number = "" if report.source_id is None else f" (source {report.source_id})"
        notes = f": {'; '.join(report.notes[:3])}" if report.notes else ""
        lines.append(f"- {name}{number}: {report.state}, {counted(report.frames, 'frame')}{notes}")
    return "\n".join(lines)


def _forget_text(result: ForgetResult) -> str:
    if not result.steps:
        return "There is nothing to forget."
    lines = ["Forgotten:" if result.forgotten else "This would be forgotten; nothing is changed yet:"]
    if result.job is not None and not result.forgotten:
        cause = result.job.error.message if result.job.error else result.job.state
        lines = [f"It was not forgotten ({cause}):"]
    for step in result.steps:
        part = "all of it" if step.whole else "the thing" if step.before_s is None else _before(step.before_s)
        lines.append(
            f"- {Address(step.source).label} (source {step.source_id}): {part}, {counted(step.tracks, 'track')}"
        )
    if result.job is None:
        lines.append("Show this to the user. To erase it for good, call again with confirm=true.")
    return "\n".join(lines)


def _before(before_s: float) -> str:
    return f"what is before {clock(round(before_s * NS))}"


def writing_tools(desk: Desk, jobs: Jobs, folders: Sequence[str]) -> list[Offer]:
    """The tools of this module.

    Args:
        desk: The memory.
        jobs: Runs what writes.
        folders: Real paths of the folders below which files may be named, from `folders.checked_folder`.
    """
    tools = Writing(desk, jobs, tuple(folders), anyio.CapacityLimiter(1))
    return [
        offer(tools.index, JobDocument, "Index videos and photos", 'index(paths=["walk.mp4"])', CHANGES),
        offer(tools.annotate, AnnotateResult, "Write annotations", 'annotate(source=3, out="walk.parquet")', ADDS),
        offer(tools.forget, ForgetResult, "Forget sources, times or a thing", "forget(source=3)", CHANGES),
    ]
