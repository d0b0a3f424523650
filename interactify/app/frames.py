"""Masks on their way to the page: of each layer the region that changed, as a PNG, behind one header of JSON.

A frame is the header's length (4 bytes, big-endian), the header, and the contents of its "parts" one after the other.
A mask in the viewport, which is sent before the whole mask, comes as runs: a page draws them faster than a PNG.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from interactify.pictures.bare_png import INDEXED, bare_png
from interactify.pictures.window import Window, extent_of, whole

MAX_REGION: Final = 0.4  # of a photo: a larger region is sent as the whole mask, which the page draws without merging


@dataclass(frozen=True)
class Part:
    """A region of a layer: of an object's mask ("object"), of the map of classes ("classes"), or of the "viewport".

    Attributes:
        layer: one of these three.
        name: the object's name; "" for classes.
        box: the region.
        content: a PNG; for the viewport, the runs of every `step`-th row and column of the box.
        step: photo pixels from one row or column to the next.
        changed: for the viewport, where the mask may differ from the one that was sent before.
    """

    layer: str
    name: str
    box: Window
    content: bytes
    step: int = 1
    changed: Window | None = None

    def header(self) -> dict[str, Any]:
        """The part's entry in the frame's header."""
        entry = {"layer": self.layer, "name": self.name, "box": _corner_and_sides(self.box), "bytes": len(self.content)}
        if self.changed is not None:
            entry |= {"step": self.step, "changed": _corner_and_sides(self.changed)}
        return entry


def _corner_and_sides(box: Window) -> list[int]:
    return [box.left, box.top, box.width, box.height]


def frame(header: Mapping[str, Any], parts: Sequence[Part]) -> bytes:
    """A header and its parts as bytes."""
    text = json.dumps({**header, "parts": [part.header() for part in parts]}).encode()
    return b"".join((struct.pack(">I", len(text)), text, *(part.content for part in parts)))


def read_frames(content: bytes) -> list[tuple[dict[str, Any], list[bytes]]]:
    """The frames in a response, each as header and contents: for clients other than the page, which does the same.

    >>> read_frames(frame({"kind": "done"}, []))
    [({'kind': 'done', 'parts': []}, [])]
    """
    found = []
    while content:
        (length,) = struct.unpack(">I", content[:4])
        header, content = json.loads(content[4 : 4 + length]), content[4 + length :]
        parts = []
        for part in header["parts"]:
            parts.append(content[: part["bytes"]])
            content = content[part["bytes"] :]
        found.append((header, parts))
    return found


def mask_part(name: str, mask: NDArray[np.bool_], before: NDArray[np.bool_] | None) -> Part | None:
    """The region of an object's mask (H, W) that differs from `before`; the whole mask where that is None.

    Returns None where nothing differs.

    >>> mask = np.zeros((40, 60), bool)
    >>> mask[10:20, 30:50] = True
    >>> part = mask_part("cup", mask, np.zeros((40, 60), bool))
    >>> part.box, mask_part("cup", mask, mask)
    (Window(top=10, left=30, height=10, width=20), None)
    """
    full = whole(mask.shape[:2])
    box = full if before is None else extent_of(mask != before)
    if box is not None and box.height * box.width > MAX_REGION * mask.size:
        box = full
    return None if box is None else Part("object", name, box, stencil(mask[box.slices]))


def class_part(classes: NDArray[np.uint8], before: NDArray[np.uint8] | None, palette: bytes, clear: int) -> Part | None:
    """The same for a map of classes (H, W), in the colours of `palette` (3 bytes each); `clear` is transparent."""
    box = whole(classes.shape[:2]) if before is None else extent_of(classes != before)
    if box is None:
        return None
    alpha = bytes(0 if k == clear else 255 for k in range(len(palette) // 3))
    return Part(
        "classes", "", box, bare_png(classes[box.slices], box.width, INDEXED, (b"PLTE", palette), (b"tRNS", alpha))
    )


def stencil(mask: NDArray[np.bool_]) -> bytes:
    """A PNG of 1 bit a pixel, opaque in the mask and transparent elsewhere, so that a page draws with it directly.

    >>> import io
    >>> from PIL import Image
    >>> np.asarray(Image.open(io.BytesIO(stencil(np.eye(3, dtype=bool))))).tolist()
    [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    """
    colours = (b"PLTE", b"\xff" * 6), (b"tRNS", b"\x00\xff")
    return bare_png(np.packbits(mask, axis=1), mask.shape[1], INDEXED, *colours, bits=1)


def runs(mask: NDArray[np.bool_]) -> bytes:
    """The lengths of a mask's (H, W) runs, row after row: outside, inside, outside …; uint32, little-endian.

    >>> np.frombuffer(runs(np.array([[False, True, True], [True, False, False]])), "<u4").tolist()
    [1, 3, 2]
    """
    flat = mask.reshape(-1)
    turns = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    return np.diff(np.concatenate(([0] if not flat[0] else [0, 0], turns, [flat.size]))).astype("<u4").tobytes()
