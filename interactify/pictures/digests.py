"""What tells one photo, or one network's weights, from another: digests that a saved session keeps."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import torch
from torch import Tensor

from interactify.pictures.sources import Source
from interactify.pictures.window import Window, whole

_SAMPLED = 64_000_000  # pixels beyond which an array on disk is not read for this
_GRID, _SIDE = 8, 64  # of the sample: blocks along each side, and their own side in pixels


def tensors_digest(tensors: Iterable[Tensor]) -> str:
    """A digest of tensors' shapes, types and numbers."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(f"{tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def source_digest(stored: Source) -> str:
    """A digest of a large picture: of its shape, its type and its numbers as they are stored, read strip by strip.

    Of an array on disk of more than 64 megapixels only a sample is read, 64 blocks of 64 × 64 pixels on a regular grid
    from corner to corner: two such pictures of one shape and type that differ elsewhere only count as the same.
    """
    height, width = stored.size
    sampled = stored.changing and height * width > _SAMPLED
    windows = _sample(stored.size) if sampled else stored.blocks(whole(stored.size), full_width=True)
    digest = hashlib.sha256()
    for place, window in enumerate(windows):
        raw = stored.raw(window)
        if place == 0:
            digest.update(f"{height} {width} {stored.depth} {raw.dtype} {'sampled' if sampled else 'all'}".encode())
        # Channels last, row by row: the same however the photo came and wherever it was cut.
        digest.update(raw.permute(1, 2, 0).contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _sample(size: tuple[int, int]) -> list[Window]:
    high, wide = (min(_SIDE, side) for side in size)
    tops, lefts = (
        [place * (side - part) // (_GRID - 1) for place in range(_GRID)]
        for side, part in zip(size, (high, wide), strict=True)
    )
    return [Window(top, left, high, wide) for top in tops for left in lefts]
