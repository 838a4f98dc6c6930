"""Merge region tokens of a frame that found the same region (T-REN section 3.1, "Merge").

Two tokens are joined when the cosine of their visual tokens exceeds tau_token or the IoU of their masks exceeds
tau_mask. A group is a connected component of that graph, exactly: chains of any length join.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..config import MergeConfig
from ..geometry import binarised, mask_boxes
from ..records import RegionTokens
from .components import Float32, Rows, link_similar, sketch_bound

TOKEN_SKETCH = 128
"""Coordinates of a token in its sketch: an eighth of the work at 1024-d; narrow tokens are used whole."""

MASK_SKETCH = 8
"""A mask's sketch is its mass on a grid of this many cells a side."""

GATHER = 4096
"""Pairs of full rows gathered at a time, so that the copies stay in the cache."""

BITS = np.array([byte.bit_count() for byte in range(256)], dtype=np.uint8)
bit_count = getattr(np, "bitwise_count", BITS.__getitem__)
"""Set bits of uint8; NumPy has its own from 2.0."""


def merge(tokens: RegionTokens, config: MergeConfig, *, frame_width: int, frame_height: int) -> RegionTokens:
    """Return the regions of a frame, each once, in the order of their first tokens.

    visual, text and mask of a group are plain means over its members (the paper's average pooling; the mean of the text
    tokens is the authors' code); its confidence is the largest of theirs. Its point is that of the member with the
    largest mask (by the sum of its values; the first of equals): a mean of points can lie beside a bent thing, a
    member's own point cannot. Its box and area are those of its merged mask.

    A group of one comes out unchanged, box and area included, which an encoder may know finer than the patch grid.
    Without `keep_singletons` it is dropped, unless all groups are of one: then the one with the largest mask stays.

    Raises:
        ValueError: a visual token or mask is not finite.
    """
    if not len(tokens) or (min(config.token_threshold, config.mask_threshold) > 1 and config.keep_singletons):
        return tokens  # nothing can be joined
    flat = tokens.masks.reshape(len(tokens), -1)
    held = binarised(flat, config.binarise)
    mass = flat.sum(axis=1)
    labels = components(tokens.visual, held, tokens.masks.shape[1:], config)
    size = np.bincount(labels)
    # Members side by side, group after group, in each the largest mask first (the sort is stable).
    order = np.lexsort((-mass, labels))
    start = np.cumsum(size) - size

    if not config.keep_singletons:
        if size.max() == 1:
            return tokens.take(np.array([np.argmax(mass)]))
        start, size = start[size > 1], size[size > 1]
    merged = tokens.take(order[start])
    many = np.flatnonzero(size > 1)
    if len(many):
        begin, end = start[many], start[many] + size[many]
        for mean, each in (
            (merged.visual, tokens.visual),
            (merged.text, tokens.text),
            (merged.masks, tokens.masks),
        ):
            mean[many] = _means(each[order], begin, end)
        confidence = tokens.confidence[order]
        merged.confidence[many] = [confidence[a:b].max() for a, b in zip(begin.tolist(), end.tolist(), strict=True)]
        masks = merged.masks[many]
        merged.boxes[many] = mask_boxes(masks, frame_width, frame_height, binarise=config.binarise)
        merged.area[many] = binarised(masks.reshape(len(many), -1), config.binarise).mean(axis=1)
    return merged


def _means(rows: Float32, begin: Rows, end: Rows) -> Float32:
    """Return the means `(g, ...)` of the runs begin:end `(g,)` of `rows`.

    It is a loop over the runs: np.add.reduceat along the first axis takes 20 times as long as one reduction per run.
    """
    sums = np.empty((len(begin), *rows.shape[1:]), dtype=np.float32)
    for run, a, b in zip(sums, begin.tolist(), end.tolist(), strict=True):
        np.add.reduce(rows[a:b], axis=0, out=run)
    sums /= (end - begin).astype(np.float32).reshape(-1, *[1] * (rows.ndim - 1))
    return sums


def components(
    visual: Float32, held: NDArray[np.bool_], grid: tuple[int, ...], config: MergeConfig
) -> NDArray[np.int64]:
    """Return the group of each token, `(n,)`, numbered from 0 in order of first appearance.

    Both thresholds are exclusive. A zero token and an empty mask are similar to no other.

    Args:
        visual: `(n, D)` float32, any norm.
        held: `(n, h * w)`, the patches that each mask holds.
        grid: (h, w).
        config: The thresholds.

    Raises:
        ValueError: a token is not finite.
    """
    roots: Rows = np.arange(len(visual))
    if not len(roots):
        return roots.astype(np.int64)
    # Masks first: their pairs are cheaper to test, and settle most pairs of tokens.
    _link_masks(roots, held, grid, config.mask_threshold)
    _link_tokens(roots, visual, config.token_threshold, _touch(held, grid) if config.touching else None)
    return np.unique(roots, return_inverse=True)[1].astype(np.int64, copy=False)


