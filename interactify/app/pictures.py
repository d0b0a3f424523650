"""Photos on their way to the page: which files of a folder are photos, and what a browser is sent of one."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any, Final

from PIL import Image

from interactify.errors import PhotoError
from interactify.export.files import safe_file_name
from interactify.pictures.arrays import drawing_of_array
from interactify.pictures.image_files import upright
from interactify.pictures.tiff import pillow_reads_all_of
from interactify.pictures.value_range import ValueRange
from interactify.web.pictures import FORMATS, check_header, damaged, is_tiff_file

SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")


def pictures_in(folder: Path) -> list[Path]:
    """The picture files directly in a folder, by name; links that lead out of the folder are left out."""
    inside = folder.resolve()
    found = [path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")]
    return sorted((path for path in found if path.resolve().parent == inside and path.is_file()), key=natural_order)


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
            raise PhotoError(damaged(path.name, cause)) from cause
    # Deep, transparent, with a palette, of many bands, or in a range of values: as a session opens it.
    small = _drawing(path, channels, value_range)
    small.thumbnail((longest, longest), reducing_gap=2.0)
    return _jpeg(small, quality=80, subsampling=2)


def _drawing(path: Path, channels: int, value_range: ValueRange | None) -> Image.Image:
    """A photo in colours or grey; a TIFF file in the network's bands, which only such files have."""
    bands = channels if is_tiff_file(path) else 3
    return Image.fromarray(drawing_of_array(path, bands, value_range))


def _check_file(path: Path, channels: int) -> str:
    """The format of a photo that was there when the project was opened; raises as `check_header`."""
    try:
        return check_header(path, path.name, channels)
    except OSError as cause:
        raise PhotoError(f"{path.name} can't be opened ({cause.strerror}). Was it moved?") from cause


def _jpeg(image: Image.Image, quality: int, subsampling: int) -> bytes:
    content = io.BytesIO()
    image.save(content, "JPEG", quality=quality, subsampling=subsampling)
    return content.getvalue()


def natural_order(path: Path) -> Any:
    """Photo 2 before photo 10."""
    return [int(part) if part.isdecimal() else part.lower() for part in re.split(r"(\d+)", path.name)]
