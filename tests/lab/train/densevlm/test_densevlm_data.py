"""Pictures, squares, grids in batches, and prompts."""

from __future__ import annotations

import warnings
from pathlib import Path

import dense_making as making
import numpy as np
import pytest
import torch
from PIL import Image

from lab.train.densevlm.data import Squares, collate, find_pictures, squared
from lab.train.densevlm.grids import CHOICES
from lab.train.densevlm.texts import load_prompts
from vidmem.errors import MediaError, UsageError


def test_pictures_are_found_at_any_depth_in_a_fixed_order(tmp_path: Path) -> None:
    folder = making.pictures(tmp_path / "set")
    (folder / "notes.txt").write_text("no picture")
    (folder / ".hidden.png").write_bytes(b"")
    (folder / ".cache").mkdir()
    (folder / ".cache" / "x.png").write_bytes(b"")
    found = find_pictures([folder])
    names = [str(Path(path).relative_to(folder)) for path in found.paths]
    assert names == ["0.png", "2.png", "4.png", "more/1.png", "more/3.png", "more/5.png"]
    folder.rename(tmp_path / "moved")
    assert find_pictures([tmp_path / "moved"]).sha256 == found.sha256
    (tmp_path / "moved" / "0.png").rename(tmp_path / "moved" / "9.png")
    assert find_pictures([tmp_path / "moved"]).sha256 != found.sha256
    assert len(find_pictures([tmp_path / "moved", tmp_path / "moved" / "more"])) == 9


def test_links_are_followed_and_end(tmp_path: Path) -> None:
    folder = making.pictures(tmp_path / "set", 2)
    other = making.pictures(tmp_path / "other", 1)
    (folder / "more" / "loop").symlink_to(folder)
    (folder / "linked").symlink_to(other)
    names = [str(Path(path).relative_to(folder)) for path in find_pictures([folder]).paths]
    assert names == ["0.png", "linked/0.png", "more/1.png"]


def test_a_changed_picture_is_noticed(tmp_path: Path) -> None:
    folder = making.pictures(tmp_path / "set", 1)
    (folder / "gone.png").symlink_to(tmp_path / "nowhere.png")
    before = find_pictures([folder])
    with open(before.paths[0], "ab") as stream:
        stream.write(b"more")
    after = find_pictures([folder])
    assert after.paths == before.paths
    assert after.sha256 != before.sha256


def test_folders_without_pictures_fail(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="no such folder of pictures"):
        find_pictures([tmp_path / "none"])
    full = making.pictures(tmp_path / "full", 1)
    (tmp_path / "empty" / "below").mkdir(parents=True)
    with pytest.raises(MediaError, match=r"no picture \(.*\.jpg.*empty"):
        find_pictures([full, tmp_path / "empty"])


@pytest.mark.parametrize(("size", "filled"), [((60, 40), (32, 21)), ((30, 70), (14, 32)), ((5, 5), (32, 32))])
def test_a_picture_is_scaled_to_its_longest_side(
    tmp_path: Path, size: tuple[int, int], filled: tuple[int, int]
) -> None:
    Image.new("RGB", size, (10, 200, 30)).save(tmp_path / "a.png")
    square, width, height = squared(tmp_path / "a.png", 32)
    assert (width, height) == filled
    assert square.shape == (3, 32, 32)
    assert square[:, :height, :width].unique(dim=0).flatten(1).unique(dim=1).shape == (3, 1)
    assert square[:, 0, 0].tolist() == [10, 200, 30]
    assert not square[:, height:].any()
    assert not square[:, :, width:].any()


def test_pictures_are_turned_upright(tmp_path: Path) -> None:
    picture = Image.new("RGB", (60, 30), "red")
    exif = picture.getexif()
    exif[0x0112] = 6  # turned by a quarter
    picture.save(tmp_path / "a.jpg", exif=exif)
    assert squared(tmp_path / "a.jpg", 32)[1:] == (16, 32)


