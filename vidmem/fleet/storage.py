"""Where shards lie: folders, and object stores that fsspec reaches. Copies to and from them, with their checksums.

A shard lies under its id, so that what is there under this name is that shard or an unfinished copy of it. `seal.json`
is written last: without it there is no shard.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from ..address import shown
from ..encoders.extras import needing
from ..errors import ModelError, StoreError, UsageError, VidmemError
from ..store.files import CACHE_NAME, SEAL_NAME, open_file
from . import checking, manifest
from .checking import Problem
from .manifest import MAX_MANIFEST, Manifest, SealedFile

REMOTE = ("s3", "gs", "az", "abfs")
"""Protocols of object stores. s3 comes with the extra `fleet`; the others need gcsfs or adlfs."""
_CHUNK = 4 << 20
_UNFINISHED = ".part-"


@dataclass(frozen=True, slots=True)
class Place:
    """A folder, or a prefix in an object store.

    Attributes:
        protocol: One of REMOTE; empty for a folder.
        path: The folder, absolute; or bucket and key.
    """

    protocol: str
    path: str

    @property
    def is_local(self) -> bool:
        """True for a folder."""
        return not self.protocol

    @property
    def folder(self) -> Path:
        """The folder."""
        return Path(self.path)

    def __str__(self) -> str:
        return f"{self.protocol}://{self.path}" if self.protocol else self.path

    def __truediv__(self, name: str) -> Place:
        return Place(self.protocol, f"{self.path.rstrip('/')}/{name}")


def place(uri: str | os.PathLike[str]) -> Place:
    """Read the address of a shard, or of a folder of shards: a path, file:///PATH or s3://BUCKET/KEY.

    Raises:
        UsageError: Its protocol is not known, or it holds a user, a password, a query or a way up.
    """
    text = os.fspath(uri)
    head, slashes, rest = text.partition("://")
    if not slashes or os.path.exists(text):
        if not text or "\0" in text:
            raise UsageError("the address of a shard is empty; give a folder or s3://BUCKET/KEY")
        return Place("", os.path.abspath(text))
    if head == "file":
        if not rest.startswith("/"):
            raise UsageError(f"an address of a file begins with file:///: {shown(text)}")
        return Place("", os.path.abspath(rest))
    if head not in REMOTE:
        known = ", ".join(f"{name}://" for name in ("file", *REMOTE))
        raise UsageError(f"shards lie in folders or under {known}; not under {shown(head)[:20]}://: {shown(text)}")
    parts = rest.rstrip("/").split("/")
    if not parts[0] or any(part in ("", ".", "..") for part in parts) or not rest.isprintable():
        raise UsageError(f"an address is like s3://BUCKET/KEY, without `..` or empty parts: {shown(text)}")
    if any(character in rest for character in "@?#:"):
        raise UsageError(
            f"an address of an object store has no user, password, port or query; set these in the environment, such "
            f"as AWS_ACCESS_KEY_ID and AWS_ENDPOINT_URL: {shown(text)}"
        )
    return Place(head, "/".join(parts))


def read_manifest(uri: str | os.PathLike[str]) -> Manifest:
    """Read the manifest of a shard, wherever it lies.

    Raises:
        StoreError: There is no sealed shard, or it cannot be reached.
        UsageError: As `place`.
        ModelError: The library of its object store is missing.
    """
    at = place(uri)
    if at.is_local:
        return manifest.load(at.folder)
    with _store_errors(at), _open(at / SEAL_NAME) as file:
        data = file.read(MAX_MANIFEST + 1)
    return manifest.parse(data, str(at))


def read_file(uri: str | os.PathLike[str], name: str, wanted: SealedFile) -> bytes:
    """Read one file of a shard, wherever it lies.

    Args:
        uri: The shard.
        name: The file.
        wanted: Its size and checksum.

    Raises:
        StoreError: It cannot be reached, or is not as it was sealed.
        UsageError, ModelError: As `read_manifest`.
    """
    at = place(uri)
    with _store_errors(at), open_file_at(at, name) as file:
        data = file.read(wanted.bytes + 1)
    if len(data) != wanted.bytes or hashlib.sha256(data).hexdigest() != wanted.sha256:
        raise StoreError(f"{name} is not as it was sealed; `vidmem verify` says more: {at}")
    return data


def open_file_at(at: Place, name: str) -> BinaryIO:
    """Open a file of a shard for reading."""
    return os.fdopen(open_file(at.folder / name, os.O_RDONLY), "rb") if at.is_local else _open(at / name)


def upload(folder: Path, uri: str | os.PathLike[str]) -> str:
    """Copy a shard to a folder or an object store; return the address of the copy, which ends with the shard's id.

    All files are read back and compared before `seal.json` is written, which is last. A copy that is there already is
    checked by its sizes and not written again; an unfinished one is replaced.

    Args:
        folder: The shard.
        uri: Where many shards lie.

    Raises:
        StoreError: The shard is not as it was sealed, or the copy cannot be written, or is not what was sent.
        UsageError, ModelError: As `read_manifest`.
    """
    sealed = manifest.load(folder)
    if problems := checking.verify(folder):
        raise StoreError(f"the shard was changed after sealing ({problems[0]}); {manifest.RESTORE}: {folder}")
    target = place(uri) / sealed.id
    if target.is_local:
        _copy(folder, sealed, target.folder)
    else:
        with _store_errors(target):
            _send(folder, sealed, target)
    return str(target)


def download(uri: str | os.PathLike[str], folder: Path, expected: str, *, most_bytes: int | None = None) -> Manifest:
    """Copy a shard into a new folder, which appears when all of it is there and its checksums are right.

    Args:
        uri: The shard.
        folder: The folder to make.
        expected: The id of the shard.
        most_bytes: Most bytes that its files may have.

    Raises:
        StoreError: It cannot be reached, is too large, is another shard, or its files are not as they were sealed; or
            the disk is full.
        UsageError, ModelError: As `read_manifest`.
    """
    at = place(uri)
    sealed = read_manifest(at_text := str(at))
    if sealed.id != expected:
        raise StoreError(f"it is another shard, {sealed.id[:16]}, and not {expected[:16]}: {shown(at_text)}")
    if most_bytes is not None and sealed.total_bytes > most_bytes:
        raise StoreError(f"it has more bytes than the catalogue says; restore the catalogue: {shown(at_text)}")
    if at.is_local:
        _copy(at.folder, sealed, folder)
        return sealed
    with _new_folder(folder) as part, _store_errors(at):
        for name, wanted in sealed.files.items():
            with _open(at / name) as source:
                _write(source, part / name, wanted, name, at_text)
        _write_seal(part, sealed)
    return sealed


def verify_remote(uri: str, *, quick: bool = False, expected: str | None = None) -> list[Problem]:
    """Compare a shard in an object store with its manifest, as `checking.verify`. Nothing is kept on this machine.

    What the manifest says of the memory is not compared with the memory.

    Raises:
        StoreError: It cannot be reached.
        UsageError, ModelError: As `read_manifest`.
    """
    at = place(uri)
    with _store_errors(at):
        if not _filesystem(at).exists((at / SEAL_NAME).path):
            return [Problem(SEAL_NAME, "it is missing, so the upload was not finished")]
    try:
        sealed = read_manifest(uri)
    except StoreError as error:
        return [Problem(SEAL_NAME, str(error).removesuffix(f": {at}"))]
    problems = [] if expected in (None, sealed.id) else [Problem(SEAL_NAME, f"it is another shard, {sealed.id}")]
    with _store_errors(at):
        sizes = _sizes(at)
        for name in sorted(sizes.keys() - sealed.files.keys() - {SEAL_NAME}):
            problems.append(Problem(name, "it was not there at sealing"))
        for name, wanted in sorted(sealed.files.items()):
            if name not in sizes:
                problems.append(Problem(name, "it is missing"))
            elif sizes[name] != wanted.bytes:
                problems.append(Problem(name, f"it has {sizes[name]:,} bytes, and had {wanted.bytes:,}"))
            elif not quick and _read_back(at / name, wanted.bytes) != wanted:
                problems.append(Problem(name, "its checksum is another one"))
    return problems


def exists(uri: str | os.PathLike[str]) -> bool:
    """Return True if there is a finished shard at an address. Raises as `read_manifest` if it cannot be reached."""
    at = place(uri)
    if at.is_local:
        return (at.folder / SEAL_NAME).is_file()
    with _store_errors(at):
        return bool(_filesystem(at).exists((at / SEAL_NAME).path))


def remove_parts(folder: Path) -> None:
    """Delete what copies that were killed left in a folder of shards. Only for who knows that no other is copying."""
    for part in folder.glob(f"*{_UNFINISHED}*"):
        shutil.rmtree(part, ignore_errors=True)


def _copy(source: Path, sealed: Manifest, target: Path) -> None:
    """Copy a shard to another folder on this machine."""
    try:
        if (target / SEAL_NAME).exists():
            checking.check_shard(target, sealed.id)
            return
        if target.exists():  # without a seal, as when someone copied a part of it by hand
            raise StoreError(f"something is in the way of the shard; remove it: {target}")
        with _new_folder(target) as part:
            for name, wanted in sealed.files.items():
                with os.fdopen(open_file(source / name, os.O_RDONLY), "rb") as file:
                    _write(file, part / name, wanted, name, str(source))
            _write_seal(part, sealed)
    except OSError as error:
        raise StoreError(f"the shard cannot be copied ({error.strerror}); check the disk: {target}") from None


@contextmanager
def _new_folder(target: Path) -> Iterator[Path]:
    """Give a folder that gets the name `target` at the end, if no other was faster; after an error it is deleted."""
    part = target.with_name(f"{target.name}{_UNFINISHED}{secrets.token_hex(4)}")
    try:
        (part / CACHE_NAME).mkdir(parents=True)
        yield part
        try:
            os.rename(part, target)
        except OSError:
            if not (target / SEAL_NAME).exists():
                raise
    except OSError as error:
        raise StoreError(f"the shard cannot be written ({error.strerror}); check the disk: {target}") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _write(source: BinaryIO, target: Path, wanted: SealedFile, name: str, where: str) -> None:
    """Write a file of a shard. Raises StoreError, before more than its bytes are written, if it is not as wanted."""
    total, sha = 0, hashlib.sha256()
    with open(target, "xb") as file:
        while chunk := source.read(_CHUNK):
            total += len(chunk)
            if total > wanted.bytes:
                break
            sha.update(chunk)
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    if SealedFile(total, sha.hexdigest()) != wanted:
        raise StoreError(f"a file of the shard is not as it was sealed ({name}); restore it: {shown(where)}")


def _write_seal(part: Path, sealed: Manifest) -> None:
    with open(part / SEAL_NAME, "xb") as file:
        file.write(sealed.text())
        file.flush()
        os.fsync(file.fileno())


def _send(folder: Path, sealed: Manifest, target: Place) -> None:
    files = _filesystem(target)
    files.invalidate_cache()
    if files.exists((target / SEAL_NAME).path):
        if problems := verify_remote(str(target), quick=True, expected=sealed.id):
            raise StoreError(f"another shard is there, or a damaged one ({problems[0]}); remove it: {target}")
        return
    for name in sealed.files:
        files.put_file(str(folder / name), (target / name).path)
    for name, wanted in sealed.files.items():
        if _read_back(target / name, wanted.bytes) != wanted:
            raise StoreError(f"a file did not arrive as it was sent ({name}); send the shard again: {target}")
    files.pipe_file((target / SEAL_NAME).path, sealed.text())
    if read_manifest(str(target)) != sealed:
        raise StoreError(f"{SEAL_NAME} did not arrive as it was sent; send the shard again: {target}")


def _read_back(at: Place, most: int) -> SealedFile:
    total, sha = 0, hashlib.sha256()
    with _open(at) as file:
        while total <= most and (chunk := file.read(_CHUNK)):
            sha.update(chunk)
            total += len(chunk)
    return SealedFile(total, sha.hexdigest())


def _sizes(at: Place) -> dict[str, int]:
    """Bytes of all objects of a shard, by name."""
    files = _filesystem(at)
    files.invalidate_cache()
    found = files.find(at.path, detail=True)
    return {key.removeprefix(at.path).lstrip("/"): int(entry["size"]) for key, entry in found.items()}


@needing("fleet", "a shard in an object store")
def _filesystem(at: Place) -> Any:
    import fsspec

    if at.protocol == "s3":
        import s3fs  # noqa: F401  fsspec's own error does not say which module is missing
    try:
        return fsspec.filesystem(at.protocol)
    except ImportError as error:
        raise ModelError(f"{at.protocol}:// needs another library ({error}); install it with pip") from None


def _open(at: Place) -> BinaryIO:
    file: BinaryIO = _filesystem(at).open(at.path, "rb", cache_type="readahead", block_size=_CHUNK)
    return file


@contextmanager
def _store_errors(at: Place) -> Iterator[None]:
    """Turn whatever a library of an object store raises into a StoreError without credentials."""
    try:
        yield
    except VidmemError:
        raise
    except FileNotFoundError:
        raise StoreError(f"there is no such shard, or it was not sent to its end; check the address: {at}") from None
    except Exception as error:  # each library has its own
        cause = shown(" ".join(str(error).split()))[:200] or type(error).__name__
        raise StoreError(
            f"the shard cannot be reached ({cause}); check the address and the credentials: {at}"
        ) from None
