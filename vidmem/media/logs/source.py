"""One topic of a log as a source: its pictures on the recorder's clock or on the sender's."""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator

from ...address import Address
from ...errors import MediaError
from ...records import Frame, SourceInfo, SourceKind, Trail
from ...timecode import NS
from .. import fingerprint
from ..base import Damage, Shape, Source
from ..sampling import Sampler, exact_rate
from . import open_log
from .base import Gap, MessageKind, content_of
from .poses import read_trail
from .shots import Shot, Shots, cause_of
from .video import codec_of, is_key

_BACK_NS = (2 * NS, 16 * NS, 128 * NS)
"""How far back (in ns) to search for a keyframe or the picture on display, before the whole log is searched."""
_KEPT = 8  # earlier pictures, in case the wanted one is damaged


class LogSource(Source):
    """The pictures of one topic.

    With the clock `log`, t_ns is log_time since the first message of any topic, so that all topics of a log share one
    clock; with `header`, it is the stamp since the topic's first picture. `info.start_ns` is that zero in ns since the
    epoch. A picture whose time is not after the one before is left out and counted. So is one that cannot be read; no
    other picture of the same sample takes its place. Pictures may change in size and encoding; width and height are
    those of the first one that can be read.

    Raises:
        MediaError: the log cannot be opened, or no picture of the topic can be read.
    """

    def __init__(self, address: Address) -> None:
        super().__init__(str(address))
        self._topic = address.part
        self._header = address.clock == "header"
        self._frame_id = ""
        self._index: tuple[array[int], array[int]] | None = None
        self._reader = open_log(address.path)
        try:
            self._video = self._has_video()
            self._shots = Shots(
                self._reader,
                self._topic,
                self.path,
                header=self._header,
                zero=None if self._header else self._reader.start_ns,
            )
            self._first_ns, first_log_ns, width, height = self._first()
        except BaseException:
            self._reader.close()
            raise
        prints = _prints(address)
        self.info = SourceInfo(
            uri=self.path,
            kind=SourceKind.LOG,
            width=width,
            height=height,
            duration_ns=self._reader.end_ns - (first_log_ns if self._header else self._reader.start_ns),
            fingerprint=prints.now,
            start_ns=self._shots.zero if self._reader.wall else None,
            recorded_by="log" if self._reader.wall and self._shots.zero is not None else "",
            former=prints.former,
            files=tuple(fingerprint.log_files(address.path)),
        )

    def _has_video(self) -> bool:
        path = self._reader.path
        topic = next((t for t in self._reader.topics() if t.name == self._topic), None)
        if topic is None:
            raise MediaError(f"the log has no topic {self._topic!r}; name one that it has: {path}")
        if not topic.pictures:
            raise MediaError(f"there are no pictures in {self._topic} ({topic.schema}); choose another topic: {path}")
        return MessageKind.VIDEO in topic.kinds

    def _first(self) -> tuple[int, int, int, int]:
        """Source time and log time of the first picture; width and height of the first one that can be read."""
        damage = Damage()
        first: Shot | None = None
        for shot in self._shots.read(self._reader.start_ns, None, damage):
            first = first or shot
            try:
                height, width = shot.picture(None).shape[:2]
                self._frame_id = shot.frame_id()
                return first.t_ns, first.message.log_ns, width, height
            except MediaError as error:
                damage.note(cause_of(error, self.path))
        cause = damage.notes[0] if damage.notes else "it has no messages"
        raise MediaError(f"no picture of the topic can be read ({cause}): {self.path}")

    def frames(
        self, fps: float, start_ns: int = 0, *, start_index: int = 0, shape: Shape | None = None
    ) -> Iterator[Frame]:
        """See `Source.frames`."""
        self.check_open()
        # Which sample start_ns is in depends on the picture before it, at most one sample's time away.
        back = NS + (int(NS / exact_rate(fps)) if fps else 0)
        damage, sampler, index = Damage(), Sampler(fps, self._first_ns), start_index
        for shot in self._from(start_ns - back if start_ns else 0, damage):
            self.check_open()
            wanted = sampler.take(shot.t_ns)
            if shot.t_ns < start_ns:
                damage = _emptied(damage)  # the pass that came this far counted it
                continue
            self.damage.take(damage)
            if not wanted:
                continue
            try:
                frame = Frame(shot.picture(shape), shot.t_ns, index, shot.mark())
            except MediaError as error:
                self.damage.frames += 1
                self.damage.note(cause_of(error, self.path))
                continue
            yield frame
            index += 1
        self.damage.take(damage)

    def frame_at(self, t_ns: int) -> Frame:
        """See `Source.frame_at`. With the clock `header`, the first call reads the times of the whole log."""
        self.check_open()
        if self._header and self._index is None and not self._video:
            self._index = self._times()
        for back in (*_BACK_NS, None):
            start = 0 if back is None else max(0, t_ns - back)
            before: deque[Shot] = deque(maxlen=_KEPT)
            for shot in self._from(start, Damage()):
                if shot.t_ns > t_ns:
                    if frame := _readable(reversed(before)):
                        return frame
                    if start:
                        break
                    if frame := _readable([shot]):
                        return frame
                    continue
                before.append(shot)
            else:
                if frame := _readable(reversed(before)):
                    return frame
            if not start:
                break
        raise MediaError(f"the topic can no longer be read; was the file changed?: {self.path}")

    def trail(self, topic: str | None = None) -> Trail | None:
        """See `Source.trail`. The pose of the camera, if transforms lead to it. Reads all messages with poses."""
        self.check_open()
        zero_ns = self._shots.zero or 0
        return read_trail(self._reader, self._frame_id, header=self._header, zero_ns=zero_ns, topic=topic)

    def close(self) -> None:
        """See `Source.close`."""
        super().close()
        self._reader.close()

    def _from(self, from_ns: int, damage: Damage) -> Iterator[Shot]:
        """Yield the pictures from a time at or before from_ns on, the same ones as a pass over all."""
        start = self._reader.start_ns
        log_ns, last_ns = start, None
        if from_ns > 0 and not self._header:
            log_ns = start + from_ns
            if self._video:
                log_ns = self._key_before(log_ns)
            last_ns = log_ns - start - 1
        elif from_ns > 0 and self._index is not None:
            times, logged = self._index
            place = bisect_right(times, from_ns) - 1
            if place >= 0:
                log_ns, last_ns = logged[place], times[place] - 1
        yield from self._shots.read(log_ns, last_ns, damage)

    def _key_before(self, log_ns: int) -> int:
        """Log time of a keyframe at or before log_ns; the start of the log if none is near."""
        for back in _BACK_NS:
            found = None
            for item in self._reader.messages([self._topic], max(self._reader.start_ns, log_ns - back), Damage()):
                if isinstance(item, Gap):
                    continue
                if item.log_ns > log_ns:
                    break
                try:
                    value = item.decode()
                    if is_key(content_of(value), codec_of(value, self.path)):
                        found = item.log_ns
                except Exception:  # damaged; counted when it is read
                    continue
            if found is not None:
                return found
            if log_ns - back <= self._reader.start_ns:
                break
        return self._reader.start_ns

    def _times(self) -> tuple[array[int], array[int]]:
        """Source times and log times of all pictures, for the clock `header`; for `log`, the log has an index."""
        times, logged = array("q"), array("q")
        for shot in self._shots.read(self._reader.start_ns, None, Damage()):
            times.append(shot.t_ns)
            logged.append(shot.message.log_ns)
        return times, logged


def _readable(shots: Iterator[Shot] | list[Shot]) -> Frame | None:
    for shot in shots:
        try:
            return Frame(shot.picture(None), shot.t_ns, -1, shot.mark())
        except MediaError:
            continue
    return None


def _emptied(damage: Damage) -> Damage:
    damage.packets = damage.frames = 0
    damage.notes.clear()
    return damage


def _prints(address: Address) -> fingerprint.Prints:
    """sha256 in hex of the log's content, the topic and the clock."""
    content = fingerprint.of_log(address.path)
    texts = (f"{text}\n{address.clock}\n{address.part}" for text in (content.now, content.former))
    return fingerprint.Prints(*(hashlib.sha256(text.encode()).hexdigest() for text in texts))
