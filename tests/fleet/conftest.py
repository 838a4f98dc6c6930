"""Catalogues in SQLite and in PostgreSQL, and an object store, for tests."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from needs import needs

from .servers import Postgres, postgres, s3


@pytest.fixture(scope="session")
def server() -> Iterator[Postgres]:
    """A running PostgreSQL."""
    needs("psycopg")
    with postgres() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a catalogue that is not made yet."""
    needs("sqlalchemy")
    if request.param == "sqlite":
        return str(tmp_path / "house.catalogue")
    running: Postgres = request.getfixturevalue("server")
    return running.new_url()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The address of a running server that speaks S3. The environment leads to it, with a key and a secret."""
    fsspec = needs("fsspec")
    with s3() as address, pytest.MonkeyPatch.context() as patch:
        for name, value in (
            ("AWS_ACCESS_KEY_ID", "tester"),
            ("AWS_SECRET_ACCESS_KEY", "very-secret"),
            ("AWS_ENDPOINT_URL", address),
            ("AWS_DEFAULT_REGION", "us-east-1"),
        ):
            patch.setenv(name, value)
        fsspec.filesystem("s3").clear_instance_cache()
        yield address
        fsspec.filesystem("s3").clear_instance_cache()


@pytest.fixture
def bucket(s3_server: str) -> str:
    """An empty bucket, as s3://NAME."""
    return new_bucket()


def new_bucket() -> str:
    """Make a bucket, and return its address."""
    import fsspec

    name = f"b{uuid.uuid4().hex[:12]}"
    fsspec.filesystem("s3").mkdir(name)
    return f"s3://{name}"
