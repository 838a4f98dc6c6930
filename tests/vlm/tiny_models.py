"""Tiny random vision-language models of several layouts, as folders, since the published ones cannot be downloaded.

A folder has what a published one has: config.json, model.safetensors, generation_config.json, the tokenizer, the
processor and the chat template. Use the fixture `tiny_model` of conftest.py, which makes each folder once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from needs import needs
from vidmem.encoders.torchvision_compat import ready

LAYOUTS = ("llava", "qwen2_vl", "internvl", "idefics3")
"""model_type of what `build` makes. Idefics3 is the layout of SmolVLM, whose own class asks for one more library."""
TOKENIZERS = ("bytes", "words", "digits")
"""bytes: byte-level BPE. words: whole words, numbers and signs. digits: BPE that never joins two digits."""
SIDE = 28
"""Side of a picture in pixels, as the model sees it; 2 x 2 patches of 14 pixels."""
HIDDEN = 32
"""Width of the models. LoRA adapters go on q_proj and v_proj."""

END = "<|im_end|>"
_COMMON = ("<|pad|>", "<|im_start|>", END)
_IMAGE = {
    "llava": {"image_token": "<image>"},
    "qwen2_vl": {
        "vision_bos_token": "<|vision_start|>",
        "vision_eos_token": "<|vision_end|>",
        "image_token": "<|image_pad|>",
        "video_token": "<|video_pad|>",
    },
    "internvl": {
        "start_image_token": "<img>",
        "end_image_token": "</img>",
        "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<video>",
    },
    "idefics3": {
        "image_token": "<image>",
        "fake_image_token": "<fake_token_around_image>",
        "global_image_token": "<global-img>",
        "end_of_utterance_token": "<end_of_utterance>",
    },
}
_PLACE = {
    "llava": "<image>",
    "qwen2_vl": "<|vision_start|><|image_pad|><|vision_end|>",
    "internvl": "<IMG_CONTEXT>",
    "idefics3": "<image>",
}
"""What the chat template writes for a picture."""

SENTENCES = (
    "Show me with a mask: the red cup left of the kettle. Where is the plant in this picture?",
    "Here is the mask:\n<seg>others *4| cup *12\n others *16\n plant *7| others *9\n</seg>",
    "<seg>others *16\n others *16\n others *1| table *15\n</seg> There is no cat here.",
    "The mask:\n<seg>cup *12| plant *4\n</seg>",
    "user assistant system 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 *1 *2 *3 *10 *12 *16",
)


def required() -> None:
    """Skip the test if the extra `vlm` is not installed."""
    needs("torch")
    ready()
    for library in ("transformers", "tokenizers", "torchvision"):
        needs(library)


def build(layout: str, folder: Path, *, tokenizer: str = "bytes", texts: Iterable[str] = (), seed: int = 0) -> Path:
    """Write a model of one of LAYOUTS with one of TOKENIZERS into a folder, and return it.

    texts: more texts whose words the tokenizer has to know.
    """
    import torch
    import transformers

    texts = (*SENTENCES, *texts)
    tokens = make_tokenizer(layout, tokenizer, texts)
    processor = _processor(layout, tokens)
    torch.manual_seed(seed)
    model: Any = transformers.AutoModelForImageTextToText.from_config(_config(layout, tokens))
    model.generation_config.eos_token_id = tokens.eos_token_id
    model.generation_config.pad_token_id = tokens.pad_token_id
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def chat_template(layout: str) -> str:
    """The chat template of the folder: turns between marks, pictures where they stand."""
    return (
        "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
        "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
        "{% for part in message['content'] %}{% if part['type'] == 'image' %}" + _PLACE[layout] + "\n"
        "{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n"
        "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )


def make_tokenizer(layout: str, kind: str, texts: Iterable[str]) -> Any:
    """A tokenizer of one of TOKENIZERS with the special tokens of a layout."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    special = [*_COMMON, *_IMAGE[layout].values()]
    if kind == "words":
        core = Tokenizer(models.WordLevel(unk_token="<|unk|>"))
        pieces = Regex(r"</?seg>|\d+|\n|[^\S\n]*[^\W\d]+|[^\S\n]+|[^\w\s]")
        core.pre_tokenizer = pre_tokenizers.Split(pieces, "isolated")
        core.decoder = decoders.Fuse()
        trainer: Any = trainers.WordLevelTrainer(special_tokens=["<|unk|>", *special])
    else:
        core = Tokenizer(models.BPE())
        parts: list[Any] = [pre_tokenizers.Digits(individual_digits=True)] if kind == "digits" else []
        core.pre_tokenizer = pre_tokenizers.Sequence(
            [*parts, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=kind == "digits")]
        )
        core.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=450, special_tokens=special, initial_alphabet=alphabet)
    lines = [line for text in texts for line in (text.splitlines(keepends=True) if kind == "bytes" else [text])]
    core.train_from_iterator(lines, trainer)
    more = {"unk_token": "<|unk|>"} if kind == "words" else {}
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<|pad|>",
        eos_token=END,
        extra_special_tokens=_IMAGE[layout],
        clean_up_tokenization_spaces=False,
        **more,
    )


