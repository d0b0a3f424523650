"""Sessions from storage: from the file that one was saved to, from a pickle or a copy, and from its log."""

from __future__ import annotations

import copyreg
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from interactify import brs
from interactify.errors import (
    CheckpointError,
    InteractifyError,
    InteractionError,
    OptionError,
    with_type,
    within_memory,
)
from interactify.interactions.click import Interaction
from interactify.interactions.gestures import interaction_from_json
from interactify.optim.status import Status
from interactify.pictures.picture import Picture, PictureLike
from interactify.pictures.value_range import checked_value_range
from interactify.propagation.propagation import PROPAGATIONS
from interactify.refinement.choices import USUAL, Choice, checked_choice
from interactify.refinement.history import FIRST_OBJECT, History, Snapshot, Steps, Track, check_name
from interactify.refinement.wrapped import Wrapped
from interactify.session.archive import check_prediction, check_settings
from interactify.session.session import Session
from interactify.session.session_file import fingerprint, read_session, read_step, settings_of
from interactify.session.session_log import OWN_KEYS, read_log
from interactify.session.stored_steps import Source


def load_session(path: str | Path, net: Wrapped, photo: PictureLike) -> Session:
    """Continue a saved session: the next click gives the very mask that it would have given then.

    Args:
        path: the file that `Session.save` wrote.
        net: the same network, wrapped the same way.
        photo: the same photo.

    Raises:
        CheckpointError: the file is missing, broken or of another kind, or was saved for another network, other
            options, or another photo.
        OptionError: `net` is not a wrapped network.
        PhotoError: the photo can't be read.
    """
    if not isinstance(net, Wrapped):
        raise OptionError(f"Expected a wrapped network, got {type(net).__name__}. Try interactify.wrap(model).")
    header, arrays = read_session(path)
    try:
        value_range = checked_value_range(header["settings"].get("value_range"))
    except OptionError as cause:
        raise CheckpointError(f"Expected a whole session, got {path} ({cause}). Try an older copy.") from cause
    picture = net.picture(photo, value_range)
    if picture.value_range != value_range:
        raise CheckpointError(
            f"Expected the options that {path} was saved under, value_range: {value_range}, got {picture.value_range}. "
            "Try to wrap with those."
        )
    if header["photo"] != picture.digest():
        raise CheckpointError(f"Expected the photo that {path} was saved for, unchanged; got another one.")
    if header["network"] != fingerprint(net.unwrap()):
        raise CheckpointError(
            f"Expected the network that {path} was saved for, got other weights. Try to load those first; or, for a "
            "network that was trained again, interactify.replay(log, net, photo) with the log of the old session, "
            "session.log()."
        )
    try:
        settings = {"fit": "letterbox", **header["settings"]}  # files from before there was a choice
        settings["energy"] = _with_hold(settings["energy"])
        net = _with_former_defaults(net, settings)
        session = Session(net, picture, _target(settings), tile=settings.get("tile", False))
        current = settings_of(session.wrapped, session.refiner, session.target)
        check_settings(path, settings, current)
        check_prediction(path, session.initial_step.result.logits, arrays["plain"], "photo")
        session.restore(_history(session, header, arrays))
    except CheckpointError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, InteractifyError) as cause:
        raise CheckpointError(f"Expected a whole session, got {path} ({cause}). Try an older copy.") from cause
    return session


def _with_hold(energy: str) -> str:
    """The text of an energy; of the margin energy from before it held anything, as one that holds nothing."""
    old = energy.startswith("Margin(") and "hold=" not in energy
    return f"{energy[:-1]}, hold=0.0)" if old else energy


def _with_former_defaults(net: Wrapped, settings: Mapping[str, Any]) -> Wrapped:
    """The network with the options that once were the default, where a session was saved so."""
    known: dict[str, tuple[object, ...]] = {
        "propagation": (replace(PROPAGATIONS["colour"], adapts=True),) if net.propagation.gates else (),
        "energy": (brs.Margin(), brs.Margin(hold=0.0)),
    }
    former = {
        name: each
        for name, choices in known.items()
        for each in choices
        if net.options[name] is None and settings[name] == repr(each)
    }
    return net.wrap_again(net.unwrap(), {**net.options, **former}) if former else net


def _target(settings: dict[str, Any]) -> Any:
    """The session's class; None means the class under the first click, whatever the network was wrapped for."""
    target = settings.get("target")
    return "clicked" if target is None else target


def _history(session: Session, header: dict[str, Any], arrays: dict[str, np.ndarray]) -> History:
    """The stored history, with steps for this session's photo and network."""
    source = Source(session.refiner)
    step_lists: list[Steps] = []  # for each stored step, the steps up to it
    targets: list[int | None] = []
    for index, stored in enumerate(header["steps"]):
        target = session.wrapped.network.target(stored["target"])
        before = _steps_to(step_lists, stored["after"])
        if before and targets[int(stored["after"])] != target:
            raise ValueError("a step of another class than the one before it")
        targets.append(target)
        step_lists.append((*before, read_step(source, target, before, stored, arrays, str(index))))
    snapshots = []
    for stored in header["boards"]:
        tracks: list[Track] = []
        for entry in stored["objects"]:
            target, last = session.wrapped.network.target(entry["target"]), entry["last"]
            if last is not None and targets[int(last)] != target:
                raise ValueError("an object of another class than its steps")
            check_name(entry["name"], [track.name for track in tracks])
            tracks.append(Track(entry["name"], target, _steps_to(step_lists, last)))
        snapshots.append(Snapshot(tuple(tracks), _index(stored["active"], len(tracks))))
    now = _index(header["now"], len(snapshots))
    return History(snapshots[now], tuple(snapshots[:now]), tuple(reversed(snapshots[now + 1 :])))


