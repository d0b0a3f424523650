"""The log of a session's actions, which both servers write before they answer, and from which it is computed again.

An entry is a line of JSON: {"n": 12, "do": {…}}, the number of an action, which counts those that changed something,
and the action. With "superseded": true a newer action ended its refinement early, as it must when it is run again.
The service adds the "key" of the request; the page's journal has lines of its own beside (`app/store/journal.py`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from interactify.status import Status
from interactify.web.actions import Action, Size, read_action

if TYPE_CHECKING:  # it loads torch, and a page at a service writes the same log without
    from interactify.session.session import Session

Entry = dict[str, Any]


def entry_of(number: int, content: Mapping[str, Any], *, superseded: bool = False, key: str | None = None) -> Entry:
    """The entry of an action, from its content as JSON.

    >>> entry_of(3, {"do": "undo"}, key="a key")
    {'n': 3, 'key': 'a key', 'do': {'do': 'undo'}}
    """
    named = {} if key is None else {"key": key}
    return {"n": number, **named, "do": content, **({"superseded": True} if superseded else {})}


def ended_early(action: Action, status: str) -> bool:
    """Whether an action, after which the session's result has this status, is written as superseded.

    Of several steps that are refined again it would not be known which one had ended early.
    """
    return action.name == "add" and status == Status.SUPERSEDED


def run_again(entry: Mapping[str, Any], session: Session, masks_of: Size | None = None) -> None:
    """Run an entry's action as it ran then. Raises as `read_action`, and what the action raises."""
    with session.control.superseding() if entry.get("superseded") else nullcontext():
        read_action(dict(entry["do"]), masks_of).run(session)


def line_of(entry: Mapping[str, Any]) -> str:
    """An entry as a line of JSON, without its end."""
    return json.dumps(entry, separators=(",", ":"))
