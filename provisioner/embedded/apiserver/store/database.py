"""
The SQLite file: the current objects, and the last few thousand changes.

A write is one transaction, which is on disk before the write returns (WAL, synchronous=FULL). A process that is killed
at any moment therefore loses no acknowledged write.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

import msgspec

from provisioner.embedded.apiserver.store.records import Change, ChangeType
from provisioner.model.kinds import KINDS, Json, Kind

SCHEMA_VERSION: Final = 1
_SCHEMA: Final = """
CREATE TABLE objects (
    kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (kind, namespace, name)
) WITHOUT ROWID;
CREATE TABLE changes (
    version INTEGER PRIMARY KEY, type TEXT NOT NULL, kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
    body BLOB NOT NULL, before BLOB
);
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO counters VALUES ('version', 1), ('compacted', 1);
"""


class UnreadableStoreError(Exception):
    """The file cannot be used as a store; the message names the file, the reason and what to do."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """The content of a file: objects, changes (oldest first), the newest version, the newest compacted version."""

    objects: Sequence[tuple[Kind, Json]]
    changes: Sequence[Change]
    version: int
    compacted: int


class Database:
    """The open file. It is not thread-safe: the caller must serialize calls."""

    def __init__(self, path: Path) -> None:
        """Open or create the file; raise UnreadableStoreError."""
        self._path = path
        try:
            path.touch(mode=0o600)
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5)
        except (sqlite3.Error, OSError) as error:
            raise self._unreadable(str(error)) from error
        try:
            self._prepare()
        except sqlite3.Error as error:
            self._connection.close()
            raise self._unreadable(str(error)) from error
        except UnreadableStoreError:
            self._connection.close()
            raise

    def _unreadable(self, why: str) -> UnreadableStoreError:
        return UnreadableStoreError(
            f"the store {self._path} cannot be used ({why}); move the file away to start with an empty one: the "
            "data of volumes is not stored in it"
        )

    def _prepare(self) -> None:
        run = self._connection.execute
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = FULL")
        (found,) = run("PRAGMA user_version").fetchone()
        if found == 0:
            self._connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
        elif found != SCHEMA_VERSION:
            raise self._unreadable(f"its schema version is {found}, this version of mooring supports {SCHEMA_VERSION}")

    def load(self) -> Loaded:
        """Return everything in the file; raise UnreadableStoreError."""
        try:
            return Loaded(
                objects=list(self._objects()),
                changes=list(self._changes()),
                version=self._counter("version"),
                compacted=self._counter("compacted"),
            )
        except (sqlite3.Error, msgspec.MsgspecError) as error:
            raise self._unreadable(str(error)) from error

    def _counter(self, name: str) -> int:
        (value,) = self._connection.execute("SELECT value FROM counters WHERE name = ?", (name,)).fetchone()
        return int(value)

    def _objects(self) -> Iterator[tuple[Kind, Json]]:
        for kind, body in self._connection.execute("SELECT kind, body FROM objects"):
            if known := _KINDS.get(kind):
                yield known, _decoded(body)

    def _changes(self) -> Iterator[Change]:
        rows = self._connection.execute(
            "SELECT version, type, kind, namespace, name, body, before FROM changes ORDER BY version"
        )
        for version, change_type, kind, namespace, name, body, before in rows:
            if known := _KINDS.get(kind):
                yield Change(
                    version=version,
                    type=cast("ChangeType", change_type),
                    kind=known,
                    key=(namespace, name),
                    object=_decoded(body),
                    before=None if before is None else _decoded(before),
                )

    def write(self, changes: Sequence[Change], *, compacted: int) -> None:
        """Write changes in order, and delete those up to version `compacted`, in one transaction."""
        run = self._connection.execute
        run("BEGIN IMMEDIATE")
        try:
            for change in changes:
                self._write_one(change)
            run("UPDATE counters SET value = ? WHERE name = 'version'", (changes[-1].version,))
            if compacted:
                run("DELETE FROM changes WHERE version <= ?", (compacted,))
                run("UPDATE counters SET value = ? WHERE name = 'compacted'", (compacted,))
            run("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                run("ROLLBACK")
            raise

    def _write_one(self, change: Change) -> None:
        run = self._connection.execute
        identity = (_name_of(change.kind), *change.key)
        body = msgspec.json.encode(change.object)
        before = None if change.before is None else msgspec.json.encode(change.before)
        run("INSERT INTO changes VALUES (?, ?, ?, ?, ?, ?, ?)", (change.version, change.type, *identity, body, before))
        if change.type == "DELETED":
            run("DELETE FROM objects WHERE kind = ? AND namespace = ? AND name = ?", identity)
        else:
            run("INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?)", (*identity, body))

    def close(self) -> None:
        """Close the file; no acknowledged write depends on it."""
        self._connection.close()


def _decoded(body: bytes) -> Json:
    return msgspec.json.decode(body, type=dict)


def _name_of(kind: Kind) -> str:
    return f"{kind.plural}.{kind.group}"


_KINDS: Final = {_name_of(kind): kind for kind in KINDS}
