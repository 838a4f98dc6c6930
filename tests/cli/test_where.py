from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from fakes import COLOURS
from PIL import Image

from vidmem.errors import UsageError
from vidmem.media import open_source
from vidmem.memory import Memory
from vidmem.query.arguments import crop as parse_crop
from vidmem.query.documents import read_sighting_id

from .conftest import Run


def ask(run: Run, memory: Path, *args: object) -> dict[str, Any]:
    result = run("where", *args, "--json", "--memory", memory)
    document: dict[str, Any] = json.loads(result.stdout)
    assert result.exit_code == (0 if document["found"] else 1)
    return document


def test_last_sighting_as_json(run: Run, indexed: Path, walk: Path) -> None:
    document = ask(run, indexed, "red")
    names = ["found", "query", "sightings", "near_misses", "likelier", "total", "notes", "exact", "shards"]
    assert list(document) == names
    assert (document["total"], document["notes"]) == (2, [])
    assert document["query"] == {"text": "red", "image": None, "crop": None}
    assert document["near_misses"] == []
    (sighting,) = document["sightings"]
    assert list(sighting) == [
        "source",
        "start_s",
        "end_s",
        "start_ns",
        "end_ns",
        "recorded",
        "recorded_by",
        "score",
        "text_score",
        "visual_score",
        "probability",
        "frame_s",
        "box",
        "confidence",
        "tracks",
        "seen",
        "last",
        "picture",
        "frame_ns",
        "source_id",
        "id",
    ]
    assert sighting["frame_ns"] == str(round(sighting["frame_s"] * 1e9))
    assert read_sighting_id(sighting["id"]).tracks == tuple(sighting["tracks"])
    assert sighting["source"] == str(walk)
    assert (sighting["start_s"], sighting["end_s"]) == (8.0, 10.8)
    assert (sighting["start_ns"], sighting["end_ns"]) == ("8000000000", "10800000000")
    assert sighting["score"] == sighting["text_score"] == pytest.approx(1, abs=1e-3)
    assert sighting["visual_score"] is None
    assert 8 <= sighting["frame_s"] <= 10.8
    assert sighting["box"] == [112, 32, 144, 64]
    assert len(sighting["tracks"]) == 1


def test_not_found_tells_near_misses_and_exits_1(run: Run, indexed: Path) -> None:
    document = ask(run, indexed, "brown")
    assert document["found"] is False
    assert document["sightings"] == []
    assert 1 <= len(document["near_misses"]) <= 3
    plain = run("where", "brown", "--memory", indexed)
    assert (plain.exit_code, plain.stdout) == (1, "")
    assert plain.stderr.startswith("not found; nearest: 0.")
    assert "walk.mp4" in plain.stderr


def test_all_is_newest_first_and_top_cuts(run: Run, indexed: Path) -> None:
    assert [s["start_s"] for s in ask(run, indexed, "red", "--all")["sightings"]] == [8.0, 0.0]
    assert [s["start_s"] for s in ask(run, indexed, "red", "--top", 2)["sightings"]] == [8.0, 0.0]
    assert [s["start_s"] for s in ask(run, indexed, "red", "--top", 1)["sightings"]] == [8.0]


def test_all_and_top_fail_together(run: Run, indexed: Path) -> None:
    assert run("where", "red", "--all", "--top", 2, "--memory", indexed).exit_code == 2
    assert run("where", "red", "--top", 0, "--memory", indexed).exit_code == 2


def test_words_need_no_quotes(run: Run, indexed: Path) -> None:
    assert ask(run, indexed, "a", "red", "thing")["query"]["text"] == "a red thing"


def test_formats_agree(run: Run, indexed: Path) -> None:
    document = ask(run, indexed, "red", "--all")
    lines = run("where", "red", "--all", "--nl", "--memory", indexed).stdout.splitlines()
    assert [json.loads(line) for line in lines] == document["sightings"]
    rows = list(csv.DictReader(io.StringIO(run("where", "red", "--all", "--csv", "--memory", indexed).stdout)))
    assert [row["start_ns"] for row in rows] == [s["start_ns"] for s in document["sightings"]]
    assert rows[0]["box"] == "112.0 32.0 144.0 64.0"
    assert rows[0]["visual_score"] == ""
    table = run("where", "red", "--all", "--memory", indexed)
    assert table.stdout.splitlines()[0].split() == ["when", "from", "to", "score", "frame", "box", "source"]
    assert "  0:08.0  0:10.8  1.000  " in table.stdout.splitlines()[1]
    assert table.stderr == ""


def test_two_formats_fail(run: Run, indexed: Path) -> None:
    result = run("where", "red", "--json", "--csv", "--memory", indexed)
    assert (result.exit_code, result.stdout) == (2, "")


