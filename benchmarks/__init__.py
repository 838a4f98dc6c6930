"""Measured claims: each module is a command that writes JSON. Set up as the command line sets itself up."""

import os

# As in vidmem.cli: numpy's products here are small, and two BLAS threads beside torch's wait for each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
