"""A file has the numbers of few steps; the others are refined again, to the last bit, when they are needed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import interactify
from interactify.brs import Margin
from interactify.interactions import Box, Click, Lasso, Mask, Paint, Scribble
from interactify.pictures.window import Window
from interactify.refinement.refiner import Refiner
from interactify.session import session_file
from interactify.session.session import Session
from interactify.session.session_file import fingerprint, settings_of
from tests.fixtures import networks
from tests.session.test_session_file import net_of, visible_state

PHOTO = networks.random_photo(60, 90)


@pytest.fixture(autouse=True)
def little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what the next click needs is stored, and the step before it."""
    monkeypatch.setattr(session_file, "ROOM", 140_000)
    monkeypatch.setattr(session_file, "BACK", (1,))


def clicked(net: interactify.Interactive, count: int, **options: Any) -> Session:
    session, generator = net.session(PHOTO, **options), np.random.default_rng(0)
    for _ in range(count):
        x, y = int(generator.integers(90)), int(generator.integers(60))
        session.click(x, y, positive=not bool(session.result.mask[y, x]))
    return session


def numbers_in(path: Path) -> set[int]:
    """The steps whose variables are in a file."""
    with np.load(path) as file:
        return {int(name.split("_")[0]) for name in file.files if name.endswith("_values")}


