"""Threads and processes that ask while others write: `python -m tests.attack.threads --out FILE.json [--minutes 5]`.

Each round plays one script of writes (see asking.py) while six threads ask: with the writer in the same process, and in
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

from attack.asking import World, attack, rehearse


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="JSON file for the result")
    parser.add_argument("--minutes", type=float, default=5, help="how long to go on (5)")
    parser.add_argument("--threads", type=int, default=6, help="threads that ask (6)")
    args = parser.parse_args()
    rows: list[dict[str, Any]] = []
    wrong: list[tuple[str, str]] = []
    until = time.monotonic() + 60 * args.minutes
    with tempfile.TemporaryDirectory(prefix="vidmem-threads-") as temporary:
        world = World.make(Path(temporary) / "world")
        script = world.script
        states = rehearse(world, Path(temporary) / "rehearsal", script)
        while not rows or time.monotonic() < until:
            for elsewhere in (False, True):
                folder = Path(temporary) / f"round-{len(rows)}"
                one = attack(
                    world, folder, script, states, threads=args.threads, another_process=elsewhere, seed=len(rows)
                )
                rows.append(
                    {
                        "writer": "another process" if elsewhere else "the same process",
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
        "threads": args.threads,
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
