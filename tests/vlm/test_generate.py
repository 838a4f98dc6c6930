"""Answers of models in folders: where they end, what of them is shown, and what goes wrong."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from vlm import tiny_models
from vlm.conftest import TinyModel
from vlm.taught import IMAGE, teach

from needs import needs
from vidmem.errors import ModelError
from vidmem.export.textmask import decode
from vidmem.vlm.ask import ask_mask, question
from vidmem.vlm.generate import LocalAsker
from vidmem.vlm.grammar import MaskGrammar
from vidmem.vlm.local import load
from vidmem.vlm.opening import open_model

MASK = "<seg>others *3| cup *2\n others *5\n cup *5\n</seg>"


@pytest.fixture(scope="module")
def taught(tiny_model: TinyModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that answers with MASK in some words, and would go on behind it."""
    folder = tmp_path_factory.mktemp("taught")
    return teach(
        tiny_model("llava", "words"), folder, question("cup", (3, 5)), f"The mask:\n{MASK} There is no cat here."
    )


def test_an_answer_that_was_learned(taught: Path) -> None:
    asker = open_model(str(taught), device="cpu")
    answer = asker.ask(IMAGE, question("cup", (3, 5)), max_tokens=100)
    assert answer.text == f"The mask:\n{MASK}"  # nothing is written behind the end tag
    assert not answer.cut
    assert answer.tokens is not None
    assert answer.tokens == 26
    free = ask_mask(asker, IMAGE, "cup", grid=(3, 5), constrained=False)
    constrained = ask_mask(asker, IMAGE, "cup", grid=(3, 5))
    assert free.reading.problems == constrained.reading.problems == ()
    assert free.answer.text == constrained.answer.text == answer.text  # constraints change no valid answer
    assert free.mask.shape == (40, 60)
    assert free.mask[:13, 36:].all()
    assert not free.mask[14:26].any()


def test_an_answer_that_is_cut_in_the_middle(taught: Path) -> None:
    asker = LocalAsker.open(str(taught), "cpu")
    cut = ask_mask(asker, IMAGE, "cup", grid=(3, 5), constrained=False, max_tokens=18)
    assert cut.answer.cut
    assert cut.answer.tokens == 18
    assert "the answer reached the limit of tokens and was cut" in cut.reading.problems
    assert cut.mask[:13, 36:].all()  # what came before the cut is there
    with_grammar = ask_mask(asker, IMAGE, "cup", grid=(3, 5), max_tokens=18)
    assert with_grammar.answer.cut


def test_an_endless_answer_is_cut(tiny_model: TinyModel) -> None:
    asker = LocalAsker.open(str(tiny_model("internvl")), "cpu")
    answer = asker.ask(IMAGE, "Where?", max_tokens=40)
    assert answer.cut
    assert answer.tokens == 40
    assert answer.text == "\n" * 40
    asked = ask_mask(asker, IMAGE, "cup", constrained=False, max_tokens=40)
    assert not asked.readable
    assert not asked.mask.any()


def test_tags_that_are_special_tokens_are_shown(tiny_model: TinyModel) -> None:
    asker = LocalAsker(load(tiny_model(), "cpu"))
    tokenizer = asker.local.tokenizer
    tokenizer.add_special_tokens({"additional_special_tokens": ["<seg>", "</seg>"]})
    ids = tokenizer("<|im_start|><seg>cup *16\n</seg><|im_end|>")["input_ids"]
    assert asker.decoded(ids) == "<seg>cup *16\n</seg>"


def test_a_penalty_for_repetition_of_the_folder_is_left_out(taught: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(taught, tmp_path / "model"))
    tiny_models.edit_json(folder / "generation_config.json", repetition_penalty=8.0, do_sample=True, temperature=9.0)
    answer = LocalAsker.open(str(folder), "cpu").ask(IMAGE, question("cup", (3, 5)), max_tokens=100)
    assert answer.text == f"The mask:\n{MASK}"


@pytest.mark.parametrize("tokenizer", tiny_models.TOKENIZERS)
def test_constrained_answers_are_masks_whatever_the_tokenizer_joins_or_splits(
    tiny_model: TinyModel, tokenizer: str
) -> None:
    asker = LocalAsker.open(str(tiny_model("llava", tokenizer)), "cpu")
    asked = ask_mask(asker, IMAGE, "cup", grid=(2, 12))
    assert asked.reading.problems == ()
    assert asked.constrained
    inner = asked.answer.text.partition("<seg>")[2].removesuffix("</seg>")
    assert decode(inner, (2, 12)) == asked.reading.mask


@pytest.mark.parametrize("phrase", ["a|b", "2*3 grid", "bolt #4", "café <3", "others", "\\p"])
def test_labels_with_signs_of_the_form(tiny_model: TinyModel, phrase: str) -> None:
    asker = LocalAsker.open(str(tiny_model("qwen2_vl")), "cpu")
    asked = ask_mask(asker, IMAGE, phrase, grid=(2, 4))
    assert asked.reading.problems == ()
    assert {label.name for label in asked.reading.mask.labels} <= {phrase}


def test_a_label_that_the_tokenizer_cannot_write(tiny_model: TinyModel) -> None:
    asker = LocalAsker.open(str(tiny_model("llava", "words")), "cpu")
    with pytest.raises(ModelError, match="cannot write the label 'zebra'; decode without constraints"):
        ask_mask(asker, IMAGE, "zebra", grid=(2, 4))


@pytest.mark.parametrize(
    ("error", "cause"),
    [("out of memory", "does not fit into the memory of cpu"), ("shapes differ", "cannot answer .shapes differ")],
)
def test_errors_of_the_model(tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch, error: str, cause: str) -> None:
    torch = needs("torch")
    asker = LocalAsker.open(str(tiny_model()), "cpu")

    def fail(**options: Any) -> None:
        raise (torch.OutOfMemoryError if "memory" in error else RuntimeError)(f"{error}\nand more")

    monkeypatch.setattr(asker.local.model, "generate", fail)
    with pytest.raises(ModelError, match=cause):
        asker.ask(IMAGE, "?", max_tokens=5)


def test_the_grammar_of_an_asker_is_followed(tiny_model: TinyModel) -> None:
    asker = LocalAsker.open(str(tiny_model("idefics3")), "cpu")
    grammar = MaskGrammar((2, 3), ["cup", "plant"])
    answer = asker.ask(IMAGE, "?", max_tokens=200, grammar=grammar)
    assert grammar.accepts(answer.text)
    assert not answer.cut
