"""Which picture files are opened, decided before any of them is decoded: by their first bytes, size and pixel count.

TIFF files that Pillow does not know (many bands, wide integers) are opened as a session opens them, by tifffile.
"""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import IO, Any, Final

from PIL import Image

from interactify.errors import PhotoError
from interactify.export.files import safe_file_name
from interactify.pictures.image_files import upright
from interactify.pictures.picture import drawing_of, open_picture
from interactify.pictures.tiff import array_of_tiff, extent_of_tiff, is_tiff, pillow_reads_all_of
from interactify.pictures.value_range import ValueRange

FORMATS: Final = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "BMP": ".bmp", "TIFF": ".tif"}
SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
MAX_FILE_BYTES: Final = 64 * 2**20
MAX_PIXELS: Final = 50_000_000
MAX_VALUES: Final = 4 * MAX_PIXELS  # of all bands of a TIFF file that Pillow does not know
MIN_SIDE: Final = 8  # pixels


def check_header(content: Path | bytes, name: str, channels: int = 3) -> str:
    """Check a picture by its size and header, without decoding it; returns its format, one of `FORMATS`.

    Args:
        content: the file, or its bytes.
        name: the picture's name in errors.
        channels: of the network. For other numbers than 1 and 3, TIFF files are opened with all their bands.

    Raises:
        PhotoError: too many bytes, too many or too few pixels, or none of the formats; tifffile is missing for a TIFF
            file that only it knows.

    >>> check_header(interactify.zoo.photos()[0].path, "cat.jpg")
    'JPEG'
    """
    length = len(content) if isinstance(content, bytes) else content.stat().st_size
    if not 0 < length <= MAX_FILE_BYTES:
        raise PhotoError(
            f"Expected a file of 1 to {MAX_FILE_BYTES} bytes, got {name} with {length}. Try a smaller one."
        )
    source: IO[bytes] | Path = io.BytesIO(content) if isinstance(content, bytes) else content
    try:
        with Image.open(source, formats=list(FORMATS)) as opened:
            width, height = opened.size
            # MPO is a JPEG with a second picture behind it, as phones save it.
            form = "JPEG" if opened.format == "MPO" else opened.format or ""
    except Image.UnidentifiedImageError as cause:
        if not _is_tiff(content):
            raise _unknown(name, cause) from cause
        form = ""
    except Exception as cause:  # broken headers raise nearly anything, PIL's own "too many pixels" included
        raise _unknown(name, cause) from cause
    if not form or (form == "TIFF" and channels not in (1, 3)):
        (height, width), form = _size_of_tiff(content, name), "TIFF"
    if width * height > MAX_PIXELS or min(width, height) < MIN_SIDE:
        raise PhotoError(
            f"Expected a picture with sides of {MIN_SIDE} pixels or more and at most {MAX_PIXELS} pixels, got {name}, "
            f"which is {width} wide and {height} high. Try to scale it."
        )
    return form


def _unknown(name: str, cause: Exception) -> PhotoError:
    return PhotoError(
        f"Expected a picture ({', '.join(FORMATS)}), got {name}, which can't be opened as one "
        f"({type(cause).__name__}). Try to save it in one of these formats."
    )


def _is_tiff(content: Path | bytes) -> bool:
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
                open_picture(opened, value_range=value_range)
            return form
        except PhotoError:  # numbers that are no brightness, for instance
            raise
        except Image.UnidentifiedImageError:  # a TIFF that only tifffile knows
            pass
        except Exception as cause:  # decoders raise nearly anything for broken pictures
            raise PhotoError(_damaged(name, cause)) from cause
    open_picture(array_of_tiff(name, channels, content), channels, value_range=value_range)
    return form


def pictures_in(folder: Path) -> list[Path]:
    """The picture files directly in a folder, by name; links that lead out of the folder are left out."""
    inside = folder.resolve()
    found = [path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")]
    return sorted((path for path in found if path.resolve().parent == inside and path.is_file()), key=_natural_order)


def upload_name(name: str, form: str) -> str:
    """A safe file name for an uploaded picture, with the suffix of its format.

    >>> upload_name("../../etc/my cat?.PNG", "JPEG"), upload_name("...", "PNG")
    ('my-cat.jpg', 'photo.png')
    """
    stem = re.split(r"[/\\]", name)[-1].rsplit(".", 1)[0]
    return f"{safe_file_name(stem, 'photo', max_bytes=80)}{FORMATS[form]}"


def as_jpeg(path: Path, channels: int = 3, value_range: ValueRange | None = None) -> bytes:
    """A photo as browsers show it, upright and in full size: its pixels and nothing else of the file.

    Args:
        path: the photo.
        channels: of the network; of more than three the first three are drawn, as red, green and blue.
        value_range: if given, its first value is black and its second white, as for the network.

    Raises:
        PhotoError: the file is not there any more, or is no picture that is opened here.
    """
    _check_file(path, channels)
    return _jpeg(_drawing(path, channels, value_range), quality=93, subsampling=0)


def thumbnail(path: Path, longest: int, channels: int = 3, value_range: ValueRange | None = None) -> bytes:
    """The same with sides of at most `longest` pixels. For speed, a JPEG is decoded no larger than needed."""
    form = _check_file(path, channels)
    if pillow_reads_all_of(str(path), 3, ranged=value_range is not None):
        try:
            with Image.open(path, formats=[form]) as image:
                if value_range is None and (form == "JPEG" or image.mode in ("RGB", "L")):
                    image.thumbnail((longest, longest), reducing_gap=2.0)
                    return _jpeg(upright(image).convert("RGB"), quality=80, subsampling=2)
        except Exception as cause:  # decoders raise nearly anything for broken pictures
            raise PhotoError(_damaged(path.name, cause)) from cause
    # Deep, transparent, with a palette, of many bands, or in a range of values: as a session opens it.
    small = _drawing(path, channels, value_range)
    small.thumbnail((longest, longest), reducing_gap=2.0)
    return _jpeg(small, quality=80, subsampling=2)


def _drawing(path: Path, channels: int, value_range: ValueRange | None) -> Image.Image:
    """A photo in colours or grey; a TIFF file in the network's bands, which only such files have."""
    bands = channels if _is_tiff(path) else 3
    return Image.fromarray(drawing_of(path, bands, value_range=value_range))


def _check_file(path: Path, channels: int) -> str:
    """The format of a photo that was there when the project was opened; raises as `check_header`."""
    try:
        return check_header(path, path.name, channels)
    except OSError as cause:
        raise PhotoError(f"{path.name} can't be opened ({cause.strerror}). Was it moved?") from cause


def _damaged(name: str, cause: Exception) -> str:
    return f"{name} is damaged or cut short ({type(cause).__name__}). Try to copy or save it again."


def _jpeg(image: Image.Image, quality: int, subsampling: int) -> bytes:
    content = io.BytesIO()
    image.save(content, "JPEG", quality=quality, subsampling=subsampling)
    return content.getvalue()


def _natural_order(path: Path) -> Any:
    """Photo 2 before photo 10."""
    return [int(part) if part.isdecimal() else part.lower() for part in re.split(r"(\d+)", path.name)]
