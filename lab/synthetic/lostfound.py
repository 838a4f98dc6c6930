"""lostfound: one folder with a video, its truth and the questions to ask."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from vidmem.errors import MediaError

from .camera import Lens
from .drawings import Drawing, load_drawings
from .queries import Query, ask
from .render import develop, encode, frames
from .script import write_script
from .truth import Truth, from_json, save, tell, to_json


@dataclass(frozen=True, slots=True)
class World:
    """A world on disk: folder / video.mp4, folder / truth.json (truth and queries) and folder / pictures."""

    folder: Path
    truth: Truth
    queries: tuple[Query, ...]

    @property
    def video(self) -> Path:
        return self.folder / "video.mp4"


def make(
    folder: str | Path,
    seed: int,
    seconds: float = 60,
    drawings: Sequence[Drawing] | None = None,
    *,
    width: int = 1280,
    height: int = 720,
    fps: int = 30,
    rooms: int | None = None,
    targets: int | None = None,
    crf: int = 25,
    rest_s: float = 0.0,
) -> World:
    """Make a world; the same arguments give the same files, byte for byte (on one version of x264).

    drawings: the things to place; None for drawings.webp. rooms, targets: None derives them from the length. rest_s:
    seconds of standing still in each visit, in addition to the walk. Raises UsageError if time, size or drawings do not
    suffice.
    """
    script = write_script(
        seed,
        load_drawings() if drawings is None else drawings,
        seconds,
        Lens(width, height, fps),
        rooms,
        targets,
        rest_s,
    )
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    truth = tell(script)
    queries = ask(script, truth, folder)
    encode(develop(script, frames(script)), script.lens, folder / "video.mp4", crf)
    save(folder / "truth.json", {**to_json(truth), "queries": [asdict(q) for q in queries]})
    return World(folder, truth, queries)


def make_small(folder: str | Path, seed: int, seconds: float = 6, drawings: Sequence[Drawing] | None = None) -> World:
    """A world for tests: 320x180 at 15 frames a second, made in a second or two."""
    return make(folder, seed, seconds, drawings, width=320, height=180, fps=15)


def load(folder: str | Path) -> World:
    """Read what `make` wrote. Raises MediaError if the folder has no world."""
    folder = Path(folder)
    try:
        data = json.loads((folder / "truth.json").read_text("utf-8"))
        queries = tuple(Query(**q) for q in data.pop("queries"))
        return World(folder, from_json(data), queries)
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise MediaError(f"no readable truth.json ({e}); make one with python -m lab.synthetic --out {folder}") from e
