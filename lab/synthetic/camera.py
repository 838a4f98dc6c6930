"""The walk of the camera: its room and its view in each frame.

A pose is (cx, cy, zoom): the pixel of the panorama in the middle of the picture, and how many pixels of a
1280x720 video one pixel of the panorama takes. Other video sizes see the same scene, scaled.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .rooms import HEIGHT, Room
from .textures import Rng

Poses = NDArray[np.float64]
SHUTTER = 0.5
"""Share of a frame's time in which the shutter is open; it sets the motion blur."""
BLURRED = 12.0
"""Motion blur, in pixels of a 1280x720 video, from which nothing in a frame counts as visible."""


@dataclass(frozen=True, slots=True)
class Lens:
    """width, height: the video's size in pixels; fps: frames a second. scale: video pixels per panorama pixel."""

    width: int
    height: int
    fps: int

    @property
    def scale(self) -> float:
        return self.height / 720

    @property
    def view_width(self) -> float:
        """Width of the view at zoom 1 in panorama pixels."""
        return self.width / self.scale


@dataclass(frozen=True, slots=True, eq=False)
class Visit:
    """One stay in one room: frames first .. last - 1, with poses `(last - first, 3)` and smear `(last - first,)`.

    smear: how far the picture moves sideways while the shutter is open, in 1280x720 pixels.
    """

    room: int
    first: int
    last: int
    poses: Poses
    smear: NDArray[np.float64]


