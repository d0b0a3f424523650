"""Many refinements in one call: each gives what it gives alone, whatever it is run with."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import interactify
from interactify import brs
from interactify.errors import InteractifyError, InteractionError, NonFiniteError, OptionError
from interactify.interactions.click import Click
from interactify.runtime.pass_cache import PassCache, SharedFirstPass
from interactify.runtime.suffix import Suffix
from tests.fixtures import networks

OBJECTS = [[Click(10, 10)], [Click(80, 40, False)], [Click(40, 30), Click(5, 60, False)], [], [Click(95, 0)]]


def embedded(**options: Any) -> interactify.Interactive:
    """The embedded network, at a side at which each of `OBJECTS` takes a few evaluations, and none all 40."""
    return interactify.wrap(networks.slim_saliency(), resolution=144, **options)


def alone(net: interactify.Interactive, photo: Any, clicks: list[Click]) -> interactify.Result:
    """The same in a session; several clicks as one problem."""
    session = net.session(photo)
    if not clicks:
        return session.result
    problem = session.refiner.problem((), tuple(clicks), session.target)
    found = brs.refine(
        partial(problem.forward, run=PassCache()),
        problem.start,
        problem.points,
        problem.labels,
        energy=problem.energy,
        inertia=net.variables.inertia,
        held=problem.held,
    )
    return session.refiner.step_from((), problem, found, session.target).result


VARIABLES = (
    *("input", "maps", "kernels", "scale_bias@A", "scale_bias@B", "scale_bias@C"),
    *("bias_field@B", "conv1x1@B", "rows_columns@B"),
)
# In a pass, each kind has values for each object; side by side, a kind is run as it is alone.
OFTEN = {"in passes": VARIABLES, "side by side": ("input", "maps", "scale_bias@B")}
WAYS = [
    pytest.param(way, each, id=f"{way}-{each}", marks=() if each in often else pytest.mark.slow)
    for way, often in OFTEN.items()
    for each in VARIABLES
]


@pytest.mark.parametrize(("way", "variables"), WAYS)
def test_objects_give_what_they_give_alone(way: str, variables: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In passes over several, as on a GPU, and in threads, as on a CPU."""
    if way == "in passes":
        monkeypatch.setattr(Suffix, "at_once", lambda suffix: 5 if suffix.shared else 1)
    else:
        monkeypatch.setattr(Suffix, "side_by_side", lambda _suffix: 3)
    threads = torch.get_num_threads()
    net, photo = embedded(variables=variables), networks.random_photo()
    together = net.refine(photo, OBJECTS)
    assert len(together) == len(OBJECTS)
    for result, clicks in zip(together, OBJECTS, strict=True):
        expected = alone(net, photo, clicks)
        assert result.clicks == expected.clicks and result.evaluations == expected.evaluations
        assert np.abs(result.probability - expected.probability).max() <= 1e-4
    suffixes = net.runtime.suffixes
    assert not suffixes.alone and bool(suffixes.batched) == (variables != "kernels" and way == "in passes")
    assert torch.get_num_threads() == threads


def test_objects_in_a_photo_share_their_first_pass() -> None:
    net, photo = embedded(), networks.random_photo()
    net.refine(photo, OBJECTS)  # checks at the first use are done now
    counts = []
    for objects in (OBJECTS[:1], OBJECTS[:1] * 4):
        with FlopCounterMode(display=False) as counter:
            suffix = net.session(photo).initial_step.crop.suffix
            run = SharedFirstPass(suffix)
            for _ in objects:
                run(suffix, suffix.start.clone().requires_grad_(True), ())
        counts.append(counter.get_total_flops())
    assert counts[0] == counts[1] > 0


