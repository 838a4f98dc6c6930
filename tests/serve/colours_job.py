"""The process of a job with the encoder of `fakes`: `python colours_job.py`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import fakes

from vidmem.serve.job_child import main

if __name__ == "__main__":
    fakes.register()
    sys.exit(main())
