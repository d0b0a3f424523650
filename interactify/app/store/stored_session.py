"""A photo's session as it was left: the saved file, and the actions that only the journal has.

A session of another network, or with other options, stays where it is until the first new action. Then it is put
aside, and is found again when its own network is used again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interactify.app.sessions import AnySession, run, version_of
from interactify.app.store.journal import Journal, SessionFiles, entries_of, same_identity
from interactify.app.store.project import Photo
from interactify.errors import CheckpointError, InteractifyError, ServiceError
from interactify.interactive import Interactive
from interactify.session.loading import load_session
from interactify.session.session import Session
from interactify.session.session_file import identity_of
from interactify.web.actions import read_action
from interactify.web.log import ended_early, run_again


@dataclass(frozen=True)
class Waiting:
    """An action that was not answered yet, as JSON, and the key by which a service knows whether it has made it."""

    key: str
    do: Mapping[str, Any]


class Stored:
    """A photo's session files, and which of them to continue from.

    Attributes:
        notice: a message for the user, "" where there is none.
        of_other_network: whether the files are another network's, and there was no action with this one yet.
        journal: the journal for new actions; set by `restore`.
    """

    journal: Journal

    def __init__(self, photo: Photo, out: Path) -> None:
        self.photo = photo
        self.notice = ""
        self._files = self._found = SessionFiles.of(photo.key, out)
        self.of_other_network = False

    def restore(self) -> tuple[AnySession, bool]:
        """The session, and whether it has actions that its saved files lack."""
        raise NotImplementedError

    def journal_to_write(self) -> Journal:
        """The journal, for a new action: from now on the files are this session's."""
        if self.of_other_network:
            self.of_other_network = False
            self.journal.close_file()
            aside = self._files.put_aside()
            if self._found is self._files:
                self.notice = f"The session of another network, or with other options, was put aside: {aside.session}"
            else:
                self._found.move_to(self._files)
            self.journal = Journal(self._files, self.journal.identity, self.journal.network)
            self.journal.unsaved()
            self._found = self._files
            self._files_taken()
        return self.journal

    def keep(self, waiting: Sequence[Waiting]) -> None:
        """Note which actions wait for a service, the one that is being asked for first."""

    def leave(self, action: Waiting) -> None:
        """Keep an action that does not run any more: it runs when the photo is opened again. Raises OSError."""
        self.journal_to_write().add(action.do)

    def _make_waiting(self, session: AnySession) -> bool:
        """Run what waited for a service when the page ended, unless the service has made it since; whether any has."""
        path, first = self._found.waiting, version_of(session)
        try:
            waiting = [Waiting(**each) for each in json.loads(path.read_bytes())["waiting"]]
        except (OSError, ValueError, TypeError, KeyError):  # none
            return False
        for each in waiting:
            before = version_of(session)
            try:
                action = read_action(dict(each.do))
                run(action, session, each.key)
            except ServiceError:
                raise
            except InteractifyError as cause:
                self.notice = f"Some of the last actions could not be restored: {cause}"
            if version_of(session) != before:
                with suppress(OSError):  # kept in memory, and written with the next line
                    self.journal.add(each.do, superseded=ended_early(action, session.result.status))
        path.unlink(missing_ok=True)
        return version_of(session) != first

    def close(self, session: Any) -> None:
        """Give back what the session holds elsewhere, after everything is written."""

    def _files_taken(self) -> None:
        """Called when the files have become this session's."""


class StoredSession(Stored):
    """The session of a photo whose network runs here."""

    def __init__(self, net: Interactive, network: str, photo: Photo, out: Path) -> None:
        """With `network`, the network's fingerprint: it takes a while to compute, and is the same for all photos."""
        super().__init__(photo, out)
        self.net, self.network = net, network

    def restore(self) -> tuple[Session, bool]:
        """The session, and whether it has actions that its saved file lacks."""
        session, matches = self._load()
        self.journal = Journal(self._found, self._identity(session), self.network)
        if not matches:  # the files are another network's
            return session, False
        unsaved = self.journal.unsaved()
        for entry in unsaved:
            try:
                run_again(entry, session)
            except InteractifyError as cause:
                self.notice = f"Some of the last actions could not be restored: {cause}"
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
        return fresh or self.net.session(self.photo.path), not refusal

    def _identity(self, session: Session) -> str:
        """A digest of all that the session depends on: the photo, the network, its options."""
        return identity_of(session.wrapped, session.refiner, session.target, self.network)
