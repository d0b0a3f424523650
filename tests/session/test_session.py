"""Clicks, undo and redo on a photo: each click is satisfied or reported as unsatisfied; an error changes nothing."""

from __future__ import annotations

import random
from collections import UserList, deque
from typing import Any

import numpy as np
import pytest
import torch

import interactify
from interactify.errors import InteractionError
from interactify.interactions.click import Click
from interactify.network.variables import target_logits
from interactify.session.session import Session
from tests.fixtures import networks


def net_of(build: Any = networks.Plain, **options: Any) -> interactify.Interactive:
    return interactify.wrap(networks.seeded(build), **{"max_evaluations": 12, **options})


def wrong_here(session: Session, x: int, y: int) -> bool:
    """The label that the mask does not have there."""
    return not bool(session.result.mask[y, x])


def state(session: Session) -> tuple[Any, ...]:
    """Everything that users see of a session."""
    result = session.result
    return (
        session.interactions,
        result.mask.tobytes(),
        result.probability.tobytes(),
        result.changed.tobytes(),
        result.satisfied,
        result.unsatisfied,
        result.overruled,
        result.evaluations,
        result.status,
    )


# ---- what a result is ------------------------------------------------------------------------------------------------


def test_before_any_click() -> None:
    session = net_of().session(networks.random_photo())
    result = session.result
    assert (session.interactions, result.clicks, result.evaluations, result.status) == ((), (), 0, "plain")
    assert result.satisfied and not result.changed.any() and result.seconds == 0
    assert session.undo() is result and session.redo() is result and session.reset() is result
    assert session.size == (64, 96) and np.array_equal(session.photo, networks.random_photo())


def test_a_result_and_its_arrays() -> None:
    session = net_of().session(networks.random_photo(50, 77))
    before = session.result
    result = session.click(x=40, y=20, positive=wrong_here(session, 40, 20))
    assert result is session.result and result.satisfied and result.seconds > 0
    assert 1 <= result.evaluations <= 12 and result.clicks == session.interactions == (
        Click(40, 20, not before.mask[20, 40]),
    )
    assert result.mask.shape == result.probability.shape == result.changed.shape == (50, 77)
    assert (result.mask.dtype, result.probability.dtype, result.changed.dtype) == (bool, np.float32, bool)
    assert np.array_equal(result.changed, result.mask != before.mask) and result.changed[20, 40]
    assert result.probability.min() >= 0 and result.probability.max() <= 1
    assert np.array_equal(result.mask, result.probability > 0.5)
    for array in (result.mask, result.probability, result.changed, before.mask):
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 1
    with pytest.raises(AttributeError):
        result.evaluations = 3  # type: ignore[misc]
    assert "77x50" in repr(result) and "1 interactions" in repr(result) and "77x50" in repr(session)


def test_the_mask_is_that_of_the_networks_logits() -> None:
    """`logits` in the photo's size are the mask: variables and prediction belong together."""
    net = net_of(zoom=False, propagation="none")
    session = net.session(networks.random_photo())
    for x, y in ((10, 10), (90, 60), (50, 5)):
        result = session.click(x=x, y=y, positive=wrong_here(session, x, y))
        step = session.steps[-1]
        with torch.no_grad():
            again = target_logits(net.network, net.variables, step.crop.image, step.values, (), None)
        assert torch.allclose(again, result.logits, rtol=1e-4, atol=1e-4)  # lowered: to rounding
        assert np.array_equal(result.mask, (result.logits[0, 0] > 0).numpy())
        assert not torch.equal(step.values, step.crop.start)


# ---- every click is satisfied ----------------------------------------------------------------------------------------