@pytest.fixture
def refined(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of interactions of each refinement from here on."""
    counts: list[int] = []
    refine = Refiner.refine

    def counted(self: Refiner, steps: Any, interactions: Any, *others: Any, **options: Any) -> Any:
        counts.append(len(interactions))
        return refine(self, steps, interactions, *others, **options)

    monkeypatch.setattr(Refiner, "refine", counted)
    return counts


@pytest.mark.parametrize(
    ("variables", "options"),
    [
        *(("input", options) for options in ({}, {"zoom": False}, {"propagation": "none"}, {"energy": "fbrs"})),
        *((variables, {}) for variables in ("kernels", "scale_bias@down")),
    ],
    ids=str,
)
def test_undone_to_the_first_step(
    variables: str, options: dict[str, Any], tmp_path: Path, refined: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_file, "ROOM", 30_000 if variables != "input" else 140_000)
    net = net_of(variables=variables, max_evaluations=4, **options)
    session = clicked(net, 6)
    path = session.save(tmp_path / "s.npz")
    assert 5 in numbers_in(path) and len(numbers_in(path)) < 5
    refined.clear()
    loaded = interactify.load_session(path, net, PHOTO)
    assert np.array_equal(loaded.result.probability, session.result.probability)
    assert not refined, "what is shown at once is in the file"
    for _ in range(6):
        assert np.array_equal(loaded.undo().probability, session.undo().probability)
        assert np.array_equal(loaded.result.changed, session.result.changed)
    assert refined == sorted(refined) or len(refined) <= 8, "each step once"
    for _ in range(6):
        loaded.redo(), session.redo()
    assert visible_state(loaded) == visible_state(session)
    one, two = session.click(33, 44), loaded.click(33, 44)
    assert torch.equal(one.logits, two.logits) and np.array_equal(one.probability, two.probability)


def test_going_on_after_undo_and_saving_again(tmp_path: Path) -> None:
    net = net_of(max_evaluations=4)
    session = clicked(net, 6)
    loaded = interactify.load_session(session.save(tmp_path / "s.npz"), net, PHOTO)
    again = interactify.load_session(loaded.save(tmp_path / "t.npz"), net, PHOTO)
    for each in (session, loaded, again):
        for _ in range(4):
            each.undo()
        each.click(7, 7)
    third = interactify.load_session(again.save(tmp_path / "u.npz"), net, PHOTO)
    state, shown = timeless(session), session.remove(1).probability
    for other in (loaded, again, third):
        assert timeless(other) == state
        assert np.array_equal(other.remove(1).probability, shown)


def timeless(session: Session) -> list[Any]:
    """The visible state, without how long each refinement took."""
    interactions, count, *steps = visible_state(session)
    return [interactions, count, *((*step[:6], step[6][:2], step[6][3], *step[7:]) for step in steps)]


def with_everything(net: interactify.Interactive) -> Session:
    """Every kind of interaction, two objects, a refinement that was superseded, and one that was cancelled."""
    session = net.session(PHOTO)
    mask = np.zeros((60, 90), bool)
    mask[10:40, 20:60] = True
    session.add([Mask(mask)])
    session.add([Click(70, 50), Scribble([(5, 5), (60, 8)], positive=False)])
    session.add([Box(10, 5, 85, 58)])
    with session.control.superseding():
        session.click(30, 30, not bool(session.result.mask[30, 30]))
    session.add_object("second")
    session.add([Box(10, 10, 60, 50)])
    stops = session.control.stop_condition
    session.control.stop_condition = lambda seconds: lambda: "cancelled"  # type: ignore[method-assign]
    session.click(25, 25, not bool(session.result.mask[25, 25]))
    session.control.stop_condition = stops  # type: ignore[method-assign]
    session.add([Paint([(50, 40), (60, 44)], 5, True)])
    session.add([Lasso([(12, 12), (55, 15), (40, 48)])])
    session.click(80, 55, False)
    return session


def test_every_interaction_and_every_end(tmp_path: Path) -> None:
    net = net_of(max_evaluations=5)
    session = with_everything(net)
    assert {"superseded", "cancelled", "painted"} <= {
        step.status for snapshot in session.history.snapshots for track in snapshot.tracks for step in track.steps
    }
    loaded = interactify.load_session(session.save(tmp_path / "s.npz"), net, PHOTO)
    assert len(numbers_in(tmp_path / "s.npz")) < 9 and np.array_equal(loaded.label_map(), session.label_map())
    assert loaded.log() == session.log()
    assert visible_state(loaded) == visible_state(session)
    while session.can_undo:
        assert np.array_equal(loaded.undo().probability, session.undo().probability)


def test_classes(tmp_path: Path) -> None:
    net = net_of(lambda: networks.Plain(classes=4), max_evaluations=4)
    session = net.session(PHOTO)
    for x, y, label in ((10, 10, 1), (60, 30, 2), (80, 50, 3), (20, 50, None), (62, 31, 0), (11, 12, 2)):
        session.click(x, y, label=label)
    loaded = interactify.load_session(session.save(tmp_path / "s.npz"), net, PHOTO)
    assert np.array_equal(loaded.class_map(), session.class_map())
    state = [(step.result.satisfied, step.result.point_probabilities.tobytes()) for step in session.steps]
    assert [(step.result.satisfied, step.result.point_probabilities.tobytes()) for step in loaded.steps] == state
    assert visible_state(loaded) == visible_state(session)


def test_tiles(tmp_path: Path) -> None:
    net, photo = net_of(max_evaluations=4), networks.random_photo(150, 200)
    session = net.session(photo, tile=96)
    for x, y in ((20, 20), (180, 130), (25, 28), (100, 70), (22, 24)):
        session.click(x, y, not bool(session.result.mask[y, x]))
    loaded = interactify.load_session(session.save(tmp_path / "s.npz"), net, photo)
    assert np.array_equal(loaded.result.probability, session.result.probability)
    while session.can_undo:
        assert np.array_equal(loaded.undo().probability, session.undo().probability)


# ---- files of versions 0.1 and 0.2 -----------------------------------------------------------------------------------


def written_as_format_3(session: Session, path: Path) -> Path:
    """A file as those versions wrote it: each step with all its interactions, and its numbers as floats."""
    arrays: dict[str, np.ndarray] = {}
    stored: list[dict[str, Any]] = []
    indices: dict[int, int] = {}
    for track in (track for snapshot in session.history.snapshots for track in snapshot.tracks):
        before = None
        for step in track.steps:
            if id(step) not in indices:
                index = indices[id(step)] = len(stored)
                arrays[f"{index}_values"], arrays[f"{index}_odds"] = step.values.numpy(), step.log_odds.numpy()
                if step.initial_map is not None:
                    arrays[f"{index}_given"] = np.packbits(step.initial_map)
                window, result = step.result.window, step.result
                stored.append(
                    {
                        "after": None if before is None else indices[id(before)],
                        "target": track.target,
                        "window": [window.top, window.left, window.height, window.width],
                        "interactions": [each.to_json() for each in step.interactions],
                        "in_centre": result.constraints.assume_centre,
                        "targets": list(step.targets),
                        "evaluations": result.evaluations,
                        "status": result.status,
                        "seconds": result.seconds,
                    }
                )
            before = step
    boards = [
        {
            "objects": [
                {"name": t.name, "target": t.target, "last": indices[id(t.steps[-1])] if t.steps else None}
                for t in snapshot.tracks
            ],
            "active": snapshot.active,
        }
        for snapshot in session.history.snapshots
    ]
    header = {
        "format": 3,
        "settings": settings_of(session.net, session.refiner, session.target),
        "photo": session.refiner.picture.digest(),
        "network": fingerprint(session.net.unwrap()),
        "steps": stored,
        "boards": boards,
        "now": len(session.history.past),
    }
    arrays["plain"] = session.refiner.initial_step(session.target).result.logits.numpy()
    with path.open("wb") as file:
        np.savez_compressed(file, header=np.frombuffer(json.dumps(header).encode(), np.uint8), **arrays)
    return path


@pytest.mark.parametrize("play", [lambda net: clicked(net, 5), with_everything], ids=["clicks", "everything"])
def test_older_files(play: Callable[[interactify.Interactive], Session], tmp_path: Path, refined: list[int]) -> None:
    net = net_of(max_evaluations=5, energy=Margin(hold=0))  # as when there was format 3
    session = play(net)
    refined.clear()
    loaded = interactify.load_session(written_as_format_3(session, tmp_path / "old.npz"), net, PHOTO)
    assert visible_state(loaded) == visible_state(session) and not refined, "everything is in the file"
    again = interactify.load_session(loaded.save(tmp_path / "new.npz"), net, PHOTO)
    assert visible_state(again) == visible_state(session)
    assert torch.equal(again.click(3, 3).logits, session.click(3, 3).logits)


@pytest.mark.slow
def test_two_hundred_clicks_are_saved_in_half_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # as much room as users have
    photo = networks.random_photo(288, 288)
    net = interactify.wrap(networks.slim_saliency())
    session, generator = net.session(photo), np.random.default_rng(0)
    for _ in range(200):
        session.click(*generator.integers(0, 288, 2).tolist(), positive=bool(generator.integers(2)))
    path = session.save(tmp_path / "s.npz")
    assert path.stat().st_size <= 5_000_000
    loaded = interactify.load_session(path, net, photo)
    assert np.array_equal(loaded.undo().probability, session.undo().probability)
    assert np.array_equal(loaded.click(9, 9).probability, session.click(9, 9).probability)


def test_a_step_keeps_the_window_of_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Versions differ in when they look closer; a step that is refined again is seen as it was."""
    windows = [Window(10, 10, 40, 50), Window(5, 20, 50, 45), Window(5, 20, 50, 45)]
    monkeypatch.setattr(Refiner, "_window_around", lambda self, steps, *_: windows[len(steps) - 1])
    session = net_of(resolution=48).session(PHOTO)
    for x, y in ((30, 20), (35, 30), (40, 25), (50, 40)):
        session.click(x, y, positive=not bool(session.result.mask[y, x]))
    monkeypatch.setattr(session_file, "ROOM", 0)
    path = session.save(tmp_path / "s.npz")
    monkeypatch.undo()
    loaded = interactify.load_session(path, session.net, PHOTO)
    loaded.undo(), session.undo()
    assert visible_state(loaded) == visible_state(session)
    assert loaded.result.window == loaded.steps[-1].window == windows[1]
    again = interactify.load_session(loaded.save(path), session.net, PHOTO)
    assert visible_state(again) == visible_state(session)
