"""The folder of weights, and the record that tells whether they have changed.

All families share one flat folder: `weights`, else VIDMEM_WEIGHTS, else the platform's folder for data. `weights.json`
in it has the sha256 of each file, from the first pull or the first use on; a file whose sha256 changes later is
refused. Reading 4 GB takes seconds, so a file is hashed again only if its size or time of change differs from the
record. A change that keeps both goes unnoticed.
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
"""Suffix of the index of a large model, which says which part has which tensor."""
_CHUNK = 1 << 22


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file or folder of weights that an encoder needs.

    Attributes:
        role: What it is, for people.
        patterns: Globs in the folder of weights. The first that matches counts.
        licence: The name of its licence.
        access: What the user must do if it cannot simply be fetched.
        repo: Where it is on Hugging Face.
        files: Files to fetch from `repo`. An entry may name alternatives, separated by "|", best first; a last "" means
            that none is needed.
        nested: The files go into a folder with the name of `repo`.
        url: Where it is on the web, if not on Hugging Face.
        sha256: Of the file at `url`.
        spec: The name for `vidmem models pull`.
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
    """The given folder, else VIDMEM_WEIGHTS, else `weights` in the platform's folder for data."""
    if given is not None or (given := os.environ.get("VIDMEM_WEIGHTS")):
        return Path(given).expanduser()
    import platformdirs

    return Path(platformdirs.user_data_dir("vidmem", appauthor=False)) / "weights"


def find(wanted: Wanted, folder: Path) -> Path | None:
    """The file or folder of `wanted`; None if it, or a file in it, is missing. Raises ModelError if several match."""
    path = place_of(wanted, folder)
    return None if path is None or lacking(wanted, path) else path


def lacking(wanted: Wanted, path: Path) -> list[str]:
    """Files that are missing or empty in a folder from Hugging Face, by its index too; [] for a single file."""
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
    """The first file in the folder that an entry of `Wanted.files` names; None if there is none.

    The folder itself if there is none and none is needed.
    """
    names = entry.split("|")
    present = next((path / name for name in names if name and _there(path / name)), None)
    return path if present is None and "" in names else present


def parts(index: Path) -> list[str]:
    """Names of the files of a large model, from its index; [] if the index is damaged."""
    try:
        names = set(json.loads(index.read_text("utf-8"))["weight_map"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []
    return sorted(name for name in names if isinstance(name, str) and Path(name).name == name)


def _there(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def place_of(wanted: Wanted, folder: Path) -> Path | None:
    """As `find`, but the folder may be incomplete."""
    for pattern in wanted.patterns:
        found = sorted(path for path in folder.glob(pattern) if not path.name.endswith(".part"))
        if len(found) > 1:
            names = " and ".join(path.name for path in found[:3])
            raise ModelError(f"the {wanted.role} could be {names}; leave one of them in {folder}")
        if found:
            return found[0]
    return None


def locate(wanted: Wanted, folder: Path) -> Path:
    """The file or folder of `wanted`. Raises ModelError with the remedy if it is missing."""
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
    """The file itself, or the files of a folder from Hugging Face that tokens depend on."""
    if not path.is_dir():
        return [path]
    found = sorted(
        p for p in path.iterdir() if p.name == "config.json" or ".safetensors" in p.suffixes or p.name.endswith(INDEX)
    )
    if not any(p.suffix == ".safetensors" for p in found):  # an older model, which has nothing else
        found += sorted(p for p in path.iterdir() if p.suffix in (".bin", ".pt", ".pth"))
    return found


def fingerprint(wanted: Sequence[Wanted], folder: Path) -> str:
    """One sha256 over roles and sha256 of all files of `wanted`.

    Files that are recorded but missing count as recorded, so that a machine that only answers questions needs no
    backbone.

    Raises:
        ModelError: A file is neither here nor recorded, or has changed.
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
    """Names of files of `wanted` in the record, by the first pattern that matches any."""
    for pattern in wanted.patterns:
        whole = re.compile(re.escape(pattern).replace(r"\*", "[^/]*") + "(/.*)?")
        if names := sorted(name for name in record if whole.fullmatch(name)):
            return names
    return []


def checked(path: Path, folder: Path, *, origin: str = "", sha256: str = "", anew: bool = False) -> str:
    """The sha256 of a file in `folder`, recorded if it was not.

    Args:
        path: The file.
        folder: The folder of weights.
        origin: Where the file came from, for the record.
        sha256: What it must be; "" if unknown.
        anew: Hash the file and write the record again, with `origin`.

    Raises:
        ModelError: The sha256 is not the recorded one, the given one, or the one in the file's name, which files of
            PyTorch's hub have (`name-1a2b3c4d.pth`).
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
    """Read `weights.json`; {} if there is none. Raises ModelError if it is damaged."""
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
    """Remove a file from the record, because its entry is known to be wrong. Raises ModelError."""
    record = read_record(folder)
    if record.pop(path.relative_to(folder).as_posix(), None) is not None:
        try:
            write_atomically(folder / RECORD, json.dumps(record, indent=1).encode())
        except OSError as error:
            raise ModelError(f"the record of weights cannot be written ({error.strerror}): {folder / RECORD}") from None


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file that appears under its name only when it is complete. Raises OSError."""
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
