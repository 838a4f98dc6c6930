"""Small random weights in the layouts of the published files, which cannot be downloaded in tests."""

from __future__ import annotations

import gzip
import itertools
import string
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vidmem.encoders.tren.checkpoint import save_region_encoder
from vidmem.encoders.tren.region_encoder import RegionEncoder
from vidmem.encoders.tren.tokenizer import MERGES

GOLDEN = Path(__file__).parents[1] / "golden" / "tren"
BACKBONE = "dinov3_vitl16_pretrain_small.pth"
TEXT = "small_dinotxt.pth"
VOCABULARY = "bpe_simple_vocab_16e6.txt.gz"
REGION = "tren_region_encoder.safetensors"
WIDTH = 96


def meta_state() -> dict[str, Tensor]:
    """The recorded small model, with Meta's names."""
    with np.load(GOLDEN / "dinotxt_small_state_dict.npz", allow_pickle=False) as file:
        return {name: torch.from_numpy(file[name]) for name in file}


def backbone_state() -> dict[str, Tensor]:
    """Its backbone, named as in the file of a backbone."""
    prefix = "visual_model.backbone."
    return {name.removeprefix(prefix): t for name, t in meta_state().items() if name.startswith(prefix)}


def text_state(width: int = WIDTH) -> dict[str, Tensor]:
    """A file like the published dino.txt: a vision head and a text tower for CLIP's ids, without backbone."""
    seed = torch.Generator().manual_seed(3)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=seed) / shape[-1] ** 0.5

    kept = {name: t for name, t in meta_state().items() if "backbone" not in name or name.startswith("text_model.")}
    kept = {name: t for name, t in kept.items() if not name.startswith("text_model.backbone.blocks.2.")}
    kept["text_model.backbone.token_embedding.weight"] = draw(49408, 64)
    kept["text_model.backbone.positional_embedding"] = draw(77, 64)
    kept["text_model.head.linear_projection.weight"] = draw(2 * width, 64)
    return kept


def merges() -> list[tuple[str, str]]:
    """As many merges as CLIP has: pairs and triples of letters, inside and at the end of a word, then some of four."""
    letters = string.ascii_lowercase
    ends = [letter + "</w>" for letter in letters]
    pairs = ["".join(pair) for pair in itertools.product(letters, repeat=2)]
    triples = ["".join(triple) for triple in itertools.product(letters, repeat=3)]
    every = itertools.chain(
        itertools.product(letters, letters),
        itertools.product(letters, ends),
        itertools.product(pairs, letters),
        itertools.product(pairs, ends),
        itertools.product(triples, letters),
    )
    return list(itertools.islice(every, MERGES))


def write_vocabulary(path: Path) -> None:
    lines = ["a heading", *(f"{a} {b}" for a, b in merges()), "left over"]
    path.write_bytes(gzip.compress("\n".join(lines).encode(), 1))


def write(folder: Path) -> Path:
    """All four files of `tren`."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(backbone_state(), folder / BACKBONE)
    torch.save(text_state(), folder / TEXT)
    write_vocabulary(folder / VOCABULARY)
    torch.manual_seed(5)
    save_region_encoder(RegionEncoder(WIDTH, WIDTH).eval(), folder / REGION)
    return folder
