"""A volume's slices as grey pictures: what lies between two values, the window, is drawn from black to white."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from interactify.app.volumes.planes import Cut, Plane, planes_of
from interactify.errors import OptionError
from interactify.pictures.bare_png import GREY, RGB, bare_png
from interactify.pictures.value_range import ValueRange, checked_value_range
from interactify.slices.planes import Planes
from interactify.volumes.volume import Volume

SHARES: Final = (0.5, 99.5)  # percent of the voxels that are black and white at the start
SLICES, SIDE = 16, 128  # of the sample from which that is estimated


@dataclass(frozen=True)
class ShownVolume:
    """A volume as the page shows it. Reads one slice at a time.

    Attributes:
        volume: the volume.
        planes: the ways to cut it.
        window: the values that are black and white at the start.
        extent: the least and the greatest value that the window may begin and end with.
    """

    volume: Volume
    planes: tuple[Plane, ...]
    window: ValueRange
    extent: ValueRange

    @classmethod
    def of(cls, volume: Volume, value_range: ValueRange | None = None) -> ShownVolume:
        """A volume whose window is `value_range`, or else leaves out half a percent of its voxels at both ends.

        >>> shown = ShownVolume.of(Volume(np.arange(60.0).reshape(3, 4, 5)))
        >>> shown.extent, shown.grey(Cut(shown.planes[0], 0)).shape
        ((0.0, 59.0), (4, 5))
        """
        sample = _sample(volume)
        least, most = (float(each) for each in (sample.min(), sample.max())) if sample.size else (0.0, 1.0)
        window = value_range or volume.value_range
        if window is None:
            low, high = (float(each) for each in np.percentile(sample, SHARES)) if sample.size else (0.0, 1.0)
            window = (low, high) if low < high else (least, most) if least < most else (least - 0.5, least + 0.5)
        return cls(volume, planes_of(volume), window, (min(least, window[0]), max(most, window[1])))

    def grey(self, cut: Cut, window: ValueRange | None = None) -> NDArray[np.uint8]:
        """The picture of a slice, (H, W) uint8; (H, W, 3) of three channels of bytes, which are colours.

        Of other channels the first one is drawn.
        """
        values = Planes(self.volume, cut.plane.axis).photo(cut.index)
        if values.ndim == 3 and not (values.shape[2] == 3 and values.dtype == np.uint8):
            values = values[..., 0]
        if values.ndim == 3:
            return np.ascontiguousarray(cut.plane.drawn(values))
        low, high = window or self.window
        with np.errstate(all="ignore"):  # any window may be asked for
            scaled = np.nan_to_num(
                (values.astype(np.float32) - np.float32(low)) * np.float32(255 / (high - low)), nan=0.0
            )
        return np.ascontiguousarray(cut.plane.drawn(scaled.clip(0, 255).round().astype(np.uint8)))

    def png(self, cut: Cut, window: ValueRange | None = None) -> bytes:
        """The same as a PNG."""
        grey = self.grey(cut, window)
        return bare_png(grey.reshape(grey.shape[0], -1), grey.shape[1], GREY if grey.ndim == 2 else RGB)

    def thumbnail(self, longest: int) -> Image.Image:
        """The middle slice, with sides of at most `longest` pixels."""
        plane = self.planes[0]
        image = Image.fromarray(self.grey(Cut(plane, plane.count // 2))).convert("RGB")
        image.thumbnail((longest, longest))
        return image

    def to_json(self) -> dict[str, Any]:
        """What the page needs to know of it."""
        planes = [plane.to_json() for plane in self.planes]
        return {"planes": planes, "window": self.window, "extent": self.extent, "colours": self._is_coloured}

    @property
    def _is_coloured(self) -> bool:
        return self.volume.channels == 3 and self.volume.array.dtype == np.uint8


def read_window(text: str | None) -> ValueRange | None:
    """Read the values that are black and white, "low,high"; None where there are none.

    Raises:
        OptionError: the text is something else.

    >>> read_window("-160,240")
    (-160.0, 240.0)
    """
    if text is None:
        return None
    try:
        return checked_value_range([float(word) for word in text[:80].split(",")])
    except (ValueError, OptionError) as cause:
        raise OptionError(f"Expected window=low,high, two numbers with low below high, got {text[:80]!r}.") from cause


def _sample(volume: Volume) -> NDArray[np.float32]:
    """Some voxels of the first channel, from slices that lie evenly in the volume."""
    depth, height, width = volume.size
    found = []
    for index in np.unique(np.linspace(0, depth - 1, min(depth, SLICES)).round().astype(int)):
        values = Planes(volume, 0).photo(int(index))
        values = values[..., 0] if values.ndim == 3 else values
        found.append(values[:: -(-height // SIDE), :: -(-width // SIDE)].astype(np.float32).reshape(-1))
    sample = np.concatenate(found)
    return sample[np.isfinite(sample)]
