"""The log of a training: one JSON object per line in log.jsonl, and the same for TensorBoard."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from vidmem.errors import UsageError

FILE = "log.jsonl"


class Log:
    """Rows of numbers by step, in `folder`. On resuming, rows after the checkpoint's step are removed from log.jsonl
    and purged for TensorBoard, so that each step appears once.

    tensorboard: also write event files. Raises UsageError if tensorboardX is not installed.
    """

    def __init__(self, folder: Path, step: int, tensorboard: bool) -> None:
        self.path, self.writer = folder / FILE, None
        if tensorboard:
            try:
                from tensorboardX import SummaryWriter
            except ImportError:
                raise UsageError(
                    "logs for TensorBoard need tensorboardX; pip install -e '.[train]', or turn `tensorboard` off"
                ) from None
            self.writer = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1 if step else None)
        kept = [row for row in read(self.path) if row["step"] <= step] if step else []
        self.path.write_text("".join(json.dumps(row) + "\n" for row in kept), "utf-8")

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Write one row and flush it to disk."""
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"step": step, **values}) + "\n")
        if self.writer:
            for name, value in values.items():
                self.writer.add_scalar(name, value, step)
            self.writer.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.writer:
            self.writer.close()


def read(path: Path) -> list[dict[str, float]]:
    """Read the rows of a log. A truncated last line is ignored; a missing file has no rows."""
    if not path.exists():
        return []
    rows = []
    for line in path.read_text("utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows
