"""Query: an open store with the encoder that made it, and every question that can be asked of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from ..config import IndexConfig, preset
from ..encoders import Calibration, Encoder, Reading, TextEncoder, find, load
from ..encoders.probability import Probabilities
from ..encoders.registry import is_known
from ..encoders.vocabulary import read, try_reading
from ..errors import StoreError, UnknownWordError, UsageError
from ..records import Float32, Sighting
from ..store import Proof, SourceRow, Spans, Store, VectorCache, Vectors
from . import arguments
from .asking import Request, checked, encoded, phrases_of, question_of, vectors_of, with_contrast
from .filters import spans_of
from .kept import Kept
from .question import Question
from .view import Side, View, Views

if TYPE_CHECKING:
    from ..encoders.base import MaskSource
    from ..encoders.probability import Curve, Samples
    from .answers import Album, Answer, Timeline
    from .arguments import Crop, Names, Path, Picture, Sources, Time
    from .gallery import Choice, NamedThings, ThingIn
    from .haystack import HaystackAnswer, Rule
    from .inventory import Inventory, Stock
    from .labels import LabelSet
    from .naming import Naming
    from .parse import Parse, Way
    from .search import Named


KEPT_TRACKS = 300_000
"""Tracks of all lists of things that are kept for their next page, but for the last list: 100,000 take some 50 MB."""


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
        said: bool = True,
        vectors: Callable[[Store], Vectors] = VectorCache,
    ) -> None:
        """Prepare; the encoder is loaded by the first question that needs it.

        Args:
            store: The memory.
            encoder: The name of its encoder.
            device: cuda, mps or cpu; None for the best there is.
            weights: The folder of the encoder's weights.
            masks: Where regions come from, see `encoders.load`.
            album: Draws the picture of a sighting when the memory may be closed; answers carry it.
            said: The user gave the name of the encoder; False if it is from the memory, which a stranger may have made.
            vectors: Gives the searchable vectors of the memory.
        """
        self.store = store
        self._views = Views(store, encoder, device, weights, masks, said=said, vectors=vectors)
        self._device, self._weights = device, weights
        self._album = album
        self._stocks: Kept[Stock] = Kept(weight=lambda of: len(of.found.hits), most=KEPT_TRACKS)

    @property
    def text_encoder(self) -> TextEncoder:
        """The text side of the encoder. It is quick to load, or uses what the memory remembers of earlier questions."""
        return self._views.side.text

    @property
    def encoder(self) -> Encoder:
        """Both sides of the encoder, loaded when first needed."""
        return self._views.side.both

    @property
    def spec(self) -> str:
        """The encoder as it is spelled on the command line, such as `clip:ViT-B-32/openai`."""
        return self._views.side.spec

    def use(self, encoder: Encoder) -> None:
        """Use this encoder, which is loaded, from now on."""
        self._views.use(encoder)

    def use_next(self, encoder: Encoder) -> None:
        """Use this encoder, which is loaded, as soon as the memory is one of its tokens."""
        self._views.next = Side.loaded(encoder)

    def check_named(self, spec: str) -> None:
        """Raise ModelError if this encoder lies at a place that the memory says, and not the user."""
        self._views.check_named(spec)

    def load_another(self, spec: str) -> Encoder:
        """Load another encoder, on the same device and with the same folder of weights."""
        return load(spec, self._device, self._weights)

    def drop_cache(self) -> None:
        """Read the vectors anew at the next question."""
        self._views.drop_cache()

    def view(self) -> AbstractContextManager[View]:
        """One committed state of the memory for a `with` block, in this thread; questions asked in it share the state.

        Do not write to the memory within it.

        Raises:
            ModelMismatchError: another process has given the memory tokens of weights that are not here.
            StoreError: the memory is damaged or closed.
        """
        return self._views.open()

    def settings(self) -> IndexConfig:
        """The settings that the memory was made with, or the encoder's preset for a new one."""
        made = self.store.model()
        if made and self.store.sources():
            return IndexConfig.from_dict(made.config)
        return preset(find(self.spec).preset if is_known(self.spec) else "default")

    def cache(self) -> Vectors:
        """The searchable vectors, brought up to date."""
        return self._views.cache()

    @property
    def calibration(self) -> Calibration:
        """When an answer counts as found, with the probabilities that were fitted to this memory, or else those that
        come with the encoder. Raises StoreError when what was fitted is damaged."""
        return self._views.calibration_now()

    def calibrate(self, path: str | os.PathLike[str]) -> tuple[Curve, Samples, int]:
        """Fit the probability of answers in words to the questions of a file (see query/calibrate.py), and keep it in
        this memory.

        Returns:
            The curve, the candidates that it was fitted to, and the number of questions.

        Raises:
            UsageError: the questions make no sense or are too few, or the curve is worth nothing (see
                `probability.check_fit`); then nothing changes.
            MediaError: the file cannot be read.
        """
        from .calibrate import fit_curve, load_known

        file = arguments.path("path", path)
        self.store.check_writable()
        known = load_known(file)
        with self.view() as now:
            curve, samples = fit_curve(
                self.store, now.cache, now.calibration, known, lambda name: phrases_of(now.text, [name])[0]
            )
        curves = replace(now.calibration.probability or Probabilities(), text=curve)
        self.store.set_fitted(now.text.info.weights, curves.as_dict())
        return curve, samples, len(known)

    def uncalibrate(self) -> None:
        """Drop what `calibrate` fitted; what comes with the encoder is used again."""
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

        A text and a picture together are scored by the product. With a picture, words that the encoder does not know
        are left out; a note says so, and `query["unknown"]`.

        Args:
            text: A phrase.
            image: A picture of the thing: a path, a PIL picture or an array `(H, W, 3)` uint8 RGB.
            crop: A box in an indexed video, "walk.mp4@12.5s:100,80,60,60" (X,Y,W,H in pixels) or
                (source, t_ns, (x0, y0, x1, y1)).
            top: How many sightings; None for all.
            threshold: Minimum score; overrides the calibrated tests.
            sources: Search these alone: paths or file names, one or several.
            after: From that moment on: "12.5s" in the video, "2026-01-31" or "yesterday" by the clock (see
                `timecode.parse_moment`), or a datetime or date.
            before: Until just before that moment.
            near: Other things that must be near, one or several.
            within: How far apart in time the two may be in view.
            apart: The largest gap between their boxes, in longest sides of the two.
            min_probability: Minimum probability; overrides the calibrated tests.

        Raises:
            UnknownWordError: a word that the encoder does not know, without a picture.
            UsageError: nothing is asked for, both image and crop, an unreadable phrase, an empty box, no such source,
                not a time or a span that ends before it begins, clock time where no source has it.
            MediaError: the picture cannot be read.
            StoreError: the memory is damaged.
        """
        from .where import where

        count = arguments.top(top)
        request = checked(text, image, crop, threshold, sources, after, before, near, within, apart, min_probability)
        with self._asked(request) as (now, question, query, notes):
            answer = where(self.store, now.cache, now.calibration, question, top=count)
            proof = self._proof(now)
        missed = () if proof is None else proof.notes
        notes = [*notes, *answer.notes, *missed]
        return replace(answer, query=query, notes=tuple(notes), album=self._album, proof=proof)

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
        most: int | None = None,
    ) -> Timeline:
        """All sightings, thing by thing, the thing seen last first.

        Tracks that look alike are one thing seen again (see query/reid.py). Words that the encoder does not know are
        refused with a picture, too, since a list has no notes.

        Args:
            text: As in `where`, like all that follow.
            image: A picture of the thing.
            crop: A box in an indexed video.
            threshold: Minimum score.
            sources: Search these alone.
            after: From that moment on.
            before: Until just before that moment.
            near: Other things that must be near.
            within: How far apart in time.
            apart: The largest gap between the boxes.
            alike: Add the tracks that look like a thing that was found.
            min_probability: Minimum probability.
            most: The most tracks that may be found, or UsageError; None for any number.
        """
        from .answers import Timeline
        from .where import timeline

        arguments.flags(alike=alike)
        if text is not None:
            self.reading(arguments.phrase("text", text))
        request = checked(text, image, crop, threshold, sources, after, before, near, within, apart, min_probability)
        with self._asked(request) as (now, question, _, _):
            found = timeline(self.store, now.cache, now.calibration, question, similar=alike, most=most)
            return Timeline(found, self._proof(now))

    def things(
        self,
        *sources: Path | Iterable[Path],
        after: Time | None = None,
        before: Time | None = None,
        newest: bool = False,
        labels: Path | None = None,
        min_probability: float | None = None,
        top: int | None = None,
        offset: int = 0,
        choice: Choice | None = None,
    ) -> Inventory:
        """What is in the memory, thing by thing, the one longest in view first.

        Tracks that look alike are one thing seen again (see query/reid.py).

        Args:
            sources: Look at these alone, one by one or as a list.
            after: From that moment on, as in `where`.
            before: Until just before that moment.
            newest: Put the thing that was seen last first.
            labels: What things may be called: a file with one name a line, or `coco`, `ade20k`, `vspw`. By default
                what the encoder knows, or the things of those three lists.
            min_probability: Only things whose name is at least this probable.
            top: At most this many; None for all.
            offset: Leave out this many. The next pages of the same question are quick while the memory stays as it is.
            choice: Only some of them; see `query.gallery.Choice`.

        Raises:
            UsageError: as `where` for conditions; names cannot be read or have no probability.
            MediaError: the file of names cannot be read.
        """
        from .gallery import Choice, chosen
        from .inventory import page

        arguments.flags(newest=newest)
        min_probability, count = arguments.share("min_probability", min_probability), arguments.top(top)
        skipped = arguments.whole("offset", offset, 0)
        with self._stock(sources, after, before, labels, min_probability) as (of, notes):
            things = chosen(of, of.newest if newest else of.longest, choice or Choice(), min_probability)
            found = page(self.store, of, things, newest=newest, offset=skipped, top=count)
        missed = () if found.proof is None else found.proof.notes
        return replace(found, notes=(*notes, *found.notes, *missed))

    def thing_names(
        self,
        *sources: Path | Iterable[Path],
        after: Time | None = None,
        before: Time | None = None,
        choice: Choice | None = None,
    ) -> list[NamedThings]:
        """What the things in the memory are called, the name longest in view first; what has no sure name comes last.

        Arguments and errors as in `things`.
        """
        from .gallery import Choice, chosen, names_of

        with self._stock(sources, after, before, None, None) as (of, _):
            if of.proof is not None and not of.proof.exact:
                raise StoreError(of.proof.notes[0])
            return names_of(self.store, of, chosen(of, of.longest, choice or Choice(), None))

    def things_in(self, source: SourceRow, t_ns: int) -> list[ThingIn]:
        """The things in a single picture of a source, each judged by this picture alone; see `gallery.things_in`."""
        from .gallery import things_in

        with self.view() as now:
            return things_in(self.store, now.cache, self._naming(now, None), source.id, t_ns)

    def _proof(self, now: View) -> Proof | None:
        """What the answer to this thread's question rests on."""
        proof = self.store.proof()
        by = now.cache.approximate
        return replace(proof or Proof(0, 0), approximate=by) if by else proof

    def _naming(self, now: View, labels: str | None) -> Naming:
        """What gives things their names. labels: a file of names, or None for those that the encoder knows."""
        from .naming import Naming, names_for

        curve = now.calibration.probability.text if now.calibration.probability else None
        names = names_for(now.text, labels)
        vectors = encoded(now.text, names) if labels is None else vectors_of(now.text, names)
        return Naming(now.text, names, vectors, curve)

    @contextmanager
    def _stock(
        self,
        sources: Sequence[Path | Iterable[Path]],
        after: Time | None,
        before: Time | None,
        labels: Path | None,
        min_probability: float | None,
    ) -> Iterator[tuple[Stock, tuple[str, ...]]]:
        """The things of these sources and times, and notes for people; made once for each state of the memory."""
        from .inventory import stock

        file = None if labels is None else arguments.path("labels", labels)
        named = arguments.paths("sources", arguments.each(sources))
        start, end = arguments.moment(after, "after"), arguments.moment(before, "before")
        state = self.store.changes()
        with self.view() as now, self._stocks.turn:
            spans, notes = spans_of(self.store, named, start, end)
            fitted = now.calibration.probability
            if min_probability is not None and not (fitted and fitted.text):
                raise UsageError(
                    "no probability is known, for this encoder is not calibrated; leave `min_probability` out"
                )

            def make() -> Stock:
                naming = self._naming(now, file)
                return stock(self.store, now.cache, naming, min_cosine=now.calibration.same_thing, spans=spans)

            of_all, key = (state, now.cache.state, now.side), (tuple(named), start, end)
            made = self._stocks.get(key, make, of_all) if file is None else make()
            if made.proof is not None and not made.proof.exact:
                self._stocks.drop(key)  # a shard that was down may be back for the next question
            try:
                yield made, tuple(notes)
            except StoreError:  # a shard went down since; asked again, the others answer
                self._stocks.drop(key)
                raise

    def sightings(self, tracks: Iterable[int]) -> list[Sighting]:
        """All sightings of one thing, newest first, from the ids of its tracks, as `things` and `timeline` give them.

        Ids that are not in the memory are left out. Sightings have no probability, for nothing was asked.
        """
        from .of_tracks import sightings_of_tracks

        ids = [arguments.whole("tracks", track, 0) for track in arguments.made("tracks", tracks, Iterable, "ids")]
        with self.view() as now:
            return sightings_of_tracks(self.store, now.cache, now.calibration, ids)

    def watch(
        self,
        names: str | Iterable[str],
        *,
        sources: Sources = (),
        after: Time | None = None,
        before: Time | None = None,
        min_probability: float | None = None,
    ) -> list[Answer]:
        """When and where each of `names` was seen last, as `where` answers for one.

        They are read together, and all are searched in one pass over the memory; there are no near misses. A name with
        a word that the encoder does not know has an empty answer, with the word as `query["unknown"]`.
        """
        from .where import each

        min_probability = arguments.share("min_probability", min_probability)
        given = arguments.phrases("names", names, needed=True)
        with self.view() as now:
            spans, notes = self._spans(sources, after, before)
            readings = [try_reading(now.text, name) for name in given]
            known = list(dict.fromkeys(one.read_as for one in readings if isinstance(one, Reading)))
            phrases = with_contrast(now.text, encoded(now.text, known)) if known else []
            questions = [
                Question(phrase.text, contrast=phrase.contrast, spans=spans, min_probability=min_probability)
                for phrase in phrases
            ]
            answers = each(self.store, now.cache, now.calibration, questions)
            proof = self._proof(now)
        missed = () if proof is None else proof.notes
        answers = [replace(answer, notes=(*answer.notes, *missed), proof=proof) for answer in answers]
        by_name = dict(zip(known, answers, strict=True))
        return [self._watched(name, one, by_name, notes) for name, one in zip(given, readings, strict=True)]

    def _watched(
        self, name: str, reading: Reading | UnknownWordError, by_name: dict[str, Answer], notes: Sequence[str]
    ) -> Answer:
        """The answer to one of the names of `watch`. by_name: answers by the name as it is read."""
        from .answers import Answer

        query: dict[str, object] = {"text": name, "image": None, "crop": None}
        if isinstance(reading, UnknownWordError):
            query |= {"unknown": reading.word, "near": list(reading.near)}
            return Answer((), query=query, notes=(str(reading),))
        read_notes = [f"{name!r}: {reading.note}"] if reading.note else []
        if reading.note:
            query["read_as"] = reading.read_as
        answer = by_name[reading.read_as]
        return replace(answer, query=query, notes=(*read_notes, *notes, *answer.notes), album=self._album)

    def haystack(self, anchor: str, target: str, *, rule: str = "default") -> HaystackAnswer:
        """Of all single pictures the one with `anchor`, and whether `target` is in it (see query/haystack.py).

        Raises UsageError for phrases that cannot be read, an unknown rule, and a memory without single pictures.
        """
        from .haystack import Haystack

        for name, phrase in (("anchor", anchor), ("target", target)):
            if not arguments.text(name, phrase).strip():
                raise UsageError("the anchor or the target is empty; name things, such as dog and frisbee")
        with self.view() as now:
            haystack = Haystack(self.store, now.cache, now.calibration)
            first, second = phrases_of(now.text, [anchor, target])
            answer = haystack.ask(first, second, cast("Rule", arguments.text("rule", rule)))
            return replace(answer, proof=self._proof(now))

    def name_tracks(self, source: SourceRow | str | os.PathLike[str], names: str | Iterable[str]) -> dict[int, Named]:
        """Which of `names` each track of a source has, by track id: the likeliest of those that `where` finds it for.

        Raises UsageError for a source that is not there, and for names that the encoder cannot read.
        """
        with self.view() as now:
            row = source if isinstance(source, SourceRow) else self.store.source(arguments.path("source", source))
            return self._named(now, row, vectors_of(now.text, arguments.phrases("names", names, needed=True)))

    def _named(self, now: View, source: SourceRow, vectors: Float32) -> dict[int, Named]:
        from .search import name_tracks

        return name_tracks(now.cache, now.calibration, source.id, with_contrast(now.text, vectors))

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

        Args:
            source: Path or name of the source.
            labels: Names, or what `query.labels.load_labels` takes.
            way: "track" or "vote", see query/parse.py.
            apart: Compare things with things only, stuff with all labels (DenseVLM's finding, here for labelling).
            templates: Put each label into the 80 sentences of encoders/templates.py.
            meant: Give a track no label where none is probably meant, as `name_tracks`, instead of the most similar
                one; for "track" alone.
            pictures: Also take a folder of single pictures, each as a frame.

        Raises:
            UsageError: an unknown source or way, no labels, labels that the encoder cannot read, or templates with an
                encoder that reads names alone.
        """
        from .labels import BUILT_IN, LabelSet, load_labels
        from .parse import parse

        arguments.flags(apart=apart, templates=templates, meant=meant, pictures=pictures)
        way = cast("Way", arguments.text("way", way))
        what = "a LabelSet, a file with a name a line, or vspw, ade20k or coco"
        arguments.made("labels", labels, (LabelSet, str, os.PathLike), what)
        file = None if isinstance(labels, LabelSet) else arguments.path("labels", labels)
        name = arguments.path("source", source)
        with self.view() as now:
            row = self.store.source(name)
            if row.kind.single_pictures and not pictures:
                raise UsageError(f"photos are not parsed; index them as a film into another memory: {row.uri}")
            if meant and way != "track":
                raise UsageError("`meant` works with `way` track alone; leave one of them out")
            known = labels if isinstance(labels, LabelSet) else load_labels(str(file))
            temperature = now.calibration.temperature if apart else None
            # The classes of a data set are taken as they are; one that the encoder does not know is hardly ever best.
            vectors = vectors_of(now.text, known.names, templates=templates, guess=file in BUILT_IN)
            named = {track: one.label for track, one in self._named(now, row, vectors).items()} if meant else None
            return parse(self.store, row, known, vectors, way=way, temperature=temperature, named=named)

    def reading(self, phrase: str) -> Reading:
        """How the memory's encoder reads a phrase; unchanged, if it can read any.

        Raises:
            UnknownWordError: the encoder does not know a word.
            UsageError: the phrase is empty or too long.
        """
        return read(self.text_encoder, [arguments.phrase("phrase", phrase)])[0]

    @contextmanager
    def _asked(self, request: Request) -> Iterator[tuple[View, Question, dict[str, object], list[str]]]:
        """One state of the memory, and the request as `question_of` gives it, in that state."""
        if request.image is not None:
            _ = self.encoder  # its other side may take seconds to load, which is too long for a view
        with self.view() as now:
            question, query, notes = question_of(request, self.store, now.text, lambda one: self._visual(now, one))
            yield now, question, query, notes

    def _visual(self, now: View, request: Request) -> Float32 | None:
        """The visual token `(Dv,)` of the picture of a request, if it has one."""
        if not request.pictured:
            return None
        from .picture import crop_token, picture_token

        if request.image is not None:
            return picture_token(now.side.both, arguments.picture(request.image))
        assert request.crop is not None
        return crop_token(self.store, now.cache, *request.crop)

    def _spans(self, sources: Sources, after: Time | None, before: Time | None) -> tuple[Spans | None, list[str]]:
        """As `spans_of`."""
        start, end = arguments.moment(after, "after"), arguments.moment(before, "before")
        return spans_of(self.store, arguments.paths("sources", sources), start, end)
