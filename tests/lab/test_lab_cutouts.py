"""Things cut out of photographs, and where a photo of one thing has it."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageDraw

from lab.photos import CUT_SIDE, Photo, Region, cutouts, middle

BOX = (40.0, 24.0, 120.0, 96.0)
ROUND = tuple(float(v) for a in np.linspace(0, 6.2, 24) for v in (80 + 40 * np.cos(a), 60 + 36 * np.sin(a)))


def photo(name: str = "cup", polygons: tuple[tuple[float, ...], ...] = (ROUND,), scale: int = 1) -> Photo:
    image = Image.new("RGB", (160 * scale, 120 * scale), (40, 90, 60))
    ImageDraw.Draw(image).ellipse([v * scale for v in BOX], fill=(220, 30, 30))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=95)
    box = tuple(v * scale for v in BOX)
    outlines = tuple(tuple(v * scale for v in outline) for outline in polygons)
    region = Region((box[0], box[1], box[2], box[3]), name, outlines)
    return Photo("coco_cc", name, out.getvalue(), image.size, [region], False)


def test_cutouts_are_things_with_an_outline() -> None:
    found = cutouts([photo(), photo(polygons=()), photo("dog")], most=1)
    assert sorted(d.name for d in found) == ["cup", "dog"]
    for drawing in found:
        assert drawing.image.mode == "RGBA"
        alpha = np.asarray(drawing.image.getchannel("A"))
        assert alpha[alpha.shape[0] // 2, alpha.shape[1] // 2] == 255
        assert alpha[0, 0] < 64
    assert len(cutouts([photo(), photo()], most=1)) == 1
    assert len(cutouts([photo(), photo()], most=2)) == 2


def test_a_large_cutout_is_made_smaller() -> None:
    (found,) = cutouts([photo(scale=4)])
    assert max(found.image.size) == CUT_SIDE


def test_the_middle_of_a_photo() -> None:
    assert middle(photo()) == (16.0, 12.0, 144.0, 108.0)
