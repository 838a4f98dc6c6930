"""Real servers for tests: PostgreSQL in a folder of its own, and moto's server, which speaks S3."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from needs import needs, needs_postgres


class Postgres:
    """A running server that listens on a socket in a folder only."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self.programs, self.folder = programs, folder
        self.log = folder / "log"

    def run(self, *command: str) -> None:
        # It refuses to run as root, as tests in containers do.
        user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        program = str(self.programs / command[0])
        subprocess.run([*user, program, *command[1:]], check=True, capture_output=True, cwd="/", timeout=60)

    def start(self) -> None:
        data = str(self.folder / "data")
        self.run("initdb", "-D", data, "-A", "trust", "-U", "postgres", "--no-sync", "-E", "UTF8", "--no-locale")
        options = f"-k {self.folder} -c listen_addresses='' -c fsync=off -c max_connections=60 -c shared_buffers=16MB"
        self.run("pg_ctl", "-w", "-D", data, "-l", str(self.log), "-o", options, "start")

    def stop(self) -> None:
        self.run("pg_ctl", "-w", "-m", "immediate", "-D", str(self.folder / "data"), "stop")

    def new_url(self) -> str:
        """The address of a new, empty database."""
        name = f"fleet_{uuid.uuid4().hex[:12]}"
        self.run("createdb", "-h", str(self.folder), "-U", "postgres", name)
        return f"postgresql://postgres@/{name}?host={self.folder}"


@contextmanager
def postgres() -> Iterator[Postgres]:
    """Run PostgreSQL for the block, as the user postgres if this is root."""
    programs = needs_postgres()
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    try:
        folder.chmod(0o755)
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres")
        server = Postgres(programs, folder)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def s3() -> Iterator[str]:
    """Run moto's server for the block; give its address."""
    needs("s3fs")
    moto = needs("moto.server")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server._server.block_on_close = False  # clients keep their connections open
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()
