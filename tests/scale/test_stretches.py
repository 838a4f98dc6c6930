from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import fakes
import numpy as np
import pytest
from media import make

from benchmarks.fleet_index import rows_of
from vidmem.address import Address
from vidmem.config import IndexConfig, preset
from vidmem.encoders import Encoder, find, load
from vidmem.indexer.pipeline import index_source
from vidmem.media import open_source
from vidmem.media.times import sample_times
from vidmem.scale.pieces import Piece
from vidmem.scale.relaying import LookingUp
from vidmem.scale.stretches import Stretch, stretches, write_piece
from vidmem.store import ModelRecord, Store

SMALL = IndexConfig(checkpoint_frames=8, batch=4)
SCENE = [("red", 0, 9, 8), ("blue", 3, 14, 60), ("green", 11, 20, 112), ("cyan", 5, 6, 30), ("red", 15, 17, 20)]


def _index(path: Path, encoder: Encoder, config: IndexConfig, folder: Path) -> dict[str, Any]:
    info = encoder.info
    with open_source(path) as source, Store.open(folder, write=True, create=True) as store:
        store.set_model(
            ModelRecord(info.name, info.weights, info.visual_dim, info.text_dim, config.as_dict(), info.regions)
        )
        index_source(source, encoder, store, config)
    return rows_of(folder / "memory.sqlite")


def _in_stretches(
    path: Path, encoder: Encoder, config: IndexConfig, seconds: float, folder: Path, leave_out: int | None = None
) -> tuple[dict[str, Any], LookingUp, list[Stretch]]:
    folder.mkdir()
    with open_source(path) as source:
        cut = stretches(source, config, seconds)
    pieces = []
    for number, stretch in enumerate(cut):
        if number != leave_out:
            write_piece(Address(str(path)), stretch, encoder, config, folder / f"{number}", "us")
            pieces.append(Piece(folder / f"{number}", "us"))
    relay = LookingUp(encoder, pieces)
    return _index(path, relay, config, folder / "memory"), relay, cut


def _walk(path: Path) -> Path:
    return fakes.squares(path, SCENE, 20)


def _vfr(path: Path) -> Path:
    rng = np.random.default_rng(3)
    return make.video(path, np.cumsum(rng.integers(1, 90, 90)).tolist(), Fraction(1, 90))


def _edited(path: Path) -> Path:
    make.video(path, range(300), options={"g": "20", "bf": "2"})
    return make.set_edit_start(path, 1024 + 512 * 47)


def _mpegts(path: Path) -> Path:
    return make.video(path.with_suffix(".ts"), [180_000 + i * 9000 for i in range(120)], Fraction(1, 90_000))


def _damaged(path: Path) -> Path:
    return make.damage(make.video(path, range(300), options={"g": "10"}), 0.4, 0.2)


@pytest.mark.parametrize("made", [_walk, _vfr, _edited, _mpegts, _damaged])
def test_stretches_give_the_memory_of_one_run(tmp_path: Path, colours: None, made: Any) -> None:
    path, encoder = made(tmp_path / "v.mp4"), load("colours")
    whole = _index(path, encoder, SMALL, tmp_path / "whole")
    again, relay, cut = _in_stretches(path, encoder, SMALL, 4, tmp_path / "parts")
    assert again == whole
    assert len(cut) > 1
    assert relay.found
    if made is not _damaged:  # whose frames are not where its packets say
        assert relay.encoded == 0


def test_what_pieces_lack_is_encoded(tmp_path: Path, colours: None) -> None:
    path, encoder = _walk(tmp_path / "v.mp4"), load("colours")
    whole = _index(path, encoder, SMALL, tmp_path / "whole")
    again, relay, cut = _in_stretches(path, encoder, SMALL, 4, tmp_path / "parts", leave_out=1)
    assert again == whole
    assert 0 < relay.encoded < relay.found
    assert len(cut) >= 4


def test_pieces_of_another_video_are_of_no_use_and_no_harm(tmp_path: Path, colours: None) -> None:
    encoder = load("colours")
    other = fakes.squares(tmp_path / "other.mp4", [("white", 0, 20, 8)], 20)
    write_piece(Address(str(other)), Stretch(0, 0, None), encoder, SMALL, tmp_path / "piece", "us")
    path = _walk(tmp_path / "v.mp4")
    with Piece(tmp_path / "piece", "us") as piece:
        relay = LookingUp(encoder, [piece])
        assert _index(path, relay, SMALL, tmp_path / "a") == _index(path, encoder, SMALL, tmp_path / "b")
    assert relay.found == 0


@pytest.mark.slow
def test_stretches_of_tiny_give_the_same_views(tmp_path: Path) -> None:
    from lab.synthetic.lostfound import make as world

    path = world(tmp_path / "w", 5, 10, width=320, height=180, fps=10).video
    config, encoder = IndexConfig(**{**_fields(preset(find("tiny").preset)), "checkpoint_frames": 8}), load("tiny")
    whole = _index(path, encoder, config, tmp_path / "whole")
    again, relay, cut = _in_stretches(path, encoder, config, 4, tmp_path / "parts")
    assert again == whole
    assert len(whole[str(path)]["views"]) > 20
    assert len(cut) == 2
    assert relay.encoded < 0.2 * relay.found  # the views of tracks that cross a cut


def _fields(config: IndexConfig) -> dict[str, Any]:
    return {name: getattr(config, name) for name in ("fps", "batch", "still", "merge", "track")}


@pytest.mark.parametrize("made", [_walk, _vfr, _edited, _mpegts])
@pytest.mark.parametrize("fps", [0.0, 0.7, 5.0])
def test_times_of_samples_are_known_without_decoding(tmp_path: Path, made: Any, fps: float) -> None:
    with open_source(made(tmp_path / "v.mp4")) as source:
        assert sample_times(source, fps) == [frame.t_ns for frame in source.frames(fps)]


def test_pictures_of_a_film_are_a_second_apart(tmp_path: Path) -> None:
    for number in range(3):
        fakes.photo(tmp_path / f"f/{number}.png", "red")
    with open_source(tmp_path / "f") as source:
        assert sample_times(source, 5.0) == [frame.t_ns for frame in source.frames(5.0)]


def test_stretches_begin_at_checkpoints_and_leave_no_crumbs(tmp_path: Path) -> None:
    with open_source(fakes.squares(tmp_path / "v.mp4", SCENE, 20)) as source:
        found = stretches(source, SMALL, 3)
        assert [stretch.first for stretch in found] == [0, 16, 32, 48, 64, 80]
        assert [stretch.end_ns for stretch in found] == [*(s.begin_ns for s in found[1:]), None]
        assert len(stretches(source, SMALL, 15)) == 1
        assert len(stretches(source, SMALL, 100)) == 1
