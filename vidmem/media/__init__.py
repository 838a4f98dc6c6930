"""Frame sources: videos and pictures in, upright RGB frames with exact times out."""

from .base import Damage, Shape, Source
from .clip import save_clip, save_frames
from .discover import Found, Photos, discover
from .opening import DECODERS, open_source
from .parts import check_topics, parts
from .prefetch import decode_ahead
from .suffixes import IMAGE_SUFFIXES, VIDEO_SUFFIXES

__all__ = [
    "DECODERS",
    "IMAGE_SUFFIXES",
    "VIDEO_SUFFIXES",
    "Damage",
    "Found",
    "Photos",
    "Shape",
    "Source",
    "check_topics",
    "decode_ahead",
    "discover",
    "open_source",
    "parts",
    "save_clip",
    "save_frames",
]
