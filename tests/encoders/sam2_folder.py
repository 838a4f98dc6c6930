"""A small random SAM2, since the published ones cannot be downloaded in tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from needs import needs
from vidmem.encoders.torchvision_compat import ready

SIDE = 256


def required() -> None:
    """Skip the test if the extra `sam2` is not installed."""
    ready()
    needs("transformers")


def configuration() -> Any:
    """A narrow model with pictures of 256 x 256 pixels, masks of 64 x 64 and features of 16 x 16."""
    from transformers import Sam2VideoConfig

    backbone = {
        "model_type": "sam2_hiera_det_model",
        "image_size": [SIDE, SIDE],
        "hidden_size": 8,
        "num_attention_heads": 1,
        "blocks_per_stage": [1, 1, 2, 1],
        "embed_dim_per_stage": [8, 16, 32, 64],
        "num_attention_heads_per_stage": [1, 1, 2, 2],
        "window_size_per_stage": [4, 4, 4, 4],
        "global_attention_blocks": [3],
        "window_positional_embedding_background_size": [4, 4],
    }
    vision = {
        "model_type": "sam2_vision_model",
        "backbone_config": backbone,
        "backbone_channel_list": [64, 32, 16, 8],
        "backbone_feature_sizes": [[64, 64], [32, 32], [16, 16]],
        "fpn_hidden_size": 128,
    }
    return Sam2VideoConfig(
        vision_config=vision,
        image_size=SIDE,
        prompt_encoder_config={"hidden_size": 128, "image_size": SIDE, "mask_input_channels": 4},
        mask_decoder_config={"hidden_size": 128, "mlp_dim": 32, "num_attention_heads": 2, "iou_head_hidden_dim": 16},
        memory_attention_hidden_size=128,
        memory_attention_num_layers=1,
        memory_attention_feed_forward_hidden_size=32,
        memory_attention_rope_feat_sizes=[16, 16],
        memory_encoder_hidden_size=128,
        memory_encoder_output_channels=64,
        mask_downsampler_embed_dim=128,
        memory_fuser_embed_dim=128,
        memory_fuser_intermediate_dim=32,
    )


def write(folder: Path) -> Path:
    """A folder for `sam2:local-dir:` with random weights of seed 0."""
    from transformers import Sam2VideoModel

    torch.manual_seed(0)
    model = Sam2VideoModel(configuration()).eval()
    with torch.no_grad():
        for tensor in model.parameters():
            tensor.add_(torch.randn_like(tensor) * 0.1)
        decoder = model.mask_decoder  # gives masks with clear edges and high scores, as a trained one does
        decoder.iou_prediction_head.proj_out.bias.fill_(2.0)
        decoder.pred_obj_score_head.proj_out.bias.fill_(5.0)
        for head in decoder.output_hypernetworks_mlps:
            head.proj_out.weight.mul_(60)
    model.save_pretrained(folder)
    return folder
