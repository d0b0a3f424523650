"""What holds for every session of numbers, over random pictures, interactions and calls, on two networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

import numpy as np
import pytest
import torch

import interactify
from interactify.errors import ClosedSessionError, InteractifyError, NonFiniteError, PhotoError
from interactify.optim.status import Status
from interactify.values import HigherValue, SameValue, ValueClick, ValueScribble
from interactify.values.goals import ORDER
from tests.fixtures import odd_values as odd
from tests.fixtures.value_networks import Depth, Matte

SIZE = 24, 32
KINDS = pytest.mark.parametrize("kind", [Matte, Depth])


def net_of(kind, **options):
    torch.manual_seed(1)
    return interactify.wrap_values(kind().eval(), mean=0.5, std=0.25, **options)


def photo(seed, size=SIZE):
    return np.random.default_rng(seed).integers(0, 255, (*size, 3), np.uint8)


def two_pixels(random):
    return random.sample([(x, y) for x in range(SIZE[1]) for y in range(SIZE[0])], 2)


def random_interaction(random, own):
    (x, y), (other_x, other_y) = two_pixels(random)
    value = float(own.min()) + random.random() * float(np.ptp(own))
    return random.choice(
        [
            ValueClick(x, y, value),
            ValueClick(x, y, value),
            ValueScribble([(x, y), (other_x, other_y)], value, width=random.choice([1, 2.5])),
            SameValue(x, y, other_x, other_y),
            HigherValue(x, y, other_x, other_y),
        ]
    )


@KINDS
def test_before_any_interaction_pictures_of_all_sizes_have_the_networks_own_map(kind):
    net, random = net_of(kind), Random(0)
    for _ in range(8):
        size = random.randint(1, 40), random.randint(1, 40)
        picture = photo(size[0], size)
        session = net.session(picture)
        image = (torch.from_numpy(picture).permute(2, 0, 1)[None] / 255 - 0.5) / 0.25
        rows, columns = (torch.arange(side).clamp(max=end - 1) for side, end in zip(padded(session), size, strict=True))
        with torch.no_grad():
            raw = net.unwrap()(image[:, :, rows][..., columns])
        own = raw["alpha"] if isinstance(raw, dict) else raw[:, None]
        if own.shape[2:] != padded(session):
            own = torch.nn.functional.interpolate(own, padded(session), mode="bilinear", align_corners=False)
        np.testing.assert_array_equal(session.result.values, own[0, 0, : size[0], : size[1]].numpy())
        np.testing.assert_array_equal(session.add([]).values, session.result.values)
        assert session.undo().status == session.redo().status == session.reset().status == Status.PLAIN


def padded(session):
    """The network's size, which small photos are padded to and not resized."""
    view = session.refiner.view
    assert view.content_size == session.size
    return tuple(view.network_size)


@KINDS
def test_a_result_says_itself_whether_it_is_satisfied(kind):
    net, random = net_of(kind, max_evaluations=20), Random(1)
    reached = clicks = 0
    for turn in range(10):
        session = net.session(photo(turn))
        own = session.result.values
        for _ in range(3):
            result = session.add([random_interaction(random, own)])
        assert result.satisfied == (not result.unsatisfied)
        overruled = {result.interactions[index] for index in result.goals.overruled}
        for each in set(result.interactions) - overruled:
            satisfied = each not in result.unsatisfied
            if isinstance(each, ValueClick) and not any(
                isinstance(other, ValueScribble) for other in result.interactions
            ):
                away = float(abs(result.values[each.y, each.x] - each.value))
                assert satisfied == (away <= result.tolerance * 1.0001)
                assert each in replace(result, tolerance=away / 1.5).unsatisfied
                assert each not in replace(result, tolerance=away * 1.5).unsatisfied
                reached, clicks = reached + satisfied, clicks + 1
            elif isinstance(each, SameValue) and satisfied:
                apart = result.values[each.y, each.x] - result.values[each.as_y, each.as_x]
                assert abs(apart) <= result.tolerance * 1.0001
            elif isinstance(each, HigherValue) and satisfied:
                above = result.values[each.y, each.x] - result.values[each.than_y, each.than_x]
                assert above >= (ORDER - 1.0001) * result.tolerance
    assert clicks > 5 and reached >= 0.8 * clicks


class Expected:
    """A history as lists of groups of interactions, and the maps that new sessions give for them."""

    def __init__(self, replay: Callable[[tuple], np.ndarray]) -> None:
        self.now, self.past, self.undone = (), [], []
        self.replay, self.maps = replay, {}

    def change(self, groups: tuple) -> None:
        self.past.append(self.now)
        self.now, self.undone = groups, []

    def step(self, taken: list, given: list) -> None:
        if taken:
            given.append(self.now)
            self.now = taken.pop()

    def map(self) -> np.ndarray:
        if self.now not in self.maps:
            self.maps[self.now] = self.replay(self.now)
        return self.maps[self.now]


