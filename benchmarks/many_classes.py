"""The cost of many classes for a click: `python -m benchmarks.many_classes [--out FILE]`.

Log-odds of one class against the rest and their gradient at five pixels, in strips (`interactify.network.one_vs_rest`)
and by the plain formula; and whole clicks on a small FPN with the same number of classes, by both methods. The two run
in turn; the results are medians, quartiles and the ratio of the medians. One thread, so that the amount of computation
is compared, and not its distribution.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Final

import numpy as np
import segmentation_models_pytorch as smp
import torch
from torch import Tensor

import interactify
from benchmarks.accuracy import machine
from benchmarks.big_pictures import CLICKS, Never, disks
from interactify.network import targets as classes
from interactify.network.one_vs_rest import against_rest

OUT: Final = Path(__file__).parent / "results" / "many-classes.json"
CLASSES: Final = (2, 11, 21, 150)
SIZE: Final = (512, 512)
EVALUATIONS: Final = 4


def as_written(logits: Tensor, target: int) -> Tensor:
    others = [k for k in range(logits.shape[1]) if k != target]
    return logits[:, target : target + 1] - logits[:, others].logsumexp(1, keepdim=True)


METHODS: Final[dict[str, Callable[[Tensor, int], Tensor]]] = {"in strips": against_rest, "as written": as_written}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=15)
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, Any] = {"machine": machine(), "map": SIZE, "evaluations a click": EVALUATIONS, "classes": {}}
    for count in CLASSES:
        row = {
            "log-odds and gradient, ms": compared(log_odds(count), given.repetitions),
            "click, ms": compared(clicks(count), max(3, given.repetitions // 3)),
        }
        found["classes"][str(count)] = row
        print(count, json.dumps(row))
    given.out.write_text(json.dumps(found, indent=1) + "\n")
    print(given.out)


def compared(run: Callable[[str], list[float]], repetitions: int) -> dict[str, Any]:
    """Milliseconds of both methods, run in turn: quartiles, and the ratio of the medians."""
    took: dict[str, list[float]] = {method: [] for method in METHODS}
    for repetition in range(repetitions + 1):
        for method in METHODS:
            seconds = run(method)
            took[method] += seconds if repetition else []  # the first warms up
    rounded: dict[str, Any] = {
        method: [round(1000 * q, 2) for q in quantiles(all_, n=4)] for method, all_ in took.items()
    }
    return {**rounded, "ratio": round(median(took["as written"]) / median(took["in strips"]), 2)}


def log_odds(count: int) -> Callable[[str], list[float]]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1, count, *SIZE, generator=generator) * 3
    rows, columns = torch.randint(min(SIZE), (2, 5), generator=generator)

    def run(method: str) -> list[float]:
        start = time.perf_counter()
        at = logits.detach().requires_grad_()
        torch.autograd.grad(METHODS[method](at, 1)[0, 0, rows, columns].sum(), at)
        return [time.perf_counter() - start]

    return run


def clicks(count: int) -> Callable[[str], list[float]]:
    torch.manual_seed(0)
    model = smp.FPN("mobilenet_v2", encoder_weights=None, classes=count).eval()
    net = interactify.wrap(model, energy=Never(), max_evaluations=EVALUATIONS, zoom=False)
    photo = disks(*SIZE)

    def run(method: str) -> list[float]:
        with formula(METHODS[method]):
            session, took = net.session(photo, target=1), []
            for across, down, positive in CLICKS[:2]:
                start = time.perf_counter()
                session.click(int(across * SIZE[1]), int(down * SIZE[0]), positive)
                took.append(time.perf_counter() - start)
        return [float(np.median(took))]

    return run


@contextmanager
def formula(method: Callable[[Tensor, int], Tensor]) -> Iterator[None]:
    """Use one of the methods for log-odds."""
    original = classes.against_rest
    classes.against_rest = method  # type: ignore[assignment]
    try:
        yield
    finally:
        classes.against_rest = original


if __name__ == "__main__":
    main()
