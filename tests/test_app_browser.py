"""The page in a real browser: gestures, keys, reloading, a killed server, export; no error on its console.

Screenshots are left in the folder that INTERACTIFY_SHOTS names (a temporary one by default), to be looked at.
"""

from __future__ import annotations

import os
import shutil
import statistics
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

pytest.importorskip("uvicorn", reason="needs starlette and uvicorn: install interactify[app]")
pytest.importorskip("starlette", reason="needs starlette and uvicorn: install interactify[app]")
pytest.importorskip("httpx", reason="needs httpx: install interactify[test]")
driver = pytest.importorskip("playwright.sync_api", reason="needs playwright: install interactify[test]")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
if CHROMIUM is None:
    pytest.skip("needs a chromium on the path: apt-get install chromium", allow_module_level=True)

import interactify  # noqa: E402
from interactify import zoo  # noqa: E402
from tests import networks  # noqa: E402
from tests.served import Command, served  # noqa: E402

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


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with driver.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    named = os.environ.get("INTERACTIFY_SHOTS")
    folder = Path(named) if named else tmp_path_factory.mktemp("shots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def folder(tmp_path: Path, photo) -> Path:
    """A folder with a network and two photos."""
    (tmp_path / "network_for_page.py").write_text(NETWORK)
    (tmp_path / "photos").mkdir()
    big = Image.fromarray(photo).resize((400, 288))
    big.save(tmp_path / "photos" / "first.png")
    big.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / "photos" / "second.png")
    return tmp_path


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


@pytest.fixture
def tab(browser: Any) -> Iterator[Callable[..., Tab]]:
    """Opens tabs, and sees that none has told of an error."""
    tabs: list[Tab] = []

    def opens(address: str, **options: Any) -> Tab:
        tabs.append(Tab(browser, address, **options))
        return tabs[-1]

    yield opens
    for each in tabs:
        each.close()
        assert not each.errors


def test_a_session_with_the_mouse_that_outlives_a_killed_server(tab, folder, shots):
    words = (folder / "photos", "--out", folder / "out", "--model", "network_for_page:build")
    with Command(*words, folder=folder) as command:
        page = tab(command.address)
        plain = page.seen()
        page.click(0.5, 0.45)
        page.said(1)
        page.click(0.2, 0.3, button="right")
        page.said(2)
        page.drag((0.4, 0.5), (0.5, 0.55), (0.6, 0.5))
        page.said(3)
        page.page.keyboard.down("Shift")
        page.drag((0.3, 0.2), (0.75, 0.8))
        page.page.keyboard.up("Shift")
        page.said(4)
        assert page.names() == ["Click", "Click", "Scribble", "Box"]
        assert page.page.locator("#said li .sign.no").count() == 1
        assert page.seen() != plain
        page.page.screenshot(path=shots / "gestures.png")
        page.page.keyboard.press("Control+z")
        page.said(3)
        page.page.keyboard.press("Control+Shift+z")
        page.said(4)
        page.page.mouse.move(*page.place(0.2, 0.3))
        page.page.keyboard.press("x")
        page.said(3)
        assert page.page.locator("#said li .sign.no").count() == 0
        page.page.keyboard.press("e")
        page.drag((0.5, 0.45), (0.55, 0.45))
        page.said(4)
        assert page.names()[-1] == "Erased"
        page.page.keyboard.press("o")
        driver.expect(page.page.locator("#objects li")).to_have_count(2, timeout=SLOW)
        page.page.keyboard.press("c")
        page.click(0.3, 0.7)
        page.said(1)
        page.page.keyboard.press(",")
        page.said(4)
        page.page.keyboard.press("d")
        driver.expect(page.page.locator("#photo-name")).to_have_text("second.png")
        page.opened()
        page.click(0.5, 0.5)
        page.said(1)
        driver.expect(page.page.locator("#progress-text")).to_have_text("1 done, 1 open")
        with page.page.expect_download() as download:
            page.page.click("#export")
            page.page.screenshot(path=shots / "export.png")
            page.page.click("#export-which button:nth-child(2)")
            page.page.click("#export-go")
        names = zipfile.ZipFile(download.value.path()).namelist()
        assert {"annotations.json", "labels/first.png", "labels/second.png", "png/second-1-object-1.png"} <= set(names)
        page.click(0.3, 0.3)  # nothing but the journal has this one
        page.said(2)
        masks = page.seen()
        command.kill()
    with Command(*words, folder=folder) as command:
        again = tab(command.address)
        driver.expect(again.page.locator("#photo-name")).to_have_text("second.png")
        again.said(2)
        assert again.seen() == masks
        again.page.reload()
        again.opened()
        again.said(2)
        assert again.seen() == masks
        again.page.keyboard.press("p")
        driver.expect(again.page.locator("#photo-name")).to_have_text("first.png")
        again.said(4)
        driver.expect(again.page.locator("#objects li")).to_have_count(2)
        again.page.keyboard.press("Control+z")  # what was undone before the server was killed can be undone after it
        driver.expect(again.page.locator("#objects li .detail").nth(1)).to_have_text("nothing said", timeout=SLOW)


