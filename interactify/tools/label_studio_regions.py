"""What Label Studio's front end says, in its terms: regions of a task, in percent, and the labelling configuration.

Regions are read into prompts, one for each object, and masks are written as regions.
"""

from __future__ import annotations

import math
import uuid
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from interactify.errors import InteractionError, OptionError, text_of
from interactify.interactions.click import Click
from interactify.interactions.validation import number
from interactify.predictor.prompts import Prompt, Rectangle
from interactify.tools.label_studio_rle import decoded, encoded
from interactify.tools.served import Answered, pixel_in, rectangle_in

PLACES: Final = 8  # clicks that a stroke is read as, at most: they lie far apart, and the rest of it follows
KINDS: Final = ("keypoint", "rectangle", "brush")
OTHER_SHAPES: Final = ("ellipse", "polygon", "vector", "bitmask")  # what else says where something is


@dataclass(frozen=True)
class Controls:
    """What a labelling configuration says: the brush's name, the image's, the task's key, and the brush's labels."""

    brush: str
    image: str
    key: str
    labels: tuple[str, ...]

    def label(self, said: str | None) -> str:
        """The brush's label for a prompt's. Raises OptionError where the brush has none of that name."""
        if said in self.labels:
            return str(said)
        if len(self.labels) == 1:
            return self.labels[0]
        raise OptionError(
            f"Expected a label of <BrushLabels>, one of {', '.join(self.labels)}; got {said!r}. Give <BrushLabels> "
            "the same labels as the smart tools."
        )


@dataclass(frozen=True)
class Said:
    """One object: its label, its clicks, and its box."""

    label: str | None
    clicks: tuple[Click, ...] = ()
    box: Rectangle | None = None

    @property
    def prompt(self) -> Prompt:
        """For `Served.answer`."""
        return Prompt(self.clicks, self.box)


@dataclass
class _Label:
    boxes: list[Rectangle] = field(default_factory=list)
    clicks: list[Click] = field(default_factory=list)


def controls_of(config: str | None) -> Controls:
    """The names in a labelling configuration, Label Studio's XML.

    Raises:
        OptionError: no XML, or one without <BrushLabels> for an <Image>.

    >>> controls_of('<View><Image name="i" value="$url"/><BrushLabels name="b" toName="i"><Label value="Cat"/>'
    ...             '</BrushLabels></View>')
    Controls(brush='b', image='i', key='url', labels=('Cat',))
    """
    expected = 'Expected a labelling configuration with an <Image> and <BrushLabels toName="…"> with labels for it'
    try:
        tags = list(ET.fromstring(config or "").iter())
    except ET.ParseError as cause:
        raise OptionError(f"{expected}, got {text_of(config)}: {cause}.") from cause
    images = {tag.get("name", ""): tag.get("value", "").lstrip("$") for tag in tags if tag.tag == "Image"}
    several = {tag.get("name") for tag in tags if tag.tag == "Image" and tag.get("valueList")}
    for tag in tags:
        if tag.tag == "BrushLabels" and tag.get("toName") in images:
            if tag.get("toName") in several:
                raise OptionError(
                    f'{expected}; this one is for an <Image valueList="…">, and tasks of several images are not '
                    'supported. Make a task of each image, with <Image value="…">.'
                )
            labels = tuple(str(each.get("alias") or each.get("value")) for each in tag.iter("Label"))
            if labels:
                name = str(tag.get("toName"))
                return Controls(str(tag.get("name")), name, images[name], labels)
    raise OptionError(f"{expected}; there is none. docs/label-studio.md shows one.")


def read_regions(regions: Sequence[Any], size: tuple[int, int]) -> list[Said]:
    """What regions say, one `Said` for each object: what a label's clicks and strokes say is of one, and so is a box.

    Several boxes of a label are several objects; clicks then belong to the boxes that they lie in, and those in none
    make one more.

    Label Studio sends regions that were accepted, or drawn by hand, along with those of its smart tools; only these are
    read, see `_asking`.

    Args:
        regions: `context["result"]` of a request: keypoints, rectangles and strokes of a brush.
        size: (H, W) of the photo.

    Raises:
        InteractionError: another shape than these, or one on a photo that is rotated or of another size.
    """
    labels: dict[str | None, _Label] = {}
    for kind, region in _asking(_shapes(regions)):
        _check_photo(region, size)
        into = labels.setdefault(_label(region), _Label())
        positive = region.get("is_positive", True) is not False
        value = region["value"]
        if kind == "keypoint":
            x, y = (_share(value, name) for name in ("x", "y"))
            into.clicks.append(
                Click(pixel_in(x * size[1], size[1], "x"), pixel_in(y * size[0], size[0], "y"), positive)
            )
        elif kind == "brush":
            into.clicks.extend(places(decoded(value.get("rle"), size), positive))
        elif positive:
            into.boxes.append(_rectangle(value, size))
        else:
            inside = np.zeros(size, bool)
            inside[_rectangle(value, size).slices] = True
            into.clicks.extend(places(inside, positive))
    return [said for label, group in labels.items() for said in _objects(label, group)]


