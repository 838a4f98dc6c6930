"""The training loop: AdamW, warm-up and linear decay, clipping, accumulation, checkpoints (Text4Seg, Table 7)."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from vidmem.errors import UsageError, VidmemError
from vidmem.vlm.local import LocalModel

from .. import checkpoint
from ..logs import Log
from ..optimizers import adamw
from ..order import Order
from .chat import Chat, Example, Unusable
from .config import TrainConfig
from .model import (
    Parts,
    answer_loss,
    computing,
    fingerprint,
    form_of,
    pad_token,
    positions_of,
    to_training,
    to_use,
    trained,
)
from .packing import Batch, Positions, batches
from .records import Records

FORMAT = "vidmem-text4seg-training-1"
SKIPPED = "skipped.jsonl"
Row = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Skipped:
    """A record that cannot be used, and why."""

    where: str
    reason: str


class Encoded(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """Records as tokens; keys are (position in the training, number of the record)."""

    def __init__(self, records: Records, chat: Chat, max_length: int) -> None:
        self.records, self.chat, self.max_length = records, chat, max_length

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, key: tuple[int, int]) -> Example | Skipped | VidmemError:
        """An error that ends the training is returned: PyTorch would put a worker's traceback into its message."""
        try:
            conversation = self.records[key[1]]
            return self.chat.encode(conversation, self.max_length)
        except Unusable as error:
            return Skipped(conversation.where, str(error))
        except VidmemError as error:
            return error


def fit(
    local: LocalModel,
    model: Any,
    parts: Parts,
    records: Records,
    chat: Chat,
    config: TrainConfig,
    out: Path,
    *,
    packed: bool,
    resume: bool = False,
    workers: int = 0,
    tensorboard: bool = True,
    report: Callable[[int, Row], None] | None = None,
) -> int:
    """Train the adapter of a model, which is then in the state of use.

    Args:
        local: The base model.
        model: The base with its adapter, from `adapt`.
        parts: Its parts.
        records: The data.
        chat: The tokens of records.
        config: The settings.
        out: Folder for checkpoints, logs and the list of records that were left out.
        packed: Put several records into a row.
        resume: Continue from the checkpoint in `out`. On the CPU, with the same number of threads, the result equals
            that of an uninterrupted training bit for bit.
        workers: Processes that read pictures and make tokens.
        tensorboard: Also write logs for TensorBoard.
        report: Called with the step and the row of each log line.

    Returns:
        The number of records that were left out, each counted once.

    Raises:
        UsageError: There is a training where one is to start, none where one is to be resumed, it has other settings,
            or the loss is not finite.
        MediaError: The data is no longer what it was.
    """
    path = checkpoint.may_start(out, resume)
    checkpoint.make_folder(out)
    weights = trained(model)
    optimizer = adamw(
        weights.values(),
        lr=config.lr,
        weight_decay=config.weight_decay,
        betas=config.betas,
        eight_bit=config.optimizer == "adamw8bit",
    )
    facts = facts_of(local, records, config, weights)
    first = checkpoint.restore(path, weights, optimizer, facts, FORMAT) if resume else 0
    order = Order(len(records), config.batch, first, config.steps, config.seed)
    stream = read(Encoded(records, chat, config.max_length), order, workers)
    positions = positions_of(model) if packed else None
    to_training(model, parts, config.checkpointing)
    skips = Skips(out / SKIPPED, fresh=not resume)
    sums: dict[str, float] = {}
    began, since = time.monotonic(), first
    cuda = [local.device] if local.device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda), Log(out, first, tensorboard) as log:
        for step in range(first, config.steps):
            items = list(islice(stream, config.batch))
            usable = [item for item in items if isinstance(item, Example)]
            skipped = [item for item in items if isinstance(item, Skipped)]
            skips.add(skipped)
            rate = config.rate(step)
            for group in optimizer.param_groups:
                group["lr"] = rate
            cut = passes(usable, local, model, config, positions)
            terms = update(model, optimizer, cut, config, step, local.device)
            for name, value in {**terms, "skipped": float(len(skipped))}.items():
                sums[name] = sums.get(name, 0.0) + value
            done = step + 1
            if done % config.log_every == 0 or done == config.steps:
                row = averages(sums) | {"rate": rate}
                pace = (done - since) / max(1e-9, time.monotonic() - began)
                log.write(done, row)
                if report:
                    report(done, {**row, "steps_per_second": pace})
                sums, since, began = {}, done, time.monotonic()
            if done % config.checkpoint_every == 0 or done == config.steps:
                checkpoint.save(path, weights, optimizer, done, facts, FORMAT)
    to_use(model)
    return len(skips)


def read(encoded: Encoded, order: Order, workers: int) -> Iterator[Example | Skipped]:
    """Records in order, made by worker processes a few ahead.

    They come one by one, because a batch of pictures in tiles takes gigabytes. Each is copied out of the memory that is
    shared with its worker, since every tensor there holds a file open.
    """
    loader: Any = DataLoader(
        encoded,
        sampler=Keys(order),
        batch_size=None,
        collate_fn=_as_it_is,
        num_workers=workers,
        prefetch_factor=8 if workers else None,
    )
    for item in loader:
        if isinstance(item, VidmemError):
            raise item
        yield copied(item) if workers and isinstance(item, Example) else item


