"""Each action on disk before its mask is on the screen: what a saved session lacks is done again from here.

A journal is lines of JSON: {"of": digest} first, of photo and network, then {"n": 12, "do": {…}} for an action, and
{"n": 12, "saved": digest} for a session's file that holds all up to it. Which of the actions are still to be done is
told by the file that is there: one is replaced at any moment, and whoever is killed between two of these steps finds
either file with the line that speaks of it.
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

ASIDE: Final = "aside"


@dataclass(frozen=True)
class SessionFiles:
    """Where a photo's session is, and its journal."""

    session: Path
    journal: Path

    @classmethod
    def of(cls, key: str, out: Path) -> SessionFiles:
        """Those of the photo with this key."""
        return cls(out / "sessions" / f"{key}.npz", out / "sessions" / f"{key}.journal")

    @property
    def earlier(self) -> list[SessionFiles]:
        """Those that were put aside, the latest first."""
        return [self._aside(number) for number in self._numbers()]

    def move_to(self, other: SessionFiles) -> None:
        """Give both other names."""
        for path, place in ((self.session, other.session), (self.journal, other.journal)):
            if path.exists():
                place.parent.mkdir(exist_ok=True)
                path.rename(place)

    def put_aside(self) -> SessionFiles:
        """Give both names that nothing is written to; returns these."""
        aside = self._aside(max(self._numbers(), default=0) + 1)
        self.move_to(aside)
        return aside

    def _numbers(self) -> list[int]:
        named = re.compile(re.escape(self.session.stem) + r"\.([0-9]{1,6})\.(npz|journal)")
        folder = self.session.parent / ASIDE
        names = map(named.fullmatch, os.listdir(folder) if folder.is_dir() else ())
        return sorted({int(name[1]) for name in names if name}, reverse=True)

    def _aside(self, number: int) -> SessionFiles:
        folder, stem = self.session.parent / ASIDE, self.session.stem
        return SessionFiles(folder / f"{stem}.{number}.npz", folder / f"{stem}.{number}.journal")


class Journal:
    """The journal of one photo's session, kept beside the session's file.

    Attributes:
        of: a digest of what the session is of: the photo, the network, its options.
    """

    def __init__(self, files: SessionFiles, of: str) -> None:
        self.path, self.session_file, self.of = files.journal, files.session, of
        self._lock = threading.Lock()
        self._file: IO[bytes] | None = None
        self._kept: list[tuple[int, bytes]] = []  # lines whose actions the session's file lacks
        self._saved = b""  # the line of the session's file
        self._unwritten = b""  # what the disk did not take; it goes first the next time
        self._last = 0  # the number of the last action

    def waiting(self) -> list[Mapping[str, Any]]:
        """The lines of actions that the session's file lacks, in order; from now on the journal goes on behind them.

        A journal of something else, or of another session than the file that is there, is put aside.
        """
        entries = entries_of(self.path)
        digest = digest_of(self.session_file) if self.session_file.exists() else None
        held = [entry["n"] for entry in entries if digest is not None and entry.get("saved") == digest]
        if not all_of(entries, self.of) or (digest is not None and not held):
            if any("do" in entry for entry in entries):
                SessionFiles(self.path.with_suffix(".none"), self.path).put_aside()
            entries = [] if digest is None else [{"n": 0, "saved": digest}]
            held = [0]
            write_whole(self.path, b"".join((self._header, *map(_line, entries))))
        self._kept = [
            (entry["n"], _line(entry)) for entry in entries if "do" in entry and entry["n"] > max(held, default=0)
        ]
        self._saved = b"" if digest is None else _line({"n": max(held, default=0), "saved": digest})
        self._last = max((entry["n"] for entry in entries), default=0)
        return [json.loads(line) for _, line in self._kept]

    @property
    def last(self) -> int:
        """The number of the last action."""
        return self._last

    def add(self, action: Mapping[str, Any], *, superseded: bool = False) -> int:
        """Write an action down; returns its number. The system has it, the disk after `settle`.

        Args:
            action: what was done.
            superseded: whether it was ended by what came next, as it has to be where it is done again.

        Raises:
            OSError: the disk does not take it. It is kept, and written with the next line.
        """
        with self._lock:
            self._last += 1
            line = _line({"n": self._last, "do": action} | ({"superseded": True} if superseded else {}))
            self._kept.append((self._last, line))
            self._append(line)
            return self._last

    def settle(self) -> None:
        """Wait until the disk has what was written. Raises OSError where it fails."""
        with self._lock:
            if self._file is not None:
                os.fsync(self._file.fileno())

    def saving(self, number: int, digest: str) -> None:
        """Say that a session's file of this digest, which is about to be put in its place, holds all up to a number."""
        with self._lock:
            self._append(_line({"n": number, "saved": digest}))
            if self._file is not None:
                os.fsync(self._file.fileno())

    def saved(self, number: int, digest: str) -> None:
        """It is in its place: forget what it holds."""
        with self._lock:
            kept = [(n, line) for n, line in self._kept if n > number]
            line = _line({"n": number, "saved": digest})
            self.close_file()
            write_whole(self.path, b"".join((self._header, line, *(line for _, line in kept))))
            self._kept, self._saved, self._unwritten = kept, line, b""

    def close_file(self) -> None:
        """Let go of the file; the next line opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None

    @property
    def _header(self) -> bytes:
        return _line({"of": self.of})

    def _append(self, line: bytes) -> None:
        """Write a line, behind those that could not be written; all of them or nothing."""
        self._unwritten += line
        try:
            file = self._opened()
            end = file.seek(0, os.SEEK_END)
            if end:  # a line that was cut short is not gone on with
                content = self._unwritten if _ends_whole(self.path) else b"\n" + self._unwritten
            else:  # new, or whoever took the old one away: with all that is to be known
                kept = b"".join(each for _, each in self._kept)
                content = self._header + self._saved + kept + (b"" if kept.endswith(line) else line)
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
        """The file at the journal's path, which need not be the one that was opened there last."""
        if self._file is not None:
            try:
                there = os.path.samestat(os.fstat(self._file.fileno()), os.stat(self.path))
            except FileNotFoundError:
                there = False
            if not there:
                self.close_file()
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(self.path, "ab", buffering=0)  # noqa: SIM115 (it stays open)
        return self._file


def entries_of(path: Path) -> list[dict[str, Any]]:
    """The lines of a journal that are whole; the last may have been cut short."""
    entries = []
    for line in path.read_bytes().splitlines() if path.exists() else ():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and (isinstance(entry.get("n"), int) or "of" in entry):
            entries.append({"n": 0, **entry})
    return entries


def all_of(entries: Iterable[Mapping[str, Any]], of: str) -> bool:
    """Whether no line, as `entries_of` reads them, is of another photo or network than this digest is."""
    return all(entry.get("of", of) == of for entry in entries)


def digest_of(path: Path) -> str:
    """What tells a file's content from others'."""
    with open(path, "rb") as file:
        digest = hashlib.sha256()
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def _line(entry: Mapping[str, Any]) -> bytes:
    return json.dumps(entry, separators=(",", ":")).encode() + b"\n"


def _ends_whole(path: Path) -> bool:
    with open(path, "rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
