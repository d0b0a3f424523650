"""Volumes from NIfTI, DICOM, TIFF, Zarr and .npy, and masks as files, compared with the packages that define them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
import tifffile
import zarr
from pycocotools import mask as coco_masks
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

import interactify
from interactify.errors import OptionError, PhotoError
from interactify.volumes import Block, read_volume, save_masks
from interactify.volumes.files import NiftiArray
from tests.fixtures import volumes

RNG = np.random.default_rng(0)
VOXELS = RNG.integers(-1000, 1000, (5, 6, 7)).astype(np.int16)  # (D, H, W)
AFFINE = np.array([[0.0, 0.7, 0, -10], [0.5, 0, 0, 20], [0, 0, 2.5, -30], [0, 0, 0, 1]])


def same(volume: interactify.Volume, expected: np.ndarray) -> bool:
    block = Block((1, 2, 3), (3, 2, 4))
    expected = expected if expected.ndim == 4 else expected[None]
    part = volume.read(block).numpy()
    return volume.size == expected.shape[1:] and np.array_equal(part, expected[(slice(None), *block.slices)])


# ---- reading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_nifti(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"scan{ending}"
    nibabel.save(nibabel.Nifti1Image(VOXELS.T, AFFINE), path)
    volume = read_volume(path)
    assert same(volume, VOXELS) and volume.array.dtype == np.int16 and np.allclose(volume.affine, AFFINE)
    assert volume.spacing == pytest.approx((2.5, 0.7, 0.5))
    assert isinstance(volume.array, NiftiArray) == (ending == ".nii")
    assert np.array_equal(volume.array[2], VOXELS[2]) and np.array_equal(volume.array[1:3, 4], VOXELS[1:3, 4])


def test_nifti_with_a_scale_and_with_channels(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(VOXELS.T, AFFINE)
    image.header.set_slope_inter(0.5, 3)
    image.to_filename(tmp_path / "scaled.nii")
    expected = np.asarray(nibabel.load(tmp_path / "scaled.nii").dataobj).T.astype(np.float32)
    assert same(read_volume(tmp_path / "scaled.nii"), expected)
    several = np.stack([VOXELS, VOXELS[::-1]])
    nibabel.save(nibabel.Nifti1Image(several.T, AFFINE), tmp_path / "several.nii")
    assert same(read_volume(str(tmp_path / "several.nii")), several)
    nibabel.save(nibabel.Nifti1Image(VOXELS.T[..., None], AFFINE), tmp_path / "one.nii")
    assert same(read_volume(tmp_path / "one.nii"), VOXELS)


def series(folder: Path, order: Any = range(5), uid: str = "1.2.3", **changes: Any) -> Path:
    """A DICOM series of `VOXELS`, tilted in space, with file names that do not tell the order."""
    folder.mkdir(exist_ok=True)
    row, column = np.array([0.8, 0.6, 0]), np.array([0, 0, -1.0])
    normal = np.cross(row, column)
    for z in order:
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = CTImageStorage, ExplicitVRLittleEndian
        meta.MediaStorageSOPInstanceUID = generate_uid()
        file = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        file.SOPClassUID, file.SOPInstanceUID, file.SeriesInstanceUID = CTImageStorage, generate_uid(), uid
        file.Rows, file.Columns, file.SamplesPerPixel, file.PhotometricInterpretation = 6, 7, 1, "MONOCHROME2"
        file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 16, 12, 11, 0
        file.PixelSpacing, file.ImageOrientationPatient = [0.5, 0.7], [*row, *column]
        file.ImagePositionPatient = [float(each) for each in np.array([10, 20, 30]) + 2.5 * z * normal]
        file.RescaleSlope, file.RescaleIntercept = 1, -1024
        file.PixelData = (VOXELS[z] + 1024).astype(np.uint16).tobytes()
        for name, value in changes.items():
            setattr(file, name, value)
        file.save_as(folder / f"{uid}_{(z * 3) % 5}.dcm", enforce_file_format=True)
    return folder


def test_dicom_is_sorted_along_the_normal_in_its_units(tmp_path: Path) -> None:
    folder = series(tmp_path / "scan")
    (folder / "readme.txt").write_text("no DICOM")
    for given in (folder, list(folder.glob("*.dcm")), sorted(map(str, folder.glob("*.dcm")))[::-1]):
        volume = read_volume(given)
        assert same(volume, VOXELS) and volume.array.dtype == np.int16
        assert volume.spacing == pytest.approx((2.5, 0.5, 0.7))
    # Where a voxel is in space, by DICOM's own formula, in NIfTI's directions.
    file = next(each for each in map(pydicom.dcmread, folder.glob("*.dcm")) if np.array_equal(
        each.pixel_array.astype(int) - 1024, VOXELS[3]))  # fmt: skip
    row, column = np.array(file.ImageOrientationPatient, float).reshape(2, 3)
    x, y = 4, 2
    there = np.array(file.ImagePositionPatient, float) + row * 0.7 * x + column * 0.5 * y
    assert np.allclose((volume.affine @ [x, y, 3, 1])[:3], there * [-1, -1, 1])


def test_dicom_with_fractions_and_of_one_slice(tmp_path: Path) -> None:
    folder = series(tmp_path / "scan", RescaleSlope=0.5)
    assert same(read_volume(folder), ((VOXELS.astype(np.float32) + 1024) / 2 - 1024))
    one = series(tmp_path / "one", [2], SliceThickness=3)
    volume = read_volume(next(one.iterdir()))
    assert volume.size == (1, 6, 7) and volume.spacing[0] == 3


def test_dicom_that_is_not_one_volume_is_refused(tmp_path: Path) -> None:
    both = series(tmp_path / "both")
    series(both, uid="1.2.4")
    cases = {
        "got 2": both,
        "slices are missing": series(tmp_path / "gap", [0, 1, 3, 4]),
        "two at": series(tmp_path / "twice", ImagePositionPatient=[0, 0, 0]),
        "of one frame": series(tmp_path / "frames", NumberOfFrames=2),
        "without": series(tmp_path / "nowhere", PixelSpacing=None),
        "several": series(series(tmp_path / "sizes", [0, 1]), [2], PixelSpacing=[1, 1]),
    }
    empty = tmp_path / "empty"
    empty.mkdir()
    cases["got none"] = empty
    for reason, folder in cases.items():
        with pytest.raises(PhotoError, match=f"Expected .*{reason}"):
            read_volume(folder)


def test_tiff_npy_and_zarr(tmp_path: Path) -> None:
    about = {"axes": "ZYX", "spacing": 2.5, "unit": "mm"}
    tifffile.imwrite(tmp_path / "own.tif", VOXELS.astype(np.float32), imagej=True, resolution=(2, 4), metadata=about)
    volume = read_volume(tmp_path / "own.tif")
    assert same(volume, VOXELS) and volume.spacing == pytest.approx((2.5, 0.25, 0.5))
    tifffile.imwrite(tmp_path / "pages.tif", VOXELS, photometric="minisblack", compression="zlib")
    assert same(read_volume(tmp_path / "pages.tif"), VOXELS)
    several = np.stack([VOXELS, VOXELS[::-1]], 1).astype(np.float32)  # ImageJ's order: z, c, y, x
    tifffile.imwrite(tmp_path / "several.tif", several, imagej=True, metadata={"axes": "ZCYX"})
    assert same(read_volume(tmp_path / "several.tif"), several.swapaxes(0, 1))
    np.save(tmp_path / "scan.npy", VOXELS)
    assert same(read_volume(tmp_path / "scan.npy"), VOXELS) and isinstance(
        read_volume(tmp_path / "scan.npy").array, np.memmap
    )
    zarr.save_array(str(tmp_path / "scan.zarr"), VOXELS)
    assert same(read_volume(tmp_path / "scan.zarr"), VOXELS)
    group = zarr.open_group(str(tmp_path / "group.zarr"), mode="w")
    group.create_array("0", data=VOXELS[None, None])
    scale = {"type": "scale", "scale": [1, 1, 2.5, 0.5, 0.7]}
    group.attrs["multiscales"] = [{"datasets": [{"path": "0", "coordinateTransformations": [scale]}]}]
    volume = read_volume(tmp_path / "group.zarr")
    assert same(volume, VOXELS) and volume.spacing == (2.5, 0.5, 0.7) and not isinstance(volume.array, np.ndarray)


def test_what_is_no_volume_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.nii").write_text("no NIfTI")
    (tmp_path / "text.tif").write_text("no TIFF")
    (tmp_path / "text.npy").write_text("no array")
    (tmp_path / "text.txt").write_text("text")
    (tmp_path / "empty.zarr").mkdir()
    np.save(tmp_path / "flat.npy", VOXELS[0])
    tifffile.imwrite(tmp_path / "photo.tif", VOXELS[0])
    for path in (*sorted(tmp_path.iterdir()), tmp_path / "missing.nii", [], [tmp_path / "text.txt", 3], None):
        with pytest.raises(PhotoError, match="Expected"):
            read_volume(path)  # type: ignore[arg-type]


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "scan.nii").write_bytes(b"")
    for name in [each for each in sys.modules if each.split(".")[0] == "nibabel"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(PhotoError, match=r"nibabel .*\[volumes\]"):
        read_volume(tmp_path / "scan.nii")
    with pytest.raises(OptionError, match=r"nibabel .*\[volumes\]"):
        save_masks(tmp_path / "out.nii", [VOXELS > 0])


# ---- writing ---------------------------------------------------------------------------------------------------------


def test_from_file_to_file_the_voxels_stay_where_they_are(tmp_path: Path) -> None:
    scan = volumes.random_volume()
    nibabel.save(nibabel.Nifti1Image(scan.T, AFFINE), tmp_path / "scan.nii")
    net = interactify.wrap(volumes.plain(), mean=0, std=1)
    session = net.session(str(tmp_path / "scan.nii"))
    result = session.click(10, 8, 6, positive=not session.result.mask[6, 8, 10])
    for each, name in ((result, "mask.nii.gz"), (session.undo(), "plain.nii")):
        written = nibabel.load(each.save(tmp_path / name))
        assert np.allclose(written.affine, AFFINE) and written.get_data_dtype() == np.uint8
        assert np.array_equal(np.asarray(written.dataobj).T, each.mask)
    again = interactify.load_session(session.save(tmp_path / "session.npz"), net, tmp_path / "scan.nii").redo()
    assert np.array_equal(again.mask, result.mask) and np.allclose(again.affine, AFFINE)
    (refined,) = net.refine(str(tmp_path / "scan.nii"), [list(result.interactions)])
    assert np.array_equal(refined.mask, result.mask)


def test_label_volumes_and_run_lengths(tmp_path: Path) -> None:
    first, second = VOXELS > 0, VOXELS > 500
    expected = np.where(second, 2, first.astype(int))
    assert np.array_equal(np.load(save_masks(tmp_path / "labels.npy", [first, second])), expected)
    path = save_masks(tmp_path / "labels.tif", [first, second], (2.5, 0.5, 0.7))
    assert np.array_equal(tifffile.imread(path), expected)
    assert read_volume(path).spacing == pytest.approx((2.5, 0.5, 0.7))
    written = nibabel.load(save_masks(tmp_path / "labels.nii", [first, second], (2.5, 0.5, 0.7)))
    assert written.header.get_zooms() == pytest.approx((0.7, 0.5, 2.5))
    dataset = json.loads(save_masks(tmp_path / "labels.json", [first, second], names=["all", "bright"]).read_text())
    assert [image["file_name"] for image in dataset["images"]] == [f"labels_{z:04}" for z in range(5)]
    assert [each["name"] for each in dataset["categories"]] == ["all", "bright"]
    back = np.zeros((2, *VOXELS.shape), bool)
    for each in dataset["annotations"]:
        back[each["category_id"] - 1, each["image_id"] - 1] = coco_masks.decode(each["segmentation"])
    assert np.array_equal(back[0], first) and np.array_equal(back[1], second)


@pytest.mark.parametrize(
    ("name", "masks", "options"),
    [
        ("mask.png", [VOXELS > 0], {}),
        ("mask.nii", [], {}),
        ("mask.nii", [VOXELS], {}),
        ("mask.nii", [VOXELS > 0, VOXELS[1:] > 0], {}),
        ("mask.json", [VOXELS > 0], {"names": ["a", "b"]}),
        ("missing/mask.npy", [VOXELS > 0], {}),
    ],
)
def test_what_cannot_be_written_is_refused(name: str, masks: Any, options: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"Expected|Can't write"):
        save_masks(tmp_path / name, masks, **options)
    assert list(tmp_path.iterdir()) == []
