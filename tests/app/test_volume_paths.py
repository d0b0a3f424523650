"""Which files are volumes, how they are cut and drawn, their limits, and what the command refuses before any work."""

from __future__ import annotations

import re
import tracemalloc
from itertools import permutations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("starlette", reason="needs starlette and uvicorn: install interactify[app]")
pytest.importorskip("uvicorn", reason="needs starlette and uvicorn: install interactify[app]")

import nibabel
import tifffile
from PIL import Image

import interactify
from interactify.app.store.project import volumes_of
from interactify.app.volumes import files
from interactify.app.volumes.files import open_volume_file
from interactify.app.volumes.in_slices import VolumeInSlices
from interactify.app.volumes.paths import is_volume, surely_volumes
from interactify.app.volumes.planes import Cut, planes_of
from interactify.app.volumes.shown_volume import ShownVolume
from interactify.cli import main
from interactify.commands import app
from interactify.errors import PhotoError
from tests.fixtures import slices, volumes

MODELS = """
from tests.fixtures import networks, volumes

def deep():
    return volumes.plain()

def flat():
    return networks.seeded(lambda: networks.Plain())
"""
DEEP = ("--model", "models_of_pages:deep", "--mean", "0", "--std", "1")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of volumes of every kind, and of what is none."""
    voxels = volumes.random_volume()
    np.save(tmp_path / "b.npy", voxels)
    nibabel.save(nibabel.Nifti1Image(voxels.T, np.eye(4)), tmp_path / "a.nii.gz")
    tifffile.imwrite(tmp_path / "c.tif", voxels, imagej=True, metadata={"axes": "ZYX"})
    (tmp_path / "d.zarr").mkdir()
    (tmp_path / "series").mkdir()
    (tmp_path / "series" / "IM0001").write_bytes(bytes(128) + b"DICM")
    (tmp_path / "interactify-out").mkdir()
    (tmp_path / "notes.txt").write_text("no volume")
    return tmp_path


def test_paths_of_volumes(folder):
    found, out = volumes_of(folder, None, stacks=True)
    assert [path.name for path in found] == ["a.nii.gz", "b.npy", "c.tif", "d.zarr", "series"]
    assert out == folder / "interactify-out"
    assert volumes_of(folder / "series", None) == ([folder / "series"], folder / "interactify-out")
    assert not is_volume(folder / "c.tif") and not surely_volumes(folder), "a TIFF file is a photo, if nobody says more"
    (folder / "c.tif").unlink()
    assert surely_volumes(folder) and surely_volumes(folder / "a.nii.gz")
    for given in ("absent.nii", "notes.txt", "interactify-out"):
        with pytest.raises(PhotoError, match=given):
            volumes_of(folder / given, None, stacks=True)


def test_too_large_volumes_are_refused_before_they_are_read(folder, monkeypatch):
    monkeypatch.setattr(files, "read_volume", lambda path: pytest.fail("it was read"))
    monkeypatch.setattr(files, "MAX_VOXELS", 12 * 16 * 20 - 1)
    for name in ("a.nii.gz", "b.npy", "c.tif"):
        with pytest.raises(PhotoError, match=r"at most 3839 voxels, got .* with 12 × 16 × 20|20 × 16 × 12"):
            open_volume_file(folder / name, name)
    monkeypatch.setattr(files, "MAX_VOXELS", 2**30)
    monkeypatch.setattr(files, "MAX_BYTES", 100)
    for name in ("a.nii.gz", "series"):
        with pytest.raises(PhotoError, match="has to be read whole"):
            open_volume_file(folder / name, name)


@pytest.mark.parametrize("order", permutations(range(3)))
def test_slices_are_upright_however_the_voxels_lie(order):
    volume = np.arange(4 * 5 * 6, dtype=np.float32).reshape(4, 5, 6)
    for signs in product((1, -1), repeat=3):
        affine = np.eye(4)
        affine[:3, :3] = np.diag(signs)[:, order] @ np.diag([1.0, 1.5, 2.0])
        shown = ShownVolume.of(interactify.Volume(volume, (2.0, 1.5, 1.0), affine), (0, 119))
        for name, plane in zip(("Axial", "Coronal", "Sagittal"), shown.planes, strict=True):
            assert plane.name == name
            picture = shown.grey(Cut(plane, 1))
            height, width = picture.shape
            assert picture.shape == plane.picture_size
            places = {}
            for x, y in product(range(width), range(height)):
                z, row, column = plane.voxel(x, y, 1)
                assert picture[y, x] == round(volume[z, row, column] * 255 / 119)
                places[x, y] = affine[:3, :3] @ (column, row, z)
            up = places[0, 0] - places[0, height - 1]
            left = places[0, 0] - places[width - 1, 0]
            assert up[1 if name == "Axial" else 2] > 0, "the front or the head is at the top"
            assert left[1 if name == "Sagittal" else 0] > 0, "the right side or the front is at the left"


def test_values_between_two_are_grey(folder):
    voxels = volumes.random_volume()
    shown = ShownVolume.of(open_volume_file(folder / "b.npy", "b.npy"))
    low, high = shown.window
    assert voxels.min() < low < np.percentile(voxels, 5) and np.percentile(voxels, 95) < high < voxels.max()
    assert shown.extent == (voxels.min(), voxels.max())
    grey = shown.grey(Cut(shown.planes[0], 3), (-1.0, 1.0))
    assert (grey == np.round(((voxels[3] + 1) * 127.5).clip(0, 255))).all()
    flat = ShownVolume.of(interactify.Volume(np.full((2, 8, 8), 7, np.int16)))
    assert flat.window == (6.5, 7.5)
    colours = np.random.default_rng(0).integers(0, 255, (3, 2, 8, 9), dtype=np.uint8)
    shown = ShownVolume.of(interactify.Volume(colours))
    assert (shown.grey(Cut(shown.planes[0], 1)) == colours[:, 1].transpose(1, 2, 0)).all()
    with_gaps = np.array([[[np.nan, np.inf, -np.inf, 0.5]]])
    assert ShownVolume.of(interactify.Volume(with_gaps), (0, 1)).grey(Cut(shown_planes(with_gaps)[0], 0)).tolist() == [
        [0, 255, 0, 128]
    ]


def shown_planes(array: np.ndarray) -> Any:
    return planes_of(interactify.Volume(array))


def test_a_large_volume_on_disk_is_shown_slice_by_slice(tmp_path):
    path = tmp_path / "large.npy"
    np.lib.format.open_memmap(path, "w+", np.int16, (300, 512, 512))  # 150 MB, none of which is written
    tracemalloc.start()
    try:
        shown = ShownVolume.of(open_volume_file(path, "large.npy"))
        for plane in shown.planes:
            assert len(shown.png(Cut(plane, plane.count // 2))) > 100
        assert tracemalloc.get_traced_memory()[1] < 12e6
    finally:
        tracemalloc.stop()


def test_a_slice_is_shown_before_its_correction_is_carried(monkeypatch):
    net = slices.careful()
    session = net.slices(slices.volume())
    opened = VolumeInSlices(session, ShownVolume.of(interactify.Volume(slices.volume())))
    cut, carry, seen = Cut(opened.planes[0], 4), session.carry, []

    def watched():
        seen.append((opened.preview_of(cut), opened.preview_of(cut)))
        return carry()

    monkeypatch.setattr(session, "carry", watched)
    click = {"do": "add", "interactions": [{"kind": "click", "x": 9, "y": 9, "positive": True}]}
    action = opened.read(click, cut)
    action.run(opened)
    ((first, again),) = seen
    assert (first == opened.mask_of(cut)).all() and first[9, 9] and again is None, "each is sent once"
    assert session.result.carried and opened.is_repeatable(True)


@pytest.fixture
def pages(tmp_path, monkeypatch) -> list[app.Page]:
    """What the command would serve."""
    (tmp_path / "models_of_pages.py").write_text(MODELS)
    monkeypatch.syspath_prepend(str(tmp_path))
    found: list[app.Page] = []
    monkeypatch.setattr(app, "serve", lambda page, *more, **others: found.append(page))
    return found


def test_the_command_tells_volumes_from_photos(folder, pages, capsys):
    Image.new("RGB", (40, 30)).save(folder / "photo.png")

    def names(*words):
        pages.clear()
        assert main(["app", *map(str, words), "--no-browser", "--out", str(folder / "out")]) == 0, capsys.readouterr()
        return pages[0].of_volumes, [photo.path.name for photo in pages[0].project.photos]

    flat = ("--model", "models_of_pages:flat")
    every = ["a.nii.gz", "b.npy", "c.tif", "d.zarr", "series"]
    assert names(folder, *DEEP) == (True, every)
    assert names(folder / "c.tif", *DEEP) == (True, ["c.tif"])
    assert names(folder / "a.nii.gz", *flat) == (True, ["a.nii.gz"])
    assert names(folder, "--slices", *flat) == (True, every)
    assert names(folder, *flat) == (False, ["c.tif", "photo.png"])
    assert names(folder / "c.tif", *flat) == (False, ["c.tif"])
    assert pages[0].project.out == folder / "out"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("b.npy", "--teach"), "without --teach"),
        (("b.npy", "--order", "uncertain"), "without --order uncertain"),
        (("b.npy", "--server", "http://localhost:1"), "without --server"),
        (("--slices",), "a volume, or a folder of volumes, got none"),
        (("notes.txt", "--slices"), "or a folder with volumes in it"),
        (
            ("b.npy", "--slices", "--model", "models_of_pages:deep", "--mean", "0", "--std", "1"),
            "Expected --slices with",
        ),
        (("photo.png", "--model", "models_of_pages:deep", "--mean", "0", "--std", "1"), "got .*photo.png"),
    ],
)
def test_what_volumes_have_not_is_refused(folder, pages, capsys, words, says):
    Image.new("RGB", (40, 30)).save(folder / "photo.png")
    given = [str(folder / word) if (folder / word).exists() else word for word in words]
    assert main(["app", *given, "--no-browser"]) != 0
    errors = capsys.readouterr().err.strip().splitlines()
    assert not pages and len(errors) == 1
    assert re.search(says, errors[0]), errors
