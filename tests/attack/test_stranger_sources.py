"""Datasets and bags that compute or expand when they are read, and memories that name files that are not theirs."""

# ruff: noqa: F811 (fixtures of the command line's tests)

from __future__ import annotations

import json
import sqlite3
import sys
from pathlib import Path

import numpy as np
import pytest
from cli.conftest import Run, clean, copy, indexed, run, walk  # noqa: F401
from media import make, make_logs
from PIL import Image

from needs import needs
from vidmem.address import Address
from vidmem.errors import MediaError
from vidmem.limits import VARIABLE
from vidmem.media import lerobot, open_source, parts
from vidmem.memory import Memory
from vidmem.store import Store

sys.path.insert(0, str(Path(__file__).parents[1] / "media"))  # as pytest does for the tests there
import test_lerobot

CAMERA = "cam"


def dataset(folder: Path) -> Path:
    """The description of a LeRobot v3 dataset with one camera."""
    (folder / "meta" / "episodes").mkdir(parents=True)
    info = {
        "codebase_version": "v3.0",
        "fps": 10,
        "data_path": "data/{chunk_index}/{file_index}.parquet",
        "video_path": "videos/{video_key}.mp4",
        "features": {CAMERA: {"dtype": "video"}},
    }
    (folder / "meta" / "info.json").write_text(json.dumps(info))
    return folder / "meta" / "episodes"


def test_a_long_text_in_place_of_a_number_is_not_written_out(tmp_path: Path) -> None:
    """Each of 3,000 rows names a text of 1 MB by its number: 12 GB, though the file has 10 KB and claims 4 MB."""
    pa, pq = needs("pyarrow"), needs("pyarrow.parquet")
    place = dataset(tmp_path / "set")
    rows = 3_000
    text = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array(["x" * 1_000_000]))
    columns = {"episode_index": pa.array(range(rows)), f"videos/{CAMERA}/from_timestamp": pa.array([0.0] * rows)}
    for name in ("data", f"videos/{CAMERA}"):
        columns |= {f"{name}/chunk_index": text, f"{name}/file_index": text}
    pq.write_table(pa.table(columns), place / "a.parquet", compression="zstd", store_schema=False)
    assert (place / "a.parquet").stat().st_size < 20_000
    with pytest.raises(MediaError, match="data/chunk_index in a table of the dataset holds no numbers"):
        parts(Address(str(tmp_path / "set")))


def test_a_list_in_place_of_a_number_is_refused(tmp_path: Path) -> None:
    pa, pq = needs("pyarrow"), needs("pyarrow.parquet")
    for number, column in enumerate([[[1, 2]], [{"a": 1}], [True]]):
        path = str(tmp_path / f"{number}.parquet")
        pq.write_table(pa.table({"x": column}), path)
        with pytest.raises(MediaError, match="x in a table of the dataset holds no numbers"):
            lerobot.read_table(path, ["x"])


def test_the_rows_of_all_tables_count_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pa, pq = needs("pyarrow"), needs("pyarrow.parquet")
    place = dataset(tmp_path / "set")
    rows, zeros = 1_000, np.zeros(1_000, np.int64)
    names = [f"{name}/{what}" for name in ("data", f"videos/{CAMERA}") for what in ("chunk_index", "file_index")]
    for number in range(3):
        columns = dict.fromkeys([*names, f"videos/{CAMERA}/from_timestamp"], zeros)
        columns["episode_index"] = np.arange(number * rows, (number + 1) * rows)
        pq.write_table(pa.table(columns), place / f"{number}.parquet")
    assert len(parts(Address(str(tmp_path / "set")))) == 3 * rows
    monkeypatch.setenv(VARIABLE, "1")
    (place / "2.parquet").unlink()
    with pytest.raises(MediaError, match="a table of the dataset would take 2 MB"):
        parts(Address(str(tmp_path / "set")))


def test_the_tables_are_read_once_for_all_episodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = test_lerobot.v3(tmp_path / "set")
    read, true = [], lerobot.read_table
    monkeypatch.setattr(lerobot, "read_table", lambda file, *more, **m: (read.append(file), true(file, *more, **m))[1])
    addresses = parts(Address(str(folder)), ["*"])
    for address in addresses:
        open_source(address).close()
    assert len(addresses) == 6
    assert sorted(read) == sorted({*read})
    info = folder / "meta" / "info.json"
    info.write_text(info.read_text() + "\n")  # changed: it is read again
    parts(Address(str(folder)), ["*"])
    assert len(read) > len({*read})


def test_a_line_of_a_list_of_episodes_has_a_limit(tmp_path: Path) -> None:
    folder = test_lerobot.v2(tmp_path / "set")
    (folder / "meta" / "episodes.jsonl").write_text('{"episode_index": 0, "tasks": [' + "[]," * 500_000 + "0]}\n")
    with pytest.raises(MediaError, match=r"list of episodes cannot be read \(a line is longer than 1 MB"):
        parts(Address(str(folder)), ["*"])


ENDLESS = "instr(hex(zeroblob(50000000)), hex(zeroblob(10000000)) || '1')"
ODD = {
    "a generated column": [f"ALTER TABLE topics ADD COLUMN x AS ({ENDLESS})"],
    "a view": ["ALTER TABLE topics RENAME TO t", f"CREATE VIEW topics AS SELECT *, {ENDLESS} AS x FROM t"],
    "a trigger": ["CREATE TRIGGER x AFTER INSERT ON topics BEGIN DELETE FROM messages; END"],
    "a virtual table": ["CREATE VIRTUAL TABLE x USING fts5(a)"],
    "an index of an expression": ["CREATE INDEX x ON topics (abs(id))"],
}


