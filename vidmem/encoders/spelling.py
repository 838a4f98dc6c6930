"""Options at the end of the spelling of an encoder or of masks: `NAME,key=512`."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..errors import UsageError

_NUMBERS = re.compile(r"(?:,[a-z]+=\d{1,6})*$")


def split_options(spec: str, known: Mapping[str, tuple[int, int]]) -> tuple[str, dict[str, int]]:
    """Split a spelling into what comes before the options, and the options. A folder's name may contain commas.

    known: Minimum and maximum of each option.

    Raises:
        UsageError: An option is unknown, given twice or out of range.
    """
    match = _NUMBERS.search(spec)
    assert match is not None  # it may be empty
    options: dict[str, int] = {}
    for part in filter(None, match[0].split(",")):
        key, number = part.split("=")
        if key not in known or key in options:
            raise UsageError(f"{part!r} is not an option or is given twice; options: {', '.join(known)}: {spec}")
        least, most = known[key]
        if not least <= int(number) <= most:
            raise UsageError(f"{key} is from {least} to {most}, got {number}: {spec}")
        options[key] = int(number)
    return spec[: match.start()], options
