"""Vectors of names in a model's space of texts: the mean over several sentences."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from vidmem.encoders.clip.files import Loaded
from vidmem.encoders.templates import IMAGENET, PLAIN, filled
from vidmem.encoders.truncation import Cutting
from vidmem.errors import MediaError, UsageError

from .config import TextVectors

SCENE = (
    "a photo of {}.",
    "a photo that shows {}.",
    "{} in a photo.",
    "{} in the foreground.",
    "{} in the background.",
    "a close view of {}.",
    "a view of {} from far away.",
    "a part of {}.",
    "a small patch of {}.",
    "{} in daylight.",
    "{} in dim light.",
    "a scene with {}.",
)
"""Sentences that suit both things and stuff, and parts of them."""
PROMPTS = {"imagenet": IMAGENET, "scene": SCENE, "plain": PLAIN}
"""Sentences by name. The encoder `densevlm` puts names into those of "imagenet"."""
BATCH = 256
"""Sentences that go through the text tower at a time."""


def load_prompts(spec: str) -> tuple[str, ...]:
    """The sentences of PROMPTS, or those of a text file, one a line with {} for the name.

    Raises:
        UsageError: The file has no sentences, or one without {}.
        MediaError: The file cannot be read.
    """
    if spec in PROMPTS:
        return PROMPTS[spec]
    try:
        lines = [line.strip() for line in Path(spec).read_text("utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise MediaError(
            f"the prompts cannot be read ({error}); give a text file or {', '.join(PROMPTS)}: {spec}"
        ) from None
    for line in lines:
        if "{}" not in line:
            raise UsageError(f"the prompt {line[:60]!r} has no {{}} for the name; add it: {spec}")
    if not lines:
        raise UsageError(f"there is no prompt; write one a line, with {{}} for the name: {spec}")
    return tuple(lines)


@torch.no_grad()
def name_vectors(
    loaded: Loaded, names: Sequence[str], prompts: tuple[str, ...], device: torch.device, form: TextVectors = "unit"
) -> Tensor:
    """Vectors of names `(C, D)` float32 on the device. A name that does not fit with its longest prompt is cut.

    Args:
        loaded: The model. It is moved to the device.
        names: C names.
        prompts: Sentences with {} for the name.
        device: Where to compute.
        form: See `TextVectors`.

    Raises:
        UsageError: The first word of a name is too long.
    """
    cut = Cutting(lambda name: max(map(loaded.count, filled(prompts, name))), loaded.context)
    texts = [text for name in names for text in filled(prompts, cut(name))]
    model = loaded.model.to(device)
    parts = [
        F.normalize(model.encode_text(loaded.tokenize(texts[start : start + BATCH]).to(device)).float(), dim=-1)
        for start in range(0, len(texts), BATCH)
    ]
    means = torch.cat(parts).view(len(names), len(prompts), -1).mean(1)
    return F.normalize(means, dim=-1) if form == "unit" else means
