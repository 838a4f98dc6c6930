"""An encoder that sees plain coloured squares and knows their names, and videos of such squares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vidmem.encoders import (
    Calibration,
    Encoder,
    EncoderInfo,
    EncoderSpec,
    LoadOptions,
    ViewEncoder,
    ViewTokens,
    lazy,
)
from vidmem.errors import ModelError, UsageError
from vidmem.geometry import mask_boxes
from vidmem.records import Float32, RegionTokens, View

COLOURS = {
    "red": (220, 30, 30),
    "green": (30, 200, 30),
    "blue": (30, 30, 220),
    "yellow": (220, 220, 30),
    "cyan": (30, 220, 220),
    "magenta": (220, 30, 220),
}
GREY = (120, 120, 120)
NAMES = tuple(COLOURS)
DV, DT = len(NAMES) + 3, len(NAMES)
PATCH = 8
CALIBRATION = Calibration(0.5, 0.4, 0.6, 0.4)

Places = Mapping[str, tuple[int, int]]


class ColourEncoder(Encoder):
    """Two equal tokens per colour that covers a patch; the mean colour is part of the token, so that no two frames
    give quite the same. calls: sizes of the batches it was given."""

    def __init__(self, weights: str = "fake-1") -> None:
        self.info = EncoderInfo("fake", weights, DV, DT, "six colours", False, CALIBRATION)
        self.calls: list[int] = []

    def encode_text(self, phrases: Sequence[str]) -> Float32:
        rows = [[float(name in phrase.split()) for name in NAMES] for phrase in phrases]
        out = np.array(rows, np.float32).reshape(-1, DT)
        if not out.any(axis=1).all():
            raise UsageError(f"no colour in {phrases}")
        return np.asarray(out / np.linalg.norm(out, axis=1, keepdims=True), np.float32)

    def contrast(self, vector: Float32) -> Float32:
        names = np.eye(DT, dtype=np.float32)
        return names[names @ vector < 0.5]

    def working_size(self, width: int, height: int) -> tuple[int, int]:
        step = 2 * PATCH if width > 640 else PATCH  # half size, for speed
        return max(PATCH, width // step * PATCH), max(PATCH, height // step * PATCH)

    def encode(self, images: Sequence[NDArray[np.uint8]], width: int, height: int) -> list[RegionTokens]:
        assert len({image.shape for image in images}) == 1
        self.calls.append(len(images))
        return [self._regions(image, width, height) for image in images]

    def _regions(self, image: NDArray[np.uint8], width: int, height: int) -> RegionTokens:
        h, w = image.shape[0] // PATCH, image.shape[1] // PATCH
        visual, masks = [], []
        for i, colour in enumerate(COLOURS.values()):
            like = (np.abs(image.astype(int) - colour) < 60).all(-1)
            share = like.reshape(h, PATCH, w, PATCH).mean((1, 3), dtype=np.float32)
            if share.max() <= 0.5:
                continue
            token = np.zeros(DV, np.float32)
            token[i] = 1
            token[len(NAMES) :] = image[like].mean(0) / 2550
            visual += [token, token]
            masks += [share, share]
        tokens = np.array(visual, np.float32).reshape(-1, DV)
        grids = np.array(masks, np.float32).reshape(-1, h, w)
        boxes = mask_boxes(grids, width, height)
        area = (grids > 0.5).mean((1, 2), dtype=np.float32)
        return RegionTokens(tokens, tokens[:, :DT].copy(), grids, (boxes[:, :2] + boxes[:, 2:]) / 2, boxes, area)


class ColourViews(ViewEncoder):
    """Tells the colour in the middle of a view; the larger the view, the surer. seen: sizes of the batches, told: their
    views. stop_at: at this batch it raises KeyboardInterrupt, as Ctrl-C does."""

    max_views, wants_hint = 3, True

    def __init__(self, view_pixels: int, dim: int, stop_at: int | None = None) -> None:
        self.view_pixels, self._dim, self._stop_at = view_pixels, dim, stop_at
        self.seen: list[int] = []
        self.told: list[View] = []

    def look(self, views: Sequence[View]) -> ViewTokens:
        if len(self.seen) == self._stop_at:
            raise KeyboardInterrupt
        self.seen.append(len(views))
        self.told += views
        visual, text = np.zeros((len(views), self._dim), np.float32), np.zeros((len(views), DT), np.float32)
        for row, view in enumerate(views):
            h, w = view.image.shape[:2]
            middle = view.image[h // 3 : h - h // 3, w // 3 : w - w // 3].reshape(-1, 3).mean(0)
            far = np.abs(np.array([*COLOURS.values()], np.float32) - middle).sum(1)
            text[row, far.argmin()] = min(max(h, w) / self.view_pixels, 1)
            visual[row, far.argmin()], visual[row, -1] = 1, middle.mean() / 2550
            visual[row] /= np.linalg.norm(visual[row])
        return ViewTokens(visual, text)


class LookingEncoder(ColourEncoder):
    """As ColourEncoder, in two steps: regions follow and say their colours as hints, one of two is unsure; the tokens
    are those of views, of another width."""

    def __init__(self, weights: str = "look-1", dim: int = 12, stop_at: int | None = None) -> None:
        super().__init__(weights)
        self.info = EncoderInfo("looking", weights, dim, DT, "six colours", False, CALIBRATION, regions="squares-1")
        self._views = ColourViews(48, dim, stop_at)

    @property
    def views(self) -> ColourViews:
        return self._views

    def _regions(self, image: NDArray[np.uint8], width: int, height: int) -> RegionTokens:
        found = super()._regions(image, width, height)
        sure = np.where(np.arange(len(found)) % 2, 0.9, 0.8).astype(np.float32)
        return replace(found, confidence=sure)


def load(options: LoadOptions) -> ColourEncoder:
    """What the registry calls. `broken` stands for weights that are not there, `look` and `look2` for encoders of two
    steps, with other weights."""
    backbone = options.backbone
    if backbone == "broken":
        raise ModelError("the weights are missing")
    if backbone.startswith("look"):
        made = LookingEncoder("look-2", 16) if backbone == "look2" else LookingEncoder()
        made.info = replace(made.info, name=f"fake:{backbone}")
        return made
    return ColourEncoder()


def load_text(options: LoadOptions) -> ColourEncoder:
    return load(options)


SPEC = EncoderSpec(name="fake", load=lazy(f"{__name__}:load"), load_text=lazy(f"{__name__}:load_text"))


def picture(places: Places, size: tuple[int, int] = (160, 96), side: int = 32) -> NDArray[np.uint8]:
    """Squares of `side` px with their upper left corners at `places` on grey."""
    image = np.full((size[1], size[0], 3), GREY, np.uint8)
    for name, (x, y) in places.items():
        image[y : y + side, x : x + side] = COLOURS[name]
    return image


def video(path: Path, frames: Sequence[Places], fps: int = 5, size: tuple[int, int] = (160, 96)) -> Path:
    """An H.264 video with one picture per entry."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": "8", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.time_base = Fraction(1, fps)
        for number, places in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(picture(places, size), "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def walk(length: int = 60) -> list[Places]:
    """Red all the time; blue at first and again at the end; green for a moment; frames of nothing in between."""
    frames: list[dict[str, tuple[int, int]]] = []
    for i in range(length):
        places = {"red": (i % 16 * 2, 0)}
        if i < length // 5 or i >= length - length // 5:
            places["blue"] = (64 + i % 8, 56)
        if length // 2 <= i < length // 2 + 3:
            places["green"] = (112, 8)
        frames.append({} if length // 3 <= i < length // 3 + 4 else places)
    return frames


def save(path: Path, places: Places, size: tuple[int, int] = (160, 96)) -> Path:
    """One picture as a PNG."""
    Image.fromarray(picture(places, size)).save(path)
    return path
