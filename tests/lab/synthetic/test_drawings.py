"""The named drawings: every name is one thing's, every drawing shows something, other vendors' can be read."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lab.synthetic.drawings import CELL, glyph_key, load_drawings, load_folder, split_glyphs, things
from vidmem.encoders.tiny.text_table import words
from vidmem.errors import MediaError


def test_there_are_enough_names() -> None:
    assert len({thing.name for thing in things()}) == len(things()) >= 400


def test_no_phrase_means_two_things() -> None:
    phrases = Counter(" ".join(words(phrase)) for thing in things() for phrase in (thing.name, *thing.synonyms))
    assert {phrase: n for phrase, n in phrases.items() if n > 1 or not phrase} == {}


def test_most_things_have_a_synonym() -> None:
    assert sum(bool(thing.synonyms) for thing in things()) > 0.8 * len(things())


def test_no_emoji_shows_two_things() -> None:
    glyphs = Counter(glyph_key(glyph) for thing in things() for glyph in thing.glyphs)
    assert {glyph: n for glyph, n in glyphs.items() if n > 1} == {}


def test_every_drawing_shows_something() -> None:
    drawings = load_drawings()
    assert [d.glyph for d in drawings] == [glyph for thing in things() for glyph in thing.glyphs]
    for drawing in drawings:
        picture = np.asarray(drawing.image)
        assert drawing.image.mode == "RGBA", drawing.name
        assert max(drawing.image.size) <= CELL, drawing.name
        assert min(drawing.image.size) >= 8, drawing.name
        shown = picture[..., 3] > 127
        assert shown.mean() > 0.08, drawing.name
        # trimmed: something touches every side
        seen = picture[..., 3] > 16
        assert all(side.any() for side in (seen[0], seen[-1], seen[:, 0], seen[:, -1])), drawing.name


def test_no_two_drawings_are_the_same_picture() -> None:
    flat = np.stack([np.asarray(d.image.resize((12, 12)), np.float64).ravel() for d in load_drawings()])
    length = (flat**2).sum(1)
    far = np.sqrt(np.maximum(length[:, None] + length - 2 * flat @ flat.T, 0) / flat.shape[1])
    np.fill_diagonal(far, 255)
    assert far.min() > 0.5


@pytest.mark.parametrize(
    ("text", "expected"),
    [("🐵🐒", ["🐵", "🐒"]), ("🐕‍🦺🦮", ["🐕‍🦺", "🦮"]), ("✈️⚽", ["✈️", "⚽"]), (" 🐈‍⬛ ", ["🐈‍⬛"]), ("", [])],
)
def test_split_glyphs(text: str, expected: list[str]) -> None:
    assert list(split_glyphs(text)) == expected


def test_glyph_key() -> None:
    assert glyph_key("✈️") == "2708"
    assert glyph_key("🐕‍🦺") == "1f415-200d-1f9ba"


def test_another_vendors_folder(tmp_path: Path) -> None:
    thing = things()[0]
    picture = Image.new("RGBA", (72, 72))
    picture.paste((255, 0, 0, 255), (10, 20, 40, 30))
    picture.save(tmp_path / f"{glyph_key(thing.glyphs[0]).upper()}.png")
    plane = next(t for t in things() if any("\ufe0f" in g for g in t.glyphs))
    glyph = next(g for g in plane.glyphs if "\ufe0f" in g)
    picture.save(tmp_path / ("-".join(f"{ord(c):x}" for c in glyph) + ".png"))  # with the variation selector
    picture.save(tmp_path / "unknown.png")
    found = load_folder(tmp_path)
    assert [d.name for d in found] == [thing.name, plane.name]
    assert found[0].image.size == (30, 10)
    assert found[0].synonyms == thing.synonyms


def test_a_folder_without_drawings_fails(tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(b"")
    with pytest.raises(MediaError, match=f"no drawings named by code point .*{tmp_path}"):
        load_folder(tmp_path)


def test_a_drawing_that_is_no_picture_fails(tmp_path: Path) -> None:
    path = tmp_path / f"{glyph_key(things()[0].glyphs[0])}.png"
    path.write_bytes(b"not a picture")
    with pytest.raises(MediaError, match=rf"the drawing cannot be read .*{path.name}"):
        load_folder(tmp_path)
