"""Alternatives: the usual one is the result, all satisfy the clicks, and they cost nothing until they are asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage

import interactify
from interactify import Click
from interactify.interactions.gestures import Box, Labels, Mask, Paint, Scribble
from interactify.refinement import result as module
from interactify.refinement.alternatives import Labelled, narrow_and_wide, pieces
from interactify.refinement.choices import CHOICES, checked_choice
from interactify.refinement.result import Result
from interactify.session.session import Session
from tests.fixtures import networks

PHOTO = networks.random_photo()


def session_of(build: Any = networks.Plain, **options: Any) -> Session:
    net = interactify.wrap(networks.seeded(build), **{"max_evaluations": 20, **options})
    return net.session(PHOTO)


def wrong_click(session: Session, x: int, y: int) -> Click:
    """A click that the mask contradicts."""
    return Click(x, y, not bool(session.result.mask[y, x]))


def change(result: Result, before: Result) -> np.ndarray:
    """(h', w') bool: where the network's map changed sides."""
    return ((result.logits > 0) != (before.logits > 0))[0, 0].numpy()


def same(results: Any) -> bool:
    return all(torch.equal(each.logits, results.usual.logits) for each in results)


# ---- of a result -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"zoom": False}, {"propagation": "none"}, {"resolution": 64}], ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_all_satisfy_what_the_usual_one_satisfies(options: dict[str, Any], seed: int) -> None:
    session, generator = session_of(**options), np.random.default_rng(seed)
    for k in range(4):
        x, y = int(generator.integers(96)), int(generator.integers(64))
        result = session.click(x, y, positive=bool(generator.integers(2)))
        narrow, usual, wide = result.alternatives
        assert usual is result and [each.choice for each in result.alternatives] == list(CHOICES)
        unsatisfied = {id(each.interaction) for each in result.unsatisfied}
        for other in (narrow, wide):
            assert {id(each.interaction) for each in other.unsatisfied} <= unsatisfied, k
            assert other.alternatives is result.alternatives and other.before is result.before
            assert (other.evaluations, other.status, other.clicks) == (result.evaluations, result.status, result.clicks)


def test_narrow_changes_a_piece_of_what_usual_changes_and_wide_changes_more() -> None:
    session = session_of(zoom=False, propagation="none")
    strictly = []
    for x, y in ((50, 37), (10, 50), (85, 8), (30, 10)):
        before, click = session.result, wrong_click(session, x, y)
        narrow, usual, wide = session.add([click]).alternatives
        least, changed, most = (change(each, before) for each in (narrow, usual, wide))
        assert least[y, x] and (least <= changed).all() and (changed <= most).all()
        assert ndimage.label(least, np.ones((3, 3)))[1] == 1, "and it is connected with the click"
        strictly.append((least.sum() < changed.sum(), changed.sum() < most.sum()))
    assert np.array(strictly).any(0).all()


def test_a_click_that_agrees_with_the_mask_means_a_part_or_a_group() -> None:
    session = session_of(zoom=False)
    y, x = np.unravel_index(int(session.result.logits.argmax()), (64, 96))
    narrow, usual, wide = session.click(int(x), int(y)).alternatives
    areas = [int(each.mask.sum()) for each in (narrow, usual, wide)]
    assert areas[0] < areas[1] < areas[2] and narrow.mask[y, x]
    assert ndimage.label(narrow.mask)[1] == 1, "only the piece that was clicked"
    y, x = np.unravel_index(int(session.result.logits.argmin()), (64, 96))
    before = session.result
    narrow, _, _ = session.click(int(x), int(y), positive=False).alternatives
    assert np.array_equal(narrow.mask, before.mask), "a negative click that agrees changes nothing"


def test_they_cost_nothing_until_they_are_asked_for_and_no_run_of_the_network() -> None:
    net = interactify.wrap(networks.seeded(networks.Counted), max_evaluations=8)
    session, counter = net.session(PHOTO), net.unwrap().counter
    first = session.add([wrong_click(session, 50, 37)])
    assert "alternatives" not in first.__dict__
    runs = counter.runs
    assert not same(first.alternatives) and counter.runs == runs
    assert session.result is first and first.alternatives is first.alternatives
    session.add([wrong_click(session, 10, 50)])
    assert "alternatives" not in first.__dict__, "those of the newest result only are held"


