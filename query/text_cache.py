"""A cache, in the memory, of the texts that an encoder with a slow text side has encoded.

A phrase that is asked again needs neither the model nor PyTorch. A cached vector is valid for one encoder, its weights
(by sha256), its prompts and one version of vidmem. The weights count as unchanged as long as their files keep size and
time of change, as in encoders/hub.py.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .. import __version__
from ..encoders import LoadOptions, SlowText, TextEncoder, find, load_text
from ..encoders.hub import weights_folder
from ..records import Float32
from ..store import Store
from ..store.phrase_cache import PhraseCache


def text_side(spelling: str, weights: str | os.PathLike[str] | None, store: Store) -> TextEncoder:
    """The text side of an encoder for questions to a memory, cached if it is slow to load. Raises ModelError."""
    slow = find(spelling).slow_text
    if slow is None:
        return load_text(spelling, weights)
    return CachedText(spelling, slow, weights, store)


class CachedText(TextEncoder):
    """The text side `slow` of the encoder spelled `spelling`, loaded only for texts that are not in the cache.

    Raises ModelError, here and in every call, if the weights are missing or damaged.
    """

    has_templates = True

    def __init__(self, spelling: str, slow: SlowText, weights: str | os.PathLike[str] | None, store: Store) -> None:
        self._spelling, self._slow = spelling, slow
        self._options = LoadOptions(spelling.partition(":")[2], None, weights)
        self._texts = PhraseCache(store)
        self._real: TextEncoder | None = None
        facts = _sound(self._texts.facts(spelling), _homes(self._options))
        self.info = self._loaded().info if facts is None else slow.describe(*facts)

    def encode_text(self, phrases: Sequence[str]) -> Float32:
        keys = [self._key("text", phrase.encode("utf-8", "surrogatepass")) for phrase in phrases]
        found = self._texts.get(keys)
        missing = [i for i, row in enumerate(found) if row is None or row.shape != (1, self.info.text_dim)]
        if missing:
            real = self._loaded()
            new = real.encode_text([phrases[i] for i in missing])
            for i, row in zip(missing, new, strict=True):
                found[i] = row[None]
            # A phrase that is cut is not cached: the warning must come each time.
            self._texts.put([(keys[i], new[k : k + 1]) for k, i in enumerate(missing) if real.fits(phrases[i])])
        rows = [row for row in found if row is not None]
        return np.concatenate([np.empty((0, self.info.text_dim), np.float32), *rows])

    def encode_names(self, names: Sequence[str]) -> Float32:
        """As TextEncoder; not cached."""
        return self._loaded().encode_names(names)

    def contrast(self, vector: Float32) -> Float32:
        key = self._key("contrast", np.ascontiguousarray(vector, "<f4").tobytes())
        (found,) = self._texts.get([key])
        if found is None or found.shape[1:] != vector.shape:
            found = self._loaded().contrast(vector)
            self._texts.put([(key, found)])
        return found

    def _loaded(self) -> TextEncoder:
        if self._real is None:
            self._real = load_text(self._spelling, self._options.weights)
            info = self._real.info
            files = [_stamp(str(path)) for path in self._slow.files(self._options)]
            if files and None not in files:
                facts = [info.name, info.weights, info.visual_dim, info.text_dim]
                self._texts.set_facts(self._spelling, {"files": files, "info": facts})
        return self._real

    def _key(self, kind: str, text: bytes) -> bytes:
        head = json.dumps([kind, self.info.name, self.info.weights, self._slow.prompts, __version__]).encode()
        return hashlib.sha256(head + b"\0" + text).digest()


def _homes(options: LoadOptions) -> list[str]:
    """Where the files of an encoder lie, as the user said: the folder of weights, and the one in the encoder's name."""
    own = options.backbone.partition(":")[2].partition(",")[0]
    folders = [str(weights_folder(options.weights)), *([str(Path(own).expanduser())] if own else [])]
    return [os.path.join(os.path.abspath(folder), "") for folder in folders]


def _sound(facts: object, homes: Sequence[str]) -> tuple[str, str, int, int] | None:
    """Name, weights and widths of the encoder that was cached; None if its files have changed or `facts` is malformed.

    A memory may come from a stranger: it must not even make us look at files elsewhere, which may be on a network.
    """
    match facts:
        case {"files": [_, *_] as files, "info": [str() as name, str() as weights, int() as visual, int() as text]}:
            paths = [file[0] if isinstance(file, list) and file else None for file in files]
            if not all(isinstance(path, str) and _within(path, homes) for path in paths):
                return None
            if files == [_stamp(path) if isinstance(path, str) else None for path in paths] and None not in files:
                return name, weights, visual, text
    return None


def _within(path: str, homes: Sequence[str]) -> bool:
    """True for a path in one of the folders, or the folder itself."""
    return os.path.join(os.path.abspath(path), "").startswith(tuple(homes))


def _stamp(path: str) -> list[object] | None:
    """A file's path, size and time of change; None when it is not there."""
    try:
        stat = Path(path).stat()
    except (OSError, ValueError):  # a path with a zero in it
        return None
    return [path, stat.st_size, stat.st_mtime_ns]
