"""Label Studio's regions, in percent, and its labelling configuration.

Regions become prompts, one for each object, and masks become regions.
"""

from __future__ import annotations

import math
import uuid
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import compress
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from interactify.errors import InteractionError, OptionError, text_of
from interactify.interactions.click import Click
from interactify.interactions.gestures import Box
from interactify.interactions.rasterise import bounds, points_inside
from interactify.interactions.validation import number
from interactify.predictor.photo import ScoredMask
from interactify.predictor.prompts import Prompt
from interactify.tools.label_studio_rle import decoded, encoded
from interactify.tools.served import box_in, pixel_in

CLICKS: Final = 8  # clicks that a stroke becomes, at most: they are far apart, and the rest of it follows
KINDS: Final = ("keypoint", "rectangle", "brush")
OTHER_SHAPES: Final = ("ellipse", "polygon", "vector", "bitmask")  # shapes that are no prompts here


@dataclass(frozen=True)
class Controls:
    """Of a labelling configuration: the names of brush and image, the task's key of the image, the brush's labels."""

    brush: str
    image: str
    key: str
    labels: tuple[str, ...]

    def label(self, prompted: str | None) -> str:
        """The brush's label for a prompt's. Raises OptionError where the brush has no label of that name."""
        if prompted in self.labels:
            return str(prompted)
        if len(self.labels) == 1:
            return self.labels[0]
        raise OptionError(
            f"Expected a label of <BrushLabels>, one of {', '.join(self.labels)}; got {prompted!r}. Try the same "
            "labels for <BrushLabels> and the smart tools."
        )


@dataclass(frozen=True)
class LabelledPrompt:
    """The prompt of one object: its label, its clicks, and its box."""

    label: str | None
    clicks: tuple[Click, ...] = ()
    box: Box | None = None

    @property
    def prompt(self) -> Prompt:
        """For `Served.segment`."""
        return Prompt(self.clicks, self.box)


@dataclass
class _Group:
    boxes: list[Box] = field(default_factory=list)
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
                    f'{expected}, got one for an <Image valueList="…">: tasks of several images are not supported. Try '
                    'a task for each image, with <Image value="…">.'
                )
            labels = tuple(str(each.get("alias") or each.get("value")) for each in tag.iter("Label"))
            if labels:
                name = str(tag.get("toName"))
                return Controls(str(tag.get("name")), name, images[name], labels)
    raise OptionError(f"{expected}, got one without. Try the one in docs/label-studio.md.")


def read_regions(regions: Sequence[Any], size: tuple[int, int]) -> list[LabelledPrompt]:
    """The prompts in regions, one for each object: a label's keypoints, strokes and box are of one object.

    Several boxes of a label are several objects; keypoints and strokes then belong to the boxes around them, and the
    rest of them to one more object.

    Label Studio sends accepted regions, and those drawn by hand, along with those of its smart tools; only the latter
    are read, see `_prompting`.

    Args:
        regions: `context["result"]` of a request: keypoints, rectangles and strokes of a brush.
        size: (H, W) of the photo.

    Raises:
        InteractionError: another shape than these, or one on a photo that is rotated or of another size.
    """
    groups: dict[str | None, _Group] = {}
    for kind, region in _prompting(_shapes(regions)):
        _check_photo(region, size)
        group = groups.setdefault(_label(region), _Group())
        positive = region.get("is_positive", True) is not False
        value = region["value"]
        if kind == "keypoint":
            x, y = (_share(value, name) for name in ("x", "y"))
            group.clicks.append(
                Click(pixel_in(x * size[1], size[1], "x"), pixel_in(y * size[0], size[0], "y"), positive)
            )
        elif kind == "brush":
            group.clicks.extend(clicks_along(decoded(value.get("rle"), size), positive))
        elif positive:
            group.boxes.append(rectangle_in(value, size))
        else:
            inside = np.zeros(size, bool)
            inside[bounds(rectangle_in(value, size)).slices] = True
            group.clicks.extend(clicks_along(inside, positive))
    return [prompt for label, group in groups.items() for prompt in _objects(label, group)]


