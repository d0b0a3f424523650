"""The page in a real browser: gestures, keys, reloading, a killed server, export; no error on its console.

Screenshots are left in the folder that INTERACTIFY_SHOTS names (a temporary one by default), to be looked at.
"""

from __future__ import annotations

import statistics
import zipfile
from math import inf

import pytest
from PIL import Image

import interactify
from interactify import client, zoo
from interactify.app.at_service import AtService
from interactify.app.lessons import Plan
from interactify.refinement.result import Result, Unsatisfied
from tests.fixtures import networks, red_photos, service
from tests.fixtures.browser import SLOW, driver, serving  # first: it skips this module where there is no browser
from tests.fixtures.served import Command, served


def test_a_session_with_the_mouse_survives_a_killed_server(tab, folder, shots):
    words = (folder / "photos", "--out", folder / "out", "--model", "network_for_page:build", "--resolution", "128")
    with Command(*words, folder=folder) as command:
        page = tab(command.address)
        initial = page.overlay()
        page.click(0.5, 0.45)
        page.wait_for_interactions(1)
        page.click(0.2, 0.3, button="right")
        page.wait_for_interactions(2)
        page.drag((0.4, 0.5), (0.5, 0.55), (0.6, 0.5))
        page.wait_for_interactions(3)
        page.page.keyboard.down("Shift")
        page.drag((0.3, 0.2), (0.75, 0.8))
        page.page.keyboard.up("Shift")
        page.wait_for_interactions(4)
        assert page.names() == ["Click", "Click", "Scribble", "Box"]
        assert page.page.locator("#interactions li .sign.no").count() == 1
        assert page.overlay() != initial
        page.page.screenshot(path=shots / "gestures.png")
        page.page.keyboard.press("Control+z")
        page.wait_for_interactions(3)
        page.page.keyboard.press("Control+Shift+z")
        page.wait_for_interactions(4)
        page.page.mouse.move(*page.place(0.2, 0.3))
        page.page.keyboard.press("x")
        page.wait_for_interactions(3)
        assert page.page.locator("#interactions li .sign.no").count() == 0
        page.page.keyboard.press("e")
        page.drag((0.5, 0.45), (0.55, 0.45))
        page.wait_for_interactions(4)
        assert page.names()[-1] == "Erased"
        page.page.keyboard.press("o")
        driver.expect(page.page.locator("#objects li")).to_have_count(2, timeout=SLOW)
        page.page.keyboard.press("c")
        page.click(0.3, 0.7)
        page.wait_for_interactions(1)
        page.page.keyboard.press(",")
        page.wait_for_interactions(4)
        page.page.keyboard.press("d")
        driver.expect(page.page.locator("#photo-name")).to_have_text("second.png")
        page.opened()
        page.click(0.5, 0.5)
        page.wait_for_interactions(1)
        driver.expect(page.page.locator("#progress-text")).to_have_text("1 done, 1 open")
        with page.page.expect_download() as download:
            page.page.click("#export")
            page.page.screenshot(path=shots / "export.png")
            page.page.click("#export-which button:nth-child(2)")
            page.page.click("#export-go")
        names = zipfile.ZipFile(download.value.path()).namelist()
        assert {"annotations.json", "labels/first.png", "labels/second.png", "png/second-1-object-1.png"} <= set(names)
        page.click(0.3, 0.3)  # only the journal has this one
        page.wait_for_interactions(2)
        masks = page.overlay()
        command.kill()
    with Command(*words, folder=folder) as command:
        again = tab(command.address)
        driver.expect(again.page.locator("#photo-name")).to_have_text("second.png")
        again.wait_for_interactions(2)
        assert again.overlay() == masks
        again.page.reload()
        again.opened()
        again.wait_for_interactions(2)
        assert again.overlay() == masks
        again.page.keyboard.press("p")
        driver.expect(again.page.locator("#photo-name")).to_have_text("first.png")
        again.wait_for_interactions(4)
        driver.expect(again.page.locator("#objects li")).to_have_count(2)
        again.page.keyboard.press("Control+z")  # actions from before the kill can be undone after it
        driver.expect(again.page.locator("#objects li .detail").nth(1)).to_have_text("no interactions", timeout=SLOW)


