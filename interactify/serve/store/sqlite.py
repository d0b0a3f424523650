"""A store in an SQLite file, on disk when `append` returns; replicas on one machine may share the file.

SQLite's write-ahead log lets replicas read while one of them writes. It needs a local file system: on network file
systems its locks don't hold, and Redis is the store to use there.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from interactify.errors import StoreError, reason_of
from interactify.serve.store.records import Record

PATIENCE: Final = 30.0  # seconds that a write of another replica may take

TABLES: Final = """
CREATE TABLE IF NOT EXISTS sessions (
    id TEXT PRIMARY KEY, owner TEXT NOT NULL, photo TEXT NOT NULL, record TEXT NOT NULL, last INTEGER NOT NULL,
    used REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS entries (
    id TEXT NOT NULL, number INTEGER NOT NULL, entry TEXT NOT NULL, PRIMARY KEY (id, number)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS photos (digest TEXT PRIMARY KEY, content BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS leases (id TEXT PRIMARY KEY, until REAL NOT NULL);
CREATE INDEX IF NOT EXISTS sessions_of_owner ON sessions (owner);
CREATE INDEX IF NOT EXISTS sessions_on_photo ON sessions (photo);
"""


class SqliteStore:
    """Sessions in one file. See `Store` for the methods.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = SqliteStore(Path(folder, "sessions.db"))
    ...     store.create(Record("a", "me", "", "digest", "cat.jpg", "zoo", None, "", 60, 80, 0.0), b"a file")
    ...     store.append("a", 1, "{}", 5.0), store.append("a", 1, "{}", 6.0), store.used("a"), store.photo("digest")
    ...     store.close()
    (True, False, 5.0, b'a file')
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        with _as_store_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(path, PATIENCE, isolation_level=None, check_same_thread=False)
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=FULL")
            self._database.executescript(TABLES)

    def create(self, record: Record, photo: bytes) -> None:
        row = (record.id, record.owner, record.photo, json.dumps(asdict(record)), record.created)
        with self._changing() as database:
            database.execute("INSERT OR IGNORE INTO photos VALUES (?, ?)", (record.photo, photo))
            database.execute("INSERT INTO sessions VALUES (?, ?, ?, ?, 0, ?)", row)

    def record(self, id: str) -> Record | None:
        found = self._read("SELECT record FROM sessions WHERE id = ?", id)
        return Record(**json.loads(found[0][0])) if found else None

    def records(self, owner: str) -> list[Record]:
        found = self._read("SELECT record FROM sessions WHERE owner = ?", owner)
        return sorted((Record(**json.loads(row[0])) for row in found), key=lambda each: each.created)

    def photo(self, digest: str) -> bytes:
        found = self._read("SELECT content FROM photos WHERE digest = ?", digest)
        if not found:
            raise StoreError(f"Expected the photo {digest} in {self.path}, got none. Open the photo in a new session.")
        content: bytes = found[0][0]
        return content

    def append(self, id: str, number: int, entry: str, now: float) -> bool:
        with self._changing() as database:
            follows = "UPDATE sessions SET last = ?, used = ? WHERE id = ? AND last = ?"
            if database.execute(follows, (number, now, id, number - 1)).rowcount != 1:
                return False
            database.execute("INSERT INTO entries VALUES (?, ?, ?)", (id, number, entry))
            return True

    def entries(self, id: str, after: int = 0) -> list[str]:
        return [
            row[0]
            for row in self._read("SELECT entry FROM entries WHERE id = ? AND number > ? ORDER BY number", id, after)
        ]

    def used(self, id: str) -> float:
        found = self._read("SELECT used FROM sessions WHERE id = ?", id)
        return float(found[0][0]) if found else 0.0

    def lease(self, id: str, until: float, now: float, most: int) -> bool:
        with self._changing() as database:
            database.execute("DELETE FROM leases WHERE until <= ?", (now,))
            others = database.execute("SELECT COUNT(*) FROM leases WHERE id != ?", (id,)).fetchone()[0]
            if others >= most:
                return False
            database.execute("INSERT OR REPLACE INTO leases VALUES (?, ?)", (id, until))
            return True

    def release(self, id: str) -> None:
        with self._changing() as database:
            database.execute("DELETE FROM leases WHERE id = ?", (id,))

    def leases(self, now: float) -> int:
        return int(self._read("SELECT COUNT(*) FROM leases WHERE until > ?", now)[0][0])

    def delete(self, id: str) -> None:
        with self._changing() as database:
            for table in ("sessions", "entries", "leases"):
                database.execute(f"DELETE FROM {table} WHERE id = ?", (id,))
            database.execute("DELETE FROM photos WHERE digest NOT IN (SELECT photo FROM sessions)")

    def older_than(self, before: float) -> list[str]:
        unused = "SELECT id FROM sessions WHERE used < ? AND id NOT IN (SELECT id FROM leases WHERE until > ?)"
        return [row[0] for row in self._read(unused, before, before)]

    def check(self) -> None:
        self._read("SELECT COUNT(*) FROM leases")

    def close(self) -> None:
        with self._lock:
            self._database.close()

    def _read(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._lock, _as_store_errors(self.path):
            return self._database.execute(query, values).fetchall()

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all of the block's changes are made, or none."""
        with self._lock, _as_store_errors(self.path):
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")


@contextmanager
def _as_store_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as cause:
        raise StoreError(
            f"Expected a store of sessions that can be read and written, got {path} ({reason_of(cause)}). Try another "
            "path, or make room on the disk."
        ) from cause
