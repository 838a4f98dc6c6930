"""Visual queries online: the memory at a query holds what was seen before it, bit for bit, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import fakes
import numpy as np
import pytest
from numpy.typing import NDArray

from vidmem.config import IndexConfig
from vidmem.encoders import Encoder, registry
from vidmem.errors import MediaError, UsageError
from vidmem.evaluation.vq2d import Answered, answer
from vidmem.evaluation.vq2d_files import Clip, FrameBox, VisualQuery
from vidmem.evaluation.vq2d_media import Part, crop_picture, open_clip
from vidmem.evaluation.vq2d_online import answer_online, asked_in_time
from vidmem.media import Source, open_source
from vidmem.memory import Memory

SIZE = (fakes.WIDTH, fakes.HEIGHT)
CONFIG = IndexConfig(fps=5, checkpoint_frames=16, batch=4)
SAME = [("red", 0, 2, 8), ("red", 4, 6, 120), ("blue", 0, 6.5, 64)]
"""What both films show until 6.5 s."""


def query(number: int, title: str, asked: int, crop: tuple[int, int, int, int, int]) -> VisualQuery:
    frame, x, y, w, h = crop
    return VisualQuery("c", (f"a{number}", "1"), title, asked, FrameBox(frame, (x, y, x + w, y + h), SIZE), (), 5.0)


QUERIES = [
    query(0, "blue", 30, (2, 64, 32, 32, 32)),
    query(1, "red", 12, (1, 8, 32, 32, 32)),
    query(2, "red", 32, (21, 120, 32, 32, 32)),
    query(3, "green", 30, (40, 8, 32, 32, 32)),
]
"""Not in order; the last is about a thing that comes only later, in one of the films."""


@pytest.fixture(scope="module")
def encoder() -> Iterator[Encoder]:
    with registry.registered(fakes.SPEC):
        yield fakes.Colours()


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two films of 10 s that are the same up to the last query and differ after it."""
    folder = tmp_path_factory.mktemp("films")
    first = fakes.squares(folder / "first.mp4", [*SAME, ("green", 7, 10, 8)], 10, fps=5)
    second = fakes.squares(folder / "second.mp4", [*SAME, ("red", 6.6, 10, 32), ("white", 8, 10, 96)], 10, fps=5)
    return first, second


def opened(folder: Path, encoder: Encoder) -> Memory:
    memory = Memory.open(folder, encoder="colours")
    memory.query.use(encoder)
    return memory


def watch(
    folder: Path, encoder: Encoder, film: Path, queries: Sequence[VisualQuery] = QUERIES
) -> tuple[dict[str, Answered], dict[str, int]]:
    """Answers by annotation, and how many frames the memory had at each."""
    answers, frames = {}, {}
    with opened(folder, encoder) as memory, open_source(film) as source:
        for asked in asked_in_time(memory, source, queries, CONFIG):
            answers[asked.key[0]] = answer_online(memory, source, asked)
            frames[asked.key[0]] = memory.store.source(source.info.uri).frames
    return answers, frames


def test_each_query_is_asked_at_its_frame(films: tuple[Path, Path], encoder: Encoder, tmp_path: Path) -> None:
    answers, frames = watch(tmp_path, encoder, films[0])
    assert list(answers) == ["a1", "a0", "a3", "a2"]  # by their frame
    assert frames == {"a1": 12, "a0": 30, "a3": 30, "a2": 32}
    red, late = answers["a1"].response, answers["a2"].response
    assert red is not None
    assert late is not None
    assert (red.first, red.last) == (0, 9)
    assert (late.first, late.last) == (20, 29)
    assert late.boxes[0] == pytest.approx((120, 32, 152, 64), abs=8)


def test_frames_after_a_query_change_nothing(films: tuple[Path, Path], encoder: Encoder, tmp_path: Path) -> None:
    with open_source(films[0]) as one, open_source(films[1]) as two:
        shown = [[frame.image for frame in source.frames(5)] for source in (one, two)]
    assert all((a == b).all() for a, b in zip(shown[0][:32], shown[1][:32], strict=True))
    assert any((a != b).any() for a, b in zip(shown[0][33:], shown[1][33:], strict=True))
    # The crop of the last query is from a later frame and differs, so it is not compared.
    first, second = (watch(tmp_path / film.stem, encoder, film, QUERIES[:3])[0] for film in films)
    assert first == second


def test_a_film_that_ends_at_the_query_gives_the_same(
    films: tuple[Path, Path], encoder: Encoder, tmp_path: Path
) -> None:
    class Until(Part):
        """The film up to a time, with all of it in reach of the crop."""

    last = QUERIES[2]
    whole, _ = watch(tmp_path / "whole", encoder, films[0], [last])
    with opened(tmp_path / "cut", encoder) as memory, open_source(films[0]) as source:
        part = Until(source, 0, last.frame * 200_000_000)
        (asked,) = asked_in_time(memory, part, [last], CONFIG)
        assert memory.store.source(part.info.uri).frames == last.frame
        assert answer_online(memory, part, asked) == whole["a2"]


def test_the_memory_afterwards_is_that_of_the_indexer(
    films: tuple[Path, Path], encoder: Encoder, tmp_path: Path
) -> None:
    watch(tmp_path / "online", encoder, films[0])
    with opened(tmp_path / "online", encoder) as online, opened(tmp_path / "whole", encoder) as whole:
        whole.index(films[0], config=CONFIG)
        (one,), (two,) = online.store.sources(), whole.store.sources()
        assert (one.frames, one.state, one.next_t_ns) == (two.frames, two.state, two.next_t_ns)
        found = [in_order(memory, row.id) for memory, row in ((online, one), (whole, two))]
        for left, right in zip(*found, strict=True):
            np.testing.assert_array_equal(left, right)


