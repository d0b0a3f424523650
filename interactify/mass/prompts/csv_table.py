"""Prompts as a table, CSV with names in its first line: a click or a box on each line.

    photo,x,y,label              photo,left,top,right,bottom,class
    cup.jpg,120,80,1             cup.jpg,40,30,200,160,cup

A click's `label` is 1 for a pixel of the object and 0 for one that is not, as Segment Anything has it; the class is in
`class`, and for a box in `label` too. A column `box` may hold "left top right bottom" in the place of four. Lines with
the same `object` belong together; without that column, clicks belong to the boxes around them, and the rest of a
photo's clicks are one more object.
"""

from __future__ import annotations

import csv
import io
import re

from interactify.errors import InteractionError, text_of
from interactify.mass.prompts.photo_prompts import Parts, PhotoPrompts, Shape, text_label

SIDES = (("left", "top", "right", "bottom"), ("xmin", "ymin", "xmax", "ymax"), ("x1", "y1", "x2", "y2"))
PHOTO = ("photo", "image", "filename", "file_name")


def csv_prompts(text: str) -> list[PhotoPrompts]:
    r"""The prompts of a table.

    Coordinates of clicks are pixels, 0 the first one; those of boxes run from 0, the photo's first border.

    Raises:
        InteractionError: a column is missing, or a line has no number where one is expected.

    >>> csv_prompts("photo,x,y,label\ncup.jpg,12,8,1\ncup.jpg,3,4,0\n")[0].objects[0].shapes[1]["positive"]
    False
    """
    table = csv.DictReader(io.StringIO(text.lstrip("\ufeff")), skipinitialspace=True)
    columns = {name.strip().lower(): name for name in table.fieldnames or () if name}
    photo = next((columns[name] for name in PHOTO if name in columns), None)
    sides = next((tuple(columns[name] for name in four) for four in SIDES if set(four) <= set(columns)), None)
    clicks = {"x", "y"} <= set(columns)
    if photo is None or not (clicks or sides or "box" in columns):
        raise InteractionError(
            "Expected a first line with photo and x, y, or left, top, right, bottom, or box; got "
            f"{text_of(','.join(table.fieldnames or ()))}. Try photo,x,y,label."
        )
    photos: dict[str, Parts] = {}
    for row in table:
        if not any(value.strip() for value in row.values() if isinstance(value, str)):
            continue
        given = {name: (row[column] or "").strip() for name, column in columns.items()}
        label = given.get("class") or given.get("category")
        try:
            shapes: list[Shape] = []
            four = [(row[each] or "").strip() for each in sides] if sides else []
            if given.get("box"):
                four = re.split(r"[\s,;]+", given["box"].strip("[]() "))
            if any(four):
                if len(four) != 4:
                    raise ValueError(f"a box of four numbers, got {text_of(given.get('box'))}")
                shapes.append({"kind": "corners", "sides": [_number(each) for each in four]})
                label = label or given.get("label")
            elif clicks and (given["x"] or given["y"]):
                positive = _polarity(given.get("label", ""))
                shapes.append(
                    {"kind": "click", "x": _number(given["x"]), "y": _number(given["y"]), "positive": positive}
                )
            if not shapes or not row[photo].strip():
                raise ValueError("a photo, and a click or a box")
        except ValueError as problem:
            raise InteractionError(f"Expected in line {table.line_num} {problem}.") from problem
        parts = photos.setdefault(row[photo].strip(), Parts())
        for shape in shapes:
            parts.add(shape, text_label(label), given.get("object") or None)
    return [PhotoPrompts(name, parts.objects()) for name, parts in photos.items()]


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"a number of pixels, got {text_of(text)}") from None
    return int(value) if value.is_integer() else value


def _polarity(text: str) -> bool:
    known = {"": True, "1": True, "true": True, "positive": True, "0": False, "-1": False, "false": False}
    if text.lower() not in {**known, "negative": False}:
        raise ValueError(f"a label of 1 or 0, got {text_of(text)}")
    return known.get(text.lower(), False)
