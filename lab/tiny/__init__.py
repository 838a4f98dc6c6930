"""How the weights of `tiny` are made: `python -m lab.tiny.NAME`."""
