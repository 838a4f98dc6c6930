"""`vidmem haystack`, and `vidmem index` on photos."""

from __future__ import annotations

import json
import signal
import time
from contextlib import suppress
from pathlib import Path

import fakes
import numpy as np
import pytest
from fakes import photo
from PIL import Image

from vidmem.errors import StoreError
from vidmem.store import Store

from .conftest import Run, process


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    photo(folder / "1.png", "red", "blue")
    photo(folder / "2.png", "green", "yellow")
    photo(folder / "below" / "3.png", "red")
    return folder


def test_yes_no_not_found(run: Run, photos: Path, tmp_path: Path) -> None:
    result = run("index", photos, "--encoder", "colours")
    assert result.exit_code == 0
    assert f"{photos}: 3 photos indexed in " in result.stderr
    result = run("haystack", "the image with the green thing: is there a yellow thing?", "--save", tmp_path / "s.png")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[1].split() == [
        "yes",
        "1.000",
        "8,32,40,64",
        "1.000",
        "48,32,80,64",
        str(photos / "2.png"),
    ]
    sheet = np.asarray(Image.open(tmp_path / "s.png").convert("RGB")).astype(int)
    assert sheet.shape[1] == 960
    for colour in ((230, 57, 70), (33, 118, 255)):  # both boxes
        assert (np.abs(sheet - colour).sum(-1) < 10).sum() > 500
    document = json.loads(run("haystack", "--anchor", "red", "--target", "green", "--json").stdout)
    assert (document["answer"], document["pictures"], document["near_misses"]) == ("no", 2, [])
    assert document["image"] == str(photos / "1.png")
    assert document["anchor_box"] == [8, 32, 40, 64]
    assert document["recorded_by"] == "mtime"
    none = run("haystack", "--anchor", "cyan", "--target", "green", "--json", "--save", tmp_path / "n.png")
    assert none.exit_code == 1
    assert json.loads(none.stdout)["answer"] == "not found"
    assert len(json.loads(none.stdout)["near_misses"]) == 3
    assert "no picture with 'cyan' was found; nearest:" in none.stderr
    assert not (tmp_path / "n.png").exists()


def test_where_names_the_picture(run: Run, photos: Path) -> None:
    run("index", photos, "--encoder", "colours")
    line = run("where", "yellow").stdout.splitlines()[1].split()
    assert line[0] == "~today"
    assert line[2:] == ["-", "-", "1.000", "-", "48,32,80,64", str(photos / "2.png")]
    sighting = json.loads(run("where", "yellow", "--json").stdout)["sightings"][0]
    assert (sighting["picture"], sighting["recorded_by"]) == (str(photos / "2.png"), "mtime")
    assert [sighting[name] for name in ("start_s", "end_s", "start_ns", "end_ns", "frame_s")] == [None] * 5


def test_damage_is_told(run: Run, photos: Path) -> None:
    (photos / "4.jpg").write_text("no picture")
    result = run("index", photos, photos / "nowhere", "--encoder", "colours")
    assert result.exit_code == 3
    assert f"damaged: {photos / '4.jpg'}: the picture cannot be read (not a picture)" in result.stderr
    assert f"no such file; check the path: {photos / 'nowhere'}" in result.stderr
    again = run("index", photos)
    assert again.exit_code == 3  # it is damaged still
    assert f"{photos}: nothing new; 4 known before" in again.stderr


def test_killed_and_run_again(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(fakes.GATE, str(tmp_path / "gate"))  # never opened: it cannot get to its end
    folder, memory = tmp_path / "many", tmp_path / "memory"
    rng = np.random.default_rng(0)
    for i in range(150):
        path = photo(folder / f"{i}.png", fakes.NAMES[i % 8])
        image = np.array(Image.open(path))
        image[:8] = rng.integers(0, 256, 3)  # no two are the same
        Image.fromarray(image).save(path)
    running = process("index", folder, "--encoder", "colours:gated", memory=memory, wait=False)
    deadline = time.monotonic() + 60
    kept = 0
    while not kept and time.monotonic() < deadline:
        time.sleep(0.1)
        with suppress(StoreError), Store.open(memory) as store:  # none yet, or an empty one
            kept = store.stats().frames
    running.send_signal(signal.SIGKILL)
    running.communicate()
    assert 0 < kept < 150
    result = run("index", folder, "-m", memory)
    assert result.exit_code == 0
    assert "known before" in result.stderr
    assert json.loads(run("ls", "--json", "-m", memory).stdout)[0]["frames"] == 150


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give a question, or --anchor and --target"),
        (("--anchor", "red"), "go together"),
        (("is", "red", "there?"), 'cannot be split; write "the image with the dog'),
        (("the image with the red one: is there a green one?", "--anchor", "red"), "give a question, or"),
        (("--target", "red"), "go together"),
        (("--anchor", "", "--target", "red"), "the anchor or the target is empty"),
        (("--anchor", "красный", "--target", "red"), "cannot read 'красный'"),
        (("--anchor", "red", "--target", "blue", "--rule", "papr"), "no rule 'papr'"),
        (("--anchor", "red", "--target", "blue", "--save", "x.gif"), "--save writes png"),
    ],
)
def test_misused_fails(run: Run, photos: Path, arguments: tuple[str, ...], message: str) -> None:
    run("index", photos, "--encoder", "colours")
    result = run("haystack", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr


def test_a_memory_of_videos_fails(run: Run, indexed: Path) -> None:
    result = run("haystack", "--anchor", "red", "--target", "blue", "-m", indexed)
    assert result.exit_code == 2
    assert "`vidmem index FOLDER` adds some" in result.stderr


@pytest.mark.parametrize("option", [("--pose", "/odom"), ("--topic", "/cam")])
def test_options_of_logs_fail(run: Run, photos: Path, option: tuple[str, str]) -> None:
    result = run("index", photos, *option, "--encoder", "colours")
    assert result.exit_code == 2
    assert "photos have no topics and no poses; leave" in result.stderr
