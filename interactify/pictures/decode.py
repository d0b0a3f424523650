"""A photo in any of its usual forms becomes one tensor: (channels, H, W), float32, in [0, 1]."""

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
_SLACK = 1e-3  # one step of a half-precision float at 1: rounding, not another scale
_TENSOR_SCALES = {torch.bool: 1, torch.uint8: 255, torch.uint16: 65535}
_FORMS = (
    "a path, a PIL image, an (H, W), (H, W, 3) or (H, W, 4) array of uint8, uint16, bool or float in [0, 1], "
    "or a (C, H, W) tensor of uint8 or float in [0, 1]"
)


def read_photo(photo: PhotoLike, channels: int = 3) -> Tensor:
    """Read a photo into a new (channels, H, W) float32 tensor in [0, 1], contiguous, on the CPU.

    Taken are: a path (its EXIF rotation is applied, of an animation the first frame is read); a PIL image of any mode
    (as it is: a rotation still pending in its EXIF data is *not* applied, since whoever opened it may have drawn or
    clicked on it already); an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of uint8, uint16, bool, or float in
    [0, 1]; a tensor (H, W), (1, H, W), (3, H, W) or (4, H, W) of the same types. Four channels are red, green, blue
    and alpha, and transparency is laid on white. 16-bit pictures keep their depth: 65535 is 1; a PIL image of mode "I"
    counts as one of them. Nothing of the result shares memory with `photo`.

    With `channels=3` grey photos are repeated; with `channels=1` colours become luminance (ITU-R 601-2). For any other
    number only arrays (H, W, channels) and tensors (channels, H, W) will do, and they are taken as they are.

    Raises PhotoError for anything that is not a photo in this sense, OptionError for `channels` below 1.

    >>> import numpy as np
    >>> read_photo(np.zeros((48, 64, 3), dtype=np.uint8)).shape
    torch.Size([3, 48, 64])
    """
    pixels, scale = opened(photo, channels)
    if isinstance(pixels, Tensor):
        return fit_channels(pixels.to("cpu", torch.float32, copy=True), channels, scale)
    # astype copies, so the result owns its memory whatever strides or byte order came.
    array = np.ascontiguousarray(pixels).astype(np.float32, order="C")
    return fit_channels(torch.from_numpy(array).permute(2, 0, 1), channels, scale)


def opened(photo: PhotoLike, channels: int) -> tuple[np.ndarray | Tensor, int]:
    """A photo decoded and checked, in its own type, and which of its numbers is 1 (255, 65535 or 1).

    The first is an array (H, W, c) or a tensor (c, H, W) of 1, 3, 4 or `channels` channels c, and may share memory with
    `photo`. `fit_channels` makes of its numbers, as float32, what `read_photo` returns.

    Raises: as `read_photo`.
    """
    if isinstance(channels, bool) or not isinstance(channels, int) or channels < 1:
        raise OptionError(f"channels is {channels!r}; expected a whole number of at least 1, usually 3.")
    if isinstance(photo, Tensor):
        return _checked_tensor(photo, channels)
    if isinstance(photo, np.ndarray):
        return _checked_array(photo, channels)
    if not isinstance(photo, (str, os.PathLike, Image.Image)):
        raise PhotoError(
            f"A photo was expected, {type(photo).__name__} came. Give {_FORMS}; "
            "for bytes or an open file, PIL.Image.open(io.BytesIO(data)) makes a PIL image."
        )
    if channels not in (1, 3):
        raise PhotoError(
            f"This network takes {channels} channels, and a picture file or PIL image has 1 or 3. "
            f"Give an (H, W, {channels}) array or a ({channels}, H, W) tensor."
        )
    return _from_image(photo, channels) if isinstance(photo, Image.Image) else _from_path(photo, channels)


def upright(image: Image.Image) -> Image.Image:
    """A picture with the rotation applied that the file's EXIF data asks for, in its own mode.

    >>> upright(Image.new("LA", (64, 48))).size
    (64, 48)
    """
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # the pixels are sound and only the note beside them is damaged: take them as they lie
        return image


def to_uint8(photo: Tensor) -> np.ndarray:
    """Turn a (C, H, W) photo in [0, 1] into a new (H, W, 3) uint8 array to draw on.

    One or two channels show the first as grey; of more than three the first three are shown. Values outside [0, 1] are
    clipped.

    >>> to_uint8(torch.ones(1, 2, 5)).shape
    (2, 5, 3)
    """
    shown = photo[:3] if photo.shape[0] >= 3 else photo[:1].expand(3, -1, -1)
    shown = shown.detach().to("cpu", torch.float32).clamp(0, 1).mul(255).round()
    return shown.to(torch.uint8).permute(1, 2, 0).contiguous().numpy()


