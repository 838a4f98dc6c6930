"""`vidmem models`: the encoders there are."""

from __future__ import annotations

from ..output import Listing, Row, Show, listing, size


@listing
def models(*, show: Show) -> int:
    """List the encoders.

    What each knows, whether its weights are here, and their size.
    """
    import importlib

    from ..encoders import DEFAULT, ENCODERS, load_text

    rows: list[Row] = []
    for name, module in ENCODERS.items():
        facts = load_text(name).info
        shipped = getattr(importlib.import_module(module), "shipped_bytes", lambda: None)()
        rows.append({
            "name": name, "default": name == DEFAULT, "knows": facts.knows, "open_vocabulary": facts.open_vocabulary,
            "shipped": shipped is not None, "bytes": shipped, "weights": facts.weights,
        })  # fmt: skip
    table = [("name", "weights", "size", "any phrase", "knows")]
    table += [
        (row["name"] + (" (default)" if row["default"] else ""), "shipped" if row["shipped"] else "needs download",
         "-" if row["bytes"] is None else size(row["bytes"]), "yes" if row["open_vocabulary"] else "no", row["knows"])
        for row in rows
    ]  # fmt: skip
    show(Listing(rows, table))
    return 0
