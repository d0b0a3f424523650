"""Evaluation in volumes: the user's clicks, the surface distance, and a run, against values found by hand."""

from __future__ import annotations

import numpy as np
import pytest

import interactify
from interactify.errors import OptionError
from interactify.evaluation import (
    Jitter,
    Pairs,
    Record,
    Sample,
    SurfaceDistance,
    VolumeRecord,
    evaluate,
    iou,
    next_click,
    surface_distance,
)
from interactify.interactions.in_space import VoxelClick
from interactify.volumes import Volume
from tests.fixtures import volumes


def nothing(truth: np.ndarray) -> np.ndarray:
    return np.zeros(truth.shape, bool)


def boxes(size: tuple[int, int, int], *of: tuple[slice, slice, slice]) -> np.ndarray:
    """A truth with boxes of object in it."""
    truth = np.zeros(size, np.int8)
    for box in of:
        truth[box] = 1
    return truth


LONG = (slice(2, 3), slice(1, 4), slice(1, 11))  # 30 voxels, but one slice thick
CUBE = (slice(1, 4), slice(5, 8), slice(2, 5))  # 27 voxels, 2 deep
TWO = boxes((5, 9, 12), LONG, CUBE)


def test_the_click_is_deepest_inside_the_error() -> None:
    assert next_click(TWO, nothing(TWO), nothing(TWO)) == VoxelClick(3, 6, z=2)
    assert next_click(0 * TWO, TWO == 1, nothing(TWO)) == VoxelClick(3, 6, False, z=2)


def test_depth_is_in_the_units_of_the_spacing() -> None:
    rod, plate = (slice(0, 9), slice(1, 4), slice(1, 4)), (slice(4, 5), slice(1, 8), slice(6, 13))
    truth = boxes((9, 9, 14), rod, plate)
    # The rod is 2 rows deep everywhere but in its first and last slice; the plate is one slice deep.
    assert next_click(truth, nothing(truth), nothing(truth)) == VoxelClick(2, 2, z=1)
    # Slices of 4 mm: the middle of the plate is 4 mm from its border in every direction.
    assert next_click(truth, nothing(truth), nothing(truth), (4, 1, 1)) == VoxelClick(9, 4, z=4)
    # Slices of 0.1 mm: the middle slice of the rod is 0.5 mm from its ends, and no voxel in it is nearer to its sides.
    assert next_click(truth, nothing(truth), nothing(truth), (0.1, 1, 1)) == VoxelClick(1, 1, z=4)


def test_clicked_and_unknown_voxels_are_not_clicked() -> None:
    truth = boxes((1, 1, 3), (slice(0, 1), slice(0, 1), slice(0, 2)))
    clicked = nothing(truth)
    clicked[0, 0, 0] = True
    assert next_click(truth, nothing(truth), clicked) == VoxelClick(1, 0, z=0)
    truth[0, 0, 1] = -1
    assert next_click(truth, nothing(truth), clicked) is None


def test_other_users_click_voxels_of_the_same_error() -> None:
    sample = Sample("two", Volume(np.zeros(TWO.shape), (2.0, 1.0, 1.0)), TWO)
    assert Pairs().turn(sample, nothing(TWO), nothing(TWO), 5) == ((VoxelClick(3, 6, z=1),), (VoxelClick(2, 2, z=2),))
    (gesture,) = Jitter(spread=2).turn(sample, nothing(TWO), nothing(TWO), 5)
    (click,) = gesture
    assert isinstance(click, VoxelClick) and click.positive and TWO[int(click.z), int(click.y), int(click.x)] == 1
    assert click.y >= 5 and gesture != (VoxelClick(3, 6, z=1),)
    assert Jitter(spread=2).turn(sample, nothing(TWO), nothing(TWO), 5) == (gesture,)


def test_surfaces_of_boxes_that_are_moved() -> None:
    truth = boxes((3, 3, 8), (slice(1, 2), slice(1, 2), slice(0, 4)))  # a rod, all of it surface
    mask = boxes((3, 3, 8), (slice(1, 2), slice(1, 2), slice(2, 6))) == 1
    # From the truth's columns 0 to 3: 2, 1, 0, 0 columns; from the mask's 2 to 5: 0, 0, 1, 2.
    assert surface_distance(truth, mask, (1, 1, 3)) == SurfaceDistance(2.25, pytest.approx(5.55))  # 3 + 0.85 · 3
    assert surface_distance(truth, truth == 1) == SurfaceDistance(0, 0)
    lower = boxes((3, 3, 8), (slice(2, 3), slice(1, 2), slice(0, 4))) == 1
    assert surface_distance(truth, lower, (5, 1, 1)) == SurfaceDistance(5, 5)


def test_inside_is_no_surface_and_the_volumes_end_is_one() -> None:
    truth = boxes((5, 5, 5), (slice(0, 5), slice(0, 5), slice(0, 5)))
    hollow = truth == 1
    hollow[2, 2, 2] = False  # its 6 neighbours become surface, each 1 from the truth's surface
    found = surface_distance(truth, hollow)
    assert found.mean == pytest.approx(6 / (98 + 98 + 6))
    assert found.hausdorff95 == pytest.approx(0.85)  # of 104 distances, 98 of them 0: at 0.95 · 103 = 97.85


def test_surfaces_of_nothing_and_unknown_voxels() -> None:
    truth, full = boxes((2, 2, 2)), np.ones((2, 2, 2), bool)
    assert surface_distance(truth, ~full) == SurfaceDistance(0, 0)
    assert surface_distance(truth, full) == SurfaceDistance(np.inf, np.inf)
    assert surface_distance(truth - 1, full) == SurfaceDistance(0, 0)  # nothing is known
    with pytest.raises(OptionError, match="a spacing of each side"):
        surface_distance(truth, full, (1, 1))


def test_a_run_in_volumes() -> None:
    net = interactify.wrap(volumes.plain(), mean=0, std=1, max_evaluations=5)
    array = volumes.random_volume()
    truth = boxes(array.shape, (slice(3, 9), slice(4, 12), slice(5, 15)))
    sample = Sample("box", Volume(array, (2.0, 0.5, 0.5)), truth)
    run = evaluate(net, [sample], clicks=2, progress=False)
    (record,) = run.records
    before = net.session(array).result.mask
    first = next_click(truth, before, nothing(truth), (2.0, 0.5, 0.5))
    assert isinstance(record, VolumeRecord) and isinstance(first, VoxelClick)
    assert record.clicks[0] == [[first.x, first.y, first.z, first.positive]]
    assert record.curve[0] == iou(truth, before) and len(record.curve) == len(record.surface) == 3
    found = surface_distance(truth, before, (2.0, 0.5, 0.5))
    assert record.surface[0] == [found.mean, found.hausdorff95]
    assert record.curve[2] > record.curve[0] and all(record.satisfied) and 1 <= run.noc(0.9) <= 2
    assert VolumeRecord.from_json(record.to_json()) == record
    with pytest.raises(TypeError):
        Record.from_json(record.to_json())
    with pytest.raises(OptionError, match="belongs to this volume"):
        evaluate(net, [Sample("other", array, truth[1:])], clicks=1, progress=False)
