"""TIFF files that Pillow does not read whole: floats, wide integers, colours of 16 bits, many bands; by tifffile.

One file is one picture here. Its bands are last in the array, whichever way the file has them: GeoTIFF's are
interleaved by pixel or by band, OME's are an axis of their own before Y and X.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, Final

import numpy as np
from PIL import Image

from interactify.errors import PhotoError, extra

_MAGIC: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two are BigTIFF's
_BITS, _PHOTOMETRIC, _SAMPLES = 258, 262, 277  # TIFF's tags: bits of each sample, their meaning, how many in a pixel
_BANDS: Final = "SCQ"  # tifffile's letters for samples of a pixel, channels, and an axis that nothing is known of
_BLACK_IS_ZERO, _RGB = 1, 2  # TIFF's photometric interpretations


def is_tiff(content: bytes) -> bool:
    r"""Whether the first four bytes of a file, or more of it, are a TIFF's.

    >>> is_tiff(b"II*\0"), is_tiff(b"\x89PNG")
    (True, False)
    """
    return content[:4] in _MAGIC


def pillow_reads_all_of(path: str, channels: int, *, ranged: bool) -> bool:
    """Whether Pillow is to read a file: it is no TIFF, or one of which nothing is lost.

    Without tifffile, what Pillow reads at least in part is left to it, unless a range of values is given (`ranged`).
    """
    try:
        with open(path, "rb") as file:
            if not is_tiff(file.read(4)):
                return True
        with Image.open(path) as image:
            tags = getattr(image, "tag_v2", {})
            deep = tags.get(_SAMPLES, 1) > 1 and max(tags.get(_BITS, (1,))) > 8
            whole = not deep or tags.get(_PHOTOMETRIC) not in (_BLACK_IS_ZERO, _RGB)
            return channels in (1, 3) and (whole or (not ranged and find_spec("tifffile") is None))
    except Image.UnidentifiedImageError:
        return False
    except Exception:  # a broken file, or one that is too large: Pillow's own error tells more
        return channels in (1, 3)


def array_of_tiff(path: str, channels: int, content: bytes | None = None) -> np.ndarray:
    """The picture in a TIFF file as (H, W) or (H, W, bands), in its own type.

    Args:
        path: of the file.
        channels: of the network: of 1 and 3, a fourth sample that is no transparency is left out; pages count as bands
            where there are as many as channels.
        content: of the file, where it does not lie on disk; the path is its name then.

    Raises:
        PhotoError: tifffile is not installed, the file is damaged, too large, or holds several pictures.
    """
    with _series(path, content) as series:
        array, axes, page = series.asarray(), series.axes, series.keyframe
        if array.shape != series.shape:
            raise ValueError(f"shape {array.shape} where {series.shape} was announced")
        samples = page.samplesperpixel if page.photometric == _RGB else 0
        alpha = any(int(kind) in (1, 2) for kind in page.extrasamples)
    array = _bands_last(path, array, axes, channels)
    if array.ndim == 3 and array.shape[2] == 4 and channels in (1, 3) and not alpha:
        if samples != 4:
            raise PhotoError(
                f"Expected 1 or 3 bands, got {path!r} with 4, of which none is transparency. Try to choose: "
                "tifffile.imread(path)[..., :3]."
            )
        array = array[..., :3]
    return array


def size_of_tiff(path: str) -> tuple[int, int]:
    """(H, W) of the picture in a TIFF file, whose values are not read. Raises as `array_of_tiff`."""
    return extent_of_tiff(path)[:2]


def extent_of_tiff(path: str, content: bytes | None = None) -> tuple[int, int, int]:
    """(H, W) of the picture in a TIFF file, and how many values it has in all bands and pages; none is read.

    Arguments and errors: as `array_of_tiff`.
    """
    with _series(path, content) as series:
        height, width = (int(series.shape[series.axes.index(axis)]) for axis in "YX")
        return height, width, int(np.prod(series.shape, dtype=np.float64))


@contextmanager
def _series(path: str, content: bytes | None = None) -> Iterator[Any]:
    """The file's first picture, open; what is raised of it is a PhotoError."""
    if find_spec("tifffile") is None:
        raise PhotoError(
            f"Expected a picture that Pillow reads whole, got {path!r}, a TIFF of another type or with other bands, "
            f"which needs tifffile. Try {extra('tiff')}; or read it yourself and give the array "
            "(H, W, bands), rasterio.open(path).read().transpose(1, 2, 0) for instance."
        )
    import tifffile  # optional: the extra "tiff"

    try:
        with _without_log(), tifffile.TiffFile(path if content is None else io.BytesIO(content)) as file:
            series = file.series[0]
            _check_size(path, series.shape)
            yield series
    except PhotoError:
        raise
    except Exception as cause:  # broken files raise nearly anything, and so do codecs that are missing
        hint = (
            "Try pip install imagecodecs, which decodes it."
            if "imagecodecs" in str(cause)
            else "It may be damaged or truncated. Try to copy or download it again."
        )
        reason = str(cause).splitlines()[0] if str(cause) else type(cause).__name__
        raise PhotoError(f"Expected a readable TIFF, got {path!r}: {reason}. {hint}") from cause


@contextmanager
def _without_log() -> Iterator[None]:
    """What tifffile logs of a broken file would be printed beside the error that tells the same."""
    logger = logging.getLogger("tifffile")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def _check_size(path: str, shape: tuple[int, ...]) -> None:
    limit = Image.MAX_IMAGE_PIXELS
    sides = sorted(shape)[-2:]
    if limit is not None and np.prod(sides, dtype=np.float64) > 2 * limit:  # as Pillow counts
        raise PhotoError(
            f"Expected a picture of at most {2 * limit} pixels, got {path!r} of shape {tuple(shape)}. Try an array "
            "that is read window by window: tifffile.memmap(path), or zarr.open(tifffile.imread(path, aszarr=True))."
        )


def _bands_last(path: str, array: np.ndarray, axes: str, channels: int) -> np.ndarray:
    """The array of a series with the axes that tifffile names: bands moved to the end, sides of 1 left out."""
    kept: list[tuple[str, int]] = [(a, n) for a, n in zip(axes, array.shape, strict=True) if n > 1 or a in "YX"]
    names = "".join(name for name, _ in kept)
    array = array.reshape([count for _, count in kept])
    others = names.replace("Y", "").replace("X", "")
    counts: dict[str, Any] = dict(kept)
    if not others:
        return array
    if len(others) == 1 and (others in _BANDS or (counts[others] == channels and channels not in (1, 3))):
        return np.moveaxis(array, names.index(others), -1)
    described = " × ".join(f"{counts[name]} {_AXES.get(name, name)}" for name in others)
    raise PhotoError(
        f"Expected one picture in {path!r}, got {described}. Try one of them: tifffile.imread(path)[k], or key=k."
    )


_AXES: Final = {
    "I": "pages",
    "Q": "pages",
    "T": "moments (T)",
    "Z": "slices (Z)",
    "C": "channels (C)",
    "S": "samples (S)",
}
