"""`tren`: T-REN as published (arXiv 2604.18573), the reference system. DINOv3 features, the T-REN region encoder on a
grid of points, dino.txt for text. Spelled `tren` (ViT-L/16) or `tren:SIZE`; weights as docs/tren.md says.

Everything heavy is imported when it is needed; the text side loads the text tower alone, never the backbone.
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
"""Side of the working picture in pixels; the ratio is not kept. Paper and code: 512, a grid of 32 x 32 patches."""
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's, of RGB in [0, 1], as DINOv3 was trained."""
PROMPT = "photo of a "
"""What the authors' code puts before a name."""
CONTRAST = ("photo of background", "photo of some other thing")
"""A track that is rather one of these than the phrase does not count as found. Ours; the authors have none."""
SAME_MEANING = 0.95
"""A contrast phrase whose cosine to the question is above this does not speak against it."""
CALIBRATION = Calibration(
    text_threshold=0.23,  # authors' code, Visual Haystacks: yes if the best text cosine exceeds it
    contrast_probability=0.5,  # the phrase against CONTRAST: ours
    visual_threshold=0.65,  # tau_track, from which two tokens are one thing
    product_threshold=0.18,  # authors' code, VQ2D
    temperature=0.01,  # the cap of CLIP's logit scale, 100
)
"""Not calibrated, for lack of weights to calibrate with. Figures of the paper and of the authors' code."""
DEFAULT_SIZE = "vitl16"
_SHORT = {"7b": "vit7b16", "vit7b": "vit7b16"}
_META = "https://ai.meta.com/resources/models-and-libraries/dinov3-downloads/"
_PUBLISHED = {
    "vits16": "08c60483",
    "vits16plus": "4057cbaa",
    "vitb16": "73cec8be",
    "vitl16": "8aa4cbdd",
    "vith16plus": "7c1da9a5",
    "vit7b16": "a955f4ea",
}
"""Sizes, and how the sha256 of Meta's file begins, as its name tells."""

TEXT = Wanted(
    "dino.txt text tower and vision head",
    ("*dinotxt*.pth", "*dinotxt*.safetensors"),
    "DINOv3 licence",
    access=f"ask Meta for access at {_META}, from the mailed links take "
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
    """The published name of a size, `vitl16` for "". Raises ModelError when there is none."""
    size = _SHORT.get(backbone, backbone) or DEFAULT_SIZE
    if size not in _PUBLISHED:
        raise ModelError(f"no DINOv3 backbone {backbone!r}; there are: {', '.join(_PUBLISHED)}")
    return size


def backbone_file(size: str) -> Wanted:
    """Meta's file, or a folder in the layout of Hugging Face."""
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
    """The region encoder: of a size's own name, else the authors', which is for ViT-L/16."""
    common = ("tren_region_encoder.safetensors", "tren_region_encoder.pth")
    if size == DEFAULT_SIZE:
        return Wanted("region encoder", common, "MIT", repo="savyak2/T-REN", files=("tren_region_encoder.pth",))
    own = f"tren_region_encoder_{size}.safetensors"
    return Wanted(
        "region encoder",
        (own, *common),
        "MIT",
        access=f"the published one is for {DEFAULT_SIZE}; train one (docs/tren.md) and name it {own}",
    )


def wanted(backbone: str = "") -> list[Wanted]:
    """All files of `tren:backbone`. Raises ModelError for a size that is not there."""
    size = size_of(backbone)
    return [region_file(size), backbone_file(size), TEXT, VOCABULARY]


class TextSide(NamedTuple):
    """What turns phrases into vectors."""

    tower: TextTower
    tokens: Tokens

    @property
    def dim(self) -> int:
        """Dt: the half of the text embedding that belongs to patches."""
        return self.tower.out // 2


class TrenText(TextEncoder):
    """The text side, in float32 on the CPU wherever pictures are encoded: a question gives one answer everywhere."""

    has_templates = True

    def __init__(self, info: EncoderInfo, text: TextSide) -> None:
        self.info, self._text = info, text
        self._against: Float32 | None = None
        tokens = text.tokens
        self._cut = Cutting(lambda phrase: tokens.count(PROMPT + phrase), tokens.context)
        self._cut_name = Cutting(lambda name: max(map(tokens.count, filled(IMAGENET, name))), tokens.context)

    def encode_text(self, phrases: Sequence[str]) -> Float32:
        """As TextEncoder. Of a phrase that does not fit with PROMPT the first words count, see Cutting."""
        if any(not phrase.strip() for phrase in phrases):
            raise UsageError("the phrase is empty; name a thing")
        return self._encode([PROMPT + self._cut(phrase) for phrase in phrases])

    def encode_names(self, names: Sequence[str]) -> Float32:
        """`(n, Dt)` unit vectors of names, each the mean over the 80 sentences of IMAGENET: as the authors parse."""
        if any(not name.strip() for name in names):
            raise UsageError("the name is empty; name a thing")
        parts = [np.empty((0, self._text.dim), np.float32)]
        for name in names:  # one by one: 80 sentences are a batch, and thousands of names stay small
            mean = self._encode(filled(IMAGENET, self._cut_name(name))).mean(axis=0, keepdims=True)
            parts.append(mean / max(float(np.linalg.norm(mean)), 1e-12))
        return np.concatenate(parts)

    def contrast(self, vector: Float32) -> Float32:
        if self._against is None:
            self._against = self._encode(CONTRAST)
        against: Float32 = self._against[self._against @ vector < SAME_MEANING]
        return against

    def _encode(self, texts: Sequence[str]) -> Float32:
        import torch
        from torch.nn import functional as F

        if not texts:
            return np.empty((0, self._text.dim), np.float32)
        with torch.inference_mode():
            whole = self._text.tower(torch.from_numpy(self._text.tokens(texts)))
            # T-REN's text tokens are of the patch space: the second half.
            unit: Float32 = F.normalize(whole[:, self._text.dim :], dim=1).numpy()
        return unit


class Tren(TrenText, Encoder):
    """Both sides."""

    def __init__(
        self, info: EncoderInfo, text: TextSide, backbone: nn.Module, region: RegionEncoder, device: str | None
    ) -> None:
        from ..device import pick_device
        from .dinov3 import place

        super().__init__(info, text)
        self.device, self.dtype = pick_device(device)
        self.backbone = place(backbone, self.device, self.dtype)
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
            if grid not in self._points:  # the same tensor each time: what depends on it alone is computed once
                self._points[grid] = grid_points(*grid)  # on the CPU, where comparing them waits for no GPU
            points = self._points[grid]
            tokens, attention, _ = self.region(patches, points[None])
            peaks = attention.float()
            parts = tokens, self.region.project(tokens), peaks / peaks.amax(-1, keepdim=True).clamp_min(1e-12)
            visual, text, masks = (part.flatten(1, 2).float().cpu().numpy() for part in parts)
        size = np.array([width, height], np.float32)
        places = np.repeat(points.numpy(), self.region.k, axis=0) * size  # k tokens of a point side by side
        return [
            _regions(v, t, m.reshape(-1, *grid), places, width, height)
            for v, t, m in zip(visual, text, masks, strict=True)
        ]


def grid_points(height: int, width: int) -> Tensor:
    """One point per patch, `(height * width, 2)` x, y in [0, 1], rows first: the centre of pixel 16 i + 8, which at
    512 pixels is the authors' grid (y, x) = linspace(8, 504, 32)."""
    import torch

    from .dinov3 import PATCH

    y, x = ((torch.arange(n) * PATCH + PATCH / 2 + 0.5) / (n * PATCH) for n in (height, width))
    return torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], dim=-1).reshape(-1, 2)


