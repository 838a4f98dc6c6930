"""The arguments of `Memory`, as people write them: times, boxes, pictures, names, numbers. They are checked here, once.

Each function returns the value in one form, or raises UsageError. The command line takes the same forms and reads them
here; messages call an argument `name`, which the command line replaces by its option.
"""

from __future__ import annotations

import math
import operator
import os
import re
from collections.abc import Iterable, Mapping
from datetime import date
from numbers import Real
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

from ..errors import MediaError, UsageError
from ..timecode import FORMS, LONGEST_NS, Moment, in_range, moment_of, parse_moment, parse_time

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from ..records import Box, Sighting

    Path: TypeAlias = "str | os.PathLike[str]"
    Crop: TypeAlias = "str | tuple[Path, int | str, Box]"
    Picture: TypeAlias = "Path | Image.Image | NDArray[np.uint8]"
    Names: TypeAlias = "str | Iterable[str] | None"
    Sources: TypeAlias = "Path | Iterable[Path] | None"
    Time: TypeAlias = "str | date | Moment"

T = TypeVar("T")
MAX_GAP = 1_000_000
"""The largest `apart`, in longest sides of a box; no picture is so wide."""
_CROP = re.compile(r"(?P<source>.+)@(?P<time>[^@]+):(?P<box>[^:@]+)", re.DOTALL)
_CROP_FORMS = "VIDEO@TIME:X,Y,W,H, such as walk.mp4@12.5s:100,80,60,60"
_SHOWN = 60
"""How many characters of a wrong value a message shows."""
_MAX_SCORE = 1000.0
"""The largest threshold: far above all scores, and a number that fits 32 bits."""
_MAX_PIXEL = 1 << 20
"""Beyond all pictures."""
_DIGITS = 40
"""The most digits of the id of a track."""


def got(value: object) -> str:
    """A wrong value as a message shows it: on one short line."""
    try:
        text = " ".join(repr(value).split())
    except Exception:  # a repr may raise anything, also that of an int of 5,000 digits
        return type(value).__name__
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({type(value).__name__})"


def made(name: str, value: Any, kind: type[T] | tuple[type[T], ...], what: str) -> T:
    """The value, if it is of that kind. what: the kind in words. Raises UsageError otherwise."""
    if not isinstance(value, kind):
        raise UsageError(f"`{name}` is {what}; got {got(value)}")
    return value


def flags(**named: bool) -> None:
    """Raise UsageError for a value that is neither True nor False."""
    for name, value in named.items():
        # NumPy's bool is known by its name: NumPy is slow to import, and the command line starts here.
        if not isinstance(value, bool) and type(value).__name__ not in ("bool", "bool_"):
            raise UsageError(f"`{name}` is True or False; got {got(value)}")


def calls(**named: object) -> None:
    """Raise UsageError for a value that is neither None nor callable."""
    for name, value in named.items():
        if value is not None and not callable(value):
            raise UsageError(f"`{name}` is a function, or None; got {got(value)}")


def text(name: str, value: Any) -> str:
    """A text, possibly empty. Raises UsageError."""
    return made(name, value, str, "a text")


def phrase(name: str, value: Any, remedy: str = "name a thing, such as umbrella") -> str:
    """A text that is not blank. Raises UsageError."""
    given = text(name, value)
    if not given.strip():
        what = "the text" if name == "text" else f"`{name}`"  # not an option on the command line
        raise UsageError(f"{what} is empty; {remedy}")
    return given


def path(name: str, value: Any) -> str:
    """A path or a name. Raises UsageError, also for an empty one and for bytes."""
    try:
        given = os.fspath(value)
    except TypeError:
        given = None
    if not isinstance(given, str) or "\0" in given or not _encodable(given):
        raise UsageError(f"`{name}` is a path or a name; got {got(value)}")
    if not given:
        raise UsageError(f"`{name}` is empty; give a path or a name")
    return given


def _encodable(text: str) -> bool:
    """Whether a file can have this name: not with half a character in it."""
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return True


def paths(name: str, value: Sources) -> list[str]:
    """Paths or names, given as one or several; empty for None. Raises UsageError."""
    return [path(name, one) for one in _several(name, value, "a path or several, such as ['a.mp4', 'b.mp4']")]


