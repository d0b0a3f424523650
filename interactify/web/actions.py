"""The actions that a client may send: read from JSON, checked against limits, and run on a session.

This is the one place where the names in messages meet the methods of `interactify.Session`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from interactify.errors import InteractionError, with_type
from interactify.interactions.click import Interaction
from interactify.interactions.gestures import interaction_from_json
from interactify.refinement.choices import checked_choice

MAX_INTERACTIONS: Final = 64  # in one action
MAX_POINTS: Final = 20_000  # of one stroke or outline; a page thins what is drawn to some hundreds
MAX_WIDTH: Final = 500.0  # of a stroke, in photo pixels
MAX_WEIGHT: Final = 100.0  # of an interaction, in clicks
KINDS: Final = ("click", "scribble", "box", "lasso", "paint")
MASKS: Final = ("mask", "labels")  # kinds that are as large as the photo; a page sends none
MAX_CLASSES: Final = 256  # of one label map
Size = tuple[int, int]


@dataclass(frozen=True)
class Action:
    """A change of a session.

    Attributes:
        content: the action as JSON, for the journal.
        refines: whether the network is run, so that it may take a while.
        run: does it, on a `Session` or on one at a service, whose methods have the same names.
    """

    content: Mapping[str, Any]
    refines: bool
    run: Callable[[Any], object]

    @property
    def name(self) -> str:
        """One of `ACTIONS`."""
        return self.content["do"]

    @property
    def supersedes(self) -> bool:
        """Whether a running refinement ends early for it. A choice is about what that refinement will show."""
        return self.name != "choose"


def read_action(content: Any, masks_of: Size | None = None) -> Action:
    """Read an action from a client or a journal.

    Args:
        content: {"do": name, …}, with the keys that `ACTIONS` lists for the name.
        masks_of: (H, W) of the photo, where initial masks and label maps of that size are accepted too.

    Raises:
        InteractionError, OptionError: the content is something else, or beyond the limits. What depends on the session
            (whether a point is in the photo, whether there is such an object) is checked by `check` and `run`.

    >>> session = interactify.wrap(interactify.zoo.load()).session(np.zeros((60, 80, 3), np.uint8))
    >>> action = read_action({"do": "add", "interactions": [{"kind": "click", "x": 40, "y": 30, "positive": True}]})
    >>> action.run(session).satisfied, read_action({"do": "undo"}).refines
    (True, False)
    """
    if not isinstance(content, dict) or not isinstance(content.get("do"), str) or content["do"] not in ACTIONS:
        raise InteractionError(f'Expected an action {{"do": one of {", ".join(ACTIONS)}}}, got {with_type(content)}.')
    keys, refines, bind = ACTIONS[content["do"]]
    unknown = [key for key in content if key not in (*keys, "do")]
    missing = [key for key in keys if key not in content]
    if unknown or missing:
        raise InteractionError(
            f"Expected the action {content['do']!r} with {list(keys)}, got {with_type(list(content))}."
        )
    return Action(content, refines, bind(content, masks_of))


def read_interactions(content: Any, masks_of: Size | None = None) -> list[Interaction]:
    """Read the interactions of an action; with `masks_of`, a photo's (H, W), masks and label maps of that size too.

    Raises:
        InteractionError: the list is empty or too long, or an interaction is of a kind that is not accepted.
    """
    if not isinstance(content, list) or not 1 <= len(content) <= MAX_INTERACTIONS:
        raise InteractionError(f"Expected a list of 1 to {MAX_INTERACTIONS} interactions, got {with_type(content)}.")
    kinds = KINDS if masks_of is None else (*KINDS, *MASKS)
    for each in content:
        if not isinstance(each, dict) or each.get("kind") not in kinds:
            raise InteractionError(f"Expected interactions of the kinds {', '.join(kinds)}, got {with_type(each)}.")
        if each["kind"] in MASKS:
            _check_sizes(each, masks_of)
        points = each.get("points", [])
        if not isinstance(points, list) or len(points) > MAX_POINTS:
            raise InteractionError(f"Expected at most {MAX_POINTS} points as a list, got {with_type(points)}.")
        width = each.get("width", 1.0)
        if not _is_number_up_to(width, MAX_WIDTH):
            raise InteractionError(
                f"Expected a stroke's width above 0 and up to {MAX_WIDTH:g} pixels, got {with_type(width)}."
            )
        weight = each.get("weight", 1.0)
        if not _is_number_up_to(weight, MAX_WEIGHT):
            raise InteractionError(
                f"Expected a weight above 0 and up to {MAX_WEIGHT:g} clicks, got {with_type(weight)}."
            )
    return [interaction_from_json(each) for each in content]


def _check_sizes(content: Mapping[str, Any], size: Size | None) -> None:
    """Raise InteractionError for run lengths of another size than the photo's: few bytes may be a huge mask."""
    classes = content.get("classes") if content["kind"] == "labels" else {"": content.get("rle")}
    if not isinstance(classes, dict) or len(classes) > MAX_CLASSES:
        raise InteractionError(f"Expected run lengths of at most {MAX_CLASSES} classes, got {with_type(classes)}.")
    for rle in classes.values():
        if size is None or not isinstance(rle, dict) or rle.get("size") != list(size):
            raise InteractionError(f"Expected run lengths of the photo's size {size}, got {with_type(rle)}.")


