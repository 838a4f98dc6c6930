"""Questions to a memory: what is asked, in words or pictures, as vectors and conditions, and who answers it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from .closing import Closing
from .encoders import Calibration, Encoder, TextEncoder, load
from .errors import StoreError, UsageError
from .probability import Probabilities
from .records import NS, Box, Float32
from .store import PICTURES, Store, VectorCache

if TYPE_CHECKING:
    from PIL import Image

    from .encoders.masks import MaskSource
    from .probability import Curve, Samples
    from .query.haystack import HaystackAnswer, Phrase, Rule
    from .query.labels import LabelSet
    from .query.needles import Asked as HaystackAsked
    from .query.scenes import Parse, Way
    from .query.where import Answer, Asked, Thing
    from .when import Moment


class Questions(Closing):
    """The asking half of Memory: an open store, the encoder that made it, and what can be asked of both."""

    def __init__(
        self, store: Store, encoder: str, device: str | None, weights: str | os.PathLike[str] | None = None,
        masks: str | os.PathLike[str] | MaskSource | None = None,
    ) -> None:  # fmt: skip
        self.store, self._masks = store, masks
        self._spec, self._device, self._weights = encoder, device, weights
        self._encoder: Encoder | None = None
        self._text: TextEncoder | None = None
        self._cache: VectorCache | None = None

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

    def cache(self) -> VectorCache:
        """The searchable vectors, brought up to date."""
        if self._cache is None:
            self._cache = VectorCache(self.store)
        else:
            self._cache.refresh()
        return self._cache

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

        Raises UsageError for questions that make no sense or are too few, MediaError for a file that cannot be read.
        """
        from .probability import fit
        from .query.calibrate import candidates, load_known

        def phrase(name: str) -> tuple[Float32, Float32]:
            (vector,) = self._vectors([name])
            return vector, self.text_encoder.contrast(vector)

        calibration = self.calibration
        known = load_known(os.fspath(path))
        samples = candidates(self.store, self.cache(), calibration, known, phrase)
        curve = fit(samples)
        curves = replace(calibration.probability or Probabilities(), text=curve)
        self.store.set_fitted(self.text_encoder.info.weights, curves.as_dict())
        return curve, samples, len(known)

    def uncalibrate(self) -> None:
        """Drop what `calibrate` fitted; what comes with the encoder holds again."""
        self.store.set_fitted(self.text_encoder.info.weights, None)

    def where(
        self, text: str | None = None, *, image: str | os.PathLike[str] | Image.Image | None = None,
        crop: tuple[str, int, Box] | None = None, most: int | None = 1, threshold: float | None = None,
        sources: Sequence[str] = (), after: Moment | None = None, before: Moment | None = None,
        near: Sequence[str] = (), within_ns: int = 2 * NS, apart: float = 1.0, min_probability: float | None = None,
    ) -> Answer:  # fmt: skip
        """When and where the thing was seen, newest first; empty, with near misses, when it was not.

        text: a phrase. image: a picture of the thing. crop: (source, t_ns, box) in an indexed video. A text and a
        picture together are scored by the product. most: how many sightings, None for all. threshold: use this
        score instead of the calibrated tests. sources: in these alone. after, before: from that moment on, and until
        just before it (see `when.parse_moment`). near: other things, each in view within within_ns, with a gap of at
        most `apart` longest sides between the boxes. min_probability: what counts as found, in place of the tests.

        Raises:
            UsageError: nothing asked for, both image and crop, an unreadable phrase, an empty box, a name that is not
                there, a time that ends before it begins, clock time where no source has it.
            MediaError: the picture cannot be read. StoreError: the memory is damaged.
        """
        from .query.where import where

        asked, query, notes = self._asked(
            text, image, crop, threshold, sources, after, before, near, within_ns, apart, min_probability
        )
        return where(
            self.store, self.cache(), self.calibration, text=asked.text, visual=asked.visual,
            contrast=asked.contrast, threshold=threshold, most=most, query=query, spans=asked.spans, near=asked.near,
            within_ns=within_ns, apart=apart, notes=notes, least=min_probability,
        )  # fmt: skip

    def timeline(
        self, text: str | None = None, *, image: str | os.PathLike[str] | Image.Image | None = None,
        crop: tuple[str, int, Box] | None = None, threshold: float | None = None, sources: Sequence[str] = (),
        after: Moment | None = None, before: Moment | None = None, near: Sequence[str] = (), within_ns: int = 2 * NS,
        apart: float = 1.0, alike: bool = False, min_probability: float | None = None,
    ) -> list[Thing]:  # fmt: skip
        """All sightings, thing by thing, the one seen last first; tracks that look alike are one thing seen again (see
        query/things.py). alike: with those of what looks like a thing that was found. The rest as in `where`."""
        from .query.where import timeline

        asked, _, _ = self._asked(
            text, image, crop, threshold, sources, after, before, near, within_ns, apart, min_probability
        )
        return timeline(self.store, self.cache(), self.calibration, asked, alike=alike)

    def watch(
        self, names: Sequence[str], *, sources: Sequence[str] = (), after: Moment | None = None,
        before: Moment | None = None, min_probability: float | None = None,
    ) -> list[Answer]:  # fmt: skip
        """When and where each of `names` was seen last, as `where` tells it for one. They are read in one go, and all
        are looked for in one pass over the memory; without near misses."""
        from .query.where import each

        _check_probability(min_probability, None)
        if not names:
            return []
        spans, notes = self._spans(sources, after, before)
        vectors = self._vectors(names)
        contrasts = [self.text_encoder.contrast(vector) for vector in vectors]
        answers = each(
            self.store, self.cache(), self.calibration, vectors, contrasts, spans=spans, least=min_probability
        )
        return [
            replace(answer, query={"text": name, "image": None, "crop": None}, notes=tuple(notes))
            for name, answer in zip(names, answers, strict=True)
        ]

    def haystack(self, anchor: str, target: str, *, rule: str = "default") -> HaystackAnswer:
        """Of all single pictures the one with `anchor`, and whether `target` is in it (see query/haystack.py).

        Raises UsageError for phrases that cannot be read, an unknown rule, and a memory without single pictures.
        """
        from .query.haystack import Haystack

        for phrase in (anchor, target):
            if not phrase.strip():
                raise UsageError("the anchor or the target is empty; name things, such as dog and frisbee")
        haystack = Haystack(self.store, self.cache(), self.calibration)
        first, second = self._phrases([anchor, target])
        return haystack.ask(first, second, cast("Rule", rule))

    def haystack_questions(self, path: str | os.PathLike[str]) -> tuple[list[HaystackAsked], list[str], int]:
        """All questions of a file of Visual Haystacks, each among its own pictures: those that were asked, names of
        pictures that are not in the memory, and how many questions there are.

        Raises MediaError for a file that is none, UsageError as `haystack`.
        """
        from .query.haystack import Haystack
        from .query.needles import Shelf, ask_all, load_needles

        needles = load_needles(os.fspath(path))
        haystack = Haystack(self.store, self.cache(), self.calibration)
        names = list(dict.fromkeys(name for one in needles for name in (one.anchor, one.target)))
        phrases = dict(zip(names, self._phrases(names), strict=True))
        missing: set[str] = set()
        asked = list(ask_all(haystack, Shelf(self.store), needles, phrases, missing))
        return asked, sorted(missing), len(needles)

    def parse(self, source: str, labels: LabelSet | str, *, way: Way = "track", apart: bool = False,
              templates: bool = False) -> Parse:  # fmt: skip
        """The labels of every frame of an indexed source, from its tracks; `Parse.frames(memory.store)` has them.

        labels: names, or what `query.labels.load_labels` takes. way: "track" or "vote" (see query/scenes.py). apart:
        compare things with things only, stuff with all (DenseVLM's finding, here for labelling). templates: put each
        label into the 80 sentences of encoders/templates.py.

        Raises UsageError for an unknown source or way, no labels, labels that the encoder cannot read, and templates
        with an encoder that reads names alone.
        """
        from .query.labels import load_labels
        from .query.scenes import parse

        row = self.store.source(source)
        if row.kind == PICTURES:
            raise UsageError(f"photos are not parsed; index them as a film into another memory: {row.uri}")
        known = load_labels(labels) if isinstance(labels, str) else labels
        temperature = self.calibration.temperature if apart else None
        return parse(self.store, row, known, self._vectors(known.names, templates), way=way, temperature=temperature)

    def _phrases(self, names: Sequence[str]) -> list[Phrase]:
        from .query.haystack import Phrase

        return [Phrase(vector, self.text_encoder.contrast(vector)) for vector in self._vectors(names)]

    def _asked(
        self, text: str | None, image: str | os.PathLike[str] | Image.Image | None,
        crop: tuple[str, int, Box] | None, threshold: float | None, sources: Sequence[str], after: Moment | None,
        before: Moment | None, near: Sequence[str], within_ns: int, apart: float, least: float | None,
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
        _check_probability(least, threshold)
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
        if least is not None:
            query["min_probability"] = least
        if near:
            query |= {"near": list(near), "within_ns": str(within_ns), "apart": apart}
        spans, notes = self._spans(sources, after, before)
        pairs = tuple((other, self.text_encoder.contrast(other)) for other in others)
        return Asked(vector, visual, contrast, threshold, spans, pairs, within_ns, apart, least), query, notes

    def _spans(
        self, sources: Sequence[str], after: Moment | None, before: Moment | None
    ) -> tuple[dict[int, tuple[int, int]] | None, list[str]]:
        """What of each source counts, None for everything, and what is left out."""
        if not sources and after is None and before is None:
            return None, self._waiting()
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
        return spans, [*self._waiting(), *([note] if strange else [])]

    def _waiting(self) -> list[str]:
        """That sources cannot answer, as the memory has another encoder now and they were not there for it."""
        names = [Path(uri).name for uri in self.store.stale_sources()]
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        return [f"left out, since they wait for `vidmem reembed`: {', '.join(names[:3])}{more}"] if names else []

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
            if source.kind == PICTURES:
                raise UsageError("a box is taken from a video; of a single picture cut it out and give it with --image")
            if source.start_ns and t_ns >= source.start_ns:  # in a log's own terms: since the epoch
                t_ns -= source.start_ns
            if min(box[:2]) < 0 or box[2] > source.width or box[3] > source.height:
                raise UsageError(f"the crop's box reaches beyond the frame, which has {source.width} x {source.height}"
                                 " pixels; it is X,Y,W,H")  # fmt: skip
            row = crop_track(self.store, cache, source, t_ns, box)
            return cast(Float32, cache.reconstruct("visual", _one(row))[0])
        return None

    def _vectors(self, names: Sequence[str], templates: bool = False) -> Float32:
        encode: Callable[[Sequence[str]], Float32] = self.text_encoder.encode_text
        if templates:
            if not hasattr(self.text_encoder, "encode_names"):
                raise UsageError(f"`{self.text_encoder.info.name}` reads no sentences; leave --templates out")
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
            few = ", ".join(repr(name[:40]) for name in strange[:5])
            more = f" and {len(strange) - 5} more" if len(strange) > 5 else ""
            raise UsageError(
                f"`{self.text_encoder.info.name}` cannot read {few}{more}; leave them out or say them otherwise"
            ) from None


def _check_probability(least: float | None, threshold: float | None) -> None:
    if least is not None and not 0 <= least <= 1:
        raise UsageError(f"a probability lies between 0 and 1; got {least}")
    if least is not None and threshold is not None:
        raise UsageError("--threshold and --min-probability are two tests; give one of them")


def _one(row: int) -> Any:
    import numpy as np

    return np.array([row], np.int64)
