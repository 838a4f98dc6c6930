"""Download weights from Hugging Face with `huggingface_hub`, or as a plain file from the web, and check their sha256.

Files that are present are checked one by one. Missing and damaged ones are downloaded; one that was put there by hand
is compared with Hugging Face.
"""

from __future__ import annotations

import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..errors import ModelError
from ..offline import is_offline, online
from .hub import (
    INDEX,
    Wanted,
    files_of,
    find,
    find_partial,
    first_present,
    part_names,
    read_record,
    record_sha256,
    remove_entry,
    write_atomically,
)
from .integrity import cut_short

Say = Callable[[str], None]
_TIMEOUT_S = 20
_MAX_PLAIN = 64 << 20  # bytes


@online()
def pull(wanted: Wanted, folder: Path, say: Say) -> Path:
    """Download what is missing or damaged of `wanted`, record the sha256 of its files, and return its path.

    Intact files are kept. From Hugging Face, the revision is the recorded one of the file or of another file of its
    folder, else the newest, which is then recorded. An interrupted download is resumed.

    Args:
        wanted: The file or folder of weights.
        folder: The folder of weights that it goes into.
        say: Called with each line of progress.

    Raises:
        ModelError: The weights are behind a licence, there is no network, huggingface_hub is not installed, or a file
            is not the published one; it is then removed.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        cause = f"the folder for weights cannot be created ({error.strerror})"
        raise ModelError(f"{cause}; choose another folder as `weights`: {folder}") from None
    path, present = find(wanted, folder), find_partial(wanted, folder)
    bad = _damaged(present, wanted, folder, say) if present is not None else []
    if (path is None or bad) and (wanted.repo or wanted.url):
        say(f"fetching the {wanted.role} ({wanted.licence})")
        if wanted.repo:
            _from_hub(wanted, folder, bad)
        else:
            _from_web(wanted, folder)
        path = find(wanted, folder)
    if path is None:
        raise ModelError(f"the {wanted.role} is missing: {wanted.access}; then put it into {folder}")
    for file in files_of(path):
        sha = record_sha256(file, folder, sha256=wanted.sha256)
        say(f"{file.relative_to(folder)}  sha256 {sha}")
    return path


def _damaged(path: Path, wanted: Wanted, folder: Path, say: Say) -> list[Path]:
    """The files that must be downloaded again. Raises ModelError for one that cannot be."""
    bad = []
    target = _target(wanted, folder)
    for file in files_of(path):
        name = file.relative_to(folder).as_posix()
        origin = str(read_record(folder).get(name, {}).get("from", ""))
        cause = _damage(file, wanted, folder, known=bool(origin))
        fetchable = bool(wanted.url) or file in _fetchable(wanted, target)
        if not cause and not origin and wanted.repo and fetchable:
            cause = _compare_with_hub(file, wanted, folder, say)
        if not cause:
            continue
        if not fetchable:
            remedy = wanted.access or "remove it and run this again"
            raise ModelError(f"the {wanted.role} is damaged ({cause}): {remedy}: {file}")
        say(f"{name}: {cause}; fetching it again")
        if not origin:  # an entry without origin was made from the damaged file
            remove_entry(file, folder)
        bad.append(file)
    return bad


def _damage(file: Path, wanted: Wanted, folder: Path, *, known: bool) -> str:
    """What is wrong with a file, or "". known: it was downloaded, so the record has the published sha256."""
    try:
        checked_before = known and bool(record_sha256(file, folder, sha256=wanted.sha256))
        cause = "" if checked_before else cut_short(file)
        if not cause and not checked_before:
            record_sha256(file, folder, sha256=wanted.sha256)
    except ModelError:
        return "it is not what was recorded or published"
    return cause


def _compare_with_hub(file: Path, wanted: Wanted, folder: Path, say: Say) -> str:
    """What is wrong with a file that was put there by hand, compared with Hugging Face, or "".

    Without a network the file is accepted, with a line that says so.
    """
    name = file.relative_to(_target(wanted, folder)).as_posix()
    try:
        if is_offline():
            raise OSError("HF_HUB_OFFLINE is set")
        facts = _facts(wanted, name, None)
    except Exception as error:  # each version of the library has its own errors; the file may be intact
        reason = " ".join(str(error).split())[:100] or type(error).__name__
        say(f"{file.relative_to(folder)}: not compared with Hugging Face ({reason})")
        return ""
    size = getattr(facts, "size", None)
    if size is not None and size != file.stat().st_size:
        return f"it has {file.stat().st_size:,} bytes, Hugging Face has {size:,}"
    try:
        record_sha256(file, folder, origin=_origin(wanted, facts), sha256=_published_sha256(facts), again=True)
    except ModelError:
        return "it is not what Hugging Face has"
    return ""


def _target(wanted: Wanted, folder: Path) -> Path:
    """The folder that the files of `wanted` go into."""
    return folder / wanted.repo.split("/")[1] if wanted.nested else folder


def _fetchable(wanted: Wanted, target: Path) -> list[Path]:
    """All files that can be downloaded, those of an index included."""
    found = [target / name for entry in wanted.files for name in entry.split("|") if name]
    return found + [target / part for path in found if path.name.endswith(INDEX) for part in part_names(path)]


def offline_remedy(wanted: Wanted, folder: Path) -> str:
    """What to type on a machine with a network, and what to copy from there."""
    if wanted.repo:
        target = wanted.repo.split("/")[1] if wanted.nested else "weights"
        names = [entry.split("|")[0] for entry in wanted.files if "" not in entry.split("|")]
        fetch = f"`hf download {wanted.repo} {' '.join(names)} --local-dir {target}`"
        back = target if wanted.nested else " ".join(f"{target}/{name}" for name in names)
    else:
        name = wanted.url.rsplit("/", 1)[-1]
        fetch, back = f"`curl -LO {wanted.url}`", name
    gated = bool(wanted.repo and wanted.access)
    first = f"accept the licence at https://huggingface.co/{wanted.repo}, then " if gated else ""
    return f"{first}on a machine with a network run {fetch} and copy {back} into {folder}"


def _from_hub(wanted: Wanted, folder: Path, bad: Sequence[Path]) -> None:
    """Download missing files and those of `bad`."""
    _library()
    if is_offline():
        raise _unreachable("HF_HUB_OFFLINE is set", wanted, folder)
    target = _target(wanted, folder)
    for entry in wanted.files:
        present = first_present(entry, target)
        if present is None or present == target or present in bad:
            present = _first(entry.split("|"), wanted, folder)
        if present is not None and present.name.endswith(INDEX):
            for name in part_names(present):
                if not (target / name).is_file() or target / name in bad:
                    _first([name], wanted, folder)


def _first(names: Sequence[str], wanted: Wanted, folder: Path) -> Path | None:
    """Download the first of the names that Hugging Face has; None for the name ""."""
    import huggingface_hub as hub

    target = _target(wanted, folder)
    for name in names:
        if not name:
            return None
        path = target / name
        revision = _revision(path, wanted, folder)
        try:
            facts = _facts(wanted, name, revision)
            # Forced, a present file is replaced; not forced, an interrupted download is resumed.
            hub.hf_hub_download(
                wanted.repo, name, revision=facts.commit_hash, local_dir=target, force_download=path.exists()
            )
        except Exception as error:  # each version of the library, and of its HTTP library, has its own
            if _no_such_file(error) and name != names[-1]:
                continue
            raise _cause(error, wanted, folder) from None
        try:
            record_sha256(path, folder, origin=_origin(wanted, facts), sha256=_published_sha256(facts))
        except ModelError:
            path.unlink(missing_ok=True)
            raise
        return path
    return None


def _facts(wanted: Wanted, name: str, revision: str | None) -> Any:
    hub = _library()
    return hub.get_hf_file_metadata(hub.hf_hub_url(wanted.repo, name, revision=revision))


def _revision(path: Path, wanted: Wanted, folder: Path) -> str | None:
    """The recorded revision of a file, else of another of its folder: the files of a model belong together."""
    record = read_record(folder)
    own = record.get(path.relative_to(folder).as_posix(), {})
    siblings = record.values() if wanted.nested else []
    for entry in (own, *siblings):
        place, _, revision = str(entry.get("from", "")).partition("@")
        if revision and place == f"huggingface.co/{wanted.repo}":
            return revision
    return None


def _origin(wanted: Wanted, facts: Any) -> str:
    return f"huggingface.co/{wanted.repo}@{facts.commit_hash}"


def _published_sha256(facts: Any) -> str:
    """The sha256 that the Hub has for a large file; "" for a small one, whose tag is the hash of git."""
    return facts.etag if facts.etag and len(facts.etag) == 64 else ""


def _library() -> Any:
    try:
        import huggingface_hub
    except ImportError:
        raise ModelError("fetching weights needs huggingface_hub; pip install 'vidmem[tren]'") from None
    return huggingface_hub


def _from_web(wanted: Wanted, folder: Path) -> None:
    path = folder / wanted.url.rsplit("/", 1)[-1]
    if is_offline():
        raise _unreachable("HF_HUB_OFFLINE is set", wanted, folder)
    try:
        with urllib.request.urlopen(wanted.url, timeout=_TIMEOUT_S) as answer:  # all addresses are in this package
            data = answer.read(_MAX_PLAIN)
    except Exception as error:
        raise _cause(error, wanted, folder) from None
    try:
        write_atomically(path, data)
    except OSError as error:
        cause = f"the weights cannot be written ({error.strerror})"
        raise ModelError(f"{cause}; choose another folder as `weights`: {folder}") from None
    try:
        record_sha256(path, folder, origin=wanted.url, sha256=wanted.sha256)
    except ModelError:
        path.unlink(missing_ok=True)
        raise


def _no_such_file(error: Exception) -> bool:
    return any(kind.__name__.endswith("EntryNotFoundError") for kind in type(error).__mro__)


def _cause(error: Exception, wanted: Wanted, folder: Path) -> ModelError:
    kinds = {kind.__name__ for kind in type(error).__mro__}
    status: Any = getattr(getattr(error, "response", None), "status_code", None)
    if "GatedRepoError" in kinds or status in (401, 403):
        return ModelError(
            f"the {wanted.role} is behind the {wanted.licence}: {wanted.access}; then put it into {folder}"
        )
    gone = bool(kinds & {"RepositoryNotFoundError", "RevisionNotFoundError"}) or _no_such_file(error)
    if gone and status == 404:
        return ModelError(
            f"the {wanted.role} is no longer where it was ({wanted.repo}); look for it on the page of "
            f"the project and put it into {folder}"
        )
    reason = " ".join(str(error).split())[:100] or type(error).__name__
    return _unreachable(reason, wanted, folder)


def _unreachable(reason: str, wanted: Wanted, folder: Path) -> ModelError:
    return ModelError(f"the {wanted.role} cannot be fetched ({reason}); {offline_remedy(wanted, folder)}")
