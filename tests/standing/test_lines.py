"""Events as lines on a pipe that is slow, or closed."""

from __future__ import annotations

import json
import os
import threading

import pytest

from vidmem.standing import Undelivered
from vidmem.standing.lines import Lines

from .stage import event


def test_a_line_each() -> None:
    reader, writer = os.pipe()
    sink = Lines(writer)
    for i in range(3):
        sink.send(event(i))
    os.close(writer)
    with open(reader) as stream:
        assert [json.loads(line)["id"] for line in stream] == [event(i).id for i in range(3)]


def test_a_line_that_was_written_in_part_is_continued() -> None:
    reader, writer = os.pipe()
    sink, big = Lines(writer, timeout_s=0.2), event(1, "x" * 500_000)
    with pytest.raises(Undelivered, match="nobody reads it") as caught:
        sink.send(big)
    assert caught.value.again
    got: list[str] = []

    def read() -> None:
        with open(reader) as stream:
            got.extend(stream)

    thread = threading.Thread(target=read)
    thread.start()
    sink.send(big)
    sink.send(event(2))
    os.close(writer)
    thread.join()
    assert [json.loads(line)["id"] for line in got] == [big.id, event(2).id]


def test_a_line_that_was_given_up_spoils_no_other() -> None:
    reader, writer = os.pipe()
    sink = Lines(writer, timeout_s=0.1)
    with pytest.raises(Undelivered):
        sink.send(event(1, "x" * 500_000))
    os.read(reader, 1 << 20)
    sink.send(event(2))
    os.close(writer)
    with open(reader) as stream:
        assert json.loads(stream.read().splitlines()[-1])["id"] == event(2).id


def test_a_closed_pipe() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with pytest.raises(Undelivered, match="Broken pipe") as caught:
        Lines(writer).send(event())
    assert not caught.value.again
    os.close(writer)
