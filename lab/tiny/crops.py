"""Degradation of views as in real video: small, blurred, shifted, compressed."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter


def shaken(box: Sequence[float], rng: np.random.Generator, most: float = 0.12) -> tuple[float, ...]:
    """Move each side of the box by up to the share `most` of its length."""
    x0, y0, x1, y1 = box
    w, h = x1 - x0, y1 - y0
    moved = rng.uniform(-most, most, 4) * (w, h, w, h)
    return tuple(float(v) for v in np.array(box) + moved)


def degraded(view: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Degrade a view as if taken by a poorer camera from further away."""
    picture = Image.fromarray(view)
    if rng.random() < 0.5:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    longest = float(np.exp(rng.uniform(np.log(24), np.log(220))))
    scale = longest / max(picture.size)
    if scale < 1:
        size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
        picture = picture.resize(size, Image.Resampling.BOX if rng.random() < 0.3 else Image.Resampling.BICUBIC)
    if rng.random() < 0.4:
        picture = picture.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.3, 1.5))))
    if rng.random() < 0.15:  # smeared by a turn
        width = max(4, round(picture.width / rng.uniform(1.5, 5)))
        narrow = picture.resize((width, picture.height), Image.Resampling.BILINEAR)
        picture = narrow.resize(picture.size, Image.Resampling.BILINEAR)
    values = np.asarray(picture, np.float32)
    gain = np.exp(rng.normal(0, 0.15)) * np.exp(rng.normal(0, 0.05, 3))
    values = ((values - 128) * rng.uniform(0.75, 1.2) + 128) * gain + rng.normal(0, 6)
    picture = Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))
    if rng.random() < 0.6:
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=int(rng.integers(30, 92)))
        picture = Image.open(buffer).convert("RGB")
    return np.asarray(picture)
