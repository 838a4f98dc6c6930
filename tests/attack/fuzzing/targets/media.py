"""Pictures, their dates, and videos."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..mutate import binary
from ..target import Broken, Ready, Target

FRAMES = 40
"""Frames of a video that are decoded."""
PICTURES: dict[str, tuple[str, list[bytes]]] = {
    "jpeg": ("jpg", [b"\xff\xd8", b"\xff\xc0", b"\xff\xc2", b"\xff\xda", b"\xff\xe1", b"Exif\0\0", b"MPF\0",
    b"\xff\xd9"]),
    "png": ("png", [b"IHDR", b"IDAT", b"PLTE", b"tRNS", b"iCCP", b"zTXt", b"acTL", b"fcTL", b"fdAT", b"eXIf", b"IEND"]),
    "webp": ("webp", [b"RIFF", b"WEBP", b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"EXIF"]),
    "gif": ("gif", [b"GIF89a", b"\x21\xf9\x04", b"\x21\xff\x0b", b"\x2c", b"\x3b"]),
    "bmp": ("bmp", [b"BM", b"\x28\0\0\0", b"\x7c\0\0\0"]),
    "tiff": ("tif", [b"II*\0", b"MM\0*", b"\x01\x03\x03\0", b"\x11\x01", b"\x17\x01"]),
    "avif": ("avif", [b"ftypavif", b"meta", b"iloc", b"iprp", b"ipco", b"ispe", b"av1C", b"mdat", b"iref", b"irot"]),
}  # fmt: skip


def image(mode: str = "RGB", size: tuple[int, int] = (40, 24)) -> object:
    from PIL import Image

    width, height = size
    ramp = np.add.outer(np.arange(height), np.arange(width)).astype(np.uint8) * 4
    made = Image.fromarray(np.stack([ramp, ramp[::-1], ramp[:, ::-1]], -1))
    if mode == "I;16":
        return Image.fromarray(ramp.astype(np.uint16) * 200)
    return made.convert(mode)


def encoded(form: str) -> list[bytes]:
    """Small pictures of a format in its usual modes."""
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6
    exif.get_ifd(0x8769)[0x9003] = "2026:01:31 08:30:12"
    exif.get_ifd(0x8769)[0x9011] = "+01:00"
    ways: dict[str, list[tuple[str, dict[str, object]]]] = {
        "jpeg": [("RGB", {"exif": exif}), ("L", {}), ("CMYK", {}), ("RGB", {"progressive": True, "dpi": (72, 72)})],
        "png": [("RGB", {"exif": exif}), ("RGBA", {}), ("P", {}), ("I;16", {}), ("1", {}), ("LA", {})],
        "webp": [("RGB", {"exif": exif}), ("RGBA", {"lossless": True})],
        "gif": [("P", {}), ("L", {})],
        "bmp": [("RGB", {}), ("P", {}), ("1", {})],
        "tiff": [("RGB", {"compression": c}) for c in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")]
        + [("I;16", {}), ("CMYK", {})],
        "avif": [("RGB", {"exif": exif.tobytes()}), ("RGBA", {"quality": 50})],
    }
    found = []
    for mode, options in ways[form]:
        out = io.BytesIO()
        image(mode).save(out, form.upper(), **options)
        found.append(out.getvalue())
    if form in ("gif", "webp", "png"):
        out = io.BytesIO()
        more = [image("RGB", (40, 24)).rotate(90 * i) for i in (1, 2)]
        image().save(out, form.upper(), save_all=True, append_images=more)
        found.append(out.getvalue())
    return found


def picture(form: str, folder: Path) -> Ready:
    """Pictures of one format: as a source, as a question, and their date."""
    from vidmem.media.exif import from_exif
    from vidmem.media.images import ImageSource, load
    from vidmem.query.picture import load_picture

    path = folder / f"a.{PICTURES[form][0]}"

    def run(data: bytes) -> None:
        path.write_bytes(data)
        from_exif(str(path))
        with ImageSource(str(path)) as source:
            (frame,) = source.frames(0)
            if frame.image.shape != (source.info.height, source.info.width, 3):
                raise Broken(f"{frame.image.shape}, not {source.info}")
        load(str(path), lambda w, h: (max(1, w // 3), max(1, h // 3)), str(path))
        load_picture(path)

    return Ready(run, encoded(form))


def exif(folder: Path) -> Ready:
    """Dates in EXIF and in the metadata of containers."""
    from PIL import Image

    from vidmem.media.exif import from_exif
    from vidmem.media.recorded import from_tags

    def run(data: bytes) -> None:
        tags, *times = [*data.split(b"\0\0\0\0"), b"", b"", b""][:4]
        found = Image.Exif()
        for tag, value in zip((0x9003, 0x9011, 0x9291), times, strict=True):
            found.get_ifd(0x8769)[tag] = value.decode("latin-1")
        out = io.BytesIO()
        image().save(out, "JPEG", exif=found)
        from_exif(io.BytesIO(out.getvalue()))
        text = tags.decode("utf-8", "replace")
        for name in ("creation_time", "com.apple.quicktime.creationdate", "date", "DATE_RECORDED"):
            from_tags({name: text}, {})

    date = b"2026-01-31T08:30:12.5+0100"
    return Ready(
        run, [date + b"\0\0\0\0" + b"2026:01:31 08:30:12\0\0\0\0+01:00\0\0\0\0" + b"25", b"2026\0\0\0\0\0\0\0\0"]
    )


VIDEOS: dict[str, tuple[str, str, list[bytes]]] = {
    "mp4": ("mp4", "libx264", [b"ftyp", b"moov", b"trak", b"stts", b"ctts", b"stsz", b"stco", b"stsc", b"elst",
    b"mdat", b"moof"]),
    "mkv": ("mkv", "libx264", [b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75", b"\xa3",
    b"\x16\x54\xae\x6b"]),
    "webm": ("webm", "libvpx-vp9", [b"\x1a\x45\xdf\xa3", b"\x1f\x43\xb6\x75", b"\xa3"]),
    "avi": ("avi", "mpeg4", [b"RIFF", b"AVI ", b"hdrl", b"movi", b"00dc", b"idx1", b"strh", b"strf"]),
    "mpegts": ("ts", "mpeg2video", [b"\x47\x40", b"\0\0\x01\xe0", b"\0\0\x01\xb3"]),
    "gif-video": ("gif", "gif", [b"GIF89a", b"\x21\xf9\x04", b"\x2c", b"\x3b"]),
}  # fmt: skip


def video(kind: str, folder: Path) -> Ready:
    """Videos in one container: its description, its frames, and a frame in the middle."""
    from media import make

    from vidmem.media import open_source
    from vidmem.media.recorded import recorded_at  # noqa: F401

    suffix, codec, _ = VIDEOS[kind]
    fmt = "rgb8" if codec == "gif" else "yuv420p"
    base = make.Fraction(1, 10)
    made = [
        make.video(folder / f"s{i}.{suffix}", range(n), base, codec=codec, pix_fmt=fmt, size=size).read_bytes()
        for i, (n, size) in enumerate(((6, (32, 32)), (3, (64, 48))))
    ]
    if kind == "mp4":
        fragments = {"movflags": "frag_keyframe+empty_moov"}
        made.append(
            make.video(folder / "f.mp4", range(4), base, size=(32, 32), container_options=fragments).read_bytes()
        )
    path = folder / f"a.{suffix}"

    def run(data: bytes) -> None:
        path.write_bytes(data)
        with open_source(str(path)) as source:
            last = -1
            for frame, _ in zip(source.frames(0), range(FRAMES), strict=False):
                if frame.t_ns <= last:
                    raise Broken(f"the time {frame.t_ns} follows {last}")
                last = frame.t_ns
            next(iter(source.frames(2, shape=lambda w, h: (16, 16))), None)
            source.frame_at(300_000_000)

    return Ready(run, made)


def _named(function: Callable[[str, Path], Ready], name: str, what: str) -> Callable[[Path], Ready]:
    prepare = functools.partial(function, name)
    functools.update_wrapper(prepare, function)
    prepare.__doc__ = what
    return prepare


TARGETS = [
    *(
        Target(
            form,
            _named(picture, form, f"{form.upper()} pictures: as a source, as a question, and their date."),
            binary(words),
            share=0.5 if form == "avif" else 1.0,
            megabytes=1024,
        )
        for form, (_, words) in PICTURES.items()
    ),
    Target("dates-of-photos", exif, binary([b"2026", b":", b"+25:00", b"\0\0\0\0", b"0000", b"Z"]), 0.5),
    *(
        Target(
            kind,
            _named(video, kind, f"{kind} videos: description, frames, one frame."),
            binary(words),
            0.5,
            megabytes=1024,
        )
        for kind, (_, _, words) in VIDEOS.items()
    ),
]
