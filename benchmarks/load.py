"""Many annotators at one service: how long a click takes, whether one is lost, and what memory it needs.

`python -m benchmarks.load [--annotators N] [--seconds S] [--sessions N] [--minutes M] [--out FILE]` starts
`interactify serve` as a process, and asks it with the library's own client over the loopback address:

1. Annotators, each with a session of its own, click every three seconds, in the middle of what is most wrong in the
   mask that they have, and open another photo where nothing is. A click's time is from the call to its mask. Each
   session's log is read at the end: an answered click that is not in it, or one that is in it twice, is lost.
2. Sessions are opened one after the other, with a click in each, and stay in the store. The memory of the server
   alone is read after every hundred. It ends after `--minutes` at the latest; the file says how many there were.

It ends with 1 where a click was lost or failed. Annotators and server share the machine, whose cores and threads are
in the file.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Final

import httpx
import numpy as np
from numpy.typing import NDArray

from benchmarks.speed_measure import machine
from interactify import client
from interactify.errors import InteractifyError
from interactify.interactions.next_click import next_click

OUT: Final = Path(__file__).parent / "results" / "load.json"
EVERY: Final = 3.0  # seconds between two clicks of an annotator
SIDE: Final = 256  # pixels of a photo
MODEL: Final = ("--model", "zoo", "--resolution", "96")  # the embedded network, small
STEP: Final = 100  # sessions between two readings of the memory


@dataclass
class Load:
    """What the annotators saw.

    Attributes:
        seconds: of each click that was answered.
        errors: the texts of those that were not.
        lost: answered clicks that are not in the log exactly once.
        status: how many refinements ended in which way.
    """

    seconds: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    lost: int = 0
    status: dict[str, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def summary(self) -> dict[str, Any]:
        """Counts, and percentiles in milliseconds."""
        p50, p95, p99 = (round(1000 * float(np.percentile(self.seconds, q)), 1) for q in (50, 95, 99))
        counts = {"answered": len(self.seconds), "failed": len(self.errors), "lost": self.lost}
        return {"clicks": counts, "ms": {"p50": p50, "p95": p95, "p99": p99}, "status": self.status}


def photo_of(seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int8]]:
    """A bright ellipse on noise, (SIDE, SIDE, 3), and where it is, int8."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:SIDE, :SIDE] / SIDE
    y, x, height, width = rng.uniform(0.3, 0.7, 2).tolist() + rng.uniform(0.1, 0.3, 2).tolist()
    inside = ((rows - y) / height) ** 2 + ((columns - x) / width) ** 2 < 1
    photo = np.where(inside[..., None], rng.integers(120, 256, 3), rng.integers(0, 120, 3))
    return np.clip(photo + rng.integers(-20, 21, (SIDE, SIDE, 3)), 0, 255).astype(np.uint8), inside.astype(np.int8)


@contextlib.contextmanager
def server(*words: str) -> Iterator[tuple[str, int]]:
    """A service as a process: its address and the process's number."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "interactify.cli", "serve", "--port", "0", "--device", "cpu"]
        command += ["--store", str(Path(folder) / "sessions.db"), *MODEL, *words]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert process.stdout is not None
        try:
            address = process.stdout.readline().split()[-1]
            _wait_until_ready(address)
            yield address, process.pid
        finally:
            process.terminate()
            process.wait(60)
            process.stdout.close()


def _wait_until_ready(address: str, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{address}/readyz", trust_env=False).status_code == 200:
                return
        time.sleep(0.1)
    raise TimeoutError(f"{address} is not ready")


def annotate(address: str, annotators: int, seconds: float, every: float = EVERY) -> Load:
    """Let annotators click for so many seconds, each on a photo of its own."""
    load, begin = Load(), threading.Barrier(annotators)
    threads = [
        threading.Thread(target=_annotator, args=(address, seed, seconds, every, begin, load))
        for seed in range(annotators)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    return load


def _annotator(address: str, seed: int, seconds: float, every: float, begin: threading.Barrier, load: Load) -> None:
    """One annotator: clicks at a steady pace from a time of its own on, and reads each log at its end.

    Another photo is opened where nothing is left to correct; it comes where a click was due, and counts as none.
    """
    service, number, due = client.connect(address), 0, 0.0
    for photo_seed in count(seed, begin.parties):
        photo, truth = photo_of(photo_seed)
        with service.session(photo) as session:
            if not due:
                begin.wait()
                due = time.monotonic() + random.Random(seed).uniform(0, every)
            clicked, answered = np.zeros(truth.shape, bool), 0
            while number < max(1, int(seconds / every)):
                time.sleep(max(0.0, due + number * every - time.monotonic()))
                number += 1
                click = next_click(truth, session.result.mask, clicked)
                if click is None:
                    break
                x, y = int(click.x), int(click.y)
                clicked[y, x] = True
                answered += _timed(session, x, y, click.positive, load)
            logged = len(session.log().splitlines()) - 1
            with load.lock:
                load.lost += abs(answered - logged)
        if number >= max(1, int(seconds / every)):
            break
    service.close()


def _timed(session: client.Session, x: int, y: int, positive: bool, load: Load) -> bool:
    """Make a click, and note its time, or why it failed; returns whether it was answered."""
    asked = time.monotonic()
    try:
        result = session.click(x, y, positive=positive)
    except InteractifyError as cause:
        with load.lock:
            load.errors.append(str(cause))
        return False
    with load.lock:
        load.seconds.append(time.monotonic() - asked)
        load.status[result.status] = load.status.get(result.status, 0) + 1
    return True


def memory_of(process: int) -> float:
    """MB of a process alone (anonymous pages)."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(float(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("RssAnon:"))


def fill(
    address: str, process: int, sessions: int, step: int = STEP, minutes: float = float("inf")
) -> list[tuple[int, int]]:
    """Open sessions, with a click in each; returns (sessions, MB of the server) after every `step`."""
    deadline = time.monotonic() + 60 * minutes
    service, found = client.connect(address), [(0, round(memory_of(process)))]
    for number in range(1, sessions + 1):
        with service.session(photo_of(number)[0], heartbeat=False) as session:
            session.click(SIDE // 2, SIDE // 2, positive=not session.result.mask[SIDE // 2, SIDE // 2])
        over = time.monotonic() > deadline
        if number % step == 0 or number == sessions or over:
            found.append((number, round(memory_of(process))))
        if over:
            break
    service.close()
    return found


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--annotators", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--sessions", type=int, default=2000)
    parser.add_argument("--minutes", type=float, default=60.0, help="for the second part, at most")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    with server("--in-memory", str(given.annotators + 14)) as (address, _):
        load = annotate(address, given.annotators, given.seconds)
    found = load.summary()
    print(json.dumps(found))
    with server("--in-memory", "16", "--liveness", "5") as (address, process):
        memory = fill(address, process, given.sessions, minutes=given.minutes)
    print(memory)
    setting = {"annotators": given.annotators, "seconds between clicks": EVERY, "seconds": given.seconds}
    setting |= {"photo": [SIDE, SIDE], "server": " ".join(MODEL)}
    content = {"machine": machine(), "setting": setting, **found, "sessions, MB": memory, "in memory": 16}
    given.out.write_text(json.dumps(content, indent=1) + "\n")
    print(given.out)
    if load.lost or load.errors:
        sys.exit(f"{load.lost} clicks were lost, {len(load.errors)} failed: {load.errors[:3]}")


if __name__ == "__main__":
    main()
