"""Values from files of others, short enough for a message."""

from __future__ import annotations

import reprlib
from typing import Any

MOST = 100
"""Characters of a text in a message."""

_REPR = reprlib.Repr()
_REPR.maxlevel, _REPR.maxlist, _REPR.maxtuple, _REPR.maxdict, _REPR.maxset = 2, 3, 3, 2, 3
"""Two levels deep: lists in a pickle can hold the same list many times, so that the whole would never end."""


def short(value: Any) -> str:
    """The `repr` of a value, shortened; its type if it has none."""
    try:
        return cut(_REPR.repr(value))
    except (ValueError, RecursionError):  # a number of thousands of digits
        return f"a value of type {type(value).__name__}"


def cut(text: str, most: int = MOST) -> str:
    """The text, or its beginning with dots when it has more than `most` characters."""
    return text if len(text) <= most else f"{text[: most - 3]}..."
