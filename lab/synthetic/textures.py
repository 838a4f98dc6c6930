"""Random surfaces: noise, wood, wallpaper, floors. All arrays are `(H, W)` or `(H, W, 3)` float32, colours in [0,
1]."""

from __future__ import annotations

import colorsys

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[np.float32]
Colour = tuple[float, float, float]
Rng = np.random.Generator


def colour(
    rng: Rng,
    hue: tuple[float, float] = (0, 1),
    sat: tuple[float, float] = (0.1, 0.4),
    val: tuple[float, float] = (0.5, 0.9),
) -> Colour:
    """A random colour with hue, saturation and value inside the given ranges."""
    return colorsys.hsv_to_rgb(rng.uniform(*hue) % 1, rng.uniform(*sat), rng.uniform(*val))


def byte(c: Colour, gain: float = 1.0) -> tuple[int, int, int]:
    """The colour times `gain` as 0-255 integers, for PIL."""
    r, g, b = (int(min(255, max(0, v * gain * 255))) for v in c)
    return r, g, b


def to_image(a: Array) -> Image.Image:
    """`(H, W, 3)` in [0, 1] as an RGB picture."""
    return Image.fromarray((np.clip(a, 0, 1) * 255 + 0.5).astype(np.uint8))


def noise(rng: Rng, h: int, w: int, cell_h: float, cell_w: float) -> Array:
    """Smooth noise `(h, w)`, about N(0, 1) at its knots, with bumps of cell_h x cell_w pixels."""
    gh, gw = max(2, int(h / cell_h) + 2), max(2, int(w / cell_w) + 2)
    grid = Image.fromarray(rng.standard_normal((gh, gw), dtype=np.float32))
    return np.asarray(grid.resize((w, h), Image.Resampling.BICUBIC), np.float32)


def wood(rng: Rng, h: int, w: int, tint: Colour) -> Array:
    """Planed wood with the grain along x."""
    warp = noise(rng, h, w, 90, 400) * 1.2 + np.linspace(0, h / 14, h, dtype=np.float32)[:, None]
    grain = 0.05 * np.sin(warp * 2 * np.pi) + 0.04 * noise(rng, h, w, 2.5, 160) + 0.03 * noise(rng, h, w, 1.5, 40)
    return np.asarray((1 + grain)[..., None] * np.asarray(tint, np.float32), np.float32)


def fabric(rng: Rng, h: int, w: int, tint: Colour) -> Array:
    """Cloth: fine weave and soft folds."""
    gain = 1 + 0.05 * noise(rng, h, w, 2, 2) + 0.05 * noise(rng, h, w, 60, 90)
    return np.asarray(gain[..., None] * np.asarray(tint, np.float32), np.float32)


def _pattern(rng: Rng, kind: str, yy: Array, xx: Array) -> Array:
    """Return the share of the wallpaper's second colour in [0, 1] at each pixel."""
    p = float(rng.uniform(46, 120))
    if kind == "stripes":
        return np.asarray((np.sin(xx * 2 * np.pi / p) > rng.uniform(-0.3, 0.7)) * 0.6, np.float32)
    if kind == "dots":
        odd = (np.floor(yy / p) % 2) * 0.5
        u, v = (xx / p + odd) % 1 - 0.5, (yy / p) % 1 - 0.5
        return np.asarray(np.clip((0.18 - np.hypot(u, v)) * p / 2, 0, 1) * 0.7, np.float32)
    if kind == "diamonds":
        u, v = np.abs(xx / p % 1 - 0.5), np.abs(yy / (1.5 * p) % 1 - 0.5)
        return np.asarray(np.clip(1 - np.abs(u + v - 0.5) * p / 2.5, 0, 1) * 0.7, np.float32)
    if kind == "damask":
        s = np.sin(xx * 2 * np.pi / p + 1.6 * np.sin(yy * 2 * np.pi / p)) * np.sin(yy * np.pi / p)
        return np.asarray(np.clip(s * 3 - 0.6, 0, 1) * 0.5, np.float32)
    if kind == "bricks":
        row = np.floor(yy / 34)
        u, v = (xx + (row % 2) * 44) % 88, yy % 34
        return np.asarray(((u < 5) | (v < 5)) * 1.0, np.float32)
    return np.zeros((yy.shape[0], xx.shape[1]), np.float32)


