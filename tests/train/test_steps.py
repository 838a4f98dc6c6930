"""One step of each stage of training `tiny`, and the parts of it."""

from __future__ import annotations

import itertools
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn

from vidmem.encoders.mobile_net import DIM
from vidmem.encoders.tiny_net import TEXT_DIM, TinyNet
from vidmem.train.scenes import Scene, SceneMaker
from vidmem.train.steps import (
    alike,
    backbone_step,
    bare,
    evaluate,
    heat_loss,
    heat_targets,
    nameless,
    pooled,
    region_step,
    text_labels,
)
from vidmem.train.supply import collate
from vidmem.train.tiny import spread
from vidmem.train.towers import Helpers, TextTower, told
from vidmem.world.drawings import load_drawings, things

NAMES = [thing.name for thing in things()]


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return list(itertools.islice(SceneMaker(load_drawings(), NAMES.index, [], 3), 4))


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> TextTower:
    """A tower over the names of the drawings, spelled by letters."""
    folder = tmp_path_factory.mktemp("text")
    phrases = " ".join(" ".join((t.name, *t.synonyms)) for t in things()).lower()
    letters = sorted(set(phrases) - set(" "))
    vocabulary = [*letters, *("##" + c for c in letters), "background", "plain", "nothing"]
    rng = np.random.default_rng(0)
    table = rng.standard_normal((len(vocabulary), TEXT_DIM)).astype(np.float32)
    goals = rng.standard_normal((len(NAMES), TEXT_DIM)).astype(np.float32)
    goals /= np.linalg.norm(goals, axis=1, keepdims=True)
    goals[1] = goals[0]  # two names that mean the same
    goals[3] = goals[2]
    np.savez(folder / "text.npz", table=table, goals=goals)
    (folder / "vocabulary.txt").write_text("\n".join(vocabulary))
    classes = [{"phrases": [t.name, *t.synonyms], "taught": i != 0} for i, t in enumerate(things())]
    (folder / "names.json").write_text(json.dumps({"classes": classes, "imagenet": [[5, 6], [7]]}))
    return TextTower(folder)


def test_pooled_is_the_mean_under_the_mask() -> None:
    features = torch.arange(8.0).view(1, 2, 2, 2)
    cover = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 0.0], [0.0, 0.0]]])[None]
    torch.testing.assert_close(pooled(features, cover), torch.tensor([[[1.5, 5.5], [0.0, 0.0]]]))


def test_heat_peaks_at_object_centres_alone() -> None:
    batch = {
        "cover": torch.zeros(1, 3, 6, 8),
        "labels": torch.tensor([[4, -1, -3]]),
        "centres": torch.tensor([[[5.2, 1.9], [2.0, 4.0], [0.0, 0.0]]]),
        "sizes": torch.full((1, 3), 3.0),
    }
    target = heat_targets(batch)
    assert target.shape == (1, 6, 8)
    assert target[0, 2, 5] == 1
    assert target[0, 4, 2] < 0.1
    good = torch.where(target > 0.99, 6.0, -6.0)
    assert heat_loss(good, target) < 0.05 < heat_loss(-good, target)


def test_background_takes_the_last_name() -> None:
    assert text_labels(torch.tensor([5, -1, -2, -3]), 10).tolist() == [5, 9, -2, -3]


def test_text_tower_gives_one_unit_vector_per_name(text: TextTower) -> None:
    vectors = text()
    assert vectors.shape == (len(text.names), TEXT_DIM)
    assert text.names.classes[text.background].name == "background"
    torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(len(vectors)))
    torch.testing.assert_close(text(), vectors)
    assert (text(np.random.default_rng(0)) != vectors).any(dim=1).sum() > 100  # synonyms take turns
    assert text.drift() == 0
    np.testing.assert_array_equal(text.whole_table(), text.table)


def test_names_that_mean_the_same_are_no_counter_examples_unless_both_are_taught(text: TextTower) -> None:
    assert text.near[0, 1]
    assert text.near[1, 0]
    assert not text.near[2, 3]  # both are drawn, and must be told apart
    assert not text.near.diagonal().any()


def test_the_teachers_classes_lie_between_their_names(text: TextTower) -> None:
    vectors = text()
    both, one = text.imagenet(vectors)
    torch.testing.assert_close(one, vectors[7])
    assert both @ vectors[5] > both @ vectors[6] > 0.4


