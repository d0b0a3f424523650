"""Label Studio: regions in percent become prompts, and masks become brush run lengths."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from interactify import Box, Click
from interactify.errors import InteractionError, OptionError
from interactify.tools.label_studio_regions import Controls, clicks_along, controls_of, read_regions
from interactify.tools.label_studio_rle import decoded, encoded
from tests.fixtures.label_studio_regions import CONFIG, SIZE, box, keypoint, region, stroke


def test_run_lengths_equal_those_of_label_studios_own_converter():
    brush = pytest.importorskip("label_studio_converter.brush", reason="needs label-studio-converter")
    generator = np.random.default_rng(0)
    for shape, share in (
        ((7, 9), 0.5),
        ((40, 60), 0.02),
        ((120, 90), 0.0005),
        ((1, 1), 1.0),
        ((3, 5), 0.0),
        ((300, 300), 1.0),
    ):
        mask = generator.random(shape) < share
        ours, theirs = encoded(mask), brush.mask2rle(mask.astype(np.uint8) * 255)
        assert ours == theirs[: len(ours)] and not any(theirs[len(ours) :])
        assert np.array_equal(brush.decode_rle(ours).reshape(*shape, 4)[..., 3] > 0, mask)
        assert np.array_equal(decoded(theirs, shape), mask)


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (13, 7), (200, 500)])
def test_run_lengths_round_trip(shape: tuple[int, int]):
    generator = np.random.default_rng(1)
    for share in (0, 0.001, 0.3, 0.97, 1):
        mask = generator.random(shape) < share
        assert np.array_equal(decoded(encoded(mask), shape), mask)


def test_single_values_and_colours_of_the_front_end_are_read():
    """Two pixels in red, the first opaque, the second faint; the front end packs values so that do not repeat."""
    values = [200, 0, 0, 255, 200, 0, 0, 60]
    bits = f"{8:032b}{7:05b}" + "".join(f"{size - 1:04b}" for size in (3, 4, 8, 16))
    bits += "0" + "00" + f"{7:03b}" + "".join(f"{value:08b}" for value in values)
    data = [int(bits[at : at + 8].ljust(8, "0"), 2) for at in range(0, len(bits), 8)]
    assert decoded(data, (1, 2)).tolist() == [[True, False]]


@pytest.mark.parametrize("rle", [None, "abc", [300, 1], [], [0, 0, 0, 8], encoded(np.ones((4, 4), bool))])
def test_broken_run_lengths_are_refused(rle: Any):
    with pytest.raises(InteractionError, match="run lengths"):
        decoded(rle, (1, 2))


def test_percent_become_pixels_and_borders_the_last_pixels():
    (prompt,) = read_regions([keypoint(0, 0), keypoint(100, 100), keypoint(55.5, 41.7, positive=False)], SIZE)
    assert prompt.label == "Fruit" and prompt.box is None
    assert prompt.clicks == (Click(0, 0), Click(99, 71), Click(55, 30, positive=False))
    (prompt,) = read_regions([box(25, 12.5, 60, 50), keypoint(50, 50)], SIZE)
    assert prompt.box == Box(25, 9, 84, 44) and prompt.clicks == (Click(50, 36),)


def test_a_rotated_rectangle_becomes_the_box_around_it():
    (prompt,) = read_regions([box(50, 50, 10, 20, rotation=90)], SIZE)
    # 10 pixels across and 14.4 down, rotated about the corner (50, 36): left of it and below.
    assert prompt.box == Box(35, 36, 49, 45)


def test_labels_are_objects_and_so_are_several_boxes():
    regions = [keypoint(10, 10), keypoint(20, 20, "Leaf"), box(50, 50, 10, 10, "Leaf"), box(70, 70, 20, 20, "Leaf")]
    found = read_regions([*regions, keypoint(75, 75, "Leaf", positive=False)], SIZE)
    assert [(prompt.label, prompt.box is not None, len(prompt.clicks)) for prompt in found] == [
        ("Fruit", False, 1), ("Leaf", True, 0), ("Leaf", True, 1), ("Leaf", False, 1),
    ]  # fmt: skip


def test_accepted_regions_and_those_drawn_by_hand_are_no_prompts():
    """If any region has "is_positive", those of smart tools are the ones that have it."""
    by_hand = [keypoint(10, 10, positive=None), box(1, 1, 10, 10, positive=None)]
    (prompt,) = read_regions([*by_hand, box(50, 50, 20, 20), keypoint(55, 55, positive=False)], SIZE)
    assert prompt.box == Box(50, 36, 69, 50) and prompt.clicks == (Click(55, 39, positive=False),)
    assert read_regions([keypoint(5, 5, "Leaf", positive=None), keypoint(50, 50)], SIZE)[0].label == "Fruit"
    (prompt,) = read_regions([keypoint(10, 10, positive=None), keypoint(20, 20, positive=None)], SIZE)
    assert len(prompt.clicks) == 2, "where none has it, all are read"


def test_only_the_last_stroke_of_a_label_is_read():
    """The earlier ones are accepted masks, which look the same as strokes."""
    accepted, drawn = stroke(np.s_[5:60], np.s_[2:40]), stroke(np.s_[28:33], np.s_[60:90])
    leaf = stroke(np.s_[2:4], np.s_[90:95], label="Leaf")
    other, fruit = read_regions([accepted, leaf, drawn], SIZE)
    assert fruit.clicks == read_regions([drawn], SIZE)[0].clicks and all(click.x >= 60 for click in fruit.clicks)
    assert other.label == "Leaf" and other.clicks
    marked = [stroke(np.s_[5:9], np.s_[2:40], positive=True), stroke(np.s_[50:54], np.s_[2:40], positive=False)]
    (prompt,) = read_regions([accepted, *marked, keypoint(50, 50)], SIZE)
    ys = {positive: [click.y for click in prompt.clicks if click.positive is positive] for positive in (True, False)}
    assert max(ys[True]) == 36 and sorted(ys[True])[-2] < 9 and min(ys[False]) >= 50, "all of the tool's are read"


def test_results_that_are_no_shapes_are_skipped():
    chosen = region("choices", x=50, y=50, width=20, height=20, choices=["big"])
    relation = {"type": "relation", "from_id": "a", "to_id": "b", "direction": "right"}
    (prompt,) = read_regions([chosen, box(50, 50, 20, 20), relation, region("textarea", text=["a leaf"])], SIZE)
    assert prompt.box == Box(50, 36, 69, 50)
    assert read_regions([chosen], SIZE) == []


def test_a_stroke_becomes_clicks_along_its_middle():
    stroke = np.zeros(SIZE, bool)
    stroke[28:33, 40:70] = True
    (prompt,) = read_regions([region("brushlabels", format="rle", rle=encoded(stroke))], SIZE)
    assert 4 <= len(prompt.clicks) <= 8 and all(click.positive and click.y == 30 for click in prompt.clicks)
    assert max(c.x for c in prompt.clicks) - min(c.x for c in prompt.clicks) > 20
    one = np.zeros(SIZE, bool)
    one[5, 7] = True
    assert clicks_along(one, False) == [Click(7, 5, positive=False)] and clicks_along(np.zeros(SIZE, bool)) == []


REFUSED = {
    "rotated": ({**keypoint(5, 5), "image_rotation": 90}, "rotated by 90"),
    "of another photo": ({**keypoint(5, 5), "original_width": 640}, "640 x 72"),
    "an ellipse": (region("ellipselabels", x=5, y=5, radiusX=3, radiusY=3), "ellipselabels"),
    "outside": (keypoint(105, 5), "from 0 to 100"),
    "no number": (keypoint(float("nan"), 5), "finite"),
    "no value": ({"type": "keypointlabels"}, "Expected a region"),
    "text": ("region", "Expected a region"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_invalid_regions_are_refused(kind: str):
    with pytest.raises(InteractionError, match=re.escape(REFUSED[kind][1])):
        read_regions([REFUSED[kind][0]], SIZE)


def test_the_configuration_names_brush_image_and_labels():
    assert controls_of(CONFIG) == Controls("mask", "photo", "image", ("Fruit", "Leaf"))
    assert controls_of(CONFIG).label("Leaf") == "Leaf"
    with pytest.raises(OptionError, match="Fruit, Leaf"):
        controls_of(CONFIG).label("Stone")
    for config in (
        None,
        "",
        "<View",
        "<View><Image name='a' value='$b'/></View>",
        CONFIG.replace('"photo"', '"other"', 1),
    ):
        with pytest.raises(OptionError, match="BrushLabels"):
            controls_of(config)


def test_tasks_of_several_images_are_refused():
    with pytest.raises(OptionError, match=r"valueList.*not supported"):
        controls_of(CONFIG.replace('value="$image"', 'valueList="$images"'))
