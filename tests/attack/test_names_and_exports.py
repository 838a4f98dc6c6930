"""Names that attack a terminal or a spreadsheet, passwords in addresses, and files that are cut off while written."""

# ruff: noqa: F811 (fixtures of the command line's tests)

from __future__ import annotations

import csv
import io
import logging
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli.conftest import Run, clean, copy, indexed, run, walk  # noqa: F401
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vidmem.address import printable, shown, without_secrets
from vidmem.cli import messages, output
from vidmem.cli.saving import write_picture
from vidmem.errors import MediaError, UsageError
from vidmem.media import discover
from vidmem.media.camera import plain_name
from vidmem.memory import Memory
from vidmem.replacing import replacing
from vidmem.store import Store

NASTY = {
    "colour": "\x1b[31mred\x1b[0m",
    "title": "\x1b]0;owned\x07",
    "link": "\x1b]8;;http://evil/\x1b\\click\x1b]8;;\x1b\\",
    "c1": "\x9b31mred\x9d0;x\x9c",
    "lines": "one\r\ntwo\x0bthree\x0cfour\x85five\u2028six\u2029",
    "back": "a\x08\x08\x08\x7f",
    "bidi": "gpj\u202eexe.\u2066\u2069\u200f\u061c\u200e",
    "tags": "x\U000e0041\U000e007f",
    "markup": "[bold red]x[/bold red][link=http://evil]y[/link]",
    "nul": "a\0b",
}
FORBIDDEN = {chr(c) for c in (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, *range(0x202A, 0x202F))}
FORBIDDEN |= {chr(c) for c in (*range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C, *range(0xE0000, 0xE0080))}
FORBIDDEN -= {"\n"}


def clean_text(text: str) -> bool:
    return not FORBIDDEN & set(text)


def alter(folder: Path, sql: str, *values: Any) -> None:
    shutil.rmtree(folder / "cache", ignore_errors=True)
    conn = sqlite3.connect(folder / "memory.sqlite")
    with conn:
        conn.execute(sql, values)
    conn.close()


@pytest.mark.parametrize("kind", [kind for kind in NASTY if kind != "nul"])
def test_no_name_reaches_the_terminal(run: Run, copy: Path, tmp_path: Path, kind: str) -> None:
    name = NASTY[kind]
    alter(copy, "UPDATE sources SET uri = ?", f"/v/{name}/walk{name}.mp4")
    alter(copy, "UPDATE model SET regions = ?", name)
    (tmp_path / "list.txt").write_text(f"red\n{name.strip() or 'x'}\n", "utf-8", newline="")
    for command in (
        ["ls"],
        ["ls", "--wide"],
        ["ls", "--csv"],
        ["ls", "--json"],
        ["info"],
        ["info", name],
        ["where", "red"],
        ["where", "red", "--csv"],
        ["where", "red", "--source", name],
        ["where", name],
        ["where", "red", "--near", name],
        ["where", "red", "--after", name],
        ["where", "red", "--crop", name],
        ["where", "red", "--image", name],
        ["where", "red", "--encoder", name],
        ["where", "red", "--device", name],
        ["where", "red", "--save", tmp_path / name / "x.png"],
        ["where", "red", "--save", name],
        ["things"],
        ["timeline", "red", "--csv"],
        ["watch-list", tmp_path / "list.txt"],
        ["index", name],
        ["index", "--preset", name, "x"],
        ["watch", name],
        ["recorded", name, "2026-01-01"],
        ["recorded", "x", name],
        ["rm", name, "--yes"],
        ["forget", "--source", name],
        ["forget", "--before", name],
        ["parse", name, "--labels", name],
        ["annotate", name, "--out", name],
        ["calibrate", name],
        ["doctor", "--verify", name],
        ["models", "pull", name],
        [name],
        [f"--{name}"],
        ["where", "red", f"--{name}"],
        ["where", "red", "--top", name],
        ["where", "red", "--within", name],
        ["ls", name],
    ):
        result = run(*command, "--memory", copy) if command[0] not in (name, f"--{name}", "models") else run(*command)
        assert clean_text(result.stdout), (command, result.stdout)
        assert clean_text(result.stderr), (command, result.stderr)
        assert result.exit_code != 70, (command, result.stderr)


