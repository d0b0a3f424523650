"""Pictures too large to be seen whole: in tiles, with the network's own prediction in each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import interactify
from interactify import Box, Window
from interactify.errors import OptionError
from interactify.refinement.tiled_refiner import TiledRefiner, tile_side
from tests.fixtures import networks

PHOTO = networks.random_photo(230, 310)


def net_of(**options: Any) -> interactify.Interactive:
    return interactify.wrap(networks.seeded(networks.Plain), **{"max_evaluations": 12, **options})


class Recording:
    """Like an array on disk, and records which pixels were read."""

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.shape, self.dtype, self.ndim = array, array.shape, array.dtype, array.ndim
        self.read = np.zeros(array.shape[:2], bool)

    def __getitem__(self, key: Any) -> np.ndarray:
        self.read[key[:2]] = True
        return self.array[key]


@pytest.mark.parametrize("resolution", [None, 48])
def test_the_first_prediction_is_the_networks_own_tile_by_tile(resolution: int | None) -> None:
    net = net_of(resolution=resolution)
    session = net.session(PHOTO, tile=96)
    refiner = session.refiner
    assert isinstance(refiner, TiledRefiner) and len(refiner.tiling.tiles) > 6
    whole = np.zeros((230, 310), np.float32)
    for tile in refiner.tiling.tiles:
        alone = net.session(np.ascontiguousarray(PHOTO[tile.window.slices]), tile=False).result.probability
        core = tile.core.relative_to(tile.window)
        whole[tile.core.slices] = alone[core.slices]
    # Convolutions on several threads may round differently from one size of memory to another.
    np.testing.assert_allclose(session.result.probability, whole, rtol=0, atol=1e-6)
    assert ((session.result.mask == (whole > 0.5)) | (abs(whole - 0.5) < 1e-6)).all()


def test_a_part_is_the_part_of_the_whole_and_a_pixel_the_pixel() -> None:
    layer = net_of(resolution=48).session(PHOTO, tile=96).result.displayed
    whole = layer.read(Window(0, 0, 230, 310))
    generator = np.random.default_rng(0)
    for _ in range(12):
        top, left = int(generator.integers(229)), int(generator.integers(309))
        window = Window(top, left, int(generator.integers(1, 231 - top)), int(generator.integers(1, 311 - left)))
        assert torch.equal(layer.read(window), whole[window.slices])
        for step in (2, 7, 150):
            assert torch.equal(layer.read(window, step), whole[window.slices][::step, ::step])
    pixels = generator.integers(0, (310, 230), (200, 2))
    assert torch.equal(layer.at(pixels), whole[torch.from_numpy(pixels[:, 1]), torch.from_numpy(pixels[:, 0])])


def test_only_what_is_needed_is_read_and_changed() -> None:
    array = Recording(networks.random_photo(900, 1200))
    session = net_of(resolution=64).session(array, tile=128)
    assert array.read.mean() < 0.03, "one tile, for the initial prediction"
    result = session.click(1000, 100)
    assert result.satisfied and result.window.contains(np.array([[1000, 100]])).all()
    assert (result.window.height, result.window.width) == (129, 129), "a tile, with the click in its middle"
    far = Window(600, 0, 200, 300)
    before = session.initial_step.result
    assert array.read.mean() < 0.08
    near = Window(result.window.top - 20, result.window.left - 20, 160, 160)
    outside = np.ones((160, 160), bool)
    outside[result.window.relative_to(near).slices] = False
    assert np.array_equal(result.mask_in(near)[outside], before.mask_in(near)[outside])
    assert np.array_equal(result.mask_in(far), before.mask_in(far))
    result = session.click(1010, 110, positive=False)
    assert result.satisfied and session.undo() is not result


def test_the_window_holds_all_points_of_the_object() -> None:
    session = net_of(resolution=64).session(networks.random_photo(500, 700), tile=128)
    for x, y in ((100, 100), (130, 120), (400, 300), (690, 10)):
        result = session.click(x, y)
        pixels = result.constraints.points
        assert result.window.contains(pixels).all() and result.satisfied
    result = session.add([Box(20, 20, 330, 250)])
    assert result.window.common(Window(20, 20, 231, 311)) == Window(20, 20, 231, 311)
    assert not result.mask_in(Window(300, 0, 200, 700)).any(), "outside of the box there is no object"


def test_the_class_under_the_first_click() -> None:
    net = interactify.wrap(networks.seeded(lambda: networks.Plain(classes=4)), max_evaluations=3)
    session = net.session(PHOTO, tile=96)
    refiner = session.refiner
    assert isinstance(refiner, TiledRefiner)
    for x, y in ((5, 5), (200, 180), (309, 229)):
        tile = refiner.tiling.tiles[refiner.tiling.at(x, y)].window
        alone = net.session(np.ascontiguousarray(PHOTO[tile.slices]))
        session.restart()
        assert session.click(x, y).mask.shape == (230, 310)
        alone.click(x - tile.left, y - tile.top)
        assert session.steps[0].targets == alone.steps[0].targets


def test_saved_loaded_and_replayed(tmp_path: Path) -> None:
    net = net_of(resolution=64)
    session = net.session(PHOTO, tile=128)
    session.click(30, 40)
    session.click(200, 100, positive=False)
    loaded = interactify.load_session(session.save(tmp_path / "s.npz"), net, PHOTO)
    again = interactify.replay(session.log(), net, PHOTO)
    assert isinstance(loaded.refiner, TiledRefiner) and isinstance(again.refiner, TiledRefiner)
    for other in (loaded, again):
        assert np.array_equal(other.result.mask, session.result.mask)
    assert np.array_equal(loaded.click(250, 200).mask, session.click(250, 200).mask)


def test_a_picture_of_one_tile_is_like_one_without_tiles() -> None:
    photo = networks.random_photo(100, 100)
    tiled, plain = net_of().session(photo, tile=120), net_of().session(photo)
    assert tiled.refiner.tile == 100 and np.array_equal(tiled.result.probability, plain.result.probability)
    assert np.array_equal(tiled.click(50, 50).mask, plain.click(50, 50).mask)


@pytest.mark.parametrize("tile", [0, -5, 3, True, 2.5, "large"])
def test_invalid_tiles(tile: Any) -> None:
    with pytest.raises(OptionError, match="tile"):
        net_of().session(PHOTO, tile=tile)


def test_which_pictures_have_tiles() -> None:
    assert tile_side(None, (6000, 8000), None) is None and tile_side(None, (100, 9000), None) == 1024
    assert tile_side(False, (30000, 30000), None) is None and tile_side(None, (30000, 30000), 512) == 2048
    assert tile_side(64, (50, 50), None) == 64
