"""The pictures of the README: `python -m benchmarks.screenshots`.

    python -m benchmarks.screenshots [--out DIR]    demo.jpg, app.jpg and app-dark.jpg, into docs/images by default
    python -m benchmarks.screenshots --brain DIR    app-volume.webp

The first is the sheet of the cat that `make demo` draws. For the others a browser shows the page; with --brain, a part
of whose signal is lost, under the network in DIR (see `benchmarks.volume_brain`).

Needs Debian's chromium on the path, and playwright (`pip install -e '.[test]'`).
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from PIL import Image
from playwright.sync_api import expect, sync_playwright

from benchmarks import volume_brain
from interactify import zoo
from interactify.commands import demo

IMAGES = Path(__file__).parent.parent / "docs" / "images"
TIMEOUT = 60_000  # milliseconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=IMAGES)
    parser.add_argument("--brain", metavar="DIR", type=Path, help="a folder with deepbet and nilearn")
    given = parser.parse_args()
    if given.brain is not None:
        with tempfile.TemporaryDirectory() as folder, browser() as launched:
            volume_picture(launched, given.brain, Path(folder), given.out)
        return
    with tempfile.TemporaryDirectory() as folder:
        sheet(Path(folder), given.out)
        with browser() as launched:
            page_pictures(launched, Path(folder), given.out)


def sheet(folder: Path, out: Path) -> None:
    """The demo's sheet of the cat, as wide as a README."""
    (sheet_path,) = (path for path in demo.play_demo(folder / "demo") if path.stem == "cat")
    with Image.open(sheet_path) as whole:
        wide = whole.convert("RGB").resize((1200, round(whole.height * 1200 / whole.width)), Image.Resampling.LANCZOS)
    wide.save(out / "demo.jpg", quality=88)
    print(out / "demo.jpg")


@contextmanager
def browser() -> Iterator[Any]:
    """A headless Chromium."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield launched
        launched.close()


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


def page_pictures(launched: Any, folder: Path, out: Path) -> None:
    """The embedded cup with the clicks that come with it, in light and dark."""
    (photo,) = (each for each in zoo.photos() if each.name == "coffee")
    with Served("--out", folder) as address:
        for name, scheme in (("app", "light"), ("app-dark", "dark")):
            page = launched.new_page(viewport={"width": 1280, "height": 720}, color_scheme=scheme)
            page.goto(f"{address}#2")
            wait_until_open(page)
            if scheme == "light":
                for count, click in enumerate(photo.clicks, 1):
                    page.mouse.click(
                        *on_screen(page, photo.path, click.x, click.y), button="left" if click.positive else "right"
                    )
                    wait_for_interactions(page, count)
            page.mouse.move(10, 400)
            page.wait_for_timeout(300)
            shot = folder / "shot.png"
            page.screenshot(path=shot)
            Image.open(shot).convert("RGB").save(out / f"{name}.jpg", quality=88)
            print(out / f"{name}.jpg")


def volume_picture(launched: Any, brain: Path, folder: Path, out: Path) -> None:
    """A brain after two clicks where its signal is lost."""
    own, spacing = volume_brain.template(brain)  # to the right, to the front, up
    affine = np.zeros((4, 4))
    affine[[2, 1, 0, 3], [0, 1, 2, 3]] = *spacing[::-1], 1.0
    voxels = volume_brain.damaged(own, *volume_brain.DAMAGE["lost signal"])
    nibabel.save(nibabel.Nifti1Image(voxels.T, affine), folder / "brain.nii.gz")
    network = ("--model", brain / "data/models/bbox_model.pt", "--mean", "0", "--std", "1", "--resolution", "96")
    with Served(folder / "brain.nii.gz", "--out", folder / "out", *network) as address:
        page = launched.new_page(viewport={"width": 1280, "height": 720})
        page.goto(address)
        wait_until_open(page)
        for count, (x, y) in enumerate(((0.362, 0.49), (0.372, 0.66)), 1):
            stage = page.locator("#stage").bounding_box()
            page.mouse.click(stage["x"] + stage["width"] * x, stage["y"] + stage["height"] * y)
            wait_for_interactions(page, count)
        page.wait_for_timeout(500)
        page.screenshot(path=folder / "shot.png")
        Image.open(folder / "shot.png").convert("RGB").save(out / "app-volume.webp", quality=82, method=6)
        print(out / "app-volume.webp")


def wait_until_open(page: Any) -> None:
    expect(page.locator("#objects li").first).to_be_attached(timeout=TIMEOUT)
    expect(page.locator("#waiting")).to_be_hidden(timeout=TIMEOUT)


def wait_for_interactions(page: Any, count: int) -> None:
    expect(page.locator("#interactions li.pending")).to_have_count(0, timeout=TIMEOUT)
    expect(page.locator("#interactions li")).to_have_count(count, timeout=TIMEOUT)


def on_screen(page: Any, path: Path, x: float, y: float) -> tuple[float, float]:
    """The point on the screen of a pixel of the photo, when the photo is fitted to the stage."""
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
