"""Scribbles, boxes, lassos and masks in volumes: what they mean together, and what a session makes of them."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

import interactify
from interactify import VoxelBox, VoxelClick, VoxelLasso, VoxelMask, VoxelScribble
from interactify.errors import InteractionError
from interactify.interactions.rasterise import points_near
from interactify.interactions.voxel_gestures import voxel_interaction_from_json, voxel_interactions
from interactify.volumes.block import Block, whole
from interactify.volumes.constraints import combine
from interactify.volumes.regions import background_voxels, excluded, excluded_in
from interactify.volumes.session import VolumeSession
from tests.fixtures import networks, volumes

VOLUME = volumes.random_volume()
SIZE = VOLUME.shape
MASK = np.zeros(SIZE, bool)
MASK[3:9, 4:12, 5:15] = True
DIAMOND = [(10, 2), (17, 8), (10, 14), (3, 8)]
ALL = [
    VoxelClick(1.4, 2, z=3),
    VoxelScribble([(1, 2), (8, 3)], False, 3.0, 2.0, z=4),
    VoxelScribble([(1, 2, 3), (8, 3, 5)]),
    VoxelBox(2, 3, 12, 11, z=5),
    VoxelBox(2, 3, 12, 11, z=(2, 9)),
    VoxelBox(2, 3, 4, 5, z=(2, 9), positive=False),
    VoxelLasso(DIAMOND, z=6),
    VoxelMask(MASK),
]


def opened(**options: Any) -> VolumeSession:
    return interactify.wrap(volumes.plain(), mean=0, std=1, **options).session(VOLUME)


# ---- what they are ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("each", ALL, ids=lambda each: type(each).__name__)
def test_json_and_back(each: Any) -> None:
    (checked,) = voxel_interactions([each], SIZE)
    again = voxel_interaction_from_json(json.loads(json.dumps(checked.to_json())))
    assert again.within(SIZE) == checked == checked.within(SIZE)


@pytest.mark.parametrize(
    "each",
    [
        VoxelScribble([(1, 2)]),  # neither on a slice nor in space
        VoxelScribble([(1, 2, 3)], z=3),
        VoxelScribble([], z=3),
        VoxelScribble([(1, 2)], z=12),
        VoxelScribble([(1, 2)], z=1, width=0),
        VoxelScribble([(1, 2, 30)]),
        VoxelBox(5, 3, 4, 8, z=3),
        VoxelBox(2, 3, 4, 8, z=(5, 3)),
        VoxelBox(2, 3, 4, 8, z=(1, 2, 3)),
        VoxelBox(2, 3, 20, 8, z=3),
        VoxelBox(2, 3, 4, 8, z=None),
        VoxelBox(2, 3, 4, 8, z=3, positive="yes"),
        VoxelLasso([(1, 2), (3, 4)], z=3),
        VoxelLasso(DIAMOND, z=-1),
        VoxelMask(MASK[0]),
        VoxelMask(MASK.transpose(2, 1, 0)),
        VoxelMask(MASK + 3.5),
        interactify.Scribble([(1, 2), (3, 4)]),
        interactify.Mask(MASK[0]),
    ],
    ids=repr,
)
def test_refused_and_nothing_is_lost(each: Any) -> None:
    session = SHARED
    with pytest.raises(InteractionError, match="Expected"):
        session.add([VoxelClick(1, 1, z=1), each])
    assert session.interactions == ()


SHARED = opened()


def test_those_of_a_volume_are_refused_in_a_photo() -> None:
    session = interactify.wrap(networks.seeded(networks.Plain), mean=0, std=1).session(networks.random_photo())
    for each in ALL:
        with pytest.raises(InteractionError, match="in a photo"):
            session.add([each])
    assert session.interactions == ()


@pytest.mark.parametrize("entry", [None, {"kind": "click", "x": 1, "y": 2, "positive": True}, {"kind": "voxel_lasso"}])
def test_other_json_is_refused(entry: Any) -> None:
    with pytest.raises(InteractionError, match="Expected"):
        voxel_interaction_from_json(entry)


def test_a_line_in_space_covers_what_is_near_it() -> None:
    line = [(1, 2, 3), (8, 6, 5), (8, 6, 9)]
    zyx = np.argwhere(np.ones((12, 10, 11), bool))
    voxels = zyx[:, ::-1]
    dense = np.concatenate([np.linspace(a, b, 2000) for a, b in pairwise(line)])
    nearest = np.array([np.sqrt(((dense - voxel) ** 2).sum(1).min()) for voxel in voxels])
    clear = np.abs(nearest - 1.5) > 0.01
    assert np.array_equal(points_near(line, 1.5, voxels)[clear], (nearest <= 1.5)[clear])


@pytest.mark.parametrize("region", [each for each in ALL if isinstance(each, (VoxelBox, VoxelLasso))], ids=repr)
@pytest.mark.parametrize("positive", [True, False])
def test_regions_exclude_the_same_voxels_alone_and_in_blocks(region: Any, positive: bool) -> None:
    region = type(region)(**{**region.__dict__, "positive": positive}).within(SIZE)
    zyx = np.argwhere(np.ones(SIZE, bool))
    alone = excluded(region, zyx[:, ::-1]).reshape(SIZE)
    assert 0 < alone.mean() < 1
    for block in (whole(SIZE), Block((4, 3, 5), (3, 9, 8)), Block((6, 8, 10), (1, 1, 1)), Block((0, 0, 0), (2, 3, 2))):
        found = excluded_in(region, block)
        assert np.array_equal(np.zeros(block.size, bool) if found is None else found, alone[block.slices])
    around = background_voxels(region, SIZE)
    assert len(around) and excluded(region, around).all() and (around < SIZE[::-1]).all() and (around >= 0).all()


# ---- together --------------------------------------------------------------------------------------------------------


def effect(*interactions: Any) -> tuple[list[Any], int]:
    """The kinds of those that are overruled, and how many regions hold."""
    constraints = combine(voxel_interactions(interactions, SIZE), SIZE)
    return [type(each).__name__ for each in constraints.overruled], len(constraints.regions)


def test_later_interactions_win() -> None:
    box = VoxelBox(2, 3, 12, 11, z=(2, 9))
    assert effect(box, VoxelClick(15, 12, z=5)) == (["VoxelBox"], 0)
    assert effect(VoxelClick(15, 12, z=5), box) == (["VoxelClick"], 1)
    assert effect(VoxelClick(15, 12, False, z=5), box) == ([], 1)
    assert effect(box, VoxelBox(2, 3, 6, 7, z=(2, 9))) == (["VoxelBox"], 1)
    assert effect(box, VoxelLasso(DIAMOND, z=6), VoxelLasso(DIAMOND, z=7)) == ([], 3)  # of other slices
    assert effect(VoxelLasso(DIAMOND, z=6), VoxelBox(2, 3, 12, 11, z=6)) == (["VoxelLasso"], 1)
    assert effect(VoxelLasso(DIAMOND, z=6), VoxelScribble([(0, 0, 5), (0, 0, 8)])) == (["VoxelLasso"], 0)
    assert effect(VoxelBox(2, 3, 4, 5, z=(2, 9), positive=False), VoxelClick(3, 4, z=5)) == (["VoxelBox"], 0)
    assert effect(VoxelClick(3, 4, z=5), VoxelScribble([(1, 4), (6, 4)], False, z=5)) == (["VoxelClick"], 0)
    assert effect(VoxelClick(3, 4, z=6), VoxelScribble([(1, 4), (6, 4)], False, z=5)) == ([], 0)
    wide = VoxelScribble([(0, 4), (19, 4)], False, 4.0, z=5), VoxelScribble([(0, 4, 5), (19, 4, 5)], False, 4.0)
    for scribble in wide:  # it covers more voxels than those that the network is given
        assert effect(VoxelClick(3, 6, z=5), scribble) == (["VoxelClick"], 0)
        assert effect(VoxelClick(3, 7, z=5), scribble) == effect(VoxelClick(3, 6, z=8), scribble) == ([], 0)
    assert effect(VoxelScribble([(3, 4)], z=5), VoxelClick(3, 4, False, z=5)) == (["VoxelScribble"], 0)
    assert effect(box, VoxelClick(1, 1, z=1), VoxelMask(MASK)) == (["VoxelBox", "VoxelClick"], 0)
    assert effect(VoxelMask(~MASK), VoxelMask(MASK), VoxelClick(1, 1, z=1), box) == (["VoxelMask", "VoxelClick"], 1)


def test_a_scribble_and_a_mask_weigh_as_much_as_they_say() -> None:
    constraints = combine(voxel_interactions([VoxelScribble([(1, 2, 3), (18, 14, 9)], weight=2.0)], SIZE), SIZE)
    assert constraints.weights.sum() == pytest.approx(2) and len(constraints.voxels) > 5 and constraints.required.all()
    of_mask = combine(voxel_interactions([VoxelMask(MASK)], SIZE), SIZE)
    assert of_mask.weights.sum() == pytest.approx(8) and not of_mask.required.any()
    assert np.array_equal(MASK[tuple(of_mask.voxels.T[::-1])], of_mask.positive) and 0 < of_mask.positive.mean() < 1


# ---- in a session ----------------------------------------------------------------------------------------------------


def test_scribbles_are_satisfied_on_a_slice_and_in_space() -> None:
    session = opened()
    on_slice, in_space = [(2, 2), (17, 2)], [(1, 14, 1), (1, 1, 10)]
    first = session.add([VoxelScribble(on_slice, z=3)])
    assert first.satisfied and first.evaluations and first.mask[3, 2, [2, 17]].all()
    both = session.add([VoxelScribble(in_space, positive=False)])
    heavy = opened().add([VoxelScribble(on_slice, z=3, weight=0.1), VoxelScribble(in_space, False, weight=5.0)])
    light = opened().add([VoxelScribble(on_slice, z=3, weight=5.0), VoxelScribble(in_space, False, weight=0.1)])
    assert not np.array_equal(heavy.probability, light.probability)
    assert both.satisfied and not both.mask[1, 14, 1] and not both.mask[10, 1, 1] and both.mask[3, 2, [2, 17]].all()
    assert np.array_equal(session.undo().mask, first.mask)


@pytest.mark.parametrize("region", [VoxelBox(4, 3, 15, 12, z=(2, 9)), VoxelLasso(DIAMOND, z=6)], ids=repr)
@pytest.mark.parametrize("positive", [True, False])
def test_nothing_is_found_where_a_region_excludes_it(region: Any, positive: bool) -> None:
    region = type(region)(**{**region.__dict__, "positive": positive})
    session = opened()
    result = session.add([region])
    outside = excluded_in(region.within(SIZE), whole(SIZE))
    assert outside is not None and not result.mask[outside].any() and result.mask.any() and result.satisfied
    assert np.array_equal(result.probability > 0.5, result.mask)
    x, y, z = np.argwhere(outside)[0][::-1]
    later = session.click(x, y, z)  # the box was too small
    assert later.satisfied and later.mask[z, y, x] and later.constraints.regions == ()
    assert not session.undo().mask[z, y, x]


def test_an_empty_region_gets_its_centre() -> None:
    model = volumes.plain()
    with torch.no_grad():
        model.head.bias -= 20  # nothing is found anywhere
    session = interactify.wrap(model, mean=0, std=1, activation="none").session(VOLUME)
    assert not session.result.mask.any()
    result = session.add([VoxelBox(4, 3, 15, 12, z=(2, 9))])
    assert result.mask[5, 7, 9] and result.evaluations and result.constraints.assume_centre


def test_a_mask_is_the_result_and_clicks_change_pieces_of_it() -> None:
    session = opened()
    given_mask = MASK.copy()
    given_mask[0, 0, 0] = True  # a piece of one voxel
    began = session.add([VoxelMask(given_mask)])
    assert np.array_equal(began.mask, given_mask) and began.evaluations == 0 and began.satisfied
    result = session.click(0, 0, 0, positive=False)
    assert result.satisfied and not result.mask[0, 0, 0]
    assert result.status == "done"  # the rest of the mask pulls, and nothing waits for it
    changed = result.mask != given_mask
    pieces, count = ndimage.label(changed)
    assert count == 1 and pieces[0, 0, 0] == 1  # the piece of the click, and no other
    assert np.array_equal(session.undo().mask, given_mask)


def test_begin_from_a_mask_in_windows() -> None:
    volume = volumes.random_volume((30, 16, 16), seed=3)
    mask = np.zeros(volume.shape, bool)
    mask[2:28, 4:12, 4:12] = True
    session = interactify.wrap(volumes.plain(), mean=0, std=1, resolution=12).session(volume)
    result = session.add([VoxelMask(mask), VoxelClick(8, 8, False, z=20)])
    outside = np.ones(mask.shape, bool)
    outside[result.block.slices] = False
    assert result.satisfied and np.array_equal(result.mask[outside], mask[outside])


def test_several_kinds_in_one_call_and_as_refine() -> None:
    net = interactify.wrap(volumes.plain(), mean=0, std=1)
    mixed = [VoxelBox(2, 1, 17, 14, z=(1, 10)), VoxelClick(9, 8, z=6), VoxelScribble([(4, 3), (6, 3)], False, z=6)]
    result = net.session(VOLUME).add(mixed)
    (refined,) = net.refine(VOLUME, [mixed])
    assert result.satisfied and np.array_equal(result.probability, refined.probability)


def test_of_several_classes_a_region_and_a_mask_decide() -> None:
    model = networks.seeded(volumes.Quarter3d)
    volume = np.stack([VOLUME, VOLUME[::-1]])
    net = interactify.wrap(model, mean=0, std=1)
    for each in (VoxelBox(4, 3, 15, 12, z=(2, 9)), VoxelMask(MASK)):
        session = net.session(volume)
        session.add([each])
        assert session.steps[-1].target in range(3)


def test_remove_is_as_if_it_had_never_been() -> None:
    first, scribble = VoxelClick(9, 8, not bool(SHARED.result.mask[6, 8, 9]), z=6), VoxelScribble([(2, 2), (9, 2)], z=3)
    last = VoxelClick(1, 14, not bool(SHARED.result.mask[1, 14, 1]), z=1)
    session, without = opened(), opened()
    for each in (first, scribble, last):
        session.add([each])
    before = session.result
    for each in (first, last):
        without.add([each])
    removed = session.remove(1)
    assert np.array_equal(removed.probability, without.result.probability) and len(removed.interactions) == 2
    assert np.array_equal(session.undo().mask, before.mask) and len(session.interactions) == 3
    for index in (3, -4, 1.0, True, None):
        with pytest.raises(InteractionError, match="index"):
            session.remove(index)  # type: ignore[arg-type]
    assert len(session.interactions) == 3


def test_a_moved_click_is_as_if_it_had_been_made_there() -> None:
    clicks = [VoxelClick(9, 8, z=6), VoxelClick(3, 3, False, z=2), VoxelClick(15, 12, z=9)]
    session, there = opened(), opened()
    session.add(clicks[:2])
    session.add(clicks[2:])
    there.add([clicks[0], VoxelClick(5, 2, False, z=3)])
    there.add(clicks[2:])
    before = session.result
    moved = session.move(1, 5.2, 2, 3)
    assert moved.interactions == there.interactions and np.array_equal(moved.probability, there.result.probability)
    assert np.array_equal(session.undo().mask, before.mask) and session.interactions == tuple(clicks)
    session.add([VoxelScribble([(2, 2), (9, 2)], z=3)])
    for index, place in ((0, (20, 0, 0)), (4, (1, 1, 1)), (3, (1, 1, 1)), (0, (1, 1, float("nan")))):
        with pytest.raises(InteractionError):
            session.move(index, *place)
    assert len(session.interactions) == 4


places = st.tuples(st.integers(0, 19), st.integers(0, 15), st.integers(0, 11))
any_interaction = st.one_of(
    st.builds(lambda at, yes: VoxelClick(at[0], at[1], yes, z=at[2]), places, st.booleans()),
    st.builds(lambda ends, yes: VoxelScribble(ends, yes), st.lists(places, min_size=1, max_size=3), st.booleans()),
    st.builds(
        lambda a, b, yes: VoxelBox(
            min(a[0], b[0]), min(a[1], b[1]), max(a[0], b[0]), max(a[1], b[1]),
            z=(min(a[2], b[2]), max(a[2], b[2])), positive=yes,
        ),
        places, places, st.booleans(),
    ),
    st.builds(lambda at, yes: VoxelLasso([(at[0], 0), (19, at[1]), (0, 15)], z=at[2], positive=yes),
              places, st.booleans()),
    st.just(VoxelMask(MASK)),
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.lists(any_interaction, min_size=1, max_size=6))
def test_what_holds_contradicts_nothing(interactions: list[Any]) -> None:
    constraints = combine(voxel_interactions(interactions, SIZE), SIZE)
    assert len(np.unique(constraints.voxels, axis=0)) == len(constraints.voxels)
    own = constraints.required & constraints.positive
    for region in constraints.regions:
        assert not excluded(region, constraints.voxels[own]).any()
    for voxel, label, owner in zip(constraints.voxels, constraints.positive, constraints.owners, strict=True):
        later = [each for each in constraints.interactions[owner + 1 :] if isinstance(each, VoxelClick)]
        assert not any((each.x, each.y, each.z) == tuple(voxel) and each.positive != label for each in later
                       if each not in constraints.overruled)  # fmt: skip
