"""The simulated user, IoU and NoC against cases counted by hand."""

import numpy as np
import pytest
from PIL import Image

from interactify import OptionError
from interactify.evaluation import evaluate, folder, iou, next_click, number_of_clicks


def grid(*rows):
    return np.array([[{".": 0, "#": 1, "?": -1}[c] for c in row] for row in rows], np.int8)


def test_the_click_is_the_deepest_pixel_of_the_larger_error():
    truth = grid("........", ".###....", ".###....", ".###....", "........")
    mask = np.zeros(truth.shape, bool)
    click = next_click(truth, mask, np.zeros(truth.shape, bool))
    assert (click.x, click.y, click.positive) == (2, 2, True)


def test_the_pictures_border_counts_as_a_border():
    truth = grid("###..", "###..", "###..")
    click = next_click(truth, np.zeros(truth.shape, bool), np.zeros(truth.shape, bool))
    assert (click.x, click.y) == (1, 1)  # without the padding it would be (0, 0), the farthest from the right border


def test_a_false_positive_is_clicked_negatively_and_wins_ties():
    truth = grid("#...", "....")
    mask = np.array([[False, False, False, True], [False] * 4])
    click = next_click(truth, mask, np.zeros(truth.shape, bool))
    assert (click.x, click.y, click.positive) == (3, 0, False)


def test_unknown_pixels_are_never_clicked_and_no_pixel_twice():
    truth = grid("?#?")
    clicked = np.zeros(truth.shape, bool)
    mask = np.zeros(truth.shape, bool)
    assert next_click(truth, mask, clicked) is not None
    clicked[0, 1] = True
    assert next_click(truth, mask, clicked) is None


def test_a_perfect_mask_is_not_clicked():
    truth = grid("#.", "..")
    assert next_click(truth, truth == 1, np.zeros(truth.shape, bool)) is None


@pytest.mark.parametrize(
    ("truth", "mask", "expected"),
    [
        (grid("##.."), [[1, 0, 0, 0]], 1 / 2),
        (grid("##.?"), [[1, 1, 1, 1]], 2 / 3),
        (grid("...."), [[0, 0, 0, 0]], 1.0),
        (grid("##.."), [[0, 0, 0, 0]], 0.0),
    ],
)
def test_iou(truth, mask, expected):
    assert iou(truth, np.array(mask, bool)) == pytest.approx(expected)


def test_number_of_clicks_at_its_edges():
    at_the_last = [0.1] * 20 + [0.95]
    never = [0.1] * 21
    perfect_before = [1.0]
    stops_early = [0.3, 0.92]
    assert number_of_clicks([at_the_last], 0.9) == 20
    assert number_of_clicks([never], 0.9) == 20
    assert number_of_clicks([perfect_before], 0.9) == 1
    assert number_of_clicks([stops_early], 0.95) == 20
    assert number_of_clicks([at_the_last, stops_early], 0.9) == pytest.approx(10.5)


class Painter:
    """Stands in for a wrapped network: each click sets its own column right, and says how it went."""

    def __init__(self, truth):
        self.truth = truth

    def session(self, photo):
        return PainterSession(self.truth)


class PainterResult:
    def __init__(self, mask):
        self.mask, self.satisfied, self.evaluations, self.seconds = mask, True, 3, 0.5


class PainterSession:
    def __init__(self, truth):
        self.truth, self.result = truth, PainterResult(np.zeros(truth.shape, bool))

    def click(self, x, y, positive):
        mask = self.result.mask.copy()
        mask[:, x] = self.truth[:, x] == 1
        self.result = PainterResult(mask)
        return self.result


def test_a_run_keeps_every_click(tmp_path):
    truth = grid("....", ".##.", "....")
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    Image.fromarray(np.zeros((3, 4, 3), np.uint8)).save(tmp_path / "images/a.png")
    Image.fromarray(np.where(truth == 1, 255, 0).astype(np.uint8)).save(tmp_path / "masks/a.png")
    samples = list(folder(tmp_path))
    np.testing.assert_array_equal(samples[0].truth, truth)
    run = evaluate(Painter(truth), samples, clicks=5, progress=False)
    assert run.records[0].curve == [0.0, 0.5, 1.0]
    assert (run.noc(0.9), run.iou_after(1), run.iou_after(5)) == (2, 0.5, 1.0)
    assert (run.satisfied, run.evaluations_per_click, run.seconds_per_click) == (1.0, 3.0, 0.5)


def test_a_folder_without_masks_says_so(tmp_path):
    with pytest.raises(OptionError, match="found none"):
        list(folder(tmp_path))
    (tmp_path / "images").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "images/a.png")
    with pytest.raises(OptionError, match="has no mask"):
        list(folder(tmp_path))
