"""What is found in one picture, with an encoder that gives what a test says."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from vidmem.config import MergeConfig
from vidmem.encoders import Calibration, Encoder, EncoderInfo, Reading, ViewEncoder, ViewTokens
from vidmem.errors import UnknownWordError
from vidmem.query.single_image import by_regions, cosine_map, ground, regions_of, segment, small
from vidmem.records import Float32, Frame, RegionTokens, SourceInfo, SourceKind, View

CALIBRATION = Calibration(0.5, 0.4, 0.5, 0.3)
AXES = np.eye(4, dtype=np.float32)
NAMES = ("cup", "key", "pen", "book")
IMAGE = np.zeros((8, 12, 3), np.uint8)
APART = MergeConfig(2.0, 2.0)
"""Merges nothing."""


def regions(tokens: Float32, *places: tuple[int, int, int, int]) -> RegionTokens:
    """Rows y0:y1 and columns x0:x1 of a 4 x 6 grid, in a picture of 8 x 12 pixels."""
    masks = np.zeros((len(places), 4, 6), np.float32)
    for mask, (y0, y1, x0, x1) in zip(masks, places, strict=True):
        mask[y0:y1, x0:x1] = 1
    boxes = np.array([(2 * x0, 2 * y0, 2 * x1, 2 * y1) for y0, y1, x0, x1 in places], np.float32).reshape(-1, 4)
    m = len(places)
    return RegionTokens(tokens, tokens, masks, np.zeros((m, 2), np.float32), boxes, np.zeros(m, np.float32))


class Given(Encoder):
    """Finds `found` in every picture."""

    def __init__(self, found: RegionTokens) -> None:
        self.info = EncoderInfo("given", "w", 4, 4, "four", True, CALIBRATION)
        self.found = found
        self.calls: list[tuple[tuple[int, ...], int, int]] = []
        self.whole_regions = False

    def encode_text(self, phrases: Sequence[str]) -> Float32:
        return AXES[[NAMES.index(phrase) for phrase in phrases]]

    def contrast(self, vector: Float32) -> Float32:
        return AXES[:0]

    def working_size(self, width: int, height: int) -> tuple[int, int]:
        return width // 2, height // 4

    def encode(self, images: Sequence[NDArray[np.uint8]], width: int, height: int) -> list[RegionTokens]:
        self.calls += [(image.shape, width, height) for image in images]
        return [self.found for _ in images]


TWO = regions(np.array([[3, 4, 0, 0], [0, 2, 0, 0]], np.float32), (0, 2, 0, 2), (2, 4, 3, 6))


def test_a_picture_is_shrunk_to_the_encoders_size_by_means() -> None:
    image = IMAGE.copy()
    image[:4, :2] = 200
    image[0, 0] = 100
    found = small(Given(TWO), image)
    assert (found.shape, found.dtype) == ((2, 6, 3), np.uint8)
    assert found[0, 0].tolist() == [188] * 3  # 187.5
    assert not found[1:].any()


def test_regions_have_unit_text_tokens_and_are_of_the_whole_picture() -> None:
    encoder = Given(TWO)
    found = regions_of(encoder, IMAGE, APART)
    assert encoder.calls == [((2, 6, 3), 12, 8)]
    np.testing.assert_allclose(found.text, [[0.6, 0.8, 0, 0], [0, 1, 0, 0]], atol=1e-6)
    assert found.visual.tolist() == TWO.visual.tolist()


def test_equal_regions_are_merged_as_configured() -> None:
    twice = TWO.take(np.array([0, 0, 1]))
    assert len(regions_of(Given(twice), IMAGE, MergeConfig())) == 2
    assert len(regions_of(Given(twice), IMAGE, APART)) == 3
    touching = MergeConfig(0.5, 2.0, touching=True)
    assert len(regions_of(Given(TWO), IMAGE, touching)) == 2  # alike, and apart in the picture
    assert len(regions_of(Given(TWO), IMAGE, MergeConfig(0.5, 2.0))) == 1


def test_an_encoder_with_views_looks_at_each_region() -> None:
    class Looks(ViewEncoder):
        view_pixels, max_views = 8, 1

        def __init__(self) -> None:
            self.views: list[View] = []

        def look(self, views: Sequence[View]) -> ViewTokens:
            self.views += views
            return ViewTokens(AXES[2:], AXES[:2] / 2)

    class Two(Given):
        looks = Looks()

        @property
        def views(self) -> ViewEncoder:
            return self.looks

    encoder = Two(TWO)
    found = regions_of(encoder, IMAGE, APART)
    assert (found.visual.tolist(), found.text.tolist()) == (AXES[2:].tolist(), (AXES[:2] / 2).tolist())
    assert [(view.box, view.frame_size) for view in encoder.looks.views] == [
        ((0, 0, 4, 4), (12, 8)),
        ((6, 4, 12, 8), (12, 8)),
    ]


class Masks:
    """Only says that there are masks."""

    def of_frames(self, frames: Sequence[Frame], info: SourceInfo) -> list[NDArray[np.generic]]:
        raise NotImplementedError

    of_picture = of_frames


class Fine(Given):
    masks = Masks()  # type: ignore[assignment]
    fine: list[tuple[Frame, SourceInfo]]

    def encode_fine(self, frame: Frame, info: SourceInfo) -> RegionTokens:
        self.fine = [(frame, info)]
        return self.found


def test_masks_of_a_folder_are_those_of_the_file() -> None:
    encoder = Fine(TWO)
    found = regions_of(encoder, IMAGE, MergeConfig(0.1, 0.1), "/photos/a.jpg")
    ((frame, info),) = encoder.fine
    assert (frame.image.shape, frame.t_ns, frame.index) == ((2, 6, 3), 0, 0)
    assert info == SourceInfo("/photos/a.jpg", SourceKind.PICTURE, 12, 8, 0, "")
    assert not encoder.calls
    np.testing.assert_allclose(found.text, [[0.6, 0.8, 0, 0], [0, 1, 0, 0]], atol=1e-6)  # not merged
    regions_of(encoder, IMAGE, APART)
    assert len(encoder.calls) == 1  # a picture without a file
    plain = Given(TWO)
    regions_of(plain, IMAGE, APART, "/photos/a.jpg")
    assert len(plain.calls) == 1  # a file without masks


def test_what_is_meant_is_the_best_region_that_passes() -> None:
    seen = ground(Given(TWO), IMAGE, "key", APART)
    (thing,) = seen.things
    assert (seen.size, seen.nearest) == ((8, 12), pytest.approx(1))
    assert (thing.score, thing.box) == (pytest.approx(1), (6, 4, 12, 8))
    both = ground(Given(TWO), IMAGE, "key", APART, everything=True)
    assert [thing.box for thing in both.things] == [(6, 4, 12, 8), (0, 0, 4, 4)]
    assert [thing.score for thing in both.things] == pytest.approx([1, 0.8])


def test_nothing_passes_but_the_nearest_is_known() -> None:
    seen = ground(Given(TWO), IMAGE, "cup", APART, threshold=0.61)
    assert (seen.things, seen.nearest) == ((), pytest.approx(0.6))
    (thing,) = ground(Given(TWO), IMAGE, "cup", APART, threshold=0.59).things
    assert thing.box == (0, 0, 4, 4)
    nothing = ground(Given(regions(AXES[:0])), IMAGE, "cup", APART)
    assert (nothing.size, nothing.things, nothing.nearest) == ((8, 12), (), None)


def test_the_referring_encoder_grounds_and_says_if_whole_regions_count() -> None:
    faint = regions(AXES[:1], (0, 2, 0, 2))
    faint.masks[0, :2, 2:4] = 0.2
    encoder, other = Given(TWO), Given(faint)
    encoder.referring = lambda: other  # type: ignore[method-assign]
    assert [thing.box for thing in ground(encoder, IMAGE, "cup", APART).things] == [(0, 0, 4, 4)]
    other.whole_regions = True
    assert ground(encoder, IMAGE, "cup", APART).things[0].box[2] > 6
    assert not encoder.calls


def test_segments_are_labelled_by_what_passes_or_all_of_them() -> None:
    found = regions(np.array([[0.6, 0, 0.8, 0], [0, 0.2, 0.3, 0.93]], np.float32), (0, 2, 0, 2), (2, 4, 3, 6))
    names, encoder = ["pen", "key"], Given(found)
    labels = segment(encoder, IMAGE, names, APART)
    assert (labels.shape, labels.dtype) == ((8, 12), np.int32)
    assert (labels[0, 0], labels[7, 11], labels[0, 11]) == (0, -1, -1)
    closed = segment(encoder, IMAGE, names, APART, closed=True)
    assert (closed[0, 0], closed[7, 11], closed[0, 11]) == (0, 0, -1)
    assert segment(encoder, IMAGE, names, APART, threshold=0.81)[0, 0] == -1
    assert segment(encoder, IMAGE, ["key"], APART, threshold=0.15)[7, 11] == 0


def test_names_that_are_not_known_are_guessed_only_where_that_is_said() -> None:
    class Closed(Given):
        def reading(self, phrase: str) -> Reading:
            return Reading("", unknown=phrase) if phrase == "pen" else Reading(phrase)

    with pytest.raises(UnknownWordError):
        segment(Closed(TWO), IMAGE, ["pen", "key"], APART)
    assert segment(Closed(TWO), IMAGE, ["pen", "key"], APART, guess=True)[7, 11] == 1
    with pytest.raises(UnknownWordError):
        ground(Closed(TWO), IMAGE, "pen", APART)


def test_segments_and_things_are_of_the_masks_of_the_file() -> None:
    encoder = Fine(TWO)
    ground(encoder, IMAGE, "cup", APART, path="a.jpg")
    assert encoder.fine[0][1].uri == "a.jpg"
    segment(encoder, IMAGE, ["cup"], APART, path="b.jpg")
    assert encoder.fine[0][1].uri == "b.jpg"
    assert not encoder.calls


def test_a_heat_is_of_patches_where_there_are_any() -> None:
    class Patches(Given):
        has_patches = True

        def patches(self, images: Sequence[NDArray[np.uint8]]) -> Float32:
            assert [image.shape for image in images] == [(2, 6, 3)]
            return np.tile(np.array([0.6, 0.8, 0, 0], np.float32), (1, 2, 3, 1))

    found = cosine_map(Patches(TWO), IMAGE, AXES[1], APART)
    assert (found.shape, found.dtype) == ((2, 3), np.float32)
    assert found == pytest.approx(0.8)


def test_a_heat_of_regions_is_unknown_where_there_is_none() -> None:
    found = cosine_map(Given(TWO), IMAGE, AXES[0], APART)
    assert found.shape == (4, 6)
    assert found[:2, :2] == pytest.approx(0.6)
    assert found[2:, 3:] == pytest.approx(0)
    assert np.isnan(found).sum() == 24 - 4 - 6


def test_the_most_similar_region_counts_where_several_are() -> None:
    tokens = np.array([[0.6, 0.8, 0, 0], [0.8, 0.6, 0, 0]], np.float32)
    for order in ([0, 1], [1, 0]):
        found = by_regions(regions(tokens[order], (0, 1, 0, 2), (0, 1, 0, 2)), AXES[0])
        assert found[0, :2] == pytest.approx(0.8)
        assert np.isnan(found[1:]).all()
        assert found.dtype == np.float32
