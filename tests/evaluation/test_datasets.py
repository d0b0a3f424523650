"""Data sets in their published layouts, each on a tiny copy of the unpacked folders."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from interactify import OptionError
from interactify.errors import InteractifyWarning
from interactify.evaluation import berkeley, classes, coco, dataset_named, davis, folder, grabcut, sbd
from interactify.masks.fill import mask_of_polygons
from interactify.masks.run_lengths import mask_of_run_lengths, unpacked

SIZE = (6, 9)  # H, W


def picture(path: Path, values: object = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.zeros((*SIZE, 3), np.uint8) if values is None else np.asarray(values)
    Image.fromarray(array).save(path)


def labels(**regions: tuple[slice, slice]) -> np.ndarray:
    values = np.zeros(SIZE, np.uint8)
    for value, region in regions.items():
        values[region] = int(value[1:])
    return values


TRIMAP = labels(_128=np.s_[1:5, 1:6], _255=np.s_[2:4, 2:5])
TRUTH = np.where(TRIMAP == 128, -1, TRIMAP == 255).astype(np.int8)


def test_grabcut(tmp_path):
    picture(tmp_path / "data_GT/banana1.bmp")
    picture(tmp_path / "data_GT/106024.jpg")
    for name in ("banana1", "106024"):
        picture(tmp_path / f"boundary_GT/{name}.bmp", TRIMAP)
    samples = list(grabcut(tmp_path))
    assert [sample.name for sample in samples] == ["106024", "banana1"]
    assert samples[1].photo == tmp_path / "data_GT/banana1.bmp"
    for sample in samples:
        assert sample.truth.dtype == np.int8
        np.testing.assert_array_equal(sample.truth, TRUTH)


def test_grabcut_masks_in_colour_channels(tmp_path):
    picture(tmp_path / "data_GT/a.jpg")
    picture(tmp_path / "boundary_GT/a.bmp", np.repeat(TRIMAP[..., None], 3, 2))
    np.testing.assert_array_equal(next(iter(grabcut(tmp_path))).truth, TRUTH)
    picture(tmp_path / "boundary_GT/a.bmp", np.stack([TRIMAP, TRIMAP, 0 * TRIMAP], 2))
    with pytest.raises(OptionError, match="in colour"):
        list(grabcut(tmp_path))


def test_grabcut_under_other_folder_names(tmp_path):
    picture(tmp_path / "images/a.png")
    picture(tmp_path / "masks/a.png", TRIMAP)
    assert [s.name for s in dataset_named("grabcut", tmp_path)] == ["a"]


def test_berkeley_has_several_objects_on_some_photos(tmp_path):
    for name in ("100007", "134008", "24077#1"):
        picture(tmp_path / f"images/{name}.jpg")
    picture(tmp_path / "masks/100007.png", TRIMAP)
    picture(tmp_path / "masks/134008#1.png", labels(_255=np.s_[0:2, 0:2]))
    picture(tmp_path / "masks/134008#2.png", labels(_255=np.s_[3:5, 4:9]))
    picture(tmp_path / "masks/24077#1.png", labels(_255=np.s_[3:5, 4:9]))
    data = berkeley(tmp_path)
    assert len(data.photos) == 3
    samples = {sample.name: sample for sample in data}
    assert list(samples) == ["100007", "134008#1", "134008#2", "24077#1"]
    assert samples["134008#1"].photo == samples["134008#2"].photo == tmp_path / "images/134008.jpg"
    assert [int((s.truth == 1).sum()) for s in samples.values()] == [6, 4, 10, 10]
    assert (samples["100007"].truth == -1).sum() == 14


def test_davis(tmp_path):
    picture(tmp_path / "img/bear_00077.jpg")
    picture(tmp_path / "gt/bear_00077.png", labels(_38=np.s_[1:3, 1:4], _128=np.s_[4, 4]))
    (sample,) = davis(tmp_path)
    assert sample.name == "bear_00077" and int((sample.truth == 1).sum()) == 7 and not (sample.truth == -1).any()
    coloured = np.stack([labels(_128=np.s_[1:3, 1:4]), 0 * TRIMAP, labels(_64=np.s_[4, 4])], 2)
    picture(tmp_path / "gt/bear_00077.png", coloured)
    assert int(next(iter(davis(tmp_path))).truth.sum()) == 7


def matlab(path: Path, field: str, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"Segmentation": values, "Boundaries": np.zeros((1, 1)), "Categories": np.array([[15], [2]])}
    savemat(path, {field: content}, do_compression=True)


def test_sbd_every_instance_is_an_object(tmp_path):
    for name in ("2008_000003", "2008_000033", "2008_000099"):
        picture(tmp_path / f"img/{name}.jpg")
        matlab(tmp_path / f"inst/{name}.mat", "GTinst", labels(_1=np.s_[0:2, 0:3], _2=np.s_[3:6, 2:7]))
        matlab(tmp_path / f"cls/{name}.mat", "GTcls", labels(_15=np.s_[0:2, 0:3]))
    (tmp_path / "val.txt").write_text("2008_000033\n2008_000003\n")
    (tmp_path / "train.txt").write_text("2008_000099\n")
    samples = list(sbd(tmp_path))
    assert [s.name for s in samples] == ["2008_000033#1", "2008_000033#2", "2008_000003#1", "2008_000003#2"]
    assert [int(s.truth.sum()) for s in samples] == [6, 15, 6, 15]
    assert {s.name for s in sbd(tmp_path, "train")} == {"2008_000099#1", "2008_000099#2"}
    (tmp_path / "train.txt").write_text("2008_000099\n2008_000099\n")
    with pytest.raises(OptionError, match="two photos called 2008_000099"):
        sbd(tmp_path, "train")
    (tmp_path / "inst/2008_000003.mat").write_bytes(b"no such thing")
    with pytest.raises(OptionError, match="no file of SBD"):
        list(sbd(tmp_path))


def test_sbd_with_classes_only(tmp_path):
    picture(tmp_path / "img/a.jpg")
    matlab(tmp_path / "cls/a.mat", "GTcls", labels(_15=np.s_[0:2, 0:3], _255=np.s_[5, :]))
    (tmp_path / "val.txt").write_text("a\n")
    (sample,) = sbd(tmp_path)
    assert sample.name == "a#15" and (sample.truth[5] == -1).all()


def coco_tree(root: Path) -> None:
    height, width = SIZE
    for name in ("000000000009.jpg", "000000000025.jpg", "empty.jpg"):
        picture(root / "val2017" / name)
    images = [
        {"id": 9, "file_name": "000000000009.jpg", "height": height, "width": width},
        {"id": 25, "file_name": "000000000025.jpg", "height": height, "width": width},
        {"id": 30, "file_name": "empty.jpg", "height": height, "width": width},
    ]
    square, other = [1, 1, 4, 1, 4, 3, 1, 3], [6, 4, 8, 4, 8, 6, 6, 6]
    annotations = [
        {"id": 1, "image_id": 9, "iscrowd": 0, "category_id": 1, "segmentation": [square, other]},
        {"id": 2, "image_id": 9, "iscrowd": 1, "segmentation": {"counts": [54], "size": [height, width]}},
        {"id": 3, "image_id": 25, "iscrowd": 0, "segmentation": {"counts": [6, 12, 36], "size": [height, width]}},
        {"id": 4, "image_id": 25, "iscrowd": 0, "segmentation": {"counts": "6<T1", "size": [height, width]}},
    ]
    (root / "annotations").mkdir()
    stored = {"images": images, "annotations": annotations, "categories": []}
    (root / "annotations/instances_val2017.json").write_text(json.dumps(stored))


def test_coco(tmp_path):
    coco_tree(tmp_path)
    samples = list(coco(tmp_path))
    assert [s.name for s in samples] == ["000000000009#1", "000000000025#3", "000000000025#4"]
    assert samples[0].photo == tmp_path / "val2017/000000000009.jpg"
    expected = np.zeros(SIZE, np.int8)
    expected[1:3, 1:4] = expected[4:6, 6:8] = 1
    np.testing.assert_array_equal(samples[0].truth, expected)
    columns = np.zeros(SIZE, np.int8)
    columns[:, 1:3] = 1
    np.testing.assert_array_equal(samples[1].truth, columns)
    np.testing.assert_array_equal(samples[2].truth, columns)
    assert [s.name for s in coco(tmp_path / "annotations/instances_val2017.json")] == [s.name for s in samples]
    (tmp_path / "annotations/instances_train2017.json").write_text("{}")
    with pytest.raises(OptionError, match="found 2"):
        coco(tmp_path)
    with pytest.raises(OptionError, match="not in COCO's format"):
        coco(tmp_path / "annotations/instances_train2017.json")


def test_a_broken_outline_is_named_and_left_out(tmp_path):
    coco_tree(tmp_path)
    file = tmp_path / "annotations/instances_val2017.json"
    stored = json.loads(file.read_text())
    height, width = SIZE
    broken = [
        [[1, 2, 3, 4]],
        [["a"] * 6],
        [1, 1, 4, 1, 4, 3],
        {"counts": [6, 12], "size": [height, width]},
        {"counts": [54], "size": [height + 1, width]},
        "words",
    ]
    for number, outline in enumerate(broken, start=70):
        stored["annotations"].append({"id": number, "image_id": 25, "iscrowd": 0, "segmentation": outline})
    file.write_text(json.dumps(stored))
    with pytest.warns(InteractifyWarning) as caught:
        data = coco(tmp_path)
    (warning,) = (str(each.message) for each in caught)
    assert "Left out 6 of 9 objects" in warning and str(file) in warning and "And 3 more." in warning
    assert "annotation 70 of 000000000025.jpg: Expected a polygon of at least three points" in warning
    assert [s.name for s in data] == ["000000000009#1", "000000000025#3", "000000000025#4"]
    stored["annotations"] = stored["annotations"][-6:]
    file.write_text(json.dumps(stored))
    with pytest.warns(InteractifyWarning, match="Left out 6 of 6"), pytest.raises(OptionError, match="got none"):
        coco(tmp_path)


def test_hidden_files_are_no_photos_masks_or_annotations(tmp_path):
    picture(tmp_path / "images/a.jpg")
    picture(tmp_path / "masks/a.png", TRIMAP)
    for name in ("images/._a.jpg", "images/.DS_Store", "images/Thumbs.db", "masks/._a.png", "images/.b.png"):
        (tmp_path / name).write_bytes(b"\0\5\x16\7 resources, and no picture")
    (sample,) = folder(tmp_path)
    assert sample.name == "a"
    coco_tree(tmp_path / "coco")
    (tmp_path / "coco/annotations/._instances_val2017.json").write_bytes(b"\0\5")
    assert len(list(coco(tmp_path / "coco"))) == 3


def pack(runs: list[int]) -> str:
    """Write COCO's text, independently of the library: the inverse of `unpacked`."""
    text = ""
    for index, run in enumerate(runs):
        value = run - runs[index - 2] if index > 2 else run
        while True:
            bits, value = value & 31, value >> 5
            done = value == (-1 if bits & 16 else 0)
            text += chr(48 + bits + (0 if done else 32))
            if done:
                break
    return text


