"""A prompt: all that is known of one object, answered at once. The session, its log and its objects stay as they are.

It is for tools that keep prompts themselves, as Label Studio and CVAT do. Since nothing is stored, any replica answers
the same, and a request may come twice.
"""

from __future__ import annotations

import copy
from typing import Any

from interactify.errors import InteractionError, OptionError, with_type
from interactify.interactions.click import Click
from interactify.interactions.gestures import Box
from interactify.interactive import Interactive
from interactify.predictor.photo import PromptedPhoto, ScoredMask
from interactify.predictor.prompts import Prompt
from interactify.serve.live import Live
from interactify.web.actions import read_interactions

Target = int | str | None


def read_prompt(content: Any) -> tuple[Prompt, Target]:
    """Read {"interactions": clicks and one box at most, "target": a class or null}.

    Raises InteractionError for other interactions, and OptionError for anything else. Whether they lie in the photo is
    checked by `answered`.

    >>> read_prompt({"interactions": [{"kind": "click", "x": 5, "y": 6, "positive": True}], "target": None})[0].clicks
    (Click(x=5, y=6, positive=True),)
    """
    if not isinstance(content, dict) or set(content) != {"interactions", "target"}:
        raise OptionError(f'Expected a prompt {{"interactions": […], "target": …}}, got {with_type(content)}.')
    target = content["target"]
    if isinstance(target, bool) or not isinstance(target, (int, str, type(None))):
        raise OptionError(f"Expected a class's index or name, or null, got {with_type(target)}.")
    given = [] if content["interactions"] == [] else read_interactions(content["interactions"])
    clicks = tuple(each for each in given if isinstance(each, Click))
    boxes = [each for each in given if isinstance(each, Box)]
    if len(clicks) + len(boxes) != len(given) or len(boxes) > 1:
        raise InteractionError(f"Expected clicks and one box at most, got {with_type(content['interactions'])}.")
    return Prompt(clicks, boxes[0] if boxes else None), target


def answered(net: Interactive, live: Live, prompt: Prompt, target: Target) -> ScoredMask:
    """The object that a prompt describes; without clicks and box the network's own prediction.

    Raises InteractionError for what lies outside the photo, and as `PromptedPhoto.refine`.
    """
    clicks = tuple(each.within(live.size) for each in prompt.clicks)
    box = None if prompt.box is None else prompt.box.within(live.size)
    session = copy.copy(live.session)  # what a copy does, the session does not see
    session.restart()
    return ScoredMask.of(PromptedPhoto(net, session).refine(Prompt(clicks, box), target))
