"""`vidmem annotate`: every file that it writes is read again by the SDK of its format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from media import make_logs
from media.make_logs import SKEW, START, Log

from needs import needs
from vidmem.errors import MediaError, UsageError
from vidmem.memory import Memory
from vidmem.timecode import NS

from .conftest import Run

SQUARES = [("red", 0, 3, 8), ("blue", 1, 6, 60), ("red", 8, 11, 112)]
IMAGES = "foxglove.ImageAnnotations"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("logs") / "run.mcap"

    def more(log: Log, t: int, seconds: float) -> None:
        make_logs.add_pose(log, t, seconds, 0)
        if not seconds:
            log.writer.add_attachment(t, t, "calibration.yaml", "text/yaml", b"fx: 1")
            log.writer.add_metadata("robot", {"name": "spot"})

    return make_logs.scene(path, SQUARES, 12, poses=more)


@pytest.fixture
def log(made: Path, run: Run) -> Path:
    result = run("index", made, "--encoder", "colours")
    assert result.exit_code == 0, result.stderr
    return made


def messages(path: Path) -> list[tuple[str, int, int, int, bytes]]:
    from mcap.reader import make_reader

    with path.open("rb") as file:
        return [
            (c.topic, m.log_time, m.publish_time, m.sequence, m.data)
            for _, c, m in make_reader(file, validate_crcs=True).iter_messages()
        ]


def annotations(path: Path) -> list[tuple[int, Any]]:
    from mcap.reader import make_reader
    from mcap_protobuf.decoder import DecoderFactory

    with path.open("rb") as file:
        reader = make_reader(file, decoder_factories=[DecoderFactory()])
        return [
            (m.log_time, message)
            for schema, channel, m, message in reader.iter_decoded_messages(topics=["/cam/front/annotations"])
            if schema.name == IMAGES
        ]


def test_mcap(run: Run, log: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mcap"
    result = run("annotate", log, "-o", out, "--label", "red", "--label", "blue")
    assert result.exit_code == 0, result.stderr
    original = messages(log)
    assert [m for m in messages(out) if not m[0].endswith("/annotations")] == original
    found = annotations(out)
    assert len(found) == 60  # five a second
    at = {(t - START) / NS: message for t, message in found}
    assert [text.text.split()[1] for text in at[0.0].texts] == ["red"]
    assert {text.text.split()[1] for text in at[2.0].texts} == {"red", "blue"}
    assert not at[7.0].points
    (box,) = at[9.0].points
    assert box.type == 2
    xs, ys = [p.x for p in box.points], [p.y for p in box.points]
    assert (min(xs), max(xs), min(ys), max(ys)) == pytest.approx((112, 144, 32, 64), abs=9)
    assert box.timestamp.seconds * NS + box.timestamp.nanos == START + 9 * NS - SKEW
    assert at[0.0].texts[0].text != at[9.0].texts[0].text  # another track

    from mcap.reader import make_reader

    with out.open("rb") as file:
        reader = make_reader(file)
        assert [(a.name, a.data) for a in reader.iter_attachments()] == [("calibration.yaml", b"fx: 1")]
        assert [(m.name, m.metadata) for m in reader.iter_metadata()] == [("robot", {"name": "spot"})]


def test_mcap_twice_replaces(run: Run, log: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first.mcap", tmp_path / "second.mcap"
    run("annotate", log, "-o", first)
    run("index", first)
    assert run("annotate", first, "-o", second).exit_code == 0
    assert len(annotations(second)) == len(annotations(first)) == 60
    assert len(messages(second)) == len(messages(first))


def test_names_alone_or_all(run: Run, log: Path, tmp_path: Path) -> None:
    def texts(*options: str) -> set[str]:
        out = tmp_path / "out.mcap"
        assert run("annotate", log, "-o", out, *options).exit_code == 0
        return {text.text for _, message in annotations(out) for text in message.texts}

    assert texts("--label", "blue") == {"#1 blue"}
    assert texts("--label", "blue", "--all") == {"#0", "#1 blue", "#2"}
    assert texts() == {"#0", "#1", "#2"}


def test_a_bare_name_will_do(run: Run, log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("run.mcap", f"{log.parent.name}/run.mcap", "run.mcap#/cam/front"):
        assert run("annotate", name, "-o", "out.mcap").exit_code == 0
        assert len(annotations(tmp_path / "out.mcap")) == 60
    monkeypatch.chdir(log.parent)
    result = run("annotate", "run.mcap", "-o", "run.mcap")
    assert (result.exit_code, "would overwrite its source" in result.stderr) == (2, True)
    other = tmp_path / "run.mcap"
    other.write_bytes(log.read_bytes() + b"\0")
    run("index", other, "--encoder", "colours")
    monkeypatch.chdir(tmp_path.parent)
    result = run("annotate", "run.mcap", "-o", tmp_path / "out.mcap")
    assert (result.exit_code, "2 sources are called 'run.mcap'" in result.stderr) == (2, True)


def test_a_track_has_the_likeliest_label_alone(run: Run, log: Path, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    def labels(*asked: str) -> list[str | None]:
        out = tmp_path / "spans.parquet"
        options = [a for label in asked for a in ("--label", label)]
        assert run("annotate", log, "-o", out, "--all", *options).exit_code == 0
        return [row["label"] for row in pq.read_table(out).to_pylist()]

    assert labels("red blue") == ["red blue", "red blue", "red blue"]  # a bit like each
    assert labels("red blue", "red", "blue") == ["red", "blue", "red"]
    assert labels("red", "blue", "red blue") == ["red", "blue", "red"]
    assert labels("yellow", "red") == ["red", None, "red"]
    assert labels("yellow") == [None, None, None]


def test_a_damaged_log_is_copied_as_far_as_it_goes(run: Run, made: Path, tmp_path: Path) -> None:
    from vidmem.media.logs.mcap_table import read_table

    path = tmp_path / "run.mcap"
    data = bytearray(made.read_bytes())
    block = read_table(str(made)).blocks[3]
    data[block.offset + block.length // 2] ^= 0xFF
    path.write_bytes(data)
    assert run("index", path, "--encoder", "colours").exit_code == 3
    out = tmp_path / "out.mcap"
    result = run("annotate", path, "-o", out)
    assert result.exit_code == 3
    assert "damaged: 1 parts left out (a chunk is damaged" in result.stderr
    assert 0 < len(messages(out)) < len(messages(made)) + 60
    path.write_bytes(made.read_bytes()[: made.stat().st_size // 2])
    run("index", path)
    result = run("annotate", path, "-o", out)
    assert result.exit_code == 3
    assert "breaks off" in result.stderr
    assert annotations(out)


def test_rerun(run: Run, log: Path, tmp_path: Path) -> None:
    needs("rerun")
    from rerun.chunk import RrdReader

    out = tmp_path / "out.rrd"
    result = run("annotate", log, "-o", out, "--label", "red")
    assert result.exit_code == 0, result.stderr
    tables = [chunk.to_record_batch() for chunk in RrdReader(out).stream()]
    text = "\n".join(
        str(table.schema) + "".join(str(c.to_pylist())[:2000] for c in table.columns if "timestamp" not in str(c.type))
        for table in tables
    )
    for wanted in ("/cam/front", "/cam/front/things", "EncodedImage", "Boxes2D", "#0 red", "sightings"):
        assert wanted in text, wanted
    assert "blue" not in text


def test_a_table_of_spans(run: Run, log: Path, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    out = tmp_path / "spans.parquet"
    assert run("annotate", log, "-o", out, "--label", "red").exit_code == 0
    rows = pq.read_table(out).to_pylist()
    assert [row["label"] for row in rows] == ["red", "red"]
    last = rows[-1]
    assert (last["start_timestamp"], last["end_timestamp"]) == pytest.approx((8, 10.8))
    assert last["end_ns"] == START + round(10.8 * NS)
    assert (last["topic"], last["episode_index"], last["end_frame"], last["frames"]) == ("/cam/front", None, 1109, 15)


def test_a_sidecar_of_a_dataset(run: Run, tmp_path: Path) -> None:
    import fakes
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = tmp_path / "kitchen"
    (folder / "meta").mkdir(parents=True)
    (folder / "meta" / "info.json").write_text(
        json.dumps(
            {
                "codebase_version": "v2.1",
                "fps": 10,
                "features": {"top": {"dtype": "video"}},
                "data_path": "data/{episode_index}.parquet",
                "video_path": "videos/{video_key}_{episode_index}.mp4",
            }
        )
    )
    (folder / "meta" / "episodes.jsonl").write_text('{"episode_index": 0}\n{"episode_index": 1}\n')
    (folder / "data").mkdir()
    (folder / "videos").mkdir()
    for i, scene in enumerate(([("red", 0, 2, 8)], [("blue", 1, 3, 8)])):
        fakes.squares(folder / "videos" / f"top_{i}.mp4", scene, 4)
        pq.write_table(
            pa.table(
                {
                    "timestamp": np.arange(40, dtype=np.float32) / 10,
                    "frame_index": np.arange(40),
                    "episode_index": np.full(40, i),
                }
            ),
            folder / "data" / f"{i}.parquet",
        )
    assert run("index", folder, "--encoder", "colours").exit_code == 0
    (sighting,) = json.loads(run("where", "blue", "--json").stdout)["sightings"]
    assert (sighting["last"]["topic"], sighting["last"]["sequence"]) == ("1/top", 28)
    assert "episode 1, frame 28" in run("where", "blue").stdout
    out = tmp_path / "spans.parquet"
    assert run("annotate", folder, "-o", out).exit_code == 0
    rows = pq.read_table(out).to_pylist()
    assert [(r["episode_index"], r["camera"], r["start_frame"], r["end_frame"]) for r in rows] == [
        (0, "top", 0, 18),
        (1, "top", 10, 28),
    ]
    assert run("annotate", folder, "-o", tmp_path / "out.mcap").exit_code == 2


def test_wrong_use_fails(run: Run, log: Path, tmp_path: Path) -> None:
    (tmp_path / "new.mcap").write_bytes(b"")
    for args, code, told in (
        ((log, "-o", tmp_path / "out.bag"), 2, "written as mcap, rrd, parquet"),
        ((log, "-o", log), 2, "would overwrite its source"),
        ((tmp_path / "other.mcap", "-o", tmp_path / "out.mcap"), 2, "no source is called"),
        ((tmp_path / "new.mcap", "-o", tmp_path / "out.mcap"), 2, "run `vidmem index` on it first"),
        ((log, "-o", tmp_path / "none" / "out.mcap"), 4, "check folder and disk"),
        ((log, "-o", tmp_path / "none" / "out.parquet"), 4, "check folder and disk"),
        ((log, "-o", tmp_path / "none" / "out.rrd"), 4, "check folder and disk"),
    ):
        result = run("annotate", *args)
        assert (result.exit_code, result.stdout) == (code, ""), result.stderr
        assert told in result.stderr
    assert list(tmp_path.glob("out*")) == []


def test_without_the_libraries_the_remedy_is_named(log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vidmem.export.annotate import annotate

    with Memory.open(read_only=True) as m:
        for module, suffix in (("mcap_protobuf.schema", "mcap"), ("rerun", "rrd"), ("pyarrow", "parquet")):
            with monkeypatch.context() as patch:
                patch.setitem(__import__("sys").modules, module, None)
                with pytest.raises(MediaError, match=r"pip install 'vidmem\[robotics\]'"):
                    annotate(m, str(log), str(tmp_path / f"out.{suffix}"))
        assert not list(tmp_path.glob("out*"))
        with pytest.raises(UsageError):
            annotate(m, str(log), str(tmp_path / "out.txt"))
