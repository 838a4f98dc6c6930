"""Render a script to pictures, and encode pictures to an H.264 file."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import av
import numpy as np
from PIL import Image

from .camera import Lens, Visit
from .rooms import HEIGHT, Occluder
from .scene import Floats, furnish, stand
from .script import Script

Planes = tuple[Image.Image, Image.Image, Image.Image]
"""Y, Cb, Cr of one picture, chroma at half size, as the codec takes it; scaling costs a third less than in RGB."""
DISSOLVE = 0.25
"""Length in seconds of the cross-fade between rooms, at the doorway."""
PRESET = "veryfast"
LIGHT_SWELL = 0.9
"""Time in seconds in which the exposure settles in a new room."""


def to_planes(picture: Image.Image) -> Planes:
    """Convert RGB to Y (full range; `develop` narrows it) and Cb, Cr at half size in video range."""
    y, *chroma = picture.convert("YCbCr").split()
    narrow = [round(128 + (v - 128) * 224 / 255) for v in range(256)]
    cb, cr = (c.reduce(2).point(narrow) for c in chroma)
    return y, cb, cr


def frames(script: Script, hide: Collection[int] = ()) -> Iterator[Planes]:
    """Yield all frames in order, before noise and exposure (see `develop`).

    hide: indices of placements to leave out, for tests.
    """
    lens = script.lens
    last: Planes | None = None
    for v, visit in enumerate(script.visits):
        room = script.rooms[visit.room]
        panorama = furnish(room, [(p, s) for i, p, s in script.things(v) if i not in hide])
        scale = min(1.0, lens.scale)
        if scale < 1:
            panorama = panorama.resize(
                (round(panorama.width * scale), round(panorama.height * scale)), Image.Resampling.BOX
            )
        planes = to_planes(panorama)
        screens = [(o, to_planes(o.sprite.convert("RGB")), o.sprite.getchannel("A")) for o in room.occluders]
        before = last
        for k in range(visit.last - visit.first):
            stands = k and k / lens.fps >= DISSOLVE and visit.smear[k] == visit.smear[k - 1]
            if last is not None and stands and np.array_equal(visit.poses[k], visit.poses[k - 1]):
                yield last  # the camera stands still: the same picture; `develop` adds fresh noise
                continue
            shown = view(planes, visit, k, lens, room.width)
            for occluder, colours, alpha in screens:
                stand_before(shown, occluder, colours, alpha, visit.poses[k], lens)
            if before is not None and k / lens.fps < DISSOLVE:
                y, cb, cr = (Image.blend(a, b, melt(k / lens.fps)) for a, b in zip(before, shown, strict=True))
                shown = y, cb, cr
            yield shown
            last = shown


def melt(t: float) -> float:
    """Return the new room's share of the picture t seconds after the door."""
    return min(1.0, (t + 0.02) / DISSOLVE)


