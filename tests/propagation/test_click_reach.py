"""How far a click reaches, told by how deep it lies in what it corrects."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from interactify.propagation.click_reach import AROUND, DEEPER, SLACK, Reach, within_reach

SIDE = 200
REACH = Reach(5.0, 0.125)


def square(side: int = SIDE, first: int = 40, last: int = 160) -> torch.Tensor:
    """Log-odds (1, 1, side, side) of a square from the first to before the last row and column."""
    before = torch.full((1, 1, side, side), -5.0)
    before[..., first:last, first:last] = 5.0
    return before


def reached(
    before: torch.Tensor,
    *clicks: tuple[float, float, bool],
    reach: Reach = REACH,
    content: tuple[int, int] | None = None,
) -> np.ndarray | None:
    points = torch.tensor([[x, y] for x, y, _ in clicks], dtype=torch.float64)
    labels = np.array([positive for *_, positive in clicks])
    found = within_reach(before, content or tuple(before.shape[2:]), points, labels, reach)
    return None if found is None else found[0, 0].numpy() > 0


@pytest.mark.parametrize(("x", "positive"), [(43.0, False), (36.0, True)], ids=["inside", "outside"])
def test_a_shallow_click_changes_what_is_near_it_and_no_deeper(x: float, positive: bool) -> None:
    found = reached(square(), (x, 100.0, positive))
    assert found is not None
    depth = 4.0  # of both clicks: pixels 40 and 39 are one pixel from the border
    away, deep = 5 * depth + AROUND * SIDE, DEEPER * depth + SLACK * SIDE
    rows, columns = np.nonzero(found)
    distances = np.hypot(rows - 100.0, columns - x)
    assert away - 1 < distances.max() <= away
    assert columns[rows == 100].max() == 40 + deep - 1 and columns[rows == 100].min() == 39 - deep + 1
    assert found[100, int(x)]


def test_a_deep_click_may_change_anything_but_what_lies_much_deeper() -> None:
    found = reached(square(), (55.0, 100.0, False))  # a depth of 16, of 60
    assert found is not None and found[45, 100] and found[155, 155], "far away, and as shallow"
    assert not found[100, 100], "60 deep"
    whole = reached(square(), (100.0, 100.0, False))
    assert whole is not None and whole[40:160, 40:160].all()
    narrow = reached(square(), (55.0, 100.0, False), reach=Reach(1.0))
    assert narrow is not None and not narrow[45, 100], "with every click taken for a shallow one"


def test_a_thin_object_has_no_shallow_clicks() -> None:
    before = torch.full((1, 1, SIDE, SIDE), -5.0)
    before[..., 20:180, 100:106] = 5.0
    found = reached(before, (101.0, 30.0, False))  # a depth of 2, of 3
    assert found is not None and found[20:180, 100:106].all()


def test_several_clicks_reach_around_each() -> None:
    clicks = (43.0, 60.0, False), (43.0, 140.0, False)
    one, other, both = reached(square(), clicks[0]), reached(square(), clicks[1]), reached(square(), *clicks)
    assert one is not None and other is not None
    np.testing.assert_array_equal(both, one | other)


def test_where_nothing_tells_how_far_anything_may_change() -> None:
    assert reached(square(), (100.0, 100.0, True)) is None, "it agrees with the mask"
    mixed, alone = reached(square(), (43.0, 100.0, False), (43.0, 102.0, True)), reached(square(), (43.0, 100.0, False))
    np.testing.assert_array_equal(mixed, alone)
    for full in (-5.0, 5.0):
        assert reached(torch.full((1, 1, 50, 50), full), (20.0, 20.0, full < 0)) is None


def test_padding_is_no_part_of_the_mask() -> None:
    before = square()
    before[..., 170:] = 5.0  # in the padding
    found = reached(before, (165.0, 100.0, True), content=(SIDE, 170))
    alone = reached(square()[..., :170], (165.0, 100.0, True))
    assert found is not None and alone is not None
    np.testing.assert_array_equal(found[:, :170], alone)


def test_a_large_mask_is_measured_on_a_part_of_its_pixels() -> None:
    small, large = (
        reached(square(), (43.0, 100.0, False)),
        reached(square(5 * SIDE, 5 * 40, 5 * 160), (5 * 43.0 + 2, 5 * 100.0 + 2, False)),
    )
    assert small is not None and large is not None and large.shape == (5 * SIDE, 5 * SIDE)
    assert (large[2::5, 2::5] != small).mean() < 0.005


def test_a_point_at_the_picture_s_side_counts() -> None:
    assert reached(square(first=0), (-0.4, 100.0, False)) is not None
    assert reached(square(last=SIDE), (199.4, 199.4, False)) is not None
