"""The losses: small cases worked out by hand, their gradients, and the matching against SciPy's."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lab.train.tren.losses import attention_loss, distillation, visual_contrast
from lab.train.tren.matching import match
from needs import needs

EAST, NORTH, WEST = (1.0, 0.0), (0.0, 1.0), (-1.0, 0.0)


def tensor(*rows: tuple[float, ...]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def balanced(attention: Tensor, mask: Tensor) -> Tensor:
    return attention_loss(attention, mask, "balanced")


def test_visual_contrast_by_hand() -> None:
    # Two of one mask at right angles, one of another mask opposite the first: the third has no partner.
    tokens, groups = tensor(EAST, (0.0, 3.0), WEST), torch.tensor([7, 7, 1])
    tau = 0.5
    first = -math.log(1 / (1 + math.exp(-1 / tau)))  # positive 0, negative -1
    second = -math.log(1 / (1 + 1))  # positive 0, negative 0
    assert visual_contrast(tokens, groups, tau).item() == pytest.approx((first + second) / 2)


def test_visual_contrast_takes_all_positives_together() -> None:
    tokens, groups = tensor(EAST, EAST, EAST, NORTH), torch.tensor([0, 0, 0, 1])
    each = -math.log(2 * math.exp(10) / (2 * math.exp(10) + 1))
    assert visual_contrast(tokens, groups).item() == pytest.approx(each, rel=1e-6)


def test_visual_contrast_is_zero_when_no_two_belong_together() -> None:
    tokens = tensor(EAST, NORTH).requires_grad_()
    loss = visual_contrast(tokens, torch.tensor([0, 1]))
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0
    assert tokens.grad is not None
    assert not tokens.grad.any()
    assert visual_contrast(torch.zeros(0, 2), torch.zeros(0, dtype=torch.long)).item() == 0


def test_visual_contrast_falls_as_partners_meet() -> None:
    groups = torch.tensor([0, 0, 1, 1])
    apart = visual_contrast(tensor(EAST, NORTH, WEST, (0.0, -1.0)), groups)
    close = visual_contrast(tensor(EAST, EAST, WEST, WEST), groups)
    assert close < 0.01 < apart


def test_distillation_by_hand() -> None:
    loss = distillation(tensor(EAST, EAST, (2.0, 2.0)), tensor((9.0, 0.0), WEST, (0.0, 1.0)))
    assert loss.item() == pytest.approx((0 + 2 + 1 - math.sqrt(0.5)) / 3)


def test_mask_loss_by_hand() -> None:
    attention, mask = tensor((0.4, 0.2, 0.1, 0.1)), tensor((1.0, 1.0, 0.0, 0.0))
    p = [1 - 1e-4, 0.5, 0.25, 0.25]
    inside = -(math.log(p[0]) + math.log(p[1])) / 2
    outside = -(math.log(1 - p[2]) + math.log(1 - p[3])) / 2
    dice = 1 - (2 * (p[0] + p[1]) + 1) / (sum(p) + 2 + 1)
    assert balanced(attention, mask).item() == pytest.approx((inside + outside) / 2 + dice)


def test_mask_loss_depends_on_the_shape_and_not_on_the_scale() -> None:
    mask = tensor((1.0, 1.0, 0.0, 0.0, 0.0))
    right, wrong = tensor((1.0, 1.0, 0.0, 0.0, 0.0)), tensor((0.0, 0.0, 1.0, 1.0, 1.0))
    assert balanced(right, mask) < 0.01
    assert balanced(wrong, mask) > 5
    torch.testing.assert_close(balanced(right * 0.01, mask), balanced(right, mask))


@pytest.mark.parametrize("mask", [0.0, 1.0])
def test_mask_loss_is_finite_for_masks_of_nothing_and_of_all(mask: float) -> None:
    attention = torch.rand(3, 6, requires_grad=True)
    loss = balanced(attention, torch.full((3, 6), mask))
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.isfinite()
    assert attention.grad is not None
    assert attention.grad.isfinite().all()
    assert balanced(torch.zeros(1, 6), torch.full((1, 6), mask)).isfinite()


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


LABELS = torch.tensor([0, 1, 0, 2, 1])
LOSSES: dict[str, tuple[Callable[..., Tensor], tuple[Tensor, ...]]] = {
    "visual": (lambda z: visual_contrast(z, LABELS), (random(5, 4),)),
    "distillation": (distillation, (random(5, 4), random(5, 4, seed=1))),
    "mask": (lambda a: balanced(a.softmax(-1), (random(3, 6, seed=1) > 0).double()), (random(3, 6),)),
}


@pytest.mark.parametrize("name", LOSSES)
def test_gradients(name: str) -> None:
    loss, inputs = LOSSES[name]
    assert torch.autograd.gradcheck(loss, [x.clone().requires_grad_() for x in inputs])


def test_match_by_hand() -> None:
    cost = torch.tensor([[[0.0, 0.1], [0.2, 9.0], [5.0, 5.0]]])
    # Prediction 0 is best for both; giving it to target 1 and prediction 1 to target 0 is cheapest in all.
    assert match(cost, torch.tensor([[True, True]])).tolist() == [[1, 0]]
    # A target that is not there has no say.
    assert match(cost, torch.tensor([[True, False]]))[0, 0] == 0
    assert match(cost, torch.tensor([[False, True]]))[0, 1] == 0


@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.data())
def test_match_is_as_good_as_scipys(seed: int, k: int, data: st.DataObject) -> None:
    optimize = needs("scipy.optimize")
    t = data.draw(st.integers(1, k))
    rng = np.random.default_rng(seed)
    cost, valid = rng.random((6, k, t)), rng.random((6, t)) < 0.7
    given_ = match(torch.from_numpy(cost), torch.from_numpy(valid)).numpy()
    for c, v, ours in zip(cost, valid, given_, strict=True):
        targets = np.flatnonzero(v)
        rows, columns = optimize.linear_sum_assignment(c[:, targets])
        assert len(set(ours[targets])) == len(targets)
        best = dict(zip(targets[columns], rows, strict=True))
        assert {j: ours[j] for j in targets} == best  # random costs: the optimum is unique
