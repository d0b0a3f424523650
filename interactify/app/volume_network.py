"""The network of a project of volumes, and the volumes that are open."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path
from typing import Final

from PIL import Image

from interactify.app.store.project import Photo
from interactify.app.store.stored_volume import StoredVolume
from interactify.app.volumes.files import open_volume_file
from interactify.app.volumes.sessions import SessionsOnVolumes
from interactify.app.volumes.shown_volume import ShownVolume
from interactify.interactive import Interactive
from interactify.session.session_file import fingerprint
from interactify.web.about_network import about_network

MAX_VOLUMES: Final = 2  # kept open to be shown; a session keeps its own


class VolumeNetwork:
    """The place where sessions of volumes run: this process. Its methods may be called from several threads.

    Attributes:
        about: what the page is told of the network.
    """

    sessions = SessionsOnVolumes()

    def __init__(self, net: Interactive) -> None:
        self.net = net
        self.fingerprint = fingerprint(net.unwrap())
        self.about = about_network(net, self.fingerprint)
        self._open: OrderedDict[int, tuple[object, ShownVolume]] = OrderedDict()
        self._lock = threading.Lock()  # one volume is read at a time

    @property
    def slices(self) -> bool:
        """Whether it is a network of images, which sees slices."""
        return self.net.spec.sides != 3

    def stored(self, photo: Photo, out: Path) -> StoredVolume:
        """The session of a volume as it was left."""
        return StoredVolume(self.net, self.fingerprint, photo, out, lambda: self.shown(photo))

    def shown(self, photo: Photo) -> ShownVolume:
        """A volume to be shown, read again where its file has changed. Raises PhotoError."""
        with self._lock:
            version = _version_of(photo.path)
            known = self._open.pop(photo.number, None)
            if known is None or known[0] != version:
                while len(self._open) >= MAX_VOLUMES:
                    self._open.popitem(last=False)
                known = version, ShownVolume.of(open_volume_file(photo.path, photo.name), self.about.value_range)
            self._open[photo.number] = known
            return known[1]

    def thumbnail(self, photo: Photo, longest: int) -> Image.Image:
        """The middle slice of a volume, which is not kept open for it. Raises PhotoError."""
        _, known = self._open.get(photo.number, (None, None))
        shown = known or ShownVolume.of(open_volume_file(photo.path, photo.name), self.about.value_range)
        return shown.thumbnail(longest)

    def hurry(self) -> None:
        """Nobody is waited for."""

    def close(self) -> None:
        """Let go of the volumes."""
        with self._lock:
            self._open.clear()


def _version_of(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:  # reading it says why
        return None
    return found.st_mtime_ns, found.st_size
