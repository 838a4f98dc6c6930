"""Memory: open a folder, index videos, ask where things were last seen. The main class of the Python API."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Self, TypeVar

from .address import Address, without_secrets
from .config import IndexConfig, default_address, preset
from .display import memory_html, memory_text
from .encoders import DEFAULT, Calibration, Encoder, MaskSource, TextEncoder, check, check_masks, find
from .errors import UsageError
from .fleet.address import folder_of, is_fleet
from .fleet.opening import open_store
from .query import arguments
from .query.query import Query
from .render.pictures import Pictures, SheetDrawer
from .store import ModelRecord, SourceRow, Store, StoreStats, VectorCache, Vectors
from .store.gpu_scan import gpu_for

if TYPE_CHECKING:
    from datetime import date

    from .export.annotations import AnnotateReport
    from .indexer.dating import Dated
    from .indexer.indexing import Opened
    from .indexer.live import Policy, Session
    from .indexer.pipeline import SourceReport
    from .indexer.progress import Watcher
    from .indexer.reembed import ReembedReport
    from .media import Found
    from .query.arguments import Names, Sources, Time
    from .query.retention import Forgetting
    from .standing import StandingSession
    from .standing.opening import Receivers
    from .standing.questions import When
    from .store.standing import StandingRow

# Indexing, media and exports are imported where they are used: a question does not need them and starts sooner.


_P = ParamSpec("_P")
_R = TypeVar("_R")
_S = TypeVar("_S")


def _from(
    part: Callable[[Memory], _S], method: Callable[Concatenate[_S, _P], _R]
) -> Callable[Concatenate[Memory, _P], _R]:
    """A method of Memory that calls `method` on a part of it and keeps its signature and docstring.

    Type checkers read the signature from the ParamSpec; `help`, IPython and `inspect.signature` follow `__wrapped__`.
    """

    def call(self: Memory, /, *args: _P.args, **options: _P.kwargs) -> _R:
        return method(part(self), *args, **options)

    functools.update_wrapper(call, method)
    call.__module__, call.__qualname__ = __name__, f"Memory.{method.__name__}"
    return call


def _engine(spec: str) -> Callable[[Callable[[Store], Vectors]], Callable[[Store], Vectors]]:
    """What turns that which gives the vectors of a memory into that which gives those of an engine."""
    from .engines.milvus import searched_by

    return searched_by(spec)


def _opened(
    address: str | os.PathLike[str], read_only: bool, create: bool, device: str | None
) -> tuple[Store, Callable[[Store], Vectors]]:
    """The store at an address, a folder or a fleet, and what gives its vectors."""
    if not is_fleet(address):
        folder = folder_of(address)
        store = Store.open(folder) if read_only else Store.open(folder, write=True, create=create)
        return store, functools.partial(VectorCache, gpu=gpu_for(device))
    from .fleet.vectors import FleetVectors

    return open_store(address), FleetVectors.of


def _query(memory: Memory) -> Query:
    return memory.query


def _pictures(memory: Memory) -> Pictures:
    return Pictures(memory.query)


class Memory:
    """A memory folder and the encoder that made it. Use it as a context manager.

        with Memory.open("house.memory") as m:
            m.index("walk.mp4")
            last = m.where("umbrella")[0]
            last.source, last.start_s, last.box

    A Memory opened with `read_only` never takes the writer's lock, so any number of them can be open at the same time.

    Attributes:
        store: The files of the memory.
        query: The questions and the loaded encoder.
    """

    def __init__(self, store: Store, query: Query) -> None:
        """Use `Memory.open`."""
        self.store, self.query = store, query
        self._sessions: dict[str, Session] = {}

    where = _from(_query, Query.where)
    watch = _from(_query, Query.watch)
    timeline = _from(_query, Query.timeline)
    things = _from(_query, Query.things)
    haystack = _from(_query, Query.haystack)
    name_tracks = _from(_query, Query.name_tracks)
    parse = _from(_query, Query.parse)
    reading = _from(_query, Query.reading)
    calibrate = _from(_query, Query.calibrate)
    uncalibrate = _from(_query, Query.uncalibrate)
    settings = _from(_query, Query.settings)
    cache = _from(_query, Query.cache)

    picture = _from(_pictures, Pictures.picture)
    evidence = _from(_pictures, Pictures.evidence)
    sheet = _from(_pictures, Pictures.sheet)
    things_sheet = _from(_pictures, Pictures.things_sheet)
    timeline_sheet = _from(_pictures, Pictures.timeline_sheet)
    explain = _from(_pictures, Pictures.explain)
    clip = _from(_pictures, Pictures.clip)

    @property
    def encoder(self) -> Encoder:
        """Both sides of the encoder, loaded when first needed."""
        return self.query.encoder

    @property
    def text_encoder(self) -> TextEncoder:
        """The text side of the encoder; quick to load."""
        return self.query.text_encoder

    @property
    def calibration(self) -> Calibration:
        """When an answer counts as found; see `Query.calibration`."""
        return self.query.calibration

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str] | None = None,
        *,
        encoder: str | None = None,
        device: str | None = None,
        read_only: bool = False,
        weights: str | os.PathLike[str] | None = None,
        masks: str | os.PathLike[str] | MaskSource | None = None,
        any_weights: bool = False,
        create: bool = True,
        engine: str | None = None,
    ) -> Self:
        """Open the memory in a folder, or make a new one.

        Args:
            path: The folder; by default `config.default_address()`. Or a fleet, such as "fleet:house.catalogue", which
                takes questions only and is always opened as with `read_only`.
            encoder: By default the encoder that made the memory, or `tiny` for a new one.
            device: `cuda`, `mps` or `cpu`; by default the fastest one found.
            read_only: Open it for questions only, and never wait for a writer.
            weights: Folder with the encoder's weights; by default VIDMEM_WEIGHTS or the platform's data folder.
            masks: Where regions come from, for encoders that pool under masks; see `encoders.load`.
            any_weights: Open it even if other weights made it, so that `reembed` can renew its tokens. Until then they
                do not belong to the loaded encoder.
            create: Make the folder if it does not exist.
            engine: What searches: "milvus:URI", a server with vectors that `vidmem export milvus` wrote. It may miss
                tracks; answers then say that they are not exact. By default the memory itself, which misses none.

        Raises:
            UsageError: An argument has the wrong type, the path is empty, or the encoder takes no masks.
            StoreError: The memory is damaged or its folder is read-only, or it does not exist and is not to be made.
            LockedError: Another process is writing to it.
            VersionError: A newer vidmem made it.
            ModelMismatchError: Another encoder made it.
            ModelError: The encoder is unknown, or its weights are missing.
        """
        arguments.flags(read_only=read_only, any_weights=any_weights, create=create)
        if device is not None:
            arguments.phrase("device", device, "give cuda, mps or cpu")
        if weights is not None:
            arguments.path("weights", weights)
        if masks is not None and not isinstance(masks, MaskSource):
            arguments.path("masks", masks)
        searched = None if engine is None else _engine(arguments.text("engine", engine))
        address = default_address() if path is None else arguments.path("path", path)
        if encoder is not None:
            check(arguments.text("encoder", encoder), weights, complete=not read_only)  # before the folder is made
            if masks is not None:
                check_masks(encoder)
        store, vectors = _opened(address, read_only, create, device)
        if searched is not None:
            vectors = searched(vectors)
        try:
            made = store.model()
            spec = encoder or (made.encoder if made else DEFAULT)
            if masks is not None:
                check_masks(spec)
            drawer = SheetDrawer(store.address)
            said = encoder is not None
            query = Query(store, spec, device, weights, masks, album=drawer, said=said, vectors=vectors)
            memory = cls(store, query)
            if made is not None and not any_weights and (store.sources() or read_only):
                store.check_model(memory.model_record(made.config))
            return memory
        except BaseException:
            store.close()
            raise

    def close(self) -> None:
        """Close all sessions and the files. Closing twice is fine."""
        with ExitStack() as stack:  # close all of them even if one raises
            stack.callback(self.store.close)
            for session in self._sessions.values():
                stack.callback(session.close)
            self._sessions = {}

    def __repr__(self) -> str:
        return memory_text(self)

    def _repr_html_(self) -> str:
        return memory_html(self)

    def model_record(self, config: Any) -> ModelRecord:
        """What the store records about the encoder and these settings."""
        info = self.text_encoder.info
        return ModelRecord(info.name, info.weights, info.visual_dim, info.text_dim, config, info.regions)

    def index(
        self,
        *paths: str | os.PathLike[str] | Found | Iterable[str | os.PathLike[str] | Found],
        film: bool = False,
        config: IndexConfig | None = None,
        decoder: str = "pyav",
        progress: Watcher | None = None,
        on_source: Opened | None = None,
        topics: Names = (),
        clock: str = "log",
        pose: str | None = None,
        keep_views: bool = False,
        recorded: str | date | None = None,
    ) -> list[SourceReport]:
        """Index videos, logs, photos, folders and globs.

            m.index("holiday/", "cup.jpg", "walk.mp4")

        Finished sources are skipped, and an interrupted run is resumed. Photos are single pictures: identical files are
        indexed once, later runs add new and changed ones, and when their folder is given, deleted ones are forgotten.
        The photos of a folder are one source and give one `PicturesReport`.

        Args:
            paths: Paths, one by one or as a list.
            film: Treat folders of pictures as films, one picture a second. A folder that was indexed as a film stays
                one.
            config: Settings; by default those that made the memory, or the encoder's preset.
            decoder: `pyav` or `decord`.
            progress: Called with an `IndexProgress` after each batch of frames or photos.
            on_source: Called with each path and its opened source, with a folder of photos and its `Album`, or with the
                error that kept the source from opening. It may return a callback for progress that takes the media
                time in ns (0 for photos) and the number of frames. Without `on_source` the first source that cannot be
                opened raises.
            topics: Names or patterns of the topics of a log to index; each one is a source. Needed only if the log has
                more than one.
            clock: Which times count in a log: `log` (when a message was recorded) or `header` (the sender's stamp).
            pose: Topic of the poses to keep, or "tf" for transforms; by default the best one in the log. Poses of
                finished logs are read again.
            keep_views: Store the pictures of the views in the memory, for sources that will be deleted.
            recorded: What gives the time of recording, also for finished sources; see `set_recorded`. Sources for which
                it gives no time stay as they are. By default the container, then the file name, then the file's time.

        Returns:
            A report for each source.

        Raises:
            UsageError: No path, a URL, a bad `decoder`, a topic that does not exist or must be named, a `pose` topic
                without poses, or `film` for a folder that was indexed as photos.
            MediaError: A file does not exist or holds no picture; or, when all else is indexed, a folder cannot be
                read and there is no `on_source`.
            ModelMismatchError: The memory was made with other settings.
            StoreError: The memory cannot be written.
        """
        from .indexer import dating
        from .indexer.indexing import IndexOptions, find_sources, index_all
        from .indexer.plan import planned
        from .media import Photos

        arguments.flags(film=film, keep_views=keep_views)
        arguments.calls(progress=progress, on_source=on_source)
        if config is not None:
            arguments.made("config", config, IndexConfig, "an IndexConfig")
        for name, value in (("decoder", decoder), ("clock", clock), *(() if pose is None else [("pose", pose)])):
            arguments.text(name, value)
        wanted = [p if isinstance(p, Address | Photos) else arguments.path("paths", p) for p in arguments.each(paths)]
        named = arguments.paths("topics", topics)
        chosen = None if recorded is None else dating.parse_choice(arguments.recording("recorded", recorded))
        if not wanted:
            raise UsageError("nothing to index; name a file, a folder or a glob")
        self.store.check_writable()
        self._check_keeping(keep_views)
        refused: list[OSError] = []
        found = find_sources(wanted, named, film=film, clock=clock, pose=pose, refused=refused)
        todo = planned(found, self.store)
        if chosen is not None:
            dating.check(chosen, todo)
        config = config or self.settings()
        self.store.set_model(self.model_record(config.as_dict()))
        options = IndexOptions(
            decoder=decoder,
            pose=pose,
            keep_views=keep_views,
            recorded=chosen,
            progress=progress,
            on_source=on_source,
            refused=refused,
        )
        return index_all(todo, self.store, lambda: self.encoder, config, options)

    def set_recorded(self, source: str | os.PathLike[str], when: str | date) -> Dated:
        """Set when a source was recorded. Nothing is indexed again.

        Args:
            source: Path or name of a source, or of one photo in a folder.
            when: A datetime, a date (then only the day is known), or a text (see `timecode.parse_moment`), in local
                time unless it has a zone. Or what gives the time: "container" (for a photo its EXIF), "name", "mtime"
                (the file's time) or "none".

        Raises:
            UsageError: The source is not in the memory or has its own clock, `when` is not a date, or the named part of
                the file gives no time.
        """
        from .indexer.dating import parse_choice, redate

        name, chosen = arguments.path("source", source), parse_choice(arguments.recording("when", when))
        self.store.check_writable()
        return redate(self.store, name, chosen)

    def session(
        self,
        name: str,
        *,
        encoder: Encoder | str | None = None,
        config: IndexConfig | None = None,
        depth: int = 8,
        interval_s: float = 2.0,
        drop: Policy = "oldest",
        keep_views: bool = False,
        when: When = (),
        on_event: Receivers = None,
        min_probability: float | None = None,
        again_after_s: float = 60.0,
    ) -> StandingSession:
        """Index a camera live. The session's `append` takes pictures and never waits for the encoder.

            with memory.session("cam0") as session:
                session.append(image, time.time_ns())

        Memories opened with `read_only`, in other threads or processes, see all that the last checkpoint holds,
        including tracks that are still open. A crash loses what came after it.

        Args:
            name: Name of the source. A later session of the same name continues it.
            encoder: A loaded encoder, which several memories can share, or a name; by default the memory's own.
            config: Settings; by default those that made the memory, or the encoder's preset.
            depth: Maximum number of pictures that wait for the encoder.
            interval_s: Maximum number of seconds between checkpoints.
            drop: Which picture is dropped when `depth` are waiting: "oldest" or "newest". `session.stats` counts them.
            keep_views: Store the pictures of the views, which `reembed` needs after the session.
            when: Standing questions: texts and `StandingQuestion`s. With `on_event`, those of the memory are asked, too
                (see `standing_questions`).
            on_event: Where each new sighting is told: a function of a `StandingEvent`, a `Sink` such as `Webhook`, or
                several. They run in threads of their own.
            min_probability: Minimum probability of a sighting that is told; by default .8.
            again_after_s: How many seconds a thing must be out of view before it is told of again.

        Raises:
            UnknownWordError: The encoder does not know a word of a standing question.
            DeliveryError: A receiver of events cannot be reached.
            UsageError: The name, depth, interval or policy is not valid, or a session of that name is open.
            ModelMismatchError: The memory was made by another encoder or with other settings.
            ModelError: The encoder is unknown, or its weights are missing.
            StoreError: The memory cannot be written.
        """
        from .standing import StandingSession
        from .standing.opening import open_standing

        arguments.flags(keep_views=keep_views)
        min_probability = arguments.share("min_probability", min_probability)
        again_after_s = arguments.number("again_after_s", again_after_s, "a number of seconds, 0 or more", 0, 1e8)
        name = without_secrets(arguments.text("name", name), whole=True)
        depth = arguments.whole("depth", depth)
        interval_s = arguments.number("interval_s", interval_s, "a number of seconds above 0")
        if config is not None:
            arguments.made("config", config, IndexConfig, "an IndexConfig")
        if encoder is not None and not isinstance(encoder, Encoder):
            arguments.made("encoder", encoder, str, "a name, such as tiny, or an Encoder")
        self.store.check_writable()
        running = self._sessions.get(name)
        if running is not None and not running.closed:
            raise UsageError(f"a session {name!r} is open already; close it first")
        if encoder is not None:
            self._take(encoder)
        self._check_keeping(keep_views)
        config = config or self.settings()
        self.store.set_model(self.model_record(config.as_dict()))
        standing = open_standing(self.query, name, when, on_event, min_probability, again_after_s)
        try:
            session = StandingSession(
                self.store,
                self.encoder,
                config,
                name,
                depth=depth,
                interval_s=interval_s,
                drop=drop,
                keep_views=keep_views,
                standing=standing,
            )
        except BaseException:
            if standing is not None:
                standing.close()
            raise
        self._sessions[name] = session
        return session

    def standing_questions(self) -> list[StandingRow]:
        """The questions that every live session with receivers is asked, the oldest first."""
        return self.store.standing()

    def add_standing_questions(self, names: str | Iterable[str], *, min_probability: float | None = None) -> None:
        """Add standing questions to this memory, in words; sessions that are opened later are asked.

        Args:
            names: One phrase, or several. One that is there gets the new probability.
            min_probability: Minimum probability of a sighting that is told; by default that of the session.

        Raises:
            UnknownWordError: The encoder does not know a word.
            UsageError: As `session`.
            StoreError: The memory cannot be written.
        """
        from .standing.opening import check_names

        given = arguments.phrases("names", names, needed=True)
        share = arguments.share("min_probability", min_probability)
        self.store.check_writable()
        check_names(self.query, given, share)
        self.store.add_standing(given, share)

    def remove_standing_questions(self, names: str | Iterable[str]) -> None:
        """Remove standing questions from this memory. Raises UsageError if one is not there."""
        given = arguments.phrases("names", names, needed=True)
        self.store.check_writable()
        known = [row.text for row in self.store.standing()]
        if missing := [name for name in given if name not in known]:
            there = ", ".join(known[:5]) or "none"
            raise UsageError(f"there is no standing question {missing[0][:40]!r}; there are: {there}")
        self.store.drop_standing(given)

    def reembed(
        self, encoder: str | None = None, progress: Callable[[str, int, int], None] | None = None
    ) -> ReembedReport:
        """Replace the tokens of all tracks by those of another encoder, computed from their best views.

        Nothing is indexed again. Until it is done, questions are answered with the old tokens; an interrupted run is
        resumed. Tracks of sources whose files are gone cannot be found until it runs again with the files in place; the
        report names these sources.

        Args:
            encoder: Its name; by default the memory's own encoder, whose weights may have changed with this version.
            progress: Called with the source, the number of tracks done, and the total.

        Raises:
            UsageError: The encoder does not look at views, or a source is not fully indexed.
            ModelError: The encoder is unknown, or its weights are missing.
            StoreError: The memory cannot be written.
        """
        from .indexer.reembed import reembed

        if encoder is not None:
            arguments.phrase("encoder", encoder, "name one, such as tiny")
        arguments.calls(progress=progress)
        self.store.check_writable()
        made = self.store.model()
        spec = encoder or (made.encoder if made else self.query.spec)
        if encoder is None:
            self.query.check_named(spec)
        loaded = self.query.load_another(spec)
        # The new encoder decides how things are tracked from now on; how sources are sampled stays.
        known = preset(find(spec).preset)
        kept = known if made is None else IndexConfig.from_dict(made.config)
        config = replace(
            known, fps=kept.fps, checkpoint_frames=kept.checkpoint_frames, batch=kept.batch, still=kept.still
        )
        info = loaded.info
        target = ModelRecord(info.name, info.weights, info.visual_dim, info.text_dim, config.as_dict(), info.regions)
        self.query.use_next(loaded)
        report = reembed(self.store, loaded, target, progress)
        self.query.use(loaded)
        self.store.settle()
        return report

    def _check_keeping(self, keep_views: bool) -> None:

        if keep_views and self.encoder.views is None:
            raise UsageError(
                f"`{self.query.spec}` does not look at views, so there are none to keep; leave `keep_views` out"
            )

    def _take(self, encoder: Encoder | str) -> None:
        """Continue with this encoder. Raises ModelMismatchError when another one made the memory."""
        loaded = self.query.load_another(encoder) if isinstance(encoder, str) else encoder
        made = self.store.model()
        if made is not None and self.store.sources():
            info = loaded.info
            self.store.check_model(
                ModelRecord(info.name, info.weights, info.visual_dim, info.text_dim, made.config, info.regions)
            )
        self.query.use(loaded)

    def annotate(
        self,
        source: str | os.PathLike[str],
        out: str | os.PathLike[str],
        *,
        labels: Names = (),
        everything: bool = False,
    ) -> AnnotateReport:
        """Write the tracks of a source to a new file.

        Args:
            source: Path or name of an indexed source.
            out: The file. Its suffix is the format: .mcap is a copy of an MCAP log with annotations, .rrd a Rerun
                recording, .parquet a table of spans.
            labels: A phrase, or several. Each track gets the most probable one that `where` finds it for; tracks
                without one are left out.
            everything: Keep the tracks without a label. Without `labels` all tracks are written.

        Raises:
            UsageError: As `export.annotate.annotate`.
            MediaError: As `export.annotate.annotate`.
        """
        from .export.annotate import annotate

        arguments.flags(everything=everything)
        phrases = arguments.phrases("labels", labels)
        path, target = arguments.path("source", source), arguments.path("out", out)
        return annotate(self.query, path, target, labels=phrases, everything=everything)

    def sources(self) -> list[SourceRow]:
        """All sources, in the order in which they were added."""
        return self.store.sources()

    def stats(self) -> StoreStats:
        """Counts, and the bytes on disk."""
        return self.store.stats()

    def remove(self, *names: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> list[SourceRow]:
        """Remove sources or photos: their rows, vectors and masks are deleted from the files.

        Args:
            names: Paths or unique file names, one by one or as a list.

        Returns:
            The sources as they were, or for photos the source that holds them.

        Raises:
            UsageError: A name is not in the memory. Nothing is removed then.
        """
        from .query.retention import removals, remove

        paths = arguments.paths("names", arguments.each(names))
        self.store.check_writable()
        found = removals(self.store, paths)
        remove(self.store, found)
        return [row for row, _ in found]

    def forget(
        self, *, before: Time | None = None, sources: Sources = (), thing: str | int | None = None, dry_run: bool = True
    ) -> list[Forgetting]:
        """Forget what was seen before a time, whole sources, or one thing. By default it only says what would go.

        Nothing that is forgotten stays in the files. A track that goes on after `before` keeps its vectors, which are
        means over all of its frames.

        Args:
            before: As in `where`; for `sources`, or for all.
            sources: Paths or names of sources.
            thing: A phrase, or the id of a track: forgets its tracks and all that look like them, in `sources` or in
                all. The encoder must know every word of the phrase.
            dry_run: Change nothing.

        Returns:
            What is forgotten, for each source.

        Raises:
            UsageError: As `query.retention.plan`, or `thing` together with `before`. Nothing is forgotten then.
            StoreError: As `Store.remove_parts`. Nothing is forgotten then.
        """
        from .query.retention import carry_out, plan, tracks_of

        arguments.flags(dry_run=dry_run)
        moment, paths = arguments.moment(before, "before"), arguments.paths("sources", sources)
        query = None if thing is None else arguments.thing(thing)
        if moment is not None and query is not None:
            raise UsageError("`thing` is forgotten for all times; leave `before` out")
        if not dry_run:
            self.store.check_writable()
        with self.store.snapshot() if query is None else self.query.view():
            tracks = None if query is None else tracks_of(self.query, query)
            steps = plan(self.store, before=moment, sources=paths, tracks=tracks)
        if not dry_run:
            carry_out(self.store, steps)
        return steps

    def compact(self) -> int:
        """Join small blobs and return free space to the file system.

        Returns:
            The number of blobs saved.

        Raises:
            StoreError: The memory cannot be written.
        """
        self.store.check_writable()
        joined = self.store.compact()
        self.query.drop_cache()
        return joined
