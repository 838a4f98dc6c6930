"""Every command that writes, with a memory to run it on and what it leaves: the table of kills.py."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import fakes
import numpy as np
from encoders import fake
from evaluation import segmentation_files

from vidmem import Memory, config
from vidmem.encoders import hub, registry
from vidmem.export.textmask import encode, from_classes
from vidmem.query.labels import BUILT_IN
from vidmem.query.parse import UNLABELLED
from vidmem.store import Store, migrations

from .world import World

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "media"))

import make_logs
import test_lerobot

FILES, CLOCK = "too many open files", "the clock jumps"
LOOK, PLAIN = "fake:look", "colours"


@dataclass(frozen=True)
class Command:
    """One command line to be killed.

    Attributes:
        name: What the report calls it.
        args: The command line; `{world}`, `{out}` and `{memory}` are folders.
        memory: Which of the prepared memories it starts from; empty for none.
        call: Called in place of a command line, with the folder for output.
        equal: What it leaves is promised to be the same, bit for bit, after a kill and another run.
        stdin: A file that is its standard input.
        heavy: Takes seconds; only in the long run.
        most: Kills in the long run, if fewer than others get.
        journal: The end of the name of a file that grows by lines, of which a beginning is no torn file.
        not_given: Faults that end a library of others and the process with it, or change what is asked, as an age.
    """

    name: str
    args: Sequence[str] = ()
    memory: str = ""
    call: Callable[[Path], object] | None = None
    equal: bool = True
    stdin: str | None = None
    heavy: bool = False
    most: int | None = None
    not_given: tuple[str, ...] = ()
    journal: str = ""


def introduce() -> None:
    """Make the encoders of tests known in this process, and checkpoints small: many places to be killed at."""
    registry.register(fake.SPEC)
    fakes.register()
    config.PRESETS["default"] = replace(config.preset("default"), checkpoint_frames=4)


def prepare(folder: Path) -> None:
    """Make the files to index, and the memories to start from, in `world` and `memories`."""
    world, memories = World.make(folder / "world"), folder / "memories"
    place = folder / "world"
    if memories.exists():
        return
    make_logs.scene(place / "run.mcap", [("red", 0, 2, 8), ("blue", 1, 3, 60)], 4, poses=_pose)
    test_lerobot.v3(place / "dataset")
    fakes.squares(place / "camera.ts", [("red", 0, 0.8, 8), ("green", 0.4, 1.2, 60)], 1.2)
    segmentation_files.ade20k(place / "ade", 4)
    words = [f"{name}\tred" if i == 2 else name for i, name in enumerate(BUILT_IN["ade20k"].names)]
    (place / "ade.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    for path in place.rglob("*"):  # not in the future when the clock jumps back
        os.utime(path, (1_700_000_000, 1_700_000_000))
    shutil.copy2(place / "b.mp4", place / "changed.mp4")
    (place / "known.csv").write_text(
        "\n".join(f"{name},{clip},{span}" for name, clip, span in KNOWN) + "\n", encoding="utf-8"
    )
    (place / "colours.txt").write_text("\n".join(fakes.NAMES) + "\n", encoding="utf-8")
    halves = np.repeat([[0] * 8 + [UNLABELLED] * 8], 16, axis=0).astype(np.int32)
    (place / "answer.txt").write_text(
        f"<seg>{encode(from_classes(halves, ('red',), (16, 16)))}</seg>", encoding="utf-8"
    )
    with Memory.open(memories / "videos", encoder=LOOK) as m:
        m.index(world["a.mp4"], world["b.mp4"], world["photos"])
        m.cache()
    with Memory.open(memories / "changed", encoder=LOOK) as m:
        m.index(world["a.mp4"], str(place / "changed.mp4"))
        m.cache()
    shutil.copy2(place / "c.mp4", place / "changed.mp4")
    with Memory.open(memories / "log", encoder=PLAIN) as m:
        m.index(str(place / "run.mcap"))
        m.cache()
    shutil.copytree(memories / "videos", memories / "fitted")
    with Memory.open(memories / "fitted") as m:
        m.calibrate(str(place / "known.csv"))
    shutil.copytree(memories / "videos", memories / "sparse")
    with Memory.open(memories / "sparse") as m:
        m.forget(before="1s", sources=world["a.mp4"], dry_run=False)
    steps = migrations.MIGRATIONS
    migrations.MIGRATIONS = steps[:1]
    try:
        Store.open(memories / "old", create=True).close()
    finally:
        migrations.MIGRATIONS = steps


KNOWN = [
    *(
        (name, clip, "0-5")
        for name, clip in (("red", "a.mp4"), ("blue", "a.mp4"), ("green", "b.mp4"), ("blue", "b.mp4"))
    ),
    *((name, "*", "absent") for name in ("red blue", "green blue", "red green", "red yellow")),
]


def _pose(log: make_logs.Log, t: int, seconds: float) -> None:
    make_logs.add_pose(log, t, seconds, 0)


def _weights(out: Path) -> None:
    hub.write_atomically(out / "weights.bin", bytes(range(256)) * 2000)


def commands() -> list[Command]:
    """All of them."""
    look, plain = ("--encoder", LOOK), ("--encoder", PLAIN)
    clips, labels = ("{world}/c.mp4", "{world}/d.mp4"), ("--labels", "{world}/names.txt")
    picture, both = ("--picture", "{world}/photos/0.png"), ("--save", "{out}/a.png", "--png", "{out}/m.png")
    text = ("--text", "{out}/a.txt", "--plot", "{out}/a.png")
    return [
        Command("index videos", ("index", *clips, *look)),
        Command("index, views kept", ("index", "{world}/c.mp4", "--keep-views", *look)),
        Command("index into a memory", ("index", *clips), "videos"),
        Command("index photos", ("index", "{world}/photos", *look)),
        Command("index a log", ("index", "{world}/run.mcap", *plain)),
        Command("index a dataset", ("index", "{world}/dataset", "--topic", "*", *plain)),
        Command("index a changed video", ("index", "{world}/changed.mp4", "{world}/a.mp4"), "changed"),
        Command("index again", ("index", "{world}/a.mp4", "{world}/photos", "--recorded", "mtime"), "videos"),
        Command("watch", ("watch", "-", "--name", "cam", "--every", "0.05", *plain), stdin="camera.ts", equal=False),
        Command(
            "watch --when",
            ("watch", "-", "--name", "cam", "--every", "0.05", "--when", "red", "--when", "green", *plain),
            stdin="camera.ts",
            equal=False,
        ),
        Command("standing", ("standing", "--add", "red", "--add", "green"), "videos"),
        Command("rm a video", ("rm", "{world}/a.mp4", "--yes"), "videos"),
        Command("rm a photo", ("rm", "{world}/photos/1.png", "--yes"), "videos"),
        Command("rm all", ("rm", "{world}/a.mp4", "{world}/b.mp4", "{world}/photos", "--yes"), "videos"),
        Command("forget a source", ("forget", "--source", "{world}/a.mp4", "--yes"), "videos"),
        Command("forget before", ("forget", "--source", "{world}/a.mp4", "--before", "2s", "--yes"), "videos"),
        Command("forget an age", ("forget", "--before", "0d", "--yes"), "videos", not_given=(CLOCK,)),
        Command("forget a thing", ("forget", "--object", "green", "--yes"), "videos"),
        Command("compact", ("compact",), "sparse"),
        Command("reembed", ("reembed", "--encoder", "fake:look2"), "videos"),
        Command("recorded", ("recorded", "{world}/a.mp4", "2024-05-01"), "videos"),
        Command("recorded, a photo", ("recorded", "{world}/photos/0.png", "2024-05-01T08:00"), "videos"),
        Command("calibrate", ("calibrate", "{world}/known.csv"), "videos"),
        Command("calibrate --reset", ("calibrate", "--reset"), "fitted"),
        Command("migrate", ("index", "{world}/c.mp4", *look), "old"),
        Command("migrate by a reader", ("ls",), "old"),
        Command("where --save", ("where", "green", "--save", "{out}/a.png"), "videos"),
        Command("where --clip", ("where", "green", "--source", "b.mp4", "--clip", "{out}/a.mp4"), "videos"),
        Command("where --clips", ("where", "red", "--source", "a.mp4", "--all", "--clips", "{out}/clips"), "videos"),
        Command("where --vtt", ("where", "red", "--all", "--source", "a.mp4", "--vtt", "{out}/a.vtt"), "videos"),
        Command("where --explain", ("where", "green", "--explain", "{out}/a.png"), "videos", heavy=True),
        Command("things --save", ("things", *labels, "--save", "{out}/a.png"), "videos"),
        Command("timeline --save", ("timeline", "red", "--save", "{out}/a.png"), "videos"),
        Command(
            "haystack --save",
            ("haystack", "--anchor", "green", "--target", "blue", "--save", "{out}/a.png"),
            "videos",
        ),
        Command(
            "ground",
            ("ground", "{world}/photos/1.png", "green", "--save", "{out}/a.png", "--mask", "{out}/m.png", *look),
        ),
        Command(
            "segment",
            ("segment", "{world}/photos/1.png", *labels, "--save", "{out}/a.png", "--png", "{out}/m.png", *look),
        ),
        Command(
            "read-answer",
            ("read-answer", "{world}/answer.txt", "--labels", "red", *picture, *both),
        ),
        Command("parse --png", ("parse", "{world}/a.mp4", *labels, "--png", "{out}/png"), "videos"),
        Command(
            "parse to files",
            ("parse", "{world}/a.mp4", *labels, "--coco", "{out}/a.json", *text),
            "videos",
        ),
        Command("parse --overlay", ("parse", "{world}/a.mp4", *labels, "--overlay", "{out}/a.mp4"), "videos"),
        Command("annotate, MCAP", ("annotate", "{world}/run.mcap", "-o", "{out}/a.mcap", "--label", "red"), "log"),
        Command(
            "annotate, Rerun", ("annotate", "{world}/run.mcap", "-o", "{out}/a.rrd"), "log", equal=False, heavy=True
        ),
        Command("annotate, Parquet", ("annotate", "{world}/run.mcap", "-o", "{out}/a.parquet"), "log"),
        Command("export", ("export", "--out", "{out}/set", *labels, "--workers", "1"), "videos"),
        Command(
            "export in shards",
            ("export", "--out", "{out}/set", *labels, "--shards", "3", "--workers", "1"),
            "videos",
        ),
        Command(
            "eval ovss",
            ("eval", "ovss", "ade20k", "{world}/ade", "--names", "{world}/ade.txt", "--out", "{out}/eval", *plain),
            journal="results.jsonl",
        ),
        Command("write weights", call=_weights),
        Command("demo", ("demo", "{out}/demo"), equal=False, heavy=True, most=3),
    ]
