from __future__ import annotations

import lzma
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidmem.errors import StoreError
from vidmem.records import FrameRegions
from vidmem.store.region_blobs import decode, encode, same_grid

from .making import frame


@st.composite
def runs(draw: st.DrawFn) -> list[FrameRegions]:
    h, w = draw(st.integers(0, 9)), draw(st.integers(0, 17))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    frames = []
    for _ in range(draw(st.integers(1, 9))):
        ordinals = draw(st.lists(st.integers(0, 2**32 - 1) | st.integers(0, 9), max_size=6, unique=True))
        m = len(ordinals)
        boxes = (rng.random((m, 4)) * draw(st.sampled_from([1.0, 2000.0, 65535.0]))).astype(np.float32)
        t_ns = draw(st.integers(-(2**61), 2**61))
        masks = rng.random((m, h, w)) < draw(st.floats(0, 1))
        frames.append(FrameRegions(t_ns, np.array(ordinals, np.int64), boxes, masks))
    return frames


def assert_same(got: list[FrameRegions], want: list[FrameRegions]) -> None:
    assert len(got) == len(want)
    for a, b in zip(got, want, strict=True):
        assert a.t_ns == b.t_ns
        assert a.tracks.dtype == np.int64
        assert a.boxes.dtype == np.float32
        assert a.masks.dtype == bool
        np.testing.assert_array_equal(a.tracks, b.tracks)
        np.testing.assert_array_equal(a.boxes, np.rint(b.boxes))
        np.testing.assert_array_equal(a.masks, b.masks)
        assert a.masks.shape == b.masks.shape


@settings(deadline=None)
@given(runs())
def test_round_trip(frames: list[FrameRegions]) -> None:
    assert_same(decode(encode(frames)), frames)


def test_boxes_are_clipped_to_what_uint16_holds() -> None:
    boxes = np.array([[-3.0, 1.5, 70000.0, 2.4]], np.float32)
    (got,) = decode(encode([FrameRegions(0, np.array([1]), boxes, np.zeros((1, 2, 2), bool))]))
    assert got.boxes.tolist() == [[0, 2, 65535, 2]]


@pytest.mark.parametrize("bad", [[-1], [2**32], [3, 3]])
def test_encode_fails_on_impossible_ordinals(bad: list[int]) -> None:
    with pytest.raises(ValueError, match=r"ordinals|twice"):
        encode([frame(0, bad)])


def test_encode_fails_on_nan_boxes_and_on_nothing() -> None:
    broken = FrameRegions(0, np.array([0]), np.full((1, 4), np.nan, np.float32), np.zeros((1, 2, 2), bool))
    with pytest.raises(ValueError, match="NaN"):
        encode([broken])
    with pytest.raises(ValueError, match="no frames"):
        encode([])


def test_same_grid_cuts_where_the_grid_changes() -> None:
    frames = [frame(0, [1]), frame(1, [1]), frame(2, [1], grid=(2, 3)), frame(3, [1])]
    assert [len(run) for run in same_grid(frames)] == [2, 1, 1]
    assert not list(same_grid([]))


def test_encode_fails_on_mixed_grids() -> None:
    with pytest.raises(ValueError, match="one mask grid"):
        encode([frame(0, [1]), frame(1, [1], grid=(2, 3))])


@settings(deadline=None)
@given(st.data())
def test_decode_fails_on_damage(data: st.DataObject) -> None:
    blob = bytearray(encode([frame(t, [1, 2, 3]) for t in range(4)]))
    at = data.draw(st.integers(0, len(blob) - 1))
    if data.draw(st.booleans()):
        blob[at] ^= data.draw(st.integers(1, 255))
    else:
        del blob[at:]
    with pytest.raises(StoreError, match=r"damaged .* index it again"):
        decode(bytes(blob))


@given(st.binary(max_size=200))
def test_decode_fails_on_anything_else(blob: bytes) -> None:
    with pytest.raises(StoreError):
        decode(blob)


def test_decode_fails_on_a_forged_size_without_unpacking_it() -> None:
    from vidmem.store import region_blobs

    good = encode([frame(0, [1])])
    packed = lzma.compress(bytes(1 << 24), lzma.FORMAT_RAW, filters=region_blobs._FILTERS)
    head = region_blobs._HEADER.pack(b"VR1\0", 0, 1 << 31, 1 << 28, 0, 0, 1, 1)
    crc = zlib.crc32(head[8:] + packed).to_bytes(4, "little")
    with pytest.raises(StoreError, match="sizes"):
        decode(good[:4] + crc + head[8:] + packed)


@pytest.mark.parametrize(("h", "w"), [(16, 28), (32, 56)])
def test_a_region_costs_at_most_25_bytes(h: int, w: int) -> None:
    rng = np.random.default_rng(0)
    rows, cols = np.mgrid[:h, :w]
    at, radius = rng.uniform([0, 0], [h, w], (30, 2)), rng.uniform(0.8, 5, (30, 2)) * w / 28
    frames = []
    for t in range(50):
        at = at + rng.normal(0, 0.2, at.shape)
        far = ((rows - at[:, :1, None]) / radius[:, :1, None]) ** 2 + (
            (cols - at[:, 1:, None]) / radius[:, 1:, None]
        ) ** 2
        boxes = np.abs(np.concatenate([at - radius, at + radius], 1) * 1280 / w + rng.normal(0, 2, (30, 4)))
        masks = far + rng.normal(0, 0.15, far.shape) < 1
        frames.append(FrameRegions(t * 200_000_000, rng.permutation(30), boxes.astype(np.float32), masks))
    assert len(encode(frames)) / 1500 <= 25
