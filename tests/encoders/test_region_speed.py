"""Cached prompts, parts, faster kernels and dtypes must not change the results of the region encoder."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks import plain_region
from vidmem.encoders.tren import cpu_kernels, region_encoder
from vidmem.encoders.tren.positions import FourierPositions
from vidmem.encoders.tren.region_encoder import RegionEncoder

GRID = (6, 5)


def points_of(count: int = 9, seed: int = 1) -> Tensor:
    return torch.rand(1, count, 2, generator=torch.Generator().manual_seed(seed))


def features_of(batch: int = 2, dim: int = 64, seed: int = 2) -> Tensor:
    return 3 * torch.randn(batch, dim, *GRID, generator=torch.Generator().manual_seed(seed))


def small(**options: Any) -> RegionEncoder:
    torch.manual_seed(3)
    return RegionEncoder(64, 16, heads=4, **options).eval()


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count how often prompts are computed."""
    made: list[int] = []
    prompts = RegionEncoder.prompts

    def count(self: RegionEncoder, points: Tensor, features: Tensor) -> object:
        made.append(points.shape[1])
        return prompts(self, points, features)

    monkeypatch.setattr(RegionEncoder, "prompts", count)
    return made


def fresh(model: RegionEncoder, features: Tensor, points: Tensor) -> tuple[Tensor, ...]:
    """The result of a copy with an empty cache."""
    return tuple(copy.deepcopy(model)(features, points))


def same(a: tuple[Tensor, ...], b: tuple[Tensor, ...], atol: float = 0) -> None:
    for mine, other in zip(a, b, strict=True):
        torch.testing.assert_close(mine, other, atol=atol, rtol=0)


def test_prompts_of_the_same_points_are_computed_once(counted: list[int]) -> None:
    model, points = small(), points_of()
    with torch.inference_mode():
        first = model(features_of(), points)
        again = model(features_of(), points.clone().expand(2, -1, -1))
        assert counted == [9]
        same(first, again)
        same(model(features_of(seed=5), points), fresh(model, features_of(seed=5), points))


def change_points(_: RegionEncoder, state: dict[str, Tensor]) -> None:
    state["points"][0, 3, 1] += 0.01


def more_points(_: RegionEncoder, state: dict[str, Tensor]) -> None:
    state["points"] = points_of(4)


def other_grid(_: RegionEncoder, state: dict[str, Tensor]) -> None:
    state["features"] = state["features"][..., :3]


def other_dtype(model: RegionEncoder, state: dict[str, Tensor]) -> None:
    model.double()
    state["features"] = state["features"].double()


def other_positions(model: RegionEncoder, _: dict[str, Tensor]) -> None:
    model.positions.kind = "resized"


def write_weight(model: RegionEncoder, _: dict[str, Tensor]) -> None:
    with torch.no_grad():
        model.layers[0].cross_attn.q_norm.bias.add_(0.3)  # type: ignore[union-attr,operator]


def load_weights(model: RegionEncoder, _: dict[str, Tensor]) -> None:
    model.load_state_dict({name: 2 * tensor for name, tensor in model.state_dict().items()})


def assign_weights(model: RegionEncoder, _: dict[str, Tensor]) -> None:
    model.load_state_dict({name: 2 * tensor for name, tensor in model.state_dict().items()}, assign=True)


def train_a_step(model: RegionEncoder, state: dict[str, Tensor]) -> None:
    optimizer = torch.optim.SGD(model.parameters(), 0.5)
    model.train()
    with torch.enable_grad():
        model(state["features"], state["points"])[0].square().sum().backward()
    optimizer.step()
    model.eval()


@pytest.mark.parametrize(
    "change",
    [
        change_points,
        more_points,
        other_grid,
        other_dtype,
        other_positions,
        write_weight,
        load_weights,
        assign_weights,
        train_a_step,
    ],
)
def test_changes_are_noticed(counted: list[int], change: Callable[[RegionEncoder, dict[str, Tensor]], None]) -> None:
    model, state = small(), {"points": points_of(), "features": features_of()}
    with torch.no_grad():
        before = model(state["features"], state["points"])
        change(model, state)
        after = model(state["features"], state["points"])
        assert len(counted) >= 2
        same(after, fresh(model, state["features"], state["points"]))
    assert after[0].shape != before[0].shape or (after[0] - before[0]).abs().max() > 1e-6 or change is other_dtype


def test_nothing_is_kept_in_training_or_with_gradients(counted: list[int]) -> None:
    model, points = small(), points_of()
    for _ in range(2):
        model(features_of(), points)[0].sum().backward()
        assert model.scale_embeddings.weight.grad is not None
    assert len(counted) == 2
    model.train()
    with torch.no_grad():
        model(features_of(), points)
        model(features_of(), points)
    assert len(counted) == 4
    assert model.eval()._cache._prompts is None


def test_nothing_is_kept_of_weights_whose_writes_are_not_counted(counted: list[int]) -> None:
    with torch.inference_mode():
        model = small()
        before = model(features_of(), points_of())[0]
        model.layers[0].query_norm.bias.add_(0.5)  # type: ignore[union-attr,operator]
        after = model(features_of(), points_of())[0]
    assert len(counted) == 2
    assert not torch.equal(before, after)


def test_cached_prompts_are_not_in_states_and_copies() -> None:
    model = small()
    names = set(model.state_dict())
    with torch.no_grad():
        model(features_of(), points_of())
    assert model._cache._prompts is not None
    assert set(model.state_dict()) == names
    assert copy.deepcopy(model)._cache._prompts is None


