"""The catalogue of a fleet: which shards there are, where they lie, what is in them, and who makes which.

It is a file of SQLite, for one machine, or a database in PostgreSQL, for many. Both have the same tables.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

from ..encoders.extras import needing
from ..errors import ModelMismatchError, StoreError, UsageError, VersionError
from ..limits import MAX_NS
from ..store import ModelRecord, migrations
from ..store.rows import model_record
from ..store.validate import MAX_COUNT
from .manifest import Manifest, parse_source
from .rows import MAX_NUMBER, FleetRow, Lease, ShardRow, ShardSource

if TYPE_CHECKING:
    import sqlalchemy as sa

MAX_KEY = 200
_MAX_ABOUT = 1 << 20
_MAX_ERROR = 2000
_NS = 1_000_000_000
_RELATIVE = "./"
"""The beginning of the address of a shard that lies beside or below a catalogue in SQLite: both can move together."""


class Catalogue:
    """An open catalogue. Use it as a context manager. Threads may share it, and processes may have it open together.

    Every method may raise StoreError: the catalogue is damaged, or its server cannot be reached.
    """

    def __init__(self, url: str, engine: sa.Engine) -> None:
        """Use `Catalogue.open`."""
        from . import tables

        self._url, self._engine, self._tables = url, engine, tables
        self.url = url
        """What opens it again. It may hold a password."""
        self._path = tables.sqlite_path(url)
        self.name = tables.shown_url(url)
        """Its file or its address, without a user or a password."""

    @classmethod
    def open(cls, url: str | os.PathLike[str], *, create: bool = False) -> Self:
        """Open a catalogue.

        Args:
            url: A file of SQLite, such as "house.catalogue", or an address such as postgresql://HOST/NAME.
            create: Make it if there is none.

        Raises:
            UsageError: The address is malformed or of another kind of database.
            StoreError: There is no catalogue, or it is damaged or cannot be reached.
            VersionError: A newer vidmem made it.
            ModelError: SQLAlchemy, or the driver of PostgreSQL, is missing.
        """
        text = os.fspath(url)
        with needing("fleet", "a catalogue"):
            from . import tables

            where = tables.shown_url(text)
            with tables.catalogue_errors(where):
                made = cls(text, tables.engine(text, create=create))
                try:
                    made._check(create)
                except BaseException:
                    made.close()
                    raise
        return made

    def _check(self, create: bool) -> None:
        with self._engine.connect().execution_options(**self._tables.READING) as conn, conn.begin():
            found = self._tables.check(conn)
        if found is None:
            if not create:
                raise StoreError("there is no catalogue here; `vidmem fleet add` makes one")
            if self._path is not None:
                with self._engine.connect() as conn:
                    conn.connection.cursor().execute("PRAGMA journal_mode = WAL")
            with self._engine.begin() as conn:
                self._tables.make(conn, uuid.uuid4().hex)
                found = self._tables.check(conn)
        if found is not None and found > self._tables.FORMAT:
            raise VersionError(
                f"a newer vidmem made the catalogue (format {found}, this one knows {self._tables.FORMAT}); upgrade "
                "with: pip install -U vidmem"
            )

    def close(self) -> None:
        """Close its connections. Closing twice is fine."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Catalogue({self.name!r})"

    def __reduce__(self) -> tuple[Any, ...]:  # workers in other processes open it again
        return _open, (self._url,)

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        with (
            self._tables.catalogue_errors(self.name),
            self._engine.connect().execution_options(**self._tables.READING) as conn,
            conn.begin(),
        ):
            yield conn

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        with self._tables.catalogue_errors(self.name), self._engine.begin() as conn:
            yield conn

    def fleet(self) -> FleetRow:
        """Return the fleet: its name, its generation, and what made its shards."""
        with self._reading() as conn:
            return self._fleet(conn)

    def _fleet(self, conn: sa.Connection) -> FleetRow:
        row = conn.execute(self._tables.FLEET.select()).mappings().one()
        if row["encoder"] is None:
            return FleetRow(row["id"], row["format"], row["generation"], None)
        names = ("encoder", "weights", "visual_dim", "text_dim", "config", "regions")
        return FleetRow(row["id"], row["format"], row["generation"], model_record(tuple(row[n] for n in names)))

    def generation(self) -> int:
        """Return a number that grows with every change of the ready shards."""
        with self._reading() as conn:
            return int(conn.execute(self._tables.FLEET.select()).mappings().one()["generation"])

    def shards(self, *, ready: bool = True) -> list[ShardRow]:
        """Return the shards by number. ready: only those that answer, without tasks and shards that were replaced."""
        table = self._tables.SHARDS
        query = table.select().order_by(table.c.number)
        with self._reading() as conn:
            rows = conn.execute(query.where(table.c.state == "ready") if ready else query).mappings().all()
        return [self._shard(row) for row in rows]

    def shard(self, number: int) -> ShardRow:
        """Return a shard. Raises StoreError if there is none with this number."""
        with self._reading() as conn:
            return self._by(conn, self._tables.SHARDS.c.number == number)

    def _by(self, conn: sa.Connection, condition: Any) -> ShardRow:
        row = conn.execute(self._tables.SHARDS.select().where(condition)).mappings().first()
        if row is None:
            raise StoreError("there is no such shard in the catalogue; `vidmem fleet ls` lists them")
        return self._shard(row)

    def _shard(self, row: Any) -> ShardRow:
        values = dict(row)
        try:
            about = json.loads(values.pop("about"))
        except (ValueError, RecursionError):
            about = None
        sound = isinstance(about, dict) and values["state"] in ("ready", "leased", "failed", "replaced")
        if not sound or not 0 < values["number"] <= MAX_NUMBER:
            raise StoreError("the catalogue is damaged (a shard that cannot be one); restore it from a backup")
        return ShardRow(**{**values, "uri": self._resolved(values["uri"])}, about=about)

    def sources(self) -> list[ShardSource]:
        """Return the sources of all ready shards, by shard and by their id in it."""
        with self._reading() as conn:
            return [_source(int(row[0]), str(row[1])) for row in conn.execute(self._tables.ready_sources())]

    def claim(self, model: ModelRecord) -> None:
        """Say what makes the shards of this fleet, before the first is there.

        Raises:
            ModelMismatchError: They are made otherwise.
        """
        with self._writing() as conn:
            self._claim(conn, model)

    def _claim(self, conn: sa.Connection, model: ModelRecord) -> None:
        values = {
            **{name: getattr(model, name) for name in ("encoder", "weights", "regions", "visual_dim", "text_dim")},
            "config": json.dumps(dict(model.config), sort_keys=True),
        }
        table = self._tables.FLEET
        conn.execute(table.select().with_for_update()).one()  # who enters or removes shards waits here for each other
        conn.execute(table.update().where(table.c.encoder.is_(None)).values(**values))
        fleet = self._fleet(conn)
        assert fleet.model is not None
        _check_model(fleet.model, model)

    def add(self, manifest: Manifest, uri: str, *, key: str | None = None, owner: str | None = None) -> ShardRow:
        """Enter a shard, or return the row that it has. A shard that lies elsewhere now gets its new address.

        One folder holds one shard. So a shard that is entered where another one lay replaces it.

        Whoever is first with a result for a task enters it, even if the lease has ended meanwhile: what others make of
        the same task is the same. They get the row of the first.

        Args:
            manifest: What the shard says of itself.
            uri: Where it lies; see `storage.place`.
            key: The key of the task that made it; by default its id.
            owner: Who made it.

        Raises:
            ModelMismatchError: Another encoder, other weights or other settings made it than the fleet's.
            VersionError: It has another format than memories of this version.
            UsageError: The address is not one of a shard, or the key is empty or too long.
        """
        from .storage import place

        at, known = str(place(uri)), len(migrations.MIGRATIONS)
        if manifest.schema != known:
            raise VersionError(
                f"the shard has format {manifest.schema}, and this vidmem reads {known}; "
                + ("upgrade with: pip install -U vidmem" if manifest.schema > known else _SEAL_AGAIN)
            )
        name = _key(manifest.id if key is None else key)
        table = self._tables.SHARDS
        with self._writing() as conn:
            self._claim(conn, manifest.model)
            found = conn.execute(table.select().where(table.c.sha256 == manifest.id)).mappings().first()
            if found is None:
                task = table.select().where(table.c.key == name).with_for_update()
                found = conn.execute(task).mappings().first()
                if found is None:
                    self._insert(conn, {"key": name, "state": "leased", "tries": 0})  # unless another is faster
                    found = conn.execute(task).mappings().one()
                if found["state"] == "ready":
                    return self._shard(found)
            values = {
                "sha256": manifest.id,
                "state": "ready",
                "encoder": manifest.model.encoder,
                "generation": manifest.generation,
                "n_tracks": manifest.tracks,
                "t_min": manifest.t_min,
                "t_max": manifest.t_max,
                "uri": self._relative(at),
                "bytes": manifest.total_bytes,
                "lease_until": 0,
                "error": "",
            } | ({} if owner is None else {"lease_owner": _text(owner, "owner")})
            if found["state"] == "ready":  # known; it may have moved
                if found["uri"] != values["uri"]:
                    conn.execute(table.update().where(table.c.number == found["number"]).values(uri=values["uri"]))
                    self._replace_at(conn, str(values["uri"]), int(found["number"]))
                    self._changed(conn)
                return self._by(conn, table.c.number == found["number"])
            number = int(found["number"])
            conn.execute(table.update().where(table.c.number == number).values(**values))
            self._replace_at(conn, str(values["uri"]), number)
            self._enter_sources(conn, number, manifest)
            self._changed(conn)
            return self._by(conn, table.c.number == number)

    def _replace_at(self, conn: sa.Connection, uri: str, number: int) -> None:
        """Let all shards at an address but this one answer no more."""
        columns = self._tables.SHARDS.c
        others = (columns.uri == uri) & (columns.state == "ready") & (columns.number != number)
        conn.execute(self._tables.SHARDS.update().where(others).values(state="replaced"))

    def _insert(self, conn: sa.Connection, values: Mapping[str, Any]) -> Any:
        """Enter a task; return its number, tries and end. None if there is one with its key: another was faster."""
        defaults = {
            **dict.fromkeys(("encoder", "uri", "lease_owner", "error"), ""),
            **dict.fromkeys(("generation", "n_tracks", "bytes", "lease_until", "tries"), 0),
            **dict.fromkeys(("clock_offset_ns", "clock_error_ns"), 0),
            "about": "{}",
        }
        columns = self._tables.SHARDS.c
        query = self._tables.insert_new(conn, {**defaults, **values})
        taken = conn.execute(query.returning(columns.number, columns.tries, columns.lease_until)).first()
        if taken is not None and int(taken[0]) > MAX_NUMBER:
            raise StoreError(f"the catalogue has given out all its {MAX_NUMBER:,} numbers; make a new one")
        return taken

    def _enter_sources(self, conn: sa.Connection, number: int, manifest: Manifest) -> None:
        table = self._tables.SOURCES
        conn.execute(table.delete().where(table.c.shard == number))
        rows = [
            {
                "shard": number,
                "local": source.row.id,
                "uri": source.row.uri,
                "fingerprint": source.row.fingerprint,
                "kind": str(source.row.kind),
                "t_min": source.t_min,
                "t_max": source.t_max,
                "json": json.dumps(source.document(), sort_keys=True),
            }
            for source in manifest.sources
        ]
        if rows:
            conn.execute(table.insert(), rows)

    def _changed(self, conn: sa.Connection) -> None:
        table = self._tables.FLEET
        conn.execute(table.update().values(generation=table.c.generation + 1))

    def remove(self, number: int) -> None:
        """Take a shard or a task out of the catalogue. The files of the shard stay. Its number is not used again.

        With the last one the fleet forgets what makes its shards.

        Raises:
            StoreError: There is none with this number.
        """
        table = self._tables.SHARDS
        with self._writing() as conn:
            self._changed(conn)  # first, so that two that remove the last shards wait for each other
            if not conn.execute(table.delete().where(table.c.number == number)).rowcount:
                raise StoreError("there is no such shard in the catalogue; `vidmem fleet ls` lists them")
            if conn.execute(table.select().limit(1)).first() is None:
                names = ("encoder", "weights", "regions", "visual_dim", "text_dim", "config")
                conn.execute(self._tables.FLEET.update().values(**dict.fromkeys(names)))

    def replace(self, number: int) -> None:
        """Let a shard answer no more, because others hold what it holds. Its row stays, so that it is not made again.

        Raises:
            StoreError: There is no ready shard with this number.
        """
        table = self._tables.SHARDS
        chosen = (table.c.number == number) & (table.c.state == "ready")
        with self._writing() as conn:
            if not conn.execute(table.update().where(chosen).values(state="replaced")).rowcount:
                raise StoreError("there is no such shard in the catalogue; `vidmem fleet ls` lists them")
            self._changed(conn)

    def lease(self, key: str, owner: str, seconds: float, about: Mapping[str, Any]) -> Lease | None:
        """Take the right to make a shard; None if it is there already, or another has this right at the moment.

        A right that has ended, or whose task failed, can be taken by anyone. Of many that try at once, exactly one gets
        it: each step is one statement of the database.

        Args:
            key: The task: the same for the same work, at most 200 characters.
            owner: Who takes it, such as host and process.
            seconds: How long, by the catalogue's clock; see `renew`.
            about: What to keep of the task, as plain data.

        Raises:
            UsageError: An argument is empty, too long or out of range.
        """
        name, who, ns = _key(key), _text(owner, "owner"), _duration(seconds)
        details = _about(about)
        table = self._tables.SHARDS
        with self._writing() as conn:
            time = self._tables.now(conn)
            free = (table.c.state == "failed") | ((table.c.state == "leased") & (table.c.lease_until <= time))
            values = {"state": "leased", "lease_owner": who, "lease_until": time + ns, "about": details}
            taken = conn.execute(
                table.update()
                .where((table.c.key == name) & free)
                .values(**values, tries=table.c.tries + 1)
                .returning(table.c.number, table.c.tries, table.c.lease_until)
            ).first()
            if taken is None:
                if conn.execute(table.select().where(table.c.key == name)).first() is not None:
                    return None
                taken = self._insert(conn, {"key": name, **values, "tries": 1})
            return None if taken is None else Lease(int(taken[0]), name, who, int(taken[1]), int(taken[2]))

    def _held(self, lease: Lease) -> Any:
        columns = self._tables.SHARDS.c
        return (
            (columns.number == lease.number)
            & (columns.state == "leased")
            & (columns.lease_owner == lease.owner)
            & (columns.tries == lease.tries)
        )

    def renew(self, lease: Lease, seconds: float) -> bool:
        """Let a lease end `seconds` from now. False if it was lost: it ended and another took it, or it is done."""
        ns = _duration(seconds)
        with self._writing() as conn:
            values = {"lease_until": self._tables.now(conn) + ns}
            done = conn.execute(self._tables.SHARDS.update().where(self._held(lease)).values(**values))
            return bool(done.rowcount)

    def release(self, lease: Lease) -> None:
        """Give a lease back before it ends, so that another can take it at once. Nothing happens if it was lost."""
        with self._writing() as conn:
            conn.execute(self._tables.SHARDS.update().where(self._held(lease)).values(lease_until=0))

    def fail(self, lease: Lease, error: str) -> None:
        """Note that a task could not be done; it can be leased again. Nothing happens if the lease was lost.

        error: why, shown to people. Credentials in it are left out.
        """
        from ..address import shown

        values = {"state": "failed", "error": shown(error)[:_MAX_ERROR], "lease_until": 0}
        with self._writing() as conn:
            conn.execute(self._tables.SHARDS.update().where(self._held(lease)).values(**values))

    def set_clock(self, number: int, offset_ns: int, error_ns: int) -> None:
        """Set how the clock of a shard differs from the fleet's.

        Args:
            number: The shard.
            offset_ns: What to add to the shard's times to get the time of the fleet: a clock that is 2 s late has an
                offset of 2 s.
            error_ns: How far that may be wrong, in either direction.

        Raises:
            UsageError: A value is out of range.
            StoreError: There is no such shard.
        """
        if not -MAX_NS < offset_ns < MAX_NS or not 0 <= error_ns < MAX_NS:
            raise UsageError("an `offset` or an `error` of a clock is out of range; give less than 146 years")
        table = self._tables.SHARDS
        values = {"clock_offset_ns": int(offset_ns), "clock_error_ns": int(error_ns)}
        with self._writing() as conn:
            if not conn.execute(table.update().where(table.c.number == number).values(**values)).rowcount:
                raise StoreError("there is no such shard in the catalogue; `vidmem fleet ls` lists them")
            self._changed(conn)

    def _relative(self, at: str) -> str:
        """The address as it is stored: relative to a catalogue in SQLite if it lies below its folder."""
        if self._path is None or "://" in at:
            return at
        below = os.path.relpath(at, self._path.parent)
        return at if below.startswith("..") or os.path.isabs(below) else _RELATIVE + below

    def _resolved(self, uri: str) -> str:
        if self._path is None or not uri.startswith(_RELATIVE):
            return uri
        if ".." in uri.split("/"):
            raise StoreError("the catalogue is damaged (an address that leads out of its folder); restore it")
        return os.path.join(self._path.parent, uri.removeprefix(_RELATIVE))


