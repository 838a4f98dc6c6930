"""Text that fits, labels that do not overlap, pictures that fill the page."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from vidmem.render.drawing import (
    INNER,
    MARK,
    MAX_HEIGHT,
    Labels,
    close_up,
    colours,
    fit_page,
    fitted,
    fitted_path,
    length,
    outline,
    page,
    readable_on,
    wrapped,
)

HOSTILE = ["", "a\nb\x00\x1b[31m", "‮evil", "猫" * 400, "тест " * 50, "\ud800", "W" * 5000, "🦊" * 90]


@pytest.mark.parametrize("text", HOSTILE)
def test_any_title_is_one_line_that_fits(text: str) -> None:
    line = fitted(text, 30, 400)
    assert "\n" not in line
    assert length(line, 30) <= 400
    image = page(text, wrapped([text, "second"], 17, INNER), 20).image
    assert image.width == 960
    assert np.asarray(image)[:, -14:].min() > 240  # nothing runs into the margin


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=80), st.integers(20, 500))
def test_what_is_cut_fits(text: str, most: int) -> None:
    assert length(fitted(text, 17, most), 17) <= max(most, length("…", 17))
    assert length(fitted_path(text, 17, max(most, 120)), 17) <= max(most, 120)


def test_a_path_keeps_its_end() -> None:
    name = fitted_path("/v/" + "long " * 30 + "last.mp4", 15, 200)
    assert name.endswith("last.mp4")
    assert "…" in name
    assert fitted_path("/v/short.mp4", 15, 200) == "short.mp4"


def test_labels_do_not_lie_on_each_other_nor_leave_the_picture() -> None:
    draw = ImageDraw.Draw(Image.new("RGB", (400, 300)))
    labels = Labels(draw, (0, 0, 400, 300))
    boxes = [(10, 10, 60, 60), (12, 12, 62, 62), (380, 2, 399, 40), (200, 290, 260, 299), (205, 288, 230, 299)]
    areas = [labels.add(f"label {i}", box) for i, box in enumerate(boxes)]
    held = [area for area in areas if area is not None]
    assert len(held) == 5
    for a, b in itertools.combinations(held, 2):
        assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
    assert all(a[0] >= 0 and a[1] >= 0 and a[2] <= 400 and a[3] <= 300 for a in held)


@pytest.mark.parametrize("size", [(160, 90), (5000, 2000), (300, 900), (1, 1), (4000, 3)])
def test_pictures_come_in_the_size_of_a_page(size: tuple[int, int]) -> None:
    picture, scale = fit_page(np.zeros((size[1], size[0], 3), np.uint8))
    assert picture.width <= INNER
    assert picture.height <= MAX_HEIGHT
    assert picture.width == INNER or picture.height == MAX_HEIGHT
    assert scale == pytest.approx(min(INNER / size[0], MAX_HEIGHT / size[1]))


@pytest.mark.parametrize("size", [(640, 360), (90, 800), (2, 2), (3000, 40)])
@pytest.mark.parametrize("box", [(0.1, 0.1, 0.4, 0.5), (0, 0, 1, 1), (0.9, 0.9, 1.4, 1.3), (0.5, 0.5, 0.5, 0.5)])
def test_a_close_up_has_its_size_whatever_the_frame(size: tuple[int, int], box: tuple[float, ...]) -> None:
    frame = np.full((size[1], size[0], 3), 90, np.uint8)
    x0, y0, x1, y1 = box
    out = close_up(frame, (x0 * size[0], y0 * size[1], x1 * size[0], y1 * size[1]), (220, 165))
    assert out.size == (220, 165)


def test_a_close_up_shows_the_thing_in_its_box() -> None:
    frame = np.full((400, 600, 3), 90, np.uint8)
    frame[100:150, 400:450] = (0, 200, 0)
    pixels = np.asarray(close_up(frame, (400, 100, 450, 150), (220, 165))).astype(int)
    green = (pixels[..., 1] > 150) & (pixels[..., 0] < 60)
    red = (np.abs(pixels - MARK).sum(-1)) < 30
    (y0, x0), (y1, x1) = np.argwhere(green).min(0), np.argwhere(green).max(0)
    (b0, a0), (b1, a1) = np.argwhere(red).min(0), np.argwhere(red).max(0)
    assert max(abs(x0 - a0), abs(y0 - b0), abs(x1 - a1), abs(y1 - b1)) <= 4


def test_neighbouring_colours_differ_and_letters_stand_out() -> None:
    paint = colours(24).astype(int)
    assert min(np.abs(a - b).sum() for a, b in itertools.pairwise(paint)) > 60
    for colour in paint:
        ink = np.array(readable_on(colour.tolist()))
        assert abs(float((ink - colour) @ [0.3, 0.59, 0.11])) > 70


def test_an_empty_box_is_drawn_as_a_point() -> None:
    picture = Image.new("RGB", (20, 20))
    outline(ImageDraw.Draw(picture), (30, 30, 10, 10))
    outline(ImageDraw.Draw(picture), (5, 5, 5, 5))
    assert picture.getpixel((5, 5)) == MARK
