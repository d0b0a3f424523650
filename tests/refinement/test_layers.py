"""Layers: parts and single pixels of a photo are those of the whole, to the last bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from interactify.interactions.gestures import Box, Lasso, Paint
from interactify.interactions.rasterise import region_mask
from interactify.pictures.resize_pad import View
from interactify.pictures.window import Window, whole
from interactify.refinement.layers import (
    CERTAIN,
    MASK_LOG_ODDS,
    InitialMaskLayer,
    Layer,
    NetworkLayer,
    RegionLayer,
    StrokeLayer,
)
from interactify.refinement.zoom import inner_share
from tests.fixtures import networks

SIZE = (37, 53)
PIXELS = np.stack(np.meshgrid(np.arange(53), np.arange(37)), -1).reshape(-1, 2)
INSIDE = st.tuples(st.integers(0, 52), st.integers(0, 36))
LINE = st.lists(INSIDE, min_size=1, max_size=4).map(tuple)
BOXES = st.builds(lambda a, b: Box(min(a[0], b[0]), min(a[1], b[1]), max(a[0], b[0]), max(a[1], b[1])), INSIDE, INSIDE)
LASSOS = st.builds(Lasso, st.lists(INSIDE, min_size=3, max_size=6).map(tuple))
STROKES = st.lists(st.builds(Paint, LINE, st.floats(0.5, 15), st.booleans()), min_size=1, max_size=3)
WINDOWS = st.builds(
    lambda a, b: Window(min(a[1], b[1]), min(a[0], b[0]), abs(a[1] - b[1]) + 1, abs(a[0] - b[0]) + 1), INSIDE, INSIDE
)
RESOLUTIONS = st.one_of(st.none(), st.integers(3, 90))


def network_layer(
    window: Window, resolution: int | None, seed: int, outside: Layer | None = None, blended: bool = False
) -> NetworkLayer:
    view = View.fit((window.height, window.width), resolution=resolution, divisor=8)
    logits = networks.random_tensor(1, 1, *view.network_size, seed=seed) * 3
    return NetworkLayer(logits, view, window, outside, inner_share(view, window, SIZE) if blended else None)


@st.composite
def layers(draw: Any) -> Layer:
    """A photo's map, up to two windows over one another in it, and over them some of the others in any order."""
    found: Layer = network_layer(whole(SIZE), draw(RESOLUTIONS), draw(st.integers(0, 9)))
    for window in draw(st.lists(WINDOWS, max_size=2)):
        found = network_layer(window, draw(RESOLUTIONS), draw(st.integers(0, 9)), found, draw(st.booleans()))
    for kind in draw(st.lists(st.sampled_from(["mask", "box", "lasso", "strokes"]), max_size=3)):
        if kind == "mask":
            found = InitialMaskLayer(np.random.default_rng(draw(st.integers(0, 9))).random(SIZE) < 0.5, found)
        elif kind == "strokes":
            found = StrokeLayer(draw(STROKES), found)
        else:
            found = RegionLayer(draw(BOXES if kind == "box" else LASSOS), found)
    return found


@settings(max_examples=120, deadline=None)
@given(layer=layers(), window=WINDOWS, step=st.integers(1, 60), chosen=st.lists(INSIDE, max_size=30))
def test_parts_and_pixels_are_those_of_the_whole(
    layer: Layer, window: Window, step: int, chosen: list[tuple[int, int]]
) -> None:
    photo = layer.read(whole(SIZE))
    assert photo.shape == SIZE and torch.isfinite(photo).all()
    assert torch.equal(layer.read(window), photo[window.slices])
    assert torch.equal(layer.read(window, step), photo[window.slices][::step, ::step])
    assert torch.equal(layer.at(PIXELS).view(SIZE), photo)
    pixels = np.array(chosen, np.int64).reshape(-1, 2)
    assert torch.equal(layer.at(pixels), photo[pixels[:, 1], pixels[:, 0]])
    layer.read(window).fill_(9)
    assert torch.equal(layer.read(whole(SIZE)), photo), "writing to what was read leaves the layer as it is"


