"""Random calls with invalid arguments: a clear error and nothing changed, or a valid result."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

import interactify
from interactify.errors import InteractifyError
from interactify.interactions.click import Interaction
from interactify.refinement.result import Result
from interactify.session.session import Session
from tests.fixtures import networks
from tests.fixtures import odd_values as odd

SIZE = odd.HEIGHT, odd.WIDTH
PHOTO = networks.random_photo(*SIZE)
CALLS = 10_000
SEEDS = range(4)
MAX_SNAPSHOTS = 12  # snapshots of a session before a new one is started: in a long one, removing takes long
METHODS = {
    "click": 12, "add": 16, "remove": 4, "move": 5, "undo": 4, "redo": 2, "reset": 1, "add_object": 4, "switch": 4,
    "rename": 4, "delete": 3, "result_of": 2, "interactions_of": 2, "label_map": 1, "class_map": 1, "save": 3,
    "load_session": 4, "preview": 1, "cancel": 1, "from_json": 12, "session": 5, "refine": 6, "predict": 6,
}  # fmt: skip
NEVER_REFUSED = {"undo", "redo", "reset", "label_map", "preview", "cancel"}


class Caller:
    """Calls everything there is, on one network after the other."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        loud = networks.seeded(lambda: networks.Plain(classes=4))
        loud.gain *= 1e5  # whose log-odds no exponential holds
        models = [networks.seeded(networks.Plain), networks.seeded(lambda: networks.Plain(classes=4)), loud]
        names: list[tuple[str, ...]] = [(), ("sky", "road", "car", "tree"), ()]
        self.nets = [
            interactify.wrap(model, max_evaluations=2, class_names=each)
            for model, each in zip(models, names, strict=True)
        ]
        self.predictors = [interactify.Predictor(net) for net in self.nets]
        for predictor in self.predictors:
            predictor.set_image(PHOTO)
        self.begin(0)

    def begin(self, which: int) -> None:
        self.net, self.predictor = self.nets[which], self.predictors[which]
        self.session: Session = self.net.session(PHOTO)

    # ---- arguments ---------------------------------------------------------------------------------------------------

    def odd(self, good: Any, share: float = 0.12) -> Any:
        return odd.or_odd(self.random, good, share)

    def label(self) -> Any:
        some = [None, None, None, 0, 1, 3, -1, 4, "road", "Car", "cat", odd.HUGE]
        return self.random.choice([*some, odd.scalar(self.random)])

    def target(self) -> Any:
        return self.odd(self.random.choice([None, 0, "clicked"]))

    def xy(self) -> tuple[Any, Any]:
        x, y = self.random.randrange(odd.WIDTH), self.random.randrange(odd.HEIGHT)
        return self.odd(x), self.odd(y)

    def width(self) -> Any:
        return self.random.choice([1, 3.5, 9, 1e-300, 5e-324, 9.9e8, 1e9, 0, -1, odd.scalar(self.random)])

    def interaction(self) -> Any:
        random, truth = self.random, self.random.random() < 0.6
        match random.randrange(7):
            case 0 | 1:
                return interactify.Click(*self.xy(), self.odd(truth), self.label())
            case 2:
                points = odd.points(random) if random.random() < 0.97 else odd.endless()
                return interactify.Scribble(points, self.odd(truth), self.width(), self.width(), self.label())
            case 3:
                return interactify.Paint(odd.points(random), self.width(), self.odd(truth))
            case 4:
                return interactify.Box(*self.xy(), *self.xy())
            case 5:
                return interactify.Lasso(odd.points(random))
            case _:
                return interactify.Mask(odd.mask(random))

    def index(self) -> Any:
        return self.odd(self.random.randrange(-4, 5), 0.4)

    def name(self) -> Any:
        return self.odd(self.random.choice([*self.session.objects, *self.session.objects, *odd.NAMES[:4]]))

    def path(self) -> Any:
        return self.odd(self.random.choice(odd.PATHS))

    def stored(self) -> Any:
        good = [
            {"kind": "click", "x": 3, "y": 4, "positive": True, "label": None},
            {"kind": "scribble", "points": [[3, 4], [9, 9]], "positive": True, "width": 2.0, "weight": 1.0},
            {"kind": "paint", "points": [[3, 4]], "positive": True, "width": 2.0},
            {"kind": "box", "left": 3, "top": 4, "right": 9, "bottom": 9},
            {"kind": "lasso", "points": [[3, 4], [9, 9], [3, 9]]},
            {"kind": "mask", "rle": self.random.choice(odd.RLES)},
        ]
        return odd.json_like(self.random, self.random.choice(good))

    def prompts(self) -> dict[str, Any]:
        """Arguments as Segment Anything takes them."""
        random, count = self.random, self.random.randrange(4)
        good: dict[str, Any] = {
            "point_coords": [[random.randrange(32), random.randrange(24)] for _ in range(count)],
            "point_labels": [random.choice([0, 1, 1, -1]) for _ in range(count)],
            "box": random.choice([[3, 4, 20, 18], [5, 5, 5, 5], [-9, -9, 90, 90], [9, 9, 3, 3], [1e308] * 4]),
            "mask_input": np.full((1, 256, 256), random.choice([0, -3.0, 1e30, 1e300, np.nan]), random.choice("dg")),
            "multimask_output": random.random() < 0.5,
            "return_logits": random.random() < 0.5,
            "normalize_coords": random.random() < 0.7,
        }
        for name in ("box", "mask_input"):
            if random.random() < 0.6:
                del good[name]
        if not good["normalize_coords"] and random.random() < 0.7:  # shares of the photo's sides
            good["point_coords"] = [[random.random(), random.random()] for _ in range(count)]
            good["box"] = [0.1, 0.2, 0.7, 0.9]
        if random.random() < 0.2:  # of two objects
            good |= {name: [good[name]] * 2 for name in ("point_coords", "point_labels", "box") if name in good}
        return {name: self.odd(value, 0.08) for name, value in good.items()}

    # ---- calls -------------------------------------------------------------------------------------------------------

    def call(self, method: str) -> Any:
        session, random = self.session, self.random
        match method:
            case "click":
                return session.click(*self.xy(), self.odd(random.random() < 0.6), self.label())
            case "add":
                interactions = [self.interaction() for _ in range(random.choice([0, 1, 1, 1, 2, 3]))]
                return session.add(self.odd(interactions, 0.1))
            case "remove":
                return session.remove(self.index())
            case "move":
                return session.move(self.index(), *self.xy())
            case "add_object":
                return session.add_object(self.odd(random.choice([None, *odd.NAMES])), self.label())
            case "switch" | "delete" | "result_of" | "interactions_of":
                return getattr(session, method)(self.name())
            case "rename":
                return session.rename(self.name(), self.name())
            case "save":
                return session.save(self.path())
            case "load_session":
                return interactify.load_session(self.path(), self.odd(self.net), odd.photo(random, PHOTO))
            case "from_json":
                interaction = interactify.interaction_from_json(self.stored())
                return session.add([interaction]) if random.random() < 0.3 else interaction
            case "session":
                return self.net.session(odd.photo(random, PHOTO), target=self.label())
            case "refine":
                objects = self.odd([self.odd([self.interaction() for _ in range(random.randrange(3))])])
                photo = odd.photo(random, PHOTO)
                return self.net.refine(photo if random.random() < 0.5 else [photo], objects, target=self.target())
            case "predict":
                return self.predictor.predict(**self.prompts())
            case _:
                return getattr(session, method)()


