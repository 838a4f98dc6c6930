"""`tiny` before it is loaded."""

from __future__ import annotations

from ..spec import EncoderSpec, lazy

TINY = EncoderSpec(
    name="tiny",
    load=lazy("vidmem.encoders.tiny.encoder:load"),
    load_text=lazy("vidmem.encoders.tiny.text:load_text"),
    licence="as vidmem",
    preset="boxes",
    shipped_bytes=lazy("vidmem.encoders.shipped:shipped_bytes"),
)
