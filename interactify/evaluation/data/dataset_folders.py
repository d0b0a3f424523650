"""Data sets of a folder of photos and a folder of masks: GrabCut, Berkeley, DAVIS, and your own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from interactify.errors import OptionError
from interactify.evaluation.data.dataset import (
    AnnotatedPhoto,
    Dataset,
    Truth,
    pictures,
    read_colours,
    read_labels,
    truth_of,
)

Reader = Callable[[Path], Mapping[str, Truth]]


def grabcut(root: str | Path) -> Dataset:
    """GrabCut in its published layout: `data_GT/NAME.jpg` or `.bmp`, `boundary_GT/NAME.bmp`; 50 photos, an object each.

    In the masks 255 is the object and 128 a band around its contour, which is unknown.

    Args:
        root: the folder with these two folders.

    Raises:
        OptionError: there are no such folders, or a photo has no mask.
    """
    return _paired("grabcut", Path(root), ("data_GT", "boundary_GT"), _trimap)


def berkeley(root: str | Path) -> Dataset:
    """Berkeley's 100 objects on 96 photos, chosen by McGuinness & O'Connor (2010), in RITM's layout.

    `images/NAME.jpg` and `masks/NAME.png`; where a photo has several objects their masks are `NAME#1.png`, `NAME#2.png`
    (and the photo exists once, or once for each). 255 is the object, 128 unknown.

    Args:
        root: the folder with these two folders.

    Raises:
        OptionError: there are no such folders, or a photo has no mask.
    """
    return _paired("berkeley", Path(root), ("images", "masks"), _trimap)


def davis(root: str | Path) -> Dataset:
    """The 345 frames of DAVIS that BRS's authors chose (10 % of its frames): `img/NAME.jpg`, `gt/NAME.png`.

    Every pixel that is not black belongs to the object.

    Args:
        root: the folder with these two folders.

    Raises:
        OptionError: there are no such folders, or a frame has no mask.
    """
    return _paired("davis", Path(root), ("img", "gt"), _not_black)


def folder(root: str | Path) -> Dataset:
    """Photos in `root`/images with masks of the same stem in `root`/masks: 0 background, 255 object, 128 unknown.

    A mask with other values is a map of labels: 0 is the background, 255 unknown, and each other value an object
    (NAME#1, NAME#2, …). Masks `NAME#1.png`, `NAME#2.png`, … hold one object each.

    Args:
        root: the folder with these two folders.

    Raises:
        OptionError: there are no such folders, or a photo has no mask.
    """
    return _paired("folder", Path(root), ("images", "masks"), _mask_or_labels)


def classes(root: str | Path, background: int | None = 0) -> Dataset:
    """Photos in `root`/images with maps of classes of the same stem in `root`/masks, for a network of several classes.

    Each value of a map is the index of a class of the network, and 255 is unknown. Each class that a photo shows is an
    object (NAME#1, NAME#2, …), and a positive click on it means that class.

    Args:
        root: the folder with these two folders.
        background: the class that is no object; None where each is one.

    Raises:
        OptionError: there are no such folders, or a photo has no map.
    """
    paired = _paired("classes", Path(root), ("images", "masks"), partial(_class_map, background=background))
    return Dataset(paired.name, tuple(replace(photo, by_class=True) for photo in paired.photos))


def _paired(name: str, root: Path, folders: tuple[str, str], read: Reader) -> Dataset:
    photos = pictures(root / folders[0])
    if not photos:
        raise OptionError(
            f"Expected photos in {root / folders[0]} and masks in {root / folders[1]}; found none. Try another folder."
        )
    stems = {photo.stem for photo in photos}
    by_photo: dict[str, dict[str, Path]] = {}
    for mask in pictures(root / folders[1]):
        stem, _, key = mask.stem.partition("#")
        by_photo.setdefault(mask.stem, {})[""] = mask
        if key and mask.stem not in stems:  # else it is the mask of a photo of exactly that name
            by_photo.setdefault(stem, {})[key] = mask
    found: dict[str, AnnotatedPhoto] = {}
    for photo in photos:
        masks = by_photo.get(photo.stem)
        if masks is None:
            raise OptionError(
                f"Expected a mask {root / folders[1] / photo.stem}.png for each photo, but {photo} has no mask. "
                "Try to add it, or to move the photo away."
            )
        if photo.stem in found:
            raise OptionError(
                f"Expected photos of different names in {photo.parent}, got two photos {photo.stem}. "
                "Try to rename one, and its mask."
            )
        found[photo.stem] = AnnotatedPhoto(photo.stem, photo, partial(_read, masks, read))
    return Dataset(name, tuple(found.values()))


def _read(masks: Mapping[str, Path], read: Reader) -> dict[str, Truth]:
    truths = {}
    for key, path in masks.items():
        for inner, truth in read(path).items():
            truths[f"{key}.{inner}" if key and inner else key or inner] = truth
    return truths


def _trimap(path: Path) -> dict[str, Truth]:
    values = read_labels(path)
    return {"": truth_of(values > 128, values == 128)}


def _not_black(path: Path) -> dict[str, Truth]:
    return {"": truth_of(read_colours(path).max(axis=2) > 0)}


def _class_map(path: Path, background: int | None) -> dict[str, Truth]:
    _check_lossless(path)
    values = read_labels(path)
    present = [int(value) for value in np.unique(values)]
    return {str(value): truth_of(values == value, values == 255) for value in present if value not in (background, 255)}


def _mask_or_labels(path: Path) -> dict[str, Truth]:
    _check_lossless(path)
    values = read_labels(path)
    present = [int(value) for value in np.unique(values)]
    if set(present) <= {0, 128, 255}:
        return {"": truth_of(values == 255, values == 128)}
    objects = [value for value in present if value not in (0, 255)]
    return {str(value): truth_of(values == value, values == 255) for value in objects}


def _check_lossless(path: Path) -> None:
    if path.suffix.lower() in (".jpg", ".jpeg", ".webp"):
        raise OptionError(
            f"Expected exact labels in the mask {path}, got a format that compresses with losses. Try a PNG or BMP."
        )
