"""Jobs: indexing and forgetting in processes of their own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import fakes
import pytest
from attack.killing import difference, rows

from vidmem import Memory
from vidmem.config import IndexConfig
from vidmem.errors import UsageError
from vidmem.serve.faults import BusyError, ForbiddenError, NotFoundError
from vidmem.serve.job_documents import JobDocument
from vidmem.serve.jobs import ENDED, KEPT, MAX_WAITING, Jobs, JobSettings

pytestmark = pytest.mark.usefixtures("colours")

HERE = Path(__file__).parent
CHILD = (sys.executable, str(HERE / "colours_job.py"))
CONFIG = IndexConfig(fps=10, batch=8, checkpoint_frames=16, still=0)
SCENE = (("red", 0, 4, 16), ("blue", 2, 10, 80), ("green", 7, 12, 120))


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two videos of 12 and 3 s, and one photo."""
    folder = tmp_path_factory.mktemp("films")
    fakes.squares(folder / "walk.mp4", SCENE, 12)
    fakes.squares(folder / "first.mp4", SCENE[:1], 3)
    fakes.photo(folder / "photos" / "cup.png", "red", "cyan")
    return folder


@pytest.fixture
def memory(tmp_path: Path, films: Path) -> Path:
    """A memory of `first.mp4`."""
    with Memory.open(tmp_path / "memory", encoder="colours") as m:
        m.index(films / "first.mp4", config=CONFIG)
    return tmp_path / "memory"


@pytest.fixture
def heard() -> list[dict[str, Any]]:
    """What the jobs tell."""
    return []


@pytest.fixture
def jobs(memory: Path, films: Path, heard: list[dict[str, Any]]) -> Iterator[Jobs]:
    made = Jobs(JobSettings(str(memory), True, (str(films),)), lambda _, job: heard.append(dict(job)), CHILD)
    yield made
    made.close()


