from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import av
import pytest
from mcp.shared.exceptions import MCPError
from mcp_types import BlobResourceContents, PromptReference, ResourceTemplateReference, TextResourceContents
from PIL import Image

from vidmem.memory import Memory

from .talking import call, document, talk, uris


def read(server: Any, uri: str) -> tuple[str, bytes]:
    """The type and the content of a resource."""
    (content,) = talk(server, lambda client: client.read_resource(uri)).contents
    if isinstance(content, BlobResourceContents):
        return str(content.mime_type), base64.b64decode(content.blob)
    assert isinstance(content, TextResourceContents)
    return str(content.mime_type), content.text.encode()


def refused(server: Any, uri: str) -> str:
    with pytest.raises(MCPError) as caught:
        read(server, uri)
    assert caught.value.error.code == -32602
    return caught.value.error.message


def test_sources_are_listed(server: Any) -> None:
    found = talk(server, lambda client: client.list_resources()).resources
    assert [resource.uri for resource in found] == ["vidmem://sources", "vidmem://sources/2", "vidmem://sources/1"]
    assert found[2].title == "walk.mp4"
    templates = talk(server, lambda client: client.list_resource_templates()).resource_templates
    assert [template.uri_template for template in templates] == [
        "vidmem://sources/{source}",
        "vidmem://sightings/{id}",
        "vidmem://frames/{source}/{t_ns}{?box}",
        "vidmem://crops/{source}/{t_ns}{?box}",
        "vidmem://clips/{source}/{span}",
    ]
    assert all(template.description and template.mime_type for template in templates)


def test_sources_as_json(server: Any, memory: Memory) -> None:
    kind, data = read(server, "vidmem://sources")
    assert kind == "application/json"
    assert [source["id"] for source in json.loads(data)] == [1, 2]
    one = json.loads(read(server, "vidmem://sources/1")[1])
    assert (one["source"], one["at_hand"]) == (memory.sources()[0].uri, True)
    assert json.loads(read(server, "vidmem://sources/walk.mp4")[1]) == one


def test_a_sighting_as_json(server: Any) -> None:
    (red,) = document(call(server, "where", text="red", source=1))["sightings"]
    found = json.loads(read(server, f"vidmem://sightings/{red['id']}")[1])
    scores = {"score", "text_score", "confidence"}
    assert {k: v for k, v in found.items() if k not in scores} == {k: v for k, v in red.items() if k not in scores}


def test_every_link_of_an_answer_can_be_read(server: Any) -> None:
    answer = call(server, "where", text="red", top=5)
    found = uris(answer)
    assert len(found) >= 3
    for uri in found:
        kind, data = read(server, uri)
        if kind == "image/jpeg":
            assert max(Image.open(io.BytesIO(data)).size) <= 1024
        else:
            assert (kind, data[4:8]) == ("video/mp4", b"ftyp")


def test_a_clip_has_the_span(server: Any) -> None:
    kind, data = read(server, "vidmem://clips/1/8000000000-10800000000")
    assert kind == "video/mp4"
    with av.open(io.BytesIO(data)) as container:
        times = [frame.time for frame in container.decode(video=0)]
    assert (times[0], times[-1]) == (0, pytest.approx(2.8, abs=0.11))


def test_a_close_up(server: Any) -> None:
    _, data = read(server, "vidmem://crops/1/1500000000?box=60,32,92,64")
    assert Image.open(io.BytesIO(data)).size == (800, 628)


@pytest.mark.parametrize(
    ("uri", "part"),
    [
        ("vidmem://sources/99", "no source has the id or name '99'"),
        ("vidmem://sightings/1-2", "not the id of a sighting"),
        ("vidmem://sightings/9-0-1-0-1", "no longer in the memory"),
        ("vidmem://frames/1/soon", "whole nanoseconds"),
        ("vidmem://frames/1/-5", "whole nanoseconds"),
        ("vidmem://frames/1/99999999999999999999999", "whole nanoseconds"),
        ("vidmem://frames/1/0?box=1,2", "`box` is four numbers"),
        ("vidmem://frames/1/0?box=a,b,c,d", "a box is x0,y0,x1,y1"),
        ("vidmem://frames/1/0?box=nan,0,inf,9", "`box` is four numbers"),
        ("vidmem://crops/1/0", "needs a box"),
        ("vidmem://clips/1/later", "START-END in nanoseconds"),
        ("vidmem://clips/1/9-1", "from an earlier to a later time"),
        ("vidmem://clips/1/0-999999999999", "at most 60 s"),
        ("vidmem://clips/1/99000000000-99900000000", "within 0 and"),
        ("vidmem://clips/2/0-1", "photos have no clips"),
        ("vidmem://frames/2/3", "has none at"),
        ("vidmem://nothing/1", "Unknown resource"),
        ("file:///etc/passwd", "Unknown resource"),
        ("vidmem://sources/..%2F..%2Fetc%2Fpasswd", "Unknown resource"),
        ("vidmem://sources/%00", "Unknown resource"),
    ],
)
def test_what_cannot_be_read(server: Any, uri: str, part: str) -> None:
    assert part in refused(server, uri)


def test_a_source_that_is_gone(copy: Path, tmp_path: Path, walk: Path) -> None:
    from vidmem.serve.agents.desk import Desk
    from vidmem.serve.agents.server import build

    away = walk.with_suffix(".away")
    walk.rename(away)
    try:
        with Memory.open(copy, read_only=True) as m:
            server = build(Desk(m))
            assert "no longer there" in refused(server, "vidmem://frames/1/0")
            assert "not there" in refused(server, "vidmem://clips/1/0-1000000000")
            assert json.loads(read(server, "vidmem://sources/1")[1])["at_hand"] is False
    finally:
        away.rename(walk)


def test_the_prompt(server: Any) -> None:
    (prompt,) = talk(server, lambda client: client.list_prompts()).prompts
    assert (prompt.name, [a.name for a in prompt.arguments or []]) == ("find_a_thing", ["thing", "when"])
    filled = talk(server, lambda c: c.get_prompt("find_a_thing", {"thing": "my  cup\n", "when": "yesterday"}))
    written = filled.messages[0].content
    assert written.type == "text"
    assert "video memory: my cup. It matters when: yesterday." in written.text
    for tool in ("where", "look", "timeline", "things"):
        assert f"`{tool}`" in written.text


@pytest.mark.parametrize(
    ("name", "arguments"), [("find_a_thing", {}), ("find_a_thing", {"thing": "x" * 500}), ("nope", {})]
)
def test_a_prompt_with_wrong_arguments(server: Any, name: str, arguments: dict[str, str]) -> None:
    with pytest.raises(MCPError) as caught:
        talk(server, lambda client: client.get_prompt(name, arguments))
    assert caught.value.error.code == -32602
    assert "find_a_thing(thing, when)" in caught.value.error.message


def test_completion(server: Any) -> None:
    frame = ResourceTemplateReference(uri="vidmem://frames/{source}/{t_ns}{?box}")
    prompt = PromptReference(name="find_a_thing")

    def values(ref: Any, name: str, typed: str) -> list[str]:
        found = talk(server, lambda client: client.complete(ref, {"name": name, "value": typed}))
        return list(found.completion.values)

    assert values(frame, "source", "") == ["1", "2"]
    assert values(frame, "source", "2") == ["2"]
    assert values(frame, "source", "wal") == ["1"]
    assert values(frame, "t_ns", "1") == []
    assert values(prompt, "thing", "b") == ["blue", "brown"]
    assert values(prompt, "when", "b") == []
