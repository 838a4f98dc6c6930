"""The head of the small backbone: what it learns from, and that the fit finds a map that is there."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from lab.tiny.fit_head import SURE, collect, fit, right
from vidmem.encoders.tiny.detector import BINS, CLASSES

DIM, CUP = 6, 41


class Net:
    """A detector that is sure of one thing, in the middle of the picture; channel 1 of its neck tells where."""

    def __init__(self, sure: float) -> None:
        self.sure = sure

    def run(self, outputs: list[str], inputs: dict[str, np.ndarray]) -> list[Any]:
        assert outputs == ["scores", "bins", "neck8"]
        _, h, w, _ = inputs["image"].shape
        places = [(h // s, w // s) for s in (8, 16, 32)]
        count = sum(a * b for a, b in places)
        scores, bins = np.full((1, count, CLASSES), 0.01, np.float32), np.full((1, count, 4 * BINS), -9.0, np.float32)
        rows, columns = places[0]
        at = rows // 2 * columns + columns // 2
        scores[0, at, CUP] = self.sure
        bins.reshape(1, count, 4, BINS)[..., 2] = 9  # each side two strides away
        neck = np.zeros((1, DIM, *places[0]), np.float32)
        neck[0, 0] = 3.0
        neck[0, 1, rows // 2, columns // 2] = 16.0
        return [scores, bins, neck]


def photos(count: int) -> Any:
    return iter([Image.new("RGB", (416, 416))] * count)


def test_what_the_detector_is_sure_of_is_a_sample() -> None:
    samples = collect(Net(SURE + 0.1), photos(3))
    assert samples.names.tolist() == [CUP] * 3
    assert samples.photos.tolist() == [0, 1, 2]
    # The box is 4 x 4 cells, around the middle of one: 25 cells, those at the rim by half or a quarter.
    np.testing.assert_allclose(samples.features[:, 0], 3, rtol=1e-4)
    np.testing.assert_allclose(samples.features[:, 1], 1, rtol=1e-3)
    np.testing.assert_allclose(samples.mean[:2], [3, 16 / 52**2], rtol=1e-4)
    np.testing.assert_allclose(samples.spread[1], 16 / 52, rtol=1e-2)


def test_what_it_is_not_sure_of_is_none() -> None:
    assert len(collect(Net(SURE - 0.1), photos(2)).names) == 0


def test_a_linear_map_that_is_there_is_found() -> None:
    rng = np.random.default_rng(0)
    texts = rng.normal(size=(5, 4)).astype(np.float32)
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    names = rng.integers(0, 5, 400)
    centres = rng.normal(size=(5, DIM)) * 3
    features = (centres[names] + rng.normal(0, 0.3, (400, DIM))).astype(np.float32)
    head = fit(features[:300], names[:300], texts)
    assert head[0].shape == (4, DIM)
    assert head[1].shape == (4,)
    assert head[0].dtype == head[1].dtype == np.float32
    assert right(head, features[300:], names[300:], texts) > 0.95
    shuffled = fit(features[:300], rng.permutation(names[:300]), texts)
    assert right(shuffled, features[300:], names[300:], texts) < 0.6
