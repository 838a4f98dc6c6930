"""Files of tensors that others wrote."""

from __future__ import annotations

import zipfile
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


def test_a_table_inside_of_a_training_is_found(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    torch.save({"epoch": 3, "name": "run", "state_dict": {"a": torch.arange(4.0)}}, path)
    assert read_tensors(path, "the weights", inner=("state_dict",))["a"].tolist() == [0, 1, 2, 3]
    with pytest.raises(ModelError, match="epoch is of the type int, not a tensor with a name"):
        read_tensors(path, "the weights")


def test_many_views_of_one_value_fail(tmp_path: Path) -> None:
    """Each fits into the file, all together do not."""
    path, values = tmp_path / "w.pth", torch.zeros(1000)
    torch.save({f"t{i}": values for i in range(20)}, path)
    with pytest.raises(ModelError, match="repeats values and claims to be larger than the file"):
        read_tensors(path, "the weights")
    torch.save({"a": values, "b": values}, path)  # as a tower that shares its embeddings
    assert len(read_tensors(path, "the weights")) == 2


def test_an_archive_of_code_fails(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    torch.save({"a": torch.zeros(2)}, path)
    with zipfile.ZipFile(path, "a") as archive:  # what tells the two apart
        archive.writestr("w/constants.pkl", b"")
    with pytest.raises(ModelError, match="it is a TorchScript archive, which is code"):
        read_tensors(path, "the weights")
