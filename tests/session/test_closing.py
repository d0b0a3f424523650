"""A closed session gives its memory back, says so where it is used, and leaves results readable."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import interactify
from interactify.errors import ClosedSessionError, InteractifyError
from interactify.session.session import Session
from tests.fixtures import networks

PHOTO = networks.random_photo(40, 56)
NET = interactify.wrap(networks.seeded(networks.Plain), max_evaluations=3)

CALLS: dict[str, Callable[[Session], Any]] = {
    "click": lambda session: session.click(3, 3),
    "add": lambda session: session.add([interactify.Box(1, 1, 9, 9)]),
    "add nothing": lambda session: session.add([]),
    "remove": lambda session: session.remove(0),
    "move": lambda session: session.move(0, 2, 2),
    "undo": Session.undo,
    "redo": Session.redo,
    "reset": Session.reset,
    "restart": Session.restart,
    "preview": Session.preview,
    "result": lambda session: session.result,
    "interactions": lambda session: session.interactions,
    "initial_step": lambda session: session.initial_step,
    "photo": lambda session: session.photo,
    "size": lambda session: session.size,
    "can_undo": lambda session: session.can_undo,
    "save": lambda session: session.save("nowhere.npz"),
    "log": Session.log,
    "objects": lambda session: session.objects,
    "add_object": lambda session: session.add_object("cat"),
    "switch": lambda session: session.switch("object 1"),
    "rename": lambda session: session.rename("object 1", "cat"),
    "delete": lambda session: session.delete("object 1"),
    "label_map": Session.label_map,
    "class_map": Session.class_map,
    "category": Session.category,
}


@pytest.mark.parametrize("name", CALLS)
def test_what_needs_an_open_session(name: str) -> None:
    session = NET.session(PHOTO)
    session.close()
    with pytest.raises(ClosedSessionError, match=r"Expected an open session.* Try net\.session\(photo\)"):
        CALLS[name](session)
    session.close()
    assert session.closed and repr(session) == "Session(closed)"


def test_results_stay_readable_and_memory_is_given_back() -> None:
    with NET.session(PHOTO) as session:
        results = [session.result, session.click(20, 20), session.click(5, 30, False)]
        before = [(result.mask.copy(), result.changed.copy(), result.satisfied) for result in results]
        refiner, step = weakref.ref(session.refiner), weakref.ref(session.steps[-1])
        assert not session.closed
    assert session.closed and issubclass(ClosedSessionError, InteractifyError)
    gc.collect()
    assert refiner() is None and step() is None, "the results hold neither the photo nor the history"
    for result in results:
        result.__dict__.pop("mask", None), result.__dict__.pop("changed", None)
    after = [(result.mask, result.changed, result.satisfied) for result in results]
    assert all(
        np.array_equal(a, b) for one, two in zip(before, after, strict=True) for a, b in zip(one, two, strict=True)
    )


def test_an_error_in_the_block_closes_too() -> None:
    with pytest.raises(KeyError), NET.session(PHOTO) as session:
        raise KeyError("mine")
    assert session.closed


def test_closing_ends_a_running_refinement(monkeypatch: pytest.MonkeyPatch) -> None:
    net = interactify.wrap(networks.seeded(networks.Plain), max_evaluations=1000, energy="brs")
    session = net.session(PHOTO)
    running, found = threading.Event(), []
    run = session.refiner.passes

    def slowly(*args: Any) -> Any:
        running.set()
        return run(*args) * 1.0

    session.refiner.passes = slowly  # type: ignore[assignment]
    monkeypatch.setattr(type(net.energy), "reached", lambda self, logits, labels: logits.new_zeros(()).bool())
    thread = threading.Thread(target=lambda: found.append(session.click(20, 20)))
    thread.start()
    assert running.wait(20)
    session.close()
    thread.join(20)
    assert session.closed and len(found) == 1 and found[0].status in ("superseded", "stalled", "converged")
    assert found[0].mask.shape == (40, 56)
