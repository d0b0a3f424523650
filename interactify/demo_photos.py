"""Photos that come with the library, to try networks on. `interactify.zoo` has their public names.

They lie in the zoo's folder. This module needs no torch, so that a page whose network is at a service can show them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

from interactify.errors import CheckpointError, OptionError
from interactify.export.files import prepare_folder, write_whole
from interactify.interactions.click import Click

FOLDER: Final = Path(str(files("interactify"))) / "zoo" / "photos"
REINSTALL: Final = "The files come with the package: try to install interactify again."


@dataclass(frozen=True)
class DemoPhoto:
    """A photo that may be redistributed, with clicks that give the embedded networks its object."""

    name: str
    path: Path
    clicks_of: Mapping[str, tuple[Click, ...]]
    """By the network's name, in order; pixels of the photo, x to the right, y down."""
    source: str
    licence: str

    @property
    def clicks(self) -> tuple[Click, ...]:
        """Those that correct the mask of the network that was never shown a click, `load("saliency")`."""
        return self.clicks_of["saliency"]


def photos() -> list[DemoPhoto]:
    """The embedded photos, each with scripted clicks, its source and its licence.

    Raises:
        CheckpointError: the packaged list is missing or damaged.

    >>> from interactify import zoo
    >>> [photo.name for photo in zoo.photos()]
    ['cat', 'coffee', 'astronaut']
    """
    try:
        return [
            DemoPhoto(
                name=entry["name"],
                path=FOLDER / entry["file"],
                clicks_of={
                    name: tuple(Click.from_json(click) for click in clicks) for name, clicks in entry["clicks"].items()
                },
                source=f"{entry['author']}, {entry['source']}",
                licence=entry["licence"],
            )
            for entry in json.loads((FOLDER / "photos.json").read_text(encoding="utf-8"))
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"Expected a list of photos in {FOLDER / 'photos.json'}, got: {error}. {REINSTALL}"
        ) from error


def write_photos(folder: str | os.PathLike[str] = ".") -> list[Path]:
    """Write the embedded photos to a folder, as files to try things on: cat.jpg, coffee.jpg and astronaut.jpg.

    Args:
        folder: where; it is created where missing. By default the current folder.

    Returns:
        Their paths, in the order of `photos`.

    Raises:
        OptionError: a file of the same name has another content, or the folder can't be written to. Nothing is written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     [path.name for path in write_photos(folder)]
    ['cat.jpg', 'coffee.jpg', 'astronaut.jpg']
    """
    into = prepare_folder(folder)
    contents = {into / photo.path.name: photo.path.read_bytes() for photo in photos()}
    absent = [path for path in contents if not path.exists()]
    for path, content in contents.items():
        if path not in absent and (not path.is_file() or path.read_bytes() != content):
            raise OptionError(f"Expected no file {path}, or the embedded photo, got another one. Try another folder.")
    for path in absent:
        write_whole(path, contents[path])
    return list(contents)
