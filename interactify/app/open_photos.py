"""The photos of a project that are open: each at a desk of its own, those that were not used for longest put away."""

from __future__ import annotations

import threading
import time
from typing import Final

from interactify.app.desk import Desk
from interactify.app.store.journal import SessionFiles, entries_of
from interactify.app.store.project import Photo, Project
from interactify.app.store.saving import Saver, mask_files
from interactify.interactive import Interactive
from interactify.session.session_file import fingerprint

OPEN: Final = 6  # sessions kept in memory
LAST_WORDS: Final = 20.0  # seconds that what is being done may take when the server ends


class Desks:
    """The desks of a project."""

    def __init__(self, net: Interactive, project: Project) -> None:
        self.net, self.project, self.saver = net, project, Saver(project)
        self._desks: dict[int, Desk] = {}
        self._lock = threading.Lock()
        self._closing = False
        self._network = fingerprint(net.unwrap())
        self._caught_up = threading.Thread(target=self._catch_up, name="interactify-catching-up", daemon=True)
        self._caught_up.start()

    def open_at(self, photo: Photo) -> Desk | None:
        """The desk of a photo that is open already; waits for nothing."""
        desk = self._desks.get(photo.number)
        if desk is None or desk.failed or desk.outdated:
            return None
        desk.used = time.monotonic()
        return desk

    def at(self, photo: Photo) -> Desk:
        """The desk of a photo, opened where it is not; another one may have to be put away first."""
        with self._lock:
            desk = self._desks.get(photo.number)
            if desk is not None and desk.idle and (desk.failed or desk.outdated) and self._put_away(desk):
                desk = None
            if desk is None:
                idle = sorted((each for each in self._desks.values() if each.idle), key=lambda each: each.used)
                for each in idle:
                    if len(self._desks) >= OPEN:
                        self._put_away(each)
                desk = self._desks[photo.number] = Desk(self.net, self._network, photo, self.project, self.saver)
            desk.used = time.monotonic()
            return desk

    def write(self, photo: Photo) -> None:
        """Have a photo's masks written again, since what it is marked as decides on them."""
        self.at(photo).write()

    def wait_until_caught_up(self) -> None:
        """Until the files of every photo hold what was said of it before this server began."""
        self._caught_up.join()

    def close(self) -> None:
        """End all of them, and write what is not written."""
        self._closing = True
        with self._lock:
            desks = list(self._desks.values())
        for desk in desks:
            desk.end()
        last = time.monotonic() + LAST_WORDS
        for desk in desks:
            desk.join(max(0.0, last - time.monotonic()))
        self.saver.close()
        for desk in desks:
            desk.put_away()

    def _put_away(self, desk: Desk) -> bool:
        """End a desk, and say so; not where the disk does not take what was said there: then it is kept in memory."""
        self.saver.flush(desk.photo.number)
        if self.saver.holds(desk.photo.number):
            return False
        del self._desks[desk.photo.number]
        desk.end()
        desk.join(LAST_WORDS)
        self.saver.flush(desk.photo.number)
        desk.put_away()
        return True

    def _catch_up(self) -> None:
        """Open the photos whose files lack something, as where this program was killed: that writes them."""
        for photo in self.project.photos:
            try:
                if not self._closing and _lacks_something(photo, self.project):
                    desk = self.at(photo)
                    desk.wait()
                    if not desk.failed and not desk.of_another:
                        desk.write().wait(LAST_WORDS)
                    self.saver.flush(photo.number)
            except Exception as cause:  # one that can't be read keeps none of the others back
                self.saver.trouble[photo.number] = f"What was said of {photo.name} could not be read: {cause}"


def _lacks_something(photo: Photo, project: Project) -> bool:
    """Whether something was said that only the journal has, or the photo is done and has no mask."""
    if any("do" in entry for entry in entries_of(SessionFiles.of(photo.key, project.out).journal)):
        return True
    return photo.status == "done" and not mask_files(project.out / "masks" / photo.key)
