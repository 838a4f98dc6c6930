"""Standing questions: asked of a live session after every checkpoint. Each new sighting is told once.

`Memory.session` and `vidmem watch` start them. Nothing here waits in a thread of the camera or of the encoder.
"""

from .event import StandingEvent
from .mqtt import Mqtt
from .questions import StandingQuestion
from .run_command import RunCommand
from .session import StandingSession
from .sink import Sink, Undelivered
from .stats import StandingStats
from .webhook import Webhook

__all__ = [
    "Mqtt",
    "RunCommand",
    "Sink",
    "StandingEvent",
    "StandingQuestion",
    "StandingSession",
    "StandingStats",
    "Undelivered",
    "Webhook",
]
