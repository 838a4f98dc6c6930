"""Memory: the Python front door. Open a folder, index videos, ask where things were last seen."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Self, TypeVar

from .address import Address
from .config import IndexConfig, preset
from .encoders import DEFAULT, Calibration, Encoder, TextEncoder, check, check_masks, default_preset
from .errors import UsageError
from .query import arguments
from .query.query import Query
from .render.album import Album as Drawn
from .render.pictures import Pictures
from .store import ModelRecord, SourceRow, Store, StoreStats

if TYPE_CHECKING:
    from datetime import date

    from .encoders.masks.source import MaskSource
    from .export.annotate import Written
    from .indexer.dating import Dated
    from .indexer.indexing import Opened
    from .indexer.live import Policy, Session
    from .indexer.pipeline import SourceReport
    from .indexer.progress import Watcher
    from .indexer.reembed import ReembedReport
    from .media import Found
    from .query.arguments import Names, Sources, Time
    from .query.retention import Forgetting


def default_folder() -> Path:
    """VIDMEM_MEMORY, or a folder in the platform's place for data."""
    if named := os.environ.get("VIDMEM_MEMORY"):
        return Path(named)
    import platformdirs

    return Path(platformdirs.user_data_dir("vidmem", appauthor=False)) / "memory"


_P = ParamSpec("_P")
_R = TypeVar("_R")
_S = TypeVar("_S")


def _from(
    part: Callable[[Memory], _S], method: Callable[Concatenate[_S, _P], _R]
) -> Callable[Concatenate[Memory, _P], _R]:
    """A method of Memory that is one of a part of it, with its signature and docstring."""

    def call(self: Memory, /, *args: _P.args, **options: _P.kwargs) -> _R:
        return method(part(self), *args, **options)

    functools.update_wrapper(call, method)
    return call


def _query(memory: Memory) -> Query:
    return memory.query


def _pictures(memory: Memory) -> Pictures:
    return Pictures(memory.query)


