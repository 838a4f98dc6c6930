"""Label probabilities and heat maps, against recordings of the code of TextRegion and of GEM."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vidmem.query.paper_pixels import heat, label_probabilities

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.mark.golden
def test_label_probabilities_are_as_recorded() -> None:
    with np.load(GOLDEN / "textregion" / "textregion_golden.npz", allow_pickle=False) as golden:
        logits, masks, labels, highest = (golden[f"reason_{name}"] for name in ("logits", "masks", "pred", "prob"))
    found = label_probabilities(logits, masks, (labels.shape[0], labels.shape[1]), background=0)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found.argmax(axis=0), labels)
    np.testing.assert_allclose(found.max(axis=0), highest, atol=1e-5)


@pytest.mark.golden
@pytest.mark.parametrize("depth", [7, 5])
def test_heat_is_as_recorded(depth: int) -> None:
    with np.load(GOLDEN / "gem" / "gem_golden.npz", allow_pickle=False) as golden:
        patches, text = golden[f"named_d{depth}_feat_gem"][1:].reshape(10, 14, -1), golden["named_text"]
        raw, shown = golden[f"named_d{depth}_raw"], golden[f"named_d{depth}_heat"]
    patches = patches / np.linalg.norm(patches, axis=-1, keepdims=True)
    for i, vector in enumerate(text):
        found = heat(patches, vector, (160, 224))
        for ours, recorded in zip(found, (raw[i], shown[i]), strict=True):
            assert (ours.dtype, ours.shape) == (np.float32, (160, 224))
            np.testing.assert_allclose(ours[::4, ::4], recorded, atol=1e-5)  # every fourth pixel was recorded


def test_labels_of_one_region_by_hand() -> None:
    logits, masks = np.array([[0.02, 0]], np.float32), np.array([[[1, 0.5, 0, -1]]], np.float32)
    share = 1 / (1 + np.exp([-1, -0.5, 0, 0]))
    found = label_probabilities(logits, masks, (1, 4))
    np.testing.assert_allclose(found, [[share], [1 - share]], rtol=1e-6)
    np.testing.assert_allclose(label_probabilities(logits, 2 * masks, (1, 4), temperature=25)[0, 0, 0], share[1])
    background = 1 / (1 + np.exp(50))
    found = label_probabilities(logits, masks, (1, 4), background=1)
    np.testing.assert_allclose(found[0], [[*share[:2], background, background]], rtol=1e-6)


def test_a_pixel_is_sure_or_not_whatever_the_others_are() -> None:
    logits, masks = np.array([[1, 0]], np.float32), np.array([[[1, 0]]], np.float32)
    found = label_probabilities(logits, masks, (1, 2), temperature=500)
    np.testing.assert_allclose(found, [[[1, 0.5]], [[0, 0.5]]], atol=1e-6)


def test_without_regions_all_is_background() -> None:
    logits, masks = np.zeros((0, 3), np.float32), np.zeros((0, 2, 2), np.float32)
    found = label_probabilities(logits, masks, (4, 5), background=2)
    assert found.shape == (3, 4, 5)
    assert found[2] == pytest.approx(1)
    assert label_probabilities(logits, masks, (4, 5)) == pytest.approx(1 / 3)


def test_a_flat_map_has_no_heat() -> None:
    raw, shown = heat(np.full((2, 3, 4), 0.5, np.float32), np.full(4, 0.5, np.float32), (8, 12))
    assert raw == pytest.approx(1)
    assert shown.shape == (8, 12)
    assert not shown.any()
