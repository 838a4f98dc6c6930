"""Tiny models that have learned one answer by heart, so that they write it without being constrained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from vlm import tiny_models

IMAGE = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)
STEPS = 400


def teach(base: Path, folder: Path, question: str, answer: str) -> Path:
    """Write a copy of a tiny model that answers a question with an answer and its end, whatever it sees."""
    import torch

    from vidmem.vlm.chat import encode, messages, render
    from vidmem.vlm.local import load

    tiny_models.required()
    local = load(base, "cpu")
    torch.manual_seed(0)
    prompt = encode(local, IMAGE, render(local, messages(IMAGE, question), prompt=True))
    whole = encode(local, IMAGE, render(local, messages(IMAGE, question, answer)))
    start = prompt["input_ids"].shape[1]
    labels = whole["input_ids"].clone()
    labels[:, :start] = -100
    model = local.model.train().requires_grad_(True)
    optimizer = torch.optim.AdamW(model.parameters(), 5e-3, weight_decay=0)
    for _ in range(STEPS):
        loss = model(**whole, labels=labels).loss
        if float(loss.detach()) < 0.02:
            break
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval().save_pretrained(folder)
    local.processor.save_pretrained(folder)
    return folder
