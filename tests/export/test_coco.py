"""COCO: run lengths are pycocotools' own, bit for bit, and it reads the data sets that are written."""

from __future__ import annotations

import contextlib
import io
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as reference
from pycocotools.coco import COCO

from interactify import evaluation
from interactify.errors import OptionError
from interactify.export import CocoPhoto, coco_annotation, coco_dataset, mask_of_rle, single_ring, write_coco, write_rle
from interactify.masks.polygons import polygons
from interactify.masks.run_lengths import packed, run_lengths, unpacked
from tests.fixtures.masks import AWKWARD, drawn, masks

awkward = pytest.mark.parametrize("mask", AWKWARD.values(), ids=AWKWARD)


def check_run_lengths(mask: np.ndarray) -> None:
    theirs = reference.encode(np.asfortranarray(mask, dtype=np.uint8))
    ours, numbers = run_lengths(mask), run_lengths(mask, compressed=False)
    assert ours["counts"].encode() == theirs["counts"] and ours["size"] == theirs["size"]
    assert reference.frPyObjects(numbers, *mask.shape) == theirs
    assert np.array_equal(reference.decode(ours), mask)
    for rle in (ours, numbers, theirs):
        back = mask_of_rle(rle)
        assert back.dtype == bool and np.array_equal(back, mask)
    json.dumps([ours, numbers])


@awkward
def test_run_lengths_of_awkward_masks_are_pycocotools(mask):
    check_run_lengths(mask)


@given(mask=masks(60))
@settings(deadline=None, max_examples=100)
def test_run_lengths_of_any_mask_are_pycocotools(mask):
    check_run_lengths(mask)


def test_run_lengths_of_a_large_mask_are_pycocotools():
    mask = np.zeros((3000, 2500), bool)
    mask[100:2900, 40:2000] = np.random.default_rng(0).random((2800, 1960)) < 0.001
    mask[1500:2500, 1000:2400] = True
    check_run_lengths(mask)


@given(runs=st.lists(st.integers(0, 2**40), max_size=12))
def test_packing_and_unpacking(runs):
    assert unpacked(packed(runs)) == runs


def check_polygons(mask: np.ndarray) -> None:
    rings = [single_ring(polygon).ravel().tolist() for polygon in polygons(mask)]
    if rings:
        theirs = reference.merge(reference.frPyObjects(rings, *mask.shape))
        assert np.array_equal(reference.decode(theirs), mask)


@awkward
def test_pycocotools_fills_polygons_of_awkward_masks_to_the_same_mask(mask):
    check_polygons(mask)


@given(mask=masks(40))
@settings(deadline=None, max_examples=100)
def test_pycocotools_fills_polygons_of_any_mask_to_the_same_mask(mask):
    check_polygons(mask)


@given(mask=masks(40).filter(np.any))
@settings(deadline=None, max_examples=60)
def test_area_and_box_are_pycocotools(mask):
    annotation = coco_annotation(mask)
    theirs = reference.encode(np.asfortranarray(mask, dtype=np.uint8))
    assert annotation["area"] == reference.area(theirs)
    assert annotation["bbox"] == reference.toBbox(theirs).tolist()
    assert annotation["iscrowd"] == 0


CUP, SAUCER = AWKWARD["an island in a hole"], np.tri(5, dtype=bool)


@pytest.fixture
def photos() -> list[CocoPhoto]:
    return [
        CocoPhoto("a.png", [CUP, np.zeros((5, 5), bool), SAUCER], [2, 1, 1]),
        CocoPhoto("nothing.png", [], size=(7, 9)),
        CocoPhoto("ß b.png", np.stack([SAUCER, CUP])),
    ]


