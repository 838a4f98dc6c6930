"""The affine map of the visual tokens."""

from __future__ import annotations

import torch

from vidmem.train.whiten import within_class_map


def spread_tokens() -> tuple[torch.Tensor, torch.Tensor]:
    """Twenty things in 4 dimensions; each varies ten times as much along the first axis; all share a large mean."""
    random = torch.Generator().manual_seed(3)
    labels = torch.arange(20).repeat_interleave(50)
    centres = torch.randn(20, 4, generator=random)
    noise = torch.randn(1000, 4, generator=random) * torch.tensor([3.0, 0.3, 0.3, 0.3])
    return centres[labels] + noise + 7, labels


def test_within_class_covariance_becomes_the_identity() -> None:
    tokens, labels = spread_tokens()
    mean, matrix = within_class_map(tokens, labels, shrink=0.0)
    mapped = (tokens - mean) @ matrix
    centres = torch.stack([mapped[labels == i].mean(0) for i in range(20)])
    residual = mapped - centres[labels]
    torch.testing.assert_close(residual.T @ residual / (1000 - 20), torch.eye(4), atol=1e-3, rtol=0)
    torch.testing.assert_close(mapped.mean(0), torch.zeros(4), atol=1e-3, rtol=0)


def test_full_shrinkage_leaves_directions_as_they_are() -> None:
    tokens, labels = spread_tokens()
    _, matrix = within_class_map(tokens, labels, shrink=1.0)
    torch.testing.assert_close(matrix / matrix[0, 0], torch.eye(4), atol=1e-4, rtol=0)
