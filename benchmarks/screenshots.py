"""The pictures of the page in the documentation, made by driving it: `python -m benchmarks.screenshots`.

    python -m benchmarks.screenshots [--out DIR]    app.jpg and app-dark.jpg, into docs/images by default
    python -m benchmarks.screenshots --speed        what the page adds to a click on 2000 × 1500 pixels, printed

Needs Debian's chromium on the path, and playwright (`pip install 'interactify[test]'`).
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from interactify import zoo

IMAGES = Path(__file__).parent.parent / "docs" / "images"
PATIENCE = 60_000  # milliseconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=IMAGES)
    parser.add_argument("--speed", action="store_true")
    given = parser.parse_args()
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        if given.speed:
            measure(browser, Path(folder))
        else:
            picture(browser, Path(folder), given.out)
        browser.close()


class Served:
    """`interactify app` as a process of its own."""

    def __init__(self, *words: str | Path) -> None:
        command = [sys.executable, "-m", "interactify.cli", "app", "--no-browser", "--port", "0", *map(str, words)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().split()[-1]

    def __enter__(self) -> str:
        return self.address

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait()


def picture(browser: Any, folder: Path, out: Path) -> None:
    """The embedded cup with the clicks that come with it, in light and dark."""
    (photo,) = (each for each in zoo.photos() if each.name == "coffee")
    with Served("--out", folder) as address:
        for name, scheme in (("app", "light"), ("app-dark", "dark")):
            page = browser.new_page(viewport={"width": 1280, "height": 720}, color_scheme=scheme)
            page.goto(f"{address}#2")
            opened(page)
            if scheme == "light":
                for count, click in enumerate(photo.clicks, 1):
                    page.mouse.click(
                        *place(page, photo.path, click.x, click.y), button="left" if click.positive else "right"
                    )
                    answered(page, count)
            page.mouse.move(10, 400)
            page.wait_for_timeout(300)
            shot = folder / "shot.png"
            page.screenshot(path=shot)
            Image.open(shot).convert("RGB").save(out / f"{name}.jpg", quality=88)
            print(out / f"{name}.jpg")


def measure(browser: Any, folder: Path, clicks: int = 40) -> None:
    """From the pointer's going up to the frame that shows the mask, without the refinement."""
    Image.open(zoo.photos()[0].path).resize((2000, 1500)).save(folder / "large.jpg")
    random = np.random.default_rng(0)
    with Served(folder / "large.jpg", "--out", folder / "out") as address:
        page = browser.new_page(viewport={"width": 1280, "height": 720})
        page.goto(address)
        opened(page)
        page.evaluate(
            "() => { window.shown = []; document.addEventListener('interactify:shown', (e) => shown.push(e.detail)); }"
        )
        for k in range(clicks):
            x, y = random.uniform(0.25, 0.75, 2) * (2000, 1500)
            page.mouse.click(*place(page, folder / "large.jpg", x, y), button="right" if k % 2 else "left")
            answered(page, k + 1)
            page.wait_for_timeout(1000)
        shown = page.evaluate("shown")
    for kind, says in (("first", "as much of it as the screen shows"), ("done", "all of it")):
        added = sorted(each["total"] - each["ms"] for each in shown if each["kind"] == kind)
        low, middle, high = (round(each) for each in statistics.quantiles(added, n=4))
        print(f"{says}: {middle} ms added (median of {len(added)}; quartiles {low} and {high}, most {added[-1]:.0f})")


def opened(page: Any) -> None:
    from playwright.sync_api import expect

    expect(page.locator("#objects li").first).to_be_visible(timeout=PATIENCE)
    expect(page.locator("#waiting")).to_be_hidden(timeout=PATIENCE)


def answered(page: Any, count: int) -> None:
    from playwright.sync_api import expect

    expect(page.locator("#said li.pending")).to_have_count(0, timeout=PATIENCE)
    expect(page.locator("#said li")).to_have_count(count, timeout=PATIENCE)


def place(page: Any, path: Path, x: float, y: float) -> tuple[float, float]:
    """Where a pixel of the photo is on the screen, when it is fitted to the stage."""
    with Image.open(path) as photo:
        width, height = photo.size
    stage = page.locator("#stage").bounding_box()
    scale = min((stage["width"] - 40) / width, (stage["height"] - 40) / height, 4)
    return (
        stage["x"] + stage["width"] / 2 + (x + 0.5 - width / 2) * scale,
        stage["y"] + stage["height"] / 2 + (y + 0.5 - height / 2) * scale,
    )


if __name__ == "__main__":
    main()
