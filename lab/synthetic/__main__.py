"""Make a lostfound world: `python -m lab.synthetic --seed 3 --seconds 60 --out DIR`."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from vidmem.errors import VidmemError

from .drawings import load_drawings, load_folder
from .lostfound import make


def main(argv: list[str] | None = None) -> int:
    """Make one world and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m lab.synthetic", description="Make a lostfound world: video, truth, queries."
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--seed", type=int, default=0, help="another seed gives another world (0)")
    parser.add_argument("--seconds", type=float, default=60, help="length of the video (60)")
    parser.add_argument("--size", default="1280x720", help="width x height, such as 320x180 (1280x720)")
    parser.add_argument("--fps", type=int, default=30, help="frames a second (30)")
    parser.add_argument("--rooms", type=int, help="number of rooms (by the length)")
    parser.add_argument("--targets", type=int, help="number of things to ask for (by the length)")
    parser.add_argument(
        "--drawings", type=Path, help="folder of drawings named by code point, instead of drawings.webp"
    )
    args = parser.parse_args(argv)
    width, _, height = args.size.partition("x")
    if not (width.isdigit() and height.isdigit()):
        parser.error(f"--size {args.size}: give it as 1280x720")
    began = time.monotonic()
    try:
        drawings = load_folder(args.drawings) if args.drawings else load_drawings()
        world = make(
            args.out,
            args.seed,
            args.seconds,
            drawings,
            width=int(width),
            height=int(height),
            fps=args.fps,
            rooms=args.rooms,
            targets=args.targets,
        )
    except VidmemError as e:
        print(f"error: {e}", file=sys.stderr)
        return e.exit_code
    took = time.monotonic() - began
    print(
        f"{world.truth.frames} frames in {took:.1f} s, {len(world.truth.names())} things, {len(world.queries)} queries",
        file=sys.stderr,
    )
    print(world.video)
    return 0


if __name__ == "__main__":
    sys.exit(main())
