"""Sessions for many: opened, found in memory or replayed from the store, changed in turn, and given back.

This is the service without HTTP. Its methods return at once, with a future for what the device's queue does.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from interactify.engines.work import cores
from interactify.errors import CheckpointError, OptionError, PhotoError, SessionGoneError, StoreError, quietly
from interactify.interactive import Interactive
from interactify.pictures.picture import Picture
from interactify.predictor.photo import ScoredMask
from interactify.predictor.prompts import Prompt
from interactify.serve.device_queue import DeviceQueue, Job, Steps
from interactify.serve.limits import Limits
from interactify.serve.live import Answer, Live, Outrun
from interactify.serve.memory import Memory
from interactify.serve.metrics import Metrics
from interactify.serve.prompts import answered
from interactify.serve.store.records import Record, Store
from interactify.session.session_file import fingerprint
from interactify.web.about import About
from interactify.web.about_network import about_network, session_identity
from interactify.web.actions import Action
from interactify.web.failures import Busy
from interactify.web.pictures import FORMATS, check_header
from interactify.web.tokens import digest_of, new_token

T = TypeVar("T")
ATTEMPTS = 3  # of an action that other replicas outrun


class Full(Busy):
    """All places for sessions are taken."""


@dataclass(frozen=True)
class Opened:
    """A new session, the token that its requests need, and its state."""

    record: Record
    token: str
    answer: Answer


@dataclass(frozen=True, eq=False)
class Served:
    """A network that is served, its weights' digest, what clients are told of it, and the queue of its device."""

    net: Interactive
    weights: str
    about: About
    queue: DeviceQueue


