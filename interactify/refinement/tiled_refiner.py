"""A refiner for pictures too large to be seen whole: the initial prediction is made tile by tile, where it is read.

Neither memory nor time grow with the picture. A click is refined in a window around it, as large as a tile; where the
object reaches the window's edge, the next window is larger.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interactify.errors import OptionError
from interactify.interactions.constraints import TARGET, Constraints
from interactify.interactions.rasterise import bounds
from interactify.pictures.picture import Picture
from interactify.pictures.resize_pad import View
from interactify.pictures.tiling import Tiling, tiles
from interactify.pictures.window import Pixels, Window
from interactify.refinement.classes import classes_at
from interactify.refinement.history import Step, Steps
from interactify.refinement.layers import Layer, NetworkLayer
from interactify.refinement.problem import Crop
from interactify.refinement.refiner import SURROUNDINGS, Refiner
from interactify.refinement.result import Result
from interactify.refinement.wrapped import Wrapped
from interactify.refinement.zoom import KEEP_IOU
from interactify.runtime.cache import Kept

TILED_ABOVE: Final = 8192  # pixels of a picture's longer side: larger ones have tiles by default
MIN_SIDE: Final = 1024  # of a tile by default, in photo pixels
SIDE_PER_RESOLUTION: Final = 4  # a tile's side by default over the network's own resolution, where it has one
OVERLAP: Final = 0.125  # of a tile's side, shared by neighbours
CACHE_BYTES: Final = 64 * 2**20  # of predictions that are cached, of the tiles read last
MAX_SIDES: Final = 4  # tile sides that a window grows to for the object; points of interactions may ask for more
NEAR_EDGE: Final = 0.02  # of a window's sides: an object so near its edge may continue outside


def tile_side(tile: object, size: tuple[int, int], resolution: int | None) -> int | None:
    """The side of a picture's tiles in photo pixels, None where it is seen whole.

    Args:
        tile: None for the default, False for no tiles, a whole number for that side.
        size: (H, W) of the picture.
        resolution: the longest side at which the network sees a photo; None for the photo's own.

    Raises:
        OptionError: an invalid side.

    >>> tile_side(None, (6000, 8000), 512), tile_side(None, (30000, 30000), 512), tile_side(700, (6000, 8000), 512)
    (None, 2048, 700)
    """
    if tile is None or tile is False:
        default = max(MIN_SIDE, SIDE_PER_RESOLUTION * (resolution or 1))
        return default if tile is None and max(size) > TILED_ABOVE else None
    if isinstance(tile, bool) or not isinstance(tile, int) or tile < 16:
        raise OptionError(f"Expected tile to be a side in photo pixels of 16 or more, False, or None; got {tile!r}.")
    return tile


class TiledRefiner(Refiner):
    """A `Refiner` whose initial prediction is made in tiles with a side of `side` photo pixels."""

    def __init__(self, net: Wrapped, picture: Picture, side: int) -> None:
        self.side = min(side, *picture.size)
        self.tiling = Tiling(tiles(picture.size, self.side, round(OVERLAP * self.side)))
        self._cache: OrderedDict[int, Kept[tuple[Crop, Tensor]]] = OrderedDict()  # the tiles read last, the latest last
        self._cache_lock = threading.Lock()
        super().__init__(net, picture)

    @property
    def tile(self) -> int | bool:
        return self.side

    def _first_window(self) -> Window:
        height, width = self.size
        return self.tiling.tiles[self.tiling.at(width // 2, height // 2)].window

    def _inner_share(self, window: Window, view: View) -> Tensor | None:
        return None  # at a window's sides, tiles would have to be predicted that nobody looks at

    def _first_layer(self, log_odds: Tensor, target: int | None) -> Layer:
        return TiledLayer(self, target)

    def prediction_of(self, index: int) -> tuple[Crop, Tensor]:
        """The crop of a tile, and the network's logits (1, K, h, w) there."""
        with self._cache_lock:
            kept = self._cache.setdefault(index, Kept())
            self._cache.move_to_end(index)
        found = kept.get()
        if found is None:
            self.net.check_unchanged()
            window = self.tiling.tiles[index].window
            crop = self.first_crop if window == self.first_crop.window else self._new_crop(window)
            found = crop, self.net.network.plain_logits(crop.image)
            each = found[1].nbytes + crop.image.nbytes
            kept.put(found, each, crop.image.device)
            with self._cache_lock:
                while len(self._cache) > max(1, CACHE_BYTES // each):
                    self._cache.popitem(last=False)
        return found

    def initial_parts(self) -> Iterator[tuple[Window, Crop, Tensor]]:
        for index, tile in enumerate(self.tiling.tiles):
            yield tile.core, *self.prediction_of(index)

    def _classes_at(self, pixels: Pixels) -> list[int]:
        predictions = [(self.prediction_of(self.tiling.at(x, y)), [(x, y)]) for x, y in pixels.tolist()]
        return [classes_at(crop, logits, np.array(pixel))[0] for (crop, logits), pixel in predictions]

    def _window(self, steps: Steps, last: Step, constraints: Constraints) -> Window:
        current = last.crop.window
        new = constraints.owners >= len(last.interactions)
        if not new.any():
            return current
        if constraints.region is not None:
            around_region = bounds(constraints.region).grown(SURROUNDINGS, self.size, self.side)
            # Otherwise a new label about another class lies outside of the region.
            if around_region.contains(constraints.points[new & (constraints.labels != TARGET)]).all():
                keeps = bool(steps) and around_region.common(current) == around_region
                return current if keeps and around_region.overlap(current) >= KEEP_IOU else around_region
        return self._window_around(steps, last, constraints, new)

    def _window_around(self, steps: Steps, last: Step, constraints: Constraints, new: NDArray[np.bool_]) -> Window:
        """The window that holds all points of the object, those that are `new`, and the object as far as it is seen."""
        own = constraints.required & constraints.positive & (constraints.labels == TARGET) | new
        points = constraints.points[own]
        (left, top), (right, bottom) = points.min(0).tolist(), points.max(0).tolist()
        needed = Window(top, left, bottom + 1 - top, right + 1 - left)
        extent = self._object_extent(last.result) if steps else None
        both = needed if extent is None else needed.joined(extent)
        needed = needed if max(both.height, both.width) > MAX_SIDES * self.side else both
        current = last.crop.window
        if steps and current.common(needed) == needed:
            return current
        return needed.grown(SURROUNDINGS if extent is not None else 0.0, self.size, self.side)

    def _shows_without_a_pass(self, last: Step, crop: Crop) -> bool:
        return crop is last.crop  # around it lie tiles

    def _object_extent(self, result: Result) -> Window | None:
        """The window of the object, half a window larger at each edge that it reaches; None where there is none."""
        window = result.window
        count = max(2, *result.logits.shape[-2:])
        xs = np.unique(np.linspace(window.left, window.left + window.width - 1, count).astype(np.int64))
        ys = np.unique(np.linspace(window.top, window.top + window.height - 1, count).astype(np.int64))
        mask = result.displayed.at(np.stack(np.meshgrid(xs, ys), -1).reshape(-1, 2)).gt(0).cpu().numpy()
        mask = mask.reshape(len(ys), len(xs))
        if not mask.any():
            return None
        rows, columns = ys[mask.any(1)], xs[mask.any(0)]
        near = NEAR_EDGE * window.height, NEAR_EDGE * window.width
        top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
        top -= window.height // 2 if top - window.top < near[0] else 0
        bottom += window.height // 2 if window.top + window.height - bottom < near[0] else 0
        left -= window.width // 2 if left - window.left < near[1] else 0
        right += window.width // 2 if window.left + window.width - right < near[1] else 0
        return Window(top, left, bottom - top, right - left).common(self.photo_window)


@dataclass(frozen=True, eq=False)
class TiledLayer:
    """A layer: the network's own prediction of a class, made of a tile when the tile is first read."""

    refiner: TiledRefiner
    target: int | None

    def read(self, window: Window, step: int = 1) -> Tensor:
        log_odds: Tensor | None = None
        for index in self.refiner.tiling.overlapping(window):
            shared = self.refiner.tiling.tiles[index].core.on_grid_of(window, step)
            if shared is None:
                continue
            part, slices = shared
            values = self._tile(index).read(part, step)
            if log_odds is None:
                size = -(-window.height // step), -(-window.width // step)
                log_odds = torch.empty(size, dtype=values.dtype, device=values.device)
            log_odds[slices] = values
        assert log_odds is not None
        return log_odds

    def at(self, pixels: Pixels) -> Tensor:
        tiling, image = self.refiner.tiling, self.refiner.first_crop.image
        tile_of = np.array([tiling.at(x, y) for x, y in pixels.tolist()], np.int64)
        log_odds = torch.empty(len(pixels), dtype=image.dtype, device=image.device)
        for index in np.unique(tile_of).tolist():
            inside = tile_of == index
            log_odds[torch.from_numpy(inside)] = self._tile(index).at(pixels[inside]).to(log_odds)
        return log_odds

    def _tile(self, index: int) -> NetworkLayer:
        crop, logits = self.refiner.prediction_of(index)
        log_odds = self.refiner.net.network.log_odds(logits, self.target, crop.image)
        return NetworkLayer(log_odds, crop.view, crop.window)


def open_refiner(net: Wrapped, picture: Picture, tile: object) -> Refiner:
    """The refiner of a picture, with tiles where it is large or they are asked for."""
    side = tile_side(tile, picture.size, net.spec.resolution)
    return Refiner(net, picture) if side is None else TiledRefiner(net, picture, side)