def view(room: Planes, visit: Visit, k: int, lens: Lens, width: int) -> Planes:
    """Return the camera's view of a room, `width` panorama pixels wide, in frame k of the visit, with motion blur."""
    cx, cy, zoom = visit.poses[k]
    w, h = lens.view_width / zoom, 720 / zoom
    smear = visit.smear[k] * lens.scale

    def look(plane: Image.Image, size: tuple[int, int]) -> Image.Image:
        sx, sy = plane.width / width, plane.height / HEIGHT
        x0, y0 = max(0.0, (cx - w / 2) * sx), max(0.0, (cy - h / 2) * sy)
        box = (x0, y0, min(plane.width, x0 + w * sx), min(plane.height, y0 + h * sy))
        if smear < 3:
            return plane.resize(size, Image.Resampling.BILINEAR, box)
        # Scaling the width down and up again blurs by about that many pixels.
        narrow = plane.resize((max(8, int(lens.width / smear)), size[1]), Image.Resampling.BILINEAR, box)
        return narrow.resize(size, Image.Resampling.BILINEAR)

    half = (lens.width // 2, lens.height // 2)
    return look(room[0], (lens.width, lens.height)), look(room[1], half), look(room[2], half)


def stand_before(
    shown: Planes, occluder: Occluder, colours: Planes, alpha: Image.Image, pose: Floats, lens: Lens
) -> None:
    """Paste an occluder at its position under this pose."""
    left, top, scale = stand(occluder, pose, lens)
    w, h = occluder.sprite.width * scale, occluder.sprite.height * scale
    if left + w <= 0 or left >= lens.width or top >= lens.height or top + h <= 0:
        return
    # Only the rows on screen are scaled: a pillar is much longer than the picture is high.
    y0, y1 = max(0.0, -top / scale), min(occluder.sprite.height, (lens.height - top) / scale)
    for plane, colour in zip(shown, colours, strict=True):
        part = plane.width / lens.width
        size = (max(1, round(w * part)), max(1, round((y1 - y0) * scale * part)))
        cut, mask = (
            image.resize(
                size,
                Image.Resampling.BILINEAR,
                (0, y0 * image.height / alpha.height, image.width, y1 * image.height / alpha.height),
            )
            for image in (colour, alpha)
        )
        plane.paste(cut, (round(left * part), round((top + y0 * scale) * part)), mask)


def exposure(visit: Visit, k: int, lens: Lens) -> float:
    """Return the brightness of frame k of a visit: a slow flicker, and overexposure after the dark doorway."""
    now, t = (visit.first + k) / lens.fps, k / lens.fps
    swell = 0.2 * np.exp(-3 * t / LIGHT_SWELL) if visit.first else 0.0
    return float(1 + 0.015 * np.sin(now * 1.9) + 0.01 * np.sin(now * 7.3) + swell)


def develop(script: Script, pictures: Iterable[Planes]) -> Iterator[av.VideoFrame]:
    """Convert `pictures` to yuv420p in video range, with vignette, exposure and noise on luma."""
    lens = script.lens
    h, w = lens.height, lens.width
    yy, xx = np.mgrid[-1 : 1 : h * 1j, -1 : 1 : w * 1j]
    fall = (128 * (1 - 0.2 * np.clip((xx**2 + yy**2) / 2, 0, 1) ** 1.3)).astype(np.uint16)
    rng = np.random.default_rng([script.seed, 6])
    grain = np.rint(1.6 * rng.standard_normal((h + 64, w + 64), dtype=np.float32)).astype(np.int16)
    gains = (exposure(visit, k, lens) for visit in script.visits for k in range(visit.last - visit.first))
    levels = np.arange(256) * (219 / 255)
    for picture, gain in zip(pictures, gains, strict=False):
        # 219 * 128 is the largest product: it fits 16 bits, signed too.
        luma = np.take(np.minimum(levels * gain, 219).astype(np.uint16), np.asarray(picture[0]))
        luma *= fall
        luma >>= 7
        y, x = rng.integers(0, 65, 2)
        bright = luma.view(np.int16)
        bright += grain[y : y + h, x : x + w]
        np.clip(bright, 0, 219, out=bright)
        bright += 16
        planes = [bright.astype(np.uint8), np.asarray(picture[1]), np.asarray(picture[2])]
        packed = np.concatenate([p.ravel() for p in planes]).reshape(h * 3 // 2, w)
        yield av.VideoFrame.from_ndarray(packed, format="yuv420p")


def encode(pictures: Iterable[av.VideoFrame], lens: Lens, path: Path, crf: int = 25) -> None:
    """Write H.264 in MP4: yuv420p, B-frames, a key frame every two seconds."""
    part = path.with_name(path.name + ".part")
    # x264's macroblock tree reads uninitialised memory, so that files differ from run to run; it is off.
    options = {"preset": PRESET, "crf": str(crf), "g": str(2 * lens.fps), "x264-params": "mbtree=0"}
    with av.open(str(part), "w", format="mp4", options={"movflags": "faststart"}) as box:
        stream = box.add_stream("libx264", rate=lens.fps, options=options)
        stream.width, stream.height, stream.pix_fmt = lens.width, lens.height, "yuv420p"
        # x264's output depends on the number of threads; a fixed number keeps files identical.
        stream.codec_context.thread_count = 2
        for i, frame in enumerate(pictures):
            frame.pts = i
            box.mux(stream.encode(frame))
        box.mux(stream.encode(None))
    part.replace(path)
