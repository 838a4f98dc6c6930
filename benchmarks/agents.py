"""Are the tools for agents enough to reply? `python -m benchmarks.agents --out FILE.json [--clips FOLDER]`.

Indexes the real clips into one memory, and asks 20 questions of a person through the tools of `vidmem mcp`, over MCP,
in the way that SKILL.md tells an agent to. No model takes part: a reply is made of the structured part of the results
by a fixed rule, and compared with what a person sees in the clips. Pictures are counted and checked for their size, but
nobody looks at them; an agent that does can do better than this.

right    the reply is true
unsure   "not found", but a near miss is the thing, so that whoever looks at its picture sees it
wrong    the reply is false
"""

from __future__ import annotations

import asyncio
import base64
import io
import shutil
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from mcp import Client
from mcp_types import CallToolResult
from PIL import Image

from benchmarks.common import CLIPS, OUT, machine, memory_place, model, parser_for, say, skip, table, write_json
from vidmem import Memory
from vidmem.serve.agents.desk import Desk
from vidmem.serve.agents.pictures import MAX_BYTES, MAX_SIDE
from vidmem.serve.agents.server import build

TARGETS = {"right": 14, "wrong_at_most": 4, "errors": 0}
DOG, CUPS, COFFEE = "sam2_01_dog.mp4", "sam2_02_cups.mp4", "sam2_04_coffee.mp4"
BOTTLES, NASA = "intel_bottle_detection.mp4", "torchcodec_nasa_13013.mp4"
TABLE, CHESS = "lerobot_umi_cup_in_the_wild_ep0.mp4", "lerobot_follower_wrist_ep0.mp4"


