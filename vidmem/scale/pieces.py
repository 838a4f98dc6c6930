"""Pieces: what an encoder gave for a stretch of a source, by the content that it was given.

A long source is encoded in stretches by several workers. Each writes a piece: the answers of the encoder, each under
the sha256 of all that it was asked. The worker that then indexes the whole source asks its encoder the same and finds
most of the answers in the pieces. What it does not find it encodes itself. So the memory is that of one run, bit for
bit, whatever is in the pieces or missing there.

A piece is one file:

    magic          8 bytes
    answers        one after the other
    index          JSON: {"for": ..., "answers": {digest: [offset, length]}}
    length         8 bytes, of the index
    sha256         32 bytes, of all before

Masks are mostly zeros: only the others are kept, with a bit per cell that says where they are.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from ..closing import Closing
from ..errors import StoreError
from ..records import Float32, Frame, RegionTokens, SourceInfo, View

MAGIC = b"vmpiece1"
_TAIL = 8 + 32
_PART = 1 << 22
_FIELDS = ("visual", "text", "points", "boxes", "area", "confidence")


def digest_of_frames(frames: Sequence[Frame], info: SourceInfo) -> str:
    """sha256 in hex of all that `Encoder.encode_frames` is given, but for the name of the source."""
    digest = hashlib.sha256(f"frames {info.width} {info.height} {len(frames)}\n".encode())
    for frame in frames:
        digest.update(f"{frame.t_ns} {frame.index} {frame.image.shape}\n".encode())
        digest.update(np.ascontiguousarray(frame.image).data)
    return digest.hexdigest()


def digest_of_view(view: View) -> str:
    """sha256 in hex of a view with all that belongs to it."""
    facts = (view.box, view.frame_size, view.t_ns, view.sharpness, view.confidence, view.image.shape, view.hint.shape)
    digest = hashlib.sha256(f"view {facts!r}\n".encode())
    digest.update(np.ascontiguousarray(view.hint).data)
    digest.update(np.ascontiguousarray(view.image).data)
    return digest.hexdigest()


def packed_regions(found: Sequence[RegionTokens]) -> bytes:
    """The regions of a batch of frames, exactly; `unpacked_regions` reads them."""
    parts: dict[str, NDArray[Any]] = {}
    for number, regions in enumerate(found):
        parts |= {f"{number}.{name}": np.ascontiguousarray(getattr(regions, name), np.float32) for name in _FIELDS}
        masks = np.ascontiguousarray(regions.masks, np.float32)
        bits = masks.view(np.uint32).ravel()
        there = bits != 0  # by bits: a negative zero is one of them
        parts[f"{number}.shape"] = np.array(masks.shape, np.int64)
        parts[f"{number}.there"] = np.frombuffer(zlib.compress(np.packbits(there).tobytes(), 1), np.uint8)
        parts[f"{number}.values"] = bits[there]
    return save(parts)


def unpacked_regions(data: bytes, frames: int) -> list[RegionTokens]:
    """What `packed_regions` packed. Raises StoreError if it is not the regions of so many frames."""
    try:
        parts = load(data)
        return [_regions({name: parts[f"{n}.{name}"] for name in (*_FIELDS, *_MASKS)}) for n in range(frames)]
    except (SafetensorError, KeyError, ValueError, zlib.error) as error:
        raise StoreError(f"a piece of a source is damaged ({error}); remove it") from error


_MASKS = ("shape", "there", "values")


def _regions(parts: dict[str, NDArray[Any]]) -> RegionTokens:
    shape = tuple(map(int, parts["shape"]))
    cells = math.prod(shape)
    there = np.unpackbits(np.frombuffer(zlib.decompress(parts["there"].tobytes()), np.uint8), count=cells).astype(bool)
    bits = np.zeros(cells, np.uint32)
    bits[there] = parts["values"]
    masks: Float32 = bits.view(np.float32).reshape(shape)
    visual, text, points, boxes, area, confidence = (parts[name] for name in _FIELDS)
    return RegionTokens(visual, text, masks, points, boxes, area, confidence)


class PieceWriter(Closing):
    """Writes a piece. Its threads may add answers at a time. The file is complete only after `finish`.

    Args:
        path: The file.
        about: Whose answers they are: the encoder, its weights and settings.
    """

    def __init__(self, path: Path, about: str) -> None:
        self.path = path
        self._about = about
        self._answers: dict[str, tuple[int, int]] = {}
        self._digest = hashlib.sha256()
        self._file = path.open("wb")
        self._at = 0
        self._write(MAGIC)

    def __len__(self) -> int:
        return len(self._answers)

    def __contains__(self, digest: str) -> bool:
        return digest in self._answers

    def add(self, digest: str, answer: bytes) -> None:
        """Add an answer; one that is there stays."""
        if digest not in self._answers:
            self._answers[digest] = (self._at, len(answer))
            self._write(answer)

    def finish(self) -> None:
        """Write what makes the file readable, and close it."""
        index = json.dumps({"for": self._about, "answers": self._answers}).encode()
        self._write(index)
        self._write(len(index).to_bytes(8, "big"))
        self._file.write(self._digest.digest())
        self._file.flush()
        os.fsync(self._file.fileno())
        self.close()

    def close(self) -> None:
        """Close the file as it is."""
        self._file.close()

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._digest.update(data)
        self._at += len(data)


class Piece(Closing):
    """A complete piece, open for reading.

    Raises:
        StoreError: It is incomplete, damaged, or of another encoder or other settings.
        OSError: It cannot be read.
    """

    def __init__(self, path: Path, about: str) -> None:
        self._file = path.open("rb")
        try:
            self._answers = self._checked(path, about)
        except BaseException:
            self.close()
            raise

    @classmethod
    def open(cls, path: Path, about: str) -> Self | None:
        """Open a piece; None if it is missing, incomplete, damaged or of something else."""
        try:
            return cls(path, about)
        except (StoreError, OSError, ValueError, KeyError, TypeError, AttributeError):
            return None  # whatever it holds: it is not what was written

    def get(self, digest: str) -> bytes | None:
        """The answer under a digest; None if it is not in this piece."""
        place = self._answers.get(digest)
        if place is None:
            return None
        return os.pread(self._file.fileno(), place[1], place[0])

    def __len__(self) -> int:
        return len(self._answers)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _checked(self, path: Path, about: str) -> dict[str, tuple[int, int]]:
        digest = hashlib.sha256()
        size = os.fstat(self._file.fileno()).st_size
        left = size - 32
        if size < len(MAGIC) + _TAIL or self._file.read(len(MAGIC)) != MAGIC:
            raise StoreError(f"the piece of a source is incomplete; remove it: {path}")
        self._file.seek(0)
        while left > 0 and (part := self._file.read(min(left, _PART))):
            digest.update(part)
            left -= len(part)
        if self._file.read(32) != digest.digest():
            raise StoreError(f"the piece of a source is damaged; remove it: {path}")
        self._file.seek(size - _TAIL)
        length = int.from_bytes(self._file.read(8), "big")
        self._file.seek(size - _TAIL - length)
        index = json.loads(self._file.read(length))
        if index["for"] != about:
            raise StoreError(f"the piece of a source is of another encoder or other settings; remove it: {path}")
        return {name: (int(at), int(length)) for name, (at, length) in index["answers"].items()}
