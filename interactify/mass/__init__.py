"""Masks for many photos at once, from boxes, points and earlier masks that other tools have found."""

from interactify.engines import Local, OnRay
from interactify.evaluation.network_recipe import NetworkRecipe
from interactify.mass.prompts.photo_prompts import ObjectPrompts, PhotoPrompts
from interactify.mass.prompts.reading import read_prompts
from interactify.mass.run import MassOutcome, refine_photos

__all__ = [
    "Local",
    "MassOutcome",
    "ObjectPrompts",
    "OnRay",
    "PhotoPrompts",
    "NetworkRecipe",
    "read_prompts",
    "refine_photos",
]
