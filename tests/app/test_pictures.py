"""Pictures of the page: which are opened, their file names, and how they are sent to a browser."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from interactify.app.pictures import as_jpeg, thumbnail, upload_name
from interactify.errors import PhotoError
from interactify.pictures.picture import open_picture
from interactify.web.pictures import MAX_FILE_BYTES, check_header, check_pixels
from tests.fixtures.pictures import png_of


def test_a_picture_is_judged_by_its_header_alone(tmp_path):
    assert check_header(png_of(7_000, 7_000), "a") == "PNG"  # 49 million pixels that are not there
    with pytest.raises(PhotoError, match="60000 wide"):
        check_header(png_of(60_000, 1_000), "a")
    with pytest.raises(PhotoError, match="bytes"):
        check_header(bytes(MAX_FILE_BYTES + 1), "a")
    pictured = io.BytesIO()
    Image.fromarray(np.zeros((20, 20, 3), np.uint8)).save(pictured, "GIF")
    with pytest.raises(PhotoError, match="Expected a picture"):
        check_header(pictured.getvalue(), "a.png")


@pytest.mark.parametrize(
    ("name", "safe"),
    [("a.png", "a.png"), ("..\\..\\b.tif", "b.png"), ("/etc/passwd", "passwd.png"), (".hidden", "photo.png"),
     ("ünïcode 1.jpg", "ünïcode-1.png"), ("a" * 500, "a" * 80 + ".png"), ("\0x", "x.png"), ("", "photo.png")],
)  # fmt: skip
def test_names_of_uploads(name, safe):
    assert upload_name(name, "PNG") == safe


def turned() -> Image.Exif:
    """As a camera in portrait position writes it: to be rotated by 90 degrees."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


@pytest.fixture
def colours() -> Image.Image:
    """600 wide and 300 high; smooth, so that what JPEG does to it is little."""
    row, column = np.mgrid[:300, :600]
    return Image.fromarray(np.stack([row * 0.8, column * 0.4, 255 - row * 0.8], -1).astype(np.uint8))


SAVE = {
    "JPEG": lambda image, path: image.save(path, "JPEG", quality=98),
    "JPEG, turned": lambda image, path: image.save(path, "JPEG", quality=98, exif=turned()),
    "JPEG, grey": lambda image, path: image.convert("L").save(path, "JPEG", quality=98),
    "JPEG, CMYK": lambda image, path: image.convert("CMYK").save(path, "JPEG", quality=98),
    "PNG": lambda image, path: image.save(path, "PNG"),
    "PNG, 16 bits": lambda image, path: Image.fromarray(np.asarray(image)[..., 1].astype(np.uint16) * 257).save(path),
    "PNG, transparent": lambda image, path: image.convert("RGBA").save(path, "PNG"),
    "TIFF, turned": lambda image, path: image.save(path, "TIFF", exif=turned()),
}


@pytest.mark.parametrize("kind", SAVE)
def test_a_browser_gets_the_pixels_of_a_session(kind: str, colours: Image.Image, tmp_path: Path):
    path = tmp_path / ("photo.tif" if kind.startswith("TIFF") else "photo.png")
    SAVE[kind](colours, path)
    opened = open_picture(path).uint8()
    assert opened.shape == ((600, 300, 3) if "turned" in kind else (300, 600, 3))
    sent = np.asarray(Image.open(io.BytesIO(as_jpeg(path))))
    assert sent.shape == opened.shape and np.abs(sent.astype(int) - opened).mean() < 1.5
    small = Image.open(io.BytesIO(thumbnail(path, 160)))
    assert small.size == ((80, 160) if "turned" in kind else (160, 80)) and small.mode == "RGB"
    expected = Image.fromarray(opened).resize(small.size, Image.Resampling.BOX)
    assert np.abs(np.asarray(small).astype(int) - np.asarray(expected)).mean() < 3


