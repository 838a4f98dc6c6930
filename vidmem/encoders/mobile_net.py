"""The backbone of `tiny`: an EfficientNet-Lite0 body (Tan and Le 2019: inverted residuals, ReLU6, no
squeeze-and-excite) that starts from published weights and knows photographs, a small branch of dense convolutions that
knows drawings and fine detail, and a feature pyramid on both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .convolutions import relu6

STRIDE = 8
"""Pixels of the working picture per patch."""
DIM = 128
MEAN, SPREAD = 127 / 255, 128 / 255
"""What EfficientNet-Lite takes off pictures in [0, 1] and divides them by."""
STAGES = (
    (1, 1, 3, 1, 16), (2, 6, 3, 2, 24), (2, 6, 5, 2, 40), (3, 6, 3, 2, 80), (3, 6, 5, 1, 112), (4, 6, 5, 2, 192),
)  # fmt: skip
"""EfficientNet-Lite0: blocks, expansion, kernel, stride of the first, channels, but for its last."""
LAST_STAGE = (1, 6, 3, 1, 320)
"""A quarter of the weights of the body, for classes that `tiny` does not have: only the teacher has it."""
TAPS = (4, 10)
"""Blocks whose output the pyramid takes besides that of the last: the last ones at strides 8 and 16."""

START = 3
"""Blocks that end at stride 4."""


def one_by_one(function: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """`function(images)`; on a CPU picture by picture, unless gradients are wanted. The largest maps of a batch would
    not fit a cache, and memory of that size is fetched anew from the system each time."""
    if images.device.type != "cpu" or torch.is_grad_enabled():
        return function(images)
    return torch.cat([function(images[i : i + 1]) for i in range(len(images))])


def scaled(images: Tensor, mean: float, spread: float, dtype: torch.dtype) -> Tensor:
    """`(images - mean) / spread`, rounded once, to the `dtype` of the weights."""
    return (images - mean).div_(spread).to(dtype)


def conv(cin: int, cout: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """A convolution and its batch norm."""
    convolution = nn.Conv2d(cin, cout, kernel, stride, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(cout))


def _still(cin: int, cout: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(cin, cout, kernel, stride, kernel // 2, groups=groups)


class Inverted(nn.Module):
    """Inverted residual (Sandler et al. 2018), batch norms folded. `(B, Cin, h, w) -> (B, Cout, h / stride, ...)`."""

    def __init__(self, cin: int, cout: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        wide = cin * expansion
        self.expand = _still(cin, wide, 1) if expansion > 1 else None
        self.depthwise = _still(wide, wide, kernel, stride, groups=wide)
        self.project = _still(wide, cout, 1)
        self.residual = stride == 1 and cin == cout

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.expand is None else relu6(self.expand, x)
        y = self.project(relu6(self.depthwise, y))
        out: Tensor = y.add_(x) if self.residual else y
        return out


class MobileBody(nn.Module):
    """`(B, 3, H, W)` -> features after the blocks TAPS and the last, at strides 8, 16 and 32 (sides rounded up).

    Cell i of stride s looks at the pixels around s * i. It has no batch norms: their statistics never change here.
    """

    def __init__(self, stages: Sequence[tuple[int, int, int, int, int]] = STAGES) -> None:
        super().__init__()
        self.stem = _still(3, 32, 3, 2)
        blocks, cin = [], 32
        for count, expansion, kernel, stride, cout in stages:
            for i in range(count):
                blocks.append(Inverted(cin, cout, expansion, kernel, stride if i == 0 else 1))
                cin = cout
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor) -> list[Tensor]:
        return self.rest(self.start(x))

    def start(self, x: Tensor) -> Tensor:
        """As far as stride 4: where the maps are largest."""
        x = relu6(self.stem, x)
        for block in self.blocks[:START]:
            x = block(x)
        return x

    def rest(self, x: Tensor) -> list[Tensor]:
        """From what `start` gives."""
        out = []
        for i, block in enumerate(self.blocks[START:], START):
            x = block(x)
            if i in TAPS:
                out.append(x)
        return [*out, x]


class Block(nn.Module):
    """Two 3x3 convolutions with batch norm and a residual (He et al., 2016). `(B, C, h, w) -> (B, C, h, w)`."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(dim, dim), nn.ReLU(inplace=True), conv(dim, dim))
        nn.init.zeros_(self.body[2][1].weight)  # type: ignore[index]

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.body(x), inplace=True)


class Detail(nn.Module):
    """`(B, 3, H, W)` in [0, 1] -> `(B, 96, H/8, W/8)`: what the first `tiny` did at its finest."""

    def __init__(self) -> None:
        super().__init__()
        stages = ((3, 24), (24, 48), (48, 96))
        self.stem = nn.Sequential(*(layer for a, b in stages for layer in (conv(a, b, 3, 2), nn.ReLU(inplace=True))))
        self.fine = nn.Sequential(Block(96), Block(96))

    def forward(self, images: Tensor) -> Tensor:
        dtype = next(self.parameters()).dtype
        out: Tensor = self.fine(one_by_one(lambda image: self.stem(scaled(image, 0.45, 0.25, dtype)), images))
        return out


def _up(coarse: Tensor, fine: Tensor) -> Tensor:
    """`coarse` at twice its resolution, as large as `fine`: cell i lies on cell 2 i, those between are means."""
    h, w = coarse.shape[-2:]
    padded = F.pad(coarse, (0, 1, 0, 1), mode="replicate")
    doubled = F.interpolate(padded, (2 * h + 1, 2 * w + 1), mode="bilinear", align_corners=True)
    return doubled[..., : fine.shape[-2], : fine.shape[-1]]


class MobileBackbone(nn.Module):
    """`(B, 3, H, W)` in [0, 1], float32 -> features `(B, DIM, H/8, W/8)` and heat logits `(B, H/8, W/8)`, both of the
    dtype of the weights. H and W are multiples of 16.
    """

    def __init__(self) -> None:
        super().__init__()
        self.body, self.detail = MobileBody(), Detail()
        self.top = nn.Sequential(conv(192, 256, 1), nn.ReLU(inplace=True), nn.Conv2d(256, DIM, 1))
        self.middle, self.lateral = nn.Conv2d(112, DIM, 1), nn.Conv2d(40, DIM, 1)
        self.detail_middle, self.detail_lateral = conv(96, DIM, 3, 2), nn.Conv2d(96, DIM, 1)
        self.join = nn.Sequential(nn.ReLU(), conv(DIM, DIM, 3))
        self.fuse = nn.Sequential(nn.ReLU(), conv(DIM, DIM, 3), nn.ReLU(inplace=True), nn.Conv2d(DIM, DIM, 1))
        self.heat = nn.Conv2d(DIM, 1, 1)
        nn.init.constant_(self.heat.bias, -3.0)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        # Cells look at the pixels around stride * i: moved by 3, that is the middle of the patch they stand for.
        moved = (-3, 3, -3, 3)
        dtype = next(self.parameters()).dtype
        started = one_by_one(lambda image: self.body.start(F.pad(scaled(image, MEAN, SPREAD, dtype), moved)), images)
        fine, middle, coarse = self.body.rest(started)
        detail = self.detail(images)
        top = self.top(coarse)
        middle = self.middle(middle) + self.detail_middle(detail) + _up(top, middle)
        middle = middle + self.join(middle)
        fine = self.lateral(fine) + self.detail_lateral(detail) + _up(middle, fine)
        features = fine + self.fuse(fine)
        return features, self.heat(features).squeeze(1)
