"""Whatever was said, taken back, moved, undone and saved: what holds is what the clicks that are left lead to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import networks
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import interactify
from interactify.errors import InteractionError, NonFiniteError
from interactify.session import Session
from interactify.timeline import groups_of

PHOTO = networks.random_photo(40, 56)
NET = interactify.wrap(networks.seeded(networks.Plain), max_evaluations=3, resolution=64)
PLACES = st.tuples(st.integers(0, 55), st.integers(0, 39))
ACTIONS = st.one_of(
    st.tuples(st.just("click"), PLACES, st.booleans()),
    st.tuples(st.just("add"), st.lists(st.tuples(PLACES, st.booleans()), max_size=3)),
    st.tuples(st.just("remove"), st.integers(0, 5)),
    st.tuples(st.just("move"), st.integers(0, 5), PLACES),
    st.sampled_from([("undo",), ("redo",), ("save",)]),
)


def done(session: Session, action: Any, folder: Path) -> Session:
    """The session after an action; removing and moving wrap around, so that most of them mean something."""
    kind, *said = action
    count = len(session.interactions)
    if kind == "click":
        session.click(*said[0], positive=said[1])
    elif kind == "add":
        session.add([interactify.Click(x, y, positive) for (x, y), positive in said[0]])
    elif kind == "remove" and count:
        session.remove(said[0] % count)
    elif kind == "move" and count:
        session.move(said[0] % count, *said[1])
    elif kind == "undo":
        session.undo()
    elif kind == "redo":
        session.redo()
    elif kind == "save":
        return interactify.load_session(session.save(folder / "s.npz"), NET, PHOTO)
    return session


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions=st.lists(ACTIONS, min_size=1, max_size=7))
def test_what_holds_is_what_the_clicks_that_are_left_lead_to(actions: list[Any], tmp_path: Path) -> None:
    session = NET.session(PHOTO)
    for action in actions:
        before = session.interactions, session.result
        session = done(session, action, tmp_path)
        if action[0] in ("click", "remove", "move") and session.interactions != before[0]:
            assert session.undo() is before[1] and session.interactions == before[0], "undo takes back just that"
            session.redo()
    anew = NET.session(PHOTO)
    for group in groups_of(session.steps):
        anew.add(list(group))
    assert anew.interactions == session.interactions
    assert torch.equal(anew.result.logits, session.result.logits)
    assert np.array_equal(anew.result.mask, session.result.mask)


def test_removing_and_moving() -> None:
    session = NET.session(PHOTO)
    session.click(10, 10)
    session.add([interactify.Click(30, 20), interactify.Click(5, 35, False)])
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
def test_places_that_are_none(index: Any) -> None:
    session = NET.session(PHOTO)
    with pytest.raises(InteractionError, match="there are none"):
        session.remove(0)
    session.add([interactify.Click(10, 10), interactify.Click(30, 20, False)])
    before = session.timeline
    for change in (lambda: session.remove(index), lambda: session.move(index, 3, 3), lambda: session.move(0, 99, 3)):
        with pytest.raises(InteractionError):
            change()
    assert session.timeline is before


def test_a_network_that_breaks_while_clicks_are_made_anew() -> None:
    model = networks.seeded(lambda: networks.Failing("nan"))
    session = interactify.wrap(model, max_evaluations=3).session(networks.random_photo())
    session.click(x=30, y=20)
    session.click(x=60, y=40)
    before = session.timeline
    model.turn(on=True)
    with pytest.raises(NonFiniteError):
        session.remove(0)
    assert session.timeline is before
    model.turn(on=False)
    assert len(session.remove(0).clicks) == 1
