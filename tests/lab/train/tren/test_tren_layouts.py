"""The published layouts of Open Images, PhraseCut, Mapillary Vistas and SA-1B, each with a small set in its format."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lab.train.tren.data import open_data
from lab.train.tren.layouts import LAYOUTS, reading
from lab.train.tren.layouts.mapillary import Mapillary
from lab.train.tren.layouts.openimages import OpenImages
from lab.train.tren.layouts.phrasecut import PhraseCut
from lab.train.tren.layouts.sa1b import Sa1b
from lab.train.tren.sample import pools_of
from needs import needs
from vidmem.errors import MediaError
from vidmem.export.rle import segmentation

needs("pycocotools.mask")
BOX = np.zeros((12, 16), bool)
BOX[2:8, 4:10] = True
SIZE = (16, 12)


def picture(path: Path, size: tuple[int, int] = SIZE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (40, 90, 200)).save(path)


def change(path: Path, how: Callable[[Any], object]) -> None:
    document = json.loads(path.read_text())
    how(document)
    path.write_text(json.dumps(document))


@pytest.fixture
def openimages(tmp_path: Path) -> Path:
    folder = tmp_path / "openimages"
    picture(folder / "train" / "0001eeaf4aed83f9.jpg")
    picture(folder / "train" / "000595fe6fee6369.jpg")
    head = "MaskPath,ImageID,LabelName,BoxID,BoxXMin,BoxXMax,BoxYMin,BoxYMax,PredictedIoU,Clicks\n"
    rows = (
        ("0001eeaf4aed83f9_m0cmf2_a1b2c3d4.png", "0001eeaf4aed83f9", "/m/0cmf2"),
        ("0001eeaf4aed83f9_m015qff_00ff00ff.png", "0001eeaf4aed83f9", "/m/015qff"),
        ("ffffeeaf4aed83f9_m0cmf2_a1b2c3d4.png", "ffffeeaf4aed83f9", "/m/0cmf2"),  # its picture was not fetched
    )
    tail = "a1b2c3d4,0.25,0.62,0.16,0.66,0.88,0.1 0.2 1;0.3 0.4 0"
    table = folder / "train-annotations-object-segmentation.csv"
    table.write_text(head + "".join(f"{','.join(row)},{tail}\n" for row in rows))
    (folder / "class-descriptions-boxable.csv").write_text("/m/0cmf2,Airplane\n/m/015qff,Traffic light\n")
    masks = folder / "train-masks"
    masks.mkdir()
    Image.fromarray(BOX).save(masks / rows[0][0])  # 1 bit
    (folder / "train-masks-0").mkdir()
    large = Image.fromarray((BOX * 255).astype(np.uint8)).resize((48, 36), Image.Resampling.NEAREST)
    large.save(folder / "train-masks-0" / rows[1][0])  # another size, in the folder of its archive
    return folder


def test_openimages(openimages: Path) -> None:
    data = OpenImages(openimages)
    assert len(data) == 1
    assert data.names == ("airplane", "traffic light")
    sample = data[0]
    assert sample.names == ("airplane", "traffic light")
    assert sample.image.shape == (12, 16, 3)
    np.testing.assert_array_equal(sample.masks[0], BOX)
    np.testing.assert_array_equal(sample.masks[1], BOX)


def test_openimages_of_version_7(openimages: Path) -> None:
    (openimages / "class-descriptions-boxable.csv").unlink()
    newer = "LabelName,DisplayName\n/m/0cmf2,Airplane\n/m/015qff,Traffic light\n"
    (openimages / "oidv7-class-descriptions.csv").write_text(newer)
    (openimages / "annotations").mkdir()
    for path in openimages.glob("*.csv"):
        path.rename(openimages / "annotations" / path.name)
    (openimages / "train").rename(openimages / "images")
    assert OpenImages(openimages).names == ("airplane", "traffic light")


def test_openimages_takes_the_training_part(openimages: Path) -> None:
    (openimages / "validation-annotations-object-segmentation.csv").write_text("MaskPath\n")
    assert len(OpenImages(openimages)) == 1
    (openimages / "test-annotations-object-segmentation.csv").write_text("MaskPath\n")
    (openimages / "train-annotations-object-segmentation.csv").unlink()
    with pytest.raises(MediaError, match=r"several tables of masks.*none is train-ann"):
        OpenImages(openimages)


def table(folder: Path) -> Path:
    return folder / "train-annotations-object-segmentation.csv"


def test_openimages_fails(openimages: Path, tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"table of masks is missing.*train-annotations-object-segmentation\.csv"):
        OpenImages(tmp_path / "none")
    whole = table(openimages).read_text()
    for text, message in (
        (whole.replace("LabelName", "Label"), "column LabelName is missing"),
        (whole.replace("/m/015qff", "/m/0"), r"line 3: the class '/m/0' has no description"),
        (whole.replace("0001eeaf4aed83f9_m0cmf2", "../0001"), "line 2 has no file name as MaskPath"),
        (whole.replace("0001eeaf4aed83f9,", "0002,"), "no picture in .*train has a mask"),
    ):
        table(openimages).write_text(text)
        with pytest.raises(MediaError, match=rf"{message}.*object-segmentation\.csv"):
            OpenImages(openimages)
    table(openimages).write_bytes(b"MaskPath,ImageID,LabelName\n\xff\xfe\n")
    with pytest.raises(MediaError, match=r"cannot be read.*object-segmentation\.csv"):
        OpenImages(openimages)
    table(openimages).write_text(whole)
    (openimages / "train-masks-0" / "0001eeaf4aed83f9_m015qff_00ff00ff.png").write_bytes(b"no")
    with pytest.raises(MediaError, match=r"cannot be read.*00ff00ff\.png"):
        OpenImages(openimages)[0]
    (openimages / "train-masks-0" / "0001eeaf4aed83f9_m015qff_00ff00ff.png").unlink()
    with pytest.raises(MediaError, match=r"in none of train-masks, masks, train-masks-0.*00ff00ff\.png"):
        OpenImages(openimages)[0]
    (openimages / "class-descriptions-boxable.csv").write_text("Airplane\n")
    with pytest.raises(MediaError, match=r"line 1 is not a code and a name.*boxable\.csv"):
        OpenImages(openimages)
    (openimages / "class-descriptions-boxable.csv").unlink()
    with pytest.raises(MediaError, match=r"table of classes is missing \(nor oidv7-.*boxable\.csv"):
        OpenImages(openimages)


@pytest.fixture
def phrasecut(tmp_path: Path) -> Path:
    folder = tmp_path / "VGPhraseCut_v0"
    picture(folder / "images" / "2405722.jpg")
    structure = {"name": "bus", "attributes": ["red"], "relation_descriptions": [], "type": "attribute"}
    square = [[4, 2], [10, 2], [10, 8], [4, 8]]
    tasks = [
        {
            "task_id": "2405722__0",
            "image_id": 2405722,
            "ann_ids": [1, 2],
            "instance_boxes": [[4, 2, 6, 6], [0, 0, 2, 2]],
            "Polygons": [[square], [[[0, 0], [2, 0], [2, 2], [0, 2]], [[12, 9], [15, 9]]]],
            "phrase": "red bus",
            "phrase_structure": structure,
        },
        {
            "task_id": "2405722__1",
            "image_id": 2405722,
            "ann_ids": [1],
            "instance_boxes": [[4, 2, 6, 6]],
            "Polygons": [[square]],
            "phrase": "bus ",
            "phrase_structure": structure,
        },
    ]
    (folder / "refer_train.json").write_text(json.dumps(tasks))
    return folder


def test_phrasecut(phrasecut: Path) -> None:
    data = PhraseCut(phrasecut)
    assert len(data) == 1
    assert data.names == ("bus", "red bus")
    sample = data[0]
    assert sample.names == ("red bus", "red bus", "bus")
    np.testing.assert_array_equal(sample.masks[0], BOX)
    np.testing.assert_array_equal(sample.masks[2], BOX)
    assert sample.masks[1].sum() == 4  # a line of two points outlines nothing


WRONG: dict[str, tuple[Callable[[Any], object], str]] = {
    "no picture": (lambda d: d[1].pop("image_id"), r"\[1\]\.image_id is missing"),
    "no phrase": (lambda d: d[0].update(phrase=" "), r"\[0\]\.phrase is missing or empty"),
    "no polygons": (lambda d: d[0].pop("Polygons"), r"\[0\]\.Polygons is missing"),
    "a word": (lambda d: d[0]["Polygons"][1].append([[0, 0], [1, "x"], [2, 2]]), r"\[0\]\.Polygons\[1\] is not a list"),
    "three numbers": (
        lambda d: d[0]["Polygons"][1].append([[0, 0, 1], [1, 1], [2, 2]]),
        r"Polygons\[1\] is not a list",
    ),
    "nan": (
        lambda d: d[0]["Polygons"][0][0].append([float("nan"), 3]),
        r"\[0\]\[0\] .*not a coordinate|not a coordinate",
    ),
    "a number": (lambda d: d[0].update(Polygons=[5]), r"Polygons\[0\] is not a list of polygons"),
}


@pytest.mark.parametrize("name", WRONG)
def test_phrasecut_names_file_and_field(phrasecut: Path, name: str) -> None:
    how, message = WRONG[name]
    change(phrasecut / "refer_train.json", how)
    with pytest.raises(MediaError, match=rf"({message}).*refer_train\.json"):
        PhraseCut(phrasecut)


def test_phrasecut_fails_on_files(phrasecut: Path, tmp_path: Path) -> None:
    data = PhraseCut(phrasecut)
    (phrasecut / "images" / "2405722.jpg").unlink()
    with pytest.raises(MediaError, match=r"missing.*2405722\.jpg"):
        data[0]
    (phrasecut / "refer_train.json").write_text("[]")
    with pytest.raises(MediaError, match=r"outlines nothing.*refer_train\.json"):
        PhraseCut(phrasecut)
    (phrasecut / "refer_train.json").write_text("[{")
    with pytest.raises(MediaError, match=r"not JSON.*refer_train\.json"):
        PhraseCut(phrasecut)
    with pytest.raises(MediaError, match=r"file of phrases is missing.*refer_train\.json"):
        PhraseCut(tmp_path)


@pytest.fixture
def mapillary(tmp_path: Path) -> Path:
    folder = tmp_path / "vistas"
    picture(folder / "training" / "images" / "_8d4.jpg")
    labels = [
        {"name": "animal--bird", "readable": "Bird", "instances": True, "evaluate": True, "color": [165, 42, 42]},
        {"name": "nature--sky", "readable": "Sky", "instances": False, "evaluate": True, "color": [70, 130, 180]},
        {"name": "void--unlabeled", "readable": "Unlabeled", "instances": False, "evaluate": False, "color": [0, 0, 0]},
    ]
    (folder / "config_v2.0.json").write_text(json.dumps({"version": "2.0", "mapping": "public", "labels": labels}))
    numbers = np.full((12, 16), 2 * 256, np.uint16)
    numbers[BOX] = 0 * 256 + 1
    numbers[9:, :8] = 0 * 256 + 3
    numbers[9:, 8:] = 1 * 256
    path = folder / "training" / "v2.0" / "instances" / "_8d4.png"
    path.parent.mkdir(parents=True)
    Image.fromarray(numbers).save(path)
    return folder


def test_mapillary(mapillary: Path) -> None:
    data = Mapillary(mapillary)
    assert len(data) == 1
    assert data.names == ("bird", "sky")
    sample = data[0]
    assert sample.names == ("bird", "bird", "sky")  # two instances; void is no region
    np.testing.assert_array_equal(sample.masks[0], BOX)
    assert [int(mask.sum()) for mask in sample.masks] == [36, 24, 24]


def test_mapillary_of_version_1(mapillary: Path) -> None:
    (mapillary / "config_v2.0.json").rename(mapillary / "config_v1.2.json")
    (mapillary / "training" / "v2.0").rename(mapillary / "training" / "v1.2")
    assert Mapillary(mapillary).names == ("bird", "sky")


def test_mapillary_fails(mapillary: Path, tmp_path: Path) -> None:
    file = mapillary / "training" / "v2.0" / "instances" / "_8d4.png"
    whole = file.read_bytes()
    data = Mapillary(mapillary)
    Image.fromarray(np.full((12, 16), 3 * 256, np.uint16)).save(file)
    with pytest.raises(MediaError, match=r"value 768 is of the label 3.*config_v2\.0\.json: .*_8d4\.png"):
        data[0]
    Image.fromarray(np.zeros((12, 16), np.uint8)).save(file)
    with pytest.raises(MediaError, match=r"16 bits.*mode L: .*_8d4\.png"):
        data[0]
    Image.fromarray(np.zeros((12, 15), np.uint16)).save(file)
    with pytest.raises(MediaError, match=r"instances are 15x12, their picture 16x12.*_8d4\.png"):
        data[0]
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(MediaError, match=r"cannot be read.*_8d4\.png"):
        data[0]
    file.unlink()
    with pytest.raises(MediaError, match=r"instances of a picture are missing; add _8d4\.png"):
        Mapillary(mapillary)
    change(mapillary / "config_v2.0.json", lambda d: d["labels"][1].pop("readable"))
    with pytest.raises(MediaError, match=r"labels\[1\]\.readable is missing.*config_v2\.0\.json"):
        Mapillary(mapillary)
    change(mapillary / "config_v2.0.json", lambda d: d.pop("labels"))
    with pytest.raises(MediaError, match=r"labels is missing.*config_v2\.0\.json"):
        Mapillary(mapillary)
    (mapillary / "training" / "images" / "_8d4.jpg").unlink()
    with pytest.raises(MediaError, match=r"labels is missing"):
        Mapillary(mapillary)
    with pytest.raises(MediaError, match=r"list of labels is missing \(nor config_v1\.2\.json\).*config_v2\.0\.json"):
        Mapillary(tmp_path)


@pytest.fixture
def sa1b(tmp_path: Path) -> Path:
    folder = tmp_path / "sa1b"
    for name in ("sa_000000/sa_1", "sa_000001/sa_11187"):
        picture(folder / f"{name}.jpg")
        regions = [BOX, ~BOX]
        document = {
            "image": {"image_id": 1, "width": 16, "height": 12, "file_name": f"{Path(name).name}.jpg"},
            "annotations": [
                {
                    "bbox": [4, 2, 6, 6],
                    "area": int(mask.sum()),
                    "segmentation": segmentation(mask),
                    "predicted_iou": 0.98,
                    "point_coords": [[5.0, 3.0]],
                    "crop_box": [0, 0, 16, 12],
                    "id": number,
                    "stability_score": 0.97,
                }
                for number, mask in enumerate(regions)
            ],
        }
        (folder / f"{name}.json").write_text(json.dumps(document))
    return folder


def test_sa1b(sa1b: Path) -> None:
    data = Sa1b(sa1b)
    assert len(data) == 2
    assert data.names == ()
    sample = data[1]
    assert sample.source.endswith("sa_11187.jpg")
    assert sample.names == (None, None)
    np.testing.assert_array_equal(sample.masks, [BOX, ~BOX])
    assert len(Sa1b(sa1b / "sa_000000")) == 1


def test_sa1b_fails(sa1b: Path, tmp_path: Path) -> None:
    data = Sa1b(sa1b)
    file = sa1b / "sa_000000" / "sa_1.json"
    whole = file.read_text()
    for how, message in (
        (lambda d: d.pop("annotations"), "annotations is missing"),
        (lambda d: d["annotations"][1].pop("segmentation"), r"annotations\[1\]\.segmentation is missing"),
        (
            lambda d: d["annotations"][0]["segmentation"].update(size=[16, 12]),
            r"\[0\]\.segmentation\.size is \[16, 12\]",
        ),
        (lambda d: d["annotations"][0]["segmentation"].update(counts="PP"), r"\.counts are not compressed run lengths"),
    ):
        file.write_text(whole)
        change(file, how)
        with pytest.raises(MediaError, match=rf"{message}.*sa_1\.json"):
            data[0]
    file.write_text(whole[:100])
    with pytest.raises(MediaError, match=r"not JSON.*sa_1\.json"):
        data[0]
    (sa1b / "sa_000000" / "sa_1.jpg").unlink()
    with pytest.raises(MediaError, match=r"picture sa_1\.jpg of these masks is missing.*sa_1\.json"):
        Sa1b(sa1b)
    (tmp_path / "empty").mkdir()
    with pytest.raises(MediaError, match=r"no file sa_NUMBER\.json.*empty"):
        Sa1b(tmp_path / "empty")
    with pytest.raises(MediaError, match=r"folder is missing.*nowhere"):
        Sa1b(tmp_path / "nowhere")


def test_large_pictures_are_reduced_with_their_masks(mapillary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "LONGEST", 8)
    sample = Mapillary(mapillary)[0]
    assert sample.image.shape == (6, 8, 3)
    expected = np.zeros((6, 8), bool)
    expected[1:4, 2:5] = True
    np.testing.assert_array_equal(sample.masks[0], expected)
    assert reading.reduced((4000, 3000)) == (8, 6)
    assert reading.reduced((3, 2)) == (3, 2)


def test_layouts_by_name(openimages: Path, phrasecut: Path, mapillary: Path, sa1b: Path, tmp_path: Path) -> None:
    specs = [f"sa1b:{sa1b}=6", f"openimages:{openimages}", f"phrasecut:{phrasecut}=texts", f"mapillary:{mapillary}=1"]
    data = open_data(specs, tmp_path)
    assert set(LAYOUTS) == {spec.partition(":")[0] for spec in specs}
    assert [(pool.size, pool.weight, pool.kind) for pool in pools_of(data)] == [
        (2, 6.0, "regions"),
        (1, None, "both"),
        (1, None, "texts"),
        (1, 1.0, "both"),
    ]
    assert data.names == ("airplane", "bird", "bus", "red bus", "sky", "traffic light")
    assert data[2].names == ("airplane", "traffic light")
    with pytest.raises(MediaError, match="nowhere"):
        open_data([f"sa1b:{tmp_path / 'nowhere'}"], tmp_path)