def test_a_network_at_a_service_which_goes_away_and_comes_back(tab, folder, shots):
    net = interactify.wrap(networks.seeded(networks.Plain), max_evaluations=8)
    photos, store = sorted((folder / "photos").iterdir()), folder / "s.db"
    with service.serving(net, store) as (address, _):
        there = AtService(client.connect(address, patience=inf))
        pages = served(there, photos, folder / "out")
        access = pages.__enter__()[1]
        page = tab(access.address())
        keys, away = page.page.keyboard, page.page.locator("#away")
        initial = page.overlay()
        page.click(0.5, 0.45)
        page.wait_for_interactions(1)
        page.click(0.2, 0.3, button="right")
        page.drag((0.4, 0.5), (0.5, 0.55), (0.6, 0.5))
        page.wait_for_interactions(3)
        keys.press("k")
        driver.expect(page.page.locator("#result")).to_contain_text("newest: wide", timeout=SLOW)
        keys.press("l")
        page.drag((0.3, 0.2), (0.7, 0.2), (0.7, 0.8), (0.3, 0.8), (0.3, 0.2))
        page.wait_for_interactions(4)
        assert page.names() == ["Click", "Click", "Scribble", "Lasso"]
        keys.press("c")
        keys.press("Control+z")
        page.wait_for_interactions(3)
        masks = page.overlay()
        keys.down("w")
        page.page.wait_for_function(
            "async () => (await import('/static/page.js')).layers.initial !== null", timeout=SLOW
        )
        assert page.overlay() != masks
        keys.up("w")
        assert page.overlay() == masks != initial
        driver.expect(away).to_be_hidden()
    try:
        driver.expect(away).to_contain_text("Waiting for the service", timeout=SLOW)
        for k in range(7):  # a browser has six connections to one server
            page.click(0.3 + 0.05 * k, 0.7)
        driver.expect(page.page.locator("#interactions li.pending")).to_have_count(7)
        assert page.page.evaluate("async () => (await fetch('/api/project')).ok"), "none of them is held"
        page.page.screenshot(path=shots / "service-away.png")
        with service.serving(net, store, port=int(address.rsplit(":", 1)[1])):
            page.wait_for_interactions(10)
            driver.expect(away).to_be_hidden(timeout=SLOW)
            page.page.screenshot(path=shots / "service-back.png")
            page.page.reload()
            page.opened()
            page.wait_for_interactions(10)
    finally:
        pages.__exit__(None, None, None)


def test_several_classes_views_and_the_keyboard_alone(tab, folder, shots):
    with serving(folder, classes=4) as address:
        page = tab(address, color_scheme="dark")
        keys = page.page.keyboard
        driver.expect(page.page.locator("#classes button")).to_have_count(5)
        keys.press("3")
        page.click(0.5, 0.45)
        page.wait_for_interactions(1)
        assert page.names() == ["Click · class 2"]
        for _ in range(3):
            keys.press("v")
        driver.expect(page.page.locator("#views [aria-checked=true]")).to_have_text("Classes")
        page.page.wait_for_timeout(300)
        assert page.overlay()[1] > 0.3
        page.page.screenshot(path=shots / "classes.png")
        keys.press("v")
        keys.press("0")
        page.page.focus("#stage")
        for _ in range(5):
            keys.press("ArrowLeft")
        keys.press("Shift+ArrowUp")
        keys.press("Enter")
        page.wait_for_interactions(2)
        keys.press("ArrowDown")
        keys.press("Shift+Enter")
        page.wait_for_interactions(3)
        assert page.page.locator("#interactions li .sign.no").count() == 1
        keys.press("b")
        keys.press("Enter")
        for _ in range(4):
            keys.press("ArrowRight")
            keys.press("ArrowDown")
        keys.press("Enter")
        page.wait_for_interactions(4)
        assert page.names()[-1] == "Box"
        assert "covers" in page.page.inner_text("#live")
        keys.press("x")  # at the crosshair is the box's corner
        page.wait_for_interactions(3)
        before = page.overlay()
        keys.down("q")
        assert page.overlay()[1] == 0
        keys.up("q")
        assert page.overlay() == before
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
        driver.expect(page.page.locator("#classes button:visible")).to_have_count(2)  # the match, and the chosen one
        keys.press("Enter")
        driver.expect(page.page.locator("#classes [aria-checked=true]")).to_have_text("class 31")
        driver.expect(page.page.locator("#classes [aria-checked=true]")).to_be_in_viewport()
        page.click(0.5, 0.5)
        page.wait_for_interactions(1)
        assert page.names() == ["Click · class 31"]
        for _ in range(8):
            keys.press("o")
        driver.expect(page.page.locator("#objects li")).to_have_count(9, timeout=SLOW)
        driver.expect(page.page.locator("#objects li").last).to_be_in_viewport()
        page.click(0.4, 0.4)
        page.wait_for_interactions(1)
        driver.expect(page.page.locator("#interactions li").first).to_be_in_viewport()  # with all this above it
        page.page.screenshot(path=shots / "many-classes.png")