@pytest.mark.parametrize("outline", ["rle", "polygons"])
def test_pycocotools_reads_the_data_set(tmp_path, photos, outline):
    path = write_coco(tmp_path / "set.json", photos, ["saucer", "cup"], outline=outline)
    with contextlib.redirect_stdout(io.StringIO()):
        theirs = COCO(str(path))
    assert [theirs.loadImgs(i)[0]["file_name"] for i in theirs.getImgIds()] == ["a.png", "nothing.png", "ß b.png"]
    assert [(c["id"], c["name"]) for c in theirs.loadCats(theirs.getCatIds())] == [(1, "saucer"), (2, "cup")]
    found = theirs.loadAnns(theirs.getAnnIds())
    assert [(a["id"], a["image_id"], a["category_id"]) for a in found] == [(1, 1, 2), (2, 1, 1), (3, 3, 1), (4, 3, 1)]
    for annotation, mask in zip(found, [CUP, SAUCER, SAUCER, CUP], strict=True):
        assert np.array_equal(theirs.annToMask(annotation), mask)
        assert annotation["area"] == mask.sum()
    assert not theirs.getAnnIds(imgIds=[2])


@pytest.mark.parametrize("outline", ["rle", "polygons"])
def test_the_projects_own_loader_reads_the_data_set(tmp_path, photos, outline):
    for photo in photos:
        Image.new("RGB", (5, 5)).save(tmp_path / photo.file_name)
    path = write_coco(tmp_path / "set.json", photos, ["saucer", "cup"], outline=outline)
    truths = [sample.truth == 1 for sample in evaluation.coco(path)]
    assert all(np.array_equal(one, two) for one, two in zip(truths, [CUP, SAUCER, SAUCER, CUP], strict=True))


def test_simplified_polygons_are_readable_too():
    mask = np.hypot(*(np.indices((60, 60)) - 30)) < 25
    mask &= np.hypot(*(np.indices((60, 60)) - 30)) > 8
    annotation = coco_annotation(mask, tolerance=1)
    assert len(annotation["segmentation"][0]) < 80
    theirs = reference.decode(reference.merge(reference.frPyObjects(annotation["segmentation"], 60, 60))).astype(bool)
    assert evaluation.iou(theirs, mask.astype(np.int8)) > 0.9


def test_a_file_of_run_lengths(tmp_path):
    for compressed in (True, False):
        rle = json.loads(write_rle(tmp_path / "m.json", CUP, compressed=compressed).read_text())
        assert isinstance(rle["counts"], str if compressed else list)
        assert np.array_equal(mask_of_rle(rle), CUP)


@pytest.mark.parametrize("wrong", [None, [3, 4], {"size": [2, 2]}, {"size": [2, 2], "counts": [3]},
                                   {"size": [2, 2], "counts": "~~"}, {"size": [2], "counts": [4]},
                                   {"size": [2, 2], "counts": [-1, 5]}, {"size": [-2, -2], "counts": [4]}])  # fmt: skip
def test_invalid_run_lengths(wrong):
    with pytest.raises(OptionError, match="Expected"):
        mask_of_rle(wrong)


def test_invalid_annotations():
    with pytest.raises(OptionError, match="empty"):
        coco_annotation(np.zeros((3, 3), bool))
    with pytest.raises(OptionError, match="bezier"):
        coco_annotation(CUP, outline="bezier")
    with pytest.raises(OptionError, match="Expected a mask"):
        coco_annotation(CUP.astype(np.uint8) * 2)


@pytest.mark.parametrize(
    ("photo", "message"),
    [
        (CocoPhoto("a.png", []), "a.png"),
        (CocoPhoto("a.png", [CUP], size=(4, 5)), "a.png"),
        (CocoPhoto("a.png", [CUP, drawn("#")]), "one size"),
        (CocoPhoto("a.png", [CUP], [1, 2]), "one category for each of 1"),
        (CocoPhoto("a.png", [CUP], [2]), "category 2"),
        (CocoPhoto("a.png", [CUP], [0]), "category 0"),
        (CocoPhoto("a.png", [CUP], ["cup"]), "'cup'"),
        (CocoPhoto("a.png", 3), "int"),
    ],
)
def test_invalid_data_sets(tmp_path, photo, message):
    with pytest.raises(OptionError, match=message):
        coco_dataset([photo])
    with pytest.raises(OptionError, match=message):
        write_coco(tmp_path / "set.json", [photo])
    assert not list(tmp_path.iterdir())
