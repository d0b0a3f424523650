"""Cases beyond a single click: the first click on a new network or shape, and many objects in one photo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from torch import Tensor

import interactify
from benchmarks.speed_cases import Effort, Played, play, script
from benchmarks.speed_contestants import OURS, Contestant, Ours, contestants
from benchmarks.speed_cuts import built, photo_of
from interactify.evaluation.timing import Clock, paired, spread

ONE_BY_ONE = "one by one"


@dataclass(frozen=True)
class First:
    """A case: the first click with a new network, and then with the same network on a photo of another shape."""

    network: str
    point: str
    size: int

    @property
    def name(self) -> str:
        return f"first {self.network} {self.point} {self.size}"


@dataclass(frozen=True)
class Objects:
    """A case: one click on each of `objects` separate objects of one photo, in one batch and one by one."""

    network: str
    point: str
    size: int
    objects: int

    @property
    def name(self) -> str:
        return f"objects {self.network} {self.point} {self.size}, {self.objects}"


def measure_first(case: First, effort: Effort, device: str = "cpu") -> dict[str, Any]:
    """Opening and first click without a warm-up, compared with SciPy on the whole network."""
    clock, model = Clock(device), built(case.network, case.size, device)
    photos = {
        "new network": photo_of((case.size, case.size)),
        "new shape": photo_of((case.size * 3 // 4 // 32 * 32, case.size)),
    }
    ours, whole, *_ = contestants(model, case.network, case.point, case.size, device)
    assert isinstance(ours, Ours)
    clicks = {shape: script(whole, photo, 1) for shape, photo in photos.items()}
    # The processor's libraries prepare each shape once for all contestants, which is not measured here.
    for shape, photo in photos.items():
        play(ours, photo, clicks[shape], clock)
        play(whole, photo, clicks[shape], clock)
    seconds: dict[str, dict[str, list[float]]] = {shape: {OURS: [], whole.name: []} for shape in photos}
    evaluations: dict[str, dict[str, int]] = {shape: {} for shape in photos}
    alike: dict[str, list[float]] = {shape: [] for shape in photos}
    last: dict[str, Played] = {}
    wrapping, variables = [], ours.net.variables.name
    for repetition in effort.repetitions():
        took, ours = clock(lambda: Ours(model, variables, case.size))
        wrapping.append(took)
        for shape, photo in photos.items():
            pair: list[Contestant] = [ours, whole]
            for each in pair if repetition % 2 else pair[::-1]:
                played = play(each, photo, clicks[shape], clock)
                seconds[shape][each.name].append(played.opening + played.seconds[0])
                evaluations[shape][each.name] = played.outcomes[0].evaluations
                last[each.name] = played
            alike[shape].append(untraced(last[whole.name], evaluations[shape][OURS]))
    return {
        "case": {**asdict(case), "name": case.name},
        "repetitions": len(wrapping),
        "wrapping": spread(wrapping),
        "shapes": {
            shape: {
                "seconds": {name: spread(values) for name, values in each.items()},
                "evaluations": evaluations[shape],
                "ratio": paired(each[OURS], each[whole.name]),
                "ratio_alike": paired(each[OURS], alike[shape]),
            }
            for shape, each in seconds.items()
        },
    }


def untraced(whole: Played, evaluations: int) -> float:
    """Seconds that the whole network would take to open the photo and for the given number of evaluations."""
    return whole.opening + whole.seconds[0] * evaluations / whole.outcomes[0].evaluations


def object_clicks(plain: np.ndarray, objects: int) -> list[interactify.Click]:
    """One click for each object, on a grid, each with the other label than the plain mask."""
    height, width = plain.shape
    columns = -(-objects // max(1, int(objects**0.5)))
    rows = -(-objects // columns)
    clicks = []
    for index in range(objects):
        x = int((index % columns + 0.5) * width / columns)
        y = int((index // columns + 0.5) * height / rows)
        clicks.append(interactify.Click(x, y, not bool(plain[y, x])))
    return clicks


def in_one_batch(ours: Ours, photo: Tensor, clicks: Sequence[interactify.Click]) -> list[np.ndarray]:
    """All objects of a photo in one call."""
    return [result.mask for result in ours.net.refine(photo, [[click] for click in clicks])]


def one_by_one(ours: Ours, photo: Tensor, clicks: Sequence[interactify.Click]) -> list[np.ndarray]:
    """The photo opened once, each object clicked in a session that is reset after it."""
    session, masks = ours.net.session(photo), []
    for click in clicks:
        masks.append(session.click(x=click.x, y=click.y, positive=click.positive).mask)
        session.reset()
    return masks


def others_one_by_one(other: Any, photo: Tensor, clicks: Sequence[interactify.Click]) -> list[np.ndarray]:
    """The same for the published method: features once, each object from the identity."""
    other.open(photo)
    identity, masks = other.values, []
    for click in clicks:
        other.values, other.clicks = identity, []
        masks.append(other.click(click).mask)
    return masks


def measure_objects(case: Objects, effort: Effort, device: str = "cpu") -> dict[str, Any]:
    """Seconds for all objects: one batch, one by one, and the published method one by one."""
    clock, model, photo = Clock(device), built(case.network, case.size, device), photo_of((case.size, case.size))
    ours, *rest = contestants(model, case.network, case.point, case.size, device)
    published = next(each for each in rest if each.name == f"SciPy, {'whole' if case.point == 'input' else 'head'}")
    assert isinstance(ours, Ours)
    ours.open(photo)
    clicks = object_clicks(ours.plain, case.objects)
    methods = {
        OURS: lambda: in_one_batch(ours, photo, clicks),
        f"{OURS}, {ONE_BY_ONE}": lambda: one_by_one(ours, photo, clicks),
        f"{published.name}, {ONE_BY_ONE}": lambda: others_one_by_one(published, photo, clicks),
    }
    masks = {name: method() for name, method in methods.items()}  # also warms all of them up
    methods[OURS]()
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    repetitions = 0
    for repetition in effort.repetitions():
        repetitions += 1
        names = list(methods)
        turn = repetition % len(names)
        for name in names[turn:] + names[:turn]:
            seconds[name].append(clock(methods[name])[0])
    alone = masks[f"{OURS}, {ONE_BY_ONE}"]
    return {
        "case": {**asdict(case), "name": case.name},
        "repetitions": repetitions,
        "seconds": {name: spread(values) for name, values in seconds.items()},
        "times_batch": {name: paired(values, seconds[OURS]) for name, values in seconds.items() if name != OURS},
        "pixels_unlike_alone": int(sum((a != b).sum() for a, b in zip(masks[OURS], alone, strict=True))),
    }
