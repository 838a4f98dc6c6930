"""The tables of `vidmem eval haystack`: accuracy over the number of pictures, with T-REN's table beside it."""

from __future__ import annotations

from collections.abc import Sequence

from ..query.haystack import RULES
from .haystack_run import Accuracy
from .report import Method, Table

SOURCE = "arXiv 2604.18573, Table 1"
NUMBERS = (1, 2, 3, 5, 10, 20, 50, 100, 500, 1000)
_PUBLISHED: dict[str, tuple[float, ...]] = {
    "Detector oracle": (90.2, 89.6, 88.8, 88.3, 86.9, 85.4, 81.7, 77.5, 74.8, 73.9),
    "Gemini-3 Pro": (88.9, 89.2, 87.3, 87.2, 85.7, 83.5, 74.3, 74.1, 71.0, 67.9),
    "Gemini-1.5 Pro": (88.4, 82.0, 78.3, 76.0, 71.9, 68.6, 62.8, 57.4),
    "GPT-4o": (82.5, 79.9, 77.5, 73.3, 68.2, 65.4, 59.7, 55.3),
    "LongVILA": (63.8, 59.0, 57.7, 56.7, 55.6, 52.0, 52.0, 52.0),
    "Qwen-2-VL": (80.9, 76.6, 73.6, 67.9, 62.6, 59.1, 52.6),
    "Phi-3": (80.5, 69.1, 67.3, 62.0, 54.8, 52.6, 50.8),
    "InternVL-2": (88.1, 80.5, 72.3, 63.9, 58.8, 55.2),
    "mPLUG-OWL3": (84.4, 66.0, 62.1, 57.0, 53.2, 51.5),
    "LLaVA-v1.5": (85.8, 77.1, 75.8, 68.6, 63.6, 60.4, 55.3, 57.5, 55.4, 52.9),
    "MIRAGE": (83.2, 77.8, 76.6, 72.8, 70.5, 66.0, 63.6, 62.0, 58.7, 55.7),
    "SigLIP-2": (72.0, 69.2, 68.1, 65.3, 64.1, 60.3, 58.7, 58.3, 56.6, 54.9),
    "REN": (81.2, 78.6, 77.4, 76.0, 74.0, 72.1, 68.3, 65.5, 62.3, 59.2),
    "DINOv3 dino.txt": (72.7, 71.3, 69.2, 68.2, 66.1, 63.2, 60.9, 60.2, 56.4, 52.1),
    "T-REN": (88.5, 86.4, 85.3, 83.9, 82.6, 79.6, 75.2, 74.0, 68.2, 65.2),
}
SHUFFLED = (
    "Pictures are shuffled for each question, so that of equal ones none is favoured. T-REN's published evaluation "
    "puts the right picture first."
)
GUESS = 'The rule "default" may say "not found", which counts as wrong; guessing yes or no gives 50.'


def accuracy_table(title: str, method: str, found: Sequence[Accuracy]) -> Table:
    """Percent of right answers by the number of pictures, by both rules, and how often the right one was chosen."""
    numbers = sorted({*NUMBERS, *(one.pictures for one in found)})
    ours = [
        *(
            Method(f"{method}, rule {rule}", {column(one.pictures): 100 * one.right[rule] for one in found})
            for rule in reversed(RULES)
        ),
        *(
            Method(
                f"{method}, right picture, rule {rule}",
                {column(one.pictures): 100 * one.retrieved[rule] for one in found},
            )
            for rule in reversed(RULES)
        ),
    ]
    published = [
        Method(name, dict(zip(map(column, NUMBERS), values, strict=False)), SOURCE)
        for name, values in _PUBLISHED.items()
    ]
    return Table(title, [column(number) for number in numbers], ours, published, (SHUFFLED, GUESS))


def cost_table(title: str, method: str, regions: float, kilobytes: float, ms: float, index_ms: float | None) -> Table:
    """What it costs.

    regions, kilobytes: Of a picture. ms: Of a question. index_ms: Of a picture; None if none is new.
    """
    columns = ("regions a picture", "kB a picture", "ms a question", "ms to index a picture")
    values = (regions, kilobytes, ms, index_ms)
    return Table(title, columns, [Method(method, dict(zip(columns, values, strict=True)))], digits=2)


def column(pictures: int) -> str:
    """The heading of a number of pictures."""
    return f"D={pictures:,}"


def published_curve(name: str) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Numbers of pictures and percent of right answers that the paper gives for a method."""
    values = _PUBLISHED[name]
    return NUMBERS[: len(values)], values
