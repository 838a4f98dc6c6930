"""vidmem: a memory for long video."""

__version__ = "0.1.0"
