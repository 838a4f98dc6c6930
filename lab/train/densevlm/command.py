"""`python -m lab.train densevlm`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vidmem.cli.messages import say, warn
from vidmem.cli.options import DeviceOption
from vidmem.errors import MediaError, UsageError

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

if TYPE_CHECKING:
    from .names import Names


def densevlm(
    data: Annotated[
        list[Path],
        option("--data", "FOLDER", "Folder of pictures, with the folders below it; repeat for more."),
    ],
    student: Annotated[
        str, option("--student", "MODEL", "Model to adapt: NAME/TAG, local-dir:FOLDER or hf-hub:ORG/REPO.")
    ],
    teacher: Annotated[
        str, option("--teacher", "MODEL", "Frozen model that names the regions; it may be of another architecture.")
    ],
    out: Annotated[Path, option("--out", "FOLDER", "Folder for the adapted model, checkpoints and logs.")],
    names: Annotated[
        list[str] | None,
        option(
            "--names",
            "FILE|coco|ade20k|vspw",
            "Names of regions: a list that is built in, or a file with one a line, and after a tab thing or stuff; "
            "repeat for more.",
        ),
    ] = None,
    things: Annotated[
        list[Path] | None, option("--things", "FILE", "File of names of things, one a line; repeat for more.")
    ] = None,
    stuff: Annotated[
        list[Path] | None, option("--stuff", "FILE", "File of names of stuff, one a line; repeat for more.")
    ] = None,
    weights: Annotated[
        str | None,
        option("--weights", "FOLDER", "Folder of the models' weights. Default: VIDMEM_WEIGHTS, or the data folder."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the training in --out.")] = False,
    alignment: Annotated[
        str,
        option(
            "--alignment",
            "decoupled|coupled|apart|reversed",
            "Names that a region competes with. decoupled: things with things, stuff with all; coupled: all with all; "
            "apart: each kind with itself; reversed: things with all, stuff with stuff.",
        ),
    ] = "decoupled",
    reduction: Annotated[
        str,
        option("--reduction", "code|paper", "Sum of the means of things and of stuff, or one mean over all regions."),
    ] = "code",
    thing_columns: Annotated[
        str,
        option("--thing-columns", "paper|code", "All things count as things, or all but the last, as in the code."),
    ] = "paper",
    text_vectors: Annotated[
        str,
        option("--text-vectors", "unit|mean", "A name's vector is of length 1, or the mean over prompts as it is."),
    ] = "unit",
    prompts: Annotated[
        str,
        option("--prompts", "imagenet|scene|plain|FILE", "Sentences for names; a file has one a line, with {}."),
    ] = "imagenet",
    tau: Annotated[float, option("--tau", "T", "Temperature of the probabilities.")] = 0.01,
    threshold: Annotated[
        float, option("--threshold", "P", "Regions whose name has at most this probability are left out.")
    ] = 0.3,
    size: Annotated[int, option("--size", "N", "Side in pixels of the square that a picture is scaled into.")] = 512,
    teacher_size: Annotated[
        int, option("--teacher-size", "N", "The same for the teacher; 0 for about --size, in its patches.")
    ] = 0,
    batch: Annotated[int, option("--batch", "N", "Pictures per step. The paper has 192 on four GPUs.")] = 48,
    accumulate: Annotated[int, option("--accumulate", "N", "Process a batch in N parts, to save memory.")] = 1,
    epochs: Annotated[int, option("--epochs", "N", "Times that each picture is seen.")] = 6,
    steps: Annotated[int, option("--steps", "N", "Steps of the optimiser; 0 for as many as --epochs has.")] = 0,
    lr: Annotated[float, option("--lr", "RATE", "Learning rate after the warm-up.")] = 1e-5,
    warmup: Annotated[int, option("--warmup", "N", "Steps of linear warm-up; a cosine down to 0 follows.")] = 1000,
    weight_decay: Annotated[float, option("--weight-decay", "W", "Weight decay of AdamW.")] = 0.1,
    beta1: Annotated[float, option("--beta1", "B", "First momentum of AdamW.")] = 0.9,
    beta2: Annotated[float, option("--beta2", "B", "Second momentum of AdamW.")] = 0.98,
    eps: Annotated[float, option("--eps", "E", "Epsilon of AdamW.")] = 1e-6,
    clip: Annotated[float, option("--clip", "NORM", "Maximum norm of the gradient; 0 for no limit.")] = 0.0,
    optimizer: Annotated[
        str, option("--optimizer", "adamw|adamw8bit", "AdamW, or the one of bitsandbytes, which saves memory.")
    ] = "adamw",
    blend: Annotated[
        float, option("--blend", "SHARE", "Share of the trained weights in those that are saved; the rest are old.")
    ] = 0.9,
    precision: Annotated[str, option("--precision", "bf16|fp32", "Precision of the image towers.")] = "bf16",
    seed: SeedOption = 0,
    log_every: LogEveryOption = 50,
    checkpoint_every: CheckpointEveryOption = 500,
    workers: WorkersOption = 2,
    tensorboard: TensorboardOption = True,
    device: DeviceOption = None,
) -> None:
    """Adapt a CLIP model to regions without labels (DenseVLM).

    The defaults are the paper's. --resume continues an interrupted training exactly. The result is a folder that
    open_clip loads as local-dir:FOLDER, and vidmem as densevlm:local-dir:FOLDER. The exit code is 3 if pictures could
    not be read.
    """
    with libraries():
        from vidmem.encoders.device import pick_device

        from .. import checkpoint
        from .config import TrainConfig
        from .data import find_pictures
        from .loop import fit, make_pair
        from .texts import load_prompts
        from .towers import open_model

    # Typer passes plain strings; TrainConfig checks them.
    choices: dict[str, Any] = {
        "alignment": alignment,
        "reduction": reduction,
        "thing_columns": thing_columns,
        "text_vectors": text_vectors,
        "optimizer": optimizer,
        "precision": precision,
    }
    config = TrainConfig(
        tau=tau,
        threshold=threshold,
        size=size,
        teacher_size=teacher_size,
        batch=batch,
        accumulate=accumulate,
        epochs=epochs,
        steps=steps,
        lr=lr,
        warmup=warmup,
        beta1=beta1,
        beta2=beta2,
        eps=eps,
        weight_decay=weight_decay,
        clip=clip,
        blend=blend,
        log_every=log_every,
        checkpoint_every=checkpoint_every,
        seed=seed,
        **choices,
    )
    checkpoint.may_start(out, resume)  # before the slow part
    told = read_names(names or (), things or (), stuff or ())
    sentences = load_prompts(prompts)
    pictures = find_pictures(data)
    where, _ = pick_device(device)
    if told.repeated:
        say(f"{len(told.repeated)} names are there more than once and count once, such as {told.repeated[0]!r}")
    pair = make_pair(
        open_model("student", student, weights), open_model("teacher", teacher, weights), told, sentences, config, where
    )
    total = config.steps_for(len(pictures))
    say(
        f"{len(pictures)} pictures, {len(told.things)} things and {len(told.stuff)} stuff, {total} steps on {where}; "
        f"student {pair.student.side} pixels, teacher {pair.teacher.side}"
    )
    if total < warmup:
        warn(f"the warm-up of {warmup} steps is longer than the training of {total}; a shorter --warmup may be better")
    broken = 0

    def report(step: int, row: Any) -> None:
        memory = f"  {row['gigabytes']:.1f} GB" if "gigabytes" in row else ""
        say(
            f"step {step} of {total}  loss {row['loss']:.4f}  kept {row['kept']:.2f}  agree {row['agree']:.2f}  "
            f"{row['pictures_per_second']:.1f} pictures/s{memory}  whole training {duration(row['hours'])}"
        )

    def damaged(path: str, reason: str) -> None:
        nonlocal broken
        broken += 1
        warn(f"a picture cannot be read and is left out ({reason}): {path}")

    with resumable(out):
        result = fit(
            pair,
            told,
            pictures,
            config,
            out,
            resume=resume,
            workers=workers,
            tensorboard=tensorboard,
            report=report,
            damaged=damaged,
        )
    print(result)
    if broken:
        warn(f"{broken} of {len(pictures)} pictures could not be read")
        raise typer.Exit(3)


def read_names(lists: Sequence[str], things: Sequence[Path], stuff: Sequence[Path]) -> Names:
    """The names of all lists together.

    Args:
        lists: As in `vidmem.query.labels.load_labels`, where a name is a thing unless the list says stuff.
        things: Files of things, one a line.
        stuff: Files of stuff, one a line.

    Raises:
        UsageError: There are no names, or one is both a thing and stuff, or a list is malformed.
        MediaError: A file cannot be read.
    """
    from vidmem.query.labels import load_labels

    from .names import make_names

    if not (lists or things or stuff):
        raise UsageError("there are no names of regions; give `names`, or `things` and `stuff`")
    found: dict[bool, list[str]] = {True: [], False: []}
    for spec in lists:
        labels = load_labels(spec)
        for name, thing in zip(labels.names, labels.things.tolist(), strict=True):
            found[thing].append(name)
    for kind, paths in ((True, things), (False, stuff)):
        for path in paths:
            try:
                lines = path.read_text("utf-8-sig").splitlines()
            except (OSError, UnicodeDecodeError) as error:
                raise MediaError(f"the names cannot be read ({error}); give a text file: {path}") from None
            found[kind] += [line for line in lines if not line.lstrip().startswith("#")]
    return make_names(found[True], found[False])


def duration(hours: float) -> str:
    """Hours for people: "4 h 12 min", "7 min" or "40 s"."""
    minutes = hours * 60
    if minutes >= 60:
        return f"{int(minutes // 60)} h {int(minutes % 60)} min"
    return f"{minutes:.0f} min" if minutes >= 2 else f"{minutes * 60:.0f} s"
