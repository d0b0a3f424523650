"""The three energies against numbers computed by hand, and what "reached" promises."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from interactify.brs.energy import ENERGIES, Margin, MeanPerPolarity, SumOfSquares, energy_named, energy_reaching
from interactify.brs.objective import squares
from interactify.errors import OptionError
from tests.fixtures import networks

LN3 = math.log(3.0)  # sigmoid(ln 3) = 3/4, sigmoid(-ln 3) = 1/4


def column(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, None]


def test_sum_of_squares_by_hand() -> None:
    logits = column(0.0, LN3, -LN3, LN3)  # y = 1/2, 3/4, 1/4, 3/4
    labels = torch.tensor([True, True, False, False])
    # (1 − 1/2)² + (1 − 3/4)² + (1/4)² + (3/4)²
    assert float(SumOfSquares().corrective(logits, labels)) == pytest.approx(0.25 + 0.0625 + 0.0625 + 0.5625, abs=1e-12)
    assert not SumOfSquares().reached(logits, labels)
    # |y − l| < 0.5 is strict: a click at exactly one half is not satisfied.
    assert not SumOfSquares().reached(column(0.0), torch.tensor([True]))
    assert not SumOfSquares().reached(column(0.0), torch.tensor([False]))
    assert SumOfSquares().reached(column(1e-6, -1e-6), torch.tensor([True, False]))


def test_mean_per_polarity_by_hand() -> None:
    quarter, three = [LN3] * 9, [-LN3] * 9
    mixed = [LN3] * 3 + [-LN3] * 6
    logits = torch.tensor([quarter, three, mixed], dtype=torch.float64)
    # Foreground: the first square has (1/4)² everywhere, the second (3/4)²; background: mixed has y = 3/4 three times.
    labels = torch.tensor([True, True, False])
    expected = (1 / 16 + 9 / 16) / 2 + (3 * 9 / 16 + 6 * 1 / 16) / 9
    assert float(MeanPerPolarity().corrective(logits, labels)) == pytest.approx(expected, abs=1e-7)
    # One polarity alone: the other adds 0, not 0 / 0.
    assert float(MeanPerPolarity().corrective(logits[:1], labels[:1])) == pytest.approx(1 / 16, abs=1e-7)
    assert float(MeanPerPolarity().corrective(logits[2:], labels[2:])) == pytest.approx((3 * 9 + 6) / 16 / 9, abs=1e-7)


def test_mean_per_polarity_is_reached_past_a_probability_of_051() -> None:
    edge = math.log(0.51 / 0.49)
    for label, sign in ((True, 1.0), (False, -1.0)):
        labels = torch.tensor([label])
        inside = torch.full((1, 9), sign * (edge + 1e-4), dtype=torch.float64)
        assert MeanPerPolarity().reached(inside, labels)
        inside[0, 8] = sign * (edge - 1e-4)  # one pixel of nine is enough
        assert not MeanPerPolarity().reached(inside, labels)


def test_margin_by_hand() -> None:
    logits = column(5.0, 3.5, -1.0, 2.0, -4.0)
    labels = torch.tensor([True, True, True, False, False])
    # max(0, 4 − 5)² + (4 − 3.5)² + (4 + 1)² + (4 + 2)² + max(0, 4 − 4)²
    assert float(Margin().corrective(logits, labels)) == pytest.approx(0.25 + 25.0 + 36.0)
    assert float(Margin(margin=0.5, aim=1.0).corrective(logits, labels)) == pytest.approx(4.0 + 9.0)
    assert Margin().reached(column(3.0, -3.0), torch.tensor([True, False]))
    assert not Margin().reached(column(3.0, -2.999), torch.tensor([True, False]))
    assert not Margin().reached(column(-3.0, -3.0), torch.tensor([True, False]))


def test_the_margin_of_a_network_whose_logits_are_small_by_hand() -> None:
    assert energy_reaching(Margin(), 6.0) == energy_reaching(Margin(), 50.0) == Margin(gain=1.0), "far enough"
    small = energy_reaching(Margin(), 2.0)
    labels = torch.tensor([True, False])
    assert float(small.corrective(column(1.0, -0.5), labels)) == pytest.approx((4 - 3 * 1) ** 2 + (4 - 3 * 0.5) ** 2)
    assert small.reached(column(1.0, -1.0), labels) and not small.reached(column(1.0, -0.999), labels)
    assert energy_reaching(Margin(gain=1.0), 2.0) == Margin(gain=1.0), "as asked for"
    assert energy_reaching(Margin(), 0.0).gain == 1, "a map of zeros tells nothing"
    assert energy_reaching(SumOfSquares(), 2.0) == SumOfSquares()


@pytest.mark.parametrize("gain", [0, -1.0, math.nan, "much", True])
def test_a_gain_that_is_none(gain: Any) -> None:
    with pytest.raises(OptionError, match=r"Expected gain of an energy to be .*, got .*\. Try"):
        energy_named(Margin(gain=gain))


@pytest.mark.parametrize("name", list(ENERGIES))
def test_settings_of_the_papers(name: str) -> None:
    energy = energy_named(name)
    assert energy.name == name
    assert energy.inertia == 1e-3
    assert energy.square == {"brs": 0, "fbrs": 1, "margin": 0, "settling": 0}[name]


@pytest.mark.parametrize("name", list(ENERGIES))
def test_reached_means_that_every_clicked_pixel_has_its_label(name: str) -> None:
    energy = energy_named(name)
    generator = torch.Generator().manual_seed(0)
    reached = 0
    for _ in range(3000):
        n = int(torch.randint(1, 4, (), generator=generator))
        labels = torch.rand(n, generator=generator) > 0.5
        signs = torch.where(labels, 1.0, -1.0)[:, None]
        logits = signs * (torch.randn(n, (2 * energy.square + 1) ** 2, generator=generator) * 3 + 5)
        if energy.reached(logits, labels):
            reached += 1
            clicked = logits[:, logits.shape[1] // 2]
            assert torch.equal(clicked > 0, labels)
    assert reached > 100, "the loop has to reach both cases"


@pytest.mark.parametrize("name", list(ENERGIES))
def test_energy_falls_as_a_click_is_satisfied_better(name: str) -> None:
    energy = energy_named(name)
    pixels = (2 * energy.square + 1) ** 2
    for label, sign in ((True, 1), (False, -1)):
        levels = [
            float(energy.corrective(torch.full((1, pixels), sign * z), torch.tensor([label])))
            for z in (-6.0, -1.0, 1.0, 3.9)
        ]
        assert levels == sorted(levels, reverse=True) and len(set(levels)) == 4


@pytest.mark.parametrize("name", ["brs", "fbrs"])
def test_no_cancellation_far_on_the_right_side(name: str) -> None:
    """1 − sigmoid(40) is 0 in float64; the error there is e⁻⁴⁰."""
    energy = energy_named(name)
    logits = torch.full((1, (2 * energy.square + 1) ** 2), 40.0, dtype=torch.float64)
    value = energy.corrective(logits, torch.tensor([True]))
    assert float(value) > 0
    assert float(value) == pytest.approx(math.exp(-80), rel=1e-6)


# ---- the squares around clicks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(5, 7), (1, 1), (1, 9), (9, 1), (2, 2)])
def test_squares_hold_the_pixels_around_a_click(size: tuple[int, int]) -> None:
    height, width = size
    logits = networks.random_tensor(1, 1, height, width, dtype=torch.float64)
    for y in range(height):
        for x in range(width):
            got = squares(logits, torch.tensor([[x, y]], dtype=torch.float64), 1)(logits)[0, 0]
            # The border row is repeated for the one that would be outside.
            expected = [
                float(logits[0, 0, min(max(y + dy, 0), height - 1), min(max(x + dx, 0), width - 1)])
                for dy in (-1, 0, 1)
                for dx in (-1, 0, 1)
            ]
            assert got.tolist() == expected
            assert got[4] == logits[0, 0, y, x]


@pytest.mark.parametrize("name", list(ENERGIES))
@pytest.mark.parametrize("x, y", [(0, 0), (6, 0), (0, 4), (6, 4), (3, 0), (0, 2), (6, 2), (3, 4), (3, 2)])
def test_every_click_pulls_on_every_border(name: str, x: int, y: int) -> None:
    """A click in row or column 0 must not get an empty square: it would be lost."""
    energy = energy_named(name)
    logits = torch.full((1, 1, 5, 7), -1.0, dtype=torch.float64, requires_grad=True)
    points, labels = torch.tensor([[x, y]], dtype=torch.float64), torch.tensor([True])
    energy.corrective(squares(logits, points, energy.square)(logits)[0], labels).backward()
    gradient = logits.grad[0, 0]
    assert float(gradient[y, x]) < 0
    pulled = {(int(j), int(i)) for j, i in torch.nonzero(gradient)}
    near = energy.square
    assert pulled == {(j, i) for j in range(5) for i in range(7) if abs(j - y) <= near and abs(i - x) <= near}


# ---- choosing one ----------------------------------------------------------------------------------------------------


def test_an_energy_may_be_given_ready_made() -> None:
    energy = Margin(margin=1.0, aim=2.0)
    assert energy_named(energy) is energy


@pytest.mark.parametrize("wrong", ["Margin", "", None, 3, [], object()])
def test_unknown_energies(wrong: Any) -> None:
    with pytest.raises(OptionError, match="margin"):
        energy_named(wrong)


class Own:
    """An energy of a user's own, with all members."""

    def __init__(self) -> None:
        self.name, self.square, self.inertia, self.lower_bound = "own", 0, 1e-3, None
        self.corrective = lambda logits, labels, weights=None: Margin().corrective(logits, labels, weights)
        self.reached = lambda logits, labels: Margin().reached(logits, labels)


