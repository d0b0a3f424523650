"""What a file of prompts says: for each photo its objects, each with shapes, which become interactions.

A shape is a dict with its kind, as JSON has it, so that prompts of 100,000 photos are small and travel as text. Beside
the kinds of `interaction_from_json` there are those of other tools, whose coordinates run from 0, the photo's first
border, to its width or height: "point" (x, y, positive), "corners" (sides: x, y, x, y), "outline" (polygons, as COCO
counts) and "runs" (a mask's rows inside a frame, as CVAT writes it).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from interactify.errors import InteractionError, OptionError, text_of
from interactify.interactions.click import Click, Interaction
from interactify.interactions.gestures import Mask, interaction_from_json
from interactify.interactions.validation import number, polarity
from interactify.masks.fill import check_polygons, mask_of_polygons
from interactify.masks.run_lengths import check_run_lengths
from interactify.tools.served import box_in, pixel_in

Shape = Mapping[str, Any]
Size = tuple[int, int]
BOXES: Final = ("corners", "box")
MASKS: Final = ("outline", "runs", "mask")
USES: Final = ("boxes", "clicks", "masks")


@dataclass(frozen=True)
class ObjectPrompts:
    """One object: its name, which no other of the photo has, its label, and its shapes."""

    name: str
    label: str | None
    shapes: tuple[Shape, ...]


@dataclass(frozen=True)
class PhotoPrompts:
    """What a file says of a photo.

    Attributes:
        photo: its name there: a path from the folder of photos on, a file's name, or one without its ending.
        objects: in their order.
        size: (H, W) that the file states, if it does.
        log: the text of a session's log, which is replayed; then there are no objects.
    """

    photo: str
    objects: tuple[ObjectPrompts, ...] = ()
    size: Size | None = None
    log: str | None = None

    def to_text(self) -> str:
        """As JSON, which `from_text` reads."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_text(cls, text: str) -> PhotoPrompts:
        """The prompts in a text of `to_text`."""
        stored = json.loads(text)
        objects = tuple(ObjectPrompts(o["name"], o["label"], tuple(o["shapes"])) for o in stored["objects"])
        size = None if stored["size"] is None else (int(stored["size"][0]), int(stored["size"][1]))
        return cls(stored["photo"], objects, size, stored["log"])

    def digest(self) -> str:
        """Changes with anything that a mask depends on."""
        return sha256(self.to_text().encode()).hexdigest()[:16]


@dataclass
class Parts:
    """Shapes of a photo that are still to be put together to objects.

    A box and an earlier mask are objects of their own. Clicks and strokes belong to the boxes around them that have
    their label, or any where they have none; the rest of a label's are one more object. Shapes with a key are the
    object of that key.
    """

    keyed: dict[str, ObjectPrompts] = field(default_factory=dict)
    alone: list[ObjectPrompts] = field(default_factory=list)
    loose: list[tuple[str | None, Shape]] = field(default_factory=list)

    def add(self, shape: Shape, label: str | None = None, key: str | None = None) -> None:
        """Add a shape."""
        if key is not None:
            before = self.keyed.get(key, ObjectPrompts(key, label, ()))
            self.keyed[key] = ObjectPrompts(key, before.label or label, (*before.shapes, shape))
        elif shape["kind"] in (*BOXES, *MASKS, "lasso"):
            self.alone.append(ObjectPrompts("", label, (shape,)))
        else:
            self.loose.append((label, shape))

    def objects(self) -> tuple[ObjectPrompts, ...]:
        """The objects: those with keys under these, all others under numbers that are still free."""
        found = list(self.alone)
        rest: dict[str | None, list[Shape]] = {}
        for label, shape in self.loose:
            around = [
                k for k, each in enumerate(found) if label in (None, each.label) and _holds(each.shapes[0], shape)
            ]
            for k in around:
                found[k] = ObjectPrompts("", found[k].label, (*found[k].shapes, shape))
            if not around:
                rest.setdefault(label, []).append(shape)
        for label, shapes in rest.items():
            of_label = [k for k, each in enumerate(found) if each.label == label]
            if of_label and not any(shape.get("positive", True) for shape in shapes):
                for k in of_label:  # what none of a label's objects is
                    found[k] = ObjectPrompts("", label, (*found[k].shapes, *shapes))
            else:
                found.append(ObjectPrompts("", label, tuple(shapes)))
        free = (str(n) for n in range(1, len(found) + len(self.keyed) + 1) if str(n) not in self.keyed)
        named = [ObjectPrompts(name, each.label, each.shapes) for name, each in zip(free, found, strict=False)]
        return (*self.keyed.values(), *named)