def test_where_the_variables_read_the_clicks_each_object_is_recorded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once for an object, and not for each of its evaluations."""
    recorded: list[int] = []
    record = Suffix._recorded
    monkeypatch.setattr(Suffix, "_recorded", lambda *given: recorded.append(1) or record(*given))
    net = embedded(variables="kernels", max_evaluations=6)
    results = net.refine(networks.random_photo(), OBJECTS[:3])
    assert len(recorded) == 3 < sum(result.evaluations for result in results)


def test_networks_that_draw_are_run_one_after_the_other() -> None:
    suffix = embedded().session(networks.random_photo()).initial_step.crop.suffix
    assert suffix.side_by_side() == torch.get_num_threads()
    suffix.runtime.suffixes.whole[suffix._key] = "it draws random numbers in each pass"
    assert suffix.side_by_side() == 1


def test_an_error_in_a_thread_is_the_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Suffix, "side_by_side", lambda _suffix: 2)
    net, photo = embedded(), networks.random_photo()
    called: list[int] = []

    def broken(*_args: object, **_options: object) -> brs.Refinement:
        called.append(torch.get_num_threads())
        raise NonFiniteError("broken")

    monkeypatch.setattr(brs, "refine", broken)
    with pytest.raises(NonFiniteError, match="broken"):
        net.refine(photo, OBJECTS)
    assert called and set(called) == {1}


def test_a_click_is_the_first_of_a_session() -> None:
    net, photo = embedded(), networks.random_photo()
    (result,) = net.refine(photo, [[Click(10, 10)]])
    assert np.array_equal(result.mask, net.session(photo).click(10, 10).mask)


def test_many_photos() -> None:
    net = embedded()
    first, second = networks.random_photo(seed=1), networks.random_photo(48, 64, seed=2)
    clicks = [[Click(10, 10)], [Click(20, 30, False)], [Click(60, 60)]]
    results = net.refine([first, second, first], clicks)
    assert [result.mask.shape for result in results] == [(64, 96), (48, 64), (64, 96)]
    for photo, each, result in zip((first, second, first), clicks, results, strict=True):
        assert np.abs(result.probability - alone(net, photo, each).probability).max() <= 1e-4
    assert net.refine([], []) == []


class OneByOne(networks.Plain):
    """Reads a number in the middle of a pass, so that rows can't be run together."""

    def forward(self, x: Tensor) -> Tensor:
        out = super().forward(x)
        return out * 2 if float(out.max()) > -1e9 else out


def test_a_network_that_takes_no_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Suffix, "at_once", lambda _suffix: 5)
    net, photo = interactify.wrap(networks.seeded(OneByOne)), networks.random_photo()
    results = net.refine(photo, OBJECTS)
    for result, clicks in zip(results, OBJECTS, strict=True):
        assert np.array_equal(result.mask, alone(net, photo, clicks).mask)


@pytest.mark.parametrize(
    ("images", "interactions"),
    [
        (networks.random_photo(), [[Click(0, 0)], [Click(96, 0)]]),
        (networks.random_photo(), [Click(0, 0)]),
        (networks.random_photo(), [[(0, 0)]]),
        ([networks.random_photo()], [[Click(0, 0)], [Click(1, 0)]]),
        ([networks.random_photo(), None], [[Click(0, 0)], [Click(1, 0)]]),
    ],
    ids=["outside", "no list", "no clicks", "too few photos", "no photo"],
)
def test_errors_come_before_any_work(images: Any, interactions: Any) -> None:
    model = networks.seeded(networks.Counted)
    net = interactify.wrap(model)
    before = model.counter.runs
    with pytest.raises(InteractifyError):
        net.refine(images, interactions)
    assert model.counter.runs == before


def test_rows_of_any_function() -> None:
    """A finished row is not run again, and a step too far of one row does not change the others."""
    asked: list[list[int]] = []

    def forward(values: Tensor, rows: Any) -> Tensor:
        asked.append(list(rows))
        far = torch.tensor([row == 1 for row in rows])[:, None, None, None] & (values > 5)
        return torch.where(far, torch.nan, values.view(-1, 1, 4, 4) - 1)

    points = [torch.tensor([[1.0, 2.0]])] * 3
    labels = [torch.tensor([label]) for label in (True, True, False)]
    starts = torch.zeros(3, 1, 4, 4)
    found = brs.refine_rows(forward, starts, points, labels, at_once=2)
    assert max(len(rows) for rows in asked) == 2 and all(row.reached for row in found)
    for row, result in enumerate(found):
        single = brs.refine(
            lambda values, row=row: forward(values[None], [row])[0, 0], starts[row], points[row], labels[row]
        )
        assert torch.equal(result.values, single.values) and result.evaluations == single.evaluations


def test_wrong_rows() -> None:
    points, labels = [torch.tensor([[1.0, 2.0]])], [torch.tensor([True])]
    for starts, at_once in ((torch.zeros(2, 4, 4), 1), (torch.zeros(1, 4, 4), 0), (torch.zeros(()), 1)):
        with pytest.raises(OptionError):
            brs.refine_rows(lambda v, rows: v[:, None], starts, points, labels, at_once=at_once)
    with pytest.raises(InteractionError):
        brs.refine_rows(lambda v, rows: v[:, None], torch.zeros(1, 2, 2), points, labels)
    with pytest.raises(NonFiniteError, match="refinement 0 of the batch"):
        brs.refine_rows(lambda v, rows: v[:, None] + torch.nan, torch.zeros(2, 4, 4), points * 2, labels * 2, at_once=2)


def test_the_model_is_left_alone() -> None:
    model: nn.Module = networks.seeded(networks.Plain)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    interactify.wrap(model).refine(networks.random_photo(), OBJECTS)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