class Keys(torch.utils.data.Sampler[tuple[int, int]]):
    """The keys of an order, one by one."""

    def __init__(self, order: Order) -> None:
        self.order = order

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return ((key[0], key[1]) for keys in self.order for key in keys)

    def __len__(self) -> int:
        return len(self.order) * self.order.batch


def copied(example: Example) -> Example:
    """The same in memory of its own."""
    return replace(
        example,
        ids=example.ids.clone(),
        labels=example.labels.clone(),
        kinds={name: value.clone() for name, value in example.kinds.items()},
        pictures={name: value.clone() for name, value in example.pictures.items()},
    )


def _as_it_is(item: Any) -> Any:
    return item


def passes(
    examples: Sequence[Example], local: LocalModel, model: Any, config: TrainConfig, positions: Positions | None
) -> list[Batch]:
    """The forward passes for the records of a step."""
    return batches(
        examples,
        pad=pad_token(local),
        rows=config.rows,
        room=config.max_length,
        positions=positions,
        form=form_of(model),
    )


def update(
    model: Any,
    optimizer: torch.optim.Optimizer,
    cut: Sequence[Batch],
    config: TrainConfig,
    step: int,
    device: torch.device,
) -> dict[str, float]:
    """Take one step of the optimiser; none without records.

    Returns sums for `averages`. Raises UsageError if the loss is not finite, before any weight changes.
    """
    if not cut:
        return {}
    optimizer.zero_grad(set_to_none=True)
    tokens = sum(int((batch.labels[:, 1:] >= 0).sum()) for batch in cut)
    nats = 0.0
    for number, batch in enumerate(cut):
        torch.manual_seed(((config.seed * 1_000_003 + step) * 10_007 + number) % 2**63)  # for the dropout
        with computing(config.precision, device):
            loss = answer_loss(model, batch.to(device))
        (loss / tokens).backward()  # type: ignore[no-untyped-call]
        nats += loss.item()
    weights = [value for group in optimizer.param_groups for value in group["params"]]
    norm = nn.utils.clip_grad_norm_(weights, config.clip).item()
    if not (math.isfinite(nats) and math.isfinite(norm)):
        raise UsageError(
            f"the loss of step {step + 1} is not finite (loss {nats / tokens}, gradient {norm}); train anew with a "
            "lower `lr`, or with `precision` fp32"
        )
    optimizer.step()
    return {
        "nats": nats,
        "tokens": float(tokens),
        "records": float(sum(batch.records for batch in cut)),
        "norm": norm,
        "updates": 1.0,
        "cells": float(sum(batch.labels.numel() for batch in cut)),
        "filled": float(sum(batch.tokens for batch in cut)),
    }


def averages(sums: Mapping[str, float]) -> dict[str, float]:
    """A row of the log from the sums of its steps.

    loss: mean over all tokens of answers, in nats, `answer_tokens` of them. norm: of the gradient before clipping, mean
    over steps. records, skipped: how many were trained on and left out. full: share of the rows that is not padding.
    """
    row = {"records": sums.get("records", 0.0), "skipped": sums.get("skipped", 0.0)}
    if tokens := sums.get("tokens"):
        row = {"loss": sums["nats"] / tokens, "norm": sums["norm"] / sums["updates"], "answer_tokens": tokens, **row}
        row["full"] = sums["filled"] / sums["cells"]
    return row


def facts_of(
    local: LocalModel, records: Records, config: TrainConfig, weights: Mapping[str, nn.Parameter]
) -> dict[str, Any]:
    """Return the settings that must be equal to resume a training."""
    return {
        "model": local.kind,
        "base": fingerprint(local.base),
        "trained_weights": sum(value.numel() for value in weights.values()),
        "records": len(records),
        "data": records.digest,
        **config.as_dict(),
    }


class Skips:
    """The records that were left out, each once, as JSON lines in a file. fresh: begin a new file."""

    def __init__(self, path: Path, fresh: bool) -> None:
        self.path = path
        self.seen: set[str] = set()
        if fresh:
            path.unlink(missing_ok=True)
        elif path.exists():
            for line in path.read_text("utf-8").splitlines():
                try:
                    self.seen.add(json.loads(line)["record"])
                except (ValueError, KeyError, TypeError):
                    continue  # a line that a crash cut short

    def add(self, skipped: Sequence[Skipped]) -> None:
        """Write down those that are new."""
        new = [item for item in {item.where: item for item in skipped}.values() if item.where not in self.seen]
        if new:
            # A lone surrogate has no UTF-8; backslashreplace writes it as JSON does.
            with self.path.open("a", encoding="utf-8", errors="backslashreplace") as stream:
                for item in new:
                    stream.write(json.dumps({"record": item.where, "reason": item.reason}, ensure_ascii=False) + "\n")
            self.seen.update(item.where for item in new)

    def __len__(self) -> int:
        return len(self.seen)
