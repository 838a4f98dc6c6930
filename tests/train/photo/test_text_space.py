"""The space of names and the table that is fitted to it."""

from __future__ import annotations

import numpy as np
import pytest

from vidmem.train.photo.text_space import Bags, apply, clip_space, fit, plural, ridge, unit

INDEX = {"red": 0, "cup": 1, "dog": 2, "cat": 3, "##s": 4, "big": 5}


def test_ridge_finds_a_linear_map() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 6))
    true = rng.standard_normal((6, 3))
    np.testing.assert_allclose(apply(x, ridge(x, x @ true + 2, 1e-6)), x @ true + 2, atol=1e-4)
    shrunk = ridge(x, x @ true, 1e4)
    assert np.abs(shrunk[:-1]).max() < np.abs(true).max() / 5


def test_clip_space_keeps_neighbours() -> None:
    rng = np.random.default_rng(0)
    base = rng.standard_normal((40, 512))
    near = base + 0.1 * rng.standard_normal((40, 512))
    space = clip_space(np.concatenate([base, near]), 16)
    assert space.shape == (80, 16)
    assert space.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(space, axis=1), 1, rtol=1e-5)
    cosines = space[:40] @ space[40:].T
    assert (cosines.argmax(1) == np.arange(40)).all()


def test_fitted_phrases_are_their_names_and_attributes_count_little() -> None:
    rng = np.random.default_rng(0)
    table = unit(rng.standard_normal((6, 8)))
    goals = unit(rng.standard_normal((3, 8)))
    phrases = ["cup", "dog", "cat", "red cup", "big cup", "red dog", "big dog", "red cat", "big cat", "cups"]
    owners = np.array([0, 1, 2, 0, 0, 1, 1, 2, 2, 0])
    fitted = fit(table, INDEX, phrases, goals[owners], owners, goals, steps=300)
    said = unit(np.stack([fitted[[INDEX["red"], INDEX[n]]].mean(0) for n in ("cup", "dog", "cat")]))
    assert ((said * goals).sum(1) > 0.8).all()
    lengths = np.linalg.norm(fitted, axis=1)
    assert lengths[INDEX["red"]] < 0.8 * lengths[INDEX["cup"]]


def test_pieces_that_no_phrase_holds_stay() -> None:
    table = unit(np.random.default_rng(0).standard_normal((6, 8)))
    fitted = fit(table, INDEX, ["cup"], table[2:3], np.array([0]), table[2:3], steps=20)
    np.testing.assert_array_equal(fitted[[0, 2, 3, 4, 5]], table[[0, 2, 3, 4, 5]])
    assert (fitted[1] != table[1]).any()


def test_bags_number_the_pieces_that_occur() -> None:
    bags = Bags(["red cup", "dog"], INDEX)
    assert bags.used.tolist() == [0, 1, 2]
    assert bags.rows == [[0, 1], [2]]


@pytest.mark.parametrize(("one", "many"), [("cup", "cups"), ("box", "boxes"), ("berry", "berries"), ("key", "keys"),
                                           ("brush", "brushes")])  # fmt: skip
def test_plural(one: str, many: str) -> None:
    assert plural(one) == many
