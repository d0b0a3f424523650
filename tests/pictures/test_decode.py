"""Every usual form of a photo becomes the same tensor, and anything else is refused with an error."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from interactify.errors import InteractifyError, OptionError, PhotoError
from interactify.pictures.decode import read_photo, to_uint8


@pytest.fixture
def colours() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)


def test_every_form_of_one_photo_is_the_same_photo(tmp_path, colours):
    expected = torch.tensor(colours.tolist(), dtype=torch.float64).permute(2, 0, 1) / 255
    image = Image.fromarray(colours)
    image.save(tmp_path / "photo.png")
    rgba = np.concatenate([colours, np.full((9, 7, 1), 255, np.uint8)], axis=2)
    forms = {
        "str": str(tmp_path / "photo.png"),
        "Path": tmp_path / "photo.png",
        "PIL": image,
        "uint8 array": colours,
        "Fortran order": np.asfortranarray(colours),
        "uint16 array": colours.astype(np.uint16) * 257,
        "big-endian": (colours.astype(np.uint16) * 257).astype(">u2"),
        "float32 array": (colours / 255).astype(np.float32),
        "float64 array": colours / 255,
        "opaque RGBA": rgba,
        "uint8 tensor": torch.from_numpy(colours.copy()).permute(2, 0, 1),
        "float tensor": expected.clone().requires_grad_(),
        "RGBA tensor": torch.from_numpy(rgba).permute(2, 0, 1),
    }
    for name, form in forms.items():
        got = read_photo(form)
        assert got.shape == (3, 9, 7) and got.dtype == torch.float32 and got.is_contiguous(), name
        assert got.device.type == "cpu" and not got.requires_grad, name
        assert torch.allclose(got.double(), expected, rtol=0, atol=1e-7), name
        assert np.array_equal(to_uint8(got), colours), name


@pytest.mark.parametrize("view", [np.s_[::-1], np.s_[:, ::-1], np.s_[::2, 1::3], np.s_[..., ::-1]])
def test_strides_of_any_sign_are_followed(colours, view):
    assert np.array_equal(to_uint8(read_photo(colours[view])), colours[view])


@pytest.mark.parametrize("make", [lambda a: a, torch.from_numpy], ids=["array", "tensor"])
@pytest.mark.parametrize("dtype", [np.float32, np.uint8, bool])
def test_nothing_is_shared_and_nothing_is_changed(make, dtype):
    plain = np.ones((3, 4, 4) if make is torch.from_numpy else (4, 4, 3), dtype)
    given = make(plain)
    got = read_photo(given)
    got.zero_()
    assert plain.all()
    drawn = to_uint8(got)
    drawn += 9
    assert not got.any()


def test_a_read_only_array_is_taken_without_a_warning(colours):
    colours.setflags(write=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_photo(colours)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LAB", "P", "L", "LA", "1"])
def test_pil_modes_show_the_picture_they_hold(mode):
    # A smooth picture: palette and rounding of the colour spaces stay small, a wrong channel order does not.
    red, green = np.meshgrid(np.linspace(20, 220, 32), np.linspace(200, 30, 24))
    picture = Image.fromarray(np.stack([red, green, 0.5 * red], axis=2).astype(np.uint8))
    if mode == "LAB":
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(picture, srgb, lab, outputMode="LAB")
    else:
        converted = picture.quantize(64) if mode == "P" else picture.convert(mode)
    got = read_photo(converted)
    grey = mode in ("1", "L", "LA")
    reference = picture.convert("1" if mode == "1" else "L").convert("RGB") if grey else picture
    expected = torch.from_numpy(np.array(reference)).permute(2, 0, 1) / 255
    assert got.shape == (3, 24, 32)
    assert (got - expected).abs().mean() < {"P": 0.03, "LAB": 0.02}.get(mode, 0.01)
    assert (
        read_photo(converted, 1)[0] - got.mul(torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(0)
    ).abs().max() < 1e-6


@pytest.mark.parametrize(
    "mode", ["LA", "La", "PA", "RGBA", "RGBa", "I", "I;16", "I;16B", "I;16L", "I;16N", "F", "RGBX"]
)
def test_a_blank_picture_of_any_mode_is_read(mode):
    blank = read_photo(Image.new(mode, (7, 9)))
    assert blank.shape == (3, 9, 7)
    see_through = mode in ("LA", "La", "PA", "RGBA", "RGBa")
    assert (blank == float(see_through)).all()  # nothing over white is white, no light at all is black


def test_transparency_is_laid_on_white():
    colour, alpha = np.array([51, 102, 204]), 102
    expected = torch.tensor(colour / 255 * 0.4 + 0.6, dtype=torch.float32)
    rgba = np.full((5, 4, 4), [*colour, alpha], np.uint8)
    assert torch.allclose(read_photo(rgba)[:, 2, 3], expected, atol=1e-6)
    assert torch.allclose(read_photo(Image.fromarray(rgba))[:, 2, 3], expected, atol=1e-6)
    assert torch.allclose(read_photo(Image.fromarray(rgba).convert("RGBa"))[:, 2, 3], expected, atol=0.01)
    palette = Image.new("P", (4, 5), 1)
    palette.putpalette([0, 0, 0, *colour])
    palette.info["transparency"] = bytes([255, alpha])
    assert torch.allclose(read_photo(palette)[:, 2, 3], expected, atol=1e-6)


def test_a_png_with_one_transparent_colour_shows_white_there(tmp_path):
    Image.fromarray(np.array([[10, 200]], np.uint8)).save(tmp_path / "grey.png", transparency=10)
    assert torch.allclose(read_photo(tmp_path / "grey.png")[0, 0], torch.tensor([1, 200 / 255]))


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bits_are_kept(tmp_path, suffix):
    # PIL's own conversion to "L" clips everything above 255.
    levels = np.array([[0, 255, 256, 30000, 65535]], np.uint16)
    Image.fromarray(levels).save(tmp_path / f"deep.{suffix}")
    expected = torch.tensor(levels.astype(float)[0] / 65535, dtype=torch.float32)
    for photo in (tmp_path / f"deep.{suffix}", levels, Image.fromarray(levels.astype(np.int32))):
        got = read_photo(photo)
        assert torch.allclose(got, expected.expand(3, 1, 5), rtol=0, atol=1e-7)
        assert torch.equal(read_photo(photo, channels=1), got[:1])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_counts_for_files_and_not_for_opened_images(tmp_path, orientation):
    upright = np.zeros((16, 24, 3), np.uint8)
    upright[:8, :8] = 255  # white in the upper left corner
    undo = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }
    stored = Image.fromarray(np.ascontiguousarray(undo[orientation](upright)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(to_uint8(read_photo(tmp_path / "turned.png")), upright)
    with Image.open(tmp_path / "turned.png") as opened:
        assert np.array_equal(to_uint8(read_photo(opened)), np.array(stored))


def test_grey_becomes_colour_and_colour_becomes_luminance(colours):
    grey = colours[..., 0]
    for photo in (grey, grey[..., None], Image.fromarray(grey), torch.from_numpy(grey.copy())):
        three = read_photo(photo)
        assert three.shape == (3, 9, 7) and torch.equal(three[0], three[2])
        assert torch.equal(read_photo(photo, channels=1), three[:1])
    luminance = read_photo(colours, channels=1)
    pil = np.array(Image.fromarray(colours).convert("L"))
    assert luminance.shape == (1, 9, 7)
    assert np.abs(luminance[0].numpy() * 255 - pil).max() <= 1
    assert read_photo(np.ones((2, 2, 3)), channels=1).max() <= 1


@pytest.mark.parametrize("channels", [2, 4, 8])
def test_other_numbers_of_channels_are_taken_as_they_are(channels, colours):
    bands = np.random.default_rng(1).random((5, 6, channels))
    expected = torch.from_numpy(bands.astype(np.float32)).permute(2, 0, 1)
    assert torch.equal(read_photo(bands, channels), expected)
    assert torch.equal(read_photo(expected, channels), expected)
    for wrong in (colours, Image.fromarray(colours).convert("CMYK"), torch.rand(3, 5, 6), colours[..., 0]):
        with pytest.raises(PhotoError, match=str(channels)):
            read_photo(wrong, channels)


@pytest.mark.parametrize(
    ("photo", "says"),
    [
        (np.zeros((0, 5, 3), np.uint8), "no pixels"),
        (np.zeros((5, 0), np.uint8), "no pixels"),
        (torch.zeros(3, 0, 4), "no pixels"),
        (Image.new("RGB", (0, 4)), "no pixels"),
        (np.zeros(5), r"shape \(5,\)"),
        (np.zeros((1, 5, 5, 3)), r"photo\[0\]"),
        (torch.zeros(1, 3, 5, 5), r"photo\[0\]"),
        (np.zeros((3, 50, 60)), r"transpose\(1, 2, 0\)"),
        (torch.zeros(50, 60, 3), r"permute\(2, 0, 1\)"),
        (np.zeros((5, 6, 2)), r"shape \(5, 6, 2\)"),
        (np.full((5, 6, 3), np.nan), "NaN"),
        (torch.full((3, 5, 6), torch.inf), "infinity"),
        (np.full((5, 6, 3), 200.0), "photo / 255"),
        (torch.full((3, 5, 6), 60000.0), "photo / 65535"),
        (np.full((5, 6, 3), 1e9), "scale it"),
        (np.full((5, 6, 3), -1.5), "normalised"),
        (Image.new("F", (5, 6), 77.0), "photo / 255"),
        (Image.new("I", (5, 6), 70000), "16 bits"),
        (Image.new("I", (5, 6), -1), "16 bits"),
        (np.zeros((5, 6, 3), np.int64), r"astype\(np.uint8\)"),
        (torch.zeros(3, 5, 6, dtype=torch.int64), r"to\(torch.uint8\)"),
        (np.zeros((5, 6, 3), complex), "complex"),
        (np.zeros((5, 6, 3), object), "object"),
        (np.array(["a"]), "shape"),
        (torch.zeros(3, 5, 6, dtype=torch.complex64), "complex"),
        (None, "NoneType"),
        (7, "int"),
        ([[0.0, 1.0]], "list"),
        (b"\x89PNG", "BytesIO"),
        (io.BytesIO(b""), "BytesIO"),
        ("https://example.org/a.jpg", "download it"),
        ("", "folder|does not exist"),
        ("nul\0byte.png", "does not exist"),
    ],
)
def test_what_is_no_photo_is_a_clear_error(photo, says):
    with pytest.raises(PhotoError, match=says) as caught:
        read_photo(photo)
    assert isinstance(caught.value, InteractifyError) and "\n" not in str(caught.value)


def test_values_a_rounding_beyond_the_range_are_taken():
    got = read_photo(np.array([[-1e-6, 1 + 1e-6]]))
    assert got.min() == 0 and got.max() == 1
    assert read_photo(torch.full((3, 2, 2), 1.0009765625, dtype=torch.float16)).max() == 1


@pytest.mark.parametrize("channels", [0, -1, 3.0, True, "3", None])
def test_channels_has_to_be_a_whole_number(channels):
    with pytest.raises(OptionError, match="channels"):
        read_photo(np.zeros((4, 4)), channels)


def test_missing_and_odd_paths(tmp_path):
    (tmp_path / "empty.png").touch()
    (tmp_path / "words.png").write_text("no picture")
    for name, says in (
        ("absent.png", "does not exist"),
        ("", "folder"),
        ("empty.png", "empty"),
        ("words.png", "not a picture"),
    ):
        with pytest.raises(PhotoError, match=says) as caught:
            read_photo(tmp_path / name)
        assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "gif", "bmp", "webp"])
def test_a_damaged_file_is_an_error_of_ours_or_a_photo(tmp_path, suffix, colours):
    whole = io.BytesIO()
    large = np.random.default_rng(2).integers(0, 256, (64, 48, 3), dtype=np.uint8)
    Image.fromarray(large).save(whole, {"jpg": "JPEG", "tif": "TIFF"}.get(suffix, suffix.upper()))
    data, path = whole.getvalue(), tmp_path / f"photo.{suffix}"
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(PhotoError, match=r"damaged|not a picture"):
        read_photo(path)
    random = np.random.default_rng(3)
    for _ in range(60):  # flipped bytes: read or refused, never another exception
        broken = bytearray(data)
        for place in random.integers(0, min(len(data), 400), 4):
            broken[place] = random.integers(0, 256)
        path.write_bytes(bytes(broken))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                assert read_photo(path).shape[0] == 3
            except PhotoError as problem:
                assert path.name in str(problem)


def test_a_decompression_bomb_is_refused(tmp_path, colours, monkeypatch):
    Image.fromarray(colours).save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    with pytest.raises(PhotoError, match="MAX_IMAGE_PIXELS"):
        read_photo(tmp_path / "bomb.png")


def test_a_closed_image_is_an_error(tmp_path, colours):
    Image.fromarray(colours).save(tmp_path / "photo.png")
    with Image.open(tmp_path / "photo.png") as opened:
        pass
    with pytest.raises(PhotoError, match="closed"):
        read_photo(opened)


def test_to_uint8_shows_any_number_of_channels():
    photo = torch.tensor([-0.5, 0.2, 0.5, 2.0, 0.7]).view(5, 1, 1).expand(5, 2, 3)
    assert to_uint8(photo)[0, 0].tolist() == [0, 51, 128]
    assert to_uint8(photo[1:2])[0, 0].tolist() == [51, 51, 51]
    assert to_uint8(photo[2:4])[1, 2].tolist() == [128, 128, 128]
    assert to_uint8(photo).flags["C_CONTIGUOUS"] and to_uint8(photo).shape == (2, 3, 3)
