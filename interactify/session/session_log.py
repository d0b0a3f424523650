"""A session as text: what was said of which object, a line of JSON each, and the masks made again from it.

Unlike a saved session (`session_file.py`) a log holds no numbers of the network: it is read by people, kept in version
control, and replayed on another network or a better checkpoint.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from interactify.errors import InteractionError, shown
from interactify.refinement.history import History, groups_of
from interactify.refinement.refiner import Refiner

FORMAT = 1
OWN_KEYS = ("object", "step", "superseded")


def log_of(history: History, refiner: Refiner) -> str:
    """What holds of a session as JSON lines; see `Session.log`."""
    height, width = refiner.size
    snapshot = history.now
    objects = [{"name": track.name, "target": track.target} for track in snapshot.tracks]
    lines: list[dict[str, Any]] = [
        {"interactify": FORMAT, "width": width, "height": height, "objects": objects, "active": snapshot.active}
    ]
    if refiner.tile:
        lines[0]["tile"] = refiner.tile
    for track in snapshot.tracks:
        for k, (step, group) in enumerate(zip(track.steps, groups_of(track.steps), strict=True)):
            for each in group:
                line = {"object": track.name, "step": k, **each.to_json()}
                lines.append({**line, "superseded": True} if step.result.status == "superseded" else line)
    return "".join(json.dumps(line) + "\n" for line in lines)


def read_log(log: str | os.PathLike[str]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
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
