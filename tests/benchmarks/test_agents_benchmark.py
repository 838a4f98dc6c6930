"""The rules that turn results of tools into replies."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from benchmarks import agents


class Canned:
    """An agent whose calls have fixed results, one after the other."""

    def __init__(self, *results: dict[str, Any]) -> None:
        self._results = list(results)

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        return self._results.pop(0)

    where = agents.Agent.where


def seen(clip: str, start: float = 0, end: float = 9) -> dict[str, Any]:
    return {"source": f"/videos/{clip}", "start_s": start, "end_s": end, "id": "1-0-1-0-9"}


def where(found: bool, *sightings: dict[str, Any], unknown: Any = None) -> dict[str, Any]:
    shown = list(sightings)
    return {
        "found": found,
        "sightings": shown if found else [],
        "near_misses": [] if found else shown,
        "unknown": unknown,
    }


def judge(rule: Any, *results: dict[str, Any]) -> str:
    return str(asyncio.run(rule(Canned(*results))))


@pytest.mark.parametrize(
    ("result", "verdict"),
    [
        (where(True, seen("a.mp4")), "right"),
        (where(True, seen("b.mp4")), "wrong"),
        (where(False, seen("b.mp4"), seen("a.mp4")), "unsure"),
        (where(False, seen("b.mp4")), "wrong"),
    ],
)
def test_last_seen(result: dict[str, Any], verdict: str) -> None:
    assert judge(lambda agent: agents.last_seen(agent, "cup", "a.mp4"), result) == verdict


def test_a_word_that_is_not_known_is_asked_again() -> None:
    first = where(False, unknown={"word": "umbrela", "near": ["umbrella"]})
    assert judge(lambda agent: agents.absent(agent, "umbrela"), first, where(False)) == "right"
    assert judge(lambda agent: agents.absent(agent, "umbrela"), first, where(True, seen("a.mp4"))) == "wrong"


@pytest.mark.parametrize(
    ("result", "verdict"),
    [
        (where(False, seen(agents.CUPS, 9.6, 9.8)), "unsure"),
        (where(True, seen(agents.CUPS, 9.6, 9.8)), "right"),
        (where(False, seen(agents.CUPS, 0, 9.8)), "wrong"),
        (where(True, seen(agents.CUPS, 4, 5)), "wrong"),
    ],
)
def test_the_ball(result: dict[str, Any], verdict: str) -> None:
    assert judge(agents.ball_under_the_cups, result) == verdict


def test_twenty_questions() -> None:
    assert len({question.asked for question in agents.QUESTIONS}) == 20
    rows = [
        {"verdict": v, "calls": ["where()"], "pictures": 1, "errors": [], "seconds": 0.5} for v in ("right", "wrong")
    ]
    assert agents.summary(rows) == {
        "right": 1,
        "unsure": 0,
        "wrong": 1,
        "questions": 2,
        "calls": 2,
        "pictures": 2,
        "errors": 0,
        "seconds_each": 0.5,
    }
