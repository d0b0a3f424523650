"""A session's state as JSON: its objects, its interactions and whether each is satisfied, and its result in numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from interactify.refinement.history import Step, groups_of
from interactify.refinement.result import Result
from interactify.session.session import Session
from interactify.web.strokes import thinned


def session_state(session: Session, most_points: int | None = None, name: str | None = None) -> dict[str, Any]:
    """The state of a session, with the interactions and the result of an object: of the active one by default.

    Strokes have at most `most_points` points where the number is given.
    """
    track = next(each for each in session.history.now.tracks if each.name == (name or session.active))
    result = session.result_of(track.name)
    objects = [
        {
            "name": each.name,
            "interactions": len(each.interactions),
            "class": session.category(each.name, "") or None,
            "area": covered_share(session.result_of(each.name)) if each.interactions else None,
        }
        for each in session.history.now.tracks
    ]
    return {
        "objects": objects,
        "active": session.active,
        "interactions": interaction_states(track.steps, result, most_points),
        "can_undo": session.can_undo,
        "can_redo": session.can_redo,
        "result": {
            "status": result.status,
            "ms": result.seconds * 1000,
            "evaluations": result.evaluations,
            "satisfied": result.satisfied,
            "choice": result.choice,
            "area": covered_share(result),
        },
    }


def interaction_states(steps: tuple[Step, ...], result: Result, most_points: int | None = None) -> list[dict[str, Any]]:
    """The interactions of an object as JSON, each with its milliseconds, its state, and why it is not satisfied."""
    unsatisfied = [(each.interaction, each) for each in result.unsatisfied]
    found = []
    for step, group in zip(steps, groups_of(steps), strict=True):
        for each in group:
            why = next((why for interaction, why in unsatisfied if interaction is each or interaction == each), None)
            overruled = any(other is each or other == each for other in result.overruled)
            content = each.to_json() if most_points is None else thinned(each.to_json(), most_points)
            content["ms"] = step.seconds * 1000
            content["state"] = "unsatisfied" if why else "overruled" if overruled else "satisfied"
            content["reason"] = (
                f"{why.probability:.0%} likely: {why.reason}"
                if why
                else "A later interaction contradicts it."
                if overruled
                else ""
            )
            found.append(content)
    return found


def covered_share(result: Result) -> float:
    """The share of the photo that an object covers."""
    return int(np.count_nonzero(result.mask)) / result.mask.size