class Checks(Protocol):
    """What tells whether interactions fit: a session, here or at a service."""

    def checked(self, interaction: Interaction) -> Interaction:
        """The interaction in whole pixels. Raises InteractionError or OptionError."""


def check(action: Action, session: Checks, masks_of: Size | None = None) -> None:
    """Raise InteractionError or OptionError for points outside the photo and for classes that the network lacks."""
    if action.name == "add":
        for each in read_interactions(action.content["interactions"], masks_of):
            session.checked(each)


def _is_number_up_to(value: Any, limit: float) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= limit


def _add(content: Mapping[str, Any], masks_of: Size | None) -> Callable[[Any], object]:
    interactions = read_interactions(content["interactions"], masks_of)
    return lambda session: session.add(interactions)


def _remove(content: Mapping[str, Any], _: Size | None) -> Callable[[Any], object]:
    index = _read_index(content["index"])
    return lambda session: session.remove(index)


def _move(content: Mapping[str, Any], _: Size | None) -> Callable[[Any], object]:
    index = _read_index(content["index"])
    return lambda session: session.move(index, content["x"], content["y"])


def _choose(content: Mapping[str, Any], _: Size | None) -> Callable[[Any], object]:
    choice = checked_choice(content["choice"])
    return lambda session: session.choose(choice)


def _add_object(content: Mapping[str, Any], _: Size | None) -> Callable[[Any], object]:
    name, target = content["name"], content["target"]
    if not isinstance(name, (str, type(None))) or not isinstance(target, (int, str, type(None))):
        raise InteractionError(
            f"Expected an object's name or null, and a class's index or name or null; got {with_type(content)}."
        )
    return lambda session: session.add_object(name, target)


def _read_index(index: Any) -> int:
    if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < 2**31:
        raise InteractionError(f"Expected the index of an interaction, 0 or more, got {with_type(index)}.")
    return index


Bind = Callable[[Mapping[str, Any], Size | None], Callable[[Any], object]]

# Of each action by name: the keys of its content, whether the network is run, and what to call.
ACTIONS: Final[dict[str, tuple[tuple[str, ...], bool, Bind]]] = {
    "add": (("interactions",), True, _add),
    "remove": (("index",), True, _remove),
    "move": (("index", "x", "y"), True, _move),
    "choose": (("choice",), False, _choose),
    "undo": ((), False, lambda content, _: lambda session: session.undo()),
    "redo": ((), False, lambda content, _: lambda session: session.redo()),
    "reset": ((), False, lambda content, _: lambda session: session.reset()),
    "add_object": (("name", "target"), False, _add_object),
    "switch": (("name",), False, lambda content, _: lambda session: session.switch(content["name"])),
    "rename": (
        ("name", "to"),
        False,
        lambda content, _: lambda session: session.rename(content["name"], content["to"]),
    ),
    "delete": (("name",), False, lambda content, _: lambda session: session.delete(content["name"])),
}
