"""Logits are read before a sigmoid or softmax, through whatever moves, cuts, joins or averages what comes after it."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from interactify.inspection.activation import (
    BeforeActivation,
    activation_from_graph,
    activation_from_values,
    convolutions_before,
    probabilities,
)
from tests.fixtures import networks

Z = networks.random_tensor(1, 3, 6, 8)


def seen(make: Callable[[Tensor], Tensor], z: Tensor = Z) -> tuple[Tensor, tuple[Tensor, str] | None]:
    """What is made of logits, and what is known of it."""
    with BeforeActivation() as mode:
        out = make(z.clone())
    return out, mode.logits_of(out)


def others(z: Tensor, k: int) -> Tensor:
    return z[:, [j for j in range(z.shape[1]) if j != k]].logsumexp(1)


# ---- the activation itself -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "activate",
    [
        torch.sigmoid,
        Tensor.sigmoid,
        F.sigmoid,
        torch.special.expit,
        nn.Sigmoid(),
        lambda z: torch.sigmoid(input=z),
        lambda z: z.sigmoid_(),
        lambda z: torch.sigmoid_(z),
    ],
)
def test_every_sigmoid(activate: Any) -> None:
    out, before = seen(activate)
    assert before is not None and before[1] == "sigmoid" and torch.equal(before[0], Z)
    assert torch.equal(out, Z.sigmoid())


@pytest.mark.parametrize(
    "activate",
    [
        lambda z: torch.softmax(z, 1),
        lambda z: torch.softmax(z, dim=-3),
        lambda z: z.softmax(1),
        lambda z: F.softmax(z, 1),
        lambda z: F.softmax(input=z, dim=1),
        nn.Softmax(1),
        nn.Softmax(dim=-3),
        nn.Softmax2d(),
    ],
)
def test_every_softmax(activate: Any) -> None:
    out, before = seen(activate)
    assert before is not None and before[1] == "softmax" and torch.equal(before[0], Z)
    assert torch.equal(out, Z.softmax(1))


@pytest.mark.parametrize(
    "make",
    [
        lambda z: z * 2,
        lambda z: torch.softmax(z, -1),
        lambda z: torch.softmax(z, 2),
        lambda z: F.softmax(z[0], 0),
        lambda z: F.log_softmax(z, 1),
        lambda z: torch.tanh(z),
        lambda z: torch.sigmoid(z) * 2,
        lambda z: torch.sigmoid(z) + torch.sigmoid(-z),
        lambda z: torch.sigmoid(z).mul_(2),
        lambda z: torch.sigmoid(z).clamp_(0.1, 0.9),
        lambda z: torch.cat([torch.sigmoid(z), z], 1),
        lambda z: 2 - torch.sigmoid(z),
        lambda z: z.sigmoid_().relu_(),
    ],
)
def test_what_has_no_logits(make: Any) -> None:
    assert seen(make)[1] is None


def test_writing_into_a_map_ends_what_is_known_of_it() -> None:
    def blanked(z: Tensor) -> Tensor:
        p = torch.sigmoid(z)
        p[:, :, 0] = 0.5
        return p

    assert seen(blanked)[1] is None


# ---- what comes after it ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "move",
    [
        lambda p: p[:, 0],
        lambda p: p[:, 1:2, :, 2:],
        lambda p: p.squeeze(0),
        lambda p: p.permute(0, 2, 3, 1),
        lambda p: p.view(1, 3, 48),
        lambda p: p.clone().contiguous(),
        lambda p: p.double(),
        lambda p: p.to(torch.float64),
        lambda p: p.narrow(1, 1, 1),
        lambda p: p.chunk(3, 1)[2],
        lambda p: torch.split(p, 1, 1)[0],
        lambda p: p.unbind(1)[1],
        lambda p: p[..., :5][:, 1].unsqueeze(1),
    ],
)
def test_what_is_done_to_probabilities_is_done_to_logits(move: Any) -> None:
    out, before = seen(lambda z: move(torch.sigmoid(z)))
    assert before is not None and before[1] == "sigmoid"
    assert torch.equal(before[0], move(Z)) and torch.allclose(before[0].sigmoid(), out)


@pytest.mark.parametrize(
    ("cut", "left"),
    [
        (lambda p: p[:, 1:2], [1]),
        (lambda p: p[:, 2], [2]),
        (lambda p: p[:, 1:], [1, 2]),
        (lambda p: p.select(1, 0), [0]),
        (lambda p: p.chunk(3, 1)[1], [1]),
        (lambda p: p.unbind(1)[2], [2]),
    ],
)
def test_a_class_cut_out_of_a_softmax_keeps_its_odds_against_all_the_others(cut: Any, left: list[int]) -> None:
    far = Z * 40  # probabilities of exactly 0 and 1 among them
    out, before = seen(lambda z: cut(torch.softmax(z, 1)), far)
    assert before is not None and before[1] == "sigmoid"
    expected = torch.stack([far[:, k] - others(far, k) for k in left], 1)
    assert torch.allclose(before[0].view_as(expected), expected, atol=1e-5)
    assert bool((out == 1).any()) and bool(torch.isfinite(before[0]).all())


def test_a_border_cut_off_a_softmax_leaves_its_classes() -> None:
    _, before = seen(lambda z: torch.softmax(z, 1)[..., 1:-1, 2:])
    assert before is not None and before[1] == "softmax" and torch.equal(before[0], Z[..., 1:-1, 2:])


def test_complement_and_join() -> None:
    z = Z[:, :1]
    for join in (lambda p: torch.cat([1 - p, p], 1), lambda p: torch.cat((torch.rsub(p, 1), p), dim=1)):
        out, before = seen(lambda z, join=join: join(torch.sigmoid(z)), z)
        assert before is not None and before[1] == "sigmoid"
        assert torch.equal(before[0], torch.cat([-z, z], 1)) and torch.allclose(before[0].sigmoid(), out, atol=1e-6)


@pytest.mark.parametrize("kind", ["sigmoid", "softmax"])
@pytest.mark.parametrize("gain", [1.0, 300.0])
def test_a_resized_probability_keeps_logits_and_gradient(kind: Any, gain: float) -> None:
    """Against the mean of the four neighbours, in double precision with logarithms only."""
    z = (Z.double() * gain / Z.abs().max()).requires_grad_(True)
    single = z.detach().float().requires_grad_(True)
    _, before = seen(lambda z: F.interpolate(probabilities(z, kind), scale_factor=0.5, mode="bilinear"), single)
    assert before is not None and before[1] == kind

    def mean_of_four(log_p: Tensor) -> Tensor:
        return torch.stack([log_p[..., i::2, j::2] for i in (0, 1) for j in (0, 1)]).logsumexp(0)

    if kind == "sigmoid":
        expected = mean_of_four(F.logsigmoid(z)) - mean_of_four(F.logsigmoid(-z))
        assert torch.allclose(before[0].double(), expected, rtol=1e-4, atol=1e-4)
    else:
        expected = mean_of_four(z.log_softmax(1)).log_softmax(1)
        assert torch.allclose(before[0].double().log_softmax(1), expected, rtol=1e-4, atol=1e-4)
    (got,) = torch.autograd.grad(before[0][0, 1].sum(), single)
    assert bool(torch.isfinite(got).all())
    if kind == "sigmoid":
        (wanted,) = torch.autograd.grad(expected[0, 1].sum(), z)
        assert torch.allclose(got.double(), wanted, rtol=1e-3, atol=1e-4)


# ---- memory ----------------------------------------------------------------------------------------------------------


def test_results_are_the_very_same() -> None:
    model, image = networks.seeded(lambda: networks.WithOutput(torch.sigmoid)), networks.random_tensor(1, 3, 64, 64)
    with BeforeActivation():
        out = model(image)
    assert torch.equal(out, model(image))


def test_attention_and_gates_are_forgotten_and_not_kept_alive() -> None:
    with BeforeActivation() as mode:
        gone = []
        for activate in (torch.sigmoid, lambda z: torch.softmax(z, 1)):
            logits = Z * 2
            gate = activate(logits)[:, :1]
            gone += [weakref.ref(logits), weakref.ref(gate)]
            x = Z * gate
            del logits, gate
        gc.collect()
        assert [reference() for reference in gone] == [None] * 4
        assert not len(mode._activated) and mode.logits_of(x) is None


def test_an_id_used_again_is_not_mistaken() -> None:
    with BeforeActivation() as mode:
        for _ in range(300):
            p = torch.sigmoid(Z)
            del p
            other = Z * 2
            assert mode.logits_of(other) is None
            del other


def test_the_end_of_a_network_frees_everything_without_the_collector() -> None:
    gc.disable()
    try:
        mode = BeforeActivation()
        with mode:
            logits = Z * 2
            out = torch.sigmoid(logits)[:, 0]
        gone = weakref.ref(logits)
        del logits, out
        assert gone() is None
    finally:
        gc.enable()


# ---- from the graph, and by values -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda z: F.conv2d(z, torch.ones(1, 3, 1, 1)), "none"),
        (lambda z: F.interpolate(F.conv2d(z, torch.ones(1, 3, 1, 1)), scale_factor=2.0)[:, 0], "none"),
        (lambda z: F.log_softmax(z, 1), "none"),
        (lambda z: F.interpolate(torch.sigmoid(z), scale_factor=2.0, mode="bilinear"), "sigmoid"),
        (lambda z: torch.softmax(z, 1).permute(0, 2, 3, 1).unsqueeze(0), "softmax"),
        (lambda z: torch.cat([z.sigmoid(), z], 1), None),
        (lambda z: z.log_softmax(1).exp(), None),
        (lambda z: F.conv2d(z, torch.ones(1, 3, 1, 1)).clamp(0, 1), None),
        (lambda z: F.hardsigmoid(z), None),
        (lambda z: z.detach(), None),
    ],
)
def test_the_last_operation(make: Any, expected: str | None) -> None:
    assert activation_from_graph(make(Z.clone().requires_grad_(True))) == expected


def test_judged_by_values_of_several_images() -> None:
    probabilities = [torch.sigmoid(Z * gain) for gain in (1.0, 0.0, 5.0)]
    assert activation_from_values(probabilities) == "sigmoid"
    assert activation_from_values([torch.softmax(Z * gain, 1) for gain in (1.0, 0.0, 5.0)]) == "softmax"
    # One image alone may lie in [0, 1] by chance; a louder one does not.
    faint = Z.abs() / 10
    assert activation_from_values([faint]) == "sigmoid" and activation_from_values([faint, faint * 100]) == "none"
    assert activation_from_values([torch.sigmoid(Z), Z]) == "none"
    assert activation_from_values([torch.zeros(1, 1, 4, 4)] * 3) == "none", "a constant says nothing"
    assert activation_from_values([torch.softmax(Z, 1), torch.sigmoid(Z)]) == "sigmoid", "exclusive on all or on none"
    assert activation_from_values([torch.full((1, 1, 4, 4), float("nan"))]) == "none"


def test_depths_count_convolutions() -> None:
    kernel = torch.ones(3, 3, 1, 1)
    one = F.conv2d(Z.clone().requires_grad_(True), kernel)
    two = F.conv2d(one, kernel)
    fused = torch.sigmoid(one + two)
    before = convolutions_before([one, two, fused, F.conv2d(fused, kernel)])
    assert [len(each) for each in before] == [1, 2, 2, 3]
    assert before[0] < before[1] and before[1] == before[2] < before[3], "each depends on those of the one before"
    assert convolutions_before([two]) == [set()] and convolutions_before([Z, Z]) == [set(), set()]
