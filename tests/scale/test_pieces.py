from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vidmem.errors import StoreError
from vidmem.records import Frame, RegionTokens, SourceInfo, SourceKind, View
from vidmem.scale.pieces import Piece, PieceWriter, digest_of_frames, digest_of_view, packed_regions, unpacked_regions

INFO = SourceInfo("/v.mp4", SourceKind.VIDEO, 64, 48, 0, "f")
FLOATS = st.floats(width=32, allow_nan=True, allow_infinity=True)


def _arrays(*shape: int) -> st.SearchStrategy[np.ndarray]:
    return hnp.arrays(np.float32, shape, elements=FLOATS)


@st.composite
def regions(draw: st.DrawFn) -> RegionTokens:
    m, h, w = draw(st.integers(0, 3)), draw(st.integers(1, 5)), draw(st.integers(1, 9))
    tokens, texts, masks = draw(_arrays(m, 4)), draw(_arrays(m, 2)), draw(_arrays(m, h, w))
    return RegionTokens(
        tokens, texts, masks, draw(_arrays(m, 2)), draw(_arrays(m, 4)), draw(_arrays(m)), draw(_arrays(m))
    )


@given(st.lists(regions(), max_size=3))
def test_regions_come_back_bit_for_bit(found: list[RegionTokens]) -> None:
    again = unpacked_regions(packed_regions(found), len(found))
    for one, other in zip(found, again, strict=True):
        for name in ("visual", "text", "masks", "points", "boxes", "area", "confidence"):
            mine, theirs = getattr(one, name), getattr(other, name)
            assert mine.shape == theirs.shape
            assert mine.tobytes() == theirs.tobytes()  # a negative zero and each kind of NaN, too


def test_regions_of_fewer_frames_are_refused() -> None:
    with pytest.raises(StoreError, match="a piece of a source is damaged"):
        unpacked_regions(packed_regions([]), 1)


def test_digests_tell_apart_all_that_an_encoder_sees() -> None:
    image = np.zeros((4, 6, 3), np.uint8)
    other = image.copy()
    other[0, 0, 0] = 1
    frames = [
        [Frame(image, 0, 0)],
        [Frame(other, 0, 0)],
        [Frame(image, 1, 0)],
        [Frame(image, 0, 1)],
        [Frame(image, 0, 0), Frame(image, 0, 0)],
        [Frame(image.reshape(6, 4, 3), 0, 0)],
    ]
    assert len({digest_of_frames(batch, INFO) for batch in frames}) == len(frames)
    assert digest_of_frames([Frame(image[::-1][::-1], 0, 0)], INFO) == digest_of_frames(frames[0], INFO)
    hint = np.zeros(2, np.float32)
    views = [
        View(image, (0, 0, 1, 1), (6, 4), 0, hint, 0.5, 0.5),
        View(other, (0, 0, 1, 1), (6, 4), 0, hint, 0.5, 0.5),
        View(image, (0, 0, 1, 2), (6, 4), 0, hint, 0.5, 0.5),
        View(image, (0, 0, 1, 1), (6, 5), 0, hint, 0.5, 0.5),
        View(image, (0, 0, 1, 1), (6, 4), 1, hint, 0.5, 0.5),
        View(image, (0, 0, 1, 1), (6, 4), 0, hint + 1, 0.5, 0.5),
        View(image, (0, 0, 1, 1), (6, 4), 0, hint, 0.6, 0.5),
        View(image, (0, 0, 1, 1), (6, 4), 0, hint, 0.5, 0.6),
    ]
    assert len({digest_of_view(view) for view in views}) == len(views)


def _piece(path: Path) -> Path:
    with PieceWriter(path, "us") as writer:
        writer.add("a", b"one")
        writer.add("b", b"")
        writer.add("a", b"other")  # the first stays
        writer.finish()
    return path


def test_answers_are_found_by_their_digest(tmp_path: Path) -> None:
    with Piece(_piece(tmp_path / "p"), "us") as piece:
        assert (piece.get("a"), piece.get("b"), piece.get("c"), len(piece)) == (b"one", b"", None, 2)


def test_a_piece_of_something_else_is_not_used(tmp_path: Path) -> None:
    path = _piece(tmp_path / "p")
    assert Piece.open(path, "them") is None
    assert Piece.open(tmp_path / "none", "us") is None
    with pytest.raises(StoreError, match="of another encoder"):
        Piece(path, "them")


def test_a_piece_that_was_not_finished_is_not_used(tmp_path: Path) -> None:
    with PieceWriter(tmp_path / "p", "us") as writer:
        writer.add("a", b"one")
    assert Piece.open(tmp_path / "p", "us") is None


def test_a_change_of_any_byte_is_found(tmp_path: Path) -> None:
    path = _piece(tmp_path / "p")
    data = path.read_bytes()
    for place in range(len(data)):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        assert Piece.open(path, "us") is None, place
    for length in range(len(data)):
        path.write_bytes(data[:length])
        assert Piece.open(path, "us") is None, length
