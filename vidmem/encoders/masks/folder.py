"""Masks in a folder, from any segmenter, for encoders that pool features under masks.

The masks of a photo `photo.jpg` are in FOLDER/photo.npz, .npy or .png. Those of the frames of a video `walk.mp4` are in
FOLDER/walk/00000000.npz and so on, numbered from 0 in the order in which frames are encoded.

A .npy, or `masks` in a .npz, has masks `(n, H, W)`: bool, or numbers, of which more than 0 is inside and 1 fully.
A .png has one channel with a number for each region, 0 for none. H and W are those of the upright picture.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ...errors import MediaError, ModelError, UsageError
from ...limits import check_bytes, open_regular
from ...picture_reading import opened
from ...records import Frame, SourceInfo, SourceKind

MOST = 4096
"""Masks in one file; more are a mistake."""
KINDS = (".npz", ".npy", ".png")


class FolderMasks:
    """The masks in a folder. Raises UsageError when there is no such folder."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise UsageError(f"`masks` is sam2[:SIZE][,grid=N] or a folder of masks; there is no such folder: {folder}")
        self.folder = folder

    def of_frames(self, frames: Sequence[Frame], info: SourceInfo) -> Iterable[NDArray[np.generic]]:
        source = Path(info.uri).stem
        for frame in frames:
            stem = source if info.kind == SourceKind.PICTURE else f"{source}/{frame.index:08d}"
            path = next((p for kind in KINDS if (p := self.folder / f"{stem}{kind}").is_file()), None)
            if path is None:
                name = Path(stem).name
                raise ModelError(
                    f"no masks for {stem}: put {name}.npz, .npy or .png (see docs/clip.md) into "
                    f"{(self.folder / stem).parent}"
                )
            masks = read_masks(path)
            sizes = (info.height, info.width), frame.image.shape[:2]
            if masks.shape[1:] not in sizes:
                sizes_told = f"{masks.shape[2]} x {masks.shape[1]} pixels, the picture {info.width} x {info.height}"
                raise ModelError(
                    f"the masks have {sizes_told}; make them from the same picture, neither scaled nor turned: {path}"
                )
            yield masks

    def of_picture(self, image: NDArray[np.uint8]) -> NDArray[np.generic]:
        raise UsageError("a folder of masks belongs to the frames of files; leave `masks` out for anything else")


def read_masks(path: Path) -> NDArray[np.generic]:
    """Masks `(n, H, W)` of a file. Raises ModelError when it is damaged, too large, or holds something else."""
    try:
        masks: NDArray[Any] = _from_labels(path) if path.suffix == ".png" else _from_numpy(path)
    except KeyError:
        raise ModelError(f"a .npz of masks holds them under the name masks; this one does not: {path}") from None
    except MediaError as error:
        raise ModelError(str(error)) from None
    except MemoryError:
        raise ModelError(f"the masks do not fit into memory; make fewer or smaller ones: {path}") from None
    except Exception as error:  # NumPy, zipfile and zlib raise anything on damaged bytes
        cause = " ".join(str(error).split())[:100] or type(error).__name__
        raise ModelError(f"the masks cannot be read ({cause}); make them anew: {path}") from None
    if masks.ndim != 3 or masks.dtype.kind not in "bufi" or len(masks) > MOST:
        raise ModelError(
            f"masks are numbers of the shape (n, H, W), n at most {MOST}; this is {masks.dtype} of the "
            f"shape {masks.shape}: {path}"
        )
    return masks


def _from_numpy(path: Path) -> NDArray[Any]:
    """The array of a .npy, or `masks` of a .npz. Its size is taken from its header and checked before it is read."""
    with open_regular(path) as file:
        if path.suffix == ".npy":
            check_bytes(_array_bytes(file), "the masks", path)
            file.seek(0)
            return np.asarray(np.lib.format.read_array(file, allow_pickle=False))
        with zipfile.ZipFile(file) as archive:
            name = next(name for name in ("masks.npy", "masks", "") if not name or name in archive.namelist())
            if not name:
                raise KeyError("masks")
            with archive.open(name) as packed:
                check_bytes(_array_bytes(packed), "the masks", path)
            with archive.open(name) as packed:
                return np.asarray(np.lib.format.read_array(packed, allow_pickle=False))


def _array_bytes(file: IO[bytes]) -> int:
    """Bytes of the array that a file in NumPy's format claims to hold."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    return math.prod(shape) * dtype.itemsize


def _from_labels(path: Path) -> NDArray[np.bool_]:
    with opened(path, what="the label picture", remedy="make it anew") as held:
        if held.image.mode not in ("1", "L", "P", "I", "I;16", "I;16B"):
            raise ValueError(f"a label picture has one channel, this one is {held.image.mode}")
        labels = np.asarray(held.load(more=8))
    values = np.unique(labels[labels != 0])
    if len(values) > MOST:
        raise ValueError(f"{len(values)} regions; it is no label picture")
    check_bytes(len(values) * labels.size, f"masks of {len(values)} regions", path)
    return np.asarray(labels[None] == values[:, None, None])
