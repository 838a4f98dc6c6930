"""Ask a served model over the network: the chat completions of OpenAI's API, which many servers offer.

The picture leaves this machine, so nothing here is called unless the user allowed it. It is sent as a JPEG without its
EXIF data. Redirects are not followed and proxies not used: the picture and the key go to the given host alone.
"""

from __future__ import annotations

import base64
import io
import json
import os
import time
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from ..address import without_secrets
from ..errors import ModelError, UsageError
from ..http_post import NoReply, Place, host_of, post
from ..text_files import parse_json
from .answer import Answer
from .grammar import MaskGrammar

KEY = "VIDMEM_API_KEY"
"""Environment variable with the key of the endpoint."""
TIMEOUT_S = 120.0
"""Default time for a whole answer, in seconds."""
MAX_BYTES = 4 << 20
"""Longest reply that is read."""
MAX_SIDE = 1536
"""Longest side in pixels of the picture that is sent; larger ones are made smaller."""


class Endpoint:
    """An `Asker` behind a URL.

    Args:
        url: The API's base, such as "http://localhost:8000/v1".
        model: The name of the model there.
        timeout_s: Time for a whole answer, in seconds.

    Raises:
        UsageError: The URL is of another form.
    """

    def __init__(self, url: str, model: str, *, timeout_s: float = TIMEOUT_S) -> None:
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port = None, None
        if not host or parts.scheme not in ("http", "https") or parts.query or parts.fragment:
            got = without_secrets(url, whole=True).rpartition("@")[2][:80]  # a login may stand before the scheme, too
            raise UsageError(f"an endpoint is http://HOST/v1 or https://HOST/v1; got {got!r}")
        if parts.username is not None or parts.password is not None:
            raise UsageError(f"leave user and password out of the URL, and put the key into {KEY}")
        self.name, self.timeout_s = model, timeout_s
        path = f"{parts.path.rstrip('/')}/chat/completions"
        self._place = Place(parts.scheme == "https", host, port, path)
        self.address = f"{parts.scheme}://{parts.netloc}{path}"

    def ask(
        self, image: NDArray[np.uint8], question: str, *, max_tokens: int, grammar: MaskGrammar | None = None
    ) -> Answer:
        """As `Asker.ask`. Raises ModelError if there is no answer; the message never has the key."""
        if grammar is not None:
            raise UsageError("an endpoint cannot be constrained; ask it without `constrained`, or a model in a folder")
        picture = {"type": "image_url", "image_url": {"url": data_url(image)}}
        body = {
            "model": self.name,
            "messages": [{"role": "user", "content": [picture, {"type": "text", "text": question}]}],
            "max_tokens": max_tokens,
            "temperature": 0,
            "stream": False,
        }
        begun = time.perf_counter()
        status, reply, location = self._post(json.dumps(body).encode())
        if status != 200:
            raise self._refused(status, reply, location)
        text, tokens, cut = _read(reply, self.address)
        text = _without_key(text)
        return Answer(text, tokens, time.perf_counter() - begun, cut)

    def _post(self, body: bytes) -> tuple[int, bytes, str]:
        """Status, content and target of a redirect."""
        try:
            reply = post(self._place, body, self._headers(), timeout_s=self.timeout_s, max_bytes=MAX_BYTES)
        except NoReply as error:
            if error.late:
                raise ModelError(
                    f"the endpoint gave no answer within {self.timeout_s:g} s; give it more time with `timeout`, or "
                    f"check the server: {self.address}"
                ) from None
            if error.long:
                raise ModelError(
                    f"the endpoint sent more than {MAX_BYTES >> 20} MB, no answer is that long: {self.address}"
                ) from None
            raise ModelError(f"the endpoint cannot be asked ({error}); check the address: {self.address}") from None
        return reply.status, reply.body, reply.location

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "vidmem"}
        if key := os.environ.get(KEY, "").strip():
            if not key.isascii() or not key.isprintable():
                raise UsageError(f"{KEY} holds characters that no key has; set it again")
            headers["Authorization"] = f"Bearer {key}"
        return headers

    def _refused(self, status: int, reply: bytes, location: str) -> ModelError:
        said = _message(reply)
        if 300 <= status < 400:
            to = (host_of(location) or "another path")[:80]
            return ModelError(
                f"the endpoint redirects to {to}, which is not followed; give that address: {self.address}"
            )
        if status in (401, 403):
            return ModelError(f"the endpoint refuses access ({status}{said}); put its key into {KEY}: {self.address}")
        if status == 404:
            return ModelError(
                f"the endpoint is not there, or has no model {self.name[:40]!r} (404{said}); check `model` and "
                f"`model_name`: {self.address}"
            )
        remedy = "try again later" if status >= 500 or status == 429 else "check the model and its options"
        return ModelError(f"the endpoint gives no answer ({status}{said}); {remedy}: {self.address}")


def data_url(image: NDArray[np.uint8]) -> str:
    """A picture `(H, W, 3)` uint8 RGB as a JPEG in a data URL, at most MAX_SIDE pixels on a side."""
    from PIL import Image

    picture = Image.fromarray(image)
    picture.thumbnail((MAX_SIDE, MAX_SIDE))
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=92)
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()


def _read(reply: bytes, address: str) -> tuple[str, int | None, bool]:
    """The text, its number of tokens, and whether it was cut. Raises ModelError for anything else than an answer."""
    try:
        content: Any = parse_json(reply)
        choice = content["choices"][0]
        text = choice["message"]["content"]
        if isinstance(text, list):  # some servers answer in parts
            text = "".join(part["text"] for part in text if part.get("type") == "text")
        if not isinstance(text, str):
            raise TypeError
        usage = content.get("usage")
        tokens = usage.get("completion_tokens") if isinstance(usage, dict) else None
        tokens = tokens if isinstance(tokens, int) and not isinstance(tokens, bool) else None
        return text, tokens, choice.get("finish_reason") == "length"
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise ModelError(
            f"the endpoint's answer is not one of chat completions; check that the address ends in /v1: {address}"
        ) from None


def _message(reply: bytes) -> str:
    """What an error says, on one line and without the key; empty if it says nothing."""
    try:
        content: Any = parse_json(reply)
        error = content.get("error", content)
        text = error if isinstance(error, str) else error.get("message", "")
    except (ValueError, AttributeError, RecursionError):
        text = ""
    text = _without_key(" ".join(str(text).split()))
    return f": {text[:160]}" if text else ""


def _without_key(text: str) -> str:
    """The text with *** for the key: what a server sends back is printed and saved."""
    key = os.environ.get(KEY, "").strip()
    return text.replace(key, "***") if key else text
