"""Tiny random models of further layouts: LLaVA-NeXT, LLaVA-OneVision, Qwen2.5-VL and Qwen3-VL."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import talking
from vlm import tiny_models
from vlm.tiny_models import HIDDEN, SIDE

NARROW = {
    "hidden_size": HIDDEN,
    "intermediate_size": 2 * HIDDEN,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
VISION = {"depth": 2, "hidden_size": HIDDEN, "num_heads": 2, "intermediate_size": 2 * HIDDEN, "out_hidden_size": HIDDEN}
PINS = [[SIDE, 2 * SIDE], [2 * SIDE, SIDE], [2 * SIDE, 2 * SIDE]]
"""Sizes to which LLaVA-NeXT and OneVision cut a picture into tiles."""


def text(tokens: Any) -> dict[str, Any]:
    """The language model's part of a configuration."""
    ids = {"eos_token_id": tokens.eos_token_id, "pad_token_id": tokens.pad_token_id, "bos_token_id": None}
    return {**NARROW, **ids, "num_key_value_heads": 2, "vocab_size": len(tokens), "max_position_embeddings": 4096}


def llava_next(t: Any) -> tuple[Any, Any]:
    tokens = tiny_models.make_tokenizer("llava", "bytes", tiny_models.SENTENCES)
    square = {"height": SIDE, "width": SIDE}
    images = t.LlavaNextImageProcessor(size={"shortest_edge": SIDE}, crop_size=square, image_grid_pinpoints=PINS)
    processor = t.LlavaNextProcessor(
        images,
        tokens,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=tiny_models.chat_template("llava"),
    )
    return processor, t.LlavaNextConfig(
        vision_config=t.CLIPVisionConfig(**NARROW, image_size=SIDE, patch_size=14),
        text_config=t.LlamaConfig(**text(tokens)),
        image_token_index=tokens.convert_tokens_to_ids("<image>"),
        image_grid_pinpoints=PINS,
    )


def llava_onevision(t: Any) -> tuple[Any, Any]:
    tokens = tiny_models.make_tokenizer("llava", "bytes", tiny_models.SENTENCES)
    tokens.add_special_tokens({"additional_special_tokens": ["<video>"]})
    square = {"height": SIDE, "width": SIDE}
    processor = t.LlavaOnevisionProcessor(
        t.LlavaOnevisionImageProcessor(size=square, image_grid_pinpoints=PINS),
        tokens,
        t.LlavaOnevisionVideoProcessor(size=square),
        num_image_tokens=4,
        vision_feature_select_strategy="full",
        chat_template=tiny_models.chat_template("llava"),
    )
    return processor, t.LlavaOnevisionConfig(
        vision_config=t.SiglipVisionConfig(**NARROW, image_size=SIDE, patch_size=14, vision_use_head=False),
        text_config=t.Qwen2Config(**text(tokens)),
        image_token_index=tokens.convert_tokens_to_ids("<image>"),
        video_token_index=tokens.convert_tokens_to_ids("<video>"),
        image_grid_pinpoints=PINS,
        vision_feature_layer=-1,
    )


def _qwen(t: Any, patch: int) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """The parts of a processor, the configuration of positions, and the ids of marks."""
    tokens = tiny_models.make_tokenizer("qwen2_vl", "bytes", tiny_models.SENTENCES)
    pixels = {"shortest_edge": 4 * patch * patch, "longest_edge": 16 * patch * patch}
    images = t.Qwen2VLImageProcessor(size=pixels, patch_size=patch)
    names = {"image": "image_pad", "video": "video_pad", "vision_start": "vision_start", "vision_end": "vision_end"}
    marks = {f"{name}_token_id": tokens.convert_tokens_to_ids(f"<|{token}|>") for name, token in names.items()}
    rope = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10000.0}
    return (images, tokens, pixels), rope, marks


def qwen2_5_vl(t: Any) -> tuple[Any, Any]:
    (images, tokens, pixels), rope, marks = _qwen(t, 14)
    template = tiny_models.chat_template("qwen2_vl")
    processor = t.Qwen2_5_VLProcessor(images, tokens, t.Qwen2VLVideoProcessor(size=pixels), chat_template=template)
    return processor, t.Qwen2_5_VLConfig(
        vision_config={**VISION, "fullatt_block_indexes": [1], "window_size": 56},
        text_config={**text(tokens), "rope_parameters": rope},
        **marks,
    )


def qwen3_vl(t: Any) -> tuple[Any, Any]:
    (images, tokens, pixels), rope, marks = _qwen(t, 16)
    template = tiny_models.chat_template("qwen2_vl")
    processor = t.Qwen3VLProcessor(images, tokens, t.Qwen3VLVideoProcessor(size=pixels), chat_template=template)
    return processor, t.Qwen3VLConfig(
        vision_config={**VISION, "deepstack_visual_indexes": [0], "num_position_embeddings": 16, "patch_size": 16},
        text_config={**text(tokens), "head_dim": 16, "rope_parameters": {**rope, "mrope_interleaved": True}},
        **marks,
    )


MODELS: tuple[Callable[[Any], tuple[Any, Any]], ...] = (llava_next, llava_onevision, qwen2_5_vl, qwen3_vl)


def build(make: Callable[[Any], tuple[Any, Any]], folder: Path) -> Path:
    """Write a model of one of MODELS into a folder."""
    import torch
    import transformers

    processor, config = make(transformers)
    torch.manual_seed(0)
    loader: Any = transformers.AutoModelForImageTextToText
    model = loader.from_config(config)
    model.generation_config.eos_token_id = processor.tokenizer.eos_token_id
    model.generation_config.pad_token_id = processor.tokenizer.pad_token_id
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return talking.louder(folder)
