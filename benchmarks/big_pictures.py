"""The cost of a click on pictures of different sizes: `python -m benchmarks.big_pictures`.

The same picture of disks is drawn with 1000 × 1000 and 8000 × 6000 pixels, and into one corner of 30000 × 30000 pixels
on disk. All get the same clicks, in turn, and every click takes the same number of evaluations, so that only the
picture's size differs. The results are medians over repetitions of a whole series of clicks, the spread, and the memory
that is not file cache.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import interactify
from benchmarks.accuracy import machine

CLICKS = [  # x and y as shares of width and height, and whether positive
    (0.5, 0.5, True),
    (0.2, 0.2, False),
    (0.6, 0.55, True),
    (0.45, 0.62, False),
    (0.55, 0.4, True),
]
EVALUATIONS = 4


class Never(interactify.brs.energy.Margin):
    """The margin energy that never reaches its goal: every click takes all its evaluations."""

    def reached(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return torch.zeros((), dtype=torch.bool)


def disks(height: int, width: int) -> NDArray[np.uint8]:
    """A picture of some disks on a gradient; the same in any size."""
    ys, xs = np.ogrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    photo = np.empty((height, width, 3), np.uint8)
    for channel, slope in enumerate((60, 90, 40)):
        photo[..., channel] = (80 + slope * xs + 30 * ys).astype(np.uint8)
    for x, y, radius, colour in ((0.5, 0.5, 0.22, (210, 120, 60)), (0.2, 0.25, 0.1, (60, 140, 70))):
        photo[(xs - x) ** 2 + (ys - y) ** 2 < radius**2] = colour
    return photo


def series(net: interactify.Interactive, photo: Any, size: tuple[int, int]) -> tuple[float, float, list[float]]:
    """Seconds to open a picture, to compute the first mask around the first click, and of each click."""
    start = time.perf_counter()
    session = net.session(photo)
    opened = time.perf_counter() - start
    height, width = size
    start = time.perf_counter()
    y, x = round(0.5 * height) - 50, round(0.5 * width) - 50
    session.result.mask_in(interactify.Window(y, x, 100, 100))
    first_mask = time.perf_counter() - start
    took = []
    for across, down, positive in CLICKS:
        start = time.perf_counter()
        result = session.click(round(across * width), round(down * height), positive)
        took.append(time.perf_counter() - start)
        if result.evaluations != EVALUATIONS:
            raise SystemExit(f"a click ended early, so that times can't be compared: {result}")
    return opened, first_mask, took


def own_memory() -> float:
    """Megabytes of this process that belong to no file: the kernel's RssAnon."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("RssAnon"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "big-pictures.json")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    options: dict[str, Any] = {"energy": Never(aim=60.0), "max_evaluations": EVALUATIONS}
    net = interactify.wrap(interactify.zoo.load(), **options)
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        giant = np.lib.format.open_memmap(Path(folder, "g.npy"), mode="w+", dtype=np.uint8, shape=(30000, 30000, 3))
        giant[:1000, :1000] = disks(1000, 1000)
        pictures: dict[str, tuple[Any, tuple[int, int]]] = {
            "1000 x 1000": (disks(1000, 1000), (1000, 1000)),
            "8000 x 6000": (disks(6000, 8000), (6000, 8000)),
            "30000 x 30000 on disk": (giant, (1000, 1000)),
        }
        for name, (photo, size) in pictures.items():  # one run without measuring
            before = own_memory()
            series(net, photo, size)
            found[name] = {"megabytes": round(own_memory() - before), "open": [], "first mask": [], "clicks": []}
        for _ in range(given.repetitions):
            for name, (photo, size) in pictures.items():
                opened, first_mask, took = series(net, photo, size)
                for key, value in (("open", opened), ("first mask", first_mask), ("clicks", took)):
                    found[name][key].append(value)
    first = found["1000 x 1000"]["clicks"]
    rows = []
    for name, each in found.items():
        totals = [sum(took) for took in each["clicks"]]
        ratios = [total / sum(own) for total, own in zip(totals, first, strict=True)]
        rows.append(
            {
                "picture": name,
                "milliseconds a click": round(1000 * median(totals) / len(CLICKS), 1),
                "ratio": round(median(ratios), 3),
                "ratio from, to": [round(min(ratios), 3), round(max(ratios), 3)],
                "seconds to open": round(median(each["open"]), 3),
                "seconds to the first mask": round(median(each["first mask"]), 3),
                "megabytes": each["megabytes"],
            }
        )
        print(rows[-1])
    stored = {"machine": machine(), "evaluations a click": EVALUATIONS, "clicks": len(CLICKS), "rows": rows}
    given.out.write_text(json.dumps(stored, indent=1) + "\n")


if __name__ == "__main__":
    main()
