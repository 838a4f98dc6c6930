"""Measured claims: each module is a command that writes JSON. They set themselves up as the command line does."""

from vidmem.cli.app import limit_blas_threads

limit_blas_threads()
