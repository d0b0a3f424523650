"""Reads a file of prompts, or a folder of them: which format it is shows in its content."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, Final

from interactify.errors import InteractifyError, InteractionError, OptionError
from interactify.interactions.gestures import interaction_from_json
from interactify.mass.places import Place
from interactify.mass.prompts.coco_annotations import coco_prompts
from interactify.mass.prompts.csv_table import csv_prompts
from interactify.mass.prompts.cvat_xml import cvat_prompts
from interactify.mass.prompts.geojson_features import geojson_prompts
from interactify.mass.prompts.label_studio_export import label_studio_prompts
from interactify.mass.prompts.photo_prompts import PhotoPrompts
from interactify.session.session_log import OWN_KEYS, read_log

ENDINGS: Final = (".json", ".geojson", ".jsonl", ".csv", ".xml", ".zip")
FORMATS: Final = "COCO, GeoJSON, CSV, Label Studio's JSON, CVAT's XML, session logs"


def read_prompts(path: str) -> list[PhotoPrompts]:
    """The prompts in a file: COCO, GeoJSON, CSV, an export of Label Studio (JSON) or CVAT (XML, or its zip).

    Args:
        path: of the file, on this machine or anywhere that fsspec knows; or of a folder of such files. A file that
            names no photo, as a session's log, is about the photo whose name it has: cup.geojson or cup-log.jsonl is
            about cup.jpg.

    Returns:
        The prompts of each photo; several files about one photo are put together.

    Raises:
        OptionError: there is no such file, or it has no prompts.
        InteractionError: it is of no known format, or something in it is invalid; the text says where.
    """
    place = Place.of(path)
    files = [place]
    if place.is_folder():
        files = [place.at(name) for name in place.names() if PurePosixPath(name).suffix.lower() in ENDINGS]
    elif not place.exists():
        raise OptionError(f"Expected a file of prompts at {path}, got no such file. Try its whole path.")
    found: dict[str, PhotoPrompts] = {}
    for file in files:
        try:
            for prompts in read_text(file.read(), file.name):
                found[prompts.photo] = _together(found.get(prompts.photo), prompts)
        except InteractifyError as cause:
            raise type(cause)(f"{file}: {cause}") from cause
    if not found:
        raise OptionError(f"Expected prompts in {path}, got none. Try a file of {FORMATS}.")
    return list(found.values())


def read_text(content: bytes, name: str) -> list[PhotoPrompts]:
    """The prompts in a file's content; `name` is the file's. Raises InteractionError."""
    if content[:4] == b"PK\x03\x04":
        return cvat_prompts(_member(content, "annotations.xml"))
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as cause:
        raise InteractionError(f"Expected {FORMATS}; got a file that is no text.") from cause
    if text.lstrip().startswith("<"):
        return cvat_prompts(text)
    stem = PurePosixPath(name).stem
    if not text.lstrip().startswith(("{", "[")):
        return csv_prompts(text)
    if '"interactify"' in text.lstrip().partition("\n")[0]:
        return [log_prompts(text, stem)]
    try:
        stored = json.loads(text)
    except ValueError as cause:
        raise InteractionError(f"Expected {FORMATS}; got a file that is no whole JSON ({cause}).") from cause
    try:
        return _of_json(stored, stem)
    except InteractifyError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as cause:
        raise InteractionError(
            f"Expected {FORMATS}; got one with something missing ({type(cause).__name__}: {cause})."
        ) from cause


def _of_json(stored: Any, stem: str) -> list[PhotoPrompts]:
    if isinstance(stored, Mapping):
        if "annotations" in stored and "images" in stored:
            return coco_prompts(stored)
        if stored.get("type") == "FeatureCollection":
            return geojson_prompts(stored, stem)
    elif all(isinstance(task, Mapping) for task in stored):
        if stored and "image_id" in stored[0]:
            raise InteractionError(
                "Expected COCO's images beside the annotations, which name the photos; got annotations alone. Try "
                '{"images": […], "annotations": […]}.'
            )
        return label_studio_prompts(stored)
    raise InteractionError(f"Expected {FORMATS}; got other JSON. Try COCO's, with images and annotations.")


def log_prompts(text: str, stem: str) -> PhotoPrompts:
    """A session's log; its photo is the one of the file's name, without "-log". Raises InteractionError.

    All interactions are checked here; classes are only by the network.
    """
    header, entries = read_log(text)
    try:
        size = (int(header["height"]), int(header["width"]))
    except (KeyError, TypeError, ValueError) as cause:
        raise InteractionError("Expected a log with the width and height of its photo, got one without.") from cause
    for entry in entries:
        interaction_from_json({key: value for key, value in entry.items() if key not in OWN_KEYS}).within(size)
    return PhotoPrompts(stem.removesuffix("-log"), size=size, log=text)


def _together(before: PhotoPrompts | None, more: PhotoPrompts) -> PhotoPrompts:
    if before is None:
        return more
    if before.log or more.log:
        raise InteractionError(f"Expected one log, or other prompts, for the photo {more.photo}; got both or several.")
    taken = {each.name for each in before.objects}
    if clash := [each.name for each in more.objects if each.name in taken]:
        raise InteractionError(
            f"Expected objects of different names for the photo {more.photo}, got {clash[0]!r} in several files. Try "
            "one file for each photo."
        )
    return PhotoPrompts(more.photo, (*before.objects, *more.objects), before.size or more.size)


def _member(content: bytes, name: str) -> str:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            inside = next(each for each in archive.namelist() if PurePosixPath(each).name == name)
            return archive.read(inside).decode("utf-8")
    except (StopIteration, zipfile.BadZipFile, UnicodeDecodeError) as cause:
        raise InteractionError(f"Expected CVAT's export with {name}, got another archive.") from cause