class Agent:
    """Calls tools, and keeps what it saw."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.calls: list[str] = []
        self.pictures = 0
        self.errors: list[str] = []

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """The structured result of a tool."""
        result: CallToolResult = await self._client.call_tool(tool, arguments)
        self.calls.append(f"{tool}({', '.join(f'{name}={value!r}' for name, value in arguments.items())})")
        if result.is_error:
            self.errors.append(str(result.content))
            return {}
        for block in result.content:
            if block.type == "image":
                self._check(base64.b64decode(block.data))
        found: dict[str, Any] = result.structured_content
        return found

    def _check(self, jpeg: bytes) -> None:
        if len(jpeg) > MAX_BYTES or max(Image.open(io.BytesIO(jpeg)).size) > MAX_SIDE:
            self.errors.append(f"a picture of {len(jpeg)} bytes")
        self.pictures += 1

    async def where(self, text: str, **more: Any) -> dict[str, Any]:
        """`where`, asked again with the nearest name if the word is not known."""
        found = await self.call("where", text=text, **more)
        if found.get("unknown") and found["unknown"]["near"]:
            found = await self.call("where", text=found["unknown"]["near"][0], **more)
        return found


def clip(sighting: dict[str, Any]) -> str:
    """The file name of the video."""
    return PurePath(sighting["source"]).name


async def last_seen(agent: Agent, text: str, wanted: str, **more: Any) -> str:
    """Judge "where was it last?": the right clip."""
    found = await agent.where(text, **more)
    if found["found"]:
        return "right" if clip(found["sightings"][0]) == wanted else "wrong"
    return "unsure" if any(clip(s) == wanted for s in found["near_misses"]) else "wrong"


async def absent(agent: Agent, text: str, **more: Any) -> str:
    """Judge "is there one?" of what is not there."""
    return "wrong" if (await agent.where(text, **more))["found"] else "right"


async def present(agent: Agent, text: str, **more: Any) -> str:
    """Judge "is there one?" of what is there."""
    return "right" if (await agent.where(text, **more))["found"] else "wrong"


async def how_many_videos(agent: Agent) -> str:
    found = await agent.call("sources")
    longest = max(found["sources"], key=lambda source: source["duration_s"])
    return "right" if found["total"] == 7 and PurePath(longest["source"]).name == TABLE else "wrong"


async def dog_at_the_end(agent: Agent) -> str:
    found = await agent.where("dog", source=DOG)
    return "right" if found["found"] and found["sightings"][0]["end_s"] >= 9 else "wrong"


async def dog_in_the_first_second(agent: Agent) -> str:
    found = await agent.where("dog", source=DOG, before="1s")
    return "right" if found["found"] and found["sightings"][0]["end_s"] < 1 else "wrong"


async def ball_under_the_cups(agent: Agent) -> str:
    """The ball is in view at the very beginning, and from 9.5 s on."""
    found = await agent.where("tennis ball", source=CUPS)
    seen = found["sightings"] if found["found"] else found["near_misses"]
    there = any(s["end_s"] >= 9.5 or s["start_s"] < 0.7 for s in seen if s["end_s"] - s["start_s"] < 2)
    return ("right" if found["found"] else "unsure") if there else "wrong"


async def how_many_cups(agent: Agent) -> str:
    found = await agent.call("timeline", text="cup", source=CUPS)
    return "right" if found["total"] == 3 else "wrong"


async def what_is_in_the_coffee_video(agent: Agent) -> str:
    found = await agent.call("things", source=COFFEE)
    names = {thing["name"] for thing in found["things"] if thing["named"]}
    return "right" if {"cup", "person"} <= names else "wrong"


async def what_happens_to_the_mug(agent: Agent) -> str:
    """Six moments from the first to the last, in all of which the mug is on the right of the table."""
    found = await agent.where("mug")
    if not found["found"]:
        return "wrong"
    shown = await agent.call("look", id=found["sightings"][0]["id"], view="moments")
    boxes = [moment["box"] for moment in shown["moments"]]
    spread = shown["moments"][-1]["t_s"] - shown["moments"][0]["t_s"]
    return "right" if shown["shown"] and spread > 8 and all(box and box[0] > 600 for box in boxes) else "wrong"


async def the_same_mug_elsewhere(agent: Agent) -> str:
    found = await agent.where("mug")
    if not found["found"]:
        return "wrong"
    again = await agent.call("timeline", like=found["sightings"][0]["id"])
    return "right" if {clip(s) for thing in again["things"] for s in thing["sightings"]} == {COFFEE} else "wrong"


async def the_dog_at_a_time(agent: Agent) -> str:
    shown = await agent.call("look", source=DOG, time="1.7s")
    return "right" if shown["shown"] and abs(shown["moments"][0]["t_s"] - 1.7) < 0.1 else "wrong"


@dataclass(frozen=True, slots=True)
class Question:
    """What a person asks, and how an agent finds out. reply: gives "right", "unsure" or "wrong"."""

    asked: str
    reply: Callable[[Agent], Awaitable[str]]


QUESTIONS = [
    Question("How many videos do you have, and which is the longest?", how_many_videos),
    Question("Where was a dog last seen?", lambda a: last_seen(a, "dog", DOG)),
    Question("Is the dog still there at the end of that video?", dog_at_the_end),
    Question("Was it there in the first second?", dog_in_the_first_second),
    Question("Show me the dog video at 1.7 seconds.", the_dog_at_a_time),
    Question("Where is my mug?", lambda a: last_seen(a, "mug", COFFEE)),
    Question("What happens to it?", what_happens_to_the_mug),
    Question("Is the same mug in another video?", the_same_mug_elsewhere),
    Question("Where did I leave the water bottles?", lambda a: last_seen(a, "bottle", BOTTLES)),
    Question("Is there a saucer on the table outside?", lambda a: present(a, "saucer", source=TABLE)),
    Question("How many cups does the trick have?", how_many_cups),
    Question("Where is the ball in the cup trick?", ball_under_the_cups),
    Question("What is in the coffee video?", what_is_in_the_coffee_video),
    Question("Who was near the dog, and in which video?", lambda a: last_seen(a, "person", DOG, near="dog")),
    Question("Is there a person in the NASA clip?", lambda a: present(a, "person", source=NASA)),
    Question(
        "Which video shows a chess board?", lambda a: last_seen(a, "chessboard", "lerobot_follower_wrist_ep0.mp4")
    ),
    Question("Where is my umbrela?", lambda a: absent(a, "umbrela")),
    Question("Did you see a zebra?", lambda a: absent(a, "zebra")),
    Question("Is there a bicycle anywhere?", lambda a: absent(a, "bicycle")),
    Question("Is there a cup in the dog video?", lambda a: absent(a, "cup", source=DOG)),
]


async def ask(memory: Memory) -> list[dict[str, Any]]:
    """Ask all questions, each by an agent of its own."""
    rows = []
    async with Client(build(Desk(memory))) as client:
        for question in QUESTIONS:
            agent = Agent(client)
            began = time.perf_counter()
            verdict = await question.reply(agent)
            rows.append(
                {
                    "question": question.asked,
                    "verdict": verdict,
                    "calls": agent.calls,
                    "pictures": agent.pictures,
                    "errors": agent.errors,
                    "seconds": round(time.perf_counter() - began, 3),
                }
            )
    return rows


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Counts over all questions."""
    return {
        **{name: sum(row["verdict"] == name for row in rows) for name in ("right", "unsure", "wrong")},
        "questions": len(rows),
        "calls": sum(len(row["calls"]) for row in rows),
        "pictures": sum(row["pictures"] for row in rows),
        "errors": sum(len(row["errors"]) for row in rows),
        "seconds_each": round(sum(row["seconds"] for row in rows) / len(rows), 3),
    }


def main() -> int:
    parser = parser_for(__doc__)
    parser.add_argument("--clips", type=Path, default=CLIPS, help="folder of the clips (../shared/data/clips)")
    parser.add_argument("--cache", type=Path, default=OUT, help="folder for the memory (benchmarks/out)")
    parser.add_argument("--fresh", action="store_true", help="index again")
    args = parser.parse_args()
    clips = sorted(args.clips.glob("*.mp4"))
    result: dict[str, Any] = {"machine": machine(), "model": model(), "targets": TARGETS}
    if not clips:
        return skip(args.out, result, f"no clips in {args.clips}; give their folder as --clips")
    folder = memory_place(args.cache, "agents")
    if args.fresh:
        shutil.rmtree(folder, ignore_errors=True)
    with Memory.open(folder) as memory:
        memory.index(*clips)
    with Memory.open(folder, read_only=True) as memory:
        result["questions"] = asyncio.run(ask(memory))
    result["summary"] = summary(result["questions"])
    write_json(args.out, result)
    rows = [(row["question"], row["verdict"], len(row["calls"]), row["seconds"]) for row in result["questions"]]
    print(table(("question", "reply", "calls", "s"), rows))
    say(", ".join(f"{name} {value}" for name, value in result["summary"].items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
