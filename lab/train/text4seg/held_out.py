"""How good a model is on records that it was not trained on: its loss, and the masks that it writes itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vidmem.errors import MediaError, UsageError
from vidmem.evaluation.masks import ciou, giou, overlaps
from vidmem.export.textanswer import read_answer
from vidmem.export.textmask import CLOSE, OPEN, TextMask, decode
from vidmem.vlm.local import LocalModel

from .chat import Chat, Example, Unusable
from .config import Precision
from .model import answer_loss, computing, pad_token
from .packing import padded
from .records import Conversation, Records

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Figures of a model on held-out records. Those that nothing was counted for are None.

    Attributes:
        records: Records that were measured.
        skipped: Records that could not be used.
        loss: Mean cross-entropy over all tokens of their answers, in nats.
        masks: Records whose right answer has a mask; the rest are questions that are answered in words.
        strict: Share of their written answers that are read without any repair.
        exact: Share of them whose mask is the right one, cell for cell.
        ciou: Sum of the intersections over the sum of the unions, in cells, over all pairs of a record and a label.
        giou: Mean IoU of these pairs; 1 where neither has a cell.
        ended: Share of all written answers that end before `most_tokens`.
        most_tokens: Where an answer is cut off: twice the longest right answer.
    """

    records: int
    skipped: int
    loss: float
    masks: int
    strict: float | None
    exact: float | None
    ciou: float | None
    giou: float | None
    ended: float
    most_tokens: int

    def as_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)

    def told(self) -> str:
        """One line for people."""
        told = f"held out: loss {self.loss:.4f} on {self.records} records"
        if self.masks:
            told += f"; of {self.masks} masks {self.strict:.3f} are read without repair, {self.exact:.3f} are exact"
            told += f", cIoU {self.ciou:.3f}, gIoU {self.giou:.3f}" if self.ciou is not None else ""
        return told + (f"; {self.skipped} records left out" if self.skipped else "")


def check_usable(records: Records, chat: Chat, *, max_length: int, most: int | None = None) -> None:
    """Raise the MediaError of `measure` if none of the records that it would measure can be used."""
    next(_usable(records, chat, spread(len(records), most), max_length))


def _usable(
    records: Records, chat: Chat, chosen: Sequence[int], max_length: int
) -> Iterator[tuple[Conversation, Example]]:
    """Those of the chosen records that can be used, with their tokens. Raises MediaError if there are none."""
    found, reason = False, ""
    for index in chosen:
        conversation = records[index]
        try:
            example = chat.encode(conversation, max_length)
        except Unusable as error:
            reason = reason or f"{conversation.where}: {error}"
            continue
        found = True
        yield conversation, example
    if not found:
        raise MediaError(f"none of the {len(chosen)} held-out records can be used; the first one is {reason}")


@torch.no_grad()
def measure(
    model: Any,
    local: LocalModel,
    records: Records,
    chat: Chat,
    *,
    max_length: int,
    precision: Precision = "fp32",
    most: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> HeldOut:
    """Measure a model, with greedy decoding of bounded length.

    Args:
        model: The model with its adapter, in the state of use.
        local: The model's folder, device and tokenizer.
        records: The records.
        chat: Their tokens.
        max_length: Longer records are left out.
        precision: Of the forward passes.
        most: Records to measure, evenly spread over the data; None for all.
        progress: Called with the number of records done and of all.

    Raises:
        MediaError: None of the records can be used.
    """
    chosen = spread(len(records), most)
    usable = list(_usable(records, chat, chosen, max_length))
    bound = 2 * max(example.answers for _, example in usable)
    nats = tokens = ended = strict = exact = masks = 0.0
    pairs: list[tuple[Mask, Mask]] = []
    for done, (conversation, example) in enumerate(usable, 1):
        with computing(precision, local.device):
            nats += float(answer_loss(model, padded([example], pad_token(local)).to(local.device)))
        tokens += example.answers
        text, complete = write(model, local, chat, conversation, bound, precision)
        ended += complete
        wanted = mask_of(conversation.turns[-1].answer)
        if wanted is not None:
            reading = read_answer(text, wanted.cells.shape)
            masks += 1
            strict += not reading.problems
            exact += reading.mask == wanted
            pairs += label_pairs(reading.mask, wanted)
        if progress:
            progress(done, len(usable))
    counted = overlaps(pairs)
    return HeldOut(
        records=len(usable),
        skipped=len(chosen) - len(usable),
        loss=nats / tokens,
        masks=int(masks),
        strict=_share(strict, masks),
        exact=_share(exact, masks),
        ciou=_number(ciou(counted)),
        giou=_number(giou(counted)),
        ended=ended / len(usable),
        most_tokens=bound,
    )


@torch.no_grad()
def write(
    model: Any, local: LocalModel, chat: Chat, conversation: Conversation, most: int, precision: Precision = "fp32"
) -> tuple[str, bool]:
    """Let the model write the last answer of a conversation, the likeliest token each time.

    Returns:
        The answer, and whether it ended before `most` tokens.
    """
    inputs = {name: value.to(local.device) for name, value in chat.prompt(conversation).items()}
    with computing(precision, local.device):
        found = model.generate(
            **inputs,
            max_new_tokens=most,
            do_sample=False,
            num_beams=1,
            pad_token_id=pad_token(local),
            eos_token_id=list(chat.stops),
        )
    written: list[int] = found[0, inputs["input_ids"].shape[1] :].tolist()
    end = next((at for at, token in enumerate(written) if token in chat.stops), None)
    return str(local.tokenizer.decode(written[:end], skip_special_tokens=False)), end is not None


def mask_of(answer: str) -> TextMask | None:
    """The mask in a right answer; None if it has none in the strict form."""
    start = answer.find(OPEN)
    end = answer.find(CLOSE, start)
    if start < 0 or end < 0:
        return None
    try:
        return decode(answer[start + len(OPEN) : end])
    except UsageError:
        return None


def label_pairs(found: TextMask, wanted: TextMask) -> list[tuple[Mask, Mask]]:
    """The cells of each label, as (found, wanted); one empty pair for two masks without labels."""
    labels = dict.fromkeys([*wanted.labels, *found.labels])
    if not labels:
        blank = np.zeros(wanted.cells.shape, np.bool_)
        return [(blank, blank)]
    return [(found.mask(name, number), wanted.mask(name, number)) for name, number in labels]


def spread(size: int, most: int | None) -> Sequence[int]:
    """At most `most` numbers from 0 to size - 1, evenly spread."""
    if most is None or most >= size:
        return range(size)
    return [i * size // most for i in range(most)]


def _share(count: float, of: float) -> float | None:
    return count / of if of else None


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
