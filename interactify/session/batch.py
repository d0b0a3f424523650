"""Many refinements in one call: several objects in one photo, which share work, or many photos."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from interactify import brs
from interactify.errors import InteractionError, with_type, within_memory
from interactify.interactions.click import Click, Interaction, is_list
from interactify.pictures.picture import Picture, PictureLike
from interactify.pictures.value_range import ValueRange
from interactify.refinement.problem import Problem, Run, minimise
from interactify.refinement.result import Result
from interactify.refinement.wrapped import Wrapped
from interactify.runtime.cache import in_use
from interactify.runtime.pass_cache import Passes, SharedFirstPass
from interactify.runtime.suffix import Suffix
from interactify.runtime.threads import side_by_side
from interactify.session.session import Session


def refine(
    net: Wrapped,
    images: PictureLike | Sequence[PictureLike],
    interactions: Sequence[Sequence[Interaction]],
    target: int | str | None,
    value_range: ValueRange | None = None,
) -> list[Result]:
    """See `Interactive.refine`."""
    if not is_list(interactions):
        raise InteractionError(
            f"Expected a list of interactions for each object, [[Click(…), …], …], got {with_type(interactions)}."
        )
    photos = _photos(images, len(interactions))
    by_photo: dict[int, list[int]] = {}  # indices of each photo, so that it is opened once
    for index, photo in enumerate(photos):
        by_photo.setdefault(id(photo), []).append(index)
    pictures: dict[int, Picture] = {}
    checked: dict[int, tuple[Interaction, ...]] = {}
    for indices in by_photo.values():  # everything is checked before anything is run
        picture = pictures[indices[0]] = net.picture(photos[indices[0]], value_range)
        for index in indices:
            checked[index] = _checked(net, interactions[index], picture.size, index)
    results: dict[int, Result] = {}
    with torch.inference_mode(False), within_memory():
        for indices in by_photo.values():
            session = Session(net, pictures.pop(indices[0]), target, ready=False)
            clicked = [index for index in indices if checked[index]]
            results.update((index, session.result) for index in indices)
            with in_use():
                results.update(zip(clicked, _objects(session, [checked[index] for index in clicked]), strict=True))
    return [results[index] for index in range(len(photos))]


def _objects(session: Session, objects: Sequence[tuple[Interaction, ...]]) -> list[Result]:
    """The results of several objects in one photo, each from its interactions alone."""
    if not objects:
        return []
    refiner, target = session.refiner, session.target
    at_once = refiner.first_crop.suffix.at_once()
    if not all(isinstance(each, Click) and each.label is None for interactions in objects for each in interactions):
        stop = brs.stopping(session.wrapped.max_seconds)
        return [refiner.refine((), interactions, target, stop).result for interactions in objects]
    problems = [refiner.problem((), interactions, target) for interactions in objects]
    together = at_once > 1 and all(problem.energy == problems[0].energy for problem in problems)
    refinements = _in_passes(session, problems, at_once) if together else _side_by_side(session, problems)
    solved = zip(problems, refinements, strict=True)
    return [refiner.step_from((), problem, refinement, target).result for problem, refinement in solved]


def _side_by_side(session: Session, problems: Sequence[Problem]) -> list[brs.Refinement]:
    """Each object by itself, several in threads at the same time; where their first passes are equal, it runs once."""
    crop = session.refiner.first_crop
    suffix = crop.suffix
    first_pass = None
    if suffix.shared and suffix.whole is None:
        try:
            first_pass = SharedFirstPass(crop.passes)
        except brs.SteeringEnded:  # nothing steers in this photo, which its suffix knows from here on
            first_pass = SharedFirstPass(suffix)
    stop = brs.stopping(session.wrapped.max_seconds)

    def solve(problem: Problem) -> brs.Refinement:
        with torch.inference_mode(False), in_use():  # each thread has a mode of its own
            return minimise(session.wrapped, problem, first_pass or _own_run(problem.suffix), stop)

    with side_by_side(min(len(problems), suffix.side_by_side())) as pool:
        return list((map if pool is None else pool.map)(solve, problems))


def _own_run(suffix: Suffix) -> Run:
    """How one object's passes run: where the variables read the clicks, it can't share a suffix with other objects.

    Each object of a click network has one of its own.
    """
    shared = suffix.shared or suffix.maps is not None
    own = suffix if shared else Suffix(suffix.runtime, suffix.variables, suffix.image, suffix.start)
    return lambda _shared, values, clicks: own(values, clicks)


def _alone(passes: Passes, values: Tensor, clicks: Sequence[Click]) -> Tensor:
    return passes(values, clicks)


def _in_passes(session: Session, problems: Sequence[Problem], at_once: int) -> list[brs.Refinement]:
    """Objects that share the network's passes, `at_once` in each: fastest on a GPU."""
    net, crop = session.wrapped, session.refiner.first_crop
    suffix = crop.suffix

    def forward(values: Tensor, rows: Sequence[int]) -> Tensor:
        logits = suffix.rows(values) if len(rows) > 1 else None
        if logits is None:
            alone = zip(rows, values.unbind(0), strict=True)
            return torch.cat([problems[row].forward(each, _alone) for row, each in alone])
        together = zip(rows, logits.unbind(0), strict=True)
        return torch.cat([problems[row].log_odds(each) for row, each in together])

    return brs.refine_rows(
        forward,
        crop.start.expand(len(problems), *crop.start.shape),
        [problem.points for problem in problems],
        [problem.labels for problem in problems],
        energy=problems[0].energy,
        inertia=net.variables.inertia,
        solver=net.solver,
        max_evaluations=net.max_evaluations,
        stop=brs.stopping(net.max_seconds),
        at_once=at_once,
        held=[problem.held for problem in problems],
    )


def _photos(images: PictureLike | Sequence[PictureLike], count: int) -> list[PictureLike]:
    """A photo for each list of interactions."""
    if not is_list(images):
        return [images] * count  # type: ignore[list-item]
    if len(images) != count:
        raise InteractionError(
            f"Expected one list of interactions for each photo, got {len(images)} photos and {count} lists. Try one "
            "photo alone for several objects in it, or the same photo for each of them."
        )
    return list(images)


def _checked(net: Wrapped, interactions: object, size: tuple[int, int], index: int) -> tuple[Interaction, ...]:
    if not is_list(interactions):
        raise InteractionError(
            f"Expected a list of clicks at index {index} of the interactions, got {type(interactions).__name__}. Try "
            "one list for each object, [[Click(…), …], …]."
        )
    return tuple(net.network.checked(each, size) for each in interactions)