def test_compressed_run_lengths_of_every_size():
    random = np.random.default_rng(0)
    for largest in (3, 40, 2000, 10**6):
        runs = random.integers(0, largest, 50).tolist()
        assert unpacked(pack(runs)) == runs
    for broken in ("Q", " ", "\u00e9"):
        with pytest.raises(OptionError):
            unpacked(broken)


def test_masks_survive_run_lengths():
    mask = np.random.default_rng(1).random((7, 5)) > 0.5
    flat = mask.T.ravel()
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flat, [not flat[-1]]]).astype(int)))
    runs = np.diff(np.concatenate([[0], edges])).tolist()
    for counts in (runs, pack(runs)):
        np.testing.assert_array_equal(mask_of_run_lengths(counts, (7, 5)), mask)
    for counts in ([1, 2], [-1, 36], None, "zz", [[1]], ["a"]):
        with pytest.raises(OptionError):
            mask_of_run_lengths(counts, (7, 5))


def test_polygons():
    triangle = mask_of_polygons([[0, 0, 8, 0, 0, 8]], (8, 8))
    np.testing.assert_array_equal(triangle, np.add.outer(np.arange(8), np.arange(8)) < 7)
    beyond = mask_of_polygons([[-5, -5, 100, -5, 100, 3, -5, 3]], (6, 4))
    assert beyond[:3].all() and not beyond[3:].any()
    ring = mask_of_polygons([[0, 0, 6, 0, 6, 6, 0, 6, 0, 0, 2, 2, 2, 4, 4, 4, 4, 2, 2, 2]], (6, 6))
    assert not ring[2:4, 2:4].any() and ring.sum() == 32
    for broken in ([[1, 2, 3]], [[1, 2, 3, 4]], [["a"] * 6], [[0, 0, float("nan"), 1, 1, 1]]):
        with pytest.raises(OptionError, match="polygon"):
            mask_of_polygons(broken, (4, 4))