def test_what_the_teacher_says_is_right() -> None:
    answer = torch.tensor([[0.7, 0.2, 0.1]]).log()
    assert told(answer, answer) < 1e-6 < told(-answer, answer)
    assert told(torch.empty(0, 3), torch.empty(0, 3)) == 0


def test_prototypes_tell_drawings_apart() -> None:
    helpers = Helpers(3)
    with torch.no_grad():
        helpers.vectors.zero_()[torch.arange(3), torch.arange(3)] = 2.0  # length must not matter
        helpers.centre.fill_(0.5)
    tokens = torch.eye(DIM)[:3] * 7 + 0.5
    assert helpers.drawing(tokens, torch.tensor([0, 1, 2])) < 1e-4
    assert helpers.drawing(tokens, torch.tensor([1, 2, 0])) > 10
    assert helpers.drawing(tokens[:0], torch.tensor([], dtype=torch.long)) == 0


def test_alike_is_nothing_for_the_same_features() -> None:
    features = torch.randn(1, 8, 3, 3, generator=torch.Generator().manual_seed(0))
    assert alike(features, features).abs() < 1e-6
    assert alike(2 * features, features) > 0.05  # length counts
    assert alike(-features, features) > 2


def test_bare_patches_have_scenery_all_around() -> None:
    scenery = torch.ones(1, 5, 5)
    scenery[0, 0, 0] = 0.5
    features = torch.arange(25.0).view(1, 1, 5, 5)
    kept = {int(v) for v in bare(features, scenery).flatten()}
    assert kept == set(range(25)) - {0, 1, 5, 6}
    assert len(bare(features, scenery, most=4)) == 4


def test_parts_of_a_batch_give_the_gradient_of_the_whole() -> None:
    net = nn.Linear(3, 1)
    unused = nn.Parameter(torch.zeros(2))
    batch = {"x": torch.randn(6, 3, generator=torch.Generator().manual_seed(0))}
    (want,) = torch.autograd.grad(net(batch["x"]).square().mean(), [net.weight])
    rngs = [np.random.default_rng(i) for i in range(2)]
    with ThreadPoolExecutor(2) as pool:
        losses = spread(pool, rngs, batch, [net.weight, unused], lambda part, _: {"a": net(part["x"]).square().mean()})
    torch.testing.assert_close(net.weight.grad, want)
    assert unused.grad is None
    assert losses["a"] == pytest.approx(net(batch["x"]).square().mean().item())


def test_nameless_tokens_want_the_last_name() -> None:
    texts = torch.eye(3)
    assert nameless(torch.tensor([[0.0, 0.0, 5.0]]), texts) < 1e-4 < nameless(torch.tensor([[5.0, 0.0, 0.0]]), texts)
    assert nameless(torch.empty(0, 3), texts) == 0


@pytest.mark.slow
@pytest.mark.parametrize("stage", [backbone_step, region_step])
def test_a_step_lowers_the_loss(text: TextTower, scenes: list[Scene], stage: object) -> None:
    assert callable(stage)
    torch.manual_seed(0)
    net, batch = TinyNet().to(memory_format=torch.channels_last), collate(scenes[:2])  # type: ignore[call-overload]
    net.train()
    helpers, answers = Helpers(len(load_drawings())), torch.empty(0, 2)
    parts = [net.regions, net.masks, net.score] if stage is region_step else [net]
    parameters = [p for part in parts for p in part.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3)
    totals = []
    for _ in range(4):
        torch.manual_seed(1)
        losses = stage(net, text, helpers, batch, np.random.default_rng(0), answers)
        assert all(loss.isfinite() and loss.ndim == 0 for loss in losses.values()), losses
        total = sum(losses.values())
        optimizer.zero_grad()
        total.backward()
        assert any(p.grad is not None and p.grad.any() for p in parameters)
        optimizer.step()
        totals.append(total.item())
    assert totals[-1] < totals[0]


@pytest.mark.slow
def test_evaluate_gives_shares(text: TextTower, scenes: list[Scene]) -> None:
    torch.manual_seed(0)
    net = TinyNet()
    found = evaluate(net, text, [collate(scenes[:1])])
    assert found.keys() == {"pooled", "token", "iou"}
    assert all(0 <= value <= 1 for value in found.values())
    assert net.training
