"""A memory from a stranger loads no model that it names by place, and causes no connection.

`doctor --verify` finds what is not as vidmem makes it.
"""

# ruff: noqa: F811 (fixtures of the command line's tests)

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fakes
import pytest
from cli.conftest import Run, clean, copy, indexed, run, walk  # noqa: F401

from needs import needs
from vidmem import offline
from vidmem.encoders import check_stranger
from vidmem.errors import ModelError
from vidmem.memory import Memory
from vidmem.store import Store
from vidmem.store.verify import verify

PLACES = [
    "clip:local-dir:/tmp/theirs",
    "colours:local-dir:theirs",
    "clip:hf-hub:org/repo",
    "gem:hf-hub:org/repo,depth=2",
    "colours:/etc",
    "colours:~/theirs",
    "colours:../theirs",
    "colours:a/../b",
    "colours:a/b/c",
    "colours:C:\\theirs",
    "colours:\\\\host\\share",
    "colours:https://host/model",
    "colours:.theirs",
    "colours:\x1b[31m",
    "colours:" + "x" * 500,
    "../colours",
]
NAMES = [
    "tiny",
    "clip",
    "clip:ViT-B-16/openai",
    "gem:EVA02-B-16/densevlm,depth=2,pool=3",
    "tren:vitb16",
    "my-own.encoder",
]


def alter(folder: Path, sql: str, *values: Any) -> None:
    shutil.rmtree(folder / "cache", ignore_errors=True)
    conn = sqlite3.connect(folder / "memory.sqlite")
    with conn:
        conn.execute(sql, values)
    conn.close()


@pytest.mark.parametrize("name", PLACES)
def test_a_place_is_not_a_name(name: str) -> None:
    with pytest.raises(ModelError, match=r"names a model by its place.* yourself as `encoder`: ") as caught:
        check_stranger(name)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("name", NAMES)
def test_a_name_of_the_registry_may_stand_in_a_memory(name: str) -> None:
    check_stranger(name)


@pytest.mark.parametrize("name", PLACES)
def test_no_command_loads_what_a_memory_names_by_place(
    run: Run, copy: Path, tmp_path: Path, walk: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*args: object, **options: object) -> None:
        raise AssertionError(f"loaded {args}")

    alter(copy, "UPDATE model SET encoder = ?", name)
    for function in ("vidmem.encoders.registry.load", "vidmem.encoders.registry.load_text", "query.query.load"):
        monkeypatch.setattr(function.replace("query.query", "vidmem.query.query"), load)
    monkeypatch.setattr("vidmem.query.text_cache.load_text", load)
    monkeypatch.setattr("vidmem.cli.names.load_text", load)
    (tmp_path / "l.txt").write_text("red\n")
    for command in (
        ["where", "red"],
        ["where", "--crop", "walk.mp4@9s:150,10,20,20"],
        ["things"],
        ["timeline", "red"],
        ["watch-list", tmp_path / "l.txt"],
        ["names"],
        ["reembed"],
        ["parse", "walk.mp4", "--labels", tmp_path / "l.txt"],
        ["forget", "--object", "red", "--dry-run"],
        ["doctor"],
    ):
        result = run(*command, "--memory", copy)
        assert result.exit_code == 4, (command, result.output)
        assert "names a model by its place" in result.output
        assert "\x1b" not in result.output
    for command in (["ls"], ["info"], ["compact"]):  # need no encoder
        assert run(*command, "--memory", copy).exit_code == 0
    found = run("doctor", "--verify", copy)
    assert (found.exit_code, "BROKEN  encoder" in found.stdout) == (4, True)


def test_who_says_it_himself_may_use_a_model_by_its_place(copy: Path) -> None:
    alter(copy, "UPDATE model SET encoder = 'colours:local-dir:mine'")
    with pytest.raises(ModelError, match="names a model by its place"):
        Memory.open(copy, read_only=True)
    memory = Memory.open(copy, encoder="colours:local-dir:mine", read_only=True, any_weights=True)
    memory.query.check_named("colours:local-dir:mine")
    with pytest.raises(ModelError, match="names a model by its place"):
        memory.query.check_named("colours:local-dir:theirs")
    memory.close()