def test_a_folder_of_masks_label_maps_and_palettes(tmp_path):
    for name in ("mask", "map", "palette", "parts", "bits"):
        picture(tmp_path / f"images/{name}.jpg")
    picture(tmp_path / "masks/mask.png", TRIMAP)
    objects = labels(_1=np.s_[0:2, 0:3], _7=np.s_[3:5, 2:7], _255=np.s_[5, :])
    picture(tmp_path / "masks/map.png", objects)
    indexed = Image.fromarray(objects).convert("P")
    indexed.putpalette(np.random.default_rng(0).integers(0, 256, 768).tolist())
    indexed.putdata(objects.ravel().tolist())
    indexed.save(tmp_path / "masks/palette.png")
    picture(tmp_path / "masks/parts#left.png", labels(_255=np.s_[:, 0]))
    picture(tmp_path / "masks/parts#right.png", labels(_255=np.s_[:, 8]))
    Image.fromarray(objects == 7).save(tmp_path / "masks/bits.png")
    samples = {s.name: s for s in folder(tmp_path)}
    named = ["bits", "map#1", "map#7", "mask", "palette#1", "palette#7", "parts#left", "parts#right"]
    assert list(samples) == named
    assert [int((samples[name].truth == 1).sum()) for name in named] == [10, 6, 10, 6, 6, 10, 6, 6]
    assert (samples["map#1"].truth == -1).sum() == 9
    assert [p.name for p in folder(tmp_path).every(2).photos] == ["bits", "mask", "parts"]
    with pytest.raises(OptionError, match="from 1 up"):
        folder(tmp_path).every(0)
    assert [s.name for s in pickle.loads(pickle.dumps(folder(tmp_path)))] == named  # data sets are sent to workers