def test_a_large_jpeg_is_read_in_part_and_gives_the_same_picture(tmp_path: Path) -> None:
    y, x = np.mgrid[:900, :1200]
    smooth = np.stack([x / 1200, y / 900, (x + y) / 2100], 2) * 255
    Image.fromarray(smooth.astype(np.uint8)).save(tmp_path / "a.jpg", quality=95)
    Image.fromarray(smooth.astype(np.uint8)).save(tmp_path / "a.png")
    ours, plain = (squared(tmp_path / name, 64)[0].float() for name in ("a.jpg", "a.png"))
    assert (ours - plain).abs().max() < 6


def test_grids_cover_the_picture_and_not_the_padding(tmp_path: Path) -> None:
    found = find_pictures([making.pictures(tmp_path / "set")])
    squares = Squares(found, 32, seed=5)
    drawn = set()
    for position in range(60):
        item = squares[(position, position % 6)]
        _, width, height = squared(found.paths[position % 6], 32)
        boxes = item["boxes"] * 32
        assert boxes[0, :2].tolist() == [0, 0]
        torch.testing.assert_close(boxes[-1, 2:], torch.tensor([width, height]).float())
        rows = len(boxes[:, 1].unique())
        drawn.add((rows, len(boxes) // rows))
    assert drawn <= set(CHOICES)
    assert len(drawn) > 10
    again = Squares(found, 32, seed=5)[(7, 2)]["boxes"]
    assert torch.equal(again, squares[(7, 2)]["boxes"])
    others = [Squares(found, 32, seed=s)[(7, 2)]["boxes"] for s in range(10)]
    assert len({len(boxes) for boxes in others}) > 1


def test_batches_and_their_parts(tmp_path: Path) -> None:
    squares = Squares(find_pictures([making.pictures(tmp_path / "set")]), 32, 0)
    batch = collate([squares[(n, n)] for n in range(4)])
    assert batch.images.shape == (4, 3, 32, 32)
    assert batch.images.dtype == torch.uint8
    assert len(batch.boxes) == sum(batch.counts)
    first, second = batch.parts(2)
    assert torch.equal(torch.cat([first.boxes, second.boxes]), batch.boxes)
    assert first.counts + second.counts == batch.counts
    assert torch.equal(second.images, batch.images[2:])
    cells = batch.boxes_on(4, 8)
    assert [len(boxes) for boxes in cells] == list(batch.counts)
    torch.testing.assert_close(cells[0], batch.boxes[: batch.counts[0]] * torch.tensor([8.0, 4, 8, 4]))


def test_damaged_pictures_are_replaced_and_named(tmp_path: Path) -> None:
    folder = making.pictures(tmp_path / "set")
    (folder / "0.png").write_bytes(b"not a picture")
    whole = (folder / "2.png").read_bytes()
    (folder / "2.png").write_bytes(whole[: len(whole) // 2])
    squares = Squares(find_pictures([folder]), 32, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        item = squares[(0, 0)]
    assert [Path(path).name for path, _ in item["damaged"]] == ["0.png", "2.png"]
    assert all(reason for _, reason in item["damaged"])
    assert torch.equal(item["image"], squares[(0, 2)]["image"])
    assert torch.equal(item["image"], squared(folder / "4.png", 32)[0])
    assert len(collate([item, squares[(1, 0)]]).damaged) == 2


def test_a_folder_of_damaged_pictures(tmp_path: Path) -> None:
    for n in range(3):
        (tmp_path / f"{n}.jpg").write_bytes(b"\xff\xd8\xff")
    batch = collate([Squares(find_pictures([tmp_path]), 32, 0)[(0, 1)]])
    assert len(batch) == 0
    assert len(batch.damaged) == 3


def test_prompts(tmp_path: Path) -> None:
    assert len(load_prompts("imagenet")) == 80
    assert all("{}" in prompt for prompt in load_prompts("scene"))
    path = tmp_path / "mine.txt"
    path.write_text("a {} here\n\n the {} there \n")
    assert load_prompts(str(path)) == ("a {} here", "the {} there")
    path.write_text("a thing\n")
    with pytest.raises(UsageError, match=r"'a thing' has no \{\} for the name"):
        load_prompts(str(path))
    path.write_text("\n")
    with pytest.raises(UsageError, match="there is no prompt"):
        load_prompts(str(path))
    with pytest.raises(MediaError, match="imagenet, scene, plain"):
        load_prompts(str(tmp_path / "none.txt"))
