"""Encoders that stand before another one: one writes down what it answers, one looks answers up first."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..encoders.base import Encoder, ViewEncoder, ViewTokens
from ..records import Float32, Frame, RegionTokens, SourceInfo, View
from .pieces import Piece, PieceWriter, digest_of_frames, digest_of_view, packed_regions, unpacked_regions


class Relay(Encoder):
    """Passes on to another encoder what indexing asks, but for frames and views, which go through `ask`."""

    def __init__(self, inner: Encoder) -> None:
        self.inner = inner
        self.info, self.masks = inner.info, inner.masks

    @abstractmethod
    def encode_frames(self, frames: Sequence[Frame], info: SourceInfo) -> list[RegionTokens]:
        """As Encoder."""

    @abstractmethod
    def look(self, looker: ViewEncoder, views: Sequence[View]) -> ViewTokens:
        """As `ViewEncoder.look` of `looker`."""

    @cached_property
    def views(self) -> ViewEncoder | None:
        """As Encoder."""
        return None if (looker := self.inner.views) is None else _RelayViews(self, looker)

    def working_size(self, width: int, height: int) -> tuple[int, int]:
        """As Encoder."""
        return self.inner.working_size(width, height)

    def parallel(self) -> AbstractContextManager[int]:
        """As Encoder."""
        return self.inner.parallel()

    def encode(self, images: Sequence[NDArray[np.uint8]], width: int, height: int) -> list[RegionTokens]:
        """As Encoder."""
        return self.inner.encode(images, width, height)

    def encode_text(self, phrases: Sequence[str]) -> Float32:
        """As Encoder."""
        return self.inner.encode_text(phrases)

    def contrast(self, vector: Float32) -> Float32:
        """As Encoder."""
        return self.inner.contrast(vector)


class _RelayViews(ViewEncoder):
    def __init__(self, relay: Relay, inner: ViewEncoder) -> None:
        self._relay, self._inner = relay, inner
        self.view_pixels, self.max_views, self.wants_hint = inner.view_pixels, inner.max_views, inner.wants_hint

    def look(self, views: Sequence[View]) -> ViewTokens:
        return self._relay.look(self._inner, views)


class Recording(Relay):
    """Writes all that its encoder answers into a piece."""

    def __init__(self, inner: Encoder, writer: PieceWriter) -> None:
        super().__init__(inner)
        self._writer, self._turn = writer, threading.Lock()

    def encode_frames(self, frames: Sequence[Frame], info: SourceInfo) -> list[RegionTokens]:
        """As Encoder."""
        found = self.inner.encode_frames(frames, info)
        if frames:
            self._add(digest_of_frames(frames, info), packed_regions(found))
        return found

    def look(self, looker: ViewEncoder, views: Sequence[View]) -> ViewTokens:
        """As Relay."""
        seen = looker.look(views)
        for view, visual, text in zip(views, seen.visual, seen.text, strict=True):
            self._add(digest_of_view(view), np.concatenate([visual, text]).astype("<f4").tobytes())
        return seen

    def _add(self, digest: str, answer: bytes) -> None:
        with self._turn:
            self._writer.add(digest, answer)


class LookingUp(Relay):
    """Looks answers up in pieces, and asks its encoder for those that are not there.

    Attributes:
        found: Frames and views that were looked up.
        encoded: Frames and views that were not there.
    """

    def __init__(self, inner: Encoder, pieces: Sequence[Piece]) -> None:
        super().__init__(inner)
        self._pieces, self._turn = pieces, threading.Lock()
        self._near = 0
        self.found = self.encoded = 0

    def encode_frames(self, frames: Sequence[Frame], info: SourceInfo) -> list[RegionTokens]:
        """As Encoder."""
        held = self._get(digest_of_frames(frames, info)) if frames else None
        self._count(len(frames), held is not None)
        return self.inner.encode_frames(frames, info) if held is None else unpacked_regions(held, len(frames))

    def look(self, looker: ViewEncoder, views: Sequence[View]) -> ViewTokens:
        """As Relay."""
        held = [self._get(digest_of_view(view)) for view in views]
        missing = [view for view, answer in zip(views, held, strict=True) if answer is None]
        fresh = looker.look(missing)
        self._count(len(missing), False)
        self._count(len(views) - len(missing), True)
        split = self.info.visual_dim
        rows = iter(zip(fresh.visual, fresh.text, strict=True))
        both = [
            next(rows)
            if answer is None
            else (np.frombuffer(answer, "<f4")[:split], np.frombuffer(answer, "<f4")[split:])
            for answer in held
        ]
        if not both:
            return fresh
        return ViewTokens(
            np.array([visual for visual, _ in both], np.float32), np.array([text for _, text in both], np.float32)
        )

    def _get(self, digest: str) -> bytes | None:
        """The answer; the pieces are searched from the one that had the last."""
        for step in range(len(self._pieces)):
            number = (self._near + step) % len(self._pieces)
            if (held := self._pieces[number].get(digest)) is not None:
                self._near = number
                return held
        return None

    def _count(self, number: int, held: bool) -> None:
        with self._turn:
            if held:
                self.found += number
            else:
                self.encoded += number
