"""Settings: presets, limits, and reading what another version wrote."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidmem.config import PRESETS, IndexConfig, MergeConfig, TrackConfig, preset
from vidmem.encoders import find
from vidmem.errors import UsageError, VidmemError


def test_presets_differ_as_the_paper_does() -> None:
    default, paper = preset("default"), preset("paper")
    assert default == IndexConfig()
    assert (default.merge.keep_singletons, paper.merge.keep_singletons) == (True, False)
    assert (default.track.max_gap, paper.track.max_gap) == (2, 0)
    assert default.still > paper.still == 0  # the paper encodes every frame
    assert default.merge.token_threshold == paper.merge.token_threshold == 0.975
    assert default.merge.mask_threshold == paper.merge.mask_threshold == 0.8
    assert default.track.threshold == paper.track.threshold == 0.65


def test_the_baseline_joins_nothing_in_a_frame() -> None:
    plain, tracked = preset("patches"), preset("patches-tracked")
    assert min(plain.merge.token_threshold, plain.merge.mask_threshold, plain.track.threshold) > 1
    assert tracked.merge == plain.merge
    assert tracked.track == preset("paper").track


def test_what_a_detector_finds_is_not_merged_again() -> None:
    assert find("tiny").preset == find("clip").preset == "boxes"
    boxes = preset("boxes")
    assert min(boxes.merge.token_threshold, boxes.merge.mask_threshold) > 1
    assert boxes.track.start > 0  # a region that hardly counts as a thing begins no track


def test_an_unknown_preset_fails() -> None:
    with pytest.raises(UsageError, match="no preset 'papre'; there are: default, boxes, paper"):
        preset("papre")


@pytest.mark.parametrize("name", PRESETS)
def test_settings_survive_the_store(name: str) -> None:
    config = preset(name)
    assert IndexConfig.from_dict(json.loads(json.dumps(config.as_dict()))) == config


def test_settings_of_another_version_are_read() -> None:
    newer = {
        **IndexConfig(fps=2).as_dict(),
        "novel": 1,
        "merge": {"token_threshold": 0.9, "novel": 2},
        "track": {"x": 3},
    }
    assert IndexConfig.from_dict(newer) == IndexConfig(
        fps=2, merge=MergeConfig(token_threshold=0.9), track=TrackConfig()
    )
    assert IndexConfig.from_dict({}) == IndexConfig(still=0)  # a memory of before, in which every frame was encoded


@given(st.floats(0, 1000))
def test_any_rate_within_the_limits(fps: float) -> None:
    assert IndexConfig(fps=fps).fps == fps


@pytest.mark.parametrize("fps", [-1, -0.001, 1000.1, float("nan"), float("inf")])
def test_a_rate_beyond_them_fails(fps: float) -> None:
    with pytest.raises(UsageError, match="`fps` must lie in"):
        IndexConfig(fps=fps)


@pytest.mark.parametrize(("frames", "batch"), [(10, 4), (4, 0), (4, -2), (3, 6), (0, 4), (-4, 4)])
def test_checkpoints_that_cut_batches_fail(frames: int, batch: int) -> None:
    with pytest.raises(UsageError, match=r"`checkpoint_frames` \(.*must be a multiple of `batch`"):
        IndexConfig(checkpoint_frames=frames, batch=batch)


def test_exit_codes() -> None:
    from vidmem import errors

    codes = {
        c.__name__: c.exit_code for c in vars(errors).values() if isinstance(c, type) and issubclass(c, VidmemError)
    }
    assert codes.pop("UsageError") == codes.pop("UnknownWordError") == 2
    assert set(codes.values()) == {4}
