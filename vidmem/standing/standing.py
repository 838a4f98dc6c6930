"""Standing questions at work: a thread that asks after each checkpoint, and one for each receiver that delivers.

Neither the camera nor the encoder waits for them: pictures come through a bounded queue, and checkpoints that come
while a question is asked are answered together.

What was told is noted in the memory in one transaction with the event, before the event is sent. So a restart tells
nothing again, and what was not delivered when the process died is delivered by the next session of the same name, which
may deliver it twice: at least once. The id of the event tells.
"""

from __future__ import annotations

import base64
import io
import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from PIL import Image

from ..closing import Closing
from ..indexer.crops import Crop
from ..query.query import Query
from ..records import Box
from ..timecode import NS
from .asking import Visit, ask
from .delivery import Delivery
from .event import StandingEvent, event_of, id_of
from .questions import Prepared
from .sink import Sink
from .stats import StandingStats

AGAIN_AFTER_S = 60.0
"""How long a thing must be away before it is told of again, in s."""
FLUSH_S = 10.0
"""How long the end of a session waits for deliveries, in s."""
MOST_CROPS = 128
"""Pictures that wait to be made JPEG."""
MOST_PICTURES = 1024
"""JPEGs that are kept for events to come, about 10 kB each; the oldest give way."""
JPEG_QUALITY = 85
REST = 4.0
"""After a question, the asking thread rests this many times as long: it takes a fifth of a core at most."""
_log = logging.getLogger(__name__)


