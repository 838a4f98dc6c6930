"""The loss, the labels, the grids and the names of DenseVLM: against recorded outputs, by hand, and at the edges."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lab.train.densevlm.grids import CHOICES, draw, grid_boxes
from lab.train.densevlm.labels import Labels, label_regions, name_scores
from lab.train.densevlm.losses import region_loss, thing_columns
from lab.train.densevlm.names import joined, make_names
from vidmem.errors import UsageError

GOLDEN = Path(__file__).parents[3] / "golden" / "densevlm" / "losses.npz"


@pytest.fixture(scope="module")
def recorded() -> dict[str, Any]:
    with np.load(GOLDEN, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


@pytest.fixture
def student(recorded: dict[str, Any]) -> Tensor:
    return torch.from_numpy(recorded["uf"]).requires_grad_()


def scores_and_labels(recorded: dict[str, Any], student: Tensor) -> tuple[Tensor, Labels]:
    labels = label_regions(torch.from_numpy(recorded["pf"]), torch.from_numpy(recorded["tp"]))
    return name_scores(student, torch.from_numpy(recorded["tu"])), labels


@pytest.mark.golden
def test_the_codes_loss_and_gradient(recorded: dict[str, Any], student: Tensor) -> None:
    scores, labels = scores_and_labels(recorded, student)
    np.testing.assert_allclose(labels.probability, recorded["p_prob"], rtol=0, atol=1e-6)
    np.testing.assert_array_equal(labels.best, recorded["p_label"])
    np.testing.assert_array_equal(labels.valid, recorded["valid"])
    things = int(recorded["n_thing"])
    assert (things, thing_columns(things, "code")) == (6, int(recorded["thing_cut"])) == (6, 5)
    np.testing.assert_array_equal(labels.valid & (labels.best < 5), recorded["is_thing"])
    loss = region_loss(scores, labels, things, reduction="code", columns="code")
    assert loss.item() == pytest.approx(50.5881, abs=5e-5)
    assert loss.item() == pytest.approx(float(recorded["loss"]), rel=1e-6)
    loss.backward()  # type: ignore[no-untyped-call]
    np.testing.assert_allclose(student.grad, recorded["grad_uf"], rtol=1e-6, atol=1e-6)


@pytest.mark.golden
@pytest.mark.parametrize("kind", ["stuff", "thing"])
def test_the_codes_loss_of_one_kind(recorded: dict[str, Any], student: Tensor, kind: str) -> None:
    scores, labels = scores_and_labels(recorded, student)
    wanted = (labels.best < 5) == (kind == "thing")
    only = Labels(labels.scores, labels.best, labels.probability, labels.valid & wanted)
    loss = region_loss(scores, only, 6, reduction="code", columns="code")
    assert loss.item() == pytest.approx(float(recorded[f"loss_only_{kind}"]), rel=1e-6)


@pytest.mark.golden
def test_the_papers_forms(recorded: dict[str, Any], student: Tensor) -> None:
    scores, labels = scores_and_labels(recorded, student)
    mean = region_loss(scores, labels, 6, reduction="paper", columns="code")
    assert mean.item() == pytest.approx(float(recorded["loss_mean_codecut"]), rel=1e-6)
    # The paper's cosines are of unit vectors; the code's mean text vectors are shorter.
    tu, tp = (torch.nn.functional.normalize(torch.from_numpy(recorded[k]), dim=-1) for k in ("tu", "tp"))
    labels = label_regions(torch.from_numpy(recorded["pf"]), tp)
    paper = region_loss(name_scores(student, tu), labels, 6, reduction="paper", columns="paper")
    assert paper.item() == pytest.approx(float(recorded["loss_paper_form"]), rel=1e-6)


@pytest.mark.golden
def test_the_grids(recorded: dict[str, Any]) -> None:
    assert [list(pair) for pair in CHOICES] == recorded["grid_choices"].tolist()
    np.testing.assert_allclose(grid_boxes(3, 4), recorded["grid_3x4"], atol=1e-7)


def labels_of(scores: Tensor, valid: Tensor | None = None) -> Labels:
    probability, best = scores.softmax(-1).max(-1)
    return Labels(scores, best, probability, torch.ones(len(scores), dtype=torch.bool) if valid is None else valid)


def logs(*rows: tuple[float, ...]) -> Tensor:
    return torch.tensor(rows).log()


def test_alignments_by_hand() -> None:
    """Two things and two stuff; one region of each kind. The student takes the stuff for the first thing."""
    teacher = logs((0.6, 0.2, 0.1, 0.1), (0.1, 0.1, 0.6, 0.2))
    student = logs((0.4, 0.4, 0.1, 0.1), (0.7, 0.1, 0.1, 0.1))

    def kl(p: list[float], q: list[float]) -> float:
        return sum(a / sum(p) * math.log(a / sum(p) / (b / sum(q))) for a, b in zip(p, q, strict=True))

    thing_all = kl([0.6, 0.2, 0.1, 0.1], [0.4, 0.4, 0.1, 0.1])
    thing_thing = kl([0.6, 0.2], [0.4, 0.4])
    stuff_all = kl([0.1, 0.1, 0.6, 0.2], [0.7, 0.1, 0.1, 0.1])
    stuff_stuff = kl([0.6, 0.2], [0.1, 0.1])
    wanted = {
        "coupled": (thing_all, stuff_all),
        "decoupled": (thing_thing, stuff_all),
        "apart": (thing_thing, stuff_stuff),
        "reversed": (thing_all, stuff_stuff),
    }
    for alignment, (thing, stuff) in wanted.items():
        for reduction, expected in (("code", thing + stuff), ("paper", (thing + stuff) / 2)):
            found = region_loss(student, labels_of(teacher), 2, alignment=alignment, reduction=reduction)  # type: ignore[arg-type]
            assert found.item() == pytest.approx(expected, rel=1e-5), (alignment, reduction)


def test_groups_count_alike_in_the_codes_reduction_alone() -> None:
    teacher = logs((0.6, 0.2, 0.1, 0.1), (0.1, 0.1, 0.6, 0.2))
    student = logs((0.4, 0.4, 0.1, 0.1), (0.7, 0.1, 0.1, 0.1))
    rows = torch.tensor([0, 0, 0, 1])  # three regions of a thing
    single = region_loss(student, labels_of(teacher), 2).item()
    assert region_loss(student[rows], labels_of(teacher[rows]), 2).item() == pytest.approx(single)
    paper = region_loss(student[rows], labels_of(teacher[rows]), 2, reduction="paper").item()
    assert paper < region_loss(student, labels_of(teacher), 2, reduction="paper").item()


@pytest.mark.parametrize("alignment", ["coupled", "decoupled", "apart", "reversed"])
@pytest.mark.parametrize("reduction", ["code", "paper"])
@pytest.mark.parametrize("regions", [0, 3])
def test_no_valid_region_costs_nothing(alignment: Any, reduction: Any, regions: int) -> None:
    features = torch.randn(regions, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    scores = name_scores(features, torch.eye(5)[:4])
    labels = labels_of(scores.detach(), torch.zeros(regions, dtype=torch.bool))
    loss = region_loss(scores, labels, 2, alignment=alignment, reduction=reduction)
    assert loss.item() == 0
    loss.backward()  # type: ignore[no-untyped-call]
    assert features.grad is not None
    assert bool((features.grad == 0).all())


@pytest.mark.parametrize("alignment", ["coupled", "decoupled", "apart", "reversed"])
@pytest.mark.parametrize("things", [0, 1, 4])
@pytest.mark.parametrize("columns", ["code", "paper"])
def test_one_kind_alone(alignment: Any, things: int, columns: Any) -> None:
    """Only stuff, a single thing, only things: a finite loss that is 0 for a student that equals its teacher."""
    generator = torch.Generator().manual_seed(1)
    teacher = torch.randn(6, 4, generator=generator) * 3
    student = torch.randn(6, 4, generator=generator).requires_grad_()
    loss = region_loss(student, labels_of(teacher), things, alignment=alignment, columns=columns)
    loss.backward()  # type: ignore[no-untyped-call]
    assert student.grad is not None
    assert bool(student.grad.isfinite().all())
    assert loss.item() > 0
    same = region_loss(teacher, labels_of(teacher), things, alignment=alignment, columns=columns)
    assert same.item() == pytest.approx(0, abs=1e-6)


def test_a_region_that_is_left_out_has_no_gradient() -> None:
    features = torch.randn(4, 5, generator=torch.Generator().manual_seed(2)).requires_grad_()
    scores = name_scores(features, torch.eye(5)[:4])
    valid = torch.tensor([True, False, True, False])
    region_loss(scores, labels_of(torch.eye(4) * 9, valid), 2).backward()  # type: ignore[no-untyped-call]
    assert features.grad is not None
    assert (features.grad != 0).any(1).tolist() == valid.tolist()


@pytest.mark.parametrize("reduction", ["code", "paper"])
def test_a_teacher_of_nan_costs_nothing(reduction: Any) -> None:
    texts = torch.eye(5)[:4]
    features = torch.randn(3, 5, generator=torch.Generator().manual_seed(3)).requires_grad_()
    labels = label_regions(torch.full((3, 5), math.nan), texts, threshold=0)
    assert not labels.valid.any()
    loss = region_loss(name_scores(features, texts), labels, 2, reduction=reduction)
    assert loss.item() == 0
    loss.backward()  # type: ignore[no-untyped-call]
    assert features.grad is not None
    assert bool((features.grad == 0).all())


def test_extreme_scores_stay_finite() -> None:
    scores = torch.tensor([[100.0, -100.0, 0.0, 0.0], [-100.0, 100.0, 0.0, 0.0]], requires_grad=True)
    loss = region_loss(scores, labels_of(scores.detach().flip(0)), 2)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == pytest.approx(200, rel=1e-5)
    assert scores.grad is not None
    assert bool(scores.grad.isfinite().all())


@pytest.mark.parametrize(
    ("options", "things", "message"),
    [
        ({"alignment": "free"}, 2, "`alignment` is one of decoupled, coupled, apart, reversed; got 'free'"),
        ({"reduction": "sum"}, 2, "`reduction` is one of code, paper; got 'sum'"),
        ({"columns": "most"}, 2, "`thing_columns` is one of paper, code; got 'most'"),
        ({}, 5, "5 of 4 names cannot be things"),
        ({}, -1, "-1 of 4 names cannot be things"),
    ],
)
def test_unknown_forms_fail(options: dict[str, Any], things: int, message: str) -> None:
    scores = torch.zeros(2, 4)
    with pytest.raises(UsageError, match=message):
        region_loss(scores, labels_of(scores), things, **options)


def test_labels_by_hand() -> None:
    texts = torch.eye(3)
    regions = torch.tensor([[5.0, 0.0, 0.0], [1.0, 1.0, 1.0], [0.0, 0.6, 0.59]])
    labels = label_regions(regions, texts)
    assert labels.best[0] == 0
    assert labels.probability[0] == pytest.approx(1)
    assert labels.probability[1] == pytest.approx(1 / 3)
    assert labels.valid.tolist() == [True, True, True]
    assert label_regions(regions, texts, threshold=0.5).valid.tolist() == [True, False, True]
    assert label_regions(regions, texts, tau=1.0, threshold=0.5).valid.tolist() == [True, False, False]


@given(st.sampled_from(CHOICES), st.integers(16, 2000), st.integers(16, 2000))
def test_a_grid_tiles_the_picture(pair: tuple[int, int], width: int, height: int) -> None:
    boxes = grid_boxes(*pair, width, height).double()
    assert boxes.shape == (pair[0] * pair[1], 4)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    assert areas.sum().item() == pytest.approx(width * height, rel=1e-5)
    assert boxes[-1].tolist() == [pytest.approx((pair[1] - 1) / pair[1] * width), *boxes[-1, 1:].tolist()]
    assert boxes[:, :2].min() == 0
    assert boxes[:, 2].max() == width
    assert boxes[:, 3].max() == height


def test_grids_are_drawn_evenly_and_follow_the_seed() -> None:
    generator = torch.Generator().manual_seed(3)
    drawn = [draw(generator) for _ in range(3400)]
    counts = [drawn.count(pair) for pair in CHOICES]
    assert 140 < min(counts) <= max(counts) < 270
    assert [draw(torch.Generator().manual_seed(3)) for _ in range(2)] == [drawn[0]] * 2


def test_names() -> None:
    names = make_names([" cup", "tea  pot", "Cup", ""], ["sky", "grass", "sky"])
    assert names.all == ("cup", "tea pot", "sky", "grass")
    assert names.repeated == ("Cup", "sky")
    assert (len(names), len(names.things)) == (4, 2)
    assert names.sha256 != make_names(["cup"], ["tea pot", "sky", "grass"]).sha256
    both = joined([names, make_names(["cup", "dog"], ["wall"])])
    assert both.all == ("cup", "tea pot", "dog", "sky", "grass", "wall")
    assert make_names(["a", "b"], []).stuff == make_names([], ["a", "b"]).things == ()


def test_names_that_are_refused() -> None:
    with pytest.raises(UsageError, match="'Door' is both a thing and stuff"):
        make_names(["cup", "Door"], ["sky", "door"])
    with pytest.raises(UsageError, match="'a' and 1 more is both a thing"):
        make_names(["a", "b"], ["b", "a"])
    with pytest.raises(UsageError, match="there are no names to tell apart"):
        make_names([" "], [])
    with pytest.raises(UsageError, match="there is one name to tell apart"):
        make_names(["cup", "CUP"], [])
