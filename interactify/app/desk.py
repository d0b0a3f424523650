"""One photo that is worked on: its session, the thread that changes it, and what the page has been shown of it.

Actions are done one after the other, in the order they came. One that comes while the network is being asked makes the
other make way: it stands in the session's line (see `Session.add`), and is answered together with it.
"""

from __future__ import annotations

import copy
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from interactify.app.actions import Action, read_action
from interactify.app.failing import Busy, told
from interactify.app.journal import Journal
from interactify.app.pictures import checked_picture
from interactify.app.project import Photo, Project
from interactify.app.saving import Saver, Unsaved, session_files
from interactify.app.showing import Showing
from interactify.app.sight import Sight
from interactify.errors import CheckpointError, InteractifyError
from interactify.session import Session
from interactify.session_file import load_session
from interactify.wrap import Interactive

FIRST_LOOK: Final = 0.02  # seconds after which it is looked whether there is something to show already
NEXT_LOOK: Final = 0.25  # and again: what is shown in between costs what the refinement could use
HEAD_START: Final = 0.02  # seconds in which a screen draws before all of the mask is made: both want the same few cores
MOST_WAITING: Final = 64  # actions of one photo: more is no person
OPEN: Final = 6  # sessions kept in memory

Emit = Callable[[bytes | Exception | None], None]
"""Takes frames as they come, or what went wrong, and None at the end; called from several threads."""


@dataclass(frozen=True)
class _Job:
    """An action, or None for "all that holds", and who is to be told."""

    action: Action | None
    emit: Emit
    classes: bool
    sight: Sight | None


class Desk:
    """A photo and its session. Opening begins at once, in the desk's own thread."""

    def __init__(self, net: Interactive, photo: Photo, project: Project, saver: Saver) -> None:
        self.net, self.photo, self.project, self.saver = net, photo, project, saver
        self.notice = ""
        self.used = time.monotonic()
        self._session: Session | None = None
        self._failed: Exception | None = None
        self._opened = threading.Event()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._refining = threading.Event()
        self._closed = False
        self._pressing = 0  # actions that wait
        self._nudge: threading.Thread | None = None
        self._held: Unsaved | None = None
        self._lock = threading.Lock()  # of what is emitted, and of nudging
        self._thread = threading.Thread(target=self._work, name=f"interactify-{photo.key}", daemon=True)
        self._thread.start()

    def session(self) -> Session:
        """The session, when it is open. Raises what opening it raised."""
        self._opened.wait()
        if self._session is None:
            raise self._failed or RuntimeError("the session was not opened")
        return self._session

    @property
    def failed(self) -> bool:
        """Whether it could not be opened."""
        return self._failed is not None

    @property
    def ready(self) -> bool:
        """Whether it is open, or could not be."""
        return self._opened.is_set()

    @property
    def idle(self) -> bool:
        """Whether nothing is being done or waits."""
        return self._opened.is_set() and self._jobs.empty() and not self._refining.is_set()

    def submit(self, action: Action | None, emit: Emit, *, classes: bool = False, sight: Sight | None = None) -> None:
        """Have an action done, or, with None, all that holds told; returns at once.

        Args:
            action: what is to be done.
            emit: takes what the page is to be sent.
            classes: whether the page shows the map of classes too.
            sight: what the page shows of the photo, which it is then sent first.

        Raises:
            Busy: too many actions wait, or it was closed.
        """
        if self._jobs.qsize() >= MOST_WAITING:
            raise Busy(f"{MOST_WAITING} actions of this photo wait already. Wait until they are done.")
        self.used = time.monotonic()
        with self._lock:
            if self._closed:
                raise Busy("This photo was just put away, for others to be opened. Ask again.")
            self._jobs.put(_Job(action, emit, classes, sight))
            self._pressing += action is not None
        self._make_way()

    def cancel(self) -> None:
        """Let what is being refined end, with the best so far."""
        if self._refining.is_set() and self._session is not None:
            self._session.cancel()

    def write(self) -> None:
        """Have what holds written again, soon."""
        with self._lock:
            if self._held is not None:
                self.saver.hand(self._held)

    def close(self) -> None:
        """Do what is waiting, and end."""
        with self._lock:
            self._closed = True
            self._jobs.put(None)
        self._thread.join(30)

    def put_away(self) -> None:
        """Let go of the journal's file, when all is written."""
        if self._held is not None:
            self._held.journal.close_file()

    def _make_way(self) -> None:
        """Where something waits, stand in the session's line, so that what is being refined there ends."""
        with self._lock:
            session = self._session
            stands = self._nudge is not None and self._nudge.is_alive()
            if session is not None and self._pressing and self._refining.is_set() and not stands:
                self._nudge = threading.Thread(target=session.make_way, daemon=True)
                self._nudge.start()

    def _work(self) -> None:
        try:
            session, journal = self._open()
            self._showing = Showing(session)
            self._session = session
        except Exception as cause:  # a photo, a file or a network that fails: whoever asks is told
            self._failed = cause
        finally:
            self._opened.set()
        while (job := self._jobs.get()) is not None:
            with self._lock:
                self._pressing -= job.action is not None
            if self._session is None:
                job.emit(self._failed)
            else:
                try:
                    self._do(session, journal, job)
                except Exception as cause:
                    job.emit(told(cause))
            job.emit(None)

    def _open(self) -> tuple[Session, Journal]:
        """The session as it was left, or a new one."""
        checked_picture(self.photo.path, self.photo.path.name)
        file, journal_file = session_files(self.photo, self.project.out)
        journal = Journal(journal_file, file)
        session: Session | None = None
        if file.exists():
            try:
                session = load_session(file, self.net, self.photo.path)
            except CheckpointError as cause:
                self.notice = f"{cause} It was put aside as {put_aside(file, journal_file)}, and a new one begun."
        session = session or self.net.session(self.photo.path)
        again = journal.waiting()
        for said in again:
            try:
                read_action(dict(said)).run(session)
            except InteractifyError as cause:
                self.notice = f"Of what was said last, something could not be said again: {cause}"
        self._held = Unsaved(self.photo, journal, copy.copy(session), journal.last)
        if again:
            self.write()
        return session, journal

    def _do(self, session: Session, journal: Journal, job: _Job) -> None:
        if job.action is None:
            job.emit(self._showing.everything(job.classes, self.notice))
            return
        if job.action.refines:
            self._refined(session, job)
        else:
            job.action.run(session)
        number = journal.add(job.action.said)
        if job.action.refines and self._jobs.empty():
            self._show_first(session, job)
        with self._lock:
            job.emit(self._showing.change(job.classes))
        self._held = Unsaved(self.photo, journal, copy.copy(session), number)
        self.write()
        journal.settle()

    def _show_first(self, session: Session, job: _Job) -> None:
        """Send what the screen shows, where that is so much less than all of the mask that it is worth it."""
        frame = self._showing.seen("first", session.result, job.sight)
        if frame is not None:
            job.emit(frame)
            time.sleep(HEAD_START)

    def _refined(self, session: Session, job: _Job) -> None:
        """Run what asks the network, showing what it comes to on the way."""
        assert job.action is not None
        over = threading.Event()
        looking = threading.Thread(target=self._look, args=(session, job, over), daemon=True)
        self._refining.set()
        looking.start()
        try:
            job.action.run(session)
        finally:
            over.set()
            with self._lock:
                self._refining.clear()
                nudge, self._nudge = self._nudge, None
            if nudge is not None:
                nudge.join()

    def _look(self, session: Session, job: _Job, over: threading.Event) -> None:
        """Show what a refinement has come to, at once and then now and again."""
        wait = FIRST_LOOK
        while not over.wait(wait):
            self._make_way()  # for what came before this one had begun
            begun = time.monotonic()
            try:
                seen = session.preview()
            except Exception:  # whatever fails here fails in the refinement too, which tells it
                return
            if seen.status == "preview":
                frame = self._showing.seen("preview", seen, job.sight)
                mask = None if frame is not None else seen.mask  # both take a while, in which nobody is kept waiting
                with self._lock:
                    if not over.is_set():
                        job.emit(frame if mask is None else self._showing.glimpse(session.active, mask))
                wait = max(NEXT_LOOK, 5 * (time.monotonic() - begun))