def test_touch_zoom_and_a_tablet(tab, folder, shots):
    with serving(folder) as address:
        page = tab(address, has_touch=True)
        page.page.set_viewport_size({"width": 820, "height": 1180})
        page.page.wait_for_timeout(100)
        page.page.click("#signs button:nth-child(2)")
        page.page.touchscreen.tap(*page.place(0.5, 0.5))
        page.wait_for_interactions(1)
        assert page.page.locator("#interactions li .sign.no").count() == 1
        zoom = page.page.inner_text("#zoom")
        page.page.mouse.move(*page.place(0.5, 0.5))
        page.page.mouse.wheel(0, -300)
        driver.expect(page.page.locator("#zoom")).not_to_have_text(zoom)
        page.page.keyboard.down("Space")
        page.drag((0.5, 0.5), (0.6, 0.6))
        page.page.keyboard.up("Space")
        page.wait_for_interactions(1)
        page.page.keyboard.press("f")
        driver.expect(page.page.locator("#zoom")).to_have_text(zoom)
        page.pinch((0.5, 0.5), 0.1, 0.3)
        driver.expect(page.page.locator("#zoom")).to_have_text(f"{3 * int(zoom.split()[0])} %")
        page.pinch((0.5, 0.5), 0.3, 0.1)
        driver.expect(page.page.locator("#zoom")).to_have_text(zoom)
        page.wait_for_interactions(1)
        page.page.screenshot(path=shots / "tablet.png")


SHOWN = """element => {
  const text = document.createRange();
  text.selectNodeContents(element);
  const { left, top, right, bottom } = text.getBoundingClientRect();
  let shown = right - left > 0 && left >= 0 && top >= 0 && right <= innerWidth && bottom <= innerHeight;
  for (let outer = element; outer && shown; outer = outer.parentElement) {
    const { overflowX, overflowY } = getComputedStyle(outer);
    const box = outer.getBoundingClientRect();
    if (overflowX !== "visible") shown &&= left >= box.left - 1 && right <= box.right + 1;
    if (overflowY !== "visible") shown &&= top >= box.top - 1 && bottom <= box.bottom + 1;
  }
  return shown;
}"""


LONGEST = "the network can't be brought there: no step lowers the energy further; the best that was found is shown"
UNBROKEN = f"it ended at {'encoder.blocks.stage4.unit3.attention.projection' * 2}; the best that was found is shown"


@pytest.mark.parametrize(("classes", "why"), [(1, LONGEST), (40, LONGEST), (1, UNBROKEN)])
def test_the_whole_reason_why_a_click_is_not_satisfied_is_shown(tab, folder, shots, monkeypatch, classes, why):
    unsatisfied = property(lambda result: tuple(Unsatisfied(each, 0.02, why) for each in result.interactions))
    monkeypatch.setattr(Result, "unsatisfied", unsatisfied)
    with serving(folder, classes=classes) as address:
        page = tab(address)
        for k, place in enumerate(((0.5, 0.45), (0.3, 0.3))):
            page.click(*place)
            page.wait_for_interactions(k + 1)
        page.page.screenshot(path=shots / f"reason-{classes}-{len(why)}.png")
        reasons = page.page.locator("#interactions .reason")
        assert reasons.all_inner_texts() == [f"2% likely: {why}"] * 2
        assert reasons.first.evaluate(SHOWN), "of the latest click, without scrolling"
        reasons.last.scroll_into_view_if_needed()
        assert reasons.last.evaluate(SHOWN)


MEASURE = """async () => {
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
  window.redraw = async () => {
    const { layers } = await import("/static/page.js");
    const { drawOverlay } = await import("/static/screen.js");
    const before = copy();
    layers.drawn = null;
    drawOverlay();
    return apart(before, copy());
  };
  window.timings = [];
  window.drawings = {};
  document.addEventListener("interactify:drawn", ({ detail }) => {
    timings.push(detail);
    drawings[detail.kind] = copy();
  });
}"""


def test_time_from_the_pointer_to_the_screen(tab, tmp_path, shots):
    """The time that the page adds to the refinement on 2000 × 1500 pixels; the limit allows for a busy machine."""
    Image.open(zoo.photos()[0].path).resize((2000, 1500)).save(tmp_path / "large.jpg")
    net = interactify.wrap(networks.slim_saliency())
    with served(net, [tmp_path / "large.jpg"], tmp_path / "out") as (_, access):
        page = tab(access.address())
        page.page.evaluate(MEASURE)
        for k, (x, y) in enumerate(
            [(0.5, 0.5), (0.3, 0.3), (0.6, 0.6), (0.7, 0.25), (0.4, 0.6), (0.45, 0.45), (0.3, 0.7)]
        ):
            page.click(x, y, button="right" if k % 2 else "left")
            page.wait_for_interactions(k + 1)
            page.page.wait_for_timeout(200)
            assert page.page.evaluate("apart(drawings.first, drawings.done, 60)") < 0.01, "both masks are equal"
            assert page.page.evaluate("redraw()") == 0, "partial drawing gives the same as full drawing"
        page.page.screenshot(path=shots / "large.png")
        added = {
            kind: [each["total"] - each["ms"] for each in page.page.evaluate("timings") if each["kind"] == kind]
            for kind in ("first", "done")
        }
        assert len(added["first"]) == len(added["done"]) == 7
        for kind, all_of_them in added.items():
            print(f"{kind}: median {statistics.median(all_of_them):.0f} ms of {sorted(map(round, all_of_them))}")
        assert statistics.median(added["first"]) < statistics.median(added["done"]) < 300


