"""`python -m lab.train text4seg`."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from vidmem.cli.messages import say, warn
from vidmem.cli.options import DeviceOption
from vidmem.errors import UsageError

from ..commanding import (
    CheckpointEveryOption,
    LogEveryOption,
    SeedOption,
    TensorboardOption,
    WorkersOption,
    libraries,
    option,
    resumable,
)

LARGE = 2e9
"""Bytes of a model that take seconds to read."""


def text4seg(
    data: Annotated[
        list[Path],
        option(
            "--data",
            "DATA",
            "Training data of `vidmem export --format text4seg`: a folder or a file of JSON lines; repeat for more.",
        ),
    ],
    model: Annotated[
        Path, option("--model", "FOLDER", "Folder of a vision-language model with a chat template, for transformers.")
    ],
    out: Annotated[Path, option("--out", "FOLDER", "Folder for the adapter, checkpoints and logs.")],
    resume: Annotated[bool, typer.Option("--resume", help="Continue the training in --out.")] = False,
    merge: Annotated[
        bool, typer.Option("--merge", help="Also write the whole model with the adapter in its weights.")
    ] = False,
    held_out: Annotated[
        list[Path] | None,
        option("--held-out", "DATA", "Measure the trained model on this data, in the same form; repeat for more."),
    ] = None,
    held_out_records: Annotated[
        int, typer.Option("--held-out-records", metavar="N", min=1, help="Measure at most N records, evenly spread.")
    ] = 500,
    epochs: Annotated[float, option("--epochs", "N", "Passes over the data; may be a fraction.")] = 5,
    steps: Annotated[int | None, option("--steps", "N", "Steps of the optimiser, in place of --epochs.")] = None,
    batch: Annotated[int, option("--batch", "N", "Records per step.")] = 128,
    rows: Annotated[
        int, option("--rows", "N", "Rows per forward pass; gradients of the batch's other rows are accumulated.")
    ] = 1,
    max_length: Annotated[
        int, option("--max-length", "N", "Most tokens of a record, and of a packed row. Longer records are left out.")
    ] = 4096,
    pack: Annotated[
        str, option("--pack", "auto|on|off", "Put several records into a row: if the model can, always, or never.")
    ] = "auto",
    lr: Annotated[float, option("--lr", "RATE", "Learning rate after the warm-up; it decays linearly to 0.")] = 2e-4,
    warmup: Annotated[float, option("--warmup", "SHARE", "Share of the steps with a linear warm-up.")] = 0.03,
    weight_decay: Annotated[float, option("--weight-decay", "W", "Weight decay of AdamW.")] = 0.0,
    clip: Annotated[float, option("--clip", "NORM", "Maximum norm of the gradient.")] = 1.0,
    rank: Annotated[int, option("--rank", "R", "Rank of LoRA.")] = 64,
    alpha: Annotated[int, option("--alpha", "A", "Alpha of LoRA; updates are scaled by A / R.")] = 128,
    dropout: Annotated[float, option("--dropout", "P", "Dropout of LoRA.")] = 0.05,
    connector: Annotated[
        str,
        option(
            "--connector",
            "lora|full|frozen",
            "Layers between vision encoder and language model: adapt them, train all their weights, or leave them.",
        ),
    ] = "lora",
    optimizer: Annotated[
        str, option("--optimizer", "adamw|adamw8bit", "adamw8bit keeps moments in 8 bits; it needs bitsandbytes.")
    ] = "adamw",
    precision: Annotated[str, option("--precision", "bf16|fp32", "Precision of the base model.")] = "bf16",
    checkpointing: Annotated[
        bool, typer.Option("--checkpointing", help="Compute activations twice, to save memory.")
    ] = False,
    seed: SeedOption = 0,
    log_every: LogEveryOption = 10,
    checkpoint_every: CheckpointEveryOption = 500,
    workers: WorkersOption = 4,
    tensorboard: TensorboardOption = True,
    device: DeviceOption = None,
) -> None:
    """Teach a vision-language model to answer with masks, by LoRA after Text4Seg.

    The defaults are the paper's. --resume continues an interrupted training exactly. The adapter is written to
    --out/adapter, and the whole model of --merge to --out/merged; `vidmem segment --ask` takes either. With --merge,
    --held-out measures the merged model. The exit code is 3 if records were left out.
    """
    with libraries():
        import torch

        from vidmem.vlm.local import load

        from ..checkpoint import may_start
        from .chat import Chat
        from .config import LoraSettings, TrainConfig, steps_of
        from .held_out import check_usable, measure
        from .loop import SKIPPED, fit
        from .model import adapt, files_of, save_adapter, save_merged, trained
        from .probe import look, packing
        from .records import Records

    check_apart(out, [*data, *(held_out or [])])
    may_start(out, resume, [model])
    records = Records(data)
    others = Records(held_out) if held_out else None
    # Typer passes plain strings; TrainConfig checks them.
    choices: dict[str, Any] = {"pack": pack, "precision": precision, "optimizer": optimizer}
    lora: dict[str, Any] = {"rank": rank, "alpha": alpha, "dropout": dropout, "connector": connector}
    config = TrainConfig(
        steps=steps_of(len(records), epochs, batch) if steps is None else steps,
        lora=LoraSettings(**lora),
        batch=batch,
        lr=lr,
        warmup=warmup,
        weight_decay=weight_decay,
        clip=clip,
        max_length=max_length,
        rows=rows,
        checkpointing=checkpointing,
        log_every=log_every,
        checkpoint_every=checkpoint_every,
        seed=seed,
        **choices,
    )
    local = load(model, device, dtype=torch.bfloat16 if precision == "bf16" else torch.float32)
    if local.base != local.folder:
        raise UsageError(
            f"the model is an adapter on {local.base}; train on its base, or on the model that --merge wrote: {model}"
        )
    chat = Chat(local, max(records.most_turns, others.most_turns if others else 1))
    found = look(records, chat, config)
    if others is not None:
        check_usable(others, chat, max_length=config.max_length, most=held_out_records)
    adapted, parts = adapt(local, config.lora, config.seed)
    packed, why = packing(adapted, local, found.examples, config)
    trainable = sum(value.numel() for value in trained(adapted).values())
    total = sum(value.numel() for value in adapted.parameters())
    say(f"{local.kind} on {local.device}: {trainable:,} of {total:,} weights are trained")
    say(f"{len(records)} records, {config.steps} steps; {found.told()}")
    say(f"rows: {why}")
    size = sum(path.stat().st_size for path in files_of(local.base))
    if size > LARGE:
        say(f"reading the {size / 1e9:.0f} GB of the model once more, so that a checkpoint knows it")

    def report(step: int, row: Any) -> None:
        loss = f"loss {row['loss']:.4f}" if "loss" in row else "no usable record"
        left = f"  {row['skipped']:.0f} records left out" if row["skipped"] else ""
        say(f"step {step} of {config.steps}  {loss}  {row['steps_per_second']:.2f} steps/s{left}")

    with resumable(out):
        skipped = fit(
            local,
            adapted,
            parts,
            records,
            chat,
            config,
            out,
            packed=packed,
            resume=resume,
            workers=workers,
            tensorboard=tensorboard,
            report=report,
        )
        save_adapter(adapted, local, out / "adapter")
        print(out / "adapter")
        final = adapted
        if merge:
            final = save_merged(adapted, local, out / "merged")
            print(out / "merged")
        unmeasured = 0
        if others is not None:

            def told(done: int, of: int) -> None:
                if done % 50 == 0 and done < of:
                    say(f"held out: {done} of {of} records")

            figures = measure(
                final,
                local,
                others,
                chat,
                max_length=config.max_length,
                precision=config.precision,
                most=held_out_records,
                progress=told,
            )
            (out / "held_out.json").write_text(json.dumps(figures.as_dict(), indent=2) + "\n", "utf-8")
            say(figures.told())
            unmeasured = figures.skipped
    if skipped:
        warn(f"{skipped} records were left out; {out / SKIPPED} names them")
    if unmeasured:
        warn(f"{unmeasured} held-out records were left out of the measurement")
    if skipped or unmeasured:
        raise typer.Exit(3)


def check_apart(out: Path, data: Sequence[Path]) -> None:
    """Raise UsageError if `out` is one of the folders of data or lies in one: its logs would be read as data."""
    place = Path(os.path.realpath(out))
    for path in data:
        if os.path.isdir(path) and Path(os.path.realpath(path)) in (place, *place.parents):
            raise UsageError(f"`out` lies in a folder of data, {path}; choose a folder elsewhere: {out}")
