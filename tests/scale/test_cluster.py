from __future__ import annotations

import os
from pathlib import Path

import pytest

from needs import needs
from vidmem.errors import StoreError, UsageError, WorkerError
from vidmem.scale import index_fleet
from vidmem.scale.cluster import Share, Where, connected, parse_workers, shares


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("local:4", Where(4)),
        ("ray://head:10001", Where(0, "ray://head:10001")),
        ("10.0.0.1:6379", Where(0, "10.0.0.1:6379")),
        ("auto", Where(0, "auto")),
    ],
)
def test_where_workers_run(text: str, where: Where) -> None:
    assert parse_workers(text) == where


def test_local_has_a_worker_per_core() -> None:
    assert parse_workers("local").local >= 1


@pytest.mark.parametrize("text", ["", "local:0", "local:x", "http://head:1", "ray://head", "head", "ray://a b:1"])
def test_other_places_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="`workers`"):
        parse_workers(text)


class _Ray:
    def __init__(self, **there: float) -> None:
        self.there = there

    def cluster_resources(self) -> dict[str, float]:
        return self.there


def test_workers_share_what_there_is() -> None:
    cluster = Where(0, "auto")
    assert shares(_Ray(CPU=16), cluster, 1, 2) == (16, Share(1.0, 0.0, 1))
    assert shares(_Ray(CPU=16), cluster, 4, 2) == (4, Share(4.0, 0.0, 4))
    assert shares(_Ray(CPU=16, GPU=2), cluster, 1, 2) == (4, Share(1.0, 0.5, None))
    assert shares(_Ray(CPU=2, GPU=2), cluster, 1, 4) == (8, Share(0.25, 0.25, None))
    assert shares(_Ray(CPU=4), Where(4), 1, 2)[0] == 4
    assert shares(_Ray(CPU=4, GPU=1), Where(4), 1, 2)[1].gpus == 0.25


def test_a_cluster_that_is_not_there_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = needs("ray")

    def init(**options: object) -> None:
        assert options["address"] == "ray://127.0.0.1:1"
        raise ConnectionError("ray client connection timeout\nsecond line")

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(WorkerError) as caught, connected(Where(0, "ray://127.0.0.1:1")):
        pass
    assert str(caught.value) == (
        "the cluster of workers cannot be reached (ray client connection timeout second line); check the address, "
        "run `ray start --head` there, or set RAY_AUTH_MODE=token if the cluster asks for its token: ray://127.0.0.1:1"
    )


def test_a_cluster_that_is_lost_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = needs("ray")
    monkeypatch.setattr(ray, "init", lambda **options: None)
    for error in (ConnectionError("the client has been\ndisconnected"), ray.exceptions.RaySystemError("the client")):
        with pytest.raises(WorkerError) as caught, connected(Where(0, "head:1")):
            raise error
        assert str(caught.value).startswith("the cluster of workers was lost (")
        assert "the client" in str(caught.value)
        assert str(caught.value).endswith("; run the same again to continue: head:1")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("decoder", "vlc"), ("group_s", 0.0), ("span_s", -1.0), ("lease_s", 0.0), ("tries", 0), ("most_workers", 0)),
        *(("recorded", "noon-ish"), ("workers", "somewhere"), ("cpus_per_worker", 0), ("workers_per_gpu", 0)),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_made(
    tmp_path: os.PathLike[str], option: str, value: object
) -> None:
    where = os.path.join(tmp_path, "c")
    with pytest.raises(UsageError):
        index_fleet(["x.mp4"], where, os.path.join(tmp_path, "to"), **{option: value})  # type: ignore[arg-type]
    assert not os.path.exists(where)


def test_a_place_for_shards_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="the folder for shards cannot be made"):
        index_fleet(["x.mp4"], tmp_path / "c", tmp_path / "file")
    assert not (tmp_path / "c").exists()