def wall(rng: Rng, h: int, w: int) -> Array:
    """A papered, painted or brick wall, with plaster noise and a soft gradient."""
    kind = str(rng.choice(["plain", "plain", "stripes", "dots", "diamonds", "damask", "bricks"]))
    base = colour(rng, sat=(0.05, 0.45), val=(0.62, 0.95))
    if kind == "bricks":
        base = colour(rng, hue=(0.0, 0.09), sat=(0.25, 0.5), val=(0.5, 0.75))
    second = tuple(min(1.0, v * rng.uniform(0.72, 0.9)) if kind != "bricks" else 0.78 for v in base)
    yy = np.arange(h, dtype=np.float32)[:, None]
    xx = np.arange(w, dtype=np.float32)[None, :]
    share = _pattern(rng, kind, yy, xx)[..., None]
    a = np.asarray(base, np.float32) * (1 - share) + np.asarray(second, np.float32) * share
    gain = 1 + 0.025 * noise(rng, h, w, 180, 260) + 0.012 * noise(rng, h, w, 3, 3) - 0.10 * yy / h
    return np.asarray(a * gain[..., None], np.float32)


def floor(rng: Rng, h: int, w: int, centre: float) -> Array:
    """A floor `(h, w, 3)` seen from standing height; its lines run to a vanishing point above x = `centre`."""
    kind = str(rng.choice(["planks", "boards", "tiles", "carpet"]))
    warm = colour(rng, hue=(0.05, 0.11), sat=(0.3, 0.6), val=(0.42, 0.7))
    base = warm if kind in ("planks", "boards") else colour(rng, sat=(0.05, 0.45), val=(0.4, 0.8))
    # A plane seen from above: the depth of a row goes with 1 / (row + offset), and so does the scale of x.
    far = 260.0
    z = (h + far) / (np.arange(h, dtype=np.float32)[:, None] + far)
    u = (np.arange(w, dtype=np.float32)[None, :] - centre) * z
    v = np.broadcast_to(z * 520, u.shape)
    if kind == "boards":
        u, v = v * 1.0, u
    gain = np.ones(u.shape, np.float32)
    if kind in ("planks", "boards"):
        width = float(rng.uniform(70, 110))
        plank = np.floor(u / width).astype(np.int64) % 61
        gain *= (1 + 0.10 * rng.standard_normal(61, dtype=np.float32))[plank]
        joint = (v + rng.uniform(0, 500, 61).astype(np.float32)[plank]) % 480
        gain *= np.where((u % width < 3.5) | (joint < 4), np.float32(0.72), np.float32(1))
        gain *= 1 + 0.04 * noise(rng, h, w, 3, 60)
    elif kind == "tiles":
        side = float(rng.uniform(110, 170))
        odd = (np.floor(u / side) + np.floor(v / side)) % 2
        gain *= 1 - odd * np.float32(rng.uniform(0, 0.35))
        gain *= np.where((u % side < 5) | (v % side < 5), np.float32(0.75), np.float32(1))
    else:
        gain *= 1 + 0.07 * noise(rng, h, w, 2, 2) + 0.04 * noise(rng, h, w, 20, 50)
    shade = 0.82 + 0.18 * np.linspace(0, 1, h, dtype=np.float32)[:, None]
    gain = gain * shade * (1 + 0.02 * noise(rng, h, w, 60, 200))
    return np.asarray(gain[..., None] * np.asarray(base, np.float32), np.float32)
