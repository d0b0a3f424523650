"""Clicks and other interactions with a photo: checked, combined into constraints, rasterised."""

from interactify.interactions.click import Click, Interaction, checked
from interactify.interactions.click_maps import ClickMaps, interaction_maps, network_maps
from interactify.interactions.gestures import Box, Labels, Lasso, Mask, Paint, Scribble, interaction_from_json

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
    "checked",
    "interaction_from_json",
    "interaction_maps",
    "network_maps",
]
