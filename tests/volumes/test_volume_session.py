"""Sessions on volumes: the identity, clicks, undo and redo, windows, and calls that are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import interactify
from interactify.errors import (
    ClosedSessionError,
    InteractionError,
    ModelChangedError,
    NonFiniteError,
    OptionError,
    PhotoError,
)
from interactify.interactions.in_space import VoxelClick
from interactify.volumes.block import Block, Grid, whole, window_weights
from interactify.volumes.session import VolumeSession
from interactify.volumes.volume import Volume
from tests.fixtures import networks, volumes

VOLUME = volumes.random_volume()


def opened(model: nn.Module | None = None, volume: Any = VOLUME, **options: Any) -> VolumeSession:
    session = interactify.wrap(model or volumes.plain(), mean=0, std=1, **options).session(volume)
    assert isinstance(session, VolumeSession)
    return session


def own_map(model: nn.Module, volume: np.ndarray) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.from_numpy(volume)[None, None])[0, 0]


# ---- before and after a click ----------------------------------------------------------------------------------------


def test_before_any_click_it_is_the_network_to_the_last_bit() -> None:
    model = volumes.plain()
    own = own_map(model, VOLUME)
    result = opened(model).result
    assert torch.equal(result.displayed.read(whole(result.size)), own)
    assert np.array_equal(result.mask, (own > 0).numpy()) and 0 < result.mask.mean() < 1
    assert np.array_equal(result.probability, torch.sigmoid(own).numpy())
    assert (result.evaluations, result.status, result.clicks, result.satisfied) == (0, "plain", (), True)


@pytest.mark.parametrize("variables", ["input", "smooth_input", "scale_bias@A", "kernels"])
def test_clicks_are_satisfied_and_undone(variables: str) -> None:
    session = opened(variables=variables)
    plain = session.result.mask
    places = [(10, 8, 6), (0, 0, 0), (19, 15, 11)]  # the corners, too
    for count, (x, y, z) in enumerate(places, 1):
        positive = not bool(session.result.mask[z, y, x])
        result = session.click(x, y, z, positive=positive)
        assert len(result.clicks) == count
        if variables == "input":
            assert result.satisfied and bool(result.mask[z, y, x]) == positive
            assert result.changed.any() and 1 <= result.evaluations <= 40
    last = session.result.mask
    assert np.array_equal(session.undo().mask, session.redo().before.mask)
    assert np.array_equal(session.result.mask, last)
    for _ in places:
        session.undo()
    assert np.array_equal(session.result.mask, plain) and not session.can_undo and session.undo().clicks == ()
    assert session.can_redo and len(session.redo().clicks) == 1
    assert session.reset().clicks == () and len(session.undo().clicks) == 1


def test_same_calls_same_masks_and_as_refine() -> None:
    net = interactify.wrap(volumes.plain(), mean=0, std=1)
    clicks = [VoxelClick(10, 8, not opened().result.mask[6, 8, 10], z=6), VoxelClick(0, 0, z=0)]
    first, second = (net.session(VOLUME).add(clicks) for _ in range(2))
    refined, plain = net.refine(torch.from_numpy(VOLUME), [clicks, []])
    assert np.array_equal(first.probability, second.probability)
    assert np.array_equal(first.probability, refined.probability)
    assert np.array_equal(plain.mask, net.session(VOLUME).result.mask)


def test_a_click_that_is_right_already_costs_nothing() -> None:
    session = opened()
    z, y, x = np.argwhere(session.result.mask)[0]
    result = session.click(x, y, z)
    assert (result.evaluations, result.satisfied, result.status) == (0, True, "done")


def test_the_newest_click_on_a_voxel_counts() -> None:
    session = opened()
    for positive in (True, False, True):
        result = session.click(10, 8, 6, positive=positive)
        assert result.satisfied and bool(result.mask[6, 8, 10]) == positive


def test_classes_of_a_smaller_map_are_those_under_the_first_click() -> None:
    model = networks.seeded(volumes.Quarter3d)
    volume = np.stack([VOLUME, VOLUME[::-1]])
    net = interactify.wrap(model, mean=0, std=1)
    with torch.no_grad():
        raw = model(torch.from_numpy(volume)[None])["out"][0]
    z, y, x = 6, 8, 10  # on a voxel's corner of the map, which mixes several of its voxels
    for target in range(3):
        session = net.session(volume, target=target)
        odds = torch.logit(raw[target].double()).float()
        expected = F.interpolate(odds[None, None], size=VOLUME.shape, mode="trilinear")[0, 0] > 0
        assert (session.result.mask == expected.numpy()).mean() > 0.999
        positive = not bool(session.result.mask[z, y, x])
        assert session.click(x, y, z, positive=positive).satisfied
    session = net.session(volume)
    session.click(0, 0, 0)
    assert session.steps[-1].target == int(raw[:, 0, 0, 0].argmax()) and session.result.satisfied


def test_value_range_comes_before_mean_and_std() -> None:
    seen: list[torch.Tensor] = []
    model = volumes.plain()
    net = interactify.wrap(model, mean=0.5, std=0.25, value_range=(-1000, 1000))
    ct = np.array([-3000, -1000, 0, 500, 3000], np.int16).repeat(4).reshape(5, 2, 2)
    session = net.session(ct)
    seen.append(session.refiner.whole_patch.image)
    there = seen[0][0, 0][whole(ct.shape).within(session.refiner.whole_patch.block)]
    assert there[:, 0, 0].tolist() == [-2.0, -2.0, 0.0, 1.0, 2.0]


# ---- windows ---------------------------------------------------------------------------------------------------------


def sliding(model: nn.Module, volume: np.ndarray, side: int) -> torch.Tensor:
    """MONAI's sliding windows, written down anew: overlap 0.25, Gaussian weights, padded evenly with zeros."""
    pads, starts = [], []
    for own in volume.shape:
        missing, step = max(0, side - own), int(side * 0.75)
        pads.append((missing // 2, missing - missing // 2))
        end = max(own, side)
        starts.append(sorted({min(first, end - side) for first in range(0, end, step)}))
        while len(starts[-1]) > 1 and starts[-1][-2] + side >= end:
            starts[-1].pop(-2)
    padded = torch.from_numpy(np.pad(volume, pads))
    weights = window_weights((side, side, side))
    total, count = torch.zeros_like(padded), torch.zeros_like(padded)
    for z in starts[0]:
        for y in starts[1]:
            for x in starts[2]:
                at = (slice(z, z + side), slice(y, y + side), slice(x, x + side))
                with torch.no_grad():
                    total[at] += model(padded[at][None, None])[0, 0] * weights
                count[at] += weights
    blended = total / count
    return blended[tuple(slice(a, a + own) for (a, _), own in zip(pads, volume.shape, strict=True))]


def test_a_large_volume_is_seen_in_overlapping_windows() -> None:
    model, volume = volumes.plain(), volumes.random_volume((20, 8, 27), seed=1)
    session = opened(model, volume, resolution=12)
    assert session.refiner.grid.window == (12, 8, 12)
    first = session.result.displayed.read(whole(volume.shape))
    assert first.shape == volume.shape and bool(torch.isfinite(first).all())
    cube = opened(model, volumes.random_volume((20, 16, 27), seed=1), resolution=12)
    expected = sliding(model, volumes.random_volume((20, 16, 27), seed=1), 12)
    assert torch.allclose(cube.result.displayed.read(whole((20, 16, 27))), expected, atol=1e-5)


def test_outside_of_the_window_the_mask_stays() -> None:
    session = opened(volume=volumes.random_volume((40, 16, 40), seed=2), resolution=16)
    plain = session.result
    x, y, z = 20, 8, 20
    result = session.click(x, y, z, positive=not bool(plain.mask[z, y, x]))
    outside = np.ones(session.size, bool)
    outside[result.block.slices] = False
    assert result.satisfied and result.changed.any() and not result.changed[outside].any()
    assert result.block.contains(np.array([[x, y, z]])).all() and result.block.size == (16, 16, 16)
    both = session.add(
        [VoxelClick(2, 8, not result.mask[2, 8, 2], z=2), VoxelClick(38, 8, not result.mask[38, 8, 38], z=38)]
    )
    assert both.satisfied and both.mask[z, y, x] == result.mask[z, y, x]  # two windows, far apart
    assert np.array_equal(session.undo().mask, result.mask)


def test_only_the_parts_that_are_needed_are_read() -> None:
    read: list[int] = []

    class OnDisk:
        shape, dtype = (64, 16, 16), np.dtype(np.int16)

        def __getitem__(self, index: Any) -> np.ndarray:
            part = np.broadcast_to(np.arange(64, dtype=np.int16)[:, None, None] % 5, self.shape)[index]
            read.append(part.size)
            return part

    session = opened(volume=OnDisk(), resolution=16)
    assert max(read) == 16**3
    read.clear()
    session.click(8, 8, 60, positive=not bool(session.result.mask_in(Block((60, 8, 8), (1, 1, 1)))[0, 0, 0]))
    assert sum(read) == 16**3 and session.result.satisfied


def test_grid_of_volumes_smaller_and_larger_than_a_window() -> None:
    grid = Grid((5, 30, 16), (8, 16, 16))
    assert not grid.is_whole and grid.padding == (1, 0, 0)
    windows = grid.windows()
    assert [block.start for block in windows] == [(-1, 0, 0), (-1, 12, 0), (-1, 14, 0)]
    assert grid.around(np.array([[0, 29, 4]])).start == (-1, 14, 0)


# ---- refused ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [(20, 0, 0), (0, 16, 0), (0, 0, 12), (-1, 0, 0), (float("nan"), 0, 0), ("1", 0, 0)])
def test_points_outside_are_refused_and_nothing_changes(place: tuple[Any, Any, Any]) -> None:
    session = opened()
    with pytest.raises(InteractionError, match=r"Expected .* click"):
        session.click(*place)
    with pytest.raises(InteractionError):
        session.add([VoxelClick(1, 1, z=1), VoxelClick(*place[:2], z=place[2])])
    assert session.interactions == () and not session.can_undo


@pytest.mark.parametrize("interactions", ["click", [interactify.Click(1, 2)], [(1, 2, 3)], VoxelClick(1, 2, z=3)])
def test_other_interactions_are_refused(interactions: Any) -> None:
    with pytest.raises(InteractionError):
        opened().add(interactions)


def test_a_click_in_a_volume_is_refused_in_a_photo() -> None:
    session = interactify.wrap(networks.seeded(networks.Plain), mean=0, std=1).session(networks.random_photo())
    with pytest.raises(InteractionError, match="with z"):
        session.add([VoxelClick(1, 2, z=3)])


@pytest.mark.parametrize(
    ("volume", "error"),
    [
        (np.zeros((4, 5)), PhotoError),
        (np.zeros((2, 4, 5, 6)), PhotoError),
        (np.zeros((0, 5, 6)), PhotoError),
        (np.zeros((4, 5, 6), complex), PhotoError),
        (np.full((4, 6, 6), np.nan), PhotoError),
        ("scan.nii", PhotoError),
        ([[[1.0]]], PhotoError),
    ],
)
def test_other_volumes_are_refused(volume: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="Expected"):
        opened(volume=volume)


@pytest.mark.parametrize("options", [{"spacing": (1, 0, 1)}, {"spacing": 1}, {"affine": np.eye(3)}, {"value_range": 1}])
def test_invalid_facts_of_a_volume_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="Expected"):
        Volume(VOLUME, **options)


def test_a_changed_and_a_broken_network() -> None:
    model = volumes.plain()
    session = opened(model)
    before = session.result.mask
    with torch.no_grad():
        model.head.bias += 1
    with pytest.raises(ModelChangedError):
        session.click(1, 1, 1, positive=not bool(before[1, 1, 1]))
    assert session.interactions == ()
    with torch.no_grad():
        model.head.bias.fill_(float("nan"))
    with pytest.raises(NonFiniteError):
        session.net.session(VOLUME)


def test_closed_session_and_what_it_kept() -> None:
    volume = Volume(VOLUME, spacing=(2, 1, 0.5), affine=np.diag([0.5, 1, 2, 1]))
    with opened(volume=volume) as session:
        assert session.volume.spacing == (2.0, 1.0, 0.5) and session.volume.affine is not None
        result = session.click(1, 1, 1)
    assert result.mask.shape == VOLUME.shape and repr(session) == "VolumeSession(closed)"
    with pytest.raises(ClosedSessionError):
        session.click(1, 1, 1)
