"""The file from which a run is resumed: a header with the run's configuration, then a line of JSON for each photo."""

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
    """Records that are on the disk as soon as they are added.

    A line is a photo with the records of all its objects, so that a photo is either done or not. An incomplete last
    line, left by a run that was killed while writing it, is removed, and its photo is run again.
    """

    def __init__(self, path: Path, configuration: Mapping[str, Any]) -> None:
        """Create a file, or continue an existing one.

        Args:
            path: of the file; its folder exists.
            configuration: all that the records depend on, as JSON values.

        Raises:
            OptionError: the file has another configuration or other content, or it can't be written.
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
                    self._read(line)
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
            version, theirs = stored["format"], dict(stored["configuration"])
        except (ValueError, KeyError, TypeError) as cause:
            raise OptionError(
                f"Expected results of a run in {self.path}, found no results. Try another folder for the report."
            ) from cause
        if version != FORMAT:
            raise OptionError(
                f"Expected results of format {FORMAT} in {self.path}, got format {version!r}. Try another folder."
            )
        ours = header["configuration"]
        differing = [
            f"{key}: {theirs.get(key)!r}, here {ours.get(key)!r}"
            for key in dict.fromkeys((*ours, *theirs))
            if theirs.get(key) != ours.get(key)
        ]
        if differing:
            raise OptionError(
                f"Expected results of this run in {self.path}, got another run's ({'; '.join(differing)}). Try another "
                "folder for the report, or delete that file."
            )

    def _read(self, line: bytes) -> None:
        try:
            entry = json.loads(line)
            self.done[str(entry["photo"])] = tuple(Record.from_json(record) for record in entry["records"])
        except (ValueError, KeyError, TypeError) as cause:
            raise OptionError(
                f"Expected a photo's records in {self.path}, line {len(self.done) + 2}; got others ({cause}). Try to "
                "delete that line: its photo is run again."
            ) from cause
