"""Merge in the frame: exact groups, means, boxes; parity with recorded outputs of the authors' code."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vidmem.config import MergeConfig, preset
from vidmem.geometry import binarised, mask_boxes
from vidmem.indexer import components as _graph
from vidmem.indexer import merge as merging
from vidmem.indexer.merge import merge
from vidmem.records import Float32, RegionTokens

GOLDEN = Path(__file__).parents[1] / "golden" / "tren" / "merge.npz"
CASES = ["voronoi", "voronoi_with_singletons", "all_singletons", "chain40", "chain40_shuffled", "mask_or_token"]
CAPPED = {"chain40", "chain40_shuffled"}
"""Cases in which the authors' capped propagation cuts a chain, so that their outputs are not those of components."""


def components(visual: Any, masks: Any, config: MergeConfig) -> Any:
    """Groups of tokens with these masks `(n, h, w)`."""
    held = binarised(masks.reshape(len(masks), masks.shape[1] * masks.shape[2]), config.binarise)
    return merging.components(visual, held, masks.shape[1:], config)


def regions(visual: Float32, masks: Float32, text: Float32 | None = None) -> RegionTokens:
    n = len(visual)
    points = np.stack([np.arange(n), np.arange(n) + 0.5], axis=1).astype(np.float32)
    boxes = mask_boxes(masks, 640, 480) + np.float32(0.25)
    return RegionTokens(
        visual, visual[:, :2].copy() if text is None else text, masks, points, boxes, np.full(n, 0.125, np.float32)
    )


def plain_components(visual: Float32, masks: Float32, config: MergeConfig) -> NDArray[np.int64]:
    """The dense matrix and a walk from token to token: slow, and nothing in it to get wrong."""
    n = len(visual)
    norm = np.linalg.norm(visual, axis=1, keepdims=True)
    unit = visual / np.where(norm > 0, norm, 1)
    flat = masks.reshape(n, -1)
    peak = flat.max(axis=1, keepdims=True)
    held = (flat > config.binarise * peak).astype(np.float32)
    common = held @ held.T
    union = held.sum(1)[:, None] + held.sum(1) - common
    edges = (unit @ unit.T > np.float32(config.token_threshold)) | (
        common / np.maximum(union, 1) > np.float32(config.mask_threshold)
    )
    labels = np.full(n, -1, dtype=np.int64)
    for label, seed in enumerate(range(n)):
        if labels[seed] >= 0:
            continue
        stack = [seed]
        while stack:
            at = stack.pop()
            if labels[at] < 0:
                labels[at] = label
                stack += np.flatnonzero(edges[at] & (labels < 0)).tolist()
    return np.unique(labels, return_inverse=True)[1]


def cloud(seed: int, n: int, groups: int, width: int, grid: tuple[int, int]) -> tuple[Float32, Float32]:
    """Tokens and masks in loose groups, so that some pairs lie on either side of each threshold."""
    rng = np.random.default_rng(seed)
    group = rng.integers(0, groups, n)
    centre = rng.standard_normal((groups, width))
    visual = centre[group] + rng.uniform(0, 0.3, (n, 1)) * rng.standard_normal((n, width))
    base = rng.random((groups, *grid)) > 0.6
    flip = rng.random((n, *grid)) < rng.uniform(0, 0.15, (n, 1, 1))
    masks = (base[group] ^ flip) * rng.uniform(0.6, 1, (n, *grid))
    return visual.astype(np.float32), masks.astype(np.float32)


