"""The time the page adds to a click on 2000 × 1500 pixels: `python -m benchmarks.page_speed [--clicks N] [--out FILE]`.

The time is measured from the pointer's release to the frame in which the mask is drawn, without the refinement, which
takes as long without a page. Two masks come: the part on the screen, then the whole mask. The clicks are random points
around the embedded cat, positive and negative in turn, one second apart. Needs what `benchmarks.screenshots` needs, and
an otherwise idle machine.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from benchmarks.accuracy import machine
from benchmarks.screenshots import Served, browser, on_screen, wait_for_interactions, wait_until_open
from interactify import zoo

OUT: Final = Path(__file__).parent / "results" / "page-speed.json"
SIZE: Final = (2000, 1500)  # width, height
MASKS: Final = {"first": "as much of it as the screen shows", "done": "all of it"}
LISTEN: Final = "document.addEventListener('interactify:drawn', (event) => (window.drawn ??= []).push(event.detail))"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clicks", type=int, default=40)
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    with browser() as launched:
        drawn = measure(launched, given.clicks)
        setting = {
            "machine": {**machine(), "browser": f"Chromium {launched.version}, headless, without a graphics card"}
        }
    added = {kind: sorted(each["total"] - each["ms"] for each in drawn if each["kind"] == kind) for kind in MASKS}
    for kind, label in MASKS.items():
        low, middle, high = (round(each) for each in statistics.quantiles(added[kind], n=4))
        print(f"{label}: {middle} ms added (median of {len(added[kind])}; quartiles {low} and {high})")
    rounded = {MASKS[kind]: [round(each, 1) for each in times] for kind, times in added.items()}
    given.out.write_text(
        json.dumps({**setting, "photo": SIZE, "added to the refinement, ms": rounded}, indent=1) + "\n"
    )
    print(given.out)


def measure(launched: Any, clicks: int) -> list[dict[str, Any]]:
    """The times that the page reports for each mask that it has drawn."""
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        photo = Path(name) / "large.jpg"
        Image.open(zoo.photos()[0].path).resize(SIZE).save(photo)
        with Served(photo, "--out", Path(name) / "out") as address:
            page = launched.new_page(viewport={"width": 1280, "height": 720})
            page.goto(address)
            wait_until_open(page)
            page.evaluate(LISTEN)
            for k in range(clicks):
                x, y = random.uniform(0.25, 0.75, 2) * SIZE
                page.mouse.click(*on_screen(page, photo, x, y), button="right" if k % 2 else "left")
                wait_for_interactions(page, k + 1)
                page.wait_for_timeout(1000)
            return page.evaluate("drawn")


if __name__ == "__main__":
    main()
