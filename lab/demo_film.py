"""Make the film of the demo: a camera that moves over openly licensed photographs, as film.json says.

The pictures come from packages: the wheels of scikit-image and scikit-learn, and Debian's gcompris-qt-data, which holds
them in Qt resource files. NOTICE names the author and the licence of each. The same pictures and the same version of
x264 give the same bytes.

    python -m lab.demo_film PACKAGES        # PACKAGES: a folder with the three packages unpacked, in any order
"""

from __future__ import annotations

import argparse
import hashlib
import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from PIL import Image

from vidmem.cli.demo_film import FILM, Shot, script

PICTURES = {
    "astronaut.png": "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
    "camera.png": "b0793d2adda0fa6ae899c03989482bff9a42d3d5690fc7e3648f2795d730c23a",
    "chelsea.png": "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
    "china.jpg": "8378025ad2519d649d02e32bd98990db4ab572357d9f09841c2fbfbb4fefad29",
    "coffee.png": "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
    "crocodile.webp": "840cf54b69bf4fb9a14a99fe502e237ad36e7230c146ca884b7b0e444ec12534",
    "flower.jpg": "a77f6ec41e353afdf8bdff2ea981b2955535d8d83294f8cfa49cf4e423dd5638",
    "pan.webp": "2cfd14f2e6366e131e0dcd92cc7b35ee66c0d03eba1132c9e5948e7bb78fcc68",
    "panda.webp": "70ccf9a9db5008100eb6955ae25fabd4f7769427be784d627cf6315f6dfce692",
    "rocket.jpg": "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c",
    "scissors2.webp": "ebea0e41fbab5b01f266818e64154a9c22d28df3dc97eb411a192acbdb2055a1",
}
"""sha256 of each file, by name."""

OPTIONS = {"preset": "veryslow", "crf": "29", "threads": "1"}


def pictures(packages: Path, wanted: dict[str, str]) -> dict[str, Image.Image]:
    """Read the pictures as RGB, by file name. All files below the folder `packages` are searched.

    Raises SystemExit if one is missing or differs from the one that the film was made of.
    """
    found = {}
    for path in sorted(packages.rglob("*")):
        entries = resources(path.read_bytes()) if path.suffix == ".rcc" else [(path.name, path)]
        for name, data in entries:
            if name not in wanted or name in found:
                continue
            content = data.read_bytes() if isinstance(data, Path) else data
            if hashlib.sha256(content).hexdigest() == wanted[name]:
                found[name] = Image.open(io.BytesIO(content)).convert("RGB")
    if missing := wanted.keys() - found.keys():
        raise SystemExit(f"{packages} lacks {', '.join(sorted(missing))}, or holds other versions of them")
    return found


def resources(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield file names and contents of a Qt resource file (`qres`, version 2 and 3).

    The layout is that of Qt's documentation of rcc: a header with the places of a tree, of the data and of the names;
    each node of the tree is 22 bytes, a folder (flag 2) or a file, whose data may be compressed by zlib (flag 1).
    """
    magic, version, tree, contents, names = struct.unpack(">4sIIII", data[:20])
    if magic != b"qres" or version not in (2, 3):
        return
    left = [0]
    while left:
        node = tree + left.pop() * 22
        at, flags, first, second = struct.unpack(">IHII", data[node : node + 14])
        if flags & 2:
            left.extend(range(second, second + first))
            continue
        (length,) = struct.unpack(">H", data[names + at : names + at + 2])
        name = data[names + at + 6 : names + at + 6 + 2 * length].decode("utf-16-be")
        start = contents + second
        (size,) = struct.unpack(">I", data[start : start + 4])
        content = data[start + 4 : start + 4 + size]
        # The four bytes before a compressed file hold its length.
        yield name, zlib.decompress(content[4:]) if flags & 1 else content


def frames(shot: Shot, picture: Image.Image, size: tuple[int, int], fps: int) -> Iterator[Image.Image]:
    """Yield every frame of one shot, cut from the picture. Raises SystemExit if a window leaves the picture."""
    for number in range(round(shot.seconds * fps)):
        box = shot.window(number / fps, size)
        if min(box[:2]) < 0 or box[2] > picture.width or box[3] > picture.height:
            raise SystemExit(f"a window leaves {shot.picture}: {box}")
        yield picture.resize(size, Image.Resampling.LANCZOS, box=box)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", type=Path)
    parser.add_argument("--out", type=Path, default=FILM)
    given = parser.parse_args()
    film = script()
    found = pictures(given.packages, PICTURES)
    with av.open(given.out, "w", format="mp4", options={"movflags": "+faststart"}) as file:
        stream = file.add_stream("libx264", rate=film.fps, options=OPTIONS)
        stream.width, stream.height = film.size
        stream.pix_fmt = "yuv420p"
        for shot in film.shots:
            for image in frames(shot, found[shot.picture], film.size, film.fps):
                file.mux(stream.encode(av.VideoFrame.from_ndarray(np.asarray(image), "rgb24")))
        file.mux(stream.encode(None))
    print(f"{given.out}: {film.seconds:g} s, {given.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
