"""A thread that writes masks and sessions in the background, each file whole or not at all."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from interactify.app.sessions import Opened, Sessions
from interactify.app.store.journal import Journal, SessionFiles, digest_of
from interactify.app.store.project import Photo, Project
from interactify.app.store.result_files import Annotations, save_masks, save_volume_mask
from interactify.errors import InteractifyError, SessionChangedError, SessionGoneError
from interactify.web.about import About

QUIET: Final = 0.4  # seconds without an action, before files are written
MAX_DELAY: Final = 4.0  # seconds after which files are written, even with actions in between
FIRST_RETRY: Final = 2.0  # seconds until a failed write is tried again, twice as long each time
LAST_RETRY: Final = 60.0
REST_SHARE: Final = 4.0  # the least pause before the next write, as a multiple of the time of the last one


@dataclass(frozen=True)
class Unsaved:
    """What a photo's files lack: a copy of the session after an action, and that action's number."""

    photo: Photo
    journal: Journal
    session: Opened
    number: int
    since: float = field(default_factory=time.monotonic)
    touched: float = field(default_factory=time.monotonic)


class Saver:
    """One thread that writes the latest session of each photo, in the pauses between actions.

    Attributes:
        write_errors: of each photo by number, why its files could not be written. Writing is tried again.
    """

    def __init__(self, project: Project, about: About, sessions: Sessions) -> None:
        self.project, self.about, self.sessions = project, about, sessions
        self.annotations = Annotations(project)
        self.write_errors: dict[int, str] = {}
        self._queue: dict[int, Unsaved] = {}
        self._earliest: dict[int, float] = {}  # the time of a photo's next write, at the earliest
        self._failures: Counter[int] = Counter()
        self._changed = threading.Condition()
        self._writing = threading.Lock()
        self._ends = False
        self._thread = threading.Thread(target=self._work, name="interactify-saver", daemon=True)
        self._thread.start()

    def submit(self, unsaved: Unsaved) -> None:
        """Write this soon, in place of what was submitted for the same photo before."""
        with self._changed:
            earlier, now = self._queue.get(unsaved.photo.number), time.monotonic()
            self._queue[unsaved.photo.number] = replace(unsaved, since=earlier.since if earlier else now, touched=now)
            self._changed.notify_all()

    def has_unsaved(self, number: int) -> bool:
        """Whether something of a photo is not on disk."""
        with self._changed:
            return number in self._queue

    def flush(self, number: int | None = None) -> None:
        """Write what is queued now, of one photo or of all; returns after one try."""
        with self._changed:
            numbers = [n for n in self._queue if number in (None, n)]
        for each in numbers:
            self._save(each)
        with self._writing:  # wait for what the thread is writing, too
            pass

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Write nothing inside this context, so that files that belong together can be read."""
        with self._writing:
            yield

    def close(self) -> None:
        """Write what is queued, and end."""
        with self._changed:
            self._ends = True
            self._changed.notify_all()
        self._thread.join(10)
        self.flush()

    def _work(self) -> None:
        while True:
            with self._changed:
                if self._ends:
                    return
                now = time.monotonic()
                due = {n: self._due(each) for n, each in self._queue.items()}
                ready = [n for n, at in due.items() if at <= now]
                if not ready:
                    self._changed.wait(max(0.01, min(due.values()) - now) if due else None)
                    continue
            self._save(ready[0])

    def _due(self, each: Unsaved) -> float:
        quiet = min(each.touched + QUIET, each.since + MAX_DELAY)
        return max(quiet, self._earliest.get(each.photo.number, 0.0))

    def _save(self, number: int) -> None:
        with self._writing:
            with self._changed:
                unsaved = self._queue.pop(number, None)
            if unsaved is None:
                return
            started = time.monotonic()
            try:
                # In this order: if the process is killed in between, the masks are never older than the session's file.
                self._save_masks(unsaved.session, unsaved.photo)
                save_session(unsaved, self.project.out, self.sessions)
            except (SessionChangedError, SessionGoneError):  # at the service: what it is now will be written soon
                self.write_errors.pop(number, None)
            except Exception as cause:  # any: the session stays queued, and other photos' files are written
                self._failed(unsaved, cause)
            else:
                self.write_errors.pop(number, None)
                self._failures.pop(number, None)
                self._earliest[number] = time.monotonic() + REST_SHARE * (time.monotonic() - started)

    def _save_masks(self, session: Any, photo: Photo) -> None:
        if self.sessions.on_volumes:
            save_volume_mask(session, photo, self.project)
        else:
            save_masks(session, photo, self.project, self.annotations, self.about.count, self.sessions)

    def _failed(self, unsaved: Unsaved, cause: Exception) -> None:
        number = unsaved.photo.number
        self._failures[number] += 1
        self._earliest[number] = time.monotonic() + min(LAST_RETRY, FIRST_RETRY * 2 ** (self._failures[number] - 1))
        self.write_errors[number] = f"The results of {unsaved.photo.name} are not all on disk: {reason(cause)}"
        with self._changed:
            self._queue.setdefault(number, replace(unsaved, since=time.monotonic()))


def reason(cause: Exception) -> str:
    """Why something could not be written, and that it is tried again."""
    why = str(cause) if isinstance(cause, InteractifyError) else getattr(cause, "strerror", None) or repr(cause)
    return f"{why.rstrip('.')}. Memory keeps what is missing, and writing is tried again until this server ends."


def save_session(unsaved: Unsaved, out: Path, sessions: Sessions) -> None:
    """Replace a session's file so that at any moment file and journal together hold everything.

    Of a session at a service the journal has all, and is told what the masks hold.
    """
    if not sessions.run_here:
        unsaved.journal.after_masks(unsaved.number)
        return
    path = SessionFiles.of(unsaved.photo.key, out).session
    fresh = path.with_name(f".{path.name}.next")
    unsaved.session.save(fresh)
    digest = digest_of(fresh)
    unsaved.journal.before_replacing(unsaved.number, digest)
    os.replace(fresh, path)
    unsaved.journal.after_replacing(unsaved.number, digest)
