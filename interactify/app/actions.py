"""What a page may ask of a session: read from JSON, checked against limits, and done.

This is the one place where the page's words meet the names of `interactify.Session`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from interactify.errors import InteractionError
from interactify.interactions.click import Interaction
from interactify.interactions.gestures import interaction_from_json
from interactify.interactions.validation import shown
from interactify.session.session import Session

AT_ONCE: Final = 64  # interactions in one action
POINTS: Final = 20_000  # of one stroke or outline; a page thins what is drawn to some hundreds
KINDS: Final = ("click", "scribble", "box", "lasso", "paint")
WIDEST: Final = 500.0  # photo pixels of a stroke


@dataclass(frozen=True)
class Action:
    """Something to be done with a session. `refines` says whether the network is asked, so that it may take a while."""

    said: Mapping[str, Any]
    refines: bool
    run: Callable[[Session], object]


def read_action(said: Any) -> Action:
    """Read an action that a page sent, or that a journal kept.

    Args:
        said: {"do": name, …}, as one of `ACTIONS` describes it.

    Raises:
        InteractionError: it is something else, or beyond the limits. What only a session can know (whether a point lies
            in the photo, whether there is such an object) is found out by `check` and `run`.

    >>> session = interactify.wrap(interactify.zoo.load()).session(np.zeros((60, 80, 3), np.uint8))
    >>> action = read_action({"do": "add", "interactions": [{"kind": "click", "x": 40, "y": 30, "positive": True}]})
    >>> action.run(session).satisfied, read_action({"do": "undo"}).refines
    (True, False)
    """
    if not isinstance(said, dict) or not isinstance(said.get("do"), str) or said["do"] not in ACTIONS:
        raise InteractionError(f'Expected an action {{"do": one of {", ".join(ACTIONS)}}}, got {shown(said)}.')
    keys, refines, make = ACTIONS[said["do"]]
    unknown = [key for key in said if key not in (*keys, "do")]
    missing = [key for key in keys if key not in said]
    if unknown or missing:
        raise InteractionError(f"Expected the action {said['do']!r} with {list(keys)}, got {shown(list(said))}.")
    return Action(said, refines, make(said))


def interactions_of(said: Any) -> list[Interaction]:
    """Read the interactions of an action.

    Raises:
        InteractionError: these are none, too many, or of a kind that pages don't send.
    """
    if not isinstance(said, list) or not 1 <= len(said) <= AT_ONCE:
        raise InteractionError(f"Expected a list of 1 to {AT_ONCE} interactions, got {shown(said)}.")
    for each in said:
        if not isinstance(each, dict) or each.get("kind") not in KINDS:
            raise InteractionError(f"Expected interactions of the kinds {', '.join(KINDS)}, got {shown(each)}.")
        points = each.get("points", [])
        if not isinstance(points, list) or len(points) > POINTS:
            raise InteractionError(f"Expected at most {POINTS} points as a list, got {shown(points)}.")
        width = each.get("width", 1.0)
        if isinstance(width, bool) or not isinstance(width, (int, float)) or not 0 < width <= WIDEST:
            raise InteractionError(
                f"Expected a stroke's width above 0 and up to {WIDEST:g} pixels, got {shown(width)}."
            )
        weight = each.get("weight", 1.0)
        if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 < weight <= 100:
            raise InteractionError(f"Expected a weight above 0 and up to 100 clicks, got {shown(weight)}.")
    return [interaction_from_json(each) for each in said]


def check(action: Action, session: Session) -> None:
    """Raise InteractionError or OptionError for points outside the photo and classes that the network hasn't."""
    if action.said["do"] == "add":
        for each in interactions_of(action.said["interactions"]):
            session.checked(each)


def _add(said: Mapping[str, Any]) -> Callable[[Session], object]:
    interactions = interactions_of(said["interactions"])
    return lambda session: session.add(interactions)


def _remove(said: Mapping[str, Any]) -> Callable[[Session], object]:
    index = _whole(said["index"])
    return lambda session: session.remove(index)


def _move(said: Mapping[str, Any]) -> Callable[[Session], object]:
    index = _whole(said["index"])
    return lambda session: session.move(index, said["x"], said["y"])


def _add_object(said: Mapping[str, Any]) -> Callable[[Session], object]:
    name, target = said["name"], said["target"]
    if not isinstance(name, (str, type(None))) or not (target is None or isinstance(target, int)):
        raise InteractionError(f"Expected an object's name or null, and a class's index or null; got {shown(said)}.")
    return lambda session: session.add_object(name, target)


def _whole(index: Any) -> int:
    if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < 2**31:
        raise InteractionError(f"Expected the index of an interaction, 0 or more, got {shown(index)}.")
    return index


Make = Callable[[Mapping[str, Any]], Callable[[Session], object]]

ACTIONS: Final[dict[str, tuple[tuple[str, ...], bool, Make]]] = {
    "add": (("interactions",), True, _add),
    "remove": (("index",), True, _remove),
    "move": (("index", "x", "y"), True, _move),
    "undo": ((), False, lambda said: lambda session: session.undo()),
    "redo": ((), False, lambda said: lambda session: session.redo()),
    "reset": ((), False, lambda said: lambda session: session.reset()),
    "add_object": (("name", "target"), False, _add_object),
    "switch": (("name",), False, lambda said: lambda session: session.switch(said["name"])),
    "rename": (("name", "to"), False, lambda said: lambda session: session.rename(said["name"], said["to"])),
    "delete": (("name",), False, lambda said: lambda session: session.delete(said["name"])),
}