SIZES = [(1, 1), (1, 40), (120, 21), (67, 91), (91, 67), (64, 64), (5, 3)]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize(("variables", "propagation"), [("input", "none"), ("input", "colour"), ("maps", "none")])
def test_borders_and_corners(size: tuple[int, int], variables: str, propagation: str) -> None:
    height, width = size
    net = net_of(variables=variables, propagation=propagation, max_evaluations=15)
    pixels = {(0, 0), (width - 1, 0), (0, height - 1), (width - 1, height - 1)}
    pixels |= {(width // 2, 0), (0, height // 2)} if variables == "input" else {(width - 1, height // 2)}
    for x, y in sorted(pixels):
        session = net.session(networks.random_photo(height, width))
        positive = wrong_here(session, x, y)
        result = session.click(x=x, y=y, positive=positive)
        assert result.mask.shape == size
        if propagation == "none":  # its colour alone may settle a click
            assert result.evaluations > 1, "the click was wrong, so something had to be done"
        # Satisfied or reported as unsatisfied: never silently ignored.
        assert result.satisfied == (bool(result.mask[y, x]) == positive)
        assert result.satisfied and result.changed[y, x]


@pytest.mark.parametrize("energy", ["margin", "brs", "fbrs"])
@pytest.mark.parametrize("solver", ["lbfgs", "scipy"])
def test_energies_and_solvers(energy: str, solver: str) -> None:
    session = net_of(energy=energy, solver=solver, max_evaluations=40).session(networks.random_photo(61, 97))
    for x, y in ((0, 60), (96, 0), (40, 30)):
        result = session.click(x=x, y=y, positive=wrong_here(session, x, y))
        # f-BRS's mean over a square may balance against the inertia short of the goal; the others have to arrive.
        assert result.satisfied or energy == "fbrs", result
        assert (result.status == "done") == result.satisfied or energy != "brs"


def test_a_click_that_is_satisfied_already_still_counts() -> None:
    session = net_of().session(networks.random_photo())
    y, x = np.argwhere(session.result.mask)[0].tolist()
    result = session.click(x=x, y=y, positive=True)
    assert result.satisfied and result.clicks == (Click(x, y, True),) and result.evaluations >= 1
    session.click(x=90, y=60, positive=wrong_here(session, 90, 60))
    assert session.result.mask[y, x], "and stays satisfied after other clicks"


def test_what_cannot_be_satisfied_is_reported() -> None:
    class HalfFixed(networks.Plain):
        """Its left half does not depend on the image."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out = super().forward(x)
            half = torch.arange(out.shape[-1]) < out.shape[-1] // 2
            return torch.where(half, out.clamp(-3, -3), out)

    session = net_of(HalfFixed).session(networks.random_photo())
    result = session.click(x=3, y=5, positive=True)
    (unsatisfied,) = result.unsatisfied
    assert not result.satisfied and unsatisfied.interaction == Click(3, 5, True)
    assert unsatisfied.probability == pytest.approx(float(result.probability[5, 3])) and "energy" in unsatisfied.reason
    assert "unsatisfied" in repr(result) and not result.mask[5, 3]
    result = session.click(x=90, y=5, positive=wrong_here(session, 90, 5))
    assert [each.interaction for each in result.unsatisfied] == [Click(3, 5, True)], "the other is satisfied"


def test_a_second_click_on_the_same_pixel() -> None:
    session = net_of(max_evaluations=40).session(networks.random_photo())
    first = wrong_here(session, 30, 20)
    session.click(x=30, y=20, positive=first)
    same = session.click(x=30, y=20, positive=first)
    assert same.satisfied and same.overruled == () and len(session.interactions) == 2
    other = session.click(x=30, y=20, positive=not first)
    assert bool(other.mask[20, 30]) == (not first) and other.satisfied
    assert other.overruled == (Click(30, 20, first),) * 2 and other.clicks == (Click(30, 20, not first),)
    assert len(session.interactions) == 3
    back = session.click(x=30.4, y=19.6, positive=first)  # the same pixel, after rounding
    assert bool(back.mask[20, 30]) == first and back.satisfied
    assert back.overruled == (Click(30, 20, not first),)


def test_coordinates_are_rounded_to_pixels() -> None:
    net = net_of()
    for x, y, pixel in (
        (9.6, 0.2, (10, 0)),
        (-0.5, -0.4, (0, 0)),
        (95.49, 63.49, (95, 63)),
        (np.float32(3), np.int64(4), (3, 4)),
    ):
        session = net.session(networks.random_photo())
        session.click(x=x, y=y)  # type: ignore[arg-type]
        assert session.interactions == (Click(*pixel),)


@pytest.mark.parametrize("resolution", [32, 100, 200])
def test_clicks_arrive_when_the_photo_is_resized(resolution: int) -> None:
    net = net_of(resolution=resolution, max_evaluations=40)
    photo = networks.random_photo(70, 101)
    for x, y in ((0, 0), (100, 69), (50, 35), (100, 0)):
        session = net.session(photo)
        result = session.click(x=x, y=y, positive=wrong_here(session, x, y))
        assert result.satisfied and result.mask.shape == (70, 101)


def test_zooming_in_leaves_the_mask_outside() -> None:
    photo = networks.random_photo(150, 200)
    session = net_of(resolution=64, zoom=True, max_evaluations=40).session(photo)
    for index, (x, y) in enumerate([(60, 50), (70, 60), (65, 45), (199, 149), (60, 52), (0, 0)]):
        before = session.result
        result = session.click(x=x, y=y, positive=wrong_here(session, x, y))
        assert result.mask.shape == (150, 200) and result.window.contains(np.array([[x, y]])).all()
        assert bool(result.mask[y, x]) == session.interactions[-1].positive or (x, y) in [
            (each.interaction.x, each.interaction.y) for each in result.unsatisfied
        ]
        if index == 0:
            assert (result.window.height, result.window.width) == (150, 200)
        if result.layer.outside is before.layer:
            outside = np.ones((150, 200), bool)
            outside[result.window.slices] = False
            assert np.array_equal(result.mask[outside], before.mask[outside])


def test_the_window_opens_on_a_small_object() -> None:
    """A dark photo with one bright square: what the network calls the object is the square."""

    class Bright(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mean = torch.nn.Conv2d(3, 1, 3, padding=1)
            torch.nn.init.constant_(self.mean.weight, 1.0)
            torch.nn.init.constant_(self.mean.bias, -12.0)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.mean(x)

    photo = np.zeros((160, 240, 3), np.uint8)
    photo[100:130, 30:70] = 230
    session = interactify.wrap(Bright(), mean=0.0, std=1.0, resolution=80).session(photo)
    assert session.result.mask[115, 50] and not session.result.mask[20, 200]
    session.click(x=50, y=115)
    assert session.result.window.width == 240
    result = session.click(x=72, y=115)
    assert result.window.width < 120 and result.window.height < 120 and result.satisfied
    assert not result.mask[20, 200]
    far = session.click(x=230, y=5)
    assert far.window.contains(np.array([[230, 5]])).all() and far.satisfied
    assert bool(far.mask[115, 50]), "the object found before stays"


def test_same_clicks_same_result() -> None:
    clicks = [(30, 20, True), (80, 50, False), (5, 60, True)]
    states = []
    for _ in range(2):
        session = net_of().session(networks.random_photo())
        states.append([(session.click(*click), state(session))[1] for click in clicks])
    assert states[0] == states[1]


@pytest.mark.parametrize("block", [torch.no_grad, torch.inference_mode])
def test_clicking_with_gradients_switched_off(block: Any) -> None:
    net = net_of()
    expected = net.session(networks.random_photo()).click(x=30, y=20)
    with block():
        result = net.session(networks.random_photo()).click(x=30, y=20)
    assert np.array_equal(result.mask, expected.mask) and result.evaluations == expected.evaluations


@pytest.mark.parametrize("kind", [list, tuple, deque, UserList], ids=lambda kind: kind.__name__)
def test_interactions_in_any_sequence(kind: Any) -> None:
    net, photo, clicks = net_of(), networks.random_photo(), [Click(30, 20), Click(5, 5, False)]
    expected = net.session(photo).add(clicks)
    assert torch.equal(net.session(photo).add(kind(clicks)).logits, expected.logits)
    (result,) = net.refine(kind([photo]), kind([kind(clicks)]))
    assert result.interactions == expected.interactions


@pytest.mark.parametrize(
    "wrong",
    [
        "ab",
        b"ab",
        bytearray(2),
        memoryview(np.zeros((2, 2))),
        Click(1, 1),
        {Click(1, 1)},
        np.zeros(2),
        None,
        3,
        range(2),
    ],
    ids=lambda wrong: type(wrong).__name__,
)
def test_interactions_in_no_sequence(wrong: Any) -> None:
    net, photo = net_of(), networks.random_photo()
    session = net.session(photo)
    before = session.history
    for interactions in (wrong, (each for each in [Click(1, 1)])):
        with pytest.raises(InteractionError):
            session.add(interactions)
        with pytest.raises(InteractionError):
            net.refine(photo, interactions)
        with pytest.raises(InteractionError):
            net.refine(photo, [interactions])
    assert session.history is before


# ---- undo, redo, reset -----------------------------------------------------------------------------------------------


def test_undo_and_redo() -> None:
    session = net_of().session(networks.random_photo())
    states, results = [state(session)], [session.result]
    for x, y in ((30, 20), (80, 50), (5, 60)):
        results.append(session.click(x=x, y=y, positive=wrong_here(session, x, y)))
        states.append(state(session))
    for index in (2, 1, 0, 0):
        assert session.undo() is results[index] and state(session) == states[index]
    for index in (1, 2, 3, 3):
        assert session.redo() is results[index] and state(session) == states[index]
    session.undo()
    session.click(x=1, y=1)
    assert session.redo() is session.result and len(session.interactions) == 3, "a new click ends what could be redone"
    last = session.result
    assert session.reset() is results[0] and state(session) == states[0]
    assert session.reset() is results[0] and session.undo() is last, "there was nothing to take back twice"
    assert session.redo() is results[0]
    assert session.restart() is results[0] and session.undo() is results[0], "nothing of it is left"


@pytest.mark.parametrize("seed", range(6))
def test_any_sequence_equals_its_replay(seed: int) -> None:
    """After clicks, undos, redos and resets in any order, a session equals a new one with the current clicks."""
    chance = random.Random(seed)
    net = net_of(max_evaluations=4, resolution=64, zoom=bool(seed % 2))
    photo = networks.random_photo(60, 90, seed=seed)
    session = net.session(photo)
    clicks: list[tuple[int, int, bool]] = []
    past: list[list[tuple[int, int, bool]]] = []
    undone: list[list[tuple[int, int, bool]]] = []
    for _ in range(14):
        action = chance.choice(
            ["click"] * 4 + ["undo"] * 3 + ["redo"] * 2 + ["error"] + ["reset"] * (chance.random() < 0.2)
        )
        if action == "click":
            click = (chance.choice([0, 3, 40, 89]), chance.choice([0, 7, 59]), chance.random() < 0.5)
            session.click(*click)
            clicks, past, undone = [*clicks, click], [*past, clicks], []
        elif action == "undo":
            session.undo()
            if past:
                clicks, past, undone = past[-1], past[:-1], [*undone, clicks]
        elif action == "redo":
            session.redo()
            if undone:
                clicks, past, undone = undone[-1], [*past, clicks], undone[:-1]
        elif action == "reset":
            session.reset()
            if clicks:
                clicks, past, undone = [], [*past, clicks], []
        else:
            with pytest.raises(InteractionError):
                session.click(90, 0)
        assert session.interactions == tuple(Click(*click) for click in clicks)
    replayed = net.session(photo)
    for click in clicks:
        replayed.click(*click)
    assert state(session) == state(replayed)
    following = session.click(50, 30), replayed.click(50, 30)
    assert torch.equal(following[0].logits, following[1].logits)


def test_clicks_on_one_pixel_count_once_and_are_undone_one_by_one() -> None:
    """The energy counts the pixel once; the list has each click as the user made it."""
    net = interactify.wrap(networks.seeded(networks.Plain), max_evaluations=6, energy="brs")
    photo = networks.random_photo(40, 56)
    click, other = interactify.Click(20, 12, False), interactify.Click(40, 30)
    once, often = net.refine(photo, [[click, other], [click] * 20 + [other] * 3])
    assert torch.equal(once.logits, often.logits) and once.evaluations == often.evaluations
    assert len(often.clicks) == 23 and often.overruled == () and often.satisfied == once.satisfied
    session = net.session(photo)
    for _ in range(20):
        session.click(20, 12, positive=False)
    assert session.interactions == (click,) * 20 == session.result.clicks
    problem = session.refiner.problem(session.steps, session.interactions, session.target)
    assert problem.points.shape == (1, 2) and len(problem.network_clicks) == 1
    for left in range(19, -1, -1):
        assert len(session.undo().clicks) == left
    assert not session.can_undo
    assert session.redo().clicks == (click,)
    session.click(20, 12)
    assert session.result.overruled == (click,), "the later label counts"
