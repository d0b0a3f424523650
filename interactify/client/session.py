"""A session at a service, with the methods of `interactify.Session`: interactions go there, masks come back.

Of a mask only the part that changed is sent. Each answer has a number, and names the number of the mask that the change
is to be put on; where that is not here, the whole mask is asked for.
"""

from __future__ import annotations

import io
import threading
import uuid
import weakref
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from interactify.client.connection import Connection
from interactify.client.photos import patched
from interactify.client.result import Prompted, Result, interactions_in
from interactify.errors import (
    ClosedSessionError,
    InteractifyError,
    InteractionError,
    ServiceError,
    SessionChangedError,
    with_type,
)
from interactify.interactions.click import Click, Interaction, is_list
from interactify.interactions.gestures import Box
from interactify.masks.run_lengths import mask_of_rle

KEPT: Final = 8  # masks of the latest actions
BEATS: Final = 3.0  # heartbeats in the time after which a place is lost
OF_ACTIVE: Final = ("add", "remove", "move", "choose", "reset", "switch", "add_object")  # change no other object
LEAVE_SECONDS: Final = 1.0  # that a session waits at its end to have given up its place
SHORT_SECONDS: Final = 5.0  # that the answer to `cancel`, or to the end of a session, may take
PATIENCE: Final = 2.0  # seconds that an answer waits for the one before it, which another thread asked for