def _from_path(path: str | os.PathLike, channels: int) -> tuple[np.ndarray, int]:
    try:
        name = os.fspath(path)
    except Exception as problem:  # someone else's __fspath__
        raise PhotoError(f"A path is expected, {type(path).__name__} came, which gives none.") from problem
    if isinstance(name, bytes):
        raise PhotoError(f"A path is expected as text, bytes came: {name!r}. Try os.fsdecode(path).")
    if name.startswith(("http://", "https://")):
        raise PhotoError(f"{name} is an address, a file was expected. Download it and give its path.")
    try:
        if Path(name).is_dir():
            raise PhotoError(f"{name!r} is a folder, a picture was expected. Give the path of one file.")
        if not Path(name).exists():
            raise PhotoError(f"There is no file {name!r} (looked from {os.getcwd()!r}). Check the path.")
        if Path(name).stat().st_size == 0:
            raise PhotoError(f"{name!r} is an empty file, a picture was expected. Copy or download it again.")
    except (OSError, ValueError) as problem:
        if isinstance(problem, PhotoError):
            raise
        raise PhotoError(f"{name!r} can't be looked at: {problem}. Check the path and who may read it.") from problem
    # Decoders meet broken files with nearly any exception (OSError, SyntaxError, struct.error, zlib.error, ...).
    try:
        with Image.open(name) as opened:
            opened.load()
            return _from_image(upright(opened), channels)
    except PhotoError as problem:
        raise PhotoError(f"{name!r}: {problem}") from problem
    except Image.UnidentifiedImageError as problem:
        raise PhotoError(
            f"{name!r} is not a picture of a format that can be read. Save it as PNG, JPEG or TIFF and try that."
        ) from problem
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as problem:
        raise PhotoError(
            f"{name!r} has more pixels than PIL opens unasked ({problem}). "
            "Make it smaller, or open it yourself with a higher PIL.Image.MAX_IMAGE_PIXELS and give the PIL image."
        ) from problem
    except Exception as problem:
        raise PhotoError(
            f"{name!r} can't be read: {problem or type(problem).__name__}. "
            "It may be damaged or cut short; copy or download it again, or save it anew as PNG."
        ) from problem


def _from_image(image: Image.Image, channels: int) -> tuple[np.ndarray, int]:
    if 0 in image.size:
        raise PhotoError(f"The picture has no pixels: it is {image.width} wide and {image.height} high.")
    try:
        array = _image_to_array(image)
    except PhotoError:
        raise
    except Exception as problem:  # a PIL image reads its file only here, see _from_path
        raise PhotoError(
            f"The PIL image of mode {image.mode!r} can't be read: {problem or type(problem).__name__}. "
            'It may be damaged or closed; try image.convert("RGB"), or open it again.'
        ) from problem
    return _checked_array(array, channels)


