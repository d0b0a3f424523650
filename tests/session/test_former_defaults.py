"""A session that was saved when other options were the default goes on under those."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import interactify
from interactify import brs
from interactify.interactive import Interactive
from interactify.propagation.propagation import PROPAGATIONS
from tests.fixtures import networks

PHOTO = networks.random_photo(96, 64, seed=3)
COLOUR = replace(PROPAGATIONS["colour"], adapts=True)
FORMER: dict[str, dict[str, Any]] = {
    "propagation": {"propagation": COLOUR},
    "energy": {"energy": brs.Margin()},
    "energy that held nothing": {"energy": brs.Margin(hold=0.0)},
    "energy and propagation": {"energy": brs.Margin(), "propagation": COLOUR},
}


def net_of(**options: Any) -> Interactive:
    return interactify.wrap(networks.slim_saliency(), resolution=96, **options)


@pytest.mark.parametrize("former", FORMER.values(), ids=FORMER)
def test_a_session_goes_on_under_the_defaults_that_it_was_saved_under(former: dict[str, Any], tmp_path: Path) -> None:
    session = net_of(**former).session(PHOTO)
    for x, y, positive in [(20, 30, True), (50, 80, True), (10, 10, False)]:
        session.click(x, y, positive)
    session.save(tmp_path / "old.npz")
    loaded = interactify.load_session(tmp_path / "old.npz", net_of(), PHOTO)
    assert repr(loaded.wrapped.energy) == repr(session.wrapped.energy)
    assert repr(loaded.wrapped.propagation) == repr(session.wrapped.propagation)
    for each in (session, loaded):
        each.undo()
        each.click(30, 60, True)
    assert loaded.result.probability.tobytes() == session.result.probability.tobytes()
    given = {name: {"energy": "fbrs", "propagation": "none"}[name] for name in former}
    with pytest.raises(interactify.CheckpointError, match=next(iter(former))):
        interactify.load_session(tmp_path / "old.npz", net_of(**given), PHOTO)
