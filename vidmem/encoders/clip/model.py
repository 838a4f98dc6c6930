"""Access to the inside of open_clip's image towers, without changes to its code.

There are two kinds of tower. Vision transformers of open_clip have a class token (CLIP, MetaCLIP, DFN, laion). Those of
timm have a head that pools by attention (SigLIP, SigLIP2, PE-Core), or a class token (MobileCLIP-B and EVA-CLIP).
EVA-CLIP has separate projections or biases for queries, keys and values, and rotary positions.

Tokens are `(B, L, D)` here. Blocks of open_clip before 2.26 take `(L, B, D)`, and each block is called in its layout.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import ModelError
from .block import Block, apply_present

Resizing = Literal["offset", "antialiased", "plain"]
"""How position embeddings are resized to another grid; all are bicubic. "offset" (TextRegion's code) scales by the
factor (n + .1) / n_native without antialiasing, as DINO does. "antialiased" (GEM's code) and "plain" (DenseVLM's code,
without antialiasing) resize to the exact size."""


class ClipTower:
    """An image tower.

    Attributes:
        side: Side in pixels of the pictures that it was trained on.
        patch: Side of a patch in pixels.
        native: Rows and columns of patches that it was trained on.
        dim: Width of its outputs, which is that of the space of texts.
        pools: True if it has a pooling head (SigLIP2, PE), False if a class token.
        resizable: True if it takes pictures of any size as it is.
        stretchable: True if `last_blocks` takes pictures of any size, because its positions can be stretched as well.
        blocks: Its transformer blocks; empty if it has a pooling head.

    Raises:
        ModelError: The tower is of another kind.
    """

    def __init__(self, visual: nn.Module) -> None:
        self.visual: Any = visual
        self.trunk: Any = getattr(visual, "trunk", None)
        self.pools = getattr(self.trunk, "attn_pool", None) is not None
        if self.trunk is None:
            self._read_open_clip()
        elif hasattr(self.trunk, "blocks") and hasattr(self.trunk, "num_prefix_tokens"):
            self._read_timm()
        else:
            raise _without_patches(self.trunk)
        self.resizable = self.trunk is None
        self.stretchable = self.resizable or (not self.pools and _has_table(self.trunk, self.native))
        self._positions: dict[tuple[int, int, Resizing], Tensor] = {}
        self._rotations: dict[tuple[int, int], Tensor] = {}

    def _read_open_clip(self) -> None:
        visual = self.visual
        if not hasattr(visual, "transformer") or not hasattr(visual, "class_embedding"):
            raise _without_patches(visual)
        if getattr(visual, "attn_pool", None) is not None:
            raise ModelError("CoCa's pooling is not supported; choose a CLIP, SigLIP2 or PE backbone")
        self.native = tuple(visual.grid_size)
        self.patch, self.side = int(visual.conv1.kernel_size[0]), int(visual.image_size[0])
        self.dim = int(visual.output_dim)
        # The transformer knows its layout since 2.26; before, only the blocks do.
        modules = visual.transformer.resblocks
        batch_first = getattr(visual.transformer, "batch_first", None)
        if batch_first is None:
            batch_first = getattr(modules[0].attn, "batch_first", False)
        self.blocks = [Block(m, int(m.attn.num_heads), sequence_first=not batch_first) for m in modules]

    def _read_timm(self) -> None:
        trunk = self.trunk
        size = trunk.patch_embed.patch_size if hasattr(trunk.patch_embed, "patch_size") else None
        self.native = tuple(trunk.patch_embed.grid_size)
        image = self.visual.image_size
        self.side = int(image if isinstance(image, int) else image[0])
        self.patch = int(size[0]) if size else self.side // self.native[0]
        if self.pools:  # only the input of the head is needed, and no blocks
            self.blocks = []
            self.dim = int(_width(self.visual.head, _width(trunk.head, trunk.attn_pool.out_features)))
        else:
            if trunk.num_prefix_tokens != 1 or not hasattr(getattr(trunk.blocks[0], "attn", None), "qkv"):
                raise ModelError("this tower has no class token and no pooling head; choose another backbone")
            if getattr(trunk, "rope_mixed", False):
                raise ModelError(
                    "the blocks of this tower have different rotary positions, which vidmem does not support; "
                    "choose another backbone"
                )
            self.blocks = [Block(m, int(m.attn.num_heads)) for m in trunk.blocks]
            self.dim = int(_width(self.visual.head, _width(trunk.head, trunk.num_features)))

    @property
    def heads(self) -> int:
        """Number of attention heads."""
        return self.blocks[-1].heads

    def crop_side(self, side: int) -> int:
        """Side in pixels of the squares that the tower takes: `side` in whole patches, or the only one that it can."""
        return side // self.patch * self.patch if self.resizable else self.side

    def last_blocks(self, pixels: Tensor, count: int, resizing: Resizing) -> Iterator[tuple[Block, Tensor]]:
        """The last `count` blocks, each with its input `(B, 1 + N, D)`: the class token, then patches row by row.

        A block runs when the next one is requested, so the last block never runs.

        Args:
            pixels: `(B, 3, H, W)`, normalised.
            count: Number of blocks.
            resizing: How position embeddings are resized.

        Raises:
            ModelError: The tower has a pooling head, fewer blocks, or takes only pictures of its own size.
        """
        if self.pools:
            raise ModelError("this backbone has a pooling head and no class token; use it with textregion")
        if not 1 <= count <= len(self.blocks):
            raise ModelError(f"the tower has {len(self.blocks)} blocks, not {count}")
        if self.trunk is not None and self._grid(pixels) == self.native:
            x = self._timm_input(pixels, len(self.blocks) - count)
        else:
            x = self._embed(pixels, resizing) if self.trunk is None else self._embed_timm(pixels, resizing)
            for block in self.blocks[:-count]:
                x = block(x)
        for i, block in enumerate(self.blocks[-count:]):
            yield block, x
            if i + 1 < count:
                x = block(x)

    def head(self, x: Tensor) -> Tensor:
        """Map tokens `(..., D)` of the stream into the space of texts `(..., dim)`: ln_post and proj."""
        if self.trunk is not None:
            return apply_present(apply_present(x, self.trunk, "norm", "fc_norm", "head"), self.visual, "head")
        x = self.visual.ln_post(x)
        return x if self.visual.proj is None else x @ self.visual.proj

    def pool_inputs(self, pixels: Tensor) -> Tensor:
        """The input of the pooling head, patches only: `(B, 3, side, side)` -> `(B, N, D)`."""
        tokens = self._timm_features(pixels)
        tokens = tokens[:, self.trunk.num_prefix_tokens :]
        extra = getattr(self.trunk.attn_pool, "pos_embed", None)
        return tokens if extra is None else tokens + extra[-tokens.shape[1] :]

    def pool_values(self, inputs: Tensor) -> Tensor:
        """The values of the pooling head, `(..., D)` -> `(..., D)`."""
        kv = self.trunk.attn_pool.kv
        bias = None if kv.bias is None else kv.bias.chunk(2)[1]
        return F.linear(inputs, kv.weight.chunk(2)[1], bias)

    def pool_head(self, attended: Tensor) -> Tensor:
        """Map attended values `(..., D)` into the space of texts `(..., dim)`, without the head's MLP.

        Applies proj, and then fc_norm (SigLIP2) or the final projection (PE) if the tower has them.
        """
        return apply_present(
            apply_present(apply_present(attended, self.trunk.attn_pool, "proj"), self.trunk, "fc_norm", "head"),
            self.visual,
            "head",
        )

    def _embed(self, pixels: Tensor, resizing: Resizing) -> Tensor:
        visual = self.visual
        patches = visual.conv1(pixels)
        grid = int(patches.shape[-2]), int(patches.shape[-1])
        patches = patches.flatten(2).transpose(1, 2)
        first = visual.class_embedding.to(patches.dtype).expand(len(patches), 1, -1)
        x: Tensor = torch.cat([first, patches], dim=1) + self._position_embeddings(grid, resizing).to(patches.dtype)
        x = visual.ln_pre(x)
        return x

    def _grid(self, pixels: Tensor) -> tuple[int, int]:
        return pixels.shape[-2] // self.patch, pixels.shape[-1] // self.patch

    def _embed_timm(self, pixels: Tensor, resizing: Resizing) -> Tensor:
        """The input of the first block of a timm tower, with its positions stretched to the picture's grid."""
        trunk = self.trunk
        if not self.stretchable:
            raise ModelError(f"this tower takes pictures of {self.side} x {self.side} pixels only")
        patches = trunk.patch_embed.proj(pixels)
        grid = int(patches.shape[-2]), int(patches.shape[-1])
        patches = trunk.patch_embed.norm(patches.flatten(2).transpose(1, 2))
        x = torch.cat([trunk.cls_token.to(patches.dtype).expand(len(patches), -1, -1), patches], dim=1)
        x = x + self._position_embeddings(grid, resizing).to(x.dtype)
        x = apply_present(trunk.pos_drop(x), trunk, "norm_pre")
        rope = self._rotary(grid)
        for block in self.blocks:
            block.rope = rope
        return x

    def _rotary(self, grid: tuple[int, int]) -> Tensor | None:
        """Rotary positions of another grid, `(N, 2 d)`; None if the tower has none.

        EVA divides the range of its first training (16 x 16) into as many steps as the grid has.
        """
        rope = getattr(self.trunk, "rope", None)
        if rope is None:
            return None
        if grid not in self._rotations:
            other = deepcopy(rope)
            other.update_feat_shape(list(grid))
            self._rotations[grid] = other.get_embed().detach()
        return self._rotations[grid]

    def _timm_features(self, pixels: Tensor) -> Tensor:
        """timm's own features of pictures. Raises ModelError if the tower takes pictures of another size only."""
        try:
            features: Tensor = self.trunk.forward_features(pixels)
        except AssertionError as error:  # timm's check of the size
            cause = " ".join(str(error).split())[:100]
            raise ModelError(f"the tower and its configuration do not fit ({cause}); fetch the model again") from None
        return features

    def _timm_input(self, pixels: Tensor, number: int) -> Tensor:
        """The input of block `number` of a timm tower. Also sets the rotary positions of all blocks.

        timm's towers differ in how they embed, so the input is taken from a hook, which ends the forward pass.
        """
        inputs: list[tuple[Tensor, Tensor | None]] = []

        class Stop(Exception):
            pass

        def record(module: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Any]) -> None:
            inputs.append((args[0], kwargs.get("rope")))
            raise Stop

        handle = self.trunk.blocks[number].register_forward_pre_hook(record, with_kwargs=True)
        try:
            self._timm_features(pixels)
        except Stop:
            pass
        finally:
            handle.remove()
        x, rope = inputs[0]
        for block in self.blocks:
            block.rope = rope
        return x

    def _position_embeddings(self, grid: tuple[int, int], resizing: Resizing) -> Tensor:
        table: Tensor = self.visual.positional_embedding if self.trunk is None else self.trunk.pos_embed[0]
        if grid == self.native:
            return table
        if table.requires_grad:  # it changes while it is trained
            with torch.autocast(table.device.type, enabled=False):
                return resize_positions(table.float(), self.native, grid, resizing)
        key = (*grid, resizing)
        if key not in self._positions:
            with torch.inference_mode(False), torch.autocast(table.device.type, enabled=False):
                self._positions[key] = resize_positions(table.detach().float(), self.native, grid, resizing)
        return self._positions[key]


