"""Clicks and other interactions with a photo: checked, combined into constraints, rasterised.

Names are loaded at their first use (PEP 562): maps need torch, and clients of a service have interactions without it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # type checkers don't follow __getattr__, and see the names here
    from interactify.interactions.click import Click, Interaction, checked
    from interactify.interactions.click_maps import ClickMaps, interaction_maps, network_maps
    from interactify.interactions.gestures import Box, Labels, Lasso, Mask, Paint, Scribble, interaction_from_json
    from interactify.interactions.in_space import VoxelClick
    from interactify.interactions.voxel_gestures import VoxelBox, VoxelLasso, VoxelMask, VoxelScribble

_NAMES = {
    "click": ("Click", "Interaction", "checked"),
    "click_maps": ("ClickMaps", "interaction_maps", "network_maps"),
    "gestures": ("Box", "Labels", "Lasso", "Mask", "Paint", "Scribble", "interaction_from_json"),
    "in_space": ("VoxelClick",),
    "voxel_gestures": ("VoxelBox", "VoxelLasso", "VoxelMask", "VoxelScribble"),
}
_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names}

__all__ = [
    "Box",
    "Click",
    "ClickMaps",
    "Interaction",
    "Labels",
    "Lasso",
    "Mask",
    "Paint",
    "Scribble",
    "VoxelBox",
    "VoxelClick",
    "VoxelLasso",
    "VoxelMask",
    "VoxelScribble",
    "checked",
    "interaction_from_json",
    "interaction_maps",
    "network_maps",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'interactify.interactions' has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(f"interactify.interactions.{_MODULE_OF[name]}"), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
