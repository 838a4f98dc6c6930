"""What each part of the training of `tiny` is good for: `python -m benchmarks.ablation --out FILE.json --text runs/text
--photos runs/photos --worlds runs/worlds --first FIRST.safetensors`.

The first stage, short, from the published body: with all of it, and without one part at a time (see --without of
vidmem.train.tiny). Measured by the mean feature of a box, on photographs and frames of worlds that nothing learned
from: no region encoder, so that the backbone alone is compared. Short runs: compare the rows, not with what ships.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from benchmarks.common import OUT, machine, say, skip, table, write_json
from benchmarks.naming import all_clip_names, rank_of, rates
from benchmarks.photos import DATA, Thing, caltech_things, household_things, lines
from vidmem.encoders.mobile_net import STRIDE
from vidmem.encoders.text_table import TextTable
from vidmem.encoders.tiny import working_size
from vidmem.encoders.tiny_net import TinyNet
from vidmem.train import halves
from vidmem.train.steps import evaluate
from vidmem.train.supply import Material, measured_on
from vidmem.train.tiny import WITHOUT
from vidmem.train.towers import TextTower


class Named:
    """The names of boxes by the mean feature under them, from a checkpoint of stage 1."""

    def __init__(self, checkpoint: Path, text: Path) -> None:
        state = halves.load(checkpoint)
        self.net, self.tower = TinyNet(), TextTower(text)
        self.net.load_state_dict(state["net"])
        self.tower.load_state_dict(state["text"], strict=False)
        self.net.eval()
        table = self.tower.whole_table()
        scale = np.abs(table).max(1).clip(1e-9) / 127
        self.table = TextTable(self.tower.vocabulary, np.round(table / scale[:, None]).astype(np.int8), scale)

    @torch.inference_mode()
    def token(self, thing: Thing) -> np.ndarray:
        """`(Dt,)` unit."""
        image = thing.image()
        w, h = working_size(*image.size)
        frame = np.asarray(image.resize((w, h), Image.Resampling.BICUBIC))
        features, _ = self.net.backbone(torch.from_numpy(frame.copy()).permute(2, 0, 1)[None].float() / 255)
        x0, x1 = (min(w - 1, int(v * w / image.width)) // STRIDE for v in (thing.box[0], thing.box[2]))
        y0, y1 = (min(h - 1, int(v * h / image.height)) // STRIDE for v in (thing.box[1], thing.box[3]))
        mean = features[0, :, y0 : y1 + 1, x0 : x1 + 1].mean((1, 2))
        out: np.ndarray = F.normalize(self.net.regions.project(mean), dim=-1).numpy()
        return out

    def ranks(self, tokens: list[np.ndarray], things: list[Thing], names: list[str]) -> list[int]:
        texts = self.table.encode(names)
        return [rank_of(texts @ token, names.index(t.name)) for token, t in zip(tokens, things, strict=True)]


def measure(checkpoint: Path, args: argparse.Namespace) -> dict[str, Any]:
    named = Named(checkpoint, args.text)
    held = caltech_things(args.data, args.each)
    tokens = [named.token(t) for t in held]
    own = sorted({t.name for t in held})
    every, index = all_clip_names(args.data)
    spelled = [(token, replace(t, name=every[i]))
               for token, t in zip(tokens, held, strict=True) if (i := index.find(t.name)) is not None]  # fmt: skip
    names = lines("household_names.txt")
    things = household_things(args.data, names, held_out=True)
    material = Material(named.tower.names, None, None, args.worlds)
    worlds = evaluate(named.net, named.tower, measured_on(material, 16)["world_"])
    return {
        "caltech": rates(named.ranks(tokens, held, own)),
        "all_names": rates(named.ranks([token for token, _ in spelled], [t for _, t in spelled], every)),
        "household": rates(named.ranks([named.token(t) for t in things], things, names)),
        "worlds_top1": round(worlds["pooled"], 4),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the photos and clips (../shared/data)")
    for name in ("text", "photos", "worlds", "first"):
        parser.add_argument(f"--{name}", type=Path, required=True, help="as for vidmem.train.tiny")
    parser.add_argument("--steps", type=int, default=250, help="of each run (250)")
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--each", type=int, default=8, help="photos of each Caltech folder at the most (8)")
    parser.add_argument("--cache", type=Path, default=OUT / "ablation", help="folder for the checkpoints")
    args = parser.parse_args()
    result: dict[str, Any] = {"machine": machine(), "steps": args.steps, "batch": args.batch, "rows": {}}
    if not (args.data / "caltech101.tar").exists():
        return skip(args.out, result, f"no photos in {args.data}; give their folder as --data")
    for without in (None, *WITHOUT):
        name = f"without {without}" if without else "all"
        folder = args.cache / f"{args.steps}x{args.batch}" / name.replace(" ", "-")
        command = [sys.executable, "-m", "vidmem.train.tiny", "--stage", "backbone", "--rooms", "8", "--warmup", "40"]
        for key in ("text", "data", "photos", "worlds", "first"):
            command += [f"--{key}", str(getattr(args, key))]
        command += ["--steps", str(args.steps), "--batch", str(args.batch), "--every", str(args.steps), "--out"]
        if not (folder / "backbone.pt").exists():
            subprocess.run([*command, str(folder), *(["--without", without] if without else [])], check=True)
        result["rows"][name] = measure(folder / "backbone.pt", args)
        say(f"{name}: done")
        write_json(args.out, result)
    print(table(("", "Caltech top 1", "all names top 5", "household top 1", "top 5", "worlds top 1"), [
        (name, r["caltech"]["top1"], r["all_names"]["top5"], r["household"]["top1"], r["household"]["top5"],
         r["worlds_top1"]) for name, r in result["rows"].items()
    ]))  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
