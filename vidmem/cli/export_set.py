"""`vidmem export` to a training set of many sources: reads them and writes files of records with a manifest."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ..errors import MediaError, UsageError
from ..query.labels import load_labels
from ..timecode import parse_time
from .export_sources import Input, check_used, memory_labels, parsed_sources, place
from .messages import progress_bar, warn
from .output import Listing, Row, Show, count

if TYPE_CHECKING:
    from ..export.instruct import Style
    from ..export.textmask import Form
    from ..export.trainset.content import Unit
    from ..export.trainset.turns import Task

SHARD_SIZE = 10_000
DISTRACTORS = 8
MOST_WORKERS = 16
"""Of the default: more processes wait for the disk."""
MOST_NAMED = 20
"""Things left out that are named on the terminal; the manifest names all."""


@dataclass(frozen=True, slots=True)
class SetOptions:
    """Options of the command by the same names."""

    refcoco: list[str]
    refs: str | None
    label_images: list[str]
    first_label: int
    chat: list[str]
    chat_share: float | None
    mix: str | None
    distractors: int
    turns: int
    repeat: int
    crop: float
    shards: int | None
    shard_size: int | None
    workers: int | None
    grids: tuple[int, ...]

    @property
    def wanted(self) -> bool:
        """Whether one of the options is given that a single file does not have."""
        some = (self.refcoco, self.refs, self.label_images, self.chat, self.crop, self.shards)
        numbers = self.turns > 1 or self.repeat > 1 or len(self.grids) > 1 or self.distractors != DISTRACTORS
        others = (self.shard_size, self.workers, self.chat_share, self.mix)
        return any(some) or numbers or any(value is not None for value in others)


def parse_grids(text: str) -> tuple[int, ...]:
    """The sides of the grids in a text such as 16,24,32. Raises UsageError."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdecimal() and 1 <= int(part[:4]) <= 256 and len(part) <= 3 for part in parts):
        raise UsageError(f"--grid is a number from 1 to 256, or several such as 16,24,32; got {text[:40]}")
    return tuple(dict.fromkeys(map(int, parts)))


def parse_mix(text: str | None) -> tuple[tuple[Task, float], ...]:
    """The weight of each task in a text such as open=1,part=3. Raises UsageError."""
    from ..export.trainset.turns import MIX, TASKS

    mix = {task: float(weight) for task, weight in MIX.items()}
    named: set[str] = set()
    for part in text.split(",") if text is not None else ():
        task, _, weight = (piece.strip() for piece in part.partition("="))
        try:
            value = float(weight)
        except ValueError:
            value = -1
        if task not in TASKS or not 0 <= value < 1e9:
            raise UsageError(f"--mix is TASK=WEIGHT,... with the tasks {', '.join(TASKS)}; got {part[:40]}")
        if task in named:
            raise UsageError(f"--mix has {task} twice; give it one weight")
        named.add(task)
        mix[task] = value
    return tuple(mix.items())


