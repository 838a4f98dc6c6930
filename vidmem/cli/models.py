"""`vidmem models`: the encoders, and their weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from ..encoders import DEFAULT, check, find, knows, load_text
from ..encoders.hub import Wanted, files_of, record_sha256, weights_folder
from ..encoders.hub import find as find_weights
from ..encoders.registry import BUILT_IN, names, problems
from ..errors import ModelError, UsageError
from . import completion
from .messages import say, warn
from .options import WeightsOption
from .output import Listing, Row, Show, listing, size

PARTS = ("sam2",)
"""Models with weights that are not encoders."""


def _complete_name(incomplete: str) -> list[str]:
    return [name for name in (*completion.encoders(""), *PARTS) if name.startswith(incomplete) and name != "tiny"]


@listing
def models(
    action: Annotated[
        str | None,
        typer.Argument(
            metavar="pull", help="Fetch weights.", show_default=False, autocompletion=completion.choices("pull")
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help="An encoder, or sam2.",
            show_default=False,
            autocompletion=_complete_name,
        ),
    ] = None,
    weights: WeightsOption = None,
    *,
    show: Show,
) -> int:
    """List the encoders, or fetch the weights of one.

    The list says what each encoder knows, whether its weights are present, and their size and licence.

    \b
    Examples:
      vidmem models
      vidmem models pull clip
    """
    if action is None:
        return _list(weights_folder(weights), show)
    if action != "pull" or name is None:
        raise UsageError(
            "`vidmem models` lists encoders, `vidmem models pull NAME` fetches weights; such as `vidmem "
            "models pull tren`"
        )
    return _pull(name, weights_folder(weights), show)


def _list(folder: Path, show: Show) -> int:
    warnings, rows = problems(), []
    for name in names():
        try:
            rows.append(_row(name, folder))
        except Exception as error:  # the code of another package can raise anything
            if name in BUILT_IN:
                raise
            rows.append(_fill(name, state="broken"))
            if str(error) not in warnings:
                warnings.append(f"the encoder {name!r} cannot be used: {error}; update or uninstall its package")
    table = [("name", "weights", "size", "any phrase", "licence", "knows")]
    table += [
        (
            row["name"] + (" (default)" if row["default"] else ""),
            row["state"],
            "-" if not row["bytes"] else size(row["bytes"]),
            "yes" if row["open_vocabulary"] else "no",
            row["licence"],
            row["knows"],
        )
        for row in rows
    ]
    show(Listing(rows, table))
    for warning in warnings:
        warn(warning)
    if any(row["missing"] for row in rows):
        say(f"`vidmem models pull NAME` fetches missing weights, or says how to get them; they go to {folder}")
    return 0


def _row(name: str, folder: Path) -> Row:
    spec = find(name)
    known, open_vocabulary = knows(name)
    facts = {"knows": known, "open_vocabulary": open_vocabulary, "licence": spec.licence}
    if spec.wanted is not None:
        state, total, missing = _state(spec.wanted(""), folder)
        return _fill(name, state=state, missing=missing, bytes=total or None, **facts)
    shipped_bytes = None if spec.shipped_bytes is None else spec.shipped_bytes()
    state = "nothing to download" if shipped_bytes is None else "shipped"
    return _fill(name, state=state, bytes=shipped_bytes or None, weights=load_text(name).info.weights, **facts)


def _fill(name: str, **facts: object) -> Row:
    """A row with defaults for what `facts` leaves out."""
    row: Row = {
        "name": name,
        "default": name == DEFAULT,
        "knows": "",
        "open_vocabulary": False,
        "shipped": facts.get("state") == "shipped",
        "state": "",
        "missing": [],
        "bytes": None,
        "licence": "",
        "weights": None,
    }
    return row | facts


def _state(files: Sequence[Wanted], folder: Path) -> tuple[str, int, list[str]]:
    """The state in a few words, the bytes that are present, and the roles of missing files."""
    missing, total = [], 0
    for wanted in files:
        try:
            path = find_weights(wanted, folder)
        except ModelError:
            return "not clear, see `pull`", total, [wanted.role]
        if path is None:
            missing.append(wanted.role)
        else:
            total += sum(file.stat().st_size for file in files_of(path))
    return ("here" if not missing else f"{len(missing)} of {len(files)} missing"), total, missing


def _pull(name: str, folder: Path, show: Show) -> int:
    """Fetch all files that can be fetched, and warn about the others."""
    from ..encoders.masks.sam2 import wanted as sam2_wanted  # slow to import
    from ..encoders.pull import pull

    part, _, backbone = name.partition(":")
    if part not in PARTS:
        check(name)
    wanted_of = sam2_wanted if part in PARTS else find(name).wanted
    if wanted_of is None:
        raise UsageError(f"`{part}` needs no download")
    rows: list[Row] = []
    failed = 0
    for wanted in wanted_of(backbone):
        try:
            path = pull(wanted, folder, say)
        except ModelError as error:
            warn(f"vidmem: {error}")
            failed += 1
            continue
        for file in files_of(path):
            rows.append(
                {
                    "role": wanted.role,
                    "file": str(file),
                    "bytes": file.stat().st_size,
                    "sha256": record_sha256(file, folder),
                    "licence": wanted.licence,
                }
            )
    table = [("weights", "size", "licence", "file")]
    table += [(row["role"], size(row["bytes"]), row["licence"], row["file"]) for row in rows]
    show(Listing(rows, table))
    return ModelError.exit_code if failed else 0
