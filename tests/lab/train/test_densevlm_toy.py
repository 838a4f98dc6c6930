"""Made scenes for DenseVLM at toy scale: their rules, regions, measures, and how models learn from them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from needs import needs
from vidmem.encoders.torchvision_compat import ready

ready()
needs("open_clip")

from lab.train.densevlm_toy import align, measure, models, plan, regions, scenes  # noqa: E402
from lab.train.densevlm_toy.scenes import NAMES, SIDE, THINGS, Rules, make_scenes, usual_ground  # noqa: E402


@pytest.fixture(scope="module")
def some() -> scenes.Scenes:
    return make_scenes(120, (3, 0), Rules(usual=0.9, thing_only=0.8, ground_only=0.1))


def test_the_same_seed_gives_the_same_scenes(some: scenes.Scenes) -> None:
    again = make_scenes(3, (3, 0), Rules(usual=0.9, thing_only=0.8, ground_only=0.1))
    assert np.array_equal(again.pictures, some.pictures[:3])
    assert np.array_equal(again.labels, some.labels[:3])
    assert again.captions == some.captions[:3]
    assert not np.array_equal(make_scenes(3, (4, 0), Rules()).pictures, some.pictures[:3])


def test_labels_and_instances_agree_and_things_have_their_size(some: scenes.Scenes) -> None:
    assert np.array_equal(some.labels < len(THINGS), some.instances > 0)
    for labels, instances in zip(some.labels, some.instances, strict=True):
        for k in np.unique(instances[instances > 0]):
            assert len(np.unique(labels[instances == k])) == 1
            assert (instances == k).mean() < scenes.AREA[1] * 1.1
    shares = [(i == 1).mean() for i in some.instances]
    assert min(shares) > scenes.AREA[0] * 0.5  # a large thing may be cut by the edge of the scene


def test_things_mostly_stand_on_their_usual_ground_unless_grounds_are_even(some: scenes.Scenes) -> None:
    def on_usual(made: scenes.Scenes) -> float:
        hits = []
        for labels, instances in zip(made.labels, made.instances, strict=True):
            thing = int(labels[instances == 1][0])
            hits.append(len(THINGS) + usual_ground(thing) in labels)
        return float(np.mean(hits))

    assert on_usual(some) > 0.85
    assert on_usual(make_scenes(120, (3, 1), Rules(usual=None))) < 0.4


def test_captions_mostly_name_things_alone_and_only_what_is_there(some: scenes.Scenes) -> None:
    stuff = [[name >= len(THINGS) for name in caption] for caption in some.captions]
    assert np.mean([not any(kinds) for kinds in stuff]) == pytest.approx(0.8, abs=0.1)
    assert np.mean([all(kinds) for kinds in stuff]) == pytest.approx(0.1, abs=0.08)
    assert all(set(caption) <= set(labels.flat) for caption, labels in zip(some.captions, some.labels, strict=True))
    assert max(map(len, some.captions)) <= 3


def test_tokens_tell_captions_apart_and_end_with_the_highest_id() -> None:
    ids = models.tokens([(0,), (0, 1, len(THINGS)), (len(THINGS),)])
    assert ids.shape == (3, models.CONTEXT)
    assert ids.argmax(1).tolist() == [2, 5, 2]  # open_clip takes the text's vector there
    assert len({tuple(row) for row in ids.tolist()}) == 3


def one_scene(labels: np.ndarray, instances: np.ndarray) -> scenes.Scenes:
    return scenes.Scenes(
        np.zeros((1, SIDE, SIDE, 3), np.uint8), labels[None].astype(np.uint8), instances[None].astype(np.uint8), ((0,),)
    )


def test_regions_have_tight_boxes_and_the_share_of_each_patch() -> None:
    labels, instances = np.full((SIDE, SIDE), len(THINGS)), np.zeros((SIDE, SIDE))
    labels[8:20, 16:32] = 2  # rows of patches 1 to 2.5, columns 2 to 4
    instances[8:20, 16:32] = 1
    labels[90:94, 90:94] = 3  # too small
    instances[90:94, 90:94] = 2
    found = regions.regions_of(one_scene(labels, instances), 0)
    assert found.names.tolist() == [2, len(THINGS)]
    assert found.things.tolist() == [True, False]
    assert found.boxes.tolist() == [[2, 1, 4, 2.5], [0, 0, 12, 12]]
    thing = found.masks[0]
    assert thing[1, 2:4].tolist() == [1, 1]
    assert thing[2, 2:4].tolist() == [0.5, 0.5]
    assert float(thing.sum()) == 3
    assert float(found.masks[1][1, 2]) == 0


def test_loosened_boxes_hold_the_box_and_stay_in_the_scene() -> None:
    boxes = torch.tensor([[0.0, 1, 3, 4], [5, 5, 7, 6]])
    rng = np.random.default_rng(0)
    for _ in range(20):
        loose = models.loosened(boxes, 1.0, rng)
        assert (loose[:, :2] <= boxes[:, :2]).all()
        assert (loose[:, 2:] >= boxes[:, 2:]).all()
        assert loose.min() >= 0
        assert loose.max() <= models.CELLS
        sides = boxes[:, 2:] - boxes[:, :2]
        assert (loose[:, 2:] - loose[:, :2] <= 3 * sides + 1e-6).all()
    assert torch.equal(models.loosened(boxes, 0.0, rng), boxes)


def test_equal_captions_are_no_negatives_of_each_other() -> None:
    vectors = torch.tensor([[1.0, 0], [1, 0], [0, 1]])
    captions = torch.tensor([[5], [5], [6]])
    scale = torch.tensor(2.0)
    first = -math.log(math.exp(2) / (2 * math.exp(2) + 1))
    last = -math.log(math.exp(2) / (math.exp(2) + 2))
    assert models.caption_contrast(vectors, vectors, scale, captions).item() == pytest.approx((2 * first + last) / 3)


def test_the_rate_rises_and_falls() -> None:
    recipe = models.Recipe(100, 4, 1.0, warmup=10)
    assert recipe.rate(0) == 0.1
    assert recipe.rate(9) == 1
    assert recipe.rate(10) == 1
    assert recipe.rate(55) == pytest.approx(0.5)
    assert recipe.rate(99) < 0.01


def test_a_perfect_model_is_measured_as_perfect(monkeypatch: pytest.MonkeyPatch) -> None:
    made = make_scenes(40, (5, 0), Rules(usual=None))
    shape = (len(made), models.CELLS, scenes.PATCH, models.CELLS, scenes.PATCH)
    shares = np.stack([(made.labels == name).reshape(shape).mean((2, 4)) for name in range(len(NAMES))], 1)
    truth = torch.from_numpy(shares).float()
    monkeypatch.setattr(measure, "look", lambda model, scenes: truth)
    monkeypatch.setattr(measure, "name_vectors", lambda model: torch.eye(len(NAMES)))
    measured = measure.measure(None, made)
    assert measured["masks_thing_top1"] > 0.98
    assert measured["masks_stuff_top1"] > 0.98
    assert measured["stuff_as_thing"] < 0.02
    assert measured["thing_as_stuff"] < 0.02
    assert 0 < measured["mixed_as_thing"] < 0.3  # the ground is split in two in some
    things = torch.zeros_like(truth)
    things[:, 0] = 1  # everything is a ball
    monkeypatch.setattr(measure, "look", lambda model, scenes: things)
    measured = measure.measure(None, made)
    assert measured["stuff_as_thing"] == measured["mixed_as_thing"] == 1
    assert measured["masks_stuff_top1"] == 0
    assert measured["masks_thing_top1"] == pytest.approx(0.1)


def test_a_stage_is_loaded_if_its_settings_are_the_same(tmp_path: Path) -> None:
    size, made = models.Size(32, 1, 2), []

    def make() -> object:
        made.append(models.build(size, len(made) + 1))
        return made[-1]

    kept = tmp_path / "deep" / "student.safetensors"
    first = plan.staged(kept, size, {"seed": 1}, make)
    again = plan.staged(kept, size, {"seed": 1}, make)
    assert len(made) == 1
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), again.state_dict().values(), strict=True))
    plan.staged(kept, size, {"seed": 2}, make)
    assert len(made) == 2


def test_alignment_trains_the_image_tower_alone_and_repeats_exactly() -> None:
    made = make_scenes(8, (6, 0), Rules())
    size, recipe = models.Size(32, 2, 2), models.Recipe(3, 4, 1e-2, warmup=1)
    teacher = models.build(size, 9).eval()
    seen = align.look(teacher, made)
    texts = models.name_vectors(teacher).detach()
    ends = []
    for _ in range(2):
        student = models.build(size, 1)
        before = {name: value.clone() for name, value in student.state_dict().items()}
        align.align(student, seen, texts, made, recipe, 7, alignment="decoupled", reduction="code")
        ends.append(student.state_dict())
        changed = {name for name, value in student.state_dict().items() if not torch.equal(value, before[name])}
        assert changed
        assert all(name.startswith("visual.") for name in changed)
    assert all(torch.equal(value, ends[1][name]) for name, value in ends[0].items())
