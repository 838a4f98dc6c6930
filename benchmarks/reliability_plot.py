"""Reliability diagram: predicted probabilities against the share that is right."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def plot(path: Path, facts: dict[str, Any], title: str) -> None:
    """Plot predicted against observed probability, for each mode; the diagonal is perfect."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(5.2, 4.6), layout="constrained")
    axis.plot([0, 1], [0, 1], color="#999", linewidth=1, linestyle="--")
    for name, colour in zip(facts, ("#3d6a9e", "#c8553d", "#d9a441", "#4a7c59"), strict=False):
        bins = facts[name].get("reliability") or facts[name].get("reliability_elsewhere") or []
        if bins:
            axis.plot(
                [b["mean"] for b in bins],
                [b["right"] for b in bins],
                color=colour,
                marker="o",
                label=f"{name} ({sum(b['count'] for b in bins)})",
            )
            for b in bins:
                axis.annotate(
                    str(b["count"]), (b["mean"], b["right"]), fontsize=7, xytext=(3, -9), textcoords="offset points"
                )
    axis.set_xlabel("probability told")
    axis.set_ylabel("share that is right")
    axis.set_xlim(-0.03, 1.03)
    axis.set_ylim(-0.03, 1.03)
    axis.set_title(title, fontsize=10)
    if axis.get_legend_handles_labels()[0]:
        axis.legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    plt.close(figure)
