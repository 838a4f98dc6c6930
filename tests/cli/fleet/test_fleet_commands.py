"""`vidmem seal`, `verify` and `fleet`: what they print, their exit codes, and a sealed memory under other commands."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from needs import needs
from vidmem.fleet.catalogue import Catalogue

from ..conftest import Run, process

needs("sqlalchemy")


@pytest.fixture
def sealed(run: Run, copy: Path) -> Path:
    """A sealed memory of walk.mp4."""
    assert run("seal", copy).exit_code == 0
    return copy


@pytest.fixture
def catalogue(run: Run, sealed: Path, tmp_path: Path) -> Path:
    path = tmp_path / "house.catalogue"
    assert run("fleet", "add", path, sealed).exit_code == 0
    return path


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_seal_says_what_it_sealed(run: Run, copy: Path) -> None:
    found = json.loads(run("seal", copy, "--json").stdout)
    assert found["sources"] == 1
    assert found["tracks"] == 4
    assert found["encoder"] == "colours"
    assert len(found["id"]) == 64
    assert json.loads(run("seal", copy, "--json").stdout) == found
    assert found["id"] in run("seal", copy).stdout
    undone = run("seal", copy, "--undo")
    assert undone.exit_code == 0
    assert "can be written to again" in undone.stderr
    assert json.loads(run("seal", copy, "--json").stdout)["id"] == found["id"]


def test_seal_refuses(run: Run, copy: Path, tmp_path: Path) -> None:
    for arguments, cause in (
        (["seal", tmp_path / "none"], "there is no memory here"),
        (["seal", copy, "--undo"], "no sealed memory"),
    ):
        result = process(*arguments, memory=copy)
        assert result.returncode == 4
        assert cause in result.stderr
        assert result.stderr.count("\n") == 1
    assert process("seal", copy, "--undo", "--partial", memory=copy).returncode == 2


def test_a_sealed_memory_answers_as_before(run: Run, copy: Path) -> None:
    questions = (
        ["where", "red", "--json"],
        ["where", "red", "--all", "--json"],
        ["timeline", "red", "--json"],
        ["things", "--json"],
        ["ls", "--json"],
        ["where", "--crop", "walk.mp4@9s:150,10,20,20", "--json"],
    )
    before = [run(*question, "-m", copy) for question in questions]
    assert run("seal", copy).exit_code == 0
    held = files(copy)
    for question, wanted in zip(questions, before, strict=True):
        found = run(*question, "-m", copy)
        assert (found.exit_code, found.stdout) == (wanted.exit_code, wanted.stdout)
    assert files(copy) == held


@pytest.mark.parametrize(
    "command",
    [
        ["index", "walk.mp4"],
        ["rm", "walk.mp4", "--yes"],
        ["forget", "--before", "2s", "--source", "walk.mp4", "--yes"],
        ["compact"],
        ["recorded", "walk.mp4", "none"],
        ["standing", "--add", "red"],
    ],
)
def test_commands_that_write_are_refused(sealed: Path, walk: Path, command: list[str]) -> None:
    held = files(sealed)
    arguments = [str(walk) if word == "walk.mp4" and command[0] == "index" else word for word in command]
    result = process(*arguments, "-m", sealed, memory=sealed)
    assert result.returncode == 4, result.stderr
    assert "sealed" in result.stderr
    assert "vidmem seal --undo" in result.stderr
    assert files(sealed) == held


def test_info_and_doctor_say_that_it_is_sealed(run: Run, sealed: Path) -> None:
    identity = json.loads(run("seal", sealed, "--json").stdout)["id"]
    assert json.loads(run("info", "-m", sealed, "--json").stdout)["sealed"] == identity
    assert identity in run("info", "-m", sealed).stdout
    (line,) = [r for r in json.loads(run("doctor", "-m", sealed, "--json").stdout) if r["check"] == "memory"]
    assert "sealed" in line["found"]
    assert line["ok"]
    run("seal", sealed, "--undo")
    assert json.loads(run("info", "-m", sealed, "--json").stdout)["sealed"] is None


def test_verify_a_shard(run: Run, sealed: Path) -> None:
    assert run("verify", sealed).exit_code == 0
    assert json.loads(run("verify", sealed, "--json").stdout) == [
        {"shard": str(sealed), "ok": True, "file": "", "found": "as it was sealed"}
    ]
    data = bytearray((sealed / "cache" / "vectors.bin").read_bytes())
    data[-1] ^= 1
    (sealed / "cache" / "vectors.bin").write_bytes(data)
    assert run("verify", sealed, "--quick").exit_code == 0
    found = run("verify", sealed, "--json")
    assert found.exit_code == 4
    assert [row["file"] for row in json.loads(found.stdout)] == ["cache/vectors.bin"]
    assert "do not use this shard" in found.stderr
    assert "BROKEN" in run("verify", sealed).stdout


def test_verify_what_is_no_shard(copy: Path, tmp_path: Path) -> None:
    for where in (copy, tmp_path / "none", "s3://a?b", "http://x/y"):
        result = process("verify", where, memory=copy)
        assert result.returncode in (2, 4), result.stderr
        assert "Traceback" not in result.stderr


def test_verify_a_catalogue(run: Run, catalogue: Path, sealed: Path, tmp_path: Path) -> None:
    assert run("verify", catalogue).exit_code == 0
    other = Path(shutil.copytree(sealed, tmp_path / "other"))
    run("seal", other, "--undo")
    run("recorded", "walk.mp4", "2026-01-31T08:30", "-m", other)
    run("seal", other)
    assert run("fleet", "add", catalogue, other).exit_code == 0
    with open(other / "memory.sqlite", "ab") as file:
        file.write(b"x")
    found = run("verify", catalogue, "--quick", "--json")
    assert found.exit_code == 3
    assert [(row["shard"], row["ok"], row["file"]) for row in json.loads(found.stdout)] == [
        (str(sealed), True, ""),
        (str(other), False, "memory.sqlite"),
    ]
    assert "1 of 2 shards" in found.stderr
    shutil.rmtree(other)
    shutil.rmtree(sealed)
    found = run("verify", catalogue, "--json")
    assert found.exit_code == 4
    assert [row["ok"] for row in json.loads(found.stdout)] == [False, False]


def test_add_and_list(run: Run, catalogue: Path, sealed: Path) -> None:
    (row,) = json.loads(run("fleet", "ls", catalogue, "--json").stdout)
    assert (row["shard"], row["state"], row["tracks"], row["uri"]) == (1, "ready", 4, str(sealed))
    assert (row["clock_offset_ns"], row["error"], row["owner"]) == ("0", None, None)
    (source,) = json.loads(run("fleet", "ls", catalogue, "--sources", "--json").stdout)
    assert source["source"].endswith("walk.mp4")
    assert source["tracks"] == 4
    assert "ready" in run("fleet", "ls", catalogue).stdout
    assert run("fleet", "add", catalogue, sealed).exit_code == 0
    assert len(json.loads(run("fleet", "ls", catalogue, "--json").stdout)) == 1


def test_add_copies_to_a_folder(run: Run, sealed: Path, tmp_path: Path) -> None:
    added = json.loads(run("fleet", "add", tmp_path / "c", sealed, "--to", tmp_path / "archive", "--json").stdout)
    (row,) = added
    assert row["uri"] == str(tmp_path / "archive" / row["id"])
    assert run("verify", row["uri"]).exit_code == 0
    shutil.rmtree(sealed)
    assert run("verify", tmp_path / "c").exit_code == 0


def test_add_goes_on_after_one_that_cannot_be_added(run: Run, sealed: Path, indexed: Path, tmp_path: Path) -> None:
    result = run("fleet", "add", tmp_path / "c", indexed, sealed)
    assert result.exit_code == 3
    assert result.stderr.startswith(f"{indexed} was not entered: ")
    assert "no sealed memory" in result.stderr
    assert str(sealed) in result.stdout
    alone = process("fleet", "add", tmp_path / "c", indexed, memory=indexed)
    assert alone.returncode == 4
    assert "vidmem seal" in alone.stderr


def test_rm(run: Run, catalogue: Path, sealed: Path) -> None:
    identity = json.loads(run("seal", sealed, "--json").stdout)["id"]
    assert process("fleet", "rm", catalogue, "7", memory=sealed).returncode == 2
    assert process("fleet", "rm", catalogue, identity[:3], memory=sealed).returncode == 2
    result = run("fleet", "rm", catalogue, identity[:10])
    assert result.exit_code == 0
    assert str(sealed) in result.stderr
    assert run("verify", sealed).exit_code == 0
    empty = run("fleet", "ls", catalogue)
    assert empty.exit_code == 0
    assert "empty" in empty.stderr


@pytest.mark.parametrize(
    ("offset", "ns"), [("2s", 2_000_000_000), ("-1:30", -90_000_000_000), ("-250ns", -250), ("+0.5", 500_000_000)]
)
def test_clock(run: Run, catalogue: Path, sealed: Path, offset: str, ns: int) -> None:
    assert run("fleet", "clock", catalogue, sealed, offset, "--error", "0.1s").exit_code == 0
    (row,) = json.loads(run("fleet", "ls", catalogue, "--json").stdout)
    assert (row["clock_offset_ns"], row["clock_error_ns"]) == (str(ns), "100000000")
    assert "±0.1s" in run("fleet", "ls", catalogue).stdout


def test_clocks_that_are_none(catalogue: Path, sealed: Path) -> None:
    for offset in ("soon", "--", "-", "1 day", "9" * 50):
        result = process("fleet", "clock", catalogue, "1", offset, memory=sealed)
        assert result.returncode == 2, result.stderr
        assert "Traceback" not in result.stderr


def test_tasks_and_errors_are_listed(run: Run, catalogue: Path) -> None:
    with Catalogue.open(catalogue) as opened:
        lease = opened.lease("walk 0-60", "worker 3", 60, {})
        assert lease is not None
        opened.fail(lease, "the camera is gone")
    rows = json.loads(run("fleet", "ls", catalogue, "--json").stdout)
    assert (rows[1]["state"], rows[1]["owner"], rows[1]["error"]) == ("failed", "worker 3", "the camera is gone")
    assert "the camera is gone" in run("fleet", "ls", catalogue).stdout


def test_tasks_say_what_they_are_about_and_who_has_them(run: Run, catalogue: Path) -> None:
    about = {"sources": ["/data/walk.mp4", "/data/run.mp4"], "count": 3}
    with Catalogue.open(catalogue) as opened:
        lease = opened.lease("a task", "worker 3", 60, about)
        assert lease is not None
        said = run("fleet", "ls", catalogue, "--wide").stdout
        assert "/data/walk.mp4 and 2 more, with worker 3 until 2" in said
        (_, row) = json.loads(run("fleet", "ls", catalogue, "--json").stdout)
        assert (row["state"], row["about"]) == ("leased", about)
        assert row["lease_until"] is not None
        opened.release(lease)
    assert "/data/walk.mp4 and 2 more, given back by worker 3" in run("fleet", "ls", catalogue, "--wide").stdout
    (_, row) = json.loads(run("fleet", "ls", catalogue, "--json").stdout)
    assert row["lease_until"] is None


def test_no_catalogue(tmp_path: Path) -> None:
    for command in (["ls"], ["rm", "1"], ["clock", "1", "2s"]):
        result = process("fleet", command[0], tmp_path / "none", *command[1:], memory=tmp_path)
        assert result.returncode == 4
        assert "there is no catalogue here" in result.stderr
    assert not (tmp_path / "none").exists()


def test_no_password_is_printed(tmp_path: Path) -> None:
    for url in ("postgresql://me:very-secret@127.0.0.1:9/x", "mysql://me:very-secret@h/x"):
        result = process("fleet", "ls", url, memory=tmp_path)
        assert result.returncode in (2, 4)
        assert "very-secret" not in result.stdout + result.stderr
    result = process("fleet", "add", tmp_path / "c", "s3://me:very-secret@bucket/x", memory=tmp_path)
    assert result.returncode == 2
    assert "very-secret" not in result.stdout + result.stderr


def test_a_mistyped_command(tmp_path: Path) -> None:
    result = process("fleet", "list", memory=tmp_path)
    assert result.returncode == 2
    assert "did you mean `vidmem fleet ls`?" in result.stderr


def test_a_folder_in_place_of_a_catalogue(copy: Path, tmp_path: Path) -> None:
    for folder, cause in (
        (tmp_path, "a catalogue is a file and there is a folder in its place"),
        (copy, "is a memory"),
    ):
        for command in (["fleet", "ls", folder], ["where", "red", "-m", f"fleet:{folder}"]):
            result = process(*command, memory=copy)
            assert result.returncode == 4
            assert cause in result.stderr
            assert "remove" not in result.stderr


def test_the_name_of_a_catalogue_has_no_fleet_before_it(sealed: Path, tmp_path: Path) -> None:
    for command in (["fleet", "add", "fleet:c", sealed], ["fleet", "ls", "fleet:c"], ["verify", "fleet:c"]):
        result = process(*command, memory=sealed, cwd=tmp_path)
        assert result.returncode == 2, result.stderr
        assert "no `fleet:` here" in result.stderr
    assert not (tmp_path / "fleet:c").exists()


def test_a_catalogue_is_not_made_for_nothing(copy: Path, tmp_path: Path) -> None:
    for shard, cause in ((copy, "`vidmem seal` makes one"), (tmp_path / "none", "there is no such folder")):
        result = process("fleet", "add", tmp_path / "c", shard, memory=copy)
        assert result.returncode == 4
        assert cause in result.stderr
    assert not (tmp_path / "c").exists()


def test_verify_what_is_not_there(tmp_path: Path) -> None:
    result = process("verify", tmp_path / "none", memory=tmp_path)
    assert result.returncode == 4
    assert "no shard and no catalogue" in result.stderr


def test_sealing_again_finds_a_change(run: Run, sealed: Path) -> None:
    data = bytearray((sealed / "memory.sqlite").read_bytes())
    data[-1] ^= 1
    (sealed / "memory.sqlite").write_bytes(data)
    result = process("seal", sealed, memory=sealed)
    assert result.returncode == 4
    assert "memory.sqlite: its checksum is another one" in result.stderr
    assert "vidmem seal --undo" in result.stderr


def test_what_cannot_be_sealed(tmp_path: Path) -> None:
    for name in ("", "fleet:house.catalogue", "s3://bucket/key"):
        assert process("seal", name, memory=tmp_path).returncode == 2


@pytest.mark.parametrize("address", ["postgresql://me:very-secret@127.0.0.1:9/x", "s3://bucket/shard"])
def test_an_address_is_no_memory(walk: Path, tmp_path: Path, address: str) -> None:
    for command in (["where", "red"], ["index", walk], ["names"], ["doctor"], ["compact"]):
        for options, variable in ((["-m", address], tmp_path), ([], address)):
            result = process(*command, *options, memory=variable, cwd=tmp_path)
            assert result.returncode == (4 if command == ["doctor"] else 2), result.stderr
            assert "a fleet is asked as fleet:CATALOGUE" in result.stderr
            assert "very-secret" not in result.stdout + result.stderr
    assert not list(tmp_path.iterdir())


def test_no_password_of_a_fleet_is_printed(tmp_path: Path) -> None:
    address = "fleet:postgresql://me:very-secret@127.0.0.1:9/x"
    for command in (["where", "red"], ["compact"], ["doctor"], ["serve", "--allow-write"], ["where", "--help"]):
        result = process(*command, memory=address, cwd=tmp_path)
        assert "very-secret" not in result.stdout + result.stderr
        assert "postgresql://127.0.0.1:9/x" in result.stdout + result.stderr


def test_a_changed_memory_replaces_its_shard(run: Run, catalogue: Path, sealed: Path) -> None:
    assert run("seal", sealed, "--undo").exit_code == 0
    assert run("recorded", "walk.mp4", "2026-01-31T08:30", "-m", sealed).exit_code == 0
    assert run("seal", sealed).exit_code == 0
    assert run("where", "red", "-m", f"fleet:{catalogue}").exit_code == 3
    assert run("fleet", "add", catalogue, sealed).exit_code == 0
    rows = json.loads(run("fleet", "ls", catalogue, "--json").stdout)
    assert [(row["shard"], row["state"]) for row in rows] == [(1, "replaced"), (2, "ready")]
    found = run("where", "red", "-m", f"fleet:{catalogue}", "--json")
    assert found.exit_code == 0
    assert json.loads(found.stdout)["shards"] == {"asked": 1, "pruned": 0, "down": []}
    assert run("verify", catalogue).exit_code == 0


def test_a_shard_that_moves_to_the_place_of_another_replaces_it(run: Run, catalogue: Path, sealed: Path) -> None:
    other = Path(shutil.copytree(sealed, sealed.with_name("other")))
    run("seal", other, "--undo")
    run("recorded", "walk.mp4", "2026-01-31T08:30", "-m", other)
    run("seal", other)
    assert run("fleet", "add", catalogue, other).exit_code == 0
    shutil.rmtree(sealed)
    shutil.move(other, sealed)
    assert run("fleet", "add", catalogue, sealed).exit_code == 0
    rows = json.loads(run("fleet", "ls", catalogue, "--json").stdout)
    assert [(row["shard"], row["state"]) for row in rows] == [(1, "replaced"), (2, "ready")]


def test_a_shard_is_named_by_a_relative_path(
    run: Run, catalogue: Path, sealed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(sealed.parent)
    assert run("fleet", "clock", catalogue, sealed.name, "2s").exit_code == 0
    assert run("fleet", "rm", catalogue, f"./{sealed.name}").exit_code == 0
