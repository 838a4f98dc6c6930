"""A small world for DenseVLM's claim: scenes with a foreground bias, small CLIP models, and measures of the bias.

The claim (arXiv 2412.06244): a CLIP model that learned from captions calls the ground by the name of the thing on it;
alignment with a teacher's labels makes this worse if things and stuff compete, and better if they are decoupled.
`benchmarks/densevlm_toy.py` runs it.
"""
