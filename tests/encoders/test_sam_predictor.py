"""SAM2 prompted with points and a mask, against the library, on a small random model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from encoders import sam2_folder
from torch.nn import functional as F

from vidmem.encoders.masks.sam_predictor import LOGITS_SIDE, Sam2Predictor, load_predictor
from vidmem.errors import UsageError
from vidmem.export.refine import prompt_logits, prompt_points, refine

sam2_folder.required()
H, W = 48, 80


@pytest.fixture(scope="module")
def predictor(sam2_small: Path) -> Sam2Predictor:
    made = load_predictor(f"sam2:local-dir:{sam2_small}", "cpu")
    made.set_image(np.random.default_rng(0).integers(0, 256, (H // 8, W // 8, 3), np.uint8).repeat(8, 0).repeat(8, 1))
    return made


@pytest.fixture
def mask() -> np.ndarray:
    out = np.zeros((H, W), bool)
    out[10:30, 20:50] = True
    return out


def test_prompts_are_read_as_in_the_library(sam2_small: Path, predictor: Sam2Predictor, mask: np.ndarray) -> None:
    from transformers import Sam2Model

    own = Sam2Model.from_pretrained(sam2_small).eval()
    points, labels = prompt_points(mask, np.random.default_rng(1))
    prompt = prompt_logits(mask)
    masks, scores, logits = predictor.predict(points, labels, prompt[None], multimask_output=True)
    scale = torch.tensor([sam2_folder.SIDE / W, sam2_folder.SIDE / H])
    with torch.inference_mode():
        out = own(
            image_embeddings=predictor._maps,
            input_points=(torch.from_numpy(points) * scale)[None, None],
            input_labels=torch.from_numpy(labels.astype(np.int64))[None, None],
            input_masks=torch.from_numpy(prompt)[None, None],
            multimask_output=True,
        )
    low = out.pred_masks[0]
    np.testing.assert_allclose(scores, out.iou_scores[0, 0].numpy(), atol=1e-5)
    wanted = F.interpolate(low, (LOGITS_SIDE, LOGITS_SIDE), mode="bilinear")[0].numpy()
    np.testing.assert_allclose(logits, wanted, atol=1e-3 * np.abs(wanted).max())
    assert masks.shape == (3, H, W)
    assert (masks == (F.interpolate(low, (H, W), mode="bilinear")[0] > 0).numpy()).mean() > 0.999


def test_masks_have_the_size_of_the_picture(predictor: Sam2Predictor, mask: np.ndarray) -> None:
    refined = refine(predictor, mask)
    assert refined.shape == (H, W)
    assert refined.dtype == bool
    assert (refine(predictor, mask) == refined).all()
    assert not refine(predictor, np.zeros((H, W), bool)).any()


def test_another_model_fails() -> None:
    with pytest.raises(UsageError, match="`refine` is sam2"):
        load_predictor("facebook/sam2.1-hiera-small")
