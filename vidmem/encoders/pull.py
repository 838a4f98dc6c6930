"""Fetching weights: from Hugging Face with `huggingface_hub`, or a plain file from the web; each with its checksum."""

from __future__ import annotations

import os
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import ModelError
from .hub import Wanted, checked, files_of, find, read_record, write_atomically

Say = Callable[[str], None]
_TIMEOUT_S = 20
_LARGEST_PLAIN = 64 << 20


def pull(wanted: Wanted, folder: Path, say: Say) -> Path:
    """Fetch `wanted` into `folder` if it is not there, and record the sha256 of its files; its path.

    A file of Hugging Face is fetched at the revision that the record names, else at the newest, which is recorded.
    Raises ModelError: it is behind a licence, there is no network, the library is missing, or it is not what it
    should be; what was fetched of it is then removed.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        cause = f"the folder for weights cannot be made ({error.strerror})"
        raise ModelError(f"{cause}; choose --weights: {folder}") from None
    path = find(wanted, folder)
    if path is None:
        say(f"fetching the {wanted.role} ({wanted.licence})")
        if wanted.repo:
            _from_hub(wanted, folder)
        elif wanted.url:
            _from_web(wanted, folder)
        path = find(wanted, folder)
    if path is None:
        raise ModelError(f"the {wanted.role} is missing: {wanted.access}; then put it into {folder}")
    for file in files_of(path):
        sha = checked(file, folder, sha256=wanted.sha256)
        say(f"{file.relative_to(folder)}  sha256 {sha}")
    return path


def offline_remedy(wanted: Wanted, folder: Path) -> str:
    """What to type on a machine with a network, and what to copy back."""
    if wanted.repo:
        target = wanted.repo.split("/")[1] if wanted.nested else "weights"
        fetch = f"`hf download {wanted.repo} {' '.join(wanted.files)} --local-dir {target}`"
        back = target if wanted.nested else " ".join(f"{target}/{name}" for name in wanted.files)
    else:
        name = wanted.url.rsplit("/", 1)[-1]
        fetch, back = f"`curl -LO {wanted.url}`", name
    gated = bool(wanted.repo and wanted.access)
    first = f"accept the licence at https://huggingface.co/{wanted.repo}, then " if gated else ""
    return f"{first}on a machine with a network run {fetch} and copy {back} into {folder}"


def _from_hub(wanted: Wanted, folder: Path) -> None:
    try:
        import huggingface_hub as hub
    except ImportError:
        raise ModelError("fetching weights needs huggingface_hub; pip install 'vidmem[tren]'") from None
    target = folder / wanted.repo.split("/")[1] if wanted.nested else folder
    if _offline():
        raise _unreachable("HF_HUB_OFFLINE is set", wanted, folder)
    record = read_record(folder)
    for name in wanted.files:
        path = target / name
        entry = record.get(path.relative_to(folder).as_posix(), {})
        try:
            revision = str(entry.get("from", "")).partition("@")[2] or None
            facts = hub.get_hf_file_metadata(hub.hf_hub_url(wanted.repo, name, revision=revision))
            hub.hf_hub_download(wanted.repo, name, revision=facts.commit_hash, local_dir=target)
        except Exception as error:  # each version of the library, and of the HTTP library below it, has its own
            raise _cause(error, wanted, folder) from None
        # For large files the Hub's tag is their sha256; small ones are named by git.
        told = facts.etag if facts.etag and len(facts.etag) == 64 else ""
        try:
            checked(path, folder, origin=f"huggingface.co/{wanted.repo}@{facts.commit_hash}", sha256=told)
        except ModelError:
            path.unlink(missing_ok=True)
            raise


def _from_web(wanted: Wanted, folder: Path) -> None:
    path = folder / wanted.url.rsplit("/", 1)[-1]
    if _offline():
        raise _unreachable("HF_HUB_OFFLINE is set", wanted, folder)
    try:
        with urllib.request.urlopen(wanted.url, timeout=_TIMEOUT_S) as answer:  # the addresses are ours
            data = answer.read(_LARGEST_PLAIN)
    except Exception as error:
        raise _cause(error, wanted, folder) from None
    try:
        write_atomically(path, data)
    except OSError as error:
        raise ModelError(f"the weights cannot be written ({error.strerror}); choose --weights: {folder}") from None
    try:
        checked(path, folder, origin=wanted.url, sha256=wanted.sha256)
    except ModelError:
        path.unlink(missing_ok=True)
        raise


def _offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def _cause(error: Exception, wanted: Wanted, folder: Path) -> ModelError:
    kinds = {kind.__name__ for kind in type(error).__mro__}
    status: Any = getattr(getattr(error, "response", None), "status_code", None)
    if "GatedRepoError" in kinds or status in (401, 403):
        return ModelError(f"the {wanted.role} is behind the {wanted.licence}: {wanted.access}; then put it into "
                          f"{folder}")  # fmt: skip
    if kinds & {"RepositoryNotFoundError", "RevisionNotFoundError", "EntryNotFoundError"} and status == 404:
        return ModelError(f"the {wanted.role} is no longer where it was ({wanted.repo}); look for it on the page of "
                          f"the project and put it into {folder}")  # fmt: skip
    reason = " ".join(str(error).split())[:100] or type(error).__name__
    return _unreachable(reason, wanted, folder)


def _unreachable(reason: str, wanted: Wanted, folder: Path) -> ModelError:
    return ModelError(f"the {wanted.role} cannot be fetched ({reason}); {offline_remedy(wanted, folder)}")
