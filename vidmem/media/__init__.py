"""Frame sources: videos and pictures in, upright RGB frames with exact times out."""

from .base import Damage, Shape, Source
from .clip import cut_clip, save_clip, save_frames
from .discover import Found, Photos, discover
from .known import OtherFileError, known_photo, open_known
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
    "OtherFileError",
    "Photos",
    "Shape",
    "Source",
    "check_topics",
    "cut_clip",
    "decode_ahead",
    "discover",
    "known_photo",
    "open_known",
    "open_source",
    "parts",
    "save_clip",
    "save_frames",
]
