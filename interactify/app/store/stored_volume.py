"""A volume's session as it was left: the saved file, and the actions that only the journal has."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from interactify.app.store.project import Photo
from interactify.app.store.stored_session import StoredHere
from interactify.app.volume_updates import VolumeUpdates
from interactify.app.volumes.files import check_size
from interactify.app.volumes.in_slices import VolumeInSlices
from interactify.app.volumes.in_space import VolumeInSpace
from interactify.app.volumes.open_volume import OpenVolume
from interactify.app.volumes.sessions import SessionsOnVolumes
from interactify.app.volumes.shown_volume import ShownVolume
from interactify.errors import InteractifyError
from interactify.interactive import Interactive
from interactify.session.session_file import settings_of as settings_of_photo
from interactify.slices.loading import load_slices
from interactify.slices.session import SliceSession
from interactify.volumes.loading import load_volume_session
from interactify.volumes.session import VolumeSession
from interactify.volumes.session_file import settings_of
from interactify.web.about import About
from interactify.web.log import Entry


class StoredVolume(StoredHere[OpenVolume[Any]]):
    """The session of a volume: under a network of volumes, or of images, slice by slice."""

    def __init__(
        self, net: Interactive, network: str, photo: Photo, out: Path, volume: Callable[[], ShownVolume]
    ) -> None:
        """With `volume`, which gives the photo to be shown, and may take a while."""
        super().__init__(net, network, SessionsOnVolumes(), photo, out)
        self._volume = volume
        self._shown: ShownVolume | None = None

    def check(self, about: About) -> None:
        check_size(self.photo.path, self.photo.name)

    def updates(self, session: OpenVolume[Any], about: About) -> VolumeUpdates:
        return VolumeUpdates(session)

    @property
    def shown(self) -> ShownVolume:
        """The volume, opened once."""
        if self._shown is None:
            self._shown = self._volume()
        return self._shown

    def _new(self) -> OpenVolume[Any]:
        if self.net.spec.sides == 3:
            return VolumeInSpace(self.net.session(self.shown.volume), self.shown)
        return VolumeInSlices(self.net.slices(self.shown.volume, axis=self.shown.planes[0].axis), self.shown)

    def _loaded(self, path: Path) -> OpenVolume[Any]:
        if self.net.spec.sides == 3:
            return VolumeInSpace(load_volume_session(path, self.net, self.shown.volume), self.shown)
        return VolumeInSlices(load_slices(path, self.net, self.shown.volume), self.shown)

    def _run_again(self, session: OpenVolume[Any]) -> Iterable[Entry]:
        for entry in self.journal.entries_after(0):
            try:
                session.stored(dict(entry["do"])).run(session)
            except InteractifyError as cause:
                self._not_restored(cause)
            yield entry

    def _identity(self, session: OpenVolume[Any]) -> str:
        own, settings = session.session, dict[str, Any]()
        if isinstance(own, VolumeSession):
            settings = settings_of(own.refiner, own.target)
        elif isinstance(own, SliceSession):
            middle = own.refiner.photo(own.refiner.planes.count // 2)
            settings = settings_of_photo(own.refiner.net, middle, own.target) | {"axis": own.axis, "reach": own.reach}
        depends_on = [self.shown.volume.digest(), self.network, settings]
        return hashlib.sha256(json.dumps(depends_on, sort_keys=True).encode()).hexdigest()
