"""Clicks that the embedded network needs, by the simulated user: `python -m benchmarks.accuracy --data DIR`.

Each row is one configuration over the same photos. Results are kept as JSON in benchmarks/results/, with the machine
and the versions that gave them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import torch

import interactify
from interactify.evaluation import Evaluation, evaluate, folder

# BRS's table 2 asks the same questions: each row changes one thing of the first.
ROWS: dict[str, dict[str, Any]] = {
    "default": {},
    "zoom-in off": {"zoom": False},
    "BRS's energy": {"energy": "brs"},
    "f-BRS's energy": {"energy": "fbrs"},
    "stem kernels": {"variables": "kernels"},
    "scale and bias at A": {"variables": "scale_bias@A", "energy": "fbrs"},
    "scale and bias at B": {"variables": "scale_bias@B", "energy": "fbrs"},
    "scale and bias at C": {"variables": "scale_bias@C", "energy": "fbrs"},
    "SciPy's solver": {"solver": "scipy"},
}


def summary(run: Evaluation) -> dict[str, Any]:
    """The figures of a run, rounded to what they can bear."""
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


def machine() -> dict[str, Any]:
    """Where and with what the figures were measured."""
    return {
        "date": date.today().isoformat(),
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "interactify": interactify.__version__,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    root = os.environ.get("INTERACTIFY_DATA")
    parser.add_argument("--data", type=Path, default=root, required=root is None, help="folder with GrabCut50/")
    parser.add_argument("--dataset", default="GrabCut50", help="folder below it with images/ and masks/")
    parser.add_argument("--clicks", type=int, default=20)
    parser.add_argument("--every", type=int, default=1, help="take every n-th photo")
    parser.add_argument("--user", default="centre", help="who clicks: centre, jitter, pairs")
    parser.add_argument("--rows", nargs="*", default=["default"], help=f"of: {'; '.join(ROWS)}; or: all")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "accuracy.json")
    given = parser.parse_args()
    names = list(ROWS) if given.rows == ["all"] else given.rows
    samples = list(folder(Path(given.data) / given.dataset))[:: given.every]
    results: dict[str, Any] = json.loads(given.out.read_text()) if given.out.exists() else {}
    for name in names:
        net = interactify.wrap(interactify.zoo.load(), **ROWS[name])
        run = evaluate(net, samples, clicks=given.clicks, user=given.user)
        print(f"{name}\n{run}\n")
        key = f"{given.dataset}, every {given.every}, {given.clicks} clicks"
        key += "" if given.user == "centre" else f", user {given.user}"
        row = {"summary": summary(run), "machine": machine(), "records": [asdict(record) for record in run.records]}
        results.setdefault(key, {})[name] = row
        given.out.parent.mkdir(parents=True, exist_ok=True)
        # After each row, so that an interrupted run keeps the others.
        given.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
