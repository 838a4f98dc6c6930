"""The tables of `vidmem eval vq2d`, with published figures beside ours."""

from __future__ import annotations

from .report import Method, Table
from .vq2d_metrics import LooseMetrics, Metrics
from .vq2d_run import Cost

AP, STAP = "tAP25", "stAP25"
RECOVERY, SUCCESS = "rec %", "Succ %"
LOOSE_RECALL, LOOSE_TAP = "R@1 %, T-REN's protocol", "tAP %, T-REN's protocol"
COLUMNS = (AP, "tAP", STAP, "stAP", RECOVERY, SUCCESS, LOOSE_RECALL, LOOSE_TAP)
MEMORY = "MB of memory an hour"
ONLINE_COLUMNS = (SUCCESS, AP, STAP, RECOVERY, MEMORY)
COST_COLUMNS = ("tracks an hour", "regions an hour", MEMORY, "ms a query", "indexing / video time")

_VALIDATION = {
    "STARK": (0.10, 0.04, 12.41, 18.70),
    "SiamRCNN": (0.22, 0.15, 32.92, 43.24),
    "NFM": (0.26, 0.19, 37.88, 47.90),
    "CocoFormer": (0.26, 0.19, 37.67, 47.68),
    "VQLoC": (0.31, 0.22, 47.05, 55.89),
    "PRVQL": (0.35, 0.27, 47.87, 57.93),
}
_TEST = {"RELOCATE": (0.43, 0.35, 50.60, 60.10), "EAGLE": (0.46, 0.40, 53.51, 62.70)}
_LOOSE = {"DINOv3 dino.txt": (36.8, 14.4), "REN": (39.0, 19.9), "T-REN": (52.4, 26.4)}
_ONLINE = {
    "ESOM, the best online": 4.0,
    "ESOM with perfect tracking": 31.91,
    "ESOM with perfect discovery": 40.55,
    "ESOM with both perfect": 81.92,
}
LOOSE_NOTE = (
    "T-REN's protocol is looser than the official one: only the window in time counts, it may be that of any query "
    "about the clip, and all predictions have one score."
)
ONLINE_NOTE = (
    "Online, each frame is seen once, and a query is answered at its frame from the memory as it is then. The crop is "
    "given as a picture."
)


def accuracy_table(title: str, method: str, official: Metrics | None, loose: LooseMetrics | None) -> Table:
    """The official metrics, and those of T-REN's protocol in columns of their own.

    official, loose: None if the annotations have no answers.
    """
    figures = _figures(official)
    if loose is not None:
        figures |= {LOOSE_RECALL: loose.recall, LOOSE_TAP: loose.tap}
    published = [
        *(Method(name, _official(values), "PRVQL, validation set") for name, values in _VALIDATION.items()),
        *(Method(f"{name}, test set", _official(values), "arXiv 2511.08007") for name, values in _TEST.items()),
        *(
            Method(name, {LOOSE_RECALL: values[0], LOOSE_TAP: values[1]}, "arXiv 2604.18573, Table 3")
            for name, values in _LOOSE.items()
        ),
    ]
    return Table(title, COLUMNS, [Method(method, figures)], published, (LOOSE_NOTE,), digits=2)


def online_table(title: str, method: str, official: Metrics | None, spent: Cost) -> Table:
    """The metrics of OVQ2D, with the size of the memory."""
    figures = {**_figures(official), MEMORY: spent.bytes_per_hour / 1e6}
    published = [
        *(Method(name, {SUCCESS: value}, "arXiv 2411.16934, abstract") for name, value in _ONLINE.items()),
        Method("VQLoC, offline", _official(_VALIDATION["VQLoC"]), "PRVQL, validation set"),
    ]
    return Table(title, ONLINE_COLUMNS, [Method(method, figures)], published, (ONLINE_NOTE,), digits=2)


def cost_table(title: str, method: str, spent: Cost) -> Table:
    """What it costs."""
    values = (
        spent.tracks_per_hour,
        spent.regions_per_hour,
        spent.bytes_per_hour / 1e6,
        spent.ms_per_query,
        spent.index_ratio,
    )
    return Table(title, COST_COLUMNS, [Method(method, dict(zip(COST_COLUMNS, values, strict=True)))], digits=2)


def _figures(official: Metrics | None) -> dict[str, float | None]:
    if official is None:
        return {}
    values = (official.tap25, official.tap, official.stap25, official.stap, official.recovery, official.success)
    return dict(zip(COLUMNS, values, strict=False))


def _official(values: tuple[float, float, float, float]) -> dict[str, float | None]:
    return dict(zip((AP, STAP, RECOVERY, SUCCESS), values, strict=True))
