"""Many annotators at one service: how long a click takes, whether one is lost, and what memory it needs.

`python -m benchmarks.load [--model NAME …] [--annotators N …] [--seconds S] [--finished IOU] [--sessions N]
[--minutes M] [--out FILE]` starts `interactify serve` as a process, and asks it with the library's own client over the
loopback address:

1. Annotators, each with a session of its own, take a turn every three seconds. A turn is a click in the middle of what
   is most wrong in the mask that they have or, where the mask is finished, to open the next photo. A mask is finished
   at an IoU of 0.95 (or after 20 clicks), as for the simulated user of an evaluation, whose target is 0.85 or 0.9. A
   person stops there, too: what is left is finer than a pixel that the network sees. Clicks there (`--finished 1`) get
   their labels, but not with the margin that ends a refinement, so most take the 12 evaluations that one may take while
   the mask is held. A click's time is from the call to its mask, and so is that of a photo. Each session's log is read
   at its end: an answered click that is not in it, or one that is in it twice, is lost. Every network is tried with
   every number of annotators; the first one, `zoo`, was never trained for clicks, and `clicks` was.
2. Sessions are opened, with a click in each, and stay in the store; four clients do it side by side. The memory of the
   server alone is read after every hundred. It ends after `--minutes` at the latest; the file says how many there were.

It ends with 1 where a click was lost or failed. Annotators and server share the machine, whose cores are in the file.
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
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Final

import httpx
import numpy as np
from numpy.typing import NDArray

from benchmarks.speed_measure import machine
from interactify import client
from interactify.engines.work import cores
from interactify.errors import InteractifyError
from interactify.evaluation.metrics import iou
from interactify.interactions.next_click import next_click

OUT: Final = Path(__file__).parent / "results" / "load.json"
EVERY: Final = 3.0  # seconds between two clicks of an annotator
SIDE: Final = 256  # pixels of a photo
MODELS: Final = ("zoo", "clicks")  # the embedded networks
RESOLUTION: Final = "96"  # small
FINISHED: Final = 0.95  # IoU with the object
MOST: Final = 20  # clicks on a photo
STEP: Final = 100  # sessions between two readings of the memory
CLIENTS: Final = 4  # that fill the memory


@dataclass
class Load:
    """What the annotators saw.

    Attributes:
        seconds: of each click that was answered.
        evaluations: of each of them.
        opened: seconds of each photo that was opened while others clicked.
        errors: the texts of those that were not.
        lost: answered clicks that are not in the log exactly once.
        status: how many refinements ended in which way.
    """

    seconds: list[float] = field(default_factory=list)
    evaluations: list[int] = field(default_factory=list)
    opened: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    lost: int = 0
    status: dict[str, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def summary(self) -> dict[str, Any]:
        """Counts, and percentiles in milliseconds."""
        counts = {"answered": len(self.seconds), "failed": len(self.errors), "lost": self.lost}
        evaluations = {"median": float(np.median(self.evaluations)), "most": max(self.evaluations)}
        return {
            **{"clicks": counts, "ms": _percentiles(self.seconds), "evaluations": evaluations, "status": self.status},
            **{"photos": len(self.opened), "photo ms": _percentiles(self.opened)},
        }


def _percentiles(seconds: list[float]) -> dict[str, float | None]:
    shares = {f"p{q}": float(np.percentile(seconds, q)) if seconds else None for q in (50, 95, 99)}
    return {name: None if value is None else round(1000 * value, 1) for name, value in shares.items()}


def photo_of(seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int8]]:
    """A bright ellipse on noise, (SIDE, SIDE, 3), and where it is, int8."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:SIDE, :SIDE] / SIDE
    y, x, height, width = rng.uniform(0.3, 0.7, 2).tolist() + rng.uniform(0.1, 0.3, 2).tolist()
    inside = ((rows - y) / height) ** 2 + ((columns - x) / width) ** 2 < 1
    photo = np.where(inside[..., None], rng.integers(120, 256, 3), rng.integers(0, 120, 3))
    return np.clip(photo + rng.integers(-20, 21, (SIDE, SIDE, 3)), 0, 255).astype(np.uint8), inside.astype(np.int8)


