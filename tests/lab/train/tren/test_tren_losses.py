"""The losses that have two forms, by hand and by their gradients (see also tests/lab/train/test_losses.py)."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from lab.train.tren.losses import attention_loss, distillation, text_contrast, visual_contrast

EAST, NORTH, WEST = (1.0, 0.0), (0.0, 1.0), (-1.0, 0.0)
E = math.e


def tensor(*rows: tuple[float, ...]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def test_eq2_to_the_letter_by_hand() -> None:
    # Two tokens on their own names at right angles: each half is -log(e^1 / e^0) = -1, four of them over 2 N = 4.
    tokens, texts, labels = tensor((5.0, 0.0), NORTH), tensor(EAST, (0.0, 2.0)), torch.tensor([0, 1])
    loss = text_contrast(tokens, texts, labels, torch.tensor([0, 1]), tau=1.0)
    assert loss.item() == pytest.approx(-1)


def test_eq2_counts_every_token_of_the_batch() -> None:
    # Tokens east, north, north with names east, west, west: names are negatives as often as they occur.
    tokens, texts, labels = tensor(EAST, NORTH, NORTH), tensor(EAST, WEST), torch.tensor([0, 1, 1])
    # token -> names: 0: -(1 - log(2 e^-1)); 1 and 2: own pair 0, negative east 0: 0 each.
    # name -> tokens: 0: own 1, tokens 1, 2 at 0: -(1 - log 2); 1 and 2: own 0, token 0 at -1: -(0 + 1) each.
    expected = ((-1 + math.log(2) - 1) + 0 + 0 + (-1 + math.log(2)) + (-1) + (-1)) / 6
    assert text_contrast(tokens, texts, labels, torch.tensor([0, 1]), tau=1.0).item() == pytest.approx(expected)


def test_infonce_has_the_own_pair_below_by_hand() -> None:
    tokens, texts, labels = tensor(EAST, NORTH), tensor(EAST, NORTH), torch.tensor([0, 1])
    loss = text_contrast(tokens, texts, labels, torch.tensor([0, 1]), tau=1.0, form="infonce")
    assert loss.item() == pytest.approx(-math.log(E / (E + 1)))


def test_the_vocabulary_has_each_name_once() -> None:
    tokens, texts, labels = tensor(EAST), tensor(EAST, NORTH, WEST), torch.tensor([0])
    groups = torch.arange(3)
    paper = text_contrast(tokens, texts, labels, groups, tau=1.0, negatives="vocabulary")
    assert paper.item() == pytest.approx((-1 + math.log(1 + 1 / E)) / 2)  # alone, its half over tokens is left out
    both = text_contrast(tokens, texts, labels, groups, tau=1.0, negatives="vocabulary", form="infonce")
    assert both.item() == pytest.approx(-math.log(E / (E + 1 + 1 / E)) / 2)


@pytest.mark.parametrize("form", ["paper", "infonce"])
def test_synonyms_are_not_set_against_each_other(form: str) -> None:
    tokens, texts, labels = tensor(EAST, NORTH), tensor(EAST, WEST), torch.tensor([0, 1])
    loss = text_contrast(tokens.requires_grad_(), texts, labels, torch.tensor([4, 4]), form=form)  # type: ignore[arg-type]
    assert loss.item() == pytest.approx(0)
    loss.backward()  # type: ignore[no-untyped-call]
    assert tokens.grad is not None
    torch.testing.assert_close(tokens.grad, torch.zeros_like(tokens))


@pytest.mark.parametrize("negatives", ["batch", "vocabulary"])
@pytest.mark.parametrize("form", ["paper", "infonce"])
def test_text_contrast_is_larger_for_wrong_names(form: str, negatives: str) -> None:
    texts, groups = tensor(EAST, NORTH), torch.tensor([0, 1])
    right, wrong = (
        text_contrast(texts, texts, torch.tensor(labels), groups, form=form, negatives=negatives)  # type: ignore[arg-type]
        for labels in ([0, 1], [1, 0])
    )
    assert right < wrong - 9


def test_text_contrast_of_nothing_is_zero() -> None:
    none = torch.zeros(0, 2, requires_grad=True)
    empty = torch.zeros(0, dtype=torch.long)
    loss = text_contrast(none, tensor(EAST).float(), empty, torch.tensor([0]))
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0


def test_attention_loss_by_hand() -> None:
    attention, mask = tensor((0.4, 0.2, 0.1, 0.1)), tensor((1.0, 1.0, 0.0, 0.0))
    p = [1 - 1e-4, 0.5, 0.25, 0.25]
    bce = -(math.log(p[0]) + math.log(p[1]) + 2 * math.log(0.75)) / 4
    dice = 1 - (2 * (p[0] + p[1]) + 1) / (sum(p) + 2 + 1)
    assert attention_loss(attention, mask).item() == pytest.approx(bce + dice)
    balanced = -(math.log(p[0]) + math.log(p[1])) / 4 - 2 * math.log(0.75) / 4
    assert attention_loss(attention, mask, "balanced").item() == pytest.approx(balanced + dice)


def test_balance_tells_on_small_masks() -> None:
    attention, small = torch.full((1, 100), 0.3), torch.zeros(1, 100)
    attention[0, 50] = 1.0  # somewhere else than the mask
    small[0, 0] = 1.0
    # One of a hundred patches missed: little to the mean, half of all to the balanced form.
    missed = attention_loss(attention, small) - attention_loss(attention, torch.zeros(1, 100))
    assert missed < 0.05
    assert attention_loss(attention, small, "balanced") > attention_loss(attention, small) + 0.2


def test_attention_loss_of_nothing_is_zero() -> None:
    loss = attention_loss(torch.zeros(0, 6, requires_grad=True), torch.zeros(0, 6))
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


LABELS, GROUPS = torch.tensor([0, 1, 0, 2, 3]), torch.tensor([0, 1, 2, 2])
MASKS = (random(3, 6, seed=1) > 0).double()
LOSSES: dict[str, tuple[Callable[..., Tensor], tuple[Tensor, ...]]] = {
    "paper": (lambda r, t: text_contrast(r, t, LABELS, GROUPS), (random(5, 4), random(4, 4, seed=1))),
    "infonce": (lambda r, t: text_contrast(r, t, LABELS, GROUPS, form="infonce"), (random(5, 4), random(4, 4, seed=1))),
    "vocabulary": (
        lambda r, t: text_contrast(r, t, LABELS, GROUPS, negatives="vocabulary"),
        (random(5, 4), random(4, 4, seed=1)),
    ),
    "visual": (lambda r: visual_contrast(r, LABELS), (random(5, 4),)),
    "distillation": (distillation, (random(5, 4), random(5, 4, seed=1))),
    "plain": (lambda a: attention_loss(a.softmax(-1), MASKS), (random(3, 6),)),
    "balanced": (lambda a: attention_loss(a.softmax(-1), MASKS, "balanced"), (random(3, 6),)),
}


@pytest.mark.parametrize("name", LOSSES)
def test_gradients(name: str) -> None:
    loss, inputs = LOSSES[name]
    assert torch.autograd.gradcheck(loss, [x.clone().requires_grad_() for x in inputs])
