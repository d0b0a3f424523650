"""GeoJSON and YOLO's text: an independent reader of each gives the mask back."""

from __future__ import annotations

import json

import numpy as np
import pytest
import shapely
import shapely.affinity
import shapely.geometry
from hypothesis import given, settings
from hypothesis import strategies as st

from interactify.errors import OptionError
from interactify.export import geojson, write_geojson, write_yolo, yolo_lines
from interactify.masks.fill import mask_of_polygons
from tests.fixtures.masks import AWKWARD, masks

awkward = pytest.mark.parametrize("mask", AWKWARD.values(), ids=AWKWARD)
CUP = AWKWARD["an island in a hole"]
# Unchanged, north up, turned by a quarter, sheared, mirrored.
TRANSFORMS = [
    *((1, 0, 0, 0, 1, 0), (0.5, 0, 440_000, 0, -0.5, 5_100_000), (0, -1, 3, 1, 0, 2), (2, 1, 0, 0.5, 3, -7)),
    *((-1, 0, 0, 0, 1, 0),),
]


def check_geojson(mask: np.ndarray, transform: tuple[float, ...]) -> None:
    (feature,) = geojson(mask, transform=transform)["features"]
    geometry = feature["geometry"]
    if geometry is None:
        assert not mask.any()
        return
    shape = shapely.geometry.shape(geometry)
    assert shape.is_valid, shapely.is_valid_reason(shape)
    assert geometry["type"] == ("Polygon" if shape.geom_type == "Polygon" else "MultiPolygon")
    for part in getattr(shape, "geoms", [shape]):
        assert part.exterior.is_ccw and not any(hole.is_ccw for hole in part.interiors)
    parts = [geometry["coordinates"]] if geometry["type"] == "Polygon" else geometry["coordinates"]
    assert all(ring[0] == ring[-1] and len(ring) >= 5 for rings in parts for ring in rings)
    a, b, c, d, e, f = transform
    y, x = np.indices(mask.shape) + 0.5
    assert np.array_equal(shapely.contains_xy(shape, a * x + b * y + c, d * x + e * y + f), mask)


@pytest.mark.parametrize("transform", TRANSFORMS)
@awkward
def test_shapely_reads_features_of_awkward_masks(mask, transform):
    check_geojson(mask, transform)


@given(mask=masks(), transform=st.sampled_from(TRANSFORMS))
@settings(deadline=None, max_examples=60)
def test_shapely_reads_features_of_any_mask(mask, transform):
    check_geojson(mask, transform)


def test_features_carry_their_properties(tmp_path):
    masks = [CUP, np.zeros_like(CUP), ~CUP]
    path = write_geojson(tmp_path / "set.geojson", masks, [{"name": "cup"}, {}, {"name": "ß", "clicks": 3}])
    stored = json.loads(path.read_text(encoding="ascii"))
    assert stored["type"] == "FeatureCollection" and {feature["type"] for feature in stored["features"]} == {"Feature"}
    assert [feature["properties"] for feature in stored["features"]] == [
        {"name": "cup"},
        {},
        {"name": "ß", "clicks": 3},
    ]
    assert stored["features"][1]["geometry"] is None


def test_a_transform_of_rasterio_has_nine_numbers():
    north_up = (0.5, 0, 10, 0, -0.5, 50)
    assert geojson(CUP, transform=(*north_up, 0, 0, 1)) == geojson(CUP, transform=north_up)


def test_pixels_are_written_as_integers_and_a_turn_keeps_the_first_point():
    (feature,) = geojson(np.ones((2, 3), bool))["features"]
    assert json.dumps(feature["geometry"]["coordinates"]) == "[[[0, 0], [3, 0], [3, 2], [0, 2], [0, 0]]]"
    (feature,) = geojson(np.ones((2, 3), bool), transform=(1, 0, 0, 0, -1, 0))["features"]
    assert feature["geometry"]["coordinates"] == [[[0, 0], [0, -2], [3, -2], [3, 0], [0, 0]]]


@pytest.mark.parametrize(
    "wrong", [(1, 0, 0, 0, 1), (1, 0, 0, 0, 1, 0, 7), (1, 2, 0, 2, 4, 0), (1, 0, float("nan"), 0, 1, 0), "abcdef", 3]
)
def test_invalid_transforms(wrong):
    with pytest.raises(OptionError, match="transform"):
        geojson(CUP, transform=wrong)


def test_invalid_features(tmp_path):
    with pytest.raises(OptionError, match="properties for each of 1"):
        geojson(CUP, [{}, {}])
    for nothing in (np.float32(1), float("nan"), {1, 2}):
        with pytest.raises(OptionError, match="JSON"):
            write_geojson(tmp_path / "a.geojson", CUP, [{"x": nothing}])
    with pytest.raises(OptionError, match="Expected a mask"):
        write_geojson(tmp_path / "a.geojson", [[True]])
    assert not list(tmp_path.iterdir())


def read_yolo(text: str, size: tuple[int, int]) -> dict[int, np.ndarray]:
    """As a trainer reads it: coordinates relative to the sides, each line filled alone, one mask for each class."""
    read: dict[int, np.ndarray] = {}
    for line in text.splitlines():
        number, *parts = line.split(" ")
        points = np.array(parts, float).reshape(-1, 2)
        assert len(points) >= 3 and ((points >= 0) & (points <= 1)).all()
        outline = mask_of_polygons([points * size[::-1]], size)
        read[int(number)] = read.get(int(number), np.zeros(size, bool)) | outline
    return read


@awkward
def test_yolo_lines_of_awkward_masks_fill_to_the_same_mask(tmp_path, mask):
    text = write_yolo(tmp_path / "a.txt", mask).read_text(encoding="ascii")
    assert bool(text) == mask.any() and (not text or text.endswith("\n"))
    assert np.array_equal(read_yolo(text, mask.shape).get(0, np.zeros_like(mask)), mask)


@given(mask=masks())
@settings(deadline=None, max_examples=60)
def test_yolo_lines_of_any_mask_fill_to_the_same_mask(mask):
    lines = yolo_lines(mask)
    assert np.array_equal(read_yolo("\n".join(lines), mask.shape).get(0, np.zeros_like(mask)), mask)


def test_yolo_lines_have_their_classes(tmp_path):
    text = write_yolo(tmp_path / "a.txt", [CUP, ~CUP], [7, 0]).read_text()
    assert [line.split()[0] for line in text.splitlines()] == ["7", "7", "0"]
    read = read_yolo(text, CUP.shape)
    assert np.array_equal(read[7], CUP) and np.array_equal(read[0], ~CUP)


def test_yolo_on_a_large_photo_is_exact():
    mask = np.zeros((4001, 2999), bool)
    mask[17:3998, 5:2990] = True
    mask[100:2001, 301:1007] = False
    assert np.array_equal(read_yolo("\n".join(yolo_lines(mask)), mask.shape)[0], mask)


def test_invalid_yolo_labels(tmp_path):
    for classes in ([1, 2], [], [-1], [0.5], ["cup"], [True]):
        with pytest.raises(OptionError, match="class"):
            write_yolo(tmp_path / "a.txt", CUP, classes)
    with pytest.raises(OptionError, match="Expected a mask"):
        write_yolo(tmp_path / "a.txt", CUP.astype(float))
    assert not list(tmp_path.iterdir())
