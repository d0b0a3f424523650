"""PNG files made from rows of bytes, by the standard library: for a client without Pillow, and faster than it is.

The format: https://www.w3.org/TR/png-3/.
"""

from __future__ import annotations

import struct
import zlib
from typing import Final

import numpy as np
from numpy.typing import NDArray

LEVEL: Final = 1  # of compression, the fastest
GREY, RGB, INDEXED, RGBA = 0, 2, 3, 6  # colour types


def bare_png(rows: NDArray[np.uint8], width: int, colour: int, *chunks: tuple[bytes, bytes], bits: int = 8) -> bytes:
    """A PNG whose rows of pixels are the rows of `rows`, (H, bytes) uint8, unfiltered.

    Args:
        rows: each as the format packs it.
        width: in pixels.
        colour: the colour type.
        chunks: others between the header and the pixels, such as a palette: name and content.
        bits: of each value.

    >>> bare_png(np.zeros((2, 9), np.uint8), 3, RGB)[1:4]
    b'PNG'
    """
    lines = np.zeros((rows.shape[0], rows.shape[1] + 1), np.uint8)  # a byte before each row: no filter
    lines[:, 1:] = rows
    header = struct.pack(">IIBBBBB", width, rows.shape[0], bits, colour, 0, 0, 0)
    every = ((b"IHDR", header), *chunks, (b"IDAT", zlib.compress(lines.tobytes(), LEVEL)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, content) for name, content in every)


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
