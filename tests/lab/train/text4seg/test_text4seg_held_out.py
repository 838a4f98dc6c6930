"""Figures of a model on held-out records."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import talking
import torch

from lab.train.text4seg import held_out
from lab.train.text4seg.chat import Chat
from lab.train.text4seg.held_out import label_pairs, mask_of, measure, spread, write
from lab.train.text4seg.model import answer_loss
from lab.train.text4seg.packing import padded
from lab.train.text4seg.records import Conversation, Records
from vidmem.errors import MediaError
from vidmem.export.textmask import TextMask
from vidmem.vlm.local import LocalModel


@pytest.fixture
def says(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let the model write given answers, by the right one."""

    def set_(answers: dict[str, str], ended: bool = True) -> None:
        def written(model: Any, local: Any, chat: Any, conversation: Conversation, *_: Any) -> tuple[str, bool]:
            right = conversation.turns[-1].answer
            return answers.get(right, right), ended

        monkeypatch.setattr(held_out, "write", written)

    return set_


def figures(local: LocalModel, data: Path, **more: Any) -> held_out.HeldOut:
    records = Records([data])
    return measure(local.model, local, records, Chat(local), max_length=256, **more)


def test_right_answers(local: LocalModel, data: Path, says: Any) -> None:
    says({})
    found = figures(local, data)
    assert (found.records, found.skipped, found.masks) == (4, 0, 4)
    assert (found.strict, found.exact, found.ciou, found.giou, found.ended) == (1, 1, 1, 1, 1)
    assert found.told().startswith("held out: loss ")


def test_the_loss_is_the_mean_over_tokens(local: LocalModel, data: Path, says: Any) -> None:
    says({})
    records, chat = Records([data]), Chat(local)
    examples = [chat.encode(records[n], 256) for n in range(4)]
    with torch.no_grad():
        nats = float(answer_loss(local.model, padded(examples, 0)))
    assert figures(local, data).loss == pytest.approx(nats / sum(e.answers for e in examples), rel=1e-5)
    assert figures(local, data).most_tokens == 2 * max(e.answers for e in examples)


def test_wrong_answers_are_counted(local: LocalModel, data: Path, says: Any) -> None:
    says(
        {
            talking.answer(0): "<seg>others *2| cup *6\n others *8\n</seg>",  # one cell of 7 is missing
            talking.answer(1): "<seg>others *2| dog *6\n others *8\n</seg>",  # 6 cells of another thing
            talking.answer(2): "<seg>others *3| cup *5\n others *8",  # cut short, and right
            talking.answer(3): "I see no cup.",  # 4 cells are missing
        },
        ended=False,
    )
    found = figures(local, data)
    assert (found.strict, found.exact, found.ended) == (0.5, 0.25, 0)
    assert found.ciou == pytest.approx((6 + 0 + 0 + 5 + 0) / (7 + 6 + 6 + 5 + 4))
    assert found.giou == pytest.approx((6 / 7 + 0 + 0 + 1 + 0) / 5)


def test_records_without_masks_and_absent_things(local: LocalModel, tmp_path: Path, says: Any) -> None:
    folder = talking.data(tmp_path / "data", 3)
    empty = "There is none:\n<seg>others *8\n others *8\n</seg>"
    talking.write(
        folder / "data.jsonl",
        [talking.record(0, response="A cup."), talking.record(1, response=empty), talking.record(9)],
    )
    says({})
    found = figures(local, folder)
    assert (found.records, found.skipped, found.masks, found.exact, found.giou, found.ciou) == (2, 1, 1, 1, 1, None)
    assert "1 records left out" in found.told()
    talking.write(folder / "data.jsonl", [talking.record(0, response="A cup.")])
    found = figures(local, folder)
    assert (found.masks, found.strict, found.exact, found.ciou) == (0, None, None, None)
    talking.write(folder / "data.jsonl", [talking.record(9)])
    with pytest.raises(MediaError, match="none of the 1 held-out records can be used"):
        figures(local, folder)


def test_an_endless_answer_is_cut(local: LocalModel, data: Path) -> None:
    """A random model rambles on."""
    records, chat = Records([data]), Chat(local)
    text, ended = write(local.model, local, chat, records[0], 7)
    assert not ended
    assert 1 <= len(chat.processor.tokenizer(text)["input_ids"]) <= 7 * 4
    found = figures(local, data, most=2)
    assert found.records == 2
    assert found.ended < 1


def test_records_are_spread_evenly() -> None:
    assert list(spread(10, None)) == list(spread(10, 10)) == list(range(10))
    assert spread(10, 4) == [0, 2, 5, 7]
    assert spread(3, 1) == [0]


def test_masks_of_right_answers() -> None:
    assert mask_of("In words.") is None
    assert mask_of("<seg>cup *2\n") is None
    assert mask_of("<seg>cup two</seg>") is None
    found = mask_of("Here:\n<seg>cup *2\n others *2\n</seg>.")
    assert isinstance(found, TextMask)
    assert found.cells.tolist() == [[0, 0], [-1, -1]]
    assert len(label_pairs(found, found)) == 1
