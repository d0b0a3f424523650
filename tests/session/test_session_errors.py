"""What is refused or breaks: an error of the family, and a session that is as it was."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import interactify
from interactify.errors import InteractifyError, InteractionError, ModelError, NonFiniteError, PhotoError
from tests.fixtures import networks
from tests.session.test_session import net_of, state


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (96, 0), (0, 64), (-1, 0), (0, -0.6), (95.5, 0), (float("nan"), 0), (0, float("inf")), ("3", 0), (None, 0),
        (True, 0), ([3], 0), (1 + 2j, 0), (10**400, 0), (np.array([1, 2]), 0),
    ],
    ids=str,
)  # fmt: skip
def test_clicks_that_are_none_leave_the_session(x: Any, y: Any) -> None:
    session = net_of(max_evaluations=3).session(networks.random_photo())
    session.click(x=30, y=20)
    session.click(x=31, y=21)
    session.undo()
    before = state(session), session.history
    with pytest.raises(InteractionError):
        session.click(x=x, y=y)
    with pytest.raises(InteractionError):
        session.click(x=3, y=3, positive="yes")  # type: ignore[arg-type]
    assert (state(session), session.history) == before
    assert len(session.redo().clicks) == 2, "what was undone can still be redone"


@pytest.mark.parametrize("how", ["nan", "inf", "-inf"])
@pytest.mark.parametrize("variables", ["input", "maps", "kernels", "scale_bias@down", "bias_field@down"])
def test_a_network_that_breaks_in_the_middle(how: str, variables: str) -> None:
    model = networks.seeded(lambda: networks.Failing(how))
    session = interactify.wrap(model, variables=variables, max_evaluations=4).session(networks.random_photo())
    session.click(x=30, y=20)
    session.click(x=60, y=40)
    session.undo()
    before = state(session), session.history
    model.turn(on=True)
    with pytest.raises(NonFiniteError):
        session.click(x=5, y=5, positive=not session.result.mask[5, 5])
    assert (state(session), session.history) == before
    model.turn(on=False)
    clicked = session.click(x=60, y=40)
    assert torch.equal(clicked.logits, before[1].undone[-1].track.steps[-1].result.logits), "as if nothing had happened"


def test_a_network_that_raises_in_the_middle() -> None:
    model = networks.seeded(lambda: networks.Failing("raise"))
    session = interactify.wrap(model, max_evaluations=4).session(networks.random_photo())
    session.click(x=30, y=20)
    before = state(session), session.history
    model.turn(on=True)
    with pytest.raises((InteractifyError, RuntimeError)):
        session.click(x=5, y=5, positive=not session.result.mask[5, 5])
    assert (state(session), session.history) == before


def test_a_network_that_is_broken_from_the_start() -> None:
    model = networks.seeded(lambda: networks.Failing("nan"))
    net = interactify.wrap(model)
    model.switch.on = True
    with pytest.raises(NonFiniteError, match="before any click"):
        net.session(networks.random_photo())
    model = networks.seeded(lambda: networks.Failing("raise"))
    net = interactify.wrap(model)
    model.switch.on = True
    with pytest.raises(ModelError, match="own trouble"):
        net.session(networks.random_photo())


@pytest.mark.parametrize(
    "photo",
    [
        None,
        3,
        "nowhere.png",
        np.zeros((0, 5, 3), np.uint8),
        np.zeros((5, 5, 7), np.uint8),
        np.full((5, 5, 3), np.nan),
        torch.full((3, 4, 4), 300.0),
    ],
    ids=lambda p: type(p).__name__,
)
def test_invalid_photos(photo: Any) -> None:
    with pytest.raises(PhotoError):
        net_of().session(photo)


def test_all_forms_of_a_photo_give_the_same_mask(tmp_path: Any) -> None:
    net, photo = net_of(), networks.random_photo()
    Image.fromarray(photo).save(tmp_path / "photo.png")
    tensor = torch.from_numpy(photo).permute(2, 0, 1).float() / 255
    masks = [net.session(form).result.mask for form in (photo, Image.fromarray(photo), tmp_path / "photo.png", tensor)]
    assert all(np.array_equal(masks[0], mask) for mask in masks)
