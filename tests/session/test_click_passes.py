"""How often a click network runs: once for a photo, once for a click, and once for the start of a refinement."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import interactify
from interactify import Click
from tests.fixtures import click_networks, networks
from tests.fixtures.click_networks import OPTIONS, ByHand, by_hand, photo

HARD = (80, 48)  # x, y in the red square, where the forward pass leaves a positive click unsatisfied
EASY = (30, 20)


class Counted(ByHand):
    """`ByHand`, which counts its passes, those of replicas too; a tape that runs is none."""

    passes = 0

    def forward(self, x: Tensor) -> Tensor:
        Counted.passes += 1
        return super().forward(x)


def counted(**options: Any) -> interactify.Interactive:
    return interactify.wrap(Counted(), **{**OPTIONS, "zoom": False, **options})


def passes_of(action: Any) -> int:
    before = Counted.passes
    action()
    return Counted.passes - before


@pytest.mark.parametrize("options", [{"max_evaluations": 0}, {}, {"mirror": True}, {"variables": "scale_bias@read"}])
def test_a_photo_and_a_satisfied_click_cost_a_pass_each(options: dict[str, Any]) -> None:
    net = counted(**options)
    sessions: list[interactify.Session] = []
    assert passes_of(lambda: sessions.append(net.session(photo()))) == 1
    session = sessions[0]
    assert passes_of(lambda: session.result.mask) == 0
    for x, y in (EASY, (50, 40)):
        assert passes_of(lambda x=x, y=y: session.click(x, y)) == 1 and session.result.satisfied
    assert passes_of(session.undo) == passes_of(session.redo) == 0
    if not net.max_evaluations:
        assert passes_of(lambda: session.click(*HARD)) == 1 and not session.result.satisfied


@pytest.mark.parametrize("variables", ["click_maps", "input", "kernels", "scale_bias@read"])
def test_a_refinement_begins_with_the_pass_that_found_the_click_unsatisfied(variables: str) -> None:
    """One pass of the network; the other evaluations run its tape. What is checked once for all clicks comes before."""
    net = counted(variables=variables)
    net.session(photo()).click(*HARD)
    session = net.session(photo())
    assert passes_of(lambda: session.click(*HARD)) == 1
    assert session.result.evaluations > 1 and session.result.satisfied


def test_evaluations_are_counted_once() -> None:
    """The pass that found the click unsatisfied is the first of them, and the observer sees it once."""
    session = by_hand().session(photo())
    observed: list[Tensor] = []
    session.refiner.refine((), (Click(*HARD),), None, lambda: None, lambda problem, log_odds: observed.append(log_odds))
    assert session.click(*HARD).evaluations == len(observed) > 1
    assert not torch.equal(observed[0], observed[1])


def test_variables_that_go_on_from_the_last_click_are_evaluated_where_they_begin() -> None:
    """The forward pass is at the identity; the refinement begins elsewhere, with an evaluation of its own."""
    session = counted(variables="scale_bias@read").session(photo())
    x, y = HARD
    session.click(x, y)
    start = session.steps[-1].values
    assert start.any()
    observed: list[Tensor] = []
    clicks = (Click(x, y), Click(90, 40))
    see = lambda problem, log_odds: observed.append(log_odds)  # noqa: E731
    assert passes_of(lambda: session.refiner.refine(session.steps, clicks, None, lambda: None, see)) == 1
    forward, first = (float(each[0, 0, y, x]) for each in observed[:2])
    assert forward == pytest.approx(-13) and first == pytest.approx(-13 * float(1 + start[0]) + float(start[1]), 1e-4)


@pytest.mark.parametrize("variables", ["click_maps", "input", "scale_bias@A"])
def test_the_resumed_pass_has_the_gradient_of_the_network(variables: str) -> None:
    """Refinement that may not resume gives the same result."""
    model = click_networks.reconfigured()
    # With hold there are more evaluations, and each makes the difference of two roundings larger.
    options = {"variables": variables, "energy": interactify.brs.Margin(hold=0)}
    net = interactify.wrap(model, mean=0.5, std=0.25, zoom=False, **options)
    results = []
    for resumes in (True, False):
        session = net.session(networks.random_photo())
        with pytest.MonkeyPatch.context() as patch:
            if not resumes:
                patch.setattr("interactify.runtime.pass_cache.ForwardPass.begins", lambda *_: False)
            x, y, positive = next(
                (x, y, positive)
                for x, y in ((8, 8), (40, 30), (70, 50), (20, 50))
                for positive in (True, False)
                if not _satisfied(session, Click(x, y, positive))
            )
            results.append(session.click(x, y, positive=positive))
    resumed, anew = results
    assert anew.evaluations == resumed.evaluations + 1 and resumed.evaluations > 1
    assert torch.allclose(resumed.logits, anew.logits, atol=1e-3)


def _satisfied(session: interactify.Session, click: Click) -> bool:
    problem = session.refiner.problem((), (click,), None)
    return problem.satisfied_by(problem.log_odds(problem.suffix.plain()))


class Undifferentiable(ByHand):
    """Answers clicks, but fails where a gradient is asked for."""

    fails = False

    def forward(self, x: Tensor) -> Tensor:
        if Undifferentiable.fails and torch.is_grad_enabled():
            raise RuntimeError("no gradient here")
        return super().forward(x)


def test_a_network_that_fails_with_a_gradient_still_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    session = interactify.wrap(Undifferentiable(), **OPTIONS, zoom=False).session(photo())
    monkeypatch.setattr(Undifferentiable, "fails", True)
    expected = by_hand().session(photo()).click(*EASY)
    result = session.click(*EASY)
    assert result.satisfied and torch.equal(result.logits, expected.logits)
    with pytest.raises(RuntimeError, match="no gradient here"):
        session.click(*HARD)


class Broken(ByHand):
    """Its answer to a click near the left border is no number."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) / (1 - x[:, 3:4, :, :1].amax((2, 3), keepdim=True))


def test_an_answer_that_is_no_number_is_refused() -> None:
    session = interactify.wrap(Broken(), **OPTIONS, zoom=False).session(photo())
    assert session.click(*EASY).satisfied
    with pytest.raises(interactify.errors.NonFiniteError, match="for these clicks"):
        session.click(2, 20)


class Checkpointed(nn.Module):
    """Runs its layer again in the backward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = ByHand()
        self.click_maps = self.inner.click_maps

    def forward(self, x: Tensor) -> Any:
        from torch.utils.checkpoint import checkpoint

        return checkpoint(self.inner, x, use_reentrant=False)


def test_networks_that_recompute_layers_are_refined_by_their_tape() -> None:
    session = interactify.wrap(Checkpointed(), **OPTIONS, zoom=False).session(photo())
    result = session.click(*HARD)
    assert result.satisfied and result.evaluations > 1
