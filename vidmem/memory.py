"""Memory: the Python front door. Open a folder, index videos, ask where things were last seen."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

from .address import exists
from .closing import Closing
from .config import IndexConfig, preset
from .encoders import DEFAULT, Encoder, TextEncoder, check, check_masks, default_preset, load
from .errors import MediaError, UsageError
from .records import NS, Box, Float32, Sighting
from .store import ModelRecord, SourceRow, Store, StoreStats, VectorCache

if TYPE_CHECKING:
    from PIL import Image

    from .annotate import Written
    from .encoders.masks import MaskSource
    from .indexer.live import Policy, Session
    from .indexer.pipeline import SourceReport
    from .media import Source
    from .query.explain import Explained
    from .query.labels import LabelSet
    from .query.scenes import Parse, Way
    from .query.where import Answer, Asked, Thing
    from .retention import Forgetting
    from .when import Moment

Opened = Callable[[str, "Source | MediaError"], "Callable[[int, int], None] | None"]


def default_folder() -> Path:
    """VIDMEM_MEMORY, or a folder in the platform's place for data."""
    if named := os.environ.get("VIDMEM_MEMORY"):
        return Path(named)
    import platformdirs

    return Path(platformdirs.user_data_dir("vidmem", appauthor=False)) / "memory"