def sound(result: Result) -> None:
    """Check that a result is valid: a mask of the photo's shape, finite probabilities that agree with it."""
    height, width = result.size
    assert result.mask.shape == (height, width) and result.mask.dtype == bool
    probability = result.probability
    assert probability.shape == (height, width) and np.isfinite(probability).all()
    assert probability.min() >= 0 and probability.max() <= 1
    assert ((probability > 0.5) <= result.mask).all() and ((probability < 0.5) <= ~result.mask).all()
    assert {*map(id, result.interactions), *map(id, result.overruled)} == set(map(id, result.constraints.interactions))
    assert len(result.point_probabilities) == len(result.constraints.points)
    assert all(0 <= each.probability <= 0.5 and each.reason for each in result.unsatisfied)
    assert result.changed.shape == (height, width) and repr(result)


def consistent(session: Session) -> None:
    """Check that the parts of a session agree."""
    names = session.objects
    assert session.active in names and len(set(names)) == len(names)
    assert session.result is session.result_of(session.active)
    assert session.interactions == session.interactions_of(session.active)
    assert session.result.constraints.interactions == session.interactions
    labels = session.label_map()
    assert labels.shape == session.size and labels.min() >= 0 and labels.max() <= len(names)
    assert not session.control.turns._queue, "all turns have ended"
    for snapshot in session.history.snapshots:
        for track in snapshot.tracks:
            assert [len(step.interactions) for step in track.steps] == sorted(
                {len(step.interactions) for step in track.steps}
            )


