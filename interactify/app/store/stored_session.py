"""A photo's session as it was left, of a network here: the saved file, and the actions that only the journal has."""

from __future__ import annotations

from pathlib import Path

from interactify.app.sessions_here import SessionsHere
from interactify.app.store.journal import Journal, entries_of, same_identity
from interactify.app.store.project import Photo
from interactify.app.store.stored import Stored
from interactify.errors import CheckpointError
from interactify.interactive import Interactive
from interactify.session.loading import load_session
from interactify.session.session import Session
from interactify.web.about_network import session_identity
from interactify.web.log import replay


class StoredSession(Stored):
    """The session of a photo whose network runs here."""

    def __init__(self, net: Interactive, network: str, photo: Photo, out: Path) -> None:
        """With `network`, the network's fingerprint: it takes a while to compute, and is the same for all photos."""
        super().__init__(SessionsHere(), photo, out)
        self.net, self.network = net, network

    def restore(self) -> tuple[Session, bool]:
        """The session, and whether it has actions that its saved file lacks."""
        session, matches = self._load()
        self.journal = Journal(self._found, session_identity(session, self.network), self.network)
        if not matches:  # the files are another network's
            return session, False
        self.journal.open()
        unsaved = list(replay(self.journal, 0, session, refused=self._not_restored))
        made = self._make_waiting(session)
        return session, (bool(unsaved) or made) and not self.of_other_network

    def _load(self) -> tuple[Session, bool]:
        """The latest session that matches, or a new one; and whether the files match this network."""
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
                if not same_identity(entries, session_identity(fresh, self.network)):
                    session, refusal = None, refusal or "The session here is of another photo, or of another network."
            if session is not None:
                if files is not self._files:
                    self._found, self.of_other_network = files, True
                    self.notice = "This network's earlier session was found and restored."
                return session, True
        if refusal:
            self.of_other_network = True
            self.notice = f"{refusal} It stays as it is until your first action here, and is put aside then."
        return fresh or self.net.session(self.photo.path), not refusal