def test_in_inference_mode_they_can_be_gone_on_from() -> None:
    session = session_of()
    session.add([wrong_click(session, 50, 37)])
    with torch.inference_mode():
        session.choose("wide")
    assert session.add([wrong_click(session, 10, 50)]).satisfied


def test_from_another_window() -> None:
    bright = torch.nn.Sequential(torch.nn.Conv2d(3, 1, 3, padding=1))
    torch.nn.init.constant_(bright[0].weight, 1.0)
    torch.nn.init.constant_(bright[0].bias, -12.0)
    photo = np.zeros((160, 240, 3), np.uint8)
    photo[100:130, 30:70] = 230
    session, windows = interactify.wrap(bright, mean=0.0, std=1.0, resolution=80).session(photo), []
    for x, y in ((50, 115), (72, 115), (40, 95)):
        result = session.click(x, y)
        before = result.before
        assert before is not None
        windows.append((before.window, result.window))
        narrow = result.alternatives.narrow
        assert narrow.window == result.window and narrow.mask[y, x] == result.mask[y, x]
        outside = np.ones(result.size, bool)
        outside[result.window.slices] = False
        assert np.array_equal(narrow.mask[outside], result.mask[outside])
    assert any(before != after for before, after in windows), "the network looked closer at least once"


def test_regions_and_strokes_lie_over_all_of_them() -> None:
    session = session_of(zoom=False)
    session.add([Paint([(60, 20), (70, 20)], width=6, positive=False)])
    result = session.add([Box(20, 10, 70, 55), Click(50, 37)])
    outside = np.ones((64, 96), bool)
    outside[10:56, 20:71] = False
    for each in result.alternatives:
        assert not each.mask[outside].any() and not each.mask[20, 60:71].any() and each.mask[37, 50]
    assert not same(result.alternatives)


def test_scribbles_of_another_class() -> None:
    session = session_of(lambda: networks.Plain(classes=4), propagation="none")
    session.click(50, 37)
    result = session.add([Scribble([(10, 10), (30, 12)], label=2), wrong_click(session, 70, 50)])
    assert result.satisfied and all(each.satisfied for each in result.alternatives)
    for each in result.alternatives:
        assert np.array_equal(each.class_probabilities, result.class_probabilities, equal_nan=True)


@pytest.mark.parametrize("seed", range(3))
def test_what_is_of_another_class_stays_out_of_each(seed: int) -> None:
    session = session_of(lambda: networks.Plain(classes=4), resolution=64)
    generator = np.random.default_rng(seed)
    session.click(50, 37)
    (own,), points, covered = session.steps[-1].targets, [], 0
    for k in range(4):
        x, y = int(generator.integers(96)), int(generator.integers(64))
        before = session.result
        other = Click(x, y, label=(own + 1) % 4)
        result = session.add([wrong_click(session, x, y) if k % 2 else other])
        covered += not k % 2 and bool(before.mask[y, x])
        points += [] if k % 2 else [(y, x)]
        for y, x in points:
            if not result.mask[y, x]:
                assert not any(each.mask[y, x] for each in result.alternatives), k
    assert covered, "a click on the object named another class"


def test_whole_arrays_of_a_large_photo_are_not_kept_by_earlier_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGE", 1000)
    session = session_of(zoom=False)
    session.add([wrong_click(session, 50, 37)])
    chosen = session.choose("narrow")
    kept = [chosen, chosen.alternatives.usual]
    y, x = np.argwhere(chosen.mask)[0]
    right, drawn = Click(int(x), int(y)), Paint([(10, 60), (20, 60)], width=8)
    for interaction in (right, drawn, right):
        assert all(len(each.changed) and len(each.mask) and len(each.probability) for each in kept)
        kept = [session.add([interaction])]
        for step in session.steps[:-1]:
            for each in (step.result, step.result.chosen_from or step.result):
                assert not {"mask", "probability", "changed", "alternatives"} & set(each.__dict__), interaction