def phrases(name: str, value: Names, *, needed: bool = False) -> list[str]:
    """Texts that are not blank, given as one or several; empty for None. Raises UsageError, for None if `needed`."""
    if value is None and needed:
        raise UsageError(f"`{name}` is a text or several, such as ['dog', 'cat']; got None")
    return [phrase(name, one) for one in _several(name, value, "a text or several, such as ['dog', 'cat']")]


def each(given: Iterable[Any]) -> list[Any]:
    """A flat list of values that were given one by one, as lists, or both."""
    out: list[Any] = []
    for one in given:
        out += one if isinstance(one, Iterable) and not isinstance(one, str | bytes | os.PathLike | Mapping) else [one]
    return out


def _several(name: str, value: Any, what: str) -> list[Any]:
    if value is None:
        return []
    if isinstance(value, str | os.PathLike):
        return [value]
    if isinstance(value, bytes | Mapping) or not isinstance(value, Iterable):
        raise UsageError(f"`{name}` is {what}; got {got(value)}")
    return list(value)


def moment(value: Time | None, name: str = "time") -> Moment | None:
    """A moment, from a text that `timecode.parse_moment` reads, or a date or datetime (local if it has no zone). Raises
    UsageError."""
    if value is None:
        return None
    if isinstance(value, str):
        return parse_moment(value)
    if isinstance(value, date):
        return moment_of(value)
    if not isinstance(value, Moment) or not in_range(value):
        raise UsageError(f"`{name}` is a time, as a text or a datetime: {FORMS}; got {got(value)}")
    return value


def recording(name: str, value: Any) -> str | date:
    """When something was recorded, as `dating.parse_choice` takes it. Raises UsageError."""
    made(name, value, (str, date), "a date, such as 2026-01-31T08:30, a datetime, or what is to tell it")
    return cast("str | date", value)


def crop(value: Crop) -> tuple[str, int, Box]:
    """Source, ns and box x0, y0, x1, y1 from these, or from "VIDEO@TIME:X,Y,W,H". The time may be a text. Raises
    UsageError."""
    if not isinstance(value, str):
        forms = f"{_CROP_FORMS}, or (source, t_ns, (x0, y0, x1, y1))"
        try:
            source, time, (x0, y0, x1, y1) = value
        except (TypeError, ValueError):
            raise UsageError(f"`crop` is {forms}; got {got(value)}") from None
        made("crop", source, (str, os.PathLike), forms)
        x0, y0, x1, y1 = (number("crop", v, forms) for v in (x0, y0, x1, y1))
        return path("crop", source), _time_ns(time), (x0, y0, x1, y1)
    match = _CROP.fullmatch(value)
    numbers = match["box"].split(",") if match else []
    try:
        x, y, w, h = (float(n) for n in numbers)
    except ValueError:
        match = None
    if match is None or not all(map(math.isfinite, (x, y, x + w, y + h))):
        raise UsageError(f"`crop` is {_CROP_FORMS}; got {got(value)}")
    return path("crop", match["source"]), parse_time(match["time"]), (x, y, x + w, y + h)


def _time_ns(value: Any) -> int:
    if isinstance(value, str):
        return parse_time(value)
    try:
        ns = None if isinstance(value, bool) else int(value)
    except (TypeError, ValueError, OverflowError):
        ns = None
    if ns is None or ns != value or abs(ns) > LONGEST_NS:
        raise UsageError(f"the time in `crop` is whole nanoseconds or a text such as '12.5s'; got {got(value)}")
    return ns


def box(value: Any) -> Box:
    """A box x0, y0, x1, y1 in pixels, from four numbers or from "x0,y0,x1,y1". Raises UsageError; it is not empty."""
    what = "x0,y0,x1,y1 in pixels, such as 100,80,160,140"
    given = value.split(",") if isinstance(value, str) else value
    try:
        x0, y0, x1, y1 = (float(n) for n in given)
    except (TypeError, ValueError, OverflowError):
        raise UsageError(f"`box` is {what}; got {got(value)}") from None
    if not all(math.isfinite(n) and abs(n) <= _MAX_PIXEL for n in (x0, y0, x1, y1)) or x1 <= x0 or y1 <= y0:
        raise UsageError(f"`box` is {what}, and not empty; got {got(value)}")
    return x0, y0, x1, y1


