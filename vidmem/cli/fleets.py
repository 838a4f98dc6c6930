"""`vidmem fleet`: a group of commands for the catalogue of many sealed memories."""

from __future__ import annotations

from .commands import FLEET, unknown_fleet_command
from .grouped import group as made

HELP = """Keep a catalogue of many sealed memories.

Each sealed memory is a shard. A catalogue is a file, for one machine, or a database in PostgreSQL, for many. Shards lie
in folders or object stores. `vidmem where` and the other questions take `--memory fleet:CATALOGUE`.

\b
Examples:
  vidmem fleet add house.catalogue monday.memory
  vidmem fleet ls house.catalogue
"""

group = made("fleet", HELP, FLEET, unknown_fleet_command, "Commands")
