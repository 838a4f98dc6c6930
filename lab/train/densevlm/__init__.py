"""Adapting a CLIP model to regions without labels: DenseVLM (arXiv 2412.06244).

A frozen teacher names the regions of unlabelled pictures, and the image tower of a student learns those names. Names
of things compete with names of things alone, so that the student does not see a thing in every background.

data (pictures, squared) -> grids (random boxes) -> step (dense features, RoIAlign; labels of the teacher; losses) ->
loop (optimiser, checkpoints, logs) -> weights (a folder that open_clip loads).
"""