def test_several_classes_views_and_the_keyboard_alone(tab, folder, shots):
    with serving(folder, classes=4) as address:
        page = tab(address, color_scheme="dark")
        keys = page.page.keyboard
        driver.expect(page.page.locator("#classes button")).to_have_count(5)
        keys.press("3")
        page.click(0.5, 0.45)
        page.said(1)
        assert page.names() == ["Click · class 2"]
        for _ in range(3):
            keys.press("v")
        driver.expect(page.page.locator("#views [aria-checked=true]")).to_have_text("Classes")
        page.page.wait_for_timeout(300)
        assert page.seen()[1] > 0.3
        page.page.screenshot(path=shots / "classes.png")
        keys.press("v")
        keys.press("0")
        page.page.focus("#stage")
        for _ in range(5):
            keys.press("ArrowLeft")
        keys.press("Shift+ArrowUp")
        keys.press("Enter")
        page.said(2)
        keys.press("ArrowDown")
        keys.press("Shift+Enter")
        page.said(3)
        assert page.page.locator("#said li .sign.no").count() == 1
        keys.press("b")
        keys.press("Enter")
        for _ in range(4):
            keys.press("ArrowRight")
            keys.press("ArrowDown")
        keys.press("Enter")
        page.said(4)
        assert page.names()[-1] == "Box"
        assert "covers" in page.page.inner_text("#live")
        keys.press("x")  # what is under the crosshair: the box's corner
        page.said(3)
        before = page.seen()
        keys.down("q")
        assert page.seen()[1] == 0
        keys.up("q")
        assert page.seen() == before
        keys.press("?")
        driver.expect(page.page.locator("#help-dialog")).to_be_visible()
        page.page.screenshot(path=shots / "help.png")
        keys.press("Escape")
        driver.expect(page.page.locator("#help-dialog")).to_be_hidden()


def test_many_classes_are_found_by_name(tab, folder, shots):
    with serving(folder, classes=40) as address:
        page = tab(address)
        keys = page.page.keyboard
        keys.press("/")
        keys.type("CLASS 31")
        driver.expect(page.page.locator("#classes button:visible")).to_have_count(2)  # it, and the one that is chosen
        keys.press("Enter")
        driver.expect(page.page.locator("#classes [aria-checked=true]")).to_have_text("class 31")
        driver.expect(page.page.locator("#classes [aria-checked=true]")).to_be_in_viewport()
        page.click(0.5, 0.5)
        page.said(1)
        assert page.names() == ["Click · class 31"]
        for _ in range(8):
            keys.press("o")
        driver.expect(page.page.locator("#objects li")).to_have_count(9, timeout=SLOW)
        driver.expect(page.page.locator("#objects li").last).to_be_in_viewport()
        page.click(0.4, 0.4)
        page.said(1)
        driver.expect(page.page.locator("#said li").first).to_be_in_viewport()  # with all this above it
        page.page.screenshot(path=shots / "many-classes.png")


def test_touch_zoom_and_a_tablet(tab, folder, shots):
    with serving(folder) as address:
        page = tab(address, has_touch=True)
        page.page.set_viewport_size({"width": 820, "height": 1180})
        page.page.wait_for_timeout(100)
        page.page.click("#signs button:nth-child(2)")
        page.page.touchscreen.tap(*page.place(0.5, 0.5))
        page.said(1)
        assert page.page.locator("#said li .sign.no").count() == 1
        zoom = page.page.inner_text("#zoom")
        page.page.mouse.move(*page.place(0.5, 0.5))
        page.page.mouse.wheel(0, -300)
        driver.expect(page.page.locator("#zoom")).not_to_have_text(zoom)
        page.page.keyboard.down("Space")
        page.drag((0.5, 0.5), (0.6, 0.6))
        page.page.keyboard.up("Space")
        page.said(1)
        page.page.keyboard.press("f")
        driver.expect(page.page.locator("#zoom")).to_have_text(zoom)
        page.pinch((0.5, 0.5), 0.1, 0.3)
        driver.expect(page.page.locator("#zoom")).to_have_text(f"{3 * int(zoom.split()[0])} %")
        page.pinch((0.5, 0.5), 0.3, 0.1)
        driver.expect(page.page.locator("#zoom")).to_have_text(zoom)
        page.said(1)
        page.page.screenshot(path=shots / "tablet.png")


