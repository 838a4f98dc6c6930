"""The questions with known answers that calibrate.py fits on, each to one memory:

walks    synthetic worlds: names, synonyms, pictures, both, and absent things photos   photographs of coco_cc, as a
folder of single pictures: the household names among its kinds clips    the real clips, all in one memory: the half
"fit" of real_present.json film     photographs of doors.tar panned over: pictures of what the detector is sure of, cut
from the photographs

No fit of the networks looks at any of these. Nothing of the half "held", of real_queries.json or of benchmarks.film is
asked here.
"""

from __future__ import annotations

import io
import random
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks import film
from benchmarks.common import box_iou, memory_place
from benchmarks.lostfound import index_world, true_box_iou
from benchmarks.photos import ALSO, lines
from benchmarks.real_present import Place, facts, on_it, worth
from benchmarks.real_sheet import frame
from benchmarks.worlds import ensure_all, vendor
from lab.photos import read_photos
from lab.synthetic.drawings import things
from lab.synthetic.furniture import WORDS as FURNITURE_WORDS
from lab.synthetic.lostfound import World
from vidmem import Memory
from vidmem.encoders.tiny.text_table import words
from vidmem.errors import UsageError
from vidmem.query.picture import load_picture, picture_token
from vidmem.records import Box, Float32, Sighting
from vidmem.store import TrackRow
from vidmem.timecode import NS

SHOWN_BOX = 0.3
"""IoU of an evidence box with a true one, from which on it shows the thing."""
DETECTED = ("coco_cc",)
"""Sources of photos.tar in which every thing of each kind has its box: others box some kinds in some photographs."""
SHOTS, SURE, OTHERS = 20, 0.4, 40

Right = Callable[[TrackRow], bool]


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """A question with a known answer.

    Attributes:
        kind: For people.
        text: As in `search.find`.
        visual: As in `search.find`.
        contrast: As in `search.find`.
        right: Whether the evidence of a track shows what was asked for; None for an absent thing.
    """

    kind: str
    asked: str
    text: Float32 | None
    visual: Float32 | None
    contrast: Float32 | None
    right: Right | None

    @property
    def mode(self) -> str:
        return (
            "product"
            if self.text is not None and self.visual is not None
            else "visual"
            if self.text is None
            else "text"
        )


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """One memory with its questions. group: the data set that it belongs to."""

    group: str
    memory: Memory
    questions: tuple[Question, ...]


def _worded(
    memory: Memory, kind: str, name: str, right: Right | None, visual: Float32 | None = None
) -> Question | None:
    """The question for a name; None if the encoder refuses the name, because then nothing can be found wrongly."""
    try:
        text = memory.text_encoder.encode_text([name])[0]
    except UsageError:
        return None
    return Question(kind, name, text, visual, memory.text_encoder.contrast(text), right)


def _kept(questions: Sequence[Question | None]) -> tuple[Question, ...]:
    return tuple(q for q in questions if q is not None)


def walks(cache: Path, drawings: Path | None, seeds: Sequence[int], seconds: float, processes: int) -> Iterator[Asked]:
    """A memory for each synthetic world."""
    unknown = household()
    for world in ensure_all(cache, drawings, seeds, seconds, processes):
        place = memory_place(cache, "calibrate", vendor(drawings), world.folder.name)
        index_world(world, place)
        memory = Memory.open(place, read_only=True)
        yield Asked("walks", memory, _kept(list(_world_questions(memory, world, unknown))))


def _world_questions(memory: Memory, world: World, unknown: Sequence[str]) -> Iterator[Question | None]:
    for query in world.queries:
        there = query.start_ns is not None

        def right(track: TrackRow, name: str = query.name) -> bool:
            return (true_box_iou(world.truth, name, track.best_ns, track.best_box) or 0.0) >= SHOWN_BOX

        visual = None
        if query.picture is not None:
            visual = picture_token(memory.encoder, load_picture(world.folder / query.picture))
        kind = query.kind if there else "absent_word" if visual is None else "absent_picture"
        if query.text is None:
            yield Question(kind, query.name, None, visual, None, right if there else None)
        else:
            yield _worded(memory, kind, query.text, right if there else None, visual)
        if not there and visual is not None:
            yield _worded(memory, "absent_name_picture", query.name, None, visual)
    for phrase in absent_phrases(world, unknown):
        yield _worded(memory, "unknown_word", phrase, None)


