"""Files and folders on this machine, or on any path that fsspec knows: s3://, gs:// and the like.

Files elsewhere are written as a whole, so that a reader gets the old content or the new one.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from interactify.errors import OptionError, extra, reason_of
from interactify.export.files import prepare_folder, write_whole

_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)


@dataclass(frozen=True)
class Place:
    """A file or folder: a path of this machine, or a URL for fsspec.

    >>> Place.of("photos/").at("cup.jpg").name
    'cup.jpg'
    """

    path: str
    remote: bool = False

    @classmethod
    def of(cls, path: str | os.PathLike[str]) -> Place:
        """The place of a path or URL. Raises OptionError for a URL whose file system can't be used here."""
        text = os.fspath(path)
        if text.startswith("file://"):
            text = text.removeprefix("file://")
        if not _URL.match(text):
            return cls(str(Path(text).expanduser()))
        place = cls(text.rstrip("/"), True)
        place._files()
        return place

    @property
    def name(self) -> str:
        """The last part of the path."""
        return PurePosixPath(self.path).name if self.remote else Path(self.path).name

    @property
    def parent(self) -> Place:
        """The folder that it is in."""
        if not self.remote:
            return Place(str(Path(self.path).parent))
        return Place(self.path.rpartition("/")[0], True)

    def at(self, name: str) -> Place:
        """A place below this one; `name` has "/" between its parts."""
        return Place(f"{self.path}/{name}" if self.remote else str(Path(self.path, name)), self.remote)

    def is_folder(self) -> bool:
        """Whether there is a folder."""
        return bool(self._asked("isdir")) if self.remote else Path(self.path).is_dir()

    def exists(self) -> bool:
        """Whether there is something."""
        return bool(self._asked("exists")) if self.remote else Path(self.path).exists()

    def names(self) -> list[str]:
        """All files below, as `at` takes them, in the order of their names; hidden ones are left out."""
        if self.remote:
            root = str(self._files()[1]).rstrip("/")
            found = [str(each)[len(root) :].lstrip("/") for each in self._asked("find")]
        else:
            found = [
                (Path(folder, name).relative_to(self.path)).as_posix()
                for folder, _, names in os.walk(self.path, followlinks=True)
                for name in names
            ]
        return sorted(name for name in found if not any(part.startswith(".") for part in name.split("/")))

    def read(self) -> bytes:
        """The content of a file. Raises OptionError where it can't be read."""
        try:
            if self.remote:
                return bytes(self._asked("cat_file"))
            return Path(self.path).read_bytes()
        except OSError as cause:
            raise OptionError(f"Can't read {self} ({cause.strerror or cause}). Try its whole path.") from cause

    def write(self, content: bytes) -> None:
        """Replace a file as a whole. Raises OptionError where it can't be written."""
        if not self.remote:
            Path(self.path).parent.mkdir(parents=True, exist_ok=True)
            write_whole(self.path, content)
            return
        self._asked("pipe_file", content)

    def prepare(self) -> None:
        """Make sure that files can be written to this folder. Raises OptionError."""
        if not self.remote:
            prepare_folder(self.path)
            return
        probe = self.at(".writable")
        probe.write(b"")
        probe._asked("rm_file")

    @contextmanager
    def here(self) -> Iterator[Path]:
        """A file of this machine with the content and the name of this one, for as long as the block lasts."""
        if not self.remote:
            yield Path(self.path)
            return
        with TemporaryDirectory(prefix="interactify-") as folder:
            copy = Path(folder, self.name)
            copy.write_bytes(self.read())
            yield copy

    @contextmanager
    def filled(self) -> Iterator[Path]:
        """A folder of this machine whose files are in this one after the block."""
        if not self.remote:
            Path(self.path).mkdir(parents=True, exist_ok=True)
            yield Path(self.path)
            return
        with TemporaryDirectory(prefix="interactify-") as folder:
            yield Path(folder)
            for file in sorted(path for path in Path(folder).rglob("*") if path.is_file()):
                self.at(file.relative_to(folder).as_posix()).write(file.read_bytes())

    def remove(self) -> None:
        """Remove a file, or a folder with all that is in it, where there is one."""
        if self.remote:
            if self.exists():
                files, path = self._files()
                files.rm(path, recursive=True)
        elif Path(self.path).is_dir():
            shutil.rmtree(self.path)
        else:
            Path(self.path).unlink(missing_ok=True)

    def _files(self) -> tuple[Any, str]:
        try:
            import fsspec

            files, path = fsspec.core.url_to_fs(self.path)
            return files, str(path)
        except (ImportError, ValueError) as cause:
            raise OptionError(
                f"Expected a path that fsspec knows, got {self.path}: {reason_of(cause)}. Try {extra('remote')}, and "
                "the package that fsspec names for this kind of address."
            ) from cause

    def _asked(self, what: str, *arguments: Any) -> Any:
        files, path = self._files()
        try:
            return getattr(files, what)(path, *arguments)
        except FileNotFoundError as cause:
            raise OptionError(f"Expected a file at {self.path}, got none. Try its whole address.") from cause
        except Exception as cause:  # each file system has errors of its own
            raise OptionError(f"Can't reach {self.path} ({reason_of(cause)}). Try the rights for it.") from cause

    def __str__(self) -> str:
        return self.path
