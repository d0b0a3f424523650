"""Results: what is unsatisfied and why, how probable each label is, what changed, what became of an initial mask."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor, nn

import interactify
from interactify import Click
from interactify.errors import OptionError
from interactify.interactions.gestures import Box, Lasso, Mask, Paint, Scribble
from interactify.interactions.sampling import scribble_points
from interactify.pictures.window import Window
from interactify.refinement.layers import MASK_LOG_ODDS
from interactify.session.session import Session
from tests.fixtures import networks

PHOTO = networks.random_photo()


class HalfFixed(networks.Plain):
    """Its left half does not depend on the image: -3 there."""

    def forward(self, x: Tensor) -> Tensor:
        out = super().forward(x)
        half = torch.arange(out.shape[-1]) < out.shape[-1] // 2
        return torch.where(half, out.clamp(-3, -3), out)


def session_of(build: type = networks.Plain, **options: object) -> Session:
    net = interactify.wrap(networks.seeded(build), **{"max_evaluations": 30, "zoom": False, **options})  # type: ignore[arg-type]
    return net.session(PHOTO)


class Local(nn.Module):
    """What is bright is the object, pixel by pixel: a click changes what is read at it, and no more."""

    def __init__(self) -> None:
        super().__init__()
        self.read = nn.Conv2d(3, 1, 1)
        nn.init.constant_(self.read.weight, 6.0)
        nn.init.constant_(self.read.bias, -9.0)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.read(x)
        return logits


def test_a_negative_click_that_takes_away_next_to_nothing_left_a_pinhole() -> None:
    photo = np.zeros((64, 96, 3), np.uint8)
    photo[5:45, 5:65], photo[50:55, 80:85] = 255, 255  # 2400 pixels, and 25
    model = networks.seeded(Local)
    session = interactify.wrap(model, mean=0.0, std=1.0, propagation="none", zoom=False).session(photo)
    assert not session.result.pinhole, "no click yet"
    result = session.click(30, 20, positive=False)
    assert result.pinhole and result.satisfied and 0 < result.changed.sum() < 24
    assert not session.click(82, 52, positive=False).pinhole, "as small, but the piece is small, too"
    assert not session.click(90, 10).pinhole, "a positive click is on no object"
    assert not session.click(92, 30, positive=False).pinhole, "nothing there to be taken away"
    assert not session.add([Click(10, 30, False), Click(15, 30, False)]).pinhole, "two at once"


# ---- what is unsatisfied ---------------------------------------------------------------------------------------------


def test_a_scribble_that_is_satisfied_in_part_is_unsatisfied() -> None:
    session = session_of(HalfFixed, propagation="none")
    scribble = Scribble(((20, 30), (80, 30)))
    result = session.add([scribble, Click(10, 50, False), Click(3, 3)])
    unsatisfied = {each.interaction: each for each in result.unsatisfied}
    assert set(unsatisfied) == {scribble, Click(3, 3)} and not result.satisfied
    points = scribble_points(scribble, (64, 96))
    least = result.probability[points[:, 1], points[:, 0]].min()
    assert unsatisfied[scribble].probability == pytest.approx(float(least), abs=1e-6)
    assert unsatisfied[Click(3, 3)].probability == pytest.approx(1 / (1 + np.exp(3)), abs=1e-6)
    assert all(
        "no step lowers the energy" in each.reason or "max_evaluations" in each.reason for each in unsatisfied.values()
    )
    assert "2 of 3 interactions unsatisfied" in repr(result)


@pytest.mark.parametrize(
    ("options", "status", "says"),
    [
        ({"max_evaluations": 1}, "budget", "1 evaluation, all that max_evaluations allows, was"),
        ({"max_seconds": 0.0}, "time", "max_seconds was over after 1 evaluations"),
    ],
)
def test_why_it_is_unsatisfied(options: dict, status: str, says: str) -> None:
    session = session_of(propagation="none", **options)
    result = session.click(30, 20, positive=not bool(session.result.mask[20, 30]))
    (unsatisfied,) = result.unsatisfied
    assert (
        result.status == status
        and unsatisfied.reason.startswith(says)
        and "the best that was found" in unsatisfied.reason
    )
    assert 0 <= unsatisfied.probability <= 0.5


def test_what_a_mask_or_a_stroke_decides_is_satisfied() -> None:
    session = session_of(HalfFixed)
    result = session.add([Paint(((5, 5), (30, 5)), 3, True)])
    assert (result.status, result.evaluations) == ("painted", 0) and result.satisfied and result.mask[5, 5:31].all()
    result = session.click(10, 5)
    assert result.satisfied, "the mask shows the stroke, whatever the network predicts"
    assert session.add([Box(2, 2, 40, 30)]).satisfied and session.add([Mask(session.result.mask)]).satisfied


def test_point_probabilities() -> None:
    """The displayed probability of every label, above a half where the mask has it."""
    session = session_of()
    result = session.add(
        [Click(30, 20), Scribble(((60, 10), (80, 50)), False, width=7), Lasso(((5, 5), (90, 5), (50, 60)))]
    )
    constraints = result.constraints
    displayed = (
        result.logits_in(Window(0, 0, 64, 96)).double().numpy()[constraints.points[:, 1], constraints.points[:, 0]]
    )
    expected = 1 / (1 + np.exp(-np.where(constraints.positive, displayed, -displayed)))
    assert result.point_probabilities == pytest.approx(expected, abs=1e-9)
    mask = result.mask[constraints.points[:, 1], constraints.points[:, 0]]
    assert np.array_equal(result.point_probabilities > 0.5, mask == constraints.positive)
    assert session_of().result.point_probabilities.shape == (0,)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("said", "constraints"),
        ("met", "class_probabilities"),
        ("shown", "displayed"),
        ("chances", "point_probabilities"),
    ],
)
def test_old_names_warn(old: str, new: str) -> None:
    result = session_of().click(30, 20)
    with pytest.warns(DeprecationWarning, match=f"Result.{old} is Result.{new} now") as caught:
        assert getattr(result, old) is getattr(result, new)
    assert caught[0].filename == __file__


# ---- what changed ----------------------------------------------------------------------------------------------------


def test_the_changed_box_of_a_huge_picture_is_that_of_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    photo = networks.random_photo(300, 400)
    for huge in (10**9, 100):
        monkeypatch.setattr("interactify.refinement.result.HUGE", huge)
        session = interactify.wrap(networks.seeded(networks.Plain), max_evaluations=6).session(photo, tile=96)
        boxes = [session.result.changed_box]
        for x, y in ((30, 40), (300, 200), (320, 210)):
            boxes.append(session.click(x, y, not session.result.mask[y, x]).changed_box)
        if huge == 10**9:
            expected = boxes
    assert boxes == expected and boxes[0] is None and boxes[1] is not None


@pytest.mark.parametrize("window", [Window(0, 0, 65, 96), Window(-1, 0, 5, 5), Window(0, 0, 0, 5), None, (0, 0, 5, 5)])
def test_invalid_windows(window: Any) -> None:
    result = session_of().result
    for part in (result.mask_in, result.probability_in, result.logits_in):
        with pytest.raises(OptionError, match="64 rows and 96 columns"):
            part(window)


@pytest.mark.parametrize("step", [0, -1, 1.5, True, None, "2"])
def test_invalid_steps(step: Any) -> None:
    result = session_of().result
    for part in (result.mask_in, result.probability_in, result.logits_in):
        with pytest.raises(OptionError, match="at least 1"):
            part(Window(0, 0, 5, 5), step)
    assert np.array_equal(result.mask_in(Window(3, 4, 9, 8), np.int64(2)), result.mask[3:12:2, 4:12:2])


def test_changed_and_its_box() -> None:
    session = session_of()
    assert session.result.changed_box is None and not session.result.changed.any()
    last = session.result
    for interactions in (
        [Click(30, 20, False)],
        [Paint(((50, 40),), 7, True)],
        [Box(10, 10, 80, 50)],
        [Click(30, 20, False)],
    ):
        result = session.add(interactions)
        assert result.before is last and np.array_equal(result.changed, result.mask ^ last.mask)
        rows, columns = np.nonzero(result.changed)
        box = result.changed_box
        if len(rows):
            assert box is not None
            assert (box.top, box.left) == (rows.min(), columns.min())
            assert (box.top + box.height - 1, box.left + box.width - 1) == (rows.max(), columns.max())
        else:
            assert box is None
        last = result
    assert session.undo().changed.any(), "an undone result changes what it changed at first"


# ---- an initial mask -------------------------------------------------------------------------------------------------

ROUND = np.hypot(*(np.mgrid[:64, :96] - np.array([32, 40])[:, None, None])) < 20


def test_the_initial_mask_is_displayed() -> None:
    session = session_of()
    result = session.add([Mask(ROUND)])
    assert np.array_equal(result.mask, ROUND) and result.satisfied
    network = result.layer.read(Window(0, 0, 64, 96)).numpy()
    displayed = result.logits_in(Window(0, 0, 64, 96)).numpy()
    agree = (network > 0) == ROUND
    assert np.array_equal(displayed[agree], network[agree]) and (abs(displayed[~agree]) == MASK_LOG_ODDS).all()


def test_clicks_change_pieces_of_the_initial_mask() -> None:
    session = session_of()
    session.add([Mask(ROUND)])
    before = session.result.mask
    for x, y in ((80, 20), (40, 32), (45, 40)):
        positive = not bool(before[y, x])
        result = session.click(x, y, positive=positive)
        assert result.satisfied and result.mask[y, x] == positive
        network = result.layer.read(Window(0, 0, 64, 96)).gt(0).numpy()
        pieces, _ = ndimage.label(network != before)
        changed = pieces == pieces[y, x]
        assert np.array_equal(result.mask, np.where(changed, network, before)), "one piece, and nothing else"
        before = result.mask


def test_the_same_mask_added_again_replaces_the_changed_one() -> None:
    session = session_of()
    session.add([Mask(ROUND)])
    clicked = session.click(40, 32, positive=False)
    assert not np.array_equal(clicked.mask, ROUND)
    again = session.add([Mask(ROUND.copy())])
    assert np.array_equal(again.mask, ROUND) and again.overruled == (Mask(ROUND), Click(40, 32, False))
    assert np.array_equal(session.undo().mask, clicked.mask)


def test_a_mask_and_clicks_at_once() -> None:
    result = session_of().add([Mask(ROUND), Click(40, 32, False), Click(5, 5)])
    assert result.satisfied and not result.mask[32, 40] and result.mask[5, 5]
