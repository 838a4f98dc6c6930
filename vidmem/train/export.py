"""Turn a training checkpoint of `tiny` into the files that ship: fp16 weights, int8 text table, tiny.json.

    python -m vidmem.train.export runs/tiny/regions.pt --tokens TOKENS.npy --vocabulary vocab.txt
"""

from __future__ import annotations

import argparse
import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file as save_numpy
from safetensors.torch import save_file

from ..encoders.base import Calibration
from ..encoders.text_table import TextTable
from ..encoders.tiny_net import DIM, TEXT_DIM
from ..world.drawings import things
from .tiny import BACKGROUND, TextTower, reduce_table

FILES = ("tiny.safetensors", "tiny-text.safetensors", "tiny-vocabulary.txt")
DEFAULTS = {"text_threshold": 0.5, "contrast_probability": 0.3, "visual_threshold": 0.6, "product_threshold": 0.3}


def export(checkpoint: Path, tokens: Path, vocabulary: Path, out: Path) -> None:
    """Write FILES and tiny.json into `out`, keeping the calibration that is there."""
    state = torch.load(checkpoint, weights_only=True)
    out.mkdir(parents=True, exist_ok=True)
    net = {k: v.half().contiguous() if v.is_floating_point() else v for k, v in state["net"].items()}
    save_file(net, out / FILES[0])
    pieces = vocabulary.read_text("utf-8").splitlines()
    table = reduce_table(np.load(tokens, allow_pickle=False))
    tower = TextTower(table, pieces)
    tower.load_state_dict(state["text"])
    table[tower.used.numpy()] = tower.vectors.detach().numpy()  # type: ignore[operator]
    scale = np.abs(table).max(1) / 127
    quantised = np.round(table / scale[:, None]).astype(np.int8)
    names = TextTable(pieces, quantised, scale).encode([*(t.name for t in things()), BACKGROUND])
    text = {"table": quantised, "scale": scale.astype(np.float16), "names": names.astype(np.float16)}
    save_numpy(text, out / FILES[1])
    (out / FILES[2]).write_text("\n".join(pieces) + "\n", "utf-8")
    for name in FILES:
        (out / name).chmod(0o644)  # safetensors writes for the owner alone; a wheel keeps that
    card = out / "tiny.json"
    old = json.loads(card.read_text("utf-8")) if card.exists() else {}
    facts = {
        "visual_dim": DIM, "text_dim": TEXT_DIM, "names": len(things()), "same_meaning": old.get("same_meaning", 0.6),
        "knows": f"drawings of {len(things())} kinds of things (animals, food, tools, clothes, vehicles ...), by name "
                 "and synonym; of photographs only what looks alike",
        "calibration": old.get("calibration") or asdict(Calibration(**DEFAULTS)),
        "sha256": {name: hashlib.sha256((out / name).read_bytes()).hexdigest() for name in FILES},
    }  # fmt: skip
    card.write_text(json.dumps(facts, indent=1) + "\n", "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--tokens", type=Path, required=True, help="as for vidmem.train.tiny")
    parser.add_argument("--vocabulary", type=Path, required=True, help="as for vidmem.train.tiny")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "encoders" / "weights")
    args = parser.parse_args()
    export(args.checkpoint, args.tokens, args.vocabulary, args.out)


if __name__ == "__main__":
    main()
