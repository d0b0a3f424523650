"""A photo's session as it was left, of a network here: the saved file, and the actions that only the journal has."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Generic, TypeVar

from interactify.app.sessions import Sessions
from interactify.app.sessions_here import SessionsHere
from interactify.app.store.journal import Journal, entries_of, same_identity
from interactify.app.store.project import Photo
from interactify.app.store.stored import Stored
from interactify.app.volumes.open_volume import OpenVolume
from interactify.errors import CheckpointError
from interactify.interactive import Interactive
from interactify.session.loading import load_session
from interactify.session.session import Session
from interactify.web.about_network import session_identity
from interactify.web.log import Entry, replay

Own = TypeVar("Own", Session, OpenVolume[Any])


class StoredHere(Stored, Generic[Own]):
    """The session of a photo, or of a volume, whose network runs here."""

    def __init__(self, net: Interactive, network: str, sessions: Sessions, photo: Photo, out: Path) -> None:
        """With `network`, the network's fingerprint: it takes a while to compute, and is the same for all photos."""
        super().__init__(sessions, photo, out)
        self.net, self.network = net, network

    def _new(self) -> Own:
        """A new session."""
        raise NotImplementedError

    def _loaded(self, path: Path) -> Own:
        """The session in a file. Raises CheckpointError where it is another's."""
        raise NotImplementedError

    def _run_again(self, session: Own) -> Iterable[Entry]:
        """Run the actions again that only the journal has; gives the entry of each."""
        raise NotImplementedError

    def _identity(self, session: Own) -> str:
        """A digest of all that the session depends on: the photo, the network, its options."""
        raise NotImplementedError

    def restore(self) -> tuple[Own, bool]:
        """The session, and whether it has actions that its saved file lacks."""
        session, matches = self._load()
        self.journal = Journal(self._found, self._identity(session), self.network)
        if not matches:  # the files are another network's
            return session, False
        self.journal.open()
        unsaved = list(self._run_again(session))
        made = self._make_waiting(session)
        return session, (bool(unsaved) or made) and not self.of_other_network

    def _load(self) -> tuple[Own, bool]:
        """The latest session that matches, or a new one; and whether the files match this network."""
        fresh: Own | None = None
        refusal = ""
        for files in (self._files, *self._files.earlier):
            try:
                session = self._loaded(files.session) if files.session.exists() else None
            except CheckpointError as cause:
                refusal = refusal or str(cause)
                continue
            entries = entries_of(files.journal)
            if session is None and any("do" in entry for entry in entries):  # killed before it was saved
                session = fresh = fresh or self._new()
                if not same_identity(entries, self._identity(fresh)):
                    session, refusal = None, refusal or "The session here is of another photo, or of another network."
            if session is not None:
                if files is not self._files:
                    self._found, self.of_other_network = files, True
                    self.notice = "This network's earlier session was found and restored."
                return session, True
        if refusal:
            self.of_other_network = True
            self.notice = f"{refusal} It stays as it is until your first action here, and is put aside then."
        return fresh or self._new(), not refusal


class StoredSession(StoredHere[Session]):
    """The session of a photo."""

    def __init__(self, net: Interactive, network: str, photo: Photo, out: Path) -> None:
        super().__init__(net, network, SessionsHere(), photo, out)

    def _new(self) -> Session:
        return self.net.session(self.photo.path)

    def _loaded(self, path: Path) -> Session:
        return load_session(path, self.net, self.photo.path)

    def _run_again(self, session: Session) -> Iterable[Entry]:
        return replay(self.journal, 0, session, refused=self._not_restored)

    def _identity(self, session: Session) -> str:
        return session_identity(session, self.network)
