"""`vidmem models`: the encoders there are, and their weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ModelError, UsageError
from . import completing
from .options import WeightsOption
from .output import Listing, Row, Show, listing, say, size, warn

if TYPE_CHECKING:
    from ..encoders.hub import Wanted

PARTS = ("sam2",)
"""What has weights but is not an encoder."""


@listing
def models(
    action: Annotated[
        str | None,
        typer.Argument(
            metavar="pull", help="Fetch weights.", show_default=False, autocompletion=completing.one_of("pull")
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help="Whose weights, such as tren or sam2.",
            show_default=False,
            autocompletion=completing.weights_of,
        ),
    ] = None,
    weights: WeightsOption = None,
    *,
    show: Show,
) -> int:
    """List the encoders, or fetch the weights of one.

    What each knows, whether its weights are here, their size and their licence.
    """
    from ..encoders.hub import weights_folder

    if action is None:
        return _list(weights_folder(weights), show)
    if action != "pull" or name is None:
        raise UsageError("`vidmem models` lists, `vidmem models pull NAME` fetches, such as vidmem models pull tren")
    return _pull(name, weights_folder(weights), show)


def _list(folder: Path, show: Show) -> int:
    from ..encoders.registry import BUILT_IN, names, problems

    told, rows = problems(), []
    for name in names():
        try:
            rows.append(_row(name, folder))
        except Exception as error:  # a package's own code may raise anything
            if name in BUILT_IN:
                raise
            rows.append(_facts(name, state="broken"))
            if str(error) not in told:
                told.append(f"the encoder {name!r} cannot be used: {error}; update or uninstall its package")
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
    for problem in told:
        warn(problem)
    if any(row["missing"] for row in rows):
        say(f"missing weights go to {folder}; `vidmem models pull NAME` fetches what it can, and tells the rest")
    return 0


def _row(name: str, folder: Path) -> Row:
    from ..encoders import find, knows, load_text

    spec = find(name)
    known, open_vocabulary = knows(name)
    facts = {"knows": known, "open_vocabulary": open_vocabulary, "licence": spec.licence}
    if spec.wanted is not None:
        state, total, missing = _state(spec.wanted(""), folder)
        return _facts(name, state=state, missing=missing, bytes=total or None, **facts)
    size = None if spec.shipped_bytes is None else spec.shipped_bytes()
    state = "needs download" if size is None else "shipped"
    return _facts(name, state=state, bytes=size or None, weights=load_text(name).info.weights, **facts)


def _facts(name: str, **more: object) -> Row:
    """A row with everything that `more` leaves out."""
    from ..encoders import DEFAULT

    row: Row = {
        "name": name,
        "default": name == DEFAULT,
        "knows": "",
        "open_vocabulary": False,
        "shipped": more.get("state") == "shipped",
        "state": "",
        "missing": [],
        "bytes": None,
        "licence": "",
        "weights": None,
    }
    return row | more


def _state(files: Sequence[Wanted], folder: Path) -> tuple[str, int, list[str]]:
    """A word for people, bytes that are here, roles of what is not."""
    from ..encoders.hub import files_of, find

    missing, total = [], 0
    for wanted in files:
        try:
            path = find(wanted, folder)
        except ModelError:
            return "not clear, see `pull`", total, [wanted.role]
        if path is None:
            missing.append(wanted.role)
        else:
            total += sum(file.stat().st_size for file in files_of(path))
    return ("here" if not missing else f"{len(missing)} of {len(files)} missing"), total, missing


def _pull(name: str, folder: Path, show: Show) -> int:
    """Fetches all it can before it tells what it could not."""
    from ..encoders import check, find
    from ..encoders.hub import checked, files_of
    from ..encoders.masks.sam2 import wanted as sam2_wanted
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
                    "sha256": checked(file, folder),
                    "licence": wanted.licence,
                }
            )
    table = [("weights", "size", "licence", "file")]
    table += [(row["role"], size(row["bytes"]), row["licence"], row["file"]) for row in rows]
    show(Listing(rows, table))
    return ModelError.exit_code if failed else 0
