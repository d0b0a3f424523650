"""Many refinements in one call: objects of one photo, which share its prefix and their passes, or many photos."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from interactify import brs
from interactify.errors import InteractionError, shown, within_memory
from interactify.interactions.click import Click, Interaction
from interactify.pictures.picture import Picture, PictureLike, open_picture
from interactify.refinement.problem import Problem, Run, minimise
from interactify.refinement.result import Result
from interactify.refinement.wrapped import Wrapped
from interactify.runtime.pass_cache import SharedFirstPass
from interactify.runtime.suffix import Suffix
from interactify.runtime.threads import side_by_side
from interactify.session.session import Session


def refine(
    net: Wrapped,
    images: PictureLike | Sequence[PictureLike],
    interactions: Sequence[Sequence[Interaction]],
    target: int | str | None,
) -> list[Result]:
    """See `Interactive.refine`."""
    if not isinstance(interactions, (list, tuple)):
        raise InteractionError(
            f"Expected a list of interactions for each object, [[Click(…), …], …], got {shown(interactions)}."
        )
    photos = _photos(images, len(interactions))
    together: dict[int, list[int]] = {}  # by photo, whatever its place in the list: it is opened once
    for position, photo in enumerate(photos):
        together.setdefault(id(photo), []).append(position)
    pictures: dict[int, Picture] = {}
    said: dict[int, tuple[Interaction, ...]] = {}
    for positions in together.values():  # all are looked at before any is run
        picture = pictures[positions[0]] = open_picture(photos[positions[0]], net.spec.channels)
        for position in positions:
            said[position] = _checked(net, interactions[position], picture.size, position)
    found: dict[int, Result] = {}
    with torch.inference_mode(False), within_memory():
        for positions in together.values():
            session = Session(net, pictures.pop(positions[0]), target, ready=False)
            asked = [position for position in positions if said[position]]
            found.update((position, session.result) for position in positions)
            found.update(zip(asked, _objects(session, [said[position] for position in asked]), strict=True))
    return [found[position] for position in range(len(photos))]


def _objects(session: Session, said: Sequence[tuple[Interaction, ...]]) -> list[Result]:
    """The results of several sets of interactions on one photo, each from the photo's beginning."""
    if not said:
        return []
    refiner, target = session.refiner, session.target
    at_once = refiner.first_crop.suffix.at_once()
    if not all(isinstance(each, Click) and each.label is None for one in said for each in one):
        stop = brs.stopping(session.net.max_seconds)
        return [refiner.refine((), one, target, stop).result for one in said]
    problems = [refiner.problem((), one, target) for one in said]
    found = _in_passes(session, problems, at_once) if at_once > 1 else _side_by_side(session, problems)
    together = zip(problems, found, strict=True)
    return [refiner.step_from((), problem, each, target).result for problem, each in together]


def _side_by_side(session: Session, problems: Sequence[Problem]) -> list[brs.Refinement]:
    """Each object by itself, several at the same time; where they begin alike, the first pass is run for all."""
    suffix = session.refiner.first_crop.suffix
    beginning = SharedFirstPass(suffix) if suffix.shared and suffix.whole is None else None
    stop = brs.stopping(session.net.max_seconds)

    def each(problem: Problem) -> brs.Refinement:
        with torch.inference_mode(False):  # each thread has a mode of its own
            return minimise(session.net, problem, beginning or _of_its_own(suffix), stop)

    with side_by_side(min(len(problems), suffix.side_by_side())) as pool:
        return list((map if pool is None else pool.map)(each, problems))


def _of_its_own(suffix: Suffix) -> Run:
    """For one object: where the variables read the clicks, what is kept of a photo hangs on them."""
    own = suffix if suffix.shared else Suffix(suffix.runtime, suffix.variables, suffix.image, suffix.start)
    return lambda _shared, values, clicks: own(values, clicks)


def _in_passes(session: Session, problems: Sequence[Problem], at_once: int) -> list[brs.Refinement]:
    """Objects that share the network's passes, `at_once` of them: what a GPU is for."""
    net, crop = session.net, session.refiner.first_crop
    suffix = crop.suffix

    def forward(values: Tensor, rows: Sequence[int]) -> Tensor:
        logits = suffix.rows(values) if len(rows) > 1 else None
        if logits is None:
            alone = zip(rows, values.unbind(0), strict=True)
            return torch.cat([problems[row].logits(one, Suffix.__call__) for row, one in alone])
        together = zip(rows, logits.unbind(0), strict=True)
        return torch.cat([problems[row].of_targets(one) for row, one in together])

    return brs.refine_rows(
        forward,
        crop.start.expand(len(problems), *crop.start.shape),
        [problem.points for problem in problems],
        [problem.labels for problem in problems],
        energy=net.energy,
        inertia=net.variables.inertia,
        solver=net.solver,
        max_evaluations=net.max_evaluations,
        stop=brs.stopping(net.max_seconds),
        at_once=at_once,
    )


def _photos(images: PictureLike | Sequence[PictureLike], count: int) -> list[PictureLike]:
    """A photo for each set of interactions."""
    if not isinstance(images, (list, tuple)):
        return [images] * count  # type: ignore[list-item]
    if len(images) != count:
        raise InteractionError(
            f"Expected one set of interactions for each photo, got {len(images)} photos and {count} sets. For several "
            "objects in one photo, give that photo alone, or as often as it has objects."
        )
    return list(images)


def _checked(
    net: Wrapped, said: Sequence[Interaction], size: tuple[int, int], position: int
) -> tuple[Interaction, ...]:
    if isinstance(said, Interaction) or not isinstance(said, (list, tuple)):
        raise InteractionError(
            f"Expected a list of clicks at place {position} of the interactions, got {type(said).__name__}: one list "
            "for each object, [[Click(…), …], …]."
        )
    return tuple(net.network.checked(each, size) for each in said)
