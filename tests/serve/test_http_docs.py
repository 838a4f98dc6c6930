"""docs/http-api.md: its addresses exist, and every address is in it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from needs import needs

if TYPE_CHECKING:
    from starlette.testclient import TestClient

PAGE = (Path(__file__).parents[2] / "docs" / "http-api.md").read_text("utf-8")


def test_every_route_is_in_the_list() -> None:
    needs("starlette")
    from vidmem.serve.api.table import ROUTES

    listed = set(re.findall(r"`(?:POST )?(/[^`?]*)(?:\?[^`]*)?`", PAGE))
    for route in ROUTES:
        if not route.path.startswith("/jobs"):
            assert route.path in listed, f"docs/http-api.md does not name {route.path}"


def test_the_addresses_of_the_walk_exist(client: TestClient) -> None:
    from vidmem.serve.api.table import ROUTES

    found = [urlsplit(url) for url in re.findall(r"http://127\.0\.0\.1:8077(/api[^'\s]*)", PAGE)]
    assert len(found) > 8
    for url in found:
        path = url.path.removeprefix("/api/v1")
        routes = [r for r in ROUTES if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", r.path.replace(".", r"\.")), path)]
        assert routes, url.path
        known = {parameter.name: parameter for parameter in routes[0].parameters if not parameter.in_path}
        for name, value in parse_qsl(url.query):
            known[name].read(value)  # raises for an unknown name or a wrong value


def test_the_limits_are_those_of_the_code() -> None:
    needs("starlette")
    from vidmem.render.cutting import CLIP_WIDTH, CROP_MARGIN, MAX_CLIP_NS, WIDTHS
    from vidmem.serve.api.pictures import MAX_PICTURE
    from vidmem.serve.api.sources import MAX_BOX_FRAMES, MAX_BOXES_NS
    from vidmem.serve.caches import MAX_GIVEN_BYTES
    from vidmem.timecode import NS

    text = " ".join(PAGE.split())
    assert f"widths {', '.join(map(str, WIDTHS[:-1]))} and {WIDTHS[-1]}" in text
    assert f"up to {MAX_CLIP_NS // NS} s as H.264, at most {CLIP_WIDTH} pixels wide" in text
    assert f"up to {MAX_BOX_FRAMES:,} frames or {MAX_BOXES_NS // NS // 60} minutes" in text
    assert f"a margin of {CROP_MARGIN:.0%}".replace("%", " %") in text
    assert f"a picture of up to {MAX_PICTURE >> 20} MB" in text
    assert f"the last {MAX_GIVEN_BYTES >> 20} MB of pictures" in text
