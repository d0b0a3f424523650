"""Click networks: those that state by an attribute `click_maps` how their interaction maps are drawn.

`interactify.reconfigure_stem` makes them of any network. What is known of the network inside applies: its normalisation
is that of the image's channels, and its insertion points are those of the whole.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from interactify.adapters import adapter_for, knowledge_of, names
from interactify.errors import ModelError
from interactify.inspection.click_input import ClickMaps, stated_click_maps
from interactify.inspection.spec import Knowledge

_UNKNOWN = "a click network"  # of no known family
_USUAL = ClickMaps()  # the maps of Jang & Kim 2019, for which `reconfigure_stem` makes two


class Clicks:
    """Networks with an attribute `click_maps`, of whatever family, and reconfigured stems with zero kernels."""

    name = "clicks"

    def recognises(self, model: nn.Module) -> bool:
        return stated_click_maps(model) is not None or _is_reconfigured(model)

    def knows(self, model: nn.Module) -> Knowledge:
        stated = stated_click_maps(model)
        if not _is_reconfigured(model):
            known = _of_its_family(model)
            return replace(known, family=known.family or _UNKNOWN, click_maps=stated)
        maps = getattr(model, "maps", None)
        if (stated or _USUAL).channels != maps:
            raise ModelError(
                f"Expected click_maps that say how this network's {maps} interaction maps are drawn, got {stated}. Try "
                "model.click_maps = interactify.ClickMaps(…) with as many: 2, or 3 with previous_mask=True."
            )
        known = replace(_of_the_inside(model), click_maps=stated or _USUAL)
        if stated is not None:
            return known
        return replace(
            known,
            doubts=(
                f"Assumed {_USUAL} for this click network: nothing states what its training drew. Write "
                "model.click_maps = interactify.ClickMaps('distance') if this is right, or what is right.",
            ),
        )


def _is_reconfigured(model: nn.Module) -> bool:
    """Whether `reconfigure_stem` made it, with kernels of its own for two maps or more.

    With one map it is a network of four channels like any other, and with the image's kernels its maps are no clicks'.
    """
    of_stem = any(
        f"{kind.__module__}.{kind.__name__}" == "interactify.stem.ReconfiguredStem" for kind in type(model).__mro__
    )
    return of_stem and len(getattr(model, "kernels", ())) > 0 and getattr(model, "maps", 0) > 1


def _of_its_family(model: nn.Module) -> Knowledge:
    """What the next adapter that recognises a network knows of it."""
    later = [name for name in names() if name != Clicks.name]
    return knowledge_of(model, next(name for name in later if adapter_for(model, name).recognises(model)))


def _of_the_inside(model: Any) -> Knowledge:
    """What is known of the network whose stem was reconfigured, under its names in the whole."""
    known = knowledge_of(model.model)
    inner = known.forward

    def forward(network: Any, x: Tensor) -> Any:
        assert inner is not None
        return network.run(lambda image: inner(network.model, image), x)

    return replace(
        known,
        family=f"{known.family}, with interaction maps" if known.family else _UNKNOWN,
        forward=None if inner is None else forward,
        stem=None if known.stem is None else f"model.{known.stem}",
        points={letter: f"model.{name}" for letter, name in known.points.items()},
    )
