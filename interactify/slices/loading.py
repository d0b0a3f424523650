"""Continue a session over slices from the file that it was saved to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from interactify.errors import CheckpointError, OptionError
from interactify.pictures.value_range import checked_value_range
from interactify.refinement.wrapped import Wrapped
from interactify.session.archive import check_prediction, check_settings, read_archive
from interactify.session.session_file import fingerprint, settings_of
from interactify.slices.session import SliceSession
from interactify.slices.session_file import BROKEN, FORMAT, KEYS, KIND, history_of


def load_slices(path: str | Path, net: Wrapped, volume: Any) -> SliceSession:
    """Continue a session over slices: the masks are those that were saved, and so is what undo and redo lead to.

    The next interaction gives the very mask that it would have given then, on the machine and the versions that wrote
    the file.

    Args:
        path: the file that `SliceSession.save` wrote.
        net: the same network, wrapped the same way.
        volume: the same volume.

    Raises:
        CheckpointError: the file is missing, broken or of another kind, or was saved for another network, other
            options, or another volume.
        OptionError: `net` is not a wrapped network.
        PhotoError: the volume can't be read.
    """
    if not isinstance(net, Wrapped):
        raise OptionError(f"Expected a wrapped network, got {type(net).__name__}. Try interactify.wrap(model).")
    header, arrays = read_archive(path, KEYS, (FORMAT,), KIND)
    settings = header["settings"]
    if header["network"] != fingerprint(net.unwrap()):
        raise CheckpointError(
            f"Expected the network that {path} was saved for, got other weights. Try to load those first."
        )
    try:
        value_range = checked_value_range(settings.get("value_range"))
        session = SliceSession(
            net,
            volume,
            axis=settings["axis"],
            reach=settings["reach"],
            target="clicked" if settings["target"] is None else settings["target"],
            value_range=value_range,
        )
    except (KeyError, OptionError) as cause:
        raise CheckpointError(f"Expected a whole session, got {path} ({cause}). Try an older copy.") from cause
    refiner = session.refiner
    if header["volume"] != refiner.planes.volume.digest():
        raise CheckpointError(f"Expected the volume that {path} was saved for, unchanged; got another one.")
    opened = refiner.photo(refiner.planes.count // 2)
    current = settings_of(refiner.net, opened, session.target) | {"axis": session.axis, "reach": session.reach}
    check_settings(path, settings, current)
    try:
        check_prediction(path, opened.initial_step(session.target).result.logits, arrays["plain"], "volume")
        session.restore(history_of(header, arrays, refiner))
    except CheckpointError:
        raise
    except BROKEN as cause:
        raise CheckpointError(f"Expected a whole session, got {path} ({cause}). Try an older copy.") from cause
    return session