def _link_masks(roots: Rows, held: NDArray[np.bool_], grid: tuple[int, ...], threshold: float) -> None:
    """Join rows whose IoU exceeds the threshold t: with areas a_i, a_j and intersection x_i . x_j,

    x_i . x_j / (a_i + a_j - x_i . x_j) > t   <=>   x_i . x_j > (a_i + a_j) t / (1 + t).
    """
    bits = np.packbits(held, axis=1)
    area = _ones(bits)
    square = area.astype(np.float32)
    sketch = held.astype(np.float32) @ _cells(grid)
    bound = sketch_bound(sketch, square, square * np.float32(threshold / (1 + threshold)))

    def test(i: Rows, j: Rows) -> NDArray[np.bool_]:
        common = np.empty(len(i), dtype=np.int64)
        for k in range(0, len(i), GATHER):
            part = slice(k, k + GATHER)
            common[part] = _ones(bits[i[part]] & bits[j[part]])
        union = area[i] + area[j] - common
        # float32 of whole numbers, as the authors divide: 4 / 5 is not over .8.
        iou = common.astype(np.float32) / np.maximum(union, 1).astype(np.float32)
        return np.asarray(iou > np.float32(threshold))

    link_similar(roots, sketch, bound, test)


def _ones(bits: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Count the set bits `(n,)` of packed rows `(n, bytes)`."""
    return np.asarray(bit_count(bits).sum(axis=1, dtype=np.int64))


def _cells(grid: tuple[int, ...]) -> Float32:
    """Make an orthonormal projection `(h * w, cells)` of a grid (h, w) onto means over MASK_SKETCH^2 cells."""
    h, w = grid
    y, x = np.arange(h) * min(h, MASK_SKETCH) // h, np.arange(w) * min(w, MASK_SKETCH) // w
    cell = (y[:, None] * (x[-1] + 1) + x[None, :]).ravel()
    one_hot = np.asarray(cell[:, None] == np.arange(cell[-1] + 1), dtype=np.float32)
    return np.asarray(one_hot / np.sqrt(one_hot.sum(axis=0)), dtype=np.float32)


def _touch(held: NDArray[np.bool_], grid: tuple[int, ...]) -> Callable[[Rows, Rows], NDArray[np.bool_]]:
    """Make a test for whether the masks of rows i and j overlap or are neighbours, corners included."""
    masks = held.reshape(len(held), *grid)
    wide = masks.copy()
    wide[:, 1:] |= masks[:, :-1]
    wide[:, :-1] |= masks[:, 1:]
    tall = wide.copy()
    wide[:, :, 1:] |= tall[:, :, :-1]
    wide[:, :, :-1] |= tall[:, :, 1:]
    grown, bits = (np.packbits(m.reshape(held.shape), axis=1) for m in (wide, masks))

    def test(i: Rows, j: Rows) -> NDArray[np.bool_]:
        out = np.empty(len(i), dtype=np.bool_)
        for k in range(0, len(i), GATHER):
            part = slice(k, k + GATHER)
            out[part] = (grown[i[part]] & bits[j[part]]).any(axis=1)
        return out

    return test


def _link_tokens(
    roots: Rows, visual: Float32, threshold: float, touch: Callable[[Rows, Rows], NDArray[np.bool_]] | None
) -> None:
    """Join rows whose cosine exceeds the threshold and, if it is given, that pass `touch`."""
    norm = np.sqrt(np.einsum("ij,ij->i", visual, visual))
    if not np.isfinite(norm).all():
        raise ValueError("a region token holds a value that is not finite; the encoder's output is damaged")
    unit = visual / np.maximum(norm, np.finfo(np.float32).tiny)[:, None]
    sketch = unit
    if unit.shape[1] > 2 * TOKEN_SKETCH:
        # Any coordinates are an orthogonal projection; those that vary most separate tokens soonest.
        spread = unit[:: max(1, len(unit) // 256)].var(axis=0)
        sketch = unit[:, np.argpartition(spread, -TOKEN_SKETCH)[-TOKEN_SKETCH:]]
    square = np.asarray(norm > 0, dtype=np.float32)
    bound = sketch_bound(sketch, square, np.full(len(unit), threshold / 2, dtype=np.float32))

    def test(i: Rows, j: Rows) -> NDArray[np.bool_]:
        edge = np.asarray(_dots(unit, i, j) > np.float32(threshold))
        if touch is not None:
            edge[edge] = touch(i[edge], j[edge])
        return edge

    link_similar(roots, sketch, bound, test)


def _dots(rows: Float32, i: Rows, j: Rows) -> Float32:
    """Return inner products `(P,)` of rows i `(P,)` and j `(P,)`, i ascending and j > i."""
    dots = np.empty(len(i), dtype=np.float32)
    if not len(i):
        return dots
    low, high = i[0], i[-1] + 1
    if len(i) * 16 > (high - low) * (len(rows) - low):
        # So many pairs that the whole block by matrix product is cheaper than row by row.
        block = rows[low:high] @ rows[low:].T
        return np.asarray(block[i - low, j - low])
    for k in range(0, len(i), GATHER):
        part = slice(k, k + GATHER)
        np.einsum("ij,ij->i", rows[i[part]], rows[j[part]], out=dots[part])
    return dots
