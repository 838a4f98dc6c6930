"""`tren[:SIZE]`: T-REN as published (arXiv 2604.18573), the reference system.

It has DINOv3 features, the T-REN region encoder on a grid of points, and dino.txt for text. The default size is
ViT-L/16; docs/tren.md says where the weights come from.

Heavy libraries are imported when they are needed. The text side loads the text tower, never the backbone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import ModelError, UsageError
from ...geometry import mask_boxes
from ...records import Float32, RegionTokens
from ..base import Calibration, Encoder, EncoderInfo, TextEncoder
from ..hub import Wanted, fingerprint, locate, weights_folder
from ..pixels import normalised
from ..spec import LoadOptions
from ..templates import IMAGENET, filled
from ..truncation import Cutting
from .spec import TREN

if TYPE_CHECKING:
    from torch import Tensor, nn

    from .dinotxt import TextTower
    from .region_encoder import RegionEncoder
    from .tokenizer import Tokens

SIZE = 512
"""Side of the working picture in pixels, as in the paper and the code: 32 x 32 patches. The picture is squashed."""
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's, of RGB in [0, 1], with which DINOv3 was trained."""
PROMPT = "photo of a "
"""The authors' code puts it before a name."""
CONTRAST = ("photo of background", "photo of some other thing")
"""A track that is more similar to one of these than to the phrase does not count as found. Our choice; the authors have
no contrast phrases."""
SAME_MEANING = 0.95
"""A contrast phrase whose cosine to the question is at least this means the same and is left out."""
CALIBRATION = Calibration(
    text_threshold=0.23,  # authors' code for Visual Haystacks: "yes" if the best text cosine is higher
    contrast_probability=0.5,  # the phrase against CONTRAST; our choice
    visual_threshold=0.65,  # tau_track: minimum cosine of two tokens of one object
    product_threshold=0.18,  # authors' code, VQ2D
    temperature=0.01,  # the cap of CLIP's logit scale, 100
)
"""Not calibrated, for lack of weights to calibrate with. From the paper and the authors' code."""
DEFAULT_SIZE = "vitl16"
_ALIASES = {"7b": "vit7b16", "vit7b": "vit7b16"}
_META = "https://ai.meta.com/resources/models-and-libraries/dinov3-downloads/"
_PUBLISHED = {
    "vits16": "08c60483",
    "vits16plus": "4057cbaa",
    "vitb16": "73cec8be",
    "vitl16": "8aa4cbdd",
    "vith16plus": "7c1da9a5",
    "vit7b16": "a955f4ea",
}
"""Sizes, and the first digits of the sha256 of Meta's file, which are part of its name."""

TEXT = Wanted(
    "dino.txt text tower and vision head",
    ("*dinotxt*.pth", "*dinotxt*.safetensors"),
    "DINOv3 licence",
    access=f"ask Meta for access at {_META}, and from the links in its mail take "
    "dinov3_vitl16_dinotxt_vision_head_and_text_encoder-a442d8f5.pth",
)
VOCABULARY = Wanted(
    "CLIP vocabulary",
    ("bpe_simple_vocab_16e6.txt.gz",),
    "MIT",
    url="https://dl.fbaipublicfiles.com/dinov3/thirdparty/bpe_simple_vocab_16e6.txt.gz",
    sha256="924691ac288e54409236115652ad4aa250f48203de50a9e4722a6ecd48d6804a",
)


def size_of(backbone: str) -> str:
    """The published name of a size; `vitl16` for "". Raises ModelError if there is no such size."""
    size = _ALIASES.get(backbone, backbone) or DEFAULT_SIZE
    if size not in _PUBLISHED:
        raise ModelError(f"no DINOv3 backbone {backbone!r}; there are: {', '.join(_PUBLISHED)}")
    return size


def backbone_file(size: str) -> Wanted:
    """The backbone of a size: Meta's file, or a folder as on Hugging Face."""
    repo = f"facebook/dinov3-{size}-pretrain-lvd1689m"
    return Wanted(
        "DINOv3 backbone",
        (f"dinov3_{size}_pretrain_*.pth", f"dinov3-{size}-pretrain-*"),
        "DINOv3 licence",
        repo=repo,
        files=("config.json", "model.safetensors|model.safetensors.index.json"),
        nested=True,
        access=f"accept the licence at https://huggingface.co/{repo}, run `hf auth login`, then `vidmem models pull "
        f"tren`; or ask Meta at {_META} and take dinov3_{size}_pretrain_lvd1689m-{_PUBLISHED[size]}.pth",
    )


