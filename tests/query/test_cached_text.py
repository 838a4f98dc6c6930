"""The cache of encoded texts, with a fake text side that counts what it encodes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from store.making import MODEL

from vidmem.encoders import Calibration, EncoderInfo, EncoderSpec, LoadOptions, TextEncoder, registry
from vidmem.encoders.spec import SlowText
from vidmem.query.text_cache import CachedText, text_side
from vidmem.records import Float32
from vidmem.store import Store
from vidmem.store.phrase_cache import PhraseCache

INFO = EncoderInfo("slow", "w1", 5, 4, "letters", True, Calibration(0.1, 0.2, 0.3, 0.4))


class Slow(TextEncoder):
    """A phrase is its length and the number of its words; one that ends with dots is cut."""

    def __init__(self, info: EncoderInfo) -> None:
        self.info = info

    def encode_text(self, phrases: Sequence[str]) -> Float32:
        ENCODED.extend(phrases)
        return np.array([[len(p), len(p.split()), 0.5, 1] for p in phrases], np.float32).reshape(-1, 4)

    def encode_names(self, names: Sequence[str]) -> Float32:
        return 2 * self.encode_text(names)

    def contrast(self, vector: Float32) -> Float32:
        ENCODED.append(f"against {vector[0]:.0f}")
        return np.stack([vector + 1, vector + 2, vector + 3])

    def fits(self, phrase: str) -> bool:
        return not phrase.endswith("...")


ENCODED: list[str] = []
LOADED: list[LoadOptions] = []


class Home:
    """The weights in a file, and the spec that goes with them."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "weights"
        self.file.write_bytes(b"one")
        self.info, self.files = INFO, [self.file]

    def spec(self, prompts: tuple[str, ...] = ("a {}",)) -> EncoderSpec:
        def load(options: LoadOptions) -> TextEncoder:
            LOADED.append(options)
            return Slow(self.info)

        def describe(name: str, weights: str, visual_dim: int, text_dim: int) -> EncoderInfo:
            return replace(INFO, name=name, weights=weights, visual_dim=visual_dim, text_dim=text_dim)

        slow = SlowText(files=lambda options: self.files, describe=describe, prompts=prompts)
        return EncoderSpec(name="slow", load=load, load_text=load, slow_text=slow)  # type: ignore[arg-type]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    monkeypatch.setenv("VIDMEM_WEIGHTS", str(tmp_path))  # the cache is used for files in the user's folders alone
    ENCODED.clear()
    LOADED.clear()
    made = Home(tmp_path)
    with registry.registered(made.spec()):
        yield made


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "memory", create=True) as made:
        made.set_model(MODEL)
        yield made


def ask(store: Store, *phrases: str) -> Float32:
    """A question of a new process."""
    return text_side("slow:big", None, store).encode_text(phrases)


def test_what_was_asked_before_needs_no_model(home: Home, store: Store) -> None:
    first = ask(store, "red cup", "key")
    assert (first.dtype, first.tolist()) == (np.float32, [[7, 2, 0.5, 1], [3, 1, 0.5, 1]])
    assert [options.backbone for options in LOADED] == ["big"]
    again = text_side("slow:big", None, store)
    np.testing.assert_array_equal(again.encode_text(["key", "red cup", "key"]), first[[1, 0, 1]])
    assert again.info == INFO
    assert (ENCODED, len(LOADED)) == (["red cup", "key"], 1)


def test_only_what_is_missing_is_encoded_in_its_place(home: Home, store: Store) -> None:
    ask(store, "key")
    assert ask(store, "a", "key", "b c")[:, :2].tolist() == [[1, 1], [3, 1], [3, 2]]
    assert ENCODED == ["key", "a", "b c"]
    assert ask(store).shape == (0, 4)
    assert ask(store, "a", "b c", "key")[:, :2].tolist() == [[1, 1], [3, 2], [3, 1]]
    assert (ENCODED, len(LOADED)) == (["key", "a", "b c"], 2)


def test_a_phrase_that_is_cut_is_encoded_each_time(home: Home, store: Store) -> None:
    for _ in range(2):
        assert ask(store, "long...", "key")[:, 0].tolist() == [7, 3]
    assert ENCODED == ["long...", "key", "long..."]


def test_words_that_are_no_text_are_kept_too(home: Home, store: Store) -> None:
    for _ in range(2):
        assert ask(store, "a\udcff")[0, 0] == 2
    assert ENCODED == ["a\udcff"]


def test_contrasts_are_kept_by_their_vectors(home: Home, store: Store) -> None:
    for _ in range(2):
        side = text_side("slow:big", None, store)
        for size in (3, 8):
            vector = np.array([size, 1, 0, 0], np.float32)
            np.testing.assert_array_equal(side.contrast(vector), np.add.outer([1, 2, 3], vector))
    text_side("slow:big", None, store).contrast(vector.astype(np.float64))
    assert ENCODED == ["against 3", "against 8"]


