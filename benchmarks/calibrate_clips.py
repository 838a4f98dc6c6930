"""The questions of calibrate.py to real clips: which household names are found where they are, and where they are not.

What is in each clip was judged by eye (real_names.json). When it is there was not written down, so what is there is
only counted as found, and does not decide the calibration; what is absent does.
"""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.calibrate_questions import Question, prepare
from benchmarks.common import memory_place, say
from benchmarks.photos import lines
from vidmem import Memory

NAMES = Path(__file__).with_name("real_names.json")


def clip_questions(memory: Memory, number: int, clip: str) -> list[Question]:
    """Each of the 80 names to a memory of one clip: kind "clip_name" where it is there, "absent_clip" where not."""
    facts = json.loads(NAMES.read_text("utf-8"))["clips"][clip]
    out = []
    for name in lines("household_names.txt"):
        if name in facts["unclear"]:
            continue
        kind = "clip_name" if name in facts["present"] else "absent_clip"
        text = memory.text_encoder.encode_text([name])[0]
        out.append(prepare(memory, number, kind, name, None, text, None))
    return out


def ask_clips(clips: Path, cache: Path, first: int) -> tuple[list[Memory], list[Question]]:
    """A memory for each clip that real_names.json knows and `clips` holds, and the questions to them all; they are
    numbered from `first` on."""
    memories, asked = [], []
    known = json.loads(NAMES.read_text("utf-8"))["clips"]
    for path in sorted(p for p in clips.glob("*.mp4") if p.name in known):
        place = memory_place(cache, "clips", path.stem)
        with Memory.open(place) as memory:
            memory.index(path)
        memory = Memory.open(place, read_only=True)
        mine = clip_questions(memory, first + len(memories), path.name)
        memories.append(memory)
        asked += mine
        say(f"{path.name}: {len(mine)} questions")
    return memories, asked
