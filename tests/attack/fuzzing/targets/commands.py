"""Whole commands with random options and values: the exit code of a bug, 70, must never occur.

The options are those of the commands themselves, so that a new one is fuzzed without a change here.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

from ..mutate import WORDS, json_tree
from ..target import Broken, Ready, Target
from .stores import Copies, command

LEFT_OUT = frozenset({"demo", "watch", "serve", "mcp"})
"""`demo` makes its own film, which takes seconds. `watch` waits for a camera; see `watched`. `serve` and `mcp` answer
until they are stopped; see serving.py."""
NOT_GIVEN = frozenset({"--open", "--help", "--install-completion", "--show-completion"})
"""Options that start other programs or say nothing."""
NUMBERS = [
    "0", "1", "2", "-1", "0.5", "-0", "-0.0", "1e308", "1e309", "-1e308", "1e-320", "nan", "inf", "-inf", "9" * 20,
    "9" * 400,
    "9" * 5000, "1e9", "0x10", "1_0", "٣", "", " ", "2147483648", "-2147483649", "9223372036854775808", "4.0",
    "16,24", "12x16",
]  # fmt: skip
TIMES = [
    "0", "1", "1s", "1:02", "12.5s", "99999999999999999999", "99999999999999999999ns", "1e9", "-5", "2026-01-31",
    "0001-01-01",
    "9999-12-31T23:59:59", "2026-02-30", "yesterday", "now", "30d", "9" * 30 + "d", "1..2", "2..1", "..",
    "1..2026-01-01",
    "monday", "2026-01-31..2026-02-01",
]  # fmt: skip
TEXTS = [
    "red",
    "blue",
    "a red cup",
    "cup",
    "red,blue",
    "coco",
    "vspw",
    "colours",
    "tiny",
    "track",
    "vote",
    "json",
    "fake:x",
]
CROPS = [
    "walk.mp4@1s:0,0,20,20",
    "walk.mp4@1e9:0,0,1,1",
    "walk.mp4@1s:nan,0,inf,1",
    "@1:1,1,1,1",
    "walk.mp4@1s:1,1,1e308,1e308",
]


SOUND = {
    "crop": ["walk.mp4@1s:0,0,20,20", "walk.mp4@2.5s:100,30,40,40"],
    "labels": ["good.txt", "coco", "vspw"],
    "source": ["walk.mp4", "walk.mp4", "photo.png"],
    "text": ["red", "blue", "green", "red blue"],
    "image": ["photo.png", "sub/b.jpg"],
    "encoder": ["colours", "colours", "tiny"],
    "after": ["0", "1s", "2020-01-01"],
    "before": ["2s", "1h", "2030-01-01"],
    "between": ["0..2", "1s..3s"],
    "threshold": ["0.5", "0", "1"],
    "probability": ["0.1", "0.5", "1"],
    "save": ["new.png", "new.jpg"],
    "clips": ["new-clips"],
    "clip": ["new.mp4"],
    "plot": ["new.png"],
    "explain": ["new.png"],
    "overlay": ["new.mp4"],
    "coco": ["new.json"],
    "vtt": ["new.vtt"],
    "paths": ["photo.png", "sub", "sound/walk.mp4"],
    "when": ["2026-01-31", "mtime", "none"],
    "thing": ["red", "1", "2"],
    "names": ["good.txt"],
    "questions": ["known.csv"],
    "answer": ["answer.txt"],
    "photo": ["photo.png"],
    "top": ["1", "3"],
    "grid": ["16", "4"],
    "way": ["track", "vote"],
    "out": ["new"],
}
"""Values by a part of the parameter's name, the longer names first where one holds the other."""


