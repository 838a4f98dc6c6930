"""SAM2 (arXiv 2408.00714) as a source of masks: `sam2[:SIZE][,grid=N]`. Needs the extra `sam2` (`transformers`).

SAM2 is prompted with a grid of points, as in TextRegion's paper (sam_masks.py). This is done for each single picture
and for every KEY_EVERY-th frame of a video; SAM2's video predictor propagates the masks to the frames in between. It
starts anew with each batch of the indexer, so that an interrupted run gives the same masks.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...errors import ModelError
from ...offline import offline
from ...records import Frame, SourceInfo, SourceKind
from ...text_files import parse_json
from ..extras import needing
from ..hub import Wanted, find, fingerprint, locate, record_sha256, weights_folder
from ..integrity import odd_size
from ..pixels import normalised
from ..pull import offline_remedy
from ..spelling import split_options
from ..tensor_file import fail
from ..transformers_compat import quiet

if TYPE_CHECKING:
    import torch
    from torch import Tensor

SIZES = ("tiny", "small", "base-plus", "large")
DEFAULT = "large"
"""The size in TextRegion's paper."""
GRID = 16
"""The points are the centres of GRID x GRID cells (appendix A.2). For Cityscapes the paper has 36: `grid=36`."""
OPTIONS = {"grid": (1, 128)}
"""Minimum and maximum of each option."""
POINT_BATCH = 64
"""Points that the mask decoder takes at a time."""
KEY_EVERY = 8
"""Maximum number of frames from one key frame to the next."""
SIDE = 256
"""Side of SAM2's masks in pixels."""
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's, of RGB in [0, 1]."""
WHAT = "the SAM2 weights"
"""Their name in messages."""
LICENCE = "Apache-2.0"
_LOCAL = "local-dir:"


def wanted(size: str = "") -> list[Wanted]:
    """The files of a size; none for `local-dir:FOLDER`.

    Raises:
        ModelError: There is no such size.
        UsageError: An option behind the size is wrong.
    """
    size, _ = split_options(size, OPTIONS)
    if size.startswith(_LOCAL):
        return []
    if size not in ("", *SIZES):
        raise ModelError(f"no SAM2 {size!r}; there are {', '.join(SIZES)} and local-dir:FOLDER")
    size = size or DEFAULT
    name = f"sam2.1-hiera-{size}"
    return [
        Wanted(
            f"SAM2 weights ({size})",
            (name,),
            LICENCE,
            repo=f"facebook/{name}",
            files=("model.safetensors", "config.json"),
            nested=True,
            spec=f"sam2:{size}",
        )
    ]


@needing("sam2", "SAM2")
@offline()
def load(size: str = "", device: str | None = None, weights: str | os.PathLike[str] | None = None) -> Sam2Masks:
    """Load SAM2.

    Args:
        size: One of SIZES, or `local-dir:FOLDER` with config.json and model.safetensors as on Hugging Face; OPTIONS may
            follow.
        device: cuda, mps or cpu; None for the best that works.
        weights: Folder of weights; see `hub.weights_folder`.

    Raises:
        ModelError: The files or `transformers` are missing, or the files are damaged or have changed.
        UsageError: The device does not work, or an option is wrong.
    """
    from ..device import pick_device

    size, options = split_options(size, OPTIONS)
    files, folder = wanted(size), weights_folder(weights)
    if files:
        if find(files[0], folder) is None:
            raise ModelError(
                f"the {files[0].role} are missing: `vidmem models pull {files[0].spec}` fetches them; "
                f"without a network here, {offline_remedy(files[0], folder)}"
            )
        home = locate(files[0], folder)
        fingerprint(files, folder)
    else:
        home = Path(size[len(_LOCAL) :]).expanduser()
        if not (home / "config.json").is_file() or not (home / "model.safetensors").is_file():
            raise ModelError(
                f"not a local SAM2, which is a folder with config.json and model.safetensors; check the path: {home}"
            )
        record_sha256(home / "model.safetensors", home)
    return Sam2Masks(_model(home), *pick_device(device), grid=options.get("grid", GRID))


def _model(home: Path) -> Any:
    from ..torchvision_compat import ready

    ready()  # transformers imports torchvision where it is installed
    try:
        import transformers

        model_class: Any = transformers.Sam2VideoModel
    except (ImportError, AttributeError) as error:
        raise ModelError(f"SAM2 needs transformers 4.56 or later ({error}); pip install 'vidmem[sam2]'") from None
    try:
        config = parse_json((home / "config.json").read_bytes())
        kind = config["model_type"]
        if odd := odd_size(config):
            fail(WHAT, f"config.json gives {odd!r} a size that no model has; fetch it again", home)
        if kind not in ("sam2", "sam2_video"):
            fail(WHAT, f"config.json says {str(kind)[:40]!r}, not 'sam2_video'", home)
        with quiet():
            model, loading = model_class.from_pretrained(
                home, local_files_only=True, use_safetensors=True, output_loading_info=True
            )
    except ModelError:
        raise
    except Exception as error:  # the library raises many kinds of errors for a damaged folder
        text = str(error).splitlines() or [type(error).__name__]
        fail(WHAT, f"transformers cannot load it ({text[0][:120]}); fetch it again", home)
    wrong = sorted(str(key) for kind in ("missing_keys", "mismatched_keys") for key in loading.get(kind, ()))
    if wrong:
        fail(WHAT, f"{len(wrong)} tensors are missing or do not fit, such as {wrong[0]}; fetch it again", home)
    return model.eval().requires_grad_(False)


