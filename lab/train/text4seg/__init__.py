"""Training of vision-language models that answer with masks, after Text4Seg (Lan et al., ICLR 2025).

LoRA on a model of `transformers` from a local folder, on the data that `vidmem export --format text4seg` writes. The
loss is the usual one of language models, on the answers alone (section 3.3); no part of the model is new.
"""
