"""After any adding, removing, moving, undoing and saving, a session equals a new one with the same interactions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import interactify
from interactify import Click
from interactify.errors import InteractionError, NonFiniteError
from interactify.interactions.click import Interaction
from interactify.interactions.gestures import Box, Lasso, Mask, Paint, Scribble
from interactify.interactions.rasterise import region_mask
from interactify.pictures.window import Window
from interactify.refinement.history import groups_of
from interactify.session.session import Session
from tests.fixtures import networks

PHOTO = networks.random_photo(40, 56)
NET = interactify.wrap(networks.seeded(networks.Plain), max_evaluations=3, resolution=64)
PIXELS = st.tuples(st.integers(0, 55), st.integers(0, 39))
LINES = st.lists(PIXELS, min_size=1, max_size=4).map(tuple)
BOXES = st.builds(lambda a, b: Box(min(a[0], b[0]), min(a[1], b[1]), max(a[0], b[0]), max(a[1], b[1])), PIXELS, PIXELS)
CLICKS = st.builds(lambda at, positive: Click(*at, positive), PIXELS, st.booleans())
INTERACTIONS = st.one_of(
    CLICKS,
    st.builds(Scribble, LINES, st.booleans(), st.sampled_from([1.0, 9.0]), st.sampled_from([1.0, 3.0])),
    BOXES,
    st.builds(Lasso, st.lists(PIXELS, min_size=3, max_size=5).map(tuple)),
    st.builds(Paint, LINES, st.sampled_from([3.0, 12.0]), st.booleans()),
    BOXES.map(lambda box: Mask(region_mask(box, Window(0, 0, 40, 56)))),
)
NAMES = st.sampled_from(["a", "b", "c"])
ACTIONS = st.one_of(
    st.tuples(st.just("add"), st.lists(INTERACTIONS, max_size=3)),
    st.tuples(st.just("add"), st.lists(CLICKS, min_size=1, max_size=1)),
    st.tuples(st.just("remove"), st.integers(0, 9)),
    st.tuples(st.just("move"), st.integers(0, 9), PIXELS),
    st.tuples(st.just("object"), NAMES),
    st.tuples(st.just("switch"), st.integers(0, 3)),
    st.tuples(st.just("rename"), st.integers(0, 3), NAMES),
    st.tuples(st.just("delete"), st.integers(0, 3)),
    st.sampled_from([("undo",), ("undo",), ("redo",), ("save",), ("reset",)]),
)
Tracks = tuple[tuple[str, tuple[tuple[Interaction, ...], ...]], ...]
"""Each object's name, and its interactions in groups of one step each."""


class Model:
    """What a session should hold, in plain tuples."""

    def __init__(self) -> None:
        self.tracks: Tracks = (("object 1", ()),)
        self.active = 0
        self.past: list[tuple[Tracks, int]] = []
        self.undone: list[tuple[Tracks, int]] = []

    @property
    def now(self) -> tuple[Tracks, int]:
        return self.tracks, self.active

    @property
    def interactions(self) -> list[Interaction]:
        return [each for group in self.tracks[self.active][1] for each in group]

    def change(self, tracks: Tracks, active: int) -> None:
        self.past.append(self.now)
        self.undone.clear()
        self.tracks, self.active = tracks, active

    def set_groups(self, groups: list[list[Interaction]]) -> None:
        nonempty = tuple(tuple(group) for group in groups if group)
        own = self.tracks[self.active][0], nonempty
        self.change((*self.tracks[: self.active], own, *self.tracks[self.active + 1 :]), self.active)

    def step(self, taken: list[Any], given: list[Any]) -> None:
        if taken:
            given.append(self.now)
            self.tracks, self.active = taken.pop()


