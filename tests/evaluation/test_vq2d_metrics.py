"""The metrics of VQ2D: parity with the official evaluation, and cases worked by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidmem.errors import UsageError
from vidmem.evaluation.vq2d_files import (
    FrameBox,
    Key,
    Response,
    VisualQuery,
    load_annotations,
    queries,
)
from vidmem.evaluation.vq2d_metrics import (
    AP_IOUS,
    average_precision,
    box_ious,
    loose_metrics,
    official_metrics,
    temporal_iou,
    tube_iou,
)
from vidmem.evaluation.vq2d_predictions import load_predictions, predictions

GOLDEN = Path(__file__).parents[1] / "golden" / "tren"
SIZE = (100, 100)


def query(number: int, first: int, last: int, clip: str = "c") -> VisualQuery:
    """A query whose answer is a box of 10 x 10 pixels in each frame from `first` to `last`."""
    track = tuple(FrameBox(frame, (0, 0, 10, 10), SIZE) for frame in range(first, last + 1))
    return VisualQuery(clip, (f"a{number}", "1"), "cup", 90, FrameBox(0, (0, 0, 10, 10), SIZE), track, 5.0)


def response(first: int, last: int, score: float = 1.0, shift: float = 0.0) -> Response:
    return Response(first, ((shift, 0, shift + 10, 10),) * (last - first + 1), score)


@pytest.mark.golden
def test_the_official_metrics_to_the_sixth_place() -> None:
    known = json.loads((GOLDEN / "vq_synth_metrics.json").read_text())
    asked = list(queries(load_annotations(GOLDEN / "vq_synth_val.json")))
    answers = load_predictions(GOLDEN / "vq_synth_pred.json")
    found = official_metrics(asked, answers)
    assert (found.queries, found.answered) == (known["n"], known["n"])
    assert {
        "Temporal AP @ IoU=0.25:0.95": found.tap,
        "Temporal AP @ IoU=0.25": found.tap25,
        "SpatioTemporal AP @ IoU=0.25:0.95": found.stap,
        "SpatioTemporal AP @ IoU=0.25": found.stap25,
        "Tracking % recovery (max scr) @ IoU=0.50": found.recovery,
        "Success (max scr) @ IoU=0.05": found.success,
    } == pytest.approx(known["official"], abs=1e-6)
    loose = loose_metrics(asked, answers)
    assert loose.recall == pytest.approx(100 * known["tren_match_rate_any_gt_in_clip"][0], abs=1e-6)
    assert loose.own_recall == pytest.approx(100 * known["recall_per_query"][0], abs=1e-6)
    for value, name in ((loose.tap, "tren_tap_all_score1"), (loose.scored_tap, "tren_tap_scored")):
        assert value == pytest.approx(100 * sum(known[name]) / len(AP_IOUS), abs=1e-6)


def test_our_predictions_score_as_they_are_written(tmp_path: Path) -> None:
    document = load_annotations(GOLDEN / "vq_synth_val.json")
    asked = list(queries(document))
    answers = load_predictions(GOLDEN / "vq_synth_pred.json")
    some: dict[Key, Response | None] = {**answers, asked[0].key: None, asked[1].key: None}
    path = tmp_path / "predictions.json"
    path.write_text(json.dumps(predictions(document, some)))
    written = load_predictions(path)
    assert all(one.key in written for one in asked)  # the official evaluation reads no query without boxes
    found, known = official_metrics(asked, written), official_metrics(asked, some)
    assert replace(found, answered=0) == replace(known, answered=0)
    assert (found.answered, known.answered) == (41, 39)


def test_runs_of_frames_include_both_ends() -> None:
    assert temporal_iou((10, 19), (15, 24)) == 5 / 15
    assert temporal_iou((10, 19), (19, 19)) == 1 / 10
    assert temporal_iou((10, 19), (20, 30)) == 0
    assert temporal_iou((3, 3), (3, 3)) == 1


def test_a_tube_is_compared_box_by_box() -> None:
    truth = query(0, 10, 13).response
    assert tube_iou(response(10, 13), truth) == 1
    assert tube_iou(response(12, 15), truth) == 200 / 600  # two of four frames
    assert tube_iou(response(10, 13, shift=5), truth) == 200 / 600  # half of each box
    assert tube_iou(response(20, 21), truth) == 0
    assert tube_iou(Response(90, ((0, 0, 0, 0),), 0), truth) == 0
    assert box_ious(response(12, 15, shift=5), truth).tolist() == [0, 0, 50 / 150, 50 / 150]


def test_average_precision_by_hand() -> None:
    # By score: right, wrong, right. Precision 1, 1/2, 2/3 at recall 1/4, 1/4, 2/4; interpolated 1 up to 1/4, then 2/3.
    right, scores = [True, False, True], [0.9, 0.8, 0.7]
    assert average_precision(np.array(right), np.array(scores), 4) == pytest.approx(1 / 4 + 2 / 3 / 4)
    # Of equal scores the later comes first: wrong, then right.
    assert average_precision(np.array([True, False]), np.array([0.5, 0.5]), 1) == pytest.approx(1 / 2)
    assert average_precision(np.array([False, True]), np.array([0.5, 0.5]), 1) == pytest.approx(1)
    assert average_precision(np.zeros(0, np.bool_), np.zeros(0), 3) == 0


def test_all_metrics_by_hand() -> None:
    asked = [query(0, 10, 13), query(1, 20, 23), query(2, 30, 33), query(3, 40, 43)]
    answers: dict[Key, Response | None] = {
        asked[0].key: response(10, 13, 0.9),  # right in all
        asked[1].key: response(22, 25, 0.8),  # temporal and tube IoU 1/3
        asked[2].key: response(30, 33, 0.7, shift=9.5),  # temporal IoU 1; tube IoU .5 / 19.5 = .026
        asked[3].key: None,
    }
    found = official_metrics(asked, answers)
    assert (found.queries, found.answered) == (4, 3)
    assert found.tap25 == pytest.approx(3 / 4)  # all three are right
    assert found.tap == pytest.approx((3 / 4 + 3 * (1 / 4 + 2 / 3 / 4)) / 4)  # above .25: right, wrong, right
    assert found.stap25 == pytest.approx(2 / 4)
    assert found.stap == pytest.approx((2 / 4 + 3 * (1 / 4)) / 4)
    assert found.success == pytest.approx(100 * 2 / 4)
    assert found.recovery == pytest.approx(100 * (4 + 2) / 16)


def test_no_answer_at_all_is_zero_and_no_query_is_refused() -> None:
    asked = [query(0, 10, 13)]
    found = official_metrics(asked, {})
    assert (found.tap, found.stap, found.success, found.recovery, found.answered) == (0, 0, 0, 0, 0)
    assert loose_metrics(asked, {}).recall == 0
    with pytest.raises(UsageError, match="no query with a known answer"):
        official_metrics([], {})
    with pytest.raises(UsageError, match="query 1 of annotation a0 has no known answer"):
        loose_metrics([replace(asked[0], response=())], {})


def test_the_looser_protocol_takes_any_answer_of_the_clip() -> None:
    asked = [query(0, 10, 13), query(1, 20, 23), query(2, 20, 23, clip="other")]
    crossed: dict[Key, Response | None] = {
        asked[0].key: response(20, 23),  # the window of the other query about this clip
        asked[1].key: response(20, 23),
        asked[2].key: response(10, 13),  # not a window of its own clip
    }
    found = loose_metrics(asked, crossed)
    assert found.recall == pytest.approx(100 * 2 / 3)
    assert found.own_recall == pytest.approx(100 * 1 / 3)
    # Last first: wrong; then takes (20, 23); then finds it taken. One right in second place of three.
    assert found.tap == pytest.approx(100 * (1 / 2) / 3)
    assert official_metrics(asked, crossed).success == pytest.approx(100 / 3)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 9), st.floats(0, 1), st.booleans()), min_size=1))
def test_a_perfect_answer_is_never_worse_and_shares_stay_shares(
    rows: list[tuple[int, int, float, bool]],
) -> None:
    asked = [query(i, first, first + length) for i, (first, length, _, _) in enumerate(rows)]
    perfect = {
        one.key: response(first, first + length, score)
        for one, (first, length, score, _) in zip(asked, rows, strict=True)
    }
    best = official_metrics(asked, perfect)
    assert (best.tap, best.stap, best.success, best.recovery) == pytest.approx((1, 1, 100, 100))
    some = {one.key: perfect[one.key] if held else None for one, (_, _, _, held) in zip(asked, rows, strict=True)}
    found = official_metrics(asked, some)
    share = sum(held for *_, held in rows) / len(rows)
    assert (found.tap25, found.stap, found.success) == pytest.approx((share, share, 100 * share))
