"""An open photo: its session, the thread that changes it, and its queue of actions.

Actions run one after the other, in the order they came. An action that comes while the network runs ends the running
refinement early and is refined together with it: it supersedes it (see `Session.add`). A choice among the alternatives
of what is being refined waits for it.
"""

from __future__ import annotations

import queue
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NoReturn

from interactify.app.place import Place
from interactify.app.sessions import Opened
from interactify.app.store.journal import Journal
from interactify.app.store.project import Photo, Project
from interactify.app.store.saver import Saver, Unsaved, reason
from interactify.app.store.stored import Waiting
from interactify.app.viewport import NOTHING, Shown
from interactify.errors import CheckpointError, InteractifyError, ServiceError, SessionGoneError
from interactify.web.actions import Action
from interactify.web.failures import Busy, too_many_waiting, user_error
from interactify.web.limits import MAX_WAITING
from interactify.web.log import write

FIRST_PREVIEW: Final = 0.02  # seconds until the first preview of a refinement
NEXT_PREVIEW: Final = 0.25  # seconds between previews: each takes time from the refinement
KEEP_PAUSE: Final = 0.25  # seconds until what waits for a service is written
HEAD_START: Final = 0.02  # seconds for the browser to draw the viewport before the whole mask takes the same few cores

Emit = Callable[[bytes | Exception | None], None]
"""Takes frames as they come, or an error, and None at the end; called from several threads."""


@dataclass(frozen=True)
class _Job:
    """An action, or None to send the full state. With `writes`, the files are written instead."""

    action: Action | None
    emit: Emit
    shown: Shown = NOTHING
    writes: bool = False
    key: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def waiting(self) -> Waiting:
        """The action as one that waits."""
        assert self.action is not None
        return Waiting(self.key, self.action.content)

    @property
    def supersedes(self) -> bool:
        """Whether a running refinement ends early for it."""
        return self.action is not None and self.action.supersedes


