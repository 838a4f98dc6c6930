"""The text side of an encoder that is slow to load or to ask, with what a memory remembers of it.

Asked again, a phrase costs neither the model nor PyTorch. It counts as the same phrase when the encoder, the sha256 of
its weights, its prompts and the version of vidmem are the same; the weights count as the same as long as their files
keep size and time of change, as in hub.py.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import cast

import numpy as np

from .. import __version__
from ..encoders import EncoderInfo, TextEncoder, load_text, remembering
from ..records import Float32
from ..store import Store
from ..store.texts import Texts


def text_side(spec: str, weights: str | os.PathLike[str] | None, store: Store) -> TextEncoder:
    """The text side of an encoder for questions to a memory; those that are quick anyway are simply loaded. Raises
    ModelError."""
    module, backbone = remembering(spec)
    if module is None:
        return load_text(spec, weights)
    return cast(TextEncoder, RememberedText(spec, module, backbone, weights, store))  # its info is only read


class RememberedText:
    """A TextEncoder. module: of the encoder, with `text_files(backbone, weights)`, the files that its text side hangs
    on, `described(name, weights, visual_dim, text_dim)`, its EncoderInfo, and PROMPTS."""

    def __init__(
        self, spec: str, module: ModuleType, backbone: str, weights: str | os.PathLike[str] | None, store: Store
    ) -> None:
        self._spec, self._module, self._backbone, self._weights = spec, module, backbone, weights
        self._texts = Texts(store)
        self._real: TextEncoder | None = None
        self._info: EncoderInfo | None = None

    @property
    def info(self) -> EncoderInfo:
        """Raises ModelError, now and from every other call, when the weights are missing or damaged."""
        if self._info is None:
            told = _sound(self._texts.facts(self._spec))
            self._info = self._loaded().info if told is None else self._module.described(*told)
        assert self._info is not None
        return self._info

    def encode_text(self, phrases: Sequence[str]) -> Float32:
        keys = [self._key("text", phrase.encode("utf-8", "surrogatepass")) for phrase in phrases]
        found = self._texts.get(keys)
        missing = [i for i, row in enumerate(found) if row is None or row.shape != (1, self.info.text_dim)]
        if missing:
            real = self._loaded()
            new = real.encode_text([phrases[i] for i in missing])
            for i, row in zip(missing, new, strict=True):
                found[i] = row[None]
            # A phrase of which only the first words count is not remembered: that must be said each time.
            whole = getattr(real, "fits", lambda phrase: True)
            rows_of = zip(missing, new, strict=True)
            self._texts.put([(keys[i], row[None]) for i, row in rows_of if whole(phrases[i])])
        rows = [row for row in found if row is not None]
        return np.concatenate([np.empty((0, self.info.text_dim), np.float32), *rows])

    def contrast(self, vector: Float32) -> Float32:
        key = self._key("contrast", np.ascontiguousarray(vector, "<f4").tobytes())
        (found,) = self._texts.get([key])
        if found is None or found.shape[1:] != vector.shape:
            found = self._loaded().contrast(vector)
            self._texts.put([(key, found)])
        return found

    def _loaded(self) -> TextEncoder:
        if self._real is None:
            self._real = load_text(self._spec, self._weights)
            self._info = info = self._real.info
            files = [_stamp(str(path)) for path in self._module.text_files(self._backbone, self._weights)]
            if files and None not in files:
                told = [info.name, info.weights, info.visual_dim, info.text_dim]
                self._texts.set_facts(self._spec, {"files": files, "info": told})
        return self._real

    def _key(self, kind: str, asked: bytes) -> bytes:
        head = json.dumps([kind, self.info.name, self.info.weights, self._module.PROMPTS, __version__]).encode()
        return hashlib.sha256(head + b"\0" + asked).digest()


def _sound(facts: object) -> list[object] | None:
    """Of which encoder, weights and lengths of vectors it tells; None when the files are others now, or it tells
    nothing: a memory may come from a stranger."""
    match facts:
        case {"files": [_, *_] as files, "info": [str(), str(), int(), int()] as info}:
            paths = [file[0] if isinstance(file, list) and file else None for file in files]
            if files == [_stamp(path) if isinstance(path, str) else None for path in paths] and None not in files:
                told: list[object] = info
                return told
    return None


def _stamp(path: str) -> list[object] | None:
    """A file's path, size and time of change; None when it is not there."""
    try:
        stat = Path(path).stat()
    except (OSError, ValueError):  # a path with a zero in it
        return None
    return [path, stat.st_size, stat.st_mtime_ns]
