"""A choice among alternatives belongs to its interactions: undone and redone with them, stored, and gone on from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import ndimage

import interactify
from interactify import Click
from interactify.errors import CheckpointError, InteractionError, OptionError
from interactify.interactions.gestures import Box, Mask, Paint
from interactify.refinement import tiled_refiner
from interactify.refinement.choices import CHOICES
from interactify.refinement.history import groups_of
from interactify.session import session_file
from interactify.session.session import Session
from tests.fixtures import networks
from tests.session.test_session_file import net_of, visible_state

PHOTO = networks.random_photo(60, 90)
NET = net_of(max_evaluations=6, resolution=64)
POINTS = ((30, 20), (80, 50), (5, 55), (60, 8), (45, 30))


def clicked(net: interactify.Interactive, choices: tuple[str, ...]) -> Session:
    """A click that the mask contradicts, and a choice, for each."""
    session = net.session(PHOTO)
    for (x, y), choice in zip(POINTS, choices, strict=False):
        session.click(x, y, positive=not bool(session.result.mask[y, x]))
        session.choose(choice)
    return session


def shown(session: Session) -> bytes:
    return session.result.probability.tobytes()


# ---- undo, redo, and what follows ------------------------------------------------------------------------------------


def test_undo_takes_the_click_back_with_its_choice() -> None:
    session = clicked(NET, ("usual",))
    usual, steps = session.result, len(session.history.snapshots)
    chosen = session.choose("narrow")
    assert chosen.choice == "narrow" and not np.array_equal(chosen.mask, usual.mask) and chosen.satisfied
    assert session.result is chosen and len(session.history.snapshots) == steps and len(session.interactions) == 1
    assert session.undo() is session.initial_step.result and not session.can_undo
    assert session.redo() is chosen
    assert session.choose("wide") is usual.alternatives.wide and session.choose("usual") is usual
    history = session.history
    session.choose("usual")
    assert session.history is history, "nothing has changed"


def test_the_past_has_the_choice_too() -> None:
    session = clicked(NET, ("usual",))
    session.add_object("other")
    session.switch("object 1")
    chosen = session.choose("narrow")
    session.undo()
    assert session.objects == ("object 1",) and session.result is chosen, "only the object is taken back"
    session.redo(), session.undo(), session.undo()
    session.redo()
    session.choose("wide")
    assert not session.can_redo, "what was undone came after another mask"


def test_the_past_before_a_removal_has_the_choice_of_then() -> None:
    session = clicked(NET, ("usual", "usual"))
    session.remove(1)
    session.choose("narrow")
    assert [[step.choice for step in each.track.steps] for each in session.history.snapshots] == [
        [], ["usual"], ["usual", "usual"], ["narrow"],
    ]  # fmt: skip
    session.undo(), session.undo()
    assert session.result.choice == "usual" and session.redo().choice == session.undo().choice == "usual"


def test_a_choice_in_inference_mode_leaves_tensors_that_gradients_can_pass() -> None:
    session = clicked(NET, ("usual",))
    with torch.inference_mode():
        session.choose("wide")
    assert not session.steps[-1].log_odds.is_inference()


@pytest.mark.parametrize("choice", ["narrow", "wide"])
def test_a_later_click_goes_on_from_the_chosen_mask(choice: str) -> None:
    session = clicked(NET, ("usual", choice))
    for x, y in POINTS[2:]:
        before = session.result.mask
        result = session.click(x, y, positive=not bool(before[y, x]))
        pieces, count = ndimage.label(result.changed)
        assert count == 1 and pieces[y, x], "the piece that the click contradicts, and nothing else"
    x, y = 20, 40
    before = session.result.mask
    assert np.array_equal(session.click(x, y, positive=bool(before[y, x])).mask, before), "one that agrees: nothing"


def test_the_usual_choice_changes_nothing() -> None:
    one, two = clicked(NET, ("usual",) * 4), NET.session(PHOTO)
    for click in one.interactions:
        two.add([click])
    assert shown(one) == shown(two) and torch.equal(one.steps[-1].values, two.steps[-1].values)


def test_strokes_regions_and_masks_after_a_choice() -> None:
    session, drawn = clicked(NET, ("narrow",)), np.zeros((60, 90), bool)
    before = session.result.mask
    y, x = (int(each) for each in np.argwhere(before)[0])
    result = session.add([Paint([(x, y), (x + 5, y)], width=4, positive=False)])
    assert result.choice == "usual" and not result.mask[y, x] and not (result.mask & ~before).any()
    assert np.array_equal(result.mask[y + 5 :], before[y + 5 :])
    boxed = session.add([Box(10, 5, 70, 50)])
    assert not boxed.mask[51:].any()
    drawn[10:30, 10:40] = True
    masked = session.add([Mask(drawn)])
    assert np.array_equal(masked.mask, drawn), "a mask that is given counts for more"
    assert np.array_equal(session.choose("narrow").mask, drawn)


def test_removing_and_moving_keep_the_choices_of_others() -> None:
    session, expected = clicked(NET, ("usual", "narrow", "wide")), NET.session(PHOTO)
    clicks = list(session.interactions)
    session.remove(0)
    for click, choice in zip(clicks[1:], ("narrow", "wide"), strict=True):
        expected.add([click])
        expected.choose(choice)
    assert [step.choice for step in session.steps] == ["narrow", "wide"] and shown(session) == shown(expected)
    session.move(-1, 30, 40)
    assert session.result.choice == "wide" and session.undo().choice == "wide"


def test_of_several_classes() -> None:
    net = net_of(lambda: networks.Plain(classes=4), propagation="none", resolution=64)
    session = net.session(PHOTO)
    session.click(30, 20)
    for choice in ("narrow", "wide", "usual"):
        mask = session.choose(choice).mask
        own = session.steps[-1].targets[0]
        assert np.array_equal(session.class_map()[mask], np.full(mask.sum(), own)), choice
    session.choose("narrow")
    y, x = np.argwhere(session.result.mask)[0]
    result = session.click(int(x), int(y), label=(own + 1) % 4)
    assert not result.mask[y, x] or not result.satisfied, "a pixel of another class is not the object's"


@pytest.mark.parametrize("follows", [Click, Paint])
def test_the_class_map_after_a_choice_and_what_does_not_run_the_network(follows: Any) -> None:
    session = net_of(lambda: networks.Plain(classes=4), propagation="none", resolution=64).session(PHOTO)
    session.click(30, 20)
    own = session.steps[-1].targets[0]
    mask = session.choose("narrow").mask
    before = session.class_map()
    y, x = (int(each) for each in np.argwhere(mask)[len(np.argwhere(mask)) // 2])
    result = session.add([Click(x, y) if follows is Click else Paint([(x, y), (x + 1, y)], width=2)])
    assert not result.evaluations and not (before == own).all()
    assert (session.class_map() != before).sum() <= 8, "under the stroke"


def test_a_click_network() -> None:
    from tests.fixtures.click_networks import by_hand, photo

    session = by_hand(True).session(photo())
    session.click(30, 20)
    narrow = session.choose("narrow")
    assert narrow.mask[20, 30]
    result = session.click(60, 40)
    assert result.mask[20, 30] and result.mask[40, 60]


# ---- files and logs --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("room", [4_000_000, 0])
@pytest.mark.parametrize("choices", [("narrow", "wide", "usual", "narrow"), ("usual", "narrow")])
def test_a_loaded_session_continues(
    choices: tuple[str, ...], room: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_file, "ROOM", room)
    session = clicked(NET, choices)
    path = session.save(tmp_path / "s.npz")
    loaded = interactify.load_session(path, NET, PHOTO)
    assert shown(loaded) == shown(session) and loaded.result.choice == choices[-1]
    assert visible_state(loaded) == visible_state(session)
    for choice in ("wide", "usual", "narrow"):
        assert np.array_equal(loaded.choose(choice).probability, session.choose(choice).probability)
    one, two = session.click(45, 30), loaded.click(45, 30)
    assert torch.equal(one.logits, two.logits) and np.array_equal(one.probability, two.probability)
    for _ in choices:
        assert np.array_equal(loaded.undo().probability, session.undo().probability)
        assert loaded.result.choice == session.result.choice
    again = interactify.load_session(loaded.save(tmp_path / "t.npz"), NET, PHOTO)
    assert again.redo().choice == session.redo().choice == choices[1] and shown(again) == shown(session)


def test_versions_without_alternatives_refuse_only_files_that_have_choices(tmp_path: Path) -> None:
    def header(session: Session) -> dict[str, Any]:
        with np.load(session.save(tmp_path / "s.npz")) as file:
            return json.loads(file["header"].tobytes())

    session = clicked(NET, ("narrow",))
    assert header(session)["format"] == 5
    session.choose("usual")
    found = header(session)
    assert found["format"] == 4 and "choice" not in found["steps"][0]


def test_a_choice_that_no_version_knows(tmp_path: Path) -> None:
    path = clicked(NET, ("narrow",)).save(tmp_path / "s.npz")
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    header = json.loads(arrays["header"].tobytes())
    header["steps"][0]["choice"] = "huge"
    arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    np.savez(path, **arrays)
    with pytest.raises(CheckpointError, match="huge"):
        interactify.load_session(path, NET, PHOTO)


def test_logs(tmp_path: Path) -> None:
    session = clicked(NET, ("narrow", "usual", "wide"))
    log = session.log()
    assert [json.loads(line).get("choice") for line in log.splitlines()[1:]] == ["narrow", None, "wide"]
    again = interactify.replay(log, NET, PHOTO)
    assert shown(again) == shown(session) and again.log() == log
    with pytest.raises(OptionError, match="huge"):
        interactify.replay(log.replace("narrow", "huge"), NET, PHOTO)


PIXELS = st.tuples(st.integers(0, 89), st.integers(0, 59))
ACTIONS = st.one_of(
    st.tuples(st.just("click"), PIXELS, st.booleans()),
    st.tuples(st.just("choose"), st.sampled_from(CHOICES)),
    st.tuples(st.just("box"), PIXELS),
    st.sampled_from([("undo",), ("redo",), ("save",), ("remove",), ("object",), ("switch",)]),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions=st.lists(ACTIONS, min_size=3, max_size=9))
def test_a_session_equals_a_new_one_with_the_same_choices(actions: list[Any], tmp_path: Path) -> None:
    net = NET
    session = net.session(PHOTO)
    for kind, *arguments in actions:
        if kind == "click":
            before, result = session.result, session.click(*arguments[0], arguments[1])
            assert result.evaluations or np.array_equal(result.probability, before.probability), "it was right"
            labels = result.point_probabilities > 0.5
            assert all((each.point_probabilities > 0.5)[labels].all() for each in result.alternatives)
        elif kind == "box":
            x, y = arguments[0]
            session.add([Box(x, y, min(89, x + 25), min(59, y + 25))])
        elif kind == "choose" and session.interactions:
            before, choices = session.undo() if session.can_undo else None, [step.choice for step in session.steps]
            session.redo()
            session.choose(arguments[0])
            if session.steps and len(choices) < len(session.steps):
                assert np.array_equal(session.undo().probability, before.probability), "undo takes both back"
                session.redo()
        elif kind == "save":
            session = interactify.load_session(session.save(tmp_path / "s.npz"), net, PHOTO)
        elif kind == "remove" and session.interactions:
            session.remove(0)
        elif kind == "object":
            session.add_object()
        elif kind == "switch":
            session.switch(session.objects[0])
        elif kind in ("undo", "redo"):
            getattr(session, kind)()
    for track in session.history.now.tracks:
        fresh = net.session(PHOTO)
        for step, group in zip(track.steps, groups_of(track.steps), strict=True):
            fresh.add(list(group))
            fresh.choose(step.choice)
        assert np.array_equal(fresh.result.probability, session.result_of(track.name).probability)


# ---- refused ---------------------------------------------------------------------------------------------------------


def test_refused_before_anything_changes() -> None:
    session = NET.session(PHOTO)
    with pytest.raises(InteractionError, match="Try a click"):
        session.choose("narrow")
    session.click(30, 20)
    before = session.history
    for word in ("widest", None, 1):
        with pytest.raises(OptionError, match="'narrow', 'usual', 'wide'"):
            session.choose(word)  # type: ignore[arg-type]
    assert session.history is before
    tiled = NET.session(networks.random_photo(60, 90), tile=32)
    tiled.add([Click(30, 20)])
    with pytest.raises(OptionError, match="tiles"):
        tiled.choose("wide")
    assert tiled.choose("usual") is tiled.result and tiled.result.alternatives.wide.satisfied


def test_in_tiles_neither_logs_nor_files_may_have_one(tmp_path: Path) -> None:
    """Of a picture in tiles no whole mask is held."""
    session = NET.session(PHOTO, tile=32)
    session.add([Click(30, 20)])
    log, path = session.log(), session.save(tmp_path / "s.npz")
    with pytest.raises(OptionError, match="tiles"):
        interactify.replay(log.replace('"kind": "click"', '"kind": "click", "choice": "wide"'), NET, PHOTO)
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    header = json.loads(arrays["header"].tobytes())
    header["steps"][0]["choice"] = "wide"
    arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    np.savez(path, **arrays)
    with pytest.raises(CheckpointError, match="tiles"):
        interactify.load_session(path, NET, PHOTO)


def test_a_log_of_a_large_photo_seen_whole_is_replayed_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiled_refiner, "TILED_ABOVE", 80)
    monkeypatch.setattr(tiled_refiner, "MIN_SIDE", 32)
    session = NET.session(PHOTO, tile=False)
    session.click(30, 20, positive=not bool(session.result.mask[20, 30]))
    session.choose("narrow")
    assert NET.session(PHOTO).refiner.tile and not session.refiner.tile
    again = interactify.replay(session.log(), NET, PHOTO)
    assert shown(again) == shown(session) and again.log() == session.log()