def chain(n: int, width: int) -> tuple[Float32, Float32]:
    """Tokens on an arc, each like its neighbours only, with masks that do not overlap."""
    angle = np.arange(n) * 0.2  # cos .2 = .980 > .975 > cos .4
    visual = np.zeros((n, width), dtype=np.float32)
    turn = (angle // 1.4).astype(int)  # on into a new plane before the arc comes back to its start
    step = (angle - turn * 1.4) / 1.4 * np.pi / 2
    visual[np.arange(n), turn] = np.cos(step)
    visual[np.arange(n), turn + 1] = np.sin(step)
    masks = np.zeros((n, n, 1), dtype=np.float32)
    masks[np.arange(n), np.arange(n)] = 1
    return visual, masks


@pytest.fixture(scope="module")
def golden() -> dict[str, NDArray[np.float32]]:
    with np.load(GOLDEN, allow_pickle=False) as file:
        return dict(file)


@pytest.mark.golden
@pytest.mark.parametrize("case", CASES)
def test_groups_are_those_of_the_golden_components(golden: dict[str, Float32], case: str) -> None:
    labels = components(golden[f"{case}__tokens"], golden[f"{case}__masks"], MergeConfig())
    np.testing.assert_array_equal(labels, golden[f"{case}__labels_true_cc"])


@pytest.mark.golden
@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("case", sorted(set(CASES) - CAPPED))
def test_merged_tokens_are_the_golden_ones(golden: dict[str, Float32], case: str, keep: bool) -> None:
    tokens = regions(golden[f"{case}__tokens"], golden[f"{case}__masks"], golden[f"{case}__text"])
    out = merge(tokens, MergeConfig(keep_singletons=keep), frame_width=128, frame_height=128)
    kind = f"{case}__keep_out" if keep else f"{case}__out"
    np.testing.assert_allclose(out.visual, golden[f"{kind}_tokens"], atol=1e-5)
    np.testing.assert_allclose(out.text, golden[f"{kind}_text"], atol=1e-5)
    np.testing.assert_allclose(out.masks, golden[f"{kind}_masks"], atol=1e-5)


@pytest.mark.golden
@pytest.mark.parametrize("case", sorted(CAPPED))
def test_a_chain_that_the_authors_cut_stays_whole(golden: dict[str, Float32], case: str) -> None:
    tokens = regions(golden[f"{case}__tokens"], golden[f"{case}__masks"], golden[f"{case}__text"])
    assert len(np.unique(golden[f"{case}__labels_ref"])) > 1
    out = merge(tokens, MergeConfig(), frame_width=128, frame_height=128)
    np.testing.assert_allclose(out.visual, tokens.visual.mean(axis=0, keepdims=True), atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 120),
    groups=st.integers(1, 40),
    width=st.sampled_from([2, 16, 300]),
    grid=st.sampled_from([(1, 1), (4, 4), (9, 5), (16, 12)]),
)
def test_groups_are_those_of_the_dense_graph(seed: int, n: int, groups: int, width: int, grid: tuple[int, int]) -> None:
    visual, masks = cloud(seed, n, groups, width, grid)
    config = MergeConfig()
    np.testing.assert_array_equal(components(visual, masks, config), plain_components(visual, masks, config))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 80))
def test_groups_do_not_depend_on_the_order_of_tokens(seed: int, n: int) -> None:
    visual, masks = cloud(seed, n, 12, 24, (8, 8))
    order = np.random.default_rng(seed).permutation(n)
    labels, shuffled = components(visual, masks, MergeConfig()), components(visual[order], masks[order], MergeConfig())
    # The same partition: each label of the one goes with a single label of the other.
    pairs = {(int(a), int(b)) for a, b in zip(labels[order], shuffled, strict=True)}
    assert len(pairs) == labels.max() + 1 == shuffled.max() + 1