_SEAL_AGAIN = "run `vidmem seal --undo`, ask it a question, which brings it up to date, and seal it again"


def _open(url: str) -> Catalogue:
    return Catalogue.open(url)


def _source(shard: int, text: str) -> ShardSource:
    try:
        found = parse_source(json.loads(text))
    except (ValueError, TypeError, RecursionError, StoreError):
        raise StoreError("the catalogue is damaged (a source that cannot be one); restore it from a backup") from None
    return ShardSource(shard, found.row, found.tracks, found.end_ns, found.t_min, found.t_max, found.pictures)


def _check_model(fleet: ModelRecord, shard: ModelRecord) -> None:
    if not (differ := fleet.differences(shard)):
        return
    said = ", ".join(f"{name} ({ours} in the fleet, {theirs} in the shard)" for name, (ours, theirs) in differ.items())
    if differ.keys() & {"encoder", "weights", "visual_dim", "text_dim", "regions"}:
        remedy = (
            f"`vidmem reembed --encoder {fleet.encoder}` gives its memory the tokens of the fleet, before it is sealed"
        )
    else:
        remedy = (
            "index it with the settings of the fleet, or use another catalogue; `vidmem reembed` changes no settings"
        )
    raise ModelMismatchError(f"the shard was made otherwise than the fleet: {said[:500]}; {remedy}")


def _key(key: str) -> str:
    if not isinstance(key, str) or not 0 < len(key) <= MAX_KEY or not key.isprintable():
        raise UsageError(f"a `key` of a task has 1 to {MAX_KEY} printable characters")
    return key


def _text(text: str, name: str) -> str:
    if not isinstance(text, str) or not text or len(text) > MAX_KEY or not text.isprintable():
        raise UsageError(f"`{name}` has 1 to {MAX_KEY} printable characters")
    return text


def _duration(seconds: float) -> int:
    if not 0 <= seconds <= MAX_COUNT / _NS * 1000:
        raise UsageError("the `seconds` of a lease are out of range")
    return int(seconds * _NS)


def _about(about: Mapping[str, Any]) -> str:
    try:
        text = json.dumps(dict(about), sort_keys=True, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise UsageError("what is kept of a task is plain data: texts, numbers, lists and objects") from None
    if len(text) > _MAX_ABOUT:
        raise UsageError(f"what is kept of a task has at most {_MAX_ABOUT >> 20} MB")
    return text
