"""A toy of Text4Seg: a small causal language model that writes masks of made scenes as text."""
