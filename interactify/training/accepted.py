"""The accepted masks of a folder, in any layout that this library writes: as label maps that a network can learn.

images/ and masks/       photos and masks of the same names; masks of objects, or maps of classes
interactify-out/         what `interactify app` writes: photos marked as done
PHOTO, PHOTO-mask.png    what `interactify segment` writes beside the photos
PHOTO, PHOTO.npz         sessions that `Session.save` wrote beside their photos
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from interactify.errors import CheckpointError, OptionError, PhotoError, reason_of
from interactify.export.files import prepare_folder
from interactify.export.png import write_labels
from interactify.interactive import Interactive
from interactify.learning.labelled_photos import UNKNOWN, LabelledPhoto, photos_in
from interactify.session.loading import load_session
from interactify.session.session import Session

PAGE: Final = "interactify-out"
LAYOUTS: Final = (
    "images/ and masks/, the folder of `interactify app`, photos with NAME-mask.png, or photos with sessions NAME.npz"
)
_PHOTOS: Final = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")

Labels = NDArray[np.uint8]


@dataclass(frozen=True)
class Accepted:
    """A photo whose mask was accepted.

    Attributes:
        name: unique in its folder.
        photo: its file.
        read: gives its labels (H, W) uint8: of one class 1 object and 0 background, of several the class; 255 unknown.
    """

    name: str
    photo: Path
    read: Callable[[], Labels]


def accepted_in(folder: Path, net: Interactive, photos: Path | None = None) -> list[Accepted]:
    """The accepted photos of a folder, by name; nothing but the folder's lists is read yet.

    Args:
        folder: in one of the layouts above.
        net: the network, whose classes decide what a mask means, and by which sessions are opened.
        photos: where the photos are, if they lie elsewhere than the folder's layout says.

    Raises:
        OptionError: the folder is of no known layout, or has no accepted photo.
        PhotoError: a photo that was accepted is missing.
    """
    if not folder.is_dir():
        raise OptionError(f"Expected a folder with photos and accepted masks, got no folder {folder}. Try its path.")
    page = next((each for each in (folder, folder / PAGE) if (each / "project.json").is_file()), None)
    classes = net.spec.output.classes
    if page is not None:
        found = _of_the_page(page, photos, classes)
    elif (folder / "images").is_dir() and (folder / "masks").is_dir():
        pairs = photos_in(folder)
        found = [Accepted(each.image.stem, each.image, _file(each.mask, classes)) for each in pairs]
    else:
        found = _beside_the_photos(folder, photos or folder, net)
    return sorted(found, key=lambda each: each.name)


def as_files(accepted: Sequence[Accepted], folder: Path) -> list[LabelledPhoto]:
    """Write the labels of accepted photos to a folder, so that those trained on stay as they are now.

    Raises:
        OptionError: the folder can't be written to, or a mask does not fit the network.
        PhotoError, CheckpointError: a mask or a session can't be read.
    """
    prepare_folder(folder)
    return [
        LabelledPhoto(each.photo, write_labels(folder / f"{_file_name(each.name)}.png", each.read()), "classes")
        for each in accepted
    ]


def labels_of_mask(values: NDArray[Any], classes: int, source: Path) -> Labels:
    """The labels (H, W) uint8 that a mask's values mean to a network of so many classes.

    One class: 0 is the background, 128 unknown and 255 the object where no other value occurs; in a map of objects 1
    to 254 are objects, all of them together the object, and 255 is unknown. Two classes: likewise for 0, 128 and 255,
    else the classes. More classes: the class of each pixel, 255 unknown.

    Raises:
        OptionError: a class that the network does not have.

    >>> labels_of_mask(np.array([[0, 128, 255]]), 1, Path("mask.png")).tolist()
    [[0, 255, 1]]
    >>> labels_of_mask(np.array([[0, 3, 255]]), 1, Path("mask.png")).tolist()
    [[0, 1, 255]]
    >>> labels_of_mask(np.array([[0, 3, 255]]), 5, Path("mask.png")).tolist()
    [[0, 3, 255]]
    """
    present = set(np.unique(values).tolist())
    if classes <= 2 and present <= {0, 128, 255}:
        return np.where(values == 128, UNKNOWN, values == 255).astype(np.uint8)
    if classes == 1:
        return np.where(values == UNKNOWN, UNKNOWN, values != 0).astype(np.uint8)
    beyond = sorted(int(each) for each in present if not 0 <= each < classes and each != UNKNOWN)
    if beyond:
        raise OptionError(
            f"Expected a map of the network's classes, 0 to {classes - 1}, and 255 for unknown pixels, got {source} "
            f"with {', '.join(map(str, beyond[:5]))}{', …' if len(beyond) > 5 else ''}. Try the map of classes, "
            "session.class_map(), in place of a mask of one object."
        )
    return values.astype(np.uint8)


def _of_the_page(out: Path, photos: Path | None, classes: int) -> list[Accepted]:
    """The photos that are marked as done in the folder of `interactify app`."""
    try:
        stored = json.loads((out / "project.json").read_bytes())["photos"]
        done = {str(id): str(entry["key"]) for id, entry in stored.items() if entry.get("status") == "done"}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as cause:
        raise OptionError(
            f"Expected the project.json that `interactify app` writes in {out}, got something else "
            f"({reason_of(cause, 160)}). Try another folder."
        ) from cause
    found = []
    for id, key in done.items():
        places = [out / id] if id.startswith("photos/") else [each / id for each in (photos, out.parent, out) if each]
        photo = next((each for each in places if each.is_file()), None)
        if photo is None:
            raise PhotoError(
                f"Expected the photo {id}, which is marked as done in {out}, in {places[0].parent}, got none. Try to "
                "say where the photos are: photos=…, --photos."
            )
        if classes == 1:
            masks = sorted((out / "masks" / key).glob("[0-9]*-*.png"))
            if masks:
                found.append(Accepted(key, photo, _union(masks)))
        elif (map_ := out / "classes" / f"{key}.png").is_file():
            found.append(Accepted(key, photo, _file(map_, classes)))
    return found


def _beside_the_photos(folder: Path, photos: Path, net: Interactive) -> list[Accepted]:
    """Photos with NAME-mask.png or a session NAME.npz in `folder`."""
    written = ("-mask", "-overlay", "-labels", "-probability")
    files = [each for each in sorted(photos.iterdir()) if each.suffix.lower() in _PHOTOS]
    found = []
    for photo in (each for each in files if not each.stem.endswith(written)):
        mask, session = folder / f"{photo.stem}-mask.png", folder / f"{photo.stem}.npz"
        if mask.is_file():
            found.append(Accepted(photo.stem, photo, _file(mask, net.spec.output.classes)))
        elif session.is_file():
            found.append(Accepted(photo.stem, photo, _session(session, photo, net)))
    if not found:
        raise OptionError(f"Expected a folder with accepted masks ({LAYOUTS}), got {folder}. Try one of these.")
    return found


def _file(mask: Path, classes: int) -> Callable[[], Labels]:
    return lambda: labels_of_mask(_values(mask), classes, mask)


def _union(masks: Sequence[Path]) -> Callable[[], Labels]:
    def read() -> Labels:
        labels: Labels = np.any([_values(mask) > 0 for mask in masks], axis=0).astype(np.uint8)
        return labels

    return read


def _session(path: Path, photo: Path, net: Interactive) -> Callable[[], Labels]:
    def read() -> Labels:
        try:
            return labels_of_session(load_session(path, net, photo))
        except CheckpointError as cause:
            raise CheckpointError(
                f"{cause} Masks don't depend on the network that they were drawn with: images/ and masks/ always work."
            ) from cause

    return read


def labels_of_session(session: Session) -> Labels:
    """What a session shows now: of one class the union of its objects, of several the class of each pixel.

    The map of classes is that of the active object, with the masks of the others over it.
    """
    if session.wrapped.spec.output.classes == 1:
        named = [name for name in session.objects if session.interactions_of(name)] or [session.active]
        return np.any([session.result_of(name).mask for name in named], axis=0).astype(np.uint8)
    labels = session.class_map().astype(np.uint8)
    for track in session.history.now.tracks:
        last = track.steps[-1] if track.steps and track is not session.track else None
        if last is not None and last.targets[0] is not None:
            labels[last.result.mask] = last.targets[0]
    return labels


def _values(mask: Path) -> NDArray[Any]:
    try:
        with Image.open(mask) as opened:
            image = opened.convert("L") if opened.mode not in ("L", "P", "I", "I;16") else opened
            return np.asarray(image).astype(np.int64)
    except (OSError, ValueError, SyntaxError) as cause:
        raise PhotoError(
            f"Expected a readable mask, got {mask} ({reason_of(cause, 160)}). Try without this photo."
        ) from cause


def _file_name(name: str) -> str:
    """A name that no other photo's labels have, whatever is in it."""
    safe = "".join(each if each.isalnum() or each in "-_." else "-" for each in name)[:60]
    return f"{safe}-{hashlib.sha256(name.encode('utf-8', 'surrogateescape')).hexdigest()[:8]}"