MEMBERS = ["name", "square", "inertia", "lower_bound", "corrective", "reached"]


@pytest.mark.parametrize("member", MEMBERS)
def test_an_energy_without_a_member(member: str) -> None:
    energy = Own()
    assert energy_named(energy) is energy
    delattr(energy, member)
    with pytest.raises(
        OptionError, match=rf"Expected an energy with {', '.join(MEMBERS)}, got Own without {member}\. Try"
    ):
        energy_named(energy)


@pytest.mark.parametrize(
    ("member", "wrong"),
    [
        *(("name", 3), ("square", -1), ("square", 0.5), ("square", True), ("inertia", "much"), ("inertia", -1.0)),
        *(("inertia", math.nan), ("lower_bound", math.inf), ("lower_bound", "0"), ("corrective", 1), ("reached", None)),
    ],
)
def test_an_energy_with_a_member_of_another_kind(member: str, wrong: Any) -> None:
    energy = Own()
    setattr(energy, member, wrong)
    with pytest.raises(OptionError, match=rf"Expected {member} of an energy to be .*, got .*\. Try"):
        energy_named(energy)


def test_numbers_of_numpy_are_numbers() -> None:
    energy = Own()
    energy.square, energy.inertia, energy.lower_bound = np.int64(1), np.float32(0.5), np.float64(0.0)
    assert energy_named(energy) is energy


def test_a_class_is_no_energy() -> None:
    with pytest.raises(OptionError):
        energy_named(Margin)  # type: ignore[arg-type]