@settings(max_examples=80, deadline=None)
@given(
    size=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    resolution=st.one_of(st.none(), st.integers(1, 120)),
    divisor=st.sampled_from([1, 8, 32]),
    corners=st.tuples(*[st.floats(0, 0.999)] * 4),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.float16, torch.bfloat16]),
)
def test_a_part_of_a_view_is_that_of_the_whole(
    size: tuple[int, int], resolution: int | None, divisor: int, corners: tuple[float, ...], dtype: torch.dtype
) -> None:
    view = View.fit(size, resolution=resolution, divisor=divisor)
    maps = networks.random_tensor(2, 3, *view.network_size).to(dtype)
    top, bottom = sorted(int(share * size[0]) for share in corners[:2])
    left, right = sorted(int(share * size[1]) for share in corners[2:])
    part = slice(top, bottom + 1), slice(left, right + 1)
    found = view.to_photo(maps, part)
    assert torch.equal(found, view.to_photo(maps)[..., part[0], part[1]]) and found.dtype == dtype


def test_what_each_layer_changes() -> None:
    """Against the same worked out on whole arrays with NumPy."""
    base = network_layer(whole(SIZE), 40, 0)
    plain = base.read(whole(SIZE)).numpy()
    mask = np.random.default_rng(0).random(SIZE) < 0.5
    displayed = InitialMaskLayer(mask, base).read(whole(SIZE)).numpy()
    agree = (plain > 0) == mask
    assert np.array_equal(displayed[agree], plain[agree]) and np.array_equal(displayed > 0, mask)
    assert (abs(displayed[~agree]) == MASK_LOG_ODDS).all() and agree.any() and not agree.all()

    box = Box(10, 5, 30, 20)
    displayed = RegionLayer(box, base).read(whole(SIZE)).numpy()
    within = region_mask(box, whole(SIZE))
    assert np.array_equal(displayed[within], plain[within]) and (displayed[~within] == -CERTAIN).all()

    strokes = [Paint(((10, 10),), 9, True), Paint(((12, 10),), 5)]
    displayed = StrokeLayer(strokes, base).read(whole(SIZE)).numpy()
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    first, second = (np.hypot(columns - x, rows - 10) <= reach for x, reach in ((10, 4.5), (12, 2.5)))
    assert (displayed[second] == -CERTAIN).all() and (displayed[first & ~second] == CERTAIN).all()
    assert np.array_equal(displayed[~first & ~second], plain[~first & ~second])


def test_a_window_and_the_layer_outside_it() -> None:
    below, window = network_layer(whole(SIZE), 40, 0), Window(5, 10, 20, 30)
    above = network_layer(window, 64, 1, below)
    photo = above.read(whole(SIZE))
    alone = NetworkLayer(above.logits, above.view, whole((20, 30))).read(whole((20, 30)))
    assert torch.equal(photo[window.slices], alone)
    outside = torch.ones(SIZE, dtype=torch.bool)
    outside[window.slices] = False
    assert torch.equal(photo[outside], below.read(whole(SIZE))[outside])
    with pytest.raises(ValueError, match="beyond the photo"):
        below.read(Window(30, 0, 10, 10))


def test_at_a_window_s_sides_one_map_passes_into_the_other() -> None:
    below, window = network_layer(whole(SIZE), 40, 0), Window(0, 10, 37, 30)  # it reaches the photo's top and bottom
    alone = network_layer(window, 64, 1, below)
    blended = network_layer(window, 64, 1, below, blended=True).read(whole(SIZE))
    own, outer = alone.read(whole(SIZE)), below.read(whole(SIZE))
    assert torch.equal(blended[:, :10], outer[:, :10]) and torch.equal(blended[:, 40:], outer[:, 40:])
    assert torch.equal(blended[:, 13:37], own[:, 13:37]), "also where the photo ends"
    first, step = blended[:, 10] - outer[:, 10], own[:, 10] - outer[:, 10]
    assert (first.abs() <= 0.4 * step.abs() + 1e-5).all() and (first * step >= 0).all()


def test_many_strokes_on_many_pixels_are_soon_read() -> None:
    """What a click on a picture of any size waits for: a hundred thousand pixels under long strokes."""
    import time

    size = (5000, 5000)
    view = View.fit(size, resolution=64)
    base = NetworkLayer(networks.random_tensor(1, 1, *view.network_size), view, whole(size))
    generator = np.random.default_rng(0)
    strokes = [Paint(tuple(map(tuple, generator.integers(0, 5000, (300, 2)).tolist())), 9) for _ in range(3)]
    lasso = Lasso(tuple(map(tuple, generator.integers(0, 5000, (300, 2)).tolist())))
    pixels = generator.integers(0, 5000, (100_000, 2))
    begun = time.perf_counter()
    StrokeLayer(strokes, RegionLayer(lasso, base)).at(pixels)
    assert time.perf_counter() - begun < 8