def rest(visits: tuple[Visit, ...], seconds: float, lens: Lens) -> tuple[Visit, ...]:
    """Insert a pause of `seconds` into each visit, at the least blurred frame of its middle half. The walk gets that
    much longer per visit."""
    more, out = round(seconds * lens.fps), []
    for number, visit in enumerate(visits):
        count = visit.last - visit.first
        middle = visit.smear[count // 4 : max(count // 4 + 1, count * 3 // 4)]
        at = count // 4 + int(middle.argmin())
        times = np.ones(count, dtype=np.intp)
        times[at] += more
        smear = np.repeat(visit.smear, times)
        smear[at : at + more + 1] = 0.0
        first = visit.first + number * more
        out.append(Visit(visit.room, first, first + count + more, np.repeat(visit.poses, times, axis=0), smear))
    return tuple(out)


def itinerary(rng: Rng, rooms: int, seconds: float) -> list[tuple[int, float, float]]:
    """Return (room, start, end) in seconds: each room once in order, then in random order, never the same twice in a
    row."""
    count = max(2, rooms + 1 if seconds >= 12 * rooms else rooms, round(seconds / 11))
    if seconds < 4 * count:
        count = max(2, int(seconds / 3))
    order = list(range(min(rooms, count)))
    while len(order) < count:
        # Prefer rooms that have not been seen for long, so that all come back.
        choice = [r for r in range(rooms) if r != order[-1]]
        age = np.asarray([len(order) - max(i for i, o in enumerate(order) if o == r) for r in choice], float) ** 2
        order.append(int(rng.choice(choice, p=age / age.sum())))
    share = rng.uniform(0.8, 1.2, count)
    ends = np.cumsum(share / share.sum()) * seconds
    return [(room, float(b), float(e)) for room, b, e in zip(order, [0.0, *ends[:-1]], ends, strict=True)]


def walk(rng: Rng, rooms: tuple[Room, ...], seconds: float, lens: Lens) -> tuple[Visit, ...]:
    """Return the whole path of the camera, frame by frame."""
    plan = itinerary(rng, len(rooms), seconds)
    visits, first = [], 0
    for i, (room, start, end) in enumerate(plan):
        last = round(seconds * lens.fps) if i == len(plan) - 1 else round(end * lens.fps)
        keys = _stay(rng, rooms[room], end - start, lens, leaves=i < len(plan) - 1)
        poses = _steady(rng, _between(keys, np.arange(last - first) / lens.fps), first / lens.fps, lens)
        poses = _inside(poses, rooms[room].width, lens)
        moved = np.gradient(poses[:, 0]) * poses[:, 2] if len(poses) > 1 else np.zeros(len(poses))
        visits.append(Visit(room, first, last, poses, np.abs(moved) * SHUTTER))
        first = last
    return tuple(visits)


def _stay(rng: Rng, room: Room, seconds: float, lens: Lens, leaves: bool) -> list[tuple[float, float, float, float]]:
    """Return key poses (t, cx, cy, zoom) of one visit: enter, look at several spots, leave by the door."""
    half = lens.view_width / 2
    left, right = half / 1.05 + 12, room.width - half / 1.05 - 12
    leave = min(1.3, 0.3 * seconds) if leaves else 0.0
    side = float(rng.integers(0, 2))
    # Sweep from one end of the room to the other with two stops or so, then look at random spots.
    stops = [abs(side - f) for f in (rng.uniform(0, 0.2), rng.uniform(0.35, 0.65), rng.uniform(0.8, 1.0))]

    def spot(share: float) -> tuple[float, float, float]:
        zoom = float(rng.uniform(0.95, 1.28))
        low = rng.random() < 0.45
        cy = rng.uniform(HEIGHT - 400, HEIGHT - 345) if low else rng.uniform(385, 560)
        return left + share * (right - left), float(cy), zoom

    cx, cy, zoom = spot(stops.pop(0))
    enter = min(0.9, 0.2 * seconds)
    t = enter + min(float(rng.uniform(0.8, 2.0)), 0.35 * seconds)
    keys = [(0.0, cx, cy, zoom * 0.88), (enter, cx, cy, zoom), (t, cx, cy, zoom)]
    while t < seconds - leave - 0.6:
        nx, ny, nz = spot(stops.pop(0) if stops else rng.random())
        far = float(np.hypot(nx - cx, ny - cy)) * zoom
        if far < 200 and not rng.random() < 0.3:
            continue
        quick = far > 500 and rng.random() < 0.3
        took = far / rng.uniform(1200, 1900) + 0.12 if quick else max(0.6, far / rng.uniform(120, 260))
        room_left = seconds - leave - t
        if took > room_left:  # not enough time: go as far as possible
            part = room_left / took
            nx, ny, nz, took = cx + (nx - cx) * part, cy + (ny - cy) * part, zoom + (nz - zoom) * part, room_left
        t += took
        keys.append((t, nx, ny, nz))
        t += min(float(rng.uniform(1.0, 2.6)), max(0.0, seconds - leave - t))
        cx, cy, zoom = nx, ny, nz
        keys.append((t, cx, cy, zoom))
    if leaves:
        door = (room.door_x, 500.0)
        face = max(seconds - leave, t)
        reach = max(face + 0.1, seconds - 0.55 * leave)
        keys += [(face, cx, cy, zoom), (reach, door[0], door[1], 1.15), (seconds + 0.1, door[0], door[1] + 20, 2.3)]
    return keys


def _between(keys: list[tuple[float, float, float, float]], times: NDArray[np.float64]) -> Poses:
    """Interpolate poses `(N, 3)` at the times, easing in and out of each key (a fifth of the way each)."""
    table = np.asarray(keys)
    k = np.clip(np.searchsorted(table[:, 0], times, side="right") - 1, 0, len(table) - 2)
    a, b = table[k], table[k + 1]
    s = np.clip((times - a[:, 0]) / np.maximum(b[:, 0] - a[:, 0], 1e-9), 0, 1)
    e = 0.2  # constant speed between a fifth of acceleration and a fifth of braking
    eased = np.where(s < e, s * s / (2 * e), np.where(s > 1 - e, 1 - e - (1 - s) ** 2 / (2 * e), s - e / 2)) / (1 - e)
    return np.asarray(a[:, 1:] + (b[:, 1:] - a[:, 1:]) * eased[:, None])


def _steady(rng: Rng, poses: Poses, start: float, lens: Lens) -> Poses:
    """Add the sway of a hand-held camera: a few pixels, slow and quick."""
    t = start + np.arange(len(poses)) / lens.fps
    out = poses.copy()
    for axis, gain in ((0, 1.0), (1, 0.8)):
        for hz, size in ((0.35, 5.0), (1.1, 2.2), (2.9, 0.8), (6.3, 0.3)):
            out[:, axis] += gain * size * np.sin(2 * np.pi * (hz * rng.uniform(0.85, 1.15) * t + rng.random()))
    out[:, 2] *= 1 + 0.004 * np.sin(2 * np.pi * 0.5 * t)
    return out


def _inside(poses: Poses, width: int, lens: Lens) -> Poses:
    """Keep the view inside the panorama."""
    out = poses.copy()
    out[:, 2] = np.maximum(out[:, 2], max(720 / HEIGHT, lens.view_width / width) + 0.01)
    half_w, half_h = lens.view_width / 2 / out[:, 2], 360 / out[:, 2]
    out[:, 0] = np.clip(out[:, 0], half_w, width - half_w)
    out[:, 1] = np.clip(out[:, 1], half_h, HEIGHT - half_h)
    return out


def to_video(points: NDArray[np.float64], pose: NDArray[np.float64], lens: Lens) -> NDArray[np.float64]:
    """Project panorama points `(..., 2)` to x, y in video pixels under one pose."""
    middle = np.asarray([lens.width / 2, lens.height / 2])
    return np.asarray((points - pose[:2]) * (pose[2] * lens.scale) + middle)
