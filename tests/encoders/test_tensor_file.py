"""Files of tensors that others wrote."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from vidmem.encoders.tensor_file import read_tensors
from vidmem.errors import ModelError


@pytest.mark.parametrize("start", [b"\x80", b"PK"])
def test_a_table_whose_length_looks_like_another_format_is_read(tmp_path: Path, start: bytes) -> None:
    path, want = tmp_path / "w.safetensors", torch.arange(4.0)
    save_file({"a": want}, path, {"note": ""})
    length = int.from_bytes(path.read_bytes()[:8], "little")
    missing = (int.from_bytes(start, "little") - length) % (1 << 8 * len(start))
    save_file({"a": want}, path, {"note": "x" * missing})
    assert path.read_bytes().startswith(start)
    torch.testing.assert_close(read_tensors(path, "the weights")["a"], want)


@pytest.mark.parametrize("data", [b"", b"\x80\x04}.", b"PK\x03\x04", b"\x10" + bytes(7) + b"{"])
def test_what_is_no_table_fails(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(data)
    with pytest.raises(ModelError, match="the weights"):
        read_tensors(path, "the weights")
