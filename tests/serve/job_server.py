"""A process that runs one job, to be killed: `python job_server.py MEMORY FOLDER PATH`. It prints the job's pid."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from vidmem.serve.jobs import Jobs, JobSettings

CHILD = (sys.executable, str(Path(__file__).with_name("colours_job.py")))


def main() -> None:
    memory, folder, path = sys.argv[1:]
    settings = JobSettings(memory, True, (folder,), {"encoder": "colours:gated"})
    jobs = Jobs(settings, command=CHILD)
    job: Any = jobs.post({"action": "index", "paths": [path]})
    told = False
    while True:
        running = jobs._jobs[job.id]
        if not told and running.process is not None and running.progress is not None and running.progress.frames >= 40:
            print(running.process.pid, flush=True)
            told = True
        time.sleep(0.02)


if __name__ == "__main__":
    main()
