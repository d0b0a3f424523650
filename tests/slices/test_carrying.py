"""The rules of carrying, on maps that are written down here in the place of a network's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from interactify.optim.status import Status
from interactify.slices.carrying import Gap, Stopped, carried_in, gaps_of, with_evidence
from interactify.slices.corrections import Corrected, PackedMask
from interactify.slices.refiner import Pulled

WIDE = 20


def row(first: int, beyond: int) -> np.ndarray:
    """A mask (1, WIDE) of some columns."""
    mask = np.zeros((1, WIDE), bool)
    mask[0, first:beyond] = True
    return mask


class Written:
    """A volume whose network has written-down maps: `own` by itself, and what it shows when it is pulled."""

    def __init__(self, own: np.ndarray, moves: int = 0) -> None:
        self.own_mask, self.moves = own, moves
        self.pulls: list[int] = []
        self.cancelled_at = -1

    def own(self, index: int, target: int | None) -> np.ndarray:
        return self.own_mask

    def pulled(self, index: int, mask: np.ndarray, target: int | None, stop: Any) -> Pulled:
        self.pulls.append(index)
        moved = np.roll(mask, self.moves, 1)
        log_odds = np.where(moved, 1, -1).astype(np.float32)
        status = Status.CANCELLED if index == self.cancelled_at else Status.BUDGET
        return Pulled(log_odds, np.where(moved, -1, -3).astype(np.float32), 3, status)


def carried(written: Written, corrected: dict[int, np.ndarray], count: int, reach: int = 10) -> Any:
    states = {index: Corrected(None, (), PackedMask.of(mask)) for index, mask in corrected.items()}
    (gap,) = (each for each in gaps_of(states, count) if 3 in each.slices)
    return carried_in(gap, written, states, None, reach, lambda: None)  # type: ignore[arg-type]


@pytest.mark.parametrize("moves, left, reached", [(0, 0.5, 5), (1, 0.5, 5), (4, 0.5, 0), (1, 0.9, 0), (0, 1.0, 0)])
def test_a_step_has_to_change_less_than_the_correction_did(moves: int, left: float, reached: int) -> None:
    mask = row(0, 10)
    written = Written(row(0, round(10 * left)), moves)  # 10 columns, of which the network has a share by itself
    found, evaluations = carried(written, {0: mask}, 6)
    assert len(found) == reached and evaluations == 3 * len(written.pulls)
    assert list(found) == list(range(1, reached + 1))
    if moves == 0:
        assert all(np.array_equal(each.mask.mask, mask) for each in found.values())


def test_the_nearer_of_two_corrected_slices_counts_for_more() -> None:
    found, _ = carried(Written(row(0, 0)), {0: row(0, 6), 6: row(8, 14)}, 7)
    assert {z: each.mask.mask[0, [2, 10]].tolist() for z, each in found.items()} == {
        1: [True, False], 2: [True, False], 3: [False, False], 4: [False, True], 5: [False, True],
    }  # fmt: skip
    assert all(each.sources == (0, 6) for each in found.values())


def test_where_one_side_ends_the_other_goes_on() -> None:
    class OneSided(Written):
        def pulled(self, index: int, mask: np.ndarray, *rest: Any) -> Pulled:
            self.moves = 9 if mask[0, 0] and index == 2 else 0
            return super().pulled(index, mask, *rest)

    found, _ = carried(OneSided(row(0, 0)), {0: row(0, 6), 5: row(8, 14)}, 6)
    assert {z: each.sources for z, each in found.items()} == {1: (0, 5), 2: (5,), 3: (5,), 4: (5,)}


def test_reach_and_cancelling() -> None:
    assert list(carried(Written(row(0, 0)), {0: row(0, 6)}, 9, reach=3)[0]) == [1, 2, 3]
    written = Written(row(0, 0))
    written.cancelled_at = 2
    with pytest.raises(Stopped):
        carried(written, {0: row(0, 6)}, 9)


def test_gaps_lie_between_corrected_slices() -> None:
    assert gaps_of({}, 4) == [Gap(None, None, 4)]
    assert gaps_of({0: "", 3: ""}, 4) == [Gap(0, 3, 4)] and gaps_of({0: "", 1: ""}, 2) == []
    assert Gap(0, 3, 4).touches(frozenset({3})) and not Gap(0, 3, 4).touches(frozenset({2}))


def test_a_piece_stays_where_the_network_ranks_it_above_what_is_outside() -> None:
    pulled = np.full((6, 12), -2, np.float32)
    pulled[1:3, 1:3], pulled[1:3, 8:11] = 3, 3  # two pieces
    own = np.full((6, 12), -5, np.float32)
    own[1:3, 1:3] = -4  # it is below 0, and yet above all else
    own[1, 8] = -4
    found = with_evidence(pulled, own)
    assert (found[1:3, 1:3] == 3).all() and np.array_equal(found[1:3, 8:11], own[1:3, 8:11])
    assert np.array_equal(with_evidence(np.abs(pulled), own), np.abs(pulled)), "where all is object, nothing is outside"
