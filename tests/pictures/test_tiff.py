"""TIFF files that Pillow does not read whole: every value as it was written, bands last, or what to do instead."""

from __future__ import annotations

import sys
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from interactify.errors import PhotoError
from interactify.pictures import tiff
from interactify.pictures.decode import read_photo

tifffile = pytest.importorskip("tifffile")

FLOATS = np.random.default_rng(0).random((9, 7, 5))
BANDS_FIRST = {"planarconfig": "separate", "photometric": "minisblack"}


def expected(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array.astype(np.float32)).permute(2, 0, 1)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_many_bands_last_first_in_pages_and_as_ome(tmp_path, dtype):
    floats = FLOATS.astype(dtype)
    first = np.moveaxis(floats, 2, 0)
    tifffile.imwrite(tmp_path / "last.tif", floats, photometric="minisblack", planarconfig="contig")
    tifffile.imwrite(tmp_path / "first.tif", first, **BANDS_FIRST)
    tifffile.imwrite(tmp_path / "pages.tif", first, photometric="minisblack", metadata=None)
    tifffile.imwrite(tmp_path / "axes.tif", first, photometric="minisblack")
    tifffile.imwrite(tmp_path / "big.tif", floats, photometric="minisblack", planarconfig="contig", bigtiff=True)
    if dtype is not np.float16:  # OME has no type for it
        tifffile.imwrite(tmp_path / "scan.ome.tif", first, photometric="minisblack", metadata={"axes": "CYX"})
    for path in sorted(tmp_path.iterdir()):
        assert torch.equal(read_photo(path, 5), expected(floats)), path.name


def test_one_band_of_any_type(tmp_path):
    for dtype in (np.float64, np.float16):
        tifffile.imwrite(tmp_path / "one.tif", FLOATS[..., 0].astype(dtype))
        assert torch.equal(read_photo(tmp_path / "one.tif", 1)[0], expected(FLOATS.astype(dtype))[0])
    hounsfield = np.arange(-1000, 1000, 32, dtype=np.int16).reshape(-1, 7)
    for dtype in (np.int16, np.int32, np.int64, np.float64):
        tifffile.imwrite(tmp_path / "ct.tif", hounsfield.astype(dtype))
        read = read_photo(tmp_path / "ct.tif", 1, value_range=(-1000, 1000))
        assert torch.allclose(read[0], torch.from_numpy((hounsfield + 1000) / 2000).float(), rtol=0, atol=1e-6)
        with pytest.raises(PhotoError, match=r"ct\.tif.*value_range=\(low, high\)"):
            read_photo(tmp_path / "ct.tif")


def test_colours_of_16_bits_keep_them_all(tmp_path):
    deep = np.random.default_rng(1).integers(0, 4096, (9, 7, 3), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "deep.tif", deep, photometric="rgb")
    assert torch.equal(read_photo(tmp_path / "deep.tif"), read_photo(deep))
    twelve = read_photo(tmp_path / "deep.tif", value_range=(0, 4095))
    assert torch.equal(twelve, read_photo(deep, value_range=(0, 4095)))


def test_a_fourth_band_is_transparency_only_where_the_file_says_so(tmp_path):
    four = np.random.default_rng(2).random((9, 7, 4))
    tifffile.imwrite(tmp_path / "near.tif", four, photometric="rgb", extrasamples=["unspecified"])
    assert torch.equal(read_photo(tmp_path / "near.tif"), expected(four[..., :3]))  # as Pillow does with 8 bits
    assert torch.equal(read_photo(tmp_path / "near.tif", 4), expected(four))
    tifffile.imwrite(tmp_path / "alpha.tif", four, photometric="rgb", extrasamples=["unassalpha"])
    assert torch.equal(read_photo(tmp_path / "alpha.tif"), read_photo(four))
    tifffile.imwrite(tmp_path / "bands.tif", four, photometric="minisblack", planarconfig="contig")
    with pytest.raises(PhotoError, match=r"1 or 3 bands.*with 4.*\[\.\.\., :3\]"):
        read_photo(tmp_path / "bands.tif")


