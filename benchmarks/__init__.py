"""Benchmarks: each command writes its figures as JSON. They configure the process as the command line does. See
README.md."""

from vidmem.cli.app import limit_blas_threads

limit_blas_threads()
