"""What the page adds to a click on 2000 × 1500 pixels: `python -m benchmarks.page_speed [--clicks N] [--out FILE]`.

From the pointer's going up to the frame in which the mask is drawn, without the refinement, which is the same with a
page and without one. Two masks come: as much as the screen shows, then all of it. The clicks are strewn over the
embedded cat, a positive and a negative one by turns, a second apart. Needs what `benchmarks.screenshots` needs, and a
machine that does nothing else.
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
from benchmarks.screenshots import Served, answered, browser, opened, place
from interactify import zoo

OUT: Final = Path(__file__).parent / "results" / "page-speed.json"
SIZE: Final = (2000, 1500)  # width, height
SEEN: Final = {"first": "as much of it as the screen shows", "done": "all of it"}
LISTEN: Final = "document.addEventListener('interactify:shown', (event) => (window.shown ??= []).push(event.detail))"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clicks", type=int, default=40)
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    with browser() as launched:
        shown = measured(launched, given.clicks)
        told = {"machine": {**machine(), "browser": f"Chromium {launched.version}, headless, without a graphics card"}}
    added = {kind: sorted(each["total"] - each["ms"] for each in shown if each["kind"] == kind) for kind in SEEN}
    for kind, says in SEEN.items():
        low, middle, high = (round(each) for each in statistics.quantiles(added[kind], n=4))
        print(f"{says}: {middle} ms added (median of {len(added[kind])}; quartiles {low} and {high})")
    rounded = {SEEN[kind]: [round(each, 1) for each in all_of_them] for kind, all_of_them in added.items()}
    given.out.write_text(json.dumps({**told, "photo": SIZE, "added to the refinement, ms": rounded}, indent=1) + "\n")
    print(given.out)


def measured(launched: Any, clicks: int) -> list[dict[str, Any]]:
    """What the page tells of each mask that it has shown."""
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        photo = Path(name) / "large.jpg"
        Image.open(zoo.photos()[0].path).resize(SIZE).save(photo)
        with Served(photo, "--out", Path(name) / "out") as address:
            page = launched.new_page(viewport={"width": 1280, "height": 720})
            page.goto(address)
            opened(page)
            page.evaluate(LISTEN)
            for k in range(clicks):
                x, y = random.uniform(0.25, 0.75, 2) * SIZE
                page.mouse.click(*place(page, photo, x, y), button="right" if k % 2 else "left")
                answered(page, k + 1)
                page.wait_for_timeout(1000)
            return page.evaluate("shown")


if __name__ == "__main__":
    main()
