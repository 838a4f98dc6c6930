"""What a question is given in Python, as people write it: times, boxes, pictures, names.

The command line takes the same forms, and reads them here. Messages call an argument `name`; it puts its options there.
"""

from __future__ import annotations

import math
import operator
import os
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from .clock import parse_time
from .errors import UsageError
from .when import Moment, parse_moment

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from .records import Box

    Crop: TypeAlias = "str | tuple[str | os.PathLike[str], int, Box]"
    Picture: TypeAlias = "str | os.PathLike[str] | Image.Image | NDArray[np.uint8]"
    Names: TypeAlias = "str | os.PathLike[str] | Sequence[str | os.PathLike[str]]"
    Time: TypeAlias = "str | Moment"

_CROP = re.compile(r"(?P<source>.+)@(?P<time>[^@]+):(?P<box>[^:@]+)", re.DOTALL)


def moment(value: Time | None) -> Moment | None:
    """A point in time, as `when.parse_moment` reads it. Raises UsageError."""
    return parse_moment(value) if isinstance(value, str) else value


def crop(value: Crop) -> tuple[str, int, Box]:
    """Source, ns and box x0, y0, x1, y1 from these, or from "VIDEO@TIME:X,Y,W,H". Raises UsageError."""
    if not isinstance(value, str):
        source, t_ns, (x0, y0, x1, y1) = value
        return os.fspath(source), int(t_ns), (float(x0), float(y0), float(x1), float(y1))
    match = _CROP.fullmatch(value)
    numbers = match["box"].split(",") if match else []
    try:
        x, y, w, h = (float(n) for n in numbers)
    except ValueError:
        match = None
    if match is None or not all(map(math.isfinite, (x, y, w, h))):
        raise UsageError(f"`crop` is VIDEO@TIME:X,Y,W,H, such as walk.mp4@12.5s:100,80,60,60; got {value!r}")
    return match["source"], parse_time(match["time"]), (x, y, x + w, y + h)


def several(value: Names) -> list[str]:
    """Names or paths, one or more."""
    return [os.fspath(v) for v in ([value] if isinstance(value, str | os.PathLike) else value)]


def within_ns(value: str) -> int:
    """Nanoseconds of a length of time such as "2s". Raises UsageError."""
    if not isinstance(value, str):
        raise UsageError(f"`within` is a text such as '2s' or '0.5s'; got {value!r}")
    return parse_time(value)


def top(value: int | None) -> int | None:
    """How many sightings, None for all. Raises UsageError."""
    if value is None:
        return None
    try:
        number = operator.index(value)
    except TypeError:
        number = 0
    if number < 1 or isinstance(value, bool):
        raise UsageError(f"`top` is a whole number from 1 up, or None for all; got {value!r}")
    return number


def share(name: str, value: float | None) -> None:
    """Raises UsageError for a `threshold` or `min_probability` that can be none."""
    if value is None:
        return
    if not math.isfinite(value):
        raise UsageError(f"`{name}` is {'a score' if name == 'threshold' else 'a number'} between 0 and 1; got {value}")
    if name == "min_probability" and not 0 <= value <= 1:
        raise UsageError(f"`{name}` is a probability, between 0 and 1; got {value}")


def picture(value: Picture) -> Image.Image:
    """A picture of a thing: a file, a PIL picture, or an array `(H, W, 3)` uint8 RGB, also with alpha or grey.

    Raises UsageError for an array that is no picture, MediaError for a file that cannot be read.
    """
    import numpy as np
    from PIL import Image

    from .query.picture import load_picture, opaque

    if isinstance(value, str | os.PathLike):
        return load_picture(os.fspath(value))
    if isinstance(value, np.ndarray):
        return opaque(_image(value))
    if not isinstance(value, Image.Image):
        raise UsageError(f"`image` is a path, a PIL picture or an array (H, W, 3) of uint8; got {type(value).__name__}")
    if not all(value.size):
        raise UsageError("`image` is empty; it has no pixels")
    return opaque(value)


def _image(given: NDArray[Any]) -> Image.Image:
    import numpy as np
    from PIL import Image

    shape = given.shape[:2] if given.ndim == 3 and given.shape[2] == 1 else given.shape
    if given.dtype != np.uint8 or not (len(shape) == 2 or (len(shape) == 3 and shape[2] in (3, 4))):
        remedy = "; multiply by 255 and use astype('uint8')" if given.dtype.kind == "f" else ""
        raise UsageError(f"`image` is an array (H, W, 3) of uint8, RGB; got {given.shape} of {given.dtype}{remedy}")
    if not given.size:
        raise UsageError(f"`image` is empty; got {given.shape}")
    return Image.fromarray(np.ascontiguousarray(given.reshape(shape)))
