"""The guided filter against its definition, written out pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from interactify.propagation.guided_filter import GuidedFilter


def by_definition(guide: np.ndarray, maps: np.ndarray, radius: int, edge: float) -> np.ndarray:
    """Ridge regression of the map on the guide's colours in each box, then the mean over the boxes of each pixel."""
    channels, height, width = guide.shape
    slope, level = np.zeros((height, width, channels)), np.zeros((height, width))

    def box(y: int, x: int) -> tuple[slice, slice]:
        return slice(max(0, y - radius), y + radius + 1), slice(max(0, x - radius), x + radius + 1)

    for y in range(height):
        for x in range(width):
            rows, columns = box(y, x)
            colours = guide[:, rows, columns].reshape(channels, -1)
            values = maps[rows, columns].reshape(-1)
            centred = colours - colours.mean(1, keepdims=True)
            covariance = centred @ centred.T / len(values) + edge * np.eye(channels)
            slope[y, x] = np.linalg.solve(covariance, centred @ (values - values.mean()) / len(values))
            level[y, x] = values.mean() - slope[y, x] @ colours.mean(1)
    filtered = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            rows, columns = box(y, x)
            mean_slope = slope[rows, columns].reshape(-1, channels).mean(0)
            filtered[y, x] = mean_slope @ guide[:, y, x] + level[rows, columns].mean()
    return filtered


def picture(channels: int, height: int = 13, width: int = 17, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    guide = torch.rand(1, channels, height, width, dtype=torch.float64, generator=generator)
    return guide, torch.randn(1, 1, height, width, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize(("radius", "edge"), [(1, 1e-3), (2, 1e-1), (4, 1e-2), (20, 1e-3)])
def test_it_is_what_its_definition_says(channels: int, radius: int, edge: float) -> None:
    guide, maps = picture(channels)
    expected = by_definition(guide[0].numpy(), maps[0, 0].numpy(), radius, edge)
    np.testing.assert_allclose(GuidedFilter(guide, radius, edge)(maps)[0, 0].numpy(), expected, rtol=0, atol=1e-10)


def test_flat_pictures_and_flat_maps() -> None:
    """A guide without contrast smooths; a map without contrast stays what it is, at the borders too."""
    flat, maps = torch.full((1, 3, 12, 12), 0.3), torch.randn(1, 1, 12, 12, generator=torch.Generator().manual_seed(1))
    assert GuidedFilter(flat, 3, 1e-3)(maps).std() < 0.3 * maps.std()
    guide, _ = picture(3)
    constant = torch.full((1, 1, 13, 17), 2.5, dtype=torch.float64)
    torch.testing.assert_close(GuidedFilter(guide, 3, 1e-3)(constant), constant, rtol=0, atol=1e-9)
