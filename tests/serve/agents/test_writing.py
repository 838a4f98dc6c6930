"""The tools that write: only where they are allowed, only below the folders, and never without a plain yes."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import fakes
import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcp import Client
from mcp.server.mcpserver.exceptions import ToolError, UnexpectedToolError
from mcp_types import CallToolResult
from typer.testing import CliRunner

from needs import needs
from vidmem.cli import app
from vidmem.memory import Memory
from vidmem.serve.agents.desk import Desk
from vidmem.serve.agents.server import build
from vidmem.serve.agents.writing import writing_tools
from vidmem.serve.jobs import ENDED, Jobs, JobSettings

from .talking import call, document, problem, stdio, talk, text

CHILD = (sys.executable, str(Path(__file__).parents[1] / "colours_job.py"))


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """A folder with a video and a photo, and a link that leads out of it."""
    folder = tmp_path / "videos"
    (folder / "home").mkdir(parents=True)
    fakes.squares(folder / "home" / "new.mp4", [("yellow", 0, 3, 8)], 3)
    fakes.photo(folder / "photos" / "p.png", "cyan")
    fakes.squares(tmp_path / "secret.mp4", [("brown", 0, 1, 8)], 1)
    (folder / "out.mp4").symlink_to(tmp_path / "secret.mp4")
    return folder


@pytest.fixture
def jobs(copy: Path, videos: Path) -> Iterator[Jobs]:
    running = Jobs(JobSettings(str(copy), True, (str(videos),)), command=CHILD)
    yield running
    running.close()


@pytest.fixture
def writer(copy: Path, videos: Path, jobs: Jobs) -> Iterator[Any]:
    """A server that may write to a copy of the memory."""
    with Memory.open(copy, read_only=True) as m:
        desk = Desk(m)
        yield build(desk, writing_tools(desk, jobs, (str(videos),)))


def names(memory: Path) -> list[str]:
    with Memory.open(memory, read_only=True) as m:
        return sorted(Path(row.uri).name for row in m.sources())


def test_they_are_listed_with_what_they_may_do(writer: Any, server: Any) -> None:
    tools = {tool.name: tool for tool in talk(writer, lambda client: client.list_tools()).tools}
    assert list(tools)[6:] == ["index", "annotate", "forget"]
    for name, destructive in (("index", True), ("annotate", False), ("forget", True)):
        hints = tools[name].annotations
        assert hints is not None
        assert (hints.read_only_hint, hints.destructive_hint) == (False, destructive)
        assert all(argument["description"] for argument in tools[name].input_schema["properties"].values())
    assert "there is no tool 'forget'" in problem(call(server, "forget", source=1))


def test_index_reports_progress_and_can_be_asked_about(writer: Any, copy: Path) -> None:
    told: list[tuple[float, float | None, str | None]] = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        told.append((done, total, message))

    async def work(client: Client) -> tuple[CallToolResult, CallToolResult, Any]:
        schema = next(t for t in (await client.list_tools()).tools if t.name == "index").output_schema
        done = await client.call_tool("index", {"paths": "home/new.mp4"}, progress_callback=progress)
        return done, await client.call_tool("where", {"text": "yellow"}), schema

    done, found, schema = talk(writer, work)
    job = document(done)
    jsonschema.validate(job, schema)
    assert job["state"] == "done"
    assert f"Job {job['id']}: done." in text(done)
    assert "- new.mp4 (source 3): done" in text(done)
    assert document(found)["found"]
    assert told[-1][:2] == (3.0, 3.0)
    assert told[-1][2] is not None
    assert "new.mp4" in told[-1][2]
    assert [r["state"] for r in document(call(writer, "index", source=3))["reports"]] == ["skipped"]


def test_a_job_goes_on_when_the_call_does_not_wait(writer: Any, jobs: Jobs) -> None:
    first = call(writer, "index", paths=["home"], wait_s=0)
    job = document(first)
    assert job["state"] in ("waiting", "running")
    done = document(call(writer, "index", job=job["id"]))
    assert (done["id"], done["state"]) == (job["id"], "done")
    assert document(call(writer, "index", job=job["id"], cancel=True))["state"] == "done"
    assert "there is no such job" in problem(call(writer, "index", job="nope"))


def test_a_cancelled_call_cancels_its_job(
    copy: Path, videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(fakes.GATE, str(tmp_path / "gate"))  # which never opens
    fakes.squares(videos / "long.mp4", [("yellow", 0, 30, 8)], 30)
    folder = tmp_path / "gated"
    Memory.open(folder, encoder="colours:gated").close()
    jobs = Jobs(JobSettings(str(folder), True, (str(videos),), {"encoder": "colours:gated"}), command=CHILD)
    try:
        with Memory.open(folder, read_only=True, encoder="colours:gated") as m:
            desk = Desk(m)
            server = build(desk, writing_tools(desk, jobs, (str(videos),)))

            async def give_up(client: Client) -> None:
                async def call_it() -> None:
                    await client.call_tool("index", {"paths": ["long.mp4"], "wait_s": 600})

                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(call_it)
                    while not (known := jobs.all()) or known[0].progress is None or known[0].progress.frames < 5:
                        await anyio.sleep(0.02)
                    tasks.cancel_scope.cancel()

            talk(server, give_up)
        (job,) = jobs.all()
        deadline = time.monotonic() + 120
        while jobs.get(job.id).state not in ENDED and time.monotonic() < deadline:
            time.sleep(0.02)
        assert jobs.get(job.id).state == "cancelled"
    finally:
        jobs.close()


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ({}, "say what to index"),
        ({"paths": []}, "say what to index"),
        ({"paths": ["/etc/passwd"]}, "no such file below the server's folders"),
        ({"paths": ["../secret.mp4"]}, "may not go up"),
        ({"paths": ["out.mp4"]}, "no such file below the server's folders"),
        ({"paths": ["http://a.example/b.mp4"]}, "only files below the server's folders"),
        ({"paths": ["home/none.mp4"]}, "no such file below the server's folders"),
        ({"paths": [7]}, "`paths` is wrong"),
        ({"source": 99}, "no source has the id or name '99'"),
        ({"paths": ["home"], "wait_s": 10**9}, "`wait_s`"),
    ],
)
def test_what_cannot_be_indexed(writer: Any, copy: Path, arguments: dict[str, Any], part: str) -> None:
    assert part in problem(call(writer, "index", **arguments))
    assert names(copy) == ["photos", "walk.mp4"]


def test_forget_says_what_would_go_and_waits_for_a_yes(writer: Any, copy: Path, walk: Path) -> None:
    planned = call(writer, "forget", source="walk.mp4")
    found = document(planned)
    assert (found["forgotten"], found["job"]) == (False, None)
    (step,) = found["steps"]
    assert (step["source_id"], step["source"], step["whole"]) == (1, str(walk), True)
    assert step["tracks"] > 2
    assert text(planned).startswith("This would be forgotten; nothing is changed yet:")
    assert "confirm=true" in text(planned)
    assert names(copy) == ["photos", "walk.mp4"]
    done = call(writer, "forget", source="walk.mp4", confirm=True)
    assert document(done)["forgotten"] is True
    assert document(done)["job"]["state"] == "done"
    assert names(copy) == ["photos"]
    assert walk.exists()
    assert "no source has the id" in problem(call(writer, "forget", source=1, confirm=True))


def test_a_stale_id_says_so(writer: Any) -> None:
    red = document(call(writer, "where", text="red", source=1))["sightings"][0]
    document(call(writer, "forget", source=1, confirm=True))
    assert "no longer in the memory" in problem(call(writer, "look", id=red["id"]))


def test_forget_a_part_and_a_thing(writer: Any, copy: Path) -> None:
    part = document(call(writer, "forget", source=1, before="4s"))
    assert part["steps"][0]["before_s"] == 4.0
    assert document(call(writer, "forget", source=1, before="4s", confirm=True))["forgotten"]
    assert document(call(writer, "where", text="red", source=1))["sightings"][0]["start_s"] == 8.0
    thing = document(call(writer, "forget", thing="green", source=1))
    assert thing["steps"][0]["whole"] is False
    assert document(call(writer, "forget", thing="green", source=1, confirm=True))["forgotten"]
    assert not document(call(writer, "where", text="green", source=1))["found"]
    assert document(call(writer, "where", text="red", source=1))["found"]


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ({}, "say what to forget"),
        ({"confirm": True}, "say what to forget"),
        ({"thing": " "}, "empty"),
        ({"thing": "red", "before": "1s"}, "leave `before` out"),
        ({"before": "soon"}, "is not a time"),
        ({"before": "5s"}, "say in which with `source`"),
        ({"source": "none.mp4", "confirm": True}, "no source has the id or name"),
        ({"source": 1, "confirm": "perhaps"}, "`confirm` is wrong"),
    ],
)
def test_what_cannot_be_forgotten(writer: Any, copy: Path, arguments: dict[str, Any], part: str) -> None:
    assert part in problem(call(writer, "forget", **arguments))
    assert names(copy) == ["photos", "walk.mp4"]


def test_nothing_to_forget(writer: Any) -> None:
    answer = call(writer, "forget", before="1990-01-01", confirm=True)
    assert document(answer) == {"forgotten": False, "steps": [], "job": None}
    assert text(answer) == "There is nothing to forget."


def test_a_locked_memory_is_not_forgotten(writer: Any, copy: Path) -> None:
    with Memory.open(copy):  # holds the writer's lock
        answer = call(writer, "forget", source=1, confirm=True)
    found = document(answer)
    assert (found["forgotten"], found["job"]["error"]["kind"]) == (False, "locked")
    assert str(copy) not in text(answer)
    assert str(copy) not in json.dumps(found["job"]["error"])
    assert "It was not forgotten" in text(answer)


def test_annotate_writes_a_new_file_below_the_folders(writer: Any, videos: Path) -> None:
    needs("pyarrow")
    answer = call(writer, "annotate", source=1, out="home/walk.parquet", labels=["red", "blue"])
    found = document(answer)
    assert found["file"] == "videos/home/walk.parquet"
    assert found["bytes"] == (videos / "home" / "walk.parquet").stat().st_size
    assert "Wrote videos/home/walk.parquet" in text(answer)
    assert "is not replaced" in problem(call(writer, "annotate", source=1, out="home/walk.parquet"))


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ({"source": 1}, "`out` is missing"),
        ({"out": "a.parquet"}, "`source` is missing"),
        ({"source": 1, "out": "a.txt"}, "annotations are written as"),
        ({"source": 1, "out": "/tmp/a.parquet"}, "no such file below"),
        ({"source": 1, "out": "../a.parquet"}, "may not go up"),
        ({"source": 1, "out": "none/a.parquet"}, "no such file below"),
        ({"source": 1, "out": "out.mp4"}, "is not replaced"),
        ({"source": 1, "out": "home/"}, "is the name of a file"),
        ({"source": 1, "out": ""}, "is the name of a file"),
        ({"source": 9, "out": "a.parquet"}, "no source has the id"),
    ],
)
def test_what_is_not_annotated(writer: Any, videos: Path, arguments: dict[str, Any], part: str) -> None:
    before = sorted(videos.rglob("*"))
    assert part in problem(call(writer, "annotate", **arguments))
    assert sorted(videos.rglob("*")) == before


def test_over_stdio_a_new_memory_is_made_and_filled(tmp_path: Path, walk: Path) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    shutil.copy(walk, videos / "walk.mp4")
    server = stdio(tmp_path / "new", "--allow-write", "--folder", str(videos))

    async def work(client: Client) -> tuple[dict[str, Any], dict[str, Any]]:
        job = document(await client.call_tool("index", {"paths": ["walk.mp4"], "wait_s": 200}))
        return job, document(await client.call_tool("sources", {}))

    job, sources = talk(server, work)
    assert job["state"] == "done"
    assert (sources["total"], sources["encoder"]) == (1, "tiny")


def test_folders_belong_to_writing(made: Path, tmp_path: Path) -> None:
    for options, part in (
        (("--folder", str(tmp_path)), "--allow-write"),
        (("--allow-write", "--folder", str(tmp_path / "none")), "--folder is a folder that exists"),
    ):
        ran = CliRunner().invoke(app, ["mcp", str(made), *options])
        assert (ran.exit_code, ran.stdout) == (2, "")
        assert part in ran.stderr


WORDS = st.sampled_from(
    [
        *(
            "",
            ".",
            "..",
            "/",
            "home",
            "home/new.mp4",
            "out.mp4",
            "/etc/passwd",
            "a.parquet",
            "x/a.rrd",
            "\x00",
            "\ud800",
        ),
        *("#", "http://a/b", "~", "*", "walk.mp4", "1", "red", "5s", "30d", "a" * 5000),
    ]
)
ARGUMENTS = ("paths", "source", "job", "out", "labels", "everything", "before", "thing", "wait_s", "cancel")
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 10**20), WORDS, st.lists(st.one_of(WORDS, st.integers(-2, 9)), max_size=3)
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    tool=st.sampled_from(["annotate", "forget", "index"]),
    arguments=st.dictionaries(
        st.sampled_from(ARGUMENTS),
        VALUES,
        max_size=5,
    ),
)
def test_any_arguments(writer: Any, videos: Path, tool: str, arguments: dict[str, Any]) -> None:
    known = writer._offers[tool].tool.parameters["properties"]
    given_ = {name: value for name, value in arguments.items() if name in known}
    if tool == "index":  # the jobs themselves are tested elsewhere
        given_["wait_s"] = 0
    try:
        anyio.run(lambda: writer.call_tool(tool, given_))
    except ToolError as error:
        fault: Exception = error
    else:
        return
    assert not isinstance(fault, UnexpectedToolError), fault.__cause__
    assert str(videos) not in str(fault)
    assert str(fault).isprintable()