def household() -> list[str]:
    """The phrases of household.txt that are neither a name nor a synonym of a thing in the worlds."""
    known = {phrase.lower() for thing in things() for phrase in (thing.name, *thing.synonyms)}
    return [phrase for phrase in lines("household.txt") if phrase.lower() not in known]


def absent_phrases(world: World, phrases: Sequence[str]) -> list[str]:
    """The phrases that share no word with anything in the world, its furniture included.

    "violin bow" would not be a fair question where a violin lies.
    """
    there = set(world.truth.names()) | {shown.name for shown in world.truth.shown}
    said = {w for thing in things() if thing.name in there for p in (thing.name, *thing.synonyms) for w in words(p)}
    said |= set(FURNITURE_WORDS)
    return [phrase for phrase in phrases if not set(words(phrase)) & said]


def photos(data: Path, cache: Path) -> Asked:
    """One memory of the photographs whose things all have boxes."""
    place = memory_place(cache, "calibrate", "photos-coco")
    folder = cache / "calibrate-photos-coco"
    folder.mkdir(parents=True, exist_ok=True)
    boxes: dict[str, list[tuple[str, Box]]] = {}
    for photo in read_photos(data / "photos.tar"):
        if photo.source not in DETECTED:
            continue
        path = folder / (photo.source + "-" + photo.name.replace("/", "-") + ".png")
        if not path.exists():
            photo.image().save(path)
        boxes[path.name] = [(ALSO.get(r.name, r.name), r.box) for r in photo.regions]
    with Memory.open(place) as memory:
        memory.index(folder)
    memory = Memory.open(place, read_only=True)
    (source,) = memory.sources()
    names = {p.t_ns: Path(p.path).name for p in memory.store.picture_files(source.id) if p.t_ns is not None}
    there = {name for held in boxes.values() for name, _ in held}

    def right(track: TrackRow, wanted: str) -> bool:
        return any(name == wanted and on_it(track.best_box, box) for name, box in boxes[names[track.best_ns]])

    asked = [
        _worded(memory, "photo_name", n, partial(right, wanted=n)) for n in lines("household_names.txt") if n in there
    ]
    return Asked("photos", memory, _kept(asked))  # what is absent from photographs nobody has listed


def clips(folder: Path, cache: Path) -> Asked:
    """One memory of all clips, with the half "fit" of the names."""
    known = {place.clip for name in facts().names for place in name.places}
    paths = sorted(p for p in folder.glob("*.mp4") if p.name in known)
    made = memory_place(cache, "real")
    with Memory.open(made) as memory:
        memory.index(*paths)
    memory = Memory.open(made, read_only=True)
    uris = {row.id: row.uri for row in memory.sources()}
    held = facts([p.name for p in paths])
    asked = []
    for name in held.half("fit"):
        asked.append(_worded(memory, "clip_name", name.name, partial(_at, uris, name.places)))
        for place in name.places:
            visual = picture_token(memory.encoder, _cut_out(folder, place))
            asked.append(_worded(memory, "clip_name_picture", name.name, partial(_at, uris, [place]), visual))
    absent = (_worded(memory, "absent_clip", n, None) for n in held.absent["fit"])
    return Asked("clips", memory, _kept([*asked, *absent]))


def _cut_out(folder: Path, place: Place) -> Image.Image:
    """A crop of a thing in a clip, from the largest of its boxes."""
    t_s, *box = max(place.boxes, key=lambda b: (b[3] - b[1]) * (b[4] - b[2]))
    picture = frame(folder / place.clip, t_s)
    return picture.crop(_grown((box[0], box[1], box[2], box[3]), picture.size))


