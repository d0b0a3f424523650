"""One small picture in every form that a photo may come in, and an array that remembers what was read of it."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from interactify.window import Window

COLOURS = np.random.default_rng(0).integers(0, 256, (37, 53, 3), dtype=np.uint8)
RGBA = np.random.default_rng(1).integers(0, 256, (37, 53, 4), dtype=np.uint8)
GREY = COLOURS[..., 0]
DEEP = COLOURS.astype(np.uint16) * 257 + 3
FLOATS = np.random.default_rng(2).random((37, 53, 3)) * 1.001 - 0.0005  # a rounding beyond both ends


class Sliced:
    """An array somewhere else: knows its shape and type, is read by slicing, and remembers what was read."""

    def __init__(self, array, chunks=None):
        self.array, self.shape, self.dtype, self.chunks = array, array.shape, array.dtype, chunks
        self.windows = []

    def __getitem__(self, index):
        assert len(index) == self.array.ndim and all(isinstance(each, slice) for each in index)
        rows, columns = index[:2]
        self.windows.append(Window(rows.start, columns.start, rows.stop - rows.start, columns.stop - columns.start))
        return self.array[index]

    def counts(self):
        """How often each pixel was read."""
        read = np.zeros(self.shape[:2], int)
        for window in self.windows:
            read[window.slices] += 1
        return read


def in_file(array):
    def make(folder):
        Image.fromarray(array).save(folder / "photo.png")
        return folder / "photo.png"

    return make


def in_memmap(array, mode="r"):
    def make(folder):
        np.save(folder / "photo.npy", array)
        return np.load(folder / "photo.npy", mmap_mode=mode)

    return make


def in_zarr(array):
    def make(folder):
        zarr, chunks = pytest.importorskip("zarr"), (16, 16, 3)[: array.ndim]
        made = zarr.open(str(folder / "photo.zarr"), mode="w", shape=array.shape, dtype=array.dtype, chunks=chunks)
        made[:] = array
        return made

    return make


def first(array):
    return torch.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1)))


FORMS = {  # how a photo is given, and what read_photo is given to compare with
    "file": (in_file(COLOURS), COLOURS),
    "transparent file": (in_file(RGBA), RGBA),
    "16-bit file": (in_file(DEEP[..., 0]), DEEP[..., 0]),
    "PIL L": (lambda _: Image.fromarray(GREY), GREY),
    "PIL F": (lambda _: Image.fromarray(GREY / np.float32(255)), GREY / np.float32(255)),
    "PIL 1": (lambda _: Image.fromarray(GREY > 99), GREY > 99),
    "uint8": (lambda _: COLOURS, COLOURS),
    "grey": (lambda _: GREY[..., None], GREY),
    "RGBA": (lambda _: RGBA, RGBA),
    "uint16": (lambda _: DEEP, DEEP),
    "big-endian": (lambda _: DEEP.astype(">u2"), DEEP),
    "bool": (lambda _: GREY > 99, GREY > 99),
    "float16": (lambda _: FLOATS.astype(np.float16), FLOATS.astype(np.float16)),
    "float32": (lambda _: FLOATS.astype(np.float32), FLOATS.astype(np.float32)),
    "float64": (lambda _: FLOATS, FLOATS),
    "Fortran": (lambda _: np.asfortranarray(COLOURS), COLOURS),
    "backwards": (lambda _: COLOURS[::-1, ::2], COLOURS[::-1, ::2]),
    "tensor": (lambda _: first(COLOURS), first(COLOURS)),
    "grey tensor": (lambda _: torch.from_numpy(GREY.copy()), GREY),
    "uint16 tensor": (lambda _: first(DEEP), first(DEEP)),
    "bfloat16 tensor": (lambda _: first(FLOATS).bfloat16(), first(FLOATS).bfloat16()),
    "float64 tensor": (lambda _: first(FLOATS).requires_grad_(), first(FLOATS)),
    "memmap": (in_memmap(COLOURS), COLOURS),
    "view of a memmap": (lambda folder: np.asarray(in_memmap(RGBA)(folder))[::2, :, :3], RGBA[::2, :, :3]),
    "grey memmap": (in_memmap(GREY), GREY),
    "float64 memmap": (in_memmap(FLOATS), FLOATS),
    "big-endian memmap": (in_memmap(DEEP.astype(">u2"), "r+"), DEEP),
    "zarr": (in_zarr(COLOURS), COLOURS),
    "grey zarr": (in_zarr(DEEP[..., 1]), DEEP[..., 1]),
    "sliced": (lambda _: Sliced(RGBA, ((8, 8, 21), (50, 3), (4,))), RGBA),
    "sliced, one layer": (lambda _: Sliced(FLOATS[..., :1]), FLOATS[..., :1]),
}


def png_of(width: int, height: int) -> bytes:
    """The header of a PNG that claims a size, and a byte of pixels."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")
