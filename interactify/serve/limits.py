"""What a service allows: how many sessions, how long they wait, how large photos are, and which folders they lie in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from interactify.errors import OptionError, PhotoError, with_type
from interactify.web.limits import MAX_WAITING
from interactify.web.pictures import MAX_FILE_BYTES, MAX_PIXELS


@dataclass(frozen=True)
class Limits:
    """Each is checked when it is made; raises OptionError.

    Attributes:
        sessions: that have a place at one time, over all replicas.
        in_memory: sessions that one replica keeps in memory; others are replayed when they are needed.
        liveness: seconds without any request after which a session loses its place; a heartbeat is a request.
        idle: seconds without an action after which it does, whatever its heartbeat.
        keep: seconds without an action after which it is removed from the store.
        waiting: actions of one session that wait at one time.
        workers: sessions that a CPU works for at one time; None for as many as it has cores for. A GPU works for one.
        threads: that torch uses for each of them. With one, masks do not depend on how many cores there are.
        file_bytes: of a photo's file.
        pixels: of a photo.
        uploads: photos that are received and decoded at one time.
        folders: where photos may be opened by their paths.
    """

    sessions: int = 200
    in_memory: int = 32
    liveness: float = 60.0
    idle: float = 1800.0
    keep: float = 30 * 86400.0
    waiting: int = MAX_WAITING
    workers: int | None = None
    threads: int = 1
    file_bytes: int = MAX_FILE_BYTES
    pixels: int = MAX_PIXELS
    uploads: int = 8
    folders: Sequence[Path] = field(default=())

    def __post_init__(self) -> None:
        for name in ("sessions", "in_memory", "waiting", "workers", "threads", "file_bytes", "pixels", "uploads"):
            value = getattr(self, name)
            if name == "workers" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise OptionError(f"Expected {name} to be a whole number of at least 1, got {with_type(value)}.")
        for name in ("liveness", "idle", "keep"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e12:
                raise OptionError(f"Expected {name} to be a number of seconds above 0, got {with_type(value)}.")
        for folder in self.folders:
            if not Path(folder).is_dir():
                raise OptionError(f"Expected a folder of photos, got {folder}, which is none. Check the path.")
        object.__setattr__(self, "folders", tuple(Path(folder).resolve() for folder in self.folders))

    def photo_at(self, path: object) -> Path:
        """The file of a photo, named relative to one of the folders, or by its whole path below one.

        Links are followed first. A file outside and one that is not there get the same error, so that nobody finds out
        what else is on the machine.

        Raises:
            PhotoError: there is no such file below the folders.
        """
        found = None
        if isinstance(path, str) and path and "\0" not in path and len(path) <= 4096:
            for folder in self.folders:
                try:
                    inside = (folder / path).resolve()
                    if inside.is_relative_to(folder) and inside.is_file():
                        found = inside
                        break
                except (OSError, RuntimeError, ValueError):  # a name that is too long, a circle of links
                    continue
        if found is None:
            raise PhotoError("Expected the path of a photo below the service's folders, got another. Try an upload.")
        return found