def test_maps_of_classes_are_what_clicks_mean(tmp_path):
    picture(tmp_path / "images/a.jpg")
    picture(tmp_path / "masks/a.png", labels(_1=np.s_[0:2, 0:3], _3=np.s_[3:5, 2:7], _255=np.s_[5, :]))
    samples = list(dataset_named("classes", tmp_path))
    assert [(s.name, s.target, int((s.truth == 1).sum())) for s in samples] == [("a#1", 1, 6), ("a#3", 3, 10)]
    assert all((s.truth[5] == -1).all() for s in samples)
    assert [s.target for s in classes(tmp_path, background=None)] == [0, 1, 3]
    assert [s.target for s in folder(tmp_path)] == [None, None]
    picture(tmp_path / "masks/a.png", labels(_1=np.s_[0:2, 0:3]) * 255)  # a mask of one object
    assert [s.target for s in classes(tmp_path)] == []
    assert [s.target for s in pickle.loads(pickle.dumps(classes(tmp_path, background=None)))] == [0]


def test_invalid_masks(tmp_path):
    picture(tmp_path / "images/a.png")
    picture(tmp_path / "masks/a.jpg", TRIMAP)
    with pytest.raises(OptionError, match="with losses"):
        list(folder(tmp_path))
    (tmp_path / "masks/a.jpg").unlink()
    (tmp_path / "masks/a.png").write_bytes(b"nothing")
    with pytest.raises(OptionError, match="can't be read"):
        list(folder(tmp_path))


@pytest.mark.parametrize("name", ["grabcut", "berkeley", "davis", "sbd", "coco", "folder", "classes"])
def test_a_folder_of_another_layout_is_refused(tmp_path, name):
    with pytest.raises(OptionError, match="Expected"):
        dataset_named(name, tmp_path)
    with pytest.raises(OptionError, match="no folder"):
        dataset_named(name, tmp_path / "nowhere")
    with pytest.raises(OptionError, match="grabcut, berkeley"):
        dataset_named("coc", tmp_path)


@pytest.mark.data
def test_the_real_grabcut(data_root):
    samples = list(dataset_named("grabcut", data_root / "GrabCut50"))
    assert len(samples) == 50
    assert all((s.truth == 1).any() and (s.truth == 0).any() for s in samples)
    assert sum((s.truth == -1).any() for s in samples) == 41  # nine have no band of unknown pixels


@pytest.mark.data
def test_the_strokes_that_come_with_grabcut(data_root):
    from interactify.evaluation import strokes

    drawn = sorted((data_root / "GrabCut50/scribbles1").glob("*.png"))
    truths = {s.name: s.truth for s in folder(data_root / "GrabCut50")}
    assert len(drawn) == 50
    for path in drawn[::4]:
        truth = truths[path.stem.removesuffix("-anno")]
        clicks = [c for gesture in strokes(np.array(Image.open(path))) for c in gesture]
        assert {c.positive for c in clicks} == {True, False}
        assert all(truth[c.y, c.x] == c.positive for c in clicks)
