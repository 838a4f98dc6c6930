"""The commands of `vidmem eval`, one module each, by the name of the benchmark."""
