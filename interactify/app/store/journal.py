"""A journal: each action is on disk before its mask is on the screen, and is run again if the saved session lacks it.

A journal is lines of JSON: first {"of": digest, "network": digest}, of all that the session depends on, and of the
network alone; then {"n": 12, "do": {…}} for an action, as in any log (`web/log.py`), and {"n": 12, "saved": digest} for
a session's file that holds all actions up to this number. The digest of the file that is there tells which actions it
lacks. The line is written before the file is replaced, so that a process killed at any moment leaves a file with a line
of its digest. Where the session is at a service there is no such file, and the journal keeps all actions; the line
{"n": 12, "masks": true} says that the masks on disk are those after this number.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from interactify.export.files import write_whole
from interactify.web.log import Entry, entry_in, line_of

ASIDE: Final = "aside"


@dataclass(frozen=True)
class SessionFiles:
    """The paths of a photo's session and its journal, and what there is of it at a service."""

    session: Path
    journal: Path

    @classmethod
    def of(cls, key: str, out: Path) -> SessionFiles:
        """The files of the photo with this key."""
        return cls(out / "sessions" / f"{key}.npz", out / "sessions" / f"{key}.journal")

    @property
    def service(self) -> Path:
        """The file with the session's name and token at a service."""
        return self.journal.with_suffix(".service")

    @property
    def waiting(self) -> Path:
        """The file with the actions that wait for a service."""
        return self.journal.with_suffix(".waiting")

    @property
    def earlier(self) -> list[SessionFiles]:
        """The files that were put aside, the latest first."""
        return [self._aside(number) for number in self._numbers()]

    def move_to(self, other: SessionFiles) -> None:
        """Rename all files."""
        for path, new_path in zip(self._all, other._all, strict=True):
            if path.exists():
                new_path.parent.mkdir(exist_ok=True)
                path.rename(new_path)

    def put_aside(self) -> SessionFiles:
        """Rename all files so that they are kept and no longer written to; returns their new names."""
        aside = self._aside(max(self._numbers(), default=0) + 1)
        self.move_to(aside)
        return aside

    @property
    def _all(self) -> tuple[Path, ...]:
        return self.session, self.journal, self.service, self.waiting

    def _numbers(self) -> list[int]:
        named = re.compile(re.escape(self.session.stem) + r"\.([0-9]{1,6})\.(npz|journal|service|waiting)")
        folder = self.session.parent / ASIDE
        names = map(named.fullmatch, os.listdir(folder) if folder.is_dir() else ())
        return sorted({int(name[1]) for name in names if name}, reverse=True)

    def _aside(self, number: int) -> SessionFiles:
        folder, stem = self.session.parent / ASIDE, self.session.stem
        return SessionFiles(folder / f"{stem}.{number}.npz", folder / f"{stem}.{number}.journal")