def _at(uris: Mapping[int, str], places: Sequence[Place], track: TrackRow) -> bool:
    """Return True if the evidence of a track lies at one of these places in the clips."""
    seen = Sighting(uris[track.source_id], track.best_ns, track.best_ns, 0.0, None, None, track.best_ns, track.best_box)
    return worth(seen, places) == "right"


def panned(data: Path, cache: Path, seed: int = 7) -> Asked:
    """A film of SHOTS photographs, with crops of confident detections as questions, and as many crops of photographs
    that are not in the film.
    """
    rng = random.Random(seed)
    with tarfile.open(data / "doors.tar") as tar:
        members = sorted((m for m in tar.getmembers() if m.name.endswith(".jpg")), key=lambda m: m.name)
        chosen = rng.sample(members, SHOTS + OTHERS)
        pictures = [Image.open(io.BytesIO(tar.extractfile(m).read())).convert("RGB") for m in chosen]  # type: ignore[union-attr]
    shown = pictures[:SHOTS]
    never = facts().absent["fit"]
    shots = film.script([p.size for p in shown], seed, again=4)
    path = cache / f"calibrate-film-{seed}.mp4"
    film.make(path, shots, shown)
    place = memory_place(cache, "calibrate", "film")
    with Memory.open(place) as memory:
        memory.index(path)
    memory = Memory.open(place, read_only=True)
    questions = []
    for number, picture in enumerate(pictures):
        for box in _sure_boxes(memory, picture):
            visual = picture_token(memory.encoder, picture.crop(_grown(box, picture.size)))
            right = None if number >= SHOTS else (lambda t, n=number, b=box: _lies(t, shots, shown, n, b))
            kind = "film_picture" if right else "absent_picture"
            questions.append(Question(kind, f"{number} {box}", None, visual, None, right))
            if right is None:
                both = _worded(memory, "absent_name_picture", rng.choice(never), None, visual)
                questions += [] if both is None else [both]
    return Asked("film", memory, tuple(questions))


def _sure_boxes(memory: Memory, picture: Image.Image) -> list[Box]:
    image = np.asarray(picture)
    size = memory.encoder.working_size(*picture.size)
    (found,) = memory.encoder.encode([np.asarray(picture.resize(size))], image.shape[1], image.shape[0])
    sure = found.take(found.confidence >= SURE)
    return [(float(b[0]), float(b[1]), float(b[2]), float(b[3])) for b in sure.boxes[:6]]


def _grown(box: Box, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Enlarge a box: people crop a little wider than the thing."""
    dx, dy = 0.05 * (box[2] - box[0]), 0.05 * (box[3] - box[1])
    return (
        max(0, round(box[0] - dx)),
        max(0, round(box[1] - dy)),
        min(size[0], round(box[2] + dx)),
        min(size[1], round(box[3] + dy)),
    )


def _lies(track: TrackRow, shots: Sequence[film.Shot], shown: Sequence[Image.Image], number: int, box: Box) -> bool:
    """Return True if the evidence of a track lies where the photograph's box is in the film at that time."""
    at = track.best_ns / NS
    shot = shots[min(int(at // film.SHOT_S), len(shots) - 1)]
    if shot.photo != number:
        return False
    u = min((at % film.SHOT_S) * film.FPS / (film.SHOT_S * film.FPS - 1), 1.0)
    x0, y0, x1, y1 = np.array(shot.start) + (np.array(shot.end) - np.array(shot.start)) * u
    sx, sy = film.SIZE[0] / (x1 - x0), film.SIZE[1] / (y1 - y0)
    there = ((box[0] - x0) * sx, (box[1] - y0) * sy, (box[2] - x0) * sx, (box[3] - y0) * sy)
    inside = tuple(min(max(v, 0.0), float(film.SIZE[i % 2])) for i, v in enumerate(there))
    return box_iou(inside, track.best_box) >= SHOWN_BOX
