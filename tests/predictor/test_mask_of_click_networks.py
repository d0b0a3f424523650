"""`mask_input` with click networks: those that read the previous mask get it there, the others as any network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import interactify
from interactify import ClickMaps, Predictor
from tests.fixtures import click_networks, networks
from tests.fixtures.click_networks import by_hand, disk, photo

BASE = np.where(photo()[..., 0] > 0, -21.0, -1.0)  # the logits of `ByHand` without clicks
EASY, OTHER = (30, 20), (60, 40)


def predictor_of(previous: bool = True, **options: object) -> Predictor:
    predictor = Predictor(by_hand(previous, **options))
    predictor.set_image(photo())
    return predictor


def low_mask(columns: slice, logit: float = 2.0) -> NDArray[np.float32]:
    """(1, 256, 256): some columns with a logit, and certainly nothing elsewhere."""
    mask = np.full((1, 256, 256), -30, np.float32)
    mask[..., columns] = logit
    return mask


def test_the_mask_is_read_as_the_previous_mask() -> None:
    """The kernel over the previous mask is 4: its logits there rise by 4 times the mask's probability."""
    logits, _, low = predictor_of().predict([EASY], [1], mask_input=low_mask(slice(128, 192)), return_logits=True,
                                            multimask_output=False)  # fmt: skip
    expected = BASE + 8 * disk(*EASY)
    assert np.allclose(logits[0][:, :46], expected[:, :46], atol=1e-4)
    inside = np.s_[:, 50:70]  # away from the mask's borders, between which the logits are interpolated
    assert np.allclose(logits[0][inside], expected[inside] + 4 / (1 + np.exp(-2)), atol=1e-4)
    assert low.shape == (1, 256, 256)


def test_a_mask_without_clicks_comes_back() -> None:
    mask, _, _ = predictor_of().predict(mask_input=low_mask(slice(128, 192)), multimask_output=False)
    assert mask[0][:, 49:71].all() and not mask[0][:, :47].any() and not mask[0][:, 73:].any()
    padded, _, _ = predictor_of().predict([EASY], [-1], mask_input=low_mask(slice(128, 192)), multimask_output=False)
    assert np.array_equal(mask, padded), "padding is no click"


@pytest.mark.parametrize("zoom", [False, True])
def test_two_calls_give_what_two_clicks_give(zoom: bool) -> None:
    """But for what 256 × 256 logits can't hold of the disks' borders."""
    options = {"zoom": zoom, **({"resolution": 64} if zoom else {})}
    predictor = predictor_of(**options)
    _, _, low = predictor.predict([EASY], [1], multimask_output=False)
    second, _, _ = predictor.predict([EASY, OTHER], [1, 1], mask_input=low, multimask_output=False)
    session = by_hand(True, **options).session(photo())
    session.click(*EASY)
    clicked = session.click(*OTHER)
    assert clicked.mask.any() and (second[0] != clicked.mask).mean() < 0.01
    third = predictor.predict([EASY, OTHER], [1, 1], mask_input=low, multimask_output=False)
    assert np.array_equal(third[0], second), "nothing is remembered"
    alone = predictor.predict([EASY], [1], multimask_output=False)
    assert np.array_equal(alone[2], low)


def test_an_unsatisfied_click_is_refined_under_the_same_mask() -> None:
    """In the red square, where the network does not follow by itself."""
    predictor = predictor_of()
    mask, _, _ = predictor.predict([[80, 48]], [1], mask_input=low_mask(slice(128, 160)), multimask_output=False)
    assert mask[0][48, 80] == 1 and mask[0][:, 50:58].sum() == 64 * 8, "and the mask before is still read"


def test_several_objects_have_masks_of_their_own() -> None:
    predictor = predictor_of()
    masks = np.stack([low_mask(slice(128, 192)), low_mask(slice(0, 30))])
    found, _, _ = predictor.predict([[EASY], [OTHER]], [[1], [1]], mask_input=masks, multimask_output=False)
    for each, mask, point in zip(found, masks, (EASY, OTHER), strict=True):
        own, _, _ = predictor.predict([point], [1], mask_input=mask, multimask_output=False)
        assert np.array_equal(each, own)


def test_networks_without_a_previous_mask_keep_it_except_where_a_point_contradicts() -> None:
    mask, _, _ = predictor_of(previous=False).predict(
        [EASY], [1], mask_input=low_mask(slice(128, 192)), multimask_output=False
    )
    assert (mask[0] > 0)[disk(*EASY)].all() and mask[0][:, 49:71].all()


def test_boxes_and_half_precision() -> None:
    model = click_networks.reconfigured(click_maps=ClickMaps(previous_mask=True)).to(torch.bfloat16)
    net = interactify.wrap(model, mean=0.5, std=0.25, resolution=64, max_evaluations=3)
    predictor = Predictor(net)
    predictor.set_image(networks.random_photo())
    mask, _, _ = predictor.predict([[40, 30]], [1], box=[20, 10, 70, 55], mask_input=low_mask(slice(60, 192)))
    assert mask.shape == (3, 64, 96) and not mask[:, :, 72:].any()
