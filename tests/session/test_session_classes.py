"""Sessions of networks with several classes, a result computed by hand, and clicks that end early."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import interactify
from interactify.errors import OptionError
from interactify.interactions.click import Click
from interactify.interactions.constraints import combine
from interactify.refinement.layers import NetworkLayer
from interactify.refinement.result import Result
from interactify.runtime.pass_cache import PassCache
from tests.fixtures import networks
from tests.session.test_session import net_of, wrong_here


def classes_net(classes: int, **options: Any) -> interactify.Interactive:
    return net_of(lambda: networks.Plain(classes=classes), max_evaluations=40, **options)


def labels_of(net: interactify.Interactive, photo: np.ndarray) -> np.ndarray:
    """The network's own label map, (H, W)."""
    image = torch.from_numpy(photo).permute(2, 0, 1)[None].float() / 255
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (net.spec.mean, net.spec.std))
    with torch.no_grad():
        return net.unwrap()((image - mean) / std)[0].argmax(0).numpy()


def test_the_class_under_the_first_click_is_the_target() -> None:
    net, photo = classes_net(5), networks.random_photo()
    labels = labels_of(net, photo)
    assert len(np.unique(labels)) >= 3
    for label in np.unique(labels):
        y, x = np.argwhere(labels == label)[0].tolist()
        session = net.session(photo)
        result = session.click(x=x, y=y, positive=True)
        named = net.session(photo, target=int(label)).click(x=x, y=y, positive=True)
        assert torch.equal(result.logits, named.logits)
        # It stays the target for later clicks, wherever they are.
        other_y, other_x = np.argwhere(labels != label)[-1].tolist()
        result = session.click(x=other_x, y=other_y, positive=True)
        assert result.satisfied and bool(result.mask[y, x])


def test_a_target_given() -> None:
    photo = networks.random_photo()
    by_wrap, by_session = classes_net(4, target=2).session(photo), classes_net(4).session(photo, target=2)
    for session in (by_wrap, by_session):
        image = session.initial_step.crop.image
        with torch.no_grad():
            p = torch.softmax(session.net.unwrap()(image), 1)[0, 2].numpy()
        assert np.allclose(session.result.probability, p, atol=1e-6)
    clicks = [session.click(x=20, y=20, positive=wrong_here(session, 20, 20)) for session in (by_wrap, by_session)]
    assert torch.equal(clicks[0].logits, clicks[1].logits) and clicks[0].satisfied
    assert "class 2" in by_wrap.net.describe()
    assert classes_net(4, target=0).session(photo, target=1).target == 1


def test_of_two_classes_the_second_is_the_target() -> None:
    net, photo = classes_net(2), networks.random_photo()
    labels = labels_of(net, photo)
    session = net.session(photo)
    assert np.array_equal(session.result.mask, labels == 1)
    y, x = np.argwhere(labels == 0)[0].tolist()
    assert session.click(x=x, y=y, positive=True).satisfied
    assert torch.equal(session.result.logits, net.session(photo, target=1).click(x=x, y=y, positive=True).logits)


@pytest.mark.parametrize("wrong", [-1, 4, 1.0, "cat", True])
def test_invalid_targets(wrong: Any) -> None:
    net = classes_net(4)
    with pytest.raises(OptionError, match="from 0 to 3"):
        net.session(networks.random_photo(), target=wrong)
    with pytest.raises(OptionError, match="from 0 to 3"):
        classes_net(4, target=wrong)


def test_result_by_hand() -> None:
    """A result knows only its logits, view and clicks: satisfied is read from the mask at the clicks' pixels."""
    session = net_of().session(np.zeros((64, 64, 3), np.uint8))
    logits = torch.full((1, 1, 64, 64), -1.0)
    logits[0, 0, 10, 20] = 2.0
    crop = session.initial_step.crop
    right, wrong = Click(20, 10, True), Click(10, 20, True)
    layer = NetworkLayer(logits, crop.view, crop.window)
    constraints = combine((right, wrong, Click(0, 0, False)), (64, 64))
    result = Result(logits, crop.view, crop.window, layer, layer, (64, 64), constraints, np.full(3, np.nan))
    assert [each.interaction for each in result.unsatisfied] == [wrong] and not result.satisfied
    assert result.point_probabilities == pytest.approx(1 / (1 + np.exp([-2.0, 1.0, -1.0])))
    assert result.mask.sum() == 1 and result.mask[10, 20]
    assert result.probability[10, 20] == pytest.approx(1 / (1 + np.exp(-2.0)))


@pytest.mark.parametrize("solver", ["lbfgs", "scipy"])
def test_a_click_keeps_to_its_time_and_can_be_cancelled(solver: str) -> None:
    """The running evaluation ends, the best result so far is returned, and the session continues from there."""
    photo = networks.random_photo()
    limited = net_of(max_seconds=0.0, solver=solver, propagation="none").session(photo)
    plain = bool(limited.result.mask[20, 30])
    result = limited.click(x=30, y=20, positive=not plain)
    assert (result.status, result.evaluations) == ("time", 1) and limited.interactions == result.clicks
    assert torch.allclose(result.logits, limited.initial_step.result.logits, atol=1e-4), (
        "the identity, and no other point"
    )

    session = net_of(max_seconds=60.0, solver=solver).session(photo)
    evaluations: list[int] = []

    class CancelsAtTheSecond(PassCache):
        def __call__(self, suffix: Any, values: Any, clicks: Any) -> Any:
            evaluations.append(1)
            if len(evaluations) == 2:
                session.cancel()
            return super().__call__(suffix, values, clicks)

    session.refiner.passes = CancelsAtTheSecond()
    session.click(x=30, y=20, positive=not plain)
    cancelled = session.result
    assert cancelled.evaluations == 2 and (cancelled.status == "cancelled" or cancelled.satisfied)
    assert session.click(x=60, y=40).status != "cancelled", "the next click is not"


@pytest.mark.parametrize("seconds", [-1, float("nan"), "soon", True])
def test_an_invalid_time(seconds: Any) -> None:
    with pytest.raises(OptionError, match="max_seconds"):
        net_of(max_seconds=seconds)
