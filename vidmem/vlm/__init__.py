"""Vision-language models that answer with masks."""
