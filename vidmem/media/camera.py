"""Pictures from a live source: a camera of this machine, a pipe, or, if allowed, an address on a network."""

from __future__ import annotations

import os
import re
import stat
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain

import av
import av.error
import numpy as np
from av.container import InputContainer
from av.video.reformatter import VideoReformatter

from ..address import without_secrets
from ..errors import MediaError, UsageError
from ..limits import check_frame, max_video_pixels
from ..records import Frame
from ..timecode import NS
from .base import Damage
from .container import FORMATS
from .orient import Orientation, of_frame
from .packets import decode, demux
from .prefetch import decode_ahead

PIPE = "-"
_URL = re.compile(r"^([a-z][a-z0-9+.-]+)://", re.IGNORECASE)
_LOGIN = re.compile(r"^[^/\s:@]+:.*@", re.DOTALL)
"""A user and a password before a host, where the kind of address was forgotten."""
_PROTOCOLS = {
    "rtsp": "rtsp,rtp,rtcp,tcp,udp",
    "rtsps": "rtsps,rtsp,rtp,rtcp,tcp,udp,tls",
    "udp": "udp,rtp",
    "rtp": "rtp,udp",
    "tcp": "tcp",
    "http": "http,tcp",
    "https": "https,tls,tcp",
    "srt": "srt",
    "rtmp": "rtmp,tcp",
}
_TIMEOUT_S = 10.0
_AHEAD = 2
"""Frames that are decoded before they are asked for."""
_PATIENCE_S = 0.2
"""How long the end waits for a camera that is silent."""
_AHEAD_S = 10.0
"""How far the time of a stream may run ahead of the clock before it is not live."""
_LONGEST_GAP_S = 3600.0
"""A longer step of the time in a file is not waited for."""
_STREAMS = f"{FORMATS},mjpeg,mpjpeg"  # no playlists: they name other files and addresses
_LOCAL = {"protocol_whitelist": "file", "format_whitelist": _STREAMS}


def plain_name(source: str) -> str:
    """The name of a source for people: its text, without what is secret in an address."""
    if source == PIPE:
        return "stdin"
    if _LOGIN.match(source) and not _URL.match(source) and not os.path.exists(source):
        source = _LOGIN.sub("", source)
    return without_secrets(source, whole=True)


def watch(
    source: str, damage: Damage, *, network: bool = False, say: Callable[[str], None] = lambda line: None
) -> Iterator[Frame]:
    """Yield upright pictures as they arrive.

    t_ns is in ns since the epoch: the arrival of the first picture plus the stream's own time since then.

    Args:
        source: A device such as /dev/video0, - for a stream on stdin, an address (rtsp, http, ...), or a file.
        damage: Counts what is damaged.
        network: Allow an address.
        say: Called with a remark: a file is yielded at the speed at which it plays, since all that is faster than the
            encoder would be dropped; a pipe that is faster than that is not live, and says so.

    Raises:
        UsageError: an address without `network`.
        MediaError: the source cannot be opened, or has no video.
    """
    # FFmpeg swallows a Ctrl-C while it waits. In a thread of its own it gets none.
    return decode_ahead(_frames(source, damage, network, say), _AHEAD, patience_s=_PATIENCE_S)


def _frames(source: str, damage: Damage, network: bool, say: Callable[[str], None]) -> Iterator[Frame]:
    with _opened(source, network) as container:
        if not container.streams.video:
            raise MediaError(f"the stream has no video: {plain_name(source)}")
        stream = container.streams.video[0]
        stream.codec_context.options = {"max_pixels": str(max_video_pixels())}
        reformatter, orientation = VideoReformatter(), Orientation()
        first_ns, first_pts = 0, None
        index = 0
        paced = _is_file(source)
        if paced:
            say("a file is watched at the speed at which it plays; `vidmem index` is faster and drops nothing")
        told = paced
        for packet in chain(demux(container, stream, damage), [None]):
            for picture in decode(stream, packet, damage):
                bits = picture.format.padded_bits_per_pixel
                check_frame(picture.width, picture.height, bits, plain_name(source))
                if first_pts is None:
                    first_ns, first_pts, orientation = time.time_ns(), picture.pts, of_frame(picture)
                t_ns = time.time_ns()
                if picture.pts is not None and first_pts is not None and stream.time_base is not None:
                    t_ns = first_ns + int((picture.pts - first_pts) * stream.time_base * NS)
                ahead_s = (t_ns - time.time_ns()) / NS
                if paced and 0 < ahead_s < _LONGEST_GAP_S:
                    time.sleep(ahead_s)
                elif ahead_s > _AHEAD_S and not told:
                    say("this stream comes faster than it plays, so frames may be dropped; slow it, as ffmpeg -re")
                    told = True
                try:
                    rgb = reformatter.reformat(picture, picture.width, picture.height, "rgb24").to_ndarray()
                except av.error.FFmpegError as error:
                    raise MediaError(
                        f"pixels of format {picture.format.name} cannot be made RGB ({error.strerror}): "
                        f"{plain_name(source)}"
                    ) from None
                yield Frame(orientation.apply(rgb.astype(np.uint8, copy=False)), t_ns, index)
                index += 1


def _is_file(source: str) -> bool:
    """Whether the source is a plain file, also as stdin, and so not live."""
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode if source == PIPE else os.stat(source).st_mode
    except (OSError, ValueError, AttributeError):
        return False
    return stat.S_ISREG(mode)


class _Stdin:
    """Standard input as PyAV reads it: what comes is passed on at once, and no lock is held while nothing comes."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        if _is_file(PIPE):
            self.seek, self.tell = partial(os.lseek, fd), partial(os.lseek, fd, 0, os.SEEK_CUR)

    def read(self, size: int) -> bytes:
        return os.read(self._fd, size)


def _opened(source: str, network: bool) -> InputContainer:
    match = _URL.match(source)
    name = plain_name(source)
    try:
        if source == PIPE:
            return av.open(_Stdin(sys.stdin.fileno()), "r", metadata_errors="ignore", container_options=_LOCAL)
        if match is None:
            form = "v4l2" if source.startswith("/dev/video") else None
            return av.open(
                f"file:{source}" if form is None else source,
                "r",
                format=form,
                metadata_errors="ignore",
                container_options=_LOCAL if form is None else {},
            )
        if not network:
            raise UsageError(f"an address is opened only with `network`: {name}")
        protocols = _PROTOCOLS.get(match[1].lower())
        if protocols is None:
            raise UsageError(f"no such kind of address; there are {', '.join(_PROTOCOLS)}: {name}")
        formats = f"{_STREAMS},rtsp,sdp,rtp"
        options = {"protocol_whitelist": protocols, "format_whitelist": formats, "rtsp_transport": "tcp"}
        return av.open(source, "r", timeout=_TIMEOUT_S, metadata_errors="ignore", container_options=options)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        cause = getattr(error, "strerror", None) or type(error).__name__
        raise MediaError(
            f"the source cannot be opened ({cause}); check that it exists and sends video: {name}"
        ) from None
