"""Parts of a measurement, one after the other, until the time is over: each is written to a JSON file at once.

Parts run in a process of their own, the worker, which is replaced after a part that fails: a GPU that reported an error
gives nothing but errors to the process that met it. A part that hangs is ended with its worker. So a run that is killed
loses the part it was in, and a part that fails loses itself.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

DONE, FAILED, OUT_OF_TIME = "done", "failed", "out of time"
Found = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """A part of a measurement.

    Attributes:
        name: its key in the file.
        seconds: how long it takes, roughly. It is not started when less time is left.
        measure: gives what it finds, as JSON can hold it; a function of a module, so that the worker gets it by name.
            "in_short" is what is printed of it; "holds", where it has one, whether all is as it has to be.
    """

    name: str
    seconds: float
    measure: Callable[[], Found]

    @property
    def limit(self) -> float:
        """Seconds after which it is ended."""
        return 3 * self.seconds + 30


class Clock:
    """The time until a measurement has to be over."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds."""
        return self._end - time.monotonic()


class Runs(Protocol):
    """What runs parts: a worker, or in tests the process itself."""

    def __call__(self, part: Part, limit: float) -> tuple[str, Any]:
        """(DONE, what it found), (FAILED, why), or (OUT_OF_TIME, None) after `limit` seconds."""

    def stop(self) -> None:
        """End it."""


class Worker:
    """A process that runs parts, started when one is there to run."""

    def __init__(self) -> None:
        self._process: Any = None
        self._connection: Connection | None = None

    def __call__(self, part: Part, limit: float) -> tuple[str, Any]:
        if self._connection is None:
            self._start()
        assert self._connection is not None
        outcome: tuple[str, Any] = (OUT_OF_TIME, None)
        try:
            self._connection.send(part.measure)
            if self._connection.poll(limit):
                status, text = self._connection.recv()
                outcome = (status, json.loads(text) if status == DONE else text)
        except (EOFError, OSError):
            self._process.join(5)
            outcome = (FAILED, f"its process died with the exit code {self._process.exitcode}")
        if outcome[0] != DONE:
            self.stop()
        return outcome

    def stop(self) -> None:
        if self._process is None:
            return
        with suppress(ProcessLookupError, PermissionError):  # what it has started too: a part may run the tests
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()  # where it had no time yet to lead a group
        self._process.join()
        if self._connection is not None:
            self._connection.close()
        self._process = self._connection = None

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()


def _serve(connection: Connection) -> None:
    # A group of its own, to be ended as a whole. Not a session: those who clean up behind a run find it by that.
    os.setpgid(0, 0)
    warnings.filterwarnings("ignore")  # what networks with random weights state is nobody's concern
    with suppress(EOFError):  # whoever started it has gone
        while True:
            measure = connection.recv()
            try:
                answer = (DONE, json.dumps(measure()))
            except Exception as cause:
                place = traceback.extract_tb(cause.__traceback__)[-1]
                text = " ".join(str(cause).split())[:400]
                answer = (FAILED, f"{type(cause).__name__}: {text} ({Path(place.filename).name}, line {place.lineno})")
            connection.send(answer)


def run_parts(
    parts: Sequence[Part], results: dict[str, Any], path: Path, clock: Clock, run: Runs, report: Callable[[str], None]
) -> dict[str, Any]:
    """Run the parts that `results` does not hold as done, in their order, and write the file after each.

    Args:
        parts: the most important first. One for which the time is too short is left out; a shorter one may still fit.
        results: what an earlier run left, and what else the file holds. Under "parts" each part's outcome and seconds
            are added, and what it found, or the reason; under "left_out" stands why the others are missing.
        path: of the JSON, replaced whole each time.
        clock: when all has to be over.
        run: runs a part.
        report: takes a line for each part.
    """
    known: dict[str, Any] = results.setdefault("parts", {})
    waiting = [part for part in parts if known.get(part.name, {}).get("outcome") != DONE]
    left_out = results["left_out"] = {part.name: "not reached" for part in waiting}
    try:
        for part in waiting:
            left = clock.left()
            if left < part.seconds:
                left_out[part.name] = f"takes about {part.seconds:.0f} s, and {max(0.0, left):.0f} s were left"
                report(f"{part.name}: left out, {left_out[part.name]}")
            else:
                _run_one(part, known, left_out, min(part.limit, left), left, run, report)
            _write(path, results)
    finally:
        run.stop()
    return results


def _write(path: Path, results: dict[str, Any]) -> None:
    """Replace the file whole: a run that is killed while it writes leaves the file as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.unfinished")
    unfinished.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    unfinished.replace(path)


def _run_one(
    part: Part,
    known: dict[str, Any],
    left_out: dict[str, str],
    limit: float,
    left: float,
    run: Runs,
    report: Callable[[str], None],
) -> None:
    start = time.monotonic()
    outcome, answer = run(part, limit)
    seconds = round(time.monotonic() - start, 1)
    if outcome == OUT_OF_TIME and limit == left:
        left_out[part.name] = f"time was over after its first {seconds:.0f} s"
        report(f"{part.name}: left out, {left_out[part.name]}")
        return
    del left_out[part.name]
    if outcome == DONE:
        known[part.name] = {"outcome": DONE, "seconds": seconds, "found": answer}
        holds = "" if answer.get("holds", True) else "DOES NOT HOLD, "
        report(f"{part.name}: {holds}{answer['in_short']} ({seconds} s)")
        return
    reason = f"took longer than {limit:.0f} s" if outcome == OUT_OF_TIME else answer
    known[part.name] = {"outcome": FAILED, "seconds": seconds, "reason": reason}
    report(f"{part.name}: FAILED, {reason}")