def until(jobs: Jobs, job: JobDocument, *, frames: int | None = None) -> JobDocument:
    """Wait for the end of a job, or until it has done so many frames."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        now = jobs.get(job.id)
        if now.state in ENDED or (frames is not None and now.progress is not None and now.progress.frames >= frames):
            return now
        time.sleep(0.02)
    raise AssertionError(f"the job did not get there: {now}")


def sources(memory: Path) -> dict[str, str]:
    with Memory.open(memory, read_only=True) as m:
        return {Path(row.uri).name: row.state for row in m.sources()}


def test_a_video_is_indexed_with_progress(
    jobs: Jobs, memory: Path, films: Path, heard: list[dict[str, Any]], tmp_path: Path
) -> None:
    job = jobs.post({"action": "index", "paths": ["walk.mp4"]})
    assert (job.action, job.state) == ("index", "waiting")
    done = until(jobs, job)
    assert (done.state, done.error) == ("done", None)
    (report,) = done.reports
    assert (Path(report.source).name, report.state, report.frames) == ("walk.mp4", "done", 120)
    assert report.source_id is not None
    assert sources(memory) == {"first.mp4": "done", "walk.mp4": "done"}
    jobs.close()  # all is told
    assert heard[0]["state"] == "waiting"
    assert heard[-1] == asdict(done)
    progress = [job["progress"] for job in heard if job["progress"]]
    assert {p["total_s"] for p in progress} == {12.0}
    assert progress[-1]["done_s"] == 12.0
    assert progress[-1]["eta_s"] == 0.0
    assert [p["done_s"] for p in progress] == sorted(p["done_s"] for p in progress)
    with Memory.open(tmp_path / "plain", encoder="colours") as m:
        m.index(films / "first.mp4", config=CONFIG)
        m.index(films / "walk.mp4")
    assert difference(rows(memory), rows(tmp_path / "plain")) is None


def test_a_folder_absolute_paths_and_what_is_known(jobs: Jobs, films: Path, memory: Path) -> None:
    done = until(jobs, jobs.post({"action": "index", "paths": [str(films)]}))
    assert done.state == "done"
    assert {(Path(r.source).name, r.state) for r in done.reports} == {
        ("first.mp4", "skipped"),
        ("walk.mp4", "done"),
        (films.name, "done"),
    }
    assert done.progress is not None
    assert done.progress.total_s == pytest.approx(12.2), "what was done before is no work, and a photo counts .2 s"
    again = until(jobs, jobs.post({"action": "index", "sources": [1]}))
    assert [r.state for r in again.reports] == ["skipped"]


def test_what_cannot_be_read_is_reported(jobs: Jobs, films: Path, memory: Path) -> None:
    bad = films / "bad.mp4"
    bad.write_bytes(b"no video" * 100)
    try:
        done = until(jobs, jobs.post({"action": "index", "paths": ["bad.mp4", "first.mp4"]}))
        assert done.state == "partial"
        assert {Path(r.source).name: r.state for r in done.reports} == {"bad.mp4": "failed", "first.mp4": "skipped"}
        (why,) = next(r.notes for r in done.reports if r.state == "failed")
        assert "bad.mp4" in why
    finally:
        bad.unlink()


def test_a_locked_memory(jobs: Jobs, memory: Path) -> None:
    with Memory.open(memory):
        done = until(jobs, jobs.post({"action": "index", "paths": ["walk.mp4"]}))
        forgot = until(jobs, jobs.post({"action": "forget", "sources": [1]}))
    for job in (done, forgot):
        assert job.state == "failed"
        assert job.error is not None
        assert job.error.kind == "locked"
    assert sources(memory) == {"first.mp4": "done"}


def test_forgetting(jobs: Jobs, memory: Path) -> None:
    would = until(jobs, jobs.post({"action": "forget", "sources": [1], "dry_run": True}))
    assert [(r.source_id, r.state) for r in would.reports] == [(1, "to_forget")]
    assert sources(memory) == {"first.mp4": "done"}
    done = until(jobs, jobs.post({"action": "forget", "sources": [1]}))
    assert (done.state, [(r.source_id, r.state) for r in done.reports]) == ("done", [(1, "forgotten")])
    assert sources(memory) == {}
    gone = until(jobs, jobs.post({"action": "forget", "sources": [1]}))
    assert gone.state == "failed"


def test_forgetting_by_time(jobs: Jobs, memory: Path) -> None:
    until(jobs, jobs.post({"action": "index", "paths": ["walk.mp4"]}))
    part = until(jobs, jobs.post({"action": "forget", "sources": [2], "before": "6s"}))
    assert (part.state, part.reports[0].notes) == ("done", ["a part"])
    none = until(jobs, jobs.post({"action": "forget", "before": "52w"}))
    assert (none.state, none.reports) == ("done", [])
    vague = until(jobs, jobs.post({"action": "forget", "before": "6s"}))
    assert vague.error is not None
    assert vague.error.kind == "usage"


def test_a_cancelled_job_is_resumed_bit_for_bit(
    memory: Path, films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tmp_path / "whole"
    shutil.copytree(memory, whole)
    with Memory.open(whole) as m:
        m.index(films / "walk.mp4")
    gate = tmp_path / "gate"
    monkeypatch.setenv(fakes.GATE, str(gate))
    jobs = Jobs(JobSettings(str(memory), True, (str(films),), {"encoder": "colours:gated"}), command=CHILD)
    try:
        job = jobs.post({"action": "index", "paths": ["walk.mp4"]})
        waits = jobs.post({"action": "index", "paths": ["first.mp4"]})
        assert until(jobs, job, frames=40).state == "running"
        assert jobs.cancel(waits.id).state == "cancelled"
        jobs.cancel(job.id)
        cancelled = until(jobs, job)
        assert (cancelled.state, cancelled.error) == ("cancelled", None)
        assert jobs.cancel(job.id).state == "cancelled", "twice is fine"
        assert sources(memory) == {"first.mp4": "done", "walk.mp4": "open"}
        gate.touch()
        resumed = until(jobs, jobs.post({"action": "index", "sources": [2]}))
        assert resumed.state == "done"
        assert resumed.progress is not None
        assert 5 < resumed.progress.total_s < 12, "only what is left"
    finally:
        jobs.close()
    assert difference(rows(memory), rows(whole)) is None


@pytest.mark.skipif(sys.platform == "win32", reason="there is no kill -9")
def test_a_job_dies_with_the_server_and_the_memory_is_whole(memory: Path, films: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    shutil.copytree(memory, whole)
    with Memory.open(whole) as m:
        m.index(films / "walk.mp4")
    environment = {**os.environ, fakes.GATE: str(tmp_path / "gate"), "PYTHONPATH": str(HERE.parent.parent)}
    command = [sys.executable, str(HERE / "job_server.py"), str(memory), str(films), "walk.mp4"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as server:
        assert server.stdout is not None
        child = int(server.stdout.readline())
        assert alive(child)
        server.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 20
    while alive(child):
        assert time.monotonic() < deadline, "the job outlived its server"
        time.sleep(0.05)
    assert sources(memory) == {"first.mp4": "done", "walk.mp4": "open"}
    with Memory.open(memory) as m:  # the lock is free
        m.index(films / "walk.mp4")
    assert difference(rows(memory), rows(whole)) is None


def alive(pid: int) -> bool:
    """Return True for a process that runs; one that nobody waited for yet does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def test_closing_the_server_cancels(memory: Path, films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(fakes.GATE, str(tmp_path / "gate"))
    jobs = Jobs(JobSettings(str(memory), True, (str(films),), {"encoder": "colours:gated"}), command=CHILD)
    job = jobs.post({"action": "index", "paths": ["walk.mp4"]})
    later = jobs.post({"action": "forget", "sources": [1]})
    until(jobs, job, frames=10)
    jobs.close()
    assert [jobs.get(one.id).state for one in (job, later)] == ["cancelled", "cancelled"]
    with pytest.raises(BusyError):
        jobs.post({"action": "forget", "sources": [1]})
    with Memory.open(memory):
        pass


def test_a_process_that_breaks(memory: Path, films: Path) -> None:
    settings = JobSettings(str(memory), True, (str(films),))
    for code, cause in (
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "signal 9"),
        ("raise SystemExit(3)", "code 3"),
        ("print('nonsense')", "broke"),
        ('print(\'{"end": {"state": "failed", "error": {"kind": "store", "message": "full"}}}\')', "full"),
    ):
        jobs = Jobs(settings, command=(sys.executable, "-c", code))
        done = until(jobs, jobs.post({"action": "index", "paths": ["walk.mp4"]}))
        jobs.close()
        assert done.state == "failed"
        assert done.error is not None
        assert cause in done.error.message


