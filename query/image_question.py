"""A question about one picture of many, split into what the picture is known by and what is asked of it.

The form is that of Visual Haystacks' questions with one needle ("For the image with a truck, is there a dog?",
arXiv 2407.13766), and what people write in its place.
"""

from __future__ import annotations

import re

from ..errors import UsageError

FORM = '"the image with the dog: is there a frisbee?", or `anchor` dog and `target` frisbee'

_PICTURE = r"(?:image|picture|photo(?:graph)?|shot|one)"
_WITH = r"(?:with|containing|of|showing|(?:that|which)\s+(?:has|have|shows|contains)|where\s+there\s+is)"
_ASKED = (
    r"(?:is|are|was|were)\s+there(?:\s+also)?|do(?:es)?\s+(?:it|the\s+" + _PICTURE + r")\s+(?:also\s+)?"
    r"(?:show|have|contain|include)|(?:do|can)\s+you\s+(?:also\s+)?see|(?:is|are)\s+it\s+(?:with|showing)"
)
_TAIL = r"(?:\s+(?:in\s+(?:it|there|(?:that|this|the)\s+" + _PICTURE + r")|as\s+well|too|there|visible|present))*"
_FIRST = re.compile(
    rf"(?:(?:for|in|on|of|take|look\s+at|given|find)\s+)?(?:the|an?|that|this)\s+{_PICTURE}\s+{_WITH}\s+(?P<anchor>.+?)"
    rf"\s*[:;,.\-–—]\s*(?:then\s+|and\s+)?(?:{_ASKED})\s+(?P<target>.+?){_TAIL}\s*[?.!]*",
    re.IGNORECASE | re.DOTALL,
)
_LAST = re.compile(
    rf"(?:{_ASKED})\s+(?P<target>.+?)\s+(?:in|on)\s+(?:the|an?|that|this)\s+{_PICTURE}\s+{_WITH}\s+(?P<anchor>.+?)"
    r"\s*[?.!]*",
    re.IGNORECASE | re.DOTALL,
)
_MANY = re.compile(rf"\b(?:all|any|every|each)\s+(?:the\s+|of\s+the\s+)?{_PICTURE}s?\b", re.IGNORECASE)
_ARTICLE = re.compile(r"^(?:(?:the|an?|any|some|my|your)\s+)+(?=\S)", re.IGNORECASE)


def split_question(question: str) -> tuple[str, str]:
    """Anchor and target of a question, without articles: "the image with the dog: is there a frisbee?" is dog and
    frisbee.

    Raises UsageError, with the form to use, for a question that cannot be split, and for those about several pictures.
    """
    text = " ".join(question.split())
    if _MANY.search(text):
        raise UsageError(f"a question about several pictures is not answered; ask about one: {FORM}; got {text[:80]!r}")
    match = _FIRST.fullmatch(text) or _LAST.fullmatch(text)
    if match is None:
        raise UsageError(f"the question cannot be split; write {FORM}; got {text[:80]!r}")
    return _ARTICLE.sub("", match["anchor"]).strip(), _ARTICLE.sub("", match["target"]).strip()
