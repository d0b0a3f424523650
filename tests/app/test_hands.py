"""The page under hasty hands: held keys, names typed while masks come, drags beside the photo, slow answers."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import contextmanager

import pytest

from interactify.session.session import Session
from tests.fixtures.browser import SLOW, Tab, driver, serving  # it skips this module where there is no browser


@pytest.fixture
def slowly(monkeypatch) -> Callable[[float], None]:
    """Has each click take so many seconds longer."""
    add, remove, seconds = Session.add, Session.remove, [0.0]

    def waits(answered):
        def answer(self, *given):
            with self.control.turn(newer=True):
                time.sleep(seconds[0])
            return answered(self, *given)

        return answer

    monkeypatch.setattr(Session, "add", waits(add))
    monkeypatch.setattr(Session, "remove", waits(remove))
    return lambda longer: seconds.__setitem__(0, longer)


def pixels(page: Tab) -> list[dict]:
    """What was said, as the server tells it."""
    return page.page.evaluate("async () => (await import('/static/page.js')).desk.told.interactions")


@contextmanager
def held(page: Tab, key: str):
    page.page.keyboard.down(key)
    yield
    page.page.keyboard.up(key)


def test_a_name_is_typed_in_peace(tab, folder, slowly):
    with serving(folder) as address:
        page = tab(address)
        slowly(1.0)
        page.click(0.5, 0.5)
        page.page.get_by_label("Rename object 1").click()
        page.page.keyboard.type("red door", delay=200)  # the mask comes meanwhile
        page.said(1)
        page.page.keyboard.press("Enter")
        driver.expect(page.page.locator("#objects li .name")).to_have_text("red door", timeout=SLOW)
        assert page.page.locator("#objects li").count() == 1, "o is a letter here, and no other object"


def test_what_an_index_means_is_waited_for(tab, folder, slowly):
    with serving(folder) as address:
        page = tab(address)
        for count, x in enumerate((0.35, 0.5, 0.65), 1):
            page.click(x, 0.5)
            page.said(count)
        slowly(0.5)
        page.page.mouse.move(*page.place(0.35, 0.5))
        page.page.keyboard.press("x")
        page.page.keyboard.press("x")
        page.drag((0.5, 0.5), (0.5, 0.7))
        page.said(2)
        page.page.wait_for_timeout(700)
        assert len(pixels(page)) == 2, "the second one is not taken for the first, which is gone"
        page.click(0.2, 0.8)
        driver.expect(page.page.locator("#said li.pending")).to_have_count(1)
        page.page.click("#undo")  # of what is still being refined
        page.said(2)


def test_a_key_that_is_held_does_once_what_it_does(tab, folder):
    with serving(folder) as address:
        page = tab(address)
        page.click(0.5, 0.5)
        page.said(1)
        for _ in range(6):  # as a key tells that is held down
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
        with held(page, "Space"):
            page.drag((0.5, 0.5), (0.6, 0.6))
        assert not pixels(page)


def test_strokes_stay_where_they_are_drawn(tab, folder):
    with serving(folder) as address:
        page = tab(address)
        begins = page.page.evaluate(
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
        page.said(1)
        assert pixels(page)[0]["points"][0] == begins
        page.page.keyboard.press("f")
        page.click(0.3, 0.3)
        page.said(2)
        with held(page, "Shift"):  # from the disc of a click, a box all the same
            page.drag((0.3, 0.3), (0.6, 0.6))
        page.said(3)
        assert page.names() == ["Scribble", "Click", "Box"]
        stage = page.page.locator("#stage").bounding_box()
        edge = 8 / stage["width"]
        page.drag((edge, 0.3), (edge, 0.6))  # beside the photo
        page.page.keyboard.press("b")
        page.drag((edge, 0.3), (edge / 2, 0.6))
        page.page.wait_for_timeout(200)
        page.said(3)


def test_what_is_said_before_the_first_mask_is_there(tab, folder, monkeypatch):
    from interactify.app.store.history import History

    opened = History.opened

    def later(self):
        time.sleep(1.0)
        return opened(self)

    with serving(folder) as address:
        page = tab(address)
        monkeypatch.setattr(History, "opened", later)
        page.page.keyboard.press("n")
        driver.expect(page.page.locator("#waiting-text")).to_have_text("The network looks at it …", timeout=SLOW)
        page.click(0.5, 0.5)
        page.said(1)
        page.page.keyboard.press("Control+z")
        page.said(0)


def test_a_look_that_is_shorter_than_the_way(tab, folder):
    with serving(folder) as address:
        page = tab(address)
        asked = []

        def late(route):
            asked.append(route.request.url)
            page.page.wait_for_timeout(400)
            route.continue_()

        page.page.route("**/plain", late)
        page.click(0.2, 0.2)
        page.said(1)
        before = page.seen()
        with held(page, "w"):
            page.page.keyboard.down("w")
        page.page.wait_for_timeout(700)
        assert page.seen() == before and len(asked) == 1
        assert not page.page.locator("#marks.hidden").count()
        page.page.mouse.move(*page.place(0.2, 0.2))
        page.page.keyboard.press("ArrowLeft")
        page.page.mouse.move(*page.place(0.21, 0.2))
        page.page.mouse.move(*page.place(0.2, 0.2))
        page.page.keyboard.press("x")  # what the pointer is at, and not the crosshair any more
        page.said(0)


def test_the_keyboard_keeps_its_place(tab, folder):
    with serving(folder) as address:
        page = tab(address)
        focused = "() => document.activeElement.dataset.what ?? document.activeElement.id"
        for count, x in enumerate((0.3, 0.6), 1):
            page.click(x, 0.5)
            page.said(count)
        page.page.keyboard.press("o")
        driver.expect(page.page.locator("#objects li")).to_have_count(2, timeout=SLOW)
        page.page.locator("#objects .pick").first.focus()
        page.page.keyboard.press("Enter")
        page.said(2)
        assert page.page.evaluate(focused) == "pick object 1"
        page.page.locator("#said button").first.focus()
        page.page.keyboard.press("Enter")
        page.said(1)
        assert page.page.evaluate(focused).startswith("Remove click")
        page.page.focus("#reset")
        page.page.keyboard.press("Enter")
        page.said(0)
        assert page.page.evaluate(focused) == "stage"


def test_other_keyboards(tab, folder):
    with serving(folder, classes=4) as address:
        page = tab(address)
        page.click(0.5, 0.5)
        page.said(1)
        tell = """([key, code, more]) => document.body.dispatchEvent(
            new KeyboardEvent("keydown", { key, code, bubbles: true, cancelable: true, ...more }))"""
        page.page.evaluate(tell, ["é", "Digit2", {}])  # AZERTY
        driver.expect(page.page.locator("#classes [aria-checked=true]")).to_have_text("class 12")
        before = page.page.input_value("#opacity")
        page.page.evaluate(tell, ["[", "Digit8", {"ctrlKey": True, "altKey": True, "modifierAltGraph": True}])
        assert page.page.input_value("#opacity") != before
        page.page.evaluate(tell, ["я", "KeyZ", {"ctrlKey": True}])  # Russian
        page.said(0)


def test_the_map_of_classes_is_of_now(tab, folder):
    with serving(folder, classes=4) as address:
        page = tab(address)
        page.page.get_by_role("radio", name="Classes").click()
        page.page.wait_for_timeout(300)
        page.page.get_by_role("radio", name="Fill").click()
        page.page.keyboard.press("3")
        page.click(0.5, 0.45)
        page.said(1)
        page.page.get_by_role("radio", name="Classes").click()
        page.page.wait_for_timeout(500)
        shown = page.seen()
        page.page.reload()
        page.opened()
        page.page.get_by_role("radio", name="Classes").click()
        page.page.wait_for_timeout(500)
        assert page.seen() == shown


def test_a_server_that_does_not_answer_is_told_of(browser, folder):
    with serving(folder) as address:
        page = Tab(browser, address)
        page.page.route("**/api/**", lambda route: route.abort())
        for key in ("d", "w"):
            page.page.keyboard.press(key)
            driver.expect(page.page.locator("#notices p").last).to_contain_text("does not answer")
            page.page.locator("#notices button").last.click()
        page.page.unroute("**/api/**")
        page.page.route("**/state*", lambda route: route.abort())
        page.page.keyboard.press("n")
        driver.expect(page.page.locator("#waiting.failed")).to_be_visible(timeout=SLOW)
        page.page.unroute("**/state*")
        page.page.locator(".tile").nth(1).click()
        page.opened()
        page.click(0.5, 0.5)
        page.said(1)
        assert not [error for error in page.errors if "ERR_FAILED" not in error]
        page.close()
