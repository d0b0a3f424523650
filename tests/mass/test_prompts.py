"""Files of prompts in every format, written by hand as the other tools write them."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interactify import Box, Click, InteractionError, Mask, OptionError, Scribble
from interactify.export import run_lengths, write_geojson
from interactify.mass import ObjectPrompts, PhotoPrompts, read_prompts
from interactify.mass.prompts.photo_prompts import check_shapes, interactions_of, used, uses_named
from interactify.tools.label_studio_rle import encoded

SIZE = (40, 60)


def read(tmp_path: Path, name: str, content: Any) -> list[PhotoPrompts]:
    text = content if isinstance(content, (str, bytes)) else json.dumps(content)
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    found = read_prompts(str(tmp_path / name))
    for prompts in found:
        assert PhotoPrompts.from_text(prompts.to_text()) == prompts, "they travel as text"
    return found


def given(prompts: ObjectPrompts, size: tuple[int, int] = SIZE) -> list[Any]:
    check_shapes(prompts.shapes, size)
    return list(interactions_of(used(prompts.shapes), size))


def coco(**annotation: Any) -> dict[str, Any]:
    return {
        "images": [{"id": 7, "file_name": "sub/cup.jpg", "height": 40, "width": 60}],
        "categories": [{"id": 3, "name": "cup"}],
        "annotations": [{"id": 12, "image_id": 7, "category_id": 3, **annotation}],
    }


def test_coco_has_boxes_and_keypoints(tmp_path: Path) -> None:
    (photo,) = read(tmp_path, "a.json", coco(bbox=[9.5, 4, 20, 10.2], keypoints=[12, 8, 2, 0, 0, 0, 20.9, 9, 1]))
    assert (photo.photo, photo.size) == ("sub/cup.jpg", SIZE)
    (cup,) = photo.objects
    assert (cup.name, cup.label) == ("12", "cup")
    assert given(cup) == [Box(9, 4, 29, 14), Click(12, 8), Click(20, 9)]


def test_coco_has_earlier_masks_as_polygons_and_both_run_lengths(tmp_path: Path) -> None:
    wanted = np.zeros(SIZE, bool)
    wanted[5:15, 10:30] = True
    ring = [10, 5, 30, 5, 30, 15, 10, 15]
    runs = [405, *[10, 30] * 19, 10, 1225]
    for outline in ([ring], {"size": [40, 60], "counts": runs}, run_lengths(wanted)):
        (photo,) = read(tmp_path, "a.json", coco(segmentation=outline, bbox=[10, 5, 20, 10]))
        assert given(photo.objects[0]) == [Mask(wanted)], "the box is the mask's own, and would forbid it to grow"
        shapes = used(photo.objects[0].shapes, ("boxes",))
        assert list(interactions_of(shapes, SIZE)) == [Box(10, 5, 29, 14)]


def test_crowds_are_left_out_and_lone_annotations_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="got none"):
        read(tmp_path, "a.json", coco(bbox=[1, 2, 3, 4], iscrowd=1))
    with pytest.raises(InteractionError, match="images beside"):
        read(tmp_path, "a.json", [{"image_id": 7, "bbox": [1, 2, 3, 4]}])


def feature(kind: str, at: Any, **properties: Any) -> dict[str, Any]:
    return {"type": "Feature", "geometry": {"type": kind, "coordinates": at}, "properties": properties}


def test_geojson_has_every_geometry(tmp_path: Path) -> None:
    rectangle = [[10, 5], [30, 5], [30, 15], [10, 15], [10, 5]]
    triangle = [[0, 0], [20, 0], [0, 20], [0, 0]]
    ring, hole = [[0, 0], [12, 0], [12, 12], [0, 12], [0, 0]], [[4, 4], [8, 4], [8, 8], [4, 8], [4, 4]]
    features = [
        feature("Polygon", [rectangle], label="cup", photo="cup"),
        feature("Point", [12.5, 7], label="cup", photo="cup"),
        feature("MultiPoint", [[1, 2], [50, 30]], photo="cup", positive=False, object="x"),
        feature("LineString", [[2.5, 3.5], [9.5, 3.5]], photo="cup", object="x"),
        feature("Polygon", [triangle], photo="mug"),
        feature("MultiPolygon", [[ring, hole]], photo="mug"),
        {"type": "Feature", "geometry": None, "properties": {}},
    ]
    cup, mug, _ = read(tmp_path, "a.geojson", {"type": "FeatureCollection", "features": features})
    keyed, boxed = cup.objects
    assert (keyed.name, boxed.name, boxed.label) == ("x", "1", "cup")
    assert given(boxed) == [Box(10, 5, 29, 14), Click(12, 7)]
    assert given(keyed) == [Click(1, 2, False), Click(50, 30, False), Scribble(((2, 3), (9, 3)))]
    sizes = [int(given(each)[0].mask.sum()) for each in mug.objects]
    assert sizes == [190, 144 - 16]


def test_our_own_geojson_is_an_earlier_mask_of_the_photo_it_is_named_after(tmp_path: Path) -> None:
    mask = np.zeros(SIZE, bool)
    mask[5:20, 8:30] = True
    mask[9:12, 12:20] = False
    write_geojson(tmp_path / "cup.geojson", mask, [{"category": "cup"}])
    (photo,) = read_prompts(str(tmp_path / "cup.geojson"))
    assert photo.photo == "cup" and photo.objects[0].label == "cup"
    assert given(photo.objects[0]) == [Mask(mask)]


def test_csv_has_clicks_and_boxes(tmp_path: Path) -> None:
    clicks, boxes = read(
        tmp_path,
        "a.csv",
        "photo,x,y,label,object,left,top,right,bottom,class\n"
        "cup.jpg,12,8,1,,,,,,\ncup.jpg,3,4,0,,,,,,\ncup.jpg,5,6,1,b,,,,,\n\n"
        "mug.jpg,,,,,10,5,30,15,mug\nmug.jpg,11,6,,,,,,,\n",
    )
    b, first = clicks.objects
    assert given(first) == [Click(12, 8), Click(3, 4, False)] and (b.name, given(b)) == ("b", [Click(5, 6)])
    (mug,) = boxes.objects
    assert (mug.label, given(mug)) == ("mug", [Box(10, 5, 29, 14), Click(11, 6)])


@pytest.mark.parametrize(
    ("table", "box"),
    [
        ("image,xmin,ymin,xmax,ymax,label\na.png,1,2,9,8,cup\n", Box(1, 2, 8, 7)),
        ("photo;box\n".replace(";", ",") + 'a.png,"1 2 9 8"\n', Box(1, 2, 8, 7)),
        ('photo,box\na.png,"[-3, 2, 90, 8]"\n', Box(0, 2, 59, 7)),
    ],
)
def test_csv_takes_the_columns_that_detectors_write(tmp_path: Path, table: str, box: Box) -> None:
    (photo,) = read(tmp_path, "a.csv", table)
    assert given(photo.objects[0]) == [box]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("photo,x\na.png,1\n", "photo and x, y"),
        ("photo,x,y,label\na.png,1,2,maybe\n", "line 2 a label of 1 or 0, got 'maybe'"),
        ("photo,x,y\na.png,1,\n", "line 2 a number of pixels"),
        ("photo,x,y\n,1,2\n", "line 2 a photo"),
        ("photo,box\na.png,1 2 3\n", "four numbers"),
    ],
)
def test_csv_says_which_line_is_wrong(tmp_path: Path, table: str, message: str) -> None:
    with pytest.raises(InteractionError, match=message):
        read(tmp_path, "a.csv", table)


def region(kind: str, **value: Any) -> dict[str, Any]:
    labels = {"labels": ["cup"]} if kind == "keypoint" else {f"{kind}labels": ["cup"]}
    return {
        "type": f"{kind}labels", "original_width": 60, "original_height": 40, "image_rotation": 0,
        "value": {**value, **labels},
    }  # fmt: skip


def test_label_studio_has_rectangles_key_points_brushes_and_polygons(tmp_path: Path) -> None:
    mask = np.zeros(SIZE, bool)
    mask[5:15, 10:30] = True
    beside = {**region("keypoint", x=50, y=50, width=1), "is_positive": False}
    regions = [
        region("rectangle", x=10, y=10, width=50, height=50, rotation=0),
        region("keypoint", x=20, y=20, width=1),
        beside,
        region("brush", format="rle", rle=encoded(mask)),
        region("polygon", points=[[0, 0], [50, 0], [0, 50]]),
        {"type": "choices", "value": {"choices": ["good"]}},
    ]
    task = {
        "id": 4,
        "data": {"image": "/data/upload/1/0a1b2c3d-my%20cup.jpg"},
        "annotations": [{"result": [], "was_cancelled": True}, {"result": regions}],
    }
    (photo,) = read(tmp_path, "a.json", [task, {"id": 5, "data": {"image": "b.jpg"}, "annotations": []}])
    assert (photo.photo, photo.size) == ("my cup.jpg", SIZE)
    box, brush, polygon = photo.objects
    assert given(box) == [Box(6, 4, 35, 23), Click(12, 8), Click(30, 20, False)] and box.label == "cup"
    assert given(brush) == [Mask(mask)]
    assert 250 < given(polygon)[0].mask.sum() < 350


def test_label_studio_refuses_what_it_can_not_read(tmp_path: Path) -> None:
    turned = {**region("rectangle", x=1, y=1, width=5, height=5), "image_rotation": 90}
    for task, message in (
        ({"id": 4, "data": {"image": "a.jpg"}, "annotations": [{"result": [turned]}]}, "task 4: .*upright"),
        ({"id": 4, "image": "a.jpg", "label": []}, "JSON-MIN"),
        ({"id": 4, "data": {"text": "no"}, "annotations": [{"result": [region("polygon", points=[[0, 0]] * 3)]}]},
         "address of a photo"),
    ):  # fmt: skip
        with pytest.raises(InteractionError, match=message):
            read(tmp_path, "a.json", [task])


CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version>
  <image id="0" name="sub/cup.jpg" width="60" height="40">
    <box label="cup" occluded="0" xtl="10.0" ytl="5.0" xbr="30.0" ybr="15.0" z_order="0"></box>
    <points label="cup" points="12.50,8.00;14.20,9.90"></points>
    <points label="cup" points="11.0,6.0"><attribute name="negative">true</attribute></points>
    <polygon label="mug" points="0,0;20,0;0,20" group_id="2"></polygon>
    <points label="mug" points="3,3" group_id="2"></points>
    <mask label="pen" rle="1, 2, 1, 4" left="50" top="30" width="4" height="2"></mask>
    <polyline label="pen" points="50.5,31.5;52.5,31.5"></polyline>
    <tag label="indoors"></tag>
  </image>
  <image id="1" name="empty.jpg" width="60" height="40"></image>
</annotations>"""


