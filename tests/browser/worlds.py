"""Memories for the tests of the page: one of the films of the demo and photos, and one of 100,000 tracks.

Names of files are hostile, as names that strangers give to files may be. With VIDMEM_BROWSER_WORLDS=FOLDER the memories
stay in that folder and are used again, for those who work on the page; delete the folder after a change of the indexer.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from datetime import datetime
from fractions import Fraction
from pathlib import Path

import pytest

HOSTILE_FILM = "<img src=x onerror=alert(1)>.mp4"
HOSTILE_PHOTO = "\"><svg onload=alert(2)> '&amp; cup 0.93.jpg"
WALK, DAMAGED, INTERRUPTED = "walk.mp4", "damaged.mp4", "interrupted.mp4"
EXIF, TAKEN = 0x8769, 0x9003
TRACKS = 100_000
FILMS = 5
HOURS = 4
"""Length of each film of the large memory."""


def kept_or(folder: Path, name: str, make: Callable[[Path], object]) -> Path:
    """The folder of a world, made below `folder` unless it is kept; see the module."""
    keep = os.environ.get("VIDMEM_BROWSER_WORLDS")
    place = Path(keep, name) if keep else folder / name
    if not (place / "made").exists():
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        make(place)
        (place / "made").touch()
    return place


def demo_world(place: Path) -> None:
    """Index films and photos with `tiny`, at two frames a second: `place`/memory, `place`/films, `place`/photos.

    The films are those of the demo, one that is damaged, and one whose indexing was interrupted.
    """
    from vidmem import Memory
    from vidmem.cli.demo_film import FILM
    from vidmem.cli.demo_run import WALK as WALK_FILE
    from vidmem.config import IndexConfig

    films, photos = place / "films", place / "photos"
    films.mkdir()
    shutil.copyfile(FILM, films / HOSTILE_FILM)
    shutil.copyfile(WALK_FILE, films / WALK)
    cut_photos(FILM, photos)
    clock(films / DAMAGED, 8, every_s=1)
    scratch(films / DAMAGED)
    recorded(films / HOSTILE_FILM, datetime(2026, 2, 10, 9))
    recorded(films / WALK, datetime(2026, 3, 20, 18))
    recorded(films / DAMAGED, datetime(2026, 3, 21, 18))
    config = IndexConfig(fps=2, checkpoint_frames=4)
    with Memory.open(place / "memory") as memory:
        memory.index(films, photos, config=config)
        clock(films / INTERRUPTED, 60, every_s=1, shade=200)
        recorded(films / INTERRUPTED, datetime(2026, 3, 22, 18))
        with pytest.raises(KeyboardInterrupt):
            memory.index(films / INTERRUPTED, config=config, progress=Interrupt())


def recorded(path: Path, when: datetime) -> None:
    """Set the time of a file, by which the recording is dated."""
    os.utime(path, (when.timestamp(), when.timestamp()))


class Interrupt:
    """Interrupts an index at its third report, as Ctrl-C does."""

    def __init__(self) -> None:
        self._reports = 0

    def __call__(self, progress: object) -> None:
        self._reports += 1
        if self._reports == 3:
            raise KeyboardInterrupt


def scratch(path: Path) -> None:
    """Overwrite a part of the pictures of a film."""
    data = bytearray(path.read_bytes())
    middle = data.index(b"mdat") + 4 + (len(data) - data.index(b"mdat")) // 3
    data[middle : middle + 400] = bytes(400)
    path.write_bytes(data)


def cut_photos(film: Path, folder: Path) -> None:
    """Save pictures from the middle of some shots of the demo's film, three a month; the first name is hostile."""
    import av

    from vidmem.cli.demo_film import script

    folder.mkdir()
    middles = [(Path(s.picture).stem, s.start_s + s.seconds / 2) for s in script().shots if _taken(s.picture)]
    with av.open(str(film)) as container:
        for frame in container.decode(video=0):
            if middles and frame.time is not None and frame.time >= middles[0][1]:
                name, at = middles.pop(0)
                image, number = frame.to_image(), len(middles)
                exif = image.getexif()
                exif.get_ifd(EXIF)[TAKEN] = f"2026:0{1 + number // 3}:1{number % 3} 10:0{number}:00"
                image.save(folder / f"{name}-{at:.0f}s.jpg", quality=90, exif=exif)
    (folder / "coffee-2s.jpg").rename(folder / HOSTILE_PHOTO)


def _taken(picture: str) -> bool:
    return picture.startswith(("coffee", "astronaut", "chelsea", "scissors", "pan", "camera"))


def large_world(place: Path) -> None:
    """Write 100,000 tracks into a memory, in films of hours that are there but show little: `place`/memory."""
    from benchmarks.query_memories import tracks_alone
    from vidmem.media import open_source

    infos = []
    for number in range(FILMS):
        path = place / f"{number:03d}.mp4"
        clock(path, HOURS * 3600, shade=90 + 20 * number)
        with open_source(path) as source:
            infos.append(source.info)
    tracks_alone(place / "memory", TRACKS, films=infos)


def clock(path: Path, seconds: int, every_s: int = 20, shade: int = 90) -> None:
    """A film in which a bright square moves on, one frame in `every_s` seconds; each eighth can be decoded alone."""
    import av
    import numpy as np

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=1, options={"crf": "30", "preset": "ultrafast", "g": "8"})
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        stream.time_base = Fraction(1, 1)
        count = seconds // every_s
        for number in range(count + 1):
            image = np.full((96, 160, 3), (40, 60 + number % 120, shade), np.uint8)
            x, y = number % 9 * 16, number // 9 % 5 * 16
            image[y : y + 32, x : x + 32] = (240, 200, 60)
            frame = av.VideoFrame.from_ndarray(image, "rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = number * every_s, Fraction(1, 1)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