def _image_to_array(image: Image.Image) -> np.ndarray:
    """A PIL image of any mode as (H, W), (H, W, 3) or (H, W, 4), without losing the depth of 16-bit ones."""
    if image.mode.startswith("I"):
        array = np.asarray(image)
        if array.min() < 0 or array.max() > 65535:
            raise PhotoError(
                f"A picture of mode {image.mode!r} was expected to be of 16 bits, 0 to 65535; its values run from "
                f"{array.min()} to {array.max()}. Scale them to a float array in [0, 1]."
            )
        return array.astype(np.uint16)
    if image.mode == "F":
        return np.asarray(image)
    if image.has_transparency_data:
        return np.asarray(image if image.mode == "RGBA" else _to_rgba(image))
    if image.mode in ("1", "L"):
        return np.asarray(image)
    if image.mode == "LAB":  # the one mode that PIL's convert has no way out of
        from PIL import ImageCms  # imported here: some builds of PIL come without it

        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        return np.asarray(ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB"))
    return np.asarray(image.convert("RGB"))


def _to_rgba(image: Image.Image) -> Image.Image:
    # PIL knows the premultiplied and the palette modes with alpha only from their nearest relative.
    step = {"La": "LA", "RGBa": "RGBA"}.get(image.mode)
    return (image.convert(step) if step else image).convert("RGBA")


def _checked_array(array: np.ndarray, channels: int) -> tuple[np.ndarray, int]:
    scale = array_scale(array.shape, array.dtype, channels)
    if array.dtype.kind == "f":
        check_range(float(array.min()), float(array.max()), described(array.shape, array.dtype))
    return (array[..., None] if array.ndim == 2 else array), scale


def described(shape: tuple[int, ...], dtype: np.dtype) -> str:
    """What came, as errors say it."""
    return f"an array of shape {shape} and type {dtype}"


def array_scale(shape: tuple[int, ...], dtype: np.dtype, channels: int) -> int:
    """Which number is 1 in an array of this shape and type; raises PhotoError where it is no photo, whatever it holds.

    >>> array_scale((48, 64, 3), np.dtype("uint16"), channels=3)
    65535
    """
    came, taken = described(shape, dtype), _taken(channels)
    layered = (*shape, 1) if len(shape) == 2 else shape
    if len(layered) != 3 or (0 not in shape and layered[2] not in taken):
        hint = ""
        if len(shape) == 3 and shape[0] in taken:
            hint = " Its channels come first: try photo.transpose(1, 2, 0), or torch.from_numpy(photo)."
        elif len(shape) == 4 and shape[0] == 1:
            hint = " It is a batch of one: try photo[0]."
        raise PhotoError(f"A photo of shape {_shapes(channels, '(H, W, {})')} was expected, {came} came.{hint}")
    if 0 in shape:
        raise PhotoError(f"The photo has no pixels: {came} came.")
    if dtype.kind in "fb":
        return 1
    if dtype.kind == "u" and dtype.itemsize <= 2:
        return 255 if dtype.itemsize == 1 else 65535
    raise PhotoError(
        f"{came.capitalize()} came; expected uint8, uint16, bool, or float in [0, 1]. "
        "For whole numbers from 0 to 255 try photo.astype(np.uint8)."
    )


def _checked_tensor(tensor: Tensor, channels: int) -> tuple[Tensor, int]:
    came = f"a tensor of shape {tuple(tensor.shape)} and type {str(tensor.dtype).removeprefix('torch.')}"
    tensor = tensor.detach()
    if tensor.ndim == 2:
        tensor = tensor[None]
    taken = _taken(channels)
    if tensor.ndim != 3 or (tensor.numel() and tensor.shape[0] not in taken):
        hint = ""
        if tensor.ndim == 3 and tensor.shape[2] in taken:
            hint = " Its channels come last: try photo.permute(2, 0, 1), or photo.numpy()."
        elif tensor.ndim == 4 and tensor.shape[0] == 1:
            hint = " It is a batch of one: try photo[0]."
        raise PhotoError(f"A photo of shape {_shapes(channels, '({}, H, W)')} was expected, {came} came.{hint}")
    if tensor.numel() == 0:
        raise PhotoError(f"The photo has no pixels: {came} came.")
    if tensor.layout != torch.strided or tensor.device.type == "meta" or tensor.is_quantized:
        raise PhotoError(
            f"A tensor that holds its pixels one beside the other was expected, {came} came, which doesn't."
        )
    if tensor.is_floating_point():
        try:
            low, high = tensor.aminmax()
        except NotImplementedError as problem:  # floats of 8 bits
            raise PhotoError(f"{came.capitalize()} came, which torch can't look at. Try photo.float().") from problem
        check_range(float(low), float(high), came)
        return tensor, 1
    if tensor.dtype in _TENSOR_SCALES:
        return tensor, _TENSOR_SCALES[tensor.dtype]
    raise PhotoError(
        f"{came.capitalize()} came; expected uint8, or float in [0, 1]. "
        "For whole numbers from 0 to 255 try photo.to(torch.uint8)."
    )


def _taken(channels: int) -> tuple[int, ...]:
    return (1, 3, 4) if channels in (1, 3) else (channels,)


def _shapes(channels: int, form: str) -> str:
    return " or ".join(form.format(taken) for taken in _taken(channels))


def check_range(low: float, high: float, came: str) -> None:
    """Raise PhotoError where the least and greatest of a photo's floats lie outside [0, 1], or are no numbers."""
    if not (np.isfinite(low) and np.isfinite(high)):
        raise PhotoError(f"The photo holds NaN or infinity: {came}. Every value has to lie in [0, 1].")
    if low >= -_SLACK and high <= 1 + _SLACK:
        return
    hint = "Scale it to [0, 1]."
    if low < -_SLACK:
        hint = "It may be normalised already: give the plain photo, the network's mean and std belong to wrap()."
    elif high <= 255:
        hint = "Try photo / 255."
    elif high <= 65535:
        hint = "Try photo / 65535."
    raise PhotoError(
        f"{came.capitalize()} came with values from {low:g} to {high:g}; floats have to lie in [0, 1]. {hint}"
    )


def fit_channels(own: Tensor, channels: int, scale: int) -> Tensor:
    """(C, H, W) float32 that may be written to, in [0, scale] → (channels, H, W) in [0, 1], contiguous."""
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
