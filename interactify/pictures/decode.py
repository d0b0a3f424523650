"""A photo in any of its usual forms as one tensor: (channels, H, W), float32, in [0, 1]."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from interactify.errors import OptionError, PhotoError

PhotoLike: TypeAlias = str | os.PathLike | Image.Image | np.ndarray | Tensor

_LUMA = (0.299, 0.587, 0.114)  # ITU-R 601-2, what PIL's own conversion to "L" uses
_SLACK = 1e-3  # one step of a half-precision float at 1: a rounding error, not another scale
_TENSOR_SCALES = {torch.bool: 1, torch.uint8: 255, torch.uint16: 65535}
_FORMS = (
    "a path, a PIL image, an (H, W), (H, W, 3) or (H, W, 4) array of uint8, uint16, bool or float in [0, 1], "
    "or a (C, H, W) tensor of uint8 or float in [0, 1]"
)


def read_photo(photo: PhotoLike, channels: int = 3) -> Tensor:
    """Read a photo into a new (channels, H, W) float32 tensor in [0, 1], contiguous, on the CPU.

    Accepted are: a path (its EXIF rotation is applied; of an animation the first frame is read); a PIL image of any
    mode (a rotation in its EXIF data is *not* applied, since the caller may have drawn or clicked on it already); an
    array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of uint8, uint16, bool, or float in
    [0, 1]; a tensor (H, W), (1, H, W), (3, H, W) or (4, H, W) of the same types. Four channels are red, green, blue
    and alpha, and transparency is blended with white. 16-bit pictures keep their depth: 65535 is 1; so do PIL images of
    mode "I". The result shares no memory with `photo`.

    With `channels=3` grey photos are repeated; with `channels=1` colours become luminance (ITU-R 601-2). For any other
    number only arrays (H, W, channels) and tensors (channels, H, W) are accepted, unchanged.

    Raises PhotoError for anything that is not such a photo, OptionError for `channels` below 1.

    >>> import numpy as np
    >>> read_photo(np.zeros((48, 64, 3), dtype=np.uint8)).shape
    torch.Size([3, 48, 64])
    """
    pixels, scale = decoded(photo, channels)
    if isinstance(pixels, Tensor):
        return fit_channels(pixels.to("cpu", torch.float32, copy=True), channels, scale)
    # astype copies, so the result owns its memory, whatever the strides and byte order of `photo`.
    array = np.ascontiguousarray(pixels).astype(np.float32, order="C")
    return fit_channels(torch.from_numpy(array).permute(2, 0, 1), channels, scale)


def decoded(photo: PhotoLike, channels: int) -> tuple[np.ndarray | Tensor, int]:
    """A photo decoded and checked, in its own type, and its value for white (255, 65535 or 1).

    The first is an array (H, W, c) or a tensor (c, H, W) of 1, 3, 4 or `channels` channels c, and may share memory with
    `photo`. `fit_channels` converts it, as float32, to the result of `read_photo`.

    Raises: as `read_photo`.
    """
    if isinstance(channels, bool) or not isinstance(channels, int) or channels < 1:
        raise OptionError(f"Expected channels as a whole number of at least 1, usually 3, got {channels!r}.")
    if isinstance(photo, Tensor):
        return _checked_tensor(photo, channels)
    if isinstance(photo, np.ndarray):
        return _checked_array(photo, channels)
    if not isinstance(photo, (str, os.PathLike, Image.Image)):
        raise PhotoError(
            f"Expected a photo, got {type(photo).__name__}. Try {_FORMS}; "
            "for bytes or an open file, PIL.Image.open(io.BytesIO(data)) makes a PIL image."
        )
    if channels not in (1, 3):
        raise PhotoError(
            f"Expected a photo of {channels} channels, which this network takes, got a picture file or PIL image, "
            f"which has 1 or 3. Try an (H, W, {channels}) array or a ({channels}, H, W) tensor."
        )
    return _from_image(photo, channels) if isinstance(photo, Image.Image) else _from_path(photo, channels)


def upright(image: Image.Image) -> Image.Image:
    """A picture with the rotation in its EXIF data applied, in its own mode.

    >>> upright(Image.new("LA", (64, 48))).size
    (64, 48)
    """
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # only the EXIF data are damaged: use the pixels without rotation
        return image


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


def _from_path(path: str | os.PathLike, channels: int) -> tuple[np.ndarray, int]:
    try:
        name = os.fspath(path)
    except Exception as problem:  # someone else's __fspath__
        raise PhotoError(f"Expected a path, got {type(path).__name__}, whose __fspath__ fails. Try a str.") from problem
    if isinstance(name, bytes):
        raise PhotoError(f"Expected a path as text, got bytes: {name!r}. Try os.fsdecode(path).")
    if name.startswith(("http://", "https://")):
        raise PhotoError(f"Expected a file, got the address {name}. Try to download it and give its path.")
    try:
        if Path(name).is_dir():
            raise PhotoError(f"Expected a picture, got the folder {name!r}. Try the path of one file.")
        if not Path(name).exists():
            raise PhotoError(
                f"Expected a picture, got {name!r}, which does not exist (from {os.getcwd()!r}). Try another path."
            )
        if Path(name).stat().st_size == 0:
            raise PhotoError(f"Expected a picture, got the empty file {name!r}. Try to copy or download it again.")
    except (OSError, ValueError) as problem:
        if isinstance(problem, PhotoError):
            raise
        raise PhotoError(
            f"Expected a readable file, got {name!r}: {problem}. Try another path, or its permissions."
        ) from problem
    # Decoders raise nearly any exception on broken files (OSError, SyntaxError, struct.error, zlib.error, ...).
    try:
        with Image.open(name) as image:
            image.load()
            return _from_image(upright(image), channels)
    except PhotoError as problem:
        raise PhotoError(f"{name!r}: {problem}") from problem
    except Image.UnidentifiedImageError as problem:
        raise PhotoError(
            f"Expected a picture in a known format, got {name!r}, which is not a picture. "
            "Try to save it as PNG, JPEG or TIFF."
        ) from problem
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as problem:
        raise PhotoError(
            f"Expected a picture within PIL's limit of pixels, got {name!r}: {problem}. "
            "Try a smaller one, or open it yourself with a higher PIL.Image.MAX_IMAGE_PIXELS and give the PIL image."
        ) from problem
    except Exception as problem:
        raise PhotoError(
            f"Expected a readable picture, got {name!r}: {problem or type(problem).__name__}. "
            "It may be damaged or truncated. Try to copy or download it again, or save it again as PNG."
        ) from problem


def _from_image(image: Image.Image, channels: int) -> tuple[np.ndarray, int]:
    if 0 in image.size:
        raise PhotoError(f"Expected a picture with pixels, got no pixels: {image.width} wide and {image.height} high.")
    try:
        array = _image_to_array(image)
    except PhotoError:
        raise
    except Exception as problem:  # a PIL image reads its file only here, see _from_path
        raise PhotoError(
            f"Expected a readable PIL image, got one of mode {image.mode!r}: {problem or type(problem).__name__}. "
            'It may be damaged or closed. Try image.convert("RGB"), or open it again.'
        ) from problem
    return _checked_array(array, channels)


def _image_to_array(image: Image.Image) -> np.ndarray:
    """A PIL image of any mode as (H, W), (H, W, 3) or (H, W, 4), 16-bit ones with their full depth."""
    if image.mode.startswith("I"):
        array = np.asarray(image)
        if array.min() < 0 or array.max() > 65535:
            raise PhotoError(
                f"Expected 16 bits, 0 to 65535, in a picture of mode {image.mode!r}, got values from "
                f"{array.min()} to {array.max()}. Try to scale them to a float array in [0, 1]."
            )
        return array.astype(np.uint16)
    if image.mode == "F":
        return np.asarray(image)
    if image.has_transparency_data:
        return np.asarray(image if image.mode == "RGBA" else _to_rgba(image))
    if image.mode in ("1", "L"):
        return np.asarray(image)
    if image.mode == "LAB":  # the only mode that PIL's convert can't convert
        from PIL import ImageCms  # imported here: some builds of PIL lack it

        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        return np.asarray(ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB"))
    return np.asarray(image.convert("RGB"))


def _to_rgba(image: Image.Image) -> Image.Image:
    # PIL converts the premultiplied and the palette modes with alpha only by way of a related mode.
    step = {"La": "LA", "RGBa": "RGBA"}.get(image.mode)
    return (image.convert(step) if step else image).convert("RGBA")


def _checked_array(array: np.ndarray, channels: int) -> tuple[np.ndarray, int]:
    scale = array_scale(array.shape, array.dtype, channels)
    if array.dtype.kind == "f":
        check_range(float(array.min()), float(array.max()), described(array.shape, array.dtype))
    return (array[..., None] if array.ndim == 2 else array), scale


def described(shape: tuple[int, ...], dtype: np.dtype) -> str:
    """An array, for errors."""
    return f"an array of shape {shape} and type {dtype}"


def array_scale(shape: tuple[int, ...], dtype: np.dtype, channels: int) -> int:
    """The value for white in an array of this shape and type; raises PhotoError where it can't be a photo.

    >>> array_scale((48, 64, 3), np.dtype("uint16"), channels=3)
    65535
    """
    array, accepted = described(shape, dtype), _accepted_channels(channels)
    layered = (*shape, 1) if len(shape) == 2 else shape
    if len(layered) != 3 or (0 not in shape and layered[2] not in accepted):
        hint = ""
        if len(shape) == 3 and shape[0] in accepted:
            hint = " Its channels come first: try photo.transpose(1, 2, 0), or torch.from_numpy(photo)."
        elif len(shape) == 4 and shape[0] == 1:
            hint = " It is a batch of one: try photo[0]."
        raise PhotoError(f"Expected a photo of shape {_shapes(channels, '(H, W, {})')}, got {array}.{hint}")
    if 0 in shape:
        raise PhotoError(f"Expected a photo with pixels, got no pixels: {array}.")
    if dtype.kind in "fb":
        return 1
    if dtype.kind == "u" and dtype.itemsize <= 2:
        return 255 if dtype.itemsize == 1 else 65535
    raise PhotoError(
        f"Expected uint8, uint16, bool, or float in [0, 1], got {array}. "
        "For whole numbers from 0 to 255 try photo.astype(np.uint8)."
    )


def _checked_tensor(tensor: Tensor, channels: int) -> tuple[Tensor, int]:
    given = f"a tensor of shape {tuple(tensor.shape)} and type {str(tensor.dtype).removeprefix('torch.')}"
    tensor = tensor.detach()
    if tensor.ndim == 2:
        tensor = tensor[None]
    accepted = _accepted_channels(channels)
    if tensor.ndim != 3 or (tensor.numel() and tensor.shape[0] not in accepted):
        hint = ""
        if tensor.ndim == 3 and tensor.shape[2] in accepted:
            hint = " Its channels come last: try photo.permute(2, 0, 1), or photo.numpy()."
        elif tensor.ndim == 4 and tensor.shape[0] == 1:
            hint = " It is a batch of one: try photo[0]."
        raise PhotoError(f"Expected a photo of shape {_shapes(channels, '({}, H, W)')}, got {given}.{hint}")
    if tensor.numel() == 0:
        raise PhotoError(f"Expected a photo with pixels, got no pixels: {given}.")
    if tensor.layout != torch.strided or tensor.device.type == "meta" or tensor.is_quantized:
        raise PhotoError(
            f"Expected a dense tensor with data, got {given}: sparse, quantised or meta. Try photo.to_dense()."
        )
    if tensor.is_floating_point():
        try:
            low, high = tensor.aminmax()
        except NotImplementedError as problem:  # floats of 8 bits
            raise PhotoError(f"Expected floats that torch can compare, got {given}. Try photo.float().") from problem
        check_range(float(low), float(high), given)
        return tensor, 1
    if tensor.dtype in _TENSOR_SCALES:
        return tensor, _TENSOR_SCALES[tensor.dtype]
    raise PhotoError(
        f"Expected uint8, or float in [0, 1], got {given}. For whole numbers from 0 to 255 try photo.to(torch.uint8)."
    )


def _accepted_channels(channels: int) -> tuple[int, ...]:
    return (1, 3, 4) if channels in (1, 3) else (channels,)


def _shapes(channels: int, form: str) -> str:
    return " or ".join(form.format(count) for count in _accepted_channels(channels))


def check_range(low: float, high: float, given: str) -> None:
    """Raise PhotoError where the least or greatest of a photo's floats is outside [0, 1] or not finite."""
    if not (np.isfinite(low) and np.isfinite(high)):
        raise PhotoError(f"Expected every value in [0, 1], got NaN or infinity in {given}.")
    if low >= -_SLACK and high <= 1 + _SLACK:
        return
    hint = "Try to scale it to [0, 1]."
    if low < -_SLACK:
        hint = "It may be normalised already. Try the plain photo; the network's mean and std belong to wrap()."
    elif high <= 255:
        hint = "Try photo / 255."
    elif high <= 65535:
        hint = "Try photo / 65535."
    raise PhotoError(f"Expected floats in [0, 1], got {given} with values from {low:g} to {high:g}. {hint}")


def fit_channels(own: Tensor, channels: int, scale: int) -> Tensor:
    """(C, H, W) float32 in [0, scale], which is written over → (channels, H, W) in [0, 1], contiguous."""
    own = own.contiguous().div_(scale).clamp_(0, 1)
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
    return (_LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue).clamp_(0, 1)[None]
