"""The page in a real browser, to test it: tabs with the page in them, and servers that they show.

Importing this skips a module where the browser, its driver or the page's server are missing.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("uvicorn", reason="needs starlette and uvicorn: install interactify[app]")
pytest.importorskip("starlette", reason="needs starlette and uvicorn: install interactify[app]")
pytest.importorskip("httpx", reason="needs httpx: install interactify[test]")
driver = pytest.importorskip("playwright.sync_api", reason="needs playwright: install interactify[test]")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
if CHROMIUM is None:
    pytest.skip("needs a chromium on the path: apt-get install chromium", allow_module_level=True)

import interactify  # noqa: E402
from tests import networks  # noqa: E402
from tests.served import served  # noqa: E402

NETWORK = """
from tests import networks

def build():
    return networks.seeded(networks.Plain)
"""
SEEN = """async () => {
  const overlay = document.getElementById("overlay");
  const copy = new OffscreenCanvas(overlay.width, overlay.height).getContext("2d", { willReadFrequently: true });
  copy.drawImage(overlay, 0, 0);
  const { data } = copy.getImageData(0, 0, overlay.width, overlay.height);
  let covered = 0;
  for (let k = 3; k < data.length; k += 4) covered += data[k] > 0;
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", data));
  return [Array.from(digest.slice(0, 8)).join("-"), (4 * covered) / data.length];
}"""
SLOW = 30_000  # milliseconds that anything may take on a busy machine


@contextmanager
def serving(folder: Path, classes: int = 1) -> Iterator[str]:
    """The address of a server in this process."""
    net = interactify.wrap(networks.seeded(lambda: networks.Plain(classes=classes)), max_evaluations=8)
    with served(net, sorted((folder / "photos").iterdir()), folder / "out") as (_, door):
        yield door.address()


class Tab:
    """A tab of the browser with the page in it. Errors on its console are kept."""

    def __init__(self, browser: Any, address: str, **options: Any) -> None:
        self.context = browser.new_context(viewport={"width": 1280, "height": 720}, **options)
        self.page = self.context.new_page()
        self.errors: list[str] = []
        self.page.on("console", lambda m: self.errors.append(m.text) if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(address)
        self.opened()

    def opened(self) -> None:
        driver.expect(self.page.locator("#objects li").first).to_be_visible(timeout=SLOW)
        driver.expect(self.page.locator("#waiting")).to_be_hidden(timeout=SLOW)

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Where a part of the stage is, both from 0 to 1."""
        stage = self.page.locator("#stage").bounding_box()
        return stage["x"] + stage["width"] * x, stage["y"] + stage["height"] * y

    def click(self, x: float, y: float, **options: Any) -> None:
        self.page.mouse.click(*self.place(x, y), **options)

    def drag(self, *places: tuple[float, float], button: str = "left") -> None:
        self.page.mouse.move(*self.place(*places[0]))
        self.page.mouse.down(button=button)
        for place in places[1:]:
            self.page.mouse.move(*self.place(*place), steps=4)
        self.page.mouse.up(button=button)

    def pinch(self, place: tuple[float, float], before: float, after: float) -> None:
        """Two fingers around a place, so far from it at first and at last."""
        fingers = self.context.new_cdp_session(self.page)
        steps = [before + (after - before) * k / 8 for k in range(9)]
        for kind, apart in [("touchStart", before), *(("touchMove", each) for each in steps), ("touchEnd", None)]:
            places = [] if apart is None else [self.place(place[0] + side * apart, place[1]) for side in (-1, 1)]
            points = [{"x": x, "y": y, "id": k} for k, (x, y) in enumerate(places)]
            fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        fingers.detach()

    def said(self, count: int) -> None:
        """Wait until so many interactions are answered."""
        driver.expect(self.page.locator("#said li.pending")).to_have_count(0, timeout=SLOW)
        driver.expect(self.page.locator("#said li")).to_have_count(count, timeout=SLOW)

    def names(self) -> list[str]:
        """What was said, the earliest first."""
        return self.page.locator("#said li .name").all_inner_texts()[::-1]

    def seen(self) -> tuple[str, float]:
        """What lies over the photo: a digest of it, and the share of the stage that it covers."""
        self.page.wait_for_timeout(60)
        return tuple(self.page.evaluate(SEEN))

    def close(self) -> None:
        self.context.close()