@pytest.mark.parametrize("block", [3, 64])
def test_groups_do_not_depend_on_the_blocks(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    visual, masks = cloud(5, 150, 20, 300, (16, 16))
    want = plain_components(visual, masks, MergeConfig())
    monkeypatch.setattr(_graph, "BLOCK", block)
    monkeypatch.setattr(_graph, "FEW", 2)
    monkeypatch.setattr(_graph, "CROWDED", 1)
    np.testing.assert_array_equal(components(visual, masks, MergeConfig()), want)


@pytest.mark.parametrize("n", [2, 40, 600])
def test_a_chain_of_any_length_is_one_group(n: int) -> None:
    visual, masks = chain(n, 2 + n)
    order = np.random.default_rng(n).permutation(n)
    assert components(visual[order], masks[order], MergeConfig(token_threshold=0.97)).max() == 0


def test_a_chain_with_a_missing_link_fails_to_join() -> None:
    visual, masks = chain(41, 44)
    keep = np.arange(41) != 20
    np.testing.assert_array_equal(
        components(visual[keep], masks[keep], MergeConfig(token_threshold=0.97)), np.repeat([0, 1], 20)
    )


def test_both_thresholds_are_exclusive() -> None:
    masks = np.zeros((2, 1, 8), dtype=np.float32)
    masks[0, 0, :4] = masks[1, 0, :5] = 1  # IoU 4 / 5
    apart = np.eye(2, dtype=np.float32)
    assert components(apart, masks, MergeConfig(mask_threshold=0.8)).tolist() == [0, 1]
    assert components(apart, masks, MergeConfig(mask_threshold=0.79)).tolist() == [0, 0]
    same = np.array([[1, 0], [2, 0]], dtype=np.float32)  # cosine 1
    alone = np.eye(2, dtype=np.float32)[:, None]
    assert components(same, alone, MergeConfig(token_threshold=1.0)).tolist() == [0, 1]
    assert components(same, alone, MergeConfig(token_threshold=0.999)).tolist() == [0, 0]


def test_zero_tokens_and_empty_masks_fail_to_join() -> None:
    zero = np.zeros((3, 4), dtype=np.float32)
    assert components(zero, np.zeros((3, 2, 2), np.float32), MergeConfig()).tolist() == [0, 1, 2]


def test_a_frame_that_is_all_alike_is_one_group() -> None:
    visual = np.ones((700, 300), dtype=np.float32)
    assert components(visual, np.ones((700, 8, 8), np.float32), MergeConfig()).max() == 0


def test_a_group_takes_the_point_of_its_largest_mask_and_the_box_of_its_merged_mask() -> None:
    masks = np.zeros((3, 4, 8), dtype=np.float32)
    masks[0, 1, 2:4] = 1
    masks[1, 1:3, 2:6] = 1  # the largest
    masks[2, 0, 0] = 1
    visual = np.array([[1, 0], [3, 0], [0, 1]], dtype=np.float32)
    tokens = regions(visual, masks)
    out = merge(tokens, MergeConfig(), frame_width=640, frame_height=480)
    np.testing.assert_array_equal(out.visual, [[2, 0], [0, 1]])
    np.testing.assert_array_equal(out.points[0], tokens.points[1])
    # The mean is 1 in the two shared patches and .5, not over .5, in the rest: right and below, the edge runs
    # through their centres.
    np.testing.assert_array_equal(out.boxes[0], [160, 120, 320 + 40, 240 + 60])
    assert out.area[0] == pytest.approx(2 / 32)
    # A group of one is untouched, box and area as the encoder gave them.
    for name in ("visual", "text", "masks", "points", "boxes", "area"):
        np.testing.assert_array_equal(getattr(out, name)[1], getattr(tokens, name)[2])


def test_the_paper_drops_groups_of_one_unless_all_are() -> None:
    paper = preset("paper").merge
    masks = np.zeros((3, 1, 6), dtype=np.float32)
    masks[0, 0, 0] = masks[1, 0, 1:3] = masks[2, 0, 3:6] = 1
    visual = np.array([[1, 0], [0, 1], [0, 2]], dtype=np.float32)
    out = merge(regions(visual, masks), paper, frame_width=6, frame_height=1)
    np.testing.assert_array_equal(out.visual, [[0, 1.5]])
    alone = np.eye(3, dtype=np.float32)
    out = merge(regions(alone, masks), paper, frame_width=6, frame_height=1)
    np.testing.assert_array_equal(out.visual, alone[2:])


def test_merge_leaves_its_input_alone() -> None:
    visual, masks = cloud(1, 60, 5, 16, (8, 8))
    tokens = regions(visual, masks)
    before = tuple(getattr(tokens, name).copy() for name in ("visual", "text", "masks", "points", "boxes", "area"))
    merge(tokens, MergeConfig(), frame_width=64, frame_height=64)
    for name, was in zip(("visual", "text", "masks", "points", "boxes", "area"), before, strict=True):
        np.testing.assert_array_equal(getattr(tokens, name), was)


def test_no_regions_merge_to_none() -> None:
    none = regions(np.zeros((0, 4), np.float32), np.zeros((0, 2, 2), np.float32))
    assert len(merge(none, MergeConfig(), frame_width=64, frame_height=64)) == 0
    assert components(none.visual, none.masks, MergeConfig()).shape == (0,)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["visual", "masks"])
def test_merge_fails_on_damaged_tokens(value: float, where: str) -> None:
    visual, masks = cloud(1, 5, 2, 16, (8, 8))
    (visual if where == "visual" else masks)[3].flat[0] = value
    with pytest.raises(ValueError, match="not finite"):
        components(visual, masks, MergeConfig())


def test_mask_boxes_are_pixels_with_exclusive_ends() -> None:
    masks = np.zeros((3, 4, 8), dtype=np.float32)
    masks[0, 1:3, 2:5] = 0.02  # max-normalised: how strong does not matter
    masks[1, 3, 7] = 1
    masks[1, 0, 0] = 0.5  # not over half the maximum
    np.testing.assert_array_equal(
        mask_boxes(masks, 640, 480), [[160, 120, 400, 360], [560, 360, 640, 480], [0, 0, 0, 0]]
    )