class Session:
    """Interactions with one photo at a service. Made by `Service.session`.

    Methods are those of `interactify.Session`, and may be called from several threads: a refinement ends early for a
    newer one. A replica that is killed loses nothing: the next one goes on from the store, with the same mask.

    Attributes:
        id, token: by which `Service.resume` finds it again.
        size: (H, W) of the photo.
        file: the SHA-256 of the photo's file.
        identity: a digest of all that its masks depend on: the photo, the weights, the options.
        patience: seconds for which its requests are tried again; the connection's where it is None.
    """

    def __init__(
        self,
        connection: Connection,
        state: Mapping[str, Any],
        token: str,
        lease_seconds: float | None = None,
        *,
        heartbeat: bool = True,
    ) -> None:
        self.connection, self.token = connection, token
        self.id, self.name, self.network = str(state["session"]), str(state["name"]), str(state["network"])
        self.size: tuple[int, int] = (state["height"], state["width"])
        self.file, self.identity = str(state["file"]), str(state["identity"])
        self.patience: float | None = None
        self._frozen = False  # a copy: what it asks for has to be of its own state
        self._path = f"/v1/sessions/{self.id}"
        self._masks: OrderedDict[int, NDArray[np.bool_]] = OrderedDict()
        self._changed = threading.Condition()
        self._ended = threading.Event()
        self._acting = 0  # how many actions are asked for now
        self._others: dict[str, Result] = {}  # of objects that are not active, until something may have changed them
        self._result = self._take(state)
        if heartbeat:
            seconds = (lease_seconds or float(self._ask("POST", "/heartbeat").json()["lease_seconds"]) or 60) / BEATS
            beating = weakref.ref(self), self._ended, seconds  # a session that is dropped is kept alive no longer
            threading.Thread(target=_beat, args=beating, name="interactify-heartbeat", daemon=True).start()

    # ---- the active object -------------------------------------------------------------------------------------------

    @property
    def result(self) -> Result:
        """The latest result that was received; before the first interaction, the network's own prediction."""
        self._check_open()
        return self._result

    @property
    def interactions(self) -> tuple[Interaction, ...]:
        """All interactions with the active object, in their order."""
        return interactions_in(self._state, self.size)

    def click(self, x: float, y: float, positive: bool = True, label: int | str | None = None) -> Result:
        """Click on a pixel of the object (`positive`) or on one that is not; as `interactify.Session.click`."""
        return self.add([Click(x, y, positive, label)])

    def add(self, interactions: Sequence[Interaction]) -> Result:
        """Add several interactions at once, as one step; as `interactify.Session.add`."""
        if not is_list(interactions) or not all(isinstance(each, Interaction) for each in interactions):
            raise InteractionError(f"Expected a list of interactions, [Click(…), …], got {with_type(interactions)}.")
        if not interactions:
            return self.result
        # Masks and label maps are checked here already, since their run lengths need arrays of the photo's size.
        return self._do("add", interactions=[each.within(self.size).to_json() for each in interactions])

    def remove(self, index: int) -> Result:
        """Remove any interaction, and refine those after it again; a negative index counts from the end."""
        return self._do("remove", index=self._from_start(index))

    def move(self, index: int, x: float, y: float) -> Result:
        """Move any click, and refine the interactions after it again; a negative index counts from the end."""
        return self._do("move", index=self._from_start(index), x=x, y=y)

    def choose(self, choice: str) -> Result:
        """Go on from one of the newest interactions' readings: "narrow", "usual" or "wide"."""
        return self._do("choose", choice=choice)

    # ---- undo --------------------------------------------------------------------------------------------------------

    @property
    def can_undo(self) -> bool:
        """Whether there is a change to undo."""
        return bool(self._state["can_undo"])

    @property
    def can_redo(self) -> bool:
        """Whether there is a change to redo."""
        return bool(self._state["can_redo"])

    def undo(self) -> Result:
        """Undo the last change, of whichever object, if there is one."""
        return self._do("undo")

    def redo(self) -> Result:
        """Redo the change that was undone last, if there is one."""
        return self._do("redo")

    def reset(self) -> Result:
        """Remove all interactions with the active object."""
        return self._do("reset")

    # ---- objects -----------------------------------------------------------------------------------------------------

    @property
    def objects(self) -> tuple[str, ...]:
        """The names of all objects, in the order in which they were added."""
        return tuple(each["name"] for each in self._state["objects"])

    @property
    def active(self) -> str:
        """The name of the active object."""
        return str(self._state["active"])

    def add_object(self, name: str | None = None, target: int | str | None = None) -> str:
        """Add an object, which becomes the active one; returns its name."""
        return str(self._do("add_object", name=name, target=target).state["active"])

    def switch(self, name: str) -> Result:
        """Make another object the active one; returns its result."""
        return self._do("switch", name=name)

    def rename(self, old: str, new: str) -> None:
        """Give an object another name."""
        self._do("rename", name=old, to=new)

    def delete(self, name: str) -> Result:
        """Remove an object with all its interactions; `undo` brings it back."""
        return self._do("delete", name=name)

    # ---- results -----------------------------------------------------------------------------------------------------

    def result_of(self, name: str) -> Result:
        """The current result of an object. Raises InteractionError where there is none of that name.

        It is asked for once, and again after an action that may have changed it.
        """
        current, others = self.result, self._others
        if name == current.state["active"]:
            return current
        if name not in others:
            try:
                state = self._ask("GET", "", params={"object": name}).json()
            except InteractionError as cause:
                if self._frozen and name in self.objects:
                    raise SessionChangedError(
                        f"Expected the object {name!r}, which is gone. Try a new copy."
                    ) from cause
                raise
            self._check_unchanged(int(state["n"]))
            mask = patched(None, state["mask"], self.size)
            others[name] = Result(state["n"], mask, state, None, partial(self._probability, name))
        return replace(others[name], number=max(others[name].number, current.number))

    def interactions_of(self, name: str) -> tuple[Interaction, ...]:
        """All interactions with an object. Raises InteractionError where there is none of that name."""
        return interactions_in(self.result_of(name).state, self.size)

    @property
    def initial_mask(self) -> NDArray[np.bool_]:
        """(H, W) bool: the network's own mask, before any interaction with the active object."""
        return mask_of_rle(self._ask("GET", "/initial").json()["rle"])

    def prompt(self, clicks: Sequence[Click] = (), box: Box | None = None, target: int | str | None = None) -> Prompted:
        """The object that clicks and a box describe, whatever was done before; the session stays as it is.

        For tools that keep prompts themselves. `target` is the class of a positive click, by default the session's.
        """
        given = [each.within(self.size).to_json() for each in (*(() if box is None else (box,)), *clicks)]
        found = self._ask("POST", "/prompt", json={"interactions": given, "target": target}).json()
        return Prompted(mask_of_rle(found["rle"]), float(found["score"]))

    def category(self, name: str | None = None, otherwise: str = "object") -> str:
        """What an object is called in files: the name of its class, where it is known; see `interactify.Session`."""
        chosen = self.active if name is None else name
        found = next((each["class"] for each in self._state["objects"] if each["name"] == chosen), None)
        return otherwise if found is None else str(found)

    def checked(self, interaction: Interaction) -> Interaction:
        """The interaction in whole pixels. Raises InteractionError where it is not in the photo."""
        return interaction.within(self.size)

    def label_map(self) -> NDArray[np.int32]:
        """All objects in one map, (H, W) int32: 0 for none, k for the k-th of `objects`."""
        return self._map("objects")

    def class_map(self) -> NDArray[np.int64]:
        """The most likely class of every pixel, (H, W). Raises OptionError where the network knows one class only."""
        return self._map("classes")

    def accepted_labels(self) -> NDArray[np.uint8]:
        """What a network may learn from the session, (H, W) uint8: the object's pixels, or the class of every pixel."""
        return self._map("accepted")

    def export(self, form: str = "png", name: str | None = None, *, tolerance: float = 0.0) -> bytes:
        """An object's result as a file's bytes, in one of the formats of `interactify segment --format`.

        `name` is the active object's by default; `tolerance` is of outlines, in pixels.
        """
        params = {"tolerance": tolerance, **({} if name is None else {"object": name})}
        return self._ask("GET", f"/export/{form}", params=params).content

    def actions(self, after: int = 0) -> list[dict[str, Any]]:
        """All that was done, as it is in the service's store: {"n": number, "do": …} for each action after a number.

        With "superseded": true the action's refinement ended early for a newer one. `repeat` makes them in another
        session.
        """
        found: list[dict[str, Any]] = self._ask("GET", "/actions", params={"after": after}).json()["actions"]
        return found

    def repeat(self, entry: Mapping[str, Any], key: str | None = None) -> Result:
        """Make one of `actions`, of this session or another, as it was made then. Raises as the method of its name.

        With a key, 8 to 128 letters and digits: what this session has made with the same key is not made again.
        """
        content = dict(entry["do"])
        return self._do(content.pop("do"), key=key, superseded=bool(entry.get("superseded")), **content)

    def log(self) -> str:
        """The interactions of all objects as lines of JSON, as `interactify.Session.log`."""
        return self._ask("GET", "/log").text

    def save(self, path: str | Path) -> Path:
        """Write the log to a file, from which `interactify.replay` computes the masks again; returns its path."""
        path = Path(path)
        path.write_text(self.log(), encoding="utf-8")
        return path

    # ---- while a refinement runs, from other threads -----------------------------------------------------------------

    def cancel(self) -> None:
        """End the running refinement early, as for a newer interaction: its status is "superseded".

        Asked once, and only while this client waits for an action; where the service is away, nothing happens.
        """
        if self._acting:
            with suppress(ServiceError):
                self._ask("POST", "/cancel", patience=0.0, timeout=SHORT_SECONDS)

    def make_way(self) -> None:
        """As `cancel`; for those who queue changes themselves."""
        self.cancel()

    def preview(self) -> Result:
        """The current result: a service sends no masks of a refinement that still runs."""
        return self.result

    # ---- the end -----------------------------------------------------------------------------------------------------

    def close(self, *, delete: bool = False) -> None:
        """Give up the place. The session stays at the service for `Service.resume`; with `delete` it is removed."""
        if not self._ended.is_set() and delete:
            self._ask("DELETE", "", timeout=SHORT_SECONDS)
        elif not self._ended.is_set() and not self._frozen:
            with suppress(InteractifyError):  # then the place is lost without a heartbeat
                self._ask("POST", "/leave", patience=0.0, timeout=LEAVE_SECONDS)
        self._ended.set()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._ended.is_set()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __copy__(self) -> Session:
        """The session as it is now, to read from: what it asks for later raises SessionChangedError after a change."""
        copied = object.__new__(Session)
        copied.__dict__.update(self.__dict__)
        copied._frozen = True
        return copied

    def __repr__(self) -> str:
        height, width = self.size
        return f"Session({self.id}, {width}x{height} pixels{', closed' if self.closed else ''})"

    # ---- requests ----------------------------------------------------------------------------------------------------

    @property
    def _state(self) -> Mapping[str, Any]:
        return self.result.state

    def _check_open(self) -> None:
        if self._ended.is_set():
            raise ClosedSessionError(
                "Expected an open session, got one that was closed. Try service.resume(id, token)."
            )

    def _ask(self, method: str, path: str, **more: Any) -> Any:
        self._check_open()
        headers = {"Session-Token": self.token, **more.pop("headers", {})}
        more.setdefault("patience", self.patience)
        return self.connection.request(method, self._path + path, headers=headers, **more)

    def _check_unchanged(self, number: int) -> None:
        """Raise SessionChangedError in a copy where what came is of another action than the copy."""
        if self._frozen and number != self._result.number:
            raise SessionChangedError(
                f"Expected the session after its action {self._result.number}, got it after {number}. Try a new copy."
            )

    def _do(self, action: str, *, key: str | None = None, superseded: bool = False, **content: Any) -> Result:
        headers, params = {"Idempotency-Key": key or uuid.uuid4().hex}, {"superseded": 1} if superseded else None
        self._count(1)
        try:
            made = {"do": action, **content}
            state = self._ask("POST", "/actions", json=made, headers=headers, params=params).json()
        finally:
            self._count(-1)
        found = self._take(state)
        with self._changed:
            alone = found.number - self._result.number in (0, 1)  # nobody else has changed the session meanwhile
            if action not in OF_ACTIVE or not alone:
                self._others = {}
            elif action in ("switch", "add_object"):
                self._others = {**self._others, str(self._result.state["active"]): self._result}
                self._others.pop(str(state["active"]), None)
            if found.number >= self._result.number:
                self._result = found
        return found

    def _count(self, more: int) -> None:
        with self._changed:
            self._acting += more

    def _take(self, state: Mapping[str, Any]) -> Result:
        """The result that a state tells of, with its whole mask."""
        number, change = int(state["n"]), state["mask"]
        base, before = change["base"], None
        with self._changed:
            if base is not None:
                # Of two actions at a time, the second one's answer may come first.
                self._changed.wait_for(lambda: base in self._masks, PATIENCE)
                before = self._masks.get(base)
        if base is not None and before is None:
            return self._take(self._ask("GET", "").json())  # it has the whole mask
        mask = patched(before, change, self.size)
        with self._changed:
            self._masks[number] = mask
            while len(self._masks) > KEPT:
                self._masks.popitem(last=False)
            self._changed.notify_all()
        return Result(number, mask, state, before, partial(self._probability, str(state["active"])))

    def _map(self, of: str) -> NDArray[Any]:
        answer = self._ask("GET", "/labels", params={"of": of})
        self._check_unchanged(int(answer.headers["Interactify-Number"]))
        with np.load(io.BytesIO(answer.content), allow_pickle=False) as file:
            found: NDArray[Any] = file["labels"]
            return found

    def _probability(self, name: str, number: int) -> NDArray[np.float32]:
        content = self.export("npy", name)
        if int(self._ask("GET", "", params={"mask": "none"}).json()["n"]) != number:
            raise SessionChangedError(
                "Expected the session's latest result, got an older one, whose probabilities are gone."
            )
        found: NDArray[np.float32] = np.load(io.BytesIO(content), allow_pickle=False)
        return found

    def _from_start(self, index: int) -> int:
        return index + len(self.interactions) if isinstance(index, int) and index < 0 else index


def _beat(of: weakref.ref[Session], ended: threading.Event, seconds: float) -> None:
    while not ended.wait(seconds):
        session = of()
        if session is None or session.connection.closed:
            return
        with suppress(InteractifyError):  # the next one, or the next action, finds out
            session._ask("POST", "/heartbeat", patience=0.0)
        del session