def region_file(size: str) -> Wanted:
    """The region encoder of a size: a file with the size in its name, or the authors', which is for ViT-L/16."""
    common = ("tren_region_encoder.safetensors", "tren_region_encoder.pth")
    if size == DEFAULT_SIZE:
        return Wanted("region encoder", common, "MIT", repo="savyak2/T-REN", files=("tren_region_encoder.pth",))
    name = f"tren_region_encoder_{size}.safetensors"
    return Wanted(
        "region encoder",
        (name, *common),
        "MIT",
        access=f"the published one is for {DEFAULT_SIZE}; train one (docs/tren.md) and name it {name}",
    )


def wanted(backbone: str = "") -> list[Wanted]:
    """All files of `tren:backbone`. Raises ModelError if there is no such size."""
    size = size_of(backbone)
    return [region_file(size), backbone_file(size), TEXT, VOCABULARY]


class TextSide(NamedTuple):
    """The text tower and its tokenizer."""

    tower: TextTower
    tokens: Tokens

    @property
    def dim(self) -> int:
        """Dt, the width of the half of the text embedding that is for patches."""
        return self.tower.out // 2


class TrenText(TextEncoder):
    """The text side. It runs in float32 on the CPU, so that a question has the same answer on every device."""

    has_templates = True

    def __init__(self, info: EncoderInfo, text: TextSide) -> None:
        self.info, self._text = info, text
        self._contrast: Float32 | None = None
        tokens = text.tokens
        self._cut = Cutting(lambda phrase: tokens.count(PROMPT + phrase), tokens.context)
        self._cut_name = Cutting(lambda name: max(map(tokens.count, filled(IMAGENET, name))), tokens.context)

    def encode_text(self, phrases: Sequence[str]) -> Float32:
        """As `TextEncoder.encode_text`. A phrase that does not fit with PROMPT is cut; see `Cutting`."""
        if any(not phrase.strip() for phrase in phrases):
            raise UsageError("the phrase is empty; name a thing")
        return self._encode([PROMPT + self._cut(phrase) for phrase in phrases])

    def encode_names(self, names: Sequence[str]) -> Float32:
        """`(n, Dt)` unit vectors of names, each the mean over the 80 sentences of IMAGENET, as in the authors' code."""
        if any(not name.strip() for name in names):
            raise UsageError("the name is empty; name a thing")
        parts = [np.empty((0, self._text.dim), np.float32)]
        for name in names:  # the 80 sentences of one name are a batch
            mean = self._encode(filled(IMAGENET, self._cut_name(name))).mean(axis=0, keepdims=True)
            parts.append(mean / max(float(np.linalg.norm(mean)), 1e-12))
        return np.concatenate(parts)

    def contrast(self, vector: Float32) -> Float32:
        if self._contrast is None:
            self._contrast = self._encode(CONTRAST)
        different: Float32 = self._contrast[self._contrast @ vector < SAME_MEANING]
        return different

    def _encode(self, texts: Sequence[str]) -> Float32:
        import torch
        from torch.nn import functional as F

        if not texts:
            return np.empty((0, self._text.dim), np.float32)
        with torch.inference_mode():
            embeddings = self._text.tower(torch.from_numpy(self._text.tokens(texts)))
            # T-REN's text tokens are in the space of patches, which is the second half.
            unit: Float32 = F.normalize(embeddings[:, self._text.dim :], dim=1).numpy()
        return unit


