"""The plot of `vidmem eval haystack`."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from ..export.files import replacing
from .haystack_run import Accuracy
from .haystack_table import published_curve

SHOWN = ("T-REN", "Gemini-3 Pro", "SigLIP-2", "DINOv3 dino.txt", "Detector oracle")


def can_plot() -> bool:
    """True if matplotlib is installed, which comes with the extra `bench`."""
    return importlib.util.find_spec("matplotlib") is not None


def plot_accuracy(path: str | Path, title: str, method: str, found: Sequence[Accuracy]) -> None:
    """Draw accuracy over the number of pictures, with published curves.

    Raises:
        MediaError: The picture cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), dpi=120)
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    numbers = [one.pictures for one in found]
    for rule, style in (("paper", "-"), ("default", "--")):
        values = [100 * one.right[rule] for one in found]
        axes.plot(numbers, values, f"o{style}", color="black", label=f"{method}, rule {rule}")
    for name in SHOWN:
        axes.plot(*published_curve(name), ".-", linewidth=1, alpha=0.7, label=f"{name} (published)")
    axes.axhline(50, color="grey", linewidth=0.8, linestyle=":")
    axes.set_xscale("log")
    axes.set_xlabel("pictures in a haystack")
    axes.set_ylabel("right answers, percent")
    axes.set_title(title)
    axes.legend(fontsize=8)
    with replacing(str(path), "the plot") as part:
        figure.savefig(part)
