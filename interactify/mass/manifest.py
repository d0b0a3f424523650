"""What a run has done so far, from which it is resumed: a line of JSON for each object, and a table at the end.

A photo is done when all of its lines are there. Locally a line is on the disk as soon as its photo is done. Elsewhere
(s3://, …) files can't be appended to: there lines are collected, and written in parts every few seconds.
"""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from interactify.errors import OptionError
from interactify.mass.places import Place

FORMAT: Final = 1
MANIFEST: Final = "manifest.jsonl"
TABLE: Final = "manifest.parquet"
RUN: Final = "run.json"
PARTS: Final = "manifest-parts"
EVERY: Final = 5.0  # seconds between two parts
COLUMNS: Final = {
    "photo": "string", "object": "string", "label": "string", "of": "int64", "satisfied": "bool",
    "evaluations": "int64", "seconds": "float64", "photo_seconds": "float64", "area": "int64",
    "uncertainty": "float64", "status": "string", "error": "string", "prompts": "string",
}  # fmt: skip

Row = dict[str, Any]


class Manifest:
    """The rows of a run, those of each photo together."""

    def __init__(self, out: Place, digests: Mapping[str, str], again: bool = False) -> None:
        """Read what is there.

        Args:
            out: the run's folder, which exists.
            digests: of each photo of the run, what its masks depend on. Rows of photos with other prompts are dropped.
            again: drop the rows of photos with errors, so that they are run again.

        Raises:
            OptionError: the manifest has other content, or can't be written.
        """
        self._out, self._digests = out, digests
        self._file = out.at(MANIFEST)
        self._waiting: list[Row] = []
        self._part, self._last = 0, time.monotonic()
        self.rows: dict[str, list[Row]] = {}
        lines = self._lines()
        for row in lines:
            self.rows.setdefault(row["photo"], []).append(row)
        whole = {
            photo: rows
            for photo, rows in self.rows.items()
            if {row["prompts"] for row in rows} == {digests.get(photo)}
            and len(rows) == rows[0]["of"]
            and not (again and any(row["error"] for row in rows))
        }
        changed = len(whole) < len(self.rows) or self._torn or out.remote
        self.rows = whole
        if changed and (lines or self._torn):
            self._write_all()

    @property
    def done(self) -> set[str]:
        """The photos that are done."""
        return set(self.rows)

    def add(self, photo: str, rows: Sequence[Row]) -> None:
        """Add the rows of a photo; locally they are on the disk when this returns."""
        self.rows[photo] = list(rows)
        if self._out.remote:
            self._waiting += rows
            if time.monotonic() - self._last >= EVERY:
                self.flush()
            return
        try:
            with Path(self._file.path).open("ab") as file:
                file.write(_text(rows))
                file.flush()
                os.fsync(file.fileno())
        except OSError as cause:
            raise OptionError(f"Can't write to {self._file} ({cause.strerror or cause}). Try another --out.") from cause

    def flush(self) -> None:
        """Write the lines that were collected."""
        if self._waiting:
            self._part += 1
            self._out.at(f"{PARTS}/{self._part:06}.jsonl").write(_text(self._waiting))
        self._waiting, self._last = [], time.monotonic()

    def finish(self) -> list[str]:
        """Put the rows in the photos' order, and write the table where pyarrow is there; returns the files' names."""
        self._write_all()
        table = _parquet([row for rows in self._in_order() for row in rows])
        if table is None:
            return [MANIFEST]
        self._out.at(TABLE).write(table)
        return [MANIFEST, TABLE]

    def _in_order(self) -> Iterable[list[Row]]:
        return (self.rows[photo] for photo in self._digests if photo in self.rows)

    def _write_all(self) -> None:
        self._file.write(b"".join(_text(rows) for rows in self._in_order()))
        if self._out.remote:
            self._out.at(PARTS).remove()
        self._waiting = []

    def _lines(self) -> list[Row]:
        """The rows that are stored; an incomplete last line, as a kill leaves it, is no row."""
        files = [self._file] if self._file.exists() else []
        if self._out.remote and (parts := self._out.at(PARTS)).exists():
            files += [parts.at(name) for name in parts.names()]
        found: list[Row] = []
        self._torn = False
        for file in files:
            whole, _, torn = file.read().rpartition(b"\n")
            self._torn = self._torn or bool(torn)
            for number, line in enumerate(whole.split(b"\n") if whole else [], start=1):
                try:
                    row = json.loads(line)
                    _ = row["photo"], row["of"], row["prompts"], row["error"]
                except (ValueError, KeyError, TypeError) as cause:
                    raise OptionError(
                        f"Expected rows of a run in {file}, line {number} is none ({cause}). Try another folder, or "
                        "delete that line: its photo is run again."
                    ) from cause
                found.append(row)
        return found


def check_configuration(out: Place, configuration: Mapping[str, Any], growing: str) -> list[Any]:
    """Compare a run's configuration with the one that its folder has, and write it where there is none.

    Args:
        out: the run's folder.
        configuration: what the masks depend on, as JSON values.
        growing: the name of a list that may grow from run to run; what is new comes last.

    Returns:
        The growing list as it is now.

    Raises:
        OptionError: it has another one; or it has none, but files of another kind of that name.
    """
    file = out.at(RUN)
    ours = json.loads(json.dumps({"format": FORMAT, **configuration}))
    theirs: dict[str, Any] = {}
    if file.exists():
        try:
            theirs = dict(json.loads(file.read()))
        except (ValueError, TypeError) as cause:
            raise OptionError(f"Expected the settings of a run in {file}, got others. Try another --out.") from cause
        keys = dict.fromkeys((*ours, *theirs))
        differing = [
            f"{key}: {theirs.get(key)!r}, here {ours.get(key)!r}"
            for key in keys
            if key != growing and theirs.get(key) != ours.get(key)
        ]
        if differing:
            raise OptionError(
                f"Expected the run of {out} to go on with its settings, got others ({'; '.join(differing)}). Try "
                "another --out."
            )
    elif out.at(MANIFEST).exists():
        raise OptionError(f"Expected {RUN} beside {MANIFEST} in {out}, got none. Try another --out.")
    grown = list(dict.fromkeys((*theirs.get(growing, ()), *ours[growing])))
    if grown != theirs.get(growing):
        file.write((json.dumps({**ours, growing: grown}, indent=1) + "\n").encode())
    return grown


def _text(rows: Iterable[Row]) -> bytes:
    return "".join(f"{json.dumps(row)}\n" for row in rows).encode()


def _parquet(rows: Sequence[Row]) -> bytes | None:
    """The rows as a Parquet file; None without pyarrow."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        return None
    schema = pa.schema([(name, pa.type_for_alias(kind)) for name, kind in COLUMNS.items()])
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), buffer)
    return buffer.getvalue()