COUNTS = """
import json, signal, sys, time
told = []
signal.signal(signal.SIGINT, lambda *_: told.append(1))
print(json.dumps({"progress": dict(source="", done_s=0, total_s=1, frames=1, fps=1, eta_s=None)}), flush=True)
while not told: time.sleep(0.02)
time.sleep(1)
error = {"kind": "x", "message": str(len(told))}
print(json.dumps({"end": {"state": "failed", "error": error}}), flush=True)
"""


def test_a_job_that_is_cancelled_often_is_interrupted_once(memory: Path, films: Path) -> None:
    jobs = Jobs(JobSettings(str(memory), True, (str(films),)), command=(sys.executable, "-c", COUNTS))
    job = jobs.post({"action": "index", "paths": ["walk.mp4"]})
    until(jobs, job, frames=1)
    threads = threading.active_count()
    for _ in range(50):
        jobs.cancel(job.id)
        time.sleep(0.005)
    assert threading.active_count() <= threads + 1
    done = until(jobs, job)
    jobs.close()
    assert done.error is not None
    assert done.error.message == "1"


def test_a_second_interrupt_does_not_break_the_first() -> None:
    code = """
import os, signal
from vidmem.serve import job_child
def work(send):
    try:
        os.kill(os.getpid(), signal.SIGINT)
    finally:
        os.kill(os.getpid(), signal.SIGINT)
        send("report", "kept")
    return {}
job_child._guarded = work
job_child.main()
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True).stdout
    assert [json.loads(line) for line in out.splitlines()] == [{"report": "kept"}, {"end": {"state": "cancelled"}}]


def test_a_thousand_reports_are_told_in_few_events(memory: Path, films: Path, heard: list[dict[str, Any]]) -> None:
    code = """