class Memory(Closing):
    """One memory folder and the encoder that made it. Use it as a context manager.

        with Memory.open("house.memory") as m:
            m.index("walk.mp4")
            last = m.where("umbrella")[0]
            last.source, last.start_s, last.box

    A Memory opened with `read_only` never takes the writer's lock, so any number of them may be open at once.
    """

    def __init__(
        self, store: Store, encoder: str, device: str | None, weights: str | os.PathLike[str] | None = None,
        masks: str | os.PathLike[str] | MaskSource | None = None,
    ) -> None:  # fmt: skip
        self.store, self._masks = store, masks
        self._spec, self._device, self._weights = encoder, device, weights
        self._encoder: Encoder | None = None
        self._text: TextEncoder | None = None
        self._cache: VectorCache | None = None
        self._sessions: dict[str, Session] = {}

    @classmethod
    def open(
        cls, path: str | os.PathLike[str] | None = None, *, encoder: str | None = None, device: str | None = None,
        read_only: bool = False, weights: str | os.PathLike[str] | None = None,
        masks: str | os.PathLike[str] | MaskSource | None = None,
    ) -> Self:  # fmt: skip
        """Open the memory in the folder `path` (by default `default_folder()`), made when missing.

        encoder: by default the one that made the memory, or `tiny` for a new one. device: cuda, mps or cpu.
        weights: the folder of the encoder's weights, by default VIDMEM_WEIGHTS or the platform's folder for data.
        masks: where regions come from, for encoders that pool under masks; see `encoders.load`.

        Raises:
            UsageError: the encoder takes no masks.
            StoreError: it cannot be opened (missing with read_only, damaged, read-only folder).
            LockedError: another process is writing to it. VersionError: made by a newer vidmem.
            ModelMismatchError: it was made by another encoder.
            ModelError: there is no such encoder, or its weights are missing.
        """
        if encoder is not None:
            check(encoder, weights, complete=not read_only)  # before a folder is made for it
            if masks is not None:
                check_masks(encoder)
        folder = default_folder() if path is None else Path(path)
        store = Store.open(folder) if read_only else Store.open(folder, write=True, create=True)
        try:
            made = store.model()
            spec = encoder or (made.encoder if made else DEFAULT)
            if masks is not None:
                check_masks(spec)
            memory = cls(store, spec, device, weights, masks)
            if made is not None and (store.sources() or read_only):
                store.check_model(memory._record(made.config))
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

    @property
    def text_encoder(self) -> TextEncoder:
        """The text side of the encoder; quick to load, or with what this memory remembers of earlier questions."""
        if self._text is None:
            from .remembered import text_side

            self._text = text_side(self._spec, self._weights, self.store)
        return self._text

    @property
    def encoder(self) -> Encoder:
        """Both sides of the encoder, loaded when first needed."""
        if self._encoder is None:
            self._encoder = load(self._spec, self._device, self._weights, masks=self._masks)
            self._text = self._encoder
        return self._encoder

    def _record(self, config: Any) -> ModelRecord:
        info = self.text_encoder.info
        return ModelRecord(info.name, info.weights, info.visual_dim, info.text_dim, config)

    def index(
        self, *paths: str | os.PathLike[str], config: IndexConfig | None = None, decoder: str = "pyav",
        on_source: Opened | None = None, topics: Sequence[str] = (), clock: str = "log",
    ) -> list[SourceReport]:  # fmt: skip
        """Index files, folders and globs; go on where an earlier run stopped; skip what is done.

        config: by default the settings that made the memory, or the preset `default`. on_source: called with every
        path and its opened source, or the error that kept it from opening; may return a callback for progress
        (media ns, frames). Without it, the first source that cannot be opened raises. topics: names or patterns of the
        topics of logs that are to be watched, each a source of its own; may be left out when there is one alone. clock:
        whose times count there, log (when it was recorded) or header (the sender's stamp).

        Raises:
            UsageError: no path, a URL, a bad decoder, a topic that is not there or not named. MediaError: a file is
            missing or holds no picture.
            ModelMismatchError: the memory was made with other settings. StoreError: it cannot be written.
        """
        from .indexer.pipeline import done_before, index_source
        from .media import discover, open_source, parts

        if not paths:
            raise UsageError("nothing to index; name a file, a folder or a glob")
        found = [part for path in discover([os.fspath(p) for p in paths]) for part in parts(path, topics, clock)]
        config = config or self.settings()
        record = self._record(config.as_dict())
        self.store.set_model(record)
        reports = []
        for path in found:
            try:
                _check_name(path)
                source = open_source(path, decoder)
            except MediaError as error:
                if on_source is None:
                    raise
                on_source(path, error)
                continue
            with source:
                progress = on_source(path, source) if on_source else None
                try:
                    known = done_before(source, self.store)  # asked first: the encoder may take seconds to load
                    reports.append(known or index_source(source, self.encoder, self.store, config, progress))
                except MediaError as error:
                    if on_source is None:
                        raise
                    on_source(path, error)
        self.store.settle()
        return reports

    def session(
        self, name: str, *, config: IndexConfig | None = None, depth: int = 8, interval_s: float = 2.0,
        drop: Policy = "oldest",
    ) -> Session:  # fmt: skip
        """Watch a camera live: the session's `append` takes pictures and never waits for the encoder.

            with memory.session("cam0") as session:
                session.append(image, time.time_ns())

        name: of the source; a later session of the same name goes on where it ended. depth: pictures that may wait for
        the encoder; drop: which goes when they are that many, "oldest" or "newest"; `session.stats` counts them.
        interval_s: a checkpoint at least this often. Memories opened with `read_only`, in threads or processes of
        their own, see what is in it, tracks that are still open too; a crash loses what came after it.

        Raises:
            UsageError: no such name, depth, interval or policy; or a session of the name is open already.
            ModelMismatchError: the memory was made with other settings. StoreError: it cannot be written.
        """
        from .indexer.live import Session

        running = self._sessions.get(name)
        if running is not None and not running.closed:
            raise UsageError(f"a session {name!r} is open already; close it first")
        config = config or self.settings()
        self.store.set_model(self._record(config.as_dict()))
        session = Session(self.store, self.encoder, config, name, depth=depth, interval_s=interval_s, drop=drop)
        self._sessions[name] = session
        return session

    def settings(self) -> IndexConfig:
        """The settings that the memory was made with, or the encoder's preset for a new one."""
        made = self.store.model()
        if made and self.store.sources():
            return IndexConfig.from_dict(made.config)
        return preset(default_preset(self._spec))

    def where(
        self, text: str | None = None, *, image: str | os.PathLike[str] | Image.Image | None = None,
        crop: tuple[str, int, Box] | None = None, most: int | None = 1, threshold: float | None = None,
        sources: Sequence[str] = (), after: Moment | None = None, before: Moment | None = None,
        near: Sequence[str] = (), within_ns: int = 2 * NS, apart: float = 1.0,
    ) -> Answer:  # fmt: skip
        """When and where the thing was seen, newest first; empty, with near misses, when it was not.

        text: a phrase. image: a picture of the thing. crop: (source, t_ns, box) in an indexed video. A text and a
        picture together are scored by the product. most: how many sightings, None for all. threshold: use this
        score instead of the calibrated tests. sources: in these alone. after, before: from that moment on, and until
        just before it (see `when.parse_moment`). near: other things, each in view within within_ns, with a gap of at
        most `apart` longest sides between the boxes.

        Raises:
            UsageError: nothing asked for, both image and crop, an unreadable phrase, an empty box, a name that is not
                there, a time that ends before it begins, clock time where no source has it.
            MediaError: the picture cannot be read. StoreError: the memory is damaged.
        """
        from .query.where import where

        asked, query, notes = self._asked(
            text, image, crop, threshold, sources, after, before, near, within_ns, apart
        )
        return where(
            self.store, self.cache(), self.text_encoder.info.calibration, text=asked.text, visual=asked.visual,
            contrast=asked.contrast, threshold=threshold, most=most, query=query, spans=asked.spans, near=asked.near,
            within_ns=within_ns, apart=apart, notes=notes,
        )  # fmt: skip

    def timeline(
        self, text: str | None = None, *, image: str | os.PathLike[str] | Image.Image | None = None,
        crop: tuple[str, int, Box] | None = None, threshold: float | None = None, sources: Sequence[str] = (),
        after: Moment | None = None, before: Moment | None = None, near: Sequence[str] = (), within_ns: int = 2 * NS,
        apart: float = 1.0, alike: bool = False,
    ) -> list[Thing]:  # fmt: skip
        """All sightings, thing by thing, the one seen last first; tracks that look alike are one thing seen again (see
        query/things.py). alike: with those of what looks like a thing that was found. The rest as in `where`."""
        from .query.where import timeline

        asked, _, _ = self._asked(text, image, crop, threshold, sources, after, before, near, within_ns, apart)
        return timeline(self.store, self.cache(), self.text_encoder.info.calibration, asked, alike=alike)

    def watch(
        self, names: Sequence[str], *, sources: Sequence[str] = (), after: Moment | None = None,
        before: Moment | None = None,
    ) -> list[Answer]:  # fmt: skip
        """When and where each of `names` was seen last, as `where` tells it for one. They are read in one go, and all
        are looked for in the same state of the memory."""
        from .query.where import where

        if not names:
            return []
        spans, notes = self._spans(sources, after, before)
        cache = self.cache()
        calibration = self.text_encoder.info.calibration
        return [
            where(self.store, cache, calibration, text=vector, contrast=self.text_encoder.contrast(vector),
                  query={"text": name, "image": None, "crop": None}, spans=spans, notes=notes)
            for name, vector in zip(names, self._vectors(names), strict=True)
        ]  # fmt: skip

    def _asked(
        self, text: str | None, image: str | os.PathLike[str] | Image.Image | None,
        crop: tuple[str, int, Box] | None, threshold: float | None, sources: Sequence[str], after: Moment | None,
        before: Moment | None, near: Sequence[str], within_ns: int, apart: float,
    ) -> tuple[Asked, dict[str, object], list[str]]:  # fmt: skip
        """The question as vectors and conditions, as plain data, and what is left out."""
        from .query.where import Asked

        if text is not None and not text.strip():
            raise UsageError("the text is empty; name a thing, such as vidmem where umbrella")
        if text is None and image is None and crop is None:
            raise UsageError("ask for something: a text, --image PICTURE, or --crop VIDEO@TIME:X,Y,W,H")
        if image is not None and crop is not None:
            raise UsageError("--image and --crop are two pictures; give one of them")
        if within_ns < 0 or not apart >= 0:
            raise UsageError("near is a time and a distance of 0 or more")
        visual = self._visual(image, crop)
        vector = contrast = None
        if text is not None:
            vector = self.text_encoder.encode_text([text])[0]
            contrast = self.text_encoder.contrast(vector)
        others = self.text_encoder.encode_text(near) if near else ()
        query: dict[str, object] = {"text": text, "image": None, "crop": None}
        if image is not None:
            query["image"] = str(image) if isinstance(image, str | os.PathLike) else "picture"
        if crop is not None:
            query["crop"] = {"source": crop[0], "t_ns": str(crop[1]), "box": list(crop[2])}
        if sources:
            query["sources"] = list(sources)
        query |= {name: m.text for name, m in (("after", after), ("before", before)) if m is not None}
        if near:
            query |= {"near": list(near), "within_ns": str(within_ns), "apart": apart}
        spans, notes = self._spans(sources, after, before)
        pairs = tuple((other, self.text_encoder.contrast(other)) for other in others)
        return Asked(vector, visual, contrast, threshold, spans, pairs, within_ns, apart), query, notes

    def _spans(
        self, sources: Sequence[str], after: Moment | None, before: Moment | None
    ) -> tuple[dict[int, tuple[int, int]] | None, list[str]]:
        """What of each source counts, None for everything, and what is left out."""
        if not sources and after is None and before is None:
            return None, []
        if after and before and after.wall == before.wall and after.ns >= before.ns:
            raise UsageError(f"{after.text!r} is not before {before.text!r}; nothing lies between them")
        rows = [self.store.source(name) for name in sources] if sources else self.store.sources()
        spans, strange = {}, 0
        for row in rows:
            low = 0 if after is None else after.media_ns(row.start_ns)
            high = (1 << 62) if before is None else before.media_ns(row.start_ns)
            if low is None or high is None:
                strange += 1
            else:
                spans[row.id] = (low, high - (before is not None))
        if strange and strange == len(rows):
            raise UsageError("no video here knows when it was recorded; give times in the video, such as 12.5s or 1:02")
        note = f"{strange} of {len(rows)} sources do not know when they were recorded, left out"
        return spans, [note] if strange else []

    def _visual(
        self, image: str | os.PathLike[str] | Image.Image | None, crop: tuple[str, int, Box] | None
    ) -> Float32 | None:
        if image is not None:
            from .query.picture import load_picture, picture_token

            picture = load_picture(os.fspath(image)) if isinstance(image, str | os.PathLike) else image
            return picture_token(self.encoder, picture)
        if crop is not None:
            from .query.picture import crop_track

            name, t_ns, box = crop
            if box[2] <= box[0] or box[3] <= box[1]:
                raise UsageError("the crop's box is empty; it is X,Y,W,H in pixels with W and H above 0")
            cache = self.cache()
            source = self.store.source(name)
            if source.start_ns and t_ns >= source.start_ns:  # in a log's own terms: since the epoch
                t_ns -= source.start_ns
            row = crop_track(self.store, cache, source, t_ns, box)
            return cast(Float32, cache.reconstruct("visual", _one(row))[0])
        return None

    def parse(self, source: str, labels: LabelSet | str, *, way: Way = "track", apart: bool = False) -> Parse:
        """The labels of every frame of an indexed source, from its tracks; `Parse.frames(memory.store)` has them.

        labels: names, or what `query.labels.load_labels` takes. way: "track" or "vote" (see query/scenes.py). apart:
        compare things with things only, stuff with all (DenseVLM's finding, here for labelling).

        Raises UsageError for an unknown source or way, no labels, and labels that the encoder cannot read.
        """
        from .query.labels import load_labels
        from .query.scenes import parse

        row = self.store.source(source)
        known = load_labels(labels) if isinstance(labels, str) else labels
        temperature = self.text_encoder.info.calibration.temperature if apart else None
        return parse(self.store, row, known, self._vectors(known.names), way=way, temperature=temperature)

    def _vectors(self, names: Sequence[str]) -> Float32:
        try:
            return self.text_encoder.encode_text(names)
        except UsageError:
            strange = []
            for name in names:
                try:
                    self.text_encoder.encode_text([name])
                except UsageError:
                    strange.append(name)
            few = ", ".join(repr(name[:40]) for name in strange[:5])
            more = f" and {len(strange) - 5} more" if len(strange) > 5 else ""
            raise UsageError(
                f"`{self.text_encoder.info.name}` cannot read {few}{more}; leave them out or say them otherwise"
            ) from None

    def picture(self, sighting: Sighting, title: str = "", *, others: Sequence[Sighting] = ()) -> Image.Image:
        """A contact sheet of `sighting` from its video: the frame with its box, close-ups, the timeline.

        others: more sightings for the timeline; those in other sources are left out. Raises MediaError when the video
        is gone or damaged.
        """
        from .media import open_source
        from .query.evidence import contact_sheet, moments

        self._check_at_hand(sighting)
        length = self.store.source(sighting.source).duration_ns
        seen = moments(self.store, sighting)
        same = [other for other in others if other.source == sighting.source and other != sighting]
        with open_source(sighting.source) as source:
            return contact_sheet(source, sighting, title, moments=seen, others=same, duration_ns=length)

    def explain(self, sighting: Sighting, text: str) -> Explained:
        """How like `text` each place of the sighting's frame is: a heat map, and the raw cosine inside and outside of
        its box. The frame is encoded again. Raises MediaError as `picture`, UsageError for a text that cannot be read
        and as `query.explain.explain`."""
        from .look import cosine_map
        from .media import open_source
        from .query.evidence import shown
        from .query.explain import explain

        self._check_at_hand(sighting)
        vector = self.text_encoder.encode_text([text])[0]
        with open_source(sighting.source) as source:
            image, box = shown(source, sighting.frame_ns, sighting.box)
        cosines = cosine_map(self.encoder, image, vector, self.settings().merge)
        return explain(image, box, cosines, text, "patches" if hasattr(self.encoder, "patches") else "regions")

    def clip(self, sighting: Sighting, path: str | os.PathLike[str], *, margin_ns: int = NS) -> None:
        """Cut `sighting` out of its video into the MP4 `path`, with a margin at both ends. Raises MediaError."""
        from .media import save_clip

        self._check_at_hand(sighting)
        save_clip(
            sighting.source, os.fspath(path), max(0, sighting.start_ns - margin_ns), sighting.end_ns + margin_ns
        )

    def _check_at_hand(self, sighting: Sighting) -> None:
        if self.store.source(sighting.source).kind == "live":
            raise MediaError(f"a live source keeps no pictures; record it beside and index that: {sighting.source}")
        if not exists(sighting.source):
            raise MediaError(f"the video is no longer there, put it back to take pictures from it: {sighting.source}")

    def annotate(
        self, source: str | os.PathLike[str], out: str | os.PathLike[str], *, labels: Sequence[str] = (),
        everything: bool = False,
    ) -> Written:  # fmt: skip
        """Write tracks beside the recording: .mcap a copy of an MCAP log with annotations, .rrd for Rerun, .parquet a
        table of spans.

        labels: phrases; what `where` finds for them bears their names, and nothing else is written unless there are no
        labels, or everything is true. Raises UsageError and MediaError as `annotate.annotate`.
        """
        from .annotate import annotate

        return annotate(self, os.fspath(source), os.fspath(out), labels=labels, everything=everything)

    def cache(self) -> VectorCache:
        """The searchable vectors, brought up to date."""
        if self._cache is None:
            self._cache = VectorCache(self.store)
        else:
            self._cache.refresh()
        return self._cache

    def sources(self) -> list[SourceRow]:
        """What is in the memory, in the order in which it was added."""
        return self.store.sources()

    def stats(self) -> StoreStats:
        """Counts, and bytes on disk."""
        return self.store.stats()

    def remove(self, *names: str) -> list[SourceRow]:
        """Forget sources, by path or unique file name: rows, vectors and masks are gone from the files.

        Raises UsageError for a name that is not there, before anything is removed.
        """
        rows: Sequence[SourceRow] = [self.store.source(name) for name in names]
        for row in {row.id: row for row in rows}.values():
            self.store.remove_source(row.id)
        return list(rows)


    def forget(
        self, *, before: Moment | None = None, sources: Sequence[str] = (), thing: str | None = None,
        dry_run: bool = True,
    ) -> list[Forgetting]:  # fmt: skip
        """What was seen before a time, sources, or one thing; with dry_run (the default) it is only told.

        before: see `when.parse_moment`; of these sources, or of all. thing: a phrase, or the id of a track: its tracks
        and all that look like them, in these sources or in all. Nothing of what is forgotten is left in the files; a
        track that goes on after `before` keeps its vectors, which are means over all its frames.

        Raises UsageError as `retention.plan`, StoreError as `Store.remove_parts`; nothing is forgotten then.
        """
        from .retention import carry_out, plan

        if before is not None and thing is not None:
            raise UsageError("--object forgets a thing at all times; give it without --before")
        tracks = None if thing is None else self._tracks_of(thing)
        steps = plan(self.store, before=before, sources=sources, tracks=tracks)
        if not dry_run:
            carry_out(self.store, steps)
        return steps

    def _tracks_of(self, thing: str) -> dict[int, list[int]]:
        """Ids of all tracks of a thing, by source."""
        import numpy as np

        from .query.search import find
        from .query.things import seen_again, things

        cache = self.cache()
        if thing.isdecimal():
            row = cache.rows_of(np.array([min(int(thing), (1 << 62))], np.int64))
            if row[0] < 0:
                raise UsageError(f"there is no track {thing}; `vidmem where --json` tells the numbers")
            alike = seen_again(cache, row)
            groups = things(self.store, cache, alike)
            rows = next(alike[group] for group in groups if row[0] in alike[group])
        else:
            vector = self.text_encoder.encode_text([thing])[0]
            info = self.text_encoder.info
            hits = find(cache, info.calibration, vector, None, self.text_encoder.contrast(vector))
            rows = seen_again(cache, hits.rows)
        out: dict[int, list[int]] = {}
        columns = cache.columns
        for source, track in zip(columns.source_ids[rows].tolist(), columns.ids[rows].tolist(), strict=True):
            out.setdefault(source, []).append(track)
        return out

    def compact(self) -> int:
        """Join small blobs and give free space on disk back; how many blobs there are fewer."""
        joined = self.store.compact()
        self._cache = None
        return joined


def _check_name(path: str) -> None:
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        raise MediaError(f"the file name is not valid UTF-8, rename the file: {path}") from None


def _one(row: int) -> Any:
    import numpy as np

    return np.array([row], np.int64)
