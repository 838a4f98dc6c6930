"""Scripts that make the weights of `tiny`: `python -m lab.tiny.NAME`. See docs/training.md."""