def resize_positions(table: Tensor, native: tuple[int, ...], grid: tuple[int, int], resizing: Resizing) -> Tensor:
    """Resize position embeddings to another grid. The first row, of the class token, is kept.

    Args:
        table: `(1 + n * m, D)`.
        native: n and m.
        grid: h and w of the new grid.
        resizing: See `Resizing`.

    Returns:
        `(1 + h * w, D)`.
    """
    if tuple(native) == grid:
        return table
    patches = table[1:].reshape(*native, -1).permute(2, 0, 1)[None]
    if resizing != "offset":
        patches = F.interpolate(patches, grid, mode="bicubic", antialias=resizing == "antialiased")
    else:
        factors = ((grid[0] + 0.1) / native[0], (grid[1] + 0.1) / native[1])
        patches = F.interpolate(patches, scale_factor=factors, mode="bicubic", recompute_scale_factor=False)
    return torch.cat([table[:1], patches[0].flatten(1).T])


def _has_table(trunk: Any, native: tuple[int, ...]) -> bool:
    """Whether a timm tower embeds patches by one convolution and adds a table of class token and patches."""
    embed, table = trunk.patch_embed, getattr(trunk, "pos_embed", None)
    return (
        isinstance(getattr(embed, "proj", None), nn.Conv2d)
        and isinstance(getattr(embed, "norm", None), nn.Module)
        and isinstance(table, Tensor)
        and table.ndim == 3
        and table.shape[1] == 1 + native[0] * native[1]
        and getattr(trunk, "cls_token", None) is not None
    )


def _width(head: Any, default: int) -> int:
    """Width of the output of `head`; `default` if it has no linear layer."""
    widths = [m.out_features for m in head.modules() if isinstance(m, nn.Linear)]
    return int(widths[-1]) if widths else default


def _without_patches(tower: nn.Module) -> ModelError:
    kind = type(tower).__name__
    return ModelError(f"a tower of the kind {kind} has no patches; choose a ViT, such as ViT-B-16/openai")