def within_ns(value: str) -> int:
    """Nanoseconds of a duration such as "2s". Raises UsageError."""
    # It is added to times of the memory twice, which must fit 64 bits.
    return min(parse_time(made("within", value, str, "a text such as '2s' or '0.5s'")), LONGEST_NS >> 1)


def whole(name: str, value: Any, min_value: int | None = None) -> int:
    """A whole number of 64 bits, at least `min_value`. Raises UsageError."""
    found = _index(value)
    if found is None or abs(found) > LONGEST_NS or (min_value is not None and found < min_value):
        limit = "" if min_value is None else f" from {min_value} up"
        raise UsageError(f"`{name}` is a whole number{limit}; got {got(value)}")
    return found


def top(value: int | None) -> int | None:
    """A number of results, None for all. Raises UsageError."""
    found = None if value is None else _index(value)
    if value is not None and (found is None or found < 1):
        raise UsageError(f"`top` is a whole number from 1 up, or None for all; got {got(value)}")
    return found


def thing(value: Any) -> str | int:
    """A phrase, or the id of a track, as a number or a text of digits. Raises UsageError."""
    if (found := _index(value)) is not None:
        return int(max(-1, min(found, 10**_DIGITS)))
    given = phrase("thing", value)
    return int(given) if given.isascii() and given.isdecimal() and len(given) <= _DIGITS else given


def _index(value: Any) -> int | None:
    try:
        return None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        return None


def number(name: str, value: Any, what: str, min_value: float = -math.inf, max_value: float = math.inf) -> float:
    """A finite number in a range. what: the range in words. Raises UsageError."""
    try:
        found = float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan
    except OverflowError:  # an int of 400 digits
        found = math.nan
    if not math.isfinite(found) or not min_value <= found <= max_value:
        raise UsageError(f"`{name}` is {what}; got {got(value)}")
    return found


def share(name: str, value: float | None) -> float | None:
    """A `threshold` or `min_probability`, or None. Raises UsageError."""
    if value is None:
        return None
    if name == "min_probability":
        return number(name, value, "a probability, between 0 and 1", 0, 1)
    return number(name, value, "a score, a number between 0 and 1", -_MAX_SCORE, _MAX_SCORE)


def apart(value: float) -> float:
    """How far things are apart that are near each other, in longest sides of their boxes. Raises UsageError."""
    return number("apart", value, f"a number of 0 or more, up to {MAX_GAP}", 0, MAX_GAP)


def sighting(value: Any, name: str = "sighting") -> Sighting:
    """A sighting. Raises UsageError."""
    from ..records import Sighting  # imports NumPy

    return made(name, value, Sighting, "a sighting, such as answer[0]")


def sightings(name: str, value: Any) -> list[Sighting]:
    """Several sightings. Raises UsageError."""
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise UsageError(f"`{name}` is several sightings, such as an answer; got {got(value)}")
    return [sighting(one, name) for one in value]


def picture(value: Picture) -> Image.Image:
    """A picture of a thing, from a file, a PIL picture, or an array `(H, W, 3)` uint8 RGB, also with alpha or grey.

    Raises:
        UsageError: the value is not a picture.
        MediaError: the file cannot be read.
    """
    import numpy as np
    from PIL import Image

    from .picture import load_picture, opaque

    if isinstance(value, str | os.PathLike):
        return load_picture(path("image", value))
    if isinstance(value, np.ndarray):
        return opaque(_image(value))
    if not isinstance(value, Image.Image):
        raise UsageError(f"`image` is a path, a PIL picture or an array (H, W, 3) of uint8; got {type(value).__name__}")
    if not all(value.size):
        raise UsageError("`image` is empty; it has no pixels")
    try:
        return opaque(value)
    except ValueError:  # PIL reads its file only now
        raise UsageError("`image` is a picture that is closed; open it again, or give its path") from None
    except (OSError, SyntaxError) as error:
        raise MediaError(f"the picture in `image` cannot be read ({error}); save it as JPEG or PNG") from None


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
