"""A session as text, a line of JSON for each interaction, from which `replay` computes the masks again.

Unlike a saved session (`session_file.py`) a log holds no numbers of the network: people read it, keep it in version
control, and replay it on another network or a better checkpoint.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Final

from interactify.errors import InteractionError, with_type
from interactify.optim.status import Status
from interactify.refinement.choices import USUAL
from interactify.refinement.history import FIRST_OBJECT, History, groups_of
from interactify.refinement.refiner import Refiner
from interactify.refinement.tiled_refiner import tile_side

FORMAT: Final = 1
OWN_KEYS: Final = ("object", "step", "superseded", "choice")  # of a line, beside those of the interaction


def log_of(history: History, refiner: Refiner) -> str:
    """The current state of a session as JSON lines; see `Session.log`."""
    height, width = refiner.size
    snapshot = history.now
    objects = [{"name": track.name, "target": track.target} for track in snapshot.tracks]
    lines: list[dict[str, Any]] = [
        {"interactify": FORMAT, "width": width, "height": height, "objects": objects, "active": snapshot.active}
    ]
    if refiner.tile or tile_side(None, refiner.size, refiner.net.spec.resolution):
        lines[0]["tile"] = refiner.tile  # False where a photo of this size would have tiles by default
    if refiner.picture.value_range:
        lines[0]["value_range"] = list(refiner.picture.value_range)
    for track in snapshot.tracks:
        for k, (step, group) in enumerate(zip(track.steps, groups_of(track.steps), strict=True)):
            for each in group:
                line = {"object": track.name, "step": k, **each.to_json()}
                line |= {"superseded": True} if step.status == Status.SUPERSEDED else {}
                lines.append(line if step.choice == USUAL else {**line, "choice": step.choice})
    return "".join(json.dumps(line) + "\n" for line in lines)


def read_log(log: str | os.PathLike[str]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The first line of a log, and the others. Raises InteractionError where it is not a log."""
    lines = _json_lines(_text_of_log(log))
    header, objects = (lines or [{}])[0], (lines or [{}])[0].get("objects")
    if header.get("interactify") != FORMAT or not isinstance(objects, list):
        raise InteractionError(
            f'Expected a log to begin with {{"interactify": {FORMAT}, "width": …, "height": …, "objects": […]}}, got '
            f"{with_type(header)}. Try the text that session.log() returned."
        )
    if not all(isinstance(stored, dict) for stored in objects):
        raise InteractionError(f'Expected the log\'s objects as {{"name": …}}, got {with_type(objects)}.')
    names = [stored.get("name") for stored in objects] or [FIRST_OBJECT]
    for entry in lines[1:]:
        if entry.get("object", FIRST_OBJECT) not in names:
            raise InteractionError(
                f"Expected an object of the log's first line, got {with_type(entry.get('object'))}. Add it there."
            )
    return header, lines[1:]


def _text_of_log(log: str | os.PathLike[str]) -> str:
    if isinstance(log, str) and log.lstrip().startswith("{"):
        return log
    if not isinstance(log, (str, os.PathLike)):
        raise InteractionError(f"Expected a log as text or the path of a file, got {with_type(log)}.")
    try:
        return Path(log).read_text()
    except (OSError, ValueError) as cause:
        raise InteractionError(
            f"Expected a log as text or the path of a file, got {with_type(log)}, which can't be read: {cause}."
        ) from cause


def _json_lines(text: str) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                entry = json.loads(line)
            except ValueError as cause:
                raise InteractionError(
                    f"Expected JSON in line {number} of the log, got something else ({cause}). Was it cut short?"
                ) from cause
            if not isinstance(entry, dict):
                raise InteractionError(
                    f'Expected a JSON object such as {{"kind": "click", …}} in line {number} of the log, got '
                    f"{with_type(entry)}."
                )
            lines.append(entry)
    return lines