def test_a_phones_mpo_is_a_jpeg(colours: Image.Image, tmp_path: Path):
    """With a second picture in it, for instance its depth, which is ignored."""
    path = tmp_path / "photo.jpg"
    colours.save(path, "MPO", save_all=True, append_images=[colours.resize((60, 30))])
    assert Image.open(path).format == "MPO"
    assert check_pixels(path.read_bytes(), "photo.jpg") == "JPEG" == check_header(path, "photo.jpg")
    assert Image.open(io.BytesIO(thumbnail(path, 160))).size == (160, 80)


def test_a_picture_with_values_that_are_no_brightness_is_refused():
    content = io.BytesIO()
    Image.fromarray(np.full((20, 20), -7.5, np.float32)).save(content, "TIFF")
    with pytest.raises(PhotoError):
        check_pixels(content.getvalue(), "depth.tif")


CONTIGUOUS = {"photometric": "minisblack", "planarconfig": "contig"}


def test_tiff_files_that_pillow_does_not_know_are_opened_as_a_session_opens_them(tmp_path: Path):
    """Five bands of 12 bits, which browsers see as red, green and blue of the first three."""
    tifffile = pytest.importorskip("tifffile")
    row, column = np.mgrid[:300, :600]
    bands = np.stack([row * 10, column * 6, 3000 - row * 10, row, column], -1).astype(np.uint16)
    path, options = tmp_path / "scene.tif", (5, (0, 4095))
    tifffile.imwrite(path, bands, **CONTIGUOUS)
    with pytest.raises(Image.UnidentifiedImageError):
        Image.open(path)
    assert check_header(path, "scene.tif") == "TIFF" == check_header(path.read_bytes(), "scene.tif")
    assert check_pixels(path.read_bytes(), "scene.tif", *options) == "TIFF"
    expected = np.round(bands[..., :3] / 4095 * 255)
    sent = np.asarray(Image.open(io.BytesIO(as_jpeg(path, *options))))
    assert sent.shape == (300, 600, 3) and np.abs(sent - expected).mean() < 1.5
    small = Image.open(io.BytesIO(thumbnail(path, 160, *options)))
    assert small.size == (160, 80) and np.abs(np.asarray(small)[40, 80] - expected[150, 300]).max() < 6
    small = tmp_path / "pages.tif"  # Pillow knows the first page alone
    tifffile.imwrite(small, np.moveaxis(bands, -1, 0), photometric="minisblack", metadata=None)
    assert check_pixels(small.read_bytes(), "pages.tif", *options) == "TIFF"
    assert as_jpeg(small, *options) == as_jpeg(path, *options) and thumbnail(small, 160, *options)
    with pytest.raises(PhotoError, match="5"):  # a network of three channels can't read it, and says so
        check_pixels(path.read_bytes(), "scene.tif")
    with pytest.raises(PhotoError, match="Expected a readable TIFF"):
        check_header(path.read_bytes()[:100], "scene.tif")


def test_a_tiff_of_more_values_than_are_opened_is_refused_by_its_header(tmp_path: Path, monkeypatch):
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((20, 20, 7), np.uint16), **CONTIGUOUS)
    monkeypatch.setattr("interactify.web.pictures.MAX_VALUES", 2000)
    with pytest.raises(PhotoError, match="2000 values in all bands"):
        check_header(tmp_path / "a.tif", "a.tif")


def test_without_tifffile_its_files_are_refused_with_the_extra(tmp_path: Path, monkeypatch):
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((20, 20, 7), np.uint16), **CONTIGUOUS)
    monkeypatch.setattr("interactify.pictures.tiff.find_spec", lambda name: None)
    with pytest.raises(PhotoError, match=r"needs tifffile.*\.\[tiff\]"):
        check_header(tmp_path / "a.tif", "a.tif")


def test_a_picture_that_is_cut_short_or_missing_is_reported(colours: Image.Image, tmp_path: Path):
    path = tmp_path / "photo.jpg"
    colours.save(path)
    path.write_bytes(path.read_bytes()[:1500])
    for encode in (as_jpeg, lambda path: thumbnail(path, 160)):
        with pytest.raises(PhotoError, match="photo"):
            encode(path)
    path.unlink()
    for encode in (as_jpeg, lambda path: thumbnail(path, 160)):
        with pytest.raises(PhotoError, match="moved"):
            encode(path)
