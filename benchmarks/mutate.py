"""Do the tests notice a mistake? `python -m benchmarks.mutate --out FILE.json [--sample 1500] [--only query.where]`.

mutmut changes one operator, number, argument or word at a time in query/ and indexer/, and runs the tests that reach
it. A mutant that no test notices has survived. There are some 15,000, which take hours on two cores, so a
random sample is drawn (0 for all) and the share comes with its 95 % interval. The JSON lists the mutants that are left;
`mutmut show NAME` in .venv/mutate prints one as a difference.

The package is laid out as it is installed, in .venv/mutate: mutmut finds modules by their folders.
"""

from __future__ import annotations

import random
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

from benchmarks.common import machine, parser_for, say, table, wilson, write_json

ROOT = Path(__file__).resolve().parents[1]
TREE = ROOT / ".venv" / "mutate"
TESTS = ("tests/query", "tests/indexer", "tests/test_memory.py", "tests/render", "tests/export")
SETTINGS = r"""
[tool.mutmut]
source_paths = ["vidmem"]
only_mutate = ["vidmem/query/*.py", "vidmem/indexer/*.py"]
# The words of a message are no behaviour; that it is raised, and what it names, is tested where it is raised.
do_not_mutate_patterns = ['^\s*raise ', '_log\.']
timeout_multiplier = 4.0
timeout_constant = 5.0
also_copy = ["lab", "benchmarks", "docs", "README.md"]
pytest_add_cli_args_test_selection = {tests}
pytest_add_cli_args = ["-m", "not slow", "-p", "no:cacheprovider"]

"""
KILLED, SURVIVED, UNTESTED, SLOW = "killed", "survived", "no tests", "timeout"


def lay_out(tests: list[str]) -> None:
    """Lay out the package as it is installed, with its tests and the settings of mutmut, in TREE."""
    shutil.rmtree(TREE, ignore_errors=True)
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(TREE), str(ROOT)]
    subprocess.run(command, check=True)
    for name in ("tests", "lab", "benchmarks", "docs"):
        shutil.copytree(ROOT / name, TREE / name, ignore=shutil.ignore_patterns("__pycache__", "out"))
    shutil.copy(ROOT / "README.md", TREE)
    pytest = re.search(r"\[tool\.pytest\.ini_options\].*?(?=\n\[|\Z)", (ROOT / "pyproject.toml").read_text(), re.DOTALL)
    assert pytest, "pyproject.toml has no settings for pytest"
    (TREE / "pyproject.toml").write_text(SETTINGS.format(tests=tests) + pytest[0] + "\n")


def mutmut(*arguments: str) -> str:
    """Run mutmut in TREE; return its output."""
    command = [sys.executable, "-m", "mutmut", *arguments]
    done = subprocess.run(command, cwd=TREE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        say(done.stdout[-3000:])
        raise SystemExit(f"mutmut {arguments[0]} failed; does the suite pass in {TREE}?")
    return done.stdout


def smallest() -> str:
    """The smallest module of indexer/ that has mutants."""
    sizes = {
        path.stem: path.stat().st_size for path in (ROOT / "indexer").glob("*.py") if "return " in path.read_text()
    }
    return min(sizes, key=lambda stem: sizes[stem])


def verdicts() -> dict[str, str]:
    """The verdict on each mutant, by its name."""
    lines = re.findall(r"^\s*(\S+__mutmut_\d+): (.+?)\s*$", mutmut("results", "--all", "true"), re.MULTILINE)
    return dict(lines)


def main() -> None:
    parser = parser_for(__doc__)
    parser.add_argument("--sample", type=int, default=1500, help="mutants to try, drawn at random; 0 for all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", default=[], metavar="MODULE", help="such as query.where")
    parser.add_argument("--tests", action="append", default=[], metavar="PATH", help="instead of those of TESTS")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--keep", action="store_true", help="the tree of an earlier run, whose verdicts stand")
    given = parser.parse_args()
    workers = ("--max-children", str(given.workers))
    if not given.keep or not TREE.exists():
        lay_out(given.tests or list(TESTS))
        say("collecting what the tests reach")
        mutmut("run", *workers, f"vidmem.indexer.{smallest()}.*")  # any run makes all mutants first
    names = sorted(verdicts())
    if given.only:
        names = [name for name in names if any(name.startswith(f"vidmem.{module}.") for module in given.only)]
    if given.sample and given.sample < len(names):
        names = sorted(random.Random(given.seed).sample(names, given.sample))
    say(f"{len(names)} mutants")
    for start in range(0, len(names), 500):
        mutmut("run", *workers, *names[start : start + 500])
        say(f"{min(start + 500, len(names))} done")
    found = {name: verdict for name, verdict in verdicts().items() if name in set(names)}
    counts: dict[str, Counter[str]] = {}
    for name, verdict in found.items():
        counts.setdefault(name.rpartition(".")[0].removeprefix("vidmem."), Counter())[verdict] += 1
    total = sum(counts.values(), Counter[str]())
    dead = total[KILLED] + total[SLOW]
    rows = [
        (module, sum(count.values()), count[KILLED] + count[SLOW], count[SURVIVED], count[UNTESTED])
        for module, count in sorted(counts.items())
    ]
    print(table(("module", "mutants", "killed", "survived", "untested"), rows))
    low, high = wilson(dead, len(found)) or (0.0, 1.0)
    print(f"killed: {dead} of {len(found)} = {dead / max(len(found), 1):.3f} [{low:.3f}, {high:.3f}]")
    left = [name for name, verdict in sorted(found.items()) if verdict not in (KILLED, SLOW)]
    write_json(
        given.out,
        {
            "machine": machine(),
            "sample": given.sample,
            "seed": given.seed,
            "mutants": len(found),
            "killed": dead,
            "share": dead / max(len(found), 1),
            "interval": [low, high],
            "modules": {module: dict(count) for module, count in sorted(counts.items())},
            "left": {name: found[name] for name in left},
        },
    )


if __name__ == "__main__":
    main()