def _files(folder: Path) -> list[str]:
    """Files and other things that options can name, good and bad, all in `folder`. Returns their names."""
    import fakes

    (folder / "good.txt").write_text("red\nblue\n")
    (folder / "bytes.txt").write_bytes(b"\xff\xfe\0\0red")
    (folder / "deep.json").write_text("[" * 100_000)
    (folder / "deep.csv").write_text("name,source,from-to\n" + '"' + "x" * 200_000 + '",walk.mp4,1-2\n')
    (folder / "known.csv").write_text("red,walk.mp4,0-2\nblue,walk.mp4,1-3\ngreen,*,absent\n")
    (folder / "answer.txt").write_text("<seg>red *4\n others *4\n</seg>")
    (folder / "needles.json").write_text(
        '[{"pos_image": ["a.jpg"], "neg_image": [], "needle": "red", "target": "blue"}]'
    )
    (folder / "surrogate.json").write_text('{"images": "\\ud800", "annotations": [], "categories": []}')
    (folder / "huge.json").write_text('{"images": [], "annotations": ' + "9" * 5000 + ', "categories": []}')
    (folder / "empty").write_bytes(b"")
    (folder / "fake.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n")
    (folder / "broken.mcap").write_bytes(b"\x89MCAP0\r\n" + b"\xff" * 40)
    (folder / "broken.avif").write_bytes(b"\0\0\0\x1cftypavif" + b"\0" * 40)
    fakes.photo(folder / "photo.png", "red", "blue")
    (folder / "sub").mkdir()
    fakes.photo(folder / "sub" / "b.jpg", "green")
    os.mkfifo(folder / "fifo")
    os.mkfifo(folder / "fifo.jpg")
    for name, target in (
        ("zero", "/dev/zero"),
        ("zero.json", "/dev/zero"),
        ("loop", "loop"),
        ("gone", "nowhere"),
        ("full", "/dev/full"),
    ):
        os.symlink(target, folder / name)
    return sorted(path.name for path in folder.iterdir() if path.name not in ("copy", "sound"))


class Grammar:
    """Makes command lines from the commands' own options."""

    def __init__(self, names: Sequence[str]) -> None:
        import typer.main

        from vidmem.cli import app

        self.group: Any = typer.main.get_command(app)
        self.files = list(names)
        self.odd = 0.0
        self.parameters = {words: list(command.params) for words, command in _commands(self.group)}
        self.commands = list(self.parameters)

    def line(self, rng: Random) -> list[str]:
        """A command with some of its options."""
        if rng.random() < 0.02:
            return [self.word(rng, "") for _ in range(rng.randint(0, 4))]
        words = rng.choice(self.commands)
        self.odd = rng.choice((0.0, 0.1, 0.3))  # many lines are sound but for one value, or sound
        out: list[str] = []
        for parameter in self.parameters[words]:
            if parameter.param_type_name == "argument":
                need = parameter.required or rng.random() < 0.8
                out += [self.value(rng, parameter) for _ in range(rng.choice((1, 1, 1, 2)) if need else 0)]
                continue
            chosen = [o for o in (*parameter.opts, *parameter.secondary_opts) if o not in NOT_GIVEN]
            if not chosen or rng.random() > (0.9 if parameter.required else 0.12):
                continue
            out.append(rng.choice(chosen))
            if not parameter.is_flag:
                out.append(self.value(rng, parameter))
        rng.random() < 0.05 and rng.shuffle(out)
        out = [word for word in out if word not in NOT_GIVEN]
        if words == ("models",):
            out = [word for word in out if word != "pull"]  # it fetches from the network
        if rng.random() < 0.3 and "-y" in (o for p in self.parameters[words] for o in p.opts):
            out.append("-y")
        return [*words, *out]

    def value(self, rng: Random, parameter: Any) -> str:
        """A value that a parameter may be given: most often one of its kind."""
        name = f"{parameter.name} {parameter.metavar or ''} {_kind(parameter)}".lower()
        if rng.random() < self.odd:
            return self.word(rng, name)
        if "memory" in name.split():
            return rng.choice(("copy", "copy", "copy", "copy", "empty", "sub", "nowhere", "fifo"))
        if rng.random() > self.odd and (sound := self.sound(rng, name)) is not None:
            return sound
        if any(part in name for part in ("time", "after", "before", "between", "within", "when", "date")):
            return rng.choice(TIMES)
        if any(part in name for part in ("float", "integer", "score", "grid", "fps", " n ", "size")):
            return rng.choice(NUMBERS)
        if "crop" in name:
            return rng.choice(CROPS)
        if any(part in name for part in ("file", "folder", "path", "picture", "labels", "out", "png", "json", "video")):
            return (
                rng.choice(self.files)
                if rng.random() < 0.8
                else f"new{rng.randrange(9)}{rng.choice(('', '.json', '.png', '.mp4', '.vtt'))}"
            )
        return rng.choice((*TEXTS, *self.files))

    def sound(self, rng: Random, name: str) -> str | None:
        """A sound value for the parameters that most lines need; None for others."""
        for part, values in SOUND.items():
            if part in name:
                return rng.choice(values)
        return None

    def word(self, rng: Random, name: str) -> str:
        """Any value at all, but no path out of the folder: some commands write."""
        found = rng.choice(WORDS + NUMBERS + TIMES + CROPS + TEXTS + self.files)
        return found.replace("/", "_") if "/" in found else found


