"""Files of region encoders are loaded completely or refused."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from vidmem.encoders.tren.checkpoint import FORMAT, KEY, load_region_encoder, our_name, save_region_encoder
from vidmem.encoders.tren.positions import FourierPositions
from vidmem.encoders.tren.region_encoder import RegionEncoder
from vidmem.errors import ModelError

GOLDEN = Path(__file__).parents[1] / "golden" / "tren"
State = dict[str, Tensor]


@pytest.fixture(scope="module")
def authors() -> State:
    """The 73 tensors of the authors' layout, at width 64 with 8x8 patches and 128 pixels a side."""
    with np.load(GOLDEN / "decoder_small_state_dict.npz", allow_pickle=False) as file:
        state = {name: torch.from_numpy(value) for name, value in file.items()}
    locations = FourierPositions(64).grid(128, 128).T.reshape(64, 128, 128).contiguous()
    state = {"location_embeddings": locations, **state}
    assert len(state) == 73
    return state


def write(path: Path, state: object) -> Path:
    torch.save({KEY: state}, path)
    return path


def test_the_authors_file_is_loaded(tmp_path: Path, authors: State) -> None:
    model = load_region_encoder(write(tmp_path / "tren.pth", authors))
    options = {
        "dim": 64,
        "text_dim": 48,
        "heads": 8,
        "layers": 2,
        "k": 3,
        "mlp_dim": 128,
        "side": 8,
        "pixels": 128,
        "positions": "exact",
        "seed_queries": False,
        "coarse": 1,
    }
    assert model.options() == options
    assert not model.training
    held = model.state_dict()
    theirs = {our_name(n): t for n, t in authors.items() if n not in ("location_embeddings", "feature_embeddings")}
    assert len(theirs) == 71
    assert held.keys() == theirs.keys()
    for name, tensor in held.items():
        assert torch.equal(tensor, theirs[name])
        assert not tensor.requires_grad
    features, points = torch.randn(1, 64, 4, 4), torch.rand(1, 5, 2)
    other = RegionEncoder(64, 48).eval()
    other.load_state_dict(theirs)
    with torch.no_grad():
        for mine, wanted in zip(model(features, points), other(features, points), strict=True):
            assert torch.equal(mine, wanted)


class Authors(torch.nn.Module):
    """The authors' state dict with its memory layout: `location_embeddings` is a transposed view, with contiguous
    channels."""

    def __init__(self, state: State) -> None:
        super().__init__()
        lying = state["location_embeddings"].permute(1, 2, 0).contiguous()
        self.location_embeddings = torch.nn.Parameter(lying.permute(2, 0, 1), requires_grad=False)
        self.rest = {name: tensor for name, tensor in state.items() if name != "location_embeddings"}

    def state_dict(self, *args: object, **more: object) -> State:  # type: ignore[override]
        return {**super().state_dict(), **{name: torch.nn.Parameter(t) for name, t in self.rest.items()}}


