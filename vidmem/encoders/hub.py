"""Where weights lie, how they get there, and whether they are still what they were.

All families share one flat folder: `--weights`, else VIDMEM_WEIGHTS, else the platform's folder for data. The sha256
of each file stands in `weights.json` beside it, from the first pull or the first use on; a file that has another one
later is refused. A file is read for that only when its size or its time of change differ from the record (reading
4 GB takes seconds): a change that keeps both goes unnoticed.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ModelError

_log = logging.getLogger(__name__)

RECORD = "weights.json"
INDEX = ".safetensors.index.json"
"""How the name of an index ends: which part of a large model has which tensor."""
_CHUNK = 1 << 22


@dataclass(frozen=True, slots=True)
class Wanted:
    """One file, or folder, of weights. role: what it is, for people. patterns: globs in the folder, the first that
    finds something counts. licence: its name. access: what to do for it, when it cannot simply be fetched.
    repo, files: where Hugging Face has it (files go to `repo`'s name as a folder when `nested`); an entry may be some
    names with "|" between them, of which the first that there is counts, the last "" for none at all. url, sha256:
    another place, and what its file must be. spec: the encoder that `vidmem models pull` is to be asked for.
    """

    role: str
    patterns: tuple[str, ...]
    licence: str
    access: str = ""
    repo: str = ""
    files: tuple[str, ...] = ()
    nested: bool = False
    url: str = ""
    sha256: str = ""
    spec: str = "tren"


def weights_folder(given: str | os.PathLike[str] | None = None) -> Path:
    """The folder given, or VIDMEM_WEIGHTS, or `weights` in the platform's folder for data."""
    if given is not None or (given := os.environ.get("VIDMEM_WEIGHTS")):
        return Path(given).expanduser()
    import platformdirs

    return Path(platformdirs.user_data_dir("vidmem", appauthor=False)) / "weights"


def find(wanted: Wanted, folder: Path) -> Path | None:
    """Its file or folder, None when it is not there or a file of the folder is missing. Raises ModelError when it could
    be several."""
    path = place_of(wanted, folder)
    return None if path is None or lacking(wanted, path) else path


def lacking(wanted: Wanted, path: Path) -> list[str]:
    """The files that a folder of Hugging Face lacks, and those of its index; [] for a single file. Empty is missing."""
    if not path.is_dir():
        return []
    missing = []
    for entry in wanted.files:
        present = chosen(entry, path)
        if present is None:
            missing.append(entry.split("|")[0])
        elif present.name.endswith(INDEX):
            missing += [name for name in parts(present) if not _there(path / name)]
    return missing


def chosen(entry: str, path: Path) -> Path | None:
    """The file of the folder that an entry of `Wanted.files` stands for: the first of its names that is there, the
    folder itself where none need be, None where one is missing."""
    names = entry.split("|")
    present = next((path / name for name in names if name and _there(path / name)), None)
    return path if present is None and "" in names else present


def parts(index: Path) -> list[str]:
    """The names of the files that a large model was cut into, from its index; [] when the index is damaged."""
    try:
        names = set(json.loads(index.read_text("utf-8"))["weight_map"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []
    return sorted(name for name in names if isinstance(name, str) and Path(name).name == name)


def _there(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def place_of(wanted: Wanted, folder: Path) -> Path | None:
    """As `find`, whether the folder is whole or not."""
    for pattern in wanted.patterns:
        found = sorted(path for path in folder.glob(pattern) if not path.name.endswith(".part"))
        if len(found) > 1:
            names = " and ".join(path.name for path in found[:3])
            raise ModelError(f"the {wanted.role} could be {names}; leave one of them in {folder}")
        if found:
            return found[0]
    return None


def locate(wanted: Wanted, folder: Path) -> Path:
    """Its file or folder. Raises ModelError with what to do when it is not there."""
    path = find(wanted, folder)
    if path is None:
        place, state = place_of(wanted, folder), "missing"
        if place is not None and place.is_dir() and any(place.iterdir()):
            state = f"incomplete ({lacking(wanted, place)[0]} is not there)"
        remedy = wanted.access or f"`vidmem models pull {wanted.spec}` fetches it"
        raise ModelError(
            f"the {wanted.role} is {state}: {remedy}; `weights` or VIDMEM_WEIGHTS name another folder than {folder}"
        )
    _log.info("%s: %s", wanted.role, path)
    return path


def files_of(path: Path) -> list[Path]:
    """The file itself, or what counts in a folder of Hugging Face."""
    if not path.is_dir():
        return [path]
    found = sorted(
        p for p in path.iterdir() if p.name == "config.json" or ".safetensors" in p.suffixes or p.name.endswith(INDEX)
    )
    if not any(p.suffix == ".safetensors" for p in found):  # an older model, which has nothing else
        found += sorted(p for p in path.iterdir() if p.suffix in (".bin", ".pt", ".pth"))
    return found


def fingerprint(wanted: Sequence[Wanted], folder: Path) -> str:
    """One sha256 over the sha256 of all files of `wanted`, each under its role. Files that are recorded but not here
    count as recorded, so that a machine for questions needs no backbone.

    Raises ModelError when a file is missing or not what the record says.
    """
    total = hashlib.sha256()
    record = read_record(folder)
    for each in wanted:
        path = find(each, folder)
        if path is None:
            known = recorded(each, record)
            if not known:
                locate(each, folder)
            hashes = [record[name]["sha256"] for name in known]
        else:
            hashes = [checked(file, folder) for file in files_of(path)]
        total.update("".join(f"{each.role} {sha}\n" for sha in hashes).encode())
    return total.hexdigest()


def recorded(wanted: Wanted, record: Mapping[str, Any]) -> list[str]:
    """The names in the record that are files of `wanted`, of the first pattern that fits any."""
    for pattern in wanted.patterns:
        whole = re.compile(re.escape(pattern).replace(r"\*", "[^/]*") + "(/.*)?")
        if names := sorted(name for name in record if whole.fullmatch(name)):
            return names
    return []


def checked(path: Path, folder: Path, *, origin: str = "", sha256: str = "", anew: bool = False) -> str:
    """The sha256 of a file in `folder`, recorded now if it was not. origin: where it came from, for the record. anew:
    write the record again, with that origin.

    Raises ModelError when it is not the recorded one, not the given one, or not the one that the file's own name
    begins to tell, as names from PyTorch's hub do (`name-1a2b3c4d.pth`).
    """
    name, stat, record = path.relative_to(folder).as_posix(), path.stat(), read_record(folder)
    entry = record.get(name)
    at = [stat.st_size, stat.st_mtime_ns]
    if entry and entry.get("at") == at and sha256 in ("", entry["sha256"]) and not anew:
        return str(entry["sha256"])
    found = _sha256(path)
    start = match[1] if (match := re.search(r"-([0-9a-f]{8})\.pth$", path.name)) else ""
    if sha256 not in ("", found) or not found.startswith(start):
        raise ModelError(
            f"the weights are not the published ones or were cut short (sha256 {found[:16]}..., want "
            f"{(sha256 or start)[:16]}...); fetch them again: {path}"
        )
    if entry and entry["sha256"] != found:
        raise ModelError(
            f"the weights have changed since they were recorded (sha256 {found[:16]}..., recorded "
            f"{entry['sha256'][:16]}...); fetch them again, or take {name} out of {RECORD} if that was "
            f"meant: {path}"
        )
    entry = {"sha256": found, "at": at, "from": origin or (entry or {}).get("from", "")}
    with suppress(OSError):  # a read-only folder: it is read again next time
        write_atomically(folder / RECORD, json.dumps(read_record(folder) | {name: entry}, indent=1).encode())
    return found


def read_record(folder: Path) -> dict[str, dict[str, Any]]:
    """`weights.json` of the folder, {} when there is none. Raises ModelError when it is damaged."""
    try:
        record: dict[str, dict[str, Any]] = json.loads((folder / RECORD).read_text("utf-8"))
        if not all(re.fullmatch("[0-9a-f]{64}", entry["sha256"]) for entry in record.values()):
            raise ValueError("an entry has no sha256")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
        raise ModelError(f"the record of weights is damaged ({error}); remove it: {folder / RECORD}") from None
    return record


def forget(path: Path, folder: Path) -> None:
    """Take a file out of the record: what it said is known to be wrong. Raises ModelError."""
    record = read_record(folder)
    if record.pop(path.relative_to(folder).as_posix(), None) is not None:
        try:
            write_atomically(folder / RECORD, json.dumps(record, indent=1).encode())
        except OSError as error:
            raise ModelError(f"the record of weights cannot be written ({error.strerror}): {folder / RECORD}") from None


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file that appears under its name when it is whole. Raises OSError."""
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(part, 0o644)
        os.replace(part, path)
    except BaseException:
        os.unlink(part)
        raise


def _sha256(path: Path) -> str:
    total = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while chunk := file.read(_CHUNK):
                total.update(chunk)
    except OSError as error:
        raise ModelError(f"the weights cannot be read ({error.strerror}); check the path: {path}") from None
    return total.hexdigest()