def _shapes(regions: Sequence[Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """The kinds and regions that are shapes; <Labels>, <Choices> and the like beside a region are not."""
    shapes: list[tuple[str, Mapping[str, Any]]] = []
    for region in regions:
        kind = str(region.get("type", "")).removesuffix("labels") if isinstance(region, Mapping) else None
        if kind in OTHER_SHAPES:
            raise InteractionError(
                f"Expected keypoints, rectangles or strokes of a brush, got a region of type {region.get('type')!r}."
            )
        if kind is None or (kind in KINDS and not isinstance(region.get("value"), Mapping)):
            raise InteractionError(f'Expected a region as {{"type": …, "value": {{…}}}}, got {text_of(region)}.')
        if kind in KINDS:
            shapes.append((kind, region))
    return shapes


def _prompting(shapes: Sequence[tuple[str, Mapping[str, Any]]]) -> list[tuple[str, Mapping[str, Any]]]:
    """The regions that smart tools drew.

    If any keypoint or rectangle has "is_positive", those of smart tools are the ones that have it. Strokes of a brush
    have none, and accepted masks are strokes too: the last stroke of a label is the newest.
    """
    marked = {kind == "brush" for kind, region in shapes if "is_positive" in region}
    last = {_label(region): region for kind, region in shapes if kind == "brush"}

    def prompts(kind: str, region: Mapping[str, Any]) -> bool:
        if "is_positive" in region or (kind == "brush") in marked:
            return "is_positive" in region
        return kind != "brush" or region is last[_label(region)]

    return [(kind, region) for kind, region in shapes if prompts(kind, region)]


def region_of(scored: ScoredMask, controls: Controls, label: str) -> dict[str, Any]:
    """A mask as a region of the brush."""
    height, width = scored.mask.shape
    return {
        "id": uuid.uuid4().hex[:10],
        "type": "brushlabels",
        "from_name": controls.brush,
        "to_name": controls.image,
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "value": {"format": "rle", "rle": encoded(scored.mask), "brushlabels": [label]},
        "score": scored.score,
        "readonly": False,
    }


def clicks_along(stroke: NDArray[np.bool_], positive: bool = True) -> list[Click]:
    """Clicks in place of a stroke (H, W): along its middle, as far from each other as possible.

    >>> stroke = np.zeros((40, 60), bool)
    >>> stroke[10:15, 5:55] = True
    >>> clicks = clicks_along(stroke)
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
    while len(chosen) < CLICKS:
        away = np.minimum(away, np.linalg.norm(core - chosen[-1], axis=1))
        if away.max() < apart:
            break
        chosen.append(core[np.argmax(away)])
    return [Click(int(x), int(y), positive) for y, x in chosen]


def _objects(label: str | None, group: _Group) -> list[LabelledPrompt]:
    clicks = tuple(group.clicks)
    if len(group.boxes) < 2:
        return [LabelledPrompt(label, clicks, group.boxes[0] if group.boxes else None)]
    places = np.array([(c.x, c.y) for c in clicks], np.int64).reshape(-1, 2)
    inside = np.stack([points_inside(box, places) for box in group.boxes])  # (boxes, clicks)
    boxed = [
        LabelledPrompt(label, tuple(compress(clicks, row)), box) for box, row in zip(group.boxes, inside, strict=True)
    ]
    rest = tuple(click for click, boxes in zip(clicks, inside.T, strict=True) if not boxes.any())
    if any(c.positive for c in rest):
        return [*boxed, LabelledPrompt(label, rest)]
    return [replace(prompt, clicks=(*prompt.clicks, *rest)) for prompt in boxed]


def _label(region: Mapping[str, Any]) -> str | None:
    value = region["value"]
    names = value.get(region.get("type")) or value.get("labels") or [None]
    return names[0] if isinstance(names, list) and names and isinstance(names[0], str) else None


def _check_photo(region: Mapping[str, Any], size: tuple[int, int]) -> None:
    if region.get("image_rotation"):
        raise InteractionError(
            f"Expected regions on an upright photo, got one that is rotated by {region['image_rotation']} degrees in "
            "Label Studio. Try without the rotation, and rotate the photo again once the mask is there."
        )
    stated = region.get("original_height"), region.get("original_width")
    if None not in stated and stated != size:
        raise InteractionError(
            f"Expected a region of the task's photo, {size[1]} x {size[0]} pixels, got one for {stated[1]} x "
            f"{stated[0]}."
        )


def rectangle_in(value: Mapping[str, Any], size: tuple[int, int]) -> Box:
    """The pixels of a rectangle; of a rotated one, which turns about its first corner, the box around it."""
    height, width = size
    left, top = _share(value, "x") * width, _share(value, "y") * height
    across, down = _share(value, "width") * width, _share(value, "height") * height
    turned = math.radians(float(number("rotation", value.get("rotation") or 0, "a rectangle's")))
    corners = [(x * math.cos(turned) - y * math.sin(turned), x * math.sin(turned) + y * math.cos(turned))
               for x in (0, across) for y in (0, down)]  # fmt: skip
    xs, ys = ([round(each, 6) for each in part] for part in zip(*corners, strict=True))
    return box_in([left + min(xs), top + min(ys), left + max(xs), top + max(ys)], size)


def _share(value: Mapping[str, Any], name: str) -> float:
    """Percent as a share of the photo's side; rounding errors beyond a border become the border."""
    percent = float(number(name, value.get(name), "a region's"))
    if -0.01 <= percent <= 100.01:
        percent = min(max(percent, 0.0), 100.0)
    return percent / 100
