"""Writes a training set: files of records, several processes, and a manifest. A set that was interrupted goes on.

    FOLDER/data-00000-of-00008.jsonl ...   the records
    FOLDER/manifest.json                   options, counts, hashes of the files, and what was left out
    FOLDER/.progress/00000.json ...        what the manifest will say of each finished file; gone at the end

A file gets its name when it is complete, and its entry in .progress is there before. Whatever stops the writer, the
same call later writes only the missing files, and the set is the same byte for byte.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from ...errors import LockedError, MediaError, UsageError
from ...store.lock import take_lock
from ...text_files import parse_json
from ..files import replacing, writing
from .content import Unit
from .make import Settings, make

MANIFEST = "manifest.json"
PROGRESS = ".progress"
VERSION = 1
SMALL = 500
"""Sets with fewer records are written by one process: starting others takes longer."""

Entry = dict[str, Any]
"""What the manifest says of a file."""
Done = Callable[[int, int], None]
"""Is called with the number of finished files and of all files."""


def write_set(
    units: Sequence[Unit],
    settings: Settings,
    folder: Path,
    *,
    files: int,
    about: Mapping[str, Any],
    left_out: Sequence[str] = (),
    workers: int = 1,
    done: Done | None = None,
) -> dict[str, Any]:
    """Write the records of all units, or those that are missing, and return the manifest.

    Args:
        units: In order.
        settings: How records are made.
        folder: Of the set; made if it does not exist.
        files: How many to divide the records among, evenly; one for each unit at most.
        about: What the manifest says of options and inputs, as plain data. A folder with another set is refused by it.
        left_out: What was left out while the sources were read, in words.
        workers: Processes. The result does not depend on them.
        done: Is told of the progress.

    Raises:
        UsageError: The folder holds another set, or `files` is below 1.
        LockedError: Another process is writing the set.
        MediaError: A file cannot be written, or there is no record at all.
    """
    if files < 1:
        raise UsageError(f"a set has at least one file; got {files}")
    if not units:
        raise MediaError("there is nothing to make records of; check the sources")
    files = min(files, len(units))
    edges = [len(units) * i // files for i in range(files + 1)]
    parts = [units[start:end] for start, end in pairwise(edges)]
    names = [f"data-{i:05d}-of-{len(parts):05d}.jsonl" for i in range(len(parts))]
    key = _fingerprint(units, about, files)
    with writing(str(folder), "the training set"):
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder):
            entries = _finished(folder, names, key)
            if settings.crop:
                entries = {n: e for n, e in entries.items() if _has_crops(folder / n, settings.crops)}
            if settings.crop:
                Path(settings.crops).mkdir(parents=True, exist_ok=True)
                for path in Path(settings.crops).glob("*.part"):
                    path.unlink(missing_ok=True)
            missing = [i for i, name in enumerate(names) if name not in entries]
            jobs = [(parts[i], settings, str(folder), names[i]) for i in missing]
            if jobs and (folder / MANIFEST).exists():
                _restore(folder, entries, key)
                (folder / MANIFEST).unlink()  # what it says is not true while files are missing
            for entry in _written(jobs, workers if len(units) >= SMALL else 1):
                entries[entry["file"]] = entry
                if done is not None:
                    done(len(entries), len(names))
            manifest = _manifest([entries[name] for name in names], about, key, left_out)
            if not manifest["records"]:
                raise MediaError(f"no record could be made; {_first_fault(manifest)}")
            _write_json(folder / MANIFEST, manifest)
            shutil.rmtree(folder / PROGRESS, ignore_errors=True)
    return manifest


def write_file(units: Sequence[Unit], settings: Settings, folder: str, name: str) -> Entry:
    """Write one file of records, in one step, and return what the manifest says of it. Raises OSError."""
    counts: dict[str, Counter[str]] = {"tasks": Counter(), "grids": Counter()}
    faults: dict[str, int] = {}
    records = too_small = 0
    digest = hashlib.sha256()
    path = Path(folder) / name
    part = path.with_name(f"{name}.{os.getpid()}.part")
    with open(part, "wb") as file:
        for unit in units:
            made = make(unit, settings)
            if made.fault is not None:
                faults[made.fault] = faults.get(made.fault, 0) + 1
            elif made.record is None:
                too_small += 1
            else:
                line = _line(made.record)
                digest.update(line)
                file.write(line)
                records += 1
                counts["tasks"].update(made.tasks)
                counts["grids"].update([str(made.grid)] if made.grid else [])
        file.flush()
        os.fsync(file.fileno())
    entry: Entry = {
        "file": name,
        "records": records,
        "sha256": digest.hexdigest(),
        **{field: dict(sorted(count.items())) for field, count in counts.items()},
        "too_small": too_small,
        "skipped": faults,
    }
    _write_json(Path(folder) / PROGRESS / f"{name}.json", entry)
    os.replace(part, path)
    return entry


def _line(record: Mapping[str, Any]) -> bytes:
    try:
        return (json.dumps(record, ensure_ascii=False) + "\n").encode()
    except UnicodeEncodeError:  # half a surrogate pair, which JSON can hold and UTF-8 cannot
        return (json.dumps(record) + "\n").encode()


def _written(jobs: Sequence[tuple[Sequence[Unit], Settings, str, str]], workers: int) -> Iterator[Entry]:
    if workers <= 1 or len(jobs) <= 1:
        for job in jobs:
            yield write_file(*job)
        return
    before = set(multiprocessing.active_children())
    with ProcessPoolExecutor(
        min(workers, len(jobs)), mp_context=multiprocessing.get_context("spawn"), initializer=_start
    ) as pool:
        try:
            # Processes inherit the mask: Ctrl-C is the parent's from the first moment, before `_start` has run.
            before_mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
            try:
                entries = pool.map(write_file, *zip(*jobs, strict=True))
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before_mask)
            yield from entries
        except BrokenProcessPool:
            raise MediaError("a process that writes the set was killed; give the same command again to go on") from None
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in set(multiprocessing.active_children()) - before:
                process.terminate()  # else Ctrl-C waits for whole files
            raise


def _start() -> None:
    """Begin a worker: it leaves Ctrl-C to the parent, and ends when the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _fingerprint(units: Sequence[Unit], about: Mapping[str, Any], files: int) -> str:
    digest = hashlib.sha256(json.dumps([VERSION, files, about], sort_keys=True).encode())
    for unit in units:
        digest.update(unit.key.encode("utf-8", "surrogatepass") + b"\n")
    return digest.hexdigest()


