"""The page with hasty users: held keys, names typed while masks come, drags beside the photo, slow responses."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import pytest

from interactify.app.store.stored_session import StoredSession
from interactify.session.session import Session
from tests.fixtures.browser import SLOW, Tab, driver, serving  # it skips this module where there is no browser


@pytest.fixture
def slowly(monkeypatch) -> Callable[[float], None]:
    """Makes each click take the given seconds longer."""
    add, remove, seconds = Session.add, Session.remove, [0.0]

    def delayed(method):
        def run(self, *given):
            with self.control.turn(supersede=True):
                time.sleep(seconds[0])
            return method(self, *given)

        return run

    monkeypatch.setattr(Session, "add", delayed(add))
    monkeypatch.setattr(Session, "remove", delayed(remove))
    return lambda longer: seconds.__setitem__(0, longer)


def interactions(page: Tab) -> list[dict]:
    """The interactions, as the server reports them."""
    return page.page.evaluate("async () => (await import('/static/page.js')).session.state.interactions")


@contextmanager
def key_down(page: Tab, key: str):
    page.page.keyboard.down(key)
    yield
    page.page.keyboard.up(key)


def test_a_name_is_typed_in_peace(tab, folder, slowly):
    with serving(folder) as address:
        page = tab(address)
        slowly(1.0)
        page.click(0.5, 0.5)
        page.page.get_by_label("Rename object 1").click()
        page.page.keyboard.type("red door", delay=200)  # the mask comes at the same time
        page.wait_for_interactions(1)
        page.page.keyboard.press("Enter")
        driver.expect(page.page.locator("#objects li .name")).to_have_text("red door", timeout=SLOW)
        assert page.page.locator("#objects li").count() == 1, "o is a letter here, and no other object"


def test_an_action_with_an_index_waits_for_the_running_one(tab, folder, slowly):
    with serving(folder) as address:
        page = tab(address)
        for count, x in enumerate((0.35, 0.5, 0.65), 1):
            page.click(x, 0.5)
            page.wait_for_interactions(count)
        slowly(0.5)
        page.page.mouse.move(*page.place(0.35, 0.5))
        page.page.keyboard.press("x")
        page.page.keyboard.press("x")
        page.drag((0.5, 0.5), (0.5, 0.7))
        page.wait_for_interactions(2)
        page.page.wait_for_timeout(700)
        assert len(interactions(page)) == 2, "x does not remove the second one too"
        page.click(0.2, 0.8)
        driver.expect(page.page.locator("#interactions li.pending")).to_have_count(1)
        page.page.click("#undo")  # of what is still being refined
        page.wait_for_interactions(2)


def test_a_key_that_is_held_does_once_what_it_does(tab, folder):
    with serving(folder) as address:
        page = tab(address)
        page.click(0.5, 0.5)
        page.wait_for_interactions(1)
        for _ in range(6):  # as a held key repeats
            page.page.keyboard.down("o")
        page.page.keyboard.up("o")
        driver.expect(page.page.locator("#objects li")).to_have_count(2, timeout=SLOW)
        for _ in range(6):
            page.page.keyboard.down("d")
        page.page.keyboard.up("d")
        driver.expect(page.page.locator("#progress-text")).to_have_text("1 done, 1 open")
        page.opened()


def test_space_moves_the_photo_wherever_the_keyboard_is(tab, folder):
    with serving(folder) as address:
        page = tab(address)
        page.page.click("#zoom-in")
        page.page.click("#zoom-in")
        page.page.mouse.move(*page.place(0.5, 0.5))
        with key_down(page, "Space"):
            page.drag((0.5, 0.5), (0.6, 0.6))
        assert not interactions(page)


def test_strokes_stay_where_they_are_drawn(tab, folder):
    with serving(folder) as address:
        page = tab(address)
        start = page.page.evaluate(
            "async ([x, y]) => { const { view, stage } = await import('/static/page.js');"
            "const { left, top } = stage.getBoundingClientRect(); return view.pixel(x - left, y - top); }",
            list(page.place(0.45, 0.45)),
        )
        page.page.mouse.move(*page.place(0.45, 0.45))
        page.page.mouse.down()
        page.page.mouse.move(*page.place(0.5, 0.5), steps=4)
        page.page.mouse.wheel(0, -300)
        page.page.mouse.move(*page.place(0.55, 0.5), steps=4)
        page.page.mouse.up()
        page.wait_for_interactions(1)
        assert interactions(page)[0]["points"][0] == start
        page.page.keyboard.press("f")
        page.click(0.3, 0.3)
        page.wait_for_interactions(2)
        with key_down(page, "Shift"):  # from the disc of a click, a box all the same
            page.drag((0.3, 0.3), (0.6, 0.6))
        page.wait_for_interactions(3)
        assert page.names() == ["Scribble", "Click", "Box"]
        stage = page.page.locator("#stage").bounding_box()
        edge = 8 / stage["width"]
        page.drag((edge, 0.3), (edge, 0.6))  # beside the photo
        page.page.keyboard.press("b")
        page.drag((edge, 0.3), (edge / 2, 0.6))
        page.page.wait_for_timeout(200)
        page.wait_for_interactions(3)


def test_a_click_before_the_first_mask(tab, folder, monkeypatch):
    opened = StoredSession.restore

    def later(self):
        time.sleep(1.0)
        return opened(self)

    with serving(folder) as address:
        page = tab(address)
        monkeypatch.setattr(StoredSession, "restore", later)
        page.page.keyboard.press("n")
        driver.expect(page.page.locator("#waiting-text")).to_have_text("Running the network …", timeout=SLOW)
        page.click(0.5, 0.5)
        page.wait_for_interactions(1)
        page.page.keyboard.press("Control+z")
        page.wait_for_interactions(0)


def test_a_peek_that_is_shorter_than_its_request(tab, folder):
    with serving(folder) as address:
        page = tab(address)
        requested = []

        def late(route):
            requested.append(route.request.url)
            page.page.wait_for_timeout(400)
            route.continue_()

        page.page.route("**/initial", late)
        page.click(0.2, 0.2)
        page.wait_for_interactions(1)
        before = page.overlay()
        with key_down(page, "w"):
            page.page.keyboard.down("w")
        page.page.wait_for_timeout(700)
        assert page.overlay() == before and len(requested) == 1
        assert not page.page.locator("#marks.hidden").count()
        page.page.mouse.move(*page.place(0.2, 0.2))
        page.page.keyboard.press("ArrowLeft")
        page.page.mouse.move(*page.place(0.21, 0.2))
        page.page.mouse.move(*page.place(0.2, 0.2))
        page.page.keyboard.press("x")  # the mark at the pointer, no longer at the crosshair
        page.wait_for_interactions(0)


def test_the_keyboard_keeps_its_place(tab, folder):
    with serving(folder) as address:
        page = tab(address)
        focused = "() => document.activeElement.dataset.id ?? document.activeElement.id"
        for count, x in enumerate((0.3, 0.6), 1):
            page.click(x, 0.5)
            page.wait_for_interactions(count)
        page.page.keyboard.press("o")
        driver.expect(page.page.locator("#objects li")).to_have_count(2, timeout=SLOW)
        page.page.locator("#objects .pick").first.focus()
        page.page.keyboard.press("Enter")
        page.wait_for_interactions(2)
        assert page.page.evaluate(focused) == "pick object 1"
        page.page.locator("#interactions button").first.focus()
        page.page.keyboard.press("Enter")
        page.wait_for_interactions(1)
        assert page.page.evaluate(focused).startswith("Remove click")
        page.page.focus("#reset")
        page.page.keyboard.press("Enter")
        page.wait_for_interactions(0)
        assert page.page.evaluate(focused) == "stage"


def test_other_keyboards(tab, folder):
    with serving(folder, classes=4) as address:
        page = tab(address)
        page.click(0.5, 0.5)
        page.wait_for_interactions(1)
        tell = """([key, code, more]) => document.body.dispatchEvent(
            new KeyboardEvent("keydown", { key, code, bubbles: true, cancelable: true, ...more }))"""
        page.page.evaluate(tell, ["é", "Digit2", {}])  # AZERTY
        driver.expect(page.page.locator("#classes [aria-checked=true]")).to_have_text("class 12")
        before = page.page.input_value("#opacity")
        page.page.evaluate(tell, ["[", "Digit8", {"ctrlKey": True, "altKey": True, "modifierAltGraph": True}])
        assert page.page.input_value("#opacity") != before
        page.page.evaluate(tell, ["я", "KeyZ", {"ctrlKey": True}])  # Russian
        page.wait_for_interactions(0)


def test_the_map_of_classes_is_current(tab, folder):
    with serving(folder, classes=4) as address:
        page = tab(address)
        page.page.get_by_role("radio", name="Classes").click()
        page.page.wait_for_timeout(300)
        page.page.get_by_role("radio", name="Fill").click()
        page.page.keyboard.press("3")
        page.click(0.5, 0.45)
        page.wait_for_interactions(1)
        page.page.get_by_role("radio", name="Classes").click()
        page.page.wait_for_timeout(500)
        before = page.overlay()
        page.page.reload()
        page.opened()
        page.page.get_by_role("radio", name="Classes").click()
        page.page.wait_for_timeout(500)
        assert page.overlay() == before


def cut_off(page: Any, pattern: str) -> None:
    """Let requests fail. The browser begins to do so a moment later than it says."""
    page.route(pattern, lambda route: route.abort())
    deadline = time.monotonic() + SLOW / 1000
    while page.evaluate("() => fetch('/api/project?of=/state').then(() => true, () => false)"):
        assert time.monotonic() < deadline, "requests still come through"


def test_a_server_that_does_not_respond_is_reported(browser, folder):
    with serving(folder) as address:
        page = Tab(browser, address)
        cut_off(page.page, "**/api/**")
        for key in ("d", "w"):
            page.page.keyboard.press(key)
            driver.expect(page.page.locator("#notices p").last).to_contain_text("does not respond")
            page.page.locator("#notices button").last.click()
        page.page.unroute("**/api/**")
        cut_off(page.page, "**/state*")
        page.page.keyboard.press("n")
        driver.expect(page.page.locator("#waiting.failed")).to_be_visible(timeout=SLOW)
        page.page.unroute("**/state*")
        page.page.locator(".tile").nth(1).click()
        page.opened()
        page.click(0.5, 0.5)
        page.wait_for_interactions(1)
        assert not [error for error in page.errors if "ERR_FAILED" not in error]
        page.close()


def test_narrower_and_wider_with_keys(tab, folder, slowly):
    with serving(folder) as address:
        page = tab(address)
        slowly(0.5)
        page.click(0.5, 0.5)
        page.page.keyboard.press("k")  # it waits for the click
        page.wait_for_interactions(1)
        result = page.page.locator("#result")
        driver.expect(result).to_contain_text("newest: wide", timeout=SLOW)
        page.page.keyboard.press("k")
        driver.expect(page.page.locator("#live")).to_contain_text("widest")
        page.page.keyboard.press("j")
        driver.expect(result).not_to_contain_text("newest", timeout=SLOW)
        page.page.keyboard.press("j")
        driver.expect(result).to_contain_text("newest: narrow", timeout=SLOW)
        page.page.keyboard.press("z")
        page.wait_for_interactions(0)
