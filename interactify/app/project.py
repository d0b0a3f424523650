"""The photos that are worked on, what is done of them, and the folder where all of it is kept."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from interactify.app.pictures import checked_picture, pictures_in, plain_name, whole_picture
from interactify.errors import OptionError, PhotoError
from interactify.export import prepare_folder
from interactify.export.files import write_json
from interactify.whole_file import write_whole

STATUSES: Final = ("open", "done", "skipped")
OUT: Final = "interactify-out"
MOST: Final = 100_000  # photos of a project


@dataclass(frozen=True)
class Photo:
    """A photo of a project.

    Attributes:
        number: its place, which the page calls it by.
        path: the file.
        key: what the files made of it are called.
        status: "open", "done" or "skipped".
        said: how many interactions it has.
    """

    number: int
    path: Path
    key: str
    status: str = "open"
    said: int = 0


@dataclass
class Project:
    """Photos and a folder. Its methods may be called from several threads.

    Attributes:
        out: the folder, with masks/, labels/, sessions/, annotations.json and project.json.
    """

    out: Path
    _photos: list[Photo] = field(default_factory=list)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    @classmethod
    def opened(cls, paths: Sequence[Path], out: Path) -> Project:
        """A project of these photos, and of those that were brought to its folder by the page, as it was left.

        Raises:
            OptionError: the folder can't be written to.
        """
        project = cls(prepare_folder(out))
        for name in ("masks", "labels", "sessions", "photos"):
            prepare_folder(out / name)
        known = project._read()
        for path in (*paths, *pictures_in(out / "photos")):
            project._add(path, known.get(path.name, {}))
        return project

    @property
    def photos(self) -> tuple[Photo, ...]:
        """All of them, in order."""
        with self._lock:
            return tuple(self._photos)

    def photo(self, number: int) -> Photo | None:
        """A photo by its number; None where there is none."""
        with self._lock:
            return self._photos[number] if 0 <= number < len(self._photos) else None

    def mark(self, number: int, *, status: str | None = None, said: int | None = None) -> Photo:
        """Note what has become of a photo, on the disk too.

        Raises:
            OptionError: an unknown status, or the folder can't be written to.
        """
        if status is not None and status not in STATUSES:
            raise OptionError(f"Expected a status of {', '.join(STATUSES)}, got {status!r}.")
        with self._lock:
            photo = self._photos[number]
            marked = replace(photo, status=status or photo.status, said=photo.said if said is None else said)
            if marked != photo:
                self._photos[number] = marked
                self._write()
            return marked

    def bring(self, name: str, content: bytes) -> Photo:
        """Take a new picture into the project; it is kept in its folder, under a safe name that no other one has.

        Raises:
            PhotoError: it is none that is opened here; nothing is written then.
            OptionError: the folder can't be written to.
        """
        form = whole_picture(content, "The file")
        with self._lock:
            if len(self._photos) >= MOST:
                raise PhotoError(f"There are {MOST} photos already. Begin another project: --out.")
            taken = {photo.path.name.lower() for photo in self._photos}
            wished = Path(plain_name(name, form))
            names = (f"{wished.stem}{'' if k == 1 else f'-{k}'}{wished.suffix}" for k in range(1, len(taken) + 2))
            path = self.out / "photos" / next(each for each in names if each.lower() not in taken)
            write_whole(path, content)
            self._add(path, {})
            return self._photos[-1]

    def _add(self, path: Path, known: dict[str, Any]) -> None:
        taken = {photo.key for photo in self._photos}
        key = known.get("key")
        if not isinstance(key, str) or key in taken or Path(key).name != key or key.startswith("."):
            key = path.stem if path.stem not in taken else path.name.replace(".", "-")
            key = key if key not in taken else f"{key}-{len(self._photos)}"
        status, said = known.get("status"), known.get("said")
        self._photos.append(
            Photo(
                len(self._photos),
                path,
                key,
                status if isinstance(status, str) and status in STATUSES else "open",
                said if isinstance(said, int) else 0,
            )
        )

    def _read(self) -> dict[str, dict[str, Any]]:
        try:
            stored = json.loads((self.out / "project.json").read_bytes())["photos"]
            return {name: entry for name, entry in stored.items() if isinstance(entry, dict)}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as cause:
            raise OptionError(
                f"{self.out / 'project.json'} is not what interactify wrote ({type(cause).__name__}). Move it away: "
                "sessions and masks are in files of their own, and which photos are done is asked again."
            ) from cause

    def _write(self) -> None:
        photos = {p.path.name: {"key": p.key, "status": p.status, "said": p.said} for p in self._photos}
        write_json(self.out / "project.json", {"interactify": 1, "photos": photos})


def photos_of(given: Path | None, out: Path | None) -> tuple[list[Path], Path]:
    """The photos that a command line means, and its folder: a file, a folder of them, or those that are embedded.

    Raises:
        PhotoError: there is no such file or folder, no picture in it, or the file is none that is opened here.
    """
    if given is None:
        from interactify import zoo

        return [photo.path for photo in zoo.photos()], out or Path(OUT)
    if given.is_dir():
        found = pictures_in(given)
        if not found:
            raise PhotoError(f"Expected a folder with pictures in it, found none in {given}. Name another one.")
        return found, out or given / OUT
    if not given.is_file():
        raise PhotoError(f"No picture file or folder at {given}. Check the path.")
    checked_picture(given, str(given))
    return [given], out or given.parent / OUT
