"""`vidmem models`: the encoders there are, and their weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ModelError, UsageError
from . import completing
from .options import WeightsOption
from .output import Listing, Row, Show, listing, say, size, warn

if TYPE_CHECKING:
    from ..encoders.hub import Wanted

PARTS = {"sam2": "vidmem.encoders.masks.sam2"}
"""What has weights and is no encoder."""


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
    import importlib

    from ..encoders import DEFAULT, ENCODERS, knows, load_text

    rows: list[Row] = []
    for name, path in ENCODERS.items():
        module = importlib.import_module(path)
        if hasattr(module, "wanted"):
            files = module.wanted("")
            state, total, missing = _state(files, folder)
            identity, licence = None, module.LICENCE
        else:
            shipped = getattr(module, "shipped_bytes", lambda: None)()
            state, total, missing = "needs download" if shipped is None else "shipped", shipped or 0, []
            identity, licence = load_text(name).info.weights, "as vidmem"
        known, open_vocabulary = knows(name)
        rows.append(
            {
                "name": name,
                "default": name == DEFAULT,
                "knows": known,
                "open_vocabulary": open_vocabulary,
                "shipped": state == "shipped",
                "state": state,
                "missing": missing,
                "bytes": total or None,
                "licence": licence,
                "weights": identity,
            }
        )
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
    if any(row["missing"] for row in rows):
        say(f"missing weights go to {folder}; `vidmem models pull NAME` fetches what it can, and tells the rest")
    return 0


def _state(files: list[Wanted], folder: Path) -> tuple[str, int, list[str]]:
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
    import importlib

    from ..encoders import ENCODERS, check
    from ..encoders.hub import checked, files_of
    from ..encoders.pull import pull

    spec, _, backbone = name.partition(":")
    if spec not in PARTS:
        check(name)
    module: Any = importlib.import_module(PARTS.get(spec) or ENCODERS[spec])
    if not hasattr(module, "wanted"):
        raise UsageError(f"`{spec}` needs no download")
    rows: list[Row] = []
    failed = 0
    for wanted in module.wanted(backbone):
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
