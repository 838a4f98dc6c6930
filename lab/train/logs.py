"""The log of a training: one JSON object per line in log.jsonl, and the same for TensorBoard."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from vidmem.errors import ModelError, UsageError
from vidmem.export.files import writing

FILE = "log.jsonl"


class Log:
    """Rows of numbers by step, in `folder`. On resuming, rows after the checkpoint's step are removed from log.jsonl
    and purged for TensorBoard, so that each step appears once.

    tensorboard: also write event files. Raises UsageError if tensorboardX is not installed, MediaError if a log cannot
    be written, and ModelError if the log to continue is damaged.
    """

    def __init__(self, folder: Path, step: int, tensorboard: bool) -> None:
        self.path, self.writer = folder / FILE, None
        kept = [row for row in read(self.path) if row["step"] <= step] if step else []
        if tensorboard:
            try:
                from tensorboardX import SummaryWriter
            except ImportError:
                raise UsageError(
                    "logs for TensorBoard need tensorboardX; pip install -e '.[train]', or turn `tensorboard` off"
                ) from None
        with writing(str(self.path), "the log"):
            self.path.write_text("".join(json.dumps(row) + "\n" for row in kept), "utf-8")
        if tensorboard:
            events = str(folder / "tensorboard")
            with writing(events, "the log for TensorBoard"):
                self.writer = SummaryWriter(events, purge_step=step + 1 if step else None)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Write one row and flush it to disk."""
        with writing(str(self.path), "the log"), self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"step": step, **values}) + "\n")
        if self.writer:
            with writing(str(self.path.with_name("tensorboard")), "the log for TensorBoard"):
                for name, value in values.items():
                    self.writer.add_scalar(name, value, step)
                self.writer.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.writer:
            with contextlib.suppress(OSError):  # on a full disk; rows are flushed as they are written
                self.writer.close()


def read(path: Path) -> list[dict[str, float]]:
    """Read the rows of a log. A missing file has no rows, and a last line that a crash cut short is left out.

    Raises ModelError if the file cannot be read or another line is no row.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ModelError(f"the log cannot be read ({error.strerror}); remove it to resume without: {path}") from None
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            if not (isinstance(row, dict) and isinstance(row.get("step"), int)):
                raise ValueError("no row of a log")
        except (ValueError, RecursionError):
            if number == len(lines):
                break
            raise ModelError(
                f"the log is damaged in line {number}; mend it, or remove it to resume without: {path}"
            ) from None
        rows.append(row)
    return rows
