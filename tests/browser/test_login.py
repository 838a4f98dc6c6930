"""The login in a browser, and what a page of another origin can do to a server: nothing."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import fakes
import pytest
from serve.real import Server

from vidmem import Memory
from vidmem.encoders import registry

from .watched import until

ATTACK = """<!doctype html><title>attack</title><script>
const server = "http://127.0.0.1:PORT";
const job = JSON.stringify({action: "forget", sources: [1]});
const tries = [];
for (const type of ["text/plain", "application/x-www-form-urlencoded", "application/json"]) {
  for (const mode of ["no-cors", "cors"]) {
    tries.push(fetch(server + "/api/v1/jobs", {method: "POST", mode, credentials: "include", body: job,
      headers: {"content-type": type}}).then(r => r.type === "opaque" ? "sent" : "read", () => "failed"));
  }
}
tries.push(fetch(server + "/api/v1/sources", {credentials: "include"}).then(r => r.text(), () => "failed"));
tries.push(new Promise(done => { const picture = new Image(); picture.onload = () => done("read");
  picture.onerror = () => done("failed"); picture.src = server + "/api/v1/frames/1/0.jpg"; }));
tries.push(new Promise(done => { const script = document.createElement("script"); script.onload = () => done("read");
  script.onerror = () => done("failed"); script.src = server + "/api/v1/sources"; document.head.append(script); }));
Promise.all(tries).then(all => { window.done = all; });
</script>"""


def _is_page(url: str) -> bool:
    return urlsplit(url).path == "/"


@pytest.fixture(scope="module")
def server(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that asks for a token, and may write."""
    folder = tmp_path_factory.mktemp("login")
    film = fakes.squares(folder / "walk.mp4", [("red", 0, 2, 16)], 2)
    with registry.registered(fakes.SPEC), Memory.open(folder / "m", encoder="colours") as m:
        m.index(film)
    with Server(folder / "m", "--host", "0.0.0.0", "--allow-write", "--folder", str(folder)) as started:
        yield started


def test_the_printed_address_logs_in_and_hides_the_token(browser: Any, server: Server) -> None:
    token = server.says("#token=").rpartition("#token=")[2]
    page_url = f"http://127.0.0.1:{server.port}"
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{page_url}/")
    assert page.url == f"{page_url}/login"
    page.fill("#token", "wrong-token-wrong-token")
    page.click("button")
    until(page, "document.getElementById('hint').textContent.includes('not the token')")
    page.goto("about:blank")
    page.goto(f"{page_url}/login#token={token}")
    page.wait_for_url(_is_page)
    assert token not in page.url
    assert page.evaluate("fetch('/api/v1/stats').then(r => r.status)") == 200
    assert page.evaluate("document.cookie") == ""
    (cookie,) = context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    assert token not in cookie["value"]
    page.go_back()
    assert token not in page.content()
    context.close()


def test_a_page_of_another_origin_reads_and_changes_nothing(browser: Any, server: Server, tmp_path: Path) -> None:
    class Evil(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(ATTACK.replace("PORT", str(server.port)).encode())

        def log_message(self, *args: object) -> None:
            pass

    token = server.says("#token=").rpartition("#token=")[2]
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Evil) as evil:
        threading.Thread(target=evil.serve_forever, daemon=True).start()
        context = browser.new_context()
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{server.port}/login#token={token}")  # the victim is logged in
        page.wait_for_url(_is_page)
        page.goto(f"http://127.0.0.1:{evil.server_port}/")  # the same site, another origin: cookies are sent along
        done = until(page, "window.done")
        assert set(done) <= {"failed", "sent"}
        assert done[-3:] == ["failed"] * 3
        context.close()
        evil.shutdown()
    bearer = {"authorization": f"Bearer {token}"}
    assert server.ask("/api/v1/jobs", headers=bearer).document["jobs"] == []
    assert len(server.ask("/api/v1/sources", headers=bearer).document["sources"]) == 1
    lines = [line for line in server.said if "POST /api/v1/jobs" in line]
    assert lines
    assert all(" 403 " in line for line in lines)
