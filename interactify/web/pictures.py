"""Which picture files are opened, decided before any of them is decoded: by their first bytes, size and pixel count.

TIFF files that Pillow does not know (many bands, wide integers) are opened as a session opens them, by tifffile.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import IO, Final

from PIL import Image

from interactify.errors import PhotoError
from interactify.pictures.arrays import decoded_array
from interactify.pictures.tiff import array_of_tiff, extent_of_tiff, is_tiff
from interactify.pictures.value_range import ValueRange

FORMATS: Final = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "BMP": ".bmp", "TIFF": ".tif"}
MAX_FILE_BYTES: Final = 64 * 2**20
MAX_PIXELS: Final = 50_000_000
MAX_VALUES: Final = 4 * MAX_PIXELS  # of all bands of a TIFF file that Pillow does not know
MIN_SIDE: Final = 8  # pixels


def check_header(
    content: Path | bytes,
    name: str,
    channels: int = 3,
    *,
    most_bytes: int = MAX_FILE_BYTES,
    most_pixels: int = MAX_PIXELS,
) -> str:
    """Check a picture by its size and header, without decoding it; returns its format, one of `FORMATS`.

    Args:
        content: the file, or its bytes.
        name: the picture's name in errors.
        channels: of the network. For other numbers than 1 and 3, TIFF files are opened with all their bands.
        most_bytes, most_pixels: that the file and the picture may have.

    Raises:
        PhotoError: too many bytes, too many or too few pixels, or none of the formats; tifffile is missing for a TIFF
            file that only it knows.

    >>> check_header(interactify.zoo.photos()[0].path, "cat.jpg")
    'JPEG'
    """
    length = len(content) if isinstance(content, bytes) else content.stat().st_size
    if not 0 < length <= most_bytes:
        raise PhotoError(f"Expected a file of 1 to {most_bytes} bytes, got {name} with {length}. Try a smaller one.")
    source: IO[bytes] | Path = io.BytesIO(content) if isinstance(content, bytes) else content
    try:
        with Image.open(source, formats=list(FORMATS)) as opened:
            width, height = opened.size
            # MPO is a JPEG with a second picture behind it, as phones save it.
            form = "JPEG" if opened.format == "MPO" else opened.format or ""
    except Image.UnidentifiedImageError as cause:
        if not is_tiff_file(content):
            raise _unknown(name, cause) from cause
        form = ""
    except Exception as cause:  # broken headers raise nearly anything, PIL's own "too many pixels" included
        raise _unknown(name, cause) from cause
    if not form or (form == "TIFF" and channels not in (1, 3)):
        (height, width), form = _size_of_tiff(content, name), "TIFF"
    if width * height > most_pixels or min(width, height) < MIN_SIDE:
        raise PhotoError(
            f"Expected a picture with sides of {MIN_SIDE} pixels or more and at most {most_pixels} pixels, got {name}, "
            f"which is {width} wide and {height} high. Try to scale it."
        )
    return form


def _unknown(name: str, cause: Exception) -> PhotoError:
    return PhotoError(
        f"Expected a picture ({', '.join(FORMATS)}), got {name}, which can't be opened as one "
        f"({type(cause).__name__}). Try to save it in one of these formats."
    )


def is_tiff_file(content: Path | bytes) -> bool:
    """Whether a file, or its bytes, begins as a TIFF does."""
    if isinstance(content, bytes):
        return is_tiff(content)
    with content.open("rb") as file:
        return is_tiff(file.read(4))


def _size_of_tiff(content: Path | bytes, name: str) -> tuple[int, int]:
    given = (name, content) if isinstance(content, bytes) else (str(content), None)
    height, width, values = extent_of_tiff(*given)
    if values > MAX_VALUES:
        raise PhotoError(
            f"Expected a picture of at most {MAX_VALUES} values in all bands, got {name} with {values}. Try to scale "
            "it, or to keep the bands that the network reads."
        )
    return height, width


def check_pixels(content: bytes, name: str, channels: int = 3, value_range: ValueRange | None = None) -> str:
    """The same, and then decode all of its pixels, so that a truncated file is found. Raises as `check_header`.

    With the channels of the network, and the values of photos that are black and white for it.
    """
    form = check_header(content, name, channels)
    if form != "TIFF" or channels in (1, 3):
        try:
            with Image.open(io.BytesIO(content), formats=[form]) as opened:
                opened.load()
                decoded_array(opened, 3, value_range)
            return form
        except PhotoError:  # numbers that are no brightness, for instance
            raise
        except Image.UnidentifiedImageError:  # a TIFF that only tifffile knows
            pass
        except Exception as cause:  # decoders raise nearly anything for broken pictures
            raise PhotoError(damaged(name, cause)) from cause
    decoded_array(array_of_tiff(name, channels, content), channels, value_range)
    return form


def damaged(name: str, cause: Exception) -> str:
    """The text of an error for a picture whose header is right and whose pixels are not."""
    return f"{name} is damaged or cut short ({type(cause).__name__}). Try to copy or save it again."
