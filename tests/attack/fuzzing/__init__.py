"""Fuzzing: every parser of the package is fed damaged and hostile input.

`target.py` says what a target is, `mutate.py` makes inputs, the modules in `targets/` list the parsers, `worker.py`
runs inputs in a process of its own under limits, and `hunt.py` starts workers and counts. The command
`python -m tests.attack.fuzzing` runs all of it and writes JSON and a table.
"""