@pytest.mark.parametrize("view", ["fill", "outline", "cutout"])
def test_partial_drawing_at_any_zoom(tab, tmp_path, view):
    """Zoomed in, moved, with two objects, and with a mask that is partly outside the screen."""
    Image.open(zoo.photos()[0].path).resize((1600, 1200)).save(tmp_path / "large.jpg")
    with served(
        interactify.wrap(networks.slim_saliency(), resolution=96), [tmp_path / "large.jpg"], tmp_path / "out"
    ) as (_, access):
        page = tab(access.address())
        page.page.evaluate(MEASURE)
        for _ in range(("fill", "outline", "cutout").index(view)):
            page.page.keyboard.press("v")
        page.click(0.5, 0.5)
        page.wait_for_interactions(1)
        page.page.keyboard.press("o")
        driver.expect(page.page.locator("#objects li")).to_have_count(2, timeout=SLOW)
        page.page.mouse.move(*page.place(0.4, 0.4))
        page.page.mouse.wheel(0, -500)
        page.click(0.3, 0.6)
        page.wait_for_interactions(1)
        page.page.wait_for_timeout(100)  # the lists are filled before the screen's next frame
        assert page.page.evaluate("redraw()") == 0
        page.click(0.35, 0.5, button="right")
        page.wait_for_interactions(2)
        page.page.wait_for_timeout(100)
        assert page.page.evaluate("redraw()") == 0
        page.page.keyboard.press("f")
        page.page.keyboard.press("Control+z")
        page.wait_for_interactions(1)
        page.page.wait_for_timeout(100)
        assert page.page.evaluate("redraw()") == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(tab, folder, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs interactify[test]").Axe()
    with serving(folder, classes=4) as address:
        page = tab(address, color_scheme=scheme)
        page.click(0.5, 0.5)
        page.wait_for_interactions(1)
        found = []
        for dialog in ("", "#help", "#export"):
            if dialog:
                page.page.click(dialog)
            report = axe.run(page.page, options={"resultTypes": ["violations"]}).response
            assert len(report["passes"]) > 10, "axe has run"
            found += [
                (dialog, each["id"], each["impact"], [node["html"][:120] for node in each["nodes"]][:3])
                for each in report["violations"]
            ]
            if dialog:
                page.page.keyboard.press("Escape")
        print(*found, sep="\n")
        assert not [each for each in found if each[2] in ("serious", "critical")]


def test_the_page_says_that_it_learns_and_what_came_out(tab, tmp_path):
    (tmp_path / "photos").mkdir()
    photos = [tmp_path / f"photos/{number}.png" for number in range(4)]
    for number, path in enumerate(photos):
        Image.fromarray(red_photos.red_photo(number)[0]).save(path)
    plan = Plan("absent_module:build", {}, every=3)  # its process fails
    with served(red_photos.wrapped(), photos, tmp_path / "out", plan=plan, order="uncertain") as (_, access):
        page = tab(access.address())
        name = page.page.locator("#photo-name")
        answers = []
        page.page.route("**/next?*", lambda route: answers.append(route))  # an answer that comes when it is let go
        for done in (1, 2, 3):
            page.opened()
            before = name.inner_text()
            page.page.keyboard.press("d")
            driver.expect(page.page.locator("#photo-status")).to_have_text("done", timeout=SLOW)
            page.page.keyboard.press("d")  # pressed again before the next photo is there: it must not reopen this one
            while not answers:
                page.page.wait_for_timeout(20)
            answers.pop().continue_()
            driver.expect(name).not_to_have_text(before, timeout=SLOW)
            driver.expect(page.page.locator("#progress-text")).to_have_text(f"{done} done, {4 - done} open")
        driver.expect(page.page.locator("#photo-status")).to_be_hidden()  # the one that is open still
        driver.expect(page.page.locator("#learning")).to_be_visible(timeout=SLOW)
        driver.expect(page.page.locator("#notices")).to_contain_text("Learning failed: Expected a module", timeout=SLOW)
        driver.expect(page.page.locator("#learning")).to_be_hidden()
