"""Data sets: what they hold, and what they say when it is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from making import squares
from PIL import Image

from lab.train.tren.data import open_data
from lab.train.tren.folder import Folder
from lab.train.tren.sample import Joined
from needs import needs
from vidmem.errors import MediaError, UsageError
from vidmem.export.coco import Coco, Sample
from vidmem.export.rle import total

coco_mask = needs("pycocotools.mask")


def compressed(mask: np.ndarray) -> dict[str, Any]:
    runs = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": runs["size"], "counts": runs["counts"].decode("ascii")}


DISC = (np.add.outer((np.arange(8) - 3) ** 2, (np.arange(10) - 5) ** 2) < 10).astype(bool)


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """One picture of 10 x 8 with a polygon, both kinds of run lengths and a crowd; one without annotations."""
    Image.new("RGB", (10, 8), (9, 8, 7)).save(tmp_path / "a.png")
    document = {
        "images": [
            {"id": 5, "file_name": "a.png", "width": 10, "height": 8},
            {"id": 6, "file_name": "b.png", "width": 10, "height": 8},
        ],
        "categories": [{"id": 1, "name": "dog"}, {"id": 9, "name": " cat "}],
        "annotations": [
            {"image_id": 5, "category_id": 1, "segmentation": [[1, 1, 7, 1, 7, 5, 1, 5]], "iscrowd": 0},
            {"image_id": 5, "category_id": 9, "segmentation": {"size": [8, 10], "counts": [16, 8, 56]}},
            {"image_id": 5, "category_id": 9, "segmentation": compressed(DISC)},
            {"image_id": 5, "category_id": 1, "segmentation": {"size": [8, 10], "counts": [0, 80]}, "iscrowd": 1},
        ],
    }
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(document))
    return path


def test_coco(coco: Path) -> None:
    data = Coco(coco)
    assert len(data) == 1
    assert data.names == ("cat", "dog")
    sample = data[0]
    assert sample.names == ("dog", "cat", "cat")
    assert sample.image[0, 0].tolist() == [9, 8, 7]
    box = np.zeros((8, 10), bool)
    box[1:5, 1:7] = True
    np.testing.assert_array_equal(sample.masks[0], box)
    column = np.zeros((8, 10), bool)
    column[:, 2] = True  # runs go down the columns
    np.testing.assert_array_equal(sample.masks[1], column)
    np.testing.assert_array_equal(sample.masks[2], DISC)


def test_coco_crowds_can_be_kept(coco: Path) -> None:
    sample = Coco(coco, crowd="keep")[0]
    assert sample.names == ("dog", "cat", "cat", "dog")
    assert sample.masks[3].all()


def test_polygons_of_several_rings_are_one_region(coco: Path) -> None:
    rings = [[0, 0, 2, 0, 2, 2, 0, 2], [6, 4, 9, 4, 9, 7, 6, 7]]
    change(coco, lambda d: d["annotations"][0].update(segmentation=rings))
    mask = Coco(coco)[0].masks[0]
    assert mask.sum() == 4 + 9
    assert mask[:2, :2].all()
    assert mask[4:7, 6:9].all()


def change(path: Path, how: Callable[[Any], object]) -> None:
    document = json.loads(path.read_text())
    how(document)
    path.write_text(json.dumps(document))


WRONG: dict[str, tuple[Callable[[Any], object], str]] = {
    "no images": (lambda d: d.pop("images"), "images is missing"),
    "category without a name": (lambda d: d["categories"][1].pop("name"), r"categories\[1\]\.name"),
    "file elsewhere": (lambda d: d["images"][0].update(file_name="../a.png"), r"images\[0\]\.file_name .*leads out"),
    "no size": (lambda d: d["images"][0].update(width=None), r"images\[0\]\.width"),
    "id twice": (lambda d: d["images"][1].update(id=5), r"images\[1\]\.id"),
    "unknown picture": (lambda d: d["annotations"][1].update(image_id=7), r"annotations\[1\]\.image_id is 7"),
    "unknown category": (lambda d: d["annotations"][1].update(category_id=7), r"annotations\[1\]\.category_id is 7"),
    "no outline": (lambda d: d["annotations"][2].pop("segmentation"), r"annotations\[2\]\.segmentation is missing"),
    "two points": (
        lambda d: d["annotations"][0].update(segmentation=[[1, 1, 2, 2]]),
        r"\[0\] is not a polygon",
    ),
    "a word": (lambda d: d["annotations"][0].update(segmentation=[[1, 1, 2, 2, 3, "x"]]), "not a coordinate"),
    "nan": (lambda d: d["annotations"][0].update(segmentation=[[1, 1, 2, 2, 3, float("nan")]]), "not a coordinate"),
    "empty": (lambda d: d["annotations"][0].update(segmentation=[]), "is empty"),
    "a number": (lambda d: d["annotations"][0].update(segmentation=3), "neither polygons nor"),
    "short runs": (lambda d: d["annotations"][1]["segmentation"].update(counts=[16, 8]), r"counts are not run len"),
    "other size": (lambda d: d["annotations"][1]["segmentation"].update(size=[10, 8]), r"\.size is \[10, 8\]"),
    "long runs": (lambda d: d["annotations"][2]["segmentation"].update(counts="PPPP0"), "compressed run lengths"),
    "no letters": (lambda d: d["annotations"][2]["segmentation"].update(counts="\x01"), "compressed run lengths"),
    "no counts": (lambda d: d["annotations"][2]["segmentation"].pop("counts"), "counts are missing"),
    "nothing": (lambda d: d["annotations"].clear(), "annotations outlines nothing"),
}


@pytest.mark.parametrize("name", WRONG)
def test_coco_names_file_and_field(coco: Path, name: str) -> None:
    how, message = WRONG[name]
    change(coco, how)
    with pytest.raises(MediaError, match=f"{message}.*instances\\.json"):
        Coco(coco)


def test_coco_fails_on_files(coco: Path, tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"cannot be read.*none\.json"):
        Coco(tmp_path / "none.json")
    Image.new("RGB", (11, 8)).save(tmp_path / "a.png")
    with pytest.raises(MediaError, match=r"11x8.*instances\.json says 10x8.*a\.png"):
        Coco(coco)[0]
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(MediaError, match=r"cannot be read.*a\.png"):
        Coco(coco)[0]
    (tmp_path / "a.png").unlink()
    with pytest.raises(MediaError, match=r"missing.*a\.png"):
        Coco(coco)[0]
    coco.write_text("{")
    with pytest.raises(MediaError, match="not JSON"):
        Coco(coco)


@pytest.mark.parametrize("seed", range(20))
def test_run_lengths_add_up(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = tuple(int(v) for v in rng.integers(1, 90, 2))
    text = compressed(rng.random(shape) < rng.random())["counts"]
    assert total(text) == shape[0] * shape[1]
    assert total(text[:-1]) != shape[0] * shape[1]


def test_folder_of_numbers(tmp_path: Path) -> None:
    data = Folder(squares(tmp_path / "set", 3))
    assert len(data) == 3
    assert set(data.names) == {"red", "green", "blue"}
    sample = data[1]
    assert sample.masks.shape == (len(sample.names), 48, 64)
    for mask, name in zip(sample.masks, sample.names, strict=True):
        assert len({tuple(p) for p in sample.image[mask].tolist()}) == 1, name
    assert (sample.masks.sum(0) <= 1).all()


def test_folder_of_files_may_overlap_and_be_nameless(tmp_path: Path) -> None:
    folder = squares(tmp_path / "set", 1)
    (folder / "masks" / "000.png").unlink()
    own = folder / "masks" / "000"
    own.mkdir()
    whole = Image.new("L", (64, 48), 255)
    for name in ("red car.png", "red car#2.png", "#1.png"):
        whole.save(own / name)
    data = Folder(folder)
    assert data.names == ("red car",)
    assert sorted(map(str, data[0].names)) == ["None", "red car", "red car"]
    assert data[0].masks.all()


def test_names_of_a_picture_go_before_those_of_all(tmp_path: Path) -> None:
    folder = squares(tmp_path / "set", 1)
    (folder / "masks" / "000.json").write_text(json.dumps({"1": "rose", "2": "leaf", "3": None}))
    data = Folder(folder)
    assert data.names == ("leaf", "rose")
    assert set(data[0].names) <= {"rose", "leaf", None}


def test_folder_fails(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="images/ is missing"):
        Folder(tmp_path)
    folder = squares(tmp_path / "set", 2)
    (folder / "names.json").write_text(json.dumps({"1": "red", "2": 7}))
    with pytest.raises(MediaError, match=r"'2': 7 .*names\.json"):
        Folder(folder)
    (folder / "names.json").write_text(json.dumps({"200": "red"}))
    with pytest.raises(MediaError, match=r"number \d has no name in .*names\.json: .*000\.png"):
        Folder(folder)[0]
    (folder / "names.json").unlink()
    with pytest.raises(MediaError, match=r"names of its numbers are missing.*000\.json"):
        Folder(folder)
    (folder / "masks" / "009.png").write_bytes(b"")
    with pytest.raises(MediaError, match=r"no picture in .*009\.png"):
        Folder(folder)
    (folder / "masks" / "009.png").unlink()
    (folder / "masks" / "001.png").unlink()
    (folder / "names.json").write_text(json.dumps({"1": "red"}))
    with pytest.raises(MediaError, match=r"neither masks/001\.png.*images/001\.png"):
        Folder(folder)


def test_masks_of_another_size_or_kind_fail(tmp_path: Path) -> None:
    folder = squares(tmp_path / "set", 1)
    Image.new("L", (60, 48)).save(folder / "masks" / "000.png")
    with pytest.raises(MediaError, match=r"60x48, its picture 64x48"):
        Folder(folder)[0]
    Image.new("RGB", (64, 48)).save(folder / "masks" / "000.png")
    with pytest.raises(MediaError, match="this has RGB"):
        Folder(folder)[0]


def test_data_by_name(tmp_path: Path, coco: Path) -> None:
    folder = squares(tmp_path / "set", 3)
    both = open_data([str(folder), f"{coco}@{tmp_path}"], tmp_path / "cache")
    assert isinstance(both, Joined)
    assert len(both) == 4
    assert both.names == ("blue", "cat", "dog", "green", "red")
    assert both[3].names == ("dog", "cat", "cat")
    assert both[2].image.shape == (48, 64, 3)
    with pytest.raises(IndexError):
        both[4]


@pytest.mark.parametrize("spec", ["nowhere", "lostfound:5:5", "lostfound:a:b", "lostfound:3"])
def test_data_without_a_meaning_fails(tmp_path: Path, spec: str) -> None:
    with pytest.raises(UsageError, match=spec):
        open_data([spec], tmp_path)
    with pytest.raises(UsageError, match="training data"):
        open_data([], tmp_path)


def test_samples_keep_their_promise() -> None:
    image = np.zeros((4, 6, 3), np.uint8)
    with pytest.raises(ValueError, match=r"image is .*here"):
        Sample(image[..., :2], np.zeros((0, 4, 6), bool), (), "here")
    with pytest.raises(ValueError, match=r"masks are .*here"):
        Sample(image, np.zeros((2, 4, 6), bool), ("a",), "here")


@pytest.mark.parametrize("prefix", ["", "openimages:", "phrasecut:", "mapillary:", "sa1b:"])
def test_names_that_are_too_long_fail(prefix: str, tmp_path: Path) -> None:
    for name in ("x" * 300, "x" * 300 + ".json"):
        with pytest.raises((MediaError, UsageError)):
            open_data([prefix + name], tmp_path)


def test_a_number_of_too_many_digits_fails(tmp_path: Path) -> None:
    folder = squares(tmp_path / "set", 1)
    (folder / "names.json").write_text(json.dumps({"9" * 5000: "red"}))
    with pytest.raises(MediaError, match=r"'9{40}': 'red' is not a number .*names\.json"):
        Folder(folder)
