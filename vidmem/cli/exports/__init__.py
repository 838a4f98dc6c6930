"""The commands of `vidmem export` that write tracks for other engines, one module each."""
