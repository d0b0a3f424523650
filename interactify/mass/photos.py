"""The photos of a run: those in a folder, and which of them each name in a file of prompts means."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Final

from PIL import Image

from interactify.errors import OptionError, PhotoError
from interactify.mass.masks_out import MASKS
from interactify.mass.places import Place
from interactify.mass.prompts.photo_prompts import PhotoPrompts, Size

ENDINGS: Final = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
SHOWN: Final = 3  # of missing photos, in the error
_TURNED: Final = (5, 6, 7, 8)  # EXIF's orientations that swap width and height
_ORIENTATION: Final = 0x0112
_UP: Final = re.compile(r"^(\.{0,2}/)+")  # what a name may begin with: /, ./ or ../


def photos_at(path: str) -> tuple[Place, list[str]]:
    """The folder, and the photos in it and in the folders below, by their path from it on; or one photo and its folder.

    Raises:
        PhotoError: there are none.
    """
    place = Place.of(path)
    if place.is_folder():
        names = [name for name in place.names() if PurePosixPath(name).suffix.lower() in ENDINGS]
        if not names:
            raise PhotoError(
                f"Expected photos in {path}, got none that end in {', '.join(ENDINGS)}. Try another folder."
            )
        return place, names
    if not place.exists():
        raise PhotoError(f"Expected a folder of photos at {path}, got no such folder. Try its whole path.")
    return place.parent, [place.name]


def outside(names: Sequence[str], folder: Place, out: Place) -> list[str]:
    """Those of a folder's names that a run with this `out` has not written.

    Where both are the same folder, these are all but its masks.
    """
    if folder.remote != out.remote:
        return list(names)
    inner, outer = (each.path if each.remote else os.path.abspath(each.path) for each in (out, folder))
    if inner == outer:
        return [name for name in names if not name.startswith(f"{MASKS}/")]
    if not inner.startswith(outer.rstrip("/" + os.sep) + ("/" if out.remote else os.sep)):
        return list(names)
    below = inner[len(outer) :].strip("/" + os.sep).replace(os.sep, "/")
    return [name for name in names if not name.startswith(f"{below}/")]


def matched(prompts: Iterable[PhotoPrompts], names: Sequence[str]) -> list[tuple[str, PhotoPrompts]]:
    """Each prompts' photo: by its path, or as much of the path's end as there is, with or without its ending.

    Raises:
        OptionError: a photo is missing, or several have the name, or two names mean the same photo.

    >>> matched([PhotoPrompts("photos/cup.jpg"), PhotoPrompts("mug")], ["cup.jpg", "b/mug.png"])[1][0]
    'b/mug.png'
    """
    ends: dict[str, set[str]] = {}
    for name in names:
        parts = name.split("/")
        for k in range(len(parts)):
            end = "/".join(parts[k:])
            for key in (end, str(PurePosixPath(end).with_suffix(""))):
                ends.setdefault(key, set()).add(name)
    exact = set(names)
    found: dict[str, PhotoPrompts] = {}
    missing = []
    for each in prompts:
        named = _UP.sub("", each.photo.replace("\\", "/"))
        parts = named.split("/")
        tails = ["/".join(parts[k:]) for k in range(len(parts))]
        candidates = {named} if named in exact else next((ends[tail] for tail in tails if tail in ends), set())
        if not candidates:
            missing.append(each.photo)
            continue
        if len(candidates) > 1:
            raise OptionError(
                f"Expected one photo for {each.photo}, got {', '.join(sorted(candidates)[:SHOWN])}. Try names with "
                "their folders in the prompts."
            )
        (name,) = candidates
        if name in found:
            raise OptionError(
                f"Expected each photo once in the prompts, got {found[name].photo} and {each.photo} for {name}. Try "
                "the same name for both."
            )
        found[name] = each
    if missing:
        more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
        raise OptionError(
            f"Expected all photos of the prompts among the photos, got no {', '.join(missing[:SHOWN])}{more}. Try the "
            "folder that their names begin in."
        )
    return [(name, found[name]) for name in names if name in found]


def stated_size(path: Path) -> Size | None:
    """(H, W) upright, from a picture file's header alone; None where it has none that Pillow knows."""
    try:
        with Image.open(path) as image:
            width, height = image.size
            turned = image.getexif().get(_ORIENTATION) in _TURNED
    except Exception:  # a damaged photo is reported with its results, and the others go on
        return None
    return (width, height) if turned else (height, width)
