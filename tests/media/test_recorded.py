"""When a file was recorded: by its tags, its EXIF, its name, its time; and what tells nothing."""

from __future__ import annotations

import io
import os
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from needs import needs
from vidmem.media import open_source
from vidmem.media.container import from_container
from vidmem.media.exif import from_exif
from vidmem.media.recorded import Recorded, from_mtime, from_name, from_tags, plausible, recorded_at
from vidmem.timecode import NS

SAID = datetime(2026, 1, 31, 8, 30, 12)
LOCAL = int(SAID.timestamp()) * NS
ZULU = int(SAID.replace(tzinfo=UTC).timestamp()) * NS
DAY = int(datetime(2026, 1, 31).timestamp()) * NS


@pytest.mark.parametrize(
    ("name", "ns"),
    [
        ("VID_20260131_083012.mp4", LOCAL),
        ("20260131_083012.mp4", LOCAL),
        ("IMG_20260131_083012.jpg", LOCAL),
        ("20260131_083012(0).mp4", LOCAL),
        ("DJI_20260131083012_0001_D.MP4", LOCAL),
        ("2026_0131_083012.MP4", LOCAL),
        ("2026-01-31 08.30.12.mov", LOCAL),
        ("2026-01-31T08-30-12.mkv", LOCAL),
        ("2026-01-31 08-30-12.mkv", LOCAL),
        ("Screen Recording 2026-01-31 at 08.30.12.mov", LOCAL),
        ("Aufnahme 2026-01-31 um 08.30.12.mov", LOCAL),
        ("Screen Recording 2026-01-31 at 8.30.12\u202fAM.mov", LOCAL),
        ("signal-2026-01-31-083012.mp4", LOCAL),
        ("Screen Recording 2026-01-31 at 8.30.12 PM.mov", LOCAL + 12 * 3600 * NS),
        ("PXL_20260131_083012345.mp4", ZULU + 345_000_000),
        ("PXL_20260131_083012345.TS.mp4", ZULU + 345_000_000),
        ("2026-01-31T08-30-12Z.mp4", ZULU),
        ("signal-2026-01-31-08-30-12-250.mp4", LOCAL + 250_000_000),
    ],
)
def test_names_of_cameras_and_phones(name: str, ns: int) -> None:
    assert from_name(f"/videos/20010101_000000/{name}") == Recorded(ns, "name")


@pytest.mark.parametrize("name", ["VID-20260131-WA0001.mp4", "IMG-20260131-WA0042.jpg", "birthday 2026-01-31.mov"])
def test_a_name_may_tell_the_day_alone(name: str) -> None:
    assert from_name(name) == Recorded(DAY, "day")


@pytest.mark.parametrize(
    "name",
    [
        "GX010034.MP4",
        "20261399.mp4",
        "20261399_083012.mp4",
        "20260131_253012.mp4",
        "2026-02-30 08.30.12.mp4",
        "+4917620260131.mp4",
        "01512026013108.mp4",
        "20260131.mp4",
        "1769848212345.mp4",
        "walk.mp4",
        "",
        "19040101_000000.mp4",
        "19700101_000000.mp4",
        "20990101_101010.mp4",
        "+20260131083012.mp4",
    ],
)
def test_digits_that_are_no_date(name: str) -> None:
    assert from_name(name) is None


@given(
    st.datetimes(datetime(1990, 1, 2), datetime(2026, 1, 1)),
    st.sampled_from(
        [
            "VID_%Y%m%d_%H%M%S.mp4",
            "%Y%m%d-%H%M%S.jpg",
            "%Y-%m-%d %H.%M.%S.mov",
            "x %Y-%m-%d at %H.%M.%S.mov",
            "video_%Y-%m-%d_%H-%M-%S.mp4",
            "%Y%m%d%H%M%S.mp4",
        ]
    ),
)
def test_every_time_comes_back(moment: datetime, form: str) -> None:
    known = from_name(moment.strftime(form))
    assert known == Recorded(int(moment.replace(microsecond=0).timestamp()) * NS, "name")


@given(st.text(st.sampled_from("0123456789-_. :TZatPXL_+")) | st.text())
def test_no_name_is_too_strange(name: str) -> None:
    known = from_name(name)
    assert known is None or (known.by in ("name", "day") and known.ns is not None and plausible(known.ns))


CREATED = "2026-01-31T08:30:12.000000Z"


