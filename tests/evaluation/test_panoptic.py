"""Panoptic files of COCO and ADE20K, whole and damaged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluation import panoptic_files as files
from PIL import Image

from vidmem.errors import MediaError
from vidmem.evaluation.panoptic import plain_name, read_panoptic, segment_masks


@pytest.mark.parametrize("ade", [False, True])
def test_both_kinds_are_read(tmp_path: Path, ade: bool) -> None:
    found = read_panoptic(files.write(tmp_path, ade=ade))
    assert found.names == ("cup", "dog", "brick wall", "floor")
    assert found.things.tolist() == [True, True, False, False]
    assert len(found.pictures) == 2
    for number, picture in enumerate(found.pictures):
        masks, categories = segment_masks(picture)
        segments, _ = files.scene(number)
        assert categories.tolist() == [2, 3, 0, 1]
        assert picture.image.is_file()
        for mask, segment in zip(masks, picture.segments, strict=True):
            np.testing.assert_array_equal(mask, segments == segment)
        assert not masks[:, :2].any()  # void


def test_crowds_are_left_out(tmp_path: Path) -> None:
    def crowd(data: dict[str, Any]) -> None:
        data["annotations"][0]["segments_info"][2]["iscrowd"] = 1

    first, second = read_panoptic(files.changed(files.write(tmp_path), crowd)).pictures
    assert segment_masks(first)[1].tolist() == [2, 3, 1]
    assert segment_masks(second)[1].tolist() == [2, 3, 0, 1]


def test_folders_can_be_elsewhere(tmp_path: Path) -> None:
    file = files.write(tmp_path / "a")
    (tmp_path / "a" / file.stem).rename(tmp_path / "labels")
    (picture, _) = read_panoptic(file, images=tmp_path / "pictures", labels=tmp_path / "labels").pictures
    assert picture.image == tmp_path / "pictures" / "000000000000.png"
    assert len(segment_masks(picture)[0]) == 4


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("wall-brick", "brick wall"),
        ("floor-wood", "wood floor"),
        ("sky-other-merged", "sky"),
        ("door-stuff", "door"),
        ("window-blind", "window blind"),
        ("grass-merged", "grass"),
        ("door, double door", "door"),
        ("other", "other"),
        (" bed ", "bed"),
    ],
)
def test_names_as_words(name: str, plain: str) -> None:
    assert plain_name(name) == plain


WRONG = [
    (lambda d: d.pop("images"), "images is no list of objects"),
    (lambda d: d["categories"][0].pop("isthing"), r"categories\[0\].isthing is None"),
    (lambda d: d["categories"][1].update(id=1), "two categories have the same id"),
    (lambda d: d["annotations"][1].update(image_id=9), r"annotations\[1\].image_id is 9, which no picture has"),
    (lambda d: d["images"][0].update(width="64"), r"images\[0\].width is '64'"),
    (lambda d: d["images"][0].update(file_name=""), r"images\[0\].file_name is ''"),
    (lambda d: d["annotations"][0].update(segments_info=[3]), r"annotations\[0\].segments_info is no list"),
    (
        lambda d: d["annotations"][0]["segments_info"][1].update(category_id=5),
        r"annotations\[0\].segments_info\[1\].category_id is 5, which no category has",
    ),
    (lambda d: d["annotations"][0]["segments_info"][1].update(id=7), r"segments_info\[1\].id is 7"),
    (lambda d: d["annotations"][0]["segments_info"][1].update(id=0), r"segments_info\[1\].id is 0"),
    (lambda d: d["images"][0].update(id=[1]), r"images\[0\].id is \[1\], not an id"),
    (lambda d: d["images"][0].update(width=10**400), r"images\[0\].width is 1.{1,99}, not a number of pixels"),
    (lambda d: d["images"][0].update(height=0), r"images\[0\].height is 0, not a number of pixels"),
    (
        lambda d: d["annotations"][0]["segments_info"][1].update(category_id=10**400),
        r"segments_info\[1\].category_id is 1.{1,99}, which no category has",
    ),
]


@pytest.mark.parametrize(("change", "message"), WRONG)
def test_wrong_fields_are_named(tmp_path: Path, change: Any, message: str) -> None:
    file = files.changed(files.write(tmp_path), change)
    with pytest.raises(MediaError, match=rf"{message}.*{file.name}"):
        read_panoptic(file)


def test_files_that_are_no_annotations(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"the annotation file cannot be read \(No such file"):
        read_panoptic(tmp_path / "none.json")
    (tmp_path / "cut.json").write_text('{"images": [')
    with pytest.raises(MediaError, match=r"cannot be read.*cut\.json"):
        read_panoptic(tmp_path / "cut.json")
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(MediaError, match="categories is no list"):
        read_panoptic(tmp_path / "list.json")


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "a\0b.png", "\ud800.png", "x" * 300])
def test_names_that_lead_out_of_the_folder(tmp_path: Path, name: str) -> None:
    for part in ("images", "annotations"):
        file = files.write(tmp_path / part)
        files.changed(file, lambda data, part=part: data[part][0].update(file_name=name))
        with pytest.raises(MediaError, match=rf"{part}\[0\]\.file_name leads out of the folder"):
            read_panoptic(file)


def test_damaged_segments(tmp_path: Path) -> None:
    picture, _ = read_panoptic(files.write(tmp_path)).pictures
    whole = picture.labels.read_bytes()
    picture.labels.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(MediaError, match=r"damaged.*000000000000\.png"):
        segment_masks(picture)
    pixels = np.zeros((48, 64, 3), np.uint8)
    Image.fromarray(pixels[:40]).save(picture.labels)
    with pytest.raises(MediaError, match="is 64 x 40, its picture 64 x 48"):
        segment_masks(picture)
    Image.fromarray(pixels).save(picture.labels)
    with pytest.raises(MediaError, match="the segment 5 has no pixel"):
        segment_masks(picture)
    pixels[0, 0] = 99
    Image.fromarray(pixels).save(picture.labels)
    with pytest.raises(MediaError, match="the segment 6513507 is in no annotation"):
        segment_masks(picture)
    picture.labels.unlink()
    with pytest.raises(MediaError, match="the file of segments is missing"):
        segment_masks(picture)


def test_a_deeply_nested_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "panoptic.json"
    path.write_text("[" * 100_000)
    with pytest.raises(MediaError, match="cannot be read"):
        read_panoptic(path)
