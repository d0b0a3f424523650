"""A photo's session as it was left, whether its network runs here or at a service.

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

from interactify.app.page_updates import PageUpdates, Updates
from interactify.app.sessions import Opened, Sessions
from interactify.app.store.journal import Journal, SessionFiles
from interactify.app.store.project import Photo
from interactify.errors import InteractifyError, PhotoError, ServiceError
from interactify.web.about import About
from interactify.web.actions import read_action
from interactify.web.log import entry_of, write
from interactify.web.pictures import check_header


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

    def __init__(self, sessions: Sessions, photo: Photo, out: Path) -> None:
        self.sessions, self.photo = sessions, photo
        self.notice = ""
        self._files = self._found = SessionFiles.of(photo.key, out)
        self.of_other_network = False

    def check(self, about: About) -> None:
        """Look at the photo's file before it is read. Raises PhotoError where it can't be opened for this network."""
        try:
            check_header(self.photo.path, self.photo.name, about.channels)
        except OSError as cause:
            raise PhotoError(f"{self.photo.name} can't be opened ({cause.strerror}). Was it moved?") from cause

    def updates(self, session: Any, about: About) -> Updates:
        """What a page is sent of the session."""
        return PageUpdates(session, about, self.sessions)

    def restore(self) -> tuple[Opened, bool]:
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
            self.journal.open()
            self._found = self._files
            self._files_taken()
        return self.journal

    def keep(self, waiting: Sequence[Waiting]) -> None:
        """Note which actions wait for a service, the one that is being asked for first."""

    def leave(self, action: Waiting) -> None:
        """Keep an action that does not run any more: it runs when the photo is opened again. Raises OSError."""
        journal = self.journal_to_write()
        journal.append(entry_of(journal.last + 1, action.do))

    def _make_waiting(self, session: Opened) -> bool:
        """Run what waited for a service when the page ended, unless the service has made it since; whether any has."""
        path, first = self._found.waiting, self.sessions.version_of(session)
        try:
            waiting = [Waiting(**each) for each in json.loads(path.read_bytes())["waiting"]]
        except (OSError, ValueError, TypeError, KeyError):  # none
            return False
        for each in waiting:
            before = self.sessions.version_of(session)
            try:
                action = read_action(dict(each.do))
                self.sessions.run(action, session, each.key)
            except ServiceError:
                raise
            except InteractifyError as cause:
                self._not_restored(cause)
            if self.sessions.version_of(session) != before:
                with suppress(OSError):  # kept in memory, and written with the next line
                    write(self.journal, self.journal.last + 1, action, session.result.status)
        path.unlink(missing_ok=True)
        return self.sessions.version_of(session) != first

    def _not_restored(self, cause: InteractifyError) -> None:
        self.notice = f"Some of the last actions could not be restored: {cause}"

    def close(self, session: Any) -> None:
        """Give back what the session holds elsewhere, after everything is written."""

    def _files_taken(self) -> None:
        """Called when the files have become this session's."""