def test_by_picture_and_by_both(run: Run, indexed: Path, tmp_path: Path) -> None:
    Image.new("RGB", (64, 64), COLOURS["blue"]).save(tmp_path / "blue.png")
    (sighting,) = ask(run, indexed, "--image", tmp_path / "blue.png")["sightings"]
    assert (sighting["start_s"], sighting["end_s"]) == (1.0, 5.8)
    assert sighting["text_score"] is None
    (sighting,) = ask(run, indexed, "blue", "--image", tmp_path / "blue.png")["sightings"]
    assert sighting["score"] == pytest.approx(sighting["text_score"] * sighting["visual_score"], abs=1e-4)
    assert not ask(run, indexed, "red", "--image", tmp_path / "blue.png")["found"]


def test_a_picture_that_cannot_be_read_fails(run: Run, indexed: Path, tmp_path: Path) -> None:
    assert run("where", "--image", tmp_path / "none.png", "--memory", indexed).exit_code == 4
    (tmp_path / "text.png").write_text("no picture")
    result = run("where", "--image", tmp_path / "text.png", "--memory", indexed)
    assert (result.exit_code, result.stdout) == (4, "")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("time", ["4.5", "4.5s", "0:04.5", "00:00:04.5", "4500000000ns"])
def test_by_crop(run: Run, indexed: Path, time: str) -> None:
    document = ask(run, indexed, "--crop", f"walk.mp4@{time}:60,32,32,32")
    assert document["query"]["crop"] == {"source": "walk.mp4", "t_ns": "4500000000", "box": [60, 32, 92, 64]}
    assert document["sightings"][0]["end_s"] == 5.8


@pytest.mark.parametrize(
    "crop",
    [
        "walk.mp4",
        "walk.mp4@4:1,2,3",
        "walk.mp4@4:1,2,3,x",
        "walk.mp4@4:1,2,nan,4",
        "walk.mp4@soon:1,2,3,4",
        "walk.mp4@4:1,2,0,4",
        "walk.mp4@0:99:1,2,3,4",
        "other.mp4@4:60,32,32,32",
        "walk.mp4@99:60,32,32,32",
        "walk.mp4@4.5:150,90,5,5",
        "walk.mp4@4:60,32,9163,32",
        "@4:1,2,3,4",
        "",
    ],
)
def test_a_bad_crop_fails(run: Run, indexed: Path, crop: str) -> None:
    result = run("where", "--crop", crop, "--memory", indexed)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("vidmem: ")
    assert result.stderr.count("\n") == 1


def test_a_crop_may_name_any_file() -> None:
    assert parse_crop("C:\\a@b.mp4@1:02.5:1,2,3,4") == ("C:\\a@b.mp4", 62_500_000_000, (1, 2, 4, 6))
    with pytest.raises(UsageError):
        parse_crop("a.mp4@1:02.5")


@pytest.mark.parametrize("args", [(), ("",), (" ",), ("???",), ("red", "--threshold", "nan")])
def test_a_senseless_question_fails(run: Run, indexed: Path, args: tuple[str, ...]) -> None:
    result = run("where", *args, "--memory", indexed)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("vidmem: ")


def test_image_and_crop_fail_together(run: Run, indexed: Path, tmp_path: Path) -> None:
    assert run("where", "--image", "a.png", "--crop", "walk.mp4@1:1,2,3,4", "--memory", indexed).exit_code == 2


def test_threshold_replaces_the_calibrated_test(run: Run, indexed: Path) -> None:
    assert not ask(run, indexed, "brown")["found"]
    assert ask(run, indexed, "brown", "--threshold", 0.01)["found"]
    assert not ask(run, indexed, "red", "--threshold", 1.01)["found"]


def test_save_and_clip(run: Run, indexed: Path, tmp_path: Path) -> None:
    sheet, clip = tmp_path / "red.png", tmp_path / "red.mp4"
    result = run("where", "red", "--save", sheet, "--clip", clip, "--json", "--memory", indexed)
    assert result.exit_code == 0
    assert len(json.loads(result.stdout)["sightings"]) == 1
    assert result.stderr.splitlines() == [f"saved {sheet}", f"saved {clip}"]
    with Image.open(sheet) as picture:
        assert picture.width == 960
    with av.open(str(clip)) as container:
        seconds = (container.duration or 0) / 1e6
    assert 4.6 <= seconds <= 5  # 8 - 1 to 10.8 + 1, and the last picture's own tenth