SHOWN = """async () => {
  const copy = () => {
    const { width, height } = document.getElementById("overlay");
    const context = new OffscreenCanvas(width, height).getContext("2d");
    context.drawImage(document.getElementById("overlay"), 0, 0);
    return context.getImageData(0, 0, width, height).data;
  };
  window.apart = (a, b, least = 0) => {
    let count = 0;
    for (let k = 3; k < a.length; k += 4) count += Math.abs(a[k] - b[k]) > least;
    return count / (a.length / 4);
  };
  window.anew = async () => {
    const { layers } = await import("/static/page.js");
    const { drawOverlay } = await import("/static/screen.js");
    const before = copy();
    layers.drawn = null;
    drawOverlay();
    return apart(before, copy());
  };
  window.shown = [];
  window.seen = {};
  document.addEventListener("interactify:shown", ({ detail }) => {
    shown.push(detail);
    seen[detail.kind] = copy();
  });
}"""


def test_from_the_hand_to_the_screen(tab, tmp_path, shots):
    """What the page adds to the refinement on 2000 × 1500 pixels; a busy machine is given leave to be slower."""
    Image.open(zoo.photos()[0].path).resize((2000, 1500)).save(tmp_path / "large.jpg")
    net = interactify.wrap(zoo.load())
    with served(net, [tmp_path / "large.jpg"], tmp_path / "out") as (_, door):
        page = tab(door.address())
        page.page.evaluate(SHOWN)
        for k, (x, y) in enumerate(
            [(0.5, 0.5), (0.3, 0.3), (0.6, 0.6), (0.7, 0.25), (0.4, 0.6), (0.45, 0.45), (0.3, 0.7)]
        ):
            page.click(x, y, button="right" if k % 2 else "left")
            page.said(k + 1)
            page.page.wait_for_timeout(200)
            assert page.page.evaluate("apart(seen.first, seen.done, 60)") < 0.01, "what came first is what came"
            assert page.page.evaluate("anew()") == 0, "what was drawn in parts is what is drawn as a whole"
        page.page.screenshot(path=shots / "large.png")
        added = {
            kind: [each["total"] - each["ms"] for each in page.page.evaluate("shown") if each["kind"] == kind]
            for kind in ("first", "done")
        }
        assert len(added["first"]) == len(added["done"]) == 7
        for kind, all_of_them in added.items():
            print(f"{kind}: median {statistics.median(all_of_them):.0f} ms of {sorted(map(round, all_of_them))}")
        assert statistics.median(added["first"]) < statistics.median(added["done"]) < 300


@pytest.mark.parametrize("view", ["fill", "outline", "cutout"])
def test_what_is_drawn_in_parts_at_any_zoom(tab, tmp_path, view):
    """Zoomed in, moved, with two objects, and with a mask that is not wholly seen."""
    Image.open(zoo.photos()[0].path).resize((1600, 1200)).save(tmp_path / "large.jpg")
    with served(interactify.wrap(zoo.load()), [tmp_path / "large.jpg"], tmp_path / "out") as (_, door):
        page = tab(door.address())
        page.page.evaluate(SHOWN)
        for _ in range(("fill", "outline", "cutout").index(view)):
            page.page.keyboard.press("v")
        page.click(0.5, 0.5)
        page.said(1)
        page.page.keyboard.press("o")
        driver.expect(page.page.locator("#objects li")).to_have_count(2, timeout=SLOW)
        page.page.mouse.move(*page.place(0.4, 0.4))
        page.page.mouse.wheel(0, -500)
        page.click(0.3, 0.6)
        page.said(1)
        assert page.page.evaluate("anew()") == 0
        page.click(0.35, 0.5, button="right")
        page.said(2)
        assert page.page.evaluate("anew()") == 0
        page.page.keyboard.press("f")
        page.page.keyboard.press("Control+z")
        page.said(1)
        page.page.wait_for_timeout(100)
        assert page.page.evaluate("anew()") == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(tab, folder, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs interactify[test]").Axe()
    with serving(folder, classes=4) as address:
        page = tab(address, color_scheme=scheme)
        page.click(0.5, 0.5)
        page.said(1)
        found = []
        for opened in ("", "#help", "#export"):
            if opened:
                page.page.click(opened)
            told = axe.run(page.page, options={"resultTypes": ["violations"]}).response
            assert len(told["passes"]) > 10, "it has looked"
            found += [
                (opened, each["id"], each["impact"], [node["html"][:120] for node in each["nodes"]][:3])
                for each in told["violations"]
            ]
            if opened:
                page.page.keyboard.press("Escape")
        print(*found, sep="\n")
        assert not [each for each in found if each[2] in ("serious", "critical")]
