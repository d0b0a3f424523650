"""States and masks as they are sent: of a mask the part that an action changed, as a PNG or as COCO's run lengths."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from interactify.errors import OptionError
from interactify.export.formats import FORMATS, Exported
from interactify.masks.run_lengths import run_lengths
from interactify.pictures.window import extent_of, whole
from interactify.serve.live import Answer, Live
from interactify.session.session import Session
from interactify.training.accepted import labels_of_session

FORMS: Final = ("rle", "png", "none")
MAPS: Final[Mapping[str, Callable[[Session], NDArray[Any]]]] = {
    "objects": Session.label_map,
    "classes": Session.class_map,
    "accepted": labels_of_session,  # what a network may learn from the session
}
TYPES: Final = {
    ".png": "image/png",
    ".json": "application/json",
    ".geojson": "application/geo+json",
    ".txt": "text/plain",
}


def checked_form(form: str | None) -> str:
    """How a mask is sent: "rle", the default, "png", or "none". Raises OptionError for anything else."""
    if form is None:
        return "rle"
    if form not in FORMS:
        raise OptionError(f"Expected the mask as one of {', '.join(FORMS)}, got {form[:60]!r}.")
    return form


def answer_json(answer: Answer, form: str) -> dict[str, Any]:
    """An answer as JSON: the number of the last action, the state, and what changed of the active object's mask."""
    return {"n": answer.number, **answer.state, "mask": _changed(answer, form)}


def _changed(answer: Answer, form: str) -> dict[str, Any] | None:
    """The part of the mask that differs from the one at `base`; the whole mask where `base` is None."""
    if form == "none":
        return None
    mask = answer.mask
    box = whole(mask.shape[:2]) if answer.before is None else extent_of(mask != answer.before)
    found: dict[str, Any] = {"base": answer.base, "box": None}
    if box is not None:
        part = mask[box.slices]
        found |= {"box": [box.left, box.top, box.width, box.height], **mask_json(part, form)}
    return found


def mask_json(mask: NDArray[np.bool_], form: str) -> dict[str, Any]:
    """A mask (H, W) bool as {"rle": COCO's run lengths} or {"png": base64 of a PNG}.

    >>> mask_json(np.eye(2, dtype=bool), "rle")
    {'rle': {'size': [2, 2], 'counts': '0120'}}
    """
    if form == "png":
        return {"png": base64.b64encode(mask_png(mask)).decode()}
    return {"rle": run_lengths(mask)}


def mask_png(mask: NDArray[np.bool_]) -> bytes:
    """A mask (H, W) bool as a PNG of 1 bit a pixel, white where the object is."""
    content = io.BytesIO()
    Image.fromarray(mask).save(content, "PNG", compress_level=1)
    return content.getvalue()


def exported(live: Live, form: str, name: str | None, tolerance: float) -> tuple[bytes, str, str]:
    """An object's result as one of `interactify.export`'s formats: the file's bytes, its name and its type.

    Raises OptionError for another format, and InteractionError for an unknown object.
    """
    if form not in FORMATS:
        raise OptionError(f"Expected a format out of {', '.join(FORMATS)}, got {form[:60]!r}.")
    chosen = live.object_named(name)
    photo = Path(Path(live.record.name).name or "photo")
    category = live.session.category(chosen)
    content = Exported(live.session.result_of(chosen), photo, category, tolerance)
    ending = FORMATS[form].ending
    with TemporaryDirectory(prefix="interactify-") as folder:
        written = FORMATS[form].write(Path(folder, f"result{ending}"), content)
        return written.read_bytes(), f"{photo.stem}{ending}", TYPES.get(Path(ending).suffix, "application/octet-stream")


def label_map(live: Live, of: str) -> NDArray[Any]:
    """A map (H, W), one of `MAPS`."""
    return MAPS[of](live.session)


def npz_of(labels: NDArray[Any]) -> bytes:
    """A map as an .npz file with the array "labels"."""
    content = io.BytesIO()
    np.savez_compressed(content, labels=labels)
    return content.getvalue()
