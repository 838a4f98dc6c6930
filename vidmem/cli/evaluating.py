"""`vidmem eval`: a group of commands, one for each benchmark."""

from __future__ import annotations

from .commands import EVALUATIONS, unknown_evaluation
from .grouped import group as made

HELP = """Score an encoder on a benchmark of the field.

The files are read as the benchmark ships them. A run writes results.jsonl, report.json and report.md into its folder,
with published numbers beside its own. The same command goes on where a run was interrupted.

\b
Examples:
  vidmem eval dense val.json --images val2017 --encoder densevlm --out run
"""

group = made("eval", HELP, EVALUATIONS, unknown_evaluation, "Benchmarks")