@pytest.mark.parametrize("options", [{}, {"seed_queries": True, "coarse": 2}])
@pytest.mark.parametrize("per_picture", [False, True])
def test_parts_give_the_same(monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], per_picture: bool) -> None:
    model, features = small(**options), features_of(3)
    points = torch.rand(3, 11, 2) if per_picture else points_of(11)
    with torch.no_grad():
        whole = model(features, points)
        monkeypatch.setattr(region_encoder, "PART", 4)
        assert whole[0].shape == (3, 11, 3, 64)
        same(model(features, points), whole, 1e-5)


def test_a_batch_equals_its_pictures() -> None:
    model, features = small(), features_of(3)
    with torch.no_grad():
        together = model(features, points_of())
        for i in range(3):
            same(model(features[i : i + 1], points_of()), tuple(out[i : i + 1] for out in together), 1e-5)


def test_other_kernels_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    model, features, points = small(), features_of(1), points_of()
    with torch.no_grad():
        tokens, attention, queries = model(features, points)
        text = model.project(tokens)
        monkeypatch.setattr(cpu_kernels, "MIN_WIDTH", 8)
        assert cpu_kernels.use_fast_kernels(tokens)
        assert cpu_kernels._LINEAR is not None
        same(model(features, points), (tokens, attention, queries), 2e-5)
        same((model.project(tokens),), (text,), 1e-5)


@pytest.mark.parametrize("grad", [True, False])
def test_the_plain_version_gives_the_same(grad: bool) -> None:
    model, features, points = small(), features_of(), points_of()
    with torch.set_grad_enabled(grad):
        tokens, attention, _ = model(features, points)
        at = model.positions(points[0]), model.positions.grid(*GRID)
        plain = plain_region.encode(features, *at, model.state_dict(), heads=4)
        same((tokens, attention), plain, 1e-5)
        same((model.project(tokens),), (plain_region.project(tokens, model.state_dict()),), 1e-5)


def test_gradients_are_those_of_the_plain_version() -> None:
    model, features, points = small(), features_of(), points_of()
    model(features, points)[0].square().sum().backward()
    weights = {name: p.detach().clone().requires_grad_() for name, p in model.named_parameters()}
    at = model.positions(points[0]), model.positions.grid(*GRID)
    plain_region.encode(features, *at, weights, heads=4)[0].square().sum().backward()
    for name, parameter in model.named_parameters():
        if not name.startswith("text"):
            torch.testing.assert_close(parameter.grad, weights[name].grad, atol=1e-3, rtol=1e-3)


def test_bfloat16_is_near_and_its_positions_are_exact() -> None:
    model, features, points = small(), features_of(), points_of()
    half = copy.deepcopy(model).bfloat16()
    assert half.positions.gaussian.dtype == torch.float32
    assert torch.equal(half.positions(points), model.positions(points))
    with torch.no_grad():
        exact, near = model(features, points)[0], half(features.bfloat16(), points)[0]
    assert near.dtype == torch.bfloat16
    assert F.cosine_similarity(exact, near.float(), dim=-1).min() > 0.99


@pytest.mark.parametrize("whole", [True, False])
def test_compiled_without_a_break(whole: bool) -> None:
    """One graph of the whole module, or of the part after the prompts. A backend without code generation is faster and
    finds the same graph breaks."""
    model, features, points = small(), features_of(), points_of()
    with torch.no_grad():
        wanted = model(features, points)
        torch.compiler.reset()
        if whole:
            found = torch.compile(model, backend="aot_eager", fullgraph=True)(features, points)
        else:
            model.compile_decoder(backend="aot_eager", fullgraph=True)
            found = model(features, points)
            assert model._cache._prompts is not None
    same(found, wanted, 1e-5)


def test_resized_positions_equal_resized_tables() -> None:
    """Pictures of 48 pixels and 3 patches a side, and tables of 64 pixels and 4 patches, resized by torch."""
    exact = FourierPositions(16)
    resized = FourierPositions(16, "resized", side=4, pixels=64)
    for grid in ((3, 3), (6, 5), (4, 4)):
        table = exact.grid(4, 4).T.reshape(1, 16, 4, 4)
        wanted = F.interpolate(table, grid, mode="bilinear", align_corners=False)[0].flatten(1).T
        torch.testing.assert_close(resized.grid(*grid), wanted)
    pixels = exact.grid(64, 64).T.reshape(1, 16, 64, 64)
    for size in (48, 64, 96):
        wanted = F.interpolate(pixels, (size, size), mode="bilinear", align_corners=False)[0].permute(1, 2, 0)
        centres = (torch.arange(size) + 0.5) / size
        at = torch.stack(torch.meshgrid(centres, centres, indexing="xy"), -1)
        torch.testing.assert_close(resized(at), wanted, atol=1e-4, rtol=0)
    assert (resized.grid(3, 3) - exact.grid(3, 3)).abs().max() > 0.01


def test_invalid_options_fail() -> None:
    with pytest.raises(ValueError, match="positions are exact or resized, not 'rough'"):
        FourierPositions(16, "rough")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="width 64, 5 heads"):
        RegionEncoder(64, 8, heads=5)
    with pytest.raises(RuntimeError, match=r"features are \(B, 64, h, w\), not \(1, 32, 4, 4\)"):
        small()(torch.randn(1, 32, 4, 4), points_of())
