"""Files of sessions over slices: the same masks, the same history, and the same next answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import interactify
from interactify.errors import CheckpointError, InteractionError, OptionError
from interactify.interactions import Box, Mask, Scribble
from interactify.slices.session import SliceSession
from tests.fixtures.slices import careful, truth, volume

NET, VOLUME = careful(), volume()


def worked() -> SliceSession:
    """A session with several changes, one of which is undone."""
    session = NET.slices(VOLUME, reach=2)
    session.click(12, 12, 4)
    session.add([Scribble([(8, 12), (16, 12)]), Box(4, 5, 19, 18)], at=6)
    session.add([Mask(truth()[2])], at=2, carry=False)
    session.click(3, 3, 6, False)
    session.undo()
    return session


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[SliceSession, Path]:
    session = worked()
    return session, session.save(tmp_path_factory.mktemp("slices") / "session.npz")


def test_a_loaded_session_goes_on_as_the_saved_one(saved: tuple[SliceSession, Path]) -> None:
    again, path = saved
    session, loaded = worked(), interactify.load_slices(path, NET, VOLUME)
    assert np.array_equal(again.result.mask, session.result.mask), "the same interactions give the same masks"
    assert again.result.evaluations == session.result.evaluations == loaded.result.evaluations
    assert np.array_equal(loaded.result.mask, session.result.mask)
    assert loaded.interactions == session.interactions and loaded.result.waiting == session.result.waiting == {2}
    assert loaded.result.corrected == session.result.corrected and loaded.reach == 2
    for change in ("redo", "undo", "carry"):
        one, other = getattr(session, change)(), getattr(loaded, change)()
        assert np.array_equal(one.mask, other.mask) and one.changed == other.changed
    one, other = (each.click(5, 20, 6, False) for each in (session, loaded))
    assert np.array_equal(one.mask, other.mask) and one.evaluations == other.evaluations
    while session.can_undo:
        assert np.array_equal(session.undo().mask, loaded.undo().mask)
    assert not loaded.can_undo and session.can_redo and loaded.can_redo


def test_what_time_ended_goes_on_from_the_mask_that_was_saved(tmp_path: Path) -> None:
    net = careful(max_seconds=0.0, propagation="none")
    session = net.slices(VOLUME)
    result = session.add([Scribble([(6, 8), (18, 17)])], at=4)
    assert result.status == "time"
    loaded = interactify.load_slices(session.save(tmp_path / "s.npz"), net, VOLUME)
    assert np.array_equal(loaded.result.mask, result.mask) and loaded.result.unsatisfied == result.unsatisfied
    one, other = (each.click(3, 3, 4, False).mask for each in (session, loaded))
    assert np.array_equal(one, other)


def test_another_machines_masks_stay_where_they_are_computed_otherwise(tmp_path: Path) -> None:
    session = NET.slices(VOLUME, reach=0)
    session.click(12, 12, 4)
    (state,) = session.result.slices.values()
    shown = state.mask.mask.copy()
    shown[20:23, 20:23] = True  # as if rounding had been another one
    object.__setattr__(state, "mask", type(state.mask).of(shown))
    loaded = interactify.load_slices(session.save(tmp_path / "s.npz"), NET, VOLUME)
    assert np.array_equal(loaded.result.mask_of(4), shown)
    assert loaded.click(2, 2, 4, False).mask_of(4)[21, 21]


def test_other_networks_volumes_and_options_are_refused(saved: tuple[SliceSession, Path]) -> None:
    _, path = saved
    other = careful()
    with torch.no_grad():
        other.unwrap().head.bias += 0.1
    for net, array, says in ((other, VOLUME, "other weights"), (NET, VOLUME[::-1].copy(), "another one"),
                             (careful(propagation="none"), VOLUME, "propagation")):  # fmt: skip
        with pytest.raises(CheckpointError, match=says):
            interactify.load_slices(path, net, array)
    with pytest.raises(OptionError, match="wrapped"):
        interactify.load_slices(path, NET.unwrap(), VOLUME)  # type: ignore[arg-type]


@pytest.mark.parametrize("damage", ["no file", "photo's", "mask", "place", "interaction", "order", "waiting", "now"])
def test_damaged_files_are_refused(saved: tuple[SliceSession, Path], tmp_path: Path, damage: str) -> None:
    path = tmp_path / "damaged.npz"
    if damage == "photo's":
        NET.session(VOLUME[0]).save(path)
    elif damage != "no file":
        with np.load(saved[1]) as file:
            arrays: dict[str, Any] = {name: file[name] for name in file.files}
        header = json.loads(arrays["header"].tobytes())
        last = header["results"][-1]
        if damage == "mask":
            arrays["masks"] = arrays["masks"][:-9]
        elif damage == "place":
            last["slices"] = {"99": 0}
        elif damage == "interaction":
            header["answers"][0]["interactions"][0]["x"] = 400
        elif damage == "order":
            last["order"] = last["order"][:-1]
        elif damage == "waiting":
            last["waiting"] = [8]
        else:
            header["now"] = 77
        arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
        np.savez(path, **arrays)
    with pytest.raises(CheckpointError, match="Expected a"):
        interactify.load_slices(path, NET, VOLUME)


def test_only_a_new_session_takes_over_a_history(saved: tuple[SliceSession, Path]) -> None:
    with pytest.raises(InteractionError, match="new session"):
        saved[0].restore(NET.slices(VOLUME)._history)
