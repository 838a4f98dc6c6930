"""The inside of open_clip's image towers, handed out without a change to its code.

Two kinds of tower: vision transformers of open_clip with a class token (CLIP, MetaCLIP, DFN, laion), and those of timm
behind open_clip, with a head that pools by attention (SigLIP, SigLIP2, PE-Core) or with a class token (MobileCLIP-B,
and EVA-CLIP, whose queries, keys and values have projections or biases of their own, and rotary positions). Tokens are
`(B, L, D)` everywhere here; open_clip before 2.26 keeps them `(L, B, D)` inside its blocks, later ones do not, and a
block is called in its own layout.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import ModelError
from .block import Block, through

Stretch = Literal["offset", "antialiased"]
"""How position embeddings are stretched to another grid, both bicubic. "offset" (TextRegion's code): no antialiasing,
by the factor (n + .1) / n_native, as DINO does. "antialiased" (GEM's): to the size itself."""


class ClipTower:
    """An image tower. side: pixels it was trained on; patch: pixels of a patch; dim: of its outputs. pools: it has a
    pooling head (SigLIP2, PE), else a class token. resizable: it takes pictures of any size.

    Raises ModelError for a tower of another make.
    """

    def __init__(self, visual: nn.Module) -> None:
        self.visual: Any = visual
        self.trunk: Any = getattr(visual, "trunk", None)
        self.pools = getattr(self.trunk, "attn_pool", None) is not None
        if self.trunk is None:
            self._own_blocks()
        elif hasattr(self.trunk, "blocks") and hasattr(self.trunk, "num_prefix_tokens"):
            self._timm_blocks()
        else:
            raise ModelError(
                f"a tower of the kind {type(self.trunk).__name__} has no patches to take; choose a ViT, "
                "such as ViT-B-16/openai"
            )
        self.resizable = self.trunk is None
        self._positions: dict[tuple[int, int, Stretch], Tensor] = {}

    def _own_blocks(self) -> None:
        visual = self.visual
        if not hasattr(visual, "transformer") or not hasattr(visual, "class_embedding"):
            raise ModelError(
                f"a tower of the kind {type(visual).__name__} has no patches to take; choose a ViT, such "
                "as ViT-B-16/openai"
            )
        if getattr(visual, "attn_pool", None) is not None:
            raise ModelError("CoCa's towers pool in a way of their own; choose a CLIP, SigLIP2 or PE backbone")
        self.native = tuple(visual.grid_size)
        self.patch, self.side = int(visual.conv1.kernel_size[0]), int(visual.image_size[0])
        self.dim = int(visual.output_dim)
        # Since 2.26 the transformer says which layout it has; before, the blocks alone tell.
        modules = visual.transformer.resblocks
        batch_first = getattr(visual.transformer, "batch_first", None)
        if batch_first is None:
            batch_first = getattr(modules[0].attn, "batch_first", False)
        self.blocks = [Block(m, int(m.attn.num_heads), sequence_first=not batch_first) for m in modules]

    def _timm_blocks(self) -> None:
        trunk = self.trunk
        size = trunk.patch_embed.patch_size if hasattr(trunk.patch_embed, "patch_size") else None
        self.native = tuple(trunk.patch_embed.grid_size)
        image = self.visual.image_size
        self.side = int(image if isinstance(image, int) else image[0])
        self.patch = int(size[0]) if size else self.side // self.native[0]
        # What a pooling head needs is its own input; blocks are only for towers with a class token.
        if self.pools:
            self.blocks = []
            self.dim = int(_width(self.visual.head, _width(trunk.head, trunk.attn_pool.out_features)))
        else:
            if trunk.num_prefix_tokens != 1 or not hasattr(getattr(trunk.blocks[0], "attn", None), "qkv"):
                raise ModelError("this tower has no class token and no pooling head; choose another backbone")
            if getattr(trunk, "rope_mixed", False):
                raise ModelError(
                    "each block of this tower has rotary positions of its own, which vidmem does not do; "
                    "choose another backbone"
                )
            self.blocks = [Block(m, int(m.attn.num_heads)) for m in trunk.blocks]
            self.dim = int(_width(self.visual.head, _width(trunk.head, trunk.num_features)))

    @property
    def heads(self) -> int:
        return self.blocks[-1].heads

    def crop_side(self, wanted: int) -> int:
        """The side in pixels of the squares it is given: `wanted` in whole patches where it may choose."""
        return wanted // self.patch * self.patch if self.resizable else self.side

    def last_blocks(self, pixels: Tensor, count: int, stretch: Stretch) -> Iterator[tuple[Block, Tensor]]:
        """The last `count` blocks, each with its input `(B, 1 + N, D)`, the class token first, then patches row by row.

        pixels `(B, 3, H, W)`, normalised. A block is run when the one after it is asked for: the last never is.
        """
        if self.pools:
            raise ModelError("this backbone has a pooling head and no class token; use it with textregion")
        if not 1 <= count <= len(self.blocks):
            raise ModelError(f"the tower has {len(self.blocks)} blocks, not {count}")
        if self.trunk is not None:
            x = self._input_of(pixels, len(self.blocks) - count)
        else:
            x = self._embedded(pixels, stretch)
            for block in self.blocks[:-count]:
                x = block(x)
        for i, block in enumerate(self.blocks[-count:]):
            yield block, x
            if i + 1 < count:
                x = block(x)

    def head(self, x: Tensor) -> Tensor:
        """Tokens of the stream into the space of texts: ln_post, proj; `(..., D)` -> `(..., dim)`."""
        if self.trunk is not None:
            return through(through(x, self.trunk, "norm", "fc_norm", "head"), self.visual, "head")
        x = self.visual.ln_post(x)
        return x if self.visual.proj is None else x @ self.visual.proj

    def pool_inputs(self, pixels: Tensor) -> Tensor:
        """What the pooling head sees of the patches: `(B, 3, side, side)` -> `(B, N, D)`."""
        tokens: Tensor = self.trunk.forward_features(pixels)
        tokens = tokens[:, self.trunk.num_prefix_tokens :]
        extra = getattr(self.trunk.attn_pool, "pos_embed", None)
        return tokens if extra is None else tokens + extra[-tokens.shape[1] :]

    def pool_values(self, inputs: Tensor) -> Tensor:
        """The values of the pooling head, `(..., D)` -> `(..., D)`."""
        kv = self.trunk.attn_pool.kv
        bias = None if kv.bias is None else kv.bias.chunk(2)[1]
        return F.linear(inputs, kv.weight.chunk(2)[1], bias)

    def pool_head(self, attended: Tensor) -> Tensor:
        """From attended values to the space of texts without the head's MLP: proj, then fc_norm (SigLIP2) or the
        final projection (PE), as far as there is one; `(..., D)` -> `(..., dim)`."""
        return through(
            through(through(attended, self.trunk.attn_pool, "proj"), self.trunk, "fc_norm", "head"), self.visual, "head"
        )

    def _embedded(self, pixels: Tensor, stretch: Stretch) -> Tensor:
        visual = self.visual
        patches = visual.conv1(pixels)
        grid = int(patches.shape[-2]), int(patches.shape[-1])
        patches = patches.flatten(2).transpose(1, 2)
        first = visual.class_embedding.to(patches.dtype).expand(len(patches), 1, -1)
        x: Tensor = torch.cat([first, patches], dim=1) + self._places(grid, stretch).to(patches.dtype)
        x = visual.ln_pre(x)
        return x

    def _input_of(self, pixels: Tensor, number: int) -> Tensor:
        """timm embeds and turns in its own ways; what comes to a block is caught before it, rotary positions too."""
        caught: list[tuple[Tensor, Tensor | None]] = []

        class Enough(Exception):
            pass

        def catch(module: nn.Module, given: tuple[Tensor, ...], named: dict[str, Any]) -> None:
            caught.append((given[0], named.get("rope")))
            raise Enough

        handle = self.trunk.blocks[number].register_forward_pre_hook(catch, with_kwargs=True)
        try:
            self.trunk.forward_features(pixels)
        except Enough:
            pass
        finally:
            handle.remove()
        x, rope = caught[0]
        for block in self.blocks:
            block.rope = rope
        return x

    def _places(self, grid: tuple[int, int], stretch: Stretch) -> Tensor:
        key = (*grid, stretch)
        table: Tensor = self.visual.positional_embedding
        if grid == self.native:
            return table
        if key not in self._positions:
            with torch.autocast(table.device.type, enabled=False):
                self._positions[key] = stretched(table.detach().float(), self.native, grid, stretch)
        return self._positions[key]


def stretched(table: Tensor, native: tuple[int, ...], grid: tuple[int, int], stretch: Stretch) -> Tensor:
    """Position embeddings `(1 + n * m, D)` of the grid `native` -> `(1 + h * w, D)` of `grid`; the first row stays."""
    if tuple(native) == grid:
        return table
    places = table[1:].reshape(*native, -1).permute(2, 0, 1)[None]
    if stretch == "antialiased":
        places = F.interpolate(places, grid, mode="bicubic", antialias=True)
    else:
        factors = ((grid[0] + 0.1) / native[0], (grid[1] + 0.1) / native[1])
        places = F.interpolate(places, scale_factor=factors, mode="bicubic", recompute_scale_factor=False)
    return torch.cat([table[:1], places[0].flatten(1).T])


def _width(head: Any, otherwise: int) -> int:
    """Features that come out of `head`; `otherwise` when it changes none."""
    widths = [m.out_features for m in head.modules() if isinstance(m, nn.Linear)]
    return int(widths[-1]) if widths else otherwise