def _processor(layout: str, tokens: Any) -> Any:
    import transformers as t

    template = chat_template(layout)
    size = {"height": SIDE, "width": SIDE}
    if layout == "llava":
        images: Any = t.CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size=size, do_convert_rgb=True)
        return t.LlavaProcessor(
            images, tokens, patch_size=14, vision_feature_select_strategy="default", num_additional_image_tokens=1,
            chat_template=template,
        )  # fmt: skip
    if layout == "qwen2_vl":
        pixels = {"shortest_edge": SIDE * SIDE, "longest_edge": 4 * SIDE * SIDE}
        images = t.Qwen2VLImageProcessor(size=pixels)
        return t.Qwen2VLProcessor(images, tokens, t.Qwen2VLVideoProcessor(size=pixels), chat_template=template)
    if layout == "internvl":
        images = t.GotOcr2ImageProcessor(size=size, crop_to_patches=True, min_patches=1, max_patches=2)
        video = t.InternVLVideoProcessor(size=size)
        return t.InternVLProcessor(images, tokens, video, image_seq_length=1, chat_template=template)
    images = t.Idefics3ImageProcessor(
        size={"longest_edge": 2 * SIDE}, max_image_size={"longest_edge": SIDE}, do_image_splitting=False
    )
    return t.Idefics3Processor(images, tokens, image_seq_len=1, chat_template=template)


def _config(layout: str, tokens: Any) -> Any:
    import transformers as t

    narrow = {"hidden_size": HIDDEN, "intermediate_size": 2 * HIDDEN, "num_hidden_layers": 2, "num_attention_heads": 2}
    ids = {"eos_token_id": tokens.eos_token_id, "pad_token_id": tokens.pad_token_id, "bos_token_id": None}
    text = {**narrow, **ids, "num_key_value_heads": 2, "vocab_size": len(tokens), "max_position_embeddings": 4096}
    seen = {**narrow, "image_size": SIDE, "patch_size": 14}
    if layout == "llava":
        return t.LlavaConfig(
            vision_config=t.CLIPVisionConfig(**seen),
            text_config=t.LlamaConfig(**text),
            image_token_index=tokens.convert_tokens_to_ids("<image>"),
            image_seq_length=4,
        )
    if layout == "qwen2_vl":
        marks = {
            f"{name}_token_id": tokens.convert_tokens_to_ids(f"<|{token}|>")
            for name, token in (
                ("image", "image_pad"),
                ("video", "video_pad"),
                ("vision_start", "vision_start"),
                ("vision_end", "vision_end"),
            )
        }
        rope = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10000.0}
        return t.Qwen2VLConfig(
            vision_config={"depth": 2, "embed_dim": HIDDEN, "hidden_size": HIDDEN, "num_heads": 2},
            text_config={**text, "rope_parameters": rope},
            **marks,
        )
    if layout == "internvl":
        return t.InternVLConfig(
            vision_config=t.InternVLVisionConfig(**{**seen, "image_size": [SIDE, SIDE], "patch_size": [14, 14]}),
            text_config=t.Qwen2Config(**text),
            image_token_id=tokens.convert_tokens_to_ids("<IMG_CONTEXT>"),
            image_seq_length=1,
        )
    return t.Idefics3Config(
        vision_config=seen,
        text_config=t.LlamaConfig(**text),
        image_token_id=tokens.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        pad_token_id=tokens.pad_token_id,
    )


def edit_json(file: Path, **values: Any) -> None:
    """Change values of a JSON file; None removes one."""
    content = json.loads(file.read_text("utf-8"))
    content.update(values)
    file.write_text(json.dumps({k: v for k, v in content.items() if v is not None}), "utf-8")
