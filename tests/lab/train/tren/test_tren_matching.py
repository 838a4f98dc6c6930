"""Matching and synonyms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lab.train.tren import matching, synonyms
from lab.train.tren.matching import assign
from lab.train.tren.synonyms import group_by_cosine, group_by_file
from vidmem.errors import UsageError

COST = torch.tensor([[[0.0, 0.1, 7.0], [0.2, 9.0, 7.0], [5.0, 5.0, 7.0]]])


def test_assign_by_hand() -> None:
    # Prediction 0 is best for both targets; giving it to target 1 is cheapest in all. The third is left over.
    assert assign(COST, torch.tensor([[True, True, False]])).tolist() == [[1, 0, -1]]
    assert assign(COST, torch.tensor([[True, False, False]])).tolist() == [[0, -1, -1]]
    assert assign(COST, torch.tensor([[False, False, False]])).tolist() == [[-1, -1, -1]]


def test_spare_predictions_get_the_nearest_target() -> None:
    assert assign(COST, torch.tensor([[True, False, False]]), "repeat").tolist() == [[0, 0, 0]]
    assert assign(COST, torch.tensor([[True, True, False]]), "repeat").tolist()[0][:2] == [1, 0]
    assert assign(COST, torch.tensor([[False, False, False]]), "repeat").tolist() == [[-1, -1, -1]]


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_both_ways_agree(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(k)
    cost = torch.from_numpy(rng.random((200, k, k)))
    valid = torch.from_numpy(rng.random((200, k)) < 0.6)
    orders = assign(cost, valid)
    monkeypatch.setattr(matching, "FEW", 0)
    assert torch.equal(assign(cost, valid), orders)  # random costs: the optimum is unique
    assert ((orders >= 0).sum(1) == valid.sum(1)).all()


def test_many_predictions_go_through_scipy() -> None:
    k = 9  # 362880 orders
    want = torch.randperm(k, generator=torch.Generator().manual_seed(1))
    cost = torch.ones(1, k, k)
    cost[0, torch.arange(k), want] = 0
    assert torch.equal(assign(cost, torch.ones(1, k, dtype=torch.bool))[0], want)


def test_groups_are_chains_of_like_names() -> None:
    angle = np.deg2rad([0, 30, 60, 180, 200])
    vectors = np.stack([np.cos(angle), np.sin(angle)], 1).astype(np.float32) * np.float32([[1], [2], [3], [1], [9]])
    assert group_by_cosine(vectors, 0.8).tolist() == [0, 0, 0, 1, 1]  # cos 30 = .87, cos 20 = .94
    assert group_by_cosine(vectors, 0.9).tolist() == [0, 1, 2, 3, 3]
    assert group_by_cosine(vectors, 1.0).tolist() == [0, 1, 2, 3, 4]  # the threshold itself is not over it


def test_groups_do_not_depend_on_how_many_names_are_compared_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    whole = group_by_cosine(vectors, 0.9)
    assert 3 < len(set(whole.tolist())) < 60
    for rows in (1, 7, 59):
        monkeypatch.setattr(synonyms, "ROWS", rows)
        assert group_by_cosine(vectors, 0.9).tolist() == whole.tolist()
    assert group_by_cosine(np.zeros((0, 4), np.float32), 0.9).tolist() == []


def test_groups_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "synonyms.txt"
    path.write_text("sofa\tcouch\n\ncup\tmug\tcoffee cup\n")
    assert group_by_file(["couch", "cup", "dog", "mug", "sofa"], path).tolist() == [0, 1, 2, 1, 0]


def test_a_name_in_two_groups_fails(tmp_path: Path) -> None:
    path = tmp_path / "synonyms.txt"
    path.write_text("sofa\tcouch\ncouch\tbed\n")
    with pytest.raises(UsageError, match=r"line 2: 'couch' is in line 1 too.*synonyms\.txt"):
        group_by_file(["sofa"], path)
    with pytest.raises(UsageError, match="cannot be read"):
        group_by_file(["sofa"], tmp_path / "none")
