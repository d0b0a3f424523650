"""Sources of a picture's values: memory, in their own type, or an array that is read window by window."""

from __future__ import annotations

import mmap
import operator
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from interactify.errors import PhotoError
from interactify.pictures.arrays import array_levels, described
from interactify.pictures.decode import decoded
from interactify.pictures.value_range import ValueRange, check_floats, mapped, mapped_at_once
from interactify.pictures.window import Window
from interactify.plain_array import plain_array

BLOCK = 32 * 2**20  # bytes read at a time, in the array's own type


class LazyArray(Protocol):
    """An array that is read window by window: of Zarr, HDF5 or Dask, or any object that slices as they do."""

    @property
    def shape(self) -> Any: ...

    @property
    def dtype(self) -> Any: ...

    def __getitem__(self, index: Any, /) -> Any: ...


class Source(ABC):
    """A picture of `size` (H, W) and `depth` channels, read in pieces of its own type.

    `levels` are its values for black and white. `chunk` (rows, columns) can't be read in part: blocks are cut along its
    borders.
    """

    size: tuple[int, int]
    depth: int
    levels: ValueRange
    itemsize: int
    chunk: tuple[int, int]
    may_change = False  # whether its values may change while it is open

    @abstractmethod
    def raw(self, window: Window) -> Tensor:
        """The window's values, (depth, h, w), checked: bool, whole numbers of up to 16 bits, or floats of up to 32."""

    @property
    @abstractmethod
    def highest(self) -> float | None:
        """The greatest value read so far of a picture of unsigned 16 bits; None for others, and before the first."""

    def blocks(self, window: Window, *, full_width: bool = False) -> Iterator[Window]:
        """Windows of at most 32 MB, from top left to bottom right, that together cover this one; or full-width strips.

        A chunk is cut only if it is larger than that.
        """
        limit = max(1, BLOCK // (self.depth * self.itemsize))  # pixels
        high, wide = (min(part, side) for part, side in zip(self.chunk, self.size, strict=True))
        if full_width:
            wide = self.size[1]
        elif high * wide > limit:
            wide = min(wide, limit)
        else:
            wide *= max(1, limit // (high * wide))
        fitting = max(1, limit // min(wide, window.width))
        high = fitting if fitting < high else fitting // high * high
        for top, bottom in _cuts(window.top, window.top + window.height, high):
            for left, right in _cuts(window.left, window.left + window.width, wide):
                yield Window(top, left, bottom - top, right - left)


class ArraySource(Source):
    """A picture in memory: its own copy, (c, H, W), in any memory order."""

    def __init__(self, photo: Any, channels: int, value_range: ValueRange | None = None) -> None:
        pixels, self.levels = decoded(photo, channels, value_range)
        if isinstance(pixels, Tensor):
            dtype = torch.float32 if pixels.dtype == torch.float64 else pixels.dtype
            self._pixels = pixels.to("cpu", dtype, copy=True)
        else:
            self._pixels = torch.from_numpy(pixels.astype(_storage_dtype(pixels.dtype), order="C")).permute(2, 0, 1)
        self.depth, *sides = self._pixels.shape
        self.size = (sides[0], sides[1])
        self.itemsize = self._pixels.element_size()
        self.chunk = (1, sides[1])

    def raw(self, window: Window) -> Tensor:
        rows, columns = window.slices
        return self._pixels[:, rows, columns]

    @property
    def highest(self) -> float | None:
        # Through NumPy: torch finds no greatest value of uint16.
        return float(self._pixels.numpy().max()) if self._pixels.dtype == torch.uint16 else None


class LazySource(Source):
    """An array (H, W) or (H, W, c) that is read by slicing, never as a whole."""

    may_change = True

    def __init__(self, array: Any, channels: int, value_range: ValueRange | None = None) -> None:
        try:
            shape = tuple(operator.index(side) for side in array.shape)
            dtype = np.dtype(array.dtype)
        except Exception as problem:  # the array's own code
            raise PhotoError(
                f"Expected a photo, got {type(array).__name__}, whose shape and dtype are not those of an array "
                f"({problem}). Try an (H, W) or (H, W, C) array that slices as NumPy's do."
            ) from problem
        levels = array_levels(shape, dtype, channels, value_range)
        self._at_once = levels if value_range is not None and mapped_at_once(dtype) else None
        self.levels = levels if self._at_once is None else (0.0, 1.0)
        self._stated = value_range
        self._highest: float | None = None
        self.size = (shape[0], shape[1])
        self.depth = shape[2] if len(shape) == 3 else 1
        self.itemsize = dtype.itemsize
        self.chunk = _chunk(array, shape)
        self._array, self._shape, self._dtype = array, shape, dtype

    def raw(self, window: Window) -> Tensor:
        (rows, columns), array = window.slices, described(self._shape, self._dtype)
        where = f"Rows {rows.start} to {rows.stop} and columns {columns.start} to {columns.stop} of {array}"
        try:
            part = self._array[(rows, columns, slice(0, self.depth))[: len(self._shape)]]
            read = np.asarray(plain_array(part, "a photo", PhotoError))
        except (MemoryError, PhotoError):
            raise
        except Exception as problem:  # the array's own code: a file, a store, a network
            raise PhotoError(
                f"{where}: expected values, got {type(problem).__name__}: {problem}. Try to open the array again."
            ) from problem
        expected = (window.height, window.width, self.depth)[: len(self._shape)]
        if read.shape != expected or (read.dtype.kind, read.dtype.itemsize) != (self._dtype.kind, self._dtype.itemsize):
            raise PhotoError(
                f"{where}: expected shape {expected} and type {self._dtype}, got {read.shape} and {read.dtype}. "
                "Try an array that slices as NumPy's do."
            )
        if read.dtype.kind == "f":
            check_floats(float(read.min()), float(read.max()), array, self._stated)
        if read.dtype.kind == "u" and read.dtype.itemsize == 2:
            self._highest = max(self._highest or 0.0, float(read.max()))
        if self._at_once is not None:
            read = mapped(read, self._at_once)
        # A copy: mapped memory may be read-only, or change.
        own = np.array(read, dtype=_storage_dtype(read.dtype), order="C").reshape(
            window.height, window.width, self.depth
        )
        return torch.from_numpy(own).permute(2, 0, 1)

    @property
    def highest(self) -> float | None:
        return self._highest


class PartSource(Source):
    """A window of another source, whose values it shares."""

    def __init__(self, of: Source, window: Window) -> None:
        self.size = (window.height, window.width)
        self.depth, self.levels, self.itemsize, self.chunk = of.depth, of.levels, of.itemsize, of.chunk
        self.may_change = of.may_change
        self._of, self._window = of, window

    def raw(self, window: Window) -> Tensor:
        return self._of.raw(self._moved(window, 1))

    @property
    def highest(self) -> float | None:
        return self._of.highest

    def blocks(self, window: Window, *, full_width: bool = False) -> Iterator[Window]:
        for block in self._of.blocks(self._moved(window, 1), full_width=full_width):
            yield self._moved(block, -1)

    def _moved(self, window: Window, sign: int) -> Window:
        return replace(window, top=window.top + sign * self._window.top, left=window.left + sign * self._window.left)


def source_of(photo: Any, channels: int, value_range: ValueRange | None = None) -> Source:
    """The source of a photo of any form.

    Raises PhotoError for anything but a photo in the sense of `read_photo` or an object with shape, dtype and slicing.
    """
    kind = LazySource if _is_lazy(photo) else ArraySource
    return kind(photo, channels, value_range)


def _is_lazy(photo: Any) -> bool:
    """Whether a photo is an array that is not in memory."""
    if isinstance(photo, (np.ndarray, Tensor)):
        return _is_memory_mapped(photo)
    try:
        return all(hasattr(photo, name) for name in ("shape", "dtype", "__getitem__"))
    except Exception:  # the property exists but fails: LazySource reports it
        return True


def _is_memory_mapped(array: object) -> bool:
    """Whether an array's memory is a file's: numpy.memmap, and any view of one."""
    while isinstance(array, (np.ndarray, memoryview)):
        array = array.base if isinstance(array, np.ndarray) else array.obj
    return isinstance(array, mmap.mmap)


def _storage_dtype(dtype: np.dtype) -> np.dtype:
    """The type to store values in: anything finer than a float32 is rounded to float32 later anyway."""
    return np.dtype(np.float32) if dtype.kind == "f" and dtype.itemsize > 4 else dtype.newbyteorder("=")


def _chunk(array: Any, shape: tuple[int, ...]) -> tuple[int, int]:
    """The rows and columns that an array reads at once, by its `chunks`: ints (Zarr, HDF5) or tuples of them (Dask)."""
    try:
        rows, columns = (operator.index(side[0] if isinstance(side, tuple) else side) for side in array.chunks[:2])
    except Exception:  # no chunks, or unknown ones: full rows suit most arrays
        return 1, shape[1]
    return max(1, rows), max(1, columns)


def _cuts(start: int, stop: int, step: int) -> Iterator[tuple[int, int]]:
    """Parts of start to stop between the multiples of step."""
    edges = [start, *range((start // step + 1) * step, stop, step), stop]
    return pairwise(edges)
