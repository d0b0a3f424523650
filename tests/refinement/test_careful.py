"""When a change is kept near what was clicked, or among its colours: for clicks and strokes only."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt

import interactify
from interactify import Box, Click, Interactive, Mask, Scribble
from interactify.brs import Margin, Settling
from interactify.pictures.window import Window
from interactify.propagation import change_gate
from interactify.propagation.change_gate import ChangeGate
from interactify.propagation.click_reach import Reach
from interactify.propagation.propagation import Propagation
from interactify.refinement import careful
from interactify.session.session import Session
from tests.fixtures import networks

CAREFUL = Propagation("mine", colour=1.5, radius=3, alike=0.09)  # the same in every photo


def photo() -> np.ndarray:
    """Reddish on the left, bluish on the right, with a little noise."""
    found = np.zeros((60, 96, 3), np.uint8)
    found[:, :48], found[:, 48:] = (190, 60, 50), (40, 70, 180)
    return (found + np.random.default_rng(0).integers(0, 20, found.shape)).astype(np.uint8)


def net_of(**options: object) -> Interactive:
    chosen = {"propagation": CAREFUL, "resolution": 96, "zoom": False, "max_evaluations": 8, **options}
    return interactify.wrap(networks.seeded(networks.Plain), **chosen)  # type: ignore[arg-type]


def steady(net: Interactive, steadiness: float = 1.0, clicks: int = 2) -> Session:
    """A session with some clicks, of which the last seems to have left so much as it was."""
    session = net.session(photo())
    for x in range(20, 20 + clicks):
        session.click(x, 20, positive=not session.result.mask[20, x])
    track = session.track
    last = replace(track.steps[-1], steadiness=steadiness)
    session.history = session.history.changed(session.history.now.with_steps((last,)))
    return session


def gate_for(session: Session, *interactions: object) -> ChangeGate | None:
    """The gate when these follow those that the session has."""
    problem = session.refiner.problem(session.steps, (*session.interactions, *interactions), None)  # type: ignore[arg-type]
    return problem.spreads[0].gate


@pytest.fixture
def any_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every click that disagrees with the mask repairs a part of it."""
    monkeypatch.setattr(careful, "PART", math.inf)


def wrong(session: Session, x: int, y: int) -> Click:
    """A click that disagrees with the mask."""
    return Click(x, y, positive=not session.result.mask[y, x])


@pytest.mark.usefixtures("any_part")
def test_a_steady_mask_has_a_gate_of_the_clicked_colour() -> None:
    session = steady(net_of())
    found = gate_for(session, wrong(session, 80, 40))
    assert found is not None and torch.equal(found.before, session.result.logits)
    assert found.alike is not None and found.reach is None
    assert found.alike[0, 0, 40, 60] > 0.8 and found.alike[0, 0, 40, 20] < 0.1
    ys, xs = np.nonzero(session.result.mask)
    row = int(np.argmax(np.bincount(ys)))  # a stroke over both colours, within the object
    assert xs[ys == row].min() < 30 and xs[ys == row].max() > 66
    stroke = gate_for(session, Scribble([(int(xs[ys == row].min()), row), (int(xs[ys == row].max()), row)], False))
    assert stroke is not None and stroke.alike is not None and stroke.alike[..., :60, [20, 60]].min() > 0.5, (
        "a stroke over both colours"
    )


@pytest.mark.parametrize("options", [{"propagation": "colour"}, {"propagation": "none"}, {"energy": Margin(hold=0)}])
def test_there_is_none_unless_it_is_asked_for_and_the_mask_is_held(options: dict[str, object]) -> None:
    session = steady(net_of(**options))
    assert gate_for(session, wrong(session, 80, 40)) is None


@pytest.mark.usefixtures("any_part")
def test_there_is_none_while_the_mask_still_changes_nor_for_a_box() -> None:
    for session in (
        steady(net_of(), steadiness=0.85),
        net_of().session(photo()),  # the first click
        steady(net_of(), clicks=1),  # the second
    ):
        assert gate_for(session, wrong(session, 80, 40)) is None
    assert gate_for(steady(net_of()), Box(10, 10, 60, 50)) is None