class Sam2Masks:
    """A `MaskSource`.

    Args:
        model: A Sam2VideoModel of transformers.
        device: Where it runs.
        dtype: The number format on a GPU.
        grid: See GRID.
        key_every: See KEY_EVERY; 1 makes every frame a key frame.
    """

    def __init__(
        self, model: Any, device: torch.device, dtype: torch.dtype, *, grid: int = GRID, key_every: int = KEY_EVERY
    ) -> None:
        import torch

        self.device = device
        # Always float32 on a CPU, since the video predictor mixes formats.
        self.dtype = dtype if device.type == "cuda" else torch.float32
        self.model = model.to(device)
        size = model.config.image_size
        self.side = int(size if isinstance(size, int) else size[0])
        self.grid, self.key_every = grid, key_every

    def of_frames(self, frames: Sequence[Frame], info: SourceInfo) -> Iterable[NDArray[np.generic]]:
        if info.kind in (SourceKind.PICTURE, SourceKind.IMAGES):  # not consecutive frames
            for frame in frames:
                yield self.of_picture(frame.image)
            return
        for start in range(0, len(frames), self.key_every):
            yield from self.propagate([frame.image for frame in frames[start : start + self.key_every]])

    def of_picture(self, image: NDArray[np.uint8]) -> NDArray[np.generic]:
        """Soft masks `(n, h, w)` float32 in [0, 3] of a picture `(h, w, 3)`, from the grid of points."""
        return np.asarray(self.segment(image).cpu().numpy())

    def propagate(self, images: Sequence[NDArray[np.uint8]]) -> Iterator[NDArray[np.generic]]:
        """Soft masks `(n, h, w)` float32 in [0, 3] of each of some consecutive pictures of one size.

        The first picture is segmented. Its masks are propagated to the others as long as their objects are in view.
        """
        import torch
        from torch.nn import functional as F

        first = self.segment(images[0])
        yield first.cpu().numpy()
        if len(images) < 2:
            return
        if not len(first):  # nothing to propagate
            for image in images[1:]:
                yield first.new_zeros(0, *image.shape[:2]).cpu().numpy()
            return
        with torch.inference_mode(), self.autocast():
            session = self._session(images[0].shape[0], images[0].shape[1])
            inputs = (
                F.interpolate((first > 0).float()[:, None], (self.side, self.side), mode="bilinear", antialias=True)
                >= 0.5
            )
            for number, mask in enumerate(inputs):
                session.add_mask_inputs(session.obj_id_to_idx(number), 0, mask[None].float())
            session.obj_with_new_inputs = list(range(len(inputs)))
            self.model(inference_session=session, frame=self.pixels(images[0])[0])
        for image in images[1:]:
            with torch.inference_mode(), self.autocast():
                out = self.model(inference_session=session, frame=self.pixels(image)[0])
                yield self._visible_masks(out, image.shape[0], image.shape[1]).cpu().numpy()

    def segment(self, image: NDArray[np.uint8]) -> Tensor:
        """As `of_picture`, on the device."""
        import torch

        from .sam_masks import fuse, pick

        model, step = self.model, self.side / self.grid
        with torch.inference_mode(), self.autocast():
            maps = model.get_image_embeddings(self.pixels(image))
            positions = model.get_image_wide_positional_embeddings()
            centres = (torch.arange(self.grid, device=self.device) + 0.5) * step
            points = torch.stack(torch.meshgrid(centres, centres, indexing="xy"), dim=-1).reshape(1, -1, 1, 2)
            logits, scores = [], []
            for part in torch.split(points, POINT_BATCH, dim=1):
                labels = torch.ones(part.shape[:3], dtype=torch.int64, device=self.device)
                sparse, dense = model.prompt_encoder(part, labels, None, None)
                masks, quality, *_ = model.mask_decoder(
                    image_embeddings=maps[-1],
                    image_positional_embeddings=positions,
                    sparse_prompt_embeddings=sparse,
                    dense_prompt_embeddings=dense,
                    multimask_output=True,
                    high_resolution_features=maps[:-1],
                )
                logits.append(masks[0].float().cpu())
                scores.append(quality[0].float().cpu())
            return fuse(pick(torch.cat(logits), torch.cat(scores)), image.shape[0], image.shape[1])

    def _visible_masks(self, out: Any, height: int, width: int) -> Tensor:
        """The masks in the predictor's output whose objects are in view, without tiny ones."""
        from torch.nn import functional as F

        from .sam_masks import SamLimits

        logits: Tensor = out.pred_masks[:, 0].float()
        visible = out.object_score_logits.reshape(len(logits)) > 0
        min_share = SamLimits().pixels / SIDE**2
        kept = logits[visible & ((logits > 0).float().mean((1, 2)) > min_share)]
        if not len(kept):
            return logits.new_zeros(0, height, width)
        return F.interpolate(kept.clamp(0, 3)[None], (height, width), mode="bilinear")[0]

    def _session(self, height: int, width: int) -> Any:
        import torch
        from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoInferenceSession

        return Sam2VideoInferenceSession(
            video_height=height,
            video_width=width,
            inference_device=self.device,
            inference_state_device=self.device,
            video_storage_device=self.device,
            dtype=torch.float32,
        )

    def pixels(self, image: NDArray[np.uint8]) -> Tensor:
        """Squash a picture `(h, w, 3)` to a square and normalise it: `(1, 3, side, side)`."""
        import torch
        from torch.nn import functional as F

        picture = torch.from_numpy(np.array(image)).to(self.device).permute(2, 0, 1).float()[None]
        square = F.interpolate(picture, (self.side, self.side), mode="bilinear", antialias=True)
        rounded = square.round().clamp(0, 255).byte()[0].permute(1, 2, 0).cpu().numpy()
        return normalised([rounded], MEAN, STD, self.device)

    def autocast(self) -> Any:
        """A context in which the model runs in `dtype`."""
        import torch

        if self.dtype == torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, self.dtype)
