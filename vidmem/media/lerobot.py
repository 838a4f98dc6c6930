"""LeRobot datasets, v2 and v3: which files hold the episodes of a camera.

v2 has one MP4 for each episode and camera. v3 puts several episodes into one, listed in meta/episodes.
"""

from __future__ import annotations

import functools
import math
import os
import re
import string
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..address import Address
from ..errors import MediaError
from ..limits import check_bytes, check_regular
from ..text_files import MAX_TEXT, parse_json, read_bytes, read_json
from ..timecode import LONGEST_NS, NS

MAX_S = float(LONGEST_NS // NS)
"""Maximum of times in seconds."""
INFO = os.path.join("meta", "info.json")
_CELL_BYTES = 32
"""Bytes that a number in a table takes, with Python's and NumPy's copies."""
_ROW_BYTES = 512
"""Bytes that an episode takes besides its numbers."""
_LONGEST_LINE = 1 << 20
"""Maximum size in bytes of what v2 says of an episode."""
_NUMBERS = ("INT32", "INT64", "FLOAT", "DOUBLE")
"""Physical types of Parquet whose values have up to 8 bytes, however they are packed."""


def is_dataset(path: str) -> bool:
    """Return True if the folder is a LeRobot dataset, of any version."""
    try:
        return "codebase_version" in read_json(os.path.join(path, INFO), "it cannot", limit=MAX_TEXT)
    except (MediaError, TypeError):
        return False


@dataclass(frozen=True, slots=True)
class Span:
    """The place of an episode of one camera. video, data: files. start_s: of the episode in the video, in seconds."""

    video: str
    data: str
    start_s: float


class Dataset:
    """A LeRobot dataset on disk.

    fps: frames per second. cameras: keys of the features that are video. episodes: numbers, in order.

    Raises:
        MediaError: not such a dataset, an unknown version, no video in it, or pyarrow is not installed.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            info = read_json(os.path.join(path, INFO), "meta/info.json of the dataset cannot", limit=MAX_TEXT)
            version, features = str(info["codebase_version"]), dict(info["features"])
            self.fps = float(info["fps"])
            self._data_path = str(info["data_path"])
            self._video_path = str(info.get("video_path") or "")
            self._chunk_size = int(info.get("chunks_size") or 1000)
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            cause = f"{type(error).__name__}: {error}"
            raise MediaError(f"meta/info.json of the dataset cannot be read ({cause}): {path}") from None
        if not version.startswith(("v2.", "v3.")):
            raise MediaError(
                f"the dataset has version {version}; v2 and v3 can be read, convert it with lerobot: {path}"
            )
        if not 1e-6 <= self.fps <= 1e6:  # not for NaN, either
            raise MediaError(f"the dataset gives {self.fps:g} frames per second: {path}")
        self.cameras = sorted(k for k, v in features.items() if isinstance(v, dict) and v.get("dtype") == "video")
        if not self.cameras:
            raise MediaError(f"the dataset has no video; pictures in its tables cannot be read: {path}")
        self._rows: dict[int, dict[str, Any]] | None = None
        if version.startswith("v2."):
            self.episodes = self._v2_episodes()
        else:
            self._rows = self._v3_rows()
            self.episodes = sorted(self._rows)
        self._known = frozenset(self.episodes)

    def _v2_episodes(self) -> list[int]:
        file = os.path.join(self.path, "meta", "episodes.jsonl")
        what = "the dataset's list of episodes cannot"
        lines = read_bytes(file, what, remedy="fetch it again", limit=MAX_TEXT).split(b"\n")
        try:
            if max(map(len, lines)) > _LONGEST_LINE:
                raise ValueError(f"a line is longer than {_LONGEST_LINE >> 20} MB")
            return sorted(_number(parse_json(line)["episode_index"]) for line in lines if line.strip())
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise MediaError(f"{what} be read ({error}); fetch it again: {file}") from None

    def _v3_rows(self) -> dict[int, dict[str, Any]]:
        folder = os.path.join(self.path, "meta", "episodes")
        files = sorted(os.path.join(top, n) for top, _, names in os.walk(folder) for n in names if n[-8:] == ".parquet")
        columns = ["episode_index", "data/chunk_index", "data/file_index"]
        for key in self.cameras:
            columns += [f"videos/{key}/{name}" for name in ("chunk_index", "file_index", "from_timestamp")]
        rows: list[dict[str, Any]] = []
        for file in files:
            rows += read_table(file, columns, _ROW_BYTES, before=len(rows)).to_pylist()
        if not rows:
            raise MediaError(f"the dataset has no episodes: {folder}")
        try:
            return {_number(row["episode_index"]): row for row in rows}
        except (TypeError, ValueError, OverflowError):
            raise MediaError(f"an episode of the dataset has no number: {folder}") from None

    def span(self, episode: int, camera: str) -> Span:
        """The files of an episode. Raises MediaError if there is no such episode or camera."""
        if camera not in self.cameras or episode not in self._known:
            raise MediaError(
                f"the dataset has no episode {episode} of {camera}; it has {len(self.episodes)} episodes "
                f"of {', '.join(self.cameras)}: {self.path}"
            )
        if self._rows is None:
            names: dict[str, Any] = {
                "episode_chunk": episode // self._chunk_size,
                "episode_index": episode,
                "video_key": camera,
            }
            return Span(self._file(self._video_path, names), self._file(self._data_path, names), 0.0)
        row = self._rows[episode]
        try:
            data = {"chunk_index": int(row["data/chunk_index"]), "file_index": int(row["data/file_index"])}
            video = {name: int(row[f"videos/{camera}/{name}"]) for name in data}
            start_s = float(row[f"videos/{camera}/from_timestamp"])
        except (TypeError, ValueError, OverflowError):
            start_s = math.nan
        if not 0 <= start_s <= MAX_S:
            raise MediaError(f"the dataset does not say where episode {episode} of {camera} is: {self.path}")
        return Span(
            self._file(self._video_path, video | {"video_key": camera}), self._file(self._data_path, data), start_s
        )

    def _file(self, template: str, names: dict[str, Any]) -> str:
        """The file that a template of info.json names. Raises MediaError if it is outside of the dataset."""
        try:
            path = os.path.normpath(os.path.join(self.path, filled(template, names)))
        except (KeyError, ValueError) as error:
            raise MediaError(f"meta/info.json has a broken path ({template[:200]}: {error}): {self.path}") from None
        root = os.path.normpath(self.path)  # links are not resolved: caches link files into a dataset's folder
        if os.path.commonpath([root, path]) != root:
            raise MediaError(f"meta/info.json names a file outside of the dataset ({template}): {self.path}")
        return path

    def rows(self, episode: int, data: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Timestamps `(n,)` in ns from the episode's start, and frame_index `(n,)`, by time. Raises MediaError."""
        numbers, seconds, frames = _times(data, *_stamp(data))
        seconds, frames = seconds[numbers == episode], frames[numbers == episode]
        if not len(seconds):
            raise MediaError(f"the dataset has no rows of episode {episode}: {data}")
        if not ((seconds >= 0) & (seconds <= MAX_S)).all():  # not for NaN, either
            raise MediaError(f"a row of the dataset has a time that no video has: {data}")
        times = np.round(seconds * NS).astype(np.int64)
        order = np.argsort(times, kind="stable")
        return times[order], frames[order]


def _number(value: Any) -> int:
    """The number of an episode. Raises ValueError, or what int() does."""
    if not 0 <= (found := int(value)) < 1 << 31:
        raise ValueError(f"an episode has the number {found}")
    return found


def opened(path: str) -> Dataset:
    """`Dataset(path)`, read again only when one of its files has changed: each of its episodes is a source."""
    files = [os.path.join(path, INFO), os.path.join(path, "meta", "episodes.jsonl")]
    for top, _, names in os.walk(os.path.join(path, "meta", "episodes")):
        files += [os.path.join(top, name) for name in sorted(names)]
    return _opened(path, tuple((file, *_stamp(file)) for file in files))


@functools.lru_cache(maxsize=2)
def _opened(path: str, _: object) -> Dataset:
    return Dataset(path)


def _stamp(file: str) -> tuple[int, ...]:
    """What changes when a file is written; empty if it is not there."""
    try:
        stat = os.stat(file)
    except (OSError, ValueError):
        return ()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


@functools.lru_cache(maxsize=1)
def _times(data: str, *_: int) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """episode_index, timestamp in s and frame_index of the rows of a table. v3 has many episodes in one."""
    table = read_table(data, ["episode_index", "timestamp", "frame_index"])
    try:
        return (
            np.asarray(table["episode_index"].to_numpy(), np.int64),
            np.asarray(table["timestamp"].to_numpy(), np.float64),
            np.asarray(table["frame_index"].to_numpy(), np.int64),
        )
    except (TypeError, ValueError, OverflowError) as error:
        raise MediaError(f"a row of the dataset has no time or no number ({error}): {data}") from None


def read_table(file: str, columns: list[str], row_bytes: int = 0, before: int = 0) -> Any:
    """Read columns of numbers as a pyarrow table.

    Texts are refused: one long text that a row names by its number fills gigabytes when it is written out, whatever
    size the file gives.

    Args:
        file: A Parquet file.
        columns: Names; all must be there.
        row_bytes: Bytes that the caller takes for a row, besides its numbers.
        before: Rows that the caller has already.

    Raises:
        MediaError: it cannot be read, a column does not hold numbers, the rows would take more than the memory budget,
            or pyarrow is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MediaError(f"pyarrow is not installed; run pip install 'vidmem[robotics]': {file}") from None
    check_regular(file)
    try:
        with pyarrow.parquet.ParquetFile(file) as parquet:
            _check_numbers(parquet, columns, file)
            groups = [parquet.metadata.row_group(number) for number in range(parquet.num_row_groups)]
            rows = before + max(parquet.metadata.num_rows, sum(max(group.num_rows, 0) for group in groups))
            needed = (_CELL_BYTES * len(columns) + row_bytes) * rows
            check_bytes(needed, "a table of the dataset", file)
            return parquet.read(columns=columns, use_threads=False)
    except (OSError, pyarrow.ArrowException, KeyError, ValueError, MemoryError) as error:
        cause = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise MediaError(f"a table of the dataset cannot be read ({cause}); fetch it again: {file}") from None


def _check_numbers(parquet: Any, columns: list[str], file: str) -> None:
    """Raise MediaError if a column is missing or does not hold one number a row."""
    found = [parquet.schema.column(i) for i in range(len(parquet.schema))]
    for name in columns:
        inside = [column for column in found if column.path == name or column.path.startswith(f"{name}.")]
        if not inside:
            raise MediaError(f"a table of the dataset has no column {name}; fetch it again: {file}")
        for column in inside:
            plain = column.max_repetition_level == 0 and column.path == name
            if not plain or column.physical_type not in _NUMBERS:
                raise MediaError(f"{name} in a table of the dataset holds no numbers; fetch it again: {file}")


def episode_part(episode: int, camera: str) -> str:
    """The part of an address for one episode of one camera."""
    return f"{episode}/{camera}"


def parse_part(address: Address) -> tuple[int, str]:
    """Episode and camera of an address. Raises MediaError for a malformed part."""
    number, slash, camera = address.part.partition("/")
    if not slash or not number.isascii() or not number.isdigit():
        raise MediaError(f"an episode is named such as #3/observation.images.top, not #{address.part}: {address.path}")
    return int(number), camera


def filled(template: str, names: dict[str, Any]) -> str:
    """Fill in names such as {episode_index:06d}. Raises KeyError and ValueError for anything beyond names and widths.

    `str.format` would look into objects, and pad to a width of any length.
    """
    out = []
    for text, name, form, conversion in string.Formatter().parse(template):
        out.append(text)
        if name is None:
            continue
        if conversion is not None or re.fullmatch(r"0?[0-9]{0,2}d?", form or "") is None or len(out) > 99:
            raise ValueError(f"{{{name}:{form}}} is not a name with a width")
        out.append(format(names[name], form or ""))
    return "".join(out)
