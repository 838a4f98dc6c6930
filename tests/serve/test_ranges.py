"""Ranges of files: one at most, whatever the header says, and in little time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from needs import needs

needs("starlette")
from vidmem.serve.api.files import RangeError, one_range  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.testclient import TestClient

URL = "/api/v1/videos/1"


@pytest.mark.parametrize(
    ("header", "span"),
    [
        (None, None),
        ("bytes=0-99", (0, 100)),
        ("bytes=0-", (0, 1000)),
        ("bytes=999-", (999, 1000)),
        ("bytes=500-5000", (500, 1000)),
        ("bytes=-1", (999, 1000)),
        ("bytes=-5000", (0, 1000)),
        (" bytes=1-2 ", (1, 3)),
        ("bytes=0-1,2-3", None),
        ("bytes=" + ",".join(["0-1"] * 10_000), None),
        ("bytes=5-2", None),
        ("bytes=-", None),
        ("bytes=a-b", None),
        ("bytes=0 - 1", None),
        ("Bytes=0-1", None),
        ("lines=0-1", None),
        ("bytes=--1", None),
        ("bytes=٣-٤", None),
        ("", None),
    ],
)
def test_the_range_that_a_header_asks_for(header: str | None, span: tuple[int, int] | None) -> None:
    assert one_range(header, 1000) == span


@pytest.mark.parametrize("header", ["bytes=1000-", "bytes=1000-1001", "bytes=-0", "bytes=99999999999999999999-"])
def test_a_range_outside_of_the_file(header: str) -> None:
    with pytest.raises(RangeError):
        one_range(header, 1000)
    with pytest.raises(RangeError):
        one_range("bytes=0-", 0)


@given(st.text(max_size=80) | st.from_regex(r"bytes=[0-9,\- ]{0,40}", fullmatch=True), st.integers(0, 1 << 50))
def test_any_header_gives_a_part_of_the_file_or_all_of_it(header: str, size: int) -> None:
    try:
        span = one_range(header, size)
    except RangeError:
        return
    if span is not None:
        assert 0 <= span[0] < span[1] <= size


@given(st.integers(0, 10_000), st.integers(0, 10_000), st.integers(1, 10_000))
def test_what_can_be_given_is_given(first: int, last: int, size: int) -> None:
    if first <= last:
        want = (first, min(last + 1, size)) if first < size else None
        try:
            assert one_range(f"bytes={first}-{last}", size) == want
        except RangeError:
            assert want is None


def test_a_long_header_takes_no_time() -> None:
    """CVE-2025-62727: merging the ranges of a header took time with the square of their number."""
    headers = ["bytes=" + ",".join(f"{i}-{i}" for i in range(n)) for n in (1000, 1_000_000)]
    began = time.perf_counter()
    assert [one_range(header, 1 << 30) for header in headers] == [None, None]
    assert time.perf_counter() - began < 0.05


def test_parts_of_a_video_are_those_of_its_file(client: TestClient, walk: Path) -> None:
    data = walk.read_bytes()
    whole = client.get(URL)
    assert (whole.status_code, whole.content, whole.headers["content-type"]) == (200, data, "video/mp4")
    assert (whole.headers["accept-ranges"], whole.headers["content-length"]) == ("bytes", str(len(data)))
    part = client.get(URL, headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, data[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(data)}"
    assert client.get(URL, headers={"Range": "bytes=-50"}).content == data[-50:]
    several = client.get(URL, headers={"Range": "bytes=0-1,5-6"})
    assert (several.status_code, several.content) == (200, data)
    outside = client.get(URL, headers={"Range": f"bytes={len(data)}-"})
    assert (outside.status_code, outside.content) == (416, b"")
    assert outside.headers["content-range"] == f"bytes */{len(data)}"


def test_conditions_on_the_file(client: TestClient, walk: Path) -> None:
    tag = client.get(URL).headers["etag"]
    same = client.get(URL, headers={"If-None-Match": f'"x", W/{tag}'})
    assert (same.status_code, same.content) == (304, b"")
    kept = client.get(URL, headers={"Range": "bytes=0-9", "If-Range": tag})
    assert (kept.status_code, len(kept.content)) == (206, 10)
    other = client.get(URL, headers={"Range": "bytes=0-9", "If-Range": '"another"'})
    assert (other.status_code, other.content) == (200, walk.read_bytes())
    head = client.head(URL, headers={"Range": "bytes=0-9"})
    assert (head.status_code, head.content, head.headers["content-length"]) == (206, b"", "10")
