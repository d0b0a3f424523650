"""How many photos a second workers of this machine refine, and what Ray adds: `python -m benchmarks.scale`.

Two works, each by 1 and by 2 workers, as processes of this machine and on a Ray cluster started here:

- "waiting": nothing but a second's sleep for each photo, so that all that is lost is the engine's: `lost` is the share
  of the workers' time in which they had no photo, from each one's first photo to its last;
- "refining": two objects, a click each, in each of the embedded photos, over and over, with the embedded network.

Time is measured in the workers, each from its own first photo on: their start, which is told by itself (`start`), is
paid once, and not for each photo. `photos_a_second` is the sum of the workers' rates; of Ray's rows, `of_local` is what
it is of that of the same number of processes. Each row is measured `--repeat` times; the median is kept, and the
spread. Results go to benchmarks/results/scale.json with the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from benchmarks.speed_measure import machine
from interactify import zoo
from interactify.engines import Engine, Local, OnRay, Work
from interactify.mass.masks_out import MASKS
from interactify.mass.places import Place
from interactify.mass.prompts.photo_prompts import USES, ObjectPrompts, PhotoPrompts
from interactify.mass.refining import Refining
from interactify.mass.run import NetworkRecipe

RESULTS = Path(__file__).parent / "results" / "scale.json"
SHAPES = (
    {"kind": "click", "x": 250, "y": 150, "positive": True},
    {"kind": "click", "x": 60, "y": 60, "positive": True},
)
WORKERS = (1, 2)


@dataclass(frozen=True)
class Timed:
    """A work whose answers say by which process they were given, and when they were begun and ended."""

    work: Work

    def start(self, worker: int) -> Callable[[str], str]:
        answer = self.work.start(worker)

        def timed(item: str) -> str:
            begin = time.time()
            answer(item)
            return json.dumps([os.getpid(), begin, time.time()])

        return timed


@dataclass(frozen=True)
class Waiting:
    """A second for each photo."""

    seconds: float = 1.0

    def start(self, worker: int) -> Callable[[str], str]:
        def answer(item: str) -> str:
            time.sleep(self.seconds)
            return item

        return answer


def measured(engine: Engine, work: Work, items: Sequence[str]) -> dict[str, float]:
    """Photos a second, the share of the workers' time without a photo, and the seconds until the first photo began."""
    asked = time.time()
    spans: dict[int, list[tuple[float, float]]] = {}
    for finished in engine.run(Timed(work), items):
        worker, begin, end = json.loads(str(finished.answer))
        spans.setdefault(worker, []).append((begin, end))
    there = {worker: max(each)[1] - min(each)[0] for worker, each in spans.items()}
    busy = sum(end - begin for each in spans.values() for begin, end in each)
    return {
        "photos_a_second": sum(len(each) / there[worker] for worker, each in spans.items()),
        "lost": 1 - busy / sum(there.values()),
        "start": min(begin for each in spans.values() for begin, _ in each) - asked,
    }


def refining(folder: Path, count: int) -> tuple[Work, list[str]]:
    """The work of a real run, and its items: the embedded photos again and again."""
    photos = [Image.open(photo.path).convert("RGB") for photo in zoo.photos()]
    (folder / "photos").mkdir()
    items = []
    for k in range(count):
        photos[k % len(photos)].save(folder / f"photos/{k:04}.jpg", quality=95)
        objects = tuple(ObjectPrompts(str(n), None, (shape,)) for n, shape in enumerate(SHAPES, start=1))
        items.append(PhotoPrompts(f"{k:04}.jpg", objects).to_text())
    (folder / "out" / MASKS).mkdir(parents=True)
    places = Place.of(folder / "photos"), Place.of(folder / "out")
    return Refining(NetworkRecipe(), *places, ("png",), ("object",), 0.0, USES, 1), items


def engines() -> dict[str, Callable[[int], Engine]]:
    """Those that there are."""
    found: dict[str, Callable[[int], Engine]] = {"local": Local}
    try:
        version("ray")
    except PackageNotFoundError:
        return found
    return {**found, "ray": lambda workers: OnRay(workers=workers)}


def rows(count: int, repeat: int) -> list[dict[str, Any]]:
    """The table, each row printed as it is measured."""
    found = []
    rates: dict[tuple[str, str, int], float] = {}
    with tempfile.TemporaryDirectory() as folder:
        works = {
            "waiting": (Waiting(), [str(k) for k in range(count)]),
            "refining": refining(Path(folder), count),
        }
        for work, (does, items) in works.items():
            for engine, made in engines().items():
                for workers in WORKERS:
                    runs = [measured(made(workers), does, items) for _ in range(repeat)]
                    row: dict[str, Any] = {"work": work, "engine": engine, "workers": workers, "photos": count}
                    for name in runs[0]:
                        values = [each[name] for each in runs]
                        row[name] = round(statistics.median(values), 4)
                        row[f"{name}_spread"] = [round(min(values), 4), round(max(values), 4)]
                    rates[engine, work, workers] = row["photos_a_second"]
                    if engine != "local":
                        row["of_local"] = round(row["photos_a_second"] / rates["local", work, workers], 4)
                    found.append(row)
                    print(json.dumps(row), flush=True)
    return found


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=16, help="in each row (%(default)s)")
    parser.add_argument("--repeat", type=int, default=3, help="how often each row is measured (%(default)s)")
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="FILE", help="(%(default)s)")
    given = parser.parse_args()
    torch.set_num_threads(1)  # as each worker does, for the machine's description
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    here = machine()
    if "ray" in engines():
        import ray

        here["ray"] = version("ray")
        ray.init(num_cpus=max(WORKERS), include_dashboard=False, log_to_driver=False)  # once for all rows
    table = rows(given.photos, given.repeat)
    given.out.write_text(json.dumps({"machine": here, "rows": table}, indent=1) + "\n")


if __name__ == "__main__":
    main()