import json
report = dict(source_id=1, source="x" * 100, state="failed", frames=0, tracks=0, damaged=0, notes=["y" * 100])
for _ in range(1000): print(json.dumps({"report": report}))
print(json.dumps({"end": {"state": "done"}}), flush=True)
"""
    settings = JobSettings(str(memory), True, (str(films),))
    jobs = Jobs(settings, lambda _, job: heard.append(dict(job)), (sys.executable, "-c", code))
    done = until(jobs, jobs.post({"action": "index", "paths": ["walk.mp4"]}))
    jobs.close()
    assert len(done.reports) == 1000
    assert len(heard) < 50
    assert len(heard[-1]["reports"]) == 1000


def test_the_token_is_not_given_to_jobs(memory: Path, films: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDMEM_SERVE_TOKEN", "a-secret-of-the-server")
    code = 'import os, json; print(json.dumps({"end": {"state": "failed", "error": {"kind": "x", "message": '
    code += 'str("VIDMEM_SERVE_TOKEN" in os.environ)}}}))'
    jobs = Jobs(JobSettings(str(memory), True, (str(films),)), command=(sys.executable, "-c", code))
    done = until(jobs, jobs.post({"action": "index", "paths": ["walk.mp4"]}))
    jobs.close()
    assert done.error is not None
    assert done.error.message == "False"


def test_nothing_without_the_right_to_write(memory: Path, films: Path) -> None:
    jobs = Jobs(JobSettings(str(memory), False, (str(films),)), command=CHILD)
    with pytest.raises(ForbiddenError):
        jobs.post({"action": "index", "paths": ["walk.mp4"]})
    with pytest.raises(ForbiddenError):
        jobs.cancel("x")
    assert jobs.all() == []


def test_the_queue_and_what_is_remembered_are_bounded(
    memory: Path, films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "import sys, time\nsys.stdin.readline()\nsys.stdin.read()"
    jobs = Jobs(JobSettings(str(memory), True, (str(films),)), command=(sys.executable, "-c", code))
    ask = {"action": "index", "paths": ["walk.mp4"]}
    first = jobs.post(ask)
    deadline = time.monotonic() + 20
    while jobs.get(first.id).state == "waiting" and time.monotonic() < deadline:
        time.sleep(0.01)
    for _ in range(MAX_WAITING):
        jobs.post(ask)
    with pytest.raises(BusyError):
        jobs.post(ask)
    for _ in range(KEPT + 20):
        waiting = next(job for job in jobs.all() if job.state == "waiting")
        jobs.cancel(waiting.id)
        jobs.post(ask)
    assert len(jobs.all()) <= KEPT + MAX_WAITING + 2
    jobs.close()


@pytest.mark.parametrize(
    ("document", "cause"),
    [
        (None, "object"),
        ([], "object"),
        ("index", "object"),
        ({}, "`action`"),
        ({"action": "annotate"}, "`action`"),
        ({"action": ["index"]}, "`action`"),
        ({"action": "index"}, "what to index"),
        ({"action": "index", "paths": "walk.mp4"}, "`paths`"),
        ({"action": "index", "paths": [1]}, "`paths`"),
        ({"action": "index", "paths": ["walk.mp4"] * 300}, "`paths`"),
        ({"action": "index", "paths": ["walk.mp4"], "encoder": "clip"}, "no field"),
        ({"action": "index", "paths": ["walk.mp4"], "weights": "/tmp/x"}, "no field"),
        ({"action": "index", "sources": ["1"]}, "`sources`"),
        ({"action": "index", "sources": [True]}, "`sources`"),
        ({"action": "index", "sources": [-1]}, "`sources`"),
        ({"action": "index", "sources": [1 << 70]}, "`sources`"),
        ({"action": "forget"}, "what to forget"),
        ({"action": "forget", "paths": ["walk.mp4"]}, "no field"),
        ({"action": "forget", "before": 5}, "`before`"),
        ({"action": "forget", "before": "soon"}, "time"),
        ({"action": "forget", "sources": [1], "dry_run": "no"}, "`dry_run`"),
    ],
)
def test_a_malformed_job_is_refused(jobs: Jobs, document: object, cause: str) -> None:
    with pytest.raises(UsageError, match=cause):
        jobs.post(document)
    assert jobs.all() == []


@pytest.mark.parametrize(
    "path",
    [
        "",
        "../secret.mp4",
        "photos/../../secret.mp4",
        "/etc/passwd",
        "/dev/zero",
        "/proc/self/environ",
        "//host/share/x.mp4",
        "\\\\host\\share\\x.mp4",
        "~/x.mp4",
        "http://169.254.169.254/latest/meta-data",
        "HTTPS://127.0.0.1:8077/x.mp4",
        "file:///etc/passwd",
        "rtsp://camera/1",
        "*.mp4",
        "**/*",
        "walk.mp4\0.jpg",
        "x" * 5000,
        "none.mp4",
        "link.mp4",
        "pipe.mp4",
    ],
)
def test_no_path_leads_out(jobs: Jobs, films: Path, path: str) -> None:
    link, pipe = films / "link.mp4", films / "pipe.mp4"
    link.symlink_to("/etc/passwd")
    os.mkfifo(pipe)
    try:
        with pytest.raises(UsageError) as caught:
            jobs.post({"action": "index", "paths": ["walk.mp4", path]})
    finally:
        link.unlink()
        pipe.unlink()
    assert "root:" not in str(caught.value)
    assert jobs.all() == [], "nothing is done if one path is wrong"


def test_a_link_out_of_the_folders_is_not_indexed(jobs: Jobs, films: Path, memory: Path, tmp_path: Path) -> None:
    secret = fakes.squares(tmp_path / "secret.mp4", SCENE, 2)
    fakes.photo(tmp_path / "secret.png", "red")
    links = {films / "link.mp4": secret, films / "photos" / "link.png": tmp_path / "secret.png"}
    for link, target in links.items():
        link.symlink_to(target)
    try:
        done = until(jobs, jobs.post({"action": "index", "paths": ["."]}))
    finally:
        for link in links:
            link.unlink()
    assert done.state == "failed"
    assert done.error is not None
    assert "leads out" in done.error.message
    assert sources(memory) == {"first.mp4": "done"}


def test_unknown_ids(jobs: Jobs) -> None:
    def known(source: int) -> None:
        raise NotFoundError(f"no source {source}")

    with pytest.raises(NotFoundError):
        jobs.post({"action": "forget", "sources": [77]}, known)
    with pytest.raises(NotFoundError):
        jobs.get("../../etc/passwd")
    with pytest.raises(NotFoundError):
        jobs.cancel("1")


# A memory can come from a stranger, and name files of yours as its sources.


def test_a_file_elsewhere_is_read_on_only_if_it_is_what_was_indexed(memory: Path, films: Path, tmp_path: Path) -> None:
    elsewhere = fakes.squares(tmp_path / "elsewhere.mp4", SCENE, 3)
    with Memory.open(memory) as m:
        m.index(elsewhere)
    jobs = Jobs(JobSettings(str(memory), True, (str(films),)), command=CHILD)
    try:
        assert until(jobs, jobs.post({"action": "index", "sources": [2]})).state == "done"
        fakes.squares(elsewhere, SCENE[1:], 4)
        done = until(jobs, jobs.post({"action": "index", "sources": [2]}))
        assert done.state == "failed"
        assert done.error is not None
        assert "has changed" in done.error.message
    finally:
        jobs.close()
    assert sources(memory) == {"first.mp4": "done", "elsewhere.mp4": "done"}