def test_a_prompt_shows_no_control_characters(run: Run, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alter(copy, "UPDATE sources SET uri = ?", f"/v/{NASTY['title']}{NASTY['bidi']}.mp4")
    monkeypatch.setattr("vidmem.cli.rm._can_ask", lambda: True)
    with Store.open(copy) as store:
        uri = store.sources()[0].uri
    result = run("rm", uri, "--memory", copy, input="n\n")
    assert "Forget /v/\\x1b]0;owned\\x07" in result.stderr
    assert clean_text(result.stderr)


def test_markup_is_no_markup_in_a_progress_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    err = Terminal()
    monkeypatch.setattr(sys, "stderr", err)
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(messages, "_loudness", logging.INFO)
    with messages.progress_bar(10) as advance:
        advance("[red]" + NASTY["title"] + NASTY["bidi"], 5)
    told = err.getvalue()
    assert "[red]\\x1b]0;owned" in told or "[red]" in told
    assert "\x1b]" not in told
    assert "\x07" not in told
    assert "\u202e" not in told


def test_what_a_library_says_is_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    messages.set_loudness(verbose=True)
    logging.getLogger("vidmem.x").warning("broken: %s at rtsp://u:pw@cam/x", NASTY["title"])
    assert capsys.readouterr().err == "broken: \\x1b]0;owned\\x07 at rtsp://cam/x\n"
    messages.set_loudness()


def test_a_traceback_is_escaped(
    run: Run, copy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError(f"{NASTY['title']} rtsp://user:secret@cam/")

    monkeypatch.setenv("VIDMEM_DEBUG", "1")
    monkeypatch.setattr("vidmem.cli.ls.open_store", broken)
    result = run("ls", "--memory", copy)
    assert result.exit_code == 70
    assert "Traceback" in result.stderr
    assert clean_text(result.stderr)
    assert "secret" not in result.stderr


@given(st.text())
def test_what_is_shown_is_one_printable_line(text: str) -> None:
    assert shown(text).isprintable()
    assert printable(text).isprintable()


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", " =", "＝", "＋", "－", "＠"])
def test_no_cell_of_csv_is_a_formula(run: Run, copy: Path, start: str) -> None:
    name = f"{start}cmd|' /C calc'!A0"
    alter(copy, "UPDATE sources SET uri = ?", name)
    (row,) = csv.DictReader(io.StringIO(run("ls", "--csv", "--memory", copy).stdout))
    assert row["source"].startswith("'")
    assert row["source"][1:].lstrip(" \\trn")[:1] == name.lstrip("\t\r\n ")[:1]


def test_numbers_in_csv_stay_numbers() -> None:
    cells = [-1, 1.5, -2e-9, None, True, "-0.5", "+3", "12", "a=b", "-x", [-1.0, 2], ["-x"], {"a": "=1"}]
    made = [output._csv_cell(cell) for cell in cells]
    assert made == [-1, 1.5, -2e-9, None, True, "-0.5", "+3", "12", "a=b", "'-x", "-1.0 2", "'-x", '{"a": "=1"}']


SECRET = "geheim"
ADDRESSES = {
    f"rtsp://user:{SECRET}@cam/stream": "rtsp://cam/stream",
    f"rtsp://{SECRET}@cam/stream": "rtsp://cam/stream",
    f"RTSP://user:{SECRET}@cam:554/a": "RTSP://cam:554/a",
    f"rtsp://user:p@{SECRET}@cam/a": "rtsp://cam/a",
    f"rtsp://user:p/{SECRET}@cam/a": "rtsp://cam/a",
    f"rtsp://user:p:{SECRET}@cam/a": "rtsp://cam/a",
    f"rtsp://user:p?{SECRET}@cam/a": "rtsp://...",
    f"rtsp://user:p#{SECRET}@cam/a": "rtsp://...",
    f"rtsp://user:p {SECRET}@cam/a": "rtsp://cam/a",
    f"rtsp://user:p%40{SECRET}@cam/a": "rtsp://cam/a",
    f"rtsp://user%3A{SECRET}%40cam/a": "rtsp://cam/a",
    f"rtsp://user:{SECRET}@[fe80::1%25eth0]:554/a": "rtsp://[fe80::1%25eth0]:554/a",
    f"http://cam/mjpg?token={SECRET}": "http://cam/mjpg",
    f"http://cam/mjpg?user=a&pw={SECRET}@x": "http://cam/mjpg",
    f"http://cam:80/mjpg?user=a&pw={SECRET}@x": "http://...",
    f"http://cam/mjpg%3Ftoken={SECRET}": "http://cam/mjpg",
    f"http://cam/mjpg#{SECRET}": "http://cam/mjpg",
    f"https://user:{SECRET}@cam/?q=rtsp%3A%2F%2Fu%3A{SECRET}%40x": "https://...",
    f"srt://cam:9000?passphrase={SECRET}&mode=caller": "srt://cam:9000",
    f"http:/user:{SECRET}@cam/a": "http:/cam/a",
    f"rtsp:///user:{SECRET}@cam/a": "rtsp:///cam/a",
}


@pytest.mark.parametrize("url", ADDRESSES)
def test_an_address_is_shown_without_its_secrets(url: str) -> None:
    assert without_secrets(url, whole=True) == ADDRESSES[url]
    assert SECRET not in plain_name(url)
    assert SECRET not in shown(f"cannot open: {url}")
    assert SECRET not in shown(f"cannot open {url!r}; try again with {url}")


@given(st.text(min_size=1))
def test_no_password_is_shown(password: str) -> None:
    for url in (f"rtsp://user:<{password}>@cam/a", f"http://cam/a?key=<{password}>"):
        assert f"<{password}>" not in without_secrets(url, whole=True)


@pytest.mark.parametrize(
    "text",
    [
        "/v/walk.mp4",
        "C:/a@b/c.mp4",
        "a:b",
        "run.mcap#/cam",
        "https://huggingface.co/org/repo",
        "file:///v/a@b.mp4",
        "@",
    ],
)
def test_what_is_no_address_with_secrets_stays(text: str) -> None:
    assert without_secrets(text) == text
    assert without_secrets(f"see {text} and more") == f"see {text} and more"


def test_long_names_take_no_time() -> None:
    for text in ("a-" * 500_000, "a:/" * 300_000, "http:/" * 100_000 + "@", "://" * 300_000, "http://a " * 50_000):
        began = time.perf_counter()
        without_secrets(text)
        assert time.perf_counter() - began < 5


def test_a_login_without_a_kind_of_address_is_not_shown() -> None:
    assert plain_name(f"user:{SECRET}@cam:554/stream") == "cam:554/stream"
    assert plain_name("-") == "stdin"
    assert plain_name("/dev/video0") == "/dev/video0"


@pytest.mark.parametrize("url", ADDRESSES)
def test_no_command_shows_or_stores_a_password(run: Run, copy: Path, tmp_path: Path, url: str) -> None:
    (tmp_path / "list.txt").write_text("red\n")
    for command in (
        ["index", url],
        ["watch", url],
        ["watch", url, "--name", url],
        ["where", "red", "--source", url],
        ["where", "red", "--image", url],
        ["where", "red", "--model", url, "--model-name", "m"],
        ["where", "red", "--model", url, "--model-name", "m", "--allow-network"],
        ["info", url],
        ["recorded", url, "2026-01-01"],
        ["rm", url, "--yes"],
        ["forget", "--source", url],
        ["parse", url, "--labels", tmp_path / "list.txt"],
        ["parse", "walk.mp4", "--labels", url],
        ["annotate", url, "--out", tmp_path / "a.parquet"],
        ["calibrate", url],
        ["ground", url, "red"],
        [url],
    ):
        result = run(*command, "--verbose", "--memory", copy) if len(command) > 1 else run(*command)
        assert SECRET not in result.output, (command, result.output)
    with Memory.open(copy) as memory:
        with memory.session(url, encoder="colours") as session:
            session.append(np.zeros((48, 64, 3), np.uint8), 1)
        assert not any(SECRET in row.uri for row in memory.sources())
    assert not any(SECRET.encode() in path.read_bytes() for path in copy.rglob("*") if path.is_file())


def test_what_a_memory_holds_is_shown_without_secrets(run: Run, copy: Path) -> None:
    alter(copy, "UPDATE sources SET uri = ?", f"rtsp://user:{SECRET}@cam/stream")
    for command in (
        ["ls"],
        ["ls", "--json"],
        ["ls", "--csv"],
        ["ls", "--nl"],
        ["where", "red"],
        ["where", "red", "--json"],
    ):
        assert SECRET not in run(*command, "--memory", copy).output


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))