def test_save_shows_the_thing(indexed: Path) -> None:
    with Memory.open(indexed, read_only=True) as memory:
        answer = memory.where("red", top=None)
        picture = memory.picture(answer[0], "red", others=answer.sightings)
    with open_source(answer[0].source) as source:
        frame = source.frame_at(answer[0].frame_ns).image
    x0, y0, x1, y1 = (round(v) for v in answer[0].box)
    assert frame[y0:y1, x0:x1].mean((0, 1))[0] > 200
    sheet = np.asarray(picture).astype(int)
    reds = ((sheet[..., 0] > 200) & (sheet[..., 1] < 60) & (sheet[..., 2] < 60)).sum()
    assert reds > 3 * 5000  # the square in the frame, and in the close-ups


@pytest.mark.parametrize("option", ["--save", "--clip"])
def test_save_fails(run: Run, indexed: Path, tmp_path: Path, option: str) -> None:
    wrong = run("where", "red", option, tmp_path / "out.xyz", "--memory", indexed)
    assert (wrong.exit_code, wrong.stdout) == (2, "")
    name = tmp_path / "no" / ("out.png" if option == "--save" else "out.mp4")
    nowhere = run("where", "red", option, name, "--memory", indexed)
    assert nowhere.exit_code == 4
    assert "walk.mp4" in nowhere.stdout  # the answer stands
    assert nowhere.stderr.count("\n") == 1


def test_nothing_is_saved_when_not_found(run: Run, indexed: Path, tmp_path: Path) -> None:
    assert run("where", "brown", "--save", tmp_path / "a.png", "--memory", indexed).exit_code == 1
    assert not (tmp_path / "a.png").exists()


@pytest.mark.parametrize(("option", "name"), [("--save", "a.png"), ("--clip", "a.mp4")])
def test_a_video_that_is_gone_fails_but_the_answer_stands(
    run: Run, walk: Path, tmp_path: Path, option: str, name: str
) -> None:
    moved = tmp_path / "moved.mp4"
    shutil.copy(walk, moved)
    assert run("index", moved, "--encoder", "colours").exit_code == 0
    moved.unlink()
    result = run("where", "red", option, tmp_path / name)
    assert result.exit_code == 4
    assert "moved.mp4" in result.stdout
    assert result.stderr == f"vidmem: the video is no longer there, put it back to take pictures from it: {moved}\n"


def test_no_memory_fails_with_a_remedy(run: Run, tmp_path: Path) -> None:
    result = run("where", "red")
    assert (result.exit_code, result.stdout) == (4, "")
    assert "index a video first" in result.stderr
    assert not (tmp_path / "memory").exists()


def test_reading_takes_no_lock(run: Run, copy: Path) -> None:
    with Memory.open(copy):
        assert ask(run, copy, "red")["found"]


def test_explain(run: Run, indexed: Path, tmp_path: Path) -> None:
    path = tmp_path / "heat.png"
    told = json.loads(run("where", "red", "-m", indexed, "--explain", path, "--json").stdout)
    seen, sighting = told["explain"], told["sightings"][0]
    assert seen["box"] == sighting["box"]
    assert seen["frame_s"] == sighting["frame_s"]
    assert (seen["found"], seen["by"], seen["picture"]) == (True, "regions", str(path))
    assert 0.8 * sighting["score"] < seen["inside"] <= sighting["score"]  # colours run into each other at edges
    assert seen["high"] >= seen["inside"] > seen["low"]
    assert Image.open(path).width == 960
    head, row = run("where", "red", "-m", indexed, "--explain", path).stdout.splitlines()
    assert head.split()[-2:] == ["inside", "outside"]
    assert float(row.split()[-2]) == pytest.approx(seen["inside"], abs=1e-3)
    lines = run("where", "red", "--all", "-m", indexed, "--explain", path, "--nl").stdout.splitlines()
    first, *others = map(json.loads, lines)
    assert first["inside"] == seen["inside"]
    assert [row["inside"] for row in others] == [None] * len(others)
    assert others


def test_explain_a_near_miss(run: Run, indexed: Path, tmp_path: Path) -> None:
    result = run("where", "yellow", "-m", indexed, "--explain", tmp_path / "heat.png", "--json")
    assert result.exit_code == 1
    assert not json.loads(result.stdout)["explain"]["found"]
    assert "raw cosine of the nearest miss: " in result.stderr
    assert (tmp_path / "heat.png").exists()


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--image", "p.png", "--explain", "a.png"), "--explain shows where the text matches"),
        (("red", "--explain", "a.txt"), "--explain writes png"),
    ],
)
def test_explain_fails(run: Run, indexed: Path, args: tuple[str, ...], said: str) -> None:
    result = run("where", *args, "-m", indexed)
    assert result.exit_code == 2
    assert said in result.stderr
