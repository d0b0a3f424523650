"""A click's time, compared with the published method and torch's own L-BFGS: `python -m benchmarks.speed`.

    python -m benchmarks.speed                     the whole table; the results go to benchmarks/results/
    python -m benchmarks.speed --only "embedded B"    only cases whose names contain one of these texts
    python -m benchmarks.speed --quick             few small cases, nothing is saved: a check that it runs
    python -m benchmarks.speed --page              write docs/speed.md from the newest results

The method is in docs/speed.md; the contestants are in speed_contestants.py, the parts they run in speed_cuts.py,
and the measurement of a case in speed_cases.py and speed_more.py.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from benchmarks.speed_cases import Clicks, Effort, measure_clicks
from benchmarks.speed_cuts import BUILDERS
from benchmarks.speed_measure import machine, peak_operations, stored_run
from benchmarks.speed_more import First, Objects, measure_first, measure_objects
from benchmarks.speed_page import write_page
from benchmarks.speed_tables import summary

RESULTS = Path(__file__).parent / "results"
UNET, DEEPLAB, EMBEDDED = BUILDERS
Case = Clicks | First | Objects


def table(device: str = "cpu") -> list[Case]:
    """Not the full cross product, which takes a day on two cores, but every axis: pixels, points, clicks, objects."""
    pixels = [
        *(Clicks(n, point, size) for size in (256, 512) for n in BUILDERS for point in ("input", "A", "B", "C")),
        *(Clicks(n, "B", 1024) for n in BUILDERS),
        Clicks(EMBEDDED, "input", 1024),
    ]
    clicks = [Clicks(EMBEDDED, "input", 256, 20), Clicks(DEEPLAB, "B", 256, 5)]
    first = [*(First(n, point, 256) for n in BUILDERS for point in ("input", "B")), First(DEEPLAB, "B", 512)]
    counts = (1, 4, 16, 32, 64) if device.startswith("cuda") else (1, 4, 16, 64)
    objects = [Objects(EMBEDDED, point, 256, count) for point in ("input", "B") for count in counts]
    if device.startswith("cuda"):
        objects += [Objects(DEEPLAB, "B", 512, count) for count in (1, 32)]
    return [*pixels, *clicks, *first, *objects]


def quick_table(device: str = "cpu") -> list[Case]:
    """The same at 128 × 128 pixels, one or two of each kind."""
    return [
        *(Clicks(name, point, 128) for name in BUILDERS for point in ("input", "B")),
        Clicks(EMBEDDED, "A", 128),
        Clicks(EMBEDDED, "C", 128),
        Clicks(EMBEDDED, "B", 128, 5),
        First(EMBEDDED, "input", 128),
        Objects(EMBEDDED, "B", 128, 4),
    ]


def effort_for(case: Case, quick: bool, seconds: float = 20.0) -> Effort:
    if quick:
        return Effort(least=2, most=2)
    return Effort(least=2 if case.size >= 1024 else 3 if case.size >= 512 else 5, seconds=seconds)


def measured(case: Case, effort: Effort, peak: float, device: str) -> dict[str, Any]:
    if isinstance(case, Clicks):
        return measure_clicks(case, effort, peak, device)
    if isinstance(case, First):
        return measure_first(case, effort, device)
    return measure_objects(case, effort, device)


def kind_of(case: Case) -> str:
    return {Clicks: "clicks", First: "first", Objects: "objects"}[type(case)]


def earlier_results(path: Path | None, device: str, quick: bool) -> dict[str, Any]:
    """The results in `path` so far; empty ones with this machine's description where there are none.

    Raises ValueError if they are from another machine or other versions.
    """
    here: dict[str, Any] = {"machine": machine(device), "quick": quick}
    if path is None or not path.exists():
        return {**here, "peak": peak_operations(device), "clicks": {}, "first": {}, "objects": {}}
    return stored_run(path, here, "quick")


def default_path(device: str, kind: str = "speed") -> Path:
    """One file for each kind of measurement, machine and day."""
    found = machine(device)
    name = re.sub(r"[^a-z0-9]+", "-", (found.get("gpu") or f"cpu-{found['processor']}").lower()).strip("-")
    return RESULTS / f"{kind}-{name}-{found['threads']}-threads-{found['date']}.json"


def run(
    cases: list[Case],
    path: Path | None,
    device: str,
    quick: bool,
    report: Callable[[str], None],
    seconds: float = 20.0,
) -> dict[str, Any]:
    """Measure the cases and save each as soon as it is done."""
    results = earlier_results(path, device, quick)
    with tqdm(cases, unit="case") as progress:
        for case in progress:
            progress.set_postfix_str(case.name)
            start = time.perf_counter()
            found = measured(case, effort_for(case, quick, seconds), results["peak"], device)
            found["measuring_seconds"] = round(time.perf_counter() - start, 1)
            results[kind_of(case)][case.name] = found
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    report(summary(results))
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a small table; saved only with --out")
    parser.add_argument("--only", nargs="+", default=[], metavar="TEXT", help="only cases that contain one of these")
    parser.add_argument("--out", type=Path, help="JSON; measured cases replace those in the file, others stay")
    parser.add_argument("--missing", action="store_true", help="only cases that are not in --out")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, help="processor threads; torch's own choice by default")
    parser.add_argument(
        "--seconds", type=float, default=20.0, metavar="S", help="a case is not repeated again after S seconds (20)"
    )
    parser.add_argument("--list", action="store_true", help="only name the cases")
    parser.add_argument("--page", action="store_true", help="only write docs/speed.md from the newest results")
    given = parser.parse_args()
    if given.page:
        write_page()
        return
    if given.threads:
        torch.set_num_threads(given.threads)
    cases = quick_table(given.device) if given.quick else table(given.device)
    cases = [case for case in cases if not given.only or any(text in case.name for text in given.only)]
    path = given.out or (None if given.quick else default_path(given.device))
    if given.missing and path is not None and path.exists():
        stored = json.loads(path.read_text(encoding="utf-8"))
        cases = [case for case in cases if case.name not in stored[kind_of(case)]]
    if given.list:
        print("\n".join(case.name for case in cases))
        return
    run(cases, path, given.device, given.quick, print, given.seconds)
    if path is not None:
        print(f"Saved in {path}; `python -m benchmarks.speed --page` writes docs/speed.md.")


if __name__ == "__main__":
    main()
