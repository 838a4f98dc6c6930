"""Load on `vidmem serve`: `python -m benchmarks.serve --out FILE.json [--minutes 5] [--clients 50]`.

Two servers over one memory of 20,000 synthetic tracks and two films. 50 clients ask: each waits a second after an
answer, as a person who looks at it does. Meanwhile one server indexes a film and forgets it, and forgets recordings,
over and over, in its jobs. At 80 % of the time that server is killed (SIGKILL) in the middle of its work and started
again on the same port. Wanted: no error but while the server is down, RSS that does not grow, nothing lost by the kill,
and the same answers from both servers and from Python at the end. Afterwards pages of `/things` are timed in a memory
of 100,000 tracks.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from benchmarks.common import OUT, machine, memory_place, model, parser_for, quantile, say, table, write_json
from benchmarks.query_memories import tracks_alone

ROOT = Path(__file__).resolve().parents[1]
TARGETS = {"errors": 0, "rss_mb_per_minute": 2.0}
"""Of memory as in `live`: less growth than 2 MB a minute cannot be told from noise in a few minutes."""
TRACKS, PAGED = 20_000, 100_000
KILL_AT = 0.8
"""Share of the time after which the server that writes is killed."""
SETTLED = 0.4
"""Share of the time of a process after which its memory is looked at: caches fill, and threads take what they keep."""
WORDS = ("cup", "laptop", "person", "umbrella", "scissors", "chair", "spoon", "zebra", "kettle", "backpack")
MIX = {"where": 60, "timeline": 8, "things": 4, "names": 10, "sources": 4, "frame": 10, "crop": 4}
"""How often each kind of request is made, of 100."""


class Server:
    """`vidmem serve` in a process."""

    def __init__(self, memory: Path, *options: str) -> None:
        self.memory, self.options, self.port = memory, options, 0
        self.log: list[str] = []
        self.start()

    def start(self) -> None:
        """Start it, again on the port that it had."""
        command = [sys.executable, "-m", "vidmem.cli", "--quiet", "serve", str(self.memory), "--port", str(self.port)]
        self.process = subprocess.Popen(
            [*command, *self.options], cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        )
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line)
            if match := re.search(r"http://127\.0\.0\.1:(\d+)/", line):
                self.port = int(match[1])
                break
        threading.Thread(target=self._drain, args=(self.process,), daemon=True).start()

    def _drain(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        self.log.extend(process.stderr)

    def rss(self) -> int | None:
        """Resident bytes; None where the system does not tell, or while it is down."""
        try:
            pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        except (OSError, IndexError):
            return None
        return int(pages) * 4096

    def ask(self, path: str, method: str = "GET", body: object = None) -> Any:
        """The document of an answer. Raises OSError or ValueError."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            data = None if body is None else json.dumps(body)
            connection.request(method, f"/api/v1{path}", data, {"Content-Type": "application/json"} if data else {})
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def stop(self) -> int:
        """End it as Ctrl-C does; the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(30)


@dataclass
class Seen:
    """What clients have seen. times: kind, start and seconds of each answer. errors, down: counts by what it was."""

    times: list[tuple[str, float, float]] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    down: Counter[str] = field(default_factory=Counter)


class Client(threading.Thread):
    """One client of one server. It keeps its connection, as browsers do."""

    def __init__(self, number: int, server: Server, film: int, until: float, pause: float, outage: list[float]) -> None:
        super().__init__(daemon=True)
        self.random = random.Random(number)
        self.name_of_client = f"client {number}"
        self.server, self.film, self.until, self.pause, self.outage = server, film, until, pause, outage
        self.seen = Seen()

    def run(self) -> None:
        connection: http.client.HTTPConnection | None = None
        time.sleep(self.random.random() * self.pause)
        while time.monotonic() < self.until:
            kind = self.random.choices(list(MIX), list(MIX.values()))[0]
            began = time.monotonic()
            try:
                if connection is None:
                    connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
                connection.request("GET", self._path(kind), headers={"User-Agent": self.name_of_client})
                answer = connection.getresponse()
                answer.read()
                if answer.status != 200:
                    self._failed(f"{kind}: status {answer.status}", began)
                else:
                    self.seen.times.append((kind, began, time.monotonic() - began))
            except (OSError, http.client.HTTPException) as error:
                if connection is not None:
                    connection.close()
                connection = None
                self._failed(f"{kind}: {type(error).__name__}", began)
            time.sleep(self.pause)

    def _failed(self, what: str, began: float) -> None:
        """Count a failure: as an error, unless the server was down at some time between the request and now."""
        low, high = (*self.outage, float("inf"), float("inf"))[:2]
        down = began <= high and time.monotonic() >= low
        (self.seen.down if down else self.seen.errors)[what] += 1

    def _path(self, kind: str) -> str:
        word, t_ns = self.random.choice(WORDS), self.random.randrange(30) * 1_000_000_000
        paths = {
            "where": f"/where?{urlencode({'text': word})}",
            "timeline": f"/timeline?{urlencode({'text': word, 'source': self.film})}",
            "things": f"/things?top=20&offset={20 * self.random.randrange(10)}",
            "names": f"/names?prefix={word[:2]}",
            "sources": "/sources",
            "frame": f"/frames/{self.film}/{t_ns}.jpg?width=640",
            "crop": f"/crops/{self.film}/{t_ns}.jpg?box=100,100,300,300&width=160",
        }
        return f"/api/v1{paths[kind]}"


class Writing(threading.Thread):
    """Index a film, forget it, forget a recording, over and over, as jobs of one server."""

    def __init__(self, server: Server, video: Path, spare: list[int], until: float) -> None:
        super().__init__(daemon=True)
        self.server, self.video, self.spare, self.until = server, video, spare, until
        self.done: Counter[str] = Counter()
        self.forgotten: list[int] = []

    def run(self) -> None:
        while time.monotonic() < self.until:
            try:
                state = self._job({"action": "index", "paths": [str(self.video)]})
                self.done[f"index {state}"] += 1
                if state != "done":
                    continue
                rows = self.server.ask("/sources")["sources"]
                ids = [row["id"] for row in rows if row["source"] == str(self.video)]
                gone = [*ids, *([self.spare.pop()] if self.spare else [])]
                self.done[f"forget {self._job({'action': 'forget', 'sources': gone})}"] += 1
                self.forgotten += gone
            except (OSError, ValueError, http.client.HTTPException, KeyError):
                self.done["cut off"] += 1
                time.sleep(1)

    def _job(self, request: dict[str, Any]) -> str:
        job = self.server.ask("/jobs", "POST", request)
        while job["state"] in ("waiting", "running") and time.monotonic() < self.until:
            time.sleep(0.5)
            job = self.server.ask(f"/jobs/{job['id']}")
        return str(job["state"])


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark; the exit code."""
    parser = parser_for(__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--pause", type=float, default=1.0, help="seconds that a client waits after an answer")
    parser.add_argument("--cache", type=Path, default=OUT)
    args = parser.parse_args(argv)
    result: dict[str, Any] = {"machine": machine(), "model": model(), "targets": TARGETS}
    result["load"] = load(args)
    say("pages of 100,000 tracks")
    result["pages"] = pages(args.cache)
    write_json(args.out, result)
    print(summary(result))
    return 0


def load(args: argparse.Namespace) -> dict[str, Any]:
    """Let the clients ask, index, forget and kill; what they have seen."""
    from vidmem.cli.demo_film import FILM
    from vidmem.memory import Memory

    place = args.cache / "serve"
    shutil.rmtree(place, ignore_errors=True)
    folder, video, film = place / "memory", place / "films" / "walk.mp4", place / "films" / "film.mp4"
    video.parent.mkdir(parents=True)
    shutil.copy(FILM, film)
    shutil.copy(FILM.with_name("walk.mp4"), video)
    tracks_alone(folder, TRACKS)
    with Memory.open(folder) as m:
        say("indexing the film")
        m.index(film)
        film_id = m.store.source(str(film)).id
        spare = [row.id for row in m.sources() if row.id != film_id][5:]
        kept = [row.uri for row in m.sources() if row.id not in spare]
    first = Server(folder, "--allow-write", "--folder", str(video.parent))
    second = Server(folder)
    for server in (first, second):  # what is loaded once is not part of an answer
        for path in ("/where?text=cup", "/things?top=1"):
            server.ask(path)
    began = time.monotonic()
    until, outage = began + 60 * args.minutes, list[float]()
    clients = [
        Client(i, (first, second)[i % 2], film_id, until, args.pause, outage if i % 2 == 0 else [])
        for i in range(args.clients)
    ]
    writing = Writing(first, video, spare, until)
    say(f"{args.clients} clients for {args.minutes:g} minutes")
    for thread in (*clients, writing):
        thread.start()
    sizes: dict[str, list[tuple[float, int]]] = {"first": [], "second": []}
    while (now := time.monotonic()) < until:
        if not outage and now - began > 60 * KILL_AT * args.minutes:
            outage += [time.monotonic()]
            first.process.kill()
            first.process.wait()
            first.start()
            first.ask("/where?text=cup")
            outage += [time.monotonic() + 1.0]
        for name, server in (("first", first), ("second", second)):
            if (rss := server.rss()) is not None:
                sizes[name].append(((now - began) / 60, rss))
        time.sleep(1)
    for thread in (*clients, writing):
        thread.join(90)
    return seen(args, clients, writing, sizes, outage, began) | end(first, second, folder, video, kept)


def seen(
    args: argparse.Namespace,
    clients: list[Client],
    writing: Writing,
    sizes: dict[str, list[tuple[float, int]]],
    outage: list[float],
    began: float,
) -> dict[str, Any]:
    """What was measured while the clients asked."""
    times = [entry for client in clients for entry in client.seen.times]
    kinds = {kind: [1e3 * s for k, _, s in times if k == kind] for kind in MIX}
    every = [ms for held in kinds.values() for ms in held]
    errors, down = Counter[str](), Counter[str]()
    for client in clients:
        errors += client.seen.errors
        down += client.seen.down
    return {
        "minutes": args.minutes,
        "clients": args.clients,
        "pause_s": args.pause,
        "requests": len(times),
        "per_second": len(times) / (60 * args.minutes),
        "p50_ms": quantile(every, 0.5),
        "p95_ms": quantile(every, 0.95),
        "max_ms": max(every),
        "kinds": {
            kind: {"n": len(held), "p50_ms": quantile(held, 0.5), "p95_ms": quantile(held, 0.95)}
            for kind, held in kinds.items()
            if held
        },
        "errors": sum(errors.values()),
        "error_kinds": dict(errors),
        "failed_while_down": sum(down.values()),
        "down_s": outage[1] - outage[0] - 1.0 if outage else None,
        "killed_at_s": outage[0] - began if outage else None,
        "jobs": dict(writing.done),
        "rss": {name: growth(points, outage[:1] if name == "first" else [], began) for name, points in sizes.items()},
    }


def growth(points: list[tuple[float, int]], killed: list[float], began: float) -> dict[str, Any]:
    """Resident MB of a server until it is killed: at most, at the end, and its growth a minute once it has settled."""
    if killed:
        points = [(t, size) for t, size in points if t < (killed[0] - began) / 60]
    last = max((t for t, _ in points), default=0.0)
    start = last * SETTLED
    held = [(t, size / 1e6) for t, size in points if t >= start]
    half = len(held) // 2
    if half < 2:
        return {"peak_mb": None, "end_mb": None, "mb_per_minute": None, "every_10_s_mb": []}
    low, high = sorted(mb for _, mb in held[:half])[half // 2], sorted(mb for _, mb in held[half:])[half // 2]
    minutes = held[half + half // 2][0] - held[half // 2][0]
    return {
        "peak_mb": max(size for _, size in points) / 1e6,
        "end_mb": held[-1][1],
        "mb_per_minute": (high - low) / minutes if minutes > 0 else None,
        "every_10_s_mb": [round(size / 1e6) for _, size in points[::10]],
    }


def end(first: Server, second: Server, folder: Path, video: Path, kept: list[str]) -> dict[str, Any]:
    """Whether the memory is whole, and all answers agree, after the job that was cut off is done."""
    from vidmem.memory import Memory
    from vidmem.query.documents import public, where_document
    from vidmem.store.verify import verify

    job = first.ask("/jobs", "POST", {"action": "index", "paths": [str(video)]})
    while job["state"] in ("waiting", "running"):
        time.sleep(0.5)
        job = first.ask(f"/jobs/{job['id']}")
    with Memory.open(folder, read_only=True) as m:
        ours = {word: json.loads(json.dumps(public(where_document(m.where(word))))) for word in WORDS}
        there = {row.uri: row.state for row in m.sources()}
    same = all(server.ask(f"/where?text={word}") == ours[word] for server in (first, second) for word in WORDS)
    codes = [server.stop() for server in (first, second)]
    faults = [str(finding) for finding in verify(folder) if not finding.sound]
    return {
        "job_after_the_kill": job["state"],
        "sources_lost": sorted(set(kept) - set(there)),
        "film_indexed": there.get(str(video)),
        "faults_of_the_memory": faults,
        "same_answers": same,
        "exit_codes": codes,
    }


def pages(cache: Path) -> dict[str, Any]:
    """Times of pages of `/things` in a memory of 100,000 tracks."""
    folder = memory_place(cache, "serve-pages")
    tracks_alone(folder, PAGED)
    server = Server(folder)
    server.ask("/where?text=cup")
    before = server.rss()
    times = []
    for number in range(21):
        began = time.perf_counter()
        document = server.ask(f"/things?top=50&offset={50 * number}")
        times.append(time.perf_counter() - began)
    out = {
        "tracks": PAGED,
        "things": document["total"],
        "first_page_s": times[0],
        "next_page_s": sum(times[1:]) / len(times[1:]),
        "slowest_next_page_s": max(times[1:]),
        "rss_mb_before": None if before is None else before / 1e6,
        "rss_mb": None if (after := server.rss()) is None else after / 1e6,
    }
    server.stop()
    return out


def summary(result: dict[str, Any]) -> str:
    """The result as a table."""
    found, paged = result["load"], result["pages"]
    rows: list[tuple[object, ...]] = [
        ("requests", found["requests"], None),
        ("p50 ms", found["p50_ms"], None),
        ("p95 ms", found["p95_ms"], None),
        ("errors", found["errors"], "0"),
        ("failed while the server was down", found["failed_while_down"], None),
        ("same answers at the end", found["same_answers"], "yes"),
        ("faults of the memory", len(found["faults_of_the_memory"]), "0"),
    ]
    grown = found["rss"].items()
    rows += [(f"RSS of the {name} server, MB a minute", one["mb_per_minute"], "<= 2") for name, one in grown]
    rows += [(f"{kind}, p95 ms", one["p95_ms"], None) for kind, one in found["kinds"].items()]
    rows += [("first page of 100,000 tracks, s", paged["first_page_s"], None)]
    rows += [("next pages, s", paged["next_page_s"], None)]
    return table(("", "measured", "wanted"), rows)


if __name__ == "__main__":
    sys.exit(main())
