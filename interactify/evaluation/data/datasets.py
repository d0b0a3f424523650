"""The data sets by name, as the command line calls them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from interactify.errors import OptionError
from interactify.evaluation.data.dataset import Dataset
from interactify.evaluation.data.dataset_coco import coco
from interactify.evaluation.data.dataset_folders import berkeley, davis, folder, grabcut
from interactify.evaluation.data.dataset_sbd import sbd

DATASETS: dict[str, Callable[[str | Path], Dataset]] = {
    "grabcut": grabcut,
    "berkeley": berkeley,
    "davis": davis,
    "sbd": sbd,
    "coco": coco,
    "folder": folder,
}


def dataset_named(name: str, root: str | Path) -> Dataset:
    """Open a data set in its published layout; photos are read when it is their turn.

    Args:
        name: "grabcut", "berkeley", "davis", "sbd", "coco", or "folder" for `images/` and `masks/`. GrabCut with
            these two folders is taken as well.
        root: its folder.

    Raises:
        OptionError: another name, no such folder, or another layout than that data set's.
    """
    if name not in DATASETS:
        raise OptionError(f"There is no data set {name!r}. Try one of: {', '.join(DATASETS)}.")
    root = Path(root)
    if not root.exists():
        raise OptionError(f"There is no folder {root} for the data set {name}.")
    if name == "grabcut" and not (root / "data_GT").is_dir() and (root / "images").is_dir():
        return Dataset(name, folder(root).photos)  # as copies of it are often kept
    return DATASETS[name](root)
