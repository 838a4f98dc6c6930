"""Training a T-REN region encoder (arXiv 2604.18573, section 3.2 and appendix A.3) on a frozen backbone.

data -> sample (one contract for every source) -> prepare (points, targets, shares of patches) -> step (forward and the
losses of Eqs. 1-5) -> loop (optimiser, checkpoints, logs); measure evaluates the result.
"""