class Memory:
    """One memory folder and the encoder that made it. Use it as a context manager.

        with Memory.open("house.memory") as m:
            m.index("walk.mp4")
            last = m.where("umbrella")[0]
            last.source, last.start_s, last.box

    A Memory opened with `read_only` never takes the writer's lock, so any number of them may be open at once. store:
    the files. query: every question, and the loaded encoder.
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
    haystack_questions = _from(_query, Query.haystack_questions)
    name_tracks = _from(_query, Query.name_tracks)
    parse = _from(_query, Query.parse)
    reading = _from(_query, Query.reading)
    calibrate = _from(_query, Query.calibrate)
    uncalibrate = _from(_query, Query.uncalibrate)
    settings = _from(_query, Query.settings)
    cache = _from(_query, Query.cache)

    picture = _from(_pictures, Pictures.picture)
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
    ) -> Self:
        """Open the memory in the folder `path` (by default `default_folder()`), made when missing.

        encoder: by default the one that made the memory, or `tiny` for a new one. device: cuda, mps or cpu.
        weights: the folder of the encoder's weights, by default VIDMEM_WEIGHTS or the platform's folder for data.
        masks: where regions come from, for encoders that pool under masks; see `encoders.load`. any_weights: open it
        whatever weights made it, to `reembed` it; its tokens are not those of the encoder then. create: make it when
        it is missing.

        Raises:
            UsageError: an argument of a wrong type or an empty path; or the encoder takes no masks.
            StoreError: it cannot be opened (missing with read_only, damaged, read-only folder).
            LockedError: another process is writing to it. VersionError: made by a newer vidmem.
            ModelMismatchError: it was made by another encoder.
            ModelError: there is no such encoder, or its weights are missing.
        """
        arguments.flags(read_only=read_only, any_weights=any_weights, create=create)
        if device is not None:
            arguments.phrase("device", device, "give cuda, mps or cpu")
        if weights is not None:
            arguments.path("weights", weights)
        if masks is not None and not hasattr(masks, "of_picture"):
            arguments.path("masks", masks)
        folder = default_folder() if path is None else Path(arguments.path("path", path))
        if encoder is not None:
            check(arguments.text("encoder", encoder), weights, complete=not read_only)  # before a folder is made for it
            if masks is not None:
                check_masks(encoder)
        store = Store.open(folder) if read_only else Store.open(folder, write=True, create=create)
        try:
            made = store.model()
            spec = encoder or (made.encoder if made else DEFAULT)
            if masks is not None:
                check_masks(spec)
            memory = cls(store, Query(store, spec, device, weights, masks, album=Drawn(str(store.folder))))
            if made is not None and not any_weights and (store.sources() or read_only):
                store.check_model(memory.model_record(made.config))
            return memory
        except BaseException:
            store.close()
            raise

    def close(self) -> None:
        """Close the sessions and the files. Does nothing the second time."""
        with ExitStack() as stack:  # all of them, whatever one of them raises
            stack.callback(self.store.close)
            for session in self._sessions.values():
                stack.callback(session.close)
            self._sessions = {}

    def __repr__(self) -> str:
        from .display import memory_text

        return memory_text(self)

    def _repr_html_(self) -> str:
        from .display import memory_html

        return memory_html(self)

    def model_record(self, config: Any) -> ModelRecord:
        """What the store keeps of the encoder and these settings."""
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
        """Index videos, logs, photos, folders and globs; go on where an earlier run stopped; skip what is done.

            m.index("holiday/", "cup.jpg", "walk.mp4")

        They are given one by one, or as a list. Photos are single pictures: the same content is indexed once, later
        runs take in what is new or changed, and when their folder is given they forget what is gone. Those of a folder
        are one source, with a `PicturesReport`.

        film: folders of pictures are films, each picture a second; what the memory has as a film already stays one.
        config: by default the settings that made the memory, or the encoder's preset. progress: called with an
        IndexProgress after every batch of frames or photos. on_source: called with every path and its opened source, or
        for photos with their folder and an `Album`, or with the error that kept it from opening; may return a callback
        for progress (media ns, which is 0 for photos, and frames). Without it, the first source that cannot be opened
        raises. topics: names or patterns of the topics of logs that are to be watched,
        each a source of its own; may be left out when there is one alone. clock: whose times count there, log (when it
        was recorded) or header (the sender's stamp). pose: the topic of the poses to keep, "tf" for transforms, instead
        of the best that the log has; of logs done before they are read anew. keep_views: keep the pictures of the views
        in the memory, for sources that will be gone. recorded: what tells when they were recorded, also of those that
        are done, as in `set_recorded`; where it tells nothing all stays as it was. By default the container, else the
        name, else the time of the file.

        Raises:
            UsageError: no path, a URL, a bad decoder, a topic that is not there or not named, a pose topic without
            poses, a film of what the memory has as photos. MediaError: a file is missing or holds no picture.
            ModelMismatchError: the memory was made with other settings. StoreError: it cannot be written.
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
        chosen = None if recorded is None else dating.choice(arguments.recording("recorded", recorded))
        if not wanted:
            raise UsageError("nothing to index; name a file, a folder or a glob")
        self.store.check_writable()
        self._check_keeping(keep_views)
        todo = planned(find_sources(wanted, named, film=film, clock=clock, pose=pose), self.store)
        if chosen is not None:
            dating.check(chosen, todo)
        config = config or self.settings()
        self.store.set_model(self.model_record(config.as_dict()))
        options = IndexOptions(
            decoder=decoder, pose=pose, keep_views=keep_views, recorded=chosen, progress=progress, on_source=on_source
        )
        return index_all(todo, self.store, lambda: self.encoder, config, options)

    def set_recorded(self, source: str | os.PathLike[str], when: str | date) -> Dated:
        """Tell when a source was recorded; nothing is indexed again.

        source: its path or name; or a single picture of a folder of them. when: a date with a time, as a text (see
        `when.parse_moment`) or a datetime, without a zone it is local; a date, of which the day counts alone; or what
        is to tell it: "container" (of a photo its EXIF), "name", "mtime" (the time of the file), or "none".

        Raises:
            UsageError: no such source, one with a clock of its own, no date, or what was named tells nothing.
        """
        from .indexer.dating import choice, mend

        name, chosen = arguments.path("source", source), choice(arguments.recording("when", when))
        self.store.check_writable()
        return mend(self.store, name, chosen)

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
    ) -> Session:
        """Watch a camera live: the session's `append` takes pictures and never waits for the encoder.

            with memory.session("cam0") as session:
                session.append(image, time.time_ns())

        name: of the source; a later session of the same name goes on where it ended. encoder: one that is loaded
        already, so that memories can share it, or its name; by default the memory's. depth: pictures that may wait for
        the encoder; drop: which goes when they are that many, "oldest" or "newest"; `session.stats` counts them.
        interval_s: a checkpoint at least this often. Memories opened with `read_only`, in threads or processes of
        their own, see what is in it, tracks that are still open too; a crash loses what came after it. keep_views: keep
        the pictures of the views, which `reembed` needs when it is over.

        Raises:
            UsageError: no such name, depth, interval or policy; or a session of the name is open already.
            ModelMismatchError: the memory was made by another encoder or with other settings. ModelError: there is no
            such encoder, or its weights are missing. StoreError: it cannot be written.
        """
        from .indexer.live import Session

        arguments.flags(keep_views=keep_views)
        arguments.text("name", name)
        depth = arguments.whole("depth", depth)
        interval_s = arguments.number("interval_s", interval_s, "a number of seconds above 0")
        if config is not None:
            arguments.made("config", config, IndexConfig, "an IndexConfig")
        if encoder is not None and not hasattr(encoder, "info"):
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
        session = Session(
            self.store, self.encoder, config, name, depth=depth, interval_s=interval_s, drop=drop, keep_views=keep_views
        )
        self._sessions[name] = session
        return session

    def reembed(
        self, encoder: str | None = None, progress: Callable[[str, int, int], None] | None = None
    ) -> ReembedReport:
        """Give all tracks the tokens of another encoder, from their best views; nothing is indexed again.

        encoder: its name, or None for the memory's own, whose weights this version may have renewed. progress: called
        with the source, the tracks done and all of them. Until it is done questions are answered with the old tokens;
        what was interrupted goes on. Sources that are gone are named in the report: no question finds their tracks
        until it is run again with them in place.

        Raises:
            UsageError: the encoder looks at no views, or a source is not indexed to its end. ModelError: there is no
            such encoder, or its weights are missing. StoreError: the memory cannot be written.
        """
        from .indexer.reembed import reembed

        if encoder is not None:
            arguments.phrase("encoder", encoder, "name one, such as tiny")
        arguments.calls(progress=progress)
        self.store.check_writable()
        made = self.store.model()
        spec = encoder or (made.encoder if made else self.query.spec)
        loaded = self.query.load_another(spec)
        # How things are followed from now on is the encoder's choice; what is asked of a source stays.
        known = preset(default_preset(spec))
        kept = known if made is None else IndexConfig.from_dict(made.config)
        config = replace(
            known, fps=kept.fps, checkpoint_frames=kept.checkpoint_frames, batch=kept.batch, still=kept.still
        )
        info = loaded.info
        target = ModelRecord(info.name, info.weights, info.visual_dim, info.text_dim, config.as_dict(), info.regions)
        report = reembed(self.store, loaded, target, progress)
        self.store.settle()
        self.query.use(loaded)
        return report

    def _check_keeping(self, keep_views: bool) -> None:
        from .indexer.step import view_encoder

        if keep_views and view_encoder(self.encoder) is None:
            raise UsageError(
                f"`{self.query.spec}` looks at no views, so there are none to keep; leave `keep_views` out"
            )

    def _take(self, encoder: Encoder | str) -> None:
        """Go on with this encoder, if what the memory holds is of its making."""
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
    ) -> Written:
        """Write tracks beside the recording: .mcap a copy of an MCAP log with annotations, .rrd for Rerun, .parquet a
        table of spans.

        labels: a phrase, or several; a track bears the likeliest of those that `where` finds it for, and others are not
        written unless there are no labels, or everything is true. Raises UsageError and MediaError as
        `annotate.annotate`.
        """
        from .export.annotate import annotate

        arguments.flags(everything=everything)
        names = arguments.phrases("labels", labels)
        return annotate(
            self.query,
            arguments.path("source", source),
            arguments.path("out", out),
            labels=names,
            everything=everything,
        )

    def sources(self) -> list[SourceRow]:
        """What is in the memory, in the order in which it was added."""
        return self.store.sources()

    def stats(self) -> StoreStats:
        """Counts, and bytes on disk."""
        return self.store.stats()

    def remove(self, *names: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> list[SourceRow]:
        """Forget sources or photos, by path or unique file name, one by one or as a list: rows, vectors and masks are
        gone from the files. The sources that they are, or are of, as they were.

        Raises UsageError for a name that is not there, before anything is removed.
        """
        from .query.retention import removals, remove

        given = arguments.paths("names", arguments.each(names))
        self.store.check_writable()
        wanted = removals(self.store, given)
        remove(self.store, wanted)
        return [row for row, _ in wanted]

    def forget(
        self, *, before: Time | None = None, sources: Sources = (), thing: str | int | None = None, dry_run: bool = True
    ) -> list[Forgetting]:
        """What was seen before a time, sources, or one thing; with dry_run (the default) it is only told.

        before: as in `where`; of these sources, or of all. thing: a phrase, or the id of a track: its tracks and all
        that look like them, in these sources or in all; a phrase must be read as it is said. Nothing of what is
        forgotten is left in the files; a track that goes on after `before` keeps its vectors, which
        are means over all its frames.

        Raises UsageError as `retention.plan`, StoreError as `Store.remove_parts`; nothing is forgotten then.
        """
        from .query.retention import carry_out, plan, tracks_of

        arguments.flags(dry_run=dry_run)
        moment, places = arguments.moment(before, "before"), arguments.paths("sources", sources)
        wanted = None if thing is None else arguments.thing(thing)
        if moment is not None and wanted is not None:
            raise UsageError("`thing` is forgotten at all times; give it without `before`")
        if not dry_run:
            self.store.check_writable()
        tracks = None if wanted is None else tracks_of(self.query, wanted)
        steps = plan(self.store, before=moment, sources=places, tracks=tracks)
        if not dry_run:
            carry_out(self.store, steps)
        return steps

    def compact(self) -> int:
        """Join small blobs and give free space on disk back; how many blobs there are fewer. Raises StoreError."""
        self.store.check_writable()
        joined = self.store.compact()
        self.query.drop_cache()
        return joined
