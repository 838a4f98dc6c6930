"""Query: an open store with the encoder that made it, and every question that can be asked of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from ..config import IndexConfig, preset
from ..encoders import ENCODERS, Calibration, Encoder, Reading, TextEncoder, default_preset, load
from ..encoders.probability import Probabilities
from ..encoders.reading import few, instead, read, tried
from ..encoders.reading import notes as reading_notes
from ..errors import StoreError, UnknownWordError, UsageError
from ..records import Box, Float32
from ..store import SourceRow, Store, VectorCache
from . import arguments
from .spans import spans_of

if TYPE_CHECKING:
    from ..encoders.masks.source import MaskSource
    from ..encoders.probability import Curve, Samples
    from .arguments import Crop, Names, Path, Picture, Sources, Time
    from .classify import Named
    from .filters import Spans
    from .haystack import HaystackAnswer, Phrase, Rule
    from .inventory import Inventory
    from .labels import LabelSet
    from .retrieve import Question
    from .scenes import Parse, Way
    from .visual_haystacks import NeedleAnswer
    from .where import Album, Answer, Thing


class Query:
    """Questions in words, pictures and conditions, turned into vectors and rows, and answered. Thread-safe, read-only.

    `Memory` holds one and offers its questions as its own.
    """

    def __init__(
        self,
        store: Store,
        encoder: str,
        device: str | None,
        weights: str | os.PathLike[str] | None = None,
        masks: str | os.PathLike[str] | MaskSource | None = None,
        *,
        album: Album | None = None,
    ) -> None:
        """album: draws the picture of a sighting when the memory may be closed; answers carry it."""
        self.store, self._masks = store, masks
        self._spec, self._device, self._weights = encoder, device, weights
        self._encoder: Encoder | None = None
        self._text: TextEncoder | None = None
        self._cache: VectorCache | None = None
        self._album = album

    @property
    def text_encoder(self) -> TextEncoder:
        """The text side of the encoder; quick to load, or with what this memory remembers of earlier questions."""
        if self._text is None:
            from .text_cache import text_side

            self._text = text_side(self._spec, self._weights, self.store)
        return self._text

    @property
    def encoder(self) -> Encoder:
        """Both sides of the encoder, loaded when first needed."""
        if self._encoder is None:
            self._encoder = load(self._spec, self._device, self._weights, masks=self._masks)
            self._text = self._encoder
        return self._encoder

    @property
    def spec(self) -> str:
        """The encoder as it is spelled on the command line, such as `clip:ViT-B-32/openai`."""
        return self._spec

    def use(self, encoder: Encoder) -> None:
        """Go on with this encoder, which is loaded."""
        self._spec, self._encoder, self._text, self._cache = encoder.info.name, encoder, encoder, None

    def load_another(self, spec: str) -> Encoder:
        """Another encoder, on this one's device and with its folder of weights."""
        return load(spec, self._device, self._weights)

    def drop_cache(self) -> None:
        """Read the vectors anew at the next question."""
        self._cache = None

    def settings(self) -> IndexConfig:
        """The settings that the memory was made with, or the encoder's preset for a new one."""
        made = self.store.model()
        if made and self.store.sources():
            return IndexConfig.from_dict(made.config)
        known = self._spec.partition(":")[0] in ENCODERS  # one of your own is known to nobody
        return preset(default_preset(self._spec) if known else "default")

    def cache(self) -> VectorCache:
        """The searchable vectors, brought up to date."""
        known = self._cache  # another thread may drop it meanwhile
        self._cache = cache = VectorCache(self.store) if known is None else known.refreshed()
        return cache

    @property
    def calibration(self) -> Calibration:
        """When an answer counts as found, with the probabilities that were fitted to this memory, or else those that
        come with the encoder. Raises StoreError when what was fitted is damaged."""
        info = self.text_encoder.info
        fitted = self.store.fitted(info.weights)
        if fitted is None:
            return info.calibration
        try:
            return replace(info.calibration, probability=Probabilities.from_dict(fitted))
        except ValueError as error:
            raise StoreError(f"what was fitted is damaged ({error}); run `vidmem calibrate` again") from None

    def calibrate(self, path: str | os.PathLike[str]) -> tuple[Curve, Samples, int]:
        """Fit the probability of answers to words on the questions of a file (see query/calibrate.py) and keep it for
        this memory; the curve, the candidates that it was fitted on, and how many questions were asked.

        Raises UsageError for questions that make no sense or are too few, and for a curve that is worth nothing (see
        `probability.check_worth`); what held before then goes on holding. MediaError for a file that cannot be read.
        """
        from ..encoders.probability import check_worth, fit
        from .calibrate import candidates, load_known

        def phrase(name: str) -> tuple[Float32, Float32]:
            (vector,) = self._vectors([name])
            return vector, self.text_encoder.contrast(vector)

        questions = arguments.path("path", path)
        self.store.check_writable()
        calibration = self.calibration
        known = load_known(questions)
        samples = candidates(self.store, self.cache(), calibration, known, phrase)
        curve = fit(samples)
        check_worth(samples)
        curves = replace(calibration.probability or Probabilities(), text=curve)
        self.store.set_fitted(self.text_encoder.info.weights, curves.as_dict())
        return curve, samples, len(known)

    def uncalibrate(self) -> None:
        """Drop what `calibrate` fitted; what comes with the encoder holds again."""
        self.store.check_writable()
        self.store.set_fitted(self.text_encoder.info.weights, None)

    def where(
        self,
        text: str | None = None,
        *,
        image: Picture | None = None,
        crop: Crop | None = None,
        top: int | None = 1,
        threshold: float | None = None,
        sources: Sources = (),
        after: Time | None = None,
        before: Time | None = None,
        near: Names = (),
        within: str = "2s",
        apart: float = 1.0,
        min_probability: float | None = None,
    ) -> Answer:
        """When and where the thing was seen, newest first; empty, with near misses, when it was not.

        text: a phrase. image: a picture of the thing, as `arguments.picture` takes it: a path, a PIL picture or an
        array (H, W, 3) uint8 RGB. crop: a box in an indexed video, "walk.mp4@12.5s:100,80,60,60" (X,Y,W,H in pixels) or
        (source, t_ns, (x0, y0, x1, y1)). A text and a picture together are scored by the product. top: how many
        sightings, None for all. threshold: use this score instead of the calibrated tests. sources: in these alone, one
        or several paths or file names. after, before: from that moment on, and until just before it: "12.5s" in the
        video, "2026-01-31" or "yesterday" by the clock (see `when.parse_moment`), or a datetime or date. near: other
        things, one or several, each in view `within` that time, with a gap of at most `apart` longest sides between the
        boxes. min_probability: what counts as found, in place of the tests.

        With a picture, words that the encoder does not know are left out; a note says so, and `query["unknown"]`.

        Raises:
            UnknownWordError: a word that the encoder does not know, without a picture.
            UsageError: nothing asked for, both image and crop, an unreadable phrase, an empty box, a name that is not
                there, a time that is none or ends before it begins, clock time where no source has it.
            MediaError: the picture cannot be read. StoreError: the memory is damaged.
        """
        from .where import where

        count = arguments.top(top)
        asked, query, notes = self._asked(
            text, image, crop, threshold, sources, after, before, near, within, apart, min_probability
        )
        answer = where(
            self.store,
            self.cache(),
            self.calibration,
            text=asked.text,
            visual=asked.visual,
            contrast=asked.contrast,
            threshold=asked.threshold,
            most=count,
            query=query,
            spans=asked.spans,
            near=asked.near,
            within_ns=asked.within_ns,
            apart=asked.apart,
            notes=notes,
            least=asked.least,
        )
        return replace(answer, album=self._album)

    def timeline(
        self,
        text: str | None = None,
        *,
        image: Picture | None = None,
        crop: Crop | None = None,
        threshold: float | None = None,
        sources: Sources = (),
        after: Time | None = None,
        before: Time | None = None,
        near: Names = (),
        within: str = "2s",
        apart: float = 1.0,
        alike: bool = False,
        min_probability: float | None = None,
    ) -> list[Thing]:
        """All sightings, thing by thing, the one seen last first; tracks that look alike are one thing seen again (see
        query/reid.py). alike: with those of what looks like a thing that was found. The rest as in `where`, but words
        that the encoder does not know are refused with a picture, too: there is no note here that could tell."""
        from .where import timeline

        arguments.flags(alike=alike)
        if text is not None:
            self.reading(arguments.phrase("text", text))
        asked, _, _ = self._asked(
            text, image, crop, threshold, sources, after, before, near, within, apart, min_probability
        )
        return timeline(self.store, self.cache(), self.calibration, asked, alike=alike)

    def things(
        self,
        *sources: Path | Iterable[Path],
        after: Time | None = None,
        before: Time | None = None,
        newest: bool = False,
        labels: Path | None = None,
        min_probability: float | None = None,
        top: int | None = None,
    ) -> Inventory:
        """What is in the memory, thing by thing (see query/reid.py): the one longest in view first, or with `newest`
        the one seen last. Tracks that look alike are one thing seen again.

        sources: in these alone, one by one or as a list. after, before: as in `where`. labels: what things may be
        called, a file with a name a line or `coco`, `ade20k`, `vspw`; by default what the encoder knows, or the things
        of those three lists. min_probability: only things whose name is at least that probable. top: no more than so
        many, None for all.

        Raises UsageError as `where` for conditions, and for names that cannot be read or have no probability;
        MediaError for a file of names that cannot be read.
        """
        from .inventory import inventory, names_for

        arguments.flags(newest=newest)
        least, count = arguments.share("min_probability", min_probability), arguments.top(top)
        file = None if labels is None else arguments.path("labels", labels)
        spans, notes = self._spans(arguments.each(sources), after, before)
        calibration = self.calibration
        curve = calibration.probability.text if calibration.probability else None
        if least is not None and curve is None:
            raise UsageError("no probability is known, for this encoder is not calibrated; leave the least one out")
        names = names_for(self.text_encoder, file)
        vectors = self._encoded(names) if file is None else self._vectors(names)
        found = inventory(
            self.store,
            self.cache(),
            self.text_encoder,
            names,
            vectors,
            curve=curve,
            spans=spans,
            newest=newest,
            least=least,
            top=count,
            like=calibration.same_thing,
        )
        return replace(found, notes=(*notes, *found.notes))

    def watch(
        self,
        names: str | Iterable[str],
        *,
        sources: Sources = (),
        after: Time | None = None,
        before: Time | None = None,
        min_probability: float | None = None,
    ) -> list[Answer]:
        """When and where each of `names` was seen last, as `where` tells it for one. They are read in one go, and all
        are looked for in one pass over the memory; without near misses. A name with a word that the encoder does not
        know has an empty answer, with the word as `query["unknown"]`."""
        from .where import Answer, each

        least = arguments.share("min_probability", min_probability)
        every = arguments.phrases("names", names, needed=True)
        spans, notes = self._spans(sources, after, before)
        readings = [tried(self.text_encoder, name) for name in every]
        known = list(dict.fromkeys(one.read_as for one in readings if not isinstance(one, UnknownWordError)))
        vectors = self._encoded(known)
        contrasts = [self.text_encoder.contrast(vector) for vector in vectors]
        found = (
            each(self.store, self.cache(), self.calibration, vectors, contrasts, spans=spans, least=least)
            if known
            else []
        )
        by_name = dict(zip(known, found, strict=True))
        out = []
        for name, one in zip(every, readings, strict=True):
            query: dict[str, object] = {"text": name, "image": None, "crop": None}
            if isinstance(one, UnknownWordError):
                query |= {"unknown": one.word, "near": list(one.near)}
                out.append(Answer((), query=query, notes=(str(one),)))
                continue
            told = [f"{name!r}: {one.note}"] if one.note else []
            if one.note:
                query["read_as"] = one.read_as
            answer = by_name[one.read_as]
            out.append(replace(answer, query=query, notes=(*told, *notes, *answer.notes), album=self._album))
        return out

    def haystack(self, anchor: str, target: str, *, rule: str = "default") -> HaystackAnswer:
        """Of all single pictures the one with `anchor`, and whether `target` is in it (see query/haystack.py).

        Raises UsageError for phrases that cannot be read, an unknown rule, and a memory without single pictures.
        """
        from .haystack import Haystack

        for name, phrase in (("anchor", anchor), ("target", target)):
            if not arguments.text(name, phrase).strip():
                raise UsageError("the anchor or the target is empty; name things, such as dog and frisbee")
        haystack = Haystack(self.store, self.cache(), self.calibration)
        first, second = self._phrases([anchor, target])
        return haystack.ask(first, second, cast("Rule", arguments.text("rule", rule)))

    def haystack_questions(self, path: str | os.PathLike[str]) -> tuple[list[NeedleAnswer], list[str], int]:
        """All questions of a file of Visual Haystacks, each among its own pictures: those that were asked, names of
        pictures that are not in the memory, and how many questions there are.

        Raises MediaError for a file that is none, UsageError as `haystack`.
        """
        from .haystack import Haystack
        from .visual_haystacks import Shelf, ask_all, load_needles

        needles = load_needles(arguments.path("path", path))
        haystack = Haystack(self.store, self.cache(), self.calibration)
        names = list(dict.fromkeys(name for one in needles for name in (one.anchor, one.target)))
        phrases = dict(zip(names, self._phrases(names), strict=True))
        missing: set[str] = set()
        asked = list(ask_all(haystack, Shelf(self.store), needles, phrases, missing))
        return asked, sorted(missing), len(needles)

    def name_tracks(self, source: SourceRow | str | os.PathLike[str], names: str | Iterable[str]) -> dict[int, Named]:
        """Which of `names` each track of a source has, by id: the likeliest of those that `where` finds it for.

        Raises UsageError for a source that is not there, and for names that the encoder cannot read.
        """
        row = source if isinstance(source, SourceRow) else self.store.source(arguments.path("source", source))
        return self._named(row, self._vectors(arguments.phrases("names", names, needed=True)))

    def _named(self, source: SourceRow, vectors: Float32) -> dict[int, Named]:
        from .classify import name_tracks

        contrasts = [self.text_encoder.contrast(vector) for vector in vectors]
        return name_tracks(self.cache(), self.calibration, source.id, vectors, contrasts)

    def parse(
        self,
        source: str | os.PathLike[str],
        labels: LabelSet | str | os.PathLike[str],
        *,
        way: Way = "track",
        apart: bool = False,
        templates: bool = False,
        meant: bool = False,
        pictures: bool = False,
    ) -> Parse:
        """The labels of every frame of an indexed source, from its tracks; `Parse.frames(memory.store)` has them.

        labels: names, or what `query.labels.load_labels` takes. way: "track" or "vote" (see query/scenes.py). apart:
        compare things with things only, stuff with all (DenseVLM's finding, here for labelling). templates: put each
        label into the 80 sentences of encoders/templates.py. meant: give a track no label where none is probably meant,
        as `name_tracks`, and not the one that it is most like; by way "track" alone. pictures: take a folder of single
        pictures, too, each a frame.

        Raises UsageError for an unknown source or way, no labels, labels that the encoder cannot read, and templates
        with an encoder that reads names alone.
        """
        from .labels import BUILT_IN, LabelSet, load_labels
        from .scenes import parse

        arguments.flags(apart=apart, templates=templates, meant=meant, pictures=pictures)
        way = cast("Way", arguments.text("way", way))
        what = "a LabelSet, a file with a name a line, or vspw, ade20k or coco"
        arguments.made("labels", labels, (LabelSet, str, os.PathLike), what)
        file = None if isinstance(labels, LabelSet) else arguments.path("labels", labels)
        row = self.store.source(arguments.path("source", source))
        if row.kind.single_pictures and not pictures:
            raise UsageError(f"photos are not parsed; index them as a film into another memory: {row.uri}")
        if meant and way != "track":
            raise UsageError("what is probably meant is known of tracks; leave the way at track")
        known = labels if isinstance(labels, LabelSet) else load_labels(str(file))
        temperature = self.calibration.temperature if apart else None
        # The classes of a data set stand as they are; those that the encoder does not know are hardly ever the best.
        vectors = self._vectors(known.names, templates, guess=file in BUILT_IN)
        named = {track: one.label for track, one in self._named(row, vectors).items()} if meant else None
        return parse(self.store, row, known, vectors, way=way, temperature=temperature, named=named)

    def _phrases(self, names: Sequence[str]) -> list[Phrase]:
        from .haystack import Phrase

        return [Phrase(vector, self.text_encoder.contrast(vector)) for vector in self._vectors(names)]

    def _asked(
        self,
        text: str | None,
        image: Picture | None,
        crop: Crop | None,
        threshold: float | None,
        sources: Sources,
        after: Time | None,
        before: Time | None,
        near: Names,
        within: str,
        apart: float,
        least: float | None,
    ) -> tuple[Question, dict[str, object], list[str]]:
        """The question as vectors and conditions, as plain data, and what is left out."""
        from .retrieve import Question

        if text is not None:
            arguments.phrase("text", text)
        if text is None and image is None and crop is None:
            raise UsageError("ask for something: a text, `image` or `crop`")
        if image is not None and crop is not None:
            raise UsageError("`image` and `crop` are two pictures; give one of them")
        threshold, least = arguments.share("threshold", threshold), arguments.share("min_probability", least)
        if least is not None and threshold is not None:
            raise UsageError("`threshold` and `min_probability` are two tests; give one of them")
        apart, gap_ns = arguments.apart(apart), arguments.within_ns(within)
        start, end = arguments.moment(after, "after"), arguments.moment(before, "before")
        place = None if crop is None else arguments.crop(crop)
        places, others = arguments.paths("sources", sources), arguments.phrases("near", near)
        # The words first: the encoder's other side may take seconds to load.
        heard = None if text is None else tried(self.text_encoder, text)
        unknown = heard if isinstance(heard, UnknownWordError) else None
        if unknown is not None and image is None and crop is None:
            raise unknown
        reading = None if isinstance(heard, UnknownWordError) else heard
        beside = read(self.text_encoder, others)
        visual = self._visual(image, place)
        vector = contrast = None
        if reading is not None:
            vector = self.text_encoder.encode_text([reading.read_as])[0]
            contrast = self.text_encoder.contrast(vector)
        vectors = self.text_encoder.encode_text([one.read_as for one in beside]) if beside else ()
        query: dict[str, object] = {"text": text, "image": None, "crop": None}
        if reading is not None and reading.note:
            query["read_as"] = reading.read_as
        if unknown is not None:
            query["unknown"] = unknown.word
        if image is not None:
            query["image"] = str(image) if isinstance(image, str | os.PathLike) else "picture"
        if place is not None:
            query["crop"] = {"source": place[0], "t_ns": str(place[1]), "box": list(place[2])}
        if places:
            query["sources"] = places
        query |= {name: m.text for name, m in (("after", start), ("before", end)) if m is not None}
        if least is not None:
            query["min_probability"] = least
        if others:
            query |= {"near": others, "within_ns": str(gap_ns), "apart": apart}
        spans, notes = spans_of(self.store, places, start, end)
        told = [reading.note] if reading is not None and reading.note else []
        if unknown is not None:
            told = [instead(unknown, "asked by the picture alone")]
        told += reading_notes(others, beside)
        pairs = tuple((other, self.text_encoder.contrast(other)) for other in vectors)
        return Question(vector, visual, contrast, threshold, spans, pairs, gap_ns, apart, least), query, [*told, *notes]

    def reading(self, phrase: str) -> Reading:
        """How the memory's encoder reads a phrase; as it is, if it can read any. Raises UnknownWordError, and
        UsageError for what is too long."""
        return read(self.text_encoder, [arguments.phrase("phrase", phrase)])[0]

    def _spans(self, sources: Sources, after: Time | None, before: Time | None) -> tuple[Spans | None, list[str]]:
        """As `spans_of`."""
        start, end = arguments.moment(after, "after"), arguments.moment(before, "before")
        return spans_of(self.store, arguments.paths("sources", sources), start, end)

    def _visual(self, image: Picture | None, crop: tuple[str, int, Box] | None) -> Float32 | None:
        if image is not None:
            from .picture import picture_token

            return picture_token(self.encoder, arguments.picture(image))
        if crop is not None:
            from .picture import crop_track

            name, t_ns, box = crop
            if box[2] <= box[0] or box[3] <= box[1]:
                raise UsageError("the crop's box is empty; it is X,Y,W,H in pixels with W and H above 0")
            cache = self.cache()
            source = self.store.source(name)
            if source.kind.single_pictures:
                raise UsageError("a box is taken from a video; of a single picture cut it out and give it as `image`")
            if source.kind.own_clock and source.start_ns and t_ns >= source.start_ns:  # as a log tells it
                t_ns -= source.start_ns
            if min(box[:2]) < 0 or box[2] > source.width or box[3] > source.height:
                raise UsageError(
                    f"the crop's box reaches beyond the frame, which has {source.width} x {source.height}"
                    " pixels; it is X,Y,W,H"
                )
            row = crop_track(self.store, cache, source, t_ns, box)
            return cast(Float32, cache.reconstruct("visual", _one(row))[0])
        return None

    def _vectors(self, names: Sequence[str], templates: bool = False, guess: bool = False) -> Float32:
        """guess: words that the encoder does not know are taken as they are."""
        return self._encoded([one.read_as for one in read(self.text_encoder, names, guess=guess)], templates)

    def _encoded(self, names: Sequence[str], templates: bool = False) -> Float32:
        encode: Callable[[Sequence[str]], Float32] = self.text_encoder.encode_text
        if templates:
            if not hasattr(self.text_encoder, "encode_names"):
                raise UsageError(f"`{self.text_encoder.info.name}` reads no sentences; leave `templates` out")
            encode = self.text_encoder.encode_names
        try:
            return encode(names)
        except UsageError:
            strange = []
            for name in names:
                try:
                    encode([name])
                except UsageError:
                    strange.append(name)
            told = few([repr(name[:40]) for name in strange])
            raise UsageError(
                f"`{self.text_encoder.info.name}` cannot read {told}; leave them out or say them otherwise"
            ) from None


def _one(row: int) -> Any:
    import numpy as np

    return np.array([row], np.int64)
