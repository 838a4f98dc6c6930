"""The folder of weights, and the record of their checksums.

All families share one flat folder: `weights`, else VIDMEM_WEIGHTS, else the platform's folder for data. `weights.json`
in it has the sha256 of each file from its first download or use on; a file whose sha256 changes later is refused.
Reading 4 GB takes seconds, so a file is hashed again only if its size or modification time differs from the record. A
change that keeps both goes unnoticed.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ModelError
from ..text_files import parse_json
from .partial import new_part

_log = logging.getLogger(__name__)

RECORD = "weights.json"
INDEX = ".safetensors.index.json"
"""Suffix of the index of a large model, which maps each tensor to its file."""
_CHUNK = 1 << 22


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file or folder of weights that an encoder needs.

    Attributes:
        role: What it is, for people.
        patterns: Globs in the folder of weights. The first that matches counts.
        licence: The name of its licence.
        access: What the user must do if a download needs more than a network.
        repo: Where it is on Hugging Face.
        files: Files to download from `repo`. An entry may list alternatives, separated by "|", best first; a trailing
            empty one makes the file optional.
        nested: The files go into a folder with the name of `repo`.
        url: Where it is on the web, if not on Hugging Face.
        sha256: The sha256 of the file at `url`.
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
    path = find_partial(wanted, folder)
    return None if path is None or missing_files(wanted, path) else path


def missing_files(wanted: Wanted, path: Path) -> list[str]:
    """Missing or empty files of a folder from Hugging Face, including those of its index; [] for a single file."""
    if not path.is_dir():
        return []
    missing = []
    for entry in wanted.files:
        present = first_present(entry, path)
        if present is None:
            missing.append(entry.split("|")[0])
        elif present.name.endswith(INDEX):
            missing += [name for name in part_names(present) if not _is_present(path / name)]
    return missing


def first_present(entry: str, path: Path) -> Path | None:
    """The first file in the folder that an entry of `Wanted.files` lists; None if there is none.

    Returns the folder itself if there is none and the entry is optional.
    """
    names = entry.split("|")
    present = next((path / name for name in names if name and _is_present(path / name)), None)
    return path if present is None and "" in names else present


def part_names(index: Path) -> list[str]:
    """Names of the files of a large model, from its index; [] if the index is damaged."""
    try:
        names = set(parse_json(index.read_bytes())["weight_map"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []
    return sorted(name for name in names if isinstance(name, str) and Path(name).name == name)


def _is_present(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def find_partial(wanted: Wanted, folder: Path) -> Path | None:
    """As `find`, but a folder may be incomplete."""
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
        place, state = find_partial(wanted, folder), "missing"
        if place is not None and place.is_dir() and any(place.iterdir()):
            state = f"incomplete ({missing_files(wanted, place)[0]} is not there)"
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
    """One sha256 over the roles and the sha256 of all files of `wanted`.

    For a missing file the record is used, so that a machine that only answers questions needs no backbone.

    Raises:
        ModelError: A file is neither here nor recorded, or has changed.
    """
    total = hashlib.sha256()
    record = read_record(folder)
    for each in wanted:
        path = find(each, folder)
        if path is None:
            known = recorded_names(each, record)
            if not known:
                locate(each, folder)
            hashes = [record[name]["sha256"] for name in known]
        else:
            hashes = [record_sha256(file, folder) for file in files_of(path)]
        total.update("".join(f"{each.role} {sha}\n" for sha in hashes).encode())
    return total.hexdigest()


def recorded_names(wanted: Wanted, record: Mapping[str, Any]) -> list[str]:
    """Names of the files of `wanted` in the record, by the first pattern that matches any."""
    for pattern in wanted.patterns:
        whole = re.compile(re.escape(pattern).replace(r"\*", "[^/]*") + "(/.*)?")
        if names := sorted(name for name in record if whole.fullmatch(name)):
            return names
    return []


def record_sha256(path: Path, folder: Path, *, origin: str = "", sha256: str = "", again: bool = False) -> str:
    """Return the sha256 of a file in `folder`, after comparing it with the record, or recording it.

    Args:
        path: The file.
        folder: The folder of weights.
        origin: Where the file came from, for the record.
        sha256: The expected value; "" if unknown.
        again: Hash the file and write its entry even if the record has one.

    Raises:
        ModelError: The sha256 is not the recorded one, the given one, or the one in the file's name, which files of
            PyTorch's hub have (`name-1a2b3c4d.pth`).
    """
    name, stat, record = path.relative_to(folder).as_posix(), path.stat(), read_record(folder)
    entry = record.get(name)
    at = [stat.st_size, stat.st_mtime_ns]
    if entry and entry.get("at") == at and sha256 in ("", entry["sha256"]) and not again:
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
            f"{entry['sha256'][:16]}...); fetch them again, or remove {name} from {RECORD} if you "
            f"replaced the file: {path}"
        )
    entry = {"sha256": found, "at": at, "from": origin or (entry or {}).get("from", "")}
    with suppress(OSError):  # in a read-only folder it is hashed again next time
        write_atomically(folder / RECORD, json.dumps(read_record(folder) | {name: entry}, indent=1).encode())
    return found


def read_record(folder: Path) -> dict[str, dict[str, Any]]:
    """Read `weights.json`; {} if there is none. Raises ModelError if it is damaged."""
    try:
        record: dict[str, dict[str, Any]] = parse_json((folder / RECORD).read_bytes())
        if not all(re.fullmatch("[0-9a-f]{64}", entry["sha256"]) for entry in record.values()):
            raise ValueError("an entry has no sha256")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, KeyError, TypeError, RecursionError) as error:
        raise ModelError(f"the record of weights is damaged ({error}); remove it: {folder / RECORD}") from None
    return record


def remove_entry(path: Path, folder: Path) -> None:
    """Remove the entry of a file from the record. Raises ModelError if the record cannot be written."""
    record = read_record(folder)
    if record.pop(path.relative_to(folder).as_posix(), None) is not None:
        try:
            write_atomically(folder / RECORD, json.dumps(record, indent=1).encode())
        except OSError as error:
            raise ModelError(f"the record of weights cannot be written ({error.strerror}): {folder / RECORD}") from None


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file that appears under its name only when it is complete. Raises OSError."""
    part = new_part(path)
    try:
        with open(part, "wb") as file:
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