def test_a_file_in_the_authors_layout_is_loaded(tmp_path: Path, authors: State) -> None:
    state = Authors(authors).state_dict()
    assert state["location_embeddings"].stride() == (1, 128 * 64, 64)
    path = tmp_path / "tren.pth"
    torch.save({KEY: state, "epoch": 5}, path)
    assert torch.load(path, weights_only=True)[KEY]["location_embeddings"].stride() == (1, 128 * 64, 64)
    model, other = load_region_encoder(path), load_region_encoder(write(tmp_path / "plain.pth", authors))
    assert model.options() == other.options()
    for name, tensor in other.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor)
    assert not any(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("change", [lambda t: t.transpose(1, 2), lambda t: t.roll(1, 0), lambda t: t.flip(2)])
def test_positions_of_another_seed_fail_in_any_layout(
    tmp_path: Path, authors: State, change: Callable[[Tensor], Tensor]
) -> None:
    state = Authors({**authors, "location_embeddings": change(authors["location_embeddings"])}).state_dict()
    with pytest.raises(ModelError, match="not those of seed 42"):
        load_region_encoder(write(tmp_path / "tren.pth", state))


def test_any_tensor_may_be_transposed(tmp_path: Path, authors: State) -> None:
    turned = {name: t.T.contiguous().T if t.ndim == 2 else t for name, t in authors.items()}
    assert not turned["scale_embeddings.weight"].is_contiguous()
    model = load_region_encoder(write(tmp_path / "tren.pth", turned))
    assert all(tensor.is_contiguous() for tensor in model.state_dict().values())
    assert torch.equal(model.scale_embeddings.weight, authors["scale_embeddings.weight"])


def test_a_packed_file_fails(tmp_path: Path, authors: State) -> None:
    """A zip with compressed parts, which torch never writes."""
    path = tmp_path / "packed.pth"
    with (
        zipfile.ZipFile(write(tmp_path / "tren.pth", authors)) as whole,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for entry in whole.infolist():
            packed.writestr(entry.filename, whole.read(entry))
    with pytest.raises(ModelError, match="its parts are packed"):
        load_region_encoder(path)


def test_the_file_may_be_removed_once_it_is_loaded(tmp_path: Path, authors: State) -> None:
    path = write(tmp_path / "tren.pth", authors)
    model = load_region_encoder(path)
    before = model.text2.weight.clone()
    with open(path, "r+b") as file:
        file.write(b"\0" * os.path.getsize(path))
    assert torch.equal(model.text2.weight, before)


def test_a_file_without_position_embeddings_is_loaded(tmp_path: Path, authors: State) -> None:
    state = {n: t for n, t in authors.items() if n not in ("location_embeddings", "feature_embeddings")}
    assert load_region_encoder(write(tmp_path / "tren.pth", state)).options()["pixels"] == 512


def test_half_precision_becomes_float32(tmp_path: Path, authors: State) -> None:
    halves = {n: t if "embeddings" in n else t.half() for n, t in authors.items()}
    model = load_region_encoder(write(tmp_path / "tren.pth", halves))
    assert {t.dtype for t in model.state_dict().values()} == {torch.float32}


@pytest.mark.parametrize(
    "options",
    [{}, {"seed_queries": True, "coarse": 2}, {"positions": "resized", "native": (8, 128)}, {"layers": 1, "k": 5}],
)
def test_round_trip(tmp_path: Path, options: dict[str, object]) -> None:
    model = RegionEncoder(32, 16, heads=4, **options).eval()  # type: ignore[arg-type]
    save_region_encoder(model, tmp_path / "own.safetensors")
    again = load_region_encoder(tmp_path / "own.safetensors")
    assert again.options() == model.options()
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor)
    features, points = torch.randn(2, 32, 6, 6), torch.rand(2, 5, 2)
    with torch.no_grad():
        assert torch.equal(again(features, points)[0], model(features, points)[0])
    assert [p.name for p in tmp_path.iterdir()] == ["own.safetensors"]


def test_the_kind_of_positions_can_be_chosen(tmp_path: Path, authors: State) -> None:
    path = write(tmp_path / "tren.pth", authors)
    assert load_region_encoder(path, positions="resized").options()["positions"] == "resized"
    save_region_encoder(load_region_encoder(path, positions="resized"), tmp_path / "own")
    assert load_region_encoder(tmp_path / "own").options()["positions"] == "resized"
    assert load_region_encoder(tmp_path / "own", positions="exact").options()["positions"] == "exact"


def test_a_missing_folder_fails(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot be written .*; choose another folder"):
        save_region_encoder(RegionEncoder(16, 8, heads=2), tmp_path / "no" / "own.safetensors")


def without(name: str) -> Callable[[State], State]:
    return lambda state: {n: t for n, t in state.items() if n != name}


def with_(name: str, change: Callable[[Tensor], Tensor]) -> Callable[[State], State]:
    return lambda state: {**state, name: change(state[name])}


def set_nan(tensor: Tensor) -> Tensor:
    tensor = tensor.clone()
    tensor.view(-1)[-1] = torch.nan
    return tensor


WRONG: list[tuple[Callable[[State], object], str]] = [
    (without("token_prediction_head.q_proj.weight"), "the tensor q_proj.weight is missing"),
    (without("scale_embeddings.weight"), r"scale_embeddings\.weight \(k, width\) is missing"),
    (without("region_attention_layers.0.cross_attn.q_norm.weight"), "the first layer or the text projector is missing"),
    (lambda state: {**state, "more.weight": torch.zeros(2)}, r"the tensor more\.weight is unknown"),
    (with_("token_prediction_head.k_proj.weight", lambda t: t[:32].clone()), r"k_proj\.weight is \(32, 64\)"),
    (with_("scale_embeddings.weight", lambda t: t[:, :32].clone()), "position embeddings are not those of seed 42"),
    (with_("text_alignment_block.linear2.bias", set_nan), r"text2\.bias holds a value that is not finite"),
    (with_("text_alignment_block.linear2.bias", lambda t: t.int()), r"text2\.bias is \(48,\) torch\.int32"),
    (with_("feature_embeddings", lambda t: t.roll(1, 0)), "position embeddings are not those of seed 42"),
    (with_("location_embeddings", lambda t: t.transpose(1, 2).contiguous()), "not those of seed 42"),
    (with_("location_embeddings", lambda t: t.roll(1, 0)), "not those of seed 42"),
    (with_("location_embeddings", lambda t: t[:, :64].contiguous()), "not those of seed 42"),
    (with_("scale_embeddings.weight", lambda t: t[0, 0].expand(3, 1 << 40)), "repeats values and claims to be larger"),
    (with_("feature_embeddings", lambda t: t[0, 0].clone()), "position embeddings are not those of seed 42"),
    (with_("scale_embeddings.weight", lambda t: t.to_sparse()), r"scale_embeddings\.weight is sparse"),
    (lambda state: {**state, "name": "text"}, "name is of the type str, not a tensor"),
    (lambda state: {1: torch.zeros(1)}, "1 is of the type Tensor, not a tensor with a name"),
    (lambda state: None, f"it has no table '{KEY}'"),
]


@pytest.mark.parametrize(("change", "message"), WRONG)
def test_a_wrong_file_fails_in_one_line(
    tmp_path: Path, authors: State, change: Callable[[State], object], message: str
) -> None:
    path = write(tmp_path / "tren.pth", change(authors))
    with pytest.raises(ModelError, match=message) as error:
        load_region_encoder(path)
    text = str(error.value)
    assert "\n" not in text
    assert ";" in text
    assert text.endswith(str(path))


class Code:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("bare", [True, False])
def test_a_pickle_with_code_fails_and_runs_nothing(tmp_path: Path, bare: bool) -> None:
    ran = tmp_path / "ran"
    path = tmp_path / "evil.pth"
    if bare:
        path.write_bytes(pickle.dumps({KEY: Code(ran)}))
    else:
        torch.save({KEY: Code(ran)}, path)
    with pytest.raises(ModelError, match="bare pickle, which can run code" if bare else "wants to run code"):
        load_region_encoder(path)
    assert not ran.exists()


def test_a_truncated_file_fails(tmp_path: Path, authors: State) -> None:
    theirs, ours = write(tmp_path / "tren.pth", authors), tmp_path / "own.safetensors"
    save_region_encoder(load_region_encoder(theirs), ours)
    for path in (theirs, ours):
        data = path.read_bytes()
        for share in (0, 3, len(data) // 2, len(data) - 5):
            path.write_bytes(data[:share])
            with pytest.raises(ModelError, match="damaged") as error:
                load_region_encoder(path)
            assert "\n" not in str(error.value)


def test_a_missing_file_or_a_folder_fails(tmp_path: Path) -> None:
    for path in (tmp_path / "no.pth", tmp_path):
        with pytest.raises(ModelError, match=r"the region encoder cannot be read \(.*\); check the path"):
            load_region_encoder(path)


def test_other_safetensors_fail(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors")
    with pytest.raises(ModelError, match=f"its format is None, not '{FORMAT}'"):
        load_region_encoder(tmp_path / "a.safetensors")


def test_a_header_that_contradicts_the_tensors_fails(tmp_path: Path) -> None:
    path = tmp_path / "own.safetensors"
    save_region_encoder(RegionEncoder(16, 8, heads=2), path)
    state = load_file(path)
    for header, message in (
        ({"dim": "32"}, "dim is 16 by its tensors and 32 by its header"),
        ({"coarse": "many"}, "the module cannot be made"),
        ({"positions": "guessed"}, "the module cannot be made"),
    ):
        save_file(state, path, {"format": FORMAT, **header})
        with pytest.raises(ModelError, match=message):
            load_region_encoder(path)


def test_a_length_that_looks_like_a_pickle_or_zip(tmp_path: Path) -> None:
    """safetensors begin with the length of the header, which may start like a pickle (0x80) or a zip ("PK")."""
    path = tmp_path / "own.safetensors"
    model = RegionEncoder(16, 8, heads=2)
    save_region_encoder(model, path)
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    for wanted in (-(-length // 256) * 256 + 0x80, 0x4B50):
        header = data[8 : 8 + length].ljust(wanted)
        path.write_bytes(wanted.to_bytes(8, "little") + header + data[8 + length :])
        assert load_region_encoder(path).options() == model.options()
