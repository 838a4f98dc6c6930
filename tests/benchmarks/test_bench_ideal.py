"""lostfound and calibrate over memories made from the truth itself: an encoder that errs little must score well."""

import json
import re

import numpy as np
import pytest

from benchmarks import calibrate, calibrate_sets, lostfound
from lab.synthetic.lostfound import make_small
from vidmem import Memory
from vidmem.config import IndexConfig
from vidmem.encoders.base import Calibration
from vidmem.records import FrameRegions, SourceInfo, SourceKind, Track
from vidmem.store import Checkpoint


def unit(vector):
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def looks(index):
    """The visual token of the drawing with that index."""
    return unit(np.random.default_rng([1, index]).standard_normal(128))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_small(tmp_path_factory.mktemp("world"), seed=5, seconds=20)


@pytest.fixture
def ideal(monkeypatch, world):
    """index_world writes a track for every true span, its tokens a little noisy, and a hundred of nothing."""
    monkeypatch.setattr("vidmem.query.picture.load_picture", lambda path: str(path))
    monkeypatch.setattr(
        "vidmem.query.picture.picture_token",
        lambda encoder, path: looks(int(re.search(r"-(\d+)\.png$", path)[1])),
    )
    monkeypatch.setattr(calibrate_sets, "load_picture", lambda path: str(path))
    monkeypatch.setattr(
        calibrate_sets, "picture_token", lambda encoder, path: looks(int(re.search(r"-(\d+)\.png$", path)[1]))
    )

    def index_world(world, folder):
        rng = np.random.default_rng(7)
        with Memory.open(folder) as memory:
            memory.store.set_model(memory.model_record(IndexConfig().as_dict()))
            info = SourceInfo(str(world.video), SourceKind.VIDEO, 320, 180, world.truth.duration_ns, "f")
            row = memory.store.begin_source(info)
            if row.state != "open":
                return
            tracks = []

            def add(start, end, visual, text, box):
                visual = unit(visual + 0.05 * rng.standard_normal(128))
                text = unit(text + 0.05 * rng.standard_normal(128))
                tracks.append(Track(len(tracks), start, end, 5, visual, text, start, box))

            for shown in world.truth.shown:
                for start, end in shown.spans:
                    (named,) = memory.text_encoder.encode_text([shown.name])
                    at = next(b for b in shown.boxes if start <= b[0] <= end)
                    add(start, end, looks(shown.drawing), named, at[1:])
                    tracks[-1] = Track(
                        *[
                            getattr(tracks[-1], f)
                            for f in ("ordinal", "start_ns", "end_ns", "frames", "visual", "text")
                        ],
                        at[0],
                        at[1:],
                    )
            for _ in range(100):
                start = int(rng.integers(0, world.truth.duration_ns))
                add(start, start, rng.standard_normal(128), rng.standard_normal(128), (0.0, 0.0, 5.0, 5.0))
            boxes, masks = np.array([[0, 0, 5, 5]], np.float32), np.ones((1, 4, 4), bool)
            frame = FrameRegions(0, np.array([0]), boxes, masks)
            memory.store.checkpoint(
                row.id, Checkpoint(next_t_ns=1, frames_done=1, state="done", tracks=tracks, frames=[frame])
            )

    monkeypatch.setattr(calibrate_sets, "index_world", index_world)
    return index_world


def test_lostfound_scores_an_ideal_memory_as_right(ideal, world, tmp_path, monkeypatch):
    ideal(world, tmp_path / "m")
    strict = Calibration(0.7, 0.0, 0.7, 0.5)
    monkeypatch.setattr(Memory, "text_encoder", property(lambda self: _with(self, strict)))
    rows = lostfound.ask_world(world, tmp_path / "m")
    kinds = lostfound.summary(rows)
    for kind in ("name", "picture", "name_picture"):
        assert kinds[kind]["rate"] == 1, [r for r in rows if r["kind"] == kind and not r["right"]]
        assert kinds[kind]["mean_tiou"] > 0.95
    assert kinds["name_picture"]["box_iou_of_right"] > 0.9
    assert kinds["absent_picture"]["rate"] == 0
    assert kinds["absent_name_picture"]["rate"] == 0


def _with(memory, calibration):
    from dataclasses import replace

    from vidmem.encoders import load_text

    text = load_text(memory.query.spec)
    text.info = replace(text.info, calibration=calibration)
    return text


def test_calibrate_finds_curves_that_separate_and_writes_them(ideal, world, tmp_path, monkeypatch):
    monkeypatch.setattr(calibrate_sets, "ensure_all", lambda *args: [world])
    card = tmp_path / "weights" / "tiny.json"
    card.parent.mkdir()
    card.write_text(json.dumps({"names": 3, "calibration": {}}))
    monkeypatch.setattr(calibrate, "files", lambda package: tmp_path)
    monkeypatch.setattr(
        "sys.argv",
        [
            "calibrate",
            "--out",
            str(tmp_path / "c.json"),
            "--cache",
            str(tmp_path),
            "--data",
            str(tmp_path),
            "--seeds",
            "5000",
            "--write",
        ],
    )
    assert calibrate.main() == 0
    told = json.loads((tmp_path / "c.json").read_text())["probability"]
    for mode, kind in (("text", "name"), ("visual", "picture"), ("product", "name_picture")):
        assert told[mode]["here"][f"walks: {kind}"]["right"] == 1
    for mode, kind in (("text", "unknown_word"), ("visual", "absent_picture"), ("product", "absent_name_picture")):
        assert told[mode]["here"][f"walks: {kind}"]["found"] <= 0.06
    facts = json.loads(card.read_text())
    assert facts["names"] == 3
    assert facts["probability"]["text"] == told["text"]["curve"]
    assert (tmp_path / "c.png").exists()


def test_calibrate_refuses_held_out_seeds(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["calibrate", "--out", str(tmp_path / "c.json"), "--seeds", "8999:9001"])
    with pytest.raises(SystemExit):
        calibrate.main()
