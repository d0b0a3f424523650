"""Picture files and PIL images as arrays: (H, W) or (H, W, c) of their own type, 16-bit ones with their full depth."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image, ImageOps

from interactify.errors import PhotoError
from interactify.pictures.tiff import array_of_tiff, pillow_reads_all_of, size_of_tiff

# Formats of arrays, by the ending of their names: who reads them, since nobody would save them as PNG.
_READERS: Final = {
    ".npy": "np.load(path)",
    ".npz": "np.load(path)[name]",
    ".dcm": "pydicom.dcmread(path).pixel_array with value_range=(low, high)",
    ".nii": "nibabel.load(path).dataobj[..., k] with value_range=(low, high)",
    ".gz": "nibabel.load(path).dataobj[..., k] with value_range=(low, high), for NIfTI",
    ".mha": "SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(path))[k] with value_range=(low, high)",
    ".h5": "h5py.File(path)[name]",
    ".hdf5": "h5py.File(path)[name]",
    ".mat": "scipy.io.loadmat(path)[name]",
    ".jp2": "rasterio.open(path).read().transpose(1, 2, 0)",
}


def upright(image: Image.Image) -> Image.Image:
    """A picture with the rotation in its EXIF data applied, in its own mode.

    >>> upright(Image.new("LA", (64, 48))).size
    (64, 48)
    """
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # only the EXIF data are damaged: use the pixels without rotation
        return image


def array_of_file(path: str | os.PathLike, channels: int, *, ranged: bool) -> np.ndarray:
    """The pixels of a picture file, upright.

    Args:
        path: of the file. TIFF files that Pillow reads only in part, or not at all, are read by tifffile.
        channels: of the network. Other than 1 and 3 only TIFF files have.
        ranged: whether a range of values is given for it: then whole numbers of any type are accepted, and a file of
            which Pillow would lose bits is refused.

    Raises:
        PhotoError: the file is missing, no picture, damaged, or of another number of channels.
    """
    name = _existing(path)
    if not pillow_reads_all_of(name, channels, ranged=ranged):
        return array_of_tiff(name, channels)
    if channels not in (1, 3):
        raise _other_channels(channels, f"the picture file {name!r}", "or a TIFF file with as many bands")
    # Decoders raise nearly any exception on broken files (OSError, SyntaxError, struct.error, zlib.error, ...).
    try:
        with Image.open(name) as image:
            _check_depth(image, ranged)
            image.load()
            return array_of_image(upright(image), channels, ranged=ranged)
    except PhotoError as problem:
        raise PhotoError(f"{name!r}: {problem}") from problem
    except Image.UnidentifiedImageError as problem:
        reader = _READERS.get(Path(name).suffix.lower())
        hint = f"Try to read it as an array: {reader}." if reader else "Try to save it as PNG, JPEG or TIFF."
        raise PhotoError(
            f"Expected a picture in a known format, got {name!r}, which is not a picture. {hint}"
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


def size_of_file(path: str | os.PathLike, *, ranged: bool) -> tuple[int, int]:
    """(H, W) of a picture file, upright, for any network; it is decoded, so that damage is found.

    Raises:
        PhotoError: the file is missing, no picture, or damaged.
    """
    name = _existing(path)
    if not pillow_reads_all_of(name, 3, ranged=ranged):
        return size_of_tiff(name)
    height, width = array_of_file(name, 3, ranged=ranged).shape[:2]
    return height, width


def array_of_image(image: Image.Image, channels: int, *, ranged: bool) -> np.ndarray:
    """The pixels of a PIL image of any mode; arguments and errors as for `array_of_file`."""
    if channels not in (1, 3):
        raise _other_channels(channels, "a PIL image", "instead")
    if 0 in image.size:
        raise PhotoError(f"Expected a picture with pixels, got no pixels: {image.width} wide and {image.height} high.")
    try:
        return _pixels(image, ranged)
    except PhotoError:
        raise
    except Exception as problem:  # a PIL image reads its file only here
        raise PhotoError(
            f"Expected a readable PIL image, got one of mode {image.mode!r}: {problem or type(problem).__name__}. "
            'It may be damaged or closed. Try image.convert("RGB"), or open it again.'
        ) from problem


def _other_channels(channels: int, got: str, otherwise: str) -> PhotoError:
    return PhotoError(
        f"Expected a photo of {channels} channels, which this network takes, got {got}, which has 1 or 3. "
        f"Try an (H, W, {channels}) array or a ({channels}, H, W) tensor {otherwise}."
    )


def _existing(path: str | os.PathLike) -> str:
    """The path of a file that is there and is not empty."""
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
    return name


def _check_depth(image: Image.Image, ranged: bool) -> None:
    """Refuse a range of values for colours of 16 bits, of which Pillow gives the upper eight only."""
    kinds: list[Any] = [tile[3] for tile in getattr(image, "tile", ())]
    if ranged and len(image.getbands()) > 1 and any(";16" in str(kind) for kind in kinds):
        raise PhotoError(
            "Expected all bits of every value, since value_range is given, got colours of 16 bits, of which Pillow "
            "reads eight. Try an array, such as cv2.imread(path, cv2.IMREAD_UNCHANGED)[..., ::-1]."
        )


def _pixels(image: Image.Image, ranged: bool) -> np.ndarray:
    """A PIL image of any mode as (H, W), (H, W, 3) or (H, W, 4)."""
    if image.mode.startswith("I"):
        array = np.asarray(image)
        if ranged:
            return array
        if array.min() < 0 or array.max() > 65535:
            raise PhotoError(
                f"Expected 16 bits, 0 to 65535, in a picture of mode {image.mode!r}, got values from "
                f"{array.min()} to {array.max()}. Try value_range=(low, high) in session() or wrap(), the values that "
                "are black and white."
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
