"""Packed rows: which records share one, and that neither loss nor gradient changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import further
import pytest
import talking
import torch
from hypothesis import given
from hypothesis import strategies as st
from vlm import tiny_models

from lab.train.text4seg import probe
from lab.train.text4seg.chat import IGNORED, Chat, Example
from lab.train.text4seg.model import adapt, answer_loss, form_of, positions_of, trained
from lab.train.text4seg.packing import batches, fit_rows, joined, packed, padded
from lab.train.text4seg.records import Records, parse
from needs import needs
from vidmem.errors import MediaError, UsageError
from vidmem.vlm.local import LocalModel, load


@given(st.lists(st.integers(1, 50), max_size=40), st.integers(50, 120))
def test_rows_hold_every_record_once(lengths: list[int], room: int) -> None:
    rows = fit_rows(lengths, room)
    assert sorted(i for row in rows for i in row) == list(range(len(lengths)))
    assert all(sum(lengths[i] for i in row) <= room for row in rows)
    fewest = -(-sum(lengths) // room)
    assert len(rows) <= 11 / 9 * fewest * 2  # any two rows hold more than one does
    assert fit_rows(lengths, room) == rows


def test_long_records_come_first_and_short_ones_fill_up() -> None:
    assert fit_rows([3, 9, 5, 7, 1], 10) == [[1, 4], [3, 0], [2]]


def example(length: int, answers: int, **pictures: torch.Tensor) -> Example:
    ids = torch.arange(1, length + 1)
    labels = torch.where(torch.arange(length) >= length - answers, ids, IGNORED)
    return Example(ids, labels, {"mm_token_type_ids": torch.ones_like(ids)}, pictures, "")


def test_a_packed_row_by_hand() -> None:
    batch = packed([[example(2, 1), example(3, 3)], [example(4, 1)]], 0, lambda e: torch.arange(len(e)), "bool")
    assert batch.inputs["input_ids"].tolist() == [[1, 2, 1, 2, 3], [1, 2, 3, 4, 0]]
    assert batch.inputs["position_ids"].tolist() == [[0, 1, 0, 1, 2], [0, 1, 2, 3, 0]]
    assert batch.labels.tolist() == [[-100, 2, -100, 2, 3], [-100, -100, -100, 4, -100]]
    assert batch.inputs["mm_token_type_ids"].tolist() == [[1] * 5, [1, 1, 1, 1, 0]]
    assert batch.inputs["attention_mask"].shape == (2, 1, 5, 5)
    assert batch.inputs["attention_mask"][0, 0].int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [0, 0, 1, 0, 0],
        [0, 0, 1, 1, 0],
        [0, 0, 1, 1, 1],
    ]
    assert batch.inputs["attention_mask"][1, 0, 4].int().tolist() == [0, 0, 0, 0, 1]
    assert (batch.records, batch.tokens) == (3, 9)
    flash = packed([[example(2, 1), example(3, 3)]], 0, lambda e: torch.arange(len(e)).expand(3, -1) * 7, "positions")
    assert "attention_mask" not in flash.inputs
    assert flash.inputs["position_ids"][:, 0].tolist() == [[0, 1, 0, 1, 2], *[[0, 7, 0, 7, 14]] * 3]


def test_a_padded_row_by_hand() -> None:
    batch = padded([example(2, 1), example(3, 2)], 9)
    assert batch.inputs["input_ids"].tolist() == [[1, 2, 9], [1, 2, 3]]
    assert batch.inputs["attention_mask"].tolist() == [[1, 1, 0], [1, 1, 1]]
    assert batch.labels.tolist() == [[-100, 2, -100], [-100, 2, 3]]


def test_pictures_of_several_sizes_are_joined() -> None:
    found = joined([{"pixels": torch.ones(1, 2, 3)}, {}, {"pixels": torch.ones(2, 1, 4), "grid": torch.tensor([[1]])}])
    assert found["pixels"].shape == (3, 2, 4)
    assert found["pixels"].sum() == 6 + 8
    assert found["pixels"][0, :, 3].tolist() == [0, 0]
    assert found["grid"].tolist() == [[1]]


def examples_of(local: LocalModel, data: Path) -> list[Example]:
    """Records with one picture and two, one turn and two, and with text alone."""
    chat = Chat(local, 2)
    records = [
        talking.record(0),
        talking.record(1, history=[["What is it?", "A cup."]]),
        {"query": "What is 1 + 1?", "response": "It is 2."},
        talking.record(2, images=["2.png", "3.png"]),
        talking.record(3),
    ]
    return [chat.encode(parse(item, data, ""), 256) for item in records]


def check_that_packing_changes_nothing(local: LocalModel, examples: list[Example], room: int) -> None:
    """Loss and gradients of records alone, padded together, in packed rows, and in two packed rows a pass; with masks
    and with positions that begin anew, as Flash Attention reads them."""
    model, _ = adapt(local, talking.SMALL.lora, 0)
    weights = trained(model)
    torch.manual_seed(0)
    with torch.no_grad():
        for name, value in weights.items():
            if "lora_B" in name:  # they begin as zeros, and those of lora_A would get no gradient
                value.normal_(std=0.05)
    found = []
    packs = positions_of(model)
    form = form_of(model)
    for positions, rows, how in (
        (None, 1, form),
        (None, 3, form),
        (packs, 1, form),
        (packs, 2, form),
        (packs, 2, "positions"),
    ):
        model.zero_grad()
        cut = batches(examples, pad=0, rows=rows, room=room, positions=positions, form=how)
        loss = sum((answer_loss(model, batch) for batch in cut), torch.zeros(()))
        loss.backward()  # type: ignore[no-untyped-call]
        found.append((len(cut), loss.detach(), {n: v.grad.clone() for n, v in weights.items() if v.grad is not None}))
    assert found[0][0] == len(examples)
    assert found[3][0] < found[2][0] < found[0][0]
    for _, loss, grads in found[1:]:
        torch.testing.assert_close(loss, found[0][1], rtol=1e-5, atol=1e-4)
        assert grads.keys() == weights.keys()
        for name, value in grads.items():
            torch.testing.assert_close(value, found[0][2][name], rtol=1e-3, atol=5e-4, msg=name)
    assert any(float(grad.abs().max()) > 1 for grad in found[0][2].values())


@pytest.mark.parametrize("layout", tiny_models.LAYOUTS)
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_packed_and_unpacked_losses_and_gradients_are_equal(
    layout: str, attention: str, tiny: Callable[..., Path], data: Path
) -> None:
    local = load(tiny(layout), "cpu")
    local.model.set_attn_implementation(attention)
    check_that_packing_changes_nothing(local, examples_of(local, data), 90)


@pytest.mark.parametrize("make", further.MODELS)
def test_packing_of_further_layouts(make: Any, data: Path, tmp_path: Path) -> None:
    tiny_models.required()
    needs("peft")
    local = load(further.build(make, tmp_path), "cpu")
    examples = examples_of(local, data)
    check_that_packing_changes_nothing(local, examples, 130)
    model, _ = adapt(load(tmp_path, "cpu"), talking.SMALL.lora, 0)
    done, why = probe.packing(model, local, [examples[0], examples[-1]], talking.SMALL)
    assert (done, why) == (True, "several records a row, up to 256 tokens")


@pytest.mark.parametrize(("tokenizer", "count"), [("bytes", 3), ("words", 2), ("digits", 3)])
def test_what_is_told_ahead(tokenizer: str, count: int, tiny: Callable[..., Path], data: Path, tmp_path: Path) -> None:
    local = load(tiny("llava", tokenizer), "cpu")
    chat = Chat(local)
    found = probe.look(Records([data]), chat, talking.SMALL)
    answers = [example.answers for example in found.examples]
    assert found.count == count
    assert found.told().startswith(f"answers of {sum(answers) / 4:.0f} tokens on average, {max(answers)} at most; ")
    assert found.told().endswith(f'(the first 4 records); "*12" is {count} tokens')
    short, wordy = (talking.record(0, query=q, images=[str(data / "0.png")]) for q in ("Cup?", "Cup? " * 80))
    fewer = probe.look(
        Records([talking.write(tmp_path / "wordy.jsonl", [wordy, short])]), chat, replace(talking.SMALL, max_length=90)
    )
    assert (fewer.unusable, len(fewer.examples)) == (1, 1)
    talking.write(tmp_path / "data.jsonl", [talking.record(0), talking.record(1)])
    with pytest.raises(MediaError, match=r"none of the 2 records can be used; the first one is .*:1: the picture is"):
        probe.look(Records([tmp_path]), chat, talking.SMALL)


def tried(local: Any, model: Any, data: Path, **changes: Any) -> tuple[bool, str]:
    chat = Chat(local)
    examples = [chat.encode(parse(talking.record(n), data, ""), 256) for n in (0, 3)]
    return probe.packing(model, local, examples, replace(talking.SMALL, **changes))


def test_the_model_decides_about_packing_and_says_why(local: Any, data: Path) -> None:
    model, _ = adapt(local, talking.SMALL.lora, 0)
    assert tried(local, model, data) == (True, "several records a row, up to 256 tokens")
    assert tried(local, model, data, pack="off") == (False, "one record a row, as asked for")
    done, why = tried(local, model, data, max_length=40)
    assert not done
    assert "two records have" in why
    with pytest.raises(UsageError, match="cannot take packed rows: two records have"):
        tried(local, model, data, max_length=40, pack="on")


def test_a_model_that_mixes_records_is_not_packed(local: Any, data: Path) -> None:
    """A model that ignores masks, as one does that makes its own: one record would see the other."""
    model, _ = adapt(local, talking.SMALL.lora, 0)
    decoder = local.model.get_decoder()
    forward = decoder.forward
    decoder.forward = lambda *args, attention_mask=None, position_ids=None, **more: forward(*args, **more)
    assert tried(local, model, data) == (False, "one record a row, because a record sees the one before it in its row")
    with pytest.raises(UsageError, match="a record sees the one before it"):
        tried(local, model, data, pack="on")


def test_a_model_that_counts_on_is_not_packed(local: Any, data: Path) -> None:
    """A model whose positions matter, and which does not take those that it is given."""
    model, _ = adapt(local, talking.SMALL.lora, 0)
    decoder = local.model.get_decoder()
    embed = torch.nn.Embedding(4096, tiny_models.HIDDEN)
    forward = decoder.forward

    def counting(*args: Any, inputs_embeds: torch.Tensor, **more: Any) -> Any:
        return forward(*args, inputs_embeds=inputs_embeds + embed(torch.arange(inputs_embeds.shape[1])), **more)

    decoder.forward = counting
    done, why = tried(local, model, data)
    assert not done
    assert "the logits in a packed row differ by" in why


def test_narrow_windows_and_failing_models_are_not_packed(local: Any, data: Path) -> None:
    model, _ = adapt(local, talking.SMALL.lora, 0)
    config = local.model.config.get_text_config()
    config.sliding_window = 64
    assert tried(local, model, data) == (False, "one record a row, because some layers look back only 64 tokens")
    config.sliding_window = None

    def fails(*_: Any, **__: Any) -> Any:
        raise ValueError("no such mask")

    local.model.get_decoder().forward = fails
    assert tried(local, model, data) == (False, "one record a row, because its forward pass fails (no such mask)")