@pytest.mark.parametrize("zipped", [False, True])
def test_cvat_has_boxes_points_polygons_masks_and_groups(tmp_path: Path, zipped: bool) -> None:
    content: str | bytes = CVAT
    if zipped:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("annotations.xml", CVAT)
        content = buffer.getvalue()
    (photo,) = read(tmp_path, "a.zip" if zipped else "a.xml", content)
    assert (photo.photo, photo.size) == ("sub/cup.jpg", SIZE)
    group, cup, pen, line = photo.objects
    assert given(cup) == [Box(10, 5, 29, 14), Click(12, 8), Click(14, 9), Click(11, 6, False)]
    polygon, click = given(group)
    assert polygon.mask.sum() == 190 and click == Click(3, 3)
    wanted = np.zeros(SIZE, bool)
    wanted[30, 51:53] = True
    wanted[31, 50:54] = True
    assert given(pen) == [Mask(wanted)]
    assert given(line) == [Scribble(((50, 31), (52, 31)))] and line.label == "pen"


def test_cvat_refuses_videos_turned_boxes_and_masks_outside(tmp_path: Path) -> None:
    for text, message in (
        ("<annotations><track id='0'/></annotations>", "of a video"),
        (CVAT.replace('z_order="0"', 'rotation="30"'), "upright box"),
        (CVAT.replace("<polyline", "<ellipse").replace("</polyline", "</ellipse"), "got <ellipse>"),
        ("<annotations>", "XML"),
    ):
        with pytest.raises(InteractionError, match=message):
            read(tmp_path, "a.xml", text)
    (photo,) = read(tmp_path, "a.xml", CVAT.replace('left="50"', 'left="58"'))
    with pytest.raises(InteractionError, match="a mask in the photo"):
        check_shapes(photo.objects[2].shapes, SIZE)


