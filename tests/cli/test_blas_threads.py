"""The command line limits the threads of OpenBLAS."""

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
def test_one_thread_unless_the_user_sets_a_number(before: str | None, after: str) -> None:
    env = {k: v for k, v in os.environ.items() if k != "OPENBLAS_NUM_THREADS"}
    if before is not None:
        env["OPENBLAS_NUM_THREADS"] = before
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True, env=env)
    assert done.stdout.strip() == after