class Service:
    """Sessions on some networks, by name, kept in a store.

    Attributes:
        networks: by name; the first one is the default.
    """

    def __init__(
        self,
        nets: Mapping[str, Interactive],
        store: Store,
        limits: Limits | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        """Raises OptionError for no networks, and for one whose clicks depend on time (`max_seconds`)."""
        self.store, self.limits, self.metrics = store, limits or Limits(), metrics or Metrics()
        if not nets:
            raise OptionError("Expected at least one network, got none. Try {'default': interactify.wrap(model)}.")
        for name, net in nets.items():
            if net.max_seconds is not None:
                raise OptionError(
                    f"Expected networks without max_seconds, got {net.max_seconds} for {name!r}: a refinement that "
                    "ends after a time can't be repeated. Try max_evaluations."
                )
        queues = self._queues_for(nets.values())
        self.networks: dict[str, Served] = {}
        for name, net in nets.items():
            device = str(net.spec.device)
            weights = fingerprint(net.unwrap())
            self.networks[name] = Served(net, weights, about_network(net, weights), queues[device])
        self._queues = tuple(queues.values())
        self.memory = Memory(self.limits.in_memory, self._leave)
        self._renewed: dict[str, float] = {}  # when this replica last renewed a session's place
        self._asked: dict[tuple[str, str], Future[Answer]] = {}  # of the actions that wait or run
        self._asking = threading.Lock()
        self._closing = threading.Event()
        self.metrics.gauge("sessions_in_memory", "Sessions in memory.", lambda: len(self.memory))
        self.metrics.gauge("waiting", "Jobs that run or wait.", lambda: sum(map(len, self._queues)))
        self.metrics.gauge("sessions", "Sessions that have a place.", lambda: self.store.leases(time.time()))
        self._tidying = threading.Thread(target=self._tidy, name="interactify-tidying", daemon=True)
        self._tidying.start()

    # ---- sessions ----------------------------------------------------------------------------------------------------

    def open(
        self, owner: str, content: bytes, name: str, network: str | None = None, target: int | str | None = None
    ) -> Future[Opened]:
        """Open a photo's file; decodes it in the caller's thread.

        Raises:
            PhotoError: a file that is too large, or no picture, found before it is decoded; or a damaged one.
            OptionError: there is no such network; from the future, also a target that is none of its classes.
            Full: all places are taken.
            StoreError: the store can't be written.
        """
        chosen = next(iter(self.networks)) if network is None else network
        served = self._served(chosen)
        picture = self._picture(served.net, content, name)
        id, token = secrets.token_hex(12), new_token()

        def steps() -> Steps[Opened]:
            try:
                with quietly():
                    session = served.net.session(picture, target=target)
                yield
                height, width = session.size
                record = Record(
                    *(id, owner, digest_of(token), hashlib.sha256(content).hexdigest(), name, chosen, target),
                    *(session_identity(session, served.weights), height, width, time.time()),
                )
                self.store.create(record, content)
            except BaseException:
                self.store.release(id)
                raise
            live = Live(record, session)
            self.memory.put(live)
            return Opened(record, token, live.answer())

        self._take_place(id, time.time())
        return served.queue.submit(id, Job(steps()))

    def act(self, record: Record, action: Action, key: str, *, superseded: bool = False) -> Future[Answer]:
        """Make an action, and write it to the store before it is answered.

        Args:
            record: of the session.
            action: as `read_action` gives it.
            key: of the request: one that comes again with the same key is not made again.
            superseded: whether its refinement ends early, as for a newer action: it did when it was made first.

        Raises:
            Busy: too many actions of this session wait; or, from the future, other replicas change it all the time.
            Full: the session has lost its place, and all are taken.
            SessionGoneError: from the future, the session was deleted meanwhile.
            InteractifyError: from the future, what the action raises; the session is as it was.
            StoreError: the store can't be written. Ask again with the same key.
        """
        queue, came = self._served(record.network).queue, time.monotonic()

        def steps() -> Steps[Answer]:
            for _ in range(ATTEMPTS):
                live = yield from self._current(record)
                if key in live.numbers:  # the answer was lost, or another replica has made it
                    return live.answer()
                number = live.number
                try:
                    answer = live.act(action, key, self.store, lambda: queue.superseded(record.id))
                except (Outrun, StoreError) as cause:  # whether it is in the log, the log will say
                    self.memory.drop(record.id)
                    if isinstance(cause, StoreError):
                        raise
                    self.metrics.conflicts.inc()
                    continue
                if answer.number != number:
                    self._count(action, answer)
                self.metrics.answered.observe(time.monotonic() - came)
                return answer
            raise Busy("Expected to be the only one who changes this session, got others who do. Try again.")

        self._take_place(record.id, time.time())
        job, asked = Job(steps(), supersedes=action.supersedes, ends_early=superseded), (record.id, key)
        with self._asking:
            known = self._asked.get(asked)
            if known is not None:  # it came again while it waits or runs, and is no newer action that would end it
                return known
            future = self._asked[asked] = queue.submit(record.id, job)

        def note(_: Future[Answer]) -> None:
            self._asked.pop(asked, None)
            self.metrics.waited.observe(job.waited or 0.0)

        future.add_done_callback(note)
        return future

    def read(self, record: Record, look: Callable[[Live], T]) -> Future[T]:
        """What a function sees of a session, after all actions that came before. Raises as `act`, and as `look`."""

        def steps() -> Steps[T]:
            live = yield from self._current(record)
            return look(live)

        self._take_place(record.id, time.time())
        return self._served(record.network).queue.submit(record.id, Job(steps()))

    def prompt(self, record: Record, prompt: Prompt, target: int | str | None) -> Future[ScoredMask]:
        """The object that a prompt describes; the session stays as it is. Raises as `read`, and as `answered`."""
        net = self._served(record.network).net
        return self.read(record, lambda live: answered(net, live, prompt, target))

    def end_early(self, record: Record) -> None:
        """Let the session's refinements that run or wait now end early, as for a newer action."""
        self._served(record.network).queue.end_early(record.id)

    def beat(self, record: Record) -> float:
        """Keep a session's place; returns for how many seconds: 0 where it was idle for too long, and has lost it."""
        now = time.time()
        left = self.store.used(record.id) + self.limits.idle - now
        seconds = min(self.limits.liveness, left)
        if seconds <= 0:
            self.store.release(record.id)
            return 0.0
        live = self.memory.get(record.id)
        if live is not None:
            live.asked = time.monotonic()
        return seconds if self.store.lease(record.id, now + seconds, now, self.limits.sessions) else 0.0

    def leave(self, record: Record) -> None:
        """Give up a session's place, before it is lost; its next request takes one again."""
        self._renewed.pop(record.id, None)
        self.store.release(record.id)

    def delete(self, record: Record) -> None:
        """Remove a session from the store and from memory."""
        self.store.delete(record.id)
        self._renewed.pop(record.id, None)
        self.memory.send_away(record.id)

    @property
    def at_once(self) -> int:
        """How many sessions may be worked for at one time, over all devices."""
        return sum(queue.at_once for queue in self._queues)

    @property
    def ready(self) -> bool:
        """Whether requests can be answered. Raises StoreError where the store can't be reached."""
        self.store.check()
        return not self._closing.is_set() and all(queue.alive for queue in self._queues)

    def close(self, seconds: float = 20.0) -> None:
        """Make the actions that wait, for so many seconds at most, and give back everything but the store."""
        self._closing.set()
        for queue in self._queues:
            queue.close(seconds)
        self.memory.clear()

    # ---- how ---------------------------------------------------------------------------------------------------------

    def _queues_for(self, nets: Collection[Interactive]) -> dict[str, DeviceQueue]:
        """A queue for each device. A network that keeps something of a pass would mix up two that run at one time."""
        queues = {}
        for device in dict.fromkeys(str(net.spec.device) for net in nets):
            on_device = [net for net in nets if str(net.spec.device) == device]
            on_cpu = on_device[0].spec.device.type == "cpu"
            alone = not on_cpu or any(net.state.written for net in on_device)
            queues[device] = DeviceQueue(
                device,
                self.limits.waiting,
                at_once=1 if alone else self.limits.workers or max(1, cores() // self.limits.threads),
                threads=self.limits.threads if on_cpu else None,
            )
        return queues

    def _current(self, record: Record) -> Steps[Live]:
        """A session as its log has it: from memory, or opened again; then with the actions that memory lacks."""
        live = self.memory.get(record.id)
        if live is None:
            if self.store.record(record.id) is None:
                raise SessionGoneError("Expected a session of this service, got a deleted one. Open the photo again.")
            served = self._served(record.network)
            with quietly():
                picture = self._picture(served.net, self.store.photo(record.photo), record.name)
                session = served.net.session(picture, target=record.target)
            if session_identity(session, served.weights) != record.identity:
                session.close()
                raise CheckpointError(
                    f"Expected the network {record.network!r} as it was when this session was opened, got other "
                    "weights or options. Open the photo in a new session."
                )
            self.metrics.replays.inc()
            live = Live(record, session)
            self.memory.put(live)
            yield
        try:
            yield from live.catch_up(self.store)
        except BaseException:
            self.memory.drop(record.id)  # a half of a log is no session
            raise
        return live

    def _picture(self, net: Interactive, content: bytes, name: str) -> Picture:
        """A photo from its file's bytes, checked before it is decoded, and read as from the file itself."""
        form = check_header(
            content, name, net.spec.channels, most_bytes=self.limits.file_bytes, most_pixels=self.limits.pixels
        )
        with TemporaryDirectory(prefix="interactify-") as folder:
            path = Path(folder, f"photo{FORMATS[form]}")
            path.write_bytes(content)
            try:
                return net.picture(path)
            except PhotoError as cause:  # no client has to know where the file lay for a moment
                raise PhotoError(str(cause).replace(repr(str(path)), name).replace(str(path), name)) from cause

    def _served(self, name: str) -> Served:
        if name not in self.networks:
            raise OptionError(f"Expected one of the networks {', '.join(self.networks)}, got {name[:60]!r}.")
        return self.networks[name]

    def _take_place(self, id: str, now: float) -> None:
        """Take or renew a session's place. Raises Full where there is none."""
        if now - self._renewed.get(id, 0.0) < self.limits.liveness / 4:
            return
        if not self.store.lease(id, now + self.limits.liveness, now, self.limits.sessions):
            raise Full(
                f"Expected a free place, got {self.limits.sessions} sessions that have one. Try again in a while."
            )
        self._renewed[id] = now

    def _leave(self, live: Live) -> None:
        """Let a session leave memory after what waits for it now."""
        id, queue = live.record.id, self.networks[live.record.network].queue

        def steps() -> Steps[None]:
            if queue.superseded(id):  # its next action waits already
                self.memory.keep(id)
            else:
                self.memory.drop(id)
                self.metrics.evicted.inc()
            yield

        try:
            queue.submit(id, Job(steps()))
        except Busy:  # the service is being closed, or many actions of this session wait
            self.memory.keep(id)

    def _count(self, action: Action, answer: Answer) -> None:
        self.metrics.actions.labels(action.name).inc()
        if answer.state["result"]["status"] == "superseded":
            self.metrics.superseded.inc()

    def _tidy(self) -> None:
        """Let unused sessions leave memory, and remove from the store what was kept for long enough."""
        pause = min(5.0, self.limits.liveness / 4)
        swept = float("-inf")
        while not self._closing.wait(pause):
            now = time.monotonic()
            self.memory.send_unused_away(now - self.limits.liveness, now - self.limits.idle)
            for id, when in list(self._renewed.items()):
                if when < time.time() - self.limits.liveness:
                    self._renewed.pop(id, None)
            if now - swept > min(3600.0, self.limits.keep / 4):
                swept = now
                try:
                    for id in self.store.older_than(time.time() - self.limits.keep):
                        self.store.delete(id)
                except StoreError:  # the next time, then
                    continue
