"""The short part of fuzzing: every target with its corpus and some changed inputs, always the same ones.

`python -m tests.attack.fuzzing` is the long part.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attack.fuzzing.hunt import hunt, rows, summary, table
from attack.fuzzing.mutate import WORDS
from attack.fuzzing.targets import broken, every
from attack.fuzzing.targets.texts import TIME_WORDS, WORDS_OF_MASKS
from needs import needs

SEED = "0"
MUTATIONS = 50
"""Of a target with the share 1, beside its corpus. The others get more or fewer by their share, at least 2."""


@pytest.fixture(scope="module")
def hunted() -> dict[str, list[dict[str, Any]]]:
    """The findings of each target, all hunted in one worker."""
    targets = every()
    for module in {module for target in targets for module in target.needs}:
        if find_spec(module) is None:  # importing them all here would take seconds; the worker imports what it needs
            needs(module)
    tallies, findings = hunt(
        targets, {target.name: -max(2, round(MUTATIONS * target.share)) for target in targets}, SEED
    )
    assert len(tallies) >= 60
    return {name: [f for f in findings if f["target"] == name] for name in tallies}


@pytest.mark.parametrize("name", [target.name for target in every()])
def test_hostile_input_is_refused_in_one_line(hunted: dict[str, list[dict[str, Any]]], name: str) -> None:
    told = [f"{f['kind']} at input {f['index']}: {f['error']}\n{f['trace']}\ninput: {f['input']}" for f in hunted[name]]
    assert not told, "\n".join(told)


def test_the_fuzzer_finds_faults_of_every_kind() -> None:
    targets = broken.TARGETS
    tallies, findings = hunt(targets, {target.name: 3 for target in targets}, SEED, blocked_s=2)
    kinds = {f["target"].removeprefix("broken-"): f["kind"] for f in findings}
    assert kinds == {
        "exception": "exception",
        "loop": "hang",
        "wait": "hang",
        "signal": "crash",
        "exit": "crash",
        "memory": "memory",
        "too-much-memory": "memory",
        "said-wrong": "fault",
    }
    assert all((t.inputs, t.accepted, dict(t.refused)) == (3, 1, {"MediaError": 1}) for t in tallies.values()), tallies
    total = summary(tallies)
    counted = (total["inputs"], total["crashes"], total["hangs"], total["over_budget"], total["other_errors"])
    assert (*counted, total["faults"]) == (24, 2, 2, 2, 1, 1)
    assert [row["target"] for row in rows(tallies)] == [target.name for target in targets]
    assert table(tallies).count("\n") == len(targets) + 2


TEXT = {target.name: target for target in every() if target.name in ("times", "dates", "boxes", "numbers", "masks")}
PIECES = st.sampled_from([*TIME_WORDS, *WORDS_OF_MASKS, *WORDS]) | st.text(max_size=8)


@pytest.mark.parametrize("name", sorted(TEXT))
@settings(max_examples=60, deadline=None)
@given(pieces=st.lists(PIECES, max_size=8), separator=st.sampled_from(["", " ", ",", ":", ".."]))
def test_any_text_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, name: str, pieces: list[str], separator: str
) -> None:
    from vidmem.errors import VidmemError

    ready = TEXT[name].prepare(tmp_path_factory.getbasetemp())
    data = separator.join(pieces).encode("utf-8", "surrogatepass")
    try:
        ready.run(data)
    except VidmemError as error:
        message = str(error)
    else:
        message = ""
    assert "\n" not in message
