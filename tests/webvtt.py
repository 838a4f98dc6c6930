"""A small parser of WebVTT files with cues alone."""

from __future__ import annotations

import re

_TIMES = re.compile(r"(\d{2,}):([0-5]\d):([0-5]\d)\.(\d{3}) --> (\d{2,}):([0-5]\d):([0-5]\d)\.(\d{3})")


def parse(text: str) -> list[tuple[float, float, str]]:
    """Cues of a WebVTT file: from, to, in seconds, and text. Fails where the format is broken."""
    head, *blocks = text.split("\n\n")
    assert head == "WEBVTT"
    out = []
    for block in blocks:
        _, times, *payload = block.strip("\n").split("\n")
        match = _TIMES.fullmatch(times)
        assert match, times
        h, m, s, ms, h2, m2, s2, ms2 = map(int, match.groups())
        assert len(payload) == 1
        assert "-->" not in payload[0]
        assert not re.search(r"[<>]|&(?!(amp|lt|gt);)", payload[0])
        out.append((h * 3600 + m * 60 + s + ms / 1000, h2 * 3600 + m2 * 60 + s2 + ms2 / 1000, payload[0]))
    return out
