"""The sweeps and the table of costs: settings of a row, regions that are looked at once, tables, counted arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from encoders import fake

from benchmarks import cost, sweeps, tren_sweeps
from benchmarks.common import replaced
from vidmem.config import NEVER, MergeConfig
from vidmem.encoders import Encoder
from vidmem.records import Frame, RegionTokens, SourceInfo, SourceKind


def test_settings_differ_in_the_threshold_alone() -> None:
    preset, paper, none = (sweeps.settings(t, tau) for t, tau in (("preset", 0.3), ("paper", 0.3), ("preset", None)))
    assert preset.track.threshold == paper.track.threshold == 0.3
    assert (paper.track.max_gap, paper.track.overlap, paper.track.reach) == (0, 0, 0)
    assert preset.track.overlap > 0
    assert (none.track.threshold, none.track.overlap, none.still) == (NEVER, 0, 0)


def test_a_picture_is_looked_at_once() -> None:
    looked: list[int] = []

    class Counting(fake.ColourEncoder):
        def encode_each(self, images: Sequence[Any], sizes: Sequence[tuple[int, int]]) -> list[RegionTokens]:
            looked.append(len(images))
            return super().encode_each(images, sizes)

    info = SourceInfo("a.mp4", SourceKind.VIDEO, 64, 48, 2 * 10**9, "")
    frames = [Frame(np.full((48, 64, 3), shade, np.uint8), i * 10**8, i) for i, shade in enumerate((9, 200, 9))]
    encoder = Counting()
    plain = encoder.encode_frames(frames, info)
    looked.clear()
    with replaced((Encoder, "encode_frames", sweeps.remembering(Encoder.encode_frames))):
        first, again = encoder.encode_frames(frames, info), encoder.encode_frames(frames[:2], info)
    assert sum(looked) == 3
    for a, b, c in zip(plain[:2], first[:2], again, strict=True):
        np.testing.assert_array_equal(a.visual, b.visual)
        assert b is c


def test_recall_and_compression_of_a_row() -> None:
    row = sweeps.row([0.3, 0.1, 0.0, 0.25], {"patches": 1000, "tracks": 8, "frames": 2, "regions": 9})
    assert (row["recall_0.25"], row["recall_0.05"], row["compression"]) == (0.5, 0.75, 125)
    assert row["interval_0.25"][0] < 0.5 < row["interval_0.25"][1]
    text = sweeps.as_table([{"set": "walks", "tracker": "preset", "tau": None, **row}])
    cells = text.splitlines()[1].split()
    assert cells == ["walks,", "preset,", "NTTM", "0.5", "0.75", "125", "8", "0.394", "0.556", "22.7"]


def test_no_merging_merges_nothing() -> None:
    assert tren_sweeps.config_of(None) == MergeConfig(NEVER, NEVER)
    assert tren_sweeps.config_of(0.3) == MergeConfig(mask_threshold=0.3)
    assert set(tren_sweeps.PAPER_THRESHOLDS) == set(tren_sweeps.THRESHOLDS)
    assert set(sweeps.PAPER) == set(sweeps.TAUS)


@pytest.mark.slow
def test_arithmetic_is_counted_as_in_the_paper() -> None:
    """DINOv3 ViT-L/16 with dino.txt's head takes 787.93 GFLOPs there (T-REN, Table 9), and has 328.5 M parameters."""
    import torch

    from benchmarks.region_gpu import backbone
    from vidmem.encoders.tren.dinotxt import VisionHead
    from vidmem.encoders.tren.region_encoder import RegionEncoder

    with torch.device("meta"):
        vit = backbone(torch.device("meta"), torch.float32)
        head = VisionHead(1024, 2, 16, cost.HIDDEN)
    region = RegionEncoder(1024, 1024)
    paper = cost.PAPER["patches (DINOv3 dino.txt)"]
    count = sum(p.numel() for part in (vit, head) for p in part.parameters()) / 1e6
    assert round(count, 1) == paper[0]
    assert round(cost.flops(vit, head, region, None) / 1e9, 2) == paper[2]
    counted = cost.flops(vit, head, region, 16) / 1e9
    assert counted == pytest.approx(cost.PAPER["T-REN 16 x 16"][2], rel=0.005)