def test_a_click_in_the_middle_of_the_object_means_more_than_a_part() -> None:
    session = steady(net_of())
    depth = distance_transform_edt(session.result.logits[0, 0].numpy() > 0)
    inside = np.argwhere(session.result.mask)
    of_part = {}
    for y, x in inside[:: max(1, len(inside) // 40)].tolist():
        found = session.refiner.problem(session.steps, (*session.interactions, Click(x, y, positive=False)), None)
        (column, row), thickest = found.points[-1].round().int().tolist(), depth.max()
        of_part[bool(depth[row, column] <= 0.5 * thickest)] = found.part
        assert found.part == (depth[row, column] <= 0.5 * thickest)
        assert (found.spreads[0].gate is not None) == found.part
    assert of_part == {True: True, False: False}, "both have been seen"


def test_a_click_settles_for_less_only_where_it_repairs_a_part() -> None:
    session = steady(net_of(energy="settling"))
    whole, _ = shallow_clicks(session.result.mask)
    energies = []
    for before in (session, net_of(energy="settling").session(photo())):
        problem = before.refiner.problem(before.steps, (*before.interactions, wrong(before, whole.x, whole.y)), None)
        assert isinstance(problem.energy, Settling)
        energies.append((problem.part, problem.energy.enough))
    assert energies == [(True, 1.0), (False, 3.0)]
    plain = steady(net_of(energy=Margin())).refiner
    assert isinstance(plain.problem((), (Click(5, 5),), None).energy, Margin)


@pytest.mark.usefixtures("any_part")
def test_a_large_change_leaves_other_colours_as_they_were(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(change_gate, "FLOOD", -1.0)  # every change is a large one
    net = net_of()
    session, free = steady(net), steady(net_of(propagation=replace(CAREFUL, alike=0.0)))
    before = session.result
    click = 80, 40, not before.mask[40, 80]
    after, unlimited = session.click(*click), free.click(*click)
    assert after.satisfied and unlimited.satisfied
    away = np.s_[:, :40]
    moved, without = (np.abs(each.probability - before.probability)[away] for each in (after, unlimited))
    assert moved.mean() < 0.1 * without.mean()
    session.save(tmp_path / "session.npz")
    np.testing.assert_array_equal(
        interactify.load_session(tmp_path / "session.npz", net, photo()).result.mask, after.mask
    )
    with pytest.raises(interactify.InteractifyError, match="propagation"):
        interactify.load_session(tmp_path / "session.npz", net_of(propagation=replace(CAREFUL, alike=0.0)), photo())


def several(reach: Reach | None) -> Session:
    """A session of a network of four classes, whose clicks change what is near them, or anything."""
    model = networks.seeded(lambda: networks.Plain(classes=4))
    propagation = Propagation("mine", radius=1, reach=reach)
    return interactify.wrap(model, propagation=propagation, resolution=96, zoom=False, target=1).session(photo())


def shallow_clicks(mask: np.ndarray) -> list[Click]:
    """A click on each side of a mask's border, two pixels from it."""
    depth = np.where(mask, distance_transform_edt(mask), distance_transform_edt(~mask))
    found = []
    for side in (True, False):
        ys, xs = np.nonzero((mask == side) & (depth >= 2) & (depth < 2.5))
        found.append(Click(int(xs[len(xs) // 2]), int(ys[len(ys) // 2]), positive=not side))
    return found


def test_a_click_of_several_classes_changes_what_it_reaches() -> None:
    for click in shallow_clicks(several(None).result.mask):
        near, free = several(Reach(3.0)), several(None)
        before = near.result.mask
        found, flooded = near.add([click]), free.add([click])
        assert found.satisfied and flooded.satisfied
        ys, xs = np.nonzero(found.mask != before)
        away = np.hypot(ys - click.y, xs - click.x)
        assert len(away) and away.max() <= 3 * 2.5 + 0.02 * 96 + 1
        assert (flooded.mask != before).sum() > 3 * len(away), "the network itself changes far more"


def test_boxes_masks_and_what_agrees_are_not_limited() -> None:
    session = several(Reach(3.0))
    mask = session.result.mask
    negative, _ = shallow_clicks(mask)
    for interactions in ([Box(10, 10, 60, 50)], [Mask(mask), negative], [Click(negative.x, negative.y)]):
        assert gate_for(session, *interactions) is None
    assert gate_for(session, negative) is not None
    stroke = Scribble([(negative.x, negative.y), (negative.x + 1, negative.y)], positive=False)
    assert gate_for(session, stroke) is not None


def test_a_window_that_is_opened_shows_what_was_displayed_where_the_click_does_not_reach() -> None:
    model = networks.seeded(lambda: networks.Plain(classes=4))
    net = interactify.wrap(model, propagation=Propagation("mine", radius=1, reach=Reach(3.0)), resolution=64, target=1)
    session = net.session(photo())
    first, second = shallow_clicks(session.result.mask)
    session.add([first])
    window = Window(0, 0, 48, 64) if second.x < 60 and second.y < 44 else Window(12, 32, 48, 64)
    problem = session.refiner.problem(session.steps, (first, second), 1, window=window)
    gate = problem.spreads[0].gate
    assert gate is not None and problem.crop.window == window
    before = gate.before[0, 0] > 0
    shown = session.result.mask[window.slices]
    size = problem.crop.view.content_size
    rows, columns = (np.linspace(0, n - 1, k).round().astype(int) for n, k in zip(shown.shape, size, strict=True))
    assert (before[: size[0], : size[1]].numpy() == shown[np.ix_(rows, columns)]).mean() > 0.95
