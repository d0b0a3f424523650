"""Candidates for variables: which operations depend on which layer, against counts by hand."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import interactify
from tests.fixtures import networks

STEM, DOWN, DEEP = 27 * 8 * 128 * 160, 72 * 12 * 64 * 80, 108 * 12 * 32 * 40  # multiplications of each convolution
UP, HEAD = 180 * 8 * 128 * 160, 8 * 128 * 160
TOTAL = STEM + DOWN + DEEP + UP + HEAD


def points_of(model: nn.Module) -> dict[str, interactify.network.insertion_points.InsertionPoint]:
    return {point.name: point for point in interactify.wrap(model).insertion_points()}


def test_shares_are_those_counted_by_hand() -> None:
    points = points_of(networks.seeded(networks.Plain))
    assert points["input"].share == 1.0 and points["input"].shape == (3, 128, 160)
    expected = {
        "stem": TOTAL - STEM,
        "down": DEEP + UP + HEAD,
        "deep": UP + HEAD,
        "up": HEAD,
        "head": 0,
    }
    for name, count in expected.items():
        assert points[name].share == pytest.approx(count / TOTAL, rel=1e-12), name
    assert points["deep"].shape == (12, 32, 40) and points["deep"].letter == "A"


class TwoBranches(networks.Plain):
    """`left` and `right` read the same map one after the other; neither depends on the other."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(8, 4, 3, padding=1), nn.Conv2d(8, 4, 3, padding=1)

    def rest(self, first: Tensor) -> Tensor:
        joined = torch.cat([self.left(first), F.relu_(self.right(first))], 1)
        return self.head(joined)


def test_what_runs_later_need_not_depend_on_it() -> None:
    points = points_of(networks.seeded(TwoBranches))
    branch, head = 72 * 4 * 128 * 160, 8 * 128 * 160
    total = STEM + 2 * branch + head
    assert points["left"].share == pytest.approx(head / total) == points["right"].share
    assert points["stem"].share == pytest.approx((2 * branch + head) / total)


class Skipping(networks.Plain):
    """An identity module's output goes deeper, its input along the skip: the skip does not depend on it."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.aside = nn.ReLU(inplace=False), nn.Conv2d(8, 8, 1)
        self.head = nn.Conv2d(8, 1, 1)

    def rest(self, first: Tensor) -> Tensor:
        return self.head(self.aside(first) + nn.Identity()(self.gate(first)))


def test_a_skip_past_a_layer_is_not_behind_it() -> None:
    points = points_of(networks.seeded(Skipping))
    aside, head = 8 * 8 * 128 * 160, 8 * 128 * 160
    assert points["gate"].share == pytest.approx(head / (STEM + aside + head))


def test_a_head_beside_the_output_is_no_candidate() -> None:
    class TwoHeads(networks.Plain):
        def __init__(self) -> None:
            super().__init__()
            self.beside = nn.Conv2d(8, 4, 1)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"out": super().forward(x), "edges": self.beside(self.read(x))}

    points = points_of(networks.seeded(TwoHeads))
    assert "beside" not in points and "up" in points


def test_own_autograd_functions_hide_nothing() -> None:
    class Hidden(networks.Plain):
        def __init__(self) -> None:
            super().__init__()
            self.hiding = Doubled()

        def rest(self, first: Tensor) -> Tensor:
            return super().rest(self.hiding(first))

    class Doubled(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return networks.Doubling.apply(x)

    assert points_of(networks.seeded(Hidden))["stem"].share == pytest.approx((TOTAL - STEM) / TOTAL)


def test_it_leaves_nothing_behind_and_prints_as_a_table() -> None:
    net = interactify.wrap(networks.seeded(networks.Plain))
    hooks = [len(module._forward_hooks) for module in net.network.replica.modules()]
    points = net.insertion_points()
    assert [len(module._forward_hooks) for module in net.network.replica.modules()] == hooks
    lines = str(points).splitlines()
    assert len(lines) == len(points) + 1
    assert any(line.startswith("A  deep") and "12×32×40" in line for line in lines)
    assert interactify.wrap(networks.seeded(networks.Plain), variables=f"scale_bias@{points[1].name}")
