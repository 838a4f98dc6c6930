"""`vidmem export` to training sets: several sources, faults, and a set that was interrupted."""

from __future__ import annotations

import json
import os
import pickle
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lab.train.text4seg.records import Records
from needs import needs
from vidmem.cli.export_set import parse_grids, parse_mix
from vidmem.errors import UsageError
from vidmem.export.instruct import STYLES
from vidmem.export.textanswer import read_answer

from .conftest import Run, process
from .test_parse import FakeSam

sys.path.insert(0, str(Path(__file__).parents[1] / "export" / "trainset"))
import sets

COLOURS = "red\ngreen\nblue\tstuff\nwhite\n"


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    path = tmp_path / "colours.txt"
    path.write_text(COLOURS)
    return path


def manifest(folder: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((folder / "manifest.json").read_text("utf-8"))
    return loaded


def test_a_mix_of_sources(run: Run, tmp_path: Path) -> None:
    needs("pycocotools")
    sets.refcoco(tmp_path / "refcoco")
    label_pictures, pictures = sets.label_images(tmp_path / "stuff")
    names = tmp_path / "stuff.txt"
    names.write_text("sky\ngrass\nhouse\nmoon\n")
    chat = sets.conversations(tmp_path)
    out = tmp_path / "set"
    command = (
        *("export", "--out", out, "--refcoco", tmp_path / "refcoco", "--coco", tmp_path / "refcoco" / "instances.json"),
        *("--label-images", f"{label_pictures}@{pictures}", "--labels", names, "--first-label", 0),
        *("--chat", chat, "--chat-share", 0.2, "--mix", "absent=0.5", "--grid", "8,16,24", "--turns", 2, "--repeat", 3),
        *("--shards", 4, "--style", "messages", "--seed", 5, "--json"),
    )
    # COCO's pictures are in images/: `--coco FILE@IMAGES`
    command = tuple(
        f"{c}@{tmp_path / 'refcoco' / 'images'}" if str(c).endswith("instances.json") else c for c in command
    )
    result = run(*command)
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    made, said = sets.lines(out), manifest(out)
    assert (told["files"], told["records"]) == (4, len(made))
    units = 3 * (9 + round(0.5 * 14) + 6 + 4)  # expressions by two, absent ones, COCO's and labelled pictures
    assert len(made) == units + round(units * 0.2 / 0.8)
    assert set(said["tasks"]) == {"refer", "open", "part", "given", "absent", "chat"}
    assert set(said["grids"]) == {"8", "16", "24"}
    assert {i["file"] for i in said["inputs"]} == {"instances.json", "refs(unc).p", "chat.json"}
    assert all([m["role"] for m in r["messages"]][:2] == ["user", "assistant"] for r in made)
    for record in made:
        for question, answer in zip(record["messages"][::2], record["messages"][1::2], strict=True):
            if "<seg>" in answer["content"]:
                side = int(question["content"].rsplit(" rows of ", 1)[1].split()[0])
                assert not read_answer(answer["content"], (side, side)).problems
    again = tmp_path / "again"
    assert run(*command[:2], again, *command[3:]).exit_code == 0
    assert sets.files(out) == sets.files(again)
    result = run(*command)
    assert (result.exit_code, json.loads(result.stdout)) == (0, told)  # it is complete
    result = run(*command, "--seed", 6)
    assert (result.exit_code, "a set of other options or other data" in result.stderr) == (2, True)


@pytest.mark.parametrize("style", STYLES)
def test_the_training_reads_every_style(run: Run, tmp_path: Path, style: str) -> None:
    needs("pycocotools")
    sets.refcoco(tmp_path / "refcoco")
    chat = sets.conversations(tmp_path)
    command = ("--refcoco", tmp_path / "refcoco", "--chat", chat, "--turns", 2, "--style", style)
    assert run("export", "--out", tmp_path / "set", *command).exit_code == 0
    records = Records([tmp_path / "set"])
    assert len(records) == len(sets.lines(tmp_path / "set")) == 9 + 3
    pictures = [records[i].pictures for i in range(len(records))]
    assert sorted(map(len, pictures)) == [0] + [1] * 11  # one conversation is text alone
    assert all(path.is_file() for some in pictures for path in some)
    assert records.most_turns == 2


def test_damaged_pictures_and_annotations_are_left_out(run: Run, tmp_path: Path) -> None:
    needs("pycocotools")
    path = sets.coco(tmp_path)
    document = json.loads(path.read_text())
    document["annotations"][0]["segmentation"] = [[1, 2]]
    document["images"][5]["width"] = 0
    path.write_text(json.dumps(document))
    (tmp_path / "images" / "COCO_train2014_000000000002.jpg").write_bytes(b"\xff\xd8 not a JPEG")
    (tmp_path / "images" / "COCO_train2014_000000000003.jpg").unlink()
    result = run(
        "export", "--out", tmp_path / "set", "--coco", f"{path}@{tmp_path / 'images'}", "--shards", 2, "--json"
    )
    assert result.exit_code == 3
    for fault in (
        "left out, annotations[0].segmentation[0] is not a polygon",
        "left out, images[5].width is missing or not a size",
        "left out, the picture cannot be read",
        "left out, the picture is missing",
    ):
        assert result.stderr.count(fault) == 1
    said = manifest(tmp_path / "set")
    assert (said["records"], said["skipped_records"]) == (3, 2)
    assert len(said["skipped"]) == json.loads(result.stdout)["left_out"] >= 4
    # Without an option of a training set the first fault is an error, as before.
    assert run("export", "--out", tmp_path / "one", "--coco", f"{path}@{tmp_path / 'images'}").exit_code == 4


def test_a_set_from_vspw(run: Run, tmp_path: Path) -> None:
    for video, count in (("a", 3), ("b", 2), ("empty", 0), ("other", 2)):
        (tmp_path / "data" / video / "origin").mkdir(parents=True)
        (tmp_path / "data" / video / "mask").mkdir()
        for i in range(count):
            sets.picture(tmp_path / "data" / video / "origin" / f"{i}.jpg", i)
            values = np.full((sets.SIZE[1], sets.SIZE[0]), 4, np.uint8)  # stair: class 3 of VSPW's list
            values[:24] = 255
            Image.fromarray(values).save(tmp_path / "data" / video / "mask" / f"{i}.png")
    (tmp_path / "train.txt").write_text("a\nb\nempty\n")
    (tmp_path / "data" / "b" / "mask" / "1.png").write_bytes(b"")
    command = ("--vspw", tmp_path, "--split", "train", "--mix", "part=0,given=0", "--shards", 2)
    result = run("export", "--out", tmp_path / "set", *command)
    assert result.exit_code == 3
    assert "the video has no pictures in origin/" in result.stderr
    assert "the label picture cannot be read" in result.stderr
    made = sets.lines(tmp_path / "set")
    assert sorted(Path(r["images"][0]).parts[-3] for r in made) == ["a", "a", "a", "b"]
    for record in made:
        mask = read_answer(record["response"], (16, 16)).mask
        assert [label.name for label in mask.labels] == ["stair"]
        assert (mask.cells[:8] == -1).all()
        assert (mask.cells[8:] == 0).all()


def test_a_set_from_a_memory(run: Run, indexed: Path, labels: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"
    command = ("--labels", labels, "--every", "2s", "--shard-size", 2, "--mix", "open=1,part=0,given=0", "-m", indexed)
    result = run("export", "--out", out, *command, "--json")
    assert result.exit_code == 0, result.stderr
    made = sets.lines(out)
    assert len(made) == 6
    assert len(manifest(out)["files"]) == 3
    at_four = next(r for r in made if r["images"][0].endswith("0000004000.jpg"))
    assert Image.open(at_four["images"][0]).size == (160, 96)
    reading = read_answer(at_four["response"], (16, 16))
    assert not reading.problems
    assert {label.name for label in reading.mask.labels} == {"green", "blue"}
    pixels = np.asarray(Image.open(out / "labels" / f"{Path(at_four['images'][0]).stem}.png"))
    assert pixels.shape == (96, 160)
    assert set(np.unique(pixels)) == {0, 2, 3}
    before = {p: p.stat().st_mtime_ns for p in (out / "images").iterdir()}
    (out / "data-00001-of-00003.jsonl").unlink()
    assert run("export", "--out", out, *command).exit_code == 0
    assert sets.lines(out) == made
    assert {p: p.stat().st_mtime_ns for p in (out / "images").iterdir()} == before


def test_a_refined_set(run: Run, indexed: Path, labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidmem.encoders.masks.sam_predictor.load", lambda size, device, weights: size)
    monkeypatch.setattr("vidmem.encoders.masks.sam_predictor.Sam2Predictor", FakeSam)
    monkeypatch.setattr(FakeSam, "asked", [])
    arguments = ("--labels", labels, "--every", "4s", "--shards", 1, "-m", indexed)
    assert run("export", "--out", tmp_path / "plain", *arguments).exit_code == 0
    assert run("export", "--out", tmp_path / "set", "--refine", "sam2:tiny", *arguments).exit_code == 0
    plain, refined = (sorted((tmp_path / part / "labels").iterdir()) for part in ("plain", "set"))
    assert [path.name for path in plain] == [path.name for path in refined]
    for before, after in zip(plain, refined, strict=True):
        first, second = (np.asarray(Image.open(path)) for path in (before, after))
        assert set(np.unique(first)) == set(np.unique(second))
        assert (second > 0).sum() > (first > 0).sum()  # a larger rectangle


def test_a_set_of_photos_where_they_lie(run: Run, copy: Path, labels: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, colour in (("a", (255, 0, 0)), ("b", (0, 0, 255)), ("turned", (0, 255, 0))):
        image = Image.new("RGB", (160, 96), (90, 100, 110))
        image.paste(colour, (32, 32, 64, 64))
        exif = Image.Exif()
        if name == "turned":
            image, exif[274] = image.rotate(90, expand=True), 6  # stored upright, shown as the others are
        image.save(folder / f"{name}.png", exif=exif)
    assert run("index", folder, "-m", copy).exit_code == 0
    (folder / "b.png").unlink()
    command = ("--source", "photos", "--labels", labels, "--mix", "part=0,given=0", "--shards", 1, "-m", copy)
    result = run("export", "--out", tmp_path / "set", *command)
    assert (
        result.exit_code,
        f"left out, the photo is no longer there, or is another one: {folder / 'b.png'}" in result.stderr,
    ) == (
        3,
        True,
    )
    made = {Path(r["images"][0]).name: read_answer(r["response"], (16, 16)).mask for r in sets.lines(tmp_path / "set")}
    assert set(made) == {"a.png", "turned.png"}
    for name, label in (("a.png", "red"), ("turned.png", "green")):
        assert [found.name for found in made[name].labels] == [label]
        assert made[name].cells[8, 4] == 0
        assert made[name].cells[1, 12] == -1


def test_wordings_do_not_depend_on_the_folder(run: Run, indexed: Path, labels: Path, tmp_path: Path) -> None:
    def queries(folder: Path, *more: object) -> list[str]:
        run("export", "--out", folder, "--labels", labels, "--every", "2s", "--absent", 1, "-m", indexed, *more)
        return [json.loads(line)["query"] for line in (folder / "data.jsonl").read_text().splitlines()]

    first = queries(tmp_path / "a")
    assert len(set(first)) > 4
    assert first == queries(tmp_path / "quite" / "elsewhere")
    assert first != queries(tmp_path / "c", "--seed", 1)


def test_things_too_small_for_the_grid_are_not_called_absent(run: Run, tmp_path: Path) -> None:
    needs("pycocotools")
    path = sets.coco(tmp_path)
    run("export", "--out", tmp_path / "set", "--coco", f"{path}@{tmp_path / 'images'}", "--absent", 9, "--grid", 8)
    asked = (tmp_path / "set" / "data.jsonl").read_text()
    assert "pin" not in asked


@pytest.mark.slow
def test_a_killed_export_goes_on(run: Run, tmp_path: Path) -> None:
    label_pictures, pictures = sets.label_images(tmp_path / "stuff", 8)
    names = tmp_path / "stuff.txt"
    names.write_text("sky\ngrass\nhouse\nmoon\n")
    source = f"{label_pictures}@{pictures}"
    command = ("--label-images", source, "--labels", names, "--first-label", 0, "--repeat", 70, "--shard-size", 20)
    assert run("export", "--out", tmp_path / "whole", *command, "--workers", 1).exit_code == 0
    out = tmp_path / "set"
    started = process("export", "--out", out, *command, "--workers", 2, memory=tmp_path / "m", wait=False)
    while started.poll() is None and len(list(out.glob("data-*.jsonl"))) < 3:
        time.sleep(0.02)
    os.kill(started.pid, signal.SIGKILL)
    started.communicate()
    assert not (out / "manifest.json").exists()
    assert 3 <= len(list(out.glob("data-*.jsonl"))) < 28
    assert run("export", "--out", out, *command, "--workers", 1).exit_code == 0
    assert sets.files(out) == sets.files(tmp_path / "whole")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--grid", "16,x"), 2, "--grid is a number from 1 to 256"),
        (("--grid", "257"), 2, "--grid is a number from 1 to 256"),
        (
            ("--mix", "draw=1"),
            2,
            "--mix is TASK=WEIGHT,... with the tasks refer, open, part, given, absent; got draw=1",
        ),
        (("--mix", "open=0,part=0,given=0"), 2, "--mix leaves no task for pictures with labels"),
        (("--turns", "2", "--ask", "each"), 2, "a training set has --mix"),
        (("--shards", "2", "--shard-size", "9"), 2, "give one of them"),
        (("--label-images", "a@b"), 2, "give their names with --labels"),
        (("--label-images", "a", "--labels", "coco"), 2, "--label-images is FOLDER@IMAGES"),
        (("--label-images", "a@b", "--labels", "coco"), 4, "there is no such folder: a"),
        (("--chat-share", "0.5"), 2, "--chat-share is for the conversations of --chat"),
        (("--chat", "nothing.json"), 4, "the conversations cannot be read"),
        (("--refcoco", "nothing"), 4, "no list of expressions"),
        (("--shards", "2"), 2, "regions of a memory need labels"),
        (("--mix", ""), 2, "--mix is TASK=WEIGHT"),
        (("--mix", "open=1,open=2"), 2, "--mix has open twice"),
        (("--refcoco", "a", "--mix", "refer=0"), 2, "--mix leaves no task for the expressions"),
        (("--refcoco", "a", "--mix", "open=1"), 2, "--mix asks for open, which is for pictures with labels"),
        (("--vspw", "a", "--mix", "refer=1"), 2, "--mix asks for refer, which is for expressions"),
        (("--chat", "a", "--mix", "absent=1"), 2, "--mix asks for absent"),
        (("--refcoco", "a", "--refine", "sam2:tiny"), 2, "--refine is for the regions of a memory"),
        (("--refcoco", "a", "--all"), 2, "--all is for the regions of a memory"),
        (("--refcoco", "a", "--instances"), 2, "--instances is for things of --coco"),
        (("--refcoco", "a", "--labels", "coco"), 2, "--labels is for a memory"),
        (("--refcoco", "a", "--every", "2s"), 2, "--every is for videos of a memory"),
        (("--coco", "a", "--split", "train"), 2, "--split is for --vspw and --refcoco"),
        (("--vspw", "a", "--instances"), 2, "--instances is for things of --coco"),
        (("--out", ""), 2, "--out is empty"),
    ],
)
def test_misuse_fails(run: Run, tmp_path: Path, arguments: tuple[str, ...], code: int, message: str) -> None:
    result = run("export", "--out", tmp_path / "set", *arguments)
    assert (result.exit_code, message in result.stderr) == (code, True), result.stderr
    assert not (tmp_path / "set" / "manifest.json").exists()


def test_numbers_in_options() -> None:
    assert parse_grids(" 16, 24,32,16") == (16, 24, 32)
    for text in ("", "0", "1.5", "-1", "16,", "1000000000000", "²"):
        with pytest.raises(UsageError, match="--grid is a number"):
            parse_grids(text)
    assert dict(parse_mix(None)) == {"refer": 1, "open": 1, "part": 3, "given": 6, "absent": 0}
    assert dict(parse_mix("part=0, absent=.5")) == {"refer": 1, "open": 1, "part": 0, "given": 6, "absent": 0.5}
    for text in ("open", "open=", "open=-1", "open=nan", "open=inf", "open=1;part=2"):
        with pytest.raises(UsageError, match="--mix is TASK=WEIGHT"):
            parse_mix(text)


def test_a_set_of_absent_things_alone(run: Run, tmp_path: Path) -> None:
    needs("pycocotools")
    sets.refcoco(tmp_path / "refcoco")
    result = run("export", "--out", tmp_path / "set", "--refcoco", tmp_path / "refcoco", "--mix", "refer=0,absent=1")
    assert result.exit_code == 0, result.stderr
    assert manifest(tmp_path / "set")["tasks"] == {"absent": 14}


def test_crops_of_two_data_sets_stay_apart(run: Run, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("sky\ngrass\nhouse\nmoon\n")
    places = [sets.label_images(tmp_path / name) for name in ("a", "b")]
    command = [part for labels, pictures in places for part in ("--label-images", f"{labels}@{pictures}")]
    command += ["--labels", str(tmp_path / "names.txt"), "--first-label", "0", "--crop", "1"]
    assert run("export", "--out", tmp_path / "set", *command).exit_code == 0
    named = [r["image"] if "image" in r else r["images"][0] for r in sets.lines(tmp_path / "set")]
    assert len(set(named)) == len(named) == 8


def test_a_set_with_half_a_character_is_written(run: Run, tmp_path: Path) -> None:
    needs("pycocotools")
    folder = sets.refcoco(tmp_path / "refcoco")
    entries = sets.refs(folder)
    entries[0]["sentences"][0]["sent"] = "cup \ud800"
    (folder / "refs(unc).p").write_bytes(pickle.dumps(entries, 2))
    result = run("export", "--out", tmp_path / "set", "--refcoco", folder)
    assert result.exit_code == 3, result.stderr
    assert manifest(tmp_path / "set")["records"] == 13


def test_a_deeply_nested_coco_file(run: Run, tmp_path: Path) -> None:
    needs("pycocotools")
    (tmp_path / "deep.json").write_text("[" * 100_000)
    result = run("export", "--out", tmp_path / "set", "--coco", tmp_path / "deep.json", "--shards", 2)
    assert (result.exit_code, "the annotations cannot be read (not JSON" in result.stderr) == (4, True)
