"""nnInteractive's words: code that follows its documentation, axis order, bounds and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage

import interactify
from interactify.errors import InteractionError, NoPhotoError, PhotoError
from interactify.interactions.rasterise import region_mask
from interactify.pictures.window import Window
from interactify.volumes import InferenceSession
from interactify.volumes.inference import centres_along
from tests.fixtures import volumes

VOLUME = volumes.random_volume()
SIZE = VOLUME.shape  # (12, 16, 20)


def opened(buffer: Any = None) -> InferenceSession:
    session = InferenceSession(interactify.wrap(volumes.plain(), mean=0, std=1))
    session.set_image(VOLUME[None])
    session.set_target_buffer(torch.zeros(SIZE, dtype=torch.uint8) if buffer is None else buffer)
    return session


@pytest.mark.parametrize(
    "buffer", [np.zeros(SIZE, np.uint8), torch.zeros(SIZE, dtype=torch.uint8)], ids=["np", "torch"]
)
def test_the_documented_steps(buffer: Any) -> None:
    session = opened(buffer)
    plain = session.session.result.mask
    place = tuple(np.argwhere(~plain)[40].tolist())
    changed = session.add_point_interaction(place, include_interaction=True)
    assert int(buffer[place]) == 1 and int(buffer.sum()) == session.session.result.mask.sum()
    differs = np.argwhere(np.asarray(buffer) != plain)
    assert changed == [[int(a), int(b) + 1] for a, b in zip(differs.min(0), differs.max(0), strict=True)]
    session.add_point_interaction(place, include_interaction=False)
    assert int(buffer[place]) == 0
    assert session.undo() and int(buffer[place]) == 1
    session.reset_interactions()
    assert int(buffer.sum()) == 0 and session.session.interactions == ()
    assert session.add_point_interaction(place, True, run_prediction=False) is None and int(buffer.sum()) == 0
    session.add_bbox_interaction([[0, 12], [0, 16], [0, 20]], True, run_prediction=False)
    session.predict()
    assert int(buffer[place]) == 1 and len(session.session.interactions) == 2 and session.predict() is None


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_thin_box_speaks_of_its_plane(axis: int) -> None:
    box = [[3, 8], [4, 10], [5, 13]]
    box[axis] = [6, 7]
    session = opened()
    plain = session.session.result.mask
    session.add_bbox_interaction(box, include_interaction=True)
    buffer = session.target_buffer.numpy().astype(bool)
    inside = np.zeros(SIZE, bool)
    inside[tuple(slice(*each) for each in box)] = True
    plane = np.zeros(SIZE, bool)
    plane[tuple(slice(6, 7) if k == axis else slice(None) for k in range(3))] = True
    assert plain[plane & ~inside].any() and not buffer[plane & ~inside].any() and buffer[~plane].any()


def test_boxes_in_space() -> None:
    session = opened()
    inside = np.zeros(SIZE, bool)
    inside[2:9, 3:12, 4:16] = True
    session.add_bbox_interaction([[2, 9], [3, 12], [4, 16]], True)
    buffer = session.target_buffer.numpy().astype(bool)
    assert not buffer[~inside].any() and buffer.any()
    session.add_bbox_interaction([[2, 9], [3, 8], [4, 16]], False)
    assert not session.target_buffer.numpy()[:, 3:8].any()


def test_scribbles_along_any_axis_and_in_a_part() -> None:
    drawn = np.zeros(SIZE, np.uint8)
    drawn[2:9, 5:7, 3] = 1  # thick, on a plane of the last axis
    drawn[10, 12, 14:18] = 1  # and a second one
    session = opened()
    session.add_scribble_interaction(drawn, include_interaction=True)
    scribbles = session.session.interactions
    assert len(scribbles) == 2 and sum(each.weight for each in scribbles) == pytest.approx(1)
    assert {tuple(p[::-1]) for each in scribbles for p in each.points} <= set(map(tuple, np.argwhere(drawn).tolist()))
    part = opened()
    part.add_scribble_interaction(drawn[2:11, 5:13, 3:18], True, interaction_bbox=[[2, 11], [5, 13], [3, 18]])
    assert part.session.interactions == scribbles
    assert np.array_equal(part.target_buffer, session.target_buffer)


@pytest.mark.parametrize("filled", [True, False])
def test_a_lasso_is_the_shape_that_was_drawn(filled: bool) -> None:
    shape = np.zeros(SIZE[1:], bool)
    shape[3:12, 4:15] = True
    shape[3:6, 4:8] = shape[9:, 11:] = shape[5:7, 13:] = False
    drawn = np.zeros(SIZE, np.uint8)
    drawn[5] = shape if filled else shape & ~ndimage.binary_erosion(shape, np.ones((3, 3)))
    session = opened()
    plain = session.session.result.mask
    session.add_lasso_interaction(drawn, include_interaction=True)
    (lasso,) = session.session.interactions
    assert np.array_equal(region_mask(lasso.on_slice, Window(0, 0, *SIZE[1:])), shape)
    buffer = session.target_buffer.numpy().astype(bool)
    assert plain[5][~shape].any() and not buffer[5][~shape].any() and buffer[:5].any()
    session.add_lasso_interaction(drawn[5:6], False, interaction_bbox=[[5, 6], [0, 16], [0, 20]])
    assert not session.target_buffer.numpy()[5][shape].any()


@pytest.mark.parametrize("seed", range(5))
def test_the_outline_of_any_shape_covers_the_shape(seed: int) -> None:
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(24, 30)), 2)
    found, _ = ndimage.label(noise > 0)
    shape = ndimage.binary_fill_holes(found == np.bincount(found[found > 0]).argmax())
    (outline,) = interactify.export.polygons(shape)
    lasso = interactify.Lasso(centres_along(np.asarray(outline.outer, float)).tolist()).within(shape.shape)
    assert np.array_equal(region_mask(lasso, Window(0, 0, 24, 30)), shape)


def test_begin_from_a_mask() -> None:
    session = opened()
    session.add_point_interaction((1, 1, 1), True)
    mask = np.zeros(SIZE, np.uint8)
    mask[3:9, 4:12, 5:15] = 1
    session.add_initial_seg_interaction(mask)
    assert np.array_equal(session.target_buffer, mask) and len(session.session.interactions) == 1
    session.add_point_interaction((5, 8, 10), include_interaction=False)
    assert session.session.result.satisfied and not session.target_buffer[5, 8, 10]


def test_what_is_refused_changes_nothing() -> None:
    session = InferenceSession(interactify.wrap(volumes.plain(), mean=0, std=1))
    with pytest.raises(NoPhotoError, match="set_image"):
        session.add_point_interaction((1, 1, 1), True)
    with pytest.raises(PhotoError):
        session.set_image(VOLUME[0])
    session = opened()
    two, apart = np.zeros(SIZE), np.zeros(SIZE)
    two[3:5, 3:6, 3:6] = 1
    apart[3, 3, 3] = apart[3, 8, 8] = 1
    for call in (
        lambda: session.set_target_buffer(np.zeros((3, 4, 5))),
        lambda: session.add_point_interaction((12, 1, 1), True),
        lambda: session.add_point_interaction((1, 1), True),
        lambda: session.add_bbox_interaction([[0, 13], [0, 4], [0, 4]], True),
        lambda: session.add_bbox_interaction([[3, 3], [0, 4], [0, 4]], True),
        lambda: session.add_bbox_interaction([[3, 4], [0, 4]], True),
        lambda: session.add_scribble_interaction(np.zeros(SIZE), True),
        lambda: session.add_scribble_interaction(np.ones((3, 4, 5)), True),
        lambda: session.add_scribble_interaction(np.ones((60, 60, 60)), True),
        lambda: session.add_lasso_interaction(two, True),
        lambda: session.add_lasso_interaction(apart, True),
        lambda: session.add_initial_seg_interaction(np.full(SIZE, 7)),
    ):
        with pytest.raises(InteractionError, match="Expected"):
            call()
    assert session.session.interactions == () and session.predict() is None
