"""Each action on disk before its mask is on the screen: what a saved session lacks is done again from here.

A journal is lines of JSON: {"n": 12, "do": {…}} for an action, and {"n": 12, "saved": digest} for a session's file that
holds all up to it. Which of the lines are still to be done is told by the file that is there: one is replaced at any
moment, and whoever is killed between two of these steps finds either file with the line that speaks of it.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from interactify.whole_file import write_whole


class Journal:
    """The journal of one photo's session, kept beside the session's file."""

    def __init__(self, path: Path, session_file: Path) -> None:
        self.path, self.session_file = path, session_file
        self._lock = threading.Lock()
        self._file: IO[bytes] | None = None
        self._kept: list[tuple[int, bytes]] = []  # lines whose actions the session's file lacks
        self._last = 0  # the number of the last action

    def waiting(self) -> list[Mapping[str, Any]]:
        """The actions that the session's file lacks, in order; from now on the journal goes on behind them."""
        entries = _entries(self.path)
        digest = digest_of(self.session_file) if self.session_file.exists() else None
        held = [entry["n"] for entry in entries if digest is not None and entry.get("saved") == digest]
        if digest is not None and not held:  # the file is of another time: what is written here is not about it
            entries = []
        self._kept = [
            (entry["n"], _line(entry)) for entry in entries if "do" in entry and entry["n"] > max(held, default=0)
        ]
        self._last = max((entry["n"] for entry in entries), default=0)
        return [json.loads(line)["do"] for _, line in self._kept]

    @property
    def last(self) -> int:
        """The number of the last action."""
        return self._last

    def add(self, action: Mapping[str, Any]) -> int:
        """Write an action down; returns its number. The system has it, the disk after `settle`."""
        with self._lock:
            self._last += 1
            line = _line({"n": self._last, "do": action})
            self._kept.append((self._last, line))
            self._append(line)
            return self._last

    def settle(self) -> None:
        """Wait until the disk has what was written."""
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
            self._kept = [(n, line) for n, line in self._kept if n > number]
            self.close_file()
            write_whole(self.path, b"".join((_line({"n": number, "saved": digest}), *(line for _, line in self._kept))))

    def close_file(self) -> None:
        """Let go of the file; the next line opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _append(self, line: bytes) -> None:
        if self._file is None:
            self._file = open(self.path, "ab", buffering=0)  # noqa: SIM115 (it stays open)
            if self._file.tell() and not _ends_whole(self.path):  # a line that was cut short is not gone on with
                line = b"\n" + line
        self._file.write(line)


def digest_of(path: Path) -> str:
    """What tells a file's content from others'."""
    with open(path, "rb") as file:
        digest = hashlib.sha256()
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def _line(entry: Mapping[str, Any]) -> bytes:
    return json.dumps(entry, separators=(",", ":")).encode() + b"\n"


def _entries(path: Path) -> list[dict[str, Any]]:
    """The lines that are whole; the last may have been cut short."""
    entries = []
    for line in path.read_bytes().splitlines() if path.exists() else ():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and isinstance(entry.get("n"), int):
            entries.append(entry)
    return entries


def _ends_whole(path: Path) -> bool:
    with open(path, "rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