class Standing(Closing):
    """The standing questions of one session: an `Observer` of it.

    Args:
        query: Of the memory, which is open for writing.
        asked: The questions.
        sinks: The receivers, opened here.
        again_after_s: How long a thing must be away before it is told of again, in s.
        since_ns: Where the session begins on the source's clock, in ns.
        flush_s: How long `close` waits for deliveries, in s.

    Raises:
        VidmemError: a receiver cannot be used.
    """

    def __init__(
        self,
        query: Query,
        asked: Sequence[Prepared],
        sinks: Sequence[Sink],
        *,
        again_after_s: float = AGAIN_AFTER_S,
        since_ns: int = 0,
        flush_s: float = FLUSH_S,
    ) -> None:
        self._query, self._store, self._asked = query, query.store, asked
        self._away_ns, self._flush_s = round(again_after_s * NS), flush_s
        self._memory, self._since_ns = self._store.memory_id(), since_ns
        self._opened(sinks)
        self._deliveries = [Delivery(sink, self._settle) for sink in sinks]
        self._open: dict[str, tuple[str, int, int]] = {}
        """Key, track and receivers to come, by the id of each event that is on its way."""
        self._pictures: OrderedDict[tuple[int, int], list[tuple[Box, bytes]]] = OrderedDict()
        self._changed = threading.Condition()
        self._crops: deque[Crop] = deque(maxlen=MOST_CROPS)
        self._source: int | None = None
        self._due = self._closing = self._closed = False
        self._counts = dict.fromkeys(("asked", "unanswered", "events", "resumed"), 0)
        self._thread: threading.Thread | None = None

    @staticmethod
    def _opened(sinks: Sequence[Sink]) -> None:
        for i, sink in enumerate(sinks):
            try:
                sink.open()
            except BaseException:
                for other in sinks[:i]:
                    other.close()
                raise

    def committed(self, source_id: int, crops: Sequence[Crop]) -> None:
        """Ask again soon. See `Observer`."""
        with self._changed:
            self._crops.extend(crops)
            self._source, self._due = source_id, True
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="vidmem-standing", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    @property
    def stats(self) -> StandingStats:
        """Counts so far."""
        with self._changed:
            counts = dict(self._counts)
        parts = [delivery.counts for delivery in self._deliveries]
        return StandingStats(
            **counts,
            delivered=sum(part.delivered for part in parts),
            retried=sum(part.retried for part in parts),
            failed=sum(part.failed for part in parts),
            dropped=sum(part.dropped for part in parts),
            waiting=sum(delivery.waiting for delivery in self._deliveries),
        )

    def close(self) -> None:
        """Ask a last time, deliver for at most `flush_s`, and end. What is left waits for the next session."""
        if self._closed:
            return
        self._closed = True
        deadline = time.monotonic() + self._flush_s
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(self._flush_s)
        for delivery in self._deliveries:
            delivery.end(deadline)
        for delivery in self._deliveries:
            delivery.close()

    def _run(self) -> None:
        resumed = False
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._due or self._closing)
                due, self._due = self._due, False
                crops, source = list(self._crops), self._source
                self._crops.clear()
                if not due or source is None:
                    return
            began = time.monotonic()
            try:
                if not resumed:
                    self._resume(source)
                    resumed = True
                for crop in crops:
                    self._keep(crop)
                visits, until_ns = ask(self._query, self._asked, source, self._away_ns, self._since_ns)
                for visit in visits:
                    self._tell(visit)
                self._since_ns = until_ns
                outcome = "asked"
            except Exception as error:  # whatever it is, the camera goes on, and so do the next questions
                outcome = "unanswered"
                if not self._counts["unanswered"]:
                    _log.warning("the standing questions cannot be asked (%s: %s)", type(error).__name__, error)
            with self._changed:
                self._counts[outcome] += 1
                self._changed.wait_for(lambda: self._closing, REST * (time.monotonic() - began))

    def _resume(self, source: int) -> None:
        """Deliver what an earlier run has left."""
        for key, track, text in self._store.undelivered(source):
            try:
                event = StandingEvent.from_json(text)
            except ValueError:
                self._store.settle_event(key, track)
                continue
            with self._changed:
                self._counts["resumed"] += 1
            self._send(event, key, track)

    def _tell(self, visit: Visit) -> None:
        key = visit.asked.key
        if visit.sighting is None:
            self._store.tell(key, visit.tracks, [])
            return
        event_id = id_of(self._memory, key, visit.tracks)
        event = event_of(visit.asked.name, visit.sighting, visit.start_ns, event_id)
        track = min(visit.tracks)
        self._store.tell(key, visit.tracks, [(track, event.to_json(crop=False))])
        with self._changed:
            self._counts["events"] += 1
        self._send(replace(event, crop=self._picture(visit)), key, track)

    def _send(self, event: StandingEvent, key: str, track: int) -> None:
        with self._changed:
            self._open[event.id] = key, track, len(self._deliveries)
        for delivery in self._deliveries:
            delivery.put(event)

    def _settle(self, event: StandingEvent) -> None:
        """Note that one receiver is done with an event; after the last one it need not be kept."""
        with self._changed:
            key, track, left = self._open[event.id]
            self._open[event.id] = key, track, left - 1
            if left > 1:
                return
            del self._open[event.id]
        try:
            self._store.settle_event(key, track)
        except Exception as error:  # a full disk, or the memory is closed: it is delivered again
            _log.info("an event that was delivered will be delivered again (%s)", error)

    def _keep(self, crop: Crop) -> None:
        """Keep the picture of a track for events to come."""
        out = io.BytesIO()
        Image.fromarray(crop.image).save(out, "JPEG", quality=JPEG_QUALITY)
        key = crop.ordinal, crop.t_ns
        self._pictures.setdefault(key, []).append((crop.box, out.getvalue()))
        self._pictures.move_to_end(key)
        while len(self._pictures) > MOST_PICTURES:
            self._pictures.popitem(last=False)

    def _picture(self, visit: Visit) -> str | None:
        """The picture of the evidence of a visit; None if it is not there."""
        assert visit.sighting is not None
        box, found = np.array(visit.sighting.box), []
        for ordinal in visit.ordinals:
            for other, jpeg in self._pictures.get((ordinal, visit.sighting.frame_ns), ()):
                found.append((float(np.abs(box - np.array(other)).max()), jpeg))
        if not found or min(found)[0] > 1:
            return None
        return base64.b64encode(min(found)[1]).decode()
