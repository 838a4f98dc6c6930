"""Masks from a folder, and encoders that pool under them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from encoders import clip_folder
from encoders.fake import video
from PIL import Image
from typer.testing import CliRunner

from vidmem.cli import app
from vidmem.encoders import load
from vidmem.encoders.masks.folder import FolderMasks, read_masks
from vidmem.encoders.masks.loading import mask_source
from vidmem.errors import ModelError, UsageError
from vidmem.memory import Memory
from vidmem.records import Frame, SourceInfo, SourceKind

H, W = 48, 64


def masks(count: int = 2, height: int = H, width: int = W) -> np.ndarray:
    out = np.zeros((count, height, width), bool)
    for i, mask in enumerate(out):
        mask[:, i * width // count : (i + 1) * width // count] = True
    return out


def test_each_kind_of_file(tmp_path: Path) -> None:
    given = masks()
    np.save(tmp_path / "a.npy", given)
    np.savez_compressed(tmp_path / "b.npz", masks=given.astype(np.float32) / 2)
    Image.fromarray((given[0] * 7 + given[1] * 200).astype(np.uint8)).save(tmp_path / "c.png")
    np.testing.assert_array_equal(read_masks(tmp_path / "a.npy"), given)
    np.testing.assert_array_equal(read_masks(tmp_path / "b.npz"), given / np.float32(2))
    np.testing.assert_array_equal(read_masks(tmp_path / "c.png"), given)
    Image.fromarray(np.zeros((H, W), np.uint8)).save(tmp_path / "d.png")
    assert read_masks(tmp_path / "d.png").shape == (0, H, W)


def test_files_without_masks_fail(tmp_path: Path) -> None:
    def fails(name: str, message: str) -> None:
        with pytest.raises(ModelError, match=message):
            read_masks(tmp_path / name)

    (tmp_path / "a.npy").write_bytes(b"nothing")
    fails("a.npy", "cannot be read")
    np.save(tmp_path / "b.npy", np.zeros((3, 4)))
    fails("b.npy", r"numbers of the shape \(n, H, W\).*float64 of the shape \(3, 4\)")
    np.save(tmp_path / "c.npy", np.array([["x"]]))
    fails("c.npy", "numbers of the shape")
    np.save(tmp_path / "o.npy", np.array([object()]), allow_pickle=True)
    fails("o.npy", "cannot be read")  # a pickle is never run
    np.savez(tmp_path / "d.npz", other=masks())
    fails("d.npz", "under the name masks")
    (tmp_path / "e.npz").write_bytes(b"PK\x03\x04 cut")
    fails("e.npz", "cannot be read")
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "f.png")
    fails("f.png", "one channel, this one is RGB")
    (tmp_path / "g.png").write_bytes(b"\x89PNG")
    fails("g.png", "cannot be read")


def single(image: np.ndarray, kind: SourceKind = SourceKind.VIDEO, index: int = 0) -> tuple[list[Frame], SourceInfo]:
    height, width = image.shape[:2]
    return [Frame(image, 0, index)], SourceInfo("/videos/walk.mp4", kind, width, height, 0, "f")


def test_the_layout_of_a_folder(tmp_path: Path) -> None:
    image = np.zeros((H, W, 3), np.uint8)
    (tmp_path / "walk").mkdir()
    np.save(tmp_path / "walk" / "00000012.npy", masks(3))
    np.save(tmp_path / "walk.npy", masks(4))
    source = FolderMasks(tmp_path)
    (found,) = source.of_frames(*single(image, index=12))
    assert len(found) == 3
    (found,) = source.of_frames(*single(image, SourceKind.PICTURE))
    assert len(found) == 4
    with pytest.raises(ModelError, match=r"no masks for walk/00000013: put 00000013.npz, .npy or .png"):
        list(source.of_frames(*single(image, index=13)))
    with pytest.raises(UsageError, match="belongs to the frames of files"):
        source.of_picture(image)
    with pytest.raises(UsageError, match="there is no such folder: /nowhere"):
        mask_source("/nowhere", None)


def test_masks_of_a_wrong_size_fail_in_one_line(tmp_path: Path) -> None:
    np.save(tmp_path / "walk.npy", masks(2, H + 1, W))
    with pytest.raises(ModelError) as caught:
        list(FolderMasks(tmp_path).of_frames(*single(np.zeros((H, W, 3), np.uint8), SourceKind.PICTURE)))
    assert str(caught.value) == (
        f"the masks have 64 x 49 pixels, the picture 64 x 48; make them from the same picture, neither scaled nor "
        f"turned: {tmp_path}/walk.npy"
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    clip_folder.required()
    return clip_folder.write(tmp_path_factory.mktemp("clip") / "small")


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidmem.encoders.clip.gem.SIDE", 64)
    monkeypatch.setattr("vidmem.encoders.clip.textregion.SIDE", 32)


@pytest.mark.parametrize("family", ["gem", "textregion"])
def test_regions_are_those_of_the_masks(family: str, model: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "walk.npy", masks(2, 128, 128))  # in the size of the original; the working picture is 64 x 64
    encoder: Any = load(f"{family}:local-dir:{model}", "cpu", masks=tmp_path)
    encoder.dtype = torch.float32
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    info = SourceInfo("/videos/walk.mp4", SourceKind.PICTURE, 128, 128, 0, "f")
    (found,) = encoder.encode_frames([Frame(image, 0, 0)], info)
    assert found.boxes.tolist() == [[0, 0, 64, 128], [64, 0, 128, 128]]
    assert found.masks.shape == (2, 8, 8)
    if family == "gem":
        (patches,) = encoder.patches([image])
        mean = patches[:, :4].reshape(-1, patches.shape[-1]).mean(0)
        np.testing.assert_allclose(found.text[0], mean / np.linalg.norm(mean), atol=1e-5)
    else:
        np.testing.assert_allclose(found.text, encoder.regions(image, 128, 128, masks(2, 64, 64)).text, atol=1e-5)
    fine = encoder.encode_fine(Frame(image, 0, 0), info)
    assert fine.masks.shape == (2, 64, 64)
    np.testing.assert_allclose(fine.text, found.text, atol=1e-6)
    np.save(tmp_path / "walk.npy", np.zeros((1, 128, 128), bool))
    (none,) = encoder.encode_frames([Frame(image, 0, 0)], info)
    assert len(none) == 0  # a frame in which a segmenter finds nothing
    assert none.masks.shape[1:] == (8, 8)
    with pytest.raises(ModelError, match="no masks found"):
        encoder.encode_fine(Frame(image, 0, 0), info)


def test_without_masks_nothing_changes(model: Path) -> None:
    encoder: Any = load(f"gem:local-dir:{model}", "cpu")
    assert encoder.masks is None
    frame = Frame(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8), 0, 0)
    (found,) = encoder.encode_frames([frame], SourceInfo("walk.mp4", "video", 64, 64, 0, ""))
    (plain,) = encoder.encode([frame.image], 64, 64)
    np.testing.assert_array_equal(found.visual, plain.visual)


def test_a_video_under_masks(model: Path, tmp_path: Path) -> None:
    clip = video(tmp_path / "walk.mp4", [{"red": (4 * i, 8)} for i in range(3)])
    with Memory.open(tmp_path / "probe", encoder=f"gem:local-dir:{model}", device="cpu") as memory:
        memory.index(clip)
        (row,) = memory.sources()
        frames = row.frames
    folder = tmp_path / "masks"
    (folder / "walk").mkdir(parents=True)
    for i in range(frames):
        np.save(folder / "walk" / f"{i:08d}.npy", masks(2, row.height, row.width))
    spec = f"gem:local-dir:{model}"
    with Memory.open(tmp_path / "memory", encoder=spec, device="cpu", masks=folder) as memory:
        memory.index(clip)
        (row,) = memory.sources()
        seen = list(memory.store.regions(row.id, 0, 1 << 60))
    assert len(seen) == frames
    half = row.width / 2
    assert {tuple(box) for frame in seen for box in frame.boxes.tolist()} <= {
        (0, 0, half, row.height),
        (half, 0, row.width, row.height),
        (0, 0, row.width, row.height),
    }
    (folder / "walk" / "00000001.npy").unlink()
    with (
        Memory.open(tmp_path / "other", encoder=spec, device="cpu", masks=folder) as memory,
        pytest.raises(ModelError, match="no masks for walk/00000001"),
    ):
        memory.index(clip)


def test_photos_under_masks(model: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)).save(photos / "a.png")
    np.save(tmp_path / "a.npy", masks(2, 90, 120))
    spec = f"gem:local-dir:{model}"
    with Memory.open(tmp_path / "memory", encoder=spec, device="cpu", masks=tmp_path) as memory:
        (report,) = memory.index(photos)
        (seen,) = memory.store.regions(1, 0, 1 << 60)
        assert report.tracks == 2
        assert {tuple(box) for box in seen.boxes.tolist()} == {(0, 0, 60, 90), (60, 0, 120, 90)}
        (photos / "a.png").rename(photos / "b.png")
        Image.new("RGB", (120, 90)).save(photos / "c.png")
        with pytest.raises(ModelError, match="no masks for c"):
            memory.index(photos)


def test_ground_under_masks(model: Path, tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)).save(photo)
    np.save(tmp_path / "photo.npy", masks(2, 90, 120))
    args = [
        "ground",
        str(photo),
        "cup",
        "--encoder",
        f"gem:local-dir:{model}",
        "--masks",
        str(tmp_path),
        "--device",
        "cpu",
        "--threshold",
        "-1",
        "--json",
    ]
    result = CliRunner().invoke(app, args)
    assert result.exit_code == 0, result.stderr
    (thing,) = json.loads(result.stdout)["things"]
    assert thing["box"] in ([0, 0, 60, 90], [60, 0, 120, 90])  # to the pixel, not to the patch
    np.save(tmp_path / "photo.npy", masks(2, 30, 30))
    result = CliRunner().invoke(app, args)
    assert result.exit_code == 4
    assert result.stderr.count("\n") == 1
    assert "the masks have 30 x 30 pixels, the picture 120 x 90" in result.stderr
    np.save(tmp_path / "photo.npy", np.zeros((2, 90, 120)))
    result = CliRunner().invoke(app, args)
    assert (result.exit_code, "no masks found" in result.stderr) == (4, True)


def test_an_encoder_that_finds_regions_itself_fails(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="`tiny` finds its regions itself; `masks` is for textregion and gem"):
        load("tiny", "cpu", masks=tmp_path)
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    result = CliRunner().invoke(app, ["ground", str(tmp_path / "a.png"), "cup", "--masks", str(tmp_path)])
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
