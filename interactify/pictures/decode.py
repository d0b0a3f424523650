"""A photo in any of its usual forms as one tensor: (channels, H, W), float32, in [0, 1]."""

from __future__ import annotations

import os
from typing import TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from interactify.errors import PhotoError
from interactify.pictures.arrays import LUMA, accepted_channels, check_channels, decoded_array, shapes_of
from interactify.pictures.value_range import (
    ValueRange,
    check_floats,
    checked_value_range,
    integers_refused,
    mapped,
)

PhotoLike: TypeAlias = str | os.PathLike | Image.Image | np.ndarray | Tensor

_TENSOR_RANGES = {torch.bool: (0.0, 1.0), torch.uint8: (0.0, 255.0), torch.uint16: (0.0, 65535.0)}


def read_photo(photo: PhotoLike, channels: int = 3, *, value_range: ValueRange | None = None) -> Tensor:
    """Read a photo into a new (channels, H, W) float32 tensor in [0, 1], contiguous, on the CPU.

    Accepted are: a path (its EXIF rotation is applied; of an animation the first frame is read); a PIL image of any
    mode (a rotation in its EXIF data is *not* applied, since the caller may have drawn or clicked on it already); an
    array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of uint8, uint16, bool, or float in
    [0, 1]; a tensor (H, W), (1, H, W), (3, H, W) or (4, H, W) of the same types. Four channels are red, green, blue
    and alpha, and transparency is blended with white. 16-bit pictures keep their depth: 65535 is 1; so do PIL images of
    mode "I". The result shares no memory with `photo`.

    With `channels=3` grey photos are repeated; with `channels=1` colours become luminance (ITU-R 601-2). For any other
    number only arrays (H, W, channels), tensors (channels, H, W) and TIFF files are accepted, unchanged. TIFF files of
    floats, many bands and other types that Pillow does not read need tifffile (`pip install -e '.[tiff]'`).

    With `value_range=(low, high)`, whole numbers and floats of any type are accepted: low becomes 0, high becomes 1,
    and what lies beyond is clipped.

    Raises PhotoError for anything that is not such a photo, OptionError for `channels` below 1 or an invalid range.

    >>> import numpy as np
    >>> read_photo(np.zeros((48, 64, 3), dtype=np.uint8)).shape
    torch.Size([3, 48, 64])
    >>> read_photo(np.array([[-1000, 0, 3000]], np.int16), channels=1, value_range=(-1000, 1000))
    tensor([[[0.0000, 0.5000, 1.0000]]])
    """
    pixels, levels = decoded(photo, channels, checked_value_range(value_range))
    if isinstance(pixels, Tensor):
        return fit_channels(pixels.to("cpu", torch.float32, copy=True), channels, levels)
    # astype copies, so the result owns its memory, whatever the strides and byte order of `photo`.
    array = np.ascontiguousarray(pixels).astype(np.float32, order="C")
    return fit_channels(torch.from_numpy(array).permute(2, 0, 1), channels, levels)


def decoded(
    photo: PhotoLike, channels: int, value_range: ValueRange | None = None
) -> tuple[np.ndarray | Tensor, ValueRange]:
    """A photo decoded and checked, in its own type, and its values for black and white.

    The first is an array (H, W, c) or a tensor (c, H, W) of 1, 3, 4 or `channels` channels c, and may share memory with
    `photo`. `fit_channels` converts it, as float32, to the result of `read_photo`.

    Raises: as `read_photo`.
    """
    if not isinstance(photo, Tensor):
        return decoded_array(photo, channels, value_range)
    check_channels(channels)
    return _checked_tensor(photo, channels, value_range)


def _checked_tensor(tensor: Tensor, channels: int, value_range: ValueRange | None) -> tuple[Tensor, ValueRange]:
    given = f"a tensor of shape {tuple(tensor.shape)} and type {str(tensor.dtype).removeprefix('torch.')}"
    tensor = tensor.detach()
    if tensor.ndim == 2:
        tensor = tensor[None]
    accepted = accepted_channels(channels)
    if tensor.ndim != 3 or (tensor.numel() and tensor.shape[0] not in accepted):
        hint = ""
        if tensor.ndim == 3 and tensor.shape[2] in accepted:
            hint = " Its channels come last: try photo.permute(2, 0, 1), or photo.numpy()."
        elif tensor.ndim == 4 and tensor.shape[0] == 1:
            hint = " It is a batch of one: try photo[0]."
        raise PhotoError(f"Expected a photo of shape {shapes_of(channels, '({}, H, W)')}, got {given}.{hint}")
    if tensor.numel() == 0:
        raise PhotoError(f"Expected a photo with pixels, got no pixels: {given}.")
    if tensor.layout != torch.strided or tensor.device.type == "meta" or tensor.is_quantized:
        raise PhotoError(
            f"Expected a dense tensor with data, got {given}: sparse, quantised or meta. Try photo.to_dense()."
        )
    if tensor.is_complex():
        raise PhotoError(f"Expected uint8, or float in [0, 1], got {given}. Try photo.abs(), or photo.real.")
    if tensor.is_floating_point():
        try:
            low, high = tensor.aminmax()
        except NotImplementedError as problem:  # floats of 8 bits
            raise PhotoError(f"Expected floats that torch can compare, got {given}. Try photo.float().") from problem
        check_floats(float(low), float(high), given, value_range)
    if value_range is not None:
        if tensor.dtype in (torch.float32, torch.float16, torch.bfloat16, torch.int16, torch.int8, *_TENSOR_RANGES):
            return tensor, value_range
        own = torch.from_numpy(mapped(tensor.cpu().numpy(), value_range))
        return own, (0.0, 1.0)
    if tensor.is_floating_point():
        return tensor, (0.0, 1.0)
    if tensor.dtype in _TENSOR_RANGES:
        return tensor, _TENSOR_RANGES[tensor.dtype]
    values = tensor.cpu().numpy()  # torch finds no extremes of uint32 and uint64
    raise integers_refused(given, float(values.min()), float(values.max()), "photo.to(torch.uint8)")


def to_uint8(photo: Tensor) -> np.ndarray:
    """Turn a (C, H, W) photo in [0, 1] into a new (H, W, 3) uint8 array to draw on.

    Of one or two channels the first is used as grey; of more than three the first three are used. Values outside
    [0, 1] are clipped.

    >>> to_uint8(torch.ones(1, 2, 5)).shape
    (2, 5, 3)
    """
    colours = photo[:3] if photo.shape[0] >= 3 else photo[:1].expand(3, -1, -1)
    colours = colours.detach().to("cpu", torch.float32).clamp(0, 1).mul(255).round()
    return colours.to(torch.uint8).permute(1, 2, 0).contiguous().numpy()


def fit_channels(own: Tensor, channels: int, levels: ValueRange) -> Tensor:
    """(C, H, W) float32, which is written over → (channels, H, W) with black at 0 and white at 1, contiguous."""
    own = _mapped_in_place(own.contiguous(), levels)
    if channels not in (1, 3) or own.shape[0] == channels:
        return own
    if own.shape[0] == 4:
        colour, alpha = own[:3], own[3:]
        own = colour * alpha + (1 - alpha)
    if own.shape[0] == channels:
        return own
    if channels == 3:
        return own.repeat(3, 1, 1)
    red, green, blue = own
    return (LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue).clamp_(0, 1)[None]


def _mapped_in_place(own: Tensor, levels: ValueRange) -> Tensor:
    """A float32 tensor, which is written over, with black at 0 and white at 1, clipped."""
    low, high = levels
    if low:
        own.sub_(low)
    return own.div_(high - low).clamp_(0, 1)
