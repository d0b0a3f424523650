"""The file a run can be taken up from: a line of JSON for each object, under a header that says which run it is."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from interactify.errors import OptionError
from interactify.evaluation.records import Record

FORMAT = 1


class ResultsFile:
    """Records on the disk as soon as they are there.

    A line is a photo with the records of all its objects, so that a photo is either done or not. A last line that
    breaks off, since the run was killed while writing it, is taken off, and its photo run again.
    """

    def __init__(self, path: Path, configuration: Mapping[str, Any]) -> None:
        """Begin a file, or take one up.

        Args:
            path: of the file; its folder exists.
            configuration: all that the records follow from, as JSON knows it.

        Raises:
            OptionError: the file is of another configuration, or no such file; or it can't be written.
        """
        self.path = path
        self.done: dict[str, tuple[Record, ...]] = {}
        header = {"format": FORMAT, "configuration": json.loads(json.dumps(configuration))}
        try:
            stored = path.read_bytes() if path.exists() else b""
            whole, _, torn = stored.rpartition(b"\n")
            lines = whole.split(b"\n") if whole else []
            if lines:
                self._check(lines[0], header)
                for line in lines[1:]:
                    self._take(line)
            if torn or not lines:
                with path.open("r+b" if lines else "wb") as file:
                    file.truncate(len(stored) - len(torn) if lines else 0)
            if not lines:
                self._write(header)
        except OSError as cause:
            reason = cause.strerror or type(cause).__name__
            raise OptionError(f"Can't write to {path} ({reason}). Name a folder that you may write to.") from cause

    def add(self, photo: str, records: Iterable[Record]) -> None:
        """Write the records of a photo's objects; they are on the disk when this returns."""
        self.done[photo] = tuple(records)
        self._write({"photo": photo, "records": [record.to_json() for record in self.done[photo]]})

    def _write(self, entry: Mapping[str, Any]) -> None:
        with self.path.open("ab") as file:
            file.write(json.dumps(entry).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def _check(self, line: bytes, header: Mapping[str, Any]) -> None:
        try:
            stored = json.loads(line)
            version, was = stored["format"], dict(stored["configuration"])
        except (ValueError, KeyError, TypeError) as cause:
            raise OptionError(f"{self.path} holds no results of a run. Name another folder for the report.") from cause
        if version != FORMAT:
            raise OptionError(f"{self.path} has format {version!r}; this version writes {FORMAT}. Name another folder.")
        here = header["configuration"]
        differing = [
            f"{key}: {was.get(key)!r}, here {here.get(key)!r}"
            for key in dict.fromkeys((*here, *was))
            if was.get(key) != here.get(key)
        ]
        if differing:
            raise OptionError(
                f"{self.path} holds another run ({'; '.join(differing)}). Name another folder for the report, or "
                "delete that file."
            )

    def _take(self, line: bytes) -> None:
        try:
            entry = json.loads(line)
            self.done[str(entry["photo"])] = tuple(Record.from_json(record) for record in entry["records"])
        except (ValueError, KeyError, TypeError) as cause:
            raise OptionError(
                f"{self.path} is damaged in line {len(self.done) + 2} ({cause}). Delete that line: its photo is run "
                "again."
            ) from cause
