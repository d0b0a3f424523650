"""The networks of a project: the one that it was opened with, and what was learned since. A session keeps its own."""

from __future__ import annotations

import json
import threading
from dataclasses import asdict, dataclass
from pathlib import Path

from interactify.app.sessions_here import SessionsHere
from interactify.app.store.journal import SessionFiles, entries_of
from interactify.app.store.project import Photo
from interactify.app.store.stored_session import StoredSession
from interactify.checkpoints import load_into, read_weights
from interactify.errors import quietly
from interactify.export.files import prepare_folder, write_json
from interactify.inspection.replica import independent_copy_of
from interactify.interactive import Interactive, wrap
from interactify.session.session_file import fingerprint
from interactify.web.about_network import about_network


@dataclass(frozen=True)
class Learned:
    """A lesson that is over.

    Attributes:
        photos: how many photos were accepted then.
        network: the fingerprint of its weights where they were taken, else "".
        weights: their file, relative to the folder.
    """

    photos: int
    network: str = ""
    weights: str = ""


class Networks:
    """Gives each photo its network. Its methods may be called from several threads.

    Attributes:
        about: what the page is told of the first network.
        folder: with networks.json and the weights.
        fingerprint: of the network that the project is opened with.
        lessons: all that are over, in order.
    """

    sessions = SessionsHere()

    def __init__(self, net: Interactive, folder: Path, *, latest: bool = False) -> None:
        """With `latest`, new photos get what was learned last; else the network that the project is opened with."""
        self.first, self.folder = net, folder
        self.fingerprint = fingerprint(net.unwrap())
        self.about = about_network(net, self.fingerprint)
        self._opened = {self.fingerprint: net}
        self._lock = threading.Lock()
        self.lessons = self._read()
        taken = [each.network for each in self.lessons if each.network]
        self._latest = taken[-1] if latest and taken else self.fingerprint

    def of(self, files: SessionFiles) -> tuple[Interactive, str]:
        """The network of a photo's session, and its fingerprint; of a photo without one, the latest network."""
        entries = entries_of(files.journal)
        named = next((entry["network"] for entry in entries if "network" in entry), None)
        if named is None:
            named = self.fingerprint if entries or files.session.exists() else self._latest
        known = {self.fingerprint, *(each.network for each in self.lessons)}
        own = named if isinstance(named, str) and named in known and named else self._latest
        return self._open(own), own

    def stored(self, photo: Photo, out: Path) -> StoredSession:
        """The session of a photo, under its own network."""
        return StoredSession(*self.of(SessionFiles.of(photo.key, out)), photo, out)

    def hurry(self) -> None:
        """Nobody is waited for."""

    def close(self) -> None:
        """Nothing is held elsewhere."""

    def latest(self) -> tuple[Interactive, Path | None]:
        """The network of new photos, and the file of its weights; None for the first one, whose are elsewhere."""
        return self._open(self._latest), self._file(self._latest)

    def add(self, photos: int, weights: Path | None) -> None:
        """Note a lesson from so many photos. With weights, new photos are opened with these from now on."""
        learned = Learned(photos)
        if weights is not None:
            net = self._with(weights)
            learned = Learned(photos, fingerprint(net.unwrap()), weights.relative_to(self.folder).as_posix())
            self._opened[learned.network] = net
        self.lessons = (*self.lessons, learned)
        stored = {"first": self.fingerprint, "lessons": [asdict(each) for each in self.lessons]}
        write_json(prepare_folder(self.folder) / "networks.json", stored)
        self._latest = learned.network or self._latest

    def _open(self, network: str) -> Interactive:
        with self._lock:
            file = self._file(network)
            if network not in self._opened and file is not None:
                self._opened[network] = self._with(file)
            return self._opened[network]

    def _file(self, network: str) -> Path | None:
        return next((self.folder / each.weights for each in self.lessons if each.network == network), None)

    def _with(self, weights: Path) -> Interactive:
        model = load_into(independent_copy_of(self.first.unwrap()), read_weights(weights), weights)
        with quietly():  # what had to be assumed was said for the first one
            return wrap(model, **self.first.options)

    def _read(self) -> tuple[Learned, ...]:
        """The lessons of this network whose weights are still there; none where another network began."""
        try:
            stored = json.loads((self.folder / "networks.json").read_bytes())
            lessons = [Learned(**each) for each in stored["lessons"]] if stored["first"] == self.fingerprint else []
        except (OSError, ValueError, KeyError, TypeError):  # none yet, or not ours: lessons begin anew
            return ()
        return tuple(each for each in lessons if not each.network or (self.folder / each.weights).is_file())
