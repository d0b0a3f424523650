"""A photo of any size, read through windows: only the window becomes floats, and only at the size that is needed.

A photo in memory keeps its own type, a quarter of the memory of floats. An array on disk (NumPy's memmap, Zarr, HDF5,
or anything that slices as they do) stays there: even of 30000 × 30000 pixels at most 32 MB are read at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interactify.errors import OptionError, PhotoError, warn_renamed
from interactify.pictures.arrays import check_channels, colours_of
from interactify.pictures.block_resize import BlockResize
from interactify.pictures.decode import PhotoLike, fit_channels
from interactify.pictures.digests import source_digest, tensors_digest
from interactify.pictures.resize_pad import View
from interactify.pictures.sources import LazyArray, PartSource, Source, source_of
from interactify.pictures.value_range import ValueRange, checked_value_range, dim_note
from interactify.pictures.window import Window, whole

SMALL = 4_000_000  # pixels: a window up to this size is read as floats at once
_STRIP = 4 * 2**20  # bytes of floats computed at a time, to fit into the processor's cache


def open_picture(photo: PictureLike, channels: int = 3, *, value_range: ValueRange | None = None) -> Picture:
    """Open a photo in any form that `read_photo` takes, or an array that is read window by window.

    Such an array has `shape`, `dtype` and slicing `array[rows, columns]` or `array[rows, columns, channels]` to
    something that NumPy can read, and is (H, W), (H, W, 1), (H, W, 3), (H, W, 4) or (H, W, channels): a numpy.memmap or
    a view of one, an array of Zarr, a dataset of HDF5, an array of Dask. It must not change while open. Everything
    else is copied. A Picture of as many channels is returned unchanged.

    Args:
        photo: the photo, as in `read_photo`, or the array.
        channels: of the network; grey becomes colour and colour grey as in `read_photo`.
        value_range: (low, high), the values that are black and white, as in `read_photo`; by default those of the type.

    Raises:
        PhotoError: as `read_photo`, but an array's values are checked only where they are read.
        OptionError: for `channels` below 1, an invalid range, or a Picture that was opened with another one.

    >>> picture = open_picture(np.full((600, 800, 3), 51, np.uint8))
    >>> picture, picture.read(Window(10, 20, 2, 3)).shape
    (Picture(800x600 pixels, 3 channels), torch.Size([3, 2, 3]))
    >>> open_picture(np.full((600, 800), 900, np.int16), value_range=(-1000, 1000))
    Picture(800x600 pixels, 3 channels, values from -1000 to 1000)
    """
    check_channels(channels)
    stated = checked_value_range(value_range)
    if not isinstance(photo, Picture):
        return Picture(source_of(photo, channels, stated), channels, stated)
    if photo.channels != channels:
        raise OptionError(
            f"Expected a picture of {channels} channels, got {photo}. Try open_picture(photo, {channels})."
        )
    if stated is not None and photo.value_range != stated:
        raise OptionError(
            f"Expected a picture opened with value_range={stated}, got {photo}. Try "
            f"open_picture(photo, {channels}, value_range={stated})."
        )
    return photo


def drawing_of(photo: PictureLike, channels: int = 3, value_range: ValueRange | None = None) -> NDArray[np.uint8]:
    """A photo as (H, W, 3) uint8 to draw on, as a network of so many channels sees it, but colours stay colours.

    Raises:
        PhotoError, OptionError: as `open_picture`.

    >>> drawing_of(np.full((60, 80), 4095, np.uint16), channels=1, value_range=(0, 4095))[0, 0].tolist()
    [255, 255, 255]
    """
    return open_picture(photo, 3 if channels == 1 else channels, value_range=value_range).uint8()


class Picture:
    """A photo of `size` (H, W) in `channels` channels. Created by `open_picture`.

    Attributes:
        value_range: the values that are black and white, where the user named them; else None.
    """

    def __init__(self, source: Source, channels: int, value_range: ValueRange | None = None) -> None:
        self.channels = channels
        self.value_range = value_range
        self._source = source

    @property
    def size(self) -> tuple[int, int]:
        """(H, W), in pixels."""
        return self._source.size

    def read(self, window: Window) -> Tensor:
        """A window of the photo, (C, h, w) float32 in [0, 1], new memory: equal to `read_photo` there, to the bit.

        Raises PhotoError for a window that is not within the photo, and for an array that can't be read there, or has
        values that are NaN or out of range there.
        """
        return self._floats(self._source.raw(self._within(window)))

    def to_network(self, window: Window, view: View) -> Tensor:
        """A window resized and padded to a network's input, (1, C, h', w') float32 in [0, 1]; raises as `read`.

        Equal to `view.to_network(picture.read(window))`: to the bit up to 4 megapixels, beyond to within rounding.
        Every pixel is read, but only a block of them is in memory at a time.

        >>> picture = open_picture(np.full((3000, 2000), 51, np.uint8))
        >>> image = picture.to_network(Window(0, 0, 3000, 2000), View.fit((3000, 2000), resolution=96, divisor=32))
        >>> image.shape, round(image.mean().item(), 6)
        (torch.Size([1, 3, 96, 64]), 0.2)
        """
        pixels, resized = (high * wide for high, wide in ((window.height, window.width), view.content_size))
        if view.photo_size != (window.height, window.width):
            raise PhotoError(f"Expected a view of {window}, got {view}. Try View.fit for it.")
        if pixels <= max(SMALL, resized):
            return view.to_network(self.read(window))
        shrinking = BlockResize(view.photo_size, view.content_size, self.channels)
        for block in self._source.blocks(self._within(window)):
            shrinking.add(block.relative_to(window), self._strips(block))
        content = shrinking.content.clamp_(0, 1)  # rounding errors may exceed 1
        return replace(view, photo_size=view.content_size).to_network(content)

    def seen(self, window: Window, view: View) -> Tensor:
        """The old name of `to_network`."""
        warn_renamed("Picture.seen", "Picture.to_network")
        return self.to_network(window, view)

    def uint8(self, window: Window | None = None) -> NDArray[np.uint8]:
        """A window of the photo, or all of it, as a new (h, w, 3) uint8 array to draw on; raises as `read`.

        Of one or two channels the first is used as grey; of more than three the first three are used.
        """
        window = self._within(whole(self.size) if window is None else window)
        drawn = np.empty((window.height, window.width, 3), np.uint8)
        for block in self._source.blocks(window):
            self._draw(block, drawn[block.relative_to(window).slices])
        return drawn

    def _draw(self, block: Window, drawn: NDArray[np.uint8]) -> None:
        if self.channels == self._source.depth == 3 and self._source.levels == (0, 255):  # the source's own values
            drawn[...] = self._source.raw(block).permute(1, 2, 0).numpy()
            return
        row = 0
        for strip in self._raw_strips(block):
            values = strip.to(torch.float32).permute(1, 2, 0).numpy()
            drawn[row : row + len(values)] = colours_of(values, self.channels, self._source.levels)
            row += len(values)

    def part(self, window: Window) -> Picture:
        """A window of this picture as a picture of its own; it shares this one's memory or array.

        Raises PhotoError for a window that is not within the photo.

        >>> open_picture(np.full((600, 800, 3), 51, np.uint8)).part(Window(10, 20, 200, 300))
        Picture(300x200 pixels, 3 channels)
        """
        return Picture(PartSource(self._source, self._within(window)), self.channels, self.value_range)

    def digest(self) -> str:
        """A text that identifies this photo; raises as `read`.

        Up to 4 megapixels it is the digest of the photo as floats, whatever form it had. Beyond, it is that of the
        source's own values: the same photo in another type (uint8, float32) has another digest. Of an array on disk of
        more than 64 megapixels only 64 blocks are read, see `interactify.pictures.digests.source_digest`.
        """
        return self._digested() if self._source.may_change else self._digest

    @cached_property
    def _digest(self) -> str:
        return self._digested()

    def _digested(self) -> str:
        if self.size[0] * self.size[1] <= SMALL:
            return tensors_digest([self.read(whole(self.size))])
        return source_digest(self._source)

    def dim_note(self) -> str:
        """What to say where only the lower of its 16 bits are used, so that it is nearly black; "" otherwise.

        Of an array on disk only what was read so far is known.

        >>> open_picture(np.full((60, 80), 3000, np.uint16)).dim_note()[:44]
        'The photo has 16 bits and no value above 409'
        """
        return "" if self.value_range is not None else dim_note(self._source.highest, self._source.levels)

    def __repr__(self) -> str:
        low, high = self.value_range or (0, 0)
        values = f", values from {low:g} to {high:g}" if self.value_range else ""
        return f"Picture({self.size[1]}x{self.size[0]} pixels, {self.channels} channels{values})"

    def _within(self, window: Window) -> Window:
        right, bottom = window.left + window.width, window.top + window.height
        inside = 0 <= window.top < bottom <= self.size[0] and 0 <= window.left < right <= self.size[1]
        if not inside:
            raise PhotoError(f"Expected a window within {self.size[1]} x {self.size[0]} pixels, got {window}.")
        return window

    def _floats(self, raw: Tensor) -> Tensor:
        floats = raw.to(torch.float32, memory_format=torch.contiguous_format, copy=True)
        return fit_channels(floats, self.channels, self._source.levels)

    def _strips(self, block: Window) -> Iterator[Tensor]:
        """A block of the photo as float strips (C, r, w), from top to bottom."""
        return map(self._floats, self._raw_strips(block))

    def _raw_strips(self, block: Window) -> Iterator[Tensor]:
        """The same in the source's own type and channels, (c, r, w)."""
        raw = self._source.raw(block)
        yield from raw.split(max(1, _STRIP // (4 * max(self.channels, raw.shape[0]) * block.width)), dim=1)


PictureLike: TypeAlias = PhotoLike | LazyArray | Picture