@contextlib.contextmanager
def server(model: str, *words: str) -> Iterator[tuple[str, int]]:
    """A service as a process: its address and the process's number."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "interactify.cli", "serve", "--port", "0", "--device", "cpu"]
        command += ["--store", str(Path(folder) / "sessions.db"), "--model", model, "--resolution", RESOLUTION, *words]
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


def annotate(address: str, annotators: int, seconds: float, every: float = EVERY, finished: float = FINISHED) -> Load:
    """Let annotators take turns for so many seconds, each on photos of its own."""
    load, begin, turns = Load(), threading.Barrier(annotators), max(1, int(seconds / every))
    threads = [
        threading.Thread(target=_annotator, args=(address, seed, turns, every, finished, begin, load))
        for seed in range(annotators)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    return load


def _annotator(
    address: str, seed: int, turns: int, every: float, finished: float, begin: threading.Barrier, load: Load
) -> None:
    """One annotator: takes turns at a steady pace from a time of its own on, and reads each log at its end."""
    service, number, due = client.connect(address), 0, 0.0
    for photo_seed in count(seed, begin.parties):
        photo, truth = photo_of(photo_seed)
        asked = time.monotonic()
        with service.session(photo) as session:
            if due:
                with load.lock:
                    load.opened.append(time.monotonic() - asked)
            else:
                begin.wait()
                due = time.monotonic() + random.Random(seed).uniform(0, every)
            clicked, answered = np.zeros(truth.shape, bool), 0
            while number < turns:
                mask = session.result.mask
                done = iou(truth, mask) >= finished or clicked.sum() == MOST
                click = None if done else next_click(truth, mask, clicked)
                time.sleep(max(0.0, due + number * every - time.monotonic()))
                number += 1
                if click is None:
                    break
                x, y = int(click.x), int(click.y)
                clicked[y, x] = True
                answered += _timed(session, x, y, click.positive, load)
            logged = len(session.log().splitlines()) - 1
            with load.lock:
                load.lost += abs(answered - logged)
        if number >= turns:
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
        load.evaluations.append(result.evaluations)
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

    def one(seed: int) -> None:
        with service.session(photo_of(seed)[0], heartbeat=False) as session:
            session.click(SIDE // 2, SIDE // 2, positive=not session.result.mask[SIDE // 2, SIDE // 2])

    with ThreadPoolExecutor(CLIENTS) as pool:
        for first in range(0, sessions, step):
            seeds = range(first, min(first + step, sessions))
            list(pool.map(one, seeds))
            found.append((seeds.stop, round(memory_of(process))))
            if time.monotonic() > deadline:
                break
    service.close()
    return found


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown, times in seconds.

    >>> load = Load(seconds=[0.1, 0.3], evaluations=[4, 5], opened=[0.25])
    >>> print(table([{"model": "zoo", "annotators": 2, **load.summary()}]).splitlines()[-1])
    | `zoo` | 2 | 2 | 0.20 s | 0.29 s | 0.30 s | 4.5 | 0.25 s |
    """
    lines = ["| network | annotators | clicks | median | 95 % | 99 % | evaluations | a photo |", "|" + "---|" * 8]
    for row in rows:
        *clicks, photo = map(_in_seconds, [*row["ms"].values(), row["photo ms"]["p50"]])
        cells = [f"`{row['model']}`", row["annotators"], row["clicks"]["answered"], *clicks]
        lines.append("| " + " | ".join(map(str, [*cells, f"{row['evaluations']['median']:g}", photo])) + " |")
    return "\n".join(lines)


def _in_seconds(ms: float | None) -> str:
    return "–" if ms is None else f"{ms / 1000:.{2 if ms < 1e4 else 0}f} s"


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", default=list(MODELS), help="as for `interactify serve`")
    parser.add_argument("--annotators", nargs="+", type=int, default=[1, 6, 12, 50])
    parser.add_argument("--seconds", type=float, default=120.0, help="of each row")
    parser.add_argument("--finished", type=float, default=FINISHED, help="IoU at which the next photo is opened")
    parser.add_argument("--sessions", type=int, default=2000, help="of the second part")
    parser.add_argument("--minutes", type=float, default=60.0, help="for the second part, at most")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    rows, failures = [], []
    for model in given.model:
        for annotators in given.annotators:
            with server(model, "--in-memory", str(annotators + 14)) as (address, _):
                load = annotate(address, annotators, given.seconds, finished=given.finished)
            rows.append({"model": model, "annotators": annotators, **load.summary()})
            failures += [*load.errors, *["a click was lost"] * load.lost]
            print(json.dumps(rows[-1]), flush=True)
    print(table(rows))
    began = time.monotonic()
    with server(given.model[0], "--in-memory", "16", "--liveness", "5") as (address, process):
        memory = fill(address, process, given.sessions, minutes=given.minutes)
    print(memory, f"{time.monotonic() - began:.0f} s")
    setting = {"seconds between turns": EVERY, "seconds": given.seconds, "finished at an IoU of": given.finished}
    setting |= {"photo": [SIDE, SIDE], "resolution": int(RESOLUTION), "cores": cores()}
    filled = {"model": given.model[0], "in memory": 16, "sessions, MB": memory}
    content = {"machine": machine(), "setting": setting, "rows": rows, "memory": filled}
    given.out.write_text(json.dumps(content, indent=1) + "\n")
    print(given.out)
    if failures:
        sys.exit(f"{len(failures)} clicks were lost or failed: {failures[:3]}")


if __name__ == "__main__":
    main()