def test_like_things_apart_stay_apart_when_they_must_touch() -> None:
    """Two bottles and, between them and beside the first, a part of it: alike tokens on a row of eight patches."""
    masks = np.zeros((4, 2, 8), np.float32)
    masks[0, :, 0], masks[1, :, 1], masks[2, 0, 4], masks[3, 1, 5] = 1, 1, 1, 1  # the last two meet at a corner
    visual = np.ones((4, 3), np.float32)
    assert components(visual, masks, MergeConfig()).tolist() == [0, 0, 0, 0]
    assert components(visual, masks, MergeConfig(touching=True)).tolist() == [0, 0, 1, 1]


def test_masks_that_meet_are_no_reason_to_join_what_is_not_alike() -> None:
    masks = np.ones((2, 2, 2), np.float32)
    masks[1, 0] = 0  # half of the other: an IoU of .5
    assert components(np.eye(2, dtype=np.float32), masks, MergeConfig(touching=True)).tolist() == [0, 1]


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 30))
def test_touching_splits_groups_and_never_joins(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    visual = rng.standard_normal((3, 4), dtype=np.float32)[rng.integers(0, 3, n)]
    masks = (rng.random((n, 4, 5)) > 0.8).astype(np.float32)
    anywhere, near = (components(visual, masks, MergeConfig(touching=touching)) for touching in (False, True))
    for group in np.unique(near):
        assert len(np.unique(anywhere[near == group])) == 1


def test_confidence_is_the_largest_and_text_the_mean_of_a_group() -> None:
    visual = np.array([[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
    masks = np.zeros((5, 1, 5), np.float32)
    masks[np.arange(5), 0, np.arange(5)] = 1
    text = np.arange(10, dtype=np.float32).reshape(5, 2)
    tokens = replace(regions(visual, masks, text), confidence=np.array([0.2, 0.9, 0.6, 0.3, 0.5], np.float32))
    out = merge(tokens, MergeConfig(), frame_width=50, frame_height=10)
    np.testing.assert_array_equal(out.text, [[2, 3], [4, 5], [8, 9]])
    np.testing.assert_array_equal(out.confidence, np.array([0.6, 0.9, 0.5], np.float32))
    np.testing.assert_array_equal(out.masks[0, 0], [0.5, 0, 0.5, 0, 0])
    np.testing.assert_array_equal(out.boxes[0], [0, 0, 30, 10])
    np.testing.assert_array_equal(out.area, np.array([0.4, 0.4, 0.125], np.float32))
    for name in ("visual", "text", "masks", "points", "boxes", "area", "confidence"):
        assert getattr(out, name).dtype == np.float32


def test_of_masks_as_large_the_first_gives_the_point() -> None:
    masks = np.ones((3, 1, 4), np.float32)
    masks[2] = 0.5
    tokens = regions(np.ones((3, 2), np.float32), masks)
    out = merge(tokens, MergeConfig(), frame_width=4, frame_height=1)
    np.testing.assert_array_equal(out.points, tokens.points[:1])


def test_thresholds_above_one_join_nothing_and_leave_the_tokens_as_they_are() -> None:
    tokens = regions(np.ones((2, 3), np.float32), np.ones((2, 2, 2), np.float32))
    for token, mask, groups in ((1.01, 1.01, 2), (1.0, 1.01, 2), (0.9, 1.01, 1), (1.01, 0.9, 1)):
        out = merge(tokens, MergeConfig(token, mask), frame_width=4, frame_height=4)
        assert len(out) == groups
        assert (out is tokens) is (token > 1 and mask > 1)
    paper = MergeConfig(1.01, 1.01, keep_singletons=False)
    assert len(merge(tokens, paper, frame_width=4, frame_height=4)) == 1  # all are single: the largest stays


def test_binarise_says_what_a_merged_mask_holds() -> None:
    masks = np.zeros((2, 1, 4), np.float32)
    masks[0, 0], masks[1, 0] = [1, 1, 0, 0], [1, 1, 1, 0]
    tokens = regions(np.ones((2, 3), np.float32), masks)
    for share, area in ((0.4, 0.75), (0.5, 0.5), (0.6, 0.5)):
        out = merge(tokens, MergeConfig(binarise=share), frame_width=4, frame_height=1)
        assert out.area.tolist() == [area]
        assert out.boxes[0, 2] == mask_boxes(out.masks, 4, 1, binarise=share)[0, 2]


def test_labels_are_int64_from_zero_in_order_of_appearance() -> None:
    visual = np.eye(3, dtype=np.float32)[[2, 0, 2, 1, 0]]
    labels = components(visual, np.zeros((5, 1, 1), np.float32), MergeConfig())
    assert (labels.tolist(), labels.dtype) == ([0, 1, 0, 2, 1], np.int64)
    none = components(visual[:0], np.zeros((0, 1, 1), np.float32), MergeConfig())
    assert (none.shape, none.dtype) == ((0,), np.int64)


@pytest.mark.parametrize("other", [(0, 0), (0, 2), (1, 3), (2, 0), (2, 2), (2, 4), (1, 0), (1, 2), (0, 1), (4, 1)])
def test_masks_touch_in_all_eight_directions_and_no_further(other: tuple[int, int]) -> None:
    """One patch at row 1, column 1, on a grid of 5 x 9."""
    masks = np.zeros((2, 5, 9), np.float32)
    masks[0, 1, 1] = masks[1, other[0], other[1]] = 1
    touching = max(abs(other[0] - 1), abs(other[1] - 1)) <= 1
    for order in (masks, masks[::-1], masks[:, ::-1, ::-1]):
        labels = components(np.ones((2, 3), np.float32), order, MergeConfig(touching=True))
        assert labels.tolist() == ([0, 0] if touching else [0, 1])


def test_more_pairs_than_are_gathered_at_a_time_have_the_same_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    visual, masks = cloud(3, 90, 12, 300, (8, 8))
    for config in (MergeConfig(), MergeConfig(touching=True), MergeConfig(token_threshold=0.9, mask_threshold=0.5)):
        want = components(visual, masks, config)
        with monkeypatch.context() as patch:
            patch.setattr(merging, "GATHER", 7)
            np.testing.assert_array_equal(components(visual, masks, config), want)


@pytest.mark.parametrize("gather", [3, 4096])
def test_inner_products_of_few_pairs_and_of_many_are_those_of_their_rows(
    monkeypatch: pytest.MonkeyPatch, gather: int
) -> None:
    monkeypatch.setattr(merging, "GATHER", gather)
    rows = np.random.default_rng(0).integers(-3, 4, (60, 5)).astype(np.float32)
    full = rows @ rows.T
    few = np.array([[2, 9], [2, 50], [9, 58], [17, 18], [20, 21], [20, 40], [21, 22], [29, 30], [30, 59]])
    many = np.array([(i, j) for i in range(5, 30) for j in range(i + 1, 60)])
    for pairs in (few, many, few[:0]):
        i, j = pairs.T
        dots = merging._dots(rows, i, j)
        assert (dots.dtype, dots.shape) == (np.float32, (len(pairs),))
        np.testing.assert_array_equal(dots, full[i, j])


@pytest.mark.parametrize(("grid", "cells"), [((1, 1), 1), ((2, 3), 6), ((8, 8), 64), ((9, 16), 64), ((16, 3), 24)])
def test_the_cells_of_a_sketch_are_orthonormal_and_cover_the_grid(grid: tuple[int, int], cells: int) -> None:
    projection = merging._cells(grid)
    assert (projection.shape, projection.dtype) == ((grid[0] * grid[1], cells), np.float32)
    np.testing.assert_allclose(projection.T @ projection, np.eye(cells), atol=1e-6)
    assert ((projection > 0).sum(axis=1) == 1).all()
    sizes = (projection > 0).sum(axis=0)
    assert sizes.max() - sizes.min() <= max(1, -(-grid[0] // 8) * -(-grid[1] // 8) - 1)


def test_a_wide_token_is_sketched_by_the_coordinates_that_vary_most(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Float32] = []
    link_similar = merging.link_similar

    def watched(roots: Any, sketch: Float32, bound: Float32, test: Any) -> None:
        seen.append(sketch)
        link_similar(roots, sketch, bound, test)

    monkeypatch.setattr(merging, "link_similar", watched)
    masks = np.zeros((40, 1, 1), np.float32)
    for width, sketched in ((256, 256), (257, 128)):
        visual = np.full((40, width), 0.001, np.float32)
        visual[:, 100:130] = np.random.default_rng(0).standard_normal((40, 30))
        components(visual, masks, MergeConfig())
        tokens = seen[-1]
        assert tokens.shape == (40, sketched)
        np.testing.assert_allclose((tokens**2).sum(axis=1), 1, atol=1e-3)  # almost all of a token