def test_several_pictures_are_not_one(tmp_path):
    tifffile.imwrite(tmp_path / "stack.tif", FLOATS.transpose(2, 0, 1), photometric="minisblack",
                     metadata={"axes": "ZYX"})  # fmt: skip
    with pytest.raises(PhotoError, match=r"one picture in .*stack\.tif.* got 5 slices \(Z\).*key=k"):
        read_photo(tmp_path / "stack.tif", 1)
    tifffile.imwrite(tmp_path / "film.ome.tif", np.zeros((2, 5, 9, 7)), metadata={"axes": "TCYX"})
    with pytest.raises(PhotoError, match=r"2 moments \(T\) × 5 channels \(C\)"):
        read_photo(tmp_path / "film.ome.tif", 5)


def test_the_number_of_bands_is_the_networks(tmp_path):
    tifffile.imwrite(tmp_path / "five.tif", FLOATS, photometric="minisblack", planarconfig="contig")
    with pytest.raises(PhotoError, match=r"five\.tif.*\(H, W, 4\), got .*\(9, 7, 5\)"):
        read_photo(tmp_path / "five.tif", 4)
    Image.new("RGB", (7, 9)).save(tmp_path / "three.png")
    with pytest.raises(PhotoError, match=r"5 channels.*three\.png.*TIFF"):
        read_photo(tmp_path / "three.png", 5)


def test_floats_that_overshoot_are_not_sent_to_png(tmp_path):
    tifffile.imwrite(tmp_path / "sharp.tif", FLOATS[..., 0] * 1.05)
    with pytest.raises(PhotoError, match=r"sharp\.tif.*photo\.clip\(0, 1\)") as caught:
        read_photo(tmp_path / "sharp.tif")
    assert "PNG" not in str(caught.value)


def test_without_tifffile_the_error_says_what_to_install(tmp_path, monkeypatch):
    deep = np.full((9, 7, 3), 4000, np.uint16)
    tifffile.imwrite(tmp_path / "five.tif", FLOATS, photometric="minisblack", planarconfig="contig")
    tifffile.imwrite(tmp_path / "deep.tif", deep, photometric="rgb")
    monkeypatch.setattr(tiff, "find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(PhotoError, match=r"pip install .*\[tiff\].*rasterio") as caught:
        read_photo(tmp_path / "five.tif", 5)
    assert "PNG" not in str(caught.value)
    assert torch.allclose(read_photo(tmp_path / "deep.tif"), torch.full((3, 9, 7), 15 / 255))  # Pillow's eight bits
    with pytest.raises(PhotoError, match=r"pip install .*\[tiff\]"):  # a range of 16 bits, of which eight are read
        read_photo(tmp_path / "deep.tif", value_range=(0, 4095))


def test_damaged_and_too_large_files(tmp_path, monkeypatch, caplog):
    path = tmp_path / "broken.tif"
    tifffile.imwrite(path, FLOATS, photometric="minisblack", planarconfig="contig")
    whole = path.read_bytes()
    random = np.random.default_rng(3)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PhotoError, match=r"broken\.tif"):
        read_photo(path, 5)
    for _ in range(60):  # flipped bytes: read or refused, never another exception, and nothing is logged
        content = bytearray(whole)
        for place in random.integers(0, 400, 4):
            content[place] = random.integers(0, 256)
        path.write_bytes(bytes(content))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own
            try:
                read_photo(path, 5)
            except PhotoError as problem:
                assert "broken.tif" in str(problem) and "\n" not in str(problem)
    assert not caplog.records
    path.write_bytes(whole)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    with pytest.raises(PhotoError, match=r"at most 40 pixels.*tifffile\.memmap"):
        read_photo(path, 5)


@pytest.mark.parametrize(("name", "says"), [("a.npy", r"np\.load"), ("a.dcm", "pydicom"), ("a.nii.gz", "nibabel")])
def test_formats_of_arrays_are_sent_to_their_readers(tmp_path, name, says):
    (tmp_path / name).write_bytes(b"no picture")
    with pytest.raises(PhotoError, match=says) as caught:
        read_photo(tmp_path / name)
    assert "PNG" not in str(caught.value)
