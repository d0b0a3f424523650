"""Strokes in a session's state, with no more points than a page draws."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def thinned(interaction: Mapping[str, Any], most_points: int) -> dict[str, Any]:
    """An interaction as JSON, with at most so many points and the last one.

    >>> thinned({"kind": "scribble", "points": [[0, 0], [1, 1], [2, 2], [3, 3], [4, 4]]}, 3)["points"]
    [[0, 0], [2, 2], [4, 4], [4, 4]]
    """
    points = interaction.get("points", ())
    if len(points) <= most_points:
        return dict(interaction)
    return {**interaction, "points": [*points[:: -(-len(points) // most_points)], *points[-1:]]}
