"""What makes two memories comparable."""

from __future__ import annotations

from typing import Any

import pytest

from vidmem.store import ModelRecord


def record(**merge: Any) -> ModelRecord:
    return ModelRecord("tiny", "w", 128, 128, {"fps": 5, "merge": {"token_threshold": 0.975, **merge}})


def test_records_of_the_same_settings_are_the_same() -> None:
    assert record(touching=True).differences(record(touching=True)) == {}


@pytest.mark.parametrize(
    ("mine", "theirs", "told"),
    [
        ({}, {"touching": False}, {}),
        ({}, {"touching": True}, {"merge.touching": (False, True)}),
        ({"touching": True}, {}, {"merge.touching": (True, False)}),
        ({}, {"most": 0}, {}),
        ({}, {"most": 3}, {"merge.most": (0, 3)}),
    ],
)
def test_a_switch_or_number_that_only_one_knows_is_off_in_the_other(mine: Any, theirs: Any, told: Any) -> None:
    assert record(**mine).differences(record(**theirs)) == told
