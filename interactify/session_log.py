"""A session as text: what was said of which object, a line of JSON each, and the masks made again from it.

Unlike a saved session (`session_file.py`) a log holds no numbers of the network: it is read by people, kept in version
control, and replayed on another network or a better checkpoint.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from tqdm import tqdm

from interactify import brs
from interactify.errors import InteractionError, shown
from interactify.gestures import interaction_from_json
from interactify.interactions import Interaction
from interactify.memory import within_memory
from interactify.objects import check_name
from interactify.picture import PictureLike
from interactify.session import Session
from interactify.timeline import Board, Timeline, Track, groups_of

if TYPE_CHECKING:
    from interactify.wrap import Interactive

FORMAT = 1
_OWN_KEYS = ("object", "step", "superseded")


def log_of(session: Session) -> str:
    """What holds of a session as JSON lines; see `Session.log`."""
    height, width = session.size
    board = session.timeline.now
    objects = [{"name": track.name, "target": track.target} for track in board.tracks]
    lines: list[dict[str, Any]] = [
        {"interactify": FORMAT, "width": width, "height": height, "objects": objects, "active": board.active}
    ]
    if session.scene.tile:
        lines[0]["tile"] = session.scene.tile
    for track in board.tracks:
        for k, (step, group) in enumerate(zip(track.steps, groups_of(track.steps), strict=True)):
            for each in group:
                line = {"object": track.name, "step": k, **each.to_json()}
                lines.append({**line, "superseded": True} if step.result.status == "superseded" else line)
    return "".join(json.dumps(line) + "\n" for line in lines)


def replay(log: str | os.PathLike[str], net: Interactive, photo: PictureLike, *, progress: bool = False) -> Session:
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
    header, entries = _read(log)
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
                steps = (*tracks[place].steps, session.scene.answered(tracks[place].steps, said, track.target, stop))
                tracks[place] = replace(track, steps=steps)
                bar.update(len(group))
    active = header.get("active", 0)
    active = active if isinstance(active, int) and 0 <= active < len(tracks) else 0
    session.restore(Timeline(Board(tuple(tracks), active)))
    return session


def _superseded() -> str:
    return "superseded"


def _groups(session: Session, entries: list[dict[str, Any]], name: str) -> list[tuple[list[Interaction], bool]]:
    """What was said at once of an object, checked, and whether something newer came before it was answered."""
    found: list[tuple[list[Interaction], bool]] = []
    last: object = None
    for entry in entries:
        if entry.get("object", "object 1") == name:
            stored = {key: value for key, value in entry.items() if key not in _OWN_KEYS}
            step = entry.get("step")
            if not found or step is None or step != last:  # lines without a step are answered one by one
                found.append(([], entry.get("superseded") is True))
            found[-1][0].append(session.checked(interaction_from_json(stored)))
            last = step
    return found


def _read(log: str | os.PathLike[str]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The first line of a log, and the others."""
    if isinstance(log, str) and log.lstrip().startswith("{"):
        text = log
    elif isinstance(log, (str, os.PathLike)):
        try:
            text = Path(log).read_text()
        except (OSError, ValueError) as cause:
            raise InteractionError(
                f"Can't read a log from {shown(log)}: {cause}. Give its path, or its text."
            ) from cause
    else:
        raise InteractionError(f"Expected a log as text or the path of a file, got {shown(log)}.")
    lines: list[Any] = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                lines.append(json.loads(line))
            except ValueError as cause:
                raise InteractionError(f"Line {number} of the log is no JSON ({cause}). Was it cut short?") from cause
            if not isinstance(lines[-1], dict):
                raise InteractionError(
                    f'Line {number} of the log is no object of JSON, such as {{"kind": "click", …}}.'
                )
    header, objects = (lines or [{}])[0], (lines or [{}])[0].get("objects")
    if header.get("interactify") != FORMAT or not isinstance(objects, list):
        raise InteractionError(
            f'Expected a log to begin with {{"interactify": {FORMAT}, "width": …, "height": …, "objects": […]}}, '
            f"as session.log() writes it; got {shown(header)}."
        )
    if not all(isinstance(stored, dict) for stored in objects):
        raise InteractionError(f'Expected the log\'s objects as {{"name": …}}, got {shown(objects)}.')
    names = [stored.get("name") for stored in objects] or ["object 1"]
    for entry in lines[1:]:
        if entry.get("object", "object 1") not in names:
            raise InteractionError(
                f"The log speaks of an object {shown(entry.get('object'))} that its first line lacks."
            )
    return header, lines[1:]
