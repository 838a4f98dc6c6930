"""Training sets on disk: the same bytes whatever interrupts or divides the work, and a manifest that is true."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sets

from vidmem.errors import LockedError, MediaError, UsageError
from vidmem.export.trainset import shards
from vidmem.export.trainset.content import Conversation, Labelled, Unit
from vidmem.export.trainset.make import Settings
from vidmem.export.trainset.plan import label_units, ordered, repeated, with_chat
from vidmem.export.trainset.shards import write_set
from vidmem.store.lock import take_lock

SETTINGS = Settings(
    style="internvl",
    form="strict",
    grids=(8, 16),
    mix=(("refer", 1), ("open", 1), ("part", 3), ("given", 6), ("absent", 1)),
    distractors=2,
    turns=2,
    crop=0,
    crops="",
    seed=3,
)
ABOUT = {"options": {"seed": 3}}


@pytest.fixture
def units(tmp_path: Path) -> list[Unit]:
    labels, pictures = sets.label_images(tmp_path, 6)
    return ordered(repeated(label_units(labels, pictures, 0, ("sky", "grass", "house", "moon"), print), 5), 3)


def write(units: list[Unit], folder: Path, **more: Any) -> dict[str, Any]:
    return write_set(units, SETTINGS, folder, **{"files": 5, "about": ABOUT, **more})


def test_files_and_manifest(units: list[Unit], tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    manifest = write(units, tmp_path / "set", done=lambda *n: told.append(n))
    assert told == [(i, 5) for i in range(1, 6)]
    made = sets.files(tmp_path / "set")
    assert sorted(made) == [*(f"data-0000{i}-of-00005.jsonl" for i in range(5)), "manifest.json"]
    assert json.loads(made["manifest.json"]) == manifest
    assert [(f["file"], f["records"]) for f in manifest["files"]] == [
        (f"data-0000{i}-of-00005.jsonl", 6) for i in range(5)
    ]
    assert all(f["sha256"] == hashlib.sha256(made[f["file"]]).hexdigest() for f in manifest["files"])
    assert manifest["records"] == len(sets.lines(tmp_path / "set")) == 30
    assert sum(manifest["tasks"].values()) == 30 + sum("history" in line for line in sets.lines(tmp_path / "set"))
    assert sum(manifest["grids"].values()) == 30
    assert (manifest["skipped"], manifest["too_small"], manifest["options"]) == ([], 0, {"seed": 3})


@pytest.mark.parametrize("files", [1, 4, 7, 30, 99])
def test_records_are_divided_evenly(units: list[Unit], tmp_path: Path, files: int) -> None:
    sizes = [f["records"] for f in write(units, tmp_path / "set", files=files)["files"]]
    assert len(sizes) == min(files, 30)
    assert sum(sizes) == 30
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.slow
def test_the_number_of_processes_changes_nothing(
    units: list[Unit], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "SMALL", 0)
    write(units, tmp_path / "one", workers=1)
    write(units, tmp_path / "three", workers=3)
    assert sets.files(tmp_path / "one") == sets.files(tmp_path / "three")


def test_the_seed_changes_the_words_and_the_folder_does_not(units: list[Unit], tmp_path: Path) -> None:
    write(units, tmp_path / "a")
    write(units, tmp_path / "b")
    assert sets.files(tmp_path / "a") == sets.files(tmp_path / "b")
    write_set(units, replace(SETTINGS, seed=4), tmp_path / "c", files=5, about=ABOUT)
    assert sets.lines(tmp_path / "a") != sets.lines(tmp_path / "c")


def test_only_missing_files_are_written(units: list[Unit], tmp_path: Path) -> None:
    folder = tmp_path / "set"
    write(units, folder)
    whole = sets.files(folder)
    (folder / "data-00001-of-00005.jsonl").unlink()
    (folder / "data-00003-of-00005.jsonl").write_bytes(b"damaged\n")
    kept = (folder / "data-00002-of-00005.jsonl").stat()
    write(units, folder)
    assert sets.files(folder) == whole
    assert (folder / "data-00002-of-00005.jsonl").stat().st_ino == kept.st_ino
    told: list[Any] = []
    write(units, folder, done=lambda *n: told.append(n))
    assert told == []  # a complete set is not written again


@pytest.mark.parametrize("stop_at", range(1, 6))
def test_a_set_that_failed_goes_on(
    units: list[Unit], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at: int
) -> None:
    write(units, tmp_path / "whole")
    write_file, calls = shards.write_file, [0]

    def failing(*job: Any) -> Any:
        calls[0] += 1
        if calls[0] == stop_at:
            raise OSError(28, "No space left on device")
        return write_file(*job)

    monkeypatch.setattr(shards, "write_file", failing)
    with pytest.raises(MediaError, match="No space left on device"):
        write(units, tmp_path / "set")
    assert not (tmp_path / "set" / "manifest.json").exists()
    write(units, tmp_path / "set")
    assert calls[0] == 6  # five files, and the one that failed once more
    assert sets.files(tmp_path / "set") == sets.files(tmp_path / "whole")


KILLED = """
import sys
from pathlib import Path
sys.path[:0] = {path!r}
import time
import test_shards as t
from vidmem.export.trainset import make, shards
if __name__ == "__main__":
    folder = Path(sys.argv[1])
    labels, pictures = folder / "labels", folder / "pictures"
    units = t.ordered(t.repeated(t.label_units(labels, pictures, 0, ("sky", "grass", "house", "moon"), print), 5), 3)
    slow = make.make
    def made(*a):
        print("record", flush=True)
        return slow(*a)
    shards.make = made
    t.write(units, folder / "set")