def done(session: Session, model: Model, action: Any, folder: Path) -> Session:
    """The session after an action that the model follows; indices wrap around, so that most of them are valid."""
    kind, *arguments = action
    names, groups = [name for name, _ in model.tracks], [list(group) for group in model.tracks[model.active][1]]
    where = [(g, i) for g, group in enumerate(groups) for i in range(len(group))]
    if kind == "add":
        session.add(arguments[0])
        if arguments[0]:
            model.set_groups([*groups, arguments[0]])
    elif kind == "remove" and where:
        session.remove(arguments[0] % len(where))
        g, i = where[arguments[0] % len(where)]
        model.set_groups([*groups[:g], groups[g][:i] + groups[g][i + 1 :], *groups[g + 1 :]])
    elif kind == "move" and where:
        g, i = where[arguments[0] % len(where)]
        if isinstance(groups[g][i], Click):
            session.move(arguments[0] % len(where), *arguments[1])
            groups[g][i] = Click(*arguments[1], groups[g][i].positive)
            model.set_groups(groups)
        else:
            with pytest.raises(InteractionError, match="index of a click"):
                session.move(arguments[0] % len(where), *arguments[1])
    elif kind == "object" and arguments[0] not in names:
        assert session.add_object(arguments[0]) == arguments[0]
        model.change((*model.tracks, (arguments[0], ())), len(names))
    elif kind == "switch":
        model.active = arguments[0] % len(names)
        assert session.switch(names[model.active]) is session.result
    elif kind == "rename" and arguments[1] not in names:
        index = arguments[0] % len(names)
        session.rename(names[index], arguments[1])
        model.change(
            (*model.tracks[:index], (arguments[1], model.tracks[index][1]), *model.tracks[index + 1 :]), model.active
        )
    elif kind == "delete":
        index = arguments[0] % len(names)
        session.delete(names[index])
        left = (*model.tracks[:index], *model.tracks[index + 1 :]) or (("object 1", ()),)
        model.change(left, min(model.active - (index < model.active), len(left) - 1))
    elif kind == "undo":
        session.undo()
        model.step(model.past, model.undone)
    elif kind == "redo":
        session.redo()
        model.step(model.undone, model.past)
    elif kind == "reset":
        session.reset()
        if where:
            model.set_groups([])
    elif kind == "save":
        return interactify.load_session(session.save(folder / "s.npz"), NET, PHOTO)
    return session


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions=st.lists(ACTIONS, min_size=2, max_size=12))
def test_a_session_equals_a_new_one_with_the_same_interactions(actions: list[Any], tmp_path: Path) -> None:
    session, model = NET.session(PHOTO), Model()
    for action in actions:
        before, changes = session.history.now, len(model.past)
        session = done(session, model, action, tmp_path)
        if len(model.past) > changes and action[0] != "redo":
            session.undo()
            assert session.history.now is before, "undo takes back this change alone"
            session.redo()
        assert session.objects == tuple(name for name, _ in model.tracks)
        assert session.active == model.tracks[model.active][0] and session.interactions == tuple(model.interactions)
        assert (session.can_undo, session.can_redo) == (bool(model.past), bool(model.undone))
    for name, groups in model.tracks:
        fresh = NET.session(PHOTO)
        for group in groups:
            fresh.add(list(group))
        assert fresh.interactions == session.interactions_of(name)
        result = session.result_of(name)
        assert torch.equal(fresh.result.logits, result.logits)
        assert np.array_equal(fresh.result.mask, result.mask)
        assert np.array_equal(fresh.result.probability, result.probability)
        assert fresh.result.unsatisfied == result.unsatisfied and fresh.result.overruled == result.overruled
        assert {*result.interactions, *result.overruled} == {*session.interactions_of(name)}, "no interaction is lost"


def test_removing_and_moving() -> None:
    session = NET.session(PHOTO)
    session.click(10, 10)
    session.add([Click(30, 20), Click(5, 35, False)])
    session.click(50, 5, positive=False)
    assert [c.x for c in session.remove(1).clicks] == [10, 5, 50]
    assert [len(group) for group in groups_of(session.steps)] == [1, 1, 1]
    assert [c.x for c in session.remove(-1).clicks] == [10, 5]
    moved = session.move(0, 12, 14)
    assert (moved.clicks[0].x, moved.clicks[0].y, moved.clicks[0].positive) == (12, 14, True)
    for count in (2, 3, 4):
        assert len(session.undo().clicks) == count
    assert len(session.redo().clicks) == 3
    session.click(20, 20)
    assert session.redo().clicks == session.interactions, "what was undone before a new click is gone"


@pytest.mark.parametrize("index", [2, -3, 10**20, 0.0, "0", None, True, np.nan, np.array([0, 1])], ids=str)
def test_invalid_indices(index: Any) -> None:
    session = NET.session(PHOTO)
    with pytest.raises(InteractionError, match="there are none"):
        session.remove(0)
    session.add([Click(10, 10), Click(30, 20, False)])
    before = session.history
    for change in (lambda: session.remove(index), lambda: session.move(index, 3, 3), lambda: session.move(0, 99, 3)):
        with pytest.raises(InteractionError):
            change()
    assert session.history is before


def test_a_network_that_breaks_while_clicks_are_refined_again() -> None:
    network = networks.seeded(lambda: networks.Failing("nan"))
    session = interactify.wrap(network, max_evaluations=3).session(networks.random_photo())
    session.click(x=30, y=20)
    session.click(x=60, y=40)
    before = session.history
    network.turn(on=True)
    with pytest.raises(NonFiniteError):
        session.remove(0)
    assert session.history is before
    network.turn(on=False)
    assert len(session.remove(0).clicks) == 1
