"""The benchmark of the server: what it asks, and how it counts."""

from __future__ import annotations

import re
import time
from urllib.parse import parse_qsl, urlsplit

import pytest

from benchmarks.serve import MIX, Client, Seen, growth, summary
from needs import needs


def client(outage: list[float] | None = None) -> Client:
    return Client(3, server=None, film=7, until=0.0, pause=0.0, outage=[] if outage is None else outage)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", MIX)
def test_clients_ask_what_the_api_has(kind: str) -> None:
    needs("starlette")
    from vidmem.serve.api.table import ROUTES

    url = urlsplit(client()._path(kind))
    path = url.path.removeprefix("/api/v1")
    (route,) = (r for r in ROUTES if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", r.path.replace(".", r"\.")), path))
    known = {parameter.name: parameter for parameter in route.parameters}
    for name, value in parse_qsl(url.query):
        known[name].read(value)


def test_the_mix_is_whole() -> None:
    assert sum(MIX.values()) == 100


def test_a_failure_is_an_error_unless_the_server_was_down() -> None:
    now = time.monotonic()
    for outage, down in (([], 0), ([now - 5, now + 60], 1), ([now - 9, now - 8], 0), ([now - 5], 1), ([now + 60], 0)):
        one = client(outage)
        one._failed("where: OSError", now)
        assert (one.seen.down.total(), one.seen.errors.total()) == (down, 1 - down)


def test_a_request_from_before_the_kill_that_fails_after_it_is_no_error() -> None:
    now = time.monotonic()
    one = client([now - 2, now - 0.5])
    one._failed("where: OSError", now - 3)
    assert one.seen.down.total() == 1


def test_growth_is_that_of_the_settled_part() -> None:
    warm = [(t / 60, round(1e6 * (100 + min(t, 60)))) for t in range(300)]
    flat = growth(warm, [], 0.0)
    assert flat["mb_per_minute"] == pytest.approx(0, abs=1e-6)
    assert flat["peak_mb"] == flat["end_mb"] == 160
    leak = growth([(t / 60, round(1e6 * (100 + 5 * t / 60))) for t in range(300)], [], 0.0)
    assert leak["mb_per_minute"] == pytest.approx(5, rel=0.02)
    killed = growth(warm + [(t / 60, 10**6) for t in range(300, 400)], [300.0], 0.0)
    assert killed["end_mb"] == 160
    assert growth([(0.0, 1), (0.1, 1)], [], 0.0)["mb_per_minute"] is None


def test_the_table_says_what_was_wanted() -> None:
    assert Seen().errors.total() == 0
    found = {
        "requests": 1,
        "p50_ms": 1.0,
        "p95_ms": 2.0,
        "errors": 3,
        "failed_while_down": 0,
        "same_answers": False,
        "faults_of_the_memory": ["x"],
        "rss": {"first": {"mb_per_minute": 1.0}},
        "kinds": {"where": {"p95_ms": 9.0}},
    }
    text = summary({"load": found, "pages": {"first_page_s": 1.0, "next_page_s": 0.1}})
    assert re.search(r"errors\s+3\s+0", text)
    assert re.search(r"same answers at the end\s+NO\s+yes", text)