def _holds(box: Shape, shape: Shape) -> bool:
    """Whether a shape begins inside a box."""
    if box["kind"] not in BOXES:
        return False
    sides = box["sides"] if box["kind"] == "corners" else [box[each] for each in ("left", "top", "right", "bottom")]
    x, y = (shape["x"], shape["y"]) if "x" in shape else shape["points"][0]
    xs, ys = sorted((sides[0], sides[2])), sorted((sides[1], sides[3]))
    return bool(xs[0] <= x <= xs[1] and ys[0] <= y <= ys[1])


def uses_named(text: str) -> tuple[str, ...]:
    """Which shapes are used, from names separated by commas. Raises OptionError for other names.

    >>> uses_named("masks,clicks")
    ('masks', 'clicks')
    """
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in names:
        if name not in USES:
            raise OptionError(f"Expected shapes out of {', '.join(USES)}; got {name!r}. Try boxes,clicks.")
    return names


def used(shapes: Sequence[Shape], uses: Sequence[str] = USES) -> list[Shape]:
    """Those shapes that are used, earlier masks first.

    Where an object has a mask, its box is left out: it is the box around that mask, and would forbid it to grow.
    """
    kinds = {"boxes": BOXES, "masks": MASKS}
    masks = [each for each in shapes if each["kind"] in MASKS] if "masks" in uses else []
    boxes = [each for each in shapes if each["kind"] in kinds["boxes"]] if "boxes" in uses and not masks else []
    others = [each for each in shapes if each["kind"] not in (*BOXES, *MASKS)] if "clicks" in uses else []
    return [*masks, *boxes, *others]


def check_shapes(shapes: Iterable[Shape], size: Size | None) -> None:
    """Raise InteractionError for a shape that can't be one in a photo (H, W); no mask is drawn for it.

    Without a size only what needs none is checked.
    """
    for shape in shapes:
        kind = shape["kind"]
        try:
            if kind == "outline":
                check_polygons(shape["polygons"])
            elif kind == "mask" and isinstance(shape.get("rle"), Mapping) and "size" in shape["rle"]:
                stated = shape["rle"]["size"]
                check_run_lengths(shape["rle"].get("counts"), stated)
                if size is not None and tuple(stated) != size:
                    raise InteractionError(f"Expected a mask of the photo's size {size} (H, W), got one of {stated}.")
            elif kind == "runs":
                _check_runs(shape, size)
            else:
                interaction_of(shape, size or (2**30, 2**30))
        except OptionError as cause:
            raise InteractionError(str(cause)) from cause


def interactions_of(shapes: Iterable[Shape], size: Size) -> tuple[Interaction, ...]:
    """The interactions that shapes are in a photo (H, W). Raises InteractionError."""
    return tuple(interaction_of(shape, size).within(size) for shape in shapes)


def interaction_of(shape: Shape, size: Size) -> Interaction:
    """The interaction that a shape is in a photo (H, W). Raises InteractionError.

    >>> interaction_of({"kind": "corners", "sides": [2.5, 3, 90, 8]}, (60, 80))
    Box(left=2, top=3, right=79, bottom=7)
    """
    kind = shape["kind"]
    try:
        if kind == "point":
            x, y = pixel_in(shape["x"], size[1], "x"), pixel_in(shape["y"], size[0], "y")
            return Click(x, y, polarity(shape.get("positive", True)))
        if kind == "corners":
            return box_in(shape["sides"], size)
        if kind == "outline":
            return Mask(mask_of_polygons(shape["polygons"], size))
        if kind == "runs":
            return Mask(_mask_of_runs(shape, size))
    except OptionError as cause:
        raise InteractionError(str(cause)) from cause
    found = interaction_from_json(shape)
    return found if isinstance(found, Mask) else found.within(size)


def _check_runs(shape: Shape, size: Size | None) -> tuple[NDArray[np.int64], int, int, int, int]:
    left, top, width, height = (number(each, shape[each], "a mask's") for each in ("left", "top", "width", "height"))
    frame = (int(width), int(height))
    runs = check_run_lengths(shape["counts"], frame)  # down the columns of the turned frame: along its rows
    if min(left, top) < 0 or (size is not None and (left + width > size[1] or top + height > size[0])):
        of = "" if size is None else f", {size[1]} wide and {size[0]} high"
        raise InteractionError(
            f"Expected a mask in the photo{of}, got one of {width} x {height} pixels at x={left}, y={top}."
        )
    return runs, int(left), int(top), *frame


def _mask_of_runs(shape: Shape, size: Size) -> NDArray[np.bool_]:
    runs, left, top, width, height = _check_runs(shape, size)
    mask = np.zeros(size, bool)
    inside = np.arange(len(runs)) % 2 == 1
    mask[top : top + height, left : left + width] = np.repeat(inside, runs).reshape(height, width)
    return mask


def text_label(value: Any) -> str | None:
    """A label as text; None where there is none."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if not isinstance(value, (str, int)):
        raise InteractionError(f"Expected a label as text, got {text_of(value)}.")
    return str(value).strip()
