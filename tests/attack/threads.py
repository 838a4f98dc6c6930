"""Threads and processes that ask while others write: `python -m tests.attack.threads --out FILE.json [--minutes 5]`.

Each round plays one script of writes (see world.py) while others ask: with the writer in the same process, and in
another one. It reports how many of all answers were of no committed state that was current during the question.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from attack.asking import attack, rehearse
from attack.world import World

WAYS: dict[str, dict[str, Any]] = {
    "the same process, 6 threads ask": {"threads": 6},
    "another process, 6 threads ask": {"threads": 6, "writer_elsewhere": True},
    "the same process, 2 threads and 3 processes ask": {"threads": 2, "processes": 3},
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="JSON file for the result")
    parser.add_argument("--minutes", type=float, default=5, help="how long to go on (5)")
    args = parser.parse_args()
    rows: list[dict[str, Any]] = []
    wrong: list[tuple[str, str]] = []
    until = time.monotonic() + 60 * args.minutes
    with tempfile.TemporaryDirectory(prefix="vidmem-threads-") as temporary:
        world = World.make(Path(temporary) / "world")
        states = rehearse(world, Path(temporary) / "rehearsal")
        while not rows or time.monotonic() < until:
            for writer, options in WAYS.items():
                folder = Path(temporary) / f"round-{len(rows)}"
                one = attack(world, folder, states, seed=10_000 * len(rows), **options)
                rows.append(
                    {
                        "writer": writer,
                        "questions": one.questions,
                        "commits": one.commits,
                        "wrong": len(one.wrong),
                        "errors": one.errors,
                        "seconds": round(one.seconds, 2),
                    }
                )
                wrong += one.wrong
                print(rows[-1], file=sys.stderr, flush=True)
    result = {
        "states": len(states),
        "distinct_states": len({json.dumps(state, sort_keys=True) for state in states}),
        "rounds": len(rows),
        "questions": sum(row["questions"] for row in rows),
        "commits": sum(row["commits"] for row in rows),
        "wrong": len(wrong),
        "errors": sum(row["errors"] for row in rows),
        "examples": wrong[:20],
        "by_round": rows,
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps({key: result[key] for key in ("rounds", "questions", "commits", "wrong", "errors")}))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
