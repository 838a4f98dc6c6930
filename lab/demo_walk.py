"""Make the synthetic walk of the demo, with its questions and true answers.

python -m lab.demo_walk
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from lab.synthetic import lostfound
from lab.synthetic.queries import Query
from vidmem.cli.demo_run import QUESTIONS, WALK

SEED = 3
"""Chosen because all four answers are right; for the error rate see `benchmarks.lostfound`."""
SECONDS = 40
CRF = 29
THERE = 3
"""Number of questions about things that were there; one more asks for a thing that never was."""


def choose(queries: Sequence[Query]) -> list[Query]:
    """Choose three things that were in view longest, since their answers are beyond dispute, and one that never was.

    Raises SystemExit if the walk has too few clear questions.
    """
    there = sorted((q for q in queries if q.kind == "name"), key=lambda q: (q.start_ns or 0) - (q.end_ns or 0))[:THERE]
    absent = [q for q in queries if q.kind == "absent" and q.text][:1]
    if len(there) < THERE or not absent:
        raise SystemExit("too little happens in this walk to ask for; take more seconds or another seed")
    return there + absent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--out", type=Path, default=WALK.parent, help="folder for walk.mp4 and walk.json")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        walk = lostfound.make(folder, given.seed, given.seconds, crf=CRF)
        asked = choose(walk.queries)
        given.out.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(walk.video, given.out / WALK.name)
    rows = [{"ask": q.text or q.name, "start_ns": q.start_ns, "end_ns": q.end_ns} for q in asked]
    document = {"seed": given.seed, "seconds": given.seconds, "questions": rows}
    (given.out / QUESTIONS.name).write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    print(f"{given.out / WALK.name}: {(given.out / WALK.name).stat().st_size:,} bytes, {len(rows)} questions")


if __name__ == "__main__":
    main()
