"""Continue a session over slices from the file that it was saved to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from interactify.errors import CheckpointError, OptionError
from interactify.pictures.value_range import checked_value_range
from interactify.refinement.wrapped import Wrapped
from interactify.session.session_file import fingerprint, settings_of
from interactify.slices.session import SliceSession
from interactify.slices.session_file import BROKEN, history_of, read_slices


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
    header, arrays = read_slices(path)
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
    different = [f"{key}: {settings.get(key)!r}, got {value!r}" for key, value in current.items()
                 if key not in settings or settings[key] != value]  # fmt: skip
    if different:
        raise CheckpointError(
            f"Expected the options that {path} was saved under, {'; '.join(different)}. Try to wrap with those."
        )
    try:
        own, saved = opened.initial_step(session.target).result.logits.cpu(), torch.from_numpy(arrays["plain"])
        if own.shape != saved.shape or not torch.allclose(own.float(), saved.float(), rtol=1e-2, atol=1e-2):
            raise CheckpointError(
                f"Expected the network that {path} was saved for, got one with the same weights that predicts "
                "something else for this volume. Try the same architecture and options."
            )
        session.restore(history_of(header, arrays, refiner))
    except CheckpointError:
        raise
    except BROKEN as cause:
        raise CheckpointError(f"Expected a whole session, got {path} ({cause}). Try an older copy.") from cause
    return session
