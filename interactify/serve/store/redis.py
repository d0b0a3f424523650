"""A store in a Redis server, for replicas on several machines. What has to happen at once is a script that Redis runs.

Redis keeps what it holds over its own restart only where it was told to: `appendonly yes`, and `appendfsync always` for
what a power cut may not take. docs/serve.md says how.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.util import find_spec
from typing import Any, Final

from interactify.errors import OptionError, StoreError, extra, reason_of
from interactify.serve.store.records import Record

PREFIX: Final = "interactify:"
SECONDS: Final = 10.0  # that a command may take

APPEND: Final = """
if redis.call('EXISTS', KEYS[1]) == 0 or redis.call('LLEN', KEYS[2]) ~= tonumber(ARGV[1]) - 1 then return 0 end
redis.call('RPUSH', KEYS[2], ARGV[2])
redis.call('ZADD', KEYS[3], ARGV[3], ARGV[4])
return 1
"""
LEASE: Final = """
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[3])
local others = redis.call('ZCARD', KEYS[1])
if redis.call('ZSCORE', KEYS[1], ARGV[1]) then others = others - 1 end
if others >= tonumber(ARGV[4]) then return 0 end
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
return 1
"""
DELETE: Final = """
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('ZREM', KEYS[3], ARGV[1])
redis.call('ZREM', KEYS[4], ARGV[1])
redis.call('SREM', KEYS[5], ARGV[1])
redis.call('SREM', KEYS[6], ARGV[1])
if redis.call('SCARD', KEYS[6]) == 0 then redis.call('DEL', KEYS[7]) end
return 1
"""


class RedisStore:
    """Sessions in a Redis server. See `Store` for the methods."""

    def __init__(self, address: str) -> None:
        """With an address such as redis://host:6379/0, or rediss://… for TLS.

        Raises:
            OptionError: the package redis is missing, or the address is none.
            StoreError: there is no such server.
        """
        if find_spec("redis") is None:
            raise OptionError(f"Expected the package redis for a store at {address}, got none. Try {extra('serve')}.")
        import redis  # an optional package

        self.shown = address.split("@")[-1]  # without a password
        self._failures = redis.RedisError
        try:
            self._redis: Any = redis.Redis.from_url(
                address, socket_timeout=SECONDS, socket_connect_timeout=SECONDS, health_check_interval=30
            )
        except ValueError as cause:
            raise OptionError(f"Expected an address as redis://HOST:PORT/NUMBER, got {self.shown}.") from cause
        self._append, self._lease, self._delete = map(self._redis.register_script, (APPEND, LEASE, DELETE))
        self.check()

    def create(self, record: Record, photo: bytes) -> None:
        def add(pipe: Any) -> None:
            pipe.set(_photo(record.photo), photo)
            pipe.sadd(_on_photo(record.photo), record.id)
            pipe.set(_record(record.id), json.dumps(asdict(record)))
            pipe.sadd(_of_owner(record.owner), record.id)
            pipe.zadd(USED, {record.id: record.created})

        self._transaction(add)

    def record(self, id: str) -> Record | None:
        with self._as_store_errors():
            found = self._redis.get(_record(id))
        return None if found is None else Record(**json.loads(found))

    def records(self, owner: str) -> list[Record]:
        with self._as_store_errors():
            names = [_record(name.decode()) for name in self._redis.smembers(_of_owner(owner))]
            found = self._redis.mget(names) if names else []
        return sorted((Record(**json.loads(each)) for each in found if each), key=lambda each: each.created)

    def photo(self, digest: str) -> bytes:
        with self._as_store_errors():
            found: bytes | None = self._redis.get(_photo(digest))
        if found is None:
            raise StoreError(f"Expected the photo {digest} in the store, got none. Open the photo in a new session.")
        return found

    def append(self, id: str, number: int, entry: str, now: float) -> bool:
        with self._as_store_errors():
            return bool(self._append(keys=[_record(id), _log(id), USED], args=[number, entry, now, id]))

    def entries(self, id: str, after: int = 0) -> list[str]:
        with self._as_store_errors():
            return [each.decode() for each in self._redis.lrange(_log(id), after, -1)]

    def used(self, id: str) -> float:
        with self._as_store_errors():
            return float(self._redis.zscore(USED, id) or 0.0)

    def lease(self, id: str, until: float, now: float, most: int) -> bool:
        with self._as_store_errors():
            return bool(self._lease(keys=[LEASES], args=[id, until, now, most]))

    def release(self, id: str) -> None:
        with self._as_store_errors():
            self._redis.zrem(LEASES, id)

    def leases(self, now: float) -> int:
        with self._as_store_errors():
            return int(self._redis.zcount(LEASES, f"({now}", "+inf"))

    def delete(self, id: str) -> None:
        record = self.record(id)
        if record is None:
            return
        keys = [_record(id), _log(id), USED, LEASES, _of_owner(record.owner), _on_photo(record.photo)]
        with self._as_store_errors():
            self._delete(keys=[*keys, _photo(record.photo)], args=[id])

    def older_than(self, before: float) -> list[str]:
        with self._as_store_errors():
            unused = [each.decode() for each in self._redis.zrangebyscore(USED, "-inf", f"({before}")]
            held = {each.decode() for each in self._redis.zrangebyscore(LEASES, f"({before}", "+inf")}
        return [each for each in unused if each not in held]

    def check(self) -> None:
        with self._as_store_errors():
            self._redis.ping()

    def close(self) -> None:
        self._redis.close()

    def _transaction(self, add: Callable[[Any], None]) -> None:
        with self._as_store_errors(), self._redis.pipeline(transaction=True) as pipe:
            add(pipe)
            pipe.execute()

    @contextmanager
    def _as_store_errors(self) -> Iterator[None]:
        try:
            yield
        except (self._failures, OSError) as cause:
            raise StoreError(
                f"Expected a Redis server at {self.shown}, got an error ({reason_of(cause)}). Try again in a while."
            ) from cause


LEASES: Final = f"{PREFIX}leases"  # names by the time at which they end
USED: Final = f"{PREFIX}used"  # names by the time of the last action


def _record(id: str) -> str:
    return f"{PREFIX}session:{id}"


def _log(id: str) -> str:
    return f"{PREFIX}log:{id}"


def _photo(digest: str) -> str:
    return f"{PREFIX}photo:{digest}"


def _on_photo(digest: str) -> str:
    return f"{PREFIX}sessions-on:{digest}"


def _of_owner(owner: str) -> str:
    return f"{PREFIX}sessions-of:{owner}"
