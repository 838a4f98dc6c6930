"""What a program of ours sets for itself."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

CODE = """
import os, sys
from vidmem.cli.app import limit_blas_threads
assert "numpy" not in sys.modules, "too late"
limit_blas_threads()
print(os.environ["OPENBLAS_NUM_THREADS"])
"""


@pytest.mark.parametrize(("before", "after"), [(None, "1"), ("3", "3")])
def test_one_thread_where_the_user_has_not_said_otherwise(before: str | None, after: str) -> None:
    env = {k: v for k, v in os.environ.items() if k != "OPENBLAS_NUM_THREADS"}
    if before is not None:
        env["OPENBLAS_NUM_THREADS"] = before
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True, env=env)
    assert done.stdout.strip() == after
