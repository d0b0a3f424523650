"""Which pictures are opened, decided before any of them is decoded: by their first bytes, their size, their pixels."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import IO, Any, Final

from PIL import Image

from interactify.errors import PhotoError
from interactify.pictures.decode import upright
from interactify.pictures.picture import open_picture

FORMATS: Final = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "BMP": ".bmp", "TIFF": ".tif"}
ENDINGS: Final = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
LARGEST_FILE: Final = 64 * 2**20  # bytes
LARGEST_PHOTO: Final = 50_000_000  # pixels
SMALLEST_SIDE: Final = 8  # pixels


def checked_picture(content: Path | bytes, name: str) -> str:
    """Look at a picture's header, and nothing else of it; returns its format, one of `FORMATS`.

    Args:
        content: the file, or its bytes.
        name: what errors call it.

    Raises:
        PhotoError: too many bytes or pixels, hardly any pixels, or none of the formats.

    >>> checked_picture(interactify.zoo.photos()[0].path, "cat.jpg")
    'JPEG'
    """
    length = len(content) if isinstance(content, bytes) else content.stat().st_size
    if not 0 < length <= LARGEST_FILE:
        raise PhotoError(f"{name} has {length} bytes; expected 1 to {LARGEST_FILE}. Save it smaller, and try that.")
    source: IO[bytes] | Path = io.BytesIO(content) if isinstance(content, bytes) else content
    try:
        with Image.open(source, formats=list(FORMATS)) as opened:
            width, height = opened.size
            # MPO is a JPEG with a second picture behind it, as phones save it.
            form = "JPEG" if opened.format == "MPO" else opened.format or ""
    except Exception as cause:  # whatever a broken header leads to, "too many pixels" of PIL's own among it
        raise PhotoError(
            f"{name} is no picture that can be opened ({type(cause).__name__}). Expected {', '.join(FORMATS)}; save it "
            "as one of them."
        ) from cause
    if width * height > LARGEST_PHOTO or min(width, height) < SMALLEST_SIDE:
        raise PhotoError(
            f"{name} is {width} wide and {height} high; expected sides of {SMALLEST_SIDE} pixels or more and at most "
            f"{LARGEST_PHOTO} pixels in all. Scale it, and try that."
        )
    return form


def whole_picture(content: bytes, name: str) -> str:
    """The same, and then all of its pixels: a picture that is cut short is none. Raises as `checked_picture`."""
    form = checked_picture(content, name)
    try:
        with Image.open(io.BytesIO(content), formats=[form]) as opened:
            opened.load()
            open_picture(opened)
    except PhotoError:  # numbers that are no brightness, say
        raise
    except Exception as cause:  # decoders meet broken pictures with nearly any exception
        raise PhotoError(f"{name} is damaged or cut short ({type(cause).__name__}). Copy or save it again.") from cause
    return form


def pictures_in(folder: Path) -> list[Path]:
    """The picture files that lie in a folder itself, by name; links that lead out of it are left alone."""
    inside = folder.resolve()
    found = [path for path in folder.iterdir() if path.suffix.lower() in ENDINGS and not path.name.startswith(".")]
    return sorted((path for path in found if path.resolve().parent == inside and path.is_file()), key=_in_order)


def plain_name(name: str, form: str) -> str:
    """A file's name that is safe anywhere, of what someone called a picture, ending as its format does.

    >>> plain_name("../../etc/my cat?.PNG", "JPEG"), plain_name("...", "PNG")
    ('my-cat.jpg', 'photo.png')
    """
    stem = re.split(r"[/\\]", name)[-1].rsplit(".", 1)[0]
    stem = re.sub(r"[^\w-]+", "-", stem).strip("-._")[:80]
    return f"{stem or 'photo'}{FORMATS[form]}"


def as_jpeg(path: Path) -> bytes:
    """A photo as browsers show it, upright and in its own size: its pixels and nothing else of the file.

    Raises:
        PhotoError: it is none that is opened here, or it is not there any more.
    """
    _still_there(path)
    return _jpeg(Image.fromarray(open_picture(path).uint8()), quality=93, subsampling=0)


def thumbnail(path: Path, longest: int) -> bytes:
    """The same with sides of at most `longest` pixels. A folder has many: a JPEG is decoded no larger than need be."""
    form = _still_there(path)
    try:
        with Image.open(path, formats=[form]) as image:
            if form == "JPEG" or image.mode in ("RGB", "L"):
                image.thumbnail((longest, longest), reducing_gap=2.0)
                return _jpeg(upright(image).convert("RGB"), quality=80, subsampling=2)
    except Exception as cause:  # decoders meet broken pictures with nearly any exception
        raise PhotoError(f"{path.name} is damaged or cut short ({type(cause).__name__}). Copy it again.") from cause
    small = Image.fromarray(open_picture(path).uint8())  # deep, transparent or of a palette: as a session sees it
    small.thumbnail((longest, longest), reducing_gap=2.0)
    return _jpeg(small, quality=80, subsampling=2)


def _still_there(path: Path) -> str:
    """The format of a photo that was there when the project was opened; raises as `checked_picture`."""
    try:
        return checked_picture(path, path.name)
    except OSError as cause:
        raise PhotoError(f"{path.name} can't be looked at ({cause.strerror}). Was it moved?") from cause


def _jpeg(image: Image.Image, quality: int, subsampling: int) -> bytes:
    content = io.BytesIO()
    image.save(content, "JPEG", quality=quality, subsampling=subsampling)
    return content.getvalue()


def _in_order(path: Path) -> Any:
    """As people count: photo 2 before photo 10."""
    return [int(part) if part.isdecimal() else part.lower() for part in re.split(r"(\d+)", path.name)]
