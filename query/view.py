"""One committed state of a memory with what a question needs of it: its vectors, its encoder, its calibration.

A question opens one `View` and reads nothing else, so its answer is that of one state, whatever other threads and
processes write meanwhile.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..encoders import Calibration, Encoder, TextEncoder, check_stranger, load
from ..encoders.probability import Probabilities
from ..errors import StoreError
from ..store import ModelRecord, Store, VectorCache, Vectors
from .text_cache import text_side

if TYPE_CHECKING:
    from ..encoders.base import MaskSource


class Side:
    """One encoder, of which the text side or both sides are loaded when first needed. Threads may share it."""

    def __init__(self, spec: str, load_text: Callable[[], TextEncoder], load_both: Callable[[], Encoder]) -> None:
        self.spec = spec
        self._load_text, self._load_both = load_text, load_both
        self._text: TextEncoder | None = None
        self._both: Encoder | None = None
        self._loading = threading.Lock()

    @classmethod
    def loaded(cls, encoder: Encoder) -> Side:
        """The side of an encoder that is loaded already."""
        return cls(encoder.info.name, lambda: encoder, lambda: encoder)

    @property
    def text(self) -> TextEncoder:
        """The text side; quick to load. Raises ModelError."""
        with self._loading:
            if self._text is None:
                self._text = self._load_text()
            return self._text

    @property
    def both(self) -> Encoder:
        """Both sides. Raises ModelError."""
        with self._loading:
            if self._both is None:
                self._text = self._both = self._load_both()
            return self._both

    def made(self, record: ModelRecord) -> bool:
        """Return True if this encoder, with these weights, made the tokens of a memory."""
        info = self.text.info
        ours = (info.name, info.weights, info.visual_dim, info.text_dim)
        return ours == (record.encoder, record.weights, record.visual_dim, record.text_dim)


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One committed state of a memory.

    store: reads this state within the block of `Views.open`. cache: its vectors. side: the encoder that made it.
    calibration: when an answer counts as found.
    """

    store: Store
    cache: Vectors
    side: Side
    calibration: Calibration

    @property
    def text(self) -> TextEncoder:
        """The text side of the encoder."""
        return self.side.text


class Views:
    """Opens the views of one memory and keeps what they share: the vectors and the encoder. Threads may share it."""

    def __init__(
        self,
        store: Store,
        spec: str,
        device: str | None,
        weights: str | os.PathLike[str] | None,
        masks: str | os.PathLike[str] | MaskSource | None,
        *,
        said: bool = True,
        vectors: Callable[[Store], Vectors] = VectorCache,
    ) -> None:
        """As `Query`. said: the user gave the name of the encoder; it is not only the memory that says it."""
        self._said = spec if said else None
        self._store, self._device, self._weights, self._masks = store, device, weights, masks
        self.side = self._side_of(spec)
        self.next: Side | None = None
        """An encoder that is about to take the place of `side`."""
        self._vectors = vectors
        self._cache: Vectors | None = None
        self._refreshing = threading.Lock()
        self._own = threading.local()

    def check_named(self, spec: str) -> None:
        """Raise ModelError if this encoder lies at a place that the memory says, and not the user."""
        if spec != self._said:
            check_stranger(spec)

    def use(self, encoder: Encoder) -> None:
        """Use this encoder from now on."""
        self.side, self.next, self._cache = Side.loaded(encoder), None, None

    def drop_cache(self) -> None:
        """Read the vectors anew for the next view."""
        self._cache = None

    @contextmanager
    def open(self) -> Iterator[View]:
        """One state of the memory for the block, in this thread. Within a block it is the state of that block.

        Raises:
            ModelError: the encoder's weights are missing.
            ModelMismatchError: other weights made the memory.
            StoreError: the memory is damaged or closed.
        """
        current: View | None = getattr(self._own, "view", None)
        if current is not None:
            yield current
            return
        _ = self.side.text  # loading may take seconds, in which a snapshot would keep removals waiting
        with ExitStack() as stack:
            cache = self._enter(stack)
            side = self.side_now()
            self._own.view = view = View(self._store, cache, side, self.calibration(side))
            stack.callback(setattr, self._own, "view", None)
            yield view

    def cache(self) -> Vectors:
        """The vectors of the current state; in a view its vectors."""
        current: View | None = getattr(self._own, "view", None)
        if current is not None:
            return current.cache
        with ExitStack() as stack:
            return self._enter(stack)

    def _enter(self, stack: ExitStack) -> Vectors:
        """Take a snapshot until `stack` closes and return its vectors."""
        state = stack.enter_context(self._store.snapshot())
        cache = self._cache
        if cache is not None and cache.state == state:
            return cache
        # Another snapshot, under the lock: the vectors that are known are not newer then, and each state is read once.
        stack.close()
        with self._refreshing:
            stack.enter_context(self._store.snapshot())
            cache = self._cache
            self._cache = cache = self._vectors(self._store) if cache is None else cache.refreshed()
            return cache

    def side_now(self) -> Side:
        """The encoder that made the memory as it is in this thread's snapshot.

        It is another one than before when another process has run `reembed`.
        """
        made = self._store.model()
        for side in (self.side, self.next):
            if side is not None and (made is None or side.made(made)):
                return side
        if made is None or not self._store.sources():  # it will be what the first source is indexed with
            return self.side
        again = self._side_of(made.encoder)
        info = again.text.info
        self._store.check_model(
            ModelRecord(info.name, info.weights, info.visual_dim, info.text_dim, made.config, made.regions)
        )
        self.side = again
        return again

    def calibration_now(self) -> Calibration:
        """The calibration of the memory as it is now, or in this thread's view."""
        current: View | None = getattr(self._own, "view", None)
        if current is not None:
            return current.calibration
        _ = self.side.text
        with self._store.snapshot():
            return self.calibration(self.side_now())

    def calibration(self, side: Side) -> Calibration:
        """The calibration of an encoder, with what was fitted to this memory. Raises StoreError if that is damaged."""
        info = side.text.info
        fitted = self._store.fitted(info.weights)
        if fitted is None:
            return info.calibration
        try:
            return replace(info.calibration, probability=Probabilities.from_dict(fitted))
        except ValueError as error:
            raise StoreError(f"what was fitted is damaged ({error}); run `vidmem calibrate` again") from None

    def _side_of(self, spec: str) -> Side:
        first = getattr(self, "side", None)
        masks = self._masks if first is None or first.spec == spec else None  # chosen for that encoder

        def text() -> TextEncoder:
            self.check_named(spec)
            return text_side(spec, self._weights, self._store)

        def both() -> Encoder:
            self.check_named(spec)
            return load(spec, self._device, self._weights, masks=masks)

        return Side(spec, text, both)
