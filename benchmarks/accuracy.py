"""Clicks that the embedded network needs, by the simulated user: `python -m benchmarks.accuracy --data DIR`.

Each row is one contestant over the same photos: the library in one of its configurations, or a baseline, with the
clicks of the same simulated user. Results are saved as JSON in benchmarks/results/, with the machine and the versions;
a table compares the rows at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import torch
from torch import nn

import interactify
from benchmarks.baselines import GrabCut, NetworkAlone, RandomWalker
from interactify.brs.energy import Margin
from interactify.evaluation import Evaluation, Record, evaluate, folder
from interactify.models.build import build_model

Contestant = Callable[[nn.Module], Any]
"""Wraps a bare network for `evaluate`; a baseline may ignore the network."""


# The same comparisons as in BRS's table 2: each row of the library differs from the first in one option.
OPTIONS: dict[str, dict[str, Any]] = {
    "default": {},
    "edges only": {"propagation": "edges"},
    "colours and edges": {"propagation": "colour"},
    "no propagation": {"propagation": "none"},
    "zoom-in off": {"zoom": False},
    "margin 4.5": {"energy": Margin(4.5, 6.0)},
    "BRS's energy": {"energy": "brs"},
    "f-BRS's energy": {"energy": "fbrs"},
    "stem kernels": {"variables": "kernels"},
    "scale and bias at A": {"variables": "scale_bias@A", "energy": "fbrs"},
    "scale and bias at B": {"variables": "scale_bias@B", "energy": "fbrs"},
    "scale and bias at C": {"variables": "scale_bias@C", "energy": "fbrs"},
    **{
        f"{name} at {point}": {"variables": f"{kind}@{point}"}
        for name, kind in (
            ("bias field", "bias_field"),
            ("1x1 convolution", "conv1x1"),
            ("rows, columns", "rows_columns"),
        )
        for point in "ABC"
    },
    "SciPy's solver": {"solver": "scipy"},
    "feed-forward": {"max_evaluations": 0},  # for networks that were trained for clicks
    # As published: on the network's own map, and for BRS on the whole photo.
    "BRS": {"energy": "brs", "propagation": "none", "zoom": False},
    "f-BRS-A": {"variables": "scale_bias@A", "energy": "fbrs", "propagation": "none"},
    "f-BRS-B": {"variables": "scale_bias@B", "energy": "fbrs", "propagation": "none"},
    "f-BRS-C": {"variables": "scale_bias@C", "energy": "fbrs", "propagation": "none"},
}


def ours(options: dict[str, Any]) -> Contestant:
    """The library, with options of `interactify.wrap`."""
    return lambda model: interactify.wrap(model, **options)


ROWS: dict[str, Contestant] = {
    **{name: ours(options) for name, options in OPTIONS.items()},
    "no BRS": lambda model: NetworkAlone(interactify.wrap(model)),
    "GrabCut": lambda model: GrabCut(),
    "GrabCut from the network": lambda model: GrabCut(interactify.wrap(model)),
    "random walker": lambda model: RandomWalker(),
    "random walker from the network": lambda model: RandomWalker(interactify.wrap(model)),
}


def summary(run: Evaluation) -> dict[str, Any]:
    """The figures of a run, rounded to their precision."""
    return {
        "photos": len(run.records),
        "clicks": run.clicks,
        "iou_after": {k: round(run.iou_after(k), 4) for k in (0, 1, 2, 3, 5, 10, 20) if k <= run.clicks},
        "boundary_iou_after": {k: round(run.boundary_iou_after(k), 4) for k in (0, 1, 3, 5, 10, 20) if k <= run.clicks},
        **{f"noc_{q}": round(run.noc(q / 100), 3) for q in (80, 85, 90)},
        **{f"failures_{q}": run.failures(q / 100) for q in (80, 85, 90)},
        "area_under_curve": round(run.area_under_curve, 4),
        "collateral_change": round(run.collateral, 6),
        "satisfied": round(run.satisfied, 4),
        "evaluations_per_click": round(run.evaluations_per_click, 2),
        "seconds_per_click": round(run.seconds_per_click, 4),
    }


def recorded(record: Record) -> dict[str, Any]:
    """A record for the file, its shares and seconds rounded, since there are thousands."""
    return {
        key: [round(each, 5) if isinstance(each, float) else each for each in value]
        if isinstance(value, list)
        else value
        for key, value in asdict(record).items()
    }


def machine() -> dict[str, Any]:
    """The machine and the versions of a measurement."""
    return {
        "date": date.today().isoformat(),
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "interactify": interactify.__version__,
    }


def table(runs: Mapping[str, Evaluation]) -> str:
    """The rows as a Markdown table that is readable as plain text.

    >>> from interactify.evaluation import Record
    >>> run = Evaluation((Record("a", [0.5, 0.95], [True], [3], [0.1], [0.0], [0.4, 0.9], [1]),), 1)
    >>> print(table({"default": run}))
    | row     | NoC@80 | NoC@85 | NoC@90 | IoU@0 | IoU@1 | satisfied | evaluations | ms a click |
    |---------|-------:|-------:|-------:|------:|------:|----------:|------------:|-----------:|
    | default |   1.00 |   1.00 |   1.00 | 0.500 | 0.950 |   100.0 % |         3.0 |        100 |
    """
    name = max(3, *(len(row) for row in runs))
    counts = [k for k in (0, 1, 3, 5, 10, 20) if k <= max(run.clicks for run in runs.values())]
    heads = [*(f"NoC@{q}" for q in (80, 85, 90)), *(f"IoU@{k}" for k in counts)]
    heads += ["satisfied", "evaluations", "ms a click"]
    lines = [f"| {'row':{name}} | {' | '.join(heads)} |"]
    lines += [f"|{'-' * (name + 2)}|{'|'.join('-' * (len(head) + 1) + ':' for head in heads)}|"]
    for row, run in runs.items():
        cells = [*(f"{run.noc(q / 100):.2f}" for q in (80, 85, 90)), *(f"{run.iou_after(k):.3f}" for k in counts)]
        cells += [f"{run.satisfied:.1%}".replace("%", " %"), f"{run.evaluations_per_click:.1f}"]
        cells += [f"{run.seconds_per_click * 1000:.0f}"]
        padded = " | ".join(f"{cell:>{len(head)}}" for cell, head in zip(cells, heads, strict=True))
        lines += [f"| {row:{name}} | {padded} |"]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    root = os.environ.get("INTERACTIFY_DATA")
    parser.add_argument("--data", type=Path, default=root, required=root is None, help="folder with GrabCut50/")
    parser.add_argument("--dataset", default="GrabCut50", help="folder below it with images/ and masks/")
    parser.add_argument("--clicks", type=int, default=20)
    parser.add_argument("--between", nargs=2, metavar="NAME", help="only photos from the first name to the second")
    parser.add_argument("--every", type=int, default=1, help="take every n-th photo")
    parser.add_argument("--user", default="centre", help="who clicks: centre, jitter, pairs")
    parser.add_argument("--until", type=float, help="an IoU at which an object is left: NoC up to it in less time")
    parser.add_argument("--rows", nargs="*", default=["default"], help=f"of: {'; '.join(ROWS)}; or: all")
    parser.add_argument("--network", default="zoo", help="as --model of `interactify evaluate`; the embedded one")
    parser.add_argument("--threads", type=int, help="of torch and OpenCV; by default their own choice")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "accuracy.json")
    given = parser.parse_args()
    names = list(ROWS) if given.rows == ["all"] else given.rows
    if unknown := [name for name in names if name not in ROWS]:
        parser.error(f"there is no row {unknown[0]!r}. Rows: {'; '.join(ROWS)}; or: all")
    if given.threads:
        torch.set_num_threads(given.threads)
    samples = list(folder(Path(given.data) / given.dataset))
    if given.between:
        first, last = given.between
        samples = [sample for sample in samples if first <= sample.name <= last]
    samples = samples[:: given.every]
    results: dict[str, Any] = json.loads(given.out.read_text()) if given.out.exists() else {}
    key = given.dataset if not given.between else f"{given.dataset} {' to '.join(given.between)}"
    key += f", every {given.every}, {given.clicks} clicks"
    key += "" if given.until is None else f", until {given.until}"
    key += "" if given.user == "centre" else f", user {given.user}"
    key += "" if given.network == "zoo" else f", network {given.network}"
    try:  # all at once, so that a missing package is found now and not after hours
        contestants = {name: ROWS[name](build_model(given.network)) for name in names}
    except interactify.InteractifyError as error:
        raise SystemExit(f"error: {error}") from None
    runs: dict[str, Evaluation] = {}
    for name, contestant in contestants.items():
        run = runs[name] = evaluate(contestant, samples, clicks=given.clicks, user=given.user, until=given.until)
        print(f"{name}\n{run}\n")
        row = {"summary": summary(run), "machine": machine(), "records": [recorded(record) for record in run.records]}
        results.setdefault(key, {})[name] = row
        given.out.parent.mkdir(parents=True, exist_ok=True)
        # After each row, so that an interrupted run keeps the finished ones.
        given.out.write_text(json.dumps(results, indent=1) + "\n")
    print(table(runs))


if __name__ == "__main__":
    main()
