"""Data sets for semantic segmentation: layouts, numbers of classes, and what is damaged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from evaluation import segmentation_files as files
from PIL import Image

from needs import needs
from vidmem.errors import MediaError, UsageError
from vidmem.evaluation.label_pictures import IGNORED, read_numbers
from vidmem.evaluation.ovss_names import built_in_names, read_names
from vidmem.evaluation.ovss_run import truth_of
from vidmem.evaluation.ovss_sets import SETS, open_set

AT = {"red": (20, 40), "blue": (60, 100), "ground": (90, 10)}
"""A pixel of each part of the pictures."""


@pytest.mark.parametrize(
    ("name", "write", "red", "blue", "ground"),
    [
        ("ade20k", files.ade20k, "sky", "person", None),
        ("cityscapes", files.cityscapes, "car", "sky", None),
        ("cityscapes", lambda root: files.cityscapes(root, trained=True), "car", "sky", None),
        ("voc20", files.voc, "car", "cat", None),
        ("voc21", files.voc, "car", "cat", "background"),
        ("context59", files.context, "bench", "sky", None),
        ("context60", files.context, "bench", "sky", "background"),
        ("coco-stuff", files.coco, "person", "sky-other", None),
        ("coco-stuff", lambda root: files.coco(root, trained=True), "person", "sky-other", None),
        ("coco-object", files.coco, "person", "background", "background"),
    ],
)
def test_every_layout_gives_the_right_classes(
    name: str, write: Callable[[Path], Path], red: str, blue: str, ground: str | None, tmp_path: Path
) -> None:
    data = open_set(name, write(tmp_path))
    truth = truth_of(data, data.pairs[0])
    assert truth.shape == (files.HEIGHT, files.WIDTH)
    for part, wanted in (("red", red), ("blue", blue), ("ground", ground)):
        number = int(truth[AT[part]])
        assert (data.names[number] if number != IGNORED else None) == wanted


def test_void_does_not_count(tmp_path: Path) -> None:
    data = open_set("voc21", files.voc(tmp_path))
    assert (truth_of(data, data.pairs[0])[0] == IGNORED).all()


def test_the_authors_files_of_context(tmp_path: Path) -> None:
    needs("scipy")
    from scipy.io import savemat

    names = built_in_names("context59")[0]
    listed = ["accordion", *names, "zebra"]
    files.save(tmp_path / "JPEGImages/2008_000002.jpg", files.picture())
    numbers = files.labels(1 + listed.index("bench"), 1 + listed.index("sky"), 1).astype(np.uint16)
    (tmp_path / "trainval").mkdir()
    savemat(tmp_path / "trainval/2008_000002.mat", {"LabelMap": numbers})
    with pytest.raises(MediaError, match=r"labels\.txt"):
        open_set("context59", tmp_path)
    files.write_lines(tmp_path / "labels.txt", *(f"{i}: {name}" for i, name in enumerate(listed, 1)))
    with pytest.raises(MediaError, match="the list of pictures is missing"):
        open_set("context59", tmp_path)
    files.write_lines(tmp_path / "trainval/val.txt", "2008_000002")
    for name, ground in (("context59", IGNORED), ("context60", 0)):
        data = open_set(name, tmp_path)
        truth = truth_of(data, data.pairs[0])
        assert data.names[truth[AT["red"]]] == "bench"
        assert truth[AT["ground"]] == ground
    (tmp_path / "trainval/2008_000002.mat").write_bytes(b"MATLAB 5.0 MAT-file, but damaged")
    with pytest.raises(MediaError, match="cannot be read"):
        truth_of(data, data.pairs[0])
    savemat(tmp_path / "trainval/2008_000002.mat", {"Other": numbers})
    with pytest.raises(MediaError, match="no matrix of whole numbers called LabelMap"):
        truth_of(data, data.pairs[0])


def test_names_are_distinct_and_of_the_right_number() -> None:
    counts = {"ade20k": 150, "cityscapes": 19, "voc20": 20, "context59": 59, "coco-stuff171": 171, "coco": 80}
    for name, count in counts.items():
        names, words = built_in_names(name)
        assert len(set(names)) == len(set(words)) == count
    names, words = built_in_names("coco-stuff171")
    assert (names[80], names[170]) == ("banner", "wood")
    assert words[names.index("wall-brick")] == "brick wall"
    assert dict(zip(*built_in_names("voc20"), strict=True))["diningtable"] == "dining table"
    assert len(SETS) == 8


def test_names_of_the_user(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("road\tstreet\nsky\n")
    assert read_names(path, 2) == (("road", "sky"), ("street", "sky"))
    with pytest.raises(UsageError, match="there are 19 classes and 2 names"):
        read_names(path, 19)
    path.write_text("road\ta\tb\n")
    with pytest.raises(UsageError, match="line 1 is not a name"):
        read_names(path, 1)
    path.write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(MediaError, match="UTF-8"):
        read_names(path, 1)
    with pytest.raises(MediaError, match="check the path"):
        read_names(tmp_path / "none.txt", 1)


def test_a_folder_of_something_else(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="check the path"):
        open_set("ade20k", tmp_path / "none")
    for name in SETS:
        with pytest.raises(MediaError, match=r"missing|unpack"):
            open_set(name, tmp_path)
    with pytest.raises(UsageError, match="there is no data set 'mapillary'"):
        open_set("mapillary", tmp_path)
    with pytest.raises(MediaError, match="train"):
        open_set("ade20k", files.ade20k(tmp_path / "a"), "train")
    root = files.voc(tmp_path / "v")
    files.write_lines(root / "VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt", "../../etc/passwd")
    with pytest.raises(MediaError, match="line 1 of the list is not the name of a picture"):
        open_set("voc20", root)


def test_label_pictures_that_are_none(tmp_path: Path) -> None:
    Image.fromarray(files.picture()).save(tmp_path / "rgb.png")
    (tmp_path / "text.png").write_text("no picture")
    Image.fromarray(files.picture()).save(tmp_path / "jpeg.png", "JPEG")
    wide = np.array([[0, 300], [459, 65535]], np.uint16)
    Image.fromarray(wide).save(tmp_path / "wide.png")
    np.testing.assert_array_equal(read_numbers(tmp_path / "wide.png"), wide)
    for name, said in (
        ("rgb.png", "has mode RGB"),
        ("text.png", "cannot be read"),
        ("jpeg.png", "cannot be read"),
        ("none.png", "is missing"),
    ):
        with pytest.raises(MediaError, match=said) as caught:
            read_numbers(tmp_path / name)
        assert str(caught.value).endswith(str(tmp_path / name))
