"""A picture too large to be seen whole: the network's own prediction is made tile by tile, where someone looks.

Nothing is as large as the picture, neither in memory nor in time. A click is answered in a window around it, as large
as a tile; where the object reaches that window's edge, the next one is larger.
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
from interactify.pictures.tiling import Tiling, tiles
from interactify.pictures.window import Pixels, Window
from interactify.refinement.history import Step, Steps
from interactify.refinement.layers import Layer, NetworkLayer
from interactify.refinement.problem import Crop
from interactify.refinement.refiner import SURROUNDINGS, Refiner, classes_at
from interactify.refinement.result import Result
from interactify.refinement.wrapped import Wrapped
from interactify.refinement.zoom import KEEP

TILED: Final = 8192  # pixels of a picture's longer side from which on it is seen in tiles, where nothing else is asked
SIDE: Final = 1024  # of a tile, in photo pixels, at least
ENLARGED: Final = 4  # a tile is so many times as large as the network's own resolution, where it has one
OVERLAP: Final = 0.125  # of a tile's side, shared by neighbours
KEPT: Final = 64 * 2**20  # bytes of predictions that are kept, of the tiles looked at last
MOST: Final = 4  # tile sides: so large a window becomes for an object's sake; what is said may ask for more
REACHES: Final = 0.02  # of a window's sides: an object so near its edge may go on beyond


def tile_side(tile: object, size: tuple[int, int], resolution: int | None) -> int | None:
    """The side of a picture's tiles in photo pixels, None where it is seen whole.

    Args:
        tile: None for what is usual, False for none, a whole number for that side.
        size: (H, W) of the picture.
        resolution: the longest side at which the network sees a photo; None for the photo's own.

    Raises:
        OptionError: a side that is none.

    >>> tile_side(None, (6000, 8000), 512), tile_side(None, (30000, 30000), 512), tile_side(700, (6000, 8000), 512)
    (None, 2048, 700)
    """
    if tile is None or tile is False:
        usual = max(SIDE, ENLARGED * (resolution or 1))
        return usual if tile is None and max(size) > TILED else None
    if isinstance(tile, bool) or not isinstance(tile, int) or tile < 16:
        raise OptionError(f"Expected tile to be a side in photo pixels of 16 or more, False, or None; got {tile!r}.")
    return tile


class TiledRefiner(Refiner):
    """A `Refiner` whose first prediction is made in tiles with a side of `side` photo pixels."""

    def __init__(self, net: Wrapped, picture: Picture, side: int) -> None:
        self.side = min(side, *picture.size)
        self.tiling = Tiling(tiles(picture.size, self.side, round(OVERLAP * self.side)))
        self._seen: OrderedDict[int, tuple[Crop, Tensor]] = OrderedDict()
        self._looking = threading.Lock()
        super().__init__(net, picture)

    @property
    def tile(self) -> int | bool:
        return self.side

    def _first_window(self) -> Window:
        height, width = self.size
        return self.tiling.tiles[self.tiling.at(width // 2, height // 2)].window

    def _first_layer(self, odds: Tensor, target: int | None) -> Layer:
        return TiledLayer(self, target)

    def plain_of(self, place: int) -> tuple[Crop, Tensor]:
        """A tile as the network sees it, and the network's logits (1, K, h, w) there."""
        with self._looking:
            if place not in self._seen:
                crop = self.crop(self.tiling.tiles[place].window)
                self._seen[place] = crop, self.net.network.plain_logits(crop.image)
                each = self._seen[place][1].nbytes + crop.image.nbytes
                while len(self._seen) > max(1, KEPT // each):
                    self._seen.popitem(last=False)
            self._seen.move_to_end(place)
            return self._seen[place]

    def initial_parts(self) -> Iterator[tuple[Window, Crop, Tensor]]:
        for place, tile in enumerate(self.tiling.tiles):
            yield tile.core, *self.plain_of(place)

    def _classes_at(self, places: Pixels) -> list[int]:
        crops = [(self.plain_of(self.tiling.at(x, y)), [(x, y)]) for x, y in places.tolist()]
        return [classes_at(crop, plain, np.array(place))[0] for (crop, plain), place in crops]

    def _window(self, steps: Steps, last: Step, told: Constraints) -> Window:
        new = told.owners >= len(last.interactions)
        if not new.any():
            return last.crop.window
        if told.region is not None:
            part = bounds(told.region).grown(SURROUNDINGS, self.size, self.side)
            if part.contains(told.points[new & (told.labels != TARGET)]).all():  # else other classes, outside
                held = bool(steps) and part.common(last.crop.window) == part
                return last.crop.window if held and part.overlap(last.crop.window) >= KEEP else part
        return self._closer(steps, last, told, new)

    def _closer(self, steps: Steps, last: Step, told: Constraints, new: NDArray[np.bool_]) -> Window:
        """The window that is looked at holds all that was said of the object, and the object as far as it was seen."""
        own = told.required & told.positive & (told.labels == TARGET) | new
        places = told.points[own]
        (left, top), (right, bottom) = places.min(0).tolist(), places.max(0).tolist()
        needed = Window(top, left, bottom + 1 - top, right + 1 - left)
        extent = self._reaching(last.result) if steps else None
        both = needed if extent is None else needed.joined(extent)
        needed = needed if max(both.height, both.width) > MOST * self.side else both
        current = last.crop.window
        if steps and current.common(needed) == needed:
            return current
        return needed.grown(SURROUNDINGS if extent is not None else 0.0, self.size, self.side)

    def _reaching(self, result: Result) -> Window | None:
        """The object in the window, and beyond its edge where it reaches that; None where there is none."""
        window = result.window
        across = max(2, *result.logits.shape[-2:])
        xs = np.unique(np.linspace(window.left, window.left + window.width - 1, across).astype(np.int64))
        ys = np.unique(np.linspace(window.top, window.top + window.height - 1, across).astype(np.int64))
        there = result.shown.at(np.stack(np.meshgrid(xs, ys), -1).reshape(-1, 2)).gt(0).cpu().numpy()
        there = there.reshape(len(ys), len(xs))
        if not there.any():
            return None
        rows, columns = ys[there.any(1)], xs[there.any(0)]
        near = REACHES * window.height, REACHES * window.width
        top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
        top -= window.height // 2 if top - window.top < near[0] else 0
        bottom += window.height // 2 if window.top + window.height - bottom < near[0] else 0
        left -= window.width // 2 if left - window.left < near[1] else 0
        right += window.width // 2 if window.left + window.width - right < near[1] else 0
        return Window(top, left, bottom - top, right - left).common(self.photo_window)


@dataclass(frozen=True, eq=False)
class TiledLayer:
    """A layer: the network's own prediction of a class, made of a tile when it is first looked at."""

    refiner: TiledRefiner
    target: int | None

    def read(self, window: Window, step: int = 1) -> Tensor:
        found: Tensor | None = None
        for place in self.refiner.tiling.meeting(window):
            met = self.refiner.tiling.tiles[place].core.on_grid_of(window, step)
            if met is None:
                continue
            both, where = met
            part = self._tile(place).read(both, step)
            if found is None:
                size = -(-window.height // step), -(-window.width // step)
                found = torch.empty(size, dtype=part.dtype, device=part.device)
            found[where] = part
        assert found is not None
        return found

    def at(self, places: Pixels) -> Tensor:
        tiling = self.refiner.tiling
        which = np.array([tiling.at(x, y) for x, y in places.tolist()], np.int64)
        found = torch.empty(
            len(places), dtype=self.refiner.first_crop.image.dtype, device=self.refiner.first_crop.image.device
        )
        for place in np.unique(which).tolist():
            within = which == place
            found[torch.from_numpy(within)] = self._tile(place).at(places[within]).to(found)
        return found

    def _tile(self, place: int) -> NetworkLayer:
        crop, plain = self.refiner.plain_of(place)
        odds = self.refiner.net.network.log_odds(plain, self.target, crop.image)
        return NetworkLayer(odds, crop.view, crop.window)


def open_refiner(net: Wrapped, picture: Picture, tile: object) -> Refiner:
    """The refiner of a picture: in tiles where it is large, or that is asked for."""
    side = tile_side(tile, picture.size, net.spec.resolution)
    return Refiner(net, picture) if side is None else TiledRefiner(net, picture, side)
