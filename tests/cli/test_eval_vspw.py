"""`vidmem eval vspw` on small videos: figures by hand, resuming after a kill, damage, and `tiny`."""

from __future__ import annotations

import json
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import fakes
import pytest
from evaluation import vspw_files
from PIL import Image

from vidmem.query.labels import BUILT_IN

from .conftest import process

NAMES = BUILT_IN["vspw"].names


@pytest.fixture
def names(tmp_path: Path) -> Path:
    """VSPW's names, of which `colours` knows two: class 60 (person) is red, class 66 (tree) is blue."""
    words = [f"{name}\tred" if i == 60 else f"{name}\tblue" if i == 66 else name for i, name in enumerate(NAMES)]
    path = tmp_path / "names.txt"
    path.write_text("\n".join(words) + "\n")
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return vspw_files.write(tmp_path_factory.mktemp("vspw"))


@pytest.mark.parametrize("way", ["track", "vote", "frame"])
def test_every_way(run: Any, data: Path, names: Path, tmp_path: Path, way: str) -> None:
    result = run("eval", "vspw", data, "--way", way, "--names", names, "--encoder", "colours", "--out", tmp_path / "o")
    assert result.exit_code == 0, result.stderr
    report = json.loads((tmp_path / "o/report.json").read_text())
    iou = {row["name"]: row["iou"] for row in report["classes"] if row["iou"] is not None}
    assert set(iou) == {NAMES[60], NAMES[66]}
    assert min(iou.values()) > 0.85  # masks are stretched: corners are round
    assert report["miou"] == pytest.approx(sum(iou.values()) / 2)
    assert report["consistency"]["VC8"] > 0.9
    assert report["consistency"]["VC16"] > 0.9
    assert (report["items"], report["frames"]) == (2, 36)
    assert report["tracks"] == (None if way == "frame" else 4)
    page = (tmp_path / "o/report.md").read_text()
    assert "| T-REN | 38.3 | - | - | 254.5 | arXiv 2604.18573, Table 3 |" in page
    assert "`colours` does not know 122 of 124 names" in page


def test_goes_on_and_names_what_is_damaged(run: Any, data: Path, names: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(data, tmp_path / "data"))
    options = ("--encoder", "colours", "--names", names)
    assert run("eval", "vspw", root, *options, "--out", tmp_path / "a", "--limit", 1).exit_code == 0
    frame = root / "data/1_walk/origin/00000003.jpg"
    good = frame.read_bytes()
    frame.write_bytes(b"no picture")
    result = run("eval", "vspw", root, *options, "--out", tmp_path / "a")
    assert result.exit_code == 3
    assert "left out, 1_walk: the frame cannot be read; copy it again:" in result.stderr
    assert "00000003.jpg" in result.stderr
    frame.write_bytes(good)
    mask = root / "data/1_walk/mask/00000003.png"
    mask.unlink()
    assert "1 of 18 frames have no mask" in run("eval", "vspw", root, *options, "--out", tmp_path / "a").stderr
    shutil.copy(data / "data/1_walk/mask/00000003.png", mask)
    assert run("eval", "vspw", root, *options, "--out", tmp_path / "a").exit_code == 0
    assert run("eval", "vspw", root, *options, "--out", tmp_path / "b").exit_code == 0
    for name in ("report.json", "report.md"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    Image.new("L", Image.open(mask).size).save(mask)
    again = run("eval", "vspw", root, *options, "--out", tmp_path / "a")
    assert "1 video done again, since files have changed since: 1_walk" in again.stderr
    assert (tmp_path / "a/report.json").read_bytes() != (tmp_path / "b/report.json").read_bytes()


@pytest.mark.slow
def test_a_killed_run_goes_on(run: Any, names: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`colours:gated` stops after 60 frames, in the second video, where the run is killed."""
    data = vspw_files.write(tmp_path / "data", 2, 32)
    arguments = ("eval", "vspw", data, "--encoder", "colours:gated", "--names", names, "--out")
    monkeypatch.setenv(fakes.GATE, str(tmp_path / "gate"))
    started = process(*arguments, tmp_path / "a", memory=tmp_path / "m", wait=False)
    journal = tmp_path / "a/results.jsonl"
    for _ in range(600):
        if journal.exists() and len(journal.read_text().splitlines()) == 2:
            break
        time.sleep(0.1)
    started.send_signal(signal.SIGKILL)
    started.wait()
    assert len(journal.read_text().splitlines()) == 2
    (tmp_path / "gate").touch()
    for name in ("a", "b"):
        assert run(*arguments, tmp_path / name).exit_code == 0
    for name in ("results.jsonl", "report.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("none",), 4, "the list of the videos is missing; give the folder that has data/ and it: none/val.txt"),
        (("DATA", "--split", "train"), 4, "train.txt"),
        (("DATA", "--way", "pixel"), 2, "--way is one of track, vote, frame"),
        (("DATA", "--features", "regions"), 2, "with --way frame"),
    ],
)
def test_wrong_arguments(
    run: Any, data: Path, tmp_path: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    given = [data if each == "DATA" else each for each in arguments]
    result = run("eval", "vspw", *given, "--encoder", "colours", "--out", tmp_path / "o")
    assert (result.exit_code, said in result.stderr) == (code, True), result.stderr


def test_lists_that_lead_elsewhere(run: Any, tmp_path: Path) -> None:
    for text, said in (("../..\n", "is not the name of a video"), ("\n", "is empty"), ("gone\n", "are missing")):
        (tmp_path / "val.txt").write_text(text)
        result = run("eval", "vspw", tmp_path, "--encoder", "tiny", "--out", tmp_path / "o")
        assert (result.exit_code, said in result.stderr) == (4, True), result.stderr


def test_with_tiny(run: Any, tmp_path: Path) -> None:
    root = vspw_files.write(tmp_path / "data", 1, 9)
    result = run("eval", "vspw", root, "--out", tmp_path / "o")
    assert result.exit_code == 0, result.stderr
    report = json.loads((tmp_path / "o/report.json").read_text())
    assert report["unknown"] == ["escalator", "roaster"]
    assert report["frames"] == 9
    assert report["consistency"]["VC16"] is None
