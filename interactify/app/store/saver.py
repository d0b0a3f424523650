"""Masks, labels, COCO's JSON and sessions, written behind one's back as one goes, each file whole or not at all."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from interactify import export
from interactify.app.store.journal import Journal, SessionFiles, digest_of
from interactify.app.store.project import Photo, Project
from interactify.errors import InteractifyError
from interactify.export.files import write_json
from interactify.session.session import Session

QUIET: Final = 0.4  # seconds without an action, before files are written
PATIENCE: Final = 4.0  # seconds after which they are, quiet or not
FIRST_REST: Final = 2.0  # seconds until what could not be written is tried again, twice as long each time
LAST_REST: Final = 60.0
SHARE: Final = 4.0  # of the time that writing took last, how long it rests at least


@dataclass(frozen=True)
class Unsaved:
    """What a photo's files lack: a session as it was after an action, which nobody changes, and that one's number."""

    photo: Photo
    journal: Journal
    session: Session
    number: int
    since: float = field(default_factory=time.monotonic)
    touched: float = field(default_factory=time.monotonic)


class Saver:
    """One thread that writes what was handed to it, the latest of each photo, when it is quiet.

    Attributes:
        trouble: of each photo by number, why its files could not be written. It is tried again.
    """

    def __init__(self, project: Project) -> None:
        self.project = project
        self.annotations = Annotations(project)
        self.trouble: dict[int, str] = {}
        self._waiting: dict[int, Unsaved] = {}
        self._rest: dict[int, float] = {}
        self._failures: Counter[int] = Counter()
        self._changed = threading.Condition()
        self._writing = threading.Lock()
        self._ends = False
        self._thread = threading.Thread(target=self._work, name="interactify-saver", daemon=True)
        self._thread.start()

    def hand(self, unsaved: Unsaved) -> None:
        """Have this written soon, in place of what was handed of the same photo before."""
        with self._changed:
            earlier, now = self._waiting.get(unsaved.photo.number), time.monotonic()
            self._waiting[unsaved.photo.number] = replace(unsaved, since=earlier.since if earlier else now, touched=now)
            self._changed.notify_all()

    def holds(self, number: int) -> bool:
        """Whether something of a photo is not on the disk."""
        with self._changed:
            return number in self._waiting

    def flush(self, number: int | None = None) -> None:
        """Write now what is waiting, of one photo or of all; returns when it was tried."""
        with self._changed:
            numbers = [n for n in self._waiting if number in (None, n)]
        for each in numbers:
            self._save(each)
        with self._writing:  # what the thread took is on the disk too
            pass

    @contextmanager
    def still(self) -> Iterator[None]:
        """Meanwhile nothing is written: files that belong together can be read."""
        with self._writing:
            yield

    def close(self) -> None:
        """Write what is waiting, and end."""
        with self._changed:
            self._ends = True
            self._changed.notify_all()
        self._thread.join(10)
        self.flush()

    def _work(self) -> None:
        while True:
            with self._changed:
                if self._ends:
                    return
                now = time.monotonic()
                due = {n: self._due(each) for n, each in self._waiting.items()}
                ready = [n for n, at in due.items() if at <= now]
                if not ready:
                    self._changed.wait(max(0.01, min(due.values()) - now) if due else None)
                    continue
            self._save(ready[0])

    def _due(self, each: Unsaved) -> float:
        quiet = min(each.touched + QUIET, each.since + PATIENCE)
        return max(quiet, self._rest.get(each.photo.number, 0.0))

    def _save(self, number: int) -> None:
        with self._writing:
            with self._changed:
                unsaved = self._waiting.pop(number, None)
            if unsaved is None:
                return
            begun = time.monotonic()
            try:
                # In this order: where a session's file holds an action, so do the masks, whoever is killed in between.
                save_masks(unsaved.session, unsaved.photo, self.project, self.annotations)
                save_session(unsaved, self.project.out)
            except Exception as cause:  # whatever it is: what was said is kept, and other photos' files are written
                self._failed(unsaved, cause)
            else:
                self.trouble.pop(number, None)
                self._failures.pop(number, None)
                self._rest[number] = time.monotonic() + SHARE * (time.monotonic() - begun)

    def _failed(self, unsaved: Unsaved, cause: Exception) -> None:
        number = unsaved.photo.number
        self._failures[number] += 1
        self._rest[number] = time.monotonic() + min(LAST_REST, FIRST_REST * 2 ** (self._failures[number] - 1))
        self.trouble[number] = f"What was said of {unsaved.photo.name} is not all on the disk: {reason(cause)}"
        with self._changed:
            self._waiting.setdefault(number, replace(unsaved, since=time.monotonic()))


def reason(cause: Exception) -> str:
    """Why something could not be written, and that it is tried again."""
    why = str(cause) if isinstance(cause, InteractifyError) else getattr(cause, "strerror", None) or repr(cause)
    return f"{why.rstrip('.')}. It is kept in memory, and tried again until this server ends."


def save_session(unsaved: Unsaved, out: Path) -> None:
    """Put a session's file in its place, so that at any moment file and journal together hold everything."""
    path = SessionFiles.of(unsaved.photo.key, out).session
    fresh = path.with_name(f".{path.name}.next")
    unsaved.session.save(fresh)
    digest = digest_of(fresh)
    unsaved.journal.saving(unsaved.number, digest)
    os.replace(fresh, path)
    unsaved.journal.saved(unsaved.number, digest)


