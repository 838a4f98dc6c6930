"""The commands of `vidmem fleet`."""
