"""`vidmem parse` and `vidmem export` on a memory of coloured squares."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import Image

from needs import needs
from vidmem.export.labelled_images import from_vspw
from vidmem.export.textanswer import read_answer
from vidmem.export.textmask import decode
from vidmem.media import open_source
from vidmem.query.labels import parse_labels

from .conftest import Run

COLOURS = "red\ngreen\nblue\tstuff\n"


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    path = tmp_path / "colours.txt"
    path.write_text(COLOURS)
    return path


def test_shares(run: Run, indexed: Path, labels: Path) -> None:
    document = json.loads(run("parse", "walk.mp4", "--labels", labels, "--json", "-m", indexed).stdout)
    assert document["frames"] == 60
    rows = {row["label"]: row for row in document["labels"]}
    assert {name: row["frames"] for name, row in rows.items()} == {"red": 30, "green": 40, "blue": 25}
    assert (rows["blue"]["first_s"], rows["blue"]["last_s"]) == pytest.approx((1, 5.8))
    assert (rows["red"]["thing"], rows["blue"]["thing"]) == (True, False)
    square = 32 * 32 / (160 * 96)
    for name, row in rows.items():
        assert row["share"] * 60 / row["frames"] == pytest.approx(square, rel=0.35), name
    table = run("parse", "walk.mp4", "--labels", labels, "-m", indexed).stdout.splitlines()
    assert table[0].split() == ["label", "share", "frames", "first", "last"]
    (row, *_) = csv.DictReader(io.StringIO(run("parse", "walk.mp4", "--labels", labels, "--csv", "-m", indexed).stdout))
    assert row["label"] == "green"


def test_votes_and_things_apart(run: Run, indexed: Path, labels: Path) -> None:
    vote = json.loads(run("parse", "walk.mp4", "--labels", labels, "--way", "vote", "--json", "-m", indexed).stdout)
    assert sum(row["share"] for row in vote["labels"]) == pytest.approx(1, abs=1e-3)
    apart = run("parse", "walk.mp4", "--labels", labels, "--things-apart", "--json", "-m", indexed)
    assert {row["label"] for row in json.loads(apart.stdout)["labels"]} == {"red", "green", "blue"}


def test_every_output(run: Run, indexed: Path, labels: Path, tmp_path: Path, walk: Path) -> None:
    out = {
        name: tmp_path / file
        for name, file in {
            "png": "png",
            "coco": "c.json",
            "text": "t.jsonl",
            "overlay": "o.mp4",
            "plot": "p.png",
        }.items()
    }
    options = [a for name, path in out.items() for a in (f"--{name}", path)]
    result = run("parse", "walk.mp4", "--labels", labels, *options, "--grid", 24, "-m", indexed)
    assert result.exit_code == 0
    assert all(f"saved {path}" in result.stderr for path in out.values())

    pictures = sorted((out["png"] / "data" / "walk" / "mask").glob("*.png"))
    assert [p.name for p in pictures[:2]] == ["00000000.png", "00000001.png"]
    assert len(pictures) == 60
    pixels = np.asarray(Image.open(pictures[25]))  # 5 s: blue at 60, green at 24
    assert pixels.shape == (96, 160)
    assert pixels[48, 76] == 3
    assert pixels[48, 40] == 2
    assert pixels[5, 5] == 0
    assert (out["png"] / "labels.txt").read_text().split() == ["red", "green", "blue"]
    assert (out["png"] / "walk.txt").read_text().splitlines()[25] == "00000025\t5000000000"

    coco = json.loads(out["coco"].read_text())
    assert len(coco["images"]) == 60
    assert [c["supercategory"] for c in coco["categories"]] == ["thing", "thing", "stuff"]
    decoder = needs("pycocotools.mask")
    for item in coco["annotations"]:
        if item["image_id"] == 26:
            mask = decoder.decode({**item["segmentation"], "counts": item["segmentation"]["counts"].encode()})
            np.testing.assert_array_equal(mask.astype(bool), pixels == item["category_id"])
            assert item["area"] == mask.sum()

    lines = [json.loads(line) for line in out["text"].read_text().splitlines()]
    assert len(lines) == 60
    mask = decode(lines[25]["mask"], (24, 24))
    assert {label.name for label in mask.labels} == {"green", "blue"}

    with open_source(out["overlay"]) as source:
        frames = list(source.frames(0))
        assert len(frames) == 60
        with open_source(walk) as original:
            plain = original.frame_at(5_000_000_000).image.astype(int)
        assert abs(frames[25].image.astype(int) - plain)[35:60, 62:90].mean() > 20
        assert abs(frames[25].image.astype(int) - plain)[:20].mean() < 6
    assert Image.open(out["plot"]).size == (960, 460)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("talk.mp4", "--labels", "coco"), 2, "no source is called"),
        (("walk.mp4", "--labels", "none.txt"), 4, "give a text file or vspw, ade20k, coco"),
        (("walk.mp4", "--labels", "coco"), 2, "'motorcycle', 'airplane' and 75 more"),
        (("walk.mp4", "--labels", "LABELS", "--way", "both"), 2, "there are track and vote"),
        (("walk.mp4", "--labels", "LABELS", "--coco", "x.txt"), 2, "--coco writes json"),
        (("walk.mp4", "--labels", "LABELS", "--plot", "x.svg"), 2, "--plot writes png"),
        (("walk.mp4", "--labels", "LABELS", "--overlay", "x.gif"), 2, "--overlay writes mp4"),
        (("walk.mp4", "--labels", "LABELS", "--coco", "/no/such/x.json"), 4, "cannot be written"),
        (("walk.mp4", "--labels", "LABELS", "--text", "/no/such/x"), 4, "cannot be written"),
        (("walk.mp4", "--labels", "LABELS", "--png", "/dev/null/x"), 4, "cannot be written"),
        (("walk.mp4", "--labels", "LABELS", "--plot", "/no/such/x.png"), 4, "cannot be written"),
        (("walk.mp4", "--labels", "LABELS", "--overlay", "/no/such/x.mp4"), 4, "cannot be written"),
    ],
)
def test_parse_misused_fails(
    run: Run, indexed: Path, labels: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    result = run("parse", *(labels if a == "LABELS" else a for a in arguments), "-m", indexed)
    assert (result.exit_code, result.stdout) == (code, "")
    assert message in result.stderr


def test_nothing_labelled_is_exit_code_1(run: Run, tmp_path: Path, labels: Path) -> None:
    folder = tmp_path / "grey"
    folder.mkdir()
    Image.new("RGB", (160, 96), (90, 100, 110)).save(folder / "0.png")
    memory = tmp_path / "memory"
    assert run("index", folder, "--film", "--encoder", "colours", "-m", memory).exit_code == 0
    result = run("parse", "grey", "--labels", labels, "--plot", tmp_path / "p.png", "-m", memory)
    assert (result.exit_code, result.stdout) == (1, "")


def test_too_many_labels_for_pictures_fail(run: Run, indexed: Path, tmp_path: Path) -> None:
    path = tmp_path / "many.txt"
    path.write_text("\n".join(f"red {i}" for i in range(254)))
    result = run("parse", "walk.mp4", "--labels", path, "--png", tmp_path / "png", "-m", indexed)
    assert result.exit_code == 2
    assert "hold 253 labels and there are 254" in result.stderr
    assert not (tmp_path / "png").exists()


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "data.jsonl").read_text("utf-8").splitlines()]


def test_export_from_a_memory(run: Run, indexed: Path, labels: Path, tmp_path: Path) -> None:
    out = tmp_path / "data"
    result = run("export", "--out", out, "--labels", labels, "--every", "2s", "--absent", 1, "--json", "-m", indexed)
    assert result.exit_code == 0
    told = json.loads(result.stdout)
    assert told == {"data": str(out / "data.jsonl"), "pictures": 6, "records": 12}
    made = lines(out)
    assert len(made) == 12
    pictures = sorted({r["images"][0] for r in made})
    assert len(pictures) == 6
    assert all(Image.open(p).size == (160, 96) for p in pictures)
    at_four = [r for r in made if r["images"][0].endswith("0000004000.jpg")]
    mask = read_answer(at_four[0]["response"], (16, 16), ["red", "green", "blue"])
    assert not mask.problems
    assert {label.name for label in mask.mask.labels} == {"green", "blue"}
    assert "red" in at_four[1]["query"]
    assert not read_answer(at_four[1]["response"], (16, 16)).mask.labels
    again = tmp_path / "again"
    run("export", "--out", again, "--labels", labels, "--every", "2s", "--style", "qwen", "-m", indexed)
    assert lines(again)[0]["query"].startswith(f"<img>{again}")


class FakeSam:
    """A fake SAM2 that returns the box of the mask prompt, so that refined masks are rectangles."""

    asked: ClassVar[list[str]] = []

    def __init__(self, size: str) -> None:
        self.asked.append(size)

    def set_image(self, image: Any) -> None:
        self.size = image.shape[:2]

    def predict(self, point_coords: Any, point_labels: Any, mask_input: Any, multimask_output: bool) -> Any:
        x, y = point_coords[point_labels == 1].min(0).astype(int)
        mask = np.zeros(self.size, bool)
        mask[y : y + 48, x : x + 40] = True
        return np.stack([mask] * 3), np.array([0.1, 0.9, 0.2]), np.zeros((3, 256, 256), np.float32)


def test_export_refined(run: Run, indexed: Path, labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidmem.encoders.masks.sam_predictor.load", lambda size, device, weights: size)
    monkeypatch.setattr("vidmem.encoders.masks.sam_predictor.Sam2Predictor", FakeSam)
    plain, out = tmp_path / "plain", tmp_path / "data"
    arguments = ("--labels", labels, "--every", "2s", "-m", indexed)
    assert run("export", "--out", plain, *arguments).exit_code == 0
    assert run("export", "--out", out, "--refine", "sam2:tiny", *arguments).exit_code == 0
    assert FakeSam.asked == ["tiny"]
    for before, after in zip(lines(plain), lines(out), strict=True):
        first, second = (read_answer(r["response"], (16, 16)).mask for r in (before, after))
        assert {label.name for label in first.labels} == {label.name for label in second.labels}
        assert (second.cells >= 0).sum() > (first.cells >= 0).sum()  # a larger rectangle


@pytest.mark.parametrize(
    ("spec", "code", "message"),
    [
        ("sam3", 2, "--refine is sam2 or sam2:SIZE"),
        ("sam2:huge", 4, "no SAM2 'huge'"),
        ("sam2:tiny", 4, "`vidmem models pull sam2:tiny`"),
    ],
)
def test_export_refined_fails(
    run: Run, indexed: Path, labels: Path, tmp_path: Path, spec: str, code: int, message: str
) -> None:
    result = run(
        "export", "--out", tmp_path / "x", "--refine", spec, "--labels", labels, "-m", indexed, "--weights", tmp_path
    )
    assert result.exit_code == code
    assert message in result.stderr


def test_annotations_are_not_refined(run: Run, tmp_path: Path) -> None:
    result = run("export", "--out", tmp_path / "x", "--refine", "sam2", "--vspw", tmp_path)
    assert (result.exit_code, "annotations have their own masks" in result.stderr) == (2, True)


def test_templates_need_an_encoder_with_sentences(run: Run, indexed: Path, labels: Path) -> None:
    result = run("parse", "walk.mp4", "--labels", labels, "--templates", "-m", indexed)
    assert result.exit_code == 2
    assert "`colours` reads no sentences; leave --templates out" in result.stderr


def test_export_labels_what_is_probably_meant(run: Run, indexed: Path, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("red\nwhite\n")  # green and blue are neither

    def labels(*options: str) -> set[str]:
        out = tmp_path / "data"
        result = run("export", "--out", out, "--labels", names, "--every", "1s", *options, "-m", indexed)
        assert result.exit_code == 0, result.stderr
        masks = [read_answer(r["response"], (16, 16)).mask for r in lines(out)]
        return {
            f"{label.name} at {r['images'][0][-8:-4]}"
            for mask, r in zip(masks, lines(out), strict=True)
            for label in mask.labels
        }

    assert {told.split()[0] for told in labels()} == {"red"}
    assert "red at 6000" not in labels()  # blue and green are in view then
    assert "6000" in " ".join(labels("--all"))
    names.write_text("white\n")
    result = run("export", "--out", tmp_path / "none", "--labels", names, "-m", indexed)
    assert (result.exit_code, "--all also uses improbable labels" in result.stderr) == (4, True)
    result = run("export", "--out", tmp_path / "none", "--vspw", tmp_path, "--all")
    assert (result.exit_code, "annotations have their own labels" in result.stderr) == (2, True)


def test_export_takes_single_pictures_where_they_lie(run: Run, copy: Path, labels: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, colour in (("a", (255, 0, 0)), ("b", (0, 0, 255))):
        picture = Image.new("RGB", (160, 96), (90, 100, 110))
        picture.paste(colour, (32, 32, 64, 64))
        picture.save(folder / f"{name}.png")
    assert run("index", folder, "-m", copy).exit_code == 0
    out, arguments = tmp_path / "data", ("--labels", labels, "-m", copy)
    assert run("export", "--out", out, *arguments).exit_code == 0
    shown = {r["images"][0]: r for r in lines(out)}
    assert {str(folder / "a.png"), str(folder / "b.png")} < set(shown)  # beside the video's
    mask = read_answer(shown[str(folder / "a.png")]["response"], (16, 16)).mask
    assert [label.name for label in mask.labels] == ["red"]
    assert mask.cells[8, 4] == 0
    assert mask.cells[1, 12] == -1
    (folder / "b.png").unlink()
    result = run("export", "--out", out, "--source", "photos", *arguments)
    assert result.exit_code == 3
    assert [r["images"] for r in lines(out)] == [[str(folder / "a.png")]]
    assert f"left out, no longer there: {folder / 'b.png'}" in result.stderr
    result = run("parse", "photos", "--labels", labels, "-m", copy)
    assert (result.exit_code, "photos are not parsed" in result.stderr) == (2, True)


def test_export_leaves_out_what_is_gone(run: Run, walk: Path, tmp_path: Path, labels: Path) -> None:
    memory, here = tmp_path / "m", tmp_path / "other.mp4"
    shutil.copy(walk, here)
    run("index", here, "--encoder", "colours", "-m", memory)
    picture = tmp_path / "red" / "0.png"
    picture.parent.mkdir()
    Image.new("RGB", (160, 96), (255, 0, 0)).save(picture)
    run("index", picture.parent, "--film", "--encoder", "colours", "-m", memory)
    here.unlink()
    result = run("export", "--out", tmp_path / "data", "--labels", labels, "-m", memory)
    assert result.exit_code == 3
    assert "left out, the video is no longer there" in result.stderr
    shutil.rmtree(picture.parent)
    assert run("export", "--out", tmp_path / "none", "--labels", labels, "-m", memory).exit_code == 4
    assert not (tmp_path / "none").exists()


def test_export_from_coco(run: Run, tmp_path: Path) -> None:
    needs("pycocotools")
    Image.new("RGB", (40, 20)).save(tmp_path / "a.png")
    boxes = {"cup": [[0, 0, 10, 0, 10, 20, 0, 20]], "mug": [[20, 0, 30, 0, 30, 20, 20, 20]]}
    items = [("cup", boxes["cup"]), ("cup", boxes["mug"])]
    document = {
        "images": [{"id": 1, "file_name": "a.png", "width": 40, "height": 20}],
        "categories": [{"id": 5, "name": "cup"}, {"id": 6, "name": "drum"}],
        "annotations": [
            {"id": i, "image_id": 1, "category_id": 5, "segmentation": s} for i, (_, s) in enumerate(items)
        ],
    }
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(document))
    out = tmp_path / "data"
    assert run("export", "--out", out, "--coco", path, "--instances", "--ask", "each").exit_code == 0
    (record,) = lines(out)
    assert "cup #1 *4| others *4| cup #2 *4| others *4\n" in record["response"]
    assert record["images"] == [str(tmp_path / "a.png")]
    assert run("export", "--out", out, "--coco", path, "--form", "legacy").exit_code == 0
    assert "cup *4| others *4| cup *4| others *4\n" in lines(out)[0]["response"]
    path.write_text("{")
    assert run("export", "--out", out, "--coco", path).exit_code == 4


@pytest.fixture
def vspw(tmp_path: Path) -> Path:
    folder = tmp_path / "VSPW"
    for video in ("a", "b"):
        for kind in ("origin", "mask"):
            (folder / "data" / video / kind).mkdir(parents=True)
        Image.new("RGB", (32, 32)).save(folder / "data" / video / "origin" / "00000001.jpg")
        mask = np.zeros((32, 32), np.uint8)
        mask[:8], mask[8:16], mask[16:24] = 1, 254, 29  # wall, ignored, sky; the rest unlabelled
        Image.fromarray(mask).save(folder / "data" / video / "mask" / "00000001.png")
    (folder / "train.txt").write_text("b\n")
    return folder


def test_export_from_vspw(run: Run, vspw: Path, tmp_path: Path) -> None:
    out = tmp_path / "data"
    assert json.loads(run("export", "--out", out, "--vspw", vspw, "--json").stdout)["pictures"] == 2
    mask = read_answer(lines(out)[0]["response"], (16, 16)).mask
    assert [label.name for label in mask.labels] == ["wall", "sky"]
    assert mask.cells[:, 0].tolist() == [0] * 4 + [-1] * 4 + [1] * 4 + [-1] * 4
    assert run("export", "--out", out, "--vspw", vspw, "--split", "train").exit_code == 0
    assert [r["images"][0].split("/")[-3] for r in lines(out)] == ["b"]


def test_damaged_vspw_fails(run: Run, vspw: Path, tmp_path: Path) -> None:
    out = tmp_path / "data"
    known = parse_labels("wall\n", "x")
    with pytest.raises(Exception, match="class 28 is in the mask and there are 1 labels"):
        list(from_vspw(vspw, None, known, (16, 16)))
    (vspw / "up.txt").write_text("../..\n")
    for split, message in (("none", "the split cannot be read"), ("up", "is not in data/")):
        result = run("export", "--out", out, "--vspw", vspw, "--split", split)
        assert result.exit_code == 4
        assert message in result.stderr
    mask = vspw / "data" / "a" / "mask" / "00000001.png"
    Image.new("L", (16, 32)).save(mask)
    assert "the mask is 16x32, the picture 32x32" in run("export", "--out", out, "--vspw", vspw).stderr
    Image.new("RGB", (32, 32)).save(mask)
    assert "mode RGB" in run("export", "--out", out, "--vspw", vspw).stderr
    mask.unlink()
    assert "mask of a picture is missing" in run("export", "--out", out, "--vspw", vspw).stderr
    (vspw / "data" / "a" / "origin" / "00000001.jpg").unlink()
    assert "has no pictures" in run("export", "--out", out, "--vspw", vspw).stderr
    assert "not VSPW's layout" in run("export", "--out", out, "--vspw", tmp_path).stderr
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give --labels FILE"),
        (("--coco", "x", "--vspw", "y"), "give one of them"),
        (("--vspw", "x", "--source", "y"), "give one of them"),
        (("--format", "yolo"), "--format is text4seg"),
        (("--form", "loose"), "--form is strict or legacy"),
        (("--labels", "LABELS", "--every", "soon"), "is not a time"),
        (("--labels", "LABELS", "--style", "gpt"), "--style is one of"),
        (("--labels", "LABELS", "--ask", "none"), "--ask all or each"),
        (("--labels", "LABELS", "--source", "talk.mp4"), "no source is called"),
    ],
)
def test_export_misused_fails(
    run: Run, indexed: Path, labels: Path, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    given = [labels if a == "LABELS" else a for a in arguments]
    result = run("export", "--out", tmp_path / "data", *given, "-m", indexed)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not (tmp_path / "data" / "data.jsonl").exists()
