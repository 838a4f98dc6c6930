"""A model behind a URL: what is sent, and what every kind of bad answer gives."""

from __future__ import annotations

import base64
import io
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image
from vlm.server import Served, serving

from vidmem.errors import ModelError, UsageError
from vidmem.vlm.endpoint import KEY, MAX_BYTES, MAX_SIDE, Endpoint, data_url
from vidmem.vlm.grammar import MaskGrammar
from vidmem.vlm.opening import open_model

IMAGE = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)
SECRET = "sk-very-secret-0123"


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.delenv(KEY, raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # must not be used
    with serving() as server:
        yield server


def ask(server: Served, timeout_s: float = 20) -> object:
    return Endpoint(server.url, "tiny", timeout_s=timeout_s).ask(IMAGE, "Where is the cup?", max_tokens=50)


def test_what_is_sent_and_what_comes_back(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, SECRET)
    served.says("<seg>cup *16\n</seg>", tokens=9)
    answer = Endpoint(served.url + "/", "tiny").ask(IMAGE, "Where is the cup?", max_tokens=50)
    assert (answer.text, answer.tokens, answer.cut) == ("<seg>cup *16\n</seg>", 9, False)
    assert answer.seconds > 0
    ((path, headers, body),) = served.requests
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == f"Bearer {SECRET}"
    assert body["model"] == "tiny"
    assert (body["max_tokens"], body["temperature"], body["stream"]) == (50, 0, False)
    picture, text = body["messages"][0]["content"]
    assert text == {"type": "text", "text": "Where is the cup?"}
    url = picture["image_url"]["url"]
    assert url.startswith("data:image/jpeg;base64,")
    sent = Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))
    assert sent.size == (60, 40)
    assert not sent.getexif()


def test_large_pictures_are_made_smaller() -> None:
    url = data_url(np.zeros((2000, 4000, 3), np.uint8))
    sent = Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))
    assert sent.size == (MAX_SIDE, MAX_SIDE // 2)


def test_an_answer_in_parts_a_cut_one_and_one_without_usage(served: Served) -> None:
    served.says([{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}])
    assert ask(served).text == "ab"  # type: ignore[attr-defined]
    served.says("x", finish="length", tokens=None)
    answer = ask(served)
    assert (answer.cut, answer.tokens) == (True, None)  # type: ignore[attr-defined]
    assert "Authorization" not in served.requests[0][1]  # no key, no header


@pytest.mark.parametrize(
    "body",
    [b"", b"hello", b"[]", b"{}", b'{"choices": []}', b'{"choices": [{"message": {"content": null}}]}', b"\xff\xfe",
     b'{"choices": [{"message": {"content": [1]}}]}', b"[" * 100_000, b'{"choices": {"0": 1}}'],
)  # fmt: skip
def test_answers_that_are_none(served: Served, body: bytes) -> None:
    served.body = body
    with pytest.raises(ModelError, match="not one of chat completions"):
        ask(served)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (401, f"refuses access (401: wrong key ***); put its key into {KEY}"),
        (403, "refuses access (403"),
        (404, "is not there, or has no model 'tiny' (404"),
        (429, "(429: wrong key ***); try again later"),
        (400, "(400: wrong key ***); check the model"),
        (500, "(500: wrong key ***); try again later"),
    ],
)
def test_refusals_say_why_and_never_the_key(
    served: Served, monkeypatch: pytest.MonkeyPatch, status: int, said: str
) -> None:
    monkeypatch.setenv(KEY, SECRET)
    served.status, served.body = status, f'{{"error": {{"message": "wrong\\nkey {SECRET}"}}}}'.encode()
    with pytest.raises(ModelError) as caught:
        ask(served)
    assert said in str(caught.value)
    assert SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)
    served.body = b"<html>proxy</html>"
    with pytest.raises(ModelError, match=f"{status}\\)"):
        ask(served)


def test_an_answer_never_has_the_key(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, SECRET)
    served.says(f"You sent Bearer {SECRET}.")
    assert ask(served).text == "You sent Bearer ***."  # type: ignore[attr-defined]


