"""The store that a text names: a path for SQLite, an address for Redis."""

from __future__ import annotations

import re
from pathlib import Path

from interactify.errors import OptionError
from interactify.serve.store.records import Store
from interactify.serve.store.redis import RedisStore
from interactify.serve.store.sqlite import SqliteStore


def open_store(named: str | Path) -> Store:
    """Open a store.

    Args:
        named: the path of a file, which is made where there is none; sqlite:///PATH; or redis://HOST:PORT/NUMBER
            (rediss:// with TLS, unix:// for a socket).

    Raises:
        OptionError: an address of another kind, or one that needs a package which is not installed.
        StoreError: it can't be opened.
    """
    text = str(named)
    scheme = re.match(r"([a-z][a-z0-9+.-]+)://", text)
    if scheme is None:
        return SqliteStore(Path(named))
    if scheme[1] in ("redis", "rediss", "unix"):
        return RedisStore(text)
    if scheme[1] == "sqlite" and text.startswith("sqlite:///"):
        return SqliteStore(Path(text.removeprefix("sqlite:///")))
    raise OptionError(f"Expected a store as a path, sqlite:///PATH or redis://HOST:PORT/NUMBER, got {scheme[1]}://….")
