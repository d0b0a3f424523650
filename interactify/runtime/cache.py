"""What sessions keep only to be faster, within one limit in bytes for each device, over all sessions of all networks.

A `Kept` holds one thing that can be computed again: a pass, a prefix, a filter. Beyond the limit, what was used longest
ago is dropped first. Nothing is dropped while it is in use (`in_use`). No lock is held while anything is computed.
"""

from __future__ import annotations

import itertools
import os
import threading
import weakref
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import torch

from interactify.errors import OptionError, with_type

T = TypeVar("T")
DEFAULT_LIMIT: Final = 2**30  # bytes on each device
_keys = itertools.count()
_of_thread = threading.local()


class Kept(Generic[T]):
    """One value that is computed again where it was dropped. May be used from several threads.

    >>> kept = Kept()
    >>> kept.get() is None, kept.get_or(lambda: [1, 2], lambda made: (16, torch.device("cpu"))), kept.get()
    (True, [1, 2], [1, 2])
    """

    def __init__(self) -> None:
        self._value: T | None = None
        self._key = next(_keys)
        self._users = 0  # threads that use it now

    def __bool__(self) -> bool:
        return self._value is not None

    def get(self) -> T | None:
        """The value, which counts as used now; None where it was dropped, or never put."""
        value = self._value
        if value is not None:
            _shelf.touch(self)
        return value

    def put(self, value: T, size: int, device: torch.device) -> None:
        """Keep a value of `size` bytes on a device; one of 0 bytes is never dropped, which would free nothing."""
        _shelf.put(self, value, size, device)

    def get_or(self, make: Callable[[], T], measure: Callable[[T], tuple[int, torch.device]]) -> T:
        """The value, made and kept where there is none; `measure` gives its bytes and its device."""
        value = self.get()
        if value is None:
            value = make()
            self.put(value, *measure(value))
        return value

    def take(self) -> T | None:
        """The value, which is kept no longer."""
        return _shelf.take(self)

    def drop(self, value: T) -> None:
        """Keep this value no longer; another one stays."""
        if self._value is value:
            self.take()


@contextmanager
def in_use() -> Iterator[None]:
    """Whatever this thread gets or puts inside the block is not dropped before its end."""
    if getattr(_of_thread, "used", None) is not None:  # inside another block
        yield
        return
    _of_thread.used = {}
    try:
        yield
    finally:
        used, _of_thread.used = _of_thread.used, None
        _shelf.release(used.values())


def set_cache_limit(limit: int, device: str | torch.device | None = None) -> None:
    """How many bytes sessions may keep between two clicks only to be faster; all sessions of all networks together.

    These are the last pass of a click, the part of a network that does not depend on the variables, filters, and tiles.
    Beyond the limit, what was used longest ago is dropped. It is computed again when its session is clicked: the result
    is the same, and the click takes longer. Photos, results and histories are no part of it: see `Session.close`.

    Args:
        limit: in bytes, at least 0; 2**30 (1 GiB) for each device until this is called. A running click may need more.
        device: the device whose memory it is about, such as "cuda:1"; "cuda" for all of them. None for every device.

    Raises:
        OptionError: a limit that is not a whole number of 0 or more, or an unknown device.

    >>> before = interactify.cache_limit()
    >>> interactify.set_cache_limit(200 * 2**20)
    >>> interactify.cache_limit(), interactify.cached_bytes() <= 200 * 2**20
    (209715200, True)
    >>> interactify.set_cache_limit(before)
    """
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 0:
        raise OptionError(f"Expected a limit in bytes, 0 or more, got {with_type(limit)}. Try {DEFAULT_LIMIT}, 1 GiB.")
    _shelf.set_limit(limit, None if device is None else _device(device))


def cache_limit(device: str | torch.device = "cpu") -> int:
    """The limit of a device, in bytes; see `set_cache_limit`. Raises OptionError for an unknown device."""
    return _shelf.limit(_device(device))


