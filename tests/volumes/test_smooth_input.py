"""Variables "smooth_input": a smooth change of the input, and of single voxels where that is not enough."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import interactify
from interactify import VoxelClick
from interactify.errors import CheckpointError
from interactify.network.variables import SmoothInput
from tests.fixtures import networks


class Brighter(nn.Module):
    """Finds what is brighter than 0.6 in a volume that it blurs a little."""

    def __init__(self) -> None:
        super().__init__()
        self.blur = nn.Conv3d(1, 1, 3, padding=1, padding_mode="replicate")
        nn.init.constant_(self.blur.weight, 1 / 27)
        nn.init.constant_(self.blur.bias, -0.6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 20 * self.blur(x)


def missed_ball() -> tuple[np.ndarray, np.ndarray]:
    """A ball that is too dark for `Brighter`, (24, 24, 24) float32, and its mask."""
    places = np.linalg.norm(np.indices((24, 24, 24)) - 12.0, axis=0)
    return np.where(places < 5, 0.5, 0.2).astype(np.float32), places < 5


@pytest.mark.parametrize("size", [(9, 12, 5), (3, 1, 8), (11, 6)])
def test_what_it_adds_is_linear_between_cells_and_fine_beside(size: tuple[int, ...]) -> None:
    variables, image = SmoothInput(), torch.zeros(1, 2, *size)
    cells = [[-(-side // cell) for side in size] for cell in (8, 4, 2, 1)]
    *coarse, fine = levels = [networks.random_tensor(1, 2, *own, seed=seed) for seed, own in enumerate(cells)]

    class Itself:
        replica = staticmethod(lambda image: image)

    values = torch.cat([level.flatten() for level in levels])
    assert variables.start(Itself(), image).shape == values.shape  # type: ignore[arg-type]
    mode = "trilinear" if len(size) == 3 else "bilinear"
    expected = 0.3 * fine + sum(F.interpolate(level, size=size, mode=mode) for level in coarse)
    assert torch.allclose(variables.run(Itself(), image, values, ()), expected, atol=1e-6)  # type: ignore[arg-type]


def test_the_rest_of_an_object_follows_one_click() -> None:
    volume, truth = missed_ball()
    found = {}
    for variables in ("input", "smooth_input"):
        session = interactify.wrap(Brighter(), variables=variables, mean=0, std=1).session(volume)
        assert not session.result.mask.any()
        result = session.click(12, 12, 12)
        assert result.satisfied
        found[variables] = interactify.evaluation.iou(truth.astype(np.int8), result.mask)
    assert found["input"] < 0.2 and found["smooth_input"] > 0.5, found


def test_labels_that_differ_between_neighbours_are_satisfied() -> None:
    volume, _ = missed_ball()
    session = interactify.wrap(Brighter(), variables="smooth_input", mean=0, std=1).session(volume)
    places = [(12, 12, 12), (13, 12, 12), (12, 13, 12), (12, 12, 13)]
    result = session.add([VoxelClick(x, y, index == 0, z=z) for index, (x, y, z) in enumerate(places)])
    assert result.satisfied and [bool(result.mask[z, y, x]) for x, y, z in places] == [True, False, False, False]


def test_a_file_keeps_the_variables_it_was_saved_with(tmp_path: Path) -> None:
    volume, _ = missed_ball()
    model = Brighter()
    older = interactify.wrap(model, variables="input", mean=0, std=1)
    session = older.session(volume)
    session.click(12, 12, 12)
    session.save(tmp_path / "older.npz")
    with pytest.raises(CheckpointError, match=r"Input\(name='input'.*got \"SmoothInput"):
        interactify.load_session(
            tmp_path / "older.npz", interactify.wrap(model, variables="smooth_input", mean=0, std=1), volume
        )
    again = interactify.load_session(tmp_path / "older.npz", older, volume)
    assert np.array_equal(again.result.mask, session.result.mask)
