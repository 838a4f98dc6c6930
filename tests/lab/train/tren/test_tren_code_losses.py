"""The losses in the form of the authors' code: by hand, against slow loops, and where there is nothing to compare."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from making import SMALL, Squares, squares
from torch import Tensor

from lab.train.tren.config import LossConfig, TrainConfig, ViewConfig
from lab.train.tren.folder import Folder
from lab.train.tren.forms import configure
from lab.train.tren.loop import read_texts
from lab.train.tren.losses import attention_loss, distillation, similarity_loss, text_contrast, visual_contrast
from lab.train.tren.order import order_of
from lab.train.tren.prepare import Batch, Prepared, collate_step
from lab.train.tren.step import build, losses_of, over_views, text_targets

EAST, NORTH, WEST = (1.0, 0.0), (0.0, 1.0), (-1.0, 0.0)
E = math.e


def tensor(*rows: tuple[float, ...]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def cosine(a: Tensor, b: Tensor) -> float:
    return float(a @ b / (a.norm() * b.norm()))


def test_text_contrast_over_all_by_hand() -> None:
    # Tokens east and north, names east and west, of two groups. Scores: 1 -1 / 0 0, tau 1.
    loss = text_contrast(
        tensor(EAST, NORTH), tensor(EAST, WEST), torch.tensor([0, 1]), torch.tensor([0, 1]), tau=1.0, form="all"
    )
    to_text = [math.log(E + 1 / E) - 1, math.log(2)]
    to_tokens = [math.log(E + 1) - 1, math.log(1 + 1 / E)]
    assert loss.item() == pytest.approx((sum(to_text) + sum(to_tokens)) / 4)


@pytest.mark.parametrize("negatives", ["batch", "vocabulary"])
def test_text_contrast_over_all_is_what_a_loop_gives(negatives: str) -> None:
    tokens, texts, tau = random(6, 4), random(5, 4, seed=1), 0.3
    labels, groups = torch.tensor([0, 1, 1, 4, 3, 0]), torch.tensor([0, 1, 1, 2, 3])
    own = [int(label) for label in labels]
    names = own if negatives == "batch" else list(range(5))
    terms = []
    for i in range(6):
        shares = [math.exp(cosine(tokens[i], texts[n]) / tau) for n in names]
        mine = [s for s, n in zip(shares, names, strict=True) if groups[n] == groups[own[i]]]
        terms.append(-math.log(sum(mine) / sum(shares)))
    for k in range(6):
        shares = [math.exp(cosine(tokens[i], texts[own[k]]) / tau) for i in range(6)]
        mine = [s for s, n in zip(shares, own, strict=True) if groups[n] == groups[own[k]]]
        terms.append(-math.log(sum(mine) / sum(shares)))
    loss = text_contrast(tokens, texts, labels, groups, tau=tau, form="all", negatives=negatives)  # type: ignore[arg-type]
    assert loss.item() == pytest.approx(sum(terms) / 12)
    assert loss.item() > 0  # positives are in the denominators


def test_text_contrast_over_all_is_zero_where_all_names_are_synonyms() -> None:
    tokens = random(4, 3).requires_grad_()
    loss = text_contrast(tokens, random(2, 3, seed=1), torch.tensor([0, 1, 1, 0]), torch.tensor([7, 7]), form="all")
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == pytest.approx(0)
    assert tokens.grad is not None
    torch.testing.assert_close(tokens.grad, torch.zeros_like(tokens))


def test_contrast_within_a_picture_by_hand() -> None:
    # Picture 0: two of one mask, at right angles, and one opposite the first. Picture 1: a pair alone.
    tokens = tensor(EAST, NORTH, WEST, EAST, EAST)
    groups, pictures = torch.tensor([7, 7, 1, 3, 3]), torch.tensor([0, 0, 0, 1, 1])
    first, second = math.log(1 + math.exp(-2)), math.log(2)  # tau .5
    loss = visual_contrast(tokens, groups, 0.5, pictures)
    assert loss.item() == pytest.approx((first + second + 0 + 0) / 4)


def test_contrast_within_pictures_is_what_a_loop_gives() -> None:
    tokens, tau = random(9, 4), 0.2
    groups, pictures = torch.tensor([0, 0, 1, 1, 2, 5, 5, 6, 6]), torch.tensor([0, 0, 0, 0, 0, 1, 1, 1, 1])
    terms = []
    for i in range(9):
        others = [j for j in range(9) if j != i and pictures[j] == pictures[i]]
        shares = {j: math.exp(cosine(tokens[i], tokens[j]) / tau) for j in others}
        mine = [share for j, share in shares.items() if groups[j] == groups[i]]
        if mine:
            terms.append(-math.log(sum(mine) / sum(shares.values())))
    assert len(terms) == 8
    assert visual_contrast(tokens, groups, tau, pictures).item() == pytest.approx(sum(terms) / 8)


def test_contrast_within_a_picture_does_not_see_others() -> None:
    tokens, groups, pictures = random(6, 4), torch.tensor([0, 0, 1, 4, 4, 5]), torch.tensor([0, 0, 0, 1, 1, 1])
    other = tokens.clone()
    other[3:] = random(3, 4, seed=4)
    tokens.requires_grad_()
    alone = visual_contrast(tokens[:3], groups[:3])
    both = visual_contrast(tokens, groups, pictures=pictures)
    rest = visual_contrast(tokens[3:], groups[3:])
    torch.testing.assert_close(both, (alone + rest) / 2)  # as many tokens in each have a partner
    assert visual_contrast(tokens, groups) > both  # more negatives
    changed = visual_contrast(other, groups, pictures=pictures) - visual_contrast(other[3:], groups[3:]) / 2
    torch.testing.assert_close(changed, alone / 2)


def test_similarity_by_hand() -> None:
    # One token in view 0, two in view 1. Cosines of tokens 1 and 0, of targets 0 and -1.
    tokens, targets = tensor(EAST, (3.0, 0.0), NORTH), tensor(EAST, NORTH, WEST)
    views, pictures = torch.tensor([0, 1, 1]), torch.zeros(3, dtype=torch.long)
    assert similarity_loss(tokens, targets, views, pictures).item() == pytest.approx((1 + 1) / 2)


def test_similarity_is_what_a_loop_gives() -> None:
    tokens, targets = random(8, 4), random(8, 3, seed=1)
    views, pictures = torch.tensor([0, 1, 0, 1, 0, 0, 1, 0]), torch.tensor([0, 0, 0, 1, 1, 1, 1, 2])
    gaps = [
        abs(cosine(tokens[i], tokens[j]) - cosine(targets[i], targets[j]))
        for i in range(8)
        for j in range(8)
        if pictures[i] == pictures[j] and views[i] == 0 and views[j] == 1
    ]
    assert len(gaps) == 2 + 4
    assert similarity_loss(tokens, targets, views, pictures).item() == pytest.approx(sum(gaps) / 6)


def test_similarity_knows_no_scale_and_no_rotation() -> None:
    tokens, targets, views, pictures = random(6, 4), random(6, 4, seed=1), torch.tensor([0, 1] * 3), torch.zeros(6)
    turned = tokens @ torch.linalg.qr(random(4, 4, seed=2))[0] * torch.rand(6, 1, dtype=torch.float64).add(0.5)
    expected = similarity_loss(tokens, targets, views, pictures)
    torch.testing.assert_close(similarity_loss(turned, targets, views, pictures), expected)
    assert similarity_loss(targets * 2, targets, views, pictures).item() == pytest.approx(0)
    assert expected > 0.1


def test_focal_loss_by_hand() -> None:
    attention, mask = tensor((0.4, 0.2, 0.1, 0.1)), tensor((1.0, 1.0, 0.0, 0.0))
    p = [1 - 1e-4, 0.5, 0.25, 0.25]
    focal = 0.25 * ((1e-4) ** 2 * -math.log(p[0]) + 0.25 * -math.log(0.5)) + 0.75 * 2 * 0.25**2 * -math.log(0.75)
    dice = 1 - (2 * (p[0] + p[1]) + 1) / (sum(p) + 2 + 1)
    assert attention_loss(attention, mask, kind="focal").item() == pytest.approx(focal / 4 + dice)


def test_focal_loss_of_shares_is_what_a_loop_gives() -> None:
    attention, masks = random(3, 6).softmax(-1), torch.rand(3, 6, dtype=torch.float64)
    total = 0.0
    for row, mask in zip(attention, masks, strict=True):
        p = [min(max(float(v / row.max()), 1e-4), 1 - 1e-4) for v in row]
        for value, share in zip(p, mask.tolist(), strict=True):
            right = value * share + (1 - value) * (1 - share)
            entropy = -(share * math.log(value) + (1 - share) * math.log(1 - value))
            total += (0.25 * share + 0.75 * (1 - share)) * (1 - right) ** 2 * entropy / 6
        total += 1 - (2 * sum(a * b for a, b in zip(p, mask.tolist(), strict=True)) + 1) / (sum(p) + mask.sum() + 1)
    assert attention_loss(attention, masks, kind="focal").item() == pytest.approx(float(total) / 3)


def test_focal_loss_cares_less_for_what_is_nearly_right() -> None:
    """Both have one DICE and the same order of patches; the error that is left weighs less."""
    mask = torch.tensor([[1.0] * 5 + [0.0] * 5], dtype=torch.float64)
    near, far = mask * 0.8 + 0.1, mask * 0.2 + 0.4
    near[0, 0] = far[0, 0] = 1.0
    dice = [1 - (2 * (a * mask).sum() + 1) / (a.sum() + mask.sum() + 1) for a in (near, far)]
    plain = [attention_loss(a, mask) - d for a, d in zip((near, far), dice, strict=True)]
    focal = [attention_loss(a, mask, kind="focal") - d for a, d in zip((near, far), dice, strict=True)]
    assert focal[0] / focal[1] < plain[0] / plain[1] / 3


NONE = torch.zeros(0, dtype=torch.long)
NOTHING: dict[str, Callable[[Tensor], Tensor]] = {
    "visual": lambda z: visual_contrast(z, NONE),
    "visual, image": lambda z: visual_contrast(z, NONE, pictures=NONE),
    "distillation": lambda z: distillation(z, torch.zeros(0, 3)),
    "similarity": lambda z: similarity_loss(z, torch.zeros(0, 3), NONE, NONE),
    "text": lambda z: text_contrast(z, torch.ones(1, 3), NONE, torch.tensor([0]), form="all"),
    "focal": lambda z: attention_loss(z, torch.zeros(0, 3), kind="focal"),
}


@pytest.mark.parametrize("name", NOTHING)
def test_nothing_costs_nothing(name: str) -> None:
    tokens = torch.zeros(0, 3, requires_grad=True)
    loss = NOTHING[name](tokens)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0


def test_one_view_alone_has_no_similarity() -> None:
    tokens = random(3, 4).requires_grad_()
    loss = similarity_loss(tokens, random(3, 4), torch.zeros(3), torch.zeros(3))
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0
    assert tokens.grad is not None
    assert not tokens.grad.any()


VIEWS, PICTURES = torch.tensor([0, 1, 0, 1, 1]), torch.tensor([0, 0, 0, 0, 0])
LABELS, GROUPS = torch.tensor([0, 1, 0, 2, 3]), torch.tensor([0, 1, 2, 2])
MASKS = torch.rand(3, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
GRADIENTS: dict[str, Callable[[Tensor], Tensor]] = {
    "all": lambda r: text_contrast(r, random(4, 4, seed=1), LABELS, GROUPS, form="all"),
    "image": lambda r: visual_contrast(r, LABELS, pictures=torch.tensor([0, 1, 0, 1, 1])),
    "similarity": lambda r: similarity_loss(r, random(5, 3, seed=1), VIEWS, PICTURES),
    "focal": lambda r: attention_loss(r[:3].repeat(1, 2)[:, :6].softmax(-1), MASKS, kind="focal"),
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients(name: str) -> None:
    assert torch.autograd.gradcheck(GRADIENTS[name], [random(5, 4).requires_grad_()])


def test_over_views_is_the_mean_of_the_views_and_not_of_the_tokens() -> None:
    values, view = torch.tensor([1.0, 2.0, 3.0, 10.0]), torch.tensor([0, 0, 0, 1])
    assert over_views(lambda own: values[own].mean(), view, 2) == pytest.approx((2 + 10) / 2)
    assert over_views(lambda own: values[own].mean(), view, 1) == pytest.approx(4)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return Folder(squares(tmp_path_factory.mktemp("data") / "set", 10))


CODE = configure("code", heads=2, layers=1, points=12, points_text=6, batch=4, steps=6, precision="fp32")


def batches(data: Folder, config: TrainConfig) -> list[Batch]:
    ready = Prepared(data, Squares.size, Squares.grid, config)
    return collate_step([ready[key] for key in next(iter(order_of(data, config, 0)))])


def terms(backbone: Any, batch: Batch, data: Folder, config: TrainConfig, **more: Any) -> dict[str, Tensor]:
    model = build(backbone, config.model, 0)
    texts = read_texts(backbone, data, config, None, torch.device("cpu"))
    return losses_of(model, backbone, batch, backbone.features(batch.images), texts, config, **more)


def test_each_kind_of_batch_has_its_terms(backbone: Any, data: Folder) -> None:
    regions, texts = batches(data, CODE)
    shared = {"distil_visual", "distil_text", "similar_visual", "similar_text", "mask"}
    assert terms(backbone, regions, data, CODE).keys() == shared | {"visual"}
    assert terms(backbone, texts, data, CODE).keys() == shared | {"text"}
    assert (regions.kind, texts.kind) == ("regions", "texts")
    assert regions.points.shape == (4 * 2, 12, 2)
    assert texts.points.shape == (4 * 2, 6, 2)


def test_the_weights_of_the_code_form(backbone: Any, data: Folder) -> None:
    """(view 1 + view 2 + similarity) / 2, and focal loss and DICE halved."""
    regions, _ = batches(data, CODE)
    found = terms(backbone, regions, data, CODE)
    whole = replace(CODE, losses=replace(CODE.losses, mask=1.0, similarity=1.0))
    full = terms(backbone, regions, data, whole)
    torch.testing.assert_close(found["mask"], full["mask"] / 2)
    torch.testing.assert_close(found["similar_visual"], full["similar_visual"] / 2)
    torch.testing.assert_close(found["distil_visual"], full["distil_visual"])


def test_a_view_that_is_the_picture_twice_costs_what_one_costs(backbone: Any, data: Folder) -> None:
    """Two equal views with equal points: all terms that are means over views are those of one view."""
    config = replace(SMALL, losses=LossConfig(text_form="all", mask_loss="focal", visual=0))
    single = batches(data, config)[0]
    names = ("images", "cover", "labels", "points", "targets", "index")
    twice = replace(single, views=2, **{n: getattr(single, n).repeat_interleave(2, 0) for n in names})
    one, two = (terms(backbone, batch, data, config) for batch in (single, twice))
    for name in ("text", "distil_visual", "distil_text", "mask"):
        torch.testing.assert_close(one[name], two[name])


def test_summed_targets_of_a_linear_head_are_those_of_the_mean(backbone: Any, data: Folder) -> None:
    batch = batches(data, SMALL)[0]
    seen = backbone.features(batch.images)
    means = torch.randn(*batch.cover.shape[:2], 16)
    plain, summed = (
        text_targets(backbone, seen, batch.cover, means, LossConfig(text_target=form))  # type: ignore[arg-type]
        for form in ("head_of_mean", "summed")
    )
    there = batch.cover.sum((2, 3)) > 0
    torch.testing.assert_close(plain[there], summed[there])


def test_regions_alike_in_both_views_are_one_group(backbone: Any, data: Folder) -> None:
    """With one point a view and one mask a picture, the two tokens of a picture are the only pair."""
    config = replace(CODE, model=replace(CODE.model, k=1), views=ViewConfig(2))
    regions, _ = batches(data, config)
    cover = regions.cover[:, :1]
    targets = torch.zeros_like(regions.targets[:, :1])
    alone = replace(regions, cover=cover, labels=regions.labels[:, :1], points=regions.points[:, :1], targets=targets)
    found = terms(backbone, alone, data, config)["visual"]
    assert found.item() == pytest.approx(0, abs=1e-6)  # nothing else is in the picture
    batch_wide = replace(config, losses=replace(config.losses, contrast_scope="batch"))
    assert terms(backbone, alone, data, batch_wide)["visual"] > 0.1


def test_code_form_in_bf16_is_close_to_fp32(backbone: Any, data: Folder) -> None:
    for batch in batches(data, CODE):
        full = terms(backbone, batch, data, CODE)
        half = terms(backbone, batch, data, replace(CODE, precision="bf16"))
        for name in full:
            assert half[name].item() == pytest.approx(full[name].item(), abs=0.15), name


def test_a_batch_without_names_costs_nothing_by_them(backbone: Any, data: Folder) -> None:
    _, texts = batches(data, CODE)
    nameless = replace(texts, labels=torch.full_like(texts.labels, -1))
    found = terms(backbone, nameless, data, CODE)
    assert found["text"] == 0
    torch.stack(list(found.values())).sum().backward()  # type: ignore[no-untyped-call]
    assert all(value.isfinite() for value in found.values())