def write_training_set(
    given: Input, options: SetOptions, out: Path, *, style: str, form: str, seed: int, show: Show
) -> int:
    """Write the set and show where it is; the exit code of the command."""
    from ..export.trainset.chat import read_conversations
    from ..export.trainset.make import Settings
    from ..export.trainset.plan import ordered, repeated, with_chat
    from ..export.trainset.shards import write_set

    mix = parse_mix(options.mix)
    _check(given, options, dict(mix))
    inputs: list[Path] = []
    units = repeated(_units(given, options, dict(mix), out, seed, inputs), options.repeat)
    chat = []
    for text in options.chat:
        file, images = place(text)
        chat += read_conversations(file, images, given.leave_out)
        inputs.append(file)
    units = ordered(with_chat(units, chat, options.chat_share, seed), seed)
    files = options.shards or max(1, -(-len(units) // (options.shard_size or SHARD_SIZE)))
    settings = Settings(
        style=cast("Style", style),
        form=cast("Form", form),
        grids=options.grids,
        mix=mix,
        distractors=options.distractors,
        turns=options.turns,
        crop=options.crop,
        crops=str(out / "images"),
        seed=seed,
    )
    about = {"options": _about(given, options, settings), "inputs": [_input(path) for path in inputs]}
    planned = len(given.missing)
    with progress_bar(files, lambda n: count(n, "file")) as advance:
        manifest = write_set(
            units,
            settings,
            out,
            files=files,
            about=about,
            left_out=given.missing,
            workers=options.workers or min(os.cpu_count() or 1, MOST_WORKERS),
            done=lambda done, _: advance("writing", done),
        )
    _name(manifest["skipped"][planned:])
    _show(manifest, out, show)
    return 3 if manifest["skipped"] else 0


def _check(given: Input, options: SetOptions, mix: dict[Task, float]) -> None:
    labelled = given.coco or given.vspw or options.label_images or _from_memory(given, options)
    able = {"refer": bool(options.refcoco), "absent": bool(options.refcoco or labelled)}
    for task in (part.partition("=")[0].strip() for part in options.mix.split(",")) if options.mix else ():
        if mix[cast("Task", task)] and not able.get(task, bool(labelled)):
            what = "expressions (--refcoco)" if task == "refer" else "pictures with labels"
            raise UsageError(f"--mix asks for {task}, which is for {what}; leave it out, or give such a source")
    if options.refcoco and not mix["refer"] and not mix["absent"]:
        raise UsageError("--mix leaves no task for the expressions of --refcoco; give refer or absent a weight")
    check_used(
        given,
        memory=_from_memory(given, options),
        named=bool(given.vspw or options.label_images),
        refcoco=bool(options.refcoco),
    )
    if labelled and not any(weight for task, weight in mix.items() if task != "refer"):
        raise UsageError("--mix leaves no task for pictures with labels; give open, part, given or absent a weight")
    if options.shards and options.shard_size:
        raise UsageError("--shards and --shard-size both say how large a file is; give one of them")
    if options.label_images and given.labels is None:
        raise UsageError("--label-images holds numbers; give their names with --labels FILE, vspw, ade20k or coco")
    if not all("@" in text for text in options.label_images):
        raise UsageError("--label-images is FOLDER@IMAGES: the label pictures, and their pictures")
    if options.chat_share is not None and not options.chat:
        raise UsageError("--chat-share is for the conversations of --chat")


def _units(
    given: Input, options: SetOptions, mix: dict[Task, float], out: Path, seed: int, inputs: list[Path]
) -> list[Unit]:
    """The units of all sources but the conversations; the files that were read are added to `inputs`."""
    from ..export.trainset.plan import coco_units, label_units, referred_units, vspw_units
    from ..export.trainset.refcoco import read_refcoco

    units: list[Unit] = []
    if given.coco is not None:
        file, images = place(given.coco)
        units += coco_units(file, images, given.instances, given.leave_out)
        inputs.append(file)
    if given.vspw is not None:
        names = load_labels(given.labels if given.labels and not options.label_images else "vspw").names
        units += vspw_units(Path(given.vspw), given.split, names, given.leave_out)
    for number, text in enumerate(options.label_images, 1):
        folder, pictures = place(text)
        names = load_labels(given.labels or "").names
        units += label_units(folder, pictures or folder, options.first_label, names, given.leave_out, number)
    for text in options.refcoco:
        folder, images = place(text)
        split = {None: "train", "all": None}.get(given.split, given.split)
        read = read_refcoco(folder, images, split, options.refs, given.leave_out)
        absent = mix["absent"] / mix["refer"] if mix["refer"] else 1
        units += referred_units(read, folder.name, options.turns, absent, seed, refer=mix["refer"] > 0)
        inputs += read.files
    if _from_memory(given, options):
        units += _memory(given, out)
    return units


def _from_memory(given: Input, options: SetOptions) -> bool:
    others = (given.coco, given.vspw, options.label_images, options.refcoco, options.chat)
    return bool(given.source) or not any(others)


def _memory(given: Input, out: Path) -> list[Unit]:
    from ..export.trainset.frames import memory_units

    every_ns = parse_time(given.every)
    units: list[Unit] = []
    for memory, parsed, predictor in parsed_sources(given, memory_labels(given.labels)):
        units += memory_units(memory.store, parsed, out, every_ns, predictor, given.leave_out)
    if not units:
        hint = "" if given.everything else "; --all also uses improbable labels"
        raise MediaError(f"there is no picture with a mask; index a video or give annotations{hint}")
    return units


def _about(given: Input, options: SetOptions, settings: Any) -> dict[str, Any]:
    """What the manifest says of the options. Folders are left out: the same set can be made in another place."""
    return {
        "style": settings.style,
        "form": settings.form,
        "grids": list(settings.grids),
        "mix": dict(settings.mix),
        "distractors": settings.distractors,
        "turns": settings.turns,
        "repeat": options.repeat,
        "crop": settings.crop,
        "chat_share": options.chat_share,
        "instances": given.instances,
        "split": given.split,
        "refs": options.refs,
        "every": given.every,
        "all": given.everything,
        "refine": given.refine,
        "labels": None if given.labels is None else list(load_labels(given.labels).names),
        "first_label": options.first_label,
        "seed": settings.seed,
    }


def _input(path: Path) -> dict[str, str]:
    with open(path, "rb") as file:
        return {"file": path.name, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _name(faults: list[str]) -> None:
    for fault in faults[:MOST_NAMED]:
        warn(f"left out, {fault}")
    if len(faults) > MOST_NAMED:
        warn(f"left out, {len(faults) - MOST_NAMED} more; the manifest names all")


def _show(manifest: dict[str, Any], out: Path, show: Show) -> None:
    row: Row = {
        "set": str(out),
        "files": len(manifest["files"]),
        "records": manifest["records"],
        "questions": sum(manifest["tasks"].values()),
        "too_small": manifest["too_small"],
        "left_out": len(manifest["skipped"]),
    }
    heads = ("set", "files", "records", "questions", "too small", "left out")
    document = row | {"tasks": manifest["tasks"], "grids": manifest["grids"]}
    show(Listing([row], [heads, tuple(map(str, row.values()))], document))
