"""The log of a session's actions, which both servers write before they answer, and from which it is computed again.

An entry is a line of JSON: {"n": 12, "do": {…}}, the number of an action, which counts those that changed something,
and the action. With "superseded": true a newer action ended its refinement early, as it must when it is run again.
The service adds the "key" of the request; the page's journal has lines of its own beside (`app/store/journal.py`).

A log is in one of three places: a journal in the user's folder (`app/store/journal.py`), SQLite or Redis
(`serve/store/log.py`). What is written, read back and run again is the same, and is here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Protocol

from interactify.errors import InteractifyError
from interactify.status import Status
from interactify.web.actions import Action, Size, read_action

if TYPE_CHECKING:  # it loads torch, and a page at a service writes the same log without
    from interactify.session.session import Session

Entry = dict[str, Any]


class Log(Protocol):
    """The log of one session. Both methods raise what the place raises: OSError, or StoreError."""

    def append(self, entry: Entry) -> bool:
        """Add an entry; when this returns, it outlives this process.

        Returns False, and adds nothing, where its number does not follow the last one.
        """

    def entries_after(self, number: int) -> list[Entry]:
        """The entries of the actions after a number, in their order."""


def write(log: Log, number: int, action: Action, status: str, key: str | None = None) -> Entry | None:
    """Write an action that has just changed a session, whose result has this status now, before it is answered.

    Returns its entry; None, and nothing is written, where another action has taken the number. Raises as `Log`.
    """
    entry = entry_of(number, action.content, superseded=ended_early(action, status), key=key)
    return entry if log.append(entry) else None


def replay(
    log: Log,
    after: int,
    session: Session,
    masks_of: Size | None = None,
    refused: Callable[[InteractifyError], None] | None = None,
) -> Iterator[Entry]:
    """Run a log's actions after a number again, one at each step; gives the entry of each.

    What an action raises is raised here, or given to `refused`, and the next one is run.
    """
    for entry in log.entries_after(after):
        try:
            run_again(entry, session, masks_of)
        except InteractifyError as cause:
            if refused is None:
                raise
            refused(cause)
        yield entry


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


def entry_in(line: str | bytes) -> Entry | None:
    """What is in a line of a log; None where it was damaged or cut short.

    >>> entry_in('{"n":3,"do":{"do":"undo"}}'), entry_in('{"n":3,"do"')
    ({'n': 3, 'do': {'do': 'undo'}}, None)
    """
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None