def save_masks(session: Session, photo: Photo, project: Project, annotations: Annotations) -> None:
    """Write what other tools read: a mask for each object, the map of labels, and COCO's JSON of all photos."""
    current = project.photo(photo.number) or photo
    names = [name for name in session.objects if session.interactions_of(name)]
    if not names and current.status == "done":  # the network's own mask was found right as it is
        names = [session.active]
    folder = export.prepare_folder(project.out / "masks" / photo.key)
    masks = {name: session.result_of(name).mask for name in names}
    written = set()
    for name, mask in masks.items():
        label = session.objects.index(name) + 1  # the object's value in the map of labels
        written.add(export.write_mask(folder / f"{label}-{plain(name)}.png", mask).name)
    for stale in mask_files(folder):
        if stale.name not in written:
            stale.unlink(missing_ok=True)
    if any(session.interactions_of(name) for name in names):
        labels: NDArray[Any] = session.label_map()
    else:
        labels = np.zeros(session.size, np.uint8)
        for name, mask in masks.items():
            labels[mask] = session.objects.index(name) + 1
    export.write_labels(project.out / "labels" / f"{photo.key}.png", labels)
    annotations.put(photo, session.size, masks, {name: session.category(name) for name in names})
    project.mark(photo.number, said=sum(len(session.interactions_of(name)) for name in session.objects))


def mask_files(folder: Path) -> list[Path]:
    """The masks of objects in a photo's folder, in the objects' order; what else lies there is somebody's own."""
    found = {path: re.match(r"([1-9][0-9]{0,5})-.*\.png$", path.name) for path in folder.glob("*.png")}
    return sorted((path for path, name in found.items() if name), key=lambda path: int(path.name.split("-")[0]))


class Annotations:
    """COCO's JSON of all photos that were worked on, one file, kept up to date."""

    def __init__(self, project: Project) -> None:
        self.path = project.out / "annotations.json"
        self._of: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {}
        self._categories: list[str] = []
        try:
            stored = json.loads(self.path.read_bytes())
            self._categories = [str(each["name"]) for each in stored["categories"]]
            for image in stored["images"]:
                its = [each for each in stored["annotations"] if each["image_id"] == image["id"]]
                self._of[str(image["file_name"])] = image, its
        except (OSError, ValueError, KeyError, TypeError):  # none yet, or not ours: it is made anew of what is said
            self._of, self._categories = {}, []

    def put(
        self, photo: Photo, size: tuple[int, int], masks: dict[str, NDArray[np.bool_]], classes: dict[str, str]
    ) -> None:
        """Replace what is told of a photo, and write the file."""
        image = {"id": photo.number + 1, "file_name": photo.id, "width": size[1], "height": size[0]}
        its = []
        for name, mask in masks.items():
            if mask.any():
                if classes[name] not in self._categories:
                    self._categories.append(classes[name])
                category = self._categories.index(classes[name]) + 1
                its.append({**export.coco_annotation(mask, category_id=category), "name": name})
        self._of[photo.id] = image, its
        write_json(self.path, self.content())

    def content(self, files: Sequence[str] | None = None) -> dict[str, Any]:
        """What is told of photos with these ids, or of all, ready for JSON; numbers are given anew, in order."""
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        told = [each for name, each in self._of.items() if files is None or name in files]
        for number, (image, its) in enumerate(told, 1):
            images.append({**image, "id": number})
            for each in its:
                annotations.append({**each, "id": len(annotations) + 1, "image_id": number})
        categories = [{"id": k, "name": name} for k, name in enumerate(self._categories or ["object"], 1)]
        return {"images": images, "annotations": annotations, "categories": categories}


def plain(name: str) -> str:
    """An object's name as part of a file's."""
    return "".join(each if each.isalnum() or each in "-_" else "-" for each in name)[:60] or "object"
