"""LeRobot datasets, v2.1 and v3, made with pyarrow and PyAV."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import make
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vidmem.address import Address
from vidmem.errors import MediaError, UsageError
from vidmem.media import discover, open_source, parts

FPS = 30
LENGTHS = (40, 25, 35)
TOP, WRIST = "observation.images.top", "observation.images.wrist"


def info(version: str, **more: Any) -> dict[str, Any]:
    video = {"dtype": "video", "shape": [make.HEIGHT, make.WIDTH, 3]}
    return {
        "codebase_version": version,
        "fps": FPS,
        "chunks_size": 1000,
        "total_episodes": len(LENGTHS),
        "features": {TOP: video, WRIST: video, "action": {"dtype": "float32", "shape": [2]}},
        **more,
    }


def rows(episode: int) -> dict[str, Any]:
    n = LENGTHS[episode]
    return {
        "timestamp": (np.arange(n) / FPS).astype(np.float32),
        "frame_index": np.arange(n),
        "episode_index": np.full(n, episode),
        "action": [[0.0, 0.0]] * n,
    }


def write(path: Path, columns: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)


def v2(folder: Path) -> Path:
    """One file per episode; pictures count on over the episodes."""
    (folder / "meta").mkdir(parents=True)
    (folder / "meta" / "info.json").write_text(
        json.dumps(
            info(
                "v2.1",
                data_path="data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
                video_path="videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
            )
        )
    )
    lines = [json.dumps({"episode_index": i, "length": n, "tasks": ["push"]}) for i, n in enumerate(LENGTHS)]
    (folder / "meta" / "episodes.jsonl").write_text("\n".join(lines) + "\n")
    for i, n in enumerate(LENGTHS):
        write(folder / f"data/chunk-000/episode_{i:06d}.parquet", rows(i))
        for key in (TOP, WRIST):
            path = folder / f"videos/chunk-000/{key}/episode_{i:06d}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            numbered(path, range(sum(LENGTHS[:i]), sum(LENGTHS[:i]) + n))
    return folder


def v3(folder: Path) -> Path:
    """All episodes in one file."""
    (folder / "meta").mkdir(parents=True)
    (folder / "meta" / "info.json").write_text(
        json.dumps(
            info(
                "v3.0",
                data_path="data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
                video_path="videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
            )
        )
    )
    starts = np.cumsum([0, *LENGTHS])[:-1]
    episodes: dict[str, Any] = {"episode_index": list(range(len(LENGTHS))), "length": list(LENGTHS)}
    zeros = [0] * len(LENGTHS)
    episodes |= {"data/chunk_index": zeros, "data/file_index": zeros}
    for key in (TOP, WRIST):
        episodes |= {
            f"videos/{key}/chunk_index": zeros,
            f"videos/{key}/file_index": zeros,
            f"videos/{key}/from_timestamp": starts / FPS,
        }
        path = folder / f"videos/{key}/chunk-000/file-000.mp4"
        path.parent.mkdir(parents=True)
        numbered(path, range(sum(LENGTHS)))
    write(folder / "meta/episodes/chunk-000/file-000.parquet", episodes)
    whole = [rows(i) for i in range(len(LENGTHS))]
    write(folder / "data/chunk-000/file-000.parquet", {k: [v for r in whole for v in r[k]] for k in whole[0]})
    return folder


def numbered(path: Path, numbers: range) -> None:
    make.video(path, range(len(numbers)), make.Fraction(1, FPS), first=numbers[0], options={"g": "2", "bf": "0"})


@pytest.fixture(params=[v2, v3], ids=["v2.1", "v3.0"])
def dataset(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    made: Path = request.param(tmp_path / "pusht")
    return made


def test_every_episode_of_a_camera_is_a_source(dataset: Path) -> None:
    assert discover([str(dataset.parent)]) == [Address(str(dataset))]
    episodes = parts(Address(str(dataset)), [TOP])
    assert episodes == [Address(str(dataset), f"{i}/{TOP}") for i in range(3)]
    assert len(parts(Address(str(dataset)), ["*"])) == 6
    for i, episode in enumerate(episodes):
        assert discover([str(episode)]) == discover([episode]) == [episode]
        with open_source(str(episode)) as source:
            frames = list(source.frames(0))
            first = sum(LENGTHS[:i])
            assert [make.number_in(f.image) for f in frames] == list(range(first, first + LENGTHS[i]))
            assert [f.mark.sequence for f in frames if f.mark] == list(range(LENGTHS[i]))
            assert [f.t_ns for f in frames] == pytest.approx([k * 1e9 / FPS for k in range(LENGTHS[i])], abs=200)
            assert make.number_in(source.frame_at(frames[7].t_ns).image) == first + 7
            assert (source.info.kind, source.info.start_ns) == ("episode", None)
            assert not source.damage
            rest = list(source.frames(5, frames[12].t_ns + 1, start_index=3))
            assert [f.t_ns for f in rest] == [f.t_ns for f in source.frames(5) if f.t_ns > frames[12].t_ns]


def test_cameras_are_listed(dataset: Path) -> None:
    with pytest.raises(UsageError, match=f"2 to choose from.*{TOP}, {WRIST}"):
        parts(Address(str(dataset)))
    with pytest.raises(UsageError, match="`clock` is for logs"):
        parts(Address(str(dataset)), [TOP], "header")
    for part, cause in ((f"9/{TOP}", "no episode 9"), ("0/left", "no episode 0 of left"), (TOP, "is named such as")):
        with pytest.raises(MediaError, match=cause):
            open_source(f"{dataset}#{part}")


def test_rows_without_pictures_are_counted(tmp_path: Path) -> None:
    dataset = v2(tmp_path / "pusht")
    numbered(dataset / f"videos/chunk-000/{TOP}/episode_000000.mp4", range(30))
    with open_source(f"{dataset}#0/{TOP}") as source:
        assert len(list(source.frames(0))) == 30
        assert source.damage.frames == 10
        assert source.damage.notes == ["rows of the dataset without a picture in its video"]


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"codebase_version": "v9.0"}, "version v9.0; v2 and v3 can be read"),
        ({"fps": 0}, "0 frames per second"),
        ({"fps": 1e-300}, "1e-300 frames per second"),
        ({"fps": float("nan")}, "nan frames per second"),
        ({"fps": 10**400}, "cannot be read"),
        ({"features": {"action": {"dtype": "float32"}}}, "the dataset has no video"),
        ({"video_path": "../../{video_key}"}, "outside of the dataset"),
        ({"data_path": "{nothing}"}, "a broken path"),
        ({"features": None}, "cannot be read"),
    ],
)
def test_a_bad_info_fails_in_one_line(tmp_path: Path, change: dict[str, Any], cause: str) -> None:
    dataset = v3(tmp_path / "pusht")
    file = dataset / "meta" / "info.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(MediaError, match=cause) as caught:
        open_source(f"{dataset}#0/{TOP}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("file", "column", "value", "cause"),
    [
        ("data/chunk-000/file-000.parquet", "timestamp", float("nan"), "has a time that no video has"),
        ("data/chunk-000/file-000.parquet", "timestamp", -1.0, "has a time that no video has"),
        ("data/chunk-000/file-000.parquet", "timestamp", 1e300, "has a time that no video has"),
        (
            "data/chunk-000/file-000.parquet",
            "frame_index",
            "x",
            "frame_index in a table of the dataset holds",
        ),
        ("meta/episodes/chunk-000/file-000.parquet", "episode_index", float("inf"), "has no number"),
        ("meta/episodes/chunk-000/file-000.parquet", "episode_index", 1 << 40, "has no number"),
        (
            "meta/episodes/chunk-000/file-000.parquet",
            f"videos/{TOP}/from_timestamp",
            float("nan"),
            "does not say where",
        ),
    ],
)
def test_values_that_no_dataset_has_fail(tmp_path: Path, file: str, column: str, value: Any, cause: str) -> None:
    dataset = v3(tmp_path / "pusht")
    table = pq.read_table(dataset / file).to_pydict()
    write(dataset / file, {**table, column: [value] * len(table[column])})
    with pytest.raises(MediaError, match=cause):
        open_source(f"{dataset}#0/{TOP}")


@pytest.mark.parametrize(
    "line", ['{"episode_index": 1e400}', '{"episode_index": 10000000000000000000}', "[", "{}", "[" * 100_000]
)
def test_a_bad_list_of_episodes_fails(tmp_path: Path, line: str) -> None:
    dataset = v2(tmp_path / "pusht")
    (dataset / "meta" / "episodes.jsonl").write_text(line)
    with pytest.raises(MediaError, match="the dataset's list of episodes cannot be read"):
        open_source(f"{dataset}#0/{TOP}")


def test_missing_tables_and_videos_fail(tmp_path: Path) -> None:
    dataset = v3(tmp_path / "pusht")
    (dataset / "data/chunk-000/file-000.parquet").write_bytes(b"no table")
    with pytest.raises(MediaError, match=r"fetch it again: .*file-000\.parquet$"):
        open_source(f"{dataset}#0/{TOP}")
    other = v2(tmp_path / "other")
    (other / f"videos/chunk-000/{TOP}/episode_000001.mp4").unlink()
    with pytest.raises(MediaError, match=r"episode_000001\.mp4$"):
        open_source(f"{other}#1/{TOP}")


def test_without_the_library_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = v2(tmp_path / "pusht")
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(MediaError, match=r"pip install 'vidmem\[robotics\]'"):
        open_source(f"{dataset}#0/{TOP}")
