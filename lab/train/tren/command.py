"""`python -m lab.train tren`."""

from __future__ import annotations

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


def tren(
    data: Annotated[
        list[str],
        option(
            "--data",
            "DATA",
            "Training data; repeat for more: annotations.json or annotations.json@images/ (COCO), a folder with "
            "images/ and masks/, lostfound:0:40, or openimages:, phrasecut:, mapillary: or sa1b: before a FOLDER. "
            "=WEIGHT, =regions or =texts may follow.",
        ),
    ],
    out: Annotated[Path, option("--out", "FOLDER", "Folder for weights, checkpoints and logs.")],
    backbone: Annotated[str, option("--backbone", "NAME", "Frozen backbone: tiny, dinov3, or dinov3:SIZE.")] = "tiny",
    weights: Annotated[Path | None, option("--weights", "FOLDER", "Folder of the backbone's weights.")] = None,
    pixels: Annotated[int, option("--pixels", "N", "Side of the pictures, 0 for the backbone's own.")] = 0,
    form: Annotated[
        str,
        option("--form", "paper|code", "Train as the paper says, or as its authors' public code does."),
    ] = "paper",
    resume: Annotated[bool, typer.Option("--resume", help="Continue the training in --out.")] = False,
    crowd: Annotated[str, option("--crowd", "skip|keep", "What to do with COCO's crowds.")] = "skip",
    synonyms: Annotated[
        Path | None, option("--synonyms", "FILE", "Synonyms: one group a line, separated by tabs.")
    ] = None,
    synonym_cosine: Annotated[
        float,
        option("--synonym-cosine", "T", "Without such a file: names with a higher cosine are one class."),
    ] = 0.725,
    steps: Annotated[int, option("--steps", "N", "Steps of the optimiser.")] = 60_000,
    batch: Annotated[int, option("--batch", "N", "Pictures per step.")] = 16,
    accumulate: Annotated[int, option("--accumulate", "N", "Process a batch in N parts, to save memory.")] = 1,
    batches: Annotated[
        str | None,
        option("--batches", "joint|apart", "One batch per step, or one of regions and one of named regions. [by form]"),
    ] = None,
    points: Annotated[int | None, option("--points", "N", "Point prompts per picture or view. [by form]")] = None,
    points_text: Annotated[
        int | None, option("--points-text", "N", "The same in batches of named regions, if apart. [by form]")
    ] = None,
    point_grid: Annotated[
        int | None, option("--point-grid", "N", "Points are on a grid of N x N, 0 for any pixel. [by form]")
    ] = None,
    views: Annotated[int | None, option("--views", "1|2", "Views of a picture in a step. [by form]")] = None,
    crop: Annotated[
        float | None, option("--crop", "SHARE", "Least area of a view's crop, 1 for none. [by form]")
    ] = None,
    flip: Annotated[bool | None, typer.Option("--flip/--no-flip", help="Mirror half of the views. [by form]")] = None,
    jitter: Annotated[
        float | None, option("--jitter", "SHARE", "Change brightness and contrast of views by this share. [by form]")
    ] = None,
    sampling: Annotated[
        str, option("--sampling", "overlap|even", "Points by squared overlap of masks, or evenly over masks.")
    ] = "overlap",
    lr: Annotated[float, option("--lr", "RATE", "Learning rate after the warm-up.")] = 1e-3,
    warmup: Annotated[int, option("--warmup", "N", "Steps of linear warm-up.")] = 1500,
    final: Annotated[
        float | None, option("--final", "SHARE", "Final learning rate as a share of --lr. [by form]")
    ] = None,
    weight_decay: Annotated[float, option("--weight-decay", "W", "Weight decay of AdamW.")] = 0.01,
    clip: Annotated[float, option("--clip", "NORM", "Maximum norm of the gradient.")] = 5.0,
    tau: Annotated[float, option("--tau", "T", "Temperature of the contrastive losses.")] = 0.1,
    visual: Annotated[float, option("--visual", "W", "Weight of Eq. 1, the visual contrast.")] = 1.0,
    text: Annotated[float, option("--text", "W", "Weight of Eq. 2, the contrast with names.")] = 1.0,
    distil_visual: Annotated[float, option("--distil-visual", "W", "Weight of Eq. 3, visual half.")] = 1.0,
    distil_text: Annotated[float, option("--distil-text", "W", "Weight of Eq. 3, text half.")] = 1.0,
    mask: Annotated[float | None, option("--mask", "W", "Weight of Eq. 4, on the attention. [by form]")] = None,
    similarity: Annotated[
        float | None,
        option("--similarity", "W", "Weight of the similarities of two views' tokens, in Eq. 3. [by form]"),
    ] = None,
    contrast_scope: Annotated[
        str | None,
        option("--contrast-scope", "batch|image", "Eq. 1 within the batch, or within each picture. [by form]"),
    ] = None,
    text_form: Annotated[
        str | None,
        option(
            "--text-form",
            "paper|all|infonce",
            "Eq. 2 as printed, with all pairs in the denominator, or with the positive pair in it. [by form]",
        ),
    ] = None,
    negatives: Annotated[str, option("--negatives", "batch|vocabulary", "Negative names in Eq. 2.")] = "batch",
    text_target: Annotated[
        str | None,
        option(
            "--text-target",
            "head_of_mean|summed|mean_of_head",
            "The backbone's head on mask-pooled features, on the sums of all regions together, or its pooled output. "
            "[by form]",
        ),
    ] = None,
    mask_loss: Annotated[
        str | None, option("--mask-loss", "bce|focal", "Eq. 4 with cross-entropy or focal loss. [by form]")
    ] = None,
    bce: Annotated[str, option("--bce", "plain|balanced", "Cross-entropy of the masks.")] = "plain",
    spare: Annotated[
        str, option("--spare", "ignore|repeat", "Predictions without a target are ignored, or get the nearest one.")
    ] = "ignore",
    heads: Annotated[int, option("--heads", "N", "Attention heads.")] = 8,
    layers: Annotated[int, option("--layers", "N", "Decoder layers.")] = 2,
    k: Annotated[int, option("--k", "N", "Tokens per point.")] = 3,
    dropout: Annotated[float, option("--dropout", "P", "Dropout in the text projector.")] = 0.1,
    seed_queries: Annotated[
        bool, typer.Option("--seed-queries", help="Add the patch under the point to each query.")
    ] = False,
    coarse: Annotated[int, option("--coarse", "N", "Average N x N patches in the decoder layers.")] = 1,
    start: Annotated[
        str, option("--start", "random|near_identity", "Initial weights; near_identity learns faster.")
    ] = "random",
    text_start: Annotated[
        str, option("--text-start", "random|head", "Initial weights of the text projector.")
    ] = "random",
    precision: Annotated[str, option("--precision", "bf16|fp32", "Precision of the forward pass.")] = "bf16",
    seed: SeedOption = 0,
    log_every: LogEveryOption = 50,
    checkpoint_every: CheckpointEveryOption = 500,
    workers: WorkersOption = 2,
    tensorboard: TensorboardOption = True,
    device: DeviceOption = None,
) -> None:
    """Train a T-REN region encoder on a frozen backbone.

    The defaults are the paper's; --form code sets those marked [by form] as the authors' code does. --resume continues
    an interrupted training exactly. The exit code is 3 if pictures were left out.
    """
    with libraries():
        from vidmem.encoders.device import pick_device

        from ..checkpoint import may_start
        from .backbones import load_backbone
        from .data import open_data
        from .forms import configure
        from .loop import WEIGHTS, fit

    if crowd not in ("skip", "keep"):
        raise UsageError(f"--crowd is skip or keep; got {crowd!r}")
    config = configure(
        form,
        tau=tau,
        visual=visual,
        text=text,
        distil_visual=distil_visual,
        distil_text=distil_text,
        mask=mask,
        similarity=similarity,
        contrast_scope=contrast_scope,
        text_form=text_form,
        negatives=negatives,
        text_target=text_target,
        mask_loss=mask_loss,
        bce=bce,
        spare=spare,
        heads=heads,
        layers=layers,
        k=k,
        dropout=dropout,
        seed_queries=seed_queries,
        coarse=coarse,
        start=start,
        text_start=text_start,
        views=views,
        crop=crop,
        flip=flip,
        jitter=jitter,
        batches=batches,
        points=points,
        points_text=points_text,
        point_grid=point_grid,
        sampling=sampling,
        synonyms=synonym_cosine,
        batch=batch,
        accumulate=accumulate,
        lr=lr,
        weight_decay=weight_decay,
        warmup=warmup,
        steps=steps,
        final=final,
        clip=clip,
        precision=precision,
        log_every=log_every,
        checkpoint_every=checkpoint_every,
        seed=seed,
    )
    may_start(out, resume, [weights] if weights else [])  # before the slow part
    where, _ = pick_device(device)
    frozen = load_backbone(backbone, weights, where, pixels)
    found = open_data(data, out / "data", crowd="keep" if crowd == "keep" else "skip", size=frozen.size)
    say(f"{len(found)} pictures, {len(found.names)} names, backbone {frozen.name} on {where}")

    def report(step: int, row: Any) -> None:
        say(f"step {step} of {steps}  loss {row['loss']:.4f}  {row['steps_per_second']:.2f} steps/s")

    broken = 0

    def damaged(reason: str) -> None:
        nonlocal broken
        broken += 1
        warn(f"a picture is left out: {reason}")

    with resumable(out):
        fit(
            frozen,
            found,
            config,
            out,
            where,
            resume=resume,
            synonyms=synonyms,
            workers=workers,
            tensorboard=tensorboard,
            report=report,
            damaged=damaged,
        )
    print(out / WEIGHTS)
    if broken:
        warn(f"{broken} of {len(found)} pictures were left out")
        raise typer.Exit(3)