def in_order(memory: Memory, source: int) -> list[NDArray[Any]]:
    """Times, ordinals and boxes by time, and the tokens of tracks by their ordinal."""
    times, ordinals, boxes = memory.store.boxes(source, 0, 10**11)
    order = np.lexsort((ordinals, times))
    rows = np.argsort(memory.cache().columns.ordinals)
    tokens = [memory.cache().reconstruct(space, rows) for space in ("visual", "text")]
    return [times[order], ordinals[order], boxes[order], *tokens]


def test_a_clip_is_watched_once(films: tuple[Path, Path], encoder: Encoder, tmp_path: Path) -> None:
    watch(tmp_path, encoder, films[0])
    with pytest.raises(UsageError, match="seen this clip before"):
        watch(tmp_path, encoder, films[0])


def test_the_crop_is_its_pixels(films: tuple[Path, Path]) -> None:
    with open_source(films[0]) as source:
        picture = np.asarray(crop_picture(source, QUERIES[2]))
        assert picture.shape == (32, 32, 3)
        assert np.abs(picture.astype(int) - fakes.COLOURS["red"]).max() < 40
        large = replace(QUERIES[2].crop, box=(240, 64, 304, 128), size=(320, 192))  # of a picture of twice the size
        again = crop_picture(source, replace(QUERIES[2], crop=large))
        assert again.size == (32, 32)
        outside = replace(QUERIES[2].crop, box=(500, 64, 540, 128))
        with pytest.raises(UsageError, match="lies outside of its frame"):
            crop_picture(source, replace(QUERIES[2], crop=outside))
        crop_picture(source, replace(QUERIES[2], crop=replace(QUERIES[2].crop, frame=50)))  # the film has 10 s
        with pytest.raises(UsageError, match="the crop is of 100 s, after the end of the clip"):
            crop_picture(source, replace(QUERIES[2], crop=replace(QUERIES[2].crop, frame=500)))


def test_boxes_are_in_pixels_of_the_annotations(films: tuple[Path, Path], encoder: Encoder, tmp_path: Path) -> None:
    doubled = FrameBox(21, (240, 64, 304, 128), (320, 192))
    with opened(tmp_path, encoder) as memory:
        memory.index(films[0], config=CONFIG)
        (source,) = memory.store.sources()
        plain = answer(memory, source, QUERIES[2]).response
        large = answer(memory, source, replace(QUERIES[2], crop=doubled)).response
    assert plain is not None
    assert large is not None
    assert large.boxes[0] == pytest.approx([2 * side for side in plain.boxes[0]])


def clip(uid: str | None, video: str | None, start: float | None = None, end: float | None = None) -> Clip:
    return Clip(uid, video, None, start, end, ())


def times(source: Source, fps: float, start_ns: int = 0) -> list[int]:
    return [frame.t_ns for frame in source.frames(fps, start_ns)]


def test_a_clip_is_its_own_file_or_a_part_of_the_video(tmp_path: Path) -> None:
    fakes.squares(tmp_path / "whole.mp4", [("red", 0, 3, 8), ("blue", 3, 9, 8)], 9, fps=10)
    with pytest.raises(MediaError, match=r"put own\.mp4 or other\.mp4 there"):
        open_clip(tmp_path, clip("own", "other", 2, 6))
    with pytest.raises(MediaError, match=r"put whole\.mp4 there"):
        open_clip(tmp_path, clip(None, "whole"))  # not known which part
    with pytest.raises(MediaError, match="from 20 to 30 s is not in the video"):
        open_clip(tmp_path, clip("own", "whole", 20, 30))
    with open_clip(tmp_path, clip("own", "whole", 2.05, 6)) as part:
        found = times(part, 5)
        assert found[0] == 50_000_000  # the first frame of the part, at 2.1 s of the video
        assert len(found) == 20
        assert set(np.diff(found).tolist()) == {200_000_000}
        assert times(part, 5, found[7] + 1) == found[8:]
        assert part.info.duration_ns == 3_950_000_000
        blue = part.frame_at(1_500_000_000).image[40, 20]
        assert np.abs(blue.astype(int) - fakes.COLOURS["blue"]).max() < 40
    fakes.squares(tmp_path / "own.mp4", [("red", 0, 1, 8)], 1)
    with open_clip(tmp_path, clip("own", "whole", 2, 6)) as source:
        assert source.info.uri == str(tmp_path / "own.mp4")


def test_a_folder_may_have_any_name(tmp_path: Path) -> None:
    folder = tmp_path / "run#2"
    folder.mkdir()
    fakes.squares(folder / "own.mp4", [("red", 0, 1, 8)], 1)
    for wanted in (clip("own", None), clip(None, "own", 0, 1)):
        with open_clip(folder, wanted) as source:
            assert len(times(source, 5)) == 5


def test_a_part_is_indexed_with_its_own_times(encoder: Encoder, tmp_path: Path) -> None:
    fakes.squares(tmp_path / "v.mp4", [("red", 0, 3, 8), ("red", 5, 7, 120)], 9, fps=10)
    asked = query(0, "red", 29, (2, 8, 32, 32, 32))
    with opened(tmp_path / "m", encoder) as memory, open_clip(tmp_path, clip("c", "v", 2.0, 8.0)) as part:
        (only,) = asked_in_time(memory, part, [asked], CONFIG)
        row = memory.store.source(part.info.uri)
        assert row.uri.endswith("v.mp4#t=2,8")
        found = answer(memory, row, only).response
    assert found is not None
    assert (found.first, found.last) == (15, 24)
