"""All open photos of a project. A limited number is kept in memory; the least recently used ones are closed."""

from __future__ import annotations

import threading
import time
from typing import Final

from interactify.app.open_photo import OpenPhoto
from interactify.app.place import Place
from interactify.app.store.journal import SessionFiles, entries_of, masks_hold
from interactify.app.store.project import Photo, Project
from interactify.app.store.result_files import has_masks
from interactify.app.store.saver import Saver

MAX_OPEN: Final = 6  # sessions kept in memory
CLOSE_SECONDS: Final = 20.0  # that a running action may take when its photo is closed


class OpenPhotos:
    """The open photos of a project."""

    def __init__(self, place: Place, project: Project, most: int = MAX_OPEN) -> None:
        """With at most so many sessions kept in memory."""
        self.most = most
        self.place, self.project = place, project
        self.saver = Saver(project, place.about, place.sessions)
        self._open: dict[int, OpenPhoto] = {}
        self._submitted: dict[int, threading.Event] = {}  # set when the saver has what `write` asked for
        self._lock = threading.Lock()
        self._closing = False
        self._recovery = threading.Thread(target=self._recover, name="interactify-recovery", daemon=True)
        self._recovery.start()

    def get(self, photo: Photo) -> OpenPhoto | None:
        """A photo that is open already, or None; never waits."""
        opened = self._open.get(photo.number)
        if opened is None or opened.failed or opened.outdated:
            return None
        opened.last_used = time.monotonic()
        return opened

    def open(self, photo: Photo) -> OpenPhoto:
        """An open photo, opened now if it is not; another one may have to be closed first."""
        with self._lock:
            opened = self._open.get(photo.number)
            if opened is not None and opened.idle and (opened.failed or opened.outdated) and self._close(opened):
                opened = None
            if opened is None:
                idle = sorted((each for each in self._open.values() if each.idle), key=lambda each: each.last_used)
                for each in idle:
                    if len(self._open) >= self.most:
                        self._close(each)
                opened = OpenPhoto(self.place, photo, self.project, self.saver)
                self._open[photo.number] = opened
            opened.last_used = time.monotonic()
            return opened

    def write(self, photo: Photo) -> None:
        """Write a photo's masks again, since its status has changed, on which they depend."""
        self._submitted[photo.number] = self.open(photo).write()

    def settle(self) -> None:
        """Wait until the masks of all photos whose status has changed are written."""
        for submitted in list(self._submitted.values()):
            submitted.wait(CLOSE_SECONDS)
        self.saver.flush()

    def wait_for_recovery(self) -> None:
        """Wait until every photo's files hold the actions from before this server started."""
        self._recovery.join()

    def close(self) -> None:
        """Close all photos, and write what is not written."""
        self._closing = True
        with self._lock:
            photos = list(self._open.values())
        self.place.hurry()
        for each in photos:
            each.stop()
        deadline = time.monotonic() + CLOSE_SECONDS
        for each in photos:
            each.join(max(0.0, deadline - time.monotonic()))
        self.saver.close()
        for each in photos:
            each.close()
        self.place.close()

    def _close(self, opened: OpenPhoto) -> bool:
        """Close a photo and return True; False where its files can't be written: then it stays in memory."""
        self.saver.flush(opened.photo.number)
        if self.saver.has_unsaved(opened.photo.number):
            return False
        del self._open[opened.photo.number]
        opened.stop()
        opened.join(CLOSE_SECONDS)
        self.saver.flush(opened.photo.number)
        opened.close()
        return True

    def _recover(self) -> None:
        """Open the photos whose files lack actions, as after a crash: that writes the files."""
        for photo in self.project.photos:
            try:
                if not self._closing and _lacks_files(photo, self.project):
                    opened = self.open(photo)
                    opened.wait()
                    if not opened.failed and not opened.of_other_network:
                        opened.write().wait(CLOSE_SECONDS)
                    self.saver.flush(photo.number)
            except Exception as cause:  # an unreadable photo must not stop the others
                self.saver.write_errors[photo.number] = f"The session of {photo.name} could not be read: {cause}"


def _lacks_files(photo: Photo, project: Project) -> bool:
    """Whether the journal has actions that the files lack, or the photo is done and has no mask."""
    files = SessionFiles.of(photo.key, project.out)
    entries = entries_of(files.journal)
    if files.waiting.exists() or any("do" in entry and entry["n"] > masks_hold(entries) for entry in entries):
        return True
    return photo.status == "done" and not has_masks(photo, project.out)
