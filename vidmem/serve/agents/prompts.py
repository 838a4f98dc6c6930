"""The prompt `find_a_thing`: how to look for a thing, check it, and report it."""

from __future__ import annotations

from typing import Annotated

from mcp.server.mcpserver.prompts import Prompt
from pydantic import Field

MAX_LETTERS = 200

Thing = Annotated[str, Field(description="What to find, in a few words, such as: my blue cup", max_length=MAX_LETTERS)]
When = Annotated[
    str, Field(description="When it was seen, if that matters, such as: yesterday evening", max_length=MAX_LETTERS)
]


def find_a_thing(thing: Thing, when: When = "") -> str:
    """Look for a thing in the memory, check the picture, and report where and when it was last seen."""
    asked = " ".join(thing.split())
    limit = f" It matters when: {' '.join(when.split())}. Pass that as `after` and `before`." if when.strip() else ""
    return f"""Find this in the video memory: {asked}.{limit}

1. Call `where` with a short noun phrase. If the answer has `unknown`, ask again with the nearest of the names it lists.
2. Look at the picture of the answer. If you are not sure that it shows the thing, call `look` with the `id` of the
   sighting and view "close". If it shows something else, try `timeline`, which lists the other sightings.
3. If nothing was found, look at the near misses, try a more general word, and see with `things` what is there.
4. To say what happened to it, call `look` with view "moments".

Report in one or two sentences: what you saw, in which video, from when to when, the date if it is known, and how sure
you are, with the probability. Say what the picture showed, and whether you looked at it. If you did not find it, say
that it was not seen in these videos, which does not prove that it was not there."""


PROMPT = Prompt.from_function(find_a_thing, title="Find a thing in the videos")
