"""Dense evaluation: the recorded accuracies, an encoder that sees colours, and pictures that cannot be read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from encoders import fake
from evaluation import panoptic_files as files
from numpy.typing import NDArray

from needs import needs
from vidmem.errors import MediaError, UsageError
from vidmem.evaluation.dense import accuracy, class_accuracies, dense_report, evaluate_dense, guesses, pooled
from vidmem.evaluation.panoptic import read_panoptic
from vidmem.records import Float32

GOLDEN = Path(__file__).parents[1] / "golden" / "densevlm" / "macc.npz"
ORDER = (1, 18, 181, 200)


@pytest.mark.golden
def test_accuracies_are_as_recorded() -> None:
    """The authors' code keeps each class's share in half precision; ours is rounded for the comparison."""
    with np.load(GOLDEN) as file:
        correct, truth, thing = file["macc_correct"], file["macc_cls"], file["macc_thing"] > 0
        recorded = dict(zip(file["macc_keys"].tolist(), file["macc_res"].tolist(), strict=True))
    # Column k of the recording says whether guess k is right. Any wrong class is -1 here.
    guessed = np.where(correct > 0, truth[:, None], -1)
    for kind, chosen in (("thing", thing), ("stuff", ~thing)):
        for top in (1, 5):
            shares = class_accuracies(guessed[chosen], truth[chosen], top)
            rounded = float(np.mean([float(np.float16(share)) for share in shares.values()]))
            assert rounded == pytest.approx(recorded[f"rois.{kind}.macc{top}"], abs=1e-6)
        found = accuracy(guessed[chosen], truth[chosen])
        assert found.top1 == pytest.approx(recorded[f"rois.{kind}.macc1"], abs=2e-4)
        assert found.top5 == pytest.approx(recorded[f"rois.{kind}.macc5"], abs=2e-4)


def test_means_are_over_classes_and_not_over_regions() -> None:
    guessed = np.array([[0, 1], [0, 1], [0, 1], [0, 1], [2, 1]])
    found = accuracy(guessed, np.array([0, 0, 0, 0, 1]))
    assert (found.top1, found.top5, found.classes, found.regions) == (0.5, 1.0, 2, 5)
    none = accuracy(guessed[:0], np.zeros(0, np.int64))
    assert (none.top1, none.top5, none.classes, none.regions) == (None, None, 0, 0)


def test_first_of_equal_guesses_and_few_classes() -> None:
    found = guesses(np.array([[2.0, 0], [0, 3]], np.float32), np.eye(2, dtype=np.float32)[[0, 0, 1]])
    assert found.tolist() == [[0, 1, 2], [2, 0, 1]]


def test_report_of_arrays() -> None:
    truth = np.array([0, 1, 1, 2])
    boxes = np.array([[0], [1], [0], [2]])
    masks = np.array([[0], [1], [1], [0]])
    report = dense_report(boxes, masks, truth, np.array([True, True, False]), ["cup", "dog", "wall"])
    assert report.figures() == {
        "boxes_top1": 0.75,
        "boxes_top5": 0.75,
        "masks_thing_top1": 1.0,
        "masks_thing_top5": 1.0,
        "masks_stuff_top1": 0.0,
        "masks_stuff_top5": 0.0,
    }
    assert report.boxes_stuff.top1 == 1.0
    assert report.stuff_as_thing == 1.0
    assert [(row.name, row.thing, row.regions, row.box_top1, row.mask_top1) for row in report.rows] == [
        ("cup", True, 1, 1.0, 1.0),
        ("dog", True, 2, 0.5, 1.0),
        ("wall", False, 1, 1.0, 0.0),
    ]
    empty = dense_report(boxes[:0], masks[:0], truth[:0], np.array([True]), ["cup"])
    assert empty.figures() == dict.fromkeys(report.figures())
    assert empty.stuff_as_thing is None


class Colours(fake.ColourEncoder):
    """Patches of 4 pixels that know the colour under them, and text vectors of the categories' colours."""

    has_patches = True

    def working_size(self, width: int, height: int) -> tuple[int, int]:
        return width, height

    def patches(self, images: Sequence[NDArray[np.uint8]]) -> Float32:
        stack = np.stack(images).astype(np.float32) / 255
        b, h, w, _ = stack.shape
        cells = stack.reshape(b, h // 4, 4, w // 4, 4, 3).mean(axis=(2, 4))
        return np.asarray(cells / np.linalg.norm(cells, axis=-1, keepdims=True).clip(1e-9), np.float32)

    def encode_names(self, names: Sequence[str]) -> Float32:
        assert list(names) == ["cup", "dog", "brick wall", "floor"]
        colours = np.array([files.COLOURS[each] for each in ORDER], np.float32)
        return np.asarray(colours / np.linalg.norm(colours, axis=1, keepdims=True), np.float32)


def test_an_encoder_that_knows_the_colours(tmp_path: Path) -> None:
    needs("torch")
    lines: list[str] = []
    report = evaluate_dense(Colours(), read_panoptic(files.write(tmp_path, 100)), say=lines.append)
    assert report.pictures == 100
    assert lines == ["100 of 100 pictures"]
    assert report.masks_thing.top1 == report.masks_stuff.top1 == report.masks_stuff.top5 == 1.0
    assert report.boxes.top1 == 1.0
    assert (report.boxes.regions, report.masks_stuff.regions, report.masks_stuff.classes) == (200, 200, 2)
    assert report.stuff_as_thing == 0.0
    assert [row.regions for row in report.rows] == [100] * 4


def test_pictures_that_cannot_be_read_are_reported(tmp_path: Path) -> None:
    needs("torch")
    found = read_panoptic(files.write(tmp_path, 3))
    found.pictures[0].image.write_bytes(b"no picture")
    found.pictures[1].labels.unlink()
    report = evaluate_dense(Colours(), found)
    assert report.pictures == 1
    assert len(report.skipped) == 2
    assert found.pictures[0].image.name in report.skipped[0]
    assert "the file of segments is missing" in report.skipped[1]
    found.pictures[2].image.unlink()
    with pytest.raises(MediaError, match=found.pictures[0].image.name):
        evaluate_dense(Colours(), found)


def test_what_cannot_be_evaluated(tmp_path: Path) -> None:
    found = read_panoptic(files.write(tmp_path))
    with pytest.raises(UsageError, match="has no patches"):
        evaluate_dense(fake.ColourEncoder(), found)
    with pytest.raises(UsageError, match="2 names for 4 categories"):
        evaluate_dense(Colours(), found, names=["a", "b"])
    with pytest.raises(UsageError, match="two categories have the name 'a'"):
        evaluate_dense(Colours(), found, names=["a", "b", "a", "c"])


def test_pooling_under_masks_smaller_than_a_patch() -> None:
    needs("torch")
    patches = np.random.default_rng(0).normal(size=(6, 8, 5)).astype(np.float32)
    masks = np.zeros((2, 48, 64), np.bool_)
    masks[0, 17, 25] = True  # within the patch at row 2, column 3
    masks[1] = True
    boxes, means = pooled(patches, masks)
    np.testing.assert_allclose(means[0], patches[2, 3], atol=1e-6)
    np.testing.assert_allclose(means[1], patches.mean((0, 1)), atol=1e-6)
    np.testing.assert_allclose(boxes[1], patches.mean((0, 1)), atol=1e-6)
    assert np.linalg.norm(boxes[0]) > 0
