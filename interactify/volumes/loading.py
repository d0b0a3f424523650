"""Continue a saved session, on a photo or on a volume."""

from __future__ import annotations

from pathlib import Path
from typing import Any, overload

from interactify.errors import CheckpointError, InteractifyError, OptionError
from interactify.pictures.picture import PictureLike
from interactify.pictures.value_range import checked_value_range
from interactify.refinement.wrapped import Wrapped
from interactify.session.archive import check_prediction, check_settings, read_archive
from interactify.session.loading import load_session as load_photo_session
from interactify.session.session import Session
from interactify.session.session_file import fingerprint
from interactify.volumes.session import VolumeSession
from interactify.volumes.session_file import FORMAT, KEYS, first_map, read_history, settings_of
from interactify.volumes.volume import Volume


@overload
def load_session(path: str | Path, net: Wrapped, photo: Volume) -> VolumeSession: ...
@overload
def load_session(path: str | Path, net: Wrapped, photo: PictureLike) -> Session: ...
def load_session(path: str | Path, net: Wrapped, photo: Any) -> Session | VolumeSession:
    """Continue a saved session: the next click gives the very mask that it would have given then.

    Args:
        path: the file that `Session.save`, or `VolumeSession.save`, wrote.
        net: the same network, wrapped the same way.
        photo: the same photo; for a network of volumes, the same volume.

    Returns:
        A `Session`, or a `VolumeSession`, with its history.

    Raises:
        CheckpointError: the file is missing, broken or of another kind, or was saved for another network, other
            options, or another photo.
        OptionError: `net` is not a wrapped network.
        PhotoError: the photo can't be read.
    """
    if isinstance(net, Wrapped) and net.spec.sides == 3:
        return load_volume_session(path, net, photo)
    return load_photo_session(path, net, photo)


def load_volume_session(path: str | Path, net: Wrapped, volume: Any) -> VolumeSession:
    """Continue a saved session on a volume; see `load_session`."""
    header, arrays = read_archive(path, KEYS, (FORMAT,), "volume")
    settings = header["settings"]
    try:
        value_range = checked_value_range(settings.get("value_range"))
        target = "clicked" if settings.get("target") is None else settings["target"]
        session = VolumeSession(net, volume, target, value_range=value_range)
    except OptionError as cause:
        raise CheckpointError(f"Expected a whole session, got {path} ({cause}). Try an older copy.") from cause
    refiner = session.refiner
    if header["volume"] != refiner.volume.digest():
        raise CheckpointError(f"Expected the volume that {path} was saved for, unchanged; got another one.")
    if header["network"] != fingerprint(refiner.net.unwrap()):
        raise CheckpointError(
            f"Expected the network that {path} was saved for, got other weights. Try to load those first."
        )
    check_settings(path, settings, settings_of(refiner, session.target))
    try:
        check_prediction(path, first_map(refiner, session.target), arrays["plain"], "volume")
        session.restore(read_history(header, arrays, refiner, session.target))
    except CheckpointError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, InteractifyError) as cause:
        raise CheckpointError(f"Expected a whole session, got {path} ({cause}). Try an older copy.") from cause
    return session
