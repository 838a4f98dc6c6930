"""`vidmem export` to a single file, data.jsonl."""

from __future__ import annotations

import json
import random
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ..errors import MediaError
from ..export.instruct import records
from ..replacing import replacing
from .export_sources import Input, open_pictures
from .output import Listing, Row, Show
from .saving import cannot_write

if TYPE_CHECKING:
    from ..export.instruct import Ask, Style
    from ..export.textmask import Form


def write_single_file(
    given: Input, out: Path, *, style: str, ask: str, absent: int, form: str, seed: int, show: Show
) -> int:
    """Write data.jsonl and show where it is; the exit code of the command."""
    pictures, names = open_pictures(given)
    first = next(pictures, None)  # most mistakes show here, before anything is written
    if first is None:
        annotated = given.everything or given.coco or given.vspw
        hint = "" if annotated else "; --all also uses improbable labels"
        raise MediaError(f"there is no picture with a mask; index a video or give annotations{hint}")
    path = out / "data.jsonl"
    picture_count = record_count = 0
    try:
        out.mkdir(parents=True, exist_ok=True)
        with replacing(path) as part, open(part, "w", encoding="utf-8") as file:
            for item in chain([first], pictures):
                others = [name for name in names if name not in item.present]
                made: list[dict[str, Any]] = records(
                    item.mask,
                    item.path,
                    style=cast("Style", style),  # the command checks it
                    ask=cast("Ask", ask),  # `records` checks it
                    absent=random.Random(f"{seed} {item.key} absent").sample(others, min(absent, len(others))),
                    form=cast("Form", form),  # the command checks it
                    seed=seed,
                    key=item.key,
                )
                file.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in made)
                record_count += len(made)
                picture_count += 1
    except OSError as error:
        raise cannot_write("the data", error, str(out)) from None
    row: Row = {"data": str(path), "pictures": picture_count, "records": record_count}
    table = [("data", "pictures", "records"), (str(path), str(picture_count), str(record_count))]
    show(Listing([row], table, row))
    return 3 if given.missing else 0