def valid(given: Any, method: str) -> None:
    """Check that a method returned what it promises."""
    if isinstance(given, Result):
        sound(given)
    elif isinstance(given, Session):
        consistent(given)
        sound(given.result)
    elif method == "refine":
        for each in given:
            sound(each)
    elif method == "predict":
        masks, scores, low = given
        assert masks.shape[-2:] == SIZE and low.shape[-2:] == (256, 256) and masks.shape[:-2] == scores.shape
        assert all(part.dtype == np.float32 and np.isfinite(part).all() for part in given)
        assert scores.min() >= 0 and scores.max() <= 1
    elif method == "from_json":
        assert isinstance(given, Interaction)
    elif method == "save":
        assert isinstance(given, Path) and given.is_file()
    elif method in ("label_map", "class_map"):
        assert given.shape == SIZE
    elif method == "add_object":
        assert isinstance(given, str)
    elif method == "interactions_of":
        assert isinstance(given, tuple)
    else:
        assert given is None and method in ("rename", "cancel")


def called(count: int, seed: int) -> tuple[Counter[str], Counter[str]]:
    """How often each method returned, and how often it refused, in that many random calls."""
    caller, returned, refused = Caller(seed), Counter(), Counter()
    for number in range(count):
        if len(caller.session.history.snapshots) > MAX_SNAPSHOTS or number % 200 == 0:
            caller.begin(caller.random.choice([0, 1, 1, 2]))
        (method,) = caller.random.choices(list(METHODS), list(METHODS.values()))
        session, before = caller.session, caller.session.history
        try:
            valid(caller.call(method), method)
            returned[method] += 1
        except InteractifyError as refusal:
            refused[method] += 1
            assert str(refusal) and session.history is before, f"call {number}, {method}: changed by {refusal!r}"
        except Exception as cause:
            raise AssertionError(f"call {number} of seed {seed}, {method}: {type(cause).__name__}: {cause}") from cause
        consistent(session)
    return returned, refused


def room(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder to save in, with things that are not files."""
    monkeypatch.chdir(folder)
    (folder / "folder").mkdir()
    os.mkfifo(folder / "pipe")


@pytest.mark.parametrize(
    ("calls", "seed"),
    [(CALLS // 8, SEEDS[1]), *(pytest.param(CALLS // 4, each, marks=pytest.mark.slow) for each in SEEDS)],
)
def test_any_call(calls: int, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room(tmp_path, monkeypatch)
    returned, refused = called(calls, seed)
    assert sum(returned.values()) + sum(refused.values()) == calls
    for method in METHODS:
        assert returned[method], f"{method} never returned: its arguments are all odd"
        assert refused[method] or method in NEVER_REFUSED, f"{method} was never refused"
