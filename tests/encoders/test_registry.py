"""Finding an encoder by its name, and a device to run it on."""

from __future__ import annotations

import fakes
import pytest
import torch

from vidmem import encoders
from vidmem.encoders import EncoderSpec, LoadOptions, registry
from vidmem.encoders.device import pick_device
from vidmem.errors import ModelError, UsageError


def test_backbone_and_device_reach_the_encoder() -> None:
    seen: list[LoadOptions] = []

    def load(options: LoadOptions) -> fakes.Colours:
        seen.append(options)
        return fakes.Colours()

    with registry.registered(EncoderSpec(name="stub", load=load, load_text=load)):
        encoders.load("stub:ViT-B-16/openai", "cpu")
        encoders.load_text("stub:large")
        encoders.load("stub")
    assert seen == [LoadOptions("ViT-B-16/openai", "cpu"), LoadOptions("large"), LoadOptions()]


def test_every_entry_can_be_imported() -> None:
    for name in registry.BUILT_IN:
        encoders.check(name)
    assert encoders.DEFAULT in registry.BUILT_IN


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("tny", "did you mean 'tiny'.*There are: tiny"),
        ("Tiny:x", "did you mean 'tiny'"),
        ("", "no encoder ''.*there are"),
        ("siglip", "did you mean 'clip'"),
        ("xyz", "no encoder 'xyz'; there are: tiny"),
    ],
)
def test_an_unknown_encoder_fails(spec: str, message: str) -> None:
    for use in (encoders.load, encoders.load_text, encoders.check):
        with pytest.raises(ModelError, match=message):
            use(spec)


def test_device_cpu_works() -> None:
    device, dtype = pick_device("cpu")
    assert device.type == "cpu"
    assert dtype in (torch.float32, torch.bfloat16)
    assert pick_device(None)[0].type in ("cuda", "mps", "cpu")


@pytest.mark.parametrize("name", ["cuda:99", "banana", "", "meta:x"])
def test_a_device_that_is_not_there_fails(name: str) -> None:
    with pytest.raises(UsageError, match=r"`device` .*cannot be used here .*try cpu"):
        pick_device(name)
