"""A project: its photos, their status, and the folder for results."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from interactify import demo_photos
from interactify.app.pictures import pictures_in, upload_name
from interactify.app.volumes.paths import is_volume, volumes_in
from interactify.errors import OptionError, PhotoError
from interactify.export import prepare_folder
from interactify.export.files import safe_file_name, write_json, write_whole
from interactify.pictures.value_range import ValueRange
from interactify.web.pictures import check_header, check_pixels

STATUSES: Final = ("open", "done", "skipped")
FOLDERS: Final = ("masks", "labels", "sessions", "photos")
OUT: Final = "interactify-out"
MAX_PHOTOS: Final = 100_000


@dataclass(frozen=True)
class Photo:
    """A photo of a project.

    Attributes:
        number: its index, by which the page names it.
        path: the file.
        id: its name in project.json: the file's name, with photos/ before it for an uploaded picture.
        key: the name of its result files, without suffix; safe on any system.
        status: "open", "done" or "skipped".
        interactions: the number of interactions with all its objects.
    """

    number: int
    path: Path
    id: str
    key: str
    status: str = "open"
    interactions: int = 0

    @property
    def name(self) -> str:
        """Its file's name as valid text: bytes that are no text are replaced."""
        return os.fsencode(self.path.name).decode("utf-8", "replace")


