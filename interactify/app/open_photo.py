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
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from interactify.app.actions import Action
from interactify.app.failing import Busy, told
from interactify.app.pictures import checked_picture
from interactify.app.showing import Showing
from interactify.app.sight import Sight
from interactify.app.store.history import History
from interactify.app.store.journal import Journal
from interactify.app.store.project import Photo, Project
from interactify.app.store.saving import Saver, Unsaved, reason
from interactify.errors import PhotoError
from interactify.interactive import Interactive
from interactify.session.session import Session

FIRST_LOOK: Final = 0.02  # seconds after which it is looked whether there is something to show already
NEXT_LOOK: Final = 0.25  # and again: what is shown in between costs what the refinement could use
HEAD_START: Final = 0.02  # seconds in which a screen draws before all of the mask is made: both want the same few cores
MOST_WAITING: Final = 64  # actions of one photo: more is no person

Emit = Callable[[bytes | Exception | None], None]
"""Takes frames as they come, or what went wrong, and None at the end; called from several threads."""


@dataclass(frozen=True)
class _Job:
    """An action, or None for "all that holds", and who is to be told. With `writes`, the files are written instead."""

    action: Action | None
    emit: Emit
    classes: bool = False
    sight: Sight | None = None
    writes: bool = False


class Desk:
    """A photo and its session. Opening begins at once, in the desk's own thread.

    Attributes:
        opening: the session, once it is open, or what opening it raised.
        used: when it was asked for last.
    """

    def __init__(self, net: Interactive, network: str, photo: Photo, project: Project, saver: Saver) -> None:
        self.net, self.photo, self.project, self.saver = net, photo, project, saver
        self.used = time.monotonic()
        self.opening: Future[Session] = Future()
        self.opening.set_running_or_notify_cancel()  # nobody who waits for it can cancel it
        self._photo_was = _signature(photo.path)
        self._history = History(net, network, photo, project.out)
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._refining = threading.Event()
        self._ending = False
        self._pressing = 0  # actions that wait
        self._nudge: threading.Thread | None = None
        self._held: Unsaved | None = None
        self._lock = threading.Lock()  # of what is emitted, and of nudging
        self._thread = threading.Thread(target=self._work, name=f"interactify-{photo.key}", daemon=True)
        self._thread.start()

    def session(self) -> Session:
        """The session, when it is open. Raises what opening it raised, as one of the family's errors."""
        try:
            return self.opening.result()
        except Exception as cause:
            raise told(cause) from cause

    def wait(self) -> None:
        """Until it is open, or could not be opened."""
        self.opening.exception()

    @property
    def failed(self) -> bool:
        """Whether it could not be opened."""
        return self.opening.done() and self.opening.exception() is not None

    @property
    def outdated(self) -> bool:
        """Whether the photo's file is another one by now."""
        return self.opening.done() and _signature(self.photo.path) != self._photo_was

    @property
    def idle(self) -> bool:
        """Whether nothing is being done or waits."""
        return self.opening.done() and self._jobs.empty() and not self._refining.is_set()

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
            if self._ending:
                raise Busy("This photo was just put away, for others to be opened. Ask again.")
            self._jobs.put(_Job(action, emit, classes, sight))
            self._pressing += action is not None
        self._make_way()

    def cancel(self) -> None:
        """Let what is being refined end, with the best so far."""
        if self._refining.is_set():
            self.session().cancel()

    def write(self) -> threading.Event:
        """Have what holds written again, once it is open; returns what is set when it is the saver's to do."""
        handed = threading.Event()
        with self._lock:
            self._jobs.put(_Job(None, lambda each: handed.set() if each is None else None, writes=True))
        return handed

    @property
    def of_another(self) -> bool:
        """Whether what the files hold was said with another network, or other options."""
        return self._history.misfit

    def end(self) -> None:
        """Let what is being refined end, note what waits, which is done the next time, and stop. Returns at once."""
        with self._lock:
            self._ending = True
            self._jobs.put(None)
        self.cancel()

    def join(self, seconds: float) -> None:
        """Wait until it has stopped."""
        self._thread.join(seconds)

    def put_away(self) -> None:
        """Let go of the journal's file, when all is written."""
        if self._held is not None:
            self._held.journal.close_file()

    def _make_way(self) -> None:
        """Where something waits, stand in the session's line, so that what is being refined there ends."""
        with self._lock:
            stands = self._nudge is not None and self._nudge.is_alive()
            if self._pressing and self._refining.is_set() and not stands:
                self._nudge = threading.Thread(target=self.session().make_way, daemon=True)
                self._nudge.start()

    def _work(self) -> None:
        try:
            session = self._open()
        except Exception as cause:  # a photo, a file or a network that fails: whoever asks is told
            self.opening.set_exception(cause)
            while (job := self._jobs.get()) is not None:
                job.emit(told(cause))
                job.emit(None)
            return
        self.opening.set_result(session)
        while (job := self._jobs.get()) is not None:
            with self._lock:
                self._pressing -= job.action is not None
            try:
                self._do(session, job)
            except Exception as cause:
                job.emit(told(cause))
            job.emit(None)

    def _open(self) -> Session:
        """The session as it was left, or a new one."""
        try:
            checked_picture(self.photo.path, self.photo.name)
        except OSError as cause:
            raise PhotoError(f"{self.photo.name} can't be opened ({cause.strerror}). Was it moved?") from cause
        session, replayed = self._history.opened()
        self._showing = Showing(session)
        self._hold(session, self._history.journal.last, writes=replayed)
        return session

    def _hold(self, session: Session, number: int, *, writes: bool) -> None:
        """Keep what holds after an action of this number, to be written."""
        self._held = Unsaved(self.photo, self._history.journal, copy.copy(session), number)
        if writes:
            self.saver.hand(self._held)

    def _do(self, session: Session, job: _Job) -> None:
        if job.writes:
            self._hold(session, self._history.taken_up().last, writes=True)
            return
        if job.action is None:
            job.emit(self._showing.everything(job.classes, self._history.notice, self._trouble))
            return
        if self._ending:  # it is done when the photo is opened again
            self._noted(self._history.taken_up(), job.action, superseded=False)
            raise Busy("This photo was just put away. What you said is done when it is opened again.")
        noticed, held = self._history.notice, session.history
        if job.action.refines:
            self._refined(session, job)
        else:
            job.action.run(session)
        if session.history is not held:
            self._keep(session, job)
        notice = self._history.notice if self._history.notice != noticed else ""
        with self._lock:
            job.emit(self._showing.change(job.classes, notice, self._trouble))
        with suppress(OSError):  # told of when it is written or saved
            self._history.journal.settle()

    def _keep(self, session: Session, job: _Job) -> None:
        """Put down what was done, and show of it what is in sight."""
        assert job.action is not None
        journal = self._history.taken_up()
        adds = job.action.said["do"] == "add"
        ended = {step.result.status for step in session.steps[-1 if adds else 0 :]}
        number = self._noted(journal, job.action, superseded=adds and "superseded" in ended)
        if job.action.refines and self._jobs.empty():
            self._show_first(session, job)
        self._hold(session, number, writes=True)
        if job.action.refines and not _comes_again(job.action, ended):
            self.saver.flush(self.photo.number)

    def _noted(self, journal: Journal, action: Action, *, superseded: bool) -> int:
        """Put an action on the disk before its mask is shown; where that fails, it is told, and the action holds."""
        try:
            return journal.add(action.said, superseded=superseded)
        except OSError as cause:
            self.saver.trouble[self.photo.number] = f"The last click is not on the disk: {reason(cause)}"
            return journal.last

    @property
    def _trouble(self) -> str:
        return self.saver.trouble.get(self.photo.number, "")

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


def _comes_again(action: Action, ended: set[str]) -> bool:
    """Whether doing an action again gives the same, also where it was ended early.

    What was cancelled hangs on the moment, and of several steps that were remade it is not known which one was ended.
    """
    return not ended & ({"cancelled", "time"} if action.said["do"] == "add" else {"cancelled", "time", "superseded"})


def _signature(path: Path) -> tuple[int, int] | None:
    """What changes where a file is replaced; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
