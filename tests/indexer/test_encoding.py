"""Batches ahead of their turn: how frames and files are put into batches, and that all come back in order."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest

from vidmem.config import IndexConfig
from vidmem.indexer.encoding import encoded_ahead
from vidmem.indexer.gating import FrameGate
from vidmem.indexer.pictures import _groups
from vidmem.indexer.pipeline import _Batch, _batches
from vidmem.media.photos import Listed, Read
from vidmem.records import Frame, Mark, RegionTokens


def nothing(batch: int) -> list[RegionTokens]:
    return []


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_batches_come_in_order_and_no_more_than_one_waits(workers: int) -> None:
    drawn: list[int] = []

    def batches() -> Iterator[int]:
        for number in range(6):
            drawn.append(number)
            yield number

    ahead = []
    for number, (batch, regions) in enumerate(encoded_ahead(batches(), nothing, workers)):
        assert (batch, regions) == (number, [])
        ahead.append(len(drawn) - number - 1)
    assert ahead == [min(workers, 5 - number) for number in range(6)]


def test_so_many_are_encoded_at_a_time_in_threads_of_their_own() -> None:
    together, names = threading.Barrier(3), set()

    def encode(batch: int) -> list[RegionTokens]:
        together.wait(60)
        names.add(threading.current_thread().name)
        return []

    assert [batch for batch, _ in encoded_ahead(iter(range(3)), encode, 3)] == [0, 1, 2]
    assert {name.rpartition("_")[0] for name in names} == {"vidmem-encode"}
    assert not any(thread.name.startswith("vidmem-encode") for thread in threading.enumerate())


def test_what_the_source_raises_comes_after_the_batches_before_it() -> None:
    def batches() -> Iterator[int]:
        yield from range(2)
        raise ValueError("the disk was pulled")

    seen = []
    with pytest.raises(ValueError, match="the disk was pulled"):
        seen += [batch for batch, _ in encoded_ahead(batches(), nothing, 4)]
    encoded = encoded_ahead(batches(), nothing, 4)
    assert [next(encoded)[0] for _ in range(2)] == [0, 1]
    with pytest.raises(ValueError, match="the disk was pulled"):
        next(encoded)


def test_what_the_encoder_raises_comes_at_the_place_of_its_batch_and_ends_all() -> None:
    def encode(batch: int) -> list[RegionTokens]:
        if batch == 1:
            raise ValueError("out of memory")
        return []

    encoded = encoded_ahead(iter(range(9)), encode, 2)
    assert next(encoded)[0] == 0
    with pytest.raises(ValueError, match="out of memory"):
        next(encoded)
    assert not any(thread.name.startswith("vidmem-encode") for thread in threading.enumerate())


def test_no_batches_give_none() -> None:
    assert list(encoded_ahead(iter(()), nothing, 2)) == []


BLANK = np.zeros((2, 2, 3), np.uint8)


class Marked(FrameGate):
    """Wants the frames with these numbers, and those right after a reset."""

    def __init__(self, *wanted: int) -> None:
        super().__init__(1)
        self.wanted, self.number, self.resets = wanted, -1, list[int]()

    def needs_encoding(self, image: np.ndarray) -> bool:
        self.number += 1
        return self.number in self.wanted or self.number - 1 in self.resets

    def reset(self) -> None:
        self.resets.append(self.number)


def batches(gate: Marked, number: int, config: IndexConfig) -> list[_Batch]:
    frames = [(Frame(BLANK, 10 * n, n, Mark(n, None, None)), n // 3) for n in range(number)]
    return list(_batches(iter(frames), gate, config))


def test_a_batch_ends_with_enough_frames_to_encode_and_at_each_checkpoint() -> None:
    gate = Marked(0, 2, 3, 4)
    made = batches(gate, 14, IndexConfig(batch=2, checkpoint_frames=6))
    assert [[frame.t_ns for frame in batch.to_encode] for batch in made] == [[0, 20], [30, 40], [], [60], [120]]
    assert [[t for t, _, _ in batch.shown] for batch in made] == [
        [0, 10, 20],
        [30, 40],
        [50],
        [60, 70, 80, 90, 100, 110],
        [120, 130],
    ]
    assert [new for _, _, new in made[0].shown] == [True, False, True]
    assert made[0].shown[1][1] == Mark(1, None, None)
    assert [batch.damage for batch in made] == [0, 1, 1, 3, 4]  # as far as its last frame
    assert gate.resets == [5, 11]


def test_no_frames_are_no_batch_and_a_last_full_one_is_not_followed_by_an_empty_one() -> None:
    config = IndexConfig(batch=2, checkpoint_frames=4)
    assert batches(Marked(), 0, config) == []
    assert [len(batch.shown) for batch in batches(Marked(0, 1, 2, 3), 4, config)] == [2, 2]


def reads(pattern: str) -> Iterator[Read]:
    """A file per letter: `n` for a new picture, `.` for a known one."""
    for number, letter in enumerate(pattern):
        yield Read(Listed(f"{number}.png", 1, 1), b"", BLANK if letter == "n" else None)


@pytest.mark.parametrize(
    ("pattern", "sizes"),
    [
        ("", []),
        ("n", [1]),
        ("nnnn", [2, 2]),
        ("n.n..n", [3, 3]),
        ("." * 70, [32, 32, 6]),
        ("n" + "." * 31 + "nn", [32, 2]),
        ("." * 31 + "nn", [32, 1]),
        ("." * 32, [32]),
    ],
)
def test_files_come_in_groups_of_two_new_pictures_or_of_16_times_as_many_files(pattern: str, sizes: list[int]) -> None:
    groups = list(_groups(reads(pattern), 2))
    assert [len(group) for group in groups] == sizes
    assert [read.file.path for group in groups for read in group] == [f"{n}.png" for n in range(len(pattern))]
