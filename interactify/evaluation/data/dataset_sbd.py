"""SBD, the Semantic Boundaries Dataset: photos of PASCAL VOC with every instance outlined, in MATLAB files."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from scipy.io import loadmat

from interactify.errors import OptionError
from interactify.evaluation.data.dataset import AnnotatedPhoto, Dataset, Truth, truth_of


def sbd(root: str | Path, split: str = "val") -> Dataset:
    """Every instance of SBD as an object: `img/NAME.jpg`, `inst/NAME.mat` (or `cls/NAME.mat`), names in `val.txt`.

    Hariharan et al., "Semantic Contours from Inverse Detectors", ICCV 2011; its val.txt has 2857 photos with 6671
    instances. Where there is no `inst/`, each class of a photo is an object. 255 is unknown.

    Args:
        root: their folder, called `dataset` in the published archive.
        split: "val" or "train": the list of names.

    Raises:
        OptionError: the list, a photo or a file of instances is missing; or, on reading a photo, that file is invalid.
    """
    root = Path(root)
    listed = root / f"{split}.txt"
    if not listed.is_file():
        raise OptionError(f"Expected the names of SBD's photos in {listed}, got no such file. Try another folder.")
    kind = ("inst", "GTinst") if (root / "inst").is_dir() else ("cls", "GTcls")
    photos = []
    for name in listed.read_text().split():
        photo, truth = root / "img" / f"{name}.jpg", root / kind[0] / f"{name}.mat"
        for path in (photo, truth):
            if not path.is_file():
                raise OptionError(f"Expected {path} for {name} in {listed}, got no such file. Try the whole archive.")
        photos.append(AnnotatedPhoto(name, photo, partial(_instances, truth, kind[1])))
    if not photos:
        raise OptionError(f"Expected names of photos in {listed}, got none. Try another list.")
    return Dataset("sbd", tuple(photos))


def _instances(path: Path, field: str) -> dict[str, Truth]:
    try:
        labels = np.asarray(loadmat(path)[field][0, 0]["Segmentation"])
    except Exception as cause:  # an invalid MATLAB file can raise any exception
        raise OptionError(
            f"Expected {field}.Segmentation in {path}, which is no file of SBD ({type(cause).__name__}: {cause}). "
            "Try to unpack the archive again."
        ) from cause
    return {
        str(int(value)): truth_of(labels == value, labels == 255)
        for value in np.unique(labels)
        if int(value) not in (0, 255)
    }
