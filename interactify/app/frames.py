"""Masks on their way to the page: of each layer the region that changed, as a PNG, behind one header of JSON.

A frame is the header's length (4 bytes, big-endian), the header, and the PNGs of its "parts" one after the other.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from interactify.window import Window, extent_of, whole

FAST: Final = 1  # zlib's level: the way is short, and a mask's rows are alike
MOST_OF_IT: Final = (
    0.4  # of a photo: a region beyond is sent as all of it, which the page need not lay over what it has
)


@dataclass(frozen=True)
class Part:
    """A region of a layer: of an object's mask ("object"), or of the map of classes ("classes")."""

    layer: str
    name: str
    box: Window
    png: bytes

    def header(self) -> dict[str, Any]:
        """What the page is told of it."""
        box = [self.box.left, self.box.top, self.box.width, self.box.height]
        return {"layer": self.layer, "name": self.name, "box": box, "bytes": len(self.png)}


def frame(header: Mapping[str, Any], parts: Sequence[Part]) -> bytes:
    """A header and its parts, as they are sent."""
    text = json.dumps({**header, "parts": [part.header() for part in parts]}).encode()
    return b"".join((struct.pack(">I", len(text)), text, *(part.png for part in parts)))


def read_frames(content: bytes) -> list[tuple[dict[str, Any], list[bytes]]]:
    """The frames in what was sent: what the page does too, for those who speak to the server without one.

    >>> read_frames(frame({"kind": "done"}, []))
    [({'kind': 'done', 'parts': []}, [])]
    """
    found = []
    while content:
        (length,) = struct.unpack(">I", content[:4])
        header, content = json.loads(content[4 : 4 + length]), content[4 + length :]
        pngs = []
        for part in header["parts"]:
            pngs.append(content[: part["bytes"]])
            content = content[part["bytes"] :]
        found.append((header, pngs))
    return found


def mask_part(name: str, mask: NDArray[np.bool_], before: NDArray[np.bool_] | None) -> Part | None:
    """What of an object's mask (H, W) differs from what was sent; all of it where nothing was; None where nothing does.

    >>> mask = np.zeros((40, 60), bool)
    >>> mask[10:20, 30:50] = True
    >>> part = mask_part("cup", mask, np.zeros((40, 60), bool))
    >>> part.box, mask_part("cup", mask, mask)
    (Window(top=10, left=30, height=10, width=20), None)
    """
    all_of_it = whole(mask.shape[:2])
    box = all_of_it if before is None else extent_of(mask != before)
    if box is not None and box.height * box.width > MOST_OF_IT * mask.size:
        box = all_of_it
    return None if box is None else Part("object", name, box, stencil(mask[box.slices]))


def class_part(classes: NDArray[np.uint8], before: NDArray[np.uint8] | None, palette: bytes, clear: int) -> Part | None:
    """The same of a map of classes (H, W), in the colours of `palette` (3 bytes each); class `clear` is transparent."""
    box = whole(classes.shape[:2]) if before is None else extent_of(classes != before)
    if box is None:
        return None
    alpha = bytes(0 if k == clear else 255 for k in range(len(palette) // 3))
    return Part("classes", "", box, _png(classes[box.slices], 8, box, palette, alpha))


def stencil(mask: NDArray[np.bool_]) -> bytes:
    """A PNG of 1 bit a pixel, opaque where the mask is and transparent elsewhere: a page draws with it as it is.

    >>> import io
    >>> from PIL import Image
    >>> np.asarray(Image.open(io.BytesIO(stencil(np.eye(3, dtype=bool))))).tolist()
    [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    """
    height, width = mask.shape
    return _png(np.packbits(mask, axis=1), 1, Window(0, 0, height, width), b"\xff" * 6, b"\x00\xff")


def _png(rows: NDArray[np.uint8], bits: int, box: Window, palette: bytes, alpha: bytes) -> bytes:
    """An indexed PNG; each row of `rows` has the bytes of a row of pixels."""
    lines = np.zeros((rows.shape[0], rows.shape[1] + 1), np.uint8)  # a byte before each row: unfiltered
    lines[:, 1:] = rows
    size = struct.pack(">IIBBBBB", box.width, box.height, bits, 3, 0, 0, 0)
    pixels = zlib.compress(lines.tobytes(), FAST)
    chunks = ((b"IHDR", size), (b"PLTE", palette), (b"tRNS", alpha), (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, content) for name, content in chunks)


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
