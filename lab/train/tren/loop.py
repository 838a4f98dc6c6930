"""The training loop: AdamW, warm-up and cosine, clipping, accumulation, checkpoints (T-REN, appendix A.3)."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from vidmem.encoders.tren.region_encoder import RegionEncoder
from vidmem.errors import UsageError, VidmemError

from .. import checkpoint
from ..logs import Log
from .config import TrainConfig
from .order import order_of
from .prepare import Batch, Prepared, Returned, collate_step
from .sample import Data, pools_of
from .step import Texts, build, losses_of
from .synonyms import group_by_cosine, group_by_file

if TYPE_CHECKING:
    from .backbones import Backbone, Seen

FORMAT = "vidmem-tren-training-1"
"""Of its checkpoints."""
WEIGHTS = "region_encoder.safetensors"
Row = Mapping[str, float]


def fit(
    backbone: Backbone,
    data: Data,
    config: TrainConfig,
    out: Path,
    device: torch.device,
    *,
    resume: bool = False,
    synonyms: Path | None = None,
    workers: int = 0,
    tensorboard: bool = True,
    report: Callable[[int, Row], None] | None = None,
    see: Callable[[Batch], Seen] | None = None,
    damaged: Callable[[str], None] | None = None,
) -> RegionEncoder:
    """Train a region encoder; return it in eval mode and save it as `out` / WEIGHTS.

    out: folder for checkpoints and logs. resume: continue from the checkpoint there; on the CPU, with the same number
    of threads, the result equals that of an uninterrupted run bit for bit. see: returns the backbone's features of a
    batch, if they are cached. report: called with the step and the row of each log line. damaged: called once for each
    sample that cannot be used, with the reason; the next one of its data set takes its place.

    Raises UsageError if there is nothing to train on or to resume, MediaError if no data can be used.
    """
    if not len(data):
        raise UsageError("the data has no pictures; give other data")
    path = checkpoint.may_start(out, resume)
    checkpoint.make_folder(out)
    texts = read_texts(backbone, data, config, synonyms, device)
    model = build(backbone, config.model, config.seed).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.lr, weight_decay=config.weight_decay)
    facts = facts_of(backbone, data, config, texts)
    first = checkpoint.restore(path, model.state_dict(), optimizer, facts, FORMAT) if resume else 0
    ready = Prepared(data, backbone.size, backbone.grid, config)
    loader: Any = DataLoader(
        Returned(ready),
        batch_sampler=order_of(data, config, first),
        collate_fn=collate_step,
        num_workers=workers,
    )
    sums: dict[str, float] = {}
    unusable: set[int] = set()
    began, since = time.monotonic(), first
    with Log(out, first, tensorboard) as log:
        for step, batches in enumerate(loader, first):
            if isinstance(batches, VidmemError):
                raise batches
            for number, reason in [each for batch in batches for each in batch.damaged]:
                if number not in unusable and damaged:
                    damaged(reason)
                unusable.add(number)
            rate = config.rate(step)
            for group in optimizer.param_groups:
                group["lr"] = rate
            terms, norm = update(
                model, backbone, optimizer, [batch.to(device) for batch in batches], texts, config, step, see
            )
            for name, value in {**terms, "norm": norm}.items():
                sums[name] = sums.get(name, 0.0) + value
            done = step + 1
            if done % config.log_every == 0 or done == config.steps:
                count = done % config.log_every or config.log_every
                row = {name: value / count for name, value in sums.items()} | {"rate": rate}
                pace = (done - since) / max(1e-9, time.monotonic() - began)
                log.write(done, row)
                if report:
                    report(done, {**row, "steps_per_second": pace})
                sums, since, began = {}, done, time.monotonic()
            if done % config.checkpoint_every == 0 or done == config.steps:
                checkpoint.save(path, model.state_dict(), optimizer, done, facts, FORMAT)
    model.eval().requires_grad_(False)
    save_weights(model, out / WEIGHTS)
    return model


def update(
    model: RegionEncoder,
    backbone: Backbone,
    optimizer: torch.optim.Optimizer,
    batches: Sequence[Batch],
    texts: Texts,
    config: TrainConfig,
    step: int,
    see: Callable[[Batch], Seen] | None = None,
) -> tuple[dict[str, float], float]:
    """Take one step of the optimiser; its loss is the sum of those of the batches. Returns the terms of the loss, as
    means over the parts of a batch, and the norm of the gradient before clipping. Raises UsageError if the loss is not
    finite, before any weight changes."""
    optimizer.zero_grad(set_to_none=True)
    generator = torch.Generator(batches[0].images.device)
    sums: dict[str, float] = {}
    parts = [part for batch in batches for part in batch.chunk(config.accumulate)]
    for number, part in enumerate(parts):
        generator.manual_seed(((config.seed * 1_000_003 + step) * 1_009 + number) % 2**63)
        terms = losses_of(
            model, backbone, part, see(part) if see else backbone.features(part.images), texts, config, generator
        )
        loss = torch.stack(list(terms.values())).sum() / config.accumulate
        loss.backward()  # type: ignore[no-untyped-call]
        for name, value in {**terms, "loss": loss * config.accumulate}.items():
            sums[name] = sums.get(name, 0.0) + value.item() / config.accumulate
    norm = nn.utils.clip_grad_norm_(model.parameters(), config.clip).item()
    if not (math.isfinite(sums["loss"]) and math.isfinite(norm)):
        raise UsageError(
            f"the loss of step {step + 1} is not finite (loss {sums['loss']}, gradient {norm}); train "
            "anew with a lower `lr`, or with `precision` fp32"
        )
    optimizer.step()
    return sums, norm


def read_texts(
    backbone: Backbone, data: Data, config: TrainConfig, synonyms: Path | None, device: torch.device
) -> Texts:
    """Return vectors and groups of the names of the data, which may have none."""
    if not data.names:
        if config.losses.text:
            raise UsageError("no region of the data has a name; set the weight of the text contrast, `text`, to 0")
        return Texts(torch.zeros(0, backbone.text_dim, device=device), torch.zeros(0, dtype=torch.long, device=device))
    vectors = backbone.text(data.names)
    groups = group_by_file(data.names, synonyms) if synonyms else group_by_cosine(vectors.numpy(), config.synonyms)
    return Texts(vectors.to(device), torch.from_numpy(groups).to(device))


def facts_of(backbone: Backbone, data: Data, config: TrainConfig, texts: Texts) -> dict[str, Any]:
    """Return the settings that must be equal to resume a training."""
    names = hashlib.sha256("\n".join(data.names).encode()).hexdigest()[:16]
    groups = hashlib.sha256(texts.groups.cpu().numpy().tobytes()).hexdigest()[:16]
    return {
        "backbone": backbone.name,
        "backbone_weights": backbone.weights,
        "pictures": len(data),
        "pools": [[pool.size, pool.weight, pool.kind] for pool in pools_of(data)],
        "names": names,
        "synonyms": groups,
        **config.as_dict(),
    }


def save_weights(model: RegionEncoder, path: Path) -> None:
    """Save weights in the form that `load_region_encoder` reads."""
    from vidmem.encoders.tren.checkpoint import save_region_encoder

    save_region_encoder(model, path)
