"""Records of units: masks as they are in the files, random crops, and faults in words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sets
from PIL import Image

from needs import needs
from vidmem.errors import MediaError
from vidmem.export.textanswer import read_answer
from vidmem.export.textmask import Label
from vidmem.export.trainset.content import Conversation, Expression, Labelled, Referred, Region, Unit, see
from vidmem.export.trainset.make import Settings, make
from vidmem.export.trainset.plan import coco_units, label_units

NAMES = ("sky", "grass", "house", "moon")
PLAIN = Settings(
    style="internvl",
    form="strict",
    grids=(16,),
    mix=(("refer", 1), ("open", 1), ("part", 0), ("given", 0), ("absent", 0)),
    distractors=0,
    turns=1,
    crop=0,
    crops="",
    seed=0,
)


def fail(message: str) -> None:
    raise AssertionError(message)


def labelled(folder: Path, first: int = 0) -> list[Unit]:
    labels, pictures = sets.label_images(folder)
    return label_units(labels, pictures, first, NAMES, fail)


def answered(record: dict[str, Any], side: int = 16) -> Any:
    reading = read_answer(record["response"], (side, side))
    assert not reading.problems
    return reading.mask


def test_label_pictures(tmp_path: Path) -> None:
    units = labelled(tmp_path)
    assert [unit.key for unit in units] == [f"labels a/{i}" for i in range(4)]
    made = make(units[2], PLAIN)
    assert (made.tasks, made.grid, made.fault) == (("open",), 16, None)
    assert made.record is not None
    mask = answered(made.record)
    assert {label.name for label in mask.labels} == {"sky", "grass", "house"}
    assert mask.mask("house")[7, 3]  # the house, x 8 to 26 and y 20 to 36
    assert mask.mask("sky")[0, 0]
    assert not mask.mask("sky")[0, 15]  # 255 is no label
    assert made.record["images"] == [str(tmp_path / "pictures/a/2.jpg")]


def test_the_first_label_may_be_one(tmp_path: Path) -> None:
    made = make(labelled(tmp_path, 1)[0], PLAIN)  # 0 is no label, 1 is sky, 2 is grass
    assert made.record is not None
    mask = answered(made.record)
    assert {label.name for label in mask.labels} == {"sky", "grass"}
    assert not mask.mask("sky")[0].any()


def test_wide_label_pictures(tmp_path: Path) -> None:
    path, names = tmp_path / "a.png", tuple(f"n{i}" for i in range(400))
    values = np.full((48, 64), 300, np.uint16)
    values[:24] = 0
    values[24:30] = 256  # 255 + 1: an ordinary label in 16 bits
    Image.fromarray(values).save(path)
    content = Labelled(str(sets.picture(tmp_path / "a.jpg")), str(path), 1, names)
    seen = see(content)
    assert seen.classes is not None
    assert np.unique(seen.classes).tolist() == [-1, 255, 299]
    assert seen.present == {"n255", "n299"}


def test_coco_pictures_and_crowds(tmp_path: Path) -> None:
    needs("pycocotools")
    units = coco_units(sets.coco(tmp_path), tmp_path / "images", True, fail)
    made = make(units[0], replace(PLAIN, grids=(32,)))
    assert made.record is not None
    mask = answered(made.record, 32)
    assert {Label("cup", 1), Label("cup", 2), Label("ball")} <= set(mask.labels)
    absent = replace(PLAIN, mix=(("open", 0), ("absent", 1)), turns=9)
    asked = make(units[0], absent)
    assert asked.record is None  # a crowd of persons is annotated, and no picture has a drum: nothing is absent
    second = make(units[1], absent)
    assert second.record is None


def test_expressions_and_lost_things(tmp_path: Path) -> None:
    needs("pycocotools")
    picture = str(sets.picture(tmp_path / "a.jpg"))
    cup, pin = Region("cup", sets.polygon(2, 2), "there"), Region("pin", [[1, 40, 2, 40, 2, 41, 1, 41]], "there")
    content = Referred(picture, sets.SIZE, (Expression("the cup", (cup,)), Expression("a pin", (pin,))))
    made = make(Unit("k", content), PLAIN)
    assert made.tasks == ("refer",)  # an empty mask for the pin would say that there is none
    assert made.record is not None
    assert answered(made.record).mask("the cup")[2, 2]
    lost = make(Unit("k", Referred(picture, sets.SIZE, (Expression("a pin", (pin,)),))), PLAIN)
    assert (lost.record, lost.fault) == (None, None)
    none = make(Unit("k", Referred(picture, sets.SIZE, (Expression("a drum", ()),))), PLAIN)
    assert none.tasks == ("absent",)


def test_one_of_several_grids(tmp_path: Path) -> None:
    unit = labelled(tmp_path)[0]
    settings = replace(PLAIN, grids=(8, 16, 24))
    made = [make(Unit(f"{unit.key} {i}", unit.content), settings) for i in range(30)]
    assert {m.grid for m in made} == {8, 16, 24}
    for m in made:
        assert m.record is not None
        assert m.record["query"].endswith(f"The grid has {m.grid} rows of {m.grid} cells.")
        assert answered(m.record, m.grid).cells.shape == (m.grid, m.grid)


def test_crops_show_their_part(tmp_path: Path) -> None:
    unit = labelled(tmp_path)[0]
    settings = replace(PLAIN, crop=1, crops=str(tmp_path / "crops"))
    (tmp_path / "crops").mkdir()
    paths, boxes = set(), set()
    for i in range(12):
        made = make(Unit(f"{unit.key} {i}", unit.content), settings)
        assert made.record is not None
        (path,) = made.record["images"]
        paths.add(path)
        with Image.open(path) as part:
            assert 32 <= part.width <= 64
            assert part.width / part.height == pytest.approx(64 / 48, rel=0.05)
            boxes.add(part.size)
        assert answered(made.record).labels
    assert len(paths) == 12
    assert len(boxes) > 3
    again = make(Unit(f"{unit.key} 0", unit.content), settings)
    assert again.record is not None
    assert again.record["images"][0] in paths


def test_a_full_disk_is_no_fault_of_the_picture(tmp_path: Path) -> None:
    unit = labelled(tmp_path)[0]
    with pytest.raises(OSError, match="No such file"):
        make(unit, replace(PLAIN, crop=1, crops=str(tmp_path / "not there")))


def test_conversations_pass_through(tmp_path: Path) -> None:
    picture = str(sets.picture(tmp_path / "a.jpg"))
    made = make(Unit("c", Conversation(picture, (("a", "b"), ("c", "d")))), replace(PLAIN, style="llava"))
    assert made.tasks == ("chat", "chat")
    assert made.record == {"query": "c", "response": "d", "history": [["<image>\na", "b"]], "images": [picture]}
    assert make(Unit("c", Conversation(None, (("a", "b"),))), PLAIN).record == {"query": "a", "response": "b"}
    assert "is missing" in str(make(Unit("c", Conversation(picture + "x", (("a", "b"),))), PLAIN).fault)


def damage(kind: str, content: Labelled) -> None:
    picture, labels = Path(content.picture), Path(content.labels)
    if kind == "cut picture":
        picture.write_bytes(picture.read_bytes()[: picture.stat().st_size // 2])
    elif kind == "no picture":
        picture.unlink()
    elif kind == "text":
        picture.write_text("hello")
    elif kind == "cut labels":
        labels.write_bytes(labels.read_bytes()[:60])
    elif kind == "no labels":
        labels.unlink()
    elif kind == "colour labels":
        Image.new("RGB", sets.SIZE).save(labels)
    elif kind == "other size":
        Image.new("L", (10, 10)).save(labels)
    elif kind == "unknown label":
        Image.new("L", sets.SIZE, 9).save(labels)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("cut picture", "the picture cannot be read (image file is truncated"),
        ("no picture", "the picture is missing"),
        ("text", "the picture cannot be read (not a picture)"),
        ("cut labels", "the label picture cannot be read"),
        ("no labels", "the label picture is missing"),
        ("colour labels", "mode RGB, not one number per pixel"),
        ("other size", "the label picture is 10x10, the picture 64x48"),
        ("unknown label", "label 9 is in the label picture and there are 4 names"),
    ],
)
def test_faults_are_told(tmp_path: Path, kind: str, message: str) -> None:
    unit = labelled(tmp_path)[1]
    assert isinstance(unit.content, Labelled)
    damage(kind, unit.content)
    made = make(unit, PLAIN)
    assert made.record is None
    assert message in str(made.fault)


def test_the_size_of_annotations_must_be_true(tmp_path: Path) -> None:
    picture = str(sets.picture(tmp_path / "a.jpg"))
    made = make(Unit("k", Referred(picture, (48, 64), (Expression("a", ()),))), PLAIN)
    assert "the picture is 64x48, and the annotations say 48x64" in str(made.fault)


def test_labels_that_the_legacy_form_cannot_hold_are_faults(tmp_path: Path) -> None:
    labels, pictures = sets.label_images(tmp_path)
    (unit, *_) = label_units(labels, pictures, 0, ("sky", "a|b", "house"), fail)
    assert make(unit, PLAIN).fault is None
    assert "the legacy form cannot hold the label 'a|b'" in str(make(unit, replace(PLAIN, form="legacy")).fault)


def test_label_pictures_need_pictures(tmp_path: Path) -> None:
    labels, pictures = sets.label_images(tmp_path)
    (pictures / "a" / "0.jpg").unlink()
    told: list[str] = []
    assert len(label_units(labels, pictures, 0, NAMES, told.append)) == 3
    assert [str(labels / "a" / "0.png") in line for line in told] == [True]
    with pytest.raises(MediaError, match="no label pictures"):
        label_units(pictures, labels, 0, NAMES, fail)
    with pytest.raises(MediaError, match="no such folder"):
        label_units(tmp_path / "x", pictures, 0, NAMES, fail)


def test_turned_pictures(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    Image.new("RGB", (48, 64)).save(tmp_path / "a.jpg", exif=exif)  # shown 64 wide
    Image.new("L", sets.SIZE, 1).save(tmp_path / "a.png")
    content = Labelled(str(tmp_path / "a.jpg"), str(tmp_path / "a.png"), 1, NAMES, upright=True)
    assert see(content).size == sets.SIZE
    with pytest.raises(MediaError, match="the label picture is 64x48, the picture 48x64"):
        see(replace(content, upright=False))
