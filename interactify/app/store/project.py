"""The photos that are worked on, what is done of them, and the folder where all of it is kept."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from interactify.app.pictures import checked_picture, pictures_in, plain_name, whole_picture
from interactify.errors import OptionError, PhotoError
from interactify.export import prepare_folder
from interactify.export.files import write_json, write_whole

STATUSES: Final = ("open", "done", "skipped")
FOLDERS: Final = ("masks", "labels", "sessions", "photos")
OUT: Final = "interactify-out"
MOST: Final = 100_000  # photos of a project


@dataclass(frozen=True)
class Photo:
    """A photo of a project.

    Attributes:
        number: its place, which the page calls it by.
        path: the file.
        id: what it is known by from one time to the next: its name, with photos/ before it where the page brought it.
        key: what the files made of it are called, as letters of any system's file names.
        status: "open", "done" or "skipped".
        said: how many interactions it has.
    """

    number: int
    path: Path
    id: str
    key: str
    status: str = "open"
    said: int = 0

    @property
    def name(self) -> str:
        """Its file's name, as text that can be sent: what is no text in it is replaced."""
        return os.fsencode(self.path.name).decode("utf-8", "replace")


@dataclass
class Project:
    """Photos and a folder. Its methods may be called from several threads.

    Attributes:
        out: the folder, with masks/, labels/, sessions/, annotations.json and project.json.
    """

    out: Path
    _photos: list[Photo] = field(default_factory=list)
    _known: dict[str, dict[str, Any]] = field(default_factory=dict)  # what is kept of photos, also of absent ones
    _lock: threading.RLock = field(default_factory=threading.RLock)

    @classmethod
    def opened(cls, paths: Sequence[Path], out: Path) -> Project:
        """A project of these photos, and of those that were brought to its folder by the page, as it was left.

        Raises:
            OptionError: the folder can't be written to, or holds what was made by something else.
        """
        project = cls(prepare_folder(out))
        project._known = project._read()
        for name in FOLDERS:
            prepare_folder(out / name)
        brought = [path for path in pictures_in(out / "photos") if path not in paths]
        for id, path in [*((path.name, path) for path in paths), *((f"photos/{path.name}", path) for path in brought)]:
            project._add(path, id)
        project._write()  # a photo's files are never to be taken for those of one that comes later
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
            self._add(path, f"photos/{path.name}")
            self._write()
            return self._photos[-1]

    def _add(self, path: Path, id: str) -> None:
        known = self._known.setdefault(id, {})
        known.setdefault("key", self._new_key(path))
        status, said = known.get("status"), known.get("said")
        self._photos.append(
            Photo(
                len(self._photos),
                path,
                id,
                known["key"],
                status if isinstance(status, str) and status in STATUSES else "open",
                said if isinstance(said, int) else 0,
            )
        )

    def _new_key(self, path: Path) -> str:
        """One that no other photo has, or had: also where a system takes large letters for small ones."""
        taken = {str(known.get("key")).lower() for known in self._known.values()}
        stem, ending = (plain_key(part) for part in (path.stem, path.suffix.lstrip(".")))
        wished = (stem, f"{stem}-{ending}", *(f"{stem}-{ending}-{k}" for k in range(2, len(taken) + 3)))
        return next(key for key in wished if key.lower() not in taken)

    def _read(self) -> dict[str, dict[str, Any]]:
        path = self.out / "project.json"
        try:
            stored = json.loads(path.read_bytes())["photos"]
            known = {id: dict(entry) for id, entry in stored.items() if plain_key(entry["key"]) == entry["key"]}
        except FileNotFoundError:
            foreign = [name for name in (*FOLDERS, "annotations.json") if _holds_something(self.out / name)]
            if foreign:
                raise OptionError(
                    f"Expected an empty folder for results, or one of an earlier time; {self.out} holds {foreign[0]}, "
                    "which was not made here and might be written over. Name another folder: --out."
                ) from None
            return {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as cause:
            raise OptionError(
                f"{path} is not what interactify wrote ({type(cause).__name__}). Name another folder, --out, or mend "
                "the file: it says which sessions and masks belong to which photo."
            ) from cause
        return known

    def _write(self) -> None:
        for p in self._photos:
            self._known[p.id] = {**self._known[p.id], "key": p.key, "status": p.status, "said": p.said}
        write_json(self.out / "project.json", {"interactify": 1, "photos": self._known})


def plain_key(text: str) -> str:
    """Text as part of a file's name on any system: no control characters, nothing that means something to a shell.

    >>> plain_key("photo 1"), plain_key('a"b?/..'), len(plain_key("é" * 200).encode())
    ('photo 1', 'a-b', 120)
    """
    text = os.fsencode(text).decode("utf-8", "replace")
    kept = "".join(each if each.isprintable() and each not in '\ufffd/\\:*?"<>|' else "-" for each in text)
    return kept.encode()[:120].decode(errors="ignore").strip(" .-") or "photo"


def _holds_something(path: Path) -> bool:
    return path.is_file() or (path.is_dir() and any(path.iterdir()))


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
