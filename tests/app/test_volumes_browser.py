"""The page with volumes in a real browser: scrolling, clicks, planes, undo, done; no error on its console."""

from __future__ import annotations

import numpy as np
import pytest

import interactify
from tests.fixtures import slices, volumes
from tests.fixtures.browser import SLOW, driver  # first: it skips this module where there is no browser
from tests.fixtures.served import served

nibabel = pytest.importorskip("nibabel", reason="needs nibabel: install interactify[test]")

SIZE = (12, 20, 24)
AFFINE = np.diag([1.0, 1.0, 2.0, 1.0])

ON_PHOTO = """async ([x, y]) => {
  const { view } = await import("/static/page.js");
  const { left, top } = document.getElementById("stage").getBoundingClientRect();
  const [u, v] = view.toScreen(x, y);
  return [left + u, top + v];
}"""
SHOWN = """async (cut) => {
  const { page: { volume }, layers, session } = await import("/static/page.js");
  const mask = layers.masks.get(session.state?.active);
  if (volume.cut !== cut || session.pending.length || volume.loading || !mask) return null;
  const read = (image) => {
    const context = new OffscreenCanvas(image.width, image.height).getContext("2d");
    context.drawImage(image, 0, 0);
    const { data } = context.getImageData(0, 0, image.width, image.height);
    return Array.from({ length: data.length / 4 }, (_, k) => [data[4 * k], data[4 * k + 3]]);
  };
  return [layers.photo, mask].map((image) => [[image.height, image.width, 2], read(image)]);
}"""


class Slices:
    """A tab with a volume in it."""

    def __init__(self, tab, access):
        self.tab = tab(access.address())
        self.page = self.tab.page

    def shown(self, cut):
        """The picture and the mask of the slice that is shown, when it is this one and its mask is there."""
        for _ in range(SLOW // 20):
            found = self.page.evaluate(SHOWN, cut)
            if found is not None:
                break
            self.page.wait_for_timeout(20)
        grey, mask = (np.array(values).reshape(size) for size, values in found)
        return grey[..., 0], mask[..., 1] > 0

    def click(self, x, y, button="left"):
        self.page.mouse.click(*self.page.evaluate(ON_PHOTO, [x, y]), button=button)

    def visible_marks(self):
        return self.page.locator("#marks .mark").count(), self.page.locator("#marks .mark.faint").count()


def test_scroll_click_undo_and_done(tab, tmp_path, shots):
    net = interactify.wrap(volumes.plain(), mean=0, std=1, max_evaluations=8)
    for name, seed in (("a", 0), ("b", 1)):
        voxels = volumes.random_volume(SIZE, seed)
        nibabel.save(nibabel.Nifti1Image(voxels.T, AFFINE), tmp_path / f"{name}.nii.gz")
    paths = [tmp_path / "a.nii.gz", tmp_path / "b.nii.gz"]
    session = net.session(paths[0])
    with served(net, paths, tmp_path / "out", volumes=True) as (_, access):
        view = Slices(tab, access)
        keys, page = view.page.keyboard, view.page

        def agrees(cut, mask):
            assert (view.shown(cut)[1] == mask).all()

        agrees("0,6", session.result.mask[6, ::-1, ::-1])
        page.mouse.move(*page.evaluate(ON_PHOTO, [12, 10]))
        page.mouse.wheel(0, 100)
        agrees("0,7", session.result.mask[7, ::-1, ::-1])
        first = view.shown("0,7")[0]
        view.click(23 - 8, 19 - 9)
        view.tab.wait_for_interactions(1)
        result = session.click(8, 9, 7)
        agrees("0,7", result.mask[7, ::-1, ::-1])
        view.click(23 - 2, 19 - 3, button="right")
        view.tab.wait_for_interactions(2)
        result = session.click(2, 3, 7, positive=False)
        agrees("0,7", result.mask[7, ::-1, ::-1])
        assert view.visible_marks() == (2, 0)
        page.screenshot(path=shots / "volume.png")
        keys.press("PageUp")
        agrees("0,8", result.mask[8, ::-1, ::-1])
        assert (view.shown("0,8")[0] != first).any()
        assert view.visible_marks() == (2, 2)
        for _ in range(3):
            keys.press(".")
        agrees("0,11", result.mask[11, ::-1, ::-1])
        assert view.visible_marks() == (0, 0)
        keys.press("a")
        agrees("1,10", result.mask[::-1, 10, ::-1].repeat(2, 0))
        assert page.locator("#slice-value").inner_text() == "y 10 / 19"
        view.click(23 - 12, 4)  # z 9
        view.tab.wait_for_interactions(3)
        result = session.click(12, 10, 9)
        agrees("1,10", result.mask[::-1, 10, ::-1].repeat(2, 0))
        page.screenshot(path=shots / "volume-coronal.png")
        keys.press("Control+z")
        view.tab.wait_for_interactions(2)
        result = session.undo()
        agrees("1,10", result.mask[::-1, 10, ::-1].repeat(2, 0))
        page.locator("#interactions li").last.click()  # to the slice of the first click
        agrees("1,9", result.mask[::-1, 9, ::-1].repeat(2, 0))
        before = view.shown("1,9")[0]
        page.locator("#level").fill("0")
        page.locator("#width").fill("0.5")
        page.wait_for_timeout(100)
        assert (view.shown("1,9")[0] != before).mean() > 0.2, "the window is another one"
        keys.press("v")
        keys.press("v")
        keys.press("v")
        driver.expect(page.locator("#views [aria-checked=true]")).to_have_text("Unsure")
        page.wait_for_function(
            "async () => (await import('/static/page.js')).layers.uncertainty !== null", timeout=SLOW
        )
        page.screenshot(path=shots / "volume-uncertain.png")
        keys.press("?")
        driver.expect(page.locator("#help-dialog")).to_contain_text("previous and next slice")
        keys.press("Escape")
        keys.press("d")
        driver.expect(page.locator("#photo-name")).to_have_text("b.nii.gz")
        view.tab.opened()
        view.shown("0,6")
    written = nibabel.load(tmp_path / "out" / "masks" / "a.nii.gz")
    assert (written.affine == AFFINE).all()
    assert (result.mask == np.asarray(written.dataobj).T).all()


def test_a_network_of_images_on_slices(tab, tmp_path, shots):
    path, net = tmp_path / "box.npy", slices.careful()
    np.save(path, slices.volume())
    session = net.slices(slices.volume())
    with served(net, [path], tmp_path / "out", volumes=True) as (_, access):
        view = Slices(tab, access)
        view.shown("0,4")
        view.click(9, 9)
        view.tab.wait_for_interactions(1)
        result = session.click(9, 9, 4)
        assert (view.shown("0,4")[1] == result.mask_of(4)).all()
        view.page.keyboard.press(",")
        assert (view.shown("0,3")[1] == result.mask_of(3)).all() and 3 in result.carried
        view.page.keyboard.press("e")
        view.page.mouse.move(*view.page.evaluate(ON_PHOTO, [8, 9]))
        view.page.mouse.down()
        view.page.mouse.move(*view.page.evaluate(ON_PHOTO, [14, 9]), steps=4)
        view.page.mouse.up()
        view.tab.wait_for_interactions(3)
        assert view.tab.names() == ["Click", "Mask that was carried here", "Erased"]
        mask = view.shown("0,3")[1]
        assert not mask[9, 8:15].any() and (mask[12:] == result.mask_of(3)[12:]).all()
        view.page.screenshot(path=shots / "volume-slices.png")