def test_names_in_sentences_are_not_kept(home: Home, store: Store) -> None:
    for _ in range(2):
        side = text_side("slow:big", None, store)
        assert side.has_templates
        assert side.encode_names(["key"])[0, 0] == 6
    assert ENCODED == ["key", "key"]


def test_vectors_of_another_width_are_not_taken(home: Home, store: Store) -> None:
    side = text_side("slow:big", None, store)
    assert isinstance(side, CachedText)
    vector = np.ones(4, np.float32)
    side._texts.put([(side._key("text", b"key"), np.ones((1, 3), np.float32))])
    side._texts.put([(side._key("text", b"cup"), np.ones((2, 4), np.float32))])
    side._texts.put([(side._key("contrast", vector.tobytes()), np.ones((2, 3), np.float32))])
    assert side.encode_text(["key", "cup"])[:, 0].tolist() == [3, 3]
    assert side.contrast(vector).shape == (3, 4)
    assert ask(store, "key", "cup")[:, 0].tolist() == [3, 3]
    assert ENCODED == ["key", "cup", "against 1"]  # and then it is right


def test_other_weights_prompts_or_widths_have_vectors_of_their_own(home: Home, store: Store) -> None:
    ask(store, "key")
    home.file.write_bytes(b"other")
    home.info = replace(INFO, weights="w2")
    assert text_side("slow:big", None, store).info == home.info
    ask(store, "key")
    with registry.registered(home.spec(("the {}",))):
        ask(store, "key")
    ask(store, "key")
    assert ENCODED == ["key"] * 3
    home.info = replace(home.info, name="slow:huge")
    os.utime(home.file, ns=(1, 1))
    ask(store, "key")
    assert ENCODED == ["key"] * 4


@pytest.mark.parametrize("change", ["size", "time", "gone"])
def test_files_that_changed_have_the_model_loaded_again(home: Home, store: Store, change: str) -> None:
    ask(store, "key")
    stat = home.file.stat()
    if change == "size":
        home.file.write_bytes(b"more")
        os.utime(home.file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    elif change == "time":
        os.utime(home.file, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    else:
        home.file.unlink()
    ask(store, "key")
    assert (len(LOADED), ENCODED) == (2, ["key"])  # the weights are the same after all


def test_without_files_to_watch_the_model_is_loaded_each_time(home: Home, store: Store) -> None:
    for files in ([], [home.file.parent / "none", home.file]):
        home.files = files
        before = len(LOADED)
        for _ in range(2):
            ask(store, "key")
        assert len(LOADED) == before + 2
    home.files = [home.file, home.file.parent]
    for _ in range(2):
        ask(store, "key")
    assert len(LOADED) == 5


@pytest.mark.parametrize(
    "info",
    [
        ["slow", "w1", 5],
        ["slow", "w1", 5, 4, 3],
        [7, "w1", 5, 4],
        ["slow", 7, 5, 4],
        ["slow", "w1", "5", 4],
        ["slow", "w1", 5, None],
        "slow",
    ],
)
def test_facts_of_another_form_are_not_believed(home: Home, store: Store, info: object) -> None:
    ask(store, "key")
    texts = PhraseCache(store)
    kept = texts.facts("slow:big")
    assert kept["info"] == ["slow", "w1", 5, 4]
    texts.set_facts("slow:big", {**kept, "info": info})
    ask(store, "key")
    assert len(LOADED) == 2
    assert texts.facts("slow:big") == kept


@pytest.mark.parametrize("files", [[], [[]], ["weights"], [["weights"]], [[7, 3, 4]], [None]])
def test_files_of_another_form_are_not_believed(home: Home, store: Store, files: object) -> None:
    ask(store, "key")
    texts = PhraseCache(store)
    texts.set_facts("slow:big", {**texts.facts("slow:big"), "files": files})
    ask(store, "key")
    assert len(LOADED) == 2


def test_a_folder_of_weights_is_passed_on(home: Home, store: Store, tmp_path: Path) -> None:
    given: list[LoadOptions] = []
    made = home.spec()
    assert made.slow_text is not None

    def files(options: LoadOptions) -> Sequence[Path]:
        given.append(options)
        return [home.file]

    slow = replace(made.slow_text, files=files)
    for each in (slow, None):
        LOADED.clear()
        with registry.registered(replace(made, slow_text=each, wanted=lambda backbone: [])):
            text_side("slow:big", tmp_path, store).encode_text(["key"])
        assert [(options.backbone, options.weights) for options in LOADED] == [("big", tmp_path)]
    assert [(options.backbone, options.device, options.weights) for options in given] == [("big", None, tmp_path)]


def test_a_quick_text_side_is_not_cached(home: Home, store: Store) -> None:
    quick = replace(home.spec(), slow_text=None)
    with registry.registered(quick):
        for _ in range(2):
            assert isinstance(text_side("slow:big", None, store), Slow)
    assert PhraseCache(store).facts("slow:big") is None
