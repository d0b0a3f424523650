"""Digests that identify a photo or a network's weights in a saved session."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import torch
from torch import Tensor

from interactify.pictures.sources import Source
from interactify.pictures.window import Window, whole

_SAMPLED = 64_000_000  # pixels: of larger arrays on disk only a sample is read
_GRID, _SIDE = 8, 64  # of the sample: blocks along each side, and their own side in pixels


def tensors_digest(tensors: Iterable[Tensor]) -> str:
    """A digest of tensors' shapes, types and values."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(f"{tuple(tensor.shape)} {tensor.dtype}".encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        if flat.stride() != (1,):  # one number may have any stride, as ONNX's constants do, but can't be seen as bytes
            flat = flat.clone(memory_format=torch.contiguous_format)
        digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def source_digest(source: Source) -> str:
    """A digest of a large picture: of its shape, its type and its values in that type, read strip by strip.

    Of an array on disk of more than 64 megapixels only a sample is read, 64 blocks of 64 × 64 pixels on a regular grid
    from corner to corner: two such pictures of the same shape and type that differ only elsewhere have the same digest.
    """
    height, width = source.size
    sampled = source.may_change and height * width > _SAMPLED
    windows = _sample(source.size) if sampled else source.blocks(whole(source.size), full_width=True)
    digest = hashlib.sha256()
    for index, window in enumerate(windows):
        raw = source.raw(window)
        if index == 0:
            digest.update(f"{height} {width} {source.depth} {raw.dtype} {'sampled' if sampled else 'all'}".encode())
        # Channels last, row by row: independent of the photo's memory order and of how it was cut.
        digest.update(raw.permute(1, 2, 0).contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _sample(size: tuple[int, int]) -> list[Window]:
    high, wide = (min(_SIDE, side) for side in size)
    tops, lefts = (
        [index * (side - part) // (_GRID - 1) for index in range(_GRID)]
        for side, part in zip(size, (high, wide), strict=True)
    )
    return [Window(top, left, high, wide) for top in tops for left in lefts]
