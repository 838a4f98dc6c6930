"""Photographs from tars made here: names, boxes, what is held out, outlines."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from lab.photos import LONGEST, Photo, Region, cut, grab, read_caltech, read_photos
from needs import needs


def jpeg(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=95)
    return out.getvalue()


def disc(size: tuple[int, int] = (160, 120), colour: tuple[int, int, int] = (220, 30, 30)) -> Image.Image:
    image = Image.new("RGB", size, (40, 90, 60))
    w, h = size
    ImageDraw.Draw(image).ellipse((w * 0.25, h * 0.2, w * 0.75, h * 0.8), fill=colour)
    return image


def pack(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return path


def test_the_last_third_of_each_folder_is_held_out(tmp_path: Path) -> None:
    files = {f"101/{folder}/{i:04d}.jpg": jpeg(disc()) for folder in ("cup", "Faces_easy") for i in range(6)}
    files["101/BACKGROUND_Google/0000.jpg"] = jpeg(disc())
    photos = list(read_caltech(pack(tmp_path / "c.tar", files)))
    assert len(photos) == 12
    assert {p.regions[0].name for p in photos} == {"cup", "face"}
    assert [p.held_out for p in photos if "cup" in p.name] == [False] * 4 + [True] * 2
    assert all(p.whole and p.regions[0].box == (0, 0, 160, 120) for p in photos)


def test_boxes_follow_a_photo_that_is_made_smaller(tmp_path: Path) -> None:
    wide = disc((LONGEST * 2, 200))
    content = {
        "images": [{"id": i, "file_name": f"coco_cc/{i}.jpg"} for i in range(3)],
        "categories": [{"id": 7, "name": "cup"}],
        "annotations": [
            {
                "image_id": 0,
                "category_id": 7,
                "bbox": [100, 20, 50, 40],
                "iscrowd": 0,
                "segmentation": [[100, 20, 150, 20, 150, 60]],
            },
            {"image_id": 0, "category_id": 7, "bbox": [0, 0, 9, 9], "iscrowd": 1, "segmentation": {"counts": "x"}},
        ],
    }
    files = {f"photos/images/coco_cc/{i}.jpg": jpeg(wide) for i in range(3)}
    files |= {"photos/coco_cc.json": json.dumps(content).encode(), "photos/sources.json": b"[]"}
    first, _, last = read_photos(pack(tmp_path / "p.tar", files))
    assert first.size == (LONGEST, 100)
    assert [r.box for r in first.regions] == [(50, 10, 75, 30)]
    assert first.regions[0].polygons == ((50, 10, 75, 10, 75, 30),)
    assert (first.held_out, last.held_out) == (False, True)
    (mask,) = first.masks()
    assert mask.shape == (100, LONGEST)
    assert mask[12, 70]
    assert not mask[28, 52]  # below the slope


def test_a_brand_is_what_is_in_it(tmp_path: Path) -> None:
    content = {
        "images": [{"id": 1, "file_name": "grocery/1.jpg"}],
        "categories": [{"id": 1, "name": "arla standard milk"}],
        "annotations": [{"image_id": 1, "category_id": 1, "bbox": [0, 0, 160, 120]}],
    }
    files = {"photos/images/grocery/1.jpg": jpeg(disc()), "photos/grocery.json": json.dumps(content).encode()}
    (photo,) = read_photos(pack(tmp_path / "p.tar", files))
    assert photo.regions[0].name == "milk"
    assert photo.whole


def photo_of(image: Image.Image, mask: bytes = b"") -> Photo:
    return Photo("caltech", "x", jpeg(image), image.size, [Region((0, 0, *image.size), "disc")], False, True, mask)


def test_grabcut_finds_the_thing_in_the_middle() -> None:
    needs("cv2")
    noise = np.random.default_rng(0).normal(0, 12, (120, 160, 3))  # what a camera does; flat colours are degenerate
    photo = photo_of(Image.fromarray(np.clip(np.asarray(disc()) + noise, 0, 255).astype(np.uint8)))
    photo.mask = grab(photo)
    truth = np.asarray(disc())[..., 0] > 130
    (found,) = photo.masks()
    assert (found & truth).sum() / (found | truth).sum() > 0.8
    picture = cut(photo, 0)
    assert picture is not None
    assert picture.mode == "RGBA"
    assert abs(picture.width - 80) < 12
    assert picture.getpixel((picture.width // 2, picture.height // 2))[3] == 255  # type: ignore[index]


def test_grabcut_gives_up_where_there_is_no_thing() -> None:
    needs("cv2")
    assert grab(photo_of(Image.new("RGB", (120, 90), (90, 90, 90)))) == b""


def test_what_has_no_outline_cannot_be_cut() -> None:
    assert cut(photo_of(disc()), 0) is None