@pytest.mark.parametrize(
    ("container", "stream", "ns"),
    [
        ({"creation_time": CREATED}, {}, ZULU),
        ({}, {"creation_time": CREATED}, ZULU),
        ({"creation_time": CREATED}, {"creation_time": "2020-01-01T00:00:00Z"}, ZULU),
        ({"creation_time": "1904-01-01T00:00:00.000000Z"}, {"creation_time": CREATED}, ZULU),
        (
            {"creation_time": "2026-02-03T10:00:00Z", "com.apple.quicktime.creationdate": "2026-01-31T10:30:12+0200"},
            {},
            ZULU,
        ),
        ({"creation_time": "2026-01-31 08:30:12"}, {}, ZULU),  # without a zone it is UTC there
    ],
)
def test_tags_of_a_container(container: dict[str, str], stream: dict[str, str], ns: int) -> None:
    assert from_tags(container, stream) == Recorded(ns, "container")


@pytest.mark.parametrize(
    "said",
    [
        "1904-01-01T00:00:00.000000Z",
        "1970-01-01T00:00:00.000000Z",
        "1980-01-01T00:00:00Z",
        "2090-01-01T00:00:00Z",
        "2026",
        "yesterday",
        "",
        "0001-01-01T00:00:00Z",
        "\0",
    ],
)
def test_clocks_that_nobody_set(said: str) -> None:
    assert from_tags({"creation_time": said, "com.apple.quicktime.creationdate": said}, {"creation_time": said}) is None


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
@pytest.mark.parametrize("decoder", ["pyav", "decord"])
def test_a_video_knows_it(tmp_path: Path, suffix: str, decoder: str) -> None:
    """The container is believed before the name; a QuickTime date with its zone before the date of an export."""
    if decoder == "decord":
        needs("decord")
    path = tmp_path / f"VID_20200101_000000.{suffix}"
    options = {} if suffix == "mkv" else {"movflags": "use_metadata_tags"}
    with av.open(str(path), "w", options=options) as out:
        out.metadata["creation_time"] = "2026-01-31T08:30:12Z"
        if suffix == "mov":
            out.metadata.update(
                {
                    "creation_time": "2026-02-03T00:00:00Z",
                    "com.apple.quicktime.creationdate": "2026-01-31T10:30:12+0200",
                }
            )
        stream = out.add_stream("libx264", rate=10, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(5):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), "rgb24")))
        out.mux(stream.encode())
    with open_source(path, decoder) as source:
        assert (source.info.start_ns, source.info.recorded_by) == (ZULU, "container")


def test_the_file_s_time_is_the_end(tmp_path: Path) -> None:
    path = tmp_path / "walk.mp4"
    path.touch()
    os.utime(path, ns=(ZULU, ZULU))
    assert from_mtime(str(path), 12 * NS) == Recorded(ZULU - 12 * NS, "mtime")
    assert recorded_at(str(path), 12 * NS) == Recorded(ZULU - 12 * NS, "mtime")
    assert recorded_at(str(path), 12 * NS, Recorded(5, "container")) == Recorded(5, "container")
    os.utime(path, ns=(0, 0))
    assert from_mtime(str(path)) is None
    assert from_mtime(str(tmp_path / "gone.mp4")) is None
    assert recorded_at(str(tmp_path / "gone.mp4")) == Recorded(None, "")
    assert from_container(str(path)) is None  # no video at all


def photo(tags: dict[int, Any]) -> io.BytesIO:
    image, out = Image.new("RGB", (8, 8)), io.BytesIO()
    exif = image.getexif()
    exif.get_ifd(0x8769).update(tags)
    image.save(out, "JPEG", exif=exif)
    out.seek(0)
    return out


def test_exif() -> None:
    said = "2026:01:31 08:30:12"
    assert from_exif(photo({0x9003: said})) == Recorded(LOCAL, "exif")
    assert from_exif(photo({0x9003: said, 0x9291: "25"})) == Recorded(LOCAL + NS // 4, "exif")
    east = int(SAID.replace(tzinfo=timezone(timedelta(hours=2))).timestamp()) * NS
    assert from_exif(photo({0x9003: said, 0x9011: "+02:00"})) == Recorded(east, "exif")
    assert from_exif(photo({0x9003: said, 0x9011: "east"})) == Recorded(LOCAL, "exif")
    assert from_exif(photo({0x9003: "0000:00:00 00:00:00", 0x9004: said})) == Recorded(LOCAL, "exif")


@pytest.mark.parametrize("said", ["", "2026", "2026:13:01 08:30:12", "1970:01:01 00:00:00", "    :  :     :  :  ", "é"])
def test_exif_that_tells_nothing(said: str) -> None:
    assert from_exif(photo({0x9003: said, 0x9291: "x", 0x9011: said})) is None


def test_what_is_no_photo_has_no_exif(tmp_path: Path) -> None:
    assert from_exif(io.BytesIO(b"no picture")) is None
    assert from_exif(str(tmp_path / "gone.jpg")) is None
    whole = photo({0x9003: "2026:01:31 08:30:12"}).getvalue()
    for cut in range(0, len(whole), 7):  # whatever is left of it, nothing is raised
        from_exif(io.BytesIO(whole[:cut]))