def _finished(folder: Path, names: Sequence[str], key: str) -> dict[str, Entry]:
    """The entries of the files that are complete, and the folder ready for more.

    Raises UsageError when the folder holds another set.
    """
    progress = folder / PROGRESS
    manifest = _read_json(folder / MANIFEST)
    begun = manifest if manifest is not None else _read_json(progress / "set.json")
    if begun is None and any(folder.glob("data-*-of-*.jsonl")):
        raise UsageError(f"the folder has files of a set whose manifest is missing; give an empty folder: {folder}")
    if begun is not None and begun.get("set") != key:
        raise UsageError(
            f"the folder has a set of other options or other data; give another folder, or delete it: {folder}"
        )
    progress.mkdir(exist_ok=True)
    _write_json(progress / "set.json", {"set": key})
    for path in [*folder.glob("data-*.part"), *progress.glob("*.part*")]:
        path.unlink(missing_ok=True)
    known = manifest["files"] if manifest is not None else [_entry(progress / f"{name}.json") for name in names]
    return {e["file"]: e for e in known if e is not None and _hash(folder / e["file"]) == e["sha256"]}


def _has_crops(path: Path, crops: str) -> bool:
    """Whether the cropped pictures that the records of a file name are there."""
    with open(path, encoding="utf-8") as file:
        return all(os.path.exists(text) for line in file for text in _texts(json.loads(line)) if _is_in(text, crops))


def _texts(value: Any) -> Iterator[str]:
    """All texts in a record."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


def _is_in(text: str, folder: str) -> bool:
    return text.startswith(folder + os.sep) and "\n" not in text


def _restore(folder: Path, entries: Mapping[str, Entry], key: str) -> None:
    for name, entry in entries.items():
        _write_json(folder / PROGRESS / f"{name}.json", entry)
    _write_json(folder / PROGRESS / "set.json", {"set": key})


def _manifest(entries: Sequence[Entry], about: Mapping[str, Any], key: str, left_out: Sequence[str]) -> dict[str, Any]:
    totals: dict[str, Counter[str]] = {"tasks": Counter(), "grids": Counter(), "skipped": Counter()}
    for entry in entries:
        for field, total in totals.items():
            total.update(entry[field])
    return {
        "format": "text4seg",
        "version": VERSION,
        "set": key,
        **about,
        "records": sum(entry["records"] for entry in entries),
        "tasks": dict(sorted(totals["tasks"].items())),
        "grids": dict(sorted(totals["grids"].items(), key=lambda item: int(item[0]))),
        "too_small": sum(entry["too_small"] for entry in entries),
        "skipped_records": sum(totals["skipped"].values()),
        "skipped": [*left_out, *sorted(totals["skipped"])],
        "files": list(entries),
    }


def _first_fault(manifest: Mapping[str, Any]) -> str:
    if manifest["skipped"]:
        return f"the first fault: {manifest['skipped'][0]}"
    return "all things are smaller than a cell of the grid; give a finer grid"


def _hash(path: Path) -> str | None:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None


def _read_json(path: Path) -> Any:
    damaged = f"the file is damaged; delete the folder and write the set again: {path}"
    try:
        data = parse_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError:
        raise MediaError(damaged) from None
    if not isinstance(data, dict):
        raise MediaError(damaged)
    return data


def _entry(path: Path) -> Any:
    try:
        return _read_json(path)
    except MediaError:
        return None  # the file of records is written again


def _write_json(path: Path, data: Any) -> None:
    with replacing(str(path)) as part:
        Path(part).write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", "utf-8")


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    path = folder / ".lock"
    fd = take_lock(path, wait=False)
    if fd is None:
        raise LockedError(f"another process is writing this training set; wait for it: {folder}")
    with closing(os.fdopen(fd, "rb+")):
        yield