@pytest.mark.parametrize("what", ODD)
def test_the_database_of_a_bag_computes_nothing(tmp_path: Path, what: str) -> None:
    needs("rosbags")
    bag = make_logs.bag(tmp_path / "run", 5, "sqlite3")
    (file,) = bag.glob("*.db3")
    change(file, *ODD[what])
    with pytest.raises(MediaError, match=f"the database of the bag has {what}, which no recorder writes"):
        open_source(bag)


def change(file: Path, *statements: str) -> None:
    conn = sqlite3.connect(file)
    for statement in statements:
        conn.execute(statement)
    conn.commit()
    conn.close()


def test_a_database_with_any_name_is_checked(tmp_path: Path) -> None:
    """The metadata name the files; a generated column that is written as another kind of text is one still."""
    needs("rosbags")
    bag = make_logs.bag(tmp_path / "run", 5, "sqlite3")
    (file,) = bag.glob("*.db3")
    change(file, *ODD["a view"])
    file.rename(bag / "data.bin")
    text = (bag / "metadata.yaml").read_text()
    (bag / "metadata.yaml").write_text(text.replace(file.name, "data.bin"))
    with pytest.raises(MediaError, match="the database of the bag has a view"):
        open_source(bag)


def test_a_packed_database_is_checked(tmp_path: Path) -> None:
    needs("rosbags")
    zstandard = needs("zstandard")
    bag = make_logs.bag(tmp_path / "run", 5, "file")
    with open_source(bag) as source:
        assert len(list(source.frames(0))) == 5
    (file,) = bag.glob("*.db3*")
    plain = tmp_path / "plain.db3"
    with open(file, "rb") as packed, open(plain, "wb") as out:
        zstandard.ZstdDecompressor().copy_stream(packed, out)
    change(plain, *ODD["a generated column"])
    file.write_bytes(zstandard.ZstdCompressor().compress(plain.read_bytes()))
    with pytest.raises(MediaError, match="the database of the bag has a generated column"):
        open_source(bag)


def test_the_name_of_a_bag_leads_to_no_other_file(tmp_path: Path) -> None:
    """The library passes the name on in a URI: %61 is read as a."""
    needs("rosbags")
    make_logs.bag(tmp_path / "a", 5, "sqlite3")
    bag = make_logs.bag(tmp_path / "b", 5, "sqlite3").rename(tmp_path / "%61")
    with pytest.raises(MediaError, match="may not have \\?, # or %; rename it"):
        open_source(Address(str(bag)))


def named(memory: Path, path: Path) -> None:
    """Make a memory name another file as its only source."""
    change(memory / "memory.sqlite", f"UPDATE sources SET uri = '{path}'")


@pytest.mark.parametrize("kind", ["video", "photo"])
def test_a_memory_gives_no_picture_of_a_file_that_it_does_not_know(
    run: Run, copy: Path, tmp_path: Path, kind: str
) -> None:
    own = tmp_path / ("own.mp4" if kind == "video" else "own.jpg")
    if kind == "video":
        make.video(own, range(40))
    else:
        Image.fromarray(make.picture(1)).save(own)
    assert run("where", "red", "--save", tmp_path / "before.png", "-m", copy).exit_code == 0
    named(copy, own)
    for more in (
        ("--save", tmp_path / "a.png"),
        ("--explain", tmp_path / "b.png"),
        ("--clip", tmp_path / "c.mp4"),
    ):
        result = run("where", "red", *more, "-m", copy)
        assert (result.exit_code, "the file is not the one that was indexed" in result.stderr) == (4, True), result
        assert not Path(more[1]).exists()
    with Memory.open(copy) as memory:
        (found,) = memory.where("red")
        with pytest.raises(MediaError, match="not the one that was indexed; run `vidmem index` on it again"):
            memory.evidence(found)
        memory.sheet([found])  # says so in the place of the picture


def test_a_memory_that_moved_gives_its_pictures(run: Run, copy: Path, tmp_path: Path) -> None:
    with Store.open(copy) as store:
        (row,) = store.sources()
    moved = tmp_path / "moved.mp4"
    moved.write_bytes(Path(row.uri).read_bytes())
    named(copy, moved)
    assert run("where", "red", "--save", tmp_path / "a.png", "-m", copy).exit_code == 0


def test_a_folder_of_photos_gives_no_other_photo(run: Run, tmp_path: Path) -> None:
    photos, memory = tmp_path / "photos", tmp_path / "memory"
    photos.mkdir()
    Image.fromarray(make.picture(1, 320, 240)).save(photos / "a.png")
    assert run("index", photos, "-m", memory, "--encoder", "colours").exit_code == 0
    with Memory.open(memory) as opened:
        (found,) = opened.where("red")
        assert opened.evidence(found)[0].shape == (240, 320, 3)
        Image.fromarray(make.picture(2, 320, 240)).save(photos / "a.png")
        with pytest.raises(MediaError, match="the photo is not the one that was indexed"):
            opened.evidence(found)
        with pytest.raises(MediaError, match="the photo is not the one that was indexed"):
            opened.picture(found)
