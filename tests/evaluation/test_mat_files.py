"""MATLAB files of version 5, written by SciPy, and what is damaged."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from needs import needs
from vidmem.evaluation.mat_files import read_matrix

LIMIT = 1 << 20


def written(packed: bool = False, **values: Any) -> bytes:
    needs("scipy")
    from scipy.io import savemat

    out = io.BytesIO()
    savemat(out, values, do_compression=packed)
    return out.getvalue()


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"])
@pytest.mark.parametrize("shape", [(1, 1), (2, 1), (3, 5), (60, 80), (0, 4)])
def test_what_scipy_writes_is_read(packed: bool, kind: str, shape: tuple[int, int]) -> None:
    values = np.arange(np.prod(shape)).reshape(shape).astype(kind)
    data = written(packed, first=np.zeros(3), LabelMap=values, last="text")
    found = read_matrix(data, "LabelMap", LIMIT)
    assert found.dtype == np.dtype(kind)
    np.testing.assert_array_equal(found, values)


def test_big_endian_and_small_types() -> None:
    """MATLAB writes values of 16 bits in 8 bits if they fit, and short elements beside their type."""
    name = b"LabelMap"
    parts = struct.pack(">IIII", 6, 8, 11, 0) + struct.pack(">IIii", 5, 8, 2, 2) + struct.pack(">II", 1, 8) + name
    parts += struct.pack(">I", 4 << 16 | 2) + bytes([1, 2, 3, 4])
    data = bytes(124) + b"\x01\x00MI" + struct.pack(">II", 14, len(parts)) + parts
    found = read_matrix(data, "LabelMap", LIMIT)
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, [[1, 3], [2, 4]])


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"", "not a MATLAB file"),
        (b"MATLAB 5.0 MAT-file, but damaged", "not a MATLAB file"),
        (bytes(126) + b"IM", "no matrix"),
        (bytes(126) + b"IM" + struct.pack("<II", 14, 1 << 30), "cut short"),
        (bytes(126) + b"IM" + struct.pack("<II", 15, 8) + b"x" * 8, "cannot be unpacked"),
    ],
)
def test_other_files_fail(data: bytes, cause: str) -> None:
    with pytest.raises(ValueError, match=cause):
        read_matrix(data, "LabelMap", LIMIT)


def test_what_is_no_matrix_of_whole_numbers_fails() -> None:
    for value in (np.zeros((2, 2)), "text", {"a": 1}, np.zeros((2, 2, 2), np.uint8), np.zeros((2, 2), complex)):
        with pytest.raises(ValueError, match="no matrix of whole numbers called LabelMap"):
            read_matrix(written(LabelMap=value), "LabelMap", LIMIT)
    with pytest.raises(ValueError, match="no matrix of whole numbers called LabelMap"):
        read_matrix(written(Other=np.zeros((2, 2), np.uint8)), "LabelMap", LIMIT)


def test_small_files_that_unpack_to_much_fail() -> None:
    data = written(True, LabelMap=np.zeros((2000, 2000), np.uint8))
    assert len(data) < 10_000
    with pytest.raises(ValueError, match="more than 1 MB"):
        read_matrix(data, "LabelMap", LIMIT)
    assert read_matrix(data, "LabelMap", 8 << 20).shape == (2000, 2000)


@given(st.data())
def test_damaged_files_are_read_or_fail(draw: st.DataObject) -> None:
    data = bytearray(written(LabelMap=np.arange(48, dtype=np.uint16).reshape(6, 8)))
    for _ in range(draw.draw(st.integers(1, 4))):
        data[draw.draw(st.integers(124, len(data) - 1))] = draw.draw(st.integers(0, 255))
    try:
        found = read_matrix(bytes(data), "LabelMap", LIMIT)
    except ValueError:
        return
    assert found.ndim == 2