class Desks:
    """The desks of a project; those that were not used for longest make room."""

    def __init__(self, net: Interactive, project: Project) -> None:
        self.net, self.project, self.saver = net, project, Saver(project)
        self._desks: dict[int, Desk] = {}
        self._lock = threading.Lock()

    def open_at(self, photo: Photo) -> Desk | None:
        """The desk of a photo that is open already; waits for nothing."""
        desk = self._desks.get(photo.number)
        if desk is None or desk.failed:
            return None
        desk.used = time.monotonic()
        return desk

    def at(self, photo: Photo) -> Desk:
        """The desk of a photo, opened where it is not; another one may have to be put away first."""
        with self._lock:
            desk = self._desks.get(photo.number)
            if desk is None or (desk.idle and desk.failed):
                self._make_room()
                desk = self._desks[photo.number] = Desk(self.net, photo, self.project, self.saver)
            desk.used = time.monotonic()
            return desk

    def write(self, photo: Photo) -> None:
        """Have a photo's masks written again, since what it is marked as decides on them; what is not open is not."""
        with self._lock:
            desk = self._desks.get(photo.number)
        if desk is not None and desk.ready and not desk.failed:
            desk.write()

    def close(self) -> None:
        """End all of them, and write what is not written."""
        for desk in self._desks.values():
            desk.close()
        self.saver.close()
        for desk in self._desks.values():
            desk.put_away()

    def _make_room(self) -> None:
        idle = sorted((desk for desk in self._desks.values() if desk.idle), key=lambda desk: desk.used)
        for desk in idle[: max(0, len(self._desks) + 1 - OPEN)]:
            del self._desks[desk.photo.number]
            desk.close()
            self.saver.flush(desk.photo.number)
            desk.put_away()


def put_aside(file: Path, journal: Path) -> str:
    """Give a session's file and journal names that nothing is written to; returns the first."""
    number = next(k for k in range(1, 10_000) if not file.with_suffix(f".{k}.npz").exists())
    aside = file.rename(file.with_suffix(f".{number}.npz"))
    if journal.exists():
        journal.rename(journal.with_suffix(f".{number}.journal"))
    return aside.name