def test_a_slow_tls_handshake_ends_in_time() -> None:
    stop = threading.Event()

    def drip(server: socket.socket) -> None:
        client, _ = server.accept()
        with client, suppress(OSError):
            client.sendall(b"\x16\x03\x03\x40\x00")  # the begin of a long record
            while not stop.wait(0.1):
                client.sendall(b"\x02")

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=drip, args=(server,), daemon=True)
        thread.start()
        endpoint = Endpoint(f"https://127.0.0.1:{server.getsockname()[1]}/v1", "tiny", timeout_s=0.5)
        threading.Timer(6, stop.set).start()
        begun = time.monotonic()
        with pytest.raises(ModelError, match=r"no answer within 0\.5 s"):
            endpoint.ask(IMAGE, "?", max_tokens=5)
        assert time.monotonic() - begun < 3
        stop.set()
        thread.join(5)


def test_redirects_are_not_followed(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, SECRET)
    with serving() as other:
        other.says("stolen")
        served.status, served.headers = 307, {"Location": other.url + "/chat/completions"}
        with pytest.raises(ModelError, match=r"redirects to 127\.0\.0\.1:\d+, which is not followed"):
            ask(served)
        assert not other.requests


def test_slow_answers_end_in_time(served: Served) -> None:
    served.says("x" * 500)
    served.drip = 0.05  # each byte comes in time, the whole does not
    begun = time.monotonic()
    with pytest.raises(ModelError, match=r"no answer within 0\.4 s"):
        ask(served, 0.4)
    served.drip, served.delay = 0, 30
    with pytest.raises(ModelError, match=r"no answer within 0\.3 s; give it more time with `timeout`"):
        ask(served, 0.3)
    assert time.monotonic() - begun < 8


def test_a_huge_answer_is_not_read_to_its_end(served: Served) -> None:
    served.endless = True
    begun = time.monotonic()
    with pytest.raises(ModelError, match=f"sent more than {MAX_BYTES >> 20} MB"):
        ask(served)
    assert time.monotonic() - begun < 15


def test_nothing_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(ModelError, match=r"cannot be asked .*; check the address: http://127"):
        Endpoint(f"http://127.0.0.1:{port}/v1", "tiny").ask(IMAGE, "?", max_tokens=5)


@pytest.mark.parametrize(
    "url",
    ["http://", "ftp://host/v1", "http://host/v1?key=1", "http://host/v1#x", "http://host:99999/v1", "http://[::1"],
)
def test_urls_that_are_none(url: str) -> None:
    with pytest.raises(UsageError, match="an endpoint is http://HOST/v1"):
        Endpoint(url, "tiny")


def test_a_password_in_the_url() -> None:
    with pytest.raises(UsageError, match=f"put the key into {KEY}") as caught:
        Endpoint("http://me:hidden@host/v1", "tiny")
    assert "hidden" not in str(caught.value)


def test_a_key_that_is_none(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, "schlüssel\n2")
    with pytest.raises(UsageError, match="characters that no key has") as caught:
        ask(served)
    assert "schl" not in str(caught.value)
    assert not served.requests


def test_it_cannot_be_constrained(served: Served) -> None:
    with pytest.raises(UsageError, match="cannot be constrained"):
        Endpoint(served.url, "tiny").ask(IMAGE, "?", max_tokens=5, grammar=MaskGrammar((2, 2), ["cup"]))
    assert not served.requests


def test_it_is_opened_only_when_allowed() -> None:
    url = "http://127.0.0.1:9/v1"
    with pytest.raises(UsageError, match="leaves this machine; give `allow_network` if it may"):
        open_model(url, model_name="tiny")
    with pytest.raises(UsageError, match="give `model_name`"):
        open_model(url, allow_network=True)
    assert open_model(url, model_name="tiny", allow_network=True, timeout_s=5).name == "tiny"
    with pytest.raises(UsageError, match="belong to an endpoint"):
        open_model("folder", model_name="tiny")
    with pytest.raises(UsageError, match="`allow_network` belongs to an endpoint"):
        open_model("folder", allow_network=True)
    with pytest.raises(UsageError, match=r"a model is a folder, or an endpoint .* got 'ftp://host/v1'"):
        open_model("ftp://host/v1")
    with pytest.raises(UsageError, match="give `model_name`"):
        open_model(url, model_name=" ", allow_network=True)


@pytest.mark.parametrize(
    "place", ["user:{}@host/v1?x", "http://user:{}@host/v1", "http://{}@@host/v1//", "//u:{}@h", "{}@h://x"]
)
def test_no_message_shows_a_password(place: str) -> None:
    with pytest.raises(UsageError) as caught:
        Endpoint(place.format(SECRET), "m")
    assert SECRET not in str(caught.value)
