"""Sessions made again: from the file that one was saved to, and from the log of one."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from interactify import brs
from interactify.errors import CheckpointError, InteractifyError, InteractionError, OptionError, shown, within_memory
from interactify.interactions.click import Interaction
from interactify.interactions.gestures import interaction_from_json
from interactify.pictures.picture import PictureLike, open_picture
from interactify.refinement.history import History, Snapshot, Steps, Track, check_name
from interactify.refinement.wrapped import Wrapped
from interactify.session.session import Session
from interactify.session.session_file import fingerprint, read_session, read_step, settings_of
from interactify.session.session_log import OWN_KEYS, read_log


def load_session(path: str | Path, net: Wrapped, photo: PictureLike) -> Session:
    """Go on from a saved session: the next click gives the very mask it would have given then.

    Args:
        path: the file that `Session.save` wrote.
        net: the same network, wrapped the same way.
        photo: the same photo.

    Raises:
        CheckpointError: the file is missing, broken or of another kind, or was saved for another network, other
            options, or another photo.
        OptionError: what is given is no wrapped network.
        PhotoError: the photo can't be read.
    """
    if not isinstance(net, Wrapped):
        raise OptionError(f"Expected a wrapped network, got {type(net).__name__}. Try interactify.wrap(model).")
    header, arrays = read_session(path)
    picture = open_picture(photo, net.spec.channels)
    if header["photo"] != picture.digest():
        raise CheckpointError(f"{path} was saved for another photo. Give the photo it was made on, unchanged.")
    if header["network"] != fingerprint(net.unwrap()):
        raise CheckpointError(f"{path} was saved for a network with other weights. Load those, then the session.")
    try:
        settings = header["settings"]
        session = Session(net, picture, _target(settings), tile=settings.get("tile", False))
        here = settings_of(net, session.refiner, session.target)
        other = [f"{k}: {header['settings'].get(k)!r}, here {v!r}" for k, v in here.items() if _differs(header, k, v)]
        if other:
            raise CheckpointError(f"{path} was saved under other options ({'; '.join(other)}). Wrap with those.")
        own, saved = session.initial_step.result.logits.cpu(), torch.from_numpy(arrays["plain"])
        if own.shape != saved.shape or not torch.allclose(own.float(), saved.float(), rtol=1e-2, atol=1e-2):
            raise CheckpointError(
                f"{path} was saved for a network that answers otherwise on this photo. Wrap that one."
            )
        session.restore(_timeline(session, header, arrays))
    except CheckpointError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, InteractifyError) as cause:
        raise CheckpointError(f"{path} is not a whole session ({cause}). Load an older copy.") from cause
    return session


def _target(settings: dict[str, Any]) -> Any:
    """The session's; None, the class under the first click, also where the network was wrapped for one class."""
    target = settings.get("target")
    return "clicked" if target is None else target


def _timeline(session: Session, header: dict[str, Any], arrays: dict[str, np.ndarray]) -> History:
    """The history that is stored, its steps those of this session's photo and network."""
    reached: list[Steps] = []  # of each step, the steps that it is the last of
    targets: list[int | None] = []
    for place, stored in enumerate(header["steps"]):
        target = session.net.network.target(stored["target"])
        before = _of(reached, stored["after"])
        if before and targets[int(stored["after"])] != target:
            raise ValueError("a step of another class than the one before it")
        targets.append(target)
        reached.append((*before, read_step(session.refiner, target, before, stored, arrays, str(place))))
    snapshots = []
    for stored in header["boards"]:
        tracks: list[Track] = []
        for entry in stored["objects"]:
            target, last = session.net.network.target(entry["target"]), entry["last"]
            if last is not None and targets[int(last)] != target:
                raise ValueError("an object of another class than its steps")
            check_name(entry["name"], [track.name for track in tracks])
            tracks.append(Track(entry["name"], target, _of(reached, last)))
        snapshots.append(Snapshot(tuple(tracks), _index(stored["active"], len(tracks))))
    now = _index(header["now"], len(snapshots))
    return History(snapshots[now], tuple(snapshots[:now]), tuple(reversed(snapshots[now + 1 :])))


def _of(reached: list[Steps], last: object) -> Steps:
    """The steps that end with one, by its place; None is before anything was said."""
    return () if last is None else reached[_index(last, len(reached))]


def _index(value: object, count: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < count:
        raise ValueError(f"there is no {value!r} of {count}")
    return value


def _differs(header: dict[str, Any], key: str, value: Any) -> bool:
    return key not in header["settings"] or header["settings"][key] != value


def replay(log: str | os.PathLike[str], net: Wrapped, photo: PictureLike, *, progress: bool = False) -> Session:
    """Say all that a log tells to a new session: the same network gives the same masks, another one its own.

    Args:
        log: the lines that `Session.log` gave, or the path of a file that holds them.
        net: a wrapped network.
        photo: a photo of the same size.
        progress: show a bar.

    Raises:
        InteractionError: this is no log, the photo has another size, or an interaction does not fit it.
        OptionError: a class that the network hasn't.
        PhotoError, ModelError, NonFiniteError: as `Interactive.session` and `Session.click`.

    >>> net, photo = interactify.wrap(interactify.zoo.load()), np.zeros((60, 80, 3), np.uint8)
    >>> session = net.session(photo)
    >>> result = session.click(40, 30)
    >>> again = interactify.replay(session.log(), net, photo)
    >>> bool((again.result.mask == result.mask).all()), again.log() == session.log()
    (True, True)
    """
    header, entries = read_log(log)
    session = Session(net, photo, tile=header.get("tile"))
    height, width = session.size
    if (header.get("height"), header.get("width")) != (height, width):
        raise InteractionError(
            f"The log is of a photo {shown(header.get('width'))} wide and {shown(header.get('height'))} high; this one "
            f"is {width} wide and {height} high. Give the photo that it was made on."
        )
    tracks = [Track("object 1", session.target)]
    if header["objects"]:
        tracks = []
        for stored in header["objects"]:
            check_name(stored.get("name"), [track.name for track in tracks])
            target = stored.get("target")
            tracks.append(Track(stored["name"], session.target if target is None else net.network.target(target)))
    groups = {track.name: _groups(session, entries, track.name) for track in tracks}
    with torch.inference_mode(False), within_memory(), tqdm(total=len(entries), disable=not progress) as bar:
        for place, track in enumerate(tracks):
            said: tuple[Interaction, ...] = ()
            for group, superseded in groups[track.name]:
                said = (*said, *group)
                stop = _superseded if superseded else brs.stopping(net.max_seconds)
                steps = (*tracks[place].steps, session.refiner.refine(tracks[place].steps, said, track.target, stop))
                tracks[place] = replace(track, steps=steps)
                bar.update(len(group))
    active = header.get("active", 0)
    active = active if isinstance(active, int) and 0 <= active < len(tracks) else 0
    session.restore(History(Snapshot(tuple(tracks), active)))
    return session


def _superseded() -> str:
    return "superseded"


def _groups(session: Session, entries: list[dict[str, Any]], name: str) -> list[tuple[list[Interaction], bool]]:
    """What was said at once of an object, checked, and whether something newer came before it was answered."""
    found: list[tuple[list[Interaction], bool]] = []
    last: object = None
    for entry in entries:
        if entry.get("object", "object 1") == name:
            stored = {key: value for key, value in entry.items() if key not in OWN_KEYS}
            step = entry.get("step")
            if not found or step is None or step != last:  # lines without a step are answered one by one
                found.append(([], entry.get("superseded") is True))
            found[-1][0].append(session.checked(interaction_from_json(stored)))
            last = step
    return found