GUARD = """
import os, socket, sys
def refuse(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        print("CONNECTS", event, args[1:] if event == "socket.connect" else args, file=sys.stderr, flush=True)
        os._exit(99)
sys.addaudithook(refuse)
"""


def guarded(code: str, *args: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process that ends with 99 when anything connects or looks up a host."""
    command = [sys.executable, "-c", GUARD + code, *map(str, args)]
    clean = {k: v for k, v in os.environ.items() if "OFFLINE" not in k}
    return subprocess.run(command, capture_output=True, text=True, env={**clean, **environment}, timeout=120)


def test_the_guard_sees_a_connection() -> None:
    done = guarded("socket.create_connection(('127.0.0.1', 9))")
    assert done.returncode == 99, done.stderr


CLI = f"sys.path.insert(0, {str(Path(fakes.__file__).parent)!r}); import fakes; fakes.register(); "
CLI += "from vidmem.cli import main; main()"


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9/walk.mp4", "rtsp://127.0.0.1:9/cam", "ftp://127.0.0.1:9/a.mp4"])
def test_sources_on_the_network_are_not_opened(copy: Path, tmp_path: Path, uri: str) -> None:
    alter(copy, "UPDATE sources SET uri = ?", uri)
    done = guarded(CLI, "where", "red", "--save", tmp_path / "sheet.png", "--memory", copy)
    assert done.returncode in (0, 3, 4), done.stderr
    assert "CONNECTS" not in done.stderr


HUB = """
from vidmem.offline import go_offline, offline, online
import importlib
def fetch():
    import huggingface_hub
    try:
        huggingface_hub.hf_hub_download("org/repo", "config.json", cache_dir=sys.argv[1])
    except Exception as error:
        return type(error).__name__
"""


@pytest.mark.parametrize("first", ["", "import huggingface_hub, huggingface_hub.constants"])
def test_the_hub_is_offline_but_for_pull(tmp_path: Path, first: str) -> None:
    needs("huggingface_hub")
    inside = guarded(HUB + f"{first}\nwith offline(): print(fetch())", tmp_path)
    assert inside.returncode == 0, inside.stderr
    whole = guarded(
        HUB + f"{first}\ngo_offline()\nprint(fetch())\nwith offline(): print(fetch())\nprint(fetch())", tmp_path
    )
    assert whole.returncode == 0, whole.stderr
    allowed = guarded(HUB + f"{first}\ngo_offline()\nwith online(): print(fetch())", tmp_path)
    assert allowed.returncode == 99, "pull must reach the hub"
    afterwards = guarded(HUB + f"{first}\nwith offline(): fetch()\nprint(fetch())", tmp_path)
    assert afterwards.returncode == 99, "a program that uses vidmem keeps its own choice"
    chosen = guarded(HUB + f"{first}\ngo_offline()\nwith online(): print(fetch())", tmp_path, HF_HUB_OFFLINE="1")
    assert chosen.returncode == 0, "the user's own choice holds for pull, too"


def test_blocks_in_threads_end_in_any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    first, second = offline.offline(), offline.offline()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert offline.is_offline()
    with offline.online():
        assert not offline.is_offline()
    assert offline.is_offline()
    second.__exit__(None, None, None)
    assert not offline.is_offline()


CONFIGURATIONS: list[dict[str, Any]] = [
    {"text_cfg": {"hf_model_name": "roberta-base", "hf_tokenizer_name": "roberta-base"}},
    {"text_cfg": {"hf_model_name": "/tmp/theirs"}},
    {"text_cfg": {"hf_tokenizer_name": "org/tokenizer"}},
    {"vision_cfg": {"timm_model_name": "hf-hub:org/repo", "image_size": 32}},
    {"vision_cfg": {"timm_model_name": "hf_hub:org/repo", "timm_model_pretrained": True, "image_size": 32}},
    {"vision_cfg": {"timm_model_name": "local-dir:/tmp/theirs", "image_size": 32}},
    {"text_cfg": {"tokenizer_kwargs": {"vocab_file": "/etc/passwd"}}},
]


@pytest.mark.slow
def test_configurations_of_clip_lead_nowhere(tmp_path: Path) -> None:
    from encoders import clip_folder

    clip_folder.required()

    code = "from vidmem.encoders import load_text\nfrom vidmem.errors import ModelError\n"
    code += "for folder in sys.argv[1:]:\n try: load_text(f'gem:local-dir:{folder}')\n except ModelError as e: print(e)"
    folders = [clip_folder.write(tmp_path / "sound")]
    for number, changes in enumerate(CONFIGURATIONS):
        folder = Path(shutil.copytree(folders[0], tmp_path / f"theirs-{number}"))
        path = folder / "open_clip_config.json"
        config = json.loads(path.read_text())
        for section, values in changes.items():
            config["model_cfg"][section] |= values
        path.write_text(json.dumps(config))
        folders.append(folder)
    done = guarded(code, *folders)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == len(CONFIGURATIONS), (done.stdout, done.stderr)
    assert all("which lies elsewhere, and nothing is loaded that a configuration names" in line for line in lines)


@pytest.mark.parametrize("name", ["org/..", "org/.", "../repo", "org/*", "a/b/c", "org/re po", ""])
def test_names_on_the_hub_are_names(name: str) -> None:
    from vidmem.encoders.clip.files import wanted

    if name == "../repo":
        assert wanted("clip", f"hf-hub:{name}")[0].patterns == ("repo",)  # of the weights folder
        return
    with pytest.raises(ModelError, match="spelled hf-hub:ORG/REPO"):
        wanted("clip", f"hf-hub:{name}")


def sound(folder: Path) -> bool:
    return all(finding.sound for finding in verify(folder))


def test_a_sound_memory_is_verified(run: Run, copy: Path) -> None:
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in copy.rglob("*") if path.is_file()}
    result = run("doctor", "--verify", copy)
    assert result.exit_code == 0, result.output
    assert [line.split()[1] for line in result.stdout.splitlines()[1:]] == [
        *("files", "schema", "pages", "sizes", "rows", "vectors", "regions", "erased", "cache", "encoder")
    ]
    rows = json.loads(run("doctor", "--verify", copy, "--json").stdout)
    assert all(row["ok"] for row in rows)
    left = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in copy.rglob("*") if path.is_file()}
    assert {path: left[path] for path in before} == before


def flip(data: bytearray, needle: bytes, at: int = 0) -> None:
    place = data.find(needle) + at
    assert place >= at
    data[place] ^= 1


def damage_a_vector(folder: Path) -> None:
    conn = sqlite3.connect(folder / "memory.sqlite")
    (vector,) = conn.execute("SELECT visual FROM tracks WHERE id = 2").fetchone()
    with conn:
        conn.execute("UPDATE tracks SET visual = ? WHERE id = 2", (vector[:-2] + bytes([vector[-2] ^ 1, vector[-1]]),))
    conn.close()


def damage_a_byte_of_a_vector_on_disk(folder: Path) -> None:
    conn = sqlite3.connect(folder / "memory.sqlite")
    (vector,) = conn.execute("SELECT text FROM tracks WHERE id = 3").fetchone()
    conn.close()
    data = bytearray((folder / "memory.sqlite").read_bytes())
    flip(data, vector)
    (folder / "memory.sqlite").write_bytes(data)


def damage_a_page(folder: Path) -> None:
    data = bytearray((folder / "memory.sqlite").read_bytes())
    conn = sqlite3.connect(folder / "memory.sqlite")
    (page,) = conn.execute("SELECT rootpage FROM sqlite_master WHERE name = 'tracks'").fetchone()
    conn.close()
    data[(page - 1) * 4096 + 8 : (page - 1) * 4096 + 40] = b"\xff" * 32
    (folder / "memory.sqlite").write_bytes(data)


def damage_a_blob(folder: Path) -> None:
    conn = sqlite3.connect(folder / "memory.sqlite")
    (blob,) = conn.execute("SELECT blob FROM regions LIMIT 1").fetchone()
    with conn:
        broken = blob[:-1] + bytes([blob[-1] ^ 1])
        conn.execute("UPDATE regions SET blob = ? WHERE blob = ?", (broken, blob))
    conn.close()


def swap_the_cache(folder: Path) -> None:
    from dataclasses import replace

    from vidmem.store import cache_build, cache_file

    with Store.open(folder) as store:
        data = cache_build.current(store)
        visual = data.visual.copy()
        visual[0, :2] = -visual[0, :2]
        visual[0, 2] += 1
        cache_file.save(folder, replace(data, visual=visual))


def sql(statement: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        conn = sqlite3.connect(folder / "memory.sqlite")
        conn.execute("PRAGMA foreign_keys = OFF")
        with conn:
            conn.execute(statement)
        conn.close()

    return change


DAMAGE: list[tuple[Callable[[Path], None], str]] = [
    (damage_a_vector, "vectors"),
    (damage_a_byte_of_a_vector_on_disk, "vectors"),
    (damage_a_page, "pages"),
    (damage_a_blob, "regions"),
    (swap_the_cache, "cache"),
    (sql("CREATE VIEW theirs AS SELECT 1"), "schema"),
    (sql("CREATE TRIGGER theirs AFTER UPDATE ON sources BEGIN DELETE FROM tracks; END"), "schema"),
    (sql("CREATE TABLE theirs (x)"), "schema"),
    (sql("CREATE VIRTUAL TABLE theirs USING fts5(x)"), "schema"),
    (sql("CREATE INDEX theirs ON tracks (frames)"), "schema"),
    (sql("ALTER TABLE tracks ADD COLUMN more INTEGER"), "schema"),
    (sql("ALTER TABLE tracks ADD COLUMN more GENERATED ALWAYS AS (length(zeroblob(1000000000)))"), "schema"),
    (sql("ANALYZE"), "schema"),
    (sql("DELETE FROM migrations WHERE number = (SELECT max(number) FROM migrations)"), "schema"),
    (sql("UPDATE tracks SET crc = NULL WHERE id = 1"), "vectors"),
    (sql("UPDATE tracks SET source_id = 99 WHERE id = 1"), "pages"),
    (sql("UPDATE sources SET tracker_state = zeroblob(2000000)"), "sizes"),
    (sql("UPDATE sources SET state = 'dreaming'"), "rows"),
    (sql("UPDATE meta SET value = '1' WHERE key = 'scrub'"), "erased"),
    (lambda folder: (folder / "lock").symlink_to("/dev/null") if not (folder / "lock").unlink() else None, "files"),
]


@pytest.mark.parametrize(("damage", "check"), DAMAGE)
def test_what_is_not_as_vidmem_makes_it_is_found(
    run: Run, copy: Path, damage: Callable[[Path], None], check: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vidmem.store.verify.MAX_BLOB", 1 << 20)
    assert sound(copy)
    damage(copy)
    result = run("doctor", "--verify", copy)
    assert result.exit_code == 4, result.output
    broken = [line.split()[1] for line in result.stdout.splitlines() if line.startswith("BROKEN")]
    assert check in broken, result.stdout


def test_verify_needs_a_memory(run: Run, tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        result = run("doctor", "--verify", path)
        assert (result.exit_code, "there is no memory here" in result.stderr) == (4, True)