@dataclass
class Project:
    """The photos and the folder of a project. Its methods may be called from several threads.

    Attributes:
        out: the folder, with masks/, labels/, sessions/, annotations.json and project.json.
    """

    out: Path
    _photos: list[Photo] = field(default_factory=list)
    _stored: dict[str, dict[str, Any]] = field(default_factory=dict)  # entries of project.json, also of absent photos
    _lock: threading.RLock = field(default_factory=threading.RLock)

    @classmethod
    def opened(cls, paths: Sequence[Path], out: Path, *, uploads: bool = True) -> Project:
        """A project of these photos and of the pictures uploaded to its folder, with their status as it was left.

        Without `uploads`, of these files alone, which may be volumes.

        Raises:
            OptionError: the folder can't be written to, or holds files of something else.
        """
        project = cls(prepare_folder(out))
        project._stored = project._read()
        for name in FOLDERS:
            prepare_folder(out / name)
        uploaded = [path for path in pictures_in(out / "photos") if uploads and path not in paths]
        for id, path in [*((path.name, path) for path in paths), *((f"photos/{path.name}", path) for path in uploaded)]:
            project._add(path, id)
        project._write()  # so that no photo added later takes over the files of one of these
        return project

    @property
    def photos(self) -> tuple[Photo, ...]:
        """All of them, in order."""
        with self._lock:
            return tuple(self._photos)

    def photo(self, number: int) -> Photo | None:
        """The photo with this number, or None."""
        with self._lock:
            return self._photos[number] if 0 <= number < len(self._photos) else None

    def mark(self, number: int, *, status: str | None = None, interactions: int | None = None) -> Photo:
        """Set a photo's status or its number of interactions, on disk too.

        Raises:
            OptionError: an unknown status, or the folder can't be written to.
        """
        if status is not None and status not in STATUSES:
            raise OptionError(f"Expected a status of {', '.join(STATUSES)}, got {status!r}.")
        with self._lock:
            photo = self._photos[number]
            count = photo.interactions if interactions is None else interactions
            marked = replace(photo, status=status or photo.status, interactions=count)
            if marked != photo:
                self._photos[number] = marked
                self._write()
            return marked

    def upload(self, name: str, content: bytes, channels: int = 3, value_range: ValueRange | None = None) -> Photo:
        """Add a picture to the project; it is written to its folder, under a safe name that no other photo has.

        With the channels of the network, and the values of photos that are black and white for it.

        Raises:
            PhotoError: the picture can't be opened here; nothing is written then.
            OptionError: the folder can't be written to.
        """
        form = check_pixels(content, "the file", channels, value_range)
        with self._lock:
            if len(self._photos) >= MAX_PHOTOS:
                raise PhotoError(f"Expected at most {MAX_PHOTOS} photos. Try another folder for results: --out.")
            taken = {photo.path.name.lower() for photo in self._photos}
            wanted = Path(upload_name(name, form))
            names = (f"{wanted.stem}{'' if k == 1 else f'-{k}'}{wanted.suffix}" for k in range(1, len(taken) + 2))
            path = self.out / "photos" / next(each for each in names if each.lower() not in taken)
            write_whole(path, content)
            self._add(path, f"photos/{path.name}")
            self._write()
            return self._photos[-1]

    def _add(self, path: Path, id: str) -> None:
        stored = self._stored.setdefault(id, {})
        stored.setdefault("key", self._new_key(path))
        status, interactions = stored.get("status"), stored.get("said")
        self._photos.append(
            Photo(
                len(self._photos),
                path,
                id,
                stored["key"],
                status if isinstance(status, str) and status in STATUSES else "open",
                interactions if isinstance(interactions, int) else 0,
            )
        )

    def _new_key(self, path: Path) -> str:
        """A key that no other photo has or had, also where a file system ignores the case of letters."""
        taken = {str(stored.get("key")).lower() for stored in self._stored.values()}
        compressed = path.name.lower().endswith(".nii.gz")
        name, ending = (path.name[:-7], "nii.gz") if compressed else (path.stem, path.suffix.lstrip("."))
        stem, suffix = file_key(name), file_key(ending)
        wanted = (stem, f"{stem}-{suffix}", *(f"{stem}-{suffix}-{k}" for k in range(2, len(taken) + 3)))
        return next(key for key in wanted if key.lower() not in taken)

    def _read(self) -> dict[str, dict[str, Any]]:
        path = self.out / "project.json"
        try:
            photos = json.loads(path.read_bytes())["photos"]
            stored = {id: dict(entry) for id, entry in photos.items() if file_key(entry["key"]) == entry["key"]}
        except FileNotFoundError:
            foreign = [name for name in (*FOLDERS, "annotations.json") if _has_content(self.out / name)]
            if foreign:
                raise OptionError(
                    f"Expected an empty folder for results, or one with results of this page; {self.out} holds "
                    f"{foreign[0]}, which might be overwritten. Name another folder: --out."
                ) from None
            return {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as cause:
            raise OptionError(
                f"Expected the {path} that this page writes, got something else ({type(cause).__name__}). Name another "
                "folder, --out, or repair the file: it assigns sessions and masks to photos."
            ) from cause
        return stored

    def _write(self) -> None:
        for p in self._photos:
            entry = {"key": p.key, "status": p.status, "said": p.interactions}  # "said": the format of version 0.1
            self._stored[p.id] = {**self._stored[p.id], **entry}
        write_json(self.out / "project.json", {"interactify": 1, "photos": self._stored})


def file_key(text: str) -> str:
    """A photo's name as part of a file name on any system, at most 120 bytes.

    >>> file_key("photo 1"), file_key('a"b?/..'), len(file_key("é" * 200).encode())
    ('photo 1', 'a-b', 120)
    """
    return safe_file_name(text, "photo", keep=None, max_bytes=120)


def _has_content(path: Path) -> bool:
    return path.is_file() or (path.is_dir() and any(path.iterdir()))


def photos_of(given: Path | None, out: Path | None) -> tuple[list[Path], Path]:
    """The photos of a command line and the folder for results: of a file, a folder, or the embedded photos.

    Raises:
        PhotoError: there is no such file or folder, no picture in it, or the file can't be opened here.
    """
    if given is None:
        return [photo.path for photo in demo_photos.photos()], out or Path(OUT)
    if given.is_dir():
        found = pictures_in(given)
        if not found:
            raise PhotoError(f"Expected a folder with pictures directly in it, got {given} with none. Try another one.")
        return found, out or given / OUT
    if not given.is_file():
        raise PhotoError(f"Expected a picture file or a folder, got {given}, which is neither. Check the path.")
    check_header(given, str(given))
    return [given], out or given.parent / OUT


def volumes_of(given: Path, out: Path | None, stacks: bool = False) -> tuple[list[Path], Path]:
    """The volumes of a command line and the folder for results.

    Raises:
        PhotoError: there is no such path, or no volume there.
    """
    if not given.exists():
        raise PhotoError(
            f"Expected a volume or a folder of volumes, got {given}, which does not exist. Check the path."
        )
    if is_volume(given, stacks):
        return [given], out or given.parent / OUT
    found = volumes_in(given, stacks) if given.is_dir() else []
    if not found:
        raise PhotoError(
            "Expected a .nii, .nii.gz, .tif, .npy or .zarr, a folder of DICOM files, or a folder with volumes in it, "
            f"got {given}. Try another path."
        )
    return found, out or given / OUT