def test_an_initial_mask_changes_in_pieces_of_each() -> None:
    session, drawn = session_of(zoom=False), np.zeros((64, 96), bool)
    drawn[10:50, 20:70] = True
    first = session.add([Mask(drawn)])
    assert same(first.alternatives), "a mask alone is not ambiguous"
    result = session.click(30, 20, positive=False)
    assert result.satisfied and not result.mask[20, 30]
    for each in result.alternatives:
        assert each.satisfied and not each.mask[20, 30]
        differs, count = ndimage.label(each.mask != drawn)
        assert count == 1 and differs[20, 30], "in the piece that the click contradicts"


def test_what_is_drawn_is_not_ambiguous() -> None:
    session = session_of(zoom=False)
    session.click(50, 37)
    assert same(session.add([Paint([(10, 60), (20, 60)], width=8)]).alternatives)
    session = session_of(lambda: networks.Plain(classes=3))
    session.add([Labels(session.class_map().astype(np.int16))])
    assert same(session.click(50, 37, label=1).alternatives)


def test_before_any_interaction() -> None:
    narrow, usual, wide = session_of().result.alternatives
    assert (narrow.mask <= usual.mask).all() and (usual.mask <= wide.mask).all()
    assert narrow.mask.sum() < usual.mask.sum() < wide.mask.sum()


def test_half_precision() -> None:
    session = interactify.wrap(networks.seeded(networks.Plain).to(torch.bfloat16), max_evaluations=8).session(PHOTO)
    result = session.add([wrong_click(session, 50, 37)])
    for each in result.alternatives:
        assert each.logits.dtype == result.logits.dtype and each.satisfied


# ---- of log-odds -----------------------------------------------------------------------------------------------------


def labelled(*points: tuple[float, float], positive: bool = True) -> Labelled:
    yes = np.ones(len(points), bool)
    return Labelled(torch.tensor(points, dtype=torch.float64).view(-1, 2), yes & positive, yes, yes)


def test_a_flood_far_from_the_click_is_left_out_of_the_narrow_reading() -> None:
    before, after = torch.full((1, 1, 40, 60), -2.0), torch.full((1, 1, 40, 60), -2.0)
    after[..., 10:20, 5:15] = 4.0  # the piece that was clicked
    after[..., 5:35, 30:58] = 3.0  # another one
    narrow, wide = narrow_and_wide(before, after, labelled((9.0, 14.0)))
    assert (narrow > 0)[..., 10:20, 5:15].all() and not (narrow > 0)[..., 20:].any()
    assert torch.equal(narrow[..., 20:], before[..., 20:]), "the rest is as it was, to the last bit"
    assert wide[0, 0, 20, 40] == 8.0


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (3, 40)])
def test_tiny_maps_and_points_at_the_border(shape: tuple[int, int]) -> None:
    before, after = torch.full((1, 1, *shape), 1.0), torch.full((1, 1, *shape), -0.5)
    corner = labelled((shape[1] - 1.0, shape[0] - 1.0), positive=False)
    for each in narrow_and_wide(before, after, corner):
        assert corner.right(each).all() and each.isfinite().all()
    for start in (None, before):
        for each in narrow_and_wide(start, after, labelled()):
            assert each.isfinite().all()


def test_pieces() -> None:
    differs = np.array([[1, 1, 0, 1], [0, 0, 0, 1], [1, 0, 0, 0]], bool)
    assert pieces(differs, np.array([[3, 1], [2, 2]])).astype(int).tolist() == [[0, 0, 0, 1], [0, 0, 0, 1], [0] * 4]


@pytest.mark.parametrize("choice", ["Narrow", "", 1, None, np.array("wide")], ids=repr)
def test_unknown_words(choice: Any) -> None:
    with pytest.raises(interactify.errors.OptionError, match="'narrow', 'usual', 'wide'"):
        checked_choice(choice)