class Tren(TrenText, Encoder):
    """Both sides of `tren`."""

    def __init__(
        self, info: EncoderInfo, text: TextSide, backbone: nn.Module, region: RegionEncoder, device: str | None
    ) -> None:
        from ..device import pick_device
        from .dinov3 import to_device

        super().__init__(info, text)
        self.device, self.dtype = pick_device(device)
        self.backbone = to_device(backbone, self.device, self.dtype)
        self.region = region.to(self.device, self.dtype)
        self._points: dict[tuple[int, int], Tensor] = {}

    def working_size(self, width: int, height: int) -> tuple[int, int]:
        return SIZE, SIZE

    def encode(self, images: Sequence[NDArray[np.uint8]], width: int, height: int) -> list[RegionTokens]:
        import torch

        from .dinov3 import features

        with torch.inference_mode():
            patches = features(self.backbone, normalised(images, MEAN, STD, self.device)).patches
            grid = int(patches.shape[-2]), int(patches.shape[-1])
            if grid not in self._points:  # reuse the tensor, so that the region encoder can cache its prompts
                self._points[grid] = grid_points(*grid)  # on the CPU, so that the cache's test does not wait for a GPU
            points = self._points[grid]
            tokens, attention, _ = self.region(patches, points[None])
            peaks = attention.float()
            parts = tokens, self.region.project(tokens), peaks / peaks.amax(-1, keepdim=True).clamp_min(1e-12)
            visual, text, masks = (part.flatten(1, 2).float().cpu().numpy() for part in parts)
        size = np.array([width, height], np.float32)
        centres = np.repeat(points.numpy(), self.region.k, axis=0) * size  # a point has k tokens in a row
        return [
            _regions(v, t, m.reshape(-1, *grid), centres, width, height)
            for v, t, m in zip(visual, text, masks, strict=True)
        ]


def grid_points(height: int, width: int) -> Tensor:
    """One point per patch: `(height * width, 2)` x, y in [0, 1], rows first.

    The point of patch i is the centre of pixel 16 i + 8. At 512 pixels this is the authors' grid, linspace(8, 504, 32).
    """
    import torch

    from .dinov3 import PATCH

    y, x = ((torch.arange(n) * PATCH + PATCH / 2 + 0.5) / (n * PATCH) for n in (height, width))
    return torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], dim=-1).reshape(-1, 2)


def _regions(visual: Float32, text: Float32, masks: Float32, points: Float32, width: int, height: int) -> RegionTokens:
    area = (masks > 0.5).mean((1, 2), dtype=np.float32)
    boxes = mask_boxes(masks, width, height)
    return RegionTokens(visual=visual, text=text, masks=masks, points=points.astype(np.float32), boxes=boxes, area=area)


def load_text_side(folder: Path) -> TextSide:
    """Load the text tower and its tokenizer. Raises ModelError if a file is missing or damaged."""
    vocabulary, tower = locate(VOCABULARY, folder), locate(TEXT, folder)
    from .dinotxt import load_text_tower
    from .tokenizer import load_tokens

    loaded = load_text_tower(tower)
    return TextSide(loaded, load_tokens(vocabulary, context=loaded.context))


def load(options: LoadOptions) -> Tren:
    """Load both sides.

    Raises:
        ModelError: A file is missing, changed, damaged, or does not fit the others.
        UsageError: The device does not work.
    """
    from ..device import pick_device
    from .dinov3 import load_backbone, width

    pick_device(options.device)  # fails before the slow part
    size, folder = size_of(options.backbone), weights_folder(options.weights)
    file = locate(backbone_file(size), folder)
    text, region, info = _load_all_but_backbone(size, folder)
    model = load_backbone(file)
    if width(model) != info.visual_dim:
        raise ModelError(
            f"the region encoder is for features of width {info.visual_dim}, the backbone gives "
            f"{width(model)}; use the backbone it was trained on: {locate(region_file(size), folder)}"
        )
    return Tren(info, text, model, region, options.device)


def load_text(options: LoadOptions) -> TrenText:
    """Load the text side. The backbone's file may be missing if it is recorded. Raises ModelError as `load`."""
    text, _, info = _load_all_but_backbone(size_of(options.backbone), weights_folder(options.weights))
    return TrenText(info, text)


def _load_all_but_backbone(size: str, folder: Path) -> tuple[TextSide, RegionEncoder, EncoderInfo]:
    """The text side, the region encoder and the facts. Raises ModelError if they do not fit each other."""
    files = wanted(size)
    region_path = locate(files[0], folder)
    for each in (TEXT, VOCABULARY):
        locate(each, folder)  # fails before the slow part
    weights = fingerprint(files, folder)
    from .checkpoint import load_region_encoder

    region = load_region_encoder(region_path)
    text = load_text_side(folder)
    if region.text_dim != text.dim:
        raise ModelError(
            f"the region encoder's text tokens have width {region.text_dim}, the text tower gives "
            f"{text.dim}; use the one it was trained with: {region_path}"
        )
    name = "tren" if size == DEFAULT_SIZE else f"tren:{size}"
    return text, region, EncoderInfo(name, weights, region.dim, text.dim, TREN.knows, True, CALIBRATION)