class OpenPhoto:
    """A photo and its session. Its own thread starts to open it at once.

    Attributes:
        opening: the session, once it is open, or the error of opening it.
        last_used: the time of the last request.
    """

    def __init__(self, place: Place, photo: Photo, project: Project, saver: Saver) -> None:
        self.about, self.sessions, self.photo = place.about, place.sessions, photo
        self.project, self.saver = project, saver
        self.last_used = time.monotonic()
        self.opening: Future[Opened] = Future()
        self.opening.set_running_or_notify_cancel()  # so that no request that waits for it can cancel it
        self._version_opened = _file_version(photo.path)
        self._stored = place.stored(photo, project.out)
        self._lost = False  # whether a service no longer has the session
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._refining = threading.Event()
        self._ending = False
        self._waiting: deque[_Job] = deque()  # the actions in the queue, in its order
        self._superseding: threading.Thread | None = None
        self._unsaved: Unsaved | None = None
        self._lock = threading.Lock()  # guards what is emitted, and superseding
        self._thread = threading.Thread(target=self._work, name=f"interactify-{photo.key}", daemon=True)
        self._thread.start()

    def session(self) -> Opened:
        """The session, when it is open. Raises what opening it raised, as one of the library's errors."""
        try:
            return self.opening.result()
        except Exception as cause:
            raise user_error(cause) from cause

    def wait(self) -> None:
        """Wait until it is open, or could not be opened."""
        self.opening.exception()

    @property
    def failed(self) -> bool:
        """Whether it could not be opened."""
        return self.opening.done() and self.opening.exception() is not None

    @property
    def outdated(self) -> bool:
        """Whether the photo's file was replaced since, or a service has lost the session."""
        return self.opening.done() and (self._lost or _file_version(self.photo.path) != self._version_opened)

    @property
    def idle(self) -> bool:
        """Whether no action runs or waits."""
        return self.opening.done() and self._jobs.empty() and not self._refining.is_set()

    @property
    def of_other_network(self) -> bool:
        """Whether the session on disk is of another network, or of other options."""
        return self._stored.of_other_network

    def submit(self, action: Action | None, emit: Emit, shown: Shown) -> None:
        """Queue an action, or, with None, a request for the full state; returns at once.

        Args:
            action: the action.
            emit: takes the frames for the page.
            shown: what the page shows.

        Raises:
            Busy: too many actions wait, or the photo was closed.
        """
        if self._jobs.qsize() >= MAX_WAITING:
            raise too_many_waiting(MAX_WAITING, "photo")
        self.last_used = time.monotonic()
        with self._lock:
            if self._ending:
                raise Busy("This photo was just closed to make room for others. Try again.")
            job = _Job(action, emit, shown)
            self._jobs.put(job)
            if action is not None:
                self._waiting.append(job)
        self._supersede()

    def cancel(self) -> None:
        """End the running refinement with the best mask so far."""
        if self._refining.is_set():
            self.session().cancel()

    def write(self) -> threading.Event:
        """Write the current state again, once it is open; the event is set when the saver has it."""
        submitted = threading.Event()
        with self._lock:
            self._jobs.put(_Job(None, lambda each: submitted.set() if each is None else None, writes=True))
        return submitted

    def stop(self) -> None:
        """End the running refinement and the thread; waiting actions go to the journal. Returns at once."""
        with self._lock:
            self._ending = True
            self._jobs.put(None)
        self.cancel()

    def join(self, seconds: float) -> None:
        """Wait until the thread has ended."""
        self._thread.join(seconds)

    def close(self) -> None:
        """Close the journal's file and leave a service, after everything is written."""
        if self._unsaved is not None:
            self._unsaved.journal.close_file()
            self._stored.close(self.session())

    def _supersede(self) -> None:
        """Where the next action supersedes it, let the running refinement end early."""
        with self._lock:
            superseding = self._superseding is not None and self._superseding.is_alive()
            ends = bool(self._waiting) and self._waiting[0].supersedes  # those behind a choice wait with it
            if ends and self._refining.is_set() and not superseding:
                self._superseding = threading.Thread(target=self.session().make_way, daemon=True)
                self._superseding.start()

    def _work(self) -> None:
        try:
            session = self._open()
        except Exception as cause:  # from the photo, a file or the network: every request gets this error
            self.opening.set_exception(cause)
            while (job := self._jobs.get()) is not None:
                job.emit(user_error(cause))
                job.emit(None)
            return
        self.opening.set_result(session)
        while (job := self._jobs.get()) is not None:
            with self._lock:
                if job.action is not None:
                    self._waiting.popleft()
            try:
                self._run(session, job)
            except Exception as cause:
                job.emit(user_error(cause) if self.sessions.run_here else self._error_there(cause))
            job.emit(None)

    def _error_there(self, cause: Exception) -> InteractifyError:
        """The error of an action at a service; where that has lost the session, the photo is opened anew next time."""
        self._lost = isinstance(cause, (SessionGoneError, CheckpointError))
        if not self._lost:
            return user_error(cause)
        return ServiceError(
            "The service no longer has this photo's session, or has another network now. Click again: the photo is "
            f"then opened anew, with what is in its journal. ({cause})"
        )

    def _open(self) -> Opened:
        """The session as it was left, or a new one."""
        self._stored.check(self.about)
        session, has_unsaved = self._stored.restore()
        self._updates = self._stored.updates(session, self.about)
        self._keep_unsaved(session, self._stored.journal.last, writes=has_unsaved)
        return session

    def _keep_unsaved(self, session: Opened, number: int, *, writes: bool) -> None:
        """Keep a copy of the session after the action with this number; with `writes`, give it to the saver."""
        self._unsaved = Unsaved(self.photo, self._stored.journal, self.sessions.to_read(session), number)
        if writes:
            self.saver.submit(self._unsaved)

    def _run(self, session: Opened, job: _Job) -> None:
        if job.writes:
            self._keep_unsaved(session, self._stored.journal_to_write().last, writes=True)
            return
        if job.action is None:
            job.emit(self._updates.full_state(job.shown, self._stored.notice, self._write_error))
            return
        if self._ending:
            self._leave(job)
        notice_before, version_before = self._stored.notice, self.sessions.version_of(session)
        try:
            if not self.sessions.run_here:
                self._ask_service(session, job)
            elif job.action.refines:
                self._refine(session, job)
            else:
                job.action.run(session)
        except ServiceError:  # it is away
            if not self._ending:
                raise
            self._leave(job)
        if self.sessions.version_of(session) != version_before:
            self._record(session, job)
        notice = self._stored.notice if self._stored.notice != notice_before else ""
        with self._lock:
            job.emit(self._updates.after_action(job.shown, notice, self._write_error))
        with suppress(OSError):  # reported by the next write
            self._stored.journal.sync()

    def _leave(self, job: _Job) -> NoReturn:
        """Keep an action that does not run any more: it runs when the photo is opened again. Raises Busy, to say so."""
        try:
            self._stored.leave(job.waiting)
        except OSError as cause:
            self.saver.write_errors[self.photo.number] = f"The last action is not on disk: {reason(cause)}"
        raise Busy("This photo was just closed. Your action is kept, and runs when the photo is opened again.")

    def _record(self, session: Opened, job: _Job) -> None:
        """Write an action to the journal, then send its mask in the viewport, then queue the files to be written."""
        assert job.action is not None
        journal = self._stored.journal_to_write()
        number = self._log(journal, job.action, session.result.status)
        if job.action.refines and self._jobs.empty():
            self._send_first(job)
        self._keep_unsaved(session, number, writes=True)
        if job.action.refines and not self.sessions.is_repeatable(session, job.action):
            self.saver.flush(self.photo.number)

    def _log(self, journal: Journal, action: Action, status: str) -> int:
        """Write an action to the journal before its mask is sent; a failure is reported, and the action is valid."""
        try:
            write(journal, journal.last + 1, action, status)
        except OSError as cause:
            self.saver.write_errors[self.photo.number] = f"The last action is not on disk: {reason(cause)}"
        return journal.last

    @property
    def _write_error(self) -> str:
        return self.saver.write_errors.get(self.photo.number, "")

    def _send_first(self, job: _Job) -> None:
        """Send the part of the mask that is on the screen first, where that is much faster than the whole mask."""
        frame = self._updates.first(job.shown)
        if frame is not None:
            job.emit(frame)
            time.sleep(HEAD_START)

    def _refine(self, session: Opened, job: _Job) -> None:
        """Run an action that needs the network, and send previews of its mask."""
        done = threading.Event()
        previews = threading.Thread(target=self._send_previews, args=(job, done), daemon=True)
        previews.start()
        self._run_superseded(session, job, done)

    def _ask_service(self, session: Opened, job: _Job) -> None:
        """Run an action at a service; while it is waited for, all actions that wait are on disk."""
        done = threading.Event()
        keeping = threading.Thread(target=self._keep_waiting, args=(job, done), daemon=True)
        keeping.start()
        answered = True
        try:
            self._run_superseded(session, job, done)
        except ServiceError:
            answered = not self._ending
            raise
        finally:
            keeping.join()
            if answered:
                self._keep_those_behind()

    def _run_superseded(self, session: Opened, job: _Job, done: threading.Event) -> None:
        """Run an action, which ends early for one that supersedes it; then set `done`."""
        assert job.action is not None
        self._refining.set()
        try:
            self.sessions.run(job.action, session, job.key)
        finally:
            done.set()
            with self._lock:
                self._refining.clear()
                superseding, self._superseding = self._superseding, None
            if superseding is not None:
                superseding.join()

    def _keep_waiting(self, job: _Job, done: threading.Event) -> None:
        """Write the actions that wait, now and then; and let the one that runs end early for the next one."""
        while not done.wait(KEEP_PAUSE):
            self._supersede()  # again: the service may not have had the action yet when the next one came
            self._keep_those_behind(job)

    def _keep_those_behind(self, *running: _Job) -> None:
        """Write which actions wait for the service: those in the queue, after the one that runs."""
        with self._lock:
            waiting = [each.waiting for each in (*running, *self._waiting)]
        with suppress(OSError, InteractifyError):  # a full disk: tried again soon
            self._stored.keep(waiting)

    def _send_previews(self, job: _Job, done: threading.Event) -> None:
        """Send the mask so far, early and then at intervals."""
        wait = FIRST_PREVIEW
        while not done.wait(wait):
            self._supersede()  # for actions that came before this refinement started
            started = time.monotonic()
            try:
                make_frame = self._updates.preview(job.shown)  # it takes a while, so not under the lock
            except Exception:  # the refinement fails in the same way, and reports it
                return
            if make_frame is not None:
                with self._lock:
                    if not done.is_set():
                        job.emit(make_frame())
                wait = max(NEXT_PREVIEW, 5 * (time.monotonic() - started))


def _file_version(path: Path) -> tuple[int, int] | None:
    """Time and size of a file, which change when it is replaced; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
