"""`tiny`: the encoder that ships with vidmem. Offline, a few megabytes, real time on a laptop's CPU.

The text side is numpy alone; torch is imported only when pictures are to be encoded.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from ..geometry import mask_boxes, part_at, unit
from ..probability import Probabilities
from ..records import Float32, RegionTokens
from .base import Calibration, EncoderInfo
from .text_table import TextTable

if TYPE_CHECKING:
    from .tiny_net import TinyNet

PIXELS = 448 * 256
"""Working pictures have about so many pixels, the ratio of the original kept, sides multiples of 16."""
GRID, PEAKS = (6, 10), 48
"""Point prompts: a regular grid (rows, columns of a wide picture) and the highest peaks of the heat map."""
MIN_SCORE, LEAST = 0.2, 12
"""Tokens whose mask is expected to overlap no region by so much are left out before the merge; the best LEAST stay."""
MOST_IOU, SAME_IOU = 0.2, 0.5
"""See `distinct`."""
PRESET = "distinct"
"""The preset of a new memory: one region a thing is left."""
MOST_WORKERS = 4
"""Batches at a time on a CPU: with more, one thread that decodes cannot keep up, and memory grows."""


def working_size(width: int, height: int) -> tuple[int, int]:
    """See Encoder."""
    scale = (PIXELS / (width * height)) ** 0.5
    w, h = (max(64, round(side * scale / 16) * 16) for side in (width, height))
    return min(w, 1792), min(h, 1792)


def grid_of(width: int, height: int) -> tuple[int, int]:
    """Rows and columns of the regular points of a picture."""
    return GRID if width >= height else GRID[::-1]


def _folder() -> Traversable:
    return files("vidmem.encoders") / "weights"


@functools.cache
def card() -> dict[str, Any]:
    """tiny.json: calibration, the hashes of the weights, the names that it was taught."""
    try:
        data: dict[str, Any] = json.loads((_folder() / "tiny.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"the weights of `tiny` are missing or damaged ({error}); reinstall vidmem") from None
    return data


def _read(name: str) -> bytes:
    try:
        data = (_folder() / name).read_bytes()
    except OSError as error:
        raise ModelError(f"the weights of `tiny` are missing ({error}); reinstall vidmem") from None
    if hashlib.sha256(data).hexdigest() != card()["sha256"][name]:
        raise ModelError(f"the weights of `tiny` are damaged ({name} has another sha256); reinstall vidmem")
    return data


def _calibration(facts: Mapping[str, Any]) -> Calibration:
    curves = facts.get("probability")
    try:
        fitted = None if curves is None else Probabilities.from_dict(curves)
    except ValueError as error:
        raise ModelError(f"the card of `tiny` is damaged ({error}); reinstall vidmem") from None
    return Calibration(**facts["calibration"], probability=fitted)


class TinyText:
    """The text side of `tiny`."""

    def __init__(self) -> None:
        from safetensors.numpy import load

        facts = card()
        tensors = load(_read("tiny-text.safetensors"))
        vocabulary = _read("tiny-vocabulary.txt").decode("utf-8").splitlines()
        self.table = TextTable(vocabulary, tensors["table"], tensors["scale"].astype(np.float32))
        self.names = tensors["names"].astype(np.float32)  # (C, Dt): every taught name and "background", unit rows
        weights = "-".join(facts["sha256"][k][:16] for k in sorted(facts["sha256"]))
        self.info = EncoderInfo(
            name="tiny", weights=weights, visual_dim=facts["visual_dim"], text_dim=facts["text_dim"],
            knows=facts["knows"], open_vocabulary=False, calibration=_calibration(facts),
        )  # fmt: skip

    def encode_text(self, phrases: Sequence[str]) -> Float32:
        return self.table.encode(phrases)

    def contrast(self, vector: Float32) -> Float32:
        # Names that mean nearly the same as the question do not speak against it.
        against: Float32 = self.names[self.names @ vector < card()["same_meaning"]]
        return against


class Tiny(TinyText):
    """Both sides of `tiny` on a torch device."""

    def __init__(self, device: str | None = None) -> None:
        super().__init__()
        import torch

        from .device import pick_device

        self.device, self.dtype = pick_device(device)
        self.net = _load_net().to(self.device).in_dtype(self.dtype)
        if self.device.type == "cpu":
            self.net = self.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def working_size(self, width: int, height: int) -> tuple[int, int]:
        return working_size(width, height)

    @contextmanager
    def parallel(self) -> Iterator[int]:
        """See Encoder. Threads that are started while it is entered share torch's threads among them, and NumPy gets
        one: its products are small here, and threads of OpenBLAS that wait for the next keep a core busy."""
        import torch
        from threadpoolctl import threadpool_limits

        threads = torch.get_num_threads()
        workers = min(threads, MOST_WORKERS) if self.device.type == "cpu" else 1
        torch.set_num_threads(threads // workers)
        try:
            with threadpool_limits(1, user_api="blas"):
                yield workers
        finally:
            torch.set_num_threads(threads)

    def encode(self, images: Sequence[NDArray[np.uint8]], width: int, height: int) -> list[RegionTokens]:
        import torch

        from .tiny_net import find

        batch = torch.from_numpy(np.stack(images)).to(self.device).permute(0, 3, 1, 2).float().div_(255)
        batch = batch.contiguous(memory_format=torch.channels_last)
        image = torch.tensor([width, height], dtype=torch.float32, device=self.device)
        with torch.inference_mode():
            found = find(self.net, batch, grid_of(width, height), PEAKS, MIN_SCORE, LEAST)
            rows = (self.net.visual(found.tokens), self.net.regions.project(found.tokens), found.masks,
                    found.points * image, found.scores)  # fmt: skip
        frames = (np.split(row.float().cpu().numpy(), np.cumsum(found.counts)[:-1]) for row in rows)
        return [_regions(v, t, m, p, s, width, height) for v, t, m, p, s in zip(*frames, strict=True)]


def _regions(visual: Float32, text: Float32, masks: Float32, points: Float32, scores: Float32, width: int,
             height: int) -> RegionTokens:  # fmt: skip
    """One region a thing: of each mask the part at its point; of those that lie on one another by more than MOST_IOU
    the best, to whose token those that found nearly the same add theirs: a mean of many says more of a thing than
    one."""
    masks = part_at(masks, (points / (width, height)).astype(np.float32))
    kept, share = distinct(masks, scores)
    visual, text = share @ unit(visual), share @ unit(text)
    masks = masks[kept]
    area = (masks > 0.5).mean((1, 2), dtype=np.float32)
    return RegionTokens(visual, text, masks, points[kept], mask_boxes(masks, width, height), area)


def distinct(masks: Float32, scores: Float32) -> tuple[NDArray[np.intp], Float32]:
    """Greedy non-maximum suppression of masks `(n, h, w)`, binarised at one half, by falling score `(n,)`: each is kept
    unless its IoU with a kept one exceeds MOST_IOU. Returns the indices `(k,)` of those kept, ascending, and the share
    `(k, n)` that each mask has in each of them: by score, of those whose IoU with it is at least SAME_IOU."""
    held = (masks > 0.5).reshape(len(masks), masks[0].size if len(masks) else 0).astype(np.float32)
    common, area = held @ held.T, held.sum(1)
    iou = common / np.maximum(area[:, None] + area - common, 1)
    order = np.argsort(-scores, kind="stable")
    close = iou[order][:, order] > MOST_IOU
    free = np.ones(len(held), np.bool_)
    for i in range(len(held)):
        if free[i]:
            free[i + 1 :] &= ~close[i, i + 1 :]
    kept = np.sort(order[free])
    share = np.where(iou[kept] >= SAME_IOU, scores, 0).astype(np.float32)
    share[np.arange(len(kept)), kept] = scores[kept]  # an empty mask is like none, itself included
    return kept, share / share.sum(1, keepdims=True).clip(1e-12)


def _load_net() -> TinyNet:
    from safetensors.torch import load
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    from .tiny_net import TinyNet

    net = TinyNet()
    state = {k: v.float() if v.is_floating_point() else v for k, v in load(_read("tiny.safetensors")).items()}
    try:
        net.load_state_dict(state)
    except RuntimeError as error:
        cause = " ".join(str(error).split())[:200]
        raise ModelError(f"the weights of `tiny` do not fit this version ({cause}); reinstall vidmem") from None
    net.eval().requires_grad_(False)
    # Batch norm folds into the convolution before it: the same function for less time.
    from torch import nn

    for module in list(net.modules()):
        if isinstance(module, nn.Sequential) and len(module) == 2 and isinstance(module[1], nn.BatchNorm2d):
            module[0] = fuse_conv_bn_eval(cast(nn.Conv2d, module[0]), module[1])
            module[1] = nn.Identity()
    return net


def load(backbone: str = "", device: str | None = None) -> Tiny:
    """Raises ModelError for a backbone (`tiny` has but one) and for weights that are missing or damaged."""
    _only_one(backbone)
    return Tiny(device)


def load_text(backbone: str = "") -> TinyText:
    _only_one(backbone)
    return TinyText()


def _only_one(backbone: str) -> None:
    if backbone:
        raise ModelError(f"`tiny` has no backbone {backbone!r} to choose; write --encoder tiny")


def shipped_bytes() -> int:
    """Bytes of the weights that came with the package."""
    return sum(len(_read(name)) for name in card()["sha256"])
