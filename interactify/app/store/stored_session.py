"""What was said of a photo before: its session as it was left, with what a killed server had only in the journal.

A session that was made with another network, or other options, is left where it is until something new is said. Then it
is put aside, and found again by the network that made it.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import nullcontext
from pathlib import Path

from interactify.app.actions import read_action
from interactify.app.store.journal import Journal, SessionFiles, all_of, entries_of
from interactify.app.store.project import Photo
from interactify.errors import CheckpointError, InteractifyError
from interactify.interactive import Interactive
from interactify.session.loading import load_session
from interactify.session.session import Session
from interactify.session.session_file import settings_of


class History:
    """A photo's files, and which of them its session goes on from.

    Attributes:
        notice: what a person should know of it.
        misfit: whether what the files hold was said with another network, and nothing was said with this one yet.
        journal: where what is said is written down; after `opened`.
    """

    journal: Journal

    def __init__(self, net: Interactive, network: str, photo: Photo, out: Path) -> None:
        """With `network`, the network's fingerprint: it takes a while to make, and is the same for all photos."""
        self.net, self.network, self.photo = net, network, photo
        self.notice = ""
        self._files = self._found = SessionFiles.of(photo.key, out)
        self.misfit = False

    def opened(self) -> tuple[Session, bool]:
        """The session, and whether something is in it that its file lacks."""
        session, fits = self._loaded()
        self.journal = Journal(self._found, self._of(session))
        if not fits:  # what lies there is another network's
            return session, False
        waiting = self.journal.waiting()
        for entry in waiting:
            try:
                with session.control.superseding() if entry.get("superseded") else nullcontext():
                    read_action(dict(entry["do"])).run(session)
            except InteractifyError as cause:
                self.notice = f"Of what was said last, something could not be said again: {cause}"
        return session, bool(waiting) and not self.misfit

    def taken_up(self) -> Journal:
        """The journal, as something new was said: from now on the files are this session's."""
        if self.misfit:
            self.misfit = False
            self.journal.close_file()
            aside = self._files.put_aside()
            if self._found is self._files:
                self.notice = f"What was said with another network, or other options, was put aside: {aside.session}"
            else:
                self._found.move_to(self._files)
            self.journal = Journal(self._files, self.journal.of)
            self.journal.waiting()
        return self.journal

    def _loaded(self) -> tuple[Session, bool]:
        """The latest session that fits, or a new one; and whether the files are its own."""
        fresh: Session | None = None
        refusal = ""
        for files in (self._files, *self._files.earlier):
            try:
                session = load_session(files.session, self.net, self.photo.path) if files.session.exists() else None
            except CheckpointError as cause:
                refusal = refusal or str(cause)
                continue
            entries = entries_of(files.journal)
            if session is None and any("do" in entry for entry in entries):  # killed before it was saved
                session = fresh = fresh or self.net.session(self.photo.path)
                if not all_of(entries, self._of(fresh)):
                    session, refusal = None, refusal or "What was said here is of another photo, or of another network."
            if session is not None:
                if files is not self._files:
                    self._found, self.misfit = files, True
                    self.notice = "What was said here with this network, before another one was used, was found."
                return session, True
        if refusal:
            self.misfit = True
            self.notice = f"{refusal} It stays as it is until you say something here, and is put aside then."
        return fresh or self.net.session(self.photo.path), not refusal

    def _of(self, session: Session) -> str:
        """A digest of all that what is said here hangs on."""
        settings = settings_of(session.net, session.refiner, session.target)
        hangs_on = [session.refiner.picture.digest(), self.network, settings]
        return hashlib.sha256(json.dumps(hangs_on, sort_keys=True).encode()).hexdigest()