@pytest.mark.parametrize("seed", [0, 1])
@KINDS
def test_any_row_of_changes_gives_the_map_of_the_interactions_that_are_left(kind, seed, tmp_path):
    net, random, picture = net_of(kind, max_evaluations=6), Random(seed), photo(seed)

    def replay(groups):
        fresh = net.session(picture)
        for group in groups:
            fresh.add(group)
        return fresh.result.values

    session, expected = net.session(picture), Expected(replay)
    own = session.result.values
    for turn in range(24):
        action = random.choice(["add"] * 4 + ["undo"] * 3 + ["redo"] * 2 + ["remove", "reset", "save"])
        if action == "add":
            group = tuple(random_interaction(random, own).within(SIZE) for _ in range(random.randint(1, 2)))
            session.add(group)
            expected.change((*expected.now, group))
        elif action == "remove" and session.interactions:
            place = index = random.randrange(len(session.interactions))
            session.remove(place - random.choice([0, len(session.interactions)]))
            groups = []
            for group in expected.now:
                groups.append(tuple(each for at, each in enumerate(group) if at != index))
                index -= len(group)
            expected.change(tuple(group for group in groups if group))
        elif action == "undo":
            session.undo()
            expected.step(expected.past, expected.undone)
        elif action == "redo":
            session.redo()
            expected.step(expected.undone, expected.past)
        elif action == "reset":
            session.reset()
            if expected.now:
                expected.change(())
        elif action == "save":
            session = net.load_session(session.save(tmp_path / f"{turn}.npz"), picture)
        assert session.interactions == tuple(each for group in expected.now for each in group)
        assert (session.can_undo, session.can_redo) == (bool(expected.past), bool(expected.undone))
        np.testing.assert_array_equal(session.result.values, expected.map())


@KINDS
def test_odd_arguments_raise_one_family_of_errors_and_change_nothing(kind):
    net, random = net_of(kind, max_evaluations=2), Random(2)
    session = net.session(photo(0))
    session.click(5, 5, float(session.result.values.mean()))
    refused = 0
    for _ in range(200):
        (x, y), (other_x, other_y) = two_pixels(random)
        x, y, value = (odd.or_odd(random, each, 0.4) for each in (x, y, 0.5))
        calls: list[Callable[[], object]] = [
            lambda x=x, y=y, value=value: session.click(x, y, value),
            lambda x=x, y=y, i=other_x, j=other_y: session.higher(x, y, i, j),
            lambda x=x, y=y, i=other_x, j=other_y: session.same(i, j, x, y),
            lambda x=x, value=value: session.add([ValueScribble(x, value)]),
            lambda x=x: session.add(x),
            lambda x=x: session.remove(x),
        ]
        history, values = session.history, session.result.values
        try:
            random.choice(calls)()
        except InteractifyError:
            refused += 1
            assert session.history is history
            np.testing.assert_array_equal(session.result.values, values)
        while len(session.interactions) > 3:
            session.undo()
    assert refused > 60


@pytest.mark.parametrize(
    "picture",
    [np.zeros((4, 5, 2), np.uint8), np.zeros((0, 5, 3), np.uint8), np.full((4, 5, 3), np.nan),
     np.zeros((4, 5, 3), "c8"), np.zeros((4, 5, 3), object), np.zeros((2, 4, 5, 3), np.uint8), "no file", None],
    ids=lambda each: f"{each.shape} {each.dtype}" if isinstance(each, np.ndarray) else repr(each),
)  # fmt: skip
def test_pictures_of_another_shape_or_type_are_refused(picture):
    with pytest.raises(PhotoError):
        net_of(Matte).session(picture)


@KINDS
def test_a_network_that_fails_in_between_loses_nothing(kind, monkeypatch):
    session = net_of(kind).session(photo(0))
    own = session.result.values
    result = session.click(20, 12, float(own.max()))
    history = session.history
    monkeypatch.setattr(
        session.refiner, "passes", lambda suffix, values, maps: suffix.plain() + values.sum() * torch.nan
    )
    with pytest.raises(NonFiniteError):
        session.click(3, 3, float(own.max()) + float(np.ptp(own)))
    assert session.history is history and session.result is result
    monkeypatch.undo()
    np.testing.assert_array_equal(session.undo().values, own)
    np.testing.assert_array_equal(session.redo().values, result.values)
    assert session.click(3, 3, float(own.min())).evaluations > 0


def test_all_methods_of_a_closed_session_say_so(tmp_path):
    session = net_of(Matte).session(photo(0))
    result = session.click(5, 5, 0.6)
    session.close()
    session.close()
    session.cancel()
    calls = [
        lambda: session.click(1, 1, 0.5), lambda: session.same(1, 1, 2, 2), lambda: session.higher(1, 1, 2, 2),
        lambda: session.add([ValueClick(1, 1, 0.5)]), lambda: session.remove(0), session.undo, session.redo,
        session.reset, lambda: session.save(tmp_path / "session.npz"), lambda: session.result,
        lambda: session.interactions, lambda: session.photo, lambda: session.size,
        lambda: session.can_undo, lambda: session.can_redo,
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(ClosedSessionError):
            call()
    assert result.satisfied and result.changed.any() and result.at(5, 5) == pytest.approx(0.6, abs=result.tolerance)