def cached_bytes(device: str | torch.device = "cpu") -> int:
    """How many bytes sessions keep on a device now; see `set_cache_limit`. Raises OptionError for an unknown device.

    A pass is counted with all tensors that it made, some of which torch frees at once: so the true number is lower.
    """
    return _shelf.used(_device(device))


def _device(device: str | torch.device) -> torch.device:
    try:
        return torch.device(device)
    except (RuntimeError, TypeError) as cause:
        raise OptionError(f"Expected a device such as 'cpu' or 'cuda:0', got {with_type(device)} ({cause}).") from cause


@dataclass(frozen=True)
class _Entry:
    kept: weakref.ref[Kept[Any]]
    size: int
    device: torch.device


class _Shelf:
    """All that is kept in this process, the least recently used first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # held for bookkeeping alone
        self._entries: OrderedDict[int, _Entry] = OrderedDict()  # by key
        self._sizes: Counter[torch.device] = Counter()
        self._limits: dict[torch.device | None, int] = {None: DEFAULT_LIMIT}
        self._dead: deque[int] = deque()  # keys whose owner is gone: noted at any moment, also while the lock is held

    def touch(self, kept: Kept[Any]) -> None:
        """It is used now."""
        with self._lock:
            self._use(kept)

    def put(self, kept: Kept[Any], value: Any, size: int, device: torch.device) -> None:
        """It holds a value now; others may be dropped for it."""
        with self._lock:
            before = self._remove(kept)
            kept._value = value
            if size:
                key, dead = kept._key, self._dead
                self._entries[key] = _Entry(weakref.ref(kept, lambda _: dead.append(key)), size, device)
                self._sizes[device] += size
            self._use(kept)
            dropped = self._over_limit()
        del before, dropped  # freed without the lock, since freeing may call back

    def take(self, kept: Kept[Any]) -> Any:
        """Its value; it holds none now."""
        with self._lock:
            return self._remove(kept)

    def release(self, used: Any) -> None:
        """A thread uses these no longer."""
        with self._lock:
            for kept in used:
                kept._users -= 1
            dropped = self._over_limit()
        del dropped

    def set_limit(self, limit: int, device: torch.device | None) -> None:
        with self._lock:
            if device is None:
                self._limits.clear()
            self._limits[device] = limit
            dropped = self._over_limit()
        del dropped

    def limit(self, device: torch.device) -> int:
        with self._lock:
            return self._limit(device)

    def used(self, device: torch.device) -> int:
        with self._lock:
            self._forget_dead()
            return sum(size for each, size in self._sizes.items() if device in (each, torch.device(each.type)))

    def renew_lock(self) -> None:
        """In a forked process: another thread may have held the lock, and does not exist here."""
        self._lock = threading.Lock()

    def _use(self, kept: Kept[Any]) -> None:
        if kept._key in self._entries:
            self._entries.move_to_end(kept._key)
        used: dict[int, Kept[Any]] | None = getattr(_of_thread, "used", None)
        if used is not None and kept._key not in used:
            used[kept._key] = kept
            kept._users += 1

    def _remove(self, kept: Kept[Any]) -> Any:
        self._forget(kept._key)
        value, kept._value = kept._value, None
        return value

    def _forget(self, key: int) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._sizes[entry.device] -= entry.size

    def _forget_dead(self) -> None:
        while self._dead:
            self._forget(self._dead.popleft())

    def _limit(self, device: torch.device) -> int:
        known = (each for each in (device, torch.device(device.type), None) if each in self._limits)
        return self._limits[next(known)]

    def _over_limit(self) -> list[Any]:
        """The values that have to go, no longer kept."""
        self._forget_dead()
        over = {device: size - self._limit(device) for device, size in self._sizes.items()}
        if all(size <= 0 for size in over.values()):
            return []
        dropped = []
        for entry in list(self._entries.values()):
            kept = entry.kept()
            if over[entry.device] > 0 and kept is not None and not kept._users:
                over[entry.device] -= entry.size
                dropped.append(self._remove(kept))
        return dropped


_shelf: Final = _Shelf()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_shelf.renew_lock)