"""


@pytest.mark.slow
def test_a_killed_set_goes_on_with_the_same_bytes(units: list[Unit], tmp_path: Path) -> None:
    write(units, tmp_path / "whole")
    code = KILLED.format(path=[str(Path(__file__).parent), str(Path(__file__).parents[2])])
    (tmp_path / "killed.py").write_text(code)
    done = 0
    for records in (4, 11, 3, 9):  # in the middle of a file, and just after one
        process = subprocess.Popen(
            [sys.executable, tmp_path / "killed.py", tmp_path],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert process.stdout is not None
        for _ in range(records):
            process.stdout.readline()
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        finished = len(list((tmp_path / "set").glob("data-*.jsonl")))
        assert finished >= done
        done = finished
        assert not (tmp_path / "set" / "manifest.json").exists()
    assert 0 < done < 5
    write(units, tmp_path / "set")
    assert sets.files(tmp_path / "set") == sets.files(tmp_path / "whole")


@pytest.mark.slow
def test_workers_end_with_their_parent(tmp_path: Path) -> None:
    code = (
        "import multiprocessing, time\nfrom vidmem.export.trainset import shards\n"
        "from concurrent.futures import ProcessPoolExecutor\nimport os\n"
        "if __name__ == '__main__':\n"
        "    context = multiprocessing.get_context('spawn')\n"
        "    pool = ProcessPoolExecutor(1, mp_context=context, initializer=shards._start)\n"
        "    print(pool.submit(os.getpid).result(), flush=True)\n    time.sleep(60)\n"
    )
    (tmp_path / "parent.py").write_text(code)
    parent = subprocess.Popen([sys.executable, tmp_path / "parent.py"], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    for _ in range(100):
        try:
            os.kill(worker, 0)
            state = (
                Path(f"/proc/{worker}/stat").read_text().rsplit(")", 1)[1].split()[0] if sys.platform == "linux" else ""
            )
        except OSError:
            return
        if state == "Z":
            return
        time.sleep(0.1)
    pytest.fail("the worker is still there")


def test_faults_are_counted_and_named(units: list[Unit], tmp_path: Path) -> None:
    gone = next(u.content for u in units if u.key.startswith("labels a/2"))
    assert isinstance(gone, Labelled)
    Path(gone.picture).unlink()
    manifest = write(units, tmp_path / "set", left_out=["an annotation"])
    assert manifest["records"] == 25
    assert manifest["skipped_records"] == 5
    assert manifest["skipped"] == ["an annotation", f"the picture is missing; check the path: {gone.picture}"]


def test_nothing_at_all_is_an_error(units: list[Unit], tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="there is nothing to make records of"):
        write([], tmp_path / "set")
    shutil.rmtree(tmp_path / "pictures")
    with pytest.raises(MediaError, match="no record could be made; the first fault: the picture is missing"):
        write(units, tmp_path / "set")
    with pytest.raises(UsageError, match="at least one file"):
        write(units, tmp_path / "set", files=0)


def test_another_set_is_not_overwritten(units: list[Unit], tmp_path: Path) -> None:
    folder = tmp_path / "set"
    write(units, folder)
    before = sets.files(folder)
    for change in ({"about": {"options": {"seed": 4}}}, {"files": 6}):
        with pytest.raises(UsageError, match="a set of other options or other data"):
            write(units, folder, **change)
    with pytest.raises(UsageError, match="a set of other options or other data"):
        write(units[1:], folder)
    (folder / "manifest.json").unlink()
    with pytest.raises(UsageError, match="whose manifest is missing"):
        write(units, folder)
    (folder / "manifest.json").write_text("{")
    with pytest.raises(MediaError, match="the file is damaged"):
        write(units, folder)
    before.pop("manifest.json")
    assert {k: v for k, v in sets.files(folder).items() if k in before} == before


def test_one_writer_at_a_time(units: list[Unit], tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    fd = take_lock(tmp_path / "set" / ".lock", wait=False)
    assert fd is not None
    with pytest.raises(LockedError, match="another process is writing this training set"):
        write(units, tmp_path / "set")
    os.close(fd)
    assert write(units, tmp_path / "set")["records"] == 30


def test_text_that_is_no_unicode_is_written(tmp_path: Path) -> None:
    unit = Unit("c", Conversation(None, (("half \ud83d", "杯"),)))
    write([unit], tmp_path / "set")
    assert sets.lines(tmp_path / "set") == [{"query": "half \ud83d", "response": "杯"}]


def test_the_share_of_conversations() -> None:
    units = [Unit(f"u{i}", Conversation(None, ((str(i), ""),))) for i in range(30)]
    chat = [Conversation(None, ((f"c{i}", ""),)) for i in range(20)]
    assert len(with_chat(units, chat, None, 0)) == 50
    assert len(with_chat(units, chat, 0, 0)) == 30
    quarter = with_chat(units, chat, 0.25, 0)[30:]
    assert len(quarter) == 10
    assert len({u.key for u in quarter}) == 10
    more = with_chat(units, chat, 0.6, 0)[30:]
    assert len(more) == 45
    assert sorted(Counter(u.content for u in more).values()) == [2] * 15 + [3] * 5  # evenly, before any is repeated
    assert with_chat(units, chat, 0.25, 1)[30:] != quarter
    with pytest.raises(UsageError, match="`chat_share` is from 0 to less than 1"):
        with_chat(units, chat, 1, 0)


def test_a_deleted_crop_is_made_again(units: list[Unit], tmp_path: Path) -> None:
    out = tmp_path / "set"
    settings = replace(SETTINGS, crop=1.0, crops=str(out / "images"))
    write_set(units, settings, out, files=5, about=ABOUT)
    before = sets.files(out)
    next((out / "images").iterdir()).unlink()
    write_set(units, settings, out, files=5, about=ABOUT)
    assert sets.files(out) == before


@pytest.mark.parametrize("text", ["[" * 100_000, "[]", "7"])
def test_a_manifest_that_is_none(units: list[Unit], tmp_path: Path, text: str) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "manifest.json").write_text(text)
    with pytest.raises(MediaError, match="the file is damaged"):
        write(units, tmp_path / "set")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_workers_leave_ctrl_c_to_their_parent_from_the_start(tmp_path: Path) -> None:
    code = (
        "import os, sys\nfrom pathlib import Path\n"
        "if __name__ != '__main__':\n"  # in a worker, before its initializer has run
        "    status = Path('/proc/self/status').read_text()\n"
        "    mask = next(line.split()[1] for line in status.splitlines() if line.startswith('SigBlk'))\n"
        "    Path(sys.path[0], f'{os.getpid()}.mask').write_text(mask)\n"
        "else:\n"
        "    import signal\n    from vidmem.export.trainset import shards\n"
        "    try:\n        list(shards._written([(), ()], 2))\n"
        "    except (TypeError, ValueError): pass\n"
    )
    code = code.replace("[(), ()]", "[([], None, sys.argv[1], 'a'), ([], None, sys.argv[1], 'b')]")
    (tmp_path / "parent.py").write_text(code)
    (tmp_path / ".progress").mkdir()
    subprocess.run([sys.executable, tmp_path / "parent.py", tmp_path], check=True, timeout=60)
    masks = [int(path.read_text(), 16) for path in tmp_path.glob("*.mask")]
    assert masks
    assert all(mask >> (signal.SIGINT - 1) & 1 for mask in masks)