class Journal:
    """The journal of one photo's session, kept beside the session's file.

    Attributes:
        identity: a digest of what the session depends on: the photo, the network, its options.
        network: the fingerprint of the network alone, by which it is found again among several.
    """

    def __init__(self, files: SessionFiles, identity: str, network: str = "") -> None:
        self.path, self.session_file, self.identity = files.journal, files.session, identity
        self.network = network
        self._lock = threading.Lock()
        self._file: IO[bytes] | None = None
        self._lines: list[tuple[int, bytes]] = []  # number and line of actions that the session's file lacks
        self._saved_line = b""  # the line of the session's file
        self._unwritten = b""  # what could not be written; it goes first the next time
        self._last = 0  # the number of the last action
        self._masks_hold = 0

    def open(self) -> None:
        """Read the entries of actions that the session's file lacks; new actions are added after them.

        A journal of another photo or network, or of another session file than the one there, is put aside.
        """
        entries = entries_of(self.path)
        digest = digest_of(self.session_file) if self.session_file.exists() else None
        saved = [entry["n"] for entry in entries if digest is not None and entry.get("saved") == digest]
        if not same_identity(entries, self.identity) or (digest is not None and not saved):
            if any("do" in entry for entry in entries):
                SessionFiles(self.path.with_suffix(".none"), self.path).put_aside()
            entries = [] if digest is None else [{"n": 0, "saved": digest}]
            saved = [0]
            write_whole(self.path, b"".join((self._header, *map(_line, entries))))
        last_saved = max(saved, default=0)
        self._lines = [(entry["n"], _line(entry)) for entry in entries if "do" in entry and entry["n"] > last_saved]
        self._saved_line = b"" if digest is None else _line({"n": last_saved, "saved": digest})
        self._last = max((entry["n"] for entry in entries), default=0)
        self._masks_hold = masks_hold(entries)

    def entries_after(self, number: int) -> list[Entry]:
        """The entries of actions that the session's file lacks, after a number; as `Log.entries_after`."""
        with self._lock:
            return [json.loads(line) for n, line in self._lines if n > number]

    @property
    def last(self) -> int:
        """The number of the last action."""
        return self._last

    @property
    def masks_hold(self) -> int:
        """The number of the last action that the masks on disk hold, where the session is at a service."""
        return self._masks_hold

    def append(self, entry: Entry) -> bool:
        """Add an entry, as `Log.append`. The file is surely on disk after `sync`.

        Raises:
            OSError: it could not be written. The action counts all the same: a full disk refuses no click. Its entry is
                kept in memory, and written with the next line.
        """
        with self._lock:
            if entry["n"] != self._last + 1:
                return False
            self._last, line = entry["n"], _line(entry)
            self._lines.append((self._last, line))
            self._append(line)
            return True

    def after_masks(self, number: int) -> None:
        """Note that the masks on disk are those after an action, where the session is at a service."""
        with self._lock:
            if number > self._masks_hold:
                self._append(_line({"n": number, "masks": True}))
                self._masks_hold = number

    def sync(self) -> None:
        """Wait until everything written is on disk. Raises OSError where that fails."""
        with self._lock:
            if self._file is not None:
                os.fsync(self._file.fileno())

    def before_replacing(self, number: int, digest: str) -> None:
        """Note, before it is put in place, that a session's file of this digest holds all actions up to a number."""
        with self._lock:
            self._append(_line({"n": number, "saved": digest}))
            if self._file is not None:
                os.fsync(self._file.fileno())

    def after_replacing(self, number: int, digest: str) -> None:
        """Drop the actions that the session's new file holds."""
        with self._lock:
            lines = [(n, line) for n, line in self._lines if n > number]
            line = _line({"n": number, "saved": digest})
            self.close_file()
            write_whole(self.path, b"".join((self._header, line, *(line for _, line in lines))))
            self._lines, self._saved_line, self._unwritten = lines, line, b""

    def close_file(self) -> None:
        """Close the file; the next line opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None

    @property
    def _header(self) -> bytes:
        return _line({"of": self.identity} | ({"network": self.network} if self.network else {}))

    def _append(self, line: bytes) -> None:
        """Write a line, after those that could not be written before; all of them or nothing."""
        self._unwritten += line
        try:
            file = self._opened()
            end = file.seek(0, os.SEEK_END)
            if end:  # a line that was cut short is ended first
                content = self._unwritten if _ends_with_newline(self.path) else b"\n" + self._unwritten
            else:  # a new file, or the old one was deleted: write everything that the session's file lacks
                lines = b"".join(each for _, each in self._lines)
                content = self._header + self._saved_line + lines + (b"" if lines.endswith(line) else line)
            try:
                if file.write(content) != len(content):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError:
                with suppress(OSError):
                    file.truncate(end)
                raise
        except OSError:
            self.close_file()
            raise
        self._unwritten = b""

    def _opened(self) -> IO[bytes]:
        """The file at the journal's path, opened again if it was replaced or deleted."""
        if self._file is not None:
            try:
                same = os.path.samestat(os.fstat(self._file.fileno()), os.stat(self.path))
            except FileNotFoundError:
                same = False
            if not same:
                self.close_file()
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(self.path, "ab", buffering=0)  # noqa: SIM115 (it stays open)
        return self._file


def entries_of(path: Path) -> list[dict[str, Any]]:
    """The complete lines of a journal; the last one may have been cut short."""
    entries = []
    for line in path.read_bytes().splitlines() if path.exists() else ():
        entry = entry_in(line)
        if entry is not None and (isinstance(entry.get("n"), int) or "of" in entry):
            entries.append({"n": 0, **entry})
    return entries


def masks_hold(entries: Iterable[Mapping[str, Any]]) -> int:
    """The number of the last action that the masks on disk hold, where the session is at a service; else 0."""
    return max((entry["n"] for entry in entries if "masks" in entry), default=0)


def same_identity(entries: Iterable[Mapping[str, Any]], identity: str) -> bool:
    """Whether entries, as `entries_of` reads them, are of the photo and network with this digest."""
    return all(entry.get("of", identity) == identity for entry in entries)


def digest_of(path: Path) -> str:
    """The SHA-256 of a file."""
    with open(path, "rb") as file:
        digest = hashlib.sha256()
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def _line(entry: Mapping[str, Any]) -> bytes:
    return line_of(entry).encode() + b"\n"


def _ends_with_newline(path: Path) -> bool:
    with open(path, "rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
