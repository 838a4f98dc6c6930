"""Fuzz all parsers, write the counts as JSON and print a table. The exit code is 1 if anything is found."""

from __future__ import annotations

import argparse
import json
import sys
import time
from importlib.util import find_spec
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # the makers of the tests are imported as `media`, `encoders`, ...

from .hunt import counts, hunt, rows, save, summary, table
from .targets import every


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.attack.fuzzing", description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000, help="inputs over all targets (default: 100,000)")
    parser.add_argument("--seed", default="1", help="of all random choices (default: 1)")
    parser.add_argument("--only", default="", help="targets by name, separated by commas; default: all")
    parser.add_argument("--out", type=Path, help="write the counts as JSON, and findings beside it")
    parser.add_argument("--list", action="store_true", help="list the targets and stop")
    args = parser.parse_args()
    targets = every()
    if args.list:
        print(
            "\n".join(f"{t.name:24} share {t.share:<5g} {(t.prepare.__doc__ or '').splitlines()[0]}" for t in targets)
        )
        return 0
    names = set(filter(None, args.only.split(",")))
    if unknown := names - {t.name for t in targets}:
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    chosen = [t for t in targets if not names or t.name in names]
    missing = [t.name for t in chosen if any(find_spec(module) is None for module in t.needs)]
    chosen = [t for t in chosen if t.name not in missing]
    begun = time.monotonic()
    tallies, findings = hunt(chosen, counts(chosen, args.inputs), args.seed, tell=lambda s: print(s, file=sys.stderr))
    whole = summary(tallies) | {"seed": args.seed, "wall_s": round(time.monotonic() - begun, 1), "left_out": missing}
    if args.out is not None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps({"total": whole, "targets": rows(tallies)}, indent=1) + "\n")
        save(findings, args.out.with_suffix(""), args.seed)
    print(table(tallies))
    for finding in findings:
        print(f"{finding['target']}: {finding['kind']} at input {finding['index']}: {finding['error']} {finding['at']}")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
