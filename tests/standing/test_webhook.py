"""Events to a real HTTP server that is slow, fails, redirects, hangs, or hangs up."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from vidmem.errors import DeliveryError, UsageError
from vidmem.http_post import why
from vidmem.memory import Memory
from vidmem.standing import Undelivered, Webhook, delivery

from .stage import event, watched


@dataclass
class Server:
    """What a server answers, in turn, and what it got. An answer is a status, "hang", "drip", "cut" or "to:URL"."""

    answers: list[int | str] = field(default_factory=list)
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    url: str = ""


@contextmanager
def serving(*answers: int | str) -> Iterator[Server]:
    state, end = Server(list(answers)), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            state.got.append((dict(self.headers), body))
            answer = state.answers.pop(0) if state.answers else 204
            if answer == "hang":
                end.wait(20)
            elif answer == "cut":
                self.connection.shutdown(socket.SHUT_RDWR)
            elif answer == "drip":
                self.send_response(200)
                self.send_header("Content-Length", "1000")
                self.end_headers()
                while not end.wait(0.05):
                    try:
                        self.wfile.write(b"x")
                    except OSError:
                        return
            elif isinstance(answer, str) and answer.startswith("to:"):
                self.send_response(307)
                self.send_header("Location", answer[3:])
                self.end_headers()
            elif answer == "long":
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"x" * 100_000)
            else:
                assert isinstance(answer, int)
                self.send_response(answer)
                self.send_header("Content-Length", "0")
                self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}/hook/token?key=1"
    try:
        yield state
    finally:
        end.set()
        server.shutdown()
        server.server_close()
        thread.join()


def test_an_event_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")  # which is not used
    with serving(200) as server:
        hook = Webhook(server.url, secret="s3cret")
        hook.open()
        assert server.got == []  # opening connects and posts nothing
        hook.send(one := event(7, "YWJj"))
    ((headers, body),) = server.got
    assert json.loads(body) == json.loads(one.to_json())
    assert json.loads(body)["crop"] == "YWJj"
    assert (headers["Content-Type"], headers["Idempotency-Key"]) == ("application/json", one.id)
    assert headers["X-Vidmem-Signature-256"] == "sha256=" + hmac.new(b"s3cret", body, hashlib.sha256).hexdigest()
    assert "token" not in hook.name


def test_without_a_secret_nothing_is_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VIDMEM_WEBHOOK_SECRET", raising=False)
    with serving() as server:
        Webhook(server.url).send(event())
        monkeypatch.setenv("VIDMEM_WEBHOOK_SECRET", "other")
        Webhook(server.url).send(event())
    assert ["X-Vidmem-Signature-256" in headers for headers, _ in server.got] == [False, True]


@pytest.mark.parametrize(
    ("answer", "again", "told"),
    [
        (500, True, "answers 500"),
        (503, True, "answers 503"),
        (429, True, "answers 429"),
        (408, True, "answers 408"),
        (404, False, "answers 404"),
        (401, False, "answers 401"),
        ("cut", True, "RemoteDisconnected|reset"),
        ("hang", True, "no answer within 0.3 s"),
        ("drip", True, "no answer within 0.3 s"),
        ("long", False, "more than 65,536 bytes"),
        ("to:http://elsewhere.example/x", False, "redirects to elsewhere.example, which is not followed"),
    ],
)
def test_what_a_server_may_do(answer: int | str, again: bool, told: str) -> None:
    with serving(answer) as server:
        began = time.monotonic()
        with pytest.raises(Undelivered, match=told) as caught:
            Webhook(server.url, timeout_s=0.3).send(event())
        assert time.monotonic() - began < 3
        assert caught.value.again is again
        assert len(server.got) == 1  # a redirect is not followed


def test_a_server_that_is_not_there() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    hook = Webhook(f"http://127.0.0.1:{port}/secret")
    with pytest.raises(DeliveryError, match="cannot be reached") as caught:
        hook.open()
    assert "secret" not in str(caught.value)
    with pytest.raises(Undelivered, match="refused") as undelivered:
        hook.send(event())
    assert undelivered.value.again


@pytest.mark.parametrize(
    "url",
    ["", "keys", "ftp://a/b", "file:///etc/passwd", "http://", "http://me:pw@host/x", "http://a b/", "http://h:x/"],
)
def test_what_is_no_webhook(url: str) -> None:
    with pytest.raises(UsageError, match="http://HOST/PATH") as caught:
        Webhook(url)
    assert "pw" not in str(caught.value)


def test_a_session_retries_until_the_server_is_well(
    tmp_path: Any, colours: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(
        delivery.Delivery.__init__, "__kwdefaults__", {"depth": 64, "attempts": 8, "first_pause_s": 0.01}
    )
    with (
        serving(500, 503, "cut", 200, 404, 200) as server,
        Memory.open(tmp_path / "m", encoder="colours") as memory,
        caplog.at_level(logging.WARNING, logger="vidmem"),
    ):
        scene = [["red"]] * 3 + [["blue"]] * 3 + [["green"]] * 3
        stats = watched(memory, scene, Webhook(server.url), when=["red", "blue", "green"])
    assert (stats.events, stats.delivered, stats.retried, stats.failed) == (3, 2, 3, 1)
    keys = [headers["Idempotency-Key"] for headers, _ in server.got]
    assert len(set(keys[:4])) == 1
    assert len(set(keys)) == 3
    assert "it is tried again: http://127.0.0.1" in caplog.text


def test_why_a_certificate_is_refused() -> None:
    untrusted = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed (_ssl.c:1)")
    untrusted.verify_message = "self-signed certificate"
    assert why(untrusted) == "its certificate is not trusted: self-signed certificate"
    assert why(ConnectionRefusedError(111, "Connection refused")) == "Connection refused"
    assert why(ValueError()) == "ValueError"


def test_a_server_that_speaks_no_tls() -> None:
    with serving(204) as server:
        hook = Webhook(server.url.replace("http:", "https:"), timeout_s=2)
        with pytest.raises(DeliveryError, match=r"\((TLS: [a-z0-9 ]+|no answer within 5 s)\)"):
            hook.open()
