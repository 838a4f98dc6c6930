"""What is fitted when the network has learned all that it will, on the tokens of its region encoder: the map of the
visual tokens (whiten.py), and the text side once more (refit.py).

    python -m vidmem.train.finish runs/b/regions.pt runs/final.pt --text runs/text --text-out runs/text-final ...
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from ..encoders.tiny_net import TinyNet
from . import halves
from .refit import refit
from .supply import Material, Shares, loader
from .tokens import of_photos, of_scenes, of_worlds
from .towers import TextTower
from .tren.folder import Folder
from .whiten import within_class_map

SHARES = Shares(0.35, 0.25, outlines_only=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("start", type=Path, help="checkpoint of the stage `regions`")
    parser.add_argument("out", type=Path, help="checkpoint to write")
    parser.add_argument("--text", type=Path, required=True, help="this and the next as for vidmem.train.tiny")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--worlds", type=Path)
    parser.add_argument("--text-out", type=Path, help="folder for the text side, fitted once more; else it is kept")
    parser.add_argument("--batches", type=int, default=60, help="of 8 scenes each")
    parser.add_argument("--steps", type=int, default=1000, help="of the fit of the text side")
    args = parser.parse_args()
    state = halves.load(args.start)
    net, tower = TinyNet(), TextTower(args.text)
    net.load_state_dict(state["net"])
    tower.load_state_dict(state["text"], strict=False)  # buffers follow from the text folder
    net.eval()
    material = Material(tower.names, args.data, args.photos, args.worlds)
    scenes = of_scenes(net, loader(material, 31337, SHARES, 8, 1), args.batches)
    net.visual_mean, net.visual_map = within_class_map(scenes.tokens, scenes.labels)
    print(f"{len(scenes.tokens)} tokens of {len(set(scenes.labels.tolist()))} names")
    if args.text_out:
        known = [scenes, of_worlds(net, Folder(args.worlds), tower.names)] if args.worlds else [scenes]
        new = [of_photos(net, material)] if material.photos else []
        answers = torch.from_numpy(material.crops["answers"])
        found = refit(tower, net.regions, known, new, answers, args.text, args.text_out, args.steps)
        print(json.dumps(found, indent=1))
    torch.save(state | {"net": net.state_dict(), "text": tower.state_dict()}, args.out)


if __name__ == "__main__":
    main()
