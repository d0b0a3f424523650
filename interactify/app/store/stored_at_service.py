"""A photo's session at a service: found there again, or computed again from the journal where the service has lost it.

The service has the log of the session, and the journal is a copy of it. So results survive the service's store, and
may be opened without the service later, under the same network. Beside the journal a file, readable by its owner alone,
has the session's name and token, and by how many actions the service's log is behind the journal: where some of them
could not be made again. Actions that wait for a service that is away are in a third file, until they are answered.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from interactify.app.sessions_at_service import SessionsAtService
from interactify.app.store.journal import Journal, digest_of, entries_of, same_identity
from interactify.app.store.project import Photo
from interactify.app.store.stored import Stored, Waiting
from interactify.errors import CheckpointError, InteractifyError, ServiceError, SessionGoneError
from interactify.export.files import write_json, write_whole
from interactify.web.log import Entry

if TYPE_CHECKING:  # httpx, an optional package, comes with it
    from interactify.client import Service, Session


@dataclass(frozen=True)
class Reference:
    """Where a session is at a service, and how many actions its log is behind the journal."""

    session: str
    token: str
    behind: int = 0

    @classmethod
    def read(cls, path: Path) -> Reference | None:
        """What `write` wrote; None where there is nothing, or something else: the session is then computed again."""
        try:
            found = cls(**json.loads(path.read_bytes()))
        except (OSError, ValueError, TypeError):
            return None
        return found if isinstance(found.session, str) and isinstance(found.token, str) else None

    def write(self, path: Path) -> None:
        """Write it for the owner of the file alone: who has the token can change the session."""
        write_whole(path, json.dumps(asdict(self)).encode(), private=True)


class StoredAtService(Stored):
    """The session of a photo at a service, and the files that belong to it."""

    def __init__(self, service: Service, network: str, photo: Photo, out: Path) -> None:
        super().__init__(SessionsAtService(), photo, out)
        self.service, self.network = service, network
        self._at: Reference | None = None
        self._kept: list[Waiting] = []

    def restore(self) -> tuple[Session, bool]:
        """The session, with the actions of both logs, and whether its masks lack some of them."""
        session, matches = self._found_session()
        self.journal = Journal(self._found, session.identity)
        if not matches:  # the files are another network's
            return session, False
        self._catch_up(session)
        self._make_waiting(session)
        return session, self.journal.last > self.journal.masks_hold and not self.of_other_network

    def keep(self, waiting: Sequence[Waiting]) -> None:
        if list(waiting) == self._kept or self.of_other_network:
            return
        path = self._found.waiting
        if waiting:
            write_json(path, {"waiting": [asdict(each) for each in waiting]})
        else:
            path.unlink(missing_ok=True)
        self._kept = list(waiting)

    def leave(self, action: Waiting) -> None:
        self.journal_to_write()
        if action not in self._kept:
            self.keep([*self._kept, action])

    def close(self, session: Session) -> None:
        """Leave the session at the service; one in which nothing was done is removed there."""
        if not self.of_other_network and self.journal.last == 0 and session.result.number == 0:
            _remove(session)
            self._found.service.unlink(missing_ok=True)
        session.close()

    def _files_taken(self) -> None:
        if self._at is not None:
            self._at.write(self._files.service)

    def _found_session(self) -> tuple[Session, bool]:
        """The latest session of this photo and network, or a new one; and whether the files match it."""
        fresh: Session | None = None
        refusal = ""
        for files in (self._files, *self._files.earlier):
            if files.session.exists():
                refusal = refusal or "The session here was made by a network on this computer."
                continue
            entries, at = entries_of(files.journal), Reference.read(files.service)
            session = None if at is None else self._resumed(at, entries)
            if session is None:
                if not entries:
                    continue
                at, session = None, fresh or self._opened()
                fresh = session
                if not same_identity(entries, session.identity):
                    refusal = refusal or "The session here is of another photo, or of another network."
                    continue
            if files is not self._files:
                self._found, self.of_other_network = files, True
                self.notice = "This network's earlier session was found and restored."
            self._at = at
            if fresh is not None and fresh is not session:
                _remove(fresh)
            return session, True
        fresh = fresh or self._opened()
        if refusal:
            self.of_other_network = True
            self.notice = f"{refusal} It stays as it is until your first action here, and is put aside then."
            self._at = Reference(fresh.id, fresh.token)
        return fresh, not refusal

    def _opened(self) -> Session:
        return self.service.session(self.photo.path, network=self.network, name=self.photo.name)

    def _resumed(self, at: Reference, entries: list[Entry]) -> Session | None:
        """The session at the service; None where it is gone, or of another file, of other weights or options."""
        try:
            session = self.service.resume(at.session, at.token)
        except (SessionGoneError, CheckpointError):
            return None
        this_photo = session.network == self.network and session.file == digest_of(self.photo.path)
        if this_photo and same_identity(entries, session.identity):
            return session
        session.close()
        return None

    def _catch_up(self, session: Session) -> None:
        """Make at the service what only the journal has, and write to the journal what only the service has.

        The journal has more where the service lost its store, or this process ended while it was away. The service has
        more where this process was killed between the two.
        """
        behind = 0 if self._at is None else self._at.behind
        self.journal.open()
        for entry in self.journal.entries_after(0):
            if entry["n"] > session.result.number + behind:
                before = session.result.number
                try:
                    session.repeat(entry)
                except ServiceError:
                    raise
                except InteractifyError as cause:
                    self._not_restored(cause)
                behind += session.result.number == before
        if session.result.number + behind > self.journal.last:
            for each in session.actions(after=self.journal.last - behind):
                with suppress(OSError):  # kept in memory, and written with the next line
                    self.journal.append({**each, "n": self.journal.last + 1})
        at = Reference(session.id, session.token, self.journal.last - session.result.number)
        if at != self._at:
            self._at = at
            at.write(self._found.service)


def _remove(session: Session) -> None:
    """Remove a session in which nothing was done; the service would do it later by itself."""
    session.patience = 0.0
    with suppress(InteractifyError):
        session.close(delete=True)
    session.close()
