"""A worker of a fleet: does one task at a time, and says meanwhile how far it is. Ray runs it as an actor.

Nothing heavy is imported before there is something to do: a worker that only lists files needs no encoder.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from .. import __version__
from ..errors import VidmemError, WorkerError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..encoders import Encoder
    from .inputs import Input, Listed
    from .making import ShardMade
    from .manifest import Entry
    from .plan import ShardTask, StretchTask
    from .settings import Settings
    from .stretches import Stretch


_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
WORDS = "words"
"""The group of methods that Ray runs beside a task."""
_NAME = re.compile("[0-9a-f]{32}")
_STALE_S = 7 * 86_400
"""Seconds after which what a killed worker left is deleted."""


_Method = TypeVar("_Method", bound=Callable[..., object])


def _beside(method: _Method) -> _Method:
    """Let Ray run a method in a thread of its own, beside the task. This is what `ray.method` sets; a worker that does
    not run in Ray needs no Ray."""
    vars(method)["__ray_concurrency_group__"] = WORDS
    return method


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """A worker that is ready.

    Attributes:
        host: Its machine.
        pid: Its process.
        gpus: The GPUs that it may use, as numbers.
    """

    host: str
    pid: int
    gpus: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.host}:{self.pid}"


@dataclass(frozen=True, slots=True)
class At:
    """How far a worker is with its task.

    Attributes:
        source: What it works on; empty if it is idle.
        done_ns: Media time that is done of the task.
        frames: Frames of the source that are done.
    """

    source: str = ""
    done_ns: int = 0
    frames: int = 0


class Worker:
    """Does the tasks of one fleet in one process.

    Args:
        settings: What workers agree on.
        work: Folder for unfinished memories on this machine; None for the default.
        to: Where shards lie.
        cores: How many cores its encoder may use; None for all.
    """

    def __init__(self, settings: Settings, work: str | None, to: str, cores: int | None) -> None:
        self._settings, self._to, self._cores = settings, to, cores
        self._work = Path(work) if work is not None else default_work()
        self._at = At()
        self._made: list[str] = []
        if cores is not None:  # before the libraries are imported that read them
            os.environ.update(dict.fromkeys(_THREADS, str(cores)))

    @_beside
    def hello(self) -> WorkerFacts:
        """Say who this is.

        Raises:
            WorkerError: It cannot take part: its vidmem is another one, or the encoder is missing.
        """
        from ..encoders import check

        if __version__ != self._settings.version:
            raise self._refused(
                f"it has vidmem {__version__}, not {self._settings.version}; install the same everywhere"
            )
        try:
            check(self._settings.encoder, self._settings.folder, complete=True)
        except VidmemError as error:
            raise self._refused(str(error)) from None
        self._sweep()
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        return WorkerFacts(socket.gethostname(), os.getpid(), tuple(filter(None, visible.split(","))))

    @_beside
    def at(self) -> At:
        """Say how far it is."""
        return self._at

    def find(self, entries: Sequence[Entry]) -> Listed:
        """Find the sources that entries lead to; see `inputs.find`."""
        from .inputs import find

        return find(entries, film=self._settings.film)

    def measure(self, inputs: Sequence[Input]) -> Listed:
        """Open sources for their fingerprints; see `inputs.measure`."""
        from .inputs import measure

        return measure(inputs, self._settings.decoder)

    def cut(self, given: Input, seconds: float) -> list[Stretch]:
        """Cut a source into stretches; see `stretches.stretches`."""
        from ..media import open_source
        from .stretches import stretches

        with open_source(given.address, self._settings.decoder) as source:
            return stretches(source, self._settings.config, seconds)

    def stretch(self, task: StretchTask, shard_key: str) -> int:
        """Encode a stretch and send its piece; return the number of answers, 0 if it was there."""
        from .making import about_piece, folder_of, made_folder
        from .moving import has_piece, pieces_place, send_piece
        from .stretches import write_piece

        self.forget_made()
        at = pieces_place(self._to, shard_key)
        if has_piece(at, task.key):
            return 0
        folder = folder_of(self._work, task.key)
        shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed
        made_folder(folder)
        begin = task.stretch.begin_ns

        def progress(t_ns: int, frames: int) -> None:
            self._at = At(task.source.name, max(0, t_ns - begin), frames)

        try:
            answers = write_piece(
                task.source.address,
                task.stretch,
                self._encoder,
                self._settings.config,
                folder / "piece",
                about_piece(shard_key),
                progress,
                self._settings.decoder,
            )
            send_piece(folder / "piece", at, task.key)
        finally:
            self._at = At()
            shutil.rmtree(folder, ignore_errors=True)
        return answers

    def shard(self, task: ShardTask, pieces: Sequence[str] = ()) -> ShardMade:
        """Make a shard; see `making.make_shard`."""
        from .making import make_shard

        def watch(source: str, done_ns: int, frames: int) -> None:
            self._at = At(source, done_ns, frames)

        self.forget_made()
        try:
            made = make_shard(task, self._settings, lambda: self._encoder, self._work, self._to, pieces, watch)
        finally:
            self._at = At()
        self._made.append(task.key)
        return made

    def forget_made(self) -> None:
        """Delete the memories of the shards that this worker made: they are in the catalogue now."""
        from .making import folder_of

        while self._made:
            shutil.rmtree(folder_of(self._work, self._made.pop()), ignore_errors=True)

    def _sweep(self) -> None:
        """Delete what killed workers left on this machine long ago."""
        try:
            folders = list(self._work.iterdir())
        except OSError:
            return
        for folder in folders:
            try:
                stale = time.time() - folder.stat().st_mtime > _STALE_S
            except OSError:
                continue
            if stale and _NAME.fullmatch(folder.name):
                shutil.rmtree(folder, ignore_errors=True)

    @functools.cached_property
    def _encoder(self) -> Encoder:
        """The encoder. Raises WorkerError if it is another one than the fleet's, or cannot be used."""
        from ..encoders import load
        from ..encoders.onnx import limit_cores

        settings = self._settings
        limit_cores(self._cores)
        try:
            loaded = load(settings.encoder, settings.device, settings.folder, masks=settings.masks)
        except VidmemError as error:
            raise self._refused(str(error)) from None
        info = loaded.info
        mine = (info.name, info.weights, info.regions, info.visual_dim, info.text_dim)
        wanted = (settings.name, settings.weights, settings.regions, settings.visual_dim, settings.text_dim)
        if mine != wanted:
            raise self._refused(
                f"its encoder `{info.name}` has other weights ({info.weights[:12]}, not {settings.weights[:12]}); pull "
                "the same there"
            )
        return loaded

    def _refused(self, cause: str) -> WorkerError:
        return WorkerError(f"the worker on {socket.gethostname()} is not used: {cause}")


def default_work() -> Path:
    """The folder for unfinished memories: VIDMEM_WORK, or one in the platform's folder for caches."""
    if given := os.environ.get("VIDMEM_WORK"):
        return Path(given)
    import platformdirs

    return Path(platformdirs.user_cache_dir("vidmem", appauthor=False)) / "fleet"
