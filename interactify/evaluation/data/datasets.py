"""The data sets by their names on the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from interactify.errors import OptionError
from interactify.evaluation.data.dataset import Dataset
from interactify.evaluation.data.dataset_coco import coco
from interactify.evaluation.data.dataset_folders import berkeley, classes, davis, folder, grabcut
from interactify.evaluation.data.dataset_sbd import sbd

DATASETS: dict[str, Callable[[str | Path], Dataset]] = {
    "grabcut": grabcut,
    "berkeley": berkeley,
    "davis": davis,
    "sbd": sbd,
    "coco": coco,
    "folder": folder,
    "classes": classes,
}


def dataset_named(name: str, root: str | Path) -> Dataset:
    """Open a data set in its published layout; photos are read one at a time, later.

    Args:
        name: "grabcut", "berkeley", "davis", "sbd", "coco", or "folder" or "classes" for `images/` and `masks/`.
            GrabCut with these two folders is accepted too.
        root: its folder.

    Raises:
        OptionError: an unknown name, a missing folder, or another layout than that data set's.
    """
    if name not in DATASETS:
        raise OptionError(f"Expected the name of a data set, got {name!r}. Try one of: {', '.join(DATASETS)}.")
    root = Path(root)
    if not root.exists():
        raise OptionError(f"Expected a folder for the data set {name}, got no folder {root}. Try its whole path.")
    if name == "grabcut" and not (root / "data_GT").is_dir() and (root / "images").is_dir():
        return Dataset(name, folder(root).photos)  # the layout of many copies
    return DATASETS[name](root)