def test_an_error_leaves_the_old_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "sheet.png"
    path.write_bytes(b"old")

    def save(self: Image.Image, part: str) -> None:
        Path(part).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", save)
    with pytest.raises(MediaError, match="No space left on device"):
        write_picture(picture(), str(path))
    assert (path.read_bytes(), left(tmp_path)) == (b"old", ["sheet.png"])


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, SystemExit])
def test_whatever_ends_the_writing_leaves_the_old_file(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "out.csv"
    path.write_bytes(b"old")

    def write() -> None:
        with replacing(path) as part:
            Path(part).write_bytes(b"half")
            raise error

    with pytest.raises(error):
        write()
    assert (path.read_bytes(), left(tmp_path)) == (b"old", ["out.csv"])


def test_a_file_gets_the_usual_rights_and_replaces_what_a_link_leads_to(tmp_path: Path) -> None:
    real, link = tmp_path / "real.png", tmp_path / "link.png"
    real.write_bytes(b"old")
    link.symlink_to(real)
    before = os.umask(0o027)
    try:
        write_picture(picture(), str(link))
    finally:
        os.umask(before)
    assert link.is_symlink()
    assert Image.open(real).size == (64, 64)
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert left(tmp_path) == ["link.png", "real.png"]


def test_what_is_no_file_is_written_directly(tmp_path: Path) -> None:
    with replacing("/dev/null") as part:
        assert part == "/dev/null"
        Path(part).write_bytes(b"x")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


KILLED = """
import os, signal, sys
from vidmem.replacing import replacing
point = sys.argv[2]
if point == "rename":
    os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
with replacing(sys.argv[1]) as part:
    with open(part, "wb") as file:
        file.write(b"new" * 1000)
        if point == "half":
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
if point == "after":
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(("point", "content"), [("half", b"old"), ("rename", b"old"), ("after", b"new" * 1000)])
def test_a_kill_leaves_the_old_file_or_the_new(tmp_path: Path, point: str, content: bytes) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"old")
    done = subprocess.run([sys.executable, "-c", KILLED, str(path), point], capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert path.read_bytes() == content


def fails_in(folder: Path) -> Callable[..., Any]:
    """A `scandir` that may not read one folder, as root cannot be kept from any."""
    scandir = os.scandir

    def call(path: Any = ".") -> Any:
        if os.path.abspath(os.fspath(path)) == str(folder):
            raise PermissionError(13, "Permission denied", str(folder))
        return scandir(path)

    return call


@pytest.fixture
def partly(tmp_path: Path, walk: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a video, and a folder in it that cannot be read."""
    (tmp_path / "videos" / "closed").mkdir(parents=True)
    shutil.copy(walk, tmp_path / "videos" / "walk.mp4")
    monkeypatch.setattr(os, "scandir", fails_in(tmp_path / "videos" / "closed"))
    return tmp_path / "videos"


def test_a_folder_that_cannot_be_read_is_said(run: Run, partly: Path) -> None:
    for given_path in (str(partly), f"{partly.parent}/vid*"):
        result = run("index", given_path, "--encoder", "colours")
        assert result.exit_code == 3, result.output
        assert f"the folder cannot be read (Permission denied); change its rights: {partly}/closed" in result.stderr
    assert "walk.mp4" in run("ls").stdout


def test_the_library_says_it_when_the_rest_is_indexed(partly: Path, tmp_path: Path) -> None:
    told: list[object] = []

    def opened(name: str, what: object) -> None:
        if isinstance(what, MediaError):
            told.append((name, str(what)))

    with Memory.open(tmp_path / "m", encoder="colours") as memory:
        with pytest.raises(MediaError, match="the folder cannot be read"):
            memory.index(partly)
        assert len(memory.sources()) == 1
        memory.index(partly, on_source=opened)
    assert [name for name, _ in told] == [str(partly / "closed")]


def test_a_folder_of_which_nothing_can_be_read_fails(run: Run, partly: Path) -> None:
    result = run("index", partly / "closed", "--encoder", "colours")
    assert result.exit_code == 4
    assert "the folder cannot be read (Permission denied)" in result.stderr
    assert discover([str(partly)], refused=[]) != []


def test_usage_of_an_address_is_refused_before_it_is_stored() -> None:
    with pytest.raises(UsageError, match=r"only local files are read.*: rtsp://cam/a$"):
        discover([f"rtsp://user:{SECRET}@cam/a"])