LOG = (
    '{"interactify": 1, "width": 60, "height": 40, "objects": [{"name": "object 1", "target": null}], "active": 0}\n'
    '{"object": "object 1", "step": 0, "kind": "click", "x": 12, "y": 8, "positive": true}\n'
)


def test_a_log_is_about_the_photo_of_its_name(tmp_path: Path) -> None:
    (photo,) = read(tmp_path, "cup-log.jsonl", LOG)
    assert (photo.photo, photo.size, photo.log) == ("cup", SIZE, LOG)
    with pytest.raises(InteractionError, match="x from 0 to 59"):
        read(tmp_path, "cup-log.jsonl", LOG.replace('"x": 12', '"x": 60'))


def test_a_folder_of_files_is_one_set_of_prompts(tmp_path: Path) -> None:
    (tmp_path / "cup-log.jsonl").write_text(LOG)
    (tmp_path / "mug.csv").write_text("photo,x,y,object\nmug,1,2,a\n")
    (tmp_path / "more.csv").write_text("photo,x,y,object\nmug,3,4,b\n")
    (tmp_path / "readme.txt").write_text("no prompts")
    cup, mug = read_prompts(str(tmp_path))
    assert cup.log and [each.name for each in mug.objects] == ["b", "a"]
    (tmp_path / "again.csv").write_text("photo,x,y,object\nmug,1,2,a\n")
    with pytest.raises(InteractionError, match="'a' in several files"):
        read_prompts(str(tmp_path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1, 2]", "other JSON"),
        ('{"a": 1}', "other JSON"),
        ('{"images": [', "no whole JSON"),
        (b"\xff\xfe\x00", "no text"),
    ],
)
def test_other_files_are_refused_by_name(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(InteractionError, match=message) as refused:
        read(tmp_path, "a.json", content)
    assert str(tmp_path / "a.json") in str(refused.value)
    with pytest.raises(OptionError, match="no such file"):
        read_prompts(str(tmp_path / "none.json"))


def test_shapes_outside_the_photo_are_refused() -> None:
    for shape, message in (
        ({"kind": "point", "x": 61, "y": 2}, "from 0 to 60"),
        ({"kind": "click", "x": 60, "y": 2, "positive": True}, "x from 0 to 59"),
        ({"kind": "corners", "sides": [70, 1, 90, 5]}, "box that lies in the photo"),
        ({"kind": "mask", "rle": {"size": [3, 3], "counts": [9]}}, "photo's size"),
        ({"kind": "outline", "polygons": [[1, 2, 3]]}, "polygon"),
        ({"kind": "wand"}, "kinds"),
    ):
        with pytest.raises(InteractionError, match=message):
            check_shapes([shape], SIZE)
    with pytest.raises(OptionError, match="boxes, clicks, masks"):
        uses_named("boxes,stars")