def _shapes(regions: Sequence[Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """The kinds and regions that say where something is; <Labels>, <Choices> and the like beside a region do not."""
    found: list[tuple[str, Mapping[str, Any]]] = []
    for region in regions:
        kind = str(region.get("type", "")).removesuffix("labels") if isinstance(region, Mapping) else None
        if kind in OTHER_SHAPES:
            raise InteractionError(
                f"Expected keypoints, rectangles or strokes of a brush, got a region of type {region.get('type')!r}."
            )
        if kind is None or (kind in KINDS and not isinstance(region.get("value"), Mapping)):
            raise InteractionError(f'Expected a region as {{"type": …, "value": {{…}}}}, got {text_of(region)}.')
        if kind in KINDS:
            found.append((kind, region))
    return found


def _asking(shapes: Sequence[tuple[str, Mapping[str, Any]]]) -> list[tuple[str, Mapping[str, Any]]]:
    """The regions that smart tools drew.

    Of keypoints and rectangles these are marked by "is_positive", where any is. Strokes of a brush are not marked, and
    masks that were accepted are strokes too: of a label the last one is what was drawn just now.
    """
    marked = {kind == "brush" for kind, region in shapes if "is_positive" in region}
    last = {_label(region): region for kind, region in shapes if kind == "brush"}

    def asks(kind: str, region: Mapping[str, Any]) -> bool:
        if "is_positive" in region or (kind == "brush") in marked:
            return "is_positive" in region
        return kind != "brush" or region is last[_label(region)]

    return [(kind, region) for kind, region in shapes if asks(kind, region)]


def region_of(answered: Answered, controls: Controls, label: str) -> dict[str, Any]:
    """A mask as a region of the brush."""
    height, width = answered.mask.shape
    return {
        "id": uuid.uuid4().hex[:10],
        "type": "brushlabels",
        "from_name": controls.brush,
        "to_name": controls.image,
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "value": {"format": "rle", "rle": encoded(answered.mask), "brushlabels": [label]},
        "score": answered.score,
        "readonly": False,
    }


def places(stroke: NDArray[np.bool_], positive: bool = True) -> list[Click]:
    """Clicks that say what a stroke (H, W) says: in its middle, as far from each other as it allows.

    >>> stroke = np.zeros((40, 60), bool)
    >>> stroke[10:15, 5:55] = True
    >>> clicks = places(stroke)
    >>> len(clicks), {click.y for click in clicks}
    (8, {12})
    """
    if not stroke.any():
        return []
    depth = ndimage.distance_transform_edt(np.pad(stroke, 1))[1:-1, 1:-1]
    core = np.argwhere(depth >= 0.75 * depth.max())
    core = core[:: max(1, len(core) // 20_000)]
    chosen = [core[np.argmax(depth[tuple(core.T)])]]
    away = np.full(len(core), np.inf)
    apart = max(2.0, float(depth.max()))
    while len(chosen) < PLACES:
        away = np.minimum(away, np.linalg.norm(core - chosen[-1], axis=1))
        if away.max() < apart:
            break
        chosen.append(core[np.argmax(away)])
    return [Click(int(x), int(y), positive) for y, x in chosen]


def _objects(label: str | None, group: _Label) -> list[Said]:
    clicks = tuple(group.clicks)
    if len(group.boxes) < 2:
        return [Said(label, clicks, group.boxes[0] if group.boxes else None)]
    found = [Said(label, tuple(c for c in clicks if box.holds(c)), box) for box in group.boxes]
    rest = tuple(c for c in clicks if not any(box.holds(c) for box in group.boxes))
    if any(c.positive for c in rest):
        return [*found, Said(label, rest)]
    return [replace(said, clicks=(*said.clicks, *rest)) for said in found]


def _label(region: Mapping[str, Any]) -> str | None:
    value = region["value"]
    names = value.get(region.get("type")) or value.get("labels") or [None]
    return names[0] if isinstance(names, list) and names and isinstance(names[0], str) else None


def _check_photo(region: Mapping[str, Any], size: tuple[int, int]) -> None:
    if region.get("image_rotation"):
        raise InteractionError(
            f"The photo is rotated by {region['image_rotation']} degrees in Label Studio, and regions are read on "
            "upright ones only. Rotate it back, let the mask come, and rotate it again."
        )
    said = region.get("original_height"), region.get("original_width")
    if None not in said and said != size:
        raise InteractionError(
            f"The region is of a photo of {said[1]} x {said[0]} pixels, the task's photo has {size[1]} x {size[0]}."
        )


def _rectangle(value: Mapping[str, Any], size: tuple[int, int]) -> Rectangle:
    """The pixels of a rectangle; of a rotated one, which turns about its first corner, those of the box around it."""
    height, width = size
    left, top = _share(value, "x") * width, _share(value, "y") * height
    across, down = _share(value, "width") * width, _share(value, "height") * height
    turned = math.radians(float(number("rotation", value.get("rotation") or 0, "A rectangle's")))
    corners = [(x * math.cos(turned) - y * math.sin(turned), x * math.sin(turned) + y * math.cos(turned))
               for x in (0, across) for y in (0, down)]  # fmt: skip
    xs, ys = ([round(each, 6) for each in part] for part in zip(*corners, strict=True))
    return rectangle_in([left + min(xs), top + min(ys), left + max(xs), top + max(ys)], size)


def _share(value: Mapping[str, Any], name: str) -> float:
    """Percent as a share of the photo's side; a hair beyond a border is the border."""
    percent = float(number(name, value.get(name), "A region's"))
    if -0.01 <= percent <= 100.01:
        percent = min(max(percent, 0.0), 100.0)
    return percent / 100
