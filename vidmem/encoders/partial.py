"""Files of weights that are being written: they get their names when they are complete."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path


def new_part(path: Path) -> str:
    """Make an empty file beside `path`, in which it is to be written, and return its name.

    Files of this kind that are left by processes that were killed are removed: weights are large.

    Raises:
        OSError: the folder cannot be written.
    """
    for left in path.parent.glob(f"{path.name}.*.part"):
        found = re.fullmatch(r"(\d+)-.*", left.name[len(path.name) + 1 :])
        if found is not None and not _is_running(int(found[1])):
            left.unlink(missing_ok=True)
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.{os.getpid()}-", suffix=".part")
    os.close(handle)
    return part


def _is_running(pid: int) -> bool:
    """Return False if there is no process of this number."""
    if sys.platform == "win32":  # where os.kill ends a process instead of asking for it
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True
