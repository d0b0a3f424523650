"""Answers in volumes that follow edges: the filter in three dimensions, and thin things, which it leaves alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import interactify
from interactify.errors import OptionError
from interactify.propagation.guided_filter import GuidedFilter
from interactify.propagation.propagation import PROPAGATIONS, own_share
from interactify.propagation.suited import share_as_wide, suited
from interactify.volumes.block import Block
from interactify.volumes.edges import Edges, guide_of_block
from interactify.volumes.volume import Volume
from tests.fixtures import volumes

SIDE = 20


def grid() -> tuple[np.ndarray, ...]:
    return tuple(np.indices((SIDE, SIDE, SIDE)) - (SIDE - 1) / 2)


def cube(half: float = 6) -> np.ndarray:
    return np.maximum.reduce([np.abs(axis) for axis in grid()]) < half


def thin_tube() -> np.ndarray:
    z, y, x = grid()
    return (y - 4 * np.sin(z / 4)) ** 2 + x**2 <= 1.5**2


def as_volume(mask: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 0.02, mask.shape)
    return (0.3 + 0.4 * mask + noise).astype(np.float32)


def test_where_nothing_changes_along_z_it_is_the_filter_of_a_picture() -> None:
    guide, maps = torch.rand(1, 2, 9, 11), torch.randn(1, 1, 9, 11)
    flat = GuidedFilter(guide, 2, 1e-2)(maps)
    deep = GuidedFilter(guide[:, :, None].expand(-1, -1, 7, -1, -1), 2, 1e-2)(maps[:, :, None].expand(1, 1, 7, 9, 11))
    assert torch.allclose(deep, flat[:, :, None].expand_as(deep), atol=1e-5)
    turned = GuidedFilter(guide[..., None].expand(-1, -1, -1, -1, 7), 2, 1e-2)(maps[..., None].expand(1, 1, 9, 11, 7))
    assert torch.allclose(turned, flat[..., None].expand_as(turned), atol=1e-5)


def test_around_a_click_the_answer_is_the_networks() -> None:
    share = own_share(torch.tensor([[2.0, 5.0, 11.0]]), torch.zeros(1, 1, 14, 9, 7))
    assert share.shape == (1, 1, 14, 9, 7) and share[0, 0, 11, 5, 2] == 1 and share[0, 0, 11, 5, 3] == 1
    assert share[0, 0, 11, 5, 6] == share[0, 0, 7, 5, 2] < 1 and share[0, 0, 0, 0, 6] < 0.02


def test_share_in_cubes() -> None:
    for mask, least, most in ((cube(), 0.9, 1.0), (thin_tube(), 0.0, 0.05)):
        assert least <= share_as_wide(torch.from_numpy(mask)[None, None], 2) <= most


@pytest.mark.parametrize(
    "mask, radius", [(cube(), 3), (cube(3), 2), (cube(2), 0), (thin_tube(), 0), (np.zeros_like(cube()), 3)]
)
def test_boxes_are_no_wider_than_the_object(mask: np.ndarray, radius: int) -> None:
    log_odds = torch.from_numpy(np.where(mask, 2, -2)).float()[None, None]
    own = replace(PROPAGATIONS["edges"], adapts=True)
    assert suited(own, log_odds, log_odds, mask.shape).radius == radius


def test_a_shifted_cube_moves_to_its_edges_and_a_thin_tube_stays_as_it_is() -> None:
    whole = Block((0, 0, 0), (SIDE,) * 3)
    own = replace(PROPAGATIONS["edges"], adapts=True)
    for mask, unchanged in ((cube(), False), (thin_tube(), True)):
        answer = torch.from_numpy(np.where(np.roll(mask, 1, 2), 1, -1)).float()
        found = Edges(own, Volume(as_volume(mask)), whole).spread(answer, torch.zeros(0, 3))
        if unchanged:
            assert torch.equal(found, answer)
        else:
            wrong, before = ((each > 0).numpy() ^ mask for each in (found, answer))
            assert wrong.sum() < 0.4 * before.sum()


def test_a_guide_is_between_0_and_1_whatever_the_units() -> None:
    array = volumes.random_volume() * 800 - 200
    guide = guide_of_block(Volume(array), Block((2, 3, 4), (6, 7, 8)))
    assert guide.shape == (1, 1, 6, 7, 8) and guide.min() == 0 and guide.max() == 1
    assert guide_of_block(Volume(np.stack([array] * 5)), Block((0, 0, 0), (4, 4, 4))).shape[1] == 3
    assert (guide_of_block(Volume(np.ones((4, 4, 4))), Block((0, 0, 0), (4, 4, 4))) == 0).all()


class Blurred(nn.Module):
    """Log-odds of the brightness around a voxel: soft borders, which do not follow those of the volume."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(1, 1, 5, padding=2)
        nn.init.constant_(self.conv.weight, 20 / 125)
        nn.init.constant_(self.conv.bias, -9.0)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.conv(x)
        return found


@pytest.mark.parametrize("resolution", [SIDE, 16], ids=["whole", "in windows"])
def test_sessions_along_edges(resolution: int) -> None:
    array, masks = as_volume(cube()), []
    for name in ("none", "edges"):
        session = interactify.wrap(Blurred(), mean=0, std=1, resolution=resolution, propagation=name).session(array)
        own = session.result.mask
        result = session.click(4, 4, 4, positive=not own[4, 4, 4])
        again = session.click(14, 12, 10, positive=not result.mask[10, 12, 14])
        assert result.satisfied and again.satisfied
        masks.append((own, again.mask))
        assert np.array_equal(session.undo().mask, result.mask) and np.array_equal(session.redo().mask, again.mask)
    assert np.array_equal(masks[0][0], masks[1][0]), "before any click it is the network's own map"
    assert (masks[0][1] != masks[1][1]).any()


def test_a_thin_tube_is_the_same_with_and_without() -> None:
    array = as_volume(thin_tube())
    masks = [
        interactify.wrap(Blurred(), mean=0, std=1, propagation=name).session(array).click(8, 8, 10).mask
        for name in ("none", "edges")
    ]
    assert masks[0].any() and np.array_equal(*masks)


def test_colours_are_refused_and_nothing_is_the_default() -> None:
    with pytest.raises(OptionError, match="'edges'"):
        interactify.wrap(volumes.plain(), mean=0, std=1, propagation="colour")
    assert not interactify.wrap(volumes.plain(), mean=0, std=1).propagation.active
    assert interactify.wrap(volumes.plain(), mean=0, std=1, propagation="edges").propagation.adapts
