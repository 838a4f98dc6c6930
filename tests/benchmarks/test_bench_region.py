"""The benchmark of the region encoder: what it compares is the same, and what it says of GPUs is true."""

from __future__ import annotations

import time

import pytest
import torch

from benchmarks import region_encoder, region_gpu
from needs import needs


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(region_encoder, "DIM", 64)


def test_the_two_are_compared_with_equal_results() -> None:
    result = region_encoder.compare(4, 2, time.perf_counter)
    assert max(result["differences"].values()) <= region_encoder.EQUAL
    assert result["ratio"] == result["median_ms"]["vidmem"] / result["median_ms"]["plain"]
    assert result["attention_peak"] > 2 / 16  # not the flat attention of a new model, in which all would agree
    assert result["bfloat16_least_cosine"] > 0.98


def test_results_that_differ_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(region_encoder, "EQUAL", 1e-9)
    with pytest.raises(AssertionError, match="at 4 x 4 the two differ"):
        region_encoder.compare(4, 1, time.perf_counter)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so() -> None:
    assert region_gpu.whole_frame(1) == "no GPU here: a whole frame on one was not measured"


def test_the_operations_are_those_that_torch_counts() -> None:
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    from vidmem.encoders.tren.region_encoder import RegionEncoder

    model = RegionEncoder(64, 64).eval()
    features, points = torch.randn(1, 64, 4, 4), torch.rand(1, 16, 2)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):  # the counter does not know the CPU's fused attention
        model(features, points)
        with FlopCounterMode(display=False) as counter:
            model(features, points)
    assert counter.get_total_flops() == region_gpu.products_of_region(64, 16, 3, 2)


def test_a_whole_frame_is_measured_on_a_small_model() -> None:
    needs("transformers")
    cpu = torch.device("cpu")
    vit = region_gpu.backbone(
        cpu, torch.float32, hidden_size=64, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64
    )
    result = region_gpu.measure(cpu, torch.float32, vit, 1, (1, 2), peak=1e12, side=4)
    assert list(result["batches"]) == ["1", "2"]
    assert all(value > 0 for one in result["batches"].values() for value in one.values())