def _regions(visual: Float32, text: Float32, masks: Float32, points: Float32, width: int, height: int) -> RegionTokens:
    area = (masks > 0.5).mean((1, 2), dtype=np.float32)
    boxes = mask_boxes(masks, width, height)
    return RegionTokens(visual=visual, text=text, masks=masks, points=points.astype(np.float32), boxes=boxes, area=area)


def load_text_side(folder: Path) -> TextSide:
    """Raises ModelError when a file is missing or damaged."""
    vocabulary, tower = locate(VOCABULARY, folder), locate(TEXT, folder)
    from .dinotxt import load_text_tower
    from .tokenizer import load_tokens

    loaded = load_text_tower(tower)
    return TextSide(loaded, load_tokens(vocabulary, context=loaded.context))


def load(options: LoadOptions) -> Tren:
    """Both sides.

    Raises ModelError: a file is missing, changed, damaged, or does not fit the others; UsageError for the device.
    """
    from ..device import pick_device
    from .dinov3 import load_backbone, width

    pick_device(options.device)  # before gigabytes are read
    size, folder = size_of(options.backbone), weights_folder(options.weights)
    file = locate(backbone_file(size), folder)
    text, region, info = _known(size, folder)
    model = load_backbone(file)
    if width(model) != info.visual_dim:
        raise ModelError(
            f"the region encoder is for features of width {info.visual_dim}, the backbone gives "
            f"{width(model)}; use the backbone it was trained on: {locate(region_file(size), folder)}"
        )
    return Tren(info, text, model, region, options.device)


def load_text(options: LoadOptions) -> TrenText:
    """The text side alone. The backbone's file may be elsewhere if it is recorded. Raises ModelError as `load`."""
    text, _, info = _known(size_of(options.backbone), weights_folder(options.weights))
    return TrenText(info, text)


def _known(size: str, folder: Path) -> tuple[TextSide, RegionEncoder, EncoderInfo]:
    """All but the backbone, each checked and fitting the others."""
    files = wanted(size)
    region_path = locate(files[0], folder)
    for each in (TEXT, VOCABULARY):
        locate(each, folder)  # what is missing is told before anything long is done
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
