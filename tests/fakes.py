"""A small, deterministic encoder for tests that need meaning but no weights: it names plain colours.

`colours` finds, in each picture, every colour of COLOURS that covers enough of it: one region each. `colours:gated`
takes 30 ms per picture, and stops after GATE_AFTER pictures until the file named in the variable GATE is
there. No torch anywhere.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vidmem.encoders import Calibration, Encoder, EncoderInfo, EncoderSpec, LoadOptions, registry
from vidmem.errors import ModelError, UsageError
from vidmem.geometry import mask_boxes
from vidmem.records import Float32, RegionTokens

COLOURS = {
    "red": (255, 0, 0),
    "green": (0, 200, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
    "cyan": (0, 255, 255),
    "magenta": (255, 0, 255),
    "white": (255, 255, 255),
    "brown": (110, 60, 10),
}
NAMES = tuple(COLOURS)
GRID = (12, 20)
GROUND = (90, 100, 110)
FEWEST_CELLS = 3
WIDTH, HEIGHT = 160, 96
GATE = "VIDMEM_TEST_GATE"
GATE_AFTER = 60


class Colours(Encoder):
    """Both sides."""

    def __init__(self, wait_s: float = 0.0, gate: Path | None = None) -> None:
        self.wait_s, self.gate, self.seen = wait_s, gate, 0
        self.info = EncoderInfo(
            name="colours",
            weights="c0" * 32,
            visual_dim=8,
            text_dim=8,
            knows="eight colours by name",
            open_vocabulary=False,
            calibration=Calibration(
                text_threshold=0.6, contrast_probability=0.3, visual_threshold=0.6, product_threshold=0.4
            ),
        )

    def names(self) -> dict[str, str]:
        return dict.fromkeys(NAMES, "")

    def encode_text(self, phrases: Sequence[str]) -> Float32:
        rows = []
        for phrase in phrases:
            known = [NAMES.index(word) for word in phrase.lower().split() if word in NAMES]
            if not known:
                raise UsageError(f"no colour in {phrase!r}; there are {', '.join(NAMES)}")
            rows.append(_tokens()[known].mean(0))
        vectors = np.array(rows, np.float32)
        return _unit(vectors)

    def contrast(self, vector: Float32) -> Float32:
        tokens = _tokens()
        return tokens[tokens @ vector < 0.6]

    def working_size(self, width: int, height: int) -> tuple[int, int]:
        return WIDTH, HEIGHT

    def encode(self, images: Sequence[NDArray[np.uint8]], width: int, height: int) -> list[RegionTokens]:
        time.sleep(self.wait_s * len(images))
        self.seen += len(images)
        while self.gate is not None and self.seen > GATE_AFTER and not self.gate.exists():
            time.sleep(0.02)
        return [self._regions(image, width, height) for image in images]

    def _regions(self, image: NDArray[np.uint8], width: int, height: int) -> RegionTokens:
        rows, columns = GRID
        cells = image.reshape(rows, HEIGHT // rows, columns, WIDTH // columns, 3)
        middle = np.median(cells.transpose(0, 2, 1, 3, 4).reshape(rows, columns, -1, 3), axis=2)
        palette = np.array([*COLOURS.values(), GROUND], np.float64)
        distance = np.linalg.norm(middle[:, :, None] - palette, axis=-1)
        nearest = np.where(distance.min(-1) < 70, distance.argmin(-1), len(NAMES))
        found = [i for i in range(len(NAMES)) if (nearest == i).sum() >= FEWEST_CELLS]
        masks = np.array([nearest == i for i in found], np.float32).reshape(-1, rows, columns)
        boxes = mask_boxes(masks, width, height)
        tokens = _tokens()[found]
        points = (boxes[:, :2] + boxes[:, 2:]) / 2
        return RegionTokens(tokens, tokens, masks, points.astype(np.float32), boxes, masks.mean((1, 2), np.float32))


def _tokens() -> Float32:
    """`(8, 8)` unit rows, one per name, a little alike."""
    return _unit(np.eye(len(NAMES), dtype=np.float32) + np.float32(0.05))


def _unit(vectors: Float32) -> Float32:
    lengths: Float32 = np.linalg.norm(vectors, axis=1, keepdims=True).astype(np.float32)
    return vectors / lengths


def load(options: LoadOptions) -> Colours:
    if options.backbone not in ("", "gated"):
        raise ModelError(f"`colours` has no backbone {options.backbone!r}")
    if options.backbone == "gated":
        return Colours(0.03, Path(os.environ[GATE]))
    return Colours()


SPEC = EncoderSpec(name="colours", load=load, load_text=load)


def register() -> None:
    """Make `--encoder colours` known in this process."""
    registry.register(SPEC)


Scene = Sequence[tuple[str, float, float, int]]
"""Colour, from s, to s, x in pixels: squares of 32 pixels, 32 from the top."""


def squares(path: Path, scene: Scene, seconds: float, fps: int = 10) -> Path:
    """A 160x96 video of coloured squares on a grey ground."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": "12", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.time_base = Fraction(1, fps)
        for number in range(round(seconds * fps)):
            image = np.full((HEIGHT, WIDTH, 3), GROUND, np.uint8)
            for colour, start, end, x in scene:
                if start <= number / fps < end:
                    image[32:64, x : x + 32] = COLOURS[colour]
            frame = av.VideoFrame.from_ndarray(image, "rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def photo(path: Path, *colours: str, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Path:
    """A picture of squares of these colours side by side on grey; scaled to `size`."""
    from PIL import Image

    image = np.full((HEIGHT, WIDTH, 3), GROUND, np.uint8)
    for i, colour in enumerate(colours):
        image[32:64, 8 + 40 * i : 40 + 40 * i] = COLOURS[colour]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).resize(size, Image.Resampling.NEAREST).save(path)
    return path
