"""What is found out before a training: whether records are usable, how long they are, and if rows can be packed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from vidmem.errors import MediaError, UsageError
from vidmem.vlm.local import LocalModel

from .chat import IGNORED, Chat, Example, Unusable
from .config import TrainConfig
from .model import computing, form_of, logits_at, pad_token, positions_of, window_of
from .packing import Positions, packed, padded
from .records import Records

LOOKED_AT = 16
"""Usable records of which lengths are told."""
TOLERANCE = {"fp32": 1e-3, "bf16": 0.05}
"""Greatest difference of a logit, as a share of the greatest logit, that rounding may explain."""


@dataclass(frozen=True, slots=True)
class Found:
    """The beginning of the data.

    examples: the first usable records. unusable: how many were passed over. count: tokens of the run length *12.
    """

    examples: tuple[Example, ...]
    unusable: int
    count: int

    def told(self) -> str:
        """One line for people."""
        answers = [example.answers for example in self.examples]
        lengths = [len(example) for example in self.examples]
        return (
            f"answers of {sum(answers) / len(answers):.0f} tokens on average, {max(answers)} at most; records of "
            f"{sum(lengths) / len(lengths):.0f}, {max(lengths)} at most (the first {len(answers)} records); "
            f'"*12" is {self.count} token{"s" if self.count != 1 else ""}'
        )


def look(records: Records, chat: Chat, config: TrainConfig) -> Found:
    """Encode records until LOOKED_AT of them are usable. Raises MediaError if none of the data is."""
    examples: list[Example] = []
    unusable, reason = 0, ""
    for index in range(len(records)):
        conversation = records[index]
        try:
            examples.append(chat.encode(conversation, config.max_length))
        except Unusable as error:
            unusable += 1
            reason = reason or f"{conversation.where}: {error}"
        if len(examples) == LOOKED_AT:
            break
    if not examples:
        raise MediaError(f"none of the {unusable} records can be used; the first one is {reason}")
    return Found(tuple(examples), unusable, len(chat.processor.tokenizer("*12", add_special_tokens=False)["input_ids"]))


def packing(model: Any, local: LocalModel, examples: Sequence[Example], config: TrainConfig) -> tuple[bool, str]:
    """Decide whether rows are packed, and say why.

    With `pack` "auto" or "on", the model is tried: in a row of two records, the second must have the logits that it has
    alone, and not one of them may change with the first. Raises UsageError if `pack` is "on" and it cannot.
    """
    if config.pack == "off":
        return False, "one record a row, as asked for"
    reason = _obstacle(model, local, examples, config)
    if reason is None:
        return True, f"several records a row, up to {config.max_length} tokens"
    if config.pack == "on":
        raise UsageError(f"this model cannot take packed rows: {reason}; set `pack` to auto or off")
    return False, f"one record a row, because {reason}"


def _obstacle(model: Any, local: LocalModel, examples: Sequence[Example], config: TrainConfig) -> str | None:
    if window_of(model) < config.max_length:
        return f"some layers look back only {window_of(model):.0f} tokens"
    one, two = examples[0], examples[-1]
    if len(one) + len(two) > config.max_length:
        return f"two records have {len(one) + len(two)} tokens together, more than {config.max_length}"
    positions = positions_of(model)
    other = replace(one, ids=_changed(one))
    try:
        alone = _logits(model, local, [two], config, None)
        after = _logits(model, local, [one, two], config, positions)[-two.answers :]
        changed = _logits(model, local, [other, two], config, positions)[-two.answers :]
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        return f"its forward pass fails ({str(error).splitlines()[0][:120] if str(error) else type(error).__name__})"
    if not torch.equal(after, changed):
        return "a record sees the one before it in its row"
    worst = float((after - alone).abs().max() / alone.abs().max().clamp_min(1e-12))
    if worst > TOLERANCE[config.precision]:
        return f"the logits in a packed row differ by {worst:.2g} of the greatest"
    return None


def _changed(example: Example) -> torch.Tensor:
    """The ids with the token that ends the answer in place of every token of it; pictures stay as they are."""
    inside = example.labels != IGNORED
    return torch.where(inside, example.ids[inside][-1], example.ids)


@torch.no_grad()
def _logits(
    model: Any, local: LocalModel, examples: Sequence[Example], config: TrainConfig, positions: Positions | None
) -> torch.Tensor:
    """Logits of the answers; with `positions` in one row."""
    pad = pad_token(local)
    batch = packed([examples], pad, positions, form_of(model)) if positions else padded(examples, pad)
    with computing(config.precision, local.device):
        return logits_at(model, batch.to(local.device))[0]
