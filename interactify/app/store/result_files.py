"""The files for other tools: a photo's masks and its map of labels, COCO JSON of all photos, the mask of a volume."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from interactify import export
from interactify.app.sessions import AnySession, Sessions
from interactify.app.store.project import Photo, Project
from interactify.export.files import safe_file_name, write_json

if TYPE_CHECKING:  # it loads torch, which a page at a service does without
    from interactify.app.volumes.open_volume import OpenVolume


def save_masks(
    session: AnySession, photo: Photo, project: Project, annotations: Annotations, classes: int, sessions: Sessions
) -> None:
    """Write a mask for each object, the map of labels, and COCO JSON of all photos.

    For a network of several `classes`, the map of classes of a photo that is done too.
    """
    current = project.photo(photo.number) or photo
    names = [name for name in session.objects if session.interactions_of(name)]
    if not names and current.status == "done":  # the user accepts the network's own mask
        names = [session.active]
    folder = export.prepare_folder(project.out / "masks" / photo.key)
    masks = {name: session.result_of(name).mask for name in names}
    written = set()
    for name, mask in masks.items():
        label = session.objects.index(name) + 1  # the object's value in the map of labels
        written.add(export.write_mask(folder / f"{label}-{object_file_name(name)}.png", mask).name)
    for stale in mask_files(folder):
        if stale.name not in written:
            stale.unlink(missing_ok=True)
    if len(names) > 1:
        labels: NDArray[Any] = session.label_map()
    else:
        labels = np.zeros(session.size, np.int32)
        for name, mask in masks.items():
            labels[mask] = session.objects.index(name) + 1
    export.write_labels(project.out / "labels" / f"{photo.key}.png", labels)
    if current.status == "done" and classes > 1:
        folder = export.prepare_folder(project.out / "classes")
        export.write_labels(folder / f"{photo.key}.png", sessions.accepted_labels(session))
    annotations.put(photo, session.size, masks, {name: session.category(name) for name in names})
    project.mark(photo.number, interactions=sum(len(session.interactions_of(name)) for name in session.objects))


def save_volume_mask(opened: OpenVolume[Any], photo: Photo, project: Project) -> None:
    """Write the mask of a volume that is done: NIfTI where its file has an affine, else a TIFF stack or .npy.

    Before that it is not written, since it may be large, and may take a run of the network on each slice. One that is
    there already is kept up to date.
    """
    current = project.photo(photo.number) or photo
    path = volume_mask_file(photo, project.out, opened.shown.volume.affine is not None)
    if current.status == "done" or path.exists():
        opened.save_mask(path)
    project.mark(photo.number, interactions=opened.count)


def volume_mask_file(photo: Photo, out: Path, has_affine: bool) -> Path:
    """The file of a volume's mask."""
    stack = photo.path.suffix.lower() in (".tif", ".tiff")
    return out / "masks" / f"{photo.key}{'.nii.gz' if has_affine else '.tif' if stack else '.npy'}"


def has_masks(photo: Photo, out: Path) -> bool:
    """Whether there are files with masks of a photo, or of a volume."""
    return bool(mask_files(out / "masks" / photo.key)) or any(
        volume_mask_file(photo, out, has_affine).exists() for has_affine in (True, False)
    )


def object_file_name(name: str) -> str:
    """An object's name as part of a file name."""
    return safe_file_name(name, "object", max_bytes=60)


def mask_files(folder: Path) -> list[Path]:
    """The masks in a photo's folder, in the order of the objects; files with other names are the user's own."""
    found = {path: re.match(r"([1-9][0-9]{0,5})-.*\.png$", path.name) for path in folder.glob("*.png")}
    return sorted((path for path, name in found.items() if name), key=lambda path: int(path.name.split("-")[0]))


class Annotations:
    """COCO JSON of all photos with results, in one file that is kept up to date."""

    def __init__(self, project: Project) -> None:
        self.path = project.out / "annotations.json"
        self._photos: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {}  # image and annotations by photo id
        self._categories: list[str] = []
        try:
            stored = json.loads(self.path.read_bytes())
            self._categories = [str(each["name"]) for each in stored["categories"]]
            for image in stored["images"]:
                annotations = [each for each in stored["annotations"] if each["image_id"] == image["id"]]
                self._photos[str(image["file_name"])] = image, annotations
        except (OSError, ValueError, KeyError, TypeError):  # none yet, or not ours: it is rebuilt from the sessions
            self._photos, self._categories = {}, []

    def put(
        self, photo: Photo, size: tuple[int, int], masks: dict[str, NDArray[np.bool_]], classes: dict[str, str]
    ) -> None:
        """Replace a photo's annotations, and write the file."""
        image = {"id": photo.number + 1, "file_name": photo.id, "width": size[1], "height": size[0]}
        annotations = []
        for name, mask in masks.items():
            if mask.any():
                if classes[name] not in self._categories:
                    self._categories.append(classes[name])
                category = self._categories.index(classes[name]) + 1
                annotations.append({**export.coco_annotation(mask, category_id=category), "name": name})
        self._photos[photo.id] = image, annotations
        write_json(self.path, self.content())

    def content(self, files: Sequence[str] | None = None) -> dict[str, Any]:
        """The annotations of photos with these ids, or of all, ready for JSON; ids are numbered from 1, in order."""
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        chosen = [each for name, each in self._photos.items() if files is None or name in files]
        for number, (image, of_image) in enumerate(chosen, 1):
            images.append({**image, "id": number})
            for each in of_image:
                annotations.append({**each, "id": len(annotations) + 1, "image_id": number})
        categories = [{"id": k, "name": name} for k, name in enumerate(self._categories or ["object"], 1)]
        return {"images": images, "annotations": annotations, "categories": categories}
