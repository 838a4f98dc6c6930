"""Training sets for models that write masks as text: many sources, sharded, resumable (Text4Seg, appendix B)."""
