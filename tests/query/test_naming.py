"""What a thing is called, by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vidmem.encoders import Calibration, EncoderInfo, TextEncoder
from vidmem.encoders.probability import Curve
from vidmem.query.labels import load_labels
from vidmem.query.naming import Naming, names_for
from vidmem.records import Float32

AXES = np.eye(5, dtype=np.float32)
NAMES = "abcde"
PLAIN = Calibration(0.5, 0.0, 0.5, 0.5, temperature=0.5)
SHARE = Curve(0.0, 0.0, 1.0, 9, 9, 9)
"""The probability is the share itself."""


class Words(TextEncoder):
    """Has the rivals of each axis by number."""

    def __init__(self, calibration: Calibration = PLAIN, rivals: Mapping[int, Sequence[int]] | None = None) -> None:
        self.info = EncoderInfo("words", "w", 5, 5, "five", True, calibration)
        self.rivals, self.asked = rivals or {}, [0][:0]

    def encode_text(self, phrases: Sequence[str]) -> Float32:
        return AXES[[NAMES.index(phrase) for phrase in phrases]]

    def contrast(self, vector: Float32) -> Float32:
        self.asked.append(int(vector.argmax()))
        return AXES[list(self.rivals.get(int(vector.argmax()), ()))]


def naming(encoder: TextEncoder, curve: Curve | None = None, names: str = NAMES) -> Naming:
    return Naming(encoder, tuple(names), encoder.encode_text(names), curve)


def token(*parts: float) -> Float32:
    return np.array([*parts, *[0.0] * (5 - len(parts))], np.float32)


def test_the_three_nearest_names_are_judged_the_best_first() -> None:
    encoder = Words()
    found = naming(encoder).of(token(0.2, 0.6, 0.1, 0.5, 0.15))
    assert found.guesses == (("b", None), ("d", None), ("a", None))
    assert (found.name, found.probability, found.row, found.named) == ("b", None, 1, True)
    assert sorted(encoder.asked) == [0, 1, 3]


@pytest.mark.parametrize("names", ["b", "ab", "abc"])
def test_of_few_names_all_are_judged(names: str) -> None:
    found = naming(Words(), names=names).of(token(0.1, 0.6, 0.3))
    assert [name for name, _ in found.guesses] == sorted(names, key="bca".index)


def test_the_contrast_of_a_name_is_made_once() -> None:
    encoder = Words()
    names = naming(encoder, names="ab")
    for _ in range(3):
        names.of(token(0.5))
    assert sorted(encoder.asked) == [0, 1]


def test_a_score_at_the_threshold_is_a_name() -> None:
    assert naming(Words()).of(token(0.5)).named
    assert not naming(Words()).of(token(0.4999)).named


def test_a_rival_that_is_as_near_halves_the_share() -> None:
    rivals = {0: [1]}
    for least, named in ((0.5, True), (0.51, False)):
        encoder = Words(replace(PLAIN, contrast_probability=least), rivals)
        assert naming(encoder, names="a").of(token(0.6, 0.6)).named is named


def test_the_share_is_that_of_a_softmax_over_the_rivals() -> None:
    encoder = Words(rivals={0: [1, 2]})
    (guess,) = naming(encoder, SHARE, "a").of(token(0.5, 0.3, 0.6)).guesses
    assert guess == ("a", pytest.approx(1 / (1 + np.exp(-0.2 / 0.5) + np.exp(0.1 / 0.5)), abs=1e-5))


def test_a_rival_that_is_far_nearer_leaves_nothing() -> None:
    encoder = Words(replace(PLAIN, temperature=1e-3), {0: [1]})
    with np.errstate(over="raise"):
        assert naming(encoder, SHARE, "a").of(token(0, 1)).probability == pytest.approx(0, abs=1e-3)


def test_the_most_probable_name_is_first_and_of_equals_the_nearest() -> None:
    encoder = Words(rivals={0: [3]})
    found = naming(encoder, SHARE).of(token(0.7, 0.4, 0.5, 0.6))
    assert [name for name, _ in found.guesses] == ["d", "c", "a"]
    assert (found.row, found.named) == (3, True)
    assert found.guesses[2][1] == pytest.approx(1 / (1 + np.exp(-0.2)), abs=1e-5)
    assert found.probability == found.guesses[0][1] == pytest.approx(1, abs=1e-3)


def test_a_name_that_is_as_likely_as_not_is_named() -> None:
    assert naming(Words(), Curve(0, 0, 0, 9, 9, 9)).of(token(0.1)).named
    assert not naming(Words(), Curve(-0.01, 0, 0, 9, 9, 9)).of(token(0.9)).named


def test_other_things_take_nothing_from_a_name() -> None:
    """A curve's `best` is for answers beside a better one; a name is the best answer to its own question."""
    curve = Curve(0.5, 2, 0, 9, 9, 9, best=7)
    found = naming(Words(), curve).of(token(0.9, 0.1))
    assert dict(found.guesses)["b"] == pytest.approx(1 / (1 + np.exp(-0.7)), abs=1e-5)


def test_synonyms_are_no_names() -> None:
    class Known(Words):
        def names(self) -> dict[str, str]:
            return {"cup": "", "mug": "cup", "key": ""}

    assert names_for(Known(), None) == ("cup", "key")
    assert names_for(Known(), "coco") == load_labels("coco").names


def test_without_names_of_its_own_the_things_of_three_lists_are_taken() -> None:
    names = names_for(Words(), None)
    assert names[:80] == load_labels("coco").names
    for listed in ("ade20k", "vspw"):
        labels = load_labels(listed)
        for name, thing in zip(labels.names, labels.things, strict=True):
            if thing:
                assert name in names
    assert "sky" not in names
    assert len(set(names)) == len(names)


def test_names_of_a_file_count_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("sky\tstuff\nmug\n")
    assert names_for(Words(), str(tmp_path / "names.txt")) == ("sky", "mug")