def _steps_to(step_lists: list[Steps], last: object) -> Steps:
    """The steps up to the one with the index `last`; none where it is None."""
    return () if last is None else step_lists[_index(last, len(step_lists))]


def _index(value: object, count: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < count:
        raise ValueError(f"there is no {value!r} of {count}")
    return value


def _reduced(session: Session) -> tuple[Any, ...]:
    """A session for `pickle` and `copy`: its network, its photo, and what `Session.save` writes."""
    with TemporaryDirectory() as folder:
        stored = session.save(Path(folder) / "session.npz").read_bytes()
    return _restored, (session.net, session.refiner.picture, stored)


def _restored(net: Wrapped, picture: Picture, stored: bytes) -> Session:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "session.npz"
        path.write_bytes(stored)
        return load_session(path, net, picture)


# Not `Session.__reduce__`: a session knows nothing of this module, which makes sessions.
copyreg.pickle(Session, _reduced)


def replay(log: str | os.PathLike[str], net: Wrapped, photo: PictureLike, *, progress: bool = False) -> Session:
    """Refine all interactions of a log in a new session: the same network gives the same masks.

    Args:
        log: the lines that `Session.log` returned, or the path of a file that holds them.
        net: a wrapped network.
        photo: a photo of the same size.
        progress: show a progress bar.

    Raises:
        InteractionError: this is not a log, the photo has another size, or an interaction does not fit it.
        OptionError: a class that the network does not have, or an alternative that no result has, or none in tiles.
        PhotoError, ModelError, NonFiniteError: as `Interactive.session` and `Session.click`.

    >>> net, photo = interactify.wrap(interactify.zoo.load()), np.zeros((60, 80, 3), np.uint8)
    >>> session = net.session(photo)
    >>> result = session.click(40, 30)
    >>> again = interactify.replay(session.log(), net, photo)
    >>> bool((again.result.mask == result.mask).all()), again.log() == session.log()
    (True, True)
    """
    header, entries = read_log(log)
    session = Session(net, photo, tile=header.get("tile"), value_range=header.get("value_range"))
    height, width = session.size
    if (header.get("height"), header.get("width")) != (height, width):
        expected = f"{with_type(header.get('width'))} wide and {with_type(header.get('height'))} high"
        raise InteractionError(
            f"Expected a photo {expected}, as in the log, got one {width} wide and {height} high. Try the photo "
            "that the log is of."
        )
    tracks = [Track(FIRST_OBJECT, session.target)]
    if header["objects"]:
        tracks = []
        for stored in header["objects"]:
            check_name(stored.get("name"), [track.name for track in tracks])
            target = stored.get("target")
            tracks.append(
                Track(stored["name"], session.target if target is None else session.wrapped.network.target(target))
            )
    groups = [_groups(session, entries, track.name) for track in tracks]
    with torch.inference_mode(False), within_memory(), tqdm(total=len(entries), disable=not progress) as bar:
        for index, track in enumerate(tracks):
            steps: Steps = ()
            interactions: tuple[Interaction, ...] = ()
            for group, superseded, choice in groups[index]:
                interactions = (*interactions, *group)
                stop = (lambda: Status.SUPERSEDED) if superseded else brs.stopping(net.max_seconds)
                steps = (*steps, session.refiner.refine(steps, interactions, track.target, stop).chosen(choice))
                bar.update(len(group))
            tracks[index] = replace(track, steps=steps)
    active = header.get("active", 0)
    active = active if isinstance(active, int) and 0 <= active < len(tracks) else 0
    session.restore(History(Snapshot(tuple(tracks), active)))
    return session


def _groups(session: Session, entries: list[dict[str, Any]], name: str) -> list[LoggedGroup]:
    """An object's interactions, checked, in groups that are one step each."""
    groups: list[LoggedGroup] = []
    last: object = None
    for entry in entries:
        if entry.get("object", FIRST_OBJECT) == name:
            stored = {key: value for key, value in entry.items() if key not in OWN_KEYS}
            step = entry.get("step")
            if not groups or step is None or step != last:  # a line without a step is a step of its own
                choice = checked_choice(entry.get("choice", USUAL), whole=not session.refiner.tile)
                groups.append(([], entry.get("superseded") is True, choice))
            groups[-1][0].append(session.checked(interaction_from_json(stored)))
            last = step
    return groups


LoggedGroup = tuple[list[Interaction], bool, Choice]
"""The interactions of a step, whether it was superseded, and which alternative was chosen."""
