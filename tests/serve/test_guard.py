"""What the guard lets through, route by route: every published hole of servers of this kind has its test here."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from needs import needs
from serve.raw import OWN, Headers, Reply, ask, asked
from vidmem.serve.guard import Guard, GuardSettings
from vidmem.serve.names import ServerNames, parse_name
from vidmem.serve.rates import Rate
from vidmem.serve.tokens import MAX_TRIES, Logins, given_token, new_token

needs("starlette")

TOKEN = "a-token-of-this-test"
PAGE = ("/", "/static/app.js", "/events", "/api/v1/where?text=cup", "/api/v1/stats", "/mcp")
ROUTES = (
    "/static/{}",
    "/frames/{}/1.jpg",
    "/api/v1/frames/{}/1.jpg",
    "/api/v1/crops/1/{}.jpg",
    "/api/v1/clips/{}/0-1.mp4",
    "/api/v1/videos/{}",
    "/api/v1/sources/{}",
    "/api/v1/sources/{}/boxes",
    "/api/v1/jobs/{}",
    "/{}",
)


class Recorder:
    """An application that answers everything, and keeps what it was asked."""

    def __init__(self, headers: Headers = (("content-type", "application/json"),)) -> None:
        self.asked: list[str] = []
        self.bodies: list[bytes] = []
        self.clients: list[str] = []
        self._headers = [(name.encode(), value.encode()) for name, value in headers]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked.append(scope["path"])
        self.clients.append(scope["state"]["client"])
        self.bodies.append((await receive())["body"])
        await send({"type": "http.response.start", "status": 200, "headers": self._headers})
        await send({"type": "http.response.body", "body": b"{}"})


def guarded(app: Any = None, **settings: Any) -> Guard:
    return Guard(app or Recorder(), GuardSettings(**{"names": ServerNames("127.0.0.1", 8077), **settings}))


def public(app: Any = None) -> Guard:
    return guarded(app, names=ServerNames("0.0.0.0", 8077), token=TOKEN)


@pytest.mark.parametrize("target", PAGE)
def test_own_requests_pass(target: str) -> None:
    own = (("origin", f"http://{OWN}"), ("sec-fetch-site", "same-origin"))
    for headers in ((), own, (("sec-fetch-site", "none"),)):
        assert ask(guarded(), "GET", target, headers).status == (405 if target == "/mcp" else 200)


# DNS rebinding: CVE-2026-48710, jan #8453


@pytest.mark.parametrize("target", [*PAGE, "/login", "/login.js"])
@pytest.mark.parametrize("host", ["evil.example", "evil.example:8077", "127.0.0.1:80", "127.0.0.1.evil.example:8077"])
def test_another_host_is_refused_everywhere(target: str, host: str) -> None:
    for app in (guarded(), public()):
        reply = ask(app, "GET", target, (("authorization", f"Bearer {TOKEN}"),), host=host)
        assert (reply.status, reply.kind) == (403, "forbidden")


def test_a_host_is_given_once() -> None:
    assert ask(guarded(), "GET", "/", host=None).status == 400
    assert ask(guarded(), "GET", "/", (("host", "evil.example"),)).status == 400
    assert ask(guarded(), "GET", "/", (("host", OWN),)).status == 400


# Cross-site requests: GHSA-gr74-4xfh-6jw9, and CSRF on what changes something

FOREIGN: list[Headers] = [
    (("origin", "https://evil.example"),),
    (("origin", "null"),),
    (("origin", f"https://{OWN}"),),
    (("origin", "http://localhost:8077"),),
    (("origin", "http://127.0.0.1:3000"),),
    (("origin", f"http://{OWN}.evil.example"),),
    (("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")),
    (("sec-fetch-site", "same-site"), ("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty")),
    (("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")),
    (("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image")),
]


@pytest.mark.parametrize("headers", FOREIGN)
@pytest.mark.parametrize("target", PAGE)
def test_other_origins_are_refused_everywhere(target: str, headers: Headers) -> None:
    recorder = Recorder()
    for token in (None, TOKEN):
        shown = (*headers, ("authorization", f"Bearer {TOKEN}"))
        assert ask(guarded(recorder, token=token), "GET", target, shown).status == 403
    assert recorder.asked == []


@pytest.mark.parametrize("headers", FOREIGN)
@pytest.mark.parametrize(
    ("method", "target", "kind"),
    [
        ("POST", "/api/v1/jobs", "application/json"),
        ("POST", "/api/v1/pictures", "image/png"),
        ("DELETE", "/api/v1/jobs/1", ""),
        ("POST", "/mcp", "application/json"),
        ("POST", "/login", "application/x-www-form-urlencoded"),
        ("POST", "/logout", "application/x-www-form-urlencoded"),
    ],
)
def test_nothing_is_changed_from_another_origin(headers: Headers, method: str, target: str, kind: str) -> None:
    recorder = Recorder()
    body = f"token={TOKEN}".encode() if target == "/login" else b""
    reply = ask(guarded(recorder, token=TOKEN), method, target, (*headers, ("content-type", kind)), body)
    assert reply.status == 403
    assert "set-cookie" not in reply.headers
    assert recorder.asked == []


def test_a_browser_that_hides_its_origin_changes_nothing() -> None:
    marks = (("content-type", "application/json"), ("sec-fetch-mode", "navigate"))
    assert ask(guarded(), "POST", "/api/v1/jobs", marks, b"{}").status == 403


def test_programs_and_the_own_page_change_things() -> None:
    kind = ("content-type", "application/json")
    assert ask(guarded(), "POST", "/api/v1/jobs", (kind,), b"{}").status == 200
    own = (kind, ("origin", f"http://{OWN}"), ("sec-fetch-site", "same-origin"))
    assert ask(guarded(), "POST", "/api/v1/jobs", own, b"{}").status == 200
    hidden = (kind, ("origin", "null"), ("sec-fetch-site", "same-origin"))
    assert ask(guarded(), "POST", "/api/v1/jobs", hidden, b"{}").status == 200


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
def test_what_any_form_can_send_is_refused(kind: str) -> None:
    """Older browsers send these across origins without asking first, and some without Origin."""
    for target in ("/api/v1/jobs", "/api/v1/pictures", "/mcp"):
        assert ask(guarded(), "POST", target, (("content-type", kind.title()),), b"{}").status == 415


def test_a_link_may_open_the_page_and_nothing_else() -> None:
    link = (("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document"))
    assert ask(guarded(), "GET", "/", link).status == 200
    assert ask(guarded(), "GET", "/api/v1/where?text=cup", link).status == 403
    assert ask(guarded(), "POST", "/api/v1/jobs", link).status == 403


@pytest.mark.parametrize("target", PAGE)
def test_no_origin_is_ever_allowed_to_read(target: str) -> None:
    loose = (("content-type", "text/html"), ("access-control-allow-origin", "*"), ("Access-Control-Allow-Methods", "*"))
    asks = (("origin", "https://evil.example"), ("access-control-request-method", "POST"))
    for reply in (ask(guarded(Recorder(loose)), "GET", target), ask(guarded(), "OPTIONS", target, asks)):
        assert not [name for name in reply.headers if name.startswith("access-control-")]
    assert ask(guarded(), "OPTIONS", target).status == 405


# Path traversal: CVE-2023-51449, CVE-2024-1561, CVE-2024-1728, CVE-2026-28414, CVE-2026-39844, CVE-2026-48818 (UNC)

OUT = [
    "..",
    "../../etc/passwd",
    "%2e%2e/%2e%2e/etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "%252e%252e%252fetc%252fpasswd",
    "%25%32%65%25%32%65/etc/passwd",
    "..%5c..%5cwindows%5cwin.ini",
    "%5c%5cevil.example%5cshare%5cx",
    "//evil.example/share",
    "%2f%2fevil.example/share",
    "%2fetc%2fpasswd",
    "x%00.jpg",
    "x%0d%0aset-cookie:a=b",
    "x%0a",
    "%c0%ae%c0%ae/etc/passwd",
    "%ef%bc%8e%ef%bc%8e/etc/passwd",
    "./x",
    "C:%5cwindows",
    "file:%2f%2f%2fetc%2fpasswd",
    "http:%2f%2fevil.example",
    "%7e;rm",
    "$(id)",
]


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("name", OUT)
def test_no_path_leads_out(route: str, name: str) -> None:
    recorder = Recorder()
    reply = ask(guarded(recorder), "GET", route.format(name))
    assert (reply.status, reply.kind) == (404, "not_found")
    assert recorder.asked == []


def test_an_absolute_address_is_no_path() -> None:
    for target in ("http://evil.example/", "*", ""):
        assert ask(guarded(), "GET", target).status == 404


# Methods, sizes, bodies


@pytest.mark.parametrize("method", ["PUT", "PATCH", "TRACE", "CONNECT", "PROPFIND", "DELETE", "POST", "get", "G ET"])
def test_only_known_methods(method: str) -> None:
    for target in ("/", "/api/v1/sources/1", "/static/app.js", "/events"):
        reply = ask(guarded(), method, target)
        assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD")
    assert ask(guarded(), "PUT", "/api/v1/pictures").headers["allow"] == "POST"
    assert ask(guarded(), "GET", "/api/v1/pictures").status == 405


def test_sizes_are_bounded() -> None:
    assert ask(guarded(), "GET", "/api/v1/where?text=" + "a" * 9000).status == 414
    assert ask(guarded(), "GET", "/", [("x-a", "b" * 40_000)]).status == 431
    assert ask(guarded(), "GET", "/", [(f"x-{n}", "b") for n in range(120)]).status == 431


def test_a_body_is_bounded_before_it_is_read() -> None:
    kind = ("content-type", "application/json")
    recorder = Recorder()
    app = guarded(recorder)
    for target, limit in (("/api/v1/jobs", 64 << 10), ("/api/v1/pictures", 20 << 20)):
        reply = ask(app, "POST", target, (kind, ("content-length", str(limit + 1))))
        assert (reply.status, reply.kind) == (413, "too_large")
    assert ask(app, "GET", "/api/v1/stats", (("content-length", "1"),)).status == 413
    assert ask(app, "POST", "/api/v1/jobs", (kind, ("content-length", "-1"))).status == 400
    assert ask(app, "POST", "/api/v1/jobs", (kind, ("content-length", "9" * 30))).status == 400
    assert recorder.asked == []
    assert ask(app, "POST", "/api/v1/jobs", (kind,), b"x" * (64 << 10)).status == 200
    assert recorder.bodies == [b"x" * (64 << 10)]


def test_a_body_without_a_length_is_bounded_while_it_is_read() -> None:
    recorder = Recorder()
    chunked = (("content-type", "application/json"), ("transfer-encoding", "chunked"))
    assert ask(guarded(recorder), "POST", "/api/v1/jobs", chunked, b"x" * ((64 << 10) + 1)).status == 413
    assert ask(guarded(recorder), "GET", "/api/v1/stats", chunked, b"x").status == 413
    assert recorder.asked == []


# Headers of answers


@pytest.mark.parametrize("target", ["/", "/api/v1/stats", "/nothing/../x"])
def test_every_answer_has_the_headers(target: str) -> None:
    headers = ask(guarded(), "GET", target).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == headers["cross-origin-opener-policy"] == "same-origin"
    assert "camera=()" in headers["permissions-policy"]
    assert headers["cache-control"] == "no-store"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]


def test_the_page_may_run_no_inline_script() -> None:
    loose = (("content-type", "text/html; charset=utf-8"), ("content-security-policy", "default-src *"))
    policy = ask(guarded(Recorder(loose)), "GET", "/").headers["content-security-policy"]
    parts = dict(part.strip().partition(" ")[::2] for part in policy.split(";"))
    assert parts["default-src"] == parts["base-uri"] == parts["frame-ancestors"] == "'none'"
    assert parts["script-src"] == parts["style-src"] == parts["connect-src"] == parts["form-action"] == "'self'"
    assert "unsafe" not in policy


def test_data_is_no_page() -> None:
    """Opened in a tab, a label of `<script>` in JSON does nothing."""
    policy = ask(guarded(), "GET", "/api/v1/stats").headers["content-security-policy"]
    assert policy == "default-src 'none'; frame-ancestors 'none'; sandbox"


# The token


def test_a_server_that_others_reach_has_a_token() -> None:
    for names in (
        ServerNames("0.0.0.0", 8077),
        ServerNames("::", 8077),
        ServerNames("192.168.1.5", 8077),
        ServerNames("127.0.0.1", 8077, frozenset({parse_name("https://m.example", 8077)})),
    ):
        with pytest.raises(ValueError, match="token"):
            GuardSettings(names)


def test_a_proxy_makes_no_public_server_of_a_local_one() -> None:
    for name in ("x-forwarded-for", "forwarded", "via", "x-real-ip"):
        assert ask(guarded(), "GET", "/api/v1/stats", ((name, "1.2.3.4"),)).status == 403
        assert (
            ask(guarded(token=TOKEN), "GET", "/", ((name, "1.2.3.4"), ("authorization", f"Bearer {TOKEN}"))).status
            == 200
        )


@pytest.mark.parametrize("target", PAGE)
@pytest.mark.parametrize(
    "shown", ["", "Bearer", "Bearer x", f"Basic {TOKEN}", f"Bearer {TOKEN}x", TOKEN, "Bearer \xff"]
)
def test_nothing_without_the_token(target: str, shown: str) -> None:
    recorder = Recorder()
    headers = (("authorization", shown),) if shown else ()
    reply = ask(public(recorder), "GET", target, headers)
    assert (reply.status, reply.headers.get("location")) == ((303, "/login") if target == "/" else (401, None))
    assert recorder.asked == []


def test_the_token_is_not_taken_from_an_address_or_a_foreign_cookie() -> None:
    for target in (f"/api/v1/stats?token={TOKEN}", f"/api/v1/stats?access_token={TOKEN}"):
        assert ask(public(), "GET", target).status == 401
    for cookie in (f"vidmem_8077={TOKEN}", f"token={TOKEN}", "vidmem_8077="):
        assert ask(public(), "GET", "/api/v1/stats", (("cookie", cookie),)).status == 401


def _log_in(app: Guard, token: str = TOKEN, headers: Headers = (), **more: Any) -> Reply:
    kind = ("content-type", "application/x-www-form-urlencoded")
    return ask(app, "POST", "/login", (kind, *headers), f"token={token}".encode(), **more)


def test_a_browser_logs_in_once() -> None:
    app = public()
    reply = _log_in(app)
    assert (reply.status, reply.headers["location"]) == (303, "/")
    cookie, *flags = reply.headers["set-cookie"].split("; ")
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(flags)
    assert "Secure" not in flags  # it would not be sent over http
    assert TOKEN not in reply.headers["set-cookie"]
    assert ask(app, "GET", "/api/v1/stats", (("cookie", f"other=1; {cookie}"),)).status == 200
    assert ask(app, "POST", "/logout", (("cookie", cookie),)).status == 303
    assert ask(app, "GET", "/api/v1/stats", (("cookie", cookie),)).status == 401


def test_cookies_that_others_on_the_host_have_set_log_nobody_out() -> None:
    app = public()
    cookie = _log_in(app).headers["set-cookie"].split(";")[0]
    theirs = "; ".join(f"vidmem_8077=theirs{n}" for n in range(40))
    assert ask(app, "GET", "/api/v1/stats", (("cookie", f"{theirs}; {cookie}"),)).status == 200


def test_the_cookie_is_secure_behind_https() -> None:
    names = ServerNames("127.0.0.1", 8077, frozenset({parse_name("https://m.example", 8077)}))
    reply = _log_in(guarded(names=names, token=TOKEN), headers=(("origin", "https://m.example"),), host="m.example")
    assert "; Secure" in reply.headers["set-cookie"]


def test_a_session_cannot_be_fixed() -> None:
    app = public()
    planted = "vidmem_8077=planted-by-another-server-on-this-host"
    reply = _log_in(app, headers=(("cookie", planted),))
    assert planted not in reply.headers["set-cookie"]
    assert ask(app, "GET", "/api/v1/stats", (("cookie", planted),)).status == 401
    own = reply.headers["set-cookie"].partition(";")[0]
    assert ask(app, "GET", "/api/v1/stats", (("cookie", f"{planted}; {own}"),)).status == 200
    assert own != _log_in(app, headers=(("cookie", own),)).headers["set-cookie"].partition(";")[0]


def test_wrong_tokens_are_slow_and_few(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr("vidmem.serve.login.asyncio.sleep", sleep)
    app = public()
    replies = [_log_in(app, f"wrong-{n}") for n in range(MAX_TRIES + 1)]
    assert [reply.status for reply in replies] == [403] * MAX_TRIES + [429]
    assert len(waited) == MAX_TRIES
    assert int(replies[-1].headers["retry-after"]) > 30
    assert _log_in(app).status == 429, "the right one is not looked at either, so that guessing has a bound"
    assert ask(app, "GET", "/api/v1/stats", (("authorization", f"Bearer {TOKEN}"),)).status == 429
    assert _log_in(app, client="192.168.1.9").status == 303, "others are not locked out"


def test_a_session_outlives_wrong_tokens_of_others() -> None:
    app = public()
    cookie = _log_in(app).headers["set-cookie"].partition(";")[0]
    for _ in range(MAX_TRIES + 2):
        ask(app, "GET", "/api/v1/stats", (("authorization", "Bearer wrong"),))
    assert ask(app, "GET", "/api/v1/stats", (("cookie", cookie),)).status == 200


def test_failed_tries_are_bounded_in_memory() -> None:
    logins = Logins(TOKEN)
    for n in range(3000):
        logins.is_token("wrong", f"10.0.{n >> 8}.{n & 255}")
    assert len(logins._failed) <= 1024


def test_a_token_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    from vidmem.errors import UsageError

    monkeypatch.delenv("VIDMEM_SERVE_TOKEN", raising=False)
    assert given_token() is None
    monkeypatch.setenv("VIDMEM_SERVE_TOKEN", TOKEN)
    assert given_token() == TOKEN
    for odd in ("short", "x" * 300, "with a blank in the middle", "ümlautümlautümlaut", "newline-newline\n"):
        monkeypatch.setenv("VIDMEM_SERVE_TOKEN", odd)
        with pytest.raises(UsageError, match="VIDMEM_SERVE_TOKEN") as caught:
            given_token()
        assert odd not in str(caught.value)
    assert len({new_token() for _ in range(100)}) == 100
    assert len(new_token()) == 32


def test_the_login_page_loads_only_its_own_files() -> None:
    page = ask(public(), "GET", "/login")
    assert page.headers["content-type"].startswith("text/html")
    text = page.body.decode()
    assert "<style" not in text
    assert "style=" not in text
    assert "onclick" not in text
    for name, kind in (("/login.js", "text/javascript"), ("/login.css", "text/css")):
        assert name in text
        reply = ask(public(), "GET", name)
        assert (reply.status, reply.headers["content-type"].partition(";")[0]) == (200, kind)
    assert ask(public(), "DELETE", "/login").status == 405


# Rates, clients, failures


def test_what_costs_much_is_bounded() -> None:
    rates = {name: Rate(name, 60, 3) for name in ("clips", "uploads", "jobs")}
    app = guarded(rates=rates)
    statuses = [ask(app, "GET", "/api/v1/clips/1/0-1.mp4").status for _ in range(5)]
    assert statuses == [200, 200, 200, 429, 429]
    kind = (("content-type", "image/png"),)
    replies = [ask(app, "POST", "/api/v1/pictures", kind, b"x") for _ in range(4)]
    assert [reply.status for reply in replies] == [200, 200, 200, 429]
    assert replies[-1].headers["retry-after"] == "1"
    assert ask(app, "POST", "/api/v1/pictures", (*kind, ("user-agent", "another")), b"x").status == 200
    assert all(ask(app, "GET", "/api/v1/jobs").status == 200 for _ in range(5)), "looking at jobs costs nothing"


def test_the_bucket_of_all_is_bounded_too() -> None:
    app = guarded(rates={"clips": Rate("clips", 60, 2, share=2)})
    agents = [(("user-agent", f"agent {n}"),) for n in range(6)]
    statuses = [ask(app, "GET", "/api/v1/clips/1/0-1.mp4", agent).status for agent in agents]
    assert statuses == [200] * 4 + [429] * 2


def test_clients_are_told_apart() -> None:
    recorder = Recorder()
    app = guarded(recorder)
    for agent, client in (("a", "127.0.0.1"), ("b", "127.0.0.1"), ("a", "192.168.1.5"), ("b", "192.168.1.5")):
        ask(app, "GET", "/", (("user-agent", agent),), client=client)
    assert len(set(recorder.clients)) == 3, "from elsewhere, anyone could write any agent"


def test_a_fault_of_ours_is_no_half_answer(caplog: pytest.LogCaptureFixture) -> None:
    async def breaks(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError("a secret of the inside")

    reply = ask(guarded(breaks), "GET", "/")
    assert (reply.status, reply.kind) == (500, "bug")
    assert b"secret" not in reply.body
    assert "a secret of the inside" in caplog.text


def test_a_handler_ends_when_its_client_goes_away() -> None:
    ended = False

    async def waits(scope: Any, receive: Any, send: Any) -> None:
        nonlocal ended
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            ended = True
            raise

    async def gone() -> dict[str, str]:
        await asyncio.sleep(0.01)
        return {"type": "http.disconnect"}

    async def main() -> None:
        from serve.raw import scope

        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        async with asyncio.timeout(5):
            await guarded(waits)(scope("GET", "/"), gone, send)
        assert sent == []

    asyncio.run(main())
    assert ended


def test_what_comes_after_an_answer_is_not_cut_short() -> None:
    done = False

    async def late(scope: Any, receive: Any, send: Any) -> None:
        nonlocal done
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})
        assert (await receive())["type"] == "http.request"
        await asyncio.sleep(0.02)
        done = True

    assert asyncio.run(asked(guarded(late), "GET", "/")).status == 200
    assert done


def test_other_protocols_are_refused() -> None:
    recorder = Recorder()
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> dict[str, str]:
        return {"type": "websocket.connect"}

    asyncio.run(guarded(recorder)({"type": "websocket", "path": "/", "headers": []}, receive, send))
    assert sent == [{"type": "websocket.close", "code": 1008}]
    assert recorder.asked == []
