"""Pictures of maps of numbers: the photo with its clicks, the map before and after, the truth, and both errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

GAP = 4
TITLES = ("clicks", "before", "after", "truth", "error before", "error after")
Row = tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], list[tuple[int, int]]]
"""A picture (H, W, 3), the truth, the map before, the map after, and clicks (x, y)."""


def picture_of(rows: Sequence[Row], scale: int = 1) -> Image.Image:
    """A line for each row, below the titles; values from black to white, errors from white to red."""
    side = rows[0][0].shape[1] * scale
    whole = Image.new("RGB", (len(TITLES) * (side + GAP) - GAP, 14 + len(rows) * (side + GAP) - GAP), "white")
    pen = ImageDraw.Draw(whole)
    for column, title in enumerate(TITLES):
        pen.text((column * (side + GAP) + 2, 1), title, fill="black")
    for line, (picture, truth, before, after, clicks) in enumerate(rows):
        low, high = float(truth.min()), float(truth.max())
        errors = [np.abs(each - truth) for each in (before, after)]
        most = max(float(errors[0].max()), 1e-9)
        tiles = [
            _clicked(picture, clicks),
            *(_grey((each - low) / max(high - low, 1e-9)) for each in (before, after, truth)),
            *(_red(each / most) for each in errors),
        ]
        for column, tile in enumerate(tiles):
            large = Image.fromarray(tile).resize((side, side), Image.Resampling.NEAREST)
            whole.paste(large, (column * (side + GAP), 14 + line * (side + GAP)))
    return whole


def _clicked(picture: NDArray[np.uint8], clicks: Sequence[tuple[int, int]]) -> NDArray[np.uint8]:
    image = Image.fromarray(picture)
    pen = ImageDraw.Draw(image)
    for x, y in clicks:
        pen.ellipse((x - 3, y - 3, x + 3, y + 3), fill=(255, 60, 30), outline="white")
    return np.asarray(image)


def _grey(share: NDArray[Any]) -> NDArray[np.uint8]:
    return np.repeat((255 * np.clip(share, 0, 1)).astype(np.uint8)[..., None], 3, -1)


def _red(share: NDArray[Any]) -> NDArray[np.uint8]:
    other = 255 * (1 - np.sqrt(np.clip(share, 0, 1)))
    return np.stack([np.full_like(other, 255), other, other], -1).astype(np.uint8)
