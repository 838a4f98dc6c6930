"""Turn a training checkpoint of `tiny` into the files that ship: fp16 weights, int8 text table, tiny.json.

    python -m vidmem.train.export runs/final.pt --text runs/text
"""

from __future__ import annotations

import argparse
import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file as save_numpy
from safetensors.torch import save_file

from ..encoders.base import Calibration
from ..encoders.mobile_net import DIM
from ..encoders.text_table import TextTable
from ..encoders.tiny_net import TEXT_DIM
from ..world.drawings import things
from . import halves
from .towers import TextTower

FILES = ("tiny.safetensors", "tiny-text.safetensors", "tiny-vocabulary.txt")
DEFAULT = Calibration(text_threshold=0.5, contrast_probability=0.3, visual_threshold=0.6, product_threshold=0.3)


def export(checkpoint: Path, text: Path, out: Path) -> None:
    """Write FILES and tiny.json into `out`, keeping the calibration that is there, but not the probabilities: these are
    of the old weights. text: the folder that photo/text_space.py wrote."""
    state = halves.load(checkpoint)
    out.mkdir(parents=True, exist_ok=True)
    net = {k: v.half().contiguous() if v.is_floating_point() else v for k, v in state["net"].items()}
    save_file(net, out / FILES[0])
    tower = TextTower(text)
    tower.load_state_dict(state["text"], strict=False)  # buffers follow from the text folder
    kept = [i for i, piece in enumerate(tower.vocabulary) if worth_keeping(piece)]
    pieces = [tower.vocabulary[i] for i in kept]
    table = tower.whole_table()[kept]
    scale = np.abs(table).max(1).clip(1e-9) / 127
    quantised = np.round(table / scale[:, None]).astype(np.int8)
    # What answers are held against: names of things that some picture showed, and "background".
    shown = [c for c in tower.names.classes if c.taught or c is tower.names.classes[tower.background]]
    names = TextTable(pieces, quantised, scale).encode([c.name for c in shown])
    text_side = {"table": quantised, "scale": scale.astype(np.float16), "names": names.astype(np.float16)}
    save_numpy(text_side, out / FILES[1])
    (out / FILES[2]).write_text("\n".join(pieces) + "\n", "utf-8")
    for name in FILES:
        (out / name).chmod(0o644)  # safetensors writes for the owner alone; a wheel keeps that
    card = out / "tiny.json"
    old = json.loads(card.read_text("utf-8")) if card.exists() else {}
    facts = {
        "visual_dim": DIM, "text_dim": TEXT_DIM, "names": len(tower.names),
        "same_meaning": old.get("same_meaning", 0.6),
        "knows": f"some {len(tower.names) // 100 * 100:,} everyday names, learned from photographs and from drawings "
                 f"of {len(things())} kinds of things; a first guess on real video",
        "calibration": old.get("calibration") or tests_of(DEFAULT),
        "sha256": {name: hashlib.sha256((out / name).read_bytes()).hexdigest() for name in FILES},
    }  # fmt: skip
    card.write_text(json.dumps(facts, indent=1) + "\n", "utf-8")


def tests_of(calibration: Calibration) -> dict[str, float]:
    """What the card holds of it; probabilities have an entry of their own."""
    return {name: value for name, value in asdict(calibration).items() if name != "probability"}


def worth_keeping(piece: str) -> bool:
    """Numbers are spelled by their digits; a year has no picture."""
    return len(piece.removeprefix("##")) == 1 or not piece.removeprefix("##").isdigit()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--text", type=Path, required=True, help="as for vidmem.train.tiny")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "encoders" / "weights")
    args = parser.parse_args()
    export(args.checkpoint, args.text, args.out)


if __name__ == "__main__":
    main()
