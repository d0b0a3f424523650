"""Sessions over slices: each slice is a photo; what is corrected in one is carried to those beside it."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import torch

import interactify
from interactify.errors import (
    ClosedSessionError,
    InteractionError,
    ModelChangedError,
    ModelError,
    OptionError,
    PhotoError,
)
from interactify.interactions import Box, Click, Lasso, Mask, Paint, Scribble, VoxelClick
from interactify.slices.refiner import OPEN, SliceRefiner
from interactify.slices.session import SliceSession
from tests.fixtures import networks, volumes
from tests.fixtures.slices import BEYOND, FIRST, careful, truth, volume

NET, VOLUME, TRUTH = careful(), volume(), truth()
MIDDLE = {"x": 12, "y": 12}


def iou(mask: np.ndarray, true: np.ndarray) -> float:
    return float((mask & true).sum() / (mask | true).sum())


@pytest.fixture
def session() -> SliceSession:
    return NET.slices(VOLUME)


# ---- each slice is a photo -------------------------------------------------------------------------------------------


def test_before_any_click_each_slice_is_the_photos_own_prediction() -> None:
    net, array = careful(), np.random.default_rng(1).random((4, 20, 24), dtype=np.float32)
    result = net.slices(array).result
    photos = np.stack([net.session(each).result.mask for each in array])
    assert np.array_equal(result.mask, photos) and 0 < photos.mean() < 1
    assert (result.status, result.evaluations, result.clicks, result.satisfied) == ("plain", 0, (), True)
    assert {result.origin(z) for z in range(4)} == {"own"} and result.changed == ()


@pytest.mark.parametrize("interaction", [
    Click(12, 12), Scribble([(8, 12), (16, 12)]), Box(4, 5, 19, 18), Lasso([(4, 4), (20, 4), (12, 20)]),
    Paint([(12, 12)], 5, True), Mask(TRUTH[4]),
], ids=lambda each: type(each).__name__)  # fmt: skip
def test_a_slice_is_corrected_as_the_photo_would_be(session: SliceSession, interaction: Any) -> None:
    photo = NET.session(VOLUME[4])
    both = [photo.add([interaction]).mask, photo.click(3, 3, False).mask]
    first = session.add([interaction], at=4, carry=False)
    assert np.array_equal(first.mask_of(4), both[0]) and first.origin(4) == "corrected"
    assert np.array_equal(session.click(3, 3, 4, False, carry=False).mask_of(4), both[1])
    assert [each.slice for each in session.interactions] == [4, 4]
    assert session.interactions[0].interaction == interaction.within((24, 24))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_clicks_are_in_voxels_whatever_the_axis(axis: int) -> None:
    array = np.moveaxis(VOLUME, 0, axis)
    place = [12, 11]
    place.insert(axis, 4)
    z, y, x = place
    session = NET.slices(array, axis=axis)
    result = session.click(x, y, z)
    assert result.mask.shape == array.shape and result.mask[z, y, x] and result.corrected == (4,)
    assert result.clicks == (VoxelClick(x, y, z=z),)
    assert np.array_equal(np.moveaxis(result.mask, axis, 0), NET.slices(VOLUME).click(11, 12, 4).mask)


def test_several_channels_and_arrays_on_disk(tmp_path: Any) -> None:
    net = interactify.wrap(networks.seeded(networks.Plain), mean=0.5, std=0.25, resolution=32)
    colours = np.random.default_rng(0).integers(0, 255, (3, 4, 32, 32), np.uint8)
    expected = np.stack([net.session(np.moveaxis(colours[:, z], 0, -1)).result.mask for z in range(4)])
    assert np.array_equal(net.slices(colours).result.mask, expected)
    stored = np.lib.format.open_memmap(tmp_path / "volume.npy", "w+", np.float32, VOLUME.shape)
    stored[:] = VOLUME
    assert np.array_equal(NET.slices(stored).click(12, 12, 4).mask, NET.slices(VOLUME).click(12, 12, 4).mask)


def test_only_the_needed_slices_are_read() -> None:
    read: list[slice] = []

    class Lazy:
        shape, dtype = VOLUME.shape, VOLUME.dtype

        def __getitem__(self, index: Any) -> np.ndarray:
            read.append(index[0])
            return VOLUME[index]

    session = NET.slices(Lazy(), reach=1)
    session.click(12, 12, 4)
    assert {each.start for each in read} == {3, 4, 5} and all(each.stop - each.start == 1 for each in read)


def test_few_slices_stay_open(session: SliceSession) -> None:
    for z in range(FIRST, BEYOND):
        session.click(**MIDDLE, z=z, carry=False)
    assert len(session.refiner._open) == OPEN
    again = session.click(3, 3, FIRST, False, carry=False)  # it is opened anew, and goes on as it would have
    photo = NET.session(VOLUME[FIRST])
    photo.click(12, 12)
    assert np.array_equal(again.mask_of(FIRST), photo.click(3, 3, False).mask)


# ---- carrying --------------------------------------------------------------------------------------------------------


def test_a_correction_is_carried_to_the_objects_ends_and_no_farther(session: SliceSession) -> None:
    assert not session.result.mask.any()
    alone = session.click(**MIDDLE, z=4, carry=False)
    assert alone.mask.any((1, 2)).tolist() == [z == 4 for z in range(9)] and alone.waiting == {4}
    result = session.carry()
    assert result.mask.any((1, 2)).tolist() == [FIRST <= z < BEYOND for z in range(9)]
    assert iou(result.mask, TRUTH) > 4 * iou(alone.mask, TRUTH)
    assert [result.origin(z) for z in (0, 3, 4, 5, 8)] == ["own", "carried", "corrected", "carried", "own"]
    assert result.carried[3].sources == (4,) and 0.5 < result.carried[3].agreement <= 1
    assert not result.waiting and set(result.changed) == set(range(FIRST, BEYOND))
    assert session.undo().mask.any() == False and session.redo() is result  # noqa: E712


def test_reach_limits_it_and_zero_ends_it() -> None:
    for reach in (0, 1):
        result = NET.slices(VOLUME, reach=reach).click(**MIDDLE, z=4)
        assert sorted(result.carried) == [z for z in (3, 5) if reach]


def test_between_two_corrected_slices_both_sides_meet(session: SliceSession) -> None:
    session.click(**MIDDLE, z=FIRST)
    result = session.click(**MIDDLE, z=BEYOND - 1)
    assert {z: each.sources for z, each in result.carried.items() if FIRST < z < BEYOND - 1} == dict.fromkeys(
        range(FIRST + 1, BEYOND - 1), (FIRST, BEYOND - 1)
    )
    before = result.mask_of(FIRST)
    changed = session.click(3, 3, BEYOND - 1, False)
    assert np.array_equal(changed.mask_of(FIRST), before), "a corrected slice is its user's alone"


def test_the_order_of_slices_does_not_matter() -> None:
    clicks = [VoxelClick(12, 12, z=3), VoxelClick(3, 3, False, z=5), VoxelClick(12, 12, z=5)]
    one, other = NET.slices(VOLUME, reach=2), NET.slices(VOLUME, reach=2)
    for click in clicks:
        one.add([click])
    other.add(clicks[1:], carry=False)
    together = other.add(clicks[:1])
    assert np.array_equal(one.result.mask[[3]], together.mask[[3]])
    several = NET.slices(VOLUME, reach=2).add(clicks)
    assert np.array_equal(several.mask, together.mask) and several.corrected == (3, 5)
    assert several.interactions[0].slice == 3 and len(several.interactions) == 3


def test_nothing_is_carried_where_the_network_was_right() -> None:
    session = NET.slices(VOLUME + np.float32(0.35) * TRUTH)
    own = session.result.mask
    assert iou(own, TRUTH) > 0.7
    result = session.add([Paint([(12, 12)], 3, True)], at=4)  # there it is already
    assert result.corrected == (4,) and result.carried == {} and result.evaluations == 0
    assert np.array_equal(result.mask, own)


def test_a_thing_that_jumps_from_slice_to_slice_is_left_to_the_network() -> None:
    array = np.full((7, 24, 24), 0.15, np.float32)
    for z in range(7):
        first = 2 if z % 2 else 16
        array[z, first : first + 4, first : first + 4] = 0.5
    result = NET.slices(array).click(3, 3, 3)
    assert result.mask[3, 3, 3] and not any(each.mask.mask.any() for each in result.carried.values())


def test_removed_and_moved_clicks_are_as_if_never_made_or_made_there() -> None:
    session = NET.slices(VOLUME, reach=2)
    for click in (VoxelClick(12, 12, z=3), VoxelClick(12, 12, z=5), VoxelClick(3, 3, False, z=5)):
        session.add([click])
    full = session.result.mask
    one = NET.slices(VOLUME, reach=2)
    one.click(12, 12, 3)
    both = one.click(3, 3, 5, False)
    assert np.array_equal(session.remove(1).mask, both.mask) and session.result.order == (3, 5)
    assert np.array_equal(session.remove(-1).mask, one.undo().mask) and session.result.corrected == (3,)
    none = session.remove(0)
    assert not none.mask.any() and none.carried == {} and none.corrected == () and not none.waiting
    for _ in range(3):
        session.undo()
    assert np.array_equal(session.result.mask, full)
    moved = session.move(0, 13, 10, 3)
    again = NET.slices(VOLUME, reach=2)
    again.add([VoxelClick(13, 10, z=3)], carry=False)
    again.click(12, 12, 5, carry=False)
    assert np.array_equal(moved.mask, again.click(3, 3, 5, False).mask) and moved.clicks[0].x == 13
    for call in (lambda: session.move(0, 13, 10, 4), lambda: session.remove(3), lambda: session.move(9, 1, 1, 3)):
        with pytest.raises(InteractionError):
            call()
    assert session.result is moved


# ---- undo, cancel, errors --------------------------------------------------------------------------------------------


def test_undo_redo_and_reset_over_all_slices(session: SliceSession) -> None:
    plain = session.result
    masks = [plain.mask] + [session.click(**MIDDLE, z=z).mask for z in (3, 5)]
    assert session.reset().corrected == () and np.array_equal(session.result.mask, plain.mask)
    for mask in (masks[2], masks[1], masks[0]):
        assert np.array_equal(session.undo().mask, mask)
    assert not session.can_undo and session.undo() is session.result
    for mask in (masks[1], masks[2]):
        assert np.array_equal(session.redo().mask, mask)
    session.undo()
    session.click(3, 3, 4, False)
    assert not session.can_redo and len(session.interactions) == 2


def test_cancelled_carrying_waits_for_the_next_change(session: SliceSession, monkeypatch: pytest.MonkeyPatch) -> None:
    full = NET.slices(VOLUME).click(**MIDDLE, z=4)
    pulled, seen = SliceRefiner.pulled, list[int]()

    def cancelling(refiner: SliceRefiner, index: int, *rest: Any) -> Any:
        seen.append(index)
        if len(seen) == 2:
            session.cancel()
        return pulled(refiner, index, *rest)

    monkeypatch.setattr(SliceRefiner, "pulled", cancelling)
    result = session.click(**MIDDLE, z=4)
    assert result.satisfied and result.waiting == {4} and len(result.carried) < len(full.carried)
    monkeypatch.undo()
    done = session.carry()
    assert np.array_equal(done.mask, full.mask) and not done.waiting
    assert session.undo().corrected == () and not session.can_undo, "carrying belongs to its change"


def test_changes_come_one_after_the_other(session: SliceSession) -> None:
    threads = [threading.Thread(target=session.click, args=(12, 12, z)) for z in (3, 4, 5)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert session.result.corrected == (3, 4, 5) and len(session.interactions) == 3


@pytest.mark.parametrize("call, error, says", [
    (lambda s: s.click(12, 12, 9), InteractionError, "z from 0 to 8"),
    (lambda s: s.click(float("nan"), 12, 4), InteractionError, "finite"),
    (lambda s: s.add([Click(1, 1)]), InteractionError, "at=12"),
    (lambda s: s.add([Click(1, 1)], at=9), InteractionError, "from 0 to 8"),
    (lambda s: s.add([Click(30, 1)], at=4), InteractionError, "outside"),
    (lambda s: s.add([VoxelClick(1, 1, z=3)], at=4), InteractionError, "slice 4"),
    (lambda s: s.add([VoxelClick(1, 1, z=3), "click"], at=3), InteractionError, "Expected an interaction"),
    (lambda s: s.add(Click(1, 1), at=4), InteractionError, "list"),
    (lambda s: s.result.mask_of(-1), InteractionError, "from 0 to 8"),
], ids=range(9))  # fmt: skip
def test_refused_calls_leave_the_session_as_it_was(session: SliceSession, call: Any, error: type, says: str) -> None:
    before = session.click(**MIDDLE, z=4, carry=False)
    with pytest.raises(error, match=says):
        call(session)
    assert session.result is before


@pytest.mark.parametrize("call, error, says", [
    (lambda: NET.slices(VOLUME, axis=3), OptionError, "axis"),
    (lambda: NET.slices(VOLUME, reach=-1), OptionError, "reach"),
    (lambda: NET.slices(VOLUME[0]), PhotoError, "D, H, W"),
    (lambda: NET.slices(VOLUME * 900), PhotoError, "value_range"),
    (lambda: interactify.wrap(volumes.plain(), mean=0, std=1).slices(VOLUME), ModelError, "of images"),
], ids=["axis", "reach", "photo", "values", "network of volumes"])  # fmt: skip
def test_what_can_not_be_opened_is_refused(call: Any, error: type, says: str) -> None:
    with pytest.raises(error, match=says):
        call()


def test_a_failing_slice_leaves_the_session_as_it_was() -> None:
    broken = VOLUME.copy()
    broken[6] = np.nan
    session = NET.slices(broken, reach=5)
    with pytest.raises(PhotoError, match="NaN"):
        session.click(**MIDDLE, z=4)
    assert session.result.corrected == () and not session.can_undo
    assert session.click(**MIDDLE, z=4, carry=False).corrected == (4,)


def test_a_changed_network_and_a_closed_session_are_refused() -> None:
    net = careful()
    session = net.slices(VOLUME)
    result = session.click(**MIDDLE, z=4)
    with torch.no_grad():
        net.unwrap().head.bias += 1
    with pytest.raises(ModelChangedError):
        session.click(3, 3, 4)
    assert session.result is result and result.mask_of(4).any()
    with torch.no_grad():
        net.unwrap().head.bias -= 1
    mask = result.mask
    session.close()
    assert session.closed and repr(session) == "SliceSession(closed)" and mask.any()
    with pytest.raises(ClosedSessionError):
        session.click(3, 3, 4)


def test_a_range_of_values_as_for_photos() -> None:
    session = NET.slices((VOLUME * 1000).astype(np.int16), value_range=(0, 1000))
    assert iou(session.click(**MIDDLE, z=4).mask_of(4), NET.slices(VOLUME).click(**MIDDLE, z=4).mask_of(4)) > 0.9


def test_the_class_under_the_first_click_counts_for_all_slices() -> None:
    net = interactify.wrap(networks.seeded(lambda: networks.Plain(classes=4)), mean=0.5, std=0.25, resolution=32)
    array = np.random.default_rng(0).random((3, 32, 32), dtype=np.float32)
    session = net.slices(array, reach=0)
    assert session.result.target is None
    result = session.click(16, 16, 1)
    assert result.target is not None and session.click(5, 5, 2).target == result.target
    assert np.array_equal(result.mask_of(0), net.session(array[0], target=result.target).result.mask)
    assert session.reset().target is None


def test_it_opens_files_as_sessions_on_volumes_do(tmp_path: Any) -> None:
    scan = volume(6)
    np.save(tmp_path / "scan.npy", scan)
    net = careful()
    from_file, there = net.slices(tmp_path / "scan.npy"), net.slices(scan)
    assert from_file.size == scan.shape and np.array_equal(from_file.result.mask_of(3), there.result.mask_of(3))
    path = from_file.click(x=12, y=12, z=3).save(tmp_path / "mask.npy")
    assert np.array_equal(np.load(path), from_file.result.mask) and from_file.result.mask.any()
    for wrong in (tmp_path / "missing.npy", {"a": 1}, None):
        with pytest.raises(PhotoError, match="Expected"):
            net.slices(wrong)