def _commands(group: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The commands of a group with the words that call them, those of groups in it, too."""
    for name in group.commands:
        if name in LEFT_OUT:
            continue
        command = group.commands[name]
        if getattr(command, "commands", None):
            yield from (((name, *words), inner) for words, inner in _commands(command))
        if command.params:
            yield (name,), command


def _kind(parameter: Any) -> str:
    return str(getattr(parameter, "type", None) or getattr(parameter, "bare_type", ""))


def _lines(data: bytes) -> list[str]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return []
    return [one for one in found if isinstance(one, str)] if isinstance(found, list) else []


@contextmanager
def _inside(folder: Path, memory: Path) -> Iterator[None]:
    before, environment = os.getcwd(), os.environ.get("VIDMEM_MEMORY")
    os.chdir(folder)
    os.environ["VIDMEM_MEMORY"] = str(memory)
    try:
        yield
    finally:
        os.chdir(before)
        if environment is None:
            del os.environ["VIDMEM_MEMORY"]
        else:
            os.environ["VIDMEM_MEMORY"] = environment


GRAMMAR: list[Grammar] = []


def whole(folder: Path) -> Ready:
    """Commands with random options and values, run in this process on a copy of a memory."""
    copies = Copies(folder)
    grammar = Grammar(_files(folder))
    GRAMMAR[:] = [grammar]
    kept = set(os.listdir(folder)) | {"copy"}

    def run(data: bytes) -> None:
        from vidmem.errors import UsageError

        copies.fresh()
        with _inside(folder, copies.copy):
            code = command(*_lines(data))
        _tidy(folder, kept)
        if code in (2, 4):
            raise UsageError(f"exit {code}")

    first = [list(words) for words in grammar.commands] + [
        ["where", "red", "--threshold", "1e308"], ["where", "red", "--after", "9" * 20], ["parse", "walk.mp4",
        "--labels", "zero"],
        ["parse", "walk.mp4", "--labels", "fifo"], ["watch-list", "fifo"], ["calibrate", "deep.csv"], ["calibrate",
        "zero"],
        ["read-answer", "zero"], ["export", "--out", "new", "--coco", "deep.json"], ["export", "--out", "new",
        "--coco", "zero.json"],
        ["eval", "haystack", "deep.json", ".", "--out", "new"],
        ["index", "fifo.jpg"], ["index", "fake.jpg"], ["index", "broken.mcap"],
        ["index", "broken.avif"], ["index", "."], ["where", "--image", "fake.jpg"], ["where", "--image", "fifo.jpg"],
        ["where", "--image", "zero"], ["where", "\x00"], ["where", "\ud800"], ["where", "x" * 100_000], ["ls", "-m",
        "\x00"],
        ["ls", "-m", "\ud800"], ["index", "\ud800.mp4"], ["index", "a\x00b"], ["where", "red", "--min-probability",
        "nan"],
    ]  # fmt: skip
    return Ready(run, [json.dumps(line).encode() for line in first])


def _tidy(folder: Path, kept: set[str]) -> None:
    import shutil

    for name in set(os.listdir(folder)) - kept:
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def lines(rng: Random, seeds: Sequence[bytes]) -> bytes:
    """A command line from the grammar; some are changed seeds."""
    if rng.random() < 0.1:
        return _safe(json_tree()(rng, seeds))
    return json.dumps(GRAMMAR[0].line(rng)).encode()


def _safe(data: bytes) -> bytes:
    """The line without what leaves the folder or reaches for the network."""
    words = [word.replace("/", "_") for word in _lines(data)]
    if set(words) & (LEFT_OUT | NOT_GIVEN | {"pull"}):
        words = ["ls"]
    return json.dumps(words).encode()


def watched(folder: Path) -> Ready:
    """`vidmem watch` on what arrives through a file: videos that are cut short or damaged."""
    from .media import video

    made = video("mpegts", folder)
    copies = Copies(folder / "memory")

    def run(data: bytes) -> None:
        from vidmem.errors import MediaError

        (folder / "a.ts").write_bytes(data)
        copies.fresh()
        if command("watch", str(folder / "a.ts"), "-m", str(copies.copy)) == 4:
            raise MediaError("refused")

    return Ready(run, made.seeds)


def indexed(folder: Path) -> Ready:
    """`vidmem index` on a folder of a damaged picture, a damaged video and sound ones: the sound ones are indexed."""
    from .media import encoded, video

    made = [*video("mp4", folder).seeds, *encoded("jpeg"), *encoded("png")[:1]]
    copies = Copies(folder / "memory")
    import fakes

    from vidmem.store import Store

    place = folder / "films"
    place.mkdir()
    fakes.photo(place / "sound.png", "red")

    def run(data: bytes) -> None:
        from vidmem.errors import MediaError

        for path in place.glob("bad*"):
            path.unlink()
        (place / f"bad.{'jpg' if data[:2] in (bytes([255, 216]), bytes([137, 80])) else 'mp4'}").write_bytes(data)
        copies.fresh()
        code = command("index", str(place), "-m", str(copies.copy))
        with Store.open(copies.copy) as store:
            if store.stats().pictures < 1:
                raise Broken("a damaged file kept a sound picture out of the memory")
        if code in (3, 4):
            raise MediaError("refused in part")

    return Ready(run, made)


def indexed_logs(folder: Path) -> Ready:
    """`vidmem index` on logs: all topics of a log with changed messages in JSON, with the poses."""
    from .logs import json_log

    write, seeds = json_log(folder)
    copies = Copies(folder / "memory")

    def run(data: bytes) -> None:
        from vidmem.errors import MediaError

        path = write(data)
        copies.fresh()
        codes = [
            command("index", str(path), "--topic", "*", "--clock", c, "-m", str(copies.copy)) for c in ("log", "header")
        ]
        command("where", "red", "--all", "-m", str(copies.copy))
        if 4 in codes:
            raise MediaError("refused")

    return Ready(run, seeds)


def binary_mutate() -> Callable[[Random, Sequence[bytes]], bytes]:
    from ..mutate import binary

    return binary([b"\xff\xd8", b"moov", b"IHDR", b"\x47\x40"])


TARGETS = [
    Target("commands", whole, lines, 2.0, megabytes=1024, seconds=20),
    Target("watch-command", watched, binary_mutate(), 0.2, megabytes=1024, seconds=20),
    Target("index-command", indexed, binary_mutate(), 0.2, megabytes=1024, seconds=20),
    Target(
        "index-logs-command",
        indexed_logs,
        json_tree(["sec", "nsec", "header", "stamp", "seq", "pose", "position", "data", "translation"]),
        0.1,
        megabytes=1024,
        seconds=20,
        needs=("mcap", "mcap_ros2", "mcap_protobuf"),
    ),
]
