"""Many refinements in one call: objects of one photo, which share its prefix and their passes, or many photos."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from interactify import brs
from interactify.errors import InteractionError
from interactify.interactions import Click, checked
from interactify.photo import PhotoLike, read_photo
from interactify.request import Request
from interactify.result import Result
from interactify.session import Session
from interactify.suffix import Suffix

if TYPE_CHECKING:
    from interactify.wrap import Interactive


def refine(
    net: Interactive,
    images: PhotoLike | Sequence[PhotoLike],
    interactions: Sequence[Sequence[Click]],
    target: int | str | None,
) -> list[Result]:
    """See `Interactive.refine`."""
    photos = _photos(images, len(interactions))
    together: dict[int, list[int]] = {}  # by photo, whatever its place in the list: it is opened once
    for position, photo in enumerate(photos):
        together.setdefault(id(photo), []).append(position)
    clicks: dict[int, tuple[Click, ...]] = {}
    for positions in together.values():  # all are looked at before any is run
        height, width = read_photo(photos[positions[0]], net.spec.channels).shape[-2:]
        for position in positions:
            clicks[position] = _checked(interactions[position], (height, width), position)
    found: dict[int, Result] = {}
    with torch.inference_mode(False):
        for positions in together.values():
            session = Session(net, photos[positions[0]], target, ready=False)
            asked = [position for position in positions if clicks[position]]
            found.update((position, session.result) for position in positions)
            found.update(zip(asked, _objects(session, [clicks[position] for position in asked]), strict=True))
    return [found[position] for position in range(len(photos))]


def _objects(session: Session, clicks: Sequence[tuple[Click, ...]]) -> list[Result]:
    """The results of several sets of clicks on one photo, each from the photo's beginning."""
    if not clicks:
        return []
    net, requests = session.net, [session.request(each) for each in clicks]
    frame = session.first.frame
    network, suffix = net.network, frame.suffix

    def forward(values: Tensor, rows: Sequence[int]) -> Tensor:
        logits = suffix.rows(values) if len(rows) > 1 else None
        if logits is None:
            return torch.cat([own[row](requests[row], one) for row, one in zip(rows, values.unbind(0), strict=True)])
        maps = [
            network.log_odds(one, requests[row].target, frame.image)
            for row, one in zip(rows, logits.unbind(0), strict=True)
        ]
        return torch.cat(maps)

    # Where the variables read the clicks, what is kept hangs on them: each object keeps its own.
    own = [
        _Alone(suffix if suffix.shared else Suffix(network, net.variables, frame.image, frame.start)) for _ in clicks
    ]
    refinements = brs.refine_rows(
        forward,
        frame.start.expand(len(requests), *frame.start.shape),
        [request.points for request in requests],
        [request.labels for request in requests],
        energy=net.energy,
        inertia=net.variables.inertia,
        solver=net.solver,
        max_evaluations=net.max_evaluations,
        stop=brs.stopping(net.max_seconds),
        at_once=suffix.at_once(),
    )
    return [
        session.settled(request, refinement).result for request, refinement in zip(requests, refinements, strict=True)
    ]


class _Alone:
    """One object's pass by itself."""

    def __init__(self, suffix: Suffix) -> None:
        self._suffix = suffix

    def __call__(self, request: Request, values: Tensor) -> Tensor:
        logits = self._suffix(values, request.seen)
        return self._suffix.network.log_odds(logits, request.target, request.frame.image)


def _photos(images: PhotoLike | Sequence[PhotoLike], count: int) -> list[PhotoLike]:
    """A photo for each set of interactions."""
    if not isinstance(images, (list, tuple)):
        return [images] * count  # type: ignore[list-item]
    if len(images) != count:
        raise InteractionError(
            f"Expected one set of interactions for each photo, got {len(images)} photos and {count} sets. For several "
            "objects in one photo, give that photo alone, or as often as it has objects."
        )
    return list(images)


def _checked(clicks: Sequence[Click], size: tuple[int, int], position: int) -> tuple[Click, ...]:
    if isinstance(clicks, Click) or not isinstance(clicks, (list, tuple)):
        raise InteractionError(
            f"Expected a list of clicks at place {position} of the interactions, got {type(clicks).__name__}: one list "
            "for each object, [[Click(…), …], …]."
        )
    return tuple(checked(click, size) for click in clicks)
