"""Photos squashed to squares: what the network sees, and clicks, zoom, tiles and files with it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import interactify
from interactify.errors import CheckpointError
from interactify.inspection.spec import Knowledge
from interactify.pictures.window import Window
from interactify.refinement.zoom import next_window
from interactify.session import session_file
from tests.fixtures import networks

PHOTO = networks.random_photo(60, 150)


def net_of(**options: Any) -> interactify.Interactive:
    usual = {"mean": 0.5, "std": 0.5, "resolution": 64, "fit": "squash", "max_evaluations": 40}
    return interactify.wrap(networks.seeded(networks.Plain), **{**usual, **options})


def test_the_network_sees_the_whole_photo_as_a_square() -> None:
    net = net_of()
    photo = torch.from_numpy(PHOTO).permute(2, 0, 1)[None] / 255
    square = F.interpolate(photo, size=(64, 64), mode="bilinear", align_corners=False, antialias=True)
    with torch.no_grad():
        own = net.unwrap()((square - 0.5) / 0.5)
    result = net.session(PHOTO).result
    assert torch.allclose(result.logits, own, atol=1e-5)
    back = F.interpolate(own, size=(60, 150), mode="bilinear", align_corners=False)[0, 0]
    near = back.abs() < 1e-4
    assert np.array_equal(result.mask | near.numpy(), (back > 0).numpy() | near.numpy())
    assert "size        squashed to 64×64, padded to multiples of 32" in net.describe()


@pytest.mark.parametrize("options", [{}, {"mirror": True}, {"propagation": "edges"}, {"variables": "maps"}], ids=str)
def test_clicks_arrive(options: dict[str, Any]) -> None:
    net = net_of(**options)
    for x, y in ((0, 0), (149, 31)):
        session = net.session(PHOTO)
        wanted = not session.result.mask[y, x]
        result = session.click(x=x, y=y, positive=bool(wanted))
        assert result.satisfied and result.mask[y, x] == wanted


def test_windows_that_it_zooms_in_to_are_squares_for_the_network() -> None:
    session = net_of().session(networks.random_photo(150, 400))
    for x, y in [(60, 50), (70, 60), (399, 149)]:
        wanted = not session.result.mask[y, x]
        result = session.click(x=x, y=y, positive=bool(wanted))
        assert result.view.photo_size == (result.window.height, result.window.width)
        assert result.view.network_size == (64, 64)
        assert result.window.width / result.window.height == pytest.approx(400 / 150, rel=0.05)
        assert not result.satisfied or result.mask[y, x] == wanted


def test_a_window_has_the_aspect_ratio_of_the_photo() -> None:
    whole, extent, points = Window(0, 0, 100, 400), Window(50, 100, 10, 120), np.array([[100, 50], [219, 59]])
    letterboxed = next_window(whole, extent, points, points, (100, 400), 64)
    assert letterboxed == Window(39, 76, 32, 168)
    assert next_window(whole, extent, points, points, (100, 400), 64, squash=True) == Window(34, 76, 42, 168)
    points = np.array([[0, 50], [399, 59]])  # as wide as the photo: nothing to gain
    assert next_window(whole, extent, points, points, (100, 400), 64, squash=True) == whole


def test_a_window_around_a_box_too() -> None:
    result = net_of().session(networks.random_photo(150, 400)).add([interactify.Box(200, 60, 260, 70)])
    assert result.window.contains(np.array([[200, 60], [260, 70]])).all() and result.window.width < 400
    assert result.window.width / result.window.height == pytest.approx(400 / 150, rel=0.05)


def test_tiles() -> None:
    session = net_of().session(networks.random_photo(150, 400), tile=80)
    for x, y in [(10, 20), (300, 100)]:
        wanted = not session.result.mask_in(Window(y, x, 1, 1))[0, 0]
        result = session.click(x=x, y=y, positive=bool(wanted))
        assert result.satisfied and result.mask_in(Window(y, x, 1, 1))[0, 0] == wanted


def test_a_network_of_one_size_that_is_no_square() -> None:
    class Exact:
        name = "exact"

        def recognises(self, model: torch.nn.Module) -> bool:
            return False

        def knows(self, model: torch.nn.Module) -> Knowledge:
            return Knowledge(family="exact", mean=0.5, std=0.5, exact=(64, 96))

    net = interactify.wrap(networks.seeded(networks.Plain), adapter=Exact(), fit="squash")
    view = net.network.view((60, 150))
    assert view.content_size == view.network_size == (64, 96)
    assert net.session(PHOTO).click(20, 30).satisfied
    assert len(net.check_size([PHOTO] * 3).rows) == 2


def test_an_adapter_may_state_it() -> None:
    class Square:
        name = "square"

        def recognises(self, model: torch.nn.Module) -> bool:
            return False

        def knows(self, model: torch.nn.Module) -> Knowledge:
            return Knowledge(family="square", mean=0.5, std=0.5, resolution=96, fit="squash")

    model = networks.seeded(networks.Plain)
    assert interactify.wrap(model, adapter=Square()).network.view((60, 150)).network_size == (96, 96)
    assert interactify.wrap(model, adapter=Square(), fit="letterbox").spec.fit == "letterbox"


def test_a_saved_session_goes_on_and_keeps_its_fit(tmp_path: Path) -> None:
    photo = networks.random_photo(80, 80)  # a square: the whole photo is seen alike either way
    session = net_of().session(photo)
    session.click(10, 20, positive=not session.result.mask[20, 10])
    path = session.save(tmp_path / "session.npz")
    loaded = interactify.load_session(path, net_of(), photo)
    next_click = interactify.Click(70, 30, not bool(session.result.mask[30, 70]))
    assert np.array_equal(loaded.add([next_click]).probability, session.add([next_click]).probability)
    with pytest.raises(CheckpointError, match="fit: 'squash', got 'letterbox'"):
        interactify.load_session(path, net_of(fit="letterbox"), photo)


def test_files_from_before_there_was_a_choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session, settings_of = net_of(fit="letterbox").session(PHOTO), session_file.settings_of
    with monkeypatch.context() as before:
        before.setattr(session_file, "settings_of", lambda *a: {k: v for k, v in settings_of(*a).items() if k != "fit"})
        path = session.save(tmp_path / "session.npz")
    assert interactify.load_session(path, net_of(fit="letterbox"), PHOTO).interactions == ()
    with pytest.raises(CheckpointError, match="fit: 'letterbox', got 'squash'"):
        interactify.load_session(path, net_of(), PHOTO)


def test_evaluations_and_batches_use_it_too() -> None:
    net = net_of()
    clicks = [interactify.Click(20, 30), interactify.Click(140, 10, False)]
    one, several = net.session(PHOTO).add(clicks), net.refine(PHOTO, [clicks])[0]
    assert np.array_equal(one.mask, several.mask) and one.logits.shape[-2:] == (64, 64)
    assert replace(net.spec, fit="letterbox") != net.spec
