"""What the user states of a network in `wrap`, checked before anything is run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from interactify.errors import ModelError, OptionError
from interactify.inspection.activation import ACTIVATIONS
from interactify.inspection.click_input import ClickMaps
from interactify.inspection.spec import Knowledge

STATED: Final = (
    *("stem", "output", "activation", "class_names", "points", "mean", "std", "bgr", "resolution", "fit", "divisor"),
    "click_maps",
)
"""The options of `wrap` that say what a network is."""


def given_knowledge(*, class_names: Any, points: Any, **options: Any) -> Knowledge:
    """The options of `wrap` that say what a network is, as its `Knowledge`; None for those not given.

    What can only be told when the network has run, such as the names of its modules, is checked by `probe`.

    Raises:
        OptionError: an unknown activation, bgr that is no bool, points or click_maps of another kind.
    """
    activation, bgr, click_maps = (options[name] for name in ("activation", "bgr", "click_maps"))
    if activation is not None and activation not in ACTIVATIONS:
        raise OptionError(f"Expected activation to be one of {', '.join(ACTIVATIONS)}, got {activation!r}.")
    if bgr is not None and not isinstance(bgr, bool):
        raise OptionError(f"Expected bgr to be True or False, got {bgr!r}.")
    if click_maps is not None and not isinstance(click_maps, ClickMaps):
        raise OptionError(
            f"Expected click_maps to be an interactify.ClickMaps, which says what a click network reads, got "
            f"{click_maps!r}. Try ClickMaps('disk', radius=5)."
        )
    return Knowledge(class_names=tuple(class_names), points=_checked(points), **options)


def check_is_of_classes(network: str, known: Knowledge, given: Knowledge) -> None:
    """Refuse a network whose map is known to be of numbers, unless the user states how it is one of logits.

    Raises:
        ModelError: so it is; `network` is its name.
    """
    if known.numbers is None or known.numbers.probability or given.output is not None or given.activation is not None:
        return
    raise ModelError(
        f"Expected a network of classes, got {network}, whose map is a number for each pixel ({known.numbers.what}). "
        "Try interactify.wrap_values(model), which lets it follow values; or "
        f"output=lambda raw: raw[{known.output or 0!r}] - 1.0 for an object where the number is above 1."
    )


def _checked(points: object) -> dict[str, str]:
    named = dict(points) if isinstance(points, Mapping) else {} if points is None else {"": ""}
    if not set(named) <= {"A", "B", "C"} or not all(isinstance(name, str) for name in named.values()):
        raise OptionError(f"Expected points to map 'A', 'B' or 'C' to names of modules, got {points!r}.")
    return named
