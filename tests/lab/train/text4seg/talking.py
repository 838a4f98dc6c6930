"""Tiny models and records for the tests of the training."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from vlm import tiny_models

from lab.train.text4seg.config import LoraSettings, TrainConfig

LOUD = 30
"""A random output layer gives logits near 0 and cannot learn while it is frozen; that of a trained model is louder."""
SMALL = TrainConfig(
    steps=6,
    lora=LoraSettings(rank=8, alpha=16),
    batch=4,
    lr=1e-2,
    max_length=256,
    precision="fp32",
    log_every=1,
    checkpoint_every=2,
)

LLAVA_TEMPLATE = (
    "{% for message in messages %}{{ message['role'].upper() + ': ' }}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}{{ '<image>\n' }}{% endif %}{% endfor %}"
    "{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] + ' ' }}{% endif %}{% endfor %}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
"""As LLaVA 1.5 writes it: nothing ends an answer."""
SMOLVLM_TEMPLATE = (
    "<|im_start|>{% for message in messages %}{{ message['role'] | capitalize }}"
    "{{ ':' if message['content'][0]['type'] == 'image' else ': ' }}"
    "{% for part in message['content'] %}{{ '<image>' if part['type'] == 'image' else part['text'] }}{% endfor %}"
    "<end_of_utterance>\n{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
"""As SmolVLM and Idefics3 write it: the space before an answer is part of the answer's first token."""
THINKING_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% for part in message['content'] %}{{ '<image>' if part['type'] == 'image' else part['text'] }}{% endfor %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n<think>{% endif %}"
)
"""The text before an answer is another one when the answer is there."""


def louder(folder: Path) -> Path:
    """Make the output layer of a tiny model louder, and one of its own where it is that of the input."""
    import torch
    from transformers import AutoModelForImageTextToText

    loader: Any = AutoModelForImageTextToText
    model = loader.from_pretrained(folder, local_files_only=True)
    for config in (model.config, model.config.get_text_config()):
        config.tie_word_embeddings = False
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach() * LOUD)
    model.save_pretrained(folder)
    return folder


def with_template(folder: Path, template: str | None, out: Path) -> Path:
    """A copy of a model with another chat template, or none."""
    shutil.copytree(folder, out)
    for name in ("chat_template.jinja", "chat_template.json"):
        (out / name).unlink(missing_ok=True)
    for name in ("tokenizer_config.json", "processor_config.json"):
        if (out / name).exists():
            tiny_models.edit_json(out / name, chat_template=None)
    if template is not None:
        (out / "chat_template.jinja").write_text(template, "utf-8")
    return out


def picture(path: Path, seed: int, size: tuple[int, int] = (50, 40)) -> Path:
    """A picture of noise around a colour."""
    rng = np.random.default_rng(seed)
    colour = rng.integers(0, 156, 3)
    noise = rng.integers(0, 100, (size[1], size[0], 3))
    Image.fromarray((noise + colour).astype(np.uint8)).save(path)
    return path


def answer(n: int) -> str:
    """The right answer to record n; it depends on the picture alone."""
    return f"The mask:\n<seg>others *{n + 1}| cup *{7 - n}\n others *8\n</seg>"


def record(n: int, **changes: Any) -> dict[str, Any]:
    """Record n; the question is that of all others."""
    return {"query": "Where is the cup?", "response": answer(n), "images": [f"{n}.png"], **changes}


def write(path: Path, records: Sequence[Mapping[str, Any]]) -> Path:
    """Write JSON lines."""
    path.write_text("".join(json.dumps(item) + "\n" for item in records), "utf-8")
    return path


def data(folder: Path, count: int = 4) -> Path:
    """A folder with pictures of noise and data.jsonl."""
    folder.mkdir(parents=True, exist_ok=True)
    for n in range(count):
        picture(folder / f"{n}.png", n, (50 + 7 * n, 40))
    write(folder / "data.jsonl", [record(n) for n in range(count)])
    return folder
