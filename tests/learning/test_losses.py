"""The losses, against values computed by hand; unknown pixels have no part in them."""

import math

import pytest
import torch

from interactify.learning import LOSSES, cross_entropy, cross_entropy_and_iou, normalised_focal

NAN = float("nan")


def of(*values):
    return torch.tensor(values).view(1, 1, 1, -1)


@pytest.mark.parametrize("name", LOSSES)
def test_unknown_pixels_have_no_part(name):
    logits = of(2.0, -1.0, 0.5).requires_grad_()
    loss = LOSSES[name](logits, of(1.0, 0.0, NAN))
    loss.backward()
    assert logits.grad[..., 2].item() == 0
    assert (logits.grad[..., :2] != 0).all()
    assert loss.item() == pytest.approx(LOSSES[name](logits[..., :2], of(1.0, 0.0)).item())


@pytest.mark.parametrize("name", LOSSES)
def test_a_picture_of_which_nothing_is_known_gives_no_nan(name):
    logits = of(2.0, -1.0).requires_grad_()
    LOSSES[name](logits, of(NAN, NAN)).backward()
    assert logits.grad.isfinite().all()


def test_cross_entropy_by_hand():
    assert cross_entropy(of(0.0, 0.0), of(1.0, 0.0)).item() == pytest.approx(math.log(2))


def test_soft_iou_by_hand():
    # p = 1/2 at both pixels: both = 1/2, union = 1 + 1 - 1/2, each plus one
    expected = math.log(2) + 1 - 1.5 / 2.5
    assert cross_entropy_and_iou(of(0.0, 0.0), of(1.0, 0.0)).item() == pytest.approx(expected)


def test_normalised_focal_by_hand():
    logits = of(0.0, math.log(3))  # p = 1/2 and 3/4; both pixels are of the object
    weights = [0.25, 0.0625]
    entropies = [math.log(2), math.log(4 / 3)]
    mean_weight = sum(weights) / 2
    expected = 0.5 * sum(w / mean_weight * e for w, e in zip(weights, entropies, strict=True)) / 2
    assert normalised_focal(logits, of(1.0, 1.0)).item() == pytest.approx(expected)


def test_normalised_focal_counts_a_good_picture_as_much_as_a_bad_one():
    """A picture's weights have mean 1 whatever its errors are; the plain focal loss fades as a picture gets better."""
    good, bad = of(4.0, 3.0), of(0.1, 0.0)
    for logits in (good, bad):
        away = (1 - torch.sigmoid(logits)) ** 2
        entropy = -torch.nn.functional.logsigmoid(logits)
        expected = (0.5 * away / away.mean() * entropy).mean()
        assert normalised_focal(logits, of(1.0, 1.0)).item() == pytest.approx(expected.item(), rel=1e-5)
