"""A small VSPW: videos with a red block that moves and a blue one that stays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from evaluation import segmentation_files as files
from PIL import Image

RED, BLUE = 61, 67
"""Numbers in the masks: classes 60 (person) and 66 (tree), each plus 1."""


def write(root: Path, videos: int = 2, frames: int = 18) -> Path:
    names = [f"{i}_walk" for i in range(videos)]
    for name in names:
        for t in range(frames):
            image = np.full((files.HEIGHT, files.WIDTH, 3), files.GROUND, np.uint8)
            mask = np.zeros((files.HEIGHT, files.WIDTH), np.uint8)
            mask[:8] = 255
            x = 8 * (t % 6)
            for colour, number, (y0, x0, y1, x1) in (
                ("red", RED, (16, x, 48, x + 48)),
                ("blue", BLUE, (48, 96, 88, 144)),
            ):
                image[y0:y1, x0:x1] = files.COLOURS[colour]
                mask[y0:y1, x0:x1] = number
            files.save(root / "data" / name / "origin" / f"{t:08}.jpg", image)
            path = root / "data" / name / "mask" / f"{t:08}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(mask).save(path)
    files.write_lines(root / "val.txt", *names)
    return root
